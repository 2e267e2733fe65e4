/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transcript.c - what the user sees: lines that are only ever appended
 *
 * Runs in: kenaz-workbench.
 * Trusts:  nothing that it shows: every text is escaped, so that neither a
 *	    model nor the output of a command can move the cursor.
 * Never:   moves the cursor, clears, or redraws.
 */
#include "guest/workbench/transcript.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/json.h"
#include "engine/base/text.h"

#define LINE_MAX_BYTES 512
#define NOTE_MAX_BYTES 2048
#define HELD_MAX_BYTES (64u * 1024)

/* How the gate begins the text that stands for a denied call. */
static const char denial_prefix[] = "Kenaz denied ";

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_RED, STYLE_YELLOW };

static const char *const style_on[] = {
	[STYLE_PLAIN] = "",          [STYLE_BOLD] = "\033[1m",
	[STYLE_DIM] = "\033[2m",     [STYLE_RED] = "\033[1;31m",
	[STYLE_YELLOW] = "\033[33m",
};

/** transcript_init() - Begin a transcript on stdout */
void transcript_init(struct transcript *t)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	*t = (struct transcript){0};
	buf_init(&t->held, HELD_MAX_BYTES);
	t->has_colour = isatty(STDOUT_FILENO) && (!no_color || !no_color[0]) &&
			term && strcmp(term, "dumb") != 0;
}

/** transcript_fini() - Release a transcript */
void transcript_fini(struct transcript *t)
{
	buf_fini(&t->held);
}

static void put(const char *text)
{
	(void)fputs(text, stdout);
}

static void put_styled(const struct transcript *t, enum style style,
		       const char *text)
{
	if (t->has_colour)
		put(style_on[style]);
	put(text);
	if (t->has_colour && style != STYLE_PLAIN)
		put("\033[0m");
}

static void put_escaped(struct span s, bool keep_newlines)
{
	struct buf out;

	buf_init(&out, SIZE_MAX / 2);
	if (text_escape(s, keep_newlines, &out) == ERR_OK && out.len_bytes)
		(void)fwrite(out.data, 1, out.len_bytes, stdout);
	buf_fini(&out);
}

/* Everything but running text begins on a line of its own. */
static void fresh_line(struct transcript *t)
{
	if (t->in_text)
		put("\n");
	t->in_text = false;
}

/** transcript_prompt() - What the user asked; where no terminal echoed it */
void transcript_prompt(struct transcript *t, struct span text)
{
	fresh_line(t);
	put_styled(t, STYLE_BOLD, "> ");
	put_escaped(text, true);
	put("\n");
	(void)fflush(stdout);
}

static void show_text(struct transcript *t, struct span s)
{
	if (s.len_bytes == 0)
		return;
	put_escaped(s, true);
	t->in_text = s.data[s.len_bytes - 1] != '\n';
	(void)fflush(stdout);
}

/**
 * transcript_text() - More of the model's text
 * @t:		Transcript
 * @added:	Borrowed; whole code points
 *
 * The begin of a block is held until it is clear that it is no denial.
 */
void transcript_text(struct transcript *t, struct span added)
{
	const size_t len = sizeof(denial_prefix) - 1;
	struct span held;
	size_t common;

	if (t->held.max_bytes && !t->is_denial && t->held.len_bytes > len) {
		show_text(t, added);
		return;
	}
	if (buf_put_span(&t->held, added) != ERR_OK) {
		show_text(t, added);
		return;
	}
	held = buf_span(&t->held);
	common = held.len_bytes < len ? held.len_bytes : len;
	if (t->is_denial)
		return;
	if (common && memcmp(held.data, denial_prefix, common) == 0) {
		t->is_denial = held.len_bytes >= len;
		return;
	}
	show_text(t, held);
	/* Longer than the prefix: from here on nothing is held. */
	while (t->held.len_bytes <= len)
		if (buf_put_text(&t->held, " ") != ERR_OK)
			break;
}

/** transcript_text_end() - The block is complete */
void transcript_text_end(struct transcript *t)
{
	const size_t len = sizeof(denial_prefix) - 1;

	if (t->is_denial)
		transcript_denied(t, buf_span(&t->held));
	else if (t->held.len_bytes <= len)
		show_text(t, buf_span(&t->held));
	t->is_denial = false;
	buf_reset(&t->held);
	fresh_line(t);
	(void)fflush(stdout);
}

static void put_line(struct span s)
{
	char line[LINE_MAX_BYTES];
	size_t len = text_escape_line(s, line, sizeof(line));

	put(line);
	if (len + 16 > sizeof(line))
		put("...");
}

/* A call in one line: bash shows its command, the others their path. */
static void put_arguments(struct span input)
{
	static const char *const keys[] = {"command", "path"};
	const struct json_limits limits = {.max_tokens = 1024};
	struct json j;
	struct buf text;
	json_ref at = JSON_NONE;
	size_t i;

	json_init(&j);
	buf_init(&text, TOOL_FILE_MAX_BYTES);
	if (json_parse(&j, input, &limits) == ERR_OK &&
	    json_is(&j, JSON_ROOT, JSON_OBJECT))
		for (i = 0; at == JSON_NONE && i < ARRAY_SIZE(keys); i++)
			at = json_get(&j, JSON_ROOT, keys[i]);
	if (at != JSON_NONE && json_string(&j, at, &text) == ERR_OK)
		put_line(buf_span(&text));
	else
		put_line(input);
	buf_fini(&text);
	json_fini(&j);
}

/**
 * transcript_call() - Open the card of a call
 * @t:		Transcript
 * @name:	Tool
 * @input:	Its input as JSON
 */
void transcript_call(struct transcript *t, struct span name, struct span input)
{
	char shown[LINE_MAX_BYTES];

	fresh_line(t);
	(void)text_escape_line(name, shown, sizeof(shown));
	put_styled(t, STYLE_BOLD, "* ");
	put_styled(t, STYLE_BOLD, shown);
	put(": ");
	put_arguments(input);
	put("\n");
	(void)fflush(stdout);
}

static size_t count_lines(struct span s)
{
	size_t i, lines = 0;

	for (i = 0; i < s.len_bytes; i++)
		lines += s.data[i] == '\n';
	return lines + (s.len_bytes && s.data[s.len_bytes - 1] != '\n');
}

/**
 * transcript_result() - Close the card of a call
 * @t:	Transcript
 * @r:	What it gave; its first lines are shown
 */
void transcript_result(struct transcript *t, const struct tool_result *r)
{
	struct span left = buf_span(&r->output);
	size_t lines = count_lines(left), i;
	char text[LINE_MAX_BYTES];

	for (i = 0; i < TRANSCRIPT_CARD_LINES && left.len_bytes; i++) {
		const uint8_t *lf = memchr(left.data, '\n', left.len_bytes);
		size_t len = lf ? (size_t)(lf - left.data) : left.len_bytes;

		put_styled(t, STYLE_DIM, "  | ");
		put_line(span_of(left.data, len));
		put("\n");
		len += lf != NULL;
		left = span_of(left.data + len, left.len_bytes - len);
	}
	if (lines > i) {
		(void)snprintf(text, sizeof(text), "  | ... %zu more lines\n",
			       lines - i);
		put_styled(t, STYLE_DIM, text);
	}
	(void)snprintf(text, sizeof(text), "  %s%s%s, %llu.%02llu s\n",
		       r->is_error ? "failed" : "done",
		       r->status[0] ? ": " : "", r->status,
		       (unsigned long long)(r->duration_ms / 1000),
		       (unsigned long long)(r->duration_ms % 1000 / 10));
	put_styled(t, r->is_error ? STYLE_YELLOW : STYLE_DIM, text);
	(void)fflush(stdout);
}

/** transcript_denied() - The card of what policy denied */
void transcript_denied(struct transcript *t, struct span text)
{
	fresh_line(t);
	put_styled(t, STYLE_RED, "! denied: ");
	put_escaped(text, false);
	put("\n");
	(void)fflush(stdout);
}

static void put_message(struct transcript *t, enum style style,
			const char *head, const char *format, va_list args)
	__attribute__((format(printf, 4, 0)));

static void put_message(struct transcript *t, enum style style,
			const char *head, const char *format, va_list args)
{
	char text[NOTE_MAX_BYTES];

	fresh_line(t);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		return;
	put_styled(t, style, head);
	put_escaped(span_text(text), false);
	put("\n");
	(void)fflush(stdout);
}

/** transcript_error() - One clear sentence about what failed */
void transcript_error(struct transcript *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_message(t, STYLE_RED, "! error: ", format, args);
	va_end(args);
}

/** transcript_note() - Something the user should know */
void transcript_note(struct transcript *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_message(t, STYLE_YELLOW, "- ", format, args);
	va_end(args);
}
