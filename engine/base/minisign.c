/* SPDX-License-Identifier: Apache-2.0 */
/*
 * minisign.c - detached signatures of files, in minisign's formats
 *
 * Runs in: kenaz-launch (checks), kenazd (reads public keys), kenaz (signs).
 * Trusts:  nothing of a signature or a key file.
 * Never:   accepts a signature by a key that is not in the caller's list.
 *
 * https://jedisct1.github.io/minisign/ ("Signature format", "Public key
 * format", "Secret key format"), with these departures: the signature must be
 * prehashed (algorithm "ED": Ed25519 over BLAKE2b-512 of the file), a secret
 * key must not be encrypted, no carriage returns, comments are printable
 * UTF-8 of at most MINISIGN_COMMENT_BYTES. The minisign program reads all
 * that is written here, and the other way round.
 */
#include "engine/base/minisign.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"

#define UNTRUSTED  "untrusted comment: "
#define TRUSTED    "trusted comment: "
#define HASH_BYTES 64u
#define SALT_BYTES 32u
#define SUM_BYTES  32u

/* Signature line: algorithm, key id, signature. */
#define SIGNATURE_BLOB (2 + MINISIGN_ID_BYTES + MINISIGN_SIGNATURE_BYTES)
#define PUBLIC_BLOB    (2 + MINISIGN_ID_BYTES + MINISIGN_PUBLIC_BYTES)
/* Algorithm, kind of key derivation, kind of checksum; salt and two limits of
 * the derivation; key id, secret key, checksum. */
#define SECRET_HEAD (6 + SALT_BYTES + 16)
#define SECRET_BLOB \
	(SECRET_HEAD + MINISIGN_ID_BYTES + MINISIGN_SECRET_BYTES + SUM_BYTES)

static bool is_comment(struct span s)
{
	uint32_t cp = 0;

	if (s.len_bytes > MINISIGN_COMMENT_BYTES)
		return false;
	while (s.len_bytes) {
		size_t len = text_utf8_next(s, &cp);

		if (len == 0 || cp < 0x20 || cp == 0x7f || text_is_hidden(cp))
			return false;
		s = span_of(s.data + len, s.len_bytes - len);
	}
	return true;
}

/* Takes one line, which must end in a newline, off @rest. */
static bool take_line(struct span *rest, struct span *ret_line)
{
	const uint8_t *end = rest->len_bytes
				     ? memchr(rest->data, '\n', rest->len_bytes)
				     : NULL;
	size_t len;

	if (!end)
		return false;
	len = (size_t)(end - rest->data);
	*ret_line = span_of(rest->data, len);
	*rest = span_of(end + 1, rest->len_bytes - len - 1);
	return true;
}

static bool take_comment(struct span *rest, const char *label,
			 struct span *ret_comment)
{
	size_t len = strlen(label);
	struct span line;

	if (!take_line(rest, &line) || line.len_bytes < len ||
	    memcmp(line.data, label, len) != 0)
		return false;
	*ret_comment = span_of(line.data + len, line.len_bytes - len);
	return is_comment(*ret_comment);
}

static bool take_blob(struct span *rest, uint8_t *ret_blob, size_t len_bytes)
{
	struct buf out = {.data = ret_blob,
			  .cap_bytes = len_bytes,
			  .max_bytes = len_bytes};
	struct span line;

	return take_line(rest, &line) && text_unbase64(line, &out) == ERR_OK &&
	       out.len_bytes == len_bytes;
}

static enum err put_blob(const uint8_t *blob, size_t len_bytes, struct buf *out)
{
	enum err e = text_base64(span_of(blob, len_bytes), out);

	return e == ERR_OK ? buf_put_text(out, "\n") : e;
}

/**
 * minisign_id_text() - A key's id as minisign shows it
 * @id:		Id as in the files, least significant byte first
 * @ret_text:	16 capital hex digits and a NUL
 */
void minisign_id_text(const uint8_t id[MINISIGN_ID_BYTES],
		      char ret_text[MINISIGN_ID_HEX_BYTES])
{
	static const char digits[] = "0123456789ABCDEF";
	size_t i;

	for (i = 0; i < MINISIGN_ID_BYTES; i++) {
		uint8_t byte = id[MINISIGN_ID_BYTES - 1 - i];

		ret_text[2 * i] = digits[byte >> 4];
		ret_text[2 * i + 1] = digits[byte & 15];
	}
	ret_text[2 * MINISIGN_ID_BYTES] = '\0';
}

/**
 * minisign_key_read() - Read a public key's file
 * @text:	The whole file, borrowed
 * @ret_key:	Written on success; its name is empty
 *
 * Return: ERR_OK; ERR_FORMAT.
 */
enum err minisign_key_read(struct span text, struct minisign_key *ret_key)
{
	uint8_t blob[PUBLIC_BLOB];
	struct span rest = text, comment;

	if (text.len_bytes > MINISIGN_FILE_MAX_BYTES ||
	    !take_comment(&rest, UNTRUSTED, &comment) ||
	    !take_blob(&rest, blob, sizeof(blob)) || rest.len_bytes ||
	    memcmp(blob, "Ed", 2) != 0)
		return ERR_FORMAT;
	ret_key->name[0] = '\0';
	memcpy(ret_key->id, blob + 2, MINISIGN_ID_BYTES);
	memcpy(ret_key->public_key, blob + 2 + MINISIGN_ID_BYTES,
	       MINISIGN_PUBLIC_BYTES);
	return ERR_OK;
}

/**
 * minisign_key_write() - Append a public key's file
 * @key:	Borrowed
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err minisign_key_write(const struct minisign_key *key, struct buf *out)
{
	uint8_t blob[PUBLIC_BLOB] = {'E', 'd'};
	char id[MINISIGN_ID_HEX_BYTES];
	enum err e;

	memcpy(blob + 2, key->id, MINISIGN_ID_BYTES);
	memcpy(blob + 2 + MINISIGN_ID_BYTES, key->public_key,
	       MINISIGN_PUBLIC_BYTES);
	minisign_id_text(key->id, id);
	e = buf_printf(out, UNTRUSTED "minisign public key %s\n", id);
	return e == ERR_OK ? put_blob(blob, sizeof(blob), out) : e;
}

/**
 * minisign_secret_make() - Make a new key; sodium_init() came before
 * @ret_secret:	Written on success; wiped by the caller
 *
 * Return: ERR_OK; ERR_CRYPTO.
 */
enum err minisign_secret_make(struct minisign_secret *ret_secret)
{
	uint8_t public_key[MINISIGN_PUBLIC_BYTES];

	if (crypto_sign_keypair(public_key, ret_secret->key) != 0)
		return ERR_CRYPTO;
	randombytes_buf(ret_secret->id, sizeof(ret_secret->id));
	return ERR_OK;
}

/**
 * minisign_secret_public() - The public half of a key
 * @secret:	Borrowed
 * @ret_key:	Its name is empty
 */
void minisign_secret_public(const struct minisign_secret *secret,
			    struct minisign_key *ret_key)
{
	*ret_key = (struct minisign_key){0};
	memcpy(ret_key->id, secret->id, MINISIGN_ID_BYTES);
	memcpy(ret_key->public_key,
	       secret->key + MINISIGN_SECRET_BYTES - MINISIGN_PUBLIC_BYTES,
	       MINISIGN_PUBLIC_BYTES);
}

/* BLAKE2b-256 of algorithm, key id and secret key. */
static bool checksum(const struct minisign_secret *s,
		     uint8_t ret_sum[SUM_BYTES])
{
	crypto_generichash_state state;

	return crypto_generichash_init(&state, NULL, 0, SUM_BYTES) == 0 &&
	       crypto_generichash_update(&state, (const uint8_t *)"Ed", 2) ==
		       0 &&
	       crypto_generichash_update(&state, s->id, sizeof(s->id)) == 0 &&
	       crypto_generichash_update(&state, s->key, sizeof(s->key)) == 0 &&
	       crypto_generichash_final(&state, ret_sum, SUM_BYTES) == 0;
}

/**
 * minisign_secret_read() - Read a secret key's file
 * @text:	The whole file, borrowed
 * @ret_secret:	Written on success; wiped by the caller
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_UNSUPPORTED for one with a password;
 *	   ERR_INTEGRITY for a wrong checksum; ERR_CRYPTO.
 */
enum err minisign_secret_read(struct span text,
			      struct minisign_secret *ret_secret)
{
	uint8_t blob[SECRET_BLOB], sum[SUM_BYTES];
	const uint8_t *at = blob + SECRET_HEAD;
	struct span rest = text, comment;
	enum err e = ERR_FORMAT;

	if (text.len_bytes > MINISIGN_FILE_MAX_BYTES ||
	    !take_comment(&rest, UNTRUSTED, &comment) ||
	    !take_blob(&rest, blob, sizeof(blob)) || rest.len_bytes ||
	    memcmp(blob, "Ed", 2) != 0 || memcmp(blob + 4, "B2", 2) != 0)
		goto out;
	e = ERR_UNSUPPORTED;
	if (blob[2] != 0 || blob[3] != 0)
		goto out;
	memcpy(ret_secret->id, at, MINISIGN_ID_BYTES);
	at += MINISIGN_ID_BYTES;
	memcpy(ret_secret->key, at, MINISIGN_SECRET_BYTES);
	at += MINISIGN_SECRET_BYTES;
	e = ERR_CRYPTO;
	if (!checksum(ret_secret, sum))
		goto out;
	/* minisign -G -W leaves zeros there. */
	e = sodium_memcmp(sum, at, SUM_BYTES) == 0 ||
			    sodium_is_zero(at, SUM_BYTES)
		    ? ERR_OK
		    : ERR_INTEGRITY;
out:
	if (e != ERR_OK)
		sodium_memzero(ret_secret, sizeof(*ret_secret));
	sodium_memzero(blob, sizeof(blob));
	return e;
}

/**
 * minisign_secret_write() - Append a secret key's file, not encrypted
 * @secret:	Borrowed
 * @out:	Buffer appended to; a secret one
 *
 * Return: ERR_OK; ERR_CRYPTO; ERR_LIMIT; ERR_MEMORY.
 */
enum err minisign_secret_write(const struct minisign_secret *secret,
			       struct buf *out)
{
	uint8_t blob[SECRET_BLOB] = {'E', 'd', 0, 0, 'B', '2'};
	uint8_t *at = blob + SECRET_HEAD;
	enum err e;

	memcpy(at, secret->id, MINISIGN_ID_BYTES);
	at += MINISIGN_ID_BYTES;
	memcpy(at, secret->key, MINISIGN_SECRET_BYTES);
	at += MINISIGN_SECRET_BYTES;
	e = checksum(secret, at) ? ERR_OK : ERR_CRYPTO;
	if (e == ERR_OK)
		e = buf_put_text(out, UNTRUSTED "minisign secret key\n");
	if (e == ERR_OK)
		e = put_blob(blob, sizeof(blob), out);
	sodium_memzero(blob, sizeof(blob));
	return e;
}

static bool prehash(struct span message, uint8_t ret_hash[HASH_BYTES])
{
	return crypto_generichash(ret_hash, HASH_BYTES, message.data,
				  message.len_bytes, NULL, 0) == 0;
}

/* What the second signature covers: the first one and the comment. */
static size_t
global_text(const uint8_t *signature, struct span comment,
	    uint8_t ret_text[MINISIGN_SIGNATURE_BYTES + MINISIGN_COMMENT_BYTES])
{
	memcpy(ret_text, signature, MINISIGN_SIGNATURE_BYTES);
	if (comment.len_bytes)
		memcpy(ret_text + MINISIGN_SIGNATURE_BYTES, comment.data,
		       comment.len_bytes);
	return MINISIGN_SIGNATURE_BYTES + comment.len_bytes;
}

/**
 * minisign_sign() - Append the signature file of a message
 * @secret:	Borrowed
 * @message:	The whole file that is signed
 * @comment:	Printable text, signed too
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_FORMAT for a bad comment; ERR_CRYPTO; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err minisign_sign(const struct minisign_secret *secret,
		       struct span message, const char *comment,
		       struct buf *out)
{
	uint8_t blob[SIGNATURE_BLOB] = {'E', 'D'};
	uint8_t hash[HASH_BYTES], global[MINISIGN_SIGNATURE_BYTES];
	uint8_t text[MINISIGN_SIGNATURE_BYTES + MINISIGN_COMMENT_BYTES];
	uint8_t *signature = blob + 2 + MINISIGN_ID_BYTES;
	struct span said = span_text(comment);
	size_t len;
	enum err e;

	if (!is_comment(said))
		return ERR_FORMAT;
	memcpy(blob + 2, secret->id, MINISIGN_ID_BYTES);
	if (!prehash(message, hash) ||
	    crypto_sign_detached(signature, NULL, hash, sizeof(hash),
				 secret->key) != 0)
		return ERR_CRYPTO;
	len = global_text(signature, said, text);
	if (crypto_sign_detached(global, NULL, text, len, secret->key) != 0)
		return ERR_CRYPTO;
	e = buf_put_text(out, UNTRUSTED "signature of a Kenaz image\n");
	if (e == ERR_OK)
		e = put_blob(blob, sizeof(blob), out);
	if (e == ERR_OK)
		e = buf_printf(out, TRUSTED "%s\n", comment);
	return e == ERR_OK ? put_blob(global, sizeof(global), out) : e;
}

/**
 * minisign_verify() - Check that one of some keys signed a message
 * @signature:	The signature's file, borrowed
 * @message:	The whole file that was signed
 * @keys:	Trusted keys
 * @count:	How many
 * @ret_id:	Who signed, as the signature says; written also for
 *		ERR_NOT_FOUND and ERR_INTEGRITY
 * @ret_index:	Which key it was; written on success
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_UNSUPPORTED for another algorithm;
 *	   ERR_NOT_FOUND when no key has that id; ERR_INTEGRITY when the
 *	   signature is wrong.
 */
enum err minisign_verify(struct span signature, struct span message,
			 const struct minisign_key *keys, size_t count,
			 uint8_t ret_id[MINISIGN_ID_BYTES], size_t *ret_index)
{
	uint8_t blob[SIGNATURE_BLOB], global[MINISIGN_SIGNATURE_BYTES];
	uint8_t text[MINISIGN_SIGNATURE_BYTES + MINISIGN_COMMENT_BYTES];
	const uint8_t *made = blob + 2 + MINISIGN_ID_BYTES;
	uint8_t hash[HASH_BYTES];
	struct span rest = signature, untrusted, comment;
	bool known = false;
	size_t i, len;

	if (signature.len_bytes > MINISIGN_FILE_MAX_BYTES ||
	    !take_comment(&rest, UNTRUSTED, &untrusted) ||
	    !take_blob(&rest, blob, sizeof(blob)) ||
	    !take_comment(&rest, TRUSTED, &comment) ||
	    !take_blob(&rest, global, sizeof(global)) || rest.len_bytes)
		return ERR_FORMAT;
	if (memcmp(blob, "ED", 2) != 0)
		return ERR_UNSUPPORTED;
	memcpy(ret_id, blob + 2, MINISIGN_ID_BYTES);
	if (!prehash(message, hash))
		return ERR_INTEGRITY;
	len = global_text(made, comment, text);
	/* Ids are chosen by whoever makes a key: two may be the same. */
	for (i = 0; i < count; i++) {
		if (memcmp(keys[i].id, ret_id, MINISIGN_ID_BYTES) != 0)
			continue;
		known = true;
		if (crypto_sign_verify_detached(made, hash, sizeof(hash),
						keys[i].public_key) == 0 &&
		    crypto_sign_verify_detached(global, text, len,
						keys[i].public_key) == 0) {
			*ret_index = i;
			return ERR_OK;
		}
	}
	return known ? ERR_INTEGRITY : ERR_NOT_FOUND;
}
