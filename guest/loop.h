/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - the guest's event loop: epoll watches and timers */
#ifndef KENAZ_GUEST_LOOP_H
#define KENAZ_GUEST_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "engine/base/err.h"

#define LOOP_MS_NS 1000000ull

struct watch;
struct timer;
typedef void (*watch_fn)(struct watch *watch, uint32_t events);
typedef void (*timer_fn)(struct timer *timer);

/* Both live inside their owners. Zeroed memory is an idle watch or timer. */
struct watch {
	int fd;
	uint32_t events; /* what epoll was told; 0 is "not registered" */
	watch_fn fn;
	void *owner;
};

struct timer {
	struct timer *next;
	uint64_t at_ns;
	timer_fn fn;
	void *owner;
	bool armed;
};

MUST_CHECK enum err loop_open(void);
void loop_close(void);
void loop_run(void);
void loop_stop(void);
uint64_t loop_now_ns(void);

void watch_init(struct watch *watch, int fd, watch_fn fn, void *owner);
MUST_CHECK enum err watch_set(struct watch *watch, uint32_t events);
void watch_fini(struct watch *watch);

void timer_start(struct timer *timer, uint64_t delay_ns, timer_fn fn,
		 void *owner);
void timer_stop(struct timer *timer);

#endif
