/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_head.c - request lines and headers: routes and refusals
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/http_head.h"
#include "engine/proto/attrs.h"
#include "engine/proto/msg.h"

static const char *const forwarded[] = {"anthropic-version", "anthropic-beta",
					NULL};

/* Headers as "name: value\n" lines. */
static struct http_head check(const char *method, const char *lines)
{
	struct http_head h;

	http_head_init(&h);
	while (*lines) {
		size_t line = strcspn(lines, "\n");
		size_t name = strcspn(lines, ":");

		http_head_add(&h, span_of(lines, name),
			      span_of(lines + name + 1, line - name - 1),
			      forwarded);
		lines += line + (lines[line] == '\n');
	}
	http_head_finish(&h, method);
	return h;
}

static void refuses_each_bad_header(void **state)
{
	static const struct {
		const char *method, *lines;
		unsigned status;
		const char *text;
	} rows[] = {
		{"POST", "Content-Length: 5\nHost: whatever", 0, NULL},
		{"POST", "Transfer-Encoding: Chunked", 0, NULL},
		{"GET", "Content-Length: 0", 0, NULL},
		{"POST", "Content-Length: 5\nContent-Length: 5", 400,
		 "Content-Length is given twice"},
		{"POST", "Content-Length: 5\ncontent-length: 6", 400,
		 "Content-Length is given twice"},
		{"POST", "Content-Length: 5, 5", 400,
		 "Content-Length is not a plain number"},
		{"POST", "Content-Length: +5", 400,
		 "Content-Length is not a plain number"},
		{"POST", "Content-Length: 0x5", 400,
		 "Content-Length is not a plain number"},
		{"POST", "Content-Length:", 400,
		 "Content-Length is not a plain number"},
		{"POST", "Content-Length: 99999999999999999999", 400,
		 "Content-Length is not a plain number"},
		{"POST", "Content-Length: 33554433", 413,
		 "the body is larger than 32 MiB"},
		{"POST", "Content-Length: 33554432", 0, NULL},
		{"POST", "Content-Length: 5\nTransfer-Encoding: chunked", 400,
		 "Content-Length and Transfer-Encoding contradict each other"},
		{"POST", "Transfer-Encoding: chunked\nTransfer-Encoding: x",
		 400, "Transfer-Encoding is given twice"},
		{"POST", "Transfer-Encoding: gzip, chunked", 501,
		 "Transfer-Encoding is not chunked"},
		{"POST", "Transfer-Encoding: identity", 501,
		 "Transfer-Encoding is not chunked"},
		{"POST", "Content-Encoding: gzip", 415,
		 "a compressed body cannot be judged"},
		{"POST", "Content-Encoding: identity", 0, NULL},
		{"POST", "Expect: 100-continue", 0, NULL},
		{"POST", "Expect: magic", 417, "an unknown expectation"},
		{"POST", "Content-Length : 5", 400, "a malformed header"},
		{"POST", ": x", 400, "a malformed header"},
		{"POST", "A\x01: x", 400, "a malformed header"},
		{"POST", "A: x\ry", 400, "a malformed header"},
		{"POST", "A: x\x7f", 400, "a malformed header"},
		{"GET", "Content-Length: 1", 400, "a body where none belongs"},
		{"HEAD", "Transfer-Encoding: chunked", 400,
		 "a body where none belongs"},
		{"POST", "anthropic-beta: \xff", 400,
		 "a forwarded header is not valid UTF-8"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_head h = check(rows[i].method, rows[i].lines);

		if (h.refusal.status != rows[i].status ||
		    (rows[i].text && strcmp(h.refusal.text, rows[i].text) != 0))
			fail_msg("%s: %u %s", rows[i].lines, h.refusal.status,
				 h.refusal.text);
		http_head_fini(&h);
	}
}

static void refuses_too_many_and_too_long(void **state)
{
	static char big[HTTP_HEADERS_MAX_BYTES + 8];
	struct http_head h;
	unsigned i;

	(void)state;
	http_head_init(&h);
	for (i = 0; i < HTTP_HEADERS_MAX; i++)
		http_head_add(&h, span_text("a"), span_text("b"), NULL);
	assert_int_equal(h.refusal.status, 0);
	http_head_add(&h, span_text("a"), span_text("b"), NULL);
	assert_int_equal(h.refusal.status, 431);
	http_head_fini(&h);
	memset(big, 'x', sizeof(big) - 1);
	http_head_init(&h);
	http_head_add(&h, span_text("a"), span_text(big), NULL);
	assert_int_equal(h.refusal.status, 431);
	http_head_fini(&h);
	http_head_init(&h);
	big[HTTP_FORWARDED_MAX_BYTES] = '\0';
	http_head_add(&h, span_text("anthropic-beta"), span_text(big),
		      forwarded);
	assert_int_equal(h.refusal.status, 431);
	http_head_fini(&h);
}

static void collects_what_is_forwarded(void **state)
{
	struct http_head h =
		check("POST", "Anthropic-Version: 2023-06-01\n"
			      "X-Api-Key: dummy\nanthropic-beta:  a,b \n"
			      "ANTHROPIC-BETA: c\nUser-Agent: cli/1 \x1b[2J");
	struct reader r;
	struct attr a;

	(void)state;
	if (h.refusal.status)
		assert_string_equal(h.refusal.text, "a malformed header");
	reader_init(&r, buf_span(&h.forwarded));
	assert_true(attrs_next(&r, &a));
	assert_true(span_is(a.key, "anthropic-version"));
	assert_true(span_is(a.text, "2023-06-01"));
	assert_true(attrs_next(&r, &a));
	assert_true(span_is(a.key, "anthropic-beta"));
	assert_true(span_is(a.text, "a,b"));
	assert_true(attrs_next(&r, &a));
	assert_true(span_is(a.text, "c"));
	assert_false(attrs_next(&r, &a));
	assert_string_equal(h.agent, "");
	http_head_fini(&h);
}

static void finds_routes_by_exact_path(void **state)
{
	static const struct {
		const char *method, *uri;
		unsigned status;
		enum http_action action;
		unsigned route;
	} rows[] = {
		{"POST", "/v1/messages", 0, HTTP_INFER, ROUTE_MESSAGES},
		{"POST", "/v1/messages?beta=true", 0, HTTP_INFER,
		 ROUTE_MESSAGES},
		{"POST", "/v1/messages/count_tokens?beta=true", 0, HTTP_INFER,
		 ROUTE_COUNT_TOKENS},
		{"POST", "/v1/responses/input_tokens", 0, HTTP_INFER,
		 ROUTE_RESPONSES_COUNT},
		{"POST", "/responses/input_tokens", 0, HTTP_INFER,
		 ROUTE_RESPONSES_COUNT},
		{"POST", "/v1/chat/completions", 0, HTTP_INFER, ROUTE_CHAT},
		{"POST", "/chat/completions", 0, HTTP_INFER, ROUTE_CHAT},
		{"GET", "/v1/chat/completions", 405, HTTP_NONE, 0},
		{"GET", "/v1/models?limit=1000", 0, HTTP_INFER, ROUTE_MODELS},
		{"GET", "/models", 0, HTTP_INFER, ROUTE_MODELS},
		{"HEAD", "/", 0, HTTP_INDEX, 0},
		{"GET", "/", 0, HTTP_INDEX, 0},
		{"POST", "/kenaz/v1/announce", 0, HTTP_ANNOUNCE, 0},
		{"GET", "/v1/messages", 405, HTTP_NONE, 0},
		{"POST", "/", 405, HTTP_NONE, 0},
		{"get", "/", 405, HTTP_NONE, 0},
		{"POST", "/v1/messages/", 404, HTTP_NONE, 0},
		{"POST", "/v1//messages", 404, HTTP_NONE, 0},
		{"POST", "/v1%2Fmessages", 404, HTTP_NONE, 0},
		{"POST", "/v1/x/../messages", 404, HTTP_NONE, 0},
		{"POST", "http://host/v1/messages", 404, HTTP_NONE, 0},
		{"POST", "/v1/complete", 404, HTTP_NONE, 0},
		{"CONNECT", "example.com:443", 405, HTTP_NONE, 0},
		{"POST", "/v1/messages?a=\"", 400, HTTP_NONE, 0},
		{"POST", "/v1/messages?a=\xc3\xa9", 400, HTTP_NONE, 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_target t = {.action = HTTP_NONE};
		struct http_refusal r =
			http_head_target(rows[i].method, rows[i].uri, &t);

		if (r.status != rows[i].status || t.action != rows[i].action ||
		    t.route != rows[i].route)
			fail_msg("%s %s: %u", rows[i].method, rows[i].uri,
				 r.status);
	}
}

static void finds_the_model_in_the_path(void **state)
{
#define ARN "arn:aws:bedrock:us-east-1:123456789012:inference-profile"
	static const struct {
		const char *uri;
		unsigned route, dialect;
		const char *model; /* decoded; NULL: malformed */
	} rows[] = {
		{"/model/anthropic.claude-v2%3A1/invoke", ROUTE_INVOKE,
		 DIALECT_INVOKE, "anthropic.claude-v2:1"},
		{"/model/anthropic.claude-v2:1/invoke-with-response-stream",
		 ROUTE_INVOKE_STREAM, DIALECT_INVOKE, "anthropic.claude-v2:1"},
		{"/model/amazon.nova-pro-v1%3a0/converse", ROUTE_CONVERSE,
		 DIALECT_CONVERSE, "amazon.nova-pro-v1:0"},
		{"/model/" ARN "%2Fus.x/converse-stream", ROUTE_CONVERSE_STREAM,
		 DIALECT_CONVERSE, ARN "/us.x"},
		{"/model/" ARN "/us.x/converse-stream", ROUTE_CONVERSE_STREAM,
		 DIALECT_CONVERSE, ARN "/us.x"},
		{"/model/m/count-tokens", ROUTE_BEDROCK_COUNT, DIALECT_INVOKE,
		 "m"},
		{"/model/m%/invoke", ROUTE_INVOKE, DIALECT_INVOKE, NULL},
		{"/model/m%4/invoke", ROUTE_INVOKE, DIALECT_INVOKE, NULL},
		{"/model/m%zz/invoke", ROUTE_INVOKE, DIALECT_INVOKE, NULL},
		{"/model/m%00/invoke", ROUTE_INVOKE, DIALECT_INVOKE, NULL},
		{"/model/m%0a/invoke", ROUTE_INVOKE, DIALECT_INVOKE, NULL},
		{"/model/m%20n/invoke", ROUTE_INVOKE, DIALECT_INVOKE, NULL},
		{"/model/m%ff/invoke", ROUTE_INVOKE, DIALECT_INVOKE, NULL},
	};
#undef ARN
	char model[256];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_target t = {.action = HTTP_NONE};
		enum err e;

		assert_int_equal(
			http_head_target("POST", rows[i].uri, &t).status, 0);
		assert_int_equal(t.route, rows[i].route);
		assert_int_equal(t.dialect, rows[i].dialect);
		e = http_head_model(t.model, model, sizeof(model));
		assert_int_equal(e, rows[i].model ? ERR_OK : ERR_FORMAT);
		if (rows[i].model)
			assert_string_equal(model, rows[i].model);
	}
	assert_int_equal(http_head_model(span_text("abcd"), model, 4),
			 ERR_LIMIT);
}

/* What is refused there is refused as AWS would. */
static void knows_the_paths_of_bedrock(void **state)
{
	static const struct {
		const char *method, *uri;
		unsigned status, dialect;
	} rows[] = {
		{"GET", "/inference-profiles", 404, DIALECT_CONVERSE},
		{"GET", "/inference-profiles?maxResults=9", 404,
		 DIALECT_CONVERSE},
		{"GET", "/model/m/converse", 405, DIALECT_CONVERSE},
		{"POST", "/model/m/apply", 404, DIALECT_CONVERSE},
		{"POST", "/model//invoke", 404, DIALECT_CONVERSE},
		{"POST", "/model/invoke", 404, DIALECT_CONVERSE},
		{"POST", "/model/", 404, DIALECT_NONE},
		{"POST", "/models/m/invoke", 404, DIALECT_NONE},
		{"POST", "/model/m/invoke?a=b", 400, DIALECT_INVOKE},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_target t = {.dialect = DIALECT_NONE};
		struct http_refusal r =
			http_head_target(rows[i].method, rows[i].uri, &t);

		if (r.status != rows[i].status || t.dialect != rows[i].dialect)
			fail_msg("%s %s: %u", rows[i].method, rows[i].uri,
				 r.status);
	}
}

static void keeps_the_query_as_it_is(void **state)
{
	struct http_target t;
	static char uri[HTTP_QUERY_MAX_BYTES + 32];

	(void)state;
	assert_int_equal(
		http_head_target("POST", "/v1/messages?a=%2F&b", &t).status, 0);
	assert_true(span_is(t.query, "a=%2F&b"));
	memset(uri, 'a', sizeof(uri) - 1);
	memcpy(uri, "/v1/messages?", 13);
	assert_int_equal(http_head_target("POST", uri, &t).status, 400);
}

static void returns_only_listed_headers(void **state)
{
	(void)state;
	assert_true(http_head_may_return(span_text("Content-Type"), true));
	assert_true(http_head_may_return(span_text("request-id"), true));
	assert_true(http_head_may_return(
		span_text("anthropic-ratelimit-tokens-reset"), true));
	assert_true(
		http_head_may_return(span_text("x-ratelimit-remaining-tokens"),
				     true));
	assert_false(http_head_may_return(span_text("x-ratelimit-"), true));
	assert_false(http_head_may_return(span_text("request-id"), false));
	assert_false(
		http_head_may_return(span_text("anthropic-ratelimit-"), true));
	assert_false(http_head_may_return(span_text("set-cookie"), true));
	assert_false(http_head_may_return(span_text("x-api-key"), true));
	assert_false(http_head_may_return(span_text("content-length"), true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_each_bad_header),
		cmocka_unit_test(refuses_too_many_and_too_long),
		cmocka_unit_test(collects_what_is_forwarded),
		cmocka_unit_test(finds_routes_by_exact_path),
		cmocka_unit_test(finds_the_model_in_the_path),
		cmocka_unit_test(knows_the_paths_of_bedrock),
		cmocka_unit_test(keeps_the_query_as_it_is),
		cmocka_unit_test(returns_only_listed_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
