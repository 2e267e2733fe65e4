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
	const struct provider_model *m;
	uint64_t cached, sum;

	if (!kind)
		return false;
	if (!(kind->capabilities & PROVIDER_CALLS_MODEL)) {
		*ret_microusd = 0;
		return true;
	}
	m = provider_model(kind, model);
	if (!m || !m->input_uusd || !m->output_uusd)
		return false;
	cached = (uint64_t)usage->cache_read + usage->cache_write;
	sum = (uint64_t)usage->output * m->output_uusd +
	      (uint64_t)usage->cache_read * m->cache_read_uusd +
	      (uint64_t)usage->cache_write * m->cache_write_uusd;
	if (usage->input > cached)
		sum += (usage->input - cached) * m->input_uusd;
	*ret_microusd =
		(int64_t)((sum + TOKENS_OF_A_PRICE - 1) / TOKENS_OF_A_PRICE);
	return true;
}
