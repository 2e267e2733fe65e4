/* SPDX-License-Identifier: Apache-2.0 */
/*
 * children.c - the processes that core has the spawner start
 *
 * Runs in: kenazd.
 * Trusts:  the spawner; of a child only that the socket is the one it got.
 * Never:   speaks to a child of another protocol version.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/core/engine.h"
#include "engine/core/image_trust.h"

#define DEPARTING_MAX      ENGINE_CHILDREN_MAX
#define DEPARTING_GRACE_NS (4ull * 1000000000ull)

/* Children that core let go of: they end by themselves, or are killed. */
static struct {
	uint32_t pid;
	uint64_t deadline_ns;
} departing[DEPARTING_MAX];
static size_t n_departing;

static void gone(struct child *c, const char *why)
{
	void (*on_gone)(struct child *, void *, const char *) = c->on_gone;

	if (c->ended)
		return;
	c->ended = true;
	if (on_gone)
		on_gone(c, c->context, why);
}

static enum err on_message(struct chan *chan, void *context,
			   struct chan_message *m)
{
	struct child *c = context;
	struct msg_hello hello;
	struct msg_fatal fatal;
	char text[REASON_MAX_BYTES];
	enum err e;

	if (m->type == MSG_HELLO) {
		e = msg_hello_get(m->payload, &hello);
		if (e != ERR_OK)
			return e;
		if (hello.version != PROTO_VERSION ||
		    hello.role != (uint32_t)c->role) {
			(void)snprintf(text, sizeof(text),
				       "%s speaks protocol %u, core %u: "
				       "install programs of one version",
				       role_program(c->role), hello.version,
				       PROTO_VERSION);
			log_error("%s", text);
			c->refused = true;
			gone(c, text);
			return ERR_OK;
		}
		c->greeted = true;
		chan_set_state(chan, S_RUN);
		return ERR_OK;
	}
	if (m->type == MSG_FATAL) {
		e = msg_fatal_get(m->payload, &fatal);
		if (e != ERR_OK)
			return e;
		(void)text_escape_line(fatal.text, text, sizeof(text));
		gone(c, text);
		return ERR_OK;
	}
	if (!c->greeted)
		return ERR_STATE;
	return c->on_message ? c->on_message(c, c->context, m) : ERR_STATE;
}

static void on_closed(struct chan *chan, void *context, enum err reason)
{
	struct child *c = context;
	char text[128];

	(void)chan;
	(void)snprintf(text, sizeof(text), "kenaz-%s ended unexpectedly (%s)",
		       role_name(c->role), err_text(reason));
	gone(c, text);
}

static const struct chan_handler handler = {on_message, on_closed};

/**
 * child_start() - Have a program started with a channel to core
 * @e:		Engine
 * @role:	Which program
 * @arguments:	Separated by newlines; "" is none
 * @more_fds:	Become descriptors 4, 5, ...; owned from here on
 * @n_more:	How many, at most 3
 * @ret_child:	The child; set its handlers at once; child_end() when done
 *
 * Messages may be sent at once; they wait until the program reads them.
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_SYS; ERR_MEMORY; ERR_CLOSED without spawner.
 */
enum err child_start(struct engine *e, enum role role, const char *arguments,
		     const int *more_fds, size_t n_more,
		     struct child **ret_child)
{
	struct msg_spawn m = {.request = engine_next_request(e),
			      .role = (uint32_t)role,
			      .arguments = span_text(arguments)};
	struct child *c = calloc(1, sizeof(*c));
	int pair[2], fds[4];
	enum err err = ERR_MEMORY;
	size_t i;

	if (!c || n_more > 3)
		goto fail;
	err = chan_pair(pair);
	if (err != ERR_OK)
		goto fail;
	c->engine = e;
	c->role = role;
	c->request = m.request;
	err = chan_new(&e->loop, pair[0], ROLE_CORE, role, &handler, c,
		       &c->chan);
	if (err != ERR_OK) {
		close(pair[1]);
		goto fail;
	}
	fds[0] = pair[1];
	for (i = 0; i < n_more; i++)
		fds[i + 1] = more_fds[i];
	n_more = 0; /* owned by the message from here on */
	err = chan_send_spawn(e->spawner, &m, fds, i + 1);
	if (err != ERR_OK) {
		chan_free(c->chan);
		goto fail;
	}
	LIST_INSERT_HEAD(&e->children, c, next);
	/* Whatever is started there, nothing unsigned is. */
	if (role == ROLE_LAUNCH) {
		err = image_trust_send(e, c->chan);
		if (err != ERR_OK) {
			child_end(c);
			return err;
		}
	}
	*ret_child = c;
	return ERR_OK;
fail:
	for (i = 0; i < n_more; i++)
		close(more_fds[i]);
	free(c);
	return err;
}

/**
 * child_adopt() - Take a child of an earlier engine over
 * @e:		Engine
 * @role:	Which program
 * @fd:		Connected to it, owned from here on
 * @pid:	Its number
 * @pid_fd:	Its pidfd, owned from here on
 * @ret_child:	As from child_start()
 *
 * Return: ERR_OK; ERR_SYS; ERR_MEMORY; ERR_CLOSED without spawner.
 */
enum err child_adopt(struct engine *e, enum role role, int fd, uint32_t pid,
		     int pid_fd, struct child **ret_child)
{
	struct msg_child_adopt m = {.pid = pid};
	struct child *c = calloc(1, sizeof(*c));
	enum err err = ERR_MEMORY;

	if (!c) {
		close(fd);
		close(pid_fd);
		return ERR_MEMORY;
	}
	c->engine = e;
	c->role = role;
	c->pid = pid;
	err = chan_new(&e->loop, fd, ROLE_CORE, role, &handler, c, &c->chan);
	if (err != ERR_OK) {
		close(pid_fd);
		free(c);
		return err;
	}
	err = chan_send_child_adopt(e->spawner, &m, &pid_fd, 1);
	if (err != ERR_OK) {
		chan_free(c->chan);
		free(c);
		return err;
	}
	LIST_INSERT_HEAD(&e->children, c, next);
	*ret_child = c;
	return ERR_OK;
}

/**
 * child_end() - Close a child's channel and forget it; it ends by itself
 * @c:	Child, or NULL; no handler runs any more
 */
void child_end(struct child *c)
{
	if (!c)
		return;
	c->ended = true;
	c->on_gone = NULL;
	/* The end of the channel alone would not end it. */
	if (c->kept && !c->engine->leaving && chan_is_open(c->chan) &&
	    chan_send_dismiss(c->chan, &(struct msg_dismiss){0}, NULL, 0) !=
		    ERR_OK)
		log_debug("%s was not dismissed", role_name(c->role));
	if (c->pid && n_departing < DEPARTING_MAX) {
		departing[n_departing].pid = c->pid;
		departing[n_departing++].deadline_ns =
			engine_now_ns() + DEPARTING_GRACE_NS;
	}
	LIST_REMOVE(c, next);
	chan_free(c->chan);
	free(c);
}

/** child_kill() - Send SIGKILL to a child that did not end in time */
void child_kill(struct child *c)
{
	struct msg_child_kill m = {.signal = SIGKILL};

	if (!c || c->pid == 0)
		return;
	m.pid = c->pid;
	if (chan_send_child_kill(c->engine->spawner, &m, NULL, 0) != ERR_OK)
		log_error("the spawner is gone: process %u may be left",
			  c->pid);
}

/** children_tick() - Kill who was let go and did not end in time */
void children_tick(struct engine *e)
{
	uint64_t now = engine_now_ns();
	size_t i;

	for (i = 0; i < n_departing;) {
		struct msg_child_kill m = {.pid = departing[i].pid,
					   .signal = SIGKILL};

		if (now < departing[i].deadline_ns) {
			i++;
			continue;
		}
		log_warn("process %u did not end in time", m.pid);
		if (chan_send_child_kill(e->spawner, &m, NULL, 0) != ERR_OK)
			log_error("the spawner is gone: process %u may be left",
				  m.pid);
		departing[i] = departing[--n_departing];
	}
}

static void forget_departed(uint32_t pid)
{
	size_t i;

	for (i = 0; i < n_departing; i++)
		if (departing[i].pid == pid)
			departing[i] = departing[--n_departing];
}

/**
 * children_on_spawner() - Take a message of the spawner
 * @e:	Engine
 * @m:	spawned or child_exited
 */
void children_on_spawner(struct engine *e, struct chan_message *m)
{
	struct msg_child_exited exited;
	struct msg_spawned spawned;
	struct child *c, *after;
	char text[160];

	if (m->type == MSG_SPAWNED &&
	    msg_spawned_get(m->payload, &spawned) == ERR_OK) {
		for (c = LIST_FIRST(&e->children); c; c = LIST_NEXT(c, next))
			if (c->request == spawned.request)
				break;
		if (!c)
			return;
		c->pid = spawned.pid;
		if (spawned.error == ERR_OK)
			return;
		(void)snprintf(text, sizeof(text),
			       "%s cannot be started: %s; is Kenaz installed "
			       "completely?",
			       role_program(c->role),
			       err_text(err_from_wire(spawned.error)));
		gone(c, text);
	} else if (m->type == MSG_CHILD_EXITED &&
		   msg_child_exited_get(m->payload, &exited) == ERR_OK) {
		forget_departed(exited.pid);
		for (c = LIST_FIRST(&e->children); c; c = after) {
			after = LIST_NEXT(c, next);
			if (c->pid != exited.pid)
				continue;
			(void)snprintf(text, sizeof(text),
				       "%s ended with %s %d",
				       role_program(c->role),
				       exited.signalled ? "signal" : "code",
				       exited.code);
			log_info("%s", text);
			/* What it said last is still in its channel: that
			 * channel's end is what counts, unless there is none */
			if (!chan_is_open(c->chan))
				gone(c, text);
			break;
		}
	}
}
