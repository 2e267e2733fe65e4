/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bento.c - a model served by BentoML, BentoCloud or OpenLLM
 *
 * Runs in: kenazd, kenaz-broker, kenaz-gate.
 * Trusts:  nothing; tables only.
 * Never:   does I/O.
 *
 * Source: BentoML and OpenLLM documentation. Their servers speak OpenAI's
 * dialects. A deployment that was scaled to zero takes minutes to answer, so
 * its first byte may be long in coming. A server of one's own needs no key;
 * BentoCloud takes its token as a bearer.
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
		.route = ROUTE_MODELS,
		.dialect = DIALECT_CHAT,
		.method = "GET",
		.path = "/v1/models",
		.headers = openai_list_headers,
		.header_count = OPENAI_LIST_HEADERS_COUNT,
		.queries = no_queries,
	},
};

static const char *const response_headers[] = {
	"content-type", "retry-after", "x-bentoml-request-id",
	"x-request-id", NULL,
};

static const struct provider_rule rules[] = {
	{"", {DIALECT_CHAT, DIALECT_RESPONSES}},
};

static const char *const auths[] = {"bearer", "none", NULL};

const struct provider_kind provider_bento = {
	.name = "bento",
	.about = "your model on BentoML, BentoCloud or OpenLLM",
	.transport = PROVIDER_TRANSPORT_NETWORK,
	.auth = PROVIDER_AUTH_BEARER,
	.auth_header = "authorization",
	.auths = auths,
	.capabilities = PROVIDER_CAN_STREAM | PROVIDER_CAN_TOOLS |
			PROVIDER_CAN_THINK | PROVIDER_CAN_IMAGES |
			PROVIDER_CAN_LIST | PROVIDER_CALLS_MODEL,
	.routes = routes,
	.route_count = ARRAY_SIZE(routes),
	.response_headers = response_headers,
	.rules = rules,
	.rule_count = ARRAY_SIZE(rules),
	.dialects = DIALECT_BIT(DIALECT_CHAT),
};
