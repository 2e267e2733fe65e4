/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h - the guest's memory: a memfd that nobody can shrink or grow */
#ifndef KENAZ_VM_MEMORY_H
#define KENAZ_VM_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/proto/limits.h"

struct memory {
	int fd;
	uint8_t *at;
	uint64_t size_bytes;
};

/* A run of allocated bytes; zeroed to begin. */
struct memory_extent {
	uint64_t from_bytes;
	uint64_t to_bytes;
};

/* A copy that goes on in steps; zeroed is none. */
struct memory_copy {
	const struct memory *to;
	uint8_t *from;
	int from_fd;
	struct memory_extent extent;
	uint64_t at_bytes;
	uint64_t copied_bytes;
};

MUST_CHECK enum err memory_new(uint32_t size_mib, struct memory *ret_memory);
MUST_CHECK enum err memory_new_template(uint32_t size_mib,
					struct memory *ret_memory);
MUST_CHECK enum err memory_copy_begin(const struct memory *to, int from_fd,
				      struct memory_copy *ret_copy);
MUST_CHECK enum err memory_copy_step(struct memory_copy *c, uint64_t max_bytes,
				     bool *ret_done);
void memory_copy_end(struct memory_copy *c);
bool memory_next_data(int fd, uint64_t size_bytes,
		      struct memory_extent *extent);
void memory_unmap(struct memory *m);
void memory_free(struct memory *m);

#endif
