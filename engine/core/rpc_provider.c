/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_provider.c - which providers there are
 *
 * Runs in: kenazd.
 * Trusts:  the role of the client.
 * Never:   sees a secret: rpc_secret.c is for those.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/broker_client.h"
#include "engine/core/circuit.h"
#include "engine/core/control.h"
#include "engine/core/infer.h"
#include "engine/core/route_of.h"
#include "engine/core/vault_client.h"

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

/* How the provider's circuit stands, and what it waits for. */
static void put_circuit(struct jsonw *w, struct engine *e, const char *name)
{
	const struct circuit *c = circuit_find(&e->circuits, name);
	uint64_t now = engine_now_ns();

	jsonw_put_cstr(w, "circuit",
		       circuit_state_text(c ? c->state : CIRCUIT_CLOSED));
	if (c && c->state == CIRCUIT_OPEN)
		jsonw_put_u64(w, "circuit_opens_in_ms",
			      c->until_ns > now ? (c->until_ns - now) / 1000000u
						: 0);
}

/* The dialects in use and how the key goes, in words. */
static void put_transport(struct jsonw *w, const struct config_provider *p)
{
	const struct provider_kind *kind = provider_find(span_text(p->kind));
	const char *auth = p->auth;
	unsigned in_use = kind ? provider_dialects(kind, p->dialects) : 0;
	unsigned d;

	jsonw_key(w, "dialects");
	jsonw_begin_array(w);
	for (d = 1; d < 8 * sizeof(in_use); d++)
		if ((in_use & DIALECT_BIT(d)) &&
		    config_dialect_name((enum dialect)d))
			jsonw_cstr(w, config_dialect_name((enum dialect)d));
	jsonw_end_array(w);
	if (!auth)
		auth = kind ? provider_auth_name(kind) : "none";
	jsonw_put_cstr(w, "auth", auth);
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
		put_transport(&w, p);
		put_circuit(&w, r->engine, p->name);
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
	rpc_finish(r, &w, &b);
}

static void provider_list(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};

	if (!rpc_check_keys(r, params, keys))
		return;
	if (broker_secret_list(r->engine, on_names_for_list, r) != ERR_OK)
		on_names_for_list(r, ERR_CLOSED, "", 0, (struct span){0});
}

/**
 * rpc_reload_config() - Read kenaz.toml again
 * @e:		Engine; keeps its configuration on failure
 * @error:	Receives one sentence
 *
 * Return: ERR_OK; ERR_CONFIG; ERR_MEMORY.
 */
enum err rpc_reload_config(struct engine *e, struct conf_error *error)
{
	struct config *fresh;
	enum err err = config_load(e->config_path, error, &fresh);

	if (err != ERR_OK)
		return err;
	config_free(e->config);
	e->config = fresh;
	vault_client_configure(e);
	return ERR_OK;
}

const struct rpc_method rpc_provider_methods[] = {
	{"provider.list", provider_list},
	{NULL, NULL},
};
