/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memfd.c - sealed memory files that carry bodies between processes
 *
 * Runs in: every host process that sees bodies.
 * Trusts:  nothing about a received descriptor: it must be a memfd sealed
 *	    against writing, growing and shrinking, of the stated size.
 * Never:   maps a file that its sender could still change.
 */
#include "engine/base/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

/**
 * memfd_seal() - Make a memfd immutable
 * @fd:	Borrowed; created with MFD_ALLOW_SEALING and not mapped writable
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err memfd_seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, SEALS) < 0 ? ERR_SYS : ERR_OK;
}

/**
 * memfd_from_span() - Copy bytes into a new sealed memfd
 * @name:	For /proc; static text
 * @bytes:	Borrowed
 * @ret_fd:	Close-on-exec, owned by the caller
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err memfd_from_span(const char *name, struct span bytes, int *ret_fd)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return ERR_SYS;
	while (bytes.len_bytes) {
		ssize_t n = write(fd, bytes.data, bytes.len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			goto fail;
		bytes.data += n;
		bytes.len_bytes -= (size_t)n;
	}
	if (memfd_seal(fd) != ERR_OK)
		goto fail;
	*ret_fd = fd;
	return ERR_OK;
fail:
	close(fd);
	return ERR_SYS;
}

/**
 * memfd_check() - Make sure a received descriptor is a fully sealed memfd
 * @fd:		Borrowed
 * @max_bytes:	Largest size accepted
 * @ret_bytes:	Its size
 *
 * Return: ERR_OK; ERR_INTEGRITY when it is not sealed; ERR_LIMIT; ERR_SYS.
 */
enum err memfd_check(int fd, size_t max_bytes, size_t *ret_bytes)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & SEALS) != SEALS)
		return ERR_INTEGRITY;
	if (fstat(fd, &st) < 0)
		return ERR_SYS;
	if (st.st_size < 0 || (uint64_t)st.st_size > max_bytes)
		return ERR_LIMIT;
	*ret_bytes = (size_t)st.st_size;
	return ERR_OK;
}

/**
 * body_open() - View a body that came inline or as a memfd
 * @inlined:	Inline bytes, borrowed; used when @fd is -1
 * @fd:		Sealed memfd, borrowed, or -1
 * @len_bytes:	Size stated by the message
 * @max_bytes:	Largest size accepted
 * @ret_body:	The view; body_close() releases the mapping
 *
 * Return: ERR_OK; ERR_FORMAT when the sizes differ; as memfd_check().
 */
enum err body_open(struct span inlined, int fd, uint64_t len_bytes,
		   size_t max_bytes, struct body *ret_body)
{
	size_t size;
	void *map;
	enum err e;

	if (len_bytes > max_bytes)
		return ERR_LIMIT;
	if (fd < 0) {
		if (inlined.len_bytes != len_bytes)
			return ERR_FORMAT;
		*ret_body = (struct body){.bytes = inlined};
		return ERR_OK;
	}
	e = memfd_check(fd, max_bytes, &size);
	if (e != ERR_OK)
		return e;
	if (size != len_bytes || inlined.len_bytes != 0)
		return ERR_FORMAT;
	if (size == 0) {
		*ret_body = (struct body){0};
		return ERR_OK;
	}
	map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return ERR_SYS;
	*ret_body = (struct body){.bytes = span_of(map, size),
				  .map = map,
				  .map_bytes = size};
	return ERR_OK;
}

/** body_close() - Release a view; a zeroed one is accepted */
void body_close(struct body *b)
{
	if (b->map)
		munmap(b->map, b->map_bytes);
	*b = (struct body){0};
}
