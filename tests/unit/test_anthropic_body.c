/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_anthropic_body.c - what reaches the guest of a plain JSON reply
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/anthropic_reply.h"

#define CALL(id, name)                                                     \
	"{ \"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"" name "\"," \
	"\"input\":{\"command\":\"ls\"} }"
#define MESSAGE(content, reason)                                            \
	"{\"id\":\"msg_1\", \"type\":\"message\",\"stop_reason\":\"" reason \
	"\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}," content       \
	"],\"model\":\"model-a\",\"usage\":{\"input_tokens\":3,"            \
	"\"output_tokens\":4,\"cache_read_input_tokens\":5}}\n"

/* Denies the calls of the bit mask; gives what is released. */
static enum err run(const char *text, unsigned deny, struct buf *out,
		    struct reply_summary *ret_summary, const char **ret_why)
{
	struct reply *r = anthropic_body_new();
	struct reply_verdict v = {.rule = span_text("r1")};
	struct span in = span_text(text);
	enum err e;
	unsigned n = 0;

	assert_non_null(r);
	assert_int_equal(reply_feed(r, &in, out), ERR_OK);
	e = reply_end(r, out);
	while (e == ERR_OK && r->state == REPLY_JUDGE) {
		assert_true(span_is(r->call.arguments, "{\"command\":\"ls\"}"));
		v.allow = !(deny >> n++ & 1);
		e = reply_verdict(r, &v, out);
	}
	assert_int_equal(out->len_bytes, 0);
	if (e == ERR_OK) {
		assert_int_equal(r->state, REPLY_DONE);
		assert_int_equal(reply_release(r, out), ERR_OK);
	}
	*ret_summary = r->summary;
	*ret_why = r->error_text;
	reply_free(r);
	return e;
}

static void check(const char *text, unsigned deny, const char *expected,
		  unsigned calls, unsigned denied)
{
	struct reply_summary s;
	struct buf out;
	const char *why;

	buf_init(&out, 65536);
	assert_int_equal(run(text, deny, &out, &s, &why), ERR_OK);
	if (!span_is(buf_span(&out), expected))
		fail_msg("%.*s", (int)out.len_bytes, (const char *)out.data);
	assert_int_equal(s.calls, calls);
	assert_int_equal(s.calls_denied, denied);
	buf_fini(&out);
}

static void passes_unchanged_what_is_allowed(void **state)
{
	static const char text[] =
		MESSAGE(CALL("t1", "a") " , " CALL("t2", "b"), "tool_use");

	(void)state;
	check(text, 0, text, 2, 0);
	check("{\"input_tokens\":7}", 0, "{\"input_tokens\":7}", 0, 0);
	check(" {\"data\":[]} ", 0, " {\"data\":[]} ", 0, 0);
}

#define DENIED(name)                                                     \
	"{\"type\":\"text\",\"text\":\"Kenaz denied the tool call " name \
	": rule r1.\"}"

static void replaces_denied_calls_in_place(void **state)
{
	static const char text[] =
		MESSAGE(CALL("t1", "a") " , " CALL("t2", "b"), "tool_use");

	(void)state;
	check(text, 1, MESSAGE(DENIED("a") " , " CALL("t2", "b"), "tool_use"),
	      2, 1);
	check(text, 2, MESSAGE(CALL("t1", "a") " , " DENIED("b"), "tool_use"),
	      2, 1);
	check(text, 3, MESSAGE(DENIED("a") " , " DENIED("b"), "end_turn"), 2,
	      2);
	check(MESSAGE(CALL("t1", "a"), "max_tokens"), 1,
	      MESSAGE(DENIED("a"), "max_tokens"), 1, 1);
}

static void an_input_that_is_no_object_is_denied(void **state)
{
	(void)state;
	check(MESSAGE("{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"n\","
		      "\"input\":\"ls\"}",
		      "tool_use"),
	      0,
	      MESSAGE("{\"type\":\"text\",\"text\":\"Kenaz denied the tool "
		      "call n: its input is not a JSON object.\"}",
		      "end_turn"),
	      1, 1);
}

static void reads_the_summary(void **state)
{
	struct reply_summary s;
	struct buf out;
	const char *why;

	(void)state;
	buf_init(&out, 65536);
	assert_int_equal(run(MESSAGE(CALL("t", "n"), "tool_use"), 0, &out, &s,
			     &why),
			 ERR_OK);
	assert_string_equal(s.id, "msg_1");
	assert_string_equal(s.model, "model-a");
	assert_string_equal(s.stop_reason, "tool_use");
	assert_true(s.usage_known);
	assert_int_equal(s.input_tokens, 8);
	assert_int_equal(s.output_tokens, 4);
	buf_fini(&out);
}

static void refuses_what_is_no_reply(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"", "a reply that is not valid JSON"},
		{"{\"type\":\"mess", "a reply that is not valid JSON"},
		{"<html>", "a reply that is not valid JSON"},
		{"[]", "a reply that is no JSON object"},
		{"{\"type\":\"error\",\"error\":{\"type\":\"x\"}}",
		 "the provider reported an error"},
		{"{\"type\":\"message\"}",
		 "a message without content and stop reason"},
		{"{\"type\":\"message\",\"content\":[],\"stop_reason\":null}",
		 "a message without content and stop reason"},
		{"{\"content\":[{\"type\":\"tool_use\"}]}",
		 "a reply that is no message"},
		{MESSAGE("7", "end_turn"), "a content block without a type"},
		{MESSAGE("{\"type\":\"tool_use\",\"name\":\"n\"}", "tool_use"),
		 "a tool call without a proper id and name"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct reply_summary s;
		struct buf out;
		const char *why;

		buf_init(&out, 65536);
		if (run(bad[i].text, 0, &out, &s, &why) != ERR_FORMAT ||
		    strcmp(why, bad[i].why) != 0)
			fail_msg("%s: %s", bad[i].text, why);
		buf_fini(&out);
	}
}

static void a_failure_is_an_error_document(void **state)
{
	struct reply *r = anthropic_body_new();
	struct buf out;

	(void)state;
	buf_init(&out, 65536);
	assert_int_equal(reply_fail(r, "api_error", span_text("gone")), ERR_OK);
	assert_int_equal(reply_release(r, &out), ERR_OK);
	assert_true(span_is(buf_span(&out),
			    "{\"type\":\"error\",\"error\":{\"type\":"
			    "\"api_error\",\"message\":\"gone\"}}"));
	buf_fini(&out);
	reply_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes_unchanged_what_is_allowed),
		cmocka_unit_test(replaces_denied_calls_in_place),
		cmocka_unit_test(an_input_that_is_no_object_is_denied),
		cmocka_unit_test(reads_the_summary),
		cmocka_unit_test(refuses_what_is_no_reply),
		cmocka_unit_test(a_failure_is_an_error_document),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
