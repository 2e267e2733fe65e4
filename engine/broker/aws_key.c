/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aws_key.c - AWS credentials as one line of text
 *
 * Runs in: kenaz-broker.
 * Trusts:  nothing: somebody typed or piped the text.
 * Never:   copies a part of it, guesses at what was meant.
 *
 * ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN], without white space. A
 * colon is in none of the three.
 */
#include "engine/broker/aws_key.h"

#include <string.h>

#define PARTS_MAX 3u

static bool is_alnum(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

static bool part_valid(struct span s, size_t min_bytes, size_t max_bytes,
		       const char *others)
{
	size_t i;

	if (s.len_bytes < min_bytes || s.len_bytes > max_bytes)
		return false;
	for (i = 0; i < s.len_bytes; i++)
		if (!is_alnum(s.data[i]) &&
		    (s.data[i] == '\0' || !strchr(others, s.data[i])))
			return false;
	return true;
}

/**
 * aws_key_parse() - Take a credential apart
 * @text:	Borrowed
 * @ret_key:	Borrows @text; written on success
 *
 * Return: ERR_OK; ERR_FORMAT for anything but two or three valid parts.
 */
enum err aws_key_parse(struct span text, struct aws_key *ret_key)
{
	struct span part[PARTS_MAX] = {0};
	size_t count = 0;

	for (;;) {
		const uint8_t *colon =
			text.len_bytes ? memchr(text.data, ':', text.len_bytes)
				       : NULL;
		size_t len =
			colon ? (size_t)(colon - text.data) : text.len_bytes;

		if (count == PARTS_MAX)
			return ERR_FORMAT;
		part[count++] = span_of(text.data, len);
		if (!colon)
			break;
		text = span_of(colon + 1, text.len_bytes - len - 1);
	}
	if (count < 2 ||
	    !part_valid(part[0], AWS_KEY_ID_MIN_BYTES, AWS_KEY_ID_MAX_BYTES,
			"_") ||
	    !part_valid(part[1], AWS_KEY_SECRET_MIN_BYTES,
			AWS_KEY_SECRET_MAX_BYTES, "/+=") ||
	    (count == 3 &&
	     !part_valid(part[2], 1, AWS_KEY_TOKEN_MAX_BYTES, "/+=_-.")))
		return ERR_FORMAT;
	*ret_key = (struct aws_key){part[0], part[1], part[2]};
	return ERR_OK;
}
