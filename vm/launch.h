/* SPDX-License-Identifier: Apache-2.0 */
/* launch.h - one session's virtual machine, as core steers it */
#ifndef KENAZ_VM_LAUNCH_H
#define KENAZ_VM_LAUNCH_H

#include <uv.h>

#include "engine/base/err.h"
#include "engine/proto/chan.h"
#include "engine/proto/keep.h"

#define LAUNCH_GATE_STREAMS_MAX   384u /* at once */
#define LAUNCH_EGRESS_STREAMS_MAX 96u
#define LAUNCH_EXPIRE_MS          500u

struct launch;

MUST_CHECK enum err launch_new(uv_loop_t *loop, struct launch **ret_launch);
void launch_set_core(struct launch *l, struct chan *core);
MUST_CHECK enum err launch_set_keep(struct launch *l,
				    const struct chan_handler *core_handler);
struct keep *launch_keep(struct launch *l);
MUST_CHECK enum err launch_choose_vsock(struct launch *l, bool kernel);
MUST_CHECK enum err launch_on_message(struct launch *l, struct chan_message *m);
void launch_kill(struct launch *l);

#endif
