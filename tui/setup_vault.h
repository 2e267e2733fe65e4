/* SPDX-License-Identifier: Apache-2.0 */
/* setup_vault.h - what opens the vault, as a part of kenaz setup */
#ifndef KENAZ_TUI_SETUP_VAULT_H
#define KENAZ_TUI_SETUP_VAULT_H

#include "tui/app.h"

struct setup_vault {
	char backend[33]; /* to be written; "": as it is */
	bool make;        /* there is no vault yet */
};

int setup_vault_ask(struct app *app, bool again, struct setup_vault *ret);
int setup_vault_show(struct app *app, const struct setup_vault *v);
int setup_vault_write(struct app *app, struct setup_vault *v);

#endif
