/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_client.c - a client of HTTP/2, and raw frames for what none would send
 *
 * Runs in: unit tests.
 * Trusts:  libnghttp2's client side to say what a server did wrong.
 * Never:   waits without a deadline.
 */
#include "tests/lib/h2_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_S 30

static struct h2_reply *reply_of(struct h2_client *c, int32_t id)
{
	size_t i;

	for (i = c->count; i > 0; i--)
		if (c->replies[i - 1].id == id)
			return &c->replies[i - 1];
	return NULL;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data,
		       size_t len, int flags, void *user)
{
	struct h2_client *c = user;

	(void)session;
	(void)flags;
	assert_int_equal(buf_put(&c->out, data, len), ERR_OK);
	return (ssize_t)len;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
		     const uint8_t *name, size_t name_len, const uint8_t *value,
		     size_t value_len, uint8_t flags, void *user)
{
	struct h2_reply *r = reply_of(user, frame->hd.stream_id);
	struct span n = span_of(name, name_len);
	char text[64];

	(void)session;
	(void)flags;
	if (!r || span_copy_text(span_of(value, value_len), text,
				 sizeof(text)) != ERR_OK)
		return 0;
	if (span_is(n, ":status")) {
		r->informational = r->status;
		r->status = (unsigned)strtoul(text, NULL, 10);
	} else if (span_is(n, "content-length")) {
		r->length = strtoul(text, NULL, 10);
	} else if (span_is(n, "content-type")) {
		memcpy(r->content_type, text, sizeof(text));
	}
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame,
		    void *user)
{
	struct h2_client *c = user;
	struct h2_reply *r = reply_of(c, frame->hd.stream_id);

	(void)session;
	if (frame->hd.type == NGHTTP2_HEADERS && r)
		r->headers = true;
	if (r && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		r->ended = true;
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		c->goaway = true;
		c->goaway_error = frame->goaway.error_code;
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id,
		   const uint8_t *data, size_t len, void *user)
{
	struct h2_reply *r = reply_of(user, id);

	(void)session;
	(void)flags;
	if (!r)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	assert_int_equal(buf_put(&r->body, data, len), ERR_OK);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error,
		    void *user)
{
	struct h2_reply *r = reply_of(user, id);

	(void)session;
	if (r) {
		r->closed = true;
		r->error = error;
	}
	return 0;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to,
		       size_t max, uint32_t *flags, nghttp2_data_source *source,
		       void *user)
{
	struct h2_reply *r = reply_of(user, id);
	size_t len;

	(void)session;
	(void)source;
	if (!r)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	len = r->request.len_bytes < max ? r->request.len_bytes : max;
	if (len == 0 && r->open)
		return NGHTTP2_ERR_DEFERRED;
	if (len)
		memcpy(to, r->request.data, len);
	r->request = span_of(r->request.data + len, r->request.len_bytes - len);
	if (r->request.len_bytes == 0 && !r->open)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)len;
}

/** h2_client_init() - Begin a connection; the preface waits to be sent */
void h2_client_init(struct h2_client *c, int fd, bool manual_windows,
		    void (*turn)(void *context), void *context)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;

	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->turn = turn;
	c->context = context;
	buf_init(&c->out, 256u << 20);
	assert_int_equal(nghttp2_session_callbacks_new(&cb), 0);
	assert_int_equal(nghttp2_option_new(&option), 0);
	nghttp2_option_set_no_auto_window_update(option, manual_windows);
	nghttp2_session_callbacks_set_send_callback(cb, on_send);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	assert_int_equal(nghttp2_session_client_new2(&c->session, cb, c,
						     option),
			 0);
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(option);
	assert_int_equal(nghttp2_submit_settings(c->session, 0, NULL, 0), 0);
}

/** h2_client_fini() - Close the connection */
void h2_client_fini(struct h2_client *c)
{
	nghttp2_session_del(c->session);
	if (c->fd >= 0)
		close(c->fd);
	buf_fini(&c->out);
	while (c->count)
		buf_fini(&c->replies[--c->count].body);
}

static void put(nghttp2_nv *nv, const char *name, const char *value)
{
	memset(nv, 0, sizeof(*nv));
	memcpy(&nv->name, &name, sizeof(nv->name));
	memcpy(&nv->value, &value, sizeof(nv->value));
	nv->namelen = strlen(name);
	nv->valuelen = strlen(value);
}

/** h2_client_ask() - Queue a request */
struct h2_reply *h2_client_ask(struct h2_client *c, const char *method,
			       const char *path, const char *const *headers,
			       struct span body, bool open)
{
	nghttp2_data_provider provider = {.read_callback = on_read};
	struct h2_reply *r = &c->replies[c->count];
	nghttp2_nv list[160];
	size_t n = 4;

	assert_true(c->count < H2_REPLIES_MAX);
	put(&list[0], ":method", method);
	put(&list[1], ":scheme", "http");
	put(&list[2], ":authority", "kenaz");
	put(&list[3], ":path", path);
	for (; headers && headers[0] && n < ARRAY_SIZE(list); headers += 2)
		put(&list[n++], headers[0], headers[1]);
	*r = (struct h2_reply){.length = SIZE_MAX,
			       .request = body,
			       .open = open};
	buf_init(&r->body, 64u << 20);
	r->id = nghttp2_submit_request(c->session, NULL, list, n,
				       body.len_bytes || open ? &provider
							      : NULL,
				       NULL);
	assert_true(r->id > 0);
	c->count++;
	return r;
}

static void take(struct h2_client *c)
{
	static uint8_t bytes[65536];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		c->closed = true;
	if (n > 0 && nghttp2_session_mem_recv(c->session, bytes, (size_t)n) < 0)
		fail_msg("the server broke HTTP/2");
}

/** h2_client_step() - Send what fits, let the server work, take what is there
 */
void h2_client_step(struct h2_client *c)
{
	if (c->out.len_bytes < (1u << 20))
		assert_int_equal(nghttp2_session_send(c->session), 0);
	if (c->out.len_bytes && !c->closed) {
		ssize_t n = send(c->fd, c->out.data, c->out.len_bytes,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			buf_consume(&c->out, (size_t)n);
	}
	c->turn(c->context);
	if (!c->pause && !c->closed)
		take(c);
}

/** h2_client_until() - Work until @done, or the deadline: false */
bool h2_client_until(struct h2_client *c, bool (*done)(void *context),
		     void *context)
{
	time_t end = time(NULL) + DEADLINE_S;

	while (!done(context)) {
		if (time(NULL) > end)
			return false;
		h2_client_step(c);
	}
	return true;
}

struct finish {
	struct h2_client *c;
	struct h2_reply *r;
};

static bool is_finished(void *context)
{
	struct finish *f = context;

	return f->r->closed || f->c->closed;
}

/** h2_client_finish() - Wait for a reply's end, or the connection's */
void h2_client_finish(struct h2_client *c, struct h2_reply *r)
{
	struct finish f = {c, r};

	if (!h2_client_until(c, is_finished, &f))
		fail_msg("stream %d does not end; status %u, %zu bytes", r->id,
			 r->status, r->body.len_bytes);
}

/** h2_put_frame() - Any frame, right or wrong */
void h2_put_frame(struct buf *b, unsigned type, unsigned flags, uint32_t stream,
		  struct span payload)
{
	size_t len = payload.len_bytes;
	uint8_t head[9] = {(uint8_t)(len >> 16),
			   (uint8_t)(len >> 8),
			   (uint8_t)len,
			   (uint8_t)type,
			   (uint8_t)flags,
			   (uint8_t)(stream >> 24),
			   (uint8_t)(stream >> 16),
			   (uint8_t)(stream >> 8),
			   (uint8_t)stream};

	assert_int_equal(buf_put(b, head, sizeof(head)), ERR_OK);
	assert_int_equal(buf_put_span(b, payload), ERR_OK);
}

/* An integer with a prefix of seven bits (RFC 7541, section 5.1). */
static void put_text(struct buf *b, const char *text)
{
	size_t len = strlen(text), rest;

	if (len < 127) {
		assert_int_equal(buf_put_u8(b, (uint8_t)len), ERR_OK);
	} else {
		assert_int_equal(buf_put_u8(b, 127), ERR_OK);
		for (rest = len - 127; rest >= 128; rest /= 128)
			assert_int_equal(buf_put_u8(b, (uint8_t)(rest % 128 +
								 128)),
					 ERR_OK);
		assert_int_equal(buf_put_u8(b, (uint8_t)rest), ERR_OK);
	}
	assert_int_equal(buf_put_text(b, text), ERR_OK);
}

/** h2_put_header() - One literal header of a block */
void h2_put_header(struct buf *b, const char *name, const char *value)
{
	assert_int_equal(buf_put_u8(b, 0), ERR_OK);
	put_text(b, name);
	put_text(b, value);
}

/** h2_put_request() - The pseudo-headers of a block */
void h2_put_request(struct buf *b, const char *method, const char *path)
{
	h2_put_header(b, ":method", method);
	h2_put_header(b, ":scheme", "http");
	h2_put_header(b, ":authority", "kenaz");
	h2_put_header(b, ":path", path);
}
