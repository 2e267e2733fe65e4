/* SPDX-License-Identifier: Apache-2.0 */
/* db.h - the log's SQLite file: one exclusive connection, fixed statements */
#ifndef KENAZ_AUDIT_DB_H
#define KENAZ_AUDIT_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/audit/tree.h"
#include "engine/base/buf.h"

#define DB_FILE           "log.db"
#define DB_SCHEMA_VERSION 1u
#define DB_META_MAX_BYTES 4096u

enum db_mode {
	DB_CREATE, /* a new file */
	DB_WRITE,  /* an existing one, for the engine */
	DB_READ,   /* a stopped log, for verification */
};

struct db;

/* Where a payload's ciphertext is. */
struct db_payload {
	bool in_segment;
	uint32_t segment;
	uint64_t offset;
	uint64_t len_bytes;
	struct span cipher; /* when not in a segment; valid in the callback */
};

/* Callbacks: any result but ERR_OK ends the scan and is returned. */
typedef enum err (*db_leaf_fn)(void *context, uint64_t seq,
			       const struct tree_hash *leaf);
typedef enum err (*db_event_fn)(void *context, uint64_t seq,
				const struct tree_hash *leaf,
				struct span bytes);
typedef enum err (*db_note_fn)(void *context, uint64_t size, struct span note);
typedef enum err (*db_payload_fn)(void *context, uint64_t seq,
				  unsigned int part,
				  const struct db_payload *payload);

MUST_CHECK enum err db_open(int log_dir_fd, enum db_mode mode,
			    struct db **ret_db, struct buf *ret_why);
void db_close(struct db *db);
const char *db_message(const struct db *db);

MUST_CHECK enum err db_begin(struct db *db);
MUST_CHECK enum err db_commit(struct db *db);
void db_rollback(struct db *db);
MUST_CHECK enum err db_data_version(struct db *db, uint64_t *ret_version);
MUST_CHECK enum err db_checkpoint_wal(struct db *db, bool truncate);
uint64_t db_wal_bytes(const struct db *db);

MUST_CHECK enum err db_put_meta(struct db *db, const char *key,
				struct span value);
MUST_CHECK enum err db_get_meta(struct db *db, const char *key,
				struct buf *ret_value);
MUST_CHECK enum err db_put_event(struct db *db, uint64_t seq,
				 const struct tree_hash *leaf,
				 struct span bytes);
MUST_CHECK enum err db_put_checkpoint(struct db *db, uint64_t size,
				      struct span note);
MUST_CHECK enum err db_put_payload(struct db *db, uint64_t seq,
				   unsigned int part,
				   const struct db_payload *payload,
				   struct span wrapped);

MUST_CHECK enum err db_scan_leaves(struct db *db, uint64_t from, uint64_t count,
				   db_leaf_fn fn, void *context);
MUST_CHECK enum err db_scan_events(struct db *db, uint64_t from, uint64_t count,
				   db_event_fn fn, void *context);
MUST_CHECK enum err db_scan_events_back(struct db *db, uint64_t from,
					uint64_t count, db_event_fn fn,
					void *context);
MUST_CHECK enum err db_scan_checkpoints(struct db *db, uint64_t from_size,
					uint64_t count, db_note_fn fn,
					void *context);
MUST_CHECK enum err db_last_checkpoint(struct db *db, uint64_t *ret_size,
				       struct buf *ret_note);
MUST_CHECK enum err db_scan_payloads(struct db *db, uint64_t from_seq,
				     uint64_t count, db_payload_fn fn,
				     void *context);
MUST_CHECK enum err db_get_payload(struct db *db, uint64_t seq,
				   unsigned int part, db_payload_fn fn,
				   void *context, struct buf *ret_wrapped);
MUST_CHECK enum err db_segment_end(struct db *db, uint32_t *ret_segment,
				   uint64_t *ret_end);

#endif
