/* SPDX-License-Identifier: Apache-2.0 */
/*
 * luks.c - the header of an encrypted disk that lives as long as a session
 *
 * Runs in: kenaz-launch, before QEMU is started.
 * Trusts:  libgcrypt and the kernel's random numbers.
 * Never:   lets a key leave locked memory, except encrypted in the header.
 *
 * LUKS1 On-Disk Format Specification 1.2.3: aes-xts-plain64 with 512 bits of
 * key, SHA-256, one key slot of eight in use. QEMU's own blockdev-create would
 * do the same, but first measures for a second how many iterations of PBKDF2
 * this machine can do. They are of no use here: the passphrase is 256 random
 * bits, so the specification's floor of 1000 is what we take.
 */
#include "vm/luks.h"

#include <assert.h>
#include <errno.h>
#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/buf.h"
#include "engine/base/digest.h"

#define SECTOR_BYTES     512u
#define KEY_BYTES        64u /* two of AES-256, for XTS */
#define SALT_BYTES       32u
#define MK_DIGEST_BYTES  20u
#define NAME_FIELD_BYTES 32u
#define UUID_FIELD_BYTES 40u
#define ITERATIONS       1000u
#define SLOTS            8u
#define SLOT_ACTIVE      0x00AC71F3u
#define SLOT_EMPTY       0x0000DEADu
#define STRIPES          4000u
#define MATERIAL_BYTES   (KEY_BYTES * STRIPES)
#define SLOT_SECTORS     504u /* the material, rounded up to 4096 bytes */
#define FIRST_SECTOR     8u   /* of the first slot's material */
#define TEXT_HEAD_BYTES  1024u

static_assert(MATERIAL_BYTES % SECTOR_BYTES == 0, "whole sectors");
static_assert(MATERIAL_BYTES <= SLOT_SECTORS * SECTOR_BYTES, "a slot's room");
static_assert((FIRST_SECTOR + SLOTS * SLOT_SECTORS) * SECTOR_BYTES <=
		      LUKS_HEADER_BYTES,
	      "eight slots fit before the data");

/* All that must not be seen; in one locked page. */
struct secrets {
	uint8_t master[KEY_BYTES];
	uint8_t slot[KEY_BYTES];
	uint8_t mixed[KEY_BYTES];
	uint8_t sector[SECTOR_BYTES]; /* of the material, not yet encrypted */
};

/* PBKDF2 with SHA-256 (RFC 8018 section 5.2). */
static enum err stretch(const void *secret, size_t len_bytes,
			const uint8_t salt[SALT_BYTES], void *ret_key,
			size_t key_bytes)
{
	return gcry_kdf_derive(secret, len_bytes, GCRY_KDF_PBKDF2,
			       GCRY_MD_SHA256, salt, SALT_BYTES, ITERATIONS,
			       key_bytes, ret_key) == 0
		       ? ERR_OK
		       : ERR_CRYPTO;
}

/* Section 2.4: each digest-sized part is replaced by a hash of it. */
static void diffuse(uint8_t block[KEY_BYTES])
{
	uint32_t i;

	for (i = 0; i < KEY_BYTES / DIGEST_BYTES; i++) {
		uint8_t input[4 + DIGEST_BYTES] = {0, 0, 0, (uint8_t)i};
		uint8_t *part = block + (size_t)i * DIGEST_BYTES;

		memcpy(input + 4, part, DIGEST_BYTES);
		digest_sha256(span_of(input, sizeof(input)), part);
		sodium_memzero(input, sizeof(input));
	}
}

/* Section 2.4: random stripes, and a last one that makes up for them. */
static void next_stripe(struct secrets *s, bool last, uint8_t *ret_stripe)
{
	size_t k;

	if (!last)
		randombytes_buf(ret_stripe, KEY_BYTES);
	for (k = 0; last && k < KEY_BYTES; k++)
		ret_stripe[k] = s->mixed[k] ^ s->master[k];
	for (k = 0; k < KEY_BYTES; k++)
		s->mixed[k] ^= ret_stripe[k];
	diffuse(s->mixed);
}

/* The split master key, encrypted sector by sector (plain64 as tweak). */
static enum err make_material(struct secrets *s, uint8_t *ret_material)
{
	gcry_cipher_hd_t cipher = NULL;
	size_t at, stripe;
	enum err e = ERR_CRYPTO;

	if (gcry_cipher_open(&cipher, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_XTS,
			     0) != 0)
		return ERR_CRYPTO;
	if (gcry_cipher_setkey(cipher, s->slot, KEY_BYTES) != 0)
		goto out;
	for (at = 0; at < MATERIAL_BYTES; at += SECTOR_BYTES) {
		uint64_t sector = at / SECTOR_BYTES;
		uint8_t tweak[16] = {(uint8_t)sector, (uint8_t)(sector >> 8)};

		for (stripe = 0; stripe < SECTOR_BYTES; stripe += KEY_BYTES)
			next_stripe(s,
				    at + stripe + KEY_BYTES == MATERIAL_BYTES,
				    s->sector + stripe);
		if (gcry_cipher_setiv(cipher, tweak, sizeof(tweak)) != 0 ||
		    gcry_cipher_encrypt(cipher, ret_material + at, SECTOR_BYTES,
					s->sector, SECTOR_BYTES) != 0)
			goto out;
	}
	e = ERR_OK;
out:
	gcry_cipher_close(cipher);
	return e;
}

/* A text in a field of fixed size, padded with NUL. */
static enum err put_field(struct buf *b, const char *text, size_t field_bytes)
{
	static const uint8_t zeros[UUID_FIELD_BYTES];
	size_t len = strlen(text);
	enum err e = buf_put(b, text, len);

	return e == ERR_OK ? buf_put(b, zeros, field_bytes - len) : e;
}

static enum err put_u16(struct buf *b, uint16_t value)
{
	const uint8_t bytes[] = {(uint8_t)(value >> 8), (uint8_t)value};

	return buf_put(b, bytes, sizeof(bytes));
}

static enum err put_u32(struct buf *b, uint32_t value)
{
	enum err e = put_u16(b, (uint16_t)(value >> 16));

	return e == ERR_OK ? put_u16(b, (uint16_t)value) : e;
}

static enum err put_slot(struct buf *b, uint32_t index,
			 const uint8_t salt[SALT_BYTES])
{
	static const uint8_t no_salt[SALT_BYTES];
	bool active = index == 0;
	enum err e = put_u32(b, active ? SLOT_ACTIVE : SLOT_EMPTY);

	if (e == ERR_OK)
		e = put_u32(b, active ? ITERATIONS : 0);
	if (e == ERR_OK)
		e = buf_put(b, active ? salt : no_salt, SALT_BYTES);
	if (e == ERR_OK)
		e = put_u32(b, FIRST_SECTOR + index * SLOT_SECTORS);
	return e == ERR_OK ? put_u32(b, STRIPES) : e;
}

/* Section 2.1: the header, big-endian. */
static enum err put_header(struct buf *b, const struct secrets *s,
			   const uint8_t slot_salt[SALT_BYTES])
{
	static const uint8_t magic[] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
	uint8_t digest[MK_DIGEST_BYTES], salt[SALT_BYTES];
	uint32_t i;
	enum err e;

	randombytes_buf(salt, sizeof(salt));
	e = stretch(s->master, KEY_BYTES, salt, digest, sizeof(digest));
	if (e == ERR_OK)
		e = buf_put(b, magic, sizeof(magic));
	if (e == ERR_OK)
		e = put_u16(b, 1);
	if (e == ERR_OK)
		e = put_field(b, "aes", NAME_FIELD_BYTES);
	if (e == ERR_OK)
		e = put_field(b, "xts-plain64", NAME_FIELD_BYTES);
	if (e == ERR_OK)
		e = put_field(b, "sha256", NAME_FIELD_BYTES);
	if (e == ERR_OK)
		e = put_u32(b, LUKS_HEADER_BYTES / SECTOR_BYTES);
	if (e == ERR_OK)
		e = put_u32(b, KEY_BYTES);
	if (e == ERR_OK)
		e = buf_put(b, digest, sizeof(digest));
	if (e == ERR_OK)
		e = buf_put(b, salt, sizeof(salt));
	if (e == ERR_OK)
		e = put_u32(b, ITERATIONS);
	if (e == ERR_OK)
		e = put_field(b, "00000000-0000-0000-0000-000000000000",
			      UUID_FIELD_BYTES);
	for (i = 0; e == ERR_OK && i < SLOTS; i++)
		e = put_slot(b, i, slot_salt);
	return e;
}

static enum err write_at(int fd, const uint8_t *data, size_t len_bytes,
			 off_t at)
{
	while (len_bytes) {
		ssize_t n = pwrite(fd, data, len_bytes, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_SYS;
		data += n;
		at += n;
		len_bytes -= (size_t)n;
	}
	return ERR_OK;
}

/**
 * luks_format() - Write the header of a new encrypted disk
 * @fd:		Empty file; the caller gives it its size
 * @passphrase:	Opens it; in locked memory
 * @len_bytes:	Of it
 *
 * The master key is made here, and is nowhere but in the header afterwards.
 *
 * Return: ERR_OK; ERR_CRYPTO; ERR_SYS with errno; ERR_MEMORY.
 */
enum err luks_format(int fd, const char *passphrase, size_t len_bytes)
{
	uint8_t *material = malloc(MATERIAL_BYTES), salt[SALT_BYTES];
	struct secrets *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct buf head;
	enum err e = ERR_MEMORY;

	buf_init(&head, TEXT_HEAD_BYTES);
	if (!material || s == MAP_FAILED)
		goto out;
	e = mlock(s, sizeof(*s)) < 0 ? ERR_SYS : ERR_OK;
	randombytes_buf(salt, sizeof(salt));
	if (e == ERR_OK) {
		randombytes_buf(s->master, KEY_BYTES);
		e = stretch(passphrase, len_bytes, salt, s->slot, KEY_BYTES);
	}
	if (e == ERR_OK)
		e = put_header(&head, s, salt);
	if (e == ERR_OK)
		e = make_material(s, material);
	if (e == ERR_OK)
		e = write_at(fd, head.data, head.len_bytes, 0);
	if (e == ERR_OK)
		e = write_at(fd, material, MATERIAL_BYTES,
			     (off_t)FIRST_SECTOR * SECTOR_BYTES);
out:
	if (s != MAP_FAILED) {
		sodium_memzero(s, sizeof(*s));
		(void)munmap(s, sizeof(*s));
	}
	free(material);
	buf_fini(&head);
	return e;
}
