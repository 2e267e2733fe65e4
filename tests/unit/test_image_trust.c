/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_image_trust.c - only keys that root or the engine's user put there
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "engine/core/image_trust.h"

static char folder[64], said[512];
static struct image_keys keys;
static struct minisign_key key;

static void note(void *context, const char *path, const char *why)
{
	(void)context;
	(void)snprintf(said, sizeof(said), "%s: %s", path, why);
}

static void put_file(const char *name, const char *text, mode_t mode)
{
	char path[160];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void put_key(const char *name, mode_t mode)
{
	const char *text;
	struct buf out;

	buf_init(&out, MINISIGN_FILE_MAX_BYTES);
	assert_int_equal(minisign_key_write(&key, &out), ERR_OK);
	assert_int_equal(buf_terminate(&out, &text), ERR_OK);
	put_file(name, text, mode);
	buf_fini(&out);
}

static int setup(void **state)
{
	struct minisign_secret secret;

	(void)state;
	if (sodium_init() < 0 || minisign_secret_make(&secret) != ERR_OK)
		return -1;
	minisign_secret_public(&secret, &key);
	keys.count = 0;
	said[0] = '\0';
	(void)snprintf(folder, sizeof(folder), "/tmp/test_trust.XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	static const char *const names[] = {"a.pub", "b.pub", "c.pub",
					    "notes.txt"};
	char path[160];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		(void)unlink(path);
	}
	return rmdir(folder);
}

static enum err read_folder(void)
{
	return image_trust_read(folder, getuid(), note, NULL, &keys);
}

static void keys_are_named_by_their_files(void **state)
{
	(void)state;
	put_key("a.pub", 0644);
	put_file("notes.txt", "not a key", 0644);
	assert_int_equal(read_folder(), ERR_OK);
	assert_int_equal(keys.count, 1);
	assert_string_equal(keys.list[0].name, "a");
	assert_memory_equal(keys.list[0].id, key.id, sizeof(key.id));
	assert_string_equal(said, "");
}

static void writable_by_all_is_passed_over(void **state)
{
	(void)state;
	put_key("a.pub", 0666);
	put_key("b.pub", 0644);
	assert_int_equal(read_folder(), ERR_OK);
	assert_int_equal(keys.count, 1);
	assert_string_equal(keys.list[0].name, "b");
	assert_non_null(strstr(said, "a.pub: everybody may write to it"));
}

static void what_is_no_key_is_passed_over(void **state)
{
	char path[160];

	(void)state;
	put_file("a.pub", "untrusted comment: x\nAAAA\n", 0644);
	assert_int_equal(read_folder(), ERR_OK);
	assert_int_equal(keys.count, 0);
	assert_non_null(strstr(said, "no public key"));
	put_key("c.pub", 0644);
	(void)snprintf(path, sizeof(path), "%s/b.pub", folder);
	assert_int_equal(symlink("c.pub", path), 0);
	assert_int_equal(read_folder(), ERR_OK);
	assert_int_equal(keys.count, 1);
	assert_string_equal(keys.list[0].name, "c");
}

static void folder_of_others_is_passed_over(void **state)
{
	(void)state;
	put_key("a.pub", 0644);
	assert_int_equal(chmod(folder, 0777), 0);
	assert_int_equal(read_folder(), ERR_PERMISSION);
	assert_int_equal(keys.count, 0);
	assert_non_null(strstr(said, "everybody may write"));
	assert_int_equal(chmod(folder, 0700), 0);
	/* Read for another user's engine: neither root's nor that user's. */
	if (getuid() == 0) {
		assert_int_equal(chown(folder, 12345, 12345), 0);
		assert_int_equal(read_folder(), ERR_PERMISSION);
		assert_int_equal(chown(folder, 0, 0), 0);
	} else {
		assert_int_equal(image_trust_read(folder, getuid() + 1, note,
						  NULL, &keys),
				 ERR_PERMISSION);
	}
}

static void files_of_others_are_passed_over(void **state)
{
	char path[160];

	(void)state;
	put_key("a.pub", 0644);
	if (getuid() != 0)
		skip();
	(void)snprintf(path, sizeof(path), "%s/a.pub", folder);
	assert_int_equal(chown(path, 12345, 12345), 0);
	assert_int_equal(read_folder(), ERR_OK);
	assert_int_equal(keys.count, 0);
	assert_non_null(strstr(said, "neither to root nor"));
	/* The engine's own user may. */
	assert_int_equal(image_trust_read(folder, 12345, note, NULL, &keys),
			 ERR_OK);
	assert_int_equal(keys.count, 1);
}

static void no_folder_is_no_error(void **state)
{
	(void)state;
	assert_int_equal(image_trust_read("/nonexistent/keys", getuid(), note,
					  NULL, &keys),
			 ERR_NOT_FOUND);
	assert_string_equal(said, "");
}

static void keys_travel_in_a_message(void **state)
{
	struct image_keys got;
	struct buf b;

	(void)state;
	for (keys.count = 0; keys.count < IMAGE_KEYS_MAX; keys.count++) {
		keys.list[keys.count] = key;
		memset(keys.list[keys.count].name, 'k',
		       MINISIGN_NAME_MAX_BYTES);
		keys.list[keys.count].name[MINISIGN_NAME_MAX_BYTES] = '\0';
	}
	buf_init(&b, IMAGE_KEYS_MAX_BYTES);
	assert_int_equal(image_keys_put(&keys, &b), ERR_OK);
	assert_int_equal(image_keys_get(buf_span(&b), &got), ERR_OK);
	assert_int_equal(got.count, IMAGE_KEYS_MAX);
	assert_string_equal(got.list[31].name, keys.list[31].name);
	assert_memory_equal(got.list[31].public_key, key.public_key,
			    sizeof(key.public_key));
	b.len_bytes--;
	assert_int_equal(image_keys_get(buf_span(&b), &got), ERR_FORMAT);
	buf_fini(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keys_are_named_by_their_files),
		TEST(writable_by_all_is_passed_over),
		TEST(what_is_no_key_is_passed_over),
		TEST(folder_of_others_is_passed_over),
		TEST(files_of_others_are_passed_over),
		TEST(no_folder_is_no_error),
		TEST(keys_travel_in_a_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
