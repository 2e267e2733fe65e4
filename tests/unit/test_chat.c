/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_chat.c - what a chat completions request asks for, its rewriting,
 * errors and the list of models
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
#include "engine/gate/chat.h"
#include "engine/proto/attrs.h"

#define USER(parts)                                                      \
	"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":" \
	"[" parts "]}]}"
#define WITH(members)                                                    \
	"{\"model\":\"m\"," members ",\"messages\":[{\"role\":\"user\"," \
	"\"content\":\"hi\"}]}"

static void list(const struct buf *b, char *ret_text, size_t cap)
{
	struct reader r, items;
	struct span item;
	struct attr a;

	ret_text[0] = '\0';
	reader_init(&r, buf_span(b));
	while (attrs_next(&r, &a)) {
		if (a.type == ATTR_TEXT) {
			text_append(ret_text, cap, "%.*s=%.*s ",
				    (int)a.key.len_bytes,
				    (const char *)a.key.data,
				    (int)a.text.len_bytes,
				    (const char *)a.text.data);
			continue;
		}
		reader_init(&items, a.items);
		while (attrs_list_next(&items, &item))
			text_append(ret_text, cap, "%.*s ", (int)item.len_bytes,
				    (const char *)item.data);
	}
	assert_int_equal(r.status, ERR_OK);
}

static void check_features(const char *body, const char *want)
{
	static struct seen seen;
	struct request_facts f;
	char text[1024];
	enum err e;

	memset(&seen, 0, sizeof(seen));
	request_facts_init(&f);
	e = chat_inspect(ROUTE_CHAT, span_text(body), &seen, &f);
	if (e != ERR_OK)
		fail_msg("%s: %s", body, f.error_text);
	list(&f.features, text, sizeof(text));
	if (strcmp(text, want) != 0)
		fail_msg("%s: %s", body, text);
	request_facts_fini(&f);
}

static void finds_every_feature(void **state)
{
	static const struct {
		const char *body, *features;
	} cases[] = {
		{WITH("\"store\":false,\"service_tier\":\"flex\","
		      "\"prediction\":{\"type\":\"content\"},"
		      "\"modalities\":[\"text\"],\"plugins\":[],"
		      "\"models\":[],\"audio\":null,\"n\":3"),
		 ""},
		{WITH("\"web_search_options\":{}"), "web_search "},
		{WITH("\"search_parameters\":{\"mode\":\"on\"}"),
		 "web_search "},
		{WITH("\"enable_search\":true"), "web_search "},
		{WITH("\"store\":true"), "store "},
		{WITH("\"audio\":{\"voice\":\"x\"}"), "audio_output "},
		{WITH("\"modalities\":[\"text\",\"audio\"]"), "audio_output "},
		{WITH("\"modalities\":[\"image\"]"), "modality:image "},
		{WITH("\"plugins\":[{\"id\":\"web\"},{\"id\":7}]"),
		 "plugin:web plugin:? "},
		{WITH("\"models\":[\"a\",\"b\"]"), "model_fallback "},
		{WITH("\"route\":\"fallback\""), "model_fallback "},
		{WITH("\"provider\":{\"order\":[\"x\"]}"), "provider_routing "},
		{WITH("\"transforms\":[\"middle-out\"]"), "transforms "},
		{WITH("\"preset\":\"p\""), "preset "},
		{WITH("\"mcp_servers\":[{}]"), "mcp_servers "},
		{WITH("\"compound_custom\":{}"), "compound "},
		{WITH("\"extra_body\":{}"), "extra_body "},
		{WITH("\"previous_response_id\":\"r\""), "stored_response "},
		{WITH("\"background\":true"), "background "},
		{WITH("\"container\":\"c\""), "container "},
		{WITH("\"tools\":[{\"type\":\"function\",\"function\":{"
		      "\"name\":\"f\"}},{\"type\":\"custom\",\"custom\":{"
		      "\"name\":\"g\"}},{\"function\":{\"name\":\"h\"}}]"),
		 ""},
		{WITH("\"tools\":[{\"type\":\"openrouter:web_search\"},"
		      "{\"type\":\"browser_search\"},{\"type\":7}]"),
		 "unknown_tool:openrouter:web_search "
		 "unknown_tool:browser_search unknown_tool:? "},
		{"{\"model\":\"x/y:online\",\"messages\":[]}", "web_search "},
		{"{\"model\":\"@preset/z\",\"messages\":[]}", "preset "},
		{"{\"model\":\"m:free\",\"messages\":[]}", ""},
		{USER("{\"type\":\"image_url\",\"image_url\":{\"url\":"
		      "\"https://x/y.png\"}}"),
		 "url_image "},
		{USER("{\"type\":\"image_url\",\"image_url\":\"http://x\"}"),
		 "url_image "},
		{USER("{\"type\":\"image_url\",\"image_url\":{\"url\":"
		      "\"file:///etc/passwd\"}}"),
		 "url_image "},
		{USER("{\"type\":\"image_url\",\"image_url\":{\"url\":"
		      "\"\\u0064ata:image/png;base64,AAAA\"}}"),
		 "url_image "},
		{USER("{\"type\":\"image_url\",\"image_url\":{\"url\":"
		      "\"data:image/png;base64,AAAA\"}}"),
		 ""},
		{USER("{\"type\":\"image_url\",\"image_url\":{\"url\":"
		      "\"DATA:image/png;base64,AAAA\"}}"),
		 ""},
		{USER("{\"type\":\"image_url\"}"), "url_image "},
		{USER("{\"type\":\"video_url\",\"video_url\":{\"url\":"
		      "\"https://x\"}}"),
		 "url_video "},
		{USER("{\"type\":\"audio_url\",\"audio_url\":{\"url\":"
		      "\"https://x\"}}"),
		 "url_audio "},
		{USER("{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}"),
		 "file_id "},
		{USER("{\"type\":\"file\",\"file\":{\"file_data\":"
		      "\"data:application/pdf;base64,AAAA\"}}"),
		 ""},
		{USER("{\"type\":\"file\",\"file\":{\"file_data\":"
		      "\"QUFBQQ==\"}}"),
		 ""},
		{USER("{\"type\":\"file\",\"file\":{\"file_data\":"
		      "\"https://x/y.pdf\"}}"),
		 "url_document "},
		{USER("{\"type\":\"file\",\"file\":{\"file_url\":\"x\"}}"),
		 "url_document "},
		{USER("{\"type\":\"input_audio\",\"input_audio\":{}}"),
		 "input_audio "},
		{USER("{\"type\":\"input_image\",\"image_url\":\"http:\"}"),
		 "unknown_content:input_image "},
		{"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\","
		 "\"audio\":{\"id\":\"a\"}}]}",
		 "stored_audio "},
		{"{\"model\":\"m\",\"messages\":[{\"role\":\"tool\","
		 "\"tool_call_id\":\"t\",\"content\":[{\"type\":"
		 "\"image_url\",\"image_url\":{\"url\":\"http://x\"}}]}]}",
		 "url_image "},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		check_features(cases[i].body, cases[i].features);
}

static void refuses_malformed_requests(void **state)
{
	static const struct {
		const char *body, *why;
	} cases[] = {
		{"{", "not valid JSON"},
		{"{\"model\":\"m\",\"model\":\"n\"}", "duplicate key"},
		{"[]", "no JSON object"},
		{"{\"messages\":[]}", "model: missing"},
		{"{\"model\":\"\",\"messages\":[]}", "model: missing"},
		{"{\"model\":7,\"messages\":[]}", "model: missing"},
		{"{\"model\":\"m\"}", "messages: not a list"},
		{"{\"model\":\"m\",\"messages\":[7]}",
		 "messages: not a list of objects"},
		{"{\"model\":\"m\",\"messages\":[{\"content\":[7]}]}",
		 "content: a part without type"},
		{"{\"model\":\"m\",\"messages\":[{\"content\":[{}]}]}",
		 "content: a part without type"},
		{"{\"model\":\"m\",\"messages\":[{\"content\":{}}]}",
		 "content: a part without type"},
		{WITH("\"stream\":1"), "stream: neither true nor false"},
		{WITH("\"stream_options\":{\"include_usage\":1}"),
		 "stream_options.include_usage"},
		{WITH("\"tools\":{}"), "tools: not a list"},
		{WITH("\"tools\":[7]"), "tools: not a list of objects"},
		{WITH("\"tools\":[{\"type\":\"function\"}]"),
		 "tools: a tool without a name"},
		{WITH("\"tools\":[{\"type\":\"custom\"}]"),
		 "tools: a tool without a name"},
		{WITH("\"functions\":{}"), "functions: not a list"},
		{WITH("\"functions\":[{}]"), "tools: a tool without a name"},
		{WITH("\"plugins\":{}"), "plugins: not a list"},
		{WITH("\"modalities\":\"audio\""), "modalities: not a list"},
	};
	static struct seen seen;
	struct request_facts f;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		request_facts_init(&f);
		assert_int_equal(chat_inspect(ROUTE_CHAT,
					      span_text(cases[i].body), &seen,
					      &f),
				 ERR_FORMAT);
		if (!strstr(f.error_text, cases[i].why))
			fail_msg("%s: %s", cases[i].body, f.error_text);
		request_facts_fini(&f);
	}
}

static void refuses_too_many_features(void **state)
{
	static struct seen seen;
	struct request_facts f;
	struct buf b;
	unsigned i;

	(void)state;
	buf_init(&b, 65536);
	assert_int_equal(buf_put_text(&b, "{\"model\":\"m\",\"tools\":["),
			 ERR_OK);
	for (i = 0; i <= FEATURES_MAX; i++)
		assert_int_equal(buf_printf(&b, "%s{\"type\":\"t%u\"}",
					    i ? "," : "", i),
				 ERR_OK);
	assert_int_equal(buf_put_text(&b, "],\"messages\":[]}"), ERR_OK);
	request_facts_init(&f);
	assert_int_equal(chat_inspect(ROUTE_CHAT, buf_span(&b), &seen, &f),
			 ERR_LIMIT);
	assert_string_equal(f.error_text, "too many provider-side features");
	request_facts_fini(&f);
	buf_fini(&b);
}

static void notes_tools_and_results(void **state)
{
	static const char body[] =
		"{\"model\":\"m\",\"stream\":true,"
		"\"stream_options\":{\"include_usage\":true},"
		"\"functions\":[{\"name\":\"old\"}],"
		"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
		"\"bash\"}},{\"type\":\"custom\",\"custom\":{\"name\":"
		"\"patch\"}}],\"messages\":["
		"{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"x\"},"
		"{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":\"y\"},"
		"{\"role\":\"user\",\"tool_call_id\":\"c\"}]}";
	static struct seen seen;
	struct request_facts f;
	char text[256];

	(void)state;
	memset(&seen, 0, sizeof(seen));
	request_facts_init(&f);
	assert_int_equal(chat_inspect(ROUTE_CHAT, span_text(body), &seen, &f),
			 ERR_OK);
	assert_true(f.stream);
	assert_true(f.asks_usage);
	assert_string_equal(f.model, "m");
	list(&f.tools, text, sizeof(text));
	assert_string_equal(text, "bash patch old ");
	list(&f.results, text, sizeof(text));
	assert_string_equal(text, "a=ok b=ok ");
	request_facts_fini(&f);
	/* The next request repeats them: they are reported once. */
	request_facts_init(&f);
	assert_int_equal(chat_inspect(ROUTE_CHAT, span_text(body), &seen, &f),
			 ERR_OK);
	assert_int_equal(f.results.len_bytes, 0);
	request_facts_fini(&f);
}

static void rewrites_only_model_and_usage(void **state)
{
#define ASK "\"stream_options\":{\"include_usage\":true},"
	static const struct {
		const char *body, *model;
		bool usage;
		const char *want;
	} cases[] = {
		{" { \"x\" : [1 , 2.50],\"model\" : \"m\" } ", "n", false,
		 " { \"x\" : [1 , 2.50],\"model\" : \"n\" } "},
		{"{\"a\":{\"model\":\"m\"},\"model\":\"m\"}", "q\"q", false,
		 "{\"a\":{\"model\":\"m\"},\"model\":\"q\\\"q\"}"},
		{"{\"model\":\"m\"}", "", true, "{\"model\":\"m\"}"},
		{"{\"model\":\"m\",\"stream\":true}", "", true,
		 "{" ASK "\"model\":\"m\",\"stream\":true}"},
		{"{\"model\":\"m\",\"stream\":true}", "n", true,
		 "{" ASK "\"model\":\"n\",\"stream\":true}"},
		{"{\"stream\":true,\"stream_options\":null,\"model\":\"m\"}",
		 "n", true,
		 "{\"stream\":true,\"stream_options\":"
		 "{\"include_usage\":true},\"model\":\"n\"}"},
		{"{\"model\":\"m\",\"stream\":true,\"stream_options\":"
		 "{\"include_usage\":false}}",
		 "longer", true,
		 "{\"model\":\"longer\",\"stream\":true,\"stream_options\":"
		 "{\"include_usage\":true}}"},
		{"{\"model\":\"m\",\"stream\":true,\"stream_options\":{}}", "",
		 true,
		 "{\"model\":\"m\",\"stream\":true,\"stream_options\":"
		 "{\"include_usage\":true}}"},
		{"{\"model\":\"m\",\"stream\":true,\"stream_options\":"
		 "{\"x\":1}}",
		 "", true,
		 "{\"model\":\"m\",\"stream\":true,\"stream_options\":"
		 "{\"include_usage\":true,\"x\":1}}"},
		{"{\"model\":\"m\",\"stream\":true,\"stream_options\":"
		 "{\"include_usage\":true}}",
		 "", true,
		 "{\"model\":\"m\",\"stream\":true,\"stream_options\":"
		 "{\"include_usage\":true}}"},
	};
	struct buf out;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct dialect_target t = {
			.model = span_text(cases[i].model),
			.want_usage = cases[i].usage,
		};

		buf_init(&out, 4096);
		assert_int_equal(chat_rewrite(span_text(cases[i].body), &t,
					      &out),
				 ERR_OK);
		if (!span_is(buf_span(&out), cases[i].want))
			fail_msg("%zu: %.*s", i, (int)out.len_bytes,
				 (const char *)out.data);
		buf_fini(&out);
	}
	buf_init(&out, 4096);
	assert_int_equal(chat_rewrite(span_text("{}"),
				      &(struct dialect_target){.stream = 0},
				      &out),
			 ERR_FORMAT);
	assert_int_equal(chat_rewrite(span_text("{"),
				      &(struct dialect_target){.stream = 0},
				      &out),
			 ERR_FORMAT);
	buf_fini(&out);
}

static void reads_errors(void **state)
{
	static const struct {
		unsigned status;
		const char *body;
		enum neutral_error error;
		const char *message;
	} cases[] = {
		{400,
		 "{\"error\":{\"message\":\"too long\",\"type\":"
		 "\"invalid_request_error\",\"code\":"
		 "\"context_length_exceeded\"}}",
		 NEUTRAL_ERROR_CONTEXT, "too long"},
		{429,
		 "{\"error\":{\"message\":\"pay\",\"type\":"
		 "\"insufficient_quota\",\"code\":"
		 "\"insufficient_quota\"}}",
		 NEUTRAL_ERROR_QUOTA, "pay"},
		{429,
		 "{\"error\":{\"message\":\"slow\",\"type\":\"tokens\","
		 "\"code\":\"rate_limit_exceeded\"}}",
		 NEUTRAL_ERROR_RATE, "slow"},
		{401,
		 "{\"error\":{\"message\":\"key\",\"type\":"
		 "\"invalid_request_error\",\"code\":"
		 "\"invalid_api_key\"}}",
		 NEUTRAL_ERROR_AUTHENTICATION, "key"},
		{404,
		 "{\"error\":{\"message\":\"none\",\"code\":"
		 "\"model_not_found\"}}",
		 NEUTRAL_ERROR_NOT_FOUND, "none"},
		{402, "{\"error\":{\"code\":402,\"message\":\"credits\"}}",
		 NEUTRAL_ERROR_BILLING, "credits"},
		{503,
		 "{\"error\":{\"code\":503,\"message\":\"Loading model\","
		 "\"type\":\"unavailable_error\"}}",
		 NEUTRAL_ERROR_OVERLOADED, "Loading model"},
		{400, "[{\"error\":{\"code\":403,\"message\":\"google\"}}]",
		 NEUTRAL_ERROR_PERMISSION, "google"},
		{500, "{\"error\":\"text\"}", NEUTRAL_ERROR_API, "text"},
		{422, "{\"detail\":\"fastapi\"}", NEUTRAL_ERROR_INVALID,
		 "fastapi"},
		{500, "{\"message\":\"plain\"}", NEUTRAL_ERROR_API, "plain"},
		{400,
		 "{\"object\":\"error\",\"message\":\"vllm\",\"type\":"
		 "\"BadRequestError\",\"code\":400}",
		 NEUTRAL_ERROR_INVALID, "vllm"},
		{502, "<html>", NEUTRAL_ERROR_API, ""},
		{413, "", NEUTRAL_ERROR_TOO_LARGE, ""},
		{408, "", NEUTRAL_ERROR_TIMEOUT, ""},
		{529, "", NEUTRAL_ERROR_OVERLOADED, ""},
	};
	struct buf message;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_init(&message, 4096);
		assert_int_equal(chat_read_error(cases[i].status,
						 span_text(cases[i].body),
						 &message),
				 cases[i].error);
		assert_true(span_is(buf_span(&message), cases[i].message));
		buf_fini(&message);
	}
}

static void writes_errors(void **state)
{
	static const struct {
		enum neutral_error error;
		unsigned status;
		const char *want;
	} cases[] = {
		{NEUTRAL_ERROR_CONTEXT, 400,
		 "{\"error\":{\"message\":\"x\",\"type\":"
		 "\"invalid_request_error\",\"param\":null,\"code\":"
		 "\"context_length_exceeded\"}}"},
		{NEUTRAL_ERROR_RATE, 429,
		 "{\"error\":{\"message\":\"x\",\"type\":"
		 "\"rate_limit_error\",\"param\":null,\"code\":"
		 "\"rate_limit_exceeded\"}}"},
		{NEUTRAL_ERROR_PERMISSION, 403,
		 "{\"error\":{\"message\":\"x\",\"type\":"
		 "\"permission_error\",\"param\":null,\"code\":null}}"},
		{NEUTRAL_ERROR_API, 500,
		 "{\"error\":{\"message\":\"x\",\"type\":\"server_error\","
		 "\"param\":null,\"code\":null}}"},
	};
	unsigned status;
	struct buf b;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *name = chat_error_name(cases[i].error, &status);

		assert_int_equal(status, cases[i].status);
		buf_init(&b, 4096);
		assert_int_equal(chat_put_error(&b, name, span_text("x")),
				 ERR_OK);
		assert_true(span_is(buf_span(&b), cases[i].want));
		buf_fini(&b);
	}
	for (i = 0; i <= NEUTRAL_ERROR_API; i++) {
		assert_non_null(
			chat_error_name((enum neutral_error)i, &status));
		assert_in_range(status, 400, 599);
	}
	assert_string_equal(chat_error_type(403), "permission_error");
	assert_string_equal(chat_error_type(418), "invalid_request_error");
	assert_string_equal(chat_error_type(500), "server_error");
}

static void has_a_row(void **state)
{
	(void)state;
	assert_ptr_equal(dialect_find(DIALECT_CHAT), &dialect_chat);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_every_feature),
		cmocka_unit_test(refuses_malformed_requests),
		cmocka_unit_test(refuses_too_many_features),
		cmocka_unit_test(notes_tools_and_results),
		cmocka_unit_test(rewrites_only_model_and_usage),
		cmocka_unit_test(reads_errors),
		cmocka_unit_test(writes_errors),
		cmocka_unit_test(has_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
