/* SPDX-License-Identifier: Apache-2.0 */
/* note.h - C2SP signed notes (Ed25519) and checkpoint bodies */
#ifndef KENAZ_AUDIT_NOTE_H
#define KENAZ_AUDIT_NOTE_H

#include <stdint.h>

#include "engine/audit/tree.h"
#include "engine/base/buf.h"

#define NOTE_MAX_BYTES       8192u
#define NOTE_NAME_MAX_BYTES  128u
#define NOTE_SIGNATURES_MAX  32u
#define NOTE_ID_BYTES        4u
#define NOTE_PUBLIC_BYTES    32u
#define NOTE_SECRET_BYTES    64u /* libsodium: seed and public key */
#define NOTE_SIGNATURE_BYTES 64u
#define NOTE_VKEY_MAX_BYTES  (NOTE_NAME_MAX_BYTES + 56)

/* A verifier's key: who signs, with what. */
struct note_key {
	char name[NOTE_NAME_MAX_BYTES + 1];
	uint8_t id[NOTE_ID_BYTES];
	uint8_t public_key[NOTE_PUBLIC_BYTES];
};

struct checkpoint {
	char origin[NOTE_NAME_MAX_BYTES + 1];
	uint64_t size;
	struct tree_hash root;
};

MUST_CHECK enum err note_key_make(struct span name,
				  const uint8_t public_key[NOTE_PUBLIC_BYTES],
				  struct note_key *ret_key);
MUST_CHECK enum err note_key_read(struct span vkey, struct note_key *ret_key);
MUST_CHECK enum err note_key_write(const struct note_key *key, struct buf *out);

MUST_CHECK enum err note_sign(const struct note_key *key,
			      const uint8_t secret[NOTE_SECRET_BYTES],
			      struct span text, struct buf *out);
MUST_CHECK enum err note_text(struct span note, struct span *ret_text);
MUST_CHECK enum err note_verify(struct span note, const struct note_key *key,
				struct span *ret_text);

MUST_CHECK enum err checkpoint_write(const struct checkpoint *c,
				     struct buf *out);
MUST_CHECK enum err checkpoint_read(struct span text,
				    struct checkpoint *ret_checkpoint);

#endif
