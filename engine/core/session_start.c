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
#include "engine/core/mockvm.h"
#include "engine/core/session.h"
#include "engine/core/tunnel.h"

static void on_launch_message_exited(struct session *s, struct span payload)
{
	struct msg_vm_exited m;
	char text[REASON_MAX_BYTES], console[512];
	size_t skip;

	if (msg_vm_exited_get(payload, &m) != ERR_OK)
		return;
	s->vm_exited = true;
	(void)text_escape_line(m.text, text, sizeof(text));
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

static enum err put_fingerprint(struct session *s, struct buf *b,
				const struct msg_vm_fingerprint *m)
{
	enum err err = put_hex(b, "kenaz.vm.fingerprint", m->fingerprint);

	if (err == ERR_OK)
		err = put_hex(b, "kenaz.image.manifest", m->manifest);
	if (err == ERR_OK)
		err = put_hex(b, "kenaz.image.kernel", m->kernel);
	if (err == ERR_OK)
		err = put_hex(b, "kenaz.image.initrd", m->initrd);
	if (err == ERR_OK)
		err = put_hex(b, "kenaz.qemu.digest", m->qemu);
	if (err == ERR_OK)
		err = put_hex(b, "kenaz.qemu.arguments", m->arguments);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.image.name", m->image);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.qemu.version", m->qemu_version);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.vm.accelerator", m->accelerator);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.vm.cpu", m->cpu);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.vm.memory_mib", s->memory_mib);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.vm.vcpus", s->vcpus);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.vm.kernel_command_line",
				     m->kernel_command_line);
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
	if (err == ERR_OK && s->has_fingerprint)
		err = put_hex(&b, "kenaz.vm.fingerprint",
			      s->fingerprint.fingerprint);
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
	s->fingerprint = m;
	s->has_fingerprint = true;
	(void)text_escape_line(m.cpu, s->cpu, sizeof(s->cpu));
	(void)text_escape_line(m.kernel_command_line, s->command_line,
			       sizeof(s->command_line));
	(void)text_escape_line(m.qemu_version, s->qemu_version,
			       sizeof(s->qemu_version));
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_fingerprint(s, &b, &m);
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

static enum err on_launch(struct child *c, void *context,
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
	if (m->type == MSG_VM_STAGE) {
		err = msg_vm_stage_get(m->payload, &stage);
		if (err != ERR_OK)
			return err;
		if (stage.qemu_pid)
			s->qemu_pid = stage.qemu_pid;
		session_stage(s, vm_stage_name((enum vm_stage)stage.stage),
			      stage.at_ns);
		return ERR_OK;
	}
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
				    err_from_wire(connected.error), fd);
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

static void on_launch_gone(struct child *c, void *context, const char *why)
{
	struct session *s = context;

	child_end(c);
	s->launch = NULL;
	if (s->state == SESSION_STOPPING)
		session_finish(s);
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

static enum err start_gate(struct session *s, int channel_fd)
{
	struct msg_gate_start m = {
		.session = span_text(s->id),
		.requests_max = SESSION_REQUESTS_MAX,
		.scripted = engine_scripted_answers(s->engine) ? 1 : 0};
	enum err err = child_start(s->engine, ROLE_GATE, "", NULL, 0, &s->gate);

	if (err != ERR_OK) {
		close(channel_fd);
		return err;
	}
	s->gate->context = s;
	s->gate->on_message = session_on_gate;
	s->gate->on_gone = session_on_gate_gone;
	return chan_send_gate_start(s->gate->chan, &m, &channel_fd, 1);
}

static enum err start_launch(struct session *s, int channel_fd)
{
	struct msg_launch_start m = {.session = span_text(s->id),
				     .image = span_text(s->image),
				     .memory_mib = s->memory_mib,
				     .vcpus = s->vcpus,
				     .accelerator = span_text(s->accelerator),
				     .guest_cid = 3};
	int fds[2] = {-1, channel_fd};
	enum err err = accel_open_image(s->engine, s->image, &fds[0]);

	if (err == ERR_OK)
		err = child_start(s->engine, ROLE_LAUNCH, "", NULL, 0,
				  &s->launch);
	if (err != ERR_OK) {
		if (fds[0] >= 0)
			close(fds[0]);
		close(channel_fd);
		return err;
	}
	s->launch->context = s;
	s->launch->on_message = on_launch;
	s->launch->on_gone = on_launch_gone;
	return chan_send_launch_start(s->launch->chan, &m, fds, 2);
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
	start_real_vm(s);
}

/** session_start_vm() - Policy has allowed it: start its processes */
void session_start_vm(struct session *s)
{
	s->deadline_ns = engine_now_ns() + SESSION_BOOT_MAX_NS;
	if (s->engine->dev_mock_vm)
		start_mock_vm(s);
	else
		accel_decide(s->engine, s->image, on_accelerator, s);
}
