/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_args.c - arguments from the gate's message
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   needs a gate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/core/policy_args.h"
#include "engine/proto/attrs.h"

static void test_whole_cut_and_opaque(void **state)
{
	struct policy_arg args[POLICY_ARGS_MAX];
	struct span name = span_text("content"), list = span_text("argv");
	struct buf fields, cut;
	bool incomplete = true;
	size_t count;

	(void)state;
	buf_init(&fields, 4096);
	buf_init(&cut, 4096);
	assert_int_equal(attrs_put_text(&fields, "path", span_text("/a")),
			 ERR_OK);
	assert_int_equal(attrs_put_text(&fields, "content", span_text("xx")),
			 ERR_OK);
	assert_int_equal(attrs_put_list(&cut, "cut", &name, 1), ERR_OK);
	assert_int_equal(attrs_put_list(&cut, "cut", &list, 1), ERR_OK);
	count = policy_args_collect(buf_span(&fields), buf_span(&cut), args,
				    &incomplete);
	assert_int_equal(count, 3);
	assert_false(incomplete);
	assert_int_equal(args[0].state, POLICY_ARG_WHOLE);
	assert_true(span_is(args[0].value, "/a"));
	assert_int_equal(args[1].state, POLICY_ARG_CUT);
	assert_int_equal(args[2].state, POLICY_ARG_OPAQUE);
	assert_true(span_is(args[2].key, "argv"));
	/* The end of the message is missing. */
	count = policy_args_collect(span_of(fields.data, fields.len_bytes - 1),
				    (struct span){0}, args, &incomplete);
	assert_true(incomplete);
	assert_int_equal(count, 1);
	count = policy_args_collect((struct span){0},
				    span_of(cut.data, cut.len_bytes - 1), args,
				    &incomplete);
	assert_true(incomplete);
	buf_fini(&fields);
	buf_fini(&cut);
}

static void test_too_many(void **state)
{
	struct policy_arg args[POLICY_ARGS_MAX];
	struct buf fields;
	bool incomplete = false;
	char name[16];

	(void)state;
	buf_init(&fields, 65536);
	for (unsigned int i = 0; i <= POLICY_ARGS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "a%u", i);
		assert_int_equal(attrs_put_text(&fields, name, span_text("v")),
				 ERR_OK);
	}
	assert_int_equal(policy_args_collect(buf_span(&fields),
					     (struct span){0}, args,
					     &incomplete),
			 POLICY_ARGS_MAX);
	assert_true(incomplete);
	buf_fini(&fields);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_cut_and_opaque),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
