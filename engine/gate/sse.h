/* SPDX-License-Identifier: Apache-2.0 */
/* sse.h - incremental reader of server-sent events, byte for byte */
#ifndef KENAZ_GATE_SSE_H
#define KENAZ_GATE_SSE_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define SSE_EVENT_MAX_BYTES (8u << 20) /* one event with its line ends */

/* A complete event. Spans are valid until the next call. */
struct sse_event {
	struct span raw;  /* every byte since the event before, in order */
	struct span name; /* empty without an event field */
	struct span data; /* data lines joined by \n */
	bool has_name, has_data;
	bool data_in_raw; /* data lies inside raw, at data_at_bytes */
	size_t data_at_bytes;
};

/* Reader. Plain data: use the functions. */
struct sse {
	struct buf raw;    /* the event so far */
	struct buf joined; /* data of an event with several data lines */
	struct buf clean;  /* sse_clean.c: the event, written anew */
	size_t line_at;    /* start of the open line in raw */
	size_t name_at, name_len;
	size_t data_at, data_len;
	unsigned data_lines;
	bool has_name, given, after_cr, first_line;
	bool written_anew; /* sse_clean.c: the event before */
};

void sse_init(struct sse *s, size_t event_max_bytes);
void sse_fini(struct sse *s);
MUST_CHECK enum err sse_next(struct sse *s, struct span *in,
			     struct sse_event *ret_event);
bool sse_is_between_events(const struct sse *s);
struct span sse_rest(const struct sse *s);

#endif
