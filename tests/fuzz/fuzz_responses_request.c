/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_responses_request.c - any body is read or refused with a reason; what
 * is rewritten or translated is a request again
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/gate/neutral_tools.h"
#include "engine/gate/responses.h"
#include "engine/proto/attrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect_target target = {
	.route = ROUTE_RESPONSES,
	.model = {(const uint8_t *)"up", 2},
	.stream = true,
};

static void check_attrs(const struct buf *b)
{
	struct reader r;
	struct attr a;

	reader_init(&r, buf_span(b));
	while (attrs_next(&r, &a))
		;
	assert(r.status == ERR_OK);
}

static enum err inspect(struct span body, bool *ret_amend)
{
	static struct seen seen;
	struct request_facts f;
	enum err e;

	memset(&seen, 0, sizeof(seen));
	f = (struct request_facts){.stream = false};
	buf_init(&f.features, FEATURES_MAX_BYTES);
	buf_init(&f.tools, TOOLS_MAX_BYTES);
	buf_init(&f.results, RESULTS_MAX_BYTES);
	e = responses_inspect(ROUTE_RESPONSES, body, &seen, &f);
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
	*ret_amend = f.amend;
	return e;
}

static enum err translate(struct span body, struct buf *out)
{
	struct neutral_request r;
	enum err e;

	neutral_request_init(&r);
	e = responses_read_request(ROUTE_RESPONSES, body, &r);
	if (e == ERR_OK)
		e = neutral_settle_names(&r);
	if (e == ERR_OK)
		e = responses_write_request(&r, &target, out);
	if (e != ERR_OK && e != ERR_LIMIT)
		assert(r.error_text[0] != '\0');
	neutral_request_fini(&r);
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = span_of(data, size);
	struct buf out, again;
	bool amend;
	enum err e;

	buf_init(&out, 16 * size + 65536);
	buf_init(&again, 64 * size + 65536);
	e = inspect(body, &amend);
	if (e == ERR_OK) {
		assert(responses_rewrite(body, &target, &out) == ERR_OK);
		assert(inspect(buf_span(&out), &amend) == ERR_OK && !amend);
		buf_reset(&out);
	}
	if (translate(body, &out) == ERR_OK) {
		assert(inspect(buf_span(&out), &amend) == ERR_OK && !amend);
		assert(translate(buf_span(&out), &again) == ERR_OK);
	}
	buf_fini(&out);
	buf_fini(&again);
	return 0;
}

/* sources: engine/base/buf.c engine/base/digest.c engine/base/json.c
 * engine/base/json_text.c engine/base/jsonw.c engine/base/text.c
 * engine/gate/anthropic.c engine/gate/anthropic_body.c
 * engine/gate/anthropic_content.c engine/gate/anthropic_plan.c
 * engine/gate/anthropic_reader.c
 * engine/gate/cost.c engine/gate/anthropic_reply.c
 * engine/gate/anthropic_request.c engine/gate/anthropic_stream.c
 * engine/gate/anthropic_tools.c engine/gate/anthropic_wire.c
 * engine/gate/anthropic_words.c engine/gate/anthropic_writer.c
 * engine/gate/bedrock_error.c engine/gate/chat.c engine/gate/chat_body.c
 * engine/gate/chat_calls.c engine/gate/chat_common.c engine/gate/chat_edit.c
 * engine/gate/chat_inspect.c engine/gate/chat_message_read.c
 * engine/gate/chat_message_write.c engine/gate/models_list.c
 * engine/gate/chat_read.c engine/gate/chat_request_read.c
 * engine/gate/chat_request_write.c engine/gate/chat_rewrite.c
 * engine/gate/chat_stream.c engine/gate/chat_write.c engine/gate/converse.c
 * engine/gate/converse_body.c engine/gate/converse_content_read.c
 * engine/gate/converse_content_write.c engine/gate/converse_inspect.c
 * engine/gate/converse_reader.c engine/gate/converse_request_read.c
 * engine/gate/converse_request_write.c engine/gate/converse_stream.c
 * engine/gate/converse_words.c engine/gate/converse_writer.c
 * engine/gate/crc32.c engine/gate/dialect.c engine/gate/eventstream.c
 * engine/gate/invoke.c engine/gate/invoke_beta.c engine/gate/invoke_body.c
 * engine/gate/invoke_bridge.c engine/gate/invoke_frames.c
 * engine/gate/invoke_reply.c engine/gate/neutral.c
 * engine/gate/neutral_names.c engine/gate/neutral_queue.c
 * engine/gate/neutral_tools.c engine/gate/reply.c
 * engine/gate/reply_translate.c engine/gate/responses.c
 * engine/gate/responses_body.c engine/gate/responses_call.c
 * engine/gate/responses_error.c engine/gate/responses_events.c
 * engine/gate/responses_inspect.c engine/gate/responses_object.c
 * engine/gate/responses_read.c engine/gate/responses_request_read.c
 * engine/gate/responses_request_write.c engine/gate/responses_stream.c
 * engine/gate/responses_tools_read.c engine/gate/responses_walk.c
 * engine/gate/responses_write.c engine/gate/seen.c engine/gate/sse.c
 * engine/proto/attrs.c
 * engine/gate/lax.c engine/gate/routed.c
 * engine/gate/sse_clean.c */
