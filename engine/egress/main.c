/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-egress: allowed TCP tunnels of one session
 *
 * Runs in: kenaz-egress, one for each session that asks for the network.
 * Trusts:  core for every decision.
 * Never:   holds a key, looks at what it carries.
 */
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/egress/tunnel.h"
#include "engine/proto/child.h"

#define TUNNELS_CEILING 256u
/* Where core states none. */
#define IDLE_NS  300000000000ull
#define TOTAL_NS 86400000000000ull

struct egress {
	uv_loop_t loop;
	struct chan *core;
	struct tunnel_host host;
	struct tunnel *tunnels;
	unsigned count, max;
};

static struct tunnel *find(const struct egress *g, uint64_t number)
{
	struct tunnel *t = g->tunnels;

	while (t && tunnel_number(t) != number)
		t = tunnel_next(t);
	return t;
}

static void must_send(struct egress *g, enum err e)
{
	if (e != ERR_OK)
		child_fatal(g->core, e,
			    "core cannot be told about a connection: %s",
			    err_text(e));
}

static void on_ask(void *context, const struct msg_egress_ask *m)
{
	struct egress *g = context;

	must_send(g, chan_send_egress_ask(g->core, m, NULL, 0));
}

static void on_resolved(void *context, const struct msg_egress_resolved *m)
{
	struct egress *g = context;

	must_send(g, chan_send_egress_resolved(g->core, m, NULL, 0));
}

static void on_tunnel_closed(void *context, struct tunnel *gone,
			     const struct msg_egress_closed *m)
{
	struct egress *g = context;
	struct tunnel *t = g->tunnels;

	if (t == gone) {
		g->tunnels = tunnel_next(gone);
	} else {
		while (t && tunnel_next(t) != gone)
			t = tunnel_next(t);
		if (t)
			tunnel_set_next(t, tunnel_next(gone));
	}
	g->count--;
	must_send(g, chan_send_egress_closed(g->core, m, NULL, 0));
}

static enum err on_start(struct egress *g, struct chan_message *message)
{
	struct msg_egress_start m;
	enum err e = msg_egress_start_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	g->max = m.tunnels_max < TUNNELS_CEILING ? m.tunnels_max
						 : TUNNELS_CEILING;
	g->host.idle_ns = m.idle_timeout_ns ? m.idle_timeout_ns : IDLE_NS;
	g->host.total_ns = m.total_timeout_ns ? m.total_timeout_ns : TOTAL_NS;
	chan_set_state(g->core, S_RUN);
	return ERR_OK;
}

static enum err on_stream(struct egress *g, struct chan_message *message)
{
	struct msg_egress_stream m;
	struct tunnel *t;
	int fd = message->fds[0];
	enum err e = msg_egress_stream_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	if (find(g, m.tunnel))
		return ERR_EXISTS;
	message->fds[0] = -1;
	e = tunnel_open(&g->host, m.tunnel, fd, &t);
	if (e != ERR_OK) {
		struct msg_egress_closed closed = {
			.tunnel = m.tunnel,
			.error = (int)e,
			.text = span_text("no room for another connection")};

		return chan_send_egress_closed(g->core, &closed, NULL, 0);
	}
	tunnel_set_next(t, g->tunnels);
	g->tunnels = t;
	g->count++;
	if (g->count > g->max)
		tunnel_refuse(t, ERR_LIMIT,
			      "this session may have %u connections at once",
			      g->max);
	return ERR_OK;
}

static enum err on_verdict(struct egress *g, struct chan_message *message)
{
	struct msg_egress_verdict m;
	struct tunnel *t;
	enum err e = msg_egress_verdict_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	/* One that the guest closed meanwhile is gone already. */
	t = find(g, m.tunnel);
	return t ? tunnel_verdict(t, &m) : ERR_OK;
}

static enum err on_connect(struct egress *g, struct chan_message *message)
{
	struct msg_egress_connect m;
	struct tunnel *t;
	enum err e = msg_egress_connect_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	t = find(g, m.tunnel);
	return t ? tunnel_connect(t, &m) : ERR_OK;
}

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *message)
{
	struct egress *g = context;

	(void)c;
	if (message->type == MSG_EGRESS_START)
		return on_start(g, message);
	if (message->type == MSG_EGRESS_STREAM)
		return on_stream(g, message);
	if (message->type == MSG_EGRESS_VERDICT)
		return on_verdict(g, message);
	if (message->type == MSG_EGRESS_CONNECT)
		return on_connect(g, message);
	return ERR_STATE;
}

static void on_core_closed(struct chan *c, void *context, enum err reason)
{
	(void)c;
	(void)context;
	exit(reason == ERR_CLOSED ? 0 : 1);
}

int main(int argc, char **argv)
{
	static const struct chan_handler handler = {on_message, on_core_closed};
	static struct egress g;
	enum err e;

	log_init("kenaz-egress");
	/* Slow name servers must not hold up other names. */
	if (setenv("UV_THREADPOOL_SIZE", "8", 1) != 0 ||
	    uv_loop_init(&g.loop) != 0)
		die("no event loop");
	e = jail_enter(JAIL_EGRESS);
	if (e != ERR_OK)
		die("the jail could not be built: %s", err_text(e));
	g.host = (struct tunnel_host){
		.loop = &g.loop,
		.context = &g,
		.ask = on_ask,
		.resolved = on_resolved,
		.closed = on_tunnel_closed,
	};
	e = child_begin(argc, argv, ROLE_EGRESS, &g.loop, &handler, &g,
			&g.core);
	if (e != ERR_OK)
		die("this program is started by kenazd, which passes it a "
		    "channel as descriptor 3: %s",
		    err_text(e));
	(void)uv_run(&g.loop, UV_RUN_DEFAULT);
	return 0;
}
