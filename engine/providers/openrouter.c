/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openrouter.c - OpenRouter, which has OpenAI's and Anthropic's dialects
 *
 * Runs in: kenazd, kenaz-broker, kenaz-gate.
 * Trusts:  nothing; tables only.
 * Never:   does I/O, says more about its user than that it is Kenaz.
 *
 * Source: OpenRouter API reference. It reports what each request cost
 * (usage.cost), so there is no table of prices to grow old.
 */
#include "engine/providers/tables.h"

/*
 * OpenRouter lists programs by HTTP-Referer, a site of theirs. Kenaz has none,
 * and says no other: only its name.
 */
#define TITLE "Kenaz"

static const struct provider_header openai_headers[] = {
	{"accept", "application/json", false},
	{"accept-encoding", "identity", true},
	{"content-type", "application/json", true},
	{"user-agent", "kenaz", true},
	{"x-title", TITLE, true},
};

static const struct provider_header messages_headers[] = {
	{"accept", "application/json", false},
	{"accept-encoding", "identity", true},
	{"anthropic-beta", NULL, false},
	{"anthropic-version", "2023-06-01", false},
	{"content-type", "application/json", true},
	{"user-agent", "kenaz", true},
	{"x-title", TITLE, true},
};

static const char *const response_headers[] = {
	"content-type",  "request-id",   "retry-after", "x-generation-id",
	"x-ratelimit-*", "x-request-id", NULL,
};

static const struct provider_route routes[] = {
	{
		.route = ROUTE_CHAT,
		.dialect = DIALECT_CHAT,
		.method = "POST",
		.path = "/v1/chat/completions",
		.has_body = true,
		.headers = openai_headers,
		.header_count = ARRAY_SIZE(openai_headers),
		.queries = no_queries,
	},
	{
		.route = ROUTE_RESPONSES,
		.dialect = DIALECT_RESPONSES,
		.method = "POST",
		.path = "/v1/responses",
		.has_body = true,
		.headers = openai_headers,
		.header_count = ARRAY_SIZE(openai_headers),
		.queries = no_queries,
	},
	{
		.route = ROUTE_MESSAGES,
		.dialect = DIALECT_ANTHROPIC,
		.method = "POST",
		.path = "/v1/messages",
		.has_body = true,
		.headers = messages_headers,
		.header_count = ARRAY_SIZE(messages_headers),
		.queries = anthropic_body_queries,
	},
	{
		.route = ROUTE_MODELS,
		.dialect = DIALECT_CHAT,
		.method = "GET",
		.path = "/v1/models",
		.headers = openai_list_headers,
		.header_count = OPENAI_LIST_HEADERS_COUNT,
		.queries = no_queries,
	},
};

static const struct provider_rule rules[] = {
	{"anthropic/", {DIALECT_ANTHROPIC, DIALECT_CHAT, DIALECT_RESPONSES}},
	{"", {DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_ANTHROPIC}},
};

const struct provider_kind provider_openrouter = {
	.name = "openrouter",
	.about = "OpenRouter, many models behind one key",
	.endpoint = "https://openrouter.ai/api",
	.secret = "openrouter",
	.transport = PROVIDER_TRANSPORT_NETWORK,
	.auth = PROVIDER_AUTH_BEARER,
	.auth_header = "authorization",
	.capabilities = PROVIDER_CAN_STREAM | PROVIDER_CAN_TOOLS |
			PROVIDER_CAN_THINK | PROVIDER_CAN_IMAGES |
			PROVIDER_CAN_CACHE | PROVIDER_CAN_LIST |
			PROVIDER_CALLS_MODEL | PROVIDER_REPORTS_COST,
	.routes = routes,
	.route_count = ARRAY_SIZE(routes),
	.response_headers = response_headers,
	.rules = rules,
	.rule_count = ARRAY_SIZE(rules),
};
