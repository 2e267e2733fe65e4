/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_driver.c - a test that is core, launch, broker and guest to a gate
 *
 * Runs in: unit tests that drive the real kenaz-gate.
 * Trusts:  the program under test as little as the real ones do.
 * Never:   waits without a deadline.
 */
#include "tests/lib/gate_driver.h"

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
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/proto/attrs.h"
#include "engine/proto/respframe.h"

#define DEADLINE_MS 20000

/* kenaz-gate lies in bin/ beside the folder of the tests. */
static void program_path(const char *test_program, char *path, size_t cap)
{
	static const char name[] = "/../bin/kenaz-gate";
	const char *slash = strrchr(test_program, '/');
	struct span folder =
		slash ? span_of(test_program, (size_t)(slash - test_program))
		      : span_text(".");

	assert_int_equal(span_copy_text(folder, path, cap - sizeof(name)),
			 ERR_OK);
	memcpy(path + folder.len_bytes, name, sizeof(name));
}

/** driver_has_program() - Whether kenaz-gate was built beside the test */
bool driver_has_program(const char *test_program)
{
	char path[4096];

	program_path(test_program, path, sizeof(path));
	if (access(path, X_OK) == 0)
		return true;
	print_message("%s is missing: skipped; run make build first\n", path);
	return false;
}

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *m)
{
	struct driver *d = context;
	struct received *r = &d->inbox[d->n_inbox];

	(void)c;
	assert_true(d->n_inbox < DRIVER_INBOX_MAX);
	r->type = m->type;
	r->fd = -1;
	buf_init(&r->payload, MESSAGE_MAX_BYTES);
	assert_int_equal(buf_put_span(&r->payload, m->payload), ERR_OK);
	if (m->n_fds) {
		r->fd = m->fds[0];
		m->fds[0] = -1;
	}
	d->n_inbox++;
	return ERR_OK;
}

static void on_closed(struct chan *c, void *context, enum err reason)
{
	struct driver *d = context;

	(void)reason;
	if (c == d->core)
		d->core_closed = true;
}

static const struct chan_handler handler = {on_message, on_closed};

static void on_late(uv_timer_t *timer)
{
	struct driver *d = timer->data;

	d->timed_out = true;
}

static pid_t spawn(const char *path, int channel)
{
	char program[] = "kenaz-gate";
	char *argv[] = {program, NULL};
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	/* dup2 to itself would keep close-on-exec. */
	if (channel == CHAN_CHILD_FD)
		(void)fcntl(channel, F_SETFD, 0);
	else if (dup2(channel, CHAN_CHILD_FD) < 0)
		_exit(126);
	(void)execv(path, argv);
	_exit(127);
}

/** driver_start() - Start a gate and bring it to its running state */
void driver_start(struct driver *d, const char *test_program,
		  uint32_t requests_max)
{
	struct msg_gate_start start = {.session = span_text("session1"),
				       .requests_max = requests_max};
	int core[2], launch[2];
	char path[4096];
	struct received hello;
	struct msg_hello m;

	memset(d, 0, sizeof(*d));
	(void)signal(SIGPIPE, SIG_IGN);
	program_path(test_program, path, sizeof(path));
	assert_int_equal(uv_loop_init(&d->loop), 0);
	assert_int_equal(uv_timer_init(&d->loop, &d->timer), 0);
	d->timer.data = d;
	assert_int_equal(chan_pair(core), ERR_OK);
	assert_int_equal(chan_pair(launch), ERR_OK);
	d->pid = spawn(path, core[1]);
	close(core[1]);
	assert_int_equal(chan_new(&d->loop, core[0], ROLE_CORE, ROLE_GATE,
				  &handler, d, &d->core),
			 ERR_OK);
	assert_int_equal(chan_new(&d->loop, launch[0], ROLE_LAUNCH, ROLE_GATE,
				  &handler, d, &d->launch),
			 ERR_OK);
	hello = driver_expect(d, MSG_HELLO);
	assert_int_equal(msg_hello_get(buf_span(&hello.payload), &m), ERR_OK);
	assert_int_equal(m.version, PROTO_VERSION);
	assert_int_equal(m.role, ROLE_GATE);
	assert_int_equal(m.pid, d->pid);
	received_fini(&hello);
	chan_set_state(d->core, S_RUN);
	chan_set_state(d->launch, S_RUN);
	assert_int_equal(chan_send_gate_start(d->core, &start, &launch[1], 1),
			 ERR_OK);
}

/** driver_stop() - Close the channels and see the gate end by itself */
void driver_stop(struct driver *d)
{
	int status, tries;
	pid_t got = 0;

	chan_close(d->core);
	chan_free(d->core);
	chan_free(d->launch);
	uv_close((uv_handle_t *)&d->timer, NULL);
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&d->loop);
	for (tries = 0; tries < DEADLINE_MS && got == 0; tries++) {
		got = waitpid(d->pid, &status, WNOHANG);
		if (got == 0)
			(void)poll(NULL, 0, 1);
	}
	if (got == 0) {
		(void)kill(d->pid, SIGKILL);
		(void)waitpid(d->pid, &status, 0);
		fail_msg("the gate did not end with its channel");
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	while (d->n_inbox)
		received_fini(&d->inbox[--d->n_inbox]);
}

/** received_fini() - Release a message */
void received_fini(struct received *r)
{
	buf_fini(&r->payload);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

/** driver_turn() - Send what is queued, take what is there */
void driver_turn(struct driver *d)
{
	(void)uv_run(&d->loop, UV_RUN_NOWAIT);
}

/** driver_expect() - The next message must be of this type */
struct received driver_expect(struct driver *d, enum msg_type type)
{
	struct received r;

	d->timed_out = false;
	(void)uv_timer_start(&d->timer, on_late, DEADLINE_MS, 0);
	while (d->n_inbox == 0 && !d->timed_out && !d->core_closed)
		(void)uv_run(&d->loop, UV_RUN_ONCE);
	(void)uv_timer_stop(&d->timer);
	if (d->n_inbox == 0)
		fail_msg("no message instead of %s (%s)",
			 msg_info_of(type)->name,
			 d->core_closed ? "the gate is gone" : "deadline");
	r = d->inbox[0];
	d->n_inbox--;
	memmove(&d->inbox[0], &d->inbox[1], d->n_inbox * sizeof(d->inbox[0]));
	if (r.type != type)
		fail_msg("%s instead of %s", msg_info_of(r.type)->name,
			 msg_info_of(type)->name);
	return r;
}

/** driver_nothing_else() - Whether no message is waiting */
bool driver_nothing_else(struct driver *d)
{
	driver_turn(d);
	return d->n_inbox == 0;
}

/** driver_connect() - Open a connection as the guest would */
int driver_connect(struct driver *d)
{
	struct msg_guest_stream m = {.guest_port = 40000};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    pair),
			 0);
	assert_int_equal(chan_send_guest_stream(d->launch, &m, &pair[1], 1),
			 ERR_OK);
	driver_turn(d);
	return pair[0];
}

/** driver_send_span() - Send all bytes */
void driver_send_span(int fd, struct span bytes)
{
	while (bytes.len_bytes) {
		ssize_t n = send(fd, bytes.data, bytes.len_bytes, MSG_NOSIGNAL);

		assert_true(n > 0);
		bytes = span_of(bytes.data + n, bytes.len_bytes - (size_t)n);
	}
}

/** driver_send() - Send a text */
void driver_send(int fd, const char *text)
{
	driver_send_span(fd, span_text(text));
}

static bool seen(const struct buf *b, const char *text)
{
	return text && b->len_bytes &&
	       memmem(b->data, b->len_bytes, text, strlen(text));
}

/** driver_read_until() - Read until a text came, or to the end for NULL */
void driver_read_until(int fd, const char *text, struct buf *to)
{
	uint8_t chunk[65536];

	while (!seen(to, text)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, DEADLINE_MS) <= 0)
			fail_msg("nothing came; so far: %.*s",
				 (int)to->len_bytes, (const char *)to->data);
		n = read(fd, chunk, sizeof(chunk));
		if (n <= 0 && !text)
			return;
		if (n <= 0)
			fail_msg("the end came before '%s': %.*s", text,
				 (int)to->len_bytes, (const char *)to->data);
		assert_int_equal(buf_put(to, chunk, (size_t)n), ERR_OK);
	}
}

/** driver_at_end() - Whether the other side closes within the deadline */
bool driver_at_end(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint8_t byte;

	return poll(&p, 1, DEADLINE_MS) == 1 && read(fd, &byte, 1) <= 0;
}

static void join_chunks(struct span in, struct buf *ret_body)
{
	while (in.len_bytes) {
		const uint8_t *end = memmem(in.data, in.len_bytes, "\r\n", 2);
		size_t len;

		if (!end)
			return;
		len = (size_t)strtoul((const char *)in.data, NULL, 16);
		in = span_of(end + 2,
			     in.len_bytes - (size_t)(end + 2 - in.data));
		if (len == 0 || in.len_bytes < len + 2)
			return;
		assert_int_equal(buf_put(ret_body, in.data, len), ERR_OK);
		in = span_of(in.data + len + 2, in.len_bytes - len - 2);
	}
}

/** driver_body() - The body of a response, chunks joined */
void driver_body(struct span response, struct buf *ret_body)
{
	const uint8_t *end =
		memmem(response.data, response.len_bytes, "\r\n\r\n", 4);
	size_t head;

	assert_non_null(end);
	head = (size_t)(end + 4 - response.data);
	if (memmem(response.data, head, "chunked", 7))
		join_chunks(span_of(response.data + head,
				    response.len_bytes - head),
			    ret_body);
	else
		assert_int_equal(buf_put(ret_body, response.data + head,
					 response.len_bytes - head),
				 ERR_OK);
}

/** driver_grant() - Let a request go; gives the broker's end */
int driver_grant(struct driver *d, uint64_t request)
{
	struct msg_infer_grant m = {.request = request,
				    .grant = 77,
				    .attempt = 1,
				    .dialect = DIALECT_ANTHROPIC,
				    .route = ROUTE_MESSAGES};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    pair),
			 0);
	assert_int_equal(chan_send_infer_grant(d->core, &m, &pair[1], 1),
			 ERR_OK);
	driver_turn(d);
	return pair[0];
}

/** driver_head() - The provider's status and headers */
void driver_head(int fd, unsigned status, const char *content_type)
{
	struct buf headers, b;

	buf_init(&headers, 4096);
	buf_init(&b, 8192);
	assert_int_equal(attrs_put_text(&headers, "content-type",
					span_text(content_type)),
			 ERR_OK);
	assert_int_equal(attrs_put_text(&headers, "request-id",
					span_text("req_1")),
			 ERR_OK);
	assert_int_equal(attrs_put_text(&headers, "set-cookie",
					span_text("secret")),
			 ERR_OK);
	assert_int_equal(attrs_put_text(&headers, "retry-after",
					span_text("7")),
			 ERR_OK);
	assert_int_equal(respframe_put_head(&b, (uint16_t)status,
					    buf_span(&headers)),
			 ERR_OK);
	driver_send_span(fd, buf_span(&b));
	buf_fini(&headers);
	buf_fini(&b);
}

/** driver_data() - Bytes of the provider's body */
void driver_data(int fd, struct span data)
{
	struct buf b;

	while (data.len_bytes) {
		size_t len = data.len_bytes < RESPFRAME_DATA_MAX_BYTES
				     ? data.len_bytes
				     : RESPFRAME_DATA_MAX_BYTES;

		buf_init(&b, 2 * RESPFRAME_DATA_MAX_BYTES);
		assert_int_equal(respframe_put_data(&b,
						    span_of(data.data, len)),
				 ERR_OK);
		driver_send_span(fd, buf_span(&b));
		buf_fini(&b);
		data = span_of(data.data + len, data.len_bytes - len);
	}
}

/** driver_end() - The end of the provider's response */
void driver_end(int fd, enum err error, const char *text)
{
	struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(respframe_put_end(&b, error, span_text(text)), ERR_OK);
	driver_send_span(fd, buf_span(&b));
	buf_fini(&b);
}

/** driver_verdict() - Judge a held call */
void driver_verdict(struct driver *d, uint64_t request, uint32_t index,
		    bool allow)
{
	struct msg_tool_verdict m = {.request = request,
				     .index = index,
				     .allow = allow,
				     .rule = span_text("no-shell"),
				     .text = span_text("not here")};

	assert_int_equal(chan_send_tool_verdict(d->core, &m, NULL, 0), ERR_OK);
	driver_turn(d);
}

/** driver_durable() - The outcome is recorded, or cannot be */
void driver_durable(struct driver *d, uint64_t request, enum err error)
{
	struct msg_infer_durable m = {
		.request = request,
		.error = error,
		.text = span_text(error == ERR_OK ? "" : "the disk is full")};

	assert_int_equal(chan_send_infer_durable(d->core, &m, NULL, 0), ERR_OK);
	driver_turn(d);
}
