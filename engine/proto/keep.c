/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.c - a child of core that outlives it until another core adopts it
 *
 * Runs in: kenaz-launch and kenaz-gate of a service engine.
 * Trusts:  core; a new one that runs as the user the old one named.
 * Never:   listens while core is there; waits longer than it was told to;
 *	    speaks to a core of another protocol version.
 *
 * States: alone (the end of core is the end) -> armed by survive -> away
 * (core's channel closed: the socket listens, the clock runs) -> a candidate
 * connected and got hello -> adopt was right: armed again by the next survive.
 * dismiss disarms: core means the end of its channel.
 */
#include "engine/proto/keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"

#define KEEP_BACKLOG 4

/* Freed by the loop: a new one may be armed before. */
struct listener {
	uv_poll_t poll;
	struct keep *keep;
	int fd;
};

struct keep {
	uv_loop_t *loop;
	enum role self;
	struct chan_handler core_handler;
	struct keep_handler handler;
	void *context; /* of both handlers */
	int bound_fd;  /* -1: not armed */
	uint32_t uid, adopt_ms;
	char session[SESSION_ID_BYTES + 1];
	struct listener *listener; /* while core is away */
	struct chan *candidate;
	uv_timer_t deadline;
	uint64_t lost_ns;
};

static void on_listener_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void stop_listening(struct keep *k)
{
	struct listener *l = k->listener;

	(void)uv_timer_stop(&k->deadline);
	if (!l)
		return;
	k->listener = NULL;
	(void)uv_poll_stop(&l->poll);
	close(l->fd);
	uv_close((uv_handle_t *)&l->poll, on_listener_closed);
}

static void disarm(struct keep *k)
{
	if (k->bound_fd >= 0)
		close(k->bound_fd);
	k->bound_fd = -1;
}

static void give_up(struct keep *k, const char *why)
{
	stop_listening(k);
	k->handler.on_given_up(k->context, why);
}

static void on_deadline(uv_timer_t *timer)
{
	give_up(timer->data, "no engine adopted this session in time");
}

static bool is_engine(const struct keep *k, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       peer.uid == k->uid;
}

static enum err greet(struct keep *k)
{
	struct msg_hello hello = {.version = PROTO_VERSION,
				  .role = (uint32_t)k->self,
				  .pid = (uint32_t)getpid()};
	enum err e = chan_send_hello(k->candidate, &hello, NULL, 0);

	return e == ERR_OK ? chan_flush(k->candidate) : e;
}

/* One at a time: who comes second waits in the backlog or is turned away. */
static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;
	struct keep *k = l->keep;
	enum err e;
	int fd;

	(void)status;
	(void)events;
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (k->candidate || !is_engine(k, fd)) {
		close(fd);
		return;
	}
	e = chan_new(k->loop, fd, k->self, ROLE_CORE, &k->core_handler,
		     k->context, &k->candidate);
	if (e == ERR_OK)
		e = greet(k);
	if (e == ERR_OK)
		return;
	log_warn("an engine could not be greeted: %s", err_text(e));
	chan_free(k->candidate);
	k->candidate = NULL;
}

static enum err start_listening(struct keep *k)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return ERR_MEMORY;
	l->keep = k;
	l->fd = k->bound_fd;
	l->poll.data = l;
	if (listen(l->fd, KEEP_BACKLOG) < 0 ||
	    uv_poll_init(k->loop, &l->poll, l->fd) != 0) {
		free(l);
		return ERR_SYS;
	}
	/* From here on the listener owns the descriptor. */
	k->bound_fd = -1;
	k->listener = l;
	if (uv_poll_start(&l->poll, UV_READABLE, on_connection) != 0 ||
	    uv_timer_start(&k->deadline, on_deadline, k->adopt_ms, 0) != 0)
		return ERR_SYS;
	return ERR_OK;
}

static enum err on_survive(struct keep *k, struct chan_message *cm)
{
	struct msg_survive m;
	enum err e = msg_survive_get(cm->payload, &m);

	if (e == ERR_OK)
		e = span_copy_text(m.session, k->session, sizeof(k->session));
	if (e != ERR_OK)
		return e;
	if (m.adopt_ms == 0 || m.adopt_ms > KEEP_ADOPT_MAX_MS)
		return ERR_RANGE;
	disarm(k);
	k->bound_fd = cm->fds[0];
	cm->fds[0] = -1;
	k->uid = m.uid;
	k->adopt_ms = m.adopt_ms;
	/* The parent ends with core; this process does not. */
	return prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0 ? ERR_SYS : ERR_OK;
}

static enum err on_adopt(struct keep *k, struct chan *c,
			 struct chan_message *cm)
{
	struct msg_adopt m;
	char text[128];
	enum err e = msg_adopt_get(cm->payload, &m);

	if (e != ERR_OK || c != k->candidate)
		return e == ERR_OK ? ERR_STATE : e;
	if (m.version != PROTO_VERSION) {
		(void)snprintf(text, sizeof(text),
			       "the new engine speaks protocol %u, this "
			       "session %u",
			       m.version, PROTO_VERSION);
		give_up(k, text);
		return ERR_VERSION;
	}
	if (!span_is(m.session, k->session))
		return ERR_STATE;
	stop_listening(k);
	k->candidate = NULL;
	chan_set_state(c, S_RUN);
	k->handler.on_adopted(k->context, c, uv_hrtime() - k->lost_ns);
	return ERR_OK;
}

/** keep_takes() - Whether a message of core is for keep_on_message() */
bool keep_takes(enum msg_type type)
{
	return type == MSG_SURVIVE || type == MSG_ADOPT || type == MSG_DISMISS;
}

/**
 * keep_on_message() - Take survive, adopt or dismiss
 * @k:	Keep
 * @c:	Channel it came on
 * @m:	Message that keep_takes()
 *
 * Return: ERR_OK; any error closes @c.
 */
enum err keep_on_message(struct keep *k, struct chan *c, struct chan_message *m)
{
	if (m->type == MSG_SURVIVE)
		return on_survive(k, m);
	if (m->type == MSG_ADOPT)
		return on_adopt(k, c, m);
	if (m->type != MSG_DISMISS)
		return ERR_STATE;
	disarm(k);
	return ERR_OK;
}

/**
 * keep_lost_core() - A channel to core closed: wait for another one?
 * @k:		Keep
 * @c:		Channel; a candidate's is freed here, core's stays the owner's
 * @reason:	Why it closed
 *
 * Return: false when the process has to end.
 */
bool keep_lost_core(struct keep *k, struct chan *c, enum err reason)
{
	enum err e;

	if (c == k->candidate) {
		chan_free(c);
		k->candidate = NULL;
		return true;
	}
	if (reason != ERR_CLOSED || k->bound_fd < 0)
		return false;
	k->lost_ns = uv_hrtime();
	e = start_listening(k);
	if (e != ERR_OK) {
		log_error("this session cannot wait for another engine: %s",
			  err_text(e));
		return false;
	}
	log_info("core is gone; waiting %u s for another one",
		 k->adopt_ms / 1000u);
	return true;
}

/** keep_is_away() - Whether there is no core at present */
bool keep_is_away(const struct keep *k)
{
	return k->listener != NULL;
}

/**
 * keep_new() - A child that ends with core until it gets survive
 * @loop:		Loop
 * @self:		Role of this process
 * @core_handler:	For channels of a new core; copied
 * @handler:		Copied
 * @context:		Borrowed; of both handlers
 * @ret_keep:		For the life of the process
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err keep_new(uv_loop_t *loop, enum role self,
		  const struct chan_handler *core_handler,
		  const struct keep_handler *handler, void *context,
		  struct keep **ret_keep)
{
	struct keep *k = calloc(1, sizeof(*k));

	if (!k)
		return ERR_MEMORY;
	k->loop = loop;
	k->self = self;
	k->core_handler = *core_handler;
	k->handler = *handler;
	k->context = context;
	k->bound_fd = -1;
	(void)uv_timer_init(loop, &k->deadline);
	k->deadline.data = k;
	*ret_keep = k;
	return ERR_OK;
}
