/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.c - where a verification's events come from: files or a stream
 *
 * Runs in: kenaz-verify.
 * Trusts:  nothing that it reads.
 * Never:   writes into the log's directory: a log that was not closed
 *	    cleanly is copied first, because reading its WAL changes it.
 */
#include "engine/audit/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/audit/dump.h"
#include "engine/audit/files.h"
#include "engine/audit/segment.h"

#define CHUNK_BYTES       65536u
#define WALK_EVENTS       1024u
#define WAL_FILE          DB_FILE "-wal"
#define SQLITE_LOCK_FIRST 0x40000000
#define SQLITE_LOCK_BYTES 512
#define COPY_DIR_BYTES    64

/* Says why; keeps the error. */
static enum err because(struct buf *why, enum err e, const char *what,
			const char *name)
{
	if (buf_printf(why, "%s %s: %s", what, name,
		       e == ERR_SYS ? strerror(errno) : err_text(e)) != ERR_OK)
		return ERR_MEMORY;
	return e;
}

static enum err push_stored(void *context, uint64_t seq,
			    const struct tree_hash *leaf, struct span bytes)
{
	(void)seq;
	return verify_event(context, leaf, bytes);
}

static enum err push_event(void *context, struct span bytes)
{
	return verify_event(context, NULL, bytes);
}

static enum err push_payload(void *context, const struct walk_payload *p)
{
	return p->readable ? verify_payload(context, p->seq, p->part, p->digest)
			   : ERR_OK;
}

static enum err push_checkpoint(void *context, uint64_t size, struct span note)
{
	return verify_checkpoint(context, size, note);
}

static enum err push_anchor(void *context, struct span note)
{
	struct verify *v = context;

	/* One given by the user stands above the one in the stream. */
	return v->has_anchor ? ERR_OK : verify_anchor(v, note);
}

static enum err push_header(void *context, uint64_t from, uint64_t size,
			    struct span origin)
{
	(void)context;
	(void)size;
	(void)origin;
	return from == 0 ? ERR_OK : ERR_UNSUPPORTED;
}

static enum err walk_all(struct db *db, int segment_dir_fd, struct verify *v,
			 struct buf *ret_why)
{
	static const struct walk_handler handler = {push_stored, push_payload,
						    push_checkpoint};
	struct walk w = {0};
	bool done = false;
	enum err e = walk_init(&w, db, segment_dir_fd, 0, UINT64_MAX);

	while (e == ERR_OK && !done)
		e = walk_some(&w, WALK_EVENTS, &handler, v, &done);
	walk_fini(&w);
	if (e != ERR_OK && !v->failed)
		return because(ret_why, e,
			       "the database cannot be read:", db_message(db));
	return v->failed ? ERR_OK : e;
}

/* An engine that has the log open holds SQLite's locks on it. */
static enum err check_unlocked(int log_dir_fd, struct buf *ret_why)
{
	struct flock lock = {.l_type = F_WRLCK,
			     .l_whence = SEEK_SET,
			     .l_start = SQLITE_LOCK_FIRST,
			     .l_len = SQLITE_LOCK_BYTES};
	int fd = openat(log_dir_fd, DB_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return because(ret_why,
			       errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS,
			       "there is no log here:", DB_FILE);
	rc = fcntl(fd, F_GETLK, &lock);
	close(fd);
	if (rc < 0 || lock.l_type == F_UNLCK)
		return ERR_OK;
	if (buf_printf(ret_why,
		       "process %d has the log open: stop the engine, or use "
		       "kenaz audit verify",
		       (int)lock.l_pid) != ERR_OK)
		return ERR_MEMORY;
	return ERR_STATE;
}

static enum err copy_file(int from_dir, int to_dir, const char *name)
{
	int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			0600);
	enum err e = from < 0 || to < 0 ? ERR_SYS : ERR_OK;
	uint8_t chunk[CHUNK_BYTES];
	ssize_t n = 1;

	while (e == ERR_OK && n != 0) {
		n = read(from, chunk, sizeof(chunk));
		if (n < 0 && errno != EINTR)
			e = ERR_SYS;
		else if (n > 0)
			e = files_write_all(to, span_of(chunk, (size_t)n));
	}
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return e;
}

/* Verify a copy, so that SQLite may replay its WAL. */
static enum err verify_copy(int log_dir_fd, int segment_dir_fd,
			    struct verify *v, struct buf *ret_why)
{
	char dir[COPY_DIR_BYTES] = "/tmp/kenaz-verify-XXXXXX";
	struct db *db = NULL;
	int fd = -1;
	enum err e = ERR_OK;

	if (!mkdtemp(dir))
		return because(ret_why, ERR_SYS, "no copy can be made in",
			       "/tmp");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		e = ERR_SYS;
	if (e == ERR_OK)
		e = copy_file(log_dir_fd, fd, DB_FILE);
	if (e == ERR_OK)
		e = copy_file(log_dir_fd, fd, WAL_FILE);
	if (e != ERR_OK)
		e = because(ret_why, e, "no copy can be made in", dir);
	if (e == ERR_OK)
		e = db_open(fd, DB_WRITE, &db, ret_why);
	if (e == ERR_OK)
		e = walk_all(db, segment_dir_fd, v, ret_why);
	db_close(db);
	if (fd >= 0) {
		(void)unlinkat(fd, DB_FILE, 0);
		(void)unlinkat(fd, WAL_FILE, 0);
		close(fd);
	}
	(void)rmdir(dir);
	return e;
}

static bool has_wal(int log_dir_fd)
{
	struct stat st;

	return fstatat(log_dir_fd, WAL_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_size > 0;
}

/**
 * source_files() - Push the events of a stopped engine's log
 * @log_dir:	Path of the log directory
 * @v:		Verification; looked at with verify_finish() afterwards
 * @ret_why:	Why it could not be read
 *
 * Return: ERR_OK when everything was pushed or something bad was found;
 *	   ERR_NOT_FOUND; ERR_STATE while an engine runs; ERR_INTEGRITY when
 *	   the database itself is damaged; ERR_SYS; ERR_MEMORY.
 */
enum err source_files(const char *log_dir, struct verify *v,
		      struct buf *ret_why)
{
	int fd = open(log_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct db *db = NULL;
	int segments = -1;
	enum err e;

	if (fd < 0)
		return because(ret_why,
			       errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS,
			       "cannot open", log_dir);
	e = check_unlocked(fd, ret_why);
	segments = openat(fd, SEGMENT_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (e == ERR_OK && has_wal(fd))
		e = verify_copy(fd, segments, v, ret_why);
	else if (e == ERR_OK)
		e = db_open(fd, DB_READ, &db, ret_why);
	if (e == ERR_OK && db)
		e = walk_all(db, segments, v, ret_why);
	db_close(db);
	if (segments >= 0)
		close(segments);
	close(fd);
	return e;
}

/**
 * source_stream() - Push the events of a dump
 * @fd:		Borrowed
 * @v:		Verification; looked at with verify_finish() afterwards
 * @ret_why:	Why it could not be read
 *
 * Return: ERR_OK when everything was pushed or something bad was found;
 *	   ERR_FORMAT, ERR_SHORT for a broken stream; ERR_UNSUPPORTED for one
 *	   that does not begin at event 0; ERR_SYS; ERR_MEMORY.
 */
enum err source_stream(int fd, struct verify *v, struct buf *ret_why)
{
	static const struct dump_handler handler = {push_header, push_anchor,
						    push_event, push_payload,
						    push_checkpoint};
	uint8_t chunk[CHUNK_BYTES];
	struct dump_reader r;
	ssize_t n = 1;
	enum err e = dump_reader_init(&r);

	while (e == ERR_OK && n != 0) {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno != EINTR)
			e = ERR_SYS;
		else if (n > 0)
			e = dump_reader_feed(&r, span_of(chunk, (size_t)n),
					     &handler, v);
	}
	if (e == ERR_OK)
		e = dump_reader_finish(&r);
	if (v->failed)
		e = ERR_OK;
	else if (e == ERR_UNSUPPORTED)
		e = because(ret_why, e, "only a dump from event 0 on",
			    "can be verified");
	else if (e != ERR_OK)
		e = because(ret_why, e, "the dump cannot be read:",
			    r.fault ? r.fault : "input");
	dump_reader_fini(&r);
	return e;
}

/**
 * source_anchor() - Give the verification an anchor from a file
 * @path:	Its path
 * @v:		Verification, before any event
 * @ret_why:	Why it could not be read
 *
 * Return: ERR_OK, also when it is malformed, which @v then says;
 *	   ERR_NOT_FOUND; ERR_LIMIT; ERR_SYS; ERR_MEMORY.
 */
enum err source_anchor(const char *path, struct verify *v, struct buf *ret_why)
{
	struct buf note;
	enum err e;

	buf_init(&note, NOTE_MAX_BYTES);
	e = files_read(AT_FDCWD, path, false, &note);
	if (e != ERR_OK)
		e = because(ret_why, e, "cannot read the anchor", path);
	else
		e = verify_anchor(v, buf_span(&note));
	buf_fini(&note);
	return v->failed ? ERR_OK : e;
}
