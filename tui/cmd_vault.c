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
#include <unistd.h>

#include "engine/base/text.h"

#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/secret_talk.h"
#include "tui/wrap.h"

static const struct {
	const char *state, *text;
} states[] = {
	{"none", "there is none yet: the first 'kenaz secret set' makes it"},
	{"opening", "it is being opened"},
	{"open", "open"},
	{"locked", "locked: requests that need a key are refused"},
	{"failed", "it cannot be used: requests that need a key are refused"},
};

static const char *text_of(const char *state)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i].state, state) == 0)
			return states[i].text;
	return state;
}

static enum err put_line(struct buf *out, const char *name, const char *text)
{
	char shown[OUTPUT_CELL_MAX_BYTES];
	enum err e = buf_printf(out, "%-9s ", name);

	(void)text_escape_line(span_text(text), shown, sizeof(shown));
	if (e == ERR_OK)
		e = wrap_put(out, shown, wrap_width(STDOUT_FILENO), 10);
	return e == ERR_OK ? buf_put_u8(out, '\n') : e;
}

static enum err put_expiry(struct buf *out, const cJSON *status)
{
	const cJSON *expires =
		cJSON_GetObjectItemCaseSensitive(status, "expires");
	double left_s = app_number(expires, "left_s", 0);
	char text[256];

	if (!expires)
		return ERR_OK;
	(void)snprintf(text, sizeof(text),
		       "the session credentials in %.64s %s at %.32s%s",
		       app_text(expires, "secret"),
		       left_s > 0 ? "end" : "ended", app_text(expires, "at"),
		       left_s > 0 ? ""
				  : ": 'kenaz secret import --provider NAME' "
				    "stores fresh ones");
	return put_line(out, "expires", text);
}

static int print_status(struct app *app, const cJSON *status)
{
	bool there = strcmp(app_text(status, "state"), "none") != 0;
	const char *backend = app_text(status, "backend");
	char text[128];
	struct buf out;
	enum err e;

	buf_init(&out, OUTPUT_MAX_BYTES);
	e = put_line(&out, "vault", text_of(app_text(status, "state")));
	if (e == ERR_OK && app_text(status, "text")[0] && there)
		e = put_line(&out, "why", app_text(status, "text"));
	if (e == ERR_OK)
		e = put_line(&out, "opened by", backend);
	if (e == ERR_OK && strcmp(backend, app_text(status, "configured")) != 0)
		e = put_line(&out, "",
			     "kenaz.toml names another: 'kenaz secret rewrap' "
			     "moves it");
	(void)snprintf(text, sizeof(text), "%u (key %u, generation %u)",
		       (unsigned)app_number(status, "secrets", 0),
		       (unsigned)app_number(status, "key_id", 0),
		       (unsigned)app_number(status, "generation", 0));
	if (e == ERR_OK && strcmp(app_text(status, "state"), "open") == 0)
		e = put_line(&out, "secrets", text);
	if (e == ERR_OK)
		e = put_expiry(&out, status);
	if (e == ERR_OK)
		e = output_flush(&out);
	buf_fini(&out);
	return app_written(app, e);
}

static int cmd_status(struct app *app, struct args *args)
{
	cJSON *status = NULL;
	int code = app_call_slow(app, "secret.status", NULL, &status);

	(void)args;
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, status);
	code = print_status(app, status);
	cJSON_Delete(status);
	return code;
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
