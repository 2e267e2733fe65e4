/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_neutral.c - the form between dialects, its names and its helpers
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/neutral_queue.h"
#include "engine/gate/neutral_tools.h"
#include "engine/gate/reply.h"

static void assert_span(struct span s, const char *text)
{
	if (!span_is(s, text))
		fail_msg("\"%.*s\" is not \"%s\"", (int)s.len_bytes,
			 (const char *)s.data, text);
}

static int setup(void **state)
{
	struct neutral_request *r = calloc(1, sizeof(*r));

	neutral_request_init(r);
	*state = r;
	return r ? 0 : -1;
}

static int teardown(void **state)
{
	neutral_request_fini(*state);
	free(*state);
	return 0;
}

static void kept_bytes_stay(void **state)
{
	struct neutral_request *r = *state;
	static uint8_t big[40000];
	struct span a, b, c;

	memset(big, 'x', sizeof(big));
	assert_int_equal(neutral_keep(r, span_text("one"), &a), ERR_OK);
	assert_int_equal(neutral_keep(r, span_of(big, sizeof(big)), &b),
			 ERR_OK);
	assert_int_equal(neutral_keep(r, span_text(""), &c), ERR_OK);
	memset(big, 'y', sizeof(big));
	assert_span(a, "one");
	assert_int_equal(b.len_bytes, sizeof(big));
	assert_int_equal(b.data[sizeof(big) - 1], 'x');
	assert_non_null(c.data);
	assert_int_equal(c.len_bytes, 0);
}

static void kept_bytes_are_limited(void **state)
{
	struct neutral_request *r = *state;
	struct span kept;
	uint8_t *big = calloc(1, NEUTRAL_KEPT_BYTES);

	assert_non_null(big);
	assert_int_equal(neutral_keep(r, span_of(big, NEUTRAL_KEPT_BYTES),
				      &kept),
			 ERR_OK);
	assert_int_equal(neutral_keep(r, span_text("x"), &kept), ERR_LIMIT);
	free(big);
}

static void parts_belong_to_messages_and_results(void **state)
{
	struct neutral_request *r = *state;
	const struct neutral_part text = {.kind = NEUTRAL_TEXT, .nested = 9};
	const struct neutral_part result = {.kind = NEUTRAL_TOOL_RESULT};

	assert_int_equal(neutral_add_message(r, NEUTRAL_USER), ERR_OK);
	assert_int_equal(neutral_add_nested(r, &text), ERR_STATE);
	assert_int_equal(neutral_add_part(r, &result), ERR_OK);
	assert_int_equal(neutral_add_nested(r, &text), ERR_OK);
	assert_int_equal(neutral_add_nested(r, &text), ERR_OK);
	assert_int_equal(neutral_add_part(r, &text), ERR_OK);
	/* Something stands between the result and its parts. */
	assert_int_equal(neutral_add_nested(r, &text), ERR_STATE);
	assert_int_equal(neutral_add_message(r, NEUTRAL_ASSISTANT), ERR_OK);
	assert_int_equal(neutral_add_nested(r, &text), ERR_STATE);
	assert_int_equal(r->messages[0].part_count, 4);
	assert_int_equal(r->parts[0].nested, 2);
	assert_int_equal(r->parts[3].nested, 0);
	assert_int_equal(r->messages[1].first_part, 4);
}

static void counts_are_limited(void **state)
{
	struct neutral_request *r = *state;
	const struct neutral_part part = {.kind = NEUTRAL_TEXT};
	const struct neutral_tool tool = {.strict = false};
	uint32_t i;

	for (i = 0; i < NEUTRAL_MESSAGES_MAX; i++)
		assert_int_equal(neutral_add_message(r, NEUTRAL_USER), ERR_OK);
	assert_int_equal(neutral_add_message(r, NEUTRAL_USER), ERR_LIMIT);
	for (i = 0; i < NEUTRAL_PARTS_MAX; i++)
		assert_int_equal(neutral_add_part(r, &part), ERR_OK);
	assert_int_equal(neutral_add_part(r, &part), ERR_LIMIT);
	for (i = 0; i < NEUTRAL_TOOLS_MAX; i++)
		assert_int_equal(neutral_add_tool(r, &tool), ERR_OK);
	assert_int_equal(neutral_add_tool(r, &tool), ERR_LIMIT);
}

static void notes_are_made_once_and_limited(void **state)
{
	struct neutral_request *r = *state;
	char name[16];
	unsigned i;

	neutral_drop(r, "seed");
	neutral_drop(r, "seed");
	assert_int_equal(r->dropped_count, 1);
	for (i = 0; i < 2 * NEUTRAL_DROPPED_MAX; i++) {
		(void)snprintf(name, sizeof(name), "field %u", i);
		neutral_drop(r, name);
	}
	assert_int_equal(r->dropped_count, NEUTRAL_DROPPED_MAX);
	assert_string_equal(r->dropped[NEUTRAL_DROPPED_MAX - 1], "...");
}

static void add_call(struct neutral_request *r, const char *id,
		     const char *name)
{
	const struct neutral_part p = {
		.kind = NEUTRAL_TOOL_CALL,
		.id = span_text(id),
		.name = span_text(name),
	};

	assert_int_equal(neutral_add_part(r, &p), ERR_OK);
}

static void add_result(struct neutral_request *r, const char *id)
{
	const struct neutral_part p = {.kind = NEUTRAL_TOOL_RESULT,
				       .id = span_text(id)};

	assert_int_equal(neutral_add_part(r, &p), ERR_OK);
}

static void add_tool(struct neutral_request *r, const char *name)
{
	const struct neutral_tool t = {.name = span_text(name)};

	assert_int_equal(neutral_add_tool(r, &t), ERR_OK);
}

static bool is_accepted(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
			    "yz0123456789_-",
			    s.data[i]))
			return false;
	return s.len_bytes && s.len_bytes <= NEUTRAL_NAME_MAX_BYTES;
}

#define LONG_NAME                                                        \
	"mcp__a_server_with_a_long_name__and_a_tool_whose_name_is_even_" \
	"longer_1"

static void names_become_what_any_wire_accepts(void **state)
{
	struct neutral_request *r = *state;
	struct neutral_names *copy;
	struct span wire;

	add_tool(r, "good-name_1");
	add_tool(r, "files.read");
	add_tool(r, LONG_NAME "a");
	add_tool(r, LONG_NAME "b");
	r->choice = NEUTRAL_CHOICE_NAMED;
	r->choice_name = span_text("files.read");
	assert_int_equal(neutral_add_message(r, NEUTRAL_ASSISTANT), ERR_OK);
	add_call(r, "c1", "files.read");
	assert_int_equal(neutral_settle_names(r), ERR_OK);
	assert_span(r->tools[0].name, "good-name_1");
	wire = r->tools[1].name;
	assert_true(is_accepted(wire));
	assert_memory_equal(wire.data, "files_read_", 11);
	assert_true(span_equal(wire, r->choice_name));
	assert_true(span_equal(wire, r->parts[0].name));
	assert_true(is_accepted(r->tools[2].name));
	assert_true(is_accepted(r->tools[3].name));
	assert_false(span_equal(r->tools[2].name, r->tools[3].name));
	copy = neutral_names_copy(r->names);
	assert_non_null(copy);
	assert_span(neutral_names_find(copy, wire), "files.read");
	assert_span(neutral_names_find(copy, r->tools[3].name), LONG_NAME "b");
	assert_span(neutral_names_find(copy, span_text("good-name_1")),
		    "good-name_1");
	neutral_names_free(copy);
	assert_span(neutral_names_find(NULL, span_text("x.y")), "x.y");
	assert_null(neutral_names_copy(NULL));
}

static void a_name_that_is_none_is_refused(void **state)
{
	struct neutral_request *r = *state;
	char name[TOOL_NAME_MAX_BYTES + 2];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	add_tool(r, name);
	assert_int_equal(neutral_settle_names(r), ERR_FORMAT);
	assert_non_null(strstr(r->error_text, "a tool's name"));
	r->tools[0].name = span_text("");
	assert_int_equal(neutral_settle_names(r), ERR_FORMAT);
}

static void ids_become_unique_and_results_follow(void **state)
{
	struct neutral_request *r = *state;
	const struct neutral_part *p;

	/* Two calls of one id at once, and the same id in the next turn. */
	assert_int_equal(neutral_add_message(r, NEUTRAL_ASSISTANT), ERR_OK);
	add_call(r, "call_0", "a");
	add_call(r, "call_0", "b");
	assert_int_equal(neutral_add_message(r, NEUTRAL_USER), ERR_OK);
	add_result(r, "call_0");
	add_result(r, "call_0");
	assert_int_equal(neutral_add_message(r, NEUTRAL_ASSISTANT), ERR_OK);
	add_call(r, "call_0", "c");
	assert_int_equal(neutral_add_message(r, NEUTRAL_USER), ERR_OK);
	add_result(r, "call_0");
	/* One that stayed without a result, and its successor. */
	assert_int_equal(neutral_add_message(r, NEUTRAL_ASSISTANT), ERR_OK);
	add_call(r, "functions.x:0", "d");
	assert_int_equal(neutral_add_message(r, NEUTRAL_ASSISTANT), ERR_OK);
	add_call(r, "functions.x:0", "e");
	assert_int_equal(neutral_add_message(r, NEUTRAL_USER), ERR_OK);
	add_result(r, "functions.x:0");
	add_result(r, "of no call.");
	assert_int_equal(neutral_settle_names(r), ERR_OK);
	p = r->parts;
	assert_span(p[0].id, "call_0");
	assert_true(is_accepted(p[1].id));
	assert_false(span_equal(p[0].id, p[1].id));
	assert_true(span_equal(p[2].id, p[0].id));
	assert_true(span_equal(p[3].id, p[1].id));
	assert_false(span_equal(p[4].id, p[0].id));
	assert_false(span_equal(p[4].id, p[1].id));
	assert_true(span_equal(p[5].id, p[4].id));
	assert_true(is_accepted(p[6].id));
	assert_false(span_equal(p[6].id, p[7].id));
	assert_true(span_equal(p[8].id, p[7].id));
	assert_true(is_accepted(p[9].id));
}

static void many_ids_are_settled(void **state)
{
	struct neutral_request *r = *state;
	static char ids[5000][16];
	uint32_t i;

	assert_int_equal(neutral_add_message(r, NEUTRAL_ASSISTANT), ERR_OK);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "call:%u", i);
		add_call(r, ids[i], "a");
	}
	assert_int_equal(neutral_add_message(r, NEUTRAL_USER), ERR_OK);
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		add_result(r, ids[i]);
	assert_int_equal(neutral_settle_names(r), ERR_OK);
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		assert_true(span_equal(r->parts[i].id,
				       r->parts[ARRAY_SIZE(ids) + i].id));
}

static void base64_is_checked(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} table[] = {
		{"", false},     {"QQ==", true},      {"QUI=", true},
		{"QUJD", true},  {"QQ=", false},      {"QQ", false},
		{"Q===", false}, {"Q Q=", false},     {"QUJ_", false},
		{"=QUJ", false}, {"QQ==QUJD", false},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++)
		assert_int_equal(neutral_is_base64(span_text(table[i].text)),
				 table[i].good);
}

static void data_urls_are_split(void **state)
{
	static const char *const others[] = {
		"",
		"data:",
		"data:,x",
		"data:image/png,QUJD",
		"data:image/png;base64",
		"data:image/png;base64,",
		"data:image/png;base64,Q",
		"https://example.org/data:image/png;base64,QUJD",
	};
	struct span type = span_text("?"), data = span_text("?");
	size_t i;

	(void)state;
	assert_true(
		neutral_split_data_url(span_text("data:image/png;base64,QUJD"),
				       &type, &data));
	assert_span(type, "image/png");
	assert_span(data, "QUJD");
	assert_true(neutral_split_data_url(
		span_text("DATA:text/plain;charset=utf-8;BASE64,QQ=="), &type,
		&data));
	assert_span(type, "text/plain");
	assert_true(neutral_split_data_url(span_text("data:;base64,QQ=="),
					   &type, &data));
	assert_span(type, "");
	type = span_text("?");
	for (i = 0; i < ARRAY_SIZE(others); i++)
		assert_false(neutral_split_data_url(span_text(others[i]), &type,
						    &data));
	assert_span(type, "?");
}

static void signatures_travel_through_other_dialects(void **state)
{
	struct span s =
		neutral_signature_prefix(DIALECT_ANTHROPIC, DIALECT_RESPONSES);

	(void)state;
	assert_span(s, "kenaz.responses.");
	assert_span(neutral_signature_prefix(DIALECT_ANTHROPIC,
					     DIALECT_CONVERSE),
		    "");
	assert_span(neutral_signature_prefix(DIALECT_CHAT, DIALECT_INVOKE),
		    "kenaz.anthropic.");
	assert_span(neutral_signature_prefix(DIALECT_CHAT, DIALECT_NONE), "");
	s = span_text("kenaz.responses.abc");
	assert_int_equal(neutral_split_signature(DIALECT_ANTHROPIC, &s),
			 DIALECT_RESPONSES);
	assert_span(s, "abc");
	assert_int_equal(neutral_split_signature(DIALECT_ANTHROPIC, &s),
			 DIALECT_ANTHROPIC);
	s = span_text("");
	assert_int_equal(neutral_split_signature(DIALECT_ANTHROPIC, &s),
			 DIALECT_NONE);
	assert_true(neutral_understands(DIALECT_CONVERSE, DIALECT_ANTHROPIC));
	assert_false(neutral_understands(DIALECT_CHAT, DIALECT_RESPONSES));
	assert_false(neutral_understands(DIALECT_NONE, DIALECT_NONE));
}

static void what_is_left_out_of_a_response_is_listed(void **state)
{
	struct neutral_reader r = {.stopped = false};
	char kind[16];
	unsigned i;

	(void)state;
	neutral_note_dropped(&r, span_text("server_tool_use"));
	neutral_note_dropped(&r, span_text("tool\nx"));
	neutral_note_dropped(&r, span_text("server_tool_use"));
	neutral_note_dropped(&r, span_text("server_tool"));
	assert_string_equal(r.dropped,
			    "server_tool_use, tool\\x0ax, server_tool");
	for (i = 0; i < 100; i++) {
		(void)snprintf(kind, sizeof(kind), "kind_%u", i);
		neutral_note_dropped(&r, span_text(kind));
	}
	assert_true(strlen(r.dropped) < sizeof(r.dropped));
	neutral_note_error(&r, span_text("api_error"), span_text("bad\x1b[m"));
	assert_string_equal(r.upstream_error, "api_error: bad\\x1b[m");
	neutral_note_error(&r, span_text(""), span_text("alone"));
	assert_string_equal(r.upstream_error, "alone");
}

static void members_are_read_or_named(void **state)
{
	struct neutral_request *r = *state;
	struct span text = {0}, number = {0};
	struct json j;
	bool flag = true;

	json_init(&j);
	assert_int_equal(
		neutral_parse(r, &j,
			      span_text("{\"a\":\"x\",\"b\":\"\\u00e9\\n\","
					"\"n\":1.50,\"f\":false,\"z\":null}")),
		ERR_OK);
	assert_int_equal(neutral_read_string(r, &j, JSON_ROOT, "a", &text),
			 ERR_OK);
	assert_span(text, "x");
	assert_int_equal(neutral_read_string(r, &j, JSON_ROOT, "b", &text),
			 ERR_OK);
	assert_span(text, "\xc3\xa9\n");
	assert_int_equal(neutral_read_string(r, &j, JSON_ROOT, "z", &text),
			 ERR_OK);
	assert_span(text, "\xc3\xa9\n");
	assert_int_equal(neutral_read_string(r, &j, JSON_ROOT, "n", &text),
			 ERR_FORMAT);
	assert_string_equal(r->error_text, "n: not a string");
	assert_int_equal(neutral_read_number(r, &j, JSON_ROOT, "n", &number),
			 ERR_OK);
	assert_span(number, "1.50");
	assert_int_equal(neutral_read_number(r, &j, JSON_ROOT, "a", &number),
			 ERR_FORMAT);
	assert_int_equal(neutral_read_bool(r, &j, JSON_ROOT, "f", &flag),
			 ERR_OK);
	assert_false(flag);
	assert_int_equal(neutral_read_bool(r, &j, JSON_ROOT, "a", &flag),
			 ERR_FORMAT);
	assert_int_equal(neutral_parse(r, &j, span_text("[]")), ERR_FORMAT);
	assert_int_equal(neutral_parse(r, &j, span_text("{")), ERR_FORMAT);
	assert_non_null(strstr(r->error_text, "not valid JSON"));
	json_fini(&j);
}

static void waiting_events_come_out_as_they_went_in(void **state)
{
	const struct neutral_event call = {
		.kind = NEUTRAL_BLOCK_START,
		.part = NEUTRAL_TOOL_CALL,
		.id = span_text("id"),
		.name = span_text("name"),
		.signer = DIALECT_CHAT,
	};
	const struct neutral_event usage = {
		.kind = NEUTRAL_USAGE,
		.usage = {.input_known = true,
			  .cache_known = true,
			  .input = 5,
			  .cache_write = 7},
	};
	const struct neutral_event stop = {
		.kind = NEUTRAL_STOP,
		.stop = NEUTRAL_STOP_SEQUENCE,
		.text = span_text("END"),
		.reason = span_text("stop"),
	};
	struct neutral_queue q;
	struct neutral_event ev;

	(void)state;
	neutral_queue_init(&q);
	assert_true(neutral_queue_is_empty(&q));
	assert_int_equal(neutral_queue_take(&q, &ev), ERR_AGAIN);
	assert_int_equal(neutral_queue_put(&q, &call), ERR_OK);
	assert_int_equal(neutral_queue_put(&q, &usage), ERR_OK);
	assert_int_equal(neutral_queue_put(&q, &stop), ERR_OK);
	assert_int_equal(neutral_queue_take(&q, &ev), ERR_OK);
	assert_int_equal(ev.kind, NEUTRAL_BLOCK_START);
	assert_int_equal(ev.part, NEUTRAL_TOOL_CALL);
	assert_int_equal(ev.signer, DIALECT_CHAT);
	assert_span(ev.id, "id");
	assert_span(ev.name, "name");
	assert_int_equal(neutral_queue_take(&q, &ev), ERR_OK);
	assert_true(ev.usage.input_known && ev.usage.cache_known);
	assert_false(ev.usage.output_known || ev.usage.reasoning_known);
	assert_int_equal(ev.usage.input, 5);
	assert_int_equal(ev.usage.cache_write, 7);
	assert_int_equal(neutral_queue_take(&q, &ev), ERR_OK);
	assert_int_equal(ev.stop, NEUTRAL_STOP_SEQUENCE);
	assert_span(ev.text, "END");
	assert_span(ev.reason, "stop");
	assert_true(neutral_queue_is_empty(&q));
	assert_int_equal(neutral_queue_take(&q, &ev), ERR_AGAIN);
	assert_int_equal(q.bytes.cap_bytes, 0);
	neutral_queue_fini(&q);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kept_bytes_stay),
		TEST(kept_bytes_are_limited),
		TEST(parts_belong_to_messages_and_results),
		TEST(counts_are_limited),
		TEST(notes_are_made_once_and_limited),
		TEST(names_become_what_any_wire_accepts),
		TEST(a_name_that_is_none_is_refused),
		TEST(ids_become_unique_and_results_follow),
		TEST(many_ids_are_settled),
		TEST(base64_is_checked),
		TEST(data_urls_are_split),
		TEST(signatures_travel_through_other_dialects),
		TEST(what_is_left_out_of_a_response_is_listed),
		TEST(members_are_read_or_named),
		TEST(waiting_events_come_out_as_they_went_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
