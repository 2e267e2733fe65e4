/* SPDX-License-Identifier: Apache-2.0 */
/*
 * approvals.c - questions that wait for a person, each with a deadline
 *
 * Runs in: kenazd.
 * Trusts:  its callers for who may decide; nothing that a summary holds.
 * Never:   reads a clock, lets a question outlive its deadline, applies an
 *	    answer to another request than the one that was shown.
 *
 * A question keeps its place until its answer was taken with
 * approvals_take_decided(); the ceiling counts both, so neither a guest that
 * asks nor a caller that does not listen makes the queue grow.
 */
#include "engine/core/approvals.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

struct approvals {
	uint32_t max;
	uint32_t max_per_session;
	uint64_t timeout_ns;
	uint64_t next_id;
	size_t count;            /* waiting and decided */
	struct approval items[]; /* in the order of asking */
};

/**
 * approvals_new() - Make an empty queue
 * @max:		Most questions at once; at most APPROVALS_MAX
 * @max_per_session:	Most questions of one session
 * @timeout_ns:		How long a question waits
 * @ret_approvals:	The queue; free with approvals_free()
 *
 * Return: ERR_OK; ERR_RANGE; ERR_MEMORY.
 */
enum err approvals_new(uint32_t max, uint32_t max_per_session,
		       uint64_t timeout_ns, struct approvals **ret_approvals)
{
	struct approvals *approvals;

	if (max == 0 || max > APPROVALS_MAX || max_per_session == 0)
		return ERR_RANGE;
	approvals = calloc(1, sizeof(*approvals) +
				      max * sizeof(approvals->items[0]));
	if (!approvals)
		return ERR_MEMORY;
	approvals->max = max;
	approvals->max_per_session = max_per_session;
	approvals->timeout_ns = timeout_ns;
	approvals->next_id = 1;
	*ret_approvals = approvals;
	return ERR_OK;
}

/** approvals_free() - Release a queue; NULL is accepted */
void approvals_free(struct approvals *approvals)
{
	free(approvals);
}

static uint32_t count_session(const struct approvals *approvals,
			      const char *session)
{
	uint32_t count = 0;

	for (size_t i = 0; i < approvals->count; i++)
		count += strcmp(approvals->items[i].session, session) == 0;
	return count;
}

/**
 * approvals_ask() - Put a question
 * @approvals:	Queue
 * @question:	Copied; the summary is escaped, and cut where it is long
 * @now_ns:	Monotonic clock
 * @ret_id:	The question's number, never 0; written on success
 *
 * Return: ERR_OK; ERR_LIMIT when the queue or the session's share is full;
 *	   ERR_RANGE for a name that is too long.
 */
enum err approvals_ask(struct approvals *approvals,
		       const struct approval_question *question,
		       uint64_t now_ns, uint64_t *ret_id)
{
	struct approval *item = &approvals->items[approvals->count];

	if (approvals->count == approvals->max ||
	    count_session(approvals, question->session) >=
		    approvals->max_per_session)
		return ERR_LIMIT;
	*item = (struct approval){
		.id = approvals->next_id,
		.state = APPROVAL_WAITING,
		.kind = question->kind,
		.context = question->context,
		.asked_ns = now_ns,
		.deadline_ns = now_ns + approvals->timeout_ns,
	};
	if (span_copy_text(span_text(question->session), item->session,
			   sizeof(item->session)) != ERR_OK ||
	    span_copy_text(span_text(question->user), item->user,
			   sizeof(item->user)) != ERR_OK ||
	    span_copy_text(span_text(question->rule), item->rule,
			   sizeof(item->rule)) != ERR_OK)
		return ERR_RANGE;
	(void)text_escape_line(question->summary, item->summary,
			       sizeof(item->summary));
	memcpy(item->digest, question->digest, sizeof(item->digest));
	approvals->next_id++;
	approvals->count++;
	*ret_id = item->id;
	return ERR_OK;
}

static struct approval *find_item(struct approvals *approvals, uint64_t id)
{
	for (size_t i = 0; i < approvals->count; i++)
		if (approvals->items[i].id == id)
			return &approvals->items[i];
	return NULL;
}

static void remove_item(struct approvals *approvals, size_t at)
{
	approvals->count--;
	memmove(&approvals->items[at], &approvals->items[at + 1],
		(approvals->count - at) * sizeof(approvals->items[0]));
}

/**
 * approvals_decide() - Grant or deny a question
 * @approvals:	Queue
 * @id:		The question
 * @digest:	Of the request that was shown to who decides; NULL when only
 *		the number is known
 * @grant:	Whether it is granted
 * @by:		Who decided; cut where it is long
 * @now_ns:	Monotonic clock
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_STATE when it is decided already;
 *	   ERR_TIMEOUT after its deadline; ERR_INTEGRITY when @digest is of
 *	   another request.
 */
enum err approvals_decide(struct approvals *approvals, uint64_t id,
			  const uint8_t digest[DIGEST_BYTES], bool grant,
			  const char *by, uint64_t now_ns)
{
	struct approval *item = find_item(approvals, id);
	size_t len = strlen(by);

	if (!item)
		return ERR_NOT_FOUND;
	if (item->state != APPROVAL_WAITING)
		return item->state == APPROVAL_EXPIRED ? ERR_TIMEOUT
						       : ERR_STATE;
	if (now_ns >= item->deadline_ns) {
		item->state = APPROVAL_EXPIRED;
		return ERR_TIMEOUT;
	}
	if (digest && !digest_equal(item->digest, digest))
		return ERR_INTEGRITY;
	if (len >= sizeof(item->by))
		len = sizeof(item->by) - 1;
	memcpy(item->by, by, len);
	item->by[len] = '\0';
	item->state = grant ? APPROVAL_GRANTED : APPROVAL_DENIED;
	return ERR_OK;
}

/**
 * approvals_set_reason() - Keep why a person decides as he does
 * @approvals:	Queue
 * @id:		The question; one that is not there is accepted
 * @reason:	His words; cut to APPROVALS_REASON_MAX_BYTES - 1
 */
void approvals_set_reason(struct approvals *approvals, uint64_t id,
			  const char *reason)
{
	struct approval *item = find_item(approvals, id);

	if (item)
		(void)text_escape_line(span_text(reason), item->reason,
				       sizeof(item->reason));
}

/**
 * approvals_withdraw() - Take a question back
 * @approvals:	Queue
 * @id:		The question; one that is not there is accepted
 *
 * It is never handed out by approvals_take_decided(), so that its context may
 * go away with who asked.
 */
void approvals_withdraw(struct approvals *approvals, uint64_t id)
{
	struct approval *item = find_item(approvals, id);

	if (item)
		remove_item(approvals, (size_t)(item - approvals->items));
}

/** approvals_withdraw_session() - Take all questions of a session back */
void approvals_withdraw_session(struct approvals *approvals,
				const char *session)
{
	for (size_t i = approvals->count; i > 0; i--)
		if (strcmp(approvals->items[i - 1].session, session) == 0)
			remove_item(approvals, i - 1);
}

/**
 * approvals_expire() - End the questions that nobody answered in time
 * @approvals:	Queue
 * @now_ns:	Monotonic clock
 */
void approvals_expire(struct approvals *approvals, uint64_t now_ns)
{
	for (size_t i = 0; i < approvals->count; i++) {
		struct approval *item = &approvals->items[i];

		if (item->state == APPROVAL_WAITING &&
		    now_ns >= item->deadline_ns)
			item->state = APPROVAL_EXPIRED;
	}
}

/**
 * approvals_next_deadline() - When approvals_expire() is next due
 * @approvals:		Queue
 * @ret_deadline_ns:	Monotonic; written when something waits
 *
 * Return: whether something waits.
 */
bool approvals_next_deadline(const struct approvals *approvals,
			     uint64_t *ret_deadline_ns)
{
	bool any = false;

	for (size_t i = 0; i < approvals->count; i++) {
		const struct approval *item = &approvals->items[i];

		if (item->state != APPROVAL_WAITING ||
		    (any && item->deadline_ns >= *ret_deadline_ns))
			continue;
		*ret_deadline_ns = item->deadline_ns;
		any = true;
	}
	return any;
}

/**
 * approvals_take_decided() - Take the oldest question that has an answer
 * @approvals:		Queue
 * @ret_approval:	Written when there is one, which then leaves the queue
 *
 * Anything but APPROVAL_GRANTED means no.
 *
 * Return: whether there was one; call until there is none.
 */
bool approvals_take_decided(struct approvals *approvals,
			    struct approval *ret_approval)
{
	for (size_t i = 0; i < approvals->count; i++) {
		if (approvals->items[i].state == APPROVAL_WAITING)
			continue;
		*ret_approval = approvals->items[i];
		remove_item(approvals, i);
		return true;
	}
	return false;
}

/** approvals_count() - How many questions wait */
size_t approvals_count(const struct approvals *approvals)
{
	size_t count = 0;

	for (size_t i = 0; i < approvals->count; i++)
		count += approvals->items[i].state == APPROVAL_WAITING;
	return count;
}

/**
 * approvals_at() - A waiting question by place
 * @approvals:	Queue
 * @index:	Below approvals_count(); the oldest is 0
 *
 * Return: valid until the queue changes; NULL past the end.
 */
const struct approval *approvals_at(const struct approvals *approvals,
				    size_t index)
{
	for (size_t i = 0; i < approvals->count; i++)
		if (approvals->items[i].state == APPROVAL_WAITING &&
		    index-- == 0)
			return &approvals->items[i];
	return NULL;
}

/** approvals_find() - A question by number, or NULL; as approvals_at() */
const struct approval *approvals_find(const struct approvals *approvals,
				      uint64_t id)
{
	for (size_t i = 0; i < approvals->count; i++)
		if (approvals->items[i].id == id)
			return &approvals->items[i];
	return NULL;
}
