/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.c - a session's limits: asked before, set at, told after
 *
 * Runs in: kenazd.
 * Trusts:  the configuration and the kernel's figures.
 * Never:   lets a limit be hit in silence: it is said to the user, with the
 *	    figure, and it is in the log.
 */
#include "engine/core/limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/landlock.h"
#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/host_memory.h"
#include "engine/core/own_user.h"
#include "engine/core/pool.h"
#include "engine/core/session.h"
#include "engine/core/vsock_door.h"

#define PROC_DIR          "/proc"
#define GROUPS_ENDING_MAX 256u
#define GROUP_TASKS_MAX   192u /* QEMU's threads; as vm/jail.h */
#define SECOND_NS         UINT64_C(1000000000)
#define CPU_SPARE_PERCENT 25u /* of QEMU's own loop, beside the vCPUs */

/* Cgroups in which the kernel still ends processes. */
static struct {
	char vm[SESSION_ID_BYTES + 1];
} ending[GROUPS_ENDING_MAX];
static size_t n_ending;

/** limits_open() - Once, before core's jail: where sessions get cgroups */
void limits_open(struct engine *e, pid_t spawner_pid)
{
	const pid_t ours[] = {getpid(), spawner_pid};
	char hex[2 * DIGEST_BYTES + 1], prefix[32];
	uint8_t digest[DIGEST_BYTES];

	/* Core's own filter does not let it ask later. */
	e->landlock_version = landlock_version();
	digest_sha256(span_text(e->paths.state.path), digest);
	text_hex(digest, sizeof(digest), hex);
	(void)snprintf(prefix, sizeof(prefix), "kenaz-%.8s-", hex);
	if (e->dev_mock_vm)
		return;
	cgroups_open(&e->cgroups, PROC_DIR, e->config->engine.cgroup, prefix,
		     ours, ARRAY_SIZE(ours));
	cgroups_sweep(&e->cgroups);
}

/* --- before ----------------------------------------------------------- */

static struct quota_ask given_to(const struct session *s)
{
	return (struct quota_ask){.user = s->user,
				  .memory_mib = s->memory_mib,
				  .vcpus = s->vcpus,
				  .disk_mib = s->disk.disk_mib,
				  .kvm = strcmp(s->accelerator, "kvm") == 0};
}

/** limits_host() - What the machine has, and what was promised of it */
void limits_host(struct engine *e, struct quota_host *ret_host)
{
	const struct session *s;

	*ret_host = (struct quota_host){0};
	if (host_memory_available(PROC_DIR, &ret_host->available_mib) != ERR_OK)
		return;
	ret_host->known = true;
	LIST_FOREACH(s, &e->sessions, next)
	{
		struct quota_ask given = given_to(s);
		uint64_t whole = quota_memory_mib(given.memory_mib, given.kvm);
		uint64_t held = 0;

		if (session_has_ended(s) || s->mock)
			continue;
		if (s->qemu_pid &&
		    host_memory_of(PROC_DIR, s->qemu_pid, &held) != ERR_OK)
			held = 0;
		ret_host->promised_mib += whole > held ? whole - held : 0;
	}
}

static enum err put_limit(struct buf *b, const char *limit, uint64_t value,
			  const char *outcome)
{
	enum err err = attrs_put_text(b, "kenaz.limit", span_text(limit));

	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.limit.value", value);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.limit.outcome",
				     span_text(outcome));
	return err;
}

static void note_refused(struct engine *e, const char *user,
			 const struct quota_refusal *r)
{
	char actor[ACTOR_MAX_BYTES];
	struct buf b;
	enum err err;

	(void)snprintf(actor, sizeof(actor), "user:%.50s", user);
	buf_init(&b, 2048);
	err = put_limit(&b, r->limit, r->value, "refused");
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.limit.asked", r->asked);
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.limit.left", r->left);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.reason", span_text(r->text));
	if (err == ERR_OK)
		audit_note(e, "limit.reached", NULL, actor, buf_span(&b));
	buf_fini(&b);
}

/**
 * limits_check() - Whether a session may be started
 * @e:		Engine
 * @o:		What is wanted
 * @ret_text:	Sentence with the figures, when it may not
 * @cap_bytes:	Its size
 *
 * Return: ERR_OK; ERR_LIMIT, which is then in the log too.
 */
enum err limits_check(struct engine *e, const struct session_options *o,
		      char *ret_text, size_t cap_bytes)
{
	const struct config_limits *l = &e->config->limits;
	struct quota_ask ask = {
		.user = o->user,
		.memory_mib = o->memory_mib ? o->memory_mib : l->memory_mib,
		.vcpus = o->vcpus ? o->vcpus : l->vcpus,
		/* Whether the image has a disk is known to launch only. */
		.disk_mib = l->user_disk_max_mib || l->host_disk_max_mib
				    ? l->disk_mib
				    : 0,
		.kvm = strcmp(e->accelerator.name, "kvm") == 0,
	};
	struct quota_use of_user = {0}, of_all = {0};
	struct quota_host host = {0};
	struct quota_refusal refusal;
	const struct session *s;
	enum err err;

	LIST_FOREACH(s, &e->sessions, next)
	{
		struct quota_ask given = given_to(s);

		if (session_has_ended(s))
			continue;
		quota_add(&of_all, &given);
		if (s->uid == o->uid)
			quota_add(&of_user, &given);
	}
	if (!e->dev_mock_vm)
		limits_host(e, &host);
	/* What waits in the pool makes room, and counts as far as it stays. */
	if (l->host_memory_max_mib)
		of_all.memory_mib +=
			pool_make_room(e, o,
				       of_all.memory_mib +
					       quota_memory_mib(ask.memory_mib,
								ask.kvm));
	err = quota_check(l, &ask, &of_user, &of_all, &host, &refusal);
	if (err == ERR_OK)
		return err;
	(void)snprintf(ret_text, cap_bytes, "%s", refusal.text);
	note_refused(e, o->user, &refusal);
	return err;
}

/* --- at --------------------------------------------------------------- */

static enum err take_user(struct engine *e, uint32_t *ret_uid, int *ret_fd)
{
	enum err err;

	*ret_uid = 0;
	if (geteuid() != 0)
		return ERR_OK;
	err = own_user_take(OWN_USER_FOLDER,
			    e->config->engine.session_uid_first, ret_uid,
			    ret_fd);
	if (err != ERR_OK)
		log_error("a session gets no user of its own from %s: %s",
			  OWN_USER_FOLDER,
			  err == ERR_SYS ? strerror(errno) : "all are taken");
	return err;
}

static enum err take_group(struct engine *e, const struct vm_wish *wish,
			   int *ret_fd)
{
	uint32_t memory_mib =
		quota_memory_mib(wish->memory_mib,
				 strcmp(wish->accelerator, "kvm") == 0);
	const struct cgroup_limits limits = {
		.memory_bytes = (uint64_t)memory_mib << 20,
		.tasks = GROUP_TASKS_MAX,
		.cpu_percent = 100 * wish->vcpus + CPU_SPARE_PERCENT,
	};
	enum err err;

	if (!e->cgroups.usable)
		return ERR_OK;
	err = cgroup_make(&e->cgroups, wish->id, &limits, ret_fd);
	if (err != ERR_OK)
		log_error("a cgroup below %s cannot be made: %s",
			  e->cgroups.parent,
			  err == ERR_SYS ? strerror(errno) : err_text(err));
	return err;
}

/**
 * limits_send() - Tell a launcher what its VM may have
 * @e:		Engine
 * @launch:	The launcher, before launch_start
 * @wish:	The VM; its cgroup has its name
 *
 * Return: ERR_OK; ERR_SYS; ERR_LIMIT; as chan_send_launch_limits().
 */
enum err limits_send(struct engine *e, struct child *launch,
		     const struct vm_wish *wish)
{
	struct msg_launch_limits m = {.console_max_bytes =
					      e->config->limits.console_bytes};
	int user_fd = -1, group_fd = -1, fds[2];
	size_t n = 0;
	enum err err = take_user(e, &m.uid, &user_fd);

	if (err == ERR_OK)
		err = take_group(e, wish, &group_fd);
	if (err != ERR_OK) {
		if (user_fd >= 0)
			close(user_fd);
		return err;
	}
	m.has_cgroup = group_fd >= 0 ? 1 : 0;
	if (user_fd >= 0)
		fds[n++] = user_fd;
	if (group_fd >= 0)
		fds[n++] = group_fd;
	return chan_send_launch_limits(launch->chan, &m, fds, n);
}

/* --- while it runs ---------------------------------------------------- */

static void end_for(struct session *s, const char *limit, uint64_t value,
		    const char *text)
{
	s->limit_hit = limit;
	s->limit_value = value;
	session_end(s, ERR_TIMEOUT, text);
}

/** limits_tick() - Wall and idle time of a ready session */
void limits_tick(struct session *s, uint64_t now_ns)
{
	const struct config_limits *l = &s->engine->config->limits;
	char text[160];

	if (s->n_infers || s->n_tunnels || s->n_terminals ||
	    vsock_door_clients(s) || s->active_ns == 0)
		s->active_ns = now_ns;
	if (l->wall_s && now_ns - s->created_ns > l->wall_s * SECOND_NS) {
		(void)snprintf(text, sizeof(text),
			       "wall time: the session ran for its %u s "
			       "(limits.wall_s)",
			       l->wall_s);
		end_for(s, "wall_s", l->wall_s, text);
	} else if (l->idle_s && now_ns - s->active_ns > l->idle_s * SECOND_NS) {
		(void)snprintf(text, sizeof(text),
			       "idle time: no request and no terminal for %u s "
			       "(limits.idle_s)",
			       l->idle_s);
		end_for(s, "idle_s", l->idle_s, text);
	}
}

/** limits_on_message() - The launcher says that a limit was reached */
enum err limits_on_message(struct session *s, struct span payload)
{
	char limit[64], text[160];
	struct msg_vm_limit m;
	struct buf b;
	enum err err = msg_vm_limit_get(payload, &m);

	if (err != ERR_OK)
		return err;
	(void)text_escape_line(m.limit, limit, sizeof(limit));
	(void)snprintf(text, sizeof(text),
		       "console: %llu bytes written, the rest is dropped "
		       "(limits.%s)",
		       (unsigned long long)m.value, limit);
	buf_init(&b, 1024);
	err = put_limit(&b, limit, m.value, "cut");
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.reason", span_text(text));
	if (err == ERR_OK)
		session_note(s, "limit.reached", buf_span(&b));
	buf_fini(&b);
	log_info("session %s: %s", s->id, text);
	(void)snprintf(s->limit_note, sizeof(s->limit_note), "%s", text);
	return ERR_OK;
}

/* --- after ------------------------------------------------------------ */

/**
 * limits_explain() - When memory.max ended QEMU, say so
 * @s:		Session whose VM has ended by itself
 * @text:	Replaced
 * @cap_bytes:	Its size
 */
void limits_explain(struct session *s, char *text, size_t cap_bytes)
{
	struct quota_ask given = given_to(s);

	if (!cgroup_was_out_of_memory(&s->engine->cgroups, s->vm))
		return;
	s->limit_hit = "memory_mib";
	s->limit_value = quota_memory_mib(given.memory_mib, given.kvm);
	(void)snprintf(text, cap_bytes,
		       "memory: the session took more than its %llu MiB (%u "
		       "for the guest, the rest for QEMU) and was ended",
		       (unsigned long long)s->limit_value, s->memory_mib);
}

/** limits_put_end() - The attributes of session.end for a limit, if any */
enum err limits_put_end(const struct session *s, struct buf *b)
{
	return s->limit_hit
		       ? put_limit(b, s->limit_hit, s->limit_value, "ended")
		       : ERR_OK;
}

/** limits_release() - Nothing of a VM runs any more; "" is not known */
void limits_release(struct engine *e, const char *vm)
{
	const struct cgroups *g = &e->cgroups;

	if (!g->usable || !vm[0] || cgroup_remove(g, vm) == ERR_OK)
		return;
	if (n_ending < GROUPS_ENDING_MAX)
		(void)snprintf(ending[n_ending++].vm, sizeof(ending[0].vm),
			       "%s", vm);
	else
		log_warn("the cgroup of %s stays until the next start", vm);
}

/** limits_engine_tick() - Remove the cgroups that are empty by now */
void limits_engine_tick(struct engine *e)
{
	size_t i;

	for (i = 0; i < n_ending;) {
		enum err err = cgroup_remove(&e->cgroups, ending[i].vm);

		if (err == ERR_AGAIN) {
			i++;
			continue;
		}
		if (err != ERR_OK)
			log_warn("the cgroup of %s stays: %s", ending[i].vm,
				 strerror(errno));
		ending[i] = ending[--n_ending];
	}
}
