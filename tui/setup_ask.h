/* SPDX-License-Identifier: Apache-2.0 */
/* setup_ask.h - questions and answers at a terminal, for kenaz setup */
#ifndef KENAZ_TUI_SETUP_ASK_H
#define KENAZ_TUI_SETUP_ASK_H

#include <stdbool.h>
#include <stddef.h>

/* Left the dialogue: the end of input, or the user said no. */
#define SETUP_LEFT (-1)

#define SETUP_LINE_MAX_BYTES 1024u
#define SETUP_DONE_MAX_BYTES 1024u

void setup_guard(void);
void setup_wrote(const char *format, ...) __attribute__((format(printf, 1, 2)));
void setup_unwrote(void);
const char *setup_written(void);
void setup_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool setup_line(const char *question, const char *fallback, char *ret_text,
		size_t cap_bytes);
bool setup_number(const char *question, size_t count, size_t fallback,
		  size_t *ret_index);
bool setup_agrees(const char *question, bool fallback, bool *ret_yes);

#endif
