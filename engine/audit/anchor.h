/* SPDX-License-Identifier: Apache-2.0 */
/* anchor.h - the latest checkpoint, kept outside the database */
#ifndef KENAZ_AUDIT_ANCHOR_H
#define KENAZ_AUDIT_ANCHOR_H

#include "engine/audit/note.h"

#define ANCHOR_FILE        "anchor.note"
#define ANCHOR_INTERVAL_NS ((uint64_t)1000000000)

MUST_CHECK enum err anchor_write(int dir_fd, struct span note);
MUST_CHECK enum err anchor_read(int dir_fd, struct buf *ret_note,
				struct checkpoint *ret_checkpoint);
MUST_CHECK enum err anchor_parse(struct span note,
				 struct checkpoint *ret_checkpoint);

#endif
