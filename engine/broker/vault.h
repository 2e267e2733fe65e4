/* SPDX-License-Identifier: Apache-2.0 */
/* vault.h - provider secrets, encrypted on disk, locked in memory */
#ifndef KENAZ_BROKER_VAULT_H
#define KENAZ_BROKER_VAULT_H

#include "engine/broker/vault_format.h"

#define VAULT_FILE "vault"

struct vault;

enum vault_phase { VAULT_ABSENT, VAULT_SEALED, VAULT_OPEN };

MUST_CHECK enum err vault_load(int dir_fd, struct vault **ret_vault,
			       const char **ret_why);
enum vault_phase vault_phase(const struct vault *v);
const struct vault_wrap *vault_wrapped_by(const struct vault *v);
MUST_CHECK enum err vault_unseal(struct vault *v, struct secret *wrapping_key,
				 const char **ret_why);
MUST_CHECK enum err vault_begin(struct vault *v, const struct vault_wrap *wrap,
				struct secret *wrapping_key,
				const char **ret_why);
MUST_CHECK enum err vault_save(struct vault *v, const char **ret_why);
MUST_CHECK enum err vault_rewrap(struct vault *v, const struct vault_wrap *wrap,
				 struct secret *wrapping_key,
				 const char **ret_why);
bool vault_is_wrapped_with(const struct vault *v, const struct secret *key);
void vault_free(struct vault *v);
MUST_CHECK enum err vault_set(struct vault *v, struct span name,
			      struct span secret, uint64_t now_wall_us,
			      const char **ret_why);
MUST_CHECK enum err vault_remove(struct vault *v, struct span name,
				 const char **ret_why);
const struct vault_record *vault_find(const struct vault *v, struct span name);
const struct vault_record *vault_at(const struct vault *v, size_t index);
uint64_t vault_generation(const struct vault *v);
uint32_t vault_key_id(const struct vault *v);

#endif
