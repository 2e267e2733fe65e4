/* SPDX-License-Identifier: Apache-2.0 */
/* screen_app.h - the full-screen interface: kenaz without a command */
#ifndef KENAZ_TUI_SCREEN_APP_H
#define KENAZ_TUI_SCREEN_APP_H

#include "tui/app.h"

int screen_app_run(struct app *app);

#endif
