/* SPDX-License-Identifier: Apache-2.0 */
/* chat_stream.h - a streamed chat completion on its way to the guest */
#ifndef KENAZ_GATE_CHAT_STREAM_H
#define KENAZ_GATE_CHAT_STREAM_H

#include "engine/base/json.h"
#include "engine/gate/chat.h"
#include "engine/gate/chat_calls.h"
#include "engine/gate/sse.h"

#define CHAT_DELTA_FIRST (UINT32_C(1) << 31)

struct chat_choice {
	bool seen, finished, has_content;
	uint32_t calls, denied; /* judged */
};

/* One event. Spans are borrowed. */
struct chat_event {
	struct span raw, data;
	size_t data_at; /* in raw */
	bool has_data, in_raw;
};

/* One event in `held`. */
struct chat_held {
	size_t at, len, data_at, data_len;
	uint32_t deltas; /* of calls, in it */
	bool has_data, in_raw;
};

struct chat_stream {
	struct reply base;
	bool holding;   /* a call was seen that is not judged yet */
	bool rewriting; /* events must be changed on their way */
	bool tail;      /* all choices seen are finished */
	bool done;      /* [DONE] came */
	size_t tail_at; /* first held event of the end */
	uint32_t judged;
	struct sse sse;
	struct json event, call_json;
	struct chat_calls calls;
	struct neutral_usage usage;
	struct buf held, marks; /* marks: struct chat_held */
	struct buf deltas;      /* uint32_t: call, CHAT_DELTA_FIRST */
	struct buf terminal;
	struct chat_choice choices[CHAT_CHOICES_MAX];
};

MUST_CHECK enum err chat_stream_rewrite(struct chat_stream *s,
					const struct chat_event *ev,
					size_t *cursor, struct buf *out);

#endif
