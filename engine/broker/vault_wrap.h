/* SPDX-License-Identifier: Apache-2.0 */
/* vault_wrap.h - which backend wraps a vault's key, and its parameters */
#ifndef KENAZ_BROKER_VAULT_WRAP_H
#define KENAZ_BROKER_VAULT_WRAP_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/proto/limits.h"

#define VAULT_PARAMS_MAX_BYTES 128u
#define WRAP_SALT_BYTES        16u
#define WRAP_ITEM_BYTES        16u
#define WRAP_FILE_MAX_BYTES    24u

/* What Argon2id may take, whoever wrote the file. */
#define WRAP_PASSES_MIN     1u
#define WRAP_PASSES_MAX     64u
#define WRAP_MEMORY_MIN_MIB 8u
#define WRAP_MEMORY_MAX_MIB 4096u

/* Written into vaults: never renumber. */
enum vault_backend_id {
	VAULT_BACKEND_NONE = 0,
	VAULT_BACKEND_KEYFILE = 1,
	VAULT_BACKEND_SYSTEMD_CREDS = 2,
	VAULT_BACKEND_SECRET_SERVICE = 3,
	VAULT_BACKEND_PASSPHRASE = 4,
};

/* As it lies in the file: parameters are checked by their reader. */
struct vault_wrap {
	uint32_t backend;
	uint8_t params[VAULT_PARAMS_MAX_BYTES];
	uint32_t params_bytes;
};

struct wrap_argon2id {
	uint32_t passes;
	uint32_t memory_mib;
	uint8_t salt[WRAP_SALT_BYTES];
};

/* What the configuration asks for. */
struct vault_settings {
	uint32_t backend;
	char credential[NAME_MAX_BYTES + 1]; /* systemd-creds */
	uint32_t passes, memory_mib;         /* passphrase */
};

const char *wrap_backend_name(uint32_t backend);
uint32_t wrap_backend_find(struct span name);

MUST_CHECK enum err wrap_put_argon2id(const struct wrap_argon2id *params,
				      struct vault_wrap *ret_wrap);
MUST_CHECK enum err wrap_get_argon2id(const struct vault_wrap *wrap,
				      struct wrap_argon2id *ret_params);
MUST_CHECK enum err wrap_put_credential(const char *name,
					struct vault_wrap *ret_wrap);
MUST_CHECK enum err wrap_get_credential(const struct vault_wrap *wrap,
					char ret_name[NAME_MAX_BYTES + 1]);
MUST_CHECK enum err wrap_put_item(const uint8_t id[WRAP_ITEM_BYTES],
				  struct vault_wrap *ret_wrap);
MUST_CHECK enum err wrap_get_item(const struct vault_wrap *wrap,
				  uint8_t ret_id[WRAP_ITEM_BYTES]);
MUST_CHECK enum err wrap_put_file(uint32_t key_id, struct vault_wrap *ret_wrap);
MUST_CHECK enum err wrap_get_file(const struct vault_wrap *wrap,
				  char ret_name[WRAP_FILE_MAX_BYTES]);

#endif
