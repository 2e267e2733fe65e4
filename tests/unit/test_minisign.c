/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_minisign.c - signatures that the minisign program makes and reads
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "engine/base/minisign.h"

/* Made by minisign 0.10; the key signs nothing else. */
static const char their_public[] =
	"untrusted comment: minisign public key 208CFD59629FA6E5\n"
	"RWTlpp9iWf2MIB0b6ZP0c+BEQO7GAMZWkB7TuRrWorDRp6L8hONJW7cr\n";
static const char their_secret[] =
	"untrusted comment: minisign encrypted secret key\n"
	"RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	"AA5aafYln9jCA0YmYANPI9XmT2nK65W3Q/"
	"RS98vJtsydrGZnoD+J6G+x0b6ZP0c+"
	"BEQO7GAMZWkB7TuRrWorDRp6L8hONJW7crAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	"AAAAAAA=\n";
static const char their_signature[] =
	"untrusted comment: an untrusted word\n"
	"RUTlpp9iWf2MICrYy8WpjIvN94kDdlpfLzdSvuAhuZyC0xWmZaODnMCsuOIIWHBSx+"
	"NhTRqSIoEQ1jyWl/KwxHR7Ki7r9ILn6wY=\n"
	"trusted comment: signed for a test\n"
	"/XHo+9oMZF0ZkwNzPkuZF0xyv/"
	"OBnVEjDSTHjG2zWJCINe+jZeHkhbTSjbIKHIckd1mtXgR9ARjc0owFzEEEAw==\n";
static const char their_old_signature[] =
	"untrusted comment: signature from minisign secret key\n"
	"RWTlpp9iWf2MIEXyFnigzya+jjP6HID/"
	"VM0OZaaMb0pj0QmAznrrTSOT9fPYxxu6SWndVxUFJyH5E+Y2XkgHNFZTJMW9dtLgIQM=\n"
	"trusted comment: x\n"
	"NR+N4WQUBrOTxLrQ14M4oQ0f9AQn//FDJqZHpF09dCjioi5dhg0peYZzFNHCskvP+O2B8/"
	"BgW2BsN6o/RLNTCA==\n";
static const char message[] = "a message\n";

static struct minisign_key keys[2];
static struct minisign_secret secret;
static struct buf out;

static int setup(void **state)
{
	(void)state;
	if (sodium_init() < 0)
		return -1;
	buf_init(&out, 4096);
	assert_int_equal(minisign_secret_make(&secret), ERR_OK);
	minisign_secret_public(&secret, &keys[0]);
	assert_int_equal(minisign_key_read(span_text(their_public), &keys[1]),
			 ERR_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_fini(&out);
	return 0;
}

static enum err verify(struct span signature, const char *text)
{
	uint8_t id[MINISIGN_ID_BYTES];
	size_t index;

	return minisign_verify(signature, span_text(text), keys,
			       ARRAY_SIZE(keys), id, &index);
}

static void theirs_is_accepted(void **state)
{
	uint8_t id[MINISIGN_ID_BYTES];
	size_t index = 9;

	(void)state;
	assert_int_equal(minisign_verify(span_text(their_signature),
					 span_text(message), keys, 2, id,
					 &index),
			 ERR_OK);
	assert_int_equal(index, 1);
	assert_memory_equal(id, keys[1].id, sizeof(id));
}

static void their_secret_key_signs(void **state)
{
	(void)state;
	assert_int_equal(minisign_secret_read(span_text(their_secret), &secret),
			 ERR_OK);
	assert_int_equal(minisign_sign(&secret, span_text(message), "said",
				       &out),
			 ERR_OK);
	assert_int_equal(verify(buf_span(&out), message), ERR_OK);
}

static void ours_round_trips(void **state)
{
	struct minisign_secret again;
	struct minisign_key key;

	(void)state;
	assert_int_equal(minisign_sign(&secret, span_text(message), "", &out),
			 ERR_OK);
	assert_int_equal(verify(buf_span(&out), message), ERR_OK);
	assert_int_equal(verify(buf_span(&out), "a message"), ERR_INTEGRITY);
	buf_reset(&out);
	assert_int_equal(minisign_secret_write(&secret, &out), ERR_OK);
	assert_int_equal(minisign_secret_read(buf_span(&out), &again), ERR_OK);
	assert_memory_equal(&again, &secret, sizeof(again));
	buf_reset(&out);
	assert_int_equal(minisign_key_write(&keys[0], &out), ERR_OK);
	assert_int_equal(minisign_key_read(buf_span(&out), &key), ERR_OK);
	assert_memory_equal(&key, &keys[0], sizeof(key));
}

static void id_is_shown_as_theirs(void **state)
{
	char text[MINISIGN_ID_HEX_BYTES], comment[64];
	const char *at = strstr(their_public, "key ");

	(void)state;
	minisign_id_text(keys[1].id, text);
	assert_non_null(at);
	assert_int_equal(span_copy_text(span_of(at + 4, 16), comment,
					sizeof(comment)),
			 ERR_OK);
	assert_string_equal(text, comment);
}

/* Every single byte that is changed makes it another signature. */
static void changed_bytes_are_refused(void **state)
{
	size_t len = strlen(their_signature), i;
	uint8_t copy[sizeof(their_signature)];

	(void)state;
	for (i = 0; i < len; i++) {
		enum err e;

		memcpy(copy, their_signature, len);
		copy[i] ^= 1;
		e = verify(span_of(copy, len), message);
		/* The first comment is not signed; all else is. */
		if (e == ERR_OK && i < strlen("untrusted comment: ") + 17)
			continue;
		assert_int_not_equal(e, ERR_OK);
	}
	for (i = 0; i < len; i++)
		assert_int_equal(verify(span_of(their_signature, i), message),
				 ERR_FORMAT);
}

static void other_kinds_are_refused(void **state)
{
	char long_comment[MINISIGN_COMMENT_BYTES + 2];

	(void)state;
	assert_int_equal(verify(span_text(their_old_signature), message),
			 ERR_UNSUPPORTED);
	assert_int_equal(verify(span_text(their_public), message), ERR_FORMAT);
	assert_int_equal(verify(span_text(""), message), ERR_FORMAT);
	memset(long_comment, 'x', sizeof(long_comment) - 1);
	long_comment[sizeof(long_comment) - 1] = '\0';
	assert_int_equal(minisign_sign(&secret, span_text(message),
				       long_comment, &out),
			 ERR_FORMAT);
	assert_int_equal(minisign_sign(&secret, span_text(message), "a\033b",
				       &out),
			 ERR_FORMAT);
}

static void unknown_key_is_told_from_a_wrong_signature(void **state)
{
	uint8_t id[MINISIGN_ID_BYTES] = {0};
	size_t index;

	(void)state;
	assert_int_equal(minisign_verify(span_text(their_signature),
					 span_text(message), keys, 1, id,
					 &index),
			 ERR_NOT_FOUND);
	assert_memory_equal(id, keys[1].id, sizeof(id));
	/* Another key that took the same id. */
	memcpy(keys[0].id, keys[1].id, sizeof(id));
	assert_int_equal(minisign_verify(span_text(their_signature),
					 span_text(message), keys, 1, id,
					 &index),
			 ERR_INTEGRITY);
	assert_int_equal(minisign_verify(span_text(their_signature),
					 span_text(message), keys, 2, id,
					 &index),
			 ERR_OK);
}

static void bad_keys_are_refused(void **state)
{
	struct minisign_key key;
	char text[sizeof(their_secret)];
	uint8_t *at;

	(void)state;
	assert_int_equal(minisign_key_read(span_text(their_secret), &key),
			 ERR_FORMAT);
	assert_int_equal(minisign_key_read(span_text("RWQ\n"), &key),
			 ERR_FORMAT);
	assert_int_equal(minisign_secret_read(span_text(their_public), &secret),
			 ERR_FORMAT);
	/* One bit of the key itself: its checksum says so. */
	assert_int_equal(minisign_secret_write(&secret, &out), ERR_OK);
	at = &out.data[out.len_bytes - 80];
	*at = *at == 'A' ? 'B' : 'A';
	assert_int_equal(minisign_secret_read(buf_span(&out), &secret),
			 ERR_INTEGRITY);
	/* Kind of derivation: scrypt, that is a password. */
	memcpy(text, their_secret, sizeof(text));
	memcpy(strchr(text, '\n') + 1, "RWRTY0Iy", 8);
	assert_int_equal(minisign_secret_read(span_text(text), &secret),
			 ERR_UNSUPPORTED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(theirs_is_accepted),
		TEST(their_secret_key_signs),
		TEST(ours_round_trips),
		TEST(id_is_shown_as_theirs),
		TEST(changed_bytes_are_refused),
		TEST(other_kinds_are_refused),
		TEST(unknown_key_is_told_from_a_wrong_signature),
		TEST(bad_keys_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
