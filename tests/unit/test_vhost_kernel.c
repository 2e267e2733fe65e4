/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vhost_kernel.c - the parts of the kernel backend that need no device
 *
 * Runs in: the test machine; what needs /dev/vhost-vsock is in tests/nested.
 * Trusts:  nothing.
 * Never:   leaves a process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/proto/bootdoc.h"
#include "guest/boot.h"
#include "vm/no_vsock.h"
#include "vm/stream_count.h"
#include "vm/vhost_kernel.h"

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static struct bootdoc example(void)
{
	struct bootdoc d = {.gate_port = 70000, .egress_port = 2147483647};
	size_t i;

	for (i = 0; i < sizeof(d.secret); i++)
		d.secret[i] = (uint8_t)i;
	return d;
}

static void test_document_round_trip(void **state)
{
	struct bootdoc d = example(), got;
	struct buf text;

	(void)state;
	buf_init(&text, BOOTDOC_MAX_BYTES);
	assert_int_equal(bootdoc_write(&d, &text), ERR_OK);
	assert_true(span_is(buf_span(&text), "kenaz-boot 1\ngate 70000\n"
					     "egress 2147483647\n"
					     "secret " HEX "\n"));
	assert_int_equal(bootdoc_parse(buf_span(&text), &got), ERR_OK);
	assert_memory_equal(&d, &got, sizeof(d));
	buf_fini(&text);
}

static void test_document_rejections(void **state)
{
	static const struct {
		const char *text;
		enum err e;
	} table[] = {
		{"", ERR_SHORT},
		{"kenaz-boot 1", ERR_SHORT},
		{"kenaz-boot 2\ngate 1\negress 2\nsecret " HEX "\n",
		 ERR_FORMAT},
		{"kenaz-boot 1\ngate 1\negress 2\nsecret " HEX, ERR_SHORT},
		{"kenaz-boot 1\ngate 0\negress 2\nsecret " HEX "\n", ERR_RANGE},
		{"kenaz-boot 1\ngate 4294967295\negress 2\nsecret " HEX "\n",
		 ERR_RANGE},
		{"kenaz-boot 1\negress 2\ngate 1\nsecret " HEX "\n",
		 ERR_FORMAT},
		{"kenaz-boot 1\ngate \negress 2\nsecret " HEX "\n", ERR_FORMAT},
		{"kenaz-boot 1\ngate 1\negress 2\nsecret 00\n", ERR_FORMAT},
		{"kenaz-boot 1\ngate 1\negress 2\nsecret " HEX "\n\n",
		 ERR_FORMAT},
	};
	struct bootdoc d;
	char long_text[BOOTDOC_MAX_BYTES + 1];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(bootdoc_parse(span_text(table[i].text), &d),
				 table[i].e);
	memset(long_text, 'a', sizeof(long_text));
	assert_int_equal(bootdoc_parse(span_of(long_text, sizeof(long_text)),
				       &d),
			 ERR_LIMIT);
}

static void test_secret_line(void **state)
{
	struct bootdoc d = example();
	char line[BOOTDOC_LINE_BYTES], other[BOOTDOC_LINE_BYTES];
	size_t i;

	(void)state;
	bootdoc_line(&d, line);
	assert_memory_equal(line, HEX "\n", sizeof(line));
	assert_true(bootdoc_line_matches(&d, span_of(line, sizeof(line) - 1)));
	assert_false(bootdoc_line_matches(&d, span_of(line, sizeof(line))));
	assert_false(bootdoc_line_matches(&d, span_of(line, 1)));
	assert_false(bootdoc_line_matches(&d, span_of(line, 0)));
	for (i = 0; i < sizeof(line) - 1; i++) {
		memcpy(other, line, sizeof(line));
		other[i] = (char)(other[i] ^ 1);
		assert_false(
			bootdoc_line_matches(&d, span_of(other,
							 sizeof(other) - 1)));
	}
}

/* Without a document nothing changes; with one its ports are used. */
static void test_guest_uses_the_document(void **state)
{
	struct bootdoc d = example();
	struct buf text;

	(void)state;
	assert_false(boot_demands_secret());
	assert_false(boot_secret_matches(span_text(HEX)));
	assert_int_equal(boot_host_port(1024), 1024);
	assert_int_equal(boot_take(span_text("nonsense\n")), ERR_FORMAT);
	assert_false(boot_demands_secret());
	buf_init(&text, BOOTDOC_MAX_BYTES);
	assert_int_equal(bootdoc_write(&d, &text), ERR_OK);
	assert_int_equal(boot_take(buf_span(&text)), ERR_OK);
	buf_fini(&text);
	assert_true(boot_demands_secret());
	assert_true(boot_secret_matches(span_text(HEX)));
	assert_int_equal(boot_host_port(1024), 70000);
	assert_int_equal(boot_host_port(1025), 2147483647);
	assert_int_equal(boot_host_port(5000), 5000);
}

static void test_numbers_keep_to_their_range(void **state)
{
	(void)state;
	assert_int_equal(vhost_kernel_pick(10, 19, 0), 10);
	assert_int_equal(vhost_kernel_pick(10, 19, 9), 19);
	assert_int_equal(vhost_kernel_pick(10, 19, 10), 10);
	assert_in_range(vhost_kernel_pick(VHOST_KERNEL_CID_FIRST,
					  VHOST_KERNEL_CID_LAST, UINT32_MAX),
			VHOST_KERNEL_CID_FIRST, VHOST_KERNEL_CID_LAST);
	assert_in_range(vhost_kernel_pick(VHOST_KERNEL_PORT_FIRST,
					  VHOST_KERNEL_PORT_LAST, 0x80000000u),
			VHOST_KERNEL_PORT_FIRST, VHOST_KERNEL_PORT_LAST);
}

/* A socket counts until its last descriptor is closed, in any process. */
static void test_handed_on_sockets_are_counted(void **state)
{
	struct stream_count c;
	uint32_t count;
	int pair[2], kept, wait_pipe[2];
	pid_t child;
	char byte;

	(void)state;
	assert_int_equal(stream_count_init(&c), ERR_OK);
	assert_int_equal(stream_count_get(&c, &count), ERR_OK);
	assert_int_equal(count, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(pipe(wait_pipe), 0);
	assert_int_equal(stream_count_add(&c, pair[0]), ERR_OK);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(wait_pipe[1]);
		_exit(read(wait_pipe[0], &byte, 1) != 0);
	}
	close(wait_pipe[0]);
	close(pair[0]);
	assert_int_equal(stream_count_get(&c, &count), ERR_OK);
	assert_int_equal(count, 1);
	assert_false(stream_count_below(&c, 1));
	assert_true(stream_count_below(&c, 2));
	close(wait_pipe[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	/* Also while its other end is open. */
	assert_true(stream_count_below(&c, 1));
	kept = pair[1];
	close(kept);
	stream_count_fini(&c);
}

static void test_many_are_counted(void **state)
{
	static int pairs[300][2];
	struct stream_count c;
	uint32_t count;
	size_t i;

	(void)state;
	assert_int_equal(stream_count_init(&c), ERR_OK);
	for (i = 0; i < 300; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]),
				 0);
		assert_int_equal(stream_count_add(&c, pairs[i][0]), ERR_OK);
	}
	assert_int_equal(stream_count_get(&c, &count), ERR_OK);
	assert_int_equal(count, 300);
	for (i = 0; i < 300; i += 2)
		close(pairs[i][0]);
	assert_int_equal(stream_count_get(&c, &count), ERR_OK);
	assert_int_equal(count, 150);
	assert_true(stream_count_below(&c, 151));
	for (i = 0; i < 300; i++) {
		if (i % 2)
			close(pairs[i][0]);
		close(pairs[i][1]);
	}
	stream_count_fini(&c);
}

static int try_socket(int family)
{
	int fd = socket(family, SOCK_STREAM, 0);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static void test_family_is_taken_away(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		int pair[2];

		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    no_vsock_enter() != ERR_OK)
			_exit(1);
		if (try_socket(AF_VSOCK) != EAFNOSUPPORT)
			_exit(2);
		if (socketpair(AF_VSOCK, SOCK_STREAM, 0, pair) == 0 ||
		    errno != EAFNOSUPPORT)
			_exit(3);
		if (try_socket(AF_UNIX) != 0)
			_exit(4);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_missing_device_is_said(void **state)
{
	struct vhost_kernel *k = NULL;
	struct buf reason;
	const char *text;

	(void)state;
	if (access(VHOST_KERNEL_DEVICE, F_OK) == 0)
		skip();
	buf_init(&reason, 1024);
	assert_int_equal(vhost_kernel_open(&k, &reason), ERR_NOT_FOUND);
	assert_null(k);
	assert_int_equal(buf_terminate(&reason, &text), ERR_OK);
	assert_string_equal(
		text, "engine.vsock is \"kernel\", but /dev/vhost-vsock cannot "
		      "be opened: No such file or directory; load the module "
		      "vhost_vsock, or set it to \"device\"");
	buf_fini(&reason);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_document_round_trip),
		cmocka_unit_test(test_document_rejections),
		cmocka_unit_test(test_secret_line),
		cmocka_unit_test(test_guest_uses_the_document),
		cmocka_unit_test(test_numbers_keep_to_their_range),
		cmocka_unit_test(test_handed_on_sockets_are_counted),
		cmocka_unit_test(test_many_are_counted),
		cmocka_unit_test(test_family_is_taken_away),
		cmocka_unit_test(test_missing_device_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
