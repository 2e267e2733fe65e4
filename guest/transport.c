/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.c - streams to and from the host: vsock, or its stand-in
 *
 * Runs in: kenaz-guestd.
 * Trusts:  the host (context 2); in the mock, whoever may open the folder.
 * Never:   accepts a stream from another context than the host.
 *
 * The mock stands for a VM in the development loop: a folder holds the unix
 * sockets `host-PORT`, which kenaz-launch listens on, and `guest-PORT`,
 * which is made here.
 */
#include "guest/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "guest/boot.h"

#define TRANSPORT_BACKLOG_STREAMS 64
#define TRANSPORT_FOLDER_MAX      96 /* leaves room in sun_path */
#define STREAM_ROOM_BYTES         (512u * 1024u)

static char folder_path[TRANSPORT_FOLDER_MAX];

static bool is_mock(void)
{
	return folder_path[0] != '\0';
}

/**
 * transport_use_folder() - Streams are unix sockets in a folder
 * @folder:	Path, at most 95 bytes
 *
 * Return: ERR_OK; ERR_LIMIT for a longer path.
 */
enum err transport_use_folder(const char *folder)
{
	return span_copy_text(span_text(folder), folder_path,
			      sizeof(folder_path));
}

static enum err folder_address(const char *side, unsigned port,
			       struct sockaddr_un *ret_address)
{
	int n;

	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path),
		     "%s/%s-%u", folder_path, side, port);
	if (n < 0 || (size_t)n >= sizeof(ret_address->sun_path))
		return ERR_LIMIT;
	return ERR_OK;
}

/* Room for twice what the kernel gives a stream: half as many credit updates,
 * each of which interrupts a bulk transfer. A kernel that refuses is obeyed;
 * accepted streams have what their listener has. */
static void widen(int fd)
{
	uint64_t room = STREAM_ROOM_BYTES;

	if (setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &room,
		       sizeof(room)) == 0)
		(void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &room,
				 sizeof(room));
}

static int open_socket(void)
{
	int fd = socket(is_mock() ? AF_UNIX : AF_VSOCK,
			SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && !is_mock())
		widen(fd);
	return fd;
}

static int bind_port(int fd, unsigned port)
{
	struct sockaddr_vm vm = {.svm_family = AF_VSOCK,
				 .svm_port = port,
				 .svm_cid = VMADDR_CID_ANY};
	struct sockaddr_un un;

	if (!is_mock())
		return bind(fd, (const struct sockaddr *)&vm, sizeof(vm));
	if (folder_address("guest", port, &un) != ERR_OK)
		return -1;
	(void)unlink(un.sun_path);
	return bind(fd, (const struct sockaddr *)&un, sizeof(un));
}

/**
 * transport_listen() - Listen for streams from the host
 * @port:	Guest port
 * @ret_fd:	Non-blocking listener, owned by the caller
 *
 * Return: ERR_OK; ERR_SYS with errno (EAFNOSUPPORT without vsock).
 */
enum err transport_listen(unsigned port, int *ret_fd)
{
	int fd = open_socket();

	if (fd < 0)
		return ERR_SYS;
	if (bind_port(fd, port) != 0 ||
	    listen(fd, TRANSPORT_BACKLOG_STREAMS) != 0) {
		(void)close(fd);
		return ERR_SYS;
	}
	*ret_fd = fd;
	return ERR_OK;
}

/**
 * transport_accept() - Take one stream from the host
 * @listen_fd:	From transport_listen()
 * @ret_fd:	Non-blocking stream, owned by the caller
 *
 * Return: ERR_OK; ERR_AGAIN when none waits; ERR_PERMISSION when it came
 *	   from another context (it is closed); ERR_SYS.
 */
enum err transport_accept(int listen_fd, int *ret_fd)
{
	struct sockaddr_vm vm = {0};
	socklen_t len = sizeof(vm);
	int fd;

	if (is_mock())
		fd = accept4(listen_fd, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
	else
		fd = accept4(listen_fd, (struct sockaddr *)&vm, &len,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return errno == EAGAIN ? ERR_AGAIN : ERR_SYS;
	if (!is_mock() && vm.svm_cid != VMADDR_CID_HOST) {
		(void)close(fd);
		return ERR_PERMISSION;
	}
	*ret_fd = fd;
	return ERR_OK;
}

/**
 * transport_connect() - Begin a stream to the host
 * @port:	Host port
 * @ret_fd:	Non-blocking stream, owned by the caller; connected once it is
 *		writable and transport_finish() says so
 *
 * Return: ERR_OK; ERR_SYS with errno (ENODEV while no device is there).
 */
enum err transport_connect(unsigned port, int *ret_fd)
{
	struct sockaddr_vm vm = {.svm_family = AF_VSOCK,
				 .svm_port = boot_host_port(port),
				 .svm_cid = VMADDR_CID_HOST};
	struct sockaddr_un un;
	int fd, rc, saved;

	fd = open_socket();
	if (fd < 0)
		return ERR_SYS;
	if (!is_mock()) {
		rc = connect(fd, (const struct sockaddr *)&vm, sizeof(vm));
	} else if (folder_address("host", port, &un) == ERR_OK) {
		rc = connect(fd, (const struct sockaddr *)&un, sizeof(un));
	} else {
		errno = ENAMETOOLONG;
		rc = -1;
	}
	if (rc != 0 && errno != EINPROGRESS) {
		saved = errno;
		(void)close(fd);
		errno = saved;
		return ERR_SYS;
	}
	*ret_fd = fd;
	return ERR_OK;
}

/**
 * transport_finish() - Ask whether a begun stream was established
 * @fd:	From transport_connect(), reported writable
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err transport_finish(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		return ERR_SYS;
	errno = error;
	return error == 0 ? ERR_OK : ERR_SYS;
}
