/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen.c - the terminal through ncurses: start, text, colours, end
 *
 * Runs in: kenaz.
 * Trusts:  the terminal's description, where there is one.
 * Never:   draws a character that could act on the terminal; sends more than
 *	    what changed (one doupdate() a frame); changes the palette.
 */
#define NCURSES_WIDECHAR 1
#include "tui/screen.h"

#include <locale.h>
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <term.h>
#include <unistd.h>
#include <wchar.h>

#include "engine/base/text.h"
#include "tui/terminal.h"

#define ESCAPE_DELAY_MS 25

static SCREEN *screen;
static attr_t styles[STYLE_COUNT];
static short pairs[STYLE_COUNT];

static void set_styles(bool color)
{
	static const short colors[STYLE_COUNT] = {
		[STYLE_TITLE] = COLOR_CYAN, [STYLE_DIM] = -1,
		[STYLE_ALERT] = COLOR_RED,  [STYLE_WARN] = COLOR_YELLOW,
		[STYLE_GOOD] = COLOR_GREEN, [STYLE_PLAIN] = -1,
		[STYLE_SELECTED] = -1,
	};
	short i;

	styles[STYLE_TITLE] = A_BOLD;
	styles[STYLE_DIM] = A_DIM;
	styles[STYLE_ALERT] = A_BOLD;
	styles[STYLE_WARN] = A_BOLD;
	styles[STYLE_SELECTED] = A_REVERSE;
	if (!color || !has_colors() || start_color() == ERR ||
	    use_default_colors() == ERR || COLORS < 8)
		return;
	for (i = 0; i < STYLE_COUNT; i++) {
		if (colors[i] < 0 ||
		    init_pair((short)(i + 1), colors[i], -1) == ERR)
			continue;
		pairs[i] = (short)(i + 1);
	}
}

static const char *usable_terminal(void)
{
	static const char *const others[] = {"xterm-256color", "xterm", "ansi"};
	const char *term = getenv("TERM");
	int found;
	size_t i;

	if (term && setupterm(term, STDOUT_FILENO, &found) == OK)
		return term;
	for (i = 0; i < ARRAY_SIZE(others); i++)
		if (setupterm(others[i], STDOUT_FILENO, &found) == OK)
			return others[i];
	return NULL;
}

/**
 * screen_begin() - Take the terminal over
 * @color:	Use colours where the terminal has them
 *
 * Return: ERR_OK; ERR_UNSUPPORTED when nothing describes this terminal;
 *	   ERR_SYS.
 */
enum err screen_begin(bool color)
{
	const char *term = usable_terminal();
	enum err e;

	if (!term)
		return ERR_UNSUPPORTED;
	/* After this ncurses sets its own handlers for SIGTSTP and SIGWINCH;
	 * those of terminal_guard() stay for the fatal ones. */
	terminal_guard();
	e = terminal_screen_begin(STDOUT_FILENO);
	if (e != ERR_OK)
		return e;
	screen = newterm(term, stdout, stdin);
	if (!screen) {
		terminal_restore();
		return ERR_UNSUPPORTED;
	}
	set_styles(color);
	(void)cbreak();
	(void)noecho();
	(void)nonl();
	(void)intrflush(stdscr, FALSE);
	(void)keypad(stdscr, TRUE);
	(void)nodelay(stdscr, TRUE);
	(void)set_escdelay(ESCAPE_DELAY_MS);
	return ERR_OK;
}

/** screen_end() - Give the terminal back for good */
void screen_end(void)
{
	if (!screen)
		return;
	(void)endwin();
	delscreen(screen);
	screen = NULL;
	terminal_screen_end();
}

/** screen_suspend() - Give the terminal back for a while */
void screen_suspend(void)
{
	(void)def_prog_mode();
	(void)endwin();
	terminal_screen_end();
}

/** screen_resume() - Take it over again; ERR_OK or ERR_SYS */
enum err screen_resume(void)
{
	enum err e = terminal_screen_begin(STDOUT_FILENO);

	if (e != ERR_OK)
		return e;
	(void)reset_prog_mode();
	screen_redraw();
	return ERR_OK;
}

/** screen_rows() - Height of the terminal */
int screen_rows(void)
{
	return getmaxy(stdscr);
}

/** screen_columns() - Width of the terminal */
int screen_columns(void)
{
	return getmaxx(stdscr);
}

/** screen_is_big_enough() - Whether there is room for more than a sentence */
bool screen_is_big_enough(void)
{
	return screen_rows() >= SCREEN_ROWS_MIN &&
	       screen_columns() >= SCREEN_COLUMNS_MIN;
}

/** screen_clear() - Start a frame */
void screen_clear(void)
{
	(void)werase(stdscr);
	(void)curs_set(0);
}

/** screen_fill() - Give a whole row a style */
void screen_fill(int row, enum screen_style style)
{
	(void)mvwchgat(stdscr, row, 0, -1, styles[style], pairs[style], NULL);
}

static bool put_wide(wchar_t wide, enum screen_style style)
{
	const wchar_t text[2] = {wide, L'\0'};
	cchar_t cell;

	return setcchar(&cell, text, styles[style], pairs[style], NULL) == OK &&
	       wadd_wch(stdscr, &cell) == OK;
}

/**
 * screen_text() - Draw text, cut at a width
 * @row:	Row
 * @column:	First column
 * @width:	Columns at most
 * @style:	Style
 * @text:	UTF-8; what is not visible is drawn as a question mark
 *
 * Return: columns used.
 */
int screen_text(int row, int column, int width, enum screen_style style,
		const char *text)
{
	struct span s = span_text(text);
	int used = 0;

	if (row < 0 || row >= screen_rows() || column >= screen_columns() ||
	    wmove(stdscr, row, column) == ERR)
		return 0;
	if (width > screen_columns() - column)
		width = screen_columns() - column;
	while (s.len_bytes) {
		uint32_t cp = '?';
		size_t len = text_utf8_next(s, &cp);
		int cells;

		if (len == 0 || text_is_hidden(cp))
			cp = '?';
		cells = wcwidth((wchar_t)cp);
		if (cells < 0) {
			cp = '?';
			cells = 1;
		}
		if (used + cells > width)
			break;
		/* At the last cell ncurses draws and still says ERR. */
		if (!put_wide((wchar_t)cp, style) && used + cells < width)
			break;
		used += cells;
		s.data += len ? len : 1;
		s.len_bytes -= len ? len : 1;
	}
	return used;
}

/** screen_cursor() - Show the cursor: the user is typing there */
void screen_cursor(int row, int column)
{
	(void)wmove(stdscr, row, column);
	(void)curs_set(1);
}

/** screen_show() - End a frame: send what changed */
void screen_show(void)
{
	(void)wnoutrefresh(stdscr);
	(void)doupdate();
}

/** screen_redraw() - The next frame is sent whole */
void screen_redraw(void)
{
	(void)clearok(stdscr, TRUE);
}

/**
 * screen_key() - Take a key that is there already
 * @ret_is_text:	Whether it is a character; else a key of ncurses
 *
 * Return: the key; -1 when there is none.
 */
int screen_key(bool *ret_is_text)
{
	wint_t key;
	int kind = wget_wch(stdscr, &key);

	if (kind == ERR)
		return -1;
	*ret_is_text = kind != KEY_CODE_YES;
	return (int)key;
}
