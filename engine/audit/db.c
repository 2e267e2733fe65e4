/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db.c - the log's SQLite file: one exclusive connection, fixed statements
 *
 * Runs in: kenaz-audit (writes), kenaz-verify (reads a stopped log).
 * Trusts:  nothing it reads: sizes and types of columns are checked.
 * Never:   lets a second connection in while it writes.
 *
 * Theory of operation: locking_mode=EXCLUSIVE is set before the first use of
 * the WAL, so that its index lives in this process's memory and no other
 * process can open the file. Each COMMIT syncs the WAL (synchronous=FULL).
 * The WAL is copied back at idle times only, by the same connection. The
 * file is named through /proc/self/fd of the passed directory; a shim keeps
 * SQLite from turning that into the real path, which need not be reachable.
 */
#include "engine/audit/db.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/audit/db_internal.h"
#include "engine/audit/wal_file.h"

#define VFS_NAME    "kenaz-audit"
#define PATH_BYTES  96
#define PAGE_BYTES  8192u
#define FRAME_BYTES (PAGE_BYTES + 24u)

static const char *const sql_of[DB_STATEMENTS] = {
	[DB_BEGIN_TX] = "BEGIN IMMEDIATE",
	[DB_COMMIT_TX] = "COMMIT",
	[DB_ROLLBACK_TX] = "ROLLBACK",
	[DB_DATA_VERSION] = "PRAGMA data_version",
	[DB_PUT_META] =
		"INSERT OR REPLACE INTO meta(key, value) VALUES(?1, ?2)",
	[DB_GET_META] = "SELECT value FROM meta WHERE key = ?1",
	[DB_PUT_EVENT] =
		"INSERT INTO events(seq, leaf, bytes) VALUES(?1, ?2, ?3)",
	[DB_PUT_CHECKPOINT] =
		"INSERT INTO checkpoints(size, note) VALUES(?1, ?2)",
	[DB_PUT_PAYLOAD] = "INSERT INTO payloads(id, segment, start, length, "
			   "cipher) VALUES(?1, ?2, ?3, ?4, ?5)",
	[DB_PUT_PAYLOAD_KEY] = "INSERT INTO payload_keys(id, wrapped) "
			       "VALUES(?1, ?2)",
	[DB_SCAN_LEAVES] = "SELECT seq, leaf FROM events WHERE seq >= ?1 "
			   "ORDER BY seq LIMIT ?2",
	[DB_SCAN_EVENTS] =
		"SELECT seq, leaf, bytes FROM events WHERE seq >= ?1 "
		"ORDER BY seq LIMIT ?2",
	[DB_SCAN_EVENTS_BACK] = "SELECT seq, leaf, bytes FROM events "
				"WHERE seq <= ?1 ORDER BY seq DESC LIMIT ?2",
	[DB_SCAN_CHECKPOINTS] = "SELECT size, note FROM checkpoints "
				"WHERE size >= ?1 ORDER BY size LIMIT ?2",
	[DB_LAST_CHECKPOINT] = "SELECT size, note FROM checkpoints "
			       "ORDER BY size DESC LIMIT 1",
	[DB_SCAN_PAYLOADS] =
		"SELECT id, segment, start, length, cipher "
		"FROM payloads WHERE id >= ?1 ORDER BY id LIMIT ?2",
	[DB_GET_PAYLOAD] = "SELECT id, segment, start, length, cipher "
			   "FROM payloads WHERE id = ?1",
	[DB_GET_PAYLOAD_KEY] = "SELECT wrapped FROM payload_keys WHERE id = ?1",
	[DB_SEGMENT_END] = "SELECT segment, start + length FROM payloads "
			   "WHERE segment IS NOT NULL ORDER BY id DESC LIMIT 1",
};

static const char schema[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE schema(version INTEGER NOT NULL);"
	"CREATE TABLE meta(key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE events(seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL,"
	" bytes BLOB NOT NULL);"
	"CREATE TABLE checkpoints(size INTEGER PRIMARY KEY,"
	" note BLOB NOT NULL);"
	"CREATE TABLE payloads(id INTEGER PRIMARY KEY, segment INTEGER,"
	" start INTEGER NOT NULL, length INTEGER NOT NULL, cipher BLOB);"
	"CREATE TABLE payload_keys(id INTEGER PRIMARY KEY,"
	" wrapped BLOB NOT NULL);"
	"INSERT INTO schema(version) VALUES(1);"
	"COMMIT";

static int full_pathname(sqlite3_vfs *vfs, const char *name, int cap, char *out)
{
	int n = snprintf(out, (size_t)cap, "%s", name);

	(void)vfs;
	return n < 0 || n >= cap ? SQLITE_CANTOPEN : SQLITE_OK;
}

static sqlite3_vfs *system_vfs;

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file,
		     int flags, int *ret_flags)
{
	(void)vfs;
	if (flags & SQLITE_OPEN_WAL)
		return wal_file_open(system_vfs, name, file, flags, ret_flags);
	return system_vfs->xOpen(system_vfs, name, file, flags, ret_flags);
}

/* The system's own file layer, except that it leaves names alone and gathers
 * what is written to the WAL. */
static enum err register_vfs(void)
{
	static sqlite3_vfs shim;
	sqlite3_vfs *system;

	if (sqlite3_initialize() != SQLITE_OK)
		return ERR_STORAGE;
	if (sqlite3_vfs_find(VFS_NAME))
		return ERR_OK;
	system = sqlite3_vfs_find(NULL);
	if (!system)
		return ERR_STORAGE;
	shim = *system;
	shim.pNext = NULL;
	shim.zName = VFS_NAME;
	shim.xFullPathname = full_pathname;
	shim.xOpen = open_file;
	shim.szOsFile = wal_file_size(system);
	system_vfs = system;
	return sqlite3_vfs_register(&shim, 0) == SQLITE_OK ? ERR_OK
							   : ERR_STORAGE;
}

/* What a result code of SQLite means to us. */
enum err db_error_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return ERR_OK;
	case SQLITE_NOMEM:
		return ERR_MEMORY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ERR_INTEGRITY;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_STATE;
	case SQLITE_CONSTRAINT:
		return ERR_EXISTS;
	default:
		return ERR_STORAGE;
	}
}

/* The statement, prepared once and kept. */
enum err db_prepare(struct db *db, enum db_statement which, sqlite3_stmt **ret)
{
	sqlite3_stmt **at = &db->statements[which];
	int rc = SQLITE_OK;

	if (!*at)
		rc = sqlite3_prepare_v3(db->sql, sql_of[which], -1,
					SQLITE_PREPARE_PERSISTENT, at, NULL);
	*ret = *at;
	return db_error_of(rc);
}

static enum err run(struct db *db, enum db_statement which)
{
	sqlite3_stmt *s;
	enum err e = db_prepare(db, which, &s);

	if (e != ERR_OK)
		return e;
	e = db_error_of(sqlite3_step(s));
	(void)sqlite3_reset(s);
	return e;
}

/* Bind a number that SQLite can hold. */
bool db_bind_number(sqlite3_stmt *s, int at, uint64_t value)
{
	return value <= INT64_MAX &&
	       sqlite3_bind_int64(s, at, (sqlite3_int64)value) == SQLITE_OK;
}

static bool bind_bytes(sqlite3_stmt *s, int at, struct span bytes)
{
	const void *data = bytes.data ? (const void *)bytes.data : "";

	return sqlite3_bind_blob64(s, at, data, bytes.len_bytes,
				   SQLITE_STATIC) == SQLITE_OK;
}

static enum err step_once(sqlite3_stmt *s, bool bound)
{
	enum err e = bound ? db_error_of(sqlite3_step(s)) : ERR_RANGE;

	(void)sqlite3_reset(s);
	(void)sqlite3_clear_bindings(s);
	return e;
}

/* A whole number of at least 0, and nothing else. */
bool db_column_number(sqlite3_stmt *s, int at, uint64_t *ret)
{
	sqlite3_int64 v = sqlite3_column_int64(s, at);

	*ret = (uint64_t)v;
	return sqlite3_column_type(s, at) == SQLITE_INTEGER && v >= 0;
}

/* A blob, borrowed until the next step, and nothing else. */
bool db_column_bytes(sqlite3_stmt *s, int at, struct span *ret)
{
	const void *data = sqlite3_column_blob(s, at);
	int len = sqlite3_column_bytes(s, at);

	*ret = span_of(data, len > 0 ? (size_t)len : 0);
	return sqlite3_column_type(s, at) == SQLITE_BLOB && len >= 0;
}

static int on_wal(void *context, sqlite3 *sql, const char *name, int frames)
{
	struct db *db = context;

	(void)sql;
	(void)name;
	db->wal_frames = frames > 0 ? (uint64_t)frames : 0;
	return SQLITE_OK;
}

static enum err exec(struct db *db, const char *sql)
{
	return db_error_of(sqlite3_exec(db->sql, sql, NULL, NULL, NULL));
}

/* The one column of the one row of a query, as a number. */
static enum err one_number(struct db *db, const char *sql, uint64_t *ret)
{
	sqlite3_stmt *s = NULL;
	enum err e =
		db_error_of(sqlite3_prepare_v2(db->sql, sql, -1, &s, NULL));

	if (e == ERR_OK) {
		int rc = sqlite3_step(s);

		if (rc != SQLITE_ROW)
			e = rc == SQLITE_DONE ? ERR_INTEGRITY : db_error_of(rc);
		else if (!db_column_number(s, 0, ret))
			e = ERR_INTEGRITY;
	}
	(void)sqlite3_finalize(s);
	return e;
}

static enum err check_schema(struct db *db, struct buf *ret_why)
{
	uint64_t version = 0, tables = 0;
	enum err e;

	e = one_number(db,
		       "SELECT count(*) FROM sqlite_schema WHERE name IN "
		       "('schema','meta','events','checkpoints','payloads',"
		       "'payload_keys') AND type = 'table'",
		       &tables);
	if (e == ERR_OK && tables == 6)
		e = one_number(db, "SELECT max(version) FROM schema", &version);
	if (e != ERR_OK)
		return e;
	if (version == DB_SCHEMA_VERSION)
		return ERR_OK;
	e = version > DB_SCHEMA_VERSION ? ERR_VERSION : ERR_INTEGRITY;
	if (e == ERR_VERSION &&
	    buf_printf(ret_why,
		       "the log has schema %llu, this program knows %u: start "
		       "the newer Kenaz that wrote it",
		       (unsigned long long)version,
		       DB_SCHEMA_VERSION) != ERR_OK)
		return ERR_MEMORY;
	return e;
}

static enum err configure(struct db *db, enum db_mode mode)
{
	uint64_t tables = 0;
	enum err e;

	(void)sqlite3_limit(db->sql, SQLITE_LIMIT_ATTACHED, 0);
	if (sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) !=
		    SQLITE_OK ||
	    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0,
			      NULL) != SQLITE_OK)
		return ERR_STORAGE;
	e = exec(db, "PRAGMA locking_mode=EXCLUSIVE;"
		     "PRAGMA trusted_schema=OFF;"
		     "PRAGMA cell_size_check=ON;"
		     "PRAGMA mmap_size=0;"
		     "PRAGMA temp_store=MEMORY;"
		     "PRAGMA secure_delete=ON");
	if (e != ERR_OK || mode == DB_READ)
		return e;
	if (mode == DB_CREATE)
		e = exec(db, "PRAGMA page_size=8192");
	if (e == ERR_OK)
		e = exec(db, "PRAGMA journal_mode=WAL;"
			     "PRAGMA synchronous=FULL;"
			     "PRAGMA wal_autocheckpoint=0");
	/* Also when a crash came before the first transaction. */
	if (e == ERR_OK)
		e = one_number(db, "SELECT count(*) FROM sqlite_schema",
			       &tables);
	if (e == ERR_OK && tables == 0)
		e = exec(db, schema);
	(void)sqlite3_wal_hook(db->sql, on_wal, db);
	return e;
}

/**
 * db_open() - Open the log's file
 * @log_dir_fd:	Log directory, borrowed; must stay open
 * @mode:	What for
 * @ret_db:	db_close() it; written on success
 * @ret_why:	On failure, a sentence's part that says why may be appended
 *
 * Return: ERR_OK; ERR_STATE when another process has it; ERR_VERSION for a
 *	   newer one; ERR_INTEGRITY when it is damaged; ERR_STORAGE;
 *	   ERR_MEMORY.
 */
enum err db_open(int log_dir_fd, enum db_mode mode, struct db **ret_db,
		 struct buf *ret_why)
{
	struct db *db = calloc(1, sizeof(*db));
	char path[PATH_BYTES];
	int flags = SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOMUTEX;
	enum err e;

	if (!db)
		return ERR_MEMORY;
	(void)snprintf(path, sizeof(path), "%s/proc/self/fd/%d/" DB_FILE "%s",
		       mode == DB_READ ? "file:" : "", log_dir_fd,
		       mode == DB_READ ? "?immutable=1" : "");
	if (mode == DB_READ)
		flags |= SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
	else
		flags |= SQLITE_OPEN_READWRITE;
	if (mode == DB_CREATE)
		flags |= SQLITE_OPEN_CREATE;
	e = register_vfs();
	if (e == ERR_OK)
		e = db_error_of(
			sqlite3_open_v2(path, &db->sql, flags, VFS_NAME));
	if (e == ERR_OK)
		e = configure(db, mode);
	if (e == ERR_OK)
		e = check_schema(db, ret_why);
	if (e != ERR_OK) {
		if (ret_why->len_bytes == 0 &&
		    buf_put_text(ret_why, db_message(db)) != ERR_OK)
			e = ERR_MEMORY;
		db_close(db);
		return e;
	}
	*ret_db = db;
	return ERR_OK;
}

/** db_close() - Close the file; NULL is accepted */
void db_close(struct db *db)
{
	size_t i;

	if (!db)
		return;
	for (i = 0; i < DB_STATEMENTS; i++)
		(void)sqlite3_finalize(db->statements[i]);
	(void)sqlite3_close(db->sql);
	free(db);
}

/** db_message() - What SQLite says about the last failure; borrowed */
const char *db_message(const struct db *db)
{
	return db->sql ? sqlite3_errmsg(db->sql) : "it cannot be opened";
}

/** db_begin() - Start a write transaction */
enum err db_begin(struct db *db)
{
	return run(db, DB_BEGIN_TX);
}

/**
 * db_commit() - Make the transaction durable
 * @db:	Database
 *
 * Return: ERR_OK once it is on the disk; any failure leaves it undecided.
 */
enum err db_commit(struct db *db)
{
	return run(db, DB_COMMIT_TX);
}

/** db_rollback() - Give the transaction up, if SQLite has not already */
void db_rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(db->sql) &&
	    run(db, DB_ROLLBACK_TX) != ERR_OK)
		return; /* the engine is sealed in either case */
}

/**
 * db_data_version() - A number that changes when somebody else commits
 * @db:			Database
 * @ret_version:	Written on success
 *
 * Return: ERR_OK, or the failure.
 */
enum err db_data_version(struct db *db, uint64_t *ret_version)
{
	sqlite3_stmt *s;
	enum err e = db_prepare(db, DB_DATA_VERSION, &s);

	if (e != ERR_OK)
		return e;
	if (sqlite3_step(s) != SQLITE_ROW ||
	    !db_column_number(s, 0, ret_version))
		e = ERR_STORAGE;
	(void)sqlite3_reset(s);
	return e;
}

/**
 * db_checkpoint_wal() - Copy the WAL back into the file
 * @db:		Database, outside a transaction
 * @truncate:	Also cut the WAL to nothing
 *
 * Return: ERR_OK, or the failure.
 */
enum err db_checkpoint_wal(struct db *db, bool truncate)
{
	enum err e = db_error_of(
		sqlite3_wal_checkpoint_v2(db->sql, NULL,
					  truncate ? SQLITE_CHECKPOINT_TRUNCATE
						   : SQLITE_CHECKPOINT_RESTART,
					  NULL, NULL));

	if (e == ERR_OK)
		db->wal_frames = 0;
	return e;
}

/** db_wal_bytes() - How long the WAL is, as of the last commit */
uint64_t db_wal_bytes(const struct db *db)
{
	return db->wal_frames * FRAME_BYTES;
}

/**
 * db_put_meta() - Set a value that is not part of the log itself
 * @db:		Database
 * @key:	Static text
 * @value:	Borrowed
 *
 * Return: ERR_OK, or the failure.
 */
enum err db_put_meta(struct db *db, const char *key, struct span value)
{
	sqlite3_stmt *s;
	enum err e = db_prepare(db, DB_PUT_META, &s);

	if (e != ERR_OK)
		return e;
	return step_once(s, sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC) ==
					    SQLITE_OK &&
				    bind_bytes(s, 2, value));
}

/**
 * db_get_meta() - Read a value
 * @db:		Database
 * @key:	Static text
 * @ret_value:	Buffer appended to
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_INTEGRITY; the failure.
 */
enum err db_get_meta(struct db *db, const char *key, struct buf *ret_value)
{
	struct span value;
	sqlite3_stmt *s;
	enum err e = db_prepare(db, DB_GET_META, &s);
	int rc;

	if (e != ERR_OK)
		return e;
	if (sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC) != SQLITE_OK)
		return ERR_MEMORY;
	rc = sqlite3_step(s);
	if (rc != SQLITE_ROW)
		e = rc == SQLITE_DONE ? ERR_NOT_FOUND : db_error_of(rc);
	else if (!db_column_bytes(s, 0, &value) ||
		 value.len_bytes > DB_META_MAX_BYTES)
		e = ERR_INTEGRITY;
	else
		e = buf_put_span(ret_value, value);
	(void)sqlite3_reset(s);
	return e;
}

/**
 * db_put_event() - Add an event
 * @db:		Database, in a transaction
 * @seq:	Its place
 * @leaf:	Its leaf hash
 * @bytes:	Its bytes, borrowed
 *
 * Return: ERR_OK; ERR_EXISTS; the failure.
 */
enum err db_put_event(struct db *db, uint64_t seq, const struct tree_hash *leaf,
		      struct span bytes)
{
	sqlite3_stmt *s;
	enum err e = db_prepare(db, DB_PUT_EVENT, &s);

	if (e != ERR_OK)
		return e;
	return step_once(s, db_bind_number(s, 1, seq) &&
				    bind_bytes(s, 2,
					       span_of(leaf->bytes,
						       DIGEST_BYTES)) &&
				    bind_bytes(s, 3, bytes));
}

/**
 * db_put_checkpoint() - Add a checkpoint
 * @db:		Database, in a transaction
 * @size:	Size of the tree
 * @note:	Signed note, borrowed
 *
 * Return: ERR_OK; ERR_EXISTS; the failure.
 */
enum err db_put_checkpoint(struct db *db, uint64_t size, struct span note)
{
	sqlite3_stmt *s;
	enum err e = db_prepare(db, DB_PUT_CHECKPOINT, &s);

	if (e != ERR_OK)
		return e;
	return step_once(s,
			 db_bind_number(s, 1, size) && bind_bytes(s, 2, note));
}

/**
 * db_put_payload() - Add a payload and its wrapped key
 * @db:		Database, in a transaction
 * @seq:	Event
 * @part:	Which payload of it, below 8
 * @payload:	Ciphertext or where it is, borrowed
 * @wrapped:	Wrapped key, borrowed
 *
 * Return: ERR_OK; ERR_EXISTS; ERR_RANGE; the failure.
 */
enum err db_put_payload(struct db *db, uint64_t seq, unsigned int part,
			const struct db_payload *payload, struct span wrapped)
{
	uint64_t id = seq * DB_ID_PARTS + part;
	sqlite3_stmt *s;
	enum err e;
	bool bound;

	if (part >= DB_ID_PARTS || seq > INT64_MAX / DB_ID_PARTS)
		return ERR_RANGE;
	e = db_prepare(db, DB_PUT_PAYLOAD, &s);
	if (e != ERR_OK)
		return e;
	bound = db_bind_number(s, 1, id) &&
		db_bind_number(s, 3, payload->offset) &&
		db_bind_number(s, 4, payload->len_bytes);
	if (payload->in_segment)
		bound = bound && db_bind_number(s, 2, payload->segment);
	else
		bound = bound && bind_bytes(s, 5, payload->cipher);
	e = step_once(s, bound);
	if (e == ERR_OK)
		e = db_prepare(db, DB_PUT_PAYLOAD_KEY, &s);
	if (e != ERR_OK)
		return e;
	return step_once(s,
			 db_bind_number(s, 1, id) && bind_bytes(s, 2, wrapped));
}
