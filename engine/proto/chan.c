/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chan.c - message channels between processes: SOCK_SEQPACKET on libuv
 *
 * Runs in: every host process.
 * Trusts:  nothing that arrives: direction, state, size and number of
 *	    descriptors are checked against msg.def before a handler runs.
 * Never:   blocks; keeps a descriptor that nobody took.
 *
 * Theory of operation: messages of one loop turn are packed into packets of
 * up to PACKET_MAX_BYTES and sent before the loop sleeps (uv_prepare). A
 * packet is a run of records: u32 length, u16 type, u8 descriptors, u8 zero,
 * payload. When the socket is full, packets queue up to
 * CHAN_QUEUE_MAX_PACKETS, then sending fails with ERR_LIMIT.
 */
#include "engine/proto/chan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"

#define RECORD_HEAD_BYTES   8u
#define SOCKET_BUFFER_BYTES (1024 * 1024)

struct packet {
	TAILQ_ENTRY(packet) next;
	struct buf bytes;
	int fds[PACKET_MAX_FDS];
	size_t n_fds;
};

struct chan {
	uv_poll_t poll;
	uv_prepare_t prepare;
	int fd;
	enum role self, peer;
	enum chan_state state;
	struct chan_handler handler;
	void *context;
	TAILQ_HEAD(packet_list, packet) queue;
	size_t queued;
	struct buf scratch;
	uint8_t *receive;
	bool open, in_handler, freed, closing;
	int events; /* that the loop waits for now */
	int handles;
};

static void close_all(int *fds, size_t n_fds)
{
	size_t i;

	for (i = 0; i < n_fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void packet_free(struct packet *p)
{
	close_all(p->fds, p->n_fds);
	buf_fini(&p->bytes);
	free(p);
}

/**
 * chan_pair() - Make both ends of a channel
 * @ret_fds:	Two connected sockets, close-on-exec, owned by the caller
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err chan_pair(int ret_fds[2])
{
	int size = SOCKET_BUFFER_BYTES, i;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0)
		return ERR_SYS;
	/* A smaller buffer than asked for only means more queueing. */
	for (i = 0; i < 2; i++)
		(void)setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &size,
				 sizeof(size));
	return ERR_OK;
}

static void update_poll(struct chan *c);

static void shut(struct chan *c, enum err reason)
{
	if (!c->open)
		return;
	c->open = false;
	uv_poll_stop(&c->poll);
	uv_prepare_stop(&c->prepare);
	if (log_traces(TRACE_MSG))
		log_trace(TRACE_MSG, "%s: channel to %s closed: %s",
			  role_name(c->self), role_name(c->peer),
			  err_text(reason));
	if (c->handler.on_closed)
		c->handler.on_closed(c, c->context, reason);
}

/* Sends what it can; ERR_OK also when the rest has to wait. */
static enum err send_queue(struct chan *c)
{
	struct packet *p;

	while ((p = TAILQ_FIRST(&c->queue))) {
		union {
			char bytes[CMSG_SPACE(PACKET_MAX_FDS * sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec iov = {.iov_base = p->bytes.data,
				    .iov_len = p->bytes.len_bytes};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t sent;

		if (p->n_fds) {
			struct cmsghdr *h = &control.align;

			memset(&control, 0, sizeof(control));
			m.msg_control = control.bytes;
			m.msg_controllen = CMSG_SPACE(p->n_fds * sizeof(int));
			h->cmsg_level = SOL_SOCKET;
			h->cmsg_type = SCM_RIGHTS;
			h->cmsg_len = CMSG_LEN(p->n_fds * sizeof(int));
			memcpy(CMSG_DATA(h), p->fds, p->n_fds * sizeof(int));
		}
		do
			sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		while (sent < 0 && errno == EINTR);
		if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS))
			return ERR_OK;
		if (sent < 0)
			return errno == EPIPE || errno == ECONNRESET
				       ? ERR_CLOSED
				       : ERR_SYS;
		TAILQ_REMOVE(&c->queue, p, next);
		c->queued--;
		packet_free(p);
	}
	return ERR_OK;
}

static void drop_queue(struct chan *c)
{
	struct packet *p;

	while ((p = TAILQ_FIRST(&c->queue))) {
		TAILQ_REMOVE(&c->queue, p, next);
		packet_free(p);
	}
	c->queued = 0;
}

/*
 * A peer that left hears nothing any more, but what it said before it did is
 * still to be read, and may matter: the end of that ends the channel.
 */
static enum err send_or_drop(struct chan *c)
{
	enum err e = send_queue(c);

	if (e != ERR_CLOSED)
		return e;
	drop_queue(c);
	return ERR_OK;
}

static void flush_or_shut(struct chan *c)
{
	enum err e = send_or_drop(c);

	if (e != ERR_OK)
		shut(c, e);
	else
		update_poll(c);
}

static void on_prepare(uv_prepare_t *handle)
{
	flush_or_shut(handle->data);
}

static enum err dispatch(struct chan *c, struct span packet, int *fds,
			 size_t n_fds)
{
	struct reader r;
	enum err e = ERR_OK;

	reader_init(&r, packet);
	while (e == ERR_OK && reader_left(&r) && c->open) {
		uint32_t len = reader_get_u32(&r);
		uint16_t type = reader_get_u16(&r);
		uint8_t count = reader_get_u8(&r);
		uint8_t zero = reader_get_u8(&r);
		struct span payload = reader_get_span(&r, len);
		const struct msg_info *info;
		struct chan_message m;

		info = msg_info_of((enum msg_type)type);
		if (r.status != ERR_OK || zero != 0 ||
		    len > MESSAGE_MAX_BYTES || !info || count > n_fds ||
		    count < info->fds_min || count > info->fds_max)
			e = ERR_FORMAT;
		else if (!msg_is_legal(info, c->peer, c->self, c->state))
			e = ERR_STATE;
		if (e != ERR_OK)
			break;
		if (log_traces(TRACE_MSG))
			log_trace(TRACE_MSG, "%s <- %s: %s (%u bytes, %u fds)",
				  role_name(c->self), role_name(c->peer),
				  info->name, len, count);
		m = (struct chan_message){info->type, payload, fds, count};
		e = c->handler.on_message(c, c->context, &m);
		close_all(fds, count);
		fds += count;
		n_fds -= count;
	}
	/* Of messages that were not handed on, too. */
	close_all(fds, n_fds);
	return e;
}

static enum err receive_one(struct chan *c)
{
	union {
		char bytes[CMSG_SPACE(PACKET_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = c->receive,
			    .iov_len = PACKET_MAX_BYTES};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	int fds[PACKET_MAX_FDS];
	size_t n_fds = 0;
	struct cmsghdr *h;
	ssize_t got;

	/* "Reset" says, once, that the peer left without reading all of ours:
	 * what it sent comes after that, then the end. */
	do
		got = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && (errno == EINTR || errno == ECONNRESET));
	if (got < 0)
		return errno == EAGAIN ? ERR_AGAIN : ERR_SYS;
	for (h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		size_t count;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (count > PACKET_MAX_FDS - n_fds)
			count = PACKET_MAX_FDS - n_fds;
		memcpy(fds + n_fds, CMSG_DATA(h), count * sizeof(int));
		n_fds += count;
	}
	if (got == 0) {
		close_all(fds, n_fds);
		return ERR_CLOSED;
	}
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		close_all(fds, n_fds);
		return ERR_FORMAT;
	}
	return dispatch(c, span_of(c->receive, (size_t)got), fds, n_fds);
}

static void finish_free(struct chan *c);

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct chan *c = handle->data;
	/* The loop polls no more after an error: this turn is the last. */
	bool is_last = status < 0;
	unsigned i, max = is_last ? CHAN_READ_PACKETS_AT_END
				  : CHAN_READ_PACKETS_PER_TURN;
	enum err e = ERR_OK;

	c->in_handler = true;
	if (!is_last && (events & UV_WRITABLE))
		e = send_or_drop(c);
	for (i = 0; e == ERR_OK && c->open && !c->freed &&
		    (is_last || (events & UV_READABLE)) && i < max;
	     i++)
		e = receive_one(c);
	if (is_last && (e == ERR_OK || e == ERR_AGAIN))
		e = ERR_CLOSED;
	if (e != ERR_OK && e != ERR_AGAIN) {
		if (e != ERR_CLOSED)
			log_error("%s: bad message from %s: %s",
				  role_name(c->self), role_name(c->peer),
				  err_text(e));
		shut(c, e);
	}
	c->in_handler = false;
	/* on_prepare() sends the answers and waits for what is due. */
	if (c->freed)
		finish_free(c);
}

static void update_poll(struct chan *c)
{
	int events = UV_READABLE;

	if (!c->open)
		return;
	if (!TAILQ_EMPTY(&c->queue))
		events |= UV_WRITABLE;
	/* libuv asks the kernel anew each time, also for the same events. */
	if (events == c->events)
		return;
	c->events = events;
	if (uv_poll_start(&c->poll, events, on_poll) != 0)
		shut(c, ERR_SYS);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct chan *c = handle->data;

	if (--c->handles > 0)
		return;
	drop_queue(c);
	close(c->fd);
	buf_fini(&c->scratch);
	free(c->receive);
	free(c);
}

static void finish_free(struct chan *c)
{
	if (c->closing)
		return;
	c->closing = true;
	uv_close((uv_handle_t *)&c->poll, on_handle_closed);
	uv_close((uv_handle_t *)&c->prepare, on_handle_closed);
}

/**
 * chan_new() - Speak messages on a connected SEQPACKET socket
 * @loop:	The process's loop
 * @fd:		Owned from here on, also on failure
 * @self:	Our role
 * @peer:	The other side's role
 * @handler:	Copied
 * @context:	Borrowed, passed to the handler
 * @ret_chan:	New channel in state S_START; chan_free() when done
 *
 * Return: ERR_OK; ERR_SYS; ERR_MEMORY.
 */
enum err chan_new(uv_loop_t *loop, int fd, enum role self, enum role peer,
		  const struct chan_handler *handler, void *context,
		  struct chan **ret_chan)
{
	struct chan *c = calloc(1, sizeof(*c));

	if (!c || !(c->receive = malloc(PACKET_MAX_BYTES))) {
		free(c);
		close(fd);
		return ERR_MEMORY;
	}
	c->fd = fd;
	c->self = self;
	c->peer = peer;
	c->state = S_START;
	c->handler = *handler;
	c->context = context;
	TAILQ_INIT(&c->queue);
	buf_init(&c->scratch, MESSAGE_MAX_BYTES);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    uv_poll_init(loop, &c->poll, fd) != 0) {
		close(fd);
		free(c->receive);
		free(c);
		return ERR_SYS;
	}
	(void)uv_prepare_init(loop, &c->prepare);
	c->handles = 2;
	c->poll.data = c;
	c->prepare.data = c;
	c->open = true;
	(void)uv_prepare_start(&c->prepare, on_prepare);
	/* A prepare handle alone must not keep a loop running. */
	uv_unref((uv_handle_t *)&c->prepare);
	update_poll(c);
	*ret_chan = c;
	return ERR_OK;
}

/**
 * chan_free() - Close a channel and release it once the loop allows
 * @c:	Channel, or NULL; on_closed is not called from here
 */
void chan_free(struct chan *c)
{
	if (!c || c->freed)
		return;
	c->freed = true;
	if (c->open) {
		/* What was queued before goodbye should still arrive. */
		if (send_queue(c) != ERR_OK)
			log_debug("%s: last messages to %s were lost",
				  role_name(c->self), role_name(c->peer));
		c->open = false;
		uv_poll_stop(&c->poll);
		uv_prepare_stop(&c->prepare);
	}
	if (!c->in_handler)
		finish_free(c);
}

/** chan_set_state() - Move between S_START and S_RUN */
void chan_set_state(struct chan *c, enum chan_state state)
{
	c->state = state;
}

/** chan_is_open() - Whether messages can still be sent; NULL is not open */
bool chan_is_open(const struct chan *c)
{
	return c && c->open && !c->freed;
}

/** chan_close() - Shut down now; on_closed runs with ERR_CANCELLED */
void chan_close(struct chan *c)
{
	if (chan_is_open(c))
		shut(c, ERR_CANCELLED);
}

static struct packet *packet_for(struct chan *c, size_t len_bytes, size_t n_fds)
{
	struct packet *p = TAILQ_LAST(&c->queue, packet_list);

	if (p && PACKET_MAX_BYTES - p->bytes.len_bytes >= len_bytes &&
	    PACKET_MAX_FDS - p->n_fds >= n_fds)
		return p;
	if (c->queued >= CHAN_QUEUE_MAX_PACKETS)
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	buf_init(&p->bytes, PACKET_MAX_BYTES);
	TAILQ_INSERT_TAIL(&c->queue, p, next);
	c->queued++;
	return p;
}

static enum err put_record(struct packet *p, enum msg_type type,
			   struct span payload, size_t n_fds)
{
	enum err e = buf_put_u32(&p->bytes, (uint32_t)payload.len_bytes);

	if (e == ERR_OK)
		e = buf_put_u16(&p->bytes, (uint16_t)type);
	if (e == ERR_OK)
		e = buf_put_u8(&p->bytes, (uint8_t)n_fds);
	if (e == ERR_OK)
		e = buf_put_u8(&p->bytes, 0);
	return e == ERR_OK ? buf_put_span(&p->bytes, payload) : e;
}

/**
 * chan_send_raw() - Queue an encoded message; sent before the loop sleeps
 * @c:		Channel
 * @type:	A type of msg.def that may go this way
 * @payload:	Borrowed
 * @fds:	Owned from here on, also on failure; NULL when @n_fds is 0
 * @n_fds:	As msg.def allows
 *
 * Return: ERR_OK; ERR_CLOSED; ERR_LIMIT when the queue is full; ERR_MEMORY;
 *	   ERR_INTERNAL for a message that may not go this way.
 */
enum err chan_send_raw(struct chan *c, enum msg_type type, struct span payload,
		       const int *fds, size_t n_fds)
{
	const struct msg_info *info = msg_info_of(type);
	int owned[PACKET_MAX_FDS];
	struct packet *p;
	size_t before;
	enum err e;

	if (n_fds > PACKET_MAX_FDS)
		return ERR_INTERNAL;
	if (n_fds)
		memcpy(owned, fds, n_fds * sizeof(int));
	if (!chan_is_open(c)) {
		e = ERR_CLOSED;
	} else if (!info || n_fds < info->fds_min || n_fds > info->fds_max ||
		   !msg_is_legal(info, c->self, c->peer, S_ANY)) {
		e = ERR_INTERNAL;
	} else if (!(p = packet_for(c, payload.len_bytes + RECORD_HEAD_BYTES,
				    n_fds))) {
		e = ERR_LIMIT;
	} else {
		before = p->bytes.len_bytes;
		e = put_record(p, type, payload, n_fds);
		if (e != ERR_OK) {
			buf_truncate(&p->bytes, before);
		} else if (n_fds) {
			memcpy(p->fds + p->n_fds, owned, n_fds * sizeof(int));
			p->n_fds += n_fds;
		}
	}
	if (e != ERR_OK) {
		close_all(owned, n_fds);
		if (e == ERR_INTERNAL)
			log_error("%s -> %s: message %d may not be sent",
				  role_name(c->self), role_name(c->peer),
				  (int)type);
		return e;
	}
	if (log_traces(TRACE_MSG))
		log_trace(TRACE_MSG, "%s -> %s: %s (%zu bytes, %zu fds)",
			  role_name(c->self), role_name(c->peer), info->name,
			  payload.len_bytes, n_fds);
	return ERR_OK;
}

/**
 * chan_flush() - Send what is queued without waiting for the loop
 * @c:	Channel
 *
 * Return: ERR_OK, also when some must wait; ERR_CLOSED; ERR_SYS.
 */
enum err chan_flush(struct chan *c)
{
	return chan_is_open(c) ? send_queue(c) : ERR_CLOSED;
}

/* chan_send_NAME(): encode a message and queue it; as chan_send_raw(). */
#define BEGIN(NAME, name, number, from, to, states, fmin, fmax)               \
	enum err chan_send_##name(struct chan *c, const struct msg_##name *m, \
				  const int *fds, size_t n_fds)               \
	{                                                                     \
		enum err e = ERR_CLOSED;                                      \
		if (chan_is_open(c)) {                                        \
			buf_reset(&c->scratch);                               \
			e = msg_##name##_put(&c->scratch, m);                 \
		}                                                             \
		if (e != ERR_OK) {                                            \
			size_t i;                                             \
			for (i = 0; i < n_fds; i++)                           \
				if (fds[i] >= 0)                              \
					close(fds[i]);                        \
			return e;                                             \
		}                                                             \
		return chan_send_raw(c, MSG_##NAME, buf_span(&c->scratch),    \
				     fds, n_fds);                             \
	}
#include "engine/proto/msg_no_fields.h"
#include "engine/proto/msg.def"
