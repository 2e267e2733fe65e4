/* SPDX-License-Identifier: Apache-2.0 */
/* control.h - the control stream to the guest: hello, orders, events */
#ifndef KENAZ_GATE_CONTROL_H
#define KENAZ_GATE_CONTROL_H

#include <uv.h>

#include "engine/proto/chan.h"

#define CONTROL_OUT_MAX_BYTES     (128u * 1024)
#define CONTROL_RECEIPT_MAX_NS    UINT64_C(30000000000)
#define CONTROL_EVENTS_PER_SECOND 64u

struct control;

MUST_CHECK enum err control_new(uv_loop_t *loop, struct chan *core,
				struct control **ret_control);
MUST_CHECK enum err control_hello(struct control *c, struct chan_message *m);
MUST_CHECK enum err control_order(struct control *c, struct chan_message *m);
void control_set_core(struct control *c, struct chan *core);
void control_pause(struct control *c, bool pause);
bool control_is_ready(const struct control *c);
void control_tick(struct control *c, uint64_t now_ns);

#endif
