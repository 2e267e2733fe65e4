/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h - a non-blocking byte stream with bounded buffers */
#ifndef KENAZ_GATE_STREAM_H
#define KENAZ_GATE_STREAM_H

#include <stdbool.h>
#include <uv.h>

#include "engine/base/buf.h"

#define STREAM_TURN_BYTES 65536u /* read per loop turn */

struct stream;

/* New bytes in `in`, room in `out`, or a new status. May close the stream. */
typedef void stream_fn(struct stream *s);

struct stream {
	uv_poll_t poll;
	int fd;
	int events; /* polled now */
	struct buf in, out;
	size_t out_at;
	enum err status;   /* ERR_OK; ERR_CLOSED at the end of input; ERR_SYS */
	bool paused;       /* do not read */
	bool watch_hangup; /* ERR_CLOSED also while paused */
	stream_fn *on_event;
	void *owner;
};

MUST_CHECK enum err stream_new(uv_loop_t *loop, int fd, size_t in_max_bytes,
			       size_t out_max_bytes, stream_fn *on_event,
			       void *owner, struct stream **ret_stream);
void stream_free(struct stream *s);
MUST_CHECK enum err stream_write(struct stream *s, struct span bytes);
size_t stream_pending_bytes(const struct stream *s);
void stream_update(struct stream *s);

#endif
