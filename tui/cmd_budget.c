/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_budget.c - kenaz budget show
 *
 * Runs in: kenaz.
 * Trusts:  as app.c.
 * Never:   computes: core says what is used and left.
 */
#include "tui/cmd_common.h"
#include "tui/command.h"

static const struct column columns[] = {
	{"SCOPE", "scope", CELL_ANY},
	{"OF", "key", CELL_ANY},
	{"UNIT", "unit_text", CELL_ANY},
	{"LIMIT", "limit_text", CELL_ANY},
	{"USED", "used_text", CELL_ANY},
	{"RESERVED", "reserved_text", CELL_ANY},
	{"LEFT", "left_text", CELL_ANY},
	{"NEW IN", "reset_s", CELL_AGE},
};

static int cmd_show_budgets(struct app *app, struct args *args)
{
	static const struct list_command list = {
		.method = "budget.show",
		.member = "budgets",
		.name = "scope",
		.empty = "no budget is set, and nothing was spent; "
			 "[budget.user] of policy.toml sets one",
		.columns = columns,
		.count = ARRAY_SIZE(columns),
	};

	(void)args;
	return cmd_list(app, &list, NULL);
}

const struct command command_budget_show = {
	.name = "budget show",
	.arguments = "",
	.summary = "Show what was spent, and what is left",
	.options = cmd_no_options,
	.run = cmd_show_budgets,
};
