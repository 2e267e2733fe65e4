/* SPDX-License-Identifier: Apache-2.0 */
/* setup_key.h - a provider's key, from the shell or typed */
#ifndef KENAZ_TUI_SETUP_KEY_H
#define KENAZ_TUI_SETUP_KEY_H

#include <stdbool.h>

#include "tui/secret_talk.h"

int setup_key_take(struct app *app, const char *name, const char *usual_secret,
		   bool aws, struct secret_text *key);

#endif
