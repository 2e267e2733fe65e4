/* SPDX-License-Identifier: Apache-2.0 */
/* program.h - where Kenaz's other programs are, and the clock */
#ifndef KENAZ_TUI_PROGRAM_H
#define KENAZ_TUI_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define PROGRAM_PATH_MAX_BYTES 4096u

MUST_CHECK enum err program_find(const char *name, char *ret_path,
				 size_t cap_bytes);
uint64_t clock_now_ns(void);

#endif
