/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.c - clients joined to programs in a guest
 *
 * Runs in: kenazd.
 * Trusts:  the gate to relay frames; core sees none of their bytes.
 * Never:   joins a client before terminal.attached is durable.
 *
 * Order: stream to the guest -> terminal.attached durable -> the control
 * connection answers -> its socket and the stream go to the gate.
 */
#include "engine/core/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/keeping.h"
#include "engine/core/session_record.h"

struct terminal {
	LIST_ENTRY(terminal) next;
	struct session *session;
	uint64_t id;
	char *line;
	char actor[ACTOR_MAX_BYTES];
	char what[256];
	int stream_fd;
	/* ended: with its session, while its client was being answered. */
	bool read_only, durable, joined, ended;
	terminal_ready_fn ready;
	void *context;
};

static void terminal_free(struct terminal *t)
{
	audit_forget(t->session->engine, t);
	session_stream_forget(t->session, t);
	if (t->stream_fd >= 0)
		close(t->stream_fd);
	LIST_REMOVE(t, next);
	t->session->n_terminals--;
	free(t->line);
	free(t);
}

static void fail(struct terminal *t, enum err error, const char *text)
{
	terminal_ready_fn ready = t->ready;
	void *context = t->context;

	t->ready = NULL;
	terminal_free(t);
	if (ready)
		ready(context, error, text, NULL);
}

static void on_durable(void *context, struct audit_outcome *o)
{
	struct terminal *t = context;
	terminal_ready_fn ready = t->ready;

	if (o->error != ERR_OK) {
		fail(t, o->error, o->text);
		return;
	}
	t->durable = true;
	t->ready = NULL;
	if (ready)
		ready(t->context, ERR_OK, "", t);
	else
		terminal_free(t);
}

static enum err put(struct terminal *t, struct buf *b)
{
	enum err err = attrs_put_u64(b, "kenaz.terminal", t->id);

	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.command", span_text(t->what));
	return err == ERR_OK
		       ? attrs_put_bool(b, "kenaz.read_only", t->read_only)
		       : err;
}

static void on_stream(void *context, enum err error, int fd, uint32_t host_port)
{
	struct terminal *t = context;
	struct session *s = t->session;
	struct audit_event event = {.kind = "terminal.attached",
				    .session = s->id,
				    .actor = t->actor,
				    .payload_fd = -1};
	struct buf b;
	enum err err;

	(void)host_port;
	if (error != ERR_OK) {
		fail(t, error, "the guest does not accept connections");
		return;
	}
	t->stream_fd = fd;
	buf_init(&b, 4096);
	err = put(t, &b);
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, on_durable, t);
	buf_fini(&b);
	if (err != ERR_OK)
		fail(t, err, "the log cannot be written");
}

/**
 * terminal_new() - Prepare a stream for a program in a guest
 * @s:			Session
 * @actor:		Who, for the log
 * @line:		JSON line that opens the guest's side
 * @what:		Command, for the log
 * @read_only:		Drop the client's input
 * @ready:		Called once, perhaps before this returns
 * @context:		For @ready
 * @ret_terminal:	Written before @ready runs; NULL after an error
 *
 * Return: ERR_OK; ERR_STATE when the session is not ready; ERR_LIMIT;
 *	   ERR_MEMORY; ERR_CLOSED. @ready is not called after an error.
 */
enum err terminal_new(struct session *s, const char *actor, const char *line,
		      const char *what, bool read_only, terminal_ready_fn ready,
		      void *context, struct terminal **ret_terminal)
{
	struct terminal *t;
	enum err err;

	if (!session_is_live(s))
		return ERR_STATE;
	if (s->n_terminals >= SESSION_TERMINALS_MAX)
		return ERR_LIMIT;
	t = calloc(1, sizeof(*t));
	if (!t || !(t->line = strdup(line))) {
		free(t);
		return ERR_MEMORY;
	}
	t->session = s;
	t->id = engine_next_request(s->engine);
	t->stream_fd = -1;
	t->read_only = read_only;
	t->ready = ready;
	t->context = context;
	(void)snprintf(t->actor, sizeof(t->actor), "%s", actor);
	(void)text_escape_line(span_text(what), t->what, sizeof(t->what));
	LIST_INSERT_HEAD(&s->terminals, t, next);
	s->n_terminals++;
	*ret_terminal = t;
	err = session_stream(s, on_stream, t);
	if (err != ERR_OK) {
		*ret_terminal = NULL;
		terminal_free(t);
	}
	return err;
}

/** terminal_id() - Number of a terminal, for clients and the log */
uint64_t terminal_id(const struct terminal *t)
{
	return t->id;
}

static void note_detached(struct terminal *t, const struct msg_term_closed *m,
			  const char *reason)
{
	struct buf b;
	enum err err;

	if (!t->durable)
		return;
	buf_init(&b, 8192);
	err = put(t, &b);
	if (err == ERR_OK && m) {
		err = attrs_put_u64(&b, "kenaz.bytes_to_guest",
				    m->bytes_to_guest);
		if (err == ERR_OK)
			err = attrs_put_u64(&b, "kenaz.bytes_from_guest",
					    m->bytes_from_guest);
		if (err == ERR_OK && m->has_code)
			err = attrs_put_i64(
				&b,
				m->signalled ? "kenaz.guest_claimed.signal"
					     : "kenaz.guest_claimed.exit_code",
				m->code);
	}
	if (err == ERR_OK && reason && reason[0])
		err = attrs_put_text(&b, "kenaz.reason", span_text(reason));
	if (err == ERR_OK)
		audit_note(t->session->engine, "terminal.detached",
			   t->session->id, t->actor, buf_span(&b));
	buf_fini(&b);
}

/**
 * terminal_join() - Pass the client's socket and the stream to the gate
 * @t:		Ready terminal
 * @client_fd:	Owned from here on
 *
 * Return: ERR_OK; ERR_CLOSED. The terminal is gone after an error.
 */
enum err terminal_join(struct terminal *t, int client_fd)
{
	struct msg_term_attach m = {.terminal = t->id,
				    .line = span_text(t->line),
				    .read_only = t->read_only ? 1 : 0};
	struct session *s = t->session;
	int fds[2] = {client_fd, t->stream_fd};
	enum err err;

	t->stream_fd = -1;
	if (t->ended) {
		close(fds[0]);
		terminal_free(t);
		return ERR_CLOSED;
	}
	if (!s->gate) {
		close(fds[0]);
		close(fds[1]);
		err = ERR_CLOSED;
	} else {
		err = chan_send_term_attach(s->gate->chan, &m, fds, 2);
	}
	if (err != ERR_OK) {
		note_detached(t, NULL, "the gate was lost");
		terminal_free(t);
		return err;
	}
	t->joined = true;
	if (s->kept)
		keeping_write(s);
	return ERR_OK;
}

/** terminal_forget() - Its client left before it was joined; NULL is none */
void terminal_forget(struct terminal *t)
{
	if (!t || t->joined)
		return;
	if (!t->ended)
		note_detached(t, NULL, "the client left");
	terminal_free(t);
}

/** terminal_on_closed() - The gate reports a terminal's end */
enum err terminal_on_closed(struct session *s, struct span payload)
{
	struct msg_term_closed m;
	struct terminal *t;
	char text[REASON_MAX_BYTES];
	enum err err = msg_term_closed_get(payload, &m);

	if (err != ERR_OK)
		return err;
	LIST_FOREACH(t, &s->terminals, next)
	if (t->id == m.terminal && t->joined)
		break;
	/* One that an earlier engine lost sight of is none of ours to tell. */
	if (!t)
		return s->adoptions || s->adoption ? ERR_OK : ERR_STATE;
	(void)text_escape_line(m.text, text, sizeof(text));
	s->usage.bytes += m.bytes_to_guest + m.bytes_from_guest;
	note_detached(t, &m, text);
	terminal_free(t);
	session_check_orphan(s);
	return ERR_OK;
}

/** terminals_end() - The session ends: its terminals are no more */
void terminals_end(struct session *s, const char *reason)
{
	struct terminal *t, *after;

	for (t = LIST_FIRST(&s->terminals); t; t = after) {
		after = LIST_NEXT(t, next);
		if (t->joined && s->gate && !session_has_ended(s) &&
		    s->state == SESSION_STOPPING && chan_is_open(s->gate->chan))
			continue; /* the gate still reports them */
		if (t->ready) {
			fail(t, ERR_CLOSED, reason);
		} else if (t->joined) {
			note_detached(t, NULL, reason);
			terminal_free(t);
		} else if (!t->ended) {
			/* Its client still has it: see terminal_join(). */
			note_detached(t, NULL, reason);
			t->ended = true;
			close(t->stream_fd);
			t->stream_fd = -1;
		}
	}
}

/* --- of a session that outlives its engine -------------------------------- */

/**
 * terminals_record() - The terminals that a later engine has to know of
 * @s:		Session
 * @out:	Room for SESSION_TERMINALS_MAX
 *
 * Return: how many.
 */
size_t terminals_record(const struct session *s, struct record_terminal *out)
{
	const struct terminal *t;
	size_t n = 0;

	LIST_FOREACH(t, &s->terminals, next)
	{
		struct record_terminal *to = &out[n];

		if (!t->joined || n == SESSION_TERMINALS_MAX)
			continue;
		to->id = t->id;
		to->read_only = t->read_only;
		memcpy(to->actor, t->actor, sizeof(to->actor));
		memcpy(to->what, t->what, sizeof(to->what));
		n++;
	}
	return n;
}

/** terminals_sum() - A number that changes when terminals_record() does */
uint64_t terminals_sum(const struct session *s)
{
	const struct terminal *t;
	uint64_t sum = 0;

	LIST_FOREACH(t, &s->terminals, next)
	sum += t->joined ? t->id : 0;
	return sum;
}

/** terminals_restore() - Take the terminals of an earlier engine over */
void terminals_restore(struct session *s, const struct record_terminal *from,
		       size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		struct terminal *t = calloc(1, sizeof(*t));

		if (!t)
			return;
		t->session = s;
		t->id = from[i].id;
		t->read_only = from[i].read_only;
		memcpy(t->actor, from[i].actor, sizeof(t->actor));
		memcpy(t->what, from[i].what, sizeof(t->what));
		t->stream_fd = -1;
		t->durable = t->joined = true;
		LIST_INSERT_HEAD(&s->terminals, t, next);
		s->n_terminals++;
	}
}

/** terminals_keep_only() - The gate named those that it has; others are over */
void terminals_keep_only(struct session *s, const uint64_t *ids, size_t count)
{
	struct terminal *t, *after;
	size_t i;

	for (t = LIST_FIRST(&s->terminals); t; t = after) {
		after = LIST_NEXT(t, next);
		for (i = 0; i < count && ids[i] != t->id; i++)
			;
		if (i < count)
			continue;
		note_detached(t, NULL, "it ended while there was no engine");
		terminal_free(t);
	}
}

/** terminals_drop() - The engine leaves; the gate goes on with them */
void terminals_drop(struct session *s)
{
	struct terminal *t;

	while ((t = LIST_FIRST(&s->terminals)))
		terminal_free(t);
}
