/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_session.c - kenaz session list, show, stop and wait
 *
 * Runs in: kenaz.
 * Trusts:  as app.c.
 * Never:   as app.c.
 */
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/session_view.h"

static const struct column columns[] = {
	{"SESSION", "session", CELL_ANY},
	{"STATE", "state", CELL_ANY},
	{"USER", "user", CELL_ANY},
	{"IMAGE", "image", CELL_ANY},
	{"PROVIDER", "provider", CELL_ANY},
	{"ACCEL", "accelerator", CELL_ANY},
	{"AGE", "age_s", CELL_AGE},
	{"NO ISOLATION", "no_isolation", CELL_YES},
};

static int cmd_list_sessions(struct app *app, struct args *args)
{
	static const struct list_command list = {
		.method = "session.list",
		.member = "sessions",
		.name = "session",
		.empty = "no sessions; 'kenaz run' starts one",
		.columns = columns,
		.count = ARRAY_SIZE(columns),
	};

	(void)args;
	return cmd_list(app, &list, NULL);
}

const struct command command_session_list = {
	.name = "session list",
	.arguments = "",
	.summary = "List sessions",
	.options = cmd_no_options,
	.run = cmd_list_sessions,
};

static cJSON *session_params(const struct args *args)
{
	cJSON *params = app_params();

	app_add_text(params, "session", args->rest[0]);
	return params;
}

static int cmd_show(struct app *app, struct args *args)
{
	cJSON *result = NULL;
	struct buf out;
	enum err e;
	int code = app_call(app, "session.show", session_params(args), &result);

	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	buf_init(&out, OUTPUT_MAX_BYTES);
	e = session_view(result, &out);
	code = app_written(app, e == ERR_OK ? output_flush(&out) : e);
	buf_fini(&out);
	cJSON_Delete(result);
	return code;
}

const struct command command_session_show = {
	.name = "session show",
	.arguments = "SESSION",
	.summary = "Show a session: stages, limits, usage, fingerprint",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_show,
};

static const struct option_row stop_options[] = {
	{"reason", 0, "TEXT", "why, for the log"},
	{0},
};

static int cmd_stop(struct app *app, struct args *args)
{
	cJSON *params = session_params(args), *result = NULL;
	int code;

	app_add_text(params, "reason", args_value(args, "reason"));
	code = app_call_slow(app, "session.stop", params, &result);
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "session %s: %s (%s)", app_text(result, "session"),
		 app_text(result, "state"), app_text(result, "reason"));
	cJSON_Delete(result);
	return 0;
}

const struct command command_session_stop = {
	.name = "session stop",
	.arguments = "SESSION",
	.summary = "End a session; what is in it is gone",
	.options = stop_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_stop,
};

static int cmd_wait(struct app *app, struct args *args)
{
	cJSON *result = NULL;
	const cJSON *main_program;
	int code = app_call_slow(app, "session.wait", session_params(args),
				 &result);

	if (code != 0)
		return code;
	main_program = cJSON_GetObjectItemCaseSensitive(result, "main");
	if (main_program)
		code = exit_code_of_program((int)app_number(main_program,
							    "code", 0),
					    app_is_true(main_program,
							"signalled"));
	if (app->format != OUTPUT_TABLE) {
		int written =
			app_written(app, output_object(app->format, result));

		code = written ? written : code;
	} else {
		app_note(app, "session %s: %s (%s)",
			 app_text(result, "session"), app_text(result, "state"),
			 app_text(result, "reason"));
	}
	cJSON_Delete(result);
	return code;
}

const struct command command_session_wait = {
	.name = "session wait",
	.arguments = "SESSION",
	.summary = "Wait for a session's program; its exit code",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_wait,
};
