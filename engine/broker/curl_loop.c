/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl_loop.c - libcurl's transfers driven by the process's libuv loop
 *
 * Runs in: kenaz-broker.
 * Trusts:  libcurl.
 * Never:   blocks: names are resolved in libcurl's own threads.
 *
 * libcurl says which sockets and which time-out it waits for; each socket has
 * a poll handle, the time-out one timer. Finished transfers are reported
 * after libcurl has returned, so a report may remove or add transfers.
 *
 * A connection carries one request at a time, also of HTTP/2. libcurl stops
 * reading a connection of which one stream is paused, and with it all others:
 * a guest that does not read would stop other sessions.
 *
 * An HTTP/2 connection keeps the headers it sent, keys among them, as long as
 * it lives. When a key is withdrawn all idle connections are closed, which is
 * done by giving up the multi handle that has them.
 */
#include "engine/broker/curl_loop.h"

#include <stdlib.h>

#include "engine/base/log.h"

struct watch {
	uv_poll_t poll;
	struct curl_loop *owner;
	curl_socket_t fd;
	int events; /* that libcurl waits for */
};

struct curl_loop {
	uv_loop_t *loop;
	CURLM *multi;
	CURLSH *share;
	unsigned count; /* transfers in it */
	bool renew;     /* once that is 0 */
	uv_timer_t timer;
	uv_idle_t soon; /* libcurl wants its next turn at once */
	curl_loop_done done;
	curl_loop_turned turned;
	void *context;
};

static void report(struct curl_loop *c)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(c->multi, &left))) {
		char *context = NULL;
		CURLcode result = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		if (curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE,
				      &context) == CURLE_OK &&
		    context)
			c->done(context, result);
	}
}

static void act(struct curl_loop *c, curl_socket_t fd, int events)
{
	int running;

	if (curl_multi_socket_action(c->multi, fd, events, &running) !=
	    CURLM_OK)
		log_error("libcurl cannot go on with a socket");
	report(c);
	c->turned(c->context);
}

static void on_timer(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_soon(uv_idle_t *idle)
{
	(void)uv_idle_stop(idle);
	act(idle->data, CURL_SOCKET_TIMEOUT, 0);
}

/*
 * Not by a timer of no time: libuv runs one that a timer starts in the same
 * turn, for ever, while a provider sends faster than libcurl reads. Nothing
 * else would run, no deadline either.
 */
static void want_turn(struct curl_loop *c)
{
	(void)uv_timer_stop(&c->timer);
	(void)uv_idle_start(&c->soon, on_soon);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	int flags = 0;

	/*
	 * A peer that answered and then reset the connection, as one does
	 * that does not want the rest of a request: its answer lies there
	 * still. Told of the error, libcurl would not read it; reading, it
	 * finds both. libuv has stopped watching.
	 */
	if (status < 0) {
		flags = CURL_CSELECT_IN;
		(void)uv_poll_start(poll, w->events, on_poll);
	}
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	act(w->owner, w->fd, flags);
}

static void on_watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static struct watch *watch_new(struct curl_loop *c, curl_socket_t fd)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->owner = c;
	w->fd = fd;
	w->poll.data = w;
	if (uv_poll_init_socket(c->loop, &w->poll, fd) != 0 ||
	    curl_multi_assign(c->multi, fd, w) != CURLM_OK) {
		free(w);
		return NULL;
	}
	return w;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context,
		     void *socket_context)
{
	struct curl_loop *c = context;
	struct watch *w = socket_context;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w) {
			(void)uv_poll_stop(&w->poll);
			(void)curl_multi_assign(c->multi, fd, NULL);
			uv_close((uv_handle_t *)&w->poll, on_watch_closed);
		}
		return 0;
	}
	if (!w)
		w = watch_new(c, fd);
	if (!w)
		return -1;
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	w->events = events;
	return uv_poll_start(&w->poll, events, on_poll) == 0 ? 0 : -1;
}

static int on_timeout(CURLM *multi, long timeout_ms, void *context)
{
	struct curl_loop *c = context;

	(void)multi;
	if (timeout_ms == 0) {
		want_turn(c);
		return 0;
	}
	(void)uv_idle_stop(&c->soon);
	if (timeout_ms < 0)
		(void)uv_timer_stop(&c->timer);
	else
		(void)uv_timer_start(&c->timer, on_timer, (uint64_t)timeout_ms,
				     0);
	return 0;
}

static CURLM *multi_new(struct curl_loop *c)
{
	CURLM *multi = curl_multi_init();

	if (!multi)
		return NULL;
	(void)curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	(void)curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, c);
	(void)curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	(void)curl_multi_setopt(multi, CURLMOPT_TIMERDATA, c);
	(void)curl_multi_setopt(multi, CURLMOPT_PIPELINING,
				(long)CURLPIPE_NOTHING);
	(void)curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS,
				CURL_LOOP_IDLE_CONNECTIONS_MAX);
	return multi;
}

static void renew_if_idle(struct curl_loop *c)
{
	CURLM *made;

	if (!c->renew || c->count)
		return;
	made = multi_new(c);
	if (!made) {
		log_error("idle connections could not be closed");
		return;
	}
	c->renew = false;
	(void)curl_multi_cleanup(c->multi);
	c->multi = made;
	(void)uv_timer_stop(&c->timer);
	(void)uv_idle_stop(&c->soon);
}

/**
 * curl_loop_new() - Join libcurl and libuv
 * @loop:	The process's loop
 * @done:	Called for every transfer that ended by itself
 * @turned:	Called after each turn of libcurl
 * @context:	For @turned
 * @ret_loop:	Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err curl_loop_new(uv_loop_t *loop, curl_loop_done done,
		       curl_loop_turned turned, void *context,
		       struct curl_loop **ret_loop)
{
	struct curl_loop *c = calloc(1, sizeof(*c));

	if (!c)
		return ERR_MEMORY;
	c->multi = multi_new(c);
	c->share = curl_share_init();
	if (!c->multi || !c->share ||
	    curl_share_setopt(c->share, CURLSHOPT_SHARE,
			      CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK) {
		(void)curl_share_cleanup(c->share);
		(void)curl_multi_cleanup(c->multi);
		free(c);
		return ERR_MEMORY;
	}
	c->loop = loop;
	c->done = done;
	c->turned = turned;
	c->context = context;
	(void)uv_timer_init(loop, &c->timer);
	c->timer.data = c;
	(void)uv_idle_init(loop, &c->soon);
	c->soon.data = c;
	*ret_loop = c;
	return ERR_OK;
}

/**
 * curl_loop_add() - Start a transfer
 * @c:		Loop
 * @easy:	Borrowed until curl_loop_remove()
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err curl_loop_add(struct curl_loop *c, CURL *easy)
{
	/* Else each handle has a cache of TLS sessions, of a KiB, unused. */
	if (curl_easy_setopt(easy, CURLOPT_SHARE, c->share) != CURLE_OK ||
	    curl_multi_add_handle(c->multi, easy) != CURLM_OK)
		return ERR_MEMORY;
	c->count++;
	return ERR_OK;
}

/**
 * curl_loop_remove() - Stop a transfer; its connection closes unless idle
 * @c:		Loop
 * @easy:	That was added; not of use any more
 */
void curl_loop_remove(struct curl_loop *c, CURL *easy)
{
	(void)curl_multi_remove_handle(c->multi, easy);
	c->count--;
	renew_if_idle(c);
}

/**
 * curl_loop_forget() - Close idle connections: a key that they sent is gone
 * @c:	Loop
 *
 * With transfers under way it is done when the last of them has ended.
 */
void curl_loop_forget(struct curl_loop *c)
{
	c->renew = true;
	renew_if_idle(c);
}

/** curl_loop_resume() - Let a paused transfer go on in the next turn */
void curl_loop_resume(struct curl_loop *c, CURL *easy)
{
	(void)curl_easy_pause(easy, CURLPAUSE_CONT);
	/* Not every version asks for this by itself. */
	want_turn(c);
}
