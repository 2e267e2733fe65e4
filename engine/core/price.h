/* SPDX-License-Identifier: Apache-2.0 */
/* price.h - what a request costs, by the providers' tables */
#ifndef KENAZ_CORE_PRICE_H
#define KENAZ_CORE_PRICE_H

#include <stdbool.h>

#include "engine/core/config.h"
#include "engine/providers/provider.h"

/* Tokens of one request; input includes both cached kinds. */
struct price_usage {
	uint32_t input, output, cache_read, cache_write;
};

bool price_of(const struct provider_kind *kind, struct span model,
	      const struct price_usage *usage, int64_t *ret_microusd);
bool price_at(const struct config *config, const char *provider,
	      const char *kind, struct span model,
	      const struct price_usage *usage, int64_t *ret_microusd);

#endif
