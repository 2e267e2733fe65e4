/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_client.c - core's side of kenaz-audit
 *
 * Runs in: kenazd.
 * Trusts:  kenaz-audit for what is durable.
 * Never:   reports an event as written before audit said so; lets anything
 *	    pass while the log cannot be written.
 *
 * A lost audit is restarted: every transfer is cancelled first and the
 * broker gets a new release channel, so that no release of the old one can
 * still count. One that cannot be started again seals the engine.
 */
#include "engine/core/audit_client.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/broker_client.h"
#include "engine/core/control.h"
#include "engine/core/audit_late.h"
#include "engine/core/restarts.h"
#include "engine/core/session.h"
#include "engine/proto/child.h"

struct pending {
	TAILQ_ENTRY(pending) next;
	uint64_t request;
	audit_done_fn done;
	void *context;
};

struct audit_client {
	struct child *child;
	struct audit_state state;
	TAILQ_HEAD(, pending) pending;
	size_t n_pending;
	struct audit_late late; /* while it is started again */
	struct restarts restarts;
	bool stopping, started_once;
};

static enum err open_dir(struct engine *e, const char *name, int *ret_fd)
{
	char path[PATHS_MAX_BYTES];
	struct conf_error error;
	enum err err;

	conf_error_init(&error);
	err = paths_join(e->paths.state.path, name, path, sizeof(path));
	if (err == ERR_OK)
		err = paths_make_private(path, &error);
	if (err != ERR_OK) {
		log_error("%s", error.text);
		return err;
	}
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? ERR_SYS : ERR_OK;
}

static void seal(struct engine *e, const char *text)
{
	struct audit_state *st = &e->audit->state;

	if (st->sealed)
		return;
	st->sealed = true;
	(void)snprintf(st->sealed_reason, sizeof(st->sealed_reason), "%s",
		       text);
	log_error("the engine is sealed: %s", text);
	audit_late_fail(&e->audit->late, ERR_SEALED, st->sealed_reason);
}

static struct pending *take(struct audit_client *a, uint64_t request)
{
	struct pending *p;

	TAILQ_FOREACH(p, &a->pending, next)
	if (p->request == request)
		break;
	if (p) {
		TAILQ_REMOVE(&a->pending, p, next);
		a->n_pending--;
	}
	return p;
}

static void finish(struct pending *p, struct audit_outcome *o)
{
	if (!p)
		return;
	if (p->done)
		p->done(p->context, o);
	free(p);
}

static void fail_all(struct audit_client *a, enum err error, const char *text)
{
	struct pending *p;

	while ((p = TAILQ_FIRST(&a->pending))) {
		struct audit_outcome o = {.error = error,
					  .text = text,
					  .fd = -1};

		TAILQ_REMOVE(&a->pending, p, next);
		a->n_pending--;
		finish(p, &o);
	}
}

static enum err take_ready(struct engine *e, struct span payload)
{
	struct audit_state *st = &e->audit->state;
	struct msg_audit_ready m;
	enum err err = msg_audit_ready_get(payload, &m);

	if (err != ERR_OK)
		return err;
	st->ready = true;
	st->size = m.size;
	memcpy(st->root, m.root, DIGEST_BYTES);
	if (span_copy_text(m.origin, st->origin, sizeof(st->origin)) !=
		    ERR_OK ||
	    span_copy_text(m.verifier_key, st->verifier_key,
			   sizeof(st->verifier_key)) != ERR_OK)
		return ERR_FORMAT;
	(void)text_escape_line(m.note, st->note, sizeof(st->note));
	if (st->note[0])
		log_info("log: %s", st->note);
	audit_late_send(e, &e->audit->late);
	engine_ready(e);
	return ERR_OK;
}

static enum err take_durable(struct engine *e, struct span payload)
{
	struct audit_outcome o = {.fd = -1};
	struct msg_audit_durable m;
	enum err err = msg_audit_durable_get(payload, &m);

	if (err != ERR_OK)
		return err;
	o.seq = m.seq;
	if (m.seq >= e->audit->state.size)
		e->audit->state.size = m.seq + 1;
	finish(take(e->audit, m.request), &o);
	control_log_grew(e);
	return ERR_OK;
}

static enum err take_refused(struct engine *e, struct span payload)
{
	struct audit_outcome o = {.fd = -1};
	struct msg_audit_refused m;
	char text[REASON_MAX_BYTES];
	enum err err = msg_audit_refused_get(payload, &m);
	struct pending *p;

	if (err != ERR_OK)
		return err;
	(void)text_escape_line(m.text, text, sizeof(text));
	o.error = m.error == ERR_OK ? ERR_INTERNAL : err_from_wire(m.error);
	o.text = text;
	p = take(e->audit, m.request);
	if (p && !p->done)
		log_error("an event was refused: %s", text);
	finish(p, &o);
	return ERR_OK;
}

static enum err take_sealed(struct engine *e, struct span payload)
{
	struct msg_audit_sealed m;
	char text[REASON_MAX_BYTES];
	enum err err = msg_audit_sealed_get(payload, &m);

	if (err != ERR_OK)
		return err;
	(void)text_escape_line(m.text, text, sizeof(text));
	seal(e, text);
	fail_all(e->audit, ERR_SEALED, e->audit->state.sealed_reason);
	return ERR_OK;
}

static enum err take_page(struct engine *e, struct span payload)
{
	struct audit_outcome o = {.fd = -1};
	struct msg_audit_page m;
	enum err err = msg_audit_page_get(payload, &m);

	if (err != ERR_OK)
		return err;
	o.error = err_from_wire(m.error);
	o.text = err_text(o.error);
	o.bytes = m.events;
	o.next_seq = m.next_seq;
	o.log_size = m.log_size;
	o.last = m.last != 0;
	finish(take(e->audit, m.request), &o);
	return ERR_OK;
}

static enum err take_dumped(struct engine *e, struct span payload)
{
	struct audit_outcome o = {.fd = -1};
	struct msg_audit_dumped m;
	enum err err = msg_audit_dumped_get(payload, &m);

	if (err != ERR_OK)
		return err;
	o.error = err_from_wire(m.error);
	o.text = err_text(o.error);
	finish(take(e->audit, m.request), &o);
	return ERR_OK;
}

static enum err take_payload(struct engine *e, struct chan_message *cm)
{
	struct audit_outcome o = {.fd = -1};
	struct msg_payload m;
	char text[REASON_MAX_BYTES];
	enum err err = msg_payload_get(cm->payload, &m);

	if (err != ERR_OK)
		return err;
	(void)text_escape_line(m.text, text, sizeof(text));
	o.error = err_from_wire(m.error);
	o.text = text;
	if (cm->n_fds) {
		o.fd = cm->fds[0];
		cm->fds[0] = -1;
	}
	finish(take(e->audit, m.request), &o);
	if (o.fd >= 0)
		close(o.fd);
	return ERR_OK;
}

static enum err on_message(struct child *c, void *context,
			   struct chan_message *m)
{
	struct engine *e = context;

	(void)c;
	if (m->type == MSG_AUDIT_READY)
		return take_ready(e, m->payload);
	if (m->type == MSG_AUDIT_DURABLE)
		return take_durable(e, m->payload);
	if (m->type == MSG_AUDIT_REFUSED)
		return take_refused(e, m->payload);
	if (m->type == MSG_AUDIT_SEALED)
		return take_sealed(e, m->payload);
	if (m->type == MSG_AUDIT_PAGE)
		return take_page(e, m->payload);
	if (m->type == MSG_AUDIT_DUMPED)
		return take_dumped(e, m->payload);
	if (m->type == MSG_PAYLOAD)
		return take_payload(e, m);
	return ERR_STATE;
}

static enum err start_child(struct engine *e);

static void on_gone(struct child *c, void *context, const char *why)
{
	struct engine *e = context;
	struct audit_client *a = e->audit;
	bool was_ready = a->state.ready;

	child_end(c);
	a->child = NULL;
	a->state.ready = false;
	if (a->stopping) {
		fail_all(a, ERR_CANCELLED, "the engine is stopping");
		audit_late_fail(&a->late, ERR_CANCELLED,
				"the engine is stopping");
		return;
	}
	log_error("audit was lost: %s", why);
	/* Order matters: nothing of the old channel may still be released. */
	sessions_cancel_transfers(e, "the audit log was lost");
	fail_all(a, ERR_STORAGE,
		 "the audit process was lost; nothing was sent");
	if (!was_ready) {
		/* It never opened the log: it would not the next time. */
		seal(e, why);
		if (!a->started_once) {
			e->exit_code = 1;
			engine_stop(e, why);
		}
		return;
	}
	if (!restarts_allow(&a->restarts, engine_now_ns()) ||
	    start_child(e) != ERR_OK)
		seal(e, "the audit process could not be restarted; restart "
			"the engine");
}

static enum err start_child(struct engine *e)
{
	struct msg_audit_start m = {.new_origin = e->new_origin ? 1 : 0,
				    .engine_version = span_text(KENAZ_VERSION)};
	struct audit_client *a = e->audit;
	int fds[5] = {-1, -1, -1, -1, -1}, release[2];
	char origin[96], host[65] = "host";
	size_t i;
	enum err err;

	if (gethostname(host, sizeof(host) - 1) < 0)
		(void)snprintf(host, sizeof(host), "host");
	(void)snprintf(origin, sizeof(origin), "kenaz.invalid/%s", host);
	m.origin = span_text(origin);
	err = open_dir(e, "log", &fds[0]);
	if (err == ERR_OK)
		err = open_dir(e, "keys", &fds[1]);
	if (err == ERR_OK)
		err = open_dir(e, "anchor", &fds[2]);
	if (err == ERR_OK) {
		fds[4] = fcntl(e->lock_fd, F_DUPFD_CLOEXEC, 0);
		err = fds[4] < 0 ? ERR_SYS : ERR_OK;
	}
	if (err == ERR_OK)
		err = chan_pair(release);
	if (err != ERR_OK)
		goto fail;
	fds[3] = release[0];
	err = broker_client_set_release(e, release[1]);
	if (err == ERR_OK)
		err = child_start(e, ROLE_AUDIT, "", NULL, 0, &a->child);
	if (err != ERR_OK)
		goto fail;
	a->child->context = e;
	a->child->on_message = on_message;
	a->child->on_gone = on_gone;
	err = chan_send_audit_start(a->child->chan, &m, fds, 5);
	if (err != ERR_OK) {
		child_end(a->child);
		a->child = NULL;
	}
	return err;
fail:
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return err;
}

/**
 * audit_client_start() - Start kenaz-audit; engine_ready() runs when it is
 * @e:	Engine
 *
 * Return: ERR_OK; as child_start().
 */
enum err audit_client_start(struct engine *e)
{
	e->audit = calloc(1, sizeof(*e->audit));
	if (!e->audit)
		return ERR_MEMORY;
	TAILQ_INIT(&e->audit->pending);
	audit_late_init(&e->audit->late);
	return start_child(e);
}

/** audit_client_set_release() - Give audit its end of a new release channel */
enum err audit_client_set_release(struct engine *e, int fd)
{
	if (!e->audit || !e->audit->child) {
		close(fd);
		return ERR_CLOSED;
	}
	return chan_send_audit_release(e->audit->child->chan,
				       &(struct msg_audit_release){0}, &fd, 1);
}

/** audit_client_stop() - Have audit commit, anchor and close */
void audit_client_stop(struct engine *e)
{
	struct audit_client *a = e->audit;

	if (!a || a->stopping)
		return;
	a->stopping = true;
	if (a->child &&
	    chan_send_audit_stop(a->child->chan, &(struct msg_audit_stop){0},
				 NULL, 0) != ERR_OK)
		log_warn("audit could not be told to stop");
}

/** audit_client_free() - Forget audit; call after the loop ended its work */
void audit_client_free(struct engine *e)
{
	if (!e->audit)
		return;
	child_end(e->audit->child);
	e->audit->child = NULL;
	e->audit->stopping = true;
	fail_all(e->audit, ERR_CANCELLED, "the engine stopped");
	audit_late_fail(&e->audit->late, ERR_CANCELLED, "the engine stopped");
	free(e->audit);
	e->audit = NULL;
}

/** audit_client_state() - What is known of the log */
const struct audit_state *audit_client_state(const struct engine *e)
{
	return &e->audit->state;
}

static enum err add(struct audit_client *a, uint64_t request,
		    audit_done_fn done, void *context)
{
	struct pending *p;

	if (a->n_pending >= AUDIT_PENDING_MAX)
		return ERR_LIMIT;
	p = calloc(1, sizeof(*p));
	if (!p)
		return ERR_MEMORY;
	*p = (struct pending){.request = request,
			      .done = done,
			      .context = context};
	TAILQ_INSERT_TAIL(&a->pending, p, next);
	a->n_pending++;
	a->started_once = true;
	return ERR_OK;
}

static enum err usable(const struct audit_client *a)
{
	if (!a || a->state.sealed)
		return ERR_SEALED;
	return a->child && a->state.ready && !a->stopping ? ERR_OK
							  : ERR_STORAGE;
}

static enum err settle(struct audit_client *a, uint64_t request, enum err err)
{
	struct pending *p;

	if (err != ERR_OK) {
		p = take(a, request);
		free(p);
	}
	return err;
}

/** audit_policy_digest() - What events name as their policy; "" before any */
const char *audit_policy_digest(const struct engine *e)
{
	return e->policy ? policy_digest(e->policy) : "";
}

/**
 * audit_append() - Have an event written
 * @e:		Engine
 * @event:	Borrowed, but for its descriptor
 * @done:	Called once when it is durable or refused; may be NULL; not
 *		called when this returns an error
 * @context:	For @done; audit_forget() drops it
 *
 * Return: ERR_OK; ERR_SEALED, ERR_STORAGE when the log cannot be written;
 *	   ERR_LIMIT; ERR_MEMORY.
 */
enum err audit_append(struct engine *e, const struct audit_event *event,
		      audit_done_fn done, void *context)
{
	struct audit_client *a = e->audit;
	struct msg_audit_append m = {
		.kind = span_text(event->kind),
		.session = span_text(event->session),
		.actor = span_text(event->actor ? event->actor : "engine"),
		.policy = span_text(audit_policy_digest(e)),
		.attributes = event->attributes,
		.payload_name = span_text(event->payload_name),
		.payload_bytes = event->payload_bytes,
		.payload_inline = event->payload_inline,
		.grant = event->grant,
	};
	int fd = event->payload_name ? event->payload_fd : -1;
	enum err err = usable(a);

	m.request = engine_next_request(e);
	if (event->header_digest)
		memcpy(m.header_digest, event->header_digest, DIGEST_BYTES);
	if (event->body_digest)
		memcpy(m.body_digest, event->body_digest, DIGEST_BYTES);
	if (err == ERR_OK)
		err = add(a, m.request, done, context);
	if (err != ERR_OK) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	return settle(a, m.request,
		      chan_send_audit_append(a->child->chan, &m, &fd,
					     fd >= 0 ? 1 : 0));
}

/**
 * audit_append_late() - Write an event that tells what has happened already
 * @e:		Engine
 * @event:	Without payload and grant; copied when it has to wait
 * @done:	As for audit_append()
 * @context:	For @done
 *
 * Unlike audit_append() it waits while audit is started again.
 *
 * Return: as audit_append(); ERR_LIMIT when too many wait.
 */
enum err audit_append_late(struct engine *e, const struct audit_event *event,
			   audit_done_fn done, void *context)
{
	struct audit_client *a = e->audit;

	if (usable(a) != ERR_STORAGE || a->stopping || !a->started_once)
		return audit_append(e, event, done, context);
	return audit_late_put(&a->late, event, done, context);
}

/**
 * audit_note() - Write an event that nothing waits for
 * @e:		Engine
 * @kind:	Kind
 * @session:	Session, or NULL
 * @actor:	Actor, or NULL for the engine
 * @attributes:	Borrowed
 */
void audit_note(struct engine *e, const char *kind, const char *session,
		const char *actor, struct span attributes)
{
	struct audit_event event = {.kind = kind,
				    .session = session,
				    .actor = actor,
				    .attributes = attributes,
				    .payload_fd = -1};
	enum err err = audit_append_late(e, &event, NULL, NULL);

	if (err != ERR_OK)
		log_error("event %s could not be written: %s", kind,
			  err_text(err));
}

/**
 * audit_query() - Ask for a page of events
 * @e:		Engine
 * @from_seq:	First, or last when @backward
 * @max_events:	Most wanted
 * @backward:	From @from_seq towards the beginning
 * @filter:	Only these
 * @done:	Gets the page
 * @context:	For @done
 *
 * Return: as audit_append().
 */
enum err audit_query(struct engine *e, uint64_t from_seq, uint32_t max_events,
		     bool backward, const struct audit_filter *filter,
		     audit_done_fn done, void *context)
{
	struct msg_audit_query m = {.from_seq = from_seq,
				    .max_events = max_events,
				    .backward = backward ? 1 : 0,
				    .session = span_text(filter->session),
				    .kind = span_text(filter->kind),
				    .image = span_text(filter->image)};
	struct audit_client *a = e->audit;
	enum err err = a && a->child && a->state.ready ? ERR_OK : ERR_STORAGE;

	m.request = engine_next_request(e);
	if (err == ERR_OK)
		err = add(a, m.request, done, context);
	if (err != ERR_OK)
		return err;
	return settle(a, m.request,
		      chan_send_audit_query(a->child->chan, &m, NULL, 0));
}

/**
 * audit_dump() - Have the log streamed to a descriptor
 * @e:		Engine
 * @from_seq:	First event
 * @fd:		Owned from here on
 * @done:	Called when all was written, or it failed
 * @context:	For @done
 *
 * Return: as audit_append().
 */
enum err audit_dump(struct engine *e, uint64_t from_seq, int fd,
		    audit_done_fn done, void *context)
{
	struct msg_audit_dump m = {.from_seq = from_seq};
	struct audit_client *a = e->audit;
	enum err err = a && a->child && a->state.ready ? ERR_OK : ERR_STORAGE;

	m.request = engine_next_request(e);
	if (err == ERR_OK)
		err = add(a, m.request, done, context);
	if (err != ERR_OK) {
		close(fd);
		return err;
	}
	return settle(a, m.request,
		      chan_send_audit_dump(a->child->chan, &m, &fd, 1));
}

/**
 * audit_payload() - Read a payload back; payload.read is durable first
 * @e:		Engine
 * @seq:	Event that has it
 * @actor:	Who reads
 * @done:	Gets a sealed memfd
 * @context:	For @done
 *
 * Return: as audit_append().
 */
enum err audit_payload(struct engine *e, uint64_t seq, const char *actor,
		       audit_done_fn done, void *context)
{
	struct msg_payload_read m = {.seq = seq, .actor = span_text(actor)};
	struct audit_client *a = e->audit;
	enum err err = usable(a);

	m.request = engine_next_request(e);
	if (err == ERR_OK)
		err = add(a, m.request, done, context);
	if (err != ERR_OK)
		return err;
	return settle(a, m.request,
		      chan_send_payload_read(a->child->chan, &m, NULL, 0));
}

/** audit_forget() - Drop the callbacks of a context that goes away */
void audit_forget(struct engine *e, const void *context)
{
	struct pending *p;

	if (!e->audit)
		return;
	TAILQ_FOREACH(p, &e->audit->pending, next)
	if (p->context == context)
		p->done = NULL;
	audit_late_forget(&e->audit->late, context);
}
