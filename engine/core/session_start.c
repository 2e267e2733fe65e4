/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_start.c - a session's launcher, from its fingerprint to its end
 *
 * Runs in: kenazd.
 * Trusts:  the launcher that core started for the session.
 * Never:   lets QEMU be spawned before vm.start is durable.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/core/accel.h"
#include "engine/core/control.h"
#include "engine/core/infer.h"
#include "engine/core/keeping.h"
#include "engine/core/limits.h"
#include "engine/core/mockvm.h"
#include "engine/core/pool.h"
#include "engine/core/session.h"
#include "engine/core/session_disk.h"
#include "engine/core/session_fingerprint.h"
#include "engine/core/tunnel.h"

static void start_real_vm(struct session *s);

/* Nothing of it is in the log yet: the session may begin as if it were new. */
static void start_cold_instead(struct session *s, const char *reason)
{
	log_warn("session %s boots cold, its template is of no use: %s", s->id,
		 reason);
	pool_clone_failed(s, reason);
	child_end(s->launch);
	child_end(s->gate);
	s->launch = s->gate = NULL;
	s->way = POOL_COLD;
	s->vm_age_ns = 0;
	start_real_vm(s);
}

/* No machine came of it: the launcher had something against the image. */
static void note_refused(struct session *s, enum err error, const char *text)
{
	struct buf b;
	enum err err;

	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.image.name", span_text(s->image));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.reason", span_text(text));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "error.type",
				     span_text(err_name(error)));
	if (err == ERR_OK)
		session_note(s, "image.refused", buf_span(&b));
	buf_fini(&b);
}

static bool refuses_image(enum err error)
{
	return error == ERR_INTEGRITY || error == ERR_PERMISSION ||
	       error == ERR_FORMAT || error == ERR_VERSION ||
	       error == ERR_NOT_FOUND || error == ERR_SHORT;
}

static void on_launch_message_exited(struct session *s, struct span payload)
{
	struct msg_vm_exited m;
	char text[REASON_MAX_BYTES], console[512];
	size_t skip;

	if (msg_vm_exited_get(payload, &m) != ERR_OK)
		return;
	(void)text_escape_line(m.text, text, sizeof(text));
	if (s->way == POOL_TEMPLATE && s->state == SESSION_CREATING) {
		start_cold_instead(s, text);
		return;
	}
	s->vm_exited = true;
	if (s->way == POOL_TEMPLATE && s->state == SESSION_BOOTING)
		pool_clone_failed(s, text);
	if (s->state == SESSION_CREATING &&
	    refuses_image(err_from_wire(m.error)))
		note_refused(s, err_from_wire(m.error), text);
	if (s->state == SESSION_STOPPING) {
		session_finish(s);
		return;
	}
	skip = m.console.len_bytes > 300 ? m.console.len_bytes - 300 : 0;
	(void)text_escape_line(span_of(m.console.data + skip,
				       m.console.len_bytes - skip),
			       console, sizeof(console));
	if (console[0])
		text_append(text, sizeof(text),
			    "; the console's last words: %s", console);
	limits_explain(s, text, sizeof(text));
	session_end(s, m.error == ERR_OK ? ERR_CLOSED : err_from_wire(m.error),
		    text[0] ? text : "the virtual machine ended");
	session_finish(s);
}

static enum err spawn_vm(void *context)
{
	struct session *s = context;

	return chan_send_vm_spawn(s->launch->chan, &(struct msg_vm_spawn){0},
				  NULL, 0);
}

static void on_vm_start_durable(void *context, struct audit_outcome *o)
{
	struct session *s = context;

	if (s->state != SESSION_CREATING && s->state != SESSION_BOOTING)
		return;
	if (o->error != ERR_OK) {
		session_end(s, o->error, o->text);
		return;
	}
	if (s->launch && spawn_vm(s) != ERR_OK)
		session_end(s, ERR_CLOSED, "the launcher was lost");
}

static void on_start_durable(void *context, struct audit_outcome *o)
{
	struct session *s = context;

	if (o->error != ERR_OK) {
		session_end(s, o->error, o->text);
		return;
	}
	s->start_durable = true;
	session_announced(s);
}

static enum err put_hex(struct buf *b, const char *key, const uint8_t *digest)
{
	char text[2 * DIGEST_BYTES + 1];

	text_hex(digest, DIGEST_BYTES, text);
	return attrs_put_text(b, key, span_text(text));
}

/**
 * vm_put_start() - The attributes of vm.start
 * @b:		Receives them
 * @wish:	What was asked for; image and accelerator are launch's to say
 * @m:		Launch's fingerprint
 */
enum err vm_put_start(struct buf *b, const struct vm_wish *wish,
		      const struct msg_vm_fingerprint *m)
{
	char trust[32];
	enum err err =
		session_fingerprint_put_vm(m, wish->memory_mib, wish->vcpus, b);

	(void)snprintf(trust, sizeof(trust), "uid:%u", (unsigned)wish->trust);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.vm.id", span_text(wish->id));
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.vm.purpose",
				     span_text(wish->purpose));
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.vm.trust_domain",
				     span_text(trust));
	return err;
}

/* The digests of what runs, and the one over all of it and the session. */
static enum err put_identity(struct session *s, struct buf *b)
{
	const struct session_identity id = {
		.vm = s->has_fingerprint ? s->fingerprint.fingerprint : NULL,
		.session = s->id,
		.user = s->user,
		.policy = audit_policy_digest(s->engine),
		.nonce = s->nonce,
	};
	enum err err = session_fingerprint(&id, s->identity);

	if (err == ERR_OK)
		err = put_hex(b, "kenaz.session.fingerprint", s->identity);
	if (err == ERR_OK && s->has_fingerprint)
		err = put_hex(b, "kenaz.vm.fingerprint",
			      s->fingerprint.fingerprint);
	if (err == ERR_OK && s->has_fingerprint)
		err = put_hex(b, "kenaz.image.manifest",
			      s->fingerprint.manifest);
	return err;
}

/* session.start: what runs, for whom, under which policy, with which nonce */
static enum err write_start(struct session *s)
{
	struct audit_event event = {.kind = "session.start",
				    .session = s->id,
				    .actor = s->actor,
				    .payload_fd = -1};
	struct buf b;
	enum err err;

	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.user", span_text(s->user));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.image.name",
				     span_text(s->image));
	if (err == ERR_OK)
		err = put_hex(&b, "kenaz.session.nonce", s->nonce);
	if (err == ERR_OK)
		err = put_identity(s, &b);
	if (err == ERR_OK && s->vm[0])
		err = attrs_put_text(&b, "kenaz.vm.id", span_text(s->vm));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.session.start",
				     span_text(pool_way_text(s->way)));
	if (err == ERR_OK)
		err = attrs_put_bool(&b, "kenaz.isolation", !s->no_isolation);
	if (err == ERR_OK && s->no_isolation)
		err = attrs_put_text(&b, "kenaz.warning",
				     span_text("no isolation: guestd runs as a "
					       "host process"));
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, on_start_durable, s);
	if (err == ERR_OK)
		s->start_asked = true;
	if (err == ERR_OK)
		keeping_begin(s);
	buf_fini(&b);
	return err;
}

static void take_fingerprint(struct session *s, struct span payload)
{
	struct audit_event event = {.kind = "vm.start",
				    .session = s->id,
				    .actor = s->actor,
				    .payload_fd = -1};
	struct msg_vm_fingerprint m;
	struct buf b;
	enum err err = msg_vm_fingerprint_get(payload, &m);

	if (err != ERR_OK || s->has_fingerprint) {
		session_end(s, ERR_FORMAT, "the launcher sent a bad message");
		return;
	}
	/* It is ending: a start that is written now would have no end. */
	if (s->state != SESSION_CREATING)
		return;
	if (s->way == POOL_TEMPLATE && !pool_clone_fits(s, &m)) {
		start_cold_instead(s, "it does not fit its image or QEMU");
		return;
	}
	s->fingerprint = m;
	s->has_fingerprint = true;
	(void)text_escape_line(m.cpu, s->cpu, sizeof(s->cpu));
	(void)text_escape_line(m.image_key, s->image_key, sizeof(s->image_key));
	(void)text_escape_line(m.image_key_id, s->image_key_id,
			       sizeof(s->image_key_id));
	(void)text_escape_line(m.kernel_command_line, s->command_line,
			       sizeof(s->command_line));
	(void)text_escape_line(m.qemu_version, s->qemu_version,
			       sizeof(s->qemu_version));
	(void)text_escape_line(m.vsock, s->vsock, sizeof(s->vsock));
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = vm_put_start(&b,
			   &(struct vm_wish){.id = s->vm,
					     .purpose = "session",
					     .trust = s->uid,
					     .memory_mib = s->memory_mib,
					     .vcpus = s->vcpus},
			   &m);
	if (err == ERR_OK)
		err = session_disk_attrs(&s->disk, &b);
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, on_vm_start_durable, s);
	if (err == ERR_OK)
		err = write_start(s);
	buf_fini(&b);
	if (err != ERR_OK)
		session_end(
			s, err,
			err == ERR_SEALED
				? audit_client_state(s->engine)->sealed_reason
				: err_text(err));
	else if (s->state == SESSION_CREATING)
		session_set_state(s, SESSION_BOOTING);
}

/** session_on_launch() - Messages of a session's launcher */
enum err session_on_launch(struct child *c, void *context,
			   struct chan_message *m)
{
	struct session *s = context;
	struct msg_stream_connected connected;
	struct msg_vm_stage stage;
	enum err err;
	int fd;

	(void)c;
	if (m->type == MSG_VM_FINGERPRINT) {
		take_fingerprint(s, m->payload);
		return ERR_OK;
	}
	if (m->type == MSG_VM_DISK)
		return s->has_fingerprint
			       ? ERR_STATE
			       : session_disk_take(&s->disk, m->payload);
	if (m->type == MSG_VM_DISK_FAILED)
		return session_disk_failed(s, m->payload);
	if (m->type == MSG_VM_STAGE) {
		err = msg_vm_stage_get(m->payload, &stage);
		if (err != ERR_OK)
			return err;
		if (stage.qemu_pid)
			s->qemu_pid = stage.qemu_pid;
		session_stage(s, vm_stage_name((enum vm_stage)stage.stage),
			      stage.at_ns);
		/* Its guest was waiting when the template was made: that it
		 * reached the host says as much as the announcement does. */
		if (stage.stage == VM_STAGE_CONNECTED &&
		    s->way == POOL_TEMPLATE && s->state == SESSION_BOOTING) {
			s->announced = true;
			session_announced(s);
		}
		return ERR_OK;
	}
	if (m->type == MSG_VM_LIMIT)
		return limits_on_message(s, m->payload);
	if (m->type == MSG_VM_EXITED) {
		on_launch_message_exited(s, m->payload);
		return ERR_OK;
	}
	if (m->type == MSG_STREAM_CONNECTED) {
		err = msg_stream_connected_get(m->payload, &connected);
		if (err != ERR_OK)
			return err;
		fd = m->n_fds ? m->fds[0] : -1;
		if (m->n_fds)
			m->fds[0] = -1;
		session_stream_done(s, connected.request,
				    err_from_wire(connected.error), fd,
				    connected.host_port);
		return ERR_OK;
	}
	if (m->type == MSG_STREAM_EGRESS) {
		fd = m->fds[0];
		m->fds[0] = -1;
		tunnel_new(s, fd);
		return ERR_OK;
	}
	return ERR_STATE;
}

/** session_on_launch_gone() - The launcher ended: so does its session */
void session_on_launch_gone(struct child *c, void *context, const char *why)
{
	struct session *s = context;

	child_end(c);
	s->launch = NULL;
	if (s->state == SESSION_STOPPING)
		session_finish(s);
	else if (s->way == POOL_TEMPLATE && s->state == SESSION_CREATING)
		start_cold_instead(s, why);
	else
		session_end(s, ERR_CLOSED, why);
}

/** session_on_gate_gone() - The gate ended: so does its session */
void session_on_gate_gone(struct child *c, void *context, const char *why)
{
	struct session *s = context;

	child_end(c);
	s->gate = NULL;
	if (s->state != SESSION_STOPPING)
		session_end(s, ERR_CLOSED, why);
}

/* From here on the gate serves this session's guest. */
static enum err open_gate(struct session *s, int channel_fd)
{
	struct msg_gate_start m = {
		.session = span_text(s->id),
		.requests_max = SESSION_REQUESTS_MAX,
		.scripted = engine_scripted_answers(s->engine) ? 1 : 0};

	s->gate->context = s;
	s->gate->on_message = session_on_gate;
	s->gate->on_gone = session_on_gate_gone;
	return chan_send_gate_start(s->gate->chan, &m, &channel_fd, 1);
}

static enum err start_gate(struct session *s, int channel_fd)
{
	enum err err = child_start(s->engine, ROLE_GATE, "", NULL, 0, &s->gate);

	if (err != ERR_OK) {
		close(channel_fd);
		return err;
	}
	return open_gate(s, channel_fd);
}

/**
 * vm_start_launch() - Have a launcher prepare a machine
 * @e:			Engine
 * @wish:		What kind of machine
 * @channel_fd:		Launch's end of its channel to the gate, owned
 * @ret_launch:		The launcher, also when telling it failed; the caller
 *			sets its handlers at once
 *
 * Return: ERR_OK; ERR_NOT_FOUND without such an image; as child_start().
 */
enum err vm_start_launch(struct engine *e, const struct vm_wish *wish,
			 int channel_fd, struct child **ret_launch)
{
	struct msg_launch_start m = {.session = span_text(wish->id),
				     .image = span_text(wish->image),
				     .memory_mib = wish->memory_mib,
				     .vcpus = wish->vcpus,
				     .accelerator =
					     span_text(wish->accelerator),
				     .guest_cid = 3,
				     .start_mode = (uint8_t)wish->start};
	bool kernel = e->config->engine.vsock == CONFIG_VSOCK_KERNEL;
	bool restores = wish->start == VM_START_RESTORE;
	int fds[4] = {-1, channel_fd, restores ? wish->memory_fd : -1,
		      restores ? wish->state_fd : -1};
	enum err err = accel_open_image(e, wish->image, &fds[0]);
	size_t i;

	if (err == ERR_OK)
		err = child_start(e, ROLE_LAUNCH,
				  kernel ? "--kernel-vsock" : "", NULL, 0,
				  ret_launch);
	if (err != ERR_OK) {
		for (i = 0; i < ARRAY_SIZE(fds); i++)
			if (fds[i] >= 0)
				close(fds[i]);
		return err;
	}
	err = limits_send(e, *ret_launch, wish);
	if (err != ERR_OK) {
		for (i = 0; i < ARRAY_SIZE(fds); i++)
			if (fds[i] >= 0)
				close(fds[i]);
		return err;
	}
	if (restores)
		memcpy(m.template, wish->template, DIGEST_BYTES);
	else
		err = session_disk_give(e, (*ret_launch)->chan);
	if (err != ERR_OK) {
		close(fds[0]);
		close(channel_fd);
		return err;
	}
	return chan_send_launch_start((*ret_launch)->chan, &m, fds,
				      restores ? 4 : 2);
}

static void own_launch(struct session *s)
{
	if (!s->launch)
		return;
	s->launch->context = s;
	s->launch->on_message = session_on_launch;
	s->launch->on_gone = session_on_launch_gone;
}

static enum err start_launch(struct session *s, int channel_fd)
{
	struct vm_wish wish = {.id = s->vm,
			       .image = s->image,
			       .memory_mib = s->memory_mib,
			       .vcpus = s->vcpus,
			       .accelerator = s->accelerator};
	enum err err;

	vm_make_id(s->vm);
	if (s->way == POOL_TEMPLATE && !pool_wants_clone(s, &wish))
		s->way = POOL_COLD;
	err = vm_start_launch(s->engine, &wish, channel_fd, &s->launch);
	own_launch(s);
	return err;
}

/**
 * session_take_machine() - Go on with a machine that runs already
 * @s:	Session in state creating
 * @m:	The machine; vm.start is in the log
 *
 * From here on it is as if the session had started it: what its guest still
 * has to say comes the same way.
 */
void session_take_machine(struct session *s, const struct session_machine *m)
{
	enum err err;

	(void)snprintf(s->vm, sizeof(s->vm), "%s", m->id);
	(void)snprintf(s->cpu, sizeof(s->cpu), "%s", m->cpu);
	(void)snprintf(s->command_line, sizeof(s->command_line), "%s",
		       m->command_line);
	(void)snprintf(s->image_key, sizeof(s->image_key), "%s", m->image_key);
	(void)snprintf(s->image_key_id, sizeof(s->image_key_id), "%s",
		       m->image_key_id);
	(void)snprintf(s->qemu_version, sizeof(s->qemu_version), "%s",
		       m->qemu_version);
	(void)snprintf(s->vsock, sizeof(s->vsock), "%s", m->vsock);
	s->disk = *m->disk;
	s->fingerprint = *m->fingerprint;
	s->has_fingerprint = true;
	s->qemu_pid = m->qemu_pid;
	s->vm_age_ns = engine_now_ns() - m->begun_ns;
	s->launch = m->launch;
	s->gate = m->gate;
	s->announced = m->announced;
	own_launch(s);
	session_stage(s, "claimed", engine_now_ns());
	session_set_state(s, SESSION_BOOTING);
	err = open_gate(s, m->gate_fd);
	if (err == ERR_OK)
		err = write_start(s);
	if (err != ERR_OK)
		session_end(
			s, err,
			err == ERR_SEALED
				? audit_client_state(s->engine)->sealed_reason
				: err_text(err));
}

static void start_real_vm(struct session *s)
{
	int pair[2];
	char text[256];
	enum err err = chan_pair(pair);

	if (err == ERR_OK) {
		err = start_gate(s, pair[1]);
		if (err == ERR_OK)
			err = start_launch(s, pair[0]);
		else
			close(pair[0]);
	}
	if (err == ERR_OK)
		return;
	(void)snprintf(text, sizeof(text),
		       err == ERR_NOT_FOUND
			       ? "image %s was not found under %s; build it "
				 "with `make image` or see `kenaz doctor`"
			       : "session %s cannot start (%s)",
		       err == ERR_NOT_FOUND ? s->image : s->id,
		       err == ERR_NOT_FOUND ? s->engine->image_dir
					    : err_text(err));
	session_end(s, err, text);
}

static void start_mock_vm(struct session *s)
{
	int pair[2];
	enum err err = chan_pair(pair);

	(void)snprintf(s->accelerator, sizeof(s->accelerator), "none");
	if (err == ERR_OK) {
		err = start_gate(s, pair[1]);
		if (err == ERR_OK)
			err = mockvm_new(s, pair[0], &s->mock);
		else
			close(pair[0]);
	}
	if (err == ERR_OK) {
		session_set_state(s, SESSION_BOOTING);
		err = write_start(s);
	}
	if (err != ERR_OK)
		session_end(s, err, "the mock VM cannot start");
}

static void on_accelerator(void *context)
{
	struct session *s = context;

	if (s->state != SESSION_CREATING)
		return;
	(void)snprintf(s->accelerator, sizeof(s->accelerator), "%s",
		       s->engine->accelerator.name);
	session_stage(s, "accelerator known", engine_now_ns());
	if (!pool_start(s))
		start_real_vm(s);
}

/** session_start_vm() - Policy has allowed it: start its processes */
void session_start_vm(struct session *s)
{
	s->deadline_ns = engine_now_ns() +
			 s->engine->config->limits.boot_s * 1000000000ull;
	if (s->engine->dev_mock_vm)
		start_mock_vm(s);
	else
		accel_decide(s->engine, s->image, on_accelerator, s);
}
