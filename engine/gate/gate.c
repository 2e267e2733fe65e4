/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate.c - one session's gate: channels, guest streams, requests
 *
 * Runs in: kenaz-gate.
 * Trusts:  core; launch to pass streams of this session's guest only.
 * Never:   serves a stream before core started the session.
 */
#include "engine/gate/gate.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/gate/control.h"
#include "engine/gate/guest_line.h"
#include "engine/gate/http.h"
#include "engine/gate/infer.h"
#include "engine/gate/terminal.h"
#include "engine/gate/vsock_join.h"
#include "engine/proto/attrs.h"
#include "engine/proto/keep.h"

#define TICK_MS              1000u
#define TERMINALS_TOLD_BYTES 1024u /* gate_view.terminals */

struct gate {
	uv_loop_t *loop;
	uv_timer_t tick;
	struct chan *core, *launch;
	struct http *http;
	struct infers *infers;
	struct control *control;
	struct terminals *terminals;
	struct vsock_joins *joins;
	unsigned announces;
	struct keep *keep;
	/* Without core, and with a new one until it said resume. */
	bool away;
	uint64_t away_since_ns;
	uint32_t failed, refused;
};

/* --- the guest's requests ----------------------------------------------- */

static void answer_text(struct http_request *r, unsigned status,
			const char *text)
{
	struct buf body, headers;
	enum err e;

	buf_init(&body, 1024);
	buf_init(&headers, 256);
	e = buf_put_text(&body, text);
	if (e == ERR_OK)
		e = attrs_put_text(&headers, "content-type",
				   span_text("application/json"));
	if (e == ERR_OK)
		e = http_answer(r, status, buf_span(&headers), &body);
	if (e != ERR_OK)
		http_break(r);
	buf_fini(&body);
	buf_fini(&headers);
}

static void announce(struct gate *g, struct http_request *r)
{
	struct msg_guest_announced m;
	struct guest_facts facts;

	if (g->announces >= GATE_ANNOUNCES_MAX) {
		infer_refuse(r, 429, "the guest announces itself too often");
		return;
	}
	if (guest_line_announce(buf_span(&r->body), &facts) != ERR_OK) {
		infer_refuse(r, 400, "a malformed announcement");
		return;
	}
	g->announces++;
	m = (struct msg_guest_announced){
		.guestd_version = span_text(facts.guestd),
		.kernel = span_text(facts.kernel),
		.uptime_ns = facts.uptime_ns,
	};
	if (chan_send_guest_announced(g->core, &m, NULL, 0) != ERR_OK) {
		infer_refuse(r, 529, "the engine is overloaded");
		return;
	}
	answer_text(r, 200, "{}\n");
}

/* The client's library tries again by itself. */
static void refuse_away(struct gate *g, struct http_request *r)
{
	g->refused++;
	infer_refuse_later(r, 503, "the engine is being restarted; try again",
			   GATE_RETRY_AFTER_S);
}

static void on_request(void *context, struct http_request *r)
{
	struct gate *g = context;

	if (r->head.refusal.status)
		infer_refuse(r, r->head.refusal.status, r->head.refusal.text);
	else if (r->target.action == HTTP_INFER && g->away)
		refuse_away(g, r);
	else if (r->target.action == HTTP_INFER)
		infer_begin(g->infers, r);
	else if (r->target.action == HTTP_ANNOUNCE)
		announce(g, r);
	else
		answer_text(r, 200, "{\"service\":\"kenaz\"}\n");
}

static void on_drained(void *context, struct http_request *r)
{
	(void)context;
	infer_drained(r);
}

static void on_gone(void *context, struct http_request *r, bool whole)
{
	(void)context;
	(void)whole;
	infer_gone(r);
}

/* --- launch ------------------------------------------------------------- */

static enum err on_launch_message(struct chan *c, void *context,
				  struct chan_message *cm)
{
	struct gate *g = context;
	struct msg_guest_stream m;
	int fd;
	enum err e = msg_guest_stream_get(cm->payload, &m);

	(void)c;
	if (e != ERR_OK)
		return e;
	fd = cm->fds[0];
	cm->fds[0] = -1;
	/* A guest that opens too many connections loses those only. */
	if (http_add(g->http, fd) != ERR_OK)
		log_info("a connection of the guest was refused");
	return ERR_OK;
}

/* The VM's end; core learns it from launch and ends this process. */
static void on_launch_closed(struct chan *c, void *context, enum err reason)
{
	struct gate *g = context;

	log_debug("launch is gone: %s", err_text(reason));
	chan_free(c);
	g->launch = NULL;
}

static const struct chan_handler launch_handler = {
	.on_message = on_launch_message,
	.on_closed = on_launch_closed,
};

/* --- core --------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer)
{
	struct gate *g = timer->data;
	uint64_t now_ns = uv_hrtime();

	http_tick(g->http, now_ns);
	infers_tick(g->infers, now_ns);
	control_tick(g->control, now_ns);
	terminals_tick(g->terminals, now_ns);
}

static enum err start(struct gate *g, struct chan_message *cm)
{
	struct msg_gate_start m;
	int fd;
	enum err e = msg_gate_start_get(cm->payload, &m);

	if (e != ERR_OK)
		return e;
	e = infers_new(g->loop, g->core, m.requests_max, &g->infers);
	if (e == ERR_OK)
		e = control_new(g->loop, g->core, &g->control);
	if (e == ERR_OK)
		e = terminals_new(g->loop, g->core, &g->terminals);
	if (e == ERR_OK)
		e = vsock_joins_new(g->loop, g->core, &g->joins);
	if (e != ERR_OK)
		return e;
	fd = cm->fds[0];
	cm->fds[0] = -1;
	e = chan_new(g->loop, fd, ROLE_GATE, ROLE_LAUNCH, &launch_handler, g,
		     &g->launch);
	if (e != ERR_OK)
		return e;
	chan_set_state(g->launch, S_RUN);
	chan_set_state(g->core, S_RUN);
	return uv_timer_start(&g->tick, on_tick, TICK_MS, TICK_MS) == 0
		       ? ERR_OK
		       : ERR_SYS;
}

/* --- a core that is another one ------------------------------------------- */

static enum err send_view(struct gate *g)
{
	struct msg_gate_view m = {
		.away_ns = uv_hrtime() - g->away_since_ns,
		.guest_ready = control_is_ready(g->control) ? 1 : 0,
		.requests_failed = g->failed,
		.requests_refused = g->refused,
	};
	struct buf open;
	enum err e;

	buf_init(&open, TERMINALS_TOLD_BYTES);
	e = terminals_put(g->terminals, &open);
	m.terminals = buf_span(&open);
	if (e == ERR_OK)
		e = chan_send_gate_view(g->core, &m, NULL, 0);
	buf_fini(&open);
	return e;
}

static void on_adopted(void *context, struct chan *core, uint64_t away_ns)
{
	struct gate *g = context;

	(void)away_ns; /* since the last loss; the view counts from the first */
	chan_free(g->core);
	g->core = core;
	infers_set_core(g->infers, core);
	control_set_core(g->control, core);
	if (send_view(g) != ERR_OK)
		log_error("the new core was not told what is here");
}

static void on_given_up(void *context, const char *why)
{
	(void)context;
	log_info("ending: %s", why);
	_exit(0);
}

static const struct keep_handler keep_handler = {on_adopted, on_given_up};

static enum err resume(struct gate *g)
{
	if (!g->away)
		return ERR_STATE;
	g->away = false;
	/* What ended meanwhile comes behind session.adopted in the log. */
	terminals_set_core(g->terminals, g->core);
	vsock_joins_set_core(g->joins, g->core);
	control_pause(g->control, false);
	return ERR_OK;
}

static enum err on_core_message(struct chan *c, void *context,
				struct chan_message *m)
{
	struct gate *g = context;

	if (keep_takes(m->type))
		return keep_on_message(g->keep, c, m);
	g->core = c;
	if (m->type == MSG_GATE_START)
		return start(g, m);
	if (infers_takes(m->type))
		return infers_on_message(g->infers, m);
	if (m->type == MSG_GUEST_HELLO_BEGIN)
		return control_hello(g->control, m);
	if (m->type == MSG_GUEST_CONTROL)
		return control_order(g->control, m);
	if (m->type == MSG_TERM_ATTACH)
		return terminals_attach(g->terminals, m);
	if (m->type == MSG_RESUME)
		return resume(g);
	if (m->type == MSG_VSOCK_JOIN)
		return vsock_joins_add(g->joins, m);
	return ERR_STATE;
}

/* Without core nothing may go on: end at once, or wait and release nothing. */
static void on_core_closed(struct chan *c, void *context, enum err reason)
{
	struct gate *g = context;

	log_info("core is gone: %s", err_text(reason));
	if (!keep_lost_core(g->keep, c, reason))
		_exit(reason == ERR_CLOSED ? 0 : 1);
	if (c != g->core)
		return;
	terminals_set_core(g->terminals, NULL);
	vsock_joins_set_core(g->joins, NULL);
	/* Lost again before it said resume: still the same gap. */
	if (g->away)
		return;
	g->away = true;
	g->away_since_ns = uv_hrtime();
	g->failed = infers_lost_core(g->infers);
	g->refused = 0;
	control_pause(g->control, true);
}

const struct chan_handler gate_core_handler = {
	.on_message = on_core_message,
	.on_closed = on_core_closed,
};

/**
 * gate_new() - Prepare a session's gate
 * @loop:	Loop
 * @ret_gate:	For the life of the process
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS.
 */
enum err gate_new(uv_loop_t *loop, struct gate **ret_gate)
{
	static const struct http_handler handler = {
		.on_request = on_request,
		.on_drained = on_drained,
		.on_gone = on_gone,
	};
	struct gate *g = calloc(1, sizeof(*g));
	enum err e;

	if (!g)
		return ERR_MEMORY;
	g->loop = loop;
	(void)uv_timer_init(loop, &g->tick);
	g->tick.data = g;
	e = keep_new(loop, ROLE_GATE, &gate_core_handler, &keep_handler, g,
		     &g->keep);
	if (e == ERR_OK)
		e = http_new(loop, infers_forwarded(), &handler, g, &g->http);
	if (e != ERR_OK) {
		free(g->keep);
		free(g);
		return e;
	}
	*ret_gate = g;
	return ERR_OK;
}
