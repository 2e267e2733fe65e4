/* SPDX-License-Identifier: Apache-2.0 */
/* wrap.h - break texts and tables to the width of a terminal */
#ifndef KENAZ_TUI_WRAP_H
#define KENAZ_TUI_WRAP_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

size_t wrap_width(int fd);
void wrap_fit(size_t *widths, const size_t *least, size_t count, size_t total);
size_t wrap_line(const char *text, size_t width, size_t *ret_next);
MUST_CHECK enum err wrap_put(struct buf *out, const char *text, size_t width,
			     size_t indent);

#endif
