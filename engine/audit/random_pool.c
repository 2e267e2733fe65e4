/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random_pool.c - the kernel's random bytes, fetched for many uses at once
 *
 * Runs in: kenaz-audit, which never forks.
 * Trusts:  getrandom(2).
 * Never:   hands a byte out twice, keeps one that was handed out, leaves
 *	    memory that may be swapped out or dumped.
 *
 * Each payload needs a key and three nonces: four system calls of 10 to 64
 * bytes each, a tenth of what its event costs. They are served from one
 * locked page instead, filled by one call. What is handed out is wiped from
 * it at once, so that a later look into it tells nothing about the past.
 */
#include "engine/audit/random_pool.h"

#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Page-aligned: locking and wiping touch nothing else. */
static _Alignas(4096) uint8_t pool[RANDOM_POOL_BYTES];
static size_t left_bytes; /* not handed out yet, at the end of the pool */

/* Without random bytes nothing may go on, as libsodium itself has it. */
static void fetch(uint8_t *at, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t n = getrandom(at, len_bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort();
		at += n;
		len_bytes -= (size_t)n;
	}
}

static void pool_buf(void *const out, const size_t len_bytes)
{
	uint8_t *from;

	if (len_bytes > sizeof(pool) / 8) {
		fetch(out, len_bytes);
		return;
	}
	if (len_bytes > left_bytes) {
		fetch(pool, sizeof(pool));
		left_bytes = sizeof(pool);
	}
	from = pool + sizeof(pool) - left_bytes;
	memcpy(out, from, len_bytes);
	sodium_memzero(from, len_bytes);
	left_bytes -= len_bytes;
}

static uint32_t pool_u32(void)
{
	uint32_t value;

	pool_buf(&value, sizeof(value));
	return value;
}

static const char *pool_name(void)
{
	return "kenaz-audit";
}

static int pool_close(void)
{
	sodium_memzero(pool, sizeof(pool));
	left_bytes = 0;
	return 0;
}

/**
 * random_pool_use() - Have libsodium's randombytes_*() served from the pool
 *
 * Call after sodium_init().
 *
 * Return: ERR_OK; ERR_MEMORY when the page cannot be locked: libsodium then
 *	   keeps asking the kernel each time; ERR_CRYPTO.
 */
enum err random_pool_use(void)
{
	static struct randombytes_implementation served = {
		.implementation_name = pool_name,
		.random = pool_u32,
		.buf = pool_buf,
		.close = pool_close,
	};

	if (sodium_mlock(pool, sizeof(pool)) != 0)
		return ERR_MEMORY;
	return randombytes_set_implementation(&served) == 0 ? ERR_OK
							    : ERR_CRYPTO;
}
