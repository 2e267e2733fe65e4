/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump.c - the log as one stream: writer and reader of its records
 *
 * Runs in: kenaz-audit (writes), kenaz-verify (reads).
 * Trusts:  nothing that it reads.
 * Never:   takes a stream that was cut for a whole one.
 *
 * A dump is DUMP_MAGIC and records: u8 type, u32 little-endian length,
 * payload. First the header, then perhaps the anchor, then each event with
 * its payloads and checkpoints behind it, then the end record, which carries
 * the number of events and the SHA-256 of everything before it. The exact
 * layout is in docs/audit-format.md.
 */
#include "engine/audit/dump.h"

#include <string.h>

#include "engine/audit/note.h"
#include "engine/audit/record.h"

#define MAGIC_BYTES   (sizeof(DUMP_MAGIC) - 1)
#define PAYLOAD_BYTES (8u + 1u + 1u + 8u + DIGEST_BYTES)
#define END_BYTES     (8u + DIGEST_BYTES)

/**
 * dump_writer_init() - Start a dump
 * @w:	Caller's memory; dump_writer_fini() it
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err dump_writer_init(struct dump_writer *w)
{
	*w = (struct dump_writer){.events = 0};
	return digest_new(&w->digest);
}

/** dump_writer_fini() - Release memory; a zeroed writer is accepted */
void dump_writer_fini(struct dump_writer *w)
{
	digest_free(w->digest);
	w->digest = NULL;
}

static enum err put_head(struct buf *out, enum dump_type type, size_t len)
{
	enum err e = buf_put_u8(out, (uint8_t)type);

	return e == ERR_OK ? buf_put_u32(out, (uint32_t)len) : e;
}

/* Hash what was appended since @before, unless appending failed. */
static enum err finish(struct dump_writer *w, struct buf *out, size_t before,
		       enum err e)
{
	if (e == ERR_OK)
		digest_update(w->digest, span_of(out->data + before,
						 out->len_bytes - before));
	else
		buf_truncate(out, before);
	return e;
}

/**
 * dump_put_header() - Append the magic and the header
 * @w:		Writer
 * @from:	Seq of the first event that follows
 * @size:	Size of the log; events up to it follow
 * @origin:	Name of the log
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err dump_put_header(struct dump_writer *w, uint64_t from, uint64_t size,
			 const char *origin, struct buf *out)
{
	size_t before = out->len_bytes;
	enum err e = buf_put_text(out, DUMP_MAGIC);

	if (e == ERR_OK)
		e = put_head(out, DUMP_HEADER, 16 + strlen(origin));
	if (e == ERR_OK)
		e = buf_put_u64(out, from);
	if (e == ERR_OK)
		e = buf_put_u64(out, size);
	if (e == ERR_OK)
		e = buf_put_text(out, origin);
	return finish(w, out, before, e);
}

static enum err put_run(struct dump_writer *w, enum dump_type type,
			struct span bytes, struct buf *out)
{
	size_t before = out->len_bytes;
	enum err e = put_head(out, type, bytes.len_bytes);

	if (e == ERR_OK)
		e = buf_put_span(out, bytes);
	return finish(w, out, before, e);
}

/** dump_put_anchor() - Append the anchor's note; as dump_put_header() */
enum err dump_put_anchor(struct dump_writer *w, struct span note,
			 struct buf *out)
{
	return put_run(w, DUMP_ANCHOR, note, out);
}

/** dump_put_event() - Append an event's bytes; as dump_put_header() */
enum err dump_put_event(struct dump_writer *w, struct span bytes,
			struct buf *out)
{
	w->events++;
	return put_run(w, DUMP_EVENT, bytes, out);
}

/** dump_put_payload() - Append a ciphertext's hash; as dump_put_header() */
enum err dump_put_payload(struct dump_writer *w, const struct walk_payload *p,
			  struct buf *out)
{
	size_t before = out->len_bytes;
	enum err e = put_head(out, DUMP_PAYLOAD, PAYLOAD_BYTES);

	if (e == ERR_OK)
		e = buf_put_u64(out, p->seq);
	if (e == ERR_OK)
		e = buf_put_u8(out, (uint8_t)p->part);
	if (e == ERR_OK)
		e = buf_put_u8(out, p->readable ? 1 : 0);
	if (e == ERR_OK)
		e = buf_put_u64(out, p->len_bytes);
	if (e == ERR_OK)
		e = buf_put(out, p->digest, DIGEST_BYTES);
	return finish(w, out, before, e);
}

/** dump_put_checkpoint() - Append a checkpoint; as dump_put_header() */
enum err dump_put_checkpoint(struct dump_writer *w, uint64_t size,
			     struct span note, struct buf *out)
{
	size_t before = out->len_bytes;
	enum err e = put_head(out, DUMP_CHECKPOINT, 8 + note.len_bytes);

	if (e == ERR_OK)
		e = buf_put_u64(out, size);
	if (e == ERR_OK)
		e = buf_put_span(out, note);
	return finish(w, out, before, e);
}

/** dump_put_end() - Append the end record; nothing may follow */
enum err dump_put_end(struct dump_writer *w, struct buf *out)
{
	uint8_t digest[DIGEST_BYTES];
	size_t before = out->len_bytes;
	enum err e;

	digest_finish(w->digest, digest);
	e = put_head(out, DUMP_END, END_BYTES);
	if (e == ERR_OK)
		e = buf_put_u64(out, w->events);
	if (e == ERR_OK)
		e = buf_put(out, digest, DIGEST_BYTES);
	if (e != ERR_OK)
		buf_truncate(out, before);
	return e;
}

/**
 * dump_reader_init() - Start reading a dump
 * @r:	Caller's memory; dump_reader_fini() it
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err dump_reader_init(struct dump_reader *r)
{
	*r = (struct dump_reader){.events = 0};
	buf_init(&r->pending, 2 * DUMP_RECORD_MAX_BYTES);
	return digest_new(&r->digest);
}

/** dump_reader_fini() - Release memory; a zeroed reader is accepted */
void dump_reader_fini(struct dump_reader *r)
{
	digest_free(r->digest);
	r->digest = NULL;
	buf_fini(&r->pending);
}

static enum err malformed(struct dump_reader *r, const char *fault)
{
	r->fault = fault;
	return ERR_FORMAT;
}

static enum err read_header(struct dump_reader *r, struct reader *in,
			    const struct dump_handler *h, void *context)
{
	struct span origin;

	r->from = reader_get_u64(in);
	r->size = reader_get_u64(in);
	origin = reader_get_span(in, reader_left(in));
	if (in->status != ERR_OK || r->from > r->size ||
	    r->size > TREE_SIZE_MAX || origin.len_bytes == 0 ||
	    origin.len_bytes > NOTE_NAME_MAX_BYTES)
		return malformed(r, "the header is malformed");
	r->headed = true;
	return h->on_header(context, r->from, r->size, origin);
}

static enum err read_payload(struct dump_reader *r, struct reader *in,
			     const struct dump_handler *h, void *context)
{
	struct walk_payload p = {.seq = reader_get_u64(in)};
	uint8_t readable;
	struct span digest;

	p.part = reader_get_u8(in);
	readable = reader_get_u8(in);
	p.len_bytes = reader_get_u64(in);
	digest = reader_get_span(in, DIGEST_BYTES);
	if (in->status != ERR_OK || reader_left(in) || readable > 1)
		return malformed(r, "a payload record is malformed");
	p.readable = readable == 1;
	memcpy(p.digest, digest.data, DIGEST_BYTES);
	return h->on_payload(context, &p);
}

static enum err read_end(struct dump_reader *r, struct reader *in)
{
	uint8_t found[DIGEST_BYTES];
	uint64_t events = reader_get_u64(in);
	struct span digest = reader_get_span(in, DIGEST_BYTES);

	if (in->status != ERR_OK || reader_left(in))
		return malformed(r, "the end record is malformed");
	digest_finish(r->digest, found);
	if (events != r->events || r->events != r->size - r->from ||
	    !digest_equal(digest.data, found))
		return malformed(r, "the dump was changed on its way: its end "
				    "record does not fit");
	r->ended = true;
	return ERR_OK;
}

static enum err read_record(struct dump_reader *r, uint8_t type,
			    struct span body, const struct dump_handler *h,
			    void *context)
{
	struct reader in;
	uint64_t size;

	reader_init(&in, body);
	if (!r->headed && type != DUMP_HEADER)
		return malformed(r, "the header is missing");
	switch (type) {
	case DUMP_HEADER:
		return r->headed ? malformed(r, "there are two headers")
				 : read_header(r, &in, h, context);
	case DUMP_ANCHOR:
		return r->events ? malformed(r, "the anchor comes late")
				 : h->on_anchor(context, body);
	case DUMP_EVENT:
		r->events++;
		return h->on_event(context, body);
	case DUMP_PAYLOAD:
		return read_payload(r, &in, h, context);
	case DUMP_CHECKPOINT:
		size = reader_get_u64(&in);
		if (in.status != ERR_OK)
			return malformed(r, "a checkpoint is malformed");
		return h->on_checkpoint(context, size,
					reader_get_span(&in, reader_left(&in)));
	case DUMP_END:
		return read_end(r, &in);
	default:
		return malformed(r, "a record is of no known type");
	}
}

/* Take one whole record from the front; ERR_AGAIN when it is not all here. */
static enum err take(struct dump_reader *r, struct span *in,
		     const struct dump_handler *h, void *context)
{
	struct span body, whole;
	struct reader head;
	uint32_t len;
	uint8_t type;
	enum err e;

	if (!r->begun) {
		if (in->len_bytes < MAGIC_BYTES)
			return ERR_AGAIN;
		if (memcmp(in->data, DUMP_MAGIC, MAGIC_BYTES) != 0)
			return malformed(r, "this is no dump of a Kenaz log");
		digest_update(r->digest, span_of(in->data, MAGIC_BYTES));
		*in = span_of(in->data + MAGIC_BYTES,
			      in->len_bytes - MAGIC_BYTES);
		r->begun = true;
	}
	if (in->len_bytes < DUMP_RECORD_HEAD_BYTES)
		return ERR_AGAIN;
	if (r->ended)
		return malformed(r, "something follows the end record");
	reader_init(&head, *in);
	type = reader_get_u8(&head);
	len = reader_get_u32(&head);
	if (len > DUMP_RECORD_MAX_BYTES - DUMP_RECORD_HEAD_BYTES)
		return malformed(r, "a record is too long");
	if (reader_left(&head) < len)
		return ERR_AGAIN;
	body = reader_get_span(&head, len);
	whole = span_of(in->data, DUMP_RECORD_HEAD_BYTES + len);
	if (type != DUMP_END)
		digest_update(r->digest, whole);
	e = read_record(r, type, body, h, context);
	*in = span_of(in->data + whole.len_bytes,
		      in->len_bytes - whole.len_bytes);
	return e;
}

static enum err take_all(struct dump_reader *r, struct span *in,
			 const struct dump_handler *h, void *context)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && in->len_bytes)
		e = take(r, in, h, context);
	return e == ERR_AGAIN ? ERR_OK : e;
}

/**
 * dump_reader_feed() - Read what arrived
 * @r:		Reader
 * @bytes:	The next bytes of the stream, borrowed
 * @handler:	Called for every whole record
 * @context:	For @handler
 *
 * Return: ERR_OK; ERR_FORMAT, see r->fault; ERR_MEMORY; what the handler
 *	   returned.
 */
enum err dump_reader_feed(struct dump_reader *r, struct span bytes,
			  const struct dump_handler *handler, void *context)
{
	struct span in;
	size_t step;
	enum err e = ERR_OK;

	while (e == ERR_OK && bytes.len_bytes) {
		step = r->pending.max_bytes - r->pending.len_bytes;
		if (step > bytes.len_bytes)
			step = bytes.len_bytes;
		e = buf_put(&r->pending, bytes.data, step);
		bytes = span_of(bytes.data + step, bytes.len_bytes - step);
		if (e != ERR_OK)
			return e;
		in = buf_span(&r->pending);
		e = take_all(r, &in, handler, context);
		buf_consume(&r->pending, r->pending.len_bytes - in.len_bytes);
	}
	if (e == ERR_OK && r->ended && r->pending.len_bytes)
		e = malformed(r, "something follows the end record");
	return e;
}

/**
 * dump_reader_finish() - After the stream's end
 * @r:	Reader
 *
 * Return: ERR_OK; ERR_SHORT when the stream ended early, see r->fault.
 */
enum err dump_reader_finish(struct dump_reader *r)
{
	if (r->ended)
		return ERR_OK;
	r->fault = "the dump ends early";
	return ERR_SHORT;
}
