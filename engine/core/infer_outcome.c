/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_outcome.c - what became of a request, in the log before its client
 *
 * Runs in: kenazd.
 * Trusts:  the broker for what was sent and received; what only the gate saw
 *	    is written as gate-reported.
 * Never:   answers the gate before response.received is durable.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/infer.h"
#include "engine/core/infer_state.h"
#include "engine/core/price.h"
#include "engine/core/route_of.h"
#include "engine/providers/provider.h"

static void put_error(struct infer *i, enum err *err, struct buf *b)
{
	enum err worst = i->now.transfer_error != ERR_OK ? i->now.transfer_error
							 : i->now.gate_error;
	const char *text = i->now.transfer_error != ERR_OK
				   ? i->now.transfer_text
				   : i->now.gate_text;

	if (worst == ERR_OK)
		return;
	if (*err == ERR_OK)
		*err = attrs_put_text(b, "error.type",
				      span_text(err_name(worst)));
	if (*err == ERR_OK && text)
		*err = attrs_put_text(b, "kenaz.error", span_text(text));
}

/* Why and how the request goes on, when this attempt was not its last. */
static enum err put_retry(const struct infer *i, struct buf *b)
{
	const struct retry_plan *plan = &i->now.plan;
	enum err err;

	if (plan->step == RETRY_STOP)
		return ERR_OK;
	err = attrs_put_text(b, "kenaz.retry",
			     span_text(infer_retry_name(
				     retry_class(&i->now.seen))));
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.retry.next",
				     span_text(plan->step == RETRY_SAME
						       ? "same provider"
						       : "next candidate"));
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.retry.after_ms",
				    plan->delay_ns / 1000000u);
	return err;
}

/* Kinds of parts that the client's dialect could not take: "a, b". */
static enum err put_dropped(const struct infer *i, struct buf *b)
{
	struct span items[16];
	const char *at = i->now.dropped;
	size_t n = 0;

	while (at && *at && n < ARRAY_SIZE(items)) {
		size_t len = strcspn(at, ",");

		items[n++] = span_of(at, len);
		at += len;
		at += strspn(at, ", ");
	}
	return n ? attrs_put_list(b, "kenaz.gate_reported.dropped", items, n)
		 : ERR_OK;
}

/* What budgets count where the provider's own count is missing or partial. */
static enum err put_estimate(const struct infer *i, struct buf *b)
{
	const struct usage_charged *c = &i->now.charged;
	enum err err = attrs_put_bool(b, "kenaz.usage_estimated", true);

	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.estimated.input_tokens",
				    c->input_tokens);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.estimated.output_tokens",
				    c->output_tokens);
	return err;
}

static enum err put_outcome(struct infer *i, struct buf *b)
{
	char digest[2 * DIGEST_BYTES + 1];
	enum err err;

	text_hex(i->now.response_digest, DIGEST_BYTES, digest);
	err = attrs_put_u64(b, "kenaz.grant", i->now.grant);
	if (err == ERR_OK)
		err = attrs_put_text(b, "gen_ai.provider.name",
				     span_text(infer_candidate(i)->kind));
	if (err == ERR_OK)
		err = infer_put_model(b, "gen_ai.request.model",
				      infer_candidate(i)->model);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.attempt", i->number);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "http.response.status_code",
				    i->now.seen.http_status);
	/* Of a lost broker nobody knows. */
	if (err == ERR_OK && (i->now.seen.has_broker || i->now.never_granted))
		err = attrs_put_bool(b, "kenaz.sent", i->now.sent);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.response.bytes",
				    i->now.response_bytes);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.response.sha256",
				     span_text(digest));
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.first_byte_us",
				    i->now.first_byte_ns / 1000u);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.total_us",
				    i->now.total_ns / 1000u);
	if (err == ERR_OK && i->now.key_echoed)
		err = attrs_put_bool(b, "kenaz.key_echoed", true);
	if (err == ERR_OK && i->gate_left)
		err = attrs_put_bool(b, "kenaz.client_left", true);
	put_error(i, &err, b);
	if (err == ERR_OK && i->now.charged.estimated)
		err = put_estimate(i, b);
	if (err == ERR_OK)
		err = put_retry(i, b);
	if (err != ERR_OK || !i->now.gate_done)
		return err;
	if (i->now.response_id)
		err = attrs_put_text(b, "gen_ai.response.id",
				     span_text(i->now.response_id));
	if (err == ERR_OK && i->now.response_model)
		err = attrs_put_text(b, "gen_ai.response.model",
				     span_text(i->now.response_model));
	if (err == ERR_OK && i->now.stop_reason) {
		struct span reason = span_text(i->now.stop_reason);

		err = attrs_put_list(b, "gen_ai.response.finish_reasons",
				     &reason, 1);
	}
	if (err == ERR_OK && i->now.usage_known) {
		err = attrs_put_u64(b, "gen_ai.usage.input_tokens",
				    i->now.input_tokens);
		if (err == ERR_OK)
			err = attrs_put_u64(b, "gen_ai.usage.output_tokens",
					    i->now.output_tokens);
		if (err == ERR_OK && i->now.cache_read)
			err = attrs_put_u64(
				b, "gen_ai.usage.cache_read.input_tokens",
				i->now.cache_read);
		if (err == ERR_OK && i->now.cache_write)
			err = attrs_put_u64(
				b, "gen_ai.usage.cache_creation.input_tokens",
				i->now.cache_write);
	}
	if (err == ERR_OK && i->now.tool_calls)
		err = attrs_put_u64(b, "kenaz.gate_reported.tool_calls",
				    i->now.tool_calls);
	if (err == ERR_OK && i->now.tool_calls_denied)
		err = attrs_put_u64(b, "kenaz.gate_reported.tool_calls_denied",
				    i->now.tool_calls_denied);
	return err == ERR_OK ? put_dropped(i, b) : err;
}

/**
 * infer_answer_gate() - Tell the gate whether the outcome is durable
 * @i:		Request
 * @error:	ERR_OK when it is
 * @text:	Why not, or NULL
 * @retry:	Another attempt follows: drop the response
 */
void infer_answer_gate(struct infer *i, enum err error, const char *text,
		       bool retry)
{
	struct msg_infer_durable m = {.request = i->request,
				      .error = error,
				      .text = span_text(text ? text : ""),
				      .retry = retry ? 1 : 0};
	struct session *s = i->session;

	if (!i->gate_left && s->gate &&
	    chan_send_infer_durable(s->gate->chan, &m, NULL, 0) != ERR_OK)
		log_warn("session %s: an outcome was not delivered", s->id);
}

static void on_outcome_durable(void *context, struct audit_outcome *o)
{
	struct infer *i = context;

	bool retry = o->error == ERR_OK && !i->gate_left &&
		     session_is_live(i->session) &&
		     !i->session->engine->leaving &&
		     i->now.plan.step != RETRY_STOP;

	infer_answer_gate(i, o->error, o->text, retry);
	if (retry)
		infer_go_on(i);
	else
		infer_free(i);
}

/* Who did not count is not charged nothing: see infer_usage.c. */
static void charge(struct infer *i)
{
	const struct infer_attempt *a = &i->now;
	const struct usage_seen seen = {
		.generates = infer_route_generates(i->route),
		.lost = !a->seen.has_broker && !a->never_granted,
		.unpaid = !i->gate_left && retry_class(&a->seen) != RETRY_NONE,
		.sent = a->sent,
		.whole = a->gate_done && a->gate_error == ERR_OK &&
			 a->transfer_error == ERR_OK,
		.known = a->usage_known,
		.stream = i->stream,
		.http_status = a->seen.http_status,
		.input_tokens = a->input_tokens,
		.output_tokens = a->output_tokens,
		.request_bytes = a->request_bytes,
		.response_bytes = a->response_bytes,
		.total_ms = a->total_ns / 1000000u,
		.most_input = a->most_input,
		.most_output = a->most_output,
	};

	usage_charge(&seen, &i->now.charged);
}

/* Whether the provider is one whose own figure counts before the table. */
static bool reports_cost(const struct infer *i)
{
	const struct provider_kind *kind =
		provider_find(span_text(infer_candidate(i)->kind));

	return i->now.cost_known && kind &&
	       (kind->capabilities & PROVIDER_REPORTS_COST);
}

static void settle(struct infer *i)
{
	const struct usage_charged *c = &i->now.charged;
	struct session *s = i->session;
	struct budget_amounts used = {0};
	/* take_end() cut them to 32 bits, and so were those reserved. */
	struct price_usage tokens = {(uint32_t)c->input_tokens,
				     (uint32_t)c->output_tokens,
				     (uint32_t)i->now.cache_read,
				     (uint32_t)i->now.cache_write};
	int64_t *microusd = &used.of[BUDGET_MICROUSD];

	/* An unknown price passes only where no USD budget is set. */
	if ((!reports_cost(i) || c->estimated) &&
	    !price_at(s->engine->config, infer_candidate(i)->provider,
		      infer_candidate(i)->kind,
		      span_text(infer_candidate(i)->model), &tokens, microusd))
		*microusd = 0;
	if (i->now.cost_known && *microusd < (int64_t)i->now.cost_microusd)
		*microusd = (int64_t)i->now.cost_microusd;
	used.of[BUDGET_REQUESTS] = 1;
	used.of[BUDGET_TOKENS] = (int64_t)(c->input_tokens + c->output_tokens);
	used.of[BUDGET_BYTES] =
		(int64_t)(i->now.request_bytes + i->now.response_bytes);
	if (!i->now.seen.has_broker && !i->now.never_granted)
		used.of[BUDGET_BYTES] = i->now.reserved.of[BUDGET_BYTES];
	used.of[BUDGET_TIME_MS] = (int64_t)(i->now.total_ns / 1000000u);
	if (i->now.reservation &&
	    budget_settle(s->engine->budget, i->now.reservation, &used) !=
		    ERR_OK)
		log_warn("a reservation was lost");
	i->now.reservation = 0;
	s->usage.input_tokens += c->input_tokens;
	s->usage.output_tokens += c->output_tokens;
	s->usage.tool_calls += i->now.tool_calls;
	s->usage.tool_calls_denied += i->now.tool_calls_denied;
	s->usage.bytes += i->now.request_bytes + i->now.response_bytes;
}

/** infer_maybe_finish() - Write the outcome once broker and gate reported */
void infer_maybe_finish(struct infer *i)
{
	struct session *s = i->session;
	struct audit_event event = {.kind = "response.received",
				    .session = s->id,
				    .actor = s->actor,
				    .payload_fd = -1};
	struct buf b;
	enum err err;

	if (i->state != INFER_RUNNING || !i->now.broker_done ||
	    (!i->now.gate_done && !i->gate_left))
		return;
	infer_plan(i);
	i->state = INFER_OUTCOME;
	charge(i);
	settle(i);
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_outcome(i, &b);
	event.attributes = buf_span(&b);
	if (i->now.response_bytes &&
	    (i->now.body_fd >= 0 || i->now.body.len_bytes)) {
		event.payload_name = "response.body";
		event.payload_fd = i->now.body_fd;
		i->now.body_fd = -1;
		event.payload_inline = buf_span(&i->now.body);
		event.payload_bytes = i->now.response_bytes;
		s->payload_bytes += i->now.response_bytes;
	}
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, on_outcome_durable, i);
	buf_fini(&b);
	if (err != ERR_OK) {
		infer_answer_gate(
			i, err,
			"the log cannot be written: the outcome of this "
			"request is not recorded",
			false);
		infer_free(i);
	}
}

/* Once for each secret and session: which key worked for whom. */
static void note_secret(struct infer *i)
{
	struct session *s = i->session;
	const struct config_provider *p =
		config_find_provider(s->engine->config,
				     infer_candidate(i)->provider);
	const char *secret = p ? route_secret_of(p) : "";
	struct buf b;
	enum err err;

	if (!secret[0] || strcmp(secret, s->secret_noted) == 0)
		return;
	(void)snprintf(s->secret_noted, sizeof(s->secret_noted), "%s", secret);
	buf_init(&b, 1024);
	err = attrs_put_text(&b, "kenaz.secret", span_text(secret));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.provider",
				     span_text(infer_candidate(i)->provider));
	if (err == ERR_OK)
		session_note(s, "secret.used", buf_span(&b));
	buf_fini(&b);
}

/** infer_on_transfer_done() - The broker's report of an attempt */
void infer_on_transfer_done(void *context, struct transfer_outcome *o)
{
	struct infer *i = context;
	const struct msg_transfer_done *m = o->done;

	i->now.broker_done = true;
	i->now.transfer_error = o->error;
	infer_keep_text(&i->now.transfer_text, o->text ? o->text : "");
	if (m) {
		i->now.seen.has_broker = true;
		i->now.seen.http_status = m->http_status;
		i->now.seen.failure =
			m->failure < FAILURE_COUNT
				? (enum transfer_failure)m->failure
				: FAILURE_LOCAL;
		i->now.seen.should_retry = m->should_retry;
		if (m->retry_after_ms)
			i->now.seen.retry_after_ms = m->retry_after_ms;
		i->now.sent = m->sent != 0;
		if (i->now.sent)
			note_secret(i);
		i->now.key_echoed = m->key_echoed != 0;
		i->now.request_bytes = m->request_bytes;
		i->now.response_bytes = m->response_bytes;
		i->now.first_byte_ns = m->first_byte_ns;
		i->now.total_ns = m->total_ns;
		memcpy(i->now.response_digest, m->response_digest,
		       DIGEST_BYTES);
		if (o->body_fd >= 0) {
			i->now.body_fd = o->body_fd;
			o->body_fd = -1;
		} else if (buf_put_span(&i->now.body, m->body_inline) !=
			   ERR_OK) {
			log_error("a response body was too large to keep");
		}
	}
	infer_maybe_finish(i);
}
