/* SPDX-License-Identifier: Apache-2.0 */
/* keeping.h - what a service engine does so that sessions outlive it */
#ifndef KENAZ_CORE_KEEPING_H
#define KENAZ_CORE_KEEPING_H

#include "engine/core/session.h"

#define KEEPING_FOLDER "sessions"
#define KEEPING_LAUNCH "launch.sock"
#define KEEPING_GATE   "gate.sock"

struct sockaddr_un;

MUST_CHECK enum err keeping_prepare(struct engine *e, struct conf_error *error);
void keeping_begin(struct session *s);
void keeping_ready(struct session *s);
void keeping_tick(struct engine *e);
void keeping_write(struct session *s);
void keeping_remove_sockets(struct session *s);
void keeping_remove_record(struct engine *e, const char *id);
void keeping_end_durable(void *context, struct audit_outcome *o);
void *keeping_end_context(struct session *s);

/* For adopt.c. */
MUST_CHECK enum err keeping_address(const struct session *s, const char *name,
				    bool fresh,
				    struct sockaddr_un *ret_address);
void keeping_settle(struct session *s, const char *name);
MUST_CHECK enum err keeping_arm(struct session *s, struct child *c,
				const char *name);

#endif
