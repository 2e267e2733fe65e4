/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_attempt.c - one attempt: budget, intent, grant
 *
 * Runs in: kenazd.
 * Trusts:  audit to release the grant only once the intent is durable.
 * Never:   lets an attempt go without an intent and a reservation of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/circuit.h"
#include "engine/core/infer.h"
#include "engine/core/infer_state.h"
#include "engine/core/price.h"
#include "engine/core/route_of.h"

/* Of a model that nothing is known of, when the request does not say. */
#define ANSWER_TOKENS_GUESS 4096

/** infer_attempt_reset() - Release what the last attempt left behind */
void infer_attempt_reset(struct infer *i)
{
	struct infer_attempt *a = &i->now;
	struct budget_amounts none = {0};

	if (a->reservation && budget_settle(i->session->engine->budget,
					    a->reservation, &none) != ERR_OK)
		log_warn("a reservation was lost");
	if (a->gate_fd >= 0)
		close(a->gate_fd);
	if (a->body_fd >= 0)
		close(a->body_fd);
	buf_fini(&a->body);
	free(a->transfer_text);
	free(a->gate_text);
	free(a->response_id);
	free(a->response_model);
	free(a->stop_reason);
	free(a->dropped);
	if (a->probe)
		circuit_withdraw(circuit_of(&i->session->engine->circuits,
					    infer_candidate(i)->provider),
				 true);
	*a = (struct infer_attempt){.gate_fd = -1, .body_fd = -1};
	buf_init(&a->body, BODY_INLINE_MAX_BYTES);
}

/**
 * infer_keep_text() - Keep a text of an attempt for its outcome
 * @text:	Where; what was there before is released
 * @escaped:	Copied; of an empty one nothing is kept
 *
 * Without memory the outcome lacks the text, which the engine's own log says.
 */
void infer_keep_text(char **text, const char *escaped)
{
	free(*text);
	*text = escaped[0] ? strdup(escaped) : NULL;
	if (escaped[0] && !*text)
		log_error("out of memory: a text of an outcome is lost");
}

static enum err put_betas(const char *const *betas, struct buf *out)
{
	struct span items[ATTR_LIST_MAX_ITEMS];
	size_t n = 0;

	while (n < ATTR_LIST_MAX_ITEMS && betas[n]) {
		items[n] = span_text(betas[n]);
		n++;
	}
	return attrs_put_list(out, "betas", items, n);
}

/** infer_attempt_prepare() - Have the gate make the next attempt's body */
void infer_attempt_prepare(struct infer *i)
{
	const struct infer_candidate *c = infer_candidate(i);
	const struct provider_kind *kind = provider_find(span_text(c->kind));
	struct session *s = i->session;
	const struct config *config = s->engine->config;
	const struct config_provider *p =
		config_find_provider(config, c->provider);
	const struct provider_model *known =
		p ? config_find_model(config, p, span_text(c->model)) : NULL;
	struct buf betas;
	struct msg_infer_prepare m = {
		.request = i->request,
		.attempt = i->number,
		.provider = span_text(c->provider),
		.kind = span_text(c->kind),
		.dialect = (uint16_t)c->dialect,
		.route = (uint16_t)c->route,
		.model = span_text(c->model),
		.want_usage = infer_wants_usage(i),
	};

	buf_init(&betas, 2048);
	if (known)
		m.max_tokens = known->output_tokens;
	if (kind && kind->betas && put_betas(kind->betas, &betas) == ERR_OK)
		m.betas = buf_span(&betas);
	i->state = INFER_PREPARING;
	if (s->gate &&
	    chan_send_infer_prepare(s->gate->chan, &m, NULL, 0) != ERR_OK)
		log_warn("session %s: an attempt was not begun", s->id);
	buf_fini(&betas);
}

static void on_intent_durable(void *context, struct audit_outcome *o)
{
	struct infer *i = context;
	struct session *s = i->session;
	const struct infer_candidate *c = infer_candidate(i);
	struct msg_infer_grant m = {
		.request = i->request,
		.grant = i->now.grant,
		.scripted = strcmp(c->kind, CONFIG_SCRIPTED) == 0,
		.attempt = i->number,
		.dialect = (uint16_t)c->dialect,
		.route = (uint16_t)c->route,
	};
	char text[REASON_MAX_BYTES];
	int fd = i->now.gate_fd;

	i->now.gate_fd = -1;
	if (o->error != ERR_OK) {
		if (fd >= 0)
			close(fd);
		broker_cancel(s->engine, i->now.grant);
		(void)snprintf(text, sizeof(text),
			       "Kenaz refuses every request while its log "
			       "cannot be written: %s",
			       o->text ? o->text : err_text(o->error));
		if (!i->gate_left)
			infer_deny_error(s, i->request, o->error, text);
		infer_free(i);
		return;
	}
	i->state = INFER_RUNNING;
	s->usage.requests++;
	if (i->gate_left || !s->gate) {
		if (fd >= 0)
			close(fd);
		i->gate_left = true;
		if (!i->now.broker_done)
			broker_cancel(s->engine, i->now.grant);
		infer_maybe_finish(i);
		return;
	}
	if (chan_send_infer_grant(s->gate->chan, &m, &fd, 1) != ERR_OK)
		log_warn("session %s: a grant was not delivered", s->id);
	infer_maybe_finish(i);
}

/* What limits.request_s leaves to this attempt; 0 would be no limit. */
static uint64_t time_left_ns(const struct infer *i)
{
	uint64_t most = (uint64_t)i->session->engine->config->limits.request_s *
			1000000000ull;
	uint64_t spent = engine_now_ns() - i->begun_ns;

	return spent < most ? most - spent : 1;
}

static enum err send_grant(struct infer *i, const struct msg_infer_ask *m,
			   int *body_fd, const uint8_t *header_digest)
{
	const struct infer_candidate *c = infer_candidate(i);
	struct session *s = i->session;
	struct msg_grant g = {.grant = i->now.grant,
			      .provider = span_text(c->provider),
			      .route = (uint16_t)c->route,
			      .model = span_text(c->model),
			      .headers = m->headers,
			      .query = m->query,
			      .body_bytes = m->body_bytes,
			      .body_inline = m->body_inline,
			      .has_stream = 1,
			      .keep_body = 1,
			      .total_timeout_ns = time_left_ns(i),
			      .response_max_bytes = RESPONSE_MAX_BYTES};
	int pair[2], fds[2];
	size_t n = 1;

	memcpy(g.header_digest, header_digest, DIGEST_BYTES);
	memcpy(g.body_digest, m->body_digest, DIGEST_BYTES);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       pair) < 0)
		return ERR_SYS;
	i->now.gate_fd = pair[1];
	fds[0] = pair[0];
	if (*body_fd >= 0) {
		fds[n++] = *body_fd;
		*body_fd = -1;
	}
	return broker_grant(s->engine, &g, fds, n, infer_on_transfer_done, i);
}

static bool has_usd_budget(const struct session *s)
{
	const struct budget_limits *l = policy_budgets(s->engine->policy);
	size_t scope;

	for (scope = 0; scope < BUDGET_SCOPE_COUNT; scope++)
		if (l->of[scope].of[BUDGET_MICROUSD] != BUDGET_UNLIMITED)
			return true;
	return false;
}

/* What the request costs at most; a price must be known to count. */
static enum err guess_price(struct infer *i, int64_t input, int64_t output,
			    int64_t *ret_microusd)
{
	const struct infer_candidate *c = infer_candidate(i);
	struct price_usage usage = {.input = (uint32_t)input,
				    .output = (uint32_t)output};
	struct policy_decision d = {
		.effect = POLICY_DENY,
		.rule = "budget.usd",
		.reason = "a USD budget is set and this model's price is not "
			  "known",
		.matched_count = 1,
		.listed_count = 1,
		.matched = {"budget.usd"}};
	char model[MODEL_MAX_BYTES + 1];

	*ret_microusd = 0;
	if (!infer_route_generates(i->route) ||
	    price_at(i->session->engine->config, c->provider, c->kind,
		     span_text(c->model), &usage, ret_microusd) ||
	    !has_usd_budget(i->session))
		return ERR_OK;
	(void)text_escape_line(span_text(c->model), model, sizeof(model));
	infer_deny_policy(i->session, i->request, "inference", c->provider, &d,
			  model);
	return ERR_DENIED;
}

static void refuse_budget(struct infer *i, const struct budget_refusal *refusal,
			  uint64_t wall_us)
{
	uint64_t reset = refusal->reset_wall_us > (int64_t)wall_us
				 ? (uint64_t)refusal->reset_wall_us - wall_us
				 : 0;
	struct infer_denial d = {.http_status = 429,
				 .type = ERROR_CLASS_RATE,
				 .rule = "budget",
				 .text = refusal->text,
				 .retry_after_s = (uint32_t)(reset / 1000000u)};
	struct buf b;

	buf_init(&b, 2048);
	if (attrs_put_text(&b, "kenaz.policy.target", span_text("budget")) ==
		    ERR_OK &&
	    attrs_put_text(&b, "kenaz.policy.reason",
			   span_text(refusal->text)) == ERR_OK)
		session_note(i->session, "policy.deny", buf_span(&b));
	buf_fini(&b);
	infer_deny(i->session, i->request, &d);
}

/* How many tokens the answer may have, as far as that is known. */
static int64_t longest_answer(const struct infer *i,
			      const struct msg_infer_ask *m)
{
	const struct infer_candidate *c = infer_candidate(i);
	const struct config *config = i->session->engine->config;
	const struct config_provider *p =
		config_find_provider(config, c->provider);
	const struct provider_model *known =
		p ? config_find_model(config, p, span_text(c->model)) : NULL;
	uint32_t most = known ? known->output_tokens : 0;

	if (!infer_route_generates(i->route))
		return 0;
	if (m->max_tokens && (!most || m->max_tokens < most))
		return m->max_tokens;
	return most ? most : ANSWER_TOKENS_GUESS;
}

static enum err reserve(struct infer *i, const struct msg_infer_ask *m)
{
	uint64_t body_bytes = m->body_bytes;
	int64_t input, output = longest_answer(i, m);
	struct session *s = i->session;
	struct budget_amounts want = {0};
	struct budget_refusal refusal;
	uint64_t wall_us = engine_wall_us();
	enum err err;

	want.of[BUDGET_REQUESTS] = 1;
	input = (int64_t)(body_bytes / USAGE_TOKEN_BYTES) + 1;
	i->now.most_input = (uint64_t)input;
	i->now.most_output = (uint64_t)output;
	/* What only counts or lists is a request, and no model's work. */
	if (infer_route_generates(i->route))
		want.of[BUDGET_TOKENS] = input + output;
	want.of[BUDGET_BYTES] = (int64_t)body_bytes;
	err = guess_price(i, input, output, &want.of[BUDGET_MICROUSD]);
	if (err != ERR_OK)
		return err;
	i->now.reserved = want;
	err = budget_reserve(s->engine->budget, s->id, s->user, &want,
			     (int64_t)wall_us, &refusal, &i->now.reservation);
	if (err == ERR_DENIED)
		refuse_budget(i, &refusal, wall_us);
	else if (err != ERR_OK)
		infer_deny_error(s, i->request, err, refusal.text);
	return err;
}

/* The intent is on its way to the log: its outcome must follow it there. */
static void never_granted(struct infer *i, enum err error, const char *text)
{
	char reason[REASON_MAX_BYTES];

	i->gate_left = i->now.broker_done = i->now.never_granted = true;
	i->now.transfer_error = error;
	(void)snprintf(reason, sizeof(reason), "nothing was sent: %s", text);
	infer_keep_text(&i->now.transfer_text, reason);
}

static enum err grant(struct infer *i, const struct msg_infer_ask *m,
		      int *body_fd, const struct policy_decision *d,
		      bool *ret_intended)
{
	const struct infer_candidate *c = infer_candidate(i);
	struct engine *e = i->session->engine;
	const struct config_provider *p =
		config_find_provider(e->config, c->provider);
	uint8_t header_digest[DIGEST_BYTES];
	struct route_request route;
	enum err err = p ? ERR_OK : ERR_CONFIG;

	if (err == ERR_OK)
		err = route_request_of(p, c->route, span_text(c->model),
				       m->query, m->headers, &route);
	if (err == ERR_OK)
		err = route_header_digest(&route, header_digest);
	if (err == ERR_OK && !broker_client_ready(e))
		err = ERR_CLOSED;
	if (err == ERR_OK)
		err = infer_write_intent(i, m, *body_fd, &route, header_digest,
					 d, on_intent_durable);
	if (err != ERR_OK)
		return err;
	*ret_intended = true;
	i->now.probe = circuit_begin(circuit_of(&e->circuits, c->provider));
	return send_grant(i, m, body_fd, header_digest);
}

/**
 * infer_attempt_go() - Reserve, write down and grant an attempt
 * @i:		Request; may be gone afterwards
 * @m:		What the gate wants to send, borrowed
 * @body_fd:	Body's memfd or -1; taken when it became -1
 * @d:		The decision for this attempt
 */
void infer_attempt_go(struct infer *i, const struct msg_infer_ask *m,
		      int *body_fd, const struct policy_decision *d)
{
	const char *text;
	bool intended = false;
	enum err err;

	i->state = INFER_INTENT;
	i->tries++;
	i->now.grant = broker_next_grant(i->session->engine);
	if (reserve(i, m) != ERR_OK) {
		infer_free(i);
		return;
	}
	err = grant(i, m, body_fd, d, &intended);
	if (err == ERR_OK)
		return;
	text = err_text(err);
	if (err == ERR_SEALED || err == ERR_STORAGE)
		text = "Kenaz refuses every request while its log cannot be "
		       "written";
	else if (err == ERR_CLOSED)
		text = "the broker is being restarted; try again";
	infer_deny_error(i->session, i->request, err, text);
	if (intended)
		never_granted(i, err, text);
	else
		infer_free(i);
}
