/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_infer_usage.c - what an attempt is charged when nobody counted it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/core/infer_usage.h"

static const struct usage_seen good = {
	.generates = true,
	.sent = true,
	.whole = true,
	.known = true,
	.stream = true,
	.http_status = 200,
	.input_tokens = 10,
	.output_tokens = 20,
	.request_bytes = 4000,
	.response_bytes = 64000,
	.total_ms = 10,
	.most_input = 1234,
	.most_output = 500,
};

static void check(const struct usage_seen *seen, bool estimated, uint64_t input,
		  uint64_t output)
{
	struct usage_charged c;

	usage_charge(seen, &c);
	assert_int_equal(c.estimated, estimated);
	assert_int_equal(c.input_tokens, input);
	assert_int_equal(c.output_tokens, output);
}

static void what_was_reported_counts(void **state)
{
	struct usage_seen s = good;

	(void)state;
	check(&s, false, 10, 20);
	s.output_tokens = 100000; /* more than was reserved */
	check(&s, false, 10, 100000);
}

/* Read all of the answer and hang up before its usage comes. */
static void hanging_up_early_is_not_free(void **state)
{
	struct usage_seen s = good;

	(void)state;
	s.whole = false;
	s.output_tokens = 1; /* Anthropic's count at the start */
	check(&s, true, 10, 500);
	s.known = false;
	s.input_tokens = s.output_tokens = 0;
	check(&s, true, 1001, 500);
	s.response_bytes = 160;
	check(&s, true, 1001, 10);
}

static void a_count_above_the_guess_stays(void **state)
{
	struct usage_seen s = good;

	(void)state;
	s.whole = false;
	s.output_tokens = 900;
	check(&s, true, 10, 900);
}

static void a_whole_answer_without_usage_is_not_free(void **state)
{
	struct usage_seen s = good;

	(void)state;
	s.known = false;
	s.input_tokens = s.output_tokens = 0;
	s.stream = false;
	s.response_bytes = 400;
	check(&s, true, 1001, 100);
}

/* The provider makes it all, whether its client waits or not. */
static void a_plain_request_given_up_costs_what_was_reserved(void **state)
{
	struct usage_seen s = good;

	(void)state;
	s.known = s.whole = s.stream = false;
	s.input_tokens = s.output_tokens = 0;
	s.http_status = 0;
	s.response_bytes = 0;
	check(&s, true, 1001, 500);
	s.stream = true;
	check(&s, true, 1001, 2);
}

/* Thought that nobody sees is paid for all the same. */
static void time_counts_where_bytes_are_few(void **state)
{
	struct usage_seen s = good;

	(void)state;
	s.known = s.whole = false;
	s.input_tokens = s.output_tokens = 0;
	s.response_bytes = 160;
	s.total_ms = 1000;
	check(&s, true, 1001, 256);
	s.total_ms = 60000;
	check(&s, true, 1001, 500);
}

static void a_lost_broker_costs_what_was_reserved(void **state)
{
	struct usage_seen s = {.generates = true,
			       .lost = true,
			       .most_input = 1234,
			       .most_output = 500};

	(void)state;
	check(&s, true, 1234, 500);
	s.generates = false;
	check(&s, false, 0, 0);
}

static void a_provider_that_failed_by_itself_is_not_paid(void **state)
{
	struct usage_seen s = good;

	(void)state;
	s.known = s.whole = false;
	s.input_tokens = s.output_tokens = 0;
	s.unpaid = true;
	check(&s, false, 0, 0);
}

static void what_no_model_answered_is_free(void **state)
{
	struct usage_seen s = good;

	(void)state;
	s.known = s.whole = false;
	s.input_tokens = s.output_tokens = 0;
	s.http_status = 429;
	check(&s, false, 0, 0);
	s.http_status = 200;
	s.generates = false;
	check(&s, false, 0, 0);
	s.generates = true;
	s.sent = false;
	check(&s, false, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_reported_counts),
		cmocka_unit_test(hanging_up_early_is_not_free),
		cmocka_unit_test(a_count_above_the_guess_stays),
		cmocka_unit_test(a_whole_answer_without_usage_is_not_free),
		cmocka_unit_test(
			a_plain_request_given_up_costs_what_was_reserved),
		cmocka_unit_test(time_counts_where_bytes_are_few),
		cmocka_unit_test(a_lost_broker_costs_what_was_reserved),
		cmocka_unit_test(a_provider_that_failed_by_itself_is_not_paid),
		cmocka_unit_test(what_no_model_answered_is_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
