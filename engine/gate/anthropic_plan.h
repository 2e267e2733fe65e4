/* SPDX-License-Identifier: Apache-2.0 */
/* anthropic_plan.h - how much a Claude may think and write */
#ifndef KENAZ_GATE_ANTHROPIC_PLAN_H
#define KENAZ_GATE_ANTHROPIC_PLAN_H

#include "engine/gate/dialect.h"

struct anthropic_plan {
	uint64_t max_tokens, budget; /* budget 0: none is given */
	bool adaptive, thinks;
};

MUST_CHECK enum err anthropic_make_plan(struct neutral_request *r,
					const struct dialect_target *t,
					struct anthropic_plan *ret_plan);

#endif
