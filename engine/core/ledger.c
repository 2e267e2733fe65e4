/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.c - what was spent, in a file that outlives the engine
 *
 * Runs in: kenazd.
 * Trusts:  its own file only as far as its checksums go.
 * Never:   takes an unreadable file for an empty one; gives a budget back.
 *
 * Format: "kenaz-ledger", u32 version, u64 generation, u64 count, then
 * records of RECORD_BYTES each:
 *
 *	u8 scope, 7 zero bytes, 40 bytes key (NUL-padded), i64 day,
 *	5 x i64 amounts, first 8 bytes of the SHA-256 of all before
 *
 * All numbers are little-endian. Records are appended and synced before what
 * they allow is reserved; a later one for the same key stands over earlier
 * ones. At every start, and when there are many, the file is written anew
 * and takes the old one's place in one rename; its generation is one more
 * then, and count says with how many records it begins. What a crash left half
 * written behind those was never relied on and is dropped; anything else that
 * cannot be read stops the engine. Version 1 had neither generation nor count.
 */
#include "engine/core/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/paths.h"

#define MAGIC        "kenaz-ledger"
#define MAGIC_BYTES  12u
#define V1_BYTES     (MAGIC_BYTES + 4u)
#define HEADER_BYTES (V1_BYTES + 16u)
#define SUM_BYTES    8u
#define SUMMED_BYTES \
	(8u + BUDGET_KEY_MAX_BYTES + 8u + 8u * (unsigned)BUDGET_UNIT_COUNT)
#define RECORD_BYTES (SUMMED_BYTES + SUM_BYTES)
#define DAY_US       INT64_C(86400000000)

struct ledger {
	int folder_fd, fd;
	bool keep_sessions, broken, dirty;
	bool found;
	uint64_t generation;
	size_t head_bytes, records;
	int64_t day;
	struct buf bytes; /* what was read, until it is restored */
};

/**
 * ledger_put_row() - Append a record
 * @b:		Buffer
 * @row:	Its durable amounts are written
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err ledger_put_row(struct buf *b, const struct budget_row *row)
{
	char key[BUDGET_KEY_MAX_BYTES] = {0};
	uint8_t sum[DIGEST_BYTES];
	size_t start = b->len_bytes;
	enum err e;

	(void)snprintf(key, sizeof(key), "%s", row->key);
	e = buf_put_u64(b, (uint64_t)row->scope);
	if (e == ERR_OK)
		e = buf_put(b, key, sizeof(key));
	if (e == ERR_OK)
		e = buf_put_u64(b, (uint64_t)row->day);
	for (int u = 0; e == ERR_OK && u < BUDGET_UNIT_COUNT; u++)
		e = buf_put_u64(b, (uint64_t)row->durable.of[u]);
	if (e != ERR_OK)
		return e;
	digest_sha256(span_of(b->data + start, b->len_bytes - start), sum);
	return buf_put(b, sum, SUM_BYTES);
}

/**
 * ledger_get_row() - Read a record
 * @record:	RECORD_BYTES of it
 * @ret_row:	Used and durable amounts are the record's
 *
 * Return: ERR_OK; ERR_SHORT; ERR_INTEGRITY for a wrong checksum; ERR_RANGE
 *	   for values that were never written.
 */
enum err ledger_get_row(struct span record, struct budget_row *ret_row)
{
	struct budget_row row = {.scope = BUDGET_SESSION};
	uint8_t sum[DIGEST_BYTES];
	struct span key;
	struct reader r;
	uint64_t scope;

	if (record.len_bytes != RECORD_BYTES)
		return ERR_SHORT;
	digest_sha256(span_of(record.data, SUMMED_BYTES), sum);
	if (memcmp(sum, record.data + SUMMED_BYTES, SUM_BYTES) != 0)
		return ERR_INTEGRITY;
	reader_init(&r, record);
	scope = reader_get_u64(&r);
	key = reader_get_span(&r, BUDGET_KEY_MAX_BYTES);
	row.day = (int64_t)reader_get_u64(&r);
	for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
		row.used.of[u] = (int64_t)reader_get_u64(&r);
	if (r.status != ERR_OK || scope >= BUDGET_SCOPE_COUNT ||
	    !memchr(key.data, 0, key.len_bytes))
		return ERR_RANGE;
	for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
		if (row.used.of[u] < 0)
			return ERR_RANGE;
	row.scope = (enum budget_scope)scope;
	memcpy(row.key, key.data, sizeof(row.key));
	row.durable = row.used;
	*ret_row = row;
	return ERR_OK;
}

/* --- reading ------------------------------------------------------------ */

static enum err refuse(struct conf_error *error, const char *folder,
		       const char *why)
{
	return conf_fail_at(error, NULL, 0,
			    "%s/" LEDGER_FILE ": %s; what was spent of the "
			    "budgets is not known. Put the file right, or "
			    "move it away to begin with nothing spent",
			    folder, why);
}

static enum err read_file(int fd, const char *folder, struct buf *bytes,
			  struct conf_error *error)
{
	uint8_t chunk[8192];
	struct stat st;
	ssize_t n = 1;
	enum err e = ERR_OK;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    st.st_uid != geteuid() || (st.st_mode & 077))
		return refuse(error, folder, "it is not this user's alone");
	while (e == ERR_OK && n != 0) {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno != EINTR)
			return refuse(error, folder, "it cannot be read");
		if (n > 0)
			e = buf_put(bytes, chunk, (size_t)n);
	}
	return e == ERR_OK ? e : refuse(error, folder, "it is too large");
}

static struct span record_at(const struct ledger *l, size_t index)
{
	return span_of(l->bytes.data + l->head_bytes + index * RECORD_BYTES,
		       RECORD_BYTES);
}

/* How many records were there when the file got its name. */
static enum err check_head(struct ledger *l, const char *folder,
			   struct conf_error *error, uint64_t *ret_count)
{
	struct reader r;
	uint32_t version;

	/* Under this name it was whole from the first moment on. */
	if (l->bytes.len_bytes < V1_BYTES)
		return refuse(error, folder, "it is cut short");
	if (memcmp(l->bytes.data, MAGIC, MAGIC_BYTES) != 0)
		return refuse(error, folder, "it is no ledger");
	reader_init(&r, span_of(l->bytes.data + MAGIC_BYTES,
				l->bytes.len_bytes - MAGIC_BYTES));
	version = reader_get_u32(&r);
	if (version > LEDGER_VERSION)
		return refuse(error, folder, "it was written by a newer Kenaz");
	if (version == 0)
		return refuse(error, folder, "its version is malformed");
	l->head_bytes = version > 1 ? HEADER_BYTES : V1_BYTES;
	*ret_count = 0;
	if (version > 1) {
		l->generation = reader_get_u64(&r);
		*ret_count = reader_get_u64(&r);
	}
	return r.status == ERR_OK ? ERR_OK
				  : refuse(error, folder, "it is cut short");
}

static enum err check(struct ledger *l, const char *folder,
		      struct conf_error *error)
{
	struct budget_row row;
	uint64_t least = 0;
	size_t i, count;
	enum err e = check_head(l, folder, error, &least);

	if (e != ERR_OK)
		return e;
	count = (l->bytes.len_bytes - l->head_bytes) / RECORD_BYTES;
	if (count < least)
		return refuse(error, folder, "it is cut short");
	for (i = 0; i < count; i++) {
		e = ledger_get_row(record_at(l, i), &row);
		if (e == ERR_OK)
			continue;
		if (i + 1 < count || i < least || e == ERR_RANGE)
			return refuse(error, folder, "it is damaged");
		log_warn("the budget's ledger ended in mid-record; nothing "
			 "was sent on that record's account");
		count--;
	}
	l->records = count;
	return ERR_OK;
}

/**
 * ledger_open() - Read what was spent
 * @folder:		State folder, private
 * @keep_sessions:	Sessions outlive the engine, and so do their rows
 * @now_wall_us:	Wall clock
 * @error:		Receives one sentence
 * @ret_ledger:		Free with ledger_free()
 *
 * Return: ERR_OK; ERR_CONFIG for a file that cannot be relied on; ERR_SYS;
 *	   ERR_MEMORY.
 */
enum err ledger_open(const char *folder, bool keep_sessions,
		     int64_t now_wall_us, struct conf_error *error,
		     struct ledger **ret_ledger)
{
	struct ledger *l = calloc(1, sizeof(*l));
	enum err e = ERR_OK;
	int fd;

	if (!l)
		return ERR_MEMORY;
	l->fd = -1;
	l->keep_sessions = keep_sessions;
	l->day = now_wall_us / DAY_US;
	buf_init(&l->bytes, LEDGER_MAX_BYTES);
	l->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = l->folder_fd < 0
		     ? -1
		     : openat(l->folder_fd, LEDGER_FILE,
			      O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && (l->folder_fd < 0 || errno != ENOENT))
		e = refuse(error, folder, "it cannot be opened");
	if (fd >= 0) {
		l->found = true;
		e = read_file(fd, folder, &l->bytes, error);
		close(fd);
		if (e == ERR_OK)
			e = check(l, folder, error);
	}
	if (e == ERR_OK)
		*ret_ledger = l;
	else
		ledger_free(l);
	return e;
}

static bool is_past(const struct ledger *l, const struct budget_row *row)
{
	if (row->scope == BUDGET_SESSION)
		return !l->keep_sessions;
	/* A clock that went back a little is no reason to forget. */
	return row->day < l->day - 1;
}

/**
 * ledger_restore() - Put what was read into an empty budget, and write it anew
 * @l:		Ledger, just opened
 * @budget:	Receives the rows
 *
 * Return: ERR_OK; ERR_LIMIT for too many rows; ERR_STORAGE.
 */
enum err ledger_restore(struct ledger *l, struct budget *budget)
{
	struct budget_row row;
	size_t i;
	enum err e = ERR_OK;

	/* The last record of a key comes first and stays. */
	for (i = l->records; e == ERR_OK && i-- > 0;) {
		e = ledger_get_row(record_at(l, i), &row);
		if (e != ERR_OK || is_past(l, &row))
			continue;
		e = budget_restore(budget, &row);
		if (e == ERR_EXISTS)
			e = ERR_OK;
	}
	buf_fini(&l->bytes);
	return e == ERR_OK ? ledger_write_all(l, budget) : e;
}

/* --- writing ------------------------------------------------------------ */

/* A part of a record at the end would spoil all that follow. */
static enum err append(struct ledger *l, struct span record)
{
	off_t end = lseek(l->fd, 0, SEEK_END);
	enum err e = end < 0 ? ERR_SYS : file_write_all(l->fd, record);

	if (e == ERR_OK && fdatasync(l->fd) == 0)
		return ERR_OK;
	log_error("the budget's ledger cannot be written: %s", strerror(errno));
	/* After a failed sync nobody knows what is on the disk. */
	l->broken = e == ERR_OK || end < 0 || ftruncate(l->fd, end) != 0;
	return ERR_STORAGE;
}

/**
 * ledger_save() - Write a row down; a budget_save_fn
 * @context:	Ledger
 * @row:	Its durable amounts count
 *
 * Return: ERR_OK once it would survive a crash; ERR_STORAGE.
 */
enum err ledger_save(void *context, const struct budget_row *row)
{
	struct ledger *l = context;
	struct buf b;
	enum err e;

	if (row->scope == BUDGET_SESSION && !l->keep_sessions)
		return ERR_OK;
	if (l->broken || l->fd < 0 || l->records >= 2 * LEDGER_RECORDS_MAX)
		return ERR_STORAGE;
	buf_init(&b, RECORD_BYTES);
	e = ledger_put_row(&b, row);
	if (e == ERR_OK)
		e = append(l, buf_span(&b));
	if (e == ERR_OK)
		l->records++;
	l->dirty = true;
	buf_fini(&b);
	return e;
}

static enum err put_all(struct ledger *l, const struct budget *budget,
			struct buf *b, size_t *ret_count)
{
	size_t i, count = budget_row_count(budget);
	enum err e = buf_put(b, MAGIC, MAGIC_BYTES);

	*ret_count = 0;
	if (e == ERR_OK)
		e = buf_put_u32(b, LEDGER_VERSION);
	if (e == ERR_OK)
		e = buf_put_u64(b, l->generation + 1);
	if (e == ERR_OK)
		e = buf_put_u64(b, 0); /* the count, once it is known */
	for (i = 0; e == ERR_OK && i < count; i++) {
		struct budget_row row = *budget_row_at(budget, i);

		if (is_past(l, &row))
			continue;
		for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
			if (__builtin_add_overflow(row.used.of[u],
						   row.reserved.of[u],
						   &row.durable.of[u]))
				row.durable.of[u] = INT64_MAX;
		e = ledger_put_row(b, &row);
		(*ret_count)++;
	}
	for (i = 0; e == ERR_OK && i < 8; i++)
		b->data[HEADER_BYTES - 8 + i] =
			(uint8_t)((uint64_t)*ret_count >> (8 * i));
	return e;
}

/* The new file, still without a name that counts. */
static enum err write_new(struct ledger *l, struct span bytes, int *ret_fd)
{
	int fd = openat(l->folder_fd, LEDGER_FILE ".new",
			O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			0600);
	enum err e = fd < 0 ? ERR_SYS : file_write_all(fd, bytes);

	if (e == ERR_OK && fdatasync(fd) != 0)
		e = ERR_SYS;
	if (e == ERR_OK && renameat(l->folder_fd, LEDGER_FILE ".new",
				    l->folder_fd, LEDGER_FILE) != 0)
		e = ERR_SYS;
	if (e == ERR_OK && fsync(l->folder_fd) != 0)
		e = ERR_SYS;
	if (e != ERR_OK && fd >= 0)
		close(fd);
	else
		*ret_fd = fd;
	return e;
}

/**
 * ledger_write_all() - Write the file anew, as the budget stands
 * @l:		Ledger
 * @budget:	Its rows; what is reserved counts as used
 *
 * Return: ERR_OK; ERR_STORAGE: then the old file still counts; ERR_MEMORY.
 */
enum err ledger_write_all(struct ledger *l, struct budget *budget)
{
	struct buf b;
	size_t count = 0;
	int fd = -1;
	enum err e;

	buf_init(&b, LEDGER_MAX_BYTES);
	e = put_all(l, budget, &b, &count);
	if (e == ERR_OK)
		e = write_new(l, buf_span(&b), &fd);
	buf_fini(&b);
	if (e != ERR_OK) {
		log_error("the budget's ledger cannot be written anew: %s",
			  e == ERR_SYS ? strerror(errno) : err_text(e));
		return e == ERR_SYS ? ERR_STORAGE : e;
	}
	if (l->fd >= 0)
		close(l->fd);
	l->fd = fd;
	l->generation++;
	l->records = count;
	l->broken = l->dirty = false;
	budget_written(budget);
	return ERR_OK;
}

/** ledger_is_dirty() - Whether writing it anew would shorten or sharpen it */
bool ledger_is_dirty(const struct ledger *l)
{
	return l->dirty || l->broken;
}

/** ledger_generation() - How often it was written anew */
uint64_t ledger_generation(const struct ledger *l)
{
	return l->generation;
}

/** ledger_was_found() - Whether there was one when it was opened */
bool ledger_was_found(const struct ledger *l)
{
	return l->found;
}

/** ledger_free() - Close it; NULL is accepted */
void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		close(l->fd);
	if (l->folder_fd >= 0)
		close(l->folder_fd);
	buf_fini(&l->bytes);
	free(l);
}
