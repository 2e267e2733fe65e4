/* SPDX-License-Identifier: Apache-2.0 */
/* recover.h - what a stored log says before anything is added to it */
#ifndef KENAZ_AUDIT_RECOVER_H
#define KENAZ_AUDIT_RECOVER_H

#include "engine/audit/dangling.h"
#include "engine/audit/db.h"
#include "engine/audit/epoch.h"

/* Names of meta values; docs/audit-format.md. */
#define META_ORIGIN      "origin"
#define META_EPOCH_START "epoch_start"
#define META_CLEAN       "clean"

struct recovered {
	struct tree tree;
	struct tree_hash last_leaf;
	struct epoch_ledger ledger;
	struct dangling dangling;
	bool clean; /* audit closed the log itself */
};

MUST_CHECK enum err recover_log(struct db *db, const struct checkpoint *anchor,
				struct recovered *ret, struct buf *ret_why);
void recovered_fini(struct recovered *r);

#endif
