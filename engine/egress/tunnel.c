/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tunnel.c - one guest stream on its way to one allowed destination
 *
 * Runs in: kenaz-egress.
 * Trusts:  core's verdicts; nothing that the guest sends or a resolver says.
 * Never:   resolves a name before it is allowed, or twice; connects to an
 *	    address that core has not made durable; hands on a byte before.
 *
 * Theory of operation
 *
 *	LINE --ask--> ASKED --allow--> RESOLVING --resolved--> RESOLVED
 *	  --connect--> CONNECTING --ok--> PIPING --> CLOSED
 *
 * Every arrow to the right needs core's word or the network's; every state
 * has a deadline; every state can go to CLOSED, which is reported once. The
 * guest gets one line first: "ok", "denied RULE" or "failed REASON".
 */
#include "engine/egress/tunnel.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/egress/address.h"
#include "engine/egress/host_line.h"
#include "engine/egress/pump.h"

#define ANSWER_MAX_BYTES 512u

enum state {
	LINE,
	ASKED,
	RESOLVING,
	RESOLVED,
	CONNECTING,
	PIPING,
	CLOSED,
	STATE_COUNT
};

struct tunnel {
	struct tunnel *next;
	struct tunnel_host *host;
	uint64_t number;
	enum state state;
	int handles;
	bool resolving;     /* the resolver still has the request */
	bool answered;      /* the guest got its line */
	bool allow_private; /* of the verdict */
	int guest_fd, remote_fd;
	uv_poll_t guest, remote;
	bool remote_watched;
	uv_timer_t timer;
	uv_getaddrinfo_t resolver;
	uint64_t started_ns, since_ns; /* of the state, or the last byte */
	uint8_t input[HOST_LINE_MAX_BYTES];
	size_t input_bytes, line_bytes;
	struct host_line line;
	struct sockaddr_storage address;
	socklen_t address_bytes;
	struct pump *pump;
};

static const struct {
	uint64_t max_ns;
	const char *late;
} states[] = {
	[LINE] = {TUNNEL_LINE_MAX_NS, "the guest named no destination"},
	[ASKED] = {TUNNEL_VERDICT_MAX_NS, "no decision was made in time"},
	[RESOLVING] = {TUNNEL_RESOLVE_MAX_NS,
		       "the name was not resolved in time"},
	[RESOLVED] = {TUNNEL_VERDICT_MAX_NS,
		      "the connection was not recorded in time"},
	[CONNECTING] = {TUNNEL_CONNECT_MAX_NS,
			"the destination did not answer in time"},
	[PIPING] = {0, "the connection was idle for too long"},
	[CLOSED] = {UINT64_MAX, ""},
};
_Static_assert(ARRAY_SIZE(states) == STATE_COUNT, "every state has a row");

/** tunnel_number() - Number that core gave it */
uint64_t tunnel_number(const struct tunnel *t)
{
	return t->number;
}

/** tunnel_next() - Next in the owner's list */
struct tunnel *tunnel_next(const struct tunnel *t)
{
	return t->next;
}

/** tunnel_set_next() - Link into the owner's list */
void tunnel_set_next(struct tunnel *t, struct tunnel *next)
{
	t->next = next;
}

static void maybe_free(struct tunnel *t)
{
	if (t->handles > 0 || t->resolving)
		return;
	if (t->guest_fd >= 0)
		(void)close(t->guest_fd);
	if (t->remote_fd >= 0)
		(void)close(t->remote_fd);
	pump_free(t->pump);
	free(t);
}

static void on_closed(uv_handle_t *handle)
{
	struct tunnel *t = handle->data;

	t->handles--;
	maybe_free(t);
}

/* The guest's one line. It always fits into an empty socket buffer. */
static void answer(struct tunnel *t, const char *word, struct span text)
{
	char line[ANSWER_MAX_BYTES];
	char safe[ANSWER_MAX_BYTES - 16];
	int len;

	if (t->answered)
		return;
	t->answered = true;
	(void)text_escape_line(text, safe, sizeof(safe));
	len = snprintf(line, sizeof(line), "%s%s%s\n", word, safe[0] ? " " : "",
		       safe);
	/* A guest that has left needs no answer. */
	if (len > 0 && send(t->guest_fd, line, (size_t)len,
			    MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

static void close_tunnel(struct tunnel *t, enum err error, const char *text)
{
	struct msg_egress_closed m = {.tunnel = t->number,
				      .error = (int)error,
				      .text = span_text(text)};

	if (t->state == CLOSED)
		return;
	t->state = CLOSED;
	answer(t, "failed", span_text(text));
	if (t->pump) {
		m.bytes_up = t->pump->up.carried_bytes;
		m.bytes_down = t->pump->down.carried_bytes;
	}
	m.duration_ns = uv_hrtime() - t->started_ns;
	(void)shutdown(t->guest_fd, SHUT_RDWR);
	if (t->resolving)
		(void)uv_cancel((uv_req_t *)&t->resolver);
	uv_close((uv_handle_t *)&t->guest, on_closed);
	uv_close((uv_handle_t *)&t->timer, on_closed);
	if (t->remote_watched)
		uv_close((uv_handle_t *)&t->remote, on_closed);
	t->host->closed(t->host->context, t, &m);
}

/**
 * tunnel_refuse() - End a tunnel for a reason of our own
 * @t:		Tunnel
 * @error:	Why
 * @format:	As printf(3): a sentence for the guest and the log
 */
void tunnel_refuse(struct tunnel *t, enum err error, const char *format, ...)
{
	char text[REASON_MAX_BYTES];
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	close_tunnel(t, error, text);
}

/* --- deadlines ------------------------------------------------------ */

static void on_timer(uv_timer_t *timer)
{
	struct tunnel *t = timer->data;
	uint64_t now = uv_hrtime();
	uint64_t wait = states[t->state].max_ns;
	uint64_t state_end, total_end = t->started_ns + t->host->total_ns;

	if (t->state == CLOSED)
		return;
	if (t->state == PIPING)
		wait = t->host->idle_ns;
	state_end = t->since_ns + wait;
	if (now >= total_end)
		close_tunnel(t, ERR_TIMEOUT,
			     "the connection lasted longer than allowed");
	else if (now >= state_end)
		close_tunnel(t, ERR_TIMEOUT, states[t->state].late);
	else
		(void)uv_timer_start(timer, on_timer,
				     ((state_end < total_end ? state_end
							     : total_end) -
				      now) / 1000000u +
					     1,
				     0);
}

static void enter(struct tunnel *t, enum state state)
{
	t->state = state;
	t->since_ns = uv_hrtime();
	on_timer(&t->timer);
}

/* --- carrying ------------------------------------------------------- */

static void on_pipe(uv_poll_t *poll, int status, int events);

static void watch(uv_poll_t *poll, int events)
{
	if (events)
		(void)uv_poll_start(poll, events, on_pipe);
	else
		(void)uv_poll_stop(poll);
}

static void carry(struct tunnel *t)
{
	bool moved;
	enum err e = pump_run(t->pump, &moved);
	unsigned wants;

	if (moved)
		t->since_ns = uv_hrtime();
	if (e != ERR_OK) {
		close_tunnel(t, e, "one side broke the connection");
		return;
	}
	if (pump_finished(t->pump)) {
		close_tunnel(t, ERR_OK, "");
		return;
	}
	wants = pump_wants(t->pump);
	watch(&t->guest, (wants & PUMP_READS_GUEST ? UV_READABLE : 0) |
				 (wants & PUMP_WRITES_GUEST ? UV_WRITABLE : 0));
	watch(&t->remote,
	      (wants & PUMP_READS_REMOTE ? UV_READABLE : 0) |
		      (wants & PUMP_WRITES_REMOTE ? UV_WRITABLE : 0));
}

static void on_pipe(uv_poll_t *poll, int status, int events)
{
	struct tunnel *t = poll->data;

	(void)events;
	if (t->state != PIPING)
		return;
	if (status < 0)
		close_tunnel(t, ERR_CLOSED, "one side broke the connection");
	else
		carry(t);
}

static void start_piping(struct tunnel *t)
{
	struct span first = span_of(t->input + t->line_bytes,
				    t->input_bytes - t->line_bytes);
	enum err e = pump_new(t->guest_fd, t->remote_fd, first, &t->pump);

	if (e != ERR_OK) {
		close_tunnel(t, e, "out of memory");
		return;
	}
	enter(t, PIPING);
	answer(t, "ok", (struct span){0});
	carry(t);
}

/* --- connecting ----------------------------------------------------- */

static void on_connected(uv_poll_t *poll, int status, int events)
{
	struct tunnel *t = poll->data;
	int error = 0;
	socklen_t len = sizeof(error);

	(void)events;
	if (t->state != CONNECTING)
		return;
	if (getsockopt(t->remote_fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error == 0 && status < 0)
		error = -status;
	if (error)
		tunnel_refuse(t, ERR_CLOSED,
			      "the destination cannot be connected: %s",
			      strerror(error));
	else
		start_piping(t);
}

static void start_connecting(struct tunnel *t)
{
	int one = 1;

	enter(t, CONNECTING);
	t->remote_fd = socket(t->address.ss_family,
			      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->remote_fd < 0 ||
	    uv_poll_init_socket(t->host->loop, &t->remote, t->remote_fd) != 0) {
		close_tunnel(t, ERR_SYS, "no socket is left");
		return;
	}
	t->remote.data = t;
	t->remote_watched = true;
	t->handles++;
	/* Without it only small packets get slower. */
	(void)setsockopt(t->remote_fd, IPPROTO_TCP, TCP_NODELAY, &one,
			 sizeof(one));
	if (connect(t->remote_fd, (struct sockaddr *)&t->address,
		    t->address_bytes) < 0 &&
	    errno != EINPROGRESS) {
		tunnel_refuse(t, ERR_CLOSED,
			      "the destination cannot be connected: %s",
			      strerror(errno));
		return;
	}
	(void)uv_poll_start(&t->remote, UV_WRITABLE, on_connected);
}

/**
 * tunnel_connect() - egress.open is durable, or it is not
 * @t:	Tunnel in RESOLVED; one that closed meanwhile is let be
 * @m:	Message
 *
 * Return: ERR_OK; ERR_STATE when it was not asked for.
 */
enum err tunnel_connect(struct tunnel *t, const struct msg_egress_connect *m)
{
	if (t->state != RESOLVED)
		return ERR_STATE;
	if (m->allow)
		start_connecting(t);
	else
		tunnel_refuse(t, ERR_DENIED, "%.*s", (int)m->text.len_bytes,
			      (const char *)m->text.data);
	return ERR_OK;
}

/* --- resolving ------------------------------------------------------ */

/* All must be allowed: the one used must not depend on their order. */
static bool check_all(struct tunnel *t, const struct addrinfo *list)
{
	char text[ADDRESS_TEXT_BYTES];
	const struct addrinfo *a;
	size_t count = 0;

	for (a = list; a; a = a->ai_next) {
		enum address_kind kind = address_classify(a->ai_addr);

		if (++count > TUNNEL_ADDRESSES_MAX) {
			close_tunnel(t, ERR_LIMIT,
				     "the name has too many addresses");
			return false;
		}
		if (address_allowed(kind, t->allow_private))
			continue;
		if (address_format(a->ai_addr, text, sizeof(text)) != ERR_OK)
			text[0] = '\0';
		tunnel_refuse(t, ERR_DENIED,
			      "%s has the address %s, which is %s; only public "
			      "ones are allowed",
			      t->line.host, text, address_kind_text(kind));
		return false;
	}
	return true;
}

static void take_address(struct tunnel *t, const struct addrinfo *list)
{
	struct msg_egress_resolved m = {.tunnel = t->number,
					.port = t->line.port};
	char text[ADDRESS_TEXT_BYTES];

	if (!check_all(t, list))
		return;
	if (list->ai_addrlen > sizeof(t->address) ||
	    address_format(list->ai_addr, text, sizeof(text)) != ERR_OK) {
		close_tunnel(t, ERR_FORMAT, "the name has no usable address");
		return;
	}
	memcpy(&t->address, list->ai_addr, list->ai_addrlen);
	t->address_bytes = list->ai_addrlen;
	m.address = span_text(text);
	enter(t, RESOLVED);
	t->host->resolved(t->host->context, &m);
}

static void on_resolved(uv_getaddrinfo_t *request, int status,
			struct addrinfo *list)
{
	struct tunnel *t = request->data;

	t->resolving = false;
	if (t->state == RESOLVING) {
		if (status == 0 && list)
			take_address(t, list);
		else
			tunnel_refuse(t, ERR_NOT_FOUND,
				      "%s cannot be resolved: %s", t->line.host,
				      status ? uv_strerror(status)
					     : "no address");
	}
	uv_freeaddrinfo(list);
	maybe_free(t);
}

static void start_resolving(struct tunnel *t)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICSERV};
	char port[8];
	int rc;

	(void)snprintf(port, sizeof(port), "%u", (unsigned)t->line.port);
	if (t->line.is_address)
		hints.ai_flags |= AI_NUMERICHOST;
	enter(t, RESOLVING);
	t->resolver.data = t;
	rc = uv_getaddrinfo(t->host->loop, &t->resolver, on_resolved,
			    t->line.host, port, &hints);
	if (rc != 0) {
		tunnel_refuse(t, ERR_SYS, "names cannot be resolved: %s",
			      uv_strerror(rc));
		return;
	}
	t->resolving = true;
}

/**
 * tunnel_verdict() - Core decided about the name
 * @t:	Tunnel in ASKED
 * @m:	Message; allow means that the intent is durable
 *
 * Return: ERR_OK; ERR_STATE when it was not asked for.
 */
enum err tunnel_verdict(struct tunnel *t, const struct msg_egress_verdict *m)
{
	char text[REASON_MAX_BYTES];

	if (t->state != ASKED)
		return ERR_STATE;
	if (m->allow) {
		t->allow_private = m->allow_private != 0;
		start_resolving(t);
		return ERR_OK;
	}
	answer(t, "denied", m->rule.len_bytes ? m->rule : span_text("policy"));
	(void)text_escape_line(m->text, text, sizeof(text));
	close_tunnel(t, ERR_DENIED, text);
	return ERR_OK;
}

/* --- the guest before it is connected ------------------------------- */

static void on_guest(uv_poll_t *poll, int status, int events);

/* Whether both directions are gone, not only the guest's own. */
static bool hung_up(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void take_line(struct tunnel *t)
{
	struct msg_egress_ask m = {.tunnel = t->number};
	enum err e = host_line_parse(span_of(t->input, t->input_bytes),
				     &t->line, &t->line_bytes);

	if (e == ERR_AGAIN)
		return;
	if (e != ERR_OK) {
		close_tunnel(t, e,
			     "the destination must be a host name or an "
			     "address, a space and a port");
		return;
	}
	/* What follows waits in the socket; only a hang-up matters now. */
	(void)uv_poll_start(&t->guest, UV_DISCONNECT, on_guest);
	m.host = span_text(t->line.host);
	m.port = t->line.port;
	enter(t, ASKED);
	t->host->ask(t->host->context, &m);
}

static void on_guest(uv_poll_t *poll, int status, int events)
{
	struct tunnel *t = poll->data;
	ssize_t n;

	if (t->state == CLOSED)
		return;
	if (status < 0 || (t->state != LINE && hung_up(t->guest_fd))) {
		close_tunnel(t, ERR_CLOSED, "the guest closed the connection");
		return;
	}
	if (t->state != LINE) {
		/* It said all that it has to say: wait with it. */
		if (events & UV_DISCONNECT)
			(void)uv_poll_stop(poll);
		return;
	}
	n = recv(t->guest_fd, t->input + t->input_bytes,
		 sizeof(t->input) - t->input_bytes, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_tunnel(t, ERR_CLOSED, "the guest closed the connection");
		return;
	}
	t->input_bytes += (size_t)n;
	take_line(t);
}

/**
 * tunnel_open() - Start with a guest's fresh stream
 * @host:		Shared, borrowed
 * @number:		Core's number for it
 * @guest_fd:		Owned from here on, also on failure
 * @ret_tunnel:		Owned by itself: host->closed tells when it ended
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS.
 */
enum err tunnel_open(struct tunnel_host *host, uint64_t number, int guest_fd,
		     struct tunnel **ret_tunnel)
{
	struct tunnel *t = calloc(1, sizeof(*t));

	if (!t || uv_poll_init(host->loop, &t->guest, guest_fd) != 0) {
		enum err e = t ? ERR_SYS : ERR_MEMORY;

		free(t);
		(void)close(guest_fd);
		return e;
	}
	t->host = host;
	t->number = number;
	t->guest_fd = guest_fd;
	t->remote_fd = -1;
	t->guest.data = t;
	t->timer.data = t;
	t->handles = 2;
	t->started_ns = uv_hrtime();
	(void)uv_timer_init(host->loop, &t->timer);
	(void)uv_poll_start(&t->guest, UV_READABLE, on_guest);
	enter(t, LINE);
	*ret_tunnel = t;
	return ERR_OK;
}
