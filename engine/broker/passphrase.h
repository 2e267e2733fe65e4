/* SPDX-License-Identifier: Apache-2.0 */
/* passphrase.h - a wrapping key that is derived from what a person types */
#ifndef KENAZ_BROKER_PASSPHRASE_H
#define KENAZ_BROKER_PASSPHRASE_H

#include <uv.h>

#include "engine/broker/secret.h"
#include "engine/broker/vault_wrap.h"

#define PASSPHRASE_MIN_BYTES 8u /* of a new one */
#define PASSPHRASE_MAX_BYTES 1024u

struct passphrase_work;

typedef void (*passphrase_done)(void *context, enum err error,
				struct secret *key);

MUST_CHECK enum err passphrase_check(struct span passphrase, bool is_new,
				     const char **ret_why);
MUST_CHECK enum err passphrase_derive(const struct secret *passphrase,
				      const struct wrap_argon2id *params,
				      struct secret **ret_key);
MUST_CHECK enum err passphrase_derive_later(uv_loop_t *loop,
					    struct span passphrase,
					    const struct wrap_argon2id *params,
					    passphrase_done done,
					    void *context);

#endif
