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

/* What follows from a status; the first row that fits counts. */
static const struct {
	unsigned from, to;
	const char *text;
} statuses[] = {
	{200, 299, "it answered"},
	{401, 401,
	 "it refused the key: set the right one with `kenaz secret set`"},
	{402, 402, "it took the key, and wants credit or a payment first"},
	{403, 403,
	 "it refused the key, or what the key may do: set another one with "
	 "`kenaz secret set`, or allow the model where the key was made"},
	{404, 405,
	 "it has no such path or model: check the endpoint, or name a model "
	 "that it has with --model"},
	{429, 429,
	 "it took the key, and its rate limit or quota is used up: try again "
	 "later"},
	{400, 499,
	 "it refused the request: check kind, dialects and, with --model, the "
	 "model"},
	{500, 599, "it failed by itself: try again later"},
};

static const struct {
	enum transfer_failure failure;
	const char *remedy;
} remedies[] = {
	{FAILURE_CONNECT,
	 "is it running, and are the endpoint and the proxy right?"},
	{FAILURE_TLS,
	 "if its certificate is signed by a CA of your own, name that with "
	 "--ca-file"},
	{FAILURE_TIMEOUT_CONNECT,
	 "is the endpoint right, and does a firewall or proxy stand between?"},
	{FAILURE_TIMEOUT_FIRST_BYTE,
	 "it may still be loading a model: try again, or raise "
	 "first_byte_timeout_s"},
	{FAILURE_TIMEOUT_IDLE, "try again later"},
	{FAILURE_TIMEOUT_TOTAL, "it may still be loading a model: try again"},
	{FAILURE_RESET, "try again; does the endpoint speak https or http?"},
	{FAILURE_TOO_LARGE, "is the endpoint a provider's?"},
	{FAILURE_PROTOCOL,
	 "the endpoint must be the provider itself, not what redirects to it"},
};

static bool is_good(const struct transfer_outcome *o)
{
	return o->error == ERR_OK && o->done && o->done->http_status >= 200 &&
	       o->done->http_status < 300;
}

static void put_sentence(const struct transfer_outcome *o, char *ret_text,
			 size_t cap_bytes)
{
	const struct msg_transfer_done *m = o->done;
	size_t i;

	ret_text[0] = '\0';
	if (o->error == ERR_OK && m) {
		for (i = 0; i < ARRAY_SIZE(statuses); i++)
			if (m->http_status >= statuses[i].from &&
			    m->http_status <= statuses[i].to)
				break;
		text_append(ret_text, cap_bytes, "HTTP %u: %s", m->http_status,
			    i < ARRAY_SIZE(statuses) ? statuses[i].text
						     : "it did not answer");
		return;
	}
	text_append(ret_text, cap_bytes, "%s", o->text);
	for (i = 0; m && i < ARRAY_SIZE(remedies); i++)
		if ((unsigned)remedies[i].failure == m->failure)
			text_append(ret_text, cap_bytes, "; %s",
				    remedies[i].remedy);
}

static void note_outcome(struct rpc *r, struct transfer_outcome *o,
			 const char *text)
{
	const struct msg_transfer_done *m = o->done;
	struct audit_event event = {.kind = "response.received",
				    .actor = r->conn ? r->conn->actor : NULL,
				    .payload_fd = -1};
	char digest[2 * DIGEST_BYTES + 1];
	struct buf b;
	enum err e;

	buf_init(&b, 8192);
	e = attrs_put_text(&b, "kenaz.provider", span_text(r->name));
	if (e == ERR_OK)
		e = attrs_put_u64(&b, "kenaz.grant", r->number);
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
		e = audit_append(r->engine, &event, NULL, NULL);
	if (e != ERR_OK)
		log_error("the test of provider %s is not in the log: %s",
			  r->name, err_text(e));
	buf_fini(&b);
}

static void put_answer(struct jsonw *w, const struct transfer_outcome *o,
		       const char *text, bool list, struct span body,
		       const char *left_out)
{
	const struct msg_transfer_done *m = o->done;

	jsonw_begin_object(w);
	jsonw_put_bool(w, "ok", is_good(o));
	jsonw_put_u64(w, "http_status",
		      o->error == ERR_OK && m ? m->http_status : 0);
	jsonw_put_u64(w, "latency_ms", m ? m->total_ns / 1000000u : 0);
	jsonw_put_cstr(w, "text", text);
	jsonw_put_bool(w, "list", list);
	if (body.len_bytes)
		jsonw_put_text(w, "body", body);
	if (left_out)
		jsonw_put_cstr(w, "body_left_out", left_out);
	jsonw_end_object(w);
}

static void reply(struct rpc *r, const struct transfer_outcome *o,
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
	put_answer(&w, o, text, r->lists, body, left_out);
	if (w.status != ERR_OK && body.len_bytes) {
		buf_fini(&b);
		buf_init(&b, TEST_ANSWER_BYTES);
		jsonw_init(&w, &b);
		put_answer(&w, o, text, r->lists, (struct span){0},
			   "it is too large");
	}
	rpc_finish(r, &w, &b);
}

static void on_tested(void *context, struct transfer_outcome *o)
{
	struct rpc *r = context;
	const struct msg_transfer_done *m = o->done;
	struct body body = {0};
	struct span bytes = {0};
	char text[REASON_MAX_BYTES];

	put_sentence(o, text, sizeof(text));
	note_outcome(r, o, text);
	if (m && is_good(o) && m->response_bytes &&
	    (o->body_fd >= 0 || m->body_inline.len_bytes) &&
	    body_open(m->body_inline, o->body_fd, m->response_bytes,
		      TEST_RESPONSE_BYTES, &body) == ERR_OK)
		bytes = body.bytes;
	reply(r, o, text, bytes);
	body_close(&body);
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
	struct buf b;
	enum err err =
		route_request_of(p->provider, p->route, g.model,
				 (struct span){0}, (struct span){0}, &route);

	if (err == ERR_OK)
		err = route_header_digest(&route, g.header_digest);
	if (err != ERR_OK)
		return err;
	digest_sha256(g.body_inline, g.body_digest);
	g.grant = event.grant = r->number = broker_next_grant(e);
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
	return err == ERR_OK ? broker_grant(e, &g, NULL, 0, on_tested, r) : err;
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
	r->lists = p->route == ROUTE_MODELS;
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
	(void)snprintf(r->name, sizeof(r->name), "%s", p.provider->name);
	buf_init(&p.body, TEST_BODY_BYTES);
	test(r, &p, model);
	buf_fini(&p.body);
}

const struct rpc_method rpc_provider_test_methods[] = {
	{"provider.test", provider_test},
	{NULL, NULL},
};
