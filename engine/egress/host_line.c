/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_line.c - the one line with which a guest names a destination
 *
 * Runs in: kenaz-egress.
 * Trusts:  nothing: the guest wrote it.
 * Never:   lets through a name that a resolver could read as something else
 *	    than what policy saw ("0x7f.1", "127.1", "a..b", "a%eth0").
 *
 *	host SP port LF
 *
 * host is a dotted-quad IPv4 address, an IPv6 address (brackets are allowed)
 * or a name of LDH labels (RFC 952, RFC 1123; internationalised names come as
 * "xn--"). A name whose last label is a number is refused: C libraries take
 * it for an old-style address. port is decimal, 1 to 65535.
 */
#include "engine/egress/host_line.h"

#include <arpa/inet.h>
#include <string.h>

#include "engine/base/text.h"

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_ldh(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-';
}

static bool label_valid(struct span s)
{
	size_t i;

	if (s.len_bytes == 0 || s.len_bytes > HOST_LABEL_MAX_BYTES ||
	    s.data[0] == '-' || s.data[s.len_bytes - 1] == '-')
		return false;
	for (i = 0; i < s.len_bytes; i++)
		if (!is_ldh(s.data[i]))
			return false;
	return true;
}

/* As C libraries understand numbers: decimal, octal or 0x hexadecimal. */
static bool looks_numeric(struct span s)
{
	size_t i;

	if (s.len_bytes >= 2 && s.data[0] == '0' && s.data[1] == 'x')
		return true;
	for (i = 0; i < s.len_bytes; i++)
		if (!is_digit(s.data[i]))
			return false;
	return true;
}

static bool name_valid(struct span s)
{
	struct span label = {0};

	while (s.len_bytes) {
		const uint8_t *dot = memchr(s.data, '.', s.len_bytes);

		label = span_of(s.data,
				dot ? (size_t)(dot - s.data) : s.len_bytes);
		if (!label_valid(label))
			return false;
		if (!dot)
			break;
		s = span_of(dot + 1, s.len_bytes - label.len_bytes - 1);
	}
	return s.len_bytes != 0 && !looks_numeric(label);
}

static enum err take_address(struct host_line *line)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, line->host, &v4) == 1 ||
	    inet_pton(AF_INET6, line->host, &v6) == 1) {
		line->is_address = true;
		return ERR_OK;
	}
	return ERR_FORMAT;
}

static enum err take_host(struct span s, struct host_line *line)
{
	bool bracketed = s.len_bytes >= 2 && s.data[0] == '[' &&
			 s.data[s.len_bytes - 1] == ']';
	bool colon = memchr(s.data, ':', s.len_bytes) != NULL;
	enum err e;
	size_t i;

	if (bracketed)
		s = span_of(s.data + 1, s.len_bytes - 2);
	if (bracketed && !colon)
		return ERR_FORMAT;
	e = span_copy_text(s, line->host, sizeof(line->host));
	if (e != ERR_OK)
		return e;
	for (i = 0; i < s.len_bytes; i++) {
		char c = line->host[i];

		if (c >= 'A' && c <= 'Z')
			line->host[i] = (char)(c + 32);
	}
	if (colon)
		return take_address(line);
	if (name_valid(span_text(line->host)))
		return ERR_OK;
	return take_address(line);
}

/**
 * host_line_parse() - Parse the first line of a guest's stream
 * @received:		Bytes so far, untrusted
 * @ret_line:		Written on success
 * @ret_taken_bytes:	Length of the line with its LF; what follows is data
 *
 * Return: ERR_OK; ERR_AGAIN when the line is not complete; ERR_LIMIT when it
 *	   is too long; ERR_FORMAT; ERR_RANGE for the port.
 */
enum err host_line_parse(struct span received, struct host_line *ret_line,
			 size_t *ret_taken_bytes)
{
	size_t look = received.len_bytes < HOST_LINE_MAX_BYTES
			      ? received.len_bytes
			      : HOST_LINE_MAX_BYTES;
	const uint8_t *end = look ? memchr(received.data, '\n', look) : NULL;
	struct host_line line = {0};
	const uint8_t *space;
	struct span text;
	uint64_t port;
	enum err e;

	if (!end)
		return look == HOST_LINE_MAX_BYTES ? ERR_LIMIT : ERR_AGAIN;
	text = span_of(received.data, (size_t)(end - received.data));
	space = text.len_bytes ? memchr(text.data, ' ', text.len_bytes) : NULL;
	if (!space || space == text.data)
		return ERR_FORMAT;
	e = text_parse_u64(span_of(space + 1, (size_t)(end - space) - 1), 1,
			   65535, &port);
	if (e == ERR_OK)
		e = take_host(span_of(text.data, (size_t)(space - text.data)),
			      &line);
	if (e != ERR_OK)
		return e;
	line.port = (uint16_t)port;
	*ret_line = line;
	*ret_taken_bytes = text.len_bytes + 1;
	return ERR_OK;
}
