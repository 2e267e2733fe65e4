/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_converse_stream.c - chunk borders do not matter, an allowed stream is
 * unchanged, what is denied does not reach the guest, and what is translated
 * is a stream again
 *
 * The input is a byte for the chunk size, then lines: "TYPE PAYLOAD" becomes a
 * frame with an event, "!TYPE PAYLOAD" one with an exception. A line that
 * begins with '=' is taken as raw bytes.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gate/converse.h"
#include "engine/gate/reply_translate.h"

#define STREAM_MAX_BYTES (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_line(struct buf *b, const char *line, size_t len)
{
	bool exception = len && line[0] == '!';
	const char *space = memchr(line, ' ', len);
	size_t name_len = space ? (size_t)(space - line) : len;
	size_t skip = name_len + (space ? 1 : 0);
	struct span payload = span_of(line + skip, len - skip);
	char name[64];

	if (len && line[0] == '=') {
		(void)!buf_put(b, line + 1, len - 1);
		return;
	}
	if (span_copy_text(span_of(line + exception, name_len - exception),
			   name, sizeof(name)) != ERR_OK)
		return;
	if (exception)
		(void)!eventstream_put_exception(b, name, payload);
	else
		(void)!eventstream_put_event(b, name, payload);
}

static void make_stream(const uint8_t *data, size_t size, struct buf *b)
{
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;

		put_line(b, (const char *)data, len);
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

static void check_pass(struct span all, size_t chunk)
{
	struct result whole, pieces, denied, again;

	run(converse_stream_new(), all, STREAM_MAX_BYTES, true, &whole);
	run(converse_stream_new(), all, chunk, true, &pieces);
	assert(whole.e == pieces.e);
	assert(span_equal(buf_span(&whole.out), buf_span(&pieces.out)));
	if (whole.e == ERR_OK && !whole.summary.calls_denied)
		assert(span_equal(buf_span(&whole.out), all));
	run(converse_stream_new(), all, chunk, false, &denied);
	if (denied.e == ERR_OK) {
		run(converse_stream_new(), buf_span(&denied.out), chunk, true,
		    &again);
		assert(again.e == ERR_OK);
		assert(again.summary.calls == 0);
		buf_fini(&again.out);
	}
	buf_fini(&whole.out);
	buf_fini(&pieces.out);
	buf_fini(&denied.out);
}

static void check_translation(struct span all, size_t chunk)
{
	struct neutral_answer answer = {.model = span_text("m"),
					.stream = true};
	struct result first, again;

	run(reply_translate_new(&dialect_converse, true, &dialect_converse,
				&answer),
	    all, chunk, true, &first);
	if (first.e == ERR_OK) {
		run(converse_stream_new(), buf_span(&first.out), chunk, true,
		    &again);
		assert(again.e == ERR_OK);
		buf_fini(&again.out);
	}
	buf_fini(&first.out);
	answer.stream = false;
	run(reply_translate_new(&dialect_converse, true, &dialect_converse,
				&answer),
	    all, chunk, true, &first);
	if (first.e == ERR_OK) {
		run(converse_body_new(), buf_span(&first.out), chunk, true,
		    &again);
		assert(again.e == ERR_OK);
		buf_fini(&again.out);
	}
	buf_fini(&first.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result plain;
	struct buf stream;
	size_t chunk;

	if (size < 1)
		return 0;
	chunk = (data[0] & 31u) + 1;
	buf_init(&stream, STREAM_MAX_BYTES);
	make_stream(data + 1, size - 1, &stream);
	check_pass(buf_span(&stream), chunk);
	check_translation(buf_span(&stream), chunk);
	buf_fini(&stream);
	/* The same bytes as a plain reply. */
	run(converse_body_new(), span_of(data + 1, size - 1), chunk, true,
	    &plain);
	if (plain.e == ERR_OK && !plain.summary.calls_denied)
		assert(span_equal(buf_span(&plain.out),
				  span_of(data + 1, size - 1)));
	buf_fini(&plain.out);
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
