/* SPDX-License-Identifier: Apache-2.0 */
/* custody.h - core's requests about secrets, and the vault behind them */
#ifndef KENAZ_BROKER_CUSTODY_H
#define KENAZ_BROKER_CUSTODY_H

#include "engine/broker/keeper.h"
#include "engine/broker/upstream.h"
#include "engine/proto/chan.h"

struct custody;

MUST_CHECK enum err custody_new(uv_loop_t *loop, struct chan *core,
				struct upstreams *upstreams,
				const struct msg_broker_start *m, int vault_fd,
				int credentials_fd,
				struct custody **ret_custody);
void custody_free(struct custody *c);
void custody_begin(struct custody *c);
bool custody_handles(enum msg_type type);
MUST_CHECK enum err custody_on_message(struct custody *c,
				       struct chan_message *message);
const struct vault *custody_vault(const struct custody *c);
const char *custody_locked(struct custody *c);

#endif
