/* SPDX-License-Identifier: Apache-2.0 */
/* screen_draw.h - one frame of the full screen */
#ifndef KENAZ_TUI_SCREEN_DRAW_H
#define KENAZ_TUI_SCREEN_DRAW_H

#include "tui/screen_model.h"

#define PROMPT_MAX_BYTES 128u

/* What lies over the panes, or is asked in the last rows. */
enum overlay { OVERLAY_NONE, OVERLAY_HELP, OVERLAY_DETAIL };

struct screen_view {
	enum pane_id pane;
	enum overlay overlay;
	size_t overlay_top;
	char detail[16384];
	const char *question; /* what is being typed for, or NULL */
	char typed[PROMPT_MAX_BYTES];
};

void screen_draw(struct screen_model *m, struct screen_view *view);
size_t screen_draw_height(const struct screen_model *m,
			  const struct screen_view *view);

#endif
