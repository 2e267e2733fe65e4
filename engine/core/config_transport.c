/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_transport.c - how a provider is spoken to: dialects, keys, time-outs
 *
 * Runs in: kenazd.
 * Trusts:  the owner of the file for intent, not for form.
 * Never:   holds a secret: a provider names one, the broker has it.
 */
#include <string.h>

#include "engine/core/config_read.h"
#include "engine/providers/provider.h"

static const struct {
	const char *name;
	enum dialect dialect;
} dialect_names[] = {
	{"messages", DIALECT_ANTHROPIC},  {"chat", DIALECT_CHAT},
	{"responses", DIALECT_RESPONSES}, {"invoke", DIALECT_INVOKE},
	{"converse", DIALECT_CONVERSE},
};

static const struct {
	const char *key;
	int64_t max_s;
	size_t at;
} timeouts[] = {
	{"connect_timeout_s", 300, offsetof(struct config_timeouts, connect_s)},
	{"first_byte_timeout_s", 3600,
	 offsetof(struct config_timeouts, first_byte_s)},
	{"idle_timeout_s", 3600, offsetof(struct config_timeouts, idle_s)},
	{"total_timeout_s", 86400, offsetof(struct config_timeouts, total_s)},
};

/** config_dialect_name() - A dialect as kenaz.toml writes it, or NULL */
const char *config_dialect_name(enum dialect dialect)
{
	for (size_t i = 0; i < ARRAY_SIZE(dialect_names); i++)
		if (dialect_names[i].dialect == dialect)
			return dialect_names[i].name;
	return NULL;
}

static unsigned bit_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(dialect_names); i++)
		if (strcmp(dialect_names[i].name, name) == 0)
			return DIALECT_BIT(dialect_names[i].dialect);
	return 0;
}

static void read_dialects(struct conf_node *table,
			  const struct provider_kind *kind,
			  struct config_provider *to, struct conf_error *error)
{
	struct conf_node *list = conf_get_texts(table, "dialects", error);
	unsigned has = provider_dialects(kind, ~0u);
	char choices[CONF_LIST_BYTES] = "";

	for (size_t i = 0; i < ARRAY_SIZE(dialect_names); i++)
		if (has & DIALECT_BIT(dialect_names[i].dialect))
			conf_list_word(choices, dialect_names[i].name);
	for (size_t i = 0; list && i < conf_count(list); i++) {
		const struct conf_node *one = conf_at(list, i);
		unsigned bit = bit_of(conf_value_text(one));

		if (!(bit & has)) {
			(void)conf_fail(error, one,
					"a provider of kind %s does not speak "
					"\"%.40s\"; it speaks %s",
					kind->name, conf_value_text(one),
					choices);
			return;
		}
		to->dialects |= bit;
	}
}

static void read_auth(struct conf_node *table, const struct provider_kind *kind,
		      struct config_provider *to, struct conf_error *error)
{
	struct conf_node *node = conf_find(table, "auth");
	const struct provider_auth_row *row;
	char choices[CONF_LIST_BYTES] = "";

	to->auth = conf_get_text(table, "auth", NULL, error);
	if (!to->auth)
		return;
	if (!kind->auths) {
		(void)conf_fail(error, node,
				"a provider of kind %s has one way of "
				"authentication; remove auth",
				kind->name);
		return;
	}
	for (size_t i = 0; kind->auths[i]; i++)
		conf_list_word(choices, kind->auths[i]);
	row = provider_auth_find(span_text(to->auth));
	if (!row || !provider_auth_allowed(kind, row)) {
		(void)conf_fail(error, node,
				"auth of a provider of kind %s must be one of "
				"%s",
				kind->name, choices);
		return;
	}
	if (row->auth == PROVIDER_AUTH_NONE && to->secret)
		(void)conf_fail(
			error, node,
			"auth = \"none\" sends no key; remove secret or "
			"auth");
	else if (row->auth != PROVIDER_AUTH_NONE && !to->secret &&
		 !kind->secret)
		(void)conf_fail(error, node,
				"auth needs a secret: name the key of the "
				"vault");
	else if (row->auth == PROVIDER_AUTH_SIGV4 && !to->region)
		(void)conf_fail(error, node,
				"auth = \"sigv4\" needs the region that "
				"requests are signed for");
}

static void read_endpoint_parts(struct conf_node *table,
				const struct provider_kind *kind,
				struct config_provider *to,
				struct conf_error *error)
{
	struct conf_node *node = conf_find(table, "endpoint_variant");
	const char *variant =
		conf_get_text(table, "endpoint_variant", NULL, error);
	const char *version;

	if (variant && !(kind->capabilities & PROVIDER_HAS_REGION))
		(void)conf_fail(error, node,
				"a provider of kind %s has no variants of its "
				"endpoint",
				kind->name);
	else if (variant && to->endpoint)
		(void)conf_fail(error, node,
				"endpoint_variant is for endpoints made from "
				"the region; this one is configured");
	else if (variant &&
		 route_variant_of(span_text(variant), &to->variant) != ERR_OK)
		(void)conf_fail(error, node,
				"endpoint_variant must be one of fips, "
				"dualstack, fips-dualstack");
	version = conf_get_text(table, "api_version", NULL, error);
	node = conf_find(table, "api_version");
	if (version && strcmp(kind->name, "byo") != 0)
		(void)conf_fail(error, node,
				"api_version is for providers of kind byo");
	if (version && strlen(version) > ROUTE_API_VERSION_MAX_BYTES)
		(void)conf_fail(error, node,
				"api_version is longer than %u bytes",
				ROUTE_API_VERSION_MAX_BYTES);
	for (const char *c = version; c && *c; c++)
		if (!((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
		      *c == '-' || *c == '.'))
			(void)conf_fail(error, node,
					"api_version must be of a-z, 0-9, '-' "
					"and '.', like 2024-10-21");
	to->api_version = version;
}

static void read_timeouts(struct conf_node *table, struct config_timeouts *to,
			  struct conf_error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(timeouts); i++) {
		uint32_t value =
			(uint32_t)conf_get_integer(table, timeouts[i].key, 1,
						   timeouts[i].max_s, 1, error);

		if (conf_find(table, timeouts[i].key))
			memcpy((uint8_t *)to + timeouts[i].at, &value,
			       sizeof(value));
	}
}

static void read_proxy(struct conf_node *table, struct config_provider *to,
		       struct conf_error *error)
{
	struct conf_node *node = conf_find(table, "proxy");

	to->proxy = conf_get_text(table, "proxy", NULL, error);
	to->proxy_secret = conf_get_text(table, "proxy_secret", NULL, error);
	if (to->proxy && route_check_proxy(span_text(to->proxy)) != ERR_OK)
		(void)conf_fail(error, node,
				"proxy must be http://host:port, without a "
				"user or a path; its credentials go into the "
				"vault (proxy_secret)");
	if (to->proxy_secret && !to->proxy)
		(void)conf_fail(error, conf_find(table, "proxy_secret"),
				"proxy_secret needs a proxy");
	if (to->proxy_secret)
		config_check_name(conf_find(table, "proxy_secret"),
				  to->proxy_secret, "secret", error);
}

/**
 * config_read_transport() - Read the keys of a provider that this file knows
 * @table:	The provider
 * @kind:	Its kind; NULL when that was wrong
 * @to:		Receives them; endpoint, region and secret are there already
 * @error:	Receives a failure
 */
void config_read_transport(struct conf_node *table,
			   const struct provider_kind *kind,
			   struct config_provider *to, struct conf_error *error)
{
	static const char *const versions[] = {"auto", "1.1", NULL};

	if (!kind)
		return;
	read_dialects(table, kind, to, error);
	read_auth(table, kind, to, error);
	read_endpoint_parts(table, kind, to, error);
	read_timeouts(table, &to->timeouts, error);
	to->http = conf_get_choice(table, "http", versions, 0, error) == 1
			   ? HTTP_VERSION_1_1
			   : HTTP_VERSION_AUTO;
	read_proxy(table, to, error);
}
