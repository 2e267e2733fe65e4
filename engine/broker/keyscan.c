/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyscan.c - cut a provider's key out of what the provider answers
 *
 * Runs in: kenaz-broker.
 * Trusts:  nothing that it scans.
 * Never:   parses what it scans, lets the key pass because a chunk border
 *	    falls into it.
 *
 * Knuth-Morris-Pratt over a stream. Bytes that may be the start of the key
 * are held back; being a prefix of it, they need no buffer. The failure table
 * mirrors the key's structure, so it lies in locked memory too. A mark takes
 * the key's place: what stood before and behind it must not make a new one.
 */
#include "engine/broker/keyscan.h"

#include <stdlib.h>
#include <string.h>

struct keyscan_key {
	struct secret *key;
	struct secret *table; /* u16 each: longest border of key[0..i] */
};

static uint16_t *table_of(const struct keyscan_key *key)
{
	return (uint16_t *)(void *)key->table->data;
}

static void fill(struct keyscan_key *key)
{
	const uint8_t *k = key->key->data;
	uint16_t *table = table_of(key);
	size_t i, border = 0;

	table[0] = 0;
	for (i = 1; i < key->key->len_bytes; i++) {
		while (border && k[i] != k[border])
			border = table[border - 1];
		if (k[i] == k[border])
			border++;
		table[i] = (uint16_t)border;
	}
}

/**
 * keyscan_key_new() - Prepare a key
 * @key:	Borrowed; KEYSCAN_MIN_BYTES to SECRET_MAX_BYTES
 * @ret_key:	Owned by the caller
 *
 * Return: ERR_OK; ERR_RANGE for a length outside the limits; ERR_MEMORY;
 *	   ERR_LIMIT when memory cannot be locked.
 */
enum err keyscan_key_new(struct span key, struct keyscan_key **ret_key)
{
	struct keyscan_key *made;
	enum err e;

	if (key.len_bytes < KEYSCAN_MIN_BYTES ||
	    key.len_bytes > SECRET_MAX_BYTES)
		return ERR_RANGE;
	made = calloc(1, sizeof(*made));
	if (!made)
		return ERR_MEMORY;
	e = secret_copy(key, &made->key);
	/* libsodium aligns the end, so an even length aligns the start. */
	if (e == ERR_OK)
		e = secret_new((key.len_bytes * sizeof(uint16_t) + 15) / 16 *
				       16,
			       &made->table);
	if (e != ERR_OK) {
		keyscan_key_free(made);
		return e;
	}
	fill(made);
	*ret_key = made;
	return ERR_OK;
}

/** keyscan_key_free() - Wipe and release; NULL is accepted */
void keyscan_key_free(struct keyscan_key *key)
{
	if (!key)
		return;
	secret_release(key->key);
	secret_release(key->table);
	free(key);
}

/** keyscan_key_bytes() - Length of the key; 0 for NULL */
size_t keyscan_key_bytes(const struct keyscan_key *key)
{
	return key ? key->key->len_bytes : 0;
}

/**
 * keyscan_init() - Start scanning a stream
 * @scan:	Caller's memory
 * @key:	Borrowed for the life of the scan; NULL passes all bytes
 */
void keyscan_init(struct keyscan *scan, const struct keyscan_key *key)
{
	*scan = (struct keyscan){.key = key};
}

/* Releases held bytes until the next byte fits or nothing is held. */
static enum err fall_back(struct keyscan *scan, uint8_t next, struct buf *out)
{
	const uint8_t *k = scan->key->key->data;
	const uint16_t *table = table_of(scan->key);
	enum err e = ERR_OK;

	while (e == ERR_OK && scan->matched && k[scan->matched] != next) {
		size_t border = table[scan->matched - 1];

		e = buf_put(out, k, scan->matched - border);
		scan->matched = border;
	}
	return e;
}

/**
 * keyscan_feed() - Pass the next bytes on without the key
 * @scan:	Scan
 * @in:		Borrowed
 * @out:	Appended to: at most the length of @in and of what was held
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err keyscan_feed(struct keyscan *scan, struct span in, struct buf *out)
{
	const uint8_t *k;
	size_t len, i = 0;
	enum err e = ERR_OK;

	if (!scan->key)
		return buf_put_span(out, in);
	k = scan->key->key->data;
	len = scan->key->key->len_bytes;
	while (e == ERR_OK && i < in.len_bytes) {
		if (scan->matched == 0) {
			const uint8_t *at =
				memchr(in.data + i, k[0], in.len_bytes - i);
			size_t run = at ? (size_t)(at - in.data) - i
					: in.len_bytes - i;

			e = buf_put(out, in.data + i, run);
			i += run;
			if (e != ERR_OK || !at)
				break;
		}
		e = fall_back(scan, in.data[i], out);
		if (e != ERR_OK)
			break;
		if (k[scan->matched] != in.data[i])
			continue;
		i++;
		if (++scan->matched == len) {
			scan->matched = 0;
			scan->found++;
			e = buf_put_text(out, KEYSCAN_MARK);
		}
	}
	return e;
}

/**
 * keyscan_end() - Pass on what was held back: the stream ended inside
 * @scan:	Scan
 * @out:	Appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err keyscan_end(struct keyscan *scan, struct buf *out)
{
	enum err e = ERR_OK;

	if (scan->key && scan->matched)
		e = buf_put(out, scan->key->key->data, scan->matched);
	scan->matched = 0;
	return e;
}
