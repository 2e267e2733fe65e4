/* SPDX-License-Identifier: Apache-2.0 */
/* session_fingerprint.h - what ran, for whom, under which policy: one digest */
#ifndef KENAZ_CORE_SESSION_FINGERPRINT_H
#define KENAZ_CORE_SESSION_FINGERPRINT_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/digest.h"
#include "engine/proto/msg.h"

/* What a session's fingerprint covers; borrowed. */
struct session_identity {
	const uint8_t *vm; /* digest of the machine's document; NULL is none */
	const char *session;
	const char *user;
	const char *policy;   /* its digest, in hex */
	const uint8_t *nonce; /* 32 bytes */
};

MUST_CHECK enum err
session_fingerprint_document(const struct session_identity *id,
			     struct buf *out);
MUST_CHECK enum err session_fingerprint(const struct session_identity *id,
					uint8_t ret_digest[DIGEST_BYTES]);
MUST_CHECK enum err
session_fingerprint_put_vm(const struct msg_vm_fingerprint *m,
			   uint32_t memory_mib, uint32_t vcpus,
			   struct buf *attrs);

#endif
