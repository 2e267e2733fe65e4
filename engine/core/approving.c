/* SPDX-License-Identifier: Apache-2.0 */
/*
 * approving.c - from an answered approval to what waited for it
 *
 * Runs in: kenazd.
 * Trusts:  approvals.c for who decided.
 * Never:   lets a decision take effect that is not in the log's queue.
 */
#include "engine/core/approving.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/infer_tool.h"
#include "engine/core/session.h"
#include "engine/core/tunnel.h"
#include "engine/core/vsock_door.h"

static const char *kind_of(enum approval_state state)
{
	if (state == APPROVAL_GRANTED)
		return "approval.granted";
	return state == APPROVAL_EXPIRED ? "approval.expired"
					 : "approval.denied";
}

static void note(struct engine *e, const struct approval *a)
{
	char digest[2 * DIGEST_BYTES + 1], actor[ACTOR_MAX_BYTES];
	struct buf b;
	enum err err;

	text_hex(a->digest, DIGEST_BYTES, digest);
	(void)snprintf(actor, sizeof(actor), "%s%s", a->by[0] ? "user:" : "",
		       a->by[0] ? a->by : "engine");
	buf_init(&b, 8192);
	err = attrs_put_u64(&b, "kenaz.approval.id", a->id);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.approval.digest",
				     span_text(digest));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.policy.rule",
				     span_text(a->rule));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.approval.summary",
				     span_text(a->summary));
	if (err == ERR_OK && a->reason[0])
		err = attrs_put_text(&b, "kenaz.reason", span_text(a->reason));
	if (err == ERR_OK)
		audit_note(e, kind_of(a->state), a->session, actor,
			   buf_span(&b));
	buf_fini(&b);
}

static void deliver(struct engine *e, const struct approval *a)
{
	struct session *s = session_find(e, a->session);
	bool granted = a->state == APPROVAL_GRANTED;
	char text[128 + APPROVALS_REASON_MAX_BYTES];

	if (granted)
		(void)snprintf(text, sizeof(text), "granted by %s", a->by);
	else if (a->state == APPROVAL_EXPIRED)
		(void)snprintf(text, sizeof(text),
			       "nobody answered the approval in time");
	else
		(void)snprintf(text, sizeof(text), "denied by %s%s%s",
			       a->by[0] ? a->by : "the engine",
			       a->reason[0] ? ": " : "", a->reason);
	note(e, a);
	if (!s)
		return;
	if (a->kind == POLICY_SESSION)
		session_approval_decided(s, granted, text);
	else if (a->kind == POLICY_EGRESS)
		tunnel_decided(s, a->context, granted, a->rule, text);
	else if (a->kind == POLICY_VSOCK)
		vsock_door_decided(s, a->context, granted, a->rule, text);
	else if (a->kind == POLICY_TOOL)
		infer_tool_decided(s, a->context, granted, a->rule, text);
}

/**
 * approving_put_question() - Say in an event what is asked
 * @b:		Attributes
 * @id:		Number of the approval
 * @target:	What is judged, as in a rule
 * @q:		The question; its summary is escaped here
 *
 * Return: ERR_OK; as attrs_put_text().
 */
enum err approving_put_question(struct buf *b, uint64_t id, const char *target,
				const struct approval_question *q)
{
	char summary[APPROVALS_SUMMARY_MAX_BYTES], digest[2 * DIGEST_BYTES + 1];
	enum err err = attrs_put_u64(b, "kenaz.approval.id", id);

	(void)text_escape_line(q->summary, summary, sizeof(summary));
	text_hex(q->digest, DIGEST_BYTES, digest);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.approval.digest",
				     span_text(digest));
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.approval.summary",
				     span_text(summary));
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.policy.target",
				     span_text(target));
	return err;
}

/**
 * approving_withdraw() - Take a question back, for nobody waits any more
 * @e:		Engine
 * @id:		Number of the approval; one that was decided stays decided
 * @reason:	Why, for the log
 */
void approving_withdraw(struct engine *e, uint64_t id, const char *reason)
{
	const struct approval *waiting = approvals_find(e->approvals, id);
	struct approval a;

	if (!waiting || waiting->state != APPROVAL_WAITING)
		return;
	a = *waiting;
	a.state = APPROVAL_EXPIRED;
	(void)snprintf(a.reason, sizeof(a.reason), "%s", reason);
	approvals_withdraw(e->approvals, id);
	note(e, &a);
}

/** approving_withdraw_session() - Take all questions of a session back */
void approving_withdraw_session(struct engine *e, const char *session,
				const char *reason)
{
	size_t i = approvals_count(e->approvals);

	while (i--) {
		const struct approval *a = approvals_at(e->approvals, i);

		if (strcmp(a->session, session) == 0)
			approving_withdraw(e, a->id, reason);
	}
	/* Answers that were not delivered yet have nobody to go to. */
	approvals_withdraw_session(e->approvals, session);
}

/** approving_pump() - Expire what is due and deliver what was decided */
void approving_pump(struct engine *e)
{
	struct approval a;

	approvals_expire(e->approvals, engine_now_ns());
	while (approvals_take_decided(e->approvals, &a))
		deliver(e, &a);
}
