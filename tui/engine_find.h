/* SPDX-License-Identifier: Apache-2.0 */
/* engine_find.h - which engine to talk to, and starting the user's own */
#ifndef KENAZ_TUI_ENGINE_FIND_H
#define KENAZ_TUI_ENGINE_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "engine/base/err.h"

#define ENGINE_PATH_MAX_BYTES  108u /* sun_path */
#define ENGINE_START_MAX_MS    30000u
#define ENGINE_SYSTEM_SOCKET   "/run/kenaz/kenazd.sock"
#define ENGINE_ERROR_MAX_BYTES 1024u

struct engine_found {
	int fd;
	char path[ENGINE_PATH_MAX_BYTES];
	bool started;  /* by this call */
	bool fallback; /* where it is, is not what one would expect */
	bool refused;  /* a socket was there, and nobody behind it */
	char error[ENGINE_ERROR_MAX_BYTES];
};

/* Called with 0 when an engine is being started, then every half second. */
typedef void (*engine_progress_fn)(void *user, unsigned elapsed_ms);

MUST_CHECK enum err engine_find(const char *socket_path, bool may_start,
				engine_progress_fn progress, void *user,
				struct engine_found *ret_found);

#endif
