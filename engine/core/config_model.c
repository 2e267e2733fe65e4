/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_model.c - the [[model]] entries of kenaz.toml: limits and prices
 *
 * Runs in: kenazd.
 * Trusts:  the owner of the file for intent, not for form.
 * Never:   computes a price with a fraction of a millionth: what cannot be
 *	    said exactly is refused.
 */
#include <string.h>

#include "engine/base/text.h"
#include "engine/core/config_read.h"
#include "engine/providers/provider.h"

/* 1000 USD: four kinds of 2^32 tokens at this price fit into 64 bits. */
#define PRICE_MAX_UUSD   1000000000ll
#define PRICE_DIGITS     6u /* after the point */
#define PRICE_DIGITS_MAX 12u
#define MODEL_TOKENS_MAX 1000000000ll

static const struct {
	const char *key;
	size_t at;
} prices[] = {
	{"input_price", offsetof(struct provider_model, input_uusd)},
	{"output_price", offsetof(struct provider_model, output_uusd)},
	{"cache_read_price", offsetof(struct provider_model, cache_read_uusd)},
	{"cache_write_price",
	 offsetof(struct provider_model, cache_write_uusd)},
};

/**
 * config_price_of() - Read a price in US dollars exactly
 * @text:	Digits, and at most six more behind a point
 * @ret_uusd:	Millionths of a dollar; written on success
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_RANGE past 1000 dollars.
 */
enum err config_price_of(const char *text, uint64_t *ret_uusd)
{
	uint64_t value = 0;
	unsigned digits = 0, behind = 0;
	bool point = false;

	for (; *text; text++) {
		if (*text == '.' && !point && digits) {
			point = true;
			continue;
		}
		if (*text < '0' || *text > '9')
			return ERR_FORMAT;
		if (++digits > PRICE_DIGITS_MAX)
			return ERR_RANGE;
		if (point && ++behind > PRICE_DIGITS)
			return ERR_FORMAT;
		value = value * 10 + (uint64_t)(*text - '0');
	}
	if (!digits || (point && !behind))
		return ERR_FORMAT;
	for (; behind < PRICE_DIGITS; behind++)
		value *= 10;
	if (value > (uint64_t)PRICE_MAX_UUSD)
		return ERR_RANGE;
	*ret_uusd = value;
	return ERR_OK;
}

/* A text in USD, or a whole number of millionths, for a million tokens. */
static uint64_t read_price(struct conf_node *table, const char *key,
			   struct conf_error *error)
{
	struct conf_node *node = conf_find(table, key);
	uint64_t value = 0;

	if (!node || error->status != ERR_OK)
		return 0;
	if (conf_kind(node) == CONF_INTEGER)
		return (uint64_t)conf_get_integer(table, key, 0, PRICE_MAX_UUSD,
						  0, error);
	if (conf_kind(node) != CONF_TEXT ||
	    config_price_of(conf_value_text(node), &value) != ERR_OK)
		(void)conf_fail(error, node,
				"%s must be US dollars for a million tokens as "
				"a text with at most six decimals, like "
				"\"0.25\", or a whole number of millionths",
				key);
	return value;
}

/* Exactly one of provider and kind says whose model it is. */
static void read_owner(struct conf_node *table, const struct config *config,
		       struct config_model *to, struct conf_error *error)
{
	to->provider = conf_get_text(table, "provider", NULL, error);
	to->kind = conf_get_text(table, "kind", NULL, error);
	if (error->status != ERR_OK)
		return;
	if (!to->provider == !to->kind)
		(void)conf_fail(error, table,
				"a model needs provider or kind, and not "
				"both");
	else if (to->provider && !config_find_provider(config, to->provider))
		(void)conf_fail(error, conf_find(table, "provider"),
				"there is no provider \"%.80s\"", to->provider);
	else if (to->kind && (!provider_find(span_text(to->kind)) ||
			      strcmp(to->kind, CONFIG_SCRIPTED) == 0))
		(void)conf_fail(error, conf_find(table, "kind"),
				"there is no kind of provider \"%.80s\"",
				to->kind);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static void refuse_twin(struct conf_node *table, const struct config *config,
			const struct config_model *to, struct conf_error *error)
{
	for (size_t i = 0; i < config->model_count; i++) {
		const struct config_model *m = &config->models[i];

		if (m != to && same(m->provider, to->provider) &&
		    same(m->kind, to->kind) && same(m->row.name, to->row.name))
			(void)conf_fail(error, table,
					"model %s is already described in line "
					"%u",
					to->row.name, m->line);
	}
}

static void read_model(struct conf_node *table, struct config *config,
		       struct conf_error *error)
{
	struct config_model *to = &config->models[config->model_count];

	to->line = conf_line(table);
	read_owner(table, config, to, error);
	to->row.name = conf_get_text(table, "name", NULL, error);
	if (error->status == ERR_OK &&
	    (!to->row.name || strlen(to->row.name) > MODEL_MAX_BYTES))
		(void)conf_fail(error, table,
				"this model has no name of at most %u bytes",
				MODEL_MAX_BYTES);
	to->row.label = conf_get_text(table, "label", to->row.name, error);
	to->row.context_tokens =
		(uint32_t)conf_get_integer(table, "context_tokens", 1,
					   MODEL_TOKENS_MAX, 0, error);
	to->row.output_tokens =
		(uint32_t)conf_get_integer(table, "output_tokens", 1,
					   MODEL_TOKENS_MAX, 0, error);
	for (size_t i = 0; i < ARRAY_SIZE(prices); i++) {
		uint64_t value = read_price(table, prices[i].key, error);

		memcpy((uint8_t *)&to->row + prices[i].at, &value,
		       sizeof(value));
	}
	if (error->status != ERR_OK)
		return;
	if (!conf_find(table, "input_price") !=
	    !conf_find(table, "output_price"))
		(void)conf_fail(error, table,
				"model %s needs both input_price and "
				"output_price, or neither",
				to->row.name);
	config->model_count++;
	refuse_twin(table, config, to, error);
}

/**
 * config_read_models() - Read every [[model]]
 * @root:	The whole file; its providers were read
 * @config:	Receives them
 * @error:	Receives a failure
 */
void config_read_models(struct conf_node *root, struct config *config,
			struct conf_error *error)
{
	struct conf_node *list =
		conf_get_array(root, "model", CONF_TABLE, error);
	size_t count = list ? conf_count(list) : 0;

	if (count == 0)
		return;
	if (count > CONFIG_MODELS_MAX) {
		(void)conf_fail(error, list, "more than %u models",
				CONFIG_MODELS_MAX);
		return;
	}
	config->models =
		config_take_memory(count, sizeof(*config->models), error);
	for (size_t i = 0; config->models && i < count; i++)
		if (error->status == ERR_OK)
			read_model(conf_at(list, i), config, error);
}

/* The entry with the longest name that fits; a provider's own over a kind's. */
static const struct config_model *best_of(const struct config *config,
					  const struct config_provider *p,
					  struct span model, bool own)
{
	const struct config_model *best = NULL;

	for (size_t i = 0; i < config->model_count; i++) {
		const struct config_model *m = &config->models[i];

		if (own ? !m->provider || strcmp(m->provider, p->name) != 0
			: !m->kind || strcmp(m->kind, p->kind) != 0)
			continue;
		if (provider_model_fits(m->row.name, model) &&
		    (!best || strlen(m->row.name) > strlen(best->row.name)))
			best = m;
	}
	return best;
}

/**
 * config_find_model() - What is known of a provider's model
 * @config:	Configuration
 * @provider:	Provider
 * @model:	Its name as in the request; a dated form fits its undated entry
 *
 * Return: an entry of the file, else the built-in row; NULL when nothing is
 *	   known, which is no reason to refuse.
 */
const struct provider_model *
config_find_model(const struct config *config,
		  const struct config_provider *provider, struct span model)
{
	const struct provider_kind *kind =
		provider_find(span_text(provider->kind));
	const struct config_model *m = NULL;
	struct span bare = model;

	if (kind)
		bare = provider_model_bare(kind, model);
	for (int own = 1; !m && own >= 0; own--) {
		m = best_of(config, provider, model, own == 1);
		if (!m)
			m = best_of(config, provider, bare, own == 1);
	}
	if (m)
		return &m->row;
	return kind ? provider_model(kind, model) : NULL;
}
