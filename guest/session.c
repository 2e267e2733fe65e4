/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - streams that the host opens: control, exec, attach
 *
 * Runs in: kenaz-guestd.
 * Trusts:  the host to be the host (transport_accept()), not its bytes.
 * Never:   buffers without a ceiling: a full stream to the host stops the
 *	    program's output, a full input of the program stops the stream.
 *
 * Theory of operation: every stream begins with one JSON line. A hello makes
 * it a control stream of more lines; exec and attach make it a stream of
 * frames (engine/proto/frame.h). The host ends an exec by closing: the
 * program gets SIGHUP. Leaving an attached job only detaches.
 */
#include "guest/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/proto/frame.h"
#include "guest/boot.h"
#include "guest/control.h"
#include "guest/stream.h"
#include "guest/transport.h"

#define OUT_MAX_BYTES   (192u * 1024)
#define OUT_FULL_BYTES  (48u * 1024)
#define FIRST_LINE_NS   (10000 * LOOP_MS_NS)
#define STALL_NS        (30000 * LOOP_MS_NS) /* of an attached reader */
#define LINGER_NS       (1000 * LOOP_MS_NS)
#define ERROR_MAX_BYTES 256
#define SIGNAL_MAX      64

enum session_state {
	SESSION_SECRET,  /* waits for the secret of this boot */
	SESSION_LINE,    /* waits for the first line */
	SESSION_CONTROL, /* lines */
	SESSION_FRAMES,  /* frames */
	SESSION_CLOSING, /* sends what is left */
};

struct session {
	struct session *next;
	struct stream stream;
	struct job_reader reader;
	struct timer timer;
	enum session_state state;
	bool is_attached; /* to a kept job */
	bool is_shut;     /* our side of the stream has ended */
};

static struct session *sessions;
static size_t session_count;
static struct watch listener;

static void session_free(struct session *s)
{
	struct session **at = &sessions;

	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	session_count--;
	timer_stop(&s->timer);
	job_leave(&s->reader);
	stream_fini(&s->stream);
	free(s);
	if (listener.events == 0 && watch_set(&listener, EPOLLIN) != ERR_OK)
		log_error("cannot listen for the host any more");
}

static void on_late(struct timer *timer)
{
	session_free(timer->owner);
}

/*
 * Send what is left, then the end, then wait for the host to close: closing
 * first would reset the stream while bytes of the host are unread.
 */
static void close_step(struct session *s)
{
	buf_reset(&s->stream.in);
	stream_update(&s->stream);
	if (s->is_shut || !stream_drained(&s->stream))
		return;
	s->is_shut = true;
	(void)shutdown(s->stream.watch.fd, SHUT_WR);
	timer_start(&s->timer, LINGER_NS, on_late, s);
}

/* Nothing more is taken. Never freed here: the callers still hold it. */
static void begin_closing(struct session *s)
{
	s->state = SESSION_CLOSING;
	s->stream.paused = false;
	timer_start(&s->timer, STALL_NS, on_late, s);
	close_step(s);
}

static void fail_frames(struct session *s, const char *what, const char *why)
{
	char text[ERROR_MAX_BYTES];
	int n = snprintf(text, sizeof(text), "%s: %s", what, why);

	if (n > 0 && frame_put(&s->stream.out, FRAME_ERROR, 0,
			       span_text(text)) != ERR_OK)
		s->stream.status = ERR_SYS;
	begin_closing(s);
}

/* --- what the job calls ------------------------------------------------- */

static bool reader_has_room(const struct job_reader *r)
{
	const struct session *s = r->owner;

	return s->stream.out.len_bytes < OUT_FULL_BYTES;
}

static void reader_on_output(struct job_reader *r, uint8_t stream,
			     struct span data)
{
	struct session *s = r->owner;

	if (s->state != SESSION_FRAMES)
		return;
	if (frame_put(&s->stream.out, FRAME_DATA, stream, data) != ERR_OK)
		s->stream.status = ERR_SYS;
}

static void reader_on_flush(struct job_reader *r)
{
	struct session *s = r->owner;

	if (s->state != SESSION_FRAMES)
		return;
	stream_update(&s->stream);
	if (s->is_attached && !reader_has_room(r) && !s->timer.armed)
		timer_start(&s->timer, STALL_NS, on_late, s);
}

static void reader_on_exit(struct job_reader *r, int32_t code, bool signalled)
{
	struct session *s = r->owner;

	if (s->state != SESSION_FRAMES)
		return;
	if (frame_put_exit(&s->stream.out, code, signalled) != ERR_OK)
		s->stream.status = ERR_SYS;
	begin_closing(s);
}

static enum err take_frames(struct session *s);

static void reader_on_input_room(struct job_reader *r)
{
	struct session *s = r->owner;

	if (s->state != SESSION_FRAMES || !s->stream.paused)
		return;
	/* What waits in the stream's buffer is taken up by its handler. */
	s->stream.paused = false;
	if (take_frames(s) != ERR_OK)
		s->stream.status = ERR_SYS;
	stream_update(&s->stream);
}

/* --- frames ------------------------------------------------------------- */

static enum err take_frame(struct session *s, const struct frame *f)
{
	struct job *job = s->reader.job;
	uint16_t rows, columns;
	enum err e;

	switch (f->type) {
	case FRAME_DATA:
		return f->stream == 0 ? job_input(job, f->data) : ERR_FORMAT;
	case FRAME_EOF:
		job_end_input(job);
		return ERR_OK;
	case FRAME_RESIZE:
		e = frame_get_resize(f, &rows, &columns);
		if (e == ERR_OK && rows && columns &&
		    rows <= HOST_REQUEST_SIZE_MAX &&
		    columns <= HOST_REQUEST_SIZE_MAX)
			job_resize(job, rows, columns);
		return e;
	case FRAME_SIGNAL:
		if (f->data.data[0] == 0 || f->data.data[0] > SIGNAL_MAX)
			return ERR_RANGE;
		job_signal(job, f->data.data[0]);
		return ERR_OK;
	case FRAME_EXIT:
	case FRAME_ERROR:
		break;
	}
	return ERR_FORMAT;
}

static enum err take_frames(struct session *s)
{
	struct frame f;
	size_t taken;
	enum err e = ERR_OK;

	while (e == ERR_OK && s->state == SESSION_FRAMES && s->reader.job) {
		if (!job_has_input_room(s->reader.job)) {
			s->stream.paused = true;
			return ERR_OK;
		}
		e = frame_get(buf_span(&s->stream.in), &f, &taken);
		if (e == ERR_AGAIN)
			return ERR_OK;
		if (e == ERR_OK)
			e = take_frame(s, &f);
		if (e == ERR_OK)
			buf_consume(&s->stream.in, taken);
	}
	return e;
}

static void on_frames(struct session *s)
{
	enum err e = take_frames(s);

	if (e != ERR_OK) {
		fail_frames(s, "bad frame", err_text(e));
		return;
	}
	/* A host that closed has hung up, whatever is still to be sent. */
	if (s->stream.status != ERR_OK) {
		session_free(s);
		return;
	}
	/* First send: that may make the room that the job waits for. */
	stream_update(&s->stream);
	if (reader_has_room(&s->reader)) {
		timer_stop(&s->timer);
		if (s->reader.job)
			job_resume(s->reader.job);
	}
}

/* --- lines -------------------------------------------------------------- */

static void begin_frames(struct session *s, struct job *job)
{
	s->state = SESSION_FRAMES;
	timer_stop(&s->timer);
	job_attach(job, &s->reader);
	if (s->state == SESSION_FRAMES)
		on_frames(s);
}

static void begin_exec(struct session *s, const struct host_request *r)
{
	struct job *job;
	enum err e = control_start_job(r, NULL, &job);

	if (e == ERR_STATE)
		fail_frames(s, "exec", "the guest is not ready");
	else if (e != ERR_OK)
		fail_frames(s, "exec", err_text(e));
	else
		begin_frames(s, job);
}

static void begin_attach(struct session *s, const struct host_request *r)
{
	struct job *job = job_find(span_text(r->name));

	if (!machine.has_hello || !job) {
		fail_frames(s, "attach", "nothing of that name is running");
		return;
	}
	s->is_attached = true;
	job_resize(job, r->rows, r->columns);
	begin_frames(s, job);
}

static void refuse_line(struct session *s, const char *what, const char *why)
{
	log_warn("refused a line of the host: %s: %s", what, why);
	fail_frames(s, what, why);
}

/* One line; the session may be freed or closing afterwards. */
static void take_line(struct session *s, struct span line)
{
	struct host_request *r = calloc(1, sizeof(*r));
	const char *reason = "out of memory";
	enum err e = r ? host_request_parse(line, r, &reason) : ERR_MEMORY;
	bool first = s->state == SESSION_LINE;

	if (e != ERR_OK) {
		refuse_line(s, reason, err_text(e));
	} else if (first && r->op == HOST_REQUEST_EXEC) {
		begin_exec(s, r);
	} else if (first && r->op == HOST_REQUEST_ATTACH) {
		begin_attach(s, r);
	} else if (first && r->op != HOST_REQUEST_HELLO) {
		refuse_line(s, "op", "needs the control stream");
	} else {
		e = control_take(r, &s->stream.out);
		if (e == ERR_OK)
			s->state = SESSION_CONTROL;
		else
			refuse_line(s, "control", err_text(e));
	}
	if (r)
		host_request_fini(r);
	free(r);
}

/* Cut the next line off the input; the copy stays valid while it is used. */
static bool cut_line(struct session *s, struct buf *ret_line)
{
	struct buf *in = &s->stream.in;
	const uint8_t *end =
		in->len_bytes ? memchr(in->data, '\n', in->len_bytes) : NULL;
	size_t len;

	if (!end)
		return false;
	len = (size_t)(end - in->data);
	if (buf_put(ret_line, in->data, len) != ERR_OK)
		return false;
	buf_consume(in, len + 1);
	return true;
}

static void on_lines(struct session *s)
{
	struct buf line;

	buf_init(&line, GUEST_LINE_MAX_BYTES);
	while (cut_line(s, &line)) {
		bool was_first = s->state == SESSION_LINE;
		struct session *at;

		timer_stop(&s->timer);
		take_line(s, buf_span(&line));
		buf_reset(&line);
		/* Beginning an exec may have ended the session already. */
		for (at = sessions; at && at != s; at = at->next)
			;
		if (!at || (was_first && s->state != SESSION_CONTROL) ||
		    s->state == SESSION_CLOSING) {
			buf_fini(&line);
			return;
		}
	}
	buf_fini(&line);
	if (s->stream.status != ERR_OK)
		session_free(s);
	else if (s->stream.in.len_bytes == s->stream.in.max_bytes)
		refuse_line(s, "line", "too long");
	else
		stream_update(&s->stream);
}

/* Who does not know the secret hears nothing, not even why. */
static void on_secret(struct session *s)
{
	struct buf *in = &s->stream.in;
	const size_t len = BOOTDOC_LINE_BYTES;

	if (in->len_bytes < len) {
		if (s->stream.status != ERR_OK)
			session_free(s);
		else
			stream_update(&s->stream);
		return;
	}
	if (in->data[len - 1] != '\n' ||
	    !boot_secret_matches(span_of(in->data, len - 1))) {
		log_warn("refused a stream that did not know the secret");
		session_free(s);
		return;
	}
	buf_consume(in, len);
	s->state = SESSION_LINE;
	on_lines(s);
}

static void on_stream(struct stream *stream)
{
	struct session *s = stream->owner;

	switch (s->state) {
	case SESSION_SECRET:
		on_secret(s);
		break;
	case SESSION_LINE:
	case SESSION_CONTROL:
		on_lines(s);
		break;
	case SESSION_FRAMES:
		on_frames(s);
		break;
	case SESSION_CLOSING:
		if (stream->status != ERR_OK)
			session_free(s);
		else
			close_step(s);
		break;
	}
}

static void broadcast(struct span line)
{
	struct session *s;

	for (s = sessions; s; s = s->next) {
		if (s->state != SESSION_CONTROL)
			continue;
		if (buf_put_span(&s->stream.out, line) != ERR_OK)
			s->stream.status = ERR_SYS;
		stream_update(&s->stream);
	}
}

static void session_open(int fd)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		(void)close(fd);
		return;
	}
	if (stream_init(&s->stream, fd, GUEST_LINE_MAX_BYTES + 1, OUT_MAX_BYTES,
			on_stream, s) != ERR_OK) {
		free(s);
		return;
	}
	s->reader = (struct job_reader){.on_output = reader_on_output,
					.on_flush = reader_on_flush,
					.on_exit = reader_on_exit,
					.on_input_room = reader_on_input_room,
					.has_room = reader_has_room,
					.owner = s};
	s->state = boot_demands_secret() ? SESSION_SECRET : SESSION_LINE;
	s->next = sessions;
	sessions = s;
	session_count++;
	timer_start(&s->timer, FIRST_LINE_NS, on_late, s);
}

static void on_accept(struct watch *watch, uint32_t events)
{
	int fd;

	(void)events;
	if (transport_accept(watch->fd, &fd) == ERR_OK)
		session_open(fd);
	if (session_count >= SESSION_MAX_STREAMS &&
	    watch_set(watch, 0) != ERR_OK)
		log_error("cannot stop listening for the host");
}

/**
 * session_listen() - Take streams from the host from now on
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err session_listen(void)
{
	int fd;
	enum err e = transport_listen(TRANSPORT_PORT_GUEST, &fd);

	if (e != ERR_OK)
		return e;
	machine.on_event = broadcast;
	watch_init(&listener, fd, on_accept, NULL);
	return watch_set(&listener, EPOLLIN);
}
