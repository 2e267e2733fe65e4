/* SPDX-License-Identifier: Apache-2.0 */
/* test_charge.c - what of a reservation an attempt is charged */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/core/charge.h"

#define ANSWERED(code)                 \
	.granted = true, .sent = true, \
	.seen = {.has_broker = true, .http_status = (code)}

static void test_charges(void **state)
{
	static const struct {
		const char *what;
		struct charge_seen seen;
		enum charge charge;
	} rows[] = {
		{"never granted", {.granted = false}, CHARGE_REPORTED},
		{"broker lost", {.granted = true}, CHARGE_RESERVED},
		{"not sent",
		 {.granted = true,
		  .seen = {.has_broker = true, .failure = FAILURE_CONNECT}},
		 CHARGE_REPORTED},
		{"a refusal", {ANSWERED(429)}, CHARGE_REPORTED},
		{"a refusal nobody read",
		 {ANSWERED(400), .client_left = true},
		 CHARGE_REPORTED},
		{"whole",
		 {ANSWERED(200), .whole = true, .usage_known = true},
		 CHARGE_REPORTED},
		{"whole, and left then",
		 {ANSWERED(200), .whole = true, .usage_known = true,
		  .client_left = true},
		 CHARGE_REPORTED},
		{"whole, without usage",
		 {ANSWERED(200), .whole = true},
		 CHARGE_GUESSED},
		{"hung up in the middle",
		 {ANSWERED(200), .client_left = true},
		 CHARGE_RESERVED},
		{"hung up after the first usage",
		 {ANSWERED(200), .client_left = true, .usage_known = true},
		 CHARGE_RESERVED},
		{"hung up before the head",
		 {ANSWERED(0), .client_left = true},
		 CHARGE_RESERVED},
		{"no answer", {ANSWERED(0)}, CHARGE_REPORTED},
	};
	struct charge_seen broke = {
		ANSWERED(200),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (charge_of(&rows[i].seen) != rows[i].charge)
			fail_msg("%s: %d", rows[i].what,
				 (int)charge_of(&rows[i].seen));
	/* Cut off after something was handed on, and before. */
	broke.seen.failure = FAILURE_RESET;
	broke.seen.gate = RETRY_NONE;
	assert_int_equal(charge_of(&broke), CHARGE_RESERVED);
	broke.seen.gate = RETRY_BROKEN;
	assert_int_equal(charge_of(&broke), CHARGE_REPORTED);
	broke.seen.failure = FAILURE_NONE;
	broke.seen.gate = RETRY_ERROR_200;
	assert_int_equal(charge_of(&broke), CHARGE_REPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_charges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
