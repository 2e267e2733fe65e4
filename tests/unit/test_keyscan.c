/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_keyscan.c - the key is cut wherever chunk borders fall
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "engine/broker/keyscan.h"

static void check(const char *key, const char *in, const char *want,
		  uint32_t found)
{
	struct keyscan_key *k;
	struct span s = span_text(in);
	struct keyscan scan;
	struct buf out;
	size_t piece, at;

	assert_int_equal(keyscan_key_new(span_text(key), &k), ERR_OK);
	for (piece = 1; piece <= s.len_bytes + 1; piece++) {
		buf_init(&out, 4096);
		keyscan_init(&scan, k);
		for (at = 0; at < s.len_bytes; at += piece) {
			size_t left = s.len_bytes - at;

			assert_int_equal(keyscan_feed(&scan,
						      span_of(s.data + at,
							      left < piece
								      ? left
								      : piece),
						      &out),
					 ERR_OK);
		}
		assert_int_equal(keyscan_end(&scan, &out), ERR_OK);
		if (!span_is(buf_span(&out), want) || scan.found != found)
			fail_msg("%s in pieces of %zu: %.*s", in, piece,
				 (int)out.len_bytes, (char *)out.data);
		buf_fini(&out);
	}
	keyscan_key_free(k);
}

static void test_cut(void **state)
{
	(void)state;
	check("abcdefgh", "xabcdefghy", "x[key]y", 1);
	check("abcdefgh", "abcdefgh", "[key]", 1);
	check("abcdefgh", "abcdefghabcdefgh", "[key][key]", 2);
	check("abcdefgh", "abcdefg", "abcdefg", 0);
	check("abcdefgh", "abcdefgabcdefgh.", "abcdefg[key].", 1);
	check("abcdefgh", "nothing here", "nothing here", 0);
	check("abcdefgh", "", "", 0);
	/* one inside another leaves none */
	check("abcdefgh", "abcdabcdefghefgh", "abcd[key]efgh", 1);
	/* borders inside the key */
	check("abababac", "ababababac", "ab[key]", 1);
	check("abababac", "abababababababac!", "abababab[key]!", 1);
	check("aaaaaaaa", "aaaaaaaaa", "[key]a", 1);
	check("aaaaaaab", "aaaaaaaaaaab", "aaaa[key]", 1);
	check("aabaabaa", "aabaabaabaa", "[key]baa", 1);
	check("sk-sk-sk-x", "sk-sk-sk-sk-x", "sk-[key]", 1);
}

static void test_without_a_key(void **state)
{
	struct keyscan scan;
	struct buf out;

	(void)state;
	buf_init(&out, 64);
	keyscan_init(&scan, NULL);
	assert_int_equal(keyscan_feed(&scan, span_text("abc"), &out), ERR_OK);
	assert_int_equal(keyscan_end(&scan, &out), ERR_OK);
	assert_true(span_is(buf_span(&out), "abc"));
	buf_fini(&out);
}

static void test_lengths(void **state)
{
	static char big[SECRET_MAX_BYTES + 1];
	struct keyscan_key *k;

	(void)state;
	memset(big, 'x', sizeof(big));
	assert_int_equal(keyscan_key_new(span_of(big, KEYSCAN_MIN_BYTES - 1),
					 &k),
			 ERR_RANGE);
	assert_int_equal(keyscan_key_new(span_of(big, sizeof(big)), &k),
			 ERR_RANGE);
	assert_int_equal(keyscan_key_new(span_of(big, SECRET_MAX_BYTES), &k),
			 ERR_OK);
	assert_int_equal(keyscan_key_bytes(k), SECRET_MAX_BYTES);
	keyscan_key_free(k);
	assert_int_equal(keyscan_key_bytes(NULL), 0);
	keyscan_key_free(NULL);
}

/* Against the plain definition: leftmost occurrences are removed. */
static void test_random(void **state)
{
	unsigned round;

	(void)state;
	for (round = 0; round < 500; round++) {
		char key[9], in[65], want[128];
		size_t i, at = 0, used = 0;
		uint32_t found = 0;

		for (i = 0; i < 8; i++)
			key[i] = (char)('a' + randombytes_uniform(2));
		key[8] = '\0';
		for (i = 0; i < 64; i++)
			in[i] = (char)('a' + randombytes_uniform(2));
		in[64] = '\0';
		while (at < 64) {
			if (at + 8 <= 64 && memcmp(in + at, key, 8) == 0) {
				found++;
				at += 8;
				memcpy(want + used, KEYSCAN_MARK, 5);
				used += 5;
			} else {
				want[used++] = in[at++];
			}
		}
		want[used] = '\0';
		check(key, in, want, found);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_without_a_key),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_random),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
