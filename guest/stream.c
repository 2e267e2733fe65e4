/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.c - a buffered stream socket in the guest's loop
 *
 * Runs in: kenaz-guestd.
 * Trusts:  its owner.
 * Never:   holds more than the two ceilings it was given.
 *
 * One handler learns of every change; it takes what it wants from `in`, adds
 * to `out`, looks at `status`, and ends with stream_update() or with
 * stream_fini(). The handler is the last thing that an event does, so it may
 * free the stream.
 */
#include "guest/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/transport.h"

static void stream_read(struct stream *s)
{
	size_t room = s->in.max_bytes - s->in.len_bytes;
	uint8_t *at;
	ssize_t n;

	if (room > STREAM_READ_MAX_BYTES)
		room = STREAM_READ_MAX_BYTES;
	if (room == 0 || s->status != ERR_OK)
		return;
	s->status = buf_reserve(&s->in, room, &at);
	if (s->status != ERR_OK)
		return;
	n = read(s->watch.fd, at, room);
	buf_truncate(&s->in, s->in.len_bytes - room + (n > 0 ? (size_t)n : 0));
	if (n == 0)
		s->status = ERR_CLOSED;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		s->status = ERR_SYS;
}

static void stream_write(struct stream *s)
{
	ssize_t n;

	if (s->out.len_bytes == 0 || s->connecting)
		return;
	n = send(s->watch.fd, s->out.data, s->out.len_bytes, MSG_NOSIGNAL);
	if (n > 0)
		buf_consume(&s->out, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		s->status = ERR_SYS;
}

static void on_event(struct watch *watch, uint32_t events)
{
	struct stream *s = watch->owner;

	if (s->connecting) {
		if (transport_finish(watch->fd) != ERR_OK)
			s->status = ERR_SYS;
		s->connecting = false;
	} else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		stream_read(s);
	}
	if (events & EPOLLOUT)
		stream_write(s);
	s->fn(s);
}

/**
 * stream_init() - Take a stream socket into the loop
 * @s:		Owner's memory
 * @fd:		Non-blocking; owned by the stream from here on in every case
 * @in_max_bytes: Ceiling of what waits to be handled
 * @out_max_bytes: Ceiling of what waits to be sent
 * @fn:		The one handler
 * @owner:	For the handler
 *
 * Return: ERR_OK; ERR_SYS (the descriptor is closed then).
 */
enum err stream_init(struct stream *s, int fd, size_t in_max_bytes,
		     size_t out_max_bytes, stream_fn fn, void *owner)
{
	enum err e;

	*s = (struct stream){.fn = fn, .owner = owner};
	buf_init(&s->in, in_max_bytes);
	buf_init(&s->out, out_max_bytes);
	watch_init(&s->watch, fd, on_event, s);
	e = watch_set(&s->watch, EPOLLIN);
	if (e != ERR_OK)
		stream_fini(s);
	return e;
}

/**
 * stream_release() - Leave the loop and keep the socket open
 * @s:	Stream; its buffers stay until stream_fini()
 *
 * Return: the descriptor, the caller's from here on.
 */
int stream_release(struct stream *s)
{
	int fd = s->watch.fd;

	watch_fini(&s->watch);
	s->watch.fd = -1;
	return fd;
}

/** stream_fini() - Close the socket and forget what waits */
void stream_fini(struct stream *s)
{
	int fd = stream_release(s);

	if (fd >= 0)
		(void)close(fd);
	buf_fini(&s->in);
	buf_fini(&s->out);
}

/** stream_drained() - Whether everything was handed to the kernel */
bool stream_drained(const struct stream *s)
{
	return s->out.len_bytes == 0;
}

/**
 * stream_update() - Send what can be sent, wait for what is wanted
 * @s:	Stream
 *
 * A failure shows in `status` and calls the handler from the loop.
 */
void stream_update(struct stream *s)
{
	uint32_t events = 0;

	stream_write(s);
	if (s->connecting || s->out.len_bytes || s->status == ERR_SYS)
		events |= EPOLLOUT;
	if (s->status == ERR_OK && !s->paused && !s->connecting &&
	    s->in.len_bytes < s->in.max_bytes)
		events |= EPOLLIN;
	if (watch_set(&s->watch, events) != ERR_OK)
		s->status = ERR_SYS;
}
