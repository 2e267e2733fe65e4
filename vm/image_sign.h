/* SPDX-License-Identifier: Apache-2.0 */
/* image_sign.h - a manifest that somebody trusted has signed */
#ifndef KENAZ_VM_IMAGE_SIGN_H
#define KENAZ_VM_IMAGE_SIGN_H

#include "engine/proto/image_keys.h"
#include "engine/proto/manifest.h"

MUST_CHECK enum err image_sign_check(struct span manifest,
				     struct span signature,
				     const struct image_keys *keys,
				     struct image_signer *ret_signer,
				     struct buf *reason);
MUST_CHECK enum err image_sign_read(int dir_fd, const struct image_keys *keys,
				    struct buf *ret_manifest,
				    struct image_signer *ret_signer,
				    struct buf *reason);

#endif
