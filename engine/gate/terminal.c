/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.c - joins clients to programs in the guest
 *
 * Runs in: kenaz-gate.
 * Trusts:  core to have allowed the attachment.
 * Never:   relays a frame of the wrong direction, type or size, or anything
 *	    after EXIT; interprets terminal bytes (kenaz-vt does, in a jail of
 *	    its own).
 *
 * Theory of operation. Both sides speak engine/proto/frame.h. Frames are
 * taken whole, checked and written anew to the other side; a side that does
 * not read makes us stop reading the other. A guest that breaks the rules, or
 * ends without EXIT, becomes an ERROR frame for the client. A client that
 * hangs up closes the guest's stream.
 */
#include "engine/gate/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/gate/frame_rule.h"
#include "engine/gate/stream.h"

#define IN_MAX_BYTES  (FRAME_HEAD_BYTES + FRAME_DATA_MAX_BYTES)
#define OUT_MAX_BYTES (TERMINAL_OUT_HIGH_BYTES + 2 * IN_MAX_BYTES + 65536u)

struct terminal {
	LIST_ENTRY(terminal) next;
	struct terminals *set;
	uint64_t id;
	bool read_only;
	struct stream *client, *guest; /* guest is NULL once it ended */
	uint64_t to_guest_bytes, from_guest_bytes;
	bool has_code, signalled;
	int32_t code;
	enum err error;
	char text[256];
	uint64_t ending_ns; /* since when the rest is flushed; 0: running */
};

struct terminals {
	uv_loop_t *loop;
	struct chan *core; /* NULL while there is none */
	LIST_HEAD(terminal_list, terminal) list;
	LIST_HEAD(, terminal) unreported; /* ended without core */
};

static void report(struct terminal *t)
{
	struct msg_term_closed m = {
		.terminal = t->id,
		.error = t->error,
		.text = span_text(t->text),
		.has_code = t->has_code,
		.code = t->code,
		.signalled = t->signalled,
		.bytes_to_guest = t->to_guest_bytes,
		.bytes_from_guest = t->from_guest_bytes,
	};

	if (chan_send_term_closed(t->set->core, &m, NULL, 0) != ERR_OK)
		log_error("core was not told of a terminal's end");
	LIST_REMOVE(t, next);
	free(t);
}

static void terminal_free(struct terminal *t)
{
	stream_free(t->client);
	stream_free(t->guest);
	t->client = t->guest = NULL;
	if (t->set->core) {
		report(t);
		return;
	}
	LIST_REMOVE(t, next);
	LIST_INSERT_HEAD(&t->set->unreported, t, next);
}

/* No more from the guest; what the client has to get is flushed first. */
static void end(struct terminal *t, enum err error, const char *text)
{
	if (t->ending_ns)
		return;
	t->ending_ns = uv_hrtime();
	t->error = error;
	(void)snprintf(t->text, sizeof(t->text), "%s", text);
	stream_free(t->guest);
	t->guest = NULL;
}

static void end_with_error(struct terminal *t, enum err error, const char *text)
{
	struct buf b;

	if (t->ending_ns)
		return;
	buf_init(&b, 4096);
	if (frame_put(&b, FRAME_ERROR, 0, span_text(text)) == ERR_OK &&
	    stream_write(t->client, buf_span(&b)) != ERR_OK)
		log_debug("a terminal's client left without its error");
	buf_fini(&b);
	end(t, error, text);
}

static enum err relay(struct stream *to, const struct frame *f)
{
	struct buf b;
	enum err e;

	buf_init(&b, IN_MAX_BYTES);
	e = frame_put(&b, f->type, f->stream, f->data);
	if (e == ERR_OK)
		e = stream_write(to, buf_span(&b));
	buf_fini(&b);
	return e;
}

/* The guest's own words reach the client escaped. */
static void take_guest_error(struct terminal *t, const struct frame *f)
{
	char text[256];

	(void)text_escape_line(f->data, text, sizeof(text));
	end_with_error(t, ERR_UPSTREAM, text);
}

static enum err take_guest_frame(struct terminal *t, const struct frame *f)
{
	uint8_t signalled;
	enum err e;

	if (f->type == FRAME_ERROR) {
		take_guest_error(t, f);
		return ERR_OK;
	}
	if (f->type == FRAME_DATA)
		t->from_guest_bytes += f->data.len_bytes;
	e = relay(t->client, f);
	if (f->type != FRAME_EXIT)
		return e;
	if (frame_get_exit(f, &t->code, &signalled) == ERR_OK) {
		t->has_code = true;
		t->signalled = signalled != 0;
	}
	end(t, ERR_OK, "");
	return e;
}

static enum err take_client_frame(struct terminal *t, const struct frame *f)
{
	if (t->read_only)
		return ERR_OK;
	if (f->type == FRAME_DATA)
		t->to_guest_bytes += f->data.len_bytes;
	return relay(t->guest, f);
}

static bool has_room(const struct stream *to)
{
	return stream_pending_bytes(to) < TERMINAL_OUT_HIGH_BYTES;
}

/* Whole frames of one side, as far as the other has room. */
static enum err take_frames(struct terminal *t, bool from_guest)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && t->guest) {
		struct stream *from = from_guest ? t->guest : t->client;
		struct stream *to = from_guest ? t->client : t->guest;
		struct frame f;
		size_t taken;

		if (!has_room(to))
			return ERR_OK;
		e = frame_get(buf_span(&from->in), &f, &taken);
		if (e == ERR_AGAIN)
			return ERR_OK;
		if (e == ERR_OK && !frame_is_legal(&f, from_guest))
			e = ERR_FORMAT;
		if (e == ERR_OK)
			e = from_guest ? take_guest_frame(t, &f)
				       : take_client_frame(t, &f);
		if (e == ERR_OK && t->guest)
			buf_consume(&from->in, taken);
	}
	return e;
}

static void pump(struct terminal *t)
{
	enum err e = take_frames(t, true);

	if (e == ERR_FORMAT || e == ERR_LIMIT)
		end_with_error(t, ERR_FORMAT,
			       "the guest sent a malformed frame");
	/* ERR_CLOSED: a side that is gone is noticed by its status below. */
	if (t->guest)
		e = take_frames(t, false);
	if (t->guest && (e == ERR_FORMAT || e == ERR_LIMIT))
		end_with_error(t, ERR_FORMAT,
			       "the client sent a malformed frame");
	if (t->guest && t->guest->status != ERR_OK && has_room(t->client))
		end_with_error(t, ERR_CLOSED,
			       "the guest closed the stream without an exit "
			       "code");
}

static void on_event(struct stream *s)
{
	struct terminal *t = s->owner;

	pump(t);
	if (t->client->status != ERR_OK) {
		end(t, ERR_CLOSED, "the client left");
		terminal_free(t);
		return;
	}
	if (t->ending_ns && stream_pending_bytes(t->client) == 0) {
		terminal_free(t);
		return;
	}
	if (t->guest) {
		t->guest->paused = !has_room(t->client);
		t->client->paused = !has_room(t->guest);
		stream_update(t->guest);
	}
	stream_update(t->client);
}

static enum err put_line(struct terminal *t, struct span line)
{
	enum err e = stream_write(t->guest, line);

	if (e == ERR_OK &&
	    (!line.len_bytes || line.data[line.len_bytes - 1] != '\n'))
		e = stream_write(t->guest, span_text("\n"));
	return e;
}

/**
 * terminals_attach() - Join the two descriptors of a term_attach message
 * @set:	Set
 * @cm:		Message; its descriptors are taken
 *
 * Return: ERR_OK; what the codec returns.
 */
enum err terminals_attach(struct terminals *set, struct chan_message *cm)
{
	struct msg_term_attach m;
	struct terminal *t;
	enum err e = msg_term_attach_get(cm->payload, &m);

	if (e != ERR_OK)
		return e;
	t = calloc(1, sizeof(*t));
	if (!t)
		return ERR_MEMORY;
	t->set = set;
	t->id = m.terminal;
	t->read_only = m.read_only != 0;
	LIST_INSERT_HEAD(&set->list, t, next);
	e = stream_new(set->loop, cm->fds[0], IN_MAX_BYTES, OUT_MAX_BYTES,
		       on_event, t, &t->client);
	cm->fds[0] = -1;
	if (e == ERR_OK) {
		t->client->watch_hangup = true;
		stream_update(t->client);
		e = stream_new(set->loop, cm->fds[1], IN_MAX_BYTES,
			       OUT_MAX_BYTES, on_event, t, &t->guest);
		cm->fds[1] = -1;
	}
	if (e == ERR_OK)
		e = put_line(t, m.line);
	if (e != ERR_OK) {
		t->error = e;
		(void)snprintf(t->text, sizeof(t->text),
			       "the streams cannot be joined");
		terminal_free(t);
	}
	return ERR_OK;
}

/**
 * terminals_set_core() - Speak to another core, or to none for now
 * @set:	Set
 * @core:	Borrowed; it is told of what ended meanwhile. NULL: none
 */
void terminals_set_core(struct terminals *set, struct chan *core)
{
	struct terminal *t;

	set->core = core;
	while (core && (t = LIST_FIRST(&set->unreported)))
		report(t);
}

/**
 * terminals_put() - Append the number of each terminal core was not told of
 * @set:	Set
 * @out:	Gets a u64 for each: open, or ended and unreported
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err terminals_put(const struct terminals *set, struct buf *out)
{
	const struct terminal *t;
	enum err e = ERR_OK;

	for (t = LIST_FIRST(&set->list); e == ERR_OK && t;
	     t = LIST_NEXT(t, next))
		e = buf_put_u64(out, t->id);
	for (t = LIST_FIRST(&set->unreported); e == ERR_OK && t;
	     t = LIST_NEXT(t, next))
		e = buf_put_u64(out, t->id);
	return e;
}

/** terminals_tick() - Drop clients that do not take their last bytes */
void terminals_tick(struct terminals *set, uint64_t now_ns)
{
	struct terminal *t, *after;

	for (t = LIST_FIRST(&set->list); t; t = after) {
		after = LIST_NEXT(t, next);
		if (t->ending_ns && now_ns > t->ending_ns &&
		    now_ns - t->ending_ns > TERMINAL_FLUSH_MAX_NS)
			terminal_free(t);
	}
}

/** terminals_new() - Prepare for attachments */
enum err terminals_new(uv_loop_t *loop, struct chan *core,
		       struct terminals **ret_terminals)
{
	struct terminals *set = calloc(1, sizeof(*set));

	if (!set)
		return ERR_MEMORY;
	set->loop = loop;
	set->core = core;
	LIST_INIT(&set->list);
	LIST_INIT(&set->unreported);
	*ret_terminals = set;
	return ERR_OK;
}
