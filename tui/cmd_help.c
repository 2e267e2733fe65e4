/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_help.c - kenaz help and completion, from the table of commands
 *
 * Runs in: kenaz.
 * Trusts:  the table.
 * Never:   describes what the table does not hold.
 */
#include <string.h>

#include "tui/cmd_common.h"
#include "tui/command.h"

static int cmd_help(struct app *app, struct args *args)
{
	const struct command *command;
	size_t taken;
	enum err e;

	if (args->rest_count == 0)
		return app_written(app, command_print_list(NULL));
	command = command_find(args->rest, args->rest_count, &taken);
	if (command && taken == args->rest_count)
		return app_written(app, command_print_help(command));
	e = command_print_list(args->rest[0]);
	if (e == ERR_NOT_FOUND)
		return app_fail(app, EXIT_CODE_USAGE,
				"no command '%s'; 'kenaz help' lists them",
				args->rest[0]);
	return app_written(app, e);
}

const struct command command_help = {
	.name = "help",
	.arguments = "[COMMAND]",
	.summary = "List the commands, or say more about one",
	.options = cmd_no_options,
	.args_max = 3,
	.run = cmd_help,
};

static int cmd_completion(struct app *app, struct args *args)
{
	if (strcmp(args->rest[0], "bash") != 0)
		return app_fail(app, EXIT_CODE_USAGE,
				"no completion for '%s'; there is: bash",
				args->rest[0]);
	return app_written(app, command_print_bash());
}

const struct command command_completion = {
	.name = "completion",
	.arguments = "SHELL",
	.summary = "Print the completion script of a shell (bash)",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_completion,
};
