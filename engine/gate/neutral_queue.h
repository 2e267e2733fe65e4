/* SPDX-License-Identifier: Apache-2.0 */
/* neutral_queue.h - events of a response that wait for a verdict */
#ifndef KENAZ_GATE_NEUTRAL_QUEUE_H
#define KENAZ_GATE_NEUTRAL_QUEUE_H

#include "engine/gate/neutral.h"

#define NEUTRAL_QUEUE_MAX_BYTES (48u << 20)

/* Plain data: use the functions. */
struct neutral_queue {
	struct buf bytes;
	size_t at_bytes; /* first event not taken */
};

void neutral_queue_init(struct neutral_queue *q);
void neutral_queue_fini(struct neutral_queue *q);
bool neutral_queue_is_empty(const struct neutral_queue *q);
MUST_CHECK enum err neutral_queue_put(struct neutral_queue *q,
				      const struct neutral_event *event);
MUST_CHECK enum err neutral_queue_take(struct neutral_queue *q,
				       struct neutral_event *ret_event);

#endif
