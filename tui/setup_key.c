/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setup_key.c - a provider's key, from the shell or typed
 *
 * Runs in: kenaz.
 * Trusts:  its user and the shell's variables.
 * Never:   shows a key, or any part of one.
 */
#include "tui/setup_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/import_plan.h"
#include "tui/setup_ask.h"

static const char *get(const char *name)
{
	return getenv(name);
}

/* A variable of this shell that holds such a key, or NULL. */
static const struct import_row *find_variable(const char *secret, bool aws)
{
	struct import_plan plan;
	size_t i;

	import_plan_make(get, NULL, 0, &plan);
	for (i = 0; i < plan.count; i++)
		if (strcmp(plan.entries[i].row->secret, secret) == 0 &&
		    (plan.entries[i].row->variables[1] != NULL) == aws)
			return plan.entries[i].row;
	return NULL;
}

/* The parts of AWS's credentials, which are one secret with colons. */
static int type_aws(struct app *app, struct secret_text *key)
{
	static const struct {
		const char *prompt;
		bool needed;
	} parts[] = {{"Access key id", true},
		     {"Secret access key", true},
		     {"Session token, or nothing", false}};
	struct secret_text part;
	int code = secret_text_new(app, &part);
	size_t i;

	if (code != 0)
		return code;
	key->len_bytes = 0;
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		enum err e = secret_text_ask(&part, parts[i].prompt, false);

		if (e == ERR_SHORT && !parts[i].needed)
			break;
		if (e != ERR_OK || key->len_bytes + part.len_bytes + 1 >
					   SECRET_TEXT_MAX_BYTES) {
			code = SETUP_LEFT;
			break;
		}
		if (i)
			key->data[key->len_bytes++] = ':';
		memcpy(key->data + key->len_bytes, part.data, part.len_bytes);
		key->len_bytes += part.len_bytes;
	}
	secret_text_free(&part);
	return code;
}

/**
 * setup_key_take() - Take a key from a variable, if its user agrees, or ask
 * @app:		Context
 * @name:		Provider, for the question
 * @usual_secret:	Secret that import_plan.c would store such a key as
 * @aws:		AWS's credentials, which sign
 * @key:		Receives it
 *
 * Return: 0; SETUP_LEFT when nothing was given; or the exit code after the
 *	   reason was printed.
 */
int setup_key_take(struct app *app, const char *name, const char *usual_secret,
		   bool aws, struct secret_text *key)
{
	const struct import_row *row = find_variable(usual_secret, aws);
	char text[160];
	bool yes = false;
	enum err e;

	if (row) {
		(void)snprintf(text, sizeof(text),
			       "%s is set in this shell. Use its value as the "
			       "key?",
			       row->variables[0]);
		if (!setup_agrees(text, true, &yes))
			return SETUP_LEFT;
	}
	if (yes) {
		e = import_value(row, get, key->data, SECRET_TEXT_MAX_BYTES,
				 &key->len_bytes);
		if (e == ERR_OK)
			return 0;
		setup_say("That value cannot be used: %s.\n", err_text(e));
	}
	if (aws)
		return type_aws(app, key);
	(void)snprintf(text, sizeof(text), "Key of %s", name);
	return secret_text_ask(key, text, false) == ERR_OK ? 0 : SETUP_LEFT;
}
