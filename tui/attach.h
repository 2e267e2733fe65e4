/* SPDX-License-Identifier: Apache-2.0 */
/* attach.h - join the user's terminal or pipes to a program in a session */
#ifndef KENAZ_TUI_ATTACH_H
#define KENAZ_TUI_ATTACH_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define ATTACH_QUEUE_MAX_BYTES (256u * 1024) /* then reading stops */
#define ATTACH_RESTARTS_MAX    3u            /* of a terminal filter */
#define ATTACH_INTERRUPTS_MAX  3u            /* then kenaz itself ends */

struct attach_options {
	bool tty;         /* the program has a terminal */
	bool read_only;   /* nothing is sent but the size */
	const char *left; /* said when the user leaves, or NULL */
};

int attach_run(int fd, struct buf *rest, const struct attach_options *options);

#endif
