/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2.c - HTTP/2 without TLS: the door, requests, responses, deadlines
 *
 * The real http*.c in this process, a client over a socket pair. What a
 * hostile client does is in test_http2_hostile.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/proto/attrs.h"
#include "tests/lib/http_rig.h"

#define HEADER_BYTES 500u

static struct http_rig rig;

static int start(void **state)
{
	(void)state;
	http_rig_start(&rig);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	http_rig_stop(&rig);
	return 0;
}

static void expect(struct h2_client *c, struct h2_reply *r, unsigned status,
		   const char *body)
{
	h2_client_finish(c, r);
	assert_int_equal(r->error, NGHTTP2_NO_ERROR);
	assert_int_equal(r->status, status);
	if (body && !span_is(buf_span(&r->body), body))
		fail_msg("%.*s", (int)r->body.len_bytes,
			 (const char *)r->body.data);
}

static bool is_gone(void *context)
{
	unsigned *want = context;

	return rig.gone >= *want;
}

static void expect_gone(struct h2_client *c, unsigned count)
{
	if (!h2_client_until(c, is_gone, &count))
		fail_msg("%u of %u are gone", rig.gone, count);
}

/* --- the door ---------------------------------------------------------------
 */

/* Sends in pieces, with turns of the server between them. */
static void send_pieces(int fd, const char *text, const size_t *ends)
{
	size_t at = 0;

	for (;; ends++) {
		size_t end = *ends ? *ends : strlen(text);

		http_rig_send(fd, span_of(text + at, end - at));
		http_rig_turn(&rig);
		http_rig_turn(&rig);
		at = end;
		if (*ends == 0)
			return;
	}
}

static void tells_the_kinds_apart(void **state)
{
	static const char one[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	static const char post[] =
		"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: "
		"2\r\n\r\n{}";
	static const char two[] = H2_PREFACE "\0\0\0\4\0\0\0\0\0";
	const size_t whole[] = {0}, first[] = {1, 0}, slow[] = {1, 2, 3, 23, 0};
	/* Frame of SETTINGS: type 4, no flags. */
	const size_t *cuts[] = {whole, first, slow};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		struct buf in;
		int fd;

		buf_init(&in, 65536);
		fd = http_rig_connect(&rig);
		send_pieces(fd, one, cuts[i]);
		http_rig_read_until(&rig, fd, "kenaz", &in);
		assert_memory_equal(in.data, "HTTP/1.1 200", 12);
		close(fd);
		buf_reset(&in);
		fd = http_rig_connect(&rig);
		send_pieces(fd, post, cuts[i]);
		http_rig_read_until(&rig, fd, "took 2", &in);
		assert_memory_equal(in.data, "HTTP/1.1 200", 12);
		close(fd);
		buf_reset(&in);
		fd = http_rig_connect(&rig);
		send_pieces(fd, two, cuts[i]);
		/* Its SETTINGS: the server's first frame. */
		http_rig_read_until(&rig, fd, "\4", &in);
		assert_int_equal(in.data[3], NGHTTP2_SETTINGS);
		close(fd);
		buf_fini(&in);
	}
}

/* What was there before the connection came needs no poll. */
static void sees_what_is_there_already(void **state)
{
	struct buf in;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	http_rig_send(pair[0], span_text("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
	assert_int_equal(http_add(rig.http, pair[1]), ERR_OK);
	buf_init(&in, 65536);
	http_rig_read_until(&rig, pair[0], "kenaz", &in);
	buf_fini(&in);
	close(pair[0]);
}

static void half_a_preface_is_not_served(void **state)
{
	int fd = http_rig_connect(&rig), left = http_rig_connect(&rig);

	(void)state;
	http_rig_send(fd, span_text("PRI * HT"));
	http_rig_send(left, span_text("PRI * HT"));
	http_rig_turn(&rig);
	assert_int_equal(shutdown(left, SHUT_WR), 0);
	assert_true(http_rig_at_end(&rig, left));
	http_tick(rig.http, uv_hrtime() + HTTP_IDLE_MAX_NS - 1000000000u);
	http_rig_turn(&rig);
	http_rig_send(fd, span_text("T"));
	http_tick(rig.http, uv_hrtime() + HTTP_IDLE_MAX_NS);
	assert_true(http_rig_at_end(&rig, fd));
	close(fd);
	close(left);
	/* One that differs late is HTTP/1.1's to refuse. */
	fd = http_rig_connect(&rig);
	http_rig_send(fd, span_text("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"));
	assert_true(http_rig_at_end(&rig, fd));
	assert_int_equal(rig.given, 0);
	close(fd);
}

static void a_silent_connection_is_closed(void **state)
{
	int fd = http_rig_connect(&rig);

	(void)state;
	http_rig_turn(&rig);
	http_tick(rig.http, uv_hrtime() + HTTP_IDLE_MAX_NS);
	assert_true(http_rig_at_end(&rig, fd));
	close(fd);
}

/* --- requests ---------------------------------------------------------------
 */

static void answers(void **state)
{
	static const char *const headers[] = {
		"anthropic-version", "2023-06-01",  "te",   "trailers",
		"user-agent",        "t\xc3\xa9st", "host", "kenaz",
		"anthropic-beta",    "b1",          NULL};
	struct h2_client c;
	struct h2_reply *r;

	(void)state;
	http_rig_client(&rig, &c, false);
	r = h2_client_ask(&c, "GET", "/", NULL, span_of(NULL, 0), false);
	expect(&c, r, 200, "kenaz");
	assert_int_equal(r->length, 5);
	assert_string_equal(r->content_type, "text/x-test");
	r = h2_client_ask(&c, "HEAD", "/", NULL, span_of(NULL, 0), false);
	expect(&c, r, 200, "");
	assert_int_equal(r->length, 5);
	rig.mode = RIG_HOLD;
	r = h2_client_ask(&c, "POST", "/v1/messages?beta=true", headers,
			  span_text("{\"a\":1}"), false);
	http_rig_wait_held(&rig, &c, 1);
	assert_true(span_is(buf_span(&rig.held[0]->body), "{\"a\":1}"));
	assert_true(span_is(rig.held[0]->target.query, "beta=true"));
	assert_true(rig.held[0]->head.anthropic);
	assert_non_null(memmem(rig.held[0]->head.forwarded.data,
			       rig.held[0]->head.forwarded.len_bytes, "b1", 2));
	http_rig_answer(rig.held[0], 201, "later");
	expect(&c, r, 201, "later");
	assert_int_equal(rig.gone, 3);
	assert_int_equal(rig.gone_whole, 3);
	h2_client_fini(&c);
}

static void refuses_what_http1_refuses(void **state)
{
	static const struct {
		const char *method, *path, *name, *value;
		unsigned status;
	} bad[] = {
		{"GET", "/nothing", NULL, NULL, 404},
		{"GET", "/v1/../v1/models", NULL, NULL, 404},
		{"GET", "/%2fv1/models", NULL, NULL, 404},
		{"GET", "/v1/messages", NULL, NULL, 405},
		{"DELETE", "/", NULL, NULL, 405},
		{"AVERYLONGMETHODNAME", "/", NULL, NULL, 405},
		{"GET", "/?a=<", NULL, NULL, 400},
		{"POST", "/v1/messages", "content-encoding", "gzip", 415},
		{"POST", "/v1/messages", "expect", "200-ok", 417},
		{"POST", "/v1/messages", "content-length", "33554433", 413},
		{"GET", "/", "content-length", "5", 400},
		{"GET", "/", "host", "another", 400},
		{"GET", "/", "anthropic-beta", "\xff\xfe", 400},
	};
	struct h2_client c;
	size_t i;

	(void)state;
	http_rig_client(&rig, &c, false);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *headers[] = {bad[i].name, bad[i].value, NULL};
		/* It stays open: the answer does not wait for a body. */
		struct h2_reply *r =
			h2_client_ask(&c, bad[i].method, bad[i].path, headers,
				      span_of(NULL, 0), true);

		while (!r->ended)
			h2_client_step(&c);
		/* It may end its own side yet, for a while. */
		assert_false(r->closed);
		if (i % 2) {
			r->open = false;
			(void)nghttp2_session_resume_data(c.session, r->id);
		} else {
			http_tick(rig.http,
				  uv_hrtime() + i * UINT64_C(1000000000));
		}
		h2_client_finish(&c, r);
		if (r->status != bad[i].status ||
		    r->error != NGHTTP2_NO_ERROR || r->body.len_bytes == 0)
			fail_msg("%zu: status %u, error %u", i, r->status,
				 r->error);
	}
	assert_int_equal(rig.gone, ARRAY_SIZE(bad));
	h2_client_fini(&c);
}

static void refuses_connect(void **state)
{
	struct h2_client c;
	struct buf block, b;

	(void)state;
	/* Of CONNECT there is no path (RFC 9113, section 8.5). */
	buf_init(&block, 4096);
	buf_init(&b, 4096);
	h2_put_header(&block, ":method", "CONNECT");
	h2_put_header(&block, ":authority", "example.com:443");
	h2_put_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1,
		     buf_span(&block));
	http_rig_client(&rig, &c, false);
	h2_client_step(&c);
	http_rig_send(c.fd, buf_span(&b));
	while (rig.given == 0)
		h2_client_step(&c);
	assert_int_equal(rig.last_status, 405);
	h2_client_fini(&c);
	buf_fini(&block);
	buf_fini(&b);
}

static void limits_headers_as_http1_does(void **state)
{
	static char value[3000];
	const char *headers[2 * 120 + 1] = {"x-a", value, "x-b", value,
					    "x-c", value, NULL};
	struct h2_client c;
	size_t i;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	http_rig_client(&rig, &c, false);
	expect(&c,
	       h2_client_ask(&c, "GET", "/", headers, span_of(NULL, 0), false),
	       431, NULL);
	for (i = 0; i < 120; i++) {
		headers[2 * i] = "x-n";
		headers[2 * i + 1] = "1";
	}
	headers[240] = NULL;
	expect(&c,
	       h2_client_ask(&c, "GET", "/", headers, span_of(NULL, 0), false),
	       431, NULL);
	expect(&c, h2_client_ask(&c, "GET", "/", NULL, span_of(NULL, 0), false),
	       200, "kenaz");
	h2_client_fini(&c);
}

static void takes_large_bodies_and_refuses_larger(void **state)
{
	size_t len = BODY_MAX_BYTES + 1;
	static const char *const length[] = {"content-length", "33554433",
					     NULL};
	uint8_t *body = calloc(1, len);
	struct h2_client c;
	struct h2_reply *r;

	(void)state;
	assert_non_null(body);
	http_rig_client(&rig, &c, false);
	r = h2_client_ask(&c, "POST", "/v1/messages", NULL,
			  span_of(body, BODY_MAX_BYTES), false);
	expect(&c, r, 200, "took 33554432");
	r = h2_client_ask(&c, "POST", "/v1/messages", NULL, span_of(body, len),
			  false);
	expect(&c, r, 413, NULL);
	/* Known before it came: most of it never does. */
	r = h2_client_ask(&c, "POST", "/v1/messages", length,
			  span_of(body, len), false);
	expect(&c, r, 413, NULL);
	assert_true(r->request.len_bytes >
		    len - 8u * HTTP2_STREAM_WINDOW_BYTES);
	r = h2_client_ask(&c, "GET", "/", NULL, span_text("x"), false);
	expect(&c, r, 400, NULL);
	h2_client_fini(&c);
	free(body);
}

/* All the bodies together: 96 MiB, whoever sends them. */
static void limits_all_bodies_together(void **state)
{
	uint8_t *body = calloc(1, BODY_MAX_BYTES);
	struct h2_client c;
	struct h2_reply *r;
	unsigned i;

	(void)state;
	assert_non_null(body);
	http_rig_client(&rig, &c, false);
	rig.mode = RIG_HOLD;
	for (i = 1; i <= 4; i++) {
		(void)h2_client_ask(&c, "POST", "/v1/messages", NULL,
				    span_of(body, BODY_MAX_BYTES), false);
		if (i < 4)
			http_rig_wait_held(&rig, &c, i);
	}
	r = &c.replies[3];
	h2_client_finish(&c, r);
	assert_int_equal(r->status, 529);
	assert_int_equal(rig.n_held, 3);
	h2_client_fini(&c);
	free(body);
}

static void asks_for_a_body_that_waits(void **state)
{
	static const char *const headers[] = {"expect", "100-continue", NULL};
	struct h2_client c;
	struct h2_reply *r;

	(void)state;
	http_rig_client(&rig, &c, false);
	r = h2_client_ask(&c, "POST", "/v1/messages", headers, span_of(NULL, 0),
			  true);
	while (r->status != 100)
		h2_client_step(&c);
	r->request = span_text("{}");
	r->open = false;
	assert_int_equal(nghttp2_session_resume_data(c.session, r->id), 0);
	expect(&c, r, 200, "took 2");
	assert_int_equal(r->informational, 100);
	h2_client_fini(&c);
}

static void refuses_trailers(void **state)
{
	static const char name[] = "x-checksum", value[] = "1";
	nghttp2_nv trailer = {.namelen = sizeof(name) - 1,
			      .valuelen = sizeof(value) - 1};
	const char *at = name;
	struct h2_client c;
	struct h2_reply *r;

	(void)state;
	memcpy(&trailer.name, &at, sizeof(at));
	at = value;
	memcpy(&trailer.value, &at, sizeof(at));
	http_rig_client(&rig, &c, false);
	r = h2_client_ask(&c, "POST", "/v1/messages", NULL, span_text("{}"),
			  true);
	h2_client_step(&c);
	assert_int_equal(nghttp2_submit_trailer(c.session, r->id, &trailer, 1),
			 0);
	h2_client_finish(&c, r);
	assert_int_equal(r->status, 400);
	assert_int_equal(rig.given, 1);
	h2_client_fini(&c);
}

/* --- responses --------------------------------------------------------------
 */

static void streams_many_at_once(void **state)
{
	struct h2_client c;
	unsigned i, turn;

	(void)state;
	http_rig_client(&rig, &c, false);
	rig.mode = RIG_HOLD;
	for (i = 0; i < HTTP2_STREAMS_MAX; i++)
		(void)h2_client_ask(&c, "POST", "/v1/messages", NULL,
				    span_text("{}"), false);
	http_rig_wait_held(&rig, &c, HTTP2_STREAMS_MAX);
	for (i = 0; i < HTTP2_STREAMS_MAX; i++)
		assert_int_equal(http_begin(rig.held[i], 200, span_of(NULL, 0)),
				 ERR_OK);
	for (turn = 0; turn < 5; turn++) {
		for (i = 0; i < HTTP2_STREAMS_MAX; i++)
			assert_int_equal(http_write(rig.held[i],
						    span_text("data\n")),
					 ERR_OK);
		h2_client_step(&c);
	}
	for (i = 0; i < HTTP2_STREAMS_MAX; i++)
		http_end(rig.held[i]);
	for (i = 0; i < HTTP2_STREAMS_MAX; i++)
		expect(&c, &c.replies[i], 200,
		       "data\ndata\ndata\ndata\ndata\n");
	assert_int_equal(rig.gone_whole, HTTP2_STREAMS_MAX);
	h2_client_fini(&c);
}

/* Answers that nobody can send yet: the library keeps their headers. */
static void the_library_has_a_ceiling(void **state)
{
	struct mallinfo2 before, after;
	struct buf headers;
	struct h2_client c;
	unsigned i, refused = 0;
	char name[16];

	(void)state;
	buf_init(&headers, 65536);
	for (i = 0; i < HTTP_RESPONSE_HEADERS_MAX; i++) {
		struct buf text;

		(void)snprintf(name, sizeof(name), "x-%u", i);
		buf_init(&text, HEADER_BYTES);
		while (text.len_bytes < HEADER_BYTES)
			assert_int_equal(buf_put_u8(&text, 'v'), ERR_OK);
		assert_int_equal(attrs_put_text(&headers, name,
						buf_span(&text)),
				 ERR_OK);
		buf_fini(&text);
	}
	http_rig_client(&rig, &c, false);
	rig.mode = RIG_HOLD;
	for (i = 0; i < HTTP2_STREAMS_MAX; i++)
		(void)h2_client_ask(&c, "POST", "/v1/messages", NULL,
				    span_text("{}"), false);
	http_rig_wait_held(&rig, &c, HTTP2_STREAMS_MAX);
	before = mallinfo2();
	for (i = 0; i < HTTP2_STREAMS_MAX; i++)
		if (http_begin(rig.held[i], 200, buf_span(&headers)) !=
		    ERR_OK) {
			refused++;
			http_break(rig.held[i]);
		}
	after = mallinfo2();
	assert_true(after.uordblks <
		    before.uordblks + 2 * HTTP2_MEMORY_MAX_BYTES);
	/* Some, and not for nothing. */
	assert_in_range(refused, 1, HTTP2_STREAMS_MAX - 16);
	for (i = 0; i < HTTP2_STREAMS_MAX; i++)
		if (rig.held[i])
			http_end(rig.held[i]);
	expect_gone(&c, HTTP2_STREAMS_MAX);
	h2_client_fini(&c);
	buf_fini(&headers);
}

static void a_stream_over_the_limit_is_refused(void **state)
{
	struct h2_client c;
	unsigned i;

	(void)state;
	http_rig_client(&rig, &c, false);
	/* More than the library lets a client send: say nothing of limits. */
	rig.mode = RIG_HOLD;
	for (i = 0; i < HTTP2_STREAMS_MAX + 1; i++)
		(void)h2_client_ask(&c, "POST", "/v1/messages", NULL,
				    span_text("{}"), false);
	/* Sent before the server's SETTINGS came. */
	h2_client_finish(&c, &c.replies[HTTP2_STREAMS_MAX]);
	assert_int_equal(c.replies[HTTP2_STREAMS_MAX].error,
			 NGHTTP2_REFUSED_STREAM);
	http_rig_wait_held(&rig, &c, HTTP2_STREAMS_MAX);
	h2_client_fini(&c);
}

/* The window of a client that does not read holds the response up. */
static void a_slow_reader_holds_up_its_response_only(void **state)
{
	static uint8_t block[HTTP_OUT_HIGH_BYTES];
	struct h2_client c;
	struct h2_reply *slow, *other;
	size_t sent = 0;

	(void)state;
	http_rig_client(&rig, &c, true);
	rig.mode = RIG_HOLD;
	slow = h2_client_ask(&c, "POST", "/v1/messages", NULL, span_text("{}"),
			     false);
	http_rig_wait_held(&rig, &c, 1);
	assert_int_equal(http_begin(rig.held[0], 200, span_of(NULL, 0)),
			 ERR_OK);
	assert_int_equal(http_write(rig.held[0], span_of(block, sizeof(block))),
			 ERR_OK);
	while (slow->body.len_bytes < 65535)
		h2_client_step(&c);
	assert_int_equal(http_pending_bytes(rig.held[0]),
			 sizeof(block) - 65535);
	assert_int_equal(rig.drained, 0);
	/* Room for another, of the connection, not of that stream. */
	assert_int_equal(nghttp2_session_consume_connection(c.session, 65535),
			 0);
	rig.mode = RIG_ANSWER;
	other = h2_client_ask(&c, "GET", "/", NULL, span_of(NULL, 0), false);
	expect(&c, other, 200, "kenaz");
	assert_int_equal(slow->body.len_bytes, 65535);
	assert_int_equal(nghttp2_session_consume_stream(c.session, slow->id,
							65535),
			 0);
	assert_int_equal(nghttp2_session_consume_connection(c.session, 5), 0);
	while (slow->body.len_bytes < 131065)
		h2_client_step(&c);
	/* Seven bytes above the mark. */
	assert_int_equal(rig.drained, 0);
	http_end(rig.held[0]);
	while (!slow->closed) {
		size_t more = slow->body.len_bytes - 65535 - sent;

		if (more)
			assert_int_equal(nghttp2_session_consume(c.session,
								 slow->id,
								 more),
					 0);
		sent += more;
		h2_client_step(&c);
	}
	assert_int_equal(rig.drained, 1);
	assert_int_equal(slow->body.len_bytes, sizeof(block));
	assert_int_equal(slow->error, NGHTTP2_NO_ERROR);
	h2_client_fini(&c);
}

/* --- the end of a client ----------------------------------------------------
 */

static void a_cancelled_stream_is_gone_at_once(void **state)
{
	struct h2_client c;
	struct h2_reply *r;

	(void)state;
	http_rig_client(&rig, &c, false);
	rig.mode = RIG_HOLD;
	r = h2_client_ask(&c, "POST", "/v1/messages", NULL, span_text("{}"),
			  false);
	(void)h2_client_ask(&c, "POST", "/v1/messages", NULL, span_text("{}"),
			    false);
	http_rig_wait_held(&rig, &c, 2);
	assert_int_equal(http_begin(rig.held[0], 200, span_of(NULL, 0)),
			 ERR_OK);
	assert_int_equal(nghttp2_submit_rst_stream(c.session, 0, r->id,
						   NGHTTP2_CANCEL),
			 0);
	expect_gone(&c, 1);
	assert_int_equal(rig.gone_whole, 0);
	assert_null(rig.held[0]);
	/* The other goes on. */
	http_rig_answer(rig.held[1], 200, "second");
	expect(&c, &c.replies[1], 200, "second");
	h2_client_fini(&c);
}

static void a_client_that_leaves_takes_all_its_streams(void **state)
{
	int how;

	(void)state;
	for (how = 0; how < 2; how++) {
		struct h2_client c;
		unsigned i;

		http_rig_client(&rig, &c, false);
		rig.mode = RIG_HOLD;
		rig.n_held = rig.given = rig.gone = rig.gone_whole = 0;
		for (i = 0; i < 5; i++)
			(void)h2_client_ask(&c, "POST", "/v1/messages", NULL,
					    span_text("{}"), i == 4);
		http_rig_wait_held(&rig, &c, 4);
		if (how == 0) {
			close(c.fd);
			c.fd = -1;
			c.closed = true;
		} else {
			/* Over the shim there is no other sign. */
			assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
		}
		expect_gone(&c, 4);
		assert_int_equal(rig.gone_whole, 0);
		h2_client_fini(&c);
	}
}

static void a_broken_response_is_reset(void **state)
{
	struct h2_client c;
	struct h2_reply *r;

	(void)state;
	http_rig_client(&rig, &c, false);
	rig.mode = RIG_HOLD;
	r = h2_client_ask(&c, "POST", "/v1/messages", NULL, span_text("{}"),
			  false);
	http_rig_wait_held(&rig, &c, 1);
	assert_int_equal(http_begin(rig.held[0], 200, span_of(NULL, 0)),
			 ERR_OK);
	assert_int_equal(http_write(rig.held[0], span_text("some")), ERR_OK);
	while (r->body.len_bytes == 0)
		h2_client_step(&c);
	http_break(rig.held[0]);
	h2_client_finish(&c, r);
	assert_int_equal(r->error, NGHTTP2_INTERNAL_ERROR);
	assert_int_equal(rig.gone, 1);
	assert_int_equal(rig.gone_whole, 0);
	rig.mode = RIG_ANSWER;
	expect(&c, h2_client_ask(&c, "GET", "/", NULL, span_of(NULL, 0), false),
	       200, "kenaz");
	h2_client_fini(&c);
}

/* --- deadlines --------------------------------------------------------------
 */

static void an_idle_connection_is_ended_properly(void **state)
{
	struct h2_client c;

	(void)state;
	http_rig_client(&rig, &c, false);
	expect(&c, h2_client_ask(&c, "GET", "/", NULL, span_of(NULL, 0), false),
	       200, "kenaz");
	http_tick(rig.http, uv_hrtime());
	assert_false(c.closed);
	http_tick(rig.http, uv_hrtime() + HTTP_IDLE_MAX_NS);
	while (!c.closed)
		h2_client_step(&c);
	assert_true(c.goaway);
	assert_int_equal(c.goaway_error, NGHTTP2_NO_ERROR);
	h2_client_fini(&c);
}

static void a_request_that_does_not_end_is_reset(void **state)
{
	struct h2_client c;
	struct h2_reply *r;

	(void)state;
	http_rig_client(&rig, &c, false);
	r = h2_client_ask(&c, "POST", "/v1/messages", NULL, span_text("{"),
			  true);
	h2_client_step(&c);
	h2_client_step(&c);
	http_tick(rig.http, uv_hrtime() + HTTP_READ_MAX_NS - 1000000000u);
	h2_client_step(&c);
	assert_false(r->closed);
	http_tick(rig.http, uv_hrtime() + HTTP_READ_MAX_NS);
	h2_client_finish(&c, r);
	assert_int_not_equal(r->error, NGHTTP2_NO_ERROR);
	assert_int_equal(rig.given, 0);
	h2_client_fini(&c);
}

static void headers_that_do_not_end_end_the_connection(void **state)
{
	int fd = http_rig_raw(&rig);
	struct buf block, b;

	(void)state;
	buf_init(&block, 4096);
	buf_init(&b, 4096);
	h2_put_request(&block, "GET", "/");
	h2_put_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_NONE, 1,
		     buf_span(&block));
	http_rig_pour(&rig, fd, buf_span(&b));
	http_tick(rig.http, uv_hrtime() + HTTP_READ_MAX_NS);
	assert_int_equal(http_rig_goaway(&rig, fd), NGHTTP2_ENHANCE_YOUR_CALM);
	close(fd);
	buf_fini(&block);
	buf_fini(&b);
}

/* A window of nothing, for ever. */
static void a_response_that_nobody_reads_is_reset(void **state)
{
	static const nghttp2_settings_entry none = {
		NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
	struct h2_client c;
	struct h2_reply *r;
	int streamed;

	(void)state;
	http_rig_client(&rig, &c, false);
	assert_int_equal(nghttp2_submit_settings(c.session, 0, &none, 1), 0);
	rig.mode = RIG_HOLD;
	for (streamed = 0; streamed < 2; streamed++) {
		struct http_request *h;

		r = h2_client_ask(&c, "POST", "/v1/messages", NULL,
				  span_text("{}"), false);
		http_rig_wait_held(&rig, &c, (unsigned)streamed + 1);
		h = rig.held[streamed];
		if (streamed) {
			assert_int_equal(http_begin(h, 200, span_of(NULL, 0)),
					 ERR_OK);
			assert_int_equal(http_write(h, span_text("data")),
					 ERR_OK);
			http_end(h);
		} else {
			http_rig_answer(h, 200, "data");
		}
		while (!r->headers)
			h2_client_step(&c);
		h2_client_step(&c);
		assert_false(r->closed);
		http_tick(rig.http, uv_hrtime() + HTTP_STALL_MAX_NS);
		h2_client_finish(&c, r);
		assert_int_equal(r->error, NGHTTP2_INTERNAL_ERROR);
	}
	assert_int_equal(rig.gone, 2);
	assert_int_equal(rig.gone_whole, 0);
	h2_client_fini(&c);
}

/* Its windows are wide, but it reads nothing at all. */
static void write_to_who_reads_nothing(bool leaves)
{
	static const nghttp2_settings_entry wide = {
		NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1u << 30};
	static uint8_t block[HTTP_OUT_HIGH_BYTES];
	struct h2_client c;
	unsigned i;

	http_rig_client(&rig, &c, false);
	assert_int_equal(nghttp2_submit_settings(c.session, 0, &wide, 1), 0);
	assert_int_equal(nghttp2_submit_window_update(c.session, 0, 0, 1 << 30),
			 0);
	rig.mode = RIG_HOLD;
	(void)h2_client_ask(&c, "POST", "/v1/messages", NULL, span_text("{}"),
			    false);
	http_rig_wait_held(&rig, &c, 1);
	c.pause = true;
	assert_int_equal(http_begin(rig.held[0], 200, span_of(NULL, 0)),
			 ERR_OK);
	for (i = 0; i < 16; i++)
		assert_int_equal(http_write(rig.held[0],
					    span_of(block, sizeof(block))),
				 ERR_OK);
	for (i = 0; i < 50; i++)
		h2_client_step(&c);
	/* What the socket does not take stays where it is counted. */
	assert_true(http_pending_bytes(rig.held[0]) > 2u << 20);
	if (leaves) {
		close(c.fd);
		c.fd = -1;
		c.closed = true;
	} else {
		http_tick(rig.http, uv_hrtime() + HTTP_STALL_MAX_NS / 2);
		assert_int_equal(rig.gone, 0);
		http_tick(rig.http, uv_hrtime() + HTTP_STALL_MAX_NS);
	}
	expect_gone(&c, 1);
	assert_int_equal(rig.gone_whole, 0);
	h2_client_fini(&c);
}

static void a_client_that_reads_nothing_is_closed(void **state)
{
	(void)state;
	write_to_who_reads_nothing(false);
}

static void a_client_that_reads_nothing_may_leave(void **state)
{
	(void)state;
	write_to_who_reads_nothing(true);
}

/* HTTP/1.1, whose library holds a whole answer: the same deadline. */
static void a_plain_answer_of_http1_that_nobody_reads_is_dropped(void **state)
{
	int fd = http_rig_connect(&rig);
	struct buf body;
	unsigned i;

	(void)state;
	rig.mode = RIG_HOLD;
	http_rig_send(fd, span_text("POST /v1/messages HTTP/1.1\r\nHost: x\r\n"
				    "Content-Length: 2\r\n\r\n{}"));
	for (i = 0; i < 1000 && rig.n_held == 0; i++)
		http_rig_turn(&rig);
	assert_int_equal(rig.n_held, 1);
	buf_init(&body, 8u << 20);
	while (body.len_bytes < (8u << 20))
		assert_int_equal(buf_put(&body, H2_PREFACE "12345678", 32),
				 ERR_OK);
	assert_int_equal(http_answer(rig.held[0], 200, span_of(NULL, 0), &body),
			 ERR_OK);
	for (i = 0; i < 50; i++)
		http_rig_turn(&rig);
	http_tick(rig.http, uv_hrtime() + HTTP_STALL_MAX_NS / 2);
	http_rig_turn(&rig);
	assert_int_equal(rig.gone, 0);
	http_tick(rig.http, uv_hrtime() + HTTP_STALL_MAX_NS);
	assert_true(http_rig_at_end(&rig, fd) || rig.gone);
	for (i = 0; i < 1000 && rig.gone == 0; i++)
		http_rig_turn(&rig);
	assert_int_equal(rig.gone, 1);
	assert_int_equal(rig.gone_whole, 0);
	close(fd);
	buf_fini(&body);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(tells_the_kinds_apart),
		TEST(sees_what_is_there_already),
		TEST(half_a_preface_is_not_served),
		TEST(a_silent_connection_is_closed),
		TEST(answers),
		TEST(refuses_what_http1_refuses),
		TEST(refuses_connect),
		TEST(limits_headers_as_http1_does),
		TEST(takes_large_bodies_and_refuses_larger),
		TEST(limits_all_bodies_together),
		TEST(asks_for_a_body_that_waits),
		TEST(refuses_trailers),
		TEST(streams_many_at_once),
		TEST(the_library_has_a_ceiling),
		TEST(a_stream_over_the_limit_is_refused),
		TEST(a_slow_reader_holds_up_its_response_only),
		TEST(a_cancelled_stream_is_gone_at_once),
		TEST(a_client_that_leaves_takes_all_its_streams),
		TEST(a_broken_response_is_reset),
		TEST(an_idle_connection_is_ended_properly),
		TEST(a_request_that_does_not_end_is_reset),
		TEST(headers_that_do_not_end_end_the_connection),
		TEST(a_response_that_nobody_reads_is_reset),
		TEST(a_client_that_reads_nothing_is_closed),
		TEST(a_client_that_reads_nothing_may_leave),
		TEST(a_plain_answer_of_http1_that_nobody_reads_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
