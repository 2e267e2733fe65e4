/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - the control stream to the guest: hello, orders, events
 *
 * Runs in: kenaz-gate.
 * Trusts:  core for what is sent; nothing that comes back.
 * Never:   keeps the entropy after the hello was written.
 *
 * States: no stream -> hello sent, receipt awaited -> ready -> lost. Before
 * ready a failure is guest_ready with an error, afterwards guest_lost.
 */
#include "engine/gate/control.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/log.h"
#include "engine/gate/guest_line.h"
#include "engine/gate/receipt.h"
#include "engine/gate/stream.h"

enum control_state { NO_STREAM, GREETED, READY, LOST };

struct control {
	uv_loop_t *loop;
	struct chan *core;
	struct stream *stream;
	enum control_state state;
	uint64_t greeted_ns, second_ns;
	unsigned events;
	uint8_t nonce[GUEST_NONCE_BYTES], receipt[DIGEST_BYTES];
};

static void lose(struct control *c, enum err error, const char *why)
{
	struct msg_guest_ready failed = {.error = error,
					 .text = span_text(why)};
	struct msg_guest_lost lost = {.text = span_text(why)};
	enum err e;

	stream_free(c->stream);
	c->stream = NULL;
	if (c->state == READY)
		e = chan_send_guest_lost(c->core, &lost, NULL, 0);
	else
		e = chan_send_guest_ready(c->core, &failed, NULL, 0);
	c->state = LOST;
	if (e != ERR_OK)
		log_error("core was not told that the guest is lost");
}

static enum err take_receipt(struct control *c, struct span line)
{
	struct msg_guest_ready m = {.error = ERR_OK};
	struct guest_facts facts;
	const char *why;
	enum err e = guest_line_check(line, span_of(c->nonce, sizeof(c->nonce)),
				      c->receipt, &facts, &why);

	if (e != ERR_OK) {
		lose(c, e, why);
		return e;
	}
	c->state = READY;
	memcpy(m.receipt, c->receipt, sizeof(m.receipt));
	m.guestd_version = span_text(facts.guestd);
	m.kernel = span_text(facts.kernel);
	return chan_send_guest_ready(c->core, &m, NULL, 0);
}

static enum err take_event(struct control *c, struct span line)
{
	struct msg_guest_event m;
	struct guest_event ev;
	uint64_t now_ns = uv_hrtime();
	enum err e = guest_line_event(line, &ev);

	if (now_ns - c->second_ns > UINT64_C(1000000000)) {
		c->second_ns = now_ns;
		c->events = 0;
	}
	if (e != ERR_OK || ++c->events > CONTROL_EVENTS_PER_SECOND) {
		lose(c, e == ERR_OK ? ERR_LIMIT : e,
		     e == ERR_OK ? "the guest sends too many events"
				 : "the guest sent a malformed event");
		return e == ERR_OK ? ERR_LIMIT : e;
	}
	m = (struct msg_guest_event){
		.event = span_text(ev.event),
		.name = span_text(ev.name),
		.code = ev.code,
		.signalled = ev.signalled,
	};
	return chan_send_guest_event(c->core, &m, NULL, 0);
}

static void on_event(struct stream *s)
{
	struct control *c = s->owner;
	struct span in = buf_span(&s->in);
	size_t used = 0;
	enum err e = ERR_OK;

	while (e == ERR_OK && used < in.len_bytes) {
		const uint8_t *at = in.data + used;
		const uint8_t *end = memchr(at, '\n', in.len_bytes - used);
		struct span line;

		if (!end)
			break;
		line = span_of(at, (size_t)(end - at));
		used += line.len_bytes + 1;
		e = c->state == GREETED ? take_receipt(c, line)
					: take_event(c, line);
	}
	/* A lost stream is gone already. */
	if (!c->stream)
		return;
	buf_consume(&s->in, used);
	if (s->in.len_bytes == s->in.max_bytes)
		lose(c, ERR_LIMIT, "the guest sent a line over 4 KiB");
	else if (s->status != ERR_OK)
		lose(c, ERR_CLOSED, "the guest closed its control stream");
	else
		stream_update(s);
}

static uint64_t wall_us(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_REALTIME, &t) != 0 || t.tv_sec < 0)
		return 1;
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/**
 * control_hello() - Greet the guest on a new stream
 * @c:	Control
 * @cm:	guest_hello_begin; its descriptor is taken
 *
 * Return: ERR_OK also when the guest is lost at once, core is told then;
 *	   ERR_STATE when there is a stream already; what the codec returns.
 */
enum err control_hello(struct control *c, struct chan_message *cm)
{
	struct msg_guest_hello_begin m;
	struct buf line;
	uint64_t wall = wall_us();
	enum err e = msg_guest_hello_begin_get(cm->payload, &m);

	if (e != ERR_OK)
		return e;
	if (c->stream || c->state == READY)
		return ERR_STATE;
	c->state = GREETED;
	c->greeted_ns = uv_hrtime();
	buf_init_secret(&line, GUEST_HELLO_MAX_BYTES);
	e = guest_line_hello(&line, &m, wall);
	if (e == ERR_OK) {
		memcpy(c->nonce, m.nonce.data, sizeof(c->nonce));
		receipt_make(m.nonce, m.entropy, wall, c->receipt);
		e = stream_new(c->loop, cm->fds[0], GUEST_ANSWER_MAX_BYTES,
			       CONTROL_OUT_MAX_BYTES, on_event, c, &c->stream);
		cm->fds[0] = -1;
	}
	if (e == ERR_OK) {
		c->stream->out.secret = true;
		e = stream_write(c->stream, buf_span(&line));
	}
	buf_fini(&line);
	if (e != ERR_OK)
		lose(c, e, "the hello cannot be sent to the guest");
	return ERR_OK;
}

/**
 * control_order() - Pass a line of core on to the guest
 * @c:	Control
 * @cm:	guest_control
 *
 * Return: ERR_OK, also when the guest is lost; what the codec returns.
 */
enum err control_order(struct control *c, struct chan_message *cm)
{
	struct msg_guest_control m;
	enum err e = msg_guest_control_get(cm->payload, &m);

	if (e != ERR_OK || !c->stream)
		return e;
	if (m.line.len_bytes && memchr(m.line.data, '\n', m.line.len_bytes - 1))
		return ERR_FORMAT;
	e = stream_write(c->stream, m.line);
	if (e == ERR_OK &&
	    (!m.line.len_bytes || m.line.data[m.line.len_bytes - 1] != '\n'))
		e = stream_write(c->stream, span_text("\n"));
	if (e != ERR_OK)
		lose(c, e, "the guest does not read its control stream");
	return ERR_OK;
}

/** control_tick() - Give up on a guest that does not answer */
void control_tick(struct control *c, uint64_t now_ns)
{
	if (c->state == GREETED && now_ns > c->greeted_ns &&
	    now_ns - c->greeted_ns > CONTROL_RECEIPT_MAX_NS)
		lose(c, ERR_TIMEOUT, "the guest did not answer the hello");
}

/** control_set_core() - Speak to another core; borrowed */
void control_set_core(struct control *c, struct chan *core)
{
	c->core = core;
}

/** control_pause() - Leave what the guest says in its stream, or read on */
void control_pause(struct control *c, bool pause)
{
	if (!c->stream)
		return;
	c->stream->paused = pause;
	stream_update(c->stream);
}

/** control_is_ready() - Whether the guest answered hello and is not lost */
bool control_is_ready(const struct control *c)
{
	return c->state == READY;
}

/** control_new() - Prepare for a control stream */
enum err control_new(uv_loop_t *loop, struct chan *core,
		     struct control **ret_control)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c)
		return ERR_MEMORY;
	c->loop = loop;
	c->core = core;
	*ret_control = c;
	return ERR_OK;
}
