/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pump.c - carry bytes both ways between two streams, half-close included
 *
 * Runs in: kenaz-guestd.
 * Trusts:  nothing; the bytes are never looked at.
 * Never:   holds more than PUMP_BUFFER_MAX_BYTES a direction: a full buffer
 *	    stops reading, which is the back-pressure.
 *
 * The end of one direction is passed on as shutdown(SHUT_WR) once its buffer
 * is empty; the pump ends with both directions or with the first error.
 */
#include "guest/pump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/loop.h"
#include "guest/transport.h"

#define FAILURE_UNREAD_BYTES 16384

struct side {
	struct watch watch;
	struct buf out; /* waits to be written to this side */
	bool ended;     /* nothing more will be read from this side */
	bool shut;      /* the end was passed on to this side */
};

struct pump {
	struct side side[2];
	const char *failure; /* told to side 0 when side 1 does not connect */
	bool connecting;     /* side 1 does not stand yet */
};

static size_t live_pumps;

/** pump_count() - Pumps running now */
size_t pump_count(void)
{
	return live_pumps;
}

static void pump_free(struct pump *p)
{
	int i;

	for (i = 0; i < 2; i++) {
		watch_fini(&p->side[i].watch);
		(void)close(p->side[i].watch.fd);
		buf_fini(&p->side[i].out);
	}
	free(p);
	live_pumps--;
}

static enum err side_read(struct side *from, struct side *to)
{
	size_t room = PUMP_BUFFER_MAX_BYTES - to->out.len_bytes;
	uint8_t *at;
	ssize_t n;
	enum err e;

	if (from->ended || room == 0)
		return ERR_OK;
	e = buf_reserve(&to->out, room, &at);
	if (e != ERR_OK)
		return e;
	n = read(from->watch.fd, at, room);
	buf_truncate(&to->out,
		     to->out.len_bytes - room + (n > 0 ? (size_t)n : 0));
	if (n == 0)
		from->ended = true;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return ERR_SYS;
	return ERR_OK;
}

static enum err side_write(struct side *to, bool other_ended)
{
	ssize_t n;

	if (to->out.len_bytes) {
		n = send(to->watch.fd, to->out.data, to->out.len_bytes,
			 MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return ERR_SYS;
		if (n > 0)
			buf_consume(&to->out, (size_t)n);
	}
	if (other_ended && to->out.len_bytes == 0 && !to->shut) {
		to->shut = true;
		if (shutdown(to->watch.fd, SHUT_WR) != 0)
			return ERR_SYS;
	}
	return ERR_OK;
}

static enum err side_arm(struct side *s, const struct side *other)
{
	uint32_t events = 0;

	if (!s->ended && other->out.len_bytes < PUMP_BUFFER_MAX_BYTES)
		events |= EPOLLIN;
	if (s->out.len_bytes)
		events |= EPOLLOUT;
	return watch_set(&s->watch, events);
}

static void tell_failure(const struct pump *p)
{
	uint8_t unread[FAILURE_UNREAD_BYTES];

	/* Closing with unread input would reset the answer away. */
	(void)!read(p->side[0].watch.fd, unread, sizeof(unread));
	(void)!send(p->side[0].watch.fd, p->failure, strlen(p->failure),
		    MSG_NOSIGNAL);
}

static enum err pump_connected(struct pump *p)
{
	p->connecting = false;
	if (transport_finish(p->side[1].watch.fd) == ERR_OK)
		return ERR_OK;
	if (p->failure)
		tell_failure(p);
	return ERR_SYS;
}

static enum err pump_turn(struct pump *p, struct side *s, uint32_t events)
{
	struct side *other = s == &p->side[0] ? &p->side[1] : &p->side[0];
	enum err e = ERR_OK;

	if (p->connecting) {
		if (events == 0)
			return watch_set(&p->side[1].watch, EPOLLOUT);
		e = pump_connected(p);
		events = 0;
	}
	if (e == ERR_OK && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		e = side_read(s, other);
	if (e == ERR_OK)
		e = side_write(other, s->ended);
	if (e == ERR_OK)
		e = side_write(s, other->ended);
	if (e == ERR_OK)
		e = side_arm(s, other);
	if (e == ERR_OK)
		e = side_arm(other, s);
	if (e == ERR_OK && s->shut && other->shut)
		e = ERR_CLOSED;
	return e;
}

static void on_event(struct watch *watch, uint32_t events)
{
	struct pump *p = watch->owner;
	struct side *s = watch == &p->side[0].watch ? &p->side[0] : &p->side[1];

	if (pump_turn(p, s, events) != ERR_OK)
		pump_free(p);
}

static struct pump *pump_new(int a_fd, int b_fd)
{
	struct pump *p = calloc(1, sizeof(*p));

	if (!p) {
		(void)close(a_fd);
		(void)close(b_fd);
		return NULL;
	}
	live_pumps++;
	watch_init(&p->side[0].watch, a_fd, on_event, p);
	watch_init(&p->side[1].watch, b_fd, on_event, p);
	buf_init(&p->side[0].out, PUMP_BUFFER_MAX_BYTES);
	buf_init(&p->side[1].out, PUMP_BUFFER_MAX_BYTES);
	return p;
}

/**
 * pump_start_connecting() - Join a stream and one that does not stand yet
 * @a_fd:	Non-blocking stream socket, owned from here on in every case
 * @b_fd:	From transport_connect(), likewise
 * @failure:	Static text sent to @a_fd when @b_fd does not connect
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS.
 */
enum err pump_start_connecting(int a_fd, int b_fd, const char *failure)
{
	struct pump *p = pump_new(a_fd, b_fd);
	enum err e;

	if (!p)
		return ERR_MEMORY;
	p->connecting = true;
	p->failure = failure;
	e = pump_turn(p, &p->side[1], 0);
	if (e != ERR_OK)
		pump_free(p);
	return e;
}

/**
 * pump_start() - Join two streams until both directions have ended
 * @a_fd:	Non-blocking stream socket, owned from here on in every case
 * @b_fd:	Likewise
 * @first_to_b:	Bytes read from a before, borrowed
 * @first_to_a:	Bytes read from b before, borrowed
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_LIMIT for too many first bytes; ERR_SYS.
 */
enum err pump_start(int a_fd, int b_fd, struct span first_to_b,
		    struct span first_to_a)
{
	struct pump *p = pump_new(a_fd, b_fd);
	enum err e;

	if (!p)
		return ERR_MEMORY;
	e = buf_put_span(&p->side[0].out, first_to_a);
	if (e == ERR_OK)
		e = buf_put_span(&p->side[1].out, first_to_b);
	if (e == ERR_OK)
		e = pump_turn(p, &p->side[0], 0);
	if (e != ERR_OK)
		pump_free(p);
	return e;
}
