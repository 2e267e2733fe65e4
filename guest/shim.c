/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shim.c - loopback listeners in front of the host's ports
 *
 * Runs in: kenaz-guestd.
 * Trusts:  nothing; any program of the guest may connect.
 * Never:   reads what goes to the gate; listens anywhere but on 127.0.0.1.
 *
 * Past SHIM_MAX_STREAMS new connections wait in the kernel's backlog until
 * others have ended.
 */
#include "guest/shim.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/loop.h"
#include "guest/proxy.h"
#include "guest/pump.h"
#include "guest/transport.h"

#define SHIM_BACKLOG_STREAMS 128
#define SHIM_FULL_NS         (50 * LOOP_MS_NS)

struct shim {
	struct watch watch;
	struct timer timer;
	void (*take)(int fd);
};

static const char unreachable[] =
	"HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\n"
	"Connection: close\r\n\r\n"
	"{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":"
	"\"Kenaz: the host's gate is not reachable\"}}\n";

static struct shim gate_shim, proxy_shim;

static void take_gate(int fd)
{
	int host_fd;

	if (transport_connect(TRANSPORT_PORT_GATE, &host_fd) != ERR_OK) {
		(void)!send(fd, unreachable, sizeof(unreachable) - 1,
			    MSG_NOSIGNAL);
		(void)close(fd);
		return;
	}
	if (pump_start_connecting(fd, host_fd, unreachable) != ERR_OK)
		return; /* it closed both */
}

static void on_room(struct timer *timer)
{
	struct shim *shim = timer->owner;

	if (watch_set(&shim->watch, EPOLLIN) != ERR_OK)
		timer_start(timer, SHIM_FULL_NS, on_room, shim);
}

static void on_accept(struct watch *watch, uint32_t events)
{
	struct shim *shim = watch->owner;
	int one = 1, fd;

	(void)events;
	if (pump_count() + proxy_count() < SHIM_MAX_STREAMS) {
		fd = accept4(watch->fd, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
					 sizeof(one));
			shim->take(fd);
			return;
		}
	}
	if (watch_set(watch, 0) == ERR_OK)
		timer_start(&shim->timer, SHIM_FULL_NS, on_room, shim);
}

static enum err listen_on(struct shim *shim, unsigned port, void (*take)(int),
			  unsigned *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)port),
				      .sin_addr = {.s_addr = htonl(
							   INADDR_LOOPBACK)}};
	socklen_t len = sizeof(address);
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return ERR_SYS;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, (const struct sockaddr *)&address, len) != 0 ||
	    listen(fd, SHIM_BACKLOG_STREAMS) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		goto fail;
	shim->take = take;
	watch_init(&shim->watch, fd, on_accept, shim);
	if (watch_set(&shim->watch, EPOLLIN) != ERR_OK)
		goto fail;
	*ret_port = ntohs(address.sin_port);
	return ERR_OK;
fail:
	(void)close(fd);
	return ERR_SYS;
}

/**
 * shim_listen_gate() - Offer the gate's HTTP on loopback
 * @port:	TCP port; 0 lets the kernel choose (mock)
 * @ret_port:	The port
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err shim_listen_gate(unsigned port, unsigned *ret_port)
{
	return listen_on(&gate_shim, port, take_gate, ret_port);
}

/**
 * shim_listen_proxy() - Offer the HTTP proxy in front of the egress
 * @port:	TCP port; 0 lets the kernel choose (mock)
 * @ret_port:	The port
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err shim_listen_proxy(unsigned port, unsigned *ret_port)
{
	return listen_on(&proxy_shim, port, proxy_take, ret_port);
}
