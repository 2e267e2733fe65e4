/* SPDX-License-Identifier: Apache-2.0 */
/* host_memory.h - how much memory the machine and its cgroup have left */
#ifndef KENAZ_CORE_HOST_MEMORY_H
#define KENAZ_CORE_HOST_MEMORY_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define HOST_MEMORY_FILE_BYTES 16384u

MUST_CHECK enum err host_memory_parse(struct span meminfo, uint64_t *ret_mib);
MUST_CHECK enum err host_memory_parse_statm(struct span statm,
					    uint64_t page_bytes,
					    uint64_t *ret_mib);
MUST_CHECK enum err host_memory_available(const char *proc_dir,
					  uint64_t *ret_mib);
uint64_t host_memory_left_mib(void);
MUST_CHECK enum err host_memory_of(const char *proc_dir, uint32_t pid,
				   uint64_t *ret_mib);

#endif
