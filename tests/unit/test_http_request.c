/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_request.c - the scripted provider's parser refuses what is odd
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/scripted/http_request.h"

static enum err parse(const char *text, struct http_request *ret, size_t *taken)
{
	return http_request_parse(span_text(text), ret, taken);
}

static void test_good(void **state)
{
	static const char two[] = "POST /v1/messages?beta=true HTTP/1.1\r\n"
				  "Host: x\r\nContent-Length: 3\r\n\r\nabc"
				  "GET /v1/models HTTP/1.1\r\n"
				  "connection: close\r\n\r\n";
	struct http_request r;
	size_t taken;

	(void)state;
	assert_int_equal(parse(two, &r, &taken), ERR_OK);
	assert_true(span_is(r.method, "POST"));
	assert_true(span_is(r.path, "/v1/messages"));
	assert_true(span_is(r.body, "abc"));
	assert_false(r.close);
	assert_int_equal(parse(two + taken, &r, &taken), ERR_OK);
	assert_true(span_is(r.method, "GET"));
	assert_int_equal(r.body.len_bytes, 0);
	assert_true(r.close);
}

static void test_every_prefix_needs_more(void **state)
{
	static const char text[] = "POST /x HTTP/1.1\r\ncontent-length: 2\r\n"
				   "\r\nab";
	struct http_request r;
	size_t taken, i;

	(void)state;
	for (i = 0; i < sizeof(text) - 1; i++)
		assert_int_equal(http_request_parse(span_of(text, i), &r,
						    &taken),
				 ERR_AGAIN);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text;
		enum err error;
	} rows[] = {
		{"\r\n\r\n", ERR_FORMAT},
		{"GET\r\n\r\n", ERR_FORMAT},
		{"GET /\r\n\r\n", ERR_FORMAT},
		{"GET / HTTP/1.0\r\n\r\n", ERR_FORMAT},
		{"GET / HTTP/2\r\n\r\n", ERR_FORMAT},
		{"GET  HTTP/1.1\r\n\r\n", ERR_FORMAT},
		{"GET HTTP/1.1\r\n\r\n", ERR_FORMAT},
		{"GET x HTTP/1.1\r\n\r\n", ERR_FORMAT},
		{"GET http://x/ HTTP/1.1\r\n\r\n", ERR_FORMAT},
		{"GET / a HTTP/1.1\r\n\r\n", ERR_FORMAT},
		{"G\tT / HTTP/1.1\r\n\r\n", ERR_FORMAT},
		{" / HTTP/1.1\r\n\r\n", ERR_FORMAT},
		{"GET / HTTP/1.1\nhost: x\r\n\r\n", ERR_FORMAT},
		{"GET / HTTP/1.1\r\nhost\r\n\r\n", ERR_FORMAT},
		{"GET / HTTP/1.1\r\n: x\r\n\r\n", ERR_FORMAT},
		{"GET / HTTP/1.1\r\nho st: x\r\n\r\n", ERR_FORMAT},
		{"GET / HTTP/1.1\r\nhost : x\r\n\r\n", ERR_FORMAT},
		{"GET / HTTP/1.1\r\n folded: x\r\n\r\n", ERR_FORMAT},
		{"GET / HTTP/1.1\r\na: \x01\r\n\r\n", ERR_FORMAT},
		{"GET / HTTP/1.1\r\na: \xff\r\n\r\n", ERR_FORMAT},
		{"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", ERR_FORMAT},
		{"POST / HTTP/1.1\r\ncontent-length: 1 \r\n\r\n", ERR_FORMAT},
		{"POST / HTTP/1.1\r\ncontent-length: 0x1\r\n\r\n", ERR_FORMAT},
		{"POST / HTTP/1.1\r\ncontent-length: 1,1\r\n\r\n", ERR_FORMAT},
		{"POST / HTTP/1.1\r\ncontent-length: 1\r\n"
		 "Content-Length: 1\r\n\r\na",
		 ERR_EXISTS},
		{"POST / HTTP/1.1\r\ncontent-length: 999999999\r\n\r\n",
		 ERR_RANGE},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
		 ERR_UNSUPPORTED},
	};
	struct http_request r;
	size_t taken, i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (parse(rows[i].text, &r, &taken) != rows[i].error)
			fail_msg("row %zu: %s", i, rows[i].text);
}

static void test_limits(void **state)
{
	char *big = malloc(HTTP_HEAD_MAX_BYTES + 16);
	struct http_request r;
	struct buf many;
	size_t taken, i;

	(void)state;
	assert_non_null(big);
	memset(big, 'a', HTTP_HEAD_MAX_BYTES + 16);
	assert_int_equal(http_request_parse(span_of(big, HTTP_HEAD_MAX_BYTES),
					    &r, &taken),
			 ERR_LIMIT);
	free(big);
	buf_init(&many, HTTP_HEAD_MAX_BYTES);
	assert_int_equal(buf_put_text(&many, "GET / HTTP/1.1\r\n"), ERR_OK);
	for (i = 0; i <= HTTP_HEADERS_MAX; i++)
		assert_int_equal(buf_put_text(&many, "a: b\r\n"), ERR_OK);
	assert_int_equal(buf_put_text(&many, "\r\n"), ERR_OK);
	assert_int_equal(http_request_parse(buf_span(&many), &r, &taken),
			 ERR_LIMIT);
	buf_fini(&many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_every_prefix_needs_more),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
