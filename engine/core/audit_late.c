/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_late.c - events that wait while audit is started again
 *
 * Runs in: kenazd.
 * Trusts:  nothing but its own copies.
 * Never:   holds an event that something is released by: only what has
 *	    happened already, as a session's end, is told late.
 *
 * While audit is away for a moment nothing new is allowed, but things that
 * run come to an end. Their events keep their order and go first when audit
 * is back; when it does not come back, each is named in the engine's own log.
 */
#include "engine/core/audit_late.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/base/text.h"

struct audit_late_event {
	TAILQ_ENTRY(audit_late_event) next;
	char kind[KIND_MAX_BYTES + 1];
	char session[SESSION_ID_BYTES + 1];
	char actor[ACTOR_MAX_BYTES + 1];
	struct buf attributes;
	audit_done_fn done;
	void *context;
};

/** audit_late_init() - Make an empty queue */
void audit_late_init(struct audit_late *late)
{
	TAILQ_INIT(&late->queue);
	late->count = late->bytes = 0;
}

static void drop(struct audit_late *late, struct audit_late_event *l)
{
	TAILQ_REMOVE(&late->queue, l, next);
	late->count--;
	late->bytes -= l->attributes.len_bytes;
	buf_fini(&l->attributes);
	free(l);
}

/**
 * audit_late_put() - Keep a copy of an event
 * @late:	Queue
 * @event:	Without payload and grant; borrowed
 * @done:	As for audit_append(), or NULL
 * @context:	For @done
 *
 * Return: ERR_OK; ERR_LIMIT past AUDIT_LATE_MAX or AUDIT_LATE_MAX_BYTES;
 *	   ERR_MEMORY.
 */
enum err audit_late_put(struct audit_late *late,
			const struct audit_event *event, audit_done_fn done,
			void *context)
{
	struct audit_late_event *l;
	enum err e;

	if (late->count >= AUDIT_LATE_MAX ||
	    event->attributes.len_bytes > AUDIT_LATE_MAX_BYTES - late->bytes)
		return ERR_LIMIT;
	l = calloc(1, sizeof(*l));
	if (!l)
		return ERR_MEMORY;
	buf_init(&l->attributes, EVENT_FIELDS_MAX_BYTES);
	e = buf_put_span(&l->attributes, event->attributes);
	if (e != ERR_OK) {
		buf_fini(&l->attributes);
		free(l);
		return e;
	}
	(void)snprintf(l->kind, sizeof(l->kind), "%s", event->kind);
	(void)snprintf(l->session, sizeof(l->session), "%s",
		       event->session ? event->session : "");
	(void)snprintf(l->actor, sizeof(l->actor), "%s",
		       event->actor ? event->actor : "engine");
	l->done = done;
	l->context = context;
	TAILQ_INSERT_TAIL(&late->queue, l, next);
	late->count++;
	late->bytes += l->attributes.len_bytes;
	return ERR_OK;
}

static void fail(struct audit_late_event *l, enum err error, const char *text)
{
	struct audit_outcome o = {.error = error, .text = text, .fd = -1};

	log_error("event %s%s%s could not be written: %s", l->kind,
		  l->session[0] ? " of session " : "", l->session, text);
	if (l->done)
		l->done(l->context, &o);
}

/** audit_late_send() - Audit is back: write what waited, in order */
void audit_late_send(struct engine *e, struct audit_late *late)
{
	struct audit_late_event *l;

	while ((l = TAILQ_FIRST(&late->queue))) {
		struct audit_event event = {
			.kind = l->kind,
			.session = l->session[0] ? l->session : NULL,
			.actor = l->actor,
			.attributes = buf_span(&l->attributes),
			.payload_fd = -1};
		enum err err = audit_append(e, &event, l->done, l->context);

		if (err != ERR_OK)
			fail(l, err, err_text(err));
		drop(late, l);
	}
}

/** audit_late_fail() - Audit does not come back */
void audit_late_fail(struct audit_late *late, enum err error, const char *text)
{
	struct audit_late_event *l;

	while ((l = TAILQ_FIRST(&late->queue))) {
		fail(l, error, text);
		drop(late, l);
	}
}

/** audit_late_forget() - Call nothing back with a context that goes away */
void audit_late_forget(struct audit_late *late, const void *context)
{
	struct audit_late_event *l;

	TAILQ_FOREACH(l, &late->queue, next)
	if (l->context == context)
		l->done = NULL;
}
