/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_run.c - kenaz run: a new session, a program in it, its exit code
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   leaves a session behind that it was not asked to keep: the session
 *	    belongs to a connection of this process.
 */
#include <stdio.h>
#include <unistd.h>

#include "tui/cmd_common.h"
#include "tui/cmd_session.h"
#include "tui/command.h"

#define STOP_MAX_MS 20000

static const struct option_row options[] = {
	{"image", 0, "NAME", "image of the VM"},
	{"provider", 0, "NAME", "provider that answers the session"},
	{"memory", 0, "MIB", "memory of the VM"},
	{"cpus", 0, "N", "processors of the VM"},
	{"tty", 't', NULL, "give CMD a terminal, whatever this one is"},
	{"no-tty", 'T', NULL, "give CMD pipes"},
	{"detach", 'd', NULL, "print the session's id and leave it running"},
	{0},
};

/* The exec goes over a second connection: the first owns the session. */
static int run_in(struct app *app, const char *session, struct args *args)
{
	struct app second = *app;
	cJSON *params = app_params();
	bool tty = cmd_wants_tty(args);
	int code;

	second.control = NULL;
	app_add_text(params, "session", session);
	app_add_words(params, "argv", args->rest);
	app_add_bool(params, "tty", tty);
	if (tty)
		cmd_add_size(params);
	code = cmd_terminal(&second, "session.exec", params, tty, false,
			    "left; the session ends");
	app_fini(&second);
	return code;
}

static void stop(struct app *app, const char *session)
{
	struct control_error error;
	cJSON *params = app_params(), *result = NULL;

	app_add_text(params, "session", session);
	app_add_text(params, "reason", "its client is done");
	if (control_call(app->control, "session.stop", params, STOP_MAX_MS,
			 &result, &error) != ERR_OK &&
	    app->verbose)
		app_note(app, "stopping the session: %s", error.text);
	cJSON_Delete(result);
}

static int cmd_run(struct app *app, struct args *args)
{
	bool detach = args_has(args, "detach");
	cJSON *started = NULL;
	int code = session_start(app, args, detach, &started);

	if (code != 0)
		return EXIT_CODE_KENAZ;
	if (detach) {
		code = session_print_started(app, started);
	} else {
		code = run_in(app, app_text(started, "session"), args);
		stop(app, app_text(started, "session"));
	}
	cJSON_Delete(started);
	return code;
}

const struct command command_run = {
	.name = "run",
	.arguments = "[--] [CMD…]",
	.summary = "Run CMD (or the workbench) in a new session",
	.text = "The session ends with CMD, or with this program, however it "
		"ends.\nThe exit code is CMD's, 128+N for signal N; 125 when "
		"Kenaz itself failed.\nOn a terminal, Ctrl-] d leaves.",
	.options = options,
	.args_max = COMMAND_ANY_ARGS,
	.runs_program = true,
	.program_code = true,
	.run = cmd_run,
};
