/* SPDX-License-Identifier: Apache-2.0 */
/*
 * releases.c - match core's grants with audit's releases; no I/O
 *
 * Runs in: kenaz-broker.
 * Trusts:  core and audit, each for half of the permission only.
 * Never:   lets one half be used twice, or with other digests.
 *
 * Nothing is sent unless core granted it and audit made its intent durable,
 * both naming the same header and body digests. Either may arrive first; it
 * waits here for the other until its deadline. Few wait at a time, so this
 * is a plain array.
 */
#include "engine/broker/releases.h"

#include <stdlib.h>

#include "engine/base/digest.h"

struct half {
	struct release_claim claim;
	bool is_grant;
};

struct releases {
	struct half *halves;
	size_t count;
	size_t room;
};

/**
 * releases_new() - Start with nothing granted and nothing released
 * @ret_releases:	Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err releases_new(struct releases **ret_releases)
{
	struct releases *r = calloc(1, sizeof(*r));

	if (!r)
		return ERR_MEMORY;
	*ret_releases = r;
	return ERR_OK;
}

/** releases_free() - Forget everything; NULL is accepted */
void releases_free(struct releases *r)
{
	if (!r)
		return;
	free(r->halves);
	free(r);
}

static void drop(struct releases *r, size_t index)
{
	r->halves[index] = r->halves[--r->count];
}

/* Releases of requests that failed meanwhile pile up: the oldest may go. */
static bool make_room(struct releases *r)
{
	size_t i, oldest = r->count;

	for (i = 0; i < r->count; i++)
		if (!r->halves[i].is_grant &&
		    (oldest == r->count ||
		     r->halves[i].claim.deadline_ns <
			     r->halves[oldest].claim.deadline_ns))
			oldest = i;
	if (oldest == r->count)
		return false;
	drop(r, oldest);
	return true;
}

static enum err add(struct releases *r, const struct release_claim *claim,
		    bool is_grant)
{
	if (r->count == RELEASES_MAX && !make_room(r))
		return ERR_LIMIT;
	if (r->count == r->room) {
		size_t room = r->room ? r->room * 2 : 16;
		struct half *halves =
			reallocarray(r->halves, room, sizeof(*halves));

		if (!halves)
			return ERR_MEMORY;
		r->halves = halves;
		r->room = room;
	}
	r->halves[r->count++] = (struct half){*claim, is_grant};
	return ERR_OK;
}

static enum err meet(struct releases *r, const struct release_claim *claim,
		     bool is_grant, enum release_outcome *ret_outcome)
{
	size_t i;
	enum err e;

	for (i = 0; i < r->count; i++) {
		const struct half *h = &r->halves[i];

		if (h->claim.grant != claim->grant)
			continue;
		if (h->is_grant == is_grant)
			return ERR_EXISTS;
		*ret_outcome =
			digest_equal(h->claim.header_digest,
				     claim->header_digest) &&
					digest_equal(h->claim.body_digest,
						     claim->body_digest)
				? RELEASE_MATCHED
				: RELEASE_MISMATCHED;
		drop(r, i);
		return ERR_OK;
	}
	e = add(r, claim, is_grant);
	if (e == ERR_OK)
		*ret_outcome = RELEASE_WAITING;
	return e;
}

/**
 * releases_add_grant() - Core allows one attempt
 * @r:			Releases
 * @claim:		Its number, the digests that will be sent, deadline
 * @ret_outcome:	Written on success; both halves are used up unless
 *			RELEASE_WAITING
 *
 * Return: ERR_OK; ERR_EXISTS when this grant already waits; ERR_LIMIT when
 *	   RELEASES_MAX grants wait; ERR_MEMORY.
 */
enum err releases_add_grant(struct releases *r,
			    const struct release_claim *claim,
			    enum release_outcome *ret_outcome)
{
	return meet(r, claim, true, ret_outcome);
}

/**
 * releases_add_release() - Audit made the intent durable
 * @r:			Releases
 * @claim:		Grant number, digests of the intent, deadline
 * @ret_outcome:	As releases_add_grant()
 *
 * Return: as releases_add_grant().
 */
enum err releases_add_release(struct releases *r,
			      const struct release_claim *claim,
			      enum release_outcome *ret_outcome)
{
	return meet(r, claim, false, ret_outcome);
}

/**
 * releases_cancel() - Withdraw a waiting grant
 * @r:		Releases
 * @grant:	Number
 *
 * A release that comes later is kept until its deadline and fits nothing.
 *
 * Return: whether the grant was waiting.
 */
bool releases_cancel(struct releases *r, uint64_t grant)
{
	size_t i;

	for (i = 0; i < r->count; i++) {
		if (r->halves[i].claim.grant == grant &&
		    r->halves[i].is_grant) {
			drop(r, i);
			return true;
		}
	}
	return false;
}

/**
 * releases_expire() - Drop what waited too long
 * @r:		Releases
 * @now_ns:	Monotonic clock
 * @ret_grant:	A grant that has to be refused now
 *
 * Call until it returns false.
 */
bool releases_expire(struct releases *r, uint64_t now_ns, uint64_t *ret_grant)
{
	size_t i = 0;

	while (i < r->count) {
		struct half h = r->halves[i];

		if (h.claim.deadline_ns > now_ns) {
			i++;
			continue;
		}
		drop(r, i);
		if (h.is_grant) {
			*ret_grant = h.claim.grant;
			return true;
		}
	}
	return false;
}

/**
 * releases_close() - The channel from audit is lost: nothing is released
 * @r:		Releases
 * @ret_grant:	A grant that has to be refused now
 *
 * Releases that already came are dropped too. Call until it returns false.
 */
bool releases_close(struct releases *r, uint64_t *ret_grant)
{
	while (r->count) {
		struct half h = r->halves[--r->count];

		if (h.is_grant) {
			*ret_grant = h.claim.grant;
			return true;
		}
	}
	return false;
}
