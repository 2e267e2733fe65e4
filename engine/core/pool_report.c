/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_report.c - which way the next start goes, what is held, what would help
 *
 * Runs in: kenazd.
 * Trusts:  the pool's own books.
 * Never:   changes anything.
 */
#include <stdio.h>
#include <string.h>

#include "engine/core/accel.h"
#include "engine/core/pool_state.h"

#define S_NS 1000000000ull

static void report_way(struct pool *p, struct doctor_report *report)
{
	const struct engine *e = p->engine;
	struct pool_choice c = {.configured = e->config->pool.start};
	const char *image = accel_default_image(e), *why, *faster = "";
	const struct template_entry *t;
	const struct pool_vm *v;
	enum pool_way way;
	size_t i;

	c.can_restore = pool_can_restore(e);
	for (i = 0; i < p->n_targets; i++)
		if (p->targets[i].no_template &&
		    strcmp(p->targets[i].kind.image, image) == 0)
			c.can_restore = false;
	LIST_FOREACH(t, &p->templates, next)
	if (t->durable && t->kind.trust == e->uid &&
	    strcmp(t->kind.image, image) == 0 &&
	    t->kind.memory_mib == e->config->limits.memory_mib &&
	    t->kind.vcpus == e->config->limits.vcpus)
		c.has_template = true;

	LIST_FOREACH(v, &p->vms, next)
	{
		if (v->is_maker || v->kind.trust != e->uid ||
		    strcmp(v->kind.image, image) != 0)
			continue;
		c.has_ready = c.has_ready || v->state == POOL_VM_READY;
		c.has_booting = c.has_booting || v->state == POOL_VM_BOOTING;
	}
	way = pool_choose(&c, &why);
	if (way == POOL_COLD && e->config->pool.start != CONFIG_POOL_COLD &&
	    e->config->pool.start != CONFIG_POOL_POOL && c.can_restore)
		faster = "nothing: after a first start a template is made in "
			 "the background";
	else if (way == POOL_TEMPLATE)
		faster = "set pool.size in kenaz.toml: a machine that waits "
			 "needs a greeting only, but has all its memory";
	else if (way == POOL_COLD && e->config->pool.size == 0)
		faster = "set pool.size in kenaz.toml: that many machines "
			 "then wait, each with its memory";
	else if (way == POOL_COLD)
		faster = "nothing: the pool is refilled in the background";
	doctor_add(report, "start", DOCTOR_INFO,
		   way == POOL_COLD ? "a start takes a whole boot" : "", faster,
		   "a session of image %s with the default sizes starts now "
		   "by %s: %s",
		   image,
		   way == POOL_COLD       ? "a cold boot"
		   : way == POOL_BOOTING  ? "a boot under way"
		   : way == POOL_TEMPLATE ? "a template's restore"
					  : "a claim from the pool",
		   why);
}

static void report_target(struct pool *p, const struct pool_target *t,
			  struct doctor_report *report)
{
	const struct pool_vm *v;
	struct pool_load load;
	size_t ready = pool_count(p, &t->kind, true);
	uint64_t now = engine_now_ns(), oldest = now;
	char next[POOL_REASON_BYTES + 64] = "";
	enum pool_verdict verdict;

	LIST_FOREACH(v, &p->vms, next)
	if (v->state == POOL_VM_READY && pool_kind_equal(&v->kind, &t->kind) &&
	    v->begun_ns < oldest)
		oldest = v->begun_ns;
	pool_gather_load(p, t, &load);
	verdict = pool_may_refill(&load);
	if (pool_count(p, &t->kind, false) < t->size && verdict != POOL_GO)
		(void)snprintf(next, sizeof(next), "; no refill now: %s",
			       pool_verdict_text(verdict));
	if (t->failures)
		text_append(next, sizeof(next),
			    "; %u failed in a row, next try in %llu s: %s",
			    t->failures,
			    (unsigned long long)(t->retry_ns > now
							 ? (t->retry_ns - now) /
								   S_NS
							 : 0),
			    t->reason);
	doctor_add(report, "pool",
		   t->failures       ? DOCTOR_WARN
		   : ready < t->size ? DOCTOR_INFO
				     : DOCTOR_OK,
		   t->failures ? "starts take a whole boot meanwhile" : "",
		   t->failures ? "see the reason; `kenaz audit list --kind "
				 "vm.end` has them all"
			       : "",
		   "image %s, %u MiB, %u vCPU%s, uid %u: %zu of %u wait, the "
		   "oldest for %llu s%s",
		   t->kind.image, t->kind.memory_mib, t->kind.vcpus,
		   t->kind.vcpus == 1 ? "" : "s", (unsigned)t->kind.trust,
		   ready, t->size, (unsigned long long)((now - oldest) / S_NS),
		   next);
}

static void report_template(const struct template_entry *t,
			    struct doctor_report *report)
{
	doctor_add(report, "template", DOCTOR_OK, "", "",
		   "image %s, %u MiB, %u vCPU%s, uid %u: takes %llu MiB, made "
		   "%llu s ago, restored %llu times",
		   t->kind.image, t->kind.memory_mib, t->kind.vcpus,
		   t->kind.vcpus == 1 ? "" : "s", (unsigned)t->kind.trust,
		   (unsigned long long)t->used_mib,
		   (unsigned long long)((engine_now_ns() - t->made_ns) / S_NS),
		   (unsigned long long)t->restores);
}

/**
 * pool_doctor() - Add what the pool has to say to a report
 * @e:		Engine
 * @report:	Appended to
 */
void pool_doctor(struct engine *e, struct doctor_report *report)
{
	struct pool *p = e->pool;
	const struct template_entry *t;
	size_t i;

	if (!p || e->dev_mock_vm)
		return;
	report_way(p, report);
	doctor_add(report, "pool.memory", DOCTOR_INFO, "", "",
		   "%llu MiB are held: %zu machines that wait or boot, and "
		   "%zu templates with %llu MiB (pool.memory_max_mib is %u)",
		   (unsigned long long)pool_held_mib(p), pool_machines(e),
		   template_count(&p->templates),
		   (unsigned long long)template_mib(&p->templates),
		   e->config->pool.memory_max_mib);
	LIST_FOREACH(t, &p->templates, next)
	if (t->durable)
		report_template(t, report);
	for (i = 0; i < p->n_targets; i++)
		if (p->targets[i].size || p->targets[i].failures)
			report_target(p, &p->targets[i], report);
}
