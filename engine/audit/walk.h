/* SPDX-License-Identifier: Apache-2.0 */
/* walk.h - the stored log in order: events, their payloads, checkpoints */
#ifndef KENAZ_AUDIT_WALK_H
#define KENAZ_AUDIT_WALK_H

#include "engine/audit/db.h"

/* A stored ciphertext, hashed on the way. */
struct walk_payload {
	uint64_t seq;
	unsigned int part;
	bool readable;
	uint64_t len_bytes;
	uint8_t digest[DIGEST_BYTES]; /* when readable */
};

/* Any result but ERR_OK ends the walk and is returned. */
struct walk_handler {
	enum err (*on_event)(void *context, uint64_t seq,
			     const struct tree_hash *leaf, struct span bytes);
	enum err (*on_payload)(void *context, const struct walk_payload *p);
	enum err (*on_checkpoint)(void *context, uint64_t size,
				  struct span note);
};

struct walk {
	struct db *db;
	int segment_dir_fd; /* borrowed; -1: segments are not readable */
	uint64_t next;      /* seq of the next event */
	uint64_t end;       /* seq to stop before */
	bool has_checkpoint;
	uint64_t checkpoint_size;
	struct buf note;
	bool has_payload;
	struct walk_payload payload;
	const struct walk_handler *handler;
	void *context;
};

MUST_CHECK enum err walk_init(struct walk *w, struct db *db, int segment_dir_fd,
			      uint64_t from, uint64_t end);
void walk_fini(struct walk *w);
MUST_CHECK enum err walk_some(struct walk *w, uint64_t max_events,
			      const struct walk_handler *handler, void *context,
			      bool *ret_done);

#endif
