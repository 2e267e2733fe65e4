/* SPDX-License-Identifier: Apache-2.0 */
/* image_list.h - which images there are, and where */
#ifndef KENAZ_CORE_IMAGE_LIST_H
#define KENAZ_CORE_IMAGE_LIST_H

#include "engine/core/engine.h"

#define IMAGE_LIST_MAX    64u
#define IMAGE_LIST_FOLDER "images" /* in the state folder: what users built */

struct image_list {
	char names[IMAGE_LIST_MAX][NAME_MAX_BYTES + 1];
	size_t count;
};

MUST_CHECK enum err image_list_folder(const struct engine *e,
				      char ret_path[PATHS_MAX_BYTES]);
MUST_CHECK enum err image_list_path(const struct engine *e, const char *name,
				    char ret_path[PATHS_MAX_BYTES]);
void image_list_read(const struct engine *e, struct image_list *ret_list);

#endif
