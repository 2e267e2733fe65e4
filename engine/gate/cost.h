/* SPDX-License-Identifier: Apache-2.0 */
/* cost.h - what a provider says that a request cost */
#ifndef KENAZ_GATE_COST_H
#define KENAZ_GATE_COST_H

#include <stdbool.h>

#include "engine/base/json.h"

bool cost_read(const struct json *j, json_ref usage, uint64_t *ret_uusd);

#endif
