/* SPDX-License-Identifier: Apache-2.0 */
/* memfd.h - sealed memory files that carry bodies between processes */
#ifndef KENAZ_BASE_MEMFD_H
#define KENAZ_BASE_MEMFD_H

#include "engine/base/buf.h"

/* A body received inline or as a sealed memfd, mapped for reading. */
struct body {
	struct span bytes;
	void *map;
	size_t map_bytes;
};

MUST_CHECK enum err memfd_from_span(const char *name, struct span bytes,
				    int *ret_fd);
MUST_CHECK enum err memfd_seal(int fd);
MUST_CHECK enum err memfd_check(int fd, size_t max_bytes, size_t *ret_bytes);
MUST_CHECK enum err body_open(struct span inlined, int fd, uint64_t len_bytes,
			      size_t max_bytes, struct body *ret_body);
void body_close(struct body *b);

#endif
