/* SPDX-License-Identifier: Apache-2.0 */
/* auditlog.c - a log in a temporary directory, for tests of the store */
#include "tests/lib/auditlog.h"

#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/audit/anchor.h"
#include "engine/audit/files.h"
#include "engine/audit/segment.h"
#include "engine/audit/walk.h"

static int open_dir(const char *parent, const char *name)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", parent, name);
	assert(mkdir(path, 0700) == 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(fd >= 0);
	return fd;
}

/** auditlog_make_in() - Make the directories under a given one */
void auditlog_make_in(struct auditlog *l, const char *parent)
{
	*l = (struct auditlog){.store = NULL};
	(void)snprintf(l->dir, sizeof(l->dir), "%s/kenaz-log-XXXXXX", parent);
	assert(mkdtemp(l->dir));
	l->log_fd = open_dir(l->dir, "log");
	l->key_fd = open_dir(l->dir, "key");
	l->anchor_fd = open_dir(l->dir, "anchor");
}

/** auditlog_make() - Make the directories under /tmp */
void auditlog_make(struct auditlog *l)
{
	auditlog_make_in(l, "/tmp");
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/** auditlog_remove() - Close and delete everything */
void auditlog_remove(struct auditlog *l)
{
	auditlog_close(l);
	close(l->log_fd);
	close(l->key_fd);
	close(l->anchor_fd);
	if (nftw(l->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
		perror(l->dir);
}

/** auditlog_open() - Open the store; why it failed is in l->why */
enum err auditlog_open(struct auditlog *l)
{
	struct store_options o = {.log_dir_fd = l->log_fd,
				  .key_dir_fd = l->key_fd,
				  .anchor_dir_fd = l->anchor_fd,
				  .new_origin = l->new_origin,
				  .origin = span_text("kenaz.test/log"),
				  .version = span_text("test"),
				  .reserve_bytes = AUDITLOG_RESERVE_BYTES,
				  .wal_max_bytes = l->wal_max_bytes};
	const char *text = "";
	struct buf why;
	enum err e;

	buf_init(&why, sizeof(l->why) - 1);
	e = store_open(&o, &l->store, &why);
	l->why[0] = '\0';
	if (buf_terminate(&why, &text) == ERR_OK)
		(void)snprintf(l->why, sizeof(l->why), "%s", text);
	buf_fini(&why);
	return e;
}

/** auditlog_close() - Close the store cleanly, if it is open */
void auditlog_close(struct auditlog *l)
{
	store_close(l->store);
	l->store = NULL;
}

/** auditlog_append() - Append one event with one attribute */
enum err auditlog_append(struct auditlog *l, enum kind kind,
			 const char *session, const char *key,
			 const char *value)
{
	struct store_event event = {.kind = kind,
				    .session = span_text(session),
				    .actor = span_text("test")};
	struct store_receipt receipt;
	struct buf attrs;
	enum err e = ERR_OK;

	buf_init(&attrs, RECORD_CALLER_MAX_BYTES);
	if (key)
		e = attrs_put_text(&attrs, key, span_text(value));
	event.attrs = buf_span(&attrs);
	if (e == ERR_OK)
		e = store_append(l->store, &event, &receipt);
	buf_fini(&attrs);
	return e;
}

/** auditlog_add() - Append and commit events that mean nothing */
void auditlog_add(struct auditlog *l, unsigned int events,
		  unsigned int per_commit)
{
	char value[64];
	unsigned int i;

	for (i = 0; i < events; i++) {
		(void)snprintf(value, sizeof(value), "event %u", i);
		assert(auditlog_append(l, KIND_POLICY_ALLOW, "s1", "kenaz.note",
				       value) == ERR_OK);
		if ((i + 1) % per_commit == 0)
			assert(store_commit(l->store) == ERR_OK);
	}
	assert(store_commit(l->store) == ERR_OK);
}

static enum err take(void *context, uint64_t seq, const struct tree_hash *leaf,
		     struct span bytes)
{
	(void)seq;
	(void)leaf;
	return buf_put_span(context, bytes);
}

/** auditlog_event() - The stored bytes of one event */
void auditlog_event(struct auditlog *l, uint64_t seq, struct buf *ret_bytes)
{
	assert(db_scan_events(store_db(l->store), seq, 1, take, ret_bytes) ==
	       ERR_OK);
}

static enum err push_event(void *context, uint64_t seq,
			   const struct tree_hash *leaf, struct span bytes)
{
	(void)seq;
	return verify_event(context, leaf, bytes);
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

/** auditlog_verify() - Verify the files of a closed log with its anchor */
enum err auditlog_verify(struct auditlog *l, struct verify_report *ret_report)
{
	static const struct walk_handler handler = {push_event, push_payload,
						    push_checkpoint};
	struct checkpoint anchor;
	struct verify v;
	struct walk w = {0};
	struct buf why, note;
	struct db *db = NULL;
	bool done = false;
	int segments = -1;
	enum err e;

	assert(!l->store);
	buf_init(&why, 1024);
	buf_init(&note, NOTE_MAX_BYTES);
	verify_init(&v);
	assert(segment_open_dir(l->log_fd, &segments) == ERR_OK);
	e = anchor_read(l->anchor_fd, &note, &anchor);
	if (e == ERR_OK)
		e = verify_anchor(&v, buf_span(&note));
	assert(e == ERR_OK || e == ERR_NOT_FOUND || e == ERR_FORMAT);
	assert(db_open(l->log_fd, DB_READ, &db, &why) == ERR_OK);
	e = walk_init(&w, db, segments, 0, UINT64_MAX);
	while (e == ERR_OK && !done)
		e = walk_some(&w, 64, &handler, &v, &done);
	if (e == ERR_OK)
		e = verify_finish(&v);
	*ret_report = v.report;
	walk_fini(&w);
	db_close(db);
	verify_fini(&v);
	buf_fini(&why);
	buf_fini(&note);
	close(segments);
	return e;
}

/** auditlog_sql() - Change a closed log behind the engine's back */
void auditlog_sql(struct auditlog *l, const char *sql)
{
	char path[128], *message = NULL;
	sqlite3 *db = NULL;

	assert(!l->store);
	(void)snprintf(path, sizeof(path), "%s/log/" DB_FILE, l->dir);
	assert(sqlite3_open(path, &db) == SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
		(void)fprintf(stderr, "%s: %s\n", sql, message);
		abort();
	}
	assert(sqlite3_exec(db, "PRAGMA journal_mode=DELETE", NULL, NULL,
			    NULL) == SQLITE_OK);
	assert(sqlite3_close(db) == SQLITE_OK);
}

/** auditlog_copy() - Copy a file below the log's directory */
void auditlog_copy(struct auditlog *l, const char *from, const char *to)
{
	char path[128];
	struct buf bytes;
	int fd, out;
	ssize_t n;
	uint8_t chunk[65536];

	buf_init(&bytes, 64u * 1024 * 1024);
	(void)snprintf(path, sizeof(path), "%s/%s", l->dir, from);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert(fd >= 0);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		assert(buf_put(&bytes, chunk, (size_t)n) == ERR_OK);
	close(fd);
	(void)snprintf(path, sizeof(path), "%s/%s", l->dir, to);
	out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert(out >= 0);
	assert(files_write_all(out, buf_span(&bytes)) == ERR_OK);
	close(out);
	buf_fini(&bytes);
}
