/* SPDX-License-Identifier: Apache-2.0 */
/* test_random_pool.c - random bytes for many uses: none comes twice */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <string.h>

#include "engine/audit/random_pool.h"

#define DRAWS 4000u

static uint8_t drawn[DRAWS][24];

/* Across many refills, no draw repeats, and none is left empty. */
static void draws_differ(void **state)
{
	static const uint8_t zeros[24];
	size_t i, k;

	(void)state;
	for (i = 0; i < DRAWS; i++)
		randombytes_buf(drawn[i], sizeof(drawn[i]));
	for (i = 0; i < DRAWS; i++) {
		assert_memory_not_equal(drawn[i], zeros, sizeof(zeros));
		for (k = i + 1; k < DRAWS; k++)
			if (memcmp(drawn[i], drawn[k], sizeof(drawn[i])) == 0)
				fail_msg("draws %zu and %zu are the same", i,
					 k);
	}
}

/* Bits are as often set as not, also where refills and sizes meet. */
static void every_size_is_filled(void **state)
{
	uint8_t big[3 * RANDOM_POOL_BYTES];
	uint64_t bits = 0, set = 0;
	size_t len, i;

	(void)state;
	for (len = 1; len < sizeof(big); len += 97) {
		memset(big, 0, sizeof(big));
		randombytes_buf(big, len);
		for (i = 0; i < len; i++)
			set += (uint64_t)__builtin_popcount(big[i]);
		bits += 8 * len;
		for (; i < sizeof(big); i++)
			assert_int_equal(big[i], 0);
	}
	assert_in_range(set * 1000 / bits, 490, 510);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(draws_differ),
		cmocka_unit_test(every_size_is_filled),
	};

	if (sodium_init() < 0 || random_pool_use() != ERR_OK)
		return 1;
	assert_string_equal(randombytes_implementation_name(), "kenaz-audit");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
