/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_policy.c - kenaz policy show, check, explain and reload
 *
 * Runs in: kenaz.
 * Trusts:  as app.c.
 * Never:   decides: "explain" asks the function that enforces.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "tui/cmd_common.h"
#include "tui/command.h"

#define FILE_MAX_BYTES (512u << 10)

static const struct column rule_columns[] = {
	{"ID", "id", CELL_ANY},         {"EFFECT", "effect", CELL_ANY},
	{"TARGET", "target", CELL_ANY}, {"RULE", "text", CELL_ANY},
	{"SOURCE", "source", CELL_ANY},
};

static const struct column default_columns[] = {
	{"DEFAULT", "name", CELL_ANY},
	{"VALUE", "value", CELL_ANY},
	{"SOURCE", "source", CELL_ANY},
};

static enum err show_tables(const cJSON *policy)
{
	const cJSON *rules = cJSON_GetObjectItemCaseSensitive(policy, "rules");
	const cJSON *defaults =
		cJSON_GetObjectItemCaseSensitive(policy, "defaults");
	const struct column digest = {"", "digest", CELL_ANY};
	char cell[128];
	struct buf out;
	enum err e;

	buf_init(&out, OUTPUT_MAX_BYTES);
	output_cell(policy, &digest, cell, sizeof(cell));
	e = buf_printf(&out, "policy %s\n\n", cell);
	if (e == ERR_OK && cJSON_GetArraySize(rules) == 0)
		e = buf_put_text(&out, "no rules: the defaults hold\n");
	else if (e == ERR_OK)
		e = output_table(rules, rule_columns, ARRAY_SIZE(rule_columns),
				 &out);
	if (e == ERR_OK)
		e = buf_put_u8(&out, '\n');
	if (e == ERR_OK)
		e = output_table(defaults, default_columns,
				 ARRAY_SIZE(default_columns), &out);
	if (e == ERR_OK)
		e = output_flush(&out);
	buf_fini(&out);
	return e;
}

static int cmd_show(struct app *app, struct args *args)
{
	cJSON *result = NULL;
	int code = app_call(app, "policy.show", NULL, &result);

	(void)args;
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	code = app_written(app, show_tables(result));
	cJSON_Delete(result);
	return code;
}

const struct command command_policy_show = {
	.name = "policy show",
	.arguments = "",
	.summary = "Show the rules in force and every default",
	.options = cmd_no_options,
	.run = cmd_show,
};

static int read_text(const struct app *app, const char *path, struct buf *out)
{
	enum err e = ERR_OK;
	uint8_t block[4096];
	ssize_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), code = 0;

	if (fd < 0)
		return app_fail(app,
				errno == ENOENT ? EXIT_CODE_NOT_FOUND
						: EXIT_CODE_FAILED,
				"%s: %s", path, strerror(errno));
	while (e == ERR_OK && (n = read(fd, block, sizeof(block))) > 0)
		e = buf_put(out, block, (size_t)n);
	if (n < 0)
		code = app_fail(app, EXIT_CODE_FAILED, "%s: %s", path,
				strerror(errno));
	else if (e == ERR_LIMIT)
		code = app_fail(app, EXIT_CODE_FAILED,
				"%s: more than %u KiB; a policy file is "
				"smaller",
				path, FILE_MAX_BYTES / 1024u);
	else if (e != ERR_OK)
		code = app_fail(app, EXIT_CODE_FAILED, "%s", err_text(e));
	else if (!text_is_utf8(buf_span(out)) ||
		 (out->len_bytes && memchr(out->data, 0, out->len_bytes)))
		code = app_fail(app, EXIT_CODE_FAILED,
				"%s: not a text (UTF-8); a policy file is TOML",
				path);
	close(fd);
	return code;
}

/* Core opens no file that a client names: it gets what is in them. */
static int add_files(const struct app *app, const struct args *args,
		     cJSON *params)
{
	cJSON *files = cJSON_AddArrayToObject(params, "files");
	int code = 0;
	size_t i;

	if (!files)
		abort();
	for (i = 0; code == 0 && i < args->rest_count; i++) {
		cJSON *file = app_params();
		const char *text = NULL;
		struct buf b;

		buf_init(&b, FILE_MAX_BYTES);
		code = read_text(app, args->rest[i], &b);
		if (code == 0 && buf_terminate(&b, &text) != ERR_OK)
			code = app_fail(app, EXIT_CODE_FAILED, "%s: %s",
					args->rest[i], err_text(ERR_MEMORY));
		app_add_text(file, "name", args->rest[i]);
		app_add_text(file, "text", text);
		if (!cJSON_AddItemToArray(files, file))
			abort();
		buf_fini(&b);
	}
	return code;
}

static int cmd_check(struct app *app, struct args *args)
{
	cJSON *params = app_params(), *result = NULL;
	const cJSON *problem;
	bool good;
	int code = args->rest_count ? add_files(app, args, params) : 0;

	if (code != 0) {
		cJSON_Delete(params);
		return code;
	}
	code = app_call(app, "policy.check", params, &result);
	if (code != 0)
		return code;
	good = app_is_true(result, "ok");
	if (app->format != OUTPUT_TABLE) {
		code = cmd_print_object(app, result);
		return code == 0 && !good ? EXIT_CODE_FAILED : code;
	}
	cJSON_ArrayForEach(problem,
			   cJSON_GetObjectItemCaseSensitive(result, "errors"))
	{
		if (cJSON_IsString(problem))
			(void)app_fail(app, EXIT_CODE_FAILED, "%s",
				       problem->valuestring);
	}
	cJSON_ArrayForEach(problem,
			   cJSON_GetObjectItemCaseSensitive(result, "warnings"))
	{
		if (cJSON_IsString(problem))
			(void)app_fail(app, EXIT_CODE_OK, "warning: %s",
				       problem->valuestring);
	}
	if (good)
		app_note(app,
			 "the policy is good: rules %.0f, tests passed %.0f, "
			 "digest %.12s",
			 app_number(result, "rules", 0),
			 app_number(result, "tests", 0),
			 app_text(result, "digest"));
	cJSON_Delete(result);
	return good ? 0 : EXIT_CODE_FAILED;
}

const struct command command_policy_check = {
	.name = "policy check",
	.arguments = "[FILE…]",
	.summary = "Check policy files and run their tests; loads nothing",
	.text = "Without FILE: the files that the engine would load now.",
	.options = cmd_no_options,
	.args_max = COMMAND_ANY_ARGS,
	.run = cmd_check,
};

static int cmd_explain(struct app *app, struct args *args)
{
	cJSON *params = app_params(), *fields;
	size_t i;

	app_add_text(params, "target", args->rest[0]);
	fields = cJSON_AddObjectToObject(params, "fields");
	if (!fields)
		abort();
	for (i = 1; i < args->rest_count; i++) {
		char *equals = strchr(args->rest[i], '=');

		if (!equals || equals == args->rest[i]) {
			cJSON_Delete(params);
			return app_fail(app, EXIT_CODE_USAGE,
					"'%s': give FIELD=VALUE",
					args->rest[i]);
		}
		*equals = '\0';
		app_add_text(fields, args->rest[i], equals + 1);
	}
	return cmd_object(app, "policy.explain", params);
}

const struct command command_policy_explain = {
	.name = "policy explain",
	.arguments = "TARGET [FIELD=VALUE…]",
	.summary = "Say what would be decided, and by which rules",
	.text = "Targets: inference, tool, feature, egress, file, session, "
		"clipboard, terminal.\nExample: kenaz policy explain egress "
		"host=example.org port=443",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = COMMAND_ANY_ARGS,
	.run = cmd_explain,
};

static int cmd_reload(struct app *app, struct args *args)
{
	cJSON *result = NULL;
	int code = app_call(app, "policy.reload", NULL, &result);

	(void)args;
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "the policy is loaded: rules %.0f, digest %.12s",
		 app_number(result, "rules", 0), app_text(result, "digest"));
	cJSON_Delete(result);
	return 0;
}

const struct command command_policy_reload = {
	.name = "policy reload",
	.arguments = "",
	.summary = "Load the policy files anew; the old stays on an error",
	.options = cmd_no_options,
	.run = cmd_reload,
};
