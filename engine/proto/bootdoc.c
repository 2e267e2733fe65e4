/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bootdoc.c - what the host tells a guest before any stream exists
 *
 * Runs in: kenaz-launch, which writes it; kenaz-guestd, which reads it.
 * Trusts:  nothing of its form: it is parsed strictly.
 * Never:   is logged, or part of an argument vector: it holds a secret.
 *
 * Only with the kernel's vsock, where any process of the host can connect to
 * any guest: the guest learns on which ports of the host its own gate and
 * egress listen, and the secret that opens every stream towards it. Four
 * lines, in this order, and nothing after them:
 *
 *	kenaz-boot 1
 *	gate PORT
 *	egress PORT
 *	secret 64 lower-case hex digits
 */
#include "engine/proto/bootdoc.h"

#include <string.h>

#include "engine/base/text.h"

#define HEAD "kenaz-boot 1"

/**
 * bootdoc_write() - Write the document
 * @d:		Ports and secret
 * @out:	Appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err bootdoc_write(const struct bootdoc *d, struct buf *out)
{
	char hex[2 * BOOTDOC_SECRET_BYTES + 1];
	enum err e;

	text_hex(d->secret, sizeof(d->secret), hex);
	e = buf_printf(out, HEAD "\ngate %u\negress %u\nsecret %s\n",
		       d->gate_port, d->egress_port, hex);
	explicit_bzero(hex, sizeof(hex));
	return e;
}

/* The next line without its end; ERR_SHORT when there is none. */
static enum err take_line(struct span *text, struct span *ret_line)
{
	const uint8_t *end = text->len_bytes
				     ? memchr(text->data, '\n', text->len_bytes)
				     : NULL;
	size_t len;

	if (!end)
		return ERR_SHORT;
	len = (size_t)(end - text->data);
	*ret_line = span_of(text->data, len);
	*text = span_of(text->data + len + 1, text->len_bytes - len - 1);
	return ERR_OK;
}

static enum err take_value(struct span *text, const char *key,
			   struct span *ret_value)
{
	size_t len = strlen(key);
	struct span line;
	enum err e = take_line(text, &line);

	if (e != ERR_OK)
		return e;
	if (line.len_bytes <= len + 1 || memcmp(line.data, key, len) != 0 ||
	    line.data[len] != ' ')
		return ERR_FORMAT;
	*ret_value = span_of(line.data + len + 1, line.len_bytes - len - 1);
	return ERR_OK;
}

static enum err take_port(struct span *text, const char *key,
			  uint32_t *ret_port)
{
	struct span value;
	uint64_t port;
	enum err e = take_value(text, key, &value);

	if (e == ERR_OK)
		e = text_parse_u64(value, 1, UINT32_MAX - 1, &port);
	if (e == ERR_OK)
		*ret_port = (uint32_t)port;
	return e;
}

/**
 * bootdoc_parse() - Read the document
 * @text:	All of it, at most BOOTDOC_MAX_BYTES
 * @ret_doc:	Written on success; to be wiped by the caller
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_SHORT; ERR_FORMAT; ERR_RANGE for a port.
 */
enum err bootdoc_parse(struct span text, struct bootdoc *ret_doc)
{
	struct bootdoc d = {0};
	struct span value;
	enum err e;

	if (text.len_bytes > BOOTDOC_MAX_BYTES)
		return ERR_LIMIT;
	e = take_line(&text, &value);
	if (e == ERR_OK && !span_is(value, HEAD))
		e = ERR_FORMAT;
	if (e == ERR_OK)
		e = take_port(&text, "gate", &d.gate_port);
	if (e == ERR_OK)
		e = take_port(&text, "egress", &d.egress_port);
	if (e == ERR_OK)
		e = take_value(&text, "secret", &value);
	if (e == ERR_OK)
		e = text_unhex(value, d.secret, sizeof(d.secret));
	if (e == ERR_OK && text.len_bytes)
		e = ERR_FORMAT;
	if (e == ERR_OK)
		*ret_doc = d;
	explicit_bzero(&d, sizeof(d));
	return e;
}

/**
 * bootdoc_line() - What the host sends first on every stream to the guest
 * @d:		Document
 * @ret_line:	Hex digits and an end of line, no NUL; to be wiped
 */
void bootdoc_line(const struct bootdoc *d, char ret_line[BOOTDOC_LINE_BYTES])
{
	char hex[2 * BOOTDOC_SECRET_BYTES + 1];

	text_hex(d->secret, sizeof(d->secret), hex);
	memcpy(ret_line, hex, BOOTDOC_LINE_BYTES - 1);
	ret_line[BOOTDOC_LINE_BYTES - 1] = '\n';
	explicit_bzero(hex, sizeof(hex));
}

/**
 * bootdoc_line_matches() - Whether a stream's first line is the secret
 * @d:		Document
 * @line:	Without its end
 *
 * Takes the same time wherever two lines of equal length differ.
 */
bool bootdoc_line_matches(const struct bootdoc *d, struct span line)
{
	char wanted[BOOTDOC_LINE_BYTES];
	uint8_t differ = 0;
	size_t i;

	if (line.len_bytes != BOOTDOC_LINE_BYTES - 1)
		return false;
	bootdoc_line(d, wanted);
	for (i = 0; i < line.len_bytes; i++)
		differ =
			(uint8_t)(differ | (line.data[i] ^ (uint8_t)wanted[i]));
	explicit_bzero(wanted, sizeof(wanted));
	return differ == 0;
}
