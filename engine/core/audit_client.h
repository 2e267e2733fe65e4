/* SPDX-License-Identifier: Apache-2.0 */
/* audit_client.h - core's side of kenaz-audit: appends, queries, dumps */
#ifndef KENAZ_CORE_AUDIT_CLIENT_H
#define KENAZ_CORE_AUDIT_CLIENT_H

#include "engine/core/engine.h"

#define AUDIT_PENDING_MAX 16384u

/* An event to be written. Spans and texts are borrowed. */
struct audit_event {
	const char *kind;
	const char *session; /* or NULL */
	const char *actor;   /* or NULL: engine */
	struct span attributes;
	const char *payload_name; /* or NULL */
	uint64_t payload_bytes;
	struct span payload_inline;
	int payload_fd; /* sealed memfd, owned from here on; -1 is none */
	uint64_t grant; /* 0 is none */
	const uint8_t *header_digest, *body_digest; /* with a grant */
};

struct audit_outcome {
	enum err error;
	const char *text; /* when error: a sentence */
	uint64_t seq;
	struct span bytes; /* page: events; else empty */
	uint64_t next_seq, log_size;
	bool last;
	int fd; /* payload; taken by copying it and storing -1 */
};

/* Which events of the log; NULL is any. Borrowed. */
struct audit_filter {
	const char *session, *kind;
	const char *image; /* that the session ran on: name, or digest in hex */
};

typedef void (*audit_done_fn)(void *context, struct audit_outcome *outcome);

struct audit_state {
	bool ready, sealed;
	char sealed_reason[REASON_MAX_BYTES];
	uint64_t size;
	uint8_t root[DIGEST_BYTES];
	char origin[129];
	char verifier_key[257];
	char note[REASON_MAX_BYTES];
};

MUST_CHECK enum err audit_client_start(struct engine *e);
MUST_CHECK enum err audit_client_set_release(struct engine *e, int fd);
void audit_client_stop(struct engine *e);
void audit_client_free(struct engine *e);
const struct audit_state *audit_client_state(const struct engine *e);
const char *audit_policy_digest(const struct engine *e);
MUST_CHECK enum err audit_append(struct engine *e,
				 const struct audit_event *event,
				 audit_done_fn done, void *context);
MUST_CHECK enum err audit_append_late(struct engine *e,
				      const struct audit_event *event,
				      audit_done_fn done, void *context);
void audit_note(struct engine *e, const char *kind, const char *session,
		const char *actor, struct span attributes);
MUST_CHECK enum err audit_query(struct engine *e, uint64_t from_seq,
				uint32_t max_events, bool backward,
				const struct audit_filter *filter,
				audit_done_fn done, void *context);
MUST_CHECK enum err audit_dump(struct engine *e, uint64_t from_seq, int fd,
			       audit_done_fn done, void *context);
MUST_CHECK enum err audit_payload(struct engine *e, uint64_t seq,
				  const char *actor, audit_done_fn done,
				  void *context);
void audit_forget(struct engine *e, const void *context);

#endif
