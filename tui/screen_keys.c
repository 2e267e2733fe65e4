/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen_keys.c - the one table of keys: dispatch, hints and help
 *
 * Runs in: kenaz.
 * Trusts:  nothing.
 * Never:   offers in a pane a key that does nothing there.
 */
#define NCURSES_WIDECHAR 1
#include "tui/screen_keys.h"

#include <ncurses.h>

#include "engine/base/err.h"

#define ALL       0xfu
#define SESSIONS  (1u << PANE_SESSIONS)
#define AUDIT     (1u << PANE_AUDIT)
#define POLICY    (1u << PANE_POLICY)
#define APPROVALS (1u << PANE_APPROVALS)
#define CTRL(c)   ((c)&0x1f)

const struct key_row key_table[] = {
	{'n', "n", SESSIONS, ACTION_NEW, "new", "start a session"},
	{'a', "a", SESSIONS, ACTION_ATTACH, "attach", "attach to the session"},
	{'\r', "Enter", SESSIONS, ACTION_ATTACH, "", "attach to the session"},
	{'x', "x", SESSIONS, ACTION_STOP, "stop", "stop the session"},
	{'y', "y", APPROVALS, ACTION_GRANT, "grant", "allow it, once"},
	{'d', "d", APPROVALS, ACTION_DENY, "deny", "refuse it"},
	{'\r', "Enter", AUDIT | POLICY | APPROVALS, ACTION_DETAIL, "detail",
	 "show all of the row"},
	{'i', "i", SESSIONS, ACTION_DETAIL, "detail", "show all of the row"},
	{'F', "F", AUDIT, ACTION_FOLLOW, "follow", "follow new events, or not"},
	{'d', "d", AUDIT, ACTION_NEXT_DENIAL, "denied", "next denial"},
	{'D', "D", AUDIT, ACTION_PREVIOUS_DENIAL, "", "previous denial"},
	{'/', "/", ALL, ACTION_FILTER, "filter", "show rows with a text"},
	{'k', "k", ALL, ACTION_UP, "", "up"},
	{KEY_UP, "Up", ALL, ACTION_UP, "", "up"},
	{'j', "j", ALL, ACTION_DOWN, "", "down"},
	{KEY_DOWN, "Down", ALL, ACTION_DOWN, "", "down"},
	{KEY_PPAGE, "PgUp", ALL, ACTION_PAGE_UP, "", "page up"},
	{CTRL('u'), "^U", ALL, ACTION_PAGE_UP, "", "page up"},
	{KEY_NPAGE, "PgDn", ALL, ACTION_PAGE_DOWN, "", "page down"},
	{CTRL('d'), "^D", ALL, ACTION_PAGE_DOWN, "", "page down"},
	{'g', "g", ALL, ACTION_FIRST, "", "first row"},
	{KEY_HOME, "Home", ALL, ACTION_FIRST, "", "first row"},
	{'G', "G", ALL, ACTION_LAST, "", "last row"},
	{KEY_END, "End", ALL, ACTION_LAST, "", "last row"},
	{'\t', "Tab", ALL, ACTION_NEXT_PANE, "pane", "next pane"},
	{KEY_BTAB, "Shift-Tab", ALL, ACTION_PREVIOUS_PANE, "", "previous pane"},
	{'1', "1", ALL, ACTION_PANE_1, "", "sessions"},
	{'2', "2", ALL, ACTION_PANE_2, "", "audit log"},
	{'3', "3", ALL, ACTION_PANE_3, "", "policy"},
	{'4', "4", ALL, ACTION_PANE_4, "", "approvals"},
	{'r', "r", ALL, ACTION_REFRESH, "", "ask the engine again"},
	{'!', "!", ALL, ACTION_COMMAND, "", "the command that shows the same"},
	{CTRL('l'), "^L", ALL, ACTION_REDRAW, "", "draw the screen again"},
	{'?', "?", ALL, ACTION_HELP, "help", "this list"},
	{'q', "q", ALL, ACTION_QUIT, "quit", "leave"},
};

const size_t key_count = ARRAY_SIZE(key_table);

/** key_in_pane() - Whether a row of the table holds in a pane */
bool key_in_pane(const struct key_row *row, enum pane_id pane)
{
	return (row->panes & 1u << pane) != 0;
}

/** key_action() - What a key does in a pane; ACTION_NONE for no key of it */
enum action key_action(int key, enum pane_id pane)
{
	size_t i;

	if (key == '\n' || key == KEY_ENTER)
		key = '\r';
	for (i = 0; i < key_count; i++)
		if (key_table[i].key == key && key_in_pane(&key_table[i], pane))
			return key_table[i].action;
	return ACTION_NONE;
}
