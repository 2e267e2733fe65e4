/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk.c - a session's disk opens with its key only, and is then forgotten
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/digest.h"
#include "vm/disk.h"
#include "vm/luks.h"

#define KEY_BYTES      64u
#define STRIPES        4000u
#define MATERIAL_BYTES (KEY_BYTES * STRIPES)
#define DIGEST_AT      112u /* in the header of LUKS1 */
#define SALT_AT        132u
#define SLOT_AT        208u

static struct disk disk;
static struct buf reason;

static int unnamed_file(void)
{
	int fd = open("/tmp", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static int setup(void **state)
{
	(void)state;
	if (digest_init() != ERR_OK)
		return -1;
	disk_init(&disk);
	buf_init(&reason, REASON_MAX_BYTES);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	disk_close(&disk);
	buf_fini(&reason);
	return 0;
}

static void stretch(const void *secret, size_t len, const uint8_t *salt,
		    uint8_t *key, size_t key_len)
{
	assert_int_equal(gcry_kdf_derive(secret, len, GCRY_KDF_PBKDF2,
					 GCRY_MD_SHA256, salt, 32, 1000,
					 key_len, key),
			 0);
}

static void diffuse(uint8_t block[KEY_BYTES])
{
	uint32_t i;

	for (i = 0; i < KEY_BYTES / DIGEST_BYTES; i++) {
		uint8_t input[4 + DIGEST_BYTES] = {0, 0, 0, (uint8_t)i};

		memcpy(input + 4, block + (size_t)i * DIGEST_BYTES,
		       DIGEST_BYTES);
		digest_sha256(span_of(input, sizeof(input)),
			      block + (size_t)i * DIGEST_BYTES);
	}
}

/* Opens the first slot as the specification says: the master key. */
static void open_slot(int fd, const char *passphrase, uint8_t ret_master[64])
{
	uint8_t head[1024], *material = malloc(MATERIAL_BYTES), slot[KEY_BYTES];
	gcry_cipher_hd_t cipher;
	size_t at, k;

	assert_non_null(material);
	assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
	assert_int_equal(pread(fd, material, MATERIAL_BYTES, 8 * 512),
			 MATERIAL_BYTES);
	stretch(passphrase, strlen(passphrase), head + SLOT_AT + 8, slot,
		sizeof(slot));
	assert_int_equal(gcry_cipher_open(&cipher, GCRY_CIPHER_AES256,
					  GCRY_CIPHER_MODE_XTS, 0),
			 0);
	assert_int_equal(gcry_cipher_setkey(cipher, slot, KEY_BYTES), 0);
	for (at = 0; at < MATERIAL_BYTES; at += 512) {
		uint8_t tweak[16] = {(uint8_t)(at / 512),
				     (uint8_t)(at / 512 >> 8)};

		assert_int_equal(gcry_cipher_setiv(cipher, tweak, 16), 0);
		assert_int_equal(gcry_cipher_decrypt(cipher, material + at, 512,
						     NULL, 0),
				 0);
	}
	gcry_cipher_close(cipher);
	memset(ret_master, 0, KEY_BYTES);
	for (at = 0; at < MATERIAL_BYTES; at += KEY_BYTES) {
		for (k = 0; k < KEY_BYTES; k++)
			ret_master[k] ^= material[at + k];
		if (at + KEY_BYTES < MATERIAL_BYTES)
			diffuse(ret_master);
	}
	free(material);
}

static bool opens_with(int fd, const char *passphrase)
{
	uint8_t head[1024], master[KEY_BYTES], digest[20];

	open_slot(fd, passphrase, master);
	assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
	stretch(master, sizeof(master), head + SALT_AT, digest, sizeof(digest));
	return memcmp(digest, head + DIGEST_AT, sizeof(digest)) == 0;
}

static void header_opens_with_its_passphrase_only(void **state)
{
	static const uint8_t magic[] = {'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1};
	uint8_t head[104];
	int fd = unnamed_file();

	(void)state;
	assert_int_equal(luks_format(fd, "the passphrase", 14), ERR_OK);
	assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
	assert_memory_equal(head, magic, sizeof(magic));
	assert_string_equal((const char *)head + 8, "aes");
	assert_string_equal((const char *)head + 40, "xts-plain64");
	assert_string_equal((const char *)head + 72, "sha256");
	assert_true(opens_with(fd, "the passphrase"));
	assert_false(opens_with(fd, "the passphrasE"));
	close(fd);
}

static void two_disks_share_no_key(void **state)
{
	uint8_t one[KEY_BYTES], two[KEY_BYTES];
	int fd = unnamed_file(), other = unnamed_file();

	(void)state;
	assert_int_equal(luks_format(fd, "same", 4), ERR_OK);
	assert_int_equal(luks_format(other, "same", 4), ERR_OK);
	open_slot(fd, "same", one);
	open_slot(other, "same", two);
	assert_memory_not_equal(one, two, KEY_BYTES);
	close(fd);
	close(other);
}

static void key_is_forgotten(void **state)
{
	char key[65] = {0}, gone[65] = {0};
	int copy;

	(void)state;
	assert_int_equal(disk_make(&disk, unnamed_file(), 64, &reason), ERR_OK);
	copy = dup(disk.key_fd);
	assert_int_equal(pread(copy, key, sizeof(key), 0), 64);
	assert_int_equal(strlen(key), 64);
	assert_true(opens_with(disk.fd, key));
	disk_forget_key(&disk);
	assert_int_equal(pread(copy, gone, sizeof(gone), 0), 64);
	assert_int_equal(strlen(gone), 0);
	assert_int_equal(disk.key_fd, -1);
	close(copy);
}

static void file_is_sparse_and_has_its_size(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(disk_make(&disk, unnamed_file(), 4096, &reason),
			 ERR_OK);
	assert_int_equal(fstat(disk.fd, &st), 0);
	assert_int_equal(st.st_size, disk.file_bytes);
	assert_int_equal(st.st_size,
			 LUKS_HEADER_BYTES + (UINT64_C(4096) << 20));
	assert_true(st.st_blocks * 512 < 1 << 20);
}

static void refuse(int fd)
{
	assert_int_equal(disk_make(&disk, fd, 64, &reason), ERR_FORMAT);
	assert_true(reason.len_bytes > 0);
	disk_close(&disk);
	buf_reset(&reason);
}

static void other_files_are_refused(void **state)
{
	char name[] = "/tmp/test_disk.XXXXXX";
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0);
	refuse(fd); /* it has a name */
	assert_int_equal(unlink(name), 0);
	fd = unnamed_file();
	assert_int_equal(write(fd, "x", 1), 1);
	refuse(fd); /* it is not empty */
	refuse(open("/dev/null", O_RDWR | O_CLOEXEC));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(header_opens_with_its_passphrase_only),
		T(two_disks_share_no_key),
		T(key_is_forgotten),
		T(file_is_sparse_and_has_its_size),
		T(other_files_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
