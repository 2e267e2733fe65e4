/* SPDX-License-Identifier: Apache-2.0 */
/* gate.h - one session's gate: channels, guest streams, requests */
#ifndef KENAZ_GATE_GATE_H
#define KENAZ_GATE_GATE_H

#include <uv.h>

#include "engine/proto/chan.h"

#define GATE_ANNOUNCES_MAX 512u /* of one session */
#define GATE_RETRY_AFTER_S 2u   /* told to who asks while core is away */

struct gate;

MUST_CHECK enum err gate_new(uv_loop_t *loop, struct gate **ret_gate);
/* Handlers of the channel to core; the context is the gate. */
extern const struct chan_handler gate_core_handler;

#endif
