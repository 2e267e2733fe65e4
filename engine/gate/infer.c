/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer.c - inference requests from the guest to their last byte
 *
 * Runs in: kenaz-gate.
 * Trusts:  core's decisions.
 * Never:   asks for a request that it could not read whole.
 *
 * Theory of operation. A request is read whole by http.c, described to core
 * (infer_ask) and waits. Where another dialect is spoken with the provider, or
 * another name for the model, core has the gate make the body for it
 * (infer_prepare) and is asked again. Its grant brings a socket on which the
 * broker's frames arrive (infer_source.c); they pass through the dialect's
 * reply (reply.h) to the guest (infer_end.c). Each state has a deadline and
 * each message the state it belongs to, in the tables below. A client that
 * hangs up ends its request at once: core is told and the broker's socket
 * closed.
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
	static const char *names[HTTP_FORWARDED_MAX + 1];
	const struct dialect_ops *d;
	size_t i, k, n = 0;

	for (i = DIALECT_NONE; i <= DIALECT_CONVERSE; i++) {
		d = dialect_find((enum dialect)i);
		for (k = 0; d && d->forwarded_headers &&
			    d->forwarded_headers[k] && n < HTTP_FORWARDED_MAX;
		     k++) {
			size_t at = 0;

			while (at < n &&
			       strcmp(names[at], d->forwarded_headers[k]) != 0)
				at++;
			if (at == n)
				names[n++] = d->forwarded_headers[k];
		}
	}
	names[n] = NULL;
	return names;
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
	if (x->reply && x->state != INFER_HELD && x->state != INFER_ASKED) {
		x->retry = RETRY_NONE;
		infer_set_text(x, ERR_CLOSED, "the client hung up");
		infer_send_end(x);
	}
	m = (struct msg_infer_cancel){.request = x->request};
	if (chan_send_infer_cancel(x->set->core, &m, NULL, 0) != ERR_OK)
		log_error("core was not told that a client left");
	infer_forget(x);
}

/* What an attempt sends. Spans are borrowed. */
struct asked {
	struct span body, headers, dropped;
	bool first, prepared;
	bool adds_usage; /* what the client did not ask for, for accounting */
};

static enum err send_ask(struct infer *x, const struct asked *a)
{
	const struct request_facts *f = x->facts;
	struct http_request *r = x->http;
	struct msg_infer_ask m = {
		.request = x->request,
		.dialect = (uint16_t)x->dialect->id,
		.route = (uint16_t)r->target.route,
		.model = span_text(f->model),
		.stream = f->stream,
		.query = r->target.query,
		.headers = a->headers,
		.features = buf_span(&f->features),
		.tools = buf_span(&f->tools),
		.results = a->first ? buf_span(&f->results) : span_of(NULL, 0),
		.agent = span_text(r->head.agent),
		.body_bytes = a->body.len_bytes,
		.attempt = x->attempt,
		.prepared = a->prepared ? 1 : 0,
		.dropped = a->dropped,
		.max_tokens = (uint32_t)f->max_tokens,
		.asks_usage = a->adds_usage   ? USAGE_ADDED
			      : f->asks_usage ? USAGE_ASKED
					      : USAGE_NOT_ASKED,
	};
	int fd = -1;
	enum err e = ERR_OK;

	digest_sha256(a->body, m.body_digest);
	if (a->body.len_bytes <= BODY_INLINE_MAX_BYTES)
		m.body_inline = a->body;
	else
		e = memfd_from_span("request body", a->body, &fd);
	if (e != ERR_OK)
		return e;
	return chan_send_infer_ask(x->set->core, &m, &fd, fd >= 0 ? 1 : 0);
}

/* Takes @facts over on success. */
static struct infer *infer_new(struct infers *s, struct http_request *r,
			       const struct dialect_ops *dialect,
			       struct request_facts *facts)
{
	struct infer *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->set = s;
	x->http = r;
	x->dialect = dialect;
	x->facts = facts;
	x->stream = facts->stream;
	x->attempt = 1;
	x->request = ++s->next_request;
	x->fd = -1;
	x->written_ns = uv_hrtime();
	buf_init(&x->start, INFER_START_MAX_BYTES);
	buf_init(&x->in, INFER_IN_MAX_BYTES);
	buf_init(&x->headers, INFER_HEADERS_MAX_BYTES);
	LIST_INSERT_HEAD(&s->list, x, next);
	s->count++;
	r->owner = x;
	infer_enter(x, INFER_ASKED);
	return x;
}

/* False when the request was refused. */
static bool inspect(struct infers *s, struct http_request *r,
		    const struct dialect_ops *dialect,
		    struct request_facts *facts)
{
	enum err e = ERR_OK;

	if (r->target.model.len_bytes)
		e = http_head_model(r->target.model, facts->model,
				    sizeof(facts->model));
	if (e != ERR_OK) {
		infer_refuse(r, 400, "the model in the path is malformed");
		return false;
	}
	facts->stream = r->target.route == ROUTE_INVOKE_STREAM ||
			r->target.route == ROUTE_CONVERSE_STREAM;
	e = dialect->inspect((enum route)r->target.route, buf_span(&r->body),
			     &s->seen, facts);
	if (e == ERR_OK && facts->amend)
		e = dialect_amend(dialect, &r->body);
	if (e == ERR_MEMORY)
		infer_refuse(r, 529, "out of memory");
	else if (e != ERR_OK)
		infer_refuse(r, 400,
			     facts->error_text[0] ? facts->error_text
						  : err_text(e));
	return e == ERR_OK;
}

/*
 * Chat completions have usage in a stream only when asked for it. Most
 * providers are, so that the body is made before core says so; if it does not,
 * the client's own is still there.
 */
static void add_usage(struct infer *x, struct asked *ask, struct buf *body)
{
	const struct dialect_target with_usage = {.want_usage = true};

	if (x->dialect->id != DIALECT_CHAT || !x->stream ||
	    x->facts->asks_usage || x->set->no_usage ||
	    x->dialect->rewrite(ask->body, &with_usage, body) != ERR_OK)
		return;
	ask->body = buf_span(body);
	ask->adds_usage = true;
	x->strip_usage = true;
}

/**
 * infer_begin() - Describe a whole request to core
 * @s:		Set
 * @r:		Request whose target is HTTP_INFER; answered later
 */
void infer_begin(struct infers *s, struct http_request *r)
{
	const struct dialect_ops *dialect =
		dialect_find((enum dialect)r->target.dialect);
	struct asked ask = {.headers = buf_span(&r->head.forwarded),
			    .first = true};
	struct request_facts *facts = NULL;
	struct infer *x = NULL;
	struct buf body;

	if (!dialect || !dialect->inspect) {
		infer_refuse(r, 501, "this dialect is not spoken here");
		return;
	}
	if (s->count >= s->requests_max) {
		infer_refuse(r, 429, "too many requests at once");
		return;
	}
	facts = malloc(sizeof(*facts));
	if (!facts) {
		infer_refuse(r, 529, "out of memory");
		return;
	}
	request_facts_init(facts);
	if (inspect(s, r, dialect, facts)) {
		if (facts->dialect != DIALECT_NONE)
			dialect = dialect_find(facts->dialect);
		x = infer_new(s, r, dialect, facts);
	}
	if (!x) {
		request_facts_fini(facts);
		free(facts);
		if (!r->answered)
			infer_refuse(r, 529, "out of memory");
		return;
	}
	buf_init(&body, BODY_MAX_BYTES);
	ask.body = buf_span(&r->body);
	add_usage(x, &ask, &body);
	if (send_ask(x, &ask) != ERR_OK) {
		infer_forget(x);
		infer_refuse(r, 529, "the engine is overloaded");
	}
	buf_fini(&body);
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
	x->wire = dialect_find((enum dialect)m.dialect);
	if (!x->wire || m.attempt != x->attempt || !x->facts)
		return ERR_STATE;
	x->wire_route = (enum route)m.route;
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

/* Make the body for an attempt and ask again, or say why it cannot be. */
static enum err on_prepare(struct infers *s, struct chan_message *cm)
{
	struct msg_infer_prepare m;
	enum err e = msg_infer_prepare_get(cm->payload, &m);
	struct infer *x = e == ERR_OK ? find(s, m.request) : NULL;
	struct msg_infer_unprepared not ;
	struct infer_prepared p;
	struct asked ask = {.prepared = true};

	if (!x)
		return e;
	if (x->state != INFER_ASKED || !x->facts)
		return ERR_STATE;
	infer_enter(x, INFER_ASKED);
	x->attempt = m.attempt;
	if (x->dialect->id == DIALECT_CHAT && x->stream)
		s->no_usage = !m.want_usage;
	infer_prepared_init(&p);
	e = infer_prepare_body(x, &m, &p);
	ask.body = p.as_it_is ? buf_span(&x->http->body) : buf_span(&p.body);
	ask.headers = p.own_headers ? buf_span(&p.headers)
				    : buf_span(&x->http->head.forwarded);
	ask.dropped = buf_span(&p.dropped);
	if (e == ERR_OK)
		e = send_ask(x, &ask);
	if (e != ERR_OK) {
		not = (struct msg_infer_unprepared){
			.request = x->request,
			.attempt = x->attempt,
			.text = span_text(p.error_text[0] ? p.error_text
							  : err_text(e)),
		};
		if (chan_send_infer_unprepared(s->core, &not, NULL, 0) !=
		    ERR_OK)
			log_error("core was not told of a refusal");
	}
	infer_prepared_fini(&p);
	return ERR_OK;
}

static enum err on_deny(struct infers *s, struct chan_message *cm)
{
	struct msg_infer_deny m;
	enum err e = msg_infer_deny_get(cm->payload, &m);
	struct infer *x = e == ERR_OK ? find(s, m.request) : NULL;
	struct buf text;

	if (!x)
		return e;
	if (x->state != INFER_ASKED ||
	    (m.http_status && (m.http_status < 400 || m.http_status > 599)))
		return ERR_STATE;
	buf_init(&text, REASON_MAX_BYTES + RULE_MAX_BYTES + 64);
	/* Core's sentence names the rule. */
	if (m.text.len_bytes)
		e = buf_put_span(&text, m.text);
	else
		e = buf_put_text(&text, "Kenaz policy rule ");
	if (e == ERR_OK && !m.text.len_bytes)
		e = buf_put_span(&text, m.rule);
	if (e != ERR_OK)
		http_break(x->http);
	else if (x->begun)
		infer_stream_error(x, error_class_find(m.type),
				   buf_span(&text));
	else
		infer_answer_error(x->http, m.http_status,
				   error_class_find(m.type), buf_span(&text),
				   m.retry_after_s);
	buf_fini(&text);
	infer_forget(x);
	return ERR_OK;
}

/* The provider has no list of its own: core's names are the answer. */
static enum err on_models(struct infers *s, struct chan_message *cm)
{
	struct msg_infer_models m;
	enum err e = msg_infer_models_get(cm->payload, &m);
	struct infer *x = e == ERR_OK ? find(s, m.request) : NULL;

	if (!x)
		return e;
	if (x->state != INFER_ASKED || x->begun ||
	    x->http->target.route != ROUTE_MODELS)
		return ERR_STATE;
	infer_answer_models(x, m.names, m.omitted);
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
	if (m.error == ERR_OK && m.retry) {
		if (x->handed || !x->facts)
			return ERR_STATE;
		infer_start_over(x);
		return ERR_OK;
	}
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
	{MSG_INFER_GRANT, on_grant},     {MSG_INFER_PREPARE, on_prepare},
	{MSG_INFER_DENY, on_deny},       {MSG_TOOL_VERDICT, on_verdict},
	{MSG_INFER_DURABLE, on_durable}, {MSG_INFER_MODELS, on_models},
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

/* A keep-alive in the client's dialect, whoever reads the response. */
static enum err put_ping(struct infer *x, struct buf *out)
{
	struct reply *r = NULL;
	enum err e;

	if (x->reply && x->reply->ops->streamed)
		return reply_ping(x->reply, out);
	if (x->dialect->stream_new)
		r = x->dialect->stream_new();
	if (!r)
		return ERR_MEMORY;
	e = reply_ping(r, out);
	reply_free(r);
	return e;
}

/*
 * A client that waits for a stream hears of us, also before the provider's
 * first byte: nothing of a response is in it, so another attempt may follow.
 */
static void ping(struct infer *x, uint64_t now_ns)
{
	struct buf out;

	if (!x->stream || http_pending_bytes(x->http) || x->start.len_bytes ||
	    now_ns < x->written_ns ||
	    now_ns - x->written_ns < INFER_PING_AFTER_NS)
		return;
	buf_init(&out, 256);
	if (put_ping(x, &out) == ERR_OK && out.len_bytes) {
		if (!x->begun)
			infer_begin_stream(x);
		x->written_ns = now_ns;
		if (http_write(x->http, buf_span(&out)) != ERR_OK)
			http_break(x->http);
	}
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
		if (x->start.len_bytes && now_ns > x->start_ns &&
		    now_ns - x->start_ns >= INFER_START_MAX_NS)
			infer_deliver_start(x);
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
