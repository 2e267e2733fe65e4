/* SPDX-License-Identifier: Apache-2.0 */
/* screen.h - the terminal through ncurses: start, text, colours, end */
#ifndef KENAZ_TUI_SCREEN_H
#define KENAZ_TUI_SCREEN_H

#include <stdbool.h>

#include "engine/base/err.h"

#define SCREEN_ROWS_MIN    8
#define SCREEN_COLUMNS_MIN 40

enum screen_style {
	STYLE_PLAIN,
	STYLE_TITLE,
	STYLE_DIM,
	STYLE_ALERT,
	STYLE_WARN,
	STYLE_GOOD,
	STYLE_SELECTED,
	STYLE_COUNT
};

MUST_CHECK enum err screen_begin(bool color);
void screen_end(void);
void screen_suspend(void);
MUST_CHECK enum err screen_resume(void);
int screen_rows(void);
int screen_columns(void);
bool screen_is_big_enough(void);
void screen_clear(void);
void screen_fill(int row, enum screen_style style);
int screen_text(int row, int column, int width, enum screen_style style,
		const char *text);
void screen_cursor(int row, int column);
void screen_show(void);
void screen_redraw(void);
int screen_key(bool *ret_is_text);

#endif
