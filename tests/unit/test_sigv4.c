/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_sigv4.c - signatures as an independent implementation makes them
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <sodium.h>

#include "engine/broker/sigv4.h"

#define CASE_HEADERS_MAX 6

struct sigv4_case {
	const char *name, *method, *path, *query, *body;
	const char *region, *service, *token;
	struct {
		const char *name, *value;
	} headers[CASE_HEADERS_MAX];
	size_t header_count;
	const char *authorization;
};

#include "tests/unit/sigv4_cases.h"

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct sigv4_case *c = &cases[i];
		struct route_header headers[CASE_HEADERS_MAX];
		struct aws_key key = {span_text(CASE_ID),
				      span_text(CASE_SECRET),
				      span_text(c->token), 0};
		struct sigv4_request q = {
			.method = c->method,
			.path = span_text(c->path),
			.query = span_text(c->query),
			.headers = headers,
			.header_count = c->header_count,
			.region = span_text(c->region),
			.service = span_text(c->service),
			.now_wall_s = CASE_WALL_S,
		};
		struct sigv4_signature s;

		for (size_t h = 0; h < c->header_count; h++)
			headers[h] = (struct route_header){
				span_text(c->headers[h].name),
				span_text(c->headers[h].value)};
		digest_sha256(span_text(c->body), q.body_digest);
		assert_int_equal(sigv4_sign(&q, &key, &s), ERR_OK);
		assert_string_equal(s.date, CASE_DATE);
		if (strcmp(s.authorization, c->authorization) != 0)
			fail_msg("%s:\n%s\n%s", c->name, s.authorization,
				 c->authorization);
	}
}

static void test_limits(void **state)
{
	struct aws_key key = {span_text(CASE_ID),
			      span_text(CASE_SECRET),
			      {0},
			      0};
	struct route_header many[SIGV4_HEADERS_MAX];
	struct sigv4_request q = {.method = "GET",
				  .path = span_text("/"),
				  .region = span_text("r"),
				  .service = span_text("s"),
				  .headers = many};
	char query[4 * SIGV4_PARAMETERS_MAX + 8] = "";
	struct sigv4_signature s;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct route_header){span_text("h"), span_text("v")};
	q.header_count = SIGV4_HEADERS_MAX - 1;
	assert_int_equal(sigv4_sign(&q, &key, &s), ERR_OK);
	q.header_count = SIGV4_HEADERS_MAX;
	assert_int_equal(sigv4_sign(&q, &key, &s), ERR_LIMIT);
	q.header_count = 0;
	for (size_t i = 0; i <= SIGV4_PARAMETERS_MAX; i++)
		memcpy(query + 4 * i, "a=b&", 4);
	q.query = span_of(query, 4 * (size_t)SIGV4_PARAMETERS_MAX - 1);
	assert_int_equal(sigv4_sign(&q, &key, &s), ERR_OK);
	q.query = span_of(query, 4 * (size_t)SIGV4_PARAMETERS_MAX + 3);
	assert_int_equal(sigv4_sign(&q, &key, &s), ERR_LIMIT);
	q.query = (struct span){0};
	q.now_wall_s = INT64_C(999999999999);
	assert_int_equal(sigv4_sign(&q, &key, &s), ERR_RANGE);
	/* nothing of a name that is too long is cut off in silence */
	q.now_wall_s = CASE_WALL_S;
	q.region = span_of(query, sizeof(query));
	assert_int_equal(sigv4_sign(&q, &key, &s), ERR_LIMIT);
}

static void test_credentials(void **state)
{
	static const char long_term[] = CASE_ID ":" CASE_SECRET;
	static const char session[] = CASE_ID ":" CASE_SECRET ":to/ken+=";
	static const char ending[] =
		CASE_ID ":" CASE_SECRET ":to/ken+=:expires=1769860800";
	static const char *const bad[] = {
		"",
		":",
		"::",
		CASE_ID,
		CASE_ID ":",
		":" CASE_SECRET,
		"short:" CASE_SECRET,
		CASE_ID ":short",
		CASE_ID ":" CASE_SECRET ":",
		CASE_ID ":" CASE_SECRET ":token:more",
		CASE_ID " :" CASE_SECRET,
		CASE_ID ": " CASE_SECRET,
		CASE_ID ":" CASE_SECRET "\n",
		CASE_ID "\n:" CASE_SECRET,
		CASE_ID ":" CASE_SECRET ":to ken",
		"AKID-EXAMPLE00000000:" CASE_SECRET,
		CASE_ID ":wJalrXUtnFEMI,K7MDENG+bPxRfiCYEXAMPLEKEY",
		CASE_ID ":" CASE_SECRET ":to/ken:1769860800",
		CASE_ID ":" CASE_SECRET ":to/ken:expires=",
		CASE_ID ":" CASE_SECRET ":to/ken:expires=0",
		CASE_ID ":" CASE_SECRET ":to/ken:expires=1x",
		CASE_ID ":" CASE_SECRET ":to/ken:expires=999999999999",
		CASE_ID ":" CASE_SECRET "::expires=1769860800",
		CASE_ID ":" CASE_SECRET ":to/ken:expires=1:x",
		"{\"AccessKeyId\":\"" CASE_ID "\"}",
	};
	struct aws_key key;

	(void)state;
	assert_int_equal(aws_key_parse(span_text(long_term), &key), ERR_OK);
	assert_true(span_is(key.id, CASE_ID));
	assert_true(span_is(key.secret, CASE_SECRET));
	assert_int_equal(key.token.len_bytes, 0);
	assert_int_equal(aws_key_parse(span_text(session), &key), ERR_OK);
	assert_true(span_is(key.token, "to/ken+="));
	assert_int_equal(key.expires_wall_s, 0);
	assert_int_equal(aws_key_parse(span_text(ending), &key), ERR_OK);
	assert_true(span_is(key.token, "to/ken+="));
	assert_int_equal(key.expires_wall_s, 1769860800);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(aws_key_parse(span_text(bad[i]), &key),
				 ERR_FORMAT);
	assert_int_equal(aws_key_parse(span_of(session, 5), &key), ERR_FORMAT);
	/* a NUL is no character of any part */
	assert_int_equal(aws_key_parse(span_of(long_term, sizeof(long_term)),
				       &key),
			 ERR_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_credentials),
	};

	if (digest_init() != ERR_OK || sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
