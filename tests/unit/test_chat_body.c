/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_chat_body.c - what reaches the guest of a plain completion
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/chat.h"
#include "tests/lib/reply_run.h"

#define WHOLE (1u << 20)

#define CALL(id, name, args)                                      \
	"{\"id\":\"" id                                           \
	"\",\"type\":\"function\",\"function\":{\"name\":\"" name \
	"\",\"arguments\":\"" args "\"}}"
#define CHOICE(n, message, why)                 \
	"{\"index\":" n ",\"message\":" message \
	",\"logprobs\":null,\"finish_reason\":\"" why "\"}"
#define BODY(choices)                                                      \
	"{ \"id\":\"c1\", \"object\":\"chat.completion\",\"created\":1,"   \
	"\"model\":\"m\",\n\"choices\":[" choices "],\"usage\":{"          \
	"\"prompt_tokens\":5,\"completion_tokens\":7,\"total_tokens\":12," \
	"\"prompt_tokens_details\":{\"cached_tokens\":2}},\"x\":1}\n"

static const char two_calls[] = BODY(
	CHOICE("0",
	       "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL(
		       "a", "bash", "{\\\"x\\\":1}") ", " CALL("b", "read",
							       "") "]}",
	       "tool_calls"));

static void run(const char *text, size_t chunk, unsigned deny,
		struct reply_run *o)
{
	reply_run(chat_body_new(), span_text(text), chunk, deny, o);
}

static void passes_unchanged(void **state)
{
	static const char *const bodies[] = {
		two_calls,
		BODY(CHOICE("0", "{\"role\":\"assistant\",\"content\":\"hi\"}",
			    "stop")),
		BODY(CHOICE("0",
			    "{\"role\":\"assistant\",\"function_call\":{"
			    "\"name\":\"f\",\"arguments\":\"{}\"}}",
			    "function_call")),
		"{\"object\":\"list\",\"data\":[{\"id\":\"m\"}]}",
	};
	struct reply_run o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bodies); i++) {
		run(bodies[i], 3, 0, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_int_equal(o.early.len_bytes, 0);
		assert_true(span_is(buf_span(&o.all), bodies[i]));
		reply_run_fini(&o);
	}
	run(two_calls, WHOLE, 0, &o);
	assert_string_equal(o.calls, "bash({\"x\":1}) read({}) ");
	assert_string_equal(o.summary.stop_reason, "tool_calls");
	assert_int_equal(o.summary.input_tokens, 5);
	assert_int_equal(o.summary.output_tokens, 7);
	assert_int_equal(o.summary.cache_read_tokens, 2);
	reply_run_fini(&o);
}

#define DENIED(name) \
	"Kenaz denied the tool call " name ": rule no-shell (not allowed)."

static void replaces_denied_calls(void **state)
{
	static const struct {
		const char *body;
		unsigned deny;
		const char *want;
	} cases[] = {
		{two_calls, 1,
		 BODY(CHOICE(
			 "0",
			 "{\"role\":\"assistant\",\"content\":\"" DENIED(
				 "bash") "\",\"tool_calls\":[" CALL("b", "read",
								    "") "]}",
			 "tool_calls"))},
		{two_calls, 3,
		 BODY(CHOICE("0",
			     "{\"role\":\"assistant\",\"content\":\"" DENIED(
				     "bash") "\\n\\n" DENIED("read") "\"}",
			     "stop"))},
		{BODY(CHOICE("0",
			     "{\"tool_calls\":[" CALL("a", "bash", "{}") "]}",
			     "tool_calls")),
		 1,
		 BODY(CHOICE("0", "{\"content\":\"" DENIED("bash") "\"}",
			     "stop"))},
		{BODY(CHOICE("0",
			     "{\"tool_calls\":[" CALL(
				     "a", "bash",
				     "{}") "],\"content\":\"so\",\"y\":1}",
			     "stop")),
		 1,
		 BODY(CHOICE("0",
			     "{\"content\":\"so\\n\\n" DENIED(
				     "bash") "\",\"y\":1}",
			     "stop"))},
		{BODY(CHOICE("0",
			     "{\"content\":\"\",\"tool_calls\":[" CALL(
				     "a", "bash", "{}") "]}",
			     "tool_calls")),
		 1,
		 BODY(CHOICE("0", "{\"content\":\"" DENIED("bash") "\"}",
			     "stop"))},
		{BODY(CHOICE("0",
			     "{\"content\":[{\"type\":\"text\",\"text\":"
			     "\"so\"}],\"tool_calls\":[" CALL("a", "bash",
							      "{}") "]}",
			     "tool_calls")),
		 1,
		 BODY(CHOICE("0",
			     "{\"content\":[{\"type\":\"text\",\"text\":"
			     "\"so\"},{\"type\":\"text\",\"text\":\"" DENIED(
				     "bash") "\"}]}",
			     "stop"))},
		{BODY(CHOICE("0",
			     "{\"role\":\"assistant\",\"function_call\":{"
			     "\"name\":\"f\",\"arguments\":\"{}\"}}",
			     "function_call")),
		 1,
		 BODY(CHOICE("0",
			     "{\"content\":\"" DENIED(
				     "f") "\",\"role\":\"assistant\","
					  "\"function_call\":null}",
			     "stop"))},
		/* Every choice is judged. */
		{BODY(CHOICE("0", "{\"content\":\"hi\"}", "stop") "," CHOICE(
			 "1",
			 "{\"content\":null,\"tool_calls\":[" CALL("a", "bash",
								   "{}") "]}",
			 "tool_calls") "," CHOICE("2",
						  "{\"content\":null,"
						  "\"tool_calls\":[" CALL(
							  "b", "read",
							  "{}") "]}",
						  "tool_calls")),
		 1,
		 BODY(CHOICE("0", "{\"content\":\"hi\"}", "stop") "," CHOICE(
			 "1", "{\"content\":\"" DENIED("bash") "\"}",
			 "stop") "," CHOICE("2",
					    "{\"content\":null,"
					    "\"tool_calls\":[" CALL("b", "read",
								    "{}") "]}",
					    "tool_calls"))},
		/* Arguments that cannot be read are denied without asking. */
		{BODY(CHOICE("0",
			     "{\"content\":null,\"tool_calls\":[" CALL(
				     "a", "bash", "{") "]}",
			     "tool_calls")),
		 0,
		 BODY(CHOICE("0",
			     "{\"content\":\"Kenaz denied the tool call bash: "
			     "its arguments are not one valid JSON object.\"}",
			     "stop"))},
	};
	struct reply_run o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		run(cases[i].body, 100, cases[i].deny, &o);
		assert_int_equal(o.state, REPLY_DONE);
		if (!span_is(buf_span(&o.all), cases[i].want))
			fail_msg("%zu: %.*s", i, (int)o.all.len_bytes,
				 (const char *)o.all.data);
		reply_run_fini(&o);
	}
}

static void refuses_what_is_no_completion(void **state)
{
	static const struct {
		const char *body, *why;
	} cases[] = {
		{"", "not valid JSON"},
		{"{\"choices\":[", "not valid JSON"},
		{"[]", "no JSON object"},
		{"{}", "a completion without choices"},
		{"{\"choices\":[]}", "a completion without choices"},
		{"{\"choices\":[1]}", "without message and finish_reason"},
		{"{\"choices\":[{\"message\":{}}]}",
		 "without message and finish_reason"},
		{BODY(CHOICE("0", "{}", "error")), "broke the answer off"},
		{BODY(CHOICE("0", "{\"tool_calls\":{}}", "stop")),
		 "tool_calls that are no list"},
		{BODY(CHOICE("0", "{\"tool_calls\":[{\"id\":\"a\"}]}", "stop")),
		 "without a proper id and name"},
		{"{\"error\":{\"message\":\"boom\",\"code\":429}}",
		 "the provider reported an error"},
	};
	struct reply_run o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		run(cases[i].body, 1, 0, &o);
		if (o.state != REPLY_FAILED ||
		    !strstr(o.error_text, cases[i].why))
			fail_msg("%zu: %s", i, o.error_text);
		assert_true(buf_contains(&o.all, "{\"error\":{\"message\":"));
		reply_run_fini(&o);
	}
	run(cases[10].body, 1, 0, &o);
	assert_string_equal(o.upstream_error, "429: boom");
	reply_run_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes_unchanged),
		cmocka_unit_test(replaces_denied_calls),
		cmocka_unit_test(refuses_what_is_no_completion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
