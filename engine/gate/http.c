/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c - the guest's HTTP requests, of HTTP/1.1 and HTTP/2
 *
 * Runs in: kenaz-gate.
 * Trusts:  the kinds of connections to split requests; not to check them.
 * Never:   listens, opens a socket, decodes a path.
 *
 * Theory of operation. What both kinds of connections have in common is here:
 * a request's life, its checks and limits, its deadlines and what waits to be
 * sent. http_door.c tells a new connection's kind, http1.c and http2.c speak
 * with it. A request is read whole before it is given to the handler, which
 * answers now or later and need not know the kind. A half-closed connection
 * counts as left: over the shim in the guest there is no other sign of a
 * client that died.
 */
#include "engine/gate/http.h"

#include <stdlib.h>
#include <string.h>

#include "engine/gate/http_wire.h"

#define BODY_DISCARD_MAX_BYTES (2 * (uint64_t)BODY_MAX_BYTES)

/* --- requests ----------------------------------------------------------- */

/**
 * http_request_init() - A request begins
 * @h:		Server
 * @r:		Zeroed; http_request_fini() ends it
 * @wire:	Its kind
 */
void http_request_init(struct http *h, struct http_request *r,
		       const struct http_wire *wire)
{
	r->http = h;
	r->wire = wire;
	r->moved_ns = uv_hrtime();
	http_head_init(&r->head);
	buf_init(&r->body, BODY_MAX_BYTES);
	buf_init(&r->out, HTTP_OUT_MAX_BYTES);
	LIST_INSERT_HEAD(&h->requests, r, next);
	h->n_requests++;
}

static void uncount_body(struct http_request *r)
{
	r->http->bodies_bytes -= r->body_counted_bytes;
	r->body_counted_bytes = 0;
}

/** http_drop_body() - The body is no longer needed: give its memory back */
void http_drop_body(struct http_request *r)
{
	uncount_body(r);
	buf_fini(&r->body);
}

/**
 * http_request_fini() - A request ends; its handler gets the last call
 * @r:		Request; the memory itself is the caller's
 * @whole:	The answer went out to its end
 */
void http_request_fini(struct http_request *r, bool whole)
{
	struct http *h = r->http;

	if (r->given)
		h->handler.on_gone(h->context, r,
				   whole && !r->broken && !r->hung_up);
	LIST_REMOVE(r, next);
	h->n_requests--;
	uncount_body(r);
	http_head_fini(&r->head);
	buf_fini(&r->body);
	buf_fini(&r->out);
	free(r->uri);
	r->uri = NULL;
}

/**
 * http_request_check() - Look at a request's line and headers as a whole
 * @r:		After its uri is set and http_head_add() took its headers
 * @method:	As received
 */
void http_request_check(struct http_request *r, const char *method)
{
	struct http_refusal refusal =
		http_head_target(method, r->uri ? r->uri : "", &r->target);

	r->head_checked = true;
	http_head_finish(&r->head, method);
	http_head_settle(&r->head, &r->target);
	if (refusal.status)
		r->head.refusal = refusal;
}

/** http_request_refuse() - What the handler will say, unless it is said */
void http_request_refuse(struct http_request *r, unsigned status,
			 const char *text)
{
	if (r->head.refusal.status == 0)
		r->head.refusal = (struct http_refusal){status, text};
}

/**
 * http_request_body() - Some of a request's body
 * @r:		Request
 * @bytes:	Borrowed
 *
 * A body that is too large becomes a refusal; what is left of it is counted
 * and forgotten.
 *
 * Return: ERR_OK; ERR_LIMIT when the client does not stop; ERR_MEMORY.
 */
enum err http_request_body(struct http_request *r, struct span bytes)
{
	struct http *h = r->http;
	enum err e = ERR_OK;

	r->body_seen_bytes += bytes.len_bytes;
	if (r->body_seen_bytes > BODY_DISCARD_MAX_BYTES)
		return ERR_LIMIT;
	if (h->bodies_bytes > HTTP_BODIES_MAX_BYTES)
		http_request_refuse(r, 529,
				    "the session has too many bytes under "
				    "way");
	if (r->head.refusal.status == 0)
		e = buf_put_span(&r->body, bytes);
	if (e == ERR_LIMIT)
		http_request_refuse(r, 413, "the body is larger than 32 MiB");
	else if (e != ERR_OK)
		return e;
	if (r->head.refusal.status) {
		http_drop_body(r);
	} else {
		h->bodies_bytes += r->body.cap_bytes - r->body_counted_bytes;
		r->body_counted_bytes = r->body.cap_bytes;
	}
	return ERR_OK;
}

/** http_request_give() - The request is whole or refused: the handler's */
void http_request_give(struct http_request *r)
{
	r->given = true;
	r->http->handler.on_request(r->http->context, r);
}

/** http_request_out() - What waits to be sent */
struct span http_request_out(const struct http_request *r)
{
	return span_of(r->out.data ? r->out.data + r->out_at : NULL,
		       r->out.len_bytes - r->out_at);
}

/** http_request_sent() - So much of http_request_out() went */
void http_request_sent(struct http_request *r, size_t len_bytes)
{
	size_t before = http_pending_bytes(r);

	r->out_at += len_bytes;
	r->moved_ns = uv_hrtime();
	if (r->out_at == r->out.len_bytes) {
		/* Idle streams are many: keep no memory for them. */
		buf_fini(&r->out);
		r->out_at = 0;
	}
	if (before > HTTP_OUT_LOW_BYTES &&
	    before - len_bytes <= HTTP_OUT_LOW_BYTES)
		r->http->handler.on_drained(r->http->context, r);
}

/* --- responses ---------------------------------------------------------- */

static void drop(struct http_request *r)
{
	r->broken = true;
	r->wire->drop(r);
}

/**
 * http_answer() - Answer a request with a whole body
 * @r:		Request without an answer
 * @status:	HTTP status
 * @headers:	attrs.h texts, borrowed
 * @body:	Taken over; empty afterwards
 *
 * Return: ERR_OK; ERR_STATE when it was answered already; ERR_MEMORY.
 */
enum err http_answer(struct http_request *r, unsigned status,
		     struct span headers, struct buf *body)
{
	enum err e;

	if (r->answered)
		return ERR_STATE;
	r->status = status;
	e = r->wire->answer(r, headers, body);
	if (e == ERR_OK)
		r->answered = true;
	return e;
}

/**
 * http_begin() - Start a response whose body follows with http_write()
 * @r:		Request without an answer
 * @status:	HTTP status
 * @headers:	attrs.h texts, borrowed
 *
 * Return: ERR_OK; ERR_STATE; ERR_MEMORY.
 */
enum err http_begin(struct http_request *r, unsigned status,
		    struct span headers)
{
	enum err e;

	if (r->answered)
		return ERR_STATE;
	r->status = status;
	r->moved_ns = uv_hrtime();
	e = r->wire->begin(r, headers);
	if (e == ERR_OK)
		r->answered = r->streaming = true;
	return e;
}

/**
 * http_write() - Append to a streamed response's body
 * @r:		Request after http_begin()
 * @bytes:	Borrowed
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err http_write(struct http_request *r, struct span bytes)
{
	enum err e = ERR_OK;

	if (bytes.len_bytes == 0)
		return ERR_OK;
	if (http_pending_bytes(r) == 0)
		r->moved_ns = uv_hrtime();
	if (r->out_at > HTTP_OUT_LOW_BYTES) {
		buf_consume(&r->out, r->out_at);
		r->out_at = 0;
	}
	e = buf_put_span(&r->out, bytes);
	if (e == ERR_OK)
		r->wire->wake(r);
	return e;
}

/** http_pending_bytes() - What the guest did not read yet */
size_t http_pending_bytes(const struct http_request *r)
{
	return r->out.len_bytes - r->out_at;
}

/** http_end() - A streamed response is complete */
void http_end(struct http_request *r)
{
	r->ended = true;
	r->wire->wake(r);
}

/** http_break() - Cut the response short, so that the client sees it */
void http_break(struct http_request *r)
{
	drop(r);
}

/* --- the whole ---------------------------------------------------------- */

/**
 * http_new() - Prepare to serve streams
 * @loop:	Loop
 * @forwarded:	Headers to collect, lower case, NULL-ended; static
 * @handler:	Copied
 * @context:	Borrowed
 * @ret_http:	Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS when a library does not start.
 */
enum err http_new(uv_loop_t *loop, const char *const *forwarded,
		  const struct http_handler *handler, void *context,
		  struct http **ret_http)
{
	struct http *h = calloc(1, sizeof(*h));
	enum err e;

	if (!h)
		return ERR_MEMORY;
	h->loop = loop;
	h->forwarded = forwarded;
	h->handler = *handler;
	h->context = context;
	LIST_INIT(&h->requests);
	e = http1_new(h, &h->one);
	if (e == ERR_OK)
		e = http2_new(h, &h->two);
	if (e != ERR_OK) {
		http1_free(h->one);
		http2_free(h->two);
		free(h);
		return e;
	}
	http_door_init(h);
	*ret_http = h;
	return ERR_OK;
}

/** http_free() - Close every connection; handlers get their last call */
void http_free(struct http *h)
{
	if (!h)
		return;
	http1_free(h->one);
	http2_free(h->two);
	/* Frees @h when its timer is closed. */
	http_door_close(h);
}

/**
 * http_add() - Serve a connected stream
 * @h:		Server
 * @fd:		Owned from here on
 *
 * Return: ERR_OK; ERR_LIMIT when there are too many; ERR_SYS.
 */
enum err http_add(struct http *h, int fd)
{
	return http_door_add(h, fd);
}

/**
 * http_tick() - Enforce deadlines; call about once a second
 * @h:		Server
 * @now_ns:	uv_hrtime()
 */
void http_tick(struct http *h, uint64_t now_ns)
{
	struct http_request *r;

	http_door_tick(h, now_ns);
	http1_tick(h->one, now_ns);
	for (r = LIST_FIRST(&h->requests); r; r = LIST_NEXT(r, next)) {
		uint64_t limit_ns = HTTP_STALL_MAX_NS;

		if (!r->given)
			limit_ns = HTTP_READ_MAX_NS;
		else if (!r->answered ||
			 (r->streaming && http_pending_bytes(r) == 0))
			continue;
		if (now_ns > r->moved_ns && now_ns - r->moved_ns > limit_ns)
			drop(r);
	}
	/* The last: it closes connections, and with them requests. */
	http2_tick(h->two, now_ns);
}
