/* SPDX-License-Identifier: Apache-2.0 */
/* args.h - options and arguments of a command, read by its table */
#ifndef KENAZ_TUI_ARGS_H
#define KENAZ_TUI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define ARGS_OPTIONS_MAX  64u /* given at once */
#define ARGS_REST_MAX     1024u
#define ARGS_TEXT_MAX_LEN 512u

/* One option. The last of a table has no name. */
struct option_row {
	const char *name;  /* without the dashes */
	char letter;       /* or 0 */
	const char *value; /* name of its value in help, or NULL for a flag */
	const char *help;
};

struct args {
	struct {
		const struct option_row *row;
		const char *value;
	} given[ARGS_OPTIONS_MAX];
	size_t given_count;
	char *rest[ARGS_REST_MAX + 1]; /* ended by NULL */
	size_t rest_count;
	char error[ARGS_TEXT_MAX_LEN]; /* what is wrong, after ERR_FORMAT */
};

MUST_CHECK enum err args_parse(char *const *words, size_t count,
			       const struct option_row *const *tables,
			       bool stop_at_argument, struct args *ret_args);
bool args_has(const struct args *args, const char *name);
const char *args_value(const struct args *args, const char *name);
MUST_CHECK enum err args_number(struct args *args, const char *name,
				uint64_t least, uint64_t most,
				uint64_t *ret_number);

#endif
