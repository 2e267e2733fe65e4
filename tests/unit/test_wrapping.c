/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_wrapping.c - parameters, credentials, passphrases, a keyring's value:
 * each is refused in each wrong form
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/broker/credential_file.h"
#include "engine/broker/passphrase.h"
#include "engine/broker/secret_input.h"
#include "engine/broker/vault_format.h"
#include "engine/core/environment.h"
#include "engine/core/vault_client.h"
#include "engine/keychain/item.h"
#include "tests/lib/rig.h"

#define HEX64                              \
	"00112233445566778899aabbccddeeff" \
	"00112233445566778899aabbccddeeff"

static void test_names(void **state)
{
	uint32_t i;

	(void)state;
	for (i = VAULT_BACKEND_KEYFILE; i <= VAULT_BACKEND_PASSPHRASE; i++)
		assert_int_equal(wrap_backend_find(
					 span_text(wrap_backend_name(i))),
				 i);
	assert_int_equal(wrap_backend_find(span_text("none")), 0);
	assert_int_equal(wrap_backend_find(span_text("")), 0);
	assert_string_equal(wrap_backend_name(99), "unknown");
}

static void test_argon2id(void **state)
{
	struct wrap_argon2id p = {.passes = 3, .memory_mib = 256}, back;
	struct vault_wrap wrap, bad;

	(void)state;
	memset(p.salt, 7, sizeof(p.salt));
	assert_int_equal(wrap_put_argon2id(&p, &wrap), ERR_OK);
	assert_int_equal(wrap_get_argon2id(&wrap, &back), ERR_OK);
	assert_memory_equal(&p, &back, sizeof(p));
	bad = wrap;
	bad.backend = VAULT_BACKEND_KEYFILE;
	assert_int_equal(wrap_get_argon2id(&bad, &back), ERR_STATE);
	bad = wrap;
	bad.params_bytes--;
	assert_int_equal(wrap_get_argon2id(&bad, &back), ERR_SHORT);
	bad.params_bytes = 0;
	assert_int_equal(wrap_get_argon2id(&bad, &back), ERR_SHORT);
	bad.params_bytes = wrap.params_bytes + 1;
	assert_int_equal(wrap_get_argon2id(&bad, &back), ERR_FORMAT);
	bad = wrap;
	bad.params[0] = 2; /* another function */
	assert_int_equal(wrap_get_argon2id(&bad, &back), ERR_VERSION);
	bad = wrap;
	bad.params[4] = 0; /* passes */
	assert_int_equal(wrap_get_argon2id(&bad, &back), ERR_RANGE);
	bad.params[4] = WRAP_PASSES_MAX + 1;
	assert_int_equal(wrap_get_argon2id(&bad, &back), ERR_RANGE);
	bad = wrap;
	bad.params[11] = 1; /* 16 TiB */
	assert_int_equal(wrap_get_argon2id(&bad, &back), ERR_RANGE);
	bad = wrap;
	bad.params[8] = WRAP_MEMORY_MIN_MIB - 1;
	bad.params[9] = 0;
	assert_int_equal(wrap_get_argon2id(&bad, &back), ERR_RANGE);
	p.memory_mib = WRAP_MEMORY_MAX_MIB + 1;
	assert_int_equal(wrap_put_argon2id(&p, &wrap), ERR_RANGE);
}

static void set_params(struct vault_wrap *wrap, uint32_t backend,
		       const char *text)
{
	*wrap = (struct vault_wrap){.backend = backend,
				    .params_bytes = (uint32_t)strlen(text)};
	memcpy(wrap->params, text, strlen(text));
}

/* A file must not choose a path. */
static void test_file_names(void **state)
{
	static const char *const bad[] = {
		"vault",
		"vault.keyx",
		"vault.key.",
		"vault.key.1",
		"vault.key.02",
		"vault.key.-2",
		"vault.key.x",
		"../vault.key",
		"/vault.key",
		"vault.key/",
		".",
		"vault.key.4294967296",
	};
	char name[WRAP_FILE_MAX_BYTES];
	struct vault_wrap wrap;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		set_params(&wrap, VAULT_BACKEND_KEYFILE, bad[i]);
		if (wrap_get_file(&wrap, name) != ERR_FORMAT)
			fail_msg("%s was accepted", bad[i]);
	}
	set_params(&wrap, VAULT_BACKEND_KEYFILE, "");
	assert_int_equal(wrap_get_file(&wrap, name), ERR_OK);
	assert_string_equal(name, "vault.key");
	assert_int_equal(wrap_put_file(UINT32_MAX, &wrap), ERR_OK);
	assert_int_equal(wrap_get_file(&wrap, name), ERR_OK);
	assert_string_equal(name, "vault.key.4294967295");
	wrap.backend = VAULT_BACKEND_PASSPHRASE;
	assert_int_equal(wrap_get_file(&wrap, name), ERR_STATE);
}

static void test_credential_names(void **state)
{
	static const char *const bad[] = {"", "..", "a/b", "/etc/shadow", "A"};
	char name[NAME_MAX_BYTES + 1];
	struct vault_wrap wrap;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		set_params(&wrap, VAULT_BACKEND_SYSTEMD_CREDS, bad[i]);
		assert_int_equal(wrap_get_credential(&wrap, name), ERR_FORMAT);
		assert_int_equal(wrap_put_credential(bad[i], &wrap),
				 ERR_FORMAT);
	}
	assert_int_equal(wrap_put_credential("kenaz-vault-key", &wrap), ERR_OK);
	assert_int_equal(wrap_get_credential(&wrap, name), ERR_OK);
	assert_string_equal(name, "kenaz-vault-key");
	wrap.backend = VAULT_BACKEND_KEYFILE;
	assert_int_equal(wrap_get_credential(&wrap, name), ERR_STATE);
}

static void test_items(void **state)
{
	uint8_t id[WRAP_ITEM_BYTES], back[WRAP_ITEM_BYTES];
	struct vault_wrap wrap;

	(void)state;
	memset(id, 9, sizeof(id));
	assert_int_equal(wrap_put_item(id, &wrap), ERR_OK);
	assert_int_equal(wrap_get_item(&wrap, back), ERR_OK);
	assert_memory_equal(id, back, sizeof(id));
	wrap.params_bytes--;
	assert_int_equal(wrap_get_item(&wrap, back), ERR_FORMAT);
	wrap.params_bytes += 2;
	assert_int_equal(wrap_get_item(&wrap, back), ERR_FORMAT);
	wrap.backend = VAULT_BACKEND_KEYFILE;
	assert_int_equal(wrap_get_item(&wrap, back), ERR_STATE);
}

static enum err parse(const char *text, size_t len)
{
	struct secret *key = NULL;
	const char *why = NULL;
	enum err e = credential_parse(span_of(text, len), &key, &why);

	if (e == ERR_OK)
		assert_int_equal(key->len_bytes, VAULT_KEY_BYTES);
	else
		assert_non_null(why);
	secret_release(key);
	return e;
}

static void test_credentials(void **state)
{
	static const char zeros[64];
	char hex[66] = HEX64 "\n";

	(void)state;
	assert_int_equal(parse("0123456789abcdef0123456789abcdef", 32), ERR_OK);
	assert_int_equal(parse(hex, 64), ERR_OK);
	assert_int_equal(parse(hex, 65), ERR_OK);
	assert_int_equal(parse(hex, 63), ERR_FORMAT);
	assert_int_equal(parse(hex, 31), ERR_FORMAT);
	assert_int_equal(parse("", 0), ERR_FORMAT);
	hex[64] = ' ';
	assert_int_equal(parse(hex, 65), ERR_FORMAT);
	hex[5] = 'g';
	assert_int_equal(parse(hex, 64), ERR_FORMAT);
	/* a key that somebody forgot to make */
	assert_int_equal(parse(zeros, 32), ERR_FORMAT);
	memset(hex, '0', 64);
	assert_int_equal(parse(hex, 64), ERR_FORMAT);
}

static void write_file(const char *path, const char *data, size_t len,
		       mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void test_credential_files(void **state)
{
	static char large[CREDENTIAL_FILE_MAX_BYTES + 1];
	char dir[256], path[300], other[300];
	struct secret *key;
	const char *why = "";
	int fd;

	(void)state;
	assert_int_equal(rig_temp_dir(dir, sizeof(dir)), 0);
	(void)snprintf(path, sizeof(path), "%s/k", dir);
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(credential_load(-1, "k", &key, &why), ERR_NOT_FOUND);
	assert_int_equal(credential_load(fd, "k", &key, &why), ERR_NOT_FOUND);
	write_file(path, HEX64, 64, 0400);
	assert_int_equal(credential_load(fd, "k", &key, &why), ERR_OK);
	secret_release(key);
	write_file(path, HEX64, 64, 0444);
	assert_int_equal(credential_load(fd, "k", &key, &why), ERR_PERMISSION);
	write_file(path, large, sizeof(large), 0400);
	assert_int_equal(credential_load(fd, "k", &key, &why), ERR_FORMAT);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(credential_load(fd, "k", &key, &why), ERR_PERMISSION);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(credential_load(fd, "k", &key, &why), ERR_FORMAT);
	close(fd);
	rig_remove_dir(dir);
}

static void test_passphrases(void **state)
{
	static char large[PASSPHRASE_MAX_BYTES + 1];
	const char *why;

	(void)state;
	memset(large, 'x', sizeof(large));
	assert_int_equal(passphrase_check(span_text(""), false, &why),
			 ERR_SHORT);
	assert_int_equal(passphrase_check(span_text("short"), true, &why),
			 ERR_SHORT);
	assert_int_equal(passphrase_check(span_text("short"), false, &why),
			 ERR_OK);
	assert_int_equal(passphrase_check(span_of(large, sizeof(large)), false,
					  &why),
			 ERR_LIMIT);
	assert_int_equal(passphrase_check(span_of(large, sizeof(large) - 1),
					  true, &why),
			 ERR_OK);
	assert_int_equal(passphrase_check(span_text("caf\xe9 au lait"), true,
					  &why),
			 ERR_FORMAT);
	assert_int_equal(passphrase_check(span_of("12345678\0a", 10), true,
					  &why),
			 ERR_FORMAT);
	assert_int_equal(passphrase_check(span_text("caf\xc3\xa9 au lait"),
					  true, &why),
			 ERR_OK);
}

/* RFC 9106 through libsodium: the same parameters give the same key. */
static void test_derivation(void **state)
{
	struct wrap_argon2id p = {.passes = 1, .memory_mib = 8};
	struct secret *word, *other, *a, *b;

	(void)state;
	assert_int_equal(secret_copy(span_text("correct horse"), &word),
			 ERR_OK);
	assert_int_equal(secret_copy(span_text("correct horsf"), &other),
			 ERR_OK);
	assert_int_equal(passphrase_derive(word, &p, &a), ERR_OK);
	assert_int_equal(passphrase_derive(word, &p, &b), ERR_OK);
	assert_int_equal(a->len_bytes, VAULT_KEY_BYTES);
	assert_true(span_equal(secret_span(a), secret_span(b)));
	secret_release(b);
	assert_int_equal(passphrase_derive(other, &p, &b), ERR_OK);
	assert_false(span_equal(secret_span(a), secret_span(b)));
	secret_release(b);
	p.salt[0] = 1;
	assert_int_equal(passphrase_derive(word, &p, &b), ERR_OK);
	assert_false(span_equal(secret_span(a), secret_span(b)));
	secret_release(b);
	p.salt[0] = 0;
	p.passes = 2;
	assert_int_equal(passphrase_derive(word, &p, &b), ERR_OK);
	assert_false(span_equal(secret_span(a), secret_span(b)));
	secret_release(a);
	secret_release(b);
	secret_release(word);
	secret_release(other);
}

static void test_lines(void **state)
{
	struct span lines[SECRET_LINES_MAX];

	(void)state;
	assert_int_equal(secret_input_split(span_text("a b\r\n"), 1, lines),
			 ERR_OK);
	assert_true(span_is(lines[0], "a b"));
	assert_int_equal(secret_input_split(span_text("\nb\n"), 2, lines),
			 ERR_OK);
	assert_int_equal(lines[0].len_bytes, 0);
	assert_true(span_is(lines[1], "b"));
	assert_int_equal(secret_input_split(span_text("a"), 1, lines),
			 ERR_SHORT);
	assert_int_equal(secret_input_split(span_text("a\n"), 2, lines),
			 ERR_SHORT);
	assert_int_equal(secret_input_split(span_text(""), 1, lines),
			 ERR_SHORT);
	assert_int_equal(secret_input_split(span_text("a\nb\n"), 1, lines),
			 ERR_LIMIT);
	assert_int_equal(secret_input_split(span_text("a\nb\nc"), 2, lines),
			 ERR_LIMIT);
}

static void test_keyring_value(void **state)
{
	uint8_t key[ITEM_KEY_BYTES], back[ITEM_KEY_BYTES];
	char text[ITEM_TEXT_BYTES];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 7);
	item_write(key, text);
	assert_int_equal(strlen(text), ITEM_TEXT_BYTES - 1);
	assert_int_equal(item_read(span_text(text), back), ERR_OK);
	assert_memory_equal(key, back, sizeof(key));
	assert_int_equal(item_read(span_text(""), back), ERR_SHORT);
	assert_int_equal(item_read(span_of(text, ITEM_TEXT_BYTES - 2), back),
			 ERR_SHORT);
	assert_int_equal(item_read(span_of(text, ITEM_TEXT_BYTES), back),
			 ERR_LIMIT);
	text[ITEM_TEXT_BYTES - 2] = 'g';
	assert_int_equal(item_read(span_text(text), back), ERR_FORMAT);
	text[ITEM_TEXT_BYTES - 2] = 'A';
	assert_int_equal(item_read(span_text(text), back), ERR_FORMAT);
	text[0] = 'K';
	assert_int_equal(item_read(span_text(text), back), ERR_FORMAT);
	assert_int_equal(item_read(span_text("kenaz-vault-key:2:whatever"),
				   back),
			 ERR_VERSION);
}

static void test_bus_addresses(void **state)
{
	char large[VAULT_BUS_MAX_BYTES + 2];

	(void)state;
	assert_int_equal(vault_bus_check("unix:path=/run/user/1000/bus"),
			 ERR_OK);
	assert_int_equal(vault_bus_check("unix:abstract=/tmp/x,guid=0"),
			 ERR_OK);
	assert_int_equal(vault_bus_check("tcp:host=127.0.0.1"),
			 ERR_UNSUPPORTED);
	assert_int_equal(vault_bus_check("autolaunch:"), ERR_UNSUPPORTED);
	assert_int_equal(vault_bus_check("unix:path=/a b"), ERR_FORMAT);
	assert_int_equal(vault_bus_check("unix:path=/a\n"), ERR_FORMAT);
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	assert_int_equal(vault_bus_check(large), ERR_LIMIT);
}

static void test_kept_environment(void **state)
{
	static const char *const dropped[] = {
		"ANTHROPIC_API_KEY=x",
		"HOMES=x",
		"HOME",
		"OPENAI_API_KEY=x",
		"AWS_SECRET_ACCESS_KEY=x",
		"=x",
	};
	size_t i;

	(void)state;
	assert_true(environment_keeps("HOME=/root"));
	assert_true(environment_keeps("DBUS_SESSION_BUS_ADDRESS="));
	for (i = 0; i < ARRAY_SIZE(dropped); i++)
		assert_false(environment_keeps(dropped[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_argon2id),
		cmocka_unit_test(test_file_names),
		cmocka_unit_test(test_credential_names),
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_credential_files),
		cmocka_unit_test(test_passphrases),
		cmocka_unit_test(test_derivation),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_keyring_value),
		cmocka_unit_test(test_bus_addresses),
		cmocka_unit_test(test_kept_environment),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
