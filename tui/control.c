/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - the client's side of the control protocol (docs/control.md)
 *
 * Runs in: kenaz.
 * Trusts:  the engine to be the engine; not the length or the shape of what
 *	    it sends.
 * Never:   has more than one line of the protocol in memory.
 *
 * cJSON reads these lines: both ends are ours, and the texts inside are
 * escaped where they are shown.
 */
#include "tui/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 16384u

struct control {
	int fd;
	struct buf in;
	size_t scanned_bytes;
	uint64_t last_id;
	control_notify_fn notify;
	void *user;
};

/**
 * control_new() - Speak the protocol on a connected socket
 * @fd:			Owned from here on, on success only
 * @ret_control:	Owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err control_new(int fd, struct control **ret_control)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c)
		return ERR_MEMORY;
	c->fd = fd;
	buf_init(&c->in, CONTROL_LINE_MAX_BYTES + READ_BYTES);
	*ret_control = c;
	return ERR_OK;
}

/** control_free() - Close the connection; NULL is accepted */
void control_free(struct control *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	buf_fini(&c->in);
	free(c);
}

/** control_fd() - The socket, to wait for; -1 once it was taken */
int control_fd(const struct control *c)
{
	return c->fd;
}

/** control_on_notify() - Set who is told of notifications during a wait */
void control_on_notify(struct control *c, control_notify_fn fn, void *user)
{
	c->notify = fn;
	c->user = user;
}

static enum err write_all(int fd, const char *data, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t n = send(fd, data, len_bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = fd, .events = POLLOUT};

			if (poll(&p, 1, -1) < 0 && errno != EINTR)
				return ERR_SYS;
			continue;
		}
		if (n < 0)
			return errno == EPIPE || errno == ECONNRESET
				       ? ERR_CLOSED
				       : ERR_SYS;
		data += n;
		len_bytes -= (size_t)n;
	}
	return ERR_OK;
}

/**
 * control_send() - Send a request and do not wait
 * @c:		Connection
 * @method:	Verb
 * @params:	Owned from here on; NULL for none
 * @ret_id:	What the answer will carry; written on success
 *
 * Return: ERR_OK; ERR_LIMIT for a line that is too long; ERR_CLOSED; ERR_SYS;
 *	   ERR_MEMORY.
 */
enum err control_send(struct control *c, const char *method, cJSON *params,
		      uint64_t *ret_id)
{
	cJSON *request = cJSON_CreateObject();
	uint64_t id = ++c->last_id;
	char *text = NULL;
	enum err e = ERR_MEMORY;
	size_t len;

	if (!request || !cJSON_AddStringToObject(request, "jsonrpc", "2.0") ||
	    !cJSON_AddNumberToObject(request, "id", (double)id) ||
	    !cJSON_AddStringToObject(request, "method", method))
		goto out;
	if (!params)
		params = cJSON_CreateObject();
	if (!cJSON_AddItemToObject(request, "params", params))
		goto out;
	params = NULL;
	text = cJSON_PrintUnformatted(request);
	if (!text)
		goto out;
	len = strlen(text);
	e = ERR_LIMIT;
	if (len + 1 > CONTROL_LINE_MAX_BYTES)
		goto out;
	text[len] = '\n'; /* in place of the NUL: the length is known */
	e = write_all(c->fd, text, len + 1);
	if (e == ERR_OK)
		*ret_id = id;
out:
	cJSON_free(text);
	cJSON_Delete(params);
	cJSON_Delete(request);
	return e;
}

static int64_t now_ms(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		return 0;
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Take a line that is there already. */
static enum err take_line(struct control *c, cJSON **ret_message)
{
	const uint8_t *end = NULL;
	cJSON *message;
	size_t len;

	if (c->in.len_bytes > c->scanned_bytes)
		end = memchr(c->in.data + c->scanned_bytes, '\n',
			     c->in.len_bytes - c->scanned_bytes);
	if (!end) {
		c->scanned_bytes = c->in.len_bytes;
		return c->in.len_bytes >= CONTROL_LINE_MAX_BYTES ? ERR_LIMIT
								 : ERR_AGAIN;
	}
	len = (size_t)(end - c->in.data);
	message = cJSON_ParseWithLength((const char *)c->in.data, len);
	buf_consume(&c->in, len + 1);
	c->scanned_bytes = 0;
	if (!cJSON_IsObject(message)) {
		cJSON_Delete(message);
		return ERR_FORMAT;
	}
	*ret_message = message;
	return ERR_OK;
}

static enum err read_more(struct control *c)
{
	uint8_t chunk[READ_BYTES];
	ssize_t n = recv(c->fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? ERR_AGAIN
		       : errno == ECONNRESET             ? ERR_CLOSED
							 : ERR_SYS;
	if (n == 0)
		return ERR_CLOSED;
	return buf_put(&c->in, chunk, (size_t)n);
}

/**
 * control_read() - Read the next message
 * @c:			Connection
 * @timeout_ms:		How long to wait; 0 not at all, -1 without a limit
 * @ret_message:	Owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_AGAIN when @timeout_ms is 0 and nothing is there;
 *	   ERR_TIMEOUT; ERR_CLOSED; ERR_LIMIT or ERR_FORMAT for a line that is
 *	   none of the protocol; ERR_SYS; ERR_MEMORY.
 */
enum err control_read(struct control *c, int timeout_ms, cJSON **ret_message)
{
	int64_t end = now_ms() + timeout_ms;
	enum err e;

	for (;;) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		int64_t left = timeout_ms < 0 ? -1 : end - now_ms();

		e = take_line(c, ret_message);
		if (e != ERR_AGAIN)
			return e;
		e = read_more(c);
		if (e == ERR_OK)
			continue;
		if (e != ERR_AGAIN)
			return e;
		if (timeout_ms == 0)
			return ERR_AGAIN;
		if (timeout_ms > 0 && left <= 0)
			return ERR_TIMEOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return ERR_SYS;
	}
}

static void read_error(const cJSON *error, struct control_error *ret_error)
{
	const cJSON *text = cJSON_GetObjectItemCaseSensitive(error, "message");
	const cJSON *data = cJSON_GetObjectItemCaseSensitive(error, "data");
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(data, "name");
	const cJSON *code = cJSON_GetObjectItemCaseSensitive(data, "exit");
	const cJSON *rule = cJSON_GetObjectItemCaseSensitive(data, "rule");
	bool has_rule = cJSON_IsString(rule) && rule->valuestring[0];

	ret_error->code =
		exit_code_from_rpc(cJSON_IsString(name) ? name->valuestring
							: NULL,
				   cJSON_IsNumber(code) ? code->valuedouble
							: -1);
	(void)snprintf(ret_error->text, sizeof(ret_error->text),
		       "%.1000s%s%.128s%s",
		       cJSON_IsString(text) ? text->valuestring
					    : "the engine gave no reason",
		       has_rule ? " (rule " : "",
		       has_rule ? rule->valuestring : "", has_rule ? ")" : "");
}

/**
 * control_result() - Read an answer
 * @message:	Borrowed; its result is moved out
 * @id:		Of the request
 * @ret_result:	Owned by the caller; written on success
 * @ret_error:	Written on ERR_DENIED
 *
 * Return: ERR_OK; ERR_AGAIN when the message is not the answer to @id;
 *	   ERR_DENIED when the engine answered with an error.
 */
enum err control_result(const cJSON *message, uint64_t id, cJSON **ret_result,
			struct control_error *ret_error)
{
	const cJSON *got = cJSON_GetObjectItemCaseSensitive(message, "id");
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(message, "error");
	const cJSON *result =
		cJSON_GetObjectItemCaseSensitive(message, "result");
	cJSON *copy;

	if (cJSON_GetObjectItemCaseSensitive(message, "method") ||
	    (cJSON_IsNumber(got) && got->valuedouble != (double)id))
		return ERR_AGAIN;
	if (cJSON_IsNumber(got) && result) {
		copy = cJSON_Duplicate(result, true);
		if (copy) {
			*ret_result = copy;
			return ERR_OK;
		}
	}
	read_error(error, ret_error);
	return ERR_DENIED;
}

static enum err lost(enum err e, struct control_error *ret_error)
{
	ret_error->code = EXIT_CODE_UNREACHABLE;
	if (e == ERR_TIMEOUT) {
		ret_error->code = EXIT_CODE_TIMEOUT;
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "the engine did not answer in time");
	} else if (e == ERR_CLOSED) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "the engine closed the connection; 'kenaz "
			       "doctor' may say why");
	} else {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "the connection to the engine failed: %s",
			       err_text(e));
	}
	return e;
}

/**
 * control_wait() - Wait for the answer to a request that was sent
 * @c:		Connection; notifications go to its function
 * @id:		Of the request
 * @timeout_ms:	For the answer to come, -1 without a limit
 * @ret_result:	Owned by the caller; written on success
 * @ret_error:	Written on failure
 *
 * Return: ERR_OK; ERR_DENIED when the engine refused; otherwise what happened
 *	   to the connection.
 */
enum err control_wait(struct control *c, uint64_t id, int timeout_ms,
		      cJSON **ret_result, struct control_error *ret_error)
{
	int64_t end = now_ms() + timeout_ms;
	cJSON *message;
	enum err e;

	for (;;) {
		int64_t left = timeout_ms < 0 ? -1 : end - now_ms();
		const cJSON *method;

		if (timeout_ms >= 0 && left <= 0)
			return lost(ERR_TIMEOUT, ret_error);
		e = control_read(c, (int)left, &message);
		if (e != ERR_OK)
			return lost(e, ret_error);
		e = control_result(message, id, ret_result, ret_error);
		method = cJSON_GetObjectItemCaseSensitive(message, "method");
		if (e == ERR_AGAIN && cJSON_IsString(method) && c->notify)
			c->notify(c->user, method->valuestring,
				  cJSON_GetObjectItemCaseSensitive(message,
								   "params"));
		cJSON_Delete(message);
		if (e != ERR_AGAIN)
			return e;
	}
}

/** control_call() - control_send() and control_wait() in one */
enum err control_call(struct control *c, const char *method, cJSON *params,
		      int timeout_ms, cJSON **ret_result,
		      struct control_error *ret_error)
{
	uint64_t id;
	enum err e = control_send(c, method, params, &id);

	if (e != ERR_OK)
		return lost(e, ret_error);
	return control_wait(c, id, timeout_ms, ret_result, ret_error);
}

/**
 * control_take() - Take the socket away: it carries something else now
 * @c:		Connection; of no more use but to be freed
 * @ret_rest:	Initialised by the caller; gets what was read already. A rest
 *		that does not fit is an error the caller sees as a short
 *		stream, so give it CONTROL_LINE_MAX_BYTES.
 *
 * Return: the socket, owned by the caller.
 */
int control_take(struct control *c, struct buf *ret_rest)
{
	int fd = c->fd;

	if (buf_put_span(ret_rest, buf_span(&c->in)) != ERR_OK) {
		close(fd);
		fd = -1;
	}
	buf_reset(&c->in);
	c->fd = -1;
	return fd;
}
