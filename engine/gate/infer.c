/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer.c - inference requests from the guest to their last byte
 *
 * Runs in: kenaz-gate.
 * Trusts:  core's decisions.
 * Never:   asks for a request that it could not read whole.
 *
 * Theory of operation. A request is read whole by http.c, described to core
 * (infer_ask) and waits. Its grant brings a socket on which the broker's
 * frames arrive (infer_source.c); they pass through the dialect's reply
 * (reply.h) to the guest (infer_end.c). Each state has a deadline and each
 * message the state it belongs to, in the tables below. A client that hangs
 * up ends its request at once: core is told and the broker's socket closed.
 */
#include "engine/gate/infer_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "engine/base/log.h"
#include "engine/base/memfd.h"
#include "engine/base/text.h"
#include "engine/proto/attrs.h"

#define S(n) ((n)*UINT64_C(1000000000))

/* How long a state may last without any progress. */
static const struct {
	uint64_t max_ns;
	const char *late; /* what is said then */
} state_table[] = {
	[INFER_ASKED] = {S(600), "no decision came in time"},
	[INFER_WAITING] = {S(600), "the provider did not answer in time"},
	[INFER_STREAMING] = {S(290), "the provider's response stalled"},
	[INFER_JUDGED] = {S(600), "no verdict on a tool call came in time"},
	[INFER_HELD] = {S(60), "the outcome was not made durable in time"},
};

/** infers_forwarded() - Headers that any dialect forwards, lower case */
const char *const *infers_forwarded(void)
{
	return dialect_anthropic.forwarded_headers;
}

/** infer_drained() - The guest has read: go on reading the response */
void infer_drained(struct http_request *r)
{
	if (r->owner)
		infer_update_source(r->owner);
}

/** infer_gone() - The client is served or hung up; @r is gone afterwards */
void infer_gone(struct http_request *r)
{
	struct infer *x = r->owner;
	struct msg_infer_cancel m;

	if (!x)
		return;
	/* What was used until now counts, although nobody reads the rest. */
	if (x->reply && x->state != INFER_HELD) {
		infer_set_text(x, ERR_CLOSED, "the client hung up");
		infer_send_end(x);
	}
	m = (struct msg_infer_cancel){.request = x->request};
	if (chan_send_infer_cancel(x->set->core, &m, NULL, 0) != ERR_OK)
		log_error("core was not told that a client left");
	infer_forget(x);
}

static enum err send_ask(struct infer *x, const struct request_facts *f)
{
	struct http_request *r = x->http;
	struct msg_infer_ask m = {
		.request = x->request,
		.dialect = (uint16_t)x->dialect->id,
		.route = (uint16_t)r->target.route,
		.model = span_text(f->model),
		.stream = f->stream,
		.query = r->target.query,
		.headers = buf_span(&r->head.forwarded),
		.features = buf_span(&f->features),
		.tools = buf_span(&f->tools),
		.results = buf_span(&f->results),
		.agent = span_text(r->head.agent),
		.body_bytes = r->body.len_bytes,
	};
	int fd = -1;
	enum err e = ERR_OK;

	digest_sha256(buf_span(&r->body), m.body_digest);
	if (r->body.len_bytes <= BODY_INLINE_MAX_BYTES)
		m.body_inline = buf_span(&r->body);
	else
		e = memfd_from_span("request body", buf_span(&r->body), &fd);
	if (e != ERR_OK)
		return e;
	return chan_send_infer_ask(x->set->core, &m, &fd, fd >= 0 ? 1 : 0);
}

static struct infer *infer_new(struct infers *s, struct http_request *r)
{
	struct infer *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->set = s;
	x->http = r;
	x->dialect = &dialect_anthropic;
	x->request = ++s->next_request;
	x->fd = -1;
	buf_init(&x->in, INFER_IN_MAX_BYTES);
	buf_init(&x->headers, INFER_HEADERS_MAX_BYTES);
	LIST_INSERT_HEAD(&s->list, x, next);
	s->count++;
	r->owner = x;
	infer_enter(x, INFER_ASKED);
	return x;
}

/**
 * infer_begin() - Describe a whole request to core
 * @s:		Set
 * @r:		Request whose target is HTTP_INFER; answered later
 */
void infer_begin(struct infers *s, struct http_request *r)
{
	struct request_facts facts;
	struct infer *x = NULL;
	enum err e;

	request_facts_init(&facts);
	if (s->count >= s->requests_max) {
		infer_refuse(r, 429, "too many requests at once");
		goto out;
	}
	e = dialect_anthropic.inspect((enum route)r->target.route,
				      buf_span(&r->body), &s->seen, &facts);
	if (e == ERR_MEMORY)
		infer_refuse(r, 529, "out of memory");
	else if (e != ERR_OK)
		infer_refuse(r, 400,
			     facts.error_text[0] ? facts.error_text
						 : err_text(e));
	if (e != ERR_OK)
		goto out;
	x = infer_new(s, r);
	e = x ? send_ask(x, &facts) : ERR_MEMORY;
	if (e != ERR_OK) {
		if (x)
			infer_forget(x);
		infer_refuse(r, 529, "the engine is overloaded");
	}
	http_drop_body(r);
out:
	request_facts_fini(&facts);
}

static struct infer *find(struct infers *s, uint64_t request)
{
	struct infer *x;

	for (x = LIST_FIRST(&s->list); x; x = LIST_NEXT(x, next))
		if (x->request == request)
			return x;
	return NULL;
}

static enum err on_grant(struct infers *s, struct chan_message *cm)
{
	struct msg_infer_grant m;
	enum err e = msg_infer_grant_get(cm->payload, &m);
	struct infer *x = e == ERR_OK ? find(s, m.request) : NULL;

	if (!x)
		return e;
	if (x->state != INFER_ASKED)
		return ERR_STATE;
	x->scripted = m.scripted != 0;
	x->fd = cm->fds[0];
	cm->fds[0] = -1;
	infer_enter(x, INFER_WAITING);
	if (uv_poll_init(s->loop, &x->poll, x->fd) != 0) {
		close(x->fd);
		x->fd = -1;
		infer_fail(x, ERR_SYS, "the response cannot be read");
		return ERR_OK;
	}
	x->poll.data = x;
	infer_update_source(x);
	return ERR_OK;
}

static enum err on_deny(struct infers *s, struct chan_message *cm)
{
	struct msg_infer_deny m;
	enum err e = msg_infer_deny_get(cm->payload, &m);
	struct infer *x = e == ERR_OK ? find(s, m.request) : NULL;
	char type[65];
	struct buf text;

	if (!x)
		return e;
	if (x->state != INFER_ASKED || m.http_status < 400 ||
	    m.http_status > 599)
		return ERR_STATE;
	e = span_copy_text(m.type, type, sizeof(type));
	if (e != ERR_OK)
		return e;
	buf_init(&text, REASON_MAX_BYTES + RULE_MAX_BYTES + 64);
	/* Core's sentence names the rule. */
	if (m.text.len_bytes)
		e = buf_put_span(&text, m.text);
	else
		e = buf_put_text(&text, "Kenaz policy rule ");
	if (e == ERR_OK && !m.text.len_bytes)
		e = buf_put_span(&text, m.rule);
	if (e == ERR_OK)
		infer_answer_error(x->http, m.http_status, type,
				   buf_span(&text), m.retry_after_s);
	else
		http_break(x->http);
	buf_fini(&text);
	infer_forget(x);
	return ERR_OK;
}

static enum err on_verdict(struct infers *s, struct chan_message *cm)
{
	struct msg_tool_verdict m;
	enum err e = msg_tool_verdict_get(cm->payload, &m);
	struct infer *x = e == ERR_OK ? find(s, m.request) : NULL;
	struct reply_verdict v;
	struct buf out;

	/* A request that failed meanwhile has no use for it. */
	if (!x || x->state == INFER_HELD)
		return e;
	if (x->state != INFER_JUDGED || m.index != x->reply->call.index)
		return ERR_STATE;
	v = (struct reply_verdict){m.allow == 1, m.rule, m.text};
	buf_init(&out, HTTP_OUT_MAX_BYTES);
	e = reply_verdict(x->reply, &v, &out);
	infer_enter(x, INFER_STREAMING);
	infer_deliver(x, buf_span(&out));
	buf_fini(&out);
	if (e == ERR_OK)
		infer_settle(x);
	else
		infer_broken(x, e);
	infer_pump(x);
	infer_update_source(x);
	return ERR_OK;
}

static enum err on_durable(struct infers *s, struct chan_message *cm)
{
	struct msg_infer_durable m;
	enum err e = msg_infer_durable_get(cm->payload, &m);
	struct infer *x = e == ERR_OK ? find(s, m.request) : NULL;
	char text[REASON_MAX_BYTES];

	if (!x)
		return e;
	/* Also how core ends what still runs, with an error. */
	if (x->state != INFER_HELD && m.error == ERR_OK)
		return ERR_STATE;
	(void)text_escape_line(m.text, text, sizeof(text));
	if (x->state != INFER_HELD ||
	    (m.error != ERR_OK && x->fail_error == ERR_OK))
		infer_spoil(x, err_from_wire(m.error),
			    text[0] ? text : "the outcome was not recorded");
	infer_finish(x);
	return ERR_OK;
}

static const struct {
	enum msg_type type;
	enum err (*handle)(struct infers *s, struct chan_message *m);
} message_table[] = {
	{MSG_INFER_GRANT, on_grant},
	{MSG_INFER_DENY, on_deny},
	{MSG_TOOL_VERDICT, on_verdict},
	{MSG_INFER_DURABLE, on_durable},
};

/** infers_takes() - Whether a message is one of ours */
bool infers_takes(enum msg_type type)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(message_table); i++)
		if (message_table[i].type == type)
			return true;
	return false;
}

/**
 * infers_on_message() - Take a message of core about a request
 * @s:	Set
 * @m:	Message that infers_takes()
 *
 * A request that is gone is no error: its cancellation was on the way.
 *
 * Return: ERR_OK; ERR_STATE and what the codec returns: core is broken.
 */
enum err infers_on_message(struct infers *s, struct chan_message *m)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(message_table); i++)
		if (message_table[i].type == m->type)
			return message_table[i].handle(s, m);
	return ERR_STATE;
}

static void ping(struct infer *x, uint64_t now_ns)
{
	struct buf out;

	if (!x->reply || !x->reply->ops->streamed || !x->begun ||
	    http_pending_bytes(x->http) || now_ns < x->written_ns ||
	    now_ns - x->written_ns < INFER_PING_AFTER_NS)
		return;
	buf_init(&out, 256);
	if (reply_ping(x->reply, &out) == ERR_OK)
		infer_deliver(x, buf_span(&out));
	buf_fini(&out);
}

/* Core is late: the client gets an error without it. */
static void give_up(struct infer *x)
{
	struct msg_infer_cancel m = {.request = x->request};

	if (chan_send_infer_cancel(x->set->core, &m, NULL, 0) != ERR_OK)
		log_error("core was not told of a timeout");
	infer_spoil(x, ERR_TIMEOUT, state_table[x->state].late);
	infer_finish(x);
}

/**
 * infers_tick() - Keep connections alive and enforce deadlines
 * @s:		Set
 * @now_ns:	uv_hrtime(); call about once a second
 */
void infers_tick(struct infers *s, uint64_t now_ns)
{
	struct infer *x, *after;

	for (x = LIST_FIRST(&s->list); x; x = after) {
		uint64_t max_ns = state_table[x->state].max_ns;

		after = LIST_NEXT(x, next);
		/* A guest that does not read has a deadline of its own. */
		if (x->state == INFER_STREAMING && !x->polling)
			x->moved_ns = now_ns;
		if (now_ns < x->moved_ns || now_ns - x->moved_ns < max_ns) {
			ping(x, now_ns);
			continue;
		}
		if (x->state == INFER_HELD || x->state == INFER_ASKED)
			give_up(x);
		else
			infer_fail(x, ERR_TIMEOUT, state_table[x->state].late);
	}
}

/**
 * infers_lost_core() - Fail every request: what became of them is not known
 * @s:	Set
 *
 * Return: how many there were.
 */
uint32_t infers_lost_core(struct infers *s)
{
	uint32_t count = 0;
	struct infer *x;

	while ((x = LIST_FIRST(&s->list))) {
		count++;
		if (x->state != INFER_HELD || x->fail_error == ERR_OK)
			infer_spoil(x, ERR_CANCELLED,
				    "the engine is being restarted; what "
				    "became of this request is not known");
		infer_finish(x);
	}
	return count;
}

/** infers_set_core() - Speak to another core; borrowed */
void infers_set_core(struct infers *s, struct chan *core)
{
	s->core = core;
}

/**
 * infers_new() - Prepare for inference requests
 * @loop:		Loop
 * @core:		Channel, borrowed
 * @requests_max:	At once
 * @ret_infers:		Owned by the caller, for the life of the process
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err infers_new(uv_loop_t *loop, struct chan *core, uint32_t requests_max,
		    struct infers **ret_infers)
{
	struct infers *s = calloc(1, sizeof(*s));

	if (!s)
		return ERR_MEMORY;
	s->loop = loop;
	s->core = core;
	s->requests_max = requests_max;
	LIST_INIT(&s->list);
	*ret_infers = s;
	return ERR_OK;
}
