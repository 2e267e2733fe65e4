/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setup_ask.c - questions and answers at a terminal, for kenaz setup
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   shows a text that is not escaped; ends without saying what was
 *	    written, whatever ends it.
 */
#include "tui/setup_ask.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/text.h"
#include "tui/terminal.h"

#define SAY_MAX_BYTES (64u * 1024)

/* For the handler: a whole sentence, and which of two is valid. */
static char done[2][SETUP_DONE_MAX_BYTES + 64];
static volatile sig_atomic_t valid;
static char written[SETUP_DONE_MAX_BYTES];

static void tell(void)
{
	int next = valid ? 0 : 1;

	(void)snprintf(done[next], sizeof(done[next]),
		       "\nkenaz: stopped; %s%s\n",
		       written[0] ? "written so far: " : "nothing was written",
		       written);
	valid = next;
}

static void on_interrupt(int number)
{
	const char *text = done[valid];
	ssize_t n;

	terminal_restore();
	n = write(STDERR_FILENO, text, strlen(text));
	(void)n;
	_exit(128 + number);
}

/** setup_guard() - From here on an interrupt says what was written */
void setup_guard(void)
{
	struct sigaction action = {.sa_handler = on_interrupt};

	terminal_guard();
	tell();
	sigfillset(&action.sa_mask);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
}

/** setup_wrote() - Something is, or is about to be, written */
void setup_wrote(const char *format, ...)
{
	char raw[SETUP_DONE_MAX_BYTES / 2], line[SETUP_DONE_MAX_BYTES];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	(void)text_escape_line(span_text(raw), line, sizeof(line));
	text_append(written, sizeof(written), "%s%s", written[0] ? ", " : "",
		    line);
	tell();
}

/** setup_unwrote() - It was all taken back */
void setup_unwrote(void)
{
	written[0] = '\0';
	tell();
}

/** setup_written() - What was written, for a sentence; "" is nothing */
const char *setup_written(void)
{
	return written;
}

/** setup_say() - Show a text, escaped, its lines kept */
void setup_say(const char *format, ...)
{
	static char raw[SAY_MAX_BYTES];
	struct buf shown;
	va_list args;

	buf_init(&shown, 4 * SAY_MAX_BYTES);
	va_start(args, format);
	if (vsnprintf(raw, sizeof(raw), format, args) >= 0 &&
	    text_escape(span_text(raw), true, &shown) == ERR_OK)
		(void)fwrite(shown.data, 1, shown.len_bytes, stdout);
	va_end(args);
	(void)fflush(stdout);
	buf_fini(&shown);
}

/* A line by single bytes: what follows it stays for who reads without echo. */
static bool read_line(char *ret_text, size_t cap_bytes)
{
	size_t len = 0;
	ssize_t n;
	char c;

	for (;;) {
		n = read(STDIN_FILENO, &c, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		if (c == '\n')
			break;
		if (len + 1 < cap_bytes)
			ret_text[len++] = c;
	}
	while (len && (ret_text[len - 1] == ' ' || ret_text[len - 1] == '\r'))
		len--;
	ret_text[len] = '\0';
	return true;
}

/**
 * setup_line() - Ask for a line
 * @question:	Shown
 * @fallback:	Taken for an empty line and shown; NULL: none; may be @ret_text
 * @ret_text:	Array of @cap_bytes; a longer line is cut
 * @cap_bytes:	Its size
 *
 * Return: false at the end of input.
 */
bool setup_line(const char *question, const char *fallback, char *ret_text,
		size_t cap_bytes)
{
	char line[SETUP_LINE_MAX_BYTES];

	if (fallback && fallback[0])
		setup_say("%s [%s]: ", question, fallback);
	else
		setup_say("%s: ", question);
	if (!read_line(line, sizeof(line)))
		return false;
	/* What is kept may be what is there. */
	if (!line[0] && fallback == ret_text)
		return true;
	(void)snprintf(ret_text, cap_bytes, "%s",
		       line[0]    ? line
		       : fallback ? fallback
				  : "");
	return true;
}

/**
 * setup_number() - Ask for one of a numbered list
 * @question:	Shown
 * @count:	How many there are
 * @fallback:	Index taken for an empty line; @count: none
 * @ret_index:	Written when true
 *
 * Return: false at the end of input.
 */
bool setup_number(const char *question, size_t count, size_t fallback,
		  size_t *ret_index)
{
	char line[32], usual[32] = "";
	uint64_t value;

	if (fallback < count)
		(void)snprintf(usual, sizeof(usual), "%zu", fallback + 1);
	for (;;) {
		if (!setup_line(question, usual, line, sizeof(line)))
			return false;
		if (text_parse_u64(span_text(line), 1, count, &value) ==
		    ERR_OK) {
			*ret_index = (size_t)value - 1;
			return true;
		}
		setup_say("Give a number from 1 to %zu.\n", count);
	}
}

/** setup_agrees() - Ask yes or no; false at the end of input */
bool setup_agrees(const char *question, bool fallback, bool *ret_yes)
{
	char line[16];

	for (;;) {
		setup_say("%s [%s] ", question, fallback ? "Y/n" : "y/N");
		if (!read_line(line, sizeof(line)))
			return false;
		*ret_yes =
			line[0] ? line[0] == 'y' || line[0] == 'Y' : fallback;
		if (!line[0] || strchr("yYnN", line[0]))
			return true;
	}
}
