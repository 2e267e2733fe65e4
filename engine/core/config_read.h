/* SPDX-License-Identifier: Apache-2.0 */
/* config_read.h - what the files that read kenaz.toml share */
#ifndef KENAZ_CORE_CONFIG_READ_H
#define KENAZ_CORE_CONFIG_READ_H

#include "engine/core/config.h"

void *config_take_memory(size_t count, size_t size_bytes,
			 struct conf_error *error);
void config_read_texts(struct conf_node *table, const char *key, size_t max,
		       const char ***texts, size_t *count,
		       struct conf_error *error);
void config_check_name(const struct conf_node *table, const char *name,
		       const char *what, struct conf_error *error);
void config_read_providers(struct conf_node *root, struct config *config,
			   struct conf_error *error);
void config_read_transport(struct conf_node *table,
			   const struct provider_kind *kind,
			   struct config_provider *to,
			   struct conf_error *error);
MUST_CHECK enum err config_price_of(const char *text, uint64_t *ret_uusd);
void config_read_models(struct conf_node *root, struct config *config,
			struct conf_error *error);
void config_read_retries(struct conf_node *table, struct config_provider *to,
			 struct conf_error *error);
void config_read_inference(struct conf_node *root, struct config *config,
			   struct conf_error *error);
size_t config_inference_setting_count(void);
const char *config_inference_setting(const struct config *config, size_t index,
				     char *value, size_t cap_bytes);
void config_read_pool(struct conf_node *root, struct config *config,
		      struct conf_error *error);
void config_read_vault(struct conf_node *root, struct config *config,
		       struct conf_error *error);
size_t config_vault_setting_count(void);
const char *config_vault_setting(const struct config *config, size_t index,
				 char *value, size_t cap_bytes);
size_t config_pool_setting_count(void);
const char *config_pool_setting(const struct config *config, size_t index,
				char *value, size_t cap_bytes);

#endif
