/* SPDX-License-Identifier: Apache-2.0 */
/* wal_file.h - SQLite's write-ahead log, written in one piece per commit */
#ifndef KENAZ_AUDIT_WAL_FILE_H
#define KENAZ_AUDIT_WAL_FILE_H

#include <sqlite3.h>

/* What waits at most before it is written; a commit's frames mostly fit. */
#define WAL_FILE_BUFFER_BYTES 131072u

int wal_file_size(const sqlite3_vfs *system);
int wal_file_open(sqlite3_vfs *system, const char *name, sqlite3_file *file,
		  int flags, int *ret_flags);

#endif
