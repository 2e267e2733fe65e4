/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_approvals.c - kenaz approvals list, grant and deny
 *
 * Runs in: kenaz.
 * Trusts:  as app.c; a summary is what a guest asked for, so it is escaped.
 * Never:   grants more than the one id that was named.
 */
#include "engine/base/text.h"
#include "tui/cmd_common.h"
#include "tui/command.h"

static const struct column columns[] = {
	{"ID", "id", CELL_ANY},
	{"SESSION", "session", CELL_ANY},
	{"TARGET", "target", CELL_ANY},
	{"EXPIRES", "expires_s", CELL_AGE},
	{"ASKED FOR", "summary", CELL_ANY},
};

static int cmd_list_approvals(struct app *app, struct args *args)
{
	static const struct list_command list = {
		.method = "approvals.list",
		.member = "approvals",
		.name = "id",
		.empty = "nothing waits for approval",
		.columns = columns,
		.count = ARRAY_SIZE(columns),
	};

	(void)args;
	return cmd_list(app, &list, NULL);
}

const struct command command_approvals_list = {
	.name = "approvals list",
	.arguments = "",
	.summary = "List what waits for a person's decision",
	.options = cmd_no_options,
	.run = cmd_list_approvals,
};

static const struct option_row options[] = {
	{"reason", 0, "TEXT", "why, for the log"},
	{"digest", 0, "HEX", "only if it asks for exactly what has this"},
	{0},
};

static int decide(struct app *app, struct args *args, const char *method)
{
	cJSON *params, *result = NULL;
	uint64_t id;
	int code;

	if (text_parse_u64(span_text(args->rest[0]), 1, APP_NUMBER_MAX, &id) !=
	    ERR_OK)
		return app_fail(app, EXIT_CODE_USAGE,
				"'%s' is not an approval's number; see 'kenaz "
				"approvals list'",
				args->rest[0]);
	params = app_params();
	app_add_number(params, "id", (double)id);
	app_add_text(params, "reason", args_value(args, "reason"));
	app_add_text(params, "digest", args_value(args, "digest"));
	code = app_call(app, method, params, &result);
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "approval %llu is %s", (unsigned long long)id,
		 app_text(result, "state"));
	cJSON_Delete(result);
	return 0;
}

static int cmd_grant(struct app *app, struct args *args)
{
	return decide(app, args, "approvals.grant");
}

const struct command command_approvals_grant = {
	.name = "approvals grant",
	.arguments = "ID",
	.summary = "Allow what waits under ID, once",
	.options = options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_grant,
};

static int cmd_deny(struct app *app, struct args *args)
{
	return decide(app, args, "approvals.deny");
}

const struct command command_approvals_deny = {
	.name = "approvals deny",
	.arguments = "ID",
	.summary = "Refuse what waits under ID",
	.options = options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_deny,
};
