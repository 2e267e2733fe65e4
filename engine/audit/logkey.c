/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logkey.c - audit's own log key and what is wrapped under it
 *
 * Runs in: kenaz-audit.
 * Trusts:  a file log.key that nobody but its owner may read.
 * Never:   keeps a key in memory that could be swapped or dumped; writes a
 *	    key into the database.
 *
 * log.key is the line "kenaz-log-key-1", a newline, 64 hexadecimal digits and
 * a newline, made at first start. Two keys are derived from it, one for epoch
 * secrets and one for payload keys: HMAC-SHA256(log key, purpose). A wrapped
 * secret is a 24-byte nonce and XChaCha20-Poly1305 (IETF) with the caller's
 * text as associated data.
 */
#include "engine/audit/logkey.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "engine/audit/files.h"
#include "engine/base/digest.h"
#include "engine/base/text.h"

#define HEAD        "kenaz-log-key-1\n"
#define HEAD_BYTES  (sizeof(HEAD) - 1)
#define HEX_BYTES   (2 * LOGKEY_BYTES)
#define FILE_BYTES  (HEAD_BYTES + HEX_BYTES + 1)
#define PURPOSES    2u
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES   crypto_aead_xchacha20poly1305_ietf_ABYTES

static_assert(LOGKEY_OVERHEAD_BYTES == NONCE_BYTES + TAG_BYTES,
	      "wrapped sizes are part of the format");

struct logkey {
	uint8_t *keys; /* one for each purpose, in locked memory */
};

static const char *const purposes[PURPOSES] = {
	[LOGKEY_EPOCH] = "kenaz log epoch 1",
	[LOGKEY_PAYLOAD] = "kenaz log payload 1",
};

/**
 * secret_alloc() - Memory for a secret: guarded, locked, not dumped
 * @len_bytes:	Length
 * @ret_secret:	Owned by the caller, secret_free() it; written on success
 *
 * Return: ERR_OK; ERR_MEMORY, also when the memory cannot be locked.
 */
enum err secret_alloc(size_t len_bytes, uint8_t **ret_secret)
{
	uint8_t *secret = sodium_malloc(len_bytes);

	if (!secret)
		return ERR_MEMORY;
	/* sodium_malloc() says nothing when its own locking failed. */
	if (sodium_mlock(secret, len_bytes) != 0) {
		sodium_free(secret);
		return ERR_MEMORY;
	}
	*ret_secret = secret;
	return ERR_OK;
}

/** secret_free() - Wipe and release a secret; NULL is accepted */
void secret_free(uint8_t *secret)
{
	sodium_free(secret);
}

static enum err make_file(int key_dir_fd)
{
	char hex[HEX_BYTES + 1];
	struct buf text;
	uint8_t *raw;
	enum err e = secret_alloc(LOGKEY_BYTES, &raw);

	if (e != ERR_OK)
		return e;
	buf_init_secret(&text, FILE_BYTES);
	randombytes_buf(raw, LOGKEY_BYTES);
	text_hex(raw, LOGKEY_BYTES, hex);
	secret_free(raw);
	e = buf_put_text(&text, HEAD);
	if (e == ERR_OK)
		e = buf_put(&text, hex, HEX_BYTES);
	if (e == ERR_OK)
		e = buf_put_text(&text, "\n");
	if (e == ERR_OK)
		e = files_replace(key_dir_fd, LOGKEY_FILE, buf_span(&text));
	sodium_memzero(hex, sizeof(hex));
	buf_fini(&text);
	return e;
}

static enum err read_file(int key_dir_fd, uint8_t *raw)
{
	struct buf text;
	enum err e;

	buf_init_secret(&text, FILE_BYTES);
	e = files_read(key_dir_fd, LOGKEY_FILE, true, &text);
	if (e == ERR_LIMIT ||
	    (e == ERR_OK && (text.len_bytes != FILE_BYTES ||
			     memcmp(text.data, HEAD, HEAD_BYTES) != 0 ||
			     text.data[FILE_BYTES - 1] != '\n')))
		e = ERR_FORMAT;
	if (e == ERR_OK)
		e = text_unhex(span_of(text.data + HEAD_BYTES, HEX_BYTES), raw,
			       LOGKEY_BYTES);
	buf_fini(&text);
	return e;
}

/**
 * logkey_open() - Read the log key, or make it at first start
 * @key_dir_fd:		Key directory, borrowed
 * @may_create:		Make one when there is none
 * @ret_key:		Owned by the caller; written on success
 * @ret_created:	Whether it was made just now; written on success
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_PERMISSION when others may read it;
 *	   ERR_FORMAT; ERR_MEMORY; ERR_SYS with errno.
 */
enum err logkey_open(int key_dir_fd, bool may_create, struct logkey **ret_key,
		     bool *ret_created)
{
	struct logkey *k = calloc(1, sizeof(*k));
	uint8_t *raw = NULL;
	bool created = false;
	size_t i;
	enum err e;

	if (!k)
		return ERR_MEMORY;
	e = secret_alloc(LOGKEY_BYTES, &raw);
	if (e == ERR_OK)
		e = secret_alloc(PURPOSES * LOGKEY_BYTES, &k->keys);
	if (e != ERR_OK)
		goto out;
	e = read_file(key_dir_fd, raw);
	if (e == ERR_NOT_FOUND && may_create) {
		created = true;
		e = make_file(key_dir_fd);
		if (e == ERR_OK)
			e = read_file(key_dir_fd, raw);
	}
	for (i = 0; e == ERR_OK && i < PURPOSES; i++)
		digest_hmac_sha256(span_of(raw, LOGKEY_BYTES),
				   span_text(purposes[i]),
				   k->keys + i * LOGKEY_BYTES);
out:
	secret_free(raw);
	if (e != ERR_OK) {
		logkey_free(k);
		return e;
	}
	*ret_key = k;
	*ret_created = created;
	return ERR_OK;
}

/** logkey_free() - Wipe and release a log key; NULL is accepted */
void logkey_free(struct logkey *k)
{
	if (!k)
		return;
	secret_free(k->keys);
	free(k);
}

/**
 * logkey_wrap() - Append a secret, encrypted under the log key
 * @k:		Log key
 * @purpose:	Which derived key
 * @about:	Associated data: what this secret is for, borrowed
 * @secret:	At most LOGKEY_WRAP_MAX_BYTES, borrowed
 * @out:	Buffer appended to: LOGKEY_OVERHEAD_BYTES more than the secret
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_CRYPTO.
 */
enum err logkey_wrap(const struct logkey *k, enum logkey_purpose purpose,
		     struct span about, struct span secret, struct buf *out)
{
	uint8_t *at;
	enum err e;

	if (secret.len_bytes > LOGKEY_WRAP_MAX_BYTES)
		return ERR_LIMIT;
	e = buf_reserve(out, LOGKEY_OVERHEAD_BYTES + secret.len_bytes, &at);
	if (e != ERR_OK)
		return e;
	randombytes_buf(at, NONCE_BYTES);
	return crypto_aead_xchacha20poly1305_ietf_encrypt(
		       at + NONCE_BYTES, NULL, secret.data, secret.len_bytes,
		       about.data, about.len_bytes, NULL, at,
		       k->keys + purpose * LOGKEY_BYTES) == 0
		       ? ERR_OK
		       : ERR_CRYPTO;
}

/**
 * logkey_unwrap() - Decrypt what logkey_wrap() made
 * @k:		Log key
 * @purpose:	Which derived key
 * @about:	The same associated data, borrowed
 * @wrapped:	Borrowed
 * @ret_secret:	Array of @len_bytes in locked memory; written on success
 * @len_bytes:	Length of the secret
 *
 * Return: ERR_OK; ERR_FORMAT for another length; ERR_INTEGRITY.
 */
enum err logkey_unwrap(const struct logkey *k, enum logkey_purpose purpose,
		       struct span about, struct span wrapped,
		       uint8_t *ret_secret, size_t len_bytes)
{
	if (wrapped.len_bytes != LOGKEY_OVERHEAD_BYTES + len_bytes)
		return ERR_FORMAT;
	return crypto_aead_xchacha20poly1305_ietf_decrypt(
		       ret_secret, NULL, NULL, wrapped.data + NONCE_BYTES,
		       wrapped.len_bytes - NONCE_BYTES, about.data,
		       about.len_bytes, wrapped.data,
		       k->keys + purpose * LOGKEY_BYTES) == 0
		       ? ERR_OK
		       : ERR_INTEGRITY;
}
