/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_price.c - costs are rounded up, cached tokens have their own price
 *
 * Runs in: the test machine.
 * Trusts:  nothing.
 * Never:   repeats a figure of the tables: prices are the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/core/price.h"

static const struct provider_model models[] = {
	{.name = "known",
	 .input_uusd = 3000000,
	 .output_uusd = 15000000,
	 .cache_read_uusd = 300000,
	 .cache_write_uusd = 3750000},
	{.name = "listed"},
	{.name = "uncached", .input_uusd = 2000000, .output_uusd = 1000000},
	{.name = "dearest",
	 .input_uusd = 1000000000,
	 .output_uusd = 1000000000,
	 .cache_read_uusd = 1000000000,
	 .cache_write_uusd = 1000000000},
};
static const struct provider_kind kind = {
	.capabilities = PROVIDER_CALLS_MODEL,
	.models = models,
	.model_count = 4,
};
static const struct provider_kind script = {.capabilities = 0};

static void each_kind_of_token_has_its_price(void **state)
{
	struct price_usage u = {.input = 1000, .output = 100};
	int64_t cost = -1;

	(void)state;
	assert_true(price_of(&kind, span_text("known"), &u, &cost));
	assert_int_equal(cost, 3000 + 1500);
	u.cache_read = 400;
	u.cache_write = 200;
	assert_true(price_of(&kind, span_text("known"), &u, &cost));
	assert_int_equal(cost, 400 * 3 + 120 + 750 + 1500);
	u = (struct price_usage){.cache_read = 1};
	assert_true(price_of(&kind, span_text("known"), &u, &cost));
	assert_int_equal(cost, 1);
}

static void the_largest_counts_do_not_wrap(void **state)
{
	struct price_usage u = {UINT32_MAX, UINT32_MAX, 0, 0};
	int64_t cost = -1;

	(void)state;
	assert_true(price_of(&kind, span_text("known"), &u, &cost));
	assert_int_equal(cost, (int64_t)UINT32_MAX * 18);
	u = (struct price_usage){UINT32_MAX, UINT32_MAX, UINT32_MAX,
				 UINT32_MAX};
	assert_true(price_of(&kind, span_text("dearest"), &u, &cost));
	assert_int_equal(cost, (int64_t)UINT32_MAX * 3000);
}

static void cached_tokens_without_a_price_cost_as_others(void **state)
{
	struct price_usage u = {.input = 10, .cache_read = 4, .cache_write = 2};
	int64_t cost = -1;

	(void)state;
	assert_true(price_of(&kind, span_text("uncached"), &u, &cost));
	assert_int_equal(cost, 20);
}

static void an_unknown_price_is_not_nothing(void **state)
{
	struct price_usage u = {.input = 1};
	int64_t cost = -1;

	(void)state;
	assert_false(price_of(&kind, span_text("other"), &u, &cost));
	assert_false(price_of(&kind, span_text("listed"), &u, &cost));
	assert_false(price_of(NULL, span_text("known"), &u, &cost));
	assert_int_equal(cost, -1);
	assert_true(price_of(&script, span_text("any"), &u, &cost));
	assert_int_equal(cost, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_token_has_its_price),
		cmocka_unit_test(the_largest_counts_do_not_wrap),
		cmocka_unit_test(cached_tokens_without_a_price_cost_as_others),
		cmocka_unit_test(an_unknown_price_is_not_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
