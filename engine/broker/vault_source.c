/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_source.c - where wrapping keys come from, whichever backend
 *
 * Runs in: kenaz-broker.
 * Trusts:  the backend that is named; parameters are checked here.
 * Never:   tries another backend when the named one fails.
 *
 * A row a backend: how to load the key that a vault names, how to make the
 * one that the configuration asks for, how to forget one that is no longer
 * used. Each reports through finish(), at once or later.
 */
#include "engine/broker/vault_source.h"

#include <unistd.h>

#include <sodium.h>

#include "engine/broker/credential_file.h"
#include "engine/broker/key_file.h"
#include "engine/broker/passphrase.h"
#include "engine/broker/vault_format.h"

struct backend {
	void (*load)(struct vault_source *s, const struct source_help *help);
	void (*make)(struct vault_source *s,
		     const struct vault_settings *settings, uint32_t key_id,
		     const struct source_help *help);
	/* NULL: nothing to do; key files are swept by the keeper */
	void (*forget)(struct vault_source *s);
};

static void finish(struct vault_source *s, enum err e, const char *why,
		   struct secret *key)
{
	s->busy = false;
	s->done(s->context, e, why, &s->wrap, key);
}

/* --- keyfile ------------------------------------------------------------ */

static void keyfile_load(struct vault_source *s, const struct source_help *help)
{
	const char *why = "the vault names no valid key file";
	char name[WRAP_FILE_MAX_BYTES];
	struct secret *key = NULL;
	enum err e = wrap_get_file(&s->wrap, name);

	(void)help;
	if (e == ERR_OK)
		e = key_file_load(s->vault_fd, name, &key, &why);
	finish(s, e, why, key);
}

static void keyfile_make(struct vault_source *s,
			 const struct vault_settings *settings, uint32_t key_id,
			 const struct source_help *help)
{
	const char *why = "the key file cannot be named";
	char name[WRAP_FILE_MAX_BYTES];
	struct secret *key = NULL;
	enum err e = wrap_put_file(key_id, &s->wrap);

	(void)settings;
	(void)help;
	if (e == ERR_OK)
		e = wrap_get_file(&s->wrap, name);
	if (e != ERR_OK) {
		finish(s, e, why, NULL);
		return;
	}
	/* A first one may be left from a vault that was taken away. A later
	 * one is what a rewrap left that did not come to its end. */
	e = ERR_NOT_FOUND;
	if (key_id == 1)
		e = key_file_load(s->vault_fd, name, &key, &why);
	else
		(void)unlinkat(s->vault_fd, name, 0);
	if (e == ERR_NOT_FOUND)
		e = key_file_create(s->vault_fd, name, &key, &why);
	finish(s, e, why, key);
}

/* --- systemd-creds ------------------------------------------------------ */

static void credential_get(struct vault_source *s,
			   const struct source_help *help)
{
	const char *why = "the vault names no valid credential";
	char name[NAME_MAX_BYTES + 1];
	struct secret *key = NULL;
	enum err e = wrap_get_credential(&s->wrap, name);

	(void)help;
	if (e == ERR_OK)
		e = credential_load(s->credentials_fd, name, &key, &why);
	finish(s, e, why, key);
}

/* The administrator made it: it is only found. */
static void credential_make(struct vault_source *s,
			    const struct vault_settings *settings,
			    uint32_t key_id, const struct source_help *help)
{
	enum err e = wrap_put_credential(settings->credential, &s->wrap);

	(void)key_id;
	if (e != ERR_OK)
		finish(s, e, "the configured credential has no valid name",
		       NULL);
	else
		credential_get(s, help);
}

/* --- secret-service ----------------------------------------------------- */

static void on_keychain(void *context, enum err error, const char *why,
			struct secret *key)
{
	struct vault_source *s = context;

	if (s->made) {
		key = s->made;
		s->made = NULL;
		if (error != ERR_OK) {
			secret_release(key);
			key = NULL;
		}
	}
	finish(s, error, why, key);
}

static void keychain_load(struct vault_source *s,
			  const struct source_help *help)
{
	uint8_t item[WRAP_ITEM_BYTES];
	enum err e = wrap_get_item(&s->wrap, item);

	if (e != ERR_OK)
		finish(s, e, "the vault names no valid item of a keyring",
		       NULL);
	else
		keychain_ask(&s->keychain, KEYCHAIN_GET, item, help->may_prompt,
			     (struct span){0}, on_keychain, s);
}

static void keychain_make(struct vault_source *s,
			  const struct vault_settings *settings,
			  uint32_t key_id, const struct source_help *help)
{
	uint8_t item[WRAP_ITEM_BYTES];
	enum err e;

	(void)settings;
	(void)key_id;
	randombytes_buf(item, sizeof(item));
	e = wrap_put_item(item, &s->wrap);
	if (e == ERR_OK)
		e = secret_new(VAULT_KEY_BYTES, &s->made);
	if (e != ERR_OK) {
		finish(s, e, "memory for secrets cannot be locked", NULL);
		return;
	}
	randombytes_buf(s->made->data, VAULT_KEY_BYTES);
	keychain_ask(&s->keychain, KEYCHAIN_PUT, item, help->may_prompt,
		     secret_span(s->made), on_keychain, s);
}

static void keychain_forget(struct vault_source *s)
{
	uint8_t item[WRAP_ITEM_BYTES];
	enum err e = wrap_get_item(&s->wrap, item);

	if (e != ERR_OK)
		finish(s, e, "the vault named no valid item", NULL);
	else
		keychain_ask(&s->keychain, KEYCHAIN_FORGET, item, false,
			     (struct span){0}, on_keychain, s);
}

/* --- passphrase --------------------------------------------------------- */

static void on_derived(void *context, enum err error, struct secret *key)
{
	finish(context, error,
	       "the memory that the passphrase's derivation needs cannot be "
	       "had",
	       key);
}

static void derive(struct vault_source *s, struct span passphrase,
		   const struct wrap_argon2id *params)
{
	enum err e = passphrase_derive_later(s->loop, passphrase, params,
					     on_derived, s);

	if (e != ERR_OK)
		finish(s, e, "memory for the passphrase cannot be locked",
		       NULL);
}

static void passphrase_load(struct vault_source *s,
			    const struct source_help *help)
{
	const char *why = "the vault's parameters of its passphrase are not "
			  "valid";
	struct wrap_argon2id params;
	enum err e = wrap_get_argon2id(&s->wrap, &params);

	if (e == ERR_OK)
		e = passphrase_check(help->passphrase, false, &why);
	if (e != ERR_OK)
		finish(s, e, why, NULL);
	else
		derive(s, help->passphrase, &params);
}

static void passphrase_make(struct vault_source *s,
			    const struct vault_settings *settings,
			    uint32_t key_id, const struct source_help *help)
{
	struct wrap_argon2id params = {.passes = settings->passes,
				       .memory_mib = settings->memory_mib};
	const char *why = "";
	enum err e = passphrase_check(help->passphrase, true, &why);

	(void)key_id;
	randombytes_buf(params.salt, sizeof(params.salt));
	if (e == ERR_OK) {
		why = "the configured cost of a passphrase is out of range";
		e = wrap_put_argon2id(&params, &s->wrap);
	}
	if (e != ERR_OK)
		finish(s, e, why, NULL);
	else
		derive(s, help->passphrase, &params);
}

/* --- all ---------------------------------------------------------------- */

static const struct backend backends[] = {
	[VAULT_BACKEND_KEYFILE] = {keyfile_load, keyfile_make, NULL},
	[VAULT_BACKEND_SYSTEMD_CREDS] = {credential_get, credential_make, NULL},
	[VAULT_BACKEND_SECRET_SERVICE] = {keychain_load, keychain_make,
					  keychain_forget},
	[VAULT_BACKEND_PASSPHRASE] = {passphrase_load, passphrase_make, NULL},
};

/* The row to use, or NULL after the failure was reported. */
static const struct backend *begin(struct vault_source *s, uint32_t backend,
				   source_done done, void *context)
{
	if (s->busy) {
		done(context, ERR_AGAIN, "the vault's key is being fetched",
		     &s->wrap, NULL);
		return NULL;
	}
	if (backend >= ARRAY_SIZE(backends) || !backends[backend].load) {
		done(context, ERR_CONFIG, "there is no such vault backend",
		     &s->wrap, NULL);
		return NULL;
	}
	s->busy = true;
	s->done = done;
	s->context = context;
	return &backends[backend];
}

/**
 * source_load() - Get the key that a vault names
 * @s:		Source
 * @wrap:	Untrusted, copied
 * @help:	Borrowed during the call
 * @done:	Called exactly once, also before this returns
 * @context:	Borrowed, passed to @done
 */
void source_load(struct vault_source *s, const struct vault_wrap *wrap,
		 const struct source_help *help, source_done done,
		 void *context)
{
	const struct backend *b = begin(s, wrap->backend, done, context);

	if (!b)
		return;
	s->wrap = *wrap;
	b->load(s, help);
}

/**
 * source_make() - Make, or find, the key that the configuration asks for
 * @s:		Source
 * @settings:	Borrowed during the call
 * @key_id:	Of the vault key that it will wrap: 1 for a new vault
 * @help:	Borrowed during the call
 * @done:	As for source_load(); durable by then
 * @context:	As for source_load()
 */
void source_make(struct vault_source *s, const struct vault_settings *settings,
		 uint32_t key_id, const struct source_help *help,
		 source_done done, void *context)
{
	const struct backend *b = begin(s, settings->backend, done, context);

	if (b)
		b->make(s, settings, key_id, help);
}

/**
 * source_forget() - Destroy a key that wraps nothing any more
 * @s:		Source
 * @wrap:	Copied
 * @done:	As for source_load(), with no key
 * @context:	As for source_load()
 */
void source_forget(struct vault_source *s, const struct vault_wrap *wrap,
		   source_done done, void *context)
{
	const struct backend *b = begin(s, wrap->backend, done, context);

	if (!b)
		return;
	s->wrap = *wrap;
	if (b->forget)
		b->forget(s);
	else
		finish(s, ERR_OK, "", NULL);
}
