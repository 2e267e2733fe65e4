/* SPDX-License-Identifier: Apache-2.0 */
/* roles.h - who may use which verb of the control socket */
#ifndef KENAZ_CORE_ROLES_H
#define KENAZ_CORE_ROLES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "engine/base/err.h"
#include "engine/core/config.h"

#define ROLES_USER_MAX_BYTES   33u  /* user name with the NUL */
#define ROLES_REASON_MAX_BYTES 192u /* with the NUL */
#define ROLES_GROUPS_MAX       1024u
#define ROLES_NO_OWNER         ((uid_t)-1)

/* Bits: a peer can hold several roles. */
enum roles_bit {
	ROLES_USER = 1 << CONFIG_ROLE_USER,
	ROLES_APPROVER = 1 << CONFIG_ROLE_APPROVER,
	ROLES_AUDITOR = 1 << CONFIG_ROLE_AUDITOR,
	ROLES_ADMIN = 1 << CONFIG_ROLE_ADMIN,
	ROLES_ALL = ROLES_USER | ROLES_APPROVER | ROLES_AUDITOR | ROLES_ADMIN,
};

/* OWN: only objects (sessions, approvals, events) of the peer itself. */
enum role_reach { ROLE_REACH_NONE, ROLE_REACH_OWN, ROLE_REACH_ALL };

struct roles_peer {
	uid_t uid;
	gid_t gid;
	char user[ROLES_USER_MAX_BYTES];
	unsigned int roles; /* bits of enum roles_bit */
};

MUST_CHECK enum err roles_of_peer(const struct config *config, bool system,
				  uid_t engine_uid, uid_t uid, gid_t gid,
				  struct roles_peer *ret_peer);
unsigned int roles_of_names(const struct config *config, const char *user,
			    const char *const *groups, size_t group_count);
enum role_reach roles_reach(unsigned int roles, const char *verb);
MUST_CHECK enum err roles_check(const struct roles_peer *peer, const char *verb,
				uid_t owner,
				char ret_reason[ROLES_REASON_MAX_BYTES]);
size_t roles_verb_count(void);
const char *roles_verb_at(size_t index);

#endif
