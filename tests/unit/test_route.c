/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_route.c - the request a provider gets, and nothing beside it
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "engine/base/digest.h"
#include "engine/providers/route.h"

#define TEXT(s) span_of(s, sizeof(s) - 1)

static struct route_target target_of(const char *kind)
{
	struct route_target t = {.kind = provider_find(span_text(kind))};

	assert_non_null(t.kind);
	return t;
}

static struct route_request build(const struct route_target *t,
				  enum route route,
				  const struct route_values *v)
{
	struct route_request r;

	assert_int_equal(route_build(t, route, v, &r), ERR_OK);
	return r;
}

static struct span header(const struct route_request *r, const char *name)
{
	size_t i;

	for (i = 0; i < r->header_count; i++)
		if (span_is(r->headers[i].name, name))
			return r->headers[i].value;
	return (struct span){0};
}

static void test_urls(void **state)
{
	struct route_values none = {0};
	struct route_target t = target_of("anthropic");
	struct route_request r = build(&t, ROUTE_MESSAGES, &none);

	(void)state;
	assert_string_equal(r.url, "https://api.anthropic.com/v1/messages");
	assert_string_equal(r.method, "POST");
	r = build(&t, ROUTE_COUNT_TOKENS, &none);
	assert_string_equal(
		r.url, "https://api.anthropic.com/v1/messages/count_tokens");
	r = build(&t, ROUTE_MODELS, &none);
	assert_string_equal(r.method, "GET");

	t = target_of("bedrock");
	t.region = TEXT("eu-central-1");
	r = build(&t, ROUTE_MESSAGES, &none);
	assert_string_equal(r.url, "https://bedrock-mantle.eu-central-1.api.aws"
				   "/anthropic/v1/messages");
	assert_int_equal(route_build(&t, ROUTE_MODELS, &none, &r),
			 ERR_UNSUPPORTED);
	assert_int_equal(route_build(&t, (enum route)99, &none, &r),
			 ERR_UNSUPPORTED);
	t.region = (struct span){0};
	assert_int_equal(route_build(&t, ROUTE_MESSAGES, &none, &r),
			 ERR_CONFIG);
	t.region = TEXT("evil.example/");
	assert_int_equal(route_build(&t, ROUTE_MESSAGES, &none, &r),
			 ERR_CONFIG);

	t = target_of("byo");
	assert_int_equal(route_build(&t, ROUTE_MESSAGES, &none, &r),
			 ERR_CONFIG);
	t.endpoint = TEXT("http://127.0.0.1:8080/x");
	assert_int_equal(route_build(&t, ROUTE_MESSAGES, &none, &r),
			 ERR_DENIED);
	t.plain_http = true;
	r = build(&t, ROUTE_MESSAGES, &none);
	assert_string_equal(r.url, "http://127.0.0.1:8080/x/v1/messages");

	/* the embedded provider cannot be pointed elsewhere */
	t = target_of("scripted");
	t.endpoint = TEXT("https://elsewhere.example");
	r = build(&t, ROUTE_MESSAGES, &none);
	assert_string_equal(r.url, "http://kenaz-scripted/v1/messages");
}

static void test_headers(void **state)
{
	const struct route_header given[] = {
		{TEXT("Anthropic-Beta"), TEXT("a,b")},
		{TEXT("X-Api-Key"), TEXT("guest")},
		{TEXT("Authorization"), TEXT("Bearer guest")},
		{TEXT("Host"), TEXT("elsewhere")},
		{TEXT("Content-Type"), TEXT("text/evil")},
		{TEXT("accept"), TEXT("text/event-stream")},
	};
	struct route_values v = {.headers = given,
				 .header_count = ARRAY_SIZE(given)};
	struct route_target t = target_of("anthropic");
	struct route_request r = build(&t, ROUTE_MESSAGES, &v);

	(void)state;
	assert_int_equal(r.header_count, 6);
	assert_true(span_is(header(&r, "anthropic-beta"), "a,b"));
	assert_true(span_is(header(&r, "accept"), "text/event-stream"));
	assert_true(span_is(header(&r, "content-type"), "application/json"));
	assert_true(span_is(header(&r, "anthropic-version"), "2023-06-01"));
	assert_int_equal(header(&r, "x-api-key").len_bytes, 0);
	assert_int_equal(header(&r, "authorization").len_bytes, 0);
	assert_int_equal(header(&r, "host").len_bytes, 0);
}

static void test_header_rejections(void **state)
{
	static char big[ROUTE_HEADER_VALUE_MAX_BYTES + 1];
	struct route_target t = target_of("anthropic");
	struct route_header h[2] = {{TEXT("anthropic-beta"), TEXT("a")},
				    {TEXT("ANTHROPIC-BETA"), TEXT("b")}};
	struct route_values v = {.headers = h, .header_count = 2};
	const struct span bad[] = {TEXT("a\r\nx: y"), TEXT("a\nb"),
				   TEXT("a\0b"),      TEXT("\x80"),
				   TEXT(" a"),        TEXT("a "),
				   TEXT("\x7f"),      TEXT("")};
	struct route_request r;
	size_t i;

	(void)state;
	assert_int_equal(route_build(&t, ROUTE_MESSAGES, &v, &r), ERR_EXISTS);
	v.header_count = 1;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		h[0].value = bad[i];
		assert_int_equal(route_build(&t, ROUTE_MESSAGES, &v, &r),
				 ERR_FORMAT);
	}
	memset(big, 'a', sizeof(big));
	h[0].value = span_of(big, sizeof(big));
	assert_int_equal(route_build(&t, ROUTE_MESSAGES, &v, &r), ERR_LIMIT);
}

static void test_query(void **state)
{
	struct route_target t = target_of("anthropic");
	struct route_values v = {.query = TEXT("beta=true&x=1&limit=5")};
	struct route_request r = build(&t, ROUTE_MESSAGES, &v);
	const struct span bad[] = {TEXT("beta="),    TEXT("beta"),
				   TEXT("beta=a b"), TEXT("beta=%2e"),
				   TEXT("beta=a#b"), TEXT("beta=a?b")};
	size_t i;

	(void)state;
	assert_string_equal(r.url + r.query_at, "?beta=true");
	r = build(&t, ROUTE_MODELS, &v);
	assert_string_equal(r.url + r.query_at, "?beta=true&limit=5");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		v.query = bad[i];
		assert_int_equal(route_build(&t, ROUTE_MESSAGES, &v, &r),
				 ERR_FORMAT);
	}
}

static void test_model_in_path(void **state)
{
	static const char *const no_queries[] = {NULL};
	static const struct provider_route row = {
		.route = ROUTE_MESSAGES,
		.dialect = DIALECT_ANTHROPIC,
		.method = "POST",
		.path = "/model/{model}/invoke",
		.has_body = true,
		.queries = no_queries,
	};
	static const struct provider_kind kind = {
		.name = "x",
		.endpoint = "https://x.example",
		.routes = &row,
		.route_count = 1,
	};
	struct route_target t = {.kind = &kind};
	struct route_values v = {.model = TEXT("arn:aws:b/m:0")};
	struct route_request r = build(&t, ROUTE_MESSAGES, &v);
	const struct span bad[] = {TEXT(""),     TEXT("a b"),  TEXT("a?b"),
				   TEXT("a\nb"), TEXT("a%2f"), TEXT(".."),
				   TEXT(".")};
	size_t i;

	(void)state;
	assert_string_equal(
		r.url, "https://x.example/model/arn%3Aaws%3Ab%2Fm%3A0/invoke");
	v.model = TEXT("../x");
	r = build(&t, ROUTE_MESSAGES, &v);
	assert_string_equal(r.url, "https://x.example/model/..%2Fx/invoke");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		v.model = bad[i];
		assert_int_equal(route_build(&t, ROUTE_MESSAGES, &v, &r),
				 ERR_FORMAT);
	}
}

static void test_endpoints(void **state)
{
	static const char *const good[] = {
		"https://a.example",      "https://a.example:8443",
		"https://10.0.0.1/v1/x",  "https://[::1]:8443/x",
		"https://a-b.example/~x", "https://[fd00::1]",
	};
	static const char *const bad[] = {
		"",
		"a.example",
		"ftp://a.example",
		"https://",
		"https:///x",
		"https://user@a.example",
		"https://a.example/",
		"https://a.example?x",
		"https://a.example/x?y",
		"https://a.example#x",
		"https://a.example:0",
		"https://a.example:65536",
		"https://a.example:",
		"https://.a",
		"https://-a",
		"https://a.example//x",
		"https://a.example/../x",
		"https://a.example/./x",
		"https://[::1",
		"https://[]",
		"https://[::1]x",
		"https://a example",
		"https://{region}.example",
		"HTTPS://a.example",
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(route_check_endpoint(span_text(good[i]), 0),
				 ERR_OK);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(route_check_endpoint(span_text(bad[i]), 1),
				 ERR_FORMAT);
	assert_int_equal(route_check_endpoint(TEXT("http://a.example"), false),
			 ERR_DENIED);
	assert_int_equal(route_check_endpoint(TEXT("http://a.example"), true),
			 ERR_OK);
}

static void test_digest_covers_everything(void **state)
{
	const struct route_header beta = {TEXT("anthropic-beta"), TEXT("a")};
	struct route_target t = target_of("anthropic");
	struct route_values v = {0};
	struct route_request r[5];
	uint8_t d[5][DIGEST_BYTES];
	size_t i, k;

	(void)state;
	r[0] = build(&t, ROUTE_MESSAGES, &v);
	r[1] = build(&t, ROUTE_COUNT_TOKENS, &v);
	r[2] = build(&t, ROUTE_MODELS, &v);
	v.query = TEXT("beta=true");
	r[3] = build(&t, ROUTE_MESSAGES, &v);
	v.query = (struct span){0};
	v.headers = &beta;
	v.header_count = 1;
	r[4] = build(&t, ROUTE_MESSAGES, &v);
	for (i = 0; i < 5; i++)
		assert_int_equal(route_header_digest(&r[i], d[i]), ERR_OK);
	for (i = 0; i < 5; i++)
		for (k = i + 1; k < 5; k++)
			assert_memory_not_equal(d[i], d[k], sizeof(d[i]));
}

static void test_canonical(void **state)
{
	struct route_target t = target_of("anthropic");
	struct route_values v = {.query = TEXT("beta=true")};
	struct route_request r = build(&t, ROUTE_MESSAGES, &v);
	struct buf out;

	(void)state;
	buf_init(&out, ROUTE_CANONICAL_MAX_BYTES);
	assert_int_equal(route_canonical(&r, &out), ERR_OK);
	assert_true(span_is(buf_span(&out),
			    "kenaz-request-v1\n"
			    "POST\n"
			    "https://api.anthropic.com/v1/messages\n"
			    "beta=true\n"
			    "accept: application/json\n"
			    "accept-encoding: identity\n"
			    "anthropic-version: 2023-06-01\n"
			    "content-type: application/json\n"
			    "user-agent: kenaz\n"));
	buf_fini(&out);
}

static void test_tables(void **state)
{
	const struct provider_kind *kind;
	size_t i, k, h;

	(void)state;
	for (i = 0; (kind = provider_at(i)) != NULL; i++) {
		assert_ptr_equal(provider_find(span_text(kind->name)), kind);
		assert_true(kind->auth == PROVIDER_AUTH_NONE ||
			    kind->auth_header);
		for (k = 0; k < kind->route_count; k++) {
			const struct provider_route *row = &kind->routes[k];

			assert_true(row->header_count <= ROUTE_HEADERS_MAX);
			for (h = 0; h < row->header_count; h++) {
				assert_false(kind->auth_header &&
					     !strcmp(row->headers[h].name,
						     kind->auth_header));
				assert_false(row->headers[h].fixed &&
					     !row->headers[h].fallback);
				assert_true(h == 0 ||
					    strcmp(row->headers[h - 1].name,
						   row->headers[h].name) < 0);
			}
		}
	}
	assert_null(provider_find(TEXT("nobody")));
}

static void test_models(void **state)
{
	const struct provider_kind *kind = provider_find(TEXT("anthropic"));
	const struct provider_kind *aws = provider_find(TEXT("bedrock"));

	(void)state;
	assert_string_equal(
		provider_model(kind, TEXT("claude-opus-4-20250514"))->name,
		"claude-opus-4");
	assert_string_equal(
		provider_model(kind, TEXT("claude-opus-4-1-20250805"))->name,
		"claude-opus-4-1");
	assert_string_equal(
		provider_model(aws, TEXT("anthropic.claude-sonnet-4-5-20250929"
					 "-v1:0"))
			->name,
		"anthropic.claude-sonnet-4-5");
	assert_null(provider_model(kind, TEXT("claude-opus-4-99")));
	assert_null(provider_model(kind, TEXT("claude-opus")));
	assert_null(provider_model(kind, TEXT("")));
}

static void test_response_headers(void **state)
{
	const struct provider_kind *kind = provider_find(TEXT("anthropic"));

	(void)state;
	assert_true(provider_forwards_response(kind, TEXT("Content-Type")));
	assert_true(provider_forwards_response(
		kind, TEXT("Anthropic-RateLimit-Tokens-Reset")));
	assert_false(provider_forwards_response(kind, TEXT("set-cookie")));
	assert_false(provider_forwards_response(kind, TEXT("location")));
	assert_false(provider_forwards_response(kind, TEXT("anthropic-x")));
	assert_false(provider_forwards_response(kind, TEXT("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_header_rejections),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_model_in_path),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_digest_covers_everything),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_models),
		cmocka_unit_test(test_response_headers),
	};

	if (digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
