/* SPDX-License-Identifier: Apache-2.0 */
/* image_key.h - files of keys that sign images */
#ifndef KENAZ_TUI_IMAGE_KEY_H
#define KENAZ_TUI_IMAGE_KEY_H

#include "engine/base/minisign.h"
#include "tui/app.h"

int image_key_make(const struct app *app, const char *path,
		   const char *public_path);
int image_key_sign(const struct app *app, const char *key_path,
		   const char *folder);
int image_key_write_public(const struct app *app, const char *key_path,
			   const char *public_path);

#endif
