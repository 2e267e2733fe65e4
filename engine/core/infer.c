/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer.c - one inference request from its gate to its outcome
 *
 * Runs in: kenazd.
 * Trusts:  the broker for what was sent and received; what only the gate saw
 *	    is written as gate-reported.
 * Never:   parses a body; lets an attempt go without a durable intent.
 *
 * States: asked -> intent (append and grant are on their way) -> running
 * (durable: the gate has the stream) -> outcome (broker and gate are both
 * done, response.received is being written) -> gone. A request whose gate
 * left stays until the broker reported, so that its outcome is written.
 */
#include "engine/core/infer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/memfd.h"
#include "engine/core/broker_client.h"
#include "engine/core/control.h"
#include "engine/core/infer_state.h"
#include "engine/core/infer_tool.h"
#include "engine/core/price.h"
#include "engine/core/route_of.h"

/* Until the reply says: about four bytes of a request make a token. */
#define TOKEN_BYTES_GUESS 4u

/** infer_free() - Forget a request; what still waits for it is dropped */
void infer_free(struct infer *i)
{
	struct session *s = i->session;

	audit_forget(s->engine, i);
	broker_forget(s->engine, i);
	if (i->reservation) {
		struct budget_amounts none = {0};

		if (budget_settle(s->engine->budget, i->reservation, &none) !=
		    ERR_OK)
			log_warn("a reservation was lost");
	}
	if (i->gate_fd >= 0)
		close(i->gate_fd);
	if (i->body_fd >= 0)
		close(i->body_fd);
	buf_fini(&i->body);
	LIST_REMOVE(i, next);
	s->n_infers--;
	free(i);
}

static struct infer *find(struct session *s, uint64_t request)
{
	struct infer *i;

	LIST_FOREACH(i, &s->infers, next)
	if (i->request == request && !i->gate_left)
		return i;
	return NULL;
}

/** infer_is_running() - Whether a gate may still hand on this response */
bool infer_is_running(const struct session *s, uint64_t request)
{
	const struct infer *i;

	if (!session_is_live(s))
		return false;
	LIST_FOREACH(i, &s->infers, next)
	if (i->request == request && !i->gate_left && i->state == INFER_RUNNING)
		return true;
	return false;
}

/**
 * infer_put_decision() - Append a decision's fields to an event
 * @b:	Attributes
 * @d:	Decision
 *
 * Return: as attrs_put_text().
 */
enum err infer_put_decision(struct buf *b, const struct policy_decision *d)
{
	struct span matched[POLICY_MATCHED_MAX];
	size_t i;
	enum err err = attrs_put_text(b, "kenaz.policy.effect",
				      span_text(policy_effect_text(d->effect)));

	for (i = 0; i < d->listed_count; i++)
		matched[i] = span_text(d->matched[i]);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.policy.rule",
				     span_text(d->rule));
	if (err == ERR_OK)
		err = attrs_put_list(b, "kenaz.policy.matched", matched,
				     d->listed_count);
	if (err == ERR_OK && d->matched_count > d->listed_count)
		err = attrs_put_u64(b, "kenaz.policy.matched_count",
				    d->matched_count);
	if (err == ERR_OK && d->reason && d->reason[0])
		err = attrs_put_text(b, "kenaz.policy.reason",
				     span_text(d->reason));
	return err;
}

struct denial {
	uint16_t http_status;
	const char *type, *rule, *text;
	uint32_t retry_after_s;
};

static void deny(struct session *s, uint64_t request, const struct denial *d)
{
	struct msg_infer_deny m = {.request = request,
				   .http_status = d->http_status,
				   .type = span_text(d->type),
				   .rule = span_text(d->rule ? d->rule : ""),
				   .text = span_text(d->text),
				   .retry_after_s = d->retry_after_s};

	if (s->gate &&
	    chan_send_infer_deny(s->gate->chan, &m, NULL, 0) != ERR_OK)
		log_warn("session %s: a refusal was not delivered", s->id);
}

static void deny_error(struct session *s, uint64_t request, enum err error,
		       const char *text)
{
	struct denial d = {.http_status = 503,
			   .type = "api_error",
			   .text = text};

	if (error == ERR_LIMIT) {
		d.http_status = 429;
		d.type = "rate_limit_error";
		d.retry_after_s = 1;
	} else if (error == ERR_FORMAT || error == ERR_UNSUPPORTED) {
		d.http_status = 400;
		d.type = "invalid_request_error";
	}
	deny(s, request, &d);
}

/* A decision against the request: in the log, and to the client. */
static void deny_policy(struct session *s, uint64_t request, const char *target,
			const char *name,
			const struct policy_decision *decision,
			const char *model)
{
	char text[REASON_MAX_BYTES];
	struct denial d = {.http_status = 403,
			   .type = "permission_error",
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
	deny(s, request, &d);
}

static const struct config_provider *provider_of(struct session *s)
{
	return s->provider[0]
		       ? config_find_provider(s->engine->config, s->provider)
		       : config_default_provider(s->engine->config);
}

static void write_results(struct session *s, struct span results)
{
	struct reader r;
	struct attr a;

	reader_init(&r, results);
	while (attrs_next(&r, &a)) {
		struct buf b;
		enum err err;

		buf_init(&b, 1024);
		err = attrs_put_text(&b, "gen_ai.tool.call.id", a.key);
		if (err == ERR_OK)
			err = attrs_put_text(&b, "kenaz.gate_reported.result",
					     a.text);
		if (err == ERR_OK)
			session_note(s, "tool.completed", buf_span(&b));
		/* Each counts: the next request pays for too many. */
		(void)session_admits(s);
		buf_fini(&b);
	}
}

/* Every provider-side feature found must be allowed, each on its own. */
static bool features_allowed(struct session *s, const struct msg_infer_ask *m,
			     const char *model)
{
	struct policy_request request = {.target = POLICY_FEATURE,
					 .user = span_text(s->user),
					 .image = span_text(s->image)};
	struct policy_decision d;
	struct reader r, list;
	struct attr a;
	char name[129];

	reader_init(&r, m->features);
	while (attrs_next(&r, &a)) {
		struct span one = a.text;

		reader_init(&list, a.items);
		while (a.type == ATTR_LIST ? attrs_list_next(&list, &one)
					   : true) {
			request.name = one;
			policy_evaluate(s->engine->policy, &request, &d);
			if (d.effect != POLICY_ALLOW) {
				(void)text_escape_line(one, name, sizeof(name));
				deny_policy(s, m->request, "feature", name, &d,
					    model);
				return false;
			}
			if (a.type != ATTR_LIST)
				break;
		}
	}
	return r.status == ERR_OK;
}

static void on_intent_durable(void *context, struct audit_outcome *o)
{
	struct infer *i = context;
	struct session *s = i->session;
	struct msg_infer_grant m = {.request = i->request,
				    .grant = i->grant,
				    .scripted = i->scripted ? 1 : 0};
	char text[REASON_MAX_BYTES];
	int fd = i->gate_fd;

	i->gate_fd = -1;
	if (o->error != ERR_OK) {
		if (fd >= 0)
			close(fd);
		broker_cancel(s->engine, i->grant);
		(void)snprintf(text, sizeof(text),
			       "Kenaz refuses every request while its log "
			       "cannot be written: %s",
			       o->text ? o->text : err_text(o->error));
		if (!i->gate_left)
			deny_error(s, i->request, o->error, text);
		infer_free(i);
		return;
	}
	i->state = INFER_RUNNING;
	s->usage.requests++;
	if (i->gate_left || !s->gate) {
		if (fd >= 0)
			close(fd);
		i->gate_left = true;
		if (!i->broker_done)
			broker_cancel(s->engine, i->grant);
		infer_maybe_finish(i);
		return;
	}
	if (chan_send_infer_grant(s->gate->chan, &m, &fd, 1) != ERR_OK)
		log_warn("session %s: a grant was not delivered", s->id);
	infer_maybe_finish(i);
}

/* What is audited is what is sent: the forwarded headers word for word. */
static enum err put_headers(struct buf *b, const struct route_request *route,
			    const uint8_t *header_digest)
{
	struct span lines[ROUTE_HEADERS_MAX];
	char digest[2 * DIGEST_BYTES + 1];
	struct buf text;
	size_t i, at[ROUTE_HEADERS_MAX + 1] = {0};
	enum err err = ERR_OK;

	text_hex(header_digest, DIGEST_BYTES, digest);
	buf_init(&text, EVENT_FIELDS_MAX_BYTES);
	for (i = 0; err == ERR_OK && i < route->header_count; i++) {
		err = buf_put_span(&text, route->headers[i].name);
		if (err == ERR_OK)
			err = buf_put_text(&text, ": ");
		if (err == ERR_OK)
			err = buf_put_span(&text, route->headers[i].value);
		at[i + 1] = text.len_bytes;
	}
	for (i = 0; err == ERR_OK && i < route->header_count; i++)
		lines[i] = span_of(text.data + at[i], at[i + 1] - at[i]);
	if (err == ERR_OK && route->header_count)
		err = attrs_put_list(b, "kenaz.request.headers", lines,
				     route->header_count);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.request.header_sha256",
				     span_text(digest));
	buf_fini(&text);
	return err;
}

static enum err write_intent(struct infer *i, const struct msg_infer_ask *m,
			     int *body_fd, const struct route_request *route,
			     const uint8_t *header_digest,
			     const struct policy_decision *d)
{
	struct session *s = i->session;
	struct audit_event event = {.kind = "prompt.sent",
				    .session = s->id,
				    .actor = s->actor,
				    .grant = i->grant,
				    .header_digest = header_digest,
				    .body_digest = m->body_digest,
				    .payload_fd = -1};
	char digest[2 * DIGEST_BYTES + 1];
	struct reader r;
	struct attr a;
	struct buf b;
	enum err err;

	text_hex(m->body_digest, DIGEST_BYTES, digest);
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_u64(&b, "kenaz.grant", i->grant);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "gen_ai.operation.name",
				     span_text(i->route == ROUTE_MESSAGES
						       ? "chat"
						       : route_name(i->route)));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "gen_ai.provider.name",
				     span_text(i->kind));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.provider",
				     span_text(i->provider));
	if (err == ERR_OK && i->model[0])
		err = attrs_put_text(&b, "gen_ai.request.model",
				     span_text(i->model));
	if (err == ERR_OK)
		err = attrs_put_bool(&b, "gen_ai.request.stream", i->stream);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "http.request.method",
				     span_text(route->method));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "url.full",
				     span_of(route->url, route->url_len_bytes));
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.request.bytes", m->body_bytes);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.request.sha256",
				     span_text(digest));
	if (err == ERR_OK)
		err = put_headers(&b, route, header_digest);
	if (err == ERR_OK && m->agent.len_bytes)
		err = attrs_put_text(&b, "kenaz.guest_claimed.user_agent",
				     m->agent);
	reader_init(&r, m->tools);
	if (err == ERR_OK && attrs_next(&r, &a) && a.type == ATTR_LIST &&
	    a.count) {
		struct span names[ATTR_LIST_MAX_ITEMS];
		struct reader list;
		size_t n = 0;

		reader_init(&list, a.items);
		while (n < ATTR_LIST_MAX_ITEMS &&
		       attrs_list_next(&list, &names[n]))
			n++;
		err = attrs_put_list(&b, "kenaz.gate_reported.tools", names, n);
	}
	if (err == ERR_OK)
		err = infer_put_decision(&b, d);
	event.attributes = buf_span(&b);
	if (m->body_bytes) {
		event.payload_name = "request.body";
		event.payload_bytes = m->body_bytes;
		s->payload_bytes += m->body_bytes;
		event.payload_inline = m->body_inline;
		if (*body_fd >= 0) {
			event.payload_fd = dup(*body_fd);
			if (event.payload_fd < 0)
				err = ERR_SYS;
		}
	}
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, on_intent_durable, i);
	buf_fini(&b);
	return err;
}

static enum err send_grant(struct infer *i, const struct msg_infer_ask *m,
			   int *body_fd, const uint8_t *header_digest)
{
	struct session *s = i->session;
	struct msg_grant g = {.grant = i->grant,
			      .provider = span_text(i->provider),
			      .route = (uint16_t)i->route,
			      .model = m->model,
			      .headers = m->headers,
			      .query = m->query,
			      .body_bytes = m->body_bytes,
			      .body_inline = m->body_inline,
			      .has_stream = 1,
			      .keep_body = 1,
			      .total_timeout_ns = (uint64_t)s->engine->config
							  ->limits.request_s *
						  1000000000ull,
			      .response_max_bytes = RESPONSE_MAX_BYTES};
	int pair[2], fds[2];
	size_t n = 1;

	memcpy(g.header_digest, header_digest, DIGEST_BYTES);
	memcpy(g.body_digest, m->body_digest, DIGEST_BYTES);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       pair) < 0)
		return ERR_SYS;
	i->gate_fd = pair[1];
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

/* What the request's own tokens will cost; a price must be known to count. */
static enum err guess_price(struct session *s, struct infer *i, int64_t tokens,
			    int64_t *ret_microusd)
{
	struct price_usage usage = {.input = (uint32_t)tokens};
	struct policy_decision d = {
		.effect = POLICY_DENY,
		.rule = "budget.usd",
		.reason = "a USD budget is set and this model's price is not "
			  "known",
		.matched_count = 1,
		.listed_count = 1,
		.matched = {"budget.usd"}};

	*ret_microusd = 0;
	if (i->route != ROUTE_MESSAGES ||
	    price_of(provider_find(span_text(i->kind)), span_text(i->model),
		     &usage, ret_microusd) ||
	    !has_usd_budget(s))
		return ERR_OK;
	deny_policy(s, i->request, "inference", i->provider, &d, i->model);
	return ERR_DENIED;
}

static enum err reserve(struct session *s, struct infer *i, uint64_t body_bytes)
{
	struct budget_amounts want = {0};
	struct budget_refusal refusal;
	uint64_t wall_us = engine_wall_us();
	enum err err;

	want.of[BUDGET_REQUESTS] = 1;
	want.of[BUDGET_TOKENS] = (int64_t)(body_bytes / TOKEN_BYTES_GUESS) + 1;
	want.of[BUDGET_BYTES] = (int64_t)body_bytes;
	err = guess_price(s, i, want.of[BUDGET_TOKENS],
			  &want.of[BUDGET_MICROUSD]);
	if (err != ERR_OK)
		return err;
	err = budget_reserve(s->engine->budget, s->id, s->user, &want,
			     (int64_t)wall_us, &refusal, &i->reservation);
	if (err != ERR_OK) {
		uint64_t reset =
			refusal.reset_wall_us > (int64_t)wall_us
				? (uint64_t)refusal.reset_wall_us - wall_us
				: 0;
		struct denial d = {.http_status = 429,
				   .type = "rate_limit_error",
				   .rule = "budget",
				   .text = refusal.text,
				   .retry_after_s =
					   (uint32_t)(reset / 1000000u)};
		struct buf b;

		buf_init(&b, 2048);
		if (attrs_put_text(&b, "kenaz.policy.target",
				   span_text("budget")) == ERR_OK &&
		    attrs_put_text(&b, "kenaz.policy.reason",
				   span_text(refusal.text)) == ERR_OK)
			session_note(s, "policy.deny", buf_span(&b));
		buf_fini(&b);
		deny(s, i->request, &d);
	}
	return err;
}

/* The intent is on its way to the log: its outcome must follow it there. */
static void never_granted(struct infer *i, enum err error, const char *text)
{
	i->gate_left = i->broker_done = true;
	i->transfer_error = error;
	(void)snprintf(i->transfer_text, sizeof(i->transfer_text),
		       "nothing was sent: %s", text);
}

static void begin(struct session *s, const struct msg_infer_ask *m,
		  int *body_fd, const struct config_provider *p,
		  const char *model, const struct policy_decision *d)
{
	uint8_t header_digest[DIGEST_BYTES];
	struct route_request route;
	struct infer *i = calloc(1, sizeof(*i));
	bool intended = false;
	enum err err;

	if (!i) {
		deny_error(s, m->request, ERR_MEMORY, err_text(ERR_MEMORY));
		return;
	}
	i->session = s;
	i->request = m->request;
	i->gate_fd = i->body_fd = -1;
	i->route = (enum route)m->route;
	i->stream = m->stream != 0;
	i->scripted = strcmp(p->kind, CONFIG_SCRIPTED) == 0;
	i->started_ns = engine_now_ns();
	i->grant = broker_next_grant(s->engine);
	buf_init(&i->body, BODY_INLINE_MAX_BYTES);
	(void)snprintf(i->provider, sizeof(i->provider), "%s", p->name);
	(void)snprintf(i->kind, sizeof(i->kind), "%s", p->kind);
	(void)snprintf(i->model, sizeof(i->model), "%s", model);
	LIST_INSERT_HEAD(&s->infers, i, next);
	s->n_infers++;
	if (reserve(s, i, m->body_bytes) != ERR_OK) {
		infer_free(i);
		return;
	}
	err = route_request_of(p, i->route, m->model, m->query, m->headers,
			       &route);
	if (err == ERR_OK)
		err = route_header_digest(&route, header_digest);
	if (err == ERR_OK && !broker_client_ready(s->engine))
		err = ERR_CLOSED;
	if (err == ERR_OK)
		err = write_intent(i, m, body_fd, &route, header_digest, d);
	if (err == ERR_OK) {
		err = send_grant(i, m, body_fd, header_digest);
		intended = true;
	}
	if (err != ERR_OK) {
		const char *text = err_text(err);

		if (err == ERR_SEALED || err == ERR_STORAGE)
			text = "Kenaz refuses every request while its log "
			       "cannot be written";
		else if (err == ERR_CLOSED)
			text = "the broker is being restarted; try again";
		deny_error(s, m->request, err, text);
		if (intended)
			never_granted(i, err, text);
		else
			infer_free(i);
	}
}

/* kenaz.toml says which models of a provider exist for its users. */
static void deny_model(struct session *s, uint64_t request,
		       const struct config_provider *p, const char *model)
{
	struct policy_decision d = {
		.effect = POLICY_DENY,
		.rule = "config.models",
		.reason = "this model is not in the provider's list of models",
		.matched_count = 1,
		.listed_count = 1,
		.matched = {"config.models"}};

	deny_policy(s, request, "inference", p->name, &d, model);
}

static void decide(struct session *s, const struct msg_infer_ask *m,
		   int *body_fd, const char *model)
{
	struct policy_request request = {.target = POLICY_INFERENCE,
					 .user = span_text(s->user),
					 .image = span_text(s->image)};
	const struct config_provider *p = provider_of(s);
	struct policy_decision d;

	request.model = m->model;
	request.route = span_text(route_name((enum route)m->route));
	request.provider = span_text(p ? p->name : "none");
	request.provider_unknown = !p;
	policy_evaluate(s->engine->policy, &request, &d);
	if (d.effect != POLICY_ALLOW || !p) {
		if (d.effect == POLICY_ASK)
			d.reason = "an approval is asked for, and inference "
				   "requests cannot wait for one";
		deny_policy(s, m->request, "inference",
			    p ? p->name : "provider", &d, model);
	} else if (m->route != ROUTE_MODELS &&
		   !config_allows_model(p, m->model)) {
		deny_model(s, m->request, p, model);
	} else if (features_allowed(s, m, model)) {
		begin(s, m, body_fd, p, model, &d);
	}
}

/* What the broker would take as core's own fault ends the gate instead. */
static bool body_is_sound(const struct msg_infer_ask *m, int body_fd)
{
	size_t size;

	if (m->body_bytes <= BODY_INLINE_MAX_BYTES)
		return body_fd < 0 && m->body_inline.len_bytes == m->body_bytes;
	return body_fd >= 0 && m->body_inline.len_bytes == 0 &&
	       memfd_check(body_fd, BODY_MAX_BYTES, &size) == ERR_OK &&
	       size == m->body_bytes;
}

static enum err take_ask(struct session *s, struct chan_message *cm)
{
	struct msg_infer_ask m;
	char model[MODEL_MAX_BYTES + 1];
	int body_fd = -1;
	enum err err = msg_infer_ask_get(cm->payload, &m);

	if (err != ERR_OK)
		return err;
	if (cm->n_fds) {
		body_fd = cm->fds[0];
		cm->fds[0] = -1;
	}
	(void)text_escape_line(m.model, model, sizeof(model));
	if (!body_is_sound(&m, body_fd)) {
		err = ERR_FORMAT;
	} else if (!session_is_live(s) || s->engine->leaving) {
		deny_error(s, m.request, ERR_STATE,
			   s->engine->leaving
				   ? "the engine is being restarted; try again"
				   : "the session is not ready or is ending");
	} else if (s->payload_bytes + m.body_bytes >
		   s->engine->config->limits.payload_bytes) {
		deny_error(s, m.request, ERR_LIMIT,
			   "limits.payload_bytes is spent: this session may "
			   "put no more payloads into the log");
	} else if (!session_admits(s)) {
		deny_error(s, m.request, ERR_LIMIT,
			   "limits.event_rate_per_s is spent for this second");
	} else if (s->n_infers >= SESSION_REQUESTS_MAX) {
		deny_error(s, m.request, ERR_LIMIT,
			   "too many requests of this session at once");
	} else if (find(s, m.request)) {
		err = ERR_STATE;
	} else {
		write_results(s, m.results);
		decide(s, &m, &body_fd, model);
	}
	if (body_fd >= 0)
		close(body_fd);
	return err;
}

static enum err take_end(struct session *s, struct span payload)
{
	struct msg_infer_end m;
	struct infer *i;
	enum err err = msg_infer_end_get(payload, &m);

	if (err != ERR_OK)
		return err;
	i = find(s, m.request);
	if (!i || i->gate_done)
		return i ? ERR_STATE : ERR_OK;
	i->gate_done = true;
	i->gate_error = err_from_wire(m.error);
	(void)text_escape_line(m.text, i->gate_text, sizeof(i->gate_text));
	(void)text_escape_line(m.response_id, i->response_id,
			       sizeof(i->response_id));
	(void)text_escape_line(m.response_model, i->response_model,
			       sizeof(i->response_model));
	(void)text_escape_line(m.stop_reason, i->stop_reason,
			       sizeof(i->stop_reason));
	i->usage_known = m.usage_known != 0;
	/* Gate-reported: bounded, so that sums cannot wrap. */
	i->input_tokens = m.input_tokens & 0xffffffffu;
	i->output_tokens = m.output_tokens & 0xffffffffu;
	i->cache_read = m.cache_read_tokens & 0xffffffffu;
	i->cache_write = m.cache_write_tokens & 0xffffffffu;
	i->tool_calls = m.tool_calls;
	i->tool_calls_denied = m.tool_calls_denied;
	if (i->gate_error != ERR_OK && !i->broker_done)
		broker_cancel(s->engine, i->grant);
	infer_maybe_finish(i);
	return ERR_OK;
}

static enum err take_cancel(struct session *s, struct span payload)
{
	struct msg_infer_cancel m;
	struct infer *i;
	enum err err = msg_infer_cancel_get(payload, &m);

	if (err != ERR_OK)
		return err;
	i = find(s, m.request);
	if (!i)
		return ERR_OK;
	i->gate_left = true;
	infer_tools_cancel(s, m.request);
	if (i->state == INFER_OUTCOME)
		return ERR_OK;
	if (i->state != INFER_INTENT) {
		if (!i->broker_done)
			broker_cancel(s->engine, i->grant);
		infer_maybe_finish(i);
	}
	return ERR_OK;
}

/** infer_on_message() - Messages of a gate about its requests */
enum err infer_on_message(struct session *s, struct chan_message *m)
{
	if (m->type == MSG_INFER_ASK)
		return take_ask(s, m);
	if (m->type == MSG_INFER_TOOL)
		return infer_tool_on_message(s, m->payload);
	if (m->type == MSG_INFER_END)
		return take_end(s, m->payload);
	if (m->type == MSG_INFER_CANCEL)
		return take_cancel(s, m->payload);
	return ERR_STATE;
}

/**
 * infers_end() - Fail every running request of a session
 * @s:		Session
 * @reason:	Sentence for the log
 *
 * Their outcomes are written as far as the broker still reports them.
 */
void infers_end(struct session *s, const char *reason)
{
	struct infer *i, *after;

	for (i = LIST_FIRST(&s->infers); i; i = after) {
		after = LIST_NEXT(i, next);
		if (i->state == INFER_OUTCOME)
			continue;
		if (!i->broker_done)
			broker_cancel(s->engine, i->grant);
		infer_answer_gate(i, ERR_CANCELLED, reason);
		i->gate_left = true;
		i->gate_error = ERR_CANCELLED;
		(void)snprintf(i->gate_text, sizeof(i->gate_text), "%s",
			       reason);
		infer_maybe_finish(i);
	}
}
