/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bedrock.c - Amazon Bedrock: its own operations and its native dialects
 *
 * Runs in: kenazd, kenaz-broker, kenaz-gate.
 * Trusts:  nothing; tables only.
 * Never:   does I/O.
 *
 * Source: Amazon Bedrock user guide and API reference. Two hosts: "runtime"
 * has InvokeModel, Converse and OpenAI's chat completions, "mantle" has
 * Anthropic's Messages and OpenAI's Responses; they sign for services of their
 * own. An API key goes as a bearer, AWS credentials sign instead. No list of
 * models in either, so core answers that from the table. CountTokens refuses
 * the names of inference profiles: it gets the model's.
 *
 * Prices are those of the regional end points, which are a tenth above the
 * global ones from Claude 4.5 on; "global." has rows of its own.
 */
#include "engine/providers/tables.h"

#define RUNTIME "https://bedrock-runtime{fips}.{region}.{suffix}"
#define MANTLE  "https://bedrock-mantle.{region}.api.aws"

/*
 * Of AWS's list of end points by region; the list grows. Where mantle is not,
 * the other dialects do: InvokeModel takes the same JSON as Messages.
 */
static const char *const without_mantle[] = {
	"ap-east-2",    "ap-northeast-2", "ap-northeast-3",
	"ca-central-1", "ca-west-1",      "eu-central-2",
	"eu-south-2",   "eu-west-3",      "us-west-1",
	NULL,
};

static const struct provider_header native_headers[] = {
	{"accept", "application/json", false},
	{"accept-encoding", "identity", true},
	{"content-type", "application/json", true},
	{"user-agent", "kenaz", true},
};

static const struct provider_route routes[] = {
	{
		.route = ROUTE_MESSAGES,
		.dialect = DIALECT_ANTHROPIC,
		.method = "POST",
		.path = "/anthropic/v1/messages",
		.has_body = true,
		.headers = anthropic_body_headers,
		.header_count = ANTHROPIC_BODY_HEADERS_COUNT,
		.queries = anthropic_body_queries,
		.endpoint = MANTLE,
		.not_in = without_mantle,
		.service = "bedrock-mantle",
	},
	{
		.route = ROUTE_COUNT_TOKENS,
		.dialect = DIALECT_ANTHROPIC,
		.method = "POST",
		.path = "/anthropic/v1/messages/count_tokens",
		.has_body = true,
		.headers = anthropic_body_headers,
		.header_count = ANTHROPIC_BODY_HEADERS_COUNT,
		.queries = anthropic_body_queries,
		.endpoint = MANTLE,
		.not_in = without_mantle,
		.service = "bedrock-mantle",
	},
	{
		.route = ROUTE_INVOKE,
		.dialect = DIALECT_INVOKE,
		.method = "POST",
		.path = "/model/{model}/invoke",
		.has_body = true,
		.headers = native_headers,
		.header_count = ARRAY_SIZE(native_headers),
		.queries = no_queries,
	},
	{
		.route = ROUTE_INVOKE_STREAM,
		.dialect = DIALECT_INVOKE,
		.method = "POST",
		.path = "/model/{model}/invoke-with-response-stream",
		.has_body = true,
		.headers = native_headers,
		.header_count = ARRAY_SIZE(native_headers),
		.queries = no_queries,
	},
	{
		.route = ROUTE_CONVERSE,
		.dialect = DIALECT_CONVERSE,
		.method = "POST",
		.path = "/model/{model}/converse",
		.has_body = true,
		.headers = native_headers,
		.header_count = ARRAY_SIZE(native_headers),
		.queries = no_queries,
	},
	{
		.route = ROUTE_CONVERSE_STREAM,
		.dialect = DIALECT_CONVERSE,
		.method = "POST",
		.path = "/model/{model}/converse-stream",
		.has_body = true,
		.headers = native_headers,
		.header_count = ARRAY_SIZE(native_headers),
		.queries = no_queries,
	},
	{
		.route = ROUTE_BEDROCK_COUNT,
		.dialect = DIALECT_INVOKE,
		.method = "POST",
		.path = "/model/{model}/count-tokens",
		.has_body = true,
		.headers = native_headers,
		.header_count = ARRAY_SIZE(native_headers),
		.queries = no_queries,
		.bare_model = true,
	},
	{
		.route = ROUTE_BEDROCK_COUNT,
		.dialect = DIALECT_CONVERSE,
		.method = "POST",
		.path = "/model/{model}/count-tokens",
		.has_body = true,
		.headers = native_headers,
		.header_count = ARRAY_SIZE(native_headers),
		.queries = no_queries,
		.bare_model = true,
	},
	{
		.route = ROUTE_CHAT,
		.dialect = DIALECT_CHAT,
		.method = "POST",
		.path = "/openai/v1/chat/completions",
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
		.endpoint = MANTLE,
		.not_in = without_mantle,
		.service = "bedrock-mantle",
		.model = "gpt-oss",
	},
	{
		.route = ROUTE_RESPONSES,
		.dialect = DIALECT_RESPONSES,
		.method = "POST",
		.path = "/openai/v1/responses",
		.has_body = true,
		.headers = openai_body_headers,
		.header_count = OPENAI_BODY_HEADERS_COUNT,
		.queries = no_queries,
		.endpoint = MANTLE,
		.not_in = without_mantle,
		.service = "bedrock-mantle",
	},
};

static const struct provider_rule rules[] = {
	{"anthropic.", {DIALECT_ANTHROPIC, DIALECT_INVOKE, DIALECT_CONVERSE}},
	{"openai.gpt-oss", {DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_CONVERSE}},
	{"openai.", {DIALECT_RESPONSES, DIALECT_CHAT}},
	{"", {DIALECT_CONVERSE, DIALECT_INVOKE}},
};

/* Inference profiles name the regions among which a request may move. */
static const char *const model_prefixes[] = {
	"apac.", "au.", "ca.", "eu.", "global.", "jp.", "us-gov.", "us.", NULL,
};

/* One that is not listed would make Bedrock refuse the whole request. */
static const char *const betas[] = {
	"computer-use-2024-10-22",
	"computer-use-2025-01-24",
	"context-1m-2025-08-07",
	"context-management-2025-06-27",
	"dev-full-thinking-2025-05-14",
	"fine-grained-tool-streaming-2025-05-14",
	"interleaved-thinking-2025-05-14",
	"mcp-client-2025-04-04",
	"mcp-client-2025-11-20",
	"model-context-window-exceeded-2025-08-26",
	"output-128k-2025-02-19",
	"pdfs-2024-09-25",
	"search-results-2025-06-09",
	"token-counting-2024-11-01",
	"token-efficient-tools-2025-02-19",
	"tool-search-tool-2025-10-19",
	"web-search-2025-03-05",
	NULL,
};

static const char *const response_headers[] = {
	"content-type",
	"anthropic-ratelimit-*",
	"request-id",
	"retry-after",
	"retry-after-ms",
	"x-amzn-bedrock-*",
	"x-amzn-errortype",
	"x-amzn-requestid",
	"x-ratelimit-*",
	"x-request-id",
	NULL,
};

static const struct provider_model models[] = {
	{"anthropic.claude-opus-4-6", "Claude Opus 4.6", 1000000, 128000,
	 5500000, 27500000, 550000, 6875000},
	{"anthropic.claude-sonnet-4-6", "Claude Sonnet 4.6", 1000000, 64000,
	 3300000, 16500000, 330000, 4125000},
	{"anthropic.claude-sonnet-4-5", "Claude Sonnet 4.5", 200000, 64000,
	 3300000, 16500000, 330000, 4125000},
	{"anthropic.claude-haiku-4-5", "Claude Haiku 4.5", 200000, 64000,
	 1100000, 5500000, 110000, 1375000},
	{"global.anthropic.claude-opus-4-6", "Claude Opus 4.6 (global)",
	 1000000, 128000, 5000000, 25000000, 500000, 6250000},
	{"global.anthropic.claude-sonnet-4-6", "Claude Sonnet 4.6 (global)",
	 1000000, 64000, 3000000, 15000000, 300000, 3750000},
	{"global.anthropic.claude-sonnet-4-5", "Claude Sonnet 4.5 (global)",
	 200000, 64000, 3000000, 15000000, 300000, 3750000},
	{"global.anthropic.claude-haiku-4-5", "Claude Haiku 4.5 (global)",
	 200000, 64000, 1000000, 5000000, 100000, 1250000},
	{"openai.gpt-oss-120b", "gpt-oss 120b", 128000, 0, 0, 0, 0, 0},
	{"openai.gpt-oss-20b", "gpt-oss 20b", 128000, 0, 0, 0, 0, 0},
	{"amazon.nova-micro", "Amazon Nova Micro", 128000, 0, 0, 0, 0, 0},
	{"amazon.nova-lite", "Amazon Nova Lite", 300000, 0, 0, 0, 0, 0},
	{"amazon.nova-pro", "Amazon Nova Pro", 300000, 0, 0, 0, 0, 0},
};

static const char *const auths[] = {"bearer", "sigv4", NULL};

const struct provider_kind provider_bedrock = {
	.name = "bedrock",
	.about = "Amazon Bedrock, by API key or AWS credentials (needs a "
		 "region)",
	.endpoint = RUNTIME,
	.secret = "bedrock",
	.transport = PROVIDER_TRANSPORT_NETWORK,
	.auth = PROVIDER_AUTH_BEARER,
	.auth_header = "authorization",
	.auths = auths,
	.capabilities = PROVIDER_CAN_STREAM | PROVIDER_CAN_TOOLS |
			PROVIDER_CAN_THINK | PROVIDER_CAN_IMAGES |
			PROVIDER_CAN_CACHE | PROVIDER_CAN_COUNT |
			PROVIDER_CALLS_MODEL | PROVIDER_HAS_REGION,
	.routes = routes,
	.route_count = ARRAY_SIZE(routes),
	.response_headers = response_headers,
	.models = models,
	.model_count = ARRAY_SIZE(models),
	.rules = rules,
	.rule_count = ARRAY_SIZE(rules),
	.service = "bedrock",
	.model_prefixes = model_prefixes,
	.betas = betas,
};
