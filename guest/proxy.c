/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.c - one HTTP proxy request of a program, taken to the egress
 *
 * Runs in: kenaz-guestd.
 * Trusts:  the host's answer; nothing that the program sends.
 * Never:   decides what is allowed: the host does, and says why not.
 *
 * Theory of operation: read the head of the request; open a stream to the
 * egress port and name the destination on one line; map its one line of
 * answer to 200, 403 or 502; from then on carry bytes.
 */
#include "guest/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "guest/connect_request.h"
#include "guest/pump.h"
#include "guest/stream.h"
#include "guest/transport.h"

#define PROXY_HEAD_NS          (30000 * LOOP_MS_NS)
#define PROXY_ANSWER_NS        (120000 * LOOP_MS_NS) /* an approval may be due */
#define PROXY_CLIENT_MAX_BYTES (32u * 1024)
#define PROXY_ANSWER_MAX_BYTES 1024u
#define PROXY_RULE_MAX_BYTES   256u
#define PROXY_REASON_MAX_BYTES 2048u

enum proxy_state { PROXY_HEAD, PROXY_ASKED, PROXY_CLOSING };

struct proxy {
	struct stream client;
	struct stream egress;
	struct timer timer;
	struct connect_request request;
	struct buf forward; /* head for the target, if not a tunnel */
	size_t head_bytes;
	enum proxy_state state;
	bool has_egress;
};

static size_t live_proxies;

/** proxy_count() - Requests that are not yet joined to a tunnel */
size_t proxy_count(void)
{
	return live_proxies;
}

static void proxy_free(struct proxy *p)
{
	timer_stop(&p->timer);
	stream_fini(&p->client);
	if (p->has_egress)
		stream_fini(&p->egress);
	buf_fini(&p->forward);
	free(p);
	live_proxies--;
}

static void on_late(struct timer *timer);

/* Send an answer of our own and close once it has left. */
static void refuse(struct proxy *p, const char *status, const char *text,
		   struct span detail)
{
	char shown[PROXY_REASON_MAX_BYTES];
	struct buf body;
	enum err e;

	buf_init(&body, 2 * PROXY_REASON_MAX_BYTES);
	(void)text_escape_line(detail, shown, sizeof(shown));
	e = buf_printf(&body, "Kenaz: %s%s\n", text, shown);
	if (e == ERR_OK)
		e = buf_printf(&p->client.out,
			       "HTTP/1.1 %s\r\n"
			       "Content-Type: text/plain; charset=utf-8\r\n"
			       "Content-Length: %zu\r\nConnection: close\r\n"
			       "Proxy-Agent: kenaz-guestd\r\n\r\n",
			       status, body.len_bytes);
	if (e == ERR_OK)
		e = buf_put_span(&p->client.out, buf_span(&body));
	buf_fini(&body);
	if (p->has_egress)
		stream_fini(&p->egress);
	p->has_egress = false;
	p->state = PROXY_CLOSING;
	stream_update(&p->client);
	if (e != ERR_OK || stream_drained(&p->client))
		proxy_free(p);
	else
		timer_start(&p->timer, PROXY_HEAD_NS, on_late, p);
}

static void on_late(struct timer *timer)
{
	struct proxy *p = timer->owner;

	if (p->state == PROXY_ASKED)
		refuse(p, "504 Gateway Timeout",
		       "no answer from the host in time for ",
		       span_text(p->request.host));
	else
		proxy_free(p);
}

/* The egress said ok: from here on bytes are carried unseen. */
static void join(struct proxy *p, size_t answer_bytes)
{
	static const char established[] =
		"HTTP/1.1 200 Connection established\r\n\r\n";
	struct span body = buf_span(&p->client.in);
	struct span early = buf_span(&p->egress.in);
	struct buf to_egress, to_client;
	enum err e = ERR_OK;
	int client_fd, egress_fd;

	body = span_of(body.data + p->head_bytes,
		       body.len_bytes - p->head_bytes);
	early = span_of(early.data + answer_bytes,
			early.len_bytes - answer_bytes);
	buf_init(&to_egress, PUMP_BUFFER_MAX_BYTES);
	buf_init(&to_client, PUMP_BUFFER_MAX_BYTES);
	if (p->request.is_tunnel)
		e = buf_put_text(&to_client, established);
	else
		e = buf_put_span(&to_egress, buf_span(&p->forward));
	if (e == ERR_OK)
		e = buf_put_span(&to_egress, body);
	if (e == ERR_OK)
		e = buf_put_span(&to_client, early);
	if (e == ERR_OK) {
		client_fd = stream_release(&p->client);
		egress_fd = stream_release(&p->egress);
		/* A failure has closed both: that is all a client can see. */
		e = pump_start(client_fd, egress_fd, buf_span(&to_egress),
			       buf_span(&to_client));
	}
	buf_fini(&to_egress);
	buf_fini(&to_client);
	proxy_free(p);
}

/* Many programs show only the status line: the rule is in it too. */
static void refuse_denied(struct proxy *p, struct span rule)
{
	char shown[PROXY_RULE_MAX_BYTES];
	char status[PROXY_RULE_MAX_BYTES + 32];

	(void)text_escape_line(rule, shown, sizeof(shown));
	(void)snprintf(status, sizeof(status), "403 Denied by rule %s", shown);
	refuse(p, status, "denied by rule ", rule);
}

static void take_answer(struct proxy *p, struct span line, size_t answer_bytes)
{
	if (span_is(line, "ok")) {
		join(p, answer_bytes);
	} else if (line.len_bytes > 7 && memcmp(line.data, "denied ", 7) == 0) {
		refuse_denied(p, span_of(line.data + 7, line.len_bytes - 7));
	} else if (line.len_bytes > 7 && memcmp(line.data, "failed ", 7) == 0) {
		refuse(p, "502 Bad Gateway", "",
		       span_of(line.data + 7, line.len_bytes - 7));
	} else {
		refuse(p, "502 Bad Gateway",
		       "unexpected answer of the host: ", line);
	}
}

static void on_egress(struct stream *s)
{
	struct proxy *p = s->owner;
	const uint8_t *end = s->in.len_bytes
				     ? memchr(s->in.data, '\n', s->in.len_bytes)
				     : NULL;

	if (end) {
		size_t len = (size_t)(end - s->in.data);

		take_answer(p, span_of(s->in.data, len), len + 1);
	} else if (s->status != ERR_OK || s->in.len_bytes == s->in.max_bytes) {
		refuse(p, "502 Bad Gateway",
		       "the host's egress is not reachable for ",
		       span_text(p->request.host));
	} else {
		stream_update(s);
	}
}

static void ask(struct proxy *p)
{
	enum err e;
	int fd;

	e = transport_connect(TRANSPORT_PORT_EGRESS, &fd);
	if (e == ERR_OK)
		e = stream_init(&p->egress, fd, PROXY_ANSWER_MAX_BYTES,
				PROXY_ANSWER_MAX_BYTES, on_egress, p);
	if (e == ERR_OK) {
		p->has_egress = true;
		p->egress.connecting = true;
		e = buf_printf(&p->egress.out, "%s %u\n", p->request.host,
			       p->request.port);
	}
	if (e != ERR_OK) {
		refuse(p, "502 Bad Gateway",
		       "the host's egress is not reachable for ",
		       span_text(p->request.host));
		return;
	}
	p->state = PROXY_ASKED;
	timer_start(&p->timer, PROXY_ANSWER_NS, on_late, p);
	p->client.paused = p->client.in.len_bytes >= PROXY_CLIENT_MAX_BYTES / 2;
	stream_update(&p->client);
	stream_update(&p->egress);
}

static void take_head(struct proxy *p)
{
	struct span got = buf_span(&p->client.in);
	size_t len = connect_request_head_length(got);
	const char *reason = "the request head is too long";
	enum err e;

	if (len == 0 && got.len_bytes < CONNECT_REQUEST_MAX_BYTES) {
		if (p->client.status != ERR_OK)
			proxy_free(p);
		else
			stream_update(&p->client);
		return;
	}
	e = len == 0 ? ERR_LIMIT
		     : connect_request_parse(span_of(got.data, len),
					     &p->request, &p->forward, &reason);
	p->head_bytes = len;
	if (e == ERR_OK)
		ask(p);
	else
		refuse(p, "400 Bad Request",
		       "not a proxy request: ", span_text(reason));
}

static void on_client(struct stream *s)
{
	struct proxy *p = s->owner;

	if (p->state == PROXY_HEAD) {
		take_head(p);
	} else if (p->state == PROXY_CLOSING) {
		stream_update(s);
		if (s->status == ERR_SYS || stream_drained(s))
			proxy_free(p);
	} else if (s->status == ERR_SYS) {
		proxy_free(p);
	} else {
		s->paused = s->in.len_bytes >= PROXY_CLIENT_MAX_BYTES / 2;
		stream_update(s);
	}
}

/**
 * proxy_take() - Serve one connection to the proxy port
 * @client_fd:	Non-blocking; owned from here on
 */
void proxy_take(int client_fd)
{
	struct proxy *p = calloc(1, sizeof(*p));

	if (!p) {
		(void)close(client_fd);
		return;
	}
	buf_init(&p->forward, CONNECT_REQUEST_MAX_BYTES + 1024);
	if (stream_init(&p->client, client_fd, PROXY_CLIENT_MAX_BYTES,
			2 * PROXY_REASON_MAX_BYTES + 1024, on_client,
			p) != ERR_OK) {
		buf_fini(&p->forward);
		free(p);
		return;
	}
	live_proxies++;
	timer_start(&p->timer, PROXY_HEAD_NS, on_late, p);
}
