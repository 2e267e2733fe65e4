/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_response.c - what passes of an answer's head, and what ends it
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <sodium.h>

#include "engine/broker/response.h"
#include "engine/proto/attrs.h"
#include "engine/proto/respframe.h"

static struct response fresh(uint64_t max_bytes)
{
	struct response r;

	assert_int_equal(response_init(&r, true), ERR_OK);
	response_expect(&r, provider_find(span_text("anthropic")), NULL,
			max_bytes, true);
	return r;
}

static enum err feed(struct response *r, const char *const *lines)
{
	enum err e = ERR_OK;

	for (; e == ERR_OK && *lines; lines++)
		e = response_header_line(r, span_text(*lines));
	return e;
}

static void test_head(void **state)
{
	static const char *const lines[] = {"HTTP/1.1 100 Continue\r\n",
					    "\r\n",
					    "HTTP/1.1 103 Early Hints\r\n",
					    "request-id: early\r\n",
					    "\r\n",
					    "HTTP/2 529 \r\n",
					    "Request-ID:  abc \r\n",
					    "Set-Cookie: a=b\r\n",
					    "x-odd\r\n",
					    "retry-after: \x01\r\n",
					    "\r\n",
					    NULL};
	struct response r = fresh(100);
	struct respframe f;
	size_t taken;
	struct attr a;

	(void)state;
	assert_int_equal(feed(&r, lines), ERR_OK);
	assert_int_equal(r.status, 529);
	assert_int_equal(respframe_get(buf_span(&r.frames), &f, &taken),
			 ERR_OK);
	assert_int_equal(f.type, RESPFRAME_HEAD);
	assert_int_equal(f.status, 529);
	assert_true(attrs_find(f.headers, "request-id", &a));
	assert_true(span_is(a.text, "abc"));
	assert_false(attrs_find(f.headers, "set-cookie", &a));
	assert_false(attrs_find(f.headers, "retry-after", &a));
	/* trailers change nothing */
	assert_int_equal(response_header_line(&r, span_text("x: y\r\n")),
			 ERR_OK);
	response_fini(&r);
}

static void test_head_refusals(void **state)
{
	static const struct {
		const char *lines[4];
		enum err error;
	} rows[] = {
		{{"HTTP/1.1 302 Found\r\n", "location: https://x/\r\n", "\r\n",
		  NULL},
		 ERR_UPSTREAM},
		{{"HTTP/1.1 200 OK\r\n", "content-encoding: gzip\r\n", NULL},
		 ERR_UPSTREAM},
		{{"HTTP/1.1 abc\r\n", NULL}, ERR_UPSTREAM},
		{{"HTTP/1.1\r\n", NULL}, ERR_UPSTREAM},
		{{"HTTP/1.1 \r\n", NULL}, ERR_UPSTREAM},
		{{"HTTP/1.1 999 x\r\n", NULL}, ERR_UPSTREAM},
		{{"HTTP/1.1 099 x\r\n", NULL}, ERR_UPSTREAM},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct response r = fresh(100);

		assert_int_equal(feed(&r, rows[i].lines), rows[i].error);
		assert_non_null(r.problem);
		assert_int_equal(r.frames.len_bytes, 0);
		response_fini(&r);
	}
}

static void test_head_too_large(void **state)
{
	static char line[4096];
	struct response r = fresh(100);
	enum err e = ERR_OK;
	unsigned i;

	(void)state;
	memset(line, 'x', sizeof(line));
	line[1] = ':';
	for (i = 0; e == ERR_OK && i < 100; i++)
		e = response_header_line(&r, span_of(line, sizeof(line)));
	assert_int_equal(e, ERR_LIMIT);
	response_fini(&r);

	/* allowed ones have a ceiling of their own */
	r = fresh(100);
	memcpy(line, "request-id:", 11);
	e = ERR_OK;
	for (i = 0; e == ERR_OK && i < 10; i++)
		e = response_header_line(&r, span_of(line, sizeof(line)));
	assert_int_equal(e, ERR_LIMIT);
	assert_true(i <= 3);
	response_fini(&r);
}

static void test_key_in_a_header(void **state)
{
	static const char *const rows[] = {
		"anthropic-ratelimit-KEY-0123: x\r\n",
		"request-id: x KEY-0123\r\n",
		"set-cookie: KEY-0123\r\n",
	};
	struct keyscan_key *key;
	size_t i;

	(void)state;
	assert_int_equal(keyscan_key_new(span_text("KEY-0123"), &key), ERR_OK);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct response r = fresh(100);

		response_expect(&r, r.kind, key, 100, false);
		assert_int_equal(response_header_line(&r, span_text(rows[i])),
				 ERR_OK);
		assert_true(r.key_echoed);
		if (r.headers.len_bytes)
			assert_null(memmem(r.headers.data, r.headers.len_bytes,
					   "KEY-0123", 8));
		response_fini(&r);
	}
	keyscan_key_free(key);
}

/* A stream may idle for hours: its head's memory is not kept meanwhile. */
static void test_idle_memory(void **state)
{
	static const char *const lines[] = {"HTTP/1.1 200 OK\r\n",
					    "request-id: abc\r\n", "\r\n",
					    NULL};
	struct keyscan_key *key;
	struct response r = fresh(100);

	(void)state;
	assert_int_equal(keyscan_key_new(span_text("KEY-0123"), &key), ERR_OK);
	response_expect(&r, r.kind, key, 100, false);
	assert_int_equal(feed(&r, lines), ERR_OK);
	assert_int_equal(r.headers.cap_bytes + r.clean.cap_bytes, 0);
	assert_int_equal(response_data(&r, span_text("some text")), ERR_OK);
	assert_int_equal(r.clean.cap_bytes, 0);
	assert_int_equal(r.body_bytes, 9);
	response_fini(&r);
	keyscan_key_free(key);
}

static void test_body_ceiling(void **state)
{
	struct response r = fresh(10);
	uint8_t digest[DIGEST_BYTES], want[DIGEST_BYTES];

	(void)state;
	assert_int_equal(response_data(&r, span_text("0123456789")), ERR_OK);
	assert_int_equal(response_data(&r, span_text("x")), ERR_LIMIT);
	assert_int_equal(response_end(&r, ERR_LIMIT, span_text(r.problem),
				      digest),
			 ERR_OK);
	digest_sha256(span_text("0123456789"), want);
	assert_memory_equal(digest, want, DIGEST_BYTES);
	assert_int_equal(r.body_bytes, 10);
	response_fini(&r);
}

static void test_copy_moves_to_a_memfd(void **state)
{
	static char piece[1000];
	struct response r = fresh(1000000);
	uint8_t digest[DIGEST_BYTES];
	int fd = -1;
	unsigned i;

	(void)state;
	memset(piece, 'x', sizeof(piece));
	for (i = 0; i < 16; i++)
		assert_int_equal(response_data(&r, span_of(piece, 1000)),
				 ERR_OK);
	assert_int_equal(r.inlined.len_bytes, 16000);
	assert_int_equal(r.memfd, -1);
	assert_int_equal(response_data(&r, span_of(piece, 1000)), ERR_OK);
	assert_true(r.memfd >= 0);
	assert_int_equal(response_end(&r, ERR_OK, span_text(""), digest),
			 ERR_OK);
	assert_int_equal(response_take_memfd(&r, &fd), ERR_OK);
	assert_true(fd >= 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 17000);
	close(fd);
	response_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_head_refusals),
		cmocka_unit_test(test_head_too_large),
		cmocka_unit_test(test_key_in_a_header),
		cmocka_unit_test(test_idle_memory),
		cmocka_unit_test(test_body_ceiling),
		cmocka_unit_test(test_copy_moves_to_a_memfd),
	};

	if (sodium_init() < 0 || digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
