/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retry.c - whether and when a failed attempt is made again
 *
 * Runs in: kenazd.
 * Trusts:  the broker's word for how an attempt failed; the gate's for
 *	    whether anything was handed on.
 * Never:   has an attempt made again of which a byte was handed on.
 *
 * A key that a provider refuses, or that is not there, is not tried again. When
 *it asks for time, it gets what it asked for, up to a limit, above which the
 *next candidate is better. Everything else waits base * 2^n, at most max, each
 *time a fifth more or less by chance, so that many requests do not come back
 *together.
 */
#include "engine/core/retry.h"

#define NS_PER_MS UINT64_C(1000000)
#define SPREAD    UINT64_C(400) /* thousandths between 0.8 and 1.2 */

static enum infer_retry class_of_status(unsigned status)
{
	if (status == 401 || status == 402 || status == 403)
		return RETRY_HTTP_AUTH;
	if (status == 408)
		return RETRY_TIMEOUT;
	if (status == 429)
		return RETRY_HTTP_429;
	if (status == 503 || status == 529)
		return RETRY_OVERLOADED;
	return status >= 500 ? RETRY_HTTP_5XX : RETRY_NONE;
}

/* Without a word of the broker's: NONE is no failure of the transport. */
static enum infer_retry class_of_failure(enum transfer_failure failure)
{
	switch (failure) {
	case FAILURE_CONNECT:
	case FAILURE_TLS:
		return RETRY_CONNECT;
	case FAILURE_TIMEOUT_CONNECT:
	case FAILURE_TIMEOUT_FIRST_BYTE:
	case FAILURE_TIMEOUT_IDLE:
		return RETRY_TIMEOUT;
	case FAILURE_RESET:
	case FAILURE_PROTOCOL:
		return RETRY_BROKEN;
	case FAILURE_NO_KEY:
		return RETRY_HTTP_AUTH;
	case FAILURE_NONE:
	case FAILURE_HTTP:
	case FAILURE_TIMEOUT_TOTAL:
	case FAILURE_TOO_LARGE:
	case FAILURE_LOCAL:
	case FAILURE_COUNT:
		break;
	}
	return RETRY_NONE;
}

static bool ended_whole(const struct retry_seen *seen)
{
	return seen->failure == FAILURE_NONE || seen->failure == FAILURE_HTTP;
}

/* What only a reader of bodies can see: an error under a 200 above all. */
static bool found_by_gate(const struct retry_seen *seen)
{
	switch (seen->gate) {
	case RETRY_ERROR_200:
	case RETRY_BROKEN:
		return true;
	case RETRY_HTTP_429:
	case RETRY_HTTP_AUTH:
	case RETRY_OVERLOADED:
		return seen->http_status >= 200 && seen->http_status < 300;
	case RETRY_NONE:
	case RETRY_CONNECT:
	case RETRY_TIMEOUT:
	case RETRY_HTTP_5XX:
	case RETRY_COUNT:
		break;
	}
	return false;
}

/**
 * retry_class() - Why an attempt may be made again
 * @seen:	What is known of it
 *
 * The broker's word counts before the gate's, but for what only the gate can
 * see: that something was handed on, and errors in whole answers.
 *
 * Return: RETRY_NONE: it may not.
 */
enum infer_retry retry_class(const struct retry_seen *seen)
{
	if (seen->gate == RETRY_NONE)
		return RETRY_NONE;
	if (!seen->has_broker)
		return seen->gate;
	/* An error that the gate found made core cancel the transfer. */
	if (seen->failure == FAILURE_LOCAL && found_by_gate(seen))
		return seen->gate;
	if (!ended_whole(seen))
		return class_of_failure(seen->failure);
	if (seen->http_status >= 400)
		return class_of_status(seen->http_status);
	return found_by_gate(seen) ? seen->gate : RETRY_NONE;
}

/**
 * retry_health() - What an attempt says of its provider
 * @seen:	What is known of it
 *
 * Counts also when something was handed on. A refusal is an answer: the
 * provider is well.
 */
enum retry_health retry_health(const struct retry_seen *seen)
{
	enum infer_retry kind;

	if (seen->has_broker && found_by_gate(seen) &&
	    (seen->failure == FAILURE_LOCAL || seen->http_status < 400)) {
		if (seen->gate == RETRY_HTTP_AUTH)
			return RETRY_WELL;
		return seen->gate == RETRY_HTTP_429 ? RETRY_UNTOLD : RETRY_ILL;
	}
	if (!seen->has_broker || seen->failure == FAILURE_LOCAL ||
	    seen->failure == FAILURE_NO_KEY)
		return RETRY_UNTOLD;
	kind = ended_whole(seen) ? class_of_status(seen->http_status)
				 : class_of_failure(seen->failure);
	if (kind == RETRY_HTTP_429 || seen->failure == FAILURE_TIMEOUT_TOTAL)
		return RETRY_UNTOLD;
	if (kind != RETRY_NONE && kind != RETRY_HTTP_AUTH)
		return RETRY_ILL;
	return RETRY_WELL;
}

static uint64_t back_off_ns(const struct retry_rules *rules, uint32_t tries,
			    uint32_t random)
{
	uint64_t ms = rules->base_ms;

	while (tries-- > 1 && ms < rules->max_ms)
		ms *= 2;
	if (ms > rules->max_ms)
		ms = rules->max_ms;
	return ms * NS_PER_MS / 1000u * (800u + random % (SPREAD + 1));
}

/**
 * retry_plan() - What comes after an attempt
 * @seen:	What is known of it
 * @tries:	How many its candidate had, this one included
 * @has_next:	Whether another candidate is left
 * @rules:	Numbers from kenaz.toml
 * @random:	Any number
 *
 * Return: stop, the same candidate after a delay, or the next one at once.
 */
struct retry_plan retry_plan(const struct retry_seen *seen, uint32_t tries,
			     bool has_next, const struct retry_rules *rules,
			     uint32_t random)
{
	enum infer_retry kind = retry_class(seen);
	struct retry_plan next = {.step = has_next ? RETRY_NEXT : RETRY_STOP};
	struct retry_plan same = {.step = RETRY_SAME};
	uint64_t asked_ns = seen->retry_after_ms * NS_PER_MS;

	if (kind == RETRY_NONE)
		return (struct retry_plan){.step = RETRY_STOP};
	if (kind == RETRY_HTTP_AUTH || seen->should_retry == 1 ||
	    tries > rules->retries ||
	    seen->retry_after_ms > (uint64_t)rules->after_max_s * 1000u)
		return next;
	same.delay_ns = back_off_ns(rules, tries, random);
	if (asked_ns > same.delay_ns)
		same.delay_ns = asked_ns;
	return same;
}
