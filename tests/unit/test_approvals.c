/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_approvals.c - asking, deciding, deadlines, ceilings
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   waits for a clock: time is a number here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "engine/core/approvals.h"

#define TIMEOUT 60u

static struct approvals *make(uint32_t max, uint32_t per_session)
{
	struct approvals *a = NULL;

	assert_int_equal(approvals_new(max, per_session, TIMEOUT, &a), ERR_OK);
	return a;
}

static enum err put(struct approvals *a, const char *session, uint8_t mark,
		    uint64_t now, uint64_t *ret_id)
{
	struct approval_question q = {.session = session,
				      .user = "ann",
				      .rule = "r",
				      .summary = span_text("do it"),
				      .kind = 3,
				      .context = mark};

	memset(q.digest, mark, sizeof(q.digest));
	return approvals_ask(a, &q, now, ret_id);
}

static void test_grant_is_bound_to_its_request(void **state)
{
	struct approvals *a = make(4, 4);
	uint8_t right[DIGEST_BYTES], wrong[DIGEST_BYTES];
	struct approval item;
	uint64_t id;

	(void)state;
	memset(right, 7, sizeof(right));
	memset(wrong, 8, sizeof(wrong));
	assert_int_equal(put(a, "s1", 7, 0, &id), ERR_OK);
	assert_int_equal(approvals_decide(a, id, wrong, true, "bob", 1),
			 ERR_INTEGRITY);
	assert_false(approvals_take_decided(a, &item));
	assert_int_equal(approvals_decide(a, id, right, true, "bob", 1),
			 ERR_OK);
	assert_int_equal(approvals_count(a), 0);
	assert_int_equal(approvals_decide(a, id, right, false, "eve", 1),
			 ERR_STATE);
	assert_true(approvals_take_decided(a, &item));
	assert_int_equal(item.state, APPROVAL_GRANTED);
	assert_int_equal(item.context, 7);
	assert_int_equal(item.kind, 3);
	assert_string_equal(item.by, "bob");
	assert_false(approvals_take_decided(a, &item));
	assert_int_equal(approvals_decide(a, id, right, false, "eve", 1),
			 ERR_NOT_FOUND);
	approvals_free(a);
}

static void test_deny_without_digest(void **state)
{
	struct approvals *a = make(4, 4);
	struct approval item;
	uint64_t id;

	(void)state;
	assert_int_equal(put(a, "s1", 1, 0, &id), ERR_OK);
	assert_int_equal(approvals_decide(a, id, NULL, false, "bob", 1),
			 ERR_OK);
	approvals_set_reason(a, id, "not\ntoday");
	approvals_set_reason(a, id + 1, "nobody's");
	assert_true(approvals_take_decided(a, &item));
	assert_string_equal(item.reason, "not\\x0atoday");
	assert_int_equal(item.state, APPROVAL_DENIED);
	approvals_free(a);
}

static void test_nobody_answers(void **state)
{
	struct approvals *a = make(4, 4);
	struct approval item;
	uint64_t one, two, deadline = 0;

	(void)state;
	assert_false(approvals_next_deadline(a, &deadline));
	assert_int_equal(put(a, "s1", 1, 100, &one), ERR_OK);
	assert_int_equal(put(a, "s1", 2, 110, &two), ERR_OK);
	assert_true(approvals_next_deadline(a, &deadline));
	assert_int_equal(deadline, 160);
	approvals_expire(a, 159);
	assert_false(approvals_take_decided(a, &item));
	approvals_expire(a, 160);
	assert_true(approvals_take_decided(a, &item));
	assert_int_equal(item.id, one);
	assert_int_equal(item.state, APPROVAL_EXPIRED);
	assert_string_equal(item.by, "");
	assert_false(approvals_take_decided(a, &item));
	/* An answer that comes too late is none, expire() called or not. */
	assert_int_equal(approvals_decide(a, two, NULL, true, "bob", 170),
			 ERR_TIMEOUT);
	assert_true(approvals_take_decided(a, &item));
	assert_int_equal(item.state, APPROVAL_EXPIRED);
	approvals_free(a);
}

static void test_ceilings(void **state)
{
	struct approvals *a = make(3, 2);
	struct approval item;
	uint64_t id, first;

	(void)state;
	assert_int_equal(put(a, "s1", 1, 0, &first), ERR_OK);
	assert_int_equal(put(a, "s1", 2, 0, &id), ERR_OK);
	assert_int_equal(put(a, "s1", 3, 0, &id), ERR_LIMIT);
	assert_int_equal(put(a, "s2", 4, 0, &id), ERR_OK);
	assert_int_equal(put(a, "s3", 5, 0, &id), ERR_LIMIT);
	/* Decided but not taken still counts. */
	assert_int_equal(approvals_decide(a, first, NULL, true, "b", 1),
			 ERR_OK);
	assert_int_equal(put(a, "s3", 5, 0, &id), ERR_LIMIT);
	assert_true(approvals_take_decided(a, &item));
	assert_int_equal(put(a, "s3", 5, 0, &id), ERR_OK);
	approvals_free(a);
	assert_int_equal(approvals_new(0, 1, 1, &a), ERR_RANGE);
	assert_int_equal(approvals_new(APPROVALS_MAX + 1, 1, 1, &a), ERR_RANGE);
}

static void test_withdrawn_questions_are_gone(void **state)
{
	struct approvals *a = make(8, 8);
	struct approval item;
	uint64_t id, other;

	(void)state;
	assert_int_equal(put(a, "s1", 1, 0, &id), ERR_OK);
	assert_int_equal(put(a, "s2", 2, 0, &other), ERR_OK);
	assert_int_equal(put(a, "s1", 3, 0, &id), ERR_OK);
	assert_int_equal(approvals_decide(a, id, NULL, true, "b", 1), ERR_OK);
	approvals_withdraw_session(a, "s1");
	assert_int_equal(approvals_count(a), 1);
	assert_int_equal(approvals_at(a, 0)->id, other);
	assert_null(approvals_at(a, 1));
	assert_non_null(approvals_find(a, other));
	assert_null(approvals_find(a, id));
	approvals_withdraw(a, other);
	approvals_withdraw(a, other);
	approvals_expire(a, 1000);
	assert_false(approvals_take_decided(a, &item));
	approvals_free(a);
}

static void test_texts_are_bounded_and_escaped(void **state)
{
	struct approvals *a = make(8, 8);
	char summary[4096], name[128];
	struct approval_question q = {.session = "s",
				      .user = "u",
				      .rule = "r",
				      .summary = span_text("\x1b[2Jrm\n\x07")};
	uint64_t id;

	(void)state;
	assert_int_equal(approvals_ask(a, &q, 0, &id), ERR_OK);
	assert_null(strpbrk(approvals_find(a, id)->summary, "\x1b\n\x07"));
	memset(summary, 'x', sizeof(summary));
	q.summary = span_of(summary, sizeof(summary));
	assert_int_equal(approvals_ask(a, &q, 0, &id), ERR_OK);
	assert_true(strlen(approvals_find(a, id)->summary) <
		    APPROVALS_SUMMARY_MAX_BYTES);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(approvals_decide(a, id, NULL, true, name, 1), ERR_OK);
	q.session = name;
	assert_int_equal(approvals_ask(a, &q, 0, &id), ERR_RANGE);
	approvals_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grant_is_bound_to_its_request),
		cmocka_unit_test(test_deny_without_digest),
		cmocka_unit_test(test_nobody_answers),
		cmocka_unit_test(test_ceilings),
		cmocka_unit_test(test_withdrawn_questions_are_gone),
		cmocka_unit_test(test_texts_are_bounded_and_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
