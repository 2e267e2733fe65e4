/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qmp.c - a strict, bounded client of QEMU's machine protocol
 *
 * Runs in: kenaz-launch.
 * Trusts:  nothing: the QEMU at the other end may be captured. A line that is
 *	    too long, no object or out of order ends the session.
 * Never:   passes text of QEMU's on without its length limited.
 *
 * QEMU Machine Protocol Specification: greeting, qmp_capabilities, then one
 * object a line: {"return"...}, {"error"...} or {"event"...}.
 */
#include "vm/qmp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/json.h"
#include "engine/base/log.h"

#define ENOSPC_TEXT  "No space left on device" /* QEMU has no locale */
#define QMP_SENT_MAX 16u /* commands without an answer yet */

enum qmp_state { QMP_GREETING, QMP_CAPABILITIES, QMP_READY };

struct qmp {
	int fd;
	enum qmp_state state;
	struct buf in;
	size_t scanned_bytes; /* of in: known to hold no line end */
	uint64_t next_id;
	uint64_t oldest_id; /* of the commands not answered yet */
	char version[QMP_VERSION_BYTES];
	const char *fault;
	bool event_no_space; /* the last event said nospace */
	const struct qmp_events *events;
	void *arg;
};

static const struct json_limits line_limits = {
	.max_bytes = QMP_LINE_MAX_BYTES,
	.max_tokens = 8192,
	.max_depth = 32,
};

static enum err refuse(struct qmp *q, const char *why)
{
	q->fault = why;
	return ERR_FORMAT;
}

/**
 * qmp_new() - Speak to a QEMU that was given the other end
 * @fd:		Stream socket, owned from here on, also on failure
 * @events:	Owner's callbacks, static
 * @arg:	For them
 * @ret_qmp:	Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err qmp_new(int fd, const struct qmp_events *events, void *arg,
		 struct qmp **ret_qmp)
{
	struct qmp *q = calloc(1, sizeof(*q));

	if (!q) {
		close(fd);
		return ERR_MEMORY;
	}
	q->fd = fd;
	q->events = events;
	q->arg = arg;
	q->next_id = 1;
	q->oldest_id = 1;
	buf_init(&q->in, QMP_LINE_MAX_BYTES);
	*ret_qmp = q;
	return ERR_OK;
}

/** qmp_free() - Close and release; NULL is accepted */
void qmp_free(struct qmp *q)
{
	if (!q)
		return;
	close(q->fd);
	buf_fini(&q->in);
	free(q);
}

/** qmp_poll_fd() - Readable when qmp_turn() has work */
int qmp_poll_fd(const struct qmp *q)
{
	return q->fd;
}

/** qmp_is_ready() - Whether commands are accepted */
bool qmp_is_ready(const struct qmp *q)
{
	return q->state == QMP_READY;
}

/** qmp_fault() - Which rule QEMU broke; NULL when none */
const char *qmp_fault(const struct qmp *q)
{
	return q->fault;
}

/** qmp_event_no_space() - In event(): whether QEMU says the host is full */
bool qmp_event_no_space(const struct qmp *q)
{
	return q->event_no_space;
}

/* A descriptor travels beside the line's first byte. */
static ssize_t send_with(int socket_fd, const struct buf *line, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct iovec iov = {.iov_base = line->data, .iov_len = line->len_bytes};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control.bytes);
		control.align =
			(struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
					 .cmsg_level = SOL_SOCKET,
					 .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	return sendmsg(socket_fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static enum err send_line(struct qmp *q, const char *command,
			  const char *arguments, int fd, uint64_t id)
{
	struct buf line;
	ssize_t n;
	enum err e;

	buf_init(&line, QMP_COMMAND_MAX_BYTES);
	e = buf_printf(&line, "{\"execute\":\"%s\",", command);
	if (e == ERR_OK && arguments)
		e = buf_printf(&line, "\"arguments\":%s,", arguments);
	if (e == ERR_OK)
		e = buf_printf(&line, "\"id\":%llu}\n", (unsigned long long)id);
	if (e != ERR_OK)
		goto out;
	log_trace(TRACE_QMP, "-> %s", command);
	n = send_with(q->fd, &line, fd);
	if (n < 0 || (size_t)n != line.len_bytes)
		e = n < 0 && errno == EPIPE
			    ? ERR_CLOSED
			    : refuse(q, "QEMU does not read its commands");
out:
	buf_fini(&line);
	return e;
}

/**
 * qmp_command() - Send a command
 * @q:		Client
 * @command:	Static text, e.g. "getfd"
 * @arguments:	Static JSON object, or NULL
 * @fd:		Passed along, borrowed; or -1
 * @ret_id:	Handed back in answer(); may be NULL
 *
 * Return: ERR_OK; ERR_STATE before ready(); ERR_LIMIT with too many commands
 *	   unanswered; ERR_CLOSED; ERR_FORMAT when QEMU does not read.
 */
enum err qmp_command(struct qmp *q, const char *command, const char *arguments,
		     int fd, uint64_t *ret_id)
{
	uint64_t id = q->next_id;
	enum err e;

	if (q->state != QMP_READY)
		return ERR_STATE;
	if (id - q->oldest_id >= QMP_SENT_MAX)
		return ERR_LIMIT;
	e = send_line(q, command, arguments, fd, id);
	if (e != ERR_OK)
		return e;
	q->next_id++;
	if (ret_id)
		*ret_id = id;
	return ERR_OK;
}

/**
 * qmp_send() - Send a command without arguments
 *
 * Return: as qmp_command().
 */
enum err qmp_send(struct qmp *q, const char *command, uint64_t *ret_id)
{
	return qmp_command(q, command, NULL, -1, ret_id);
}

/* {"QMP": {"version": {"qemu": {"major", "minor", "micro"}, ...}, ...}} */
static enum err take_greeting(struct qmp *q, const struct json *j)
{
	json_ref at = json_find(j, JSON_ROOT, "QMP.version.qemu");
	uint64_t major, minor, micro;
	int len;

	if (json_uint(j, json_get(j, at, "major"), 0, 999, &major) != ERR_OK ||
	    json_uint(j, json_get(j, at, "minor"), 0, 999, &minor) != ERR_OK ||
	    json_uint(j, json_get(j, at, "micro"), 0, 999, &micro) != ERR_OK)
		return refuse(q, "greeting of QEMU");
	len = snprintf(q->version, sizeof(q->version), "%u.%u.%u",
		       (unsigned)major, (unsigned)minor, (unsigned)micro);
	if (len < 0)
		return ERR_INTERNAL;
	q->state = QMP_CAPABILITIES;
	return send_line(q, "qmp_capabilities", NULL, -1, 0);
}

static enum err take_event(struct qmp *q, const struct json *j, json_ref at)
{
	char name[QMP_EVENT_BYTES];
	const char *c;

	if (json_text(j, at, name, sizeof(name)) != ERR_OK)
		return refuse(q, "name of an event");
	for (c = name; *c; c++)
		if (!(*c == '_' || (*c >= 'A' && *c <= 'Z') ||
		      (*c >= '0' && *c <= '9')))
			return refuse(q, "name of an event");
	log_trace(TRACE_QMP, "event %s", name);
	/* "nospace" is there only where QEMU would stop the guest. */
	q->event_no_space =
		json_string_is(j, json_find(j, JSON_ROOT, "data.reason"),
			       ENOSPC_TEXT);
	q->events->event(q->arg, name);
	return ERR_OK;
}

static enum err take_answer(struct qmp *q, const struct json *j, bool good)
{
	json_ref status = json_find(j, JSON_ROOT, "return.status");
	struct buf text;
	uint64_t id;
	enum err e;

	if (json_uint(j, json_get(j, JSON_ROOT, "id"), 0, UINT32_MAX, &id) !=
	    ERR_OK)
		return refuse(q, "answer without its number");
	if (q->state == QMP_CAPABILITIES && id == 0) {
		if (!good)
			return refuse(q, "QEMU refused qmp_capabilities");
		q->state = QMP_READY;
		q->events->ready(q->arg, q->version);
		return ERR_OK;
	}
	/* QEMU answers in order. */
	if (id != q->oldest_id || id >= q->next_id)
		return refuse(q, "answer to no command");
	q->oldest_id++;
	buf_init(&text, QMP_LINE_MAX_BYTES);
	e = ERR_OK;
	if (!good)
		e = json_string(j, json_find(j, JSON_ROOT, "error.desc"),
				&text);
	else if (status != JSON_NONE)
		e = json_string(j, status, &text);
	if (e == ERR_OK)
		q->events->answer(q->arg, id, good ? ERR_OK : ERR_STATE,
				  buf_span(&text));
	else
		e = refuse(q, "error or status that is no text");
	buf_fini(&text);
	return e;
}

/**
 * qmp_take_line() - Act on one line of QEMU's
 * @q:		Client
 * @line:	Without its end
 *
 * Return: ERR_OK; ERR_FORMAT, qmp_fault() says why; ERR_CLOSED; ERR_MEMORY.
 */
enum err qmp_take_line(struct qmp *q, struct span line)
{
	json_ref event;
	struct json j;
	enum err e;

	json_init(&j);
	e = json_parse(&j, line, &line_limits);
	if (e != ERR_OK) {
		if (e != ERR_MEMORY)
			e = refuse(q, "a line that is not JSON");
		goto out;
	}
	event = json_get(&j, JSON_ROOT, "event");
	if (q->state == QMP_GREETING)
		e = take_greeting(q, &j);
	else if (event != JSON_NONE)
		e = take_event(q, &j, event);
	else if (json_get(&j, JSON_ROOT, "return") != JSON_NONE)
		e = take_answer(q, &j, true);
	else if (json_get(&j, JSON_ROOT, "error") != JSON_NONE)
		e = take_answer(q, &j, false);
	else
		e = refuse(q, "neither answer nor event");
out:
	json_fini(&j);
	return e;
}

static enum err take_lines(struct qmp *q)
{
	size_t i = q->scanned_bytes, begin = 0;
	enum err e = ERR_OK;

	for (; i < q->in.len_bytes && e == ERR_OK; i++) {
		size_t end = i;

		if (q->in.data[i] != '\n')
			continue;
		if (end > begin && q->in.data[end - 1] == '\r')
			end--;
		e = qmp_take_line(q, span_of(q->in.data + begin, end - begin));
		begin = i + 1;
	}
	buf_consume(&q->in, begin);
	q->scanned_bytes = q->in.len_bytes;
	return e;
}

/**
 * qmp_turn() - Read what is there, up to a ceiling, and act on it
 * @q:	Client
 *
 * Return: ERR_OK; ERR_CLOSED when QEMU is gone; ERR_FORMAT when it broke the
 *	   protocol. After a failure only qmp_free() may be called.
 */
enum err qmp_turn(struct qmp *q)
{
	size_t total = 0;

	while (total < QMP_TURN_MAX_BYTES) {
		uint8_t chunk[4096];
		ssize_t n = recv(q->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		enum err e;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? ERR_OK : ERR_CLOSED;
		if (n == 0)
			return ERR_CLOSED;
		total += (size_t)n;
		e = buf_put(&q->in, chunk, (size_t)n);
		if (e == ERR_LIMIT)
			return refuse(q, "a line longer than 64 KiB");
		if (e == ERR_OK)
			e = take_lines(q);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}
