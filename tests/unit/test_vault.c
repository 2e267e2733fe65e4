/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vault.c - secrets survive, and nothing that was tampered with opens
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/broker/key_file.h"
#include "engine/broker/vault.h"
#include "tests/lib/rig.h"

static char dir[256];

static int setup(void **state)
{
	(void)state;
	return rig_temp_dir(dir, sizeof(dir));
}

static int teardown(void **state)
{
	(void)state;
	rig_remove_dir(dir);
	return 0;
}

static int dir_fd = -1;

static int open_dir(void)
{
	if (dir_fd >= 0)
		close(dir_fd);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir_fd >= 0);
	return dir_fd;
}

/* As the keeper does with a key file. */
static enum err try_open(struct vault **ret, const char **why)
{
	int fd = open_dir();
	struct secret *key = NULL;
	enum err e = vault_load(fd, ret, why);

	if (e != ERR_OK || vault_phase(*ret) != VAULT_SEALED)
		return e;
	e = key_file_load(fd, "vault.key", &key, why);
	if (e == ERR_OK)
		e = vault_unseal(*ret, key, why);
	if (e != ERR_OK) {
		secret_release(key);
		vault_free(*ret);
	}
	return e;
}

static struct vault *must_open(void)
{
	const char *why = "";
	struct vault *v;
	enum err e = try_open(&v, &why);

	if (e != ERR_OK)
		fail_msg("%s", why);
	return v;
}

static enum err begin(struct vault *v, const char **why)
{
	struct vault_wrap wrap;
	struct secret *key;
	enum err e = wrap_put_file(1, &wrap);

	if (e == ERR_OK)
		e = key_file_create(dir_fd, "vault.key", &key, why);
	if (e == ERR_OK)
		e = vault_begin(v, &wrap, key, why);
	return e;
}

static void set(struct vault *v, const char *name, const char *secret)
{
	const char *why = "";
	enum err e = ERR_OK;

	if (vault_phase(v) == VAULT_ABSENT)
		e = begin(v, &why);
	if (e == ERR_OK)
		e = vault_set(v, span_text(name), span_text(secret), 1, &why);

	if (e != ERR_OK)
		fail_msg("%s", why);
}

static void expect(struct vault *v, const char *name, const char *secret)
{
	const struct vault_record *r = vault_find(v, span_text(name));

	assert_non_null(r);
	assert_true(span_is(secret_span(r->secret), secret));
}

static char *path_of(const char *name)
{
	static char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static size_t read_file(const char *name, uint8_t *data, size_t cap)
{
	int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, data, cap);
	close(fd);
	assert_true(n >= 0);
	return (size_t)n;
}

static void write_file(const char *name, const uint8_t *data, size_t len)
{
	int fd = open(path_of(name), O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC,
		      0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	close(fd);
}

static void test_round_trip(void **state)
{
	struct vault *v = must_open();
	const char *why;
	struct stat st;

	(void)state;
	/* nothing is made before the first secret */
	assert_int_equal(access(path_of("vault"), F_OK), -1);
	assert_int_equal(access(path_of("vault.key"), F_OK), -1);
	assert_null(vault_find(v, span_text("a")));
	set(v, "a", "first");
	set(v, "b.c-d_e", "second");
	set(v, "a", "third");
	assert_int_equal(vault_find(v, span_text("a"))->version, 2);
	assert_int_equal(vault_generation(v), 3);
	vault_free(v);

	assert_int_equal(stat(path_of("vault"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(path_of("vault.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	v = must_open();
	expect(v, "a", "third");
	expect(v, "b.c-d_e", "second");
	assert_non_null(vault_at(v, 1));
	assert_null(vault_at(v, 2));
	assert_int_equal(vault_remove(v, span_text("a"), &why), ERR_OK);
	assert_int_equal(vault_remove(v, span_text("a"), &why), ERR_NOT_FOUND);
	vault_free(v);
	v = must_open();
	assert_null(vault_find(v, span_text("a")));
	expect(v, "b.c-d_e", "second");
	assert_int_equal(vault_generation(v), 4);
	vault_free(v);
}

static void test_no_secret_in_the_clear(void **state)
{
	static uint8_t data[65536];
	struct vault *v = must_open();
	size_t len;

	(void)state;
	set(v, "a", "a-very-visible-secret");
	vault_free(v);
	len = read_file("vault", data, sizeof(data));
	assert_null(memmem(data, len, "a-very-visible", 14));
	len = read_file("vault.key", data, sizeof(data));
	assert_null(memmem(data, len, "a-very-visible", 14));
}

static void test_every_bit_counts(void **state)
{
	static uint8_t good[4096], bad[4096];
	struct vault *v = must_open();
	const char *why;
	size_t len, i;

	(void)state;
	set(v, "name", "secret");
	vault_free(v);
	len = read_file("vault", good, sizeof(good));
	for (i = 0; i < len; i++) {
		memcpy(bad, good, len);
		bad[i] ^= 1;
		write_file("vault", bad, len);
		why = NULL;
		if (try_open(&v, &why) == ERR_OK)
			fail_msg("a changed byte %zu was not noticed", i);
		assert_non_null(why);
	}
	for (i = 0; i < len; i++) {
		write_file("vault", good, i);
		if (try_open(&v, &why) == ERR_OK)
			fail_msg("a file of %zu bytes was accepted", i);
	}
	memcpy(bad, good, len);
	bad[len] = 0;
	write_file("vault", bad, len + 1);
	assert_int_not_equal(try_open(&v, &why), ERR_OK);
	write_file("vault", good, len);
	vault_free(must_open());
}

static void test_tamper_is_named(void **state)
{
	static uint8_t data[4096];
	struct vault *v = must_open();
	const char *why;
	size_t len;

	(void)state;
	set(v, "name", "secret");
	vault_free(v);
	len = read_file("vault", data, sizeof(data));
	data[len - 1] ^= 1;
	write_file("vault", data, len);
	assert_int_equal(try_open(&v, &why), ERR_INTEGRITY);
	assert_string_equal(why, "the vault was changed or is damaged");
}

static void test_newer_version(void **state)
{
	static uint8_t data[4096];
	struct vault *v = must_open();
	const char *why;
	size_t len;

	(void)state;
	set(v, "name", "secret");
	vault_free(v);
	len = read_file("vault", data, sizeof(data));
	data[8] = VAULT_VERSION + 1;
	write_file("vault", data, len);
	assert_int_equal(try_open(&v, &why), ERR_VERSION);
	assert_string_equal(why, "a newer Kenaz wrote this vault");
	data[8] = 0;
	write_file("vault", data, len);
	assert_int_equal(try_open(&v, &why), ERR_FORMAT);
	/* who wraps, and how, is bound to the wrapped key */
	data[8] = VAULT_VERSION;
	data[12] = VAULT_BACKEND_PASSPHRASE;
	write_file("vault", data, len);
	assert_int_equal(try_open(&v, &why), ERR_CRYPTO);
	data[8] = VAULT_VERSION - 1;
	write_file("vault", data, len);
	assert_int_not_equal(try_open(&v, &why), ERR_OK);
}

/* As the first version of the format wrote it: without parameters. */
static void test_first_version(void **state)
{
	struct vault_content *c;
	struct vault *v = must_open();
	struct vault_wrap wrap;
	struct secret *key;
	struct buf file;
	const char *why;
	char name[WRAP_FILE_MAX_BYTES];

	(void)state;
	set(v, "a", "first");
	vault_free(v);
	assert_int_equal(key_file_load(dir_fd, "vault.key", &key, &why),
			 ERR_OK);
	assert_int_equal(vault_content_new(&c), ERR_OK);
	c->header.version = 1;
	c->header.wrap.backend = VAULT_BACKEND_KEYFILE;
	assert_int_equal(secret_copy(span_text("old"), &c->records[0].secret),
			 ERR_OK);
	memcpy(c->records[0].name, "b", 2);
	c->records[0].version = 7;
	c->count = 1;
	buf_init(&file, VAULT_FILE_MAX_BYTES);
	assert_int_equal(vault_content_write(c, key, &file), ERR_OK);
	write_file("vault", file.data, file.len_bytes);
	vault_content_free(c);
	secret_release(key);
	buf_fini(&file);

	v = must_open();
	expect(v, "b", "old");
	wrap = *vault_wrapped_by(v);
	assert_int_equal(wrap_get_file(&wrap, name), ERR_OK);
	assert_string_equal(name, "vault.key");
	set(v, "b", "new");
	assert_int_equal(vault_find(v, span_text("b"))->version, 8);
	vault_free(v);
	v = must_open();
	expect(v, "b", "new");
	vault_free(v);
}

static void test_rewrap(void **state)
{
	static uint8_t before[4096], after[4096];
	struct vault *v = must_open();
	struct vault_wrap wrap, old;
	struct secret *key, *second;
	const char *why = "";
	size_t n, m;

	(void)state;
	set(v, "a", "first");
	old = *vault_wrapped_by(v);
	n = read_file("vault", before, sizeof(before));
	assert_int_equal(wrap_put_file(2, &wrap), ERR_OK);
	assert_int_equal(key_file_create(dir_fd, "vault.key.2", &key, &why),
			 ERR_OK);
	/* a write that fails changes nothing, in the file or in memory */
	assert_int_equal(mkdir(path_of("vault.new"), 0700), 0);
	assert_int_equal(vault_rewrap(v, &wrap, key, &why), ERR_STORAGE);
	assert_int_equal(vault_key_id(v), 1);
	assert_memory_equal(vault_wrapped_by(v), &old, sizeof(old));
	m = read_file("vault", after, sizeof(after));
	assert_int_equal(n, m);
	assert_memory_equal(before, after, n);
	expect(v, "a", "first");
	assert_int_equal(rmdir(path_of("vault.new")), 0);
	set(v, "b", "still the old key");
	assert_int_equal(vault_rewrap(v, &wrap, key, &why), ERR_OK);
	assert_int_equal(vault_key_id(v), 2);
	assert_true(vault_is_wrapped_with(v, key));
	expect(v, "a", "first");
	vault_free(v);

	/* the old key opens nothing any more, the new one everything */
	write_file("vault.key.7", before, 40);
	write_file("vault.keys", before, 40);
	write_file("vault.key.7.saved", before, 40);
	assert_int_equal(try_open(&v, &why), ERR_CRYPTO);
	assert_int_equal(vault_load(open_dir(), &v, &why), ERR_OK);
	assert_int_equal(key_file_load(dir_fd, "vault.key.2", &second, &why),
			 ERR_OK);
	assert_int_equal(vault_unseal(v, second, &why), ERR_OK);
	expect(v, "a", "first");
	expect(v, "b", "still the old key");
	/* nothing but key files goes, and not the one in force */
	assert_int_equal(key_file_sweep(dir_fd, vault_wrapped_by(v)), ERR_OK);
	assert_int_equal(access(path_of("vault.key"), F_OK), -1);
	assert_int_equal(access(path_of("vault.key.7"), F_OK), -1);
	assert_int_equal(access(path_of("vault.key.2"), F_OK), 0);
	assert_int_equal(access(path_of("vault.keys"), F_OK), 0);
	assert_int_equal(access(path_of("vault.key.7.saved"), F_OK), 0);
	vault_free(v);
}

static void test_wrong_key(void **state)
{
	static uint8_t data[256];
	struct vault *v = must_open();
	const char *why;
	size_t len;

	(void)state;
	set(v, "name", "secret");
	vault_free(v);
	len = read_file("vault.key", data, sizeof(data));
	data[len - 1] ^= 1;
	write_file("vault.key", data, len);
	assert_int_equal(try_open(&v, &why), ERR_CRYPTO);
	data[0] ^= 1;
	write_file("vault.key", data, len);
	assert_int_equal(try_open(&v, &why), ERR_FORMAT);
	write_file("vault.key", data, len - 1);
	assert_int_equal(try_open(&v, &why), ERR_FORMAT);
	/* no new key is made beside an old vault */
	assert_int_equal(unlink(path_of("vault.key")), 0);
	assert_int_equal(try_open(&v, &why), ERR_NOT_FOUND);
	assert_string_equal(why, "vault.key is missing");
	assert_int_equal(access(path_of("vault.key"), F_OK), -1);
}

static void test_owner_and_mode(void **state)
{
	char other[512];
	struct vault *v = must_open();
	const char *why;

	(void)state;
	set(v, "name", "secret");
	vault_free(v);
	assert_int_equal(chmod(path_of("vault.key"), 0640), 0);
	assert_int_equal(try_open(&v, &why), ERR_PERMISSION);
	assert_int_equal(chmod(path_of("vault.key"), 0600), 0);
	assert_int_equal(chmod(path_of("vault"), 0604), 0);
	assert_int_equal(try_open(&v, &why), ERR_PERMISSION);
	assert_int_equal(chmod(path_of("vault"), 0600), 0);
	vault_free(must_open());

	/* a link, or a second name */
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	assert_int_equal(link(path_of("vault.key"), other), 0);
	assert_int_equal(try_open(&v, &why), ERR_PERMISSION);
	assert_int_equal(unlink(path_of("vault.key")), 0);
	assert_int_equal(symlink(other, path_of("vault.key")), 0);
	assert_int_equal(try_open(&v, &why), ERR_PERMISSION);

	if (geteuid() == 0) {
		assert_int_equal(unlink(path_of("vault.key")), 0);
		assert_int_equal(rename(other, path_of("vault.key")), 0);
		assert_int_equal(chown(path_of("vault.key"), 12345, 12345), 0);
		assert_int_equal(try_open(&v, &why), ERR_PERMISSION);
		assert_string_equal(why, "vault.key belongs to another user");
	}
}

static void test_limits(void **state)
{
	static char big[SECRET_MAX_BYTES + 1];
	static const char *const bad[] = {"", "A", "a b", "a/b", "../a", ".a"};
	struct vault *v = must_open();
	const char *why;
	char name[32];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(vault_set(v, span_text(bad[i]), span_text("x"),
					   0, &why),
				 ERR_FORMAT);
	assert_int_equal(begin(v, &why), ERR_OK);
	memset(big, 'x', sizeof(big));
	assert_int_equal(vault_set(v, span_text("a"), span_of(big, sizeof(big)),
				   0, &why),
			 ERR_LIMIT);
	assert_int_equal(vault_set(v, span_text("a"), span_text(""), 0, &why),
			 ERR_LIMIT);
	assert_int_equal(vault_set(v, span_text("a"),
				   span_of(big, sizeof(big) - 1), 0, &why),
			 ERR_OK);
	for (i = 1; i < VAULT_RECORDS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%zu", i);
		set(v, name, "x");
	}
	assert_int_equal(vault_set(v, span_text("one-more"), span_text("x"), 0,
				   &why),
			 ERR_LIMIT);
	vault_free(v);
	v = must_open();
	assert_int_equal(vault_find(v, span_text("a"))->secret->len_bytes,
			 SECRET_MAX_BYTES);
	vault_free(v);
}

static void test_failed_write_changes_nothing(void **state)
{
	struct vault *v = must_open();
	const char *why;

	(void)state;
	set(v, "a", "first");
	/* a directory where the temporary file should go */
	assert_int_equal(mkdir(path_of("vault.new"), 0700), 0);
	assert_int_equal(vault_set(v, span_text("a"), span_text("second"), 0,
				   &why),
			 ERR_STORAGE);
	assert_int_equal(vault_set(v, span_text("b"), span_text("second"), 0,
				   &why),
			 ERR_STORAGE);
	assert_int_equal(vault_remove(v, span_text("a"), &why), ERR_STORAGE);
	expect(v, "a", "first");
	assert_null(vault_find(v, span_text("b")));
	assert_int_equal(rmdir(path_of("vault.new")), 0);
	set(v, "b", "third");
	vault_free(v);
	v = must_open();
	expect(v, "a", "first");
	expect(v, "b", "third");
	vault_free(v);
}

static void test_text_of_a_secret(void **state)
{
	static char big[SECRET_MAX_BYTES + 2];
	static const char *const bad[] = {"a\nb",     "a\tb",    " a",
					  "a ",       "a\r\r\n", "\x7f",
					  "\xc3\xa9", "a\n\n"};
	struct span s;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(secret_check_text(span_text(bad[i]), &s),
				 ERR_FORMAT);
	assert_int_equal(secret_check_text(span_of("a\0b", 3), &s), ERR_FORMAT);
	assert_int_equal(secret_check_text(span_text(""), &s), ERR_SHORT);
	assert_int_equal(secret_check_text(span_text("\r\n"), &s), ERR_SHORT);
	assert_int_equal(secret_check_text(span_text("ab c\n"), &s), ERR_OK);
	assert_true(span_is(s, "ab c"));
	memset(big, 'x', sizeof(big));
	assert_int_equal(secret_check_text(span_of(big, SECRET_MAX_BYTES), &s),
			 ERR_OK);
	assert_int_equal(secret_check_text(span_of(big, SECRET_MAX_BYTES + 1),
					   &s),
			 ERR_LIMIT);
}

static void test_phases(void **state)
{
	struct vault *v = must_open();
	const char *why = "";

	(void)state;
	assert_int_equal(vault_phase(v), VAULT_ABSENT);
	assert_int_equal(vault_set(v, span_text("a"), span_text("x"), 1, &why),
			 ERR_STATE);
	assert_int_equal(vault_save(v, &why), ERR_STATE);
	assert_int_equal(vault_unseal(v, NULL, &why), ERR_STATE);
	assert_int_equal(vault_rewrap(v, vault_wrapped_by(v), NULL, &why),
			 ERR_STATE);
	set(v, "a", "x");
	assert_int_equal(vault_phase(v), VAULT_OPEN);
	assert_int_equal(vault_begin(v, vault_wrapped_by(v), NULL, &why),
			 ERR_STATE);
	vault_free(v);
	assert_int_equal(vault_load(open_dir(), &v, &why), ERR_OK);
	assert_int_equal(vault_phase(v), VAULT_SEALED);
	assert_null(vault_find(v, span_text("a")));
	assert_int_equal(vault_remove(v, span_text("a"), &why), ERR_NOT_FOUND);
	vault_free(v);
}

#define WITH_DIR(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIR(test_round_trip),
		WITH_DIR(test_no_secret_in_the_clear),
		WITH_DIR(test_every_bit_counts),
		WITH_DIR(test_tamper_is_named),
		WITH_DIR(test_newer_version),
		WITH_DIR(test_wrong_key),
		WITH_DIR(test_owner_and_mode),
		WITH_DIR(test_limits),
		WITH_DIR(test_failed_write_changes_nothing),
		WITH_DIR(test_first_version),
		WITH_DIR(test_rewrap),
		WITH_DIR(test_phases),
		cmocka_unit_test(test_text_of_a_secret),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
