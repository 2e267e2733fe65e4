/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock.c - the virtio-vsock device, device side (virtio 1.2, 5.10)
 *
 * Runs in: kenaz-launch.
 * Trusts:  nothing of the guest; descriptors that QEMU passed are used only
 *	    without blocking.
 * Never:   blocks, allocates without a ceiling, uses CPU while nobody sends.
 *
 * Theory of operation. The guest's streams are socketpairs: the device pumps
 * one end, the owner gives the other to the process that serves it. A turn
 * takes packets from the guest (vsock_tx.c), gives the streams' bytes to the
 * host (vsock_stream.c) and sends what is owed to the guest round robin
 * (vsock_rx.c). All descriptors are edge-triggered in one epoll instance, so
 * that the owner's loop watches a single descriptor. Work left over at a
 * turn's end is remembered in an eventfd of the same instance.
 */
#include "vm/vsock_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/log.h"

static struct vsock *of_backend(struct vsock_backend *b)
{
	return (struct vsock *)(void *)b;
}

static enum err backend_listen(struct vsock_backend *b, uint32_t host_port,
			       uint32_t max_streams)
{
	return vsock_listen(of_backend(b), host_port, max_streams);
}

static enum err backend_connect(struct vsock_backend *b, uint32_t guest_port,
				uint64_t cookie, uint64_t now_ns)
{
	return vsock_connect(of_backend(b), guest_port, cookie, now_ns);
}

static int backend_poll_fd(const struct vsock_backend *b)
{
	return ((const struct vsock *)(const void *)b)->epoll_fd;
}

static void backend_turn(struct vsock_backend *b, uint64_t now_ns)
{
	vsock_turn(of_backend(b), now_ns);
}

static void backend_expire(struct vsock_backend *b, uint64_t now_ns)
{
	(void)vsock_expire(of_backend(b), now_ns);
}

static bool backend_has_deadlines(const struct vsock_backend *b)
{
	return ((const struct vsock *)(const void *)b)->has_deadlines;
}

static void backend_free(struct vsock_backend *b)
{
	vsock_free(of_backend(b));
}

static const struct vsock_backend_ops device_ops = {
	.name = "vhost-user",
	.listen = backend_listen,
	.connect = backend_connect,
	.poll_fd = backend_poll_fd,
	.turn = backend_turn,
	.expire = backend_expire,
	.has_deadlines = backend_has_deadlines,
	.free = backend_free,
};

/**
 * vsock_new() - Make a device without queues
 * @guest_cid:	The guest's address, 3 or more (5.10.4)
 * @events:	Owner's callbacks, static
 * @arg:	For them
 * @ret_vsock:	Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS.
 */
enum err vsock_new(uint64_t guest_cid, const struct vsock_events *events,
		   void *arg, struct vsock **ret_vsock)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct vsock *v = calloc(1, sizeof(*v));
	size_t i;

	if (!v)
		return ERR_MEMORY;
	v->backend.ops = &device_ops;
	v->guest_cid = guest_cid;
	v->events = events;
	v->arg = arg;
	v->next_port = VSOCK_PORT_FIRST;
	TAILQ_INIT(&v->all);
	TAILQ_INIT(&v->ready);
	for (i = 0; i < VSOCK_HASH_SLOTS; i++)
		TAILQ_INIT(&v->slots[i]);
	for (i = 0; i < VSOCK_QUEUES; i++) {
		v->kick_fds[i] = -1;
		v->call_fds[i] = -1;
	}
	v->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	v->again_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	event.data.ptr = &v->again_fd;
	if (v->epoll_fd < 0 || v->again_fd < 0 ||
	    epoll_ctl(v->epoll_fd, EPOLL_CTL_ADD, v->again_fd, &event) < 0) {
		vsock_free(v);
		return ERR_SYS;
	}
	*ret_vsock = v;
	return ERR_OK;
}

/**
 * vsock_free() - End all streams and release the device
 * @v:	Device, or NULL
 */
void vsock_free(struct vsock *v)
{
	if (!v)
		return;
	while (!TAILQ_EMPTY(&v->all))
		stream_free(v, TAILQ_FIRST(&v->all));
	if (v->epoll_fd >= 0)
		close(v->epoll_fd);
	if (v->again_fd >= 0)
		close(v->again_fd);
	free(v);
}

/** vsock_backend() - The device behind the common interface */
struct vsock_backend *vsock_backend(struct vsock *v)
{
	return &v->backend;
}

/**
 * vsock_listen() - Let the guest connect to a port
 * @v:			Device
 * @host_port:		Port; all others answer RST
 * @max_streams:	At once, at most
 *
 * Return: ERR_OK; ERR_EXISTS; ERR_LIMIT past VSOCK_LISTEN_MAX.
 */
enum err vsock_listen(struct vsock *v, uint32_t host_port, uint32_t max_streams)
{
	size_t i;

	for (i = 0; i < v->listener_count; i++)
		if (v->listeners[i].host_port == host_port)
			return ERR_EXISTS;
	if (v->listener_count == VSOCK_LISTEN_MAX)
		return ERR_LIMIT;
	v->listeners[v->listener_count++] = (struct vsock_listener){
		.host_port = host_port,
		.max_streams = max_streams,
	};
	return ERR_OK;
}

/* Have the loop come back: there is work that no descriptor announces. */
static void call_again(struct vsock *v)
{
	uint64_t one = 1;

	if (write(v->again_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("vsock: eventfd: %s", strerror(errno));
}

static uint32_t take_port(struct vsock *v, uint32_t guest_port)
{
	uint32_t port;

	/* Fewer streams than ports, so that this ends. */
	do {
		port = v->next_port;
		v->next_port =
			port == VSOCK_PORT_LAST ? VSOCK_PORT_FIRST : port + 1;
	} while (stream_find(v, guest_port, port));
	return port;
}

/**
 * vsock_connect() - Connect to a port of the guest
 * @v:		Device
 * @guest_port:	Port in the guest
 * @cookie:	Handed back in connected()
 * @now_ns:	Monotonic; the answer must come within VSOCK_CONNECT_MAX_NS
 *
 * Return: ERR_OK when connected() will follow; ERR_STATE before the guest's
 *	   driver is up; ERR_LIMIT; ERR_MEMORY; ERR_SYS.
 */
enum err vsock_connect(struct vsock *v, uint32_t guest_port, uint64_t cookie,
		       uint64_t now_ns)
{
	struct virtqueue *q = v->queues[VSOCK_RX];
	struct vsock_stream *s;
	enum err e;

	if (v->failed || !q || !q->running)
		return ERR_STATE;
	e = stream_new(v, guest_port, take_port(v, guest_port), NULL, &s);
	if (e != ERR_OK)
		return e;
	s->state = STREAM_CONNECTING;
	s->from_host = true;
	s->cookie = cookie;
	stream_set_deadline(v, s, now_ns + VSOCK_CONNECT_MAX_NS);
	stream_owe(v, s, PENDING_REQUEST);
	call_again(v);
	return ERR_OK;
}

/**
 * vsock_attach() - Give the device a running queue
 * @v:		Device
 * @index:	Which one
 * @q:		Borrowed until vsock_detach()
 * @kick_fd:	Borrowed eventfd, or -1 to look every turn only
 * @call_fd:	Borrowed eventfd, or -1
 *
 * Return: ERR_OK; ERR_SYS when the kick descriptor cannot be watched.
 */
enum err vsock_attach(struct vsock *v, enum vsock_queue index,
		      struct virtqueue *q, int kick_fd, int call_fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};

	vsock_detach(v, index);
	event.data.ptr = &v->kick_fds[index];
	if (kick_fd >= 0 &&
	    epoll_ctl(v->epoll_fd, EPOLL_CTL_ADD, kick_fd, &event) < 0)
		return ERR_SYS;
	v->queues[index] = q;
	v->kick_fds[index] = kick_fd;
	v->call_fds[index] = call_fd;
	call_again(v);
	return ERR_OK;
}

/**
 * vsock_detach() - Take a queue away; streams stay
 * @v:		Device
 * @index:	Which one
 */
void vsock_detach(struct vsock *v, enum vsock_queue index)
{
	if (v->kick_fds[index] >= 0)
		(void)epoll_ctl(v->epoll_fd, EPOLL_CTL_DEL, v->kick_fds[index],
				NULL);
	v->kick_fds[index] = -1;
	v->call_fds[index] = -1;
	v->queues[index] = NULL;
}

/** vsock_set_call() - Replace the borrowed interrupt descriptor of a queue */
void vsock_set_call(struct vsock *v, enum vsock_queue index, int call_fd)
{
	v->call_fds[index] = call_fd;
}

/**
 * vsock_reset() - The guest's driver started anew: all streams are over
 * @v:	Device
 */
void vsock_reset(struct vsock *v)
{
	struct vsock_stream *s, *next;

	for (s = TAILQ_FIRST(&v->all); s; s = next) {
		next = TAILQ_NEXT(s, in_all);
		if (s->state == STREAM_CONNECTING)
			stream_hand_out(v, s, ERR_CLOSED);
		stream_free(v, s);
	}
	v->reset_count = 0;
}

/**
 * vsock_notify() - Show the driver what was returned, interrupt it if it wants
 * @v:		Device
 * @index:	Queue
 */
void vsock_notify(struct vsock *v, enum vsock_queue index)
{
	struct virtqueue *q = v->queues[index];
	uint64_t one = 1;

	if (!q || !virtqueue_publish(q) || v->call_fds[index] < 0)
		return;
	/* A full counter wakes the guest as well as one more would. */
	if (write(v->call_fds[index], &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_trace(TRACE_VSOCK, "interrupt: %s", strerror(errno));
}

static void fail(struct vsock *v)
{
	const char *why = "the vsock queue broke";
	size_t i;

	for (i = 0; i < VSOCK_QUEUES; i++) {
		if (v->queues[i] && v->queues[i]->fault)
			why = v->queues[i]->fault;
		vsock_detach(v, (enum vsock_queue)i);
	}
	v->failed = true;
	vsock_reset(v);
	v->events->failed(v->arg, why);
}

/* Only flags change here, so that no event can outlive its stream. */
static void stream_event(struct vsock_stream *s, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		s->writable = true;
	if (events & (EPOLLHUP | EPOLLERR))
		s->hung_up = true;
}

static void take_events(struct vsock *v)
{
	struct epoll_event events[VSOCK_EVENTS_MAX];
	struct vsock_stream *touched[VSOCK_EVENTS_MAX];
	int i, n, count = 0;

	n = epoll_wait(v->epoll_fd, events, VSOCK_EVENTS_MAX, 0);
	for (i = 0; i < n; i++) {
		void *at = events[i].data.ptr;
		uint64_t value;

		if (at == &v->again_fd) {
			if (read(v->again_fd, &value, sizeof(value)) < 0)
				continue;
		} else if (at != &v->kick_fds[VSOCK_RX] &&
			   at != &v->kick_fds[VSOCK_TX]) {
			stream_event(at, events[i].events);
			touched[count++] = at;
		}
	}
	for (i = 0; i < count; i++) {
		struct vsock_stream *s = touched[i];

		/* Nothing is left to read for the guest, so that no read will
		 * find the end: tell it now. */
		if (s->hung_up &&
		    ((s->host_shutdown & VSOCK_SHUTDOWN_SEND) ||
		     (s->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE)))
			stream_shutdown_host(v, s, VSOCK_SHUTDOWN_BOTH);
		stream_wake(v, s);
		if (s->ring_len_bytes)
			stream_flush(v, s);
	}
	if (n == VSOCK_EVENTS_MAX)
		v->again = true;
}

/**
 * vsock_turn() - Do a bounded amount of work
 * @v:		Device
 * @now_ns:	Monotonic
 */
void vsock_turn(struct vsock *v, uint64_t now_ns)
{
	enum err e;

	v->now_ns = now_ns;
	v->again = false;
	v->counters.turns++;
	take_events(v);
	if (v->failed)
		return;
	e = vsock_take_packets(v);
	if (e == ERR_OK)
		e = vsock_give_packets(v);
	vsock_notify(v, VSOCK_TX);
	vsock_notify(v, VSOCK_RX);
	if (e != ERR_OK) {
		fail(v);
		return;
	}
	if (v->again)
		call_again(v);
}

/**
 * vsock_expire() - End streams past their deadline
 * @v:		Device
 * @now_ns:	Monotonic
 *
 * Return: true while any stream has a deadline.
 */
bool vsock_expire(struct vsock *v, uint64_t now_ns)
{
	struct vsock_stream *s, *next;
	bool more = false;

	v->now_ns = now_ns;
	for (s = TAILQ_FIRST(&v->all); s; s = next) {
		next = TAILQ_NEXT(s, in_all);
		if (!s->deadline_ns)
			continue;
		if (now_ns < s->deadline_ns) {
			more = true;
			continue;
		}
		if (s->state == STREAM_CONNECTING) {
			stream_hand_out(v, s, ERR_TIMEOUT);
			s->state = STREAM_OPEN; /* told already */
		}
		stream_reset(v, s);
		call_again(v);
	}
	v->has_deadlines = more;
	return more;
}

/** vsock_counters() - Figures since the device was made; borrowed */
const struct vsock_counters *vsock_counters(const struct vsock *v)
{
	return &v->counters;
}
