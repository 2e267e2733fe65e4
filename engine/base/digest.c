/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest.c - SHA-256 and HMAC-SHA256, in one call or piece by piece
 *
 * Runs in: every program but the guest's.
 * Trusts:  libgcrypt, which uses the processor's SHA instructions.
 * Never:   keeps a key: contexts are wiped by digest_free().
 *
 * FIPS 180-4 and FIPS 198-1. A missing algorithm is noticed once, by
 * digest_init(); after it the calls in one piece cannot fail.
 */
#include "engine/base/digest.h"

#include <assert.h>
#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>

struct digest {
	gcry_md_hd_t context;
};

static_assert(DIGEST_BYTES == 32, "SHA-256 has 32 bytes");

/**
 * digest_init() - Start libgcrypt; call once in main() before anything else
 *
 * Return: ERR_OK, also when it was called before; ERR_VERSION when the library
 *	   is older than the headers; ERR_CRYPTO when SHA-256 does not work.
 */
enum err digest_init(void)
{
	static const uint8_t empty[DIGEST_BYTES] = {
		0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14,
		0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
		0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c,
		0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55};
	uint8_t found[DIGEST_BYTES] = {0};

	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return ERR_OK;
	if (!gcry_check_version(GCRYPT_VERSION))
		return ERR_VERSION;
	/* No secure memory: keys given to libgcrypt live in the caller's. */
	if (gcry_control(GCRYCTL_DISABLE_SECMEM, 0) != 0 ||
	    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0) != 0 ||
	    gcry_md_test_algo(GCRY_MD_SHA256) != 0)
		return ERR_CRYPTO;
	digest_sha256(span_of("", 0), found);
	return memcmp(found, empty, DIGEST_BYTES) == 0 ? ERR_OK : ERR_CRYPTO;
}

/**
 * digest_sha256() - Hash bytes in one piece
 * @data:	Borrowed
 * @ret_digest:	The digest
 */
void digest_sha256(struct span data, uint8_t ret_digest[DIGEST_BYTES])
{
	gcry_md_hash_buffer(GCRY_MD_SHA256, ret_digest,
			    data.data ? (const void *)data.data : "",
			    data.len_bytes);
}

static gcry_buffer_t buffer_of(struct span s)
{
	union {
		const void *in;
		void *out;
	} unqualified = {.in = s.data ? (const void *)s.data : ""};

	return (gcry_buffer_t){.data = unqualified.out, .len = s.len_bytes};
}

/**
 * digest_sha256_parts() - Hash several runs of bytes as if they were one
 * @parts:	Borrowed
 * @count:	How many; at most DIGEST_PARTS_MAX
 * @ret_digest:	The digest
 */
void digest_sha256_parts(const struct span *parts, size_t count,
			 uint8_t ret_digest[DIGEST_BYTES])
{
	gcry_buffer_t vector[DIGEST_PARTS_MAX];
	gcry_error_t failed;
	size_t i;

	assert(count <= DIGEST_PARTS_MAX);
	for (i = 0; i < count; i++)
		vector[i] = buffer_of(parts[i]);
	failed = gcry_md_hash_buffers(GCRY_MD_SHA256, 0, ret_digest, vector,
				      (int)count);
	assert(failed == 0);
}

/**
 * digest_hmac_sha256() - Authenticate bytes in one piece
 * @key:	Borrowed, any length
 * @data:	Borrowed
 * @ret_mac:	The code
 */
void digest_hmac_sha256(struct span key, struct span data,
			uint8_t ret_mac[DIGEST_BYTES])
{
	gcry_buffer_t vector[2] = {buffer_of(key), buffer_of(data)};
	gcry_error_t failed;

	failed = gcry_md_hash_buffers(GCRY_MD_SHA256, GCRY_MD_FLAG_HMAC,
				      ret_mac, vector, 2);
	assert(failed == 0);
}

/**
 * digest_equal() - Compare two digests in constant time
 * @a:	One
 * @b:	The other
 */
bool digest_equal(const uint8_t a[DIGEST_BYTES], const uint8_t b[DIGEST_BYTES])
{
	uint8_t differ = 0;
	size_t i;

	for (i = 0; i < DIGEST_BYTES; i++)
		differ |= a[i] ^ b[i];
	return differ == 0;
}

static enum err open_context(unsigned int flags, struct digest **ret_digest)
{
	struct digest *d = calloc(1, sizeof(*d));

	if (!d)
		return ERR_MEMORY;
	if (gcry_md_open(&d->context, GCRY_MD_SHA256, flags) != 0) {
		free(d);
		return ERR_MEMORY;
	}
	*ret_digest = d;
	return ERR_OK;
}

/**
 * digest_new() - Start a SHA-256 that is fed piece by piece
 * @ret_digest:	New context, owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err digest_new(struct digest **ret_digest)
{
	return open_context(0, ret_digest);
}

/**
 * digest_new_hmac() - Start an HMAC-SHA256 that is fed piece by piece
 * @key:	Borrowed; copied into the context, which digest_free() wipes
 * @ret_digest:	New context, owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_CRYPTO when the key is refused.
 */
enum err digest_new_hmac(struct span key, struct digest **ret_digest)
{
	struct digest *d = NULL;
	enum err e = open_context(GCRY_MD_FLAG_HMAC, &d);

	if (e != ERR_OK)
		return e;
	if (gcry_md_setkey(d->context, key.data ? (const void *)key.data : "",
			   key.len_bytes) != 0) {
		digest_free(d);
		return ERR_CRYPTO;
	}
	*ret_digest = d;
	return ERR_OK;
}

/**
 * digest_free() - Wipe and release a context
 * @d:	Context, or NULL
 */
void digest_free(struct digest *d)
{
	if (!d)
		return;
	gcry_md_close(d->context);
	free(d);
}

/**
 * digest_restart() - Forget what was fed; a key stays
 * @d:	Context
 */
void digest_restart(struct digest *d)
{
	gcry_md_reset(d->context);
}

/**
 * digest_update() - Feed the next bytes
 * @d:		Context, not finished yet
 * @data:	Borrowed
 */
void digest_update(struct digest *d, struct span data)
{
	if (data.len_bytes)
		gcry_md_write(d->context, data.data, data.len_bytes);
}

/**
 * digest_finish() - End the message and read its digest
 * @d:		Context; only digest_restart() and digest_free() may follow
 * @ret_digest:	The digest
 */
void digest_finish(struct digest *d, uint8_t ret_digest[DIGEST_BYTES])
{
	const uint8_t *found = gcry_md_read(d->context, GCRY_MD_SHA256);

	assert(found);
	memcpy(ret_digest, found, DIGEST_BYTES);
}
