/* SPDX-License-Identifier: Apache-2.0 */
/* image_keys.h - the public keys whose signatures of images count */
#ifndef KENAZ_PROTO_IMAGE_KEYS_H
#define KENAZ_PROTO_IMAGE_KEYS_H

#include "engine/base/minisign.h"

#define IMAGE_KEYS_MAX       32u
#define IMAGE_KEYS_MAX_BYTES 4096u /* all of them in a message */

struct image_keys {
	struct minisign_key list[IMAGE_KEYS_MAX];
	size_t count;
};

MUST_CHECK enum err image_keys_put(const struct image_keys *keys,
				   struct buf *out);
MUST_CHECK enum err image_keys_get(struct span bytes,
				   struct image_keys *ret_keys);

#endif
