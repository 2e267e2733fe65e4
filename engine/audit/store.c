/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.c - the log on disk: append, commit, seal, close
 *
 * Runs in: kenaz-audit.
 * Trusts:  what store_open.c checked, and the disk only after a sync.
 * Never:   says that an event is durable before COMMIT returned; writes
 *	    again after a failure: what was written is then unknown.
 *
 * Theory of operation: appends of one loop turn share a transaction that the
 * first of them begins. store_commit() reads the new rows back, hashes them
 * again, adds one checkpoint signed by this epoch's key, syncs payload
 * segments and commits, which is one sync of the WAL. Afterwards, at idle
 * times, the WAL is copied back, the anchor is written and full bundles are
 * copied out.
 */
#include "engine/audit/store.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/audit/anchor.h"
#include "engine/audit/bundle.h"
#include "engine/audit/files.h"
#include "engine/audit/store_internal.h"
#include "engine/base/log.h"

#define WAL_IDLE_BYTES ((uint64_t)1024 * 1024)

static int64_t wall_us(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_REALTIME, &t) != 0)
		return -1;
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/**
 * store_seal() - Refuse everything from now on
 * @s:		Store
 * @error:	What went wrong
 * @why:	Why, borrowed; completes "the audit log cannot be written: ..."
 *
 * Also gives the reserve back, so that closing has room.
 */
void store_seal(struct store *s, enum err error, const char *why)
{
	if (s->sealed)
		return;
	s->sealed = true;
	s->sealed_error = error == ERR_OK ? ERR_STORAGE : error;
	(void)snprintf(s->sealed_sentence, sizeof(s->sealed_sentence),
		       "the audit log cannot be written (%.200s): everything "
		       "is refused until the engine is restarted with a log "
		       "that can be written",
		       why);
	db_rollback(s->db);
	if (unlinkat(s->log_dir_fd, STORE_RESERVE_FILE, 0) < 0)
		log_debug("no reserve to give back");
	log_error("%s", s->sealed_sentence);
}

/**
 * store_is_sealed() - Whether nothing can be written any more
 * @s:			Store
 * @ret_error:		Written when sealed; may be NULL
 * @ret_sentence:	Written when sealed, borrowed; may be NULL
 *
 * Return: whether it is sealed.
 */
bool store_is_sealed(const struct store *s, enum err *ret_error,
		     const char **ret_sentence)
{
	if (!s->sealed)
		return false;
	if (ret_error)
		*ret_error = s->sealed_error;
	if (ret_sentence)
		*ret_sentence = s->sealed_sentence;
	return true;
}

static enum err seal_db(struct store *s, enum err e)
{
	store_seal(s, e, db_message(s->db));
	return ERR_SEALED;
}

static enum err seal_sys(struct store *s, enum err e, const char *what)
{
	char why[160];

	(void)snprintf(why, sizeof(why), "%s: %s", what, strerror(errno));
	store_seal(s, e, why);
	return ERR_SEALED;
}

/** store_db() - The database, for queries; borrowed */
struct db *store_db(struct store *s)
{
	return s->db;
}

/** store_size() - How many events are durable */
uint64_t store_size(const struct store *s)
{
	return s->committed;
}

/** store_pending() - How many events wait for store_commit() */
size_t store_pending(const struct store *s)
{
	return s->pending;
}

/** store_is_full() - Whether the transaction should be committed now */
bool store_is_full(const struct store *s)
{
	return s->pending >= STORE_PENDING_MAX ||
	       s->pending_bytes >= STORE_PENDING_MAX_BYTES;
}

/**
 * store_get_state() - What the log is, for the one who started it
 * @s:		Store
 * @ret_state:	Plain data; texts are borrowed from the store
 */
void store_get_state(const struct store *s, struct store_state *ret_state)
{
	*ret_state = s->state;
	ret_state->size = s->committed;
	ret_state->root = s->committed_root;
}

static enum err begin(struct store *s)
{
	uint64_t version = 0;
	enum err e = db_begin(s->db);

	if (e == ERR_OK)
		e = db_data_version(s->db, &version);
	if (e != ERR_OK)
		return seal_db(s, e);
	if (version != s->data_version) {
		store_seal(s, ERR_INTEGRITY,
			   "another process wrote to its database");
		return ERR_SEALED;
	}
	return ERR_OK;
}

/* Associated data of a payload's wrapped key: which one of which log. */
static enum err put_about(const struct store *s, uint64_t seq,
			  unsigned int part, struct buf *out)
{
	return buf_printf(out, "payload %" PRIu64 " %u\n%s", seq, part,
			  s->state.origin);
}

static enum err seal_payload(struct store *s, const struct store_event *event,
			     uint64_t seq, struct record_payload *commit)
{
	enum err e;

	buf_reset(&s->about);
	buf_reset(&s->cipher);
	buf_reset(&s->wrapped);
	commit->name = event->payload_name;
	e = put_about(s, seq, 0, &s->about);
	return e == ERR_OK ? payload_seal(s->logkey, buf_span(&s->about),
					  event->sent, event->stored, commit,
					  s->secret, &s->cipher, &s->wrapped)
			   : e;
}

static enum err put_payload(struct store *s, uint64_t seq,
			    uint64_t stored_bytes)
{
	struct db_payload p = {.len_bytes = s->cipher.len_bytes,
			       .cipher = buf_span(&s->cipher)};
	enum err e;

	if (stored_bytes > STORE_INLINE_MAX_BYTES) {
		p.in_segment = true;
		e = segment_append(&s->segment, p.cipher, &p.segment,
				   &p.offset);
		if (e != ERR_OK)
			return seal_sys(s, ERR_STORAGE, "payload segment");
	}
	e = db_put_payload(s->db, seq, 0, &p, buf_span(&s->wrapped));
	/* A large body should not keep its memory afterwards. */
	if (p.in_segment)
		buf_fini(&s->cipher);
	return e == ERR_OK ? ERR_OK : seal_db(s, e);
}

static enum err put(struct store *s, const struct store_event *event,
		    const struct record *r, struct tree_hash *ret_leaf)
{
	struct span bytes = buf_span(&s->record);
	enum err e = ERR_OK;

	record_leaf(bytes, ret_leaf->bytes);
	if (s->pending == 0)
		e = begin(s);
	if (e == ERR_OK && event->has_payload)
		e = put_payload(s, r->seq, event->stored.len_bytes);
	if (e != ERR_OK)
		return e;
	e = db_put_event(s->db, r->seq, ret_leaf, bytes);
	if (e != ERR_OK)
		return seal_db(s, e);
	e = tree_append(&s->tree, ret_leaf);
	if (e != ERR_OK) {
		store_seal(s, e, "it is full");
		return ERR_SEALED;
	}
	s->leaves[s->pending] = *ret_leaf;
	s->pending++;
	s->pending_bytes += bytes.len_bytes + s->cipher.len_bytes;
	s->prev = *ret_leaf;
	return ERR_OK;
}

/**
 * store_append() - Add an event to the running transaction
 * @s:			Store
 * @event:		Borrowed
 * @ret_receipt:	Written on success; not durable before store_commit()
 *
 * Return: ERR_OK; ERR_SEALED; ERR_LIMIT, ERR_FORMAT, ERR_EXISTS or ERR_RANGE
 *	   for an event that cannot be written, which changes nothing;
 *	   ERR_STATE when store_is_full(); ERR_MEMORY.
 */
enum err store_append(struct store *s, const struct store_event *event,
		      struct store_receipt *ret_receipt)
{
	struct record_payload commit;
	struct record r = {.seq = s->tree.size,
			   .wall_us = wall_us(),
			   .kind = event->kind,
			   .session = event->session,
			   .actor = event->actor,
			   .policy = event->policy,
			   .attrs = event->attrs};
	struct tree_hash leaf;
	enum err e = ERR_OK;

	if (s->sealed)
		return ERR_SEALED;
	if (store_is_full(s))
		return ERR_STATE;
	randombytes_buf(r.random, sizeof(r.random));
	memcpy(r.prev, s->prev.bytes, DIGEST_BYTES);
	buf_reset(&s->record);
	buf_reset(&s->cipher);
	if (event->has_payload) {
		e = seal_payload(s, event, r.seq, &commit);
		r.payloads = &commit;
		r.payload_count = 1;
	}
	if (e == ERR_OK)
		e = record_write(&r, &s->record);
	if (e == ERR_OK)
		e = stamp_ulid(r.wall_us, r.random, ret_receipt->id);
	if (e == ERR_OK)
		e = put(s, event, &r, &leaf);
	if (e != ERR_OK)
		return e;
	ret_receipt->seq = r.seq;
	ret_receipt->wall_us = r.wall_us;
	ret_receipt->leaf = leaf;
	return ERR_OK;
}

/* The rows as the database will give them back, hashed once more. */
static enum err read_back(void *context, uint64_t seq,
			  const struct tree_hash *leaf, struct span bytes)
{
	struct store *s = context;
	const struct tree_hash *expected;
	struct tree_hash found;

	if (seq < s->committed || seq - s->committed >= s->pending)
		return ERR_INTEGRITY;
	expected = &s->leaves[seq - s->committed];
	record_leaf(bytes, found.bytes);
	s->read_back++;
	return digest_equal(found.bytes, expected->bytes) &&
			       digest_equal(leaf->bytes, expected->bytes)
		       ? ERR_OK
		       : ERR_INTEGRITY;
}

static enum err sign(struct store *s, const struct tree_hash *root)
{
	struct checkpoint c = {.size = s->tree.size, .root = *root};
	enum err e;

	buf_reset(&s->text);
	buf_reset(&s->note);
	memcpy(c.origin, s->signer.key.name, sizeof(c.origin));
	e = checkpoint_write(&c, &s->text);
	return e == ERR_OK ? note_sign(&s->signer.key, s->signer.secret,
				       buf_span(&s->text), &s->note)
			   : e;
}

static enum err commit(struct store *s, const struct tree_hash *root)
{
	enum err e;

	s->read_back = 0;
	e = db_scan_events(s->db, s->committed, UINT64_MAX, read_back, s);
	if (e == ERR_OK && s->read_back != s->pending)
		e = ERR_INTEGRITY;
	if (e == ERR_INTEGRITY) {
		store_seal(s, e, "what was written is not what is read back");
		return ERR_SEALED;
	}
	if (e == ERR_OK)
		e = sign(s, root);
	if (e == ERR_OK)
		e = db_put_checkpoint(s->db, s->tree.size, buf_span(&s->note));
	if (e != ERR_OK)
		return seal_db(s, e);
	if (segment_sync(&s->segment) != ERR_OK)
		return seal_sys(s, ERR_STORAGE, "payload segment");
	e = db_commit(s->db);
	return e == ERR_OK ? ERR_OK : seal_db(s, e);
}

static enum err copy_wal(struct store *s, bool truncate)
{
	enum err e = db_checkpoint_wal(s->db, truncate);

	return e == ERR_OK ? ERR_OK : seal_db(s, e);
}

/**
 * store_commit() - Make everything appended durable
 * @s:	Store
 *
 * Return: ERR_OK, also when nothing waits; ERR_SEALED: none of what waited
 *	   may be called durable then.
 */
enum err store_commit(struct store *s)
{
	struct tree_hash root;
	enum err e;

	if (s->sealed)
		return ERR_SEALED;
	if (s->pending == 0)
		return ERR_OK;
	tree_root(&s->tree, &root);
	e = commit(s, &root);
	if (e != ERR_OK)
		return e;
	s->committed = s->tree.size;
	s->committed_root = root;
	s->pending = 0;
	s->pending_bytes = 0;
	s->anchor_due = true;
	/* What was committed stays so, even if this seals the engine. */
	if (db_wal_bytes(s->db) > s->wal_max_bytes &&
	    copy_wal(s, false) != ERR_OK)
		log_error("the log's WAL cannot be copied back");
	return ERR_OK;
}

static enum err write_anchor(struct store *s, uint64_t now_ns)
{
	if (anchor_write(s->anchor_dir_fd, buf_span(&s->note)) != ERR_OK)
		return seal_sys(s, ERR_STORAGE, "anchor");
	s->anchor_due = false;
	s->anchor_ns = now_ns;
	return ERR_OK;
}

static enum err add_to_bundle(void *context, uint64_t seq,
			      const struct tree_hash *leaf, struct span bytes)
{
	(void)seq;
	(void)leaf;
	return bundle_add(context, bytes);
}

static enum err write_bundle(struct store *s)
{
	struct buf bundle;
	enum err e;

	buf_init(&bundle, BUNDLE_MAX_BYTES);
	e = db_scan_events(s->db, s->bundles * BUNDLE_EVENTS, BUNDLE_EVENTS,
			   add_to_bundle, &bundle);
	if (e != ERR_OK)
		e = seal_db(s, e);
	else if (bundle_write(s->log_dir_fd, s->bundles, buf_span(&bundle)) !=
		 ERR_OK)
		e = seal_sys(s, ERR_STORAGE, "entry bundle");
	buf_fini(&bundle);
	if (e == ERR_OK)
		s->bundles++;
	return e;
}

/**
 * store_idle() - Do what can wait: anchor, WAL, bundles
 * @s:		Store, nothing pending
 * @now_ns:	Monotonic time
 *
 * Return: whether more is due; call again within a second then.
 */
bool store_idle(struct store *s, uint64_t now_ns)
{
	unsigned int i;

	if (s->sealed || s->pending)
		return false;
	if (s->anchor_due && now_ns - s->anchor_ns >= ANCHOR_INTERVAL_NS &&
	    write_anchor(s, now_ns) != ERR_OK)
		return false;
	for (i = 0; i < STORE_BUNDLES_PER_TURN &&
		    (s->bundles + 1) * BUNDLE_EVENTS <= s->committed;
	     i++)
		if (write_bundle(s) != ERR_OK)
			return false;
	if (db_wal_bytes(s->db) > WAL_IDLE_BYTES &&
	    copy_wal(s, false) != ERR_OK)
		return false;
	return s->anchor_due ||
	       (s->bundles + 1) * BUNDLE_EVENTS <= s->committed;
}

/* A clean end is noted in the database; it is no part of the log. */
static void close_cleanly(struct store *s)
{
	if (store_commit(s) != ERR_OK)
		return;
	while (!s->sealed && (s->bundles + 1) * BUNDLE_EVENTS <= s->committed)
		if (write_bundle(s) != ERR_OK)
			return;
	if (s->anchor_due && write_anchor(s, s->anchor_ns) != ERR_OK)
		return;
	if (db_begin(s->db) != ERR_OK ||
	    db_put_meta(s->db, META_CLEAN, span_text("1")) != ERR_OK ||
	    db_commit(s->db) != ERR_OK)
		log_warn("the log's clean end was not noted");
}

/**
 * store_close() - Commit, anchor and close; NULL is accepted
 * @s:	Store; a sealed one is closed without writing events
 */
void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->db && !s->sealed && s->opened)
		close_cleanly(s);
	if (s->db && s->opened && db_checkpoint_wal(s->db, true) != ERR_OK)
		log_warn("the log's WAL stays for the next start");
	db_close(s->db);
	segment_fini(&s->segment);
	epoch_signer_fini(&s->signer);
	logkey_free(s->logkey);
	secret_free(s->secret);
	buf_fini(&s->record);
	buf_fini(&s->text);
	buf_fini(&s->note);
	buf_fini(&s->about);
	buf_fini(&s->cipher);
	buf_fini(&s->wrapped);
	free(s);
}

struct found_payload {
	struct store *s;
	struct buf *cipher;
};

static enum err on_payload(void *context, uint64_t seq, unsigned int part,
			   const struct db_payload *p)
{
	struct found_payload *f = context;

	(void)seq;
	(void)part;
	if (!p->in_segment)
		return buf_put_span(f->cipher, p->cipher);
	if (p->len_bytes > PAYLOAD_MAX_BYTES + PAYLOAD_OVERHEAD_BYTES)
		return ERR_LIMIT;
	return segment_read(f->s->segment.dir_fd, p->segment, p->offset,
			    (size_t)p->len_bytes, f->cipher);
}

static enum err get_commit(void *context, uint64_t seq,
			   const struct tree_hash *leaf, struct span bytes)
{
	struct record_view view;
	const char *fault;
	struct tree_hash found;

	record_leaf(bytes, found.bytes);
	if (!digest_equal(found.bytes, leaf->bytes) ||
	    record_read(bytes, &view, &fault) != ERR_OK || view.seq != seq)
		return ERR_INTEGRITY;
	if (view.payload_count == 0)
		return ERR_NOT_FOUND;
	memcpy(context, &view.payloads[0], sizeof(view.payloads[0]));
	return ERR_OK;
}

/**
 * store_payload() - Decrypt the payload of an event
 * @s:		Store
 * @seq:	Committed event
 * @ret_bytes:	Empty secret buffer; gets the stored bytes
 *
 * Return: ERR_OK; ERR_NOT_FOUND when there is none or its key was erased;
 *	   ERR_INTEGRITY when it is not what the event commits to; ERR_LIMIT;
 *	   ERR_MEMORY; ERR_STORAGE.
 */
enum err store_payload(struct store *s, uint64_t seq, struct buf *ret_bytes)
{
	struct record_payload commit = {.sent_bytes = 0};
	struct buf cipher, wrapped, about;
	struct found_payload f = {s, &cipher};
	enum err e;

	if (seq >= s->committed)
		return ERR_NOT_FOUND;
	buf_init(&cipher, PAYLOAD_MAX_BYTES + PAYLOAD_OVERHEAD_BYTES);
	buf_init(&wrapped, PAYLOAD_WRAPPED_BYTES);
	buf_init(&about, STORE_ABOUT_MAX_BYTES);
	e = db_scan_events(s->db, seq, 1, get_commit, &commit);
	if (e == ERR_OK)
		e = db_get_payload(s->db, seq, 0, on_payload, &f, &wrapped);
	if (e == ERR_OK)
		e = put_about(s, seq, 0, &about);
	if (e == ERR_OK)
		e = payload_open(s->logkey, buf_span(&about), buf_span(&cipher),
				 buf_span(&wrapped), &commit, ret_bytes);
	buf_fini(&cipher);
	buf_fini(&wrapped);
	buf_fini(&about);
	return e;
}
