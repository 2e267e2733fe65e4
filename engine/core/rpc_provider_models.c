/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_provider_models.c - what is known of a provider's models, and whence
 *
 * Runs in: kenazd.
 * Trusts:  kenaz.toml and the tables of engine/providers.
 * Never:   asks the provider: provider.test does. Shows a price that is not
 *	    known as nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/core/control.h"
#include "engine/providers/provider.h"

#define NAMES_MAX (2 * CONFIG_MODELS_MAX)

struct known {
	const struct config *config;
	const struct config_provider *provider;
	const struct provider_kind *kind;
	const char *names[NAMES_MAX];
	size_t count;
};

static void add_name(struct known *k, const char *name)
{
	size_t i;

	for (i = 0; i < k->count; i++)
		if (strcmp(k->names[i], name) == 0)
			return;
	if (k->count < NAMES_MAX)
		k->names[k->count++] = name;
}

/* Its own list rules; without one, whatever is described. */
static void find_names(struct known *k)
{
	const struct config_provider *p = k->provider;
	size_t i;

	for (i = 0; i < p->model_count; i++)
		add_name(k, p->models[i]);
	if (p->model_count)
		return;
	for (i = 0; i < k->kind->model_count; i++)
		add_name(k, k->kind->models[i].name);
	for (i = 0; i < k->config->model_count; i++) {
		const struct config_model *m = &k->config->models[i];

		if (m->provider ? strcmp(m->provider, p->name) == 0
				: m->kind && strcmp(m->kind, p->kind) == 0)
			add_name(k, m->row.name);
	}
}

static bool is_of_file(const struct config *config,
		       const struct provider_model *row)
{
	size_t i;

	for (i = 0; i < config->model_count; i++)
		if (row == &config->models[i].row)
			return true;
	return false;
}

/* Who says what it costs. Of no use to a budget: the last two. */
static const char *source_of(const struct known *k,
			     const struct provider_model *row)
{
	if (row && row->input_uusd && row->output_uusd)
		return is_of_file(k->config, row) ? "config" : "table";
	return k->kind->capabilities & PROVIDER_REPORTS_COST ? "provider"
							     : "unknown";
}

/* As the file takes it: dollars for a million tokens. */
static void put_price(struct jsonw *w, const char *key, uint64_t uusd)
{
	char text[48];
	size_t len;

	if (!uusd)
		return;
	(void)snprintf(text, sizeof(text), "%" PRIu64 ".%06" PRIu64,
		       uusd / 1000000u, uusd % 1000000u);
	for (len = strlen(text); text[len - 1] == '0' && text[len - 3] != '.';)
		text[--len] = '\0';
	jsonw_put_cstr(w, key, text);
}

static void put_model(const struct known *k, const char *name, struct jsonw *w)
{
	const struct provider_model *row =
		config_find_model(k->config, k->provider, span_text(name));

	jsonw_begin_object(w);
	jsonw_put_cstr(w, "name", name);
	if (row && row->label)
		jsonw_put_cstr(w, "label", row->label);
	if (row && row->context_tokens)
		jsonw_put_u64(w, "context_tokens", row->context_tokens);
	if (row && row->output_tokens)
		jsonw_put_u64(w, "output_tokens", row->output_tokens);
	if (row) {
		put_price(w, "input_price", row->input_uusd);
		put_price(w, "output_price", row->output_uusd);
		put_price(w, "cache_read_price", row->cache_read_uusd);
		put_price(w, "cache_write_price", row->cache_write_uusd);
	}
	jsonw_put_cstr(w, "price_source", source_of(k, row));
	jsonw_end_object(w);
}

static void provider_models(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"name", NULL};
	struct known k = {.config = r->engine->config};
	const char *name;
	struct jsonw w;
	struct buf b;
	size_t i;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "name", true, &name))
		return;
	k.provider = config_find_provider(k.config, name);
	k.kind = k.provider ? provider_find(span_text(k.provider->kind)) : NULL;
	if (!k.kind) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "provider %s is not configured; see `kenaz provider "
			 "list`",
			 name);
		return;
	}
	find_names(&k);
	buf_init(&b, CONTROL_LINE_MAX_BYTES - 4096);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "provider", k.provider->name);
	jsonw_put_cstr(&w, "kind", k.kind->name);
	jsonw_put_bool(&w, "only", k.provider->model_count != 0);
	jsonw_key(&w, "models");
	jsonw_begin_array(&w);
	for (i = 0; i < k.count; i++)
		put_model(&k, k.names[i], &w);
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

const struct rpc_method rpc_provider_models_methods[] = {
	{"provider.models", provider_models},
	{NULL, NULL},
};
