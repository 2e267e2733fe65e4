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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "vm/confine.h"
#include "vm/launch_state.h"
#include "vm/probe.h"

#define CONSOLE_TEXT_MAX_BYTES 8192u /* vm_exited.console */

/** launch_end_with() - The last message: nothing is left to do after it */
void launch_end_with(struct launch *l, enum err e, const char *text)
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
	launch_log_traffic(l);
	if (chan_send_vm_exited(l->core, &m, NULL, 0) != ERR_OK ||
	    chan_flush(l->core) != ERR_OK)
		log_debug("core was not told of the end");
	buf_fini(&console);
	uv_stop(l->loop);
}

/** launch_send_stage() - Tell core of a stage that was reached now */
void launch_send_stage(struct launch *l, enum vm_stage stage)
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

/** launch_fail_machine() - End the VM for a fault of QEMU or the guest */
void launch_fail_machine(struct launch *l, const char *what, const char *why)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "%s: %s", what, why);
	if (l->machine)
		machine_fail(l->machine, ERR_FORMAT, text);
	else
		launch_end_with(l, ERR_FORMAT, text);
}

/* --- the machine ------------------------------------------------------ */

static void on_spawned(void *arg, pid_t pid)
{
	struct launch *l = arg;

	l->qemu_pid = pid;
	launch_send_stage(l, VM_STAGE_SPAWNED);
}

static void on_qmp_ready(void *arg, const char *version)
{
	struct launch *l = arg;

	log_info("QEMU %s answers", version);
	disk_forget_key(&l->disk);
	launch_send_stage(l, VM_STAGE_QMP);
	launch_template_qmp_ready(l);
}

static void on_console(void *arg)
{
	launch_limits_console(arg);
	launch_template_console(arg); /* else only its tail, at the end */
}

static void on_ended(void *arg, enum err e, const char *text)
{
	struct launch *l = arg;
	char why[256];

	if (e == ERR_OK && l->template.saved) {
		e = launch_template_finish(l);
		(void)snprintf(why, sizeof(why),
			       "the template cannot be sealed: %s",
			       e == ERR_SYS ? strerror(errno) : err_text(e));
		text = e == ERR_OK ? "" : why;
	}
	launch_end_with(l, e, text);
}

static const struct machine_events machine_handlers = {
	.spawned = on_spawned,
	.qmp_ready = on_qmp_ready,
	.console = on_console,
	.disk_failed = launch_disk_failed,
	.ended = on_ended,
	.qmp_event = launch_template_qmp_event,
	.qmp_answer = launch_template_qmp_answer,
};

/* --- messages of core ------------------------------------------------- */

/** launch_take_fd() - A message's descriptor, owned from here on */
int launch_take_fd(struct chan_message *m, size_t index)
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

static enum err on_start(struct launch *l, struct chan_message *m)
{
	struct msg_launch_start start;
	struct buf reason;
	const char *text = "";
	int dir_fd, gate_fd;
	int template[2] = {-1, -1}; /* the channel closes them */
	enum err e = msg_launch_start_get(m->payload, &start);

	if (e != ERR_OK || l->state != L_NEW)
		return e == ERR_OK ? ERR_STATE : e;
	if (m->n_fds != (start.start_mode == VM_START_RESTORE ? 4u : 2u))
		return ERR_FORMAT;
	if (m->n_fds == 4)
		memcpy(template, &m->fds[2], sizeof(template));
	dir_fd = launch_take_fd(m, 0);
	gate_fd = launch_take_fd(m, 1);
	buf_init(&reason, REASON_MAX_BYTES);
	e = chan_new(l->loop, gate_fd, ROLE_LAUNCH, ROLE_GATE, &gate_handler, l,
		     &l->gate);
	if (e == ERR_OK)
		e = launch_prepare(l, &start, dir_fd, template, &reason);
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
		launch_end_with(l, e, text);
	}
	buf_fini(&reason);
	return ERR_OK;
}

static enum err spawn(struct launch *l)
{
	int vsock_fd = -1, boot_fd = -1;
	enum err e = ERR_OK;

	if (l->config.start != VM_START_MAKE)
		e = launch_connect_device(l, &vsock_fd, &boot_fd);
	if (e != ERR_OK)
		return e;
	e = machine_start(l->loop, &l->config, &l->image, &l->memory, vsock_fd,
			  boot_fd, &machine_handlers, l, &l->machine);
	if (e != ERR_OK)
		return e;
	/* QEMU has its own references now. */
	image_close(&l->image);
	launch_limits_spawned(l);
	disk_close_file(&l->disk);
	launch_template_spawned(l);
	return confine_enter(l->config.uid, l->kernel != NULL);
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
		launch_end_with(l, e, text);
	}
	return ERR_OK;
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
		launch_end_with(l, ERR_OK, "");
	return ERR_OK;
}

static const struct {
	enum msg_type type;
	enum err (*handle)(struct launch *l, struct chan_message *m);
} message_table[] = {
	{MSG_LAUNCH_LIMITS, launch_on_limits},
	{MSG_LAUNCH_START, on_start},
	{MSG_LAUNCH_PROBE, launch_on_probe},
	{MSG_LAUNCH_DISK, launch_on_disk},
	{MSG_VM_SPAWN, on_spawn},
	{MSG_STREAM_CONNECT, launch_on_connect},
	{MSG_VM_STOP, on_stop},
	{MSG_IMAGE_KEYS, launch_on_image_keys},
	{MSG_IMAGE_INSPECT, launch_on_inspect},
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
	manifest_init(&l->image);
	disk_init(&l->disk);
	buf_init(&l->disk_text, REASON_MAX_BYTES);
	l->memory.fd = -1;
	l->template.state_fd = -1;
	l->template.state_socket = -1;
	buf_init(&l->template.state, TEMPLATE_STATE_MAX_BYTES);
	(void)uv_timer_init(loop, &l->template.boot_timer);
	l->template.boot_timer.data = l;
	(void)uv_idle_init(loop, &l->template.copy_idle);
	l->template.copy_idle.data = l;
	l->template.state_poll.data = l;
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

/**
 * launch_choose_vsock() - Open what the kernel's vsock needs, before the jail
 * @l:		Launcher
 * @kernel:	Whether core asked for it
 *
 * A device that cannot be opened is told to core when it asks for a VM.
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err launch_choose_vsock(struct launch *l, bool kernel)
{
	struct buf reason;
	const char *text;
	enum err e;

	l->wants_kernel = kernel;
	if (!kernel)
		return ERR_OK;
	buf_init(&reason, REASON_MAX_BYTES - 1);
	e = vhost_kernel_open(&l->kernel, &reason);
	if (e != ERR_OK)
		e = buf_terminate(&reason, &text);
	if (e == ERR_OK && !l->kernel)
		(void)snprintf(l->kernel_reason, sizeof(l->kernel_reason), "%s",
			       text);
	buf_fini(&reason);
	return e;
}

/** launch_kill() - End the VM at once and wait until it is gone */
void launch_kill(struct launch *l)
{
	machine_free(l->machine);
	l->machine = NULL;
	probe_free(l->probe);
	l->probe = NULL;
}
