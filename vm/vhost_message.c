/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_message.c - one vhost-user message with its descriptors, as it comes
 *
 * Runs in: kenaz-launch.
 * Trusts:  nothing; a message may come in pieces, with any descriptors.
 * Never:   reads past one message, loses a descriptor it received.
 */
#include "vm/vhost_message.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/**
 * vhost_message_drop() - Close the descriptors and forget the bytes
 * @m:	Message
 */
void vhost_message_drop(struct vhost_message *m)
{
	while (m->fd_count)
		close(m->fds[--m->fd_count]);
	m->have_bytes = 0;
}

static enum err keep_fds(struct vhost_message *m, struct msghdr *msg)
{
	bool too_many = (msg->msg_flags & MSG_CTRUNC) != 0;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count, i;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (m->fd_count == VHOST_USER_FDS_MAX) {
				close(fd);
				too_many = true;
			} else {
				m->fds[m->fd_count++] = fd;
			}
		}
	}
	return too_many ? ERR_LIMIT : ERR_OK;
}

/**
 * vhost_message_fill() - Read until a message has so many bytes
 * @m:		Message, empty or begun
 * @fd:		Stream socket, borrowed
 * @want_bytes:	Total, at most the message's room
 *
 * Return: ERR_OK; ERR_AGAIN when more must come first; ERR_CLOSED at an end
 *	   between messages; ERR_SHORT at one within; ERR_LIMIT for more
 *	   descriptors than any message has.
 */
enum err vhost_message_fill(struct vhost_message *m, int fd, size_t want_bytes)
{
	union {
		struct cmsghdr align;
		uint8_t space[CMSG_SPACE(VHOST_USER_FDS_MAX * sizeof(int))];
	} control;

	assert(want_bytes <= sizeof(m->raw));
	while (m->have_bytes < want_bytes) {
		struct iovec iov = {m->raw + m->have_bytes,
				    want_bytes - m->have_bytes};
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.space,
			.msg_controllen = sizeof(control.space),
		};
		ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		enum err e;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
		e = keep_fds(m, &msg);
		if (e != ERR_OK)
			return e;
		if (n == 0)
			return m->have_bytes ? ERR_SHORT : ERR_CLOSED;
		m->have_bytes += (size_t)n;
	}
	return ERR_OK;
}
