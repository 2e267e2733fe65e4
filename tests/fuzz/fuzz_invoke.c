/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_invoke.c - frames that become events and frames again, and bodies that
 * go over to the other dialect and back
 *
 * The input is a byte for the chunk size, then lines: each becomes a chunk; a
 * line that begins with '!' an exception, with '=' raw bytes. The same bytes
 * are also taken as a body.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/invoke_bridge.h"
#include "engine/gate/invoke_reply.h"
#include "engine/gate/reply_translate.h"

#define STREAM_MAX_BYTES (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_line(struct buf *b, const uint8_t *line, size_t len)
{
	struct buf payload;

	if (len && line[0] == '=') {
		(void)!buf_put(b, line + 1, len - 1);
		return;
	}
	if (len && line[0] == '!') {
		(void)!eventstream_put_exception(b, "throttlingException",
						 span_of(line + 1, len - 1));
		return;
	}
	buf_init(&payload, STREAM_MAX_BYTES);
	assert(buf_put_text(&payload, "{\"bytes\":\"") == ERR_OK);
	assert(text_base64(span_of(line, len), &payload) == ERR_OK);
	assert(buf_put_text(&payload, "\"}") == ERR_OK);
	(void)!eventstream_put_event(b, "chunk", buf_span(&payload));
	buf_fini(&payload);
}

static void make_stream(const uint8_t *data, size_t size, struct buf *b)
{
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;

		put_line(b, data, len);
		len += end ? 1 : 0;
		data += len;
		size -= len;
	}
}

struct result {
	struct buf out;
	enum err e;
	struct reply_summary summary;
};

static void run(struct reply *r, struct span all, size_t chunk, bool allow,
		struct result *ret)
{
	const struct reply_verdict v = {.allow = allow, .rule = span_text("r")};
	size_t at;

	assert(r);
	*ret = (struct result){.e = ERR_OK};
	buf_init(&ret->out, 8 * STREAM_MAX_BYTES);
	for (at = 0; ret->e == ERR_OK && at < all.len_bytes; at += chunk) {
		size_t left = all.len_bytes - at;
		struct span in =
			span_of(all.data + at, chunk < left ? chunk : left);

		while (ret->e == ERR_OK && in.len_bytes &&
		       r->state == REPLY_OPEN) {
			ret->e = reply_feed(r, &in, &ret->out);
			while (ret->e == ERR_OK && r->state == REPLY_JUDGE)
				ret->e = reply_verdict(r, &v, &ret->out);
		}
		if (r->state == REPLY_FAILED)
			break;
	}
	if (ret->e == ERR_OK && r->state == REPLY_OPEN)
		ret->e = reply_end(r, &ret->out);
	while (ret->e == ERR_OK && r->state == REPLY_JUDGE)
		ret->e = reply_verdict(r, &v, &ret->out);
	if (ret->e == ERR_OK && r->state == REPLY_FAILED)
		ret->e = ERR_UPSTREAM;
	if (ret->e != ERR_OK) {
		assert(r->error_text);
		assert(reply_fail(r, "api_error", span_text(r->error_text)) ==
		       ERR_OK);
	}
	assert(reply_release(r, &ret->out) == ERR_OK);
	ret->summary = r->summary;
	reply_free(r);
}

static void check_stream(struct span all, size_t chunk)
{
	const struct neutral_answer answer = {.model = span_text("m"),
					      .stream = true};
	struct result same, pieces, events, frames;

	run(invoke_stream_reply_new(true, true), all, STREAM_MAX_BYTES, true,
	    &same);
	run(invoke_stream_reply_new(true, true), all, chunk, true, &pieces);
	assert(same.e == pieces.e);
	assert(span_equal(buf_span(&same.out), buf_span(&pieces.out)));
	if (same.e == ERR_OK && !same.summary.calls_denied)
		assert(span_equal(buf_span(&same.out), all));
	/* Out of frames, into frames: the same calls and the same end. */
	run(invoke_stream_reply_new(true, false), all, chunk, true, &events);
	assert(events.e == same.e);
	if (events.e == ERR_OK) {
		run(invoke_stream_reply_new(false, true), buf_span(&events.out),
		    chunk, false, &frames);
		assert(frames.e == ERR_OK);
		assert(frames.summary.calls + events.summary.calls_denied ==
		       events.summary.calls);
		buf_fini(&frames.out);
	}
	buf_fini(&events.out);
	run(reply_translate_new(&dialect_invoke, true, &dialect_invoke,
				&answer),
	    all, chunk, true, &events);
	buf_fini(&events.out);
	buf_fini(&same.out);
	buf_fini(&pieces.out);
}

static enum err bridge(enum dialect client, enum route from, enum route to,
		       struct span body, struct invoke_bridge_result *b)
{
	const struct dialect_target t = {.route = to,
					 .model = span_text("m"),
					 .stream = true};
	const struct invoke_bridge_request q = {.client = client,
						.route = from,
						.body = body};
	enum err e;

	invoke_bridge_init(b);
	e = invoke_bridge_body(&q, &t, b);
	if (e == ERR_FORMAT || e == ERR_UNSUPPORTED)
		assert(b->error_text[0]);
	return e;
}

static void check_body(struct span body)
{
	struct invoke_bridge_result there, back, again;

	if (bridge(DIALECT_ANTHROPIC, ROUTE_MESSAGES, ROUTE_INVOKE, body,
		   &there) == ERR_OK) {
		assert(bridge(DIALECT_INVOKE, ROUTE_INVOKE, ROUTE_MESSAGES,
			      buf_span(&there.body), &back) == ERR_OK);
		assert(bridge(DIALECT_ANTHROPIC, ROUTE_MESSAGES, ROUTE_INVOKE,
			      buf_span(&back.body), &again) == ERR_OK);
		invoke_bridge_fini(&back);
		invoke_bridge_fini(&again);
	}
	invoke_bridge_fini(&there);
	(void)!bridge(DIALECT_INVOKE, ROUTE_BEDROCK_COUNT, ROUTE_COUNT_TOKENS,
		      body, &there);
	invoke_bridge_fini(&there);
}

static void check_inspection(struct span body)
{
	static struct seen seen;
	struct request_facts f;

	memset(&seen, 0, sizeof(seen));
	request_facts_init(&f);
	memcpy(f.model, "m", 2);
	if (dialect_invoke.inspect(ROUTE_BEDROCK_COUNT, body, &seen, &f) !=
	    ERR_OK)
		assert(f.error_text[0]);
	request_facts_fini(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf stream;

	if (size < 1)
		return 0;
	buf_init(&stream, STREAM_MAX_BYTES);
	make_stream(data + 1, size - 1, &stream);
	check_stream(buf_span(&stream), (data[0] & 31u) + 1);
	buf_fini(&stream);
	check_body(span_of(data + 1, size - 1));
	check_inspection(span_of(data + 1, size - 1));
	return 0;
}

/* sources: engine/base/buf.c engine/base/digest.c engine/base/err.c
 * engine/base/json.c engine/base/json_text.c engine/base/jsonw.c
 * engine/base/text.c engine/gate/models_list.c engine/proto/attrs.c
 * engine/gate/anthropic*.c engine/gate/bedrock_error.c engine/gate/chat*.c
 * engine/gate/converse*.c engine/gate/cost.c engine/gate/count.c
 * engine/gate/crc32.c engine/gate/dialect.c engine/gate/eventstream.c
 * engine/gate/inspection.c engine/gate/invoke*.c
 * engine/gate/lax.c engine/gate/neutral*.c engine/gate/reply*.c
 * engine/gate/request_translate.c engine/gate/responses*.c
 * engine/gate/routed.c engine/gate/seen.c engine/gate/sse*.c */
