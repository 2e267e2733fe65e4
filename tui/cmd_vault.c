/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_vault.c - kenaz secret status, unlock and rewrap
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   takes a passphrase as an argument or shows it; see secret_talk.c.
 */
#include <stdio.h>
#include <string.h>

#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/secret_talk.h"

static int cmd_status(struct app *app, struct args *args)
{
	(void)args;
	return cmd_object(app, "secret.status", NULL);
}

const struct command command_secret_status = {
	.name = "secret status",
	.arguments = "",
	.summary = "Say whether the vault is open, and what wraps its key",
	.options = cmd_no_options,
	.run = cmd_status,
};

static int cmd_unlock(struct app *app, struct args *args)
{
	cJSON *result = NULL;
	int code = secret_talk_unlock(app, &result);

	(void)args;
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "the vault is open (%s, key %.0f)",
		 app_text(result, "backend"), app_number(result, "key_id", 0));
	cJSON_Delete(result);
	return 0;
}

const struct command command_secret_unlock = {
	.name = "secret unlock",
	.arguments = "",
	.summary = "Open the vault, or make it, with its passphrase or keyring",
	.text = "A passphrase is read without showing it, from a pipe as one "
		"line; a\nkeyring may ask for its own. The vault stays open "
		"until the engine ends.",
	.options = cmd_no_options,
	.run = cmd_unlock,
};

static int rewrap(struct app *app, struct secret_text *old,
		  struct secret_text *next, cJSON **ret_result)
{
	const struct secret_text *lines[SECRET_TALK_LINES_MAX] = {NULL};
	cJSON *ready = NULL;
	uint64_t id = 0;
	int code = secret_talk_begin(app, "secret.rewrap", NULL, &id, &ready);

	if (code != 0)
		return code;
	app_note(app, "from %s to %s", app_text(ready, "backend"),
		 app_text(ready, "next"));
	if (strcmp(app_text(ready, "backend"), "passphrase") == 0 &&
	    strcmp(app_text(ready, "state"), "none") != 0) {
		lines[0] = old;
		code = secret_talk_old_passphrase(app, old);
	}
	if (code == 0 && strcmp(app_text(ready, "next"), "passphrase") == 0 &&
	    strcmp(app_text(ready, "state"), "none") != 0) {
		lines[1] = next;
		code = secret_talk_new_passphrase(app, next);
	}
	if (code == 0)
		code = secret_talk_end(app, id, lines, SECRET_TALK_LINES_MAX,
				       ret_result);
	cJSON_Delete(ready);
	return code;
}

static int cmd_rewrap(struct app *app, struct args *args)
{
	struct secret_text old = {0}, next = {0};
	cJSON *result = NULL;
	int code = secret_text_new(app, &old);

	(void)args;
	if (code == 0)
		code = secret_text_new(app, &next);
	if (code == 0)
		code = rewrap(app, &old, &next, &result);
	secret_text_free(&old);
	secret_text_free(&next);
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "the vault is wrapped by %s (key %.0f)",
		 app_text(result, "backend"), app_number(result, "key_id", 0));
	cJSON_Delete(result);
	return 0;
}

const struct command command_secret_rewrap = {
	.name = "secret rewrap",
	.arguments = "",
	.summary = "Wrap the vault's key anew, as kenaz.toml says now",
	.text = "Changes the backend, or the passphrase, or only the keys. The "
		"old state\nstays until the new one is written. From a pipe: "
		"the passphrase in force\nand the next one, a line each, as "
		"far as there are any.",
	.options = cmd_no_options,
	.run = cmd_rewrap,
};
