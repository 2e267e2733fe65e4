/* SPDX-License-Identifier: Apache-2.0 */
/*
 * byo.c - bring your own: any server that speaks one of the common dialects
 *
 * Runs in: kenazd, kenaz-broker, kenaz-gate.
 * Trusts:  nothing; tables only.
 * Never:   does I/O.
 *
 * The endpoint is the operator's and may be private or loopback; `dialects`
 * says what it speaks. Which models it has and what they cost is said in
 * [[model]] entries, or not known. Of two rows for the list of models the
 * first one is taken whose dialect is in use.
 */
#include "engine/providers/tables.h"

static const struct provider_route routes[] = {
	{
		.route = ROUTE_CHAT,
		.dialect = DIALECT_CHAT,
		.method = "POST",
		.path = "/v1/chat/completions",
		.has_body = true,
		.headers = openai_body_headers,
		.header_count = OPENAI_BODY_HEADERS_COUNT,
		.queries = no_queries,
	},
	{
		.route = ROUTE_RESPONSES,
		.dialect = DIALECT_RESPONSES,
		.method = "POST",
		.path = "/v1/responses",
		.has_body = true,
		.headers = openai_body_headers,
		.header_count = OPENAI_BODY_HEADERS_COUNT,
		.queries = no_queries,
	},
	{
		.route = ROUTE_RESPONSES_COUNT,
		.dialect = DIALECT_RESPONSES,
		.method = "POST",
		.path = "/v1/responses/input_tokens",
		.has_body = true,
		.headers = openai_body_headers,
		.header_count = OPENAI_BODY_HEADERS_COUNT,
		.queries = no_queries,
	},
	{
		.route = ROUTE_MESSAGES,
		.dialect = DIALECT_ANTHROPIC,
		.method = "POST",
		.path = "/v1/messages",
		.has_body = true,
		.headers = anthropic_body_headers,
		.header_count = ANTHROPIC_BODY_HEADERS_COUNT,
		.queries = anthropic_body_queries,
	},
	{
		.route = ROUTE_COUNT_TOKENS,
		.dialect = DIALECT_ANTHROPIC,
		.method = "POST",
		.path = "/v1/messages/count_tokens",
		.has_body = true,
		.headers = anthropic_body_headers,
		.header_count = ANTHROPIC_BODY_HEADERS_COUNT,
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
	{
		.route = ROUTE_MODELS,
		.dialect = DIALECT_ANTHROPIC,
		.method = "GET",
		.path = "/v1/models",
		.headers = anthropic_list_headers,
		.header_count = ANTHROPIC_LIST_HEADERS_COUNT,
		.queries = anthropic_list_queries,
	},
};

static const char *const response_headers[] = {
	"content-type",    "anthropic-ratelimit-*",
	"apim-request-id", "openai-processing-ms",
	"request-id",      "retry-after",
	"retry-after-ms",  "x-ms-region",
	"x-ratelimit-*",   "x-request-id",
	"x-should-retry",  NULL,
};

static const struct provider_rule rules[] = {
	{"", {DIALECT_ANTHROPIC, DIALECT_CHAT, DIALECT_RESPONSES}},
};

static const char *const auths[] = {"x-api-key", "api-key", "bearer", "none",
				    NULL};

const struct provider_kind provider_byo = {
	.name = "byo",
	.about = "your own server: OpenAI's or Anthropic's dialects",
	.endpoint = NULL,
	.secret = NULL,
	.transport = PROVIDER_TRANSPORT_NETWORK,
	.auth = PROVIDER_AUTH_HEADER,
	.auth_header = "x-api-key",
	.auths = auths,
	.capabilities = PROVIDER_CAN_STREAM | PROVIDER_CAN_TOOLS |
			PROVIDER_CAN_THINK | PROVIDER_CAN_IMAGES |
			PROVIDER_CAN_CACHE | PROVIDER_CAN_COUNT |
			PROVIDER_CAN_LIST | PROVIDER_CALLS_MODEL,
	.routes = routes,
	.route_count = ARRAY_SIZE(routes),
	.response_headers = response_headers,
	.models = NULL,
	.model_count = 0,
	.rules = rules,
	.rule_count = ARRAY_SIZE(rules),
	.dialects = DIALECT_BIT(DIALECT_ANTHROPIC),
};
