/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect_request.c - parse what a program asks of its HTTP proxy
 *
 * Runs in: kenaz-guestd.
 * Trusts:  nothing.
 * Never:   does I/O; guesses what an ambiguous request might mean.
 *
 * Theory of operation: CONNECT in authority-form and absolute-form requests
 * for http (RFC 9112 sections 3.2.2 and 3.2.3). Narrower than the RFC: line
 * ends are CRLF, one space between the parts of the request line, no folded
 * header, no user information, a port of a tunnel is not optional. A
 * forwarded request is written again in origin-form, with the Host of the
 * target, without hop-by-hop headers and with "Connection: close", so that
 * one connection carries one request to one host.
 */
#include "guest/connect_request.h"

#include <string.h>

#include "engine/base/text.h"

#define METHOD_MAX_BYTES 32
#define HTTP_PORT        80

/* Headers that concern the proxy or this connection only. */
static const char *const dropped[] = {
	"host",       "connection", "proxy-connection", "proxy-authorization",
	"keep-alive", "te",         "trailer",          "upgrade",
};

static bool is_token_char(uint8_t c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	    (c >= 'a' && c <= 'z'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if (!is_token_char(s.data[i]))
			return false;
	return s.len_bytes > 0;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool is_name(struct span s, const char *name)
{
	size_t i;

	if (s.len_bytes != strlen(name))
		return false;
	for (i = 0; i < s.len_bytes; i++)
		if (lower(s.data[i]) != (uint8_t)name[i])
			return false;
	return true;
}

static bool starts_with(struct span s, const char *text)
{
	size_t len = strlen(text);

	return s.len_bytes >= len && is_name(span_of(s.data, len), text);
}

static struct span skip(struct span s, size_t len)
{
	return span_of(s.data + len, s.len_bytes - len);
}

/* Cut @s at the first @c: returns what is before, leaves what is after. */
static bool cut(struct span *s, uint8_t c, struct span *ret_before)
{
	const uint8_t *at =
		s->len_bytes ? memchr(s->data, c, s->len_bytes) : NULL;

	if (!at)
		return false;
	*ret_before = span_of(s->data, (size_t)(at - s->data));
	*s = skip(*s, ret_before->len_bytes + 1);
	return true;
}

/* A line without its CRLF; neither CR, LF, NUL nor other controls inside. */
static bool take_line(struct span *s, struct span *ret_line)
{
	struct span line;
	size_t i;

	if (!cut(s, '\n', &line) || line.len_bytes == 0 ||
	    line.data[line.len_bytes - 1] != '\r')
		return false;
	line.len_bytes--;
	for (i = 0; i < line.len_bytes; i++) {
		uint8_t c = line.data[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	*ret_line = line;
	return true;
}

static bool host_char(uint8_t c, bool bracketed)
{
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))
		return true;
	if (bracketed)
		return c == ':' || c == '.';
	return (c >= 'g' && c <= 'z') || c == '-' || c == '.' || c == '_';
}

static bool take_host(struct span s, bool bracketed, struct connect_request *r)
{
	size_t i;

	if (s.len_bytes == 0 || s.len_bytes > CONNECT_HOST_MAX_BYTES)
		return false;
	for (i = 0; i < s.len_bytes; i++) {
		uint8_t c = lower(s.data[i]);

		if (!host_char(c, bracketed))
			return false;
		r->host[i] = (char)c;
	}
	r->host[i] = '\0';
	return true;
}

/* authority = host [":" port]; @default_port 0 makes the port obligatory. */
static bool take_authority(struct span s, uint16_t default_port,
			   struct connect_request *r)
{
	struct span host, port = {0};
	bool bracketed = s.len_bytes && s.data[0] == '[';
	uint64_t value = default_port;
	bool has_port;

	if (bracketed) {
		s = skip(s, 1);
		if (!cut(&s, ']', &host))
			return false;
		has_port = s.len_bytes != 0;
		if (has_port && s.data[0] != ':')
			return false;
		if (has_port)
			port = skip(s, 1);
	} else {
		has_port = cut(&s, ':', &host);
		if (has_port)
			port = s;
		else
			host = s;
	}
	if (has_port && text_parse_u64(port, 1, UINT16_MAX, &value) != ERR_OK)
		return false;
	if (value == 0)
		return false;
	r->port = (uint16_t)value;
	return take_host(host, bracketed, r);
}

static enum err put_target(struct buf *out, struct span method,
			   struct span path, struct span authority)
{
	enum err e = buf_put_span(out, method);

	if (e == ERR_OK)
		e = buf_put_text(out, " ");
	if (e == ERR_OK && (path.len_bytes == 0 || path.data[0] != '/'))
		e = buf_put_text(out, "/");
	if (e == ERR_OK)
		e = buf_put_span(out, path);
	if (e == ERR_OK)
		e = buf_put_text(out, " HTTP/1.1\r\nHost: ");
	if (e == ERR_OK)
		e = buf_put_span(out, authority);
	if (e == ERR_OK)
		e = buf_put_text(out, "\r\nConnection: close\r\n");
	return e;
}

static enum err parse_target(struct span method, struct span target,
			     struct connect_request *r, struct buf *forward,
			     const char **ret_reason)
{
	struct span authority, path;
	size_t i;

	if (r->is_tunnel) {
		*ret_reason = "CONNECT needs host:port";
		return take_authority(target, 0, r) ? ERR_OK : ERR_FORMAT;
	}
	if (starts_with(target, "https://")) {
		*ret_reason = "https goes through CONNECT";
		return ERR_FORMAT;
	}
	*ret_reason = "only CONNECT and http:// requests are proxied";
	if (!starts_with(target, "http://"))
		return ERR_FORMAT;
	authority = skip(target, 7);
	for (i = 0; i < authority.len_bytes; i++)
		if (strchr("/?#", authority.data[i]))
			break;
	path = skip(authority, i);
	authority.len_bytes = i;
	*ret_reason = "malformed host in the URL";
	if (!take_authority(authority, HTTP_PORT, r))
		return ERR_FORMAT;
	*ret_reason = "a fragment in the URL";
	if (path.len_bytes && memchr(path.data, '#', path.len_bytes))
		return ERR_FORMAT;
	return put_target(forward, method, path, authority);
}

static enum err parse_first_line(struct span line, struct connect_request *r,
				 struct buf *forward, const char **ret_reason)
{
	struct span method, target;
	size_t i;

	*ret_reason = "malformed request line";
	if (!cut(&line, ' ', &method) || !cut(&line, ' ', &target) ||
	    !is_token(method) || method.len_bytes > METHOD_MAX_BYTES ||
	    target.len_bytes == 0)
		return ERR_FORMAT;
	for (i = 0; i < target.len_bytes; i++)
		if (target.data[i] <= 0x20 || target.data[i] >= 0x7f)
			return ERR_FORMAT;
	*ret_reason = "not HTTP/1.1 or HTTP/1.0";
	if (!span_is(line, "HTTP/1.1") && !span_is(line, "HTTP/1.0"))
		return ERR_FORMAT;
	r->is_tunnel = span_is(method, "CONNECT");
	return parse_target(method, target, r, forward, ret_reason);
}

static bool is_dropped(struct span name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dropped); i++)
		if (is_name(name, dropped[i]))
			return true;
	return false;
}

struct framing {
	unsigned lengths;
	unsigned encodings;
};

static enum err parse_header(struct span line, bool keep, struct buf *forward,
			     struct framing *framing, const char **ret_reason)
{
	struct span whole = line, name;
	enum err e;

	*ret_reason = "malformed header";
	if (!cut(&line, ':', &name) || !is_token(name))
		return ERR_FORMAT;
	framing->lengths += is_name(name, "content-length");
	framing->encodings += is_name(name, "transfer-encoding");
	*ret_reason = "contradictory body length";
	if (framing->lengths + framing->encodings > 1)
		return ERR_FORMAT;
	if (!keep || is_dropped(name))
		return ERR_OK;
	e = buf_put_span(forward, whole);
	if (e == ERR_OK)
		e = buf_put_text(forward, "\r\n");
	return e;
}

/**
 * connect_request_head_length() - Find the end of a request's head
 * @s:	Bytes received so far, borrowed
 *
 * Return: length up to and with the empty line; 0 while it is not there.
 */
size_t connect_request_head_length(struct span s)
{
	const uint8_t *at =
		s.len_bytes ? memmem(s.data, s.len_bytes, "\r\n\r\n", 4) : NULL;

	return at ? (size_t)(at - s.data) + 4 : 0;
}

/**
 * connect_request_parse() - Understand a request's head, or refuse it
 * @head:	Request line, headers and the empty line, borrowed
 * @ret_request: Where it goes to; written on success
 * @forward:	Appended: the head as the target shall see it; stays empty for
 *		a tunnel; content undefined on failure
 * @ret_reason:	Static text that says what is wrong; written on failure
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT past CONNECT_REQUEST_MAX_BYTES or
 *	   CONNECT_REQUEST_MAX_HEADERS; ERR_MEMORY.
 */
enum err connect_request_parse(struct span head,
			       struct connect_request *ret_request,
			       struct buf *forward, const char **ret_reason)
{
	struct connect_request r = {0};
	struct framing framing = {0};
	struct span line;
	unsigned headers = 0;
	enum err e;

	*ret_reason = "the request head is too long";
	if (head.len_bytes > CONNECT_REQUEST_MAX_BYTES)
		return ERR_LIMIT;
	*ret_reason = "malformed request line";
	if (!take_line(&head, &line))
		return ERR_FORMAT;
	e = parse_first_line(line, &r, forward, ret_reason);
	while (e == ERR_OK) {
		*ret_reason = "malformed header";
		if (!take_line(&head, &line))
			return ERR_FORMAT;
		if (line.len_bytes == 0)
			break;
		*ret_reason = "too many headers";
		if (++headers > CONNECT_REQUEST_MAX_HEADERS)
			return ERR_LIMIT;
		e = parse_header(line, !r.is_tunnel, forward, &framing,
				 ret_reason);
	}
	if (e == ERR_OK && head.len_bytes != 0)
		e = ERR_FORMAT;
	if (e == ERR_OK && !r.is_tunnel)
		e = buf_put_text(forward, "\r\n");
	if (e == ERR_OK)
		*ret_request = r;
	return e;
}
