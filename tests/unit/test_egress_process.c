/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_egress_process.c - the real kenaz-egress between a test that plays
 * core and guest, and a listener on loopback that plays the destination
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/rig.h"

#define BULK_BYTES (4u * 1024 * 1024)

struct rig {
	uv_loop_t loop;
	pid_t pid;
	struct chan *core;
	int listen_fd;
	uint16_t port;
	uint64_t next;

	unsigned asks, resolved, closed;
	char host[HOST_MAX_BYTES + 1];
	uint16_t asked_port;
	char address[65];
	struct msg_egress_closed outcome;
	char text[REASON_MAX_BYTES + 1];

	int guest;
	char line[600];
	size_t line_bytes;
	int wait_fd;
};

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *m)
{
	struct rig *r = context;
	struct msg_egress_ask ask;
	struct msg_egress_resolved resolved;

	(void)c;
	if (m->type == MSG_EGRESS_ASK) {
		assert_int_equal(msg_egress_ask_get(m->payload, &ask), ERR_OK);
		assert_int_equal(span_copy_text(ask.host, r->host,
						sizeof(r->host)),
				 ERR_OK);
		r->asked_port = ask.port;
		r->asks++;
	}
	if (m->type == MSG_EGRESS_RESOLVED) {
		assert_int_equal(msg_egress_resolved_get(m->payload, &resolved),
				 ERR_OK);
		assert_int_equal(span_copy_text(resolved.address, r->address,
						sizeof(r->address)),
				 ERR_OK);
		r->resolved++;
	}
	if (m->type == MSG_EGRESS_CLOSED) {
		assert_int_equal(msg_egress_closed_get(m->payload, &r->outcome),
				 ERR_OK);
		assert_int_equal(span_copy_text(r->outcome.text, r->text,
						sizeof(r->text)),
				 ERR_OK);
		r->closed++;
	}
	return ERR_OK;
}

static void on_closed(struct chan *c, void *context, enum err reason)
{
	(void)c;
	(void)context;
	(void)reason;
}

static bool was_asked(void *context)
{
	return ((struct rig *)context)->asks > 0;
}

static bool was_resolved(void *context)
{
	return ((struct rig *)context)->resolved > 0;
}

static bool was_closed(void *context)
{
	return ((struct rig *)context)->closed > 0;
}

static bool has_line(void *context)
{
	struct rig *r = context;

	while (r->line_bytes == 0 || r->line[r->line_bytes - 1] != '\n') {
		ssize_t n = recv(r->guest, r->line + r->line_bytes, 1,
				 MSG_DONTWAIT);

		if (n <= 0)
			return false;
		r->line_bytes++;
	}
	r->line[r->line_bytes] = '\0';
	return true;
}

static bool is_readable(void *context)
{
	struct rig *r = context;
	char byte;

	return recv(r->wait_fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0;
}

static void listen_somewhere(struct rig *r)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	r->listen_fd =
		socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(r->listen_fd >= 0);
	assert_int_equal(bind(r->listen_fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(r->listen_fd, 16), 0);
	assert_int_equal(getsockname(r->listen_fd, (struct sockaddr *)&in,
				     &len),
			 0);
	r->port = ntohs(in.sin_port);
}

static struct rig *new_rig(uint32_t tunnels_max, uint64_t idle_ns)
{
	static const struct chan_handler handler = {on_message, on_closed};
	struct msg_egress_start start = {.session = span_text("abcdefghijkl"),
					 .tunnels_max = tunnels_max,
					 .idle_timeout_ns = idle_ns};
	struct rig *r = calloc(1, sizeof(*r));
	char path[4096];
	int fds[2];

	assert_non_null(r);
	if (rig_program_path("kenaz-egress", path, sizeof(path)) != 0) {
		print_message("kenaz-egress is not built\n");
		free(r);
		skip();
	}
	r->guest = -1;
	assert_int_equal(uv_loop_init(&r->loop), 0);
	assert_int_equal(chan_pair(fds), ERR_OK);
	r->pid = rig_spawn(path, NULL, &fds[1], 1);
	close(fds[1]);
	assert_int_equal(chan_new(&r->loop, fds[0], ROLE_CORE, ROLE_EGRESS,
				  &handler, r, &r->core),
			 ERR_OK);
	assert_int_equal(chan_send_egress_start(r->core, &start, NULL, 0),
			 ERR_OK);
	chan_set_state(r->core, S_ANY);
	listen_somewhere(r);
	return r;
}

static void free_rig(struct rig *r)
{
	chan_free(r->core);
	rig_kill(r->pid);
	close(r->listen_fd);
	if (r->guest >= 0)
		close(r->guest);
	while (uv_run(&r->loop, UV_RUN_DEFAULT))
		;
	assert_int_equal(uv_loop_close(&r->loop), 0);
	free(r);
}

/* A guest connects and says this; returns the tunnel's number. */
static uint64_t open_stream(struct rig *r, const char *text)
{
	struct msg_egress_stream m = {.tunnel = ++r->next};
	int fds[2];

	r->asks = r->resolved = r->closed = 0;
	r->line_bytes = 0;
	if (r->guest >= 0)
		close(r->guest);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    fds),
			 0);
	r->guest = fds[0];
	assert_int_equal(chan_send_egress_stream(r->core, &m, &fds[1], 1),
			 ERR_OK);
	assert_int_equal(write(r->guest, text, strlen(text)),
			 (ssize_t)strlen(text));
	return m.tunnel;
}

static void verdict(struct rig *r, uint64_t tunnel, bool allow, bool private)
{
	struct msg_egress_verdict m = {.tunnel = tunnel,
				       .allow = allow,
				       .allow_private = private,
				       .rule = span_text("rule-7"),
				       .text = span_text("because")};

	assert_true(rig_wait(&r->loop, was_asked, r));
	assert_int_equal(chan_send_egress_verdict(r->core, &m, NULL, 0),
			 ERR_OK);
}

static void durable(struct rig *r, uint64_t tunnel, bool allow)
{
	struct msg_egress_connect m = {.tunnel = tunnel,
				       .allow = allow,
				       .text = span_text("the log is full")};

	assert_true(rig_wait(&r->loop, was_resolved, r));
	assert_int_equal(chan_send_egress_connect(r->core, &m, NULL, 0),
			 ERR_OK);
}

static bool connected(struct rig *r)
{
	int fd = accept4(r->listen_fd, NULL, NULL, SOCK_NONBLOCK);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void expect_line(struct rig *r, const char *text)
{
	assert_true(rig_wait(&r->loop, has_line, r));
	assert_string_equal(r->line, text);
}

static uint64_t go(struct rig *r, int *ret_remote)
{
	char line[64];
	uint64_t tunnel;

	(void)snprintf(line, sizeof(line), "127.0.0.1 %u\nearly",
		       (unsigned)r->port);
	tunnel = open_stream(r, line);
	verdict(r, tunnel, true, true);
	durable(r, tunnel, true);
	expect_line(r, "ok\n");
	*ret_remote = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*ret_remote >= 0);
	return tunnel;
}

/* --- tests ---------------------------------------------------------- */

static void test_allowed(void **state)
{
	struct rig *r = new_rig(4, 0);
	char got[64];
	int remote;

	(void)state;
	(void)go(r, &remote);
	assert_string_equal(r->host, "127.0.0.1");
	assert_int_equal(r->asked_port, r->port);
	assert_string_equal(r->address, "127.0.0.1");
	/* what followed the line was not lost */
	assert_int_equal(recv(remote, got, 5, MSG_WAITALL), 5);
	assert_memory_equal(got, "early", 5);
	assert_int_equal(write(remote, "hello", 5), 5);
	assert_int_equal(recv(r->guest, got, 5, MSG_WAITALL), 5);
	assert_memory_equal(got, "hello", 5);
	/* each direction ends by itself */
	assert_int_equal(shutdown(r->guest, SHUT_WR), 0);
	assert_int_equal(recv(remote, got, 5, MSG_WAITALL), 0);
	assert_int_equal(write(remote, "after", 5), 5);
	assert_int_equal(recv(r->guest, got, 5, MSG_WAITALL), 5);
	assert_memory_equal(got, "after", 5);
	close(remote);
	assert_true(rig_wait(&r->loop, was_closed, r));
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_int_equal(r->outcome.bytes_up, 5);
	assert_int_equal(r->outcome.bytes_down, 10);
	free_rig(r);
}

static void test_denied(void **state)
{
	struct rig *r = new_rig(4, 0);
	uint64_t tunnel;

	(void)state;
	/* this name would not resolve: it is never tried */
	tunnel = open_stream(r, "denied.invalid 80\n");
	verdict(r, tunnel, false, false);
	expect_line(r, "denied rule-7\n");
	assert_true(rig_wait(&r->loop, was_closed, r));
	assert_int_equal(r->outcome.error, ERR_DENIED);
	assert_string_equal(r->text, "because");
	assert_int_equal(r->resolved, 0);
	free_rig(r);
}

static void test_private_addresses(void **state)
{
	static const char *const lines[] = {
		"127.0.0.1 %u\n",        "10.1.2.3 %u\n",
		"169.254.169.254 %u\n",  "[::1] %u\n",
		"::ffff:127.0.0.1 %u\n", "fd00:ec2::254 %u\n",
		"0.0.0.0 %u\n",          "localhost %u\n",
	};
	struct rig *r = new_rig(4, 0);
	char line[64];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		uint64_t tunnel;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		(void)snprintf(line, sizeof(line), lines[i], r->port);
#pragma GCC diagnostic pop
		tunnel = open_stream(r, line);
		verdict(r, tunnel, true, false);
		assert_true(rig_wait(&r->loop, was_closed, r));
		assert_int_equal(r->outcome.error, ERR_DENIED);
		assert_int_equal(r->resolved, 0);
		assert_true(has_line(r));
		assert_memory_equal(r->line, "failed ", 7);
		assert_non_null(strstr(r->line, "only public"));
	}
	/* metadata stays refused where private is allowed */
	verdict(r, open_stream(r, "169.254.169.254 80\n"), true, true);
	assert_true(rig_wait(&r->loop, was_closed, r));
	assert_int_equal(r->outcome.error, ERR_DENIED);
	assert_int_equal(connected(r), false);
	free_rig(r);
}

static void test_bad_lines(void **state)
{
	static const char *const lines[] = {"\n", "GET / HTTP/1.1\r\n",
					    "a..b 80\n", "a 0\n",
					    "0x7f.1 80\n"};
	struct rig *r = new_rig(4, 0);
	char big[400];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		(void)open_stream(r, lines[i]);
		assert_true(rig_wait(&r->loop, was_closed, r));
		assert_int_equal(r->asks, 0);
		assert_true(has_line(r));
		assert_memory_equal(r->line, "failed ", 7);
	}
	memset(big, 'a', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	(void)open_stream(r, big);
	assert_true(rig_wait(&r->loop, was_closed, r));
	assert_int_equal(r->outcome.error, ERR_LIMIT);
	free_rig(r);
}

static void test_not_durable(void **state)
{
	struct rig *r = new_rig(4, 0);
	char line[64];
	uint64_t tunnel;

	(void)state;
	(void)snprintf(line, sizeof(line), "127.0.0.1 %u\n", (unsigned)r->port);
	tunnel = open_stream(r, line);
	verdict(r, tunnel, true, true);
	assert_true(rig_wait(&r->loop, was_resolved, r));
	durable(r, tunnel, false);
	expect_line(r, "failed the log is full\n");
	assert_true(rig_wait(&r->loop, was_closed, r));
	assert_false(connected(r));
	free_rig(r);
}

static void test_unreachable(void **state)
{
	struct rig *r = new_rig(4, 0);
	char line[64];
	uint64_t tunnel;

	(void)state;
	tunnel = open_stream(r, "does-not-exist.invalid 80\n");
	verdict(r, tunnel, true, false);
	assert_true(rig_wait(&r->loop, was_closed, r));
	assert_int_equal(r->outcome.error, ERR_NOT_FOUND);
	(void)snprintf(line, sizeof(line), "127.0.0.1 %u\n", (unsigned)r->port);
	close(r->listen_fd);
	tunnel = open_stream(r, line);
	verdict(r, tunnel, true, true);
	durable(r, tunnel, true);
	assert_true(rig_wait(&r->loop, was_closed, r));
	assert_int_equal(r->outcome.error, ERR_CLOSED);
	assert_true(has_line(r));
	assert_memory_equal(r->line, "failed ", 7);
	listen_somewhere(r);
	free_rig(r);
}

static void test_guest_leaves(void **state)
{
	struct rig *r = new_rig(4, 0);
	struct msg_egress_verdict m = {.allow = 1};

	(void)state;
	m.tunnel = open_stream(r, "example.com 80\n");
	assert_true(rig_wait(&r->loop, was_asked, r));
	close(r->guest);
	r->guest = -1;
	assert_true(rig_wait(&r->loop, was_closed, r));
	assert_int_equal(r->outcome.error, ERR_CLOSED);
	/* a verdict that crosses it changes nothing */
	assert_int_equal(chan_send_egress_verdict(r->core, &m, NULL, 0),
			 ERR_OK);
	m.tunnel = open_stream(r, "a.example 80\n");
	verdict(r, m.tunnel, false, false);
	expect_line(r, "denied rule-7\n");
	free_rig(r);
}

static void test_ceiling(void **state)
{
	struct rig *r = new_rig(1, 0);
	int first;

	(void)state;
	(void)open_stream(r, "a.example 80\n");
	assert_true(rig_wait(&r->loop, was_asked, r));
	first = r->guest;
	r->guest = -1;
	(void)open_stream(r, "b.example 80\n");
	assert_true(rig_wait(&r->loop, was_closed, r));
	assert_int_equal(r->outcome.error, ERR_LIMIT);
	close(first);
	free_rig(r);
}

static void test_idle(void **state)
{
	struct rig *r = new_rig(4, 200000000);
	int remote;

	(void)state;
	(void)go(r, &remote);
	assert_true(rig_wait(&r->loop, was_closed, r));
	assert_int_equal(r->outcome.error, ERR_TIMEOUT);
	close(remote);
	free_rig(r);
}

static void test_several_and_bulk(void **state)
{
	struct rig *r = new_rig(4, 0);
	char *out = malloc(BULK_BYTES), *in = malloc(BULK_BYTES);
	int remote[2], guest[2];
	size_t sent = 0, got = 5, i;

	(void)state;
	assert_non_null(out);
	assert_non_null(in);
	for (i = 0; i < BULK_BYTES; i++)
		out[i] = (char)(i * 7 + i / 251);
	(void)go(r, &remote[0]);
	guest[0] = r->guest;
	r->guest = -1;
	(void)go(r, &remote[1]);
	guest[1] = r->guest;
	r->wait_fd = remote[1];
	assert_true(rig_wait(&r->loop, is_readable, r));
	assert_int_equal(recv(remote[1], in, 5, MSG_WAITALL), 5);
	assert_int_equal(recv(remote[0], in, 5, MSG_WAITALL), 5);
	/* one of them moves much while the other one answers */
	while (sent < BULK_BYTES || got < BULK_BYTES + 5) {
		ssize_t n = sent < BULK_BYTES
				    ? send(guest[0], out + sent,
					   BULK_BYTES - sent, MSG_DONTWAIT)
				    : 0;

		if (n > 0)
			sent += (size_t)n;
		n = recv(remote[0], in + got - 5, BULK_BYTES + 5 - got,
			 MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		else
			assert_true(n < 0 && errno == EAGAIN);
	}
	assert_memory_equal(in, out, BULK_BYTES);
	assert_int_equal(write(guest[1], "ping", 4), 4);
	assert_int_equal(recv(remote[1], in, 4, MSG_WAITALL), 4);
	assert_memory_equal(in, "ping", 4);
	close(remote[0]);
	close(remote[1]);
	close(guest[0]);
	free(out);
	free(in);
	free_rig(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_denied),
		cmocka_unit_test(test_private_addresses),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_not_durable),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_guest_leaves),
		cmocka_unit_test(test_ceiling),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_several_and_bulk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
