/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_provider.c - where each kind of provider is asked, and in which dialect
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "engine/providers/route.h"

#define BITS(a)    DIALECT_BIT(DIALECT_##a)
#define CLAUDE     "anthropic.claude-sonnet-4-5-20250929-v1:0"
#define CLAUDE_US  "us." CLAUDE
#define CLAUDE_ARN "arn:aws:bedrock:us-east-1:1:inference-profile/" CLAUDE_US

static const struct {
	const char *kind;
	unsigned dialects;
	enum dialect from;
	enum route route;
	bool stream;
	const char *model;
	enum dialect to;
	enum route wire;
} wires[] = {
	{"anthropic", 0, DIALECT_ANTHROPIC, ROUTE_MESSAGES, true, "m",
	 DIALECT_ANTHROPIC, ROUTE_MESSAGES},
	{"anthropic", 0, DIALECT_CHAT, ROUTE_CHAT, false, "m",
	 DIALECT_ANTHROPIC, ROUTE_MESSAGES},
	{"anthropic", 0, DIALECT_CONVERSE, ROUTE_CONVERSE_STREAM, true, "m",
	 DIALECT_ANTHROPIC, ROUTE_MESSAGES},
	{"openai", 0, DIALECT_CHAT, ROUTE_CHAT, true, "gpt-5", DIALECT_CHAT,
	 ROUTE_CHAT},
	{"openai", 0, DIALECT_RESPONSES, ROUTE_RESPONSES, true, "gpt-5",
	 DIALECT_RESPONSES, ROUTE_RESPONSES},
	{"openai", 0, DIALECT_ANTHROPIC, ROUTE_MESSAGES, true, "gpt-5",
	 DIALECT_CHAT, ROUTE_CHAT},
	{"openai", 0, DIALECT_CHAT, ROUTE_CHAT, true, "gpt-5-codex",
	 DIALECT_RESPONSES, ROUTE_RESPONSES},
	{"openai", 0, DIALECT_ANTHROPIC, ROUTE_MESSAGES, true, "o3-pro",
	 DIALECT_RESPONSES, ROUTE_RESPONSES},
	{"openrouter", 0, DIALECT_ANTHROPIC, ROUTE_MESSAGES, true, "x/y",
	 DIALECT_ANTHROPIC, ROUTE_MESSAGES},
	{"openrouter", 0, DIALECT_INVOKE, ROUTE_INVOKE, false, "x/y",
	 DIALECT_CHAT, ROUTE_CHAT},
	{"openrouter", 0, DIALECT_INVOKE, ROUTE_INVOKE, false,
	 "anthropic/claude", DIALECT_ANTHROPIC, ROUTE_MESSAGES},
	{"bento", 0, DIALECT_RESPONSES, ROUTE_RESPONSES, false, "m",
	 DIALECT_CHAT, ROUTE_CHAT},
	{"byo", 0, DIALECT_CHAT, ROUTE_CHAT, false, "m", DIALECT_ANTHROPIC,
	 ROUTE_MESSAGES},
	{"byo", BITS(CHAT), DIALECT_ANTHROPIC, ROUTE_MESSAGES, false, "m",
	 DIALECT_CHAT, ROUTE_CHAT},
	{"byo", BITS(CHAT) | BITS(RESPONSES), DIALECT_RESPONSES,
	 ROUTE_RESPONSES, false, "m", DIALECT_RESPONSES, ROUTE_RESPONSES},

	{"bedrock", 0, DIALECT_ANTHROPIC, ROUTE_MESSAGES, true, CLAUDE,
	 DIALECT_ANTHROPIC, ROUTE_MESSAGES},
	{"bedrock", BITS(INVOKE) | BITS(CONVERSE), DIALECT_ANTHROPIC,
	 ROUTE_MESSAGES, true, CLAUDE_US, DIALECT_INVOKE, ROUTE_INVOKE_STREAM},
	{"bedrock", BITS(INVOKE) | BITS(CONVERSE), DIALECT_ANTHROPIC,
	 ROUTE_MESSAGES, false, CLAUDE_ARN, DIALECT_INVOKE, ROUTE_INVOKE},
	{"bedrock", 0, DIALECT_INVOKE, ROUTE_INVOKE_STREAM, true, CLAUDE,
	 DIALECT_INVOKE, ROUTE_INVOKE_STREAM},
	{"bedrock", 0, DIALECT_CONVERSE, ROUTE_CONVERSE, false, CLAUDE,
	 DIALECT_CONVERSE, ROUTE_CONVERSE},
	{"bedrock", 0, DIALECT_CHAT, ROUTE_CHAT, true, CLAUDE,
	 DIALECT_ANTHROPIC, ROUTE_MESSAGES},
	{"bedrock", 0, DIALECT_CHAT, ROUTE_CHAT, true,
	 "openai.gpt-oss-120b-1:0", DIALECT_CHAT, ROUTE_CHAT},
	{"bedrock", 0, DIALECT_CHAT, ROUTE_CHAT, true, "amazon.nova-pro-v1:0",
	 DIALECT_CONVERSE, ROUTE_CONVERSE_STREAM},
	{"bedrock", 0, DIALECT_ANTHROPIC, ROUTE_MESSAGES, false,
	 "meta.llama3-70b", DIALECT_CONVERSE, ROUTE_CONVERSE},
	{"bedrock", 0, DIALECT_INVOKE, ROUTE_INVOKE, false,
	 "arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc",
	 DIALECT_INVOKE, ROUTE_INVOKE},
	{"bedrock", 0, DIALECT_INVOKE, ROUTE_BEDROCK_COUNT, false, CLAUDE,
	 DIALECT_INVOKE, ROUTE_BEDROCK_COUNT},
	{"bedrock", 0, DIALECT_CONVERSE, ROUTE_BEDROCK_COUNT, false, CLAUDE,
	 DIALECT_CONVERSE, ROUTE_BEDROCK_COUNT},
	{"bedrock", 0, DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS, false, CLAUDE_US,
	 DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS},
	{"bedrock", BITS(INVOKE) | BITS(CONVERSE), DIALECT_ANTHROPIC,
	 ROUTE_COUNT_TOKENS, false, CLAUDE, DIALECT_INVOKE,
	 ROUTE_BEDROCK_COUNT},
	{"bedrock", BITS(CONVERSE), DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS,
	 false, CLAUDE, DIALECT_CONVERSE, ROUTE_BEDROCK_COUNT},
	{"bedrock", BITS(CONVERSE), DIALECT_INVOKE, ROUTE_BEDROCK_COUNT, false,
	 CLAUDE, DIALECT_CONVERSE, ROUTE_BEDROCK_COUNT},
	{"bedrock", 0, DIALECT_RESPONSES, ROUTE_RESPONSES_COUNT, false,
	 "amazon.nova-pro-v1:0", DIALECT_CONVERSE, ROUTE_BEDROCK_COUNT},
	{"anthropic", 0, DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS, false, "m",
	 DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS},
	{"anthropic", 0, DIALECT_INVOKE, ROUTE_BEDROCK_COUNT, false, CLAUDE,
	 DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS},
	{"scripted", 0, DIALECT_RESPONSES, ROUTE_RESPONSES_COUNT, false, "m",
	 DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS},
	{"openai", 0, DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS, false, "gpt-5",
	 DIALECT_RESPONSES, ROUTE_RESPONSES_COUNT},
	{"openai", 0, DIALECT_RESPONSES, ROUTE_RESPONSES_COUNT, false, "gpt-5",
	 DIALECT_RESPONSES, ROUTE_RESPONSES_COUNT},
	{"byo", BITS(CHAT) | BITS(RESPONSES), DIALECT_ANTHROPIC,
	 ROUTE_COUNT_TOKENS, false, "m", DIALECT_RESPONSES,
	 ROUTE_RESPONSES_COUNT},
	{"openai", 0, DIALECT_ANTHROPIC, ROUTE_MODELS, false, "", DIALECT_CHAT,
	 ROUTE_MODELS},
};

static void test_wires(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wires); i++) {
		struct provider_ask ask = {wires[i].from, wires[i].route,
					   span_text(wires[i].model),
					   wires[i].stream};
		const struct provider_kind *kind =
			provider_find(span_text(wires[i].kind));
		struct provider_wire wire = {0};

		assert_non_null(kind);
		if (!provider_wire(kind, wires[i].dialects, &ask, &wire) ||
		    wire.dialect != wires[i].to || wire.route != wires[i].wire)
			fail_msg("row %zu (%s, %s): %s, %s", i, wires[i].kind,
				 wires[i].model, dialect_name(wire.dialect),
				 route_name(wire.route));
	}
}

static void test_what_cannot_be_asked(void **state)
{
	static const struct {
		const char *kind;
		unsigned dialects;
		enum route route;
		const char *model;
	} asks[] = {
		{"openai", BITS(CHAT), ROUTE_COUNT_TOKENS, "m"},
		{"openrouter", 0, ROUTE_COUNT_TOKENS, "m"},
		{"bento", 0, ROUTE_COUNT_TOKENS, "m"},
		{"bedrock", 0, ROUTE_MODELS, ""},
		{"bedrock", BITS(RESPONSES), ROUTE_MESSAGES, CLAUDE},
		{"byo", BITS(CHAT), ROUTE_COUNT_TOKENS, "m"},
		{"openai", BITS(CHAT), ROUTE_RESPONSES, "gpt-5-codex"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(asks); i++) {
		struct provider_ask ask = {DIALECT_ANTHROPIC, asks[i].route,
					   span_text(asks[i].model), false};
		struct provider_wire wire;

		assert_false(
			provider_wire(provider_find(span_text(asks[i].kind)),
				      asks[i].dialects, &ask, &wire));
	}
}

/* Every wire that a table can lead to has its row. */
static void test_every_wire_can_be_sent(void **state)
{
	static const enum route from[] = {ROUTE_MESSAGES, ROUTE_CHAT,
					  ROUTE_RESPONSES, ROUTE_INVOKE,
					  ROUTE_CONVERSE_STREAM};
	const struct provider_kind *kind;
	struct provider_wire wire;

	(void)state;
	for (size_t k = 0; (kind = provider_at(k)) != NULL; k++) {
		assert_true(kind->rule_count > 0);
		assert_string_equal(kind->rules[kind->rule_count - 1].model,
				    "");
		for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
			struct provider_ask ask = {DIALECT_NONE, from[i],
						   span_text(CLAUDE), true};

			assert_true(provider_wire(kind, 0, &ask, &wire));
			assert_non_null(
				provider_route(kind, 0, wire.route, ask.model));
		}
	}
}

static const struct {
	const char *region;
	enum route_variant variant;
	enum route route;
	const char *model;
	const char *url; /* NULL: there is none */
} urls[] = {
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_INVOKE, CLAUDE,
	 "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic."
	 "claude-sonnet-4-5-20250929-v1%3A0/invoke"},
	{"us-east-1", ROUTE_VARIANT_FIPS, ROUTE_CONVERSE, "m",
	 "https://bedrock-runtime-fips.us-east-1.amazonaws.com/model/m/"
	 "converse"},
	{"us-east-1", ROUTE_VARIANT_DUALSTACK, ROUTE_CONVERSE_STREAM, "m",
	 "https://bedrock-runtime.us-east-1.api.aws/model/m/converse-stream"},
	{"us-gov-west-1", ROUTE_VARIANT_FIPS_DUALSTACK, ROUTE_BEDROCK_COUNT,
	 "m",
	 "https://bedrock-runtime-fips.us-gov-west-1.api.aws/model/m/"
	 "count-tokens"},
	{"cn-north-1", ROUTE_VARIANT_PLAIN, ROUTE_INVOKE_STREAM, "m",
	 "https://bedrock-runtime.cn-north-1.amazonaws.com.cn/model/m/"
	 "invoke-with-response-stream"},
	{"cn-north-1", ROUTE_VARIANT_DUALSTACK, ROUTE_INVOKE, "m",
	 "https://bedrock-runtime.cn-north-1.api.amazonwebservices.com.cn/"
	 "model/m/invoke"},
	{"eusc-de-east-1", ROUTE_VARIANT_PLAIN, ROUTE_INVOKE, "m",
	 "https://bedrock-runtime.eusc-de-east-1.amazonaws.eu/model/m/invoke"},
	{"us-iso-east-1", ROUTE_VARIANT_PLAIN, ROUTE_INVOKE, "m",
	 "https://bedrock-runtime.us-iso-east-1.c2s.ic.gov/model/m/invoke"},
	{"us-isob-east-1", ROUTE_VARIANT_PLAIN, ROUTE_INVOKE, "m",
	 "https://bedrock-runtime.us-isob-east-1.sc2s.sgov.gov/model/m/"
	 "invoke"},
	{"us-iso-east-1", ROUTE_VARIANT_DUALSTACK, ROUTE_INVOKE, "m", NULL},
	/* Profiles are no models to CountTokens; other ARNs stay. */
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_BEDROCK_COUNT,
	 "us.anthropic.claude-haiku-4-5",
	 "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic."
	 "claude-haiku-4-5/count-tokens"},
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_BEDROCK_COUNT,
	 "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.c",
	 "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.c/"
	 "count-tokens"},
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_BEDROCK_COUNT,
	 "arn:aws:bedrock:us-east-1:1:application-inference-profile/us.x",
	 "https://bedrock-runtime.us-east-1.amazonaws.com/model/arn%3Aaws%3A"
	 "bedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fus.x/"
	 "count-tokens"},
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_CONVERSE, "us.anthropic.c",
	 "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic."
	 "c/converse"},
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_COUNT_TOKENS, "m",
	 "https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages/"
	 "count_tokens"},
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_INVOKE, "a/b:c",
	 "https://bedrock-runtime.us-east-1.amazonaws.com/model/a%2Fb%3Ac/"
	 "invoke"},
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_CHAT, "openai.gpt-oss-20b-1:0",
	 "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/chat/"
	 "completions"},
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_RESPONSES,
	 "openai.gpt-oss-20b",
	 "https://bedrock-mantle.us-east-1.api.aws/v1/responses"},
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_RESPONSES, "openai.gpt-5.5",
	 "https://bedrock-mantle.us-east-1.api.aws/openai/v1/responses"},
	{"us-east-1", ROUTE_VARIANT_PLAIN, ROUTE_MESSAGES, CLAUDE,
	 "https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages"},
	/* mantle has no other end points: nothing is guessed */
	{"us-east-1", ROUTE_VARIANT_FIPS, ROUTE_MESSAGES, CLAUDE, NULL},
	{"us-east-1", ROUTE_VARIANT_DUALSTACK, ROUTE_MESSAGES, CLAUDE, NULL},
	{"cn-north-1", ROUTE_VARIANT_PLAIN, ROUTE_MESSAGES, CLAUDE, NULL},
};

static void test_bedrock_hosts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct route_target t = {
			.kind = provider_find(span_text("bedrock")),
			.region = span_text(urls[i].region),
			.variant = urls[i].variant,
		};
		struct route_values v = {.model = span_text(urls[i].model)};
		struct route_request r;
		enum err e = route_build(&t, urls[i].route, &v, &r);

		if (!urls[i].url) {
			assert_int_equal(e, ERR_CONFIG);
			continue;
		}
		assert_int_equal(e, ERR_OK);
		assert_string_equal(r.url, urls[i].url);
	}
}

static void test_configured_endpoints(void **state)
{
	static const struct {
		const char *kind, *endpoint, *api_version;
		enum route route;
		const char *url;
	} rows[] = {
		{"byo", "https://h.example", "", ROUTE_CHAT,
		 "https://h.example/v1/chat/completions"},
		{"byo", "https://h.example/v1", "", ROUTE_CHAT,
		 "https://h.example/v1/chat/completions"},
		{"byo", "https://v1.example", "", ROUTE_CHAT,
		 "https://v1.example/v1/chat/completions"},
		{"byo", "https://h.example/api/paas/v4", "", ROUTE_CHAT,
		 "https://h.example/api/paas/v4/chat/completions"},
		{"byo", "https://h.example/v1beta/openai", "", ROUTE_MODELS,
		 "https://h.example/v1beta/openai/models"},
		{"byo", "https://a.openai.azure.com/openai/deployments/d",
		 "2024-10-21", ROUTE_CHAT,
		 "https://a.openai.azure.com/openai/deployments/d/chat/"
		 "completions?api-version=2024-10-21"},
		{"byo", "https://a.openai.azure.com/openai/v1", "preview",
		 ROUTE_RESPONSES,
		 "https://a.openai.azure.com/openai/v1/responses?api-version="
		 "preview"},
		{"openai", "https://relay.example/v1", "", ROUTE_RESPONSES,
		 "https://relay.example/v1/responses"},
		{"openrouter", "", "", ROUTE_CHAT,
		 "https://openrouter.ai/api/v1/chat/completions"},
		{"bento", "https://d.eu.bentoml.ai", "", ROUTE_MODELS,
		 "https://d.eu.bentoml.ai/v1/models"},
		{"bedrock", "https://vpce.example", "", ROUTE_MESSAGES,
		 "https://vpce.example/anthropic/v1/messages"},
		{"bedrock", "https://vpce.example", "", ROUTE_CHAT,
		 "https://vpce.example/openai/v1/chat/completions"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct route_target t = {
			.kind = provider_find(span_text(rows[i].kind)),
			.endpoint = span_text(rows[i].endpoint),
			.api_version = span_text(rows[i].api_version),
			.dialects = ~0u,
		};
		struct route_values v = {.model = span_text("m")};
		struct route_request r;

		assert_int_equal(route_build(&t, rows[i].route, &v, &r),
				 ERR_OK);
		assert_string_equal(r.url, rows[i].url);
	}
}

static void test_a_guest_cannot_set_what_is_ours(void **state)
{
	const struct route_header given[] = {
		{span_text("OpenAI-Organization"), span_text("org-guest")},
		{span_text("OpenAI-Project"), span_text("p-guest")},
		{span_text("Authorization"), span_text("Bearer guest")},
		{span_text("api-key"), span_text("guest")},
		{span_text("X-Title"), span_text("Mine")},
		{span_text("X-Amz-Date"), span_text("20300101T000000Z")},
		{span_text("X-Amz-Security-Token"), span_text("guest")},
		{span_text("OpenAI-Beta"), span_text("responses=v1")},
	};
	struct route_values v = {.headers = given,
				 .header_count = ARRAY_SIZE(given),
				 .query = span_text("api-version=evil"),
				 .model = span_text("m")};
	const struct provider_kind *kind;

	(void)state;
	for (size_t k = 0; (kind = provider_at(k)) != NULL; k++) {
		struct route_target t = {.kind = kind,
					 .endpoint =
						 span_text("https://h.example"),
					 .dialects = ~0u};

		for (size_t i = 0; i < kind->route_count; i++) {
			struct route_request r;

			assert_int_equal(route_build(&t, kind->routes[i].route,
						     &v, &r),
					 ERR_OK);
			assert_int_equal(r.query_at, r.url_len_bytes);
			for (size_t h = 0; h < r.header_count; h++)
				if (!span_is(r.headers[h].name, "openai-beta"))
					assert_null(memmem(
						r.headers[h].value.data,
						r.headers[h].value.len_bytes,
						"guest", 5));
		}
	}
}

static void test_proxies(void **state)
{
	static const char *const good[] = {"http://proxy.example:3128",
					   "http://10.0.0.1:1",
					   "http://[::1]:8080",
					   "http://localhost:65535"};
	static const char *const bad[] = {
		"",
		"proxy.example:3128",
		"https://proxy.example:3128",
		"socks5://proxy.example:1080",
		"http://proxy.example",
		"http://proxy.example:",
		"http://proxy.example:0",
		"http://proxy.example:65536",
		"http://user@proxy.example:3128",
		"http://user:pw@proxy.example:3128",
		"http://proxy.example:3128/",
		"http://proxy.example:3128/x",
		"http://[::1]",
		"http://a b:3128",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(route_check_proxy(span_text(good[i])), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(route_check_proxy(span_text(bad[i])),
				 ERR_FORMAT);
}

static void test_models(void **state)
{
	const struct provider_kind *aws = provider_find(span_text("bedrock"));
	const struct provider_kind *openai = provider_find(span_text("openai"));

	(void)state;
	assert_string_equal(provider_model(aws, span_text(CLAUDE_US))->name,
			    "anthropic.claude-sonnet-4-5");
	assert_string_equal(provider_model(aws, span_text(CLAUDE_ARN))->name,
			    "anthropic.claude-sonnet-4-5");
	assert_string_equal(
		provider_model(aws, span_text("global." CLAUDE))->name,
		"global.anthropic.claude-sonnet-4-5");
	assert_string_equal(
		provider_model(aws, span_text("openai.gpt-oss-120b-1:0"))->name,
		"openai.gpt-oss-120b");
	assert_string_equal(
		provider_model(openai, span_text("gpt-4o-2024-08-06"))->name,
		"gpt-4o");
	assert_string_equal(provider_model(openai,
					   span_text("gpt-4o-mini-2024-07-18"))
				    ->name,
			    "gpt-4o-mini");
	assert_null(provider_model(openai, span_text("gpt-4o-audio")));
	assert_null(provider_model(openai, span_text("us.gpt-4o")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wires),
		cmocka_unit_test(test_what_cannot_be_asked),
		cmocka_unit_test(test_every_wire_can_be_sent),
		cmocka_unit_test(test_bedrock_hosts),
		cmocka_unit_test(test_configured_endpoints),
		cmocka_unit_test(test_a_guest_cannot_set_what_is_ours),
		cmocka_unit_test(test_proxies),
		cmocka_unit_test(test_models),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
