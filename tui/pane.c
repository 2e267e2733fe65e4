/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pane.c - a list on the screen: rows, filter, cursor, follow
 *
 * Runs in: kenaz.
 * Trusts:  its caller to escape texts.
 * Never:   draws; loses the row that the user looks at while rows are added.
 *
 * Filter and follow are independent: a filter narrows what is shown, follow
 * keeps the cursor on the last row shown. Moving up ends following.
 */
#include "tui/pane.h"

#include <stdlib.h>
#include <string.h>

/**
 * pane_new() - An empty pane
 * @ret_pane:	Owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err pane_new(struct pane **ret_pane)
{
	struct pane *pane = calloc(1, sizeof(*pane));

	if (!pane)
		return ERR_MEMORY;
	*ret_pane = pane;
	return ERR_OK;
}

static void row_fini(struct pane_row *row)
{
	free(row->text);
	free(row->detail);
	*row = (struct pane_row){0};
}

/** pane_clear() - Forget the rows; filter and follow stay */
void pane_clear(struct pane *pane)
{
	size_t i;

	for (i = 0; i < PANE_ROWS_MAX; i++)
		row_fini(&pane->rows[i]);
	pane->count = 0;
	pane->first = 0;
	pane->visible_count = 0;
	pane->cursor = 0;
}

/** pane_free() - Release a pane; NULL is accepted */
void pane_free(struct pane *pane)
{
	if (!pane)
		return;
	pane_clear(pane);
	free(pane->heading);
	free(pane);
}

/** pane_set_heading() - Set the line above the rows; ERR_OK or ERR_MEMORY */
enum err pane_set_heading(struct pane *pane, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return ERR_MEMORY;
	free(pane->heading);
	pane->heading = copy;
	return ERR_OK;
}

static struct pane_row *row_at(struct pane *pane, size_t index)
{
	return &pane->rows[(pane->first + index) % PANE_ROWS_MAX];
}

static bool matches(const struct pane *pane, const struct pane_row *row)
{
	return pane->filter[0] == '\0' || strcasestr(row->text, pane->filter);
}

static void drop_first(struct pane *pane)
{
	size_t i;

	if (pane->visible_count && pane->visible[0] == 0) {
		memmove(pane->visible, pane->visible + 1,
			(pane->visible_count - 1) * sizeof(pane->visible[0]));
		pane->visible_count--;
		pane->cursor -= pane->cursor > 0;
		pane->top -= pane->top > 0;
	}
	for (i = 0; i < pane->visible_count; i++)
		pane->visible[i]--;
	row_fini(row_at(pane, 0));
	pane->first = (pane->first + 1) % PANE_ROWS_MAX;
	pane->count--;
	pane->dropped++;
}

/**
 * pane_add() - Append a row; the oldest goes when the pane is full
 * @pane:	Pane
 * @text:	Escaped, one line, copied
 * @id:		What the row stands for, copied, cut when too long
 * @detail:	Escaped, copied; or NULL
 * @alert:	Shown in a warning colour
 *
 * Return: ERR_OK; ERR_MEMORY, nothing is added then.
 */
enum err pane_add(struct pane *pane, const char *text, const char *id,
		  const char *detail, bool alert)
{
	struct pane_row row = {.alert = alert};
	size_t id_len = strlen(id);

	row.text = strdup(text);
	row.detail = detail ? strdup(detail) : NULL;
	if (!row.text || (detail && !row.detail)) {
		row_fini(&row);
		return ERR_MEMORY;
	}
	if (id_len >= sizeof(row.id))
		id_len = sizeof(row.id) - 1;
	memcpy(row.id, id, id_len);
	if (pane->count == PANE_ROWS_MAX)
		drop_first(pane);
	*row_at(pane, pane->count++) = row;
	if (!matches(pane, &row))
		return ERR_OK;
	pane->visible[pane->visible_count++] = pane->count - 1;
	if (pane->follow)
		pane->cursor = pane->visible_count - 1;
	else
		pane->unseen++;
	return ERR_OK;
}

/**
 * pane_set_filter() - Show only rows that contain a text, in any case
 * @pane:	Pane
 * @filter:	Copied, cut when too long; "" shows all
 */
void pane_set_filter(struct pane *pane, const char *filter)
{
	const struct pane_row *selected = pane_selected(pane);
	size_t len = strlen(filter), i;

	if (len >= sizeof(pane->filter))
		len = sizeof(pane->filter) - 1;
	memmove(pane->filter, filter, len);
	pane->filter[len] = '\0';
	pane->visible_count = 0;
	pane->cursor = 0;
	pane->top = 0;
	for (i = 0; i < pane->count; i++) {
		if (!matches(pane, row_at(pane, i)))
			continue;
		if (row_at(pane, i) == selected)
			pane->cursor = pane->visible_count;
		pane->visible[pane->visible_count++] = i;
	}
	if (pane->follow)
		pane_end(pane, true);
}

/**
 * pane_move() - Move the cursor
 * @pane:	Pane
 * @delta:	Rows; stops at both ends. Up ends following.
 */
void pane_move(struct pane *pane, long delta)
{
	size_t steps = (size_t)(delta < 0 ? -delta : delta);

	if (delta < 0) {
		pane->follow = false;
		pane->cursor -= steps < pane->cursor ? steps : pane->cursor;
	} else if (pane->visible_count) {
		size_t left = pane->visible_count - 1 - pane->cursor;

		pane->cursor += steps < left ? steps : left;
	}
}

/** pane_end() - Go to the last row, which counts all as seen, or the first */
void pane_end(struct pane *pane, bool last)
{
	if (last) {
		pane->cursor =
			pane->visible_count ? pane->visible_count - 1 : 0;
		pane->unseen = 0;
	} else {
		pane->cursor = 0;
		pane->follow = false;
	}
}

/** pane_find_alert() - Go to the next row with an alert; false without one */
bool pane_find_alert(struct pane *pane, bool backward)
{
	size_t i;

	for (i = 1; i < pane->visible_count; i++) {
		size_t at = backward ? pane->cursor - i : pane->cursor + i;

		if (at >= pane->visible_count)
			return false;
		if (pane_at(pane, at)->alert) {
			pane->cursor = at;
			pane->follow = false;
			return true;
		}
	}
	return false;
}

/** pane_select() - Put the cursor on the row with an id, if it is shown */
void pane_select(struct pane *pane, const char *id)
{
	size_t i;

	for (i = 0; i < pane->visible_count; i++)
		if (strcmp(pane_at(pane, i)->id, id) == 0)
			pane->cursor = i;
}

/** pane_scroll() - Bring the cursor into a window of @height rows */
void pane_scroll(struct pane *pane, size_t height)
{
	if (height == 0)
		return;
	if (pane->cursor < pane->top)
		pane->top = pane->cursor;
	if (pane->cursor >= pane->top + height)
		pane->top = pane->cursor - height + 1;
	if (pane->top + height > pane->visible_count)
		pane->top = pane->visible_count > height
				    ? pane->visible_count - height
				    : 0;
}

/** pane_at() - The row at an index of those shown, or NULL */
const struct pane_row *pane_at(const struct pane *pane, size_t index)
{
	if (index >= pane->visible_count)
		return NULL;
	return &pane->rows[(pane->first + pane->visible[index]) %
			   PANE_ROWS_MAX];
}

/** pane_selected() - The row under the cursor, or NULL */
const struct pane_row *pane_selected(const struct pane *pane)
{
	return pane_at(pane, pane->cursor);
}
