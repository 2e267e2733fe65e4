/* SPDX-License-Identifier: Apache-2.0 */
/* keyscan.h - cut a provider's key out of what the provider answers */
#ifndef KENAZ_BROKER_KEYSCAN_H
#define KENAZ_BROKER_KEYSCAN_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/broker/secret.h"

/* Shorter keys ("na", "dummy") are no secrets, and occur by chance. */
#define KEYSCAN_MIN_BYTES 8u
/* What stands where a key was; shorter than any key that is looked for. */
#define KEYSCAN_MARK "[key]"

/* A key prepared for scanning; shared by all transfers that use it. */
struct keyscan_key;

/* Position in one stream. Plain data. */
struct keyscan {
	const struct keyscan_key *key; /* NULL: nothing to look for */
	size_t matched; /* bytes held back: a prefix of the key */
	uint32_t found;
};

MUST_CHECK enum err keyscan_key_new(struct span key,
				    struct keyscan_key **ret_key);
void keyscan_key_free(struct keyscan_key *key);
size_t keyscan_key_bytes(const struct keyscan_key *key);

void keyscan_init(struct keyscan *scan, const struct keyscan_key *key);
MUST_CHECK enum err keyscan_feed(struct keyscan *scan, struct span in,
				 struct buf *out);
MUST_CHECK enum err keyscan_end(struct keyscan *scan, struct buf *out);

#endif
