/* SPDX-License-Identifier: Apache-2.0 */
/* audit_late.h - events that wait while audit is started again */
#ifndef KENAZ_CORE_AUDIT_LATE_H
#define KENAZ_CORE_AUDIT_LATE_H

#include <sys/queue.h>

#include "engine/core/audit_client.h"

#define AUDIT_LATE_MAX       1024u
#define AUDIT_LATE_MAX_BYTES (4u << 20)

TAILQ_HEAD(audit_late_queue, audit_late_event);

struct audit_late {
	struct audit_late_queue queue;
	size_t count, bytes;
};

void audit_late_init(struct audit_late *late);
MUST_CHECK enum err audit_late_put(struct audit_late *late,
				   const struct audit_event *event,
				   audit_done_fn done, void *context);
void audit_late_send(struct engine *e, struct audit_late *late);
void audit_late_fail(struct audit_late *late, enum err error, const char *text);
void audit_late_forget(struct audit_late *late, const void *context);

#endif
