/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_rig.c - the gate's HTTP server in the test's own process
 *
 * Runs in: unit tests.
 * Trusts:  the test to close its ends.
 * Never:   waits without a deadline.
 */
#include "tests/lib/http_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "engine/proto/attrs.h"

#define DEADLINE_S 30

static void on_request(void *context, struct http_request *r)
{
	struct http_rig *g = context;
	char text[64];

	g->given++;
	g->last_status = r->head.refusal.status;
	if (r->head.refusal.status) {
		http_rig_answer(r, r->head.refusal.status,
				r->head.refusal.text);
	} else if (g->mode == RIG_HOLD) {
		assert_true(g->n_held < RIG_HELD_MAX);
		g->held[g->n_held++] = r;
	} else if (r->target.action == HTTP_INDEX) {
		http_rig_answer(r, 200, "kenaz");
	} else {
		(void)snprintf(text, sizeof(text), "took %zu",
			       r->body.len_bytes);
		http_rig_answer(r, 200, text);
	}
}

static void on_drained(void *context, struct http_request *r)
{
	struct http_rig *g = context;

	(void)r;
	g->drained++;
}

static void on_gone(void *context, struct http_request *r, bool whole)
{
	struct http_rig *g = context;
	unsigned i;

	g->gone++;
	g->gone_whole += whole ? 1 : 0;
	for (i = 0; i < g->n_held; i++)
		if (g->held[i] == r)
			g->held[i] = NULL;
}

/** http_rig_start() - Begin a server */
void http_rig_start(struct http_rig *g)
{
	static const char *const forwarded[] = {"anthropic-beta", NULL};
	static const struct http_handler handler = {on_request, on_drained,
						    on_gone};

	memset(g, 0, sizeof(*g));
	assert_int_equal(uv_loop_init(&g->loop), 0);
	assert_int_equal(http_new(&g->loop, forwarded, &handler, g, &g->http),
			 ERR_OK);
}

/** http_rig_stop() - End it; everything must be released */
void http_rig_stop(struct http_rig *g)
{
	http_free(g->http);
	(void)uv_run(&g->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&g->loop), 0);
	assert_int_equal(g->given, g->gone);
}

/** http_rig_turn() - Let it work once, without waiting */
void http_rig_turn(void *rig)
{
	struct http_rig *g = rig;

	(void)uv_run(&g->loop, UV_RUN_NOWAIT);
}

/** http_rig_connect() - A new connection: our end */
int http_rig_connect(struct http_rig *g)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    pair),
			 0);
	assert_int_equal(http_add(g->http, pair[1]), ERR_OK);
	return pair[0];
}

/** http_rig_client() - A new connection of HTTP/2 */
void http_rig_client(struct http_rig *g, struct h2_client *c,
		     bool manual_windows)
{
	h2_client_init(c, http_rig_connect(g), manual_windows, http_rig_turn,
		       g);
}

struct held {
	struct http_rig *g;
	unsigned count;
};

static bool is_held(void *context)
{
	struct held *h = context;

	return h->g->n_held >= h->count;
}

/** http_rig_wait_held() - Until the handler keeps so many requests */
void http_rig_wait_held(struct http_rig *g, struct h2_client *c, unsigned count)
{
	struct held h = {g, count};

	if (!h2_client_until(c, is_held, &h))
		fail_msg("%u of %u requests came", g->n_held, count);
}

/** http_rig_answer() - A whole answer */
void http_rig_answer(struct http_request *r, unsigned status, const char *text)
{
	struct buf headers, body;

	buf_init(&headers, 1024);
	buf_init(&body, 4096);
	assert_int_equal(attrs_put_text(&headers, "Content-Type",
					span_text("text/x-test")),
			 ERR_OK);
	/* Never sent: no header may end another. */
	assert_int_equal(attrs_put_text(&headers, "x-bad",
					span_text("a\r\nb: c")),
			 ERR_OK);
	assert_int_equal(buf_put_text(&body, text), ERR_OK);
	assert_int_equal(http_answer(r, status, buf_span(&headers), &body),
			 ERR_OK);
	buf_fini(&headers);
	buf_fini(&body);
}

/** http_rig_send() - Send all of it, or what is taken before the end */
void http_rig_send(int fd, struct span bytes)
{
	while (bytes.len_bytes) {
		ssize_t n = send(fd, bytes.data, bytes.len_bytes, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		bytes = span_of(bytes.data + n, bytes.len_bytes - (size_t)n);
	}
}

/** http_rig_read_until() - Read until a text came */
void http_rig_read_until(struct http_rig *g, int fd, const char *text,
			 struct buf *to)
{
	time_t end = time(NULL) + DEADLINE_S;
	uint8_t chunk[4096];

	while (!to->len_bytes ||
	       !memmem(to->data, to->len_bytes, text, strlen(text))) {
		ssize_t n;

		http_rig_turn(g);
		n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n > 0)
			assert_int_equal(buf_put(to, chunk, (size_t)n), ERR_OK);
		if (n == 0 || time(NULL) > end)
			fail_msg("'%s' did not come: %.*s", text,
				 (int)to->len_bytes, (const char *)to->data);
	}
}

/** http_rig_at_end() - Whether the server closes within the deadline */
bool http_rig_at_end(struct http_rig *g, int fd)
{
	time_t end = time(NULL) + DEADLINE_S;
	uint8_t chunk[4096];

	while (time(NULL) <= end) {
		ssize_t n;

		http_rig_turn(g);
		n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
	}
	return false;
}

/** http_rig_raw() - A connection of HTTP/2 without a library */
int http_rig_raw(struct http_rig *g)
{
	int fd = http_rig_connect(g);
	struct buf b;

	buf_init(&b, 256);
	assert_int_equal(buf_put_text(&b, H2_PREFACE), ERR_OK);
	h2_put_frame(&b, NGHTTP2_SETTINGS, 0, 0, span_of(NULL, 0));
	h2_put_frame(&b, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0,
		     span_of(NULL, 0));
	http_rig_pour(g, fd, buf_span(&b));
	buf_fini(&b);
	return fd;
}

/** http_rig_pour() - Send while the server works, until it takes no more */
void http_rig_pour(struct http_rig *g, int fd, struct span bytes)
{
	unsigned idle = 0;

	while (bytes.len_bytes && idle < 100) {
		ssize_t n = send(fd, bytes.data, bytes.len_bytes,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			bytes = span_of(bytes.data + n,
					bytes.len_bytes - (size_t)n);
			idle = 0;
		} else if (errno == EAGAIN) {
			idle++;
		} else {
			return;
		}
		http_rig_turn(g);
	}
	http_rig_turn(g);
	http_rig_turn(g);
}

static uint32_t u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

static uint32_t find_goaway(struct span in)
{
	uint32_t error = HTTP_RIG_NO_GOAWAY;

	while (in.len_bytes >= 9) {
		size_t len = u32(in.data) >> 8;

		if (in.len_bytes < 9 + len)
			break;
		if (in.data[3] == NGHTTP2_GOAWAY)
			error = u32(in.data + 13);
		in = span_of(in.data + 9 + len, in.len_bytes - 9 - len);
	}
	return error;
}

/** http_rig_goaway() - Read to the end of a raw connection */
uint32_t http_rig_goaway(struct http_rig *g, int fd)
{
	time_t end = time(NULL) + DEADLINE_S;
	uint8_t chunk[65536];
	uint32_t error;
	struct buf in;
	ssize_t n = 1;

	buf_init(&in, 64u << 20);
	while (n != 0 && time(NULL) <= end) {
		http_rig_turn(g);
		n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n > 0)
			assert_int_equal(buf_put(&in, chunk, (size_t)n),
					 ERR_OK);
		else if (n < 0 && errno != EAGAIN)
			n = 0;
	}
	if (n != 0)
		fail_msg("the connection does not end");
	error = find_goaway(buf_span(&in));
	buf_fini(&in);
	return error;
}
