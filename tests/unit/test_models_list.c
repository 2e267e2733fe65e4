/* SPDX-License-Identifier: Apache-2.0 */
/* test_models_list.c - lists of models in both forms, read and written */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/models_list.h"
#include "engine/proto/attrs.h"

#define CHAT_MODEL(id)                                                   \
	"{\"id\":\"" id "\",\"object\":\"model\",\"created\":0,\"owned_" \
	"by\":\"kenaz\"}"
#define ANTHROPIC_MODEL(id)                                            \
	"{\"id\":\"" id "\",\"type\":\"model\",\"display_name\":\"" id \
	"\",\"created_at"                                              \
	"\":\"1970-01-01T00:00:00Z\"}"

static void expect_written(enum dialect client, struct span names,
			   const char *want)
{
	struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(models_list_write(client, names, &b), ERR_OK);
	assert_true(span_is(buf_span(&b), want));
	buf_fini(&b);
}

static void writes_names_in_both_forms(void **state)
{
	struct buf names;

	(void)state;
	buf_init(&names, 4096);
	expect_written(DIALECT_CHAT, span_of(NULL, 0),
		       "{\"object\":\"list\",\"data\":[]}");
	expect_written(DIALECT_ANTHROPIC, span_of(NULL, 0),
		       "{\"data\":[],\"has_more\":false,\"first_id\":null,"
		       "\"last_id\":null}");
	assert_int_equal(attrs_put_text(&names, "id", span_text("a")), ERR_OK);
	assert_int_equal(attrs_put_text(&names, "id", span_text("b/c")),
			 ERR_OK);
	expect_written(DIALECT_CHAT, buf_span(&names),
		       "{\"object\":\"list\",\"data\":[" CHAT_MODEL(
			       "a") "," CHAT_MODEL("b/c") "]}");
	expect_written(DIALECT_ANTHROPIC, buf_span(&names),
		       "{\"data\":[" ANTHROPIC_MODEL("a") "," ANTHROPIC_MODEL(
			       "b/c") "],\"has_more\":false,\"first_id\":\"a\","
				      "\"last_id\":\"b/c\"}");
	buf_fini(&names);
}

static void refuses_names_that_are_none(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_not_equal(models_list_write(DIALECT_CHAT,
					       span_text("\x01\x05zz"), &b),
			     ERR_OK);
	buf_fini(&b);
}

static void leaves_out_what_is_no_name(void **state)
{
	char body[1024];
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	memset(body, 'x', sizeof(body));
	memcpy(body, "{\"data\":[{\"id\":\"", 16);
	(void)strncpy(body + 16 + MODEL_MAX_BYTES + 1,
		      "\"},{\"id\":\"\"},{\"id\":7},8,{},{\"id\":\"z\"}]}",
		      sizeof(body) - 17 - MODEL_MAX_BYTES);
	assert_int_equal(models_list_translate(DIALECT_CHAT, span_text(body),
					       &b),
			 ERR_OK);
	assert_true(span_is(buf_span(&b),
			    "{\"object\":\"list\",\"data\":[" CHAT_MODEL(
				    "z") "]}"));
	buf_fini(&b);
}

static void refuses_what_is_no_list(void **state)
{
	static const char *const bodies[] = {
		"", "{", "[]", "{}", "{\"data\":{}}", "{\"data\":7}"};
	struct buf b;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bodies); i++) {
		buf_init(&b, 4096);
		assert_int_equal(models_list_translate(DIALECT_CHAT,
						       span_text(bodies[i]),
						       &b),
				 ERR_FORMAT);
		buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_names_in_both_forms),
		cmocka_unit_test(refuses_names_that_are_none),
		cmocka_unit_test(leaves_out_what_is_no_name),
		cmocka_unit_test(refuses_what_is_no_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
