/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_attack_gate.c - hostile providers and guests against the real gate
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "tests/lib/gate_driver.h"

#define CHUNK(c)                                                           \
	"data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0," c \
	"}]" /* usage may follow */
#define STREAM_BODY                                         \
	"{\"model\":\"m\",\"stream\":true,\"messages\":[]," \
	"\"stream_options\":{\"include_usage\":true}}"
#define WHOLE                                  \
	CHUNK("\"delta\":{\"content\":\"a\"}") \
	"}\n\n" CHUNK("\"delta\":{},\"finish_reason\":\"stop\"") "}\n\n"

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

static bool has(const struct buf *b, const char *text)
{
	return b->len_bytes &&
	       memmem(b->data, b->len_bytes, text, strlen(text)) != NULL;
}

static uint64_t ask(int fd, const char *body)
{
	struct msg_infer_ask m;
	struct received r;
	uint64_t request;
	struct buf b;

	buf_init(&b, 65536);
	assert_int_equal(buf_printf(&b,
				    "POST /v1/chat/completions HTTP/1.1\r\n"
				    "Host: x\r\nContent-Length: %zu\r\n\r\n%s",
				    strlen(body), body),
			 ERR_OK);
	driver_send_span(fd, buf_span(&b));
	buf_fini(&b);
	r = driver_expect(&d, MSG_INFER_ASK);
	assert_int_equal(msg_infer_ask_get(buf_span(&r.payload), &m), ERR_OK);
	assert_int_equal(m.dialect, DIALECT_CHAT);
	request = m.request;
	received_fini(&r);
	return request;
}

/* As driver_grant(), for the chat dialect on the wire. */
static int grant(uint64_t request)
{
	struct msg_infer_grant m = {.request = request,
				    .grant = 78,
				    .attempt = 1,
				    .dialect = DIALECT_CHAT,
				    .route = ROUTE_CHAT};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    pair),
			 0);
	assert_int_equal(chan_send_infer_grant(d.core, &m, &pair[1], 1),
			 ERR_OK);
	driver_turn(&d);
	return pair[0];
}

/* A whole answer, to its last byte at the guest. */
static struct msg_infer_end answer(int fd, int broker, uint64_t request,
				   const char *type, const char *text,
				   struct buf *in)
{
	static struct received r = {.fd = -1};
	struct msg_infer_end m;

	driver_head(broker, 200, type);
	driver_data(broker, span_text(text));
	driver_end(broker, ERR_OK, "");
	received_fini(&r);
	r = driver_expect(&d, MSG_INFER_END);
	assert_int_equal(msg_infer_end_get(buf_span(&r.payload), &m), ERR_OK);
	driver_durable(&d, request, ERR_OK);
	driver_read_until(fd, "0\r\n\r\n", in);
	return m;
}

/* In UTF-7 "+AAo-" is a line end, whatever was judged. */
static void only_utf8_is_claimed(void **state)
{
	static const struct {
		const char *type, *expected;
	} rows[] = {
		{"text/event-stream; charset=utf-7", "text/event-stream\r\n"},
		{"text/event-stream;charset=UTF-16LE", "text/event-stream\r\n"},
		{"text/event-stream; charset=utf-8; charset=utf-7",
		 "text/event-stream\r\n"},
		{"text/event-stream; charset=utf-8",
		 "text/event-stream; charset=utf-8\r\n"},
		{"text/event-stream", "text/event-stream\r\n"},
	};
	struct buf in;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		int fd = driver_connect(&d);
		uint64_t request = ask(fd, STREAM_BODY);
		int broker = grant(request);

		buf_init(&in, 65536);
		(void)answer(fd, broker, request, rows[i].type, WHOLE, &in);
		if (!has(&in, rows[i].expected) || has(&in, "utf-7"))
			fail_msg("%s: %.*s", rows[i].type, (int)in.len_bytes,
				 (const char *)in.data);
		buf_fini(&in);
		close(broker);
		close(fd);
	}
}

/* Counts that no sum survives are unknown, and neither small nor wrapped. */
static void forged_usage_is_unknown(void **state)
{
	static const char *const usages[] = {
		"{\"prompt_tokens\":-1,\"completion_tokens\":-5}",
		"{\"prompt_tokens\":1e308,\"completion_tokens\":1}",
		"{\"prompt_tokens\":18446744073709551616,"
		"\"completion_tokens\":18446744073709551615}",
		"{\"prompt_tokens\":0,\"completion_tokens\":0}",
		"{\"prompt_tokens\":\"1\",\"completion_tokens\":[1]}",
		"{\"cost\":-1}",
		"{\"cost\":1e308}",
		"{\"cost\":1e-400}",
		"\"none\"",
	};
	char text[1024];
	struct buf in;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(usages); i++) {
		int fd = driver_connect(&d);
		uint64_t request = ask(fd, STREAM_BODY);
		int broker = grant(request);
		struct msg_infer_end end;

		buf_init(&in, 65536);
		(void)snprintf(text, sizeof(text),
			       WHOLE "data: {\"choices\":[],\"usage\":%s}\n\n",
			       usages[i]);
		end = answer(fd, broker, request, "text/event-stream", text,
			     &in);
		if (end.usage_known || end.cost_known)
			fail_msg("%s is taken for usage", usages[i]);
		assert_int_equal(end.error, ERR_OK);
		buf_fini(&in);
		close(broker);
		close(fd);
	}
}

/* Comments without end cost time, and no memory and no other's turn. */
static void a_flood_of_tiny_events_holds_nobody_up(void **state)
{
	int fd = driver_connect(&d), other = driver_connect(&d);
	uint64_t request = ask(fd, STREAM_BODY), second;
	int broker = grant(request), second_broker;
	struct buf flood, in;
	unsigned i;

	(void)state;
	buf_init(&flood, 1u << 20);
	buf_init(&in, 16u << 20);
	for (i = 0; i < 20000; i++)
		assert_int_equal(buf_put_text(&flood, ":\n\n"), ERR_OK);
	driver_head(broker, 200, "text/event-stream");
	driver_data(broker, buf_span(&flood));
	second = ask(other, STREAM_BODY);
	second_broker = grant(second);
	(void)answer(other, second_broker, second, "text/event-stream", WHOLE,
		     &in);
	assert_true(has(&in, "\"content\":\"a\""));
	buf_reset(&in);
	driver_data(broker, span_text(WHOLE));
	driver_end(broker, ERR_OK, "");
	{
		struct received r = driver_expect(&d, MSG_INFER_END);

		received_fini(&r);
	}
	driver_durable(&d, request, ERR_OK);
	driver_read_until(fd, "0\r\n\r\n", &in);
	assert_true(has(&in, "[DONE]"));
	buf_fini(&flood);
	buf_fini(&in);
	close(broker);
	close(second_broker);
	close(fd);
	close(other);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_utf8_is_claimed, start,
						stop),
		cmocka_unit_test_setup_teardown(forged_usage_is_unknown, start,
						stop),
		cmocka_unit_test_setup_teardown(
			a_flood_of_tiny_events_holds_nobody_up, start, stop),
	};

	(void)argc;
	program = argv[0];
	if (digest_init() != ERR_OK || !driver_has_program(program))
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
