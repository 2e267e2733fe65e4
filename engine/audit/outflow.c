/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outflow.c - dumps: the log written to a passed descriptor
 *
 * Runs in: kenaz-audit.
 * Trusts:  core for who may have the log.
 * Never:   waits for a reader: what it does not take now is kept, within a
 *	    bound, and a reader that takes nothing for a minute is dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/audit/anchor.h"
#include "engine/audit/segment.h"
#include "engine/audit/service.h"
#include "engine/base/log.h"

/* Events of one step, their records, and what comes before the first. */
#define OUT_MAX_BYTES ((SERVICE_DUMP_EVENTS + 8u) * 3u * DUMP_RECORD_MAX_BYTES)

struct outflow {
	struct service *s;
	uint64_t request;
	int fd;
	int segment_dir_fd;
	uv_poll_t poll;
	bool polls; /* the descriptor can be waited for */
	bool waits; /* it is */
	bool done;  /* everything is in out */
	struct walk walk;
	struct dump_writer writer;
	struct buf out;
	size_t sent;
	uint64_t progress_ns;
};

static void on_poll_closed(uv_handle_t *handle)
{
	struct outflow *o = handle->data;

	close(o->fd);
	free(o);
}

static void end(struct outflow *o, enum err error)
{
	struct msg_audit_dumped m = {.request = o->request, .error = error};
	struct service *s = o->s;
	size_t i;

	for (i = 0; i < SERVICE_DUMPS_MAX; i++)
		if (s->dumps[i] == o)
			s->dumps[i] = NULL;
	walk_fini(&o->walk);
	dump_writer_fini(&o->writer);
	buf_fini(&o->out);
	if (o->segment_dir_fd >= 0)
		close(o->segment_dir_fd);
	if (o->polls) {
		(void)uv_poll_stop(&o->poll);
		uv_close((uv_handle_t *)&o->poll, on_poll_closed);
	} else {
		close(o->fd);
		free(o);
	}
	service_check(s, chan_send_audit_dumped(s->core, &m, NULL, 0));
}

static enum err put_event(void *context, uint64_t seq,
			  const struct tree_hash *leaf, struct span bytes)
{
	struct outflow *o = context;

	(void)seq;
	(void)leaf;
	return dump_put_event(&o->writer, bytes, &o->out);
}

static enum err put_payload(void *context, const struct walk_payload *p)
{
	struct outflow *o = context;

	return dump_put_payload(&o->writer, p, &o->out);
}

static enum err put_checkpoint(void *context, uint64_t size, struct span note)
{
	struct outflow *o = context;

	return dump_put_checkpoint(&o->writer, size, note, &o->out);
}

static enum err fill(struct outflow *o)
{
	static const struct walk_handler handler = {put_event, put_payload,
						    put_checkpoint};
	bool last = false;
	enum err e;

	buf_reset(&o->out);
	o->sent = 0;
	e = walk_some(&o->walk, SERVICE_DUMP_EVENTS, &handler, o, &last);
	if (e == ERR_OK && last) {
		e = dump_put_end(&o->writer, &o->out);
		o->done = true;
	}
	return e;
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
	struct outflow *o = poll->data;

	(void)status;
	(void)events;
	(void)uv_poll_stop(&o->poll);
	o->waits = false;
	service_wake(o->s);
}

/* ERR_AGAIN when the reader has to catch up. */
static enum err send_some(struct outflow *o)
{
	while (o->sent < o->out.len_bytes) {
		ssize_t n = write(o->fd, o->out.data + o->sent,
				  o->out.len_bytes - o->sent);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (!o->polls || uv_poll_start(&o->poll, UV_WRITABLE,
						       on_writable) != 0)
				return ERR_SYS;
			o->waits = true;
			return ERR_AGAIN;
		}
		if (n <= 0)
			return errno == EPIPE ? ERR_CLOSED : ERR_SYS;
		o->sent += (size_t)n;
		o->progress_ns = uv_hrtime();
	}
	return ERR_OK;
}

static void step(struct outflow *o)
{
	enum err e = send_some(o);

	if (e == ERR_AGAIN)
		return;
	if (e == ERR_OK && o->done) {
		end(o, ERR_OK);
		return;
	}
	if (e == ERR_OK)
		e = fill(o);
	if (e != ERR_OK)
		end(o, e);
}

/**
 * dumps_step() - Take one step for each dump whose reader keeps up
 * @s:	Service
 *
 * Return: whether any can take another step now.
 */
bool dumps_step(struct service *s)
{
	bool more = false;
	size_t i;

	for (i = 0; i < SERVICE_DUMPS_MAX; i++) {
		struct outflow *o = s->dumps[i];

		if (!o)
			continue;
		if (!o->waits)
			step(o);
		if (s->dumps[i] && !s->dumps[i]->waits)
			more = true;
	}
	return more;
}

/**
 * dumps_watch() - Drop dumps whose readers take nothing
 * @s:	Service
 *
 * Return: whether any dump has to be watched further.
 */
bool dumps_watch(struct service *s)
{
	bool more = false;
	size_t i;

	for (i = 0; i < SERVICE_DUMPS_MAX; i++) {
		struct outflow *o = s->dumps[i];

		if (o && o->waits &&
		    uv_hrtime() - o->progress_ns > SERVICE_DUMP_STALL_NS)
			end(o, ERR_TIMEOUT);
		more |= s->dumps[i] != NULL;
	}
	return more;
}

static enum err begin(struct outflow *o, uint64_t from)
{
	struct service *s = o->s;
	struct checkpoint anchor;
	struct store_state st;
	struct buf note;
	enum err e;

	store_get_state(s->store, &st);
	if (from > st.size)
		return ERR_RANGE;
	e = dump_writer_init(&o->writer);
	if (e == ERR_OK)
		e = segment_open_dir(s->log_dir_fd, &o->segment_dir_fd);
	if (e == ERR_OK)
		e = walk_init(&o->walk, store_db(s->store), o->segment_dir_fd,
			      from, st.size);
	if (e == ERR_OK)
		e = dump_put_header(&o->writer, from, st.size, st.origin,
				    &o->out);
	buf_init(&note, NOTE_MAX_BYTES);
	if (e == ERR_OK &&
	    anchor_read(s->anchor_dir_fd, &note, &anchor) == ERR_OK &&
	    anchor.size <= st.size)
		e = dump_put_anchor(&o->writer, buf_span(&note), &o->out);
	buf_fini(&note);
	return e;
}

/**
 * dumps_begin() - Write the log to a descriptor from now on
 * @s:	Service
 * @m:	Request, borrowed
 * @fd:	Socket, pipe or file, owned from here on
 *
 * Return: ERR_OK, also when it was refused: audit_dumped says so then.
 */
enum err dumps_begin(struct service *s, const struct msg_audit_dump *m, int fd)
{
	struct msg_audit_dumped refused = {.request = m->request,
					   .error = ERR_LIMIT};
	struct outflow *o = NULL;
	size_t i;
	enum err e;

	for (i = 0; i < SERVICE_DUMPS_MAX && s->dumps[i]; i++)
		;
	if (i < SERVICE_DUMPS_MAX)
		o = calloc(1, sizeof(*o));
	if (!o || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		free(o);
		close(fd);
		service_check(s, chan_send_audit_dumped(s->core, &refused, NULL,
							0));
		return ERR_OK;
	}
	o->s = s;
	o->request = m->request;
	o->fd = fd;
	o->segment_dir_fd = -1;
	o->progress_ns = uv_hrtime();
	buf_init(&o->out, OUT_MAX_BYTES);
	s->dumps[i] = o;
	/* A regular file cannot be waited for, and need not be. */
	o->polls = uv_poll_init(s->loop, &o->poll, fd) == 0;
	o->poll.data = o;
	e = begin(o, m->from_seq);
	if (e != ERR_OK)
		end(o, e);
	service_wake(s);
	service_later(s);
	return ERR_OK;
}
