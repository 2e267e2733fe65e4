/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quota.c - does a session fit: its own limits, its user's, the host's
 *
 * Runs in: kenazd; pure.
 * Trusts:  the configuration.
 * Never:   counts a session as less than it may grow to.
 *
 * Memory is counted with what QEMU itself takes. A host short of memory
 * refuses a new session rather than let the kernel end an old one: what is
 * available, less what was promised to sessions that have not touched it yet,
 * must leave a reserve.
 */
#include "engine/core/quota.h"

#include <inttypes.h>
#include <stdio.h>

/* One comparison: a figure, a ceiling, and how to say it. */
struct figure {
	const char *limit; /* key of [limits] */
	const char *what;  /* "memory" */
	const char *unit;  /* " MiB", or "" */
	uint64_t asked;
	uint64_t used;
	uint64_t ceiling; /* 0: none */
};

/** quota_memory_mib() - What a guest of this size may take in all, MiB */
uint32_t quota_memory_mib(uint32_t guest_mib, bool kvm)
{
	return guest_mib + (kvm ? QUOTA_QEMU_MIB : QUOTA_QEMU_TCG_MIB);
}

/** quota_add() - Count a live session */
void quota_add(struct quota_use *use, const struct quota_ask *given)
{
	use->sessions++;
	use->memory_mib += quota_memory_mib(given->memory_mib, given->kvm);
	use->vcpus += given->vcpus;
	use->disk_mib += given->disk_mib;
}

static void put_figures(struct quota_refusal *r, const struct figure *f)
{
	r->limit = f->limit;
	r->asked = f->asked;
	r->value = f->ceiling;
	r->left = f->ceiling > f->used ? f->ceiling - f->used : 0;
}

/* A session alone against what one session may have. */
static enum err check_own(const struct figure *f, struct quota_refusal *r)
{
	if (f->asked <= f->ceiling)
		return ERR_OK;
	put_figures(r, f);
	(void)snprintf(r->text, sizeof(r->text),
		       "%s: %" PRIu64 "%s asked, one session may have %" PRIu64
		       "%s (limits.%s)",
		       f->what, f->asked, f->unit, f->ceiling, f->unit,
		       f->limit);
	return ERR_LIMIT;
}

static enum err check_shared(const struct figure *f, const char *whose,
			     struct quota_refusal *r)
{
	if (f->ceiling == 0 || f->used + f->asked <= f->ceiling)
		return ERR_OK;
	put_figures(r, f);
	(void)snprintf(r->text, sizeof(r->text),
		       "%s: %" PRIu64 "%s asked, %" PRIu64 "%s of %" PRIu64
		       "%s left for %.80s (limits.%s)",
		       f->what, f->asked, f->unit, r->left, f->unit, f->ceiling,
		       f->unit, whose, f->limit);
	return ERR_LIMIT;
}

static enum err check_all_own(const struct config_limits *l,
			      const struct quota_ask *a,
			      struct quota_refusal *r)
{
	const struct figure figures[] = {
		{"session_memory_max_mib", "memory", " MiB", a->memory_mib, 0,
		 l->session_memory_max_mib},
		{"session_vcpus_max", "vCPUs", "", a->vcpus, 0,
		 l->session_vcpus_max},
		{"session_disk_max_mib", "disk", " MiB", a->disk_mib, 0,
		 l->session_disk_max_mib},
	};
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(figures); i++)
		e = check_own(&figures[i], r);
	return e;
}

/**
 * quota_check_host() - Whether the machine has the memory for one more
 * @limits:		host_reserve_mib counts
 * @memory_mib:		Asked, as quota_memory_mib() gives it
 * @host:		What the machine has
 * @ret_refusal:	Written when it has not
 *
 * Return: ERR_OK, also when nothing is known; ERR_LIMIT.
 */
enum err quota_check_host(const struct config_limits *limits,
			  uint32_t memory_mib, const struct quota_host *host,
			  struct quota_refusal *ret_refusal)
{
	uint64_t kept = host->promised_mib + limits->host_reserve_mib;
	uint64_t left =
		host->available_mib > kept ? host->available_mib - kept : 0;

	if (!host->known || memory_mib <= left)
		return ERR_OK;
	*ret_refusal =
		(struct quota_refusal){.limit = "host_reserve_mib",
				       .asked = memory_mib,
				       .left = left,
				       .value = limits->host_reserve_mib};
	(void)snprintf(ret_refusal->text, sizeof(ret_refusal->text),
		       "memory: %u MiB asked, %" PRIu64
		       " MiB left on this host (%" PRIu64
		       " MiB available, %" PRIu64
		       " MiB promised to sessions, %u MiB in reserve: "
		       "limits.host_reserve_mib)",
		       memory_mib, left, host->available_mib,
		       host->promised_mib, limits->host_reserve_mib);
	return ERR_LIMIT;
}

/**
 * quota_check() - Whether a session may be started
 * @limits:		In force
 * @ask:		What is wanted; its user's name is for the sentence
 * @of_user:		What this user's live sessions have
 * @of_all:		What all live sessions have
 * @host:		What the machine has left
 * @ret_refusal:	Written when it may not
 *
 * Return: ERR_OK; ERR_LIMIT.
 */
enum err
quota_check(const struct config_limits *limits, const struct quota_ask *ask,
	    const struct quota_use *of_user, const struct quota_use *of_all,
	    const struct quota_host *host, struct quota_refusal *ret_refusal)
{
	const struct config_limits *l = limits;
	uint32_t memory = quota_memory_mib(ask->memory_mib, ask->kvm);
	const struct figure of_users[] = {
		{"max_sessions_user", "sessions", "", 1, of_user->sessions,
		 l->max_sessions_user},
		{"user_memory_max_mib", "memory", " MiB", memory,
		 of_user->memory_mib, l->user_memory_max_mib},
		{"user_vcpus_max", "vCPUs", "", ask->vcpus, of_user->vcpus,
		 l->user_vcpus_max},
		{"user_disk_max_mib", "disk", " MiB", ask->disk_mib,
		 of_user->disk_mib, l->user_disk_max_mib},
	};
	const struct figure of_hosts[] = {
		{"max_sessions", "sessions", "", 1, of_all->sessions,
		 l->max_sessions},
		{"host_memory_max_mib", "memory", " MiB", memory,
		 of_all->memory_mib, l->host_memory_max_mib},
		{"host_vcpus_max", "vCPUs", "", ask->vcpus, of_all->vcpus,
		 l->host_vcpus_max},
		{"host_disk_max_mib", "disk", " MiB", ask->disk_mib,
		 of_all->disk_mib, l->host_disk_max_mib},
	};
	char user[96];
	enum err e = check_all_own(l, ask, ret_refusal);
	size_t i;

	(void)snprintf(user, sizeof(user), "user %.80s", ask->user);
	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(of_users); i++)
		e = check_shared(&of_users[i], user, ret_refusal);
	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(of_hosts); i++)
		e = check_shared(&of_hosts[i], "all users", ret_refusal);
	if (e == ERR_OK)
		e = quota_check_host(l, memory, host, ret_refusal);
	return e;
}
