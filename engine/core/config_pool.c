/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_pool.c - [pool] of kenaz.toml: how starts are made fast
 *
 * Runs in: kenazd.
 * Trusts:  the owner of the file for intent, not for form.
 * Never:   holds anything in memory unless it was asked for or is of use.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/core/config_read.h"

#define POOL_MEMORY_MAX_MIB (16 << 20)
#define POOL_DAYS_MAX_S     (366 * 86400)

static const char *const start_names[] = {"auto", "cold", "template", "pool",
					  NULL};

struct pool_number {
	const char *key;
	size_t offset; /* of a uint32_t in struct config_pool */
	int64_t min, max, fallback;
};

#define NUMBER(key, min, max, fallback)                                     \
	{                                                                   \
#		key, offsetof(struct config_pool, key), min, max, fallback \
	}

static const struct pool_number numbers[] = {
	NUMBER(size, 0, CONFIG_POOL_SIZE_MAX, 0),
	NUMBER(memory_max_mib, 0, POOL_MEMORY_MAX_MIB, 4096),
	NUMBER(refill_parallel, 1, 16, 1),
	NUMBER(templates_max, 1, CONFIG_POOL_TEMPLATES_MAX, 2),
	NUMBER(template_max_age_s, 1, POOL_DAYS_MAX_S, 86400),
	NUMBER(template_restores_max, 0, 1000000, 1000),
};

static uint32_t *number_of(struct config_pool *pool,
			   const struct pool_number *n)
{
	return (uint32_t *)(void *)((uint8_t *)pool + n->offset);
}

static void check_images(struct conf_node *table, const struct config *config,
			 struct conf_error *error)
{
	const struct config_pool *pool = &config->pool;
	size_t i;

	for (i = 0; error->status == ERR_OK && i < pool->image_count; i++) {
		config_check_name(table, pool->images[i], "image of the pool",
				  error);
		if (error->status == ERR_OK && config->image_count &&
		    !config_find_image(config, pool->images[i]))
			(void)conf_fail(error, conf_find(table, "images"),
					"there is no image \"%.80s\"",
					pool->images[i]);
	}
}

/**
 * config_read_pool() - Read [pool]; without it nothing is held beforehand
 * @root:	Of the file
 * @config:	Its pool is written; images have been read
 * @error:	Receives a failure
 */
void config_read_pool(struct conf_node *root, struct config *config,
		      struct conf_error *error)
{
	struct conf_node *table = conf_get_table(root, "pool", error);
	struct config_pool *pool = &config->pool;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		*number_of(pool, &numbers[i]) =
			(uint32_t)(table ? conf_get_integer(table,
							    numbers[i].key,
							    numbers[i].min,
							    numbers[i].max,
							    numbers[i].fallback,
							    error)
					 : numbers[i].fallback);
	pool->start = CONFIG_POOL_AUTO;
	if (!table)
		return;
	pool->start = (enum config_pool_start)conf_get_choice(table, "start",
							      start_names,
							      CONFIG_POOL_AUTO,
							      error);
	config_read_texts(table, "images", CONFIG_IMAGES_MAX, &pool->images,
			  &pool->image_count, error);
	check_images(table, config, error);
	if (error->status != ERR_OK)
		return;
	if (pool->size && (pool->start == CONFIG_POOL_COLD ||
			   pool->start == CONFIG_POOL_TEMPLATE))
		(void)conf_fail(error, conf_find(table, "size"),
				"size is %u, but start = \"%s\" takes nothing "
				"from the pool",
				pool->size, start_names[pool->start]);
}

/** config_pool_setting_count() - How many settings [pool] has */
size_t config_pool_setting_count(void)
{
	return 2 + ARRAY_SIZE(numbers);
}

/* "a b", cut where it gets too long for a line. */
static void put_images(const struct config_pool *pool, char *value,
		       size_t cap_bytes)
{
	size_t i;

	(void)snprintf(value, cap_bytes, "%s",
		       pool->image_count ? "" : "the default image");
	for (i = 0; i < pool->image_count; i++)
		text_append(value, cap_bytes, "%s%s", i ? " " : "",
			    pool->images[i]);
}

/**
 * config_pool_setting() - One value of [pool] in force
 * @config:	Configuration
 * @index:	Below config_pool_setting_count()
 * @value:	Receives it
 * @cap_bytes:	Its size
 *
 * Return: the key.
 */
const char *config_pool_setting(const struct config *config, size_t index,
				char *value, size_t cap_bytes)
{
	struct config_pool pool = config->pool;

	if (index == 0) {
		(void)snprintf(value, cap_bytes, "%s", start_names[pool.start]);
		return "start";
	}
	if (index == 1) {
		put_images(&pool, value, cap_bytes);
		return "images";
	}
	(void)snprintf(value, cap_bytes, "%u",
		       *number_of(&pool, &numbers[index - 2]));
	return numbers[index - 2].key;
}
