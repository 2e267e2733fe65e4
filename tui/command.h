/* SPDX-License-Identifier: Apache-2.0 */
/* command.h - the table of commands: help, completion and dispatch */
#ifndef KENAZ_TUI_COMMAND_H
#define KENAZ_TUI_COMMAND_H

#include "tui/args.h"

#define COMMAND_ANY_ARGS 1000

struct app;

/* One command: a row, in its own cmd_*.c file. */
struct command {
	const char *name; /* "run", "session list" */
	const char *arguments;
	const char *summary;
	const char *text; /* more for --help, or NULL */
	const struct option_row *options;
	int args_min, args_max;
	bool runs_program; /* the first argument ends the options */
	bool program_code; /* exits as its program: our failure is 125 */
	bool unjailed;     /* starts programs that need more privileges */
	int (*run)(struct app *app, struct args *args);
};

/* X(row) in the order of help */
#define COMMANDS(X)        \
	X(setup)           \
	X(run)             \
	X(session_start)   \
	X(session_list)    \
	X(session_show)    \
	X(session_attach)  \
	X(session_exec)    \
	X(session_stop)    \
	X(session_wait)    \
	X(audit_tail)      \
	X(audit_list)      \
	X(audit_show)      \
	X(audit_payload)   \
	X(audit_verify)    \
	X(policy_show)     \
	X(policy_check)    \
	X(policy_explain)  \
	X(policy_reload)   \
	X(budget_show)     \
	X(approvals_list)  \
	X(approvals_grant) \
	X(approvals_deny)  \
	X(provider_list)   \
	X(provider_models) \
	X(provider_add)    \
	X(provider_remove) \
	X(provider_test)   \
	X(alias_list)      \
	X(alias_add)       \
	X(alias_remove)    \
	X(secret_set)      \
	X(secret_list)     \
	X(secret_remove)   \
	X(secret_import)   \
	X(secret_status)   \
	X(secret_unlock)   \
	X(secret_rewrap)   \
	X(image_list)      \
	X(image_show)      \
	X(image_verify)    \
	X(image_build)     \
	X(image_sign)      \
	X(image_key)       \
	X(doctor)          \
	X(serve)           \
	X(engine_info)     \
	X(engine_stop)     \
	X(engine_handover) \
	X(completion)      \
	X(help)

#define X(row) extern const struct command command_##row;
COMMANDS(X)
#undef X

extern const struct command *const command_table[];
extern const size_t command_count;
extern const struct option_row command_globals[];

const struct command *command_find(char *const *words, size_t count,
				   size_t *ret_taken);
MUST_CHECK enum err command_print_help(const struct command *command);
MUST_CHECK enum err command_choices(const char *group, char *ret_text,
				    size_t cap_bytes);
MUST_CHECK enum err command_print_list(const char *group);
MUST_CHECK enum err command_print_bash(void);

#endif
