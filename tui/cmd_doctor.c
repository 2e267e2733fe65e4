/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_doctor.c - kenaz doctor: what the engine sees, and what the client does
 *
 * Runs in: kenaz.
 * Trusts:  as app.c.
 * Never:   changes anything; never recommends to delete something.
 */
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/program.h"
#include "tui/wrap.h"

static const struct column columns[] = {
	{"CHECK", "id", CELL_ANY},
	{"STATUS", "status", CELL_ANY},
	{"WHAT", "text", CELL_ANY},
};

/* One list of steps: what fails first, then warnings, then what is advised. */
static bool is_step(const cJSON *check, const char *status)
{
	if (app_text(check, "fix")[0] == '\0' ||
	    strcmp(app_text(check, "status"), status) != 0)
		return false;
	/* Much that is only told has a way to be otherwise. */
	return strcmp(status, "info") != 0 ||
	       strcmp(app_text(check, "id"), "provider") == 0;
}

static enum err put_step(const cJSON *check, size_t width, struct buf *out)
{
	const struct column id = {"", "id", CELL_ANY};
	const struct column fix = {"", "fix", CELL_ANY};
	char name[OUTPUT_CELL_MAX_BYTES], text[OUTPUT_CELL_MAX_BYTES];
	enum err e;

	output_cell(check, &id, name, sizeof(name));
	output_cell(check, &fix, text, sizeof(text));
	e = buf_printf(out, "  %s (%s)\n    ", name, app_text(check, "status"));
	if (e == ERR_OK)
		e = wrap_put(out, text, width, 4);
	return e == ERR_OK ? buf_put_u8(out, '\n') : e;
}

/* What to do comes last: beside long sentences it would be out of sight. */
static int print_next(const struct app *app, const cJSON *checks)
{
	static const char *const statuses[] = {"fail", "warn", "info"};
	size_t width = wrap_width(STDOUT_FILENO), i;
	enum err e = ERR_OK;
	const cJSON *check;
	struct buf out;

	buf_init(&out, OUTPUT_MAX_BYTES);
	for (i = 0; i < ARRAY_SIZE(statuses); i++) {
		cJSON_ArrayForEach(check, checks)
		{
			if (!is_step(check, statuses[i]))
				continue;
			if (e == ERR_OK && out.len_bytes == 0)
				e = buf_put_text(&out, "\nNext:\n");
			if (e == ERR_OK)
				e = put_step(check, width, &out);
		}
	}
	if (e == ERR_OK && out.len_bytes == 0)
		e = buf_put_text(&out, "\nNothing is wrong.\n");
	if (e == ERR_OK)
		e = output_flush(&out);
	buf_fini(&out);
	return app_written(app, e);
}

static void add_check(cJSON *checks, const char *id, const char *status,
		      const char *text, const char *fix)
{
	cJSON *check = app_params();

	app_add_text(check, "id", id);
	app_add_text(check, "status", status);
	app_add_text(check, "text", text);
	app_add_text(check, "fix", fix);
	if (!cJSON_AddItemToArray(checks, check))
		cJSON_Delete(check);
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : "not set";
}

static void check_terminal(cJSON *checks)
{
	bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	char text[256];

	(void)snprintf(text, sizeof(text),
		       "TERM=%.60s, standard output %s a terminal%s%s",
		       environment("TERM"),
		       isatty(STDOUT_FILENO) ? "is" : "is not",
		       getenv("TMUX") ? ", inside tmux" : "",
		       getenv("NO_COLOR") ? ", NO_COLOR set" : "");
	add_check(checks, "client.terminal", "info", text, "");
	(void)snprintf(text, sizeof(text), "the locale's characters are %.40s",
		       nl_langinfo(CODESET));
	add_check(checks, "client.locale", utf8 ? "ok" : "warn", text,
		  utf8 ? "" : "set LANG=C.UTF-8");
}

static void check_program(cJSON *checks, const char *name)
{
	char path[PROGRAM_PATH_MAX_BYTES], id[64];
	bool found = program_find(name, path, sizeof(path)) == ERR_OK;

	(void)snprintf(id, sizeof(id), "client.%s", name);
	add_check(checks, id, found ? "ok" : "fail",
		  found ? path
			: "not found beside kenaz or in " KENAZ_LIBEXECDIR,
		  found ? "" : "install Kenaz again");
}

static bool any_failed(const cJSON *checks)
{
	const cJSON *check;

	cJSON_ArrayForEach(check, checks)
	{
		if (strcmp(app_text(check, "status"), "fail") == 0)
			return true;
	}
	return false;
}

static int cmd_doctor(struct app *app, struct args *args)
{
	cJSON *result = NULL, *checks;
	int code = app_call_slow(app, "doctor", NULL, &result);
	bool failed;

	(void)args;
	if (code == 0)
		code = cmd_ask_provenance(app);
	checks = cJSON_DetachItemFromObjectCaseSensitive(result, "checks");
	if (!cJSON_IsArray(checks)) {
		cJSON_Delete(checks);
		checks = cJSON_CreateArray();
		add_check(checks, "client.engine", "fail",
			  "the engine did not answer",
			  "run 'kenaz serve' and read what it says");
	}
	check_terminal(checks);
	check_program(checks, "kenazd");
	check_program(checks, "kenaz-vt");
	check_program(checks, "kenaz-verify");
	failed = any_failed(checks);
	if (!result)
		result = app_params();
	if (!cJSON_AddItemToObject(result, "checks", checks))
		abort();
	if (app->format == OUTPUT_JSON)
		code = app_written(app, output_object(app->format, result));
	else
		code = app_written(app,
				   output_list(app->format, checks, columns,
					       ARRAY_SIZE(columns)));
	if (code == 0 && app->format == OUTPUT_TABLE)
		code = print_next(app, checks);
	cJSON_Delete(result);
	return code == 0 && failed ? EXIT_CODE_FAILED : code;
}

const struct command command_doctor = {
	.name = "doctor",
	.arguments = "",
	.summary = "Check this machine and the engine; changes nothing",
	.text = "The exit code is 1 when a check fails.",
	.options = cmd_no_options,
	.run = cmd_doctor,
};
