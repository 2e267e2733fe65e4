/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_responses_translate.c - the Responses dialect to and from the neutral
 * form
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
#include "engine/base/text.h"
#include "engine/gate/neutral_tools.h"
#include "engine/gate/responses.h"
#include "engine/gate/sse.h"

#define FILE_MAX_BYTES (2u << 20)

static const char *const recordings[] = {
	"tests/streams/*/*responses*.sse",
	"../shared/streams/*/*responses*.sse",
	"../../shared/streams/*/*responses*.sse",
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

/* Events as one text: pieces of a block are joined. */
struct story {
	struct buf text;
	bool started, open, stopped;
	bool loose; /* signatures may differ */
};

static void story_init(struct story *s)
{
	*s = (struct story){.open = false};
	buf_init(&s->text, FILE_MAX_BYTES);
}

static void say(struct story *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void say(struct story *s, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	assert_int_equal(buf_put_text(&s->text, line), ERR_OK);
}

static enum err tell(void *context, const struct neutral_event *e)
{
	struct story *s = context;

	assert_false(s->stopped);
	assert_true(e->kind == NEUTRAL_START || s->started);
	switch (e->kind) {
	case NEUTRAL_START:
		assert_false(s->started);
		s->started = true;
		break;
	case NEUTRAL_BLOCK_START:
		assert_false(s->open);
		s->open = true;
		say(s, "[%d %.*s %.*s|", e->part, (int)e->id.len_bytes,
		    (const char *)e->id.data, (int)e->name.len_bytes,
		    (const char *)e->name.data);
		break;
	case NEUTRAL_BLOCK_TEXT:
		assert_true(s->open);
		assert_int_equal(buf_put_span(&s->text, e->text), ERR_OK);
		break;
	case NEUTRAL_BLOCK_SIGNATURE:
		assert_true(s->open);
		say(s, "|signed %d by ", e->signer);
		if (!s->loose)
			assert_int_equal(buf_put_span(&s->text, e->text),
					 ERR_OK);
		break;
	case NEUTRAL_BLOCK_STOP:
		assert_true(s->open);
		s->open = false;
		say(s, "]\n");
		break;
	case NEUTRAL_USAGE:
		say(s, "usage %llu %llu %llu %llu\n",
		    (unsigned long long)e->usage.input,
		    (unsigned long long)e->usage.output,
		    (unsigned long long)e->usage.cache_read,
		    (unsigned long long)e->usage.reasoning);
		break;
	case NEUTRAL_STOP:
		assert_false(s->open);
		s->stopped = true;
		say(s, "stop %d\n", e->stop);
		break;
	case NEUTRAL_ERROR:
		s->stopped = true;
		say(s, "error %d %.*s\n", e->error, (int)e->text.len_bytes,
		    (const char *)e->text.data);
		break;
	}
	return ERR_OK;
}

static enum err read_all(struct span all, bool streamed, size_t chunk,
			 neutral_emit *emit, void *context, char *ret_why)
{
	struct neutral_reader *r =
		dialect_responses.reader_new(streamed, emit, context);
	enum err e = ERR_OK;
	size_t at, len;

	assert_non_null(r);
	for (at = 0; e == ERR_OK && at < all.len_bytes; at += len) {
		len = all.len_bytes - at < chunk ? all.len_bytes - at : chunk;
		e = r->ops->feed(r, span_of(all.data + at, len));
	}
	if (e == ERR_OK)
		e = r->ops->end(r);
	if (e == ERR_OK)
		assert_true(r->stopped);
	if (ret_why)
		(void)snprintf(ret_why, 128, "%s",
			       r->error_text ? r->error_text : "");
	r->ops->free(r);
	return e;
}

/* The response object of a stream's last event. */
static void last_response(struct span all, struct buf *ret_found)
{
	struct sse_event ev;
	struct json j;
	struct sse s;

	json_init(&j);
	sse_init(&s, SSE_EVENT_MAX_BYTES);
	buf_init(ret_found, FILE_MAX_BYTES);
	while (sse_next(&s, &all, &ev) == ERR_OK) {
		if (!ev.has_data)
			continue;
		assert_int_equal(json_parse(&j, ev.data, NULL), ERR_OK);
		buf_reset(ret_found);
		assert_int_equal(buf_put_span(ret_found,
					      json_raw(&j,
						       json_get(&j, JSON_ROOT,
								"response"))),
				 ERR_OK);
	}
	assert_int_not_equal(ret_found->len_bytes, 0);
	json_fini(&j);
	sse_fini(&s);
}

static const size_t chunks[] = {1, 2, 3, 7, FILE_MAX_BYTES};

/* A streamed response says what its last event says it said. */
static void check_reading(const char *path)
{
	struct story streamed, plain;
	struct buf bytes, whole;
	size_t i;

	read_file(path, &bytes);
	story_init(&plain);
	/* OpenAI encrypts a thought anew for the last event. */
	plain.loose = true;
	last_response(buf_span(&bytes), &whole);
	assert_int_equal(read_all(buf_span(&whole), false, 1000, tell, &plain,
				  NULL),
			 ERR_OK);
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		story_init(&streamed);
		streamed.loose = true;
		assert_int_equal(read_all(buf_span(&bytes), true, chunks[i],
					  tell, &streamed, NULL),
				 ERR_OK);
		if (!span_equal(buf_span(&streamed.text),
				buf_span(&plain.text)))
			fail_msg("%s: '%.*s' is not '%.*s'", path,
				 (int)streamed.text.len_bytes,
				 (char *)streamed.text.data,
				 (int)plain.text.len_bytes,
				 (char *)plain.text.data);
		buf_fini(&streamed.text);
	}
	buf_fini(&plain.text);
	buf_fini(&whole);
	buf_fini(&bytes);
}

static void check_cutting(const char *path)
{
	struct story s;
	struct buf bytes;
	size_t at, step;
	struct span all;

	read_file(path, &bytes);
	all = buf_span(&bytes);
	while (all.len_bytes && all.data[all.len_bytes - 1] <= ' ')
		all.len_bytes--;
	step = all.len_bytes / 400 + 1;
	for (at = 0; at < all.len_bytes; at += step) {
		story_init(&s);
		assert_int_equal(read_all(span_of(all.data, at), true,
					  FILE_MAX_BYTES, tell, &s, NULL),
				 ERR_SHORT);
		assert_false(s.stopped);
		buf_fini(&s.text);
	}
	buf_fini(&bytes);
}

struct copying {
	struct neutral_writer *w;
	struct buf *out;
};

static enum err copy(void *context, const struct neutral_event *e)
{
	struct copying *c = context;

	return c->w->ops->put(c->w, e, c->out);
}

/* What the writer makes of a recording says the same again. */
static void check_writing(const char *path)
{
	struct story want, got;
	struct buf bytes, out;
	int streamed;

	read_file(path, &bytes);
	story_init(&want);
	assert_int_equal(read_all(buf_span(&bytes), true, 7, tell, &want, NULL),
			 ERR_OK);
	for (streamed = 0; streamed < 2; streamed++) {
		const struct neutral_answer a = {.model = span_text("alias"),
						 .stream = streamed != 0};
		struct copying c = {dialect_responses.writer_new(&a), &out};

		assert_non_null(c.w);
		buf_init(&out, FILE_MAX_BYTES);
		story_init(&got);
		assert_int_equal(read_all(buf_span(&bytes), true, 7, copy, &c,
					  NULL),
				 ERR_OK);
		assert_int_equal(read_all(buf_span(&out), streamed, 3, tell,
					  &got, NULL),
				 ERR_OK);
		if (!span_equal(buf_span(&got.text), buf_span(&want.text)))
			fail_msg("%s: '%.*s' is not '%.*s'", path,
				 (int)got.text.len_bytes, (char *)got.text.data,
				 (int)want.text.len_bytes,
				 (char *)want.text.data);
		assert_non_null(memmem(out.data, out.len_bytes,
				       "\"model\":\"alias\"", 15));
		c.w->ops->free(c.w);
		buf_fini(&got.text);
		buf_fini(&out);
	}
	buf_fini(&want.text);
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

static void recordings_are_read_whole(void **state)
{
	(void)state;
	recorded_streams(check_reading);
}

static void cut_recordings_are_short(void **state)
{
	(void)state;
	recorded_streams(check_cutting);
}

static void recordings_are_written_again(void **state)
{
	(void)state;
	recorded_streams(check_writing);
}

static void tells(const char *stream, const char *want)
{
	struct story s;
	size_t i;
	char why[128];

	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		story_init(&s);
		if (read_all(span_text(stream), true, chunks[i], tell, &s,
			     why) != ERR_OK)
			fail_msg("%s: %s", why, stream);
		if (!span_is(buf_span(&s.text), want))
			fail_msg("'%.*s' is not '%s'", (int)s.text.len_bytes,
				 (char *)s.text.data, want);
		buf_fini(&s.text);
	}
}

static void breaks(const char *stream, const char *want)
{
	struct story s;
	char why[128];

	story_init(&s);
	assert_int_not_equal(read_all(span_text(stream), true, FILE_MAX_BYTES,
				      tell, &s, why),
			     ERR_OK);
	assert_string_equal(why, want);
	buf_fini(&s.text);
}

#define D(json) "data: " json "\n\n"
#define CREATED D("{\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}")
#define ADDED(i, item)                                                   \
	D("{\"type\":\"response.output_item.added\",\"output_index\":" i \
	  ",\"item\":" item "}")
#define DONE(i, item)                                                   \
	D("{\"type\":\"response.output_item.done\",\"output_index\":" i \
	  ",\"item\":" item "}")
#define TEXT(i, text)                                                    \
	D("{\"type\":\"response.output_text.delta\",\"output_index\":" i \
	  ",\"content_index\":0,\"delta\":\"" text "\"}")
#define ARGS(i, text)                                             \
	D("{\"type\":\"response.function_call_arguments.delta\"," \
	  "\"output_index\":" i ",\"delta\":\"" text "\"}")
#define END(kind, output, more)                              \
	D("{\"type\":\"response." kind                       \
	  "\",\"response\":{\"id\":\"r\",\"status\":\"" kind \
	  "\",\"output\":[" output "]" more "}}")
#define MESSAGE(text)                                                   \
	"{\"type\":\"message\",\"content\":[{\"type\":\"output_text\"," \
	"\"text\":\"" text "\"}]}"
#define CALL(id, arguments)                             \
	"{\"type\":\"function_call\",\"call_id\":\"" id \
	"\",\"name\":\"f\",\"arguments\":\"" arguments "\"}"

static void what_responses_say(void **state)
{
	(void)state;
	/* Nothing was streamed: the last event has it. */
	tells(CREATED END("completed", MESSAGE("hi") "," CALL("c", "{}"), ""),
	      "[0  |hi]\n[3 c f|{}]\nstop 5\n");
	/* Only its end was. */
	tells(CREATED DONE("0", MESSAGE("hi")) END("completed", "", ""),
	      "[0  |hi]\nstop 1\n");
	/* Overlapping items come one after the other. */
	tells(CREATED ADDED("0", "{\"type\":\"message\"}") TEXT("0", "a")
		      ADDED("1", CALL("c", "")) ARGS("1", "{}") TEXT("0", "b")
			      DONE("1", CALL("c", "{}"))
				      DONE("0", MESSAGE("ab"))
					      END("completed", "", ""),
	      "[0  |ab]\n[3 c f|{}]\nstop 5\n");
	/* No empty block. */
	tells(CREATED ADDED("0", "{\"type\":\"message\"}") TEXT("0", "")
		      DONE("0", MESSAGE("")) END("completed", "", ""),
	      "stop 1\n");
	/* Refusals. */
	tells(CREATED DONE("0", "{\"type\":\"message\",\"content\":[{\"type\":"
				"\"refusal\",\"refusal\":\"no\"}]}")
		      END("completed", "", ""),
	      "[7  |no]\nstop 1\n");
	/* Reasoning without words, and with a summary in two parts. */
	tells(CREATED DONE("0", "{\"type\":\"reasoning\",\"summary\":[],"
				"\"encrypted_content\":\"enc\"}")
		      DONE("1", "{\"type\":\"reasoning\",\"summary\":[{"
				"\"type\":\"summary_text\",\"text\":\"a\"},{"
				"\"type\":\"summary_text\",\"text\":\"b\"}],"
				"\"encrypted_content\":\"enc\"}")
			      END("completed", "", ""),
	      "[6  ||signed 3 by enc]\n[5  |a\n\nb|signed 3 by enc]\n"
	      "stop 1\n");
	/* What runs at the provider is left out. */
	tells(CREATED DONE("0", "{\"type\":\"web_search_call\",\"id\":\"w\"}")
		      END("completed", "", ""),
	      "stop 1\n");
	tells(CREATED END("incomplete", "",
			  ",\"incomplete_details\":{\"reason\":"
			  "\"max_output_tokens\"}"),
	      "stop 2\n");
	tells(CREATED END("incomplete", "",
			  ",\"incomplete_details\":{\"reason\":"
			  "\"content_filter\"}"),
	      "stop 6\n");
	tells(CREATED END("failed", "",
			  ",\"error\":{\"code\":\"context_length_exceeded\","
			  "\"message\":\"long\"}"),
	      "error 6 long\n");
	tells(CREATED D("{\"type\":\"error\",\"code\":\"rate_limit_exceeded\","
			"\"message\":\"slow\"}"),
	      "error 7 slow\n");
	tells(CREATED D("{\"error\":{\"code\":503,\"message\":\"busy\"}}")
		      D("[DONE]"),
	      "error 10 busy\n");
	tells(CREATED END("completed", "",
			  ",\"usage\":{\"input_tokens\":9,\"output_tokens\":4,"
			  "\"input_tokens_details\":{\"cached_tokens\":2},"
			  "\"output_tokens_details\":{\"reasoning_tokens\":1}"
			  "}") D("[DONE]"),
	      "usage 9 4 2 1\nstop 1\n");
}

static void responses_that_break_off(void **state)
{
	(void)state;
	breaks(CREATED, "the provider's stream ended before its last event");
	breaks(D("{"), "an event that is not valid JSON");
	breaks(D("{}"), "an event without a type");
	breaks(CREATED D("[DONE]"), "[DONE] before the response's end");
	breaks(CREATED ADDED("-1", "{}"),
	       "an output item without a proper index");
	breaks(CREATED ADDED("0", CALL("c", "")) ARGS("0", "{}")
		       DONE("0", CALL("c", "{\\\"a\\\":1}")),
	       "a tool call whose parts contradict each other");
	breaks(CREATED ADDED("0", CALL("c", "")) END("completed", "", ""),
	       "the response ended inside an item");
	breaks(CREATED ADDED("0", "{\"type\":\"function_call\"}"),
	       "a tool call without a proper id and name");
	breaks(CREATED ADDED("0", "{\"type\":\"local_shell_call\","
				  "\"call_id\":\"c\"}"),
	       "a tool call that cannot be translated");
	breaks(CREATED ADDED("0", CALL("c", "")) TEXT("0", "x"),
	       "a foreign part of a tool call");
	breaks(CREATED DONE("0", MESSAGE("a")) DONE("0", MESSAGE("a")),
	       "an output item that ends twice");
	breaks(CREATED D("{\"type\":\"response.completed\",\"response\":{"
			 "\"status\":\"failed\"}}"),
	       "a last event that contradicts its response");
	breaks(CREATED END("completed", "", "") END("completed", "", ""),
	       "an event behind the response's end");
}

/* What a request says in the neutral form, written as a request again. */
static void rewrites(const char *body, const char *want, const char *dropped)
{
	const struct dialect_target t = {.model = span_text("up"),
					 .stream = true};
	char got[512] = "";
	struct neutral_request r;
	struct buf out;
	uint32_t i;
	enum err e;

	neutral_request_init(&r);
	buf_init(&out, 65536);
	e = dialect_responses.read_request(ROUTE_RESPONSES, span_text(body),
					   &r);
	if (e == ERR_OK)
		e = neutral_settle_names(&r);
	if (e == ERR_OK)
		e = dialect_responses.write_request(&r, &t, &out);
	if (e != ERR_OK)
		fail_msg("%s: %s: %s", body, err_name(e), r.error_text);
	if (!span_is(buf_span(&out), want))
		fail_msg("%s\nis not\n%.*s", want, (int)out.len_bytes,
			 (char *)out.data);
	for (i = 0; i < r.dropped_count; i++)
		text_append(got, sizeof(got), "%s,", r.dropped[i]);
	assert_string_equal(got, dropped);
	buf_fini(&out);
	neutral_request_fini(&r);
}

#define HEAD        "{\"model\":\"up\",\"store\":false,\"stream\":true,"
#define SAYS(items) "{\"model\":\"m\",\"input\":[" items "]}"

static void requests_say_the_same_again(void **state)
{
	(void)state;
	rewrites("{\"model\":\"m\",\"input\":\"hi\",\"instructions\":\"be\"}",
		 HEAD "\"instructions\":\"be\",\"input\":[{\"type\":"
		      "\"message\",\"role\":\"user\",\"content\":[{\"type\":"
		      "\"input_text\",\"text\":\"hi\"}]}]}",
		 "");
	rewrites(SAYS("{\"role\":\"user\",\"content\":\"a\\n\"},"
		      "{\"type\":\"reasoning\",\"summary\":[{\"type\":"
		      "\"summary_text\",\"text\":\"t\"}],"
		      "\"encrypted_content\":\"e\"},"
		      "{\"type\":\"message\",\"role\":\"assistant\","
		      "\"content\":[{\"type\":\"output_text\",\"text\":\"b\"},"
		      "{\"type\":\"refusal\",\"refusal\":\"n\"}]},"
		      "{\"type\":\"function_call\",\"call_id\":\"c1\","
		      "\"name\":\"f\",\"arguments\":\"{}\"},"
		      "{\"type\":\"function_call\",\"call_id\":\"c2\","
		      "\"name\":\"f\",\"arguments\":\"\"},"
		      "{\"type\":\"function_call_output\",\"call_id\":\"c1\","
		      "\"output\":\"x\"},"
		      "{\"type\":\"function_call_output\",\"call_id\":\"c2\","
		      "\"output\":[{\"type\":\"input_text\",\"text\":\"y\"},"
		      "{\"type\":\"input_image\",\"image_url\":"
		      "\"data:image/png;base64,AAAA\"}]},"
		      "{\"role\":\"developer\",\"content\":\"d\"}"),
		 HEAD "\"input\":[{\"type\":\"message\",\"role\":\"user\","
		      "\"content\":[{\"type\":\"input_text\",\"text\":"
		      "\"a\\n\"}]},"
		      "{\"type\":\"reasoning\",\"summary\":[{\"type\":"
		      "\"summary_text\",\"text\":\"t\"}],"
		      "\"encrypted_content\":\"e\"},"
		      "{\"type\":\"message\",\"role\":\"assistant\","
		      "\"content\":[{\"type\":\"output_text\",\"text\":\"b\"},"
		      "{\"type\":\"refusal\",\"refusal\":\"n\"}]},"
		      "{\"type\":\"function_call\",\"call_id\":\"c1\","
		      "\"name\":\"f\",\"arguments\":\"{}\"},"
		      "{\"type\":\"function_call\",\"call_id\":\"c2\","
		      "\"name\":\"f\",\"arguments\":\"{}\"},"
		      "{\"type\":\"function_call_output\",\"call_id\":\"c1\","
		      "\"output\":\"x\"},"
		      "{\"type\":\"function_call_output\",\"call_id\":\"c2\","
		      "\"output\":[{\"type\":\"input_text\",\"text\":\"y\"},"
		      "{\"type\":\"input_image\",\"detail\":\"auto\","
		      "\"image_url\":\"data:image/png;base64,AAAA\"}]},"
		      "{\"type\":\"message\",\"role\":\"developer\","
		      "\"content\":[{\"type\":\"input_text\",\"text\":\"d\"}]}"
		      "]}",
		 "");
	rewrites("{\"model\":\"m\",\"input\":\"\",\"tools\":[{\"type\":"
		 "\"function\",\"name\":\"f\",\"description\":\"d\","
		 "\"parameters\":{\"type\":\"object\"},\"strict\":true}],"
		 "\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},"
		 "\"parallel_tool_calls\":false,\"max_output_tokens\":5,"
		 "\"temperature\":0.50,\"top_p\":1,\"reasoning\":{\"effort\":"
		 "\"high\",\"summary\":\"auto\"},\"text\":{\"format\":{"
		 "\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{},"
		 "\"strict\":true},\"verbosity\":\"low\"},\"user\":\"u\","
		 "\"service_tier\":\"flex\",\"metadata\":{\"a\":\"b\"},"
		 "\"include\":[\"reasoning.encrypted_content\"],"
		 "\"truncation\":\"auto\",\"prompt_cache_key\":\"k\","
		 "\"background\":false}",
		 HEAD "\"input\":[],\"tools\":[{\"type\":\"function\","
		      "\"name\":\"f\",\"description\":\"d\",\"parameters\":{"
		      "\"type\":\"object\"},\"strict\":true}],\"tool_choice\":{"
		      "\"type\":\"function\",\"name\":\"f\"},"
		      "\"parallel_tool_calls\":false,\"text\":{\"format\":{"
		      "\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{},"
		      "\"strict\":true}},\"reasoning\":{\"effort\":\"high\"},"
		      "\"include\":[\"reasoning.encrypted_content\"],"
		      "\"max_output_tokens\":16,\"temperature\":0.50,"
		      "\"top_p\":1,\"safety_identifier\":\"u\","
		      "\"service_tier\":\"flex\"}",
		 "metadata,include,truncation,prompt_cache_key,"
		 "text.verbosity,max_tokens below 16,");
	rewrites(SAYS("{\"role\":\"user\",\"content\":[{\"type\":"
		      "\"input_file\",\"filename\":\"n\",\"file_data\":"
		      "\"data:application/pdf;base64,AAAA\"},{\"type\":"
		      "\"input_file\",\"file_url\":\"https://x\"},{\"type\":"
		      "\"input_image\",\"image_url\":\"https://y\"}]},"
		      "{\"type\":\"web_search_call\",\"id\":\"w\"}"),
		 HEAD "\"input\":[{\"type\":\"message\",\"role\":\"user\","
		      "\"content\":[{\"type\":\"input_file\",\"filename\":"
		      "\"n\",\"file_data\":\"data:application/pdf;base64,AAAA\""
		      "},{\"type\":\"input_file\",\"file_url\":\"https://x\"},"
		      "{\"type\":\"input_image\",\"detail\":\"auto\","
		      "\"image_url\":\"https://y\"}]}]}",
		 "input[].web_search_call,");
}

static void cannot(const char *body, enum err want, const char *why)
{
	struct neutral_request r;
	enum err e;

	neutral_request_init(&r);
	e = dialect_responses.read_request(ROUTE_RESPONSES, span_text(body),
					   &r);
	if (e != want || strcmp(r.error_text, why) != 0)
		fail_msg("%s: %s: '%s', not '%s'", body, err_name(e),
			 r.error_text, why);
	neutral_request_fini(&r);
}

#define FOREIGN    "has no form in the other dialect"
#define LIES       "refers to what lies at one provider"
#define WITH(rest) "{\"model\":\"m\",\"input\":\"hi\"," rest "}"

static void what_cannot_be_translated_is_named(void **state)
{
	(void)state;
	cannot(WITH("\"previous_response_id\":\"r\""), ERR_UNSUPPORTED,
	       "previous_response_id: " LIES);
	cannot(WITH("\"conversation\":\"c\""), ERR_UNSUPPORTED,
	       "conversation: " LIES);
	cannot(WITH("\"prompt\":{}"), ERR_UNSUPPORTED, "prompt: " LIES);
	cannot(WITH("\"background\":true"), ERR_UNSUPPORTED,
	       "background: " FOREIGN);
	cannot(WITH("\"tools\":[{\"type\":\"web_search\"}]"), ERR_UNSUPPORTED,
	       "tools[] of type \"web_search\": " FOREIGN);
	cannot(WITH("\"tools\":[{\"type\":\"local_shell\"}]"), ERR_UNSUPPORTED,
	       "tools[] of type \"local_shell\": " FOREIGN);
	cannot(WITH("\"tool_choice\":{\"type\":\"allowed_tools\"}"),
	       ERR_UNSUPPORTED, "tool_choice \"allowed_tools\": " FOREIGN);
	cannot(WITH("\"text\":{\"format\":{\"type\":\"grammar\"}}"),
	       ERR_UNSUPPORTED, "text.format of type \"grammar\": " FOREIGN);
	cannot(SAYS("{\"type\":\"compaction\"}"), ERR_UNSUPPORTED,
	       "input[] of type \"compaction\": " FOREIGN);
	cannot(SAYS("{\"id\":\"x\"}"), ERR_UNSUPPORTED, "input[].id: " LIES);
	cannot(SAYS("{\"role\":\"user\",\"content\":[{\"type\":\"input_image\","
		    "\"file_id\":\"f\"}]}"),
	       ERR_UNSUPPORTED,
	       "input[].content[].file_id: lies at one provider");
	cannot(SAYS("{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\""
		    "}]}"),
	       ERR_UNSUPPORTED,
	       "input[].content[] of type \"input_audio\": " FOREIGN);
	cannot(SAYS("{\"role\":\"critic\"}"), ERR_UNSUPPORTED,
	       "input[].role \"critic\": " FOREIGN);
	cannot(SAYS("{\"type\":\"function_call\",\"name\":\"f\","
		    "\"arguments\":\"[]\"}"),
	       ERR_UNSUPPORTED, "input[].arguments: not one JSON object");
	cannot("{\"model\":\"m\"}", ERR_FORMAT,
	       "input: neither a string nor a list");
	cannot(WITH("\"tools\":1"), ERR_FORMAT, "tools: not a list");
	cannot(WITH("\"tools\":[{\"type\":\"function\"}]"), ERR_FORMAT,
	       "a tool's name: missing");
	cannot(WITH("\"instructions\":1"), ERR_FORMAT,
	       "instructions: not a string");
	cannot(WITH("\"temperature\":\"hot\""), ERR_FORMAT,
	       "temperature: not a number");
	cannot(SAYS("1"), ERR_FORMAT, "input: not a list of objects");
	cannot(SAYS("{\"role\":\"user\",\"content\":[{\"type\":\"input_image\","
		    "\"image_url\":\"data:x\"}]}"),
	       ERR_FORMAT,
	       "input[].content[].image_url: no data: URL in base64");
	cannot(SAYS("{\"type\":\"custom_tool_call\",\"name\":\"a\","
		    "\"input\":1}"),
	       ERR_FORMAT, "input[].input: not a string");
}

static void stop_sequences_are_refused(void **state)
{
	const struct dialect_target t = {.model = span_text("up")};
	struct neutral_request r;
	struct buf out;

	(void)state;
	neutral_request_init(&r);
	buf_init(&out, 4096);
	r.stops[r.stop_count++] = span_text("END");
	assert_int_equal(dialect_responses.write_request(&r, &t, &out),
			 ERR_UNSUPPORTED);
	assert_string_equal(r.error_text, "stop sequences: have no form in the "
					  "Responses dialect");
	buf_fini(&out);
	neutral_request_fini(&r);
}

static enum err put(struct neutral_writer *w, struct buf *out,
		    struct neutral_event e)
{
	return w->ops->put(w, &e, out);
}

static void put_call(struct neutral_writer *w, struct buf *out,
		     const char *name, const char *arguments)
{
	size_t i;

	assert_int_equal(put(w, out,
			     (struct neutral_event){.kind = NEUTRAL_BLOCK_START,
						    .part = NEUTRAL_TOOL_CALL,
						    .id = span_text("c1"),
						    .name = span_text(name)}),
			 ERR_OK);
	for (i = 0; arguments[i]; i++)
		assert_int_equal(put(w, out,
				     (struct neutral_event){
					     .kind = NEUTRAL_BLOCK_TEXT,
					     .text = span_of(arguments + i,
							     1)}),
				 ERR_OK);
	assert_int_equal(
		put(w, out, (struct neutral_event){.kind = NEUTRAL_BLOCK_STOP}),
		ERR_OK);
}

static bool contains(const struct buf *b, const char *text)
{
	return b->len_bytes &&
	       memmem(b->data, b->len_bytes, text, strlen(text)) != NULL;
}

/* Free text and namespaces survive a wire that knows neither. */
static void custom_tools_work_elsewhere(void **state)
{
	static const char body[] =
		"{\"model\":\"m\",\"input\":[{\"type\":\"custom_tool_call\","
		"\"call_id\":\"c0\",\"name\":\"apply_patch\",\"input\":"
		"\"*** \\\"a\\\"\"},{\"type\":\"custom_tool_call_output\","
		"\"call_id\":\"c0\",\"output\":\"ok\"},{\"type\":"
		"\"function_call\",\"call_id\":\"c1\",\"namespace\":\"agents\","
		"\"name\":\"spawn\",\"arguments\":\"{}\"}],\"tools\":[{"
		"\"type\":\"custom\",\"name\":\"apply_patch\","
		"\"description\":\"Patch.\",\"format\":{\"type\":\"grammar\","
		"\"syntax\":\"lark\",\"definition\":\"start: x\"}},{\"type\":"
		"\"namespace\",\"name\":\"agents\",\"tools\":[{\"type\":"
		"\"function\",\"name\":\"spawn\"}]},{\"type\":\"tool_search\","
		"\"execution\":\"client\"}]}";
	struct neutral_answer a = {.model = span_text("m"), .stream = true};
	struct neutral_request r;
	struct neutral_writer *w;
	struct buf out;

	(void)state;
	neutral_request_init(&r);
	buf_init(&out, FILE_MAX_BYTES);
	assert_int_equal(dialect_responses.read_request(ROUTE_RESPONSES,
							span_text(body), &r),
			 ERR_OK);
	assert_int_equal(neutral_settle_names(&r), ERR_OK);
	assert_int_equal(r.tool_count, 2);
	assert_true(span_is(r.tools[0].name, "apply_patch"));
	assert_true(span_is(r.tools[0].description,
			    "Patch.\n\nThe input must match this lark "
			    "grammar:\nstart: x"));
	assert_true(span_is(r.tools[1].name, "agents__spawn"));
	assert_true(span_is(r.parts[0].json, "{\"input\":\"*** \\\"a\\\"\"}"));
	assert_true(span_is(r.parts[3].name, "agents__spawn"));
	a.names = r.names;
	w = dialect_responses.writer_new(&a);
	neutral_request_fini(&r);
	assert_int_equal(put(w, &out,
			     (struct neutral_event){.kind = NEUTRAL_START,
						    .id = span_text("x/1")}),
			 ERR_OK);
	put_call(w, &out, "apply_patch", "{\"input\": \"*** \\\"b\\\"\"}");
	put_call(w, &out, "agents__spawn", "{\"n\":1}");
	put_call(w, &out, "other", "");
	assert_int_equal(put(w, &out,
			     (struct neutral_event){.kind = NEUTRAL_STOP,
						    .stop = NEUTRAL_STOP_TOOL}),
			 ERR_OK);
	assert_true(contains(&out, "{\"type\":\"response.custom_tool_call_"
				   "input.delta\",\"item_id\":\"ctc_x1_0\","
				   "\"output_index\":0,\"delta\":"
				   "\"*** \\\"b\\\"\""));
	assert_true(contains(&out, "\"call_id\":\"c1\",\"name\":"
				   "\"apply_patch\",\"input\":"
				   "\"*** \\\"b\\\"\"}"));
	assert_true(contains(&out, "\"name\":\"spawn\",\"namespace\":"
				   "\"agents\",\"arguments\":"
				   "\"{\\\"n\\\":1}\"}"));
	assert_true(contains(&out, "\"name\":\"other\",\"arguments\":\"{}\"}"));
	assert_true(contains(&out, "response.completed"));
	w->ops->free(w);
	buf_fini(&out);
}

static void signatures_travel_through_a_client(void **state)
{
	static const struct neutral_event events[] = {
		{.kind = NEUTRAL_START},
		{.kind = NEUTRAL_BLOCK_START, .part = NEUTRAL_THINKING},
		{.kind = NEUTRAL_BLOCK_TEXT, .part = NEUTRAL_THINKING},
		{.kind = NEUTRAL_BLOCK_SIGNATURE, .signer = DIALECT_ANTHROPIC},
		{.kind = NEUTRAL_BLOCK_STOP},
		{.kind = NEUTRAL_BLOCK_START, .part = NEUTRAL_REDACTED},
		{.kind = NEUTRAL_BLOCK_SIGNATURE, .signer = DIALECT_ANTHROPIC},
		{.kind = NEUTRAL_BLOCK_STOP},
		{.kind = NEUTRAL_STOP, .stop = NEUTRAL_STOP_END},
	};
	const struct neutral_answer a = {.model = span_text("m")};
	const struct dialect_target t = {.model = span_text("up")};
	struct neutral_writer *w = dialect_responses.writer_new(&a);
	struct buf out, body;
	struct neutral_request r;
	struct json j;
	size_t i;

	(void)state;
	buf_init(&out, FILE_MAX_BYTES);
	buf_init(&body, FILE_MAX_BYTES);
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		struct neutral_event e = events[i];

		e.text = span_text(i == 2 ? "hmm" : i == 3 ? "SIG=" : "RED=");
		assert_int_equal(put(w, &out, e), ERR_OK);
	}
	w->ops->free(w);
	/* The client sends back what it got. */
	json_init(&j);
	assert_int_equal(json_parse(&j, buf_span(&out), NULL), ERR_OK);
	assert_int_equal(buf_put_text(&body, "{\"model\":\"m\",\"input\":"),
			 ERR_OK);
	assert_int_equal(buf_put_span(&body,
				      json_raw(&j, json_get(&j, JSON_ROOT,
							    "output"))),
			 ERR_OK);
	assert_int_equal(buf_put_u8(&body, '}'), ERR_OK);
	json_fini(&j);
	neutral_request_init(&r);
	assert_int_equal(dialect_responses.read_request(ROUTE_RESPONSES,
							buf_span(&body), &r),
			 ERR_OK);
	assert_int_equal(r.part_count, 2);
	assert_int_equal(r.parts[0].kind, NEUTRAL_THINKING);
	assert_true(span_is(r.parts[0].text, "hmm"));
	assert_true(span_is(r.parts[0].signature, "SIG="));
	assert_int_equal(r.parts[0].signer, DIALECT_ANTHROPIC);
	assert_int_equal(r.parts[1].kind, NEUTRAL_REDACTED);
	assert_true(span_is(r.parts[1].data, "RED="));
	assert_int_equal(r.parts[1].signer, DIALECT_ANTHROPIC);
	/* OpenAI's models do not get it. */
	buf_reset(&out);
	assert_int_equal(dialect_responses.write_request(&r, &t, &out), ERR_OK);
	assert_false(contains(&out, "SIG"));
	assert_false(contains(&out, "RED"));
	assert_int_equal(r.dropped_count, 2);
	neutral_request_fini(&r);
	buf_fini(&body);
	buf_fini(&out);
}

static void errors_end_a_written_response(void **state)
{
	static const struct {
		enum neutral_error error;
		const char *code;
	} cases[] = {
		{NEUTRAL_ERROR_CONTEXT, "context_length_exceeded"},
		{NEUTRAL_ERROR_QUOTA, "insufficient_quota"},
		{NEUTRAL_ERROR_RATE, "rate_limit_exceeded"},
		{NEUTRAL_ERROR_API, "server_error"},
		{NEUTRAL_ERROR_OVERLOADED, "server_is_overloaded"},
	};
	const struct neutral_answer a = {.model = span_text("m"),
					 .stream = true};
	char want[128];
	struct buf out;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct neutral_writer *w = dialect_responses.writer_new(&a);

		buf_init(&out, 65536);
		assert_int_equal(put(w, &out,
				     (struct neutral_event){
					     .kind = NEUTRAL_START}),
				 ERR_OK);
		assert_int_equal(
			put(w, &out,
			    (struct neutral_event){.kind = NEUTRAL_ERROR,
						   .error = cases[i].error,
						   .text = span_text("why")}),
			ERR_OK);
		(void)snprintf(want, sizeof(want),
			       "\"error\":{\"code\":\"%s\",\"message\":"
			       "\"why\"}",
			       cases[i].code);
		assert_true(contains(&out, want));
		assert_true(contains(&out, "event: response.failed\n"));
		assert_false(contains(&out, "response.completed"));
		w->ops->free(w);
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recordings_are_read_whole),
		cmocka_unit_test(cut_recordings_are_short),
		cmocka_unit_test(recordings_are_written_again),
		cmocka_unit_test(what_responses_say),
		cmocka_unit_test(responses_that_break_off),
		cmocka_unit_test(requests_say_the_same_again),
		cmocka_unit_test(what_cannot_be_translated_is_named),
		cmocka_unit_test(stop_sequences_are_refused),
		cmocka_unit_test(custom_tools_work_elsewhere),
		cmocka_unit_test(signatures_travel_through_a_client),
		cmocka_unit_test(errors_end_a_written_response),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
