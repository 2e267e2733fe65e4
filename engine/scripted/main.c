/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-scripted: the embedded provider; no model is called
 *
 * Runs in: kenaz-scripted.
 * Trusts:  core for the listening socket it inherits.
 * Never:   has a network, a file or a key.
 *
 * Answers HTTP/1.1 on a unix socket that only the broker can reach. One
 * request at a time on a connection.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "engine/base/digest.h"
#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/proto/child.h"
#include "engine/scripted/http_request.h"
#include "engine/scripted/reply.h"

#define CONNECTIONS_MAX      1024u
#define CONNECTIONS_PER_TURN 64u
#define READ_BYTES           65536u
#define CONNECTION_IDLE_MS   300000u

struct server {
	uv_loop_t loop;
	struct chan *core;
	uv_poll_t listener;
	int listen_fd;
	unsigned count;
};

struct connection {
	struct server *server;
	int fd;
	int handles;
	uv_poll_t poll;
	uv_timer_t timer;
	struct buf input;
	struct reply reply;
	bool replying, pausing, close_after;
	size_t sent_bytes, pause;
};

static void on_io(uv_poll_t *poll, int status, int events);

static void on_closed(uv_handle_t *handle)
{
	struct connection *c = handle->data;

	if (--c->handles > 0)
		return;
	(void)close(c->fd);
	buf_fini(&c->input);
	if (c->replying)
		reply_fini(&c->reply);
	c->server->count--;
	free(c);
}

static void hang_up(struct connection *c)
{
	if (uv_is_closing((uv_handle_t *)&c->poll))
		return;
	uv_close((uv_handle_t *)&c->poll, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void on_idle(uv_timer_t *timer)
{
	hang_up(timer->data);
}

static void watch(struct connection *c)
{
	int events = UV_DISCONNECT;

	if (!c->replying)
		events |= UV_READABLE;
	else if (!c->pausing)
		events |= UV_WRITABLE;
	(void)uv_poll_start(&c->poll, events, on_io);
}

static void on_pause_over(uv_timer_t *timer)
{
	struct connection *c = timer->data;

	c->pausing = false;
	c->pause++;
	watch(c);
}

/* Where to stop sending for now: the next pause or the end. */
static size_t stop_at(const struct connection *c)
{
	return c->pause < c->reply.pauses ? c->reply.pause_at[c->pause]
					  : c->reply.bytes.len_bytes;
}

static enum err send_some(struct connection *c)
{
	while (c->sent_bytes < stop_at(c)) {
		ssize_t n = send(c->fd, c->reply.bytes.data + c->sent_bytes,
				 stop_at(c) - c->sent_bytes,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
		c->sent_bytes += (size_t)n;
	}
	return ERR_OK;
}

static void begin_reply(struct connection *c)
{
	struct http_request request;
	size_t taken = 0;
	enum err e = http_request_parse(buf_span(&c->input), &request, &taken);

	if (e == ERR_AGAIN)
		return;
	reply_init(&c->reply);
	c->replying = true;
	c->sent_bytes = 0;
	c->pause = 0;
	if (e == ERR_OK) {
		c->close_after = request.close;
		e = reply_make(&c->reply, &request);
		buf_consume(&c->input, taken);
	} else {
		c->close_after = true;
		e = reply_make_error(&c->reply,
				     e == ERR_LIMIT || e == ERR_RANGE ? 413
								      : 400,
				     "the request is malformed");
	}
	if (e != ERR_OK) {
		log_error("no reply could be made: %s", err_text(e));
		hang_up(c);
	}
}

static void go_on(struct connection *c)
{
	enum err e = send_some(c);

	if (e == ERR_CLOSED) {
		hang_up(c);
		return;
	}
	if (e == ERR_OK && c->pause < c->reply.pauses) {
		c->pausing = true;
		(void)uv_timer_start(&c->timer, on_pause_over, c->reply.gap_ms,
				     0);
	} else if (e == ERR_OK) {
		reply_fini(&c->reply);
		c->replying = false;
		if (c->close_after) {
			hang_up(c);
			return;
		}
		(void)uv_timer_start(&c->timer, on_idle, CONNECTION_IDLE_MS, 0);
		begin_reply(c);
	}
	watch(c);
}

static enum err read_some(struct connection *c)
{
	uint8_t *at;
	size_t before = c->input.len_bytes;
	ssize_t n;
	enum err e = buf_reserve(&c->input, READ_BYTES, &at);

	if (e != ERR_OK)
		return e;
	n = recv(c->fd, at, READ_BYTES, MSG_DONTWAIT);
	buf_truncate(&c->input, before + (n > 0 ? (size_t)n : 0));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return ERR_OK;
	return n > 0 ? ERR_OK : ERR_CLOSED;
}

static void on_io(uv_poll_t *poll, int status, int events)
{
	struct connection *c = poll->data;
	enum err e = status < 0 ? ERR_CLOSED : ERR_OK;

	if (e == ERR_OK && (events & UV_READABLE) && !c->replying) {
		e = read_some(c);
		if (e == ERR_OK)
			begin_reply(c);
	} else if (events & UV_DISCONNECT) {
		e = ERR_CLOSED;
	}
	if (e != ERR_OK)
		hang_up(c);
	else if (c->replying && !c->pausing &&
		 !uv_is_closing((uv_handle_t *)&c->poll))
		go_on(c);
}

static void add_connection(struct server *s, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c || s->count >= CONNECTIONS_MAX ||
	    uv_poll_init(&s->loop, &c->poll, fd) != 0) {
		free(c);
		(void)close(fd);
		return;
	}
	c->server = s;
	c->fd = fd;
	c->handles = 2;
	c->poll.data = c;
	c->timer.data = c;
	s->count++;
	buf_init(&c->input, HTTP_REQUEST_MAX_BYTES + READ_BYTES);
	(void)uv_timer_init(&s->loop, &c->timer);
	(void)uv_timer_start(&c->timer, on_idle, CONNECTION_IDLE_MS, 0);
	watch(c);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
	struct server *s = poll->data;
	unsigned i;

	(void)events;
	if (status < 0)
		child_fatal(s->core, ERR_SYS, "the listening socket broke");
	for (i = 0; i < CONNECTIONS_PER_TURN; i++) {
		int fd = accept4(s->listen_fd, NULL, NULL,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		add_connection(s, fd);
	}
}

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *message)
{
	(void)c;
	(void)context;
	(void)message;
	return ERR_STATE; /* core has nothing to say after the start */
}

static void on_core_closed(struct chan *c, void *context, enum err reason)
{
	(void)c;
	(void)context;
	exit(reason == ERR_CLOSED ? 0 : 1);
}

/* Takes "--listen-fd N" out of the arguments. */
static int take_listen_fd(int *argc, char **argv)
{
	uint64_t fd;
	int i;

	for (i = 1; i + 1 < *argc; i++) {
		if (strcmp(argv[i], "--listen-fd") != 0)
			continue;
		if (text_parse_u64(span_text(argv[i + 1]), CHAN_CHILD_FD + 1,
				   1023, &fd) != ERR_OK)
			return -1;
		for (; i + 2 < *argc; i++)
			argv[i] = argv[i + 2];
		*argc -= 2;
		return (int)fd;
	}
	return -1;
}

int main(int argc, char **argv)
{
	static const struct chan_handler handler = {on_message, on_core_closed};
	static struct server s;
	enum err e;

	log_init("kenaz-scripted");
	s.listen_fd = take_listen_fd(&argc, argv);
	if (s.listen_fd < 0)
		die("--listen-fd N is needed: this program is started by "
		    "kenazd");
	if (digest_init() != ERR_OK || uv_loop_init(&s.loop) != 0)
		die("no event loop");
	e = jail_enter(JAIL_SCRIPTED);
	if (e != ERR_OK)
		die("the jail could not be built: %s", err_text(e));
	e = child_begin(argc, argv, ROLE_SCRIPTED, &s.loop, &handler, &s,
			&s.core);
	if (e != ERR_OK)
		die("this program is started by kenazd, which passes it a "
		    "channel as descriptor 3: %s",
		    err_text(e));
	s.listener.data = &s;
	if (uv_poll_init(&s.loop, &s.listener, s.listen_fd) != 0 ||
	    uv_poll_start(&s.listener, UV_READABLE, on_listener) != 0)
		die("descriptor %d is no listening socket", s.listen_fd);
	(void)uv_run(&s.loop, UV_RUN_DEFAULT);
	return 0;
}
