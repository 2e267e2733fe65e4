/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_releases.c - one grant and one release make one attempt
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "engine/broker/releases.h"

static struct release_claim claim(uint64_t grant, uint8_t header, uint8_t body)
{
	struct release_claim c = {.grant = grant, .deadline_ns = 100};

	memset(c.header_digest, header, DIGEST_BYTES);
	memset(c.body_digest, body, DIGEST_BYTES);
	return c;
}

static struct releases *fresh(void)
{
	struct releases *r;

	assert_int_equal(releases_new(&r), ERR_OK);
	return r;
}

static enum release_outcome grant(struct releases *r, struct release_claim c)
{
	enum release_outcome outcome;

	assert_int_equal(releases_add_grant(r, &c, &outcome), ERR_OK);
	return outcome;
}

static enum release_outcome release(struct releases *r, struct release_claim c)
{
	enum release_outcome outcome;

	assert_int_equal(releases_add_release(r, &c, &outcome), ERR_OK);
	return outcome;
}

static void test_either_order(void **state)
{
	struct releases *r = fresh();

	(void)state;
	assert_int_equal(grant(r, claim(1, 2, 3)), RELEASE_WAITING);
	assert_int_equal(grant(r, claim(2, 2, 3)), RELEASE_WAITING);
	assert_int_equal(release(r, claim(1, 2, 3)), RELEASE_MATCHED);
	assert_int_equal(release(r, claim(3, 4, 5)), RELEASE_WAITING);
	assert_int_equal(grant(r, claim(3, 4, 5)), RELEASE_MATCHED);
	releases_free(r);
}

static void test_digests_must_agree(void **state)
{
	struct releases *r = fresh();

	(void)state;
	assert_int_equal(grant(r, claim(1, 2, 3)), RELEASE_WAITING);
	assert_int_equal(release(r, claim(1, 9, 3)), RELEASE_MISMATCHED);
	assert_int_equal(release(r, claim(2, 2, 3)), RELEASE_WAITING);
	assert_int_equal(grant(r, claim(2, 2, 9)), RELEASE_MISMATCHED);
	/* both halves are gone: the right one does not help any more */
	assert_int_equal(release(r, claim(1, 2, 3)), RELEASE_WAITING);
	releases_free(r);
}

static void test_no_half_twice(void **state)
{
	struct release_claim c = claim(1, 2, 3);
	struct releases *r = fresh();
	enum release_outcome outcome;

	(void)state;
	assert_int_equal(grant(r, c), RELEASE_WAITING);
	assert_int_equal(releases_add_grant(r, &c, &outcome), ERR_EXISTS);
	assert_int_equal(release(r, c), RELEASE_MATCHED);
	assert_int_equal(release(r, c), RELEASE_WAITING);
	assert_int_equal(releases_add_release(r, &c, &outcome), ERR_EXISTS);
	releases_free(r);
}

static void test_cancel(void **state)
{
	struct releases *r = fresh();

	(void)state;
	assert_int_equal(grant(r, claim(1, 2, 3)), RELEASE_WAITING);
	assert_true(releases_cancel(r, 1));
	assert_false(releases_cancel(r, 1));
	assert_int_equal(release(r, claim(1, 2, 3)), RELEASE_WAITING);
	assert_false(releases_cancel(r, 1));
	releases_free(r);
}

static void test_expiry(void **state)
{
	struct release_claim late = claim(3, 2, 3);
	struct releases *r = fresh();
	uint64_t number = 0;

	(void)state;
	late.deadline_ns = 200;
	assert_int_equal(grant(r, claim(1, 2, 3)), RELEASE_WAITING);
	assert_int_equal(release(r, claim(2, 2, 3)), RELEASE_WAITING);
	assert_int_equal(grant(r, late), RELEASE_WAITING);
	assert_false(releases_expire(r, 99, &number));
	assert_true(releases_expire(r, 100, &number));
	assert_int_equal(number, 1);
	assert_false(releases_expire(r, 100, &number));
	/* the stale release went too */
	assert_int_equal(grant(r, claim(2, 2, 3)), RELEASE_WAITING);
	assert_true(releases_expire(r, 200, &number));
	releases_free(r);
}

static void test_close(void **state)
{
	struct releases *r = fresh();
	uint64_t number, sum = 0;

	(void)state;
	assert_int_equal(grant(r, claim(1, 2, 3)), RELEASE_WAITING);
	assert_int_equal(release(r, claim(2, 2, 3)), RELEASE_WAITING);
	assert_int_equal(grant(r, claim(4, 2, 3)), RELEASE_WAITING);
	while (releases_close(r, &number))
		sum += number;
	assert_int_equal(sum, 5);
	assert_int_equal(grant(r, claim(2, 2, 3)), RELEASE_WAITING);
	releases_free(r);
}

static void test_ceiling(void **state)
{
	struct releases *r = fresh();
	enum release_outcome outcome;
	struct release_claim c;
	uint64_t i;

	(void)state;
	for (i = 0; i < RELEASES_MAX; i++) {
		c = claim(i, 1, 1);
		c.deadline_ns = 100 + i;
		assert_int_equal(release(r, c), RELEASE_WAITING);
	}
	/* the oldest release makes room, the youngest stay */
	assert_int_equal(release(r, claim(i, 1, 1)), RELEASE_WAITING);
	assert_int_equal(grant(r, claim(7, 1, 1)), RELEASE_MATCHED);
	assert_int_equal(grant(r, claim(0, 1, 1)), RELEASE_WAITING);
	releases_free(r);

	/* grants never do */
	r = fresh();
	for (i = 0; i < RELEASES_MAX; i++)
		assert_int_equal(grant(r, claim(i, 1, 1)), RELEASE_WAITING);
	c = claim(i, 1, 1);
	assert_int_equal(releases_add_grant(r, &c, &outcome), ERR_LIMIT);
	assert_int_equal(release(r, claim(7, 1, 1)), RELEASE_MATCHED);
	releases_free(r);
	releases_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_either_order),
		cmocka_unit_test(test_digests_must_agree),
		cmocka_unit_test(test_no_half_twice),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_ceiling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
