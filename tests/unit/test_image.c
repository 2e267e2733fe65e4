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

#include "vm/image.h"

static char folder[64];
static int dir_fd;
static struct buf reason;
static struct image image;

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
}

static int setup(void **state)
{
	(void)state;
	if (digest_init() != ERR_OK)
		return -1;
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
					    "manifest.json"};
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

	assert_int_equal(image_open(dir_fd, "mini", &image, &reason), want);
	assert_int_equal(buf_terminate(&reason, &text), ERR_OK);
	if (!strstr(text, word))
		fail_msg("'%s' is not in '%s'", word, text);
}

static void good_image_opens(void **state)
{
	char got[64] = {0};

	(void)state;
	assert_int_equal(image_open(dir_fd, "mini", &image, &reason), ERR_OK);
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

static void other_name_is_refused(void **state)
{
	(void)state;
	assert_int_equal(image_open(dir_fd, "dev", &image, &reason),
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
	assert_int_equal(image_parse(span_text(text), &image, &reason), want);
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
	parse("{\"v\":2}", ERR_VERSION);
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

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(good_image_opens),          T(changed_byte_is_refused),
		T(both_digests_are_named),    T(other_size_is_refused),
		T(missing_file_is_refused),   T(missing_manifest_is_refused),
		T(symlink_is_refused),        T(fifo_does_not_hang),
		T(other_name_is_refused),     T(unknown_key_is_refused),
		T(duplicate_key_is_refused),  T(control_characters_are_refused),
		T(bad_manifests_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
