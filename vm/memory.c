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

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

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
	struct memory m = {.size_bytes = (uint64_t)size_mib << 20};
	void *at;

	if (size_mib < MEMORY_MIN_MIB || size_mib > MEMORY_MAX_MIB)
		return ERR_RANGE;
	m.fd = memfd_create("kenaz-guest-memory",
			    MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m.fd < 0)
		return ERR_SYS;
	if (ftruncate(m.fd, (off_t)m.size_bytes) < 0 ||
	    fcntl(m.fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
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

/** memory_free() - Unmap and close; a zeroed one is accepted */
void memory_free(struct memory *m)
{
	if (m->at) {
		munmap(m->at, m->size_bytes);
		close(m->fd);
	}
	*m = (struct memory){.fd = -1};
}
