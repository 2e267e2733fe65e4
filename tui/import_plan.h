/* SPDX-License-Identifier: Apache-2.0 */
/* import_plan.h - which variables of a shell hold keys, and for whom */
#ifndef KENAZ_TUI_IMPORT_PLAN_H
#define KENAZ_TUI_IMPORT_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define IMPORT_ROWS_MAX      32u
#define IMPORT_VARIABLES_MAX 4u /* of one secret */

/* Where one secret comes from; those after @needed may be missing. */
struct import_row {
	const char *variables[IMPORT_VARIABLES_MAX + 1];
	size_t needed;
	const char *secret;
	const char *what; /* for people */
};

struct import_entry {
	const struct import_row *row;
	const char *secret; /* what it is stored as */
	bool store;         /* else skipped says why not */
	const char *skipped;
};

struct import_plan {
	struct import_entry entries[IMPORT_ROWS_MAX];
	size_t count;
	const char *unknown; /* a variable asked for that nobody knows */
};

typedef const char *(*import_get_fn)(const char *name);

void import_plan_make(import_get_fn get, char *const *only, size_t only_count,
		      struct import_plan *ret_plan);
void import_plan_keep(struct import_plan *plan, const char *usual, bool aws,
		      const char *secret);
bool import_expiry(const struct import_row *row, import_get_fn get,
		   uint64_t *ret_wall_s);
bool import_time(const char *text, uint64_t *ret_wall_s);
MUST_CHECK enum err import_value(const struct import_row *row,
				 import_get_fn get, char *ret_value,
				 size_t cap_bytes, size_t *ret_len);

#endif
