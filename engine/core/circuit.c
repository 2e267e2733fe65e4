/* SPDX-License-Identifier: Apache-2.0 */
/*
 * circuit.c - a provider that keeps failing is left alone for a while
 *
 * Runs in: kenazd.
 * Trusts:  its caller's clock and verdicts.
 * Never:   does I/O; lets more than one request probe at a time.
 *
 * closed -> open after so many failures in a row within the window -> half open
 * once the time is over: one request goes through -> closed when that was well,
 * open again when it was not.
 *
 * Some failures are a request's own fault: what makes a provider answer 500,
 * or a captured gate's mere word. So where there are several sessions, one can
 * bring about half of the failures at most that close a provider to all. Who
 * has as many as that takes alone is held back alone.
 */
#include "engine/core/circuit.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

/** circuit_state_text() - Name of a state, for people and events */
const char *circuit_state_text(enum circuit_state state)
{
	static const char *const texts[] = {
		[CIRCUIT_CLOSED] = "closed",
		[CIRCUIT_OPEN] = "open",
		[CIRCUIT_HALF_OPEN] = "half-open",
	};

	return texts[state];
}

/** circuit_find() - The circuit of a provider, or NULL: nothing is known */
const struct circuit *circuit_find(const struct circuits *set,
				   const char *provider)
{
	size_t i;

	for (i = 0; i < set->count; i++)
		if (strcmp(set->of[i].provider, provider) == 0)
			return &set->of[i];
	return NULL;
}

/**
 * circuit_of() - The circuit of a provider; a new one is closed
 * @set:	Circuits
 * @provider:	Its name
 *
 * Return: NULL when there are CIRCUITS_MAX others: then it has none.
 */
struct circuit *circuit_of(struct circuits *set, const char *provider)
{
	struct circuit *c;
	size_t i;

	for (i = 0; i < set->count; i++)
		if (strcmp(set->of[i].provider, provider) == 0)
			return &set->of[i];
	if (set->count == CIRCUITS_MAX)
		return NULL;
	c = &set->of[set->count++];
	*c = (struct circuit){.state = CIRCUIT_CLOSED};
	(void)snprintf(c->provider, sizeof(c->provider), "%s", provider);
	return c;
}

/**
 * circuit_admits() - Whether a request may go to the provider now
 * @c:			Circuit, or NULL: it may
 * @who:		As circuit_report() was told
 * @now_ns:		Monotonic clock
 * @ret_wait_ns:	When not: how long at least; always written
 */
bool circuit_admits(struct circuit *c, uint64_t who, uint64_t now_ns,
		    uint64_t *ret_wait_ns)
{
	*ret_wait_ns = 0;
	if (c && who && who == c->held_who && now_ns < c->held_until_ns) {
		*ret_wait_ns = c->held_until_ns - now_ns;
		return false;
	}
	if (!c || c->state == CIRCUIT_CLOSED)
		return true;
	if (c->state == CIRCUIT_OPEN && now_ns < c->until_ns) {
		*ret_wait_ns = c->until_ns - now_ns;
		return false;
	}
	if (c->probing)
		*ret_wait_ns = NS_PER_S;
	return !c->probing;
}

/**
 * circuit_begin() - A request that was admitted is sent
 * @c:	Circuit or NULL
 *
 * Return: whether it is the probe.
 */
bool circuit_begin(struct circuit *c)
{
	if (!c || c->state == CIRCUIT_CLOSED)
		return false;
	c->state = CIRCUIT_HALF_OPEN;
	c->probing = true;
	return true;
}

/** circuit_withdraw() - The request says nothing of the provider */
void circuit_withdraw(struct circuit *c, bool probe)
{
	if (c && probe)
		c->probing = false;
}

static void add_failure(struct circuit *c, uint64_t window_ns, uint64_t who,
			uint64_t now_ns)
{
	uint32_t i, kept = 0;

	for (i = 0; i < c->failed_count; i++) {
		if (now_ns - c->failed_ns[i] > window_ns)
			continue;
		c->failed_ns[kept] = c->failed_ns[i];
		c->failed_who[kept++] = c->failed_who[i];
	}
	if (kept == CIRCUIT_FAILURES_MAX) {
		kept--;
		memmove(c->failed_ns, c->failed_ns + 1,
			kept * sizeof(c->failed_ns[0]));
		memmove(c->failed_who, c->failed_who + 1,
			kept * sizeof(c->failed_who[0]));
	}
	c->failed_ns[kept] = now_ns;
	c->failed_who[kept++] = who;
	c->failed_count = kept;
}

/* How many are one session's, of the first so many. */
static uint32_t failures_of(const struct circuit *c, uint64_t who,
			    uint32_t among)
{
	uint32_t i, count = 0;

	for (i = 0; i < among; i++)
		count += c->failed_who[i] == who;
	return count;
}

static bool too_many(struct circuit *c, const struct circuit_rules *rules,
		     uint64_t who, uint64_t now_ns)
{
	uint32_t most = (rules->failures + 1) / 2, i, counted = 0;

	add_failure(c, rules->window_s * NS_PER_S, who, now_ns);
	for (i = 0; i < c->failed_count; i++)
		counted += c->failed_who[i] == 0 ||
			   failures_of(c, c->failed_who[i], i) < most;
	if (counted >= rules->failures)
		return true;
	if (who && failures_of(c, who, c->failed_count) >= rules->failures) {
		c->held_who = who;
		c->held_until_ns = now_ns + rules->open_s * NS_PER_S;
	}
	return false;
}

/**
 * circuit_report() - How a request went
 * @c:		Circuit or NULL
 * @rules:	Numbers from kenaz.toml
 * @well:	The provider answered as it should
 * @probe:	What circuit_begin() returned
 * @who:	Whose request it was; 0 where no other could suffer from it, or
 *		where a request cannot bring such a failure about
 * @now_ns:	Monotonic clock
 *
 * Requests that began before the circuit opened change nothing.
 *
 * Return: whether the state is another one now.
 */
bool circuit_report(struct circuit *c, const struct circuit_rules *rules,
		    bool well, bool probe, uint64_t who, uint64_t now_ns)
{
	if (!c)
		return false;
	if (rules->failures == 0) {
		c->state = CIRCUIT_CLOSED;
		c->probing = false;
		return false;
	}
	if (c->state != CIRCUIT_CLOSED && !probe)
		return false;
	if (probe)
		c->probing = false;
	if (well) {
		bool changed = c->state != CIRCUIT_CLOSED;

		c->state = CIRCUIT_CLOSED;
		c->failed_count = 0;
		return changed;
	}
	if (!probe && !too_many(c, rules, who, now_ns))
		return false;
	c->state = CIRCUIT_OPEN;
	c->until_ns = now_ns + rules->open_s * NS_PER_S;
	c->failed_count = 0;
	c->opened++;
	return true;
}
