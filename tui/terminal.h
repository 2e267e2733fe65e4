/* SPDX-License-Identifier: Apache-2.0 */
/* terminal.h - raw mode and its way back, whatever ends the program */
#ifndef KENAZ_TUI_TERMINAL_H
#define KENAZ_TUI_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"

#define TERMINAL_ROWS_MIN    2
#define TERMINAL_ROWS_MAX    300
#define TERMINAL_COLUMNS_MIN 20
#define TERMINAL_COLUMNS_MAX 500

void terminal_guard(void);
MUST_CHECK enum err terminal_raw(int fd);
MUST_CHECK enum err terminal_no_echo(int fd);
MUST_CHECK enum err terminal_screen_begin(int fd);
void terminal_screen_end(void);
void terminal_note_alternate(bool on);
void terminal_restore(void);
void terminal_size(int fd, uint16_t *ret_rows, uint16_t *ret_columns);

#endif
