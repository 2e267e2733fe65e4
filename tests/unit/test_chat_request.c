/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_chat_request.c - chat completions requests, to and from no dialect
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/text.h"
#include "engine/gate/chat.h"
#include "engine/gate/request_translate.h"
#include "engine/proto/attrs.h"

#define OUT_MAX     (1u << 20)
#define HI          "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define WITH(m)     "{\"model\":\"m\"," m "," HI "}"
#define MESSAGES(m) "{\"model\":\"m\",\"messages\":[" m "]}"
#define USER(p)     MESSAGES("{\"role\":\"user\",\"content\":[" p "]}")

static void dropped_of(const struct neutral_request *r, char *ret_text,
		       size_t cap)
{
	uint32_t i;

	ret_text[0] = '\0';
	for (i = 0; i < r->dropped_count; i++)
		text_append(ret_text, cap, "%s%s", i ? ", " : "",
			    r->dropped[i]);
}

static enum err convert(const char *body, const char *kind, struct buf *out,
			char *ret_dropped, char *ret_error)
{
	struct neutral_request r;
	const struct dialect_target t = {.kind = span_text(kind),
					 .stream = strstr(body, "\"stream\":"
								"true") != NULL,
					 .want_usage = strstr(body, "_usage") !=
						       NULL};
	enum err e;

	neutral_request_init(&r);
	e = chat_read_request(ROUTE_CHAT, span_text(body), &r);
	if (e == ERR_OK)
		e = chat_write_request(&r, &t, out);
	dropped_of(&r, ret_dropped, 1024);
	memcpy(ret_error, r.error_text, sizeof(r.error_text));
	neutral_request_fini(&r);
	return e;
}

static void check(const char *body, const char *kind, const char *want,
		  const char *want_dropped)
{
	char dropped[1024], error[256];
	struct buf out;
	enum err e;

	buf_init(&out, OUT_MAX);
	e = convert(body, kind, &out, dropped, error);
	if (e != ERR_OK)
		fail_msg("%s: %s", body, error);
	if (!span_is(buf_span(&out), want))
		fail_msg("want %s\n got %.*s", want, (int)out.len_bytes,
			 (const char *)out.data);
	assert_string_equal(dropped, want_dropped);
	buf_fini(&out);
}

#define PNG "data:image/png;base64,AAAA"

static void keeps_every_field(void **state)
{
	(void)state;
	check(WITH("\"max_tokens\":5,\"max_completion_tokens\":70,"
		   "\"temperature\":0.70,\"top_p\":1e0,\"seed\":-3,"
		   "\"frequency_penalty\":0.5,\"presence_penalty\":-0.5,"
		   "\"stop\":[\"a\\n\",\"b\"],\"user\":\"u\","
		   "\"service_tier\":\"flex\",\"stream\":true,"
		   "\"stream_options\":{\"include_usage\":true}"),
	      "openai",
	      "{\"model\":\"m\"," HI ",\"max_completion_tokens\":70,"
	      "\"temperature\":0.70,\"top_p\":1e0,\"frequency_penalty\":0.5,"
	      "\"presence_penalty\":-0.5,\"seed\":-3,"
	      "\"stop\":[\"a\\n\",\"b\"],\"user\":\"u\","
	      "\"service_tier\":\"flex\",\"stream\":true,"
	      "\"stream_options\":{\"include_usage\":true}}",
	      "");
	check(WITH("\"max_tokens\":5,\"top_k\":9,\"stop\":\"x\","
		   "\"service_tier\":\"odd\""),
	      "byo",
	      "{\"model\":\"m\"," HI ",\"max_tokens\":5,\"top_k\":9,"
	      "\"stop\":[\"x\"]}",
	      "service_tier");
	check(WITH("\"top_k\":9"), "openai", "{\"model\":\"m\"," HI "}",
	      "top_k");
	check(WITH("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
		   "\"f\",\"description\":\"d\",\"parameters\":{ \"type\" :"
		   "\"object\"},\"strict\":true}},{\"function\":{\"name\":"
		   "\"g\"}}],\"tool_choice\":{\"type\":\"function\","
		   "\"function\":{\"name\":\"f\"}},"
		   "\"parallel_tool_calls\":false"),
	      "openai",
	      "{\"model\":\"m\"," HI ",\"tools\":[{\"type\":\"function\","
	      "\"function\":{\"name\":\"f\",\"description\":\"d\","
	      "\"parameters\":{ \"type\" :\"object\"},\"strict\":true}},"
	      "{\"type\":\"function\",\"function\":{\"name\":\"g\","
	      "\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],"
	      "\"parallel_tool_calls\":false,\"tool_choice\":{\"type\":"
	      "\"function\",\"function\":{\"name\":\"f\"}}}",
	      "");
	check(WITH("\"response_format\":{\"type\":\"json_schema\","
		   "\"json_schema\":{\"name\":\"n\",\"strict\":true,"
		   "\"schema\":{\"a\":1}}}"),
	      "openai",
	      "{\"model\":\"m\"," HI ",\"response_format\":{\"type\":"
	      "\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":"
	      "true,\"schema\":{\"a\":1}}}}",
	      "");
	check(WITH("\"response_format\":{\"type\":\"json_object\"}"), "openai",
	      "{\"model\":\"m\"," HI ",\"response_format\":{\"type\":"
	      "\"json_object\"}}",
	      "");
	check(WITH("\"response_format\":{\"type\":\"text\"}"), "openai",
	      "{\"model\":\"m\"," HI "}", "");
}

static void keeps_tool_choices(void **state)
{
	static const char *const words[][2] = {
		{"auto", "auto"},
		{"none", "none"},
		{"required", "required"},
	};
	char body[512], want[512];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		(void)snprintf(body, sizeof(body),
			       "{\"model\":\"m\"," HI ",\"tools\":[{"
			       "\"type\":\"function\",\"function\":{\"name\":"
			       "\"f\",\"parameters\":{\"x\":1}}}],"
			       "\"tool_choice\":\"%s\"}",
			       words[i][0]);
		(void)snprintf(want, sizeof(want),
			       "{\"model\":\"m\"," HI ",\"tools\":[{"
			       "\"type\":\"function\",\"function\":{\"name\":"
			       "\"f\",\"parameters\":{\"x\":1}}}],"
			       "\"tool_choice\":\"%s\"}",
			       words[i][1]);
		check(body, "openai", want, "");
	}
	/* Without tools OpenAI refuses a choice. */
	check(WITH("\"tool_choice\":\"auto\",\"parallel_tool_calls\":true"),
	      "openai", "{\"model\":\"m\"," HI "}", "");
}

static void keeps_messages(void **state)
{
	static const char body[] = MESSAGES(
		"{\"role\":\"developer\",\"content\":\"be\\u0020kind\"},"
		"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
		"\"see\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
		"\"" PNG "\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":"
		"\"https://x/y\"}},{\"type\":\"file\",\"file\":{\"filename\":"
		"\"a.pdf\",\"file_data\":\"data:application/pdf;base64,AAAA\""
		"}}]},"
		"{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{"
		"\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":"
		"\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}},{\"id\":\"b\","
		"\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},"
		"{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"r\"},"
		"{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":["
		"{\"type\":\"text\",\"text\":\"s\"},{\"type\":\"image_url\","
		"\"image_url\":{\"url\":\"" PNG "\"}}]},"
		"{\"role\":\"user\",\"content\":\"so?\"},"
		"{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"}");

	(void)state;
	check(body, "openai",
	      MESSAGES(
		      "{\"role\":\"system\",\"content\":\"be kind\"},"
		      "{\"role\":\"user\",\"content\":[{\"type\":\"text\","
		      "\"text\":\"see\"},{\"type\":\"image_url\",\"image_url\":"
		      "{\"url\":\"" PNG "\"}},{\"type\":\"image_url\","
		      "\"image_url\":{\"url\":\"https://x/y\"}},{\"type\":"
		      "\"file\",\"file\":{\"filename\":\"a.pdf\","
		      "\"file_data\":\"data:application/pdf;base64,AAAA\"}}]},"
		      "{\"role\":\"assistant\",\"content\":null,"
		      "\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
		      "\"function\":{\"name\":\"f\",\"arguments\":"
		      "\"{\\\"x\\\": 1}\"}},{\"id\":\"b\",\"type\":"
		      "\"function\",\"function\":{\"name\":\"g\","
		      "\"arguments\":\"{}\"}}]},"
		      "{\"role\":\"tool\",\"tool_call_id\":\"a\","
		      "\"content\":\"r\"},"
		      "{\"role\":\"tool\",\"tool_call_id\":\"b\","
		      "\"content\":\"s\"},"
		      "{\"role\":\"user\",\"content\":[{\"type\":\"text\","
		      "\"text\":\"From the result of the tool call b:\"},"
		      "{\"type\":\"image_url\",\"image_url\":{\"url\":"
		      "\"" PNG "\"}}]},"
		      "{\"role\":\"user\",\"content\":\"so?\"},"
		      "{\"role\":\"assistant\",\"content\":null,"
		      "\"refusal\":\"no\"}"),
	      "");
	/* A result of an image alone still answers the call. */
	check(MESSAGES("{\"role\":\"tool\",\"tool_call_id\":\"a\","
		       "\"content\":[{\"type\":\"image_url\",\"image_url\":{"
		       "\"url\":\"" PNG "\"}}]}"),
	      "byo",
	      MESSAGES("{\"role\":\"tool\",\"tool_call_id\":\"a\","
		       "\"content\":\"The result follows.\"},{\"role\":"
		       "\"user\",\"content\":[{\"type\":\"text\",\"text\":"
		       "\"From the result of the tool call a:\"},{\"type\":"
		       "\"image_url\",\"image_url\":{\"url\":\"" PNG "\"}}]}"),
	      "");
}

static void brings_thinking_back(void **state)
{
	static const char body[] = MESSAGES(
		"{\"role\":\"assistant\",\"content\":\"x\","
		"\"reasoning_content\":\"ignored: the details have it\","
		"\"reasoning_details\":["
		"{\"type\":\"reasoning.text\",\"text\":\"a\",\"format\":"
		"\"anthropic-claude-v1\",\"index\":0},"
		"{\"type\":\"reasoning.text\",\"text\":\"b\",\"signature\":"
		"\"sig\",\"format\":\"anthropic-claude-v1\",\"index\":0},"
		"{\"type\":\"reasoning.encrypted\",\"data\":\"d\",\"id\":"
		"\"rs_1\",\"format\":\"openai-responses-v1\"}]}");

	(void)state;
	check(body, "openrouter",
	      MESSAGES("{\"role\":\"assistant\",\"content\":\"x\","
		       "\"reasoning_details\":[{\"type\":\"reasoning.text\","
		       "\"text\":\"ab\",\"signature\":\"sig\",\"format\":"
		       "\"anthropic-claude-v1\",\"index\":0},{\"type\":"
		       "\"reasoning.encrypted\",\"data\":\"d\",\"id\":"
		       "\"rs_1\",\"format\":\"openai-responses-v1\","
		       "\"index\":1}]}"),
	      "");
	/* A format that only OpenRouter's own providers understand. */
	check(MESSAGES("{\"role\":\"assistant\",\"content\":\"x\","
		       "\"reasoning_details\":[{\"type\":\"reasoning.text\","
		       "\"text\":\"a\",\"signature\":\"s|g\",\"format\":"
		       "\"google-gemini-v1\",\"index\":0},{\"type\":"
		       "\"reasoning.encrypted\",\"data\":\"d\",\"index\":1}]}"),
	      "openrouter",
	      MESSAGES("{\"role\":\"assistant\",\"content\":\"x\","
		       "\"reasoning_details\":[{\"type\":\"reasoning.text\","
		       "\"text\":\"a\",\"signature\":\"s|g\",\"format\":"
		       "\"google-gemini-v1\",\"index\":0},{\"type\":"
		       "\"reasoning.encrypted\",\"data\":\"d\",\"index\":1}]}"),
	      "");
	check(body, "openai",
	      MESSAGES("{\"role\":\"assistant\",\"content\":\"x\"}"),
	      "thinking of earlier turns, redacted thinking");
	check(MESSAGES("{\"role\":\"assistant\",\"content\":\"x\","
		       "\"reasoning\":\"hm\"}"),
	      "byo",
	      MESSAGES("{\"role\":\"assistant\",\"content\":\"x\","
		       "\"reasoning_content\":\"hm\"}"),
	      "");
}

static void maps_effort(void **state)
{
	(void)state;
	check("{\"model\":\"o3\",\"reasoning_effort\":\"high\"," HI "}",
	      "openai",
	      "{\"model\":\"o3\"," HI ",\"reasoning_effort\":\"high\"}", "");
	/* A model that does not reason would refuse it. */
	check("{\"model\":\"gpt-4o\",\"reasoning_effort\":\"high\"," HI "}",
	      "openai", "{\"model\":\"gpt-4o\"," HI "}", "thinking");
	check("{\"model\":\"gpt-5\",\"reasoning\":{\"max_tokens\":9000}," HI
	      "}",
	      "openai",
	      "{\"model\":\"gpt-5\"," HI ",\"reasoning_effort\":\"medium\"}",
	      "");
	check(WITH("\"reasoning\":{\"max_tokens\":9000}"), "openrouter",
	      "{\"model\":\"m\"," HI ",\"reasoning\":{\"max_tokens\":9000}}",
	      "");
	check(WITH("\"reasoning_effort\":\"none\""), "openrouter",
	      "{\"model\":\"m\"," HI ",\"reasoning\":{\"enabled\":false}}", "");
	check(WITH("\"reasoning\":{\"enabled\":true}"), "openrouter",
	      "{\"model\":\"m\"," HI ",\"reasoning\":{\"enabled\":true}}", "");
	check(WITH("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":7}"),
	      "byo", "{\"model\":\"m\"," HI "}", "thinking");
	check(WITH("\"thinking\":{\"type\":\"disabled\"}"), "byo",
	      "{\"model\":\"m\"," HI "}", "");
	check(WITH("\"reasoning_effort\":\"low\""), "byo",
	      "{\"model\":\"m\"," HI ",\"reasoning_effort\":\"low\"}", "");
}

static void keeps_cache_marks_where_they_are_understood(void **state)
{
	static const char body[] =
		USER("{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{"
		     "\"type\":\"ephemeral\",\"ttl\":\"1h\"}},{\"type\":"
		     "\"text\",\"text\":\"b\",\"cache_control\":{\"type\":"
		     "\"ephemeral\"}}");

	(void)state;
	check(body, "openrouter",
	      USER("{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{"
		   "\"type\":\"ephemeral\",\"ttl\":\"1h\"}},{\"type\":"
		   "\"text\",\"text\":\"b\",\"cache_control\":{\"type\":"
		   "\"ephemeral\"}}"),
	      "");
	check(body, "openai",
	      USER("{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
		   "\"text\":\"b\"}"),
	      "cache_control");
}

static void notes_what_it_drops(void **state)
{
	(void)state;
	check("{\"model\":\"m\",\"metadata\":{\"a\":\"b\"},\"prediction\":{},"
	      "\"prompt_cache_key\":\"k\",\"safety_identifier\":\"s\","
	      "\"verbosity\":\"low\",\"n\":1,\"store\":false,\"logprobs\":"
	      "false,\"top_logprobs\":0,\"logit_bias\":{},\"modalities\":["
	      "\"text\"],\"web_search_options\":null,\"messages\":[{\"role\":"
	      "\"user\",\"name\":\"bob\",\"content\":[{\"type\":"
	      "\"image_url\",\"image_url\":{\"url\":\"" PNG
	      "\",\"detail\":\"high\"}}]}]}",
	      "byo",
	      USER("{\"type\":\"image_url\",\"image_url\":{\"url\":\"" PNG
		   "\"}}"),
	      "metadata, prediction, prompt_cache_key, safety_identifier, "
	      "verbosity, messages[].name, image_url.detail");
}

static void refuses_by_name(void **state)
{
	static const struct {
		const char *body, *field;
		enum err err;
	} cases[] = {
		{"{", "the body is not valid JSON", ERR_FORMAT},
		{"[]", "the body: ", ERR_FORMAT},
		{"{" HI "}", "model: ", ERR_FORMAT},
		{"{\"model\":7," HI "}", "model: ", ERR_FORMAT},
		{"{\"model\":\"m\"}", "messages: ", ERR_FORMAT},
		{MESSAGES("7"), "messages: ", ERR_FORMAT},
		{MESSAGES("{}"), "messages[].role: ", ERR_FORMAT},
		{MESSAGES("{\"role\":\"function\"}"),
		 "messages[].role \"function\"", ERR_UNSUPPORTED},
		{MESSAGES("{\"role\":\"user\",\"content\":7}"),
		 "messages[].content: ", ERR_FORMAT},
		{USER("{}"), "messages[].content[]: ", ERR_FORMAT},
		{USER("{\"type\":\"text\"}"),
		 "messages[].content[]: ", ERR_FORMAT},
		{USER("{\"type\":\"input_audio\"}"),
		 "messages[].content[] of type \"input_audio\"",
		 ERR_UNSUPPORTED},
		{USER("{\"type\":\"image_url\"}"),
		 "messages[].content[].image_url: ", ERR_FORMAT},
		{USER("{\"type\":\"image_url\",\"image_url\":\"data:x\"}"),
		 "messages[].content[].image_url: ", ERR_FORMAT},
		{USER("{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}"),
		 "messages[].content[].file.file_id: ", ERR_UNSUPPORTED},
		{USER("{\"type\":\"file\",\"file\":{}}"),
		 "messages[].content[].file: ", ERR_FORMAT},
		{USER("{\"type\":\"file\",\"file\":{\"file_data\":\"?\"}}"),
		 "messages[].content[].file: ", ERR_FORMAT},
		{MESSAGES("{\"role\":\"assistant\",\"function_call\":{}}"),
		 "messages[].function_call: ", ERR_UNSUPPORTED},
		{MESSAGES("{\"role\":\"assistant\",\"audio\":{}}"),
		 "messages[].audio: ", ERR_UNSUPPORTED},
		{MESSAGES("{\"role\":\"assistant\",\"tool_calls\":7}"),
		 "messages[].tool_calls: ", ERR_FORMAT},
		{MESSAGES("{\"role\":\"assistant\",\"tool_calls\":[{}]}"),
		 "messages[].tool_calls[]: ", ERR_FORMAT},
		{MESSAGES("{\"role\":\"assistant\",\"tool_calls\":[{"
			  "\"function\":{}}]}"),
		 "messages[].tool_calls[]: ", ERR_FORMAT},
		{MESSAGES("{\"role\":\"assistant\",\"tool_calls\":[{\"type\":"
			  "\"custom\"}]}"),
		 "messages[].tool_calls[] of type \"custom\"", ERR_UNSUPPORTED},
		{MESSAGES("{\"role\":\"assistant\",\"tool_calls\":[{"
			  "\"function\":{\"name\":\"f\",\"arguments\":"
			  "\"[]\"}}]}"),
		 "messages[].tool_calls[].function.arguments: ",
		 ERR_UNSUPPORTED},
		{MESSAGES("{\"role\":\"assistant\",\"tool_calls\":[{"
			  "\"function\":{\"name\":\"f\",\"arguments\":7}}]}"),
		 "messages[].tool_calls[].function.arguments: ", ERR_FORMAT},
		{MESSAGES("{\"role\":\"assistant\",\"reasoning_details\":[{"
			  "\"type\":\"reasoning.text\",\"text\":7}]}"),
		 "messages[].reasoning_details: ", ERR_FORMAT},
		{WITH("\"stream\":7"), "stream: ", ERR_FORMAT},
		{WITH("\"temperature\":\"x\""), "temperature: ", ERR_FORMAT},
		{WITH("\"stop\":7"), "stop: ", ERR_FORMAT},
		{WITH("\"stop\":[7]"), "stop: ", ERR_FORMAT},
		{WITH("\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\"]"),
		 "stop_sequences: ", ERR_UNSUPPORTED},
		{WITH("\"stop\":[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\","
		      "\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]"),
		 "stop: ", ERR_UNSUPPORTED},
		{WITH("\"tools\":{}"), "tools: ", ERR_FORMAT},
		{WITH("\"tools\":[{\"type\":\"custom\"}]"),
		 "tools[] of type \"custom\"", ERR_UNSUPPORTED},
		{WITH("\"tools\":[{}]"), "tools[]: ", ERR_FORMAT},
		{WITH("\"tools\":[{\"function\":{\"name\":\"f\","
		      "\"parameters\":7}}]"),
		 "tools[].function.parameters: ", ERR_FORMAT},
		{WITH("\"tool_choice\":{\"type\":\"allowed_tools\"}"),
		 "tool_choice \"allowed_tools\"", ERR_UNSUPPORTED},
		{WITH("\"tool_choice\":{\"type\":\"function\"}"),
		 "tool_choice: ", ERR_FORMAT},
		{WITH("\"tool_choice\":\"odd\""), "tool_choice \"odd\"",
		 ERR_UNSUPPORTED},
		{WITH("\"functions\":[{\"name\":\"f\"}]"),
		 "functions: ", ERR_UNSUPPORTED},
		{WITH("\"function_call\":\"auto\""),
		 "function_call: ", ERR_UNSUPPORTED},
		{WITH("\"response_format\":{\"type\":\"grammar\"}"),
		 "response_format of type \"grammar\"", ERR_UNSUPPORTED},
		{WITH("\"response_format\":{\"type\":\"json_schema\"}"),
		 "response_format.json_schema: ", ERR_FORMAT},
		{WITH("\"reasoning\":{\"max_tokens\":\"x\"}"),
		 "reasoning.max_tokens: ", ERR_FORMAT},
		{WITH("\"n\":2"), "n: ", ERR_UNSUPPORTED},
		{WITH("\"store\":true"), "store: ", ERR_UNSUPPORTED},
		{WITH("\"logprobs\":true"), "logprobs: ", ERR_UNSUPPORTED},
		{WITH("\"top_logprobs\":5"), "top_logprobs: ", ERR_UNSUPPORTED},
		{WITH("\"logit_bias\":{\"1\":2}"),
		 "logit_bias: ", ERR_UNSUPPORTED},
		{WITH("\"modalities\":[\"audio\"]"),
		 "modalities: ", ERR_UNSUPPORTED},
		{WITH("\"web_search_options\":{}"),
		 "web_search_options: ", ERR_UNSUPPORTED},
		{WITH("\"never_heard\":1"), "never_heard: ", ERR_UNSUPPORTED},
	};
	char dropped[1024], error[256];
	struct buf out;
	enum err e;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_init(&out, OUT_MAX);
		e = convert(cases[i].body, "openai", &out, dropped, error);
		if (e != cases[i].err ||
		    strncmp(error, cases[i].field, strlen(cases[i].field)) != 0)
			fail_msg("%s: %s: %s", cases[i].body, err_name(e),
				 error);
		buf_fini(&out);
	}
}

static void refuses_what_it_cannot_write(void **state)
{
	static const struct {
		const char *body, *kind, *why;
	} cases[] = {
		{USER("{\"type\":\"file\",\"file\":{\"file_data\":"
		      "\"https://x\"}}"),
		 "openai", "a document's url: chat completions take none"},
		{USER("{\"type\":\"file\",\"file\":{\"file_data\":"
		      "\"data:text/plain;base64,//8=\"}}"),
		 "byo", "a document's data: not UTF-8 in base64"},
	};
	char dropped[1024], error[256];
	struct buf out;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_init(&out, OUT_MAX);
		assert_int_equal(convert(cases[i].body, cases[i].kind, &out,
					 dropped, error),
				 ERR_UNSUPPORTED);
		assert_string_equal(error, cases[i].why);
		buf_fini(&out);
	}
	/* Text files become text. */
	check(USER("{\"type\":\"file\",\"file\":{\"filename\":\"a.txt\","
		   "\"file_data\":\"data:text/plain;base64,aGk=\"}}"),
	      "openai", USER("{\"type\":\"text\",\"text\":\"a.txt:\\n\\nhi\"}"),
	      "");
}

/* Another dialect's request, by way of the whole translation. */
static void writes_an_anthropic_request(void **state)
{
	static const char body[] =
		"{\"model\":\"claude\",\"max_tokens\":9,\"stream\":true,"
		"\"system\":[{\"type\":\"text\",\"text\":\"s\","
		"\"cache_control\":{\"type\":\"ephemeral\"}}],"
		"\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048},"
		"\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":"
		"\"object\"}}],\"tool_choice\":{\"type\":\"any\","
		"\"disable_parallel_tool_use\":true},\"messages\":["
		"{\"role\":\"user\",\"content\":\"go\"},"
		"{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\","
		"\"thinking\":\"t\",\"signature\":\"sig\"},{\"type\":"
		"\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{\"x\":1}"
		"}]},"
		"{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
		"\"tool_use_id\":\"a\",\"is_error\":true,\"content\":["
		"{\"type\":\"text\",\"text\":\"bad\"},{\"type\":\"image\","
		"\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
		"\"data\":\"AAAA\"}}]},{\"type\":\"text\",\"text\":\"now\"}]}"
		"]}";
	static const char want[] =
		"{\"model\":\"up\",\"messages\":["
		"{\"role\":\"system\",\"content\":\"s\"},"
		"{\"role\":\"user\",\"content\":\"go\"},"
		"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{"
		"\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":"
		"\"f\",\"arguments\":\"{\\\"x\\\":1}\"}}]},"
		"{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":"
		"\"bad\"},"
		"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
		"\"From the result of the tool call a:\"},{\"type\":"
		"\"image_url\",\"image_url\":{\"url\":\"" PNG "\"}},"
		"{\"type\":\"text\",\"text\":\"now\"}]}],"
		"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
		"\"f\",\"parameters\":{\"type\":\"object\"}}}],"
		"\"parallel_tool_calls\":false,\"tool_choice\":\"required\","
		"\"max_completion_tokens\":9,\"stream\":true,"
		"\"stream_options\":{\"include_usage\":true}}";
	const struct dialect_target t = {
		.route = ROUTE_CHAT,
		.model = span_text("up"),
		.kind = span_text("openai"),
		.stream = true,
		.want_usage = true,
	};
	struct request_translation done;
	struct buf out;
	enum err e;

	(void)state;
	buf_init(&out, OUT_MAX);
	request_translation_init(&done);
	e = request_translate(&dialect_anthropic, ROUTE_MESSAGES,
			      span_text(body), &dialect_chat, &t, &out, &done);
	if (e != ERR_OK)
		fail_msg("%s", done.error_text);
	if (!span_is(buf_span(&out), want))
		fail_msg("%.*s", (int)out.len_bytes, (const char *)out.data);
	assert_true(done.dropped.len_bytes > 0);
	request_translation_fini(&done);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_every_field),
		cmocka_unit_test(keeps_tool_choices),
		cmocka_unit_test(keeps_messages),
		cmocka_unit_test(brings_thinking_back),
		cmocka_unit_test(maps_effort),
		cmocka_unit_test(keeps_cache_marks_where_they_are_understood),
		cmocka_unit_test(notes_what_it_drops),
		cmocka_unit_test(refuses_by_name),
		cmocka_unit_test(refuses_what_it_cannot_write),
		cmocka_unit_test(writes_an_anthropic_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
