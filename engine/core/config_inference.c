/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_inference.c - [inference] and [[alias]] of kenaz.toml, and fallbacks
 *
 * Runs in: kenazd.
 * Trusts:  the owner of the file for intent, not for form.
 * Never:   takes a name for a provider that does not exist.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/core/config_read.h"
#include "engine/proto/limits.h"

#define RETRIES_MAX  16
#define WAIT_MAX_MS  600000
#define WAIT_MAX_S   3600
#define FAILURES_MAX 64

struct inference_number {
	const char *key;
	size_t offset; /* of a uint32_t in struct config_inference */
	int64_t min, max, fallback;
};

#define NUMBER(key, min, max, fallback)                                 \
	{                                                               \
#		key, offsetof(struct config_inference, key), min, max, \
			fallback                                        \
	}

static const struct inference_number numbers[] = {
	NUMBER(retries, 0, RETRIES_MAX, 2),
	NUMBER(retry_base_ms, 1, WAIT_MAX_MS, 500),
	NUMBER(retry_max_ms, 1, WAIT_MAX_MS, 5000),
	NUMBER(retry_after_max_s, 0, WAIT_MAX_S, 30),
	NUMBER(circuit_failures, 0, FAILURES_MAX, 5),
	NUMBER(circuit_window_s, 1, WAIT_MAX_S, 60),
	NUMBER(circuit_open_s, 1, WAIT_MAX_S, 30),
};

static uint32_t *number_of(struct config_inference *inference,
			   const struct inference_number *n)
{
	return (uint32_t *)(void *)((uint8_t *)inference + n->offset);
}

/**
 * config_read_retries() - Read how a provider is tried again, and who is next
 * @table:	The [[provider]] entry
 * @to:		Receives it
 * @error:	Receives a failure
 */
void config_read_retries(struct conf_node *table, struct config_provider *to,
			 struct conf_error *error)
{
	to->retries_set = conf_find(table, "retries") != NULL;
	to->retries = (uint32_t)conf_get_integer(table, "retries", 0,
						 RETRIES_MAX, 0, error);
	to->retry_after_max_set = conf_find(table, "retry_after_max_s") != NULL;
	to->retry_after_max_s =
		(uint32_t)conf_get_integer(table, "retry_after_max_s", 0,
					   WAIT_MAX_S, 0, error);
	config_read_texts(table, "fallback", CONFIG_TARGETS_MAX - 1,
			  &to->fallback, &to->fallback_count, error);
}

static void check_fallbacks(struct conf_node *root, const struct config *config,
			    struct conf_error *error)
{
	struct conf_node *list = conf_find(root, "provider");
	size_t i, k;

	for (i = 0; error->status == ERR_OK && i < config->provider_count; i++)
		for (k = 0; k < config->providers[i].fallback_count; k++) {
			const char *name = config->providers[i].fallback[k];
			const struct config_provider *p =
				config_find_provider(config, name);

			if (p && p != &config->providers[i])
				continue;
			(void)conf_fail(
				error, conf_find(conf_at(list, i), "fallback"),
				p ? "provider \"%.80s\" cannot be its own "
				    "fallback"
				  : "there is no provider \"%.80s\"",
				name);
		}
}

static void read_target(struct conf_node *table, const struct config *config,
			struct config_alias *to, struct conf_error *error)
{
	struct config_target *t = &to->targets[to->target_count];

	t->provider = conf_get_text(table, "provider", NULL, error);
	t->model = conf_get_text(table, "model", NULL, error);
	if (error->status != ERR_OK)
		return;
	if (!t->provider || !t->model || !t->model[0])
		(void)conf_fail(error, table,
				"a target of alias \"%.80s\" needs provider "
				"and model",
				to->name);
	else if (!config_find_provider(config, t->provider))
		(void)conf_fail(error, conf_find(table, "provider"),
				"there is no provider \"%.80s\"", t->provider);
	else if (strlen(t->model) > MODEL_MAX_BYTES)
		(void)conf_fail(error, conf_find(table, "model"),
				"model is longer than %u bytes",
				MODEL_MAX_BYTES);
	to->target_count++;
}

static void read_alias(struct conf_node *table, struct config *config,
		       struct conf_error *error)
{
	struct config_alias *to = &config->aliases[config->alias_count];
	const struct config_alias *other;
	struct conf_node *list;
	size_t i;

	to->line = conf_line(table);
	to->name = conf_get_text(table, "name", NULL, error);
	list = conf_get_array(table, "targets", CONF_TABLE, error);
	if (error->status != ERR_OK)
		return;
	if (!to->name || !to->name[0] || strlen(to->name) > MODEL_MAX_BYTES) {
		(void)conf_fail(error, table,
				"this alias needs a name of at most %u bytes",
				MODEL_MAX_BYTES);
		return;
	}
	other = config_find_alias(config, to->name);
	if (other)
		(void)conf_fail(error, table,
				"alias %.80s is already defined in line %u",
				to->name, other->line);
	if (!list || conf_count(list) == 0 ||
	    conf_count(list) > CONFIG_TARGETS_MAX) {
		(void)conf_fail(error, list ? list : table,
				"alias %.80s needs targets: 1 to %u of them",
				to->name, CONFIG_TARGETS_MAX);
		return;
	}
	for (i = 0; i < conf_count(list) && error->status == ERR_OK; i++)
		read_target(conf_at(list, i), config, to, error);
	config->alias_count++;
}

static void read_aliases(struct conf_node *root, struct config *config,
			 struct conf_error *error)
{
	struct conf_node *list =
		conf_get_array(root, "alias", CONF_TABLE, error);
	size_t count = list ? conf_count(list) : 0;

	if (count > CONFIG_ALIASES_MAX) {
		(void)conf_fail(error, list, "more than %u aliases",
				CONFIG_ALIASES_MAX);
		return;
	}
	config->aliases =
		config_take_memory(count, sizeof(*config->aliases), error);
	for (size_t i = 0; config->aliases && i < count; i++)
		if (error->status == ERR_OK)
			read_alias(conf_at(list, i), config, error);
}

/**
 * config_read_inference() - Read [inference] and every [[alias]]
 * @root:	The whole file; its providers are read
 * @config:	Receives them
 * @error:	Receives a failure
 */
void config_read_inference(struct conf_node *root, struct config *config,
			   struct conf_error *error)
{
	struct conf_node *table = conf_get_table(root, "inference", error);
	struct config_inference *to = &config->inference;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		const struct inference_number *n = &numbers[i];
		int64_t value = n->fallback;

		if (table)
			value = conf_get_integer(table, n->key, n->min, n->max,
						 n->fallback, error);
		*number_of(to, n) = (uint32_t)value;
	}
	if (table && error->status == ERR_OK &&
	    to->retry_max_ms < to->retry_base_ms)
		(void)conf_fail(error, table,
				"retry_max_ms (%u) is below retry_base_ms (%u)",
				to->retry_max_ms, to->retry_base_ms);
	check_fallbacks(root, config, error);
	read_aliases(root, config, error);
}

/** config_find_alias() - Look an alias up by its exact name, or NULL */
const struct config_alias *config_find_alias(const struct config *config,
					     const char *name)
{
	for (size_t i = 0; i < config->alias_count; i++)
		if (strcmp(config->aliases[i].name, name) == 0)
			return &config->aliases[i];
	return NULL;
}

/** config_inference_setting_count() - How many settings [inference] has */
size_t config_inference_setting_count(void)
{
	return ARRAY_SIZE(numbers);
}

/** config_inference_setting() - Key of a setting; its value as text */
const char *config_inference_setting(const struct config *config, size_t index,
				     char *value, size_t cap_bytes)
{
	struct config_inference copy = config->inference;

	(void)snprintf(value, cap_bytes, "%u",
		       *number_of(&copy, &numbers[index]));
	return numbers[index].key;
}
