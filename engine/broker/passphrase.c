/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passphrase.c - a wrapping key that is derived from what a person types
 *
 * Runs in: kenaz-broker; the derivation itself in a thread of libuv's pool,
 *	    because it takes about a second and transfers go on meanwhile.
 * Trusts:  libsodium's Argon2id (RFC 9106).
 * Never:   keeps a passphrase longer than the derivation.
 *
 * Argon2id's working memory is freed by libsodium and is not locked: it does
 * not hold the passphrase, and the key cannot be computed back from it
 * without most of the work of a guess.
 */
#include "engine/broker/passphrase.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "engine/base/text.h"
#include "engine/broker/vault_format.h"

#define MIB (1024u * 1024u)

struct passphrase_work {
	uv_work_t work;
	struct secret *passphrase;
	struct wrap_argon2id params;
	struct secret *key;
	enum err error;
	passphrase_done done;
	void *context;
};

/**
 * passphrase_check() - Whether a passphrase can be used
 * @passphrase:	Borrowed
 * @is_new:	It is being chosen, and must not be too short
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_SHORT; ERR_LIMIT; ERR_FORMAT for what is not UTF-8 or
 *	   holds a NUL.
 */
enum err passphrase_check(struct span passphrase, bool is_new,
			  const char **ret_why)
{
	*ret_why = "no passphrase was given";
	if (passphrase.len_bytes == 0)
		return ERR_SHORT;
	*ret_why = "a new passphrase has at least 8 bytes";
	if (is_new && passphrase.len_bytes < PASSPHRASE_MIN_BYTES)
		return ERR_SHORT;
	*ret_why = "a passphrase has at most 1024 bytes";
	if (passphrase.len_bytes > PASSPHRASE_MAX_BYTES)
		return ERR_LIMIT;
	*ret_why = "a passphrase is one line of UTF-8";
	if (memchr(passphrase.data, 0, passphrase.len_bytes) ||
	    !text_is_utf8(passphrase))
		return ERR_FORMAT;
	return ERR_OK;
}

/**
 * passphrase_derive() - Compute the wrapping key; takes long
 * @passphrase:	Checked, borrowed
 * @params:	Within the limits of vault_wrap.h
 * @ret_key:	VAULT_KEY_BYTES; owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_MEMORY when the memory that it asks for cannot be had;
 *	   ERR_LIMIT when none can be locked.
 */
enum err passphrase_derive(const struct secret *passphrase,
			   const struct wrap_argon2id *params,
			   struct secret **ret_key)
{
	struct secret *key;
	enum err e = secret_new(VAULT_KEY_BYTES, &key);

	if (e != ERR_OK)
		return e;
	if (crypto_pwhash(key->data, key->len_bytes,
			  (const char *)passphrase->data, passphrase->len_bytes,
			  params->salt, params->passes,
			  (size_t)params->memory_mib * MIB,
			  crypto_pwhash_ALG_ARGON2ID13) != 0)
		e = ERR_MEMORY;
	if (e == ERR_OK)
		*ret_key = key;
	else
		secret_release(key);
	return e;
}

static void on_work(uv_work_t *work)
{
	struct passphrase_work *w = work->data;

	w->error = passphrase_derive(w->passphrase, &w->params, &w->key);
}

static void on_finished(uv_work_t *work, int status)
{
	struct passphrase_work *w = work->data;

	secret_release(w->passphrase);
	if (status != 0)
		w->error = ERR_CANCELLED;
	w->done(w->context, w->error, w->error == ERR_OK ? w->key : NULL);
	free(w);
}

/**
 * passphrase_derive_later() - The same beside the loop
 * @loop:	The process's loop
 * @passphrase:	Checked; copied
 * @params:	Copied
 * @done:	Called exactly once, later; owns the key that it gets
 * @context:	Borrowed, passed to @done
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_LIMIT; ERR_SYS.
 */
enum err passphrase_derive_later(uv_loop_t *loop, struct span passphrase,
				 const struct wrap_argon2id *params,
				 passphrase_done done, void *context)
{
	struct passphrase_work *w = calloc(1, sizeof(*w));
	enum err e;

	if (!w)
		return ERR_MEMORY;
	w->work.data = w;
	w->params = *params;
	w->done = done;
	w->context = context;
	e = secret_copy(passphrase, &w->passphrase);
	if (e == ERR_OK &&
	    uv_queue_work(loop, &w->work, on_work, on_finished) != 0)
		e = ERR_SYS;
	if (e != ERR_OK) {
		secret_release(w->passphrase);
		free(w);
	}
	return e;
}
