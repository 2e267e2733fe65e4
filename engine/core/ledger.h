/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.h - what was spent, in a file that outlives the engine */
#ifndef KENAZ_CORE_LEDGER_H
#define KENAZ_CORE_LEDGER_H

#include "engine/base/conf.h"
#include "engine/core/budget.h"

#define LEDGER_FILE        "budget.ledger"
#define LEDGER_VERSION     2u
#define LEDGER_MAX_BYTES   (4u << 20)
#define LEDGER_RECORDS_MAX 16384u /* then it is written anew */

struct ledger;

MUST_CHECK enum err ledger_open(const char *folder, bool keep_sessions,
				int64_t now_wall_us, struct conf_error *error,
				struct ledger **ret_ledger);
MUST_CHECK enum err ledger_restore(struct ledger *l, struct budget *budget);
MUST_CHECK enum err ledger_save(void *context, const struct budget_row *row);
MUST_CHECK enum err ledger_write_all(struct ledger *l, struct budget *budget);
bool ledger_is_dirty(const struct ledger *l);
uint64_t ledger_generation(const struct ledger *l);
bool ledger_was_found(const struct ledger *l);
void ledger_free(struct ledger *l);

MUST_CHECK enum err ledger_put_row(struct buf *b, const struct budget_row *row);
MUST_CHECK enum err ledger_get_row(struct span record,
				   struct budget_row *ret_row);

#endif
