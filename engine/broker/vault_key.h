/* SPDX-License-Identifier: Apache-2.0 */
/* vault_key.h - where the vault's wrapping key comes from */
#ifndef KENAZ_BROKER_VAULT_KEY_H
#define KENAZ_BROKER_VAULT_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/broker/secret.h"

#define VAULT_KEY_FILE "vault.key"

/* Written into vaults: never renumber. */
enum vault_backend_id {
	VAULT_BACKEND_KEYFILE = 1,
	VAULT_BACKEND_SYSTEMD_CREDS = 2,
	VAULT_BACKEND_SECRET_SERVICE = 3,
	VAULT_BACKEND_PASSPHRASE = 4,
};

/*
 * A backend finds or makes the wrapping key. One is chosen by the
 * configuration; nothing ever falls back to another.
 */
struct vault_backend {
	enum vault_backend_id id;
	const char *name;
	enum err (*load)(int dir_fd, struct secret **ret_key,
			 const char **ret_why);
	enum err (*create)(int dir_fd, struct secret **ret_key,
			   const char **ret_why);
};

extern const struct vault_backend vault_backend_keyfile;

const struct vault_backend *vault_backend_find(const char *name);
const char *vault_backend_name(uint32_t id);

#endif
