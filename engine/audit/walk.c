/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.c - the stored log in order: events, their payloads, checkpoints
 *
 * Runs in: kenaz-audit (dumps), kenaz-verify.
 * Trusts:  nothing: it only puts rows in order, the handler judges them.
 * Never:   skips a row: a checkpoint or payload that fits no event is handed
 *	    on where it stands, so that the handler can refuse it.
 */
#include "engine/audit/walk.h"

#include <string.h>

#include "engine/audit/note.h"
#include "engine/audit/payload.h"
#include "engine/audit/segment.h"

static enum err take_checkpoint(void *context, uint64_t size, struct span note)
{
	struct walk *w = context;

	if (note.len_bytes > NOTE_MAX_BYTES)
		return ERR_INTEGRITY;
	w->has_checkpoint = true;
	w->checkpoint_size = size;
	buf_reset(&w->note);
	return buf_put_span(&w->note, note);
}

static enum err load_checkpoint(struct walk *w, uint64_t from_size)
{
	w->has_checkpoint = false;
	return db_scan_checkpoints(w->db, from_size, 1, take_checkpoint, w);
}

static enum err hash_segment(struct walk *w, const struct db_payload *p)
{
	struct buf cipher;
	enum err e;

	if (w->segment_dir_fd < 0 ||
	    p->len_bytes > PAYLOAD_MAX_BYTES + PAYLOAD_OVERHEAD_BYTES)
		return ERR_OK;
	buf_init(&cipher, PAYLOAD_MAX_BYTES + PAYLOAD_OVERHEAD_BYTES);
	e = segment_read(w->segment_dir_fd, p->segment, p->offset,
			 (size_t)p->len_bytes, &cipher);
	if (e == ERR_OK) {
		digest_sha256(buf_span(&cipher), w->payload.digest);
		w->payload.readable = true;
	}
	buf_fini(&cipher);
	return e == ERR_MEMORY ? e : ERR_OK;
}

static enum err take_payload(void *context, uint64_t seq, unsigned int part,
			     const struct db_payload *p)
{
	struct walk *w = context;

	w->has_payload = true;
	w->payload = (struct walk_payload){.seq = seq,
					   .part = part,
					   .len_bytes = p->len_bytes};
	if (p->in_segment)
		return hash_segment(w, p);
	digest_sha256(p->cipher, w->payload.digest);
	w->payload.readable = true;
	return ERR_OK;
}

static enum err load_payload(struct walk *w, uint64_t from_seq)
{
	w->has_payload = false;
	return db_scan_payloads(w->db, from_seq, 1, take_payload, w);
}

/**
 * walk_init() - Stand before an event
 * @w:			Caller's memory
 * @db:			Borrowed
 * @segment_dir_fd:	Directory of segments, borrowed, or -1
 * @from:		First seq
 * @end:		Seq to stop before; UINT64_MAX: all there is
 *
 * Return: ERR_OK, or the database's failure.
 */
enum err walk_init(struct walk *w, struct db *db, int segment_dir_fd,
		   uint64_t from, uint64_t end)
{
	enum err e;

	*w = (struct walk){.db = db,
			   .segment_dir_fd = segment_dir_fd,
			   .next = from,
			   .end = end};
	buf_init(&w->note, NOTE_MAX_BYTES);
	e = load_checkpoint(w, from ? from + 1 : 0);
	return e == ERR_OK ? load_payload(w, from) : e;
}

/** walk_fini() - Release memory; a zeroed walk is accepted */
void walk_fini(struct walk *w)
{
	buf_fini(&w->note);
}

/* Payloads up to this event, then checkpoints up to the size it makes. */
static enum err hand_on(struct walk *w, uint64_t seq)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && w->has_payload && w->payload.seq <= seq) {
		e = w->handler->on_payload(w->context, &w->payload);
		/* One part for each event so far; the next is a later one. */
		if (e == ERR_OK)
			e = load_payload(w, w->payload.seq + 1);
	}
	while (e == ERR_OK && w->has_checkpoint &&
	       w->checkpoint_size <= seq + 1) {
		e = w->handler->on_checkpoint(w->context, w->checkpoint_size,
					      buf_span(&w->note));
		if (e == ERR_OK)
			e = load_checkpoint(w, w->checkpoint_size + 1);
	}
	return e;
}

static enum err on_event(void *context, uint64_t seq,
			 const struct tree_hash *leaf, struct span bytes)
{
	struct walk *w = context;
	enum err e = w->handler->on_event(w->context, seq, leaf, bytes);

	w->next = seq + 1;
	return e == ERR_OK ? hand_on(w, seq) : e;
}

/**
 * walk_some() - Go on for a number of events
 * @w:			Walk
 * @max_events:		At most so many
 * @handler:		Borrowed for the call
 * @context:		For @handler
 * @ret_done:		Whether the end was reached; written on success
 *
 * Return: ERR_OK; the database's failure; what the handler returned.
 */
enum err walk_some(struct walk *w, uint64_t max_events,
		   const struct walk_handler *handler, void *context,
		   bool *ret_done)
{
	uint64_t before = w->next, left = w->end - w->next;
	enum err e;

	w->handler = handler;
	w->context = context;
	if (max_events > left)
		max_events = left;
	e = max_events ? db_scan_events(w->db, w->next, max_events, on_event, w)
		       : ERR_OK;
	if (e != ERR_OK)
		return e;
	*ret_done = w->next == w->end || w->next == before;
	/* What is left fits no event: the handler must know. */
	if (*ret_done && w->end == UINT64_MAX)
		e = hand_on(w, UINT64_MAX - 1);
	return e;
}
