/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bundle.c - sealed entry bundles: 256 events to an immutable file
 *
 * Runs in: kenaz-audit.
 * Trusts:  the database, from which a bundle is copied after COMMIT.
 * Never:   changes a bundle that is there.
 *
 * c2sp.org/tlog-tiles v0.1.0: tile/entries/<N> with N in groups of three
 * digits, all but the last prefixed "x"; the content is (u16 big-endian
 * length || event) 256 times. Only full bundles are written.
 */
#include "engine/audit/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/audit/files.h"

#define ROOT "tile/entries"

/**
 * bundle_path() - Path of a bundle below the log directory
 * @index:	Which bundle
 * @ret_path:	NUL-terminated; written on success
 *
 * Return: ERR_OK; ERR_RANGE from 10^12 on.
 */
enum err bundle_path(uint64_t index, char ret_path[BUNDLE_PATH_BYTES])
{
	unsigned int low = (unsigned int)(index % 1000);
	unsigned int mid = (unsigned int)(index / 1000 % 1000);
	unsigned int high = (unsigned int)(index / 1000000 % 1000);
	unsigned int top = (unsigned int)(index / 1000000000);

	if (index >= 1000000000000)
		return ERR_RANGE;
	if (top)
		(void)snprintf(ret_path, BUNDLE_PATH_BYTES,
			       ROOT "/x%03u/x%03u/x%03u/%03u", top, high, mid,
			       low);
	else if (high)
		(void)snprintf(ret_path, BUNDLE_PATH_BYTES,
			       ROOT "/x%03u/x%03u/%03u", high, mid, low);
	else if (mid)
		(void)snprintf(ret_path, BUNDLE_PATH_BYTES, ROOT "/x%03u/%03u",
			       mid, low);
	else
		(void)snprintf(ret_path, BUNDLE_PATH_BYTES, ROOT "/%03u", low);
	return ERR_OK;
}

/**
 * bundle_add() - Append one event to a bundle in memory
 * @bundle:	Buffer with a ceiling of BUNDLE_MAX_BYTES
 * @event:	Stored bytes, borrowed
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err bundle_add(struct buf *bundle, struct span event)
{
	uint8_t length[2] = {(uint8_t)(event.len_bytes >> 8),
			     (uint8_t)event.len_bytes};
	enum err e;

	if (event.len_bytes > UINT16_MAX)
		return ERR_LIMIT;
	e = buf_put(bundle, length, sizeof(length));
	return e == ERR_OK ? buf_put_span(bundle, event) : e;
}

/** bundle_exists() - Whether a bundle was already written */
bool bundle_exists(int log_dir_fd, uint64_t index)
{
	char path[BUNDLE_PATH_BYTES];

	return bundle_path(index, path) == ERR_OK &&
	       files_exists(log_dir_fd, path);
}

/* Open the folder of a path, making each part; cuts the path to its name. */
static enum err open_folder(int log_dir_fd, char *path, int *ret_fd,
			    const char **ret_name)
{
	int fd = dup(log_dir_fd), next;
	char *part = path, *slash;

	while (fd >= 0 && (slash = strchr(part, '/'))) {
		*slash = '\0';
		if (mkdirat(fd, part, 0700) < 0 && errno != EEXIST) {
			close(fd);
			return ERR_SYS;
		}
		next = openat(fd, part,
			      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(fd);
		fd = next;
		part = slash + 1;
	}
	if (fd < 0)
		return ERR_SYS;
	*ret_fd = fd;
	*ret_name = part;
	return ERR_OK;
}

/**
 * bundle_write() - Write a full bundle; one that is there stays
 * @log_dir_fd:	Log directory, borrowed
 * @index:	Which bundle
 * @bundle:	BUNDLE_EVENTS events, borrowed
 *
 * Return: ERR_OK; ERR_RANGE; ERR_SYS with errno.
 */
enum err bundle_write(int log_dir_fd, uint64_t index, struct span bundle)
{
	char path[BUNDLE_PATH_BYTES];
	const char *name = NULL;
	int fd = -1, saved;
	enum err e = bundle_path(index, path);

	if (e == ERR_OK)
		e = open_folder(log_dir_fd, path, &fd, &name);
	if (e != ERR_OK)
		return e;
	if (!files_exists(fd, name)) {
		e = files_replace(fd, name, bundle);
		if (e == ERR_OK && fchmodat(fd, name, 0400, 0) < 0)
			e = ERR_SYS;
	}
	saved = errno;
	close(fd);
	errno = saved;
	return e;
}
