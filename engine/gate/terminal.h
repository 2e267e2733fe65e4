/* SPDX-License-Identifier: Apache-2.0 */
/* terminal.h - joins clients to programs in the guest */
#ifndef KENAZ_GATE_TERMINAL_H
#define KENAZ_GATE_TERMINAL_H

#include <uv.h>

#include "engine/proto/chan.h"

#define TERMINAL_OUT_HIGH_BYTES (256u * 1024) /* then the source pauses */
#define TERMINAL_FLUSH_MAX_NS   UINT64_C(30000000000)

struct terminals;

MUST_CHECK enum err terminals_new(uv_loop_t *loop, struct chan *core,
				  struct terminals **ret_terminals);
MUST_CHECK enum err terminals_attach(struct terminals *t,
				     struct chan_message *m);
void terminals_set_core(struct terminals *t, struct chan *core);
MUST_CHECK enum err terminals_put(const struct terminals *t, struct buf *out);
void terminals_tick(struct terminals *t, uint64_t now_ns);

#endif
