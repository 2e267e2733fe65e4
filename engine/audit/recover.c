/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.c - what a stored log says before anything is added to it
 *
 * Runs in: kenaz-audit, at start.
 * Trusts:  nothing in the database: the root is computed from the leaves,
 *	    the last epoch's events from their bytes.
 * Never:   repairs: a log that does not fit its checkpoint or its anchor is
 *	    refused with one sentence.
 */
#include "engine/audit/recover.h"

#include <inttypes.h>
#include <string.h>

#include "engine/base/text.h"

struct walk {
	struct recovered *r;
	const struct checkpoint *anchor;
	struct tree_hash anchor_root;
	bool anchor_seen;
	bool first;
	const char *fault;
	uint64_t fault_seq;
};

static enum err on_leaf(void *context, uint64_t seq,
			const struct tree_hash *leaf)
{
	struct walk *w = context;
	struct tree *t = &w->r->tree;

	w->fault_seq = seq;
	if (seq != t->size) {
		w->fault = "events are missing before it";
		return ERR_INTEGRITY;
	}
	w->r->last_leaf = *leaf;
	if (tree_append(t, leaf) != ERR_OK)
		return ERR_LIMIT;
	if (w->anchor && w->anchor->size == t->size) {
		tree_root(t, &w->anchor_root);
		w->anchor_seen = true;
	}
	return ERR_OK;
}

static enum err on_event(void *context, uint64_t seq,
			 const struct tree_hash *leaf, struct span bytes)
{
	struct walk *w = context;
	struct tree_hash found;
	struct record_view view;
	enum err e;

	w->fault_seq = seq;
	record_leaf(bytes, found.bytes);
	if (!digest_equal(found.bytes, leaf->bytes)) {
		w->fault = "its bytes do not have the stored hash";
		return ERR_INTEGRITY;
	}
	if (record_read(bytes, &view, &w->fault) != ERR_OK)
		return ERR_INTEGRITY;
	if (view.seq != seq) {
		w->fault = "it carries another number";
		return ERR_INTEGRITY;
	}
	if (w->first && !span_is(view.kind, kind_text(KIND_KEY_ROTATED))) {
		w->fault = "it should begin an epoch";
		return ERR_INTEGRITY;
	}
	w->first = false;
	e = epoch_ledger_feed(&w->r->ledger, &view, &w->fault);
	w->r->ledger.resumed = false;
	return e == ERR_OK ? dangling_feed(&w->r->dangling, &view) : e;
}

static enum err why_event(struct walk *w, enum err e, struct db *db,
			  struct buf *ret_why)
{
	if (buf_printf(ret_why, "event %" PRIu64 " is damaged: %s",
		       w->fault_seq,
		       w->fault ? w->fault : db_message(db)) != ERR_OK)
		return ERR_MEMORY;
	return e;
}

static enum err get_number(struct db *db, const char *key, uint64_t *ret)
{
	struct buf text;
	enum err e;

	buf_init(&text, 32);
	e = db_get_meta(db, key, &text);
	if (e == ERR_OK)
		e = text_parse_u64(buf_span(&text), 0, TREE_SIZE_MAX, ret);
	buf_fini(&text);
	return e;
}

/* The stored checkpoint must be of exactly the stored leaves. */
static enum err check_checkpoint(struct db *db, struct recovered *r,
				 struct buf *ret_why)
{
	struct tree_hash root;
	struct checkpoint c;
	struct span text;
	struct buf note;
	uint64_t size = 0;
	enum err e;

	buf_init(&note, NOTE_MAX_BYTES);
	e = db_last_checkpoint(db, &size, &note);
	if (e == ERR_OK)
		e = note_verify(buf_span(&note), &r->ledger.key, &text);
	if (e == ERR_OK)
		e = checkpoint_read(text, &c);
	tree_root(&r->tree, &root);
	if (e == ERR_OK && (size != r->tree.size || c.size != size ||
			    !digest_equal(c.root.bytes, root.bytes)))
		e = ERR_INTEGRITY;
	buf_fini(&note);
	if (e == ERR_OK)
		return ERR_OK;
	if (buf_printf(ret_why,
		       "its last checkpoint is not that of its %" PRIu64
		       " events",
		       r->tree.size) != ERR_OK)
		return ERR_MEMORY;
	return ERR_INTEGRITY;
}

static enum err check_anchor(const struct walk *w, const char *origin,
			     struct buf *ret_why)
{
	const struct checkpoint *a = w->anchor;
	enum err e = ERR_OK;

	if (!a)
		return ERR_OK;
	if (strcmp(a->origin, origin) != 0)
		e = buf_printf(ret_why,
			       "its anchor belongs to another log (%s)",
			       a->origin);
	else if (a->size > w->r->tree.size)
		e = buf_printf(ret_why,
			       "it has %" PRIu64 " events, but its anchor says "
			       "%" PRIu64 ": it was cut or rolled back",
			       w->r->tree.size, a->size);
	else if (a->size > 0 &&
		 (!w->anchor_seen ||
		  !digest_equal(a->root.bytes, w->anchor_root.bytes)))
		e = buf_printf(ret_why,
			       "its first %" PRIu64 " events are not those of "
			       "its anchor: it was rewritten",
			       a->size);
	else
		return ERR_OK;
	return e == ERR_OK ? ERR_INTEGRITY : e;
}

/**
 * recover_log() - Read and check a stored log
 * @db:		Open for writing, outside a transaction
 * @anchor:	The anchor, or NULL when there is none
 * @ret:	recovered_fini() it in any case
 * @ret_why:	On failure, why: completes "the log cannot be used: ..."
 *
 * Return: ERR_OK; ERR_INTEGRITY; ERR_MEMORY; ERR_STORAGE.
 */
enum err recover_log(struct db *db, const struct checkpoint *anchor,
		     struct recovered *ret, struct buf *ret_why)
{
	struct walk w = {.r = ret, .anchor = anchor, .first = true};
	uint64_t start = 0, clean = 0;
	struct buf origin;
	const char *name = "";
	enum err e;

	*ret = (struct recovered){.clean = false};
	buf_init(&origin, NOTE_NAME_MAX_BYTES + 1);
	dangling_init(&ret->dangling);
	tree_init(&ret->tree);
	epoch_ledger_resume(&ret->ledger);
	e = db_scan_leaves(db, 0, UINT64_MAX, on_leaf, &w);
	if (e != ERR_OK) {
		e = why_event(&w, e, db, ret_why);
		goto out;
	}
	if (db_get_meta(db, META_ORIGIN, &origin) != ERR_OK ||
	    buf_terminate(&origin, &name) != ERR_OK ||
	    get_number(db, META_EPOCH_START, &start) != ERR_OK ||
	    get_number(db, META_CLEAN, &clean) != ERR_OK ||
	    start >= ret->tree.size) {
		e = buf_put_text(ret_why, "its description is damaged");
		e = e == ERR_OK ? ERR_INTEGRITY : e;
		goto out;
	}
	ret->clean = clean == 1;
	e = check_anchor(&w, name, ret_why);
	if (e != ERR_OK)
		goto out;
	e = db_scan_events(db, start, UINT64_MAX, on_event, &w);
	if (e != ERR_OK) {
		e = why_event(&w, e, db, ret_why);
		goto out;
	}
	if (strcmp(ret->ledger.key.name, name) != 0) {
		e = buf_put_text(ret_why, "its origin was changed");
		e = e == ERR_OK ? ERR_INTEGRITY : e;
		goto out;
	}
	e = check_checkpoint(db, ret, ret_why);
out:
	buf_fini(&origin);
	return e;
}

/** recovered_fini() - Release what recover_log() found */
void recovered_fini(struct recovered *r)
{
	dangling_fini(&r->dangling);
}
