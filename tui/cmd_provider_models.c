/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_provider_models.c - kenaz provider models
 *
 * Runs in: kenaz.
 * Trusts:  as app.c.
 * Never:   asks the provider: 'kenaz provider test' does.
 */
#include <string.h>

#include "tui/cmd_common.h"
#include "tui/command.h"

static const struct column columns[] = {
	{"MODEL", "name", CELL_ANY},
	{"CONTEXT", "context_tokens", CELL_ANY},
	{"OUTPUT", "output_tokens", CELL_ANY},
	{"IN", "input_price", CELL_ANY},
	{"OUT", "output_price", CELL_ANY},
	{"CACHED", "cache_read_price", CELL_ANY},
	{"PRICE FROM", "price_source", CELL_ANY},
};

static bool has_unpriced(const cJSON *rows)
{
	const cJSON *row;

	cJSON_ArrayForEach(row, rows)
	{
		const char *source = app_text(row, "price_source");

		if (strcmp(source, "unknown") == 0 ||
		    strcmp(source, "provider") == 0)
			return true;
	}
	return false;
}

static void say_more(const struct app *app, const char *name, const cJSON *rows)
{
	if (cJSON_GetArraySize(rows) == 0)
		app_note(app,
			 "nothing is known of its models: 'kenaz provider test "
			 "%s' asks it, [[model]] in kenaz.toml describes them",
			 name);
	else
		app_note(app, "prices are US dollars for a million tokens");
	if (cJSON_GetArraySize(rows) == 0 || has_unpriced(rows))
		app_note(app, "while a budget in USD is set, a model without a "
			      "price here is refused");
}

static int cmd_models(struct app *app, struct args *args)
{
	cJSON *params = app_params(), *result = NULL;
	const cJSON *rows;
	int code;

	app_add_text(params, "name", args->rest[0]);
	code = app_call(app, "provider.models", params, &result);
	if (code != 0)
		return code;
	rows = cJSON_GetObjectItemCaseSensitive(result, "models");
	if (app->quiet)
		code = app_written(app, output_names(rows, "name"));
	else if (app->format != OUTPUT_TABLE || cJSON_GetArraySize(rows))
		code = app_written(app, output_list(app->format, rows, columns,
						    ARRAY_SIZE(columns)));
	if (code == 0 && app->format == OUTPUT_TABLE)
		say_more(app, args->rest[0], rows);
	cJSON_Delete(result);
	return code;
}

const struct command command_provider_models = {
	.name = "provider models",
	.arguments = "NAME",
	.summary = "Show what is known of its models, and who says the price",
	.text = "PRICE FROM is 'config' for a [[model]] of kenaz.toml, 'table' "
		"for Kenaz's own\ntable, 'provider' where its answers say what "
		"they cost, and 'unknown'.",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_models,
};
