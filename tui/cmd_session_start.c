/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_session_start.c - kenaz session start: a session that stays
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   hides how a session was started or what answers it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "tui/cmd_common.h"
#include "tui/cmd_session.h"
#include "tui/command.h"

static const struct option_row options[] = {
	{"image", 0, "NAME", "image of the VM"},
	{"provider", 0, "NAME", "provider that answers the session"},
	{"memory", 0, "MIB", "memory of the VM"},
	{"cpus", 0, "N", "processors of the VM"},
	{"tty", 't', NULL, "give CMD a terminal (the default)"},
	{"no-tty", 'T', NULL, "give CMD pipes"},
	{"detach", 'd', NULL,
	 "as 'run' has it; a started session always stays"},
	{0},
};

/* One line on a terminal that says what a starting session waits for. */
struct progress {
	bool shown;
	bool redraws; /* the terminal can replace a line */
	bool open;    /* the line has no end yet */
	bool listed;  /* --verbose: every stage stays */
};

static void on_notify(void *user, const char *method, const cJSON *params)
{
	struct progress *p = user;
	char name[64];

	(void)method;
	if (!p->shown || !app_text(params, "name")[0])
		return;
	(void)text_escape_line(span_text(app_text(params, "name")), name,
			       sizeof(name));
	if (p->listed) {
		(void)fprintf(stderr, "kenaz: %s at %.0f ms\n", name,
			      app_number(params, "ms", 0));
	} else if (p->redraws) {
		(void)fprintf(stderr, "\r\033[Kkenaz: starting VM: %s", name);
		p->open = true;
		app_open_line(true);
	}
}

static void progress_begin(const struct app *app, struct progress *p)
{
	const char *term = getenv("TERM");

	p->shown = !app->quiet && isatty(STDERR_FILENO);
	p->redraws = term && term[0] && strcmp(term, "dumb") != 0;
	p->listed = app->verbose;
	if (!p->shown || p->listed || !p->redraws)
		return;
	(void)fprintf(stderr, "kenaz: starting VM");
	p->open = true;
	app_open_line(true);
}

static void progress_end(struct progress *p, const cJSON *started)
{
	char how[64], accelerator[64];

	/* An error that was printed took its place. */
	if (p->open && started)
		(void)fprintf(stderr, "\r\033[K");
	app_open_line(false);
	if (!p->shown || !started)
		return;
	(void)text_escape_line(span_text(app_text(started, "start")), how,
			       sizeof(how));
	(void)text_escape_line(span_text(app_text(started, "accelerator")),
			       accelerator, sizeof(accelerator));
	(void)fprintf(stderr, "kenaz: VM ready in %.1f s (%s start, %s)\n",
		      app_number(started, "total_ms", 0) / 1000, how,
		      accelerator);
}

static enum err add_limits(struct args *args, cJSON *params)
{
	uint64_t number;
	enum err e = args_number(args, "memory", SESSION_MEMORY_MIN_MIB,
				 SESSION_MEMORY_MAX_MIB, &number);

	if (e == ERR_OK)
		app_add_number(params, "memory_mib", (double)number);
	else if (e != ERR_NOT_FOUND)
		return e;
	e = args_number(args, "cpus", 1, SESSION_CPUS_MAX, &number);
	if (e == ERR_OK)
		app_add_number(params, "vcpus", (double)number);
	else if (e != ERR_NOT_FOUND)
		return e;
	return ERR_OK;
}

/* Before an agent finds out by a refusal in every request. */
static void say_vault(struct app *app)
{
	cJSON *status = NULL;

	if (app_call(app, "secret.status", NULL, &status) == 0 &&
	    strcmp(app_text(status, "state"), "locked") == 0)
		app_note(app, "the vault is locked: requests that need a key "
			      "are refused until 'kenaz secret unlock'");
	cJSON_Delete(status);
}

/**
 * session_start() - Start a session and show how it goes
 * @app:		Context; its connection owns the session unless @detach
 * @args:		Options of "run" or "session start", and CMD
 * @detach:		The session and CMD outlive this program
 * @ret_started:	The engine's answer, owned by the caller
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int session_start(struct app *app, struct args *args, bool detach,
		  cJSON **ret_started)
{
	struct progress progress = {0};
	cJSON *params = app_params();
	int code;

	app_add_text(params, "image", args_value(args, "image"));
	app_add_text(params, "provider", args_value(args, "provider"));
	app_add_bool(params, "detach", detach);
	if (add_limits(args, params) != ERR_OK) {
		cJSON_Delete(params);
		return cmd_usage(app, args);
	}
	if (detach) {
		app_add_words(params, "argv", args->rest);
		app_add_bool(params, "tty", !args_has(args, "no-tty"));
		cmd_add_size(params);
	}
	code = app_connect(app);
	if (code != 0) {
		cJSON_Delete(params);
		return code;
	}
	progress_begin(app, &progress);
	control_on_notify(app->control, on_notify, &progress);
	code = app_call_slow(app, "session.start", params, ret_started);
	control_on_notify(app->control, NULL, NULL);
	progress_end(&progress, code == 0 ? *ret_started : NULL);
	if (code != 0)
		return code;
	cmd_say_provenance(app, app_is_true(*ret_started, "scripted"),
			   app_is_true(*ret_started, "no_isolation"));
	if (!app->quiet && !app_is_true(*ret_started, "scripted"))
		say_vault(app);
	return 0;
}

/** session_print_started() - Print a kept session's id, or all of it as JSON */
int session_print_started(struct app *app, cJSON *started)
{
	char session[64];

	if (app->format != OUTPUT_TABLE)
		return app_written(app, output_object(app->format, started));
	(void)text_escape_line(span_text(app_text(started, "session")), session,
			       sizeof(session));
	(void)printf("%s\n", session);
	app_note(app, "attach with 'kenaz session attach %s'", session);
	return app_written(app, ERR_OK);
}

static int cmd_session_start(struct app *app, struct args *args)
{
	cJSON *started = NULL;
	int code = session_start(app, args, true, &started);

	if (code != 0)
		return code;
	code = session_print_started(app, started);
	cJSON_Delete(started);
	return code;
}

const struct command command_session_start = {
	.name = "session start",
	.arguments = "[--] [CMD…]",
	.summary = "Start a session that stays until it is stopped",
	.text = "CMD (or the workbench) becomes its kept program, which "
		"'kenaz session attach' joins.",
	.options = options,
	.args_max = COMMAND_ANY_ARGS,
	.runs_program = true,
	.run = cmd_session_start,
};
