/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_template.c - templates of booted guests, and guests out of them
 *
 * Runs in: kenaz-launch.
 * Trusts:  core; the kernel's seals. That a guest waits is its own word, and
 *	    decides only when its template is made.
 * Never:   lets a clone write to the template: it runs in a copy; goes on
 *	    from a template that was made with anything else.
 *
 * Theory of operation. To make one: a guest without a vsock device boots,
 * guestd prints TEMPLATE_MARK once it waits for the device, QEMU is stopped
 * and writes its device state into a socket of ours (its jail lets it write
 * no file), then it quits and both files are sealed.
 *
 * To go on from one: the memory is copied from launch_start on, a piece in
 * each turn of the loop, while core makes vm.start durable and QEMU starts,
 * which does not touch it before a load. QEMU then loads the state, gets the
 * vsock device, and lets the guest run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "vm/launch_state.h"

#define TEMPLATE_MARK        "KENAZ-GUEST-WAITS"
#define TEMPLATE_BOOT_MAX_MS 120000u
#define TEMPLATE_SETTLE_MS   500u /* the kernel ends what boot left over */
#define STATE_READ_BYTES     65536u
#define COPY_TURN_BYTES      (4u * 1024 * 1024)
#define STATE_TURN_READS     16

/* Equal for the guest that becomes a template and all that come out of it. */
static enum err make_key(struct launch *l)
{
	struct qemu_config config = l->config;
	struct template_key *key = &l->template.key;
	struct args args = {0};
	enum err e;

	config.start = VM_START_MAKE;
	memcpy(key->manifest, l->image.manifest_digest, DIGEST_BYTES);
	memcpy(key->qemu, l->fingerprint.qemu, DIGEST_BYTES);
	key->memory_bytes = (uint64_t)l->config.memory_mib << 20;
	e = qemu_args_build(&config, &args);
	if (e == ERR_OK)
		e = fingerprint_args(&args, key->arguments);
	args_fini(&args);
	return e;
}

static enum err copy_state(struct span state, int *ret_fd)
{
	int fd;
	enum err e = memfd_from_span("kenaz-device-state", state, &fd);

	if (e != ERR_OK)
		return e;
	if (lseek(fd, 0, SEEK_SET) != 0) {
		close(fd);
		return ERR_SYS;
	}
	*ret_fd = fd;
	return ERR_OK;
}

/* --- the copy --------------------------------------------------------- */

static void load_when_due(struct launch *l);

static void on_copy_turn(uv_idle_t *idle)
{
	struct launch *l = idle->data;
	struct launch_template *t = &l->template;
	bool done = false;
	enum err e = memory_copy_step(&t->copy, COPY_TURN_BYTES, &done);

	if (e == ERR_OK && !done)
		return;
	(void)uv_idle_stop(idle);
	if (e != ERR_OK) {
		launch_fail_machine(l, "the template's memory cannot be copied",
				    strerror(errno));
		return;
	}
	log_debug("%llu KiB of memory copied",
		  (unsigned long long)(t->copy.copied_bytes >> 10));
	memory_copy_end(&t->copy);
	t->copied = true;
	launch_send_stage(l, VM_STAGE_COPIED);
	load_when_due(l);
}

/* The memory is copied from now on, in turns; see the theory above. */
static enum err take_template(struct launch *l,
			      const struct msg_launch_start *start,
			      const int template[2], struct buf *reason)
{
	struct template t;
	enum err e = template_open(template[0], template[1], start -> template,
				   &l -> template.key, &t, reason);

	if (e == ERR_OK)
		e = memory_new(l->config.memory_mib, &l->memory);
	if (e == ERR_OK)
		e = memory_copy_begin(&l->memory, template[0],
				      &l -> template.copy);
	if (e == ERR_OK)
		e = copy_state(t.state, &l->template.state_fd);
	if (e == ERR_OK &&
	    uv_idle_start(&l->template.copy_idle, on_copy_turn) != 0)
		e = ERR_INTERNAL;
	template_close(&t);
	if (e != ERR_OK)
		return e;
	memcpy(l->fingerprint.template, start->template, DIGEST_BYTES);
	return ERR_OK;
}

/**
 * launch_make_memory() - Make the guest's memory, a template's copy if asked
 * @l:		Launcher with its configuration, image and QEMU's digest
 * @start:	What core asked for
 * @template:	Memory and state to go on from, borrowed; or -1 and -1
 * @reason:	Receives the sentence of a refusal
 *
 * Return: ERR_OK; ERR_RANGE; as template_open(); ERR_SYS with errno.
 */
enum err launch_make_memory(struct launch *l,
			    const struct msg_launch_start *start,
			    const int template[2], struct buf *reason)
{
	enum err e;

	if (l->config.start == VM_START_COLD)
		return memory_new(l->config.memory_mib, &l->memory);
	e = make_key(l);
	if (e != ERR_OK)
		return e;
	if (l->config.start == VM_START_MAKE)
		return memory_new_template(l->config.memory_mib, &l->memory);
	return take_template(l, start, template, reason);
}

/* --- make ------------------------------------------------------------- */

static void fail_making(struct launch *l, const char *why)
{
	launch_fail_machine(l, "the template cannot be made", why);
}

static void on_boot_deadline(uv_timer_t *timer)
{
	fail_making(timer->data, "the guest does not get ready in time");
}

/* Both must be over: QEMU says that it wrote, and all of it was read. */
static void check_saved(struct launch *l)
{
	if (!l->template.saved || !l->template.state_ended)
		return;
	machine_quit(l->machine, false);
}

static void on_state(uv_poll_t *poll, int status, int events)
{
	struct launch *l = poll->data;
	struct launch_template *t = &l->template;
	static uint8_t chunk[STATE_READ_BYTES];
	int i;

	(void)status;
	(void)events;
	for (i = 0; i < STATE_TURN_READS; i++) {
		ssize_t n = recv(t->state_socket, chunk, sizeof(chunk),
				 MSG_DONTWAIT);
		enum err e;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			(void)uv_poll_stop(poll);
			t->state_ended = true;
			check_saved(l);
			return;
		}
		e = buf_put(&t->state, chunk, (size_t)n);
		if (e != ERR_OK) {
			(void)uv_poll_stop(poll);
			fail_making(l, "QEMU's device state is too long");
			return;
		}
	}
}

static void end_migration(struct launch *l)
{
	migration_free(l->template.migration);
	l->template.migration = NULL;
}

static void on_saved(void *arg, enum err e, const char *text)
{
	struct launch *l = arg;

	end_migration(l);
	if (e != ERR_OK) {
		fail_making(l, text);
		return;
	}
	l->template.saved = true;
	check_saved(l);
}

static void on_never(void *arg, enum err e)
{
	(void)arg;
	(void)e;
}

static const struct migration_events save_events = {on_saved, on_never};

static enum err save(struct launch *l)
{
	struct launch_template *t = &l->template;
	int pair[2];
	enum err e;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return ERR_SYS;
	t->state_socket = pair[0];
	if (uv_poll_init(l->loop, &t->state_poll, pair[0]) != 0 ||
	    uv_poll_start(&t->state_poll, UV_READABLE, on_state) != 0) {
		close(pair[1]);
		return ERR_SYS;
	}
	e = migration_new(l->loop, MIGRATION_SAVE, machine_qmp(l->machine),
			  pair[1], &save_events, l, &t->migration);
	return e;
}

/** launch_template_spawned() - QEMU was started: see what it is for */
void launch_template_spawned(struct launch *l)
{
	l->template.spawned_ns = uv_hrtime();
	if (l->config.start != VM_START_MAKE)
		return;
	machine_console(l->machine)->mark = TEMPLATE_MARK;
	(void)uv_timer_start(&l->template.boot_timer, on_boot_deadline,
			     TEMPLATE_BOOT_MAX_MS, 0);
}

/* Each clone would else do that work, in the time that its user waits. */
static void on_settled(uv_timer_t *timer)
{
	struct launch *l = timer->data;
	enum err e = save(l);

	if (e != ERR_OK)
		fail_making(l, e == ERR_SYS ? strerror(errno) : err_text(e));
}

/** launch_template_console() - The guest wrote: does it wait now? */
void launch_template_console(struct launch *l)
{
	struct launch_template *t = &l->template;

	if (l->config.start != VM_START_MAKE || t->booted || !t->qmp_ready ||
	    !machine_console(l->machine)->found)
		return;
	t->booted = true;
	launch_send_stage(l, VM_STAGE_BOOTED);
	(void)uv_timer_start(&t->boot_timer, on_settled, TEMPLATE_SETTLE_MS, 0);
}

/**
 * launch_template_finish() - QEMU is gone: seal both files and give them to
 *			      core
 * @l:	Launcher whose guest was saved
 *
 * Return: ERR_OK; as template_seal(); as chan_send_vm_template().
 */
enum err launch_template_finish(struct launch *l)
{
	struct msg_vm_template m = {0};
	struct template_files files;
	int fds[2];
	enum err e;

	memory_unmap(&l->memory);
	e = template_seal(l->memory.fd, &l->template.key,
			  buf_span(&l->template.state), &files);
	if (e != ERR_OK)
		return e;
	memcpy(m.template, files.digest, DIGEST_BYTES);
	m.memory_used_bytes = files.memory_used_bytes;
	m.took_ns = uv_hrtime() - l->template.spawned_ns;
	fds[0] = files.memory_fd;
	fds[1] = files.state_fd;
	return chan_send_vm_template(l->core, &m, fds, 2);
}

/* --- restore ---------------------------------------------------------- */

static void fail_restoring(struct launch *l, const char *why)
{
	launch_fail_machine(l, "the template cannot be restored", why);
}

static void on_loaded(void *arg, enum err e, const char *text)
{
	struct launch *l = arg;

	if (e != ERR_OK) {
		end_migration(l);
		fail_restoring(l, text);
		return;
	}
	launch_send_stage(l, VM_STAGE_LOADED);
	e = migration_resume(l->template.migration);
	if (e != ERR_OK)
		fail_restoring(l, err_text(e));
}

static void on_resumed(void *arg, enum err e)
{
	struct launch *l = arg;

	end_migration(l);
	if (e != ERR_OK)
		fail_restoring(l, "QEMU does not let the guest run");
	else
		launch_send_stage(l, VM_STAGE_RESUMED);
}

static const struct migration_events load_events = {on_loaded, on_resumed};

/* Both must be there: all of the memory, and a QEMU that takes commands. */
static void load_when_due(struct launch *l)
{
	struct launch_template *t = &l->template;
	int fd = t->state_fd;
	enum err e;

	if (!t->copied || !t->qmp_ready)
		return;
	t->state_fd = -1;
	e = migration_new(l->loop, MIGRATION_LOAD, machine_qmp(l->machine), fd,
			  &load_events, l, &t->migration);
	if (e != ERR_OK)
		fail_restoring(l, err_text(e));
}

/** launch_template_qmp_ready() - QEMU takes commands */
void launch_template_qmp_ready(struct launch *l)
{
	l->template.qmp_ready = true;
	if (l->config.start == VM_START_MAKE)
		launch_template_console(l);
	if (l->config.start == VM_START_RESTORE)
		load_when_due(l);
}

/* --- QEMU ------------------------------------------------------------- */

/** launch_template_qmp_event() - For machine_events */
void launch_template_qmp_event(void *arg, const char *name)
{
	struct launch *l = arg;

	if (l->template.migration)
		migration_event(l->template.migration, name);
}

/** launch_template_qmp_answer() - For machine_events */
void launch_template_qmp_answer(void *arg, uint64_t id, enum err e,
				struct span text)
{
	struct launch *l = arg;

	if (l->template.migration)
		migration_answer(l->template.migration, id, e, text);
}
