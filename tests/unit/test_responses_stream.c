/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_responses_stream.c - what reaches the guest of a streamed reply in the
 * Responses dialect
 *
 * Real recordings lie in tests/streams, and more of them, where they are at
 * hand, in ../shared/streams.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>

#include "engine/base/json.h"
#include "engine/gate/responses.h"
#include "engine/gate/sse.h"

#define FILE_MAX_BYTES (1u << 20)

static const char *const recordings[] = {
	"tests/streams/*/*responses*.sse",
	"../shared/streams/*/*responses*.sse",
	"../../shared/streams/*/*responses*.sse",
};

struct outcome {
	struct buf early; /* handed on before release */
	struct buf all;   /* with what release added */
	enum reply_state state;
	enum err err;
	struct reply_summary summary;
	unsigned judged;
	char name[TOOL_NAME_MAX_BYTES + 1];
	char arguments[512];
	char error[256], upstream[256];
};

static void read_file(const char *path, struct buf *ret_bytes)
{
	FILE *f = fopen(path, "rb");
	uint8_t chunk[4096];
	size_t n;

	if (!f)
		fail_msg("cannot open %s: run the tests from the top folder",
			 path);
	buf_init(ret_bytes, FILE_MAX_BYTES);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		assert_int_equal(buf_put(ret_bytes, chunk, n), ERR_OK);
	fclose(f);
}

static size_t chunk_len(size_t chunk, size_t left, unsigned *seed)
{
	size_t len = chunk;

	if (chunk == 0) {
		*seed = *seed * 1103515245u + 12345u;
		len = *seed >> 16 & 63;
		len = len ? len : 1;
	}
	return len < left ? len : left;
}

static void judge(struct reply *r, unsigned deny, struct outcome *ret)
{
	static const char rule[] = "no-shell", text[] = "shell is not allowed";
	struct reply_verdict v = {.rule = span_text(rule),
				  .text = span_text(text)};

	v.allow = !(deny >> (ret->judged++ & 31) & 1);
	assert_int_equal(span_copy_text(r->call.arguments, ret->arguments,
					sizeof(ret->arguments)),
			 ERR_OK);
	assert_int_equal(span_copy_text(r->call.name, ret->name,
					sizeof(ret->name)),
			 ERR_OK);
	ret->err = reply_verdict(r, &v, &ret->early);
}

/* Runs a stream; @deny is a bit mask over the calls in their order. */
static void run(struct span all, size_t chunk, unsigned deny,
		struct outcome *ret)
{
	struct reply *r = responses_stream_new();
	struct buf *out = &ret->early;
	unsigned seed = 7;
	size_t at, len;

	*ret = (struct outcome){.err = ERR_OK};
	buf_init(&ret->early, FILE_MAX_BYTES);
	buf_init(&ret->all, FILE_MAX_BYTES);
	assert_non_null(r);
	for (at = 0; at < all.len_bytes && ret->err == ERR_OK; at += len) {
		struct span in;

		len = chunk_len(chunk, all.len_bytes - at, &seed);
		in = span_of(all.data + at, len);
		while (ret->err == ERR_OK && in.len_bytes &&
		       r->state == REPLY_OPEN) {
			ret->err = reply_feed(r, &in, out);
			while (ret->err == ERR_OK && r->state == REPLY_JUDGE)
				judge(r, deny, ret);
		}
		if (r->state == REPLY_FAILED)
			break;
	}
	if (ret->err == ERR_OK && r->state == REPLY_OPEN)
		ret->err = reply_end(r, out);
	if (r->error_text)
		(void)snprintf(ret->error, sizeof(ret->error), "%s",
			       r->error_text);
	(void)snprintf(ret->upstream, sizeof(ret->upstream), "%s",
		       r->upstream_error);
	if (ret->err != ERR_OK) {
		assert_non_null(r->error_text);
		assert_int_equal(reply_fail(r, "server_error",
					    span_text(r->error_text)),
				 ERR_OK);
	}
	ret->state = r->state;
	ret->summary = r->summary;
	assert_int_equal(buf_put_span(&ret->all, buf_span(out)), ERR_OK);
	assert_int_equal(reply_release(r, &ret->all), ERR_OK);
	reply_free(r);
}

static void drop(struct outcome *o)
{
	buf_fini(&o->early);
	buf_fini(&o->all);
}

static bool contains(const struct buf *b, const char *text)
{
	return b->len_bytes &&
	       memmem(b->data, b->len_bytes, text, strlen(text)) != NULL;
}

static const size_t chunks[] = {1, 2, 3, 7, 0, FILE_MAX_BYTES};

/* Numbers rise by one; each item that begins ends, in a valid stream. */
static void check_stream(struct span all, unsigned want_terminals)
{
	unsigned terminals = 0;
	uint64_t number, next = UINT64_MAX;
	struct sse_event ev;
	struct json j;
	struct sse s;

	sse_init(&s, SSE_EVENT_MAX_BYTES);
	json_init(&j);
	while (sse_next(&s, &all, &ev) == ERR_OK) {
		json_ref type;

		if (!ev.has_data || span_is(ev.data, "[DONE]"))
			continue;
		assert_int_equal(json_parse(&j, ev.data, NULL), ERR_OK);
		type = json_get(&j, JSON_ROOT, "type");
		if (json_string_is(&j, type, "response.completed") ||
		    json_string_is(&j, type, "response.incomplete") ||
		    json_string_is(&j, type, "response.failed"))
			terminals++;
		if (json_uint(&j, json_get(&j, JSON_ROOT, "sequence_number"), 0,
			      UINT32_MAX, &number) != ERR_OK)
			continue;
		if (next != UINT64_MAX)
			assert_true(number >= next);
		next = number + 1;
	}
	assert_true(sse_is_between_events(&s));
	assert_int_equal(terminals, want_terminals);
	json_fini(&j);
	sse_fini(&s);
}

static void check_identity(const char *path)
{
	struct buf bytes;
	struct outcome o;
	size_t i;

	read_file(path, &bytes);
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		run(buf_span(&bytes), chunks[i], 0, &o);
		if (o.err != ERR_OK || o.state != REPLY_DONE)
			fail_msg("%s: chunks of %zu: %s: %s", path, chunks[i],
				 err_name(o.err), o.error);
		assert_true(span_equal(buf_span(&o.all), buf_span(&bytes)));
		assert_false(contains(&o.early, "response.completed"));
		assert_true(o.summary.usage_known);
		assert_string_equal(o.summary.stop_reason, "completed");
		drop(&o);
	}
	buf_fini(&bytes);
}

/* Cut anywhere, a stream ends in an error. */
static void check_cuts(const char *path)
{
	struct buf bytes;
	struct outcome o;
	size_t at, step;
	struct span all;

	read_file(path, &bytes);
	/* Up to the last event's blank line. */
	all = buf_span(&bytes);
	while (all.len_bytes && all.data[all.len_bytes - 1] <= ' ')
		all.len_bytes--;
	step = all.len_bytes / 400 + 1;
	for (at = 0; at < all.len_bytes; at += step) {
		run(span_of(all.data, at), FILE_MAX_BYTES, 0, &o);
		assert_int_equal(o.state, REPLY_FAILED);
		assert_false(contains(&o.all, "\"response.completed\""));
		assert_true(contains(&o.all, "event: response.failed\n"));
		check_stream(buf_span(&o.all), 1);
		drop(&o);
	}
	buf_fini(&bytes);
}

static void check_denied(const char *path)
{
	struct outcome o, again;
	struct buf bytes;
	size_t i;

	read_file(path, &bytes);
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		run(buf_span(&bytes), chunks[i], ~0u, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_int_equal(o.summary.calls, o.summary.calls_denied);
		assert_int_equal(o.summary.calls, o.judged);
		check_stream(buf_span(&o.all), 1);
		assert_false(contains(&o.all, "\"type\":\"function_call\""));
		/* What is made is accepted as it is. */
		run(buf_span(&o.all), 7, 0, &again);
		assert_int_equal(again.state, REPLY_DONE);
		assert_int_equal(again.judged, 0);
		assert_true(span_equal(buf_span(&o.all), buf_span(&again.all)));
		drop(&again);
		drop(&o);
	}
	buf_fini(&bytes);
}

static void recorded_streams(void (*check)(const char *path))
{
	size_t i, p, found = 0;
	glob_t g;

	for (p = 0; p < ARRAY_SIZE(recordings); p++) {
		if (glob(recordings[p], 0, NULL, &g) == 0)
			for (i = 0; i < g.gl_pathc; i++, found++)
				check(g.gl_pathv[i]);
		globfree(&g);
		if (found)
			break;
	}
	assert_true(found >= 10);
}

static void recordings_pass_unchanged(void **state)
{
	(void)state;
	recorded_streams(check_identity);
}

static void recordings_that_are_cut_end_in_an_error(void **state)
{
	(void)state;
	recorded_streams(check_cuts);
}

static void recordings_with_denied_calls_are_whole(void **state)
{
	(void)state;
	recorded_streams(check_denied);
}

#define EVENT(type, members) \
	"event: " type "\ndata: {\"type\":\"" type "\"," members "}\n\n"
#define CREATED                                                           \
	EVENT("response.created",                                         \
	      "\"sequence_number\":0,\"response\":{\"id\":\"resp_1\","    \
	      "\"object\":\"response\",\"created_at\":5,\"model\":\"m\"," \
	      "\"status\":\"in_progress\",\"output\":[]}")
#define END(kind, number, output, more)                                     \
	EVENT("response." kind,                                             \
	      "\"response\":{\"id\":\"resp_1\",\"object\":\"response\","    \
	      "\"model\":\"m\",\"status\":\"" kind "\",\"output\":[" output \
	      "]" more ",\"usage\":{\"input_tokens\":11,"                   \
	      "\"input_tokens_details\":{\"cached_tokens\":3},"             \
	      "\"output_tokens\":7,\"total_tokens\":18}},\"sequence_"       \
	      "number\":" number)
#define ADDED(number, index, item)                                     \
	EVENT("response.output_item.added",                            \
	      "\"sequence_number\":" number ",\"output_index\":" index \
	      ",\"item\":" item)
#define DONE(number, index, item)                                      \
	EVENT("response.output_item.done",                             \
	      "\"sequence_number\":" number ",\"output_index\":" index \
	      ",\"item\":" item)
#define ARGS(number, index, text)                                      \
	EVENT("response.function_call_arguments.delta",                \
	      "\"sequence_number\":" number ",\"output_index\":" index \
	      ",\"item_id\":\"fc_1\",\"delta\":\"" text "\"")
#define ARGS_DONE(number, index, text)                                 \
	EVENT("response.function_call_arguments.done",                 \
	      "\"sequence_number\":" number ",\"output_index\":" index \
	      ",\"item_id\":\"fc_1\",\"arguments\":\"" text "\"")
#define CALL(id, name, arguments)                                             \
	"{\"id\":\"fc_" id "\",\"type\":\"function_call\",\"call_id\":\"c" id \
	"\",\"name\":\"" name "\",\"arguments\":\"" arguments "\"}"
#define FIRST CALL("1", "shell", "{\\\"cmd\\\":\\\"ls\\\"}")
#define BEGUN CALL("1", "shell", "")
#define ONE_CALL                                                        \
	CREATED ADDED("1", "0", BEGUN) ARGS("2", "0", "{\\\"cmd\\\":")  \
		ARGS("3", "0", "\\\"ls\\\"}")                           \
			ARGS_DONE("4", "0", "{\\\"cmd\\\":\\\"ls\\\"}") \
				DONE("5", "0", FIRST)

static void try(const char *text, unsigned deny, struct outcome *o)
{
	run(span_text(text), FILE_MAX_BYTES, deny, o);
}

static void fails(const char *text, const char *why)
{
	struct outcome o;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		run(span_text(text), chunks[i], 0, &o);
		if (o.state != REPLY_FAILED || strcmp(o.error, why) != 0)
			fail_msg("'%s', not '%s': %s", o.error, why, text);
		drop(&o);
	}
}

static void a_call_waits_for_its_verdict(void **state)
{
	static const char text[] = ONE_CALL END("completed", "6", FIRST, "");
	struct reply *r = responses_stream_new();
	struct span in = span_text(text);
	const struct reply_verdict allow = {.allow = true};
	struct buf out;

	(void)state;
	buf_init(&out, FILE_MAX_BYTES);
	assert_int_equal(reply_feed(r, &in, &out), ERR_OK);
	assert_int_equal(r->state, REPLY_JUDGE);
	assert_true(contains(&out, "response.created"));
	assert_false(contains(&out, "shell"));
	assert_true(span_is(r->call.name, "shell"));
	assert_true(span_is(r->call.id, "c1"));
	assert_true(span_is(r->call.arguments, "{\"cmd\":\"ls\"}"));
	assert_int_equal(reply_verdict(r, &allow, &out), ERR_OK);
	assert_true(contains(&out, "output_item.done"));
	assert_int_equal(reply_feed(r, &in, &out), ERR_OK);
	assert_int_equal(reply_end(r, &out), ERR_OK);
	assert_int_equal(r->state, REPLY_DONE);
	assert_false(contains(&out, "response.completed"));
	assert_int_equal(reply_release(r, &out), ERR_OK);
	assert_true(span_equal(buf_span(&out), span_text(text)));
	assert_int_equal(r->summary.input_tokens, 11);
	assert_int_equal(r->summary.cache_read_tokens, 3);
	assert_int_equal(r->summary.output_tokens, 7);
	assert_string_equal(r->summary.id, "resp_1");
	assert_string_equal(r->summary.model, "m");
	reply_free(r);
	buf_fini(&out);
}

static void a_denied_call_becomes_a_message(void **state)
{
	struct outcome o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		run(span_text(ONE_CALL END("completed", "6", FIRST, "")),
		    chunks[i], 1, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_false(contains(&o.all, "function_call"));
		assert_true(contains(&o.all, "Kenaz denied the tool call "
					     "shell: rule no-shell (shell is "
					     "not allowed)."));
		assert_true(contains(&o.all, "response.output_text.delta"));
		assert_true(contains(&o.all, "\"output\":[{\"id\":"
					     "\"msg_kenaz_0\""));
		check_stream(buf_span(&o.all), 1);
		drop(&o);
	}
}

static void one_of_two_calls_is_denied(void **state)
{
	static const char text[] =
		ONE_CALL ADDED("6", "1", CALL("2", "read", ""))
			DONE("7", "1", CALL("2", "read", "{}"))
				END("completed", "8",
				    FIRST "," CALL("2", "read", "{}"), "");
	struct outcome o;

	(void)state;
	try(text, 2, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_int_equal(o.summary.calls, 2);
	assert_int_equal(o.summary.calls_denied, 1);
	/* Two events were six after it: all later numbers move. */
	assert_true(contains(&o.all, "\"sequence_number\":11"));
	assert_true(contains(&o.all, "\"sequence_number\":12"));
	assert_true(contains(&o.all, "\"call_id\":\"c1\""));
	assert_false(contains(&o.all, "\"call_id\":\"c2\""));
	check_stream(buf_span(&o.all), 1);
	drop(&o);
}

static void overlapping_calls_keep_their_order(void **state)
{
	static const char text[] = CREATED ADDED("1", "0", BEGUN)
		ADDED("2", "1",
		      CALL("2", "read", "")) ARGS("3", "0",
						  "{\\\"cmd\\\":\\\"ls\\\"}")
			ADDED("4", "2",
			      "{\"type\":\"message\",\"id\":\"msg_1\","
			      "\"content\":[]}") DONE("5", "0",
						      FIRST) ARGS("6", "1",
								  "{}")
				DONE("7", "2",
				     "{\"type\":\"message\",\"id\":\"msg_1\","
				     "\"content\":[]}")
					DONE("8", "1", CALL("2", "read", "{}"))
						END("completed", "9",
						    FIRST
						    "," CALL("2", "read", "{}"),
						    "");
	struct outcome o;
	unsigned deny;

	(void)state;
	try(text, 0, &o);
	assert_true(span_equal(buf_span(&o.all), span_text(text)));
	drop(&o);
	for (deny = 1; deny < 4; deny++) {
		try(text, deny, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_int_equal(contains(&o.all, "\"call_id\":\"c1\""),
				 !(deny & 1));
		assert_int_equal(contains(&o.all, "\"call_id\":\"c2\""),
				 !(deny & 2));
		assert_true(contains(&o.all, "\"id\":\"msg_1\""));
		check_stream(buf_span(&o.all), 1);
		drop(&o);
	}
}

static void every_kind_of_call_is_judged(void **state)
{
	static const struct {
		const char *item, *name, *arguments;
	} cases[] = {
		{"{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":"
		 "\"apply_patch\",\"input\":\"*** \\\"x\\\"\"}",
		 "apply_patch", "{\"input\":\"*** \\\"x\\\"\"}"},
		{"{\"type\":\"local_shell_call\",\"call_id\":\"c\",\"action\":"
		 "{\"type\":\"exec\",\"command\":[\"rm\",\"-r\"],"
		 "\"working_directory\":\"/w\"}}",
		 "local_shell",
		 "{\"command\":\"rm -r\",\"working_directory\":\"/w\","
		 "\"action\":{\"type\":\"exec\",\"command\":[\"rm\",\"-r\"],"
		 "\"working_directory\":\"/w\"}}"},
		{"{\"type\":\"shell_call\",\"call_id\":\"c\",\"environment\":"
		 "null,\"action\":{\"commands\":[\"a\",\"b\"]}}",
		 "shell",
		 "{\"command\":\"a\\nb\",\"action\":{\"commands\":[\"a\","
		 "\"b\"]}}"},
		{"{\"type\":\"apply_patch_call\",\"call_id\":\"c\","
		 "\"operation\":{\"type\":\"delete_file\",\"path\":\"p\"}}",
		 "apply_patch", "{\"type\":\"delete_file\",\"path\":\"p\"}"},
		{"{\"type\":\"computer_call\",\"call_id\":\"c\",\"action\":"
		 "{\"type\":\"click\"}}",
		 "computer", "{\"type\":\"click\"}"},
		{"{\"type\":\"tool_search_call\",\"execution\":\"client\","
		 "\"call_id\":\"c\",\"arguments\":{\"q\":1}}",
		 "tool_search", "{\"q\":1}"},
		{"{\"type\":\"teleport_call\",\"call_id\":\"c\",\"to\":1}",
		 "teleport_call",
		 "{\"type\":\"teleport_call\",\"call_id\":\"c\",\"to\":1}"},
		{"{\"type\":\"function_call\",\"call_id\":\"c\",\"namespace\":"
		 "\"mcp__git__\",\"name\":\"push\",\"arguments\":\"\"}",
		 "mcp__git__push", "{}"},
		{"{\"type\":\"function_call\",\"call_id\":\"c\",\"namespace\":"
		 "\"push\",\"name\":\"push\",\"arguments\":\"{}\"}",
		 "push", "{}"},
	};
	char text[4096];
	struct outcome o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(text, sizeof(text),
			       CREATED ADDED("1", "0", "%s")
				       DONE("2", "0", "%s")
					       END("completed", "3", "%s", ""),
			       cases[i].item, cases[i].item, cases[i].item);
		try(text, 0, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_int_equal(o.judged, 1);
		assert_string_equal(o.name, cases[i].name);
		assert_string_equal(o.arguments, cases[i].arguments);
		assert_true(span_equal(buf_span(&o.all), span_text(text)));
		drop(&o);
		try(text, 1, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_false(contains(&o.all, "_call\""));
		check_stream(buf_span(&o.all), 1);
		drop(&o);
	}
}

static void what_runs_at_the_provider_passes(void **state)
{
	static const char *const items[] = {
		"{\"type\":\"web_search_call\",\"id\":\"w\"}",
		"{\"type\":\"mcp_call\",\"id\":\"w\"}",
		"{\"type\":\"tool_search_call\",\"execution\":\"server\"}",
		"{\"type\":\"reasoning\",\"summary\":[]}",
		"{\"type\":\"compaction\"}",
	};
	char text[4096];
	struct outcome o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(items); i++) {
		(void)snprintf(text, sizeof(text),
			       CREATED ADDED("1", "0", "%s")
				       DONE("2", "0", "%s")
					       END("completed", "3", "%s", ""),
			       items[i], items[i], items[i]);
		try(text, ~0u, &o);
		assert_int_equal(o.judged, 0);
		assert_true(span_equal(buf_span(&o.all), span_text(text)));
		drop(&o);
	}
}

/* A call that can be read in two ways is denied without asking. */
static void contradictions_are_denied(void **state)
{
	static const char *const streams[] = {
		CREATED ADDED("1", "0", BEGUN) ARGS("2", "0", "{}")
			DONE("3", "0", FIRST) END("completed", "4", FIRST, ""),
		CREATED ADDED("1", "0", BEGUN) ARGS("2", "0", "{}")
			ARGS_DONE("3", "0", "{\\\"a\\\":1}")
				DONE("4", "0", CALL("1", "shell", "{}"))
					END("completed", "5",
					    CALL("1", "shell", "{}"), ""),
		CREATED ADDED("1", "0", CALL("1", "read", ""))
			DONE("2", "0", FIRST) END("completed", "4", FIRST, ""),
		CREATED ADDED("1", "0", CALL("2", "shell", ""))
			DONE("2", "0", FIRST) END("completed", "4", FIRST, ""),
		CREATED ADDED("1", "0", BEGUN) DONE("2", "0",
						    CALL("1", "shell",
							 "{\\\"a\\\":1,"
							 "\\\"a\\\":2}"))
			END("completed", "4", "", ""),
		CREATED ADDED("1", "0", BEGUN)
			DONE("2", "0", CALL("1", "shell", "[]"))
				END("completed", "4", "", ""),
	};
	struct outcome o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(streams); i++) {
		try(streams[i], 0, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_int_equal(o.judged, 0);
		assert_int_equal(o.summary.calls_denied, 1);
		assert_false(contains(&o.all, "function_call"));
		drop(&o);
	}
}

static void calls_in_the_last_event_are_judged(void **state)
{
	struct outcome o;

	(void)state;
	/* One that the stream did not have. */
	try(CREATED END("completed", "1", FIRST, ""), 0, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_int_equal(o.judged, 1);
	assert_string_equal(o.arguments, "{\"cmd\":\"ls\"}");
	drop(&o);
	try(CREATED END("completed", "1", FIRST, ""), 1, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_false(contains(&o.all, "function_call"));
	assert_true(contains(&o.all, "msg_kenaz_0"));
	drop(&o);
	/* Another one than the stream had. */
	try(ONE_CALL END("completed", "6",
			 CALL("1", "shell", "{\\\"cmd\\\":\\\"rm\\\"}"), ""),
	    2, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_int_equal(o.judged, 2);
	assert_false(contains(&o.all, "rm"));
	drop(&o);
	/* The same one twice. */
	try(ONE_CALL END("completed", "6", FIRST "," FIRST, ""), 2, &o);
	assert_int_equal(o.judged, 2);
	assert_int_equal(o.summary.calls_denied, 1);
	drop(&o);
}

static void ends_that_are_no_success(void **state)
{
	struct outcome o;

	(void)state;
	try(CREATED END("incomplete", "1", "",
			",\"incomplete_details\":{\"reason\":"
			"\"max_output_tokens\"}"),
	    0, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_string_equal(o.summary.stop_reason, "max_output_tokens");
	drop(&o);
	try(CREATED END("failed", "1", "",
			",\"error\":{\"code\":\"server_error\",\"message\":"
			"\"no \\u001b luck\"}"),
	    0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_string_equal(o.upstream, "server_error: no \\x1b luck");
	assert_true(contains(&o.all, "response.failed"));
	drop(&o);
	/* A call that never was complete is gone. */
	try(CREATED ADDED("1", "0", BEGUN)
		    END("failed", "2", "",
			",\"error\":{\"code\":\"c\",\"message\":\"m\"}"),
	    0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_string_equal(o.upstream, "c: m");
	assert_false(contains(&o.all, "function_call"));
	drop(&o);
	try(CREATED EVENT("error", "\"code\":\"rate_limit_exceeded\","
				   "\"message\":\"slow\",\"param\":null"),
	    0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_string_equal(o.upstream, "rate_limit_exceeded: slow");
	drop(&o);
	try(CREATED "data: {\"error\":{\"code\":502,\"message\":\"bad\"}}\n\n"
		    "data: [DONE]\n\n",
	    0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	assert_string_equal(o.upstream, "bad");
	drop(&o);
}

static void other_servers_are_tolerated(void **state)
{
	static const char *const streams[] = {
		/* No names, no numbers, comments, CR LF, [DONE]. */
		": PROCESSING\r\n\r\n"
		"data: {\"type\":\"response.created\",\"response\":{\"id\":"
		"\"r\"}}\r\n\r\n"
		"data: {\"type\":\"response.output_text.delta\",\"delta\":"
		"\"hi\"}\r\n\r\n"
		"data:{\"type\":\"response.completed\",\"response\":{\"id\":"
		"\"r\",\"output\":[]}}\r\n\r\ndata: [DONE]\r\n\r\n",
		/* Unknown events, also of unknown families. */
		CREATED EVENT("response.sparkle.delta", "\"x\":1")
			EVENT("keepalive", "\"sequence_number\":3")
				END("completed", "4", "", ""),
		/* Data in several lines. */
		"data: {\"type\":\"response.completed\",\ndata: \"response\":"
		"{\"id\":\"r\",\"output\":[]}}\n\n",
	};
	struct outcome o;
	size_t i, c;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(streams); i++)
		for (c = 0; c < ARRAY_SIZE(chunks); c++) {
			run(span_text(streams[i]), chunks[c], 0, &o);
			if (o.state != REPLY_DONE)
				fail_msg("%s: %s", o.error, streams[i]);
			assert_true(span_equal(buf_span(&o.all),
					       span_text(streams[i])));
			drop(&o);
		}
	/* A call that comes without its output_item.added. */
	try(CREATED DONE("1", "0", FIRST) END("completed", "2", FIRST, ""), 1,
	    &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_int_equal(o.judged, 1);
	assert_false(contains(&o.all, "function_call"));
	drop(&o);
}

static void malformed_streams_fail(void **state)
{
	(void)state;
	fails("", "the provider's stream ended before its last event");
	fails(CREATED, "the provider's stream ended before its last event");
	fails("data: {\n\n", "an event that is not valid JSON");
	fails("event: x\n\n", "an event without data");
	fails("data: {}\n\n", "an event without a type");
	fails("event: a\ndata: {\"type\":\"b\"}\n\n",
	      "an event whose name is not its type");
	fails(CREATED "data: [DONE]\n\n", "[DONE] before the response's end");
	fails(CREATED ADDED("1", "0", "{}"), "an output item without a type");
	fails(CREATED EVENT("response.output_item.added",
			    "\"item\":{\"type\":\"message\"}"),
	      "an output item without a proper index");
	fails(CREATED ADDED("1", "0", BEGUN) ADDED("2", "0", BEGUN),
	      "an output item inside another");
	fails(CREATED ADDED("1", "0", "{\"type\":\"function_call\"}"),
	      "a tool call without a proper id and name");
	fails(CREATED ADDED("1", "0", BEGUN)
		      DONE("2", "0", "{\"type\":\"message\"}"),
	      "an output item that changed its type");
	fails(CREATED ARGS("1", "0", "{}"),
	      "a part of a tool call without its output_item.added");
	fails(CREATED ADDED("1", "0", BEGUN)
		      EVENT("response.function_call_arguments.delta",
			    "\"output_index\":0,\"delta\":1"),
	      "a part of a tool call that is no text");
	fails(CREATED ADDED("1", "0", BEGUN) END("completed", "2", "", ""),
	      "the response ended inside a tool call");
	fails(EVENT("response.completed", "\"response\":1"),
	      "a last event without its response");
	fails(EVENT("response.completed",
		    "\"response\":{\"status\":\"failed\"}"),
	      "a failed response that is called complete");
	fails(CREATED END("completed", "1", "", "")
		      END("completed", "2", "", ""),
	      "an event behind the response's end");
	fails(EVENT("response.created",
		    "\"response\":{\"output\":[" FIRST "]}"),
	      "a tool call outside its own events");
	fails(CREATED END("completed", "1", "{}", ""),
	      "an output item without a type");
}

static void too_many_open_calls_fail(void **state)
{
	char text[8192];
	size_t at, i;

	(void)state;
	at = (size_t)snprintf(text, sizeof(text), "%s", CREATED);
	for (i = 0; i < 17; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at,
				       ADDED("1", "%zu", BEGUN), i);
	fails(text, "too many open tool calls");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recordings_pass_unchanged),
		cmocka_unit_test(recordings_that_are_cut_end_in_an_error),
		cmocka_unit_test(recordings_with_denied_calls_are_whole),
		cmocka_unit_test(a_call_waits_for_its_verdict),
		cmocka_unit_test(a_denied_call_becomes_a_message),
		cmocka_unit_test(one_of_two_calls_is_denied),
		cmocka_unit_test(overlapping_calls_keep_their_order),
		cmocka_unit_test(every_kind_of_call_is_judged),
		cmocka_unit_test(what_runs_at_the_provider_passes),
		cmocka_unit_test(contradictions_are_denied),
		cmocka_unit_test(calls_in_the_last_event_are_judged),
		cmocka_unit_test(ends_that_are_no_success),
		cmocka_unit_test(other_servers_are_tolerated),
		cmocka_unit_test(malformed_streams_fail),
		cmocka_unit_test(too_many_open_calls_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
