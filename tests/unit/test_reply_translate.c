/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_reply_translate.c - a response in one dialect, answered in another
 *
 * The wire and the client speak Anthropic here, by way of the neutral form;
 * test_translate_streams.c takes all pairs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/text.h"
#include "engine/gate/anthropic_neutral.h"
#include "engine/gate/neutral_tools.h"
#include "engine/gate/reply_translate.h"

#define EVENT(name, rest) \
	"event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
#define START                                                                \
	EVENT("message_start",                                               \
	      ",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\"" \
	      ":\"assistant\",\"model\":\"wire-model\",\"content\":[],"      \
	      "\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":4," \
	      "\"cache_creation_input_tokens\":5,\"output_tokens\":1}}")
#define BLOCK(i, block)              \
	EVENT("content_block_start", \
	      ",\"index\":" i ",\"content_block\":" block)
#define DELTA(i, delta) \
	EVENT("content_block_delta", ",\"index\":" i ",\"delta\":" delta)
#define STOP(i) EVENT("content_block_stop", ",\"index\":" i)
#define TEXT(i, text)                                 \
	BLOCK(i, "{\"type\":\"text\",\"text\":\"\"}") \
	DELTA(i, "{\"type\":\"text_delta\",\"text\":\"" text "\"}") STOP(i)
#define CALL(i, id, name, json)                                                \
	BLOCK(i, "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"" name   \
		 "\",\"input\":{}}")                                           \
	DELTA(i,                                                               \
	      "{\"type\":\"input_json_delta\",\"partial_json\":\"" json "\"}") \
	STOP(i)
#define END(reason)                                                     \
	EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"" reason  \
			       "\",\"stop_sequence\":null},\"usage\":{" \
			       "\"output_tokens\":9}")                  \
	EVENT("message_stop", "")

/* What is asked of core, and what it answers. */
struct judge {
	unsigned deny; /* bit per call */
	unsigned asked;
	char seen[256]; /* "id name arguments;" of each */
};

struct result {
	struct buf out;  /* given before release */
	struct buf rest; /* what release added */
	struct reply *reply;
	enum err e;
};

static void ask(struct judge *j, struct reply *r, struct buf *out, enum err *e)
{
	struct reply_verdict v = {.rule = span_text("r1")};
	const struct span texts[] = {r->call.id, r->call.name,
				     r->call.arguments};
	char text[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(span_copy_text(texts[i], text, sizeof(text)),
				 ERR_OK);
		text_append(j->seen, sizeof(j->seen), "%s%s", text,
			    i == 2 ? ";" : " ");
	}
	v.allow = !(j->deny >> j->asked++ & 1);
	*e = reply_verdict(r, &v, out);
}

static struct result run_as(const struct dialect_ops *client,
			    const struct neutral_answer *answer, bool streamed,
			    const char *text, struct judge *j)
{
	struct result x = {.e = ERR_OK};
	struct span in = span_text(text);

	buf_init(&x.out, 1u << 20);
	buf_init(&x.rest, 1u << 20);
	x.reply = reply_translate_new(&dialect_anthropic, streamed, client,
				      answer);
	assert_non_null(x.reply);
	while (x.e == ERR_OK && in.len_bytes && x.reply->state == REPLY_OPEN) {
		x.e = reply_feed(x.reply, &in, &x.out);
		while (x.e == ERR_OK && x.reply->state == REPLY_JUDGE)
			ask(j, x.reply, &x.out, &x.e);
	}
	if (x.e == ERR_OK && x.reply->state == REPLY_OPEN)
		x.e = reply_end(x.reply, &x.out);
	while (x.e == ERR_OK && x.reply->state == REPLY_JUDGE)
		ask(j, x.reply, &x.out, &x.e);
	if (x.e == ERR_OK)
		assert_int_equal(reply_release(x.reply, &x.rest), ERR_OK);
	return x;
}

static struct result run(bool stream, bool streamed, const char *text,
			 struct judge *j)
{
	const struct neutral_answer answer = {
		.model = span_text("asked"),
		.stream = stream,
	};

	return run_as(&dialect_anthropic, &answer, streamed, text, j);
}

static void drop(struct result *x)
{
	buf_fini(&x->out);
	buf_fini(&x->rest);
	reply_free(x->reply);
}

static void assert_bytes(const struct buf *b, const char *text)
{
	if (!span_is(buf_span(b), text))
		fail_msg("%.*s\nis not\n%s", (int)b->len_bytes,
			 (const char *)b->data, text);
}

#define WRITTEN_START                                                         \
	EVENT("message_start",                                                \
	      ",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":" \
	      "\"assistant\",\"model\":\"asked\",\"content\":[],\"stop_"      \
	      "reason\":null,\"stop_sequence\":null,\"usage\":{\"input_"      \
	      "tokens\":3,\"cache_creation_input_tokens\":5,\"cache_read_"    \
	      "input_tokens\":4,\"output_tokens\":1}}")
#define WRITTEN_END(reason)                                                   \
	EVENT("message_delta",                                                \
	      ",\"delta\":{\"stop_reason\":\"" reason "\",\"stop_sequence\":" \
	      "null},\"usage\":{\"input_tokens\":3,\"cache_creation_input_"   \
	      "tokens\":5,\"cache_read_input_tokens\":4,\"output_tokens\":"   \
	      "9}")                                                           \
	EVENT("message_stop", "")

static void hands_blocks_on_and_holds_the_end(void **state)
{
	static const char text[] = START ": comment\n\n" EVENT("ping", "")
		TEXT("0", "a") CALL("1", "c1", "t", "{\\\"x\\\": 1}")
			TEXT("2", "b") END("tool_use");
	struct judge j = {.deny = 0};
	struct result x = run(true, true, text, &j);

	(void)state;
	assert_int_equal(x.e, ERR_OK);
	assert_int_equal(x.reply->state, REPLY_DONE);
	assert_bytes(&x.out, WRITTEN_START TEXT("0", "a")
				     CALL("1", "c1", "t", "{\\\"x\\\": 1}")
					     TEXT("2", "b"));
	assert_bytes(&x.rest, WRITTEN_END("tool_use"));
	assert_string_equal(j.seen, "c1 t {\"x\": 1};");
	assert_string_equal(x.reply->summary.id, "msg_1");
	assert_string_equal(x.reply->summary.model, "wire-model");
	assert_string_equal(x.reply->summary.stop_reason, "tool_use");
	assert_int_equal(x.reply->summary.input_tokens, 12);
	assert_int_equal(x.reply->summary.output_tokens, 9);
	assert_int_equal(x.reply->summary.cache_read_tokens, 4);
	assert_int_equal(x.reply->summary.cache_write_tokens, 5);
	assert_true(x.reply->summary.usage_known);
	assert_string_equal(x.reply->content_type, "text/event-stream");
	drop(&x);
}

#define DENIED(name) "Kenaz denied the tool call " name ": rule r1."

static void a_denied_call_becomes_a_text(void **state)
{
	static const char text[] = START CALL("0", "c1", "a", "{}")
		CALL("1", "c2", "b", "{}") END("tool_use");
	struct judge first = {.deny = 1}, all = {.deny = 3};
	struct result x = run(true, true, text, &first);

	(void)state;
	assert_bytes(&x.out, WRITTEN_START TEXT("0", DENIED("a"))
				     CALL("1", "c2", "b", "{}"));
	assert_bytes(&x.rest, WRITTEN_END("tool_use"));
	assert_int_equal(x.reply->summary.calls, 2);
	assert_int_equal(x.reply->summary.calls_denied, 1);
	drop(&x);
	x = run(true, true, text, &all);
	assert_bytes(&x.out, WRITTEN_START TEXT("0", DENIED("a"))
				     TEXT("1", DENIED("b")));
	assert_bytes(&x.rest, WRITTEN_END("end_turn"));
	assert_string_equal(x.reply->summary.stop_reason, "end_turn");
	drop(&x);
}

static void arguments_that_are_no_object_are_denied(void **state)
{
	static const char *const bad[] = {
		"[1]", "{\\\"a\\\":1,\\\"a\\\":2}", "{", "{} {}", "null",
	};
	static const char text[] =
		START CALL("0", "c1", "a", "%s") END("tool_use");
	char stream[4096];
	struct judge j = {.deny = 0};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *at = strstr(text, "%s");
		struct result x;

		(void)snprintf(stream, sizeof(stream), "%.*s%s%s",
			       (int)(at - text), text, bad[i], at + 2);
		x = run(true, true, stream, &j);
		assert_int_equal(x.e, ERR_OK);
		assert_int_equal(j.asked, 0);
		assert_bytes(&x.out,
			     WRITTEN_START TEXT(
				     "0", "Kenaz denied the tool call a: its "
					  "arguments are not one valid JSON "
					  "object."));
		assert_bytes(&x.rest, WRITTEN_END("end_turn"));
		drop(&x);
	}
}

static void empty_arguments_are_an_empty_object(void **state)
{
	struct judge j = {.deny = 0};
	struct result x =
		run(true, true, START CALL("0", "c1", "a", "") END("tool_use"),
		    &j);

	(void)state;
	assert_string_equal(j.seen, "c1 a {};");
	assert_bytes(&x.out, WRITTEN_START CALL("0", "c1", "a", "{}"));
	drop(&x);
}

/* The stop reason follows the calls, not the other way round. */
static void the_stop_reason_tells_of_calls(void **state)
{
	static const struct {
		const char *in, *out;
	} table[] = {
		{START CALL("0", "c", "a", "{}") END("end_turn"), "tool_use"},
		{START TEXT("0", "a") END("tool_use"), "end_turn"},
		{START CALL("0", "c", "a", "{}") END("max_tokens"),
		 "max_tokens"},
		{START TEXT("0", "a") END("refusal"), "refusal"},
		{START TEXT("0", "a") END("pause_turn"), "pause_turn"},
		{START TEXT("0", "a") END("model_context_window_exceeded"),
		 "model_context_window_exceeded"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct judge j = {.deny = 0};
		struct result x = run(true, true, table[i].in, &j);
		char want[64];
		const char *text;

		(void)snprintf(want, sizeof(want), "\"stop_reason\":\"%s\"",
			       table[i].out);
		assert_int_equal(x.e, ERR_OK);
		assert_int_equal(buf_terminate(&x.rest, &text), ERR_OK);
		assert_non_null(strstr(text, want));
		drop(&x);
	}
}

static void a_pause_is_an_error_for_other_dialects(void **state)
{
	static const char text[] = START TEXT("0", "a") END("pause_turn");
	const struct neutral_answer answer = {.stream = true};
	struct dialect_ops other = dialect_anthropic;
	struct judge j = {.deny = 0};
	struct result x;
	const char *rest;

	(void)state;
	other.id = DIALECT_CHAT;
	x = run_as(&other, &answer, true, text, &j);
	assert_int_equal(x.e, ERR_OK);
	assert_int_equal(x.reply->state, REPLY_FAILED);
	assert_int_equal(buf_terminate(&x.rest, &rest), ERR_OK);
	assert_non_null(strstr(rest, "event: error"));
	assert_non_null(strstr(rest, "paused its turn"));
	drop(&x);
}

static void no_empty_block_and_no_gap_is_written(void **state)
{
	static const char text[] = START TEXT("0", "")
		BLOCK("1", "{\"type\":\"server_tool_use\",\"id\":\"s\","
			   "\"name\":\"web_search\",\"input\":{}}")
			DELTA("1", "{\"type\":\"input_json_delta\","
				   "\"partial_json\":\"{}\"}") STOP("1")
				TEXT("2", "a") END("end_turn");
	struct judge j = {.deny = 0};
	struct result x = run(true, true, text, &j);

	(void)state;
	assert_bytes(&x.out, WRITTEN_START TEXT("0", "a"));
	assert_string_equal(x.reply->summary.dropped, "server_tool_use");
	drop(&x);
}

static void thinking_keeps_its_signature(void **state)
{
	static const char text[] = START BLOCK(
		"0", "{\"type\":\"thinking\",\"thinking\":\"\","
		     "\"signature\":\"\"}")
		DELTA("0",
		      "{\"type\":\"thinking_delta\",\"thinking\":"
		      "\"hm\"}") DELTA("0", "{\"type\":\"signature_delta\","
					    "\"signature\":\"ab\"}") STOP("0")
			BLOCK("1", "{\"type\":\"thinking\",\"thinking\":\"\","
				   "\"signature\":\"\"}")
				DELTA("1", "{\"type\":\"signature_delta\","
					   "\"signature\""
					   ":\"alone\"}") STOP("1")
					BLOCK("2",
					      "{\"type\":\"redacted_thinking\","
					      "\"data\":\"op\"}") STOP("2")
						END("end_turn");
	struct judge j = {.deny = 0};
	struct result x = run(true, true, text, &j);

	(void)state;
	assert_bytes(
		&x.out,
		WRITTEN_START BLOCK("0",
				    "{\"type\":\"thinking\",\"thinking\":\"\","
				    "\"signature\":\"\"}")
			DELTA("0",
			      "{\"type\":\"thinking_delta\",\"thinking\":"
			      "\"hm\"}") DELTA("0",
					       "{\"type\":\"signature_delta\","
					       "\"signature\":\"ab\"}")
				STOP("0") BLOCK("1", "{\"type\":\"thinking\","
						     "\"thinking\":\"\","
						     "\"signature\":\"\"}")
					DELTA("1", "{\"type\":\"signature_"
						   "delta\",\"signature\""
						   ":\"alone\"}") STOP("1")
						BLOCK("2",
						      "{\"type\":\"redacted_"
						      "thinking\",\"data\":"
						      "\"op\"}") STOP("2"));
	drop(&x);
}

#define BODY(content, reason)                                              \
	"{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","   \
	"\"model\":\"asked\",\"content\":[" content                        \
	"],\"stop_reason\":\"" reason                                      \
	"\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,"         \
	"\"cache_creation_input_tokens\":5,\"cache_read_input_tokens\":4," \
	"\"output_tokens\":9}}"
#define BODY_CALL(id, input)                  \
	"{\"type\":\"tool_use\",\"id\":\"" id \
	"\",\"name\":\"a\",\"input\":" input "}"
#define BODY_TEXT(text) "{\"type\":\"text\",\"text\":\"" text "\"}"
#define BODY_THINKING                                                      \
	"{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"s\"}," \
	"{\"type\":\"redacted_thinking\",\"data\":\"op\"}"

static void plain_and_streamed_are_independent(void **state)
{
	static const char body[] =
		BODY(BODY_THINKING "," BODY_TEXT("t") "," BODY_CALL(
			     "c1", "{\"x\": [1]}") "," BODY_CALL("c2", "{}"),
		     "tool_use");
	struct judge j = {.deny = 2}, k = {.deny = 0}, l = {.deny = 0};
	struct result x = run(false, false, body, &j);

	(void)state;
	assert_int_equal(x.e, ERR_OK);
	assert_int_equal(x.out.len_bytes, 0);
	assert_bytes(&x.rest,
		     BODY(BODY_THINKING "," BODY_TEXT("t") "," BODY_CALL(
				  "c1",
				  "{\"x\": [1]}") "," BODY_TEXT(DENIED("a")),
			  "tool_use"));
	assert_string_equal(j.seen, "c1 a {\"x\": [1]};c2 a {};");
	assert_string_equal(x.reply->content_type, "application/json");
	drop(&x);
	/* A stream for the program, a plain body from the provider... */
	x = run(true, false, BODY(BODY_TEXT("t"), "end_turn"), &k);
	assert_int_equal(x.e, ERR_OK);
	assert_int_equal(x.out.len_bytes > 0, 1);
	assert_bytes(&x.rest, WRITTEN_END("end_turn"));
	drop(&x);
	/* ...and the other way round. */
	x = run(false, true,
		START TEXT("0", "t") CALL("1", "c1", "a", "{}") END("tool_use"),
		&l);
	assert_int_equal(x.out.len_bytes, 0);
	assert_bytes(&x.rest, BODY(BODY_TEXT("t") "," BODY_CALL("c1", "{}"),
				   "tool_use"));
	drop(&x);
}

/* A finished turn would be a guess, an error a waste. */
static void an_unknown_stop_cuts_short(void **state)
{
	struct judge j = {.deny = 0}, k = {.deny = 0}, l = {.deny = 1};
	struct result x = run(false, false, BODY(BODY_TEXT("t"), "later"), &j);

	(void)state;
	assert_int_equal(x.e, ERR_OK);
	assert_bytes(&x.rest, BODY(BODY_TEXT("t"), "max_tokens"));
	/* The log has the provider's own word. */
	assert_string_equal(x.reply->summary.stop_reason, "later");
	drop(&x);
	x = run(false, false, BODY(BODY_CALL("c1", "{}"), "later"), &k);
	assert_bytes(&x.rest, BODY(BODY_CALL("c1", "{}"), "tool_use"));
	assert_string_equal(x.reply->summary.stop_reason, "later");
	drop(&x);
	x = run(false, false, BODY(BODY_CALL("c1", "{}"), "later"), &l);
	assert_bytes(&x.rest, BODY(BODY_TEXT(DENIED("a")), "max_tokens"));
	drop(&x);
}

static void what_is_no_message_is_an_error(void **state)
{
	static const struct {
		const char *text, *why;
		bool streamed;
	} table[] = {
		{"{", "not valid JSON", false},
		{"[]", "no message", false},
		{"{\"type\":\"message\"}", "no message", false},
		{"{\"type\":\"message\",\"content\":[]}", "stop reason", false},
		{"{\"type\":\"message\",\"content\":[],\"stop_reason\":null}",
		 "stop reason", false},
		{BODY("", ""), "stop reason", false},
		{"{\"type\":\"message\",\"content\":[{}]}", "without type",
		 false},
		{"", "before its message_stop", true},
		{START, "before its message_stop", true},
		{START END("end_turn") "event: x", "before its message_stop",
		 true},
		{START START, "second message_start", true},
		{START EVENT("message_stop", ""), "without a stop reason",
		 true},
		{START STOP("0"), "content_block_stop out of turn", true},
		{START BLOCK("1", "{\"type\":\"text\"}"), "wrong index", true},
		{START BLOCK("0", "{\"type\":\"text\"}")
			 BLOCK("1", "{\"type\":\"text\"}"),
		 "content_block_start out of turn", true},
		{START BLOCK("0", "{\"type\":\"tool_use\",\"id\":\"c\","
				  "\"name\":\"a\"}")
			 DELTA("0", "{\"type\":\"text_delta\",\"text\":\"x\"}"),
		 "foreign delta", true},
		{START BLOCK("0", "{\"type\":\"tool_use\",\"id\":\"c\"}"),
		 "proper id and name", true},
		{START BLOCK("0", "{\"type\":\"tool_use\",\"id\":\"c\","
				  "\"name\":\"a\",\"input\":{\"x\":1}}")
			 DELTA("0", "{\"type\":\"input_json_delta\","
				    "\"partial_json\":\"{\"}"),
		 "two inputs", true},
		{"event: ping\ndata: {\"type\":\"message_stop\"}\n\n",
		 "name is not its type", true},
		{"data: x\n\n", "not valid JSON", true},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct judge j = {.deny = 0};
		struct result x =
			run(true, table[i].streamed, table[i].text, &j);

		if (x.e == ERR_OK || !x.reply->error_text ||
		    !strstr(x.reply->error_text, table[i].why))
			fail_msg("%s: %d %s", table[i].text, (int)x.e,
				 x.reply->error_text);
		assert_int_equal(reply_fail(x.reply, "api_error",
					    span_text("it broke")),
				 ERR_OK);
		assert_int_equal(x.reply->state, REPLY_FAILED);
		assert_int_equal(reply_release(x.reply, &x.rest), ERR_OK);
		if (x.out.len_bytes) {
			assert_int_equal(x.reply->http_status, 0);
			assert_bytes(&x.rest,
				     EVENT("error",
					   ",\"error\":{\"type\":\"api_error\","
					   "\"message\":\"it broke\"}"));
		} else {
			assert_int_equal(x.reply->http_status, 500);
			assert_bytes(&x.rest,
				     "{\"type\":\"error\",\"error\":{\"type\":"
				     "\"api_error\",\"message\":\"it broke\"}"
				     "}");
		}
		drop(&x);
	}
}

#define ERROR_EVENT                                                          \
	EVENT("error", ",\"error\":{\"type\":\"overloaded_error\",\"message" \
		       "\":\"busy\"}")

static void the_providers_error_ends_the_stream(void **state)
{
	struct judge j = {.deny = 0};
	struct result x = run(true, true, START TEXT("0", "a") ERROR_EVENT, &j);

	(void)state;
	assert_int_equal(x.e, ERR_OK);
	assert_int_equal(x.reply->state, REPLY_FAILED);
	assert_bytes(&x.out, WRITTEN_START TEXT("0", "a"));
	assert_bytes(&x.rest, ERROR_EVENT);
	assert_string_equal(x.reply->upstream_error, "overloaded_error: busy");
	assert_string_equal(x.reply->error_type, "overloaded_error");
	assert_int_equal(x.reply->http_status, 0);
	drop(&x);
	/* Before the first byte it is an answer of its own. */
	x = run(true, true, ERROR_EVENT, &j);
	assert_int_equal(x.reply->state, REPLY_FAILED);
	assert_int_equal(x.reply->http_status, 529);
	assert_string_equal(x.reply->content_type, "application/json");
	assert_bytes(&x.rest, "{\"type\":\"error\",\"error\":{\"type\":"
			      "\"overloaded_error\",\"message\":\"busy\"}}");
	drop(&x);
	/* In front of a call that waits for its verdict, and behind it. */
	x = run(true, true, START CALL("0", "c", "a", "{}") ERROR_EVENT, &j);
	assert_int_equal(x.reply->state, REPLY_FAILED);
	assert_bytes(&x.out, WRITTEN_START CALL("0", "c", "a", "{}"));
	assert_bytes(&x.rest, ERROR_EVENT);
	drop(&x);
	/* Under 200, without a stream. */
	x = run(false, false,
		"{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\","
		"\"message\":\"slow\"}}",
		&j);
	assert_int_equal(x.reply->state, REPLY_FAILED);
	assert_int_equal(x.reply->http_status, 429);
	drop(&x);
}

static void renamed_tools_get_their_names_back(void **state)
{
	const struct neutral_tool tool = {.name = span_text("files.read")};
	struct neutral_answer answer = {.stream = true};
	struct neutral_request r;
	struct judge j = {.deny = 0};
	struct result x;
	struct buf stream;
	const char *text;

	(void)state;
	buf_init(&stream, 65536);
	neutral_request_init(&r);
	assert_int_equal(neutral_add_tool(&r, &tool), ERR_OK);
	assert_int_equal(neutral_settle_names(&r), ERR_OK);
	assert_int_equal(buf_put_text(&stream, START
				      "event: content_block_start\ndata: {"
				      "\"type\":\"content_block_start\","
				      "\"index\":0,\"content_block\":{\"type\":"
				      "\"tool_use\",\"id\":\"\",\"name\":\""),
			 ERR_OK);
	assert_int_equal(buf_put_span(&stream, r.tools[0].name), ERR_OK);
	assert_int_equal(buf_put_text(&stream, "\",\"input\":{}}}\n\n" STOP("0")
						       END("tool_use")),
			 ERR_OK);
	assert_int_equal(buf_terminate(&stream, &text), ERR_OK);
	answer.names = r.names;
	x = run_as(&dialect_anthropic, &answer, true, text, &j);
	neutral_request_fini(&r);
	buf_fini(&stream);
	assert_int_equal(x.e, ERR_OK);
	assert_non_null(strstr(j.seen, " files.read {};"));
	/* The id was missing. */
	assert_memory_equal(j.seen, "call_", 5);
	drop(&x);
}

static void much_behind_a_call_waits_in_bounds(void **state)
{
	struct neutral_answer answer = {.stream = true};
	const struct reply_verdict allow = {.allow = true};
	struct reply *r = reply_translate_new(&dialect_anthropic, true,
					      &dialect_anthropic, &answer);
	struct buf in, out;
	struct span left;
	unsigned i;

	(void)state;
	buf_init(&in, 8u << 20);
	buf_init(&out, 8u << 20);
	assert_int_equal(buf_put_text(&in, START CALL("0", "c", "a", "{}")),
			 ERR_OK);
	for (i = 1; i < 5000; i++)
		assert_int_equal(
			buf_printf(&in,
				   "data: {\"type\":\"content_block_start\","
				   "\"index\":%u,\"content_block\":{\"type\":"
				   "\"text\",\"text\":\"abc\"}}\n\ndata: {"
				   "\"type\":\"content_block_stop\",\"index\":"
				   "%u}\n\n",
				   i, i),
			ERR_OK);
	left = buf_span(&in);
	assert_int_equal(reply_feed(r, &left, &out), ERR_OK);
	assert_int_equal(r->state, REPLY_JUDGE);
	/* Most of it was not even taken. */
	assert_true(left.len_bytes > in.len_bytes - 40000);
	assert_true(r->held_bytes < 65536);
	assert_int_equal(reply_verdict(r, &allow, &out), ERR_OK);
	assert_int_equal(r->state, REPLY_OPEN);
	assert_int_equal(reply_feed(r, &left, &out), ERR_OK);
	assert_int_equal(left.len_bytes, 0);
	assert_true(r->held_bytes < 65536);
	buf_fini(&in);
	buf_fini(&out);
	reply_free(r);
}

static void pings_only_a_stream(void **state)
{
	struct neutral_answer answer = {.stream = true};
	struct reply *r = reply_translate_new(&dialect_anthropic, true,
					      &dialect_anthropic, &answer);
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(reply_ping(r, &out), ERR_OK);
	assert_bytes(&out, "event: ping\ndata: {\"type\": \"ping\"}\n\n");
	reply_free(r);
	answer.stream = false;
	buf_reset(&out);
	r = reply_translate_new(&dialect_anthropic, true, &dialect_anthropic,
				&answer);
	assert_int_equal(reply_ping(r, &out), ERR_OK);
	assert_int_equal(out.len_bytes, 0);
	reply_free(r);
	buf_fini(&out);
}

static void http_errors_are_translated(void **state)
{
	static const struct {
		unsigned status;
		const char *body;
		unsigned client_status;
		const char *out;
	} table[] = {
		{429,
		 "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\","
		 "\"message\":\"slow \\\"down\\\"\"}}",
		 429,
		 "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\","
		 "\"message\":\"slow \\\"down\\\"\"}}"},
		{400,
		 "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
		 "\"message\":\"m\"}}",
		 529,
		 "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
		 "\"message\":\"m\"}}"},
		{502, "<html>", 500,
		 "{\"type\":\"error\",\"error\":{\"type\":\"api_error\","
		 "\"message\":\"the provider answered 502\"}}"},
		{408, "", 504,
		 "{\"type\":\"error\",\"error\":{\"type\":\"timeout_error\","
		 "\"message\":\"the provider answered 408\"}}"},
		{418, "", 400,
		 "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_"
		 "error\",\"message\":\"the provider answered 418\"}}"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct reply *r = reply_translate_error_new(&dialect_anthropic,
							    table[i].status,
							    &dialect_anthropic);
		struct span in = span_text(table[i].body);
		struct buf out;

		buf_init(&out, 65536);
		assert_int_equal(reply_feed(r, &in, &out), ERR_OK);
		assert_int_equal(reply_end(r, &out), ERR_OK);
		assert_int_equal(r->state, REPLY_DONE);
		assert_int_equal(r->http_status, table[i].client_status);
		assert_int_equal(out.len_bytes, 0);
		assert_int_equal(reply_release(r, &out), ERR_OK);
		assert_bytes(&out, table[i].out);
		buf_fini(&out);
		reply_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hands_blocks_on_and_holds_the_end),
		cmocka_unit_test(a_denied_call_becomes_a_text),
		cmocka_unit_test(arguments_that_are_no_object_are_denied),
		cmocka_unit_test(empty_arguments_are_an_empty_object),
		cmocka_unit_test(the_stop_reason_tells_of_calls),
		cmocka_unit_test(a_pause_is_an_error_for_other_dialects),
		cmocka_unit_test(no_empty_block_and_no_gap_is_written),
		cmocka_unit_test(thinking_keeps_its_signature),
		cmocka_unit_test(plain_and_streamed_are_independent),
		cmocka_unit_test(an_unknown_stop_cuts_short),
		cmocka_unit_test(what_is_no_message_is_an_error),
		cmocka_unit_test(the_providers_error_ends_the_stream),
		cmocka_unit_test(renamed_tools_get_their_names_back),
		cmocka_unit_test(much_behind_a_call_waits_in_bounds),
		cmocka_unit_test(pings_only_a_stream),
		cmocka_unit_test(http_errors_are_translated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
