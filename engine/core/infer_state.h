/* SPDX-License-Identifier: Apache-2.0 */
/* infer_state.h - one request's state, for the infer*.c files only */
#ifndef KENAZ_CORE_INFER_STATE_H
#define KENAZ_CORE_INFER_STATE_H

#include "engine/core/broker_client.h"
#include "engine/core/infer_usage.h"
#include "engine/core/retry.h"
#include "engine/core/session.h"

#define INFER_CHAIN_MAX    8u  /* candidates of one request */
#define INFER_ATTEMPTS_MAX 64u /* of one request, all candidates together */

enum infer_state {
	INFER_PREPARING, /* the gate makes the body for the next attempt */
	INFER_INTENT,    /* append and grant are on their way */
	INFER_RUNNING,   /* durable: the gate has the stream */
	INFER_OUTCOME,   /* response.received is being written */
	INFER_WAITING,   /* until the next attempt's time has come */
};

/* A provider and its model that may answer. */
struct infer_candidate {
	char provider[NAME_MAX_BYTES + 1];
	char kind[33];
	char model[MODEL_MAX_BYTES + 1];
	enum dialect dialect; /* on the wire; NONE: it offers no way */
	enum route route;
};

/*
 * What belongs to one attempt; zeroed before the next. Texts are made when
 * they come, as long as they are: while a stream idles there are none.
 */
struct infer_attempt {
	uint64_t grant, reservation;
	struct budget_amounts reserved;
	bool gate_done, broker_done, probe;
	bool never_granted; /* nothing can have been sent */
	int gate_fd;
	/* What the broker reported. */
	enum err transfer_error;
	char *transfer_text; /* NULL: none; so are those below */
	bool sent, key_echoed;
	uint64_t request_bytes, response_bytes, first_byte_ns, total_ns;
	uint8_t response_digest[DIGEST_BYTES];
	struct buf body;
	int body_fd;
	/* What the gate reported. */
	enum err gate_error;
	char *gate_text;
	char *response_id, *response_model, *stop_reason;
	bool usage_known;
	uint64_t input_tokens, output_tokens, cache_read, cache_write;
	bool cost_known;
	uint64_t cost_microusd;
	/* What budgets count; settled when both have reported. */
	uint64_t most_input, most_output;
	struct usage_charged charged;
	uint32_t tool_calls, tool_calls_denied;
	char *dropped; /* by translation: "a, b" */
	/* Both, for the next attempt. */
	struct retry_seen seen;
	struct retry_plan plan;
};

struct route_request; /* engine/providers/route.h */

struct infer {
	LIST_ENTRY(infer) next;
	struct session *session;
	uint64_t request; /* the gate's */
	enum infer_state state;
	bool gate_left;
	/* What the client asked for. */
	enum dialect dialect;
	enum route route;
	bool stream;
	enum usage_wish asks_usage;
	char model[MODEL_MAX_BYTES + 1];
	struct buf features;
	/* Who may answer, in order, and how far that got. */
	struct infer_candidate *chain; /* chain_count of them */
	size_t chain_count, at;
	uint16_t number; /* of the attempt, from 1 */
	uint32_t tries;  /* of the present candidate */
	uint64_t begun_ns;
	uint64_t due_ns;  /* while INFER_WAITING */
	uint32_t omitted; /* of a list of models: what had no room */
	struct infer_attempt now;
};

/* A refusal of core's own, in no dialect. http_status 0: the dialect's. */
struct infer_denial {
	uint16_t http_status;
	enum error_class type;
	const char *rule, *text;
	uint32_t retry_after_s;
};

/* infer.c */
void infer_free(struct infer *i);
const struct infer_candidate *infer_candidate(const struct infer *i);
uint64_t infer_who(const struct infer *i);

/* infer_deny.c */
void infer_deny(struct session *s, uint64_t request,
		const struct infer_denial *d);
void infer_deny_error(struct session *s, uint64_t request, enum err error,
		      const char *text);
void infer_deny_policy(struct session *s, uint64_t request, const char *target,
		       const char *name, const struct policy_decision *decision,
		       const char *model);

/* infer_route.c */
bool infer_route_begin(struct infer *i, struct policy_decision *ret_decision);
bool infer_route_again(struct infer *i, struct policy_decision *ret_decision);
bool infer_route_next(struct infer *i, size_t from, size_t *ret_at);
void infer_route_refuse(struct infer *i, size_t from);
bool infer_as_it_is(const struct infer *i);
bool infer_wants_usage(const struct infer *i);
bool infer_may_leave_provider(const struct session *s);

/* infer_models.c */
void infer_models_answer(struct infer *i, const struct policy_decision *d);

/* infer_attempt.c */
void infer_attempt_reset(struct infer *i);
void infer_keep_text(char **text, const char *escaped);
void infer_attempt_prepare(struct infer *i);
void infer_attempt_go(struct infer *i, const struct msg_infer_ask *m,
		      int *body_fd, const struct policy_decision *d);

/* infer_intent.c */
bool infer_route_generates(enum route route);
MUST_CHECK enum err infer_put_model(struct buf *b, const char *key,
				    const char *model);
MUST_CHECK enum err
infer_write_intent(struct infer *i, const struct msg_infer_ask *m, int body_fd,
		   const struct route_request *route,
		   const uint8_t *header_digest,
		   const struct policy_decision *d, audit_done_fn done);

/* infer_outcome.c */
void infer_answer_gate(struct infer *i, enum err error, const char *text,
		       bool retry);
void infer_maybe_finish(struct infer *i);
void infer_on_transfer_done(void *context, struct transfer_outcome *o);

/* infer_again.c */
void infer_plan(struct infer *i);
void infer_go_on(struct infer *i);
void infer_unprepared(struct infer *i, const char *text);

#endif
