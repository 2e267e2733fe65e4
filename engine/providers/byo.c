/* SPDX-License-Identifier: Apache-2.0 */
/*
 * byo.c - bring your own: any server that speaks Anthropic Messages
 *
 * Runs in: kenazd, kenaz-broker, kenaz-gate.
 * Trusts:  nothing; tables only.
 * Never:   does I/O.
 *
 * The endpoint is the operator's and may be private or loopback. Which
 * models it has and what they cost is not known here.
 */
#include "engine/providers/tables.h"

static const struct provider_route routes[] = {
	{ROUTE_MESSAGES, DIALECT_ANTHROPIC, "POST", "/v1/messages", true,
	 anthropic_body_headers, ANTHROPIC_BODY_HEADERS_COUNT,
	 anthropic_body_queries},
	{ROUTE_COUNT_TOKENS, DIALECT_ANTHROPIC, "POST",
	 "/v1/messages/count_tokens", true, anthropic_body_headers,
	 ANTHROPIC_BODY_HEADERS_COUNT, anthropic_body_queries},
	{ROUTE_MODELS, DIALECT_ANTHROPIC, "GET", "/v1/models", false,
	 anthropic_list_headers, ANTHROPIC_LIST_HEADERS_COUNT,
	 anthropic_list_queries},
};

const struct provider_kind provider_byo = {
	.name = "byo",
	.about = "your own server that speaks Anthropic Messages",
	.endpoint = NULL,
	.secret = NULL,
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
	.models = NULL,
	.model_count = 0,
};
