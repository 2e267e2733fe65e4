/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_engine.c - kenaz serve, engine info and engine stop
 *
 * Runs in: kenaz.
 * Trusts:  the kenazd beside it.
 * Never:   stays between a service manager and the engine: serve becomes it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/paths.h"
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/program.h"

/* A session gets time to end, the log to close. */
#define STOP_MAX_MS 40000

static const struct option_row serve_options[] = {
	{"dev-mock-vm", 0, NULL, "sessions as host processes: NO ISOLATION"},
	{0},
};

/* kenazd is told the folder; the name in it is fixed. */
static bool is_engine_socket(const char *path)
{
	const char *slash = strrchr(path, '/');

	return path[0] == '/' && slash > path &&
	       strcmp(slash + 1, PATHS_SOCKET_NAME) == 0;
}

static int cmd_serve(struct app *app, struct args *args)
{
	char path[PROGRAM_PATH_MAX_BYTES];
	char *argv[ARGS_REST_MAX + 8];
	size_t n = 0, i;

	if (program_find("kenazd", path, sizeof(path)) != ERR_OK)
		return app_fail(app, EXIT_CODE_FAILED,
				"kenazd is neither beside kenaz nor in %s",
				KENAZ_LIBEXECDIR);
	argv[n++] = strdup("kenazd");
	if (app->socket_path) {
		if (!is_engine_socket(app->socket_path))
			return app_fail(app, EXIT_CODE_USAGE,
					"--socket %s: an engine's socket is an "
					"absolute path that ends in /%s",
					app->socket_path, PATHS_SOCKET_NAME);
		argv[n++] = strdup("--runtime-dir");
		argv[n++] = strndup(app->socket_path,
				    strlen(app->socket_path) -
					    strlen(PATHS_SOCKET_NAME) - 1);
	}
	if (args_has(args, "dev-mock-vm"))
		argv[n++] = strdup("--dev-mock-vm");
	/* Who watches it wants to know when it is ready. */
	if (!app->quiet)
		argv[n++] = strdup("-v");
	for (i = 0; i < n; i++)
		if (!argv[i])
			abort();
	for (i = 0; i < args->rest_count; i++)
		argv[n++] = args->rest[i];
	argv[n] = NULL;
	(void)execv(path, argv);
	return app_fail(app, EXIT_CODE_FAILED, "cannot start %s: %s", path,
			strerror(errno));
}

const struct command command_serve = {
	.name = "serve",
	.arguments = "[-- KENAZD-OPTIONS…]",
	.summary = "Run the engine in the foreground, as kenazd does",
	.options = serve_options,
	.args_max = COMMAND_ANY_ARGS,
	.run = cmd_serve,
};

static int cmd_info(struct app *app, struct args *args)
{
	cJSON *result = NULL;
	int code = app_call(app, "engine.info", NULL, &result);

	(void)args;
	if (code != 0)
		return code;
	cmd_say_provenance(app, app_is_true(result, "scripted"),
			   app_is_true(result, "no_isolation"));
	return cmd_print_object(app, result);
}

const struct command command_engine_info = {
	.name = "engine info",
	.arguments = "",
	.summary = "Show the engine: version, state, log, accelerator",
	.options = cmd_no_options,
	.run = cmd_info,
};

static int ask_to_end(struct app *app, const char *method, const char *done)
{
	cJSON *result = NULL;
	int code;

	app->no_start = true;
	code = app_call_slow(app, method, NULL, &result);
	cJSON_Delete(result);
	if (code != 0)
		return code;
	/* It closes the connection as the last thing it does. */
	while (control_read(app->control, STOP_MAX_MS, &result) == ERR_OK)
		cJSON_Delete(result);
	app_note(app, "%s", done);
	return 0;
}

static int cmd_stop(struct app *app, struct args *args)
{
	(void)args;
	return ask_to_end(app, "engine.stop", "the engine has stopped");
}

static int cmd_handover(struct app *app, struct args *args)
{
	(void)args;
	return ask_to_end(
		app, "engine.handover",
		"the engine has left; its sessions wait for the next");
}

const struct command command_engine_stop = {
	.name = "engine stop",
	.arguments = "",
	.summary = "End all sessions, close the log, stop the engine",
	.options = cmd_no_options,
	.run = cmd_stop,
};

const struct command command_engine_handover = {
	.name = "engine handover",
	.arguments = "",
	.summary = "Stop the engine, leave its sessions to the next one",
	.text = "For an upgrade of a service engine. Requests under way are "
		"cancelled, the agents\ngo on. Whoever is not adopted within "
		"engine.adopt_s ends.",
	.options = cmd_no_options,
	.run = cmd_handover,
};
