/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_provider.c - the [[provider]] entries of kenaz.toml
 *
 * Runs in: kenazd.
 * Trusts:  the owner of the file for intent, not for form.
 * Never:   holds a secret: a provider names one, the broker has it.
 */
#include "engine/core/config.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/core/config_read.h"
#include "engine/providers/endpoint.h"

#define CONFIG_URL_MAX_BYTES (ROUTE_ENDPOINT_MAX_BYTES - 1)

static const struct config_kind config_kinds[] = {
	/* name, needs endpoint, region, secret */
	{"anthropic", false, false, true},  {"openai", false, false, true},
	{"openrouter", false, false, true}, {"bedrock", false, true, true},
	{"bento", true, false, false},      {"byo", true, false, false},
};

/* --- reading ------------------------------------------------------------ */

/** config_kind_count() - How many kinds of provider a file can name */
size_t config_kind_count(void)
{
	return ARRAY_SIZE(config_kinds);
}

/** config_kind_at() - A kind of provider and what it needs */
const struct config_kind *config_kind_at(size_t index)
{
	return &config_kinds[index];
}

static const struct config_kind *read_kind(struct conf_node *table,
					   struct conf_error *error)
{
	const char *choices[ARRAY_SIZE(config_kinds) + 1] = {0};
	const char *kind;
	int index;

	for (size_t i = 0; i < ARRAY_SIZE(config_kinds); i++)
		choices[i] = config_kinds[i].name;
	kind = conf_get_text(table, "kind", NULL, error);
	if (error->status == ERR_OK && !kind)
		(void)conf_fail(error, table, "this provider has no kind");
	if (kind && strcmp(kind, CONFIG_SCRIPTED) == 0)
		(void)conf_fail(error, conf_find(table, "kind"),
				"scripted is built in and answers while no "
				"other provider is configured; remove this "
				"entry");
	index = conf_get_choice(table, "kind", choices, 0, error);
	return error->status == ERR_OK ? &config_kinds[index] : NULL;
}

static bool is_url_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c != '\0' && strchr("-._~:/[]%", c));
}

static void check_endpoint(struct conf_node *table,
			   const struct config_provider *provider,
			   struct conf_error *error)
{
	const char *url = provider->endpoint;
	struct conf_node *node = conf_find(table, "endpoint");
	bool plain = strncmp(url, "http://", 7) == 0;
	const char *host = url + (plain ? 7 : 8);

	if (!plain && strncmp(url, "https://", 8) != 0) {
		(void)conf_fail(error, node,
				"endpoint must begin with https://, not "
				"\"%.80s\"",
				url);
		return;
	}
	if (plain && !provider->allow_http)
		(void)conf_fail(error, node,
				"endpoint is not encrypted; use https:// or "
				"set allow_http = true");
	if (!plain && provider->allow_http)
		(void)conf_fail(error, conf_find(table, "allow_http"),
				"allow_http is for http:// endpoints; this "
				"one uses https://");
	if (strlen(url) > CONFIG_URL_MAX_BYTES)
		(void)conf_fail(error, node, "endpoint is longer than %u bytes",
				CONFIG_URL_MAX_BYTES);
	for (const char *c = host; *c; c++)
		if (!is_url_byte(*c))
			(void)conf_fail(error, node,
					"endpoint must be only scheme, host, "
					"port and path");
	if (host[0] == '\0' || host[0] == '/' || host[0] == ':')
		(void)conf_fail(error, node, "endpoint names no host");
}

static void check_region(struct conf_node *table, const char *region,
			 struct conf_error *error)
{
	if (strlen(region) > CONFIG_NAME_MAX_BYTES ||
	    !endpoint_is_region(span_text(region)))
		(void)conf_fail(error, conf_find(table, "region"),
				"region \"%.40s\" has not the form of AWS's: a "
				"place and a number, like eu-central-1",
				region);
}

/*
 * A region that lacks an endpoint lacks the dialects behind it. Where nobody
 * named them they are left out; who did is told.
 */
static void fit_dialects(struct conf_node *table,
			 const struct provider_kind *kind,
			 struct config_provider *p, struct conf_error *error)
{
	const struct route_target target = {.kind = kind,
					    .endpoint = span_text(p->endpoint),
					    .region = span_text(p->region),
					    .plain_http = p->allow_http,
					    .variant = p->variant,
					    .dialects = p->dialects};
	unsigned all = provider_dialects(kind, p->dialects);
	unsigned offered = route_dialects(&target, p->dialects == 0);
	unsigned d;

	if (!p->region || offered == all)
		return;
	for (d = 1; p->dialects && d < 8 * sizeof(all); d++)
		if ((all & ~offered) & DIALECT_BIT(d)) {
			(void)conf_fail(
				error, conf_find(table, "dialects"),
				"%s cannot be asked in \"%s\" in %s%s%s: "
				"leave it out of dialects",
				kind->name,
				config_dialect_name((enum dialect)d), p->region,
				p->variant ? " by " : "",
				route_variant_text(p->variant));
			return;
		}
	if (offered == 0) {
		(void)conf_fail(error, table, "%s has no %s end point in %s",
				kind->name, route_variant_text(p->variant),
				p->region);
		return;
	}
	p->dialects = offered;
}

/* A provider's needs by kind, in the words of its file. */
static void check_provider(struct conf_node *table,
			   const struct config_kind *kind,
			   const struct config_provider *provider,
			   struct conf_error *error)
{
	if (kind->needs_endpoint && !provider->endpoint)
		(void)conf_fail(error, table,
				"provider %s of kind %s needs an endpoint",
				provider->name, kind->name);
	if (kind->needs_region && !provider->region && !provider->endpoint)
		(void)conf_fail(error, table,
				"provider %s of kind %s needs a region",
				provider->name, kind->name);
	if (!kind->needs_region && provider->region)
		(void)conf_fail(error, conf_find(table, "region"),
				"a provider of kind %s has no region",
				kind->name);
	if (provider->secret)
		config_check_name(conf_find(table, "secret"), provider->secret,
				  "secret", error);
	if (provider->endpoint)
		check_endpoint(table, provider, error);
	else if (provider->allow_http)
		(void)conf_fail(error, conf_find(table, "allow_http"),
				"allow_http needs an http:// endpoint");
	if (provider->region)
		check_region(table, provider->region, error);
	if (provider->ca_file && provider->ca_file[0] != '/')
		(void)conf_fail(error, conf_find(table, "ca_file"),
				"ca_file must be an absolute path");
	if (strcmp(provider->name, CONFIG_SCRIPTED) == 0)
		(void)conf_fail(error, table,
				"the name scripted is taken by the built-in "
				"provider");
}

static void read_provider(struct conf_node *table, struct config *config,
			  struct conf_error *error)
{
	struct config_provider *to = &config->providers[config->provider_count];
	const struct config_provider *other;
	const struct config_kind *kind;

	to->line = conf_line(table);
	to->name = conf_get_text(table, "name", NULL, error);
	config_check_name(table, to->name, "provider", error);
	kind = read_kind(table, error);
	to->endpoint = conf_get_text(table, "endpoint", NULL, error);
	to->secret = conf_get_text(table, "secret", NULL, error);
	to->allow_http = conf_get_boolean(table, "allow_http", false, error);
	to->no_stream_usage =
		!conf_get_boolean(table, "stream_usage", true, error);
	to->ca_file = conf_get_text(table, "ca_file", NULL, error);
	to->region = conf_get_text(table, "region", NULL, error);
	config_read_transport(table,
			      kind ? provider_find(span_text(kind->name))
				   : NULL,
			      to, error);
	config->provider_count++;
	config_read_texts(table, "models", CONFIG_MODELS_MAX, &to->models,
			  &to->model_count, error);
	config_read_retries(table, to, error);
	if (error->status != ERR_OK || !kind)
		return;
	to->kind = kind->name;
	if (kind->needs_secret && !to->secret)
		to->secret = kind->name;
	check_provider(table, kind, to, error);
	if (error->status == ERR_OK)
		fit_dialects(table, provider_find(span_text(kind->name)), to,
			     error);
	other = config_find_provider(config, to->name);
	if (other && other != to)
		(void)conf_fail(error, table,
				"provider %s is already defined in line %u",
				to->name, other->line);
}

/**
 * config_read_providers() - Read every [[provider]], or stand scripted in
 * @root:	The whole file
 * @config:	Receives them
 * @error:	Receives a failure
 */
void config_read_providers(struct conf_node *root, struct config *config,
			   struct conf_error *error)
{
	struct conf_node *list =
		conf_get_array(root, "provider", CONF_TABLE, error);
	size_t count = list ? conf_count(list) : 0;

	if (count > CONFIG_PROVIDERS_MAX) {
		(void)conf_fail(error, list, "more than %u providers",
				CONFIG_PROVIDERS_MAX);
		return;
	}
	config->providers =
		config_take_memory(count + 1, sizeof(*config->providers),
				   error);
	for (size_t i = 0; config->providers && i < count; i++)
		read_provider(conf_at(list, i), config, error);
	if (config->providers && count == 0)
		config->providers[config->provider_count++] =
			(struct config_provider){.name = CONFIG_SCRIPTED,
						 .kind = CONFIG_SCRIPTED};
}

/* --- questions ---------------------------------------------------------- */

/**
 * config_find_provider() - Look a provider up by its exact name
 * @config:	Configuration
 * @name:	Borrowed
 *
 * Return: the first of that name; NULL when there is none. scripted is there
 *	   only while no other provider is configured.
 */
const struct config_provider *config_find_provider(const struct config *config,
						   const char *name)
{
	for (size_t i = 0; i < config->provider_count; i++)
		if (config->providers[i].name &&
		    strcmp(config->providers[i].name, name) == 0)
			return &config->providers[i];
	return NULL;
}

/** config_default_provider() - The provider of who names none */
const struct config_provider *
config_default_provider(const struct config *config)
{
	if (config->engine.default_provider)
		return config_find_provider(config,
					    config->engine.default_provider);
	return &config->providers[0];
}

/**
 * config_allows_model() - Whether a provider may be asked for a model
 * @provider:	Provider
 * @model:	What a client asked for, exactly
 *
 * Return: true for a model of its list; always without a list.
 */
bool config_allows_model(const struct config_provider *provider,
			 struct span model)
{
	for (size_t i = 0; i < provider->model_count; i++)
		if (span_is(model, provider->models[i]))
			return true;
	return provider->model_count == 0;
}
