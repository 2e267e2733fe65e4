/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.c - the last bytes of a serial console, bounded
 *
 * Runs in: kenaz-launch.
 * Trusts:  nothing: the guest writes it.
 * Never:   keeps more than the tail, shows a byte unescaped, reads on after
 *	    its limit.
 */
#include "vm/console.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/base/text.h"

#define CONSOLE_TURN_READS 16

/* A mark with a prefix of itself inside would need more than this. */
static void look_for_mark(struct console *c, uint8_t byte)
{
	if (!c->mark || c->found)
		return;
	if (byte != (uint8_t)c->mark[c->matched_bytes])
		c->matched_bytes = 0;
	if (byte == (uint8_t)c->mark[c->matched_bytes])
		c->matched_bytes++;
	c->found = c->mark[c->matched_bytes] == '\0';
}

/**
 * console_put() - Take bytes the guest wrote
 * @c:		Console
 * @bytes:	Untrusted
 */
void console_put(struct console *c, struct span bytes)
{
	size_t i;

	for (i = 0; i < bytes.len_bytes; i++) {
		c->tail[c->at_bytes] = bytes.data[i];
		c->at_bytes = (c->at_bytes + 1) % CONSOLE_TAIL_BYTES;
		look_for_mark(c, bytes.data[i]);
	}
	c->total_bytes += bytes.len_bytes;
}

/**
 * console_tail() - The last bytes, escaped, lines kept
 * @c:		Console
 * @out:	Appended to; what does not fit is left out at the front
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_LIMIT when nothing at all fits.
 */
enum err console_tail(const struct console *c, struct buf *out)
{
	uint8_t line[CONSOLE_TAIL_BYTES];
	size_t have = c->total_bytes < CONSOLE_TAIL_BYTES
			      ? (size_t)c->total_bytes
			      : CONSOLE_TAIL_BYTES;
	size_t first =
		(c->at_bytes + CONSOLE_TAIL_BYTES - have) % CONSOLE_TAIL_BYTES;
	size_t i, from = 0;
	enum err e;

	for (i = 0; i < have; i++)
		line[i] = c->tail[(first + i) % CONSOLE_TAIL_BYTES];
	/* Escaping makes hostile bytes longer: halve until it fits. */
	do {
		size_t before = out->len_bytes;

		e = text_escape(span_of(line + from, have - from), true, out);
		if (e == ERR_OK)
			return e;
		buf_truncate(out, before);
		from += (have - from + 1) / 2;
	} while (e == ERR_LIMIT && from < have);
	return e;
}

/** console_limit() - How much it may write, bytes */
uint64_t console_limit(const struct console *c)
{
	return c->max_bytes ? c->max_bytes : CONSOLE_MAX_BYTES;
}

/**
 * console_read() - Read what is there
 * @c:	Console
 * @fd:	Stream socket, borrowed
 *
 * Return: ERR_OK; ERR_CLOSED at its end; ERR_LIMIT after console_limit():
 *	   the caller closes @fd, QEMU then drops what the guest writes.
 */
enum err console_read(struct console *c, int fd)
{
	int i;

	for (i = 0; i < CONSOLE_TURN_READS; i++) {
		uint8_t chunk[4096];
		ssize_t n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? ERR_OK : ERR_CLOSED;
		if (n == 0)
			return ERR_CLOSED;
		console_put(c, span_of(chunk, (size_t)n));
		if (c->total_bytes > console_limit(c)) {
			c->cut = true;
			return ERR_LIMIT;
		}
	}
	return ERR_OK;
}
