/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_common.h - what several commands do alike */
#ifndef KENAZ_TUI_CMD_COMMON_H
#define KENAZ_TUI_CMD_COMMON_H

#include "tui/app.h"
#include "tui/args.h"

/* A verb that answers a list under a member. */
struct list_command {
	const char *method;
	const char *member;
	const char *name; /* what --quiet prints */
	const char *empty;
	const struct column *columns;
	size_t count;
};

int cmd_usage(const struct app *app, const struct args *args);
int cmd_list(struct app *app, const struct list_command *list, cJSON *params);
int cmd_object(struct app *app, const char *method, cJSON *params);
int cmd_print_object(struct app *app, cJSON *result);
int cmd_terminal(struct app *app, const char *method, cJSON *params, bool tty,
		 bool read_only, const char *left);
bool cmd_wants_tty(const struct args *args);
void cmd_add_size(cJSON *params);
int cmd_ask_provenance(struct app *app);
void cmd_say_provenance(const struct app *app, bool scripted,
			bool no_isolation);

extern const struct option_row cmd_no_options[];

#endif
