/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_session_attach.c - kenaz session attach and exec: join a session
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   ends a session by leaving it.
 */
#include <string.h>

#include "tui/cmd_common.h"
#include "tui/command.h"

static const struct option_row attach_options[] = {
	{"read-only", 'r', NULL, "look, and send nothing"},
	{0},
};

static int cmd_attach(struct app *app, struct args *args)
{
	bool read_only = args_has(args, "read-only");
	cJSON *params;

	if (cmd_ask_provenance(app) != 0)
		return EXIT_CODE_KENAZ;
	params = app_params();
	app_add_text(params, "session", args->rest[0]);
	app_add_bool(params, "read_only", read_only);
	cmd_add_size(params);
	return cmd_terminal(app, "session.attach", params, true, read_only,
			    "left; the session goes on");
}

const struct command command_session_attach = {
	.name = "session attach",
	.arguments = "SESSION",
	.summary = "Join the kept program of a session",
	.text = "Ctrl-] d leaves it running; Ctrl-] Ctrl-] sends one Ctrl-].",
	.options = attach_options,
	.args_min = 1,
	.args_max = 1,
	.program_code = true,
	.run = cmd_attach,
};

static const struct option_row exec_options[] = {
	{"tty", 't', NULL, "give CMD a terminal, whatever this one is"},
	{"no-tty", 'T', NULL, "give CMD pipes"},
	{"cwd", 0, "DIR", "folder in the session"},
	{0},
};

static int cmd_exec(struct app *app, struct args *args)
{
	bool tty = cmd_wants_tty(args);
	bool dashes = args->rest[1] && strcmp(args->rest[1], "--") == 0;
	cJSON *params = app_params();

	app_add_text(params, "session", args->rest[0]);
	app_add_words(params, "argv", args->rest + (dashes ? 2 : 1));
	app_add_bool(params, "tty", tty);
	app_add_text(params, "cwd", args_value(args, "cwd"));
	if (tty)
		cmd_add_size(params);
	return cmd_terminal(app, "session.exec", params, tty, false,
			    "left; CMD is hung up, the session goes on");
}

const struct command command_session_exec = {
	.name = "session exec",
	.arguments = "SESSION [--] [CMD…]",
	.summary = "Run CMD (or the workbench) in a session",
	.text = "The exit code is CMD's, 128+N for signal N; 125 when Kenaz "
		"itself failed.",
	.options = exec_options,
	.args_min = 1,
	.args_max = COMMAND_ANY_ARGS,
	.runs_program = true,
	.program_code = true,
	.run = cmd_exec,
};
