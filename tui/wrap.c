/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wrap.c - break texts and tables to the width of a terminal
 *
 * Runs in: kenaz.
 * Trusts:  its texts to be escaped.
 * Never:   breaks what goes into a pipe or a file: programs read that.
 */
#include "tui/wrap.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "engine/base/text.h"
#include "tui/terminal.h"

/** wrap_width() - Columns to fit into; 0: no terminal, nothing is broken */
size_t wrap_width(int fd)
{
	uint16_t rows, columns;

	if (!isatty(fd))
		return 0;
	terminal_size(fd, &rows, &columns);
	return columns;
}

/**
 * wrap_fit() - Take from the widest columns until all fit
 * @widths:	Of the columns; changed
 * @least:	What each keeps
 * @count:	How many
 * @total:	What they may have together
 */
void wrap_fit(size_t *widths, const size_t *least, size_t count, size_t total)
{
	for (;;) {
		size_t sum = 0, widest = count, i;

		for (i = 0; i < count; i++) {
			sum += widths[i];
			if (widths[i] > least[i] &&
			    (widest == count || widths[i] > widths[widest]))
				widest = i;
		}
		if (sum <= total || widest == count)
			return;
		widths[widest]--;
	}
}

/**
 * wrap_line() - The first line of a text
 * @text:	UTF-8
 * @width:	Columns; a word that is longer is broken
 * @ret_next:	Offset of the rest, without the spaces between
 *
 * Return: bytes of the line.
 */
size_t wrap_line(const char *text, size_t width, size_t *ret_next)
{
	struct span s = span_text(text);
	size_t at = 0, used = 0, space = 0, end;
	uint32_t cp;

	while (s.len_bytes) {
		size_t len = text_utf8_next(s, &cp);
		int w = len ? wcwidth((wchar_t)cp) : 1;

		len = len ? len : 1;
		if (text[at] == ' ')
			space = at;
		used += w < 0 ? 1 : (size_t)w;
		if (used > width && at)
			break;
		at += len;
		s = span_of(s.data + len, s.len_bytes - len);
	}
	end = s.len_bytes && space ? space : at;
	*ret_next = end + strspn(text + end, " ");
	return end;
}

/**
 * wrap_put() - Append a text whose further lines are indented
 * @out:	What stands before the text has @indent columns already
 * @text:	UTF-8
 * @width:	Of the terminal; 0: nothing is broken
 * @indent:	Columns before each further line
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err wrap_put(struct buf *out, const char *text, size_t width,
		  size_t indent)
{
	size_t room = width > indent + 8 ? width - indent : 8, next;
	enum err e = ERR_OK;

	if (width == 0)
		return buf_put_text(out, text);
	while (e == ERR_OK && *text) {
		size_t len = wrap_line(text, room, &next);

		e = buf_put(out, text, len);
		text += next;
		if (e == ERR_OK && *text)
			e = buf_printf(out, "\n%*s", (int)indent, "");
	}
	return e;
}
