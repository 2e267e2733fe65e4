/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_streams.c - the guest's streams between device, gate and core
 *
 * Runs in: kenaz-launch.
 * Trusts:  core. Not QEMU, whose vhost-user messages are checked, nor the
 *	    guest.
 * Never:   reads a byte of a stream: the connected socket is passed on.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "vm/launch_state.h"
#include "vm/vhost_user.h"
#include "vm/vsock.h"

/* --- streams ---------------------------------------------------------- */

static void on_accepted(void *arg, uint32_t host_port, uint32_t guest_port,
			int fd)
{
	struct launch *l = arg;
	struct msg_guest_stream to_gate = {.guest_port = guest_port};
	struct msg_stream_egress to_core = {0};
	enum err e;

	if (!l->connected_once)
		launch_send_stage(l, VM_STAGE_CONNECTED);
	l->connected_once = true;
	if (host_port == PORT_HOST_EGRESS) {
		launch_refuse_egress(l, &fd);
		if (fd < 0)
			return;
	}
	/* A stream that cannot be passed on is closed, which the guest sees. */
	e = host_port == PORT_HOST_GATE
		    ? chan_send_guest_stream(l->gate, &to_gate, &fd, 1)
		    : chan_send_stream_egress(l->core, &to_core, &fd, 1);
	if (e != ERR_OK)
		log_warn("a stream to port %u was dropped: %s", host_port,
			 err_text(e));
}

static void on_connected(void *arg, uint64_t cookie, enum err e, int fd,
			 uint32_t host_port)
{
	struct launch *l = arg;
	struct msg_stream_connected m = {.request = cookie,
					 .error = e,
					 .host_port = host_port};

	if (chan_send_stream_connected(l->core, &m, &fd, e == ERR_OK ? 1 : 0) !=
	    ERR_OK)
		log_warn("core was not told of a connected stream");
}

static void on_vsock_failed(void *arg, const char *why)
{
	struct launch *l = arg;

	launch_fail_machine(l, "the guest's vsock driver broke virtio", why);
}

static const struct vsock_events vsock_handlers = {on_accepted, on_connected,
						   on_vsock_failed};

static void on_expire(uv_timer_t *timer)
{
	struct launch *l = timer->data;

	l->vsock->ops->expire(l->vsock, uv_hrtime());
	if (!l->vsock->ops->has_deadlines(l->vsock))
		(void)uv_timer_stop(timer);
}

/* The timer runs only while a stream has a deadline. */
static void watch_deadlines(struct launch *l)
{
	if (l->vsock->ops->has_deadlines(l->vsock) &&
	    !uv_is_active((uv_handle_t *)&l->expire_timer))
		(void)uv_timer_start(&l->expire_timer, on_expire,
				     LAUNCH_EXPIRE_MS, LAUNCH_EXPIRE_MS);
}

static void on_vsock_poll(uv_poll_t *poll, int status, int events)
{
	struct launch *l = poll->data;

	(void)status;
	(void)events;
	l->vsock->ops->turn(l->vsock, uv_hrtime());
	watch_deadlines(l);
}

/* --- vhost-user ------------------------------------------------------- */

static enum err ring_started(void *arg, unsigned index, struct virtqueue *q,
			     int kick_fd, int call_fd)
{
	struct launch *l = arg;

	return vsock_attach(l->device, (enum vsock_queue)index, q, kick_fd,
			    call_fd);
}

static void ring_stopped(void *arg, unsigned index)
{
	struct launch *l = arg;

	vsock_detach(l->device, (enum vsock_queue)index);
}

static void ring_call_changed(void *arg, unsigned index, int call_fd)
{
	struct launch *l = arg;

	vsock_set_call(l->device, (enum vsock_queue)index, call_fd);
}

static void guest_reset(void *arg)
{
	struct launch *l = arg;

	log_info("the guest's driver started anew");
	vsock_reset(l->device);
}

static void driver_ok(void *arg)
{
	launch_send_stage(arg, VM_STAGE_DRIVER);
}

static const struct vhost_user_events server_handlers = {
	ring_started, ring_stopped, ring_call_changed, guest_reset, driver_ok};

static void on_server_poll(uv_poll_t *poll, int status, int events)
{
	struct launch *l = poll->data;
	enum err e;

	(void)status;
	(void)events;
	e = vhost_user_turn(l->server);
	if (e == ERR_OK)
		return;
	(void)uv_poll_stop(poll);
	if (e == ERR_CLOSED)
		return; /* the process descriptor tells the rest */
	launch_fail_machine(l, "QEMU broke the vhost-user protocol",
			    vhost_user_fault(l->server)
				    ? vhost_user_fault(l->server)
				    : err_text(e));
}

static enum err make_backend(struct launch *l)
{
	enum err e;

	if (l->kernel) {
		vhost_kernel_start(l->kernel, &vsock_handlers, l);
		l->vsock = vhost_kernel_backend(l->kernel);
		return ERR_OK;
	}
	e = vsock_new(l->guest_cid, &vsock_handlers, l, &l->device);
	if (e == ERR_OK)
		l->vsock = vsock_backend(l->device);
	return e;
}

/**
 * launch_make_device() - Make the vsock device and listen for the guest
 * @l:	Launcher with its guest CID
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_LIMIT; ERR_SYS with errno.
 */
enum err launch_make_device(struct launch *l)
{
	enum err e = make_backend(l);

	if (e != ERR_OK)
		return e;
	e = l->vsock->ops->listen(l->vsock, PORT_HOST_GATE,
				  LAUNCH_GATE_STREAMS_MAX);
	if (e == ERR_OK)
		e = l->vsock->ops->listen(l->vsock, PORT_HOST_EGRESS,
					  LAUNCH_EGRESS_STREAMS_MAX);
	if (e == ERR_OK &&
	    (uv_poll_init(l->loop, &l->vsock_poll,
			  l->vsock->ops->poll_fd(l->vsock)) != 0 ||
	     uv_poll_start(&l->vsock_poll, UV_READABLE, on_vsock_poll) != 0))
		e = ERR_SYS;
	return e;
}

/**
 * launch_serve_device() - Serve vhost-user to QEMU
 * @l:		Launcher with its device and memory
 * @server_fd:	Our end of the socket, owned from here on
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS with errno.
 */
enum err launch_serve_device(struct launch *l, int server_fd)
{
	enum err e = vhost_user_new(server_fd, l->memory.fd, l->memory.at,
				    l->memory.size_bytes, l->guest_cid,
				    &server_handlers, l, &l->server);

	if (e == ERR_OK &&
	    (uv_poll_init(l->loop, &l->server_poll, server_fd) != 0 ||
	     uv_poll_start(&l->server_poll, UV_READABLE, on_server_poll) != 0))
		e = ERR_SYS;
	return e;
}

/**
 * launch_connect_device() - Make what QEMU needs to join its device to ours
 * @l:			Launcher
 * @ret_vsock_fd:	The vhost-user socket or the kernel's device
 * @ret_boot_fd:	The guest's boot document, or -1; both the caller's
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_LIMIT; ERR_SYS with errno.
 */
enum err launch_connect_device(struct launch *l, int *ret_vsock_fd,
			       int *ret_boot_fd)
{
	int pair[2];
	enum err e;

	*ret_boot_fd = -1;
	if (l->kernel) {
		e = vhost_kernel_boot_file(l->kernel, ret_boot_fd);
		if (e == ERR_OK)
			*ret_vsock_fd = vhost_kernel_take_device(l->kernel);
		return e;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return ERR_SYS;
	e = launch_serve_device(l, pair[0]);
	if (e == ERR_OK)
		*ret_vsock_fd = pair[1];
	else
		close(pair[1]);
	return e;
}

/** launch_on_connect() - Core asks for a stream to the guest */
enum err launch_on_connect(struct launch *l, struct chan_message *m)
{
	struct msg_stream_connect ask;
	struct msg_stream_connected refused = {0};
	enum err e = msg_stream_connect_get(m->payload, &ask);

	if (e != ERR_OK || l->state == L_NEW || !l->vsock)
		return e == ERR_OK ? ERR_STATE : e;
	e = l->vsock->ops->connect(l->vsock, ask.port, ask.request,
				   uv_hrtime());
	watch_deadlines(l);
	if (e == ERR_OK)
		return ERR_OK;
	refused.request = ask.request;
	refused.error = e;
	return chan_send_stream_connected(l->core, &refused, NULL, 0);
}

/** launch_log_traffic() - Say what crossed the device, for -v */
void launch_log_traffic(const struct launch *l)
{
	const struct vsock_counters *c;

	if (!l->device)
		return;
	c = vsock_counters(l->device);
	log_debug("vsock: %llu bytes in %llu packets from the guest, %llu in "
		  "%llu to it; %llu turns, %llu resets, %llu faults",
		  (unsigned long long)c->tx_bytes,
		  (unsigned long long)c->tx_packets,
		  (unsigned long long)c->rx_bytes,
		  (unsigned long long)c->rx_packets,
		  (unsigned long long)c->turns, (unsigned long long)c->resets,
		  (unsigned long long)c->faults);
}
