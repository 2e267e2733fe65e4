/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_translate.c - any bytes of any wire become a whole response of any
 * client's dialect, or none at all
 *
 * The first byte chooses wire and client, the second how the bytes come, how
 * the client wants them, and which calls are denied.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gate/dialect.h"
#include "engine/gate/reply_translate.h"

#define DIALECT_LAST DIALECT_CONVERSE

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen_events {
	bool started, open, stopped, failed;
	uint32_t calls;
};

/* What readers promise. */
static enum err on_event(void *context, const struct neutral_event *ev)
{
	struct seen_events *s = context;

	assert(!s->stopped && !s->failed);
	assert(ev->kind == NEUTRAL_ERROR ||
	       s->started == (ev->kind != NEUTRAL_START));
	if (ev->kind == NEUTRAL_BLOCK_START)
		assert(!s->open);
	if (ev->kind == NEUTRAL_BLOCK_TEXT ||
	    ev->kind == NEUTRAL_BLOCK_SIGNATURE ||
	    ev->kind == NEUTRAL_BLOCK_STOP)
		assert(s->open);
	s->started |= ev->kind == NEUTRAL_START;
	s->open = ev->kind == NEUTRAL_BLOCK_START ||
		  (s->open && ev->kind != NEUTRAL_BLOCK_STOP);
	s->calls += ev->kind == NEUTRAL_BLOCK_START &&
		    ev->part == NEUTRAL_TOOL_CALL;
	s->stopped |= ev->kind == NEUTRAL_STOP;
	s->failed |= ev->kind == NEUTRAL_ERROR;
	return ERR_OK;
}

static bool is_whole(const struct dialect_ops *d, bool streamed, struct span in,
		     struct seen_events *s)
{
	struct neutral_reader *r = d->reader_new(streamed, on_event, s);
	enum err e;

	assert(r);
	e = r->ops->feed(r, in);
	if (e == ERR_OK && !s->failed)
		e = r->ops->end(r);
	r->ops->free(r);
	return e == ERR_OK && s->stopped;
}

static enum err run(struct reply *r, struct span in, size_t piece,
		    unsigned deny, struct buf *out)
{
	struct reply_verdict v = {.rule = span_text("r")};
	enum err e = ERR_OK;

	while (e == ERR_OK && r->state != REPLY_DONE &&
	       r->state != REPLY_FAILED) {
		size_t len = in.len_bytes < piece ? in.len_bytes : piece;
		struct span part = span_of(in.data, len);

		if (r->state == REPLY_JUDGE) {
			v.allow = !(deny & 1);
			deny >>= 1;
			e = reply_verdict(r, &v, out);
		} else if (len) {
			e = reply_feed(r, &part, out);
			in = span_of(in.data + len - part.len_bytes,
				     in.len_bytes - len + part.len_bytes);
		} else {
			e = reply_end(r, out);
		}
	}
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct dialect_ops *wire, *client;
	struct neutral_answer answer = {.model = span_text("m"),
					.want_usage = true};
	struct seen_events before = {0}, after = {0};
	struct reply *r;
	struct buf out;
	size_t given;
	enum err e;

	if (size < 2)
		return 0;
	wire = dialect_find((enum dialect)(1 + data[0] % DIALECT_LAST));
	client = dialect_find(
		(enum dialect)(1 + data[0] / DIALECT_LAST % DIALECT_LAST));
	if (!wire || !client || !wire->reader_new || !client->writer_new)
		return 0;
	answer.stream = data[1] & 1;
	r = reply_translate_new(wire, data[1] & 2, client, &answer);
	assert(r);
	buf_init(&out, 512 * size + (1u << 20));
	e = run(r, span_of(data + 2, size - 2),
		data[1] & 4 ? SIZE_MAX : (data[1] & 24u) + 1, data[1] >> 5,
		&out);
	given = out.len_bytes;
	if (answer.stream && given)
		assert(!is_whole(client, true, buf_span(&out), &before));
	else
		assert(given == 0);
	if (e != ERR_OK)
		assert(reply_fail(r, client->error_type(502),
				  span_text("broken")) == ERR_OK);
	assert(reply_release(r, &out) == ERR_OK);
	assert(out.len_bytes > given);
	if (r->state == REPLY_DONE) {
		assert(is_whole(client, answer.stream, buf_span(&out), &after));
		assert(after.calls ==
		       r->summary.calls - r->summary.calls_denied);
	} else if (r->http_status) {
		assert(r->http_status >= 400 && given == 0);
	} else {
		assert(!is_whole(client, answer.stream, buf_span(&out),
				 &after));
	}
	buf_fini(&out);
	reply_free(r);
	return 0;
}

/* sources: engine/base/err.c engine/base/buf.c engine/base/digest.c
 * engine/base/json.c engine/base/json_text.c engine/base/jsonw.c
 * engine/base/text.c engine/proto/attrs.c engine/gate/anthropic*.c
 * engine/gate/bedrock_error.c engine/gate/chat*.c engine/gate/converse*.c
 * engine/gate/cost.c engine/gate/count.c engine/gate/crc32.c
 * engine/gate/dialect.c engine/gate/eventstream.c engine/gate/inspection.c
 * engine/gate/invoke*.c engine/gate/lax.c engine/gate/neutral*.c
 * engine/gate/reply*.c engine/gate/request_translate.c engine/gate/responses*.c
 * engine/gate/routed.c engine/gate/seen.c engine/gate/sse*.c */
