/* SPDX-License-Identifier: Apache-2.0 */
/* test_connect_request.c - what the guest's HTTP proxy takes and refuses */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/connect_request.h"

static enum err parse(const char *text, struct connect_request *r,
		      struct buf *forward)
{
	const char *reason = NULL;
	enum err e;

	buf_init(forward, CONNECT_REQUEST_MAX_BYTES + 1024);
	e = connect_request_parse(span_text(text), r, forward, &reason);
	if (e != ERR_OK)
		assert_non_null(reason);
	return e;
}

static void takes_tunnels(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} cases[] = {
		{"CONNECT example.org:443 HTTP/1.1\r\n\r\n", "example.org",
		 443},
		{"CONNECT Example.ORG:1 HTTP/1.0\r\nHost: x\r\n\r\n",
		 "example.org", 1},
		{"CONNECT [2001:DB8::1]:8443 HTTP/1.1\r\n\r\n", "2001:db8::1",
		 8443},
		{"CONNECT 192.0.2.1:65535 HTTP/1.1\r\n\r\n", "192.0.2.1",
		 65535},
	};
	struct connect_request r;
	struct buf forward;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(parse(cases[i].text, &r, &forward), ERR_OK);
		assert_true(r.is_tunnel);
		assert_string_equal(r.host, cases[i].host);
		assert_int_equal(r.port, cases[i].port);
		assert_int_equal(forward.len_bytes, 0);
		buf_fini(&forward);
	}
}

static void rewrites_requests(void **state)
{
	struct connect_request r;
	struct buf forward;

	(void)state;
	assert_int_equal(parse("GET http://Example.org:8080/a?b=c HTTP/1.1\r\n"
			       "Host: other\r\nProxy-Connection: keep-alive\r\n"
			       "Proxy-Authorization: Basic eA==\r\n"
			       "Connection: keep-alive\r\nX-Kept: 1\r\n"
			       "Content-Length: 3\r\n\r\n",
			       &r, &forward),
			 ERR_OK);
	assert_false(r.is_tunnel);
	assert_string_equal(r.host, "example.org");
	assert_int_equal(r.port, 8080);
	assert_true(span_is(buf_span(&forward),
			    "GET /a?b=c HTTP/1.1\r\nHost: Example.org:8080\r\n"
			    "Connection: close\r\nX-Kept: 1\r\n"
			    "Content-Length: 3\r\n\r\n"));
	buf_fini(&forward);
	assert_int_equal(parse("GET http://h?q HTTP/1.1\r\n\r\n", &r, &forward),
			 ERR_OK);
	assert_int_equal(r.port, 80);
	assert_true(span_is(buf_span(&forward),
			    "GET /?q HTTP/1.1\r\nHost: h\r\n"
			    "Connection: close\r\n\r\n"));
	buf_fini(&forward);
}

static void refuses(void **state)
{
	static const char *const cases[] = {
		"",
		"\r\n\r\n",
		"CONNECT example.org HTTP/1.1\r\n\r\n",
		"CONNECT example.org: HTTP/1.1\r\n\r\n",
		"CONNECT example.org:0 HTTP/1.1\r\n\r\n",
		"CONNECT example.org:65536 HTTP/1.1\r\n\r\n",
		"CONNECT example.org:0443 HTTP/1.1\r\n\r\n",
		"CONNECT :443 HTTP/1.1\r\n\r\n",
		"CONNECT user@example.org:443 HTTP/1.1\r\n\r\n",
		"CONNECT exa mple.org:443 HTTP/1.1\r\n\r\n",
		"CONNECT exam\xc3\xa9.org:443 HTTP/1.1\r\n\r\n",
		"CONNECT [::1:443 HTTP/1.1\r\n\r\n",
		"CONNECT [::1]443 HTTP/1.1\r\n\r\n",
		"CONNECT [fe80::1%25eth0]:443 HTTP/1.1\r\n\r\n",
		"CONNECT ::1:443 HTTP/1.1\r\n\r\n",
		"CONNECT a:443 HTTP/2\r\n\r\n",
		"CONNECT a:443\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\n\n",
		"CONNECT a:443 HTTP/1.1\r\nno colon\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\r\nName : v\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\r\nA: b\rc\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\r\nA: b\x01\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\r\nA: b\r\n\r\nrest",
		"CONNECT a:443 HTTP/1.1\r\nA: b\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET https://a/ HTTP/1.1\r\n\r\n",
		"GET ftp://a/ HTTP/1.1\r\n\r\n",
		"GET http:///x HTTP/1.1\r\n\r\n",
		"GET http://u:p@a/ HTTP/1.1\r\n\r\n",
		"GET http://a/#f HTTP/1.1\r\n\r\n",
		"GET  http://a/ HTTP/1.1\r\n\r\n",
		"G@T http://a/ HTTP/1.1\r\n\r\n",
		"POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\n"
		"Content-Length: 1\r\n\r\n",
		"POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\n"
		"Transfer-Encoding: chunked\r\n\r\n",
	};
	struct connect_request r;
	struct buf forward;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (parse(cases[i], &r, &forward) != ERR_FORMAT)
			fail_msg("taken: %s", cases[i]);
		buf_fini(&forward);
	}
}

static void refuses_past_limits(void **state)
{
	struct connect_request r;
	struct buf text, forward;
	const char *c;
	size_t i;

	(void)state;
	buf_init(&text, 64 * 1024);
	assert_int_equal(buf_put_text(&text, "CONNECT a:1 HTTP/1.1\r\n"),
			 ERR_OK);
	for (i = 0; i <= CONNECT_REQUEST_MAX_HEADERS; i++)
		assert_int_equal(buf_put_text(&text, "A: b\r\n"), ERR_OK);
	assert_int_equal(buf_put_text(&text, "\r\n"), ERR_OK);
	assert_int_equal(buf_terminate(&text, &c), ERR_OK);
	assert_int_equal(parse(c, &r, &forward), ERR_LIMIT);
	buf_fini(&forward);

	buf_reset(&text);
	assert_int_equal(buf_put_text(&text, "CONNECT a:1 HTTP/1.1\r\nA: "),
			 ERR_OK);
	for (i = 0; i < CONNECT_REQUEST_MAX_BYTES; i++)
		assert_int_equal(buf_put_text(&text, "x"), ERR_OK);
	assert_int_equal(buf_put_text(&text, "\r\n\r\n"), ERR_OK);
	assert_int_equal(buf_terminate(&text, &c), ERR_OK);
	assert_int_equal(parse(c, &r, &forward), ERR_LIMIT);
	buf_fini(&forward);

	buf_reset(&text);
	assert_int_equal(buf_put_text(&text, "CONNECT "), ERR_OK);
	for (i = 0; i <= CONNECT_HOST_MAX_BYTES; i++)
		assert_int_equal(buf_put_text(&text, "a"), ERR_OK);
	assert_int_equal(buf_put_text(&text, ":1 HTTP/1.1\r\n\r\n"), ERR_OK);
	assert_int_equal(buf_terminate(&text, &c), ERR_OK);
	assert_int_equal(parse(c, &r, &forward), ERR_FORMAT);
	buf_fini(&forward);
	buf_fini(&text);
}

static void finds_the_end_of_the_head(void **state)
{
	(void)state;
	assert_int_equal(connect_request_head_length(span_text("")), 0);
	assert_int_equal(connect_request_head_length(span_text("a\r\n\r")), 0);
	assert_int_equal(connect_request_head_length(span_text("a\r\n\r\nb")),
			 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_tunnels),
		cmocka_unit_test(rewrites_requests),
		cmocka_unit_test(refuses),
		cmocka_unit_test(refuses_past_limits),
		cmocka_unit_test(finds_the_end_of_the_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
