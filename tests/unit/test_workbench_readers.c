/* SPDX-License-Identifier: Apache-2.0 */
/* test_workbench_readers.c - HTTP responses, event streams, model replies */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/workbench/event_reader.h"
#include "guest/workbench/http_reader.h"
#include "guest/workbench/model_reply.h"

/* --- events ------------------------------------------------------------- */

static enum err note_event(void *owner, struct span name, struct span data)
{
	struct buf *seen = owner;
	enum err e = buf_put_text(seen, "[");

	if (e == ERR_OK)
		e = buf_put_span(seen, name);
	if (e == ERR_OK)
		e = buf_put_text(seen, "|");
	if (e == ERR_OK)
		e = buf_put_span(seen, data);
	return e == ERR_OK ? buf_put_text(seen, "]") : e;
}

/* Feed in pieces of every size: the result must not depend on the cut. */
static void expect_events(const char *text, size_t len, const char *expected,
			  enum err end)
{
	size_t step, at;

	for (step = 1; step <= len; step++) {
		struct event_reader r;
		struct buf seen;

		buf_init(&seen, 65536);
		event_reader_init(&r, note_event, &seen);
		for (at = 0; at < len; at += step) {
			size_t n = len - at < step ? len - at : step;

			assert_int_equal(
				event_reader_feed(&r, span_of(text + at, n)),
				ERR_OK);
		}
		assert_true(span_is(buf_span(&seen), expected));
		assert_int_equal(event_reader_end(&r), end);
		event_reader_fini(&r);
		buf_fini(&seen);
	}
}

static void reads_events(void **state)
{
	static const struct {
		const char *text, *expected;
		enum err end;
	} cases[] = {
		{"data: a\n\n", "[|a]", ERR_OK},
		{"event: e\r\ndata:a\r\ndata: b\r\n\r\n", "[e|a\nb]", ERR_OK},
		{"data: a\r\rdata: b\r\r", "[|a][|b]", ERR_OK},
		{"\xef\xbb\xbf"
		 "data: a\n\n",
		 "[|a]", ERR_OK},
		{": comment\nid: 1\nretry: 5\nother: x\ndata\n\n", "[|]",
		 ERR_OK},
		{"event: e\n\ndata: a\n\n", "[|a]", ERR_OK},
		{"data: a\n\ndata: cut\n", "[|a]", ERR_SHORT},
		{"data: a\n\ndata", "[|a]", ERR_SHORT},
		{"", "", ERR_OK},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		expect_events(cases[i].text, strlen(cases[i].text),
			      cases[i].expected, cases[i].end);
}

static void refuses_events(void **state)
{
	static const char nul[] = "data: a\0b\n\n";
	struct event_reader r;
	struct buf seen, big;
	size_t i;

	(void)state;
	buf_init(&seen, 65536);
	event_reader_init(&r, note_event, &seen);
	assert_int_equal(event_reader_feed(&r, span_of(nul, sizeof(nul) - 1)),
			 ERR_FORMAT);
	event_reader_fini(&r);
	event_reader_init(&r, note_event, &seen);
	assert_int_equal(event_reader_feed(&r, span_text("data: \xff\n")),
			 ERR_FORMAT);
	event_reader_fini(&r);
	event_reader_init(&r, note_event, &seen);
	buf_init(&big, 65536);
	for (i = 0; i < 65536; i++)
		assert_int_equal(buf_put_u8(&big, 'x'), ERR_OK);
	for (i = 0; i < EVENT_READER_MAX_BYTES / 65536; i++)
		assert_int_equal(event_reader_feed(&r, buf_span(&big)), ERR_OK);
	assert_int_equal(event_reader_feed(&r, buf_span(&big)), ERR_LIMIT);
	event_reader_fini(&r);
	buf_fini(&big);
	buf_fini(&seen);
}

/* --- HTTP --------------------------------------------------------------- */

static enum err note_body(void *owner, struct span data)
{
	return buf_put_span(owner, data);
}

static enum err feed_http(const char *text, size_t step, struct http_reader *r,
			  struct buf *body)
{
	size_t len = strlen(text), at;
	enum err e = ERR_OK;

	buf_init(body, 65536);
	http_reader_init(r);
	r->on_body = note_body;
	r->owner = body;
	for (at = 0; e == ERR_OK && at < len; at += step)
		e = http_reader_feed(r, span_of(text + at, len - at < step
								   ? len - at
								   : step));
	return e == ERR_OK ? http_reader_end(r) : e;
}

static void reads_responses(void **state)
{
	static const struct {
		const char *text, *body;
		unsigned status;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc", 200},
		{"HTTP/1.1 204 No\r\n\r\n", "", 204},
		{"HTTP/1.0 500 X\r\n\r\nto the end", "to the end", 500},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\n"
		 "content-length: 0\r\n\r\n",
		 "", 403},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
		 "abc0123456789", 200},
	};
	struct http_reader r;
	struct buf body;
	size_t i, step;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		for (step = 1; step < 80; step++) {
			assert_int_equal(feed_http(cases[i].text, step, &r,
						   &body),
					 ERR_OK);
			assert_int_equal(r.status, cases[i].status);
			assert_true(span_is(buf_span(&body), cases[i].body));
			http_reader_fini(&r);
			buf_fini(&body);
		}
}

static void refuses_responses(void **state)
{
	static const struct {
		const char *text;
		enum err e;
	} cases[] = {
		{"", ERR_SHORT},
		{"HTTP/2 200 OK\r\n\r\n", ERR_FORMAT},
		{"HTTP/1.1 099 OK\r\n\r\n", ERR_FORMAT},
		{"HTTP/1.1 200 OK\n\n", ERR_FORMAT},
		{"HTTP/1.1 200 OK\r\nbad\r\n\r\n", ERR_FORMAT},
		{"HTTP/1.1 200 OK\r\na : b\r\n\r\n", ERR_FORMAT},
		{"HTTP/1.1 200 OK\r\n a: b\r\n\r\n", ERR_FORMAT},
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", ERR_SHORT},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", ERR_FORMAT},
		{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ERR_FORMAT},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
		 "Transfer-Encoding: chunked\r\n\r\n",
		 ERR_FORMAT},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		 ERR_FORMAT},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "3\r\nabcX\r\n",
		 ERR_FORMAT},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "3\r\nabc\r\n",
		 ERR_SHORT},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "123456789\r\n",
		 ERR_LIMIT},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "x\r\n",
		 ERR_FORMAT},
	};
	struct http_reader r;
	struct buf body;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		enum err e = feed_http(cases[i].text, 7, &r, &body);

		if (e != cases[i].e)
			fail_msg("%s gives %s", cases[i].text, err_name(e));
		http_reader_fini(&r);
		buf_fini(&body);
	}
}

/* --- replies ------------------------------------------------------------ */

#define START "{\"type\":\"message_start\",\"message\":{\"model\":\"m\"}}"
#define TEXT_START                                       \
	"{\"type\":\"content_block_start\",\"index\":0," \
	"\"content_block\":{\"type\":\"text\",\"text\":\"\"}}"
#define STOP_0 "{\"type\":\"content_block_stop\",\"index\":0}"

static enum err take_all(struct model_reply *r, const char *const *events)
{
	enum err e = ERR_OK;

	model_reply_init(r);
	for (; e == ERR_OK && *events; events++)
		e = model_reply_take(r, span_of(NULL, 0), span_text(*events));
	return e;
}

static void puts_a_reply_together(void **state)
{
	static const char *const events[] = {
		START,
		TEXT_START,
		"{\"type\":\"ping\"}",
		"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
		"{\"type\":\"text_delta\",\"text\":\"Hi \\u00e9\"}}",
		STOP_0,
		"{\"type\":\"content_block_start\",\"index\":1,"
		"\"content_block\":{\"type\":\"tool_use\",\"id\":\"t1\","
		"\"name\":\"bash\",\"input\":{}}}",
		"{\"type\":\"content_block_delta\",\"index\":1,\"delta\":"
		"{\"type\":\"input_json_delta\",\"partial_json\":\"{"
		"\\\"a\\\"\"}}",
		"{\"type\":\"content_block_delta\",\"index\":1,\"delta\":"
		"{\"type\":\"input_json_delta\",\"partial_json\":\":1}\"}}",
		"{\"type\":\"content_block_stop\",\"index\":1}",
		"{\"type\":\"not_known_yet\",\"x\":1}",
		"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
		"\"tool_use\"},\"usage\":{}}",
		"{\"type\":\"message_stop\"}",
		NULL,
	};
	struct model_reply *r = malloc(sizeof(*r));

	(void)state;
	assert_non_null(r);
	assert_int_equal(take_all(r, events), ERR_OK);
	assert_true(r->has_ended);
	assert_string_equal(r->model, "m");
	assert_string_equal(r->stop_reason, "tool_use");
	assert_int_equal(r->count, 2);
	assert_true(span_is(buf_span(&r->blocks[0].content), "Hi \xc3\xa9"));
	assert_int_equal(r->blocks[1].type, MODEL_BLOCK_TOOL_USE);
	assert_string_equal(r->blocks[1].id, "t1");
	assert_string_equal(r->blocks[1].name, "bash");
	assert_true(span_is(buf_span(&r->blocks[1].content), "{\"a\":1}"));
	model_reply_fini(r);
	free(r);
}

static void refuses_replies(void **state)
{
	static const char *const cases[][4] = {
		{"not json", NULL},
		{"[]", NULL},
		{"{\"type\":1,\"type\":2}", NULL},
		{TEXT_START, NULL},
		{START, START, NULL},
		{START, STOP_0, NULL},
		{START, TEXT_START, TEXT_START, NULL},
		{START, TEXT_START, "{\"type\":\"message_stop\"}", NULL},
		{START,
		 "{\"type\":\"content_block_start\",\"index\":5,"
		 "\"content_block\":{\"type\":\"text\"}}",
		 NULL},
		{START,
		 "{\"type\":\"content_block_start\",\"index\":0,"
		 "\"content_block\":{\"type\":\"tool_use\"}}",
		 NULL},
		{START, "{\"type\":\"message_stop\"}", "{\"type\":\"ping\"}",
		 NULL},
		{START, TEXT_START,
		 "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
		 "{\"text\":7}}",
		 NULL},
	};
	struct model_reply *r = malloc(sizeof(*r));
	size_t i;

	(void)state;
	assert_non_null(r);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (take_all(r, cases[i]) == ERR_OK)
			fail_msg("case %zu was taken", i);
		model_reply_fini(r);
	}
	free(r);
}

static void reports_errors(void **state)
{
	static const char *const events[] = {
		START,
		"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
		"\"message\":\"busy\"}}",
		NULL,
	};
	struct model_reply *r = malloc(sizeof(*r));

	(void)state;
	assert_non_null(r);
	assert_int_equal(take_all(r, events), ERR_UPSTREAM);
	assert_string_equal(r->error_type, "overloaded_error");
	assert_string_equal(r->error, "busy");
	model_reply_fini(r);
	model_reply_init(r);
	model_reply_take_error(r, span_text("<html>"));
	assert_string_equal(r->error, "");
	model_reply_fini(r);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_events),
		cmocka_unit_test(refuses_events),
		cmocka_unit_test(reads_responses),
		cmocka_unit_test(refuses_responses),
		cmocka_unit_test(puts_a_reply_together),
		cmocka_unit_test(refuses_replies),
		cmocka_unit_test(reports_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
