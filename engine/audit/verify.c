/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify.c - whether a log is what its checkpoints and its anchor say
 *
 * Runs in: kenaz-verify, and wherever a dump is checked.
 * Trusts:  the anchor, when there is one; nothing else.
 * Never:   does I/O; goes on after the first thing that is wrong.
 *
 * Theory of operation: events and checkpoints are pushed in order. Each
 * event must be in the canonical spelling, carry the next number and the
 * hash of the event before; its leaf goes into a tree of our own. Each
 * checkpoint must be signed by the key of the epoch that its last event lies
 * in, by no other, and carry our root. An epoch must begin with the key that
 * the one before announced and end with a checkpoint, so that a thief of a
 * later key can neither rewrite nor extend it. The anchor must be one of our
 * roots. docs/audit-format.md says all this for independent verifiers.
 */
#include "engine/audit/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/audit/anchor.h"

/** verify_init() - Before the first event */
void verify_init(struct verify *v)
{
	*v = (struct verify){.failed = false};
	tree_init(&v->tree);
	epoch_ledger_init(&v->ledger);
	buf_init(&v->anchor_note, NOTE_MAX_BYTES);
	buf_init(&v->scratch, RECORD_MAX_BYTES);
}

/** verify_fini() - Release memory */
void verify_fini(struct verify *v)
{
	buf_fini(&v->anchor_note);
	buf_fini(&v->scratch);
}

__attribute__((format(printf, 3, 4))) static enum err
bad(struct verify *v, uint64_t seq, const char *format, ...)
{
	va_list args;

	if (v->failed)
		return ERR_INTEGRITY;
	v->failed = true;
	v->report.bad_seq = seq;
	va_start(args, format);
	(void)vsnprintf(v->report.what, sizeof(v->report.what), format, args);
	va_end(args);
	return ERR_INTEGRITY;
}

/**
 * verify_anchor() - Give the anchor, before the events
 * @v:		Verification
 * @note:	Signed checkpoint, borrowed
 *
 * Return: ERR_OK; ERR_INTEGRITY when it is no checkpoint; ERR_MEMORY.
 */
enum err verify_anchor(struct verify *v, struct span note)
{
	enum err e;

	if (note.len_bytes > NOTE_MAX_BYTES ||
	    anchor_parse(note, &v->anchor) != ERR_OK)
		return bad(v, 0, "the anchor is no signed checkpoint");
	buf_reset(&v->anchor_note);
	e = buf_put_span(&v->anchor_note, note);
	v->has_anchor = e == ERR_OK;
	v->report.has_anchor = v->has_anchor;
	v->report.anchor_size = v->anchor.size;
	return e;
}

static enum err check_anchor(struct verify *v, uint64_t seq)
{
	struct tree_hash root;
	struct span text;

	if (!v->has_anchor || v->tree.size != v->anchor.size)
		return ERR_OK;
	tree_root(&v->tree, &root);
	if (!digest_equal(root.bytes, v->anchor.root.bytes))
		return bad(v, seq,
			   "the log was rewritten: its first %" PRIu64
			   " events are not those of the anchor",
			   v->anchor.size);
	if (note_verify(buf_span(&v->anchor_note), &v->ledger.key, &text) !=
	    ERR_OK)
		return bad(v, seq,
			   "the anchor is not signed by the key of epoch "
			   "%" PRIu64,
			   v->ledger.number);
	v->anchor_seen = true;
	return ERR_OK;
}

/* The writer's own functions must give the same bytes again. */
static enum err check_spelling(struct verify *v, const struct record_view *view,
			       struct span bytes)
{
	enum err e;

	buf_reset(&v->scratch);
	e = record_rewrite(view, &v->scratch);
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK || !span_equal(buf_span(&v->scratch), bytes))
		return bad(v, v->tree.size,
			   "its bytes are not in the canonical spelling");
	return ERR_OK;
}

static enum err follow_epoch(struct verify *v, const struct record_view *view)
{
	uint64_t epoch = v->ledger.number, seq = v->tree.size;
	bool rotated = span_is(view->kind, kind_text(KIND_KEY_ROTATED));
	const char *fault = "";
	struct buf vkey = {.data = (uint8_t *)v->report.first_key,
			   .cap_bytes = NOTE_VKEY_MAX_BYTES,
			   .max_bytes = NOTE_VKEY_MAX_BYTES};

	if (rotated && v->ledger.begun && v->last_checkpoint != seq)
		return bad(v, v->last_checkpoint,
			   "epoch %" PRIu64 " ends without a checkpoint: "
			   "nothing signs its events from here on",
			   epoch);
	if (epoch_ledger_feed(&v->ledger, view, &fault) != ERR_OK)
		return bad(v, seq, "%s", fault);
	if (!rotated)
		return ERR_OK;
	v->report.epochs++;
	if (seq > 0)
		return strcmp(v->report.origin, v->ledger.key.name) == 0
			       ? ERR_OK
			       : bad(v, seq, "the log's origin changes");
	memcpy(v->report.origin, v->ledger.key.name, sizeof(v->report.origin));
	return note_key_write(&v->ledger.key, &vkey);
}

static enum err check_event(struct verify *v, const struct tree_hash *stored,
			    struct span bytes, struct record_view *view,
			    struct tree_hash *ret_leaf)
{
	uint64_t seq = v->tree.size;
	const char *fault = "";

	record_leaf(bytes, ret_leaf->bytes);
	if (stored && !digest_equal(stored->bytes, ret_leaf->bytes))
		return bad(v, seq, "its bytes do not have the stored hash");
	if (record_read(bytes, view, &fault) != ERR_OK)
		return bad(v, seq,
			   "its bytes are not in the canonical spelling "
			   "(expected %s)",
			   fault);
	if (view->seq != seq)
		return bad(v, seq,
			   "the event here carries number %" PRIu64
			   ": one was inserted, removed or moved",
			   view->seq);
	if (!digest_equal(view->prev, v->prev.bytes))
		return bad(v, seq,
			   "it does not follow the event before it (prev)");
	return check_spelling(v, view, bytes);
}

/**
 * verify_event() - Check the next event
 * @v:			Verification
 * @stored_leaf:	Hash stored beside it, or NULL
 * @bytes:		Stored bytes, borrowed
 *
 * Return: ERR_OK; ERR_INTEGRITY, see the report; ERR_LIMIT; ERR_MEMORY.
 */
enum err verify_event(struct verify *v, const struct tree_hash *stored_leaf,
		      struct span bytes)
{
	uint64_t seq = v->tree.size;
	struct record_view view;
	struct tree_hash leaf;
	enum err e;

	if (v->failed)
		return ERR_INTEGRITY;
	e = check_event(v, stored_leaf, bytes, &view, &leaf);
	if (e == ERR_OK)
		e = follow_epoch(v, &view);
	if (e == ERR_OK)
		e = tree_append(&v->tree, &leaf);
	if (e != ERR_OK)
		return e;
	v->prev = leaf;
	v->report.events++;
	v->report.bytes += bytes.len_bytes;
	v->report.payloads_committed += view.payload_count;
	if (seq == 0)
		v->report.first_wall_us = view.wall_us;
	v->report.last_wall_us = view.wall_us;
	v->commit_seq = seq;
	v->commit_count = view.payload_count;
	memcpy(v->commits, view.payloads,
	       view.payload_count * sizeof(v->commits[0]));
	return check_anchor(v, seq);
}

/**
 * verify_payload() - Check a stored ciphertext of the event just pushed
 * @v:		Verification
 * @seq:	Its event
 * @part:	Which payload of it
 * @digest:	SHA-256 of the ciphertext
 *
 * Return: ERR_OK; ERR_INTEGRITY, see the report.
 */
enum err verify_payload(struct verify *v, uint64_t seq, unsigned int part,
			const uint8_t digest[DIGEST_BYTES])
{
	if (v->failed)
		return ERR_INTEGRITY;
	if (v->report.events == 0 || seq != v->commit_seq ||
	    part >= v->commit_count)
		return bad(v, seq,
			   "a payload lies beside it that it does not "
			   "speak of");
	if (!digest_equal(digest, v->commits[part].cipher))
		return bad(v, seq, "its payload was changed");
	v->report.payloads++;
	return ERR_OK;
}

/**
 * verify_checkpoint() - Check a checkpoint, right after its last event
 * @v:		Verification
 * @size:	Size it is stored under
 * @note:	Signed note, borrowed
 *
 * Return: ERR_OK; ERR_INTEGRITY, see the report.
 */
enum err verify_checkpoint(struct verify *v, uint64_t size, struct span note)
{
	uint64_t at = size ? size - 1 : 0;
	struct tree_hash root;
	struct checkpoint c;
	struct span text;
	enum err e;

	if (v->failed)
		return ERR_INTEGRITY;
	if (size != v->tree.size || size == 0)
		return bad(v, v->tree.size,
			   "a checkpoint says that there are %" PRIu64
			   " events; here are %" PRIu64,
			   size, v->tree.size);
	if (size <= v->last_checkpoint)
		return bad(v, at, "two checkpoints are of the same size");
	e = note_verify(note, &v->ledger.key, &text);
	if (e == ERR_NOT_FOUND)
		return bad(v, at,
			   "the checkpoint at %" PRIu64 " is signed by "
			   "another key than that of its epoch %" PRIu64,
			   size, v->ledger.number);
	if (e == ERR_INTEGRITY)
		return bad(v, at,
			   "the signature of the checkpoint at %" PRIu64
			   " is wrong",
			   size);
	if (e != ERR_OK || checkpoint_read(text, &c) != ERR_OK)
		return bad(v, at, "the checkpoint at %" PRIu64 " is malformed",
			   size);
	tree_root(&v->tree, &root);
	if (c.size != size || strcmp(c.origin, v->report.origin) != 0 ||
	    !digest_equal(c.root.bytes, root.bytes))
		return bad(v, at,
			   "the checkpoint at %" PRIu64
			   " is not of these events",
			   size);
	v->last_checkpoint = size;
	v->report.checkpoints++;
	return ERR_OK;
}

/**
 * verify_finish() - After the last event and checkpoint
 * @v:	Verification; its report is complete afterwards
 *
 * Return: ERR_OK; ERR_INTEGRITY, see the report.
 */
enum err verify_finish(struct verify *v)
{
	uint64_t size = v->tree.size;

	tree_root(&v->tree, &v->report.root);
	if (v->failed)
		return ERR_INTEGRITY;
	if (size == 0)
		return bad(v, 0, "the log has no events");
	if (v->has_anchor && strcmp(v->anchor.origin, v->report.origin) != 0)
		return bad(v, 0, "the anchor belongs to another log");
	if (v->has_anchor && v->anchor.size > size)
		return bad(v, size,
			   "the log was cut or rolled back: the anchor says "
			   "%" PRIu64 " events, here are %" PRIu64,
			   v->anchor.size, size);
	if (v->last_checkpoint != size)
		return bad(v, v->last_checkpoint,
			   "nothing signs the events from here on: the last "
			   "checkpoint is missing");
	if (v->has_anchor && v->anchor.size > 0 && !v->anchor_seen)
		return bad(v, size, "the anchor was not met");
	v->report.ok = true;
	return ERR_OK;
}
