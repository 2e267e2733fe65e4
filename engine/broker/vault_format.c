/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_format.c - the vault's bytes: envelope encryption, no I/O
 *
 * Runs in: kenaz-broker.
 * Trusts:  the wrapping key. Not the file: every byte of it is authenticated.
 * Never:   returns a secret from a file with one wrong bit.
 *
 * Theory of operation
 *
 * A wrapping key, which comes from a backend, wraps a random vault key; that
 * encrypts each secret. All with XChaCha20-Poly1305-IETF and random nonces.
 * Numbers are little-endian, "lp" is a u32 length and that many bytes.
 *
 *	"KENAZVLT"  u32 version  u32 backend  id[16]  u64 generation
 *	u32 key id  lp parameters  nonce[24]  wrapped vault key[32 + 16]
 *	u32 count, then each: lp name  u64 version  u64 created (us)
 *		nonce[24]  lp ciphertext
 *	keyed BLAKE2b-256 over all of the above
 *
 * The parameters are the backend's (vault_wrap.h); version 1 had none.
 * Associated data of the vault key: "kenaz-vault-key" version backend id
 * key id, lp parameters. Of a secret: "kenaz-secret" id, lp name, version, key
 *id: none can be moved to another name, version or vault. The last field binds
 *the set of records and the generation; its key is derived from the vault key.
 */
#include "engine/broker/vault_format.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "engine/base/text.h"

#define MAGIC       "KENAZVLT"
#define MAGIC_BYTES 8u
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES   crypto_aead_xchacha20poly1305_ietf_ABYTES
#define SEAL_BYTES  32u
#define AAD_MAX     512u

static struct span params_of(const struct vault_header *h)
{
	return span_of(h->wrap.params, h->wrap.params_bytes);
}

/* The first version knew one backend, which needs none. */
static enum err put_params(const struct vault_header *h, struct buf *out)
{
	return h->version > 1 ? buf_put_lp(out, params_of(h)) : ERR_OK;
}

static enum err put_header(const struct vault_header *h, struct buf *out)
{
	enum err e = buf_put(out, MAGIC, MAGIC_BYTES);

	if (e == ERR_OK)
		e = buf_put_u32(out, h->version);
	if (e == ERR_OK)
		e = buf_put_u32(out, h->wrap.backend);
	if (e == ERR_OK)
		e = buf_put(out, h->id, sizeof(h->id));
	if (e == ERR_OK)
		e = buf_put_u64(out, h->generation);
	if (e == ERR_OK)
		e = buf_put_u32(out, h->key_id);
	return e == ERR_OK ? put_params(h, out) : e;
}

static enum err get_header(struct reader *r, struct vault_header *ret)
{
	struct span magic = reader_get_span(r, MAGIC_BYTES);
	struct vault_header h = {0};
	struct span id, params = {0};

	if (r->status != ERR_OK || memcmp(magic.data, MAGIC, MAGIC_BYTES) != 0)
		return ERR_FORMAT;
	h.version = reader_get_u32(r);
	if (r->status == ERR_OK && h.version > VAULT_VERSION)
		return ERR_VERSION;
	h.wrap.backend = reader_get_u32(r);
	id = reader_get_span(r, VAULT_ID_BYTES);
	h.generation = reader_get_u64(r);
	h.key_id = reader_get_u32(r);
	if (h.version > 1)
		params = reader_get_lp(r, VAULT_PARAMS_MAX_BYTES);
	if (r->status != ERR_OK)
		return r->status;
	if (h.version == 0)
		return ERR_FORMAT;
	memcpy(h.id, id.data, sizeof(h.id));
	if (params.len_bytes)
		memcpy(h.wrap.params, params.data, params.len_bytes);
	h.wrap.params_bytes = (uint32_t)params.len_bytes;
	*ret = h;
	return ERR_OK;
}

/**
 * vault_header_read() - Read what says which wrapping key is needed
 * @file:		Whole file, untrusted and not authenticated yet
 * @ret_header:		Written on success
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_SHORT; ERR_LIMIT; ERR_VERSION for a file
 *	   that a newer Kenaz wrote.
 */
enum err vault_header_read(struct span file, struct vault_header *ret_header)
{
	struct reader r;

	if (file.len_bytes > VAULT_FILE_MAX_BYTES)
		return ERR_LIMIT;
	reader_init(&r, file);
	return get_header(&r, ret_header);
}

static enum err key_aad(const struct vault_header *h, struct buf *out)
{
	enum err e = buf_put_text(out, "kenaz-vault-key");

	if (e == ERR_OK)
		e = buf_put_u32(out, h->version);
	if (e == ERR_OK)
		e = buf_put_u32(out, h->wrap.backend);
	if (e == ERR_OK)
		e = buf_put(out, h->id, sizeof(h->id));
	if (e == ERR_OK)
		e = buf_put_u32(out, h->key_id);
	return e == ERR_OK ? put_params(h, out) : e;
}

static enum err secret_aad(const struct vault_header *h, struct span name,
			   uint64_t version, struct buf *out)
{
	enum err e = buf_put_text(out, "kenaz-secret");

	if (e == ERR_OK)
		e = buf_put(out, h->id, sizeof(h->id));
	if (e == ERR_OK)
		e = buf_put_lp(out, name);
	if (e == ERR_OK)
		e = buf_put_u64(out, version);
	if (e == ERR_OK)
		e = buf_put_u32(out, h->key_id);
	return e;
}

/* Appends nonce and ciphertext; the latter with a length when @with_length. */
static enum err put_sealed(struct buf *out, const struct secret *key,
			   const struct buf *aad, struct span plain,
			   bool with_length)
{
	size_t len = plain.len_bytes + TAG_BYTES;
	uint8_t nonce[NONCE_BYTES];
	uint8_t *at;
	enum err e;

	randombytes_buf(nonce, sizeof(nonce));
	e = buf_put(out, nonce, sizeof(nonce));
	if (e == ERR_OK && with_length)
		e = buf_put_u32(out, (uint32_t)len);
	if (e == ERR_OK)
		e = buf_reserve(out, len, &at);
	if (e != ERR_OK)
		return e;
	if (crypto_aead_xchacha20poly1305_ietf_encrypt(
		    at, NULL, plain.data, plain.len_bytes, aad->data,
		    aad->len_bytes, NULL, nonce, key->data) != 0)
		return ERR_CRYPTO;
	return ERR_OK;
}

static enum err open_sealed(struct span nonce, struct span sealed,
			    const struct secret *key, const struct buf *aad,
			    struct secret **ret_secret)
{
	struct secret *s;
	enum err e;

	if (sealed.len_bytes <= TAG_BYTES)
		return ERR_FORMAT;
	e = secret_new(sealed.len_bytes - TAG_BYTES, &s);
	if (e != ERR_OK)
		return e;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(
		    s->data, NULL, NULL, sealed.data, sealed.len_bytes,
		    aad->data, aad->len_bytes, nonce.data, key->data) != 0) {
		secret_release(s);
		return ERR_INTEGRITY;
	}
	*ret_secret = s;
	return ERR_OK;
}

/* Keyed hash over everything before it, under a key of its own. */
static enum err seal(const struct secret *key, struct span content,
		     uint8_t ret_seal[SEAL_BYTES])
{
	static const char context[] = "kenaz-vault-seal";
	struct secret *sub;
	enum err e = secret_new(VAULT_KEY_BYTES, &sub);

	if (e != ERR_OK)
		return e;
	if (crypto_generichash(sub->data, sub->len_bytes,
			       (const uint8_t *)context, sizeof(context) - 1,
			       key->data, key->len_bytes) != 0 ||
	    crypto_generichash(ret_seal, SEAL_BYTES, content.data,
			       content.len_bytes, sub->data,
			       sub->len_bytes) != 0)
		e = ERR_CRYPTO;
	secret_release(sub);
	return e;
}

/**
 * vault_content_new() - Start an empty vault with a fresh key and id
 * @ret_content:	Owned by the caller; written on success. Its wrap is
 *			the caller's to fill in
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_LIMIT when memory cannot be locked.
 */
enum err vault_content_new(struct vault_content **ret_content)
{
	struct vault_content *c = calloc(1, sizeof(*c));
	enum err e;

	if (!c)
		return ERR_MEMORY;
	c->header.version = VAULT_VERSION;
	randombytes_buf(c->header.id, sizeof(c->header.id));
	e = vault_content_rekey(c);
	if (e != ERR_OK) {
		vault_content_free(c);
		return e;
	}
	*ret_content = c;
	return ERR_OK;
}

/**
 * vault_content_rekey() - Take a fresh vault key, under the next key id
 * @content:	Changed on success only
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_LIMIT when memory cannot be locked, or
 *	   after four thousand million keys.
 */
enum err vault_content_rekey(struct vault_content *content)
{
	struct secret *key;
	enum err e = ERR_LIMIT;

	if (content->header.key_id == UINT32_MAX)
		return e;
	e = secret_new(VAULT_KEY_BYTES, &key);
	if (e != ERR_OK)
		return e;
	randombytes_buf(key->data, key->len_bytes);
	secret_release(content->key);
	content->key = key;
	content->header.key_id++;
	return ERR_OK;
}

/**
 * vault_content_free() - Wipe and release
 * @content:	Content, or NULL; half-built is fine
 */
void vault_content_free(struct vault_content *content)
{
	size_t i;

	if (!content)
		return;
	for (i = 0; i < content->count; i++)
		secret_release(content->records[i].secret);
	secret_release(content->key);
	free(content);
}

static bool name_known(const struct vault_content *c, struct span name)
{
	size_t i;

	for (i = 0; i < c->count; i++)
		if (span_is(name, c->records[i].name))
			return true;
	return false;
}

static enum err read_record(struct reader *r, struct vault_content *c)
{
	struct vault_record *record = &c->records[c->count];
	struct span name = reader_get_lp(r, VAULT_NAME_MAX_BYTES);
	struct span nonce, sealed;
	struct buf aad;
	enum err e;

	record->version = reader_get_u64(r);
	record->created_wall_us = reader_get_u64(r);
	nonce = reader_get_span(r, NONCE_BYTES);
	sealed = reader_get_lp(r, SECRET_MAX_BYTES + TAG_BYTES);
	if (r->status != ERR_OK)
		return r->status;
	if (!text_is_name(name, VAULT_NAME_MAX_BYTES) || name_known(c, name))
		return ERR_FORMAT;
	e = span_copy_text(name, record->name, sizeof(record->name));
	if (e != ERR_OK)
		return e;
	buf_init(&aad, AAD_MAX);
	e = secret_aad(&c->header, name, record->version, &aad);
	if (e == ERR_OK)
		e = open_sealed(nonce, sealed, c->key, &aad, &record->secret);
	buf_fini(&aad);
	if (e == ERR_OK)
		c->count++;
	return e;
}

static enum err check_seal(struct span file, struct vault_content *c)
{
	uint8_t want[SEAL_BYTES];
	size_t body;
	enum err e;

	if (file.len_bytes < SEAL_BYTES)
		return ERR_SHORT;
	body = file.len_bytes - SEAL_BYTES;
	e = seal(c->key, span_of(file.data, body), want);
	if (e == ERR_OK && sodium_memcmp(want, file.data + body, SEAL_BYTES))
		e = ERR_INTEGRITY;
	return e;
}

static enum err read_key(struct reader *r, const struct secret *wrapping_key,
			 struct vault_content *c)
{
	struct span nonce = reader_get_span(r, NONCE_BYTES);
	struct span sealed = reader_get_span(r, VAULT_KEY_BYTES + TAG_BYTES);
	struct buf aad;
	enum err e;

	if (r->status != ERR_OK)
		return r->status;
	buf_init(&aad, AAD_MAX);
	e = key_aad(&c->header, &aad);
	if (e == ERR_OK)
		e = open_sealed(nonce, sealed, wrapping_key, &aad, &c->key);
	buf_fini(&aad);
	return e == ERR_INTEGRITY ? ERR_CRYPTO : e;
}

static const char *read_problem(enum err e)
{
	if (e == ERR_CRYPTO)
		return "the wrapping key does not open this vault";
	if (e == ERR_INTEGRITY)
		return "the vault was changed or is damaged";
	if (e == ERR_VERSION)
		return "a newer Kenaz wrote this vault";
	if (e == ERR_MEMORY || e == ERR_LIMIT)
		return "memory for secrets cannot be locked, or a limit of "
		       "the vault is passed";
	return "this is not a whole vault file";
}

/**
 * vault_content_read() - Open a whole vault
 * @file:		Whole file, untrusted
 * @wrapping_key:	VAULT_KEY_BYTES, borrowed
 * @ret_content:	Owned by the caller; written on success
 * @ret_why:		A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_CRYPTO for another wrapping key; ERR_INTEGRITY for a
 *	   changed file; ERR_VERSION; ERR_FORMAT; ERR_SHORT; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err vault_content_read(struct span file, const struct secret *wrapping_key,
			    struct vault_content **ret_content,
			    const char **ret_why)
{
	struct vault_content *c = calloc(1, sizeof(*c));
	uint32_t count, i;
	struct reader r;
	enum err e = ERR_LIMIT;

	if (!c || file.len_bytes > VAULT_FILE_MAX_BYTES)
		goto out;
	reader_init(&r, file);
	e = get_header(&r, &c->header);
	if (e == ERR_OK)
		e = read_key(&r, wrapping_key, c);
	if (e == ERR_OK)
		e = check_seal(file, c);
	if (e != ERR_OK)
		goto out;
	count = reader_get_u32(&r);
	if (r.status == ERR_OK && count > VAULT_RECORDS_MAX)
		e = ERR_LIMIT;
	for (i = 0; e == ERR_OK && r.status == ERR_OK && i < count; i++)
		e = read_record(&r, c);
	if (e == ERR_OK)
		e = r.status;
	if (e == ERR_OK && reader_left(&r) != SEAL_BYTES)
		e = ERR_FORMAT;
out:
	if (e == ERR_OK) {
		/* The next write is one of this program's version. */
		c->header.version = VAULT_VERSION;
		*ret_content = c;
	} else {
		*ret_why = read_problem(e);
		vault_content_free(c);
	}
	return e;
}

static enum err write_record(const struct vault_content *c,
			     const struct vault_record *record, struct buf *out)
{
	struct span name = span_text(record->name);
	struct buf aad;
	enum err e;

	buf_init(&aad, AAD_MAX);
	e = buf_put_lp(out, name);
	if (e == ERR_OK)
		e = buf_put_u64(out, record->version);
	if (e == ERR_OK)
		e = buf_put_u64(out, record->created_wall_us);
	if (e == ERR_OK)
		e = secret_aad(&c->header, name, record->version, &aad);
	if (e == ERR_OK)
		e = put_sealed(out, c->key, &aad, secret_span(record->secret),
			       true);
	buf_fini(&aad);
	return e;
}

/**
 * vault_content_write() - Append the file's bytes, with fresh nonces
 * @content:		What to write
 * @wrapping_key:	VAULT_KEY_BYTES, borrowed
 * @out:		Empty buffer
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_CRYPTO.
 */
enum err vault_content_write(const struct vault_content *content,
			     const struct secret *wrapping_key, struct buf *out)
{
	uint8_t end[SEAL_BYTES];
	struct buf aad;
	size_t i;
	enum err e;

	buf_init(&aad, AAD_MAX);
	e = put_header(&content->header, out);
	if (e == ERR_OK)
		e = key_aad(&content->header, &aad);
	if (e == ERR_OK)
		e = put_sealed(out, wrapping_key, &aad,
			       secret_span(content->key), false);
	if (e == ERR_OK)
		e = buf_put_u32(out, (uint32_t)content->count);
	for (i = 0; e == ERR_OK && i < content->count; i++)
		e = write_record(content, &content->records[i], out);
	if (e == ERR_OK)
		e = seal(content->key, buf_span(out), end);
	if (e == ERR_OK)
		e = buf_put(out, end, sizeof(end));
	buf_fini(&aad);
	return e;
}
