/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openai.c - OpenAI's own API, and what its dialects share
 *
 * Runs in: kenazd, kenaz-broker, kenaz-gate.
 * Trusts:  nothing; tables only.
 * Never:   does I/O, lets a guest choose an organization or a project: those
 *	    belong to the key.
 *
 * Source: OpenAI API reference; prices of its standard tier. Some models are
 * offered in the Responses API only: rules name them first.
 */
#include "engine/providers/tables.h"

const struct provider_header openai_body_headers[] = {
	{"accept", "application/json", false},
	{"accept-encoding", "identity", true},
	{"content-type", "application/json", true},
	{"openai-beta", NULL, false},
	{"user-agent", "kenaz", true},
};
_Static_assert(ARRAY_SIZE(openai_body_headers) == OPENAI_BODY_HEADERS_COUNT,
	       "tables.h knows the size");

const struct provider_header openai_list_headers[] = {
	{"accept", "application/json", false},
	{"accept-encoding", "identity", true},
	{"user-agent", "kenaz", true},
};
_Static_assert(ARRAY_SIZE(openai_list_headers) == OPENAI_LIST_HEADERS_COUNT,
	       "tables.h knows the size");

const char *const openai_list_queries[] = {"after", "limit", NULL};
const char *const no_queries[] = {NULL};

static const char *const response_headers[] = {
	"content-type",   "openai-processing-ms",
	"retry-after",    "retry-after-ms",
	"x-ratelimit-*",  "x-request-id",
	"x-should-retry", NULL,
};

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
		.route = ROUTE_MODELS,
		.dialect = DIALECT_CHAT,
		.method = "GET",
		.path = "/v1/models",
		.headers = openai_list_headers,
		.header_count = OPENAI_LIST_HEADERS_COUNT,
		.queries = openai_list_queries,
	},
};

static const struct provider_rule rules[] = {
	{"codex", {DIALECT_RESPONSES}},
	{"-deep-research", {DIALECT_RESPONSES}},
	{"-pro", {DIALECT_RESPONSES}},
	{"", {DIALECT_CHAT, DIALECT_RESPONSES}},
};

static const struct provider_model models[] = {
	{"gpt-4o", "GPT-4o", 128000, 16384, 2500000, 10000000, 1250000, 0},
	{"gpt-4o-mini", "GPT-4o mini", 128000, 16384, 150000, 600000, 75000, 0},
	{"gpt-4.1", "GPT-4.1", 1047576, 32768, 2000000, 8000000, 500000, 0},
	{"gpt-4.1-mini", "GPT-4.1 mini", 1047576, 32768, 400000, 1600000,
	 100000, 0},
	{"gpt-4.1-nano", "GPT-4.1 nano", 1047576, 32768, 100000, 400000, 25000,
	 0},
	{"o3", "o3", 200000, 100000, 2000000, 8000000, 500000, 0},
	{"o4-mini", "o4-mini", 200000, 100000, 1100000, 4400000, 275000, 0},
	{"gpt-5", "GPT-5", 400000, 128000, 1250000, 10000000, 125000, 0},
	{"gpt-5-codex", "GPT-5 Codex", 400000, 128000, 1250000, 10000000,
	 125000, 0},
	{"gpt-5-mini", "GPT-5 mini", 400000, 128000, 250000, 2000000, 25000, 0},
	{"gpt-5-nano", "GPT-5 nano", 400000, 128000, 50000, 400000, 5000, 0},
	{"gpt-5.1", "GPT-5.1", 400000, 128000, 1250000, 10000000, 125000, 0},
	{"gpt-5.2", "GPT-5.2", 400000, 128000, 1750000, 14000000, 175000, 0},
};

const struct provider_kind provider_openai = {
	.name = "openai",
	.about = "OpenAI's API: chat completions and Responses",
	.endpoint = "https://api.openai.com",
	.secret = "openai",
	.transport = PROVIDER_TRANSPORT_NETWORK,
	.auth = PROVIDER_AUTH_BEARER,
	.auth_header = "authorization",
	.capabilities = PROVIDER_CAN_STREAM | PROVIDER_CAN_TOOLS |
			PROVIDER_CAN_THINK | PROVIDER_CAN_IMAGES |
			PROVIDER_CAN_COUNT | PROVIDER_CAN_LIST |
			PROVIDER_CALLS_MODEL,
	.routes = routes,
	.route_count = ARRAY_SIZE(routes),
	.response_headers = response_headers,
	.models = models,
	.model_count = ARRAY_SIZE(models),
	.rules = rules,
	.rule_count = ARRAY_SIZE(rules),
};
