/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_deny.c - refusals of requests, in the log and to the client
 *
 * Runs in: kenazd.
 * Trusts:  the gate to say an error in its client's dialect.
 * Never:   speaks a dialect itself.
 */
#include <stdio.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/infer.h"
#include "engine/core/infer_state.h"

/**
 * infer_deny() - Refuse a request that waits for core
 * @s:		Session
 * @request:	The gate's number
 * @d:		Why, borrowed
 */
void infer_deny(struct session *s, uint64_t request,
		const struct infer_denial *d)
{
	struct msg_infer_deny m = {
		.request = request,
		.http_status = d->http_status,
		.type = span_text(error_class_name(d->type)),
		.rule = span_text(d->rule ? d->rule : ""),
		.text = span_text(d->text),
		.retry_after_s = d->retry_after_s,
	};

	if (s->gate &&
	    chan_send_infer_deny(s->gate->chan, &m, NULL, 0) != ERR_OK)
		log_warn("session %s: a refusal was not delivered", s->id);
}

/** infer_deny_error() - Refuse a request for what core could not do */
void infer_deny_error(struct session *s, uint64_t request, enum err error,
		      const char *text)
{
	struct infer_denial d = {.http_status = 503,
				 .type = ERROR_CLASS_API,
				 .text = text};

	if (error == ERR_LIMIT) {
		d.http_status = 429;
		d.type = ERROR_CLASS_RATE;
		d.retry_after_s = 1;
	} else if (error == ERR_FORMAT || error == ERR_UNSUPPORTED) {
		d.http_status = 400;
		d.type = ERROR_CLASS_INVALID;
	}
	infer_deny(s, request, &d);
}

/**
 * infer_deny_policy() - Write a decision against a request, and tell it
 * @s:		Session
 * @request:	The gate's number
 * @target:	Word of policy files
 * @name:	What was asked for
 * @decision:	The decision
 * @model:	For the log, escaped
 */
void infer_deny_policy(struct session *s, uint64_t request, const char *target,
		       const char *name, const struct policy_decision *decision,
		       const char *model)
{
	char text[REASON_MAX_BYTES];
	struct infer_denial d = {.http_status = 403,
				 .type = ERROR_CLASS_PERMISSION,
				 .rule = decision->rule,
				 .text = text};
	struct buf b;
	enum err err;

	(void)snprintf(text, sizeof(text),
		       "Kenaz policy denied %s %s: rule %s%s%s", target, name,
		       decision->rule, decision->reason ? ": " : "",
		       decision->reason ? decision->reason : "");
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.policy.target", span_text(target));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.policy.subject",
				     span_text(name));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "gen_ai.request.model",
				     span_text(model));
	if (err == ERR_OK)
		err = infer_put_decision(&b, decision);
	if (err == ERR_OK)
		session_note(s, "policy.deny", buf_span(&b));
	buf_fini(&b);
	infer_deny(s, request, &d);
}
