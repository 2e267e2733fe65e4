/* SPDX-License-Identifier: Apache-2.0 */
/*
 * app.c - what every command shares: options, output, the connection
 *
 * Runs in: kenaz.
 * Trusts:  the engine to speak its protocol; not the texts in its answers.
 * Never:   prints a text that did not pass engine/base/text.h.
 */
#include "tui/app.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "tui/engine_find.h"

#define LINE_MAX_BYTES 4096

static void print_line(const char *format, va_list args)
	__attribute__((format(printf, 1, 0)));

/* A line of progress that has no end yet. */
static bool line_is_open;

/** app_open_line() - Whether what is printed next has to replace a line */
void app_open_line(bool open)
{
	line_is_open = open;
}

static void print_line(const char *format, va_list args)
{
	char raw[LINE_MAX_BYTES / 2], line[LINE_MAX_BYTES];

	if (vsnprintf(raw, sizeof(raw), format, args) < 0)
		return;
	(void)text_escape_line(span_text(raw), line, sizeof(line));
	(void)fprintf(stderr, "%skenaz: %s\n", line_is_open ? "\r\033[K" : "",
		      line);
	line_is_open = false;
}

/**
 * app_fail() - Say on standard error why a command ends
 * @app:	Context
 * @code:	Exit code
 * @format:	As printf(3); the finished line is escaped
 *
 * Return: @code, for the caller to return.
 */
int app_fail(const struct app *app, enum exit_code code, const char *format,
	     ...)
{
	va_list args;

	(void)app;
	va_start(args, format);
	print_line(format, args);
	va_end(args);
	return (int)code;
}

/**
 * app_note() - Say something that --quiet leaves out
 * @app:	Context
 * @format:	As printf(3); the finished line is escaped
 */
void app_note(const struct app *app, const char *format, ...)
{
	va_list args;

	if (app->quiet)
		return;
	va_start(args, format);
	print_line(format, args);
	va_end(args);
}

static void started_progress(void *user, unsigned elapsed_ms)
{
	const struct app *app = user;

	if (elapsed_ms == 0)
		app_note(app, "no engine is running; starting one for this "
			      "user");
	else if (elapsed_ms % 5000 == 0)
		app_note(app, "still waiting for the engine (%u s)",
			 elapsed_ms / 1000);
}

/**
 * app_connect() - Connect to the engine once, starting the user's if needed
 * @app:	Context; holds the connection afterwards
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int app_connect(struct app *app)
{
	struct engine_found found;
	enum err e;

	if (app->control)
		return 0;
	e = engine_find(app->socket_path, !app->no_start, started_progress, app,
			&found);
	if (e != ERR_OK)
		return app_fail(app, EXIT_CODE_UNREACHABLE, "%s", found.error);
	if (app->verbose)
		app_note(app, "engine at %s", found.path);
	if (found.fallback && (found.started || app->verbose))
		app_note(app,
			 "XDG_RUNTIME_DIR is not set; the engine's socket "
			 "is %s",
			 found.path);
	e = control_new(found.fd, &app->control);
	if (e != ERR_OK) {
		close(found.fd);
		return app_fail(app, EXIT_CODE_FAILED, "%s", err_text(e));
	}
	return 0;
}

static int call(struct app *app, const char *method, cJSON *params,
		int timeout_ms, cJSON **ret_result)
{
	struct control_error error;
	int code = app_connect(app);
	enum err e;

	if (code != 0) {
		cJSON_Delete(params);
		return code;
	}
	e = control_call(app->control, method, params, timeout_ms, ret_result,
			 &error);
	if (e == ERR_OK)
		return 0;
	return app_fail(app, error.code, "%s", error.text);
}

/**
 * app_call() - Ask the engine and wait for its answer
 * @app:	Context; connected when it is not yet
 * @method:	Verb of docs/control.md
 * @params:	Owned from here on; may be NULL
 * @ret_result:	Owned by the caller; written on success
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int app_call(struct app *app, const char *method, cJSON *params,
	     cJSON **ret_result)
{
	return call(app, method, params, APP_CALL_MAX_MS, ret_result);
}

/** app_call_slow() - As app_call() without a limit: a guest or person acts */
int app_call_slow(struct app *app, const char *method, cJSON *params,
		  cJSON **ret_result)
{
	return call(app, method, params, -1, ret_result);
}

/** app_written() - The exit code after printing: 0, or why it failed */
int app_written(const struct app *app, enum err e)
{
	if (e == ERR_OK && fflush(stdout) == 0)
		return 0;
	return app_fail(app, EXIT_CODE_FAILED, "cannot write the output: %s",
			e == ERR_OK || e == ERR_SYS ? strerror(errno)
						    : err_text(e));
}

/** app_fini() - Close the connection */
void app_fini(struct app *app)
{
	control_free(app->control);
	app->control = NULL;
}

/** app_params() - An empty parameter object; ends the program without memory */
cJSON *app_params(void)
{
	cJSON *params = cJSON_CreateObject();

	if (!params)
		abort();
	return params;
}

/** app_add_text() - Add a text unless it is NULL */
void app_add_text(cJSON *params, const char *key, const char *value)
{
	if (value && !cJSON_AddStringToObject(params, key, value))
		abort();
}

/** app_add_number() - Add a number */
void app_add_number(cJSON *params, const char *key, double value)
{
	if (!cJSON_AddNumberToObject(params, key, value))
		abort();
}

/** app_add_bool() - Add a truth value */
void app_add_bool(cJSON *params, const char *key, bool value)
{
	if (!cJSON_AddBoolToObject(params, key, value))
		abort();
}

/** app_add_words() - Add a list of texts ended by NULL */
void app_add_words(cJSON *params, const char *key, char *const *words)
{
	cJSON *list = cJSON_AddArrayToObject(params, key);

	if (!list)
		abort();
	for (; *words; words++)
		if (!cJSON_AddItemToArray(list, cJSON_CreateString(*words)))
			abort();
}

/** app_text() - A text member, or "" when it is absent or no text */
const char *app_text(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsString(item) ? item->valuestring : "";
}

/** app_number() - A number member, or @fallback */
double app_number(const cJSON *object, const char *key, double fallback)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

/** app_is_true() - Whether a member is true */
bool app_is_true(const cJSON *object, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key));
}
