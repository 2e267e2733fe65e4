/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - kenaz.toml: which providers, images, limits and roles exist */
#ifndef KENAZ_CORE_CONFIG_H
#define KENAZ_CORE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/conf.h"
#include "engine/base/digest.h"
#include "engine/providers/route.h"

#define CONFIG_FILE_NAME      "kenaz.toml"
#define CONFIG_PROVIDERS_MAX  32u
#define CONFIG_IMAGES_MAX     32u
#define CONFIG_MODELS_MAX     256u /* of one provider; and [[model]] entries */
#define CONFIG_MEMBERS_MAX    256u /* users or groups of one role */
#define CONFIG_NAME_MAX_BYTES 64u
#define CONFIG_ALIASES_MAX    256u
#define CONFIG_TARGETS_MAX    8u /* of one alias; fallbacks of a provider */
#define CONFIG_SCRIPTED       "scripted"

/* Of systemd-creds, unless another is named. */
#define CONFIG_VAULT_CREDENTIAL "kenaz-vault-key"

#define CONFIG_POOL_SIZE_MAX      64u /* machines of one kind */
#define CONFIG_POOL_TEMPLATES_MAX 16u

enum config_accelerator {
	CONFIG_ACCELERATOR_AUTO,
	CONFIG_ACCELERATOR_KVM,
	CONFIG_ACCELERATOR_TCG,
};

enum config_vsock { CONFIG_VSOCK_DEVICE, CONFIG_VSOCK_KERNEL };

enum config_pool_start {
	CONFIG_POOL_AUTO,
	CONFIG_POOL_COLD,
	CONFIG_POOL_TEMPLATE,
	CONFIG_POOL_POOL,
};

enum config_vault_backend {
	CONFIG_VAULT_DEFAULT, /* as the engine's mode says */
	CONFIG_VAULT_PASSPHRASE,
	CONFIG_VAULT_SECRET_SERVICE,
	CONFIG_VAULT_SYSTEMD_CREDS,
	CONFIG_VAULT_KEYFILE,
	CONFIG_VAULT_COUNT,
};

enum config_role {
	CONFIG_ROLE_USER,
	CONFIG_ROLE_APPROVER,
	CONFIG_ROLE_AUDITOR,
	CONFIG_ROLE_ADMIN,
	CONFIG_ROLE_COUNT,
};

struct config_engine {
	enum config_accelerator accelerator;
	const char *default_provider; /* NULL: the first one */
	const char *default_image;    /* NULL: the first one */
	const char *disk_dir;         /* NULL: the state folder */
	uint32_t exit_idle_s;
	uint32_t session_uid_first; /* of sessions' users, as root */
	const char *cgroup;         /* "auto", "off" or a folder */
	bool survive, survive_set;  /* not set: as the engine's mode says */
	uint32_t adopt_s;
	enum config_vsock vsock;
};

/* Seconds; 0: the broker's own. */
struct config_timeouts {
	uint32_t connect_s, first_byte_s, idle_s, total_s;
};

struct config_provider {
	const char *name;
	const char *kind;
	const char *endpoint; /* NULL: the kind's own */
	const char *secret;   /* name in the vault, or NULL */
	const char *ca_file;  /* or NULL */
	const char *region;   /* or NULL */
	bool allow_http;
	unsigned dialects;       /* bits of DIALECT_BIT(); 0: the kind's own */
	const char *auth;        /* or NULL: the kind's own */
	const char *api_version; /* or NULL */
	enum route_variant variant;
	struct config_timeouts timeouts;
	enum http_version http;
	bool no_stream_usage;     /* refuses stream_options.include_usage */
	const char *proxy;        /* http://host:port, or NULL */
	const char *proxy_secret; /* or NULL */
	const char **models;      /* empty: any */
	size_t model_count;
	const char **fallback; /* names of providers to ask after it */
	size_t fallback_count;
	bool retries_set, retry_after_max_set; /* else [inference] counts */
	uint32_t retries, retry_after_max_s;
	unsigned int line; /* 0: built in */
};

/* What is known of a model here; stands over the built-in tables. */
struct config_model {
	const char *provider; /* a provider's name; or NULL: by kind */
	const char *kind;     /* or NULL */
	struct provider_model row;
	unsigned int line;
};

/* A name for models, and who is asked for it, in order. */
struct config_target {
	const char *provider, *model;
};

struct config_alias {
	const char *name;
	struct config_target targets[CONFIG_TARGETS_MAX];
	size_t target_count;
	unsigned int line;
};

/* Retries and circuits; see docs/configuration.md. */
struct config_inference {
	uint32_t retries;
	uint32_t retry_base_ms, retry_max_ms;
	uint32_t retry_after_max_s;
	uint32_t circuit_failures, circuit_window_s, circuit_open_s;
};

struct config_image {
	const char *name;
	const char *path;
	uint32_t memory_mib; /* 0: limits.memory_mib */
	unsigned int line;
};

struct config_limits {
	uint32_t memory_mib;
	uint32_t vcpus;
	uint32_t disk_mib; /* 0: a session's changes stay in memory */
	uint32_t max_sessions;
	uint32_t max_sessions_user;
	uint32_t session_memory_max_mib;
	uint32_t session_vcpus_max;
	uint32_t session_disk_max_mib;
	uint32_t user_memory_max_mib; /* 0: none */
	uint32_t user_vcpus_max;      /* 0: none */
	uint32_t user_disk_max_mib;   /* 0: none */
	uint32_t host_memory_max_mib; /* 0: no ceiling of our own */
	uint32_t host_vcpus_max;      /* 0: none */
	uint32_t host_disk_max_mib;   /* 0: none */
	uint32_t host_reserve_mib;
	uint64_t console_bytes;
	uint32_t ask_timeout_s;
	uint32_t approvals_max;
	uint32_t event_rate_per_s;
	uint64_t payload_bytes;
	uint32_t wall_s; /* 0: none */
	uint32_t idle_s; /* 0: none */
	uint32_t request_s;
	uint32_t boot_s; /* start to the receipt of hello */
};

struct config_pool {
	enum config_pool_start start;
	const char **images; /* empty: the default one */
	size_t image_count;
	uint32_t size;           /* machines of each kind */
	uint32_t memory_max_mib; /* 0: no ceiling of its own */
	uint32_t refill_parallel;
	uint32_t templates_max;
	uint32_t template_max_age_s;
	uint32_t template_restores_max; /* 0: no limit */
};

struct config_vault {
	enum config_vault_backend backend;
	const char *credential; /* for systemd-creds */
	uint32_t passphrase_memory_mib;
	uint32_t passphrase_passes;
};

struct config_members {
	const char **users;
	size_t user_count;
	const char **groups;
	size_t group_count;
};

struct config {
	const char *file; /* path, or "built-in" when there was none */
	bool from_file;
	char digest[DIGEST_HEX_BYTES]; /* SHA-256 of the file's bytes */
	struct config_engine engine;
	struct config_provider *providers; /* never empty */
	size_t provider_count;
	struct config_model *models;
	size_t model_count;
	struct config_inference inference;
	struct config_alias *aliases;
	size_t alias_count;
	struct config_image *images; /* may be empty: built-in "mini" */
	size_t image_count;
	struct config_limits limits;
	struct config_pool pool;
	struct config_vault vault;
	struct config_members roles[CONFIG_ROLE_COUNT];
	struct conf *tree; /* owns the texts */
};

/* One value in force and where it comes from, for doctor and policy show. */
struct config_setting {
	char name[64];
	char value[160];
	char source[160]; /* "built-in" or file:line */
};

struct config_kind {
	const char *name;
	bool needs_endpoint;
	bool needs_region;
	bool needs_secret;
};

MUST_CHECK enum err config_parse(struct span text, const char *file,
				 struct conf_error *error,
				 struct config **ret_config);
MUST_CHECK enum err config_load(const char *path, struct conf_error *error,
				struct config **ret_config);
void config_free(struct config *config);

const struct config_provider *config_find_provider(const struct config *config,
						   const char *name);
const struct config_provider *
config_default_provider(const struct config *config);
const char *config_dialect_name(enum dialect dialect);
const struct config_alias *config_find_alias(const struct config *config,
					     const char *name);
bool config_allows_model(const struct config_provider *provider,
			 struct span model);
const struct provider_model *
config_find_model(const struct config *config,
		  const struct config_provider *provider, struct span model);
const struct config_image *config_find_image(const struct config *config,
					     const char *name);
bool config_survives(const struct config *config, bool system);
size_t config_setting_count(void);
void config_setting_at(const struct config *config, size_t index,
		       struct config_setting *ret_setting);
const char *config_vault_backend(const struct config *config, bool system);
size_t config_kind_count(void);
const struct config_kind *config_kind_at(size_t index);

#endif
