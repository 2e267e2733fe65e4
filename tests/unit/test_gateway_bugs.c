/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_gateway_bugs.c - what other gateways got wrong, each once
 *
 * The index of the bugs that gateways between programs and model providers
 * are known for: one test a class. The streams lie in tests/data/gateway;
 * each goes from every wire that has it to every client, passed on and
 * translated, in pieces of one byte, of random sizes and whole. What concerns
 * AWS's event streams alone is in test_gateway_frames.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/text.h"
#include "engine/core/budget.h"
#include "engine/gate/http_head.h"
#include "engine/gate/invoke_beta.h"
#include "engine/gate/invoke_bridge.h"
#include "engine/gate/reply_translate.h"
#include "engine/gate/request_translate.h"
#include "engine/proto/attrs.h"
#include "engine/providers/provider.h"
#include "engine/providers/route.h"
#include "tests/lib/gateway_case.h"

/* --- 1: tool calls in streams --------------------------------------------
 */

static void starts_calls_empty(const struct case_run *c, const void *context)
{
	case_says_unchanged(c, context);
	assert_string_equal(c->run.calls, "read({\"path\": \"/ä/b\"}) "
					  "bash({\"x\":[1, 2]}) ");
	if (c->client->id == DIALECT_ANTHROPIC)
		assert_int_equal(buf_count(&c->run.all, "\"input\":{}"), 2);
}

static void adds_the_input(const struct case_run *c, const void *context)
{
	case_says_unchanged(c, context);
	if (c->client->id == DIALECT_ANTHROPIC && c->way == CASE_TRANSLATED)
		assert_int_equal(buf_count(&c->run.all, "\"input\":{}"), 1);
}

static void tool_arguments_lost_in_a_stream(void **state)
{
	(void)state;
	case_each("calls", starts_calls_empty, CASE_CALLS);
	case_each("no_input", adds_the_input,
		  "call{call_a read {\"a\": 1}} stop=tool_use usage=21/12");
	case_each("text_in_call", case_fails, "foreign delta");
}

/* --- 2: stop reasons and empty blocks ------------------------------------
 */

static void mends_the_stop(const struct case_run *c, const void *context)
{
	if (c->way == CASE_PASSED)
		assert_true(span_equal(buf_span(&c->run.all), c->bytes));
	if (c->way != CASE_TRANSLATED)
		return;
	case_says(c, context);
	assert_false(buf_contains(&c->run.all, "\"type\":\"text\""));
	assert_false(buf_contains(&c->run.all, "response.output_text"));
	assert_false(buf_contains(&c->run.all, "\"text\":\"\""));
}

static void end_of_turn_with_a_call_or_an_empty_text(void **state)
{
	(void)state;
	case_each("wrong_stop", mends_the_stop,
		  "call{call_a read {\"a\": 1}} stop=tool_use usage=21/12");
}

/* --- 3: errors and truncation that look like success ----------------------
 */

static size_t terminal_at(const struct dialect_ops *wire, struct span bytes)
{
	const char *mark = wire->id == DIALECT_ANTHROPIC ? "\"message_stop\""
			   : wire->id == DIALECT_CHAT ? "\"finish_reason\":\"t"
			   : wire->id == DIALECT_RESPONSES
				   ? "event: response.completed"
				   : "messageStop";
	const uint8_t *at =
		memmem(bytes.data, bytes.len_bytes, mark, strlen(mark));

	if (wire->id == DIALECT_INVOKE)
		return bytes.len_bytes - 1;
	assert_non_null(at);
	return (size_t)(at - bytes.data);
}

static void cut_it(const struct dialect_ops *wire,
		   const struct dialect_ops *client, enum case_way way)
{
	char said[CASE_SAID_MAX];
	struct reply_run run;
	struct buf bytes;
	size_t len, terminal;

	case_load(wire, "calls", &bytes);
	terminal = terminal_at(wire, buf_span(&bytes));
	for (len = 0; len <= terminal; len += len + 13 < terminal ? 13 : 1) {
		reply_run(case_reply(wire, client, way),
			  span_of(bytes.data, len), 999, 0, &run);
		case_say(client, buf_span(&run.all), said);
		if (run.state != REPLY_FAILED || strstr(said, "stop="))
			fail_msg("%d to %d, way %d, cut at %zu: %s",
				 (int)wire->id, (int)client->id, (int)way, len,
				 said);
		reply_run_fini(&run);
	}
	buf_fini(&bytes);
}

static void an_error_in_mid_stream_as_a_success(void **state)
{
	(void)state;
	case_each("error", case_fails, "too busy");
	case_each("error_word", case_fails, "broke the answer off");
	case_each("aborted", case_fails, "broke the answer off");
	case_every_pair(cut_it);
}

/* --- 4: thinking ----------------------------------------------------------
 */

#define THOUGHTS \
	"thinking{hm|c2lnMQ==} thinking{|c2lnMg==} redacted{|b3BhcXVl} "
#define SEALED                                                            \
	"thinking{hm|kenaz.anthropic.s.c2lnMQ==} "                        \
	"redacted{|kenaz.anthropic.s.c2lnMg==} redacted{|kenaz.anthropic" \
	".r.b3BhcXVl} "

static void keeps_thoughts(const struct case_run *c, const void *context)
{
	(void)context;
	case_says_unchanged(c, c->client->id == DIALECT_RESPONSES ? SEALED
				       "text{Hel} stop=end_turn usage=21/12"
								  : THOUGHTS
				       "text{Hel} stop=end_turn usage=21/12");
}

static void returns_thoughts(const struct dialect_ops *wire,
			     const struct dialect_ops *client,
			     enum case_way way)
{
	char said[CASE_SAID_MAX];

	/* Only Claude's wires understand Claude's signatures. */
	if (way != CASE_TRANSLATED || wire->id == DIALECT_CHAT ||
	    wire->id == DIALECT_RESPONSES)
		return;
	case_send_request("thinking_request", client, wire, said);
	assert_string_equal(said,
			    "user: text|hi; assistant: thinking|hm|c2lnMQ== "
			    "thinking|c2lnMg== sealed|b3BhcXVl text|Hel "
			    "call|call_a|{\"a\":1}; user: =|call_a text|ok; ");
}

static void thoughts_restructured_or_lost(void **state)
{
	(void)state;
	case_each("thinking", keeps_thoughts, NULL);
	case_every_pair(returns_thoughts);
}

/* --- 5: numbering of parallel calls ---------------------------------------
 */

static void numbers_calls(const struct case_run *c, const void *context)
{
	case_says(c, context);
	/* A choice's index is always 0. */
	if (c->client->id == DIALECT_CHAT)
		assert_true(buf_contains(&c->run.all, "\"index\":1"));
}

static void parallel_calls_with_one_or_no_index(void **state)
{
	static const char *const names[] = {"all_zero", "no_index",
					    "id_repeated", "one_chunk"};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		case_each(names[i], numbers_calls,
			  "call{call_a read {\"a\":1}} call{call_b bash "
			  "{\"b\":2}} stop=tool_use usage=21/12");
}

/* --- 6: usage -------------------------------------------------------------
 */

static void counts_once(const struct case_run *c, const void *context)
{
	/* Where the cache is inside the input, and where beside it. */
	static const char *const native[] = {
		[DIALECT_ANTHROPIC] = "\"input_tokens\":21",
		[DIALECT_CHAT] = "\"prompt_tokens\":30",
		[DIALECT_RESPONSES] = "\"input_tokens\":30",
		[DIALECT_CONVERSE] = "\"inputTokens\":21",
	};
	const char *text = native[c->client->id];

	case_says_unchanged(c, context);
	assert_true(c->run.summary.usage_known);
	assert_int_equal(c->run.summary.input_tokens, 30);
	assert_int_equal(c->run.summary.output_tokens, 12);
	assert_int_equal(c->run.summary.cache_read_tokens, 5);
	assert_int_equal(c->run.summary.cache_write_tokens, 4);
	assert_true(!text || buf_contains(&c->run.all, text));
}

/* Anthropic's form demands numbers; the record never makes them up. */
static void counts_nothing(const struct case_run *c, const void *context)
{
	(void)context;
	assert_int_equal(c->run.state, REPLY_DONE);
	assert_false(c->run.summary.usage_known);
	if (c->client->id != DIALECT_ANTHROPIC &&
	    c->client->id != DIALECT_INVOKE)
		case_says(c, "text{Hel} stop=end_turn usage=unknown");
}

/* OpenRouter says in every dialect what it charges. */
static void knows_the_cost(const struct case_run *c, const void *context)
{
	(void)context;
	assert_int_equal(c->run.state, REPLY_DONE);
	assert_true(c->run.summary.cost_known);
	assert_int_equal(c->run.summary.cost_uusd, 1235);
	if (c->way == CASE_PASSED)
		assert_true(span_equal(buf_span(&c->run.all), c->bytes));
}

static void usage_doubled_or_made_up(void **state)
{
	(void)state;
	case_each("usage_again", counts_once,
		  "text{Hel} stop=end_turn usage=30/12 cache=5/4");
	case_each("no_usage", counts_nothing, NULL);
	case_each("cost", knows_the_cost, NULL);
}

/* --- 7: betas -------------------------------------------------------------
 */

static void betas_that_bedrock_refuses(void **state)
{
	static const char body[] = "{\"model\":\"claude\",\"max_tokens\":1}";
	const struct provider_kind *bedrock =
		provider_find(span_text("bedrock"));
	struct dialect_target target = {.route = ROUTE_INVOKE,
					.model = span_text("anthropic.claude"),
					.betas = bedrock->betas};
	struct invoke_bridge_request q = {.client = DIALECT_ANTHROPIC,
					  .route = ROUTE_MESSAGES,
					  .body = span_text(body)};
	struct invoke_bridge_result b;
	struct buf headers;

	(void)state;
	while (target.betas[target.beta_count])
		target.beta_count++;
	buf_init(&headers, 4096);
	assert_int_equal(attrs_put_text(&headers, "anthropic-beta",
					span_text("claude-code-20250219,"
						  "context-1m-2025-08-07")),
			 ERR_OK);
	q.headers = buf_span(&headers);
	invoke_bridge_init(&b);
	assert_int_equal(invoke_bridge_body(&q, &target, &b), ERR_OK);
	assert_true(
		buf_contains(&b.body,
			     "\"anthropic_beta\":[\"context-1m-2025-08-07\"]"));
	assert_false(buf_contains(&b.body, "claude-code"));
	assert_int_equal(b.headers.len_bytes, 0);
	assert_int_equal(b.dropped_count, 1);
	assert_string_equal(b.dropped[0],
			    "anthropic-beta: claude-code-20250219");
	invoke_bridge_fini(&b);
	buf_fini(&headers);
}

/* --- 8: roles, results and errors -----------------------------------------
 */

static void keeps_results(const struct dialect_ops *wire,
			  const struct dialect_ops *client, enum case_way way)
{
	char said[CASE_SAID_MAX];
	const char *at;

	if (way != CASE_TRANSLATED)
		return;
	case_send_request("results_request", client, wire, said);
	at = strstr(said, "user: text|hi; ");
	assert_non_null(at);
	assert_non_null(strstr(said, "be brief"));
	at += strlen("user: text|hi; ");
	/* Some dialects have one message a result, the others one for all. */
	if (strcmp(at, "assistant: call|call_a|{\"a\":1} call|call_b|"
		       "{\"b\":2}; user: =|call_a text|one =|call_b "
		       "text|two; ") != 0)
		fail_msg("%d to %d: %s", (int)client->id, (int)wire->id, said);
}

static void translates_errors(const struct dialect_ops *wire,
			      const struct dialect_ops *client,
			      enum case_way way)
{
	static const struct {
		enum neutral_error error;
		unsigned status;
	} rows[] = {
		{NEUTRAL_ERROR_INVALID, 400},
		{NEUTRAL_ERROR_NOT_FOUND, 404},
		{NEUTRAL_ERROR_RATE, 429},
	};
	size_t i;

	if (way != CASE_TRANSLATED)
		return;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned status = rows[i].status;
		const char *name = wire->error_name(rows[i].error, &status);
		struct reply_run run;
		struct buf body, words;
		struct reply *r;

		buf_init(&body, 4096);
		buf_init(&words, 4096);
		assert_int_equal(wire->put_error(&body, name,
						 span_text("do it again")),
				 ERR_OK);
		r = reply_translate_error_new(wire, rows[i].status, client);
		reply_run(r, buf_span(&body), 1, 0, &run);
		assert_int_equal(run.state, REPLY_DONE);
		assert_int_equal(client->read_error(rows[i].status,
						    buf_span(&run.all), &words),
				 rows[i].error);
		assert_true(span_is(buf_span(&words), "do it again"));
		reply_run_fini(&run);
		buf_fini(&body);
		buf_fini(&words);
	}
}

static void results_as_texts_and_errors_untranslated(void **state)
{
	static const char body[] = "{\"model\":\"m\",\"messages\":[]}";
	const struct dialect_target target = {.route = ROUTE_CHAT};
	struct request_translation t;
	struct buf out;

	(void)state;
	case_every_pair(keeps_results);
	case_every_pair(translates_errors);
	/* Counting tokens where the wire cannot: refused, not made up. */
	request_translation_init(&t);
	buf_init(&out, 4096);
	assert_int_equal(request_translate(dialect_find(DIALECT_ANTHROPIC),
					   ROUTE_COUNT_TOKENS, span_text(body),
					   dialect_find(DIALECT_CHAT), &target,
					   &out, &t),
			 ERR_UNSUPPORTED);
	assert_true(t.error_text[0]);
	assert_int_equal(out.len_bytes, 0);
	request_translation_fini(&t);
	buf_fini(&out);
}

/* --- 9: idle streams ------------------------------------------------------
 */

static void pings(const struct dialect_ops *wire,
		  const struct dialect_ops *client, enum case_way way)
{
	struct reply *r = case_reply(wire, client, way);
	char said[CASE_SAID_MAX];
	struct buf bytes, out;
	size_t at;

	case_load(wire, "calls", &bytes);
	buf_init(&out, CASE_MAX_BYTES);
	/* Before the first byte already. */
	assert_int_equal(reply_ping(r, &out), ERR_OK);
	assert_true(out.len_bytes > 0);
	for (at = 0; at < bytes.len_bytes; at++) {
		assert_int_equal(case_feed(r, span_of(bytes.data + at, 1),
					   &out),
				 ERR_OK);
		if (r->state == REPLY_OPEN && at % 50 == 0)
			assert_int_equal(reply_ping(r, &out), ERR_OK);
	}
	assert_int_equal(reply_end(r, &out), ERR_OK);
	assert_int_equal(reply_release(r, &out), ERR_OK);
	case_say(client, buf_span(&out), said);
	assert_string_equal(said, CASE_CALLS);
	reply_free(r);
	buf_fini(&bytes);
	buf_fini(&out);
}

static void idle_streams_without_a_sign_of_life(void **state)
{
	(void)state;
	case_every_pair(pings);
}

/* --- 10: characters across pieces -----------------------------------------
 */

static void cuts_characters(const struct dialect_ops *wire,
			    const struct dialect_ops *client, enum case_way way)
{
	char said[CASE_SAID_MAX];
	struct buf bytes, out;
	size_t at;

	case_load(wire, "calls", &bytes);
	buf_init(&out, CASE_MAX_BYTES);
	for (at = 1; at < bytes.len_bytes; at++) {
		struct reply *r;

		if ((bytes.data[at] & 0xc0) != 0x80 || case_has_frames(wire))
			continue;
		r = case_reply(wire, client, way);
		buf_reset(&out);
		assert_int_equal(case_feed(r, span_of(bytes.data, at), &out),
				 ERR_OK);
		assert_int_equal(case_feed(r,
					   span_of(bytes.data + at,
						   bytes.len_bytes - at),
					   &out),
				 ERR_OK);
		if (r->state == REPLY_OPEN)
			assert_int_equal(reply_end(r, &out), ERR_OK);
		assert_int_equal(reply_release(r, &out), ERR_OK);
		case_say(client, buf_span(&out), said);
		assert_string_equal(said, CASE_CALLS);
		reply_free(r);
	}
	buf_fini(&bytes);
	buf_fini(&out);
}

static void characters_split_across_pieces(void **state)
{
	(void)state;
	case_every_pair(cuts_characters);
}

/* --- 11: clients that hang up ---------------------------------------------
 */

/*
 * A reply may be let go in any state, and what was used until then is known.
 * That the provider's request is given up as well: test_gate_infer,
 * a_client_that_hangs_up_cancels.
 */
static void hangs_up(const struct dialect_ops *wire,
		     const struct dialect_ops *client, enum case_way way)
{
	struct buf bytes, out;
	size_t len;

	case_load(wire, "calls", &bytes);
	buf_init(&out, CASE_MAX_BYTES);
	for (len = 0; len < bytes.len_bytes; len += 61) {
		struct reply *r = case_reply(wire, client, way);
		struct span in = span_of(bytes.data, len);

		if (len % 2)
			assert_int_equal(case_feed(r, in, &out), ERR_OK);
		else if (len)
			assert_int_equal(reply_feed(r, &in, &out), ERR_OK);
		assert_int_equal(reply_fail(r, "api_error", span_text("gone")),
				 ERR_OK);
		if (len > 500 && (wire->id == DIALECT_ANTHROPIC ||
				  wire->id == DIALECT_INVOKE)) {
			assert_true(r->summary.usage_known);
			assert_int_equal(r->summary.input_tokens, 30);
		}
		reply_free(r);
		buf_reset(&out);
	}
	buf_fini(&bytes);
	buf_fini(&out);
}

static void a_client_that_is_gone_loses_the_usage(void **state)
{
	(void)state;
	case_every_pair(hangs_up);
}

/* --- 12: model ids in paths -----------------------------------------------
 */

static void model_ids_that_are_no_path_segment(void **state)
{
#define PROFILE "arn:aws:bedrock:eu-west-1:1:application-inference-profile/a:0"
#define ENCODED                                                               \
	"arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Aapplication-inference-profile" \
	"%2Fa%3A0"
	static const struct {
		enum route route;
		const char *end;
	} rows[] = {
		{ROUTE_INVOKE, "/invoke"},
		{ROUTE_INVOKE_STREAM, "/invoke-with-response-stream"},
		{ROUTE_CONVERSE, "/converse"},
		{ROUTE_CONVERSE_STREAM, "/converse-stream"},
	};
	struct route_target t = {.kind = provider_find(span_text("bedrock")),
				 .region = span_text("eu-west-1")};
	struct route_values v = {.model = span_text(PROFILE)};
	struct route_request r;
	struct http_target target;
	char want[512], model[256];
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(route_build(&t, rows[i].route, &v, &r),
				 ERR_OK);
		(void)snprintf(
			want, sizeof(want),
			"https://bedrock-runtime.eu-west-1.amazonaws.com/model/"
			"%s%s",
			ENCODED, rows[i].end);
		assert_string_equal(r.url, want);
		/* And from a client, encoded or as it is. */
		for (k = 0; k < 2; k++) {
			(void)snprintf(want, sizeof(want), "/model/%s%s",
				       k ? ENCODED : PROFILE, rows[i].end);
			assert_int_equal(
				http_head_target("POST", want, &target).status,
				0);
			assert_int_equal(target.route, rows[i].route);
			assert_int_equal(http_head_model(target.model, model,
							 sizeof(model)),
					 ERR_OK);
			assert_string_equal(model, PROFILE);
		}
	}
}

/* --- 13: ends and beginnings ----------------------------------------------
 */

static void announces_items(const struct case_run *c, const void *context)
{
	const char *order[] = {"response.output_item.added",
			       "response.content_part.added",
			       "response.output_text.delta"};
	const uint8_t *hit, *last = NULL;
	size_t i;

	case_says(c, context);
	if (c->client->id != DIALECT_RESPONSES || c->way != CASE_TRANSLATED)
		return;
	for (i = 0; i < ARRAY_SIZE(order); i++) {
		hit = memmem(c->run.all.data, c->run.all.len_bytes, order[i],
			     strlen(order[i]));
		assert_true(hit && hit > last);
		last = hit;
	}
}

static void ends_and_beginnings_assumed(void **state)
{
	static const char end[] = "text{Hel} stop=end_turn usage=21/12";

	(void)state;
	case_each("no_done", case_says, end);
	case_each("done", case_says, end);
	case_each("only_done", case_fails, "before its finish_reason");
	case_each("no_stop", case_fails, "before ");
	case_each("calls", announces_items, CASE_CALLS);
	case_each("early_delta", announces_items, end);
}

/* --- 14: budgets ----------------------------------------------------------
 */

static void budgets_that_are_new_too_often(void **state)
{
	const int64_t day_us = INT64_C(86400000000),
		      noon = 20000 * day_us + day_us / 2;
	const struct budget_amounts one = {.of = {[BUDGET_REQUESTS] = 1}};
	struct budget_limits limits;
	struct budget_refusal why;
	struct budget *b;
	uint64_t id;

	(void)state;
	budget_limits_init(&limits);
	limits.of[BUDGET_USER].of[BUDGET_REQUESTS] = 1;
	assert_int_equal(budget_new(&limits, NULL, NULL, &b), ERR_OK);
	/* One account for all sessions of a user... */
	assert_int_equal(budget_reserve(b, "s", "u", &one, noon, &why, &id),
			 ERR_OK);
	assert_int_equal(budget_settle(b, id, &one), ERR_OK);
	assert_int_equal(budget_reserve(b, "t", "u", &one, noon, &why, &id),
			 ERR_DENIED);
	/* ...that new limits and the end of a session do not renew... */
	budget_set_limits(b, &limits);
	budget_end_session(b, "s");
	assert_int_equal(budget_reserve(b, "t", "u", &one, noon, &why, &id),
			 ERR_DENIED);
	/* ...and a day does, when it is asked for, not before. */
	assert_int_equal(why.reset_wall_us, 20001 * day_us);
	assert_int_equal(budget_reserve(b, "t", "u", &one, why.reset_wall_us,
					&why, &id),
			 ERR_OK);
	budget_free(b);
}

/* --- 15: reasoning --------------------------------------------------------
 */

static void reasoning_under_another_name(void **state)
{
	(void)state;
	case_each("reasoning", case_says_unchanged,
		  "thinking{hm} text{Hel} stop=end_turn usage=21/12");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tool_arguments_lost_in_a_stream),
		cmocka_unit_test(end_of_turn_with_a_call_or_an_empty_text),
		cmocka_unit_test(an_error_in_mid_stream_as_a_success),
		cmocka_unit_test(thoughts_restructured_or_lost),
		cmocka_unit_test(parallel_calls_with_one_or_no_index),
		cmocka_unit_test(usage_doubled_or_made_up),
		cmocka_unit_test(betas_that_bedrock_refuses),
		cmocka_unit_test(results_as_texts_and_errors_untranslated),
		cmocka_unit_test(idle_streams_without_a_sign_of_life),
		cmocka_unit_test(characters_split_across_pieces),
		cmocka_unit_test(a_client_that_is_gone_loses_the_usage),
		cmocka_unit_test(model_ids_that_are_no_path_segment),
		cmocka_unit_test(ends_and_beginnings_assumed),
		cmocka_unit_test(budgets_that_are_new_too_often),
		cmocka_unit_test(reasoning_under_another_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
