/* SPDX-License-Identifier: Apache-2.0 */
/* segment.h - append-only files that hold large payloads */
#ifndef KENAZ_AUDIT_SEGMENT_H
#define KENAZ_AUDIT_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define SEGMENT_DIR       "payloads"
#define SEGMENT_MAX_BYTES ((uint64_t)256 * 1024 * 1024)
#define SEGMENT_MAX       99999999u

/* The segment that is written now. */
struct segment {
	int dir_fd; /* owned; -1 is none */
	int fd;     /* owned; -1 until first needed */
	uint32_t number;
	uint64_t end_bytes;
	bool dirty;
	bool dir_dirty;
};

MUST_CHECK enum err segment_init(struct segment *s, int log_dir_fd,
				 uint32_t number, uint64_t end_bytes);
void segment_fini(struct segment *s);
MUST_CHECK enum err segment_append(struct segment *s, struct span bytes,
				   uint32_t *ret_number, uint64_t *ret_offset);
MUST_CHECK enum err segment_sync(struct segment *s);
MUST_CHECK enum err segment_read(int dir_fd, uint32_t number, uint64_t offset,
				 size_t len_bytes, struct buf *out);
MUST_CHECK enum err segment_open_dir(int log_dir_fd, int *ret_dir_fd);

#endif
