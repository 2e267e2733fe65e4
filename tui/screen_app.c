/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen_app.c - the full-screen interface: kenaz without a command
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   stops a session or grants anything on one key: both are typed out.
 *
 * One poll(2) loop over the keyboard and the two connections of the model. A
 * frame is drawn when something changed, and only what changed is sent.
 */
#include "tui/screen_app.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "engine/base/text.h"
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/program.h"
#include "tui/screen.h"
#include "tui/screen_draw.h"

#define KEYS_A_TURN 64
#define RESIZE_KEY  0632 /* KEY_RESIZE */
#define ESCAPE      0x1b
#define BACKSPACE   0x7f
#define CLEAR_LINE  0x15 /* Ctrl-U */

enum question { ASK_NOTHING, ASK_FILTER, ASK_STOP, ASK_GRANT };

struct screen_app {
	struct app *app;
	struct screen_model model;
	struct screen_view view;
	enum question asking;
	char subject[PANE_ID_MAX_BYTES]; /* what the question is about */
	char question[PROMPT_MAX_BYTES];
	bool quit;
};

static struct pane *pane_of(struct screen_app *s)
{
	return s->model.panes[s->view.pane];
}

static void ask(struct screen_app *s, enum question what, const char *subject,
		const char *before, const char *after)
{
	s->asking = what;
	(void)snprintf(s->subject, sizeof(s->subject), "%s", subject);
	(void)snprintf(s->question, sizeof(s->question), "%s%.40s%s", before,
		       subject, after);
	s->view.question = s->question;
	s->view.typed[0] = '\0';
}

static void answered(struct screen_app *s)
{
	const char *typed = s->view.typed;
	enum question what = s->asking;

	s->asking = ASK_NOTHING;
	s->view.question = NULL;
	if (what == ASK_FILTER)
		pane_set_filter(pane_of(s), typed);
	else if (what == ASK_STOP && strcmp(typed, s->subject) == 0)
		screen_model_stop(&s->model, s->subject);
	else if (what == ASK_GRANT && strcmp(typed, "yes") == 0)
		screen_model_decide(&s->model, s->subject, true);
	else
		screen_model_say(&s->model, false, "nothing was done");
}

static void erase_last(char *text)
{
	size_t len = strlen(text);

	while (len && ((unsigned char)text[len - 1] & 0xc0) == 0x80)
		len--;
	if (len)
		len--;
	text[len] = '\0';
}

static void on_typed(struct screen_app *s, int key, bool is_text)
{
	char bytes[MB_LEN_MAX + 1] = {0};
	size_t len = strlen(s->view.typed);
	mbstate_t state = {0};
	size_t n;

	if (is_text && (key == '\r' || key == '\n')) {
		answered(s);
	} else if (is_text && key == ESCAPE) {
		s->asking = ASK_NOTHING;
		s->view.question = NULL;
	} else if ((is_text && (key == BACKSPACE || key == '\b')) ||
		   (!is_text && key == 0407)) {
		erase_last(s->view.typed);
	} else if (is_text && key == CLEAR_LINE) {
		s->view.typed[0] = '\0';
	} else if (is_text && key >= ' ' && !text_is_hidden((uint32_t)key)) {
		n = wcrtomb(bytes, (wchar_t)key, &state);
		if (n != (size_t)-1 && len + n < sizeof(s->view.typed))
			memcpy(s->view.typed + len, bytes, n + 1);
	}
}

static void show_detail(struct screen_app *s)
{
	const struct pane_row *row = pane_selected(pane_of(s));

	if (!row)
		return;
	(void)snprintf(s->view.detail, sizeof(s->view.detail), "%s",
		       row->detail ? row->detail : row->text);
	s->view.overlay = OVERLAY_DETAIL;
	s->view.overlay_top = 0;
}

/* The screen is given back while the session has the terminal. */
static void attach(struct screen_app *s)
{
	const struct pane_row *row = pane_selected(pane_of(s));
	struct app second = *s->app;
	cJSON *params;
	int code;

	if (!row || !row->id[0])
		return;
	screen_suspend();
	second.control = NULL;
	params = app_params();
	app_add_text(params, "session", row->id);
	cmd_add_size(params);
	(void)fprintf(stderr, "kenaz: attached to %s; Ctrl-] d leaves\n",
		      row->id);
	code = cmd_terminal(&second, "session.attach", params, true, false,
			    "left; the session goes on");
	app_fini(&second);
	if (screen_resume() != ERR_OK)
		s->quit = true;
	screen_model_say(&s->model, code == EXIT_CODE_KENAZ,
			 code == EXIT_CODE_KENAZ
				 ? "could not attach to %s, or it was lost"
				 : "back from %s",
			 row->id);
	s->model.refresh_at_ns = 0;
}

static void say_command(struct screen_app *s)
{
	static const char *const commands[PANE_COUNT] = {
		[PANE_SESSIONS] = "kenaz session list",
		[PANE_AUDIT] = "kenaz audit tail -f",
		[PANE_POLICY] = "kenaz policy show",
		[PANE_APPROVALS] = "kenaz approvals list",
	};

	screen_model_say(&s->model, false, "%s", commands[s->view.pane]);
}

static void ask_about_row(struct screen_app *s, enum question what,
			  const char *before, const char *after)
{
	const struct pane_row *row = pane_selected(pane_of(s));

	if (row && row->id[0])
		ask(s, what, row->id, before, after);
}

static void change_pane(struct screen_app *s, int pane)
{
	s->view.pane = (enum pane_id)((pane + PANE_COUNT) % PANE_COUNT);
	s->model.message[0] = '\0';
}

static void move_by_action(struct screen_app *s, enum action action)
{
	long page = (long)screen_draw_height(&s->model, &s->view);
	struct pane *pane = pane_of(s);

	if (action == ACTION_UP || action == ACTION_DOWN)
		pane_move(pane, action == ACTION_UP ? -1 : 1);
	else if (action == ACTION_PAGE_UP || action == ACTION_PAGE_DOWN)
		pane_move(pane, action == ACTION_PAGE_UP ? -page : page);
	else
		pane_end(pane, action == ACTION_LAST);
	if (action == ACTION_LAST && s->view.pane == PANE_AUDIT)
		pane->follow = true;
}

static void act_on_rows(struct screen_app *s, enum action action)
{
	struct pane *pane = pane_of(s);

	switch ((int)action) {
	case ACTION_NEW:
		screen_model_start(&s->model);
		break;
	case ACTION_ATTACH:
		attach(s);
		break;
	case ACTION_STOP:
		ask_about_row(s, ASK_STOP, "type ", " to stop it: ");
		break;
	case ACTION_GRANT:
		ask_about_row(s, ASK_GRANT, "type yes to allow ", " once: ");
		break;
	case ACTION_DENY:
		if (pane_selected(pane))
			screen_model_decide(&s->model, pane_selected(pane)->id,
					    false);
		break;
	case ACTION_DETAIL:
		show_detail(s);
		break;
	case ACTION_FOLLOW:
		pane->follow = !pane->follow;
		if (pane->follow)
			pane_end(pane, true);
		break;
	case ACTION_NEXT_DENIAL:
	case ACTION_PREVIOUS_DENIAL:
		if (!pane_find_alert(pane, action == ACTION_PREVIOUS_DENIAL))
			screen_model_say(&s->model, false, "no more denials");
		break;
	default:
		break;
	}
}

static void act(struct screen_app *s, enum action action)
{
	switch ((int)action) {
	case ACTION_QUIT:
		s->quit = true;
		break;
	case ACTION_HELP:
		s->view.overlay = OVERLAY_HELP;
		break;
	case ACTION_FILTER:
		ask(s, ASK_FILTER, "", "/", "");
		(void)snprintf(s->view.typed, sizeof(s->view.typed), "%s",
			       pane_of(s)->filter);
		break;
	case ACTION_NEXT_PANE:
		change_pane(s, (int)s->view.pane + 1);
		break;
	case ACTION_PREVIOUS_PANE:
		change_pane(s, (int)s->view.pane - 1);
		break;
	case ACTION_PANE_1:
	case ACTION_PANE_2:
	case ACTION_PANE_3:
	case ACTION_PANE_4:
		change_pane(s, (int)action - ACTION_PANE_1);
		break;
	case ACTION_REFRESH:
		if (s->model.lost && screen_model_connect(&s->model) != 0)
			screen_model_say(&s->model, true, "still no engine");
		else
			screen_model_refresh(&s->model);
		break;
	case ACTION_REDRAW:
		screen_redraw();
		break;
	case ACTION_COMMAND:
		say_command(s);
		break;
	case ACTION_UP:
	case ACTION_DOWN:
	case ACTION_PAGE_UP:
	case ACTION_PAGE_DOWN:
	case ACTION_FIRST:
	case ACTION_LAST:
		move_by_action(s, action);
		break;
	default:
		act_on_rows(s, action);
		break;
	}
}

static void on_key(struct screen_app *s, int key, bool is_text)
{
	enum action action;

	s->model.changed = true;
	if (!is_text && key == RESIZE_KEY)
		return;
	if (s->asking != ASK_NOTHING) {
		on_typed(s, key, is_text);
		return;
	}
	action = key_action(key, s->view.pane);
	if (s->view.overlay == OVERLAY_NONE) {
		act(s, action);
	} else if (s->view.overlay == OVERLAY_DETAIL &&
		   (action == ACTION_DOWN || action == ACTION_UP)) {
		if (action == ACTION_DOWN)
			s->view.overlay_top++;
		else if (s->view.overlay_top)
			s->view.overlay_top--;
	} else {
		s->view.overlay = OVERLAY_NONE;
	}
}

static int wait_ms(const struct screen_app *s)
{
	uint64_t now = clock_now_ns(), at = s->model.refresh_at_ns;

	if (s->model.more)
		return 0;
	if (!s->model.calls)
		return -1;
	return at <= now ? 0 : (int)((at - now) / 1000000u) + 1;
}

static void turn(struct screen_app *s)
{
	struct pollfd p[3] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = s->model.calls ? control_fd(s->model.calls) : -1,
		 .events = POLLIN},
		{.fd = s->model.tail ? control_fd(s->model.tail) : -1,
		 .events = POLLIN},
	};
	bool is_text;
	int key, i;

	/* A signal (the terminal's size) shows as a key afterwards. */
	if (poll(p, 3, wait_ms(s)) < 0 && errno != EINTR)
		s->quit = true;
	if (p[0].revents & (POLLHUP | POLLERR | POLLNVAL))
		s->quit = true;
	for (i = 0; i < KEYS_A_TURN && !s->quit; i++) {
		key = screen_key(&is_text);
		if (key < 0)
			break;
		on_key(s, key, is_text);
	}
	screen_model_turn(&s->model);
}

/* Where no full screen is possible, the list of sessions is the answer. */
static int print_instead(struct app *app)
{
	struct args none = {0};

	return command_session_list.run(app, &none);
}

static bool can_draw(void)
{
	const char *term = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term &&
	       term[0] && strcmp(term, "dumb") != 0;
}

/**
 * screen_app_run() - Run the full-screen interface until the user leaves
 * @app:	Context
 *
 * Return: exit code.
 */
int screen_app_run(struct app *app)
{
	struct screen_app *s;
	int code = 0;
	enum err e;

	if (!can_draw())
		return print_instead(app);
	s = calloc(1, sizeof(*s));
	if (!s)
		return app_fail(app, EXIT_CODE_FAILED, "not enough memory");
	s->app = app;
	e = screen_model_init(&s->model, app);
	if (e == ERR_OK)
		code = screen_model_connect(&s->model);
	if (e == ERR_OK && code == 0)
		e = screen_begin(app->color);
	if (e == ERR_OK && code == 0) {
		while (!s->quit) {
			if (s->model.changed) {
				s->model.changed = false;
				screen_draw(&s->model, &s->view);
			}
			turn(s);
		}
		screen_end();
	}
	screen_model_fini(&s->model);
	free(s);
	if (e == ERR_UNSUPPORTED) {
		app_note(app,
			 "nothing describes the terminal '%s' (TERM); "
			 "here is the list of sessions",
			 getenv("TERM"));
		return print_instead(app);
	}
	return e == ERR_OK
		       ? code
		       : app_fail(app, EXIT_CODE_FAILED,
				  "cannot use this terminal: %s", err_text(e));
}
