/* SPDX-License-Identifier: Apache-2.0 */
/* pool_rules.h - the decisions behind warm starts, without any I/O */
#ifndef KENAZ_CORE_POOL_RULES_H
#define KENAZ_CORE_POOL_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/core/config.h"
#include "engine/proto/limits.h"

#define POOL_BACKOFF_FIRST_NS (2ull * 1000000000ull)
#define POOL_BACKOFF_MAX_NS   (600ull * 1000000000ull)
#define POOL_QUIET_NS         (1000000000ull) /* after a user's start */
#define POOL_KEEP_NS          (600ull * 1000000000ull) /* a used template */
#define POOL_HOST_RESERVE_MIB 512u /* left alone by refills */

/* Everything in which two machines must be equal to stand for each other. */
struct pool_kind {
	uid_t trust; /* user on a system engine, else the engine's owner */
	char image[NAME_MAX_BYTES + 1];
	uint32_t memory_mib, vcpus;
	char accelerator[8];
	char backend[16];
};

enum pool_way { POOL_COLD, POOL_TEMPLATE, POOL_READY, POOL_BOOTING };

/* What there is for one start. */
struct pool_choice {
	enum config_pool_start configured;
	bool has_ready, has_booting, has_template;
	bool can_restore; /* backend and accelerator */
};

/* What a refill would meet now. */
struct pool_load {
	uint64_t now_ns;
	bool stopping, sealed;
	size_t starting;        /* users' starts that are not ready yet */
	uint64_t last_start_ns; /* when there last was one; 0: never */
	size_t refilling, refill_parallel;
	uint64_t retry_ns;      /* back-off of this kind, 0 is none */
	uint64_t need_mib;      /* of the machine to be started */
	uint64_t held_mib;      /* by pool and templates */
	uint64_t held_max_mib;  /* 0: no ceiling */
	uint64_t sessions_mib;  /* memory of all sessions */
	uint64_t host_max_mib;  /* limits.host_memory_max_mib, 0: none */
	uint64_t available_mib; /* of the host; 0: not known */
};

enum pool_verdict {
	POOL_GO,
	POOL_STOPPING,
	POOL_SEALED,
	POOL_USERS_FIRST,
	POOL_BUSY,
	POOL_BACKING_OFF,
	POOL_HELD_FULL,
	POOL_LIMIT_FULL,
	POOL_HOST_SHORT,
};

/* Something held that may have to go. */
struct pool_victim {
	bool is_template, is_wanted, is_ready;
	uint64_t used_ns; /* last use, or when it was made */
	uint64_t mib;
};

bool pool_kind_equal(const struct pool_kind *a, const struct pool_kind *b);
enum pool_way pool_choose(const struct pool_choice *c, const char **ret_why);
const char *pool_way_text(enum pool_way way);
enum pool_verdict pool_may_refill(const struct pool_load *l);
const char *pool_verdict_text(enum pool_verdict verdict);
uint64_t pool_backoff_ns(unsigned failures);
size_t pool_pick_victim(const struct pool_victim *list, size_t count);
bool pool_is_stale(uint64_t age_ns, uint64_t max_age_s, uint64_t restores,
		   uint64_t restores_max);

#endif
