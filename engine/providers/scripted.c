/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scripted.c - the embedded provider: no network, no key, no model
 *
 * Runs in: kenazd, kenaz-broker, kenaz-gate.
 * Trusts:  nothing; tables only.
 * Never:   does I/O.
 */
#include "engine/providers/tables.h"

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

static const char *const response_headers[] = {"content-type", "request-id",
					       "x-kenaz-scripted", NULL};

static const struct provider_model models[] = {
	{"kenaz-scripted", "Scripted agent (no model is called)", 200000, 8192,
	 0, 0, 0, 0},
};

const struct provider_kind provider_scripted = {
	.name = "scripted",
	.about = "the embedded script; no model is called",
	.endpoint = "http://kenaz-scripted",
	.secret = NULL,
	.transport = PROVIDER_TRANSPORT_EMBEDDED,
	.auth = PROVIDER_AUTH_NONE,
	.auth_header = NULL,
	.capabilities = PROVIDER_CAN_STREAM | PROVIDER_CAN_TOOLS |
			PROVIDER_CAN_COUNT | PROVIDER_CAN_LIST,
	.routes = routes,
	.route_count = ARRAY_SIZE(routes),
	.response_headers = response_headers,
	.models = models,
	.model_count = ARRAY_SIZE(models),
	.rules = rules,
	.rule_count = ARRAY_SIZE(rules),
};
