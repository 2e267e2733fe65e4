/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_converse_request.c - Converse's requests, judged, read and written
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/converse.h"
#include "engine/gate/neutral_names.h"
#include "engine/proto/attrs.h"
#include "tests/lib/bedrock_frames.h"

#define CLAUDE "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
#define NOVA   "amazon.nova-pro-v1:0"

/* --- judging -------------------------------------------------------------- */

static enum err inspect(enum route route, const char *model, const char *body,
			struct request_facts *f)
{
	static struct seen seen;

	memset(&seen, 0, sizeof(seen));
	request_facts_init(f);
	assert_int_equal(span_copy_text(span_text(model), f->model,
					sizeof(f->model)),
			 ERR_OK);
	return dialect_converse.inspect(route, span_text(body), &seen, f);
}

static void put_list(const struct buf *attrs, struct buf *out)
{
	struct reader r, items;
	struct attr a;
	struct span one;

	reader_init(&r, buf_span(attrs));
	while (attrs_next(&r, &a)) {
		if (a.type == ATTR_TEXT) {
			assert_int_equal(buf_put_span(out, a.key), ERR_OK);
			assert_int_equal(buf_put_u8(out, '='), ERR_OK);
			assert_int_equal(buf_put_span(out, a.text), ERR_OK);
			assert_int_equal(buf_put_u8(out, ' '), ERR_OK);
			continue;
		}
		reader_init(&items, a.items);
		while (attrs_list_next(&items, &one)) {
			assert_int_equal(buf_put_span(out, one), ERR_OK);
			assert_int_equal(buf_put_u8(out, ' '), ERR_OK);
		}
	}
}

static void check_features(const char *model, const char *body,
			   const char *want)
{
	struct request_facts f;
	struct buf found;

	assert_int_equal(inspect(ROUTE_CONVERSE, model, body, &f), ERR_OK);
	buf_init(&found, 4096);
	put_list(&f.features, &found);
	if (!span_is(buf_span(&found), want))
		fail_msg("%s: %.*s", body, (int)found.len_bytes,
			 (const char *)found.data);
	buf_fini(&found);
	request_facts_fini(&f);
}

#define CONTENT(blocks) \
	"{\"messages\":[{\"role\":\"user\",\"content\":[" blocks "]}]}"

static void test_what_acts_at_the_provider_is_a_feature(void **state)
{
	(void)state;
	check_features(CLAUDE, CONTENT("{\"text\":\"hi\"}"), "");
	check_features(NOVA,
		       "{\"toolConfig\":{\"tools\":[{\"systemTool\":{\"name\":"
		       "\"nova_grounding\"}},{\"systemTool\":{\"name\":"
		       "\"nova_code_interpreter\"}},{\"systemTool\":{\"name\":"
		       "\"new\"}},{\"newTool\":{}},{\"cachePoint\":{\"type\":"
		       "\"default\"}}]}}",
		       "web_search code_execution unknown_tool:new "
		       "unknown_tool:newTool ");
	check_features(CLAUDE,
		       CONTENT("{\"image\":{\"format\":\"png\",\"source\":"
			       "{\"s3Location\":{\"uri\":\"s3://b/k\"}}}}"),
		       "s3_object ");
	check_features(CLAUDE,
		       CONTENT("{\"video\":{\"format\":\"mp4\",\"source\":"
			       "{\"s3Location\":{}}}}"),
		       "s3_object ");
	check_features(CLAUDE,
		       CONTENT("{\"toolResult\":{\"toolUseId\":\"a\","
			       "\"content\":[{\"document\":{\"format\":\"pdf\","
			       "\"name\":\"n\",\"source\":{\"s3Location\":{}}}"
			       "}]}}"),
		       "s3_object ");
	check_features(CLAUDE,
		       CONTENT("{\"guardContent\":{\"image\":{\"format\":"
			       "\"png\",\"source\":{\"url\":\"http://x\"}}}}"),
		       "unknown_source:url ");
	check_features(CLAUDE,
		       CONTENT("{\"image\":{\"format\":\"png\",\"source\":"
			       "{\"bytes\":\"AAAA\"}}},{\"document\":"
			       "{\"source\":{\"text\":\"a\"}}},{\"cachePoint\":"
			       "{\"type\":\"default\"}},{\"searchResult\":"
			       "{\"source\":\"https://x\",\"content\":[]}}"),
		       "");
	check_features("arn:aws:bedrock:us-east-1:1:prompt/P:1", "{}",
		       "stored_prompt ");
	check_features(CLAUDE, "{\"promptVariables\":{\"a\":{\"text\":\"\"}}}",
		       "stored_prompt ");
	check_features(CLAUDE,
		       "{\"guardrailConfig\":{\"guardrailIdentifier\":\"g\","
		       "\"guardrailVersion\":\"1\"},\"requestMetadata\":"
		       "{\"a\":\"b\"},\"serviceTier\":{\"type\":\"flex\"}}",
		       "");
	/* Claude's own fields are Anthropic's, and judged as those. */
	check_features(CLAUDE,
		       "{\"additionalModelRequestFields\":{\"tools\":"
		       "[{\"type\":\"web_search_20250305\",\"name\":"
		       "\"web_search\"},{\"type\":\"future_tool\"}],"
		       "\"mcp_servers\":[{\"url\":\"https://x\"}]}}",
		       "mcp_servers web_search unknown_tool:future_tool ");
	check_features(CLAUDE,
		       "{\"additionalModelRequestFields\":{\"thinking\":"
		       "{\"type\":\"enabled\",\"budget_tokens\":2048}}}",
		       "");
	check_features("cohere.command-r-v1:0",
		       "{\"additionalModelRequestFields\":{\"connectors\":"
		       "[{\"id\":\"web-search\"}]}}",
		       "web_search ");
}

static void test_tools_and_results_are_noted(void **state)
{
	static const char body[] =
		"{\"toolConfig\":{\"tools\":[{\"toolSpec\":{\"name\":\"bash\","
		"\"inputSchema\":{\"json\":{}}}}]},\"messages\":[{\"role\":"
		"\"user\",\"content\":[{\"toolResult\":{\"toolUseId\":\"a\","
		"\"content\":[]}},{\"toolResult\":{\"toolUseId\":\"b\","
		"\"content\":[],\"status\":\"error\"}}]}]}";
	struct request_facts f;
	struct buf found;

	(void)state;
	assert_int_equal(inspect(ROUTE_CONVERSE_STREAM, CLAUDE, body, &f),
			 ERR_OK);
	assert_true(f.stream);
	assert_string_equal(f.model, CLAUDE);
	buf_init(&found, 4096);
	put_list(&f.tools, &found);
	put_list(&f.results, &found);
	assert_true(span_is(buf_span(&found), "bash a=ok b=error "));
	buf_fini(&found);
	request_facts_fini(&f);
}

static void check_refused(const char *model, const char *body, enum err want,
			  const char *why)
{
	struct request_facts f;

	assert_int_equal(inspect(ROUTE_CONVERSE, model, body, &f), want);
	if (!strstr(f.error_text, why))
		fail_msg("%s: %s", body, f.error_text);
	request_facts_fini(&f);
}

#define NEST(x) "{\"toolResult\":{\"toolUseId\":\"a\",\"content\":[" x "]}}"

static void test_malformed_requests_are_refused(void **state)
{
	(void)state;
	check_refused("", "{}", ERR_FORMAT, "the path names no model");
	check_refused(CLAUDE, "", ERR_FORMAT, "not valid JSON");
	check_refused(CLAUDE, "{\"a\":1,\"a\":2}", ERR_FORMAT,
		      "not valid JSON");
	check_refused(CLAUDE, "[]", ERR_FORMAT, "no JSON object");
	check_refused(CLAUDE, "{\"messages\":{}}", ERR_FORMAT,
		      "messages: not a list");
	check_refused(CLAUDE, "{\"messages\":[1]}", ERR_FORMAT,
		      "messages: not a list of objects");
	check_refused(CLAUDE, CONTENT("1"), ERR_FORMAT,
		      "content: not a list of blocks");
	check_refused(CLAUDE, "{\"toolConfig\":{\"tools\":{}}}", ERR_FORMAT,
		      "toolConfig.tools: not a list");
	check_refused(CLAUDE, "{\"toolConfig\":{\"tools\":[1]}}", ERR_FORMAT,
		      "not a list of objects");
	check_refused(CLAUDE,
		      "{\"toolConfig\":{\"tools\":[{\"toolSpec\":{}}]}}",
		      ERR_FORMAT, "a tool without a name");
	check_refused(CLAUDE, "{\"additionalModelRequestFields\":[]}",
		      ERR_FORMAT, "not an object");
	check_refused(CLAUDE,
		      "{\"additionalModelRequestFields\":{\"messages\":[]}}",
		      ERR_FORMAT, "messages do not belong there");
	check_refused(CLAUDE,
		      "{\"additionalModelRequestFields\":{\"tools\":{}}}",
		      ERR_FORMAT, "tools: not a list");
	check_refused(CLAUDE, CONTENT(NEST(NEST(NEST(NEST(NEST("")))))),
		      ERR_LIMIT, "nested too deeply");
}

/* --- translating ---------------------------------------------------------- */

/* Reads a Converse body and writes it again, for @model. */
static enum err again(const char *body, const char *model, struct buf *out,
		      char *ret_text, size_t cap)
{
	const struct dialect_target t = {.route = ROUTE_CONVERSE,
					 .model = span_text(model)};
	struct neutral_request r;
	uint32_t i;
	enum err e;

	neutral_request_init(&r);
	e = converse_read_request(ROUTE_CONVERSE, span_text(body), &r);
	r.model = span_text(model);
	if (e == ERR_OK)
		e = neutral_settle_names(&r);
	if (e == ERR_OK)
		e = converse_write_request(&r, &t, out);
	ret_text[0] = '\0';
	if (e != ERR_OK)
		strncat(ret_text, r.error_text, cap - 1);
	for (i = 0; e == ERR_OK && i < r.dropped_count; i++) {
		strncat(ret_text, r.dropped[i], cap - strlen(ret_text) - 1);
		strncat(ret_text, ";", cap - strlen(ret_text) - 1);
	}
	neutral_request_fini(&r);
	return e;
}

static void check_again(const char *model, const char *body, const char *want,
			const char *dropped)
{
	struct buf out;
	char text[512];
	enum err e;

	buf_init(&out, BODY_MAX_BYTES);
	e = again(body, model, &out, text, sizeof(text));
	if (e != ERR_OK)
		fail_msg("%s: %s", body, text);
	if (!span_is(buf_span(&out), want))
		fail_msg("%.*s", (int)out.len_bytes, (const char *)out.data);
	assert_string_equal(text, dropped);
	buf_fini(&out);
}

static void check_not_again(const char *model, const char *body, enum err want,
			    const char *why)
{
	struct buf out;
	char text[512];
	enum err e;

	buf_init(&out, BODY_MAX_BYTES);
	e = again(body, model, &out, text, sizeof(text));
	if (e != want || !strstr(text, why))
		fail_msg("%s: %s: %s", body, err_name(e), text);
	buf_fini(&out);
}

static void test_whole_requests_survive(void **state)
{
	static const char body[] =
		"{\"system\":[{\"text\":\"Be kind\"},{\"cachePoint\":"
		"{\"type\":\"default\"}}],\"messages\":[{\"role\":\"user\","
		"\"content\":[{\"text\":\"Hi \\u00e4\"},{\"image\":"
		"{\"format\":\"jpeg\",\"source\":{\"bytes\":\"AAAA\"}}},"
		"{\"document\":{\"format\":\"pdf\",\"name\":\"a b\","
		"\"source\":{\"bytes\":\"AAAA\"}}},{\"cachePoint\":{\"type\":"
		"\"default\",\"ttl\":\"1h\"}}]},{\"role\":\"assistant\","
		"\"content\":[{\"reasoningContent\":{\"reasoningText\":"
		"{\"text\":\"Hm\",\"signature\":\"S\"}}},"
		"{\"reasoningContent\":{\"redactedContent\":\"b3BhcXVl\"}},"
		"{\"text\":\"ok\"},{\"toolUse\":{\"toolUseId\":\"t_1\","
		"\"name\":\"bash\",\"input\":{\"a\":[1,2]}}}]},{\"role\":"
		"\"user\",\"content\":[{\"toolResult\":{\"toolUseId\":\"t_1\","
		"\"content\":[{\"text\":\"no\"},{\"image\":{\"format\":\"png\","
		"\"source\":{\"bytes\":\"AAAA\"}}}],\"status\":\"error\"}}]}],"
		"\"inferenceConfig\":{\"maxTokens\":4096,\"topP\":0.9,"
		"\"stopSequences\":[\"END\"]},\"toolConfig\":{\"tools\":"
		"[{\"toolSpec\":{\"name\":\"bash\",\"description\":\"runs\","
		"\"inputSchema\":{\"json\":{\"type\":\"object\"}},\"strict\":"
		"true}},{\"cachePoint\":{\"type\":\"default\"}}],"
		"\"toolChoice\":{\"auto\":{}}},"
		"\"additionalModelRequestFields\":{\"thinking\":{\"type\":"
		"\"enabled\",\"budget_tokens\":2048},\"top_k\":5},"
		"\"outputConfig\":{\"textFormat\":{\"type\":\"json_schema\","
		"\"structure\":{\"jsonSchema\":{\"schema\":"
		"\"{\\\"type\\\":\\\"object\\\"}\",\"name\":\"out\"}}}},"
		"\"serviceTier\":{\"type\":\"flex\"}}";
	struct buf want;
	const char *text;

	(void)state;
	/* The only thing written otherwise is an escape that need not be. */
	buf_init(&want, 8192);
	text = strstr(body, "\\u00e4");
	assert_int_equal(buf_put(&want, body, (size_t)(text - body)), ERR_OK);
	assert_int_equal(buf_put_text(&want, "\xc3\xa4"), ERR_OK);
	assert_int_equal(buf_put_text(&want, text + 6), ERR_OK);
	assert_int_equal(buf_terminate(&want, &text), ERR_OK);
	check_again(CLAUDE, body, text, "");
	buf_fini(&want);
}

#define REST                       \
	",\"inferenceConfig\":{}," \
	"\"additionalModelRequestFields\":{}}"
#define CALL                                                 \
	"{\"role\":\"assistant\",\"content\":[{\"toolUse\":" \
	"{\"toolUseId\":\"t\",\"name\":\"bash\",\"input\":{}}}]}"
#define RESULT(id) "{\"toolResult\":{\"toolUseId\":\"" id "\",\"content\":[]}}"

static void test_messages_are_as_bedrock_wants_them(void **state)
{
	(void)state;
	/* Neighbours are joined, results first; blank texts left out. */
	check_again(CLAUDE,
		    "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":"
		    "\"a\"},{\"text\":\" \\n\"}]},{\"role\":\"assistant\","
		    "\"content\":[{\"text\":\"\"}]},{\"role\":\"user\","
		    "\"content\":[{\"text\":\"b\"}]}]}",
		    "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":"
		    "\"a\"},{\"text\":\"b\"}]}]" REST,
		    "");
	check_again(CLAUDE,
		    "{\"messages\":[" CALL ",{\"role\":\"user\",\"content\":"
		    "[{\"text\":\"x\"}]},{\"role\":\"user\",\"content\":"
		    "[" RESULT("t") "]}],\"toolConfig\":{\"tools\":"
				    "[{\"toolSpec\":{\"name\":\"bash\","
				    "\"inputSchema\":{\"json\":{}}}}]}}",
		    "{\"messages\":[" CALL ",{\"role\":\"user\",\"content\":"
		    "[" RESULT("t") ",{\"text\":\"x\"}]}],"
				    "\"inferenceConfig\":{},\"toolConfig\":"
				    "{\"tools\":[{\"toolSpec\":{\"name\":"
				    "\"bash\",\"inputSchema\":{\"json\":{}}}}]}"
				    ",\"additionalModelRequestFields\":{}}",
		    "");
	/* A history with calls needs tools. */
	check_again(CLAUDE,
		    "{\"messages\":[" CALL ",{\"role\":\"user\",\"content\":"
		    "[" RESULT("t") "]}]}",
		    "{\"messages\":[" CALL ",{\"role\":\"user\",\"content\":"
		    "[" RESULT("t") "]}],\"inferenceConfig\":{},"
				    "\"toolConfig\":{\"tools\":[{\"toolSpec\":"
				    "{\"name\":\"bash\",\"inputSchema\":"
				    "{\"json\":{\"type\":\"object\","
				    "\"properties\":{}}}}}]},"
				    "\"additionalModelRequestFields\":{}}",
		    "");
	/* A JSON result is its text. */
	check_again(CLAUDE,
		    CONTENT("{\"toolResult\":{\"toolUseId\":\"t\",\"content\":"
			    "[{\"json\":{\"a\":1}}]}}"),
		    "{\"messages\":[{\"role\":\"user\",\"content\":"
		    "[{\"toolResult\":{\"toolUseId\":\"t\",\"content\":"
		    "[{\"text\":\"{\\\"a\\\":1}\"}]}}]}],\"inferenceConfig\":"
		    "{},\"toolConfig\":{\"tools\":[{\"toolSpec\":{\"name\":"
		    "\"none\",\"inputSchema\":{\"json\":{\"type\":\"object\","
		    "\"properties\":{}}}}}]},"
		    "\"additionalModelRequestFields\":{}}",
		    "");
}

static void test_documents_have_names_of_their_own(void **state)
{
	(void)state;
	check_again(CLAUDE,
		    CONTENT("{\"document\":{\"name\":\"a/b..c  (1)\","
			    "\"source\":{\"text\":\"hi\"}}},{\"document\":"
			    "{\"name\":\"\",\"source\":{\"content\":[{\"text\":"
			    "\"h\"},{\"text\":\"i\"}]}}}"),
		    "{\"messages\":[{\"role\":\"user\",\"content\":"
		    "[{\"document\":{\"format\":\"txt\",\"name\":\"a b c "
		    "(1)\",\"source\":{\"bytes\":\"aGk=\"}}},{\"document\":"
		    "{\"format\":\"txt\",\"name\":\"document 2\",\"source\":"
		    "{\"bytes\":\"aApp\"}}}]}]" REST,
		    "");
}

static void test_what_a_model_cannot_is_left_out(void **state)
{
	static const char body[] =
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":"
		"\"a\"},{\"cachePoint\":{\"type\":\"default\"}}]}],"
		"\"additionalModelRequestFields\":{\"thinking\":{\"type\":"
		"\"adaptive\"},\"top_k\":3,\"anthropic_beta\":[\"x\"]},"
		"\"requestMetadata\":{\"a\":\"b\"},\"performanceConfig\":"
		"{\"latency\":\"optimized\"}}";

	(void)state;
	check_again("meta.llama3-70b-instruct-v1:0", body,
		    "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":"
		    "\"a\"}]}]" REST,
		    "requestMetadata;performanceConfig;anthropic_beta;"
		    "cache_control;thinking;top_k;");
	check_again(NOVA, body,
		    "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":"
		    "\"a\"},{\"cachePoint\":{\"type\":\"default\"}}]}],"
		    "\"inferenceConfig\":{},\"additionalModelRequestFields\":"
		    "{\"inferenceConfig\":{\"topK\":3}}}",
		    "requestMetadata;performanceConfig;anthropic_beta;"
		    "thinking;");
	check_again("openai.gpt-oss-120b-1:0",
		    "{\"messages\":[],\"additionalModelRequestFields\":"
		    "{\"reasoning_effort\":\"low\"}}",
		    "{\"messages\":[],\"inferenceConfig\":{},"
		    "\"additionalModelRequestFields\":{\"reasoning_effort\":"
		    "\"low\"}}",
		    "");
}

static void test_cache_points_are_limited(void **state)
{
#define POINT "{\"text\":\"a\"},{\"cachePoint\":{\"type\":\"default\"}}"
	(void)state;
	check_again(CLAUDE,
		    CONTENT(POINT "," POINT "," POINT "," POINT "," POINT),
		    "{\"messages\":[{\"role\":\"user\",\"content\":[" POINT
		    "," POINT "," POINT "," POINT ",{\"text\":\"a\"}]}]" REST,
		    "cache_control;");
#undef POINT
}

static void test_effort_becomes_a_budget(void **state)
{
#define EFFORT(max)                                              \
	"{\"messages\":[],\"inferenceConfig\":{" max             \
	"\"temperature\":0.5},\"additionalModelRequestFields\":" \
	"{\"reasoning_effort\":\"high\"}}"
	(void)state;
	check_again(CLAUDE, EFFORT("\"maxTokens\":8000,"),
		    "{\"messages\":[],\"inferenceConfig\":{\"maxTokens\":8000},"
		    "\"additionalModelRequestFields\":{\"thinking\":{\"type\":"
		    "\"enabled\",\"budget_tokens\":4000}}}",
		    "temperature;");
	/* Later models choose for themselves. */
	check_again("anthropic.claude-opus-4-6", EFFORT(""),
		    "{\"messages\":[],\"inferenceConfig\":{},"
		    "\"additionalModelRequestFields\":{\"thinking\":{\"type\":"
		    "\"adaptive\"},\"output_config\":{\"effort\":\"high\"}}}",
		    "temperature;");
#undef EFFORT
}

static void test_names_are_made_acceptable(void **state)
{
	struct buf out;
	char text[512];

	(void)state;
	buf_init(&out, BODY_MAX_BYTES);
	assert_int_equal(again("{\"messages\":[],\"toolConfig\":{\"tools\":"
			       "[{\"toolSpec\":{\"name\":\"files.read\","
			       "\"inputSchema\":{\"json\":{}}}}]}}",
			       CLAUDE, &out, text, sizeof(text)),
			 ERR_OK);
	assert_true(bedrock_test_has(&out, "\"name\":\"files_read_"));
	buf_fini(&out);
}

static void test_what_cannot_be_read_is_refused(void **state)
{
	static const struct {
		const char *body, *why;
	} table[] = {
		{"{\"guardrailConfig\":{}}", "the request.guardrailConfig"},
		{"{\"promptVariables\":{}}", "the request.promptVariables"},
		{"{\"future\":1}", "the request.future"},
		{CONTENT("{\"video\":{}}"), "content[].video"},
		{CONTENT("{\"image\":{\"format\":\"png\",\"source\":"
			 "{\"s3Location\":{}}}}"),
		 "image.source.s3Location"},
		{CONTENT("{\"image\":{\"format\":\"tiff\",\"source\":"
			 "{\"bytes\":\"AAAA\"}}}"),
		 "image.format"},
		{CONTENT("{\"document\":{\"format\":\"odt\",\"source\":"
			 "{\"bytes\":\"AAAA\"}}}"),
		 "document.format"},
		{CONTENT("{\"document\":{\"format\":\"pdf\",\"source\":"
			 "{\"s3Location\":{}}}}"),
		 "document.source.s3Location"},
		{"{\"messages\":[],\"toolConfig\":{\"tools\":[{\"systemTool\":"
		 "{\"name\":\"nova_grounding\"}}]}}",
		 "toolConfig.tools[].systemTool"},
		{"{\"messages\":[],\"toolConfig\":{\"tools\":[],\"toolChoice\":"
		 "{\"new\":{}}}}",
		 "toolConfig.toolChoice.new"},
		{"{\"messages\":[],\"additionalModelRequestFields\":"
		 "{\"x\":1}}",
		 "additionalModelRequestFields.x"},
		{"{\"messages\":[],\"additionalModelRequestFields\":"
		 "{\"thinking\":{\"type\":\"new\"}}}",
		 "thinking.type"},
		{"{\"messages\":[],\"outputConfig\":{\"textFormat\":{\"type\":"
		 "\"new\"}}}",
		 "outputConfig.textFormat.type"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++)
		check_not_again(CLAUDE, table[i].body, ERR_UNSUPPORTED,
				table[i].why);
}

static void test_malformed_fields_are_named(void **state)
{
	static const struct {
		const char *body, *why;
	} table[] = {
		{"[]", "no JSON object"},
		{"{}", "messages: not a list"},
		{"{\"messages\":[{\"role\":\"system\"}]}", "messages[].role"},
		{"{\"messages\":[{\"role\":\"user\"}]}", "content: not a list"},
		{CONTENT("{\"text\":1}"), "text: not a string"},
		{CONTENT("{\"text\":\"a\",\"image\":{}}"), "one member"},
		{CONTENT("{}"), "one member"},
		{CONTENT("1"), "one member"},
		{CONTENT("{\"json\":{}}"), "outside of a result"},
		{CONTENT("{\"image\":{\"format\":\"png\",\"source\":"
			 "{\"bytes\":\"?\"}}}"),
		 "not base64"},
		{CONTENT("{\"toolUse\":{\"name\":\"a\",\"input\":{}}}"),
		 "without an id and a name"},
		{CONTENT("{\"toolUse\":{\"toolUseId\":\"i\",\"name\":\"a\","
			 "\"input\":[]}}"),
		 "toolUse.input"},
		{CONTENT("{\"toolResult\":{\"content\":[]}}"), "without an id"},
		{CONTENT(NEST(NEST(""))), "a result inside a result"},
		{CONTENT(NEST("{\"toolUse\":{}}")), "a call inside a result"},
		{CONTENT(NEST("{\"reasoningContent\":{}}")),
		 "reasoning inside a result"},
		{CONTENT("{\"reasoningContent\":{}}"), "reasoningContent"},
		{CONTENT("{\"reasoningContent\":{\"redactedContent\":"
			 "\"?\"}}"),
		 "not base64"},
		{"{\"messages\":[],\"toolConfig\":{}}", "toolConfig.tools"},
		{"{\"messages\":[],\"toolConfig\":{\"tools\":[1]}}",
		 "one member"},
		{"{\"messages\":[],\"toolConfig\":{\"tools\":[{\"toolSpec\":"
		 "{}}]}}",
		 "without a name"},
		{"{\"messages\":[],\"toolConfig\":{\"tools\":[{\"toolSpec\":"
		 "{\"name\":\"a\"}}]}}",
		 "inputSchema"},
		{"{\"messages\":[],\"toolConfig\":{\"tools\":[],\"toolChoice\":"
		 "{\"tool\":{}}}}",
		 "without a name"},
		{"{\"messages\":[],\"inferenceConfig\":{\"maxTokens\":\"1\"}}",
		 "maxTokens: not a number"},
		{"{\"messages\":[],\"inferenceConfig\":{\"stopSequences\":"
		 "\"a\"}}",
		 "stopSequences: not a list"},
		{"{\"messages\":[],\"inferenceConfig\":{\"stopSequences\":"
		 "[1]}}",
		 "stopSequences[]"},
		{"{\"messages\":[],\"additionalModelRequestFields\":"
		 "{\"top_k\":\"1\"}}",
		 "top_k: not a number"},
		{"{\"messages\":[],\"additionalModelRequestFields\":"
		 "{\"thinking\":{\"type\":\"enabled\"}}}",
		 "thinking.budget_tokens"},
		{"{\"messages\":[],\"outputConfig\":{\"textFormat\":{\"type\":"
		 "\"json_schema\",\"structure\":{\"jsonSchema\":{\"schema\":"
		 "\"[]\"}}}}}",
		 "outputConfig.textFormat.structure"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++)
		check_not_again(CLAUDE, table[i].body, ERR_FORMAT,
				table[i].why);
}

/* --- what other dialects can say, and Bedrock cannot -----------------------
 */

static enum err write(struct neutral_request *r, struct buf *out)
{
	const struct dialect_target t = {.route = ROUTE_CONVERSE,
					 .model = span_text(CLAUDE)};

	return converse_write_request(r, &t, out);
}

static void add_part(struct neutral_request *r, const struct neutral_part *p)
{
	if (!r->message_count)
		assert_int_equal(neutral_add_message(r, NEUTRAL_USER), ERR_OK);
	assert_int_equal(neutral_add_part(r, p), ERR_OK);
}

static void check_part_refused(const struct neutral_part *p, const char *why)
{
	struct neutral_request r;
	struct buf out;

	neutral_request_init(&r);
	buf_init(&out, BODY_MAX_BYTES);
	add_part(&r, p);
	assert_int_equal(write(&r, &out), ERR_UNSUPPORTED);
	if (!strstr(r.error_text, why))
		fail_msg("%s", r.error_text);
	neutral_request_fini(&r);
	buf_fini(&out);
}

static void test_parts_that_bedrock_refuses(void **state)
{
	static uint8_t large[5300000];
	struct neutral_part p = {.kind = NEUTRAL_IMAGE};
	struct neutral_request r;
	struct buf out;
	int i;

	(void)state;
	p.url = span_text("https://example.org/a.png");
	check_part_refused(&p, "image: Bedrock fetches no image from a URL");
	p.kind = NEUTRAL_DOCUMENT;
	check_part_refused(&p, "document: Bedrock fetches no document");
	p = (struct neutral_part){.kind = NEUTRAL_IMAGE,
				  .media_type = span_text("image/tiff"),
				  .data = span_text("AAAA")};
	check_part_refused(&p, "image: Bedrock takes png, jpeg");
	p.kind = NEUTRAL_DOCUMENT;
	check_part_refused(&p, "document: a type that Bedrock does not take");
	memset(large, 'A', sizeof(large));
	p = (struct neutral_part){.kind = NEUTRAL_IMAGE,
				  .media_type = span_text("image/png"),
				  .data = span_of(large, sizeof(large))};
	check_part_refused(&p, "image: larger than 3.75 MB");

	neutral_request_init(&r);
	buf_init(&out, BODY_MAX_BYTES);
	p.data = span_text("AAAA");
	for (i = 0; i < 21; i++)
		add_part(&r, &p);
	assert_int_equal(write(&r, &out), ERR_UNSUPPORTED);
	assert_string_equal(r.error_text, "image: more than 20 images");
	neutral_request_fini(&r);

	neutral_request_init(&r);
	buf_reset(&out);
	p = (struct neutral_part){.kind = NEUTRAL_DOCUMENT,
				  .media_type = span_text("application/pdf"),
				  .data = span_of(large, sizeof(large))};
	for (i = 0; i < 5; i++)
		add_part(&r, &p);
	assert_int_equal(write(&r, &out), ERR_UNSUPPORTED);
	assert_string_equal(r.error_text,
			    "the request: larger than Bedrock's 25 MB");
	neutral_request_fini(&r);
	buf_fini(&out);
}

static void test_settings_that_bedrock_lacks(void **state)
{
	const struct neutral_tool tool = {.name = span_text("bash")};
	struct neutral_request r;
	struct buf out;

	(void)state;
	buf_init(&out, BODY_MAX_BYTES);
	/* Without calls before, no choice is no tools. */
	neutral_request_init(&r);
	assert_int_equal(neutral_add_tool(&r, &tool), ERR_OK);
	r.choice = NEUTRAL_CHOICE_NONE;
	assert_int_equal(write(&r, &out), ERR_OK);
	assert_false(bedrock_test_has(&out, "toolConfig"));
	/* With calls before, tools must be there. */
	buf_reset(&out);
	add_part(&r, &(struct neutral_part){.kind = NEUTRAL_TOOL_CALL,
					    .id = span_text("i"),
					    .name = span_text("bash")});
	assert_int_equal(write(&r, &out), ERR_OK);
	assert_true(bedrock_test_has(&out, "toolSpec"));
	assert_false(bedrock_test_has(&out, "toolChoice"));
	assert_string_equal(r.dropped[0], "tool_choice none");
	neutral_request_fini(&r);

	neutral_request_init(&r);
	buf_reset(&out);
	assert_int_equal(neutral_add_tool(&r, &tool), ERR_OK);
	r.parallel = 0;
	r.seed = span_text("1");
	r.user = span_text("u");
	r.frequency_penalty = span_text("0.0");
	assert_int_equal(write(&r, &out), ERR_OK);
	assert_true(bedrock_test_has(&out, "\"tool_choice\":{\"type\":\"auto\","
					   "\"disable_parallel_tool_use\":"
					   "true}"));
	assert_string_equal(r.dropped[0], "seed");
	assert_string_equal(r.dropped[1], "user");
	r.presence_penalty = span_text("0.5");
	assert_int_equal(write(&r, &out), ERR_UNSUPPORTED);
	assert_string_equal(r.error_text, "presence_penalty: Bedrock has none");
	r.presence_penalty = span_text("0");
	r.format = NEUTRAL_FORMAT_JSON;
	assert_int_equal(write(&r, &out), ERR_UNSUPPORTED);
	assert_string_equal(r.error_text,
			    "response_format: Bedrock needs a schema for JSON");
	neutral_request_fini(&r);

	/* Reasoning that another provider signed. */
	neutral_request_init(&r);
	buf_reset(&out);
	add_part(&r, &(struct neutral_part){.kind = NEUTRAL_THINKING,
					    .text = span_text("Hm"),
					    .signature = span_text("s"),
					    .signer = DIALECT_RESPONSES});
	assert_int_equal(write(&r, &out), ERR_OK);
	assert_true(bedrock_test_has(&out, "{\"messages\":[],"));
	assert_string_equal(r.dropped[0], "thinking");
	neutral_request_fini(&r);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_acts_at_the_provider_is_a_feature),
		cmocka_unit_test(test_tools_and_results_are_noted),
		cmocka_unit_test(test_malformed_requests_are_refused),
		cmocka_unit_test(test_whole_requests_survive),
		cmocka_unit_test(test_messages_are_as_bedrock_wants_them),
		cmocka_unit_test(test_documents_have_names_of_their_own),
		cmocka_unit_test(test_what_a_model_cannot_is_left_out),
		cmocka_unit_test(test_cache_points_are_limited),
		cmocka_unit_test(test_effort_becomes_a_budget),
		cmocka_unit_test(test_names_are_made_acceptable),
		cmocka_unit_test(test_what_cannot_be_read_is_refused),
		cmocka_unit_test(test_malformed_fields_are_named),
		cmocka_unit_test(test_parts_that_bedrock_refuses),
		cmocka_unit_test(test_settings_that_bedrock_lacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
