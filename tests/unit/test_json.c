/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_json.c - the strict tokenizer: what it accepts, and every refusal
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/json.h"

static struct json doc;

static int setup(void **state)
{
	(void)state;
	json_init(&doc);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	json_fini(&doc);
	return 0;
}

static void accept(const char *text)
{
	enum err e = json_parse(&doc, span_text(text), NULL);

	if (e != ERR_OK)
		fail_msg("%s: %s: %s at %zu", text, err_name(e), doc.error_text,
			 doc.error_at_bytes);
}

static void accepts_what_rfc_8259_allows(void **state)
{
	static const char *const good[] = {
		"null",
		"true",
		"false",
		"0",
		"-0",
		"12",
		"-12.5e+10",
		"0.1",
		"1E5",
		"\"\"",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
		"\"\\ud83d\\ude00\"",
		"\"\xf0\x9f\x98\x80\"",
		"\"\x7f\"",
		"[]",
		"{}",
		" [ 1 , [ ] , { } ] ",
		"{\"a\":1,\"A\":2}",
		"\t\r\n{\"\":{\"\":{}}}\n",
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++)
		accept(good[i]);
}

static void refuses_with_reason_and_place(void **state)
{
	static const struct {
		const char *text;
		enum err err;
		size_t at;
		const char *reason;
	} bad[] = {
		{"", ERR_SHORT, 0, "the text ends too early"},
		{"  ", ERR_SHORT, 2, "the text ends too early"},
		{"[", ERR_SHORT, 1, "the text ends too early"},
		{"[1", ERR_SHORT, 2, "the text ends too early"},
		{"[1,", ERR_SHORT, 3, "the text ends too early"},
		{"{\"a\"", ERR_SHORT, 4, "the text ends too early"},
		{"{\"a\":", ERR_SHORT, 5, "the text ends too early"},
		{"\"ab", ERR_SHORT, 3, "the text ends too early"},
		{"\"\\", ERR_SHORT, 2, "the text ends too early"},
		{"\"\\u12", ERR_SHORT, 5, "the text ends too early"},
		{"tru", ERR_SHORT, 3, "the text ends too early"},
		{"-", ERR_SHORT, 1, "the text ends too early"},
		{"1.", ERR_SHORT, 2, "the text ends too early"},
		{"1e", ERR_SHORT, 2, "the text ends too early"},
		{"1 2", ERR_FORMAT, 2, "bytes follow the value"},
		{"{}x", ERR_FORMAT, 2, "bytes follow the value"},
		{"nul", ERR_SHORT, 3, "the text ends too early"},
		{"nope", ERR_FORMAT, 0, "unknown word"},
		{"truE", ERR_FORMAT, 0, "unknown word"},
		{"\xef\xbb\xbf{}", ERR_FORMAT, 0, "a value is missing"},
		{"'a'", ERR_FORMAT, 0, "a value is missing"},
		{"[,1]", ERR_FORMAT, 1, "a value is missing"},
		{"[1,]", ERR_FORMAT, 3, "a value is missing"},
		{"[1 2]", ERR_FORMAT, 3, "expected ',' or ']'"},
		{"[1}", ERR_FORMAT, 2, "expected ',' or ']'"},
		{"{\"a\":1]", ERR_FORMAT, 6, "expected ',' or '}'"},
		{"{1:2}", ERR_FORMAT, 1, "a key is missing"},
		{"{\"a\":1,}", ERR_FORMAT, 7, "a key is missing"},
		{"{\"a\" 1}", ERR_FORMAT, 5, "a colon is missing"},
		{"01", ERR_FORMAT, 1, "number with a leading zero"},
		{"-01", ERR_FORMAT, 2, "number with a leading zero"},
		{"+1", ERR_FORMAT, 0, "a value is missing"},
		{".5", ERR_FORMAT, 0, "a value is missing"},
		{"1.e5", ERR_FORMAT, 2, "bad number"},
		{"1ex", ERR_FORMAT, 2, "bad number"},
		{"-x", ERR_FORMAT, 1, "bad number"},
		{"0x10", ERR_FORMAT, 1, "bytes follow the value"},
		{"NaN", ERR_FORMAT, 0, "a value is missing"},
		{"\"a\nb\"", ERR_FORMAT, 2, "control character in a string"},
		{"\"\x1f\"", ERR_FORMAT, 1, "control character in a string"},
		{"\"\\x\"", ERR_FORMAT, 1, "unknown escape"},
		{"\"\\u12g4\"", ERR_FORMAT, 1, "bad \\u escape"},
		{"\"\\ud800\"", ERR_FORMAT, 1, "lone surrogate"},
		{"\"\\ud800\\n2345\"", ERR_FORMAT, 1, "lone surrogate"},
		{"\"\\ud800\\u0041\"", ERR_FORMAT, 1, "lone surrogate"},
		{"\"\\udc00\"", ERR_FORMAT, 1, "lone surrogate"},
		{"\"\\u0000\"", ERR_FORMAT, 1, "NUL in a string"},
		{"{\"\\u0000\":1}", ERR_FORMAT, 2, "NUL in a string"},
		{"\"\x80\"", ERR_FORMAT, 1, "bad UTF-8"},
		{"\"\xc0\xaf\"", ERR_FORMAT, 1, "bad UTF-8"},
		{"\"\xed\xa0\x80\"", ERR_FORMAT, 1, "bad UTF-8"},
		{"\"\xf4\x90\x80\x80\"", ERR_FORMAT, 1, "bad UTF-8"},
		{"\"\xe2\x82\"", ERR_FORMAT, 1, "bad UTF-8"},
		{"{\"a\":1,\"a\":2}", ERR_FORMAT, 8, "duplicate key"},
		{"{\"a\":1,\"\\u0061\":2}", ERR_FORMAT, 8, "duplicate key"},
		{"{\"\\/\":1,\"/\":2}", ERR_FORMAT, 9, "duplicate key"},
		{"[{\"\":0,\"\":0}]", ERR_FORMAT, 8, "duplicate key"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		enum err e = json_parse(&doc, span_text(bad[i].text), NULL);

		if (e != bad[i].err || doc.error_at_bytes != bad[i].at ||
		    strcmp(doc.error_text, bad[i].reason) != 0)
			fail_msg("%s: %s: %s at %zu", bad[i].text, err_name(e),
				 doc.error_text, doc.error_at_bytes);
		assert_int_equal(doc.len_tokens, 0);
	}
}

static void refuses_a_raw_nul(void **state)
{
	(void)state;
	assert_int_equal(json_parse(&doc, span_of("\"a\0b\"", 5), NULL),
			 ERR_FORMAT);
	assert_int_equal(json_parse(&doc, span_of("1\0", 2), NULL), ERR_FORMAT);
}

static void allows_nul_escapes_in_values_only_when_asked(void **state)
{
	const struct json_limits limits = {.allow_nul = true};
	struct buf out;
	char text[8];

	(void)state;
	assert_int_equal(json_parse(&doc, span_text("\"a\\u0000b\""), &limits),
			 ERR_OK);
	buf_init(&out, 16);
	assert_int_equal(json_string(&doc, JSON_ROOT, &out), ERR_OK);
	assert_true(span_equal(buf_span(&out), span_of("a\0b", 3)));
	buf_fini(&out);
	assert_int_equal(json_text(&doc, JSON_ROOT, text, sizeof(text)),
			 ERR_FORMAT);
	assert_int_equal(json_parse(&doc, span_text("{\"\\u0000\":1}"),
				    &limits),
			 ERR_FORMAT);
}

/* Enough members that the sorting path looks for the duplicate. */
static void finds_a_duplicate_among_many_keys(void **state)
{
	struct buf text;
	int i;

	(void)state;
	buf_init(&text, 1 << 20);
	assert_int_equal(buf_put_text(&text, "{"), ERR_OK);
	for (i = 0; i < 1000; i++)
		assert_int_equal(buf_printf(&text, "\"key%d\":%d,", i, i),
				 ERR_OK);
	assert_int_equal(buf_put_text(&text, "\"\\u006bey500\":0}"), ERR_OK);
	assert_int_equal(json_parse(&doc, buf_span(&text), NULL), ERR_FORMAT);
	assert_string_equal(doc.error_text, "duplicate key");
	buf_truncate(&text, text.len_bytes - 4);
	assert_int_equal(buf_put_text(&text, "x\":0}"), ERR_OK);
	assert_int_equal(json_parse(&doc, buf_span(&text), NULL), ERR_OK);
	assert_int_equal(json_count(&doc, JSON_ROOT), 1001);
	buf_fini(&text);
}

static void keeps_its_limits(void **state)
{
	const struct json_limits depth = {.max_depth = 3};
	const struct json_limits tokens = {.max_tokens = 3};
	const struct json_limits bytes = {.max_bytes = 4};
	char deep[2 * JSON_DEPTH_MAX + 2];

	(void)state;
	assert_int_equal(json_parse(&doc, span_text("[[[]]]"), &depth), ERR_OK);
	assert_int_equal(json_parse(&doc, span_text("[[[[]]]]"), &depth),
			 ERR_LIMIT);
	assert_int_equal(json_parse(&doc, span_text("[1,2]"), &tokens), ERR_OK);
	assert_int_equal(json_parse(&doc, span_text("[1,2,3]"), &tokens),
			 ERR_LIMIT);
	assert_int_equal(json_parse(&doc, span_text("true"), &bytes), ERR_OK);
	assert_int_equal(json_parse(&doc, span_text("false"), &bytes),
			 ERR_LIMIT);
	memset(deep, '[', JSON_DEPTH_MAX + 1);
	memset(deep + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	assert_int_equal(json_parse(&doc,
				    span_of(deep, 2 * (JSON_DEPTH_MAX + 1)),
				    NULL),
			 ERR_LIMIT);
	assert_int_equal(json_parse(&doc, span_of(deep + 1, 2 * JSON_DEPTH_MAX),
				    NULL),
			 ERR_OK);
}

static void refuses_an_endless_number(void **state)
{
	char digits[1000];

	(void)state;
	memset(digits, '7', sizeof(digits));
	assert_int_equal(json_parse(&doc, span_of(digits, sizeof(digits)),
				    NULL),
			 ERR_LIMIT);
}

static void every_prefix_is_refused(void **state)
{
	static const char text[] =
		"{\"a\":[1,-2.5e3,true,null,\"x\\u00e9\\ud83d\\ude00\"],"
		"\"b\":{\"c\":false}}";
	size_t len;

	(void)state;
	accept(text);
	for (len = 0; len < sizeof(text) - 1; len++)
		if (json_parse(&doc, span_of(text, len), NULL) == ERR_OK)
			fail_msg("a prefix of %zu bytes was accepted", len);
}

static void walks_containers(void **state)
{
	json_ref list, seen[3];
	size_t count = 0;

	(void)state;
	accept("{\"list\":[[1,2],{\"x\":[3]},\"end\"],\"e\":[]}");
	list = json_get(&doc, JSON_ROOT, "list");
	assert_true(json_is(&doc, list, JSON_ARRAY));
	assert_int_equal(json_count(&doc, list), 3);
	JSON_EACH (&doc, item, list) {
		assert_true(count < 3);
		assert_int_equal(json_parent(&doc, item), list);
		seen[count++] = item;
	}
	assert_int_equal(count, 3);
	assert_true(span_is(json_raw(&doc, seen[1]), "{\"x\":[3]}"));
	assert_int_equal(json_offset(&doc, seen[0]), 9);
	assert_int_equal(json_first(&doc, json_get(&doc, 0, "e")), JSON_NONE);
	assert_int_equal(json_first(&doc, JSON_NONE), JSON_NONE);
	assert_int_equal(json_next(&doc, JSON_ROOT), JSON_NONE);
	assert_int_equal(json_next(&doc, JSON_NONE), JSON_NONE);
	assert_int_equal(json_parent(&doc, JSON_ROOT), JSON_NONE);
	assert_int_equal(json_count(&doc, seen[2]), 0);
}

static void finds_by_path(void **state)
{
	json_ref at;

	(void)state;
	accept("{\"a\":[{\"b\":1},{\"b\":{\"\\u0063\":\"deep\"}}],\"n\":null}");
	at = json_find(&doc, JSON_ROOT, "a.1.b.c");
	assert_true(json_string_is(&doc, at, "deep"));
	assert_true(json_key_is(&doc, at, "c"));
	assert_int_equal(json_find(&doc, JSON_ROOT, ""), JSON_ROOT);
	assert_int_equal(json_find(&doc, JSON_ROOT, "a.2.b"), JSON_NONE);
	assert_int_equal(json_find(&doc, JSON_ROOT, "a.x"), JSON_NONE);
	assert_int_equal(json_find(&doc, JSON_ROOT, "a.01"), JSON_NONE);
	assert_int_equal(json_find(&doc, JSON_ROOT, "n.x"), JSON_NONE);
	assert_int_equal(json_get(&doc, JSON_NONE, "a"), JSON_NONE);
}

static void decodes_strings(void **state)
{
	struct buf out;
	char text[16];

	(void)state;
	buf_init(&out, 64);
	accept("[\"a\\\"\\\\\\/"
	       "\\b\\f\\n\\r\\t\",\"\\u00e9\\u20ac\\ud83d\\ude00\","
	       "\"plain\",7]");
	assert_int_equal(json_string(&doc, json_find(&doc, 0, "0"), &out),
			 ERR_OK);
	assert_true(span_is(buf_span(&out), "a\"\\/\b\f\n\r\t"));
	buf_reset(&out);
	assert_int_equal(json_string(&doc, json_find(&doc, 0, "1"), &out),
			 ERR_OK);
	assert_true(span_is(buf_span(&out), "\xc3\xa9\xe2\x82\xac"
					    "\xf0\x9f\x98\x80"));
	assert_int_equal(json_text(&doc, json_find(&doc, 0, "2"), text,
				   sizeof(text)),
			 ERR_OK);
	assert_string_equal(text, "plain");
	assert_int_equal(json_text(&doc, json_find(&doc, 0, "2"), text, 5),
			 ERR_LIMIT);
	assert_int_equal(json_text(&doc, json_find(&doc, 0, "3"), text, 5),
			 ERR_FORMAT);
	assert_int_equal(json_text(&doc, JSON_NONE, text, 5), ERR_NOT_FOUND);
	assert_false(json_string_is(&doc, json_find(&doc, 0, "2"), "plai"));
	assert_false(json_string_is(&doc, json_find(&doc, 0, "2"), "plainx"));
	assert_false(json_string_is(&doc, json_find(&doc, 0, "3"), "7"));
	buf_fini(&out);
}

static void decodes_keys(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 64);
	accept("{\"\\u0061b\":1}");
	assert_int_equal(json_key(&doc, 1, &out), ERR_OK);
	assert_true(span_is(buf_span(&out), "ab"));
	assert_int_equal(json_key(&doc, JSON_ROOT, &out), ERR_NOT_FOUND);
	assert_true(json_key_is(&doc, 1, "ab"));
	assert_false(json_key_is(&doc, 1, "abc"));
	assert_false(json_key_is(&doc, 1, "a"));
	assert_false(json_key_is(&doc, JSON_ROOT, ""));
	buf_fini(&out);
}

static void reads_numbers_with_ranges(void **state)
{
	uint64_t u = 0;
	int64_t i = 0;
	bool b = false;

	(void)state;
	accept("[18446744073709551615,-9223372036854775808,1.5,1e3,"
	       "18446744073709551616,9223372036854775808,true,-0,\"1\"]");
	assert_int_equal(json_uint(&doc, 1, 0, UINT64_MAX, &u), ERR_OK);
	assert_true(u == UINT64_MAX);
	assert_int_equal(json_uint(&doc, 1, 0, 5, &u), ERR_RANGE);
	assert_int_equal(json_int(&doc, 2, INT64_MIN, INT64_MAX, &i), ERR_OK);
	assert_true(i == INT64_MIN);
	assert_int_equal(json_uint(&doc, 2, 0, 5, &u), ERR_RANGE);
	assert_int_equal(json_uint(&doc, 3, 0, 5, &u), ERR_FORMAT);
	assert_int_equal(json_int(&doc, 4, 0, 5000, &i), ERR_FORMAT);
	assert_int_equal(json_uint(&doc, 5, 0, UINT64_MAX, &u), ERR_RANGE);
	assert_int_equal(json_int(&doc, 6, 0, INT64_MAX, &i), ERR_RANGE);
	assert_int_equal(json_bool(&doc, 7, &b), ERR_OK);
	assert_true(b);
	assert_int_equal(json_bool(&doc, 1, &b), ERR_FORMAT);
	assert_int_equal(json_int(&doc, 8, 0, 5, &i), ERR_OK);
	assert_int_equal(i, 0);
	assert_int_equal(json_int(&doc, 9, 0, 5, &i), ERR_FORMAT);
	assert_int_equal(json_uint(&doc, JSON_NONE, 0, 5, &u), ERR_NOT_FOUND);
	assert_int_equal(json_bool(&doc, JSON_NONE, &b), ERR_NOT_FOUND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(accepts_what_rfc_8259_allows),
		TEST(refuses_with_reason_and_place),
		TEST(refuses_a_raw_nul),
		TEST(allows_nul_escapes_in_values_only_when_asked),
		TEST(finds_a_duplicate_among_many_keys),
		TEST(keeps_its_limits),
		TEST(refuses_an_endless_number),
		TEST(every_prefix_is_refused),
		TEST(walks_containers),
		TEST(finds_by_path),
		TEST(decodes_strings),
		TEST(decodes_keys),
		TEST(reads_numbers_with_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
