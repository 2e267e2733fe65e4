/* SPDX-License-Identifier: Apache-2.0 */
/* image.h - an image's files, verified against its manifest */
#ifndef KENAZ_VM_IMAGE_H
#define KENAZ_VM_IMAGE_H

#include "engine/proto/image_keys.h"
#include "engine/proto/manifest.h"

MUST_CHECK enum err image_read(int dir_fd, const char *name,
			       const struct image_keys *keys,
			       struct image *ret_image, struct buf *reason);
MUST_CHECK enum err image_open(int dir_fd, const char *name,
			       const struct image_keys *keys,
			       struct image *ret_image, struct buf *reason);
MUST_CHECK enum err image_inspect(int dir_fd, const char *name,
				  const struct image_keys *keys, bool deep,
				  struct image *ret_image,
				  struct buf *ret_packages, struct buf *reason);
void image_close(struct image *image);

#endif
