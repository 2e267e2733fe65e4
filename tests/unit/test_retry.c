/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_retry.c - which failures are tried again, when, and circuits
 *
 * Runs in: a unit test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/core/circuit.h"
#include "engine/core/retry.h"

#define S  UINT64_C(1000000000)
#define MS UINT64_C(1000000)

static const struct retry_rules rules = {.retries = 2,
					 .base_ms = 500,
					 .max_ms = 5000,
					 .after_max_s = 30};

static void every_failure_has_its_class(void **state)
{
	static const struct {
		enum infer_retry gate;
		enum transfer_failure failure;
		uint16_t status;
		enum infer_retry want;
		enum retry_health health;
	} rows[] = {
		{RETRY_CONNECT, FAILURE_CONNECT, 0, RETRY_CONNECT, RETRY_ILL},
		{RETRY_CONNECT, FAILURE_TLS, 0, RETRY_CONNECT, RETRY_ILL},
		{RETRY_CONNECT, FAILURE_TIMEOUT_CONNECT, 0, RETRY_TIMEOUT,
		 RETRY_ILL},
		{RETRY_TIMEOUT, FAILURE_TIMEOUT_FIRST_BYTE, 0, RETRY_TIMEOUT,
		 RETRY_ILL},
		{RETRY_BROKEN, FAILURE_RESET, 200, RETRY_BROKEN, RETRY_ILL},
		{RETRY_BROKEN, FAILURE_TIMEOUT_TOTAL, 200, RETRY_NONE,
		 RETRY_ILL},
		{RETRY_BROKEN, FAILURE_TOO_LARGE, 200, RETRY_NONE, RETRY_ILL},
		{RETRY_HTTP_AUTH, FAILURE_HTTP, 401, RETRY_HTTP_AUTH,
		 RETRY_WELL},
		{RETRY_HTTP_AUTH, FAILURE_HTTP, 403, RETRY_HTTP_AUTH,
		 RETRY_WELL},
		{RETRY_HTTP_429, FAILURE_HTTP, 429, RETRY_HTTP_429,
		 RETRY_UNTOLD},
		{RETRY_HTTP_5XX, FAILURE_HTTP, 500, RETRY_HTTP_5XX, RETRY_ILL},
		{RETRY_OVERLOADED, FAILURE_HTTP, 529, RETRY_OVERLOADED,
		 RETRY_ILL},
		{RETRY_NONE, FAILURE_HTTP, 400, RETRY_NONE, RETRY_WELL},
		/* The gate's word alone makes no 400 another attempt. */
		{RETRY_HTTP_5XX, FAILURE_HTTP, 400, RETRY_NONE, RETRY_WELL},
		{RETRY_HTTP_5XX, FAILURE_NONE, 200, RETRY_NONE, RETRY_WELL},
		/* But what a 200 holds it alone has read. */
		{RETRY_HTTP_429, FAILURE_NONE, 200, RETRY_HTTP_429,
		 RETRY_UNTOLD},
		{RETRY_HTTP_429, FAILURE_LOCAL, 200, RETRY_HTTP_429,
		 RETRY_UNTOLD},
		{RETRY_HTTP_429, FAILURE_LOCAL, 0, RETRY_NONE, RETRY_UNTOLD},
		{RETRY_HTTP_AUTH, FAILURE_LOCAL, 200, RETRY_HTTP_AUTH,
		 RETRY_WELL},
		{RETRY_OVERLOADED, FAILURE_LOCAL, 200, RETRY_OVERLOADED,
		 RETRY_ILL},
		{RETRY_ERROR_200, FAILURE_NONE, 200, RETRY_ERROR_200,
		 RETRY_ILL},
		{RETRY_ERROR_200, FAILURE_LOCAL, 200, RETRY_ERROR_200,
		 RETRY_ILL},
		{RETRY_CONNECT, FAILURE_LOCAL, 0, RETRY_NONE, RETRY_UNTOLD},
		{RETRY_HTTP_AUTH, FAILURE_NO_KEY, 0, RETRY_HTTP_AUTH,
		 RETRY_UNTOLD},
		/* Something was handed on: never, whatever the broker says. */
		{RETRY_NONE, FAILURE_RESET, 200, RETRY_NONE, RETRY_ILL},
		{RETRY_NONE, FAILURE_HTTP, 500, RETRY_NONE, RETRY_ILL},
		{RETRY_NONE, FAILURE_NONE, 200, RETRY_NONE, RETRY_WELL},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct retry_seen seen = {.gate = rows[i].gate,
						.has_broker = true,
						.failure = rows[i].failure,
						.http_status = rows[i].status};

		if (retry_class(&seen) != rows[i].want ||
		    retry_health(&seen) != rows[i].health)
			fail_msg("row %zu: %s, %d", i,
				 infer_retry_name(retry_class(&seen)),
				 (int)retry_health(&seen));
	}
}

static struct retry_seen failed(uint16_t status, uint32_t retry_after_ms)
{
	return (struct retry_seen){.gate = RETRY_HTTP_5XX,
				   .has_broker = true,
				   .failure = FAILURE_HTTP,
				   .http_status = status,
				   .retry_after_ms = retry_after_ms};
}

static void the_wait_doubles_and_is_spread(void **state)
{
	static const uint64_t want_ms[] = {500, 1000, 2000, 4000, 5000, 5000};
	const struct retry_rules many = {.retries = 10,
					 .base_ms = 500,
					 .max_ms = 5000};
	const struct retry_seen seen = failed(500, 0);
	uint32_t n, random;

	(void)state;
	for (n = 1; n <= ARRAY_SIZE(want_ms); n++) {
		struct retry_plan low = retry_plan(&seen, n, true, &many, 0);
		struct retry_plan high = retry_plan(&seen, n, true, &many, 400);

		assert_int_equal(low.step, RETRY_SAME);
		assert_int_equal(low.delay_ns, want_ms[n - 1] * MS / 10 * 8);
		assert_int_equal(high.delay_ns, want_ms[n - 1] * MS / 10 * 12);
		for (random = 0; random < 5000; random += 37) {
			uint64_t ns = retry_plan(&seen, n, true, &many, random)
					      .delay_ns;

			assert_in_range(ns, low.delay_ns, high.delay_ns);
		}
	}
}

static void a_candidate_has_its_tries(void **state)
{
	const struct retry_seen seen = failed(503, 0);

	(void)state;
	assert_int_equal(retry_plan(&seen, 2, true, &rules, 0).step,
			 RETRY_SAME);
	assert_int_equal(retry_plan(&seen, 3, true, &rules, 0).step,
			 RETRY_NEXT);
	assert_int_equal(retry_plan(&seen, 3, false, &rules, 0).step,
			 RETRY_STOP);
}

static void what_a_provider_asks_for_counts(void **state)
{
	struct retry_seen seen = failed(429, 7000);

	(void)state;
	assert_int_equal(retry_plan(&seen, 1, true, &rules, 0).delay_ns, 7 * S);
	seen.retry_after_ms = 30001;
	assert_int_equal(retry_plan(&seen, 1, true, &rules, 0).step,
			 RETRY_NEXT);
	assert_int_equal(retry_plan(&seen, 1, false, &rules, 0).step,
			 RETRY_STOP);
	seen.retry_after_ms = 0;
	seen.should_retry = 1;
	assert_int_equal(retry_plan(&seen, 1, false, &rules, 0).step,
			 RETRY_STOP);
}

static void a_refused_key_is_not_tried_again(void **state)
{
	const struct retry_seen seen = failed(401, 0);

	(void)state;
	assert_int_equal(retry_plan(&seen, 1, true, &rules, 0).step,
			 RETRY_NEXT);
	assert_int_equal(retry_plan(&seen, 1, false, &rules, 0).step,
			 RETRY_STOP);
}

static const struct circuit_rules circuit_rules = {3, 10, 5};

static bool fail_at(struct circuit *c, uint64_t now_ns)
{
	return circuit_report(c, &circuit_rules, false, false, 0, now_ns);
}

static void a_circuit_opens_probes_and_closes(void **state)
{
	struct circuits set = {.count = 0};
	struct circuit *c = circuit_of(&set, "p");
	uint64_t wait_ns;

	(void)state;
	assert_false(fail_at(c, 1 * S));
	assert_false(fail_at(c, 2 * S));
	assert_true(circuit_admits(c, 0, 2 * S, &wait_ns));
	assert_true(fail_at(c, 3 * S));
	assert_false(circuit_admits(c, 0, 4 * S, &wait_ns));
	assert_int_equal(wait_ns, 4 * S);
	/* What began before it opened changes nothing. */
	assert_false(circuit_report(c, &circuit_rules, true, false, 0, 4 * S));
	assert_true(circuit_admits(c, 0, 8 * S, &wait_ns));
	assert_true(circuit_begin(c));
	assert_int_equal(c->state, CIRCUIT_HALF_OPEN);
	assert_false(circuit_admits(c, 0, 8 * S, &wait_ns));
	assert_true(circuit_report(c, &circuit_rules, false, true, 0, 9 * S));
	assert_int_equal(c->state, CIRCUIT_OPEN);
	assert_int_equal(c->opened, 2);
	assert_true(circuit_admits(c, 0, 14 * S, &wait_ns));
	assert_true(circuit_begin(c));
	circuit_withdraw(c, true);
	assert_true(circuit_admits(c, 0, 14 * S, &wait_ns));
	assert_true(circuit_begin(c));
	assert_true(circuit_report(c, &circuit_rules, true, true, 0, 15 * S));
	assert_int_equal(c->state, CIRCUIT_CLOSED);
	assert_ptr_equal(circuit_find(&set, "p"), c);
	assert_null(circuit_find(&set, "q"));
}

static void old_failures_and_successes_keep_it_closed(void **state)
{
	struct circuits set = {.count = 0};
	struct circuit *c = circuit_of(&set, "p");
	const struct circuit_rules never = {0, 10, 5};
	uint64_t i;

	(void)state;
	for (i = 0; i < 200; i++)
		assert_false(fail_at(c, i * 6 * S));
	assert_false(
		circuit_report(c, &circuit_rules, true, false, 0, 1200 * S));
	assert_false(fail_at(c, 1201 * S));
	assert_false(fail_at(c, 1201 * S));
	assert_false(
		circuit_report(c, &circuit_rules, true, false, 0, 1201 * S));
	assert_false(fail_at(c, 1202 * S));
	assert_int_equal(c->state, CIRCUIT_CLOSED);
	for (i = 0; i < 100; i++)
		assert_false(circuit_report(c, &never, false, false, 0, 1 * S));
}

static void one_session_closes_no_provider_to_others(void **state)
{
	const struct circuit_rules five = {5, 60, 30};
	struct circuits set = {.count = 0};
	struct circuit *c = circuit_of(&set, "p");
	uint64_t wait_ns;

	(void)state;
	for (int i = 0; i < 200; i++)
		assert_false(circuit_report(c, &five, false, false, 7,
					    (100u + (unsigned)i / 10) * S));
	assert_int_equal(c->state, CIRCUIT_CLOSED);
	assert_true(circuit_admits(c, 8, 120 * S, &wait_ns));
	assert_false(circuit_admits(c, 7, 120 * S, &wait_ns));
	assert_in_range(wait_ns, 1, 30 * S);
	assert_true(circuit_admits(c, 7, 151 * S, &wait_ns));
	/* Three of one and two of another are five. */
	assert_false(circuit_report(c, &five, true, false, 8, 200 * S));
	for (int i = 0; i < 4; i++)
		assert_false(
			circuit_report(c, &five, false, false, 7, 201 * S));
	assert_false(circuit_report(c, &five, false, false, 8, 202 * S));
	assert_true(circuit_report(c, &five, false, false, 8, 203 * S));
	assert_false(circuit_admits(c, 9, 204 * S, &wait_ns));
}

static void there_are_only_so_many(void **state)
{
	struct circuits set = {.count = 0};
	uint64_t wait_ns;
	size_t i;

	(void)state;
	for (i = 0; i < CIRCUITS_MAX; i++) {
		char name[2] = {(char)('A' + i), 0};

		assert_non_null(circuit_of(&set, name));
	}
	assert_null(circuit_of(&set, "more"));
	assert_true(circuit_admits(NULL, 0, 0, &wait_ns));
	assert_false(circuit_begin(NULL));
	assert_false(circuit_report(NULL, &circuit_rules, false, false, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_failure_has_its_class),
		cmocka_unit_test(the_wait_doubles_and_is_spread),
		cmocka_unit_test(a_candidate_has_its_tries),
		cmocka_unit_test(what_a_provider_asks_for_counts),
		cmocka_unit_test(a_refused_key_is_not_tried_again),
		cmocka_unit_test(a_circuit_opens_probes_and_closes),
		cmocka_unit_test(one_session_closes_no_provider_to_others),
		cmocka_unit_test(old_failures_and_successes_keep_it_closed),
		cmocka_unit_test(there_are_only_so_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
