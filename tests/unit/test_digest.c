/* SPDX-License-Identifier: Apache-2.0 */
/* test_digest.c - SHA-256 and HMAC-SHA256 against published vectors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "engine/base/digest.h"
#include "engine/base/text.h"

static void assert_hex(const uint8_t digest[DIGEST_BYTES], const char *hex)
{
	char found[DIGEST_HEX_BYTES];

	text_hex(digest, DIGEST_BYTES, found);
	assert_string_equal(found, hex);
}

static void sha256_matches_fips_vectors(void **state)
{
	uint8_t d[DIGEST_BYTES];

	(void)state;
	digest_sha256(span_of(NULL, 0), d);
	assert_hex(d, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca49599"
		      "1b7852b855");
	digest_sha256(span_text("abc"), d);
	assert_hex(d, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff"
		      "61f20015ad");
	digest_sha256(span_text("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlm"
				"nomnopnopq"),
		      d);
	assert_hex(d, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6eced"
		      "d419db06c1");
}

static void parts_equal_one_piece(void **state)
{
	struct span parts[] = {span_text("a"), span_of(NULL, 0),
			       span_text("bc")};
	uint8_t d[DIGEST_BYTES], whole[DIGEST_BYTES];

	(void)state;
	digest_sha256_parts(parts, ARRAY_SIZE(parts), d);
	digest_sha256(span_text("abc"), whole);
	assert_true(digest_equal(d, whole));
	d[31] ^= 1;
	assert_false(digest_equal(d, whole));
	digest_sha256_parts(parts, 0, d);
	digest_sha256(span_of(NULL, 0), whole);
	assert_true(digest_equal(d, whole));
}

/* RFC 4231 cases 1, 2 and 6 (a key longer than the block). */
static void hmac_matches_rfc4231(void **state)
{
	uint8_t key[131], d[DIGEST_BYTES];

	(void)state;
	memset(key, 0x0b, 20);
	digest_hmac_sha256(span_of(key, 20), span_text("Hi There"), d);
	assert_hex(d, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e937"
		      "6c2e32cff7");
	digest_hmac_sha256(span_text("Jefe"),
			   span_text("what do ya want for nothing?"), d);
	assert_hex(d, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58"
		      "b964ec3843");
	memset(key, 0xaa, sizeof(key));
	digest_hmac_sha256(span_of(key, sizeof(key)),
			   span_text("Test Using Larger Than Block-Size Key - "
				     "Hash Key First"),
			   d);
	assert_hex(d, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c514054604"
		      "0f0ee37f54");
}

static void pieces_equal_one_call(void **state)
{
	uint8_t data[1000], once[DIGEST_BYTES], d[DIGEST_BYTES];
	struct digest *sha = NULL, *mac = NULL;
	size_t i, step;

	(void)state;
	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	assert_int_equal(digest_new(&sha), ERR_OK);
	assert_int_equal(digest_new_hmac(span_text("key"), &mac), ERR_OK);
	for (step = 1; step < 200; step += 13) {
		for (i = 0; i < sizeof(data); i += step) {
			size_t left = sizeof(data) - i;
			struct span s =
				span_of(data + i, left < step ? left : step);

			digest_update(sha, s);
			digest_update(mac, s);
		}
		digest_finish(sha, d);
		digest_sha256(span_of(data, sizeof(data)), once);
		assert_true(digest_equal(d, once));
		digest_finish(mac, d);
		digest_hmac_sha256(span_text("key"),
				   span_of(data, sizeof(data)), once);
		assert_true(digest_equal(d, once));
		digest_restart(sha);
		digest_restart(mac);
	}
	digest_free(sha);
	digest_free(mac);
	digest_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_matches_fips_vectors),
		cmocka_unit_test(parts_equal_one_piece),
		cmocka_unit_test(hmac_matches_rfc4231),
		cmocka_unit_test(pieces_equal_one_call),
	};

	if (digest_init() != ERR_OK || digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
