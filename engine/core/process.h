/* SPDX-License-Identifier: Apache-2.0 */
/* process.h - other processes: which one a number means */
#ifndef KENAZ_CORE_PROCESS_H
#define KENAZ_CORE_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "engine/base/buf.h"

#define PROCESS_BOOT_BYTES 40u

MUST_CHECK enum err process_parse_started(struct span stat,
					  uint64_t *ret_started);
MUST_CHECK enum err process_started(pid_t pid, uint64_t *ret_started);
MUST_CHECK enum err process_open(pid_t pid, uint64_t started, int *ret_fd);
void process_boot_id(char ret_id[PROCESS_BOOT_BYTES]);

#endif
