/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_wrap.c - which backend wraps a vault's key, and its parameters
 *
 * Runs in: kenaz-broker.
 * Trusts:  nothing: parameters are read before the file is authenticated.
 * Never:   lets a file choose a path outside the vault's folder, or more
 *	    memory than a person may configure.
 *
 *	keyfile		the key file's name: "vault.key" or "vault.key.N"
 *	systemd-creds	the credential's name
 *	secret-service	16 bytes that the item in the keyring is found by
 *	passphrase	u32 1 (Argon2id, version 1.3)  u32 passes
 *			u32 memory (MiB)  salt[16]
 */
#include "engine/broker/vault_wrap.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"

#define ARGON2ID_13   1u
#define KEY_FILE_NAME "vault.key"

static const char *const names[] = {
	[VAULT_BACKEND_NONE] = "none",
	[VAULT_BACKEND_KEYFILE] = "keyfile",
	[VAULT_BACKEND_SYSTEMD_CREDS] = "systemd-creds",
	[VAULT_BACKEND_SECRET_SERVICE] = "secret-service",
	[VAULT_BACKEND_PASSPHRASE] = "passphrase",
};

/** wrap_backend_name() - Name of a backend; "unknown" for another number */
const char *wrap_backend_name(uint32_t backend)
{
	return backend < ARRAY_SIZE(names) ? names[backend] : "unknown";
}

/** wrap_backend_find() - Number of a configured name; 0 when there is none */
uint32_t wrap_backend_find(struct span name)
{
	uint32_t i;

	for (i = 1; i < ARRAY_SIZE(names); i++)
		if (span_is(name, names[i]))
			return i;
	return VAULT_BACKEND_NONE;
}

static enum err put(uint32_t backend, struct span params,
		    struct vault_wrap *ret_wrap)
{
	struct vault_wrap wrap = {.backend = backend};

	if (params.len_bytes > sizeof(wrap.params))
		return ERR_LIMIT;
	if (params.len_bytes)
		memcpy(wrap.params, params.data, params.len_bytes);
	wrap.params_bytes = (uint32_t)params.len_bytes;
	*ret_wrap = wrap;
	return ERR_OK;
}

static bool is_for(const struct vault_wrap *wrap, uint32_t backend)
{
	return wrap->backend == backend &&
	       wrap->params_bytes <= sizeof(wrap->params);
}

static struct span params_of(const struct vault_wrap *wrap)
{
	return span_of(wrap->params, wrap->params_bytes);
}

static bool argon2id_is_sane(const struct wrap_argon2id *p)
{
	return p->passes >= WRAP_PASSES_MIN && p->passes <= WRAP_PASSES_MAX &&
	       p->memory_mib >= WRAP_MEMORY_MIN_MIB &&
	       p->memory_mib <= WRAP_MEMORY_MAX_MIB;
}

/**
 * wrap_put_argon2id() - A passphrase's parameters
 * @params:	Borrowed
 * @ret_wrap:	Written on success
 *
 * Return: ERR_OK; ERR_RANGE for what no file may ask for; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err wrap_put_argon2id(const struct wrap_argon2id *params,
			   struct vault_wrap *ret_wrap)
{
	struct buf b;
	enum err e;

	if (!argon2id_is_sane(params))
		return ERR_RANGE;
	buf_init(&b, VAULT_PARAMS_MAX_BYTES);
	e = buf_put_u32(&b, ARGON2ID_13);
	if (e == ERR_OK)
		e = buf_put_u32(&b, params->passes);
	if (e == ERR_OK)
		e = buf_put_u32(&b, params->memory_mib);
	if (e == ERR_OK)
		e = buf_put(&b, params->salt, sizeof(params->salt));
	if (e == ERR_OK)
		e = put(VAULT_BACKEND_PASSPHRASE, buf_span(&b), ret_wrap);
	buf_fini(&b);
	return e;
}

/**
 * wrap_get_argon2id() - Read a passphrase's parameters
 * @wrap:	Untrusted
 * @ret_params:	Written on success
 *
 * Return: ERR_OK; ERR_STATE for another backend's; ERR_SHORT; ERR_FORMAT for
 *	   bytes left over; ERR_VERSION for another function; ERR_RANGE.
 */
enum err wrap_get_argon2id(const struct vault_wrap *wrap,
			   struct wrap_argon2id *ret_params)
{
	struct wrap_argon2id p;
	struct reader r;
	struct span salt;
	uint32_t function;

	if (!is_for(wrap, VAULT_BACKEND_PASSPHRASE))
		return ERR_STATE;
	reader_init(&r, params_of(wrap));
	function = reader_get_u32(&r);
	if (r.status == ERR_OK && function != ARGON2ID_13)
		return ERR_VERSION;
	p.passes = reader_get_u32(&r);
	p.memory_mib = reader_get_u32(&r);
	salt = reader_get_span(&r, WRAP_SALT_BYTES);
	if (r.status != ERR_OK)
		return r.status;
	if (reader_left(&r))
		return ERR_FORMAT;
	if (!argon2id_is_sane(&p))
		return ERR_RANGE;
	memcpy(p.salt, salt.data, sizeof(p.salt));
	*ret_params = p;
	return ERR_OK;
}

/** wrap_put_credential() - A credential's name; ERR_FORMAT for a bad one */
enum err wrap_put_credential(const char *name, struct vault_wrap *ret_wrap)
{
	if (!text_is_name(span_text(name), NAME_MAX_BYTES))
		return ERR_FORMAT;
	return put(VAULT_BACKEND_SYSTEMD_CREDS, span_text(name), ret_wrap);
}

/**
 * wrap_get_credential() - Read a credential's name
 * @wrap:	Untrusted
 * @ret_name:	A plain name, never with a slash; written on success
 *
 * Return: ERR_OK; ERR_STATE for another backend's; ERR_FORMAT.
 */
enum err wrap_get_credential(const struct vault_wrap *wrap,
			     char ret_name[NAME_MAX_BYTES + 1])
{
	if (!is_for(wrap, VAULT_BACKEND_SYSTEMD_CREDS))
		return ERR_STATE;
	if (!text_is_name(params_of(wrap), NAME_MAX_BYTES))
		return ERR_FORMAT;
	return span_copy_text(params_of(wrap), ret_name, NAME_MAX_BYTES + 1);
}

/** wrap_put_item() - What a keyring's item is found by */
enum err wrap_put_item(const uint8_t id[WRAP_ITEM_BYTES],
		       struct vault_wrap *ret_wrap)
{
	return put(VAULT_BACKEND_SECRET_SERVICE, span_of(id, WRAP_ITEM_BYTES),
		   ret_wrap);
}

/** wrap_get_item() - Read it; ERR_STATE for another backend's; ERR_FORMAT */
enum err wrap_get_item(const struct vault_wrap *wrap,
		       uint8_t ret_id[WRAP_ITEM_BYTES])
{
	if (!is_for(wrap, VAULT_BACKEND_SECRET_SERVICE))
		return ERR_STATE;
	if (wrap->params_bytes != WRAP_ITEM_BYTES)
		return ERR_FORMAT;
	memcpy(ret_id, wrap->params, WRAP_ITEM_BYTES);
	return ERR_OK;
}

/** wrap_put_file() - The key file of a vault's key: the first one has no N */
enum err wrap_put_file(uint32_t key_id, struct vault_wrap *ret_wrap)
{
	char name[WRAP_FILE_MAX_BYTES] = KEY_FILE_NAME;

	if (key_id > 1 && text_format(name, sizeof(name), KEY_FILE_NAME ".%u",
				      key_id) != ERR_OK)
		return ERR_LIMIT;
	return put(VAULT_BACKEND_KEYFILE, span_text(name), ret_wrap);
}

/**
 * wrap_get_file() - Read a key file's name
 * @wrap:	Untrusted; a version 1 file has no name in it
 * @ret_name:	In the vault's folder; written on success
 *
 * Return: ERR_OK; ERR_STATE for another backend's; ERR_FORMAT.
 */
enum err wrap_get_file(const struct vault_wrap *wrap,
		       char ret_name[WRAP_FILE_MAX_BYTES])
{
	struct span name = params_of(wrap);
	struct vault_wrap same;
	uint64_t number = 1;
	size_t skip = sizeof(KEY_FILE_NAME);

	if (!is_for(wrap, VAULT_BACKEND_KEYFILE))
		return ERR_STATE;
	if (name.len_bytes == 0)
		name = span_text(KEY_FILE_NAME);
	if (name.len_bytes > skip &&
	    text_parse_u64(span_of(name.data + skip, name.len_bytes - skip), 2,
			   UINT32_MAX, &number) != ERR_OK)
		return ERR_FORMAT;
	/* As it would be written, and in no other way. */
	if (wrap_put_file((uint32_t)number, &same) != ERR_OK ||
	    !span_equal(params_of(&same), name))
		return ERR_FORMAT;
	return span_copy_text(name, ret_name, WRAP_FILE_MAX_BYTES);
}
