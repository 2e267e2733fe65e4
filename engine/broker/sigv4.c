/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sigv4.c - AWS Signature Version 4 of one request; no I/O
 *
 * Runs in: kenaz-broker.
 * Trusts:  a request that was built from tables.
 * Never:   lets a key or a token into memory that is not locked: what is
 *	    signed is hashed piece by piece, keys are derived in place.
 *
 * Theory of operation
 *
 * Source: AWS, "Create a signed AWS API request". In short:
 *
 *	canonical = METHOD \n PATH \n QUERY \n HEADERS \n NAMES \n SHA256(body)
 *	to_sign   = AWS4-HMAC-SHA256 \n DATE \n SCOPE \n SHA256(canonical)
 *	key       = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, day), region),
 *		    service), "aws4_request")
 *	signature = HMAC(key, to_sign)
 *
 * PATH is the path as it is sent, encoded once more (every service but S3):
 * "%2F" becomes "%252F". Dot segments are not removed; our paths have none.
 * QUERY is sorted by name and value. HEADERS are sorted, trimmed, with runs of
 * spaces made one; those of one name are joined by commas in their order.
 *
 * A signing key holds for a day, a region and a service, yet it is derived
 * anew for each attempt: four HMACs are less than a locked page to keep it.
 */
#include "engine/broker/sigv4.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/text.h"
#include "engine/broker/secret.h"

#define ALGORITHM  "AWS4-HMAC-SHA256"
#define TERMINATOR "aws4_request"
#define KEY_PREFIX "AWS4"
#define DAY_BYTES  8u

struct parameter {
	struct span name, value;
};

static bool is_unreserved(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

static void put(struct digest *d, const char *text)
{
	digest_update(d, span_text(text));
}

/* Percent-encodes all but unreserved characters and those in keep. */
static void put_encoded(struct digest *d, struct span s, const char *keep)
{
	char three[4];
	size_t i;

	for (i = 0; i < s.len_bytes; i++) {
		uint8_t c = s.data[i];

		if (is_unreserved(c) || (c && strchr(keep, c))) {
			digest_update(d, span_of(&s.data[i], 1));
			continue;
		}
		(void)snprintf(three, sizeof(three), "%%%02X", c);
		put(d, three);
	}
}

static int compare(struct span a, struct span b)
{
	size_t len = a.len_bytes < b.len_bytes ? a.len_bytes : b.len_bytes;
	int order = len ? memcmp(a.data, b.data, len) : 0;

	if (order)
		return order;
	return a.len_bytes < b.len_bytes ? -1 : a.len_bytes > b.len_bytes;
}

static bool comes_before(const struct parameter *a, const struct parameter *b)
{
	int order = compare(a->name, b->name);

	return order ? order < 0 : compare(a->value, b->value) < 0;
}

static enum err put_query(struct digest *d, struct span query)
{
	struct parameter list[SIGV4_PARAMETERS_MAX];
	size_t count = 0, i;

	while (query.len_bytes) {
		const uint8_t *end = memchr(query.data, '&', query.len_bytes);
		size_t len = end ? (size_t)(end - query.data) : query.len_bytes;
		const uint8_t *equals = memchr(query.data, '=', len);
		size_t name_len = equals ? (size_t)(equals - query.data) : len;
		size_t rest = equals ? name_len + 1 : len;
		struct parameter p = {span_of(query.data, name_len),
				      span_of(query.data + rest, len - rest)};

		if (count == SIGV4_PARAMETERS_MAX)
			return ERR_LIMIT;
		for (i = count++; i && comes_before(&p, &list[i - 1]); i--)
			list[i] = list[i - 1];
		list[i] = p;
		query = span_of(query.data + len + (end ? 1 : 0),
				query.len_bytes - len - (end ? 1 : 0));
	}
	for (i = 0; i < count; i++) {
		put(d, i ? "&" : "");
		/* Encoded already: what is not gets it now. */
		put_encoded(d, list[i].name, "%");
		put(d, "=");
		put_encoded(d, list[i].value, "%");
	}
	return ERR_OK;
}

/* Without white space at its ends, with one space for each run inside. */
static void put_trimmed(struct digest *d, struct span s)
{
	while (s.len_bytes && s.data[0] == ' ')
		s = span_of(s.data + 1, s.len_bytes - 1);
	while (s.len_bytes && s.data[s.len_bytes - 1] == ' ')
		s.len_bytes--;
	while (s.len_bytes) {
		size_t len = 0, gap;

		while (len < s.len_bytes && s.data[len] != ' ')
			len++;
		digest_update(d, span_of(s.data, len));
		for (gap = len; gap < s.len_bytes && s.data[gap] == ' '; gap++)
			;
		put(d, gap > len ? " " : "");
		s = span_of(s.data + gap, s.len_bytes - gap);
	}
}

struct header_list {
	struct route_header of[SIGV4_HEADERS_MAX];
	size_t count;
};

/* Keeps the list sorted, and those of one name in their order. */
static enum err add_header(struct header_list *h, struct span name,
			   struct span value)
{
	size_t i;

	if (h->count == SIGV4_HEADERS_MAX)
		return ERR_LIMIT;
	for (i = h->count++; i && compare(name, h->of[i - 1].name) < 0; i--)
		h->of[i] = h->of[i - 1];
	h->of[i] = (struct route_header){name, value};
	return ERR_OK;
}

static bool is_new_name(const struct header_list *h, size_t i)
{
	return i == 0 || compare(h->of[i - 1].name, h->of[i].name) != 0;
}

static void put_headers(struct digest *d, const struct header_list *h)
{
	size_t i;

	for (i = 0; i < h->count; i++) {
		if (is_new_name(h, i)) {
			put(d, i ? "\n" : "");
			digest_update(d, h->of[i].name);
			put(d, ":");
		} else {
			put(d, ",");
		}
		put_trimmed(d, h->of[i].value);
	}
	put(d, "\n");
}

static enum err list_names(const struct header_list *h, struct buf *out)
{
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < h->count; i++) {
		if (!is_new_name(h, i))
			continue;
		e = buf_put_text(out, out->len_bytes ? ";" : "");
		if (e == ERR_OK)
			e = buf_put_span(out, h->of[i].name);
	}
	return e;
}

static enum err hash_canonical(const struct sigv4_request *q,
			       const struct header_list *h, struct span names,
			       char ret_hex[DIGEST_HEX_BYTES])
{
	uint8_t digest[DIGEST_BYTES];
	char body[DIGEST_HEX_BYTES];
	struct digest *d;
	enum err e = digest_new(&d);

	if (e != ERR_OK)
		return e;
	put(d, q->method);
	put(d, "\n");
	put_encoded(d, q->path, "/");
	put(d, "\n");
	e = put_query(d, q->query);
	put(d, "\n");
	put_headers(d, h);
	put(d, "\n");
	digest_update(d, names);
	put(d, "\n");
	text_hex(q->body_digest, DIGEST_BYTES, body);
	put(d, body);
	digest_finish(d, digest);
	digest_free(d);
	text_hex(digest, DIGEST_BYTES, ret_hex);
	return e;
}

/* All of it in locked memory: "AWS4" + secret, and two keys taking turns. */
static enum err derive_and_sign(const struct sigv4_request *q,
				const struct aws_key *key, struct span day,
				struct span to_sign,
				uint8_t ret_signature[DIGEST_BYTES])
{
	size_t prefix = sizeof(KEY_PREFIX) - 1;
	size_t first = prefix + key->secret.len_bytes;
	const struct span steps[] = {day, q->region, q->service,
				     span_text(TERMINATOR), to_sign};
	struct secret *room;
	struct span from;
	enum err e = secret_new(first + 2 * DIGEST_BYTES, &room);
	size_t i;

	if (e != ERR_OK)
		return e;
	memcpy(room->data, KEY_PREFIX, prefix);
	memcpy(room->data + prefix, key->secret.data, key->secret.len_bytes);
	from = span_of(room->data, first);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		uint8_t *to = room->data + first + (i % 2) * DIGEST_BYTES;

		digest_hmac_sha256(from, steps[i], to);
		from = span_of(to, DIGEST_BYTES);
	}
	memcpy(ret_signature, from.data, DIGEST_BYTES);
	secret_release(room);
	return ERR_OK;
}

static enum err collect(const struct sigv4_request *q,
			const struct aws_key *key, const char *date,
			struct header_list *h)
{
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < q->header_count; i++)
		e = add_header(h, q->headers[i].name, q->headers[i].value);
	if (e == ERR_OK)
		e = add_header(h, span_text("x-amz-date"), span_text(date));
	if (e == ERR_OK && key->token.len_bytes)
		e = add_header(h, span_text("x-amz-security-token"),
			       key->token);
	return e;
}

static enum err format_date(int64_t now_wall_s, char *ret_date)
{
	time_t now = (time_t)now_wall_s;
	struct tm tm;

	if (!gmtime_r(&now, &tm) ||
	    strftime(ret_date, SIGV4_DATE_BYTES, "%Y%m%dT%H%M%SZ", &tm) !=
		    SIGV4_DATE_BYTES - 1)
		return ERR_RANGE;
	return ERR_OK;
}

static enum err put_scope(struct buf *out, const struct sigv4_request *q,
			  const char *date)
{
	enum err e = buf_put(out, date, DAY_BYTES);

	if (e == ERR_OK)
		e = buf_put_u8(out, '/');
	if (e == ERR_OK)
		e = buf_put_span(out, q->region);
	if (e == ERR_OK)
		e = buf_put_u8(out, '/');
	if (e == ERR_OK)
		e = buf_put_span(out, q->service);
	return e == ERR_OK ? buf_put_text(out, "/" TERMINATOR) : e;
}

static enum err put_line(struct buf *out, const char *const *texts,
			 const struct span *spans, size_t count)
{
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < count; i++) {
		e = buf_put_text(out, texts[i]);
		if (e == ERR_OK)
			e = buf_put_span(out, spans[i]);
	}
	return e;
}

static enum err put_to_sign(struct buf *out, const char *date,
			    struct span scope, const char *canonical)
{
	const char *const texts[] = {ALGORITHM "\n", "\n", "\n"};
	const struct span spans[] = {span_text(date), scope,
				     span_text(canonical)};

	return put_line(out, texts, spans, ARRAY_SIZE(texts));
}

static enum err finish(const struct sigv4_request *q, const struct aws_key *key,
		       struct span scope, struct span names,
		       const char *canonical, struct sigv4_signature *s)
{
	const char *const texts[] = {ALGORITHM " Credential=", "/",
				     ", SignedHeaders=", ", Signature="};
	uint8_t signature[DIGEST_BYTES];
	char hex[DIGEST_HEX_BYTES];
	const struct span spans[] = {key->id, scope, names,
				     span_of(hex, DIGEST_HEX_BYTES - 1)};
	struct buf line;
	enum err e;

	buf_init(&line, SIGV4_LINE_MAX_BYTES - 1);
	e = put_to_sign(&line, s->date, scope, canonical);
	if (e == ERR_OK)
		e = derive_and_sign(q, key, span_of(s->date, DAY_BYTES),
				    buf_span(&line), signature);
	if (e == ERR_OK) {
		text_hex(signature, DIGEST_BYTES, hex);
		buf_reset(&line);
		e = put_line(&line, texts, spans, ARRAY_SIZE(texts));
	}
	if (e == ERR_OK)
		e = span_copy_text(buf_span(&line), s->authorization,
				   sizeof(s->authorization));
	buf_fini(&line);
	return e;
}

/**
 * sigv4_sign() - Sign a request
 * @request:		What is sent, borrowed
 * @key:		Credentials, borrowed
 * @ret_signature:	Written on success; the token is a header of its own,
 *			x-amz-security-token, which the caller adds
 *
 * Return: ERR_OK; ERR_LIMIT for too many headers or parameters, or when memory
 *	   cannot be locked; ERR_RANGE for a clock outside four-digit years;
 *	   ERR_MEMORY.
 */
enum err sigv4_sign(const struct sigv4_request *request,
		    const struct aws_key *key,
		    struct sigv4_signature *ret_signature)
{
	struct header_list headers = {.count = 0};
	struct sigv4_signature s = {0};
	char canonical[DIGEST_HEX_BYTES];
	struct buf scope, names;
	enum err e = format_date(request->now_wall_s, s.date);

	buf_init(&scope, SIGV4_SCOPE_MAX_BYTES);
	buf_init(&names, SIGV4_LINE_MAX_BYTES);
	if (e == ERR_OK)
		e = collect(request, key, s.date, &headers);
	if (e == ERR_OK)
		e = list_names(&headers, &names);
	if (e == ERR_OK)
		e = hash_canonical(request, &headers, buf_span(&names),
				   canonical);
	if (e == ERR_OK)
		e = put_scope(&scope, request, s.date);
	if (e == ERR_OK)
		e = finish(request, key, buf_span(&scope), buf_span(&names),
			   canonical, &s);
	if (e == ERR_OK)
		*ret_signature = s;
	buf_fini(&names);
	buf_fini(&scope);
	return e;
}
