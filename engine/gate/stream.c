/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.c - a non-blocking byte stream with bounded buffers
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing that arrives.
 * Never:   blocks, or reads more than its buffer and its turn allow.
 */
#include "engine/gate/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 16384u

static void on_poll(uv_poll_t *poll, int status, int events);

/**
 * stream_new() - Take a connected stream over
 * @loop:		Loop
 * @fd:			Owned from here on, also on failure
 * @in_max_bytes:	Most input kept
 * @out_max_bytes:	Most output kept
 * @on_event:		Called from the loop
 * @owner:		For the callback
 * @ret_stream:		Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS.
 */
enum err stream_new(uv_loop_t *loop, int fd, size_t in_max_bytes,
		    size_t out_max_bytes, stream_fn *on_event, void *owner,
		    struct stream **ret_stream)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s) {
		close(fd);
		return ERR_MEMORY;
	}
	if (uv_poll_init(loop, &s->poll, fd) != 0) {
		close(fd);
		free(s);
		return ERR_SYS;
	}
	s->poll.data = s;
	s->fd = fd;
	s->on_event = on_event;
	s->owner = owner;
	buf_init(&s->in, in_max_bytes);
	buf_init(&s->out, out_max_bytes);
	stream_update(s);
	*ret_stream = s;
	return ERR_OK;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/** stream_free() - Close a stream; NULL is accepted */
void stream_free(struct stream *s)
{
	if (!s)
		return;
	(void)uv_poll_stop(&s->poll);
	close(s->fd);
	s->fd = -1;
	s->on_event = NULL;
	buf_fini(&s->in);
	buf_fini(&s->out);
	uv_close((uv_handle_t *)&s->poll, on_closed);
}

/** stream_pending_bytes() - Output that the other side did not take yet */
size_t stream_pending_bytes(const struct stream *s)
{
	return s->out.len_bytes - s->out_at;
}

/** stream_update() - Poll for what the buffers have room for */
void stream_update(struct stream *s)
{
	int events = 0;

	if (s->fd < 0)
		return;
	if (s->status == ERR_OK && !s->paused &&
	    s->in.len_bytes < s->in.max_bytes)
		events |= UV_READABLE;
	if (stream_pending_bytes(s) && s->status != ERR_SYS)
		events |= UV_WRITABLE;
	if (s->watch_hangup && s->status == ERR_OK)
		events |= UV_DISCONNECT;
	if (events == s->events)
		return;
	s->events = events;
	if (events == 0)
		(void)uv_poll_stop(&s->poll);
	else if (uv_poll_start(&s->poll, events, on_poll) != 0)
		s->status = ERR_SYS;
}

static void flush(struct stream *s)
{
	while (stream_pending_bytes(s) && s->status != ERR_SYS) {
		ssize_t n = send(s->fd, s->out.data + s->out_at,
				 stream_pending_bytes(s),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			s->status = ERR_SYS;
			return;
		}
		s->out_at += (size_t)n;
	}
	buf_reset(&s->out);
	s->out_at = 0;
}

static void take_input(struct stream *s)
{
	size_t budget = STREAM_TURN_BYTES;

	while (budget && s->status == ERR_OK && !s->paused) {
		size_t before = s->in.len_bytes;
		size_t room = s->in.max_bytes - before;
		uint8_t *at;
		ssize_t n;

		room = room < READ_BYTES ? room : READ_BYTES;
		room = room < budget ? room : budget;
		if (room == 0)
			return;
		if (buf_reserve(&s->in, room, &at) != ERR_OK) {
			s->status = ERR_SYS;
			return;
		}
		do
			n = recv(s->fd, at, room, MSG_DONTWAIT);
		while (n < 0 && errno == EINTR);
		buf_truncate(&s->in, before + (n > 0 ? (size_t)n : 0));
		if (n == 0)
			s->status = ERR_CLOSED;
		else if (n < 0 && errno != EAGAIN)
			s->status = ERR_SYS;
		if (n <= 0)
			return;
		budget -= (size_t)n;
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct stream *s = poll->data;

	if (status < 0)
		s->status = ERR_SYS;
	if (events & UV_WRITABLE)
		flush(s);
	if (events & UV_READABLE)
		take_input(s);
	if ((events & UV_DISCONNECT) && s->status == ERR_OK)
		s->status = ERR_CLOSED;
	/* The last use of @s unless its owner keeps it: it may free it. */
	stream_update(s);
	s->on_event(s);
}

/**
 * stream_write() - Queue bytes, sending at once what fits
 * @s:		Stream
 * @bytes:	Borrowed
 *
 * Return: ERR_OK; ERR_LIMIT when too much waits already; ERR_MEMORY;
 *	   ERR_CLOSED after a failure.
 */
enum err stream_write(struct stream *s, struct span bytes)
{
	enum err e;

	if (s->status == ERR_SYS)
		return ERR_CLOSED;
	if (s->out_at) {
		buf_consume(&s->out, s->out_at);
		s->out_at = 0;
	}
	e = buf_put_span(&s->out, bytes);
	if (e == ERR_OK)
		flush(s);
	stream_update(s);
	return e;
}
