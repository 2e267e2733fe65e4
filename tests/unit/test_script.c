/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_script.c - the scripted agent plays its scenarios, and only those
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/base/digest.h"
#include "engine/base/json.h"
#include "engine/scripted/reply.h"
#include "engine/scripted/script.h"

#define TOOLS                                                  \
	"\"tools\":[{\"name\":\"bash\"},{\"name\":\"write\"}," \
	"{\"name\":\"read\"}],"
#define RESULT                                                          \
	",{\"role\":\"assistant\",\"content\":[]},{\"role\":\"user\","  \
	"\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"x\"," \
	"\"content\":\"y\"}]}"

static struct script_turn play(const char *format, const char *prompt,
			       const char *rest)
{
	char body[4096];
	struct script_turn t;
	const char *why;

	(void)snprintf(body, sizeof(body),
		       "{\"model\":\"m\",%s\"messages\":[{\"role\":\"user\","
		       "\"content\":\"%s\"}%s]}",
		       format, prompt, rest);
	if (script_next(span_text(body), &t, &why) != ERR_OK)
		fail_msg("%s", why);
	return t;
}

static void test_default(void **state)
{
	struct script_turn t = play(TOOLS, "hi", "");

	(void)state;
	assert_string_equal(t.tool, "bash");
	assert_string_equal(t.input[0][0], "command");
	assert_string_equal(t.input[0][1], "uname -a; id -un");
	t = play(TOOLS, "hi", RESULT);
	assert_string_equal(t.tool, "write");
	assert_string_equal(t.input[0][1], "/home/agent/notes.txt");
	assert_string_equal(t.path_key, "path");
	t = play(TOOLS, "hi", RESULT RESULT);
	assert_string_equal(t.tool, "read");
	t = play(TOOLS, "hi", RESULT RESULT RESULT);
	assert_string_equal(t.tool, "");
	assert_non_null(strstr(t.text, "no model was called"));
	/* a new prompt starts anew */
	t = play(TOOLS, "hi",
		 RESULT ",{\"role\":\"user\",\"content\":\"again\"}");
	assert_string_equal(t.tool, "bash");
}

static void test_only_declared_tools(void **state)
{
	struct script_turn t = play("", "hi", "");

	(void)state;
	assert_string_equal(t.tool, "");
	t = play("\"tools\":[{\"name\":\"other\"}],", "hi", "");
	assert_string_equal(t.tool, "");
	/* a step without its own tool plays its substitute */
	t = play("\"tools\":[{\"name\":\"bash\"}],", "hi", RESULT);
	assert_string_equal(t.tool, "bash");
	assert_memory_equal(t.input[0][1], "echo ", 5);
	/* names and parameters of other programs */
	t = play("\"tools\":[{\"name\":\"Bash\"},{\"name\":\"Write\","
		 "\"input_schema\":{\"properties\":{\"file_path\":{}}}}],",
		 "hi", RESULT);
	assert_string_equal(t.tool, "Write");
	assert_string_equal(t.path_key, "file_path");
}

static void test_scenarios(void **state)
{
	struct script_turn t = play(TOOLS, "scenario: chat", "");

	(void)state;
	assert_string_equal(t.tool, "");
	t = play(TOOLS, "x\\nscenario: egress\\ny", "");
	assert_non_null(strstr(t.input[0][1], "wget"));
	t = play(TOOLS, "scenario: denied-tool", "");
	assert_string_equal(t.tool, "bash");
	assert_string_equal(t.input[0][1], "rm -rf /");
	t = play("\"tools\":[{\"name\":\"delete_everything\"}],",
		 "scenario: denied-tool", "");
	assert_string_equal(t.tool, "delete_everything");
	t = play(TOOLS, "please deny-demo now", RESULT RESULT RESULT);
	assert_non_null(strstr(t.input[0][1], "wget"));
	t = play(TOOLS, "please deny-demo now", RESULT RESULT RESULT RESULT);
	assert_string_equal(t.input[0][1], "rm -rf /");
	t = play(TOOLS, "scenario: slow", "");
	assert_int_equal(t.repeat, 20);
	assert_int_equal(t.gap_ms, 100);
	t = play(TOOLS, "scenario: long", "");
	assert_int_equal(t.repeat * strlen(t.text), SCRIPT_LONG_TEXT_BYTES);
	t = play(TOOLS, "scenario: unknown", "");
	assert_string_equal(t.tool, "bash");
	assert_string_equal(script_name_at(0), "default");
	assert_null(script_name_at(99));
}

static void test_bad_requests(void **state)
{
	static const char *const rows[] = {
		"",
		"x",
		"{}",
		"[]",
		"{\"model\":1,\"messages\":[]}",
		"{\"model\":\"m\"}",
		"{\"model\":\"m\",\"messages\":[]}",
		"{\"model\":\"m\",\"messages\":{}}",
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}",
		"{\"model\":\"m\",\"stream\":1,\"messages\":[{\"role\":"
		"\"user\",\"content\":\"x\"}]}",
		"{\"model\":\"m\",\"model\":\"n\",\"messages\":[{\"role\":"
		"\"user\",\"content\":\"x\"}]}",
	};
	struct script_turn t;
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (script_next(span_text(rows[i]), &t, &why) == ERR_OK)
			fail_msg("accepted: %s", rows[i]);
}

static struct span body_of(const struct reply *r)
{
	const uint8_t *at =
		memmem(r->bytes.data, r->bytes.len_bytes, "\r\n\r\n", 4);

	assert_non_null(at);
	at += 4;
	return span_of(at, r->bytes.len_bytes - (size_t)(at - r->bytes.data));
}

static bool holds(const struct reply *r, const char *text)
{
	return memmem(r->bytes.data, r->bytes.len_bytes, text, strlen(text));
}

static struct reply answer(const char *method, const char *path,
			   const char *body)
{
	struct http_request request = {.method = span_text(method),
				       .path = span_text(path),
				       .body = span_text(body)};
	struct reply r;

	reply_init(&r);
	assert_int_equal(reply_make(&r, &request), ERR_OK);
	assert_true(holds(&r, "x-kenaz-scripted: 1\r\n"));
	return r;
}

#define BODY(stream)                                                \
	"{\"model\":\"kenaz-scripted\"," TOOLS "\"stream\":" stream \
	",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

static void test_plain_reply(void **state)
{
	struct reply r = answer("POST", "/v1/messages", BODY("false"));
	struct json j;
	json_ref block;
	uint64_t tokens;

	(void)state;
	json_init(&j);
	assert_int_equal(json_parse(&j, body_of(&r), NULL), ERR_OK);
	assert_true(json_string_is(&j, json_get(&j, JSON_ROOT, "stop_reason"),
				   "tool_use"));
	block = json_first(&j, json_get(&j, JSON_ROOT, "content"));
	assert_true(json_string_is(&j, json_get(&j, block, "type"), "text"));
	block = json_next(&j, block);
	assert_true(json_string_is(&j, json_get(&j, block, "name"), "bash"));
	assert_true(json_string_is(&j, json_find(&j, block, "input.command"),
				   "uname -a; id -un"));
	assert_int_equal(
		json_uint(&j, json_find(&j, JSON_ROOT, "usage.input_tokens"), 1,
			  10000, &tokens),
		ERR_OK);
	json_fini(&j);
	reply_fini(&r);
}

/* Reads chunks and events back; appends all partial_json to @input. */
static void read_events(struct span s, struct buf *input, unsigned *starts,
			unsigned *stops, char *last, size_t cap)
{
	struct json j;

	for (;;) {
		const uint8_t *line = memmem(s.data, s.len_bytes, "\r\n", 2);
		char hex[16];
		unsigned long len;
		struct span event;
		const uint8_t *data;
		json_ref delta;

		assert_non_null(line);
		assert_int_equal(
			span_copy_text(span_of(s.data, (size_t)(line - s.data)),
				       hex, sizeof(hex)),
			ERR_OK);
		len = strtoul(hex, NULL, 16);
		s = span_of(line + 2, s.len_bytes - strlen(hex) - 2);
		if (len == 0)
			break;
		event = span_of(s.data, len);
		s = span_of(s.data + len + 2, s.len_bytes - len - 2);
		data = memmem(event.data, event.len_bytes, "\ndata: ", 7);
		assert_non_null(data);
		data += 7;
		json_init(&j);
		assert_int_equal(
			json_parse(&j,
				   span_of(data,
					   event.len_bytes -
						   (size_t)(data - event.data)),
				   NULL),
			ERR_OK);
		assert_int_equal(json_text(&j, json_get(&j, JSON_ROOT, "type"),
					   last, cap),
				 ERR_OK);
		assert_memory_equal(event.data + 7, last, strlen(last));
		*starts += strcmp(last, "content_block_start") == 0;
		*stops += strcmp(last, "content_block_stop") == 0;
		delta = json_find(&j, JSON_ROOT, "delta.partial_json");
		if (delta != JSON_NONE)
			assert_int_equal(json_string(&j, delta, input), ERR_OK);
		json_fini(&j);
	}
	assert_true(span_is(s, "\r\n"));
}

static void test_streamed_reply(void **state)
{
	struct reply r = answer("POST", "/v1/messages", BODY("true"));
	unsigned starts = 0, stops = 0;
	struct buf input;
	char last[64];

	(void)state;
	buf_init(&input, 4096);
	read_events(body_of(&r), &input, &starts, &stops, last, sizeof(last));
	assert_string_equal(last, "message_stop");
	assert_int_equal(starts, 2);
	assert_int_equal(stops, 2);
	assert_true(span_is(buf_span(&input),
			    "{\"command\":\"uname -a; id -un\"}"));
	assert_int_equal(r.pauses, 0);
	buf_fini(&input);
	reply_fini(&r);
}

static void test_deterministic(void **state)
{
	struct reply a = answer("POST", "/v1/messages", BODY("true"));
	struct reply b = answer("POST", "/v1/messages", BODY("true"));

	(void)state;
	assert_true(span_equal(buf_span(&a.bytes), buf_span(&b.bytes)));
	reply_fini(&a);
	reply_fini(&b);
}

static void test_pauses_and_length(void **state)
{
	struct reply r = answer("POST", "/v1/messages",
				"{\"model\":\"m\",\"stream\":true,\"messages\":"
				"[{\"role\":\"user\",\"content\":"
				"\"scenario: slow\"}]}");

	(void)state;
	assert_int_equal(r.pauses, 20);
	assert_int_equal(r.gap_ms, 100);
	reply_fini(&r);
	r = answer("POST", "/v1/messages",
		   "{\"model\":\"m\",\"stream\":true,\"messages\":"
		   "[{\"role\":\"user\",\"content\":\"scenario: long\"}]}");
	assert_true(r.bytes.len_bytes > SCRIPT_LONG_TEXT_BYTES);
	reply_fini(&r);
}

static void test_other_routes(void **state)
{
	struct reply r =
		answer("POST", "/v1/messages/count_tokens", BODY("false"));

	(void)state;
	assert_true(holds(&r, "{\"input_tokens\":"));
	reply_fini(&r);
	r = answer("GET", "/v1/models", "");
	assert_true(holds(&r, "\"id\":\"kenaz-scripted\""));
	reply_fini(&r);
	r = answer("GET", "/v1/messages", "");
	assert_true(holds(&r, "HTTP/1.1 404 "));
	assert_true(holds(&r, "not_found_error"));
	reply_fini(&r);
	r = answer("POST", "/v1/messages", "nonsense");
	assert_true(holds(&r, "HTTP/1.1 400 "));
	assert_true(holds(&r, "invalid_request_error"));
	reply_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_only_declared_tools),
		cmocka_unit_test(test_scenarios),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_plain_reply),
		cmocka_unit_test(test_streamed_reply),
		cmocka_unit_test(test_deterministic),
		cmocka_unit_test(test_pauses_and_length),
		cmocka_unit_test(test_other_routes),
	};

	if (digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
