/* SPDX-License-Identifier: Apache-2.0 */
/* vault.h - provider secrets, encrypted on disk, locked in memory */
#ifndef KENAZ_BROKER_VAULT_H
#define KENAZ_BROKER_VAULT_H

#include "engine/broker/vault_format.h"
#include "engine/broker/vault_key.h"

#define VAULT_FILE "vault"

struct vault;

MUST_CHECK enum err vault_open(int dir_fd, const struct vault_backend *backend,
			       struct vault **ret_vault, const char **ret_why);
void vault_free(struct vault *v);
MUST_CHECK enum err vault_set(struct vault *v, struct span name,
			      struct span secret, uint64_t now_wall_us,
			      const char **ret_why);
MUST_CHECK enum err vault_remove(struct vault *v, struct span name,
				 const char **ret_why);
const struct vault_record *vault_find(const struct vault *v, struct span name);
const struct vault_record *vault_at(const struct vault *v, size_t index);
uint64_t vault_generation(const struct vault *v);

#endif
