/* SPDX-License-Identifier: Apache-2.0 */
/*
 * output.c - answers as tables, JSON or JSON lines, always escaped
 *
 * Runs in: kenaz.
 * Trusts:  nothing in an answer: names and reasons may come from a guest.
 * Never:   prints a character that could act on a terminal: tables show it
 *	    as \xNN, JSON as \uNNNN, which means the same to a reader.
 */
#include "tui/output.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "engine/base/text.h"
#include "tui/wrap.h"

#define COLUMN_LEAST 10u /* columns that any cell keeps */

static const struct {
	const char *name;
	enum output_format format;
} formats[] = {
	{"table", OUTPUT_TABLE},
	{"json", OUTPUT_JSON},
	{"jsonl", OUTPUT_JSONL},
};

/**
 * output_format_find() - Read the value of -o
 * @name:	The user's word
 * @ret_format:	Written on success
 *
 * Return: ERR_OK; ERR_NOT_FOUND.
 */
enum err output_format_find(const char *name, enum output_format *ret_format)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		if (strcmp(formats[i].name, name) == 0) {
			*ret_format = formats[i].format;
			return ERR_OK;
		}
	}
	return ERR_NOT_FOUND;
}

static const cJSON *member(const cJSON *row, const char *key)
{
	char name[64];

	while (row && *key) {
		size_t len = strcspn(key, ".");

		if (len >= sizeof(name))
			return NULL;
		memcpy(name, key, len);
		name[len] = '\0';
		row = cJSON_GetObjectItemCaseSensitive(row, name);
		key += len + (key[len] == '.');
	}
	return row;
}

static void put_number(double number, char *ret_text, size_t cap_bytes)
{
	if (number == floor(number) && fabs(number) < 9007199254740992.0)
		(void)snprintf(ret_text, cap_bytes, "%.0f", number);
	else
		(void)snprintf(ret_text, cap_bytes, "%g", number);
}

static void put_age(double seconds, char *ret_text, size_t cap_bytes)
{
	unsigned long s =
		seconds > 0 && seconds < 1e9 ? (unsigned long)seconds : 0;

	if (s < 60)
		(void)snprintf(ret_text, cap_bytes, "%lus", s);
	else if (s < 3600)
		(void)snprintf(ret_text, cap_bytes, "%lum%02lus", s / 60,
			       s % 60);
	else if (s < 172800)
		(void)snprintf(ret_text, cap_bytes, "%luh%02lum", s / 3600,
			       s / 60 % 60);
	else
		(void)snprintf(ret_text, cap_bytes, "%lud", s / 86400);
}

/** output_bytes() - A number of bytes in the greatest unit that fits */
void output_bytes(double bytes, char *ret_text, size_t cap_bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	size_t unit = 0;

	while (bytes >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		bytes /= 1024;
		unit++;
	}
	(void)snprintf(ret_text, cap_bytes, unit ? "%.1f %s" : "%.0f %s", bytes,
		       units[unit]);
}

/**
 * output_value() - A value as one line of text
 * @item:	Borrowed; NULL is "-"
 * @ret_text:	Array of @cap_bytes; always NUL-terminated and escaped
 * @cap_bytes:	Its size
 */
void output_value(const cJSON *item, char *ret_text, size_t cap_bytes)
{
	char *text;

	if (cJSON_IsString(item)) {
		(void)text_escape_line(span_text(item->valuestring), ret_text,
				       cap_bytes);
	} else if (cJSON_IsNumber(item)) {
		put_number(item->valuedouble, ret_text, cap_bytes);
	} else if (cJSON_IsBool(item)) {
		(void)snprintf(ret_text, cap_bytes, "%s",
			       cJSON_IsTrue(item) ? "yes" : "no");
	} else if (item && !cJSON_IsNull(item)) {
		text = cJSON_PrintUnformatted(item);
		(void)text_escape_line(span_text(text), ret_text, cap_bytes);
		cJSON_free(text);
	} else {
		(void)snprintf(ret_text, cap_bytes, "-");
	}
}

/* A list of words for people; anything else in it as JSON. */
static void put_words(const cJSON *list, char *ret_text, size_t cap_bytes)
{
	const cJSON *item;
	char word[OUTPUT_CELL_MAX_BYTES];

	ret_text[0] = '\0';
	cJSON_ArrayForEach(item, list)
	{
		output_value(item, word, sizeof(word));
		text_append(ret_text, cap_bytes, "%s%s",
			    ret_text[0] ? ", " : "", word);
	}
}

/**
 * output_cell() - What a table shows for one value
 * @row:	Object, borrowed
 * @column:	Which member and how
 * @ret_text:	Array of @cap_bytes; always NUL-terminated and escaped
 * @cap_bytes:	Its size
 */
void output_cell(const cJSON *row, const struct column *column, char *ret_text,
		 size_t cap_bytes)
{
	const cJSON *item = member(row, column->key);

	if (column->kind == CELL_AGE && cJSON_IsNumber(item))
		put_age(item->valuedouble, ret_text, cap_bytes);
	else if (column->kind == CELL_BYTES && cJSON_IsNumber(item))
		output_bytes(item->valuedouble, ret_text, cap_bytes);
	else if (cJSON_IsArray(item))
		put_words(item, ret_text, cap_bytes);
	else if (column->kind == CELL_YES && !cJSON_IsTrue(item))
		(void)snprintf(ret_text, cap_bytes, "-");
	else
		output_value(item, ret_text, cap_bytes);
	if (ret_text[0] == '\0')
		(void)snprintf(ret_text, cap_bytes, "-");
}

/** output_width() - Columns that escaped text takes on a terminal */
size_t output_width(const char *text)
{
	struct span s = span_text(text);
	size_t width = 0;
	uint32_t cp;

	while (s.len_bytes) {
		size_t len = text_utf8_next(s, &cp);
		int w;

		if (len == 0)
			break;
		w = wcwidth((wchar_t)cp);
		width += w < 0 ? 1 : (size_t)w;
		s.data += len;
		s.len_bytes -= len;
	}
	return width;
}

static enum err put_padded(struct buf *out, const char *text, size_t width)
{
	size_t have = output_width(text);
	enum err e = buf_put_text(out, text);

	for (; e == ERR_OK && have < width; have++)
		e = buf_put_u8(out, ' ');
	return e;
}

/* A row over as many lines as its cells take. */
static enum err put_row(struct buf *out, char (*cells)[OUTPUT_CELL_MAX_BYTES],
			const size_t *widths, size_t count)
{
	const char *rest[OUTPUT_COLUMNS_MAX];
	char line[OUTPUT_CELL_MAX_BYTES];
	enum err e = ERR_OK;
	bool more = true;
	size_t i, last;

	for (i = 0; i < count; i++)
		rest[i] = cells[i];
	while (e == ERR_OK && more) {
		/* Nothing is padded behind the last of a line. */
		for (last = count; last > 1 && !rest[last - 1][0];)
			last--;
		more = false;
		for (i = 0; e == ERR_OK && i < last; i++) {
			size_t next, len = wrap_line(rest[i], widths[i], &next);

			memcpy(line, rest[i], len);
			line[len] = '\0';
			e = put_padded(out, line,
				       i + 1 < last ? widths[i] + 2 : 0);
			rest[i] += next;
			more = more || rest[i][0];
		}
		for (; i < count; i++)
			more = more || rest[i][0];
		if (e == ERR_OK)
			e = buf_put_u8(out, '\n');
	}
	return e;
}

/* Widest cell of each column, and what it keeps where room is short. */
static void measure(const cJSON *rows, const struct column *columns,
		    size_t count, size_t *widths, size_t *least)
{
	char cell[OUTPUT_CELL_MAX_BYTES];
	const cJSON *row;
	size_t i;

	for (i = 0; i < count; i++) {
		size_t title = output_width(columns[i].title);

		widths[i] = title;
		cJSON_ArrayForEach(row, rows)
		{
			size_t width;

			output_cell(row, &columns[i], cell, sizeof(cell));
			width = output_width(cell);
			widths[i] = width > widths[i] ? width : widths[i];
		}
		least[i] = title > COLUMN_LEAST ? title : COLUMN_LEAST;
		least[i] = least[i] < widths[i] ? least[i] : widths[i];
	}
}

/**
 * output_table_fit() - Append a table with a heading, fitted to a width
 * @rows:	Array of objects, borrowed
 * @columns:	What to show
 * @count:	How many columns, at most OUTPUT_COLUMNS_MAX
 * @width:	Columns of the terminal; 0: as wide as it is
 * @out:	Appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err output_table_fit(const cJSON *rows, const struct column *columns,
			  size_t count, size_t width, struct buf *out)
{
	size_t widths[OUTPUT_COLUMNS_MAX], least[OUTPUT_COLUMNS_MAX], i;
	char cells[OUTPUT_COLUMNS_MAX][OUTPUT_CELL_MAX_BYTES];
	const cJSON *row;
	enum err e;

	if (count == 0 || count > OUTPUT_COLUMNS_MAX)
		return ERR_LIMIT;
	measure(rows, columns, count, widths, least);
	if (width > 2 * count)
		wrap_fit(widths, least, count, width - 2 * (count - 1));
	for (i = 0; i < count; i++)
		(void)snprintf(cells[i], sizeof(cells[i]), "%s",
			       columns[i].title);
	e = put_row(out, cells, widths, count);
	cJSON_ArrayForEach(row, rows)
	{
		for (i = 0; i < count; i++)
			output_cell(row, &columns[i], cells[i],
				    sizeof(cells[i]));
		if (e == ERR_OK)
			e = put_row(out, cells, widths, count);
	}
	return e;
}

/** output_table() - As output_table_fit(), as wide as it is */
enum err output_table(const cJSON *rows, const struct column *columns,
		      size_t count, struct buf *out)
{
	return output_table_fit(rows, columns, count, 0, out);
}

static enum err put_field(const char *name, const cJSON *item, struct buf *out)
{
	char key[128], text[4096];
	enum err e;

	(void)text_escape_line(span_text(name), key, sizeof(key));
	output_value(item, text, sizeof(text));
	e = buf_put_text(out, key);
	if (e == ERR_OK)
		e = buf_put_text(out, ": ");
	if (e == ERR_OK)
		e = buf_put_text(out, text);
	return e == ERR_OK ? buf_put_u8(out, '\n') : e;
}

/**
 * output_fields() - Append an object, one member a line
 * @object:	Borrowed; objects inside it are written as name.member
 * @out:	Appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err output_fields(const cJSON *object, struct buf *out)
{
	const cJSON *item, *inner;
	enum err e = ERR_OK;
	char name[160];

	cJSON_ArrayForEach(item, object)
	{
		if (!cJSON_IsObject(item)) {
			e = put_field(item->string, item, out);
			if (e != ERR_OK)
				return e;
			continue;
		}
		cJSON_ArrayForEach(inner, item)
		{
			(void)snprintf(name, sizeof(name), "%.60s.%.90s",
				       item->string, inner->string);
			e = put_field(name, inner, out);
			if (e != ERR_OK)
				return e;
		}
	}
	return e;
}

static enum err put_unicode(struct buf *out, uint32_t cp)
{
	if (cp < 0x10000)
		return buf_printf(out, "\\u%04x", cp);
	cp -= 0x10000;
	return buf_printf(out, "\\u%04x\\u%04x", 0xd800 + (cp >> 10),
			  0xdc00 + (cp & 0x3ff));
}

/**
 * output_json() - Append JSON in which every character is visible
 * @value:	Borrowed
 * @pretty:	Over several lines
 * @out:	Appended to, without a line's end
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err output_json(const cJSON *value, bool pretty, struct buf *out)
{
	char *text =
		pretty ? cJSON_Print(value) : cJSON_PrintUnformatted(value);
	struct span s = span_text(text);
	enum err e = text ? ERR_OK : ERR_MEMORY;

	/* Outside texts JSON is ASCII, and cJSON escapes C0 inside them. */
	while (e == ERR_OK && s.len_bytes) {
		uint32_t cp = 0;
		size_t len = text_utf8_next(s, &cp);

		if (len == 0) {
			e = put_unicode(out, 0xfffd);
			len = 1;
		} else if (cp >= 0x7f && text_is_hidden(cp)) {
			e = put_unicode(out, cp);
		} else {
			e = buf_put(out, s.data, len);
		}
		s.data += len;
		s.len_bytes -= len;
	}
	cJSON_free(text);
	return e;
}

/**
 * output_flush() - Write what was collected to standard output
 * @out:	Emptied
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err output_flush(struct buf *out)
{
	size_t len = out->len_bytes;
	bool good = len == 0 || fwrite(out->data, 1, len, stdout) == len;

	buf_reset(out);
	return good && fflush(stdout) == 0 ? ERR_OK : ERR_SYS;
}

static enum err json_line(const cJSON *value, bool pretty, struct buf *out)
{
	enum err e = output_json(value, pretty, out);

	return e == ERR_OK ? buf_put_u8(out, '\n') : e;
}

/**
 * output_list() - Print a list of objects
 * @format:	Table, one JSON array, or one JSON object a line
 * @rows:	Array, borrowed
 * @columns:	Of the table
 * @count:	How many
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_SYS.
 */
enum err output_list(enum output_format format, const cJSON *rows,
		     const struct column *columns, size_t count)
{
	enum err e = ERR_OK;
	const cJSON *row;
	struct buf out;

	buf_init(&out, OUTPUT_MAX_BYTES);
	if (format == OUTPUT_TABLE) {
		e = output_table_fit(rows, columns, count,
				     wrap_width(STDOUT_FILENO), &out);
	} else if (format == OUTPUT_JSON) {
		e = json_line(rows, true, &out);
	} else {
		cJSON_ArrayForEach(row, rows)
		{
			e = json_line(row, false, &out);
			if (e != ERR_OK)
				break;
		}
	}
	if (e == ERR_OK)
		e = output_flush(&out);
	buf_fini(&out);
	return e;
}

/**
 * output_object() - Print one object
 * @format:	One member a line, JSON over several lines, or on one
 * @object:	Borrowed
 *
 * Return: as output_list().
 */
enum err output_object(enum output_format format, const cJSON *object)
{
	struct buf out;
	enum err e;

	buf_init(&out, OUTPUT_MAX_BYTES);
	if (format == OUTPUT_TABLE)
		e = output_fields(object, &out);
	else
		e = json_line(object, format == OUTPUT_JSON, &out);
	if (e == ERR_OK)
		e = output_flush(&out);
	buf_fini(&out);
	return e;
}

/** output_names() - Print one member of each object, one a line */
enum err output_names(const cJSON *rows, const char *key)
{
	const struct column column = {"", key, CELL_ANY};
	char cell[OUTPUT_CELL_MAX_BYTES];
	const cJSON *row;

	cJSON_ArrayForEach(row, rows)
	{
		output_cell(row, &column, cell, sizeof(cell));
		if (printf("%s\n", cell) < 0)
			return ERR_SYS;
	}
	return fflush(stdout) == 0 ? ERR_OK : ERR_SYS;
}
