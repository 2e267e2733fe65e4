/* SPDX-License-Identifier: Apache-2.0 */
/* minisign.h - detached signatures of files, in minisign's formats */
#ifndef KENAZ_BASE_MINISIGN_H
#define KENAZ_BASE_MINISIGN_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define MINISIGN_ID_BYTES        8u
#define MINISIGN_ID_HEX_BYTES    (2 * MINISIGN_ID_BYTES + 1) /* with NUL */
#define MINISIGN_PUBLIC_BYTES    32u
#define MINISIGN_SECRET_BYTES    64u /* libsodium: seed and public key */
#define MINISIGN_SIGNATURE_BYTES 64u
#define MINISIGN_NAME_MAX_BYTES  64u
#define MINISIGN_COMMENT_BYTES   256u  /* one comment, without its label */
#define MINISIGN_FILE_MAX_BYTES  2048u /* a key or a signature */

/* Whose signatures count. */
struct minisign_key {
	char name[MINISIGN_NAME_MAX_BYTES + 1]; /* ours, not in the file */
	uint8_t id[MINISIGN_ID_BYTES];
	uint8_t public_key[MINISIGN_PUBLIC_BYTES];
};

/* Kept in locked memory by its holder, who wipes it. */
struct minisign_secret {
	uint8_t id[MINISIGN_ID_BYTES];
	uint8_t key[MINISIGN_SECRET_BYTES];
};

void minisign_id_text(const uint8_t id[MINISIGN_ID_BYTES],
		      char ret_text[MINISIGN_ID_HEX_BYTES]);
MUST_CHECK enum err minisign_key_read(struct span text,
				      struct minisign_key *ret_key);
MUST_CHECK enum err minisign_key_write(const struct minisign_key *key,
				       struct buf *out);
MUST_CHECK enum err minisign_secret_make(struct minisign_secret *ret_secret);
void minisign_secret_public(const struct minisign_secret *secret,
			    struct minisign_key *ret_key);
MUST_CHECK enum err minisign_secret_read(struct span text,
					 struct minisign_secret *ret_secret);
MUST_CHECK enum err minisign_secret_write(const struct minisign_secret *secret,
					  struct buf *out);
MUST_CHECK enum err minisign_sign(const struct minisign_secret *secret,
				  struct span message, const char *comment,
				  struct buf *out);
MUST_CHECK enum err minisign_verify(struct span signature, struct span message,
				    const struct minisign_key *keys,
				    size_t count,
				    uint8_t ret_id[MINISIGN_ID_BYTES],
				    size_t *ret_index);

#endif
