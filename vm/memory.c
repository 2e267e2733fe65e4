/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - the guest's memory: a memfd that nobody can shrink or grow
 *
 * Runs in: kenaz-launch.
 * Trusts:  the kernel's seals: QEMU gets the same memfd, and without them
 *	    could truncate it under our mapping.
 * Never:   gives it a name in a file system.
 */
#include "vm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static enum err make(uint32_t size_mib, int seals, struct memory *ret_memory)
{
	struct memory m = {.size_bytes = (uint64_t)size_mib << 20};
	void *at;

	if (size_mib < MEMORY_MIN_MIB || size_mib > MEMORY_MAX_MIB)
		return ERR_RANGE;
	m.fd = memfd_create("kenaz-guest-memory",
			    MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m.fd < 0)
		return ERR_SYS;
	if (ftruncate(m.fd, (off_t)m.size_bytes) < 0 ||
	    fcntl(m.fd, F_ADD_SEALS, seals) < 0)
		goto fail;
	at = mmap(NULL, m.size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd,
		  0);
	if (at == MAP_FAILED)
		goto fail;
	/* A core file of the launcher must not hold the guest. */
	(void)madvise(at, m.size_bytes, MADV_DONTDUMP);
	m.at = at;
	*ret_memory = m;
	return ERR_OK;
fail:
	close(m.fd);
	return ERR_SYS;
}

/**
 * memory_new() - Make and map a guest's memory
 * @size_mib:	MEMORY_MIN_MIB to MEMORY_MAX_MIB
 * @ret_memory:	Owned by the caller; memory_free() when QEMU is gone
 *
 * Pages are allocated when the guest first touches them.
 *
 * Return: ERR_OK; ERR_RANGE; ERR_SYS with errno.
 */
enum err memory_new(uint32_t size_mib, struct memory *ret_memory)
{
	return make(size_mib, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
		    ret_memory);
}

/**
 * memory_new_template() - The same, for a guest that becomes a template
 * @size_mib:	As for memory_new()
 * @ret_memory:	As for memory_new()
 *
 * It can still be sealed against writing, which template_seal() does.
 *
 * Return: as memory_new().
 */
enum err memory_new_template(uint32_t size_mib, struct memory *ret_memory)
{
	return make(size_mib, F_SEAL_SHRINK | F_SEAL_GROW, ret_memory);
}

/**
 * memory_next_data() - Find the next allocated bytes of a memory file
 * @fd:		Borrowed; its position is not relied upon
 * @size_bytes:	Its size
 * @extent:	Zeroed to begin; moved to the next run
 *
 * Return: whether there is one.
 */
bool memory_next_data(int fd, uint64_t size_bytes, struct memory_extent *extent)
{
	off_t from = lseek(fd, (off_t)extent->to_bytes, SEEK_DATA), to;

	if (from < 0 || (uint64_t)from >= size_bytes)
		return false;
	to = lseek(fd, from, SEEK_HOLE);
	if (to <= from)
		return false;
	extent->from_bytes = (uint64_t)from;
	extent->to_bytes =
		(uint64_t)to < size_bytes ? (uint64_t)to : size_bytes;
	return true;
}

/**
 * memory_copy_begin() - Prepare to fill a new memory with another's content
 * @to:		New, nothing in it yet; borrowed until memory_copy_end()
 * @from_fd:	Memory file of the same size, sealed against writing; duplicated
 * @ret_copy:	memory_copy_end() when done
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err memory_copy_begin(const struct memory *to, int from_fd,
			   struct memory_copy *ret_copy)
{
	struct memory_copy c = {.to = to};
	void *from;

	c.from_fd = fcntl(from_fd, F_DUPFD_CLOEXEC, 0);
	if (c.from_fd < 0)
		return ERR_SYS;
	from = mmap(NULL, to->size_bytes, PROT_READ, MAP_PRIVATE, c.from_fd, 0);
	if (from == MAP_FAILED) {
		close(c.from_fd);
		return ERR_SYS;
	}
	c.from = from;
	*ret_copy = c;
	return ERR_OK;
}

/**
 * memory_copy_step() - Copy some of it
 * @c:		Copy that was begun
 * @max_bytes:	Not more at once
 * @ret_done:	Whether that was all
 *
 * Written rather than copied through the mapping: a page that is written as a
 * whole is not cleared first.
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err memory_copy_step(struct memory_copy *c, uint64_t max_bytes,
			  bool *ret_done)
{
	while (max_bytes) {
		uint64_t want;
		ssize_t n;

		if (c->at_bytes == c->extent.to_bytes) {
			if (!memory_next_data(c->from_fd, c->to->size_bytes,
					      &c->extent)) {
				*ret_done = true;
				return ERR_OK;
			}
			c->at_bytes = c->extent.from_bytes;
		}
		want = c->extent.to_bytes - c->at_bytes;
		n = pwrite(c->to->fd, c->from + c->at_bytes,
			   want < max_bytes ? want : max_bytes,
			   (off_t)c->at_bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_SYS;
		c->at_bytes += (uint64_t)n;
		c->copied_bytes += (uint64_t)n;
		max_bytes -= (uint64_t)n;
	}
	*ret_done = false;
	return ERR_OK;
}

/** memory_copy_end() - Release the source; a zeroed copy is accepted */
void memory_copy_end(struct memory_copy *c)
{
	if (c->from) {
		munmap(c->from, c->to->size_bytes);
		close(c->from_fd);
	}
	*c = (struct memory_copy){0};
}

/** memory_unmap() - Keep the file alone; a template must not be mapped */
void memory_unmap(struct memory *m)
{
	if (m->at)
		munmap(m->at, m->size_bytes);
	m->at = NULL;
}

/** memory_free() - Unmap and close; a zeroed one is accepted */
void memory_free(struct memory *m)
{
	if (m->size_bytes) {
		memory_unmap(m);
		close(m->fd);
	}
	*m = (struct memory){.fd = -1};
}
