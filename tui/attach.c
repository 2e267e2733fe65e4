/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.c - join the user's terminal or pipes to a program in a session
 *
 * Runs in: kenaz.
 * Trusts:  its own user; nothing that comes from the guest.
 * Never:   writes a guest's byte to a terminal that did not pass kenaz-vt.
 *
 * Theory of operation: one poll(2) loop. Frames from the socket go, by
 * stream, through a filter (where a terminal is at the end) into a sink's
 * queue; a sink takes the whole output of one chunk at a time, so two streams
 * on one terminal cannot be combined into a sequence that neither sent.
 * Typed bytes become frames. Whatever is full stops the reading before it.
 */
#include "tui/attach.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/proto/frame.h"
#include "tui/detach_keys.h"
#include "tui/exit_code.h"
#include "tui/terminal.h"
#include "tui/vt_child.h"

#define READ_BYTES     16384u
#define WRITE_BYTES    1024 /* a piece that does not block a terminal long */
#define HANG_CHECK_MS  50
#define LINE_MAX_BYTES 1024u

/* A queue holds one frame, or one chunk's output, above its mark. */
#define QUEUE_ROOM_BYTES (ATTACH_QUEUE_MAX_BYTES + (64u * 1024))

enum { P_SOCKET, P_STDIN, P_SIGNAL, P_VT_1, P_VT_2, P_OUT, P_ERR, P_COUNT };

struct sink {
	int fd;
	bool broken;
	struct buf queue;
};

struct stream {
	struct vt_child *vt;
	bool filtered;
	struct sink *sink;
	struct buf waiting; /* for the filter */
	unsigned restarts;
};

struct attach {
	const struct attach_options *options;
	int fd;
	int signal_fd;
	struct buf in;
	struct buf to_guest;
	struct sink sinks[2];
	struct sink *messages; /* where kenaz itself speaks */
	struct stream streams[2];
	struct detach_keys keys;
	unsigned interrupts;
	bool stdin_open;
	bool socket_open;
	bool finished; /* the program is over or the user left */
	int code;
};

/* A line of our own. On a raw terminal a line's end needs its CR. */
static void say(struct attach *a, const char *text)
{
	struct sink *sink = a->messages;
	bool terminal = a->options->tty && isatty(sink->fd);
	char line[LINE_MAX_BYTES];

	(void)text_escape_line(span_text(text), line, sizeof(line));
	if (buf_printf(&sink->queue, "%skenaz: %s%s",
		       terminal ? "\r\n\033[0m\033[?25h" : "", line,
		       terminal ? "\r\n" : "\n") != ERR_OK)
		a->code = EXIT_CODE_KENAZ;
}

static void fail(struct attach *a, const char *text)
{
	say(a, text);
	a->finished = true;
	a->code = EXIT_CODE_KENAZ;
}

static enum err filter_start(struct stream *s)
{
	vt_child_free(s->vt);
	s->vt = NULL;
	return vt_child_new(&s->vt);
}

/* The filter broke over a chunk: that chunk is lost, a new one goes on. */
static void filter_broke(struct attach *a, struct stream *s, const char *why)
{
	if (s->restarts++ < ATTACH_RESTARTS_MAX && filter_start(s) == ERR_OK) {
		say(a, why);
		return;
	}
	vt_child_free(s->vt);
	s->vt = NULL;
	s->filtered = false;
	s->sink = NULL;
	buf_reset(&s->waiting);
	fail(a, "the terminal filter broke too often; what the session "
		"prints cannot be shown safely");
}

static void note_screen(struct span s)
{
	static const char mode[] = "\033[?1049";
	const uint8_t *at = s.data, *found;
	size_t left = s.len_bytes;

	while (left > sizeof(mode) - 1 &&
	       (found = memmem(at, left, mode, sizeof(mode) - 1)) != NULL) {
		left -= (size_t)(found - at) + sizeof(mode) - 1;
		at = found + sizeof(mode) - 1;
		if (left)
			terminal_note_alternate(*at == 'h');
	}
}

static void filter_pull(struct attach *a, struct stream *s)
{
	size_t before = s->sink->queue.len_bytes;
	bool busy = vt_child_busy(s->vt);
	enum err e = vt_child_pull(s->vt, &s->sink->queue);

	note_screen(span_of(s->sink->queue.data + before,
			    s->sink->queue.len_bytes - before));
	if (e == ERR_CLOSED && a->finished && !busy) {
		vt_child_free(s->vt);
		s->vt = NULL;
	} else if (e != ERR_OK && e != ERR_AGAIN) {
		filter_broke(a, s,
			     "the terminal filter ended over a part of "
			     "the output; that part is not shown");
	}
}

static void filter_push(struct attach *a, struct stream *s)
{
	size_t len = s->waiting.len_bytes;

	if (!s->vt || vt_child_busy(s->vt))
		return;
	if (len == 0) {
		if (a->finished)
			vt_child_end(s->vt);
		return;
	}
	if (len > VT_CHILD_CHUNK_MAX_BYTES)
		len = VT_CHILD_CHUNK_MAX_BYTES;
	if (vt_child_push(s->vt, span_of(s->waiting.data, len)) != ERR_OK)
		filter_broke(a, s,
			     "the terminal filter ended; a part of the "
			     "output is not shown");
	if (s->waiting.len_bytes)
		buf_consume(&s->waiting, len);
}

static void on_data(struct attach *a, const struct frame *f)
{
	struct stream *s;
	enum err e;

	if (f->stream < 1 || f->stream > 2) {
		fail(a, "the session sent output on an unknown stream");
		return;
	}
	s = &a->streams[f->stream - 1];
	if (!s->sink || s->sink->broken || (s->filtered && !s->vt))
		return;
	e = buf_put_span(s->filtered ? &s->waiting : &s->sink->queue, f->data);
	if (e != ERR_OK)
		fail(a, "not enough memory for the session's output");
}

static void on_exit_frame(struct attach *a, const struct frame *f)
{
	uint8_t signalled;
	int32_t code;

	if (frame_get_exit(f, &code, &signalled) != ERR_OK) {
		fail(a, "the session sent a broken end");
		return;
	}
	a->finished = true;
	a->code = exit_code_of_program(code, signalled);
}

static void on_frame(struct attach *a, const struct frame *f)
{
	char text[LINE_MAX_BYTES];

	switch (f->type) {
	case FRAME_DATA:
		on_data(a, f);
		break;
	case FRAME_EOF:
		break;
	case FRAME_EXIT:
		on_exit_frame(a, f);
		break;
	case FRAME_ERROR:
		(void)text_escape_line(f->data, text, sizeof(text));
		fail(a, text);
		break;
	case FRAME_RESIZE:
	case FRAME_SIGNAL:
	default:
		fail(a, "the session sent a frame that only clients send");
		break;
	}
}

static void take_frames(struct attach *a)
{
	struct frame f;
	size_t taken, used = 0;
	enum err e = ERR_OK;

	while (!a->finished) {
		e = frame_get(span_of(a->in.data + used,
				      a->in.len_bytes - used),
			      &f, &taken);
		if (e != ERR_OK)
			break;
		on_frame(a, &f);
		used += taken;
	}
	if (!a->finished && e != ERR_AGAIN)
		fail(a, "the session's stream is broken");
	buf_consume(&a->in, used);
}

static void read_socket(struct attach *a)
{
	uint8_t chunk[READ_BYTES];
	ssize_t n = recv(a->fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		a->socket_open = false;
		fail(a, "the connection to the session was lost");
		return;
	}
	if (buf_put(&a->in, chunk, (size_t)n) != ERR_OK)
		fail(a, "the session's stream is broken");
	take_frames(a);
}

static void write_socket(struct attach *a)
{
	ssize_t n;

	if (!a->socket_open || a->to_guest.len_bytes == 0)
		return;
	n = send(a->fd, a->to_guest.data, a->to_guest.len_bytes,
		 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		buf_consume(&a->to_guest, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		buf_reset(&a->to_guest); /* its end is read as the reason */
}

static void send_typed(struct attach *a, struct span typed)
{
	if (typed.len_bytes && !a->options->read_only &&
	    frame_put(&a->to_guest, FRAME_DATA, 0, typed) != ERR_OK)
		fail(a, "not enough memory for the input");
}

static void leave(struct attach *a)
{
	if (a->options->left)
		say(a, a->options->left);
	a->finished = true;
	a->code = 0;
}

static void read_stdin(struct attach *a)
{
	uint8_t chunk[READ_BYTES];
	enum detach_action action = DETACH_NONE;
	struct buf typed;
	ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		a->stdin_open = false;
		if (!a->options->read_only &&
		    frame_put(&a->to_guest, FRAME_EOF, 0, (struct span){0}) !=
			    ERR_OK)
			fail(a, "not enough memory for the input");
		return;
	}
	if (!a->options->tty) {
		send_typed(a, span_of(chunk, (size_t)n));
		return;
	}
	buf_init(&typed, READ_BYTES);
	if (detach_keys_filter(&a->keys, span_of(chunk, (size_t)n), &typed,
			       &action) != ERR_OK)
		fail(a, "not enough memory for the input");
	send_typed(a, buf_span(&typed));
	buf_fini(&typed);
	if (action == DETACH_LEAVE)
		leave(a);
	else if (action == DETACH_HELP)
		say(a, "after Ctrl-]: d leaves, Ctrl-] sends Ctrl-]");
}

static void send_size(struct attach *a)
{
	uint16_t rows, columns;

	terminal_size(STDOUT_FILENO, &rows, &columns);
	if (frame_put_resize(&a->to_guest, rows, columns) != ERR_OK)
		fail(a, "not enough memory for the input");
}

static void read_signal(struct attach *a)
{
	struct signalfd_siginfo info;
	uint8_t number;

	if (read(a->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH) {
		if (a->options->tty)
			send_size(a);
		return;
	}
	number = (uint8_t)info.ssi_signo;
	if (info.ssi_signo == SIGINT &&
	    ++a->interrupts >= ATTACH_INTERRUPTS_MAX) {
		say(a, "interrupted");
		a->finished = true;
		a->code = EXIT_CODE_INTERRUPTED;
		return;
	}
	if (frame_put(&a->to_guest, FRAME_SIGNAL, 0, span_of(&number, 1)) !=
	    ERR_OK)
		fail(a, "not enough memory for the input");
}

static void write_sink(struct attach *a, struct sink *sink)
{
	size_t len = sink->queue.len_bytes;
	ssize_t n;

	if (len > WRITE_BYTES)
		len = WRITE_BYTES;
	n = write(sink->fd, sink->queue.data, len);
	if (n > 0) {
		buf_consume(&sink->queue, (size_t)n);
	} else if (n < 0 && errno != EINTR && errno != EAGAIN) {
		sink->broken = true;
		buf_reset(&sink->queue);
		if (!a->finished)
			a->code = exit_code_of_program(SIGPIPE, 1);
		a->finished = true;
	}
}

static bool full(const struct attach *a)
{
	size_t i;

	for (i = 0; i < 2; i++)
		if (a->sinks[i].queue.len_bytes > ATTACH_QUEUE_MAX_BYTES ||
		    a->streams[i].waiting.len_bytes > ATTACH_QUEUE_MAX_BYTES)
			return true;
	return false;
}

static short wanted(bool condition, int events)
{
	return (short)(condition ? events : 0);
}

static void fill_poll(struct attach *a, struct pollfd *p)
{
	bool reads = a->socket_open && !a->finished && !full(a);
	bool types = a->stdin_open && !a->finished &&
		     a->to_guest.len_bytes < ATTACH_QUEUE_MAX_BYTES;
	size_t i;

	p[P_SOCKET].events = (short)(wanted(reads, POLLIN) |
				     wanted(a->socket_open && !a->finished &&
						    a->to_guest.len_bytes > 0,
					    POLLOUT));
	p[P_SOCKET].fd = p[P_SOCKET].events ? a->fd : -1;
	p[P_STDIN].fd = types ? STDIN_FILENO : -1;
	p[P_STDIN].events = POLLIN;
	p[P_SIGNAL].fd = a->signal_fd;
	p[P_SIGNAL].events = POLLIN;
	for (i = 0; i < 2; i++) {
		struct stream *s = &a->streams[i];
		bool room = s->vt &&
			    s->sink->queue.len_bytes < ATTACH_QUEUE_MAX_BYTES;

		p[P_VT_1 + i].fd = room ? vt_child_fd(s->vt) : -1;
		p[P_VT_1 + i].events = POLLIN;
		p[P_OUT + i].fd =
			a->sinks[i].queue.len_bytes ? a->sinks[i].fd : -1;
		p[P_OUT + i].events = POLLOUT;
	}
}

static bool done(const struct attach *a)
{
	return a->finished && !a->streams[0].vt && !a->streams[1].vt &&
	       a->sinks[0].queue.len_bytes == 0 &&
	       a->sinks[1].queue.len_bytes == 0;
}

static void turn(struct attach *a)
{
	struct pollfd p[P_COUNT] = {0};
	bool busy = false;
	size_t i;

	for (i = 0; i < 2; i++) {
		filter_push(a, &a->streams[i]);
		busy |= a->streams[i].vt && vt_child_busy(a->streams[i].vt);
	}
	fill_poll(a, p);
	if (poll(p, P_COUNT, busy ? HANG_CHECK_MS : -1) < 0)
		return;
	if (p[P_SIGNAL].revents)
		read_signal(a);
	if (p[P_STDIN].revents)
		read_stdin(a);
	if (p[P_SOCKET].revents & POLLOUT)
		write_socket(a);
	/* Behind its program's end the session only closes the connection. */
	if (!a->finished &&
	    (p[P_SOCKET].revents & (POLLIN | POLLHUP | POLLERR)))
		read_socket(a);
	for (i = 0; i < 2; i++) {
		struct stream *s = &a->streams[i];

		if (p[P_VT_1 + i].revents && s->vt)
			filter_pull(a, s);
		else if (s->vt && vt_child_hangs(s->vt))
			filter_broke(a, s,
				     "the terminal filter hung over a "
				     "part of the output and was ended; "
				     "that part is not shown");
		if (p[P_OUT + i].revents)
			write_sink(a, &a->sinks[i]);
	}
}

static int open_signals(const struct attach_options *options,
			sigset_t *ret_before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	if (!options->tty && !options->read_only) {
		sigaddset(&set, SIGINT);
		sigaddset(&set, SIGTERM);
		sigaddset(&set, SIGQUIT);
	}
	if (sigprocmask(SIG_BLOCK, &set, ret_before) != 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static enum err setup(struct attach *a, struct buf *rest)
{
	enum err e = ERR_OK;
	size_t i;

	buf_init(&a->in, READ_BYTES * 2 + FRAME_DATA_MAX_BYTES +
				 FRAME_HEAD_BYTES + rest->len_bytes);
	buf_init(&a->to_guest, QUEUE_ROOM_BYTES);
	for (i = 0; i < 2; i++) {
		struct stream *s = &a->streams[i];

		a->sinks[i].fd = i == 0 ? STDOUT_FILENO : STDERR_FILENO;
		buf_init(&a->sinks[i].queue, 2 * QUEUE_ROOM_BYTES);
		buf_init(&s->waiting, QUEUE_ROOM_BYTES);
		s->sink = &a->sinks[i];
		s->filtered = a->options->tty || isatty(a->sinks[i].fd);
	}
	/* One terminal, one queue: see the theory of operation. */
	if (isatty(STDOUT_FILENO) && isatty(STDERR_FILENO))
		a->streams[1].sink = &a->sinks[0];
	a->messages = a->streams[1].sink;
	for (i = 0; e == ERR_OK && i < 2; i++)
		if (a->streams[i].filtered && !(i == 1 && a->options->tty))
			e = filter_start(&a->streams[i]);
	if (e == ERR_OK)
		e = buf_put_span(&a->in, buf_span(rest));
	if (e == ERR_OK && a->options->tty && isatty(STDIN_FILENO))
		e = terminal_raw(STDIN_FILENO);
	return e;
}

static void teardown(struct attach *a)
{
	size_t i;

	terminal_restore();
	for (i = 0; i < 2; i++) {
		vt_child_free(a->streams[i].vt);
		buf_fini(&a->streams[i].waiting);
		buf_fini(&a->sinks[i].queue);
	}
	buf_fini(&a->in);
	buf_fini(&a->to_guest);
	if (a->signal_fd >= 0)
		close(a->signal_fd);
	close(a->fd);
}

/**
 * attach_run() - Carry a program's terminal until it ends or the user leaves
 * @fd:		Connection that became a terminal, owned from here on
 * @rest:	What was read from it already, borrowed
 * @options:	Borrowed
 *
 * Return: the program's exit code, 128 + N for signal N; 0 when the user
 *	   left; 125 when Kenaz failed, the reason was printed then.
 */
int attach_run(int fd, struct buf *rest, const struct attach_options *options)
{
	struct attach a = {.options = options,
			   .fd = fd,
			   .signal_fd = -1,
			   .stdin_open = true,
			   .socket_open = true};
	sigset_t before;
	enum err e;

	terminal_guard();
	(void)signal(SIGPIPE, SIG_IGN);
	a.signal_fd = open_signals(options, &before);
	e = a.signal_fd < 0 ? ERR_SYS : setup(&a, rest);
	if (e != ERR_OK) {
		teardown(&a);
		(void)fprintf(stderr, "kenaz: cannot use this terminal: %s\n",
			      e == ERR_NOT_FOUND ? "kenaz-vt is missing"
						 : err_text(e));
		return EXIT_CODE_KENAZ;
	}
	take_frames(&a);
	while (!done(&a))
		turn(&a);
	teardown(&a);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return a.code;
}
