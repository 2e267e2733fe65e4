/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bedrock.c - Amazon Bedrock's native Anthropic route, with an API key
 *
 * Runs in: kenazd, kenaz-broker, kenaz-gate.
 * Trusts:  nothing; tables only.
 * Never:   does I/O.
 *
 * Source: Amazon Bedrock user guide, endpoints and API keys. The key goes as
 * a bearer token. The route offers no token count and no model list, so core
 * answers the latter from the table and the gate the former with 404, after
 * which clients estimate.
 */
#include "engine/providers/tables.h"

static const struct provider_route routes[] = {
	{ROUTE_MESSAGES, DIALECT_ANTHROPIC, "POST", "/v1/messages", true,
	 anthropic_body_headers, ANTHROPIC_BODY_HEADERS_COUNT,
	 anthropic_body_queries},
};

static const char *const response_headers[] = {
	"content-type",
	"request-id",
	"retry-after",
	"x-amzn-errortype",
	"x-amzn-requestid",
	"anthropic-ratelimit-*",
	NULL,
};

static const struct provider_model models[] = {
	{"anthropic.claude-opus-4-6", "Claude Opus 4.6", 1000000, 128000,
	 5000000, 25000000, 500000, 6250000},
	{"anthropic.claude-sonnet-4-6", "Claude Sonnet 4.6", 1000000, 64000,
	 3000000, 15000000, 300000, 3750000},
	{"anthropic.claude-sonnet-4-5", "Claude Sonnet 4.5", 200000, 64000,
	 3000000, 15000000, 300000, 3750000},
	{"anthropic.claude-haiku-4-5", "Claude Haiku 4.5", 200000, 64000,
	 1000000, 5000000, 100000, 1250000},
};

const struct provider_kind provider_bedrock = {
	.name = "bedrock",
	.about = "Amazon Bedrock with an API key (needs a region)",
	.endpoint = "https://bedrock-mantle.{region}.api.aws/anthropic",
	.secret = "bedrock",
	.transport = PROVIDER_TRANSPORT_NETWORK,
	.auth = PROVIDER_AUTH_BEARER,
	.auth_header = "authorization",
	.capabilities = PROVIDER_CAN_STREAM | PROVIDER_CAN_TOOLS |
			PROVIDER_CAN_THINK | PROVIDER_CAN_IMAGES |
			PROVIDER_CAN_CACHE | PROVIDER_CALLS_MODEL,
	.routes = routes,
	.route_count = ARRAY_SIZE(routes),
	.response_headers = response_headers,
	.models = models,
	.model_count = ARRAY_SIZE(models),
};
