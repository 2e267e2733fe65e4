/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_gate_attempts.c - a request's attempts, seen from kenaz-gate's edges
 *
 * Runs in: a unit test, beside the real program.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <sys/socket.h>

#include "engine/base/digest.h"
#include "engine/proto/attrs.h"
#include "tests/lib/gate_driver.h"

#define STREAMED                                                   \
	"{\"model\":\"model-a\",\"stream\":true,\"max_tokens\":5," \
	"\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

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

static bool has(struct span s, const char *text)
{
	return s.len_bytes && memmem(s.data, s.len_bytes, text, strlen(text));
}

static void send_request(int fd, const char *line, const char *headers,
			 const char *body)
{
	struct buf b;

	buf_init(&b, 65536);
	assert_int_equal(buf_printf(&b,
				    "%s HTTP/1.1\r\nHost: x\r\n%s"
				    "Content-Length: %zu\r\n\r\n%s",
				    line, headers, strlen(body), body),
			 ERR_OK);
	driver_send_span(fd, buf_span(&b));
	buf_fini(&b);
}

/* What the gate asks; the payload is to be released. */
static struct msg_infer_ask expect_ask(struct received *r)
{
	struct msg_infer_ask m;

	*r = driver_expect(&d, MSG_INFER_ASK);
	assert_int_equal(msg_infer_ask_get(buf_span(&r->payload), &m), ERR_OK);
	return m;
}

static uint64_t ask(int fd, const char *line, const char *body)
{
	struct received r;
	uint64_t request;

	send_request(fd, line, "", body);
	request = expect_ask(&r).request;
	received_fini(&r);
	return request;
}

static void prepare(uint64_t request, uint16_t attempt, enum dialect dialect,
		    enum route route, const char *model)
{
	struct msg_infer_prepare m = {.request = request,
				      .attempt = attempt,
				      .provider = span_text("p"),
				      .kind = span_text("byo"),
				      .dialect = (uint16_t)dialect,
				      .route = (uint16_t)route,
				      .model = span_text(model)};

	assert_int_equal(chan_send_infer_prepare(d.core, &m, NULL, 0), ERR_OK);
	driver_turn(&d);
}

static int grant(uint64_t request, uint16_t attempt, enum dialect dialect,
		 enum route route)
{
	struct msg_infer_grant m = {.request = request,
				    .grant = 7,
				    .attempt = attempt,
				    .dialect = (uint16_t)dialect,
				    .route = (uint16_t)route};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    pair),
			 0);
	assert_int_equal(chan_send_infer_grant(d.core, &m, &pair[1], 1),
			 ERR_OK);
	driver_turn(&d);
	return pair[0];
}

static enum infer_retry expect_end(enum err error)
{
	struct received r = driver_expect(&d, MSG_INFER_END);
	struct msg_infer_end m;

	assert_int_equal(msg_infer_end_get(buf_span(&r.payload), &m), ERR_OK);
	assert_int_equal(m.error, error);
	received_fini(&r);
	return (enum infer_retry)m.retry;
}

static void durable(uint64_t request, bool retry)
{
	struct msg_infer_durable m = {.request = request, .retry = retry};

	assert_int_equal(chan_send_infer_durable(d.core, &m, NULL, 0), ERR_OK);
	driver_turn(&d);
}

static void chat_stream(int broker)
{
	driver_head(broker, 200, "text/event-stream");
	driver_data(broker,
		    span_text("data: {\"id\":\"c1\",\"object\":"
			      "\"chat.completion.chunk\",\"model\":\"up\","
			      "\"choices\":[{\"index\":0,\"delta\":{\"role\":"
			      "\"assistant\",\"content\":\"Hello\"}}]}\n\n"
			      "data: {\"id\":\"c1\",\"object\":"
			      "\"chat.completion.chunk\",\"model\":\"up\","
			      "\"choices\":[{\"index\":0,\"delta\":{},"
			      "\"finish_reason\":\"stop\"}]}\n\n"
			      "data: [DONE]\n\n"));
	driver_end(broker, ERR_OK, "");
}

static void the_next_attempt_may_speak_another_dialect(void **state)
{
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd, "POST /v1/messages", STREAMED);
	struct received r;
	struct msg_infer_ask m;
	struct buf in;

	(void)state;
	broker = grant(request, 1, DIALECT_ANTHROPIC, ROUTE_MESSAGES);
	driver_head(broker, 529, "application/json");
	driver_data(broker,
		    span_text("{\"type\":\"error\",\"error\":{\"type\":"
			      "\"overloaded_error\",\"message\":\"\"}}"));
	driver_end(broker, ERR_OK, "");
	assert_int_equal(expect_end(ERR_UPSTREAM), RETRY_OVERLOADED);
	close(broker);
	durable(request, true);
	prepare(request, 2, DIALECT_CHAT, ROUTE_CHAT, "up");
	m = expect_ask(&r);
	assert_int_equal(m.request, request);
	assert_int_equal(m.attempt, 2);
	assert_int_equal(m.prepared, 1);
	assert_int_equal(m.dialect, DIALECT_ANTHROPIC);
	assert_true(span_is(m.model, "model-a"));
	assert_true(has(m.body_inline, "\"model\":\"up\""));
	assert_true(has(m.body_inline, "\"stream\":true"));
	received_fini(&r);
	broker = grant(request, 2, DIALECT_CHAT, ROUTE_CHAT);
	chat_stream(broker);
	assert_int_equal(expect_end(ERR_OK), RETRY_NONE);
	durable(request, false);
	buf_init(&in, 65536);
	driver_read_until(fd, "event: message_stop", &in);
	assert_true(has(buf_span(&in), "HTTP/1.1 200"));
	assert_true(has(buf_span(&in), "text/event-stream"));
	assert_true(has(buf_span(&in), "\"model\":\"model-a\"") ||
		    has(buf_span(&in), "\"model\":\"up\""));
	assert_true(has(buf_span(&in), "Hello"));
	assert_false(has(buf_span(&in), "overloaded"));
	buf_fini(&in);
	close(broker);
	close(fd);
}

static void after_the_first_byte_no_attempt_follows(void **state)
{
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd, "POST /v1/messages", STREAMED);
	struct buf in;

	(void)state;
	broker = grant(request, 1, DIALECT_CHAT, ROUTE_CHAT);
	driver_head(broker, 200, "text/event-stream");
	driver_data(broker,
		    span_text("data: {\"id\":\"c1\",\"model\":\"up\","
			      "\"choices\":[{\"index\":0,\"delta\":{\"role\":"
			      "\"assistant\",\"content\":\"Hello\"}}]}\n\n"));
	buf_init(&in, 65536);
	driver_read_until(fd, "Hello", &in);
	driver_end(broker, ERR_UPSTREAM, "reset");
	assert_int_equal(expect_end(ERR_UPSTREAM), RETRY_NONE);
	durable(request, false);
	driver_read_until(fd, "event: error", &in);
	assert_false(has(buf_span(&in), "message_stop"));
	buf_fini(&in);
	close(broker);
	close(fd);
}

static void a_plain_body_answers_a_stream_as_one(void **state)
{
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd, "POST /v1/messages", STREAMED);
	struct buf in;

	(void)state;
	broker = grant(request, 1, DIALECT_ANTHROPIC, ROUTE_MESSAGES);
	driver_head(broker, 200, "application/json");
	driver_data(broker,
		    span_text("{\"id\":\"m1\",\"type\":\"message\",\"role\":"
			      "\"assistant\",\"model\":\"x\",\"content\":[{"
			      "\"type\":\"text\",\"text\":\"Hello\"}],"
			      "\"stop_reason\":\"end_turn\","
			      "\"stop_sequence\":null,\"usage\":{"
			      "\"input_tokens\":1,\"output_tokens\":2}}"));
	driver_end(broker, ERR_OK, "");
	assert_int_equal(expect_end(ERR_OK), RETRY_NONE);
	durable(request, false);
	buf_init(&in, 65536);
	driver_read_until(fd, "event: message_stop", &in);
	assert_true(has(buf_span(&in), "text/event-stream"));
	assert_true(has(buf_span(&in), "Hello"));
	buf_fini(&in);
	close(broker);
	close(fd);
}

#define CHAT_BODY                                                            \
	"{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\"," \
	"\"content\":\"hi\"}]}"

/* Its usage is asked for at once, and kept from who did not ask. */
static void a_chat_stream_has_its_usage_without_a_detour(void **state)
{
	int fd = driver_connect(&d), broker;
	struct received r;
	struct msg_infer_ask m;
	struct msg_infer_end end;
	struct buf in;
	uint64_t request;

	(void)state;
	send_request(fd, "POST /v1/chat/completions", "", CHAT_BODY);
	m = expect_ask(&r);
	request = m.request;
	assert_int_equal(m.asks_usage, USAGE_ADDED);
	assert_true(has(m.body_inline, "\"include_usage\":true"));
	received_fini(&r);
	broker = grant(request, 1, DIALECT_CHAT, ROUTE_CHAT);
	driver_head(broker, 200, "text/event-stream");
	driver_data(broker,
		    span_text(
			    "data: {\"id\":\"c1\",\"model\":\"up\","
			    "\"choices\":[{\"index\":0,\"delta\":{\"content\":"
			    "\"Hello\"},\"finish_reason\":\"stop\"}]}\n\n"
			    "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{"
			    "\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n"
			    "data: [DONE]\n\n"));
	driver_end(broker, ERR_OK, "");
	r = driver_expect(&d, MSG_INFER_END);
	assert_int_equal(msg_infer_end_get(buf_span(&r.payload), &end), ERR_OK);
	assert_int_equal(end.input_tokens, 3);
	assert_int_equal(end.output_tokens, 2);
	received_fini(&r);
	durable(request, false);
	buf_init(&in, 65536);
	driver_read_until(fd, "[DONE]", &in);
	assert_true(has(buf_span(&in), "Hello"));
	assert_false(has(buf_span(&in), "prompt_tokens"));
	buf_fini(&in);
	close(broker);
	close(fd);
}

/* A provider that refuses to be asked gets what the client sent. */
static void a_chat_stream_goes_without_usage_too(void **state)
{
	int fd = driver_connect(&d), other = driver_connect(&d);
	struct received r;
	struct msg_infer_ask m;

	(void)state;
	send_request(fd, "POST /v1/chat/completions", "", CHAT_BODY);
	m = expect_ask(&r);
	received_fini(&r);
	prepare(m.request, 1, DIALECT_CHAT, ROUTE_CHAT, "m");
	m = expect_ask(&r);
	assert_int_equal(m.prepared, 1);
	assert_int_equal(m.asks_usage, USAGE_NOT_ASKED);
	assert_true(span_is(m.body_inline, CHAT_BODY));
	received_fini(&r);
	/* The next one is not made in vain. */
	send_request(other, "POST /v1/chat/completions", "", CHAT_BODY);
	m = expect_ask(&r);
	assert_int_equal(m.asks_usage, USAGE_NOT_ASKED);
	assert_true(span_is(m.body_inline, CHAT_BODY));
	received_fini(&r);
	close(fd);
	close(other);
}

static void what_cannot_be_said_names_its_field(void **state)
{
	int fd = driver_connect(&d);
	uint64_t request =
		ask(fd, "POST /v1/messages",
		    "{\"model\":\"a\",\"max_tokens\":5,\"messages\":[{\"role\":"
		    "\"user\",\"content\":[{\"type\":\"image\",\"source\":{"
		    "\"type\":\"base64\",\"media_type\":\"image/png\","
		    "\"data\":\"AAAA\"},\"unheard_of\":1},{\"type\":"
		    "\"unheard\"}]}]}");
	struct msg_infer_unprepared m;
	struct msg_infer_deny deny = {.request = request,
				      .http_status = 400,
				      .type = span_text("invalid"),
				      .text = span_text("no such block")};
	struct received r;
	struct buf in;

	(void)state;
	prepare(request, 1, DIALECT_CHAT, ROUTE_CHAT, "up");
	r = driver_expect(&d, MSG_INFER_UNPREPARED);
	assert_int_equal(msg_infer_unprepared_get(buf_span(&r.payload), &m),
			 ERR_OK);
	assert_int_equal(m.request, request);
	assert_int_equal(m.attempt, 1);
	assert_true(has(m.text, "unheard") || has(m.text, "content"));
	received_fini(&r);
	assert_int_equal(chan_send_infer_deny(d.core, &deny, NULL, 0), ERR_OK);
	driver_turn(&d);
	buf_init(&in, 65536);
	driver_read_until(fd, "no such block", &in);
	assert_true(has(buf_span(&in), "HTTP/1.1 400"));
	assert_true(has(buf_span(&in), "invalid_request_error"));
	buf_fini(&in);
	close(fd);
}

static void each_path_has_its_dialect(void **state)
{
	static const struct {
		const char *line, *headers, *body;
		enum dialect dialect;
		enum route route;
		const char *model;
		uint8_t stream;
	} rows[] = {
		{"GET /v1/models", "", "", DIALECT_CHAT, ROUTE_MODELS, "", 0},
		{"GET /v1/models", "anthropic-version: 2023-06-01\r\n", "",
		 DIALECT_ANTHROPIC, ROUTE_MODELS, "", 0},
		{"POST /v1/chat/completions", "",
		 "{\"model\":\"g\",\"messages\":[{\"role\":\"user\","
		 "\"content\":\"x\"}]}",
		 DIALECT_CHAT, ROUTE_CHAT, "g", 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		int fd = driver_connect(&d);
		struct received r;
		struct msg_infer_ask m;

		send_request(fd, rows[i].line, rows[i].headers, rows[i].body);
		m = expect_ask(&r);
		assert_int_equal(m.dialect, rows[i].dialect);
		assert_int_equal(m.route, rows[i].route);
		assert_true(span_is(m.model, rows[i].model));
		assert_int_equal(m.stream, rows[i].stream);
		received_fini(&r);
		close(fd);
		r = driver_expect(&d, MSG_INFER_CANCEL);
		received_fini(&r);
	}
}

static void a_list_of_models_is_told_in_the_clients_words(void **state)
{
	int fd = driver_connect(&d), broker;
	uint64_t request = ask(fd, "GET /v1/models", "");
	struct buf in;

	(void)state;
	broker = grant(request, 1, DIALECT_ANTHROPIC, ROUTE_MODELS);
	driver_head(broker, 200, "application/json");
	driver_data(broker, span_text("{\"data\":[{\"type\":\"model\",\"id\":"
				      "\"claude-x\"}],\"has_more\":false}"));
	driver_end(broker, ERR_OK, "");
	assert_int_equal(expect_end(ERR_OK), RETRY_NONE);
	durable(request, false);
	buf_init(&in, 65536);
	driver_read_until(fd, "]}", &in);
	assert_true(has(buf_span(&in), "\"object\":\"list\""));
	assert_true(has(buf_span(&in), "\"id\":\"claude-x\",\"object\":"
				       "\"model\""));
	buf_fini(&in);
	close(broker);
	close(fd);
}

static void answer_models(uint64_t request, uint32_t omitted)
{
	struct msg_infer_models m = {.request = request, .omitted = omitted};
	struct buf names;

	buf_init(&names, 256);
	assert_int_equal(attrs_put_text(&names, "id", span_text("fast")),
			 ERR_OK);
	assert_int_equal(attrs_put_text(&names, "id", span_text("m-1")),
			 ERR_OK);
	m.names = buf_span(&names);
	assert_int_equal(chan_send_infer_models(d.core, &m, NULL, 0), ERR_OK);
	driver_turn(&d);
	buf_fini(&names);
}

static void a_list_of_models_may_come_from_core(void **state)
{
	static const struct {
		const char *headers, *want;
		uint32_t omitted;
	} rows[] = {
		{"", "\"object\":\"list\"", 0},
		{"anthropic-version: 2023-06-01\r\n",
		 "\"first_id\":\"fast\",\"last_id\":\"m-1\"", 3},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		int fd = driver_connect(&d);
		struct received r;
		struct buf in;

		send_request(fd, "GET /v1/models", rows[i].headers, "");
		answer_models(expect_ask(&r).request, rows[i].omitted);
		received_fini(&r);
		buf_init(&in, 65536);
		driver_read_until(fd, "}", &in);
		driver_read_until(fd, rows[i].omitted ? "_id\":\"m-1\"}" : "]}",
				  &in);
		assert_true(has(buf_span(&in), "HTTP/1.1 200"));
		assert_true(has(buf_span(&in), "\"id\":\"fast\""));
		assert_true(has(buf_span(&in), rows[i].want));
		assert_int_equal(has(buf_span(&in),
				     "x-kenaz-models-omitted: 3"),
				 rows[i].omitted != 0);
		buf_fini(&in);
		close(fd);
	}
}

/* Takes as long as the gate keeps silent: somewhat over ten seconds. */
static void a_waiting_client_hears_of_us_and_attempts_still_follow(void **state)
{
	int fd = driver_connect(&d), aws = driver_connect(&d), broker;
	uint64_t request = ask(fd, "POST /v1/messages", STREAMED);
	struct received r;
	struct buf in;

	(void)state;
	buf_init(&in, 65536);
	(void)ask(aws, "POST /model/m/converse-stream",
		  "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":"
		  "\"hi\"}]}]}");
	broker = grant(request, 1, DIALECT_ANTHROPIC, ROUTE_MESSAGES);
	driver_read_until(fd, "event: ping", &in);
	assert_true(has(buf_span(&in), "HTTP/1.1 200"));
	buf_reset(&in);
	driver_read_until(aws, ":event-type", &in);
	driver_read_until(aws, "ping", &in);
	assert_true(has(buf_span(&in), "vnd.amazon.eventstream"));
	close(aws);
	r = driver_expect(&d, MSG_INFER_CANCEL);
	received_fini(&r);
	buf_reset(&in);
	driver_end(broker, ERR_TIMEOUT, "silent");
	assert_int_equal(expect_end(ERR_TIMEOUT), RETRY_TIMEOUT);
	close(broker);
	durable(request, true);
	prepare(request, 2, DIALECT_ANTHROPIC, ROUTE_MESSAGES, "model-a");
	r = driver_expect(&d, MSG_INFER_ASK);
	received_fini(&r);
	broker = grant(request, 2, DIALECT_ANTHROPIC, ROUTE_MESSAGES);
	driver_head(broker, 500, "application/json");
	driver_data(broker, span_text("{\"type\":\"error\",\"error\":{\"type\":"
				      "\"api_error\",\"message\":\"mm\"}}"));
	driver_end(broker, ERR_OK, "");
	assert_int_equal(expect_end(ERR_UPSTREAM), RETRY_HTTP_5XX);
	durable(request, false);
	/* The status is gone: the error comes in the stream. */
	driver_read_until(fd, "event: error", &in);
	driver_read_until(fd, "answered 500", &in);
	assert_false(has(buf_span(&in), "message_stop"));
	buf_fini(&in);
	close(broker);
	close(fd);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(the_next_attempt_may_speak_another_dialect),
		TEST(after_the_first_byte_no_attempt_follows),
		TEST(a_plain_body_answers_a_stream_as_one),
		TEST(a_chat_stream_has_its_usage_without_a_detour),
		TEST(a_chat_stream_goes_without_usage_too),
		TEST(what_cannot_be_said_names_its_field),
		TEST(each_path_has_its_dialect),
		TEST(a_list_of_models_is_told_in_the_clients_words),
		TEST(a_list_of_models_may_come_from_core),
		TEST(a_waiting_client_hears_of_us_and_attempts_still_follow),
	};

	(void)argc;
	program = argv[0];
	if (digest_init() != ERR_OK || !driver_has_program(program))
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
