/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_vm.c - the life of one machine that no session has yet
 *
 * Runs in: kenazd.
 * Trusts:  the launcher that core started for it.
 * Never:   spawns QEMU before vm.start is durable, reads a byte of the guest,
 *	    starts the gate's work before a session claims the machine.
 *
 * Theory of operation. The launcher is that of any session; the gate's program
 * is started but told nothing, so that it can serve nothing. What launch has
 * for the gate, streams of the guest, waits in their channel, of which core
 * holds the gate's end. An unclaimed guest has one thing to say, its
 * announcement: core keeps the newest stream open, unread, so that the guest
 * waits. A guest that wants more than that is ended. At the claim the session
 * takes launch and gate over, and the channel goes to the gate.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/limits.h"
#include "engine/core/pool_state.h"
#include "engine/core/session_disk.h"

/** pool_vm_failed() - Wait longer before the next attempt of this kind */
void pool_vm_failed(struct pool *p, const struct pool_kind *kind,
		    const char *reason)
{
	struct pool_target *t = pool_target_of(p, kind);

	if (!t)
		return;
	t->failures++;
	t->retry_ns = engine_now_ns() + pool_backoff_ns(t->failures);
	(void)snprintf(t->reason, sizeof(t->reason), "%.*s",
		       (int)sizeof(t->reason) - 1, reason);
}

static void write_end(struct pool_vm *v)
{
	struct buf b;
	enum err err;

	if (!v->start_written)
		return;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.vm.id", span_text(v->id));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.reason", span_text(v->reason));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "error.type",
				     span_text(err_name(v->error)));
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.duration_ms",
				    (engine_now_ns() - v->begun_ns) / 1000000u);
	if (err == ERR_OK)
		audit_note(v->engine, "vm.end", NULL, NULL, buf_span(&b));
	buf_fini(&b);
}

/* Nothing may be said to it any more, and nothing of it is left. */
static void release(struct pool_vm *v)
{
	audit_forget(v->engine, v);
	child_end(v->launch);
	child_end(v->gate);
	chan_free(v->streams);
	if (v->gate_fd >= 0)
		close(v->gate_fd);
	if (v->stream_fd >= 0)
		close(v->stream_fd);
	limits_release(v->engine, v->id);
	LIST_REMOVE(v, next);
	free(v);
}

/** pool_vm_free() - Let go of a machine at the engine's very end */
void pool_vm_free(struct pool_vm *v)
{
	release(v);
}

static void finish(struct pool_vm *v)
{
	log_info("machine %s ended: %s", v->id, v->reason);
	write_end(v);
	if (v->is_failure)
		pool_vm_failed(v->engine->pool, &v->kind, v->reason);
	release(v);
}

/**
 * pool_vm_end() - End a machine that nobody claimed
 * @v:		Machine; may be gone when this returns
 * @error:	ERR_OK for an end that is no fault; others make its kind wait
 * @reason:	For the log and the doctor
 */
void pool_vm_end(struct pool_vm *v, enum err error, const char *reason)
{
	struct msg_vm_stop stop = {.kill = 1};

	if (v->state == POOL_VM_ENDING)
		return;
	v->state = POOL_VM_ENDING;
	v->error = error;
	v->is_failure = error != ERR_OK;
	(void)snprintf(v->reason, sizeof(v->reason), "%s", reason);
	v->deadline_ns = engine_now_ns() + POOL_END_NS;
	if (!v->launch ||
	    chan_send_vm_stop(v->launch->chan, &stop, NULL, 0) != ERR_OK)
		finish(v);
}

/* --- the guest's announcement -------------------------------------------- */

static void succeeded(struct pool_vm *v)
{
	struct pool_target *t = pool_target_of(v->engine->pool, &v->kind);

	if (!t)
		return;
	t->failures = 0;
	t->retry_ns = 0;
	t->reason[0] = '\0';
}

static void set_ready(struct pool_vm *v)
{
	if (v->state != POOL_VM_BOOTING || v->is_maker)
		return;
	v->state = POOL_VM_READY;
	v->ready_ns = engine_now_ns();
	succeeded(v);
	log_info("machine %s waits in the pool", v->id);
}

static enum err on_guest_stream(struct chan *c, void *context,
				struct chan_message *m)
{
	struct pool_vm *v = context;
	uint64_t now = engine_now_ns();

	(void)c;
	if (now - v->streams_ns > POOL_STREAMS_NS) {
		v->streams_ns = now;
		v->n_streams = 0;
	}
	if (++v->n_streams > POOL_STREAMS_MAX) {
		pool_vm_end(v, ERR_LIMIT,
			    "the guest opened too many streams before anybody "
			    "claimed it");
		return ERR_OK;
	}
	if (v->stream_fd >= 0)
		close(v->stream_fd);
	v->stream_fd = m->fds[0];
	m->fds[0] = -1;
	set_ready(v);
	return ERR_OK;
}

static const struct chan_handler stream_handler = {on_guest_stream, NULL};

/* --- launch -------------------------------------------------------------- */

static void on_start_durable(void *context, struct audit_outcome *o)
{
	struct pool_vm *v = context;

	if (v->state != POOL_VM_WRITING)
		return;
	if (o->error != ERR_OK) {
		v->start_written = false;
		pool_vm_end(v, o->error, o->text);
		return;
	}
	if (chan_send_vm_spawn(v->launch->chan, &(struct msg_vm_spawn){0}, NULL,
			       0) != ERR_OK)
		pool_vm_end(v, ERR_CLOSED, "the launcher was lost");
	else
		v->state = POOL_VM_BOOTING;
}

/* What was made is kept; that the launcher ends next is in order. */
static enum err take_template(struct pool_vm *v, struct chan_message *m)
{
	struct msg_vm_template made;
	struct template_entry t = {.engine = v->engine,
				   .kind = v->kind,
				   .memory_fd = m->fds[0],
				   .state_fd = m->fds[1]};
	enum err err = msg_vm_template_get(m->payload, &made);

	if (err != ERR_OK || !v->is_maker || v->state != POOL_VM_BOOTING)
		return v->state == POOL_VM_ENDING ? ERR_OK : ERR_STATE;
	err = template_check_files(m->fds[0], m->fds[1], v->kind.memory_mib,
				   &t.used_mib);
	if (err != ERR_OK) {
		pool_vm_end(v, err,
			    "the launcher gave a template that is not sealed "
			    "for good");
		return ERR_OK;
	}
	m->fds[0] = m->fds[1] = -1;
	memcpy(t.stamp, v->stamp, sizeof(t.stamp));
	memcpy(t.digest, made.template, sizeof(t.digest));
	memcpy(t.manifest, v->fingerprint.manifest, sizeof(t.manifest));
	memcpy(t.qemu, v->fingerprint.qemu, sizeof(t.qemu));
	memcpy(t.vm, v->id, sizeof(t.vm));
	t.took_ns = made.took_ns;
	template_key(&v->kind, &v->fingerprint, v->qemu_version, t.key);
	err = template_add(&v->engine->pool->templates, &t);
	if (err != ERR_OK) {
		pool_vm_end(v, err, err_text(err));
		return ERR_OK;
	}
	succeeded(v);
	v->error = ERR_OK;
	v->is_failure = false;
	v->state = POOL_VM_ENDING;
	v->deadline_ns = engine_now_ns() + POOL_END_NS;
	(void)snprintf(v->reason, sizeof(v->reason),
		       "a template was made of it");
	return ERR_OK;
}

static enum err write_start(struct pool_vm *v,
			    const struct msg_vm_fingerprint *m)
{
	struct audit_event event = {.kind = "vm.start", .payload_fd = -1};
	const struct vm_wish wish = {.id = v->id,
				     .purpose =
					     v->is_maker ? "template" : "pool",
				     .trust = v->kind.trust,
				     .memory_mib = v->kind.memory_mib,
				     .vcpus = v->kind.vcpus};
	struct buf b;
	enum err err;

	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = vm_put_start(&b, &wish, m);
	if (err == ERR_OK)
		err = session_disk_attrs(&v->disk, &b);
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(v->engine, &event, on_start_durable, v);
	buf_fini(&b);
	return err;
}

static enum err take_fingerprint(struct pool_vm *v, struct span payload)
{
	struct msg_vm_fingerprint m;
	enum err err = msg_vm_fingerprint_get(payload, &m);

	if (err != ERR_OK || v->state != POOL_VM_PREPARING)
		return v->state == POOL_VM_ENDING ? ERR_OK : ERR_FORMAT;
	if (v->start == VM_START_RESTORE &&
	    memcmp(m.template, v->template, sizeof(v->template)) != 0)
		return ERR_INTEGRITY;
	v->fingerprint = m;
	(void)text_escape_line(m.cpu, v->cpu, sizeof(v->cpu));
	(void)text_escape_line(m.kernel_command_line, v->command_line,
			       sizeof(v->command_line));
	(void)text_escape_line(m.image_key, v->image_key, sizeof(v->image_key));
	(void)text_escape_line(m.image_key_id, v->image_key_id,
			       sizeof(v->image_key_id));
	(void)text_escape_line(m.qemu_version, v->qemu_version,
			       sizeof(v->qemu_version));
	v->state = POOL_VM_WRITING;
	v->start_written = true;
	err = write_start(v, &m);
	if (err != ERR_OK) {
		v->start_written = false;
		pool_vm_end(v, err, err_text(err));
	}
	return ERR_OK;
}

static enum err take_stage(struct pool_vm *v, struct span payload)
{
	struct msg_vm_stage stage;
	enum err err = msg_vm_stage_get(payload, &stage);

	if (err != ERR_OK)
		return err;
	if (stage.qemu_pid)
		v->qemu_pid = stage.qemu_pid;
	if (stage.stage == VM_STAGE_CONNECTED)
		set_ready(v);
	return ERR_OK;
}

/* An image with a root file has a disk, which a clone's memory would miss. */
static void want_no_template(struct pool_vm *v)
{
	struct pool_target *t = pool_target_of(v->engine->pool, &v->kind);

	if (!t)
		return;
	t->no_template = true;
	memcpy(t->no_template_stamp, v->stamp, sizeof(v->stamp));
}

static enum err take_exited(struct pool_vm *v, struct span payload)
{
	struct msg_vm_exited m;
	enum err err = msg_vm_exited_get(payload, &m);

	if (err != ERR_OK)
		return err;
	if (v->is_maker && err_from_wire(m.error) == ERR_UNSUPPORTED)
		want_no_template(v);
	if (v->state != POOL_VM_ENDING) {
		(void)text_escape_line(m.text, v->reason, sizeof(v->reason));
		if (!v->reason[0])
			(void)snprintf(v->reason, sizeof(v->reason),
				       "the machine ended by itself");
		v->error =
			m.error == ERR_OK ? ERR_CLOSED : err_from_wire(m.error);
		/* That it cannot be is no failure, and no reason to wait. */
		v->is_failure = v->error != ERR_UNSUPPORTED || !v->is_maker;
	}
	finish(v);
	return ERR_OK;
}

static enum err on_launch(struct child *c, void *context,
			  struct chan_message *m)
{
	struct pool_vm *v = context;

	(void)c;
	if (m->type == MSG_VM_FINGERPRINT)
		return take_fingerprint(v, m->payload);
	if (m->type == MSG_VM_DISK)
		return session_disk_take(&v->disk, m->payload);
	if (m->type == MSG_VM_DISK_FAILED) {
		pool_vm_end(v, ERR_STORAGE,
			    "the host could not read or write its disk");
		return ERR_OK;
	}
	if (m->type == MSG_VM_STAGE)
		return take_stage(v, m->payload);
	if (m->type == MSG_VM_LIMIT)
		return ERR_OK; /* nobody's yet: its console is cut */
	if (m->type == MSG_VM_EXITED)
		return take_exited(v, m->payload);
	if (m->type == MSG_VM_TEMPLATE)
		return take_template(v, m);
	if (m->type == MSG_STREAM_EGRESS) {
		pool_vm_end(v, ERR_STATE,
			    "the guest asked for the network before anybody "
			    "claimed it");
		return ERR_OK;
	}
	return ERR_STATE;
}

static void on_launch_gone(struct child *c, void *context, const char *why)
{
	struct pool_vm *v = context;

	child_end(c);
	v->launch = NULL;
	if (v->state != POOL_VM_ENDING) {
		v->is_failure = true;
		v->error = ERR_CLOSED;
		(void)snprintf(v->reason, sizeof(v->reason), "%s", why);
	}
	finish(v);
}

/* --- gate ---------------------------------------------------------------- */

/* It was told nothing: whatever it says is wrong. */
static enum err on_gate(struct child *c, void *context, struct chan_message *m)
{
	(void)c;
	(void)m;
	pool_vm_end(context, ERR_STATE, "the gate spoke before its session");
	return ERR_OK;
}

static void on_gate_gone(struct child *c, void *context, const char *why)
{
	struct pool_vm *v = context;

	child_end(c);
	v->gate = NULL;
	pool_vm_end(v, ERR_CLOSED, why);
}

/* --- begin, hand over, deadlines ----------------------------------------- */

/* A restore is the cheapest boot there is, also for the pool. */
static enum err choose_start(struct pool_vm *v, struct vm_wish *wish)
{
	struct template_entry *t = pool_template(v->engine->pool, &v->kind);

	if (v->is_maker)
		v->start = VM_START_MAKE;
	else if (t && memcmp(t->stamp, v->stamp, sizeof(t->stamp)) == 0)
		v->start = VM_START_RESTORE;
	wish->start = v->start;
	if (v->start != VM_START_RESTORE)
		return ERR_OK;
	memcpy(v->template, t->digest, sizeof(v->template));
	return pool_put_clone(t, wish);
}

static enum err start_children(struct pool_vm *v)
{
	struct vm_wish wish = {.id = v->id,
			       .image = v->kind.image,
			       .memory_mib = v->kind.memory_mib,
			       .vcpus = v->kind.vcpus,
			       .accelerator = v->kind.accelerator};
	struct engine *e = v->engine;
	int pair[2], again;
	enum err err = chan_pair(pair);

	if (err != ERR_OK)
		return err;
	v->gate_fd = pair[1];
	again = fcntl(pair[1], F_DUPFD_CLOEXEC, 0);
	err = again < 0 ? ERR_SYS
			: chan_new(&e->loop, again, ROLE_GATE, ROLE_LAUNCH,
				   &stream_handler, v, &v->streams);
	if (err != ERR_OK) {
		close(pair[0]);
		return err;
	}
	chan_set_state(v->streams, S_RUN);
	err = choose_start(v, &wish);
	if (err != ERR_OK) {
		close(pair[0]);
		return err;
	}
	err = vm_start_launch(e, &wish, pair[0], &v->launch);
	if (!v->launch)
		return err;
	v->launch->context = v;
	v->launch->on_message = on_launch;
	v->launch->on_gone = on_launch_gone;
	if (err != ERR_OK || v->is_maker)
		return err;
	err = child_start(e, ROLE_GATE, "", NULL, 0, &v->gate);
	if (err != ERR_OK)
		return err;
	v->gate->context = v;
	v->gate->on_message = on_gate;
	v->gate->on_gone = on_gate_gone;
	return ERR_OK;
}

/**
 * pool_vm_new() - Begin a machine for the pool
 * @p:		Pool
 * @kind:	What it will stand for; its accelerator is known
 * @is_maker:	It becomes a template instead, and nobody claims it
 *
 * Return: ERR_OK; ERR_NOT_FOUND without such an image; ERR_LIMIT; ERR_SYS;
 *	   ERR_MEMORY; ERR_CLOSED without spawner.
 */
enum err pool_vm_new(struct pool *p, const struct pool_kind *kind,
		     bool is_maker)
{
	struct pool_vm *v = calloc(1, sizeof(*v));
	enum err err;

	if (!v)
		return ERR_MEMORY;
	v->engine = p->engine;
	v->kind = *kind;
	v->is_maker = is_maker;
	v->gate_fd = v->stream_fd = -1;
	v->begun_ns = engine_now_ns();
	v->deadline_ns =
		v->begun_ns +
		(uint64_t)p->engine->config->limits.boot_s * 1000000000ull;
	vm_make_id(v->id);
	LIST_INSERT_HEAD(&p->vms, v, next);
	err = pool_stamp(p->engine, kind->image, v->stamp);
	if (err == ERR_OK)
		err = start_children(v);
	if (err != ERR_OK)
		release(v);
	else
		log_info("machine %s is started for %s", v->id,
			 is_maker ? "a template" : "the pool");
	return err;
}

/**
 * pool_vm_hand_over() - A session claims a machine that boots or waits
 * @v:	Machine; gone when this returns
 * @s:	Session of the same kind, in state creating
 */
void pool_vm_hand_over(struct pool_vm *v, struct session *s)
{
	struct session_machine m = {.id = v->id,
				    .launch = v->launch,
				    .gate = v->gate,
				    .gate_fd = v->gate_fd,
				    .qemu_pid = v->qemu_pid,
				    .fingerprint = &v->fingerprint,
				    .cpu = v->cpu,
				    .command_line = v->command_line,
				    .image_key = v->image_key,
				    .image_key_id = v->image_key_id,
				    .qemu_version = v->qemu_version,
				    .vsock = v->kind.backend,
				    .disk = &v->disk,
				    .begun_ns = v->begun_ns,
				    .announced = v->state == POOL_VM_READY};

	/* The channel's other descriptor goes: one reader from here on. */
	chan_free(v->streams);
	v->streams = NULL;
	v->launch = v->gate = NULL;
	v->gate_fd = -1;
	session_take_machine(s, &m);
	v->id[0] = '\0'; /* what it has is the session's */
	release(v);
}

/** pool_vm_tick() - Its deadlines */
void pool_vm_tick(struct pool_vm *v, uint64_t now_ns)
{
	const struct config_pool *c = &v->engine->config->pool;

	if (v->state == POOL_VM_READY) {
		if (pool_is_stale(now_ns - v->begun_ns, c->template_max_age_s,
				  0, 0))
			pool_vm_end(v, ERR_OK, "it waited for too long");
		return;
	}
	if (now_ns < v->deadline_ns)
		return;
	if (v->state != POOL_VM_ENDING) {
		pool_vm_end(v, ERR_TIMEOUT,
			    "the guest did not announce itself in time");
		return;
	}
	log_warn("machine %s did not stop in time", v->id);
	child_kill(v->launch);
	finish(v);
}
