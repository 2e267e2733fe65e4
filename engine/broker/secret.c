/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret.c - bytes in locked memory that no core file or swap ever sees
 *
 * Runs in: kenaz-broker.
 * Trusts:  libsodium's allocator for guard pages, canary and wiping.
 * Never:   hands out memory that could not be locked, prints anything.
 *
 * sodium_malloc() returns memory even where mlock(2) failed, so the lock is
 * asked for again and checked.
 */
#include "engine/broker/secret.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

/**
 * secret_new() - Make room for a secret in locked memory
 * @len_bytes:	Length, at least 1; contents are undefined
 * @ret_secret:	Owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_LIMIT when memory cannot be locked
 *	   (RLIMIT_MEMLOCK).
 */
enum err secret_new(size_t len_bytes, struct secret **ret_secret)
{
	struct secret *s = calloc(1, sizeof(*s));

	if (!s)
		return ERR_MEMORY;
	s->data = sodium_malloc(len_bytes);
	if (!s->data) {
		free(s);
		return ERR_MEMORY;
	}
	s->len_bytes = len_bytes;
	if (sodium_mlock(s->data, len_bytes) != 0) {
		secret_release(s);
		return ERR_LIMIT;
	}
	*ret_secret = s;
	return ERR_OK;
}

/**
 * secret_copy() - Copy bytes into locked memory
 * @s:		Borrowed, not empty; the caller wipes it
 * @ret_secret:	Owned by the caller; written on success
 *
 * Return: as secret_new().
 */
enum err secret_copy(struct span s, struct secret **ret_secret)
{
	struct secret *made;
	enum err e = secret_new(s.len_bytes, &made);

	if (e != ERR_OK)
		return e;
	memcpy(made->data, s.data, s.len_bytes);
	*ret_secret = made;
	return ERR_OK;
}

/**
 * secret_release() - Wipe and release
 * @s:	Secret, or NULL
 */
void secret_release(struct secret *s)
{
	if (!s)
		return;
	sodium_free(s->data);
	free(s);
}

/** secret_span() - Borrow the bytes; empty for NULL */
struct span secret_span(const struct secret *s)
{
	return s ? span_of(s->data, s->len_bytes) : (struct span){0};
}

/**
 * secret_check_text() - Check a secret that somebody typed or piped
 * @s:			Borrowed
 * @ret_trimmed:	The same without one final LF or CR LF; borrowed
 *
 * A provider's key goes into a header, so it is printable ASCII without a
 * space at either end.
 *
 * Return: ERR_OK; ERR_SHORT when nothing is left; ERR_LIMIT past
 *	   SECRET_MAX_BYTES; ERR_FORMAT for any other character.
 */
enum err secret_check_text(struct span s, struct span *ret_trimmed)
{
	size_t i;

	if (s.len_bytes && s.data[s.len_bytes - 1] == '\n')
		s.len_bytes--;
	if (s.len_bytes && s.data[s.len_bytes - 1] == '\r')
		s.len_bytes--;
	if (s.len_bytes == 0)
		return ERR_SHORT;
	if (s.len_bytes > SECRET_MAX_BYTES)
		return ERR_LIMIT;
	for (i = 0; i < s.len_bytes; i++)
		if (s.data[i] < 0x20 || s.data[i] > 0x7e)
			return ERR_FORMAT;
	if (s.data[0] == ' ' || s.data[s.len_bytes - 1] == ' ')
		return ERR_FORMAT;
	*ret_trimmed = s;
	return ERR_OK;
}
