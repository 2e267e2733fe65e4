/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret_input.c - read secrets from a client's socket and answer it
 *
 * Runs in: kenaz-broker.
 * Trusts:  core for who the client is and what it may set.
 * Never:   keeps what was read outside locked memory, lets core see it.
 *
 * The client sends the secret as one line, or passphrases as one line each, and
 * half-closes; the answer is one line of JSON-RPC with the id of the client's
 * request, then the socket is closed. Without the end of the line the client
 * died while it was sending, and what came of the secret is not stored.
 */
#include "engine/broker/secret_input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/jsonw.h"

/* One more than allowed shows that it is too long; two for a line ending. */
#define INPUT_BYTES      (SECRET_MAX_BYTES + 3u)
#define ANSWER_MAX_BYTES 8192u

struct secret_input {
	int fd;
	unsigned lines;
	char name[NAME_MAX_BYTES + 1];
	char rpc_id[SECRET_RPC_ID_MAX_BYTES + 1];
	struct secret *input;
	size_t have_bytes;
	struct secret_input_result result;
	secret_input_done done;
	void *context;
	uv_poll_t poll;
	uv_timer_t timer;
	int handles;
};

static unsigned open_inputs;

static int exit_code(enum err e)
{
	if (e == ERR_PERMISSION)
		return 4;
	return e == ERR_TIMEOUT ? 7 : 1;
}

static void put_error(struct jsonw *w, const struct secret_input_result *result)
{
	char name[32];
	size_t i;

	(void)snprintf(name, sizeof(name), "%s", err_name(result->error));
	for (i = 0; name[i]; i++)
		if (name[i] >= 'A' && name[i] <= 'Z')
			name[i] = (char)(name[i] + 32);
	jsonw_key(w, "error");
	jsonw_begin_object(w);
	jsonw_put_i64(w, "code", -32000);
	jsonw_put_cstr(w, "message", result->text);
	jsonw_key(w, "data");
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "name", name);
	jsonw_put_i64(w, "exit", exit_code(result->error));
	jsonw_end_object(w);
	jsonw_end_object(w);
}

static void put_result(struct jsonw *w, const struct secret_input *in)
{
	const struct secret_input_result *result = &in->result;

	jsonw_key(w, "result");
	jsonw_begin_object(w);
	if (result->backend) {
		jsonw_put_cstr(w, "state", "open");
		jsonw_put_cstr(w, "backend", result->backend);
		jsonw_put_u64(w, "key_id", result->key_id);
	} else {
		jsonw_put_cstr(w, "name", in->name);
		jsonw_put_u64(w, "version", result->version);
	}
	jsonw_end_object(w);
}

static void answer(const struct secret_input *in)
{
	struct jsonw w;
	struct buf line;
	enum err e;

	buf_init(&line, ANSWER_MAX_BYTES);
	jsonw_init(&w, &line);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "jsonrpc", "2.0");
	jsonw_key(&w, "id");
	jsonw_raw(&w, span_text(in->rpc_id));
	if (in->result.error == ERR_OK)
		put_result(&w, in);
	else
		put_error(&w, &in->result);
	jsonw_end_object(&w);
	e = jsonw_finish(&w);
	if (e == ERR_OK)
		e = buf_put_u8(&line, '\n');
	/* A client that has left gets no answer, and needs none. */
	if (e == ERR_OK && send(in->fd, line.data, line.len_bytes,
				MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		e = ERR_CLOSED;
	buf_fini(&line);
}

static void on_closed(uv_handle_t *handle)
{
	struct secret_input *in = handle->data;

	if (--in->handles > 0)
		return;
	(void)close(in->fd);
	secret_release(in->input);
	free(in);
	open_inputs--;
}

/* Too many bytes are another error, which the check names. */
static bool ends_its_line(const struct secret_input *in)
{
	return in->have_bytes == INPUT_BYTES ||
	       (in->have_bytes && in->input->data[in->have_bytes - 1] == '\n');
}

/**
 * secret_input_split() - The lines of what a client sent
 * @input:	Whole, untrusted
 * @count:	How many, at most SECRET_LINES_MAX; each ended by LF, or CR LF
 * @ret_lines:	Borrow @input; written on success
 *
 * Return: ERR_OK; ERR_SHORT, ERR_LIMIT for fewer or more lines.
 */
enum err secret_input_split(struct span input, unsigned count,
			    struct span ret_lines[SECRET_LINES_MAX])
{
	struct span lines[SECRET_LINES_MAX] = {{0}};
	size_t at = 0, end;
	unsigned i;

	for (i = 0; i < count && i < SECRET_LINES_MAX; i++) {
		for (end = at;
		     end < input.len_bytes && input.data[end] != '\n';)
			end++;
		if (end == input.len_bytes)
			return ERR_SHORT;
		lines[i] = span_of(input.data + at, end - at);
		if (lines[i].len_bytes && input.data[end - 1] == '\r')
			lines[i].len_bytes--;
		at = end + 1;
	}
	if (at != input.len_bytes)
		return ERR_LIMIT;
	memcpy(ret_lines, lines, sizeof(lines));
	return ERR_OK;
}

static void set_error(struct secret_input *in, enum err e, const char *text)
{
	in->result.error = e;
	(void)snprintf(in->result.text, sizeof(in->result.text), "%s", text);
}

static void read_input(struct secret_input *in)
{
	struct span s = span_of(in->input->data, in->have_bytes);
	enum err e;

	if (!ends_its_line(in)) {
		set_error(in, ERR_CLOSED,
			  in->lines ? "the passphrase was cut off; nothing was "
				      "changed"
				    : "the secret was cut off before its end "
				      "of line; nothing was stored");
		return;
	}
	if (in->lines) {
		e = secret_input_split(s, in->lines, in->result.lines);
		if (e != ERR_OK)
			set_error(in, e,
				  "other lines came than were asked for: is "
				  "this kenaz of the engine's version?");
		return;
	}
	e = secret_check_text(s, &in->result.secret);
	if (e != ERR_OK) {
		in->result.error = e;
		(void)snprintf(in->result.text, sizeof(in->result.text),
			       "a secret is one line of 1 to %u printable "
			       "characters",
			       SECRET_MAX_BYTES);
	}
}

static void finish(struct secret_input *in, enum err error, const char *text)
{
	if (!uv_is_active((uv_handle_t *)&in->poll))
		return;
	(void)uv_poll_stop(&in->poll);
	(void)uv_timer_stop(&in->timer);
	if (error != ERR_OK)
		set_error(in, error, text);
	else
		read_input(in);
	in->done(in->context, in, &in->result);
}

/** secret_input_result() - What was filled in so far */
struct secret_input_result *secret_input_result(struct secret_input *in)
{
	return &in->result;
}

/**
 * secret_input_answer() - Tell the client what became of it
 * @in:	Input that was reported; ends here
 */
void secret_input_answer(struct secret_input *in)
{
	answer(in);
	in->result.secret = (struct span){0};
	uv_close((uv_handle_t *)&in->poll, on_closed);
	uv_close((uv_handle_t *)&in->timer, on_closed);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct secret_input *in = poll->data;
	ssize_t n;

	(void)events;
	if (status < 0) {
		finish(in, ERR_CLOSED, "the client left");
		return;
	}
	n = recv(in->fd, in->input->data + in->have_bytes,
		 INPUT_BYTES - in->have_bytes, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		finish(in, ERR_CLOSED, "the client left");
		return;
	}
	in->have_bytes += (size_t)n;
	/* Longer ones are refused by the check; the rest is not read. */
	if (n == 0 || in->have_bytes == INPUT_BYTES)
		finish(in, ERR_OK, "");
}

static void on_timer(uv_timer_t *timer)
{
	finish(timer->data, ERR_TIMEOUT, "no secret was sent in time");
}

/**
 * secret_input_new() - Read what a client types and report it
 * @loop:	The process's loop
 * @fd:		The client's socket, owned from here on, also on failure
 * @plan:	What to read and whom to tell; copied. Its done() is called
 *		exactly once, later
 *
 * Return: ERR_OK; ERR_LIMIT when too many are open or memory cannot be
 *	   locked; ERR_FORMAT; ERR_MEMORY; ERR_SYS.
 */
enum err secret_input_new(uv_loop_t *loop, int fd,
			  const struct secret_input_plan *plan)
{
	struct secret_input *in = calloc(1, sizeof(*in));
	enum err e = in ? ERR_OK : ERR_MEMORY;

	if (e == ERR_OK && open_inputs == SECRET_INPUT_OPEN_MAX)
		e = ERR_LIMIT;
	if (e == ERR_OK)
		e = span_copy_text(plan->name, in->name, sizeof(in->name));
	if (e == ERR_OK)
		e = span_copy_text(plan->rpc_id, in->rpc_id,
				   sizeof(in->rpc_id));
	if (e == ERR_OK)
		e = secret_new(INPUT_BYTES, &in->input);
	if (e == ERR_OK && uv_poll_init(loop, &in->poll, fd) != 0)
		e = ERR_SYS;
	if (e != ERR_OK) {
		if (in)
			secret_release(in->input);
		free(in);
		(void)close(fd);
		return e;
	}
	in->fd = fd;
	in->lines = plan->lines;
	in->result.request = plan->request;
	in->result.name = in->name;
	in->done = plan->done;
	in->context = plan->context;
	in->poll.data = in;
	in->timer.data = in;
	in->handles = 2;
	open_inputs++;
	(void)uv_timer_init(loop, &in->timer);
	(void)uv_timer_start(&in->timer, on_timer,
			     SECRET_INPUT_MAX_NS / 1000000u, 0);
	(void)uv_poll_start(&in->poll, UV_READABLE, on_poll);
	return ERR_OK;
}
