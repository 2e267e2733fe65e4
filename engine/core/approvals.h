/* SPDX-License-Identifier: Apache-2.0 */
/* approvals.h - questions that wait for a person, each with a deadline */
#ifndef KENAZ_CORE_APPROVALS_H
#define KENAZ_CORE_APPROVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/digest.h"

#define APPROVALS_MAX               1024u /* waiting, of one engine */
#define APPROVALS_SESSION_MAX_BYTES 40u   /* with the NUL, like those below */
#define APPROVALS_USER_MAX_BYTES    40u
#define APPROVALS_RULE_MAX_BYTES    72u
#define APPROVALS_SUMMARY_MAX_BYTES 512u
#define APPROVALS_REASON_MAX_BYTES  256u

enum approval_state {
	APPROVAL_WAITING,
	APPROVAL_GRANTED,
	APPROVAL_DENIED,
	APPROVAL_EXPIRED,
};

/* What is asked. The digest covers the exact request. */
struct approval_question {
	const char *session;
	const char *user;
	const char *rule;
	struct span summary; /* untrusted; escaped when shown */
	uint8_t digest[DIGEST_BYTES];
	uint32_t kind;    /* the caller's own, e.g. enum policy_target */
	uint64_t context; /* the caller's own, e.g. a request number */
};

struct approval {
	uint64_t id;
	enum approval_state state;
	char session[APPROVALS_SESSION_MAX_BYTES];
	char user[APPROVALS_USER_MAX_BYTES];
	char rule[APPROVALS_RULE_MAX_BYTES];
	char summary[APPROVALS_SUMMARY_MAX_BYTES]; /* escaped */
	uint8_t digest[DIGEST_BYTES];
	uint32_t kind;
	uint64_t context;
	uint64_t asked_ns;
	uint64_t deadline_ns;
	char by[APPROVALS_USER_MAX_BYTES];       /* who decided; "" by itself */
	char reason[APPROVALS_REASON_MAX_BYTES]; /* escaped; "" for none */
};

struct approvals;

MUST_CHECK enum err approvals_new(uint32_t max, uint32_t max_per_session,
				  uint64_t timeout_ns,
				  struct approvals **ret_approvals);
void approvals_free(struct approvals *approvals);

MUST_CHECK enum err approvals_ask(struct approvals *approvals,
				  const struct approval_question *question,
				  uint64_t now_ns, uint64_t *ret_id);
void approvals_set_reason(struct approvals *approvals, uint64_t id,
			  const char *reason);
MUST_CHECK enum err approvals_decide(struct approvals *approvals, uint64_t id,
				     const uint8_t digest[DIGEST_BYTES],
				     bool grant, const char *by,
				     uint64_t now_ns);
void approvals_withdraw(struct approvals *approvals, uint64_t id);
void approvals_withdraw_session(struct approvals *approvals,
				const char *session);
void approvals_expire(struct approvals *approvals, uint64_t now_ns);
bool approvals_next_deadline(const struct approvals *approvals,
			     uint64_t *ret_deadline_ns);
bool approvals_take_decided(struct approvals *approvals,
			    struct approval *ret_approval);
size_t approvals_count(const struct approvals *approvals);
const struct approval *approvals_at(const struct approvals *approvals,
				    size_t index);
const struct approval *approvals_find(const struct approvals *approvals,
				      uint64_t id);

#endif
