/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_door.c - tell whether a new connection speaks HTTP/1.1 or HTTP/2
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: both kinds read again what was only looked at here.
 * Never:   takes a byte out of the socket.
 *
 * HTTP/2 with prior knowledge begins with a preface of 24 bytes (RFC 9113,
 * sections 3.3 and 3.4), and nothing else that may be served begins so. What
 * is there is looked at when the connection comes; most of the time that is
 * nothing, and one poll says when there is. A client that sent a part of a
 * preface is looked at again after a while, which doubles: the socket stays
 * readable, and a poll for it would never rest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/gate/http_wire.h"

#define AGAIN_FIRST_MS 1u
#define AGAIN_MAX_MS   500u

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum kind { KIND_NOTHING, KIND_PARTIAL, KIND_ONE, KIND_TWO, KIND_END };

struct http_waiting {
	LIST_ENTRY(http_waiting) next;
	struct http *http;
	struct http_watch *watch;
	int fd;
	uint64_t since_ns;
	bool partial;
};

static void on_watch_closed(uv_handle_t *handle)
{
	/* The poll is its first member. */
	free(handle);
}

/** http_watch_new() - Prepare to poll a connection; NULL without memory */
struct http_watch *http_watch_new(uv_loop_t *loop, int fd)
{
	struct http_watch *w = calloc(1, sizeof(*w));

	if (w && uv_poll_init(loop, &w->poll, fd) != 0) {
		free(w);
		return NULL;
	}
	return w;
}

/** http_watch_free() - Poll no longer; call before the descriptor is closed */
void http_watch_free(struct http_watch *w)
{
	if (!w)
		return;
	(void)uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static enum kind look(int fd)
{
	const size_t whole = sizeof(preface) - 1;
	char seen[sizeof(preface) - 1];
	ssize_t n;

	do
		n = recv(fd, seen, whole, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? KIND_NOTHING : KIND_END;
	if (n == 0)
		return KIND_END;
	if (memcmp(seen, preface, (size_t)n) != 0)
		return KIND_ONE;
	return (size_t)n == whole ? KIND_TWO : KIND_PARTIAL;
}

static enum err enter(struct http *h, enum kind kind, int fd,
		      struct http_watch *watch)
{
	/* Counted by its kind from here on. */
	h->n_connections--;
	return kind == KIND_TWO ? http2_add(h->two, fd, watch)
				: http1_add(h->one, fd, watch);
}

static void forget(struct http_waiting *w)
{
	LIST_REMOVE(w, next);
	if (w->partial)
		w->http->n_partial--;
	free(w);
}

static void turn_away(struct http_waiting *w)
{
	w->http->n_connections--;
	http_watch_free(w->watch);
	close(w->fd);
	forget(w);
}

static void on_again(uv_timer_t *timer);

static void mark_partial(struct http_waiting *w, bool partial)
{
	struct http *h = w->http;

	if (w->partial == partial)
		return;
	w->partial = partial;
	h->n_partial = partial ? h->n_partial + 1 : h->n_partial - 1;
	if (partial) {
		h->again_ms = AGAIN_FIRST_MS;
		(void)uv_timer_start(&h->again, on_again, h->again_ms, 0);
	}
}

static void on_event(uv_poll_t *poll, int status, int events);

static void settle(struct http_waiting *w, enum kind kind)
{
	bool partial = kind == KIND_PARTIAL;
	struct http *h = w->http;

	if (kind == KIND_END) {
		turn_away(w);
	} else if (kind == KIND_ONE || kind == KIND_TWO) {
		(void)uv_poll_stop(&w->watch->poll);
		/* It closes what it cannot serve. */
		(void)!enter(h, kind, w->fd, w->watch);
		forget(w);
	} else if (uv_poll_start(&w->watch->poll,
				 partial ? UV_DISCONNECT
					 : UV_READABLE | UV_DISCONNECT,
				 on_event) != 0) {
		turn_away(w);
	} else {
		mark_partial(w, partial);
	}
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct http_waiting *w = poll->data;
	enum kind kind = look(w->fd);

	/* Who left with less than a preface has asked nothing. */
	if (status < 0 || ((events & UV_DISCONNECT) && kind == KIND_PARTIAL))
		kind = KIND_END;
	settle(w, kind);
}

static void on_again(uv_timer_t *timer)
{
	struct http *h = timer->data;
	struct http_waiting *w, *after;

	for (w = LIST_FIRST(&h->waiting); w; w = after) {
		after = LIST_NEXT(w, next);
		if (w->partial)
			settle(w, look(w->fd));
	}
	if (h->n_partial == 0)
		return;
	h->again_ms =
		h->again_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS : h->again_ms * 2;
	(void)uv_timer_start(&h->again, on_again, h->again_ms, 0);
}

static enum err wait(struct http *h, int fd, enum kind kind)
{
	struct http_waiting *w = calloc(1, sizeof(*w));

	if (w)
		w->watch = http_watch_new(h->loop, fd);
	if (!w || !w->watch) {
		free(w);
		h->n_connections--;
		close(fd);
		return ERR_MEMORY;
	}
	w->http = h;
	w->fd = fd;
	w->since_ns = uv_hrtime();
	w->watch->poll.data = w;
	LIST_INSERT_HEAD(&h->waiting, w, next);
	settle(w, kind);
	return ERR_OK;
}

/**
 * http_door_add() - Take a connection in
 * @h:		Server
 * @fd:		Owned from here on
 *
 * Return: ERR_OK; ERR_LIMIT when there are too many; ERR_MEMORY; ERR_SYS.
 */
enum err http_door_add(struct http *h, int fd)
{
	enum kind kind;

	if (h->n_connections >= HTTP_CONNECTIONS_MAX) {
		close(fd);
		return ERR_LIMIT;
	}
	h->n_connections++;
	kind = look(fd);
	if (kind == KIND_ONE || kind == KIND_TWO)
		return enter(h, kind, fd, NULL);
	if (kind == KIND_END) {
		h->n_connections--;
		close(fd);
		return ERR_OK;
	}
	return wait(h, fd, kind);
}

/** http_door_tick() - Close who says nothing */
void http_door_tick(struct http *h, uint64_t now_ns)
{
	struct http_waiting *w, *after;

	for (w = LIST_FIRST(&h->waiting); w; w = after) {
		after = LIST_NEXT(w, next);
		if (now_ns > w->since_ns &&
		    now_ns - w->since_ns > HTTP_IDLE_MAX_NS)
			turn_away(w);
	}
}

/** http_door_init() - Open the door */
void http_door_init(struct http *h)
{
	LIST_INIT(&h->waiting);
	(void)uv_timer_init(h->loop, &h->again);
	h->again.data = h;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/** http_door_close() - Turn away who waits; @h is freed by the loop */
void http_door_close(struct http *h)
{
	struct http_waiting *w;

	while ((w = LIST_FIRST(&h->waiting)))
		turn_away(w);
	uv_close((uv_handle_t *)&h->again, on_closed);
}
