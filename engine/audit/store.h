/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - the log on disk: open, append, commit, seal, close */
#ifndef KENAZ_AUDIT_STORE_H
#define KENAZ_AUDIT_STORE_H

#include "engine/audit/db.h"
#include "engine/audit/record.h"

#define STORE_RESERVE_BYTES     ((uint64_t)16 * 1024 * 1024)
#define STORE_WAL_MAX_BYTES     ((uint64_t)8 * 1024 * 1024)
#define STORE_PENDING_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define STORE_PENDING_MAX       4096u  /* events in one transaction */
#define STORE_INLINE_MAX_BYTES  16384u /* larger payloads: segments */
#define STORE_BUNDLES_PER_TURN  4u
#define STORE_EVENT_MAX_BYTES   (56u * 1024 - 4) /* fits one answer to core */
#define STORE_RESERVE_FILE      "reserve"

struct store;

/* Descriptors are borrowed for the life of the store. */
struct store_options {
	int log_dir_fd;
	int key_dir_fd;
	int anchor_dir_fd;
	bool new_origin;        /* give up a log behind its anchor */
	struct span origin;     /* of a new log; empty: made up */
	struct span version;    /* of the engine */
	uint64_t reserve_bytes; /* 0: STORE_RESERVE_BYTES */
	uint64_t wal_max_bytes; /* 0: STORE_WAL_MAX_BYTES */
};

/* An event to append; spans are borrowed for the call. */
struct store_event {
	enum kind kind;
	struct span session, actor, policy;
	struct span attrs; /* engine/proto/attrs.h */
	bool has_payload;
	struct span payload_name;
	struct span sent;
	struct span stored; /* same span as sent when nothing was cut */
};

struct store_receipt {
	uint64_t seq;
	int64_t wall_us;
	char id[STAMP_ULID_BYTES + 1];
	struct tree_hash leaf;
};

struct store_state {
	uint64_t size; /* committed */
	struct tree_hash root;
	const char *origin;
	char verifier_key[256];
	uint64_t epoch;
	uint64_t dangling; /* intents whose outcome is unknown */
	bool recovered;    /* the log was not closed cleanly before */
	bool created;
	bool key_created;
};

MUST_CHECK enum err store_open(const struct store_options *options,
			       struct store **ret_store, struct buf *ret_why);
void store_close(struct store *s);
void store_get_state(const struct store *s, struct store_state *ret_state);

MUST_CHECK enum err store_append(struct store *s,
				 const struct store_event *event,
				 struct store_receipt *ret_receipt);
size_t store_pending(const struct store *s);
bool store_is_full(const struct store *s);
MUST_CHECK enum err store_commit(struct store *s);
bool store_idle(struct store *s, uint64_t now_ns);

void store_seal(struct store *s, enum err error, const char *why);
bool store_is_sealed(const struct store *s, enum err *ret_error,
		     const char **ret_sentence);

struct db *store_db(struct store *s);
uint64_t store_size(const struct store *s);
MUST_CHECK enum err store_payload(struct store *s, uint64_t seq,
				  struct buf *ret_bytes);

#endif
