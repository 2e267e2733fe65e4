/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen_draw.c - one frame of the full screen
 *
 * Runs in: kenaz.
 * Trusts:  the model's texts to be escaped; screen_text() checks again.
 * Never:   lets a row of a pane draw into the rows that are the host's own:
 *	    engine, banner, tabs, status and hints.
 */
#include "tui/screen_draw.h"

#include <stdio.h>
#include <string.h>

#include "tui/screen.h"

#define ROWS_ABOVE    2u /* engine, tabs; the banners between them */
#define ROWS_BELOW    2u /* status, hints */
#define PREVIEW_LEAST 22 /* rows of the terminal for the log below sessions */

static const char *const titles[PANE_COUNT] = {
	[PANE_SESSIONS] = "Sessions",
	[PANE_AUDIT] = "Audit",
	[PANE_POLICY] = "Policy",
	[PANE_APPROVALS] = "Approvals",
};

static int rows_above(const struct screen_model *m)
{
	return (int)(ROWS_ABOVE + m->banner_count);
}

static void draw_top(const struct screen_model *m,
		     const struct screen_view *view)
{
	int column = 1, i;
	char tab[64];

	column += screen_text(0, column, 7, STYLE_TITLE, "Kenaz  ");
	(void)screen_text(0, column, screen_columns() - column,
			  m->lost ? STYLE_ALERT : STYLE_PLAIN, m->engine);
	for (i = 0; i < (int)m->banner_count; i++)
		(void)screen_text(1 + i, 1, screen_columns() - 1, STYLE_WARN,
				  m->banners[i]);
	column = 1;
	for (i = 0; i < PANE_COUNT; i++) {
		(void)snprintf(tab, sizeof(tab), " %d %s %zu ", i + 1,
			       titles[i], m->panes[i]->count);
		if (i == PANE_POLICY)
			(void)snprintf(tab, sizeof(tab), " %d %s ", i + 1,
				       titles[i]);
		column +=
			screen_text(rows_above(m) - 1, column,
				    screen_columns() - column,
				    (int)view->pane == i ? STYLE_SELECTED
				    : i == PANE_APPROVALS && m->panes[i]->count
					    ? STYLE_WARN
					    : STYLE_DIM,
				    tab);
		column++;
	}
}

static void draw_rows(const struct pane *pane, size_t from, int row, int height,
		      bool cursor)
{
	int i;

	for (i = 0; i < height; i++) {
		const struct pane_row *r = pane_at(pane, from + (size_t)i);
		bool selected = cursor && from + (size_t)i == pane->cursor;

		if (!r)
			break;
		(void)screen_text(row + i, 1, screen_columns() - 1,
				  r->alert ? STYLE_ALERT : STYLE_PLAIN,
				  r->text);
		if (selected)
			screen_fill(row + i, STYLE_SELECTED);
	}
}

static int body_height(const struct screen_model *m)
{
	return screen_rows() - rows_above(m) - (int)ROWS_BELOW;
}

static int preview_height(const struct screen_model *m,
			  const struct screen_view *view)
{
	if (view->pane != PANE_SESSIONS || screen_rows() < PREVIEW_LEAST)
		return 0;
	return body_height(m) / 2;
}

/** screen_draw_height() - Rows that the pane shows, for moving by pages */
size_t screen_draw_height(const struct screen_model *m,
			  const struct screen_view *view)
{
	int height = body_height(m) - preview_height(m, view) -
		     (m->panes[view->pane]->heading ? 1 : 0);

	return height > 0 ? (size_t)height : 1;
}

static const char *empty_text(enum pane_id pane, bool lost)
{
	static const char *const texts[PANE_COUNT] = {
		[PANE_SESSIONS] = "No sessions. n starts one.",
		[PANE_AUDIT] = "No events yet.",
		[PANE_POLICY] = "No policy was read yet.",
		[PANE_APPROVALS] = "Nothing waits for approval.",
	};

	return lost ? "No engine. r connects again." : texts[pane];
}

static void draw_preview(struct screen_model *m, const struct screen_view *view)
{
	const struct pane *log = m->panes[PANE_AUDIT];
	int height = preview_height(m, view) - 1, row;
	size_t shown;

	if (height < 2)
		return;
	row = screen_rows() - (int)ROWS_BELOW - height - 1;
	(void)screen_text(row, 1, screen_columns() - 1, STYLE_DIM,
			  "Latest events");
	shown = log->visible_count < (size_t)height ? log->visible_count
						    : (size_t)height;
	draw_rows(log, log->visible_count - shown, row + 1, height, false);
}

static void draw_body(struct screen_model *m, struct screen_view *view)
{
	struct pane *pane = m->panes[view->pane];
	size_t height = screen_draw_height(m, view);
	int row = rows_above(m);

	if (pane->heading && pane->count)
		(void)screen_text(row, 1, screen_columns() - 1, STYLE_TITLE,
				  pane->heading);
	row += pane->heading ? 1 : 0;
	if (pane->visible_count == 0)
		(void)screen_text(row, 1, screen_columns() - 1, STYLE_DIM,
				  pane->count
					  ? "No row has this text."
					  : empty_text(view->pane, m->lost));
	pane_scroll(pane, height);
	draw_rows(pane, pane->top, row, (int)height, true);
	draw_preview(m, view);
}

/* All of a text, wrapped; nothing of it is left out at the right. */
static void draw_detail(const struct screen_model *m,
			const struct screen_view *view)
{
	int row = rows_above(m), last = screen_rows() - (int)ROWS_BELOW;
	const char *at = view->detail;
	size_t skip = view->overlay_top;

	while (*at && row < last) {
		char line[512];
		size_t width = (size_t)screen_columns() - 2;
		size_t len = strcspn(at, "\n"), take = 0;

		if (width > sizeof(line) - 4)
			width = sizeof(line) - 4;
		/* Whole characters only; one byte is one column or less. */
		while (take < len && (take < width ||
				      ((unsigned char)at[take] & 0xc0) == 0x80))
			take++;
		memcpy(line, at, take);
		line[take] = '\0';
		if (skip)
			skip--;
		else
			(void)screen_text(row++, 1, screen_columns() - 1,
					  STYLE_PLAIN, line);
		at += take;
		at += *at == '\n';
	}
}

static void draw_help(const struct screen_model *m,
		      const struct screen_view *view)
{
	int row = rows_above(m), last = screen_rows() - (int)ROWS_BELOW;
	int column = 1, width = screen_columns() / 2;
	char line[96];
	size_t i;

	for (i = 0; i < key_count; i++) {
		if (!key_in_pane(&key_table[i], view->pane))
			continue;
		(void)snprintf(line, sizeof(line), "%-10s %s",
			       key_table[i].name, key_table[i].help);
		(void)screen_text(row++, column, width - 1, STYLE_PLAIN, line);
		if (row == last && column == 1) {
			row = rows_above(m);
			column = width;
		} else if (row == last) {
			break;
		}
	}
}

static void draw_status(const struct screen_model *m,
			const struct screen_view *view)
{
	const struct pane *pane = m->panes[view->pane];
	int row = screen_rows() - 2, column = 1;
	char text[256];

	if (view->question) {
		(void)snprintf(text, sizeof(text), "%s%s", view->question,
			       view->typed);
		column += screen_text(row, 1, screen_columns() - 2, STYLE_TITLE,
				      text);
		screen_cursor(row, column);
		return;
	}
	if (pane->filter[0]) {
		(void)snprintf(text, sizeof(text), "filter '%s': %zu of %zu  ",
			       pane->filter, pane->visible_count, pane->count);
		column += screen_text(row, column, screen_columns() - column,
				      STYLE_WARN, text);
	}
	if (view->pane == PANE_AUDIT) {
		(void)snprintf(text, sizeof(text), "%s",
			       pane->follow ? "following  " : "");
		if (!pane->follow && pane->unseen)
			(void)snprintf(text, sizeof(text),
				       "\u2193 %llu new (G)  ",
				       (unsigned long long)pane->unseen);
		column += screen_text(row, column, screen_columns() - column,
				      STYLE_GOOD, text);
	}
	if (view->pane == PANE_AUDIT && pane->dropped) {
		(void)snprintf(text, sizeof(text),
			       "%llu older: 'kenaz audit list'  ",
			       (unsigned long long)pane->dropped);
		column += screen_text(row, column, screen_columns() - column,
				      STYLE_DIM, text);
	}
	(void)screen_text(row, column, screen_columns() - column,
			  m->message_bad ? STYLE_ALERT : STYLE_PLAIN,
			  m->message);
}

static void draw_hints(const struct screen_view *view)
{
	int row = screen_rows() - 1, column = 1;
	char hint[48];
	size_t i;

	if (view->question || view->overlay != OVERLAY_NONE) {
		(void)screen_text(row, 1, screen_columns() - 1, STYLE_DIM,
				  view->question ? "Enter ends, Esc cancels"
						 : "j k move, any other key "
						   "goes back");
		return;
	}
	for (i = 0; i < key_count; i++) {
		if (!key_table[i].hint[0] ||
		    !key_in_pane(&key_table[i], view->pane))
			continue;
		(void)snprintf(hint, sizeof(hint), "%s %s  ", key_table[i].name,
			       key_table[i].hint);
		column += screen_text(row, column, screen_columns() - column,
				      STYLE_DIM, hint);
	}
}

/**
 * screen_draw() - Draw a frame
 * @m:		Model; its panes scroll to their cursors
 * @view:	What the user looks at
 */
void screen_draw(struct screen_model *m, struct screen_view *view)
{
	char text[96];

	screen_clear();
	if (!screen_is_big_enough()) {
		(void)snprintf(text, sizeof(text),
			       "too small: %dx%d (need "
			       "%dx%d)",
			       screen_columns(), screen_rows(),
			       SCREEN_COLUMNS_MIN, SCREEN_ROWS_MIN);
		(void)screen_text(0, 0, screen_columns(), STYLE_PLAIN, text);
		screen_show();
		return;
	}
	draw_top(m, view);
	if (view->overlay == OVERLAY_HELP)
		draw_help(m, view);
	else if (view->overlay == OVERLAY_DETAIL)
		draw_detail(m, view);
	else
		draw_body(m, view);
	draw_hints(view);
	draw_status(m, view);
	screen_show();
}
