/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_stream.c - table, socket and buffer of the device's streams
 *
 * Runs in: kenaz-launch.
 * Trusts:  nothing of the guest; the host end is another process of ours that
 *	    may be slow, gone or wrong, and costs its own stream only.
 * Never:   blocks, buffers more than the stream announced, lets a hung-up
 *	    socket wake the loop twice.
 *
 * Each stream is one end of a socketpair, registered edge-triggered: an
 * event only sets "readable" or "writable", which stay set until the socket
 * says EAGAIN. A guest that posts no buffers therefore costs no CPU, and a
 * hang-up, which epoll cannot mask, is reported once.
 */
#include "vm/vsock_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct vsock_stream_list *slot_of(struct vsock *v, uint32_t guest_port,
					 uint32_t host_port)
{
	uint32_t mix = guest_port * 2654435761u ^ host_port * 40503u;

	return &v->slots[(mix >> 8) % VSOCK_HASH_SLOTS];
}

/** stream_find() - The stream between two ports, or NULL */
struct vsock_stream *stream_find(struct vsock *v, uint32_t guest_port,
				 uint32_t host_port)
{
	struct vsock_stream *s;

	TAILQ_FOREACH(s, slot_of(v, guest_port, host_port), in_slot)
	if (s->guest_port == guest_port && s->host_port == host_port)
		return s;
	return NULL;
}

/* Every stream has the least; what is left of the guest's share goes to the
 * first ones, fewer bytes each as it runs out: the sum is bounded without a
 * stream ever being told less than it was promised. */
static uint32_t choose_buffer(const struct vsock *v)
{
	uint64_t given =
		v->reserved_bytes - v->streams * VSOCK_BUFFER_MIN_BYTES;
	uint64_t more = (VSOCK_BUFFERS_SPARE_BYTES - given) / 32;

	if (more > VSOCK_BUFFER_MAX_BYTES - VSOCK_BUFFER_MIN_BYTES)
		return VSOCK_BUFFER_MAX_BYTES;
	return VSOCK_BUFFER_MIN_BYTES + (uint32_t)more;
}

/* What the kernel holds for a stream is bounded with the stream's own buffer.
 * It counts twice the figure, for its own bookkeeping; a figure above the
 * host's own ceiling is cut to that. */
static enum err bound_socket(int fd, uint32_t bytes)
{
	int value = bytes < VSOCK_SOCKET_MAX_BYTES
			    ? (int)bytes
			    : (int)VSOCK_SOCKET_MAX_BYTES;

	return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof(value)) < 0
		       ? ERR_SYS
		       : ERR_OK;
}

/**
 * stream_new() - Add a stream with a fresh socketpair
 * @v:		Device
 * @guest_port:	Its ports; not in use
 * @host_port:	Likewise
 * @listener:	Where to count it, or NULL
 * @ret_stream:	Owned by the device
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_SYS.
 */
enum err stream_new(struct vsock *v, uint32_t guest_port, uint32_t host_port,
		    struct vsock_listener *listener,
		    struct vsock_stream **ret_stream)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP |
					      EPOLLET};
	uint32_t alloc_bytes = choose_buffer(v);
	struct vsock_stream *s;
	int pair[2];

	if (v->streams >= VSOCK_STREAMS_MAX ||
	    (listener && listener->streams >= listener->max_streams))
		return ERR_LIMIT;
	s = calloc(1, sizeof(*s));
	if (!s)
		return ERR_MEMORY;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       pair) < 0) {
		free(s);
		return ERR_SYS;
	}
	event.data.ptr = s;
	if (bound_socket(pair[0], alloc_bytes) != ERR_OK ||
	    bound_socket(pair[1], alloc_bytes) != ERR_OK ||
	    epoll_ctl(v->epoll_fd, EPOLL_CTL_ADD, pair[0], &event) < 0) {
		close(pair[0]);
		close(pair[1]);
		free(s);
		return ERR_SYS;
	}
	s->guest_port = guest_port;
	s->host_port = host_port;
	s->fd = pair[0];
	s->peer_fd = pair[1];
	s->writable = true;
	s->keyed = true;
	s->listener = listener;
	if (listener)
		listener->streams++;
	s->credit.alloc_bytes = alloc_bytes;
	v->reserved_bytes += s->credit.alloc_bytes;
	v->streams++;
	TAILQ_INSERT_TAIL(&v->all, s, in_all);
	TAILQ_INSERT_TAIL(slot_of(v, guest_port, host_port), s, in_slot);
	*ret_stream = s;
	return ERR_OK;
}

static void unkey(struct vsock *v, struct vsock_stream *s)
{
	if (!s->keyed)
		return;
	TAILQ_REMOVE(slot_of(v, s->guest_port, s->host_port), s, in_slot);
	s->keyed = false;
}

static void close_socket(struct vsock *v, struct vsock_stream *s)
{
	if (s->fd >= 0) {
		(void)epoll_ctl(v->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
		close(s->fd);
	}
	if (s->peer_fd >= 0)
		close(s->peer_fd);
	s->fd = -1;
	s->peer_fd = -1;
	free(s->ring);
	s->ring = NULL;
	s->ring_len_bytes = 0;
	s->readable = false;
	s->writable = false;
}

/** stream_free() - Remove a stream; nothing is said to the guest */
void stream_free(struct vsock *v, struct vsock_stream *s)
{
	close_socket(v, s);
	unkey(v, s);
	if (s->ready)
		TAILQ_REMOVE(&v->ready, s, in_ready);
	TAILQ_REMOVE(&v->all, s, in_all);
	if (s->listener)
		s->listener->streams--;
	v->reserved_bytes -= s->credit.alloc_bytes;
	v->streams--;
	free(s);
}

/** stream_has_data() - Whether bytes or an end may go to the guest now */
bool stream_has_data(const struct vsock_stream *s)
{
	return s->state == STREAM_OPEN && s->readable &&
	       !(s->host_shutdown & VSOCK_SHUTDOWN_SEND) &&
	       !(s->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE) &&
	       credit_left(&s->credit) > 0;
}

/**
 * stream_wake() - Queue a stream for its turn if it has anything to send
 * @v:	Device
 * @s:	Stream
 */
void stream_wake(struct vsock *v, struct vsock_stream *s)
{
	/* Out of space with bytes waiting: ask once (5.10.6.3). */
	if (s->state == STREAM_OPEN && s->readable && !s->asked &&
	    !(s->host_shutdown & VSOCK_SHUTDOWN_SEND) &&
	    !(s->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE) &&
	    credit_left(&s->credit) == 0) {
		s->asked = true;
		s->pending |= PENDING_CREDIT_REQUEST;
	}
	if (s->ready || (!s->pending && !stream_has_data(s)))
		return;
	s->ready = true;
	TAILQ_INSERT_TAIL(&v->ready, s, in_ready);
}

/** stream_set_deadline() - End the stream if it still exists at @at_ns */
void stream_set_deadline(struct vsock *v, struct vsock_stream *s,
			 uint64_t at_ns)
{
	s->deadline_ns = at_ns;
	v->has_deadlines = true;
}

/** stream_owe() - Note packets owed to the guest */
void stream_owe(struct vsock *v, struct vsock_stream *s, unsigned pending)
{
	s->pending |= pending;
	stream_wake(v, s);
}

/**
 * stream_hand_out() - Tell the owner how a connect to the guest ended
 * @v:	Device
 * @s:	Stream that was connecting
 * @e:	ERR_OK hands the socket out
 */
void stream_hand_out(struct vsock *v, struct vsock_stream *s, enum err e)
{
	int fd = -1;

	if (e == ERR_OK) {
		fd = s->peer_fd;
		s->peer_fd = -1;
	}
	v->events->connected(v->arg, s->cookie, e, fd, s->host_port);
}

/**
 * stream_reset() - End a stream at once; a RST follows when there is room
 * @v:	Device
 * @s:	Stream in any state
 */
void stream_reset(struct vsock *v, struct vsock_stream *s)
{
	bool connecting = s->state == STREAM_CONNECTING;

	if (s->state == STREAM_CLOSING)
		return;
	close_socket(v, s);
	s->state = STREAM_CLOSING;
	s->deadline_ns = 0;
	s->pending = 0;
	if (connecting)
		stream_hand_out(v, s, ERR_CLOSED);
	if (!s->keyed) { /* the guest has had its RST */
		stream_free(v, s);
		return;
	}
	stream_owe(v, s, PENDING_RST);
}

/**
 * stream_drain() - Over for the guest; its last bytes still go to the host
 * @v:		Device
 * @s:		Open stream with bytes buffered
 * @owe_reset:	Whether the guest awaits a RST
 */
void stream_drain(struct vsock *v, struct vsock_stream *s, bool owe_reset)
{
	(void)shutdown(s->fd, SHUT_RD);
	s->state = STREAM_DRAINING;
	stream_set_deadline(v, s, v->now_ns + VSOCK_DRAIN_MAX_NS);
	s->pending = 0;
	if (owe_reset)
		stream_owe(v, s, PENDING_RST);
	else
		unkey(v, s);
}

/** stream_reset_sent() - The owed RST is out: the ports are free again */
void stream_reset_sent(struct vsock *v, struct vsock_stream *s)
{
	if (s->state == STREAM_DRAINING) {
		s->pending = 0;
		unkey(v, s);
	} else {
		stream_free(v, s);
	}
}

/**
 * stream_shutdown_host() - The host will not send, or not receive, any more
 * @v:		Device
 * @s:		Stream
 * @flags:	VSOCK_SHUTDOWN_*, added to what was said before
 */
void stream_shutdown_host(struct vsock *v, struct vsock_stream *s,
			  uint32_t flags)
{
	if (s->state != STREAM_OPEN || (s->host_shutdown & flags) == flags)
		return;
	s->host_shutdown |= flags;
	if (s->host_shutdown == VSOCK_SHUTDOWN_BOTH)
		stream_set_deadline(v, s, v->now_ns + VSOCK_CLOSE_MAX_NS);
	stream_owe(v, s, PENDING_SHUTDOWN);
}

/* The host takes nothing more: what the guest sends is dropped and counted
 * as taken, so that the guest learns it by SHUTDOWN and not by a stall. */
static void discard_to_host(struct vsock *v, struct vsock_stream *s)
{
	free(s->ring);
	s->ring = NULL;
	s->ring_len_bytes = 0;
	s->credit.fwd_bytes = s->credit.rx_bytes;
	if (s->state == STREAM_DRAINING) {
		stream_finish(v, s);
		return;
	}
	stream_shutdown_host(v, s, VSOCK_SHUTDOWN_RECEIVE);
}

/* Return: bytes taken; -1 when the host end is gone. */
static ssize_t send_some(struct vsock_stream *s, struct iovec *iov,
			 size_t count, size_t len_bytes)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
	ssize_t n;

	do {
		n = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n >= 0) {
		if ((size_t)n < len_bytes)
			s->writable = false;
		return n;
	}
	s->writable = false;
	return errno == EAGAIN || errno == ENOBUFS ? 0 : -1;
}

static void ring_put(struct vsock_stream *s, const struct iovec *iov,
		     size_t count, size_t skip_bytes, size_t len_bytes)
{
	struct iovec part[VIRTQUEUE_SEGMENTS_MAX];
	size_t parts = iov_slice(iov, count, skip_bytes, len_bytes, part,
				 ARRAY_SIZE(part));
	size_t i;

	for (i = 0; i < parts; i++) {
		const uint8_t *from = part[i].iov_base;
		size_t left = part[i].iov_len;

		while (left) {
			size_t at = (s->ring_at_bytes + s->ring_len_bytes) %
				    s->credit.alloc_bytes;
			size_t n = s->credit.alloc_bytes - at;

			if (n > left)
				n = left;
			memcpy(s->ring + at, from, n);
			s->ring_len_bytes += n;
			from += n;
			left -= n;
		}
	}
}

/**
 * stream_write() - Give bytes of the guest to the host
 * @v:		Device
 * @s:		Open stream; credit_receive() has accepted the length
 * @iov:	Guest memory; the bytes may change while they are copied
 * @count:	Segments
 * @len_bytes:	Their sum
 */
void stream_write(struct vsock *v, struct vsock_stream *s,
		  const struct iovec *iov, size_t count, size_t len_bytes)
{
	struct iovec part[VIRTQUEUE_SEGMENTS_MAX];
	ssize_t sent = 0;

	if (s->hung_up || (s->host_shutdown & VSOCK_SHUTDOWN_RECEIVE)) {
		discard_to_host(v, s);
		return;
	}
	if (s->writable && s->ring_len_bytes == 0) {
		memcpy(part, iov, count * sizeof(*iov));
		sent = send_some(s, part, count, len_bytes);
		if (sent < 0) {
			discard_to_host(v, s);
			return;
		}
		s->credit.fwd_bytes += (uint32_t)sent;
	}
	if ((size_t)sent < len_bytes) {
		if (!s->ring) {
			s->ring = malloc(s->credit.alloc_bytes);
			s->ring_at_bytes = 0;
		}
		if (!s->ring) {
			stream_reset(v, s);
			return;
		}
		ring_put(s, iov, count, (size_t)sent, len_bytes - (size_t)sent);
	}
	if (credit_update_due(&s->credit))
		stream_owe(v, s, PENDING_CREDIT_UPDATE);
}

/**
 * stream_finish() - Act on the guest's SHUTDOWN once its bytes are delivered
 * @v:	Device
 * @s:	Stream; may be freed
 */
void stream_finish(struct vsock *v, struct vsock_stream *s)
{
	if (s->ring_len_bytes)
		return;
	if (s->state == STREAM_DRAINING) {
		stream_reset(v, s);
		return;
	}
	if (s->state == STREAM_OPEN && s->fd >= 0 &&
	    (s->guest_shutdown & VSOCK_SHUTDOWN_SEND))
		(void)shutdown(s->fd, SHUT_WR);
}

/**
 * stream_flush() - Give buffered bytes to the host as far as it takes them
 * @v:	Device
 * @s:	Stream; may be freed
 */
void stream_flush(struct vsock *v, struct vsock_stream *s)
{
	while (s->writable && s->ring_len_bytes) {
		size_t first = s->credit.alloc_bytes - s->ring_at_bytes;
		struct iovec iov[2];
		ssize_t n;

		if (first > s->ring_len_bytes)
			first = s->ring_len_bytes;
		iov[0] = (struct iovec){s->ring + s->ring_at_bytes, first};
		iov[1] = (struct iovec){s->ring, s->ring_len_bytes - first};
		n = send_some(s, iov, 2, s->ring_len_bytes);
		if (n < 0) {
			discard_to_host(v, s);
			return;
		}
		s->ring_at_bytes =
			(s->ring_at_bytes + (size_t)n) % s->credit.alloc_bytes;
		s->ring_len_bytes -= (size_t)n;
		s->credit.fwd_bytes += (uint32_t)n;
	}
	if (s->ring && s->ring_len_bytes == 0) {
		free(s->ring);
		s->ring = NULL;
	}
	if (s->state == STREAM_OPEN && credit_update_due(&s->credit))
		stream_owe(v, s, PENDING_CREDIT_UPDATE);
	stream_finish(v, s);
}
