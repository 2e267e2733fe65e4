/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_client.c - core's side of the broker's vault
 *
 * Runs in: kenazd.
 * Trusts:  the broker for the vault's state.
 * Never:   sees a wrapping key or a passphrase: it starts kenaz-keychain and
 *	    gives it and the broker the ends of a channel.
 */
#include "engine/core/vault_client.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/broker_client.h"
#include "engine/core/doctor.h"

#define EXPIRY_WARN_S 900u

struct vault_client {
	struct vault_look look;
	bool noted; /* the open vault of this look is in the log */
	char bus[VAULT_BUS_MAX_BYTES + 1]; /* "" is none */
	char credentials[PATHS_MAX_BYTES]; /* "" is none */
	struct child *keychain;
};

/**
 * vault_bus_check() - Whether an address of a D-Bus can be used
 * @address:	As in DBUS_SESSION_BUS_ADDRESS
 *
 * Only sockets of this host: the jail of kenaz-keychain has no other.
 *
 * Return: ERR_OK; ERR_UNSUPPORTED for another transport; ERR_FORMAT;
 *	   ERR_LIMIT.
 */
enum err vault_bus_check(const char *address)
{
	size_t len = strlen(address), i;

	if (len > VAULT_BUS_MAX_BYTES)
		return ERR_LIMIT;
	for (i = 0; i < len; i++)
		if (address[i] <= ' ' || address[i] > '~')
			return ERR_FORMAT;
	return strncmp(address, "unix:", 5) == 0 ? ERR_OK : ERR_UNSUPPORTED;
}

/* The variable, else the socket where systemd puts a user's bus. */
static void find_bus(struct vault_client *v)
{
	const char *address = getenv("DBUS_SESSION_BUS_ADDRESS");
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char path[PATHS_MAX_BYTES];
	struct stat st;

	if (address && *address) {
		if (vault_bus_check(address) == ERR_OK)
			(void)snprintf(v->bus, sizeof(v->bus), "%s", address);
		else
			log_warn("DBUS_SESSION_BUS_ADDRESS is not used: it is "
				 "not the address of a socket of this host");
		return;
	}
	if (runtime &&
	    paths_join(runtime, "bus", path, sizeof(path)) == ERR_OK &&
	    stat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    text_format(v->bus, sizeof(v->bus), "unix:path=%s", path) ==
		    ERR_OK &&
	    vault_bus_check(v->bus) != ERR_OK)
		v->bus[0] = '\0';
}

/**
 * vault_client_new() - Remember where the backends' means are
 * @e:	Engine
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err vault_client_new(struct engine *e)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	struct vault_client *v = calloc(1, sizeof(*v));

	if (!v)
		return ERR_MEMORY;
	if (credentials && credentials[0] == '/' &&
	    text_format(v->credentials, sizeof(v->credentials), "%s",
			credentials) != ERR_OK)
		v->credentials[0] = '\0';
	find_bus(v);
	e->vault = v;
	return ERR_OK;
}

/** vault_client_free() - Forget it */
void vault_client_free(struct engine *e)
{
	if (!e->vault)
		return;
	child_end(e->vault->keychain);
	free(e->vault);
	e->vault = NULL;
}

/** vault_client_config() - [vault] in force */
void vault_client_config(const struct engine *e, struct vault_config *ret)
{
	const struct config *c = e->config;

	*ret = (struct vault_config){
		.backend = span_text(config_vault_backend(c, e->paths.system)),
		.credential = span_text(c->vault.credential),
		.passes = c->vault.passphrase_passes,
		.memory_mib = c->vault.passphrase_memory_mib};
}

/** vault_client_open_credentials() - systemd's folder; -1 without one */
int vault_client_open_credentials(const struct engine *e)
{
	if (!e->vault->credentials[0])
		return -1;
	return open(e->vault->credentials,
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/** vault_client_configure() - The configuration was read again */
void vault_client_configure(struct engine *e)
{
	struct vault_config c;
	struct msg_vault_settings m;

	vault_client_config(e, &c);
	m = (struct msg_vault_settings){.vault_backend = c.backend,
					.vault_credential = c.credential,
					.vault_passes = c.passes,
					.vault_memory_mib = c.memory_mib};
	broker_vault_settings(e, &m);
}

/** vault_client_has_bus() - Whether a desktop's bus is known to the engine */
bool vault_client_has_bus(const struct engine *e)
{
	return e->vault->bus[0] != '\0';
}

/** vault_client_has_credential() - Whether systemd gave the engine the key */
bool vault_client_has_credential(const struct engine *e)
{
	int fd = vault_client_open_credentials(e);
	bool has;

	if (fd < 0)
		return false;
	has = faccessat(fd, e->config->vault.credential, R_OK, 0) == 0;
	close(fd);
	return has;
}

/** vault_client_look() - What the broker last said */
const struct vault_look *vault_client_look(const struct engine *e)
{
	return &e->vault->look;
}

/* --- kenaz-keychain ----------------------------------------------------- */

/* It ends with its question; the broker knows what came of that. */
static void on_keychain_gone(struct child *c, void *context, const char *why)
{
	struct engine *e = context;

	log_debug("%s", why);
	if (e->vault->keychain == c)
		e->vault->keychain = NULL;
	child_end(c);
}

static enum err start_keychain(struct engine *e, int *ret_fd)
{
	struct vault_client *v = e->vault;
	struct msg_keychain_start m = {.bus = span_text(v->bus)};
	int pair[2];
	enum err err = chan_pair(pair);

	if (err != ERR_OK)
		return err;
	err = child_start(e, ROLE_KEYCHAIN, "", NULL, 0, &v->keychain);
	if (err != ERR_OK) {
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	v->keychain->context = e;
	v->keychain->on_gone = on_keychain_gone;
	err = chan_send_keychain_start(v->keychain->chan, &m, &pair[0], 1);
	if (err != ERR_OK) {
		close(pair[1]);
		child_end(v->keychain);
		v->keychain = NULL;
		return err;
	}
	*ret_fd = pair[1];
	return ERR_OK;
}

static enum err on_wanted(struct engine *e, struct child *broker)
{
	struct vault_client *v = e->vault;
	struct msg_keychain_channel m = {0};
	int fd = -1;

	/* Of an earlier question, which the broker gave up. */
	child_end(v->keychain);
	v->keychain = NULL;
	m.error = v->bus[0] ? start_keychain(e, &fd) : ERR_NOT_FOUND;
	if (!v->bus[0])
		m.text = span_text(
			"the engine knows no D-Bus session: "
			"DBUS_SESSION_BUS_ADDRESS is not set, and there is no "
			"socket 'bus' in XDG_RUNTIME_DIR");
	else if (m.error != ERR_OK)
		m.text = span_text("kenaz-keychain cannot be started");
	return chan_send_keychain_channel(broker->chan, &m,
					  fd >= 0 ? &fd : NULL,
					  fd >= 0 ? 1 : 0);
}

/* --- the vault's state -------------------------------------------------- */

static void note_opened(struct engine *e)
{
	const struct vault_look *l = &e->vault->look;
	struct buf b;

	buf_init(&b, 1024);
	if (attrs_put_text(&b, "kenaz.vault.backend", span_text(l->backend)) ==
		    ERR_OK &&
	    attrs_put_u64(&b, "kenaz.vault.key_id", l->key_id) == ERR_OK &&
	    attrs_put_u64(&b, "kenaz.vault.generation", l->generation) ==
		    ERR_OK &&
	    attrs_put_u64(&b, "kenaz.vault.secrets", l->secrets) == ERR_OK)
		audit_note(e, "vault.opened", NULL, NULL, buf_span(&b));
	buf_fini(&b);
}

/** vault_client_tick() - Write that the vault was opened, once that can be */
void vault_client_tick(struct engine *e)
{
	struct vault_client *v = e->vault;

	if (!v || v->noted || v->look.state != VAULT_STATE_OPEN ||
	    !e->control || e->stopping)
		return;
	v->noted = true;
	note_opened(e);
}

static enum err on_view(struct engine *e, struct span payload)
{
	struct vault_client *v = e->vault;
	struct msg_vault_view m;
	struct vault_look l = {0};
	enum err err = msg_vault_view_get(payload, &m);

	if (err == ERR_OK)
		err = span_copy_text(m.backend, l.backend, sizeof(l.backend));
	if (err == ERR_OK)
		err = span_copy_text(m.configured, l.configured,
				     sizeof(l.configured));
	if (err == ERR_OK)
		err = span_copy_text(m.expires_name, l.expires_name,
				     sizeof(l.expires_name));
	if (err != ERR_OK)
		return err;
	l.expires_wall_s = m.expires_wall_s;
	if (m.state > VAULT_STATE_FAILED)
		return ERR_RANGE;
	l.state = (enum vault_state)m.state;
	l.key_id = m.key_id;
	l.secrets = m.secrets;
	l.generation = m.generation;
	(void)text_escape_line(m.text, l.text, sizeof(l.text));
	if (l.state != VAULT_STATE_OPEN)
		v->noted = false;
	v->look = l;
	vault_client_tick(e);
	return ERR_OK;
}

/**
 * vault_client_on_message() - Take a message of the broker's about its vault
 * @e:		Engine
 * @broker:	Who sent it
 * @m:		vault_view or keychain_wanted
 *
 * Return: ERR_OK; ERR_FORMAT and others when the broker broke the rules.
 */
enum err vault_client_on_message(struct engine *e, struct child *broker,
				 struct chan_message *m)
{
	return m->type == MSG_VAULT_VIEW ? on_view(e, m->payload)
					 : on_wanted(e, broker);
}

/** vault_client_lost() - The broker is gone, and its open vault with it */
void vault_client_lost(struct engine *e)
{
	struct vault_client *v = e->vault;

	child_end(v->keychain);
	v->keychain = NULL;
	v->look = (struct vault_look){.state = VAULT_STATE_OPENING};
	v->noted = false;
}

/* --- credentials that end ------------------------------------------------- */

static void put_when(uint64_t wall_s, char ret_text[32])
{
	time_t at = (time_t)wall_s;
	struct tm utc;

	ret_text[0] = '\0';
	if (gmtime_r(&at, &utc))
		(void)strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* 0 once it is over. */
static uint64_t left_s(const struct vault_look *l)
{
	uint64_t now_s = engine_wall_us() / 1000000u;

	return l->expires_wall_s > now_s ? l->expires_wall_s - now_s : 0;
}

/**
 * vault_client_put_expiry() - Write the secret that ends first, if any does
 * @e:	Engine
 * @w:	Within an object
 */
void vault_client_put_expiry(const struct engine *e, struct jsonw *w)
{
	const struct vault_look *l = vault_client_look(e);
	char when[32];

	if (!l->expires_name[0])
		return;
	put_when(l->expires_wall_s, when);
	jsonw_key(w, "expires");
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "secret", l->expires_name);
	jsonw_put_cstr(w, "at", when);
	jsonw_put_u64(w, "left_s", left_s(l));
	jsonw_end_object(w);
}

static void check_expiry(const struct vault_look *l,
			 struct doctor_report *report)
{
	static const char fix[] = "put fresh credentials into the shell's "
				  "AWS_... variables, then kenaz secret import "
				  "--provider NAME";
	uint64_t left = left_s(l);
	char when[32];

	if (!l->expires_name[0])
		return;
	put_when(l->expires_wall_s, when);
	if (left == 0)
		doctor_add(report, "vault.expires", DOCTOR_FAIL,
			   "requests that are signed with them are refused",
			   fix,
			   "the session credentials in the secret %s ended at "
			   "%s",
			   l->expires_name, when);
	else
		doctor_add(report, "vault.expires",
			   left < EXPIRY_WARN_S ? DOCTOR_WARN : DOCTOR_INFO,
			   left < EXPIRY_WARN_S ? "requests are refused then"
						: "",
			   left < EXPIRY_WARN_S ? fix : "",
			   "the session credentials in the secret %s end at "
			   "%s, in %llu min",
			   l->expires_name, when,
			   (unsigned long long)left / 60);
}

/* --- doctor ------------------------------------------------------------- */

static void check_open(const struct vault_look *l, struct doctor_report *report)
{
	if (strcmp(l->backend, l->configured) != 0)
		doctor_add(report, "vault", DOCTOR_WARN,
			   "at its next start the engine refuses the vault",
			   "kenaz secret rewrap, or set vault.backend back",
			   "open, wrapped by %s, and kenaz.toml says %s",
			   l->backend, l->configured);
	else if (strcmp(l->backend, "keyfile") == 0)
		doctor_add(report, "vault", DOCTOR_WARN,
			   "who reads the state folder reads the secrets: the "
			   "key lies beside the vault",
			   "choose another vault.backend in kenaz.toml, then "
			   "kenaz secret rewrap",
			   "open, wrapped by keyfile (key %u); %u secrets",
			   l->key_id, l->secrets);
	else
		doctor_add(report, "vault", DOCTOR_OK, "", "",
			   "open, wrapped by %s (key %u); %u secrets",
			   l->backend, l->key_id, l->secrets);
}

static const char *fix_of(const struct vault_look *l)
{
	if (strcmp(l->backend, l->configured) != 0)
		return "kenaz secret rewrap, or set vault.backend back in "
		       "kenaz.toml";
	if (strcmp(l->backend, "passphrase") == 0)
		return "kenaz secret unlock";
	if (strcmp(l->backend, "secret-service") == 0)
		return "unlock the desktop's keyring, then kenaz secret unlock";
	if (strcmp(l->backend, "systemd-creds") == 0)
		return "give the unit LoadCredentialEncrypted= (see docs/"
		       "configuration.md), then restart it";
	return "put vault and vault.key back from a backup";
}

/**
 * vault_client_doctor() - How it stands with the vault, and how to mend it
 * @e:		Engine
 * @report:	Appended to
 */
void vault_client_doctor(const struct engine *e, struct doctor_report *report)
{
	const struct vault_look *l = &e->vault->look;

	check_expiry(l, report);
	if (l->state == VAULT_STATE_OPEN)
		check_open(l, report);
	else if (l->state == VAULT_STATE_NONE)
		doctor_add(report, "vault", DOCTOR_INFO, "", "",
			   "there is none yet; the first secret makes one, "
			   "wrapped by %s",
			   l->configured);
	else if (l->state == VAULT_STATE_OPENING)
		doctor_add(report, "vault", DOCTOR_INFO, "", "",
			   "it is being opened (%s)", l->backend);
	else
		doctor_add(report, "vault", DOCTOR_FAIL,
			   "every request that needs a key is refused",
			   fix_of(l), "%s, wrapped by %s: %s",
			   vault_state_name(l->state), l->backend, l->text);
}
