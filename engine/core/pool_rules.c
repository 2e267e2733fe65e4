/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_rules.c - the decisions behind warm starts, without any I/O
 *
 * Runs in: kenazd.
 * Trusts:  the figures that its callers gathered.
 * Never:   lets a machine stand for a request that differs in anything, nor a
 *	    refill begin while a user's own start is under way.
 */
#include "engine/core/pool_rules.h"

#include <string.h>

/** pool_kind_equal() - Whether one machine may stand for the other */
bool pool_kind_equal(const struct pool_kind *a, const struct pool_kind *b)
{
	return a->trust == b->trust && a->memory_mib == b->memory_mib &&
	       a->vcpus == b->vcpus && strcmp(a->image, b->image) == 0 &&
	       strcmp(a->accelerator, b->accelerator) == 0 &&
	       strcmp(a->backend, b->backend) == 0;
}

static bool allows(enum config_pool_start configured, enum pool_way way)
{
	switch (configured) {
	case CONFIG_POOL_AUTO:
		return true;
	case CONFIG_POOL_POOL:
		return way != POOL_TEMPLATE;
	case CONFIG_POOL_TEMPLATE:
		return way == POOL_TEMPLATE;
	case CONFIG_POOL_COLD:
		break;
	}
	return false;
}

/**
 * pool_choose() - The fastest correct way to start
 * @c:		What is allowed and what is there
 * @ret_why:	Clause for people: why this way and no faster one
 *
 * Return: the way. A machine that waits needs a greeting only; a restore a
 *	   fraction of a boot; a boot under way is still a head start.
 */
enum pool_way pool_choose(const struct pool_choice *c, const char **ret_why)
{
	if (c->has_ready && allows(c->configured, POOL_READY)) {
		*ret_why = "a booted machine waits in the pool";
		return POOL_READY;
	}
	if (c->has_template && c->can_restore &&
	    allows(c->configured, POOL_TEMPLATE)) {
		*ret_why = "a template of a booted guest is held";
		return POOL_TEMPLATE;
	}
	if (c->has_booting && allows(c->configured, POOL_BOOTING)) {
		*ret_why = "a machine for the pool is booting already";
		return POOL_BOOTING;
	}
	if (c->configured == CONFIG_POOL_COLD)
		*ret_why = "pool.start is \"cold\"";
	else if (c->configured == CONFIG_POOL_POOL)
		*ret_why = "no machine of this kind waits in the pool";
	else if (!c->can_restore)
		*ret_why = "no machine of this kind waits, and this backend "
			   "or an image with a root file has no templates";
	else
		*ret_why = "nothing of this kind is held";
	return POOL_COLD;
}

/** pool_way_text() - As users see a start: "cold", "pool" or "template" */
const char *pool_way_text(enum pool_way way)
{
	static const char *const texts[] = {
		[POOL_COLD] = "cold",
		[POOL_TEMPLATE] = "template",
		[POOL_READY] = "pool",
		[POOL_BOOTING] = "pool",
	};

	return texts[way];
}

/**
 * pool_may_refill() - Whether a machine may be started in the background
 * @l:	What it would meet
 *
 * Return: POOL_GO, or the first reason against it.
 */
enum pool_verdict pool_may_refill(const struct pool_load *l)
{
	if (l->stopping)
		return POOL_STOPPING;
	if (l->sealed)
		return POOL_SEALED;
	if (l->starting ||
	    (l->last_start_ns && l->now_ns - l->last_start_ns < POOL_QUIET_NS))
		return POOL_USERS_FIRST;
	if (l->refilling >= l->refill_parallel)
		return POOL_BUSY;
	if (l->now_ns < l->retry_ns)
		return POOL_BACKING_OFF;
	if (l->held_max_mib && l->held_mib + l->need_mib > l->held_max_mib)
		return POOL_HELD_FULL;
	if (l->host_max_mib &&
	    l->held_mib + l->sessions_mib + l->need_mib > l->host_max_mib)
		return POOL_LIMIT_FULL;
	if (l->available_mib &&
	    l->available_mib < l->need_mib + POOL_HOST_RESERVE_MIB)
		return POOL_HOST_SHORT;
	return POOL_GO;
}

/** pool_verdict_text() - A clause for people */
const char *pool_verdict_text(enum pool_verdict verdict)
{
	static const char *const texts[] = {
		[POOL_GO] = "nothing is in the way",
		[POOL_STOPPING] = "the engine stops",
		[POOL_SEALED] = "the log cannot be written",
		[POOL_USERS_FIRST] = "a user's own start comes first",
		[POOL_BUSY] = "pool.refill_parallel machines are booting",
		[POOL_BACKING_OFF] = "the last attempt failed",
		[POOL_HELD_FULL] = "pool.memory_max_mib is reached",
		[POOL_LIMIT_FULL] = "limits.host_memory_max_mib is reached",
		[POOL_HOST_SHORT] = "the host is short of memory",
	};

	return texts[verdict];
}

/** pool_backoff_ns() - How long to wait after so many failures in a row */
uint64_t pool_backoff_ns(unsigned failures)
{
	uint64_t wait = POOL_BACKOFF_FIRST_NS;

	if (failures == 0)
		return 0;
	while (--failures && wait < POOL_BACKOFF_MAX_NS)
		wait *= 2;
	return wait < POOL_BACKOFF_MAX_NS ? wait : POOL_BACKOFF_MAX_NS;
}

/* What a user gets most from goes last. */
static unsigned worth(const struct pool_victim *v)
{
	return (v->is_wanted ? 4u : 0u) + (v->is_template ? 2u : 0u) +
	       (v->is_ready ? 1u : 0u);
}

/**
 * pool_pick_victim() - What to drop first when memory is needed
 * @list:	What is held; mib 0 is nothing to gain
 * @count:	How many
 *
 * Not asked for before asked for, machines (which cost all their memory)
 * before templates (which cost what was touched), half booted before ready,
 * then the one unused for longest.
 *
 * Return: its index, or @count when there is none.
 */
size_t pool_pick_victim(const struct pool_victim *list, size_t count)
{
	size_t i, best = count;

	for (i = 0; i < count; i++) {
		if (list[i].mib == 0)
			continue;
		if (best == count || worth(&list[i]) < worth(&list[best]) ||
		    (worth(&list[i]) == worth(&list[best]) &&
		     list[i].used_ns < list[best].used_ns))
			best = i;
	}
	return best;
}

/**
 * pool_is_stale() - Whether a template has to be replaced
 * @age_ns:		Since it was made
 * @max_age_s:		pool.template_max_age_s
 * @restores:		How often it was used
 * @restores_max:	pool.template_restores_max; 0: no such limit
 */
bool pool_is_stale(uint64_t age_ns, uint64_t max_age_s, uint64_t restores,
		   uint64_t restores_max)
{
	return age_ns / 1000000000ull >= max_age_s ||
	       (restores_max && restores >= restores_max);
}
