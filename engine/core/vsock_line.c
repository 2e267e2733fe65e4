/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_line.c - the one line that a client of a session's socket sends
 *
 * Runs in: kenazd; pure.
 * Trusts:  nothing.
 * Never:   looks at a byte after the line's end: that is for the guest.
 *
 * Firecracker's protocol (docs/vsock.md there): `CONNECT PORT\n`, answered
 * `OK PORT\n` with the port on the host's side. Departures: the word is in
 * upper case only, exactly one space, no leading zeros.
 */
#include "engine/core/vsock_line.h"

#include <string.h>

#include "engine/base/text.h"

#define WORD     "CONNECT "
#define WORD_LEN (sizeof(WORD) - 1)
#define PORT_MAX (UINT32_MAX - 1) /* the last one means "any" */

/**
 * vsock_line_parse() - Take the line from what arrived so far
 * @got:	First bytes of the stream
 * @ret_bytes:	Length of the line with its end; written when there is one
 * @ret_port:	Port in the guest; written on success
 *
 * Return: ERR_OK; ERR_AGAIN when more has to arrive; ERR_LIMIT when no end
 *	   comes within VSOCK_LINE_MAX_BYTES; ERR_FORMAT; ERR_RANGE for a port
 *	   that does not exist.
 */
enum err vsock_line_parse(struct span got, size_t *ret_bytes,
			  uint32_t *ret_port)
{
	size_t seen = got.len_bytes < VSOCK_LINE_MAX_BYTES
			      ? got.len_bytes
			      : VSOCK_LINE_MAX_BYTES;
	const uint8_t *end = seen ? memchr(got.data, '\n', seen) : NULL;
	struct span digits;
	uint64_t port;
	enum err e;

	if (!end)
		return seen < VSOCK_LINE_MAX_BYTES ? ERR_AGAIN : ERR_LIMIT;
	*ret_bytes = (size_t)(end - got.data) + 1;
	if (*ret_bytes < WORD_LEN + 2 || memcmp(got.data, WORD, WORD_LEN) != 0)
		return ERR_FORMAT;
	digits = span_of(got.data + WORD_LEN, *ret_bytes - 1 - WORD_LEN);
	if (digits.data[0] == '0' && digits.len_bytes > 1)
		return ERR_FORMAT;
	e = text_parse_u64(digits, 1, PORT_MAX, &port);
	if (e == ERR_OK)
		*ret_port = (uint32_t)port;
	return e;
}
