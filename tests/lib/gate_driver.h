/* SPDX-License-Identifier: Apache-2.0 */
/* gate_driver.h - a test that is core, launch, broker and guest to a gate */
#ifndef KENAZ_TESTS_GATE_DRIVER_H
#define KENAZ_TESTS_GATE_DRIVER_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "engine/proto/chan.h"

#define DRIVER_INBOX_MAX 256u

/* A message of the gate, kept until it was expected. */
struct received {
	enum msg_type type;
	struct buf payload;
	int fd; /* the first descriptor, or -1 */
};

struct driver {
	uv_loop_t loop;
	uv_timer_t timer;
	struct chan *core, *launch;
	pid_t pid;
	bool timed_out, core_closed;
	struct received inbox[DRIVER_INBOX_MAX];
	size_t n_inbox;
};

void driver_start(struct driver *d, const char *test_program,
		  uint32_t requests_max);
void driver_stop(struct driver *d);
bool driver_has_program(const char *test_program);

/* Waits for a message of this type, skipping none; fails the test. */
struct received driver_expect(struct driver *d, enum msg_type type);
bool driver_nothing_else(struct driver *d);
void received_fini(struct received *r);

/* A new connection of the guest: our end of it, blocking with a deadline. */
int driver_connect(struct driver *d);
void driver_send(int fd, const char *text);
void driver_send_span(int fd, struct span bytes);
/* Reads until @text was seen, or to the end when it is NULL. */
void driver_read_until(int fd, const char *text, struct buf *to);
bool driver_at_end(int fd);
/* Body of a response; chunks are joined. */
void driver_body(struct span response, struct buf *ret_body);

/* Grants a request; gives the broker's end of the response socket. */
int driver_grant(struct driver *d, uint64_t request);
void driver_head(int fd, unsigned status, const char *content_type);
void driver_data(int fd, struct span data);
void driver_end(int fd, enum err error, const char *text);
void driver_verdict(struct driver *d, uint64_t request, uint32_t index,
		    bool allow);
void driver_durable(struct driver *d, uint64_t request, enum err error);
void driver_turn(struct driver *d);

#endif
