/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_tool.c - a tool call that the gate holds until it was judged
 *
 * Runs in: kenazd.
 * Trusts:  the gate to have cut the arguments into typed fields; the verdict
 *	    steers honest agents, the VM contains the others.
 * Never:   lets a call be handed on before its event is durable.
 */
#include "engine/core/infer_tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/core/approving.h"
#include "engine/core/infer.h"
#include "engine/core/policy_args.h"

/* A session is kept as long as one of its calls is on its way to the log. */
struct judged {
	LIST_ENTRY(judged) next;
	struct session *session;
	uint64_t request;
	uint32_t index;
	bool allow;
	char rule[RULE_MAX_BYTES];
	char text[REASON_MAX_BYTES];
	char name[129], call_id[CALL_ID_MAX_BYTES + 1];
	uint64_t approval;
	bool approval_waits;
};

static void answer(struct judged *j)
{
	struct msg_tool_verdict m = {.request = j->request,
				     .index = j->index,
				     .allow = j->allow ? 1 : 0,
				     .rule = span_text(j->rule),
				     .text = span_text(j->text)};
	struct session *s = j->session;

	if (s->gate &&
	    chan_send_tool_verdict(s->gate->chan, &m, NULL, 0) != ERR_OK)
		log_warn("session %s: a verdict was not delivered", s->id);
	LIST_REMOVE(j, next);
	free(j);
}

static void on_durable(void *context, struct audit_outcome *o)
{
	struct judged *j = context;

	if (o->error != ERR_OK) {
		j->allow = false;
		(void)snprintf(j->rule, sizeof(j->rule), "log");
		(void)snprintf(j->text, sizeof(j->text),
			       "the log cannot be written: %s",
			       o->text ? o->text : err_text(o->error));
	}
	answer(j);
}

static enum err put_call(struct buf *b, const struct msg_infer_tool *m)
{
	char digest[2 * DIGEST_BYTES + 1];
	enum err err;

	text_hex(m->arguments_digest, DIGEST_BYTES, digest);
	err = attrs_put_text(b, "gen_ai.tool.name", m->name);
	if (err == ERR_OK)
		err = attrs_put_text(b, "gen_ai.tool.call.id", m->call_id);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.gate_reported.arguments_bytes",
				    m->arguments_bytes);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.gate_reported.arguments_sha256",
				     span_text(digest));
	if (err == ERR_OK)
		err = attrs_put_bool(b, "gen_ai.request.stream",
				     m->streamed != 0);
	return err;
}

static void write_event(struct judged *j, const char *kind, struct buf *b,
			struct span arguments)
{
	struct session *s = j->session;
	struct audit_event event = {.kind = kind,
				    .session = s->id,
				    .actor = s->actor,
				    .attributes = buf_span(b),
				    .payload_fd = -1};
	enum err err;

	if (arguments.len_bytes) {
		event.payload_name = "tool.arguments";
		event.payload_bytes = arguments.len_bytes;
		s->payload_bytes += arguments.len_bytes;
		event.payload_inline = arguments;
	}
	err = audit_append(s->engine, &event, on_durable, j);
	if (err != ERR_OK) {
		struct audit_outcome o = {.error = err, .text = err_text(err)};

		on_durable(j, &o);
	}
}

static enum err ask(struct judged *j, const struct msg_infer_tool *m,
		    const struct policy_decision *d)
{
	struct session *s = j->session;
	struct approval_question q = {.session = s->id,
				      .user = s->user,
				      .rule = d->rule,
				      .kind = POLICY_TOOL,
				      .context = (uint64_t)(uintptr_t)j};
	struct span parts[3];
	char summary[640];
	struct buf b;
	enum err err;

	(void)snprintf(summary, sizeof(summary), "tool %s with %.*s", j->name,
		       (int)(m->arguments.len_bytes < 400
				     ? m->arguments.len_bytes
				     : 400),
		       (const char *)m->arguments.data);
	q.summary = span_text(summary);
	/* Exactly this call: its name and its arguments. */
	parts[0] = m->name;
	parts[1] = span_of("", 1);
	parts[2] = span_of(m->arguments_digest, DIGEST_BYTES);
	digest_sha256_parts(parts, ARRAY_SIZE(parts), q.digest);
	err = approvals_ask(s->engine->approvals, &q, engine_now_ns(),
			    &j->approval);
	if (err != ERR_OK)
		return err;
	j->approval_waits = true;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_call(&b, m);
	if (err == ERR_OK)
		err = infer_put_decision(&b, d);
	if (err == ERR_OK)
		err = approving_put_question(&b, j->approval, "tool", &q);
	if (err == ERR_OK)
		session_note(s, "approval.requested", buf_span(&b));
	buf_fini(&b);
	return ERR_OK;
}

/** infer_tool_on_message() - Judge a tool call and write it down */
enum err infer_tool_on_message(struct session *s, struct span payload)
{
	struct policy_arg args[POLICY_ARGS_MAX];
	struct policy_request request = {.target = POLICY_TOOL,
					 .user = span_text(s->user),
					 .image = span_text(s->image),
					 .args = args};
	struct policy_decision d;
	struct msg_infer_tool m;
	struct judged *j;
	struct buf b;
	enum err err = msg_infer_tool_get(payload, &m);

	if (err != ERR_OK)
		return err;
	j = calloc(1, sizeof(*j));
	if (!j)
		return ERR_MEMORY;
	LIST_INSERT_HEAD(&s->judged, j, next);
	j->session = s;
	j->request = m.request;
	j->index = m.index;
	(void)text_escape_line(m.name, j->name, sizeof(j->name));
	(void)text_escape_line(m.call_id, j->call_id, sizeof(j->call_id));
	if (!infer_is_running(s, m.request) || !session_admits(s)) {
		(void)snprintf(j->rule, sizeof(j->rule), "limits");
		(void)snprintf(j->text, sizeof(j->text),
			       "its request was ended, or limits."
			       "event_rate_per_s is spent for this second");
		answer(j);
		return ERR_OK;
	}
	request.name = m.name;
	request.arg_count = policy_args_collect(m.fields, m.cut, args,
						&request.args_incomplete);
	policy_evaluate(s->engine->policy, &request, &d);
	(void)snprintf(j->rule, sizeof(j->rule), "%s", d.rule);
	(void)snprintf(j->text, sizeof(j->text), "%s",
		       d.reason ? d.reason : "");
	if (d.effect == POLICY_ASK && !m.streamed && ask(j, &m, &d) == ERR_OK)
		return ERR_OK;
	if (d.effect == POLICY_ASK)
		(void)snprintf(j->text, sizeof(j->text),
			       "an approval is needed, and a streamed call "
			       "cannot wait for one");
	j->allow = d.effect == POLICY_ALLOW;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = j->allow ? ERR_OK
		       : attrs_put_text(&b, "kenaz.policy.target",
					span_text("tool"));
	if (err == ERR_OK)
		err = put_call(&b, &m);
	if (err == ERR_OK)
		err = infer_put_decision(&b, &d);
	if (err == ERR_OK) {
		write_event(j, j->allow ? "tool.invoked" : "policy.deny", &b,
			    m.arguments);
	} else {
		j->allow = false;
		answer(j);
	}
	buf_fini(&b);
	return ERR_OK;
}

/**
 * infer_tool_decided() - Somebody answered an approval of a tool call
 * @s:		Session
 * @context:	The question's context
 * @granted:	Whether it may be handed on
 * @rule:	Rule that asked
 * @text:	Who decided, or why nobody did
 */
void infer_tool_decided(struct session *s, uint64_t context, bool granted,
			const char *rule, const char *text)
{
	struct judged *j = (struct judged *)(uintptr_t)context;
	struct buf b;
	enum err err;

	j->approval_waits = false;
	if (granted && !infer_is_running(s, j->request)) {
		granted = false;
		text = "its request ended before it was granted";
	}
	j->allow = granted;
	(void)snprintf(j->rule, sizeof(j->rule), "%s", rule);
	(void)snprintf(j->text, sizeof(j->text), "%s", text);
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "gen_ai.tool.name", span_text(j->name));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "gen_ai.tool.call.id",
				     span_text(j->call_id));
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.approval.id", j->approval);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.policy.rule", span_text(rule));
	if (err == ERR_OK) {
		write_event(j, granted ? "tool.invoked" : "policy.deny", &b,
			    (struct span){0});
	} else {
		j->allow = false;
		answer(j);
	}
	buf_fini(&b);
}

/** infer_tools_cancel() - The client of a request hung up: nobody waits */
void infer_tools_cancel(struct session *s, uint64_t request)
{
	struct judged *j, *after;

	for (j = LIST_FIRST(&s->judged); j; j = after) {
		after = LIST_NEXT(j, next);
		if (!j->approval_waits || j->request != request)
			continue;
		approving_withdraw(s->engine, j->approval,
				   "its client hung up");
		LIST_REMOVE(j, next);
		free(j);
	}
}

/** infer_tools_end() - The approvals of a session's calls were withdrawn */
void infer_tools_end(struct session *s)
{
	struct judged *j, *after;

	for (j = LIST_FIRST(&s->judged); j; j = after) {
		after = LIST_NEXT(j, next);
		if (!j->approval_waits)
			continue;
		LIST_REMOVE(j, next);
		free(j);
	}
}
