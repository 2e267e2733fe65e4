/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_door.c - the socket through which a user reaches ports of a guest
 *
 * Runs in: kenazd.
 * Trusts:  nothing that a client sends but one bounded line; its user by
 *	    SO_PEERCRED, as on the control socket.
 * Never:   reads a byte after that line, or one of the guest's; passes a
 *	    stream on before vsock.connect is durable.
 *
 * Why core: it owns the sockets of local users already, knows session and
 * policy, and the line is twenty bytes of a person it has authenticated. The
 * launcher, which has the guest's streams, would gain a parser of clients and
 * a folder; the gate parses a hostile guest and must not listen for anybody.
 * The gate then carries the bytes of both, as it does for terminals.
 *
 * Theory of operation, for each client: LINE -> ASKED (only with `ask`) ->
 * INTENT (vsock.connect is being written) -> CONNECTING (launch makes the
 * stream) -> `OK PORT\n` -> JOINED (the gate has both descriptors and reports
 * the end). Whoever is refused is closed without an answer, as Firecracker
 * does; the log says why.
 *
 * The socket is there only while a rule of the policy could allow a
 * connection, from `ready` on, for sessions of the engine's own user: its
 * folder is closed to all others.
 */
#include "engine/core/vsock_door.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/approving.h"
#include "engine/core/infer.h"
#include "engine/core/vsock_line.h"

enum client_state {
	CLIENT_LINE,
	CLIENT_ASKED,
	CLIENT_INTENT,
	CLIENT_CONNECTING,
	CLIENT_JOINED,
};

struct vsock_client {
	LIST_ENTRY(vsock_client) next;
	struct session *session;
	enum client_state state;
	uint64_t id, since_ns, approval;
	uid_t uid;
	pid_t pid;
	uint32_t port, host_port;
	int fd; /* -1 once the gate has it */
	uv_poll_t *poll;
	uint8_t line[VSOCK_LINE_MAX_BYTES];
	size_t line_bytes;
	bool written; /* vsock.connect was appended */
};

struct vsock_door {
	struct session *session;
	int fd;
	uv_poll_t *poll;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	LIST_HEAD(, vsock_client) clients;
	size_t n_clients;
	bool stalled; /* core has no descriptor left */
};

/* --- handles of the loop ------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
	free(handle);
}

/* A handle lives until the loop lets it go, longer than its owner. */
static uv_poll_t *watch(struct engine *e, int fd, uv_poll_cb fn, void *owner)
{
	uv_poll_t *poll = calloc(1, sizeof(*poll));

	if (!poll)
		return NULL;
	if (uv_poll_init(&e->loop, poll, fd) != 0) {
		free(poll);
		return NULL;
	}
	poll->data = owner;
	if (uv_poll_start(poll, UV_READABLE, fn) == 0)
		return poll;
	uv_close((uv_handle_t *)poll, on_handle_closed);
	return NULL;
}

static void unwatch(uv_poll_t **poll)
{
	if (*poll) {
		(void)uv_poll_stop(*poll);
		uv_close((uv_handle_t *)*poll, on_handle_closed);
	}
	*poll = NULL;
}

static struct vsock_client *find(struct session *s, uint64_t id)
{
	struct vsock_client *c;

	if (!s->door)
		return NULL;
	LIST_FOREACH(c, &s->door->clients, next)
	if (c->id == id)
		return c;
	return NULL;
}

/* --- one client ---------------------------------------------------------- */

static enum err put_where(const struct vsock_client *c, struct buf *b)
{
	enum err err = attrs_put_u64(b, "kenaz.vsock.connection", c->id);

	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.vsock.port", c->port);
	return err;
}

static void note_closed(struct vsock_client *c,
			const struct msg_vsock_closed *m, enum err error,
			const char *reason)
{
	struct session *s = c->session;
	struct buf b;
	enum err err;

	if (!c->written)
		return;
	buf_init(&b, 4096);
	err = put_where(c, &b);
	if (err == ERR_OK && c->host_port)
		err = attrs_put_u64(&b, "kenaz.vsock.host_port", c->host_port);
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.bytes_to_guest",
				    m ? m->bytes_to_guest : 0);
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.bytes_from_guest",
				    m ? m->bytes_from_guest : 0);
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.duration_ms",
				    (engine_now_ns() - c->since_ns) / 1000000u);
	if (err == ERR_OK && error != ERR_OK)
		err = attrs_put_text(&b, "error.type",
				     span_text(err_name(error)));
	if (err == ERR_OK && reason && reason[0])
		err = attrs_put_text(&b, "kenaz.reason", span_text(reason));
	if (err == ERR_OK)
		session_note(s, "vsock.close", buf_span(&b));
	buf_fini(&b);
}

static void client_free(struct vsock_client *c)
{
	struct session *s = c->session;

	audit_forget(s->engine, c);
	session_stream_forget(s, c);
	if (c->approval)
		approving_withdraw(s->engine, c->approval,
				   "its client is gone");
	unwatch(&c->poll);
	if (c->fd >= 0)
		close(c->fd);
	LIST_REMOVE(c, next);
	s->door->n_clients--;
	free(c);
}

static void fail(struct vsock_client *c, enum err error, const char *reason)
{
	log_info("session %s: a connection to port %u was not made: %s",
		 c->session->id, c->port, reason);
	note_closed(c, NULL, error, reason);
	client_free(c);
}

/* The line is all that is written here, to a socket that was never used. */
static void join(struct vsock_client *c, int stream_fd)
{
	struct msg_vsock_join m = {.connection = c->id};
	struct session *s = c->session;
	int fds[2] = {c->fd, stream_fd};
	char line[32];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	if (send(c->fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n) {
		close(stream_fd);
		fail(c, ERR_CLOSED, "the client left");
		return;
	}
	c->fd = -1;
	if (!s->gate) {
		close(fds[0]);
		close(fds[1]);
		fail(c, ERR_CLOSED, "the gate was lost");
	} else if (chan_send_vsock_join(s->gate->chan, &m, fds, 2) != ERR_OK) {
		fail(c, ERR_CLOSED, "the gate was lost");
	} else {
		c->state = CLIENT_JOINED;
	}
}

static void on_stream(void *context, enum err error, int fd, uint32_t host_port)
{
	struct vsock_client *c = context;

	if (error != ERR_OK) {
		fail(c, error, "the guest does not accept the connection");
		return;
	}
	c->host_port = host_port;
	join(c, fd);
}

static void on_durable(void *context, struct audit_outcome *o)
{
	struct vsock_client *c = context;
	enum err err;

	if (o->error != ERR_OK) {
		c->written = false;
		fail(c, o->error, "the log cannot be written");
		return;
	}
	c->state = CLIENT_CONNECTING;
	err = session_stream_to(c->session, c->port, on_stream, c);
	if (err != ERR_OK)
		fail(c, err, "no stream to the guest can be made");
}

static void write_intent(struct vsock_client *c, struct buf *b)
{
	struct session *s = c->session;
	struct audit_event event = {.kind = "vsock.connect",
				    .session = s->id,
				    .actor = s->actor,
				    .payload_fd = -1};
	enum err err = attrs_put_u64(b, "kenaz.client.pid", (uint64_t)c->pid);

	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.client.uid", c->uid);
	event.attributes = buf_span(b);
	c->state = CLIENT_INTENT;
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, on_durable, c);
	if (err == ERR_OK)
		c->written = true;
	else
		fail(c, err, "the log cannot be written");
}

static enum err ask(struct vsock_client *c, const struct policy_decision *d)
{
	struct session *s = c->session;
	struct approval_question q = {.session = s->id,
				      .user = s->user,
				      .rule = d->rule,
				      .kind = POLICY_VSOCK,
				      .context = c->id};
	char summary[128];
	struct buf b;
	enum err err;

	(void)snprintf(summary, sizeof(summary),
		       "connect to port %u of the VM, process %d", c->port,
		       (int)c->pid);
	q.summary = span_text(summary);
	digest_sha256(q.summary, q.digest);
	err = approvals_ask(s->engine->approvals, &q, engine_now_ns(),
			    &c->approval);
	if (err != ERR_OK)
		return err;
	c->state = CLIENT_ASKED;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_where(c, &b);
	if (err == ERR_OK)
		err = infer_put_decision(&b, d);
	if (err == ERR_OK)
		err = approving_put_question(&b, c->approval, "vsock", &q);
	if (err == ERR_OK)
		session_note(s, "approval.requested", buf_span(&b));
	buf_fini(&b);
	return ERR_OK;
}

static void judge(struct vsock_client *c)
{
	struct session *s = c->session;
	struct policy_request request = {.target = POLICY_VSOCK,
					 .user = span_text(s->user),
					 .image = span_text(s->image),
					 .port = c->port};
	struct policy_decision d;
	struct buf b;
	enum err err;

	policy_evaluate(s->engine->policy, &request, &d);
	if (d.effect == POLICY_ASK && ask(c, &d) == ERR_OK)
		return;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.policy.target", span_text("vsock"));
	if (err == ERR_OK)
		err = put_where(c, &b);
	if (err == ERR_OK)
		err = infer_put_decision(&b, &d);
	if (err == ERR_OK && d.effect == POLICY_ALLOW) {
		write_intent(c, &b);
	} else {
		if (err == ERR_OK)
			session_note(s, "policy.deny", buf_span(&b));
		fail(c, ERR_DENIED, d.rule);
	}
	buf_fini(&b);
}

/**
 * vsock_door_decided() - Somebody answered an approval of a connection
 * @s:		Session
 * @id:		The question's context
 * @granted:	Whether it may be made
 * @rule:	Rule that asked
 * @text:	Who decided, or why nobody did
 */
void vsock_door_decided(struct session *s, uint64_t id, bool granted,
			const char *rule, const char *text)
{
	struct vsock_client *c = find(s, id);
	struct buf b;
	enum err err;

	if (!c || c->state != CLIENT_ASKED)
		return;
	c->approval = 0;
	if (!granted) {
		fail(c, ERR_DENIED, text);
		return;
	}
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = attrs_put_text(&b, "kenaz.policy.target", span_text("vsock"));
	if (err == ERR_OK)
		err = put_where(c, &b);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.policy.rule", span_text(rule));
	if (err == ERR_OK)
		write_intent(c, &b);
	else
		fail(c, err, "the log cannot be written");
	buf_fini(&b);
}

static void take_line(struct vsock_client *c)
{
	unwatch(&c->poll);
	if (c->port == PORT_GUEST_HOST)
		fail(c, ERR_DENIED, "that port is Kenaz's own");
	else if (!session_is_live(c->session) || !session_admits(c->session))
		fail(c, ERR_LIMIT, "too many events, or the session ends");
	else
		judge(c);
}

/* Peeks first: what follows the line's end must stay in the socket. */
static void on_client(uv_poll_t *poll, int status, int events)
{
	struct vsock_client *c = poll->data;
	uint8_t *at = c->line + c->line_bytes;
	ssize_t n, taken;
	size_t len;
	enum err e;

	(void)status;
	(void)events;
	n = recv(c->fd, at, sizeof(c->line) - c->line_bytes,
		 MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(c, ERR_CLOSED, "the client left");
		return;
	}
	len = c->line_bytes + (size_t)n;
	e = vsock_line_parse(span_of(c->line, len), &len, &c->port);
	taken = (ssize_t)(len - c->line_bytes);
	if ((e == ERR_OK || e == ERR_AGAIN) &&
	    recv(c->fd, at, (size_t)taken, MSG_DONTWAIT) != taken)
		e = ERR_CLOSED;
	c->line_bytes = len;
	if (e == ERR_OK)
		take_line(c);
	else if (e != ERR_AGAIN)
		fail(c, e, "the line is not CONNECT and a port");
}

static void take_client(struct vsock_door *door, int fd)
{
	struct session *s = door->session;
	struct vsock_client *c = NULL;
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    peer.uid != s->uid || door->n_clients >= VSOCK_DOOR_CLIENTS_MAX) {
		log_info("session %s: a client of its socket was refused",
			 s->id);
		close(fd);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (c)
		c->poll = watch(s->engine, fd, on_client, c);
	if (!c || !c->poll) {
		free(c);
		close(fd);
		return;
	}
	c->session = s;
	c->fd = fd;
	c->uid = peer.uid;
	c->pid = peer.pid;
	c->id = engine_next_request(s->engine);
	c->since_ns = engine_now_ns();
	LIST_INSERT_HEAD(&door->clients, c, next);
	door->n_clients++;
}

/* --- the socket ---------------------------------------------------------- */

static void on_door(uv_poll_t *poll, int status, int events)
{
	struct vsock_door *door = poll->data;
	int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)status;
	(void)events;
	if (fd >= 0) {
		take_client(door, fd);
	} else if (errno == EMFILE || errno == ENFILE) {
		/* Looked at again by vsock_door_tick(). */
		(void)uv_poll_stop(door->poll);
		door->stalled = true;
	}
}

static enum err make_folder(struct engine *e, char *ret_folder,
			    size_t cap_bytes)
{
	struct conf_error error;
	enum err err = paths_join(e->paths.runtime.path, VSOCK_DOOR_FOLDER,
				  ret_folder, cap_bytes);

	conf_error_init(&error);
	if (err == ERR_OK)
		err = paths_make_private(ret_folder, &error);
	if (err != ERR_OK && error.text[0])
		log_error("%s", error.text);
	return err;
}

static enum err listen_at(struct vsock_door *door)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	enum err err = span_copy_text(span_text(door->path), address.sun_path,
				      sizeof(address.sun_path));

	if (err != ERR_OK)
		return err;
	door->fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (door->fd < 0 ||
	    bind(door->fd, (const struct sockaddr *)&address, sizeof(address)) <
		    0 ||
	    chmod(door->path, S_IRUSR | S_IWUSR) < 0 ||
	    listen(door->fd, VSOCK_DOOR_BACKLOG) < 0)
		return ERR_SYS;
	door->poll = watch(door->session->engine, door->fd, on_door, door);
	return door->poll ? ERR_OK : ERR_MEMORY;
}

/**
 * vsock_door_open() - The session is ready: offer its socket, if policy may
 *		       allow anybody to use it
 * @s:	Session
 */
void vsock_door_open(struct session *s)
{
	struct engine *e = s->engine;
	struct vsock_door *door;
	char folder[PATHS_MAX_BYTES];
	enum err err;

	if (s->door || s->mock || s->uid != e->uid ||
	    !policy_may_allow(e->policy, POLICY_VSOCK))
		return;
	door = calloc(1, sizeof(*door));
	if (!door)
		return;
	door->session = s;
	door->fd = -1;
	LIST_INIT(&door->clients);
	s->door = door;
	err = make_folder(e, folder, sizeof(folder));
	if (err == ERR_OK)
		err = text_format(door->path, sizeof(door->path), "%s/%s.sock",
				  folder, s->id);
	if (err == ERR_OK)
		err = listen_at(door);
	if (err == ERR_OK)
		return;
	log_error("session %s has no socket for its ports: %s", s->id,
		  err == ERR_SYS     ? strerror(errno)
		  : err == ERR_LIMIT ? "the runtime folder's path is too long"
				     : err_text(err));
	vsock_door_end(s, "no socket");
}

/** vsock_door_path() - Where it is; "" while there is none */
const char *vsock_door_path(const struct session *s)
{
	return s->door && s->door->fd >= 0 ? s->door->path : "";
}

/** vsock_door_clients() - How many clients it has, joined ones included */
size_t vsock_door_clients(const struct session *s)
{
	return s->door ? s->door->n_clients : 0;
}

/** vsock_door_tick() - Drop clients that do not finish their line */
void vsock_door_tick(struct session *s, uint64_t now_ns)
{
	struct vsock_client *c, *after;

	if (s->door && s->door->stalled && s->door->poll)
		s->door->stalled =
			uv_poll_start(s->door->poll, UV_READABLE, on_door) != 0;
	for (c = s->door ? LIST_FIRST(&s->door->clients) : NULL; c; c = after) {
		after = LIST_NEXT(c, next);
		if (c->state == CLIENT_LINE &&
		    now_ns > c->since_ns + VSOCK_DOOR_LINE_MAX_NS)
			fail(c, ERR_TIMEOUT, "its line did not come in time");
	}
}

static void close_door(struct vsock_door *door)
{
	if (door->fd < 0)
		return;
	unwatch(&door->poll);
	close(door->fd);
	door->fd = -1;
	(void)unlink(door->path);
}

/**
 * vsock_door_end() - The session ends: so do its socket and connections
 * @s:		Session; called when it begins to stop and when it has
 * @reason:	For the log
 */
void vsock_door_end(struct session *s, const char *reason)
{
	struct vsock_client *c, *after;

	if (!s->door)
		return;
	close_door(s->door);
	for (c = LIST_FIRST(&s->door->clients); c; c = after) {
		after = LIST_NEXT(c, next);
		if (c->state == CLIENT_JOINED && s->gate &&
		    chan_is_open(s->gate->chan) &&
		    s->state == SESSION_STOPPING && !s->finishing)
			continue; /* the gate still reports it */
		fail(c, ERR_CLOSED, reason);
	}
	if (LIST_EMPTY(&s->door->clients)) {
		free(s->door);
		s->door = NULL;
	}
}

/** vsock_door_on_closed() - The gate reports the end of a connection */
enum err vsock_door_on_closed(struct session *s, struct span payload)
{
	struct msg_vsock_closed m;
	struct vsock_client *c;
	char text[256];
	enum err err = msg_vsock_closed_get(payload, &m);

	if (err != ERR_OK)
		return err;
	c = find(s, m.connection);
	if (!c || c->state != CLIENT_JOINED)
		return ERR_OK; /* its end was written down already */
	(void)text_escape_line(m.text, text, sizeof(text));
	s->usage.bytes += m.bytes_to_guest + m.bytes_from_guest;
	note_closed(c, &m, err_from_wire(m.error), text);
	client_free(c);
	return ERR_OK;
}

/**
 * vsock_door_clean() - Remove what an engine left that was killed
 * @e:	Engine that has its folders, before any session
 */
void vsock_door_clean(struct engine *e)
{
	char folder[PATHS_MAX_BYTES];
	const struct dirent *entry;
	DIR *dir;

	if (paths_join(e->paths.runtime.path, VSOCK_DOOR_FOLDER, folder,
		       sizeof(folder)) != ERR_OK)
		return;
	dir = opendir(folder);
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	(void)closedir(dir);
	(void)rmdir(folder);
}
