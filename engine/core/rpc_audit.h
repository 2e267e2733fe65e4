/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_audit.h - what control.c asks of the verbs that wait */
#ifndef KENAZ_CORE_RPC_AUDIT_H
#define KENAZ_CORE_RPC_AUDIT_H

#include "engine/core/control.h"

void rpc_audit_tail(struct conn *c);
void rpc_session_waiters(struct engine *e, struct session *s);
void control_each_waiter(struct engine *e, struct session *s,
			 void (*fn)(struct rpc *r));

#endif
