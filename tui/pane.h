/* SPDX-License-Identifier: Apache-2.0 */
/* pane.h - a list on the screen: rows, filter, cursor, follow */
#ifndef KENAZ_TUI_PANE_H
#define KENAZ_TUI_PANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define PANE_ROWS_MAX         4096u
#define PANE_ID_MAX_BYTES     64u
#define PANE_FILTER_MAX_BYTES 64u

struct pane_row {
	char *text;   /* escaped, one line */
	char *detail; /* escaped, may have lines; or NULL */
	char id[PANE_ID_MAX_BYTES];
	bool alert;
};

struct pane {
	char *heading; /* or NULL */
	struct pane_row rows[PANE_ROWS_MAX];
	size_t count;
	size_t first; /* rows is a ring */
	size_t visible[PANE_ROWS_MAX];
	size_t visible_count;
	size_t cursor; /* index into visible */
	size_t top;    /* the same, first one shown */
	char filter[PANE_FILTER_MAX_BYTES];
	bool follow;      /* the cursor stays on the last row */
	uint64_t unseen;  /* rows added since following stopped */
	uint64_t dropped; /* rows pushed out of the ring */
};

MUST_CHECK enum err pane_new(struct pane **ret_pane);
void pane_free(struct pane *pane);
void pane_clear(struct pane *pane);
MUST_CHECK enum err pane_set_heading(struct pane *pane, const char *text);
MUST_CHECK enum err pane_add(struct pane *pane, const char *text,
			     const char *id, const char *detail, bool alert);
void pane_set_filter(struct pane *pane, const char *filter);
void pane_move(struct pane *pane, long delta);
void pane_end(struct pane *pane, bool last);
bool pane_find_alert(struct pane *pane, bool backward);
void pane_select(struct pane *pane, const char *id);
void pane_scroll(struct pane *pane, size_t height);
const struct pane_row *pane_at(const struct pane *pane, size_t index);
const struct pane_row *pane_selected(const struct pane *pane);

#endif
