/* SPDX-License-Identifier: Apache-2.0 */
/* image_builder.h - run the script that builds an image, sign, put in place */
#ifndef KENAZ_TUI_IMAGE_BUILDER_H
#define KENAZ_TUI_IMAGE_BUILDER_H

#include <sys/types.h>

#include "tui/app.h"
#include "tui/image_definition.h"

#define IMAGE_BUILDER_PATH_BYTES 4096u

int image_builder_make_folder(const struct app *app, const char *path,
			      mode_t mode);
int image_builder_run(const struct app *app, const struct image_definition *d,
		      const char *folder, const char *key);

#endif
