/* SPDX-License-Identifier: Apache-2.0 */
/* vsock_join.h - carries bytes between a user's client and a guest's port */
#ifndef KENAZ_GATE_VSOCK_JOIN_H
#define KENAZ_GATE_VSOCK_JOIN_H

#include <uv.h>

#include "engine/proto/chan.h"

#define VSOCK_JOINS_MAX           32u
#define VSOCK_JOIN_IN_MAX_BYTES   (64u * 1024)
#define VSOCK_JOIN_OUT_HIGH_BYTES (128u * 1024) /* then the source pauses */

struct vsock_joins;

MUST_CHECK enum err vsock_joins_new(uv_loop_t *loop, struct chan *core,
				    struct vsock_joins **ret_joins);
void vsock_joins_set_core(struct vsock_joins *set, struct chan *core);
MUST_CHECK enum err vsock_joins_add(struct vsock_joins *set,
				    struct chan_message *m);

#endif
