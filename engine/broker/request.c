/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c - what one granted attempt sends, checked and ready
 *
 * Runs in: kenaz-broker.
 * Trusts:  core for what it grants; recomputes both digests of it all the
 *	    same.
 * Never:   parses a body, copies a key.
 *
 * Lines that hold a key, a token or a proxy's password are linked into
 * libcurl's list where they lie, in locked memory. libcurl copies them into
 * its send buffer; those bytes are the residue that stays in ordinary (never
 * dumped) memory.
 */
#include "engine/broker/request.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/digest.h"
#include "engine/broker/sigv4.h"
#include "engine/proto/attrs.h"

#define HEADERS_GIVEN_MAX     32u
#define HEADER_LINE_MAX_BYTES 8192u

/** request_init() - Prepare caller's memory */
void request_init(struct request *q)
{
	*q = (struct request){.row = NULL};
	buf_init(&q->inlined, BODY_INLINE_MAX_BYTES);
}

/** request_drop_url() - libcurl has its own copy */
void request_drop_url(struct request *q)
{
	free(q->url);
	q->url = NULL;
}

/** request_drop_body() - It was sent, and libcurl will not read it again */
void request_drop_body(struct request *q)
{
	body_close(&q->body);
	buf_fini(&q->inlined);
}

/** request_fini() - Release everything; nothing of libcurl's may use it */
void request_fini(struct request *q)
{
	request_drop_url(q);
	curl_slist_free_all(q->headers);
	q->headers = NULL;
	q->locked_count = 0;
	secret_release(q->signature);
	q->signature = NULL;
	credential_release(q->credential);
	q->credential = NULL;
	credential_release(q->proxy_credential);
	q->proxy_credential = NULL;
	request_drop_body(q);
}

static enum err add_header(struct request *q, struct span name,
			   struct span value)
{
	struct curl_slist *list;
	struct buf line;
	const char *text;
	enum err e;

	buf_init(&line, HEADER_LINE_MAX_BYTES);
	e = buf_put_span(&line, name);
	if (e == ERR_OK)
		e = buf_put_text(&line, value.len_bytes ? ": " : ":");
	if (e == ERR_OK)
		e = buf_put_span(&line, value);
	if (e == ERR_OK)
		e = buf_terminate(&line, &text);
	if (e == ERR_OK) {
		list = curl_slist_append(q->headers, text);
		if (list)
			q->headers = list;
		else
			e = ERR_MEMORY;
	}
	buf_fini(&line);
	return e;
}

static void add_locked(struct request *q, uint8_t *line)
{
	q->locked[q->locked_count++].data = (char *)line;
}

/** request_headers() - For CURLOPT_HTTPHEADER; borrowed */
struct curl_slist *request_headers(struct request *q)
{
	struct curl_slist *next = q->headers;
	size_t i;

	for (i = q->locked_count; i > 0; i--) {
		q->locked[i - 1].next = next;
		next = &q->locked[i - 1];
	}
	return next;
}

/** request_proxy_headers() - For CURLOPT_PROXYHEADER; borrowed, or NULL */
struct curl_slist *request_proxy_headers(struct request *q)
{
	if (!q->proxy_credential)
		return NULL;
	q->proxy_line.data = (char *)q->proxy_credential->line->data;
	q->proxy_line.next = NULL;
	return &q->proxy_line;
}

static enum err given_headers(struct span attrs, struct route_header *ret,
			      size_t *ret_count)
{
	struct reader r;
	struct attr a;
	size_t count = 0;

	reader_init(&r, attrs);
	while (attrs_next(&r, &a)) {
		if (a.type != ATTR_TEXT || count == HEADERS_GIVEN_MAX)
			return ERR_FORMAT;
		ret[count++] = (struct route_header){a.key, a.text};
	}
	*ret_count = count;
	return r.status;
}

static enum err take_body(struct request *q, const struct msg_grant *m,
			  int body_fd, const char **ret_why)
{
	uint8_t digest[DIGEST_BYTES];
	enum err e = ERR_OK;

	*ret_why = "the request's body did not arrive as stated";
	if (body_fd < 0) {
		e = buf_put_span(&q->inlined, m->body_inline);
		if (e != ERR_OK)
			return e;
	}
	e = body_open(buf_span(&q->inlined), body_fd, m->body_bytes,
		      BODY_MAX_BYTES, &q->body);
	if (e != ERR_OK)
		return e;
	digest_sha256(q->body.bytes, digest);
	*ret_why = "the request's body differs from the one in the audit log";
	return digest_equal(digest, m->body_digest) ? ERR_OK : ERR_INTEGRITY;
}

/* Host as libcurl would send it; the signature covers it. */
static struct span host_of(struct span url)
{
	const uint8_t *scheme = memmem(url.data, url.len_bytes, "://", 3);
	bool tls = scheme && scheme - url.data == sizeof("https") - 1;
	const char *port = tls ? ":443" : ":80";
	size_t port_len = strlen(port), len;
	const uint8_t *slash;

	if (!scheme)
		return (struct span){0};
	scheme += 3;
	len = url.len_bytes - (size_t)(scheme - url.data);
	slash = memchr(scheme, '/', len);
	if (slash)
		len = (size_t)(slash - scheme);
	if (len > port_len &&
	    memcmp(scheme + len - port_len, port, port_len) == 0)
		len -= port_len;
	return span_of(scheme, len);
}

/* The lines of a signature, one after the other in locked memory. */
static enum err put_signature(struct request *q,
			      const struct sigv4_signature *s,
			      struct span token)
{
	const struct {
		const char *name;
		struct span value;
	} lines[] = {
		{"authorization: ", span_text(s->authorization)},
		{"x-amz-date: ", span_text(s->date)},
		{"x-amz-security-token: ", token},
	};
	size_t count = token.len_bytes ? 3 : 2, total = 0, i;
	uint8_t *at;
	enum err e;

	for (i = 0; i < count; i++)
		total += strlen(lines[i].name) + lines[i].value.len_bytes + 1;
	e = secret_new(total, &q->signature);
	if (e != ERR_OK)
		return e;
	at = q->signature->data;
	for (i = 0; i < count; i++) {
		size_t len = strlen(lines[i].name);

		add_locked(q, at);
		memcpy(at, lines[i].name, len);
		memcpy(at + len, lines[i].value.data, lines[i].value.len_bytes);
		at += len + lines[i].value.len_bytes;
		*at++ = '\0';
	}
	return ERR_OK;
}

static enum err sign(struct request *q, const struct upstream *up,
		     const struct route_request *r, int64_t now_wall_s)
{
	const char *service =
		r->row->service ? r->row->service : up->kind->service;
	struct span host = host_of(span_of(r->url, r->url_len_bytes));
	size_t path_at = (size_t)(host.data - (const uint8_t *)r->url);
	const char *slash = strchr(r->url + path_at, '/');
	struct route_header headers[ROUTE_HEADERS_MAX + 1] = {
		{span_text("host"), host}};
	struct sigv4_request what = {.method = r->method,
				     .headers = headers,
				     .header_count = 1,
				     .region = span_text(up->region),
				     .service = span_text(service),
				     .now_wall_s = now_wall_s};
	struct sigv4_signature s;
	size_t i, from;
	enum err e;

	if (!service || !slash || host.len_bytes == 0)
		return ERR_CONFIG;
	from = (size_t)(slash - r->url);
	what.path = span_of(slash, r->query_at - from);
	if (r->query_at < r->url_len_bytes)
		what.query = span_of(r->url + r->query_at + 1,
				     r->url_len_bytes - r->query_at - 1);
	for (i = 0; i < r->header_count; i++)
		if (span_is(r->headers[i].name, "content-type"))
			headers[what.header_count++] = r->headers[i];
	digest_sha256(q->body.bytes, what.body_digest);
	e = sigv4_sign(&what, &q->credential->aws, &s);
	if (e == ERR_OK)
		e = add_header(q, span_text("host"), host);
	return e == ERR_OK ? put_signature(q, &s, q->credential->aws.token) : e;
}

static enum err add_key(struct request *q, const struct upstream *up,
			const struct route_request *r, int64_t now_wall_s,
			const char **ret_why)
{
	q->credential = credential_hold(up->credential);
	q->proxy_credential = credential_hold(up->proxy_credential);
	if (!q->credential)
		return ERR_OK;
	*ret_why = "the request cannot be signed";
	if (q->credential->line)
		add_locked(q, q->credential->line->data);
	else
		return sign(q, up, r, now_wall_s);
	return ERR_OK;
}

static enum err take_headers(struct request *q, const struct route_request *r)
{
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < r->header_count; i++)
		e = add_header(q, r->headers[i].name, r->headers[i].value);
	if (e == ERR_OK)
		e = add_header(q, span_text("expect"), (struct span){0});
	return e;
}

/**
 * request_make() - Build the request anew and compare it with what was granted
 * @q:		From request_init()
 * @up:		Provider, borrowed during the call; its key is there
 * @m:		Grant, borrowed during the call
 * @body_fd:	Sealed memfd of the body, borrowed; or -1
 * @now_wall_s:	Seconds since 1970, for signatures
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_INTEGRITY when a digest differs; as route_build(),
 *	   body_open(), sigv4_sign().
 */
enum err request_make(struct request *q, const struct upstream *up,
		      const struct msg_grant *m, int body_fd,
		      int64_t now_wall_s, const char **ret_why)
{
	struct route_header given[HEADERS_GIVEN_MAX];
	struct route_values values = {.model = m->model,
				      .query = m->query,
				      .headers = given};
	struct route_target target = upstream_target(up);
	struct route_request r;
	uint8_t digest[DIGEST_BYTES];
	enum err e;

	*ret_why = "the request cannot be built for this provider";
	e = given_headers(m->headers, given, &values.header_count);
	if (e == ERR_OK)
		e = route_build(&target, (enum route)m->route, &values, &r);
	if (e == ERR_OK)
		e = route_header_digest(&r, digest);
	if (e != ERR_OK)
		return e;
	*ret_why = "the request differs from the one in the audit log";
	if (!digest_equal(digest, m->header_digest))
		return ERR_INTEGRITY;
	q->row = r.row;
	e = take_body(q, m, body_fd, ret_why);
	if (e != ERR_OK)
		return e;
	*ret_why = "out of memory";
	e = take_headers(q, &r);
	q->url = strndup(r.url, r.url_len_bytes);
	if (e == ERR_OK && !q->url)
		e = ERR_MEMORY;
	return e == ERR_OK ? add_key(q, up, &r, now_wall_s, ret_why) : e;
}
