/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_audit_verify.c - kenaz audit verify: hand the log to kenaz-verify
 *
 * Runs in: kenaz.
 * Trusts:  kenaz-verify's verdict; it shares no process with the engine.
 * Never:   judges the log itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/paths.h"
#include "engine/base/file.h"
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/program.h"

#define PUMP_BYTES       65536u
#define VERIFY_WORDS_MAX 8u
#define ANCHOR_NAME      "anchor.note"

static const struct option_row options[] = {
	{"log", 0, "DIR", "verify a log's folder without an engine"},
	{"anchor", 0, "FILE", "checkpoint that the log must contain"},
	{0},
};

/* kenaz-verify's arguments; without --log it reads standard input. */
struct verify_argv {
	char *words[VERIFY_WORDS_MAX];
	size_t count;
};

static void add_word(struct verify_argv *argv, const char *word)
{
	char *copy = strdup(word);

	if (!copy || argv->count + 1 >= VERIFY_WORDS_MAX)
		abort();
	argv->words[argv->count++] = copy;
}

static void add_option(struct verify_argv *argv, const char *name,
		       const char *value)
{
	if (!value || !value[0])
		return;
	add_word(argv, name);
	add_word(argv, value);
}

static void verify_argv_fini(struct verify_argv *argv)
{
	while (argv->count)
		free(argv->words[--argv->count]);
}

/* The engine's own anchor, unless the user has a copy kept elsewhere. */
static int add_anchor(struct app *app, const struct args *args,
		      struct verify_argv *argv)
{
	const char *given = args_value(args, "anchor");
	char path[PROGRAM_PATH_MAX_BYTES];
	cJSON *info = NULL;
	int code;

	if (given || args_has(args, "log")) {
		add_option(argv, "--anchor", given);
		return 0;
	}
	code = app_call(app, "engine.info", NULL, &info);
	if (code != 0)
		return code;
	if (paths_join(app_text(cJSON_GetObjectItemCaseSensitive(info, "log"),
				"anchor"),
		       ANCHOR_NAME, path, sizeof(path)) == ERR_OK &&
	    access(path, R_OK) == 0)
		add_option(argv, "--anchor", path);
	else
		app_note(app, "the engine's anchor cannot be read here; give a "
			      "copy with --anchor, or a log that was cut off "
			      "goes unnoticed");
	cJSON_Delete(info);
	return 0;
}

static enum err pump(struct span first, int from, int to)
{
	static char chunk[PUMP_BYTES];
	enum err e = file_write_all(to, first);

	while (e == ERR_OK) {
		ssize_t n = recv(from, chunk, sizeof(chunk), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? ERR_OK : ERR_SYS;
		e = file_write_all(to, span_of(chunk, (size_t)n));
	}
	return e;
}

static int wait_code(const struct app *app, pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return app_fail(app, EXIT_CODE_FAILED,
					"cannot wait for kenaz-verify");
	if (WIFSIGNALED(status))
		return app_fail(app, EXIT_CODE_FAILED,
				"kenaz-verify was ended by signal %d",
				WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* Start kenaz-verify with the dump as its standard input. */
static int verify_stream(struct app *app, const char *path, char **argv)
{
	int pipes[2], fd, code;
	cJSON *result = NULL;
	struct buf rest;
	enum err e;
	pid_t pid;

	code = app_call(app, "audit.dump", NULL, &result);
	cJSON_Delete(result);
	if (code != 0)
		return code;
	if (pipe2(pipes, O_CLOEXEC) != 0)
		return app_fail(app, EXIT_CODE_FAILED, "cannot make a pipe");
	pid = fork();
	if (pid == 0) {
		if (dup2(pipes[0], STDIN_FILENO) == STDIN_FILENO)
			(void)execv(path, argv);
		_exit(EXIT_CODE_FAILED);
	}
	close(pipes[0]);
	if (pid < 0) {
		close(pipes[1]);
		return app_fail(app, EXIT_CODE_FAILED, "cannot start %s", path);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	buf_init(&rest, CONTROL_LINE_MAX_BYTES * 2);
	fd = control_take(app->control, &rest);
	e = fd < 0 ? ERR_MEMORY : pump(buf_span(&rest), fd, pipes[1]);
	buf_fini(&rest);
	if (fd >= 0)
		close(fd);
	close(pipes[1]);
	code = wait_code(app, pid);
	if (code == 0 && e != ERR_OK)
		code = app_fail(app, EXIT_CODE_FAILED,
				"the log's dump broke off: %s", err_text(e));
	return code;
}

static int cmd_verify(struct app *app, struct args *args)
{
	char path[PROGRAM_PATH_MAX_BYTES];
	struct verify_argv argv = {0};
	int code;

	if (program_find("kenaz-verify", path, sizeof(path)) != ERR_OK)
		return app_fail(app, EXIT_CODE_FAILED,
				"kenaz-verify is neither beside kenaz nor in "
				"%s",
				KENAZ_LIBEXECDIR);
	add_word(&argv, "kenaz-verify");
	add_option(&argv, "--log", args_value(args, "log"));
	add_option(&argv, "-o", app->format == OUTPUT_TABLE ? NULL : "json");
	code = add_anchor(app, args, &argv);
	if (code == 0 && args_has(args, "log")) {
		(void)execv(path, argv.words);
		code = app_fail(app, EXIT_CODE_FAILED, "cannot start %s: %s",
				path, strerror(errno));
	} else if (code == 0) {
		code = verify_stream(app, path, argv.words);
	}
	verify_argv_fini(&argv);
	return code;
}

const struct command command_audit_verify = {
	.name = "audit verify",
	.arguments = "",
	.summary = "Recompute the whole audit log and its signatures",
	.text = "With a running engine its log is read through it; --log DIR "
		"needs none.",
	.options = options,
	.run = cmd_verify,
};
