/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aws_key.c - AWS credentials as one line of text
 *
 * Runs in: kenaz-broker.
 * Trusts:  nothing: somebody typed or piped the text.
 * Never:   copies a part of it, guesses at what was meant.
 *
 * ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN[:expires=SECONDS]], without
 * white space. A colon is in none of them; SECONDS is when the token ends, of
 * Unix time.
 */
#include "engine/broker/aws_key.h"

#include <string.h>

#include "engine/base/text.h"

#define PARTS_MAX   4u
#define EXPIRES     "expires="
#define EXPIRES_MAX 99999999999u /* seconds, the year 5138 */

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

static bool read_expiry(struct span part, uint64_t *ret_wall_s)
{
	size_t len = sizeof(EXPIRES) - 1;

	return part.len_bytes > len && memcmp(part.data, EXPIRES, len) == 0 &&
	       text_parse_u64(span_of(part.data + len, part.len_bytes - len), 1,
			      EXPIRES_MAX, ret_wall_s) == ERR_OK;
}

/**
 * aws_key_parse() - Take a credential apart
 * @text:	Borrowed
 * @ret_key:	Borrows @text; written on success
 *
 * Return: ERR_OK; ERR_FORMAT for anything but two, three or four valid
 *	   parts.
 */
enum err aws_key_parse(struct span text, struct aws_key *ret_key)
{
	struct span part[PARTS_MAX] = {0};
	uint64_t expires_wall_s = 0;
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
	    (count >= 3 &&
	     !part_valid(part[2], 1, AWS_KEY_TOKEN_MAX_BYTES, "/+=_-.")) ||
	    (count == 4 && !read_expiry(part[3], &expires_wall_s)))
		return ERR_FORMAT;
	*ret_key = (struct aws_key){part[0], part[1], part[2], expires_wall_s};
	return ERR_OK;
}
