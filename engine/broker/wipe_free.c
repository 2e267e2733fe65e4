/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wipe_free.c - overwrite what is freed
 *
 * Runs in: kenaz-broker; the whole program and its libraries.
 * Trusts:  glibc to let a program stand in for free() and realloc().
 * Never:   leaves in freed memory what a library had copied there.
 *
 * Kenaz's own copies of keys lie in locked memory. libcurl and nghttp2 copy
 * the header that carries one into buffers of theirs, and free them as they
 * are. Large blocks hold bodies, never headers, and go back to the kernel or
 * are overwritten soon: of those the start is wiped.
 *
 * Sanitizers bring an allocator of their own.
 */
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/broker/wipe_free.h"

#define WIPE_MAX_BYTES 65536u

#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)

bool wipe_free_works(void)
{
	return false;
}

#else

/* Exported by glibc for this; in none of its headers. */
void __libc_free(void *block);
void *__libc_malloc(size_t bytes);
void *__libc_realloc(void *block, size_t bytes);

#	define INTERPOSED __attribute__((visibility("default"), used))

static void wipe(void *block)
{
	size_t bytes = malloc_usable_size(block);

	explicit_bzero(block, bytes < WIPE_MAX_BYTES ? bytes : WIPE_MAX_BYTES);
}

INTERPOSED void free(void *block)
{
	if (!block)
		return;
	wipe(block);
	__libc_free(block);
}

INTERPOSED void *realloc(void *block, size_t bytes)
{
	size_t had = block ? malloc_usable_size(block) : 0;
	void *made;

	/* glibc moves these without a copy, or has no copy to leave behind. */
	if (!block || had >= WIPE_MAX_BYTES || bytes == 0)
		return __libc_realloc(block, bytes);
	if (bytes <= had)
		return block;
	made = __libc_malloc(bytes);
	if (!made)
		return NULL;
	memcpy(made, block, had);
	free(block);
	return made;
}

/**
 * wipe_free_works() - Whether freed memory is overwritten in this build
 */
bool wipe_free_works(void)
{
	return true;
}

#endif
