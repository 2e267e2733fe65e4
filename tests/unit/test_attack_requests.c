/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_attack_requests.c - ways around the inspection of requests, closed
 *
 * Each body asks the provider for something that policy judges, in a way that
 * a strict reader of the documented members could overlook. It must be named
 * as a feature or refused; never pass as a plain request.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/text.h"
#include "engine/gate/dialect.h"
#include "engine/proto/attrs.h"

#define REFUSED "(refused)"
#define PLAIN   ""

static const struct dialect_ops *const dialects[] = {&dialect_anthropic,
						     &dialect_chat,
						     &dialect_responses,
						     &dialect_converse,
						     &dialect_invoke};

/* The body's own start in each dialect; a member may follow. */
#define A "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[]"
#define C "{\"model\":\"m\",\"messages\":[]"
#define R "{\"model\":\"m\",\"store\":false,\"input\":[]"
#define V "{\"messages\":[]"
#define I                                                \
	"{\"anthropic_version\":\"bedrock-2023-05-31\"," \
	"\"max_tokens\":9,\"messages\":[]"

static const struct {
	char dialect;
	const char *body, *expected;
} table[] = {
	{'A', A "}", PLAIN},
	{'C', C "}", PLAIN},
	{'R', R "}", PLAIN},
	{'V', V "}", PLAIN},
	{'I', I "}", PLAIN},
	/* Another model than the one judged: gateways' own members. */
	{'A', A ",\"models\":[\"denied\"]}", "model_fallback"},
	{'C', C ",\"models\":[\"denied\"]}", "model_fallback"},
	{'R', R ",\"models\":[\"denied\"]}", "model_fallback"},
	{'A', A ",\"fallbacks\":[{\"model\":\"x\"}]}", "model_fallback"},
	{'C', C ",\"fallbacks\":[\"x\"]}", "model_fallback"},
	{'R', R ",\"context_window_fallbacks\":[{\"a\":[\"b\"]}]}",
	 "model_fallback"},
	{'A', A ",\"route\":\"fallback\"}", "model_fallback"},
	{'A', A ",\"provider\":{\"order\":[\"x\"]}}", "provider_routing"},
	{'R', R ",\"providerOptions\":{\"gateway\":{}}}", "provider_routing"},
	{'C', C ",\"api_base\":\"http://evil/\"}", "provider_routing"},
	{'C', C ",\"kv_transfer_params\":{\"remote_host\":\"h\"}}",
	 "provider_routing"},
	{'A', A ",\"preset\":\"p\"}", "preset"},
	{'A', A ",\"transforms\":[\"middle-out\"]}", "transforms"},
	{'A', A ",\"plugins\":[{\"id\":\"web\"}]}", "plugin:web"},
	{'A', A ",\"plugins\":{\"id\":\"web\"}}", REFUSED},
	{'A', A ",\"web_search_options\":{}}", "web_search"},
	{'R', R ",\"web_search_options\":{}}", "web_search"},
	{'C', C ",\"data_sources\":[{\"type\":\"azure_search\"}]}",
	 "data_sources"},
	{'A', "{\"model\":\"a/b:online\",\"messages\":[]}", "web_search"},
	{'C', "{\"model\":\"a/b:ONLINE\",\"messages\":[]}", "web_search"},
	{'R', "{\"model\":\"a/b:online\",\"store\":false,\"input\":[]}",
	 "web_search"},
	{'R', "{\"model\":\"@preset/x\",\"store\":false,\"input\":[]}",
	 "preset"},
	/* Readers that take the last of two keys, or any case. */
	{'C', C ",\"model\":\"denied\"}", REFUSED},
	{'C', C ",\"mod\\u0065l\":\"denied\"}", REFUSED},
	{'C', C ",\"Model\":\"denied\"}", REFUSED},
	{'C', C ",\"MODEL\":\"denied\"}", REFUSED},
	{'A', A ",\"Tools\":[{\"type\":\"web_search_20250305\"}]}", REFUSED},
	{'A', A ",\"tool\xc5\xbf\":[]}", REFUSED},
	{'A', A ",\"tool\\u017f\":[]}", REFUSED},
	{'I', I ",\"TOOLS\":[]}", REFUSED},
	{'R', R ",\"Previous_Response_Id\":\"r\"}", REFUSED},
	{'R', R ",\"Store\":true}", REFUSED},
	{'C', C ",\"N\":128}", REFUSED},
	{'C',
	 C ",\"tools\":[{\"type\":\"function\",\"Type\":\"web_search\","
	   "\"function\":{\"name\":\"x\"}}]}",
	 REFUSED},
	{'A',
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
	 "[{\"type\":\"image\",\"Source\":{\"type\":\"url\",\"url\":\"x\"}}]}]"
	 "}",
	 REFUSED},
	/* In a schema and in arguments any name is good. */
	{'A',
	 A ",\"tools\":[{\"name\":\"x\",\"input_schema\":{\"type\":"
	   "\"object\",\"properties\":{\"Type\":{},\"Model\":{}}}}]}",
	 PLAIN},
	{'C',
	 C ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
	   "\"x\",\"parameters\":{\"Type\":1}}}]}",
	 PLAIN},
	{'A',
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":"
	 "[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"x\",\"input\":"
	 "{\"URL\":\"u\",\"Type\":2}}]}]}",
	 PLAIN},
	{'C', C ",\"metadata\":{\"Model\":\"x\"}}", PLAIN},
	/* What no two readers agree on. */
	{'C', "\xef\xbb\xbf" C "}", REFUSED},
	{'C', C ",\"a\":NaN}", REFUSED},
	{'C', C ",\"a\":1,}", REFUSED},
	{'C', C "/**/}", REFUSED},
	{'C', C ",\"a\":\"\\ud800\"}", REFUSED},
	{'C', C ",\"a\":\"\xff\"}", REFUSED},
	{'C', C ",\"a\\u0000\":1}", REFUSED},
	{'C', C "}{}", REFUSED},
	{'C', C "}\x00", PLAIN}, /* the test's own end */
	{'C', "{\"model\":\"m\\u0000x\",\"messages\":[]}", REFUSED},
	{'C', "[{\"model\":\"m\",\"messages\":[]}]", REFUSED},
	/* Types, near misses and nesting. */
	{'A',
	 A ",\"tools\":[{\"type\":\"web_search_20990101\",\"name\":\"w\"}]}",
	 "web_search"},
	{'A', A ",\"tools\":[{\"type\":\"bash_evil\",\"name\":\"b\"}]}",
	 "unknown_tool:bash_evil"},
	{'A', A ",\"tools\":[{\"type\":[\"custom\"],\"name\":\"b\"}]}",
	 "unknown_tool:?"},
	{'A', A ",\"tools\":{\"type\":\"web_search_20250305\"}}", REFUSED},
	{'C', C ",\"tools\":[{\"type\":\"openrouter:web_search\"}]}",
	 "unknown_tool:openrouter:web_search"},
	{'C', C ",\"tools\":[{\"googleSearch\":{}}]}", REFUSED},
	{'R',
	 R ",\"tools\":[{\"type\":\"namespace\",\"name\":\"n\",\"tools\":"
	   "[{\"type\":\"web_search\"}]}]}",
	 "unknown_tool:web_search"},
	{'V',
	 V ",\"toolConfig\":{\"tools\":[{\"systemTool\":{\"name\":"
	   "\"nova_grounding\"}}]}}",
	 "web_search"},
	{'V',
	 V ",\"additionalModelRequestFields\":{\"tools\":[{\"type\":"
	   "\"web_search_20250305\",\"name\":\"w\"}]}}",
	 "web_search"},
	{'V', V ",\"additionalModelRequestFields\":{\"mcp_servers\":[{}]}}",
	 "mcp_servers"},
	{'V', V ",\"additionalModelRequestFields\":{\"models\":[\"x\"]}}",
	 "model_fallback"},
	{'V', V ",\"additionalModelRequestFields\":{\"messages\":[]}}",
	 REFUSED},
	{'V',
	 "{\"messages\":[{\"role\":\"user\",\"content\":[{\"video\":{"
	 "\"format\":"
	 "\"mp4\",\"source\":{\"s3Location\":{\"uri\":\"s3://x\"}}}}]}]}",
	 "s3_object"},
	{'V',
	 "{\"messages\":[{\"role\":\"user\",\"content\":[{\"toolResult\":"
	 "{\"content\":[{\"image\":{\"source\":{\"s3Location\":{}}}}]}}]}]}",
	 "s3_object"},
	/* Addresses that are nearly data. */
	{'C',
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{"
	 "\"type\":\"image_url\",\"image_url\":{\"url\":\" data:x\"}}]}]}",
	 "url_image"},
	{'C',
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{"
	 "\"type\":\"image_url\",\"image_url\":{\"url\":\"HTTP://x\"}}]}]}",
	 "url_image"},
	{'C',
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{"
	 "\"type\":\"image_url\",\"image_url\":{\"url\":\"//x/y\"}}]}]}",
	 "url_image"},
	{'C',
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{"
	 "\"type\":\"image_url\",\"image_url\":"
	 "\"data\\u003a,\"}]}]}",
	 "url_image"},
	{'C',
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"images\":[{"
	 "\"type\":\"image_url\",\"image_url\":{\"url\":\"http://x\"}}]}]}",
	 "url_image"},
	{'A',
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{"
	 "\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{"
	 "\"type\":"
	 "\"image\",\"source\":{\"type\":\"url\",\"url\":\"http://x\"}}]}]}]}",
	 "url_image"},
	{'A',
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{"
	 "\"type\":\"web_fetch_tool_result\",\"tool_use_id\":\"a\",\"content\":"
	 "{\"type\":\"web_fetch_result\",\"content\":{\"type\":\"document\","
	 "\"source\":{\"type\":\"url\",\"url\":\"http://x\"}}}}]}]}",
	 "url_document"},
	/* InvokeModel of another maker's model cannot be read here. */
	{'I', "{\"messages\":[],\"max_tokens\":9}", REFUSED},
	{'I', "{\"messages\":[],\"functions\":[{\"name\":\"x\"}]}", REFUSED},
	{'I', I ",\"models\":[\"x\"]}", "model_fallback"},
	/* A limit that hides how long the answer may be. */
	{'C', C ",\"n\":0}", REFUSED},
	{'C', C ",\"n\":\"128\"}", REFUSED},
	{'C', C ",\"n\":1e2}", REFUSED},
};

static const struct dialect_ops *ops_of(char c, enum route *ret_route)
{
	static const enum route routes[] = {ROUTE_MESSAGES, ROUTE_CHAT,
					    ROUTE_RESPONSES, ROUTE_CONVERSE,
					    ROUTE_INVOKE};
	static const char letters[] = "ACRVI";
	size_t i = (size_t)(strchr(letters, c) - letters);

	*ret_route = routes[i];
	return dialects[i];
}

static void inspect_to_text(char dialect, const char *body, char *ret_text,
			    size_t cap, uint64_t *ret_limit)
{
	enum route route;
	const struct dialect_ops *d = ops_of(dialect, &route);
	struct request_facts f;
	struct seen seen = {0};
	struct reader r, items;
	struct attr a;
	struct span one;
	enum err e;

	request_facts_init(&f);
	if (route == ROUTE_CONVERSE || route == ROUTE_INVOKE)
		(void)snprintf(f.model, sizeof(f.model), "m");
	ret_text[0] = '\0';
	e = d->inspect(route, span_text(body), &seen, &f);
	if (e != ERR_OK) {
		assert_true(f.error_text[0] != '\0');
		(void)snprintf(ret_text, cap, "%s", REFUSED);
	}
	reader_init(&r, buf_span(&f.features));
	while (e == ERR_OK && attrs_next(&r, &a)) {
		reader_init(&items, a.items);
		while (attrs_list_next(&items, &one))
			text_append(ret_text, cap, "%s%.*s",
				    ret_text[0] ? " " : "", (int)one.len_bytes,
				    (const char *)one.data);
	}
	*ret_limit = f.max_tokens;
	request_facts_fini(&f);
}

static void nothing_passes_unnamed(void **state)
{
	char text[1024];
	uint64_t limit;
	size_t i, failed = 0;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		inspect_to_text(table[i].dialect, table[i].body, text,
				sizeof(text), &limit);
		if (strcmp(text, table[i].expected) == 0)
			continue;
		print_error("%c %s\n  is \"%s\", not \"%s\"\n",
			    table[i].dialect, table[i].body, text,
			    table[i].expected);
		failed++;
	}
	assert_int_equal(failed, 0);
}

static void the_longest_answer_is_not_hidden(void **state)
{
	static const struct {
		char dialect;
		const char *body;
		uint64_t limit;
	} limits[] = {
		{'C', C ",\"max_tokens\":100}", 100},
		{'C', C ",\"max_tokens\":100,\"n\":4}", 400},
		{'C', C ",\"max_tokens\":10,\"max_completion_tokens\":100}",
		 100},
		{'C', C ",\"max_tokens\":1e5}", UINT32_MAX},
		{'C', C ",\"max_tokens\":\"100\"}", UINT32_MAX},
		{'C', C ",\"max_tokens\":4096.0}", UINT32_MAX},
		{'C', C ",\"max_tokens\":-1}", UINT32_MAX},
		{'C', C ",\"max_tokens\":18446744073709551617}", UINT32_MAX},
		{'R', R ",\"max_output_tokens\":1e9}", UINT32_MAX},
		{'V', V ",\"inferenceConfig\":{\"maxTokens\":7}}", 7},
		{'C', C ",\"max_tokens\":null}", 0},
	};
	char text[1024];
	uint64_t limit;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		inspect_to_text(limits[i].dialect, limits[i].body, text,
				sizeof(text), &limit);
		assert_string_equal(text, "");
		assert_int_equal(limit, limits[i].limit);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_passes_unnamed),
		cmocka_unit_test(the_longest_answer_is_not_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
