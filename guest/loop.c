/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - the guest's event loop: epoll watches and timers
 *
 * Runs in: kenaz-guestd and kenaz-workbench.
 * Trusts:  its callers.
 * Never:   calls a watch that was finished, also not one whose event had
 *	    already been fetched.
 *
 * A watch with no events wanted is taken out of epoll altogether: a hang-up
 * cannot be masked, and a peer that left would otherwise keep the loop busy
 * while the other side of a pump has no room.
 */
#include "guest/loop.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#define LOOP_BATCH_MAX_EVENTS 64

static int loop_fd = -1;
static bool loop_stopped;
static struct timer *timers; /* sorted by time */
static struct epoll_event batch[LOOP_BATCH_MAX_EVENTS];
static int batch_count;

/** loop_now_ns() - Monotonic clock */
uint64_t loop_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/**
 * loop_open() - Make the one loop of this process
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err loop_open(void)
{
	loop_fd = epoll_create1(EPOLL_CLOEXEC);
	loop_stopped = false;
	return loop_fd < 0 ? ERR_SYS : ERR_OK;
}

/** loop_close() - Forget the loop; watches must be finished before */
void loop_close(void)
{
	if (loop_fd >= 0)
		(void)close(loop_fd);
	loop_fd = -1;
	timers = NULL;
}

/** loop_stop() - Let loop_run() return after the present event */
void loop_stop(void)
{
	loop_stopped = true;
}

/**
 * watch_init() - Name a descriptor and its handler; nothing is watched yet
 * @watch:	Owner's memory
 * @fd:		Borrowed; must stay open until watch_fini()
 * @fn:		Called with the events that epoll reports
 * @owner:	For the handler
 */
void watch_init(struct watch *watch, int fd, watch_fn fn, void *owner)
{
	*watch = (struct watch){.fd = fd, .fn = fn, .owner = owner};
}

/**
 * watch_set() - Change what a watch waits for
 * @watch:	Initialised watch
 * @events:	EPOLLIN and EPOLLOUT, or 0 to be left alone
 *
 * Return: ERR_OK; ERR_SYS (for example a descriptor that cannot be polled).
 */
enum err watch_set(struct watch *watch, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = watch};
	int op;

	if (events == watch->events)
		return ERR_OK;
	if (events == 0)
		op = EPOLL_CTL_DEL;
	else
		op = watch->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(loop_fd, op, watch->fd, &ev) != 0)
		return ERR_SYS;
	watch->events = events;
	return ERR_OK;
}

/**
 * watch_fini() - Stop watching; also drops events fetched already
 * @watch:	Watch, or NULL; the descriptor stays open
 */
void watch_fini(struct watch *watch)
{
	int i;

	if (!watch)
		return;
	if (watch->events)
		(void)epoll_ctl(loop_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->events = 0;
	for (i = 0; i < batch_count; i++)
		if (batch[i].data.ptr == watch)
			batch[i].data.ptr = NULL;
}

/**
 * timer_start() - Call once after a delay; a running timer is moved
 * @timer:	Owner's memory
 * @delay_ns:	From now
 * @fn:		Handler
 * @owner:	For the handler
 */
void timer_start(struct timer *timer, uint64_t delay_ns, timer_fn fn,
		 void *owner)
{
	struct timer **at = &timers;

	timer_stop(timer);
	timer->at_ns = loop_now_ns() + delay_ns;
	timer->fn = fn;
	timer->owner = owner;
	timer->armed = true;
	while (*at && (*at)->at_ns <= timer->at_ns)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
}

/** timer_stop() - Forget a timer; an idle one is accepted */
void timer_stop(struct timer *timer)
{
	struct timer **at = &timers;

	if (!timer->armed)
		return;
	timer->armed = false;
	while (*at && *at != timer)
		at = &(*at)->next;
	if (*at)
		*at = timer->next;
}

static void timers_fire(void)
{
	uint64_t now = loop_now_ns();

	while (timers && timers->at_ns <= now && !loop_stopped) {
		struct timer *timer = timers;

		timers = timer->next;
		timer->armed = false;
		timer->fn(timer);
	}
}

static int timeout_ms(void)
{
	uint64_t now = loop_now_ns();
	uint64_t left;

	if (!timers)
		return -1;
	left = timers->at_ns > now ? timers->at_ns - now : 0;
	left = (left + LOOP_MS_NS - 1) / LOOP_MS_NS;
	return left > 60000 ? 60000 : (int)left;
}

/** loop_run() - Handle events until loop_stop() */
void loop_run(void)
{
	loop_stopped = false;
	while (!loop_stopped) {
		int i;

		batch_count = epoll_wait(loop_fd, batch, LOOP_BATCH_MAX_EVENTS,
					 timeout_ms());
		if (batch_count < 0) {
			batch_count = 0;
			if (errno != EINTR)
				return;
		}
		for (i = 0; i < batch_count && !loop_stopped; i++) {
			struct watch *watch = batch[i].data.ptr;

			if (watch)
				watch->fn(watch, batch[i].events);
		}
		batch_count = 0;
		timers_fire();
	}
}
