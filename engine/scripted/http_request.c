/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_request.c - a strict, bounded parser of the requests of one client
 *
 * Runs in: kenaz-scripted.
 * Trusts:  nothing, although only the broker connects.
 * Never:   guesses: one content-length, no transfer-encoding, no folding.
 *
 * Source: RFC 9112. HTTP/1.1 only, origin-form targets only, CR LF only.
 */
#include "engine/scripted/http_request.h"

#include <string.h>
#include <strings.h>

#include "engine/base/text.h"

static bool is_token(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++) {
		uint8_t c = s.data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') ||
		      (c && strchr("!#$%&'*+-.^_`|~", c))))
			return false;
	}
	return s.len_bytes > 0;
}

static bool is_printable(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if ((s.data[i] < 0x20 && s.data[i] != '\t') || s.data[i] > 0x7e)
			return false;
	return true;
}

static bool name_is(struct span name, const char *text)
{
	return name.len_bytes == strlen(text) &&
	       strncasecmp((const char *)name.data, text, name.len_bytes) == 0;
}

/* Takes one line without its CR LF off the front of a complete head. */
static enum err take_line(struct span *head, struct span *ret_line)
{
	const uint8_t *lf = head->len_bytes
				    ? memchr(head->data, '\n', head->len_bytes)
				    : NULL;
	size_t len;

	if (!lf)
		return ERR_FORMAT;
	len = (size_t)(lf - head->data);
	if (len == 0 || head->data[len - 1] != '\r')
		return ERR_FORMAT;
	*ret_line = span_of(head->data, len - 1);
	*head = span_of(lf + 1, head->len_bytes - len - 1);
	return is_printable(*ret_line) ? ERR_OK : ERR_FORMAT;
}

static enum err take_request_line(struct span line, struct http_request *r)
{
	static const char end[] = " HTTP/1.1";
	size_t end_len = sizeof(end) - 1;
	const uint8_t *space =
		line.len_bytes ? memchr(line.data, ' ', line.len_bytes) : NULL;
	const uint8_t *query;

	if (!space || line.len_bytes < end_len ||
	    memcmp(line.data + line.len_bytes - end_len, end, end_len) != 0)
		return ERR_FORMAT;
	r->method = span_of(line.data, (size_t)(space - line.data));
	if (space + 1 >= line.data + line.len_bytes - end_len)
		return ERR_FORMAT;
	r->path = span_of(space + 1,
			  line.len_bytes - r->method.len_bytes - 1 - end_len);
	if (!is_token(r->method) || r->path.data[0] != '/' ||
	    memchr(r->path.data, ' ', r->path.len_bytes))
		return ERR_FORMAT;
	query = memchr(r->path.data, '?', r->path.len_bytes);
	if (query)
		r->path.len_bytes = (size_t)(query - r->path.data);
	return ERR_OK;
}

static enum err take_header(struct span line, struct http_request *r,
			    bool *seen_length, uint64_t *length)
{
	const uint8_t *colon =
		line.len_bytes ? memchr(line.data, ':', line.len_bytes) : NULL;
	struct span name, value;

	if (!colon)
		return ERR_FORMAT;
	name = span_of(line.data, (size_t)(colon - line.data));
	value = span_of(colon + 1, line.len_bytes - name.len_bytes - 1);
	if (!is_token(name))
		return ERR_FORMAT;
	while (value.len_bytes && (*value.data == ' ' || *value.data == '\t'))
		value = span_of(value.data + 1, value.len_bytes - 1);
	if (name_is(name, "transfer-encoding"))
		return ERR_UNSUPPORTED;
	if (name_is(name, "connection") && name_is(value, "close"))
		r->close = true;
	if (!name_is(name, "content-length"))
		return ERR_OK;
	if (*seen_length)
		return ERR_EXISTS;
	*seen_length = true;
	return text_parse_u64(value, 0, BODY_MAX_BYTES, length);
}

/**
 * http_request_parse() - Take the first whole request
 * @received:		Bytes so far, untrusted
 * @ret_request:	Written on success; borrows @received
 * @ret_taken_bytes:	How many bytes it used
 *
 * Return: ERR_OK; ERR_AGAIN when more bytes are needed; ERR_LIMIT, ERR_RANGE
 *	   for a head or body that is too large; ERR_FORMAT; ERR_EXISTS for a
 *	   second content-length; ERR_UNSUPPORTED for a transfer-encoding.
 */
enum err http_request_parse(struct span received,
			    struct http_request *ret_request,
			    size_t *ret_taken_bytes)
{
	size_t look = received.len_bytes < HTTP_HEAD_MAX_BYTES
			      ? received.len_bytes
			      : HTTP_HEAD_MAX_BYTES;
	const uint8_t *end =
		look ? memmem(received.data, look, "\r\n\r\n", 4) : NULL;
	struct http_request r = {0};
	struct span head, line;
	bool seen_length = false;
	uint64_t length = 0;
	size_t head_bytes, count = 0;
	enum err e;

	if (!end)
		return look == HTTP_HEAD_MAX_BYTES ? ERR_LIMIT : ERR_AGAIN;
	head_bytes = (size_t)(end - received.data) + 4;
	head = span_of(received.data, head_bytes - 2);
	e = take_line(&head, &line);
	if (e == ERR_OK)
		e = take_request_line(line, &r);
	while (e == ERR_OK && head.len_bytes) {
		if (++count > HTTP_HEADERS_MAX)
			return ERR_LIMIT;
		e = take_line(&head, &line);
		if (e == ERR_OK)
			e = take_header(line, &r, &seen_length, &length);
	}
	if (e != ERR_OK)
		return e;
	if (received.len_bytes - head_bytes < length)
		return ERR_AGAIN;
	r.body = span_of(received.data + head_bytes, (size_t)length);
	*ret_request = r;
	*ret_taken_bytes = head_bytes + (size_t)length;
	return ERR_OK;
}
