/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic.c - Anthropic's own API, and what its dialect shares
 *
 * Runs in: kenazd, kenaz-broker, kenaz-gate.
 * Trusts:  nothing; tables only.
 * Never:   does I/O.
 *
 * Source: Anthropic Messages API, version 2023-06-01. The beta header passes
 * as it came: the provider decides which betas it knows.
 */
#include "engine/providers/tables.h"

const struct provider_header anthropic_body_headers[] = {
	{"accept", "application/json", false},
	{"accept-encoding", "identity", true},
	{"anthropic-beta", NULL, false},
	{"anthropic-version", "2023-06-01", false},
	{"content-type", "application/json", true},
	{"user-agent", "kenaz", true},
};
_Static_assert(ARRAY_SIZE(anthropic_body_headers) ==
		       ANTHROPIC_BODY_HEADERS_COUNT,
	       "tables.h knows the size");

const struct provider_header anthropic_list_headers[] = {
	{"accept", "application/json", false},
	{"accept-encoding", "identity", true},
	{"anthropic-beta", NULL, false},
	{"anthropic-version", "2023-06-01", false},
	{"user-agent", "kenaz", true},
};
_Static_assert(ARRAY_SIZE(anthropic_list_headers) ==
		       ANTHROPIC_LIST_HEADERS_COUNT,
	       "tables.h knows the size");

const char *const anthropic_body_queries[] = {"beta", NULL};
const char *const anthropic_list_queries[] = {"after_id", "before_id", "beta",
					      "limit", NULL};

const char *const anthropic_response_headers[] = {
	"content-type",
	"request-id",
	"retry-after",
	"retry-after-ms",
	"x-should-retry",
	"anthropic-ratelimit-*",
	NULL,
};

static const struct provider_route routes[] = {
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
		.dialect = DIALECT_ANTHROPIC,
		.method = "GET",
		.path = "/v1/models",
		.headers = anthropic_list_headers,
		.header_count = ANTHROPIC_LIST_HEADERS_COUNT,
		.queries = anthropic_list_queries,
	},
};

static const struct provider_rule rules[] = {
	{"", {DIALECT_ANTHROPIC}},
};

static const struct provider_model models[] = {
	{"claude-opus-4-6", "Claude Opus 4.6", 1000000, 128000, 5000000,
	 25000000, 500000, 6250000},
	{"claude-opus-4-5", "Claude Opus 4.5", 200000, 64000, 5000000, 25000000,
	 500000, 6250000},
	{"claude-opus-4-1", "Claude Opus 4.1", 200000, 32000, 15000000,
	 75000000, 1500000, 18750000},
	{"claude-opus-4", "Claude Opus 4", 200000, 32000, 15000000, 75000000,
	 1500000, 18750000},
	{"claude-sonnet-4-6", "Claude Sonnet 4.6", 1000000, 64000, 3000000,
	 15000000, 300000, 3750000},
	{"claude-sonnet-4-5", "Claude Sonnet 4.5", 200000, 64000, 3000000,
	 15000000, 300000, 3750000},
	{"claude-sonnet-4", "Claude Sonnet 4", 200000, 64000, 3000000, 15000000,
	 300000, 3750000},
	{"claude-haiku-4-5", "Claude Haiku 4.5", 200000, 64000, 1000000,
	 5000000, 100000, 1250000},
	{"claude-3-5-haiku", "Claude Haiku 3.5", 200000, 8192, 800000, 4000000,
	 80000, 1000000},
};

const struct provider_kind provider_anthropic = {
	.name = "anthropic",
	.about = "Anthropic's API",
	.endpoint = "https://api.anthropic.com",
	.secret = "anthropic",
	.transport = PROVIDER_TRANSPORT_NETWORK,
	.auth = PROVIDER_AUTH_HEADER,
	.auth_header = "x-api-key",
	.capabilities = PROVIDER_CAN_STREAM | PROVIDER_CAN_TOOLS |
			PROVIDER_CAN_THINK | PROVIDER_CAN_IMAGES |
			PROVIDER_CAN_CACHE | PROVIDER_CAN_COUNT |
			PROVIDER_CAN_LIST | PROVIDER_CALLS_MODEL,
	.routes = routes,
	.route_count = ARRAY_SIZE(routes),
	.response_headers = anthropic_response_headers,
	.models = models,
	.model_count = ARRAY_SIZE(models),
	.rules = rules,
	.rule_count = ARRAY_SIZE(rules),
};
