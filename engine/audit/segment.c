/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment.c - append-only files that hold large payloads
 *
 * Runs in: kenaz-audit; reading also in kenaz-verify.
 * Trusts:  the database for where the committed bytes end.
 * Never:   writes below that end.
 *
 * Segments are payloads/00000000.seg and so on, only ciphertext. Bytes are
 * synced before the transaction that names them commits; what a crash left
 * behind the committed end is overwritten.
 */
#include "engine/audit/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES 16

static enum err name_of(uint32_t number, char ret_name[NAME_BYTES])
{
	int n = snprintf(ret_name, NAME_BYTES, "%08u.seg", number);

	return n != 12 || number > SEGMENT_MAX ? ERR_RANGE : ERR_OK;
}

/**
 * segment_open_dir() - Open the directory of segments, made when missing
 * @log_dir_fd:	Log directory, borrowed
 * @ret_dir_fd:	Owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err segment_open_dir(int log_dir_fd, int *ret_dir_fd)
{
	int fd;

	if (mkdirat(log_dir_fd, SEGMENT_DIR, 0700) < 0 && errno != EEXIST &&
	    errno != EROFS)
		return ERR_SYS;
	fd = openat(log_dir_fd, SEGMENT_DIR,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return ERR_SYS;
	*ret_dir_fd = fd;
	return ERR_OK;
}

/**
 * segment_init() - Go on behind what is committed
 * @s:		Caller's memory
 * @log_dir_fd:	Log directory, borrowed
 * @number:	Last committed segment
 * @end_bytes:	Where its committed bytes end
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err segment_init(struct segment *s, int log_dir_fd, uint32_t number,
		      uint64_t end_bytes)
{
	*s = (struct segment){.dir_fd = -1,
			      .fd = -1,
			      .number = number,
			      .end_bytes = end_bytes};
	return segment_open_dir(log_dir_fd, &s->dir_fd);
}

/** segment_fini() - Close; what was not synced is not committed either */
void segment_fini(struct segment *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	s->fd = -1;
	s->dir_fd = -1;
}

static enum err open_current(struct segment *s)
{
	char name[NAME_BYTES];
	enum err e;

	if (s->end_bytes >= SEGMENT_MAX_BYTES) {
		e = segment_sync(s);
		if (e != ERR_OK)
			return e;
		if (s->fd >= 0)
			close(s->fd);
		s->fd = -1;
		s->number++;
		s->end_bytes = 0;
	}
	if (s->fd >= 0)
		return ERR_OK;
	e = name_of(s->number, name);
	if (e != ERR_OK)
		return e;
	s->fd = openat(s->dir_fd, name,
		       O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->fd < 0)
		return ERR_SYS;
	s->dir_dirty = true;
	return ERR_OK;
}

/**
 * segment_append() - Write bytes behind the end
 * @s:		Segment
 * @bytes:	Borrowed
 * @ret_number:	Which segment; written on success
 * @ret_offset:	Where in it; written on success
 *
 * Not durable before segment_sync().
 *
 * Return: ERR_OK; ERR_RANGE past SEGMENT_MAX; ERR_SYS with errno.
 */
enum err segment_append(struct segment *s, struct span bytes,
			uint32_t *ret_number, uint64_t *ret_offset)
{
	enum err e = open_current(s);
	uint64_t at = s->end_bytes;

	if (e != ERR_OK)
		return e;
	s->dirty = true;
	while (bytes.len_bytes) {
		ssize_t n =
			pwrite(s->fd, bytes.data, bytes.len_bytes, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_SYS;
		at += (uint64_t)n;
		bytes = span_of(bytes.data + n, bytes.len_bytes - (size_t)n);
	}
	*ret_number = s->number;
	*ret_offset = s->end_bytes;
	s->end_bytes = at;
	return ERR_OK;
}

/**
 * segment_sync() - Make everything appended durable
 * @s:	Segment
 *
 * Return: ERR_OK; ERR_SYS with errno: nothing appended may be named then.
 */
enum err segment_sync(struct segment *s)
{
	if (s->dirty && fdatasync(s->fd) < 0)
		return ERR_SYS;
	s->dirty = false;
	if (s->dir_dirty && fsync(s->dir_fd) < 0)
		return ERR_SYS;
	s->dir_dirty = false;
	return ERR_OK;
}

/**
 * segment_read() - Append stored bytes to a buffer
 * @dir_fd:	Directory of segments, borrowed
 * @number:	Which segment
 * @offset:	Where in it
 * @len_bytes:	How many
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_SHORT when the file ends early;
 *	   ERR_LIMIT; ERR_MEMORY; ERR_SYS with errno.
 */
enum err segment_read(int dir_fd, uint32_t number, uint64_t offset,
		      size_t len_bytes, struct buf *out)
{
	char name[NAME_BYTES];
	enum err e = name_of(number, name);
	size_t done = 0;
	uint8_t *at;
	int fd;

	if (e == ERR_OK)
		e = buf_reserve(out, len_bytes, &at);
	if (e != ERR_OK)
		return e;
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	while (e == ERR_OK && done < len_bytes) {
		ssize_t n = pread(fd, at + done, len_bytes - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			e = n < 0 ? ERR_SYS : ERR_SHORT;
		else
			done += (size_t)n;
	}
	close(fd);
	return e;
}
