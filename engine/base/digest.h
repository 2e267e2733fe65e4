/* SPDX-License-Identifier: Apache-2.0 */
/* digest.h - SHA-256 and HMAC-SHA256, in one call or piece by piece */
#ifndef KENAZ_BASE_DIGEST_H
#define KENAZ_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define DIGEST_BYTES       32u
#define DIGEST_HEX_BYTES   (2 * DIGEST_BYTES + 1) /* with the NUL */
#define DIGEST_PARTS_MAX   8u
#define DIGEST_BLOCK_BYTES 64u

struct digest;

MUST_CHECK enum err digest_init(void);
void digest_sha256(struct span data, uint8_t ret_digest[DIGEST_BYTES]);
void digest_sha256_parts(const struct span *parts, size_t count,
			 uint8_t ret_digest[DIGEST_BYTES]);
void digest_hmac_sha256(struct span key, struct span data,
			uint8_t ret_mac[DIGEST_BYTES]);
bool digest_equal(const uint8_t a[DIGEST_BYTES], const uint8_t b[DIGEST_BYTES]);

MUST_CHECK enum err digest_new(struct digest **ret_digest);
MUST_CHECK enum err digest_new_hmac(struct span key,
				    struct digest **ret_digest);
void digest_free(struct digest *d);
void digest_restart(struct digest *d);
void digest_update(struct digest *d, struct span data);
void digest_finish(struct digest *d, uint8_t ret_digest[DIGEST_BYTES]);

#endif
