/* SPDX-License-Identifier: Apache-2.0 */
/* routed.h - members that gateways behind a provider's address act on */
#ifndef KENAZ_GATE_ROUTED_H
#define KENAZ_GATE_ROUTED_H

#include "engine/base/json.h"

#define ROUTED_FEATURES_MAX 32u

size_t routed_features(const struct json *j, const char *model,
		       const char **ret_features);

#endif
