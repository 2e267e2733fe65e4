/* SPDX-License-Identifier: Apache-2.0 */
/* pump.h - carry bytes both ways between two connected stream sockets */
#ifndef KENAZ_EGRESS_PUMP_H
#define KENAZ_EGRESS_PUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define PUMP_BUFFER_BYTES 32768u  /* each direction */
#define PUMP_TURN_BYTES   262144u /* read in one direction before others run */

/* One direction. Plain data. */
struct pump_half {
	uint8_t data[PUMP_BUFFER_BYTES];
	size_t start, len_bytes;
	uint64_t carried_bytes; /* handed to the other side */
	bool ended;             /* the source said so */
	bool shut;              /* and the other side was told */
};

struct pump {
	int guest_fd, remote_fd; /* borrowed */
	struct pump_half up;     /* guest to remote */
	struct pump_half down;
};

enum pump_wants {
	PUMP_READS_GUEST = 1 << 0,
	PUMP_WRITES_GUEST = 1 << 1,
	PUMP_READS_REMOTE = 1 << 2,
	PUMP_WRITES_REMOTE = 1 << 3,
};

MUST_CHECK enum err pump_new(int guest_fd, int remote_fd, struct span first,
			     struct pump **ret_pump);
void pump_free(struct pump *p);
MUST_CHECK enum err pump_run(struct pump *p, bool *ret_moved);
unsigned pump_wants(const struct pump *p);
bool pump_finished(const struct pump *p);

#endif
