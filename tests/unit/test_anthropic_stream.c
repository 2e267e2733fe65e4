/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_anthropic_stream.c - what reaches the guest of a streamed reply
 *
 * Streams of our own lie in tests/data/gate; real recordings, where they are
 * at hand, in ../shared/streams/api.anthropic.com.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>

#include "engine/gate/anthropic_reply.h"

#define FILE_MAX_BYTES (1u << 20)

static const char *const recordings[] = {
	"../shared/streams/api.anthropic.com/*.sse",
	"../../shared/streams/api.anthropic.com/*.sse",
};

struct outcome {
	struct buf early; /* handed on before release */
	struct buf all;   /* with what release added */
	enum reply_state state;
	enum err err;
	struct reply_summary summary;
	unsigned judged;
	char arguments[256];
};

static void read_file(const char *path, struct buf *ret_bytes)
{
	FILE *f = fopen(path, "rb");
	uint8_t chunk[4096];
	size_t n;

	if (!f)
		fail_msg("cannot open %s: run the tests from the top folder",
			 path);
	buf_init(ret_bytes, FILE_MAX_BYTES);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		assert_int_equal(buf_put(ret_bytes, chunk, n), ERR_OK);
	fclose(f);
}

static size_t chunk_len(size_t chunk, size_t left, unsigned *seed)
{
	size_t len = chunk;

	if (chunk == 0) {
		*seed = *seed * 1103515245u + 12345u;
		len = *seed >> 16 & 63;
		len = len ? len : 1;
	}
	return len < left ? len : left;
}

/* Runs a stream; @deny is a bit mask over the calls in their order. */
static void run(struct span all, size_t chunk, unsigned deny,
		struct outcome *ret)
{
	static const char rule[] = "no-shell", text[] = "shell is not allowed";
	struct reply *r = anthropic_stream_new();
	struct buf *out = &ret->early;
	unsigned seed = 7;
	size_t at, len;

	*ret = (struct outcome){.err = ERR_OK};
	buf_init(&ret->early, FILE_MAX_BYTES);
	buf_init(&ret->all, FILE_MAX_BYTES);
	assert_non_null(r);
	for (at = 0; at < all.len_bytes && ret->err == ERR_OK; at += len) {
		struct span in;

		len = chunk_len(chunk, all.len_bytes - at, &seed);
		in = span_of(all.data + at, len);
		while (ret->err == ERR_OK && in.len_bytes &&
		       r->state == REPLY_OPEN) {
			struct reply_verdict v = {.rule = span_text(rule),
						  .text = span_text(text)};

			ret->err = reply_feed(r, &in, out);
			if (r->state != REPLY_JUDGE)
				continue;
			v.allow = !(deny >> ret->judged++ & 1);
			assert_int_equal(span_copy_text(r->call.arguments,
							ret->arguments,
							sizeof(ret->arguments)),
					 ERR_OK);
			assert_int_equal(reply_verdict(r, &v, out), ERR_OK);
		}
		if (r->state == REPLY_FAILED)
			break;
	}
	if (ret->err == ERR_OK && r->state == REPLY_OPEN)
		ret->err = reply_end(r, out);
	if (ret->err != ERR_OK) {
		assert_non_null(r->error_text);
		assert_int_equal(reply_fail(r, "api_error",
					    span_text(r->error_text)),
				 ERR_OK);
	}
	ret->state = r->state;
	ret->summary = r->summary;
	assert_int_equal(buf_put_span(&ret->all, buf_span(out)), ERR_OK);
	assert_int_equal(reply_release(r, &ret->all), ERR_OK);
	reply_free(r);
}

static void drop(struct outcome *o)
{
	buf_fini(&o->early);
	buf_fini(&o->all);
}

static bool contains(const struct buf *b, const char *text)
{
	return b->len_bytes &&
	       memmem(b->data, b->len_bytes, text, strlen(text)) != NULL;
}

static const size_t chunks[] = {1, 2, 3, 7, 0, FILE_MAX_BYTES};

static void check_identity(const char *path)
{
	struct buf bytes;
	struct outcome o;
	size_t i;

	read_file(path, &bytes);
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		run(buf_span(&bytes), chunks[i], 0, &o);
		if (o.err != ERR_OK || o.state != REPLY_DONE)
			fail_msg("%s in chunks of %zu: %s", path, chunks[i],
				 err_name(o.err));
		if (!span_equal(buf_span(&o.all), buf_span(&bytes)))
			fail_msg("%s in chunks of %zu: bytes differ", path,
				 chunks[i]);
		if (contains(&o.early, "message_stop"))
			fail_msg("%s: message_stop was not held", path);
		assert_true(o.summary.usage_known);
		drop(&o);
	}
	buf_fini(&bytes);
}

/* Cut before the last event: an error at the end, message_stop nowhere. */
static void check_cuts(const char *path, size_t step)
{
	struct buf bytes;
	struct outcome o;
	const uint8_t *stop;
	size_t cut;

	read_file(path, &bytes);
	stop = memmem(bytes.data, bytes.len_bytes, "event:message_stop", 18);
	if (!stop)
		stop = memmem(bytes.data, bytes.len_bytes,
			      "event: message_stop", 19);
	assert_non_null(stop);
	for (cut = 0; cut < bytes.len_bytes - 1; cut += step) {
		bool late = cut > (size_t)(stop - bytes.data) &&
			    bytes.data[cut - 1] != '}';

		run(span_of(bytes.data, cut), 4096, 0, &o);
		if (o.state == REPLY_DONE && late) {
			drop(&o);
			continue;
		}
		if (o.state != REPLY_FAILED ||
		    !contains(&o.all,
			      "event: error\ndata: {\"type\":\"error\""))
			fail_msg("%s cut at %zu: no error", path, cut);
		if (contains(&o.all, "\"message_stop\""))
			fail_msg("%s cut at %zu: a false success", path, cut);
		drop(&o);
	}
	buf_fini(&bytes);
}

static const char *const own[] = {
	"tests/data/gate/one_tool.sse",  "tests/data/gate/two_tools.sse",
	"tests/data/gate/crlf.sse",      "tests/data/gate/cr.sse",
	"tests/data/gate/text.sse",      "tests/data/gate/thinking.sse",
	"tests/data/gate/multiline.sse",
};

static void own_streams_pass_unchanged(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(own); i++)
		check_identity(own[i]);
}

static void own_streams_cut_anywhere_are_errors(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(own); i++)
		check_cuts(own[i], 1);
}

static void each_recording(void (*check)(const char *path))
{
	glob_t found;
	size_t i, p, seen = 0;

	for (p = 0; p < ARRAY_SIZE(recordings) && !seen; p++) {
		if (glob(recordings[p], 0, NULL, &found) != 0)
			continue;
		for (i = 0; i < found.gl_pathc; i++, seen++)
			check(found.gl_pathv[i]);
		globfree(&found);
	}
	if (!seen) {
		print_message("no recordings in %s: skipped\n", recordings[0]);
		skip();
	}
}

static void recordings_pass_unchanged(void **state)
{
	(void)state;
	each_recording(check_identity);
}

static void check_cuts_coarsely(const char *path)
{
	check_cuts(path, 997);
}

static void recordings_cut_anywhere_are_errors(void **state)
{
	(void)state;
	each_recording(check_cuts_coarsely);
}

static void summary_overwrites_usage(void **state)
{
	struct buf bytes;
	struct outcome o;

	(void)state;
	read_file(own[0], &bytes);
	run(buf_span(&bytes), 5, 0, &o);
	assert_string_equal(o.summary.id, "msg_own_1");
	assert_string_equal(o.summary.model, "model-a");
	assert_string_equal(o.summary.stop_reason, "tool_use");
	assert_int_equal(o.summary.input_tokens, 22);
	assert_int_equal(o.summary.output_tokens, 42);
	assert_int_equal(o.summary.cache_read_tokens, 7);
	assert_int_equal(o.summary.cache_write_tokens, 5);
	assert_int_equal(o.summary.calls, 1);
	assert_int_equal(o.judged, 1);
	assert_string_equal(o.arguments, "{\"command\": \"ls -l\"}");
	drop(&o);
	buf_fini(&bytes);
}

static void nothing_of_a_call_goes_on_before_its_verdict(void **state)
{
	struct reply *r = anthropic_stream_new();
	struct buf bytes, out;
	struct span in;

	(void)state;
	read_file(own[0], &bytes);
	buf_init(&out, FILE_MAX_BYTES);
	in = buf_span(&bytes);
	assert_int_equal(reply_feed(r, &in, &out), ERR_OK);
	assert_int_equal(r->state, REPLY_JUDGE);
	assert_true(in.len_bytes > 0);
	assert_false(contains(&out, "tool_use"));
	assert_false(contains(&out, "input_json_delta"));
	assert_true(span_is(r->call.id, "toolu_1"));
	assert_true(span_is(r->call.name, "bash"));
	assert_int_equal(r->call.index, 1);
	buf_fini(&out);
	buf_fini(&bytes);
	reply_free(r);
}

static void a_denied_call_becomes_a_text_and_ends_the_turn(void **state)
{
	size_t i, f;

	(void)state;
	for (f = 0; f < ARRAY_SIZE(own); f++)
		for (i = 0; i < ARRAY_SIZE(chunks); i++) {
			struct buf bytes;
			struct outcome o;

			if (!strstr(own[f], "one_tool") &&
			    !strstr(own[f], "cr") &&
			    !strstr(own[f], "multiline"))
				continue;
			read_file(own[f], &bytes);
			run(buf_span(&bytes), chunks[i], 1, &o);
			assert_int_equal(o.state, REPLY_DONE);
			assert_int_equal(o.summary.calls_denied, 1);
			assert_string_equal(o.summary.stop_reason, "end_turn");
			assert_false(contains(&o.all, "tool_use"));
			assert_false(contains(&o.all, "input_json_delta"));
			assert_true(contains(&o.all,
					     "\"stop_reason\":\"end_turn\""));
			assert_true(contains(
				&o.all,
				"Kenaz denied the tool call bash: rule no-shell"
				" (shell is not allowed)."));
			drop(&o);
			buf_fini(&bytes);
		}
}

static void a_call_that_remains_keeps_the_stop_reason(void **state)
{
	struct buf bytes;
	struct outcome o;

	(void)state;
	read_file(own[1], &bytes);
	run(buf_span(&bytes), 3, 1, &o);
	assert_int_equal(o.judged, 2);
	assert_int_equal(o.summary.calls, 2);
	assert_int_equal(o.summary.calls_denied, 1);
	assert_true(contains(&o.all, "\"stop_reason\":\"tool_use\""));
	assert_true(contains(&o.all, "toolu_2"));
	assert_false(contains(&o.all, "toolu_1"));
	drop(&o);
	run(buf_span(&bytes), 3, 3, &o);
	assert_true(contains(&o.all, "\"stop_reason\":\"end_turn\""));
	assert_false(contains(&o.all, "tool_use"));
	/* Own streams of two denied calls are streams again. */
	{
		struct outcome again;

		run(buf_span(&o.all), 1, 0, &again);
		assert_int_equal(again.state, REPLY_DONE);
		assert_int_equal(again.summary.calls, 0);
		drop(&again);
	}
	drop(&o);
	buf_fini(&bytes);
}

#define START                                                       \
	"event: message_start\ndata: {\"type\":\"message_start\","  \
	"\"message\":{\"id\":\"m\",\"model\":\"x\",\"content\":[]," \
	"\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n"
#define EVENT(name, rest) \
	"event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
#define CALL_START                                                        \
	EVENT("content_block_start", ",\"index\":0,\"content_block\":{"   \
				     "\"type\":\"tool_use\",\"id\":\"t\"" \
				     ",\"name\":\"n\",\"input\":{}}")
#define CALL_DELTA(json)                                              \
	EVENT("content_block_delta", ",\"index\":0,\"delta\":{"       \
				     "\"type\":\"input_json_delta\"," \
				     "\"partial_json\":\"" json "\"}")
#define TEXT_START                                                      \
	EVENT("content_block_start", ",\"index\":0,\"content_block\":{" \
				     "\"type\":\"text\",\"text\":\"\"}")
#define BLOCK_STOP EVENT("content_block_stop", ",\"index\":0")
#define FINISH                                                \
	EVENT("message_delta", ",\"delta\":{\"stop_reason\":" \
			       "\"tool_use\"},\"usage\":{"    \
			       "\"output_tokens\":2}")        \
	EVENT("message_stop", "")

static void refuses_what_breaks_the_dialect(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{START START, "a second message_start"},
		{EVENT("message_start", ",\"message\":7"),
		 "message_start without an empty message"},
		{EVENT("message_start", ",\"message\":{\"content\":[{"
					"\"type\":\"tool_use\"}]}"),
		 "message_start without an empty message"},
		{TEXT_START, "a content_block_start out of turn"},
		{START TEXT_START TEXT_START,
		 "a content_block_start out of turn"},
		{START EVENT("content_block_start", ",\"index\":1"),
		 "a content block with the wrong index"},
		{START EVENT("content_block_start", ",\"index\":0"),
		 "a content block without a type"},
		{START EVENT("content_block_start",
			     ",\"index\":0,\"content_block\":{"
			     "\"type\":\"tool_use\",\"name\":\"n\"}"),
		 "a tool call without a proper id and name"},
		{START EVENT("content_block_start",
			     ",\"index\":0,\"content_block\":{\"type\":"
			     "\"tool_use\",\"id\":\"t\",\"name\":\"\"}"),
		 "a tool call without a proper id and name"},
		{START EVENT("content_block_start",
			     ",\"index\":0,\"content_block\":{\"type\":"
			     "\"tool_use\",\"id\":\"t\",\"name\":\"n\","
			     "\"input\":[1]}"),
		 "a tool call whose input is no object"},
		{START EVENT("content_block_start",
			     ",\"index\":0,\"content_block\":{\"type\":"
			     "\"tool_use\",\"id\":\"t\",\"name\":\"n\","
			     "\"input\":{\"a\":1}}") CALL_DELTA("{}"),
		 "a tool call with two inputs"},
		{START CALL_START EVENT("content_block_delta",
					",\"index\":0,\"delta\":{\"type\":"
					"\"text_delta\",\"text\":\"x\"}"),
		 "a tool call with a foreign delta"},
		{START CALL_DELTA("{}"), "a content_block_delta out of turn"},
		{START CALL_START EVENT("content_block_delta",
					",\"index\":3,\"delta\":{}"),
		 "a content_block_delta out of turn"},
		{START BLOCK_STOP, "a content_block_stop out of turn"},
		{START TEXT_START FINISH, "a message_delta out of turn"},
		{START EVENT("message_stop", ""),
		 "a message_stop without a stop reason"},
		{START FINISH TEXT_START, "a content_block_start out of turn"},
		{START FINISH START, "a second message_start"},
		{"event: ping\ndata: {\"type\":\"message_start\"}\n\n",
		 "an event whose name is not its type"},
		{"data: {\"type\":7}\n\n", "an event without a type"},
		{"data: [1]\n\n", "an event without a type"},
		{"event: message_stop\n\n", "an event without data"},
		{"data: {\"type\":\"ping\",\"type\":\"error\"}\n\n",
		 "an event that is not valid JSON"},
		{"data: <html>\n\n", "an event that is not valid JSON"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct span in = span_text(bad[i].text);
		struct reply *r = anthropic_stream_new();
		struct buf out;

		buf_init(&out, FILE_MAX_BYTES);
		if (reply_feed(r, &in, &out) != ERR_FORMAT ||
		    strcmp(r->error_text, bad[i].why) != 0)
			fail_msg("row %zu: %s", i, r->error_text);
		buf_fini(&out);
		reply_free(r);
	}
}

static void a_call_nobody_can_judge_is_denied(void **state)
{
	static const char *const bad[] = {
		"{\\\"command\\\":\\\"ls\\\",\\\"command\\\":\\\"rm\\\"}",
		"{\\\"command\\\": \\\"l",
		"[1]",
		"{}x",
	};
	char text[2048];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct outcome o;
		int len = snprintf(text, sizeof(text), "%s%s%s%s%s",
				   START CALL_START,
				   "event: content_block_delta\ndata: {"
				   "\"type\":\"content_block_delta\",\"index\":"
				   "0,\"delta\":{\"type\":\"input_json_delta\","
				   "\"partial_json\":\"",
				   bad[i], "\"}}\n\n", BLOCK_STOP FINISH);

		assert_true(len > 0 && (size_t)len < sizeof(text));
		run(span_text(text), 1000, 0, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_int_equal(o.judged, 0);
		assert_int_equal(o.summary.calls_denied, 1);
		assert_true(contains(&o.all, "Kenaz denied the tool call n: its"
					     " arguments are not one valid"));
		assert_true(contains(&o.all, "end_turn"));
		drop(&o);
	}
}

static void a_call_without_deltas_has_empty_arguments(void **state)
{
	struct outcome o;

	(void)state;
	run(span_text(START CALL_START BLOCK_STOP FINISH), 1000, 0, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_string_equal(o.arguments, "{}");
	drop(&o);
	run(span_text(START EVENT("content_block_start",
				  ",\"index\":0,\"content_block\":{\"type\":"
				  "\"tool_use\",\"id\":\"t\",\"name\":\"n\","
				  "\"input\":{\"a\":1}}") BLOCK_STOP FINISH),
	    1000, 0, &o);
	assert_string_equal(o.arguments, "{\"a\":1}");
	drop(&o);
}

static void a_provider_error_ends_the_stream(void **state)
{
	static const char error[] =
		"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
		"\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
	char text[2048];
	struct outcome o;

	(void)state;
	(void)snprintf(text, sizeof(text), "%s%s%s",
		       START CALL_START CALL_DELTA("{}"), error,
		       BLOCK_STOP FINISH);
	run(span_text(text), 1, 0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_false(contains(&o.all, "tool_use"));
	assert_true(contains(&o.all, error));
	assert_false(contains(&o.all, "message_stop"));
	drop(&o);
}

static void a_failure_after_message_stop_is_no_success(void **state)
{
	struct reply *r = anthropic_stream_new();
	struct span in = span_text(START FINISH);
	struct buf out;

	(void)state;
	buf_init(&out, FILE_MAX_BYTES);
	assert_int_equal(reply_feed(r, &in, &out), ERR_OK);
	assert_int_equal(reply_fail(r, "api_error", span_text("cut")), ERR_OK);
	assert_int_equal(r->state, REPLY_FAILED);
	assert_int_equal(reply_release(r, &out), ERR_OK);
	assert_false(contains(&out, "message_stop"));
	assert_true(contains(&out, "event: error\ndata: {\"type\":\"error\","
				   "\"error\":{\"type\":\"api_error\","
				   "\"message\":\"cut\"}}\n\n"));
	buf_fini(&out);
	reply_free(r);
}

static void a_ping_fits_between_any_two_events(void **state)
{
	struct reply *r = anthropic_stream_new();
	struct span in =
		span_text(START CALL_START CALL_DELTA("{}") BLOCK_STOP);
	const struct reply_verdict allow = {.allow = true};
	struct buf out;
	struct outcome o;

	(void)state;
	buf_init(&out, FILE_MAX_BYTES);
	assert_int_equal(reply_feed(r, &in, &out), ERR_OK);
	assert_int_equal(r->state, REPLY_JUDGE);
	assert_int_equal(reply_ping(r, &out), ERR_OK);
	assert_int_equal(reply_verdict(r, &allow, &out), ERR_OK);
	assert_int_equal(reply_ping(r, &out), ERR_OK);
	in = span_text(FINISH);
	assert_int_equal(reply_feed(r, &in, &out), ERR_OK);
	assert_int_equal(reply_ping(r, &out), ERR_OK);
	assert_int_equal(reply_end(r, &out), ERR_OK);
	assert_int_equal(reply_release(r, &out), ERR_OK);
	run(buf_span(&out), 5, 0, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_int_equal(o.summary.calls, 1);
	drop(&o);
	buf_fini(&out);
	reply_free(r);
}

static void hostile_names_are_escaped_in_a_denial(void **state)
{
	struct outcome o;
	static const char text[] = START EVENT(
		"content_block_start",
		",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":"
		"\"t\",\"name\":\"a\\u001b[2J\\\"b\",\"input\":{}}")
		BLOCK_STOP FINISH;

	(void)state;
	run(span_text(text), 9, 1, &o);
	assert_true(contains(&o.all, "the tool call a\\\\x1b[2J\\\"b: rule"));
	drop(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_streams_pass_unchanged),
		cmocka_unit_test(own_streams_cut_anywhere_are_errors),
		cmocka_unit_test(recordings_pass_unchanged),
		cmocka_unit_test(recordings_cut_anywhere_are_errors),
		cmocka_unit_test(summary_overwrites_usage),
		cmocka_unit_test(nothing_of_a_call_goes_on_before_its_verdict),
		cmocka_unit_test(
			a_denied_call_becomes_a_text_and_ends_the_turn),
		cmocka_unit_test(a_call_that_remains_keeps_the_stop_reason),
		cmocka_unit_test(refuses_what_breaks_the_dialect),
		cmocka_unit_test(a_call_nobody_can_judge_is_denied),
		cmocka_unit_test(a_call_without_deltas_has_empty_arguments),
		cmocka_unit_test(a_provider_error_ends_the_stream),
		cmocka_unit_test(a_failure_after_message_stop_is_no_success),
		cmocka_unit_test(a_ping_fits_between_any_two_events),
		cmocka_unit_test(hostile_names_are_escaped_in_a_denial),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
