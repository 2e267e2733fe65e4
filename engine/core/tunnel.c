/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tunnel.c - egress of a session: names, decisions, events
 *
 * Runs in: kenazd.
 * Trusts:  kenaz-egress to report the name the guest asked for and the
 *	    address it is going to connect to.
 * Never:   lets a name be resolved before the intent is durable, or an
 *	    address be connected to before egress.open with it is.
 */
#include "engine/core/tunnel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/approving.h"
#include "engine/core/infer.h"

#define TUNNEL_IDLE_NS  (300ull * 1000000000ull)
#define TUNNEL_TOTAL_NS (3600ull * 1000000000ull)

enum tunnel_state { TUNNEL_NEW, TUNNEL_ASKED, TUNNEL_ALLOWED, TUNNEL_OPEN };

struct tunnel {
	LIST_ENTRY(tunnel) next;
	struct session *session;
	uint64_t id;
	enum tunnel_state state;
	char host[HOST_MAX_BYTES + 1];
	uint16_t port;
	bool allow_private, opened;
	char rule[RULE_MAX_BYTES];
	char text[REASON_MAX_BYTES];
	uint64_t approval;
};

static struct tunnel *find(struct session *s, uint64_t id)
{
	struct tunnel *t;

	LIST_FOREACH(t, &s->tunnels, next)
	if (t->id == id)
		return t;
	return NULL;
}

static void tunnel_free(struct tunnel *t)
{
	struct session *s = t->session;

	audit_forget(s->engine, t);
	if (t->approval)
		approving_withdraw(s->engine, t->approval,
				   "its connection ended");
	LIST_REMOVE(t, next);
	s->n_tunnels--;
	free(t);
}

static void send_verdict(struct tunnel *t, bool allow)
{
	struct msg_egress_verdict m = {.tunnel = t->id,
				       .allow = allow ? 1 : 0,
				       .allow_private =
					       t->allow_private ? 1 : 0,
				       .rule = span_text(t->rule),
				       .text = span_text(t->text)};
	struct session *s = t->session;

	if (allow) {
		t->state = TUNNEL_ALLOWED;
		s->usage.egress_allowed++;
	} else {
		s->usage.egress_denied++;
	}
	if (s->egress &&
	    chan_send_egress_verdict(s->egress->chan, &m, NULL, 0) != ERR_OK)
		log_warn("session %s: an egress verdict was not delivered",
			 s->id);
}

static enum err put_where(struct tunnel *t, struct buf *b)
{
	enum err err = attrs_put_text(b, "server.address", span_text(t->host));

	if (err == ERR_OK)
		err = attrs_put_u64(b, "server.port", t->port);
	return err == ERR_OK ? attrs_put_u64(b, "kenaz.tunnel", t->id) : err;
}

static void on_intent_durable(void *context, struct audit_outcome *o)
{
	struct tunnel *t = context;

	if (o->error != ERR_OK) {
		(void)snprintf(t->rule, sizeof(t->rule), "log");
		(void)snprintf(t->text, sizeof(t->text),
			       "the log cannot be written: %s",
			       o->text ? o->text : err_text(o->error));
	}
	send_verdict(t, o->error == ERR_OK);
}

static void write_intent(struct tunnel *t, struct buf *b)
{
	struct session *s = t->session;
	struct audit_event event = {.kind = "policy.allow",
				    .session = s->id,
				    .actor = s->actor,
				    .attributes = buf_span(b),
				    .payload_fd = -1};
	enum err err = audit_append(s->engine, &event, on_intent_durable, t);

	if (err != ERR_OK) {
		struct audit_outcome o = {.error = err, .text = err_text(err)};

		on_intent_durable(t, &o);
	}
}

static enum err ask(struct tunnel *t, const struct policy_decision *d)
{
	struct session *s = t->session;
	struct approval_question q = {.session = s->id,
				      .user = s->user,
				      .rule = d->rule,
				      .kind = POLICY_EGRESS,
				      .context = t->id};
	char summary[320];
	struct buf b;
	enum err err;

	(void)snprintf(summary, sizeof(summary), "connect to %s port %u",
		       t->host, t->port);
	q.summary = span_text(summary);
	digest_sha256(q.summary, q.digest);
	err = approvals_ask(s->engine->approvals, &q, engine_now_ns(),
			    &t->approval);
	if (err != ERR_OK)
		return err;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_where(t, &b);
	if (err == ERR_OK)
		err = infer_put_decision(&b, d);
	if (err == ERR_OK)
		err = approving_put_question(&b, t->approval, "egress", &q);
	if (err == ERR_OK)
		session_note(s, "approval.requested", buf_span(&b));
	buf_fini(&b);
	return ERR_OK;
}

static void judge(struct tunnel *t)
{
	struct session *s = t->session;
	struct policy_request request = {.target = POLICY_EGRESS,
					 .user = span_text(s->user),
					 .image = span_text(s->image),
					 .host = span_text(t->host),
					 .port = t->port};
	struct policy_decision d;
	struct buf b;
	enum err err;

	policy_evaluate(s->engine->policy, &request, &d);
	t->allow_private = d.allow_private;
	(void)snprintf(t->rule, sizeof(t->rule), "%s", d.rule);
	(void)snprintf(t->text, sizeof(t->text), "%s",
		       d.reason ? d.reason : "");
	if (d.effect == POLICY_ASK && ask(t, &d) == ERR_OK)
		return;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.policy.target", span_text("egress"));
	if (err == ERR_OK)
		err = put_where(t, &b);
	if (err == ERR_OK)
		err = infer_put_decision(&b, &d);
	if (err == ERR_OK && d.effect == POLICY_ALLOW) {
		write_intent(t, &b);
	} else {
		if (err == ERR_OK)
			session_note(s, "policy.deny", buf_span(&b));
		send_verdict(t, false);
	}
	buf_fini(&b);
}

/**
 * tunnel_decided() - Somebody answered an approval of an egress
 * @s:		Session
 * @id:		The question's context
 * @granted:	Whether it may be opened
 * @rule:	Rule that asked
 * @text:	Who decided, or why nobody did
 */
void tunnel_decided(struct session *s, uint64_t id, bool granted,
		    const char *rule, const char *text)
{
	struct tunnel *t = find(s, id);
	struct buf b;
	enum err err;

	if (!t || t->state != TUNNEL_ASKED)
		return;
	t->approval = 0;
	(void)snprintf(t->rule, sizeof(t->rule), "%s", rule);
	(void)snprintf(t->text, sizeof(t->text), "%s", text);
	if (!granted) {
		send_verdict(t, false);
		return;
	}
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.policy.target", span_text("egress"));
	if (err == ERR_OK)
		err = put_where(t, &b);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.policy.rule", span_text(rule));
	if (err == ERR_OK)
		write_intent(t, &b);
	else
		send_verdict(t, false);
	buf_fini(&b);
}

static enum err take_ask(struct session *s, struct span payload)
{
	struct msg_egress_ask m;
	struct tunnel *t;
	enum err err = msg_egress_ask_get(payload, &m);

	if (err != ERR_OK)
		return err;
	t = find(s, m.tunnel);
	if (!t || t->state != TUNNEL_NEW)
		return ERR_STATE;
	err = span_copy_text(m.host, t->host, sizeof(t->host));
	if (err != ERR_OK)
		return err;
	t->port = m.port;
	t->state = TUNNEL_ASKED;
	judge(t);
	return ERR_OK;
}

static void send_connect(struct tunnel *t, bool allow, const char *text)
{
	struct msg_egress_connect m = {.tunnel = t->id,
				       .allow = allow ? 1 : 0,
				       .text = span_text(text)};
	struct session *s = t->session;

	if (s->egress &&
	    chan_send_egress_connect(s->egress->chan, &m, NULL, 0) != ERR_OK)
		log_warn("session %s: an egress was not answered", s->id);
}

static void on_open_durable(void *context, struct audit_outcome *o)
{
	struct tunnel *t = context;

	t->opened = o->error == ERR_OK;
	send_connect(t, t->opened, o->error == ERR_OK ? "" : o->text);
}

static enum err take_resolved(struct session *s, struct span payload)
{
	struct audit_event event = {.kind = "egress.open",
				    .session = s->id,
				    .actor = s->actor,
				    .payload_fd = -1};
	struct msg_egress_resolved m;
	struct tunnel *t;
	struct buf b;
	enum err err = msg_egress_resolved_get(payload, &m);

	if (err != ERR_OK)
		return err;
	t = find(s, m.tunnel);
	if (!t || t->state != TUNNEL_ALLOWED || m.port != t->port)
		return ERR_STATE;
	t->state = TUNNEL_OPEN;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_where(t, &b);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "network.peer.address", m.address);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.policy.rule",
				     span_text(t->rule));
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, on_open_durable, t);
	buf_fini(&b);
	if (err != ERR_OK)
		send_connect(t, false, "the log cannot be written");
	return ERR_OK;
}

static enum err take_closed(struct session *s, struct span payload)
{
	struct msg_egress_closed m;
	struct tunnel *t;
	struct buf b;
	enum err err = msg_egress_closed_get(payload, &m);

	if (err != ERR_OK)
		return err;
	t = find(s, m.tunnel);
	if (!t)
		return ERR_STATE;
	if (t->state == TUNNEL_OPEN || t->state == TUNNEL_ALLOWED) {
		buf_init(&b, EVENT_FIELDS_MAX_BYTES);
		err = put_where(t, &b);
		if (err == ERR_OK)
			err = attrs_put_u64(&b, "kenaz.bytes_up", m.bytes_up);
		if (err == ERR_OK)
			err = attrs_put_u64(&b, "kenaz.bytes_down",
					    m.bytes_down);
		if (err == ERR_OK)
			err = attrs_put_u64(&b, "kenaz.duration_ms",
					    m.duration_ns / 1000000u);
		if (err == ERR_OK && m.error != ERR_OK)
			err = attrs_put_text(&b, "error.type",
					     span_text(err_name(
						     err_from_wire(m.error))));
		if (err == ERR_OK && m.text.len_bytes)
			err = attrs_put_text(&b, "kenaz.reason", m.text);
		if (err == ERR_OK)
			session_note(s, "egress.close", buf_span(&b));
		buf_fini(&b);
	}
	s->usage.bytes += m.bytes_up + m.bytes_down;
	tunnel_free(t);
	return ERR_OK;
}

static enum err on_message(struct child *c, void *context,
			   struct chan_message *m)
{
	struct session *s = context;

	(void)c;
	if (m->type == MSG_EGRESS_ASK)
		return take_ask(s, m->payload);
	if (m->type == MSG_EGRESS_RESOLVED)
		return take_resolved(s, m->payload);
	if (m->type == MSG_EGRESS_CLOSED)
		return take_closed(s, m->payload);
	return ERR_STATE;
}

/* Without egress the session goes on: the next tunnel starts it anew. */
static void on_gone(struct child *c, void *context, const char *why)
{
	struct session *s = context;
	struct tunnel *t, *after;
	struct buf b;
	enum err err;

	child_end(c);
	s->egress = NULL;
	log_error("session %s: %s", s->id, why);
	for (t = LIST_FIRST(&s->tunnels); t; t = after) {
		after = LIST_NEXT(t, next);
		if (t->state == TUNNEL_OPEN || t->state == TUNNEL_ALLOWED) {
			buf_init(&b, EVENT_FIELDS_MAX_BYTES);
			err = put_where(t, &b);
			if (err == ERR_OK)
				err = attrs_put_text(&b, "kenaz.reason",
						     span_text("egress lost"));
			if (err == ERR_OK)
				err = attrs_put_text(&b, "error.type",
						     span_text("CLOSED"));
			if (err == ERR_OK)
				session_note(s, "egress.close", buf_span(&b));
			buf_fini(&b);
		}
		tunnel_free(t);
	}
}

static enum err start_egress(struct session *s)
{
	struct msg_egress_start m = {.session = span_text(s->id),
				     .tunnels_max = SESSION_TUNNELS_MAX,
				     .idle_timeout_ns = TUNNEL_IDLE_NS,
				     .total_timeout_ns = TUNNEL_TOTAL_NS};
	enum err err =
		child_start(s->engine, ROLE_EGRESS, "", NULL, 0, &s->egress);

	if (err != ERR_OK)
		return err;
	s->egress->context = s;
	s->egress->on_message = on_message;
	s->egress->on_gone = on_gone;
	return chan_send_egress_start(s->egress->chan, &m, NULL, 0);
}

/**
 * tunnel_new() - The guest connected to the egress port
 * @s:	Session
 * @fd:	The stream, owned from here on; closed when nothing can be done
 */
void tunnel_new(struct session *s, int fd)
{
	struct msg_egress_stream m;
	struct tunnel *t;

	if (!session_is_live(s) || !session_admits(s) ||
	    s->n_tunnels >= SESSION_TUNNELS_MAX ||
	    (!s->egress && start_egress(s) != ERR_OK) ||
	    !(t = calloc(1, sizeof(*t)))) {
		close(fd);
		return;
	}
	t->session = s;
	t->id = engine_next_request(s->engine);
	m = (struct msg_egress_stream){.tunnel = t->id};
	LIST_INSERT_HEAD(&s->tunnels, t, next);
	s->n_tunnels++;
	if (chan_send_egress_stream(s->egress->chan, &m, &fd, 1) != ERR_OK)
		tunnel_free(t);
}

/** tunnels_end() - Forget a session's tunnels; egress is about to end */
void tunnels_end(struct session *s)
{
	struct tunnel *t, *after;

	for (t = LIST_FIRST(&s->tunnels); t; t = after) {
		after = LIST_NEXT(t, next);
		if (t->opened) {
			struct buf b;

			buf_init(&b, EVENT_FIELDS_MAX_BYTES);
			if (put_where(t, &b) == ERR_OK &&
			    attrs_put_text(&b, "kenaz.reason",
					   span_text("session ended")) ==
				    ERR_OK)
				session_note(s, "egress.close", buf_span(&b));
			buf_fini(&b);
		}
		tunnel_free(t);
	}
}
