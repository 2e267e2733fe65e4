/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vsock_line.c - the line that opens a connection to a guest's port
 *
 * Runs in: the test machine; pure.
 * Trusts:  nothing.
 * Never:   touches a socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/core/vsock_line.h"

static enum err parse(const char *text, size_t *ret_bytes, uint32_t *ret_port)
{
	return vsock_line_parse(span_text(text), ret_bytes, ret_port);
}

static void test_a_line_in_pieces(void **state)
{
	static const char text[] = "CONNECT 4294967294\nhello\n";
	const size_t line_bytes = sizeof("CONNECT 4294967294\n") - 1;
	size_t i, bytes = 0;
	uint32_t port = 0;

	(void)state;
	for (i = 0; i < line_bytes; i++)
		assert_int_equal(vsock_line_parse(span_of(text, i), &bytes,
						  &port),
				 ERR_AGAIN);
	for (; i < sizeof(text); i++) {
		assert_int_equal(vsock_line_parse(span_of(text, i), &bytes,
						  &port),
				 ERR_OK);
		assert_int_equal(bytes, line_bytes);
		assert_int_equal(port, UINT32_MAX - 1);
	}
}

static void test_rejections(void **state)
{
	static const struct {
		const char *text;
		enum err e;
	} table[] = {
		{"\n", ERR_FORMAT},
		{"CONNECT\n", ERR_FORMAT},
		{"CONNECT \n", ERR_FORMAT},
		{"connect 52\n", ERR_FORMAT},
		{"CONNECT  52\n", ERR_FORMAT},
		{"CONNECT 052\n", ERR_FORMAT},
		{"CONNECT +52\n", ERR_FORMAT},
		{"CONNECT -1\n", ERR_FORMAT},
		{"CONNECT 52 \n", ERR_FORMAT},
		{"CONNECT 52\r\n", ERR_FORMAT},
		{"CONNECT 0x34\n", ERR_FORMAT},
		{"CONNECT 0\n", ERR_RANGE},
		{"CONNECT 4294967295\n", ERR_RANGE},
		{"CONNECT 4294967296\n", ERR_RANGE},
		{"CONNECT 111111111111111111111111\n", ERR_LIMIT},
		{"GET / HTTP/1.1 and so on and so on", ERR_LIMIT},
	};
	size_t i, bytes;
	uint32_t port;

	(void)state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		enum err e = parse(table[i].text, &bytes, &port);

		if (e != table[i].e)
			fail_msg("%s: %s", table[i].text, err_name(e));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_in_pieces),
		cmocka_unit_test(test_rejections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
