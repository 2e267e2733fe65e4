/* SPDX-License-Identifier: Apache-2.0 */
/* screen_keys.h - the one table of keys: dispatch, hints and help */
#ifndef KENAZ_TUI_SCREEN_KEYS_H
#define KENAZ_TUI_SCREEN_KEYS_H

#include <stdbool.h>
#include <stddef.h>

enum pane_id {
	PANE_SESSIONS,
	PANE_AUDIT,
	PANE_POLICY,
	PANE_APPROVALS,
	PANE_COUNT
};

enum action {
	ACTION_NONE,
	ACTION_NEW,
	ACTION_ATTACH,
	ACTION_STOP,
	ACTION_GRANT,
	ACTION_DENY,
	ACTION_DETAIL,
	ACTION_FOLLOW,
	ACTION_NEXT_DENIAL,
	ACTION_PREVIOUS_DENIAL,
	ACTION_FILTER,
	ACTION_UP,
	ACTION_DOWN,
	ACTION_PAGE_UP,
	ACTION_PAGE_DOWN,
	ACTION_FIRST,
	ACTION_LAST,
	ACTION_NEXT_PANE,
	ACTION_PREVIOUS_PANE,
	ACTION_PANE_1,
	ACTION_PANE_2,
	ACTION_PANE_3,
	ACTION_PANE_4,
	ACTION_REFRESH,
	ACTION_REDRAW,
	ACTION_COMMAND,
	ACTION_HELP,
	ACTION_QUIT,
};

/* One key in the panes of its mask; the hint is "" for the obvious ones. */
struct key_row {
	int key;
	const char *name;
	unsigned panes;
	enum action action;
	const char *hint;
	const char *help;
};

extern const struct key_row key_table[];
extern const size_t key_count;

enum action key_action(int key, enum pane_id pane);
bool key_in_pane(const struct key_row *row, enum pane_id pane);

#endif
