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

static void put_error(struct infer *i, enum err *err, struct buf *b)
{
	enum err worst =
		i->transfer_error != ERR_OK ? i->transfer_error : i->gate_error;
	const char *text =
		i->transfer_error != ERR_OK ? i->transfer_text : i->gate_text;

	if (worst == ERR_OK)
		return;
	if (*err == ERR_OK)
		*err = attrs_put_text(b, "error.type",
				      span_text(err_name(worst)));
	if (*err == ERR_OK && text[0])
		*err = attrs_put_text(b, "kenaz.error", span_text(text));
}

static enum err put_outcome(struct infer *i, struct buf *b)
{
	char digest[2 * DIGEST_BYTES + 1];
	enum err err;

	text_hex(i->response_digest, DIGEST_BYTES, digest);
	err = attrs_put_u64(b, "kenaz.grant", i->grant);
	if (err == ERR_OK)
		err = attrs_put_text(b, "gen_ai.provider.name",
				     span_text(i->kind));
	if (err == ERR_OK)
		err = attrs_put_text(b, "gen_ai.request.model",
				     span_text(i->model));
	if (err == ERR_OK)
		err = attrs_put_u64(b, "http.response.status_code",
				    i->http_status);
	if (err == ERR_OK)
		err = attrs_put_bool(b, "kenaz.sent", i->sent);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.response.bytes",
				    i->response_bytes);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.response.sha256",
				     span_text(digest));
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.first_byte_us",
				    i->first_byte_ns / 1000u);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.total_us", i->total_ns / 1000u);
	if (err == ERR_OK && i->key_echoed)
		err = attrs_put_bool(b, "kenaz.key_echoed", true);
	if (err == ERR_OK && i->gate_left)
		err = attrs_put_bool(b, "kenaz.client_left", true);
	put_error(i, &err, b);
	if (err != ERR_OK || !i->gate_done)
		return err;
	if (i->response_id[0])
		err = attrs_put_text(b, "gen_ai.response.id",
				     span_text(i->response_id));
	if (err == ERR_OK && i->response_model[0])
		err = attrs_put_text(b, "gen_ai.response.model",
				     span_text(i->response_model));
	if (err == ERR_OK && i->stop_reason[0]) {
		struct span reason = span_text(i->stop_reason);

		err = attrs_put_list(b, "gen_ai.response.finish_reasons",
				     &reason, 1);
	}
	if (err == ERR_OK && i->usage_known) {
		err = attrs_put_u64(b, "gen_ai.usage.input_tokens",
				    i->input_tokens);
		if (err == ERR_OK)
			err = attrs_put_u64(b, "gen_ai.usage.output_tokens",
					    i->output_tokens);
		if (err == ERR_OK && i->cache_read)
			err = attrs_put_u64(
				b, "gen_ai.usage.cache_read.input_tokens",
				i->cache_read);
		if (err == ERR_OK && i->cache_write)
			err = attrs_put_u64(
				b, "gen_ai.usage.cache_creation.input_tokens",
				i->cache_write);
	}
	if (err == ERR_OK && i->tool_calls)
		err = attrs_put_u64(b, "kenaz.gate_reported.tool_calls",
				    i->tool_calls);
	if (err == ERR_OK && i->tool_calls_denied)
		err = attrs_put_u64(b, "kenaz.gate_reported.tool_calls_denied",
				    i->tool_calls_denied);
	return err;
}

/** infer_answer_gate() - Tell the gate whether the outcome is durable */
void infer_answer_gate(struct infer *i, enum err error, const char *text)
{
	struct msg_infer_durable m = {.request = i->request,
				      .error = error,
				      .text = span_text(text ? text : "")};
	struct session *s = i->session;

	if (!i->gate_left && s->gate &&
	    chan_send_infer_durable(s->gate->chan, &m, NULL, 0) != ERR_OK)
		log_warn("session %s: an outcome was not delivered", s->id);
}

static void on_outcome_durable(void *context, struct audit_outcome *o)
{
	struct infer *i = context;

	infer_answer_gate(i, o->error, o->text);
	infer_free(i);
}

static void settle(struct infer *i)
{
	struct session *s = i->session;
	struct budget_amounts used = {0};
	/* take_end() cut them to 32 bits. */
	struct price_usage tokens = {(uint32_t)i->input_tokens,
				     (uint32_t)i->output_tokens,
				     (uint32_t)i->cache_read,
				     (uint32_t)i->cache_write};

	/* An unknown price passes only where no USD budget is set. */
	if (!price_of(provider_find(span_text(i->kind)), span_text(i->model),
		      &tokens, &used.of[BUDGET_MICROUSD]))
		used.of[BUDGET_MICROUSD] = 0;
	used.of[BUDGET_REQUESTS] = 1;
	used.of[BUDGET_TOKENS] = (int64_t)(i->input_tokens + i->output_tokens);
	used.of[BUDGET_BYTES] = (int64_t)(i->request_bytes + i->response_bytes);
	used.of[BUDGET_TIME_MS] = (int64_t)(i->total_ns / 1000000u);
	if (i->reservation &&
	    budget_settle(s->engine->budget, i->reservation, &used) != ERR_OK)
		log_warn("a reservation was lost");
	i->reservation = 0;
	s->usage.input_tokens += i->input_tokens;
	s->usage.output_tokens += i->output_tokens;
	s->usage.tool_calls += i->tool_calls;
	s->usage.tool_calls_denied += i->tool_calls_denied;
	s->usage.bytes += i->request_bytes + i->response_bytes;
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

	if (i->state != INFER_RUNNING || !i->broker_done ||
	    (!i->gate_done && !i->gate_left))
		return;
	i->state = INFER_OUTCOME;
	settle(i);
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_outcome(i, &b);
	event.attributes = buf_span(&b);
	if (i->response_bytes && (i->body_fd >= 0 || i->body.len_bytes)) {
		event.payload_name = "response.body";
		event.payload_fd = i->body_fd;
		i->body_fd = -1;
		event.payload_inline = buf_span(&i->body);
		event.payload_bytes = i->response_bytes;
		s->payload_bytes += i->response_bytes;
	}
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, on_outcome_durable, i);
	buf_fini(&b);
	if (err != ERR_OK) {
		infer_answer_gate(
			i, err,
			"the log cannot be written: the outcome of this "
			"request is not recorded");
		infer_free(i);
	}
}

/* Once for each secret and session: which key worked for whom. */
static void note_secret(struct infer *i)
{
	struct session *s = i->session;
	const struct config_provider *p =
		config_find_provider(s->engine->config, i->provider);
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
				     span_text(i->provider));
	if (err == ERR_OK)
		session_note(s, "secret.used", buf_span(&b));
	buf_fini(&b);
}

/** infer_on_transfer_done() - The broker's report of an attempt */
void infer_on_transfer_done(void *context, struct transfer_outcome *o)
{
	struct infer *i = context;
	const struct msg_transfer_done *m = o->done;

	i->broker_done = true;
	i->transfer_error = o->error;
	(void)snprintf(i->transfer_text, sizeof(i->transfer_text), "%s",
		       o->text);
	if (m) {
		i->http_status = m->http_status;
		i->sent = m->sent != 0;
		if (i->sent)
			note_secret(i);
		i->key_echoed = m->key_echoed != 0;
		i->request_bytes = m->request_bytes;
		i->response_bytes = m->response_bytes;
		i->first_byte_ns = m->first_byte_ns;
		i->total_ns = m->total_ns;
		memcpy(i->response_digest, m->response_digest, DIGEST_BYTES);
		if (o->body_fd >= 0) {
			i->body_fd = o->body_fd;
			o->body_fd = -1;
		} else if (buf_put_span(&i->body, m->body_inline) != ERR_OK) {
			log_error("a response body was too large to keep");
		}
	}
	infer_maybe_finish(i);
}
