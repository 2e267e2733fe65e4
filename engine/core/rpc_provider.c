/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_provider.c - verbs about providers and their secrets
 *
 * Runs in: kenazd.
 * Trusts:  the role of the client.
 * Never:   sees a secret: the client's socket goes to the broker.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/broker_client.h"
#include "engine/core/control.h"
#include "engine/core/infer.h"
#include "engine/core/route_of.h"

#define TEST_TIMEOUT_NS     (30ull * 1000000000ull)
#define TEST_RESPONSE_BYTES (8ull * 1024 * 1024)

static void finish(struct rpc *r, struct jsonw *w, struct buf *b)
{
	if (jsonw_finish(w) == ERR_OK)
		rpc_reply(r, buf_span(b));
	else
		rpc_fail(r, ERR_INTERNAL, "the answer could not be written");
	buf_fini(b);
}

static bool listed(struct span names, const char *name)
{
	struct reader r;

	reader_init(&r, names);
	while (reader_left(&r)) {
		struct span one = reader_get_lp(&r, NAME_MAX_BYTES);

		if (r.status == ERR_OK && span_is(one, name))
			return true;
	}
	return false;
}

static void on_names_for_list(void *context, enum err error, const char *text,
			      uint32_t version, struct span names)
{
	struct rpc *r = context;
	const struct config *config = r->engine->config;
	struct jsonw w;
	struct buf b;
	size_t i, k;

	(void)version;
	(void)text;
	buf_init(&b, CONTROL_QUEUE_MAX_BYTES / 4);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_key(&w, "providers");
	jsonw_begin_array(&w);
	for (i = 0; i < config->provider_count; i++) {
		const struct config_provider *p = &config->providers[i];
		char endpoint[512] = "";

		if (route_endpoint_of(p, endpoint, sizeof(endpoint)) != ERR_OK)
			(void)snprintf(endpoint, sizeof(endpoint), "%s",
				       p->endpoint ? p->endpoint : "");
		jsonw_begin_object(&w);
		jsonw_put_cstr(&w, "name", p->name);
		jsonw_put_cstr(&w, "kind", p->kind);
		jsonw_put_cstr(&w, "endpoint", endpoint);
		jsonw_put_cstr(&w, "secret", route_secret_of(p));
		jsonw_put_bool(&w, "secret_set",
			       error == ERR_OK &&
				       listed(names, route_secret_of(p)));
		jsonw_put_bool(&w, "allow_http", p->allow_http);
		jsonw_key(&w, "models");
		jsonw_begin_array(&w);
		for (k = 0; k < p->model_count; k++)
			jsonw_cstr(&w, p->models[k]);
		jsonw_end_array(&w);
		jsonw_end_object(&w);
	}
	jsonw_end_array(&w);
	if (config_default_provider(config))
		jsonw_put_cstr(&w, "default",
			       config_default_provider(config)->name);
	jsonw_end_object(&w);
	finish(r, &w, &b);
}

static void provider_list(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};

	if (!rpc_check_keys(r, params, keys))
		return;
	if (broker_secret_list(r->engine, on_names_for_list, r) != ERR_OK)
		on_names_for_list(r, ERR_CLOSED, "", 0, (struct span){0});
}

static bool get_models(struct rpc *r, const cJSON *params, const char **models,
		       size_t *ret_count)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(params, "models");
	const cJSON *v;
	size_t n = 0;

	*ret_count = 0;
	if (!list)
		return true;
	cJSON_ArrayForEach(v, list)
	{
		if (!cJSON_IsString(v) || n == CONFIG_MODELS_MAX) {
			rpc_bad_params(r, "parameter models: must be a list of "
					  "at most 256 texts");
			return false;
		}
		models[n++] = v->valuestring;
	}
	*ret_count = n;
	return true;
}

static enum err reload_config(struct engine *e, struct conf_error *error)
{
	struct config *fresh;
	enum err err = config_load(e->config_path, error, &fresh);

	if (err != ERR_OK)
		return err;
	config_free(e->config);
	e->config = fresh;
	return ERR_OK;
}

static void provider_add(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"name",       "kind",   "endpoint",
					   "secret",     "region", "ca_file",
					   "allow_http", "models", NULL};
	struct config_provider p = {0};
	const char *models[CONFIG_MODELS_MAX];
	const struct config_provider *added;
	struct engine *e = r->engine;
	struct conf_error error;
	struct jsonw w;
	struct buf b;
	enum err err;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "name", true, &p.name) ||
	    !rpc_get_text(r, params, "kind", true, &p.kind) ||
	    !rpc_get_text(r, params, "endpoint", false, &p.endpoint) ||
	    !rpc_get_text(r, params, "secret", false, &p.secret) ||
	    !rpc_get_text(r, params, "region", false, &p.region) ||
	    !rpc_get_text(r, params, "ca_file", false, &p.ca_file) ||
	    !rpc_get_bool(r, params, "allow_http", false, &p.allow_http) ||
	    !get_models(r, params, models, &p.model_count))
		return;
	p.models = models;
	if (!p.secret && *route_secret_of(&p))
		p.secret = p.name;
	conf_error_init(&error);
	/* Nobody may have configured anything yet. */
	err = paths_make_private(e->paths.config.path, &error);
	if (err == ERR_OK)
		err = config_add_provider(e->config_path, &p, &error);
	if (err == ERR_OK)
		err = reload_config(e, &error);
	if (err != ERR_OK) {
		rpc_fail(r, err, "provider %s is not added: %s", p.name,
			 error.text);
		return;
	}
	added = config_find_provider(e->config, p.name);
	err = added ? broker_client_set_provider(e, added) : ERR_INTERNAL;
	if (err != ERR_OK) {
		rpc_fail(r, err,
			 "provider %s was written to %s, and cannot be used "
			 "yet: %s",
			 p.name, e->config_path, err_text(err));
		return;
	}
	buf_init(&b, 4096);
	if (attrs_put_text(&b, "kenaz.config.digest",
			   span_text(e->config->digest)) == ERR_OK &&
	    attrs_put_text(&b, "kenaz.provider", span_text(p.name)) == ERR_OK)
		audit_note(e, "config.loaded", NULL, r->conn->actor,
			   buf_span(&b));
	buf_reset(&b);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "name", p.name);
	jsonw_put_cstr(&w, "written_to", e->config_path);
	jsonw_end_object(&w);
	finish(r, &w, &b);
}

/* --- provider.test ----------------------------------------------------- */

static void on_tested(void *context, struct transfer_outcome *o)
{
	struct rpc *r = context;
	const struct msg_transfer_done *m = o->done;
	bool ok = o->error == ERR_OK && m && m->http_status >= 200 &&
		  m->http_status < 300;
	char text[REASON_MAX_BYTES];
	struct jsonw w;
	struct buf b;

	if (ok)
		(void)snprintf(text, sizeof(text), "it answered");
	else if (o->error == ERR_OK && m &&
		 (m->http_status == 401 || m->http_status == 403))
		(void)snprintf(text, sizeof(text),
			       "it refused the key (HTTP %u): set it with "
			       "`kenaz secret set`",
			       m->http_status);
	else if (o->error == ERR_OK && m)
		(void)snprintf(text, sizeof(text), "it answered HTTP %u",
			       m->http_status);
	else
		(void)snprintf(text, sizeof(text), "%s", o->text);
	buf_init(&b, 4096);
	if (attrs_put_text(&b, "kenaz.provider", span_text(r->name)) ==
		    ERR_OK &&
	    attrs_put_u64(&b, "kenaz.grant", r->number) == ERR_OK &&
	    attrs_put_u64(&b, "http.response.status_code",
			  m ? m->http_status : 0) == ERR_OK &&
	    attrs_put_text(&b, "kenaz.reason", span_text(text)) == ERR_OK)
		audit_note(r->engine, "response.received", NULL,
			   r->conn ? r->conn->actor : NULL, buf_span(&b));
	buf_reset(&b);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_bool(&w, "ok", ok);
	jsonw_put_u64(&w, "http_status", m ? m->http_status : 0);
	jsonw_put_u64(&w, "latency_ms", m ? m->total_ns / 1000000u : 0);
	jsonw_put_cstr(&w, "text", text);
	jsonw_end_object(&w);
	finish(r, &w, &b);
}

static enum err send_test(struct rpc *r, const struct config_provider *p)
{
	static const struct span nothing;
	struct engine *e = r->engine;
	struct msg_grant g = {.provider = span_text(p->name),
			      .route = ROUTE_MODELS,
			      .total_timeout_ns = TEST_TIMEOUT_NS,
			      .response_max_bytes = TEST_RESPONSE_BYTES};
	struct audit_event event = {.kind = "prompt.sent",
				    .actor = r->conn->actor,
				    .header_digest = g.header_digest,
				    .body_digest = g.body_digest,
				    .payload_fd = -1};
	struct route_request route;
	struct buf b;
	enum err err;

	err = route_request_of(p, ROUTE_MODELS, nothing, nothing, nothing,
			       &route);
	if (err == ERR_OK)
		err = route_header_digest(&route, g.header_digest);
	if (err != ERR_OK)
		return err;
	digest_sha256(nothing, g.body_digest);
	g.grant = event.grant = r->number = broker_next_grant(e);
	buf_init(&b, 8192);
	err = attrs_put_u64(&b, "kenaz.grant", g.grant);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "gen_ai.operation.name",
				     span_text("provider.test"));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.provider", span_text(p->name));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "url.full",
				     span_of(route.url, route.url_len_bytes));
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(e, &event, NULL, NULL);
	buf_fini(&b);
	return err == ERR_OK ? broker_grant(e, &g, NULL, 0, on_tested, r) : err;
}

static void provider_test(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"name", NULL};
	const struct config_provider *p;
	const char *name;
	enum err err;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "name", true, &name))
		return;
	p = config_find_provider(r->engine->config, name);
	if (!p) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "provider %s is not configured; see `kenaz provider "
			 "list`",
			 name);
		return;
	}
	(void)snprintf(r->name, sizeof(r->name), "%s", p->name);
	err = send_test(r, p);
	if (err != ERR_OK)
		rpc_fail(r, err, "provider %s cannot be tested: %s", p->name,
			 err_text(err));
}

/* --- secrets -------------------------------------------------------------- */

struct secret_set {
	struct engine *engine;
	char name[NAME_MAX_BYTES + 1], actor[ACTOR_MAX_BYTES];
};

/* phase: "intent" is durable before the vault changes, "done" follows. */
static enum err write_secret(struct engine *e, const char *kind,
			     const char *name, const char *actor,
			     const char *phase, uint32_t version,
			     audit_done_fn done, void *context)
{
	struct audit_event event = {.kind = kind,
				    .actor = actor,
				    .payload_fd = -1};
	struct buf b;
	enum err err;

	buf_init(&b, 1024);
	err = attrs_put_text(&b, "kenaz.secret", span_text(name));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.phase", span_text(phase));
	if (err == ERR_OK && version)
		err = attrs_put_u64(&b, "kenaz.secret.version", version);
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(e, &event, done, context);
	buf_fini(&b);
	return err;
}

static void note_secret(struct engine *e, const char *kind, const char *name,
			const char *actor, uint32_t version)
{
	if (write_secret(e, kind, name, actor, "done", version, NULL, NULL) !=
	    ERR_OK)
		log_error("that %s is done could not be written", kind);
}

static void on_set(void *context, enum err error, const char *text,
		   uint32_t version, struct span names)
{
	struct secret_set *s = context;

	(void)names;
	if (error == ERR_OK)
		note_secret(s->engine, "secret.set", s->name, s->actor,
			    version);
	else
		log_info("secret %s was not set: %s", s->name, text);
	free(s);
}

static void hand_secret(struct conn *c, int fd, struct rpc *r)
{
	struct secret_set *s = calloc(1, sizeof(*s));
	enum err err;

	if (!s) {
		close(fd);
		return;
	}
	s->engine = c->engine;
	(void)snprintf(s->name, sizeof(s->name), "%s", r->name);
	(void)snprintf(s->actor, sizeof(s->actor), "%s", c->actor);
	err = broker_secret_set(c->engine, s->name, r->id, fd, on_set, s);
	if (err != ERR_OK)
		free(s);
}

static bool get_secret_name(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"name", NULL};
	const char *name;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "name", true, &name))
		return false;
	if (!text_is_name(span_text(name), NAME_MAX_BYTES)) {
		rpc_bad_params(r, "parameter name: must be 1 to 64 small "
				  "letters, digits, '.', '_' and '-'");
		return false;
	}
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	return true;
}

static void on_set_intent(void *context, struct audit_outcome *o)
{
	struct rpc *r = context;
	enum err err;

	if (o->error != ERR_OK) {
		rpc_fail(r, o->error,
			 "no secret is taken while the log cannot be written: "
			 "%s",
			 o->text);
		return;
	}
	err = rpc_hand_over(r, span_text("{\"ready\":true}"), hand_secret);
	if (err != ERR_OK)
		rpc_fail(r, err,
			 "a connection that carries a secret can have no "
			 "other request");
}

static void secret_set(struct rpc *r, const cJSON *params)
{
	enum err err;

	if (!get_secret_name(r, params))
		return;
	err = write_secret(r->engine, "secret.set", r->name, r->conn->actor,
			   "intent", 0, on_set_intent, r);
	if (err != ERR_OK)
		rpc_fail(r, err,
			 "no secret is taken while the log cannot be written: "
			 "%s",
			 err == ERR_SEALED
				 ? audit_client_state(r->engine)->sealed_reason
				 : err_text(err));
}

static void on_removed(void *context, enum err error, const char *text,
		       uint32_t version, struct span names)
{
	struct rpc *r = context;
	char json[160];

	(void)names;
	if (error != ERR_OK) {
		rpc_fail(r, error, "%s", text);
		return;
	}
	note_secret(r->engine, "secret.removed", r->name,
		    r->conn ? r->conn->actor : NULL, version);
	(void)snprintf(json, sizeof(json), "{\"name\":\"%s\"}", r->name);
	rpc_reply(r, span_text(json));
}

static void on_remove_intent(void *context, struct audit_outcome *o)
{
	struct rpc *r = context;
	enum err err = o->error;

	if (err != ERR_OK) {
		rpc_fail(r, err, "%s", o->text);
		return;
	}
	err = broker_secret_remove(r->engine, r->name, on_removed, r);
	if (err != ERR_OK)
		rpc_fail(r, err, "the broker cannot be asked: %s",
			 err_text(err));
}

static void secret_remove(struct rpc *r, const cJSON *params)
{
	enum err err;

	if (!get_secret_name(r, params))
		return;
	err = write_secret(r->engine, "secret.removed", r->name, r->conn->actor,
			   "intent", 0, on_remove_intent, r);
	if (err != ERR_OK)
		rpc_fail(r, err, "the log cannot be written: %s",
			 err_text(err));
}

static void on_names(void *context, enum err error, const char *text,
		     uint32_t version, struct span names)
{
	struct rpc *r = context;
	struct reader list;
	struct jsonw w;
	struct buf b;

	(void)version;
	if (error != ERR_OK) {
		rpc_fail(r, error, "%s", text);
		return;
	}
	buf_init(&b, 65536);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_key(&w, "secrets");
	jsonw_begin_array(&w);
	reader_init(&list, names);
	while (reader_left(&list)) {
		struct span one = reader_get_lp(&list, NAME_MAX_BYTES);

		if (list.status == ERR_OK)
			jsonw_text(&w, one);
	}
	jsonw_end_array(&w);
	jsonw_put_cstr(&w, "backend", "keyfile");
	jsonw_end_object(&w);
	finish(r, &w, &b);
}

static void secret_list(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	enum err err;

	if (!rpc_check_keys(r, params, keys))
		return;
	err = broker_secret_list(r->engine, on_names, r);
	if (err != ERR_OK)
		rpc_fail(r, err, "the broker cannot be asked: %s",
			 err_text(err));
}

const struct rpc_method rpc_provider_methods[] = {
	{"provider.list", provider_list},
	{"provider.add", provider_add},
	{"provider.test", provider_test},
	{"secret.set", secret_set},
	{"secret.remove", secret_remove},
	{"secret.list", secret_list},
	{NULL, NULL},
};
