/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c - small files as a whole
 *
 * Runs in: any process; the guest's too.
 * Trusts:  its callers for the path and the descriptor.
 * Never:   reads more than its caller has room for, takes a part for the
 *	    whole.
 */
#include "engine/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/**
 * file_read() - Read a file into memory of the caller's
 * @path:	File, of /proc or of a cgroup, too: its size is not asked for
 * @buffer:	Receives the bytes
 * @cap_bytes:	Its size; more than the file has
 * @ret_bytes:	What was read, in @buffer
 *
 * Return: ERR_OK; ERR_NOT_FOUND when it cannot be opened; ERR_LIMIT when it
 *	   does not fit; ERR_SYS with errno.
 */
enum err file_read(const char *path, void *buffer, size_t cap_bytes,
		   struct span *ret_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n = 1;

	if (fd < 0)
		return ERR_NOT_FOUND;
	while (n != 0 && have < cap_bytes) {
		n = read(fd, (uint8_t *)buffer + have, cap_bytes - have);
		if (n < 0 && errno != EINTR)
			break;
		have += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (n < 0)
		return ERR_SYS;
	if (have == cap_bytes)
		return ERR_LIMIT;
	*ret_bytes = span_of(buffer, have);
	return ERR_OK;
}

/**
 * file_write_all() - Write all of it, however many calls that takes
 * @fd:		Descriptor that blocks
 * @bytes:	What to write
 *
 * Return: ERR_OK; ERR_SYS with errno, after a part of it perhaps.
 */
enum err file_write_all(int fd, struct span bytes)
{
	while (bytes.len_bytes) {
		ssize_t n = write(fd, bytes.data, bytes.len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_SYS;
		bytes = span_of(bytes.data + n, bytes.len_bytes - (size_t)n);
	}
	return ERR_OK;
}
