/* SPDX-License-Identifier: Apache-2.0 */
/* stream_count.h - how many sockets that were handed on are still open */
#ifndef KENAZ_VM_STREAM_COUNT_H
#define KENAZ_VM_STREAM_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"

/* Plain data; stream_count_init() before use. */
struct stream_count {
	int epoll_fd;
	int info_fd;
	uint32_t at_most; /* open now: never less than there are */
};

MUST_CHECK enum err stream_count_init(struct stream_count *c);
void stream_count_fini(struct stream_count *c);
MUST_CHECK enum err stream_count_add(struct stream_count *c, int fd);
MUST_CHECK enum err stream_count_get(struct stream_count *c,
				     uint32_t *ret_count);
bool stream_count_below(struct stream_count *c, uint32_t max);

#endif
