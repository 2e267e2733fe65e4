/* SPDX-License-Identifier: Apache-2.0 */
/* verify.h - whether a log is what its checkpoints and its anchor say */
#ifndef KENAZ_AUDIT_VERIFY_H
#define KENAZ_AUDIT_VERIFY_H

#include "engine/audit/epoch.h"
#include "engine/audit/tree.h"

#define VERIFY_WHAT_BYTES 320u

struct verify_report {
	bool ok;
	uint64_t bad_seq; /* first bad event; the size when none is named */
	char what[VERIFY_WHAT_BYTES];
	char origin[NOTE_NAME_MAX_BYTES + 1];
	char first_key[NOTE_VKEY_MAX_BYTES + 1]; /* the log's root of trust */
	uint64_t events;
	uint64_t bytes;
	uint64_t checkpoints;
	uint64_t epochs;
	uint64_t payloads;           /* ciphertexts that were checked */
	uint64_t payloads_committed; /* that events speak of */
	struct tree_hash root;
	bool has_anchor;
	uint64_t anchor_size;
	int64_t first_wall_us, last_wall_us;
};

struct verify {
	struct verify_report report;
	struct tree tree;
	struct tree_hash prev;
	struct epoch_ledger ledger;
	uint64_t last_checkpoint;
	struct record_payload commits[RECORD_PAYLOADS_MAX];
	size_t commit_count;
	uint64_t commit_seq;
	bool has_anchor, anchor_seen;
	struct checkpoint anchor;
	struct buf anchor_note;
	struct buf scratch;
	bool failed;
};

void verify_init(struct verify *v);
void verify_fini(struct verify *v);
MUST_CHECK enum err verify_anchor(struct verify *v, struct span note);
MUST_CHECK enum err verify_event(struct verify *v,
				 const struct tree_hash *stored_leaf,
				 struct span bytes);
MUST_CHECK enum err verify_payload(struct verify *v, uint64_t seq,
				   unsigned int part,
				   const uint8_t digest[DIGEST_BYTES]);
MUST_CHECK enum err verify_checkpoint(struct verify *v, uint64_t size,
				      struct span note);
MUST_CHECK enum err verify_finish(struct verify *v);

#endif
