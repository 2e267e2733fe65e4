/* SPDX-License-Identifier: Apache-2.0 */
/* test_workbench_tools.c - the tools, and what the model is told of them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "guest/workbench/conversation.h"
#include "guest/workbench/tools.h"

static struct tool_result result;

static void run(const char *name, const char *input)
{
	struct tool_call call = {.input = span_text(input)};

	tool_result_fini(&result);
	tool_result_init(&result);
	tools_run(span_text(name), &call, &result);
}

static bool says(const char *text)
{
	return memmem(result.output.data, result.output.len_bytes, text,
		      strlen(text)) != NULL;
}

static void bash_runs(void **state)
{
	(void)state;
	run("bash", "{\"command\":\"echo out; echo err >&2\"}");
	assert_false(result.is_error);
	assert_string_equal(result.status, "exit 0");
	assert_true(span_is(buf_span(&result.output), "out\nerr\n"));
	run("bash", "{\"command\":\"exit 7\"}");
	assert_true(result.is_error);
	assert_string_equal(result.status, "exit 7");
	run("bash", "{\"command\":\"kill -9 $$\"}");
	assert_string_equal(result.status, "killed by signal 9");
	run("bash", "{\"command\":\"cat; echo end\"}");
	assert_true(span_is(buf_span(&result.output), "end\n"));
	run("bash", "{\"command\":\"printf 'a\\\\033[2Jb\\\\377'\"}");
	assert_true(span_is(buf_span(&result.output), "a\\x1b[2Jb\\xff"));
}

static void bash_stops(void **state)
{
	(void)state;
	run("bash", "{\"command\":\"trap '' TERM; echo begun; "
		    "while :; do sleep 0.1; done\",\"timeout\":1}");
	assert_true(result.is_error);
	assert_string_equal(result.status, "timed out after 1 s");
	assert_true(says("begun"));
	/* What stays in the background does not keep the tool waiting. */
	run("bash", "{\"command\":\"sleep 60 & echo $!\"}");
	assert_false(result.is_error);
	run("bash", "{\"command\":\"x\",\"timeout\":601}");
	assert_true(says("600"));
}

static void bash_bounds_its_output(void **state)
{
	(void)state;
	run("bash", "{\"command\":\"echo first; head -c 200000 /dev/zero | "
		    "tr '\\\\0' x; echo last\"}");
	assert_true(says("first\n"));
	assert_true(says("xlast\n"));
	assert_true(says("bytes omitted"));
	assert_true(result.output.len_bytes < TOOL_OUTPUT_MAX_BYTES + 100);
}

static void files(void **state)
{
	char folder[] = "/tmp/kenaz-tools-XXXXXX";
	char input[256];

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(input, sizeof(input),
		       "{\"path\":\"%s/a/b\",\"content\":\"1\\n2\\n3\\n\"}",
		       folder);
	run("write", input);
	assert_false(result.is_error);
	(void)snprintf(input, sizeof(input),
		       "{\"path\":\"%s/a/b\",\"offset\":2,\"limit\":1}",
		       folder);
	run("read", input);
	assert_false(result.is_error);
	assert_true(span_is(buf_span(&result.output),
			    "2\n[more follows; use offset=3]"));
	(void)snprintf(input, sizeof(input), "{\"path\":\"%s/a/b\"}", folder);
	run("read", input);
	assert_true(span_is(buf_span(&result.output), "1\n2\n3\n"));
	(void)snprintf(input, sizeof(input), "{\"path\":\"%s/a\"}", folder);
	run("read", input);
	assert_true(result.is_error);
	run("read", "{\"path\":\"/dev/zero\"}");
	assert_true(result.is_error);
	run("read", "{\"path\":\"/nonexistent\"}");
	assert_true(says("No such file"));
	(void)snprintf(input, sizeof(input), "{\"command\":\"rm -r %s\"}",
		       folder);
	run("bash", input);
	assert_false(result.is_error);
}

static void refuses(void **state)
{
	static const char *const cases[][2] = {
		{"nope", "{}"},
		{"bash", ""},
		{"bash", "[]"},
		{"bash", "{\"command\":1}"},
		{"bash", "{\"command\":\"a\",\"command\":\"b\"}"},
		{"bash", "{\"command\":\"a\",\"timeout\":0}"},
		{"read", "{}"},
		{"read", "{\"path\":\"\"}"},
		{"read", "{\"path\":\"/etc/passwd\",\"offset\":0}"},
		{"write", "{\"path\":\"/tmp/x\"}"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		run(cases[i][0], cases[i][1]);
		assert_true(result.is_error);
		assert_true(result.output.len_bytes > 0);
	}
}

static void builds_requests(void **state)
{
	struct conversation c;
	struct model_reply *reply = calloc(1, sizeof(*reply));
	struct buf body;
	struct json j;
	const struct json_limits limits = {0};
	size_t mark;

	(void)state;
	assert_non_null(reply);
	conversation_init(&c);
	assert_int_equal(conversation_add_prompt(&c, span_text("do \"it\"")),
			 ERR_OK);
	mark = conversation_mark(&c);
	assert_int_equal(conversation_add_prompt(&c,
						 span_text("bad \xff text")),
			 ERR_FORMAT);
	assert_int_equal(conversation_mark(&c), mark);
	reply->count = 1;
	reply->blocks[0].type = MODEL_BLOCK_TOOL_USE;
	buf_init(&reply->blocks[0].content, 64);
	/* Not one strict object: the model is told that it said {}. */
	assert_int_equal(buf_put_text(&reply->blocks[0].content, "{\"a\":"),
			 ERR_OK);
	assert_int_equal(conversation_add_reply(&c, reply), ERR_OK);
	run("bash", "{\"command\":\"echo hi\"}");
	assert_int_equal(conversation_add_results(&c, &result, 1), ERR_OK);
	buf_init(&body, 65536);
	assert_int_equal(conversation_request(&c, "m", &body), ERR_OK);
	json_init(&j);
	assert_int_equal(json_parse(&j, buf_span(&body), &limits), ERR_OK);
	assert_int_equal(json_count(&j, json_get(&j, JSON_ROOT, "messages")),
			 3);
	assert_int_equal(json_count(&j, json_get(&j, JSON_ROOT, "tools")), 3);
	json_fini(&j);
	buf_fini(&body);
	model_reply_fini(reply);
	free(reply);
	conversation_fini(&c);
}

static int clean(void **state)
{
	(void)state;
	tool_result_fini(&result);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bash_runs),
		cmocka_unit_test(bash_stops),
		cmocka_unit_test(bash_bounds_its_output),
		cmocka_unit_test(files),
		cmocka_unit_test(refuses),
		cmocka_unit_test(builds_requests),
	};

	return cmocka_run_group_tests(tests, NULL, clean);
}
