/* SPDX-License-Identifier: Apache-2.0 */
/* console.h - the last bytes of a serial console, bounded */
#ifndef KENAZ_VM_CONSOLE_H
#define KENAZ_VM_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define CONSOLE_TAIL_BYTES 4096u
#define CONSOLE_MAX_BYTES \
	(4ull * 1024 * 1024) /* then it is cut off, if none is set */
#define CONSOLE_MARK_BYTES 64u

/* Plain data; zeroed is an empty console without a mark. */
struct console {
	uint8_t tail[CONSOLE_TAIL_BYTES];
	size_t at_bytes; /* where the next byte goes */
	uint64_t total_bytes;
	const char *mark; /* text waited for, shorter than CONSOLE_MARK_BYTES */
	size_t matched_bytes;
	bool found;
	uint64_t max_bytes; /* 0: CONSOLE_MAX_BYTES */
	bool cut;           /* it wrote more */
};

void console_put(struct console *c, struct span bytes);
MUST_CHECK enum err console_tail(const struct console *c, struct buf *out);
uint64_t console_limit(const struct console *c);
MUST_CHECK enum err console_read(struct console *c, int fd);

#endif
