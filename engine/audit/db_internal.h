/* SPDX-License-Identifier: Apache-2.0 */
/* db_internal.h - what db.c and db_scan.c share: statements and columns */
#ifndef KENAZ_AUDIT_DB_INTERNAL_H
#define KENAZ_AUDIT_DB_INTERNAL_H

#include <sqlite3.h>

#include "engine/audit/db.h"

#define DB_ID_PARTS 8u /* payload id = seq * 8 + part */

enum db_statement {
	DB_BEGIN_TX,
	DB_COMMIT_TX,
	DB_ROLLBACK_TX,
	DB_DATA_VERSION,
	DB_PUT_META,
	DB_GET_META,
	DB_PUT_EVENT,
	DB_PUT_CHECKPOINT,
	DB_PUT_PAYLOAD,
	DB_PUT_PAYLOAD_KEY,
	DB_SCAN_LEAVES,
	DB_SCAN_EVENTS,
	DB_SCAN_EVENTS_BACK,
	DB_SCAN_CHECKPOINTS,
	DB_LAST_CHECKPOINT,
	DB_SCAN_PAYLOADS,
	DB_GET_PAYLOAD,
	DB_GET_PAYLOAD_KEY,
	DB_SEGMENT_END,
	DB_STATEMENTS
};

struct db {
	sqlite3 *sql;
	sqlite3_stmt *statements[DB_STATEMENTS];
	uint64_t wal_frames;
};

MUST_CHECK enum err db_prepare(struct db *db, enum db_statement which,
			       sqlite3_stmt **ret);
enum err db_error_of(int rc);
bool db_bind_number(sqlite3_stmt *s, int at, uint64_t value);
bool db_column_number(sqlite3_stmt *s, int at, uint64_t *ret);
bool db_column_bytes(sqlite3_stmt *s, int at, struct span *ret);

#endif
