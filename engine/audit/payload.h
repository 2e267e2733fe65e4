/* SPDX-License-Identifier: Apache-2.0 */
/* payload.h - bytes beside the log: encrypted each under its own key */
#ifndef KENAZ_AUDIT_PAYLOAD_H
#define KENAZ_AUDIT_PAYLOAD_H

#include "engine/audit/logkey.h"
#include "engine/audit/record.h"

#define PAYLOAD_MAX_BYTES   RESPONSE_MAX_BYTES
#define PAYLOAD_KEY_BYTES   32u
#define PAYLOAD_NONCE_BYTES 24u
#define PAYLOAD_TAG_BYTES   16u
#define PAYLOAD_BLIND_BYTES 32u
#define PAYLOAD_OVERHEAD_BYTES \
	(PAYLOAD_NONCE_BYTES + PAYLOAD_BLIND_BYTES + PAYLOAD_TAG_BYTES)
#define PAYLOAD_SECRET_BYTES  (PAYLOAD_KEY_BYTES + PAYLOAD_BLIND_BYTES)
#define PAYLOAD_WRAPPED_BYTES (PAYLOAD_KEY_BYTES + LOGKEY_OVERHEAD_BYTES)

MUST_CHECK enum err payload_seal(const struct logkey *k, struct span about,
				 struct span sent, struct span stored,
				 struct record_payload *ret_commit,
				 uint8_t *scratch, struct buf *cipher,
				 struct buf *wrapped);
MUST_CHECK enum err payload_open(const struct logkey *k, struct span about,
				 struct span cipher, struct span wrapped,
				 const struct record_payload *commit,
				 struct buf *ret_stored);

#endif
