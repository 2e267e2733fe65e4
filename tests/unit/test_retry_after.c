/* SPDX-License-Identifier: Apache-2.0 */
/* test_retry_after.c - what a provider may ask core to wait */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/broker/retry_after.h"

#define NOW_S 1700000000 /* Tue, 14 Nov 2023 22:13:20 GMT */

static uint32_t wait_of(const char *name, const char *value)
{
	struct retry_after r = {0};

	retry_after_notice(&r, span_text(name), span_text(value), NOW_S);
	return retry_after_ms(&r);
}

static void test_seconds(void **state)
{
	(void)state;
	assert_int_equal(wait_of("retry-after", "3"), 3000);
	assert_int_equal(wait_of("Retry-After", "0"), 0);
	assert_int_equal(wait_of("retry-after", "1.5"), 1500);
	assert_int_equal(wait_of("retry-after", "0.0004"), 1);
	assert_int_equal(wait_of("retry-after", "86401"), RETRY_AFTER_MAX_MS);
	assert_int_equal(wait_of("retry-after", "99999999999999999999999"),
			 RETRY_AFTER_MAX_MS);
}

static void test_dates(void **state)
{
	(void)state;
	assert_int_equal(wait_of("retry-after",
				 "Tue, 14 Nov 2023 22:13:30 GMT"),
			 10000);
	assert_int_equal(wait_of("retry-after",
				 "Tue, 14 Nov 2023 22:13:10 GMT"),
			 0);
	assert_int_equal(wait_of("retry-after",
				 "Sun, 14 Nov 2100 22:13:10 GMT"),
			 RETRY_AFTER_MAX_MS);
}

static void test_nonsense_is_nothing(void **state)
{
	static const char *const bad[] = {"",   "-1", "+1",   "1x",  "soon",
					  "1 ", ".5", "1..5", "0x10"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(wait_of("retry-after", bad[i]), 0);
	assert_int_equal(wait_of("retry-afters", "3"), 0);
	assert_int_equal(wait_of("retry-after-ms", "Tue, 14 Nov 2023"), 0);
}

static void test_milliseconds_stand_over_seconds(void **state)
{
	struct retry_after r = {0};

	(void)state;
	retry_after_notice(&r, span_text("retry-after-ms"), span_text("250.5"),
			   NOW_S);
	retry_after_notice(&r, span_text("retry-after"), span_text("7"), NOW_S);
	assert_int_equal(retry_after_ms(&r), 251);
}

static void test_advice(void **state)
{
	struct retry_after r = {0};

	(void)state;
	retry_after_notice(&r, span_text("x-should-retry"), span_text("maybe"),
			   NOW_S);
	assert_int_equal(r.advice, RETRY_NOT_SAID);
	retry_after_notice(&r, span_text("X-Should-Retry"), span_text("false"),
			   NOW_S);
	assert_int_equal(r.advice, RETRY_NO);
	retry_after_notice(&r, span_text("x-should-retry"), span_text("true"),
			   NOW_S);
	assert_int_equal(r.advice, RETRY_YES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_nonsense_is_nothing),
		cmocka_unit_test(test_milliseconds_stand_over_seconds),
		cmocka_unit_test(test_advice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
