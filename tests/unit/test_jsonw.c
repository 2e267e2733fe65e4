/* SPDX-License-Identifier: Apache-2.0 */
/* test_jsonw.c - the bytes of the JSON writer and every misuse it refuses */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/base/jsonw.h"

struct fixture {
	struct buf out;
	struct jsonw w;
};

static int begin(void **state)
{
	static struct fixture f;

	buf_init(&f.out, 1024);
	jsonw_init(&f.w, &f.out);
	*state = &f;
	return 0;
}

static int end(void **state)
{
	buf_fini(&((struct fixture *)*state)->out);
	return 0;
}

static void assert_json(struct fixture *f, const char *expected)
{
	const char *text = NULL;

	assert_int_equal(jsonw_finish(&f->w), ERR_OK);
	assert_int_equal(buf_terminate(&f->out, &text), ERR_OK);
	assert_string_equal(text, expected);
}

static void nested_values_keep_their_order(void **state)
{
	struct fixture *f = *state;
	struct jsonw *w = &f->w;

	jsonw_begin_object(w);
	jsonw_put_u64(w, "z", UINT64_MAX);
	jsonw_put_i64(w, "a", INT64_MIN);
	jsonw_put_bool(w, "t", true);
	jsonw_key(w, "list");
	jsonw_begin_array(w);
	jsonw_null(w);
	jsonw_begin_object(w);
	jsonw_end_object(w);
	jsonw_begin_array(w);
	jsonw_end_array(w);
	jsonw_u64(w, 0);
	jsonw_hex(w, span_of("\x01\xff", 2));
	jsonw_raw(w, span_text("{\"r\":1}"));
	jsonw_end_array(w);
	jsonw_put_cstr(w, "end", "");
	jsonw_end_object(w);
	assert_json(f, "{\"z\":18446744073709551615,"
		       "\"a\":-9223372036854775808,\"t\":true,"
		       "\"list\":[null,{},[],0,\"01ff\",{\"r\":1}],"
		       "\"end\":\"\"}");
}

static void strings_escape_exactly_what_is_needed(void **state)
{
	struct fixture *f = *state;

	jsonw_text(&f->w, span_of("\"\\/\b\t\n\f\r\0\x1f\x7f\xc3\xa9\xf0\x9f"
				  "\x98\x80",
				  17));
	assert_json(f, "\"\\\"\\\\/\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\xc3\xa9"
		       "\xf0\x9f\x98\x80\"");
}

static void invalid_utf8_is_refused(void **state)
{
	struct fixture *f = *state;

	jsonw_text(&f->w, span_of("ok\xc0\x80", 4));
	assert_int_equal(jsonw_finish(&f->w), ERR_FORMAT);
}

static void misuse_is_refused(void **state)
{
	struct fixture *f = *state;
	struct jsonw *w = &f->w;

	assert_int_equal(jsonw_finish(w), ERR_STATE);

	jsonw_init(w, &f->out); /* two values */
	jsonw_null(w);
	jsonw_null(w);
	assert_int_equal(jsonw_finish(w), ERR_STATE);

	jsonw_init(w, &f->out); /* a value without its key */
	jsonw_begin_object(w);
	jsonw_null(w);
	jsonw_end_object(w);
	assert_int_equal(jsonw_finish(w), ERR_STATE);

	jsonw_init(w, &f->out); /* a key without its value */
	jsonw_begin_object(w);
	jsonw_key(w, "k");
	jsonw_end_object(w);
	assert_int_equal(jsonw_finish(w), ERR_STATE);

	jsonw_init(w, &f->out); /* a key in an array */
	jsonw_begin_array(w);
	jsonw_key(w, "k");
	assert_int_equal(jsonw_finish(w), ERR_STATE);

	jsonw_init(w, &f->out); /* closed as the other kind */
	jsonw_begin_array(w);
	jsonw_end_object(w);
	assert_int_equal(jsonw_finish(w), ERR_STATE);

	jsonw_init(w, &f->out); /* never closed */
	jsonw_begin_array(w);
	assert_int_equal(jsonw_finish(w), ERR_STATE);

	jsonw_init(w, &f->out); /* raw of nothing */
	jsonw_raw(w, span_of(NULL, 0));
	assert_int_equal(jsonw_finish(w), ERR_STATE);
}

static void limits_hold(void **state)
{
	struct fixture *f = *state;
	struct buf small;
	size_t i;

	for (i = 0; i < JSONW_DEPTH_MAX; i++)
		jsonw_begin_array(&f->w);
	for (i = 0; i < JSONW_DEPTH_MAX; i++)
		jsonw_end_array(&f->w);
	assert_int_equal(jsonw_finish(&f->w), ERR_OK);

	jsonw_init(&f->w, &f->out);
	for (i = 0; i <= JSONW_DEPTH_MAX; i++)
		jsonw_begin_array(&f->w);
	assert_int_equal(jsonw_finish(&f->w), ERR_LIMIT);

	buf_init(&small, 4);
	jsonw_init(&f->w, &small);
	jsonw_cstr(&f->w, "abc");
	assert_int_equal(jsonw_finish(&f->w), ERR_LIMIT);
	buf_fini(&small);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nested_values_keep_their_order),
		T(strings_escape_exactly_what_is_needed),
		T(invalid_utf8_is_refused),
		T(misuse_is_refused),
		T(limits_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
