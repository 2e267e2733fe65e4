/* SPDX-License-Identifier: Apache-2.0 */
/* epoch.h - one signing key for each start, and the rule that binds them */
#ifndef KENAZ_AUDIT_EPOCH_H
#define KENAZ_AUDIT_EPOCH_H

#include "engine/audit/logkey.h"
#include "engine/audit/note.h"
#include "engine/audit/record.h"

#define EPOCH_SEED_BYTES 32u
#define EPOCH_MAX        ((uint64_t)1 << 32)

/* Attribute names of key.rotated; docs/audit-format.md. */
#define EPOCH_ATTR_NUMBER "kenaz.epoch"
#define EPOCH_ATTR_ORIGIN "kenaz.origin"
#define EPOCH_ATTR_KEY    "kenaz.key"
#define EPOCH_ATTR_NEXT   "kenaz.key.next"

/* The secret half of an epoch's key; only in locked memory. */
struct epoch_signer {
	uint64_t number;
	struct note_key key;
	uint8_t *secret; /* NOTE_SECRET_BYTES */
};

/* What a reader of the log knows of the epoch it is in. */
struct epoch_ledger {
	bool begun;
	bool resumed; /* begins in mid-log: the first epoch is taken as is */
	uint64_t number;
	uint64_t start; /* seq of its key.rotated */
	struct note_key key;
	struct note_key next;
};

void epoch_ledger_init(struct epoch_ledger *l);
void epoch_ledger_resume(struct epoch_ledger *l);
MUST_CHECK enum err epoch_ledger_feed(struct epoch_ledger *l,
				      const struct record_view *view,
				      const char **ret_fault);

MUST_CHECK enum err epoch_prepare(int key_dir_fd, const struct logkey *k,
				  const char *origin, uint64_t number,
				  struct note_key *ret_key);
MUST_CHECK enum err epoch_load(int key_dir_fd, const struct logkey *k,
			       const char *origin, uint64_t number,
			       struct epoch_signer *ret_signer);
void epoch_signer_fini(struct epoch_signer *s);
MUST_CHECK enum err epoch_forget(int key_dir_fd, uint64_t number);
MUST_CHECK enum err epoch_attrs(const struct epoch_signer *s,
				const struct note_key *next, struct buf *out);

#endif
