/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_provider.c - kenaz provider list, add and test
 *
 * Runs in: kenaz.
 * Trusts:  as app.c.
 * Never:   takes a key: 'kenaz secret set' does.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tui/cmd_common.h"
#include "tui/command.h"

static const struct column columns[] = {
	{"NAME", "name", CELL_ANY},
	{"KIND", "kind", CELL_ANY},
	{"ENDPOINT", "endpoint", CELL_ANY},
	{"SECRET", "secret", CELL_ANY},
	{"SECRET SET", "secret_set", CELL_ANY},
};

static int cmd_list_providers(struct app *app, struct args *args)
{
	static const struct list_command list = {
		.method = "provider.list",
		.member = "providers",
		.name = "name",
		.empty = "no providers; 'kenaz provider add' adds one",
		.columns = columns,
		.count = ARRAY_SIZE(columns),
	};
	int code = cmd_list(app, &list, NULL);

	(void)args;
	return code != 0 || app->quiet ? code : cmd_ask_provenance(app);
}

const struct command command_provider_list = {
	.name = "provider list",
	.arguments = "",
	.summary = "List providers",
	.options = cmd_no_options,
	.run = cmd_list_providers,
};

static const struct option_row add_options[] = {
	{"kind", 0, "KIND", "anthropic, bedrock, byo or scripted (NAME)"},
	{"endpoint", 0, "URL", "where it is, for those without a fixed one"},
	{"secret", 0, "NAME", "secret that holds its key"},
	{"region", 0, "REGION", "for bedrock"},
	{"model", 0, "NAME", "a model it has; may be given again"},
	{"ca-file", 0, "PEM", "certificates to trust for it alone"},
	{"allow-http", 0, NULL, "let the endpoint be plain http"},
	{0},
};

static void add_models(const struct args *args, cJSON *params)
{
	cJSON *models = NULL;
	size_t i;

	for (i = 0; i < args->given_count; i++) {
		if (strcmp(args->given[i].row->name, "model") != 0)
			continue;
		if (!models)
			models = cJSON_AddArrayToObject(params, "models");
		if (!cJSON_AddItemToArray(
			    models, cJSON_CreateString(args->given[i].value)))
			abort();
	}
}

static int cmd_add(struct app *app, struct args *args)
{
	const char *kind = args_value(args, "kind");
	const char *ca_file = args_value(args, "ca-file");
	cJSON *params = app_params(), *result = NULL;
	char path[PATH_MAX];
	int code;

	if (ca_file && !realpath(ca_file, path)) {
		cJSON_Delete(params);
		return app_fail(app, EXIT_CODE_NOT_FOUND, "no such file: %s",
				ca_file);
	}
	app_add_text(params, "name", args->rest[0]);
	app_add_text(params, "kind", kind ? kind : args->rest[0]);
	app_add_text(params, "endpoint", args_value(args, "endpoint"));
	app_add_text(params, "secret", args_value(args, "secret"));
	app_add_text(params, "region", args_value(args, "region"));
	app_add_text(params, "ca_file", ca_file ? path : NULL);
	if (args_has(args, "allow-http"))
		app_add_bool(params, "allow_http", true);
	add_models(args, params);
	code = app_call(app, "provider.add", params, &result);
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "provider %s is in %s", app_text(result, "name"),
		 app_text(result, "written_to"));
	if (args_has(args, "secret"))
		app_note(app, "give it its key: kenaz secret set %s",
			 args_value(args, "secret"));
	cJSON_Delete(result);
	return 0;
}

const struct command command_provider_add = {
	.name = "provider add",
	.arguments = "NAME",
	.summary = "Add a provider to the configuration",
	.options = add_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_add,
};

static int cmd_test(struct app *app, struct args *args)
{
	cJSON *params = app_params(), *result = NULL;
	bool good;
	int code;

	app_add_text(params, "name", args->rest[0]);
	code = app_call_slow(app, "provider.test", params, &result);
	if (code != 0)
		return code;
	good = app_is_true(result, "ok");
	if (app->format != OUTPUT_TABLE) {
		code = cmd_print_object(app, result);
		return code == 0 && !good ? EXIT_CODE_FAILED : code;
	}
	if (good)
		app_note(app, "provider %s answered: HTTP %.0f in %.0f ms",
			 args->rest[0], app_number(result, "http_status", 0),
			 app_number(result, "latency_ms", 0));
	else
		code = app_fail(app, EXIT_CODE_FAILED, "provider %s: %s",
				args->rest[0], app_text(result, "text"));
	cJSON_Delete(result);
	return code;
}

const struct command command_provider_test = {
	.name = "provider test",
	.arguments = "NAME",
	.summary = "Send a provider one small request; it is in the log",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_test,
};
