/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h - the guest's memory: a memfd that nobody can shrink or grow */
#ifndef KENAZ_VM_MEMORY_H
#define KENAZ_VM_MEMORY_H

#include <stdint.h>

#include "engine/base/err.h"

#define MEMORY_MIN_MIB 96u
#define MEMORY_MAX_MIB 65536u

struct memory {
	int fd;
	uint8_t *at;
	uint64_t size_bytes;
};

MUST_CHECK enum err memory_new(uint32_t size_mib, struct memory *ret_memory);
void memory_free(struct memory *m);

#endif
