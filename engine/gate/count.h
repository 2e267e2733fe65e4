/* SPDX-License-Identifier: Apache-2.0 */
/* count.h - how many tokens a request has: asked in one dialect or another */
#ifndef KENAZ_GATE_COUNT_H
#define KENAZ_GATE_COUNT_H

#include <stdbool.h>

#include "engine/gate/dialect.h"

bool count_is_route(enum route route);
MUST_CHECK enum err
count_translate(struct neutral_request *r, const struct dialect_ops *client,
		struct span body, const struct dialect_ops *wire,
		const struct dialect_target *target, struct buf *out);
struct reply *count_reply_new(const struct dialect_ops *wire,
			      const struct dialect_ops *client);

#endif
