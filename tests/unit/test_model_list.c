/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_model_list.c - lists of models as providers send them, and others
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   needs a provider.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tui/model_list.h"

static void expect(const char *text, size_t count, const char *first)
{
	struct model_list list = {0};

	assert_int_equal(model_list_read(span_text(text), &list), ERR_OK);
	assert_int_equal(list.count, count);
	if (count)
		assert_string_equal(list.names[0], first);
	assert_false(list.cut);
	model_list_fini(&list);
}

static void refuse(const char *text, enum err want)
{
	struct model_list list = {0};

	assert_int_equal(model_list_read(span_text(text), &list), want);
	assert_null(list.names);
}

static void reads_every_shape(void **state)
{
	(void)state;
	expect("{\"object\":\"list\",\"data\":[{\"id\":\"gpt\"},{\"id\":"
	       "\"o\"}]}",
	       2, "gpt");
	expect("{\"data\":[{\"type\":\"model\",\"id\":\"claude\"}],"
	       "\"has_more\":false}",
	       1, "claude");
	expect("{\"models\":[{\"name\":\"llama3:8b\"}]}", 1, "llama3:8b");
	/* llama.cpp has both. */
	expect("{\"models\":[{\"name\":\"a\"}],\"data\":[{\"id\":\"b\"}]}", 1,
	       "b");
	expect("{\"data\":[]}", 0, NULL);
}

static void leaves_out_what_is_no_name(void **state)
{
	(void)state;
	expect("{\"data\":[1,null,{},{\"id\":7},{\"id\":\"\"},{\"id\":\"a\"},"
	       "{\"id\":\"a\"}]}",
	       1, "a");
}

static void keeps_a_name_whole_or_not_at_all(void **state)
{
	char name[MODEL_MAX_BYTES + 2], text[MODEL_MAX_BYTES + 64];

	(void)state;
	memset(name, 'm', sizeof(name));
	name[MODEL_MAX_BYTES] = '\0';
	(void)snprintf(text, sizeof(text), "{\"data\":[{\"id\":\"%s\"}]}",
		       name);
	expect(text, 1, name);
	name[MODEL_MAX_BYTES] = 'm';
	name[MODEL_MAX_BYTES + 1] = '\0';
	(void)snprintf(text, sizeof(text), "{\"data\":[{\"id\":\"%s\"}]}",
		       name);
	expect(text, 0, NULL);
}

static void refuses_what_is_no_list(void **state)
{
	(void)state;
	refuse("", ERR_FORMAT);
	refuse("<html>", ERR_FORMAT);
	refuse("[]", ERR_FORMAT);
	refuse("{}", ERR_FORMAT);
	refuse("{\"data\":{}}", ERR_FORMAT);
	refuse("{\"data\":[{\"id\":\"a\"}]", ERR_FORMAT);
	refuse("{\"data\":[]} x", ERR_FORMAT);
	refuse("{\"data\":[{\"id\":\"\xff\"}]}", ERR_FORMAT);
}

static void has_limits(void **state)
{
	struct model_list list = {0};
	char one[32];
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 2 * MODEL_LIST_BYTES_MAX);
	assert_int_equal(buf_put_text(&b, "{\"data\":["), ERR_OK);
	for (i = 0; i <= MODEL_LIST_MAX; i++) {
		(void)snprintf(one, sizeof(one), "%s{\"id\":\"m%zu\"}",
			       i ? "," : "", i);
		assert_int_equal(buf_put_text(&b, one), ERR_OK);
	}
	assert_int_equal(buf_put_text(&b, "]}"), ERR_OK);
	assert_int_equal(model_list_read(buf_span(&b), &list), ERR_OK);
	assert_int_equal(list.count, MODEL_LIST_MAX);
	assert_true(list.cut);
	model_list_fini(&list);
	while (b.len_bytes <= MODEL_LIST_BYTES_MAX)
		assert_int_equal(buf_put_u8(&b, ' '), ERR_OK);
	assert_int_equal(model_list_read(buf_span(&b), &list), ERR_LIMIT);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_shape),
		cmocka_unit_test(leaves_out_what_is_no_name),
		cmocka_unit_test(keeps_a_name_whole_or_not_at_all),
		cmocka_unit_test(refuses_what_is_no_list),
		cmocka_unit_test(has_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
