/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wal_file.c - SQLite's write-ahead log, written in one piece per commit
 *
 * Runs in: kenaz-audit.
 * Trusts:  SQLite, and the system's file layer below.
 * Never:   lets a sync, a read, a truncation or a look at the size happen
 *	    before what was written reached the file; writes a piece again
 *	    that failed.
 *
 * SQLite writes each page of a commit as two pieces, a header of 24 bytes and
 * the page: some ten system calls for a commit of one event. They follow one
 * another in the file, so they are gathered here and written by one call,
 * at the latest by the sync that makes the commit durable. A failure shows
 * there instead of at the write; either way the commit failed.
 */
#include "engine/audit/wal_file.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wal_file {
	sqlite3_file base;
	sqlite3_file *below; /* right behind this struct */
	sqlite3_int64 at;    /* where the buffer's first byte belongs */
	size_t len_bytes;
	uint8_t *buffer;
};

static struct wal_file *of(sqlite3_file *file)
{
	return (struct wal_file *)file;
}

static int flush(struct wal_file *w)
{
	int len = (int)w->len_bytes;

	if (len == 0)
		return SQLITE_OK;
	w->len_bytes = 0;
	return w->below->pMethods->xWrite(w->below, w->buffer, len, w->at);
}

static int wal_close(sqlite3_file *file)
{
	struct wal_file *w = of(file);
	int rc = flush(w), closed = w->below->pMethods->xClose(w->below);

	sqlite3_free(w->buffer);
	w->buffer = NULL;
	return rc == SQLITE_OK ? closed : rc;
}

static int wal_read(sqlite3_file *file, void *out, int len, sqlite3_int64 at)
{
	struct wal_file *w = of(file);
	int rc = flush(w);

	return rc == SQLITE_OK
		       ? w->below->pMethods->xRead(w->below, out, len, at)
		       : rc;
}

static int wal_write(sqlite3_file *file, const void *data, int len,
		     sqlite3_int64 at)
{
	struct wal_file *w = of(file);
	size_t size = len > 0 ? (size_t)len : 0;
	int rc = SQLITE_OK;

	if (at != w->at + (sqlite3_int64)w->len_bytes ||
	    size > WAL_FILE_BUFFER_BYTES - w->len_bytes)
		rc = flush(w);
	if (rc != SQLITE_OK)
		return rc;
	if (size > WAL_FILE_BUFFER_BYTES)
		return w->below->pMethods->xWrite(w->below, data, len, at);
	if (w->len_bytes == 0)
		w->at = at;
	memcpy(w->buffer + w->len_bytes, data, size);
	w->len_bytes += size;
	return SQLITE_OK;
}

static int wal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct wal_file *w = of(file);
	int rc = flush(w);

	return rc == SQLITE_OK ? w->below->pMethods->xTruncate(w->below, size)
			       : rc;
}

static int wal_sync(sqlite3_file *file, int flags)
{
	struct wal_file *w = of(file);
	int rc = flush(w);

	return rc == SQLITE_OK ? w->below->pMethods->xSync(w->below, flags)
			       : rc;
}

static int wal_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	struct wal_file *w = of(file);
	int rc = flush(w);

	return rc == SQLITE_OK
		       ? w->below->pMethods->xFileSize(w->below, ret_size)
		       : rc;
}

static int wal_lock(sqlite3_file *file, int level)
{
	struct wal_file *w = of(file);

	return w->below->pMethods->xLock(w->below, level);
}

static int wal_unlock(sqlite3_file *file, int level)
{
	struct wal_file *w = of(file);

	return w->below->pMethods->xUnlock(w->below, level);
}

static int wal_is_reserved(sqlite3_file *file, int *ret_reserved)
{
	struct wal_file *w = of(file);

	return w->below->pMethods->xCheckReservedLock(w->below, ret_reserved);
}

static int wal_control(sqlite3_file *file, int what, void *argument)
{
	struct wal_file *w = of(file);

	return w->below->pMethods->xFileControl(w->below, what, argument);
}

static int wal_sector(sqlite3_file *file)
{
	struct wal_file *w = of(file);

	return w->below->pMethods->xSectorSize(w->below);
}

static int wal_traits(sqlite3_file *file)
{
	struct wal_file *w = of(file);

	return w->below->pMethods->xDeviceCharacteristics(w->below);
}

static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = wal_close,
	.xRead = wal_read,
	.xWrite = wal_write,
	.xTruncate = wal_truncate,
	.xSync = wal_sync,
	.xFileSize = wal_size,
	.xLock = wal_lock,
	.xUnlock = wal_unlock,
	.xCheckReservedLock = wal_is_reserved,
	.xFileControl = wal_control,
	.xSectorSize = wal_sector,
	.xDeviceCharacteristics = wal_traits,
};

/**
 * wal_file_size() - What a file needs of SQLite's memory
 * @system:	The layer below
 *
 * Return: bytes, for szOsFile.
 */
int wal_file_size(const sqlite3_vfs *system)
{
	return (int)sizeof(struct wal_file) + system->szOsFile;
}

/**
 * wal_file_open() - Open a file whose writes are gathered; for xOpen
 * @system:	The layer below, borrowed for the file's lifetime
 * @name:	Borrowed for the file's lifetime
 * @file:	wal_file_size() bytes
 * @flags:	As xOpen() gets them
 * @ret_flags:	As xOpen() wants them; may be NULL
 *
 * Return: a result code of SQLite; on failure nothing is to be closed.
 */
int wal_file_open(sqlite3_vfs *system, const char *name, sqlite3_file *file,
		  int flags, int *ret_flags)
{
	struct wal_file *w = of(file);
	int rc;

	*w = (struct wal_file){.base = {NULL}};
	w->below = (sqlite3_file *)(w + 1);
	w->buffer = sqlite3_malloc((int)WAL_FILE_BUFFER_BYTES);
	if (!w->buffer)
		return SQLITE_NOMEM;
	w->below->pMethods = NULL;
	rc = system->xOpen(system, name, w->below, flags, ret_flags);
	if (rc != SQLITE_OK) {
		/* A failed open may still want its close. */
		if (w->below->pMethods)
			(void)w->below->pMethods->xClose(w->below);
		sqlite3_free(w->buffer);
		return rc;
	}
	w->base.pMethods = &methods;
	return SQLITE_OK;
}
