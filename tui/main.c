/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz: the command line and the terminal interface
 *
 * Runs in: its own process, as the user.
 * Trusts:  its user and the engine.
 * Never:   holds a key (but for the moment of 'secret set'), opens a network
 *	    connection, writes a guest's byte to a terminal unfiltered.
 */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "tui/app.h"
#include "tui/command.h"
#include "tui/screen_app.h"
#include "engine/proto/child.h"

#define CHOICES_MAX_BYTES 512u
#define WORDS_MAX         4096

/* Widths of characters need UTF-8, whatever the user's locale says. */
static void use_locale(void)
{
	if (!setlocale(LC_ALL, "") ||
	    strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		(void)setlocale(LC_CTYPE, "C.UTF-8");
}

static int apply_globals(struct app *app, const struct args *args)
{
	const char *output = args_value(args, "output");
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (output && output_format_find(output, &app->format) != ERR_OK)
		return app_fail(app, EXIT_CODE_USAGE,
				"-o '%s': the formats are table, json and "
				"jsonl",
				output);
	if (args_has(args, "quiet"))
		app->quiet = true;
	if (args_has(args, "verbose"))
		app->verbose = true;
	if (args_value(args, "socket"))
		app->socket_path = args_value(args, "socket");
	app->color = !args_has(args, "no-color") &&
		     !(no_color && no_color[0]) && isatty(STDOUT_FILENO) &&
		     term && strcmp(term, "dumb") != 0;
	return 0;
}

/* Options before the command's name are global ones. */
static size_t leading_options(char *const *words, size_t count)
{
	size_t i = 0;

	while (i < count && words[i][0] == '-' && words[i][1]) {
		const char *word = words[i];
		const struct option_row *row;

		if (strcmp(word, "--") == 0 || strcmp(word, "--version") == 0)
			break;
		for (row = command_globals; row->name; row++)
			if ((word[1] == '-' &&
			     strcmp(word + 2, row->name) == 0) ||
			    (row->letter && word[1] == row->letter &&
			     word[2] == '\0'))
				break;
		i += row->name && row->value ? 2 : 1;
	}
	return i < count ? i : count;
}

/* One sentence with the choices; the whole list where only help was meant. */
static int refuse_command(struct app *app, char *const *words, size_t count)
{
	const char *second = count > 1 ? words[1] : "--help";
	char choices[CHOICES_MAX_BYTES];

	if (command_choices(words[0], choices, sizeof(choices)) != ERR_OK)
		return app_fail(app, EXIT_CODE_USAGE,
				"no command '%s'; 'kenaz help' lists them",
				words[0]);
	if (strcmp(second, "--help") == 0 || strcmp(second, "-h") == 0) {
		if (count > 1)
			return app_written(app, command_print_list(words[0]));
		return app_fail(app, EXIT_CODE_USAGE,
				"%s: say what: %s; 'kenaz %s --help' explains "
				"them",
				words[0], choices, words[0]);
	}
	return app_fail(app, EXIT_CODE_USAGE,
			"%s: no command '%s'; there are %s", words[0], second,
			choices);
}

static int refuse_count(struct app *app, enum exit_code code,
			const struct command *command, const struct args *args)
{
	if (command->args_max == 0)
		return app_fail(app, code,
				"%s takes no argument; '%.100s' is one",
				command->name, args->rest[0]);
	return app_fail(app, code, "%s wants %s arguments: kenaz %s %s",
			command->name,
			args->rest_count > (size_t)command->args_max ? "fewer"
								     : "more",
			command->name, command->arguments);
}

static int run_command(struct app *app, char *const *words, size_t count)
{
	const struct option_row *tables[] = {command_globals, NULL, NULL};
	const struct command *command;
	enum exit_code wrong;
	struct args args;
	size_t taken = 0;
	int code;

	command = command_find(words, count, &taken);
	if (!command)
		return refuse_command(app, words, count);
	tables[1] = command->options;
	wrong = command->program_code ? EXIT_CODE_KENAZ : EXIT_CODE_USAGE;
	if (args_parse(words + taken, count - taken, tables,
		       command->runs_program, &args) != ERR_OK)
		return app_fail(app, wrong, "%s: %s", command->name,
				args.error);
	code = apply_globals(app, &args);
	if (code != 0)
		return code;
	if (args_has(&args, "help"))
		return app_written(app, command_print_help(command));
	if ((int)args.rest_count < command->args_min ||
	    (int)args.rest_count > command->args_max)
		return refuse_count(app, wrong, command, &args);
	return command->run(app, &args);
}

static int run_words(struct app *app, char *const *words, size_t count)
{
	const struct option_row *tables[] = {command_globals, NULL};
	size_t leading = leading_options(words, count);
	struct args args;
	int code;

	if (args_parse(words, leading, tables, false, &args) != ERR_OK)
		return app_fail(app, EXIT_CODE_USAGE, "%s", args.error);
	code = apply_globals(app, &args);
	if (code != 0)
		return code;
	if (args_has(&args, "help"))
		return app_written(app, command_print_list(NULL));
	words += leading;
	count -= leading;
	if (count && strcmp(words[0], "--version") == 0) {
		(void)printf("kenaz %s\n", KENAZ_VERSION);
		return app_written(app, ERR_OK);
	}
	if (count == 0)
		return screen_app_run(app);
	return run_command(app, words, count);
}

static bool runs_jailed(char *const *words, size_t count)
{
	size_t leading = leading_options(words, count), taken;
	const struct command *command =
		command_find(words + leading, count - leading, &taken);

	return !command || !command->unjailed;
}

int main(int argc, char **argv)
{
	size_t count = argc > 0 ? (size_t)argc - 1 : 0;
	struct app app = {.format = OUTPUT_TABLE};
	int code;

	log_init("kenaz");
	/* A secret is typed here, and a terminal drawn: no core file, no new
	 * privileges, none of the kernel's deeper doors. */
	if (runs_jailed(argv + 1, count) && jail_enter(JAIL_CLIENT) != ERR_OK)
		return app_fail(&app, EXIT_CODE_FAILED,
				"kenaz cannot give up its privileges");
	use_locale();
	if (argc > WORDS_MAX)
		return app_fail(&app, EXIT_CODE_USAGE, "too many arguments");
	code = run_words(&app, argv + 1, count);
	app_fini(&app);
	return code;
}
