/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer.c - one inference request from its gate to its outcome
 *
 * Runs in: kenazd.
 * Trusts:  the broker for what was sent and received; what only the gate saw
 *	    is written as gate-reported.
 * Never:   parses a body; lets an attempt go without a durable intent.
 *
 * Theory of operation. A request goes through one attempt or several. Its
 * candidates are chosen (infer_route.c); when the client's own body fits the
 * wire, the attempt goes at once, else the gate is asked to make the body
 * (preparing). Then intent (append and grant are on their way) -> running
 * (durable: the gate has the stream) -> outcome (broker and gate are both
 * done, response.received is being written) -> gone, or waiting for the next
 * attempt's time and preparing again. A request whose gate left stays until
 * the broker reported, so that its outcome is written.
 */
#include "engine/core/infer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/memfd.h"
#include "engine/core/audit_client.h"
#include "engine/core/control.h"
#include "engine/core/infer_state.h"
#include "engine/core/infer_tool.h"

/* What is kept of a gate's texts at most, escaped, with the NUL. */
#define RESPONSE_ID_BYTES 129u
#define STOP_REASON_BYTES 65u
#define DROPPED_BYTES     129u
#define COST_MAX_MICROUSD ((UINT64_C(1) << 40) - 1)

/** infer_free() - Forget a request; what still waits for it is dropped */
void infer_free(struct infer *i)
{
	struct session *s = i->session;

	audit_forget(s->engine, i);
	broker_forget(s->engine, i);
	infer_attempt_reset(i);
	buf_fini(&i->features);
	free(i->chain);
	LIST_REMOVE(i, next);
	s->n_infers--;
	free(i);
}

/** infer_candidate() - Who is asked in the present attempt */
const struct infer_candidate *infer_candidate(const struct infer *i)
{
	return &i->chain[i->at];
}

/** infer_who() - Whose request it is, for the provider's circuit */
uint64_t infer_who(const struct infer *i)
{
	return (uint64_t)(uintptr_t)i->session;
}

static struct infer *find(struct session *s, uint64_t request)
{
	struct infer *i;

	LIST_FOREACH(i, &s->infers, next)
	if (i->request == request && !i->gate_left)
		return i;
	return NULL;
}

/** infer_is_running() - Whether a gate may still hand on this response */
bool infer_is_running(const struct session *s, uint64_t request)
{
	const struct infer *i;

	if (!session_is_live(s))
		return false;
	LIST_FOREACH(i, &s->infers, next)
	if (i->request == request && !i->gate_left && i->state == INFER_RUNNING)
		return true;
	return false;
}

static void write_results(struct session *s, struct span results)
{
	struct reader r;
	struct attr a;

	reader_init(&r, results);
	while (attrs_next(&r, &a)) {
		struct buf b;
		enum err err;

		buf_init(&b, 1024);
		err = attrs_put_text(&b, "gen_ai.tool.call.id", a.key);
		if (err == ERR_OK)
			err = attrs_put_text(&b, "kenaz.gate_reported.result",
					     a.text);
		if (err == ERR_OK)
			session_note(s, "tool.completed", buf_span(&b));
		/* Each counts: the next request pays for too many. */
		(void)session_admits(s);
		buf_fini(&b);
	}
}

static struct infer *infer_new(struct session *s, const struct msg_infer_ask *m)
{
	struct infer *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	i->session = s;
	i->request = m->request;
	i->dialect = (enum dialect)m->dialect;
	i->route = (enum route)m->route;
	i->stream = m->stream != 0;
	i->asks_usage = (enum usage_wish)m->asks_usage;
	i->number = 1;
	i->begun_ns = engine_now_ns();
	i->now.gate_fd = i->now.body_fd = -1;
	buf_init(&i->now.body, BODY_INLINE_MAX_BYTES);
	buf_init(&i->features, 4096);
	LIST_INSERT_HEAD(&s->infers, i, next);
	s->n_infers++;
	if (span_copy_text(m->model, i->model, sizeof(i->model)) == ERR_OK &&
	    buf_put_span(&i->features, m->features) == ERR_OK)
		return i;
	infer_free(i);
	return NULL;
}

static void begin(struct session *s, const struct msg_infer_ask *m,
		  int *body_fd)
{
	struct policy_decision d;
	struct infer *i = infer_new(s, m);

	if (!i) {
		infer_deny_error(s, m->request, ERR_MEMORY,
				 err_text(ERR_MEMORY));
		return;
	}
	if (!infer_route_begin(i, &d))
		infer_free(i);
	else if (infer_candidate(i)->dialect == DIALECT_NONE)
		infer_models_answer(i, &d);
	else if (infer_as_it_is(i))
		infer_attempt_go(i, m, body_fd, &d);
	else
		infer_attempt_prepare(i);
}

/* The body for an attempt is there: decide for this attempt, and let it go. */
static enum err go_on(struct infer *i, const struct msg_infer_ask *m,
		      int *body_fd)
{
	struct policy_decision d;
	enum err err;

	if (i->state != INFER_PREPARING || !m->prepared ||
	    m->attempt != i->number)
		return ERR_STATE;
	buf_reset(&i->features);
	err = buf_put_span(&i->features, m->features);
	if (err != ERR_OK)
		return err;
	if (infer_route_again(i, &d))
		infer_attempt_go(i, m, body_fd, &d);
	else
		infer_free(i);
	return ERR_OK;
}

/* What the broker would take as core's own fault ends the gate instead. */
static bool body_is_sound(const struct msg_infer_ask *m, int body_fd)
{
	size_t size;

	if (m->body_bytes <= BODY_INLINE_MAX_BYTES)
		return body_fd < 0 && m->body_inline.len_bytes == m->body_bytes;
	return body_fd >= 0 && m->body_inline.len_bytes == 0 &&
	       memfd_check(body_fd, BODY_MAX_BYTES, &size) == ERR_OK &&
	       size == m->body_bytes;
}

/* False when the session may not ask at all now: the client was told. */
static bool may_ask(struct session *s, const struct msg_infer_ask *m)
{
	const char *text = NULL;
	enum err err = ERR_LIMIT;

	if (!session_is_live(s) || s->engine->leaving) {
		err = ERR_STATE;
		text = s->engine->leaving
			       ? "the engine is being restarted; try again"
			       : "the session is not ready or is ending";
	} else if (s->payload_bytes + m->body_bytes >
		   s->engine->config->limits.payload_bytes) {
		text = "limits.payload_bytes is spent: this session may put "
		       "no more payloads into the log";
	} else if (!session_admits(s)) {
		text = "limits.event_rate_per_s is spent for this second";
	}
	if (text)
		infer_deny_error(s, m->request, err, text);
	return !text;
}

static enum err take_ask(struct session *s, struct chan_message *cm)
{
	struct msg_infer_ask m;
	struct infer *i;
	int body_fd = -1;
	enum err err = msg_infer_ask_get(cm->payload, &m);

	if (err != ERR_OK)
		return err;
	if (cm->n_fds) {
		body_fd = cm->fds[0];
		cm->fds[0] = -1;
	}
	i = find(s, m.request);
	if (!body_is_sound(&m, body_fd)) {
		err = ERR_FORMAT;
	} else if (!i && (m.prepared || m.attempt != 1)) {
		/* Its cancellation and this crossed each other. */
		err = m.prepared && m.attempt ? ERR_OK : ERR_STATE;
	} else if (i && i->state != INFER_PREPARING) {
		err = ERR_STATE;
	} else if (!may_ask(s, &m)) {
		if (i)
			infer_free(i);
	} else if (i) {
		err = go_on(i, &m, &body_fd);
	} else if (s->n_infers >= SESSION_REQUESTS_MAX) {
		infer_deny_error(s, m.request, ERR_LIMIT,
				 "too many requests of this session at once");
	} else {
		write_results(s, m.results);
		begin(s, &m, &body_fd);
	}
	if (body_fd >= 0)
		close(body_fd);
	return err;
}

static void keep_text(char **text, struct span s, size_t cap_bytes)
{
	char escaped[REASON_MAX_BYTES];

	(void)text_escape_line(s, escaped, cap_bytes);
	infer_keep_text(text, escaped);
}

/* A count that is cut off, and not folded: that would make a large one 0. */
static uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

static void keep_end(struct infer_attempt *a, const struct msg_infer_end *m)
{
	a->gate_done = true;
	a->gate_error = err_from_wire(m->error);
	keep_text(&a->gate_text, m->text, REASON_MAX_BYTES);
	keep_text(&a->response_id, m->response_id, RESPONSE_ID_BYTES);
	keep_text(&a->response_model, m->response_model, MODEL_MAX_BYTES + 1);
	keep_text(&a->stop_reason, m->stop_reason, STOP_REASON_BYTES);
	a->usage_known = m->usage_known != 0;
	/* Gate-reported: bounded, so that sums cannot wrap. */
	a->input_tokens = at_most(m->input_tokens, UINT32_MAX);
	a->output_tokens = at_most(m->output_tokens, UINT32_MAX);
	a->cache_read = at_most(m->cache_read_tokens, UINT32_MAX);
	a->cache_write = at_most(m->cache_write_tokens, UINT32_MAX);
	a->cost_known = m->cost_known != 0;
	a->cost_microusd = at_most(m->cost_microusd, COST_MAX_MICROUSD);
	a->tool_calls = m->tool_calls;
	a->tool_calls_denied = m->tool_calls_denied;
	keep_text(&a->dropped, m->dropped, DROPPED_BYTES);
	if (m->retry < RETRY_COUNT)
		a->seen.gate = (enum infer_retry)m->retry;
	if (m->retry_after_ms > a->seen.retry_after_ms)
		a->seen.retry_after_ms = m->retry_after_ms;
}

static enum err take_end(struct session *s, struct span payload)
{
	struct msg_infer_end m;
	struct infer *i;
	enum err err = msg_infer_end_get(payload, &m);

	if (err != ERR_OK)
		return err;
	i = find(s, m.request);
	if (!i)
		return ERR_OK;
	if (i->state != INFER_RUNNING || i->now.gate_done)
		return ERR_STATE;
	keep_end(&i->now, &m);
	if (i->now.gate_error != ERR_OK && !i->now.broker_done)
		broker_cancel(s->engine, i->now.grant);
	infer_maybe_finish(i);
	return ERR_OK;
}

static enum err take_unprepared(struct session *s, struct span payload)
{
	struct msg_infer_unprepared m;
	char text[REASON_MAX_BYTES];
	struct infer *i;
	enum err err = msg_infer_unprepared_get(payload, &m);

	if (err != ERR_OK)
		return err;
	i = find(s, m.request);
	if (!i)
		return ERR_OK;
	if (i->state != INFER_PREPARING || m.attempt != i->number)
		return ERR_STATE;
	(void)text_escape_line(m.text, text, sizeof(text));
	infer_unprepared(i, text);
	return ERR_OK;
}

static enum err take_cancel(struct session *s, struct span payload)
{
	struct msg_infer_cancel m;
	struct infer *i;
	enum err err = msg_infer_cancel_get(payload, &m);

	if (err != ERR_OK)
		return err;
	i = find(s, m.request);
	if (!i)
		return ERR_OK;
	i->gate_left = true;
	infer_tools_cancel(s, m.request);
	if (i->state == INFER_PREPARING || i->state == INFER_WAITING) {
		infer_free(i);
	} else if (i->state == INFER_RUNNING) {
		if (!i->now.broker_done)
			broker_cancel(s->engine, i->now.grant);
		infer_maybe_finish(i);
	}
	return ERR_OK;
}

/** infer_on_message() - Messages of a gate about its requests */
enum err infer_on_message(struct session *s, struct chan_message *m)
{
	if (m->type == MSG_INFER_ASK)
		return take_ask(s, m);
	if (m->type == MSG_INFER_TOOL)
		return infer_tool_on_message(s, m->payload);
	if (m->type == MSG_INFER_END)
		return take_end(s, m->payload);
	if (m->type == MSG_INFER_UNPREPARED)
		return take_unprepared(s, m->payload);
	if (m->type == MSG_INFER_CANCEL)
		return take_cancel(s, m->payload);
	return ERR_STATE;
}

/**
 * infers_end() - Fail every running request of a session
 * @s:		Session
 * @reason:	Sentence for the log
 *
 * Their outcomes are written as far as the broker still reports them.
 */
void infers_end(struct session *s, const char *reason)
{
	struct infer *i, *after;

	for (i = LIST_FIRST(&s->infers); i; i = after) {
		after = LIST_NEXT(i, next);
		if (i->state == INFER_OUTCOME) {
			i->now.plan.step = RETRY_STOP;
			continue;
		}
		infer_answer_gate(i, ERR_CANCELLED, reason, false);
		if (i->state == INFER_PREPARING || i->state == INFER_WAITING) {
			infer_free(i);
			continue;
		}
		if (!i->now.broker_done)
			broker_cancel(s->engine, i->now.grant);
		i->gate_left = true;
		i->now.gate_error = ERR_CANCELLED;
		infer_keep_text(&i->now.gate_text, reason);
		infer_maybe_finish(i);
	}
}
