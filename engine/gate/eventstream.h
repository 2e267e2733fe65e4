/* SPDX-License-Identifier: Apache-2.0 */
/* eventstream.h - AWS event streams: frames in and out */
#ifndef KENAZ_GATE_EVENTSTREAM_H
#define KENAZ_GATE_EVENTSTREAM_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define EVENTSTREAM_FRAME_MAX_BYTES   (24u << 20)
#define EVENTSTREAM_HEADERS_MAX_BYTES (128u << 10)
#define EVENTSTREAM_HEADERS_MAX       64u
#define EVENTSTREAM_OVERHEAD_BYTES    16u /* prelude and both CRCs */
#define EVENTSTREAM_CONTENT_TYPE      "application/vnd.amazon.eventstream"

enum eventstream_type {
	EVENTSTREAM_TRUE = 0,
	EVENTSTREAM_FALSE = 1,
	EVENTSTREAM_I8 = 2,
	EVENTSTREAM_I16 = 3,
	EVENTSTREAM_I32 = 4,
	EVENTSTREAM_I64 = 5,
	EVENTSTREAM_BYTES = 6,
	EVENTSTREAM_TEXT = 7,
	EVENTSTREAM_TIME = 8, /* milliseconds since 1970 */
	EVENTSTREAM_UUID = 9,
};

struct eventstream_header {
	struct span name;
	enum eventstream_type type;
	struct span value; /* as on the wire, without its length */
};

/* A frame whose checksums are right. Valid until the next call. */
struct eventstream_frame {
	struct span raw, headers, payload;
	struct span message_type;   /* of text headers; absent: empty */
	struct span event_type;     /* :event-type */
	struct span exception_type; /* :exception-type */
	struct span error_code, error_message;
};

/* Reader. Plain data: use the functions. */
struct eventstream {
	struct buf raw; /* the frame so far */
	size_t frame_max_bytes;
	size_t total; /* of the open frame; 0 until its prelude is checked */
	bool given;
	const char *error_text; /* static; why next failed */
};

void eventstream_init(struct eventstream *s, size_t frame_max_bytes);
void eventstream_fini(struct eventstream *s);
MUST_CHECK enum err eventstream_next(struct eventstream *s, struct span *in,
				     struct eventstream_frame *ret_frame);
bool eventstream_is_between_frames(const struct eventstream *s);
bool eventstream_next_header(struct reader *r,
			     struct eventstream_header *ret_header);
int64_t eventstream_number(const struct eventstream_header *h);

MUST_CHECK enum err eventstream_put(struct buf *out,
				    const struct eventstream_header *headers,
				    size_t count, struct span payload);
MUST_CHECK enum err eventstream_put_event(struct buf *out, const char *name,
					  struct span payload);
MUST_CHECK enum err eventstream_put_exception(struct buf *out, const char *name,
					      struct span payload);
MUST_CHECK enum err eventstream_put_ping(struct buf *out);

#endif
