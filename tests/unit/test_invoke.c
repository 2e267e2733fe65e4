/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_invoke.c - InvokeModel and Anthropic Messages, one as the other
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>

#include "engine/base/text.h"
#include "engine/gate/anthropic_reply.h"
#include "engine/gate/bedrock_error.h"
#include "engine/gate/invoke_beta.h"
#include "engine/gate/invoke_bridge.h"
#include "engine/gate/reply_translate.h"
#include "engine/gate/sse.h"
#include "engine/proto/attrs.h"
#include "tests/lib/bedrock_frames.h"

#define RECORDINGS "tests/streams/api.anthropic.com/*.sse"
#define MODEL      "us.anthropic.claude-sonnet-4-5-20250929-v1:0"

static const size_t chunks[] = {1, 2, 3, 7, 0, BEDROCK_TEST_MAX_BYTES};

/* --- requests --------------------------------------------------------------
 */

static enum err bridge(enum dialect client, enum route from, enum route to,
		       const char *body, const char *beta,
		       struct invoke_bridge_result *b)
{
	static const char *const betas[] = {"context-1m-2025-08-07",
					    "pdfs-2024-09-25",
					    "tool-search-tool-2025-10-19"};
	const struct dialect_target t = {.route = to,
					 .model = span_text(MODEL),
					 .stream = to == ROUTE_MESSAGES,
					 .betas = betas,
					 .beta_count = ARRAY_SIZE(betas)};
	struct invoke_bridge_request q = {.client = client,
					  .route = from,
					  .body = span_text(body)};
	struct buf headers;
	enum err e;

	buf_init(&headers, 4096);
	if (beta)
		assert_int_equal(attrs_put_text(&headers, "anthropic-beta",
						span_text(beta)),
				 ERR_OK);
	q.headers = buf_span(&headers);
	invoke_bridge_init(b);
	e = invoke_bridge_body(&q, &t, b);
	buf_fini(&headers);
	return e;
}

static void check_to_invoke(const char *body, const char *beta,
			    const char *want, const char *dropped)
{
	struct invoke_bridge_result b;

	assert_int_equal(bridge(DIALECT_ANTHROPIC, ROUTE_MESSAGES, ROUTE_INVOKE,
				body, beta, &b),
			 ERR_OK);
	if (!span_is(buf_span(&b.body), want))
		fail_msg("%.*s", (int)b.body.len_bytes,
			 (const char *)b.body.data);
	assert_int_equal(b.headers.len_bytes, 0);
	assert_int_equal(b.dropped_count, dropped ? 1 : 0);
	if (dropped)
		assert_string_equal(b.dropped[0], dropped);
	invoke_bridge_fini(&b);
}

#define VERSION "{\"anthropic_version\":\"bedrock-2023-05-31\""

static void test_messages_become_invocations(void **state)
{
	(void)state;
	check_to_invoke("{\"model\":\"claude\",\"max_tokens\":1.0,\"stream\":"
			"true, \"messages\" : [ {\"a\":\"\\u00e4\"} ],"
			"\"unknown\":{}}",
			NULL,
			VERSION ",\"max_tokens\":1.0,\"messages\" : "
				"[ {\"a\":\"\\u00e4\"} ],\"unknown\":{}}",
			NULL);
	check_to_invoke("{}", NULL, VERSION "}", NULL);
	/* Betas move into the body; those that Bedrock refuses stay out. */
	check_to_invoke("{\"model\":\"claude\",\"anthropic_beta\":"
			"[\"pdfs-2024-09-25\"]}",
			"context-1m-2025-08-07, oauth-2025-04-20 ,"
			"context-1m-2025-08-07,advanced-tool-use-2025-11-20",
			VERSION ",\"anthropic_beta\":[\"context-1m-2025-08-07\""
				",\"tool-search-tool-2025-10-19\","
				"\"pdfs-2024-09-25\"]}",
			"anthropic-beta: oauth-2025-04-20");
	check_to_invoke("{\"anthropic_version\":\"2023-06-01\"}", "",
			VERSION "}", NULL);
}

static void check_beta(const char *beta, size_t count, const char *want)
{
	static const char *const allowed[] = {"tool-search-tool-2025-10-19",
					      "new-2027-01-01"};

	assert_true(span_is(invoke_beta_find(span_text(beta), allowed, count),
			    want));
}

static void test_only_known_betas_are_sent(void **state)
{
	(void)state;
	check_beta("new-2027-01-01", 2, "new-2027-01-01");
	check_beta("new-2027-01-01", 1, "");
	check_beta("new-2027-01-01", 0, "new-2027-01-01");
	check_beta("advanced-tool-use-2025-11-20", 1,
		   "tool-search-tool-2025-10-19");
}

static void test_invocations_become_messages(void **state)
{
	struct invoke_bridge_result b;
	struct reader r;
	struct attr a;

	(void)state;
	assert_int_equal(bridge(DIALECT_INVOKE, ROUTE_INVOKE_STREAM,
				ROUTE_MESSAGES,
				VERSION ",\"anthropic_beta\":[\"x-1\",\"y-2\","
					"\"x-1\"],\"messages\":[ ]}",
				NULL, &b),
			 ERR_OK);
	assert_true(span_is(buf_span(&b.body),
			    "{\"model\":\"" MODEL
			    "\",\"stream\":true,\"messages\":[ ]}"));
	reader_init(&r, buf_span(&b.headers));
	assert_true(attrs_next(&r, &a));
	assert_true(span_is(a.key, "anthropic-version"));
	assert_true(span_is(a.text, "2023-06-01"));
	assert_true(attrs_next(&r, &a));
	assert_true(span_is(a.key, "anthropic-beta"));
	assert_true(span_is(a.text, "x-1,y-2"));
	assert_false(attrs_next(&r, &a));
	invoke_bridge_fini(&b);
}

static void test_counts_are_wrapped(void **state)
{
	struct invoke_bridge_result b, back;
	const char *text;

	(void)state;
	assert_int_equal(bridge(DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS,
				ROUTE_BEDROCK_COUNT,
				"{\"model\":\"m\",\"messages\":[],"
				"\"thinking\":{\"budget_tokens\":1024}}",
				NULL, &b),
			 ERR_OK);
	assert_true(bedrock_test_has(&b.body,
				     "{\"input\":{\"invokeModel\":{\"body\":"));
	assert_int_equal(buf_terminate(&b.body, &text), ERR_OK);
	/* And what it holds, at Anthropic again. */
	assert_int_equal(bridge(DIALECT_INVOKE, ROUTE_BEDROCK_COUNT,
				ROUTE_COUNT_TOKENS, text, NULL, &back),
			 ERR_OK);
	assert_true(span_is(buf_span(&back.body),
			    "{\"model\":\"" MODEL
			    "\",\"messages\":[],\"thinking\":"
			    "{\"budget_tokens\":1024}}"));
	invoke_bridge_fini(&b);
	invoke_bridge_fini(&back);
}

static void test_bad_requests_are_refused(void **state)
{
	static const struct {
		enum dialect client;
		enum route from, to;
		const char *body, *beta;
		enum err want;
		const char *why;
	} table[] = {
		{DIALECT_ANTHROPIC, ROUTE_MESSAGES, ROUTE_INVOKE, "[]", NULL,
		 ERR_FORMAT, "the body is no JSON object"},
		{DIALECT_ANTHROPIC, ROUTE_MESSAGES, ROUTE_INVOKE, "{", NULL,
		 ERR_FORMAT, "the body is no JSON object"},
		{DIALECT_ANTHROPIC, ROUTE_MESSAGES, ROUTE_INVOKE, "{}", "a\"b",
		 ERR_FORMAT, "anthropic-beta: a malformed name"},
		{DIALECT_ANTHROPIC, ROUTE_MESSAGES, ROUTE_INVOKE,
		 "{\"anthropic_beta\":{}}", NULL, ERR_FORMAT,
		 "anthropic_beta: not a list"},
		{DIALECT_INVOKE, ROUTE_INVOKE, ROUTE_MESSAGES,
		 "{\"anthropic_beta\":[1]}", NULL, ERR_FORMAT,
		 "anthropic_beta: a malformed name"},
		{DIALECT_INVOKE, ROUTE_INVOKE, ROUTE_MESSAGES,
		 "{\"anthropic_beta\":[\"a\\r\\nb: c\"]}", NULL, ERR_FORMAT,
		 "anthropic-beta: a malformed name"},
		{DIALECT_INVOKE, ROUTE_BEDROCK_COUNT, ROUTE_COUNT_TOKENS, "{}",
		 NULL, ERR_UNSUPPORTED,
		 "input.invokeModel.body: missing or not base64"},
		{DIALECT_INVOKE, ROUTE_BEDROCK_COUNT, ROUTE_COUNT_TOKENS,
		 "{\"input\":{\"invokeModel\":{\"body\":\"W10=\"}}}", NULL,
		 ERR_FORMAT, "the body is no JSON object"},
	};
	struct invoke_bridge_result b;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(bridge(table[i].client, table[i].from,
					table[i].to, table[i].body,
					table[i].beta, &b),
				 table[i].want);
		assert_string_equal(b.error_text, table[i].why);
		invoke_bridge_fini(&b);
	}
}

static void test_too_many_betas_are_refused(void **state)
{
	struct invoke_bridge_result b;
	struct buf body;
	const char *text;
	int i;

	(void)state;
	buf_init(&body, 65536);
	assert_int_equal(buf_put_text(&body, "{\"anthropic_beta\":["), ERR_OK);
	for (i = 0; i < 33; i++)
		assert_int_equal(buf_printf(&body, "%s\"b-%d\"", i ? "," : "",
					    i),
				 ERR_OK);
	assert_int_equal(buf_put_text(&body, "]}"), ERR_OK);
	assert_int_equal(buf_terminate(&body, &text), ERR_OK);
	assert_int_equal(bridge(DIALECT_INVOKE, ROUTE_INVOKE, ROUTE_MESSAGES,
				text, NULL, &b),
			 ERR_LIMIT);
	assert_string_equal(b.error_text, "anthropic-beta: too many names");
	invoke_bridge_fini(&b);
	buf_fini(&body);
}

static enum err inspect(enum route route, const char *model, const char *body,
			struct request_facts *f)
{
	static struct seen seen;

	memset(&seen, 0, sizeof(seen));
	request_facts_init(f);
	assert_int_equal(span_copy_text(span_text(model), f->model,
					sizeof(f->model)),
			 ERR_OK);
	return dialect_invoke.inspect(route, span_text(body), &seen, f);
}

static void check_features(enum route route, const char *body, const char *want)
{
	struct request_facts f;

	assert_int_equal(inspect(route, MODEL, body, &f), ERR_OK);
	assert_string_equal(f.model, MODEL);
	assert_int_equal(f.stream, route == ROUTE_INVOKE_STREAM);
	if (want)
		assert_true(bedrock_test_has(&f.features, want));
	else
		assert_int_equal(f.features.len_bytes, 0);
	request_facts_fini(&f);
}

static void test_requests_are_judged_as_anthropics(void **state)
{
	static const char tools[] =
		"{\"anthropic_version\":\"bedrock-2023-05-31\","
		"\"messages\":[],\"stream\":false,\"model\":\"other\","
		"\"tools\":[{\"type\":\"web_search_20250305\","
		"\"name\":\"w\"}]}";
	struct request_facts f;
	struct buf count;
	const char *text;

	(void)state;
	check_features(ROUTE_INVOKE,
		       "{\"anthropic_version\":\"bedrock-2023-05-31\","
		       "\"messages\":[]}",
		       NULL);
	check_features(ROUTE_INVOKE_STREAM, tools, "web_search");
	buf_init(&count, 4096);
	assert_int_equal(buf_put_text(&count, "{\"input\":{\"invokeModel\":"
					      "{\"body\":\""),
			 ERR_OK);
	assert_int_equal(text_base64(span_text(tools), &count), ERR_OK);
	assert_int_equal(buf_put_text(&count, "\"}}}"), ERR_OK);
	assert_int_equal(buf_terminate(&count, &text), ERR_OK);
	check_features(ROUTE_BEDROCK_COUNT, text, "web_search");
	buf_fini(&count);
	check_features(ROUTE_BEDROCK_COUNT,
		       "{\"input\":{\"converse\":{\"messages\":[{\"role\":"
		       "\"user\",\"content\":[{\"image\":{\"source\":"
		       "{\"s3Location\":{}}}}]}]}}}",
		       "s3_object");

	assert_int_equal(inspect(ROUTE_INVOKE, "", "{\"messages\":[]}", &f),
			 ERR_FORMAT);
	assert_string_equal(f.error_text, "the path names no model");
	request_facts_fini(&f);
	assert_int_equal(inspect(ROUTE_BEDROCK_COUNT, MODEL, "{\"input\":1}",
				 &f),
			 ERR_FORMAT);
	request_facts_fini(&f);
	assert_int_equal(inspect(ROUTE_BEDROCK_COUNT, MODEL,
				 "{\"input\":{\"invokeModel\":{\"body\":"
				 "\"?\"}}}",
				 &f),
			 ERR_FORMAT);
	assert_string_equal(f.error_text,
			    "input: neither a converse nor an invokeModel "
			    "body");
	request_facts_fini(&f);
	/* Who knows which of two bodies is counted. */
	assert_int_equal(inspect(ROUTE_BEDROCK_COUNT, MODEL,
				 "{\"input\":{\"converse\":{\"messages\":[]},"
				 "\"invokeModel\":{\"body\":\"e30=\"}}}",
				 &f),
			 ERR_FORMAT);
	request_facts_fini(&f);
	/* Another maker's model has a body of another form. */
	assert_int_equal(inspect(ROUTE_INVOKE, MODEL, "{\"messages\":[]}", &f),
			 ERR_FORMAT);
	request_facts_fini(&f);
}

/* --- replies ---------------------------------------------------------------
 */

/* A recording's events as Bedrock would frame them. */
static void frame_events(struct span sse, struct buf *frames)
{
	struct sse_event ev;
	const char *text;
	struct sse s;

	sse_init(&s, SSE_EVENT_MAX_BYTES);
	while (sse_next(&s, &sse, &ev) == ERR_OK) {
		struct buf data;

		if (!ev.has_data || span_is(ev.name, "ping"))
			continue;
		buf_init(&data, BEDROCK_TEST_MAX_BYTES);
		assert_int_equal(buf_put_span(&data, ev.data), ERR_OK);
		assert_int_equal(buf_terminate(&data, &text), ERR_OK);
		bedrock_test_chunk(frames, text);
		buf_fini(&data);
	}
	sse_fini(&s);
}

/* The data of a stream's events, a line each, pings left out. */
static void list_data(struct span sse, struct buf *out)
{
	struct sse_event ev;
	struct sse s;

	sse_init(&s, SSE_EVENT_MAX_BYTES);
	while (sse_next(&s, &sse, &ev) == ERR_OK) {
		if (!ev.has_data || span_is(ev.name, "ping"))
			continue;
		assert_int_equal(buf_put_span(out, ev.data), ERR_OK);
		assert_int_equal(buf_put_u8(out, '\n'), ERR_OK);
	}
	sse_fini(&s);
}

static void list_chunks(struct span frames, struct buf *out)
{
	struct eventstream_frame f;
	struct eventstream s;
	struct json doc;
	struct buf base64;

	json_init(&doc);
	buf_init(&base64, BEDROCK_TEST_MAX_BYTES);
	eventstream_init(&s, EVENTSTREAM_FRAME_MAX_BYTES);
	while (eventstream_next(&s, &frames, &f) == ERR_OK) {
		assert_true(span_is(f.event_type, "chunk"));
		assert_int_equal(json_parse(&doc, f.payload, NULL), ERR_OK);
		buf_reset(&base64);
		assert_int_equal(json_string(&doc,
					     json_get(&doc, JSON_ROOT, "bytes"),
					     &base64),
				 ERR_OK);
		assert_int_equal(text_unbase64(buf_span(&base64), out), ERR_OK);
		assert_int_equal(buf_put_u8(out, '\n'), ERR_OK);
	}
	assert_null(s.error_text);
	eventstream_fini(&s);
	buf_fini(&base64);
	json_fini(&doc);
}

static struct reply *unwrap(void)
{
	return invoke_bridge_reply(DIALECT_ANTHROPIC, DIALECT_INVOKE, true);
}

static struct reply *wrap(void)
{
	return invoke_bridge_reply(DIALECT_INVOKE, DIALECT_ANTHROPIC, true);
}

static void check_recording(const char *path)
{
	struct bedrock_test_outcome o;
	struct buf sse, frames, want, got;
	size_t i;

	bedrock_test_read_file(path, &sse);
	buf_init(&frames, 4 * BEDROCK_TEST_MAX_BYTES);
	buf_init(&want, BEDROCK_TEST_MAX_BYTES);
	buf_init(&got, BEDROCK_TEST_MAX_BYTES);
	frame_events(buf_span(&sse), &frames);
	list_data(buf_span(&sse), &want);
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		/* Frames to events: nothing of an event changes. */
		bedrock_test_run(unwrap(), buf_span(&frames), chunks[i], 0, &o);
		assert_int_equal(o.err, ERR_OK);
		assert_int_equal(o.state, REPLY_DONE);
		assert_false(bedrock_test_has(&o.early, "message_stop"));
		assert_true(o.summary.usage_known);
		buf_reset(&got);
		list_data(buf_span(&o.all), &got);
		assert_true(span_equal(buf_span(&got), buf_span(&want)));
		bedrock_test_drop(&o);
		/* Frames to frames: nothing at all changes. */
		bedrock_test_run(dialect_invoke.stream_new(), buf_span(&frames),
				 chunks[i], 0, &o);
		assert_int_equal(o.err, ERR_OK);
		assert_true(span_equal(buf_span(&o.all), buf_span(&frames)));
		assert_true(o.early.len_bytes < o.all.len_bytes);
		bedrock_test_drop(&o);
		/* Events to frames. */
		bedrock_test_run(wrap(), buf_span(&sse), chunks[i], 0, &o);
		assert_int_equal(o.err, ERR_OK);
		assert_true(o.early.len_bytes < o.all.len_bytes);
		buf_reset(&got);
		list_chunks(buf_span(&o.all), &got);
		assert_true(span_equal(buf_span(&got), buf_span(&want)));
		bedrock_test_drop(&o);
	}
	buf_fini(&sse);
	buf_fini(&frames);
	buf_fini(&want);
	buf_fini(&got);
}

static void test_recordings_survive(void **state)
{
	glob_t found;
	size_t i;

	(void)state;
	if (glob(RECORDINGS, 0, NULL, &found) != 0)
		skip();
	for (i = 0; i < found.gl_pathc; i++)
		/* One is too large for every chunk size under a sanitizer. */
		if (!strstr(found.gl_pathv[i], "pause_turn"))
			check_recording(found.gl_pathv[i]);
	globfree(&found);
}

static const char *const turn[] = {
	"{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],"
	"\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}",
	"{\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
	"{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"bash\",\"input\":{}}}",
	"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
	"\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":1}\"}}",
	"{\"type\":\"content_block_stop\",\"index\":0}",
	"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},"
	"\"usage\":{\"output_tokens\":4}}",
	"{\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":"
	"{\"inputTokenCount\":3}}",
};

static void put_turn(struct buf *frames, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		bedrock_test_chunk(frames, turn[i]);
}

static void test_a_denied_call_becomes_a_text(void **state)
{
	struct bedrock_test_outcome o;
	struct buf frames, got;

	(void)state;
	buf_init(&frames, 65536);
	buf_init(&got, 65536);
	put_turn(&frames, ARRAY_SIZE(turn));
	bedrock_test_run(dialect_invoke.stream_new(), buf_span(&frames), 0, 1,
			 &o);
	assert_int_equal(o.err, ERR_OK);
	assert_string_equal(o.arguments, "{\"a\":1}");
	list_chunks(buf_span(&o.all), &got);
	assert_false(bedrock_test_has(&got, "tool_use"));
	assert_true(bedrock_test_has(&got, "Kenaz denied the tool call bash: "
					   "rule no-shell"));
	assert_true(bedrock_test_has(&got, "\"stop_reason\":\"end_turn\""));
	assert_true(bedrock_test_has(&got, "invocationMetrics"));
	bedrock_test_drop(&o);

	bedrock_test_run(unwrap(), buf_span(&frames), 0, 1, &o);
	assert_int_equal(o.err, ERR_OK);
	assert_false(bedrock_test_has(&o.all, "tool_use"));
	assert_true(bedrock_test_has(&o.all, "event: message_stop"));
	bedrock_test_drop(&o);

	/* Held frames do not go on before the verdict. */
	buf_reset(&frames);
	put_turn(&frames, 3);
	bedrock_test_run(dialect_invoke.stream_new(), buf_span(&frames), 0, 0,
			 &o);
	assert_int_equal(o.err, ERR_SHORT);
	buf_reset(&got);
	bedrock_test_show_frames(buf_span(&o.early), &got);
	assert_true(bedrock_test_has(&got, "chunk"));
	/* message_start and no more. */
	assert_ptr_equal(memchr(got.data, '\n', got.len_bytes),
			 got.data + got.len_bytes - 1);
	bedrock_test_drop(&o);
	buf_fini(&frames);
	buf_fini(&got);
}

static void test_cut_anywhere_is_an_error(void **state)
{
	struct bedrock_test_outcome o;
	struct buf frames;
	size_t len;

	(void)state;
	buf_init(&frames, 65536);
	put_turn(&frames, ARRAY_SIZE(turn));
	for (len = 0; len < frames.len_bytes; len++) {
		bedrock_test_run(unwrap(), span_of(frames.data, len), 500, 0,
				 &o);
		assert_int_equal(o.err, ERR_SHORT);
		assert_true(bedrock_test_has(&o.all, "event: error\n"));
		bedrock_test_drop(&o);
		bedrock_test_run(dialect_invoke.stream_new(),
				 span_of(frames.data, len), 500, 0, &o);
		assert_int_equal(o.err, ERR_SHORT);
		assert_true(
			bedrock_test_has(&o.all, "internalServerException"));
		bedrock_test_drop(&o);
	}
	buf_fini(&frames);
}

static void test_exceptions_become_errors(void **state)
{
	struct bedrock_test_outcome o;
	struct buf frames;

	(void)state;
	buf_init(&frames, 65536);
	put_turn(&frames, 1);
	bedrock_test_exception(&frames, "throttlingException",
			       "{\"message\":\"slow down\"}");
	bedrock_test_run(unwrap(), buf_span(&frames), 0, 0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_string_equal(o.upstream_error, "throttlingException: slow down");
	assert_true(bedrock_test_has(
		&o.all, "event: error\ndata: {\"type\":\"error\",\"error\":"
			"{\"type\":\"rate_limit_error\",\"message\":"
			"\"slow down\"}}\n\n"));
	bedrock_test_drop(&o);
	bedrock_test_run(dialect_invoke.stream_new(), buf_span(&frames), 0, 0,
			 &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_true(span_equal(buf_span(&o.all), buf_span(&frames)));
	bedrock_test_drop(&o);
	buf_fini(&frames);

	/* And Anthropic's own error, in a frame. */
	bedrock_test_run(wrap(),
			 span_text("event: error\ndata: {\"type\":\"error\","
				   "\"error\":{\"type\":\"overloaded_error\","
				   "\"message\":\"busy\"}}\n\n"),
			 0, 0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_true(bedrock_test_has(&o.all, "serviceUnavailableException"));
	assert_true(bedrock_test_has(&o.all, "{\"message\":\"busy\"}"));
	bedrock_test_drop(&o);
}

static void check_chunk_refused(const char *payload, const char *why)
{
	struct bedrock_test_outcome o;
	struct buf frames;

	buf_init(&frames, 65536);
	bedrock_test_frame(&frames, "chunk", payload);
	bedrock_test_run(unwrap(), buf_span(&frames), 0, 0, &o);
	assert_int_equal(o.err, ERR_FORMAT);
	assert_string_equal(o.error_text, why);
	bedrock_test_drop(&o);
	buf_fini(&frames);
}

static void test_malformed_chunks_are_refused(void **state)
{
	struct bedrock_test_outcome o;
	struct buf frames;

	(void)state;
	check_chunk_refused("", "a chunk without bytes");
	check_chunk_refused("{}", "a chunk without bytes");
	check_chunk_refused("{\"bytes\":1}", "a chunk without bytes");
	check_chunk_refused("{\"bytes\":\"?\"}", "a chunk that is not base64");
	check_chunk_refused("{\"bytes\":\"e30=\"}", "an event without a type");
	check_chunk_refused("{\"bytes\":\"ew==\"}",
			    "an event that is not valid JSON");

	buf_init(&frames, 65536);
	put_turn(&frames, 2);
	frames.data[frames.len_bytes - 3] ^= 1;
	bedrock_test_run(unwrap(), buf_span(&frames), 0, 0, &o);
	assert_int_equal(o.err, ERR_FORMAT);
	assert_string_equal(o.error_text, "a frame with a wrong checksum");
	bedrock_test_drop(&o);
	/* A frame of a kind that is not known is no error. */
	buf_reset(&frames);
	bedrock_test_frame(&frames, "future", "{}");
	put_turn(&frames, ARRAY_SIZE(turn));
	bedrock_test_run(dialect_invoke.stream_new(), buf_span(&frames), 0, 0,
			 &o);
	assert_int_equal(o.err, ERR_OK);
	assert_true(span_equal(buf_span(&o.all), buf_span(&frames)));
	bedrock_test_drop(&o);
	buf_fini(&frames);
}

static void test_line_ends_inside_an_event(void **state)
{
	struct bedrock_test_outcome o;
	struct buf frames;

	(void)state;
	buf_init(&frames, 65536);
	bedrock_test_chunk(&frames, "{\n\"type\":\"message_start\",\r\n"
				    "\"message\":{\"content\":[]}}");
	bedrock_test_run(unwrap(), buf_span(&frames), 0, 0, &o);
	assert_true(bedrock_test_has(&o.early,
				     "event: message_start\ndata: { \"type\":"
				     "\"message_start\",  \"message\":"
				     "{\"content\":[]}}\n\n"));
	bedrock_test_drop(&o);
	buf_fini(&frames);
}

static void test_plain_replies(void **state)
{
	static const char body[] =
		"{\"type\":\"message\",\"content\":[{\"type\":\"tool_use\","
		"\"id\":\"t\",\"name\":\"bash\",\"input\":{}}],"
		"\"stop_reason\":\"tool_use\"}";
	struct bedrock_test_outcome o;

	(void)state;
	bedrock_test_run(dialect_invoke.body_new(), span_text(body), 7, 0, &o);
	assert_int_equal(o.err, ERR_OK);
	assert_int_equal(o.judged, 1);
	assert_true(span_is(buf_span(&o.all), body));
	bedrock_test_drop(&o);
	bedrock_test_run(dialect_invoke.body_new(), span_text(body), 7, 1, &o);
	assert_true(bedrock_test_has(&o.all, "\"stop_reason\":\"end_turn\""));
	bedrock_test_drop(&o);
	bedrock_test_run(dialect_invoke.body_new(), span_text("{"), 7, 1, &o);
	assert_int_equal(o.err, ERR_FORMAT);
	assert_true(span_is(buf_span(&o.all),
			    "{\"message\":\"a reply that is not valid "
			    "JSON\"}"));
	bedrock_test_drop(&o);
}

/* Frames to frames by way of the neutral form. */
static void test_translated_replies(void **state)
{
	struct neutral_answer answer = {.model = span_text("m"),
					.stream = true};
	struct bedrock_test_outcome o;
	struct buf frames, got;

	(void)state;
	buf_init(&frames, 65536);
	buf_init(&got, 65536);
	put_turn(&frames, ARRAY_SIZE(turn));
	bedrock_test_run(reply_translate_new(&dialect_invoke, true,
					     &dialect_invoke, &answer),
			 buf_span(&frames), 0, 0, &o);
	assert_int_equal(o.err, ERR_OK);
	list_chunks(buf_span(&o.all), &got);
	assert_true(bedrock_test_has(&got, "{\"type\":\"message_start\""));
	assert_true(bedrock_test_has(&got, "\"partial_json\":\"{\\\"a\\\":1}"));
	assert_true(bedrock_test_has(&got, "{\"type\":\"message_stop\"}"));
	bedrock_test_drop(&o);

	bedrock_test_exception(&frames, "modelTimeoutException",
			       "{\"message\":\"late\"}");
	bedrock_test_run(reply_translate_new(&dialect_invoke, true,
					     &dialect_invoke, &answer),
			 span_of(frames.data + 0, frames.len_bytes - 9), 0, 0,
			 &o);
	assert_int_not_equal(o.err, ERR_OK);
	bedrock_test_drop(&o);
	buf_reset(&frames);
	put_turn(&frames, 1);
	bedrock_test_exception(&frames, "modelTimeoutException",
			       "{\"message\":\"late\"}");
	bedrock_test_run(reply_translate_new(&dialect_invoke, true,
					     &dialect_invoke, &answer),
			 buf_span(&frames), 0, 0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	/* Nothing was handed on yet: an error before the stream. */
	assert_true(bedrock_test_has(&o.all, "{\"message\":\""));
	assert_true(bedrock_test_has(&o.all, "late"));
	bedrock_test_drop(&o);
	buf_reset(&frames);
	put_turn(&frames, 1);
	bedrock_test_chunk(&frames, "{\"type\":\"content_block_start\","
				    "\"index\":0,\"content_block\":{\"type\":"
				    "\"text\",\"text\":\"hi\"}}");
	bedrock_test_exception(&frames, "modelTimeoutException",
			       "{\"message\":\"late\"}");
	bedrock_test_run(reply_translate_new(&dialect_invoke, true,
					     &dialect_invoke, &answer),
			 buf_span(&frames), 0, 0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_true(bedrock_test_has(&o.all, "modelStreamErrorException"));
	bedrock_test_drop(&o);
	buf_fini(&frames);
	buf_fini(&got);
}

static void test_translated_requests(void **state)
{
	const struct dialect_target t = {.route = ROUTE_INVOKE_STREAM,
					 .model = span_text(MODEL),
					 .stream = true};
	struct neutral_request r;
	struct buf out;

	(void)state;
	neutral_request_init(&r);
	buf_init(&out, BODY_MAX_BYTES);
	assert_int_equal(dialect_invoke.read_request(
				 ROUTE_INVOKE_STREAM,
				 span_text(VERSION
					   ",\"max_tokens\":9,\"messages\":"
					   "[{\"role\":\"user\",\"content\":"
					   "\"hi\"}]}"),
				 &r),
			 ERR_OK);
	assert_true(r.stream);
	assert_int_equal(dialect_invoke.write_request(&r, &t, &out), ERR_OK);
	assert_true(bedrock_test_has(&out, VERSION));
	assert_true(bedrock_test_has(&out, "\"max_tokens\":9"));
	assert_false(bedrock_test_has(&out, "\"model\""));
	assert_false(bedrock_test_has(&out, "\"stream\""));
	neutral_request_fini(&r);
	buf_fini(&out);
	neutral_request_init(&r);
	assert_int_equal(dialect_invoke.read_request(ROUTE_BEDROCK_COUNT,
						     span_text("{}"), &r),
			 ERR_UNSUPPORTED);
	neutral_request_fini(&r);
}

/* --- errors ----------------------------------------------------------------
 */

static void test_errors_have_aws_names(void **state)
{
	static const struct {
		const char *name;
		unsigned status;
		enum neutral_error kind;
	} table[] = {
		{"ThrottlingException:http://internal.amazon.com/", 400,
		 NEUTRAL_ERROR_RATE},
		{"com.amazon.coral.service#AccessDeniedException", 400,
		 NEUTRAL_ERROR_PERMISSION},
		{"validationException", 0, NEUTRAL_ERROR_INVALID},
		{"overloaded_error", 0, NEUTRAL_ERROR_OVERLOADED},
		{"FutureException", 404, NEUTRAL_ERROR_NOT_FOUND},
		{"FutureException", 0, NEUTRAL_ERROR_API},
		{"", 429, NEUTRAL_ERROR_RATE},
	};
	struct buf b;
	unsigned status;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++)
		assert_int_equal(bedrock_error_kind(span_text(table[i].name),
						    table[i].status),
				 table[i].kind);
	assert_string_equal(bedrock_error_type(403), "AccessDeniedException");
	assert_string_equal(bedrock_error_type(502), "InternalServerException");
	assert_string_equal(bedrock_error_type(429), "ThrottlingException");
	assert_string_equal(bedrock_error_name(NEUTRAL_ERROR_TIMEOUT, &status),
			    "ModelTimeoutException");
	assert_int_equal(status, 408);

	buf_init(&b, 4096);
	assert_int_equal(bedrock_read_error(400,
					    span_text("{\"Message\":\"no\","
						      "\"__type\":\"x#"
						      "ThrottlingException\"}"),
					    &b),
			 NEUTRAL_ERROR_RATE);
	assert_true(span_is(buf_span(&b), "no"));
	buf_reset(&b);
	assert_int_equal(bedrock_read_error(404, span_text("<html>"), &b),
			 NEUTRAL_ERROR_NOT_FOUND);
	assert_int_equal(b.len_bytes, 0);
	assert_int_equal(bedrock_put_error(&b, "x", span_text("a \"b\"")),
			 ERR_OK);
	assert_true(span_is(buf_span(&b), "{\"message\":\"a \\\"b\\\"\"}"));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_become_invocations),
		cmocka_unit_test(test_only_known_betas_are_sent),
		cmocka_unit_test(test_invocations_become_messages),
		cmocka_unit_test(test_counts_are_wrapped),
		cmocka_unit_test(test_bad_requests_are_refused),
		cmocka_unit_test(test_too_many_betas_are_refused),
		cmocka_unit_test(test_requests_are_judged_as_anthropics),
		cmocka_unit_test(test_recordings_survive),
		cmocka_unit_test(test_a_denied_call_becomes_a_text),
		cmocka_unit_test(test_cut_anywhere_is_an_error),
		cmocka_unit_test(test_exceptions_become_errors),
		cmocka_unit_test(test_malformed_chunks_are_refused),
		cmocka_unit_test(test_line_ends_inside_an_event),
		cmocka_unit_test(test_plain_replies),
		cmocka_unit_test(test_translated_replies),
		cmocka_unit_test(test_translated_requests),
		cmocka_unit_test(test_errors_have_aws_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
