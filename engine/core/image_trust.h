/* SPDX-License-Identifier: Apache-2.0 */
/* image_trust.h - whose signatures of images this engine accepts */
#ifndef KENAZ_CORE_IMAGE_TRUST_H
#define KENAZ_CORE_IMAGE_TRUST_H

#include <sys/types.h>

#include "engine/core/engine.h"
#include "engine/proto/image_keys.h"

#define IMAGE_TRUST_FOLDER "image-keys"
#define IMAGE_TRUST_SUFFIX ".pub"

/* A file that was passed over, and why, for the log and doctor. */
typedef void (*image_trust_note_fn)(void *context, const char *path,
				    const char *why);

MUST_CHECK enum err image_trust_find(struct engine *e, const char *option);
MUST_CHECK enum err image_trust_read(const char *folder, uid_t engine_uid,
				     image_trust_note_fn note, void *context,
				     struct image_keys *keys);
void image_trust_load(const struct engine *e, image_trust_note_fn note,
		      void *context, struct image_keys *ret_keys);
MUST_CHECK enum err image_trust_send(const struct engine *e, struct chan *chan);

#endif
