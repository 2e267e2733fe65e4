/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_chat_stream.c - what reaches the guest of a streamed completion
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>

#include "engine/gate/chat.h"
#include "tests/lib/reply_run.h"

#define WHOLE (1u << 20)

static const size_t chunks[] = {1, 2, 3, 7, 0, WHOLE};

#define HEAD                                                         \
	"data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\"," \
	"\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"
#define DELTA(d)  HEAD "\"delta\":" d ",\"finish_reason\":null}]}\n\n"
#define CALLS(c)  DELTA("{\"tool_calls\":[" c "]}")
#define ENDS(why) HEAD "\"delta\":{},\"finish_reason\":\"" why "\"}]}\n\n"
#define DONE      "data: [DONE]\n\n"
#define ROLE      DELTA("{\"role\":\"assistant\",\"content\":\"\"}")
#define BEGIN(index, id, name)                                    \
	"{\"index\":" index ",\"id\":\"" id                       \
	"\",\"type\":\"function\",\"function\":{\"name\":\"" name \
	"\",\"arguments\":\"\"}}"
#define MORE(index, text) \
	"{\"index\":" index ",\"function\":{\"arguments\":\"" text "\"}}"
#define USAGE(u)                                                     \
	"data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\"," \
	"\"choices\":[],\"usage\":" u "}\n\n"
#define COUNTS                                          \
	"{\"prompt_tokens\":9,\"completion_tokens\":4," \
	"\"total_tokens\":13,\"prompt_tokens_details\":{\"cached_tokens\":3}}"

static const char one_call[] =
	ROLE CALLS(BEGIN("0", "a", "bash")) CALLS(MORE("0", "{\\\"x\\\""))
		CALLS(MORE("0", ":1}")) ENDS("tool_calls") DONE;

static const char two_calls[] = ROLE CALLS(BEGIN("0", "a", "bash"))
	CALLS(BEGIN("1", "b", "read")) CALLS(MORE("1", "{\\\"y\\\""))
		CALLS(MORE("0", "{\\\"x\\\":1}")) CALLS(MORE("1", ":2}"))
			ENDS("tool_calls") USAGE(COUNTS) DONE;

static void run(const char *text, size_t chunk, unsigned deny,
		struct reply_run *o)
{
	reply_run(chat_stream_new(), span_text(text), chunk, deny, o);
}

/* Same bytes out as in, whatever the borders. */
static void check_identity(struct span all, const char *what)
{
	struct reply_run o;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		reply_run(chat_stream_new(), all, chunks[i], 0, &o);
		if (o.state != REPLY_DONE || !span_equal(buf_span(&o.all), all))
			fail_msg("%s, pieces of %zu: %s", what, chunks[i],
				 o.error_text);
		reply_run_fini(&o);
	}
}

static void passes_recordings_unchanged(void **state)
{
	static const char *const patterns[] = {
		"tests/streams/openrouter.ai/api_v1_chat*.sse",
		"tests/streams/api.groq.com/*.sse",
		"tests/streams/api.openai.com/v1_chat*.sse",
	};
	struct buf bytes;
	size_t i, k, found = 0;
	glob_t g;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(patterns); i++) {
		assert_int_equal(glob(patterns[i], 0, NULL, &g), 0);
		for (k = 0; k < g.gl_pathc; k++) {
			read_whole_file(g.gl_pathv[k], &bytes);
			check_identity(buf_span(&bytes), g.gl_pathv[k]);
			buf_fini(&bytes);
			found++;
		}
		globfree(&g);
	}
	assert_int_equal(found, 7);
}

/* Cut anywhere before the finish_reason a recording is an error. */
static void recordings_cut_are_errors(void **state)
{
	static const char path[] =
		"tests/streams/api.openai.com/v1_chat_completions__"
		"test_run_stream_sync_streams_real_model__0.sse";
	const char *end;
	struct reply_run o;
	struct buf bytes;
	size_t cut, whole;

	(void)state;
	read_whole_file(path, &bytes);
	end = memmem(bytes.data, bytes.len_bytes, "\"finish_reason\":\"tool",
		     21);
	assert_non_null(end);
	end = memmem(end, 1000, "\n\n", 2);
	whole = (size_t)(end - (const char *)bytes.data) + 2;
	for (cut = 0; cut < whole; cut++) {
		reply_run(chat_stream_new(), span_of(bytes.data, cut), WHOLE, 0,
			  &o);
		assert_int_equal(o.state, REPLY_FAILED);
		assert_true(buf_contains(&o.all, "{\"error\":{"));
		assert_false(buf_contains(&o.all, "[DONE]"));
		assert_false(buf_contains(&o.all, "get_capital"));
		reply_run_fini(&o);
	}
	buf_fini(&bytes);
}

static void passes_our_own_unchanged(void **state)
{
	static const char *const streams[] = {
		one_call,
		two_calls,
		ROLE DELTA("{\"content\":\"hi\"}") ENDS("stop") DONE,
		/* Azure begins without choices; usage is null until the end. */
		"data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n" ROLE
			DELTA("{\"content\":\"hi\"}") ENDS("stop") USAGE(COUNTS)
				DONE,
		/* The finish_reason comes with the last content (vLLM). */
		ROLE HEAD "\"delta\":{\"content\":\"hi\"},"
			  "\"finish_reason\":\"stop\"}]}\n\n" DONE,
		/* A call, text and thinking in one chunk. */
		DELTA("{\"role\":\"assistant\",\"content\":\"so\","
		      "\"reasoning\":\"hm\",\"tool_calls\":["
		      "{\"index\":0,\"id\":\"a\",\"type\":\"function\","
		      "\"function\":{\"name\":\"bash\","
		      "\"arguments\":\"{}\"}}]}") ENDS("tool_calls") DONE,
		/* The whole call in one chunk, with the end (Ollama). */
		HEAD "\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\","
		     "\"type\":\"function\",\"function\":{\"name\":\"bash\","
		     "\"arguments\":\"{}\"}}]},"
		     "\"finish_reason\":\"tool_calls\"}]}\n\n" DONE,
		/* Thinking in every form, and members nobody knows. */
		DELTA("{\"reasoning\":\"a\"}")
			DELTA("{\"reasoning_content\":\"b\"}") DELTA(
				"{\"reasoning_details\":[{\"type\":"
				"\"reasoning.text\",\"text\":\"c\"}]}")
				ENDS("stop") "data: {\"choices\":[],"
					     "\"obfuscation\":\"xx\"}\n\n" DONE,
		/* The old form. */
		DELTA("{\"function_call\":{\"name\":\"f\",\"arguments\":"
		      "\"{\"}}")
			DELTA("{\"function_call\":{\"arguments\":\"}\"}}")
				ENDS("function_call") DONE,
		/* A custom tool: any text is its input. */
		CALLS("{\"index\":0,\"id\":\"a\",\"type\":\"custom\","
		      "\"custom\":{\"name\":\"patch\",\"input\":\"*** \"}}")
			CALLS("{\"index\":0,\"custom\":{\"input\":\"x\"}}")
				ENDS("tool_calls") DONE,
		/* Twice finished, as OpenRouter sends it with usage. */
		ROLE ENDS("stop") ENDS("stop") DONE,
		": comment\n\ndata:{\"choices\":[{\"index\":0,\"delta\":"
		"{\"content\":\"no space\"},\"finish_reason\":\"stop\"}]}\n\n"
		": OPENROUTER PROCESSING\n\ndata:[DONE]\n\n",
	};
	struct reply_run o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(streams); i++)
		check_identity(span_text(streams[i]), streams[i]);
	run(two_calls, WHOLE, 0, &o);
	assert_string_equal(o.calls, "bash({\"x\":1}) read({\"y\":2}) ");
	assert_string_equal(o.summary.stop_reason, "tool_calls");
	assert_string_equal(o.summary.id, "c1");
	assert_string_equal(o.summary.model, "m");
	assert_true(o.summary.usage_known);
	assert_int_equal(o.summary.input_tokens, 9);
	assert_int_equal(o.summary.output_tokens, 4);
	assert_int_equal(o.summary.cache_read_tokens, 3);
	reply_run_fini(&o);
	run(streams[9], WHOLE, 0, &o);
	assert_string_equal(o.calls, "patch({\"input\":\"*** x\"}) ");
	reply_run_fini(&o);
}

static void passes_other_line_ends(void **state)
{
	static const char *const ends[] = {"\r\n", "\r"};
	const char *at;
	struct buf b;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		buf_init(&b, WHOLE);
		for (at = two_calls; *at; at++)
			assert_int_equal(*at == '\n' ? buf_put_text(&b, ends[i])
						     : buf_put(&b, at, 1),
					 ERR_OK);
		check_identity(buf_span(&b), "line ends");
		buf_fini(&b);
	}
}

static void holds_calls_and_the_end(void **state)
{
	struct reply_run o;
	struct buf out;
	struct reply *r = chat_stream_new();
	struct span in = span_text(one_call);
	const struct reply_verdict v = {.allow = true};

	(void)state;
	buf_init(&out, WHOLE);
	assert_int_equal(reply_feed(r, &in, &out), ERR_OK);
	assert_int_equal(r->state, REPLY_JUDGE);
	assert_true(buf_contains(&out, "assistant"));
	assert_false(buf_contains(&out, "tool_calls"));
	assert_int_equal(reply_verdict(r, &v, &out), ERR_OK);
	assert_true(buf_contains(&out, ":1}"));
	assert_false(buf_contains(&out, "\"finish_reason\":\"tool_calls\""));
	assert_int_equal(reply_feed(r, &in, &out), ERR_OK);
	assert_int_equal(reply_end(r, &out), ERR_OK);
	assert_int_equal(r->state, REPLY_DONE);
	assert_false(buf_contains(&out, "[DONE]"));
	reply_free(r);
	buf_fini(&out);
	/* Without calls, text goes on at once and only the end is held. */
	run(ROLE DELTA("{\"content\":\"hi\"}") ENDS("stop") USAGE(COUNTS) DONE,
	    3, 0, &o);
	assert_true(buf_contains(&o.early, "hi"));
	assert_false(buf_contains(&o.early, "stop"));
	assert_false(buf_contains(&o.early, "prompt_tokens"));
	reply_run_fini(&o);
}

static void replaces_denied_calls(void **state)
{
	static const char text[] = "Kenaz denied the tool call bash: rule "
				   "no-shell (not allowed).";
	struct reply_run o, again;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		run(one_call, chunks[i], 1, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_true(buf_contains(&o.early, text));
		assert_false(buf_contains(&o.all, "tool_calls"));
		assert_false(buf_contains(&o.all, "\\\"x\\\""));
		assert_true(buf_contains(&o.all, "\"finish_reason\":\"stop\""));
		assert_true(buf_contains(&o.all, DONE));
		assert_string_equal(o.summary.stop_reason, "stop");
		assert_int_equal(o.summary.calls_denied, 1);
		/* The result is a stream of this dialect again. */
		reply_run(chat_stream_new(), buf_span(&o.all), 5, 0, &again);
		assert_int_equal(again.state, REPLY_DONE);
		assert_int_equal(again.judged, 0);
		reply_run_fini(&again);
		reply_run_fini(&o);
	}
}

static void renumbers_what_remains(void **state)
{
	struct reply_run o, again;

	(void)state;
	run(two_calls, 7, 1, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_true(buf_contains(&o.all,
				 "{\"index\":0,\"id\":\"b\",\"type\":"
				 "\"function\",\"function\":{\"name\":\"read\""
				 ",\"arguments\":\"\"}}"));
	assert_false(buf_contains(&o.all, "{\"index\":1,"));
	assert_false(buf_contains(&o.all, "\\\"x\\\""));
	assert_true(buf_contains(&o.all, "\"finish_reason\":\"tool_calls\""));
	assert_string_equal(o.summary.stop_reason, "tool_calls");
	reply_run(chat_stream_new(), buf_span(&o.all), 5, 0, &again);
	assert_int_equal(again.state, REPLY_DONE);
	assert_string_equal(again.calls, "read({\"y\":2}) ");
	assert_true(span_equal(buf_span(&again.all), buf_span(&o.all)));
	reply_run_fini(&again);
	reply_run_fini(&o);
	run(two_calls, 7, 2, &o);
	assert_false(buf_contains(&o.all, "\\\"y\\\""));
	assert_true(buf_contains(&o.all, "\\\"x\\\":1"));
	reply_run_fini(&o);
	run(two_calls, 7, 3, &o);
	assert_false(buf_contains(&o.all, "tool_calls"));
	assert_int_equal(buf_count(&o.all, "Kenaz denied"), 2);
	assert_int_equal(buf_count(&o.all, "\\n\\nKenaz denied"), 1);
	reply_run_fini(&o);
}

/* However calls are numbered on the wire, clients get them as judged. */
static void repairs_numbering(void **state)
{
#define ARGS(index, id, name, args)                                        \
	CALLS("{" index "\"id\":\"" id "\",\"function\":{\"name\":\"" name \
	      "\",\"arguments\":\"" args "\"}}")
	static const char *const streams[] = {
		/* All index 0: a new id is a new call. */
		ARGS("\"index\":0,", "a", "bash", "{\\\"x\\\":1}")
			ARGS("\"index\":0,", "b", "read", "{\\\"y\\\":2}")
				ENDS("tool_calls") DONE,
		/* No index at all. */
		ARGS("", "a", "bash", "{\\\"x\\\":1}")
			ARGS("", "b", "read", "{\\\"y\\\":2}")
				ENDS("tool_calls") DONE,
		/* Both in one chunk, from 1 on. */
		CALLS("{\"index\":1,\"id\":\"a\",\"function\":{\"name\":"
		      "\"bash\",\"arguments\":\"{\\\"x\\\":1}\"}},"
		      "{\"index\":2,\"id\":\"b\",\"function\":{\"name\":"
		      "\"read\",\"arguments\":\"{\\\"y\\\":2}\"}}")
			ENDS("tool_calls") DONE,
		/* No ids: a name at an index in use begins a call. */
		CALLS("{\"index\":0,\"function\":{\"name\":\"bash\","
		      "\"arguments\":\"{\\\"x\\\":1}\"}}")
			CALLS("{\"index\":0,\"function\":{\"name\":\"read\","
			      "\"arguments\":\"{\\\"y\\\":2}\"}}")
				ENDS("tool_calls") DONE,
		/* Id and name repeated in each delta; the second has none. */
		ARGS("\"index\":0,", "a", "bash",
		     "{\\\"x\\\"") ARGS("\"index\":0,", "a", "bash", ":1}")
			CALLS(BEGIN("1", "b", "read"))
				CALLS("{\"function\":{\"arguments\":"
				      "\"{\\\"y\\\":2}\"}}") ENDS("stop") DONE,
		/* A new id in each delta, but one index. */
		ARGS("\"index\":0,", "a", "bash", "{\\\"x\\\"")
			CALLS("{\"index\":0,\"id\":\"q\",\"function\":"
			      "{\"arguments\":\":1}\"}}")
				CALLS(BEGIN("1", "b", "read"))
					CALLS(MORE("1", "{\\\"y\\\":2}"))
						ENDS("tool_calls") DONE,
	};
	struct reply_run o, again;
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(streams); i++)
		for (k = 0; k < ARRAY_SIZE(chunks); k++) {
			run(streams[i], chunks[k], 0, &o);
			if (o.state != REPLY_DONE)
				fail_msg("%zu: %s", i, o.error_text);
			assert_string_equal(o.calls,
					    "bash({\"x\":1}) read({\"y\":2}) ");
			/* Now a client that goes by the index agrees. */
			reply_run(chat_stream_new(), buf_span(&o.all), 3, 0,
				  &again);
			assert_string_equal(again.calls, o.calls);
			assert_true(span_equal(buf_span(&again.all),
					       buf_span(&o.all)));
			assert_int_equal(buf_count(&o.all, "\"bash\""), 1);
			assert_true(buf_count(&o.all, "{\"index\":1,") >= 1);
			reply_run_fini(&again);
			reply_run_fini(&o);
			run(streams[i], chunks[k], 1, &o);
			assert_false(buf_contains(&o.all, "\\\"x\\\""));
			assert_true(buf_contains(&o.all, "\\\"y\\\""));
			assert_false(buf_contains(&o.all, "{\"index\":1,"));
			reply_run_fini(&o);
		}
}

static void judges_every_choice(void **state)
{
#define AT(n, delta, why)                                                    \
	"data: {\"id\":\"c\",\"choices\":[{\"index\":" n ",\"delta\":" delta \
	",\"finish_reason\":" why "}]}\n\n"
	static const char stream[] = AT("0", "{\"content\":\"a\"}", "null")
		AT("1", "{\"tool_calls\":[" BEGIN("0", "x", "bash") "]}",
		   "null") AT("0",
			      "{\"tool_calls\":[" BEGIN("0", "y", "read") "]}",
			      "null") AT("0", "{}", "\"tool_calls\"")
			AT("2", "{\"content\":\"late\"}", "null")
				AT("1", "{}", "\"tool_calls\"")
					AT("2", "{}", "\"stop\"") DONE;
	static const char serial[] = AT("0", "{\"content\":\"a\"}", "\"stop\"")
		AT("1", "{\"content\":\"b\"}", "null") AT("1", "{}", "\"stop\"")
			DONE;
	struct reply_run o;

	(void)state;
	check_identity(span_text(stream), "three choices");
	check_identity(span_text(serial), "one choice after the other");
	run(stream, 5, 1, &o);
	assert_string_equal(o.calls, "read({}) bash({}) ");
	assert_int_equal(o.summary.calls_denied, 1);
	assert_false(buf_contains(&o.all, "\"name\":\"read\""));
	assert_true(buf_contains(&o.all, "\"name\":\"bash\""));
	assert_true(buf_contains(&o.all, AT("0", "{}", "\"stop\"")));
	assert_true(buf_contains(&o.all, AT("1", "{}", "\"tool_calls\"")));
	reply_run_fini(&o);
	/* A choice that never finishes is an end too early. */
	run(AT("0", "{}", "\"stop\"") AT("1", "{}", "null") DONE, 9, 0, &o);
	assert_int_equal(o.state, REPLY_FAILED);
	reply_run_fini(&o);
}

static void denies_the_old_form(void **state)
{
	struct reply_run o;

	(void)state;
	run(DELTA("{\"role\":\"assistant\",\"function_call\":{\"name\":"
		  "\"bash\",\"arguments\":\"{\"}}")
		    DELTA("{\"function_call\":{\"arguments\":\"}\"}}")
			    ENDS("function_call") DONE,
	    4, 1, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_string_equal(o.calls, "bash({}) ");
	assert_true(buf_contains(&o.all, "Kenaz denied the tool call bash"));
	assert_false(buf_contains(&o.all, "\"name\""));
	assert_true(buf_contains(&o.all, "\"finish_reason\":\"stop\""));
	reply_run_fini(&o);
}

static void denies_unreadable_arguments(void **state)
{
	static const char *const bad[] = {
		"{\\\"x\\\":1",
		"[]",
		"{\\\"x\\\":1,\\\"x\\\":2}",
		"{} {}",
	};
	struct reply_run o;
	char stream[2048];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		(void)snprintf(stream, sizeof(stream), "%s%s%s%s%s",
			       CALLS(BEGIN("0", "a", "bash")),
			       HEAD "\"delta\":{\"tool_calls\":[{\"index\":0,"
				    "\"function\":{\"arguments\":\"",
			       bad[i], "\"}}]},\"finish_reason\":null}]}\n\n",
			       ENDS("tool_calls") DONE);
		run(stream, 6, 0, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_int_equal(o.judged, 0);
		assert_int_equal(o.summary.calls_denied, 1);
		assert_true(buf_contains(&o.all, "not one valid JSON object"));
		reply_run_fini(&o);
	}
}

/* No text may follow the finish_reason: the denial comes before it. */
static void denies_a_call_that_comes_with_the_end(void **state)
{
	struct reply_run o;
	const char *denial, *reason;

	(void)state;
	run(HEAD "\"delta\":{\"content\":\"so\",\"tool_calls\":[{\"index\":0,"
		 "\"id\":\"a\",\"function\":{\"name\":\"bash\",\"arguments\":"
		 "\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n" DONE,
	    2, 1, &o);
	assert_int_equal(o.state, REPLY_DONE);
	denial = memmem(o.all.data, o.all.len_bytes, "Kenaz", 5);
	reason = memmem(o.all.data, o.all.len_bytes, "\"stop\"", 6);
	assert_non_null(denial);
	assert_non_null(reason);
	assert_true(denial < reason);
	assert_true(buf_contains(&o.all, "\"content\":\"so\""));
	assert_false(buf_contains(&o.all, "tool_calls"));
	reply_run_fini(&o);
}

static void strips_usage_nobody_asked_for(void **state)
{
	static const char stream[] = ROLE DELTA("{\"content\":\"hi\"}")
		ENDS("stop") USAGE(COUNTS) DONE;
	struct reply *r;
	struct reply_run o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		r = chat_stream_new();
		r->strip_usage = true;
		reply_run(r, span_text(stream), chunks[i], 0, &o);
		assert_int_equal(o.state, REPLY_DONE);
		assert_true(o.summary.usage_known);
		assert_true(span_is(buf_span(&o.all),
				    ROLE DELTA("{\"content\":\"hi\"}")
					    ENDS("stop") DONE));
		reply_run_fini(&o);
	}
}

static void ends_without_done(void **state)
{
	static const char *const tails[] = {
		"",          "\n", "data: [DONE]", "data:[D", "data: [DONE]\n",
		": bye\n\n",
	};
	char stream[2048];
	struct reply_run o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		(void)snprintf(stream, sizeof(stream), "%s%s",
			       ROLE ENDS("stop"), tails[i]);
		run(stream, 1, 0, &o);
		if (o.state != REPLY_DONE)
			fail_msg("%zu: %s", i, o.error_text);
		assert_int_equal(buf_count(&o.all, DONE), 1);
		reply_run_fini(&o);
	}
}

static void keeps_upstream_errors(void **state)
{
	static const struct {
		const char *stream, *words;
	} cases[] = {
		{ROLE "data: {\"error\":{\"message\":\"boom\",\"type\":"
		      "\"server_error\",\"code\":null}}\n\n" DONE,
		 "server_error: boom"},
		/* OpenRouter: a number, in a chunk that looks like others. */
		{ROLE "data: {\"id\":\"c\",\"choices\":[{\"index\":0,"
		      "\"delta\":{\"content\":\"\"},\"finish_reason\":"
		      "\"error\"}],\"error\":{\"code\":502,\"message\":"
		      "\"gone\"}}\n\n" DONE,
		 "502: gone"},
		{"data: {\"object\":\"error\",\"message\":\"old vLLM\","
		 "\"type\":\"BadRequestError\",\"code\":400}\n\n",
		 "BadRequestError: old vLLM"},
		{ROLE CALLS(BEGIN("0", "a", "bash")) "event: error\ndata: "
						     "{\"error\":\"text\"}\n\n",
		 "text"},
	};
	struct reply_run o;
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		for (k = 0; k < ARRAY_SIZE(chunks); k++) {
			run(cases[i].stream, chunks[k], 0, &o);
			assert_int_equal(o.state, REPLY_FAILED);
			assert_int_equal(o.err, ERR_OK);
			assert_string_equal(o.upstream_error, cases[i].words);
			assert_false(buf_contains(&o.all, "[DONE]"));
			assert_false(buf_contains(&o.all, "bash"));
			assert_true(buf_contains(&o.all, "error"));
			reply_run_fini(&o);
		}
}

static void refuses_broken_streams(void **state)
{
	static const struct {
		const char *stream, *why;
	} cases[] = {
		{"", "ended before its finish_reason"},
		{DONE, "ended before its finish_reason"},
		{ROLE, "ended before its finish_reason"},
		{ROLE DONE, "ended before its finish_reason"},
		{ROLE ENDS("stop") "data: {\"choi", "ended in mid-event"},
		{ROLE ENDS("stop") DONE ROLE, "an event after [DONE]"},
		{ROLE ENDS("error"), "broke the answer off"},
		{ROLE ENDS("abort"), "broke the answer off"},
		{ROLE ENDS("ABORT"), "broke the answer off"},
		{ROLE ENDS("") DONE, "ended before its finish_reason"},
		{HEAD "\"delta\":{},\"finish_reason\":7}]}\n\n",
		 "a malformed finish_reason"},
		{"data: {\n\n", "not valid JSON"},
		{"data: {\"a\":1,\"a\":1}\n\n", "not valid JSON"},
		{"data: []\n\n", "a chunk that is none"},
		{"data: {\"choices\":{}}\n\n", "a chunk that is none"},
		{"data: {\"choices\":[1]}\n\n", "a malformed choice"},
		{"data: {\"choices\":[{\"index\":128}]}\n\n",
		 "a malformed choice"},
		{"data: {\"choices\":[{\"message\":{\"tool_calls\":[]}}]}\n\n",
		 "a whole message with calls"},
		{DELTA("{\"tool_calls\":{}}"), "tool_calls that are no list"},
		{CALLS("7"), "a tool call that is no object"},
		{CALLS("{\"index\":0,\"type\":\"mcp\",\"id\":\"a\"}"),
		 "a tool call of an unknown type"},
		{CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":"
		       "\"f\"},\"custom\":{\"name\":\"g\"}}"),
		 "a tool call of two types"},
		{CALLS("{\"index\":-1,\"id\":\"a\"}"),
		 "a tool call with a bad index"},
		{CALLS("{\"index\":0,\"function\":{\"arguments\":\"{}\"}}"),
		 "without a proper id and name"},
		{CALLS("{\"index\":0,\"id\":7}"),
		 "without a proper id and name"},
		{CALLS("{\"index\":0,\"id\":\"a\",\"function\":7}"),
		 "whose function is no object"},
		{CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":"
		       "\"f\",\"arguments\":[]}}"),
		 "whose arguments are no text"},
		{CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":"
		       "\"f\",\"arguments\":{}}}") CALLS(MORE("0", "{}")),
		 "a tool call with two inputs"},
		{ENDS("stop") CALLS(BEGIN("0", "a", "bash")),
		 "a tool call after the finish_reason"},
		{DELTA("{\"function_call\":{\"name\":\"f\"}}")
			 DELTA("{\"function_call\":{\"name\":\"g\"}}"),
		 "a function_call with two names"},
	};
	struct reply_run o;
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		for (k = 0; k < ARRAY_SIZE(chunks); k++) {
			run(cases[i].stream, chunks[k], 0, &o);
			if (o.state != REPLY_FAILED ||
			    !strstr(o.error_text, cases[i].why))
				fail_msg("%zu: %s", i, o.error_text);
			assert_true(buf_contains(&o.all, "data: {\"error\":{"));
			assert_false(buf_contains(&o.all, DONE));
			reply_run_fini(&o);
		}
}

static void refuses_too_many_calls(void **state)
{
	char call[512];
	struct reply_run o;
	struct buf b;
	int i;

	(void)state;
	buf_init(&b, WHOLE);
	for (i = 0; i <= (int)CHAT_CALLS_MAX; i++) {
		(void)snprintf(call, sizeof(call), "%s%d%s%d%s",
			       HEAD "\"delta\":{\"tool_calls\":[{\"index\":", i,
			       ",\"id\":\"c", i,
			       "\",\"function\":{\"name\":\"f\"}}]}}]}\n\n");
		assert_int_equal(buf_put_text(&b, call), ERR_OK);
	}
	reply_run(chat_stream_new(), buf_span(&b), WHOLE, 0, &o);
	assert_int_equal(o.err, ERR_LIMIT);
	assert_string_equal(o.error_text, "too many tool calls");
	reply_run_fini(&o);
	buf_fini(&b);
}

static void drops_blank_data_and_pings(void **state)
{
	struct buf out;
	struct reply *r;
	struct reply_run o;

	(void)state;
	run("data: \n\n" ROLE "data:\n\n" ENDS("stop") DONE, 2, 0, &o);
	assert_true(span_is(buf_span(&o.all), ROLE ENDS("stop") DONE));
	reply_run_fini(&o);
	r = chat_stream_new();
	buf_init(&out, 256);
	assert_int_equal(reply_ping(r, &out), ERR_OK);
	assert_true(span_is(buf_span(&out), ": keep-alive\n\n"));
	buf_fini(&out);
	reply_free(r);
}

static void notes_costs(void **state)
{
	static const struct {
		const char *number;
		bool known;
		uint64_t uusd;
	} cases[] = {
		{"0.000837", true, 837},
		{"0.0133176", true, 13318},
		{"1", true, 1000000},
		{"1.5e-3", true, 1500},
		{"2E0", true, 2000000},
		{"0", true, 0},
		{"1e-99", true, 1},
		{"-1", false, 0},
		{"1e99", false, 0},
		{"\"1\"", false, 0},
		{"0.00000000000000000000000001", true, 1},
	};
	char stream[1024];
	struct reply_run o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(stream, sizeof(stream),
			       "%sdata: {\"choices\":[],\"usage\":{"
			       "\"prompt_tokens\":1,\"completion_tokens\":1,"
			       "\"cost\":%s}}\n\n" DONE,
			       ENDS("stop"), cases[i].number);
		run(stream, WHOLE, 0, &o);
		if (o.summary.cost_known != cases[i].known ||
		    o.summary.cost_uusd != cases[i].uusd)
			fail_msg("%s: %llu", cases[i].number,
				 (unsigned long long)o.summary.cost_uusd);
		reply_run_fini(&o);
	}
	/* Nothing but zeros is no count. */
	run(ENDS("stop") USAGE("{\"prompt_tokens\":0,\"completion_tokens\":0}")
		    DONE,
	    WHOLE, 0, &o);
	assert_false(o.summary.usage_known);
	reply_run_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes_recordings_unchanged),
		cmocka_unit_test(recordings_cut_are_errors),
		cmocka_unit_test(passes_our_own_unchanged),
		cmocka_unit_test(passes_other_line_ends),
		cmocka_unit_test(holds_calls_and_the_end),
		cmocka_unit_test(replaces_denied_calls),
		cmocka_unit_test(renumbers_what_remains),
		cmocka_unit_test(repairs_numbering),
		cmocka_unit_test(judges_every_choice),
		cmocka_unit_test(denies_the_old_form),
		cmocka_unit_test(denies_unreadable_arguments),
		cmocka_unit_test(denies_a_call_that_comes_with_the_end),
		cmocka_unit_test(strips_usage_nobody_asked_for),
		cmocka_unit_test(ends_without_done),
		cmocka_unit_test(keeps_upstream_errors),
		cmocka_unit_test(refuses_broken_streams),
		cmocka_unit_test(refuses_too_many_calls),
		cmocka_unit_test(drops_blank_data_and_pings),
		cmocka_unit_test(notes_costs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
