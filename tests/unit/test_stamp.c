/* SPDX-License-Identifier: Apache-2.0 */
/* test_stamp.c - times and ULIDs of events */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "engine/audit/stamp.h"

static void times_agree_with_the_c_library(void **state)
{
	char text[STAMP_TIME_BYTES + 1], expected[32];
	int64_t s, back = 0;
	struct tm tm;
	time_t t;

	(void)state;
	for (s = 0; s < 253402300800; s += 86399 * 97 + 12345) {
		assert_int_equal(stamp_time(s * 1000000 + 42, text), ERR_OK);
		t = (time_t)s;
		assert_non_null(gmtime_r(&t, &tm));
		assert_true(strftime(expected, sizeof(expected),
				     "%Y-%m-%dT%H:%M:%S.000042Z", &tm) > 0);
		assert_string_equal(text, expected);
		assert_int_equal(stamp_parse_time(span_text(text), &back),
				 ERR_OK);
		assert_int_equal(back, s * 1000000 + 42);
	}
	assert_int_equal(stamp_time(-1, text), ERR_RANGE);
	assert_int_equal(stamp_time(253402300800000000, text), ERR_RANGE);
	assert_int_equal(stamp_time(253402300799999999, text), ERR_OK);
	assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
}

static void other_spellings_of_a_time_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"2026-01-02T03:04:05.678901",
		"2026-01-02T03:04:05.678901z",
		"2026-01-02 03:04:05.678901Z",
		"2026-01-02T03:04:05.67890Z",
		"2026-01-02T03:04:05.6789011Z",
		"2026-13-02T03:04:05.678901Z",
		"2026-00-02T03:04:05.678901Z",
		"2026-02-29T03:04:05.678901Z",
		"2100-02-29T03:04:05.678901Z",
		"2026-04-31T03:04:05.678901Z",
		"2026-01-02T24:04:05.678901Z",
		"2026-01-02T03:60:05.678901Z",
		"2026-01-02T03:04:60.678901Z",
		"1969-01-02T03:04:05.678901Z",
		"2026-01-02T03:04:05.67+901Z",
	};
	int64_t us = 0;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(stamp_parse_time(span_text(bad[i]), &us),
				 ERR_FORMAT);
	assert_int_equal(
		stamp_parse_time(span_text("2024-02-29T00:00:00.000000Z"), &us),
		ERR_OK);
}

static void ulids_carry_their_time(void **state)
{
	uint8_t random[STAMP_RANDOM_BYTES];
	char text[STAMP_ULID_BYTES + 1];
	uint64_t ms = 0;

	(void)state;
	memset(random, 0xff, sizeof(random));
	/* The example time of the specification. */
	assert_int_equal(stamp_ulid(1469918176385000, random, text), ERR_OK);
	assert_memory_equal(text, "01ARYZ6S41", 10);
	assert_string_equal(text + 10, "ZZZZZZZZZZZZZZZZ");
	assert_int_equal(stamp_parse_ulid(span_text(text), &ms), ERR_OK);
	assert_true(ms == 1469918176385);
	assert_int_equal(stamp_ulid(-1, random, text), ERR_RANGE);
	assert_int_equal(stamp_parse_ulid(span_text("01ARYZ6S41"), &ms),
			 ERR_FORMAT);
	assert_int_equal(
		stamp_parse_ulid(span_text("01aryz6s41zzzzzzzzzzzzzzzz"), &ms),
		ERR_FORMAT);
	assert_int_equal(
		stamp_parse_ulid(span_text("81ARYZ6S41ZZZZZZZZZZZZZZZZ"), &ms),
		ERR_FORMAT);
	assert_int_equal(
		stamp_parse_ulid(span_text("01ARYZ6S41ZZZZZZZZZZZZZZZU"), &ms),
		ERR_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_agree_with_the_c_library),
		cmocka_unit_test(other_spellings_of_a_time_are_refused),
		cmocka_unit_test(ulids_carry_their_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
