/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setup_vault.c - what opens the vault, as a part of kenaz setup
 *
 * Runs in: kenaz.
 * Trusts:  its user; the engine for what it found on this machine.
 * Never:   chooses for its user: a place that cannot be used is shown with the
 *	    reason, and what was chosen is shown before it is written.
 */
#include "tui/setup_vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/cmd_common.h"
#include "tui/secret_talk.h"
#include "tui/setup_ask.h"

#define CHOICES_MAX 8u

struct choice {
	const char *backend, *text;
	bool usable;
};

static bool has_desktop(void)
{
	const char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");

	return (x && *x) || (wayland && *wayland);
}

static size_t read_choices(const cJSON *result, struct choice ret[CHOICES_MAX])
{
	const cJSON *row;
	size_t count = 0;

	cJSON_ArrayForEach(row,
			   cJSON_GetObjectItemCaseSensitive(result, "choices"))
	{
		if (count == CHOICES_MAX)
			break;
		ret[count++] =
			(struct choice){.backend = app_text(row, "backend"),
					.text = app_text(row, "text"),
					.usable = app_is_true(row, "usable")};
	}
	return count;
}

/*
 * systemd's credential, where there is one, was put there for this. A keyring
 * needs a desktop that has it open: a bus alone, as any login has, is none.
 */
static size_t usual_choice(const struct choice *choices, size_t count,
			   const char *configured)
{
	size_t usual = 0, i;

	for (i = 0; i < count; i++)
		if (strcmp(choices[i].backend, configured) == 0 &&
		    choices[i].usable)
			usual = i;
	for (i = 0; i < count; i++)
		if (choices[i].usable &&
		    (strcmp(choices[i].backend, "systemd-creds") == 0 ||
		     (strcmp(choices[i].backend, "secret-service") == 0 &&
		      has_desktop())))
			usual = i;
	return usual;
}

static bool pick(const struct choice *choices, size_t count, size_t usual,
		 size_t *ret_chosen)
{
	size_t i;

	setup_say("The key is kept encrypted, in a vault of the engine. What "
		  "opens the vault?\n");
	for (i = 0; i < count; i++)
		setup_say("  %zu) %-15s %s%s\n", i + 1, choices[i].backend,
			  choices[i].usable ? "" : "not here: ",
			  choices[i].text);
	for (;;) {
		if (!setup_number("Vault", count, usual, ret_chosen))
			return false;
		if (choices[*ret_chosen].usable)
			return true;
		setup_say("That is not possible here: %s.\n",
			  choices[*ret_chosen].text);
	}
}

static bool is_usable(const struct choice *choices, size_t count,
		      const char *backend)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(choices[i].backend, backend) == 0)
			return choices[i].usable;
	return false;
}

/**
 * setup_vault_ask() - Ask what opens the vault, where there is none yet
 * @app:	Context
 * @again:	What kenaz.toml says did not work
 * @ret:	Always written
 *
 * Nothing is asked where kenaz.toml names a place that can be used.
 *
 * Return: 0; SETUP_LEFT; or the exit code after the reason was printed.
 */
int setup_vault_ask(struct app *app, bool again, struct setup_vault *ret)
{
	struct choice choices[CHOICES_MAX];
	const char *configured;
	cJSON *result = NULL;
	size_t count, chosen;
	int code = app_call(app, "vault.choices", NULL, &result);

	*ret = (struct setup_vault){0};
	if (code != 0)
		return code;
	ret->make = strcmp(app_text(result, "state"), "none") == 0;
	configured = app_text(result, "configured");
	count = read_choices(result, choices);
	if (!ret->make || count == 0 ||
	    (!again && app_is_true(result, "set") &&
	     is_usable(choices, count, configured)))
		goto out;
	if (!pick(choices, count, usual_choice(choices, count, configured),
		  &chosen))
		code = SETUP_LEFT;
	else if (again || !app_is_true(result, "set") ||
		 strcmp(choices[chosen].backend, configured) != 0)
		(void)snprintf(ret->backend, sizeof(ret->backend), "%s",
			       choices[chosen].backend);
out:
	cJSON_Delete(result);
	return code;
}

static cJSON *params_of(const struct setup_vault *v, bool preview)
{
	cJSON *params = app_params();

	app_add_text(params, "backend", v->backend);
	if (preview)
		app_add_bool(params, "preview", true);
	return params;
}

/**
 * setup_vault_show() - Say what will be written, and what will be made
 * @app:	Context
 * @v:		From setup_vault_ask()
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int setup_vault_show(struct app *app, const struct setup_vault *v)
{
	cJSON *result = NULL;
	int code;

	if (v->backend[0]) {
		code = app_call(app, "vault.configure", params_of(v, true),
				&result);
		if (code != 0)
			return code;
		setup_say("And this, for the vault:\n\n%s\n",
			  app_text(result, "text"));
		cJSON_Delete(result);
		result = NULL;
	}
	code = app_call(app, "secret.status", NULL, &result);
	if (code != 0)
		return code;
	if (v->make)
		setup_say("There is no vault yet: it is made first, opened by "
			  "%s.\n",
			  v->backend[0] ? v->backend
					: app_text(result, "configured"));
	else
		setup_say("The vault is there, opened by %s.\n",
			  app_text(result, "backend"));
	cJSON_Delete(result);
	return 0;
}

static int make_vault(struct app *app, const struct setup_vault *v)
{
	cJSON *result = NULL;
	int code;

	if (v->backend[0]) {
		setup_wrote("vault.backend in kenaz.toml");
		code = app_call(app, "vault.configure", params_of(v, false),
				&result);
		cJSON_Delete(result);
		if (code != 0)
			return code;
		result = NULL;
	}
	if (!v->make)
		return secret_talk_prepare(app);
	setup_say("The vault is made now.\n");
	code = secret_talk_unlock(app, &result);
	cJSON_Delete(result);
	return code;
}

/**
 * setup_vault_write() - Write [vault], and have the vault made or opened
 * @app:	Context
 * @v:		From setup_vault_ask(); asked anew where the vault cannot be
 *		made, which its user reads first
 *
 * Return: 0; SETUP_LEFT; or the exit code after the reason was printed.
 */
int setup_vault_write(struct app *app, struct setup_vault *v)
{
	int code = make_vault(app, v);
	bool yes = false;

	while (code != 0 && v->make) {
		setup_say("The vault was not made.\n");
		code = setup_vault_ask(app, true, v);
		if (code == 0)
			code = setup_vault_show(app, v);
		if (code != 0)
			break;
		if (!setup_agrees("Write this?", false, &yes) || !yes)
			return SETUP_LEFT;
		code = make_vault(app, v);
	}
	return code;
}
