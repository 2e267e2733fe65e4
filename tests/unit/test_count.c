/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_count.c - counts of tokens, asked in one dialect or another
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/base/text.h"
#include "engine/gate/count.h"
#include "engine/gate/request_translate.h"
#include "tests/lib/bedrock_frames.h"

#define CLAUDE "{\"messages\":[{\"role\":\"user\",\"content\":\"hi there\"}],"
#define SYSTEM "\"system\":\"be brief\""
#define STEER                                                         \
	"\"stop_sequences\":[\"x\"],\"temperature\":0.5,\"top_k\":3," \
	"\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":"      \
	"\"object\"}}],\"thinking\":{\"type\":\"enabled\","           \
	"\"budget_tokens\":2048}"

/* The same prompt in the words of each dialect that counts. */
static const struct {
	enum dialect dialect;
	enum route route;
	const char *body; /* InvokeModel's: what is wrapped */
	const char *answer;
} sides[] = {
	{DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS,
	 CLAUDE "\"model\":\"m\"," SYSTEM "," STEER "}",
	 "{\"input_tokens\":14}"},
	{DIALECT_RESPONSES, ROUTE_RESPONSES_COUNT,
	 "{\"model\":\"m\",\"input\":\"hi there\",\"instructions\":"
	 "\"be brief\",\"tools\":[{\"type\":\"function\",\"name\":\"f\","
	 "\"parameters\":{\"type\":\"object\"}}]}",
	 "{\"object\":\"response.input_tokens\",\"input_tokens\":14}"},
	{DIALECT_INVOKE, ROUTE_BEDROCK_COUNT,
	 CLAUDE SYSTEM ",\"anthropic_version\":\"bedrock-2023-05-31\","
		       "\"max_tokens\":9}",
	 "{\"inputTokens\":14}"},
	{DIALECT_CONVERSE, ROUTE_BEDROCK_COUNT,
	 "{\"input\":{\"converse\":{\"messages\":[{\"role\":\"user\","
	 "\"content\":[{\"text\":\"hi there\"}]}],\"system\":[{\"text\":"
	 "\"be brief\"}]}}}",
	 "{\"inputTokens\":14}"},
};

static void body_of(size_t side, struct buf *out)
{
	buf_init(out, 65536);
	if (sides[side].dialect != DIALECT_INVOKE) {
		assert_int_equal(buf_put_text(out, sides[side].body), ERR_OK);
		return;
	}
	assert_int_equal(
		buf_put_text(out, "{\"input\":{\"invokeModel\":{\"body\":\""),
		ERR_OK);
	assert_int_equal(text_base64(span_text(sides[side].body), out), ERR_OK);
	assert_int_equal(buf_put_text(out, "\"}}}"), ERR_OK);
}

static enum err translate(size_t from, size_t to, struct buf *out, char *why)
{
	const struct dialect_target t = {.route = sides[to].route,
					 .model = span_text("wire-model"),
					 .stream = true};
	struct request_translation result;
	struct buf body;
	enum err e;

	body_of(from, &body);
	buf_init(out, 65536);
	request_translation_init(&result);
	e = request_translate(dialect_find(sides[from].dialect),
			      sides[from].route, buf_span(&body),
			      dialect_find(sides[to].dialect), &t, out,
			      &result);
	if (why)
		(void)snprintf(why, 256, "%s", result.error_text);
	request_translation_fini(&result);
	buf_fini(&body);
	return e;
}

/* Names of members that a counting route knows. */
static void check_members(const struct json *j, const char *known)
{
	struct buf key;

	JSON_EACH (j, at, JSON_ROOT) {
		char word[64];
		const char *text;

		buf_init(&key, 64);
		assert_int_equal(json_key(j, at, &key), ERR_OK);
		assert_int_equal(buf_terminate(&key, &text), ERR_OK);
		(void)snprintf(word, sizeof(word), " %s ", text);
		if (!strstr(known, word))
			fail_msg("%s is no member of a count", text);
		buf_fini(&key);
	}
}

static void check_wire(size_t to, const struct buf *body)
{
	static const char *const known[] = {
		" model messages system tools tool_choice thinking "
		"output_config ",
		" model input instructions tools tool_choice "
		"parallel_tool_calls reasoning text ",
		" input ",
		" input ",
	};
	const struct json_limits limits = {.max_tokens = 4096};
	struct buf inner;
	struct json j;
	json_ref at;

	assert_true(sides[to].dialect == DIALECT_INVOKE ||
		    bedrock_test_has(body, "hi there"));
	json_init(&j);
	assert_int_equal(json_parse(&j, buf_span(body), &limits), ERR_OK);
	check_members(&j, known[to]);
	if (sides[to].dialect == DIALECT_INVOKE) {
		char text[4096];

		at = json_find(&j, JSON_ROOT, "input.invokeModel.body");
		assert_int_equal(json_text(&j, at, text, sizeof(text)), ERR_OK);
		buf_init(&inner, 4096);
		assert_int_equal(text_unbase64(span_text(text), &inner),
				 ERR_OK);
		assert_true(bedrock_test_has(&inner, "hi there"));
		assert_true(bedrock_test_has(&inner, "max_tokens"));
		assert_true(bedrock_test_has(&inner, "bedrock-2023-05-31"));
		assert_false(bedrock_test_has(&inner, "wire-model"));
		buf_fini(&inner);
	} else if (sides[to].dialect == DIALECT_CONVERSE) {
		at = json_find(&j, JSON_ROOT, "input.converse.messages");
		assert_true(json_is(&j, at, JSON_ARRAY));
		assert_false(bedrock_test_has(body, "inferenceConfig"));
	} else {
		at = json_get(&j, JSON_ROOT, "model");
		assert_true(json_string_is(&j, at, "wire-model"));
	}
	json_fini(&j);
}

static void test_every_pair(void **state)
{
	struct buf out;
	char why[256];

	(void)state;
	for (size_t from = 0; from < ARRAY_SIZE(sides); from++)
		for (size_t to = 0; to < ARRAY_SIZE(sides); to++) {
			if (from == to)
				continue;
			if (translate(from, to, &out, why) != ERR_OK)
				fail_msg("%zu to %zu: %s", from, to, why);
			check_wire(to, &out);
			buf_fini(&out);
		}
}

static void test_answers(void **state)
{
	static const size_t chunks[] = {1, 7, 65536};

	(void)state;
	for (size_t from = 0; from < ARRAY_SIZE(sides); from++)
		for (size_t to = 0; to < ARRAY_SIZE(sides); to++)
			for (size_t c = 0; c < ARRAY_SIZE(chunks); c++) {
				struct bedrock_test_outcome o;

				bedrock_test_run(
					count_reply_new(
						dialect_find(
							sides[from].dialect),
						dialect_find(
							sides[to].dialect)),
					span_text(sides[from].answer),
					chunks[c], 0, &o);
				assert_int_equal(o.err, ERR_OK);
				assert_true(span_is(buf_span(&o.all),
						    sides[to].answer));
				bedrock_test_drop(&o);
			}
}

/* The same dialect: bytes as they are, whatever else they say. */
static void test_an_answer_that_passes(void **state)
{
	static const char more[] =
		"{ \"input_tokens\": 3, \"context_management\": {\"x\": 1} }\n";
	const struct dialect_ops *d = dialect_find(DIALECT_ANTHROPIC);
	struct bedrock_test_outcome o;

	(void)state;
	bedrock_test_run(count_reply_new(d, d), span_text(more), 5, 0, &o);
	assert_int_equal(o.err, ERR_OK);
	assert_true(span_is(buf_span(&o.all), more));
	bedrock_test_drop(&o);
}

static void test_answers_that_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"input_tokens\":-1}",
		"{\"input_tokens\":\"14\"}",
		"{\"input_tokens\":14",
		"{\"inputTokens\":14}",
		"{\"input_tokens\":99999999999999999999}",
	};
	const struct dialect_ops *from = dialect_find(DIALECT_ANTHROPIC);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (size_t to = 0; to < ARRAY_SIZE(sides); to++) {
			const struct dialect_ops *client =
				dialect_find(sides[to].dialect);
			struct bedrock_test_outcome o;

			bedrock_test_run(count_reply_new(from, client),
					 span_text(bad[i]), 3, 0, &o);
			assert_int_equal(o.err, ERR_FORMAT);
			assert_true(bedrock_test_has(&o.all, "message"));
			assert_false(bedrock_test_has(&o.all, "14"));
			bedrock_test_drop(&o);
		}
	assert_null(count_reply_new(from, dialect_find(DIALECT_CHAT)));
}

static void test_requests_that_are_none(void **state)
{
	static const struct {
		enum dialect client;
		enum route route;
		const char *body;
	} bad[] = {
		{DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS, "{"},
		{DIALECT_ANTHROPIC, ROUTE_COUNT_TOKENS, "{\"model\":\"m\"}"},
		{DIALECT_RESPONSES, ROUTE_RESPONSES_COUNT, "[]"},
		{DIALECT_INVOKE, ROUTE_BEDROCK_COUNT, "{\"input\":{}}"},
		{DIALECT_INVOKE, ROUTE_BEDROCK_COUNT,
		 "{\"input\":{\"invokeModel\":{\"body\":\"*\"}}}"},
		{DIALECT_CONVERSE, ROUTE_BEDROCK_COUNT,
		 "{\"input\":{\"converse\":[]}}"},
		/* Chat completions have nothing that counts. */
		{DIALECT_CHAT, ROUTE_COUNT_TOKENS,
		 "{\"model\":\"m\",\"messages\":[]}"},
	};
	const struct dialect_target t = {.route = ROUTE_COUNT_TOKENS,
					 .model = span_text("m")};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		enum dialect to = bad[i].client == DIALECT_ANTHROPIC
					  ? DIALECT_RESPONSES
					  : DIALECT_ANTHROPIC;
		struct request_translation result;
		struct buf out;

		buf_init(&out, 65536);
		request_translation_init(&result);
		assert_int_not_equal(
			request_translate(dialect_find(bad[i].client),
					  bad[i].route, span_text(bad[i].body),
					  dialect_find(to), &t, &out, &result),
			ERR_OK);
		assert_true(result.error_text[0]);
		request_translation_fini(&result);
		buf_fini(&out);
	}
}

static void inspect(enum dialect dialect, enum route route, const char *body,
		    struct request_facts *f)
{
	static struct seen seen;

	memset(&seen, 0, sizeof(seen));
	request_facts_init(f);
	(void)!span_copy_text(span_text("m"), f->model, sizeof(f->model));
	assert_int_equal(dialect_find(dialect)->inspect(route, span_text(body),
							&seen, f),
			 ERR_OK);
}

static void test_what_is_seen(void **state)
{
	struct request_facts f;
	struct buf body;
	const char *text;

	(void)state;
	/* Nothing is stored by a count, so nothing needs to be said. */
	inspect(DIALECT_RESPONSES, ROUTE_RESPONSES_COUNT, sides[1].body, &f);
	assert_false(f.amend);
	request_facts_fini(&f);
	inspect(DIALECT_RESPONSES, ROUTE_RESPONSES, sides[1].body, &f);
	assert_true(f.amend);
	request_facts_fini(&f);
	/* A former answer is at the provider: judged as for an answer. */
	inspect(DIALECT_RESPONSES, ROUTE_RESPONSES_COUNT,
		"{\"model\":\"m\",\"previous_response_id\":\"resp_1\"}", &f);
	assert_true(f.features.len_bytes > 0);
	request_facts_fini(&f);
	/* Bedrock's path does not say which of its bodies is counted. */
	body_of(2, &body);
	assert_int_equal(buf_terminate(&body, &text), ERR_OK);
	inspect(DIALECT_INVOKE, ROUTE_BEDROCK_COUNT, text, &f);
	assert_int_equal(f.dialect, DIALECT_NONE);
	request_facts_fini(&f);
	buf_fini(&body);
	inspect(DIALECT_INVOKE, ROUTE_BEDROCK_COUNT, sides[3].body, &f);
	assert_int_equal(f.dialect, DIALECT_CONVERSE);
	request_facts_fini(&f);
}

/* An alias changes the model's name; "store" is no member of a count. */
static void test_the_same_dialect_is_not_stored(void **state)
{
	const struct dialect_target t = {.route = ROUTE_RESPONSES_COUNT,
					 .model = span_text("gpt-5")};
	struct buf out;

	(void)state;
	buf_init(&out, 65536);
	assert_int_equal(dialect_find(DIALECT_RESPONSES)
				 ->rewrite(span_text("{\"model\": \"m\", "
						     "\"input\":\"a\"}"),
					   &t, &out),
			 ERR_OK);
	assert_true(span_is(buf_span(&out),
			    "{\"model\": \"gpt-5\", \"input\":\"a\"}"));
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_pair),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_an_answer_that_passes),
		cmocka_unit_test(test_answers_that_are_none),
		cmocka_unit_test(test_requests_that_are_none),
		cmocka_unit_test(test_what_is_seen),
		cmocka_unit_test(test_the_same_dialect_is_not_stored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
