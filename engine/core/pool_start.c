/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_start.c - give a session what is held, and take it back for its memory
 *
 * Runs in: kenazd.
 * Trusts:  the pool's books; launch's fingerprint of a restored machine.
 * Never:   gives a machine or template to another user than it was made for,
 *	    to a request that differs in anything, or after its image or QEMU
 *	    changed on disk.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/accel.h"
#include "engine/core/pool_state.h"

static struct pool_kind kind_of(const struct session *s)
{
	struct pool_kind kind;

	pool_put_kind(s->engine, &kind, s->uid, s->image, s->memory_mib,
		      s->vcpus, s->engine->accelerator.name);
	return kind;
}

/* --- starts -------------------------------------------------------------- */

/* The one that waits for longest, so that none gets old. */
static struct pool_vm *find(struct pool *p, const struct pool_kind *kind,
			    bool ready)
{
	struct pool_vm *v, *found = NULL;

	LIST_FOREACH(v, &p->vms, next)
	if ((ready ? v->state == POOL_VM_READY : v->state == POOL_VM_BOOTING) &&
	    !v->is_maker && pool_kind_equal(&v->kind, kind) &&
	    (!found || v->begun_ns < found->begun_ns))
		found = v;
	return found;
}

static struct pool_vm *find_true(struct pool *p, const struct pool_kind *kind,
				 bool ready)
{
	struct pool_vm *v;

	while ((v = find(p, kind, ready)))
		if (pool_still_true(v))
			return v;
	return NULL;
}

static void end_refills(struct pool *p)
{
	struct pool_vm *v, *after;

	for (v = LIST_FIRST(&p->vms); v; v = after) {
		after = LIST_NEXT(v, next);
		if (v->state != POOL_VM_READY)
			pool_vm_end(v, ERR_OK,
				    "a user's own start comes first");
	}
}

static void note_start(struct pool *p, const struct session *s)
{
	struct pool_kind kind = kind_of(s);
	struct pool_target *t = pool_target_of(p, &kind);
	uint8_t stamp[DIGEST_BYTES];

	p->last_start_ns = engine_now_ns();
	if (p->engine->paths.system && p->engine->config->pool.size && !t &&
	    pool_has_image(p->engine, s->image)) {
		pool_want(p, s->uid, s->image);
		t = pool_target_of(p, &kind);
	}
	if (!t && pool_allows_templates(p->engine))
		t = pool_add_target(p, &kind);
	if (!t)
		return;
	t->used_ns = p->last_start_ns;
	t->wants_template = pool_allows_templates(p->engine);
	if (t->no_template &&
	    (pool_stamp(p->engine, s->image, stamp) != ERR_OK ||
	     memcmp(stamp, t->no_template_stamp, sizeof(stamp)) != 0))
		t->no_template = false;
}

/**
 * pool_start() - Start a session in a faster way than by a cold boot
 * @s:	Session that policy allowed, in state creating; the accelerator is known
 *
 * Return: true when it is under way; false when it has to boot, for which
 *	   nothing else boots any more.
 */
bool pool_start(struct session *s)
{
	struct pool *p = s->engine->pool;
	struct pool_choice choice = {.configured =
					     s->engine->config->pool.start};
	struct pool_vm *ready, *booting;
	struct pool_kind kind;
	const char *why;

	if (!p)
		return false;
	kind = kind_of(s);
	pool_learn_accelerator(p);
	note_start(p, s);
	ready = find_true(p, &kind, true);
	booting = ready ? NULL : find_true(p, &kind, false);
	choice.has_ready = ready != NULL;
	choice.has_booting = booting != NULL;
	choice.can_restore = pool_can_restore(s->engine);
	choice.has_template = !ready && pool_template(p, &kind);
	s->way = pool_choose(&choice, &why);
	log_info("session %s: %s start: %s", s->id, pool_way_text(s->way), why);
	if (s->way == POOL_READY || s->way == POOL_BOOTING) {
		pool_vm_hand_over(s->way == POOL_READY ? ready : booting, s);
		return true;
	}
	end_refills(p);
	return false;
}

/* --- sessions out of templates ------------------------------------------- */

/** pool_put_clone() - Have a machine restored from a template */
enum err pool_put_clone(struct template_entry *t, struct vm_wish *wish)
{
	wish->memory_fd = fcntl(t->memory_fd, F_DUPFD_CLOEXEC, 0);
	wish->state_fd = fcntl(t->state_fd, F_DUPFD_CLOEXEC, 0);
	if (wish->memory_fd < 0 || wish->state_fd < 0) {
		if (wish->memory_fd >= 0)
			close(wish->memory_fd);
		if (wish->state_fd >= 0)
			close(wish->state_fd);
		return ERR_SYS;
	}
	wish->start = VM_START_RESTORE;
	wish->template = t->digest;
	t->restores++;
	t->used_ns = engine_now_ns();
	return ERR_OK;
}

/**
 * pool_wants_clone() - Have a session's machine restored, if that still can be
 * @s:		Session whose way is POOL_TEMPLATE
 * @wish:	start, descriptors and digest are set
 */
bool pool_wants_clone(struct session *s, struct vm_wish *wish)
{
	struct pool_kind kind = kind_of(s);
	struct template_entry *t =
		template_find(&s->engine->pool->templates, &kind);

	if (!t || pool_put_clone(t, wish) != ERR_OK)
		return false;
	s->vm_age_ns = engine_now_ns() - t->made_ns;
	memcpy(s->template, t->digest, sizeof(s->template));
	return true;
}

/* It may have been dropped since; then there is nothing to compare with. */
static struct template_entry *template_of(struct session *s)
{
	struct template_entry *t;

	LIST_FOREACH(t, &s->engine->pool->templates, next)
	if (memcmp(t->digest, s->template, sizeof(s->template)) == 0)
		return t;
	return NULL;
}

/** pool_clone_fits() - Whether launch made of a template what core asked for */
bool pool_clone_fits(struct session *s, const struct msg_vm_fingerprint *m)
{
	const struct template_entry *t = template_of(s);

	return t ? template_fits(t, m)
		 : memcmp(m->template, s->template, sizeof(s->template)) == 0;
}

/** pool_clone_failed() - A template that cannot be restored is of no use */
void pool_clone_failed(struct session *s, const char *reason)
{
	struct template_entry *t = template_of(s);
	struct pool_kind kind = kind_of(s);

	pool_vm_failed(s->engine->pool, &kind, reason);
	if (t)
		template_drop(t, reason);
}

/**
 * pool_make_room() - Drop what waits until a session fits
 * @e:			Engine
 * @o:			What is wanted; what may serve it is dropped last
 * @sessions_mib:	Memory of all sessions with this one
 *
 * Return: MiB that are still held and count against the host's limit.
 */
uint64_t pool_make_room(struct engine *e, const struct session_options *o,
			uint64_t sessions_mib)
{
	uint64_t max = e->config->limits.host_memory_max_mib, held = 0;
	const struct config_limits *l = &e->config->limits;
	struct pool_vm *v, *after, *spare;
	struct template_entry *t;
	struct pool_kind kind;

	if (!e->pool)
		return 0;
	pool_put_kind(e, &kind, o->uid,
		      o->image ? o->image : accel_default_image(e),
		      o->memory_mib ? o->memory_mib : l->memory_mib,
		      o->vcpus ? o->vcpus : l->vcpus, e->accelerator.name);
	/* Claimed, it is the session's memory and nobody's besides. */
	spare = find(e->pool, &kind, true);
	do {
		v = NULL;
		held = template_mib(&e->pool->templates);
		LIST_FOREACH(after, &e->pool->vms, next)
		if (after != spare && after->state != POOL_VM_ENDING)
			held += pool_kind_mib(&after->kind);
		if (max && sessions_mib + held > max)
			v = pool_pick(e->pool, spare);
		if (v)
			pool_vm_end(v, ERR_OK, "a session needs its memory");
		t = v || !max || sessions_mib + held <= max
			    ? NULL
			    : template_oldest(&e->pool->templates);
		if (t)
			template_drop(t, "a session needs its memory");
	} while (v || t);
	return held;
}
