/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.c - small whole files under a passed directory, written atomically
 *
 * Runs in: kenaz-audit.
 * Trusts:  the directory it was given; not what lies in it.
 * Never:   follows a symbolic link, leaves half a file under its name.
 */
#include "engine/audit/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/**
 * files_write_all() - Write every byte
 * @fd:		Open for writing, borrowed
 * @bytes:	Borrowed
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err files_write_all(int fd, struct span bytes)
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

/**
 * files_sync_dir() - Make renames and new names in a directory durable
 * @dir_fd:	Borrowed
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err files_sync_dir(int dir_fd)
{
	return fsync(dir_fd) < 0 ? ERR_SYS : ERR_OK;
}

/**
 * files_replace() - Put a file under a name, whole or not at all
 * @dir_fd:	Directory, borrowed
 * @name:	Plain name
 * @bytes:	Its content, borrowed
 *
 * The file is synced, then renamed, then the directory is synced.
 *
 * Return: ERR_OK; ERR_LIMIT for a long name; ERR_SYS with errno.
 */
enum err files_replace(int dir_fd, const char *name, struct span bytes)
{
	char temp[FILES_NAME_MAX_BYTES + 8];
	int fd, n, saved;
	enum err e;

	n = snprintf(temp, sizeof(temp), ".%s.new", name);
	if (n < 0 || (size_t)n >= sizeof(temp))
		return ERR_LIMIT;
	fd = openat(dir_fd, temp,
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return ERR_SYS;
	e = files_write_all(fd, bytes);
	if (e == ERR_OK && fsync(fd) < 0)
		e = ERR_SYS;
	saved = errno;
	close(fd);
	errno = saved;
	if (e == ERR_OK && renameat(dir_fd, temp, dir_fd, name) < 0)
		e = ERR_SYS;
	if (e == ERR_OK)
		return files_sync_dir(dir_fd);
	saved = errno;
	(void)unlinkat(dir_fd, temp, 0);
	errno = saved;
	return e;
}

/**
 * files_read() - Append the whole content of a file
 * @dir_fd:	Directory, borrowed
 * @name:	Plain name
 * @owner_only:	Refuse a file that others may read or that is not ours
 * @out:	Buffer appended to; its ceiling bounds the file
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_PERMISSION when not owner-only;
 *	   ERR_FORMAT when it is no regular file; ERR_LIMIT; ERR_MEMORY;
 *	   ERR_SYS with errno.
 */
enum err files_read(int dir_fd, const char *name, bool owner_only,
		    struct buf *out)
{
	enum err e = ERR_OK;
	uint8_t chunk[4096];
	struct stat st;
	ssize_t n = 0;
	int fd;

	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	if (fstat(fd, &st) < 0)
		e = ERR_SYS;
	else if (!S_ISREG(st.st_mode))
		e = ERR_FORMAT;
	else if (owner_only && (st.st_uid != geteuid() || (st.st_mode & 077)))
		e = ERR_PERMISSION;
	while (e == ERR_OK) {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		e = buf_put(out, chunk, (size_t)n);
	}
	explicit_bzero(chunk, sizeof(chunk));
	if (e == ERR_OK && n < 0)
		e = ERR_SYS;
	close(fd);
	return e;
}

/** files_exists() - Whether a name is taken in a directory */
bool files_exists(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/**
 * files_remove() - Remove a name if it is there, durably
 * @dir_fd:	Directory, borrowed
 * @name:	Plain name
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err files_remove(int dir_fd, const char *name)
{
	if (unlinkat(dir_fd, name, 0) < 0)
		return errno == ENOENT ? ERR_OK : ERR_SYS;
	return files_sync_dir(dir_fd);
}
