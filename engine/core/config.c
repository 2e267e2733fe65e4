/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - kenaz.toml: which providers, images, limits and roles exist
 *
 * Runs in: kenazd.
 * Trusts:  the owner of the file for intent, not for form.
 * Never:   holds a secret: a provider names one, the broker has it.
 *
 * Every key is described in docs/configuration.md.
 */
#include "engine/core/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/core/config_read.h"
#include "engine/core/own_user.h"

#define CONFIG_MEMORY_MAX  (1 << 20) /* MiB */
#define CONFIG_DISK_MAX    (1 << 20) /* MiB */
#define CONFIG_SECONDS_MAX (366 * 86400)

static const char *const role_names[CONFIG_ROLE_COUNT + 1] = {"user",
							      "approver",
							      "auditor",
							      "admin", NULL};

static const char *const accelerator_names[] = {"auto", "kvm", "tcg", NULL};

static const char *const vsock_names[] = {"device", "kernel", NULL};

/* One whole number of [limits] or [engine]. */
struct config_number {
	const char *key;
	size_t offset; /* in struct config_limits */
	bool wide;     /* uint64_t, else uint32_t */
	int64_t min;
	int64_t max;
	int64_t fallback;
};

#define NUMBER(key, wide, min, max, fallback)                              \
	{                                                                  \
#		key, offsetof(struct config_limits, key), wide, min, max, \
			fallback                                           \
	}

static const struct config_number config_numbers[] = {
	NUMBER(memory_mib, false, 64, CONFIG_MEMORY_MAX, 512),
	NUMBER(vcpus, false, 1, 256, 1),
	NUMBER(disk_mib, false, 0, CONFIG_DISK_MAX, 4096),
	NUMBER(max_sessions, false, 1, 4096, 64),
	NUMBER(max_sessions_user, false, 1, 4096, 64),
	NUMBER(session_memory_max_mib, false, 64, CONFIG_MEMORY_MAX, 16384),
	NUMBER(session_vcpus_max, false, 1, 256, 8),
	NUMBER(session_disk_max_mib, false, 0, CONFIG_MEMORY_MAX,
	       CONFIG_MEMORY_MAX),
	NUMBER(user_memory_max_mib, false, 0, 16 * CONFIG_MEMORY_MAX, 0),
	NUMBER(user_vcpus_max, false, 0, 65536, 0),
	NUMBER(user_disk_max_mib, false, 0, 16 * CONFIG_MEMORY_MAX, 0),
	NUMBER(host_memory_max_mib, false, 0, 16 * CONFIG_MEMORY_MAX, 0),
	NUMBER(host_vcpus_max, false, 0, 65536, 0),
	NUMBER(host_disk_max_mib, false, 0, 16 * CONFIG_MEMORY_MAX, 0),
	NUMBER(host_reserve_mib, false, 0, CONFIG_MEMORY_MAX, 512),
	NUMBER(console_bytes, true, 16, INT64_C(1) << 40, 4 << 20),
	NUMBER(ask_timeout_s, false, 1, 86400, 60),
	NUMBER(approvals_max, false, 1, 1024, 256),
	NUMBER(event_rate_per_s, false, 1, 100000, 1000),
	NUMBER(payload_bytes, true, 1 << 20, INT64_C(1) << 44,
	       INT64_C(1) << 32),
	NUMBER(wall_s, false, 0, CONFIG_SECONDS_MAX, 0),
	NUMBER(idle_s, false, 0, CONFIG_SECONDS_MAX, 0),
	NUMBER(request_s, false, 1, 86400, 900),
	NUMBER(boot_s, false, 10, 3600, 120),
};

static void put_number(struct config_limits *limits,
		       const struct config_number *number, int64_t value)
{
	uint8_t *at = (uint8_t *)limits + number->offset;
	uint32_t narrow = (uint32_t)value;
	uint64_t wide = (uint64_t)value;

	if (number->wide)
		memcpy(at, &wide, sizeof(wide));
	else
		memcpy(at, &narrow, sizeof(narrow));
}

static uint64_t take_number(const struct config_limits *limits,
			    const struct config_number *number)
{
	const uint8_t *at = (const uint8_t *)limits + number->offset;
	uint32_t narrow;
	uint64_t wide;

	if (number->wide) {
		memcpy(&wide, at, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, at, sizeof(narrow));
	return narrow;
}

/* --- shared with config_provider.c -------------------------------------- */

/**
 * config_take_memory() - Zeroed memory, or a failure told like every other
 * @count:	Elements; 0 gives memory too
 * @size_bytes:	Of one element
 * @error:	Receives the failure
 *
 * Return: memory to free(), or NULL.
 */
void *config_take_memory(size_t count, size_t size_bytes,
			 struct conf_error *error)
{
	void *memory = calloc(count ? count : 1, size_bytes);

	if (!memory && error->status == ERR_OK) {
		(void)conf_fail_at(error, NULL, 0, "out of memory");
		error->status = ERR_MEMORY;
	}
	return memory;
}

/**
 * config_read_texts() - Read one text or a list of texts into an array
 * @table:	Where
 * @key:	Static text
 * @max:	Most values
 * @texts:	Array to free(); the texts belong to the tree
 * @count:	Its length
 * @error:	Receives a failure
 */
void config_read_texts(struct conf_node *table, const char *key, size_t max,
		       const char ***texts, size_t *count,
		       struct conf_error *error)
{
	struct conf_node *list = conf_get_texts(table, key, error);
	size_t i;

	if (!list)
		return;
	if (conf_count(list) > max) {
		(void)conf_fail(error, list, "%s lists more than %zu values",
				key, max);
		return;
	}
	*texts = config_take_memory(conf_count(list), sizeof(**texts), error);
	for (i = 0; *texts && i < conf_count(list); i++)
		(*texts)[i] = conf_value_text(conf_at(list, i));
	*count = *texts ? conf_count(list) : 0;
}

/**
 * config_check_name() - Refuse what is no plain name
 * @table:	Gives the line
 * @name:	Name, or NULL for a missing one
 * @what:	What is named, for the message
 * @error:	Receives a failure
 */
void config_check_name(const struct conf_node *table, const char *name,
		       const char *what, struct conf_error *error)
{
	if (error->status != ERR_OK)
		return;
	if (!name)
		(void)conf_fail(error, table, "this %s has no name", what);
	else if (!text_is_name(span_text(name), CONFIG_NAME_MAX_BYTES))
		(void)conf_fail(error, table,
				"the name \"%.80s\" must be of a-z, 0-9, '.', "
				"'_', '-', start with a letter or digit and "
				"have at most %u bytes",
				name, CONFIG_NAME_MAX_BYTES);
}

/* --- reading ------------------------------------------------------------ */

static void read_image(struct conf_node *table, struct config *config,
		       struct conf_error *error)
{
	struct config_image *to = &config->images[config->image_count];
	const struct config_image *other;

	to->line = conf_line(table);
	to->name = conf_get_text(table, "name", NULL, error);
	config_check_name(table, to->name, "image", error);
	to->path = conf_get_text(table, "path", NULL, error);
	to->memory_mib =
		(uint32_t)conf_get_integer(table, "memory_mib", 64,
					   CONFIG_MEMORY_MAX, 0, error);
	if (error->status != ERR_OK)
		return;
	if (!to->path || to->path[0] != '/')
		(void)conf_fail(error, table,
				"image %s needs path, the absolute path of "
				"its folder",
				to->name);
	other = config_find_image(config, to->name);
	if (other)
		(void)conf_fail(error, table,
				"image %s is already defined in line %u",
				to->name, other->line);
	config->image_count++;
}

static void read_images(struct conf_node *root, struct config *config,
			struct conf_error *error)
{
	struct conf_node *list =
		conf_get_array(root, "image", CONF_TABLE, error);
	size_t count = list ? conf_count(list) : 0;

	if (count > CONFIG_IMAGES_MAX) {
		(void)conf_fail(error, list, "more than %u images",
				CONFIG_IMAGES_MAX);
		return;
	}
	config->images =
		config_take_memory(count, sizeof(*config->images), error);
	for (size_t i = 0; config->images && i < count; i++)
		if (error->status == ERR_OK)
			read_image(conf_at(list, i), config, error);
}

static void read_limits(struct conf_node *root, struct config *config,
			struct conf_error *error)
{
	struct conf_node *table = conf_get_table(root, "limits", error);
	struct config_limits *limits = &config->limits;

	for (size_t i = 0; i < ARRAY_SIZE(config_numbers); i++) {
		const struct config_number *number = &config_numbers[i];
		int64_t value = number->fallback;

		if (table)
			value = conf_get_integer(table, number->key,
						 number->min, number->max,
						 number->fallback, error);
		put_number(limits, number, value);
	}
	if (!table || error->status != ERR_OK)
		return;
	if (limits->memory_mib > limits->session_memory_max_mib)
		(void)conf_fail(error, table,
				"memory_mib (%u) is above "
				"session_memory_max_mib (%u)",
				limits->memory_mib,
				limits->session_memory_max_mib);
	if (limits->disk_mib > limits->session_disk_max_mib)
		(void)conf_fail(error, table,
				"disk_mib (%u) is above session_disk_max_mib "
				"(%u)",
				limits->disk_mib, limits->session_disk_max_mib);
	if (limits->vcpus > limits->session_vcpus_max)
		(void)conf_fail(error, table,
				"vcpus (%u) is above session_vcpus_max (%u)",
				limits->vcpus, limits->session_vcpus_max);
}

static void read_roles(struct conf_node *root, struct config *config,
		       struct conf_error *error)
{
	struct conf_node *roles = conf_get_table(root, "roles", error);
	struct conf_node *table;

	for (size_t i = 0; roles && i < CONFIG_ROLE_COUNT; i++) {
		struct config_members *members = &config->roles[i];

		table = conf_get_table(roles, role_names[i], error);
		if (!table)
			continue;
		config_read_texts(table, "users", CONFIG_MEMBERS_MAX,
				  &members->users, &members->user_count, error);
		config_read_texts(table, "groups", CONFIG_MEMBERS_MAX,
				  &members->groups, &members->group_count,
				  error);
		if (members->user_count + members->group_count == 0)
			(void)conf_fail(error, table,
					"role %s names neither users nor "
					"groups; remove it or name some",
					role_names[i]);
	}
}

static void read_engine(struct conf_node *root, struct config *config,
			struct conf_error *error)
{
	struct conf_node *table = conf_get_table(root, "engine", error);
	struct config_engine *engine = &config->engine;

	engine->accelerator = CONFIG_ACCELERATOR_AUTO;
	engine->exit_idle_s = 60;
	engine->session_uid_first = OWN_USER_FIRST;
	engine->cgroup = "auto";
	engine->adopt_s = 60;
	if (!table)
		return;
	engine->survive_set = conf_find(table, "survive") != NULL;
	engine->survive = conf_get_boolean(table, "survive", false, error);
	engine->adopt_s = (uint32_t)conf_get_integer(table, "adopt_s", 1, 3600,
						     60, error);
	engine->accelerator = (enum config_accelerator)
		conf_get_choice(table, "accelerator", accelerator_names,
				CONFIG_ACCELERATOR_AUTO, error);
	engine->vsock =
		(enum config_vsock)conf_get_choice(table, "vsock", vsock_names,
						   CONFIG_VSOCK_DEVICE, error);
	engine->exit_idle_s = (uint32_t)conf_get_integer(table, "exit_idle_s",
							 1, 86400, 60, error);
	engine->session_uid_first =
		(uint32_t)conf_get_integer(table, "session_uid_first", 65536,
					   UINT32_MAX -
						   2 * (int64_t)OWN_USER_COUNT,
					   OWN_USER_FIRST, error);
	engine->cgroup = conf_get_text(table, "cgroup", "auto", error);
	engine->default_provider =
		conf_get_text(table, "default_provider", NULL, error);
	engine->default_image =
		conf_get_text(table, "default_image", NULL, error);
	engine->disk_dir = conf_get_text(table, "disk_dir", NULL, error);
	if (error->status != ERR_OK)
		return;
	if (engine->cgroup[0] != '/' && strcmp(engine->cgroup, "auto") != 0 &&
	    strcmp(engine->cgroup, "off") != 0)
		(void)conf_fail(error, conf_find(table, "cgroup"),
				"cgroup must be \"auto\", \"off\" or an "
				"absolute path");
	if (engine->disk_dir && engine->disk_dir[0] != '/')
		(void)conf_fail(error, conf_find(table, "disk_dir"),
				"disk_dir must be an absolute path");
	if (engine->default_provider &&
	    !config_find_provider(config, engine->default_provider))
		(void)conf_fail(error, conf_find(table, "default_provider"),
				"there is no provider \"%.80s\"",
				engine->default_provider);
	if (engine->default_image && config->image_count &&
	    !config_find_image(config, engine->default_image))
		(void)conf_fail(error, conf_find(table, "default_image"),
				"there is no image \"%.80s\"",
				engine->default_image);
}

static void set_digest(struct span text, char ret_hex[DIGEST_HEX_BYTES])
{
	uint8_t digest[DIGEST_BYTES];

	digest_sha256(text, digest);
	text_hex(digest, sizeof(digest), ret_hex);
}

/**
 * config_parse() - Read a configuration from text
 * @text:	Borrowed during the call; empty gives the built-in defaults
 * @file:	Name for messages; copied
 * @error:	Receives one sentence with file and line
 * @ret_config:	The configuration; free with config_free()
 *
 * Return: ERR_OK; ERR_CONFIG; ERR_MEMORY.
 */
enum err config_parse(struct span text, const char *file,
		      struct conf_error *error, struct config **ret_config)
{
	struct config *config = config_take_memory(1, sizeof(*config), error);
	struct conf_node *root;
	enum err e = error->status;

	if (e == ERR_OK)
		e = conf_parse(text, file, error, &config->tree);
	if (e != ERR_OK)
		goto out;
	root = conf_root(config->tree);
	config->file = conf_file(root);
	config->from_file = true;
	set_digest(text, config->digest);
	config_read_providers(root, config, error);
	config_read_models(root, config, error);
	read_images(root, config, error);
	read_limits(root, config, error);
	read_roles(root, config, error);
	read_engine(root, config, error);
	config_read_pool(root, config, error);
	config_read_inference(root, config, error);
	config_read_vault(root, config, error);
	e = conf_check_unread(config->tree, error);
	if (e != ERR_OK)
		goto out;
	*ret_config = config;
	config = NULL;
out:
	config_free(config);
	return e;
}

/**
 * config_load() - Read a configuration file
 * @path:	File; when it does not exist the built-in defaults hold
 * @error:	Receives one sentence with file and line
 * @ret_config:	The configuration; free with config_free()
 *
 * Return: ERR_OK; ERR_CONFIG; ERR_MEMORY.
 */
enum err config_load(const char *path, struct conf_error *error,
		     struct config **ret_config)
{
	struct buf text;
	bool found;
	enum err e;

	buf_init(&text, 0);
	e = conf_read(path, false, error, &text);
	found = e != ERR_NOT_FOUND;
	if (e == ERR_OK || !found)
		e = config_parse(buf_span(&text), found ? path : "built-in",
				 error, ret_config);
	if (e == ERR_OK)
		(*ret_config)->from_file = found;
	buf_fini(&text);
	return e;
}

/** config_free() - Release a configuration; NULL is accepted */
void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->provider_count; i++) {
		free(config->providers[i].models);
		free(config->providers[i].fallback);
	}
	for (size_t i = 0; i < CONFIG_ROLE_COUNT; i++) {
		free(config->roles[i].users);
		free(config->roles[i].groups);
	}
	free(config->providers);
	free(config->aliases);
	free(config->models);
	free(config->images);
	free(config->pool.images);
	conf_free(config->tree);
	free(config);
}

/* --- questions ------------------------------------------------------------ */

/** config_find_image() - Look an image up by its exact name, or NULL */
const struct config_image *config_find_image(const struct config *config,
					     const char *name)
{
	for (size_t i = 0; i < config->image_count; i++)
		if (strcmp(config->images[i].name, name) == 0)
			return &config->images[i];
	return NULL;
}

/** config_survives() - Whether sessions outlive an engine of this mode */
bool config_survives(const struct config *config, bool system)
{
	return config->engine.survive_set ? config->engine.survive : system;
}

/* --- settings in force ---------------------------------------------------- */

enum engine_setting {
	SETTING_ACCELERATOR,
	SETTING_EXIT_IDLE,
	SETTING_PROVIDER,
	SETTING_IMAGE,
	SETTING_UID_FIRST,
	SETTING_CGROUP,
	SETTING_DISK_DIR,
	SETTING_SURVIVE,
	SETTING_ADOPT,
	SETTING_VSOCK,
	SETTING_ENGINE_COUNT,
};

static const char *const engine_keys[SETTING_ENGINE_COUNT] = {
	"accelerator",       "exit_idle_s", "default_provider", "default_image",
	"session_uid_first", "cgroup",      "disk_dir",         "survive",
	"adopt_s",           "vsock"};

/** config_setting_count() - How many settings config_setting_at() knows */
size_t config_setting_count(void)
{
	return SETTING_ENGINE_COUNT + ARRAY_SIZE(config_numbers) +
	       config_pool_setting_count() + config_inference_setting_count() +
	       config_vault_setting_count();
}

static void engine_value(const struct config *config, size_t index, char *value,
			 size_t cap_bytes)
{
	const struct config_engine *engine = &config->engine;
	const struct config_provider *provider;

	switch ((enum engine_setting)index) {
	case SETTING_ACCELERATOR:
		(void)snprintf(value, cap_bytes, "%s",
			       accelerator_names[engine->accelerator]);
		break;
	case SETTING_EXIT_IDLE:
		(void)snprintf(value, cap_bytes, "%u", engine->exit_idle_s);
		break;
	case SETTING_PROVIDER:
		provider = config_default_provider(config);
		(void)snprintf(value, cap_bytes, "%s",
			       provider ? provider->name : "");
		break;
	case SETTING_IMAGE:
		(void)snprintf(value, cap_bytes, "%s",
			       engine->default_image ? engine->default_image
			       : config->image_count ? config->images[0].name
						     : "mini");
		break;
	case SETTING_UID_FIRST:
		(void)snprintf(value, cap_bytes, "%u",
			       engine->session_uid_first);
		break;
	case SETTING_CGROUP:
		(void)snprintf(value, cap_bytes, "%.100s", engine->cgroup);
		break;
	case SETTING_DISK_DIR:
		(void)snprintf(value, cap_bytes, "%.100s",
			       engine->disk_dir ? engine->disk_dir
						: "the state folder");
		break;
	case SETTING_SURVIVE:
		(void)snprintf(value, cap_bytes, "%s",
			       !engine->survive_set ? "with --system only"
			       : engine->survive    ? "true"
						    : "false");
		break;
	case SETTING_ADOPT:
		(void)snprintf(value, cap_bytes, "%u", engine->adopt_s);
		break;
	case SETTING_VSOCK:
		(void)snprintf(value, cap_bytes, "%s",
			       vsock_names[engine->vsock]);
		break;
	case SETTING_ENGINE_COUNT:
		break;
	}
}

/**
 * config_setting_at() - One value in force and what set it
 * @config:		Configuration
 * @index:		Below config_setting_count()
 * @ret_setting:	Name as section.key, value, source
 */
void config_setting_at(const struct config *config, size_t index,
		       struct config_setting *ret_setting)
{
	bool engine = index < SETTING_ENGINE_COUNT;
	const size_t before_pool =
		SETTING_ENGINE_COUNT + ARRAY_SIZE(config_numbers);
	const size_t before_inference =
		before_pool + config_pool_setting_count();
	const size_t before_vault =
		before_inference + config_inference_setting_count();
	const char *section = engine                     ? "engine"
			      : index < before_pool      ? "limits"
			      : index < before_inference ? "pool"
			      : index < before_vault     ? "inference"
							 : "vault";
	const struct config_number *number = NULL;
	struct conf_node *table, *node = NULL;
	const char *key;

	if (index >= before_vault) {
		key = config_vault_setting(config, index - before_vault,
					   ret_setting->value,
					   sizeof(ret_setting->value));
	} else if (index >= before_inference) {
		key = config_inference_setting(config, index - before_inference,
					       ret_setting->value,
					       sizeof(ret_setting->value));
	} else if (index >= before_pool) {
		key = config_pool_setting(config, index - before_pool,
					  ret_setting->value,
					  sizeof(ret_setting->value));
	} else if (engine) {
		key = engine_keys[index];
		engine_value(config, index, ret_setting->value,
			     sizeof(ret_setting->value));
	} else {
		number = &config_numbers[index - SETTING_ENGINE_COUNT];
		key = number->key;
		(void)snprintf(ret_setting->value, sizeof(ret_setting->value),
			       "%llu",
			       (unsigned long long)take_number(&config->limits,
							       number));
	}
	(void)snprintf(ret_setting->name, sizeof(ret_setting->name), "%s.%s",
		       section, key);
	table = conf_find(conf_root(config->tree), section);
	if (table)
		node = conf_find(table, key);
	if (node)
		(void)snprintf(ret_setting->source, sizeof(ret_setting->source),
			       "%.140s:%u", config->file, conf_line(node));
	else
		(void)snprintf(ret_setting->source, sizeof(ret_setting->source),
			       "built-in");
}
