/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen_model.c - what the full screen shows, kept up by the engine
 *
 * Runs in: kenaz.
 * Trusts:  the engine to speak its protocol; not the texts in its answers.
 * Never:   waits for an answer: the screen goes on while one is under way.
 *
 * Two connections: one for requests, one on which audit.tail reports events.
 * An event about sessions or approvals makes the lists be asked for again,
 * shortly after, so that a burst costs one request.
 */
#include "tui/screen_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "tui/cmd_common.h"
#include "tui/event_line.h"
#include "tui/program.h"

enum what {
	WHAT_NONE,
	WHAT_INFO,
	WHAT_SESSIONS,
	WHAT_POLICY,
	WHAT_APPROVALS,
	WHAT_START,
	WHAT_STOP,
	WHAT_DECIDE,
};

static const struct column session_columns[] = {
	{"SESSION", "session", CELL_ANY},
	{"STATE", "state", CELL_ANY},
	{"IMAGE", "image", CELL_ANY},
	{"PROVIDER", "provider", CELL_ANY},
	{"ACCEL", "accelerator", CELL_ANY},
	{"AGE", "age_s", CELL_AGE},
	{"USER", "user", CELL_ANY},
	{"NO ISOLATION", "no_isolation", CELL_YES},
};

static const struct column approval_columns[] = {
	{"ID", "id", CELL_ANY},
	{"SESSION", "session", CELL_ANY},
	{"TARGET", "target", CELL_ANY},
	{"EXPIRES", "expires_s", CELL_AGE},
	{"ASKED FOR", "summary", CELL_ANY},
};

static const struct column rule_columns[] = {
	{"ID", "id", CELL_ANY},         {"EFFECT", "effect", CELL_ANY},
	{"TARGET", "target", CELL_ANY}, {"RULE", "text", CELL_ANY},
	{"SOURCE", "source", CELL_ANY},
};

static const struct column default_columns[] = {
	{"DEFAULT", "name", CELL_ANY},
	{"VALUE", "value", CELL_ANY},
	{"SOURCE", "source", CELL_ANY},
};

/**
 * screen_model_say() - Set the line that tells of the last action
 * @m:		Model
 * @bad:	It failed
 * @format:	As printf(3); the finished line is escaped
 */
void screen_model_say(struct screen_model *m, bool bad, const char *format, ...)
{
	char raw[MODEL_TEXT_MAX_BYTES];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	(void)text_escape_line(span_text(raw), m->message, sizeof(m->message));
	m->message_bad = bad;
	m->changed = true;
}

/**
 * screen_model_init() - Prepare the panes; nothing is asked for yet
 * @m:		Caller's memory
 * @app:	Borrowed
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err screen_model_init(struct screen_model *m, struct app *app)
{
	enum err e = ERR_OK;
	size_t i;

	*m = (struct screen_model){.app = app, .changed = true};
	for (i = 0; e == ERR_OK && i < PANE_COUNT; i++)
		e = pane_new(&m->panes[i]);
	if (e == ERR_OK)
		m->panes[PANE_AUDIT]->follow = true;
	return e;
}

static void disconnect(struct screen_model *m)
{
	control_free(m->calls);
	control_free(m->tail);
	m->calls = NULL;
	m->tail = NULL;
	memset(m->pending, 0, sizeof(m->pending));
}

/** screen_model_fini() - Close the connections, release the panes */
void screen_model_fini(struct screen_model *m)
{
	size_t i;

	disconnect(m);
	for (i = 0; i < PANE_COUNT; i++)
		pane_free(m->panes[i]);
}

static void lose(struct screen_model *m, enum err e)
{
	disconnect(m);
	m->lost = true;
	(void)snprintf(m->engine, sizeof(m->engine), "no engine");
	screen_model_say(m, true,
			 "the connection to the engine was lost (%s); "
			 "r connects again",
			 err_text(e));
}

static void ask(struct screen_model *m, enum what what, const char *method,
		cJSON *params)
{
	size_t i;
	enum err e;

	for (i = 0; i < MODEL_PENDING_MAX; i++)
		if (m->pending[i].what == WHAT_NONE)
			break;
	if (!m->calls || i == MODEL_PENDING_MAX) {
		cJSON_Delete(params);
		return;
	}
	e = control_send(m->calls, method, params, &m->pending[i].id);
	if (e == ERR_OK)
		m->pending[i].what = (int)what;
	else
		lose(m, e);
}

/**
 * screen_model_refresh() - Ask for everything that is shown
 * @m:	Model; connected
 */
void screen_model_refresh(struct screen_model *m)
{
	ask(m, WHAT_INFO, "engine.info", NULL);
	ask(m, WHAT_SESSIONS, "session.list", NULL);
	ask(m, WHAT_APPROVALS, "approvals.list", NULL);
	ask(m, WHAT_POLICY, "policy.show", NULL);
	m->refresh_at_ns = clock_now_ns() + MODEL_REFRESH_NS;
}

/**
 * screen_model_connect() - Connect, start the live tail, ask for everything
 * @m:	Model
 *
 * Return: 0, or an exit code after app_fail() said why.
 */
int screen_model_connect(struct screen_model *m)
{
	cJSON *params = app_params();
	uint64_t id;
	int code;
	enum err e;

	disconnect(m);
	m->app->control = NULL;
	code = app_connect(m->app);
	m->tail = m->app->control;
	m->app->control = NULL;
	if (code == 0)
		code = app_connect(m->app);
	m->calls = m->app->control;
	m->app->control = NULL;
	if (code != 0) {
		cJSON_Delete(params);
		return code;
	}
	m->lost = false;
	pane_clear(m->panes[PANE_AUDIT]);
	app_add_number(params, "last", MODEL_TAIL_EVENTS);
	e = control_send(m->tail, "audit.tail", params, &id);
	if (e != ERR_OK)
		lose(m, e);
	else
		screen_model_refresh(m);
	return 0;
}

static void add_banner(struct screen_model *m, const char *text)
{
	if (m->banner_count == MODEL_BANNERS_MAX)
		return;
	(void)text_escape_line(span_text(text), m->banners[m->banner_count++],
			       MODEL_TEXT_MAX_BYTES);
}

static void show_info(struct screen_model *m, const cJSON *info)
{
	char raw[MODEL_TEXT_MAX_BYTES];

	(void)snprintf(raw, sizeof(raw), "%s engine %s, %s",
		       app_text(info, "mode"), app_text(info, "version"),
		       app_text(info, "state"));
	(void)text_escape_line(span_text(raw), m->engine, sizeof(m->engine));
	m->banner_count = 0;
	if (strcmp(app_text(info, "state"), "sealed") == 0) {
		(void)snprintf(raw, sizeof(raw),
			       "SEALED, everything is denied: %s",
			       app_text(info, "sealed_reason"));
		add_banner(m, raw);
	}
	if (app_is_true(info, "no_isolation"))
		add_banner(m, "NO ISOLATION: sessions are processes of the "
			      "host (--dev-mock-vm).");
	if (app_is_true(info, "scripted"))
		add_banner(m, "No model is called: the scripted provider "
			      "answers. Add one: kenaz provider add");
}

/* The lines of a table become a heading and rows. */
static enum err add_table(struct pane *pane, const cJSON *rows,
			  const struct column *columns, size_t count,
			  const char *id_key, bool heading)
{
	const struct column id_column = {"", id_key, CELL_ANY};
	const cJSON *row = rows ? rows->child : NULL;
	char id[PANE_ID_MAX_BYTES];
	struct buf table, detail;
	char *line, *next;
	enum err e;

	buf_init(&table, OUTPUT_MAX_BYTES);
	buf_init(&detail, OUTPUT_MAX_BYTES);
	e = output_table(rows, columns, count, &table);
	if (e == ERR_OK)
		e = buf_put_u8(&table, 0);
	line = (char *)table.data;
	while (e == ERR_OK && (next = strchr(line, '\n')) != NULL) {
		*next = '\0';
		if (line == (char *)table.data) {
			e = heading ? pane_set_heading(pane, line)
				    : pane_add(pane, line, "", NULL, false);
		} else if (row) {
			const char *text = NULL;

			output_cell(row, &id_column, id, sizeof(id));
			buf_reset(&detail);
			e = output_fields(row, &detail);
			if (e == ERR_OK)
				e = buf_terminate(&detail, &text);
			if (e == ERR_OK)
				e = pane_add(pane, line, id, text, false);
			row = row->next;
		}
		line = next + 1;
	}
	buf_fini(&table);
	buf_fini(&detail);
	return e;
}

/* Fill a pane anew and keep the cursor on what it was on. */
static void fill(struct screen_model *m, enum pane_id id, const cJSON *rows,
		 const struct column *columns, size_t count, const char *key)
{
	struct pane *pane = m->panes[id];
	const struct pane_row *selected = pane_selected(pane);
	char before[PANE_ID_MAX_BYTES] = "";
	size_t top = pane->top, cursor = pane->cursor;

	if (selected)
		memcpy(before, selected->id, sizeof(before));
	pane_clear(pane);
	if (add_table(pane, rows, columns, count, key, true) != ERR_OK)
		screen_model_say(m, true, "not enough memory for the list");
	pane->top = top;
	pane_move(pane, (long)cursor);
	if (before[0])
		pane_select(pane, before);
	if (id == PANE_SESSIONS && m->started[0]) {
		pane_select(pane, m->started);
		m->started[0] = '\0';
	}
	pane->unseen = 0;
}

static void show_policy(struct screen_model *m, const cJSON *policy)
{
	struct pane *pane = m->panes[PANE_POLICY];
	size_t top = pane->top, cursor = pane->cursor;
	enum err e;

	pane_clear(pane);
	e = add_table(pane, cJSON_GetObjectItemCaseSensitive(policy, "rules"),
		      rule_columns, ARRAY_SIZE(rule_columns), "id", true);
	if (e == ERR_OK)
		e = pane_add(pane, "", "", NULL, false);
	if (e == ERR_OK)
		e = add_table(pane,
			      cJSON_GetObjectItemCaseSensitive(policy,
							       "defaults"),
			      default_columns, ARRAY_SIZE(default_columns),
			      "name", false);
	if (e != ERR_OK)
		screen_model_say(m, true, "not enough memory for the policy");
	pane->top = top;
	pane_move(pane, (long)cursor);
	pane->unseen = 0;
}

static void on_result(struct screen_model *m, enum what what,
		      const cJSON *result)
{
	switch (what) {
	case WHAT_INFO:
		show_info(m, result);
		break;
	case WHAT_SESSIONS:
		fill(m, PANE_SESSIONS,
		     cJSON_GetObjectItemCaseSensitive(result, "sessions"),
		     session_columns, ARRAY_SIZE(session_columns), "session");
		break;
	case WHAT_APPROVALS:
		fill(m, PANE_APPROVALS,
		     cJSON_GetObjectItemCaseSensitive(result, "approvals"),
		     approval_columns, ARRAY_SIZE(approval_columns), "id");
		break;
	case WHAT_POLICY:
		show_policy(m, result);
		break;
	case WHAT_START:
		screen_model_say(m, false,
				 "session %s is ready after %.1f s (%s, %s)",
				 app_text(result, "session"),
				 app_number(result, "total_ms", 0) / 1000,
				 app_text(result, "start"),
				 app_text(result, "accelerator"));
		(void)snprintf(m->started, sizeof(m->started), "%.60s",
			       app_text(result, "session"));
		m->refresh_at_ns = 0;
		break;
	case WHAT_STOP:
		screen_model_say(m, false, "session %s: %s",
				 app_text(result, "session"),
				 app_text(result, "state"));
		m->refresh_at_ns = 0;
		break;
	case WHAT_DECIDE:
		screen_model_say(m, false, "approval %.0f: %s",
				 app_number(result, "id", 0),
				 app_text(result, "state"));
		m->refresh_at_ns = 0;
		break;
	case WHAT_NONE:
	default:
		break;
	}
	m->changed = true;
}

static void on_answer(struct screen_model *m, const cJSON *message)
{
	struct control_error error;
	cJSON *result = NULL;
	size_t i;

	for (i = 0; i < MODEL_PENDING_MAX; i++) {
		enum what what = (enum what)m->pending[i].what;
		enum err e;

		if (what == WHAT_NONE)
			continue;
		e = control_result(message, m->pending[i].id, &result, &error);
		if (e == ERR_AGAIN)
			continue;
		m->pending[i].what = WHAT_NONE;
		if (e == ERR_OK)
			on_result(m, what, result);
		else
			screen_model_say(m, true, "%s", error.text);
		cJSON_Delete(result);
		return;
	}
}

static void add_event(struct screen_model *m, const cJSON *event)
{
	const struct column seq = {"", "seq", CELL_ANY};
	struct pane *pane = m->panes[PANE_AUDIT];
	char line[EVENT_LINE_MAX_BYTES], id[PANE_ID_MAX_BYTES];
	const char *detail = NULL;
	struct buf fields;
	enum err e;

	event_line(event, line, sizeof(line));
	output_cell(event, &seq, id, sizeof(id));
	buf_init(&fields, OUTPUT_MAX_BYTES);
	e = output_fields(event, &fields);
	if (e == ERR_OK)
		e = buf_terminate(&fields, &detail);
	if (e == ERR_OK)
		e = pane_add(pane, line, id, detail, event_is_denial(event));
	buf_fini(&fields);
	if (e != ERR_OK)
		screen_model_say(m, true, "not enough memory for an event");
	m->changed = true;
}

static bool concerns_lists(const char *kind)
{
	return strncmp(kind, "session.", 8) == 0 ||
	       strncmp(kind, "approval.", 9) == 0 ||
	       strncmp(kind, "policy.l", 8) == 0 ||
	       strncmp(kind, "engine.", 7) == 0;
}

static void on_notification(struct screen_model *m, const char *method,
			    const cJSON *params)
{
	uint64_t soon = clock_now_ns() + MODEL_AFTER_EVENT_NS;
	bool lists = strcmp(method, "session.changed") == 0;

	if (strcmp(method, "audit.event") == 0) {
		add_event(m, params);
		lists = concerns_lists(app_text(params, "kind"));
	} else if (strcmp(method, "session.stage") == 0) {
		screen_model_say(m, false, "starting %s: %s, %.0f ms",
				 app_text(params, "session"),
				 app_text(params, "name"),
				 app_number(params, "ms", 0));
	}
	if (lists && m->refresh_at_ns > soon)
		m->refresh_at_ns = soon;
}

static void on_message(struct screen_model *m, const cJSON *message,
		       bool is_tail)
{
	const cJSON *method =
		cJSON_GetObjectItemCaseSensitive(message, "method");
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(message, "error");

	if (cJSON_IsString(method))
		on_notification(m, method->valuestring,
				cJSON_GetObjectItemCaseSensitive(message,
								 "params"));
	else if (!is_tail)
		on_answer(m, message);
	else if (error)
		screen_model_say(m, true, "no live events: %s",
				 app_text(error, "message"));
}

static void drain(struct screen_model *m, struct control *c)
{
	bool is_tail = c == m->tail;
	cJSON *message;
	size_t i;
	enum err e = ERR_OK;

	for (i = 0; c && i < MODEL_MESSAGES_A_TURN; i++) {
		e = control_read(c, 0, &message);
		if (e != ERR_OK)
			break;
		on_message(m, message, is_tail);
		cJSON_Delete(message);
		if (!(is_tail ? m->tail : m->calls))
			return;
	}
	if (i == MODEL_MESSAGES_A_TURN)
		m->more = true;
	if (e != ERR_OK && e != ERR_AGAIN)
		lose(m, e);
}

/**
 * screen_model_turn() - Take in what has arrived, ask again when it is time
 * @m:	Model
 */
void screen_model_turn(struct screen_model *m)
{
	m->more = false;
	drain(m, m->calls);
	drain(m, m->tail);
	if (m->calls && clock_now_ns() >= m->refresh_at_ns)
		screen_model_refresh(m);
}

/** screen_model_start() - Ask for a new session with the workbench in it */
void screen_model_start(struct screen_model *m)
{
	cJSON *params = app_params();
	char *const none[] = {NULL};

	app_add_bool(params, "detach", true);
	app_add_words(params, "argv", none);
	app_add_bool(params, "tty", true);
	cmd_add_size(params);
	screen_model_say(m, false, "starting a session…");
	ask(m, WHAT_START, "session.start", params);
}

/** screen_model_stop() - Ask for the end of a session */
void screen_model_stop(struct screen_model *m, const char *session)
{
	cJSON *params = app_params();

	app_add_text(params, "session", session);
	screen_model_say(m, false, "stopping %s…", session);
	ask(m, WHAT_STOP, "session.stop", params);
}

/** screen_model_decide() - Grant or deny what waits for approval */
void screen_model_decide(struct screen_model *m, const char *id, bool grant)
{
	cJSON *params = app_params();
	uint64_t number = 0;

	/* The engine counts approvals; it refuses 0. */
	if (text_parse_u64(span_text(id), 1, APP_NUMBER_MAX, &number) != ERR_OK)
		number = 0;
	app_add_number(params, "id", (double)number);
	ask(m, WHAT_DECIDE, grant ? "approvals.grant" : "approvals.deny",
	    params);
}
