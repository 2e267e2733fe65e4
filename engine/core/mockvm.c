/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mockvm.c - kenaz-guestd as a host process: no isolation, for development
 *
 * Runs in: kenazd started with --dev-mock-vm, which no file can switch on.
 * Trusts:  the developer who asked for it.
 * Never:   is silent about what it is: session.start, every surface and the
 *	    guest's environment say "no isolation".
 *
 * The folder RUNTIME/mock-SESSION stands for vsock: guestd connects to its
 * sockets host-1024 and host-1025 and listens on guest-1024. Core plays the
 * launcher's part towards the gate.
 */
#include "engine/core/mockvm.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/tunnel.h"

#define MOCK_BACKLOG 64

struct listener {
	uv_poll_t poll;
	int fd;
	uint32_t port;
	struct mockvm *mock;
};

struct mockvm {
	struct session *session;
	struct child *guestd;
	struct chan *gate;
	struct listener listeners[2];
	char folder[PATHS_MAX_BYTES];
	int handles;
	bool closing;
};

static enum err set_address(const struct mockvm *m, const char *name,
			    struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	return text_format(ret_address->sun_path, sizeof(ret_address->sun_path),
			   "%s/%s", m->folder, name);
}

static void on_connection(uv_poll_t *handle, int status, int events)
{
	struct listener *l = handle->data;
	struct msg_guest_stream stream = {.guest_port = 0};
	int fd;

	(void)events;
	if (status < 0)
		return;
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (l->port == PORT_HOST_EGRESS)
		tunnel_new(l->mock->session, fd);
	else if (chan_send_guest_stream(l->mock->gate, &stream, &fd, 1) !=
		 ERR_OK)
		log_warn("mock VM: a connection was lost");
}

static enum err listen_on(struct mockvm *m, struct listener *l, uint32_t port)
{
	struct sockaddr_un address;
	char name[32];
	enum err err;

	l->port = port;
	l->mock = m;
	(void)snprintf(name, sizeof(name), "host-%u", port);
	err = set_address(m, name, &address);
	if (err != ERR_OK)
		return err;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return ERR_SYS;
	if (bind(l->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(l->fd, MOCK_BACKLOG) < 0 ||
	    uv_poll_init(&m->session->engine->loop, &l->poll, l->fd) != 0) {
		close(l->fd);
		l->fd = -1;
		return ERR_SYS;
	}
	m->handles++;
	l->poll.data = l;
	return uv_poll_start(&l->poll, UV_READABLE, on_connection) == 0
		       ? ERR_OK
		       : ERR_SYS;
}

static enum err on_gate_message(struct chan *c, void *context,
				struct chan_message *m)
{
	(void)c;
	(void)context;
	(void)m;
	return ERR_STATE;
}

static const struct chan_handler gate_handler = {on_gate_message, NULL};

static void on_gone(struct child *c, void *context, const char *why)
{
	struct mockvm *m = context;
	struct session *s = m->session;

	child_end(c);
	m->guestd = NULL;
	session_end(s, s->state == SESSION_STOPPING ? ERR_OK : ERR_CLOSED, why);
	s->deadline_ns = 0; /* the next tick finishes it */
}

/**
 * mockvm_new() - Start guestd as a host process for a session
 * @s:			Session
 * @gate_channel_fd:	Launch's end of the channel to the gate, owned
 * @ret_mock:		mockvm_free() when done
 *
 * Return: ERR_OK; ERR_SYS; ERR_LIMIT; ERR_MEMORY.
 */
enum err mockvm_new(struct session *s, int gate_channel_fd,
		    struct mockvm **ret_mock)
{
	struct mockvm *m = calloc(1, sizeof(*m));
	struct engine *e = s->engine;
	char arguments[PATHS_MAX_BYTES + 32], name[64];
	enum err err;

	if (!m) {
		close(gate_channel_fd);
		return ERR_MEMORY;
	}
	m->session = s;
	m->listeners[0].fd = m->listeners[1].fd = -1;
	err = chan_new(&e->loop, gate_channel_fd, ROLE_LAUNCH, ROLE_GATE,
		       &gate_handler, m, &m->gate);
	(void)snprintf(name, sizeof(name), "mock-%s", s->id);
	if (err == ERR_OK)
		err = paths_join(e->paths.runtime.path, name, m->folder,
				 sizeof(m->folder));
	if (err == ERR_OK && mkdir(m->folder, 0700) < 0)
		err = ERR_SYS;
	if (err == ERR_OK)
		err = listen_on(m, &m->listeners[0], PORT_HOST_GATE);
	if (err == ERR_OK)
		err = listen_on(m, &m->listeners[1], PORT_HOST_EGRESS);
	(void)snprintf(arguments, sizeof(arguments), "--dev-mock\n%s",
		       m->folder);
	if (err == ERR_OK)
		err = child_start(e, ROLE_MOCK, arguments, NULL, 0, &m->guestd);
	if (err != ERR_OK) {
		mockvm_free(m);
		return err;
	}
	m->guestd->context = m;
	m->guestd->on_gone = on_gone;
	*ret_mock = m;
	return ERR_OK;
}

/**
 * mockvm_connect() - A stream to guestd's port 1024
 * @m:		Mock VM
 * @ret_fd:	Owned by the caller
 *
 * Return: ERR_OK; ERR_CLOSED when guestd does not listen; ERR_SYS.
 */
enum err mockvm_connect(struct mockvm *m, int *ret_fd)
{
	struct sockaddr_un address;
	enum err err = set_address(m, "guest-1024", &address);
	int fd;

	if (err != ERR_OK)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_SYS;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return ERR_CLOSED;
	}
	*ret_fd = fd;
	return ERR_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;
	struct mockvm *m = l->mock;

	close(l->fd);
	if (--m->handles == 0)
		free(m);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	/* What cannot be removed is only left over in the runtime folder. */
	(void)remove(path);
	return 0;
}

/** mockvm_free() - End guestd and remove its folder; NULL is accepted */
void mockvm_free(struct mockvm *m)
{
	struct sockaddr_un address;
	size_t i;

	if (!m || m->closing)
		return;
	m->closing = true;
	child_kill(m->guestd);
	child_end(m->guestd);
	chan_free(m->gate);
	for (i = 0; i < ARRAY_SIZE(m->listeners); i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "host-%u",
			       m->listeners[i].port);
		if (set_address(m, name, &address) == ERR_OK)
			(void)unlink(address.sun_path);
	}
	if (set_address(m, "guest-1024", &address) == ERR_OK)
		(void)unlink(address.sun_path);
	if (m->folder[0])
		(void)nftw(m->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	if (m->handles == 0) {
		free(m);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(m->listeners); i++)
		if (m->listeners[i].fd >= 0)
			uv_close((uv_handle_t *)&m->listeners[i].poll,
				 on_handle_closed);
}
