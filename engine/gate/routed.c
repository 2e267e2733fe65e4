/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routed.c - members that gateways behind a provider's address act on
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   depends on the dialect: OpenRouter, LiteLLM, Vercel and others
 *	    take the same members on each of their routes.
 *
 * A request that is judged for one model must not be answered by another, or
 * elsewhere, because a member said so in passing: OpenRouter's "models" work
 * at /messages and /responses as at /chat/completions. The makers' own APIs
 * have none of these members.
 */
#include "engine/gate/routed.h"

#include <string.h>
#include <strings.h>

static const struct {
	const char *field, *feature;
} table[] = {
	{"models", "model_fallback"}, /* OpenRouter */
	{"route", "model_fallback"},
	{"fallbacks", "model_fallback"}, /* LiteLLM */
	{"context_window_fallbacks", "model_fallback"},
	{"content_policy_fallbacks", "model_fallback"},
	{"fallback_models", "model_fallback"}, /* others */
	{"provider", "provider_routing"},
	{"providerOptions", "provider_routing"}, /* Vercel */
	{"api_base", "provider_routing"},        /* LiteLLM */
	{"base_url", "provider_routing"},
	{"api_key", "provider_routing"},
	{"kv_transfer_params", "provider_routing"}, /* vLLM: an address */
	{"transforms", "transforms"},
	{"preset", "preset"},
	{"extra_body", "extra_body"},
	{"extra_headers", "extra_body"},
	{"web_search_options", "web_search"},
	{"search_parameters", "web_search"}, /* xAI */
	{"enable_search", "web_search"},     /* Qwen */
	{"search_settings", "web_search"},   /* Groq */
	{"web_search", "web_search"},
	{"compound_custom", "compound"},  /* Groq: tools at the provider */
	{"data_sources", "data_sources"}, /* Azure */
	{"dataSources", "data_sources"},
};

/* False, null and what is empty ask for nothing. */
static bool asks(const struct json *j, json_ref at)
{
	if (at == JSON_NONE || json_is(j, at, JSON_NULL) ||
	    json_is(j, at, JSON_FALSE))
		return false;
	return !json_is(j, at, JSON_ARRAY) || json_count(j, at) > 0;
}

static void add(const char **features, size_t *n, const char *feature)
{
	size_t i;

	for (i = 0; i < *n; i++)
		if (strcmp(features[i], feature) == 0)
			return;
	if (*n < ROUTED_FEATURES_MAX)
		features[(*n)++] = feature;
}

/**
 * routed_features() - What a request asks of a gateway
 * @j:			Document
 * @model:		Its model; OpenRouter's ":online" searches the web, and
 *			a preset may do anything
 * @ret_features:	ROUTED_FEATURES_MAX static names
 *
 * Return: how many there are.
 */
size_t routed_features(const struct json *j, const char *model,
		       const char **ret_features)
{
	const char *suffix = strrchr(model, ':');
	size_t n = 0, i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		if (asks(j, json_get(j, JSON_ROOT, table[i].field)))
			add(ret_features, &n, table[i].feature);
	if (suffix && strcasecmp(suffix, ":online") == 0)
		add(ret_features, &n, "web_search");
	if (strcasestr(model, "@preset/"))
		add(ret_features, &n, "preset");
	return n;
}
_Static_assert(ARRAY_SIZE(table) + 2 <= ROUTED_FEATURES_MAX,
	       "each feature has its place");
