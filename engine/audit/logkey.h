/* SPDX-License-Identifier: Apache-2.0 */
/* logkey.h - audit's own log key and what is wrapped under it */
#ifndef KENAZ_AUDIT_LOGKEY_H
#define KENAZ_AUDIT_LOGKEY_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define LOGKEY_FILE           "log.key"
#define LOGKEY_BYTES          32u
#define LOGKEY_WRAP_MAX_BYTES 64u
#define LOGKEY_OVERHEAD_BYTES (24u + 16u) /* nonce, tag */

enum logkey_purpose { LOGKEY_EPOCH, LOGKEY_PAYLOAD };

struct logkey;

MUST_CHECK enum err logkey_open(int key_dir_fd, bool may_create,
				struct logkey **ret_key, bool *ret_created);
void logkey_free(struct logkey *k);
MUST_CHECK enum err logkey_wrap(const struct logkey *k,
				enum logkey_purpose purpose, struct span about,
				struct span secret, struct buf *out);
MUST_CHECK enum err logkey_unwrap(const struct logkey *k,
				  enum logkey_purpose purpose,
				  struct span about, struct span wrapped,
				  uint8_t *ret_secret, size_t len_bytes);

MUST_CHECK enum err secret_alloc(size_t len_bytes, uint8_t **ret_secret);
void secret_free(uint8_t *secret);

#endif
