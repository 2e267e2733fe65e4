/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_names.c - which models a provider is known to have
 *
 * Runs in: kenazd.
 * Trusts:  kenaz.toml and the tables of engine/providers.
 * Never:   names a model twice, or one that kenaz.toml rules out.
 *
 * For providers that have no list of their own to ask for.
 */
#include "engine/core/model_names.h"

#include <string.h>

#include "engine/proto/attrs.h"
#include "engine/providers/provider.h"

struct names {
	struct buf *out;
	const char *all[CONFIG_ALIASES_MAX + 2 * CONFIG_MODELS_MAX];
	size_t count;
	uint32_t put, omitted;
	enum err status;
};

static void put(struct names *n, const char *name)
{
	size_t i;
	enum err e;

	for (i = 0; i < n->count; i++)
		if (strcmp(n->all[i], name) == 0)
			return;
	if (n->count < ARRAY_SIZE(n->all))
		n->all[n->count++] = name;
	/* The order counts: nothing behind the first that found no room. */
	e = n->omitted ? ERR_LIMIT
		       : attrs_put_text(n->out, "id", span_text(name));
	if (e == ERR_OK)
		n->put++;
	else if (e == ERR_LIMIT)
		n->omitted++;
	else if (n->status == ERR_OK)
		n->status = e;
}

static void put_aliases(struct names *n, const struct config *config,
			const char *only)
{
	size_t i, k;

	for (i = 0; i < config->alias_count; i++) {
		const struct config_alias *a = &config->aliases[i];

		for (k = 0; k < a->target_count; k++)
			if (!only || strcmp(a->targets[k].provider, only) == 0)
				break;
		if (k < a->target_count)
			put(n, a->name);
	}
}

static void put_known(struct names *n, const struct config *config,
		      const struct config_provider *p)
{
	const struct provider_kind *kind = provider_find(span_text(p->kind));
	size_t i;

	for (i = 0; kind && i < kind->model_count; i++)
		put(n, kind->models[i].name);
	for (i = 0; i < config->model_count; i++) {
		const struct config_model *m = &config->models[i];

		if (m->provider ? strcmp(m->provider, p->name) == 0
				: m->kind && strcmp(m->kind, p->kind) == 0)
			put(n, m->row.name);
	}
}

/**
 * model_names() - Names that a session may ask a provider for
 * @config:		Configuration
 * @provider:		Provider
 * @only:		Aliases must have a target there; NULL: any alias
 * @out:		Receives attrs.h texts up to its limit: the aliases,
 *			then the provider's own models, else those of its
 *			kind's table and of [[model]]
 * @ret_count:		How many are in @out
 * @ret_omitted:	How many had no room
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err model_names(const struct config *config,
		     const struct config_provider *provider, const char *only,
		     struct buf *out, uint32_t *ret_count,
		     uint32_t *ret_omitted)
{
	struct names n = {.out = out};
	size_t i;

	put_aliases(&n, config, only);
	for (i = 0; i < provider->model_count; i++)
		put(&n, provider->models[i]);
	if (provider->model_count == 0)
		put_known(&n, config, provider);
	if (n.status != ERR_OK)
		return n.status;
	*ret_count = n.put;
	*ret_omitted = n.omitted;
	return ERR_OK;
}
