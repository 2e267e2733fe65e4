/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_anthropic_request.c - every field of an Anthropic request, read into
 * the neutral form and written from it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/anthropic_neutral.h"
#include "engine/gate/neutral_tools.h"
#include "engine/gate/request_translate.h"
#include "engine/proto/attrs.h"

#define MODEL "claude-sonnet-9"

/* Reads a request of this dialect and writes it again. */
static enum err again(const char *body, const char *model, struct buf *out,
		      struct request_translation *ret)
{
	const struct dialect_target target = {
		.route = ROUTE_MESSAGES,
		.model = span_text(model),
	};

	return request_translate(&dialect_anthropic, ROUTE_MESSAGES,
				 span_text(body), &dialect_anthropic, &target,
				 out, ret);
}

static void assert_text(struct span s, const char *text)
{
	if (!span_is(s, text))
		fail_msg("%.*s\nis not\n%s", (int)s.len_bytes,
			 (const char *)s.data, text);
}

static void assert_dropped(const struct request_translation *t,
			   const char *names)
{
	char all[512] = "";
	struct span name;
	struct reader r;
	struct attr a;

	if (attrs_find(buf_span(&t->dropped), "dropped", &a)) {
		reader_init(&r, a.items);
		while (attrs_list_next(&r, &name)) {
			if (all[0])
				(void)strncat(all, ",",
					      sizeof(all) - strlen(all) - 1);
			(void)strncat(all, (const char *)name.data,
				      name.len_bytes);
		}
	}
	assert_string_equal(all, names);
}

#define BEGIN "{\"model\":\"" MODEL "\",\"max_tokens\":9,"
#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define HELLOS                                                              \
	"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"," \
	"\"text\":\"hi\"}]}]}"
#define USER(blocks) \
	BEGIN        \
	"\"messages\":[{\"role\":\"user\",\"content\":[" blocks "]}]}"
#define ASSISTANT(blocks) \
	BEGIN             \
	"\"messages\":[{\"role\":\"assistant\",\"content\":[" blocks "]}]}"
#define TOOL(more)                                               \
	"\"tools\":[{\"name\":\"t\",\"input_schema\":{\"type\":" \
	"\"object\"}" more "}],"
#define CALL "{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"t\",\"input\":{}}"

/* What is written is what was read, in the writer's order. */
static const char *const whole[] = {
	BEGIN HELLOS,
	BEGIN "\"system\":[{\"type\":\"text\",\"text\":\"s\"}]," HELLOS,
	BEGIN "\"system\":[{\"type\":\"text\",\"text\":\"s\",\"cache_control\":"
	      "{\"type\":\"ephemeral\"}},{\"type\":\"text\",\"text\":\"t\","
	      "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}]," //
	HELLOS,
	/* Content. */
	USER("{\"type\":\"text\",\"text\":\"a\\n\\\"b\\u0000\"}"),
	USER("{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_"
	     "type\":\"image/png\",\"data\":\"QUJD\"},\"cache_control\":{"
	     "\"type\":\"ephemeral\"}}"),
	USER("{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":"
	     "\"https://example.org/a.png\"}}"),
	USER("{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_"
	     "type\":\"application/pdf\",\"data\":\"QUJD\"},\"title\":\"T\"}"),
	USER("{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_"
	     "type\":\"text/plain\",\"data\":\"words\"}}"),
	USER("{\"type\":\"document\",\"source\":{\"type\":\"url\",\"url\":"
	     "\"https://example.org/a.pdf\"}}"),
	ASSISTANT("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":"
		  "\"sig\"},{\"type\":\"redacted_thinking\",\"data\":\"op\"},"
		  "{\"type\":\"text\",\"text\":\"x\"}," CALL),
	USER("{\"type\":\"tool_result\",\"tool_use_id\":\"c1\"}"),
	USER("{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"is_error\":"
	     "true,\"content\":[{\"type\":\"text\",\"text\":\"no\"},{\"type\":"
	     "\"image\",\"source\":{\"type\":\"base64\",\"media_type\":"
	     "\"image/gif\",\"data\":\"QQ==\"}}],\"cache_control\":{\"type\":"
	     "\"ephemeral\"}},{\"type\":\"text\",\"text\":\"go on\"}"),
	/* Tools and their choice. */
	BEGIN TOOL("") HELLOS,
	BEGIN
	"\"tools\":[{\"name\":\"t\",\"description\":\"d\",\"input_schema\":"
	"{\"type\":\"object\",\"x\":[1,2.50]},\"strict\":true,\"cache_"
	"control\":{\"type\":\"ephemeral\"}}]," HELLOS,
	BEGIN TOOL("") "\"tool_choice\":{\"type\":\"auto\"}," HELLOS,
	BEGIN TOOL("") "\"tool_choice\":{\"type\":\"any\",\"disable_parallel_"
		       "tool_use\":true}," HELLOS,
	BEGIN TOOL("") "\"tool_choice\":{\"type\":\"tool\",\"name\":\"t\","
		       "\"disable_parallel_tool_use\":false}," HELLOS,
	BEGIN TOOL("") "\"tool_choice\":{\"type\":\"none\"}," HELLOS,
	/* Reasoning and output. */
	"{\"model\":\"" MODEL "\",\"max_tokens\":9000,\"thinking\":{\"type\":"
	"\"enabled\",\"budget_tokens\":2000}," HELLOS,
	BEGIN "\"thinking\":{\"type\":\"disabled\"}," HELLOS,
	BEGIN "\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{"
	      "\"effort\":\"max\"}," HELLOS,
	BEGIN "\"output_config\":{\"effort\":\"low\",\"format\":{\"type\":"
	      "\"json_schema\",\"schema\":{\"type\":\"object\"}}}," HELLOS,
	/* Sampling and the rest. */
	BEGIN "\"temperature\":0.70,\"top_p\":1e-1,\"top_k\":40," HELLOS,
	BEGIN "\"stop_sequences\":[\"\\n\\nHuman:\",\"END\"]," HELLOS,
	BEGIN "\"metadata\":{\"user_id\":\"u\"}," HELLOS,
	BEGIN "\"service_tier\":\"standard_only\"," HELLOS,
	BEGIN "\"service_tier\":\"auto\"," HELLOS,
};

static void writes_what_it_read(void **state)
{
	struct request_translation t;
	struct buf out;
	size_t i;

	(void)state;
	buf_init(&out, 65536);
	for (i = 0; i < ARRAY_SIZE(whole); i++) {
		buf_reset(&out);
		request_translation_init(&t);
		if (again(whole[i], MODEL, &out, &t) != ERR_OK)
			fail_msg("%s: %s", whole[i], t.error_text);
		assert_text(buf_span(&out), whole[i]);
		assert_dropped(&t, "");
		assert_null(t.names);
		request_translation_fini(&t);
	}
	buf_fini(&out);
}

/* What comes in one form and goes in another, and what is noted. */
static const struct {
	const char *in, *out, *dropped;
} changed[] = {
	{BEGIN HELLO, BEGIN HELLOS, ""},
	{BEGIN "\"system\":\"s\"," HELLO,
	 BEGIN "\"system\":[{\"type\":\"text\",\"text\":\"s\"}]," HELLOS, ""},
	{"{\"stream\":true,\"tools\":null,\"container\":null,\"mcp_servers\":"
	 "[],\"model\":\"x\",\"max_tokens\":9," HELLO,
	 BEGIN HELLOS, ""},
	{BEGIN "\"speed\":\"fast\",\"context_management\":{\"edits\":[]},"
	       "\"cache_control\":{\"type\":\"ephemeral\"},\"of_next_year\":1,"
	       "\"metadata\":{\"user_id\":\"u\",\"x\":1},\"thinking\":{"
	       "\"type\":\"adaptive\",\"display\":\"omitted\"}," HELLO,
	 BEGIN "\"thinking\":{\"type\":\"adaptive\"},\"metadata\":{\"user_id\":"
	       "\"u\"}," HELLOS,
	 "speed,context_management,cache_control,of_next_year,metadata.x,"
	 "thinking.display"},
	{BEGIN "\"output_format\":{\"type\":\"json_schema\",\"schema\":{}},"
	       "\"service_tier\":\"other\"," HELLO,
	 BEGIN "\"output_config\":{\"format\":{\"type\":\"json_schema\","
	       "\"schema\":{}}}," HELLOS,
	 "service_tier"},
	{BEGIN TOOL(",\"type\":\"custom\",\"input_examples\":[],\"allowed_"
		    "callers\":[\"direct\"]") HELLO,
	 BEGIN TOOL("") HELLOS, "tools[].input_examples"},
	{USER("{\"type\":\"text\",\"text\":\"\"},{\"type\":\"text\",\"text\":"
	      "\"a\",\"citations\":[{}]}"),
	 USER("{\"type\":\"text\",\"text\":\"a\"}"), "citations"},
	{USER("{\"type\":\"document\",\"source\":{\"type\":\"content\","
	      "\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
	      "\"text\",\"text\":\"b\"}]},\"context\":\"about\",\"citations\":"
	      "{\"enabled\":true}}"),
	 USER("{\"type\":\"text\",\"text\":\"about\"},{\"type\":\"document\","
	      "\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\","
	      "\"data\":\"a\\nb\"}}"),
	 "citations"},
	{USER("{\"type\":\"search_result\",\"source\":\"https://e\",\"title\":"
	      "\"T\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}"),
	 USER("{\"type\":\"text\",\"text\":\"T\\nhttps://e\\na\"}"),
	 "citations"},
	{ASSISTANT("{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":"
		   "\"\"},{\"type\":\"thinking\",\"thinking\":\"t\","
		   "\"signature\":\"kenaz.responses.x\"},{\"type\":\"text\","
		   "\"text\":\"a\"}"),
	 ASSISTANT("{\"type\":\"text\",\"text\":\"a\"}"), "thinking"},
	/* A system message in between goes to the front. */
	{BEGIN "\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":"
	       "\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":"
	       "\"b\"}]}",
	 BEGIN "\"system\":[{\"type\":\"text\",\"text\":\"s\"}],\"messages\":[{"
	       "\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
	       "\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}]}",
	 "a system message's place"},
	/* Only the tools that are at hand by now. */
	{BEGIN "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
	       "\"tool_result\",\"tool_use_id\":\"c\",\"content\":[{\"type\":"
	       "\"tool_reference\",\"tool_name\":\"b\"}]}]},{\"role\":"
	       "\"system\",\"content\":[{\"type\":\"tool_addition\",\"tool\":"
	       "{\"type\":\"tool_reference\",\"name\":\"d\"}},{\"type\":"
	       "\"tool_removal\",\"tool\":{\"type\":\"tool_reference\","
	       "\"name\":\"e\"}},{\"type\":\"tool_addition\",\"tool\":{"
	       "\"type\":\"tool_definition\",\"definition\":{\"name\":\"f\","
	       "\"input_schema\":{}}}}]}],\"tools\":[{\"name\":\"a\",\"defer_"
	       "loading\":true,\"input_schema\":{}},{\"name\":\"b\",\"defer_"
	       "loading\":true,\"input_schema\":{}},{\"name\":\"c\",\"input_"
	       "schema\":{}},{\"name\":\"d\",\"defer_loading\":true,\"input_"
	       "schema\":{}},{\"name\":\"e\",\"input_schema\":{}}]}",
	 BEGIN "\"tools\":[{\"name\":\"b\",\"input_schema\":{}},{\"name\":"
	       "\"c\",\"input_schema\":{}},{\"name\":\"d\",\"input_schema\":"
	       "{}},{\"name\":\"f\",\"input_schema\":{}}],\"messages\":[{"
	       "\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
	       "\"tool_use_id\":\"c\",\"content\":[{\"type\":\"text\","
	       "\"text\":\"b\"}]}]}]}",
	 ""},
	/* Results first, whatever comes between. */
	{BEGIN "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
	       "\"text\",\"text\":\"a\"}]},{\"role\":\"assistant\",\"content\":"
	       "\"\"},{\"role\":\"user\",\"content\":[{\"type\":\"tool_"
	       "result\",\"tool_use_id\":\"c\",\"content\":\"r\"}]}]}",
	 USER("{\"type\":\"tool_result\",\"tool_use_id\":\"c\",\"content\":[{"
	      "\"type\":\"text\",\"text\":\"r\"}]},{\"type\":\"text\",\"text\":"
	      "\"a\"}"),
	 ""},
};

static void writes_what_differs_in_form(void **state)
{
	struct request_translation t;
	struct buf out;
	size_t i;

	(void)state;
	buf_init(&out, 65536);
	for (i = 0; i < ARRAY_SIZE(changed); i++) {
		buf_reset(&out);
		request_translation_init(&t);
		if (again(changed[i].in, MODEL, &out, &t) != ERR_OK)
			fail_msg("%s: %s", changed[i].in, t.error_text);
		assert_text(buf_span(&out), changed[i].out);
		assert_dropped(&t, changed[i].dropped);
		request_translation_fini(&t);
	}
	buf_fini(&out);
}

static const struct {
	const char *body;
	enum err e;
	const char *why;
} refused[] = {
	{"[1", ERR_FORMAT, "the body is not valid JSON"},
	{"[]", ERR_FORMAT, "the body: is no JSON object"},
	{"{}", ERR_FORMAT, "messages: missing"},
	{"{\"messages\":1}", ERR_FORMAT, "messages: not a list"},
	{"{\"messages\":[1]}", ERR_FORMAT, "messages[].role"},
	{"{\"messages\":[{\"role\":\"tool\"}]}", ERR_FORMAT, "messages[].role"},
	{"{\"messages\":[{\"role\":\"user\"}]}", ERR_FORMAT, "content"},
	{"{\"messages\":[],\"model\":1}", ERR_FORMAT, "model: not a string"},
	{"{\"messages\":[],\"max_tokens\":\"1\"}", ERR_FORMAT, "max_tokens"},
	{BEGIN "\"stream\":1," HELLO, ERR_FORMAT, "stream"},
	{"{\"max_tokens\":0," HELLO, ERR_FORMAT, "max_tokens"},
	{BEGIN "\"system\":1," HELLO, ERR_FORMAT, "content"},
	{BEGIN "\"system\":[{\"type\":\"image\"}]," HELLO, ERR_UNSUPPORTED,
	 "content block image"},
	{BEGIN "\"tools\":1," HELLO, ERR_FORMAT, "tools: not a list"},
	{BEGIN "\"tools\":[{\"name\":\"t\"}]," HELLO, ERR_FORMAT, "tools[]"},
	{BEGIN "\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"}]," //
	 HELLO,
	 ERR_UNSUPPORTED, "tools[].type: bash_20250124"},
	{BEGIN "\"tools\":[{\"type\":\"web_search_20250305\"}]," HELLO,
	 ERR_UNSUPPORTED, "tools[].type: web_search_20250305"},
	{BEGIN TOOL(",\"allowed_callers\":[\"code_execution_20250825\"]") HELLO,
	 ERR_UNSUPPORTED, "tools[].allowed_callers"},
	{BEGIN TOOL("") "\"tool_choice\":{\"type\":\"x\"}," HELLO,
	 ERR_UNSUPPORTED, "tool_choice.type: x"},
	{BEGIN TOOL("") "\"tool_choice\":{\"type\":\"tool\"}," HELLO,
	 ERR_FORMAT, "tool_choice.name"},
	{BEGIN "\"thinking\":{\"type\":\"x\"}," HELLO, ERR_UNSUPPORTED,
	 "thinking.type: x"},
	{BEGIN "\"thinking\":{\"type\":\"enabled\"}," HELLO, ERR_FORMAT,
	 "thinking.budget_tokens"},
	{BEGIN "\"stop_sequences\":[1]," HELLO, ERR_FORMAT, "stop_sequences"},
	{BEGIN
	 "\"stop_sequences\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\","
	 "\"8\",\"9\",\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"]," //
	 HELLO,
	 ERR_UNSUPPORTED, "stop_sequences: too many"},
	{BEGIN "\"output_config\":{\"format\":{\"type\":\"xml\"}}," HELLO,
	 ERR_UNSUPPORTED, "output format xml"},
	{BEGIN "\"output_format\":{\"type\":\"json_schema\"}," HELLO,
	 ERR_FORMAT, "output format"},
	{BEGIN "\"container\":\"c\"," HELLO, ERR_UNSUPPORTED, "container"},
	{BEGIN "\"mcp_servers\":[{}]," HELLO, ERR_UNSUPPORTED, "mcp_servers"},
	{BEGIN "\"inference_geo\":\"eu\"," HELLO, ERR_UNSUPPORTED,
	 "inference_geo"},
	{BEGIN "\"temperature\":1.5," HELLO, ERR_UNSUPPORTED, "temperature"},
	{USER("{}"), ERR_FORMAT, "content: a block without a type"},
	{USER("{\"type\":\"text\"}"), ERR_FORMAT, "text: missing"},
	{USER("{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{}}"),
	 ERR_FORMAT, "cache_control"},
	{USER("{\"type\":\"container_upload\",\"file_id\":\"f\"}"),
	 ERR_UNSUPPORTED, "content block container_upload"},
	{USER("{\"type\":\"server_tool_use\"}"), ERR_UNSUPPORTED,
	 "content block server_tool_use"},
	{USER("{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":"
	      "\"f\"}}"),
	 ERR_UNSUPPORTED, "source.type: file"},
	{USER("{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"data\":"
	      "\"QUJD\"}}"),
	 ERR_FORMAT, "source"},
	{USER("{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_"
	      "type\":\"image/png\",\"data\":\"?\"}}"),
	 ERR_FORMAT, "source"},
	{USER("{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_"
	      "type\":\"image/tiff\",\"data\":\"QUJD\"}}"),
	 ERR_UNSUPPORTED, "an image"},
	{USER("{\"type\":\"document\",\"source\":{\"type\":\"content\","
	      "\"content\":[{\"type\":\"image\"}]}}"),
	 ERR_UNSUPPORTED, "document.source.content"},
	{USER("{\"type\":\"tool_result\"}"), ERR_FORMAT,
	 "tool_result.tool_use_id"},
	{BEGIN "\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":"
	       "\"tool_addition\",\"tool\":{\"type\":\"other\"}}]}]}",
	 ERR_UNSUPPORTED, "tool_addition: other"},
	{BEGIN "\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":"
	       "\"tool_removal\"}]}]}",
	 ERR_FORMAT, "tool_reference"},
	{ASSISTANT("{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"t\","
		   "\"input\":\"x\"}"),
	 ERR_FORMAT, "tool_use"},
	{ASSISTANT("{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"t\","
		   "\"input\":{},\"caller\":{\"type\":\"code_execution\"}}"),
	 ERR_UNSUPPORTED, "tool_use.caller"},
	{ASSISTANT("{\"type\":\"thinking\"}"), ERR_FORMAT, "thinking"},
	{ASSISTANT("{\"type\":\"redacted_thinking\"}"), ERR_FORMAT,
	 "redacted_thinking.data"},
};

static void refuses_by_name_what_it_cannot_translate(void **state)
{
	struct request_translation t;
	struct buf out;
	enum err e;
	size_t i;

	(void)state;
	buf_init(&out, 65536);
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		request_translation_init(&t);
		e = again(refused[i].body, MODEL, &out, &t);
		if (e != refused[i].e || strncmp(t.error_text, refused[i].why,
						 strlen(refused[i].why)) != 0)
			fail_msg("%s: %d %s", refused[i].body, (int)e,
				 t.error_text);
		request_translation_fini(&t);
	}
	buf_fini(&out);
}

static void routes_that_only_one_dialect_has_are_refused(void **state)
{
	const struct dialect_target target = {.model = span_text("m")};
	struct request_translation t;
	struct buf out;

	(void)state;
	buf_init(&out, 65536);
	request_translation_init(&t);
	assert_int_equal(request_translate(&dialect_anthropic, ROUTE_MODELS,
					   span_text(BEGIN HELLO),
					   &dialect_anthropic, &target, &out,
					   &t),
			 ERR_UNSUPPORTED);
	assert_non_null(strstr(t.error_text, "route"));
	request_translation_fini(&t);
	buf_fini(&out);
}

/* Requests as other dialects make them. */
static void begin(struct neutral_request *r)
{
	const struct neutral_part hi = {.kind = NEUTRAL_TEXT,
					.text = span_text("hi")};

	neutral_request_init(r);
	assert_int_equal(neutral_add_message(r, NEUTRAL_USER), ERR_OK);
	assert_int_equal(neutral_add_part(r, &hi), ERR_OK);
}

static enum err write(struct neutral_request *r, const char *model,
		      struct buf *out)
{
	const struct dialect_target target = {.model = span_text(model),
					      .stream = true};

	buf_reset(out);
	return anthropic_write_request(r, &target, out);
}

static void a_limit_is_made_up_from_the_model(void **state)
{
	static const struct {
		const char *model, *text;
	} table[] = {
		{"claude-3-haiku-20240307", "\"max_tokens\":4096,"},
		{"anthropic.claude-3-5-sonnet-20241022-v2:0",
		 "\"max_tokens\":8192,"},
		{"claude-opus-4-1-20250805", "\"max_tokens\":32000,"},
		{"claude-of-later", "\"max_tokens\":32000,"},
		{"local", "\"max_tokens\":32000,"},
	};
	struct dialect_target target = {.model = span_text("local"),
					.max_tokens = 777};
	struct neutral_request r;
	const char *text;
	struct buf out;
	size_t i;

	(void)state;
	buf_init(&out, 65536);
	begin(&r);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(write(&r, table[i].model, &out), ERR_OK);
		assert_int_equal(buf_terminate(&out, &text), ERR_OK);
		assert_non_null(strstr(text, table[i].text));
		assert_non_null(strstr(text, "\"stream\":true"));
	}
	buf_reset(&out);
	assert_int_equal(anthropic_write_request(&r, &target, &out), ERR_OK);
	assert_int_equal(buf_terminate(&out, &text), ERR_OK);
	assert_non_null(strstr(text, "\"max_tokens\":777,"));
	assert_null(strstr(text, "stream"));
	neutral_request_fini(&r);
	buf_fini(&out);
}

static void effort_becomes_what_the_model_knows(void **state)
{
	static const struct {
		const char *model, *effort, *text, *absent;
	} table[] = {
		{"claude-opus-4-1-20250805", "high",
		 "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":16384}",
		 "effort"},
		{"claude-sonnet-4-5", "low", "\"budget_tokens\":2048}",
		 "temperature"},
		{"claude-opus-9", "high",
		 "\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{"
		 "\"effort\":\"high\"}",
		 "budget"},
		{"claude-opus-9", "minimal", "\"effort\":\"low\"", "budget"},
		{"claude-opus-9", "none", "\"type\":\"disabled\"", "effort"},
		{"claude-3-5-haiku-latest", "high", "\"temperature\":1",
		 "thinking"},
		{"deepseek", "medium", "\"budget_tokens\":8192", "effort"},
	};
	struct neutral_request r;
	const char *text;
	struct buf out;
	size_t i;

	(void)state;
	buf_init(&out, 65536);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		begin(&r);
		r.thinking = NEUTRAL_THINKING_EFFORT;
		r.effort = span_text(table[i].effort);
		r.temperature = span_text("1");
		assert_int_equal(write(&r, table[i].model, &out), ERR_OK);
		assert_int_equal(buf_terminate(&out, &text), ERR_OK);
		if (!strstr(text, table[i].text) ||
		    strstr(text, table[i].absent))
			fail_msg("%s", text);
		neutral_request_fini(&r);
	}
	buf_fini(&out);
}

static void thinking_needs_a_turn_that_began_with_it(void **state)
{
	const struct neutral_part call = {
		.kind = NEUTRAL_TOOL_CALL,
		.id = span_text("c"),
		.name = span_text("t"),
		.json = span_text("{}"),
	};
	const struct neutral_part result = {.kind = NEUTRAL_TOOL_RESULT,
					    .id = span_text("c")};
	const struct neutral_part thinking = {
		.kind = NEUTRAL_THINKING,
		.text = span_text("t"),
		.signature = span_text("s"),
		.signer = DIALECT_CONVERSE,
	};
	struct neutral_request r;
	const char *text;
	struct buf out;
	int with;

	(void)state;
	buf_init(&out, 65536);
	for (with = 0; with < 2; with++) {
		begin(&r);
		r.thinking = NEUTRAL_THINKING_EFFORT;
		r.effort = span_text("low");
		assert_int_equal(neutral_add_message(&r, NEUTRAL_ASSISTANT),
				 ERR_OK);
		if (with)
			assert_int_equal(neutral_add_part(&r, &thinking),
					 ERR_OK);
		assert_int_equal(neutral_add_part(&r, &call), ERR_OK);
		assert_int_equal(neutral_add_message(&r, NEUTRAL_USER), ERR_OK);
		assert_int_equal(neutral_add_part(&r, &result), ERR_OK);
		assert_int_equal(write(&r, "claude-sonnet-4-5", &out), ERR_OK);
		assert_int_equal(buf_terminate(&out, &text), ERR_OK);
		assert_int_equal(strstr(text, "budget_tokens") != NULL, with);
		assert_int_equal(r.dropped_count, !with);
		neutral_request_fini(&r);
	}
	buf_fini(&out);
}

static void other_dialects_settings_are_refused_or_noted(void **state)
{
	struct neutral_request r;
	struct buf out;

	(void)state;
	buf_init(&out, 65536);
	begin(&r);
	r.frequency_penalty = span_text("0.5");
	assert_int_equal(write(&r, MODEL, &out), ERR_UNSUPPORTED);
	assert_non_null(strstr(r.error_text, "frequency_penalty"));
	r.frequency_penalty = span_text("0.0");
	r.presence_penalty = span_text("-1");
	assert_int_equal(write(&r, MODEL, &out), ERR_UNSUPPORTED);
	r.presence_penalty = span_text("0");
	r.format = NEUTRAL_FORMAT_JSON;
	assert_int_equal(write(&r, MODEL, &out), ERR_UNSUPPORTED);
	assert_non_null(strstr(r.error_text, "response_format"));
	r.format = NEUTRAL_FORMAT_TEXT;
	r.seed = span_text("1");
	r.service_tier = span_text("priority");
	assert_int_equal(write(&r, MODEL, &out), ERR_OK);
	assert_int_equal(r.dropped_count, 2);
	neutral_request_fini(&r);
	buf_fini(&out);
}

static void a_text_document_is_decoded(void **state)
{
	struct neutral_part doc = {
		.kind = NEUTRAL_DOCUMENT,
		.media_type = span_text("text/csv"),
		.data = span_text("YSxiCg=="),
	};
	struct neutral_request r;
	const char *text;
	struct buf out;

	(void)state;
	buf_init(&out, 65536);
	begin(&r);
	assert_int_equal(neutral_add_part(&r, &doc), ERR_OK);
	assert_int_equal(write(&r, MODEL, &out), ERR_OK);
	assert_int_equal(buf_terminate(&out, &text), ERR_OK);
	assert_non_null(strstr(text, "\"data\":\"a,b\\n\""));
	neutral_request_fini(&r);
	begin(&r);
	doc.data = span_text("/w==");
	assert_int_equal(neutral_add_part(&r, &doc), ERR_OK);
	assert_int_equal(write(&r, MODEL, &out), ERR_FORMAT);
	neutral_request_fini(&r);
	buf_fini(&out);
}

static void only_the_model_is_rewritten(void **state)
{
	static const char body[] = " {\"x\": {\"model\":1},\n\"model\" : "
				   "\"a\\u0062\" ,\"messages\":[ ]} ";
	const struct dialect_target target = {.model = span_text("n\"m")};
	struct buf out;

	(void)state;
	buf_init(&out, 65536);
	assert_int_equal(anthropic_rewrite(span_text(body), &target, &out),
			 ERR_OK);
	assert_text(buf_span(&out), " {\"x\": {\"model\":1},\n\"model\" : "
				    "\"n\\\"m\" ,\"messages\":[ ]} ");
	assert_int_equal(anthropic_rewrite(span_text("{}"), &target, &out),
			 ERR_FORMAT);
	assert_int_equal(anthropic_rewrite(span_text("{"), &target, &out),
			 ERR_FORMAT);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_what_it_read),
		cmocka_unit_test(writes_what_differs_in_form),
		cmocka_unit_test(refuses_by_name_what_it_cannot_translate),
		cmocka_unit_test(routes_that_only_one_dialect_has_are_refused),
		cmocka_unit_test(a_limit_is_made_up_from_the_model),
		cmocka_unit_test(effort_becomes_what_the_model_knows),
		cmocka_unit_test(thinking_needs_a_turn_that_began_with_it),
		cmocka_unit_test(other_dialects_settings_are_refused_or_noted),
		cmocka_unit_test(a_text_document_is_decoded),
		cmocka_unit_test(only_the_model_is_rewritten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
