/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_image.c - nothing boots that its manifest does not name byte for byte
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

#include "vm/image.h"
#include "vm/image_sign.h"

static char folder[64];
static int dir_fd;
static struct buf reason;
static struct image image;
static struct minisign_secret secret;
static struct image_keys keys;

static const char kernel_bytes[] = "this is the kernel";
static const char initrd_bytes[] = "this is the initramfs";

static void put_file(const char *name, const char *text)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void hex_of(const char *text, char *ret_hex)
{
	uint8_t digest[DIGEST_BYTES];
	size_t i;

	digest_sha256(span_text(text), digest);
	for (i = 0; i < DIGEST_BYTES; i++)
		(void)snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
}

static void sign(const char *manifest)
{
	const char *text;
	struct buf out;

	buf_init(&out, MINISIGN_FILE_MAX_BYTES);
	assert_int_equal(minisign_sign(&secret, span_text(manifest), "test",
				       &out),
			 ERR_OK);
	assert_int_equal(buf_terminate(&out, &text), ERR_OK);
	put_file("manifest.sig", text);
	buf_fini(&out);
}

/* A good manifest with @more inside and @cmdline as its command line. */
static void put_manifest(const char *more, const char *cmdline)
{
	char text[2048], kernel[65], initrd[65];

	hex_of(kernel_bytes, kernel);
	hex_of(initrd_bytes, initrd);
	(void)snprintf(text, sizeof(text),
		       "{\"v\":1,\"name\":\"mini\",%s"
		       "\"kernel\":{\"file\":\"vmlinux\",\"sha256\":\"%s\","
		       "\"bytes\":%zu},\"initrd\":{\"file\":\"initrd.cpio\","
		       "\"sha256\":\"%s\",\"bytes\":%zu},\"cmdline\":\"%s\","
		       "\"cpu\":\"qemu64\",\"min_memory_mib\":96}",
		       more, kernel, strlen(kernel_bytes), initrd,
		       strlen(initrd_bytes), cmdline);
	put_file("manifest.json", text);
	sign(text);
}

static int setup(void **state)
{
	(void)state;
	if (sodium_init() < 0 || digest_init() != ERR_OK ||
	    minisign_secret_make(&secret) != ERR_OK)
		return -1;
	minisign_secret_public(&secret, &keys.list[0]);
	(void)snprintf(keys.list[0].name, sizeof(keys.list[0].name), "builder");
	keys.count = 1;
	(void)snprintf(folder, sizeof(folder), "/tmp/test_image.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	dir_fd = open(folder, O_RDONLY | O_DIRECTORY);
	buf_init(&reason, REASON_MAX_BYTES);
	put_file("vmlinux", kernel_bytes);
	put_file("initrd.cpio", initrd_bytes);
	put_manifest("", "console=ttyS0 quiet");
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"vmlinux", "initrd.cpio",
					    "manifest.json", "manifest.sig"};
	size_t i;

	(void)state;
	image_close(&image);
	buf_fini(&reason);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlinkat(dir_fd, names[i], 0);
	close(dir_fd);
	return rmdir(folder);
}

static void refused(enum err want, const char *word)
{
	const char *text;

	assert_int_equal(image_open(dir_fd, "mini", &keys, &image, &reason),
			 want);
	assert_int_equal(buf_terminate(&reason, &text), ERR_OK);
	if (!strstr(text, word))
		fail_msg("'%s' is not in '%s'", word, text);
}

static void good_image_opens(void **state)
{
	char got[64] = {0};

	(void)state;
	assert_int_equal(image_open(dir_fd, "mini", &keys, &image, &reason),
			 ERR_OK);
	assert_string_equal(image.command_line, "console=ttyS0 quiet");
	assert_string_equal(image.cpu, "qemu64");
	assert_int_equal(image.min_memory_mib, 96);
	assert_int_equal(pread(image.kernel.fd, got, sizeof(got), 0),
			 strlen(kernel_bytes));
	assert_string_equal(got, kernel_bytes);
	/* Nobody can change what was verified. */
	assert_int_equal(write(image.kernel.fd, "x", 1), -1);
	assert_int_equal(ftruncate(image.initrd.fd, 0), -1);
}

static void changed_byte_is_refused(void **state)
{
	(void)state;
	put_file("vmlinux", "this is the kernal");
	refused(ERR_INTEGRITY, "vmlinux is not what its manifest says");
}

static void both_digests_are_named(void **state)
{
	char hex[65];

	(void)state;
	put_file("initrd.cpio", "THIS is the initramfs");
	hex_of(initrd_bytes, hex);
	hex[12] = '\0';
	refused(ERR_INTEGRITY, hex);
	hex_of("THIS is the initramfs", hex);
	hex[12] = '\0';
	refused(ERR_INTEGRITY, hex);
}

static void other_size_is_refused(void **state)
{
	(void)state;
	put_file("vmlinux", "short");
	refused(ERR_INTEGRITY, "5 bytes");
}

static void missing_file_is_refused(void **state)
{
	(void)state;
	assert_int_equal(unlinkat(dir_fd, "initrd.cpio", 0), 0);
	refused(ERR_NOT_FOUND, "initrd.cpio");
}

static void missing_manifest_is_refused(void **state)
{
	(void)state;
	assert_int_equal(unlinkat(dir_fd, "manifest.json", 0), 0);
	refused(ERR_NOT_FOUND, "manifest.json");
}

static void symlink_is_refused(void **state)
{
	(void)state;
	assert_int_equal(unlinkat(dir_fd, "vmlinux", 0), 0);
	assert_int_equal(symlinkat("initrd.cpio", dir_fd, "vmlinux"), 0);
	refused(ERR_NOT_FOUND, "vmlinux");
}

static void fifo_does_not_hang(void **state)
{
	(void)state;
	assert_int_equal(unlinkat(dir_fd, "vmlinux", 0), 0);
	assert_int_equal(mkfifoat(dir_fd, "vmlinux", 0600), 0);
	refused(ERR_FORMAT, "vmlinux");
}

static void signer_is_named(void **state)
{
	char id[MINISIGN_ID_HEX_BYTES];

	(void)state;
	assert_int_equal(image_open(dir_fd, "mini", &keys, &image, &reason),
			 ERR_OK);
	minisign_id_text(keys.list[0].id, id);
	assert_string_equal(image.signer.name, "builder");
	assert_string_equal(image.signer.id, id);
}

static void unsigned_image_is_refused(void **state)
{
	(void)state;
	assert_int_equal(unlinkat(dir_fd, "manifest.sig", 0), 0);
	refused(ERR_NOT_FOUND, "only signed images are started");
}

/* Signed, but by nobody whom this engine knows. */
static void foreign_key_is_refused(void **state)
{
	char id[MINISIGN_ID_HEX_BYTES];

	(void)state;
	minisign_id_text(keys.list[0].id, id);
	keys.count = 0;
	refused(ERR_PERMISSION, id);
	refused(ERR_PERMISSION, "not trusted here");
}

static void changed_manifest_is_refused(void **state)
{
	int fd = openat(dir_fd, "manifest.json", O_WRONLY | O_APPEND);

	(void)state;
	assert_int_equal(write(fd, "\n", 1), 1);
	close(fd);
	refused(ERR_INTEGRITY, "manifest.json is not what key");
}

/* What is not signed is not parsed: not even to say what is wrong with it. */
static void unsigned_bytes_are_not_parsed(void **state)
{
	(void)state;
	put_file("manifest.json", "{");
	refused(ERR_INTEGRITY, "manifest.json is not what key");
}

static void bad_signature_files_are_refused(void **state)
{
	char big[MINISIGN_FILE_MAX_BYTES + 2];

	(void)state;
	put_file("manifest.sig", "");
	refused(ERR_FORMAT, "no minisign signature");
	put_file("manifest.sig", "untrusted comment: x\nRWQ=\n");
	refused(ERR_FORMAT, "no minisign signature");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	put_file("manifest.sig", big);
	refused(ERR_FORMAT, "manifest.sig is not a file of at most");
	assert_int_equal(unlinkat(dir_fd, "manifest.sig", 0), 0);
	assert_int_equal(symlinkat("manifest.json", dir_fd, "manifest.sig"), 0);
	refused(ERR_NOT_FOUND, "manifest.sig");
}

static void inspect(bool deep, enum err want, const char *word)
{
	const char *text;
	struct buf packages;

	buf_init(&packages, IMAGE_PACKAGES_MAX_BYTES);
	buf_reset(&reason);
	assert_int_equal(image_inspect(dir_fd, "mini", &keys, deep, &image,
				       &packages, &reason),
			 want);
	assert_int_equal(buf_terminate(&reason, &text), ERR_OK);
	if (!strstr(text, word))
		fail_msg("'%s' is not in '%s'", word, text);
	assert_int_equal(image.kernel.fd, -1);
	buf_fini(&packages);
}

static void inspection_finds_what_is_wrong(void **state)
{
	(void)state;
	inspect(false, ERR_OK, "");
	inspect(true, ERR_OK, "");
	put_file("vmlinux", "this is the kernal");
	inspect(false, ERR_OK, "");
	inspect(true, ERR_INTEGRITY, "vmlinux is not what its manifest says");
	put_file("vmlinux", "short");
	inspect(false, ERR_INTEGRITY, "5 bytes");
	assert_int_equal(unlinkat(dir_fd, "vmlinux", 0), 0);
	inspect(false, ERR_NOT_FOUND, "vmlinux");
	keys.count = 0;
	inspect(false, ERR_PERMISSION, "not trusted");
}

static void other_name_is_refused(void **state)
{
	(void)state;
	assert_int_equal(image_open(dir_fd, "dev", &keys, &image, &reason),
			 ERR_INTEGRITY);
}

static void unknown_key_is_refused(void **state)
{
	(void)state;
	put_manifest("\"arguments\":[\"-netdev\"],", "quiet");
	refused(ERR_FORMAT, "unknown key");
}

static void duplicate_key_is_refused(void **state)
{
	(void)state;
	put_manifest("\"cpu\":\"max\",", "quiet");
	refused(ERR_FORMAT, "manifest.json");
}

static void control_characters_are_refused(void **state)
{
	(void)state;
	put_manifest("", "quiet\\n-netdev");
	refused(ERR_FORMAT, "cmdline");
}

static void parse(const char *text, enum err want)
{
	assert_int_equal(manifest_parse(span_text(text), &image, &reason),
			 want);
}

static void bad_manifests_are_refused(void **state)
{
#define DIGEST64 \
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define KERNEL(file)                                                        \
	"\"kernel\":{\"file\":\"" file "\",\"sha256\":\"" DIGEST64          \
	"\",\"bytes\":1},\"initrd\":{\"file\":\"i\",\"sha256\":\"" DIGEST64 \
	"\",\"bytes\":1},"
#define REST "\"cmdline\":\"q\",\"cpu\":\"qemu64\",\"min_memory_mib\":96}"
#define HEAD "{\"v\":1,\"name\":\"m\","

	(void)state;
	parse(HEAD KERNEL("k") REST, ERR_OK);
	parse("", ERR_FORMAT);
	parse("[]", ERR_FORMAT);
	parse("{\"v\":3}", ERR_VERSION);
	parse("{\"v\":0}", ERR_VERSION);
	parse(HEAD KERNEL("k") "\"root\":{}," REST, ERR_FORMAT);
	parse(HEAD KERNEL("../k") REST, ERR_FORMAT);
	parse(HEAD KERNEL("a/k") REST, ERR_FORMAT);
	parse(HEAD KERNEL(".k") REST, ERR_FORMAT);
	parse(HEAD KERNEL("") REST, ERR_FORMAT);
	parse("{\"v\":1,\"name\":\"../m\"," KERNEL("k") REST, ERR_FORMAT);
	parse(HEAD KERNEL("k") "\"cmdline\":\"q\",\"cpu\":\"a b\","
			       "\"min_memory_mib\":96}",
	      ERR_FORMAT);
	parse(HEAD KERNEL("k") "\"cmdline\":\"q\",\"cpu\":\"-x\","
			       "\"min_memory_mib\":96}",
	      ERR_FORMAT);
	parse(HEAD KERNEL("k") "\"cmdline\":\"q\",\"cpu\":\"qemu64\","
			       "\"min_memory_mib\":1}",
	      ERR_FORMAT);
	parse(HEAD KERNEL("k") REST " x", ERR_FORMAT);
}

/* A manifest of version 2 with @more; the root image is as the texts say. */
static void parse_2(const char *more, enum err want)
{
	char text[4096];

	(void)snprintf(text, sizeof(text),
		       "{\"v\":2,\"name\":\"m\"," KERNEL("k") "%s" REST, more);
	parse(text, want);
}

#define ROOT(file, bytes, fs, verity)                       \
	"\"root\":{\"file\":\"" file "\",\"bytes\":" bytes  \
	",\"sha256\":\"" DIGEST64 "\",\"filesystem\":\"" fs \
	"\",\"verity\":" verity "},"
#define VERITY(blocks, offset, block_bytes, algorithm, salt)          \
	"{\"root_hash\":\"" DIGEST64 "\",\"salt\":\"" salt            \
	"\",\"data_blocks\":" blocks ",\"hash_offset_bytes\":" offset \
	",\"block_bytes\":" block_bytes ",\"algorithm\":\"" algorithm "\"}"
#define GOOD_VERITY VERITY("2", "8192", "4096", "sha256", DIGEST64)

static void root_image_is_read(void **state)
{
	(void)state;
	parse_2("", ERR_OK);
	assert_false(image.has_root);
	parse_2(ROOT("r", "12288", "squashfs",
		     GOOD_VERITY) "\"created\":\"2026-01-02T03:04:05Z\","
				  "\"packages\":{"
				  "\"file\":\"p\",\"bytes\":3,\"sha256\":"
				  "\"" DIGEST64 "\"},",
		ERR_OK);
	assert_true(image.has_root);
	assert_string_equal(image.root.file.name, "r");
	assert_int_equal(image.root.file.size_bytes, 12288);
	assert_int_equal(image.root.file.fd, -1);
	assert_int_equal(image.root.filesystem, IMAGE_SQUASHFS);
	assert_int_equal(image.root.verity.data_blocks, 2);
	assert_int_equal(image.root.verity.hash_offset_bytes, 8192);
	assert_int_equal(image.root.verity.root_hash[1], 0x23);
	assert_string_equal(image.created, "2026-01-02T03:04:05Z");
	assert_string_equal(image.packages.name, "p");
	parse_2(ROOT("r", "12288", "erofs", GOOD_VERITY), ERR_OK);
	assert_string_equal(manifest_filesystem_name(image.root.filesystem),
			    "erofs");
}

static void bad_root_images_are_refused(void **state)
{
	static const char *const bad[] = {
		"\"root\":null,",
		"\"root\":{},",
		ROOT("../r", "12288", "squashfs", GOOD_VERITY),
		ROOT("", "12288", "squashfs", GOOD_VERITY),
		ROOT("r", "0", "squashfs", GOOD_VERITY),
		ROOT("r", "\"12288\"", "squashfs", GOOD_VERITY),
		ROOT("r", "12288", "ext4", GOOD_VERITY),
		ROOT("r", "12288", "squashfs", "null"),
		ROOT("r", "12288", "squashfs", "{}"),
		/* The tree does not end the file. */
		ROOT("r", "12287", "squashfs", GOOD_VERITY),
		ROOT("r", "16384", "squashfs", GOOD_VERITY),
		ROOT("r", "8192", "squashfs", GOOD_VERITY),
		ROOT("r", "4096", "squashfs", GOOD_VERITY),
		/* The tree overlaps the data, or lies askew. */
		ROOT("r", "12288", "squashfs",
		     VERITY("3", "8192", "4096", "sha256", DIGEST64)),
		ROOT("r", "12288", "squashfs",
		     VERITY("1", "8192", "4096", "sha256", DIGEST64)),
		ROOT("r", "12800", "squashfs",
		     VERITY("2", "8704", "4096", "sha256", DIGEST64)),
		ROOT("r", "12288", "squashfs",
		     VERITY("18446744073709551615", "8192", "4096", "sha256",
			    DIGEST64)),
		ROOT("r", "12288", "squashfs",
		     VERITY("2", "18446744073709547520", "4096", "sha256",
			    DIGEST64)),
		ROOT("r", "12288", "squashfs",
		     VERITY("2", "8192", "1024", "sha256", DIGEST64)),
		ROOT("r", "12288", "squashfs",
		     VERITY("2", "8192", "4096", "sha1", DIGEST64)),
		ROOT("r", "12288", "squashfs",
		     VERITY("2", "8192", "4096", "sha256", "00")),
		"\"created\":0,",
		"\"created\":\"2026-01-02\",",
		"\"created\":\"2026-01-02T03:04:05+00:00\",",
		"\"packages\":[],",
		"\"arguments\":[],",
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		parse_2(bad[i], ERR_FORMAT);
		assert_true(reason.len_bytes > 0);
	}
}

static void hash_tree_has_every_level(void **state)
{
	(void)state;
	assert_int_equal(manifest_hash_tree_bytes(2), 4096);
	assert_int_equal(manifest_hash_tree_bytes(128), 4096);
	assert_int_equal(manifest_hash_tree_bytes(129), 3 * 4096);
	assert_int_equal(manifest_hash_tree_bytes(128 * 128), 129 * 4096);
	assert_int_equal(manifest_hash_tree_bytes(128 * 128 + 1),
			 (129 + 2 + 1) * 4096);
}

/* Writes a version 2 manifest whose root image should have @bytes. */
static void put_root_manifest(const char *bytes)
{
	char text[4096], kernel[65], initrd[65];

	hex_of(kernel_bytes, kernel);
	hex_of(initrd_bytes, initrd);
	(void)snprintf(
		text, sizeof(text),
		"{\"v\":2,\"name\":\"mini\",\"kernel\":{\"file\":"
		"\"vmlinux\",\"sha256\":\"%s\",\"bytes\":%zu},"
		"\"initrd\":{\"file\":\"initrd.cpio\",\"sha256\":\"%s\","
		"\"bytes\":%zu},\"root\":{\"file\":\"root\",\"bytes\":%s,"
		"\"sha256\":\"" DIGEST64 "\",\"filesystem\":\"erofs\","
		"\"verity\":" GOOD_VERITY "}," REST,
		kernel, strlen(kernel_bytes), initrd, strlen(initrd_bytes),
		bytes);
	put_file("manifest.json", text);
	sign(text);
}

static void root_image_is_opened_read_only(void **state)
{
	int fd;

	(void)state;
	put_root_manifest("12288");
	refused(ERR_NOT_FOUND, "root");
	put_file("root", "too short");
	refused(ERR_INTEGRITY, "9 bytes");
	fd = openat(dir_fd, "root", O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 12288), 0);
	close(fd);
	image_close(&image);
	assert_int_equal(image_open(dir_fd, "mini", &keys, &image, &reason),
			 ERR_OK);
	assert_true(image.root.file.fd >= 0);
	assert_int_equal(write(image.root.file.fd, "x", 1), -1);
	assert_int_equal(unlinkat(dir_fd, "root", 0), 0);
	assert_int_equal(symlinkat("vmlinux", dir_fd, "root"), 0);
	image_close(&image);
	refused(ERR_NOT_FOUND, "root");
	assert_int_equal(unlinkat(dir_fd, "root", 0), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(good_image_opens),
		T(changed_byte_is_refused),
		T(both_digests_are_named),
		T(other_size_is_refused),
		T(missing_file_is_refused),
		T(missing_manifest_is_refused),
		T(symlink_is_refused),
		T(fifo_does_not_hang),
		T(other_name_is_refused),
		T(signer_is_named),
		T(unsigned_image_is_refused),
		T(foreign_key_is_refused),
		T(changed_manifest_is_refused),
		T(unsigned_bytes_are_not_parsed),
		T(bad_signature_files_are_refused),
		T(inspection_finds_what_is_wrong),
		T(unknown_key_is_refused),
		T(duplicate_key_is_refused),
		T(control_characters_are_refused),
		T(bad_manifests_are_refused),
		T(root_image_is_read),
		T(bad_root_images_are_refused),
		T(hash_tree_has_every_level),
		T(root_image_is_opened_read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
