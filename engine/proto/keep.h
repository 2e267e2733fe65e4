/* SPDX-License-Identifier: Apache-2.0 */
/* keep.h - a child of core that outlives it until another core adopts it */
#ifndef KENAZ_PROTO_KEEP_H
#define KENAZ_PROTO_KEEP_H

#include "engine/proto/chan.h"

#define KEEP_ADOPT_MAX_MS (3600u * 1000u)

struct keep;

struct keep_handler {
	/* A new core has the child; the old channel is freed by the owner. */
	void (*on_adopted)(void *context, struct chan *core, uint64_t away_ns);
	/* Nobody came in time, or not the right one: end at once. */
	void (*on_given_up)(void *context, const char *why);
};

MUST_CHECK enum err keep_new(uv_loop_t *loop, enum role self,
			     const struct chan_handler *core_handler,
			     const struct keep_handler *handler, void *context,
			     struct keep **ret_keep);
bool keep_takes(enum msg_type type);
MUST_CHECK enum err keep_on_message(struct keep *k, struct chan *c,
				    struct chan_message *m);
bool keep_lost_core(struct keep *k, struct chan *c, enum err reason);
bool keep_is_away(const struct keep *k);

#endif
