/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_provider_test.c - one small request to a provider, and what it meant
 *
 * Runs in: kenazd.
 * Trusts:  the role of the client.
 * Never:   reads what a provider answered: its bytes go to the client as one
 *	    text. Sees a key.
 *
 * Where the provider has a list of models, that is what is asked for; it costs
 * nothing. Where it has none, or a model was named, that model is asked for a
 * token, which stands under no budget and so is for administrators.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/memfd.h"
#include "engine/base/text.h"
#include "engine/core/audit_client.h"
#include "engine/core/broker_client.h"
#include "engine/core/control.h"
#include "engine/core/probe_text.h"
#include "engine/core/route_of.h"

#define TEST_TIMEOUT_NS     (30ull * 1000000000ull)
#define TEST_RESPONSE_BYTES (8ull * 1024 * 1024)
#define TEST_BODY_BYTES     8192u
/* Escaped, with what is around it, it fits into one line. */
#define TEST_ANSWER_BYTES (CONTROL_LINE_MAX_BYTES - 4096u)

/* The smallest request of each dialect. The first row that fits counts. */
static const struct {
	enum dialect dialect;
	const char *kind; /* or NULL: any */
	const char *before, *after;
	bool has_model; /* between them; else it is in the path */
} bodies[] = {
	{DIALECT_ANTHROPIC, NULL, "{\"model\":",
	 ",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":"
	 "\"Hi\"}]}",
	 true},
	/* Its reasoning models know no max_tokens, and want more than one. */
	{DIALECT_CHAT, "openai", "{\"model\":",
	 ",\"max_completion_tokens\":16,\"messages\":[{\"role\":\"user\","
	 "\"content\":\"Hi\"}]}",
	 true},
	{DIALECT_CHAT, NULL, "{\"model\":",
	 ",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":"
	 "\"Hi\"}]}",
	 true},
	/* 16 is the least that it takes. */
	{DIALECT_RESPONSES, NULL, "{\"model\":",
	 ",\"max_output_tokens\":16,\"store\":false,\"input\":\"Hi\"}", true},
	{DIALECT_INVOKE, NULL,
	 "{\"anthropic_version\":\"bedrock-2023-05-31\",\"max_tokens\":1,"
	 "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}",
	 "", false},
	{DIALECT_CONVERSE, NULL,
	 "{\"inferenceConfig\":{\"maxTokens\":1},\"messages\":[{\"role\":"
	 "\"user\",\"content\":[{\"text\":\"Hi\"}]}]}",
	 "", false},
};

/* What is sent. */
struct probe {
	const struct config_provider *provider;
	const struct provider_kind *kind;
	enum route route;
	enum dialect dialect;
	const char *model; /* "" for a list */
	struct buf body;
};

static enum err put_body(struct probe *p)
{
	struct jsonw w;
	size_t i;
	enum err e;

	for (i = 0; i < ARRAY_SIZE(bodies); i++)
		if (bodies[i].dialect == p->dialect &&
		    (!bodies[i].kind ||
		     strcmp(bodies[i].kind, p->kind->name) == 0))
			break;
	if (i == ARRAY_SIZE(bodies))
		return ERR_NOT_FOUND;
	e = buf_put_text(&p->body, bodies[i].before);
	if (e == ERR_OK && bodies[i].has_model) {
		jsonw_init(&w, &p->body);
		jsonw_cstr(&w, p->model);
		e = jsonw_finish(&w);
	}
	return e == ERR_OK ? buf_put_text(&p->body, bodies[i].after) : e;
}

static const char *usual_model(const struct probe *p)
{
	if (p->provider->model_count)
		return p->provider->models[0];
	return p->kind->model_count ? p->kind->models[0].name : "";
}

/* --- the outcome -----------------------------------------------------------
 */

static bool is_good(const struct transfer_outcome *o)
{
	return o->error == ERR_OK && o->done && o->done->http_status >= 200 &&
	       o->done->http_status < 300;
}

/* A test that is under way; its client may leave before its outcome. */
struct tested {
	struct engine *engine;
	struct rpc *rpc; /* NULL once nobody waits */
	uint64_t grant;
	bool list;
	char name[NAME_MAX_BYTES + 1];
	char actor[ACTOR_MAX_BYTES];
	char url[ROUTE_URL_MAX_BYTES + 1];
};

/** rpc_provider_test_left() - A request is forgotten; its test goes on */
void rpc_provider_test_left(struct rpc *r)
{
	if (r->tested)
		r->tested->rpc = NULL;
	r->tested = NULL;
}

/* The provider may have been removed meanwhile. */
static void put_sentence(const struct tested *t,
			 const struct transfer_outcome *o, char *ret_text,
			 size_t cap_bytes)
{
	const struct config_provider *p =
		config_find_provider(t->engine->config, t->name);
	const struct provider_kind *kind =
		p ? provider_find(span_text(p->kind)) : NULL;
	const struct msg_transfer_done *m = o->done;
	struct probe_seen seen = {.error = m ? o->error : ERR_CLOSED,
				  .text = o->text ? o->text
						  : "the broker was lost",
				  .http_status = m ? m->http_status : 0,
				  .failure = m ? m->failure : 0,
				  .cause = m ? m->cause : 0,
				  .auth = p && p->auth ? p->auth
					  : kind ? provider_auth_name(kind)
						 : "none",
				  .secret = p ? route_secret_of(p) : "",
				  .list = t->list,
				  .has_ca_file = p && p->ca_file,
				  .has_proxy_secret = p && p->proxy_secret};

	probe_text_put(&seen, ret_text, cap_bytes);
}

static void note_outcome(struct tested *t, struct transfer_outcome *o,
			 const char *text)
{
	const struct msg_transfer_done *m = o->done;
	struct audit_event event = {.kind = "response.received",
				    .actor = t->actor,
				    .payload_fd = -1};
	char digest[2 * DIGEST_BYTES + 1];
	struct buf b;
	enum err e;

	buf_init(&b, 8192);
	e = attrs_put_text(&b, "kenaz.provider", span_text(t->name));
	if (e == ERR_OK)
		e = attrs_put_u64(&b, "kenaz.grant", t->grant);
	if (e == ERR_OK)
		e = attrs_put_u64(&b, "http.response.status_code",
				  m ? m->http_status : 0);
	if (e == ERR_OK)
		e = attrs_put_text(&b, "kenaz.reason", span_text(text));
	if (e == ERR_OK && m && m->response_bytes) {
		text_hex(m->response_digest, DIGEST_BYTES, digest);
		e = attrs_put_u64(&b, "kenaz.response.bytes",
				  m->response_bytes);
		if (e == ERR_OK)
			e = attrs_put_text(&b, "kenaz.response.sha256",
					   span_text(digest));
		if (o->body_fd >= 0 || m->body_inline.len_bytes) {
			event.payload_name = "response.body";
			event.payload_bytes = m->response_bytes;
			event.payload_inline = m->body_inline;
		}
	}
	if (e == ERR_OK && o->body_fd >= 0) {
		event.payload_fd = dup(o->body_fd);
		e = event.payload_fd >= 0 ? ERR_OK : ERR_SYS;
	}
	event.attributes = buf_span(&b);
	if (e == ERR_OK)
		e = audit_append(t->engine, &event, NULL, NULL);
	if (e != ERR_OK)
		log_error("the test of provider %s is not in the log: %s",
			  t->name, err_text(e));
	buf_fini(&b);
}

static void put_answer(struct jsonw *w, const struct tested *t,
		       const struct transfer_outcome *o, const char *text,
		       struct span body, const char *left_out)
{
	const struct msg_transfer_done *m = o->done;

	jsonw_begin_object(w);
	jsonw_put_bool(w, "ok", is_good(o));
	jsonw_put_u64(w, "http_status",
		      o->error == ERR_OK && m ? m->http_status : 0);
	jsonw_put_u64(w, "latency_ms", m ? m->total_ns / 1000000u : 0);
	jsonw_put_cstr(w, "text", text);
	jsonw_put_bool(w, "list", t->list);
	/* Nobody was asked where we refused it ourselves. */
	if (!m || (m->failure != FAILURE_LOCAL && m->failure != FAILURE_NO_KEY))
		jsonw_put_cstr(w, "url", t->url);
	if (body.len_bytes)
		jsonw_put_text(w, "body", body);
	if (left_out)
		jsonw_put_cstr(w, "body_left_out", left_out);
	jsonw_end_object(w);
}

static void reply(struct tested *t, const struct transfer_outcome *o,
		  const char *text, struct span body)
{
	const char *left_out = NULL;
	struct jsonw w;
	struct buf b;

	if (!text_is_utf8(body)) {
		left_out = "it is not UTF-8";
		body = (struct span){0};
	}
	buf_init(&b, TEST_ANSWER_BYTES);
	jsonw_init(&w, &b);
	put_answer(&w, t, o, text, body, left_out);
	if (w.status != ERR_OK && body.len_bytes) {
		buf_fini(&b);
		buf_init(&b, TEST_ANSWER_BYTES);
		jsonw_init(&w, &b);
		put_answer(&w, t, o, text, (struct span){0}, "it is too large");
	}
	rpc_finish(t->rpc, &w, &b);
}

static void on_tested(void *context, struct transfer_outcome *o)
{
	struct tested *t = context;
	const struct msg_transfer_done *m = o->done;
	struct body body = {0};
	struct span bytes = {0};
	char text[REASON_MAX_BYTES];

	put_sentence(t, o, text, sizeof(text));
	note_outcome(t, o, text);
	if (t->rpc && m && o->error == ERR_OK && m->response_bytes &&
	    (o->body_fd >= 0 || m->body_inline.len_bytes) &&
	    body_open(m->body_inline, o->body_fd, m->response_bytes,
		      TEST_RESPONSE_BYTES, &body) == ERR_OK)
		bytes = body.bytes;
	if (t->rpc) {
		t->rpc->tested = NULL;
		reply(t, o, text, bytes);
	}
	body_close(&body);
	free(t);
}

/* --- asking ------------------------------------------------------------------
 */

static enum err put_intent(struct buf *b, const struct probe *p,
			   const struct route_request *route, uint64_t grant)
{
	char model[MODEL_MAX_BYTES + 1];
	enum err e = attrs_put_u64(b, "kenaz.grant", grant);

	if (e == ERR_OK)
		e = attrs_put_text(b, "gen_ai.operation.name",
				   span_text("provider.test"));
	if (e == ERR_OK)
		e = attrs_put_text(b, "kenaz.provider",
				   span_text(p->provider->name));
	if (e == ERR_OK && p->model[0]) {
		(void)text_escape_line(span_text(p->model), model,
				       sizeof(model));
		e = attrs_put_text(b, "gen_ai.request.model", span_text(model));
	}
	if (e == ERR_OK)
		e = attrs_put_text(b, "url.full",
				   span_of(route->url, route->url_len_bytes));
	return e;
}

static struct tested *tested_new(struct rpc *r, const struct probe *p,
				 const struct route_request *route,
				 uint64_t grant)
{
	struct tested *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	*t = (struct tested){.engine = r->engine,
			     .rpc = r,
			     .grant = grant,
			     .list = p->route == ROUTE_MODELS};
	(void)snprintf(t->name, sizeof(t->name), "%s", p->provider->name);
	(void)snprintf(t->actor, sizeof(t->actor), "%s", r->conn->actor);
	(void)snprintf(t->url, sizeof(t->url), "%s", route->url);
	return t;
}

static enum err send_probe(struct rpc *r, const struct probe *p)
{
	struct engine *e = r->engine;
	struct msg_grant g = {.provider = span_text(p->provider->name),
			      .route = (uint16_t)p->route,
			      .model = span_text(p->model),
			      .body_bytes = p->body.len_bytes,
			      .body_inline = buf_span(&p->body),
			      .keep_body = 1,
			      .total_timeout_ns = TEST_TIMEOUT_NS,
			      .response_max_bytes = TEST_RESPONSE_BYTES};
	struct audit_event event = {.kind = "prompt.sent",
				    .actor = r->conn->actor,
				    .header_digest = g.header_digest,
				    .body_digest = g.body_digest,
				    .payload_fd = -1};
	struct route_request route;
	struct tested *t = NULL;
	struct buf b;
	enum err err =
		route_request_of(p->provider, p->route, g.model,
				 (struct span){0}, (struct span){0}, &route);

	if (err == ERR_OK)
		err = route_header_digest(&route, g.header_digest);
	if (err != ERR_OK)
		return err;
	digest_sha256(g.body_inline, g.body_digest);
	g.grant = event.grant = broker_next_grant(e);
	if (p->body.len_bytes) {
		event.payload_name = "request.body";
		event.payload_bytes = p->body.len_bytes;
		event.payload_inline = g.body_inline;
	}
	buf_init(&b, 8192);
	err = put_intent(&b, p, &route, g.grant);
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(e, &event, NULL, NULL);
	buf_fini(&b);
	if (err == ERR_OK)
		t = tested_new(r, p, &route, g.grant);
	if (err == ERR_OK && !t)
		err = ERR_MEMORY;
	if (err == ERR_OK)
		err = broker_grant(e, &g, NULL, 0, on_tested, t);
	if (err != ERR_OK) {
		/* The intent is in the log; so is its outcome, then. */
		struct transfer_outcome o = {.error = err, .body_fd = -1};

		if (t)
			note_outcome(t, &o, err_text(err));
		free(t);
		return err;
	}
	r->tested = t;
	return ERR_OK;
}

/* Answers and gives false when that model cannot be asked. */
static bool plan_model(struct rpc *r, struct probe *p, const char *model)
{
	const char *name = p->provider->name;
	struct provider_ask ask = {DIALECT_ANTHROPIC, ROUTE_MESSAGES,
				   span_text(model), false};
	struct provider_wire wire;

	if (!(r->conn->peer.roles & ROLES_ADMIN)) {
		rpc_fail(r, ERR_PERMISSION,
			 "asking a model stands under no budget here, and "
			 "needs the role admin");
		return false;
	}
	if (!model[0]) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "provider %s has no list of models: name one of its "
			 "models with --model",
			 name);
		return false;
	}
	if (strlen(model) > MODEL_MAX_BYTES ||
	    !config_allows_model(p->provider, ask.model)) {
		rpc_fail(r, ERR_DENIED,
			 "models of provider %s in kenaz.toml do not include "
			 "%.80s",
			 name, model);
		return false;
	}
	if (!provider_wire(p->kind, p->provider->dialects, &ask, &wire)) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "provider %s cannot be asked for model %.80s in any "
			 "of its dialects",
			 name, model);
		return false;
	}
	p->model = model;
	p->route = wire.route;
	p->dialect = wire.dialect;
	return true;
}

static void test(struct rpc *r, struct probe *p, const char *model)
{
	enum err err = ERR_OK;

	p->route = ROUTE_MODELS;
	p->model = "";
	if (model || !provider_route(p->kind, p->provider->dialects,
				     ROUTE_MODELS, (struct span){0})) {
		if (!plan_model(r, p, model ? model : usual_model(p)))
			return;
		err = put_body(p);
	}
	if (err == ERR_OK)
		err = send_probe(r, p);
	if (err != ERR_OK)
		rpc_fail(r, err, "provider %s cannot be tested: %s",
			 p->provider->name, err_text(err));
}

static void provider_test(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"name", "model", NULL};
	struct probe p = {0};
	const char *name, *model;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "name", true, &name) ||
	    !rpc_get_text(r, params, "model", false, &model))
		return;
	p.provider = config_find_provider(r->engine->config, name);
	p.kind = p.provider ? provider_find(span_text(p.provider->kind)) : NULL;
	if (!p.kind) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "provider %s is not configured; see `kenaz provider "
			 "list`",
			 name);
		return;
	}
	buf_init(&p.body, TEST_BODY_BYTES);
	test(r, &p, model);
	buf_fini(&p.body);
}

const struct rpc_method rpc_provider_test_methods[] = {
	{"provider.test", provider_test},
	{NULL, NULL},
};
