/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_join.c - carries bytes between a user's client and a guest's port
 *
 * Runs in: kenaz-gate.
 * Trusts:  core to have allowed and logged the connection.
 * Never:   looks at a byte; holds more than two buffers a direction.
 *
 * An end of one side is passed on once all before it is, so that a client may
 * say that it has nothing more to send and still hear the answer. When both
 * have ended, or one broke, core is told what was carried.
 */
#include "engine/gate/vsock_join.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/gate/stream.h"

#define OUT_MAX_BYTES (VSOCK_JOIN_OUT_HIGH_BYTES + VSOCK_JOIN_IN_MAX_BYTES)

enum side { CLIENT, GUEST, SIDES };

struct vsock_join {
	LIST_ENTRY(vsock_join) next;
	struct vsock_joins *set;
	uint64_t id;
	struct stream *sides[SIDES];
	uint64_t carried_bytes[SIDES]; /* from that side */
	bool shut[SIDES];              /* its end was passed on */
};

struct vsock_joins {
	uv_loop_t *loop;
	struct chan *core;
	LIST_HEAD(vsock_join_list, vsock_join) list;
	size_t count;
};

static void report(struct vsock_joins *set, uint64_t id, enum err error,
		   const char *text, const uint64_t carried[SIDES])
{
	struct msg_vsock_closed m = {
		.connection = id,
		.error = error,
		.text = span_text(text),
		.bytes_to_guest = carried ? carried[CLIENT] : 0,
		.bytes_from_guest = carried ? carried[GUEST] : 0,
	};

	if (set->core &&
	    chan_send_vsock_closed(set->core, &m, NULL, 0) != ERR_OK)
		log_error("core was not told of a connection's end");
}

static void join_free(struct vsock_join *j, enum err error, const char *text)
{
	report(j->set, j->id, error, text, j->carried_bytes);
	LIST_REMOVE(j, next);
	j->set->count--;
	stream_free(j->sides[CLIENT]);
	stream_free(j->sides[GUEST]);
	free(j);
}

static enum err carry(struct vsock_join *j, enum side side)
{
	struct stream *from = j->sides[side];
	struct stream *to = j->sides[side == CLIENT ? GUEST : CLIENT];
	enum err e = ERR_OK;

	if (from->in.len_bytes &&
	    stream_pending_bytes(to) < VSOCK_JOIN_OUT_HIGH_BYTES) {
		j->carried_bytes[side] += from->in.len_bytes;
		e = stream_write(to, buf_span(&from->in));
		buf_reset(&from->in);
	}
	from->paused = stream_pending_bytes(to) >= VSOCK_JOIN_OUT_HIGH_BYTES;
	if (e == ERR_OK && from->status == ERR_CLOSED && !j->shut[side] &&
	    from->in.len_bytes == 0 && stream_pending_bytes(to) == 0) {
		j->shut[side] = true;
		if (shutdown(to->fd, SHUT_WR) < 0 && errno != ENOTCONN)
			e = ERR_CLOSED;
	}
	return e;
}

static void on_event(struct stream *s)
{
	struct vsock_join *j = s->owner;
	enum err e = carry(j, CLIENT);

	if (e == ERR_OK)
		e = carry(j, GUEST);
	if (j->shut[CLIENT] && j->shut[GUEST]) {
		join_free(j, ERR_OK, "");
	} else if (j->sides[CLIENT]->status == ERR_SYS) {
		join_free(j, ERR_CLOSED, "the client left");
	} else if (e != ERR_OK || j->sides[GUEST]->status == ERR_SYS) {
		join_free(j, ERR_CLOSED, "the connection broke");
	} else {
		stream_update(j->sides[CLIENT]);
		stream_update(j->sides[GUEST]);
	}
}

/**
 * vsock_joins_add() - Join the two descriptors of a vsock_join message
 * @set:	Set
 * @cm:		Message; its descriptors are taken
 *
 * Return: ERR_OK, also when they could not be joined, which core is told;
 *	   what the codec returns.
 */
enum err vsock_joins_add(struct vsock_joins *set, struct chan_message *cm)
{
	struct vsock_join *j = NULL;
	struct msg_vsock_join m;
	int side;
	enum err e = msg_vsock_join_get(cm->payload, &m);

	if (e != ERR_OK)
		return e;
	if (set->count < VSOCK_JOINS_MAX)
		j = calloc(1, sizeof(*j));
	if (!j) {
		report(set, m.connection, ERR_LIMIT, "too many connections",
		       NULL);
		return ERR_OK; /* the channel closes the descriptors */
	}
	j->set = set;
	j->id = m.connection;
	LIST_INSERT_HEAD(&set->list, j, next);
	set->count++;
	for (side = CLIENT; e == ERR_OK && side < SIDES; side++) {
		e = stream_new(set->loop, cm->fds[side],
			       VSOCK_JOIN_IN_MAX_BYTES, OUT_MAX_BYTES, on_event,
			       j, &j->sides[side]);
		cm->fds[side] = -1;
	}
	if (e != ERR_OK)
		join_free(j, e, "the streams cannot be joined");
	return ERR_OK;
}

/**
 * vsock_joins_set_core() - Core was lost, or another one is there
 * @set:	Set
 * @core:	Channel, or NULL
 *
 * A connection does not outlive the core that allowed it: the next one finds
 * it in the log as of unknown outcome.
 */
void vsock_joins_set_core(struct vsock_joins *set, struct chan *core)
{
	struct vsock_join *j;

	set->core = core;
	while (!core && (j = LIST_FIRST(&set->list)))
		join_free(j, ERR_CLOSED, "core was lost");
}

/** vsock_joins_new() - Prepare for connections */
enum err vsock_joins_new(uv_loop_t *loop, struct chan *core,
			 struct vsock_joins **ret_joins)
{
	struct vsock_joins *set = calloc(1, sizeof(*set));

	if (!set)
		return ERR_MEMORY;
	set->loop = loop;
	set->core = core;
	LIST_INIT(&set->list);
	*ret_joins = set;
	return ERR_OK;
}
