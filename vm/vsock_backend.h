/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_backend.h - what the launcher needs of a vsock transport
 *
 * Both the device in this process and the kernel's vhost-vsock give plain
 * connected stream sockets; nothing above this line knows which it was.
 */
#ifndef KENAZ_VM_VSOCK_BACKEND_H
#define KENAZ_VM_VSOCK_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct vsock_backend;

/* Calls from a backend to its owner, never from within the owner's calls. */
struct vsock_events {
	/* A guest connected to a listened port; @fd is the owner's now. */
	void (*accepted)(void *arg, uint32_t host_port, uint32_t guest_port,
			 int fd);
	/* The answer to connect(); @fd is -1 unless @e is ERR_OK, and then
	 * @host_port is the stream's port on our side. */
	void (*connected)(void *arg, uint64_t cookie, enum err e, int fd,
			  uint32_t host_port);
	/* The guest broke the transport for good; @why is static text. */
	void (*failed)(void *arg, const char *why);
};

struct vsock_backend_ops {
	const char *name;
	/* Let the guest connect to @host_port, at most @max_streams at once. */
	enum err (*listen)(struct vsock_backend *b, uint32_t host_port,
			   uint32_t max_streams);
	/* Connect to the guest; exactly one connected() with @cookie follows
	 * when this gives ERR_OK, none otherwise. */
	enum err (*connect)(struct vsock_backend *b, uint32_t guest_port,
			    uint64_t cookie, uint64_t now_ns);
	/* Readable when turn() has something to do; owned by the backend. */
	int (*poll_fd)(const struct vsock_backend *b);
	void (*turn)(struct vsock_backend *b, uint64_t now_ns);
	/* End what is past its deadline; to be called about twice a second
	 * while has_deadlines() says so. */
	void (*expire)(struct vsock_backend *b, uint64_t now_ns);
	bool (*has_deadlines)(const struct vsock_backend *b);
	void (*free)(struct vsock_backend *b);
};

struct vsock_backend {
	const struct vsock_backend_ops *ops;
};

#endif
