/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_guest.c - a session's dealings with its gate and its guest
 *
 * Runs in: kenazd.
 * Trusts:  the gate to have parsed what the guest sent; its fields stay
 *	    guest-claimed or gate-reported.
 * Never:   lets a session become ready without the receipt of its own nonce.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/log.h"
#include "engine/core/broker_client.h"
#include "engine/core/control.h"
#include "engine/core/infer.h"
#include "engine/core/keeping.h"
#include "engine/core/mockvm.h"
#include "engine/core/session.h"
#include "engine/core/terminal.h"
#include "engine/core/vsock_door.h"

#define ENTROPY_BYTES 64u

/**
 * session_stream() - Ask for a stream to the guest's port 1024
 * @s:		Session
 * @done:	Called once with the stream, owned by it, or an error
 * @context:	For @done
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_CLOSED.
 */
enum err session_stream(struct session *s, stream_done_fn done, void *context)
{
	return session_stream_to(s, PORT_GUEST_HOST, done, context);
}

/**
 * session_stream_to() - Ask for a stream to a port of the guest
 * @s:		Session
 * @port:	Port
 * @done:	Called once with the stream, owned by it, or an error
 * @context:	For @done
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_CLOSED; ERR_UNSUPPORTED in the mock, which
 *	   has one port.
 */
enum err session_stream_to(struct session *s, uint32_t port,
			   stream_done_fn done, void *context)
{
	struct msg_stream_connect m = {.request =
					       engine_next_request(s->engine),
				       .port = port};
	size_t i;
	int fd;
	enum err err;

	if (s->mock) {
		if (port != PORT_GUEST_HOST)
			return ERR_UNSUPPORTED;
		err = mockvm_connect(s->mock, &fd);
		if (err == ERR_OK)
			done(context, ERR_OK, fd, 0);
		return err;
	}
	if (!s->launch)
		return ERR_CLOSED;
	for (i = 0; i < SESSION_STREAMS_MAX; i++)
		if (!s->streams[i].done)
			break;
	if (i == SESSION_STREAMS_MAX)
		return ERR_LIMIT;
	err = chan_send_stream_connect(s->launch->chan, &m, NULL, 0);
	if (err == ERR_OK)
		s->streams[i] = (struct stream_pending){.request = m.request,
							.done = done,
							.context = context};
	return err;
}

/** session_stream_done() - Launch answered; @fd is owned from here on */
void session_stream_done(struct session *s, uint64_t request, enum err error,
			 int fd, uint32_t host_port)
{
	size_t i;

	for (i = 0; i < SESSION_STREAMS_MAX; i++) {
		struct stream_pending p = s->streams[i];

		if (!p.done || p.request != request)
			continue;
		s->streams[i] = (struct stream_pending){0};
		if (error == ERR_OK && fd < 0)
			error = ERR_FORMAT;
		p.done(p.context, error, fd, host_port);
		return;
	}
	if (fd >= 0)
		close(fd);
}

/** session_stream_forget() - Drop the callbacks of a context that goes away */
void session_stream_forget(struct session *s, const void *context)
{
	size_t i;

	for (i = 0; i < SESSION_STREAMS_MAX; i++)
		if (s->streams[i].context == context)
			s->streams[i] = (struct stream_pending){0};
}

static void on_control_stream(void *context, enum err error, int fd,
			      uint32_t host_port)
{
	struct session *s = context;
	uint8_t entropy[ENTROPY_BYTES];
	struct msg_guest_hello_begin m = {.nonce = span_of(s->nonce,
							   sizeof(s->nonce)),
					  .entropy = span_of(entropy,
							     sizeof(entropy)),
					  .environment = span_text("{}")};
	char hostname[32];

	(void)host_port;
	if (s->state != SESSION_BOOTING || error != ERR_OK || !s->gate) {
		if (fd >= 0)
			close(fd);
		if (s->state == SESSION_BOOTING)
			session_end(s, error != ERR_OK ? error : ERR_CLOSED,
				    "the guest does not accept connections");
		return;
	}
	randombytes_buf(entropy, sizeof(entropy));
	(void)snprintf(hostname, sizeof(hostname), "kenaz-%s", s->id);
	m.hostname = span_text(hostname);
	if (chan_send_guest_hello_begin(s->gate->chan, &m, &fd, 1) != ERR_OK)
		session_end(s, ERR_CLOSED, "the gate was lost");
	sodium_memzero(entropy, sizeof(entropy));
}

/** session_announced() - Both the guest called and session.start is durable */
void session_announced(struct session *s)
{
	if (s->state != SESSION_BOOTING || !s->start_durable || !s->announced)
		return;
	if (session_stream(s, on_control_stream, s) != ERR_OK)
		session_end(s, ERR_CLOSED, "no stream to the guest");
}

static void start_main(struct session *s)
{
	struct msg_guest_control m = {.line = span_text(s->main_line)};

	if (!s->main_line || !s->gate)
		return;
	if (chan_send_guest_control(s->gate->chan, &m, NULL, 0) != ERR_OK)
		session_end(s, ERR_CLOSED, "the gate was lost");
}

static void on_ready_durable(void *context, struct audit_outcome *o)
{
	struct session *s = context;

	if (s->state != SESSION_BOOTING)
		return;
	if (o->error != ERR_OK) {
		session_end(s, o->error, o->text);
		return;
	}
	s->ready_durable = true;
	s->state = SESSION_READY;
	keeping_ready(s);
	session_stage(s, "ready", engine_now_ns());
	control_session_changed(s->engine, s);
	start_main(s);
	vsock_door_open(s);
	/* With a kept program, ready means that it can be attached to. */
	s->main_pending = s->main_line != NULL;
	if (s->watch && !s->main_pending)
		s->watch(s->watch_context, s, NULL);
}

/** session_guest_ready() - The gate checked the receipt of hello */
void session_guest_ready(struct session *s, const struct msg_guest_ready *m)
{
	struct audit_event event = {.kind = "session.ready",
				    .session = s->id,
				    .actor = s->actor,
				    .payload_fd = -1};
	char text[REASON_MAX_BYTES], receipt[2 * DIGEST_BYTES + 1];
	struct buf b;
	size_t i;
	enum err err;

	if (s->state != SESSION_BOOTING)
		return;
	if (m->error != ERR_OK) {
		(void)text_escape_line(m->text, text, sizeof(text));
		session_end(s, err_from_wire(m->error), text);
		return;
	}
	session_stage(s, "hello", engine_now_ns());
	text_hex(m->receipt, DIGEST_BYTES, receipt);
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.receipt", span_text(receipt));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.guest_claimed.guestd_version",
				     m->guestd_version);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.guest_claimed.kernel",
				     m->kernel);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.vm.accelerator",
				     span_text(s->accelerator));
	for (i = 0; err == ERR_OK && i < s->n_stages; i++) {
		char key[64], *c;

		(void)snprintf(key, sizeof(key), "kenaz.stage_ms.%s",
			       s->stages[i].name);
		for (c = key; *c; c++)
			if (*c == ' ')
				*c = '_';
		err = attrs_put_u64(&b, key,
				    (s->stages[i].at_ns - s->created_ns) /
					    1000000u);
	}
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, on_ready_durable, s);
	buf_fini(&b);
	if (err != ERR_OK)
		session_end(s, err, err_text(err));
}

static enum err take_event(struct session *s, struct span payload)
{
	struct msg_guest_event m;
	enum err err = msg_guest_event_get(payload, &m);

	if (err != ERR_OK)
		return err;
	if (!span_is(m.name, "main"))
		return ERR_OK;
	if (span_is(m.event, "started")) {
		s->main_running = true;
	} else if (span_is(m.event, "exited")) {
		s->main_running = false;
		s->main_ended = true;
		s->main_code = m.code;
		s->main_signalled = m.signalled != 0;
	}
	if (s->main_pending) {
		s->main_pending = false;
		if (s->watch && s->state == SESSION_READY)
			s->watch(s->watch_context, s, NULL);
	}
	control_session_changed(s->engine, s);
	return ERR_OK;
}

static enum err take_announced(struct session *s, struct span payload)
{
	struct msg_guest_announced m;
	enum err err = msg_guest_announced_get(payload, &m);

	if (err != ERR_OK)
		return err;
	/* A second announcement is the guest's to make and ours to ignore. */
	if (s->state != SESSION_BOOTING || s->announced)
		return ERR_OK;
	s->announced = true;
	session_stage(s, "guest announced", engine_now_ns());
	session_announced(s);
	return ERR_OK;
}

static enum err take_lost(struct session *s, struct span payload)
{
	struct msg_guest_lost m;
	enum err err = msg_guest_lost_get(payload, &m);

	if (err != ERR_OK)
		return err;
	if (s->state == SESSION_STOPPING || s->lost_deadline_ns)
		return ERR_OK;
	/* Cut: it is only said when launch has nothing better. */
	(void)text_escape_line(m.text, s->lost, sizeof(s->lost));
	s->lost_deadline_ns = engine_now_ns() + SESSION_LOST_NS;
	return ERR_OK;
}

/** session_on_gate() - Messages of a session's gate */
enum err session_on_gate(struct child *c, void *context, struct chan_message *m)
{
	struct session *s = context;
	struct msg_guest_ready ready;
	enum err err;

	(void)c;
	if (m->type == MSG_GUEST_ANNOUNCED)
		return take_announced(s, m->payload);
	if (m->type == MSG_GUEST_READY) {
		err = msg_guest_ready_get(m->payload, &ready);
		if (err == ERR_OK)
			session_guest_ready(s, &ready);
		return err;
	}
	if (m->type == MSG_GUEST_EVENT)
		return take_event(s, m->payload);
	if (m->type == MSG_GUEST_LOST)
		return take_lost(s, m->payload);
	if (m->type == MSG_TERM_CLOSED)
		return terminal_on_closed(s, m->payload);
	if (m->type == MSG_VSOCK_CLOSED)
		return vsock_door_on_closed(s, m->payload);
	return infer_on_message(s, m);
}
