/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_secret.c - kenaz secret set, list and remove
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   takes a secret as an argument or shows it; see secret_talk.c.
 */
#include <stdio.h>

#include "engine/base/text.h"
#include "engine/proto/limits.h"
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/secret_talk.h"

static const struct column columns[] = {{"SECRET", "name", CELL_ANY}};

static int cmd_list_secrets(struct app *app, struct args *args)
{
	cJSON *result = NULL, *rows, *row;
	const cJSON *name;
	int code = app_call(app, "secret.list", NULL, &result);

	(void)args;
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	rows = cJSON_CreateArray();
	cJSON_ArrayForEach(name,
			   cJSON_GetObjectItemCaseSensitive(result, "secrets"))
	{
		row = app_params();
		app_add_text(row, "name",
			     cJSON_IsString(name) ? name->valuestring : "");
		if (!cJSON_AddItemToArray(rows, row))
			cJSON_Delete(row);
	}
	if (app->quiet)
		code = app_written(app, output_names(rows, "name"));
	else if (cJSON_GetArraySize(rows) == 0)
		app_note(app, "no secrets; 'kenaz secret set NAME' adds one");
	else
		code = app_written(app, output_list(OUTPUT_TABLE, rows, columns,
						    ARRAY_SIZE(columns)));
	cJSON_Delete(rows);
	cJSON_Delete(result);
	return code;
}

const struct command command_secret_list = {
	.name = "secret list",
	.arguments = "",
	.summary = "List the names of secrets",
	.options = cmd_no_options,
	.run = cmd_list_secrets,
};

static int cmd_remove(struct app *app, struct args *args)
{
	cJSON *params = app_params(), *result = NULL;
	int code;

	app_add_text(params, "name", args->rest[0]);
	code = app_call(app, "secret.remove", params, &result);
	if (code != 0)
		return code;
	app_note(app, "secret %s is removed", args->rest[0]);
	cJSON_Delete(result);
	return 0;
}

const struct command command_secret_remove = {
	.name = "secret remove",
	.arguments = "NAME",
	.summary = "Remove a secret",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_remove,
};

static int ask_and_set(struct app *app, const char *name,
		       struct secret_text *secret)
{
	cJSON *result = NULL;
	char prompt[128];
	enum err e;
	int code;

	(void)snprintf(prompt, sizeof(prompt), "Secret for %s", name);
	e = secret_text_ask(secret, prompt, true);
	if (e == ERR_LIMIT)
		return app_fail(app, EXIT_CODE_USAGE,
				"a secret has at most %u bytes",
				SECRET_TEXT_MAX_BYTES - 1);
	if (e != ERR_OK)
		return app_fail(app, EXIT_CODE_USAGE,
				"nothing was given; the secret is not "
				"changed");
	code = secret_talk_set(app, name, secret, &result);
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "secret %s is set (version %.0f)",
		 app_text(result, "name"), app_number(result, "version", 0));
	cJSON_Delete(result);
	return 0;
}

static int cmd_set(struct app *app, struct args *args)
{
	struct secret_text secret;
	int code;

	/* Before a person types a secret for nothing. */
	if (!text_is_name(span_text(args->rest[0]), NAME_MAX_BYTES))
		return app_fail(app, EXIT_CODE_USAGE,
				"'%.100s' is no name of a secret: give 1 to %u "
				"small letters, digits, '.', '_' and '-'",
				args->rest[0], NAME_MAX_BYTES);
	code = secret_text_new(app, &secret);
	if (code != 0)
		return code;
	code = secret_talk_prepare(app);
	if (code == 0)
		code = ask_and_set(app, args->rest[0], &secret);
	secret_text_free(&secret);
	return code;
}

const struct command command_secret_set = {
	.name = "secret set",
	.arguments = "NAME",
	.summary = "Read a secret from the terminal or standard input",
	.text = "On a terminal it is not shown. From a pipe: 'kenaz secret "
		"set NAME <FILE'.",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_set,
};
