/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_stream.c - requests and responses on the streams of HTTP/2
 *
 * Runs in: kenaz-gate.
 * Trusts:  libnghttp2 to refuse what RFC 9113 section 8 calls malformed:
 *	    order, number and form of pseudo-headers, upper case, headers of a
 *	    connection, "te" but for trailers, lengths that contradict. The
 *	    stream is reset then, before anything here sees a request.
 * Never:   hands a request on before its end, or a trailer at all.
 *
 * Everything else is what HTTP/1.1 is asked, by the same http_head.c. A
 * request that it refuses gets its answer at once, without its body, and then
 * RST_STREAM with NO_ERROR (RFC 9113, section 8.1); a little later, because
 * some clients lose the answer when they did not end the request yet.
 * Trailers are refused: nothing that a provider gets could be made of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/gate/http2.h"
#include "engine/proto/attrs.h"

#define LINGER_BYTES   65536u /* of a body that nobody wants */
#define REQUEST_CREDIT 8u     /* frames around a request */
#define DATA_CREDIT    4u     /* window updates for what we sent */

static struct http2_stream *own(struct http_request *r)
{
	return (struct http2_stream *)r;
}

static struct http2_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

/* --- responses ---------------------------------------------------------- */

static void reset(struct http2_stream *s, uint32_t error)
{
	if (s->reset)
		return;
	s->reset = true;
	if (nghttp2_submit_rst_stream(s->connection->session, NGHTTP2_FLAG_NONE,
				      s->id, error) != 0)
		http2_fault(s->connection, NGHTTP2_INTERNAL_ERROR);
	http2_want_flush(s->connection);
}

/* Also when only a part of its headers came: nothing may follow then. */
static void drop(struct http_request *r)
{
	if (!r->head_checked)
		http2_fault(own(r)->connection, NGHTTP2_ENHANCE_YOUR_CALM);
	reset(own(r),
	      r->head_checked ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL);
}

static void wake(struct http_request *r)
{
	struct http2_stream *s = own(r);

	/* It fails for a stream that does not wait: then it will ask. */
	(void)nghttp2_session_resume_data(s->connection->session, s->id);
	http2_want_flush(s->connection);
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to,
		       size_t max, uint32_t *flags, nghttp2_data_source *source,
		       void *user)
{
	struct http_request *r = source->ptr;
	size_t len = http_pending_bytes(r);

	(void)session;
	(void)id;
	(void)to;
	(void)user;
	if (r->broken)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (len == 0 && !r->ended)
		return NGHTTP2_ERR_DEFERRED;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (len <= max && r->ended)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)(len < max ? len : max);
}

struct names {
	nghttp2_nv list[HTTP_RESPONSE_HEADERS_MAX + 2];
	size_t count;
	char lower[HTTP_RESPONSE_HEADERS_MAX][ATTR_KEY_MAX_BYTES];
	char status[8], length[24];
};

/* The library copies it; it wants no const, though. */
static void add(struct names *n, const void *name, size_t name_len,
		const void *value, size_t value_len)
{
	nghttp2_nv *nv = &n->list[n->count++];

	memset(nv, 0, sizeof(*nv));
	memcpy(&nv->name, &name, sizeof(nv->name));
	memcpy(&nv->value, &value, sizeof(nv->value));
	nv->namelen = name_len;
	nv->valuelen = value_len;
}

static void add_headers(struct names *n, struct span headers)
{
	size_t i, used = 0;
	struct reader reader;
	struct attr a;

	reader_init(&reader, headers);
	while (used < HTTP_RESPONSE_HEADERS_MAX && attrs_next(&reader, &a)) {
		char *name = n->lower[used];

		if (a.type != ATTR_TEXT || a.key.len_bytes > ATTR_KEY_MAX_BYTES)
			continue;
		for (i = 0; i < a.key.len_bytes; i++)
			name[i] = (char)(a.key.data[i] >= 'A' &&
							 a.key.data[i] <= 'Z'
						 ? a.key.data[i] + 32
						 : a.key.data[i]);
		if (name[0] == ':' ||
		    !nghttp2_check_header_name((const uint8_t *)name,
					       a.key.len_bytes) ||
		    !nghttp2_check_header_value(a.text.data,
						a.text.len_bytes)) {
			log_debug("a response header was left out");
			continue;
		}
		add(n, name, a.key.len_bytes, a.text.data, a.text.len_bytes);
		used++;
	}
}

/* With @length, when it is known; without a body when there is none. */
static enum err respond(struct http_request *r, struct span headers,
			const size_t *length)
{
	struct http2_stream *s = own(r);
	nghttp2_data_provider body = {.source.ptr = r,
				      .read_callback = on_read};
	bool bare = strcmp(s->method, "HEAD") == 0 || (length && *length == 0);
	struct names n;
	int rc;

	n.count = 0;
	(void)snprintf(n.status, sizeof(n.status), "%u", r->status % 1000);
	add(&n, ":status", 7, n.status, strlen(n.status));
	if (length) {
		(void)snprintf(n.length, sizeof(n.length), "%zu", *length);
		add(&n, "content-length", 14, n.length, strlen(n.length));
	}
	add_headers(&n, headers);
	rc = nghttp2_submit_response(s->connection->session, s->id, n.list,
				     n.count, bare ? NULL : &body);
	http2_want_flush(s->connection);
	return rc == 0 ? ERR_OK : ERR_MEMORY;
}

static enum err answer(struct http_request *r, struct span headers,
		       struct buf *body)
{
	size_t len = body->len_bytes;
	enum err e = respond(r, headers, &len);

	if (e != ERR_OK)
		return e;
	r->ended = true;
	r->moved_ns = uv_hrtime();
	if (len && strcmp(own(r)->method, "HEAD") != 0) {
		buf_fini(&r->out);
		r->out = *body;
		*body = (struct buf){.max_bytes = body->max_bytes};
	}
	return ERR_OK;
}

static enum err begin(struct http_request *r, struct span headers)
{
	return respond(r, headers, NULL);
}

static const struct http_wire wire = {answer, begin, wake, drop};

/* --- requests ----------------------------------------------------------- */

static void forget_names(struct http2_stream *s)
{
	free(s->authority);
	free(s->host);
	s->authority = s->host = NULL;
}

static void end_stream(struct http2_stream *s, bool whole)
{
	struct http2_connection *c = s->connection;

	LIST_REMOVE(s, next);
	c->n_streams--;
	c->idle_ns = uv_hrtime();
	http_request_fini(&s->r, whole);
	forget_names(s);
	free(s);
}

/** http2_streams_tick() - Reset streams that are answered and do not end */
void http2_streams_tick(struct http2_connection *c)
{
	struct http2_stream *s;

	for (s = LIST_FIRST(&c->streams); s; s = LIST_NEXT(s, next))
		if (s->lingers)
			reset(s, NGHTTP2_NO_ERROR);
}

/** http2_streams_end() - The connection is gone, and its requests with it */
void http2_streams_end(struct http2_connection *c)
{
	struct http2_stream *s;

	while ((s = LIST_FIRST(&c->streams))) {
		s->r.hung_up = true;
		end_stream(s, false);
	}
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error,
			   void *user)
{
	struct http2_connection *c = user;
	struct http2_stream *s = stream_of(session, id);
	bool whole = error == NGHTTP2_NO_ERROR;

	/* Also one that was malformed, or refused before it was known. */
	if (!whole && ++c->resets > HTTP2_RESETS_MAX)
		http2_fault(c, NGHTTP2_ENHANCE_YOUR_CALM);
	if (!s)
		return 0;
	s->r.hung_up = !whole && !s->r.broken;
	end_stream(s, whole);
	return 0;
}

static int on_begin_headers(nghttp2_session *session,
			    const nghttp2_frame *frame, void *user)
{
	struct http2_connection *c = user;
	struct http *h = c->http;
	struct http2_stream *s;

	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (h->n_requests >= HTTP_CONNECTIONS_MAX)
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE,
						 frame->hd.stream_id,
						 NGHTTP2_REFUSED_STREAM) == 0
			       ? 0
			       : NGHTTP2_ERR_CALLBACK_FAILURE;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	s->connection = c;
	s->id = frame->hd.stream_id;
	http_request_init(h, &s->r, &wire);
	LIST_INSERT_HEAD(&c->streams, s, next);
	c->n_streams++;
	return nghttp2_session_set_stream_user_data(session, s->id, s) == 0
		       ? 0
		       : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static bool copy(char **to, struct span value)
{
	if (memchr(value.data, '\0', value.len_bytes))
		return false;
	free(*to);
	*to = strndup((const char *)value.data, value.len_bytes);
	return *to != NULL;
}

static void take_pseudo(struct http2_stream *s, struct span name,
			struct span value)
{
	struct http_request *r = &s->r;

	r->head.bytes += value.len_bytes;
	if (r->head.bytes > HTTP_HEADERS_MAX_BYTES) {
		http_request_refuse(r, 431, "too many or too long headers");
	} else if (span_is(name, ":method")) {
		if (span_copy_text(value, s->method, sizeof(s->method)) !=
		    ERR_OK)
			http_request_refuse(r, 501, "an unknown method");
	} else if (span_is(name, ":path")) {
		if (!copy(&r->uri, value))
			http_request_refuse(r, 400, "a malformed path");
	} else if (span_is(name, ":authority")) {
		if (!copy(&s->authority, value))
			http_request_refuse(r, 400, "a malformed authority");
	} else if (!span_is(value, "http") && !span_is(value, "https")) {
		/* The last one that there is: ":scheme". */
		http_request_refuse(r, 400, "an unknown scheme");
	}
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
		     const uint8_t *name, size_t name_len, const uint8_t *value,
		     size_t value_len, uint8_t flags, void *user)
{
	struct http2_stream *s = stream_of(session, frame->hd.stream_id);
	struct span n = span_of(name, name_len), v = span_of(value, value_len);

	(void)flags;
	if (!s)
		return 0;
	/* A few bytes on the wire can be many of these. */
	s->list_bytes += name_len + value_len + 32;
	if (s->list_bytes > HTTP2_LIST_MAX_BYTES) {
		http2_fault(user, NGHTTP2_ENHANCE_YOUR_CALM);
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (name_len && name[0] == ':') {
		take_pseudo(s, n, v);
		return 0;
	}
	if (span_is(n, "expect"))
		s->expects = true;
	if (span_is(n, "host") && !copy(&s->host, v))
		http_request_refuse(&s->r, 400, "a malformed header");
	http_head_add(&s->r.head, n, v, s->r.http->forwarded);
	return 0;
}

/* The library would leave it out. */
static int on_invalid_header(nghttp2_session *session,
			     const nghttp2_frame *frame, const uint8_t *name,
			     size_t name_len, const uint8_t *value,
			     size_t value_len, uint8_t flags, void *user)
{
	struct http2_stream *s = stream_of(session, frame->hd.stream_id);

	(void)name;
	(void)value;
	(void)flags;
	if (!s)
		return 0;
	s->list_bytes += name_len + value_len + 32;
	if (s->list_bytes > HTTP2_LIST_MAX_BYTES) {
		http2_fault(user, NGHTTP2_ENHANCE_YOUR_CALM);
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	http_request_refuse(&s->r, 400, "a malformed header");
	return 0;
}

/* Its answer goes out now; what still comes of the request is not looked at. */
static void refuse(struct http2_stream *s)
{
	if (s->r.given)
		return;
	http_drop_body(&s->r);
	http_request_give(&s->r);
}

/* The client keeps its body until it is asked for. */
static void ask_on(struct http2_stream *s)
{
	struct names n;

	n.count = 0;
	add(&n, ":status", 7, "100", 3);
	if (nghttp2_submit_headers(s->connection->session, NGHTTP2_FLAG_NONE,
				   s->id, NULL, n.list, n.count, NULL) != 0)
		http2_fault(s->connection, NGHTTP2_INTERNAL_ERROR);
}

static void take_head(struct http2_stream *s)
{
	struct http_request *r = &s->r;

	if (s->authority && s->host && strcmp(s->authority, s->host) != 0)
		http_request_refuse(r, 400, "Host and :authority differ");
	forget_names(s);
	http_request_check(r, s->method);
	http2_useful(s->connection, REQUEST_CREDIT);
	if (r->head.refusal.status)
		refuse(s);
	else if (s->expects && !s->remote_ended)
		ask_on(s);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id,
		   const uint8_t *data, size_t len, void *user)
{
	struct http2_connection *c = user;
	struct http2_stream *s = stream_of(session, id);

	(void)flags;
	if (len)
		http2_useful(c, 1);
	if (!s)
		return 0;
	if (s->r.given) {
		s->unwanted_bytes += len;
		if (s->unwanted_bytes >
		    (s->lingers ? LINGER_BYTES : BODY_MAX_BYTES))
			reset(s, NGHTTP2_NO_ERROR);
		return 0;
	}
	if (len && strcmp(s->method, "POST") != 0)
		http_request_refuse(&s->r, 400, "a body where none belongs");
	if (http_request_body(&s->r, span_of(data, len)) != ERR_OK)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (s->r.head.refusal.status)
		refuse(s);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame,
		    void *user)
{
	struct http2_stream *s = stream_of(session, frame->hd.stream_id);
	bool is_head = frame->hd.type == NGHTTP2_HEADERS;

	(void)user;
	if (!s || (!is_head && frame->hd.type != NGHTTP2_DATA))
		return 0;
	s->remote_ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
	if (is_head && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		take_head(s);
	} else if (is_head) {
		http_request_refuse(&s->r, 400, "trailers are not taken");
		refuse(s);
	}
	if (s->remote_ended && !s->r.given)
		http_request_give(&s->r);
	return 0;
}

/* Each costs something; also those that the library knows nothing of. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd,
			  void *user)
{
	struct http2_connection *c = user;

	(void)session;
	(void)hd;
	http2_chatter(c);
	return c->fault == NGHTTP2_NO_ERROR ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Of a type that nobody here knows: it means nothing. */
static int on_unknown(nghttp2_session *session, void **payload,
		      const nghttp2_frame_hd *hd, void *user)
{
	(void)session;
	(void)payload;
	(void)hd;
	(void)user;
	return NGHTTP2_ERR_CANCEL;
}

/* An answer before the request's end: its rest is not wanted. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame,
		   void *user)
{
	struct http2_stream *s = stream_of(session, frame->hd.stream_id);

	if (frame->hd.type == NGHTTP2_DATA)
		http2_useful(user, DATA_CREDIT);
	if (s && !s->remote_ended &&
	    (frame->hd.type == NGHTTP2_DATA ||
	     frame->hd.type == NGHTTP2_HEADERS) &&
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		s->lingers = true;
	return 0;
}

/** http2_stream_set_callbacks() - What the library calls about streams */
void http2_stream_set_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb,
							      on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(
		cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(
		cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_unpack_extension_callback(cb, on_unknown);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb,
							       on_stream_close);
}
