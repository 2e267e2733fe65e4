/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_keys.c - the keys that core tells each launcher to trust
 *
 * Runs in: kenazd, kenaz-launch.
 * Trusts:  core for the keys; no length in the bytes.
 * Never:   reads a file.
 *
 * In a message: for each key its name (length-prefixed), id, public key.
 */
#include "engine/proto/image_keys.h"

#include <string.h>

#include "engine/base/text.h"

/**
 * image_keys_put() - Append keys as a message carries them
 * @keys:	Borrowed
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err image_keys_put(const struct image_keys *keys, struct buf *out)
{
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; i < keys->count && e == ERR_OK; i++) {
		const struct minisign_key *key = &keys->list[i];

		e = buf_put_lp(out, span_text(key->name));
		if (e == ERR_OK)
			e = buf_put(out, key->id, sizeof(key->id));
		if (e == ERR_OK)
			e = buf_put(out, key->public_key,
				    sizeof(key->public_key));
	}
	return e;
}

/**
 * image_keys_get() - Read the keys of a message
 * @bytes:	Borrowed
 * @ret_keys:	Written on success
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT for more than IMAGE_KEYS_MAX.
 */
enum err image_keys_get(struct span bytes, struct image_keys *ret_keys)
{
	struct reader r;

	ret_keys->count = 0;
	reader_init(&r, bytes);
	while (reader_left(&r)) {
		struct minisign_key *key = &ret_keys->list[ret_keys->count];
		struct span name, id, public_key;

		if (ret_keys->count == IMAGE_KEYS_MAX)
			return ERR_LIMIT;
		name = reader_get_lp(&r, MINISIGN_NAME_MAX_BYTES);
		id = reader_get_span(&r, MINISIGN_ID_BYTES);
		public_key = reader_get_span(&r, MINISIGN_PUBLIC_BYTES);
		if (r.status != ERR_OK ||
		    !text_is_name(name, MINISIGN_NAME_MAX_BYTES) ||
		    span_copy_text(name, key->name, sizeof(key->name)) !=
			    ERR_OK)
			return ERR_FORMAT;
		memcpy(key->id, id.data, MINISIGN_ID_BYTES);
		memcpy(key->public_key, public_key.data, MINISIGN_PUBLIC_BYTES);
		ret_keys->count++;
	}
	return ERR_OK;
}
