/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_count.c - counts of tokens: any request and any answer, in all dialects
 *
 * The first byte says who asks whom, the rest is what came.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/json.h"
#include "engine/gate/count.h"
#include "engine/gate/request_translate.h"

static const struct {
	enum dialect dialect;
	enum route route;
} sides[] = {
	{DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS},
	{DIALECT_RESPONSES, ROUTE_RESPONSES_COUNT},
	{DIALECT_INVOKE, ROUTE_BEDROCK_COUNT},
	{DIALECT_CONVERSE, ROUTE_BEDROCK_COUNT},
};

/* What is made can be read, whatever was read. */
static void check_json(struct span text)
{
	const struct json_limits limits = {.allow_nul = true};
	struct json j;

	json_init(&j);
	assert(json_parse(&j, text, &limits) == ERR_OK);
	json_fini(&j);
}

static void check_request(size_t from, size_t to, struct span body)
{
	const struct dialect_target t = {.route = sides[to].route,
					 .model = span_text("m")};
	struct request_translation result;
	struct buf out;
	enum err e;

	buf_init(&out, BODY_MAX_BYTES);
	request_translation_init(&result);
	e = request_translate(dialect_find(sides[from].dialect),
			      sides[from].route, body,
			      dialect_find(sides[to].dialect), &t, &out,
			      &result);
	if (e == ERR_OK)
		check_json(buf_span(&out));
	else
		assert(result.error_text[0]);
	request_translation_fini(&result);
	buf_fini(&out);
}

static void check_answer(size_t from, size_t to, struct span bytes)
{
	struct reply *r = count_reply_new(dialect_find(sides[from].dialect),
					  dialect_find(sides[to].dialect));
	struct buf out;
	enum err e;

	assert(r);
	buf_init(&out, BODY_MAX_BYTES);
	e = bytes.len_bytes ? reply_feed(r, &bytes, &out) : ERR_OK;
	if (e == ERR_OK)
		e = reply_end(r, &out);
	assert(out.len_bytes == 0);
	if (e != ERR_OK)
		assert(reply_fail(r, "api_error", span_text("no")) == ERR_OK);
	assert(reply_release(r, &out) == ERR_OK);
	check_json(buf_span(&out));
	buf_fini(&out);
	reply_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest;
	size_t from, to;

	if (size == 0)
		return 0;
	from = data[0] & 3;
	to = (data[0] >> 2) & 3;
	rest = span_of(data + 1, size - 1);
	if (from != to)
		check_request(from, to, rest);
	check_answer(from, to, rest);
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
