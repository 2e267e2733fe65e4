/* SPDX-License-Identifier: Apache-2.0 */
/* test_provider_said.c - a provider's own words, and what is none */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tui/provider_said.h"

static void the_words_are_found(void **state)
{
	static const struct {
		const char *body, *text;
	} rows[] = {
		{"{\"error\":{\"message\":\"no such model\"}}",
		 "no such model"},
		{"{\"type\":\"error\",\"error\":{\"type\":\"a\","
		 "\"message\":\"denied\"}}",
		 "denied"},
		{"{\"error\":\"model not found\"}", "model not found"},
		{"{\"message\":\"expired\"}", "expired"},
		{"{\"Message\":\"expired\"}", "expired"},
		{"{\"detail\":\"Not Found\"}", "Not Found"},
		{"{\"error\":{\"message\":null,\"detail\":\"d\"}}", "d"},
		/* Unescaped: whoever shows it escapes. */
		{"{\"message\":\"\\u001b[2J\"}", "\x1b[2J"},
	};
	char text[PROVIDER_SAID_MAX_BYTES];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(provider_said(span_text(rows[i].body), text),
				 ERR_OK);
		assert_string_equal(text, rows[i].text);
	}
}

static void what_is_none_is_refused(void **state)
{
	static const struct {
		const char *body;
		enum err e;
	} rows[] = {
		{"{}", ERR_NOT_FOUND},
		{"[]", ERR_NOT_FOUND},
		{"{\"error\":{\"code\":4}}", ERR_NOT_FOUND},
		{"{\"detail\":[{\"msg\":\"x\"}]}", ERR_NOT_FOUND},
		{"{\"message\":\"\"}", ERR_NOT_FOUND},
		{"{\"message\":\"x\"", ERR_SHORT},
		{"<html>", ERR_FORMAT},
		{"{\"message\":\"a\",\"message\":\"b\"}", ERR_FORMAT},
	};
	char text[PROVIDER_SAID_MAX_BYTES];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(provider_said(span_text(rows[i].body), text),
				 rows[i].e);
}

static void what_is_too_large_is_refused(void **state)
{
	static const char head[] = "{\"message\":\"";
	size_t len = 70000;
	char *body = malloc(len + 1), text[PROVIDER_SAID_MAX_BYTES];

	(void)state;
	assert_non_null(body);
	memset(body, 'x', len);
	body[len] = '\0';
	memcpy(body, head, sizeof(head) - 1);
	memcpy(body + len - 2, "\"}", 2);
	assert_int_equal(provider_said(span_text(body), text), ERR_LIMIT);
	/* Small enough to be read, and too long to be shown. */
	memcpy(body + 400, "\"}", 3);
	assert_int_equal(provider_said(span_text(body), text), ERR_LIMIT);
	memset(body, '[', 64);
	body[64] = '\0';
	assert_int_equal(provider_said(span_text(body), text), ERR_LIMIT);
	free(body);
}

static void pages_are_told_apart(void **state)
{
	(void)state;
	assert_true(provider_sent_a_page(span_text("\n <!DOCTYPE html>")));
	assert_true(provider_sent_a_page(span_text("<HTML><body>")));
	assert_true(provider_sent_a_page(span_text("<?xml version=\"1\"?>")));
	assert_false(provider_sent_a_page(span_text("<htm")));
	assert_false(provider_sent_a_page(span_text("")));
	assert_false(provider_sent_a_page(span_of("\0<html>", 7)));
	assert_false(provider_sent_a_page(span_text("{\"a\":\"<html>\"}")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_words_are_found),
		cmocka_unit_test(what_is_none_is_refused),
		cmocka_unit_test(what_is_too_large_is_refused),
		cmocka_unit_test(pages_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
