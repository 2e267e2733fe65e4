/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_chat_response.c - chat completions responses, to and from no dialect
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
#include "engine/gate/reply_translate.h"
#include "tests/lib/reply_run.h"

#define LOG_BYTES 8192u
#define WHOLE     (1u << 20)

static const size_t chunks[] = {1, 2, 3, 7, WHOLE};

#define CHUNK(delta, why)                                                      \
	"data: {\"id\":\"c1\",\"created\":1,\"model\":\"m\","                  \
	"\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" why \
	"}]}\n\n"
#define DELTA(d) CHUNK(d, "null")
#define ENDS(w)  CHUNK("{}", "\"" w "\"")
#define DONE     "data: [DONE]\n\n"
#define BODY(message, why)                                                    \
	"{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,"           \
	"\"message\":" message ",\"finish_reason\":\"" why "\"}],\"usage\":{" \
	"\"prompt_tokens\":3,\"completion_tokens\":2}}"

/* Events as text: S(id,model) T[..] K[..] C(id,name)[..] R[..] X[..] ... */
static enum err take(void *context, const struct neutral_event *ev)
{
	static const char marks[] = "T?DCrKXR";
	char *log = context;
	int n = (int)ev->text.len_bytes;
	const char *t = (const char *)ev->text.data;

	switch (ev->kind) {
	case NEUTRAL_START:
		text_append(log, LOG_BYTES, "S(%.*s,%.*s) ",
			    (int)ev->id.len_bytes, (const char *)ev->id.data,
			    (int)ev->model.len_bytes,
			    (const char *)ev->model.data);
		break;
	case NEUTRAL_BLOCK_START:
		text_append(log, LOG_BYTES, "%c", marks[ev->part]);
		if (ev->part == NEUTRAL_TOOL_CALL)
			text_append(log, LOG_BYTES, "(%.*s,%.*s)",
				    (int)ev->id.len_bytes,
				    (const char *)ev->id.data,
				    (int)ev->name.len_bytes,
				    (const char *)ev->name.data);
		text_append(log, LOG_BYTES, "[");
		break;
	case NEUTRAL_BLOCK_TEXT:
		text_append(log, LOG_BYTES, "%.*s", n, t);
		break;
	case NEUTRAL_BLOCK_SIGNATURE:
		text_append(log, LOG_BYTES, "!%d:%.*s", (int)ev->signer, n, t);
		break;
	case NEUTRAL_BLOCK_STOP:
		text_append(log, LOG_BYTES, "] ");
		break;
	case NEUTRAL_USAGE:
		text_append(log, LOG_BYTES, "U(%llu,%llu,%llu,%llu,%llu) ",
			    (unsigned long long)ev->usage.input,
			    (unsigned long long)ev->usage.output,
			    (unsigned long long)ev->usage.cache_read,
			    (unsigned long long)ev->usage.cache_write,
			    (unsigned long long)ev->usage.reasoning);
		break;
	case NEUTRAL_STOP:
		text_append(log, LOG_BYTES, "stop %d %.*s", (int)ev->stop, n,
			    t);
		break;
	case NEUTRAL_ERROR:
		text_append(log, LOG_BYTES, "error %d %.*s", (int)ev->error, n,
			    t);
		break;
	default:
		fail();
	}
	return ERR_OK;
}

static enum err run(const char *text, bool streamed, size_t chunk, char *log,
		    char *why)
{
	struct neutral_reader *r;
	size_t at, len, all = strlen(text);
	enum err e = ERR_OK;

	log[0] = why[0] = '\0';
	r = chat_reader_new(streamed, take, log);
	assert_non_null(r);
	for (at = 0; e == ERR_OK && at < all; at += len) {
		len = all - at < chunk ? all - at : chunk;
		e = r->ops->feed(r, span_of(text + at, len));
	}
	if (e == ERR_OK)
		e = r->ops->end(r);
	assert_int_equal(r->stopped, e == ERR_OK);
	if (r->error_text)
		(void)snprintf(why, 256, "%s", r->error_text);
	r->ops->free(r);
	return e;
}

static void check(const char *text, bool streamed, const char *want)
{
	static char log[LOG_BYTES];
	char why[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		if (run(text, streamed, chunks[i], log, why) != ERR_OK)
			fail_msg("%s: %s", text, why);
		if (strcmp(log, want) != 0)
			fail_msg("want %s\n got %s", want, log);
	}
}

static void check_failure(const char *text, bool streamed, const char *want)
{
	static char log[LOG_BYTES];
	char why[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		if (run(text, streamed, chunks[i], log, why) == ERR_OK ||
		    strcmp(why, want) != 0)
			fail_msg("%s: %s %s", text, why, log);
		assert_null(strstr(log, "stop"));
	}
}

#define CALL(index, id, name, args)                         \
	"{\"tool_calls\":[{" index id "\"function\":{" name \
	"\"arguments\":\"" args "\"}}]}"
#define AT0     "\"index\":0,"
#define AT1     "\"index\":1,"
#define ID(x)   "\"id\":\"" x "\","
#define NAME(x) "\"name\":\"" x "\","

static void reads_streams(void **state)
{
	(void)state;
	check(DELTA("{\"role\":\"assistant\",\"content\":\"\"}") DELTA(
		      "{\"content\":\"h\\u00e9\"}") DELTA("{\"content\":\"y\"}")
		      ENDS("stop") "data: {\"choices\":[],\"usage\":{"
				   "\"prompt_tokens\":9,"
				   "\"completion_tokens\":4,"
				   "\"prompt_tokens_details\":{"
				   "\"cached_tokens\":3,"
				   "\"cache_write_tokens\":1},"
				   "\"completion_tokens_details\":{"
				   "\"reasoning_tokens\":2}}}\n\n" DONE,
	      true, "S(c1,m) T[h\u00e9y] U(9,4,3,1,2) stop 1 ");
	/* Interleaved calls, each a block of its own, in order. */
	check(DELTA(CALL(AT0, ID("a"), NAME("f"), ""))
		      DELTA(CALL(AT1, ID("b"), NAME("g"), "{\\\"y\\\""))
			      DELTA(CALL(AT0, , , "{}"))
				      DELTA(CALL(AT1, , , ":2}"))
					      ENDS("tool_calls") DONE,
	      true, "S(c1,m) C(a,f)[{}] C(b,g)[{\"y\":2}] stop 5 ");
	/* All index 0; finished by "stop" all the same. */
	check(DELTA(CALL(AT0, ID("a"), NAME("f"), "{}"))
		      DELTA(CALL(AT0, ID("b"), NAME("g"), "{}")) ENDS("stop")
			      DONE,
	      true, "S(c1,m) C(a,f)[{}] C(b,g)[{}] stop 5 ");
	/* No index, no id, no [DONE]: an id is made. */
	check(DELTA(CALL(, , NAME("f"), "")) ENDS("tool_calls"), true,
	      "S(c1,m) C(call_0_c1,f)[{}] stop 5 ");
	/* "tool_calls" without any is a finished turn. */
	check(DELTA("{\"content\":\"x\"}") ENDS("tool_calls") DONE, true,
	      "S(c1,m) T[x] stop 1 ");
	/* A call, text and the end in one chunk. */
	check(CHUNK("{\"content\":\"x\",\"tool_calls\":[{\"id\":\"a\","
		    "\"function\":{\"name\":\"f\",\"arguments\":{\"z\":0}}}]}",
		    "\"tool_calls\"") DONE,
	      true, "S(c1,m) T[x] C(a,f)[{\"z\":0}] stop 5 ");
	/* The old form, and a custom tool. */
	check(DELTA("{\"function_call\":{\"name\":\"f\",\"arguments\":"
		    "\"{}\"}}") ENDS("function_call") DONE,
	      true, "S(c1,m) C(call_0_c1,f)[{}] stop 5 ");
	check(DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"type\":"
		    "\"custom\",\"custom\":{\"name\":\"p\",\"input\":\"i\"}}"
		    "]}") ENDS("tool_calls") DONE,
	      true, "S(c1,m) C(a,p)[{\"input\":\"i\"}] stop 5 ");
	/* Azure, comments, CR LF, blank data. */
	check("data: {\"choices\":[],\"prompt_filter_results\":[]}\r\n\r\n"
	      ": OPENROUTER PROCESSING\r\n\r\ndata:\r\n\r\n"
	      "data:{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"delta\":{"
	      "\"content\":\"x\"},\"finish_reason\":\"length\"}]}\r\n\r\n"
	      "data:[DONE]\r\n\r\n",
	      true, "S(c1,m) T[x] stop 2 ");
	check(ENDS("content_filter") DONE, true, "S(c1,m) stop 6 ");
	/* vLLM: which sequence stopped it. */
	check("data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,"
	      "\"delta\":{},\"finish_reason\":\"stop\",\"stop_reason\":"
	      "\"END\"}]}\n\n" DONE,
	      true, "S(c1,m) stop 4 END");
	/* DeepSeek's cache hits; Groq's usage. */
	check(ENDS("stop") "data: {\"choices\":[],\"usage\":{"
			   "\"prompt_tokens\":9,\"completion_tokens\":4,"
			   "\"prompt_cache_hit_tokens\":8}}\n\n" DONE,
	      true, "S(c1,m) U(9,4,8,0,0) stop 1 ");
	check("data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"delta\":{"
	      "},\"finish_reason\":\"stop\"}],\"x_groq\":{\"usage\":{"
	      "\"prompt_tokens\":1,\"completion_tokens\":2}}}\n\n" DONE,
	      true, "S(c1,m) U(1,2,0,0,0) stop 1 ");
}

static void reads_any_stop(void **state)
{
	static const struct {
		const char *word;
		enum neutral_stop stop; /* NONE: an error */
	} words[] = {
		{"STOP", NEUTRAL_STOP_END},
		{"eos", NEUTRAL_STOP_END},
		{"MAX_TOKENS", NEUTRAL_STOP_LENGTH},
		{"Length", NEUTRAL_STOP_LENGTH},
		{"SAFETY", NEUTRAL_STOP_REFUSAL},
		{"content_filter", NEUTRAL_STOP_REFUSAL},
		{"model_length", NEUTRAL_STOP_CONTEXT},
		{"repetition", NEUTRAL_STOP_OTHER},
		{"OTHER", NEUTRAL_STOP_OTHER},
		{"abort", NEUTRAL_STOP_NONE},
		{"ABORT", NEUTRAL_STOP_NONE},
		{"MALFORMED_FUNCTION_CALL", NEUTRAL_STOP_NONE},
	};
	char text[512], want[128];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		(void)snprintf(text, sizeof(text),
			       CHUNK("{\"content\":\"x\"}", "\"%s\"") DONE,
			       words[i].word);
		(void)snprintf(want, sizeof(want), "S(c1,m) T[x] stop %d ",
			       (int)words[i].stop);
		check(text, true,
		      words[i].stop == NEUTRAL_STOP_NONE
			      ? "S(c1,m) T[xerror 11 the provider broke the "
				"answer off"
			      : want);
	}
	/* One that is empty is none, even with every chunk. */
	check(CHUNK("{\"content\":\"a\"}", "\"\"")
		      CHUNK("{\"content\":\"b\"}", "\"\"") ENDS("stop") DONE,
	      true, "S(c1,m) T[ab] stop 1 ");
	check_failure(CHUNK("{\"content\":\"a\"}", "\"\"") DONE, true,
		      "the provider's stream ended before its finish_reason");
	check_failure(BODY("{\"content\":\"a\"}", ""), false,
		      "a completion without finish_reason");
}

static void reads_thinking(void **state)
{
	(void)state;
	check(DELTA("{\"reasoning_content\":\"a\"}") DELTA(
		      "{\"reasoning\":\"b\"}") DELTA("{\"content\":\"c\"}")
		      DELTA("{\"reasoning\":\"d\"}") ENDS("stop") DONE,
	      true, "S(c1,m) K[ab] T[c] K[d] stop 1 ");
	/* Details say the same as reasoning, and more. */
	check(DELTA("{\"reasoning\":\"a\",\"reasoning_details\":[{\"type\":"
		    "\"reasoning.text\",\"text\":\"a\",\"format\":"
		    "\"anthropic-claude-v1\"}]}")
		      DELTA("{\"reasoning_details\":[{\"type\":"
			    "\"reasoning.text\",\"signature\":\"sig\","
			    "\"format\":\"anthropic-claude-v1\"}]}")
			      DELTA("{\"reasoning_details\":[{\"type\":"
				    "\"reasoning.encrypted\",\"data\":\"d\","
				    "\"format\":\"openai-responses-v1\"},"
				    "{\"type\":\"reasoning.summary\","
				    "\"summary\":\"s\"},{\"type\":"
				    "\"reasoning.encrypted\",\"data\":\"e\","
				    "\"format\":\"google-gemini-v1\"}]}")
				      ENDS("stop") DONE,
	      true,
	      "S(c1,m) K[a!1:sig] X[!3:d] K[s] X[!2:google-gemini-v1|e] "
	      "stop 1 ");
	/* Mistral's content is a list. */
	check(DELTA("{\"content\":[{\"type\":\"thinking\",\"thinking\":[{"
		    "\"type\":\"text\",\"text\":\"t\"}]},{\"type\":\"text\","
		    "\"text\":\"x\"}]}") ENDS("stop") DONE,
	      true, "S(c1,m) K[t] T[x] stop 1 ");
	check(DELTA("{\"refusal\":\"no\"}") ENDS("stop") DONE, true,
	      "S(c1,m) R[no] stop 6 ");
}

static void reads_plain_bodies(void **state)
{
	(void)state;
	check(BODY("{\"role\":\"assistant\",\"content\":\"x\","
		   "\"reasoning_content\":\"t\",\"tool_calls\":[{\"id\":"
		   "\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"
		   ",{\"id\":\"a\",\"function\":{\"name\":\"f\","
		   "\"arguments\":\"{}\"}}]}",
		   "tool_calls"),
	      false,
	      "S(c1,m) K[t] T[x] C(a,f)[{}] C(a,f)[{}] U(3,2,0,0,0) stop 5 ");
	check(BODY("{\"content\":null,\"refusal\":\"no\"}", "stop"), false,
	      "S(c1,m) R[no] U(3,2,0,0,0) stop 6 ");
	/* An error under status 200. */
	check("{\"error\":{\"message\":\"slow\",\"code\":429}}", false,
	      "S(,) error 7 slow");
	check_failure("", false, "the provider's reply is empty");
	check_failure("{", false, "a response that is not valid JSON");
	check_failure("{}", false, "a completion without finish_reason");
	check_failure("[]", false, "a chunk without choices");
	check_failure("{\"choices\":[{\"message\":{}}]}", false,
		      "a completion without finish_reason");
}

static void reads_errors(void **state)
{
	(void)state;
	check(DELTA("{\"content\":\"x\"}") "data: {\"error\":{\"message\":"
					   "\"boom\",\"type\":"
					   "\"server_error\"}}\n\n" DONE,
	      true, "S(c1,m) T[xerror 11 boom");
	check("data: {\"error\":{\"code\":502,\"message\":\"gone\"},"
	      "\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n",
	      true, "S(,) error 11 gone");
	check("data: {\"error\":\"\\u0000\"}\n\n", true, "S(,) error 11 ");
	check(ENDS("error") DONE, true,
	      "S(c1,m) error 11 the provider broke the answer off");
	check_failure("", true,
		      "the provider's stream ended before its finish_reason");
	check_failure(DELTA("{\"content\":\"x\"}"), true,
		      "the provider's stream ended before its finish_reason");
	check_failure(DELTA("{}") DONE, true,
		      "the provider's stream ended before its finish_reason");
	check_failure(ENDS("stop") "data: {", true,
		      "the provider's stream ended in mid-event");
	check_failure("data: x\n\n", true, "a response that is not valid JSON");
	check_failure("data: 7\n\n", true, "a chunk without choices");
	check_failure("data: {\"choices\":[{\"index\":1}]}\n\n", true,
		      "more than one choice");
	check_failure("data: {\"choices\":[7]}\n\n", true,
		      "a malformed choice");
	check_failure(CHUNK("{}", "7"), true, "a malformed finish_reason");
	check_failure(DELTA("{\"tool_calls\":7}"), true,
		      "tool_calls that are no list");
	check_failure(DELTA("{\"tool_calls\":[{}]}"), true,
		      "a tool call without a proper id and name");
	check_failure(ENDS("stop") DELTA(CALL(AT0, ID("a"), NAME("f"), "")),
		      true, "a tool call after the finish_reason");
}

/* Writes events that stand for a whole response. */
static void write_all(struct neutral_writer *w, struct buf *out,
		      enum neutral_stop stop, bool with_calls)
{
	const struct neutral_event head[] = {
		{.kind = NEUTRAL_START,
		 .id = span_text("msg_1"),
		 .model = span_text("upstream")},
		{.kind = NEUTRAL_BLOCK_START, .part = NEUTRAL_THINKING},
		{.kind = NEUTRAL_BLOCK_TEXT,
		 .part = NEUTRAL_THINKING,
		 .text = span_text("hm")},
		{.kind = NEUTRAL_BLOCK_SIGNATURE,
		 .part = NEUTRAL_THINKING,
		 .signer = DIALECT_ANTHROPIC,
		 .text = span_text("si")},
		{.kind = NEUTRAL_BLOCK_SIGNATURE,
		 .part = NEUTRAL_THINKING,
		 .signer = DIALECT_ANTHROPIC,
		 .text = span_text("g")},
		{.kind = NEUTRAL_BLOCK_STOP, .part = NEUTRAL_THINKING},
		{.kind = NEUTRAL_BLOCK_START, .part = NEUTRAL_TEXT},
		{.kind = NEUTRAL_BLOCK_TEXT, .text = span_text("a\"")},
		{.kind = NEUTRAL_BLOCK_STOP, .part = NEUTRAL_TEXT},
	};
	const struct neutral_event calls[] = {
		{.kind = NEUTRAL_BLOCK_START,
		 .part = NEUTRAL_TOOL_CALL,
		 .id = span_text("t1"),
		 .name = span_text("f")},
		{.kind = NEUTRAL_BLOCK_TEXT,
		 .part = NEUTRAL_TOOL_CALL,
		 .text = span_text("{}")},
		{.kind = NEUTRAL_BLOCK_STOP, .part = NEUTRAL_TOOL_CALL},
		{.kind = NEUTRAL_BLOCK_START,
		 .part = NEUTRAL_TOOL_CALL,
		 .id = span_text("t2"),
		 .name = span_text("g")},
		{.kind = NEUTRAL_BLOCK_STOP, .part = NEUTRAL_TOOL_CALL},
	};
	const struct neutral_event tail[] = {
		{.kind = NEUTRAL_USAGE,
		 .usage = {.input_known = true,
			   .output_known = true,
			   .cache_known = true,
			   .reasoning_known = true,
			   .input = 9,
			   .output = 4,
			   .cache_read = 3,
			   .reasoning = 2}},
		{.kind = NEUTRAL_STOP, .stop = stop},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(head); i++)
		assert_int_equal(w->ops->put(w, &head[i], out), ERR_OK);
	for (i = 0; with_calls && i < ARRAY_SIZE(calls); i++)
		assert_int_equal(w->ops->put(w, &calls[i], out), ERR_OK);
	for (i = 0; i < ARRAY_SIZE(tail); i++)
		assert_int_equal(w->ops->put(w, &tail[i], out), ERR_OK);
	w->ops->free(w);
}

/* The time of day is the one thing that differs from run to run. */
static void forget_time(struct buf *b)
{
	static const char key[] = "\"created\":";
	const uint8_t *hit;
	size_t at = 0, end;

	while (at < b->len_bytes &&
	       (hit = memmem(b->data + at, b->len_bytes - at, key,
			     sizeof(key) - 1))) {
		at = (size_t)(hit - b->data) + sizeof(key) - 1;
		for (end = at; b->data[end] >= '0' && b->data[end] <= '9';
		     end++)
			;
		assert_true(end > at);
		b->data[at] = '1';
		memmove(b->data + at + 1, b->data + end, b->len_bytes - end);
		buf_truncate(b, b->len_bytes - (end - at - 1));
	}
}

#define OUT(d, why)                                                           \
	"data: {\"id\":\"chatcmpl-msg_1\",\"object\":"                        \
	"\"chat.completion.chunk\",\"created\":1,\"model\":\"mine\","         \
	"\"system_fingerprint\":null,\"choices\":[{\"index\":0,\"delta\":{" d \
	"},\"logprobs\":null,\"finish_reason\":" why "}],\"usage\":null}\n\n"

static void writes_streams(void **state)
{
	const struct neutral_answer a = {.model = span_text("mine"),
					 .stream = true,
					 .want_usage = true};
	static const char want[] = OUT(
		"\"role\":\"assistant\",\"content\":\"\",\"refusal\":null",
		"null") OUT("\"reasoning_content\":\"hm\"",
			    "null") OUT("\"reasoning_details\":[{\"type\":"
					"\"reasoning.text\",\"text\":\"hm\","
					"\"format\":"
					"\"anthropic-claude-v1\",\"signature\":"
					"\"sig\","
					"\"index\":0}]",
					"null") OUT("\"content\":\"a\\\"\"",
						    "null")
		OUT("\"tool_calls\":[{\"index\":0,\"id\":"
		    "\"t1\",\"type\":\"function\","
		    "\"function\":{\"name\":\"f\","
		    "\"arguments\":\"\"}}]",
		    "null") OUT("\"tool_calls\":[{\"index\":0,"
				"\"function\":{\"arguments\":"
				"\"{}\"}}]",
				"null") OUT("\"tool_calls\":[{\"index\":1,"
					    "\"id\":\"t2\",\"type\":"
					    "\"function\",\"function\":{"
					    "\"name\":\"g\",\"arguments\":"
					    "\"\"}}]",
					    "null") OUT("\"tool_calls\":[{"
							"\"index\":1,"
							"\"function\":"
							"{\"arguments\":\"{}\"}"
							"}]",
							"null")
			OUT("", "\"tool_calls\"") "data: "
						  "{\"id\":\"chatcmpl-msg_1\","
						  "\"object\":"
						  "\"chat.completion.chunk\","
						  "\"created\":1,\"model\":"
						  "\"mine\","
						  "\"system_fingerprint\":null,"
						  "\"choices\":[],\"usage\":{"
						  "\"prompt_tokens\":9,"
						  "\"completion_tokens\":4,"
						  "\"total_tokens\":13,"
						  "\"prompt_tokens_details\":{"
						  "\"cached_tokens\":3,\"cache_"
						  "write_tokens\":0},"
						  "\"completion_tokens_"
						  "details\":{\"reasoning_"
						  "tokens\":2}}}\n\n" DONE;
	struct buf out;

	(void)state;
	buf_init(&out, WHOLE);
	write_all(chat_writer_new(&a), &out, NEUTRAL_STOP_TOOL, true);
	forget_time(&out);
	if (!span_is(buf_span(&out), want))
		fail_msg("%.*s", (int)out.len_bytes, (const char *)out.data);
	buf_fini(&out);
}

static void writes_plain_bodies(void **state)
{
	const struct neutral_answer a = {.stream = false};
	static const char want[] =
		"{\"id\":\"chatcmpl-msg_1\",\"object\":\"chat.completion\","
		"\"created\":1,\"model\":\"upstream\","
		"\"system_fingerprint\":null,\"choices\":[{\"index\":0,"
		"\"message\":{\"role\":\"assistant\",\"content\":\"a\\\"\","
		"\"refusal\":null,\"reasoning_content\":\"hm\","
		"\"reasoning_details\":[{\"type\":\"reasoning.text\","
		"\"text\":\"hm\",\"format\":\"anthropic-claude-v1\","
		"\"signature\":\"sig\",\"index\":0}],\"tool_calls\":[{"
		"\"id\":\"t1\",\"type\":\"function\",\"function\":{\"name\":"
		"\"f\",\"arguments\":\"{}\"}},{\"id\":\"t2\",\"type\":"
		"\"function\",\"function\":{\"name\":\"g\",\"arguments\":"
		"\"{}\"}}]},\"logprobs\":null,\"finish_reason\":"
		"\"tool_calls\"}],\"usage\":{\"prompt_tokens\":9,"
		"\"completion_tokens\":4,\"total_tokens\":13,"
		"\"prompt_tokens_details\":{\"cached_tokens\":3,"
		"\"cache_write_tokens\":0},\"completion_tokens_details\":{"
		"\"reasoning_tokens\":2}}}";
	struct buf out;

	(void)state;
	buf_init(&out, WHOLE);
	write_all(chat_writer_new(&a), &out, NEUTRAL_STOP_TOOL, true);
	forget_time(&out);
	if (!span_is(buf_span(&out), want))
		fail_msg("%.*s", (int)out.len_bytes, (const char *)out.data);
	buf_fini(&out);
}

static void writes_every_stop(void **state)
{
	static const struct {
		enum neutral_stop stop;
		const char *reason;
	} cases[] = {
		{NEUTRAL_STOP_END, "\"finish_reason\":\"stop\""},
		{NEUTRAL_STOP_SEQUENCE, "\"finish_reason\":\"stop\""},
		{NEUTRAL_STOP_LENGTH, "\"finish_reason\":\"length\""},
		{NEUTRAL_STOP_CONTEXT, "\"finish_reason\":\"length\""},
		{NEUTRAL_STOP_OTHER, "\"finish_reason\":\"length\""},
		{NEUTRAL_STOP_REFUSAL, "\"finish_reason\":\"content_filter\""},
		/* No call remains. */
		{NEUTRAL_STOP_TOOL, "\"finish_reason\":\"stop\""},
	};
	const struct neutral_answer a = {.stream = true};
	struct buf out;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_init(&out, WHOLE);
		write_all(chat_writer_new(&a), &out, cases[i].stop, false);
		assert_int_equal(buf_count(&out, cases[i].reason), 1);
		/* Nobody asked for usage. */
		assert_false(buf_contains(&out, "usage"));
		assert_int_equal(buf_count(&out, DONE), 1);
		buf_fini(&out);
	}
}

static void writes_errors_and_pings(void **state)
{
	const struct neutral_answer a = {.stream = true};
	const struct neutral_event ev = {.kind = NEUTRAL_ERROR,
					 .error = NEUTRAL_ERROR_OVERLOADED,
					 .text = span_text("busy")};
	struct neutral_writer *w = chat_writer_new(&a);
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(w->ops->ping(w, &out), ERR_OK);
	assert_int_equal(w->ops->put(w, &ev, &out), ERR_OK);
	assert_true(span_is(buf_span(&out),
			    ": keep-alive\n\n"
			    "data: {\"error\":{\"message\":\"busy\",\"type\":"
			    "\"overloaded_error\",\"param\":null,\"code\":null"
			    "}}\n\n"));
	w->ops->free(w);
	buf_fini(&out);
}

static void unknown_usage_is_not_written(void **state)
{
	const struct neutral_answer a = {.stream = true, .want_usage = true};
	const struct neutral_event events[] = {
		{.kind = NEUTRAL_START, .id = span_text("chatcmpl-9")},
		{.kind = NEUTRAL_USAGE,
		 .usage = {.input_known = true, .input = 5}},
		{.kind = NEUTRAL_STOP, .stop = NEUTRAL_STOP_END},
	};
	struct neutral_writer *w = chat_writer_new(&a);
	struct buf out;
	size_t i;

	(void)state;
	buf_init(&out, 4096);
	for (i = 0; i < ARRAY_SIZE(events); i++)
		assert_int_equal(w->ops->put(w, &events[i], &out), ERR_OK);
	assert_false(buf_contains(&out, "prompt_tokens"));
	assert_true(buf_contains(&out, "\"id\":\"chatcmpl-9\""));
	assert_int_equal(buf_count(&out, DONE), 1);
	w->ops->free(w);
	buf_fini(&out);
}

/* A foreign signature goes out in a response and comes back whole. */
static void signatures_make_the_round(void **state)
{
	static const char stream[] =
		DELTA("{\"reasoning_details\":[{\"type\":\"reasoning.text\","
		      "\"text\":\"t\",\"signature\":\"s\",\"format\":"
		      "\"google-gemini-v1\"},{\"type\":"
		      "\"reasoning.encrypted\",\"data\":\"d\",\"format\":"
		      "\"openai-responses-v1\"}]}") DELTA("{\"content\":\"x\"}")
			ENDS("stop") DONE;
	const struct neutral_answer a = {.stream = false};
	struct reply_run o;

	(void)state;
	reply_run(reply_translate_new(&dialect_chat, true, &dialect_chat, &a),
		  span_text(stream), 3, 0, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_true(buf_contains(
		&o.all,
		"\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":"
		"\"t\",\"format\":\"google-gemini-v1\",\"signature\":\"s\","
		"\"index\":0},{\"type\":\"reasoning.encrypted\",\"format\":"
		"\"openai-responses-v1\",\"data\":\"d\",\"index\":1}]"));
	reply_run_fini(&o);
}

static void denied_calls_are_texts_after_translation(void **state)
{
	static const char stream[] =
		"event: message_start\ndata: {\"type\":\"message_start\","
		"\"message\":{\"id\":\"m1\",\"type\":\"message\",\"role\":"
		"\"assistant\",\"model\":\"c\",\"content\":[],\"stop_reason\":"
		"null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n"
		"event: content_block_start\ndata: {\"type\":"
		"\"content_block_start\",\"index\":0,\"content_block\":{"
		"\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"bash\","
		"\"input\":{}}}\n\n"
		"event: content_block_stop\ndata: {\"type\":"
		"\"content_block_stop\",\"index\":0}\n\n"
		"event: message_delta\ndata: {\"type\":\"message_delta\","
		"\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{"
		"\"output_tokens\":2}}\n\n"
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
	const struct neutral_answer a = {.stream = true};
	struct reply_run o, again;

	(void)state;
	reply_run(reply_translate_new(&dialect_anthropic, true, &dialect_chat,
				      &a),
		  span_text(stream), 3, 1, &o);
	assert_int_equal(o.state, REPLY_DONE);
	assert_string_equal(o.calls, "bash({}) ");
	assert_true(buf_contains(&o.all, "Kenaz denied the tool call bash"));
	assert_false(buf_contains(&o.all, "tool_calls"));
	assert_true(buf_contains(&o.all, "\"finish_reason\":\"stop\""));
	reply_run(chat_stream_new(), buf_span(&o.all), 3, 0, &again);
	assert_int_equal(again.state, REPLY_DONE);
	reply_run_fini(&again);
	reply_run_fini(&o);
	reply_run(reply_translate_new(&dialect_anthropic, true, &dialect_chat,
				      &a),
		  span_text(stream), 3, 0, &o);
	assert_true(buf_contains(&o.all, "\"name\":\"bash\""));
	assert_true(buf_contains(&o.all, "\"finish_reason\":\"tool_calls\""));
	assert_false(buf_contains(&o.early, "\"tool_calls\"}"));
	reply_run_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_streams),
		cmocka_unit_test(reads_any_stop),
		cmocka_unit_test(reads_thinking),
		cmocka_unit_test(reads_plain_bodies),
		cmocka_unit_test(reads_errors),
		cmocka_unit_test(writes_streams),
		cmocka_unit_test(writes_plain_bodies),
		cmocka_unit_test(writes_every_stop),
		cmocka_unit_test(writes_errors_and_pings),
		cmocka_unit_test(unknown_usage_is_not_written),
		cmocka_unit_test(signatures_make_the_round),
		cmocka_unit_test(denied_calls_are_texts_after_translation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
