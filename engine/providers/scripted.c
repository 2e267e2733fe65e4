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
};
