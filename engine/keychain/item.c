/* SPDX-License-Identifier: Apache-2.0 */
/*
 * item.c - what the value of the keyring's item says
 *
 * Runs in: kenaz-keychain.
 * Trusts:  nothing: any program of the session may write such an item.
 * Never:   takes a key from a value that it would not have written itself.
 *
 * The value is text, as keyrings show it: "kenaz-vault-key:1:" and 64
 * lower-case hexadecimal digits.
 */
#include "engine/keychain/item.h"

#include <string.h>

#include "engine/base/text.h"

#define PREFIX       "kenaz-vault-key:1:"
#define PREFIX_BYTES (sizeof(PREFIX) - 1)

_Static_assert(ITEM_TEXT_BYTES == PREFIX_BYTES + 2 * ITEM_KEY_BYTES + 1,
	       "the text is a prefix, the digits and a NUL");

/**
 * item_write() - The value for a key
 * @key:	Borrowed
 * @ret_text:	Ended by a NUL; the caller wipes it
 */
void item_write(const uint8_t key[ITEM_KEY_BYTES],
		char ret_text[ITEM_TEXT_BYTES])
{
	memcpy(ret_text, PREFIX, PREFIX_BYTES);
	text_hex(key, ITEM_KEY_BYTES, ret_text + PREFIX_BYTES);
}

static bool is_lower_hex(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if (!((s.data[i] >= '0' && s.data[i] <= '9') ||
		      (s.data[i] >= 'a' && s.data[i] <= 'f')))
			return false;
	return true;
}

/**
 * item_read() - The key in a value
 * @text:	Untrusted
 * @ret_key:	Written on success
 *
 * Return: ERR_OK; ERR_SHORT; ERR_LIMIT; ERR_VERSION for a later form;
 *	   ERR_FORMAT.
 */
enum err item_read(struct span text, uint8_t ret_key[ITEM_KEY_BYTES])
{
	static const char any_version[] = "kenaz-vault-key:";
	struct span digits;

	if (text.len_bytes >= sizeof(any_version) - 1 &&
	    memcmp(text.data, any_version, sizeof(any_version) - 1) == 0 &&
	    (text.len_bytes < PREFIX_BYTES ||
	     memcmp(text.data, PREFIX, PREFIX_BYTES) != 0))
		return ERR_VERSION;
	if (text.len_bytes < ITEM_TEXT_BYTES - 1)
		return ERR_SHORT;
	if (text.len_bytes > ITEM_TEXT_BYTES - 1)
		return ERR_LIMIT;
	digits = span_of(text.data + PREFIX_BYTES, 2 * ITEM_KEY_BYTES);
	if (memcmp(text.data, PREFIX, PREFIX_BYTES) != 0 ||
	    !is_lower_hex(digits))
		return ERR_FORMAT;
	return text_unhex(digits, ret_key, ITEM_KEY_BYTES);
}
