/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_gate_http2.c - inference over HTTP/2 through the real kenaz-gate
 *
 * What the handlers above http.c do is the same for both kinds; here is that
 * the program, in its jail, gives each stream a request of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <poll.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "tests/lib/gate_driver.h"
#include "tests/lib/h2_client.h"

#define BODY                                                       \
	"{\"model\":\"model-a\",\"stream\":true,\"max_tokens\":5," \
	"\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define ONE_TOOL "tests/data/gate/one_tool.sse"

static const char *program;
static struct driver d;
static struct h2_client c;

static void turn(void *context)
{
	driver_turn(context);
	(void)poll(NULL, 0, 1);
}

static int start(void **state)
{
	(void)state;
	driver_start(&d, program, 8);
	h2_client_init(&c, driver_connect(&d), false, turn, &d);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	h2_client_fini(&c);
	driver_stop(&d);
	return 0;
}

static void read_file(const char *path, struct buf *ret_bytes)
{
	uint8_t chunk[4096];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		fail_msg("cannot open %s: run the tests from the top folder",
			 path);
	buf_init(ret_bytes, 1u << 20);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		assert_int_equal(buf_put(ret_bytes, chunk, n), ERR_OK);
	fclose(f);
}

static bool has_message(void *context)
{
	(void)context;
	return d.n_inbox > 0;
}

static struct received expect(enum msg_type type)
{
	if (!h2_client_until(&c, has_message, NULL))
		fail_msg("no message instead of %s", msg_info_of(type)->name);
	return driver_expect(&d, type);
}

static uint64_t ask(struct h2_reply **ret_reply)
{
	struct received r;
	struct msg_infer_ask m;
	uint64_t request;

	*ret_reply = h2_client_ask(&c, "POST", "/v1/messages", NULL,
				   span_text(BODY), false);
	r = expect(MSG_INFER_ASK);
	assert_int_equal(msg_infer_ask_get(buf_span(&r.payload), &m), ERR_OK);
	assert_true(span_is(m.model, "model-a"));
	request = m.request;
	received_fini(&r);
	return request;
}

static bool has(const struct buf *b, const char *text)
{
	return b->len_bytes &&
	       memmem(b->data, b->len_bytes, text, strlen(text)) != NULL;
}

static bool is_at_end_of_text(void *context)
{
	struct h2_reply *r = context;

	return has(&r->body, "\"output_tokens\":42");
}

static void streams_unchanged_and_holds_the_end(void **state)
{
	struct received tool, end;
	struct msg_infer_tool m;
	struct h2_reply *r;
	uint64_t request = ask(&r);
	int broker = driver_grant(&d, request);
	struct buf file;

	(void)state;
	read_file(ONE_TOOL, &file);
	driver_head(broker, 200, "text/event-stream; charset=utf-8");
	driver_data(broker, buf_span(&file));
	driver_end(broker, ERR_OK, "");
	tool = expect(MSG_INFER_TOOL);
	assert_int_equal(msg_infer_tool_get(buf_span(&tool.payload), &m),
			 ERR_OK);
	assert_false(has(&r->body, "tool_use"));
	driver_verdict(&d, request, m.index, true);
	received_fini(&tool);
	end = expect(MSG_INFER_END);
	received_fini(&end);
	assert_true(h2_client_until(&c, is_at_end_of_text, r));
	assert_false(has(&r->body, "message_stop"));
	assert_false(r->closed);
	driver_durable(&d, request, ERR_OK);
	h2_client_finish(&c, r);
	assert_int_equal(r->status, 200);
	assert_int_equal(r->error, NGHTTP2_NO_ERROR);
	assert_string_equal(r->content_type,
			    "text/event-stream; charset=utf-8");
	assert_true(span_equal(buf_span(&r->body), buf_span(&file)));
	assert_true(driver_at_end(broker));
	close(broker);
	buf_fini(&file);
}

static void expect_cancel(uint64_t request)
{
	struct received r = expect(MSG_INFER_CANCEL);
	struct msg_infer_cancel m;

	assert_int_equal(msg_infer_cancel_get(buf_span(&r.payload), &m),
			 ERR_OK);
	assert_int_equal(m.request, request);
	received_fini(&r);
}

static void a_reset_stream_cancels_its_own_request(void **state)
{
	struct h2_reply *decided, *granted, *other;
	uint64_t first = ask(&decided), second = ask(&granted), third;
	int broker = driver_grant(&d, second);

	(void)state;
	third = ask(&other);
	assert_int_equal(nghttp2_submit_rst_stream(c.session, 0, decided->id,
						   NGHTTP2_CANCEL),
			 0);
	expect_cancel(first);
	assert_int_equal(nghttp2_submit_rst_stream(c.session, 0, granted->id,
						   NGHTTP2_CANCEL),
			 0);
	expect_cancel(second);
	assert_true(driver_at_end(broker));
	close(broker);
	/* The end of the connection is that of the last. */
	close(c.fd);
	c.fd = -1;
	c.closed = true;
	expect_cancel(third);
}

static void errors_come_in_the_dialect(void **state)
{
	static const char *const headers[] = {"content-encoding", "gzip", NULL};
	struct h2_reply *r;

	(void)state;
	r = h2_client_ask(&c, "POST", "/v1/messages", headers, span_text(BODY),
			  false);
	h2_client_finish(&c, r);
	assert_int_equal(r->status, 415);
	assert_string_equal(r->content_type, "application/json");
	assert_true(has(&r->body, "{\"type\":\"error\""));
	r = h2_client_ask(&c, "POST", "/v1/chat/completions", NULL,
			  span_text("{"), false);
	h2_client_finish(&c, r);
	assert_int_equal(r->status, 400);
	assert_true(has(&r->body, "{\"error\":{"));
	assert_true(driver_nothing_else(&d));
}

/* All kinds of requests of a session together. */
static void too_many_requests_at_once_are_refused(void **state)
{
	struct h2_reply *r;
	unsigned i;

	(void)state;
	for (i = 0; i < 8; i++)
		(void)ask(&r);
	r = h2_client_ask(&c, "POST", "/v1/messages", NULL, span_text(BODY),
			  false);
	h2_client_finish(&c, r);
	assert_int_equal(r->status, 429);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(streams_unchanged_and_holds_the_end),
		TEST(a_reset_stream_cancels_its_own_request),
		TEST(errors_come_in_the_dialect),
		TEST(too_many_requests_at_once_are_refused),
	};

	(void)argc;
	program = argv[0];
	if (digest_init() != ERR_OK || !driver_has_program(program))
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
