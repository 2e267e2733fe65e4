/* SPDX-License-Identifier: Apache-2.0 */
/* test_note.c - signed notes and checkpoints, with the specification's own */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <string.h>

#include "engine/audit/note.h"

#define VKEY           \
	"example.com/" \
	"foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
#define SIGNATURE                                                             \
	"\xe2\x80\x94 example.com/foo "                                       \
	"Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH" \
	"3mFXmRKuwHjG1Yu72IneyaQM=\n"
#define MESSAGE "This is an example message.\n"

static void the_specifications_example_verifies(void **state)
{
	struct note_key key;
	struct span text;
	struct buf out;

	(void)state;
	assert_int_equal(note_key_read(span_text(VKEY), &key), ERR_OK);
	assert_string_equal(key.name, "example.com/foo");
	assert_int_equal(note_verify(span_text(MESSAGE "\n" SIGNATURE), &key,
				     &text),
			 ERR_OK);
	assert_true(span_is(text, MESSAGE));
	buf_init(&out, NOTE_VKEY_MAX_BYTES);
	assert_int_equal(note_key_write(&key, &out), ERR_OK);
	assert_true(span_is(buf_span(&out), VKEY));
	buf_fini(&out);
}

/* The vector of Go's sumdb/note: two known signers on one note. */
static void a_note_of_two_signers_verifies_for_each(void **state)
{
	static const char note[] =
		"If you think cryptography is the answer to your problem,\n"
		"then you don't know what your problem is.\n\n"
		"\xe2\x80\x94 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLL"
		"r8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
		"\xe2\x80\x94 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MN"
		"tCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
	static const char *const vkeys[] = {
		"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4iz"
		"Wy10TW",
		"EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWd"
		"op"};
	struct note_key key;
	struct span text;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(vkeys); i++) {
		assert_int_equal(note_key_read(span_text(vkeys[i]), &key),
				 ERR_OK);
		assert_int_equal(note_verify(span_text(note), &key, &text),
				 ERR_OK);
	}
}

static void broken_notes_are_refused(void **state)
{
	static const struct {
		const char *note;
		enum err expected;
	} bad[] = {
		{"", ERR_FORMAT},
		{"\n", ERR_FORMAT},
		{MESSAGE, ERR_FORMAT},
		{MESSAGE "\n", ERR_FORMAT},
		{MESSAGE SIGNATURE, ERR_FORMAT},
		{"\x01" MESSAGE "\n" SIGNATURE, ERR_FORMAT},
		{"\xff" MESSAGE "\n" SIGNATURE, ERR_FORMAT},
		{"A" MESSAGE "\n" SIGNATURE, ERR_INTEGRITY},
		{MESSAGE "\n" SIGNATURE "x\n", ERR_FORMAT},
		{MESSAGE "\n- example.com/foo AAAAAAA=\n", ERR_FORMAT},
		{MESSAGE "\n\xe2\x80\x94 example.com/foo !!!!\n", ERR_FORMAT},
		{MESSAGE "\n\xe2\x80\x94 example.com/foo AAAA\n", ERR_FORMAT},
		{MESSAGE "\n\xe2\x80\x94 example.com/foo\n", ERR_FORMAT},
		{MESSAGE "\n\xe2\x80\x94 a+b AAAAAAA=\n", ERR_FORMAT},
		{MESSAGE "\n\xe2\x80\x94 example.com/foo Uw2QOkn8\n",
		 ERR_INTEGRITY},
		{MESSAGE "\n\xe2\x80\x94 other.example AAAAAAA=\n",
		 ERR_NOT_FOUND},
		{MESSAGE "\n\xe2\x80\x94 example.com/foo AAAAAAA=\n",
		 ERR_NOT_FOUND},
	};
	struct note_key key;
	struct span text;
	struct buf many;
	size_t i;

	(void)state;
	assert_int_equal(note_key_read(span_text(VKEY), &key), ERR_OK);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(note_verify(span_text(bad[i].note), &key,
					     &text),
				 bad[i].expected);
	buf_init(&many, 2 * NOTE_MAX_BYTES);
	assert_int_equal(buf_put_text(&many, MESSAGE "\n" SIGNATURE), ERR_OK);
	for (i = 1; i < NOTE_SIGNATURES_MAX; i++)
		assert_int_equal(buf_put_text(&many,
					      "\xe2\x80\x94 o AAAAAAA=\n"),
				 ERR_OK);
	assert_int_equal(note_verify(buf_span(&many), &key, &text), ERR_OK);
	assert_int_equal(buf_put_text(&many, "\xe2\x80\x94 o AAAAAAA=\n"),
			 ERR_OK);
	assert_int_equal(note_verify(buf_span(&many), &key, &text), ERR_LIMIT);
	while (many.len_bytes <= NOTE_MAX_BYTES)
		assert_int_equal(buf_put_text(&many, "x\n"), ERR_OK);
	assert_int_equal(note_verify(buf_span(&many), &key, &text), ERR_FORMAT);
	buf_fini(&many);
}

static void broken_keys_are_refused(void **state)
{
	static const struct {
		const char *vkey;
		enum err expected;
	} bad[] = {
		{"", ERR_FORMAT},
		{"example.com/foo", ERR_FORMAT},
		{"example.com/foo+530d903a", ERR_FORMAT},
		{"example.com/fo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYc"
		 "rnKv3U2k",
		 ERR_FORMAT},
		{"example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANY"
		 "crnKv3U2k",
		 ERR_FORMAT},
		{"example.com/foo+530d903a+BOkyeRrm56hApGFkyQR4ZCbV54Id2LKaANY"
		 "crnKv3U2k",
		 ERR_UNSUPPORTED},
		{"example.com/foo+530d903a+Aeky", ERR_FORMAT},
		{"a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		 ERR_FORMAT},
	};
	struct note_key key;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(note_key_read(span_text(bad[i].vkey), &key),
				 bad[i].expected);
}

static void a_signed_checkpoint_comes_back(void **state)
{
	struct checkpoint c = {.origin = "kenaz.local/t", .size = 42}, back;
	uint8_t public_key[NOTE_PUBLIC_BYTES], secret[NOTE_SECRET_BYTES];
	struct note_key key, other;
	struct buf text, note;
	struct span found;
	size_t i;

	(void)state;
	for (i = 0; i < DIGEST_BYTES; i++)
		c.root.bytes[i] = (uint8_t)i;
	buf_init(&text, NOTE_MAX_BYTES);
	buf_init(&note, NOTE_MAX_BYTES);
	assert_int_equal(checkpoint_write(&c, &text), ERR_OK);
	assert_true(span_is(buf_span(&text),
			    "kenaz.local/t\n42\n"
			    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"));
	assert_int_equal(crypto_sign_keypair(public_key, secret), 0);
	assert_int_equal(note_key_make(span_text(c.origin), public_key, &key),
			 ERR_OK);
	assert_int_equal(note_sign(&key, secret, buf_span(&text), &note),
			 ERR_OK);
	assert_int_equal(note_verify(buf_span(&note), &key, &found), ERR_OK);
	assert_int_equal(checkpoint_read(found, &back), ERR_OK);
	assert_true(back.size == 42);
	assert_string_equal(back.origin, c.origin);
	assert_memory_equal(back.root.bytes, c.root.bytes, DIGEST_BYTES);

	assert_int_equal(crypto_sign_keypair(public_key, secret), 0);
	assert_int_equal(note_key_make(span_text(c.origin), public_key, &other),
			 ERR_OK);
	assert_int_equal(note_verify(buf_span(&note), &other, &found),
			 ERR_NOT_FOUND);
	/* Every single changed byte is noticed. */
	for (i = 0; i < note.len_bytes; i++) {
		note.data[i] ^= 1;
		assert_int_not_equal(note_verify(buf_span(&note), &key, &found),
				     ERR_OK);
		note.data[i] ^= 1;
	}
	assert_int_equal(note_sign(&key, secret, span_text("no newline"),
				   &note),
			 ERR_FORMAT);
	buf_fini(&text);
	buf_fini(&note);
}

static void broken_checkpoints_are_refused(void **state)
{
#define ROOT "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	static const char *const bad[] = {
		"",
		"o\n",
		"o\n1\n",
		"o\n1\n" ROOT,
		"\n1\n" ROOT "\n",
		"o o\n1\n" ROOT "\n",
		"o\n01\n" ROOT "\n",
		"o\n-1\n" ROOT "\n",
		"o\n9007199254740993\n" ROOT "\n",
		"o\n1\nAAAA\n",
		"o\n1\n" ROOT "\nextension\n",
		"o\n1\n" ROOT ROOT "\n",
	};
	struct checkpoint c;
	size_t i;

	(void)state;
	assert_int_equal(checkpoint_read(span_text("o\n0\n" ROOT "\n"), &c),
			 ERR_OK);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(checkpoint_read(span_text(bad[i]), &c),
				 ERR_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_specifications_example_verifies),
		cmocka_unit_test(a_note_of_two_signers_verifies_for_each),
		cmocka_unit_test(broken_notes_are_refused),
		cmocka_unit_test(broken_keys_are_refused),
		cmocka_unit_test(a_signed_checkpoint_comes_back),
		cmocka_unit_test(broken_checkpoints_are_refused),
	};

	if (digest_init() != ERR_OK || sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
