/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c - machines that boot before anybody asks for them
 *
 * Runs in: kenazd.
 * Trusts:  launch's fingerprint of what it verified and started.
 * Never:   gives a machine to another user than it was started for, to a
 *	    request that differs in anything, or after its image or QEMU
 *	    changed on disk; starts one while a user's own start is under way.
 *
 * Theory of operation. What should be held is a list of targets: the images
 * of [pool] for the engine's owner, on a system engine for each user who
 * started a session of one. The engine's tick compares it with what is held
 * and asks pool_may_refill() whether a machine may be started. A start takes
 * the fastest way there is; what boots for the pool and is not of its kind is
 * ended, so that it has the processors for itself.
 */
#include "engine/core/pool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/log.h"
#include "engine/core/accel.h"
#include "engine/core/audit_client.h"
#include "engine/core/control.h"
#include "engine/core/host_memory.h"
#include "engine/core/image_stamp.h"
#include "engine/core/pool_state.h"
#include "engine/core/quota.h"

#define QEMU_PATH "/usr/bin/qemu-system-x86_64"

/** vm_make_id() - A name for a machine: 60 random bits */
void vm_make_id(char ret_id[SESSION_ID_BYTES + 1])
{
	static const char letters[] = "abcdefghjkmnpqrstvwxyz0123456789";
	uint8_t random[SESSION_ID_BYTES];
	size_t i;

	randombytes_buf(random, sizeof(random));
	for (i = 0; i < SESSION_ID_BYTES; i++)
		ret_id[i] = letters[random[i] & 31];
	ret_id[SESSION_ID_BYTES] = '\0';
}

/** pool_stamp() - What an image and QEMU are on disk now */
enum err pool_stamp(struct engine *e, const char *image,
		    uint8_t ret_stamp[DIGEST_BYTES])
{
	int fd;
	enum err err = accel_open_image(e, image, &fd);

	if (err != ERR_OK)
		return err;
	err = image_stamp(fd, QEMU_PATH, ret_stamp);
	close(fd);
	return err;
}

/* --- what is held -------------------------------------------------------- */

/** pool_kind_mib() - What a machine of a kind may take, QEMU's part too */
uint32_t pool_kind_mib(const struct pool_kind *kind)
{
	return quota_memory_mib(kind->memory_mib,
				strcmp(kind->accelerator, "kvm") == 0);
}

/** pool_held_mib() - What machines may take, and what templates do take */
uint64_t pool_held_mib(const struct pool *p)
{
	const struct pool_vm *v;
	uint64_t mib = 0;

	LIST_FOREACH(v, &p->vms, next)
	mib += pool_kind_mib(&v->kind);
	return mib + template_mib(&p->templates);
}

/** pool_count() - Machines of a kind that boot or wait */
size_t pool_count(const struct pool *p, const struct pool_kind *kind,
		  bool ready_only)
{
	const struct pool_vm *v;
	size_t n = 0;

	LIST_FOREACH(v, &p->vms, next)
	if (pool_kind_equal(&v->kind, kind) && !v->is_maker &&
	    v->state != POOL_VM_ENDING &&
	    (!ready_only || v->state == POOL_VM_READY))
		n++;
	return n;
}

/** pool_machines() - How many run, those that are ending included */
size_t pool_machines(const struct engine *e)
{
	const struct pool_vm *v;
	size_t n = 0;

	if (!e->pool)
		return 0;
	LIST_FOREACH(v, &e->pool->vms, next)
	n++;
	return n;
}

/** pool_target_of() - What is wanted of a kind, or NULL */
struct pool_target *pool_target_of(struct pool *p, const struct pool_kind *kind)
{
	size_t i;

	for (i = 0; i < p->n_targets; i++)
		if (pool_kind_equal(&p->targets[i].kind, kind))
			return &p->targets[i];
	return NULL;
}

/** pool_put_kind() - Describe a kind of machine of our backend */
void pool_put_kind(const struct engine *e, struct pool_kind *kind, uid_t trust,
		   const char *image, uint32_t memory_mib, uint32_t vcpus,
		   const char *accelerator)
{
	*kind = (struct pool_kind){.trust = trust,
				   .memory_mib = memory_mib,
				   .vcpus = vcpus};
	(void)snprintf(kind->image, sizeof(kind->image), "%s", image);
	(void)snprintf(kind->accelerator, sizeof(kind->accelerator), "%s",
		       accelerator);
	(void)snprintf(kind->backend, sizeof(kind->backend), "%s",
		       e->config->engine.vsock == CONFIG_VSOCK_KERNEL
			       ? "kernel"
			       : "device");
}

/** pool_has_image() - Whether [pool] names an image */
bool pool_has_image(const struct engine *e, const char *image)
{
	const struct config_pool *c = &e->config->pool;
	size_t i;

	if (c->image_count == 0)
		return strcmp(image, accel_default_image(e)) == 0;
	for (i = 0; i < c->image_count; i++)
		if (strcmp(image, c->images[i]) == 0)
			return true;
	return false;
}

/** pool_add_target() - A new target; the one unused for longest goes */
struct pool_target *pool_add_target(struct pool *p,
				    const struct pool_kind *kind)
{
	struct pool_target *t = &p->targets[0];
	size_t i;

	if (p->n_targets < POOL_TARGETS_MAX) {
		t = &p->targets[p->n_targets++];
	} else {
		for (i = 1; i < p->n_targets; i++)
			if (p->targets[i].used_ns < t->used_ns)
				t = &p->targets[i];
	}
	*t = (struct pool_target){.kind = *kind};
	return t;
}

/** pool_can_restore() - Whether backend and accelerator can go on from one */
bool pool_can_restore(const struct engine *e)
{
	/* The device must be plugged after the restore: ours can be. */
	return !e->dev_mock_vm &&
	       e->config->engine.vsock == CONFIG_VSOCK_DEVICE;
}

/** pool_allows_templates() - Whether starts may be restores */
bool pool_allows_templates(const struct engine *e)
{
	enum config_pool_start start = e->config->pool.start;

	return pool_can_restore(e) &&
	       (start == CONFIG_POOL_AUTO || start == CONFIG_POOL_TEMPLATE);
}

/** pool_want() - Hold machines of an image for a user from here on */
void pool_want(struct pool *p, uid_t trust, const char *image)
{
	const struct config *c = p->engine->config;
	struct pool_target *t;
	struct pool_kind kind;

	pool_put_kind(p->engine, &kind, trust, image, c->limits.memory_mib,
		      c->limits.vcpus, p->engine->accelerator.name);
	t = pool_target_of(p, &kind);
	if (!t)
		t = pool_add_target(p, &kind);
	t->size = c->pool.size;
	t->wants_template = pool_allows_templates(p->engine);
	t->used_ns = engine_now_ns();
}

/* An owner's engine knows beforehand for whom; a system engine does not. */
static void want_configured(struct pool *p)
{
	const struct engine *e = p->engine;
	const struct config_pool *c = &e->config->pool;
	size_t i;

	if (c->size == 0 || e->paths.system)
		return;
	if (c->image_count == 0)
		pool_want(p, e->uid, accel_default_image(e));
	for (i = 0; i < c->image_count; i++)
		pool_want(p, e->uid, c->images[i]);
}

/* --- refills ------------------------------------------------------------- */

static size_t count_starting(const struct engine *e, uint64_t *ret_memory_mib)
{
	const struct session *s;
	uint64_t memory = 0;
	size_t n = 0;

	LIST_FOREACH(s, &e->sessions, next)
	{
		if (session_has_ended(s))
			continue;
		memory += quota_memory_mib(s->memory_mib,
					   strcmp(s->accelerator, "kvm") == 0);
		/* A person's answer may take minutes: nothing runs meanwhile */
		if (s->state == SESSION_BOOTING ||
		    (s->state == SESSION_CREATING && !s->approval))
			n++;
	}
	*ret_memory_mib = memory;
	return n;
}

static size_t count_refilling(const struct pool *p)
{
	const struct pool_vm *v;
	size_t n = 0;

	LIST_FOREACH(v, &p->vms, next)
	if (v->state != POOL_VM_READY && v->state != POOL_VM_ENDING)
		n++;
	return n;
}

/** pool_gather_load() - What a refill of a target would meet now */
void pool_gather_load(struct pool *p, const struct pool_target *t,
		      struct pool_load *ret_load)
{
	const struct engine *e = p->engine;
	const struct config *c = e->config;
	struct pool_load l = {
		.now_ns = engine_now_ns(),
		.stopping = e->stopping,
		.sealed = audit_client_state(e)->sealed ||
			  !audit_client_state(e)->ready,
		.refilling = count_refilling(p),
		.refill_parallel = c->pool.refill_parallel,
		.retry_ns = t->retry_ns,
		.need_mib = pool_kind_mib(&t->kind),
		.held_mib = pool_held_mib(p),
		.held_max_mib = c->pool.memory_max_mib,
		.host_max_mib = c->limits.host_memory_max_mib,
		.available_mib = host_memory_left_mib(),
	};

	l.starting = count_starting(e, &l.sessions_mib);
	if (l.starting)
		p->last_start_ns = l.now_ns;
	l.last_start_ns = p->last_start_ns;
	*ret_load = l;
}

/** pool_learn_accelerator() - What is wanted is of the one that was found */
void pool_learn_accelerator(struct pool *p)
{
	size_t i;

	for (i = 0; i < p->n_targets; i++) {
		struct pool_kind *kind = &p->targets[i].kind;

		if (!kind->accelerator[0])
			(void)snprintf(kind->accelerator,
				       sizeof(kind->accelerator), "%s",
				       p->engine->accelerator.name);
	}
}

static void on_accelerator(void *context)
{
	((struct pool *)context)->accelerator_asked = false;
}

static void refill(struct pool *p, struct pool_target *t, bool is_maker)
{
	enum err err;

	if (!p->engine->accelerator.name[0]) {
		if (!p->accelerator_asked) {
			p->accelerator_asked = true;
			accel_decide(p->engine, t->kind.image, on_accelerator,
				     p);
			/* Answered at once, and still not known. */
			if (!p->accelerator_asked &&
			    !p->engine->accelerator.name[0])
				pool_vm_failed(p, &t->kind,
					       "no accelerator could be probed "
					       "with this image");
		}
		return;
	}
	err = pool_vm_new(p, &t->kind, is_maker);
	if (err != ERR_OK)
		pool_vm_failed(p, &t->kind,
			       err == ERR_NOT_FOUND ? "the image was not found"
						    : err_text(err));
}

/* An engine that leaves when nobody needs it makes nothing for later. */
static bool lives_on(const struct engine *e)
{
	return !e->idle_exit || sessions_live(e) || control_clients(e);
}

static bool lacks_template(struct pool *p, const struct pool_target *t)
{
	const struct template_entry *held;
	const struct pool_vm *v;

	if (!t->wants_template || t->no_template || !lives_on(p->engine))
		return false;
	LIST_FOREACH(held, &p->templates, next)
	if (pool_kind_equal(&held->kind, &t->kind))
		return false;
	LIST_FOREACH(v, &p->vms, next)
	if (v->is_maker && pool_kind_equal(&v->kind, &t->kind))
		return false;
	/* Kinds that take turns must not push each other out for ever. */
	held = template_oldest(&p->templates);
	return template_count(&p->templates) <
		       p->engine->config->pool.templates_max ||
	       engine_now_ns() - held->used_ns > POOL_KEEP_NS;
}

/* The first machine for whoever comes next, then what makes more cheap. */
static bool lacks_something(struct pool *p, const struct pool_target *t,
			    bool *ret_is_maker)
{
	size_t n = pool_count(p, &t->kind, false);

	*ret_is_maker = (n || t->size == 0) && lacks_template(p, t);
	return *ret_is_maker || n < t->size;
}

static void make_template_room(struct pool *p)
{
	while (template_count(&p->templates) >=
	       p->engine->config->pool.templates_max)
		template_drop(template_oldest(&p->templates),
			      "another one takes its place");
}

/* One at most: the next tick sees what this one did. */
static void refill_one(struct pool *p)
{
	struct pool_load load;
	bool is_maker;
	size_t i;

	for (i = 0; i < p->n_targets; i++) {
		struct pool_target *t = &p->targets[i];

		if (!lacks_something(p, t, &is_maker))
			continue;
		pool_gather_load(p, t, &load);
		if (pool_may_refill(&load) != POOL_GO)
			continue;
		if (is_maker)
			make_template_room(p);
		refill(p, t, is_maker);
		return;
	}
}

/** pool_still_true() - End what no cold start would make any more */
bool pool_still_true(struct pool_vm *v)
{
	uint8_t stamp[DIGEST_BYTES];

	if (v->state == POOL_VM_ENDING)
		return false;
	if (pool_stamp(v->engine, v->kind.image, stamp) == ERR_OK &&
	    memcmp(stamp, v->stamp, sizeof(stamp)) == 0)
		return true;
	pool_vm_end(v, ERR_OK, "its image or QEMU changed on disk");
	return false;
}

/* Also what was made of it goes, as soon as it is too old or used too often. */
static bool template_is_true(struct template_entry *t)
{
	const struct config_pool *c = &t->engine->config->pool;
	struct pool_target *target;
	uint8_t stamp[DIGEST_BYTES];

	if (pool_stamp(t->engine, t->kind.image, stamp) != ERR_OK ||
	    memcmp(stamp, t->stamp, sizeof(stamp)) != 0) {
		template_drop(t, "its image or QEMU changed on disk");
		return false;
	}
	if (!pool_is_stale(engine_now_ns() - t->made_ns, c->template_max_age_s,
			   t->restores, c->template_restores_max))
		return true;
	/* Whoever did not use it all its life may not need another one. */
	target = pool_target_of(t->engine->pool, &t->kind);
	if (target && target->size == 0 && target->used_ns < t->made_ns)
		target->wants_template = false;
	template_drop(t, "it is due for replacement");
	return false;
}

/** pool_template() - The template that a start of a kind may use, or NULL */
struct template_entry *pool_template(struct pool *p,
				     const struct pool_kind *kind)
{
	struct template_entry *t;

	while (pool_allows_templates(p->engine) &&
	       (t = template_find(&p->templates, kind)))
		if (template_is_true(t))
			return t;
	return NULL;
}

static void check_templates(struct pool *p)
{
	struct template_entry *t, *after;

	for (t = LIST_FIRST(&p->templates); t; t = after) {
		after = LIST_NEXT(t, next);
		if (t->durable)
			(void)template_is_true(t);
	}
}

/** pool_pick() - The machine to end first for its memory, or NULL */
struct pool_vm *pool_pick(struct pool *p, const struct pool_vm *spare)
{
	struct pool_victim list[CONFIG_POOL_SIZE_MAX] = {0};
	struct pool_vm *of[CONFIG_POOL_SIZE_MAX], *v;
	const struct pool_target *t;
	size_t i, n = 0;

	LIST_FOREACH(v, &p->vms, next)
	{
		if (n == ARRAY_SIZE(list))
			break;
		if (v == spare || v->state == POOL_VM_ENDING)
			continue;
		t = pool_target_of(p, &v->kind);
		of[n] = v;
		list[n++] = (struct pool_victim){.is_wanted = t && t->size,
						 .is_ready = v->state ==
							     POOL_VM_READY,
						 .used_ns = v->begun_ns,
						 .mib = v->kind.memory_mib};
	}
	i = pool_pick_victim(list, n);
	return i < n ? of[i] : NULL;
}

/* Half of what refills leave alone is gone: give one back a tick. */
static void relieve_host(struct pool *p)
{
	uint64_t mib = host_memory_left_mib();
	struct pool_vm *v;

	if (mib == 0 || mib >= POOL_HOST_RESERVE_MIB / 2)
		return;
	v = pool_pick(p, NULL);
	if (v)
		pool_vm_end(v, ERR_LIMIT, "the host is short of memory");
	else if (!LIST_EMPTY(&p->templates))
		template_drop(template_oldest(&p->templates),
			      "the host is short of memory");
}

/** pool_tick() - Deadlines, checks and at most one refill */
void pool_tick(struct engine *e)
{
	struct pool *p = e->pool;
	uint64_t now = engine_now_ns();
	struct pool_vm *v, *after;

	if (!p || e->dev_mock_vm)
		return;
	for (v = LIST_FIRST(&p->vms); v; v = after) {
		after = LIST_NEXT(v, next);
		pool_vm_tick(v, now);
	}
	if (now - p->check_ns > POOL_CHECK_NS) {
		p->check_ns = now;
		for (v = LIST_FIRST(&p->vms); v; v = after) {
			after = LIST_NEXT(v, next);
			(void)pool_still_true(v);
		}
		check_templates(p);
		relieve_host(p);
	}
	pool_learn_accelerator(p);
	refill_one(p);
}

/* --- begin and end ------------------------------------------------------- */

/** pool_new() - An empty pool; ticks fill it */
enum err pool_new(struct engine *e)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return ERR_MEMORY;
	p->engine = e;
	LIST_INIT(&p->vms);
	LIST_INIT(&p->templates);
	e->pool = p;
	if (!e->dev_mock_vm)
		want_configured(p);
	return ERR_OK;
}

/** pool_stop() - Begin the end of every machine that waits */
void pool_stop(struct engine *e)
{
	struct pool_vm *v, *after;

	if (!e->pool)
		return;
	e->pool->n_targets = 0;
	for (v = LIST_FIRST(&e->pool->vms); v; v = after) {
		after = LIST_NEXT(v, next);
		pool_vm_end(v, ERR_OK, "the engine stopped");
	}
	while (!LIST_EMPTY(&e->pool->templates))
		template_drop(LIST_FIRST(&e->pool->templates),
			      "the engine stopped");
}

/** pool_free() - Release everything; the loop has ended */
void pool_free(struct engine *e)
{
	struct pool_vm *v;

	if (!e->pool)
		return;
	while ((v = LIST_FIRST(&e->pool->vms)))
		pool_vm_free(v);
	while (!LIST_EMPTY(&e->pool->templates))
		template_free(LIST_FIRST(&e->pool->templates));
	accel_forget(e, e->pool);
	free(e->pool);
	e->pool = NULL;
}
