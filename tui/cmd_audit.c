/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_audit.c - kenaz audit tail, list, show and payload
 *
 * Runs in: kenaz.
 * Trusts:  as app.c.
 * Never:   shows an event's text unescaped, not even the raw one.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/event_line.h"

#define LAST_DEFAULT  20u
#define LIMIT_DEFAULT 100u
#define LIMIT_MAX     1000u

static const struct option_row tail_options[] = {
	{"lines", 'n', "N", "how many events to begin with (20)"},
	{"follow", 'f', NULL, "go on with new events until interrupted"},
	{"session", 0, "SESSION", "events of this session only"},
	{"kind", 0, "KIND", "events of this kind only"},
	{0},
};

static int print_event(struct app *app, const cJSON *event)
{
	char line[EVENT_LINE_MAX_BYTES];
	enum err e;

	if (app->format != OUTPUT_TABLE)
		return app_written(app, output_object(OUTPUT_JSONL, event));
	event_line(event, line, sizeof(line));
	e = printf("%s\n", line) < 0 ? ERR_SYS : ERR_OK;
	return app_written(app, e);
}

/* For people: --quiet is for programs, which want lines of events only. */
static int print_heading(const struct app *app)
{
	bool good = true;

	if (app->format == OUTPUT_TABLE && !app->quiet)
		good = printf("%s\n", EVENT_LINE_HEADING) >= 0;
	return app_written(app, good ? ERR_OK : ERR_SYS);
}

static int print_events(struct app *app, const cJSON *events)
{
	const cJSON *event;
	int code;

	if (app->format == OUTPUT_JSON)
		return app_written(app,
				   output_list(OUTPUT_JSON, events, NULL, 0));
	if (app->format == OUTPUT_TABLE && cJSON_GetArraySize(events) == 0)
		app_note(app, "no such events");
	code = cJSON_GetArraySize(events) ? print_heading(app) : 0;
	if (code != 0)
		return code;
	cJSON_ArrayForEach(event, events)
	{
		code = print_event(app, event);
		if (code != 0)
			break;
	}
	return code;
}

static void add_filters(const struct args *args, cJSON *params)
{
	app_add_text(params, "session", args_value(args, "session"));
	app_add_text(params, "kind", args_value(args, "kind"));
}

struct follow {
	struct app *app;
	bool begun;
	int code;
};

static void on_event(void *user, const char *method, const cJSON *params)
{
	struct follow *follow = user;

	if (strcmp(method, "audit.event") != 0 || follow->code != 0)
		return;
	if (!follow->begun)
		follow->code = print_heading(follow->app);
	follow->begun = true;
	if (follow->code == 0)
		follow->code = print_event(follow->app, params);
}

static int follow(struct app *app, cJSON *params)
{
	struct follow state = {.app = app};
	struct control_error error;
	cJSON *result = NULL, *message = NULL;
	int code = app_connect(app);
	enum err e;

	if (code != 0) {
		cJSON_Delete(params);
		return code;
	}
	control_on_notify(app->control, on_event, &state);
	code = app_call(app, "audit.tail", params, &result);
	cJSON_Delete(result);
	while (code == 0 && state.code == 0) {
		const cJSON *method;

		e = control_read(app->control, -1, &message);
		if (e != ERR_OK)
			return app_fail(app, EXIT_CODE_UNREACHABLE,
					"the engine closed the connection");
		method = cJSON_GetObjectItemCaseSensitive(message, "method");
		if (cJSON_IsString(method))
			on_event(&state, method->valuestring,
				 cJSON_GetObjectItemCaseSensitive(message,
								  "params"));
		else if (control_result(message, 0, &result, &error) ==
			 ERR_DENIED)
			code = app_fail(app, error.code, "%s", error.text);
		cJSON_Delete(message);
	}
	return code ? code : state.code;
}

static int list(struct app *app, cJSON *params)
{
	cJSON *result = NULL;
	int code = app_call(app, "audit.list", params, &result);

	if (code != 0)
		return code;
	code = print_events(app,
			    cJSON_GetObjectItemCaseSensitive(result, "events"));
	cJSON_Delete(result);
	return code;
}

static int cmd_tail(struct app *app, struct args *args)
{
	bool follows = args_has(args, "follow");
	cJSON *params = app_params();
	uint64_t lines = LAST_DEFAULT;
	enum err e =
		args_number(args, "lines", follows ? 0 : 1, LIMIT_MAX, &lines);

	if (e != ERR_OK && e != ERR_NOT_FOUND) {
		cJSON_Delete(params);
		return cmd_usage(app, args);
	}
	add_filters(args, params);
	if (follows) {
		app_add_number(params, "last", (double)lines);
		return follow(app, params);
	}
	app_add_number(params, "limit", (double)lines);
	app_add_bool(params, "backward", true);
	return list(app, params);
}

const struct command command_audit_tail = {
	.name = "audit tail",
	.arguments = "",
	.summary = "Print the latest events of the audit log",
	.options = tail_options,
	.run = cmd_tail,
};

static const struct option_row list_options[] = {
	{"from", 0, "SEQ", "first event (0)"},
	{"limit", 0, "N", "how many at most (100)"},
	{"session", 0, "SESSION", "events of this session only"},
	{"kind", 0, "KIND", "events of this kind only"},
	{"image", 0, "IMAGE",
	 "events of the sessions that ran on this image: "
	 "its name, or a digest's first digits"},
	{0},
};

static int cmd_list_events(struct app *app, struct args *args)
{
	cJSON *params = app_params();
	uint64_t from = 0, limit = LIMIT_DEFAULT;
	enum err e = args_number(args, "from", 0, APP_NUMBER_MAX, &from);

	if (e == ERR_OK || e == ERR_NOT_FOUND)
		e = args_number(args, "limit", 1, LIMIT_MAX, &limit);
	if (e != ERR_OK && e != ERR_NOT_FOUND) {
		cJSON_Delete(params);
		return cmd_usage(app, args);
	}
	app_add_number(params, "from", (double)from);
	app_add_number(params, "limit", (double)limit);
	add_filters(args, params);
	app_add_text(params, "image", args_value(args, "image"));
	return list(app, params);
}

const struct command command_audit_list = {
	.name = "audit list",
	.arguments = "",
	.summary = "Print events of the audit log, oldest first",
	.options = list_options,
	.run = cmd_list_events,
};

static enum err seq_params(struct args *args, cJSON **ret_params)
{
	uint64_t seq;

	if (text_parse_u64(span_text(args->rest[0]), 0, APP_NUMBER_MAX, &seq) !=
	    ERR_OK) {
		(void)snprintf(args->error, sizeof(args->error),
			       "'%.100s' is not an event's number",
			       args->rest[0]);
		return ERR_FORMAT;
	}
	*ret_params = app_params();
	app_add_number(*ret_params, "seq", (double)seq);
	return ERR_OK;
}

static const struct option_row show_options[] = {
	{"raw", 0, NULL, "print the stored bytes, escaped"},
	{0},
};

static int cmd_show(struct app *app, struct args *args)
{
	cJSON *params, *result = NULL;
	struct buf out;
	enum err e;
	int code;

	if (seq_params(args, &params) != ERR_OK)
		return cmd_usage(app, args);
	code = app_call(app, "audit.show", params, &result);
	if (code != 0)
		return code;
	if (!args_has(args, "raw")) {
		code = app_written(
			app, output_object(app->format,
					   cJSON_GetObjectItemCaseSensitive(
						   result, "event")));
	} else {
		buf_init(&out, OUTPUT_MAX_BYTES);
		e = text_escape(span_text(app_text(result, "raw")), false,
				&out);
		if (e == ERR_OK)
			e = buf_put_u8(&out, '\n');
		code = app_written(app, e == ERR_OK ? output_flush(&out) : e);
		buf_fini(&out);
	}
	cJSON_Delete(result);
	return code;
}

const struct command command_audit_show = {
	.name = "audit show",
	.arguments = "SEQ",
	.summary = "Show one event",
	.options = show_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_show,
};

static int cmd_payload(struct app *app, struct args *args)
{
	cJSON *params, *result = NULL;
	struct buf out;
	enum err e;
	int code;

	if (seq_params(args, &params) != ERR_OK)
		return cmd_usage(app, args);
	code = app_call(app, "audit.payload", params, &result);
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	buf_init(&out, OUTPUT_MAX_BYTES);
	if (app_text(result, "base64")[0])
		e = buf_put_text(&out, app_text(result, "base64"));
	else
		e = text_escape(span_text(app_text(result, "text")), true,
				&out);
	if (e == ERR_OK)
		e = buf_put_u8(&out, '\n');
	code = app_written(app, e == ERR_OK ? output_flush(&out) : e);
	buf_fini(&out);
	cJSON_Delete(result);
	return code;
}

const struct command command_audit_payload = {
	.name = "audit payload",
	.arguments = "SEQ",
	.summary = "Print what an event's request or response carried",
	.text = "That it was read is in the log before it is shown.",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_payload,
};
