/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receipt.c - the proof that a guest read its hello
 *
 * Runs in: kenaz-gate.
 * Trusts:  its caller.
 * Never:   keeps the entropy.
 */
#include "engine/gate/receipt.h"

#include <inttypes.h>
#include <stdio.h>

/**
 * receipt_make() - What the guest must answer a hello with
 * @nonce:		Bytes
 * @entropy:		Bytes
 * @wall_us:		Clock, hashed as decimal text
 * @ret_receipt:	SHA-256 of the three
 */
void receipt_make(struct span nonce, struct span entropy, uint64_t wall_us,
		  uint8_t ret_receipt[DIGEST_BYTES])
{
	char wall[24];
	int len = snprintf(wall, sizeof(wall), "%" PRIu64, wall_us);
	const struct span parts[] = {nonce, entropy,
				     span_of(wall, len > 0 ? (size_t)len : 0)};

	digest_sha256_parts(parts, ARRAY_SIZE(parts), ret_receipt);
}
