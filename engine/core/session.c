/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - one agent's virtual machine from start to end
 *
 * Runs in: kenazd.
 * Trusts:  launch and gate to be the ones that core started.
 * Never:   frees a session while one of its processes may still speak.
 *
 * States: creating (policy, accelerator) -> booting (launch and gate run) ->
 * ready (the receipt of hello was right and session.ready is durable) ->
 * stopping (guest asked, then QMP, then SIGKILL) -> ended, or failed from
 * any state but ended. Ended sessions are kept for `session show`.
 */
#include "engine/core/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/log.h"
#include "engine/core/accel.h"
#include "engine/core/adopt.h"
#include "engine/core/approving.h"
#include "engine/core/broker_client.h"
#include "engine/core/control.h"
#include "engine/core/handover.h"
#include "engine/core/infer.h"
#include "engine/core/infer_tool.h"
#include "engine/core/keeping.h"
#include "engine/core/limits.h"
#include "engine/core/mockvm.h"
#include "engine/core/pool.h"
#include "engine/core/terminal.h"
#include "engine/core/tunnel.h"
#include "engine/core/vsock_door.h"

static const char *const state_texts[] = {
	[SESSION_CREATING] = "creating", [SESSION_BOOTING] = "booting",
	[SESSION_READY] = "ready",       [SESSION_STOPPING] = "stopping",
	[SESSION_ENDED] = "ended",       [SESSION_FAILED] = "failed",
	[SESSION_ADOPTING] = "adopting",
};

/* What may follow what. */
static const unsigned state_next[] = {
	[SESSION_CREATING] = 1u << SESSION_BOOTING | 1u << SESSION_STOPPING |
			     1u << SESSION_FAILED,
	[SESSION_BOOTING] = 1u << SESSION_READY | 1u << SESSION_STOPPING |
			    1u << SESSION_FAILED,
	[SESSION_READY] = 1u << SESSION_STOPPING | 1u << SESSION_FAILED,
	[SESSION_STOPPING] = 1u << SESSION_ENDED | 1u << SESSION_FAILED,
	[SESSION_ENDED] = 0,
	[SESSION_FAILED] = 0,
	[SESSION_ADOPTING] = 1u << SESSION_READY | 1u << SESSION_STOPPING |
			     1u << SESSION_FAILED,
};

/** session_state_text() - Name of a state */
const char *session_state_text(enum session_state state)
{
	return state_texts[state];
}

/** session_has_ended() - Whether nothing of it runs any more */
bool session_has_ended(const struct session *s)
{
	return s->state == SESSION_ENDED || s->state == SESSION_FAILED;
}

/** session_is_live() - Whether requests of its guest are served */
bool session_is_live(const struct session *s)
{
	return s->state == SESSION_READY;
}

/**
 * session_admits() - Count something that the guest did and that is logged
 * @s:	Session
 *
 * Return: false when limits.event_rate_per_s is spent for this second.
 */
bool session_admits(struct session *s)
{
	uint64_t now = engine_now_ns();

	s->active_ns = now;
	if (now - s->rate_window_ns > 1000000000ull) {
		s->rate_window_ns = now;
		s->rate_count = 0;
	}
	return ++s->rate_count <= s->engine->config->limits.event_rate_per_s;
}

/** session_set_state() - Move on, if the table of states allows it */
void session_set_state(struct session *s, enum session_state state)
{
	if (!(state_next[s->state] & 1u << state)) {
		log_error("session %s: %s cannot become %s", s->id,
			  state_texts[s->state], state_texts[state]);
		return;
	}
	s->state = state;
	control_session_changed(s->engine, s);
}

/** session_find() - Look a session up by its whole name; NULL is none */
struct session *session_find(struct engine *e, const char *id)
{
	struct session *s;

	LIST_FOREACH(s, &e->sessions, next)
	if (strcmp(s->id, id) == 0)
		return s;
	return NULL;
}

/** sessions_live() - How many have not ended */
size_t sessions_live(const struct engine *e)
{
	const struct session *s;
	size_t n = 0;

	LIST_FOREACH(s, &e->sessions, next)
	if (!session_has_ended(s))
		n++;
	return n;
}

/** session_stage() - Note when a stage of the start was reached */
void session_stage(struct session *s, const char *name, uint64_t at_ns)
{
	struct session_stage *st;
	size_t i;

	/* A driver that starts anew says nothing new, and may do it often. */
	for (i = 0; i < s->n_stages; i++)
		if (strcmp(s->stages[i].name, name) == 0)
			return;
	if (s->n_stages == SESSION_STAGES_MAX)
		return;
	st = &s->stages[s->n_stages++];
	(void)snprintf(st->name, sizeof(st->name), "%s", name);
	st->at_ns = at_ns > s->created_ns ? at_ns : s->created_ns;
	if (s->watch)
		s->watch(s->watch_context, s, st->name);
}

/** session_note() - Write an event of this session that nothing waits for */
void session_note(struct session *s, const char *kind, struct span attributes)
{
	audit_note(s->engine, kind, s->id, s->actor, attributes);
}

/* Twelve letters and digits: 60 random bits, easy to read aloud. */
static void make_id(struct engine *e, char *ret_id)
{
	static const char letters[] = "abcdefghjkmnpqrstvwxyz0123456789";
	uint8_t random[SESSION_ID_BYTES];
	size_t i;

	do {
		randombytes_buf(random, sizeof(random));
		for (i = 0; i < SESSION_ID_BYTES; i++)
			ret_id[i] = letters[random[i] & 31];
		ret_id[SESSION_ID_BYTES] = '\0';
	} while (session_find(e, ret_id));
}

static void drop_streams(struct session *s)
{
	size_t i;

	for (i = 0; i < SESSION_STREAMS_MAX; i++) {
		struct stream_pending p = s->streams[i];

		s->streams[i] = (struct stream_pending){0};
		if (p.done)
			p.done(p.context, ERR_CLOSED, -1, 0);
	}
}

static void write_end(struct session *s)
{
	struct audit_event event = {.kind = "session.end",
				    .session = s->id,
				    .actor = s->actor,
				    .payload_fd = -1};
	void *kept; /* its record goes once this is durable */
	struct buf b;
	enum err err;

	if (s->end_written || !s->start_asked)
		return;
	s->end_written = true;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.reason", span_text(s->reason));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "error.type",
				     span_text(err_name(s->error)));
	if (err == ERR_OK)
		err = limits_put_end(s, &b);
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.duration_ms",
				    (engine_now_ns() - s->created_ns) /
					    1000000u);
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.requests", s->usage.requests);
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "gen_ai.usage.input_tokens",
				    s->usage.input_tokens);
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "gen_ai.usage.output_tokens",
				    s->usage.output_tokens);
	event.attributes = buf_span(&b);
	kept = keeping_end_context(s);
	if (err == ERR_OK)
		err = audit_append_late(s->engine, &event,
					kept ? keeping_end_durable : NULL,
					kept);
	if (err != ERR_OK) {
		log_error("session %s: its end could not be written: %s", s->id,
			  err_text(err));
		free(kept);
	}
	buf_fini(&b);
}

/** session_finish() - Nothing of it runs any more: let its processes go */
void session_finish(struct session *s)
{
	struct engine *e = s->engine;

	if (session_has_ended(s))
		return;
	s->finishing = true;
	drop_streams(s);
	infers_end(s, s->reason);
	tunnels_end(s);
	terminals_end(s, s->reason);
	vsock_door_end(s, s->reason);
	approving_withdraw_session(e, s->id, "its session ended");
	write_end(s);
	adopt_abandon(s);
	keeping_remove_sockets(s);
	child_end(s->launch);
	child_end(s->gate);
	child_end(s->egress);
	limits_release(e, s->vm);
	s->launch = s->gate = s->egress = NULL;
	mockvm_free(s->mock);
	s->mock = NULL;
	infer_tools_end(s);
	budget_end_session(e->budget, s->id);
	s->ended_ns = engine_now_ns();
	if (s->state == SESSION_STOPPING && s->error == ERR_OK)
		session_set_state(s, SESSION_ENDED);
	else
		session_set_state(s, SESSION_FAILED);
	if (s->watch)
		s->watch(s->watch_context, s, NULL);
	s->watch = NULL;
}

/**
 * session_end() - Begin the end of a session
 * @s:		Session
 * @error:	ERR_OK for an end that was asked for
 * @reason:	Sentence for people and the log
 *
 * Repeated calls only make an orderly end a hurried one.
 */
void session_end(struct session *s, enum err error, const char *reason)
{
	struct msg_vm_stop stop = {.kill = error != ERR_OK ? 1 : 0};
	bool was_ready = s->state == SESSION_READY;

	if (session_has_ended(s) || s->state == SESSION_STOPPING)
		return;
	s->error = error;
	(void)snprintf(s->reason, sizeof(s->reason), "%s", reason);
	log_info("session %s ends: %s", s->id, reason);
	session_set_state(s, SESSION_STOPPING);
	infers_end(s, reason);
	terminals_end(s, reason);
	vsock_door_end(s, reason);
	s->deadline_ns = engine_now_ns() + SESSION_STOP_VM_NS;
	if (error == ERR_OK && was_ready && s->gate) {
		struct msg_guest_control m = {
			.line = span_text("{\"op\":\"shutdown\"}")};

		s->deadline_ns += SESSION_STOP_GUEST_NS;
		if (chan_send_guest_control(s->gate->chan, &m, NULL, 0) !=
		    ERR_OK)
			stop.kill = 1;
	}
	if (s->launch && !s->vm_exited) {
		if (chan_send_vm_stop(s->launch->chan, &stop, NULL, 0) ==
		    ERR_OK)
			return;
	} else if (s->mock && was_ready && error == ERR_OK) {
		return; /* it ends when guestd exits */
	}
	session_finish(s);
}

/** session_check_orphan() - Without its client it ends with its last terminal
 */
void session_check_orphan(struct session *s)
{
	if (s->orphan && s->state == SESSION_READY && s->n_terminals == 0)
		session_end(s, ERR_OK,
			    "its client's connection ended with an earlier "
			    "engine, and it has no terminal");
}

/** session_approval_decided() - Somebody answered, or nobody did in time */
void session_approval_decided(struct session *s, bool granted, const char *text)
{
	s->approval = 0;
	if (s->state != SESSION_CREATING)
		return;
	if (granted)
		session_start_vm(s);
	else
		session_end(s, ERR_DENIED, text);
}

static void note_denied(struct session *s, const struct policy_decision *d)
{
	struct buf b;
	enum err err;

	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.policy.target", span_text("session"));
	if (err == ERR_OK)
		err = infer_put_decision(&b, d);
	if (err == ERR_OK)
		session_note(s, "policy.deny", buf_span(&b));
	buf_fini(&b);
}

static enum err ask(struct session *s, const struct policy_decision *d)
{
	struct approval_question q = {.session = s->id,
				      .user = s->user,
				      .rule = d->rule,
				      .kind = POLICY_SESSION};
	char summary[256];
	struct buf b;
	enum err err;

	(void)snprintf(summary, sizeof(summary),
		       "start a session of image %s for %s (%u MiB, %u vCPU%s)",
		       s->image, s->user, s->memory_mib, s->vcpus,
		       s->vcpus == 1 ? "" : "s");
	q.summary = span_text(summary);
	digest_sha256(q.summary, q.digest);
	err = approvals_ask(s->engine->approvals, &q, engine_now_ns(),
			    &s->approval);
	if (err != ERR_OK)
		return err;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = infer_put_decision(&b, d);
	if (err == ERR_OK)
		err = approving_put_question(&b, s->approval, "session", &q);
	if (err == ERR_OK)
		session_note(s, "approval.requested", buf_span(&b));
	buf_fini(&b);
	return err;
}

/* What is still on its way to the log or the broker speaks of its session. */
static bool is_needed(const struct session *s)
{
	return !session_has_ended(s) || !LIST_EMPTY(&s->infers) ||
	       !LIST_EMPTY(&s->judged) || !LIST_EMPTY(&s->tunnels) ||
	       !LIST_EMPTY(&s->terminals);
}

static void forget_oldest(struct engine *e)
{
	struct session *s, *oldest = NULL;
	size_t ended = 0;

	LIST_FOREACH(s, &e->sessions, next)
	{
		if (is_needed(s))
			continue;
		ended++;
		if (!oldest || s->ended_ns < oldest->ended_ns)
			oldest = s;
	}
	if (ended < SESSION_KEEP_ENDED)
		return;
	control_session_gone(e, oldest);
	audit_forget(e, oldest);
	broker_forget(e, oldest);
	accel_forget(e, oldest);
	LIST_REMOVE(oldest, next);
	free(oldest->main_line);
	free(oldest);
}

/**
 * session_new() - Ask policy, then begin a session
 * @e:			Engine
 * @o:			What is wanted, borrowed
 * @watch:		Told of stages, and with a NULL stage of every change
 *			of state; may be NULL
 * @context:		For @watch
 * @ret_text:		Sentence on failure
 * @cap_bytes:		Its size
 * @ret_rule:		Rule that denied, or NULL
 * @ret_session:	The session; owned by the engine
 *
 * Return: ERR_OK; ERR_DENIED; ERR_LIMIT; ERR_NOT_FOUND for an unknown
 *	   provider or image; ERR_SEALED; ERR_MEMORY.
 */
enum err session_new(struct engine *e, const struct session_options *o,
		     session_watch_fn watch, void *context, char *ret_text,
		     size_t cap_bytes, const char **ret_rule,
		     struct session **ret_session)
{
	struct policy_request request = {.target = POLICY_SESSION,
					 .user = span_text(o->user)};
	struct policy_decision d;
	struct session *s;
	enum err err = limits_check(e, o, ret_text, cap_bytes);

	*ret_rule = NULL;
	if (err != ERR_OK)
		return err;
	if (audit_client_state(e)->sealed || !audit_client_state(e)->ready) {
		(void)snprintf(ret_text, cap_bytes,
			       "nothing is allowed while the log cannot be "
			       "written: %s",
			       audit_client_state(e)->sealed
				       ? audit_client_state(e)->sealed_reason
				       : "audit is being started again; try "
					 "again in a moment");
		return ERR_SEALED;
	}
	if (o->provider && !config_find_provider(e->config, o->provider)) {
		(void)snprintf(ret_text, cap_bytes,
			       "provider %s is not configured; see `kenaz "
			       "provider list`",
			       o->provider);
		return ERR_NOT_FOUND;
	}
	forget_oldest(e);
	s = calloc(1, sizeof(*s));
	if (!s)
		return ERR_MEMORY;
	s->engine = e;
	make_id(e, s->id);
	s->uid = o->uid;
	(void)snprintf(s->user, sizeof(s->user), "%s", o->user);
	(void)snprintf(s->actor, sizeof(s->actor), "user:%s", o->user);
	(void)snprintf(s->image, sizeof(s->image), "%s",
		       o->image ? o->image : accel_default_image(e));
	(void)snprintf(s->provider, sizeof(s->provider), "%s",
		       o->provider ? o->provider : "");
	s->memory_mib =
		o->memory_mib ? o->memory_mib : e->config->limits.memory_mib;
	s->vcpus = o->vcpus ? o->vcpus : e->config->limits.vcpus;
	s->detach = o->detach;
	s->no_isolation = e->dev_mock_vm;
	s->created_ns = engine_now_ns();
	s->created_wall_us = engine_wall_us();
	s->deadline_ns =
		s->created_ns + e->config->limits.boot_s * 1000000000ull;
	s->watch = watch;
	s->watch_context = context;
	randombytes_buf(s->nonce, sizeof(s->nonce));
	if (o->main_line && !(s->main_line = strdup(o->main_line))) {
		free(s);
		return ERR_MEMORY;
	}
	LIST_INIT(&s->infers);
	LIST_INIT(&s->judged);
	LIST_INIT(&s->tunnels);
	LIST_INIT(&s->terminals);
	request.image = span_text(s->image);
	policy_evaluate(e->policy, &request, &d);
	if (d.effect == POLICY_DENY) {
		note_denied(s, &d);
		(void)snprintf(ret_text, cap_bytes, "rule %s: %s", d.rule,
			       d.reason);
		*ret_rule = d.rule;
		free(s->main_line);
		free(s);
		return ERR_DENIED;
	}
	LIST_INSERT_HEAD(&e->sessions, s, next);
	*ret_session = s;
	if (d.effect == POLICY_ASK) {
		err = ask(s, &d);
		if (err != ERR_OK)
			session_end(s, err, "the approval could not be asked");
		else
			session_stage(s, "waiting for approval",
				      engine_now_ns());
		return ERR_OK;
	}
	session_start_vm(s);
	return ERR_OK;
}

/** session_tick() - Deadlines of every session; once a second */
void session_tick(struct engine *e)
{
	struct session *s, *after;
	uint64_t now = engine_now_ns();

	for (s = LIST_FIRST(&e->sessions); s; s = after) {
		after = LIST_NEXT(s, next);
		if (session_has_ended(s))
			continue;
		vsock_door_tick(s, now);
		if (s->state == SESSION_STOPPING && now > s->deadline_ns) {
			log_warn("session %s did not stop in time", s->id);
			child_kill(s->launch);
			session_finish(s);
		} else if (s->lost_deadline_ns && now > s->lost_deadline_ns &&
			   s->state != SESSION_STOPPING) {
			session_end(s, ERR_CLOSED, s->lost);
		} else if (s->state == SESSION_READY) {
			limits_tick(s, now);
		} else if (!s->approval && now > s->deadline_ns &&
			   s->state != SESSION_STOPPING &&
			   s->state != SESSION_ADOPTING) {
			session_end(s, ERR_TIMEOUT,
				    "the guest did not get ready in time; see "
				    "`kenaz doctor`");
		}
	}
}

/** sessions_end_all() - Begin the end of every session */
void sessions_end_all(struct engine *e, const char *reason)
{
	struct session *s, *after;

	for (s = LIST_FIRST(&e->sessions); s; s = after) {
		after = LIST_NEXT(s, next);
		session_end(s, ERR_OK, reason);
	}
}

/** sessions_cancel_transfers() - Fail every running request of all sessions */
void sessions_cancel_transfers(struct engine *e, const char *reason)
{
	struct session *s;

	LIST_FOREACH(s, &e->sessions, next)
	infers_end(s, reason);
}

/** sessions_free() - Release every session; the loop has ended */
void sessions_free(struct engine *e)
{
	struct session *s;

	while ((s = LIST_FIRST(&e->sessions))) {
		s->watch = NULL;
		if (e->leaving && s->kept && s->state == SESSION_READY) {
			handover_leave(s);
		} else {
			if (s->state != SESSION_STOPPING &&
			    !session_has_ended(s))
				s->state = SESSION_STOPPING;
			session_finish(s);
		}
		LIST_REMOVE(s, next);
		free(s->main_line);
		free(s);
	}
}
