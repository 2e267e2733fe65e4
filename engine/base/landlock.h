/* SPDX-License-Identifier: Apache-2.0 */
/* landlock.h - give up files, TCP, foreign sockets and signals for good */
#ifndef KENAZ_BASE_LANDLOCK_H
#define KENAZ_BASE_LANDLOCK_H

#include "engine/base/err.h"

/* What the process and all it starts from then on can no longer do. */
enum landlock_loss {
	LANDLOCK_NO_FILES = 1 << 0, /* reach a file by its path; mount */
	LANDLOCK_NO_TCP = 1 << 1,   /* bind or connect TCP */
	LANDLOCK_NO_FOREIGN_SOCKETS = 1 << 2, /* abstract unix sockets */
	LANDLOCK_NO_FOREIGN_SIGNALS = 1 << 3, /* to whom it did not start */
};

int landlock_version(void);
MUST_CHECK enum err landlock_enter(unsigned losses);

#endif
