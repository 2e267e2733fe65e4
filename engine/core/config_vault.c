/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_vault.c - [vault] of kenaz.toml: where the wrapping key comes from
 *
 * Runs in: kenazd.
 * Trusts:  the owner of the file for intent, not for form.
 * Never:   holds a key or a passphrase; chooses the key file by itself, which
 *	    protects least.
 */
#include <stdio.h>
#include <string.h>

#include "engine/core/config_read.h"

static const char *const backend_names[CONFIG_VAULT_COUNT + 1] = {
	[CONFIG_VAULT_DEFAULT] = "auto",
	[CONFIG_VAULT_PASSPHRASE] = "passphrase",
	[CONFIG_VAULT_SECRET_SERVICE] = "secret-service",
	[CONFIG_VAULT_SYSTEMD_CREDS] = "systemd-creds",
	[CONFIG_VAULT_KEYFILE] = "keyfile",
	[CONFIG_VAULT_COUNT] = NULL,
};

static const char *const keys[] = {"backend", "credential",
				   "passphrase_memory_mib",
				   "passphrase_passes"};

/**
 * config_read_vault() - Read [vault]
 * @root:	Of the file
 * @config:	Its vault is written
 * @error:	Receives a failure
 */
void config_read_vault(struct conf_node *root, struct config *config,
		       struct conf_error *error)
{
	struct conf_node *table = conf_get_table(root, "vault", error);
	struct config_vault *v = &config->vault;

	v->backend = CONFIG_VAULT_DEFAULT;
	v->credential = CONFIG_VAULT_CREDENTIAL;
	v->passphrase_memory_mib = 256;
	v->passphrase_passes = 3;
	if (!table)
		return;
	v->backend = (enum config_vault_backend)conf_get_choice(
		table, "backend", backend_names, CONFIG_VAULT_DEFAULT, error);
	v->credential = conf_get_text(table, "credential",
				      CONFIG_VAULT_CREDENTIAL, error);
	v->passphrase_memory_mib =
		(uint32_t)conf_get_integer(table, "passphrase_memory_mib", 64,
					   4096, 256, error);
	v->passphrase_passes =
		(uint32_t)conf_get_integer(table, "passphrase_passes", 1, 64, 3,
					   error);
	config_check_name(table, v->credential, "credential", error);
}

/**
 * config_vault_backend() - The backend in force
 * @config:	Configuration
 * @system:	It is the host's engine, not a user's
 *
 * Return: "passphrase", "secret-service", "systemd-creds" or "keyfile".
 */
const char *config_vault_backend(const struct config *config, bool system)
{
	if (config->vault.backend == CONFIG_VAULT_DEFAULT)
		return backend_names[system ? CONFIG_VAULT_SYSTEMD_CREDS
					    : CONFIG_VAULT_PASSPHRASE];
	return backend_names[config->vault.backend];
}

/** config_vault_setting_count() - How many settings [vault] has */
size_t config_vault_setting_count(void)
{
	return ARRAY_SIZE(keys);
}

/**
 * config_vault_setting() - One value of [vault] in force
 * @config:	Configuration
 * @index:	Below config_vault_setting_count()
 * @value:	Receives it
 * @cap_bytes:	Its size
 *
 * Return: the key.
 */
const char *config_vault_setting(const struct config *config, size_t index,
				 char *value, size_t cap_bytes)
{
	const struct config_vault *v = &config->vault;

	if (index == 0)
		(void)snprintf(value, cap_bytes, "%s",
			       v->backend == CONFIG_VAULT_DEFAULT
				       ? "passphrase; systemd-creds with "
					 "--system"
				       : backend_names[v->backend]);
	else if (index == 1)
		(void)snprintf(value, cap_bytes, "%s", v->credential);
	else
		(void)snprintf(value, cap_bytes, "%u",
			       index == 2 ? v->passphrase_memory_mib
					  : v->passphrase_passes);
	return keys[index];
}
