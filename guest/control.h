/* SPDX-License-Identifier: Apache-2.0 */
/* control.h - the operations of the control stream, and the session's state */
#ifndef KENAZ_GUEST_CONTROL_H
#define KENAZ_GUEST_CONTROL_H

#include "guest/job.h"
#include "guest/host_request.h"

struct machine {
	struct environment env; /* for every program */
	const char *home;
	bool is_vm; /* else the mock: nothing of the machine */
	bool has_hello;
	bool is_ending;
	void (*on_event)(struct span line); /* to every control stream */
};

extern struct machine machine;

MUST_CHECK enum err control_start_job(const struct host_request *r,
				      const char *name, struct job **ret_job);
MUST_CHECK enum err control_take(const struct host_request *r,
				 struct buf *answer);
void control_end(void);
void control_child_ended(void);

#endif
