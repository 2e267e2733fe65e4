/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_secret_import.c - kenaz secret import: keys from the shell's variables
 *
 * Runs in: kenaz.
 * Trusts:  its user's environment.
 * Never:   shows a value, or stores one before its name was shown and the
 *	    user said yes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/import_plan.h"
#include "tui/secret_talk.h"

static const struct option_row options[] = {
	{"provider", 0, "NAME", "only the key of this provider, as its secret"},
	{"yes", 'y', NULL, "store them without asking"},
	{0},
};

static const struct column columns[] = {
	{"VARIABLES", "variables", CELL_ANY},
	{"SECRET", "secret", CELL_ANY},
	{"FOR", "for", CELL_ANY},
	{"STORED", "stored", CELL_ANY},
};

static const char *get(const char *name)
{
	return getenv(name);
}

static void put_names(const struct import_row *row, char *text, size_t cap)
{
	size_t i;

	text[0] = '\0';
	for (i = 0; i < IMPORT_VARIABLES_MAX && row->variables[i]; i++) {
		const char *value = get(row->variables[i]);

		if (value && *value)
			text_append(text, cap, "%s%s", text[0] ? " " : "",
				    row->variables[i]);
	}
}

static cJSON *describe(const struct import_plan *plan)
{
	cJSON *found = cJSON_CreateArray();
	char names[256];
	size_t i;

	for (i = 0; i < plan->count; i++) {
		const struct import_entry *entry = &plan->entries[i];
		cJSON *one = app_params();

		put_names(entry->row, names, sizeof(names));
		app_add_text(one, "variables", names);
		app_add_text(one, "secret", entry->secret);
		app_add_text(one, "for", entry->row->what);
		app_add_text(one, "stored",
			     entry->store ? "yes" : entry->skipped);
		if (!cJSON_AddItemToArray(found, one))
			cJSON_Delete(one);
	}
	return found;
}

static bool says_yes(void)
{
	char line[16];

	(void)fprintf(stderr, "Store them? [y/N] ");
	if (!fgets(line, sizeof(line), stdin))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return strcmp(line, "y") == 0 || strcmp(line, "yes") == 0;
}

static const char *why_not(enum err e)
{
	return e == ERR_LIMIT   ? "its value is too long"
	       : e == ERR_RANGE ? "AWS_CREDENTIAL_EXPIRATION is no time as "
				  "2026-01-31T12:00:00Z"
				: "its value holds a colon";
}

/* Credentials that end: when, or that they did. */
static void say_expiry(const struct app *app, const struct import_entry *entry)
{
	uint64_t wall_s;

	if (import_expiry(entry->row, get, &wall_s))
		app_note(app, "the session credentials in %s %s at %s",
			 entry->secret,
			 wall_s > (uint64_t)time(NULL) ? "end" : "ended",
			 getenv("AWS_CREDENTIAL_EXPIRATION"));
}

static int store(struct app *app, const struct import_entry *entry,
		 struct secret_text *secret)
{
	const struct import_row *row = entry->row;
	cJSON *result = NULL;
	enum err e = import_value(row, get, secret->data, SECRET_TEXT_MAX_BYTES,
				  &secret->len_bytes);
	int code;

	if (e != ERR_OK)
		return app_fail(app, EXIT_CODE_FAILED, "%s is not stored: %s",
				row->variables[0], why_not(e));
	code = secret_talk_set(app, entry->secret, secret, &result);
	if (code == 0) {
		app_note(app, "secret %s is set (version %.0f)",
			 app_text(result, "name"),
			 app_number(result, "version", 0));
		say_expiry(app, entry);
	}
	cJSON_Delete(result);
	return code;
}

/* Narrows the plan to what a configured provider takes. */
static int keep_for(struct app *app, const char *name, bool named,
		    struct import_plan *plan, char ret_secret[64 + 1])
{
	cJSON *result = NULL;
	const cJSON *row, *found = NULL;
	int code = app_call(app, "provider.list", NULL, &result);

	if (code != 0)
		return code;
	cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(result,
								 "providers"))
	{
		if (strcmp(app_text(row, "name"), name) == 0)
			found = row;
	}
	if (!found || !app_text(found, "secret")[0]) {
		code = app_fail(app, EXIT_CODE_NOT_FOUND,
				found ? "provider %.64s takes no key"
				      : "provider %.64s is not configured; see "
					"'kenaz provider list'",
				name);
	} else {
		const char *kind = app_text(found, "kind");

		(void)snprintf(ret_secret, 65, "%s", app_text(found, "secret"));
		/* Whose key a byo's is only its user knows. */
		import_plan_keep(plan,
				 named                      ? NULL
				 : strcmp(kind, "byo") == 0 ? ret_secret
							    : kind,
				 strcmp(app_text(found, "auth"), "sigv4") == 0,
				 ret_secret);
	}
	cJSON_Delete(result);
	return code;
}

static int store_all(struct app *app, const struct import_plan *plan)
{
	struct secret_text secret;
	int code = secret_text_new(app, &secret);
	size_t i;

	if (code != 0)
		return code;
	code = secret_talk_prepare(app);
	for (i = 0; code == 0 && i < plan->count; i++)
		if (plan->entries[i].store)
			code = store(app, &plan->entries[i], &secret);
	secret_text_free(&secret);
	if (code == 0)
		app_note(app, "the variables are still set in this shell: "
			      "unset them");
	return code;
}

static int cmd_import(struct app *app, struct args *args)
{
	const char *provider = args_value(args, "provider");
	char secret[64 + 1] = "";
	struct import_plan plan;
	bool any = false;
	cJSON *found;
	size_t i;
	int code;

	import_plan_make(get, args->rest, args->rest_count, &plan);
	if (plan.unknown)
		return app_fail(app, EXIT_CODE_USAGE,
				"%.100s is none of the variables that are "
				"known; 'kenaz secret set NAME' takes any key",
				plan.unknown);
	if (provider) {
		code = keep_for(app, provider, args->rest_count > 0, &plan,
				secret);
		if (code != 0)
			return code;
	}
	for (i = 0; i < plan.count; i++)
		any = any || plan.entries[i].store;
	found = describe(&plan);
	code = app_written(app, output_list(app->format, found, columns,
					    ARRAY_SIZE(columns)));
	cJSON_Delete(found);
	if (code != 0)
		return code;
	if (!any)
		return app_fail(app, EXIT_CODE_NOT_FOUND,
				"no variable with a key is set; 'kenaz secret "
				"set NAME' reads one from the terminal");
	if (!args_has(args, "yes")) {
		if (!isatty(STDIN_FILENO))
			return app_fail(app, EXIT_CODE_USAGE,
					"nothing is stored without --yes, as "
					"there is no terminal to ask at");
		if (!says_yes())
			return app_fail(app, EXIT_CODE_FAILED,
					"nothing was stored");
	}
	return store_all(app, &plan);
}

const struct command command_secret_import = {
	.name = "secret import",
	.arguments = "[--provider NAME] [VARIABLE]...",
	.summary = "Store keys from the usual environment variables",
	.text = "Shows the names of those that are set, and under which names "
		"they would be\nstored, and asks. Values are never shown. "
		"Credentials of "
		"AWS that end are\nstored with the time at which they do, if "
		"AWS_CREDENTIAL_EXPIRATION says it;\nthe engine renews none.",
	.options = options,
	.args_max = COMMAND_ANY_ARGS,
	.run = cmd_import,
};
