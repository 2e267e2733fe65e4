/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_kernel.c - the kernel's vhost-vsock as a backend
 *
 * Runs in: kenaz-launch, when `[engine] vsock = "kernel"` asks for it;
 *	    vhost_kernel_open() before its jail.
 * Trusts:  the kernel's word for the context (CID) a stream comes from.
 * Never:   reads a byte of a stream; accepts one from another context than
 *	    the guest's; hands out one to kenaz-guestd that was not opened
 *	    with the secret.
 *
 * Theory of operation. The kernel has one space of contexts and ports for all
 * guests and for the host, in which no network namespace helps: every guest
 * reaches every listener of the host, and every process of the host reaches
 * every guest. So that a session keeps to itself,
 *  - the guest's context is a random number, reserved by setting it on the
 *    very descriptor that QEMU gets: nobody else can have it meanwhile;
 *  - gate and egress listen on two random ports of the session, on the host's
 *    own context, and drop whoever comes from another than the guest's;
 *  - whoever connects to kenaz-guestd must begin with a secret of this boot,
 *    which it got from QEMU's fw_cfg (engine/proto/bootdoc.h).
 * The guest proves nothing in return: only who holds the descriptor can speak
 * from its context, and any program of the guest may connect anyhow.
 *
 * A stream is a socket of the kernel, passed on as it is. How many of them are
 * open elsewhere is known from stream_count.h.
 */
#include "vm/vhost_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vhost.h>
#include <linux/vm_sockets.h>
#include <sodium/utils.h>

#include "engine/base/log.h"
#include "engine/base/memfd.h"
#include "engine/proto/bootdoc.h"
#include "engine/proto/limits.h"
#include "vm/stream_count.h"

#define EVENTS_MAX 16

struct listener {
	int fd;
	uint32_t port;   /* of the kernel */
	uint32_t serves; /* PORT_HOST_GATE or PORT_HOST_EGRESS; 0: none yet */
	uint32_t max;
	bool stalled; /* out of descriptors: looked at again by expire() */
	struct stream_count open;
};

struct pending {
	int fd; /* -1: free */
	uint32_t guest_port;
	uint64_t cookie, deadline_ns;
};

struct vhost_kernel {
	struct vsock_backend backend;
	const struct vsock_events *events;
	void *arg;
	int device_fd; /* -1 once QEMU has it */
	int epoll_fd;
	uint32_t guest_cid;
	struct bootdoc *doc; /* in locked memory */
	struct listener listeners[VHOST_KERNEL_LISTENERS];
	struct pending pending[VHOST_KERNEL_CONNECTS_MAX];
};

static struct vhost_kernel *of_backend(struct vsock_backend *b)
{
	return (struct vhost_kernel *)(void *)b;
}

/**
 * vhost_kernel_pick() - Map a random number into a range
 * @first:	Least result
 * @last:	Greatest result
 * @random:	32 random bits
 *
 * The small bias towards lower numbers does not matter: neither contexts nor
 * ports are secrets.
 *
 * Return: a number from @first to @last.
 */
uint32_t vhost_kernel_pick(uint32_t first, uint32_t last, uint32_t random)
{
	return first + random % (last - first + 1);
}

static enum err pick(uint32_t first, uint32_t last, uint32_t *ret_number)
{
	uint32_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return ERR_SYS;
	*ret_number = vhost_kernel_pick(first, last, random);
	return ERR_OK;
}

/* --- before the jail ---------------------------------------------------- */

/* vhost_vsock's hash of contexts takes one once; QEMU sets the same again. */
static enum err reserve_cid(struct vhost_kernel *k)
{
	unsigned tries;

	for (tries = 0; tries < VHOST_KERNEL_TRIES_MAX; tries++) {
		uint64_t cid;

		if (pick(VHOST_KERNEL_CID_FIRST, VHOST_KERNEL_CID_LAST,
			 &k->guest_cid) != ERR_OK)
			return ERR_SYS;
		cid = k->guest_cid;
		if (ioctl(k->device_fd, VHOST_VSOCK_SET_GUEST_CID, &cid) == 0)
			return ERR_OK;
		if (errno != EADDRINUSE)
			return ERR_SYS;
	}
	return ERR_LIMIT;
}

static enum err bind_free_port(int fd, uint32_t *ret_port)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK,
				      .svm_cid = VMADDR_CID_HOST};
	unsigned tries;

	for (tries = 0; tries < VHOST_KERNEL_TRIES_MAX; tries++) {
		if (pick(VHOST_KERNEL_PORT_FIRST, VHOST_KERNEL_PORT_LAST,
			 &address.svm_port) != ERR_OK)
			return ERR_SYS;
		if (bind(fd, (const struct sockaddr *)&address,
			 sizeof(address)) == 0) {
			*ret_port = address.svm_port;
			return ERR_OK;
		}
		if (errno != EADDRINUSE)
			return ERR_SYS;
	}
	return ERR_LIMIT;
}

static enum err open_listener(struct vhost_kernel *k, struct listener *l)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};
	enum err e;

	l->fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return ERR_SYS;
	e = bind_free_port(l->fd, &l->port);
	if (e == ERR_OK &&
	    (listen(l->fd, VHOST_KERNEL_BACKLOG) < 0 ||
	     epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, l->fd, &event) < 0))
		e = ERR_SYS;
	return e == ERR_OK ? stream_count_init(&l->open) : e;
}

static enum err open_device(struct vhost_kernel *k, struct buf *reason)
{
	const char *next = "";

	k->device_fd = open(VHOST_KERNEL_DEVICE, O_RDWR | O_CLOEXEC);
	if (k->device_fd >= 0)
		return ERR_OK;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		next = "load the module vhost_vsock";
	else
		next = "give the engine's user access to it (group kvm)";
	return buf_printf(reason,
			  "engine.vsock is \"kernel\", but " VHOST_KERNEL_DEVICE
			  " cannot be opened: %s; %s, or set it to \"device\"",
			  strerror(errno), next) == ERR_OK
		       ? ERR_NOT_FOUND
		       : ERR_MEMORY;
}

static const struct vsock_backend_ops kernel_ops;

static struct vhost_kernel *allocate(void)
{
	struct vhost_kernel *k = calloc(1, sizeof(*k));
	size_t i;

	if (!k)
		return NULL;
	k->backend.ops = &kernel_ops;
	k->device_fd = k->epoll_fd = -1;
	for (i = 0; i < VHOST_KERNEL_LISTENERS; i++) {
		k->listeners[i].fd = -1;
		k->listeners[i].open.epoll_fd = -1;
		k->listeners[i].open.info_fd = -1;
	}
	for (i = 0; i < VHOST_KERNEL_CONNECTS_MAX; i++)
		k->pending[i].fd = -1;
	return k;
}

static enum err make_secret(struct vhost_kernel *k)
{
	k->doc = calloc(1, sizeof(*k->doc));
	if (!k->doc)
		return ERR_MEMORY;
	if (sodium_mlock(k->doc, sizeof(*k->doc)) != 0)
		return ERR_SYS;
	k->doc->gate_port = k->listeners[0].port;
	k->doc->egress_port = k->listeners[1].port;
	return getrandom(k->doc->secret, sizeof(k->doc->secret), 0) ==
			       (ssize_t)sizeof(k->doc->secret)
		       ? ERR_OK
		       : ERR_SYS;
}

static void kernel_free(struct vsock_backend *b);

/**
 * vhost_kernel_open() - Open device and listeners, reserve a context
 * @ret_kernel:	Freed through its backend
 * @reason:	Receives the sentence of a failure
 *
 * To be called before the jail. Nothing is accepted before
 * vhost_kernel_start().
 *
 * Return: ERR_OK; ERR_NOT_FOUND without a usable device; ERR_SYS; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err vhost_kernel_open(struct vhost_kernel **ret_kernel, struct buf *reason)
{
	struct vhost_kernel *k = allocate();
	enum err e = ERR_MEMORY;
	size_t i;

	if (!k)
		return ERR_MEMORY;
	e = open_device(k, reason);
	if (e != ERR_OK)
		goto out;
	e = reserve_cid(k);
	if (e == ERR_OK) {
		k->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		e = k->epoll_fd < 0 ? ERR_SYS : ERR_OK;
	}
	for (i = 0; e == ERR_OK && i < VHOST_KERNEL_LISTENERS; i++)
		e = open_listener(k, &k->listeners[i]);
	if (e == ERR_OK)
		e = make_secret(k);
	if (e != ERR_OK &&
	    buf_printf(reason,
		       "the kernel's vsock cannot be used: %s; "
		       "set engine.vsock to \"device\"",
		       e == ERR_SYS ? strerror(errno) : err_text(e)) != ERR_OK)
		e = ERR_MEMORY;
out:
	if (e == ERR_OK)
		*ret_kernel = k;
	else
		kernel_free(&k->backend);
	return e;
}

/* --- what the launcher asks for ------------------------------------------ */

/** vhost_kernel_start() - Name who is told of streams; @events is static */
void vhost_kernel_start(struct vhost_kernel *k,
			const struct vsock_events *events, void *arg)
{
	k->events = events;
	k->arg = arg;
	log_info("the kernel's vsock: context %u, ports %u and %u",
		 k->guest_cid, k->listeners[0].port, k->listeners[1].port);
}

/** vhost_kernel_backend() - As vm/vsock_backend.h sees it */
struct vsock_backend *vhost_kernel_backend(struct vhost_kernel *k)
{
	return &k->backend;
}

/** vhost_kernel_cid() - The guest's context */
uint32_t vhost_kernel_cid(const struct vhost_kernel *k)
{
	return k->guest_cid;
}

/** vhost_kernel_take_device() - The descriptor for QEMU, the caller's now */
int vhost_kernel_take_device(struct vhost_kernel *k)
{
	int fd = k->device_fd;

	k->device_fd = -1;
	return fd;
}

/**
 * vhost_kernel_boot_file() - The document for the guest, as a sealed memfd
 * @k:		Backend
 * @ret_fd:	For QEMU's fw_cfg; owned by the caller
 *
 * Return: ERR_OK; ERR_SYS with errno; ERR_LIMIT; ERR_MEMORY.
 */
enum err vhost_kernel_boot_file(const struct vhost_kernel *k, int *ret_fd)
{
	struct buf text;
	enum err e;

	buf_init(&text, BOOTDOC_MAX_BYTES);
	e = bootdoc_write(k->doc, &text);
	if (e == ERR_OK)
		e = memfd_from_span("kenaz-boot", buf_span(&text), ret_fd);
	if (text.len_bytes)
		explicit_bzero(text.data, text.len_bytes);
	buf_fini(&text);
	return e;
}

/* --- streams of the guest ------------------------------------------------ */

static enum err kernel_listen(struct vsock_backend *b, uint32_t host_port,
			      uint32_t max_streams)
{
	struct vhost_kernel *k = of_backend(b);
	size_t i;

	for (i = 0; i < VHOST_KERNEL_LISTENERS; i++) {
		struct listener *l = &k->listeners[i];

		if (l->serves == host_port)
			return ERR_EXISTS;
		if (l->serves)
			continue;
		l->serves = host_port;
		l->max = max_streams;
		return ERR_OK;
	}
	return ERR_LIMIT;
}

/* A stream past the limit, or from elsewhere, is closed: the peer sees it. */
static void take_stream(struct vhost_kernel *k, struct listener *l, int fd,
			const struct sockaddr_vm *peer, socklen_t len)
{
	if (len < sizeof(*peer) || peer->svm_family != AF_VSOCK ||
	    peer->svm_cid != k->guest_cid) {
		log_warn("a stream to port %u from context %u, which is not "
			 "this session's guest, was refused",
			 l->serves, peer->svm_cid);
		(void)close(fd);
		return;
	}
	if (!l->serves || !stream_count_below(&l->open, l->max) ||
	    stream_count_add(&l->open, fd) != ERR_OK) {
		log_info("the guest has too many streams to port %u",
			 l->serves);
		(void)close(fd);
		return;
	}
	k->events->accepted(k->arg, l->serves, peer->svm_port, fd);
}

static void stall(struct vhost_kernel *k, struct listener *l)
{
	log_warn("no stream can be accepted: %s", strerror(errno));
	(void)epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, l->fd, NULL);
	l->stalled = true;
}

static void accept_some(struct vhost_kernel *k, struct listener *l)
{
	unsigned i;

	for (i = 0; i < VHOST_KERNEL_ACCEPTS_MAX; i++) {
		struct sockaddr_vm peer = {0};
		socklen_t len = sizeof(peer);
		int fd = accept4(l->fd, (struct sockaddr *)&peer, &len,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			take_stream(k, l, fd, &peer, len);
		else if (errno == EMFILE || errno == ENFILE ||
			 errno == ENOMEM || errno == ENOBUFS)
			stall(k, l);
		if (fd < 0)
			return;
	}
}

/* --- streams to the guest ------------------------------------------------ */

static enum err kernel_connect(struct vsock_backend *b, uint32_t guest_port,
			       uint64_t cookie, uint64_t now_ns)
{
	struct vhost_kernel *k = of_backend(b);
	struct sockaddr_vm to = {.svm_family = AF_VSOCK,
				 .svm_cid = k->guest_cid,
				 .svm_port = guest_port};
	struct epoll_event event = {.events = EPOLLOUT};
	struct pending *p = k->pending;
	struct pending *end = p + VHOST_KERNEL_CONNECTS_MAX;
	int fd;

	while (p < end && p->fd >= 0)
		p++;
	if (p == end)
		return ERR_LIMIT;
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_SYS;
	event.data.ptr = p;
	if ((connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 &&
	     errno != EINPROGRESS) ||
	    epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		(void)close(fd);
		return ERR_CLOSED;
	}
	*p = (struct pending){.fd = fd,
			      .guest_port = guest_port,
			      .cookie = cookie,
			      .deadline_ns =
				      now_ns + VHOST_KERNEL_CONNECT_MAX_NS};
	return ERR_OK;
}

/* A new socket has room for the line: less than all of it is a failure. */
static enum err send_secret(const struct vhost_kernel *k, int fd)
{
	char line[BOOTDOC_LINE_BYTES];
	ssize_t n;

	bootdoc_line(k->doc, line);
	n = send(fd, line, sizeof(line), MSG_NOSIGNAL | MSG_DONTWAIT);
	explicit_bzero(line, sizeof(line));
	return n == (ssize_t)sizeof(line) ? ERR_OK : ERR_CLOSED;
}

static void answer(struct vhost_kernel *k, struct pending *p, enum err e)
{
	struct sockaddr_vm own = {0};
	socklen_t len = sizeof(own);
	struct pending done = *p;

	*p = (struct pending){.fd = -1};
	(void)epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, done.fd, NULL);
	if (e == ERR_OK &&
	    getsockname(done.fd, (struct sockaddr *)&own, &len) < 0)
		e = ERR_SYS;
	if (e != ERR_OK) {
		(void)close(done.fd);
		done.fd = -1;
	}
	k->events->connected(k->arg, done.cookie, e, done.fd, own.svm_port);
}

static void finish_connect(struct vhost_kernel *k, struct pending *p)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0)
		answer(k, p, error == ETIMEDOUT ? ERR_TIMEOUT : ERR_CLOSED);
	else if (p->guest_port == PORT_GUEST_HOST)
		answer(k, p, send_secret(k, p->fd));
	else
		answer(k, p, ERR_OK); /* a program's, which must not know it */
}

/* --- turns ---------------------------------------------------------------- */

static int kernel_poll_fd(const struct vsock_backend *b)
{
	return ((const struct vhost_kernel *)(const void *)b)->epoll_fd;
}

static void kernel_turn(struct vsock_backend *b, uint64_t now_ns)
{
	struct vhost_kernel *k = of_backend(b);
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(k->epoll_fd, events, EVENTS_MAX, 0), i;

	(void)now_ns;
	for (i = 0; i < n; i++) {
		void *what = events[i].data.ptr;
		size_t at;

		for (at = 0; at < VHOST_KERNEL_LISTENERS; at++)
			if (what == &k->listeners[at])
				accept_some(k, what);
		for (at = 0; at < VHOST_KERNEL_CONNECTS_MAX; at++)
			if (what == &k->pending[at] && k->pending[at].fd >= 0)
				finish_connect(k, what);
	}
}

static void kernel_expire(struct vsock_backend *b, uint64_t now_ns)
{
	struct vhost_kernel *k = of_backend(b);
	size_t i;

	for (i = 0; i < VHOST_KERNEL_CONNECTS_MAX; i++)
		if (k->pending[i].fd >= 0 && now_ns > k->pending[i].deadline_ns)
			answer(k, &k->pending[i], ERR_TIMEOUT);
	for (i = 0; i < VHOST_KERNEL_LISTENERS; i++) {
		struct listener *l = &k->listeners[i];
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};

		if (l->stalled &&
		    epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, l->fd, &event) == 0)
			l->stalled = false;
	}
}

static bool kernel_has_deadlines(const struct vsock_backend *b)
{
	const struct vhost_kernel *k =
		(const struct vhost_kernel *)(const void *)b;
	size_t i;

	for (i = 0; i < VHOST_KERNEL_CONNECTS_MAX; i++)
		if (k->pending[i].fd >= 0)
			return true;
	for (i = 0; i < VHOST_KERNEL_LISTENERS; i++)
		if (k->listeners[i].stalled)
			return true;
	return false;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

static void kernel_free(struct vsock_backend *b)
{
	struct vhost_kernel *k = of_backend(b);
	size_t i;

	for (i = 0; i < VHOST_KERNEL_LISTENERS; i++) {
		close_fd(k->listeners[i].fd);
		stream_count_fini(&k->listeners[i].open);
	}
	for (i = 0; i < VHOST_KERNEL_CONNECTS_MAX; i++)
		close_fd(k->pending[i].fd);
	close_fd(k->device_fd);
	close_fd(k->epoll_fd);
	if (k->doc)
		(void)sodium_munlock(k->doc, sizeof(*k->doc)); /* wipes */
	free(k->doc);
	free(k);
}

static const struct vsock_backend_ops kernel_ops = {
	.name = "kernel",
	.listen = kernel_listen,
	.connect = kernel_connect,
	.poll_fd = kernel_poll_fd,
	.turn = kernel_turn,
	.expire = kernel_expire,
	.has_deadlines = kernel_has_deadlines,
	.free = kernel_free,
};
