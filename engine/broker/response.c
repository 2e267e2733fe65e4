/* SPDX-License-Identifier: Apache-2.0 */
/*
 * response.c - what is kept, counted and passed on of one answer; no I/O
 *
 * Runs in: kenaz-broker.
 * Trusts:  nothing that the provider sends.
 * Never:   parses a body, passes on a header that its table does not list,
 *	    lets the key through.
 *
 * Count, digest and copy are of the bytes that are passed on: the key is cut
 * out before, so it is in no log either.
 */
#include "engine/broker/response.h"

#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/memfd.h"
#include "engine/base/text.h"
#include "engine/proto/attrs.h"
#include "engine/proto/respframe.h"

/* One frame of what one call can add, twice. */
#define FRAMES_MAX_BYTES (4u * 1024 * 1024)

/**
 * response_init() - Prepare for an answer, or for saying that there is none
 * @r:		Caller's memory
 * @passes_on:	Make frames
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err response_init(struct response *r, bool passes_on)
{
	*r = (struct response){.passes_on = passes_on, .memfd = -1};
	buf_init(&r->headers, RESPONSE_ALLOWED_MAX_BYTES);
	buf_init(&r->clean, FRAMES_MAX_BYTES);
	buf_init(&r->frames, FRAMES_MAX_BYTES);
	buf_init(&r->inlined, BODY_INLINE_MAX_BYTES);
	return digest_new(&r->digest);
}

/**
 * response_expect() - Say whose answer it will be
 * @r:		Response
 * @kind:	Its table says which headers pass
 * @key:	Key to cut out, borrowed; or NULL
 * @max_bytes:	Ceiling of the body
 * @keeps:	Keep a copy of the body
 */
void response_expect(struct response *r, const struct provider_kind *kind,
		     const struct keyscan_key *key, uint64_t max_bytes,
		     bool keeps)
{
	r->kind = kind;
	r->key = key;
	r->max_bytes = max_bytes;
	r->keeps = keeps;
	keyscan_init(&r->scan, key);
}

/** response_fini() - Release everything */
void response_fini(struct response *r)
{
	buf_fini(&r->headers);
	buf_fini(&r->clean);
	buf_fini(&r->frames);
	buf_fini(&r->inlined);
	digest_free(r->digest);
	if (r->memfd >= 0)
		(void)close(r->memfd);
	r->memfd = -1;
	r->digest = NULL;
}

static enum err fail(struct response *r, enum err e, const char *problem)
{
	r->problem = problem;
	return e;
}

static enum err status_line(struct response *r, struct span line)
{
	const uint8_t *space = memchr(line.data, ' ', line.len_bytes);
	size_t at = space ? (size_t)(space - line.data) + 1 : line.len_bytes;
	uint64_t status;

	if (line.len_bytes - at < 3 ||
	    text_parse_u64(span_of(line.data + at, 3), 100, 599, &status) !=
		    ERR_OK)
		return fail(r, ERR_UPSTREAM,
			    "the provider answered with a malformed status");
	r->status = (uint16_t)status;
	r->retry = (struct retry_after){0};
	buf_reset(&r->headers);
	return ERR_OK;
}

static enum err head_end(struct response *r)
{
	enum err e = ERR_OK;

	if (r->status < 200) {
		r->status = 0;
		return ERR_OK;
	}
	r->head_done = true;
	if (r->status >= 300 && r->status < 400)
		return fail(r, ERR_UPSTREAM,
			    "the provider answered with a redirect; redirects "
			    "are not followed");
	if (r->passes_on)
		e = respframe_put_head(&r->frames, r->status,
				       buf_span(&r->headers));
	/* Idle streams are many: keep no memory that only the head needed. */
	buf_fini(&r->headers);
	buf_fini(&r->clean);
	return e;
}

static bool printable(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if (s.data[i] < 0x20 || s.data[i] > 0x7e)
			return false;
	return true;
}

static bool name_is(struct span name, const char *text)
{
	return name.len_bytes == strlen(text) &&
	       strncasecmp((const char *)name.data, text, name.len_bytes) == 0;
}

/* Whether a text holds the key; that is reported wherever it was. */
static enum err notice_key(struct response *r, struct span s, bool *ret_found)
{
	struct keyscan scan;
	enum err e;

	keyscan_init(&scan, r->key);
	buf_reset(&r->clean);
	e = keyscan_feed(&scan, s, &r->clean);
	*ret_found = scan.found != 0;
	if (scan.found)
		r->key_echoed = true;
	return e;
}

/* Adds one allowed header, in lower case and without the key. */
static enum err keep_header(struct response *r, struct span name,
			    struct span value)
{
	char lower[ATTR_KEY_MAX_BYTES + 1];
	struct keyscan scan;
	enum err e;
	size_t i;

	if (name.len_bytes > ATTR_KEY_MAX_BYTES || !printable(value))
		return ERR_OK;
	for (i = 0; i < name.len_bytes; i++) {
		uint8_t c = name.data[i];

		lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	keyscan_init(&scan, r->key);
	buf_reset(&r->clean);
	e = keyscan_feed(&scan, value, &r->clean);
	if (e == ERR_OK)
		e = keyscan_end(&scan, &r->clean);
	if (scan.found)
		r->key_echoed = true;
	if (e == ERR_OK)
		e = attrs_put_pair(&r->headers, span_of(lower, name.len_bytes),
				   buf_span(&r->clean));
	if (e != ERR_OK)
		return fail(r, e, "the provider's headers are too large");
	return ERR_OK;
}

/**
 * response_header_line() - Take one line of the answer's head
 * @r:		Response
 * @line:	As received, with its line ending; status lines too
 *
 * Interim answers (1xx) are forgotten, trailers ignored.
 *
 * Return: ERR_OK; ERR_UPSTREAM for a redirect, a compressed body or a
 *	   malformed head; ERR_LIMIT; ERR_MEMORY; with a problem set.
 */
enum err response_header_line(struct response *r, struct span line)
{
	bool in_name, in_value;
	struct span name, value;
	const uint8_t *colon;
	enum err e;

	r->header_bytes += line.len_bytes;
	if (r->header_bytes > RESPONSE_HEADERS_MAX_BYTES)
		return fail(r, ERR_LIMIT,
			    "the provider's headers are too large");
	if (r->head_done)
		return ERR_OK;
	while (line.len_bytes && (line.data[line.len_bytes - 1] == '\n' ||
				  line.data[line.len_bytes - 1] == '\r'))
		line.len_bytes--;
	if (line.len_bytes == 0)
		return head_end(r);
	if (line.len_bytes >= 5 && memcmp(line.data, "HTTP/", 5) == 0)
		return status_line(r, line);
	colon = memchr(line.data, ':', line.len_bytes);
	if (!colon)
		return ERR_OK;
	name = span_of(line.data, (size_t)(colon - line.data));
	value = span_of(colon + 1, line.len_bytes - name.len_bytes - 1);
	while (value.len_bytes && (*value.data == ' ' || *value.data == '\t'))
		value = span_of(value.data + 1, value.len_bytes - 1);
	while (value.len_bytes &&
	       strchr(" \t", value.data[value.len_bytes - 1]))
		value.len_bytes--;
	retry_after_notice(&r->retry, name, value, (int64_t)time(NULL));
	if (name_is(name, "content-encoding") && !span_is(value, "identity"))
		return fail(r, ERR_UPSTREAM,
			    "the provider compressed its answer although it "
			    "was told not to");
	e = notice_key(r, name, &in_name);
	if (e == ERR_OK && !in_name &&
	    provider_forwards_response(r->kind, name))
		return keep_header(r, name, value);
	return e == ERR_OK ? notice_key(r, value, &in_value) : e;
}

static enum err keep(struct response *r, struct span s)
{
	enum err e = ERR_OK;

	if (!r->keeps)
		return ERR_OK;
	if (r->memfd < 0 &&
	    s.len_bytes <= BODY_INLINE_MAX_BYTES - r->inlined.len_bytes)
		return buf_put_span(&r->inlined, s);
	if (r->memfd < 0) {
		r->memfd = memfd_create("kenaz-response",
					MFD_CLOEXEC | MFD_ALLOW_SEALING);
		e = r->memfd < 0
			    ? ERR_SYS
			    : file_write_all(r->memfd, buf_span(&r->inlined));
		buf_fini(&r->inlined);
	}
	return e == ERR_OK ? file_write_all(r->memfd, s) : e;
}

static enum err pass_on(struct response *r, struct span s)
{
	enum err e = ERR_OK;

	if (s.len_bytes == 0)
		return ERR_OK;
	r->body_bytes += s.len_bytes;
	digest_update(r->digest, s);
	e = keep(r, s);
	while (e == ERR_OK && r->passes_on && s.len_bytes) {
		size_t len = s.len_bytes < RESPFRAME_DATA_MAX_BYTES
				     ? s.len_bytes
				     : RESPFRAME_DATA_MAX_BYTES;

		e = respframe_put_data(&r->frames, span_of(s.data, len));
		s = span_of(s.data + len, s.len_bytes - len);
	}
	return e == ERR_OK ? ERR_OK
			   : fail(r, e, "the answer could not be kept");
}

/**
 * response_data() - Take body bytes
 * @r:		Response
 * @data:	Borrowed
 *
 * Return: ERR_OK; ERR_LIMIT past the ceiling; ERR_MEMORY; ERR_SYS; with a
 *	   problem set.
 */
enum err response_data(struct response *r, struct span data)
{
	enum err e;

	if (data.len_bytes > r->max_bytes - r->received_bytes)
		return fail(r, ERR_LIMIT,
			    "the provider's answer is larger than allowed");
	r->received_bytes += data.len_bytes;
	if (!r->key)
		return pass_on(r, data);
	buf_reset(&r->clean);
	e = keyscan_feed(&r->scan, data, &r->clean);
	if (r->scan.found)
		r->key_echoed = true;
	if (e != ERR_OK)
		return fail(r, e, "the answer could not be scanned");
	e = pass_on(r, buf_span(&r->clean));
	buf_fini(&r->clean);
	return e;
}

/**
 * response_end() - No more bytes come
 * @r:		Response
 * @error:	How it ended
 * @text:	A sentence for the gate; empty when @error is ERR_OK
 * @ret_digest:	SHA-256 of the body that was passed on
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_SYS.
 */
enum err response_end(struct response *r, enum err error, struct span text,
		      uint8_t ret_digest[DIGEST_BYTES])
{
	enum err e;

	buf_reset(&r->clean);
	e = keyscan_end(&r->scan, &r->clean);
	if (e == ERR_OK)
		e = pass_on(r, buf_span(&r->clean));
	digest_finish(r->digest, ret_digest);
	if (e == ERR_OK && r->passes_on)
		e = respframe_put_end(&r->frames, error, text);
	return e;
}

/**
 * response_take_memfd() - Hand the large copy over, sealed
 * @r:		Response that ended
 * @ret_fd:	Owned by the caller; -1 when the copy is in inlined
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err response_take_memfd(struct response *r, int *ret_fd)
{
	enum err e = r->memfd >= 0 ? memfd_seal(r->memfd) : ERR_OK;

	if (e == ERR_OK) {
		*ret_fd = r->memfd;
		r->memfd = -1;
	}
	return e;
}
