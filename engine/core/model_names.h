/* SPDX-License-Identifier: Apache-2.0 */
/* model_names.h - which models a provider is known to have */
#ifndef KENAZ_CORE_MODEL_NAMES_H
#define KENAZ_CORE_MODEL_NAMES_H

#include "engine/core/config.h"

MUST_CHECK enum err model_names(const struct config *config,
				const struct config_provider *provider,
				const char *only, struct buf *out,
				uint32_t *ret_count, uint32_t *ret_omitted);

#endif
