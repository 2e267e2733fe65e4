/* SPDX-License-Identifier: Apache-2.0 */
/* quota.h - does a session fit: its own limits, its user's, the host's */
#ifndef KENAZ_CORE_QUOTA_H
#define KENAZ_CORE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/core/config.h"

/*
 * What QEMU takes beside its guest's memory: its own heap, libraries, tables;
 * under software emulation also the cache of translated code (32 MiB) and
 * what goes with it.
 */
#define QUOTA_QEMU_MIB     96u
#define QUOTA_QEMU_TCG_MIB 192u

#define QUOTA_TEXT_BYTES 320u

/* What live sessions have been given, of one user or of all. */
struct quota_use {
	uint64_t sessions;
	uint64_t memory_mib; /* guests and their QEMU */
	uint64_t vcpus;
	uint64_t disk_mib;
};

struct quota_ask {
	const char *user;
	uint32_t memory_mib; /* the guest's */
	uint32_t vcpus;
	uint32_t disk_mib; /* 0: no disk of its own */
	bool kvm;
};

/* What the machine has left. */
struct quota_host {
	bool known;
	uint64_t available_mib;
	uint64_t promised_mib; /* given to sessions, not touched by them yet */
};

/* Why not; the fields are those of the event limit.reached. */
struct quota_refusal {
	const char *limit; /* key of [limits], static */
	uint64_t asked;
	uint64_t left;
	uint64_t value;
	char text[QUOTA_TEXT_BYTES];
};

uint32_t quota_memory_mib(uint32_t guest_mib, bool kvm);
void quota_add(struct quota_use *use, const struct quota_ask *given);
MUST_CHECK enum err
quota_check(const struct config_limits *limits, const struct quota_ask *ask,
	    const struct quota_use *of_user, const struct quota_use *of_all,
	    const struct quota_host *host, struct quota_refusal *ret_refusal);
MUST_CHECK enum err quota_check_host(const struct config_limits *limits,
				     uint32_t memory_mib,
				     const struct quota_host *host,
				     struct quota_refusal *ret_refusal);

#endif
