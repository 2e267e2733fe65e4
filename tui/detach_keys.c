/* SPDX-License-Identifier: Apache-2.0 */
/*
 * detach_keys.c - the prefix Ctrl-] in what a user types
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   holds a key back but the prefix itself.
 *
 * Ctrl-] and then: d leaves, Ctrl-] sends one Ctrl-], any other key shows
 * what these are and is not sent.
 */
#include "tui/detach_keys.h"

/**
 * detach_keys_filter() - Take the prefix out of typed bytes
 * @keys:	State between calls, zeroed at first
 * @in:		Borrowed
 * @out:	Gets the bytes that are meant for the program
 * @ret_action:	The last thing that the user asked of kenaz; DETACH_LEAVE
 *		ends the reading, what follows is dropped
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err detach_keys_filter(struct detach_keys *keys, struct span in,
			    struct buf *out, enum detach_action *ret_action)
{
	enum err e = ERR_OK;
	size_t i;

	*ret_action = DETACH_NONE;
	for (i = 0; e == ERR_OK && i < in.len_bytes; i++) {
		uint8_t c = in.data[i];

		if (!keys->prefixed && c == DETACH_PREFIX) {
			keys->prefixed = true;
		} else if (!keys->prefixed || c == DETACH_PREFIX) {
			keys->prefixed = false;
			e = buf_put_u8(out, c);
		} else {
			keys->prefixed = false;
			*ret_action = DETACH_HELP;
			if (c == 'd' || c == 'D') {
				*ret_action = DETACH_LEAVE;
				break;
			}
		}
	}
	return e;
}
