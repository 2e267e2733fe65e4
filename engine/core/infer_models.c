/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_models.c - a list of models where the provider has none to ask for
 *
 * Runs in: kenazd.
 * Trusts:  model_names.c for the names; the gate to say them in its client's
 *	    dialect.
 * Never:   answers before the decision is durable.
 */
#include <stdio.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/infer.h"
#include "engine/core/infer_state.h"
#include "engine/core/model_names.h"

static void refuse(struct infer *i, enum err error, const char *text)
{
	if (!i->gate_left)
		infer_deny_error(i->session, i->request, error, text);
	infer_free(i);
}

static void on_durable(void *context, struct audit_outcome *o)
{
	struct infer *i = context;
	struct session *s = i->session;
	struct msg_infer_models m = {.request = i->request,
				     .names = buf_span(&i->now.body),
				     .omitted = i->omitted};
	char text[REASON_MAX_BYTES];

	if (o->error != ERR_OK) {
		(void)snprintf(text, sizeof(text),
			       "Kenaz refuses every request while its log "
			       "cannot be written: %s",
			       o->text ? o->text : err_text(o->error));
		refuse(i, o->error, text);
		return;
	}
	if (!i->gate_left && s->gate &&
	    chan_send_infer_models(s->gate->chan, &m, NULL, 0) != ERR_OK)
		log_warn("session %s: a list of models was not delivered",
			 s->id);
	infer_free(i);
}

static enum err write_event(struct infer *i, uint32_t count,
			    const struct policy_decision *d)
{
	const struct infer_candidate *c = infer_candidate(i);
	struct audit_event event = {.kind = "policy.allow",
				    .session = i->session->id,
				    .actor = i->session->actor,
				    .payload_fd = -1};
	struct buf b;
	enum err err;

	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.policy.target", span_text("inference"));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.policy.subject",
				     span_text(c->provider));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "gen_ai.operation.name",
				     span_text(route_name(i->route)));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.dialect",
				     span_text(dialect_name(i->dialect)));
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.models", count);
	if (err == ERR_OK && i->omitted)
		err = attrs_put_u64(&b, "kenaz.models_omitted", i->omitted);
	if (err == ERR_OK)
		err = infer_put_decision(&b, d);
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(i->session->engine, &event, on_durable, i);
	buf_fini(&b);
	return err;
}

/**
 * infer_models_answer() - Answer with the names that are known here
 * @i:	Request for a list whose candidate has none; may be gone afterwards
 * @d:	The decision
 */
void infer_models_answer(struct infer *i, const struct policy_decision *d)
{
	struct session *s = i->session;
	const struct config *config = s->engine->config;
	const struct config_provider *p =
		config_find_provider(config, infer_candidate(i)->provider);
	const char *only = infer_may_leave_provider(s) ? NULL : s->provider;
	uint32_t count = 0;
	enum err err = p ? ERR_OK : ERR_CONFIG;

	i->state = INFER_INTENT;
	/* No broker has a part in it. */
	i->now.broker_done = true;
	buf_fini(&i->now.body);
	buf_init(&i->now.body, MODEL_NAMES_MAX_BYTES);
	if (err == ERR_OK)
		err = model_names(config, p, only, &i->now.body, &count,
				  &i->omitted);
	if (err == ERR_OK)
		err = write_event(i, count, d);
	if (err != ERR_OK)
		refuse(i, err,
		       err == ERR_SEALED || err == ERR_STORAGE
			       ? "Kenaz refuses every request while its log "
				 "cannot be written"
			       : err_text(err));
}
