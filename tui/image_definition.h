/* SPDX-License-Identifier: Apache-2.0 */
/* image_definition.h - the file that says what an image is made of */
#ifndef KENAZ_TUI_IMAGE_DEFINITION_H
#define KENAZ_TUI_IMAGE_DEFINITION_H

#include <stdint.h>

#include "engine/base/conf.h"
#include "engine/proto/limits.h"

#define IMAGE_LIST_MAX_BYTES 16384u /* the words of one list */
#define IMAGE_WORD_MAX_BYTES 214u   /* npm's own limit of a name */

/* Lists are words with one space between. */
struct image_definition {
	char name[NAME_MAX_BYTES + 1];
	char cpu[64];
	uint32_t memory_min_mib;
	char packages[IMAGE_LIST_MAX_BYTES];
	char npm[IMAGE_LIST_MAX_BYTES];
};

MUST_CHECK enum err image_definition_parse(struct span text, const char *file,
					   struct conf_error *error,
					   struct image_definition *ret);

#endif
