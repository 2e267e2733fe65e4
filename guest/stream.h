/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h - a buffered stream socket in the guest's loop */
#ifndef KENAZ_GUEST_STREAM_H
#define KENAZ_GUEST_STREAM_H

#include "engine/base/buf.h"
#include "guest/loop.h"

#define STREAM_READ_MAX_BYTES (16u * 1024) /* a turn */

struct stream;
typedef void (*stream_fn)(struct stream *s);

struct stream {
	struct watch watch;
	struct buf in;
	struct buf out;
	stream_fn fn; /* input arrived, room was made, or it ended */
	void *owner;
	enum err status; /* ERR_CLOSED after an orderly end */
	bool connecting;
	bool paused;
};

MUST_CHECK enum err stream_init(struct stream *s, int fd, size_t in_max_bytes,
				size_t out_max_bytes, stream_fn fn,
				void *owner);
void stream_fini(struct stream *s);
int stream_release(struct stream *s);
void stream_update(struct stream *s);
bool stream_drained(const struct stream *s);

#endif
