/* SPDX-License-Identifier: Apache-2.0 */
/* invoke_frames.h - Anthropic's events inside InvokeModel's frames */
#ifndef KENAZ_GATE_INVOKE_FRAMES_H
#define KENAZ_GATE_INVOKE_FRAMES_H

#include "engine/base/json.h"
#include "engine/gate/bedrock_error.h"
#include "engine/gate/eventstream.h"
#include "engine/gate/sse.h"

enum invoke_step_kind {
	INVOKE_EVENT, /* events: one server-sent event */
	INVOKE_OTHER, /* a frame of a kind that means nothing here */
	INVOKE_ERROR, /* failure; the stream is over */
};

/* What a frame holds. Spans are valid until the next call. */
struct invoke_step {
	enum invoke_step_kind kind;
	struct span raw; /* the frame */
	struct span events;
	struct bedrock_failure failure;
};

/* Reader. Plain data: use the functions. */
struct invoke_frames {
	struct eventstream frames;
	struct json doc;
	struct buf event, bytes;
	const char *error_text; /* static; why next failed */
};

void invoke_frames_init(struct invoke_frames *u);
void invoke_frames_fini(struct invoke_frames *u);
size_t invoke_frames_held_bytes(const struct invoke_frames *u);
MUST_CHECK enum err invoke_frames_next(struct invoke_frames *u, struct span *in,
				       struct invoke_step *ret_step);
MUST_CHECK enum err invoke_frames_wrap(struct sse *sse, struct json *doc,
				       struct span events, struct buf *out);

#endif
