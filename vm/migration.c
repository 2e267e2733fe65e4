/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migration.c - save or load a guest's device state, as QMP commands
 *
 * Runs in: kenaz-launch.
 * Trusts:  QEMU no further than its own session: what it claims decides only
 *	    when its own guest goes on.
 * Never:   waits without a deadline; polls faster than MIGRATION_POLL_MS.
 *
 * Theory of operation. Memory is shared, and x-ignore-shared leaves it out of
 * the stream: a third of a mebibyte of device state remains. The commands of
 * a list are sent at once, QEMU works them off in order; the list stops where
 * the migration has to be over first. QEMU tells of its progress by events;
 * query-migrate is asked after each, and by a slow timer.
 *
 * A vhost-user device can neither be migrated nor be there during a load, so
 * it is plugged after the load and before the CPUs run.
 */
#include "vm/migration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "vm/qemu_args.h"

#define CAPABILITIES                                           \
	"{\"capabilities\":["                                  \
	"{\"capability\":\"x-ignore-shared\",\"state\":true}," \
	"{\"capability\":\"events\",\"state\":true}]}"
#define STATE_FD  "{\"fdname\":\"state\"}"
#define STATE_URI "{\"uri\":\"fd:state\"}"
#define DEVICE                                                                 \
	"{\"driver\":\"" QEMU_VSOCK_DRIVER "\",\"id\":\"" QEMU_VSOCK_ID        \
	"\",\"chardev\":\"" QEMU_VSOCK_CHARDEV "\",\"bus\":\"" QEMU_VSOCK_PORT \
	"\"}"

/* A row without a command waits until the migration is over. */
struct step {
	const char *command;
	const char *arguments;
	bool with_fd;
};

static const struct step save_steps[] = {
	{"stop", NULL, false},
	{"migrate-set-capabilities", CAPABILITIES, false},
	{"getfd", STATE_FD, true},
	{"migrate", STATE_URI, false},
	{NULL, NULL, false},
};

static const struct step load_steps[] = {
	{"migrate-set-capabilities", CAPABILITIES, false},
	{"getfd", STATE_FD, true},
	{"migrate-incoming", STATE_URI, false},
	{NULL, NULL, false},
	{"device_add", DEVICE, false},
};

static const struct {
	const struct step *steps;
	size_t count;
} lists[] = {
	[MIGRATION_SAVE] = {save_steps, ARRAY_SIZE(save_steps)},
	[MIGRATION_LOAD] = {load_steps, ARRAY_SIZE(load_steps)},
};

struct migration {
	struct qmp *qmp;
	const struct step *steps;
	size_t step_count;
	size_t next;
	uint64_t first_id; /* of the commands of the list */
	uint64_t last_id;
	uint64_t query_id; /* 0: none is asked */
	uint64_t resume_id;
	int fd; /* the state: a file to read or a socket to write */
	bool waiting;
	bool is_done;
	uint64_t deadline_ns;
	uv_timer_t timer;
	const struct migration_events *events;
	void *arg;
};

static void finish(struct migration *m, enum err e, const char *text)
{
	if (m->is_done)
		return;
	m->is_done = true;
	m->waiting = false;
	(void)uv_timer_stop(&m->timer);
	m->events->done(m->arg, e, text);
}

static void fail(struct migration *m, enum err e, const char *what,
		 struct span text)
{
	char line[MIGRATION_TEXT_BYTES / 2], whole[MIGRATION_TEXT_BYTES];

	(void)text_escape_line(text, line, sizeof(line));
	(void)snprintf(whole, sizeof(whole), "%s: %s", what, line);
	finish(m, e, whole);
}

static void fail_sending(struct migration *m, enum err e)
{
	fail(m, e, "QEMU's monitor does not take commands",
	     span_text(err_text(e)));
}

static void query(struct migration *m)
{
	enum err e;

	if (!m->waiting || m->query_id)
		return;
	e = qmp_send(m->qmp, "query-migrate", &m->query_id);
	if (e != ERR_OK)
		fail_sending(m, e);
}

/* Up to the next wait, or the end. */
static void send_steps(struct migration *m)
{
	enum err e = ERR_OK;

	for (; m->next < m->step_count; m->next++) {
		const struct step *s = &m->steps[m->next];

		if (!s->command)
			break;
		e = qmp_command(m->qmp, s->command, s->arguments,
				s->with_fd ? m->fd : -1, &m->last_id);
		if (e != ERR_OK) {
			fail_sending(m, e);
			return;
		}
		if (!m->first_id)
			m->first_id = m->last_id;
	}
}

/* The last command that was sent has been answered. */
static void go_on(struct migration *m)
{
	if (m->next == m->step_count) {
		finish(m, ERR_OK, "");
		return;
	}
	m->waiting = true;
	query(m);
}

static void take_status(struct migration *m, struct span status)
{
	m->query_id = 0;
	if (span_is(status, "completed")) {
		m->waiting = false;
		m->next++;
		send_steps(m);
		if (m->next == m->step_count &&
		    !m->steps[m->step_count - 1].command)
			finish(m, ERR_OK, "");
	} else if (span_is(status, "failed") || span_is(status, "cancelled")) {
		fail(m, ERR_UPSTREAM, "QEMU's migration ended", status);
	}
}

/**
 * migration_answer() - QEMU answered a command
 * @m:		Migration
 * @id:		Of any command; only its own count
 * @e:		Whether it was refused
 * @text:	Why, or the status that was asked for
 */
void migration_answer(struct migration *m, uint64_t id, enum err e,
		      struct span text)
{
	bool mine = id >= m->first_id && id <= m->last_id;

	if (id == 0)
		return;
	if (id == m->resume_id) {
		m->resume_id = 0;
		m->events->resumed(m->arg, e);
		return;
	}
	if (m->is_done || (!mine && id != m->query_id))
		return;
	if (e != ERR_OK)
		fail(m, ERR_UPSTREAM, "QEMU refused a step of the migration",
		     text);
	else if (id == m->query_id)
		take_status(m, text);
	else if (id == m->last_id)
		go_on(m);
}

/** migration_event() - QEMU told of something */
void migration_event(struct migration *m, const char *name)
{
	if (strcmp(name, "MIGRATION") == 0)
		query(m);
}

static void on_timer(uv_timer_t *timer)
{
	struct migration *m = timer->data;

	if (uv_hrtime() > m->deadline_ns)
		fail(m, ERR_TIMEOUT, "QEMU's migration did not end in time",
		     span_text(m->waiting ? "active" : "a command waits"));
	else
		query(m);
}

/**
 * migration_new() - Begin
 * @loop:		The process's loop
 * @kind:		Save or load
 * @qmp:		Ready, borrowed; its answers and events are handed on to
 *			migration_answer() and migration_event()
 * @fd:			For QEMU to write to or read from; owned, also on
 *			failure
 * @events:		Owner's callbacks, static; done() may come from here
 * @arg:		For them
 * @ret_migration:	migration_free() when done
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err migration_new(uv_loop_t *loop, enum migration_kind kind,
		       struct qmp *qmp, int fd,
		       const struct migration_events *events, void *arg,
		       struct migration **ret_migration)
{
	struct migration *m = calloc(1, sizeof(*m));

	if (!m) {
		close(fd);
		return ERR_MEMORY;
	}
	m->qmp = qmp;
	m->fd = fd;
	m->events = events;
	m->arg = arg;
	m->steps = lists[kind].steps;
	m->step_count = lists[kind].count;
	m->deadline_ns = uv_hrtime() + MIGRATION_MAX_NS;
	(void)uv_timer_init(loop, &m->timer);
	m->timer.data = m;
	(void)uv_timer_start(&m->timer, on_timer, MIGRATION_POLL_MS,
			     MIGRATION_POLL_MS);
	*ret_migration = m;
	send_steps(m);
	/* QEMU has its own copy: its end of a socket must be the only one. */
	close(m->fd);
	m->fd = -1;
	return ERR_OK;
}

/**
 * migration_resume() - Let the CPUs run; resumed() follows
 * @m:	A load that is done
 *
 * Return: as qmp_command().
 */
enum err migration_resume(struct migration *m)
{
	return qmp_send(m->qmp, "cont", &m->resume_id);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/** migration_free() - Forget it; NULL is accepted */
void migration_free(struct migration *m)
{
	if (!m)
		return;
	m->is_done = true;
	uv_close((uv_handle_t *)&m->timer, on_closed);
}
