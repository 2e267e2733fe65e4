/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_common.c - what several commands do alike
 *
 * Runs in: kenaz.
 * Trusts:  as app.c.
 * Never:   as app.c.
 */
#include "tui/cmd_common.h"

#include <stdio.h>
#include <unistd.h>

#include "tui/attach.h"
#include "tui/terminal.h"

const struct option_row cmd_no_options[] = {{0}};

/** cmd_usage() - Print what is wrong with the arguments; the exit code */
int cmd_usage(const struct app *app, const struct args *args)
{
	return app_fail(app, EXIT_CODE_USAGE, "%s", args->error);
}

/**
 * cmd_list() - Ask for a list and print it
 * @app:	Context
 * @list:	What and how
 * @params:	Owned from here on, or NULL
 *
 * Return: exit code.
 */
int cmd_list(struct app *app, const struct list_command *list, cJSON *params)
{
	cJSON *result = NULL;
	const cJSON *rows;
	int code = app_call(app, list->method, params, &result);

	if (code != 0)
		return code;
	rows = cJSON_GetObjectItemCaseSensitive(result, list->member);
	if (app->quiet)
		code = app_written(app, output_names(rows, list->name));
	else if (app->format == OUTPUT_TABLE && cJSON_GetArraySize(rows) == 0)
		app_note(app, "%s", list->empty);
	else
		code = app_written(app,
				   output_list(app->format, rows, list->columns,
					       list->count));
	cJSON_Delete(result);
	return code;
}

/** cmd_print_object() - Print an answer, which is freed; the exit code */
int cmd_print_object(struct app *app, cJSON *result)
{
	int code = app_written(app, output_object(app->format, result));

	cJSON_Delete(result);
	return code;
}

/** cmd_object() - Ask and print the answer; the exit code */
int cmd_object(struct app *app, const char *method, cJSON *params)
{
	cJSON *result = NULL;
	int code = app_call_slow(app, method, params, &result);

	return code != 0 ? code : cmd_print_object(app, result);
}

/** cmd_wants_tty() - Whether the program gets a terminal */
bool cmd_wants_tty(const struct args *args)
{
	if (args_has(args, "tty"))
		return true;
	return !args_has(args, "no-tty") && isatty(STDIN_FILENO) &&
	       isatty(STDOUT_FILENO);
}

/** cmd_add_size() - Add the size of the user's terminal */
void cmd_add_size(cJSON *params)
{
	uint16_t rows, columns;

	terminal_size(STDOUT_FILENO, &rows, &columns);
	app_add_number(params, "rows", rows);
	app_add_number(params, "cols", columns);
}

/**
 * cmd_say_provenance() - Say where answers do not come from
 * @app:		Context; --quiet does not silence this
 * @scripted:		No model is called
 * @no_isolation:	The session runs on the host itself
 */
void cmd_say_provenance(const struct app *app, bool scripted, bool no_isolation)
{
	if (no_isolation)
		(void)app_fail(app, EXIT_CODE_OK,
			       "no isolation: this engine runs sessions as "
			       "processes of the host (--dev-mock-vm)");
	if (scripted)
		(void)app_fail(app, EXIT_CODE_OK,
			       "no model is called: the scripted provider "
			       "answers; add one with 'kenaz provider add' and "
			       "'kenaz secret set'");
}

/** cmd_ask_provenance() - Ask the engine what answers, and say it; exit code */
int cmd_ask_provenance(struct app *app)
{
	cJSON *info = NULL;
	int code = app_call(app, "engine.info", NULL, &info);

	if (code == 0)
		cmd_say_provenance(app, app_is_true(info, "scripted"),
				   app_is_true(info, "no_isolation"));
	cJSON_Delete(info);
	return code;
}

/* A terminal that broke: the session may have ended, and the engine says why */
static void say_why_ended(struct app *app, const char *session)
{
	cJSON *params = cJSON_CreateObject(), *shown = NULL;
	const char *reason;

	if (!params || !cJSON_AddStringToObject(params, "session", session)) {
		cJSON_Delete(params);
		return;
	}
	if (app_call(app, "session.show", params, &shown) != 0)
		return;
	reason = cJSON_GetStringValue(cJSON_GetObjectItem(shown, "reason"));
	if (reason)
		(void)app_fail(app, EXIT_CODE_OK, "the session ended: %s",
			       reason);
	cJSON_Delete(shown);
}

/**
 * cmd_terminal() - Turn the connection into a terminal and stay in it
 * @app:	Context; its connection is used up
 * @method:	session.exec or session.attach
 * @params:	Owned from here on
 * @tty:	The program has a terminal
 * @read_only:	Nothing typed is sent
 * @left:	Said when the user leaves
 *
 * Return: the program's exit code; 125 when Kenaz failed.
 */
int cmd_terminal(struct app *app, const char *method, cJSON *params, bool tty,
		 bool read_only, const char *left)
{
	const struct attach_options options = {.tty = tty,
					       .read_only = read_only,
					       .left = left};
	const char *named =
		cJSON_GetStringValue(cJSON_GetObjectItem(params, "session"));
	cJSON *result = NULL;
	char session[64];
	struct buf rest;
	int fd, code;

	(void)snprintf(session, sizeof(session), "%s", named ? named : "");
	code = app_call_slow(app, method, params, &result);

	if (code != 0)
		return EXIT_CODE_KENAZ;
	cJSON_Delete(result);
	buf_init(&rest, CONTROL_LINE_MAX_BYTES * 2);
	fd = control_take(app->control, &rest);
	app_fini(app);
	if (fd < 0)
		code = app_fail(app, EXIT_CODE_KENAZ,
				"not enough memory for the session's output");
	else
		code = attach_run(fd, &rest, &options);
	buf_fini(&rest);
	if (code == EXIT_CODE_KENAZ && session[0])
		say_why_ended(app, session);
	return code;
}
