/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_open.c - open the log: check it, recover it, begin an epoch
 *
 * Runs in: kenaz-audit, at start.
 * Trusts:  log.key, and the anchor more than the database.
 * Never:   goes on with a log behind its anchor unless the operator said so;
 *	    then the old log is set aside and a new origin names its head.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/audit/anchor.h"
#include "engine/audit/bundle.h"
#include "engine/audit/files.h"
#include "engine/audit/store_internal.h"
#include "engine/base/text.h"

#define RANDOM_BYTES 8u

/* State of one opening. */
struct opening {
	struct store *s;
	const struct store_options *o;
	struct buf *why;
	bool has_anchor;
	struct checkpoint anchor;
	struct recovered recovered;
	bool abandoned;
};

static enum err because(struct opening *op, enum err e, const char *what)
{
	if (op->why->len_bytes == 0 && buf_put_text(op->why, what) != ERR_OK)
		return ERR_MEMORY;
	return e;
}

static enum err because_sys(struct opening *op, enum err e, const char *what)
{
	if (op->why->len_bytes == 0 &&
	    buf_printf(op->why, "%s: %s", what,
		       e == ERR_SYS ? strerror(errno) : err_text(e)) != ERR_OK)
		return ERR_MEMORY;
	return e;
}

/* Room kept free, so that a full disk can still be left in order. */
static enum err make_reserve(struct opening *op, uint64_t len_bytes)
{
	int fd = openat(op->s->log_dir_fd, STORE_RESERVE_FILE,
			O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return because_sys(op, ERR_SYS,
				   "its directory is not writable");
	rc = posix_fallocate(fd, 0, (off_t)len_bytes);
	close(fd);
	if (rc == 0)
		return ERR_OK;
	(void)unlinkat(op->s->log_dir_fd, STORE_RESERVE_FILE, 0);
	if (buf_printf(op->why,
		       "there is no room for its reserve of %" PRIu64
		       " KiB (%s): free some",
		       len_bytes / 1024, strerror(rc)) != ERR_OK)
		return ERR_MEMORY;
	return ERR_STORAGE;
}

static enum err read_anchor(struct opening *op)
{
	struct buf note;
	enum err e;

	buf_init(&note, NOTE_MAX_BYTES);
	e = anchor_read(op->s->anchor_dir_fd, &note, &op->anchor);
	buf_fini(&note);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	if (e != ERR_OK)
		return because_sys(op, e,
				   "its anchor " ANCHOR_FILE " cannot be read");
	op->has_anchor = true;
	return ERR_OK;
}

/* A name of ours is plain: it stands unescaped in events and notes. */
static enum err make_origin(struct opening *op)
{
	uint8_t random[RANDOM_BYTES], zero[NOTE_PUBLIC_BYTES] = {0};
	char hex[2 * RANDOM_BYTES + 1];
	struct note_key key;
	struct span given = op->o->origin;
	struct store *s = op->s;
	enum err e = ERR_OK;

	randombytes_buf(random, sizeof(random));
	text_hex(random, sizeof(random), hex);
	if (given.len_bytes > NOTE_NAME_MAX_BYTES - sizeof(hex) ||
	    (given.len_bytes && (memchr(given.data, '"', given.len_bytes) ||
				 memchr(given.data, '\\', given.len_bytes))))
		return because(op, ERR_CONFIG, "its origin is no plain name");
	if (given.len_bytes)
		e = span_copy_text(given, s->origin, sizeof(s->origin));
	else
		(void)snprintf(s->origin, sizeof(s->origin), "kenaz.local/%s",
			       hex);
	if (e == ERR_OK && given.len_bytes && op->abandoned)
		(void)snprintf(s->origin, sizeof(s->origin), "%.*s/%s",
			       (int)given.len_bytes, given.data, hex);
	if (e == ERR_OK)
		e = note_key_make(span_text(s->origin), zero, &key);
	return e == ERR_OK
		       ? ERR_OK
		       : because(op, ERR_CONFIG, "its origin is no plain name");
}

/* Set a log aside that the operator gives up; nothing is deleted. */
static enum err abandon(struct opening *op)
{
	static const char *const names[] = {DB_FILE, DB_FILE "-wal",
					    SEGMENT_DIR, "tile"};
	int dir = op->s->log_dir_fd, anchor_dir = op->s->anchor_dir_fd, to;
	char aside[64];
	size_t i;

	(void)snprintf(aside, sizeof(aside), "abandoned-%lld",
		       (long long)time(NULL));
	if (mkdirat(dir, aside, 0700) < 0)
		return because_sys(op, ERR_SYS, "it cannot be set aside");
	to = openat(dir, aside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0)
		return because_sys(op, ERR_SYS, "it cannot be set aside");
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (renameat(dir, names[i], to, names[i]) < 0 &&
		    errno != ENOENT)
			break;
	if (i == ARRAY_SIZE(names) &&
	    renameat(anchor_dir, ANCHOR_FILE, anchor_dir, aside) < 0 &&
	    errno != ENOENT)
		i = 0;
	if (i == ARRAY_SIZE(names) &&
	    (fsync(to) < 0 || fsync(dir) < 0 || fsync(anchor_dir) < 0))
		i = 0;
	close(to);
	if (i < ARRAY_SIZE(names))
		return because_sys(op, ERR_SYS, "it cannot be set aside");
	op->abandoned = true;
	return ERR_OK;
}

/* The database may be there already, when its first start was cut short. */
static enum err create(struct opening *op)
{
	struct note_key first;
	struct store *s = op->s;
	enum err e;

	if (op->has_anchor && op->anchor.size > 0 && !op->abandoned) {
		if (buf_printf(op->why,
			       "it is gone, but its anchor says that it had "
			       "%" PRIu64 " events",
			       op->anchor.size) != ERR_OK)
			return ERR_MEMORY;
		return ERR_INTEGRITY;
	}
	e = make_origin(op);
	if (e == ERR_OK && !s->db)
		e = db_open(s->log_dir_fd, DB_CREATE, &s->db, op->why);
	if (e != ERR_OK)
		return e;
	s->state.created = true;
	e = epoch_prepare(s->key_dir_fd, s->logkey, s->origin, 0, &first);
	if (e != ERR_OK)
		return because_sys(op, e, "its first key cannot be stored");
	e = epoch_load(s->key_dir_fd, s->logkey, s->origin, 0, &s->signer);
	if (e != ERR_OK)
		return because_sys(op, e, "its first key cannot be read");
	tree_init(&s->tree);
	memset(&s->prev, 0, sizeof(s->prev));
	return ERR_OK;
}

static enum err reopen(struct opening *op)
{
	const struct epoch_ledger *l = &op->recovered.ledger;
	struct store *s = op->s;
	struct buf origin;
	enum err e;

	buf_init(&origin, NOTE_NAME_MAX_BYTES);
	e = db_open(s->log_dir_fd, DB_WRITE, &s->db, op->why);
	if (e != ERR_OK)
		return e;
	e = db_get_meta(s->db, META_ORIGIN, &origin);
	buf_fini(&origin);
	if (e == ERR_NOT_FOUND)
		return create(op);
	e = recover_log(s->db, op->has_anchor ? &op->anchor : NULL,
			&op->recovered, op->why);
	if (e != ERR_OK)
		return e;
	s->tree = op->recovered.tree;
	s->prev = op->recovered.last_leaf;
	memcpy(s->origin, l->key.name, sizeof(s->origin));
	e = epoch_load(s->key_dir_fd, s->logkey, s->origin, l->number + 1,
		       &s->signer);
	if (e == ERR_OK && memcmp(s->signer.key.public_key, l->next.public_key,
				  NOTE_PUBLIC_BYTES) != 0)
		e = ERR_INTEGRITY;
	if (e != ERR_OK)
		return because_sys(op, e,
				   "the key of its next epoch cannot be read");
	return ERR_OK;
}

static enum err append(struct opening *op, enum kind kind, struct buf *attrs)
{
	struct store_event event = {.kind = kind,
				    .actor = span_text("audit"),
				    .attrs = buf_span(attrs)};
	struct store_receipt receipt;

	return store_append(op->s, &event, &receipt);
}

static enum err append_rotation(struct opening *op, const struct note_key *next)
{
	const struct checkpoint *a = &op->anchor;
	char hex[DIGEST_HEX_BYTES];
	struct buf attrs;
	enum err e;

	buf_init(&attrs, RECORD_CALLER_MAX_BYTES);
	e = epoch_attrs(&op->s->signer, next, &attrs);
	if (e == ERR_OK && op->o->version.len_bytes)
		e = attrs_put_text(&attrs, "kenaz.version", op->o->version);
	if (e == ERR_OK && op->abandoned && op->has_anchor) {
		text_hex(a->root.bytes, DIGEST_BYTES, hex);
		e = attrs_put_text(&attrs, "kenaz.abandoned.origin",
				   span_text(a->origin));
		if (e == ERR_OK)
			e = attrs_put_u64(&attrs, "kenaz.abandoned.size",
					  a->size);
		if (e == ERR_OK)
			e = attrs_put_text(&attrs, "kenaz.abandoned.root",
					   span_text(hex));
	}
	if (e == ERR_OK)
		e = append(op, KIND_KEY_ROTATED, &attrs);
	buf_fini(&attrs);
	return e;
}

static enum err append_recovery(struct opening *op)
{
	struct buf attrs;
	enum err e;

	buf_init(&attrs, RECORD_CALLER_MAX_BYTES);
	e = attrs_put_bool(&attrs, "kenaz.recovered.closed_cleanly",
			   op->recovered.clean);
	if (e == ERR_OK)
		e = attrs_put_bool(&attrs, "kenaz.recovered.anchor_found",
				   op->has_anchor);
	if (e == ERR_OK)
		e = dangling_attrs(&op->recovered.dangling, &attrs);
	if (e == ERR_OK)
		e = append(op, KIND_LOG_RECOVERED, &attrs);
	buf_fini(&attrs);
	return e;
}

static enum err put_meta(struct store *s, uint64_t epoch_start)
{
	char number[24];
	enum err e;

	(void)snprintf(number, sizeof(number), "%" PRIu64, epoch_start);
	e = db_put_meta(s->db, META_EPOCH_START, span_text(number));
	if (e == ERR_OK)
		e = db_put_meta(s->db, META_CLEAN, span_text("0"));
	if (e == ERR_OK && s->state.created)
		e = db_put_meta(s->db, META_ORIGIN, span_text(s->origin));
	return e;
}

/* key.rotated, and log.recovered when due, in one transaction. */
static enum err begin_epoch(struct opening *op)
{
	struct store *s = op->s;
	uint64_t start = s->tree.size;
	struct note_key next;
	enum err e;

	e = epoch_prepare(s->key_dir_fd, s->logkey, s->origin,
			  s->signer.number + 1, &next);
	if (e != ERR_OK)
		return because_sys(op, e, "its next key cannot be stored");
	e = append_rotation(op, &next);
	s->state.recovered = !s->state.created &&
			     (!op->recovered.clean ||
			      dangling_count(&op->recovered.dangling) > 0);
	if (e == ERR_OK && s->state.recovered)
		e = append_recovery(op);
	if (e == ERR_OK)
		e = put_meta(s, start);
	if (e == ERR_OK)
		e = store_commit(s);
	if (e != ERR_OK)
		return because(op, e == ERR_SEALED ? s->sealed_error : e,
			       s->sealed ? s->sealed_sentence
					 : db_message(s->db));
	e = epoch_forget(s->key_dir_fd, s->signer.number);
	return e == ERR_OK
		       ? ERR_OK
		       : because_sys(op, e, "a used key cannot be destroyed");
}

static enum err finish(struct opening *op)
{
	struct buf vkey = {.data = (uint8_t *)op->s->state.verifier_key,
			   .cap_bytes = sizeof(op->s->state.verifier_key) - 1,
			   .max_bytes = sizeof(op->s->state.verifier_key) - 1};
	struct store *s = op->s;
	uint32_t segment = 0;
	uint64_t end = 0;
	enum err e;

	e = db_data_version(s->db, &s->data_version);
	if (e == ERR_OK)
		e = db_segment_end(s->db, &segment, &end);
	if (e != ERR_OK)
		return because(op, e, db_message(s->db));
	e = segment_init(&s->segment, s->log_dir_fd, segment, end);
	if (e != ERR_OK)
		return because_sys(op, e, "its payloads cannot be opened");
	s->committed = s->tree.size;
	s->state.origin = s->origin;
	s->state.epoch = s->signer.number;
	s->state.dangling = dangling_count(&op->recovered.dangling);
	for (s->bundles = s->committed / BUNDLE_EVENTS; s->bundles > 0;
	     s->bundles--)
		if (bundle_exists(s->log_dir_fd, s->bundles - 1))
			break;
	e = note_key_write(&s->signer.key, &vkey);
	if (e == ERR_OK)
		e = begin_epoch(op);
	s->opened = e == ERR_OK;
	return e;
}

static enum err open_all(struct opening *op)
{
	const struct store_options *o = op->o;
	struct store *s = op->s;
	bool exists;
	enum err e;

	e = make_reserve(op, o->reserve_bytes ? o->reserve_bytes
					      : STORE_RESERVE_BYTES);
	if (e == ERR_OK)
		e = read_anchor(op);
	if (e != ERR_OK && !o->new_origin)
		return e;
	exists = files_exists(s->log_dir_fd, DB_FILE);
	e = logkey_open(s->key_dir_fd, !exists || o->new_origin, &s->logkey,
			&s->state.key_created);
	if (e != ERR_OK)
		return because_sys(op, e, "its key file " LOGKEY_FILE);
	if (o->new_origin) {
		buf_reset(op->why);
		e = abandon(op);
		exists = false;
	}
	if (e == ERR_OK)
		e = exists ? reopen(op) : create(op);
	return e == ERR_OK ? finish(op) : e;
}

/**
 * store_open() - Open, check and recover the log; begin an epoch
 * @options:	Borrowed; its descriptors for the life of the store
 * @ret_store:	store_close() it; written on success
 * @ret_why:	On failure: completes "the audit log cannot be used: ..."
 *
 * Return: ERR_OK; ERR_INTEGRITY for a damaged log or one behind its anchor;
 *	   ERR_STATE when another process has it; ERR_VERSION; ERR_STORAGE;
 *	   ERR_PERMISSION for a key that others may read; ERR_CONFIG;
 *	   ERR_NOT_FOUND for a missing key; ERR_SYS; ERR_MEMORY.
 */
enum err store_open(const struct store_options *options,
		    struct store **ret_store, struct buf *ret_why)
{
	struct opening op = {.o = options, .why = ret_why};
	struct store *s = calloc(1, sizeof(*s));
	enum err e;

	if (!s)
		return ERR_MEMORY;
	op.s = s;
	s->log_dir_fd = options->log_dir_fd;
	s->key_dir_fd = options->key_dir_fd;
	s->anchor_dir_fd = options->anchor_dir_fd;
	s->wal_max_bytes = options->wal_max_bytes ? options->wal_max_bytes
						  : STORE_WAL_MAX_BYTES;
	s->segment = (struct segment){.dir_fd = -1, .fd = -1};
	s->state.origin = s->origin;
	buf_init(&s->record, STORE_EVENT_MAX_BYTES);
	buf_init(&s->text, NOTE_MAX_BYTES);
	buf_init(&s->note, NOTE_MAX_BYTES);
	buf_init(&s->about, STORE_ABOUT_MAX_BYTES);
	buf_init(&s->cipher, PAYLOAD_MAX_BYTES + PAYLOAD_OVERHEAD_BYTES);
	buf_init(&s->wrapped, PAYLOAD_WRAPPED_BYTES);
	e = secret_alloc(PAYLOAD_SECRET_BYTES, &s->secret);
	if (e == ERR_OK)
		e = open_all(&op);
	recovered_fini(&op.recovered);
	if (e != ERR_OK) {
		store_close(s);
		return e;
	}
	*ret_store = s;
	return ERR_OK;
}
