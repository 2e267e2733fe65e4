/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_restarts.c - a process that always dies is given up, a rare loss not
 *
 * Runs in: the test machine.
 * Trusts:  nothing.
 * Never:   waits: the clock is an argument.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/core/restarts.h"

static void too_many_at_once_are_refused(void **state)
{
	struct restarts r = {{0}};
	unsigned i;

	(void)state;
	for (i = 0; i < RESTARTS_MAX; i++)
		assert_true(restarts_allow(&r, 1 + i));
	assert_false(restarts_allow(&r, 10));
	assert_false(restarts_allow(&r, RESTARTS_WINDOW_NS));
	/* The first one is long ago: room for one again, not for two. */
	assert_true(restarts_allow(&r, 2 + RESTARTS_WINDOW_NS));
	assert_false(restarts_allow(&r, 2 + RESTARTS_WINDOW_NS));
}

static void rare_losses_never_add_up(void **state)
{
	struct restarts r = {{0}};
	uint64_t now = 1;
	unsigned i;

	(void)state;
	for (i = 0; i < 100; i++, now += RESTARTS_WINDOW_NS + 1)
		assert_true(restarts_allow(&r, now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(too_many_at_once_are_refused),
		cmocka_unit_test(rare_losses_never_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
