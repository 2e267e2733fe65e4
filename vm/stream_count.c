/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_count.c - how many sockets that were handed on are still open
 *
 * Runs in: kenaz-launch, with the kernel's vsock.
 * Trusts:  the kernel alone; not the process that a socket was passed to.
 * Never:   keeps a socket open, or reads from one.
 *
 * Theory of operation. A socket of the kernel's vsock is passed on and closed
 * here, so its end is not seen; a reference kept for that would hold it open.
 * But an epoll instance keeps an entry, without a reference, until the last
 * descriptor of a file is closed in any process (epoll(7)), and lists its
 * entries in /proc/self/fdinfo. That list is read only when the number of
 * sockets added since the last reading says that a limit might be reached.
 */
#include "vm/stream_count.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <fcntl.h>
#include <unistd.h>

#define LINE_HEAD     "tfd:"
#define LINE_HEAD_LEN 4u
#define CHUNK_BYTES   4096u

/**
 * stream_count_init() - Begin to count
 * @c:	Owner's memory; stream_count_fini() when done, also after a failure
 *
 * To be called before a jail that takes /proc away.
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err stream_count_init(struct stream_count *c)
{
	char path[64];

	*c = (struct stream_count){.epoll_fd = -1, .info_fd = -1};
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll_fd < 0)
		return ERR_SYS;
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", c->epoll_fd);
	c->info_fd = open(path, O_RDONLY | O_CLOEXEC);
	return c->info_fd < 0 ? ERR_SYS : ERR_OK;
}

/** stream_count_fini() - Release */
void stream_count_fini(struct stream_count *c)
{
	if (c->epoll_fd >= 0)
		(void)close(c->epoll_fd);
	if (c->info_fd >= 0)
		(void)close(c->info_fd);
	*c = (struct stream_count){.epoll_fd = -1, .info_fd = -1};
}

/**
 * stream_count_add() - Count a socket until its last descriptor is closed
 * @c:	Counter
 * @fd:	Borrowed; may be closed right after
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err stream_count_add(struct stream_count *c, int fd)
{
	/* Nobody waits on the instance: no event is ever of interest. */
	struct epoll_event none = {.events = EPOLLONESHOT};

	if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &none) < 0)
		return ERR_SYS;
	c->at_most++;
	return ERR_OK;
}

/**
 * stream_count_get() - Count the sockets that are open now
 * @c:		Counter
 * @ret_count:	The number
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err stream_count_get(struct stream_count *c, uint32_t *ret_count)
{
	char text[CHUNK_BYTES];
	uint32_t count = 0;
	size_t matched = 0; /* bytes of LINE_HEAD seen at a line's start */
	bool at_start = true;
	ssize_t n, i;

	if (lseek(c->info_fd, 0, SEEK_SET) < 0)
		return ERR_SYS;
	while ((n = read(c->info_fd, text, sizeof(text))) > 0) {
		for (i = 0; i < n; i++) {
			if (text[i] == '\n') {
				at_start = true;
				matched = 0;
			} else if (at_start && text[i] == LINE_HEAD[matched]) {
				at_start = ++matched < LINE_HEAD_LEN;
				count += at_start ? 0 : 1;
			} else {
				at_start = false;
			}
		}
	}
	if (n < 0)
		return ERR_SYS;
	c->at_most = count;
	*ret_count = count;
	return ERR_OK;
}

/**
 * stream_count_below() - Whether one more keeps within a limit
 * @c:		Counter
 * @max:	Limit
 *
 * Return: false also when they cannot be counted.
 */
bool stream_count_below(struct stream_count *c, uint32_t max)
{
	uint32_t count;

	if (c->at_most < max)
		return true;
	return stream_count_get(c, &count) == ERR_OK && count < max;
}
