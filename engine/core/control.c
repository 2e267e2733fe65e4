/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - the socket that clients speak to: JSON-RPC 2.0 by lines
 *
 * Runs in: kenazd.
 * Trusts:  SO_PEERCRED for who the client is, nothing that it sends.
 * Never:   blocks on a slow client, runs a verb that its role may not.
 *
 * Format: docs/control.md. A connection that becomes a terminal, a dump or
 * the way of a secret is handed over once its answer is out.
 */
#include "engine/core/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/broker_client.h"
#include "engine/core/rpc_audit.h"
#include "engine/core/session.h"
#include "engine/core/terminal.h"

struct control {
	uv_poll_t poll;
	int fd;
	LIST_HEAD(, conn) conns;
	size_t n_conns;
	bool stopped, full;
};

static const struct rpc_method *const method_tables[] = {
	rpc_engine_methods,        rpc_session_methods,
	rpc_audit_methods,         rpc_policy_methods,
	rpc_provider_methods,      rpc_secret_methods,
	rpc_image_methods,         rpc_budget_methods,
	rpc_provider_edit_methods, rpc_provider_test_methods,
	rpc_vault_methods,         rpc_provider_models_methods,
};

static void conn_update(struct conn *c);

/** rpc_free() - Forget a request; what still waits for it is dropped */
void rpc_free(struct rpc *r)
{
	if (r->conn) {
		LIST_REMOVE(r, next);
		r->conn->n_rpcs--;
	}
	audit_forget(r->engine, r);
	broker_forget(r->engine, r);
	rpc_provider_test_left(r);
	free(r);
}

static void on_conn_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

static void conn_close(struct conn *c)
{
	struct rpc *r;

	if (c->closing)
		return;
	c->closing = true;
	uv_poll_stop(&c->poll);
	audit_forget(c->engine, c);
	while ((r = LIST_FIRST(&c->rpcs))) {
		struct terminal *t = r->terminal;

		r->terminal = NULL;
		terminal_forget(t);
		if (r->session && r->session->watch_context == r) {
			r->session->watch = NULL;
			r->session->watch_context = NULL;
			if (r->owns_session)
				session_end(r->session, ERR_OK,
					    "its client left while it started");
		}
		rpc_free(r);
	}
	if (c->owned) {
		struct session *s = c->owned;

		c->owned = NULL;
		if (!c->engine->leaving)
			session_end(s, ERR_OK, "its client left");
	}
	if (c->fd >= 0)
		close(c->fd);
	LIST_REMOVE(c, next);
	c->engine->control->n_conns--;
	uv_close((uv_handle_t *)&c->poll, on_conn_closed);
}

/* Ends a connection at its next turn: callers may still use its requests. */
static void conn_doom(struct conn *c)
{
	c->doomed = true;
	(void)shutdown(c->fd, SHUT_RDWR);
	conn_update(c);
}

static void put_out(struct conn *c, struct span json)
{
	if (c->closing || c->leaving || c->doomed)
		return;
	if (buf_put_span(&c->out, json) != ERR_OK ||
	    buf_put_u8(&c->out, '\n') != ERR_OK) {
		log_warn("a client does not read its answers; closed");
		conn_doom(c);
		return;
	}
	conn_update(c);
}

/** rpc_send() - Put an answer's line on its connection, if it is still there */
void rpc_send(struct rpc *r, const char *member, struct span json)
{
	struct conn *c = r->conn;
	struct buf b;

	if (!c)
		return;
	buf_init(&b, CONTROL_QUEUE_MAX_BYTES);
	if (buf_printf(&b, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"%s\":", r->id,
		       member) == ERR_OK &&
	    buf_put_span(&b, json) == ERR_OK && buf_put_text(&b, "}") == ERR_OK)
		put_out(c, buf_span(&b));
	else
		log_error("an answer was too large");
	buf_fini(&b);
}

/** conn_notify() - Send a notification */
void conn_notify(struct conn *c, const char *method, struct span params_json)
{
	struct buf b;

	buf_init(&b, CONTROL_QUEUE_MAX_BYTES);
	if (buf_printf(&b, "{\"jsonrpc\":\"2.0\",\"method\":\"%s\",\"params\":",
		       method) == ERR_OK &&
	    buf_put_span(&b, params_json) == ERR_OK &&
	    buf_put_text(&b, "}") == ERR_OK)
		put_out(c, buf_span(&b));
	buf_fini(&b);
}

/**
 * rpc_hand_over() - Answer, then give the socket itself away
 * @r:			Request; freed after @fn ran
 * @result_json:	Answer
 * @fn:			Gets the socket, owned by it, once the answer is out;
 *			not called when the client left before
 *
 * Return: ERR_OK; ERR_STATE when others wait on this connection.
 */
enum err rpc_hand_over(struct rpc *r, struct span result_json,
		       void (*fn)(struct conn *c, int fd, struct rpc *r))
{
	struct conn *c = r->conn;

	if (!c || c->n_rpcs != 1 || c->tail.on || c->owned || c->in.len_bytes)
		return ERR_STATE;
	rpc_send(r, "result", result_json);
	if (!c->closing && !c->doomed) {
		c->hand_over = fn;
		c->hand_over_rpc = r;
		c->leaving = true;
		conn_update(c);
	}
	return ERR_OK;
}

static void do_hand_over(struct conn *c)
{
	void (*fn)(struct conn *, int, struct rpc *) = c->hand_over;
	struct rpc *r = c->hand_over_rpc;
	int fd;

	c->hand_over = NULL;
	uv_poll_stop(&c->poll);
	/* libuv still knows the old number: the socket moves to a new one. */
	fd = dup(c->fd);
	if (fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		fn(c, fd, r);
	conn_close(c);
}

static const struct rpc_method *find_method(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(method_tables); i++) {
		const struct rpc_method *m;

		for (m = method_tables[i]; m->name; m++)
			if (strcmp(m->name, name) == 0)
				return m;
	}
	return NULL;
}

static bool copy_id(const cJSON *id, char *ret_id)
{
	char *text;
	bool ok;

	if (!id || (!cJSON_IsString(id) && !cJSON_IsNumber(id)))
		return false;
	text = cJSON_PrintUnformatted(id);
	ok = text && strlen(text) <= CONTROL_ID_MAX_BYTES;
	if (ok)
		(void)snprintf(ret_id, CONTROL_ID_MAX_BYTES + 1, "%s", text);
	cJSON_free(text);
	return ok;
}

static struct rpc *rpc_new(struct conn *c, const char *id)
{
	struct rpc *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->conn = c;
	r->engine = c->engine;
	r->method = "request";
	(void)snprintf(r->id, sizeof(r->id), "%s", id);
	LIST_INSERT_HEAD(&c->rpcs, r, next);
	c->n_rpcs++;
	return r;
}

static void run_request(struct conn *c, const cJSON *root)
{
	static const cJSON no_params = {.type = cJSON_Object};
	const cJSON *method = cJSON_GetObjectItemCaseSensitive(root, "method");
	const cJSON *params = cJSON_GetObjectItemCaseSensitive(root, "params");
	const cJSON *version =
		cJSON_GetObjectItemCaseSensitive(root, "jsonrpc");
	char id[CONTROL_ID_MAX_BYTES + 1] = "null", text[256], name[80];
	char reason[ROLES_REASON_MAX_BYTES];
	bool has_id = copy_id(cJSON_GetObjectItemCaseSensitive(root, "id"), id);
	const struct rpc_method *m = NULL;
	struct rpc *r = rpc_new(c, id);

	if (!r) {
		conn_close(c);
		return;
	}
	if (!has_id || !cJSON_IsObject(root) || !cJSON_IsString(method) ||
	    !cJSON_IsString(version) ||
	    strcmp(version->valuestring, "2.0") != 0 ||
	    (params && !cJSON_IsObject(params))) {
		rpc_fail_code(r, -32600, ERR_FORMAT, NULL,
			      "not a JSON-RPC 2.0 request with an id, a method "
			      "and an "
			      "object of params");
		return;
	}
	m = find_method(method->valuestring);
	if (!m) {
		(void)text_escape_line(span_text(method->valuestring), name,
				       sizeof(name));
		(void)snprintf(text, sizeof(text), "there is no method %s",
			       name);
		rpc_fail_code(r, -32601, ERR_NOT_FOUND, NULL, text);
		return;
	}
	r->method = m->name;
	/* Of which sessions it may speak is checked where they are known. */
	if (roles_check(&c->peer, m->name, c->peer.uid, reason) != ERR_OK) {
		rpc_fail(r, ERR_PERMISSION, "%s", reason);
		return;
	}
	if (c->engine->stopping) {
		rpc_fail(r, ERR_STATE, "the engine is stopping");
		return;
	}
	m->fn(r, params ? params : &no_params);
}

static void run_line(struct conn *c, struct span line)
{
	const char *end = NULL;
	cJSON *root;

	if (line.len_bytes == 0)
		return;
	root = cJSON_ParseWithLengthOpts((const char *)line.data,
					 line.len_bytes, &end, 0);
	if (!root || !text_is_utf8(line) ||
	    end != (const char *)line.data + line.len_bytes) {
		struct rpc *r = rpc_new(c, "null");

		if (r)
			rpc_fail_code(r, -32700, ERR_FORMAT, NULL,
				      "the line is not one JSON object");
	} else {
		run_request(c, root);
	}
	cJSON_Delete(root);
}

/* Who does not read its answers gets to ask no more questions. */
static bool wants_requests(const struct conn *c)
{
	return !c->doomed && c->n_rpcs < CONTROL_BUSY_MAX &&
	       c->out.len_bytes < CONTROL_PAUSE_BYTES;
}

static void run_lines(struct conn *c)
{
	c->busy = true;
	while (!c->closing && !c->leaving && wants_requests(c) &&
	       c->in.len_bytes) {
		const uint8_t *end = memchr(c->in.data, '\n', c->in.len_bytes);
		struct buf line;
		size_t len;

		if (!end) {
			if (c->in.len_bytes >= CONTROL_LINE_MAX_BYTES)
				conn_close(c);
			break;
		}
		len = (size_t)(end - c->in.data);
		buf_init(&line, CONTROL_LINE_MAX_BYTES);
		if (buf_put(&line, c->in.data, len) == ERR_OK) {
			buf_consume(&c->in, len + 1);
			run_line(c, buf_span(&line));
		} else {
			conn_close(c);
		}
		buf_fini(&line);
	}
	c->busy = false;
}

static void read_some(struct conn *c)
{
	uint8_t *at;
	ssize_t n;

	if (buf_reserve(&c->in, 16384, &at) != ERR_OK) {
		conn_close(c);
		return;
	}
	n = recv(c->fd, at, 16384, MSG_DONTWAIT);
	buf_truncate(&c->in, c->in.len_bytes - 16384 + (n > 0 ? (size_t)n : 0));
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		conn_close(c);
	else
		run_lines(c);
}

static void write_some(struct conn *c)
{
	ssize_t n = send(c->fd, c->out.data, c->out.len_bytes,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		buf_consume(&c->out, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		conn_close(c);
}

static void on_conn(uv_poll_t *handle, int status, int events)
{
	struct conn *c = handle->data;

	if (status < 0 || c->doomed) {
		conn_close(c);
		return;
	}
	if ((events & UV_WRITABLE) && c->out.len_bytes)
		write_some(c);
	if (!c->closing && (events & UV_READABLE) && !c->leaving)
		read_some(c);
	else if (!c->closing && !c->leaving)
		run_lines(c);
	if (!c->closing && (events & UV_DISCONNECT) && !c->leaving &&
	    (!c->in.len_bytes || !(events & UV_READABLE)))
		conn_close(c);
	if (c->closing)
		return;
	rpc_audit_tail(c);
	if (!c->closing)
		conn_update(c);
}

static void conn_update(struct conn *c)
{
	int events = c->leaving ? 0 : UV_DISCONNECT;

	if (c->closing)
		return;
	if (c->hand_over && !c->out.len_bytes && !c->busy) {
		do_hand_over(c);
		return;
	}
	if (!c->leaving && wants_requests(c))
		events |= UV_READABLE;
	if (c->out.len_bytes || c->hand_over || c->doomed)
		events |= UV_WRITABLE;
	if (uv_poll_start(&c->poll, events, on_conn) != 0)
		conn_close(c);
}

static enum err know_peer(struct conn *c)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	enum err err;

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return ERR_SYS;
	err = roles_of_peer(c->engine->config, c->engine->paths.system,
			    c->engine->uid, cred.uid, cred.gid, &c->peer);
	if (err == ERR_OK)
		(void)snprintf(c->actor, sizeof(c->actor), "user:%s",
			       c->peer.user);
	return err;
}

/* On a shared host nobody may take the places of all others. */
static bool has_too_many(const struct engine *e, uid_t uid)
{
	const struct conn *c;
	size_t n = 0;

	if (!e->paths.system || uid == 0)
		return false;
	LIST_FOREACH(c, &e->control->conns, next)
	n += c->peer.uid == uid;
	return n >= CONTROL_CLIENTS_USER;
}

static void on_accept(uv_poll_t *handle, int status, int events)
{
	struct engine *e = handle->data;
	struct control *k = e->control;
	struct conn *c;
	int fd;

	(void)events;
	if (status < 0)
		return;
	fd = accept4(k->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
		/* Asking again at once would only spin. */
		uv_poll_stop(&k->poll);
		k->full = true;
		log_warn("no descriptor is left for another client");
	}
	if (fd < 0)
		return;
	if (k->n_conns >= CONTROL_CLIENTS_MAX || e->stopping ||
	    !(c = calloc(1, sizeof(*c)))) {
		close(fd);
		return;
	}
	c->engine = e;
	c->fd = fd;
	if (know_peer(c) != ERR_OK || has_too_many(e, c->peer.uid) ||
	    uv_poll_init(&e->loop, &c->poll, fd) != 0) {
		log_warn("a client was turned away: its user is not known "
			 "or has %u connections",
			 CONTROL_CLIENTS_USER);
		close(fd);
		free(c);
		return;
	}
	c->poll.data = c;
	LIST_INIT(&c->rpcs);
	buf_init(&c->in, CONTROL_LINE_MAX_BYTES + 16384);
	buf_init(&c->out, CONTROL_QUEUE_MAX_BYTES);
	LIST_INSERT_HEAD(&k->conns, c, next);
	k->n_conns++;
	conn_update(c);
}

/* A socket that nobody answers on is a leftover; one that answers is not. */
static enum err clear_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? ERR_OK : ERR_SYS;
	if (!S_ISSOCK(st.st_mode))
		return ERR_EXISTS;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ERR_SYS;
	rc = connect(fd, (struct sockaddr *)&address, sizeof(address));
	close(fd);
	if (rc == 0)
		return ERR_EXISTS;
	return unlink(path) < 0 ? ERR_SYS : ERR_OK;
}

/**
 * control_start() - Listen on the engine's socket
 * @e:	Engine
 *
 * Return: ERR_OK; ERR_EXISTS when an engine answers there already; ERR_SYS.
 */
enum err control_start(struct engine *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct control *k = calloc(1, sizeof(*k));
	enum err err;

	if (!k)
		return ERR_MEMORY;
	LIST_INIT(&k->conns);
	err = clear_socket(e->paths.socket);
	if (err != ERR_OK)
		goto fail;
	err = ERR_SYS;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		       e->paths.socket);
	k->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (k->fd < 0)
		goto fail;
	if (bind(k->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(e->paths.socket, e->paths.system ? 0666 : 0600) < 0 ||
	    listen(k->fd, 64) < 0 ||
	    uv_poll_init(&e->loop, &k->poll, k->fd) != 0) {
		close(k->fd);
		goto fail;
	}
	k->poll.data = e;
	e->control = k;
	return uv_poll_start(&k->poll, UV_READABLE, on_accept) == 0 ? ERR_OK
								    : ERR_SYS;
fail:
	free(k);
	return err;
}

/** control_clients() - How many are connected */
size_t control_clients(const struct engine *e)
{
	return e->control ? e->control->n_conns : 0;
}

/** control_tick() - Accept again after descriptors ran out */
void control_tick(struct engine *e)
{
	struct control *k = e->control;

	if (!k || !k->full || k->stopped)
		return;
	k->full = uv_poll_start(&k->poll, UV_READABLE, on_accept) != 0;
}

/** control_stop() - Accept nobody any more */
void control_stop(struct engine *e)
{
	struct control *k = e->control;

	if (!k || k->stopped)
		return;
	k->stopped = true;
	uv_poll_stop(&k->poll);
	/* Refused instead of absent says that another engine is to come. */
	if (!e->leaving)
		(void)unlink(e->paths.socket);
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct engine *e = handle->data;

	close(e->control->fd);
	free(e->control);
	e->control = NULL;
}

/** control_free() - Close every connection */
void control_free(struct engine *e)
{
	struct conn *c;

	if (!e->control)
		return;
	control_stop(e);
	while ((c = LIST_FIRST(&e->control->conns))) {
		if (c->out.len_bytes)
			write_some(c);
		conn_close(c);
	}
	uv_close((uv_handle_t *)&e->control->poll, on_listener_closed);
}

/** control_log_grew() - Events became durable: followers get them */
void control_log_grew(struct engine *e)
{
	struct conn *c, *after;

	if (!e->control)
		return;
	for (c = LIST_FIRST(&e->control->conns); c; c = after) {
		after = LIST_NEXT(c, next);
		rpc_audit_tail(c);
	}
}

/** control_session_changed() - A session's state is another */
void control_session_changed(struct engine *e, struct session *s)
{
	struct conn *c, *after;
	struct jsonw w;
	struct buf b;

	if (!e->control)
		return;
	buf_init(&b, 512);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "session", s->id);
	jsonw_put_cstr(&w, "state", session_state_text(s->state));
	jsonw_end_object(&w);
	if (jsonw_finish(&w) == ERR_OK) {
		for (c = LIST_FIRST(&e->control->conns); c; c = after) {
			after = LIST_NEXT(c, next);
			if (c->tail.on &&
			    roles_check(&c->peer, "session.show", s->uid,
					(char[ROLES_REASON_MAX_BYTES]){0}) ==
				    ERR_OK)
				conn_notify(c, "session.changed", buf_span(&b));
		}
	}
	buf_fini(&b);
	rpc_session_waiters(e, s);
}

/** control_session_gone() - A session is about to be forgotten */
void control_session_gone(struct engine *e, struct session *s)
{
	struct conn *c;
	struct rpc *r;

	if (!e->control)
		return;
	LIST_FOREACH(c, &e->control->conns, next)
	{
		if (c->owned == s)
			c->owned = NULL;
		LIST_FOREACH(r, &c->rpcs, next)
		if (r->session == s)
			r->session = NULL;
	}
}

/**
 * control_each_waiter() - Answer those who wait for something of a session
 * @e:	Engine
 * @s:	Session
 * @fn:	May answer, and so free, the request
 */
void control_each_waiter(struct engine *e, struct session *s,
			 void (*fn)(struct rpc *r))
{
	struct conn *c, *next_conn;
	struct rpc *r, *next_rpc;

	for (c = LIST_FIRST(&e->control->conns); c; c = next_conn) {
		next_conn = LIST_NEXT(c, next);
		for (r = LIST_FIRST(&c->rpcs); r; r = next_rpc) {
			next_rpc = LIST_NEXT(r, next);
			if (r->session == s)
				fn(r);
		}
	}
}
