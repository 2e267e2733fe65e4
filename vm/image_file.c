/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_file.c - opening what lies in an image's folder, and saying no
 *
 * Runs in: kenaz-launch.
 * Trusts:  nothing in the folder.
 * Never:   follows a symbolic link, waits for a FIFO, takes a file over its
 *	    limit.
 */
#include "vm/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/proto/limits.h"

/**
 * image_refuse() - Write the one sentence of a refusal
 * @reason:	Replaced
 * @e:		What to return
 * @format:	Sentence; as printf()
 *
 * Return: @e; ERR_MEMORY.
 */
enum err image_refuse(struct buf *reason, enum err e, const char *format, ...)
{
	char text[REASON_MAX_BYTES / 2];
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	buf_reset(reason);
	return buf_put_text(reason, text) == ERR_OK ? e : ERR_MEMORY;
}

/**
 * image_file_open() - Open a regular file of an image's folder
 * @dir_fd:	The folder, borrowed
 * @name:	Without a slash
 * @max_bytes:	Its largest size
 * @what_next:	What the user should do when it is not there
 * @ret_fd:	Owned by the caller; written on success
 * @ret_bytes:	Its size
 * @reason:	A sentence when refused
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT; ERR_MEMORY.
 */
enum err image_file_open(int dir_fd, const char *name, uint64_t max_bytes,
			 const char *what_next, int *ret_fd,
			 uint64_t *ret_bytes, struct buf *reason)
{
	/* Nonblocking: a FIFO in its place must not hang us. */
	int fd = openat(dir_fd, name,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return image_refuse(reason, ERR_NOT_FOUND,
				    "image file %s cannot be opened: %s; %s",
				    name, strerror(errno), what_next);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size > max_bytes) {
		close(fd);
		return image_refuse(reason, ERR_FORMAT,
				    "image file %s is not a file of at most "
				    "%llu bytes; %s",
				    name, (unsigned long long)max_bytes,
				    what_next);
	}
	*ret_fd = fd;
	*ret_bytes = (uint64_t)st.st_size;
	return ERR_OK;
}

/**
 * image_file_read() - Read a small file of an image's folder as a whole
 * @dir_fd:	The folder, borrowed
 * @name:	Without a slash
 * @what_next:	What the user should do when it is not there
 * @ret_bytes:	Appended to; its limit is that of the file
 * @reason:	A sentence when refused
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT; ERR_SYS; ERR_SHORT; ERR_MEMORY.
 */
enum err image_file_read(int dir_fd, const char *name, const char *what_next,
			 struct buf *ret_bytes, struct buf *reason)
{
	uint64_t size_bytes;
	uint8_t *at;
	ssize_t n = 0;
	int fd;
	enum err e = image_file_open(dir_fd, name, ret_bytes->max_bytes,
				     what_next, &fd, &size_bytes, reason);

	if (e != ERR_OK)
		return e;
	e = buf_reserve(ret_bytes, (size_t)size_bytes, &at);
	if (e == ERR_OK && size_bytes)
		n = pread(fd, at, (size_t)size_bytes, 0);
	if (e == ERR_OK && n != (ssize_t)size_bytes)
		e = image_refuse(reason, n < 0 ? ERR_SYS : ERR_SHORT,
				 "image file %s cannot be read: %s", name,
				 n < 0 ? strerror(errno) : "it ends too early");
	close(fd);
	return e;
}
