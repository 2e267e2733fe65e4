/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_gate_infer.c - inference through the real kenaz-gate
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "engine/proto/attrs.h"
#include "engine/proto/frame.h"
#include "engine/proto/respframe.h"
#include "tests/lib/gate_driver.h"

#define BODY                                                       \
	"{\"model\":\"model-a\",\"stream\":true,\"max_tokens\":5," \
	"\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define PLAIN_BODY                                 \
	"{\"model\":\"model-a\",\"max_tokens\":5," \
	"\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define ONE_TOOL "tests/data/gate/one_tool.sse"

static const char *program;
static struct driver d;

static int start(void **state)
{
	(void)state;
	driver_start(&d, program, 4);
	return 0;
}

static int stop(void **state)
{
	(void)state;
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

static bool has(const struct buf *b, const char *text)
{
	return b->len_bytes &&
	       memmem(b->data, b->len_bytes, text, strlen(text)) != NULL;
}

static void post(int fd, const char *path, const char *headers,
		 struct span body)
{
	struct buf b;

	buf_init(&b, 64u << 20);
	assert_int_equal(buf_printf(&b,
				    "POST %s HTTP/1.1\r\nHost: x\r\n%s"
				    "Content-Length: %zu\r\n\r\n",
				    path, headers, body.len_bytes),
			 ERR_OK);
	assert_int_equal(buf_put_span(&b, body), ERR_OK);
	driver_send_span(fd, buf_span(&b));
	buf_fini(&b);
}

/* Posts a request and gives its number. */
static uint64_t ask_with(int fd, const char *body)
{
	struct received r;
	struct msg_infer_ask m;
	uint64_t request;

	post(fd, "/v1/messages", "", span_text(body));
	r = driver_expect(&d, MSG_INFER_ASK);
	assert_int_equal(msg_infer_ask_get(buf_span(&r.payload), &m), ERR_OK);
	request = m.request;
	received_fini(&r);
	return request;
}

static uint64_t ask(int fd)
{
	return ask_with(fd, BODY);
}

static struct msg_infer_end expect_end(void)
{
	static struct received r = {.fd = -1};
	struct msg_infer_end m;

	received_fini(&r);
	r = driver_expect(&d, MSG_INFER_END);
	assert_int_equal(msg_infer_end_get(buf_span(&r.payload), &m), ERR_OK);
	return m;
}

static void expect_tool(uint64_t request, uint32_t *ret_index)
{
	struct received r = driver_expect(&d, MSG_INFER_TOOL);
	struct msg_infer_tool m;
	struct attr a;

	assert_int_equal(msg_infer_tool_get(buf_span(&r.payload), &m), ERR_OK);
	assert_int_equal(m.request, request);
	assert_true(span_is(m.name, "bash"));
	assert_true(span_is(m.call_id, "toolu_1"));
	assert_true(attrs_find(m.fields, "command", &a));
	assert_true(span_is(a.text, "ls -l"));
	assert_true(span_is(m.arguments, "{\"command\": \"ls -l\"}"));
	*ret_index = m.index;
	received_fini(&r);
}

static void asks_core_with_what_it_found(void **state)
{
	static const char body[] =
		"{\"model\":\"model-a\",\"max_tokens\":5,\"messages\":[{"
		"\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
		"\"tool_use_id\":\"t1\",\"is_error\":true}]}],\"tools\":[{"
		"\"name\":\"bash\"},{\"type\":\"web_search_20250305\"}]}";
	struct buf in;
	struct received r;
	struct msg_infer_ask m;
	uint8_t digest[DIGEST_BYTES];
	struct msg_infer_deny deny = {
		.http_status = 403,
		.type = span_text("permission"),
		.rule = span_text("r1"),
		.text = span_text("Kenaz policy denied it: rule r1"),
		.retry_after_s = 9};
	struct attr a;
	int fd = driver_connect(&d);

	(void)state;
	post(fd, "/v1/messages?beta=true",
	     "anthropic-version: 2023-06-01\r\nAnthropic-Beta: a\r\n"
	     "anthropic-beta: b\r\nx-api-key: dummy\r\nUser-Agent: cli/1\r\n",
	     span_text(body));
	r = driver_expect(&d, MSG_INFER_ASK);
	assert_int_equal(msg_infer_ask_get(buf_span(&r.payload), &m), ERR_OK);
	assert_int_equal(m.dialect, DIALECT_ANTHROPIC);
	assert_int_equal(m.route, ROUTE_MESSAGES);
	assert_true(span_is(m.model, "model-a"));
	assert_int_equal(m.stream, 0);
	assert_true(span_is(m.query, "beta=true"));
	assert_true(span_is(m.agent, "cli/1"));
	assert_true(attrs_find(m.headers, "anthropic-version", &a));
	assert_true(span_is(a.text, "2023-06-01"));
	assert_false(attrs_find(m.headers, "x-api-key", &a));
	assert_true(attrs_find(m.features, "features", &a));
	assert_int_equal(a.count, 1);
	assert_true(attrs_find(m.tools, "tools", &a));
	assert_true(attrs_find(m.results, "t1", &a));
	assert_true(span_is(a.text, "error"));
	assert_true(span_is(m.body_inline, body));
	digest_sha256(span_text(body), digest);
	assert_memory_equal(m.body_digest, digest, sizeof(digest));
	deny.request = m.request;
	assert_int_equal(chan_send_infer_deny(d.core, &deny, NULL, 0), ERR_OK);
	driver_turn(&d);
	buf_init(&in, 65536);
	driver_read_until(fd, "rule r1\"}}", &in);
	assert_true(has(&in, "HTTP/1.1 403"));
	assert_true(has(&in, "retry-after: 9") || has(&in, "Retry-After: 9"));
	assert_true(has(&in, "{\"type\":\"error\",\"error\":{\"type\":"
			     "\"permission_error\",\"message\":\"Kenaz policy "
			     "denied it"));
	/* The connection serves the next request. */
	buf_reset(&in);
	driver_send(fd, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
	driver_read_until(fd, "\r\n\r\n", &in);
	assert_true(has(&in, "HTTP/1.1 200"));
	buf_fini(&in);
	received_fini(&r);
	close(fd);
	assert_true(driver_nothing_else(&d));
}

static void refuses_bad_requests_itself(void **state)
{
	static const struct {
		const char *request, *status, *type;
	} rows[] = {
		{"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", "404",
		 "not_found_error"},
		{"POST /v1%2Fmessages HTTP/1.1\r\nHost: x\r\n\r\n", "404",
		 "not_found_error"},
		{"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", "405",
		 "invalid_request_error"},
		{"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2"
		 "\r\nContent-Length: 3\r\n\r\n{}",
		 "400", "invalid_request_error"},
		{"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2"
		 "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		 "400", "invalid_request_error"},
		{"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: "
		 "33554433\r\n\r\n",
		 "413", "request_too_large"},
		{"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2"
		 "\r\n\r\n{}",
		 "400", "invalid_request_error"},
		{"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5"
		 "\r\n\r\n{\"a\":",
		 "400", "invalid_request_error"},
		{"POST /kenaz/v1/announce HTTP/1.1\r\nHost: x\r\n"
		 "Content-Length: 2\r\n\r\n{}",
		 "400", "invalid_request_error"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		char status[16], type[64];
		struct buf in;
		int fd = driver_connect(&d);

		(void)snprintf(status, sizeof(status), "HTTP/1.1 %s",
			       rows[i].status);
		(void)snprintf(type, sizeof(type), "\"type\":\"%s\"",
			       rows[i].type);
		buf_init(&in, 65536);
		driver_send(fd, rows[i].request);
		driver_read_until(fd, "\"}}", &in);
		if (!has(&in, status) || !has(&in, type))
			fail_msg("%s: %.*s", rows[i].request, (int)in.len_bytes,
				 (const char *)in.data);
		buf_fini(&in);
		close(fd);
	}
	assert_true(driver_nothing_else(&d));
}

static void streams_unchanged_and_holds_the_end(void **state)
{
	struct buf file, in, body;
	struct msg_infer_end end;
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd);
	uint32_t index;

	(void)state;
	read_file(ONE_TOOL, &file);
	buf_init(&in, 1u << 20);
	buf_init(&body, 1u << 20);
	broker = driver_grant(&d, request);
	driver_head(broker, 200, "text/event-stream; charset=utf-8");
	driver_data(broker, buf_span(&file));
	driver_end(broker, ERR_OK, "");
	expect_tool(request, &index);
	driver_read_until(fd, "\"content_block_stop\",\"index\":0", &in);
	assert_false(has(&in, "tool_use"));
	driver_verdict(&d, request, index, true);
	end = expect_end();
	assert_int_equal(end.error, ERR_OK);
	assert_int_equal(end.input_tokens, 22);
	assert_int_equal(end.output_tokens, 42);
	assert_int_equal(end.tool_calls, 1);
	assert_true(span_is(end.stop_reason, "tool_use"));
	assert_true(span_is(end.response_id, "msg_own_1"));
	driver_read_until(fd, "\"output_tokens\":42", &in);
	assert_false(has(&in, "message_stop"));
	driver_durable(&d, request, ERR_OK);
	driver_read_until(fd, "0\r\n\r\n", &in);
	driver_body(buf_span(&in), &body);
	assert_true(span_equal(buf_span(&body), buf_span(&file)));
	assert_true(has(&in, "req_1"));
	assert_false(has(&in, "secret"));
	assert_true(driver_at_end(broker));
	buf_fini(&file);
	buf_fini(&in);
	buf_fini(&body);
	close(broker);
	close(fd);
	assert_true(driver_nothing_else(&d));
}

static void replaces_a_denied_call(void **state)
{
	struct buf file, in, body;
	struct msg_infer_end end;
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd);
	uint32_t index;
	size_t i;

	(void)state;
	read_file(ONE_TOOL, &file);
	buf_init(&in, 1u << 20);
	buf_init(&body, 1u << 20);
	broker = driver_grant(&d, request);
	driver_head(broker, 200, "text/event-stream");
	/* One frame a byte. */
	for (i = 0; i < file.len_bytes; i++)
		driver_data(broker, span_of(file.data + i, 1));
	driver_end(broker, ERR_OK, "");
	expect_tool(request, &index);
	driver_verdict(&d, request, index, false);
	end = expect_end();
	assert_int_equal(end.error, ERR_OK);
	assert_int_equal(end.tool_calls_denied, 1);
	assert_true(span_is(end.stop_reason, "end_turn"));
	driver_durable(&d, request, ERR_OK);
	driver_read_until(fd, "0\r\n\r\n", &in);
	driver_body(buf_span(&in), &body);
	assert_true(has(&body, "Kenaz denied the tool call bash: rule "
			       "no-shell (not here)."));
	assert_true(has(&body, "\"stop_reason\":\"end_turn\""));
	assert_false(has(&body, "tool_use"));
	buf_fini(&file);
	buf_fini(&in);
	buf_fini(&body);
	close(broker);
	close(fd);
}

static void judges_a_plain_reply(void **state)
{
	static const char reply[] =
		"{\"type\":\"message\",\"stop_reason\":\"tool_use\",\"content\""
		":[{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"bash\""
		",\"input\":{\"command\": \"ls -l\"}}]}";
	struct buf in, body;
	int fd = driver_connect(&d), broker;
	uint64_t request = ask_with(fd, PLAIN_BODY);
	uint32_t index;

	(void)state;
	buf_init(&in, 1u << 20);
	buf_init(&body, 1u << 20);
	broker = driver_grant(&d, request);
	driver_head(broker, 200, "application/json");
	driver_data(broker, span_text(reply));
	driver_end(broker, ERR_OK, "");
	expect_tool(request, &index);
	driver_verdict(&d, request, index, true);
	assert_int_equal(expect_end().error, ERR_OK);
	driver_durable(&d, request, ERR_OK);
	driver_read_until(fd, "]}", &in);
	driver_body(buf_span(&in), &body);
	assert_true(span_is(buf_span(&body), reply));
	buf_fini(&in);
	buf_fini(&body);
	close(broker);
	close(fd);
}

static void a_lost_broker_is_an_error_in_the_stream(void **state)
{
	struct buf file, in, body;
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd);

	(void)state;
	read_file(ONE_TOOL, &file);
	buf_init(&in, 1u << 20);
	buf_init(&body, 1u << 20);
	broker = driver_grant(&d, request);
	driver_head(broker, 200, "text/event-stream");
	driver_data(broker, span_of(file.data, 700));
	driver_read_until(fd, "message_start", &in);
	close(broker);
	assert_int_equal(expect_end().error, ERR_CLOSED);
	driver_durable(&d, request, ERR_OK);
	driver_read_until(fd, "0\r\n\r\n", &in);
	driver_body(buf_span(&in), &body);
	assert_true(has(&body, "event: error\ndata: {\"type\":\"error\","
			       "\"error\":{\"type\":\"api_error\",\"message\":"
			       "\"Kenaz: the broker was lost"));
	assert_false(has(&body, "message_stop"));
	buf_fini(&file);
	buf_fini(&in);
	buf_fini(&body);
	close(fd);
}

/* What comes before the first piece of an answer waits for it. */
static void an_error_behind_the_start_can_be_tried_again(void **state)
{
	static const char error[] =
		"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
		"\"overloaded_error\",\"message\":\"too busy\"}}\n\n";
	struct buf file, in, body;
	struct msg_infer_end end;
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd);
	const uint8_t *at;
	char byte;

	(void)state;
	read_file(ONE_TOOL, &file);
	buf_init(&in, 1u << 20);
	buf_init(&body, 1u << 20);
	at = memmem(file.data, file.len_bytes, "\n\n", 2);
	assert_non_null(at);
	broker = driver_grant(&d, request);
	driver_head(broker, 200, "text/event-stream");
	driver_data(broker, span_of(file.data, (size_t)(at - file.data) + 2));
	driver_data(broker, span_text(error));
	driver_end(broker, ERR_OK, "");
	end = expect_end();
	assert_int_equal(end.error, ERR_UPSTREAM);
	assert_int_equal(end.retry, RETRY_OVERLOADED);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	/* Nobody tries: the client gets all of it, as it came. */
	driver_durable(&d, request, ERR_OK);
	driver_read_until(fd, "0\r\n\r\n", &in);
	driver_body(buf_span(&in), &body);
	assert_true(has(&body, "event: message_start"));
	assert_true(has(&body, error));
	assert_false(has(&body, "message_stop"));
	buf_fini(&file);
	buf_fini(&in);
	buf_fini(&body);
	close(broker);
	close(fd);
}

static void failures_before_the_first_byte_are_http_errors(void **state)
{
	static const struct {
		enum err error;
		const char *status, *type;
	} rows[] = {
		{ERR_UPSTREAM, "HTTP/1.1 502", "\"api_error\""},
		{ERR_TIMEOUT, "HTTP/1.1 504", "\"timeout_error\""},
		{ERR_CANCELLED, "HTTP/1.1 503", "\"api_error\""},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf in;
		int fd = driver_connect(&d), broker;
		uint64_t request = ask(fd);

		buf_init(&in, 65536);
		broker = driver_grant(&d, request);
		driver_end(broker, rows[i].error, "no route to the provider");
		assert_int_equal(expect_end().error, rows[i].error);
		driver_durable(&d, request, ERR_OK);
		driver_read_until(fd, "\"}}", &in);
		assert_true(has(&in, rows[i].status));
		assert_true(has(&in, rows[i].type));
		assert_true(has(&in, "no route to the provider"));
		buf_fini(&in);
		close(broker);
		close(fd);
	}
}

static void a_provider_error_passes_with_its_wording(void **state)
{
	static const char error[] = "{\"type\":\"error\",\"error\":{\"type\":"
				    "\"rate_limit_error\",\"message\":\"m\"}}";
	struct buf in;
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd);

	(void)state;
	buf_init(&in, 65536);
	broker = driver_grant(&d, request);
	driver_head(broker, 429, "application/json");
	driver_data(broker, span_text(error));
	driver_end(broker, ERR_OK, "");
	assert_int_equal(expect_end().error, ERR_UPSTREAM);
	driver_durable(&d, request, ERR_OK);
	driver_read_until(fd, error, &in);
	assert_true(has(&in, "HTTP/1.1 429"));
	assert_true(has(&in, "etry-after: 7") || has(&in, "etry-After: 7"));
	buf_fini(&in);
	close(broker);
	close(fd);
}

static void other_content_types_are_errors(void **state)
{
	struct buf in;
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd);

	(void)state;
	buf_init(&in, 65536);
	broker = driver_grant(&d, request);
	driver_head(broker, 200, "text/html");
	assert_int_equal(expect_end().error, ERR_UPSTREAM);
	assert_true(driver_at_end(broker));
	driver_durable(&d, request, ERR_OK);
	driver_read_until(fd, "\"}}", &in);
	assert_true(has(&in, "HTTP/1.1 502"));
	buf_fini(&in);
	close(broker);
	close(fd);
}

static void an_outcome_not_recorded_is_no_success(void **state)
{
	struct buf file, in;
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd);
	uint32_t index;

	(void)state;
	read_file(ONE_TOOL, &file);
	buf_init(&in, 1u << 20);
	broker = driver_grant(&d, request);
	driver_head(broker, 200, "text/event-stream");
	driver_data(broker, buf_span(&file));
	driver_end(broker, ERR_OK, "");
	expect_tool(request, &index);
	driver_verdict(&d, request, index, true);
	assert_int_equal(expect_end().error, ERR_OK);
	driver_durable(&d, request, ERR_STORAGE);
	driver_read_until(fd, "0\r\n\r\n", &in);
	assert_true(has(&in, "event: error"));
	assert_true(has(&in, "the disk is full"));
	assert_false(has(&in, "message_stop"));
	assert_true(driver_nothing_else(&d));
	buf_fini(&file);
	buf_fini(&in);
	close(broker);
	close(fd);
}

static void expect_cancel(uint64_t request)
{
	struct received r = driver_expect(&d, MSG_INFER_CANCEL);
	struct msg_infer_cancel m;

	assert_int_equal(msg_infer_cancel_get(buf_span(&r.payload), &m),
			 ERR_OK);
	assert_int_equal(m.request, request);
	received_fini(&r);
}

static void a_client_that_hangs_up_cancels(void **state)
{
	struct buf file, in;
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd);
	struct msg_infer_end m;
	struct received end;

	(void)state;
	read_file(ONE_TOOL, &file);
	buf_init(&in, 1u << 20);
	/* While core decides; what crosses the cancellation is ignored. */
	close(fd);
	expect_cancel(request);
	broker = driver_grant(&d, request);
	assert_true(driver_at_end(broker));
	close(broker);
	/* In mid-stream. */
	fd = driver_connect(&d);
	request = ask(fd);
	broker = driver_grant(&d, request);
	driver_head(broker, 200, "text/event-stream");
	driver_data(broker, span_of(file.data, 700));
	driver_read_until(fd, "message_start", &in);
	close(fd);
	/* What was used until then is used: a hang-up saves no budget. */
	end = driver_expect(&d, MSG_INFER_END);
	assert_int_equal(msg_infer_end_get(buf_span(&end.payload), &m), ERR_OK);
	assert_int_equal(m.error, ERR_CLOSED);
	assert_true(m.usage_known);
	assert_true(m.input_tokens > 0);
	received_fini(&end);
	expect_cancel(request);
	assert_true(driver_at_end(broker));
	close(broker);
	/* Half-closed: all that the shim in the guest can tell. */
	fd = driver_connect(&d);
	request = ask(fd);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	expect_cancel(request);
	close(fd);
	buf_fini(&file);
	buf_fini(&in);
}

static void put_delta(struct buf *b, unsigned i)
{
	assert_int_equal(
		buf_printf(b,
			   "event: content_block_delta\ndata: {\"type\":"
			   "\"content_block_delta\",\"index\":0,\"delta\":{"
			   "\"type\":\"text_delta\",\"text\":\"%0800u\"}}\n\n",
			   i),
		ERR_OK);
}

static void a_slow_guest_costs_no_memory(void **state)
{
	static const char first[] =
		"event: message_start\ndata: {\"type\":\"message_start\","
		"\"message\":{\"content\":[]}}\n\nevent: content_block_start\n"
		"data: {\"type\":\"content_block_start\",\"index\":0,"
		"\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
	static const char last[] =
		"event: content_block_stop\ndata: {\"type\":"
		"\"content_block_stop\",\"index\":0}\n\nevent: message_delta\n"
		"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
		"\"end_turn\"}}\n\nevent: message_stop\ndata: {\"type\":"
		"\"message_stop\"}\n\n";
	struct buf frames, in, body, sent;
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd);
	size_t at = 0;
	unsigned i, idle = 0;

	(void)state;
	buf_init(&frames, 64u << 20);
	buf_init(&sent, 64u << 20);
	buf_init(&in, 64u << 20);
	buf_init(&body, 64u << 20);
	assert_int_equal(buf_put_text(&sent, first), ERR_OK);
	for (i = 0; i < 20000; i++)
		put_delta(&sent, i);
	assert_int_equal(buf_put_text(&sent, last), ERR_OK);
	for (i = 0; i < sent.len_bytes; i += 60000)
		assert_int_equal(
			buf_put_u8(&frames, 2) == ERR_OK &&
					buf_put_lp(
						&frames,
						span_of(sent.data + i,
							sent.len_bytes - i <
									60000
								? sent.len_bytes -
									  i
								: 60000)) ==
						ERR_OK
				? ERR_OK
				: ERR_LIMIT,
			ERR_OK);
	/* A blocking send of the end would wait for the guest, so for us. */
	assert_int_equal(respframe_put_end(&frames, ERR_OK, span_text("")),
			 ERR_OK);
	broker = driver_grant(&d, request);
	driver_head(broker, 200, "text/event-stream");
	/* The guest reads nothing: the gate must stop reading. */
	while (at < frames.len_bytes && idle < 300) {
		ssize_t n =
			send(broker, frames.data + at, frames.len_bytes - at,
			     MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			at += (size_t)n, idle = 0;
		else
			idle++;
		uv_sleep(1);
	}
	if (at > (4u << 20))
		fail_msg("the gate took %zu bytes", at);
	/* It reads: all of it comes. */
	while (at < frames.len_bytes) {
		uint8_t chunk[65536];
		ssize_t n =
			send(broker, frames.data + at, frames.len_bytes - at,
			     MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			at += (size_t)n;
		n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n > 0)
			assert_int_equal(buf_put(&in, chunk, (size_t)n),
					 ERR_OK);
	}
	driver_read_until(fd, "end_turn", &in);
	assert_int_equal(expect_end().error, ERR_OK);
	driver_durable(&d, request, ERR_OK);
	driver_read_until(fd, "0\r\n\r\n", &in);
	driver_body(buf_span(&in), &body);
	assert_true(span_equal(buf_span(&body), buf_span(&sent)));
	buf_fini(&frames);
	buf_fini(&sent);
	buf_fini(&in);
	buf_fini(&body);
	close(broker);
	close(fd);
}

static void large_bodies_travel_as_sealed_memfds(void **state)
{
	struct buf body;
	struct received r;
	struct msg_infer_ask m;
	uint8_t digest[DIGEST_BYTES];
	int fd = driver_connect(&d);

	(void)state;
	buf_init(&body, 4u << 20);
	assert_int_equal(
		buf_printf(&body,
			   "{\"model\":\"m\",\"messages\":[],\"x\":\"%0*u\"}",
			   2000000, 7),
		ERR_OK);
	post(fd, "/v1/messages", "", buf_span(&body));
	r = driver_expect(&d, MSG_INFER_ASK);
	assert_int_equal(msg_infer_ask_get(buf_span(&r.payload), &m), ERR_OK);
	assert_int_equal(m.body_bytes, body.len_bytes);
	assert_int_equal(m.body_inline.len_bytes, 0);
	assert_true(r.fd >= 0);
	assert_int_equal(fcntl(r.fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK |
							   F_SEAL_GROW |
							   F_SEAL_WRITE);
	digest_sha256(buf_span(&body), digest);
	assert_memory_equal(m.body_digest, digest, sizeof(digest));
	received_fini(&r);
	buf_fini(&body);
	close(fd);
	expect_cancel(m.request);
}

static void too_many_requests_at_once_are_refused(void **state)
{
	uint64_t requests[4];
	int fds[5];
	struct buf in;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		fds[i] = driver_connect(&d);
		requests[i] = ask(fds[i]);
	}
	fds[4] = driver_connect(&d);
	post(fds[4], "/v1/messages", "", span_text(BODY));
	buf_init(&in, 65536);
	driver_read_until(fds[4], "\"}}", &in);
	assert_true(has(&in, "HTTP/1.1 429"));
	assert_true(has(&in, "rate_limit_error"));
	buf_fini(&in);
	close(fds[4]);
	for (i = 0; i < 4; i++) {
		close(fds[i]);
		expect_cancel(requests[i]);
	}
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(asks_core_with_what_it_found),
		TEST(refuses_bad_requests_itself),
		TEST(streams_unchanged_and_holds_the_end),
		TEST(replaces_a_denied_call),
		TEST(judges_a_plain_reply),
		TEST(a_lost_broker_is_an_error_in_the_stream),
		TEST(an_error_behind_the_start_can_be_tried_again),
		TEST(failures_before_the_first_byte_are_http_errors),
		TEST(a_provider_error_passes_with_its_wording),
		TEST(other_content_types_are_errors),
		TEST(an_outcome_not_recorded_is_no_success),
		TEST(a_client_that_hangs_up_cancels),
		TEST(a_slow_guest_costs_no_memory),
		TEST(large_bodies_travel_as_sealed_memfds),
		TEST(too_many_requests_at_once_are_refused),
	};

	(void)argc;
	program = argv[0];
	if (digest_init() != ERR_OK || !driver_has_program(program))
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
