/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_converse_response.c - Converse's responses, passed through and read
 *
 * Real recordings lie in tests/streams; the other streams are made here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>

#include "engine/gate/converse.h"
#include "engine/gate/reply_translate.h"
#include "tests/lib/bedrock_frames.h"

#define RECORDINGS "tests/streams/bedrock-runtime.R.amazonaws.com/*.bin"

static const size_t chunks[] = {1, 2, 3, 7, 0, BEDROCK_TEST_MAX_BYTES};

/* Frames by letters: see the switch. */
static void put(struct buf *b, const char *letters)
{
	for (; *letters; letters++) {
		const char *type = "contentBlockDelta", *payload = "";

		switch (*letters) {
		case '<':
			type = "messageStart";
			payload = "{\"role\":\"assistant\",\"p\":\"ab\"}";
			break;
		case 't':
			payload = "{\"contentBlockIndex\":0,\"delta\":"
				  "{\"text\":\"Hel\"}}";
			break;
		case 'e':
			payload = "{\"contentBlockIndex\":0,\"delta\":"
				  "{\"text\":\"\"}}";
			break;
		case '0':
			type = "contentBlockStop";
			payload = "{\"contentBlockIndex\":0}";
			break;
		case 'C':
			type = "contentBlockStart";
			payload = "{\"contentBlockIndex\":2,\"start\":"
				  "{\"toolUse\":{\"toolUseId\":\"id_1\","
				  "\"name\":\"bash\"}}}";
			break;
		case 'a':
			payload = "{\"contentBlockIndex\":2,\"delta\":"
				  "{\"toolUse\":{\"input\":\"{\\\"a\\\":\"}}}";
			break;
		case 'b':
			payload = "{\"contentBlockIndex\":2,\"delta\":"
				  "{\"toolUse\":{\"input\":\"1}\"}}}";
			break;
		case '2':
			type = "contentBlockStop";
			payload = "{\"contentBlockIndex\":2}";
			break;
		case 'r':
			payload = "{\"contentBlockIndex\":3,\"delta\":"
				  "{\"reasoningContent\":{\"text\":\"Hm\"}}}";
			break;
		case 's':
			payload = "{\"contentBlockIndex\":3,\"delta\":"
				  "{\"reasoningContent\":{\"signature\":"
				  "\"SIG\"}}}";
			break;
		case '3':
			type = "contentBlockStop";
			payload = "{\"contentBlockIndex\":3}";
			break;
		case 'R':
			payload = "{\"contentBlockIndex\":4,\"delta\":"
				  "{\"reasoningContent\":{\"redactedContent\":"
				  "\"b3BhcXVl\"}}}";
			break;
		case '4':
			type = "contentBlockStop";
			payload = "{\"contentBlockIndex\":4}";
			break;
		case 'i':
			type = "contentBlockStart";
			payload = "{\"contentBlockIndex\":5,\"start\":"
				  "{\"image\":{\"format\":\"png\"}}}";
			break;
		case 'I':
			payload = "{\"contentBlockIndex\":5,\"delta\":"
				  "{\"image\":{\"source\":{\"bytes\":\"\"}}}}";
			break;
		case '5':
			type = "contentBlockStop";
			payload = "{\"contentBlockIndex\":5}";
			break;
		case 'c':
			payload = "{\"contentBlockIndex\":0,\"delta\":"
				  "{\"citation\":{\"title\":\"x\"}}}";
			break;
		case '?':
			type = "somethingNew";
			payload = "{}";
			break;
		case '>':
			type = "messageStop";
			payload = "{\"stopReason\":\"end_turn\"}";
			break;
		case 'T':
			type = "messageStop";
			payload = "{\"p\":\"abc\", \"stopReason\" : "
				  "\"tool_use\" }";
			break;
		case 'M':
			type = "messageStop";
			payload = "{\"stopReason\":\"malformed_tool_use\"}";
			break;
		case 'u':
			type = "metadata";
			payload = "{\"usage\":{\"inputTokens\":3,"
				  "\"outputTokens\":4,\"totalTokens\":12,"
				  "\"cacheReadInputTokens\":5,"
				  "\"cacheWriteInputTokens\":1},"
				  "\"metrics\":{\"latencyMs\":7}}";
			break;
		case 'X':
			bedrock_test_exception(b, "throttlingException",
					       "{\"message\":\"slow down\"}");
			continue;
		default:
			abort();
		}
		bedrock_test_frame(b, type, payload);
	}
}

static void run(const char *letters, unsigned deny,
		struct bedrock_test_outcome *o)
{
	struct buf b;

	buf_init(&b, BEDROCK_TEST_MAX_BYTES);
	put(&b, letters);
	bedrock_test_run(converse_stream_new(), buf_span(&b), 0, deny, o);
	buf_fini(&b);
}

static void check_identity(const char *path)
{
	struct bedrock_test_outcome o;
	struct buf bytes;
	size_t i;

	bedrock_test_read_file(path, &bytes);
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		bedrock_test_run(converse_stream_new(), buf_span(&bytes),
				 chunks[i], 0, &o);
		assert_int_equal(o.err, ERR_OK);
		assert_int_equal(o.state, REPLY_DONE);
		assert_true(span_equal(buf_span(&o.all), buf_span(&bytes)));
		assert_false(bedrock_test_has(&o.early, "messageStop"));
		assert_true(o.summary.usage_known);
		assert_true(o.summary.stop_reason[0]);
		bedrock_test_drop(&o);
	}
	buf_fini(&bytes);
}

static void check_cuts(const char *path)
{
	struct bedrock_test_outcome o;
	struct buf bytes, trace;
	size_t len, stop;
	const uint8_t *at;

	bedrock_test_read_file(path, &bytes);
	at = memmem(bytes.data, bytes.len_bytes, "stopReason", 10);
	assert_non_null(at);
	/* A cut behind messageStop may fall between two frames. */
	stop = (size_t)(at - bytes.data);
	buf_init(&trace, BEDROCK_TEST_MAX_BYTES);
	for (len = 0; len < stop; len++) {
		bedrock_test_run(converse_stream_new(),
				 span_of(bytes.data, len), 999, 0, &o);
		assert_int_equal(o.err, ERR_SHORT);
		assert_int_equal(o.state, REPLY_FAILED);
		assert_true(bedrock_test_has(&o.all, ":exception-type"));
		assert_false(bedrock_test_has(&o.all, "stopReason"));
		bedrock_test_drop(&o);
		if (len % 3)
			continue;
		buf_reset(&trace);
		assert_int_equal(bedrock_test_trace(&dialect_converse, true,
						    span_of(bytes.data, len),
						    999, &trace),
				 ERR_SHORT);
	}
	buf_fini(&trace);
	buf_fini(&bytes);
}

static void for_recordings(void (*check)(const char *path))
{
	glob_t found;
	size_t i;

	assert_int_equal(glob(RECORDINGS, 0, NULL, &found), 0);
	assert_int_equal(found.gl_pathc, 3);
	for (i = 0; i < found.gl_pathc; i++)
		check(found.gl_pathv[i]);
	globfree(&found);
}

static void test_recordings_pass_unchanged(void **state)
{
	(void)state;
	for_recordings(check_identity);
}

static void test_recordings_cut_anywhere_fail(void **state)
{
	(void)state;
	for_recordings(check_cuts);
}

static void check_read(const char *letters, const char *want)
{
	struct buf b, trace;
	size_t i;

	buf_init(&b, BEDROCK_TEST_MAX_BYTES);
	buf_init(&trace, BEDROCK_TEST_MAX_BYTES);
	put(&b, letters);
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		buf_reset(&trace);
		(void)bedrock_test_trace(&dialect_converse, true, buf_span(&b),
					 chunks[i], &trace);
		if (!span_is(buf_span(&trace), want))
			fail_msg("%s: %.*s", letters, (int)trace.len_bytes,
				 (const char *)trace.data);
	}
	buf_fini(&b);
	buf_fini(&trace);
}

static void test_streams_are_read(void **state)
{
	(void)state;
	/* No start for texts; metadata behind the stop; empty deltas. */
	check_read("<ett0>u", "start +text (Hel) (Hel) - usage(9/4 r5 w1) "
			      "stop 1 reason(end_turn) ");
	check_read("<e0>", "start stop 1 reason(end_turn) ");
	/* Numbers with gaps; the call's input in pieces. */
	check_read("<t0Cab2Tu",
		   "start +text (Hel) - +call id(id_1) name(bash) ({\"a\":) "
		   "(1}) - usage(9/4 r5 w1) stop 5 reason(tool_use) ");
	check_read("<C2T", "start +call id(id_1) name(bash) - stop 5 "
			   "reason(tool_use) ");
	check_read("<rs3R4>", "start +thinking (Hm) sig(SIG) - +redacted "
			      "sig(opaque) - stop 1 reason(end_turn) ");
	/* Only a signature: an empty thinking block all the same. */
	check_read("<s3>",
		   "start +thinking sig(SIG) - stop 1 reason(end_turn) ");
	/* What has no neutral form is named. */
	check_read("<tc?0iI5>", "start +text (Hel) - stop 1 reason(end_turn) "
				"[citation, somethingNew, image]");
	/* A block that was never stopped. */
	check_read("<tr>", "start +text (Hel) - +thinking (Hm) - stop 1 "
			   "reason(end_turn) ");
	check_read("<tX", "start +text (Hel) error 7 (slow down) ");
	check_read("<X", "start error 7 (slow down) ");
	check_read("<M", "start error 11 (the model's output was malformed) ");
}

static void test_broken_streams_are_not_read(void **state)
{
	static const struct {
		const char *letters, *why;
	} table[] = {
		{"", "the provider's stream ended before its messageStop"},
		{"<t0", "the provider's stream ended before its messageStop"},
		{"<t0u", "the provider's stream ended before its messageStop"},
		{"<<", "a second messageStart"},
		{"t", "a block before messageStart"},
		{"<>t", "a block after messageStop"},
		{"<a", "a tool call's input without its start"},
		{"<CC", "a block started twice"},
		{"<Cr", "a block inside a tool call"},
		{"<C>", "a messageStop inside a tool call"},
		{"<r3t", "a block with the wrong number"},
		{"<t0t", "a block with the wrong number"},
	};
	struct buf b, trace;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		buf_init(&b, BEDROCK_TEST_MAX_BYTES);
		buf_init(&trace, BEDROCK_TEST_MAX_BYTES);
		put(&b, table[i].letters);
		assert_int_not_equal(bedrock_test_trace(&dialect_converse, true,
							buf_span(&b), 0,
							&trace),
				     ERR_OK);
		if (!bedrock_test_has(&trace, table[i].why))
			fail_msg("%s: %.*s", table[i].letters,
				 (int)trace.len_bytes,
				 (const char *)trace.data);
		buf_fini(&b);
		buf_fini(&trace);
	}
}

static void check_frame_refused(const char *type, const char *payload,
				const char *why)
{
	struct bedrock_test_outcome o;
	struct buf b, trace;

	buf_init(&b, BEDROCK_TEST_MAX_BYTES);
	buf_init(&trace, BEDROCK_TEST_MAX_BYTES);
	put(&b, "<");
	bedrock_test_frame(&b, type, payload);
	put(&b, ">");
	assert_int_equal(bedrock_test_trace(&dialect_converse, true,
					    buf_span(&b), 0, &trace),
			 ERR_FORMAT);
	assert_true(bedrock_test_has(&trace, why));
	bedrock_test_run(converse_stream_new(), buf_span(&b), 0, 0, &o);
	assert_int_equal(o.err, ERR_FORMAT);
	assert_true(bedrock_test_has(&o.all, "internalServerException"));
	bedrock_test_drop(&o);
	buf_fini(&b);
	buf_fini(&trace);
}

static void test_malformed_frames_are_refused(void **state)
{
	(void)state;
	check_frame_refused("contentBlockDelta", "{",
			    "an event that is not valid JSON");
	check_frame_refused("contentBlockDelta", "[]",
			    "an event that is not valid JSON");
	check_frame_refused("contentBlockDelta", "{\"delta\":{\"text\":\"\"}}",
			    "a block without a number");
	check_frame_refused("contentBlockDelta",
			    "{\"contentBlockIndex\":-1,\"delta\":{}}",
			    "a block without a number");
	check_frame_refused("contentBlockStart",
			    "{\"contentBlockIndex\":0,\"start\":"
			    "{\"toolUse\":{\"toolUseId\":\"x\"}}}",
			    "a tool call without a proper id and name");
	check_frame_refused("messageStop", "{}", "a stop without a reason");
}

static void test_a_flipped_bit_is_an_error(void **state)
{
	struct bedrock_test_outcome o;
	struct buf b, trace;

	(void)state;
	buf_init(&b, BEDROCK_TEST_MAX_BYTES);
	buf_init(&trace, BEDROCK_TEST_MAX_BYTES);
	put(&b, "<t0>u");
	b.data[b.len_bytes - 1] ^= 1;
	bedrock_test_run(converse_stream_new(), buf_span(&b), 0, 0, &o);
	assert_int_equal(o.err, ERR_FORMAT);
	assert_string_equal(o.error_text, "a frame with a wrong checksum");
	assert_int_equal(o.state, REPLY_FAILED);
	bedrock_test_drop(&o);
	assert_int_equal(bedrock_test_trace(&dialect_converse, true,
					    buf_span(&b), 0, &trace),
			 ERR_FORMAT);
	buf_fini(&b);
	buf_fini(&trace);
}

static void check_shown(const struct buf *frames, const char *want)
{
	struct buf shown;

	buf_init(&shown, BEDROCK_TEST_MAX_BYTES);
	bedrock_test_show_frames(buf_span(frames), &shown);
	if (!span_is(buf_span(&shown), want))
		fail_msg("%.*s", (int)shown.len_bytes,
			 (const char *)shown.data);
	buf_fini(&shown);
}

static void test_a_denied_call_becomes_a_text(void **state)
{
	struct bedrock_test_outcome o;

	(void)state;
	run("<t0Cab2Tu", 1, &o);
	assert_int_equal(o.err, ERR_OK);
	assert_string_equal(o.arguments, "{\"a\":1}");
	assert_string_equal(o.name, "bash");
	assert_string_equal(o.summary.stop_reason, "end_turn");
	assert_int_equal(o.summary.calls_denied, 1);
	assert_int_equal(o.summary.input_tokens, 9);
	check_shown(&o.all,
		    "messageStart {\"role\":\"assistant\",\"p\":\"ab\"}\n"
		    "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":"
		    "{\"text\":\"Hel\"}}\n"
		    "contentBlockStop {\"contentBlockIndex\":0}\n"
		    "contentBlockDelta {\"contentBlockIndex\":2,\"delta\":"
		    "{\"text\":\"Kenaz denied the tool call bash: rule "
		    "no-shell (shell is not allowed).\"}}\n"
		    "contentBlockStop {\"contentBlockIndex\":2}\n"
		    "messageStop {\"p\":\"abc\", \"stopReason\" : "
		    "\"end_turn\" }\n"
		    "metadata {\"usage\":{\"inputTokens\":3,\"outputTokens\":4,"
		    "\"totalTokens\":12,\"cacheReadInputTokens\":5,"
		    "\"cacheWriteInputTokens\":1},\"metrics\":"
		    "{\"latencyMs\":7}}\n");
	bedrock_test_drop(&o);

	/* Held until its verdict, whatever that is. */
	run("<Ca", 0, &o);
	assert_int_equal(o.err, ERR_SHORT);
	assert_false(bedrock_test_has(&o.all, "toolUse"));
	bedrock_test_drop(&o);

	run("<Cb2T", 0, &o);
	assert_int_equal(o.judged, 0);
	assert_int_equal(o.summary.calls_denied, 1);
	assert_true(bedrock_test_has(&o.all, "not one valid JSON object"));
	bedrock_test_drop(&o);

	run("<C2T", 0, &o);
	assert_string_equal(o.arguments, "{}");
	assert_string_equal(o.summary.stop_reason, "tool_use");
	bedrock_test_drop(&o);
}

static void test_an_exception_ends_a_stream(void **state)
{
	struct bedrock_test_outcome o;

	(void)state;
	run("<tX", 0, &o);
	assert_int_equal(o.err, ERR_OK);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_string_equal(o.upstream_error, "throttlingException: slow down");
	assert_false(bedrock_test_has(&o.early, "throttlingException"));
	assert_true(bedrock_test_has(&o.all, "throttlingException"));
	bedrock_test_drop(&o);
	/* Not even behind the stop is it a success. */
	run("<t0>X", 0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_false(bedrock_test_has(&o.all, "messageStop"));
	bedrock_test_drop(&o);
}

static const char plain[] =
	" {\"metrics\":{\"latencyMs\":1},\"output\":{\"message\":{\"role\":"
	"\"assistant\",\"content\":[{\"reasoningContent\":{\"reasoningText\":"
	"{\"text\":\"Hm\",\"signature\":\"S\"}}},{\"reasoningContent\":"
	"{\"redactedContent\":\"b3BhcXVl\"}},{\"text\":\"Hi\"},{\"toolUse\":"
	"{\"toolUseId\":\"id_1\",\"name\":\"bash\",\"input\":{\"a\":1}}}]}},"
	"\"stopReason\":\"tool_use\",\"usage\":{\"inputTokens\":3,"
	"\"outputTokens\":4,\"totalTokens\":7}}\n";

static void run_body(const char *text, unsigned deny,
		     struct bedrock_test_outcome *o)
{
	bedrock_test_run(converse_body_new(), span_text(text), 5, deny, o);
}

static void test_plain_replies(void **state)
{
	struct bedrock_test_outcome o;
	struct buf trace;

	(void)state;
	run_body(plain, 0, &o);
	assert_int_equal(o.err, ERR_OK);
	assert_int_equal(o.early.len_bytes, 0);
	assert_true(span_is(buf_span(&o.all), plain));
	assert_int_equal(o.summary.output_tokens, 4);
	bedrock_test_drop(&o);

	run_body(plain, 1, &o);
	assert_true(bedrock_test_has(&o.all, "\"Hi\"},{\"text\":\"Kenaz denied "
					     "the tool call bash: rule "
					     "no-shell (shell is not allowed)."
					     "\"}]}},\"stopReason\":"
					     "\"end_turn\",\"usage\""));
	bedrock_test_drop(&o);

	/* The stop reason in front. */
	run_body("{\"stopReason\":\"tool_use\",\"output\":{\"message\":"
		 "{\"content\":[{\"toolUse\":{\"toolUseId\":\"i\",\"name\":"
		 "\"n\",\"input\":[]}}]}}}",
		 0, &o);
	assert_int_equal(o.judged, 0);
	assert_true(bedrock_test_has(&o.all,
				     "{\"stopReason\":\"end_turn\","
				     "\"output\":{\"message\":"
				     "{\"content\":[{\"text\":\"Kenaz"));
	bedrock_test_drop(&o);

	run_body("{\"inputTokens\":12}", 0, &o);
	assert_int_equal(o.err, ERR_OK);
	assert_true(span_is(buf_span(&o.all), "{\"inputTokens\":12}"));
	bedrock_test_drop(&o);

	buf_init(&trace, BEDROCK_TEST_MAX_BYTES);
	assert_int_equal(bedrock_test_trace(&dialect_converse, false,
					    span_text(plain), 3, &trace),
			 ERR_OK);
	assert_true(span_is(buf_span(&trace),
			    "start +thinking (Hm) sig(S) - +redacted "
			    "sig(opaque) - +text (Hi) - +call id(id_1) "
			    "name(bash) ({\"a\":1}) - usage(3/4 r0 w0) stop 5 "
			    "reason(tool_use) "));
	buf_fini(&trace);
}

static void test_malformed_plain_replies(void **state)
{
	static const char *const table[] = {
		"",
		"[]",
		"{}",
		"{\"output\":{}}",
		"{\"output\":{\"message\":{\"content\":[]}}}",
		"{\"output\":{\"message\":{\"content\":{}}},"
		"\"stopReason\":\"end_turn\"}",
		"{\"output\":{\"message\":{\"content\":[1]}},"
		"\"stopReason\":\"end_turn\"}",
		"{\"output\":{\"message\":{\"content\":[{\"text\":\"a\","
		"\"toolUse\":{}}]}},\"stopReason\":\"end_turn\"}",
		"{\"output\":{\"message\":{\"content\":[{\"toolUse\":{}}]}},"
		"\"stopReason\":\"end_turn\"}",
	};
	struct bedrock_test_outcome o;
	struct buf trace;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		run_body(table[i], 0, &o);
		assert_int_equal(o.err, ERR_FORMAT);
		assert_true(bedrock_test_has(&o.all, "{\"message\":\""));
		bedrock_test_drop(&o);
		buf_init(&trace, 4096);
		assert_int_equal(bedrock_test_trace(&dialect_converse, false,
						    span_text(table[i]), 3,
						    &trace),
				 ERR_FORMAT);
		buf_fini(&trace);
	}
}

/* Converse to Converse by way of the neutral form. */
static void translate(const char *letters, bool stream,
		      struct bedrock_test_outcome *o)
{
	const struct neutral_answer answer = {.model = span_text("m"),
					      .stream = stream};
	struct buf b;

	buf_init(&b, BEDROCK_TEST_MAX_BYTES);
	put(&b, letters);
	bedrock_test_run(reply_translate_new(&dialect_converse, true,
					     &dialect_converse, &answer),
			 buf_span(&b), 0, 0, o);
	buf_fini(&b);
}

static void test_streams_are_written(void **state)
{
	struct bedrock_test_outcome o;

	(void)state;
	translate("<rs3R4>u", true, &o);
	assert_int_equal(o.err, ERR_OK);
	assert_false(bedrock_test_has(&o.early, "messageStop"));
	check_shown(&o.all,
		    "messageStart {\"role\":\"assistant\"}\n"
		    "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":"
		    "{\"reasoningContent\":{\"text\":\"Hm\"}}}\n"
		    "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":"
		    "{\"reasoningContent\":{\"signature\":\"SIG\"}}}\n"
		    "contentBlockStop {\"contentBlockIndex\":0}\n"
		    "contentBlockDelta {\"contentBlockIndex\":1,\"delta\":"
		    "{\"reasoningContent\":{\"redactedContent\":"
		    "\"b3BhcXVl\"}}}\n"
		    "contentBlockStop {\"contentBlockIndex\":1}\n"
		    "messageStop {\"stopReason\":\"end_turn\"}\n"
		    "metadata {\"usage\":{\"inputTokens\":3,\"outputTokens\":4,"
		    "\"totalTokens\":13,\"cacheReadInputTokens\":5,"
		    "\"cacheWriteInputTokens\":1},\"metrics\":"
		    "{\"latencyMs\":0}}\n");
	bedrock_test_drop(&o);

	translate("<t0C2T", true, &o);
	check_shown(&o.all,
		    "messageStart {\"role\":\"assistant\"}\n"
		    "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":"
		    "{\"text\":\"Hel\"}}\n"
		    "contentBlockStop {\"contentBlockIndex\":0}\n"
		    "contentBlockStart {\"contentBlockIndex\":1,\"start\":"
		    "{\"toolUse\":{\"toolUseId\":\"id_1\",\"name\":\"bash\"}}}"
		    "\ncontentBlockDelta {\"contentBlockIndex\":1,\"delta\":"
		    "{\"toolUse\":{\"input\":\"{}\"}}}\n"
		    "contentBlockStop {\"contentBlockIndex\":1}\n"
		    "messageStop {\"stopReason\":\"tool_use\"}\n"
		    "metadata {\"metrics\":{\"latencyMs\":0}}\n");
	bedrock_test_drop(&o);

	translate("<tX", true, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_true(bedrock_test_has(&o.all, "throttlingException"));
	assert_true(bedrock_test_has(&o.all, "{\"message\":\""));
	bedrock_test_drop(&o);
}

static void test_plain_replies_are_written(void **state)
{
	struct bedrock_test_outcome o;

	(void)state;
	translate("<t0Cab2rs3R4Tu", false, &o);
	assert_int_equal(o.err, ERR_OK);
	assert_int_equal(o.early.len_bytes, 0);
	assert_true(span_is(
		buf_span(&o.all),
		"{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":"
		"[{\"text\":\"Hel\"},{\"toolUse\":{\"toolUseId\":\"id_1\","
		"\"name\":\"bash\",\"input\":{\"a\":1}}},{\"reasoningContent\":"
		"{\"reasoningText\":{\"text\":\"Hm\",\"signature\":\"SIG\"}}},"
		"{\"reasoningContent\":{\"redactedContent\":\"b3BhcXVl\"}}]}},"
		"\"stopReason\":\"tool_use\",\"usage\":{\"inputTokens\":3,"
		"\"outputTokens\":4,\"totalTokens\":13,"
		"\"cacheReadInputTokens\":5,\"cacheWriteInputTokens\":1},"
		"\"metrics\":{\"latencyMs\":0}}"));
	bedrock_test_drop(&o);

	translate("<tX", false, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_true(bedrock_test_has(&o.all, "{\"message\":\""));
	bedrock_test_drop(&o);
}

static void test_bytes_that_are_no_text_survive(void **state)
{
	struct buf text, again;

	(void)state;
	buf_init(&text, 1024);
	buf_init(&again, 1024);
	assert_int_equal(converse_get_redacted(span_text("AAEC/w=="), &text),
			 ERR_OK);
	assert_true(span_is(buf_span(&text), "kenaz.blob.AAEC/w=="));
	assert_int_equal(converse_put_redacted(&again, buf_span(&text)),
			 ERR_OK);
	assert_true(span_is(buf_span(&again), "AAEC/w=="));
	buf_reset(&text);
	assert_int_equal(converse_get_redacted(span_text("?"), &text),
			 ERR_FORMAT);
	buf_fini(&text);
	buf_fini(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recordings_pass_unchanged),
		cmocka_unit_test(test_recordings_cut_anywhere_fail),
		cmocka_unit_test(test_streams_are_read),
		cmocka_unit_test(test_broken_streams_are_not_read),
		cmocka_unit_test(test_malformed_frames_are_refused),
		cmocka_unit_test(test_a_flipped_bit_is_an_error),
		cmocka_unit_test(test_a_denied_call_becomes_a_text),
		cmocka_unit_test(test_an_exception_ends_a_stream),
		cmocka_unit_test(test_plain_replies),
		cmocka_unit_test(test_malformed_plain_replies),
		cmocka_unit_test(test_streams_are_written),
		cmocka_unit_test(test_plain_replies_are_written),
		cmocka_unit_test(test_bytes_that_are_no_text_survive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
