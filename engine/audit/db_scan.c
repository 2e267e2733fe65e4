/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db_scan.c - reading the log's SQLite file: rows in order, one at a time
 *
 * Runs in: kenaz-audit, kenaz-verify.
 * Trusts:  nothing it reads: sizes and types of columns are checked.
 * Never:   keeps a row longer than the callback that gets it.
 */
#include <string.h>

#include "engine/audit/db_internal.h"

static bool column_hash(sqlite3_stmt *s, int at, struct tree_hash *ret)
{
	struct span bytes;

	if (!db_column_bytes(s, at, &bytes) || bytes.len_bytes != DIGEST_BYTES)
		return false;
	memcpy(ret->bytes, bytes.data, DIGEST_BYTES);
	return true;
}

/* Bind a scan's two numbers. */
static enum err begin_scan(struct db *db, enum db_statement which,
			   uint64_t from, uint64_t count, sqlite3_stmt **ret)
{
	enum err e = db_prepare(db, which, ret);

	if (e == ERR_OK &&
	    (!db_bind_number(*ret, 1, from) ||
	     !db_bind_number(*ret, 2, count > INT64_MAX ? INT64_MAX : count)))
		e = ERR_RANGE;
	return e;
}

static enum err end_scan(sqlite3_stmt *s, enum err e, int rc)
{
	if (e == ERR_OK && rc != SQLITE_DONE)
		e = db_error_of(rc);
	(void)sqlite3_reset(s);
	return e;
}

/**
 * db_scan_leaves() - Walk leaf hashes in order
 * @db:		Database
 * @from:	First seq
 * @count:	At most so many
 * @fn:		Called for each
 * @context:	For @fn
 *
 * Return: ERR_OK; ERR_INTEGRITY for a malformed row; what @fn returned.
 */
enum err db_scan_leaves(struct db *db, uint64_t from, uint64_t count,
			db_leaf_fn fn, void *context)
{
	struct tree_hash leaf;
	sqlite3_stmt *s;
	uint64_t seq;
	int rc = SQLITE_DONE;
	enum err e = begin_scan(db, DB_SCAN_LEAVES, from, count, &s);

	if (e != ERR_OK)
		return e;
	while (e == ERR_OK && (rc = sqlite3_step(s)) == SQLITE_ROW)
		e = db_column_number(s, 0, &seq) && column_hash(s, 1, &leaf)
			    ? fn(context, seq, &leaf)
			    : ERR_INTEGRITY;
	return end_scan(s, e, rc);
}

static enum err scan_events(struct db *db, enum db_statement which,
			    uint64_t from, uint64_t count, db_event_fn fn,
			    void *context)
{
	struct tree_hash leaf;
	struct span bytes;
	sqlite3_stmt *s;
	uint64_t seq;
	int rc = SQLITE_DONE;
	enum err e = begin_scan(db, which, from, count, &s);

	if (e != ERR_OK)
		return e;
	while (e == ERR_OK && (rc = sqlite3_step(s)) == SQLITE_ROW)
		e = db_column_number(s, 0, &seq) && column_hash(s, 1, &leaf) &&
				    db_column_bytes(s, 2, &bytes)
			    ? fn(context, seq, &leaf, bytes)
			    : ERR_INTEGRITY;
	return end_scan(s, e, rc);
}

/** db_scan_events() - Walk events upwards; as db_scan_leaves() */
enum err db_scan_events(struct db *db, uint64_t from, uint64_t count,
			db_event_fn fn, void *context)
{
	return scan_events(db, DB_SCAN_EVENTS, from, count, fn, context);
}

/** db_scan_events_back() - Walk events downwards; as db_scan_leaves() */
enum err db_scan_events_back(struct db *db, uint64_t from, uint64_t count,
			     db_event_fn fn, void *context)
{
	return scan_events(db, DB_SCAN_EVENTS_BACK, from, count, fn, context);
}

/** db_scan_checkpoints() - Walk checkpoints upwards; as db_scan_leaves() */
enum err db_scan_checkpoints(struct db *db, uint64_t from_size, uint64_t count,
			     db_note_fn fn, void *context)
{
	struct span note;
	sqlite3_stmt *s;
	uint64_t size;
	int rc = SQLITE_DONE;
	enum err e = begin_scan(db, DB_SCAN_CHECKPOINTS, from_size, count, &s);

	if (e != ERR_OK)
		return e;
	while (e == ERR_OK && (rc = sqlite3_step(s)) == SQLITE_ROW)
		e = db_column_number(s, 0, &size) &&
				    db_column_bytes(s, 1, &note)
			    ? fn(context, size, note)
			    : ERR_INTEGRITY;
	return end_scan(s, e, rc);
}

/**
 * db_last_checkpoint() - Read the latest checkpoint
 * @db:		Database
 * @ret_size:	Written on success
 * @ret_note:	Buffer appended to
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_INTEGRITY; the failure.
 */
enum err db_last_checkpoint(struct db *db, uint64_t *ret_size,
			    struct buf *ret_note)
{
	struct span note;
	sqlite3_stmt *s;
	enum err e = db_prepare(db, DB_LAST_CHECKPOINT, &s);
	int rc;

	if (e != ERR_OK)
		return e;
	rc = sqlite3_step(s);
	if (rc != SQLITE_ROW)
		e = rc == SQLITE_DONE ? ERR_NOT_FOUND : db_error_of(rc);
	else if (!db_column_number(s, 0, ret_size) ||
		 !db_column_bytes(s, 1, &note))
		e = ERR_INTEGRITY;
	else
		e = buf_put_span(ret_note, note);
	(void)sqlite3_reset(s);
	return e;
}

static bool column_payload(sqlite3_stmt *s, uint64_t *ret_id,
			   struct db_payload *p)
{
	uint64_t segment = 0;

	*p = (struct db_payload){0};
	p->in_segment = sqlite3_column_type(s, 1) != SQLITE_NULL;
	if (!db_column_number(s, 0, ret_id) ||
	    !db_column_number(s, 2, &p->offset) ||
	    !db_column_number(s, 3, &p->len_bytes))
		return false;
	if (!p->in_segment)
		return db_column_bytes(s, 4, &p->cipher) &&
		       p->cipher.len_bytes == p->len_bytes;
	if (!db_column_number(s, 1, &segment) || segment > UINT32_MAX)
		return false;
	p->segment = (uint32_t)segment;
	return true;
}

/** db_scan_payloads() - Walk payloads upwards; as db_scan_leaves() */
enum err db_scan_payloads(struct db *db, uint64_t from_seq, uint64_t count,
			  db_payload_fn fn, void *context)
{
	struct db_payload p;
	sqlite3_stmt *s;
	uint64_t id;
	int rc = SQLITE_DONE;
	enum err e;

	if (from_seq > INT64_MAX / DB_ID_PARTS)
		return ERR_RANGE;
	e = begin_scan(db, DB_SCAN_PAYLOADS, from_seq * DB_ID_PARTS, count, &s);
	if (e != ERR_OK)
		return e;
	while (e == ERR_OK && (rc = sqlite3_step(s)) == SQLITE_ROW)
		e = column_payload(s, &id, &p)
			    ? fn(context, id / DB_ID_PARTS,
				 (unsigned int)(id % DB_ID_PARTS), &p)
			    : ERR_INTEGRITY;
	return end_scan(s, e, rc);
}

/**
 * db_get_payload() - Find one payload and its wrapped key
 * @db:			Database
 * @seq:		Event
 * @part:		Which payload of it
 * @fn:			Called once when it is there
 * @context:		For @fn
 * @ret_wrapped:	Buffer appended to
 *
 * Return: ERR_OK; ERR_NOT_FOUND, also when its key was erased; the failure.
 */
enum err db_get_payload(struct db *db, uint64_t seq, unsigned int part,
			db_payload_fn fn, void *context,
			struct buf *ret_wrapped)
{
	struct db_payload p;
	struct span wrapped;
	sqlite3_stmt *s;
	uint64_t id;
	enum err e;
	int rc;

	if (seq > INT64_MAX / DB_ID_PARTS)
		return ERR_NOT_FOUND;
	e = db_prepare(db, DB_GET_PAYLOAD_KEY, &s);
	if (e != ERR_OK)
		return e;
	if (!db_bind_number(s, 1, seq * DB_ID_PARTS + part))
		return ERR_RANGE;
	rc = sqlite3_step(s);
	if (rc != SQLITE_ROW)
		e = rc == SQLITE_DONE ? ERR_NOT_FOUND : db_error_of(rc);
	else
		e = db_column_bytes(s, 0, &wrapped)
			    ? buf_put_span(ret_wrapped, wrapped)
			    : ERR_INTEGRITY;
	(void)sqlite3_reset(s);
	if (e == ERR_OK)
		e = db_prepare(db, DB_GET_PAYLOAD, &s);
	if (e != ERR_OK)
		return e;
	if (!db_bind_number(s, 1, seq * DB_ID_PARTS + part))
		return ERR_RANGE;
	rc = sqlite3_step(s);
	if (rc != SQLITE_ROW)
		e = rc == SQLITE_DONE ? ERR_NOT_FOUND : db_error_of(rc);
	else
		e = column_payload(s, &id, &p) ? fn(context, seq, part, &p)
					       : ERR_INTEGRITY;
	(void)sqlite3_reset(s);
	return e;
}

/**
 * db_segment_end() - Where the committed bytes of segments end
 * @db:			Database
 * @ret_segment:	Written on success; 0 when there is none
 * @ret_end:		Written on success
 *
 * Return: ERR_OK, or the failure.
 */
enum err db_segment_end(struct db *db, uint32_t *ret_segment, uint64_t *ret_end)
{
	uint64_t segment = 0, end = 0;
	sqlite3_stmt *s;
	enum err e = db_prepare(db, DB_SEGMENT_END, &s);
	int rc;

	if (e != ERR_OK)
		return e;
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW &&
	    (!db_column_number(s, 0, &segment) ||
	     !db_column_number(s, 1, &end) || segment > UINT32_MAX))
		e = ERR_INTEGRITY;
	else
		e = db_error_of(rc);
	(void)sqlite3_reset(s);
	if (e == ERR_OK) {
		*ret_segment = (uint32_t)segment;
		*ret_end = end;
	}
	return e;
}
