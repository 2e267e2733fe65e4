/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch.c - one session's virtual machine, as core steers it
 *
 * Runs in: kenaz-launch.
 * Trusts:  core. Not the image (verified), not QEMU, not the guest.
 * Never:   spawns QEMU before core said vm_spawn, which it does only when
 *	    vm.start is durable; outlives core.
 *
 * Theory of operation. launch_start: the image is verified, memory made, the
 * arguments built, and vm_fingerprint sent. vm_spawn: QEMU starts in its
 * jail; stages are reported as they are reached. Streams of the guest go to
 * the gate over its own channel (port 1024) or to core (port 1025). vm_exited
 * is the last message; the process then ends, and with it everything.
 */
#include "vm/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "vm/fingerprint.h"
#include "vm/jail.h"
#include "vm/machine.h"
#include "vm/probe.h"
#include "vm/vhost_user.h"
#include "vm/vsock.h"
#include "vm/vsock_packet.h"

#define CONSOLE_TEXT_MAX_BYTES 8192u /* vm_exited.console */
#define CPU_NAME_BYTES         64u

enum launch_state { L_NEW, L_VERIFIED, L_RUNNING, L_ENDED };

struct launch {
	uv_loop_t *loop;
	enum launch_state state;
	struct chan *core;
	struct chan *gate;
	struct image image;
	struct memory memory;
	struct qemu_config config;
	struct fingerprint fingerprint;
	uint8_t digest[DIGEST_BYTES];
	uint32_t guest_cid;
	struct vsock *device;
	struct vsock_backend *vsock;
	struct vhost_user *server;
	struct machine *machine;
	struct probe *probe;
	uv_poll_t vsock_poll;
	uv_poll_t server_poll;
	uv_timer_t expire_timer;
	bool connected_once;
	pid_t qemu_pid;
};

static struct launch *the_launch(void *arg)
{
	return arg;
}

/* The last message: the loop has nothing left to do after it. */
static void end_with(struct launch *l, enum err e, const char *text)
{
	struct msg_vm_exited m = {.error = e, .text = span_text(text)};
	struct buf console;

	if (l->state == L_ENDED)
		return;
	l->state = L_ENDED;
	buf_init(&console, CONSOLE_TEXT_MAX_BYTES);
	if (l->machine &&
	    console_tail(machine_console(l->machine), &console) != ERR_OK)
		buf_reset(&console);
	m.console = buf_span(&console);
	if (e != ERR_OK)
		log_info("the VM ended: %s", text);
	if (chan_send_vm_exited(l->core, &m, NULL, 0) != ERR_OK ||
	    chan_flush(l->core) != ERR_OK)
		log_debug("core was not told of the end");
	buf_fini(&console);
	uv_stop(l->loop);
}

static void send_stage(struct launch *l, enum vm_stage stage)
{
	struct msg_vm_stage m = {
		.stage = (uint32_t)stage,
		.at_ns = uv_hrtime(),
		.qemu_pid = (uint32_t)l->qemu_pid,
	};

	log_info("stage %s", vm_stage_name(stage));
	if (chan_send_vm_stage(l->core, &m, NULL, 0) != ERR_OK)
		log_debug("core was not told of a stage");
}

static void fail_machine(struct launch *l, const char *what, const char *why)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "%s: %s", what, why);
	if (l->machine)
		machine_fail(l->machine, ERR_FORMAT, text);
	else
		end_with(l, ERR_FORMAT, text);
}

/* --- streams ---------------------------------------------------------- */

static void on_accepted(void *arg, uint32_t host_port, uint32_t guest_port,
			int fd)
{
	struct launch *l = the_launch(arg);
	struct msg_guest_stream to_gate = {.guest_port = guest_port};
	struct msg_stream_egress to_core = {0};
	enum err e;

	if (!l->connected_once)
		send_stage(l, VM_STAGE_CONNECTED);
	l->connected_once = true;
	/* A stream that cannot be passed on is closed, which the guest sees. */
	e = host_port == PORT_HOST_GATE
		    ? chan_send_guest_stream(l->gate, &to_gate, &fd, 1)
		    : chan_send_stream_egress(l->core, &to_core, &fd, 1);
	if (e != ERR_OK)
		log_warn("a stream to port %u was dropped: %s", host_port,
			 err_text(e));
}

static void on_connected(void *arg, uint64_t cookie, enum err e, int fd)
{
	struct launch *l = the_launch(arg);
	struct msg_stream_connected m = {.request = cookie, .error = e};

	if (chan_send_stream_connected(l->core, &m, &fd, e == ERR_OK ? 1 : 0) !=
	    ERR_OK)
		log_warn("core was not told of a connected stream");
}

static void on_vsock_failed(void *arg, const char *why)
{
	fail_machine(the_launch(arg), "the guest's vsock driver broke virtio",
		     why);
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
	return vsock_attach(the_launch(arg)->device, (enum vsock_queue)index, q,
			    kick_fd, call_fd);
}

static void ring_stopped(void *arg, unsigned index)
{
	vsock_detach(the_launch(arg)->device, (enum vsock_queue)index);
}

static void ring_call_changed(void *arg, unsigned index, int call_fd)
{
	vsock_set_call(the_launch(arg)->device, (enum vsock_queue)index,
		       call_fd);
}

static void guest_reset(void *arg)
{
	log_info("the guest's driver started anew");
	vsock_reset(the_launch(arg)->device);
}

static void driver_ok(void *arg)
{
	send_stage(the_launch(arg), VM_STAGE_DRIVER);
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
	fail_machine(l, "QEMU broke the vhost-user protocol",
		     vhost_user_fault(l->server) ? vhost_user_fault(l->server)
						 : err_text(e));
}

/* --- the machine ------------------------------------------------------ */

static void on_spawned(void *arg, pid_t pid)
{
	struct launch *l = the_launch(arg);

	l->qemu_pid = pid;
	send_stage(l, VM_STAGE_SPAWNED);
}

static void on_qmp_ready(void *arg, const char *version)
{
	struct launch *l = the_launch(arg);

	log_info("QEMU %s answers", version);
	send_stage(l, VM_STAGE_QMP);
}

static void on_console(void *arg)
{
	(void)arg; /* only its tail is of interest, at the end */
}

static void on_ended(void *arg, enum err e, const char *text)
{
	end_with(the_launch(arg), e, text);
}

static const struct machine_events machine_handlers = {on_spawned, on_qmp_ready,
						       on_console, on_ended};

/* --- messages of core ------------------------------------------------- */

static int take_fd(struct chan_message *m, size_t index)
{
	int fd = m->fds[index];

	m->fds[index] = -1;
	return fd;
}

static enum err gate_message(struct chan *c, void *context,
			     struct chan_message *m)
{
	(void)c;
	(void)context;
	(void)m;
	return ERR_STATE; /* the channel goes one way */
}

/* Core hears of a lost gate by itself and decides; streams are dropped. */
static void gate_closed(struct chan *c, void *context, enum err reason)
{
	(void)c;
	(void)context;
	log_info("the gate is gone: %s", err_text(reason));
}

static const struct chan_handler gate_handler = {gate_message, gate_closed};

static enum err check_request(struct launch *l,
			      const struct msg_launch_start *start,
			      struct buf *reason)
{
	bool kvm = span_is(start->accelerator, "kvm");

	if (!kvm && !span_is(start->accelerator, "tcg")) {
		return buf_put_text(reason, "the accelerator must be kvm or "
					    "tcg") == ERR_OK
			       ? ERR_RANGE
			       : ERR_MEMORY;
	}
	if (start->memory_mib < l->image.min_memory_mib ||
	    start->memory_mib > MEMORY_MAX_MIB) {
		return buf_printf(reason,
				  "memory of %u MiB: image %s needs %u to %u "
				  "MiB",
				  start->memory_mib, l->image.name,
				  l->image.min_memory_mib,
				  MEMORY_MAX_MIB) == ERR_OK
			       ? ERR_RANGE
			       : ERR_MEMORY;
	}
	if (start->vcpus == 0 || start->vcpus > QEMU_VCPUS_MAX) {
		return buf_printf(reason, "%u vCPUs: 1 to %u are possible",
				  start->vcpus, QEMU_VCPUS_MAX) == ERR_OK
			       ? ERR_RANGE
			       : ERR_MEMORY;
	}
	if (start->guest_cid <= VSOCK_HOST_CID ||
	    start->guest_cid == UINT32_MAX) {
		return buf_put_text(reason, "guest CID out of range") == ERR_OK
			       ? ERR_RANGE
			       : ERR_MEMORY;
	}
	l->config = (struct qemu_config){
		.kvm = kvm,
		.vsock = true,
		.memory_mib = start->memory_mib,
		.vcpus = start->vcpus,
		.cpu = l->image.cpu,
		.command_line = l->image.command_line,
	};
	l->guest_cid = start->guest_cid;
	return ERR_OK;
}

static enum err make_fingerprint(struct launch *l)
{
	struct args command = {0}, around = {0};
	struct buf document;
	enum err e;

	buf_init(&document, 16384);
	e = qemu_args_build(&l->config, &command);
	if (e == ERR_OK)
		e = jail_args_build(&command, l->config.kvm, &around);
	if (e == ERR_OK)
		e = fingerprint_args(&command, l->fingerprint.arguments);
	if (e == ERR_OK)
		e = fingerprint_args(&around, l->fingerprint.jail);
	if (e == ERR_OK)
		e = fingerprint_qemu(QEMU_PROGRAM, &l->fingerprint);
	if (e == ERR_OK)
		e = fingerprint_document(&l->fingerprint, &l->image, &l->config,
					 &document);
	if (e == ERR_OK)
		digest_sha256(buf_span(&document), l->fingerprint.digest);
	args_fini(&command);
	args_fini(&around);
	buf_fini(&document);
	return e;
}

static enum err send_fingerprint(struct launch *l)
{
	const struct fingerprint *f = &l->fingerprint;
	struct msg_vm_fingerprint m = {
		.image = span_text(l->image.name),
		.qemu_version = span_text(f->qemu_version),
		.accelerator = span_text(l->config.kvm ? "kvm" : "tcg"),
		.cpu = span_text(qemu_cpu(&l->config)),
		.kernel_command_line = span_text(l->image.command_line),
	};

	memcpy(m.fingerprint, f->digest, DIGEST_BYTES);
	memcpy(m.manifest, l->image.manifest_digest, DIGEST_BYTES);
	memcpy(m.kernel, l->image.kernel.digest, DIGEST_BYTES);
	memcpy(m.initrd, l->image.initrd.digest, DIGEST_BYTES);
	memcpy(m.qemu, f->qemu, DIGEST_BYTES);
	memcpy(m.arguments, f->arguments, DIGEST_BYTES);
	return chan_send_vm_fingerprint(l->core, &m, NULL, 0);
}

static enum err make_device(struct launch *l)
{
	enum err e = vsock_new(l->guest_cid, &vsock_handlers, l, &l->device);

	if (e != ERR_OK)
		return e;
	l->vsock = vsock_backend(l->device);
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

/* Everything up to the fingerprint; @reason holds the sentence of a failure.
 */
static enum err prepare(struct launch *l, const struct msg_launch_start *start,
			int dir_fd, struct buf *reason)
{
	char name[NAME_MAX_BYTES + 1];
	enum err e = span_copy_text(start->image, name, sizeof(name));

	if (e == ERR_OK)
		e = image_open(dir_fd, name, &l->image, reason);
	if (e == ERR_OK)
		e = check_request(l, start, reason);
	if (e != ERR_OK)
		return e;
	send_stage(l, VM_STAGE_VERIFIED);
	e = make_fingerprint(l);
	if (e == ERR_NOT_FOUND) {
		return buf_put_text(reason,
				    QEMU_PROGRAM " is not installed; install "
						 "qemu-system-x86") == ERR_OK
			       ? e
			       : ERR_MEMORY;
	}
	if (e == ERR_OK)
		e = memory_new(l->config.memory_mib, &l->memory);
	if (e == ERR_OK)
		e = make_device(l);
	if (e == ERR_OK)
		e = send_fingerprint(l);
	return e;
}

static enum err on_start(struct launch *l, struct chan_message *m)
{
	struct msg_launch_start start;
	struct buf reason;
	const char *text = "";
	int dir_fd, gate_fd;
	enum err e = msg_launch_start_get(m->payload, &start);

	if (e != ERR_OK || l->state != L_NEW)
		return e == ERR_OK ? ERR_STATE : e;
	dir_fd = take_fd(m, 0);
	gate_fd = take_fd(m, 1);
	buf_init(&reason, REASON_MAX_BYTES);
	e = chan_new(l->loop, gate_fd, ROLE_LAUNCH, ROLE_GATE, &gate_handler, l,
		     &l->gate);
	if (e == ERR_OK)
		e = prepare(l, &start, dir_fd, &reason);
	close(dir_fd);
	if (e == ERR_OK) {
		chan_set_state(l->core, S_RUN);
		l->state = L_VERIFIED;
	} else {
		if (reason.len_bytes == 0 &&
		    buf_printf(&reason, "the VM cannot be prepared: %s",
			       e == ERR_SYS ? strerror(errno) : err_text(e)) !=
			    ERR_OK)
			buf_reset(&reason);
		if (buf_terminate(&reason, &text) != ERR_OK)
			text = err_text(e);
		end_with(l, e, text);
	}
	buf_fini(&reason);
	return ERR_OK;
}

static enum err spawn(struct launch *l)
{
	int pair[2];
	enum err e;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return ERR_SYS;
	e = vhost_user_new(pair[0], l->memory.fd, l->memory.at,
			   l->memory.size_bytes, l->guest_cid, &server_handlers,
			   l, &l->server);
	if (e != ERR_OK) {
		close(pair[1]);
		return e;
	}
	e = machine_start(l->loop, &l->config, &l->image, &l->memory, pair[1],
			  &machine_handlers, l, &l->machine);
	if (e != ERR_OK)
		return e;
	/* QEMU has its own references now. */
	image_close(&l->image);
	if (uv_poll_init(l->loop, &l->server_poll, pair[0]) != 0 ||
	    uv_poll_start(&l->server_poll, UV_READABLE, on_server_poll) != 0)
		return ERR_SYS;
	return ERR_OK;
}

static enum err on_spawn(struct launch *l, struct chan_message *m)
{
	struct msg_vm_spawn spawn_message;
	char text[256];
	enum err e = msg_vm_spawn_get(m->payload, &spawn_message);

	if (e != ERR_OK || l->state != L_VERIFIED)
		return e == ERR_OK ? ERR_STATE : e;
	l->state = L_RUNNING;
	e = spawn(l);
	if (e != ERR_OK) {
		(void)snprintf(text, sizeof(text), "QEMU cannot be started: %s",
			       e == ERR_SYS ? strerror(errno) : err_text(e));
		end_with(l, e, text);
	}
	return ERR_OK;
}

static enum err on_connect(struct launch *l, struct chan_message *m)
{
	struct msg_stream_connect ask;
	struct msg_stream_connected refused = {0};
	enum err e = msg_stream_connect_get(m->payload, &ask);

	if (e != ERR_OK || l->state == L_NEW)
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

static enum err on_stop(struct launch *l, struct chan_message *m)
{
	struct msg_vm_stop stop;
	enum err e = msg_vm_stop_get(m->payload, &stop);

	if (e != ERR_OK)
		return e;
	if (l->machine)
		machine_quit(l->machine, stop.kill != 0);
	else
		end_with(l, ERR_OK, "");
	return ERR_OK;
}

static void on_probe_done(void *arg, bool kvm, const char *reason,
			  uint64_t took_ns)
{
	struct launch *l = the_launch(arg);
	struct msg_probe_result m = {
		.accelerator = span_text(kvm ? "kvm" : "tcg"),
		.qemu_version = span_text(l->fingerprint.qemu_version),
		.reason = span_text(reason),
		.took_ns = took_ns,
	};

	if (chan_send_probe_result(l->core, &m, NULL, 0) != ERR_OK ||
	    chan_flush(l->core) != ERR_OK)
		log_debug("core was not told of the probe");
	l->state = L_ENDED;
	uv_stop(l->loop);
}

/* The manifest names the image; a probe takes whichever is in the folder. */
static enum err probe_image_name(int dir_fd, char *ret_name, size_t cap_bytes)
{
	char raw[IMAGE_MANIFEST_MAX_BYTES];
	int fd = openat(dir_fd, "manifest.json",
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct image image;
	struct buf reason;
	ssize_t n;
	enum err e;

	if (fd < 0)
		return ERR_NOT_FOUND;
	n = read(fd, raw, sizeof(raw));
	close(fd);
	if (n < 0)
		return ERR_SYS;
	buf_init(&reason, REASON_MAX_BYTES);
	e = image_parse(span_of(raw, (size_t)n), &image, &reason);
	buf_fini(&reason);
	return e == ERR_OK ? span_copy_text(span_text(image.name), ret_name,
					    cap_bytes)
			   : e;
}

static enum err on_probe(struct launch *l, struct chan_message *m)
{
	char name[NAME_MAX_BYTES + 1], text[256];
	struct msg_launch_probe ask;
	const char *why = NULL;
	struct buf reason;
	int dir_fd;
	enum err e = msg_launch_probe_get(m->payload, &ask);

	if (e != ERR_OK || l->state != L_NEW)
		return e == ERR_OK ? ERR_STATE : e;
	l->state = L_VERIFIED;
	dir_fd = take_fd(m, 0);
	buf_init(&reason, REASON_MAX_BYTES);
	e = probe_image_name(dir_fd, name, sizeof(name));
	if (e == ERR_OK)
		e = image_open(dir_fd, name, &l->image, &reason);
	close(dir_fd);
	if (e == ERR_OK)
		e = fingerprint_qemu(QEMU_PROGRAM, &l->fingerprint);
	if (e == ERR_OK)
		e = probe_start(l->loop, &l->image, ask.deadline_ns,
				on_probe_done, l, &l->probe);
	if (e != ERR_OK) {
		if (reason.len_bytes && buf_terminate(&reason, &why) != ERR_OK)
			why = NULL;
		(void)snprintf(text, sizeof(text), "KVM was not probed: %s",
			       why ? why : err_text(e));
		on_probe_done(l, false, text, 0);
	}
	buf_fini(&reason);
	return ERR_OK;
}

static const struct {
	enum msg_type type;
	enum err (*handle)(struct launch *l, struct chan_message *m);
} message_table[] = {
	{MSG_LAUNCH_START, on_start}, {MSG_LAUNCH_PROBE, on_probe},
	{MSG_VM_SPAWN, on_spawn},     {MSG_STREAM_CONNECT, on_connect},
	{MSG_VM_STOP, on_stop},
};

/**
 * launch_on_message() - Act on a message of core
 * @l:	Launcher
 * @m:	Checked by the channel for direction and state
 *
 * Return: ERR_OK; anything else closes the channel, which ends the process.
 */
enum err launch_on_message(struct launch *l, struct chan_message *m)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(message_table); i++)
		if (message_table[i].type == m->type)
			return message_table[i].handle(l, m);
	return ERR_STATE;
}

/**
 * launch_new() - Make the launcher, without a VM yet
 * @loop:	The process's loop
 * @ret_launch:	Lives as long as the process
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err launch_new(uv_loop_t *loop, struct launch **ret_launch)
{
	struct launch *l = calloc(1, sizeof(*l));

	if (!l)
		return ERR_MEMORY;
	l->loop = loop;
	l->image.kernel.fd = -1;
	l->image.initrd.fd = -1;
	l->memory.fd = -1;
	(void)uv_timer_init(loop, &l->expire_timer);
	l->expire_timer.data = l;
	l->vsock_poll.data = l;
	l->server_poll.data = l;
	*ret_launch = l;
	return ERR_OK;
}

/** launch_set_core() - The channel to core; borrowed */
void launch_set_core(struct launch *l, struct chan *core)
{
	l->core = core;
}

/** launch_kill() - End the VM at once and wait until it is gone */
void launch_kill(struct launch *l)
{
	machine_free(l->machine);
	l->machine = NULL;
	probe_free(l->probe);
	l->probe = NULL;
}
