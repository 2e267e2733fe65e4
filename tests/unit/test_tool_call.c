/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tool_call.c - what core learns of a held call; what was reported once
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
#include "engine/base/text.h"
#include "engine/gate/seen.h"
#include "engine/gate/tool_call.h"
#include "engine/proto/attrs.h"

static enum err make(struct tool_call *t, struct span arguments)
{
	const struct reply_call call = {.index = 2,
					.id = span_text("t1"),
					.name = span_text("bash"),
					.arguments = arguments};

	*t = (struct tool_call){.fields = {0}};
	return tool_call_make(t, &call);
}

static bool is_cut(struct span cut, const char *name)
{
	struct reader r, items;
	struct attr a;
	struct span item;

	reader_init(&r, cut);
	while (attrs_next(&r, &a)) {
		reader_init(&items, a.items);
		while (attrs_list_next(&items, &item))
			if (span_is(item, name))
				return true;
	}
	return false;
}

static void takes_top_level_texts(void **state)
{
	static const char json[] =
		"{\"command\":\"ls \\u00e9\",\"n\":7,\"deep\":{\"x\":\"y\"},"
		"\"\\u0070ath\":\"/tmp\",\"list\":[\"a\"]}";
	struct tool_call t;
	struct reader r;
	struct attr a;
	uint8_t digest[DIGEST_BYTES];

	(void)state;
	assert_int_equal(make(&t, span_text(json)), ERR_OK);
	assert_int_equal(t.message.index, 2);
	assert_int_equal(t.message.arguments_bytes, strlen(json));
	digest_sha256(span_text(json), digest);
	assert_memory_equal(t.message.arguments_digest, digest, sizeof(digest));
	reader_init(&r, t.message.fields);
	assert_true(attrs_next(&r, &a));
	assert_true(span_is(a.key, "command"));
	assert_true(span_is(a.text, "ls \xc3\xa9"));
	assert_true(attrs_next(&r, &a));
	assert_true(span_is(a.key, "path"));
	assert_false(attrs_next(&r, &a));
	assert_false(is_cut(t.message.cut, "command"));
	assert_false(is_cut(t.message.cut, "path"));
	tool_call_fini(&t);
}

/* A rule that looks at one of these must not take it as absent. */
static void names_what_is_no_text(void **state)
{
	static const char json[] =
		"{\"path\":\"/tmp\",\"command\":[\"rm\"],\"deep\":{\"x\":1},"
		"\"n\":7,\"flag\":true,\"no\\u006ee\":null}";
	struct tool_call t;
	struct attr a;

	(void)state;
	assert_int_equal(make(&t, span_text(json)), ERR_OK);
	assert_false(attrs_find(t.message.fields, "command", &a));
	assert_true(is_cut(t.message.cut, "command"));
	assert_true(is_cut(t.message.cut, "deep"));
	assert_true(is_cut(t.message.cut, "n"));
	assert_true(is_cut(t.message.cut, "flag"));
	assert_true(is_cut(t.message.cut, "none"));
	assert_false(is_cut(t.message.cut, "path"));
	tool_call_fini(&t);
}

static void too_many_numbers_cannot_be_judged(void **state)
{
	struct tool_call t;
	struct buf json;
	int i;

	(void)state;
	buf_init(&json, 1u << 20);
	assert_int_equal(buf_put_u8(&json, '{'), ERR_OK);
	for (i = 0; i < 500; i++)
		assert_int_equal(buf_printf(&json, "\"n%d\":%d,", i, i),
				 ERR_OK);
	assert_int_equal(buf_put_text(&json, "\"command\":[1]}"), ERR_OK);
	assert_int_equal(make(&t, buf_span(&json)), ERR_LIMIT);
	tool_call_fini(&t);
	buf_fini(&json);
}

/* A text of @len two-byte characters under @key. */
static void put_long(struct buf *b, const char *key, size_t len)
{
	assert_int_equal(buf_printf(b, "%s\"%s\":\"",
				    b->len_bytes > 1 ? "," : "", key),
			 ERR_OK);
	while (len--)
		assert_int_equal(buf_put_text(b, "\xc3\xa9"), ERR_OK);
	assert_int_equal(buf_put_u8(b, '"'), ERR_OK);
}

static void names_what_it_cut(void **state)
{
	struct tool_call t;
	struct buf json;
	struct attr a;

	(void)state;
	buf_init(&json, 1u << 20);
	assert_int_equal(buf_put_u8(&json, '{'), ERR_OK);
	put_long(&json, "content", 20000);
	put_long(&json, "path", 3);
	assert_int_equal(buf_put_u8(&json, '}'), ERR_OK);
	assert_int_equal(make(&t, buf_span(&json)), ERR_OK);
	assert_true(attrs_find(t.message.fields, "content", &a));
	assert_int_equal(a.text.len_bytes, TOOL_FIELD_MAX_BYTES);
	assert_true(text_is_utf8(a.text));
	assert_true(is_cut(t.message.cut, "content"));
	assert_false(is_cut(t.message.cut, "path"));
	assert_int_equal(t.message.arguments.len_bytes, BODY_INLINE_MAX_BYTES);
	assert_int_equal(t.message.arguments_bytes, json.len_bytes);
	tool_call_fini(&t);
	buf_fini(&json);
}

/* Padding must not push the argument that a rule looks at out of sight. */
static void many_long_arguments_are_cut_further(void **state)
{
	struct tool_call t;
	struct buf json;
	struct attr a;
	char key[16];
	int i;

	(void)state;
	buf_init(&json, 1u << 20);
	assert_int_equal(buf_put_u8(&json, '{'), ERR_OK);
	for (i = 0; i < 20; i++) {
		(void)snprintf(key, sizeof(key), "pad%d", i);
		put_long(&json, key, 3000);
	}
	put_long(&json, "command", 3000);
	assert_int_equal(buf_put_u8(&json, '}'), ERR_OK);
	assert_int_equal(make(&t, buf_span(&json)), ERR_OK);
	assert_true(attrs_find(t.message.fields, "command", &a));
	assert_int_equal(a.text.len_bytes, TOOL_FIELD_MAX_BYTES / 4);
	assert_true(is_cut(t.message.cut, "command"));
	assert_true(is_cut(t.message.cut, "pad0"));
	tool_call_fini(&t);
	buf_fini(&json);
}

static void too_many_arguments_cannot_be_judged(void **state)
{
	struct tool_call t;
	struct buf json;
	char key[16];
	int i;

	(void)state;
	buf_init(&json, 1u << 20);
	assert_int_equal(buf_put_u8(&json, '{'), ERR_OK);
	for (i = 0; i < 3000; i++) {
		(void)snprintf(key, sizeof(key), "pad%d", i);
		put_long(&json, key, 4);
	}
	assert_int_equal(buf_put_u8(&json, '}'), ERR_OK);
	assert_int_equal(make(&t, buf_span(&json)), ERR_LIMIT);
	tool_call_fini(&t);
	buf_fini(&json);
}

static void refuses_what_is_no_strict_object(void **state)
{
	struct tool_call t;

	(void)state;
	assert_int_not_equal(make(&t, span_text("[1]")), ERR_OK);
	tool_call_fini(&t);
	assert_int_not_equal(make(&t, span_text("{\"a\":1,\"a\":2}")), ERR_OK);
	tool_call_fini(&t);
}

static void remembers_the_newest_ids(void **state)
{
	static struct seen s;
	char id[32];
	unsigned i;

	(void)state;
	assert_false(seen_has(&s, span_text("t0")));
	for (i = 0; i <= SEEN_MAX; i++) {
		(void)snprintf(id, sizeof(id), "t%u", i);
		seen_add(&s, span_text(id));
		assert_true(seen_has(&s, span_text(id)));
	}
	assert_false(seen_has(&s, span_text("t0")));
	assert_true(seen_has(&s, span_text("t1")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_top_level_texts),
		cmocka_unit_test(names_what_is_no_text),
		cmocka_unit_test(too_many_numbers_cannot_be_judged),
		cmocka_unit_test(names_what_it_cut),
		cmocka_unit_test(many_long_arguments_are_cut_further),
		cmocka_unit_test(too_many_arguments_cannot_be_judged),
		cmocka_unit_test(refuses_what_is_no_strict_object),
		cmocka_unit_test(remembers_the_newest_ids),
	};

	return digest_init() == ERR_OK
		       ? cmocka_run_group_tests(tests, NULL, NULL)
		       : 1;
}
