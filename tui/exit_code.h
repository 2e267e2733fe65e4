/* SPDX-License-Identifier: Apache-2.0 */
/* exit_code.h - the exit codes of kenaz; kenaz(1) lists the same */
#ifndef KENAZ_TUI_EXIT_CODE_H
#define KENAZ_TUI_EXIT_CODE_H

#include "engine/base/err.h"

/* X(name, code, meaning) */
#define EXIT_CODES(X)                                      \
	X(OK, 0, "done")                                   \
	X(FAILED, 1, "failed")                             \
	X(USAGE, 2, "wrong arguments")                     \
	X(UNREACHABLE, 3, "the engine cannot be reached")  \
	X(PERMISSION, 4, "not allowed for this user")      \
	X(NOT_FOUND, 5, "no such thing")                   \
	X(DENIED, 6, "denied by policy")                   \
	X(TIMEOUT, 7, "timed out")                         \
	X(KENAZ, 125,                                      \
	  "run, exec, attach: Kenaz itself failed, denial" \
	  " included")                                     \
	X(INTERRUPTED, 130, "interrupted")

enum exit_code {
#define X(name, code, text) EXIT_CODE_##name = code,
	EXIT_CODES(X)
#undef X
};

enum exit_code exit_code_from_err(enum err e);
enum exit_code exit_code_from_rpc(const char *name, double code);
int exit_code_of_program(int code, int signalled);

#endif
