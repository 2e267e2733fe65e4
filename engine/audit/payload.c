/* SPDX-License-Identifier: Apache-2.0 */
/*
 * payload.c - bytes beside the log: encrypted each under its own key
 *
 * Runs in: kenaz-audit.
 * Trusts:  the event's commitments, which the tree covers.
 * Never:   returns bytes that differ from what the event commits to.
 *
 * A stored payload is nonce || XChaCha20-Poly1305(key, r || stored) with a
 * fresh random key, nonce and 32-byte r. The event commits to the SHA-256 of
 * all that, and to HMAC-SHA256(r, bytes) for the bytes sent and the bytes
 * stored. The keyed hashes are there because the cipher does not commit to
 * its key; r is secret, so that once the key is destroyed nobody can test
 * guesses of a short text against the log.
 */
#include "engine/audit/payload.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

static_assert(PAYLOAD_KEY_BYTES ==
			      crypto_aead_xchacha20poly1305_ietf_KEYBYTES &&
		      PAYLOAD_NONCE_BYTES ==
			      crypto_aead_xchacha20poly1305_ietf_NPUBBYTES &&
		      PAYLOAD_TAG_BYTES ==
			      crypto_aead_xchacha20poly1305_ietf_ABYTES,
	      "sizes are part of the format");

static enum err encrypt(const uint8_t *key, struct span stored,
			struct buf *cipher, struct span *ret_blind)
{
	size_t inner = PAYLOAD_BLIND_BYTES + stored.len_bytes;
	uint8_t *at;
	enum err e;

	e = buf_reserve(cipher, PAYLOAD_OVERHEAD_BYTES + stored.len_bytes, &at);
	if (e != ERR_OK)
		return e;
	randombytes_buf(at, PAYLOAD_NONCE_BYTES);
	at += PAYLOAD_NONCE_BYTES;
	memcpy(at, ret_blind->data, PAYLOAD_BLIND_BYTES);
	if (stored.len_bytes)
		memcpy(at + PAYLOAD_BLIND_BYTES, stored.data, stored.len_bytes);
	return crypto_aead_xchacha20poly1305_ietf_encrypt(
		       at, NULL, at, inner, NULL, 0, NULL,
		       at - PAYLOAD_NONCE_BYTES, key) == 0
		       ? ERR_OK
		       : ERR_CRYPTO;
}

/**
 * payload_seal() - Encrypt a payload and make what the event says about it
 * @k:		Log key that wraps the payload's own key
 * @about:	Associated data of the wrapped key: which payload of which log
 * @sent:	Bytes that crossed the boundary, borrowed
 * @stored:	Bytes to keep: the same, or redacted; borrowed
 * @ret_commit:	All but its name is written
 * @scratch:	PAYLOAD_SECRET_BYTES of secret_alloc(), kept by the caller: to
 *		lock and guard memory for each payload costs more than all
 *		the rest; wiped on return
 * @cipher:	Buffer that gets what is stored
 * @wrapped:	Buffer that gets PAYLOAD_WRAPPED_BYTES
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_CRYPTO.
 */
enum err payload_seal(const struct logkey *k, struct span about,
		      struct span sent, struct span stored,
		      struct record_payload *ret_commit, uint8_t *scratch,
		      struct buf *cipher, struct buf *wrapped)
{
	struct span key = span_of(scratch, PAYLOAD_KEY_BYTES);
	struct span blind =
		span_of(scratch + PAYLOAD_KEY_BYTES, PAYLOAD_BLIND_BYTES);
	enum err e;

	if (sent.len_bytes > PAYLOAD_MAX_BYTES ||
	    stored.len_bytes > PAYLOAD_MAX_BYTES)
		return ERR_LIMIT;
	randombytes_buf(scratch, PAYLOAD_SECRET_BYTES);
	e = encrypt(key.data, stored, cipher, &blind);
	if (e == ERR_OK)
		e = logkey_wrap(k, LOGKEY_PAYLOAD, about, key, wrapped);
	if (e == ERR_OK) {
		ret_commit->sent_bytes = sent.len_bytes;
		ret_commit->stored_bytes = stored.len_bytes;
		digest_sha256(buf_span(cipher), ret_commit->cipher);
		digest_hmac_sha256(blind, stored, ret_commit->stored_mac);
		if (sent.data == stored.data &&
		    sent.len_bytes == stored.len_bytes)
			memcpy(ret_commit->sent_mac, ret_commit->stored_mac,
			       DIGEST_BYTES);
		else
			digest_hmac_sha256(blind, sent, ret_commit->sent_mac);
	}
	sodium_memzero(scratch, PAYLOAD_SECRET_BYTES);
	return e;
}

static enum err decrypt(const uint8_t *key, struct span cipher,
			struct buf *inner)
{
	uint8_t *at;
	enum err e;

	e = buf_reserve(inner,
			cipher.len_bytes - PAYLOAD_NONCE_BYTES -
				PAYLOAD_TAG_BYTES,
			&at);
	if (e != ERR_OK)
		return e;
	return crypto_aead_xchacha20poly1305_ietf_decrypt(
		       at, NULL, NULL, cipher.data + PAYLOAD_NONCE_BYTES,
		       cipher.len_bytes - PAYLOAD_NONCE_BYTES, NULL, 0,
		       cipher.data, key) == 0
		       ? ERR_OK
		       : ERR_INTEGRITY;
}

/**
 * payload_open() - Decrypt a payload and check it against its event
 * @k:		Log key
 * @about:	As for payload_seal()
 * @cipher:	What is stored, borrowed
 * @wrapped:	The payload's wrapped key, borrowed
 * @commit:	From the event
 * @ret_stored:	Empty secret buffer that gets the stored bytes
 *
 * Return: ERR_OK; ERR_INTEGRITY when anything differs from the event;
 *	   ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err payload_open(const struct logkey *k, struct span about,
		      struct span cipher, struct span wrapped,
		      const struct record_payload *commit,
		      struct buf *ret_stored)
{
	uint8_t digest[DIGEST_BYTES], *key = NULL;
	struct span blind, stored;
	enum err e;

	if (cipher.len_bytes < PAYLOAD_OVERHEAD_BYTES)
		return ERR_FORMAT;
	digest_sha256(cipher, digest);
	if (!digest_equal(digest, commit->cipher))
		return ERR_INTEGRITY;
	e = secret_alloc(PAYLOAD_KEY_BYTES, &key);
	if (e != ERR_OK)
		return e;
	e = logkey_unwrap(k, LOGKEY_PAYLOAD, about, wrapped, key,
			  PAYLOAD_KEY_BYTES);
	if (e == ERR_OK)
		e = decrypt(key, cipher, ret_stored);
	secret_free(key);
	if (e != ERR_OK)
		return e;
	blind = span_of(ret_stored->data, PAYLOAD_BLIND_BYTES);
	stored = span_of(ret_stored->data + PAYLOAD_BLIND_BYTES,
			 ret_stored->len_bytes - PAYLOAD_BLIND_BYTES);
	digest_hmac_sha256(blind, stored, digest);
	if (stored.len_bytes != commit->stored_bytes ||
	    !digest_equal(digest, commit->stored_mac))
		return ERR_INTEGRITY;
	buf_consume(ret_stored, PAYLOAD_BLIND_BYTES);
	return ERR_OK;
}
