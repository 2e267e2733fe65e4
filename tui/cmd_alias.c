/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_alias.c - kenaz alias list, add and remove
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   edits a file: the engine does.
 */
#include "tui/cmd_common.h"
#include "tui/command.h"

static const struct column columns[] = {
	{"ALIAS", "name", CELL_ANY},
	{"TARGETS", "targets", CELL_ANY},
};

static int cmd_list_aliases(struct app *app, struct args *args)
{
	static const struct list_command list = {
		.method = "alias.list",
		.member = "aliases",
		.name = "name",
		.empty = "no aliases; 'kenaz alias add' adds one",
		.columns = columns,
		.count = ARRAY_SIZE(columns),
	};

	(void)args;
	return cmd_list(app, &list, NULL);
}

const struct command command_alias_list = {
	.name = "alias list",
	.arguments = "",
	.summary = "List names for models, and who is asked for them",
	.options = cmd_no_options,
	.run = cmd_list_aliases,
};

static int cmd_add(struct app *app, struct args *args)
{
	cJSON *params = app_params(), *result = NULL;
	int code;

	app_add_text(params, "name", args->rest[0]);
	app_add_words(params, "targets", args->rest + 1);
	code = app_call(app, "alias.add", params, &result);
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "alias %s is in %s", app_text(result, "name"),
		 app_text(result, "written_to"));
	cJSON_Delete(result);
	return 0;
}

const struct command command_alias_add = {
	.name = "alias add",
	.arguments = "NAME PROVIDER/MODEL...",
	.summary = "Give models a name; the first target that answers is used",
	.text = "The part before the first slash is the provider, the rest the "
		"provider's\nname of the model.",
	.options = cmd_no_options,
	.args_min = 2,
	.args_max = 9,
	.run = cmd_add,
};

static int cmd_remove(struct app *app, struct args *args)
{
	cJSON *params = app_params(), *result = NULL;
	int code;

	app_add_text(params, "name", args->rest[0]);
	code = app_call(app, "alias.remove", params, &result);
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "alias %s is taken out of %s", app_text(result, "name"),
		 app_text(result, "written_to"));
	cJSON_Delete(result);
	return 0;
}

const struct command command_alias_remove = {
	.name = "alias remove",
	.arguments = "NAME",
	.summary = "Take an alias out of the configuration",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_remove,
};
