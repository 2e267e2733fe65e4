/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_again.c - the next attempt of a request whose last one failed
 *
 * Runs in: kenazd.
 * Trusts:  retry.c for when, infer_route.c for whom.
 * Never:   begins one before the outcome of the last is durable.
 */
#include "engine/core/infer_again.h"

#include <stdio.h>

#include <sodium.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/circuit.h"
#include "engine/core/infer.h"
#include "engine/core/infer_state.h"

#define NS_PER_MS UINT64_C(1000000)
#define PAUSE_NS  (100 * NS_PER_MS) /* while a lost broker is started */

static struct retry_rules rules_of(const struct infer *i)
{
	const struct config *config = i->session->engine->config;
	const struct config_inference *c = &config->inference;
	const struct config_provider *p =
		config_find_provider(config, infer_candidate(i)->provider);
	struct retry_rules rules = {.retries = c->retries,
				    .base_ms = c->retry_base_ms,
				    .max_ms = c->retry_max_ms,
				    .after_max_s = c->retry_after_max_s};

	if (p && p->retries_set)
		rules.retries = p->retries;
	if (p && p->retry_after_max_set)
		rules.after_max_s = p->retry_after_max_s;
	return rules;
}

static void note_circuit(struct engine *e, const struct circuit *c)
{
	struct buf b;
	enum err err;

	log_info("provider %s: its circuit is %s", c->provider,
		 circuit_state_text(c->state));
	buf_init(&b, 1024);
	err = attrs_put_text(&b, "kenaz.provider", span_text(c->provider));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.circuit",
				     span_text(circuit_state_text(c->state)));
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.circuit.opened", c->opened);
	if (err == ERR_OK)
		audit_note(e, "provider.circuit", NULL, NULL, buf_span(&b));
	buf_fini(&b);
}

/* No request can make a provider unreachable. */
static uint64_t suspect(const struct infer *i)
{
	enum transfer_failure failure = i->now.seen.failure;

	if (sessions_live(i->session->engine) < 2 ||
	    failure == FAILURE_CONNECT || failure == FAILURE_TLS ||
	    failure == FAILURE_TIMEOUT_CONNECT)
		return 0;
	return infer_who(i);
}

static void report_health(struct infer *i)
{
	struct engine *e = i->session->engine;
	const struct config_inference *config = &e->config->inference;
	const struct circuit_rules rules = {config->circuit_failures,
					    config->circuit_window_s,
					    config->circuit_open_s};
	struct circuit *c =
		circuit_of(&e->circuits, infer_candidate(i)->provider);
	enum retry_health health = retry_health(&i->now.seen);

	if (health == RETRY_UNTOLD)
		circuit_withdraw(c, i->now.probe);
	else if (circuit_report(c, &rules, health == RETRY_WELL, i->now.probe,
				suspect(i), engine_now_ns()))
		note_circuit(e, c);
	i->now.probe = false;
}

/**
 * infer_plan() - Decide what comes after an attempt that has ended
 * @i:	Request in INFER_RUNNING, broker and gate have reported
 *
 * The plan goes into the outcome; infer_go_on() follows it.
 */
void infer_plan(struct infer *i)
{
	struct infer_attempt *a = &i->now;
	struct retry_rules rules = rules_of(i);
	bool has_next;
	size_t next;

	report_health(i);
	a->plan = (struct retry_plan){.step = RETRY_STOP};
	if (i->gate_left || !session_is_live(i->session) ||
	    i->session->engine->leaving || i->number >= INFER_ATTEMPTS_MAX ||
	    retry_class(&a->seen) == RETRY_NONE)
		return;
	has_next = infer_route_next(i, i->at + 1, &next);
	a->plan = retry_plan(&a->seen, i->tries, has_next, &rules,
			     randombytes_random());
	/* limits.request_s is for all attempts together. */
	if (engine_now_ns() + a->plan.delay_ns >=
	    i->begun_ns +
		    (uint64_t)i->session->engine->config->limits.request_s *
			    1000000000ull)
		a->plan.step = RETRY_STOP;
	/* Whom it failed too often is asked no more, if there is another. */
	if (a->plan.step == RETRY_SAME && !infer_route_next(i, i->at, &next))
		a->plan.step = RETRY_STOP;
	else if (a->plan.step == RETRY_SAME && next != i->at)
		a->plan = (struct retry_plan){.step = RETRY_NEXT};
}

static void begin_next(struct infer *i)
{
	size_t next;

	if (infer_route_next(i, i->at, &next)) {
		if (next != i->at)
			i->tries = 0;
		i->at = next;
		i->number++;
		infer_attempt_prepare(i);
		return;
	}
	infer_route_refuse(i, i->at);
	infer_free(i);
}

static void on_timer(uv_timer_t *timer)
{
	infer_again_tick(timer->data);
}

static void arm(struct engine *e, uint64_t due_ns)
{
	uint64_t now = engine_now_ns();
	uint64_t wait_ms =
		due_ns > now ? (due_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;

	e->retry_timer.data = e;
	if (uv_timer_start(&e->retry_timer, on_timer, wait_ms, 0) != 0)
		log_error("a request's next attempt cannot be timed");
}

/* Until the time of the whole request is over, which then says why. */
static bool waits_for_broker(const struct infer *i, uint64_t now)
{
	const struct engine *e = i->session->engine;

	return !broker_client_ready(e) && !e->stopping &&
	       now - i->begun_ns < e->config->limits.request_s * 1000000000ull;
}

/** infer_again_tick() - Begin what is due, and set the clock for the rest */
void infer_again_tick(struct engine *e)
{
	uint64_t now = engine_now_ns(), soonest = UINT64_MAX;
	struct session *s;
	struct infer *i, *after;

	LIST_FOREACH(s, &e->sessions, next)
	for (i = LIST_FIRST(&s->infers); i; i = after) {
		after = LIST_NEXT(i, next);
		if (i->state != INFER_WAITING)
			continue;
		if (i->due_ns <= now && waits_for_broker(i, now))
			i->due_ns = now + PAUSE_NS;
		if (i->due_ns <= now)
			begin_next(i);
		else if (i->due_ns < soonest)
			soonest = i->due_ns;
	}
	if (soonest != UINT64_MAX)
		arm(e, soonest);
}

/**
 * infer_go_on() - Follow the plan: the outcome is durable
 * @i:	Request; may be gone afterwards
 */
void infer_go_on(struct infer *i)
{
	struct retry_plan plan = i->now.plan;
	struct engine *e = i->session->engine;
	size_t next = i->at + 1;

	infer_attempt_reset(i);
	i->state = INFER_WAITING;
	if (plan.step == RETRY_NEXT) {
		i->at = next;
		i->tries = 0;
	}
	i->due_ns = engine_now_ns() + plan.delay_ns;
	if (plan.delay_ns == 0 && broker_client_ready(e))
		begin_next(i);
	else
		infer_again_tick(e);
}

/**
 * infer_unprepared() - The candidate's dialect cannot say this request
 * @i:		Request in INFER_PREPARING; may be gone afterwards
 * @text:	The gate's words
 */
void infer_unprepared(struct infer *i, const char *text)
{
	struct infer_denial d = {.http_status = 400,
				 .type = ERROR_CLASS_INVALID,
				 .text = text};
	size_t next;

	if (infer_route_next(i, i->at + 1, &next)) {
		i->at = next;
		i->tries = 0;
		infer_attempt_prepare(i);
		return;
	}
	infer_deny(i->session, i->request, &d);
	infer_free(i);
}
