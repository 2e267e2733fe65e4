/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_responses.c - what the gate finds in a request of the Responses
 * dialect, what it refuses, what it changes; plain replies and errors
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/responses.h"
#include "engine/proto/attrs.h"

#define REQUEST(rest) "{\"model\":\"model-a\",\"store\":false" rest "}"
#define INPUT(items)  REQUEST(",\"input\":[" items "]")
#define PARTS(parts)  INPUT("{\"role\":\"user\",\"content\":[" parts "]}")
#define TOOLS(tools)  REQUEST(",\"input\":\"hi\",\"tools\":[" tools "]")

static struct seen seen;

static enum err inspect(const char *text, struct request_facts *f)
{
	request_facts_init(f);
	return dialect_responses.inspect(ROUTE_RESPONSES, span_text(text),
					 &seen, f);
}

static int forget(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	return 0;
}

/* Writes a list as "a,b,c". */
static void join(struct span attrs, const char *key, char *text, size_t cap)
{
	struct attr a;
	struct reader r;
	struct span item;
	size_t used = 0;

	text[0] = '\0';
	if (!attrs_find(attrs, key, &a))
		return;
	reader_init(&r, a.items);
	while (attrs_list_next(&r, &item)) {
		int n = snprintf(text + used, cap - used, "%s%.*s",
				 used ? "," : "", (int)item.len_bytes,
				 (const char *)item.data);

		assert_true(n > 0 && (size_t)n < cap - used);
		used += (size_t)n;
	}
}

static void finds(const char *text, const char *features)
{
	struct request_facts f;
	char got[2048];
	enum err e = inspect(text, &f);

	if (e != ERR_OK)
		fail_msg("%s: %s: %s", text, err_name(e), f.error_text);
	join(buf_span(&f.features), "features", got, sizeof(got));
	if (strcmp(got, features) != 0)
		fail_msg("%s: found '%s', not '%s'", text, got, features);
	request_facts_fini(&f);
}

static void refuses(const char *text, const char *why)
{
	struct request_facts f;
	enum err e = inspect(text, &f);

	if (e != ERR_FORMAT || strcmp(f.error_text, why) != 0)
		fail_msg("%s: %s: '%s', not '%s'", text, err_name(e),
			 f.error_text, why);
	request_facts_fini(&f);
}

static void reads_model_stream_and_tools(void **state)
{
	struct request_facts f;
	char got[256];

	(void)state;
	assert_int_equal(
		inspect("{\"model\":\"m\\u0031\",\"stream\":true,\"tools\":["
			"{\"type\":\"function\",\"name\":\"a\"},"
			"{\"type\":\"custom\",\"name\":\"b\"},"
			"{\"type\":\"namespace\",\"name\":\"n\",\"tools\":["
			"{\"type\":\"function\",\"name\":\"c\"}]},"
			"{\"type\":\"local_shell\"},{\"type\":\"shell\"},"
			"{\"type\":\"apply_patch\"},{\"type\":"
			"\"computer_use_preview\"},{\"type\":\"tool_search\","
			"\"execution\":\"client\"}]}",
			&f),
		ERR_OK);
	assert_string_equal(f.model, "m1");
	assert_true(f.stream);
	assert_true(f.asks_usage);
	assert_true(f.amend);
	join(buf_span(&f.tools), "tools", got, sizeof(got));
	assert_string_equal(got, "a,b,n__c,local_shell,shell,apply_patch,"
				 "computer,tool_search");
	join(buf_span(&f.features), "features", got, sizeof(got));
	assert_string_equal(got, "");
	request_facts_fini(&f);
	assert_int_equal(inspect(REQUEST(",\"input\":\"hi\""), &f), ERR_OK);
	assert_false(f.amend);
	assert_false(f.stream);
	request_facts_fini(&f);
}

static void finds_provider_side_tools(void **state)
{
	(void)state;
	finds(TOOLS("{\"type\":\"web_search\",\"external_web_access\":false}"),
	      "web_search");
	finds(TOOLS("{\"type\":\"web_search_preview_2025_03_11\"}"),
	      "web_search");
	finds(TOOLS("{\"type\":\"file_search\"}"), "file_search");
	finds(TOOLS("{\"type\":\"code_interpreter\"}"), "code_execution");
	finds(TOOLS("{\"type\":\"image_generation\"}"), "image_generation");
	finds(TOOLS("{\"type\":\"mcp\",\"server_url\":\"u\"}"), "mcp_servers");
	finds(TOOLS("{\"type\":\"tool_search\"}"), "tool_search");
	finds(TOOLS("{\"type\":\"shell\",\"environment\":{\"type\":"
		    "\"container_auto\"}}"),
	      "container");
	finds(TOOLS("{\"type\":\"shell\",\"environment\":{\"type\":"
		    "\"local\"}}"),
	      "");
	finds(TOOLS("{\"type\":\"web_searching\"}"),
	      "unknown_tool:web_searching");
	finds(TOOLS("{\"type\":\"local_shell_2\"}"),
	      "unknown_tool:local_shell_2");
	finds(TOOLS("{\"type\":\"we\\u0062_search\"}"), "web_search");
	finds(TOOLS("{\"type\":5}"), "unknown_tool:?");
	finds(TOOLS("{\"name\":\"a\"}"), "unknown_tool:?");
	finds(TOOLS("{\"type\":\"namespace\",\"name\":\"n\",\"tools\":["
		    "{\"type\":\"web_search\"}]}"),
	      "unknown_tool:web_search");
	/* Tools that come in later. */
	finds(INPUT("{\"type\":\"additional_tools\",\"role\":\"developer\","
		    "\"tools\":[{\"type\":\"mcp\"}]}"),
	      "mcp_servers");
	finds(INPUT("{\"type\":\"tool_search_output\",\"call_id\":\"c\","
		    "\"tools\":[{\"type\":\"web_search\"}]}"),
	      "web_search");
}

static void finds_provider_side_state(void **state)
{
	(void)state;
	finds("{\"model\":\"m\",\"store\":true}", "store");
	finds(REQUEST(",\"background\":true"), "background");
	finds(REQUEST(",\"background\":false,\"previous_response_id\":null"),
	      "");
	finds(REQUEST(",\"previous_response_id\":\"r\""), "stored_response");
	finds(REQUEST(",\"conversation\":{\"id\":\"c\"}"), "stored_response");
	finds(REQUEST(",\"prompt\":{\"id\":\"p\"}"), "stored_prompt");
	finds(REQUEST(",\"context_management\":[{\"type\":\"compaction\"}]"),
	      "compaction");
	finds(INPUT("{\"type\":\"item_reference\",\"id\":\"i\"}"),
	      "stored_response");
	finds(INPUT("{\"id\":\"i\"}"), "stored_response");
	finds(INPUT("{\"type\":\"compaction_trigger\"}"), "compaction");
	finds(INPUT("{\"type\":\"mcp_approval_response\"}"), "mcp_servers");
	finds(INPUT("{\"type\":\"novel\"}"), "unknown_item:novel");
	finds(REQUEST(",\"plugins\":[{\"id\":\"web\"}]"), "plugin:web");
	finds(REQUEST(",\"models\":[\"x\"]"), "model_fallback");
}

static void finds_what_is_fetched(void **state)
{
	(void)state;
	finds(PARTS("{\"type\":\"input_image\",\"image_url\":\"https://x\"}"),
	      "url_image");
	finds(PARTS("{\"type\":\"input_image\",\"image_url\":"
		    "\"data:image/png;base64,AA==\"}"),
	      "");
	finds(PARTS("{\"type\":\"input_image\",\"image_url\":"
		    "\"\\u0064ata:x\"}"),
	      "url_image");
	finds(PARTS("{\"type\":\"input_image\",\"file_id\":\"f\"}"), "file_id");
	finds(PARTS("{\"type\":\"input_file\",\"file_id\":\"f\"}"), "file_id");
	finds(PARTS("{\"type\":\"input_file\",\"file_url\":\"https://x\"}"),
	      "url_document");
	finds(PARTS("{\"type\":\"input_file\",\"file_data\":\"https://x\"}"),
	      "url_document");
	finds(PARTS("{\"type\":\"input_file\",\"file_data\":\"AAAA\"}"), "");
	finds(PARTS("{\"type\":\"input_video\"}"),
	      "unknown_content:input_video");
	finds(INPUT("{\"type\":\"function_call_output\",\"call_id\":\"c\","
		    "\"output\":[{\"type\":\"input_image\",\"image_url\":"
		    "\"http://x\"}]}"),
	      "url_image");
	finds(INPUT("{\"type\":\"computer_call_output\",\"call_id\":\"c\","
		    "\"output\":{\"type\":\"computer_screenshot\","
		    "\"image_url\":\"http://x\"}}"),
	      "url_image");
	finds(INPUT("{\"type\":\"reasoning\",\"summary\":[],\"content\":[{"
		    "\"type\":\"reasoning_text\",\"text\":\"t\"}]}"),
	      "");
}

static void reports_results_once(void **state)
{
	static const char text[] = INPUT(
		"{\"type\":\"function_call\",\"call_id\":\"a\"},"
		"{\"type\":\"function_call_output\",\"call_id\":\"a\","
		"\"output\":\"x\"},{\"type\":\"custom_tool_call_output\","
		"\"call_id\":\"b\",\"output\":\"x\"},{\"type\":"
		"\"local_shell_call_output\",\"id\":\"c\",\"output\":\"\"},"
		"{\"type\":\"apply_patch_call_output\",\"call_id\":\"d\","
		"\"status\":\"failed\"},{\"type\":\"shell_call_output\","
		"\"call_id\":\"e\",\"output\":[{\"stdout\":\"\"}]}");
	static const char *const want[][2] = {
		{"a", "ok"},    {"b", "ok"}, {"c", "ok"},
		{"d", "error"}, {"e", "ok"},
	};
	struct request_facts f;
	struct reader r;
	struct attr a;
	size_t n = 0;

	(void)state;
	assert_int_equal(inspect(text, &f), ERR_OK);
	reader_init(&r, buf_span(&f.results));
	while (attrs_next(&r, &a)) {
		assert_true(n < ARRAY_SIZE(want));
		assert_true(span_is(a.key, want[n][0]));
		assert_true(span_is(a.text, want[n][1]));
		n++;
	}
	assert_int_equal(n, ARRAY_SIZE(want));
	request_facts_fini(&f);
	assert_int_equal(inspect(text, &f), ERR_OK);
	assert_int_equal(f.results.len_bytes, 0);
	request_facts_fini(&f);
}

static void refuses_malformed_requests(void **state)
{
	struct request_facts f;

	(void)state;
	refuses("[]", "the body is no JSON object");
	refuses("{}", "model: missing, no text or too long");
	refuses("{\"model\":\"\"}", "model: missing, no text or too long");
	refuses(REQUEST(",\"stream\":1"), "stream: neither true nor false");
	refuses("{\"model\":\"m\",\"store\":\"no\"}",
		"store: neither true nor false");
	refuses(REQUEST(",\"tools\":{}"), "tools: not a list");
	refuses(TOOLS("1"), "tools: not a list of objects");
	refuses(TOOLS("{\"type\":\"function\"}"),
		"tools: a tool without a name");
	refuses(TOOLS("{\"type\":\"namespace\",\"name\":\"\"}"),
		"tools: a namespace without a proper name");
	refuses(REQUEST(",\"input\":1"), "input: neither a string nor a list");
	refuses(INPUT("1"), "input: not a list of objects");
	refuses(PARTS("{}"), "input: content without a type");
	refuses(REQUEST(",\"plugins\":1"), "plugins: not a list");
	assert_int_equal(inspect("{\"a\":1,\"a\":2}", &f), ERR_FORMAT);
	assert_non_null(strstr(f.error_text, "the body is not valid JSON"));
	request_facts_fini(&f);
}

static void rewrites(const char *body, const char *model, const char *want)
{
	const struct dialect_target t = {.model = span_text(model)};
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(dialect_responses.rewrite(span_text(body), &t, &out),
			 ERR_OK);
	if (!span_is(buf_span(&out), want))
		fail_msg("%s became %.*s, not %s", body, (int)out.len_bytes,
			 (char *)out.data, want);
	buf_fini(&out);
}

static void changes_no_more_than_model_and_store(void **state)
{
	struct buf out;
	const struct dialect_target none = {.route = ROUTE_RESPONSES};

	(void)state;
	rewrites(" {\"model\" : \"a\", \"x\":[ 1 ]} ", "b\"",
		 " {\"store\":false,\"model\" : \"b\\\"\", \"x\":[ 1 ]} ");
	rewrites("{\"model\":\"a\",\"store\":null}", "b",
		 "{\"model\":\"b\",\"store\":false}");
	rewrites("{\"store\":null,\"model\":\"a\"}", "bcd",
		 "{\"store\":false,\"model\":\"bcd\"}");
	rewrites("{\"store\":true,\"model\":\"a\"}", "b",
		 "{\"store\":true,\"model\":\"b\"}");
	rewrites("{\"store\":false,\"model\":\"a\"}", "",
		 "{\"store\":false,\"model\":\"a\"}");
	rewrites("{}", "b", "{\"store\":false}");
	buf_init(&out, 4096);
	assert_int_equal(dialect_responses.rewrite(span_text("[]"), &none,
						   &out),
			 ERR_FORMAT);
	assert_int_equal(buf_put_text(&out, "{\"model\":\"a\"}"), ERR_OK);
	assert_int_equal(dialect_amend(&dialect_responses, &out), ERR_OK);
	assert_true(
		span_is(buf_span(&out), "{\"store\":false,\"model\":\"a\"}"));
	buf_fini(&out);
}

#define BODY(output, more)                                                  \
	"{\"id\":\"r\",\"object\":\"response\",\"model\":\"m\",\"status\":" \
	"\"completed\", \"output\": [" output "]" more                      \
	",\"usage\":{\"input_tokens\":5,\"output_tokens\":2}}"
#define CALL(id, arguments)                             \
	"{\"type\":\"function_call\",\"call_id\":\"" id \
	"\",\"name\":\"sh\",\"arguments\":\"" arguments "\"}"

static enum err run_body(const char *text, unsigned deny, struct buf *out,
			 struct reply_summary *ret_summary, char *why)
{
	struct reply *r = responses_body_new();
	struct span in = span_text(text);
	struct reply_verdict v = {.rule = span_text("r")};
	enum err e;

	buf_init(out, 65536);
	assert_non_null(r);
	assert_int_equal(reply_feed(r, &in, out), ERR_OK);
	e = reply_end(r, out);
	while (e == ERR_OK && r->state == REPLY_JUDGE) {
		v.allow = !(deny & 1);
		deny >>= 1;
		e = reply_verdict(r, &v, out);
	}
	assert_int_equal(out->len_bytes, 0);
	if (e == ERR_OK)
		assert_int_equal(r->state, REPLY_DONE);
	else
		assert_int_equal(reply_fail(r, "server_error",
					    span_text("broken")),
				 ERR_OK);
	assert_int_equal(reply_release(r, out), ERR_OK);
	(void)snprintf(why, 128, "%s", r->error_text ? r->error_text : "");
	*ret_summary = r->summary;
	reply_free(r);
	return e;
}

static void plain_replies_are_judged(void **state)
{
	static const char text[] =
		BODY(CALL("a", "{}") ", " CALL("b", "{\\\"x\\\":1}"), "");
	struct reply_summary s;
	struct buf out;
	char why[128];

	(void)state;
	assert_int_equal(run_body(text, 0, &out, &s, why), ERR_OK);
	assert_true(span_is(buf_span(&out), text));
	assert_int_equal(s.calls, 2);
	assert_true(s.usage_known);
	assert_int_equal(s.input_tokens, 5);
	assert_string_equal(s.stop_reason, "completed");
	buf_fini(&out);
	assert_int_equal(run_body(text, 2, &out, &s, why), ERR_OK);
	assert_int_equal(s.calls_denied, 1);
	assert_non_null(memmem(out.data, out.len_bytes, "\"a\"", 3));
	assert_null(memmem(out.data, out.len_bytes, "\"b\"", 3));
	assert_non_null(memmem(out.data, out.len_bytes, "Kenaz denied", 12));
	buf_fini(&out);
	/* A list of models is none of ours. */
	assert_int_equal(run_body("{\"object\":\"list\",\"data\":[]}", 0, &out,
				  &s, why),
			 ERR_OK);
	buf_fini(&out);
	/* Unreadable arguments are denied without asking. */
	assert_int_equal(run_body(BODY(CALL("a", "[]"), ""), 0, &out, &s, why),
			 ERR_OK);
	assert_int_equal(s.calls_denied, 1);
	buf_fini(&out);
}

static void bad_plain_replies_fail(void **state)
{
	static const char *const cases[][2] = {
		{"", "a reply that is not valid JSON"},
		{"[]", "a reply that is no JSON object"},
		{"{\"error\":{\"message\":\"m\"}}",
		 "the provider reported an error"},
		{"{\"object\":\"response\",\"status\":\"failed\",\"error\":"
		 "null}",
		 "the provider reported an error"},
		{"{\"object\":\"response\"}", "a response without its output"},
		{"{\"output\":[]}", "a response without its status"},
		{BODY("{}", ""), "an output item without a type"},
		{BODY("{\"type\":\"function_call\"}", ""),
		 "a tool call without a proper id and name"},
	};
	struct reply_summary s;
	struct buf out;
	char why[128];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_not_equal(run_body(cases[i][0], 0, &out, &s, why),
				     ERR_OK);
		assert_string_equal(why, cases[i][1]);
		assert_non_null(memmem(out.data, out.len_bytes,
				       "\"message\":\"broken\"", 18));
		buf_fini(&out);
	}
}

static void reads_errors(unsigned status, const char *body,
			 enum neutral_error want, const char *words)
{
	enum neutral_error got;
	struct buf message;

	buf_init(&message, 65536);
	got = dialect_responses.read_error(status, span_text(body), &message);
	if (got != want || !span_is(buf_span(&message), words))
		fail_msg("%s: %d '%.*s'", body, got, (int)message.len_bytes,
			 (char *)message.data);
	buf_fini(&message);
}

static void errors_keep_their_meaning(void **state)
{
	struct span text = span_text("try again in 5s");
	struct buf out;
	unsigned status;

	(void)state;
	reads_errors(400,
		     "{\"error\":{\"message\":\"too long\",\"type\":"
		     "\"invalid_request_error\",\"param\":\"input\",\"code\":"
		     "\"context_length_exceeded\"}}",
		     NEUTRAL_ERROR_CONTEXT, "too long");
	reads_errors(429,
		     "{\"error\":{\"message\":\"q\",\"type\":"
		     "\"insufficient_quota\",\"code\":\"insufficient_quota\"}}",
		     NEUTRAL_ERROR_QUOTA, "q");
	reads_errors(429, "{\"error\":{\"message\":\"r\",\"code\":null}}",
		     NEUTRAL_ERROR_RATE, "r");
	reads_errors(401,
		     "{\"error\":{\"message\":\"k\",\"type\":"
		     "\"invalid_request_error\",\"code\":null}}",
		     NEUTRAL_ERROR_AUTHENTICATION, "k");
	reads_errors(502, "{\"error\":{\"message\":\"u\",\"code\":429}}",
		     NEUTRAL_ERROR_RATE, "u");
	reads_errors(503, "{\"detail\":\"d\"}", NEUTRAL_ERROR_OVERLOADED, "d");
	reads_errors(400, "{\"error\":\"s\"}", NEUTRAL_ERROR_INVALID, "s");
	reads_errors(500, "<html>\x1b", NEUTRAL_ERROR_API, "<html>\\x1b");
	assert_string_equal(dialect_responses.error_type(429),
			    "rate_limit_error");
	assert_string_equal(dialect_responses.error_type(418), "server_error");
	assert_string_equal(dialect_responses.error_name(NEUTRAL_ERROR_CONTEXT,
							 &status),
			    "context_length_exceeded");
	assert_int_equal(status, 400);
	buf_init(&out, 4096);
	assert_int_equal(dialect_responses.put_error(&out, "rate_limit_error",
						     text),
			 ERR_OK);
	assert_true(span_is(buf_span(&out),
			    "{\"error\":{\"message\":\"try again in 5s\","
			    "\"type\":\"rate_limit_error\",\"param\":null,"
			    "\"code\":\"rate_limit_exceeded\"}}"));
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_model_stream_and_tools),
		cmocka_unit_test(finds_provider_side_tools),
		cmocka_unit_test(finds_provider_side_state),
		cmocka_unit_test(finds_what_is_fetched),
		cmocka_unit_test_setup(reports_results_once, forget),
		cmocka_unit_test(refuses_malformed_requests),
		cmocka_unit_test(changes_no_more_than_model_and_store),
		cmocka_unit_test(plain_replies_are_judged),
		cmocka_unit_test(bad_plain_replies_fail),
		cmocka_unit_test(errors_keep_their_meaning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
