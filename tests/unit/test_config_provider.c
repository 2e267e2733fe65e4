/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_config_provider.c - [[provider]]'s transport keys, and [[model]]
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/core/config.h"
#include "engine/core/config_read.h"
#include "engine/core/route_of.h"

#define BYO                                            \
	"[[provider]]\nname = \"p\"\nkind = \"byo\"\n" \
	"endpoint = \"https://h.example\"\n"
#define AWS    "[[provider]]\nname = \"p\"\nkind = \"bedrock\"\n"
#define OPENAI "[[provider]]\nname = \"p\"\nkind = \"openai\"\n"
#define MODEL  OPENAI "[[model]]\n"

static struct config *load(const char *text)
{
	struct config *config = NULL;
	struct conf_error error;

	conf_error_init(&error);
	if (config_parse(span_text(text), "kenaz.toml", &error, &config) !=
	    ERR_OK)
		fail_msg("%s", error.text);
	return config;
}

static void test_every_key(void **state)
{
	struct config *config =
		load(BYO "dialects = [\"chat\", \"responses\"]\n"
			 "auth = \"api-key\"\nsecret = \"azure\"\n"
			 "api_version = \"2024-10-21\"\n"
			 "connect_timeout_s = 3\nfirst_byte_timeout_s = 600\n"
			 "idle_timeout_s = 60\ntotal_timeout_s = 1200\n"
			 "http = \"1.1\"\nproxy = \"http://p.example:3128\"\n"
			 "proxy_secret = \"corp\"\n");
	const struct config_provider *p = &config->providers[0];

	(void)state;
	assert_int_equal(p->dialects, DIALECT_BIT(DIALECT_CHAT) |
					      DIALECT_BIT(DIALECT_RESPONSES));
	assert_string_equal(p->auth, "api-key");
	assert_string_equal(p->api_version, "2024-10-21");
	assert_int_equal(p->timeouts.connect_s, 3);
	assert_int_equal(p->timeouts.first_byte_s, 600);
	assert_int_equal(p->timeouts.idle_s, 60);
	assert_int_equal(p->timeouts.total_s, 1200);
	assert_int_equal(p->http, HTTP_VERSION_1_1);
	assert_string_equal(p->proxy, "http://p.example:3128");
	assert_string_equal(p->proxy_secret, "corp");
	config_free(config);
	config = load(BYO);
	p = &config->providers[0];
	assert_int_equal(p->dialects, 0);
	assert_int_equal(p->timeouts.connect_s, 0);
	assert_int_equal(p->http, HTTP_VERSION_AUTO);
	config_free(config);
}

static void test_endpoints_from_regions(void **state)
{
	struct config *config =
		load(AWS "region = \"eu-central-1\"\nauth = \"sigv4\"\n"
			 "endpoint_variant = \"fips-dualstack\"\n");
	char endpoint[ROUTE_ENDPOINT_MAX_BYTES];

	(void)state;
	assert_int_equal(route_endpoint_of(&config->providers[0], endpoint,
					   sizeof(endpoint)),
			 ERR_OK);
	assert_string_equal(
		endpoint, "https://bedrock-runtime-fips.eu-central-1.api.aws");
	assert_string_equal(route_secret_of(&config->providers[0]), "bedrock");
	config_free(config);
}

/* Which dialects are left where AWS has no mantle. */
static const struct {
	const char *text;
	unsigned dialects; /* 0: all of the kind's */
} regions[] = {
#define RUNTIME_ALONE                                                  \
	(DIALECT_BIT(DIALECT_INVOKE) | DIALECT_BIT(DIALECT_CONVERSE) | \
	 DIALECT_BIT(DIALECT_CHAT))
	{"region = \"us-east-1\"\n", 0},
	{"region = \"eu-central-1\"\n", 0},
	{"region = \"ap-southeast-7\"\n", 0},
	{"region = \"us-west-1\"\n", RUNTIME_ALONE},
	{"region = \"us-gov-west-1\"\n", RUNTIME_ALONE},
	{"region = \"us-gov-east-1\"\nendpoint_variant = \"fips\"\n",
	 RUNTIME_ALONE},
	{"region = \"cn-northwest-1\"\n", RUNTIME_ALONE},
	{"region = \"eusc-de-east-1\"\n", RUNTIME_ALONE},
	{"region = \"us-iso-east-1\"\n", RUNTIME_ALONE},
	{"region = \"us-east-1\"\nendpoint_variant = \"dualstack\"\n",
	 RUNTIME_ALONE},
	/* Who says so knows of a region that is new. */
	{"region = \"us-west-1\"\ndialects = [\"messages\"]\n",
	 DIALECT_BIT(DIALECT_ANTHROPIC)},
	{"region = \"us-gov-west-1\"\nendpoint = \"https://vpce.example\"\n",
	 0},
};

static void test_dialects_of_a_region(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
		char text[512];
		struct config *config;

		(void)snprintf(text, sizeof(text), AWS "%s", regions[i].text);
		config = load(text);
		assert_int_equal(config->providers[0].dialects,
				 regions[i].dialects);
		config_free(config);
	}
}

static const struct {
	const char *text, *want;
} refused[] = {
	{AWS "region = \"us-east\"\n", "has not the form of AWS's"},
	{AWS "region = \"useast1\"\n", "has not the form of AWS's"},
	{AWS "region = \"us-east-1a\"\n", "has not the form of AWS's"},
	{AWS "region = \"us-east-1.evil.example\"\n",
	 "has not the form of AWS's"},
	{AWS "region = \"us--east-1\"\n", "has not the form of AWS's"},
	{AWS "region = \"us-iso-east-1\"\nendpoint_variant = "
	     "\"dualstack\"\n",
	 "bedrock has no dualstack end point in us-iso-east-1"},
	{AWS "region = \"us-gov-west-1\"\ndialects = [\"messages\", "
	     "\"invoke\"]\n",
	 "cannot be asked in \"messages\" in us-gov-west-1"},
	{AWS "region = \"eu-west-1\"\nendpoint_variant = \"fips\"\n"
	     "dialects = \"responses\"\n",
	 "cannot be asked in"},
	{BYO "dialects = []\n", "kenaz.toml:5: dialects is an empty list"},
	{BYO "dialects = [\"converse\"]\n",
	 "does not speak \"converse\"; it speaks messages, chat, responses"},
	{BYO "dialects = \"soap\"\n", "does not speak \"soap\""},
	{OPENAI "dialects = \"messages\"\n", "it speaks chat, responses"},
	{BYO "auth = \"sigv4\"\nsecret = \"s\"\n",
	 "must be one of x-api-key, api-key, bearer, none"},
	{BYO "auth = \"basic\"\nsecret = \"s\"\n", "kenaz.toml:5: auth"},
	{BYO "auth = \"bearer\"\n", "auth needs a secret"},
	{BYO "auth = \"none\"\nsecret = \"s\"\n", "sends no key"},
	{OPENAI "auth = \"bearer\"\n", "has one way of authentication"},
	{AWS "endpoint = \"https://h.example\"\nauth = \"sigv4\"\n",
	 "needs the region"},
	{AWS "region = \"eu-west-1\"\nendpoint_variant = \"ipv6\"\n",
	 "must be one of fips, dualstack, fips-dualstack"},
	{AWS "endpoint = \"https://h.example\"\nendpoint_variant = \"fips\"\n",
	 "is for endpoints made from the region"},
	{BYO "endpoint_variant = \"fips\"\n", "has no variants"},
	{OPENAI "api_version = \"v\"\n", "for providers of kind byo"},
	{BYO "api_version = \"a&b\"\n", "must be of a-z"},
	{BYO "connect_timeout_s = 0\n", "connect_timeout_s must be from 1 to"},
	{BYO "connect_timeout_s = 301\n", "must be from 1 to 300"},
	{BYO "first_byte_timeout_s = 3601\n", "must be from 1 to 3600"},
	{BYO "idle_timeout_s = 3601\n", "must be from 1 to 3600"},
	{BYO "total_timeout_s = 86401\n", "must be from 1 to 86400"},
	{BYO "http = \"2\"\n", "http must be one of"},
	{BYO "proxy = \"http://u:p@h:1\"\n", "proxy must be http://host:port"},
	{BYO "proxy = \"https://h:1\"\n", "proxy must be http://host:port"},
	{BYO "proxy_secret = \"s\"\n", "proxy_secret needs a proxy"},
	{MODEL "name = \"m\"\n", "needs provider or kind"},
	{MODEL "provider = \"p\"\nkind = \"openai\"\nname = \"m\"\n",
	 "needs provider or kind, and not both"},
	{MODEL "provider = \"q\"\nname = \"m\"\n",
	 "kenaz.toml:5: there is no provider \"q\""},
	{MODEL "kind = \"q\"\nname = \"m\"\n", "there is no kind of provider"},
	{MODEL "kind = \"scripted\"\nname = \"m\"\n", "there is no kind"},
	{MODEL "kind = \"openai\"\n", "has no name"},
	{MODEL "kind = \"openai\"\nname = \"m\"\ncontext_tokens = 0\n",
	 "context_tokens must be from 1 to"},
	{MODEL "kind = \"openai\"\nname = \"m\"\ninput_price = \"1\"\n",
	 "needs both input_price and output_price"},
	{MODEL "kind = \"openai\"\nname = \"m\"\ninput_price = 0.25\n",
	 "kenaz.toml:7: input_price must be US dollars"},
	{MODEL "kind = \"openai\"\nname = \"m\"\ninput_price = \"0.1234567\"\n",
	 "at most six decimals"},
	{MODEL "kind = \"openai\"\nname = \"m\"\ninput_price = -1\n",
	 "input_price must be from 0 to"},
	{MODEL "kind = \"openai\"\nname = \"m\"\n"
	       "[[model]]\nkind = \"openai\"\nname = \"m\"\n",
	 "kenaz.toml:7: model m is already described in line 4"},
};

static void test_rejections(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct config *config = NULL;
		struct conf_error error;

		conf_error_init(&error);
		if (config_parse(span_text(refused[i].text), "kenaz.toml",
				 &error, &config) != ERR_CONFIG)
			fail_msg("row %zu was accepted", i);
		if (!strstr(error.text, refused[i].want))
			fail_msg("row %zu: <%s> is not in <%s>", i,
				 refused[i].want, error.text);
	}
}

static void test_prices_are_exact(void **state)
{
	static const struct {
		const char *text;
		uint64_t uusd;
	} good[] = {{"0", 0},
		    {"3", 3000000},
		    {"0.25", 250000},
		    {"0.000001", 1},
		    {"1.10", 1100000},
		    {"007", 7000000},
		    {"1000", 1000000000}};
	static const char *const bad[] = {"",
					  ".",
					  "1.",
					  ".5",
					  "1.2.3",
					  "-1",
					  "1e3",
					  "$3",
					  "1,5",
					  "1 ",
					  "0.0000001",
					  "1000.000001",
					  "99999999999999999"};
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(config_price_of(good[i].text, &value), ERR_OK);
		assert_int_equal(value, good[i].uusd);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_not_equal(config_price_of(bad[i], &value), ERR_OK);
}

static void test_models(void **state)
{
	struct config *config =
		load(OPENAI "[[provider]]\nname = \"q\"\nkind = \"openai\"\n"
			    "[[model]]\nkind = \"openai\"\nname = \"gpt-5\"\n"
			    "label = \"Ours\"\ninput_price = \"1.5\"\n"
			    "output_price = 12000000\ncontext_tokens = 1000\n"
			    "[[model]]\nprovider = \"q\"\nname = \"gpt-5\"\n"
			    "input_price = \"9\"\noutput_price = \"9\"\n"
			    "cache_read_price = \"0.5\"\n"
			    "[[model]]\nprovider = \"q\"\nname = \"local\"\n");
	const struct config_provider *p = &config->providers[0],
				     *q = &config->providers[1];
	const struct provider_model *m =
		config_find_model(config, p, span_text("gpt-5-2025-08-07"));

	(void)state;
	assert_string_equal(m->label, "Ours");
	assert_int_equal(m->input_uusd, 1500000);
	assert_int_equal(m->output_uusd, 12000000);
	assert_int_equal(m->context_tokens, 1000);
	m = config_find_model(config, q, span_text("gpt-5"));
	assert_int_equal(m->input_uusd, 9000000);
	assert_int_equal(m->cache_read_uusd, 500000);
	assert_string_equal(m->label, "gpt-5");
	m = config_find_model(config, q, span_text("local"));
	assert_int_equal(m->input_uusd, 0);
	assert_null(config_find_model(config, p, span_text("local")));
	/* what the file does not describe is still in the table */
	m = config_find_model(config, p, span_text("gpt-4o"));
	assert_string_equal(m->label, "GPT-4o");
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_key),
		cmocka_unit_test(test_endpoints_from_regions),
		cmocka_unit_test(test_dialects_of_a_region),
		cmocka_unit_test(test_rejections),
		cmocka_unit_test(test_prices_are_exact),
		cmocka_unit_test(test_models),
	};

	if (digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
