/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.c - open the vault, keep it open, wrap it anew
 *
 * Runs in: kenaz-broker.
 * Trusts:  core for the configuration; the vault's file once it is open.
 * Never:   makes a key for a vault that has one, or uses another backend than
 *	    the configured one; forgets the old key before the new vault is
 *	    durable.
 *
 * Theory of operation: one thing at a time.
 *
 *	idle -> opening -> idle		the key of an existing vault comes
 *	idle -> making -> idle		there was none; the first write makes it
 *	idle -> [checking ->] wrapping -> forgetting -> idle
 *					a rewrap: the old key, where a person
 *					has to prove it or the vault is sealed;
 *					the new key; the old one destroyed
 *
 * Who wants the vault meanwhile waits. While the vault is wrapped by another
 * backend than the configured one, only a rewrap opens it.
 */
#include "engine/broker/keeper.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/broker/key_file.h"
#include "engine/broker/passphrase.h"

enum activity { IDLE, OPENING, MAKING, CHECKING, WRAPPING, FORGETTING };

struct waiter {
	bool may_make;
	keeper_done done;
	void *context;
};

struct keeper {
	struct keeper_places places;
	struct vault_settings settings, next_settings;
	struct vault_source source;
	struct vault *vault; /* NULL: its file cannot be used */
	enum vault_state state;
	char why[REASON_MAX_BYTES];
	enum activity activity;
	uint64_t tried_ns;
	struct secret *next_passphrase;
	struct waiter asked; /* for the activity */
	struct waiter waiters[KEEPER_WAITERS_MAX];
	size_t n_waiters;
};

/* What a person can do about it, by backend; without one nothing is added. */
static const char *remedy(uint32_t backend, enum err e)
{
	if (backend == VAULT_BACKEND_PASSPHRASE)
		return "run `kenaz secret unlock`";
	if (backend == VAULT_BACKEND_SECRET_SERVICE)
		return e == ERR_NOT_FOUND
			       ? "log in to the desktop whose keyring has it, "
				 "then run `kenaz secret unlock`"
			       : "unlock the desktop's keyring, then run "
				 "`kenaz secret unlock`";
	if (backend == VAULT_BACKEND_SYSTEMD_CREDS)
		return "see LoadCredentialEncrypted= in systemd.exec(5) and "
		       "[vault] in kenaz.toml, then restart the service";
	return "put the key file back from a backup; without it the secrets "
	       "have to be set again";
}

static void __attribute__((format(printf, 3, 4)))
set_state(struct keeper *k, enum vault_state state, const char *format, ...)
{
	char before[REASON_MAX_BYTES];
	va_list args;

	(void)snprintf(before, sizeof(before), "%s", k->why);
	k->state = state;
	va_start(args, format);
	if (vsnprintf(k->why, sizeof(k->why), format, args) < 0)
		k->why[0] = '\0';
	va_end(args);
	/* Once: those who need it are told each time. */
	if ((state == VAULT_STATE_LOCKED || state == VAULT_STATE_FAILED) &&
	    strcmp(before, k->why) != 0)
		log_warn("vault: %s", k->why);
	k->places.changed(k->places.context);
}

/* --- who waits ---------------------------------------------------------- */

static void retry(struct keeper *k, const struct waiter *w)
{
	const struct source_help none = {0};

	keeper_open(k, &none, w->may_make, w->done, w->context);
}

static void end_activity(struct keeper *k, enum err e, const char *why)
{
	struct waiter waiters[KEEPER_WAITERS_MAX], asked = k->asked;
	size_t i, count = k->n_waiters;
	char text[REASON_MAX_BYTES];

	(void)snprintf(text, sizeof(text), "%s", why);
	memcpy(waiters, k->waiters, count * sizeof(waiters[0]));
	k->n_waiters = 0;
	k->activity = IDLE;
	secret_release(k->next_passphrase);
	k->next_passphrase = NULL;
	if (asked.done)
		asked.done(asked.context, e, text);
	/* The state says it all: nothing is tried again for these, but that
	 * a vault which nobody has made yet is made. */
	for (i = 0; i < count; i++) {
		if (k->activity != IDLE || k->state == VAULT_STATE_OPEN ||
		    (k->state == VAULT_STATE_NONE && waiters[i].may_make))
			retry(k, &waiters[i]);
		else
			waiters[i].done(waiters[i].context, ERR_STATE, k->why);
	}
}

static void begin_activity(struct keeper *k, enum activity activity,
			   keeper_done done, void *context)
{
	k->activity = activity;
	k->asked = (struct waiter){.done = done, .context = context};
	k->tried_ns = uv_hrtime();
}

/* --- opening ------------------------------------------------------------ */

static void fail_open(struct keeper *k, uint32_t backend, enum err e,
		      const char *why)
{
	bool mendable = backend != VAULT_BACKEND_KEYFILE;

	/* From another key, not from a damaged file. */
	if (e == ERR_CRYPTO && backend == VAULT_BACKEND_PASSPHRASE)
		why = "this is not the vault's passphrase";
	set_state(k, mendable ? VAULT_STATE_LOCKED : VAULT_STATE_FAILED,
		  "%s: %s", why, remedy(backend, e));
	end_activity(k, e == ERR_CRYPTO ? ERR_PERMISSION : e, k->why);
}

static void on_opened(void *context, enum err e, const char *why,
		      const struct vault_wrap *wrap, struct secret *key)
{
	struct keeper *k = context;

	if (e == ERR_OK)
		e = vault_unseal(k->vault, key, &why);
	if (e == ERR_INTEGRITY || e == ERR_FORMAT || e == ERR_SHORT) {
		secret_release(key);
		set_state(k, VAULT_STATE_FAILED,
			  "%s: put the file 'vault' back from a backup", why);
		end_activity(k, e, k->why);
		return;
	}
	if (e != ERR_OK) {
		secret_release(key);
		fail_open(k, wrap->backend, e, why);
		return;
	}
	set_state(k, VAULT_STATE_OPEN, "%s", "");
	end_activity(k, ERR_OK, "");
}

static void on_made(void *context, enum err e, const char *why,
		    const struct vault_wrap *wrap, struct secret *key)
{
	struct keeper *k = context;
	const struct vault_wrap copy = *wrap;

	if (e == ERR_OK)
		e = vault_begin(k->vault, &copy, key, &why);
	if (e == ERR_OK)
		key = NULL;
	if (e == ERR_OK)
		e = vault_save(k->vault, &why);
	secret_release(key);
	if (e != ERR_OK) {
		char text[REASON_MAX_BYTES];

		(void)snprintf(text, sizeof(text), "no vault was made: %s",
			       why);
		vault_free(k->vault);
		k->vault = NULL;
		set_state(k, VAULT_STATE_NONE, "%s", text);
		end_activity(k, e, text);
		return;
	}
	set_state(k, VAULT_STATE_OPEN, "%s", "");
	end_activity(k, ERR_OK, "");
}

static enum err reload(struct keeper *k)
{
	const char *why = "";
	enum err e;

	vault_free(k->vault);
	k->vault = NULL;
	e = vault_load(k->places.vault_fd, &k->vault, &why);
	if (e != ERR_OK)
		set_state(k, VAULT_STATE_FAILED, "%s: %s", why,
			  e == ERR_VERSION
				  ? "install the newer Kenaz again"
				  : "put the file 'vault' back from a backup");
	return e;
}

static void make_vault(struct keeper *k, const struct source_help *help,
		       keeper_done done, void *context)
{
	if (k->settings.backend == VAULT_BACKEND_PASSPHRASE &&
	    help->passphrase.len_bytes == 0) {
		done(context, ERR_STATE,
		     "there is no vault yet, and it needs a passphrase: run "
		     "`kenaz secret unlock` to choose one");
		return;
	}
	begin_activity(k, MAKING, done, context);
	source_make(&k->source, &k->settings, 1, help, on_made, k);
}

static void open_sealed(struct keeper *k, const struct source_help *help,
			keeper_done done, void *context)
{
	const struct vault_wrap *wrap = vault_wrapped_by(k->vault);

	if (wrap->backend != k->settings.backend) {
		set_state(k, VAULT_STATE_FAILED,
			  "the vault's key is wrapped by '%s', and kenaz.toml "
			  "says '%s': run `kenaz secret rewrap` to move it, or "
			  "set vault.backend back",
			  wrap_backend_name(wrap->backend),
			  wrap_backend_name(k->settings.backend));
		done(context, ERR_CONFIG, k->why);
		return;
	}
	if (wrap->backend == VAULT_BACKEND_PASSPHRASE &&
	    help->passphrase.len_bytes == 0) {
		set_state(k, VAULT_STATE_LOCKED,
			  "the vault waits for its passphrase: %s",
			  remedy(wrap->backend, ERR_STATE));
		done(context, ERR_STATE, k->why);
		return;
	}
	k->state = VAULT_STATE_OPENING;
	begin_activity(k, OPENING, done, context);
	source_load(&k->source, wrap, help, on_opened, k);
}

/**
 * keeper_open() - Open the vault
 * @k:		Keeper
 * @help:	What a person gave, borrowed during the call
 * @may_make:	Make one where there is none
 * @done:	Called exactly once, also before this returns
 * @context:	Borrowed, passed to @done
 */
void keeper_open(struct keeper *k, const struct source_help *help,
		 bool may_make, keeper_done done, void *context)
{
	if (k->activity != IDLE) {
		if (k->n_waiters == KEEPER_WAITERS_MAX)
			done(context, ERR_LIMIT, "too many wait for the vault");
		else
			k->waiters[k->n_waiters++] =
				(struct waiter){.may_make = may_make,
						.done = done,
						.context = context};
		return;
	}
	if (k->state == VAULT_STATE_OPEN) {
		done(context, ERR_OK, "");
		return;
	}
	if (reload(k) != ERR_OK) {
		done(context, ERR_STATE, k->why);
		return;
	}
	if (vault_phase(k->vault) == VAULT_SEALED) {
		open_sealed(k, help, done, context);
		return;
	}
	if (k->state != VAULT_STATE_NONE)
		set_state(k, VAULT_STATE_NONE, "%s", "there is no vault yet");
	if (may_make)
		make_vault(k, help, done, context);
	else
		done(context, ERR_NOT_FOUND, "there is no vault yet");
}

static void ignore(void *context, enum err e, const char *why)
{
	(void)context;
	if (e != ERR_OK)
		log_debug("vault: %s", why);
}

/**
 * keeper_nudge() - A request needs the vault: try again, where nobody has to
 * @k:	Keeper
 *
 * For a keyring that was locked, or not there, when the engine started. At
 * most once in KEEPER_RETRY_NS.
 */
void keeper_nudge(struct keeper *k)
{
	const struct source_help none = {0};

	if (k->state == VAULT_STATE_LOCKED && k->activity == IDLE &&
	    k->settings.backend == VAULT_BACKEND_SECRET_SERVICE &&
	    uv_hrtime() - k->tried_ns > KEEPER_RETRY_NS)
		keeper_open(k, &none, false, ignore, NULL);
}

/* --- wrapping anew ------------------------------------------------------ */

static void on_forgotten(void *context, enum err e, const char *why,
			 const struct vault_wrap *wrap, struct secret *key)
{
	struct keeper *k = context;

	(void)key;
	if (key_file_sweep(k->places.vault_fd, vault_wrapped_by(k->vault)) !=
	    ERR_OK)
		log_warn("vault: an old key file could not be removed");
	if (e != ERR_OK)
		log_warn("vault: the old key of '%s' could not be destroyed: "
			 "%s",
			 wrap_backend_name(wrap->backend), why);
	end_activity(k, ERR_OK, "");
}

/* A vault that was unsealed for this alone is closed again. */
static void give_up_rewrap(struct keeper *k, enum err e, const char *why)
{
	char text[REASON_MAX_BYTES];

	(void)snprintf(text, sizeof(text), "%s", why);
	if (k->state != VAULT_STATE_OPEN &&
	    vault_phase(k->vault) == VAULT_OPEN) {
		vault_free(k->vault);
		k->vault = NULL;
	}
	end_activity(k, e, text);
}

/* The key that was made for nothing; what went wrong is in k->why. */
static void on_undone(void *context, enum err e, const char *why,
		      const struct vault_wrap *wrap, struct secret *key)
{
	(void)e;
	(void)why;
	(void)wrap;
	(void)key;
	give_up_rewrap(context, ERR_STORAGE,
		       "the vault cannot be written; it stays as it was");
}

static void on_wrapping_key(void *context, enum err e, const char *why,
			    const struct vault_wrap *wrap, struct secret *key)
{
	struct keeper *k = context;
	const struct vault_wrap next = *wrap;
	const struct vault_wrap old = *vault_wrapped_by(k->vault);

	if (e != ERR_OK) {
		give_up_rewrap(k, e, why);
		return;
	}
	e = vault_rewrap(k->vault, &next, key, &why);
	k->activity = FORGETTING;
	if (e != ERR_OK) {
		secret_release(key);
		log_error("vault: %s: %s", why, err_text(e));
		source_forget(&k->source, &next, on_undone, k);
		return;
	}
	k->settings = k->next_settings;
	set_state(k, VAULT_STATE_OPEN, "%s", "");
	source_forget(&k->source, &old, on_forgotten, k);
}

static void make_next_key(struct keeper *k)
{
	const struct source_help help = {.passphrase = secret_span(
						 k->next_passphrase),
					 .may_prompt = true};

	k->activity = WRAPPING;
	source_make(&k->source, &k->next_settings, vault_key_id(k->vault) + 1,
		    &help, on_wrapping_key, k);
}

static void on_checked(void *context, enum err e, const char *why,
		       const struct vault_wrap *wrap, struct secret *key)
{
	struct keeper *k = context;
	bool passphrase = wrap->backend == VAULT_BACKEND_PASSPHRASE;

	if (e == ERR_OK && vault_phase(k->vault) == VAULT_SEALED) {
		e = vault_unseal(k->vault, key, &why);
		if (e == ERR_OK)
			key = NULL;
	} else if (e == ERR_OK && !vault_is_wrapped_with(k->vault, key)) {
		e = ERR_CRYPTO;
	}
	secret_release(key);
	if (e == ERR_CRYPTO && passphrase) {
		e = ERR_PERMISSION;
		why = "this is not the vault's passphrase; nothing was changed";
	}
	if (e == ERR_OK)
		make_next_key(k);
	else
		give_up_rewrap(k, e, why);
}

/**
 * keeper_rewrap() - Wrap the vault's key anew, as is configured now
 * @k:		Keeper
 * @settings:	Where to, copied
 * @old_help:	For the key in force; the passphrase is asked for again even
 *		where the vault is open
 * @next:	The next passphrase, or empty
 * @done:	Called exactly once, also before this returns; after a failure
 *		the vault is what it was
 * @context:	Borrowed, passed to @done
 */
void keeper_rewrap(struct keeper *k, const struct vault_settings *settings,
		   const struct source_help *old_help, struct span next,
		   keeper_done done, void *context)
{
	const struct vault_wrap *wrap;
	const char *why = "";
	enum err e = ERR_OK;

	if (k->activity != IDLE) {
		done(context, ERR_AGAIN,
		     "the vault is being opened; try again");
		return;
	}
	if (k->state != VAULT_STATE_OPEN && reload(k) != ERR_OK) {
		done(context, ERR_STATE, k->why);
		return;
	}
	if (vault_phase(k->vault) == VAULT_ABSENT) {
		k->settings = *settings;
		set_state(k, VAULT_STATE_NONE, "%s", "there is no vault yet");
		done(context, ERR_NOT_FOUND,
		     "there is no vault yet: the first secret makes one, as "
		     "kenaz.toml says now");
		return;
	}
	if (settings->backend == VAULT_BACKEND_PASSPHRASE)
		e = passphrase_check(next, true, &why);
	if (e == ERR_OK && next.len_bytes)
		e = secret_copy(next, &k->next_passphrase);
	if (e != ERR_OK) {
		done(context, e, why);
		return;
	}
	k->next_settings = *settings;
	begin_activity(k, CHECKING, done, context);
	wrap = vault_wrapped_by(k->vault);
	if (vault_phase(k->vault) == VAULT_OPEN &&
	    wrap->backend != VAULT_BACKEND_PASSPHRASE)
		make_next_key(k);
	else
		source_load(&k->source, wrap, old_help, on_checked, k);
}

/**
 * keeper_configure() - kenaz.toml was read again
 * @k:		Keeper
 * @settings:	Copied where there is no vault yet; one that is there stays as
 *		it is until keeper_rewrap()
 */
void keeper_configure(struct keeper *k, const struct vault_settings *settings)
{
	if (k->state != VAULT_STATE_NONE || k->activity != IDLE)
		return;
	k->settings = *settings;
	set_state(k, VAULT_STATE_NONE, "%s", "there is no vault yet");
}

/* --- the rest ----------------------------------------------------------- */

/**
 * keeper_new() - Keep a vault; keeper_open() opens it
 * @places:	Copied; its descriptors are owned from here on, also on failure
 * @settings:	Copied
 * @ret_keeper:	Owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err keeper_new(const struct keeper_places *places,
		    const struct vault_settings *settings,
		    struct keeper **ret_keeper)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k) {
		(void)close(places->vault_fd);
		if (places->credentials_fd >= 0)
			(void)close(places->credentials_fd);
		return ERR_MEMORY;
	}
	k->places = *places;
	k->settings = *settings;
	k->state = VAULT_STATE_NONE;
	k->source.loop = places->loop;
	k->source.vault_fd = places->vault_fd;
	k->source.credentials_fd = places->credentials_fd;
	k->source.keychain.loop = places->loop;
	k->source.keychain.want = places->want_keychain;
	k->source.keychain.context = places->context;
	k->source.keychain.stream = -1;
	*ret_keeper = k;
	return ERR_OK;
}

/** keeper_free() - Wipe the vault; the process ends with it. NULL is accepted
 */
void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	vault_free(k->vault);
	secret_release(k->next_passphrase);
	secret_release(k->source.made);
	secret_release(k->source.keychain.key);
	(void)close(k->places.vault_fd);
	if (k->places.credentials_fd >= 0)
		(void)close(k->places.credentials_fd);
	free(k);
}

/** keeper_take_channel() - As keychain_take_channel() */
enum err keeper_take_channel(struct keeper *k,
			     const struct msg_keychain_channel *m, int fd)
{
	return keychain_take_channel(&k->source.keychain, m, fd);
}

/** keeper_vault() - The open vault; NULL while there is none */
struct vault *keeper_vault(struct keeper *k)
{
	return k && k->vault && vault_phase(k->vault) == VAULT_OPEN ? k->vault
								    : NULL;
}

/** keeper_state() - How it stands with the vault */
enum vault_state keeper_state(const struct keeper *k)
{
	return k->state;
}

/** keeper_why() - Why the vault is not open, and what to do; "" when it is */
const char *keeper_why(const struct keeper *k)
{
	return k->why;
}

/** keeper_backend() - Name of the backend that wraps, or will */
const char *keeper_backend(const struct keeper *k)
{
	if (k->vault && vault_phase(k->vault) != VAULT_ABSENT)
		return wrap_backend_name(vault_wrapped_by(k->vault)->backend);
	return wrap_backend_name(k->settings.backend);
}

/** keeper_configured() - Name of the backend that kenaz.toml asks for */
const char *keeper_configured(const struct keeper *k)
{
	return wrap_backend_name(k->settings.backend);
}
