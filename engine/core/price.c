/* SPDX-License-Identifier: Apache-2.0 */
/*
 * price.c - what a request costs, by the providers' tables
 *
 * Runs in: kenazd.
 * Trusts:  the tables; tokens are gate-reported.
 * Never:   takes an unknown price for nothing.
 */
#include "engine/core/price.h"

#define TOKENS_OF_A_PRICE 1000000u

/* Cached tokens without a price of their own cost what others do. */
static uint64_t or_input(const struct provider_model *m, uint64_t uusd)
{
	return uusd ? uusd : m->input_uusd;
}

/* By one row; its price must be known. */
static bool price_by(const struct provider_model *m,
		     const struct price_usage *usage, int64_t *ret_microusd)
{
	uint64_t cached, sum;

	if (!m || !m->input_uusd || !m->output_uusd)
		return false;
	cached = (uint64_t)usage->cache_read + usage->cache_write;
	sum = (uint64_t)usage->output * m->output_uusd +
	      (uint64_t)usage->cache_read * or_input(m, m->cache_read_uusd) +
	      (uint64_t)usage->cache_write * or_input(m, m->cache_write_uusd);
	if (usage->input > cached)
		sum += (usage->input - cached) * m->input_uusd;
	*ret_microusd =
		(int64_t)((sum + TOKENS_OF_A_PRICE - 1) / TOKENS_OF_A_PRICE);
	return true;
}

/**
 * price_of() - Cost of a request in millionths of a US dollar, rounded up
 * @kind:		Provider kind; NULL is unknown
 * @model:		Name as in the request
 * @usage:		Tokens, borrowed
 * @ret_microusd:	Written when true
 *
 * Return: false when the model, or its price, is not in the table; a provider
 *	   that calls no model costs nothing.
 */
bool price_of(const struct provider_kind *kind, struct span model,
	      const struct price_usage *usage, int64_t *ret_microusd)
{
	if (!kind)
		return false;
	if (!(kind->capabilities & PROVIDER_CALLS_MODEL)) {
		*ret_microusd = 0;
		return true;
	}
	return price_by(provider_model(kind, model), usage, ret_microusd);
}

/**
 * price_at() - As price_of(), by the configuration's own entries first
 * @config:		Configuration
 * @provider:		Name of a configured provider
 * @kind:		Its kind; counts alone when it is configured no more
 * @model:		Name as in the request
 * @usage:		Tokens, borrowed
 * @ret_microusd:	Written when true
 *
 * Return: as price_of().
 */
bool price_at(const struct config *config, const char *provider,
	      const char *kind, struct span model,
	      const struct price_usage *usage, int64_t *ret_microusd)
{
	const struct config_provider *p =
		config_find_provider(config, provider);
	const struct provider_kind *k = provider_find(span_text(kind));

	if (p && k && (k->capabilities & PROVIDER_CALLS_MODEL))
		return price_by(config_find_model(config, p, model), usage,
				ret_microusd);
	return price_of(k, model, usage, ret_microusd);
}
