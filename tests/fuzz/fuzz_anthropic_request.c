/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_anthropic_request.c - any body is read or refused with a reason
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/gate/dialect.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen seen;
	struct request_facts f;
	enum err e;

	memset(&seen, 0, sizeof(seen));
	request_facts_init(&f);
	e = dialect_anthropic.inspect(ROUTE_MESSAGES, span_of(data, size),
				      &seen, &f);
	if (e == ERR_OK)
		assert(f.model[0] != '\0');
	else
		assert(f.error_text[0] != '\0');
	check_attrs(&f.features);
	check_attrs(&f.tools);
	check_attrs(&f.results);
	request_facts_fini(&f);
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
