/* SPDX-License-Identifier: Apache-2.0 */
/* releases.h - match core's grants with audit's releases; no I/O */
#ifndef KENAZ_BROKER_RELEASES_H
#define KENAZ_BROKER_RELEASES_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/proto/msg.h"

#define RELEASES_MAX 4096u

struct releases;

/* What one side says about one attempt. */
struct release_claim {
	uint64_t grant;
	uint8_t header_digest[DIGEST_BYTES];
	uint8_t body_digest[DIGEST_BYTES];
	uint64_t deadline_ns; /* forgotten, or refused, after this */
};

enum release_outcome {
	RELEASE_WAITING,    /* the other side has not spoken yet */
	RELEASE_MATCHED,    /* send it, once */
	RELEASE_MISMATCHED, /* refuse it: the digests differ */
};

MUST_CHECK enum err releases_new(struct releases **ret_releases);
void releases_free(struct releases *r);
MUST_CHECK enum err releases_add_grant(struct releases *r,
				       const struct release_claim *claim,
				       enum release_outcome *ret_outcome);
MUST_CHECK enum err releases_add_release(struct releases *r,
					 const struct release_claim *claim,
					 enum release_outcome *ret_outcome);
bool releases_cancel(struct releases *r, uint64_t grant);
bool releases_expire(struct releases *r, uint64_t now_ns, uint64_t *ret_grant);
bool releases_close(struct releases *r, uint64_t *ret_grant);

#endif
