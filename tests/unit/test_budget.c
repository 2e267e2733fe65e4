/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_budget.c - reserving, settling, days, refusals, ceilings
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   reads a clock: time is a number here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/core/budget.h"

#define DAY_US INT64_C(86400000000)
#define NOON   (20000 * DAY_US + DAY_US / 2) /* 2024-10-04 */

static struct budget_limits limit(enum budget_scope scope,
				  enum budget_unit unit, int64_t amount)
{
	struct budget_limits limits;

	budget_limits_init(&limits);
	limits.of[scope].of[unit] = amount;
	return limits;
}

static struct budget *make(struct budget_limits limits)
{
	struct budget *b = NULL;

	assert_int_equal(budget_new(&limits, NULL, NULL, &b), ERR_OK);
	return b;
}

static struct budget_amounts amounts(int64_t requests, int64_t tokens)
{
	return (struct budget_amounts){
		.of = {[BUDGET_REQUESTS] = requests, [BUDGET_TOKENS] = tokens}};
}

static enum err take(struct budget *b, const char *session, const char *user,
		     struct budget_amounts wanted, int64_t now,
		     struct budget_refusal *refusal, uint64_t *ret_id)
{
	return budget_reserve(b, session, user, &wanted, now, refusal, ret_id);
}

static void test_reservations_count_before_they_settle(void **state)
{
	struct budget *b = make(limit(BUDGET_SESSION, BUDGET_TOKENS, 100));
	struct budget_amounts used = amounts(1, 30), got;
	struct budget_refusal why;
	uint64_t one, two;

	(void)state;
	assert_int_equal(take(b, "s", "u", amounts(1, 60), NOON, &why, &one),
			 ERR_OK);
	assert_int_equal(take(b, "s", "u", amounts(1, 60), NOON, &why, &two),
			 ERR_DENIED);
	assert_int_equal(why.scope, BUDGET_SESSION);
	assert_int_equal(why.unit, BUDGET_TOKENS);
	assert_int_equal(why.reset_wall_us, 0);
	assert_string_equal(why.text, "this session's budget is 100 tokens, "
				      "of which 60 tokens are used or "
				      "reserved");
	assert_int_equal(budget_settle(b, one, &used), ERR_OK);
	assert_int_equal(take(b, "s", "u", amounts(1, 60), NOON, &why, &two),
			 ERR_OK);
	budget_usage(b, BUDGET_SESSION, "s", NOON, &got);
	assert_int_equal(got.of[BUDGET_TOKENS], 30);
	assert_int_equal(budget_settle(b, one, &used), ERR_NOT_FOUND);
	assert_int_equal(budget_settle(b, 0, &used), ERR_NOT_FOUND);
	used.of[0] = -1;
	assert_int_equal(budget_settle(b, two, &used), ERR_RANGE);
	used = amounts(1, 500);
	assert_int_equal(budget_settle(b, two, &used), ERR_OK);
	budget_usage(b, BUDGET_SESSION, "s", NOON, &got);
	assert_int_equal(got.of[BUDGET_TOKENS], 530);
	budget_free(b);
}

/* Who cannot know its tokens before may not start with none left. */
static void test_spent_limit_refuses_even_nothing(void **state)
{
	struct budget *b = make(limit(BUDGET_USER, BUDGET_TOKENS, 10));
	struct budget_amounts used = amounts(1, 10);
	struct budget_refusal why;
	uint64_t id;

	(void)state;
	assert_int_equal(take(b, "s", "u", amounts(1, 0), NOON, &why, &id),
			 ERR_OK);
	assert_int_equal(budget_settle(b, id, &used), ERR_OK);
	assert_int_equal(take(b, "s", "u", amounts(1, 0), NOON, &why, &id),
			 ERR_DENIED);
	assert_int_equal(take(b, "s2", "v", amounts(1, 0), NOON, &why, &id),
			 ERR_OK);
	budget_free(b);
}

static void test_days_are_utc(void **state)
{
	struct budget *b = make(limit(BUDGET_HOST, BUDGET_REQUESTS, 1));
	struct budget_amounts used = amounts(1, 5), got;
	struct budget_refusal why;
	uint64_t yesterday, id;

	(void)state;
	assert_int_equal(take(b, "s", "u", amounts(1, 5), NOON, &why,
			      &yesterday),
			 ERR_OK);
	assert_int_equal(take(b, "t", "v", amounts(1, 0), NOON, &why, &id),
			 ERR_DENIED);
	assert_int_equal(why.scope, BUDGET_HOST);
	assert_int_equal(why.reset_wall_us, 20001 * DAY_US);
	assert_non_null(strstr(why.text, "this host's budget of the day is 1 "
					 "requests"));
	assert_non_null(strstr(why.text, "it is new at 2024-10-05T00:00:00Z"));
	assert_int_equal(take(b, "t", "v", amounts(1, 0), NOON + DAY_US, &why,
			      &id),
			 ERR_OK);
	/* What was begun yesterday is settled on yesterday's account. */
	assert_int_equal(budget_settle(b, yesterday, &used), ERR_OK);
	budget_usage(b, BUDGET_HOST, "", NOON + DAY_US, &got);
	assert_int_equal(got.of[BUDGET_TOKENS], 0);
	/* A clock that is set back gives nothing twice. */
	assert_int_equal(take(b, "t", "v", amounts(1, 0), NOON, &why, &id),
			 ERR_DENIED);
	budget_free(b);
}

static void test_money_and_time_in_words(void **state)
{
	struct budget *b =
		make(limit(BUDGET_SESSION, BUDGET_MICROUSD, 2500000));
	struct budget_amounts wanted = {
		.of = {[BUDGET_MICROUSD] = 2500001, [BUDGET_TIME_MS] = 5000}};
	struct budget_limits limits =
		limit(BUDGET_SESSION, BUDGET_TIME_MS, 4000);
	struct budget_refusal why;
	uint64_t id;

	(void)state;
	assert_int_equal(take(b, "s", "u", wanted, NOON, &why, &id),
			 ERR_DENIED);
	assert_non_null(strstr(why.text, "budget is 2.500000 USD"));
	budget_set_limits(b, &limits);
	assert_int_equal(take(b, "s", "u", wanted, NOON, &why, &id),
			 ERR_DENIED);
	assert_non_null(strstr(why.text, "budget is 4 s"));
	budget_free(b);
}

static void test_ended_sessions_settle_and_go(void **state)
{
	struct budget *b = make(limit(BUDGET_SESSION, BUDGET_REQUESTS, 9));
	struct budget_amounts used = amounts(1, 1);
	struct budget_refusal why;
	uint64_t id;

	(void)state;
	assert_int_equal(take(b, "s", "u", amounts(1, 0), NOON, &why, &id),
			 ERR_OK);
	assert_int_equal(budget_row_count(b), 3);
	budget_end_session(b, "s");
	budget_end_session(b, "never");
	assert_int_equal(budget_row_count(b), 3);
	assert_int_equal(budget_settle(b, id, &used), ERR_OK);
	assert_int_equal(budget_row_count(b), 2);
	assert_int_equal(budget_row_at(b, 0)->used.of[BUDGET_TOKENS], 1);
	assert_null(budget_row_at(b, 2));
	budget_free(b);
}

static void test_ranges_and_overflow(void **state)
{
	struct budget *b =
		make(limit(BUDGET_USER, BUDGET_TOKENS, BUDGET_UNLIMITED - 1));
	struct budget_amounts most = amounts(0, INT64_MAX), got;
	struct budget_refusal why;
	char name[64];
	uint64_t id;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(take(b, "s", "u", amounts(-1, 0), NOON, &why, &id),
			 ERR_RANGE);
	assert_non_null(strstr(why.text, "value out of range"));
	assert_int_equal(why.reset_wall_us, 0);
	assert_int_equal(take(b, name, "u", amounts(1, 0), NOON, &why, &id),
			 ERR_RANGE);
	assert_int_equal(take(b, "s", "u", most, NOON, &why, &id), ERR_DENIED);
	assert_int_equal(take(b, "s", "u", amounts(1, 1), NOON, &why, &id),
			 ERR_OK);
	assert_int_equal(budget_settle(b, id, &most), ERR_OK);
	budget_usage(b, BUDGET_USER, "u", NOON, &got);
	assert_int_equal(got.of[BUDGET_TOKENS], INT64_MAX);
	assert_int_equal(take(b, "s", "u", amounts(1, 1), NOON, &why, &id),
			 ERR_DENIED);
	budget_free(b);
}

static void test_ceilings(void **state)
{
	struct budget_limits limits;
	struct budget_amounts none = {0};
	struct budget_refusal why;
	struct budget *b;
	uint64_t id = 0, first = 0;
	char name[16];

	(void)state;
	budget_limits_init(&limits);
	b = make(limits);
	for (unsigned int i = 0; i < BUDGET_RESERVATIONS_MAX; i++)
		assert_int_equal(take(b, "s", "u", amounts(1, 0), NOON, &why,
				      i ? &id : &first),
				 ERR_OK);
	assert_int_equal(take(b, "s", "u", amounts(1, 0), NOON, &why, &id),
			 ERR_LIMIT);
	assert_int_equal(budget_settle(b, first, &none), ERR_OK);
	assert_int_equal(take(b, "s", "u", amounts(1, 0), NOON, &why, &id),
			 ERR_OK);
	assert_int_not_equal(id, first);
	budget_free(b);

	b = make(limits);
	for (unsigned int i = 0; i + 2 < BUDGET_ROWS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "s%u", i);
		assert_int_equal(take(b, name, "u", amounts(1, 0), NOON, &why,
				      &id),
				 ERR_OK);
		assert_int_equal(budget_settle(b, id, &none), ERR_OK);
	}
	assert_int_equal(take(b, "more", "u", amounts(1, 0), NOON, &why, &id),
			 ERR_LIMIT);
	budget_end_session(b, "s7");
	assert_int_equal(take(b, "more", "u", amounts(1, 0), NOON, &why, &id),
			 ERR_OK);
	budget_free(b);
}

static unsigned int saved;
static struct budget_row saved_user;
static enum err save_error;

static enum err save(void *context, const struct budget_row *row)
{
	(void)context;
	saved++;
	if (row->scope == BUDGET_USER)
		saved_user = *row;
	return save_error;
}

static void test_rows_survive_through_the_hook(void **state)
{
	struct budget_limits limits = limit(BUDGET_USER, BUDGET_REQUESTS, 1);
	struct budget_amounts used = amounts(1, 7);
	struct budget_refusal why;
	struct budget_row bad = {.scope = BUDGET_SCOPE_COUNT};
	struct budget *b;
	uint64_t id;

	(void)state;
	saved = 0;
	save_error = ERR_OK;
	assert_int_equal(budget_new(&limits, save, NULL, &b), ERR_OK);
	assert_int_equal(take(b, "s", "u", amounts(1, 0), NOON, &why, &id),
			 ERR_OK);
	/* Only the user's row has a limit; before the grant, not after. */
	assert_int_equal(saved, 1);
	assert_int_equal(saved_user.durable.of[BUDGET_REQUESTS], 1);
	assert_int_equal(budget_settle(b, id, &used), ERR_OK);
	assert_int_equal(saved, 1);
	budget_free(b);
	b = make(limits);
	saved_user.used = saved_user.durable;
	assert_int_equal(budget_restore(b, &saved_user), ERR_OK);
	assert_int_equal(budget_restore(b, &saved_user), ERR_EXISTS);
	assert_int_equal(budget_restore(b, &bad), ERR_RANGE);
	assert_int_equal(take(b, "s", "u", amounts(1, 0), NOON, &why, &id),
			 ERR_DENIED);
	assert_int_equal(take(b, "s", "u", amounts(1, 0), NOON + DAY_US, &why,
			      &id),
			 ERR_OK);
	budget_free(b);
}

static void test_blocks_are_written_ahead(void **state)
{
	struct budget_limits limits = limit(BUDGET_USER, BUDGET_TOKENS, 64000);
	struct budget_amounts used = amounts(1, 100), more = amounts(1, 5000);
	struct budget_refusal why;
	struct budget *b;
	uint64_t id;
	int i;

	(void)state;
	saved = 0;
	save_error = ERR_OK;
	assert_int_equal(budget_new(&limits, save, NULL, &b), ERR_OK);
	for (i = 0; i < 100; i++) {
		assert_int_equal(take(b, "s", "u", amounts(1, 100), NOON, &why,
				      &id),
				 ERR_OK);
		assert_true(saved_user.durable.of[BUDGET_TOKENS] >=
			    100 * (i + 1));
		assert_true(saved_user.durable.of[BUDGET_TOKENS] <=
			    100 * (i + 1) + 1000);
		assert_int_equal(budget_settle(b, id, &used), ERR_OK);
	}
	assert_in_range(saved, 9, 11);
	/* More than was reserved is written down when it is settled. */
	assert_int_equal(take(b, "s", "u", amounts(1, 100), NOON, &why, &id),
			 ERR_OK);
	assert_int_equal(budget_settle(b, id, &more), ERR_OK);
	assert_true(saved_user.durable.of[BUDGET_TOKENS] >= 15000);
	budget_free(b);
}

static void test_what_cannot_be_written_is_not_reserved(void **state)
{
	struct budget_limits limits = limit(BUDGET_USER, BUDGET_REQUESTS, 9);
	struct budget_amounts used;
	struct budget_refusal why;
	struct budget *b;
	uint64_t id;

	(void)state;
	save_error = ERR_STORAGE;
	assert_int_equal(budget_new(&limits, save, NULL, &b), ERR_OK);
	assert_int_equal(take(b, "s", "u", amounts(1, 0), NOON, &why, &id),
			 ERR_STORAGE);
	assert_non_null(strstr(why.text, "ledger"));
	save_error = ERR_OK;
	assert_int_equal(take(b, "s", "u", amounts(9, 0), NOON, &why, &id),
			 ERR_OK);
	used = amounts(9, 0);
	assert_int_equal(budget_settle(b, id, &used), ERR_OK);
	budget_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reservations_count_before_they_settle),
		cmocka_unit_test(test_spent_limit_refuses_even_nothing),
		cmocka_unit_test(test_days_are_utc),
		cmocka_unit_test(test_money_and_time_in_words),
		cmocka_unit_test(test_ended_sessions_settle_and_go),
		cmocka_unit_test(test_ranges_and_overflow),
		cmocka_unit_test(test_ceilings),
		cmocka_unit_test(test_rows_survive_through_the_hook),
		cmocka_unit_test(test_blocks_are_written_ahead),
		cmocka_unit_test(test_what_cannot_be_written_is_not_reserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
