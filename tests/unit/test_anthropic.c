/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_anthropic.c - what the gate finds in a request, and what it refuses
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/dialect.h"
#include "engine/proto/attrs.h"

#define REQUEST(rest)                                                      \
	"{\"model\":\"model-a\",\"max_tokens\":9,\"messages\":[{\"role\":" \
	"\"user\",\"content\":\"hi\"}]" rest "}"
#define CONTENT(blocks)                                                    \
	"{\"model\":\"model-a\",\"max_tokens\":9,\"messages\":[{\"role\":" \
	"\"user\",\"content\":[" blocks "]}]}"

static struct seen seen;

static enum err inspect(const char *text, struct request_facts *f)
{
	request_facts_init(f);
	return dialect_anthropic.inspect(ROUTE_MESSAGES, span_text(text), &seen,
					 f);
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

static void reads_model_stream_and_tools(void **state)
{
	struct request_facts f;
	char got[256];

	(void)state;
	assert_int_equal(
		inspect(REQUEST(",\"stream\":true,\"tools\":[{\"name\":"
				"\"read\",\"input_schema\":{}},{\"type\":"
				"\"custom\",\"name\":\"write\"},{\"type\":"
				"\"bash_20250124\",\"name\":\"bash\"},"
				"{\"type\":null,\"name\":\"x\"}]"),
			&f),
		ERR_OK);
	assert_string_equal(f.model, "model-a");
	assert_true(f.stream);
	join(buf_span(&f.tools), "tools", got, sizeof(got));
	assert_string_equal(got, "read,write,bash,x");
	assert_int_equal(f.features.len_bytes, 0);
	request_facts_fini(&f);
	assert_int_equal(inspect(REQUEST(""), &f), ERR_OK);
	assert_false(f.stream);
	request_facts_fini(&f);
}

static void client_side_tools_are_no_features(void **state)
{
	(void)state;
	finds(REQUEST(",\"tools\":[{\"type\":\"bash_20250124\",\"name\":"
		      "\"bash\"},{\"type\":\"text_editor_20250728\",\"name\":"
		      "\"e\"},{\"type\":\"computer_20251124\",\"name\":\"c\"}"
		      ",{\"type\":\"memory_20250818\",\"name\":\"m\"}]"),
	      "");
}

static void finds_provider_side_tools(void **state)
{
	static const struct {
		const char *type, *feature;
	} kinds[] = {
		{"web_search_20250305", "web_search"},
		{"web_search_20990101", "web_search"},
		{"web_fetch_20250910", "web_fetch"},
		{"code_execution_20260120", "code_execution"},
		{"tool_search_tool_regex_20251119", "tool_search"},
		{"tool_search_tool_bm25_20251119", "tool_search"},
		{"advisor_20260301", "advisor"},
		{"mcp_toolset", "mcp_servers"},
		{"bash_code_20250124", "unknown_tool:bash_code_20250124"},
		{"bash_", "unknown_tool:bash_"},
		{"bash_latest", "unknown_tool:bash_latest"},
		{"teleport", "unknown_tool:teleport"},
		{"Custom", "unknown_tool:Custom"},
		{"", "unknown_tool"},
		{"a\\u001bb", "unknown_tool:a\\x1bb"},
	};
	char text[512];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		(void)snprintf(text, sizeof(text),
			       REQUEST(",\"tools\":[{\"type\":\"%s\","
				       "\"name\":\"n\"}]"),
			       kinds[i].type);
		finds(text, kinds[i].feature);
	}
	finds(REQUEST(",\"tools\":[{\"type\":7,\"name\":\"n\"}]"),
	      "unknown_tool:?");
}

static void finds_other_provider_side_features(void **state)
{
	(void)state;
	finds(REQUEST(",\"mcp_servers\":[{\"url\":\"https://x\"}]"),
	      "mcp_servers");
	finds(REQUEST(",\"mcp_servers\":[],\"container\":null"), "");
	finds(REQUEST(",\"mcp_servers\":7"), "mcp_servers");
	finds(REQUEST(",\"container\":\"c_1\""), "container");
	finds(REQUEST(",\"container\":{\"skills\":[]}"), "container");
	finds(REQUEST(",\"container\":{\"skills\":[{\"skill_id\":\"pdf\"}]}"),
	      "container,skills");
	finds(REQUEST(",\"tools\":[{\"name\":\"n\",\"allowed_callers\":["
		      "\"direct\"]}]"),
	      "");
	finds(REQUEST(",\"tools\":[{\"name\":\"n\",\"allowed_callers\":["
		      "\"code_execution_20250825\"]}]"),
	      "code_execution");
	finds(REQUEST(",\"context_management\":{\"edits\":[{\"type\":"
		      "\"clear_tool_uses_20250919\"}]}"),
	      "");
	finds(REQUEST(",\"context_management\":{\"edits\":[{\"type\":"
		      "\"compact_20260112\"}]}"),
	      "compaction");
	finds(REQUEST(",\"context_management\":{\"edits\":[{\"type\":"
		      "\"compact_elsewhere\"},{\"type\":7}]}"),
	      "unknown_edit:compact_elsewhere,unknown_edit:?");
	finds(CONTENT("{\"type\":\"web_search_tool_result\",\"content\":[{"
		      "\"type\":\"web_search_result\",\"url\":\"u\"}]}"),
	      "");
	finds(CONTENT("{\"type\":\"wire_transfer\"}"),
	      "unknown_content:wire_transfer");
	finds(CONTENT("{\"type\":\"image\",\"source\":{\"type\":\"url\","
		      "\"url\":\"https://x\"}}"),
	      "url_image");
	finds(CONTENT("{\"type\":\"document\",\"source\":{\"type\":\"url\","
		      "\"url\":\"https://x\"}}"),
	      "url_document");
	finds(CONTENT("{\"type\":\"video\",\"source\":{\"type\":\"url\"}}"),
	      "unknown_content:video,url");
	finds(CONTENT("{\"type\":\"image\",\"source\":{\"type\":\"file\","
		      "\"file_id\":\"f\"}}"),
	      "file_id");
	finds(CONTENT("{\"type\":\"container_upload\",\"file_id\":\"f\"}"),
	      "container,file_id");
	finds(CONTENT("{\"type\":\"image\",\"source\":{\"type\":\"s3\"}}"),
	      "unknown_source:s3");
	finds(CONTENT("{\"type\":\"image\",\"source\":{}}"),
	      "unknown_source:?");
	finds(CONTENT("{\"type\":\"image\",\"source\":{\"type\":\"base64\","
		      "\"data\":\"aGk=\"}},{\"type\":\"document\",\"source\":{"
		      "\"type\":\"text\",\"data\":\"x\"}}"),
	      "");
}

/* The shape of what Claude Code 2.1.330 sends: nothing in it is refused. */
static void current_agents_are_understood(void **state)
{
	struct request_facts f;
	char got[256];

	(void)state;
	assert_int_equal(
		inspect("{\"model\":\"m\",\"messages\":[{\"role\":\"user\","
			"\"content\":[{\"type\":\"text\",\"text\":\"x\"}]},"
			"{\"role\":\"system\",\"content\":[{\"type\":\"text\","
			"\"text\":\"y\",\"cache_control\":{\"type\":"
			"\"ephemeral\"}}]}],\"system\":[{\"type\":\"text\","
			"\"text\":\"z\"}],\"tools\":[{\"name\":\"Bash\","
			"\"description\":\"d\",\"input_schema\":{}},{\"name\":"
			"\"Later\",\"description\":\"d\",\"input_schema\":{},"
			"\"defer_loading\":true}],\"metadata\":{\"user_id\":"
			"\"{}\"},\"max_tokens\":128000,\"thinking\":{\"type\":"
			"\"adaptive\",\"display\":\"omitted\"},"
			"\"context_management\":{\"edits\":[{\"type\":"
			"\"clear_thinking_20251015\",\"keep\":\"all\"}]},"
			"\"output_config\":{\"effort\":\"medium\"},\"stream\":"
			"true}",
			&f),
		ERR_OK);
	join(buf_span(&f.tools), "tools", got, sizeof(got));
	assert_string_equal(got, "Bash,Later");
	assert_int_equal(f.features.len_bytes, 0);
	request_facts_fini(&f);
}

#define ADDED(tool)                                            \
	"{\"model\":\"m\",\"messages\":[{\"role\":\"system\"," \
	"\"content\":[{\"type\":\"tool_addition\",\"tool\":" tool "}]}]}"

static void tools_added_later_are_judged_too(void **state)
{
	(void)state;
	finds(ADDED("{\"type\":\"tool_reference\",\"name\":\"Bash\"}"), "");
	finds(ADDED("{\"type\":\"tool_definition\",\"definition\":{\"name\":"
		    "\"a\",\"input_schema\":{}}}"),
	      "");
	finds(ADDED("{\"type\":\"tool_definition\",\"definition\":{\"type\":"
		    "\"web_search_20250305\",\"name\":\"web_search\"}}"),
	      "web_search");
	finds(ADDED("{\"type\":\"tool_definition\",\"definition\":{\"type\":"
		    "\"new_thing_20990101\",\"name\":\"n\"}}"),
	      "unknown_tool:new_thing_20990101");
	finds(ADDED("{\"type\":\"elsewhere\"}"), "unknown_tool:elsewhere");
	finds(ADDED("null"), "unknown_tool:?");
}

static void looks_into_nested_content(void **state)
{
	(void)state;
	finds(CONTENT("{\"type\":\"tool_result\",\"tool_use_id\":\"t\","
		      "\"content\":[{\"type\":\"image\",\"source\":{\"type\":"
		      "\"url\",\"url\":\"https://x\"}}]}"),
	      "url_image");
	finds(CONTENT("{\"type\":\"document\",\"source\":{\"type\":"
		      "\"content\",\"content\":[{\"type\":\"image\",\"source\""
		      ":{\"type\":\"url\"}}]}}"),
	      "url_image");
	finds(REQUEST(",\"system\":[{\"type\":\"image\",\"source\":{\"type\":"
		      "\"url\"}}]"),
	      "url_image");
	/* What only looks like it, inside a call's own arguments. */
	finds(CONTENT("{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"n\","
		      "\"input\":{\"source\":{\"type\":\"url\"}},\"source\":{"
		      "\"type\":\"base64\"}}"),
	      "");
	/* Escapes do not hide anything. */
	finds(CONTENT("{\"\\u0074ype\":\"\\u0069mage\",\"sourc\\u0065\":{"
		      "\"type\":\"\\u0075rl\"}}"),
	      "url_image");
}

static void reports_each_result_once(void **state)
{
	static const char text[] =
		CONTENT("{\"type\":\"tool_result\",\"tool_use_id\":\"t1\","
			"\"content\":\"x\"},{\"type\":\"tool_result\","
			"\"tool_use_id\":\"t2\",\"is_error\":true}");
	struct request_facts f;
	struct attr a;

	(void)state;
	assert_int_equal(inspect(text, &f), ERR_OK);
	assert_true(attrs_find(buf_span(&f.results), "t1", &a));
	assert_true(span_is(a.text, "ok"));
	assert_true(attrs_find(buf_span(&f.results), "t2", &a));
	assert_true(span_is(a.text, "error"));
	request_facts_fini(&f);
	assert_int_equal(inspect(text, &f), ERR_OK);
	assert_int_equal(f.results.len_bytes, 0);
	request_facts_fini(&f);
}

static void refuses_what_it_cannot_read(void **state)
{
	static const struct {
		const char *text;
		const char *why;
	} bad[] = {
		{"", "the body is not valid JSON: the text ends too early at "
		     "byte 0"},
		{"{\"model\":\"a\",\"model\":\"b\"}",
		 "the body is not valid JSON: duplicate key at byte 14"},
		{"[]", "the body is no JSON object"},
		{"{\"messages\":[]}", "model: missing, no text or too long"},
		{"{\"model\":\"\",\"messages\":[]}",
		 "model: missing, no text or too long"},
		{"{\"model\":\"a\\u0000\",\"messages\":[]}",
		 "model: missing, no text or too long"},
		{"{\"model\":\"a\"}", "messages: not a list"},
		{"{\"model\":\"a\",\"messages\":[7]}",
		 "messages: not a list of objects"},
		{REQUEST(",\"stream\":\"yes\""),
		 "stream: neither true nor false"},
		{REQUEST(",\"tools\":{}"), "tools: not a list"},
		{REQUEST(",\"tools\":[1]"), "tools: not a list of objects"},
		{REQUEST(",\"tools\":[{}]"), "tools: a tool without a name"},
		{CONTENT("7"), "content: a block without type"},
		{CONTENT("{\"text\":\"x\"}"), "content: a block without type"},
		{CONTENT("{\"type\":\"a\",\"content\":[{\"type\":\"a\","
			 "\"content\":[{\"type\":\"a\",\"content\":[{\"type\":"
			 "\"a\",\"content\":[{\"type\":\"a\"}]}]}]}]}"),
		 "content: nested too deeply"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct request_facts f;
		enum err e = inspect(bad[i].text, &f);

		if ((e != ERR_FORMAT && e != ERR_LIMIT) ||
		    strcmp(f.error_text, bad[i].why) != 0)
			fail_msg("%s: %s: %s", bad[i].text, err_name(e),
				 f.error_text);
		request_facts_fini(&f);
	}
}

static void refuses_too_many_features(void **state)
{
	struct request_facts f;
	struct buf text;
	const char *z;
	int i;

	(void)state;
	buf_init(&text, 65536);
	assert_int_equal(buf_put_text(&text, "{\"model\":\"a\",\"messages\":[]"
					     ",\"tools\":[{\"name\":\"n\"}"),
			 ERR_OK);
	for (i = 0; i < 40; i++)
		assert_int_equal(buf_printf(&text, ",{\"type\":\"x%d\"}", i),
				 ERR_OK);
	assert_int_equal(buf_put_text(&text, "]}"), ERR_OK);
	assert_int_equal(buf_terminate(&text, &z), ERR_OK);
	assert_int_equal(inspect(z, &f), ERR_LIMIT);
	assert_string_equal(f.error_text, "too many provider-side features");
	request_facts_fini(&f);
	buf_fini(&text);
}

static void long_tool_lists_are_cut_not_refused(void **state)
{
	struct request_facts f;
	struct attr a;
	struct buf text;
	const char *z;
	int i;

	(void)state;
	buf_init(&text, 1u << 20);
	assert_int_equal(buf_put_text(&text, "{\"model\":\"a\",\"messages\":[]"
					     ",\"tools\":[{\"name\":\"n\"}"),
			 ERR_OK);
	for (i = 0; i < 400; i++)
		assert_int_equal(buf_printf(&text,
					    ",{\"name\":\"a-tool-with-a-rather-"
					    "long-name-for-a-tool-%d\"}",
					    i),
				 ERR_OK);
	assert_int_equal(buf_put_text(&text, "]}"), ERR_OK);
	assert_int_equal(buf_terminate(&text, &z), ERR_OK);
	assert_int_equal(inspect(z, &f), ERR_OK);
	assert_true(attrs_find(buf_span(&f.tools), "tools", &a));
	assert_true(a.count > 50);
	request_facts_fini(&f);
	buf_fini(&text);
}

static void maps_statuses_to_error_types(void **state)
{
	struct buf b;

	(void)state;
	assert_string_equal(dialect_anthropic.error_type(403),
			    "permission_error");
	assert_string_equal(dialect_anthropic.error_type(502), "api_error");
	buf_init(&b, 1024);
	assert_int_equal(dialect_anthropic.put_error(&b, "permission_error",
						     span_text("a\"b")),
			 ERR_OK);
	assert_true(span_is(buf_span(&b),
			    "{\"type\":\"error\",\"error\":{\"type\":"
			    "\"permission_error\",\"message\":\"a\\\"b\"}}"));
	buf_fini(&b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, forget)
	const struct CMUnitTest tests[] = {
		TEST(reads_model_stream_and_tools),
		TEST(client_side_tools_are_no_features),
		TEST(finds_provider_side_tools),
		TEST(finds_other_provider_side_features),
		TEST(current_agents_are_understood),
		TEST(tools_added_later_are_judged_too),
		TEST(looks_into_nested_content),
		TEST(reports_each_result_once),
		TEST(refuses_what_it_cannot_read),
		TEST(refuses_too_many_features),
		TEST(long_tool_lists_are_cut_not_refused),
		TEST(maps_statuses_to_error_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
