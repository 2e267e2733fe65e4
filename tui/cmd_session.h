/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_session.h - starting a session, for "run" and "session start" */
#ifndef KENAZ_TUI_CMD_SESSION_H
#define KENAZ_TUI_CMD_SESSION_H

#include "tui/app.h"
#include "tui/args.h"

#define SESSION_MEMORY_MIN_MIB 64u
#define SESSION_MEMORY_MAX_MIB 65536u
#define SESSION_CPUS_MAX       64u

int session_start(struct app *app, struct args *args, bool detach,
		  cJSON **ret_started);
int session_print_started(struct app *app, cJSON *started);

#endif
