/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_gate_guest.c - hello, control stream, terminals and jail of the real
 * kenaz-gate
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "engine/base/text.h"
#include "engine/gate/control.h"
#include "engine/gate/guest_line.h"
#include "engine/gate/receipt.h"
#include "engine/proto/frame.h"
#include "tests/lib/gate_driver.h"

static const char *program;
static struct driver d;
static uint8_t nonce[GUEST_NONCE_BYTES], entropy[GUEST_ENTROPY_BYTES];

static int start(void **state)
{
	(void)state;
	memset(nonce, 7, sizeof(nonce));
	memset(entropy, 9, sizeof(entropy));
	driver_start(&d, program, 4);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	driver_stop(&d);
	return 0;
}

static void make_pair(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    pair),
			 0);
}

static bool has(const struct buf *b, const char *text)
{
	return b->len_bytes &&
	       memmem(b->data, b->len_bytes, text, strlen(text)) != NULL;
}

static void passes_the_announcement_on(void **state)
{
	static const char body[] =
		"{\"guestd\":\"0.1.0\",\"boot_id\":\"b\",\"uptime_ns\":77,"
		"\"kernel\":\"6.1\"}";
	char request[512];
	struct received r;
	struct msg_guest_announced m;
	struct buf in;
	int fd = driver_connect(&d);

	(void)state;
	(void)snprintf(request, sizeof(request),
		       "POST /kenaz/v1/announce HTTP/1.1\r\nHost: kenaz\r\n"
		       "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
		       strlen(body), body);
	driver_send(fd, request);
	buf_init(&in, 4096);
	driver_read_until(fd, NULL, &in);
	assert_true(has(&in, "HTTP/1.1 200"));
	r = driver_expect(&d, MSG_GUEST_ANNOUNCED);
	assert_int_equal(msg_guest_announced_get(buf_span(&r.payload), &m),
			 ERR_OK);
	assert_true(span_is(m.guestd_version, "0.1.0"));
	assert_true(span_is(m.kernel, "6.1"));
	assert_int_equal(m.uptime_ns, 77);
	received_fini(&r);
	buf_fini(&in);
	close(fd);
}

/* Begins the hello; gives the guest's end and the line it got. */
static int greet(struct buf *line)
{
	struct msg_guest_hello_begin m = {
		.nonce = span_of(nonce, sizeof(nonce)),
		.entropy = span_of(entropy, sizeof(entropy)),
		.hostname = span_text("kenaz-1"),
		.environment = span_text("{\"A\":\"b\"}")};
	int pair[2];

	make_pair(pair);
	assert_int_equal(chan_send_guest_hello_begin(d.core, &m, &pair[1], 1),
			 ERR_OK);
	driver_turn(&d);
	driver_read_until(pair[0], "\n", line);
	return pair[0];
}

static uint64_t number_after(const struct buf *line, const char *key)
{
	const uint8_t *at =
		memmem(line->data, line->len_bytes, key, strlen(key));

	assert_non_null(at);
	return strtoull((const char *)at + strlen(key), NULL, 10);
}

static void answer(int fd, const struct buf *line, bool right)
{
	uint8_t receipt[DIGEST_BYTES];
	char nonce_hex[65], receipt_hex[65], text[512];

	receipt_make(span_of(nonce, sizeof(nonce)),
		     span_of(entropy, sizeof(entropy)),
		     number_after(line, "\"wall_us\":"), receipt);
	if (!right)
		receipt[3] ^= 1;
	text_hex(nonce, sizeof(nonce), nonce_hex);
	text_hex(receipt, sizeof(receipt), receipt_hex);
	(void)snprintf(text, sizeof(text),
		       "{\"v\":1,\"nonce\":\"%s\",\"guestd\":\"0.1\","
		       "\"kernel\":\"6.1\",\"receipt\":\"%s\"}\n",
		       nonce_hex, receipt_hex);
	driver_send(fd, text);
}

static enum err expect_ready(void)
{
	struct received r = driver_expect(&d, MSG_GUEST_READY);
	struct msg_guest_ready m;

	assert_int_equal(msg_guest_ready_get(buf_span(&r.payload), &m), ERR_OK);
	if (m.error == ERR_OK)
		assert_true(span_is(m.guestd_version, "0.1"));
	else
		assert_true(m.text.len_bytes > 0);
	received_fini(&r);
	return err_from_wire(m.error);
}

static void checks_the_receipt(void **state)
{
	struct received lost;
	struct buf line;
	int fd;

	(void)state;
	buf_init(&line, 65536);
	fd = greet(&line);
	assert_true(has(&line, "{\"op\":\"hello\",\"v\":1,\"nonce\":\"0707"));
	assert_true(has(&line, "\"hostname\":\"kenaz-1\""));
	assert_true(has(&line, "\"env\":{\"A\":\"b\"}"));
	answer(fd, &line, false);
	assert_int_equal(expect_ready(), ERR_INTEGRITY);
	assert_true(driver_at_end(fd));
	close(fd);
	buf_reset(&line);
	fd = greet(&line);
	answer(fd, &line, true);
	assert_int_equal(expect_ready(), ERR_OK);
	close(fd);
	lost = driver_expect(&d, MSG_GUEST_LOST);
	received_fini(&lost);
	buf_fini(&line);
}

static void a_guest_that_answers_nonsense_is_not_ready(void **state)
{
	static const char *const bad[] = {"hello\n", "{}\n", "[1]\n",
					  "{\"v\":1,\"v\":1}\n", NULL};
	struct buf line;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd;

		buf_init(&line, 65536);
		fd = greet(&line);
		if (bad[i])
			driver_send(fd, bad[i]);
		else
			close(fd);
		assert_int_not_equal(expect_ready(), ERR_OK);
		if (bad[i])
			close(fd);
		buf_fini(&line);
	}
}

static void relays_orders_and_events(void **state)
{
	struct msg_guest_control m = {
		.line = span_text("{\"op\":\"start\",\"name\":\"main\"}")};
	struct received r;
	struct msg_guest_event ev;
	struct buf line;
	int fd;

	(void)state;
	buf_init(&line, 65536);
	fd = greet(&line);
	answer(fd, &line, true);
	assert_int_equal(expect_ready(), ERR_OK);
	assert_int_equal(chan_send_guest_control(d.core, &m, NULL, 0), ERR_OK);
	driver_turn(&d);
	buf_reset(&line);
	driver_read_until(fd, "\n", &line);
	assert_true(span_is(buf_span(&line),
			    "{\"op\":\"start\",\"name\":\"main\"}\n"));
	/* Two lines in three pieces. */
	driver_send(fd, "{\"event\":\"started\",\"na");
	driver_send(fd, "me\":\"main\"}\n{\"event\":\"exited\",\"name\":");
	driver_send(fd, "\"main\",\"code\":9,\"signalled\":true}\n");
	r = driver_expect(&d, MSG_GUEST_EVENT);
	assert_int_equal(msg_guest_event_get(buf_span(&r.payload), &ev),
			 ERR_OK);
	assert_true(span_is(ev.event, "started"));
	received_fini(&r);
	r = driver_expect(&d, MSG_GUEST_EVENT);
	assert_int_equal(msg_guest_event_get(buf_span(&r.payload), &ev),
			 ERR_OK);
	assert_true(span_is(ev.event, "exited"));
	assert_true(span_is(ev.name, "main"));
	assert_int_equal(ev.code, 9);
	assert_int_equal(ev.signalled, 1);
	received_fini(&r);
	driver_send(fd, "{\"event\":\"EXITED\"}\n");
	r = driver_expect(&d, MSG_GUEST_LOST);
	received_fini(&r);
	assert_true(driver_at_end(fd));
	buf_fini(&line);
	close(fd);
}

static void a_flood_of_events_ends_the_stream(void **state)
{
	struct received r;
	struct buf line;
	int fd, i;

	(void)state;
	buf_init(&line, 65536);
	fd = greet(&line);
	answer(fd, &line, true);
	assert_int_equal(expect_ready(), ERR_OK);
	for (i = 0; i < 200; i++)
		(void)!send(fd, "{\"event\":\"x\",\"name\":\"y\"}\n", 25,
			    MSG_NOSIGNAL);
	for (i = 0; i < (int)CONTROL_EVENTS_PER_SECOND; i++) {
		r = driver_expect(&d, MSG_GUEST_EVENT);
		received_fini(&r);
	}
	r = driver_expect(&d, MSG_GUEST_LOST);
	received_fini(&r);
	buf_fini(&line);
	close(fd);
}

/* --- terminals ---------------------------------------------------------- */

struct joined {
	int client, guest;
};

static struct joined attach(bool read_only)
{
	struct msg_term_attach m = {.terminal = 5,
				    .line = span_text("{\"op\":\"exec\"}"),
				    .read_only = read_only};
	int client[2], guest[2], fds[2];
	struct buf line;

	make_pair(client);
	make_pair(guest);
	fds[0] = client[1];
	fds[1] = guest[1];
	assert_int_equal(chan_send_term_attach(d.core, &m, fds, 2), ERR_OK);
	driver_turn(&d);
	buf_init(&line, 4096);
	driver_read_until(guest[0], "\n", &line);
	assert_true(span_is(buf_span(&line), "{\"op\":\"exec\"}\n"));
	buf_fini(&line);
	return (struct joined){client[0], guest[0]};
}

static void send_frame(int fd, enum frame_type type, uint8_t stream,
		       const char *text)
{
	struct buf b;

	buf_init(&b, 65536);
	assert_int_equal(frame_put(&b, type, stream, span_text(text)), ERR_OK);
	driver_send_span(fd, buf_span(&b));
	buf_fini(&b);
}

/* The next frame as "type/stream/data". */
static void expect_frame(int fd, enum frame_type type, uint8_t stream,
			 const char *text)
{
	uint8_t bytes[FRAME_HEAD_BYTES + 4096];
	size_t got = 0, taken;
	struct frame f;
	enum err e = ERR_AGAIN;

	while (e == ERR_AGAIN) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&p, 1, 20000), 1);
		n = read(fd, bytes + got, 1);
		if (n != 1)
			fail_msg("the end came instead of a frame");
		got++;
		e = frame_get(span_of(bytes, got), &f, &taken);
	}
	assert_int_equal(e, ERR_OK);
	assert_int_equal(f.type, type);
	assert_int_equal(f.stream, stream);
	if (text && !span_is(f.data, text))
		fail_msg("%.*s", (int)f.data.len_bytes,
			 (const char *)f.data.data);
}

static struct msg_term_closed expect_closed(void)
{
	static struct received r = {.fd = -1};
	struct msg_term_closed m;

	received_fini(&r);
	r = driver_expect(&d, MSG_TERM_CLOSED);
	assert_int_equal(msg_term_closed_get(buf_span(&r.payload), &m), ERR_OK);
	assert_int_equal(m.terminal, 5);
	return m;
}

static void relays_frames_both_ways(void **state)
{
	struct joined j = attach(false);
	struct msg_term_closed m;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	send_frame(j.client, FRAME_DATA, 0, "input");
	expect_frame(j.guest, FRAME_DATA, 0, "input");
	assert_int_equal(frame_put_resize(&b, 24, 80), ERR_OK);
	driver_send_span(j.client, buf_span(&b));
	expect_frame(j.guest, FRAME_RESIZE, 0, NULL);
	send_frame(j.client, FRAME_EOF, 0, "");
	expect_frame(j.guest, FRAME_EOF, 0, "");
	send_frame(j.guest, FRAME_DATA, 1, "out");
	send_frame(j.guest, FRAME_DATA, 2, "errors");
	expect_frame(j.client, FRAME_DATA, 1, "out");
	expect_frame(j.client, FRAME_DATA, 2, "errors");
	buf_reset(&b);
	assert_int_equal(frame_put_exit(&b, 3, 0), ERR_OK);
	driver_send_span(j.guest, buf_span(&b));
	expect_frame(j.client, FRAME_EXIT, 0, NULL);
	m = expect_closed();
	assert_int_equal(m.error, ERR_OK);
	assert_int_equal(m.has_code, 1);
	assert_int_equal(m.code, 3);
	assert_int_equal(m.bytes_to_guest, 5);
	assert_int_equal(m.bytes_from_guest, 9);
	assert_true(driver_at_end(j.client));
	assert_true(driver_at_end(j.guest));
	buf_fini(&b);
	close(j.client);
	close(j.guest);
}

static void a_guest_that_breaks_the_rules_becomes_an_error(void **state)
{
	static const uint8_t bad[][12] = {
		{9, 0, 0, 0, 0, 0, 0, 0},          /* unknown type */
		{1, 0, 0, 0, 1, 0, 0, 0, 'x'},     /* the client's stream */
		{3, 0, 0, 0, 4, 0, 0, 0, 1, 0, 1}, /* RESIZE from the guest */
		{4, 0, 0, 0, 1, 0, 0, 0, 9},       /* SIGNAL from the guest */
		{1, 1, 0, 0, 1, 64, 0, 0},         /* too large */
		{1, 1, 1, 0, 1, 0, 0, 0, 'x'},     /* reserved bits */
		{1, 3, 0, 0, 1, 0, 0, 0, 'x'},     /* no such stream */
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct joined j = attach(false);
		struct msg_term_closed m;

		driver_send_span(j.guest, span_of(bad[i], sizeof(bad[i])));
		expect_frame(j.client, FRAME_ERROR, 0,
			     "the guest sent a malformed frame");
		m = expect_closed();
		assert_int_equal(m.error, ERR_FORMAT);
		assert_int_equal(m.has_code, 0);
		assert_true(driver_at_end(j.client));
		close(j.client);
		close(j.guest);
	}
}

static void a_guest_without_an_exit_code_is_an_error(void **state)
{
	struct joined j = attach(false);

	(void)state;
	send_frame(j.guest, FRAME_DATA, 1, "last words");
	close(j.guest);
	expect_frame(j.client, FRAME_DATA, 1, "last words");
	expect_frame(j.client, FRAME_ERROR, 0,
		     "the guest closed the stream without an exit code");
	assert_int_equal(expect_closed().error, ERR_CLOSED);
	close(j.client);
}

static void guest_errors_are_escaped(void **state)
{
	struct joined j = attach(false);

	(void)state;
	send_frame(j.guest, FRAME_ERROR, 0, "no such \x1b[2Jfile");
	expect_frame(j.client, FRAME_ERROR, 0, "no such \\x1b[2Jfile");
	assert_int_equal(expect_closed().error, ERR_UPSTREAM);
	close(j.client);
	close(j.guest);
}

static void a_client_that_hangs_up_closes_the_guest_stream(void **state)
{
	struct joined j = attach(false);

	(void)state;
	close(j.client);
	assert_int_equal(expect_closed().error, ERR_CLOSED);
	assert_true(driver_at_end(j.guest));
	close(j.guest);
}

static void read_only_drops_the_input(void **state)
{
	struct joined j = attach(true);
	struct msg_term_closed m;

	(void)state;
	send_frame(j.client, FRAME_DATA, 0, "rm -rf");
	send_frame(j.client, FRAME_EOF, 0, "");
	send_frame(j.guest, FRAME_DATA, 1, "screen");
	expect_frame(j.client, FRAME_DATA, 1, "screen");
	close(j.client);
	m = expect_closed();
	assert_int_equal(m.bytes_to_guest, 0);
	assert_int_equal(m.bytes_from_guest, 6);
	assert_true(driver_at_end(j.guest));
	close(j.guest);
}

/* Takes what is there; how much could be sent before it blocked. */
static size_t send_until_full(int fd)
{
	static uint8_t block[FRAME_DATA_MAX_BYTES];
	struct buf b;
	size_t sent = 0, at = 0;
	unsigned idle = 0;

	buf_init(&b, 65536);
	assert_int_equal(frame_put(&b, FRAME_DATA, 1,
				   span_of(block, sizeof(block))),
			 ERR_OK);
	while (idle < 300 && sent < (64u << 20)) {
		ssize_t n = send(fd, b.data + at, b.len_bytes - at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
			at = (at + (size_t)n) % b.len_bytes;
			idle = 0;
		} else {
			idle++;
			(void)poll(NULL, 0, 1);
		}
	}
	buf_fini(&b);
	return sent;
}

static void a_client_that_does_not_read_stops_the_guest(void **state)
{
	struct joined j = attach(false);
	size_t sent = send_until_full(j.guest);

	(void)state;
	if (sent > (4u << 20))
		fail_msg("the gate took %zu bytes", sent);
	close(j.client);
	assert_int_equal(expect_closed().error, ERR_CLOSED);
	close(j.guest);
}

/* --- jail --------------------------------------------------------------- */

static void status_line(const char *name, char *value, size_t cap)
{
	char path[64], line[256];
	size_t len = strlen(name);
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)d.pid);
	value[0] = '\0';
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, name, len) == 0 && line[len] == ':')
			(void)snprintf(value, cap, "%.40s",
				       line + len + 1 +
					       strspn(line + len + 1, " \t"));
	fclose(f);
	value[strcspn(value, "\n")] = '\0';
}

static void is_jailed(void **state)
{
	char value[64], path[64];
	struct stat own, its;
	struct buf in;
	int fd = driver_connect(&d);

	(void)state;
	/* It answers, so it has entered its jail. */
	buf_init(&in, 4096);
	driver_send(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	driver_read_until(fd, "kenaz", &in);
	status_line("NoNewPrivs", value, sizeof(value));
	assert_string_equal(value, "1");
	status_line("Seccomp", value, sizeof(value));
	assert_string_equal(value, "2");
	status_line("CapEff", value, sizeof(value));
	assert_string_equal(value, "0000000000000000");
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)d.pid);
	if (stat(path, &its) == 0 && stat("/proc/self/ns/net", &own) == 0)
		assert_int_not_equal(its.st_ino, own.st_ino);
	buf_fini(&in);
	close(fd);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(passes_the_announcement_on),
		TEST(checks_the_receipt),
		TEST(a_guest_that_answers_nonsense_is_not_ready),
		TEST(relays_orders_and_events),
		TEST(a_flood_of_events_ends_the_stream),
		TEST(relays_frames_both_ways),
		TEST(a_guest_that_breaks_the_rules_becomes_an_error),
		TEST(a_guest_without_an_exit_code_is_an_error),
		TEST(guest_errors_are_escaped),
		TEST(a_client_that_hangs_up_closes_the_guest_stream),
		TEST(read_only_drops_the_input),
		TEST(a_client_that_does_not_read_stops_the_guest),
		TEST(is_jailed),
	};

	(void)argc;
	program = argv[0];
	if (digest_init() != ERR_OK || !driver_has_program(program))
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
