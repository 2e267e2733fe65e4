/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_chat_request.c - any body is read or refused with a reason, and what
 * is written from it is read again
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/gate/chat.h"
#include "engine/proto/attrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_attrs(const struct buf *b)
{
	struct reader r;
	struct attr a;

	reader_init(&r, buf_span(b));
	while (attrs_next(&r, &a))
		;
	assert(r.status == ERR_OK);
}

static bool inspect(struct span body)
{
	static struct seen seen;
	struct request_facts f = {.stream = false};
	enum err e;

	memset(&seen, 0, sizeof(seen));
	buf_init(&f.features, FEATURES_MAX_BYTES);
	buf_init(&f.tools, TOOLS_MAX_BYTES);
	buf_init(&f.results, RESULTS_MAX_BYTES);
	e = chat_inspect(ROUTE_CHAT, body, &seen, &f);
	if (e == ERR_OK)
		assert(f.model[0] != '\0');
	else
		assert(f.error_text[0] != '\0');
	check_attrs(&f.features);
	check_attrs(&f.tools);
	check_attrs(&f.results);
	buf_fini(&f.features);
	buf_fini(&f.tools);
	buf_fini(&f.results);
	return e == ERR_OK;
}

static void check_rewrite(struct span body)
{
	const struct dialect_target t = {.route = ROUTE_CHAT,
					 .model = span_text("a\"b"),
					 .want_usage = true};
	struct buf once, twice;

	buf_init(&once, body.len_bytes + 4096);
	buf_init(&twice, body.len_bytes + 4096);
	assert(chat_rewrite(body, &t, &once) == ERR_OK);
	assert(inspect(buf_span(&once)));
	assert(chat_rewrite(buf_span(&once), &t, &twice) == ERR_OK);
	assert(span_equal(buf_span(&once), buf_span(&twice)));
	buf_fini(&once);
	buf_fini(&twice);
}

static void check_translation(struct span body)
{
	static const char *const kinds[] = {"openai", "openrouter", "byo"};
	struct neutral_request r, again;
	struct dialect_target t = {.route = ROUTE_CHAT, .stream = true};
	struct buf out;
	size_t i;
	enum err e;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		neutral_request_init(&r);
		neutral_request_init(&again);
		buf_init(&out, 64 * body.len_bytes + 65536);
		t.kind = span_text(kinds[i]);
		e = chat_read_request(ROUTE_CHAT, body, &r);
		if (e == ERR_OK)
			e = chat_write_request(&r, &t, &out);
		if (e != ERR_OK)
			assert(r.error_text[0]);
		else
			assert(chat_read_request(ROUTE_CHAT, buf_span(&out),
						 &again) == ERR_OK);
		neutral_request_fini(&r);
		neutral_request_fini(&again);
		buf_fini(&out);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = span_of(data, size);

	if (inspect(body))
		check_rewrite(body);
	check_translation(body);
	return 0;
}

/* sources: engine/base/err.c engine/base/buf.c engine/base/digest.c
 * engine/base/json.c engine/base/json_text.c engine/base/jsonw.c
 * engine/base/text.c engine/gate/models_list.c engine/proto/attrs.c
 * engine/gate/anthropic*.c engine/gate/bedrock_error.c engine/gate/chat*.c
 * engine/gate/converse*.c engine/gate/cost.c engine/gate/count.c
 * engine/gate/crc32.c engine/gate/dialect.c engine/gate/eventstream.c
 * engine/gate/inspection.c engine/gate/invoke*.c engine/gate/lax.c
 * engine/gate/neutral*.c engine/gate/reply*.c
 * engine/gate/request_translate.c engine/gate/responses*.c
 * engine/gate/routed.c engine/gate/seen.c engine/gate/sse*.c */
