/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli_output.c - tables, JSON, event lines and panes
 *
 * Runs in: the unit test runner.
 * Trusts:  nothing.
 * Never:   needs an engine or a terminal.
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/event_line.h"
#include "tui/output.h"
#include "tui/pane.h"
#include "tui/screen_keys.h"
#include "tui/wrap.h"

/* U+202E and an escape sequence, as a guest would name things. */
#define HOSTILE "a\342\200\256b\\u001b[31m\\u009b"

static const struct column columns[] = {
	{"NAME", "name", CELL_ANY},
	{"AGE", "age", CELL_AGE},
	{"SIZE", "in.size", CELL_BYTES},
	{"YES", "yes", CELL_YES},
};

static const char *text_of(struct buf *b)
{
	const char *text = NULL;

	assert_int_equal(buf_terminate(b, &text), ERR_OK);
	return text;
}

static void test_table(void **state)
{
	cJSON *rows = cJSON_Parse(
		"[{\"name\":\"x\",\"age\":61,\"in\":{\"size\":2048},"
		"\"yes\":true},{\"name\":\"" HOSTILE "\",\"age\":7300},"
		"{\"name\":\"\346\227\245\346\234\254\"}]");
	struct buf out;

	(void)state;
	assert_non_null(rows);
	buf_init(&out, OUTPUT_MAX_BYTES);
	assert_int_equal(output_table(rows, columns, 4, &out), ERR_OK);
	assert_string_equal(
		text_of(&out),
		"NAME                    AGE    SIZE     YES\n"
		"x                       1m01s  2.0 KiB  yes\n"
		"a\\u{202e}b\\x1b[31m\\x9b  2h01m  -        -\n"
		"\346\227\245\346\234\254                    -      -        "
		"-\n");
	buf_fini(&out);
	cJSON_Delete(rows);
}

static void test_table_fits(void **state)
{
	static const struct column two[] = {{"NAME", "name", CELL_ANY},
					    {"WHAT", "what", CELL_ANY}};
	cJSON *rows = cJSON_Parse(
		"[{\"name\":\"a\",\"what\":\"one two three four five\"},"
		"{\"name\":\"abcdefghijklmnop\",\"what\":[\"x\",\"y\"]}]");
	struct buf out;

	(void)state;
	assert_non_null(rows);
	buf_init(&out, OUTPUT_MAX_BYTES);
	assert_int_equal(output_table_fit(rows, two, 2, 24, &out), ERR_OK);
	assert_string_equal(text_of(&out), "NAME         WHAT\n"
					   "a            one two\n"
					   "             three four\n"
					   "             five\n"
					   "abcdefghijk  x, y\n"
					   "lmnop\n");
	buf_reset(&out);
	/* No room is no reason to lose a word. */
	assert_int_equal(output_table_fit(rows, two, 2, 5, &out), ERR_OK);
	assert_non_null(strstr(text_of(&out), "five"));
	buf_reset(&out);
	assert_int_equal(wrap_put(&out, "one two three", 12, 4), ERR_OK);
	assert_string_equal(text_of(&out), "one two\n    three");
	buf_fini(&out);
	cJSON_Delete(rows);
}

static void test_json_is_visible_and_the_same(void **state)
{
	cJSON *value = cJSON_Parse("{\"name\":\"" HOSTILE "\\ud83d\\ude00"
				   "\\udb40\\udc21\"}");
	cJSON *again;
	struct buf out;

	(void)state;
	assert_non_null(value);
	buf_init(&out, OUTPUT_MAX_BYTES);
	assert_int_equal(output_json(value, false, &out), ERR_OK);
	assert_string_equal(text_of(&out),
			    "{\"name\":\"a\\u202eb\\u001b[31m\\u009b"
			    "\360\237\230\200\\udb40\\udc21\"}");
	again = cJSON_Parse((const char *)out.data);
	assert_true(cJSON_Compare(value, again, true));
	cJSON_Delete(again);
	cJSON_Delete(value);
	buf_fini(&out);
}

static void test_fields(void **state)
{
	cJSON *value = cJSON_Parse("{\"a\":1,\"b\":{\"c\":\"x\\ny\"},"
				   "\"d\":[1,\"e\"],\"f\":null}");
	struct buf out;

	(void)state;
	buf_init(&out, OUTPUT_MAX_BYTES);
	assert_int_equal(output_fields(value, &out), ERR_OK);
	assert_string_equal(text_of(&out),
			    "a: 1\nb.c: x\\x0ay\nd: [1,\"e\"]\nf: -\n");
	buf_fini(&out);
	cJSON_Delete(value);
}

static void test_formats(void **state)
{
	enum output_format format;

	(void)state;
	assert_int_equal(output_format_find("jsonl", &format), ERR_OK);
	assert_int_equal(format, OUTPUT_JSONL);
	assert_int_equal(output_format_find("yaml", &format), ERR_NOT_FOUND);
}

static void test_event_line(void **state)
{
	cJSON *event = cJSON_Parse(
		"{\"seq\":7,\"time\":\"2030-01-02T03:04:05.000000Z\","
		"\"session\":\"s1\",\"kind\":\"policy.deny\",\"attrs\":"
		"{\"kenaz.policy.rule\":\"no\\n     8  forged\",\"n\":3}}");
	char line[EVENT_LINE_MAX_BYTES], little[64];

	(void)state;
	event_line(event, line, sizeof(line));
	assert_string_equal(line, "     7  01-02 03:04:05  s1            "
				  "policy.deny         -: rule "
				  "no\\x0a     8  forged");
	assert_true(event_is_denial(event));
	event_line(event, little, sizeof(little));
	assert_true(strlen(little) < sizeof(little));
	cJSON_Delete(event);
	event = cJSON_Parse("{}");
	event_line(event, line, sizeof(line));
	assert_false(event_is_denial(event));
	cJSON_Delete(event);
}

static void add_rows(struct pane *pane, unsigned first, unsigned count)
{
	char text[32];
	unsigned i;

	for (i = first; i < first + count; i++) {
		(void)snprintf(text, sizeof(text), "row %u%s", i,
			       i % 10 == 0 ? " ten" : "");
		assert_int_equal(pane_add(pane, text, text + 4, NULL,
					  i % 10 == 0),
				 ERR_OK);
	}
}

static void test_pane_follow_and_filter(void **state)
{
	struct pane *pane;

	(void)state;
	assert_int_equal(pane_new(&pane), ERR_OK);
	assert_null(pane_selected(pane));
	pane_move(pane, 1);
	pane_end(pane, true);
	pane->follow = true;
	add_rows(pane, 0, 50);
	assert_string_equal(pane_selected(pane)->text, "row 49");
	pane_move(pane, -5);
	assert_false(pane->follow);
	add_rows(pane, 50, 7);
	assert_string_equal(pane_selected(pane)->text, "row 44");
	assert_int_equal(pane->unseen, 7);
	assert_true(pane_find_alert(pane, true));
	assert_string_equal(pane_selected(pane)->text, "row 40 ten");
	pane_set_filter(pane, "TEN");
	assert_int_equal(pane->visible_count, 6);
	assert_string_equal(pane_selected(pane)->text, "row 40 ten");
	add_rows(pane, 57, 4);
	assert_int_equal(pane->visible_count, 7);
	pane_end(pane, true);
	assert_int_equal(pane->unseen, 0);
	assert_string_equal(pane_selected(pane)->text, "row 60 ten");
	assert_false(pane_find_alert(pane, false));
	pane_set_filter(pane, "nothing has this");
	assert_null(pane_selected(pane));
	pane_scroll(pane, 10);
	assert_int_equal(pane->top, 0);
	pane_set_filter(pane, "");
	assert_int_equal(pane->visible_count, 61);
	pane_free(pane);
}

static void test_pane_is_bounded(void **state)
{
	struct pane *pane;

	(void)state;
	assert_int_equal(pane_new(&pane), ERR_OK);
	add_rows(pane, 0, PANE_ROWS_MAX);
	pane_move(pane, 100);
	assert_string_equal(pane_selected(pane)->id, "100 ten");
	add_rows(pane, PANE_ROWS_MAX, 60);
	assert_int_equal(pane->count, PANE_ROWS_MAX);
	assert_int_equal(pane->dropped, 60);
	assert_string_equal(pane_selected(pane)->id, "100 ten");
	assert_string_equal(pane_at(pane, 0)->id, "60 ten");
	pane_scroll(pane, 5);
	assert_true(pane->top <= pane->cursor);
	assert_true(pane->cursor < pane->top + 5);
	pane_select(pane, "4100 ten");
	assert_string_equal(pane_selected(pane)->id, "4100 ten");
	pane_free(pane);
}

static void test_keys_do_what_help_says(void **state)
{
	size_t i;
	int pane;

	(void)state;
	for (i = 0; i < key_count; i++) {
		assert_true(key_table[i].help[0] != '\0');
		for (pane = 0; pane < PANE_COUNT; pane++)
			if (key_in_pane(&key_table[i], (enum pane_id)pane))
				assert_int_equal(key_action(key_table[i].key,
							    (enum pane_id)pane),
						 key_table[i].action);
	}
	assert_int_equal(key_action('x', PANE_AUDIT), ACTION_NONE);
	assert_int_equal(key_action('d', PANE_AUDIT), ACTION_NEXT_DENIAL);
	assert_int_equal(key_action('d', PANE_APPROVALS), ACTION_DENY);
	assert_int_equal(key_action('\n', PANE_SESSIONS), ACTION_ATTACH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_fits),
		cmocka_unit_test(test_json_is_visible_and_the_same),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_event_line),
		cmocka_unit_test(test_pane_follow_and_filter),
		cmocka_unit_test(test_pane_is_bounded),
		cmocka_unit_test(test_keys_do_what_help_says),
	};

	/* Widths of characters depend on it. */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
