/* SPDX-License-Identifier: Apache-2.0 */
/* qmp.h - a strict, bounded client of QEMU's machine protocol */
#ifndef KENAZ_VM_QMP_H
#define KENAZ_VM_QMP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define QMP_LINE_MAX_BYTES    (64u * 1024u)
#define QMP_TURN_MAX_BYTES    (256u * 1024u)
#define QMP_EVENT_BYTES       64u
#define QMP_VERSION_BYTES     64u
#define QMP_COMMAND_MAX_BYTES 512u

struct qmp;

struct qmp_events {
	/* The greeting came and capabilities were accepted. */
	void (*ready)(void *arg, const char *version);
	/* An event; its name is upper-case ASCII. */
	void (*event)(void *arg, const char *name);
	/* The answer to a command; @text is QEMU's, unescaped: why it was
	 * refused, else return.status if there is one (query-migrate). */
	void (*answer)(void *arg, uint64_t id, enum err e, struct span text);
};

MUST_CHECK enum err qmp_new(int fd, const struct qmp_events *events, void *arg,
			    struct qmp **ret_qmp);
void qmp_free(struct qmp *q);
int qmp_poll_fd(const struct qmp *q);
MUST_CHECK enum err qmp_turn(struct qmp *q);
MUST_CHECK enum err qmp_send(struct qmp *q, const char *command,
			     uint64_t *ret_id);
MUST_CHECK enum err qmp_command(struct qmp *q, const char *command,
				const char *arguments, int fd,
				uint64_t *ret_id);
bool qmp_is_ready(const struct qmp *q);
const char *qmp_fault(const struct qmp *q);
bool qmp_event_no_space(const struct qmp *q);

/* One line, without its end; pure but for the callbacks. */
MUST_CHECK enum err qmp_take_line(struct qmp *q, struct span line);

#endif
