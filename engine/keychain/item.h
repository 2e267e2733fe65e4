/* SPDX-License-Identifier: Apache-2.0 */
/* item.h - what the value of the keyring's item says */
#ifndef KENAZ_KEYCHAIN_ITEM_H
#define KENAZ_KEYCHAIN_ITEM_H

#include <stdint.h>

#include "engine/base/buf.h"

#define ITEM_KEY_BYTES  32u
#define ITEM_TEXT_BYTES 83u /* of the value, with a NUL */

void item_write(const uint8_t key[ITEM_KEY_BYTES],
		char ret_text[ITEM_TEXT_BYTES]);
MUST_CHECK enum err item_read(struct span text,
			      uint8_t ret_key[ITEM_KEY_BYTES]);

#endif
