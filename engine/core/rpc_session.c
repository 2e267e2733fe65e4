/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_session.c - verbs about sessions and their terminals
 *
 * Runs in: kenazd.
 * Trusts:  the role of the client, checked again against the session's owner.
 * Never:   shows one user another's session.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/accel.h"
#include "engine/core/control.h"
#include "engine/core/rpc_audit.h"
#include "engine/core/session.h"
#include "engine/core/session_disk.h"
#include "engine/core/terminal.h"
#include "engine/core/vsock_door.h"

#define ARGV_MAX       256
#define ENV_MAX        128
#define LINE_MAX_BYTES 32000u

static bool may(struct rpc *r, const struct session *s)
{
	char reason[ROLES_REASON_MAX_BYTES];

	return roles_check(&r->conn->peer, r->method, s->uid, reason) == ERR_OK;
}

/* The session named, when the caller may; else the request is answered. */
static struct session *get_session(struct rpc *r, const cJSON *params)
{
	const char *id;
	struct session *s, *found = NULL;
	size_t len, hits = 0;

	if (!rpc_get_text(r, params, "session", true, &id))
		return NULL;
	len = strlen(id);
	LIST_FOREACH(s, &r->engine->sessions, next)
	{
		if (len >= 3 && strncmp(s->id, id, len) == 0 && may(r, s)) {
			found = s;
			hits++;
		}
	}
	if (hits == 1)
		return found;
	if (hits > 1)
		rpc_fail(r, ERR_NOT_FOUND,
			 "session %s is not unique; give more of its name", id);
	else
		rpc_fail(r, ERR_NOT_FOUND,
			 "there is no session %s; see `kenaz session list`",
			 id);
	return NULL;
}

static void put_stages(struct jsonw *w, const struct session *s)
{
	size_t i;

	jsonw_key(w, "stages");
	jsonw_begin_array(w);
	for (i = 0; i < s->n_stages; i++) {
		jsonw_begin_object(w);
		jsonw_put_cstr(w, "name", s->stages[i].name);
		jsonw_put_u64(w, "ms",
			      (s->stages[i].at_ns - s->created_ns) / 1000000u);
		jsonw_put_u64(w, "us",
			      (s->stages[i].at_ns - s->created_ns) / 1000u);
		jsonw_end_object(w);
	}
	jsonw_end_array(w);
}

static void put_main(struct jsonw *w, const struct session *s)
{
	if (!s->main_running && !s->main_ended)
		return;
	jsonw_key(w, "main");
	jsonw_begin_object(w);
	jsonw_put_bool(w, "running",
		       s->main_running && s->state != SESSION_ENDED &&
			       s->state != SESSION_FAILED);
	if (s->main_ended) {
		jsonw_put_i64(w, "code", s->main_code);
		jsonw_put_bool(w, "signalled", s->main_signalled);
	}
	jsonw_end_object(w);
}

static void put_session(struct jsonw *w, const struct session *s)
{
	const struct config_provider *p =
		s->provider[0]
			? config_find_provider(s->engine->config, s->provider)
			: config_default_provider(s->engine->config);
	uint64_t now = session_has_ended(s) ? s->ended_ns : engine_now_ns();

	jsonw_put_cstr(w, "session", s->id);
	jsonw_put_cstr(w, "user", s->user);
	jsonw_put_cstr(w, "state", session_state_text(s->state));
	jsonw_put_cstr(w, "image", s->image);
	jsonw_put_cstr(w, "accelerator", s->accelerator);
	jsonw_put_cstr(w, "provider", p ? p->name : "none");
	jsonw_put_u64(w, "created", s->created_wall_us / 1000000u);
	jsonw_put_u64(w, "age_s", (now - s->created_ns) / 1000000000u);
	jsonw_put_bool(w, "no_isolation", s->no_isolation);
	put_main(w, s);
}

static void put_hex(struct jsonw *w, const char *key, const uint8_t *digest)
{
	jsonw_key(w, key);
	jsonw_hex(w, span_of(digest, DIGEST_BYTES));
}

static void put_fingerprint(struct jsonw *w, const struct session *s)
{
	static const uint8_t none[DIGEST_BYTES];

	if (!s->has_fingerprint)
		return;
	jsonw_key(w, "fingerprint");
	jsonw_begin_object(w);
	if (s->start_asked)
		put_hex(w, "session", s->identity);
	put_hex(w, "digest", s->fingerprint.fingerprint);
	put_hex(w, "image", s->fingerprint.manifest);
	put_hex(w, "kernel", s->fingerprint.kernel);
	put_hex(w, "initrd", s->fingerprint.initrd);
	put_hex(w, "qemu", s->fingerprint.qemu);
	put_hex(w, "arguments", s->fingerprint.arguments);
	put_hex(w, "jail", s->fingerprint.jail);
	if (memcmp(s->fingerprint.template, none, sizeof(none)) != 0)
		put_hex(w, "template", s->fingerprint.template);
	jsonw_put_cstr(w, "qemu_version", s->qemu_version);
	jsonw_put_cstr(w, "cpu", s->cpu);
	jsonw_put_cstr(w, "image_key", s->image_key);
	jsonw_put_cstr(w, "image_key_id", s->image_key_id);
	jsonw_put_cstr(w, "command_line", s->command_line);
	jsonw_put_cstr(w, "vsock", s->vsock);
	jsonw_end_object(w);
}

static void put_details(struct jsonw *w, const struct session *s)
{
	const struct session_usage *u = &s->usage;

	if (s->vm[0])
		jsonw_put_cstr(w, "start", pool_way_text(s->way));
	if (s->way != POOL_COLD)
		jsonw_put_u64(w, "booted_before_ms", s->vm_age_ns / 1000000u);
	if (s->vm[0])
		jsonw_put_cstr(w, "vm", s->vm);
	put_stages(w, s);
	jsonw_key(w, "limits");
	jsonw_begin_object(w);
	jsonw_put_u64(w, "memory_mib", s->memory_mib);
	jsonw_put_u64(w, "vcpus", s->vcpus);
	jsonw_end_object(w);
	jsonw_key(w, "usage");
	jsonw_begin_object(w);
	jsonw_put_u64(w, "requests", u->requests);
	jsonw_put_u64(w, "input_tokens", u->input_tokens);
	jsonw_put_u64(w, "output_tokens", u->output_tokens);
	jsonw_put_u64(w, "tool_calls", u->tool_calls);
	jsonw_put_u64(w, "tool_calls_denied", u->tool_calls_denied);
	jsonw_put_u64(w, "egress_allowed", u->egress_allowed);
	jsonw_put_u64(w, "egress_denied", u->egress_denied);
	jsonw_put_u64(w, "bytes", u->bytes);
	jsonw_end_object(w);
	put_fingerprint(w, s);
	session_disk_show(w, s);
	if (s->adoptions)
		jsonw_put_u64(w, "adoptions", s->adoptions);
	if (vsock_door_path(s)[0])
		jsonw_put_cstr(w, "vsock_socket", vsock_door_path(s));
	if (s->reason[0])
		jsonw_put_cstr(w, "reason", s->reason);
	if (s->limit_note[0])
		jsonw_put_cstr(w, "limit_note", s->limit_note);
}

static void begin(struct jsonw *w, struct buf *b)
{
	buf_init(b, CONTROL_QUEUE_MAX_BYTES / 2);
	jsonw_init(w, b);
	jsonw_begin_object(w);
}

/* --- the line that starts a program in the guest --------------------- */

static bool put_argv(struct rpc *r, const cJSON *params, struct jsonw *w,
		     struct buf *what)
{
	const cJSON *argv = cJSON_GetObjectItemCaseSensitive(params, "argv");
	const cJSON *v;
	bool ok = true;

	if (argv &&
	    (!cJSON_IsArray(argv) || cJSON_GetArraySize(argv) > ARGV_MAX))
		ok = false;
	jsonw_key(w, "argv");
	jsonw_begin_array(w);
	if (ok && argv)
		cJSON_ArrayForEach(v, argv)
		{
			if (!cJSON_IsString(v)) {
				ok = false;
				break;
			}
			jsonw_cstr(w, v->valuestring);
			if (what->len_bytes && buf_put_u8(what, ' ') != ERR_OK)
				continue;
			/* The log's copy is cut, the command is not. */
			if (buf_put_text(what, v->valuestring) != ERR_OK)
				continue;
		}
	jsonw_end_array(w);
	if (!ok)
		rpc_bad_params(r, "parameter argv: must be a list of at most "
				  "256 texts");
	return ok;
}

static bool put_env(struct rpc *r, const cJSON *params, struct jsonw *w)
{
	const cJSON *env = cJSON_GetObjectItemCaseSensitive(params, "env");
	const cJSON *v;
	bool ok = !env ||
		  (cJSON_IsObject(env) && cJSON_GetArraySize(env) <= ENV_MAX);

	jsonw_key(w, "env");
	jsonw_begin_object(w);
	if (ok && env)
		cJSON_ArrayForEach(v, env)
		{
			if (!cJSON_IsString(v) || !v->string[0] ||
			    strchr(v->string, '=')) {
				ok = false;
				break;
			}
			jsonw_put_cstr(w, v->string, v->valuestring);
		}
	jsonw_end_object(w);
	if (!ok)
		rpc_bad_params(r, "parameter env: must be an object of at "
				  "most 128 texts");
	return ok;
}

/* {"op":OP,...}: argv, env, tty, rows, cols, cwd as the caller gave them */
static bool make_line(struct rpc *r, const cJSON *params, const char *op,
		      const char *name, struct buf *line, struct buf *what)
{
	const char *cwd = NULL;
	struct jsonw w;
	uint64_t rows, cols;
	bool tty, ok;

	if (!rpc_get_bool(r, params, "tty", false, &tty) ||
	    !rpc_get_u64(r, params, "rows", 1, 500, 24, &rows) ||
	    !rpc_get_u64(r, params, "cols", 1, 1000, 80, &cols) ||
	    !rpc_get_text(r, params, "cwd", false, &cwd))
		return false;
	jsonw_init(&w, line);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "op", op);
	if (name)
		jsonw_put_cstr(&w, "name", name);
	ok = put_argv(r, params, &w, what) && put_env(r, params, &w);
	if (!ok)
		return false;
	jsonw_put_bool(&w, "tty", tty);
	jsonw_put_u64(&w, "rows", rows);
	jsonw_put_u64(&w, "cols", cols);
	if (cwd)
		jsonw_put_cstr(&w, "cwd", cwd);
	jsonw_end_object(&w);
	if (what->len_bytes == 0 && buf_put_text(what, "workbench") != ERR_OK)
		ok = false;
	if (jsonw_finish(&w) == ERR_OK && ok)
		return true;
	rpc_fail(r, ERR_LIMIT,
		 "the command, with its environment, is longer than %u bytes",
		 LINE_MAX_BYTES);
	return false;
}

/* --- session.start --------------------------------------------------- */

static void answer_started(struct rpc *r, struct session *s)
{
	struct jsonw w;
	struct buf b;

	begin(&w, &b);
	jsonw_put_cstr(&w, "session", s->id);
	jsonw_put_cstr(&w, "accelerator", s->accelerator);
	jsonw_put_cstr(&w, "image", s->image);
	jsonw_put_cstr(&w, "start", pool_way_text(s->way));
	jsonw_put_bool(&w, "no_isolation", s->no_isolation);
	jsonw_put_bool(&w, "scripted", engine_scripted_answers(s->engine));
	put_stages(&w, s);
	jsonw_put_u64(&w, "total_ms",
		      (engine_now_ns() - s->created_ns) / 1000000u);
	jsonw_end_object(&w);
	if (r->owns_session && r->conn)
		r->conn->owned = s;
	rpc_finish(r, &w, &b);
}

static void on_session(void *context, struct session *s, const char *stage)
{
	struct rpc *r = context;
	struct jsonw w;
	struct buf b;

	if (stage) {
		if (!r->conn)
			return;
		begin(&w, &b);
		jsonw_put_cstr(&w, "session", s->id);
		jsonw_put_cstr(&w, "name", stage);
		jsonw_put_u64(&w, "ms",
			      (engine_now_ns() - s->created_ns) / 1000000u);
		jsonw_end_object(&w);
		if (jsonw_finish(&w) == ERR_OK)
			conn_notify(r->conn, "session.stage", buf_span(&b));
		buf_fini(&b);
		return;
	}
	if (s->state == SESSION_BOOTING || s->state == SESSION_CREATING ||
	    s->state == SESSION_STOPPING)
		return;
	s->watch = NULL;
	s->watch_context = NULL;
	if (s->state == SESSION_READY)
		answer_started(r, s);
	else
		rpc_fail(r, s->error == ERR_OK ? ERR_CANCELLED : s->error,
			 "session %s did not start: %s", s->id, s->reason);
}

static void session_start(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"image",  "provider", "memory_mib",
					   "vcpus",  "argv",     "tty",
					   "rows",   "cols",     "env",
					   "detach", "cwd",      NULL};
	struct session_options o = {.user = r->conn->peer.user,
				    .uid = r->conn->peer.uid};
	uint64_t memory, vcpus;
	char text[REASON_MAX_BYTES] = "out of memory";
	const char *rule, *main_line = NULL;
	struct buf line, what;
	struct session *s = NULL;
	enum err err;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "image", false, &o.image) ||
	    !rpc_get_text(r, params, "provider", false, &o.provider) ||
	    !rpc_get_u64(r, params, "memory_mib", 96, 1048576, 0, &memory) ||
	    !rpc_get_u64(r, params, "vcpus", 1, 64, 0, &vcpus) ||
	    !rpc_get_bool(r, params, "detach", false, &o.detach))
		return;
	if (o.image && !text_is_name(span_text(o.image), NAME_MAX_BYTES)) {
		rpc_bad_params(r, "parameter image: must be a name of small "
				  "letters, digits, '.', '_' and '-'");
		return;
	}
	if (!o.detach && r->conn->owned) {
		rpc_fail(r, ERR_STATE,
			 "this connection already owns a session");
		return;
	}
	buf_init(&line, LINE_MAX_BYTES);
	buf_init(&what, 1024);
	o.memory_mib = (uint32_t)memory;
	o.vcpus = (uint32_t)vcpus;
	if (o.detach && !make_line(r, params, "start", "main", &line, &what))
		goto out;
	if (o.detach && buf_terminate(&line, &main_line) != ERR_OK) {
		rpc_bad_params(r, "parameter argv: holds a NUL");
		goto out;
	}
	o.main_line = main_line;
	r->owns_session = !o.detach;
	err = session_new(r->engine, &o, on_session, r, text, sizeof(text),
			  &rule, &s);
	if (err != ERR_OK) {
		rpc_fail_rule(r, err, rule, text);
		goto out;
	}
	/* It may have failed at once; then the request was answered. */
	if (s->watch_context == r)
		r->session = s;
out:
	buf_fini(&line);
	buf_fini(&what);
}

/* --- lists ------------------------------------------------------------ */

static void session_list(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	const struct session *s;
	struct jsonw w;
	struct buf b;

	if (!rpc_check_keys(r, params, keys))
		return;
	begin(&w, &b);
	jsonw_key(&w, "sessions");
	jsonw_begin_array(&w);
	LIST_FOREACH(s, &r->engine->sessions, next)
	{
		if (!may(r, s))
			continue;
		jsonw_begin_object(&w);
		put_session(&w, s);
		jsonw_end_object(&w);
	}
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

static void session_show(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"session", NULL};
	const struct session *s;
	struct jsonw w;
	struct buf b;

	if (!rpc_check_keys(r, params, keys))
		return;
	s = get_session(r, params);
	if (!s)
		return;
	begin(&w, &b);
	put_session(&w, s);
	put_details(&w, s);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

/* --- session.stop, session.wait ---------------------------------------- */

static void answer_if_over(struct rpc *r)
{
	const struct session *s = r->session;
	bool stop = strcmp(r->method, "session.stop") == 0;
	bool wait = strcmp(r->method, "session.wait") == 0;
	struct jsonw w;
	struct buf b;

	if (!stop && !wait)
		return;
	if (!session_has_ended(s) && !(wait && s->main_ended))
		return;
	begin(&w, &b);
	jsonw_put_cstr(&w, "session", s->id);
	jsonw_put_cstr(&w, "state", session_state_text(s->state));
	jsonw_put_cstr(&w, "reason", s->reason);
	put_main(&w, s);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

/** rpc_session_waiters() - Answer who waited for this change of a session */
void rpc_session_waiters(struct engine *e, struct session *s)
{
	control_each_waiter(e, s, answer_if_over);
}

static void session_stop(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"session", "reason", NULL};
	const char *reason;
	char text[256];
	struct session *s;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "reason", false, &reason))
		return;
	s = get_session(r, params);
	if (!s)
		return;
	(void)snprintf(text, sizeof(text), "stopped by %s%s",
		       r->conn->peer.user, reason ? ": " : "");
	if (reason)
		(void)text_escape_line(span_text(reason), text + strlen(text),
				       sizeof(text) - strlen(text));
	r->session = s;
	session_end(s, ERR_OK, text);
	/* An end that was over at once has answered already. */
	if (session_has_ended(s))
		rpc_session_waiters(r->engine, s);
}

static void session_wait(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"session", NULL};
	struct session *s;

	if (!rpc_check_keys(r, params, keys))
		return;
	s = get_session(r, params);
	if (!s)
		return;
	r->session = s;
	answer_if_over(r);
}

/* --- session.exec, session.attach --------------------------------------- */

static void join(struct conn *c, int fd, struct rpc *r)
{
	struct terminal *t = r->terminal;

	(void)c;
	r->terminal = NULL;
	if (!t) {
		close(fd);
		return;
	}
	if (terminal_join(t, fd) != ERR_OK)
		log_warn("a terminal's client was lost");
}

static void on_terminal(void *context, enum err error, const char *text,
			struct terminal *t)
{
	struct rpc *r = context;
	struct jsonw w;
	struct buf b;
	enum err err;

	r->terminal = t;
	if (error != ERR_OK) {
		rpc_fail(r, error, "%s", text);
		return;
	}
	begin(&w, &b);
	jsonw_put_u64(&w, "terminal", terminal_id(t));
	jsonw_end_object(&w);
	err = jsonw_finish(&w);
	if (err == ERR_OK)
		err = rpc_hand_over(r, buf_span(&b), join);
	buf_fini(&b);
	if (err != ERR_OK) {
		r->terminal = NULL;
		terminal_forget(t);
		rpc_fail(r, err,
			 "a connection that becomes a terminal can have no "
			 "other request");
	}
}

static void open_terminal(struct rpc *r, struct session *s, struct buf *line,
			  struct buf *what, bool read_only)
{
	const char *line_text, *what_text;
	enum err err = buf_terminate(line, &line_text);

	if (err == ERR_OK)
		err = buf_terminate(what, &what_text);
	if (err != ERR_OK) {
		rpc_bad_params(r, "parameter argv: holds a NUL");
		return;
	}
	/* Known to the request at once: its client may leave any time. */
	err = terminal_new(s, r->conn->actor, line_text, what_text, read_only,
			   on_terminal, r, &r->terminal);
	if (err == ERR_STATE)
		rpc_fail(r, err, "session %s is %s, not ready", s->id,
			 session_state_text(s->state));
	else if (err == ERR_LIMIT)
		rpc_fail(r, err, "session %s has %u terminals, its limit",
			 s->id, SESSION_TERMINALS_MAX);
	else if (err != ERR_OK)
		rpc_fail(r, err, "no terminal: %s", err_text(err));
}

static void session_exec(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"session", "argv", "tty", "rows",
					   "cols",    "env",  "cwd", NULL};
	struct buf line, what;
	struct session *s;

	if (!rpc_check_keys(r, params, keys))
		return;
	s = get_session(r, params);
	if (!s)
		return;
	buf_init(&line, LINE_MAX_BYTES);
	buf_init(&what, 1024);
	if (make_line(r, params, "exec", NULL, &line, &what))
		open_terminal(r, s, &line, &what, false);
	buf_fini(&line);
	buf_fini(&what);
}

static void session_attach(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"session", "rows", "cols",
					   "read_only", NULL};
	struct buf line, what;
	struct session *s;
	uint64_t rows, cols;
	bool read_only;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_bool(r, params, "read_only", false, &read_only) ||
	    !rpc_get_u64(r, params, "rows", 1, 500, 24, &rows) ||
	    !rpc_get_u64(r, params, "cols", 1, 1000, 80, &cols))
		return;
	s = get_session(r, params);
	if (!s)
		return;
	if (!s->main_running) {
		rpc_fail(r, ERR_STATE,
			 "session %s has no kept program to attach to; start "
			 "one with `kenaz session exec %s`",
			 s->id, s->id);
		return;
	}
	buf_init(&line, 512);
	buf_init(&what, 64);
	if (buf_printf(&line,
		       "{\"op\":\"attach\",\"name\":\"main\",\"rows\":%u,"
		       "\"cols\":%u}",
		       (unsigned)rows, (unsigned)cols) == ERR_OK &&
	    buf_put_text(&what, "attach main") == ERR_OK)
		open_terminal(r, s, &line, &what, read_only);
	else
		rpc_fail(r, ERR_MEMORY, "%s", err_text(ERR_MEMORY));
	buf_fini(&line);
	buf_fini(&what);
}

const struct rpc_method rpc_session_methods[] = {
	{"session.start", session_start},   {"session.list", session_list},
	{"session.show", session_show},     {"session.stop", session_stop},
	{"session.wait", session_wait},     {"session.exec", session_exec},
	{"session.attach", session_attach}, {NULL, NULL},
};
