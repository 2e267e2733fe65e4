/* SPDX-License-Identifier: Apache-2.0 */
/*
 * custody.c - core's requests about secrets, and the vault behind them
 *
 * Runs in: kenaz-broker.
 * Trusts:  core for who may ask what.
 * Never:   gives core a secret or a passphrase: those come over the client's
 *	    own socket, and stay here.
 */
#include "engine/broker/aws_key.h"
#include "engine/broker/custody.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/broker/secret_input.h"

#define NAMES_MAX_BYTES 16384u

struct custody {
	uv_loop_t *loop;
	struct chan *core;
	struct upstreams *upstreams;
	struct keeper *keeper;
	bool begun;
};

/* A request that waits for the vault. */
struct pending {
	struct custody *custody;
	struct secret_input *in; /* or NULL */
	enum msg_type type;
	uint64_t request;
	char name[NAME_MAX_BYTES + 1];
	struct vault_settings settings; /* of a rewrap */
};

static enum err send_result(struct custody *c, uint64_t request, enum err error,
			    const char *text, uint64_t version,
			    struct span names)
{
	struct msg_secret_result m = {.request = request,
				      .error = (int)error,
				      .text = span_text(text),
				      .version = (uint32_t)version,
				      .names = names};

	return chan_send_secret_result(c->core, &m, NULL, 0);
}

static void must_send(enum err sent)
{
	/* The channel's end ends the process. */
	if (sent != ERR_OK)
		log_error("a secret's outcome cannot be reported: %s",
			  err_text(sent));
}

static uint64_t wall_us(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return 0;
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* --- what core is told -------------------------------------------------- */

static uint32_t count_secrets(const struct vault *v)
{
	uint32_t count = 0;

	while (v && vault_at(v, count))
		count++;
	return count;
}

/* Credentials that end; the first of them counts. */
static const struct vault_record *find_ending(const struct vault *v,
					      uint64_t *ret_wall_s)
{
	const struct vault_record *record, *first = NULL;
	struct aws_key key;
	size_t i;

	*ret_wall_s = 0;
	for (i = 0; v && (record = vault_at(v, i)); i++)
		if (aws_key_parse(secret_span(record->secret), &key) ==
			    ERR_OK &&
		    key.expires_wall_s &&
		    (!first || key.expires_wall_s < *ret_wall_s)) {
			first = record;
			*ret_wall_s = key.expires_wall_s;
		}
	return first;
}

static void on_changed(void *context)
{
	struct custody *c = context;
	const struct vault *v = custody_vault(c);
	const struct vault_record *ending;
	struct msg_vault_view m = {.state = (uint8_t)keeper_state(c->keeper),
				   .backend =
					   span_text(keeper_backend(c->keeper)),
				   .configured = span_text(
					   keeper_configured(c->keeper)),
				   .key_id = v ? vault_key_id(v) : 0,
				   .generation = v ? vault_generation(v) : 0,
				   .secrets = count_secrets(v),
				   .text = span_text(keeper_why(c->keeper))};

	ending = find_ending(v, &m.expires_wall_s);
	if (ending)
		m.expires_name = span_text(ending->name);
	if (keeper_state(c->keeper) == VAULT_STATE_OPEN)
		upstreams_reload(c->upstreams, v);
	if (c->begun)
		must_send(chan_send_vault_view(c->core, &m, NULL, 0));
}

static enum err want_keychain(void *context)
{
	struct custody *c = context;
	const struct msg_keychain_wanted m = {0};

	return chan_send_keychain_wanted(c->core, &m, NULL, 0);
}

static void take_settings(struct span backend, struct span credential,
			  uint32_t passes, uint32_t memory_mib,
			  struct vault_settings *ret)
{
	*ret = (struct vault_settings){.backend = wrap_backend_find(backend),
				       .passes = passes,
				       .memory_mib = memory_mib};
	if (span_copy_text(credential, ret->credential,
			   sizeof(ret->credential)) != ERR_OK)
		ret->credential[0] = '\0';
}

/**
 * custody_new() - Take the vault's folder into custody
 * @loop:		The process's loop
 * @core:		Channel, borrowed
 * @upstreams:		Their credentials are loaded when the vault opens
 * @m:			Configuration, borrowed during the call
 * @vault_fd:		Owned from here on, also on failure
 * @credentials_fd:	The same; -1 is none
 * @ret_custody:	Owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err custody_new(uv_loop_t *loop, struct chan *core,
		     struct upstreams *upstreams,
		     const struct msg_broker_start *m, int vault_fd,
		     int credentials_fd, struct custody **ret_custody)
{
	struct custody *c = calloc(1, sizeof(*c));
	struct keeper_places places = {
		.loop = loop,
		.vault_fd = vault_fd,
		.credentials_fd = credentials_fd,
		.want_keychain = want_keychain,
		.changed = on_changed,
		.context = c,
	};
	struct vault_settings settings;
	enum err e;

	if (!c) {
		(void)close(vault_fd);
		if (credentials_fd >= 0)
			(void)close(credentials_fd);
		return ERR_MEMORY;
	}
	c->loop = loop;
	c->core = core;
	c->upstreams = upstreams;
	take_settings(m->vault_backend, m->vault_credential, m->vault_passes,
		      m->vault_memory_mib, &settings);
	e = keeper_new(&places, &settings, &c->keeper);
	if (e == ERR_OK)
		*ret_custody = c;
	else
		free(c);
	return e;
}

/** custody_free() - Wipe everything; NULL is accepted */
void custody_free(struct custody *c)
{
	if (!c)
		return;
	keeper_free(c->keeper);
	free(c);
}

/* What came of it is in the keeper's state. */
static void on_first_open(void *context, enum err e, const char *why)
{
	(void)context;
	(void)e;
	(void)why;
}

/** custody_begin() - Open the vault as far as nobody has to be asked */
void custody_begin(struct custody *c)
{
	const struct source_help none = {0};

	c->begun = true;
	keeper_open(c->keeper, &none, false, on_first_open, NULL);
	on_changed(c);
}

/** custody_vault() - The open vault; NULL while there is none */
const struct vault *custody_vault(const struct custody *c)
{
	return c ? keeper_vault(c->keeper) : NULL;
}

/**
 * custody_locked() - Why a request's key cannot be had
 * @c:	Custody
 *
 * A keyring that could not be read is tried again in the background.
 *
 * Return: a sentence with its remedy; NULL when the vault is open or there is
 *	   none: then the secret simply is not set.
 */
const char *custody_locked(struct custody *c)
{
	enum vault_state state = keeper_state(c->keeper);

	if (state == VAULT_STATE_OPEN || state == VAULT_STATE_NONE)
		return NULL;
	keeper_nudge(c->keeper);
	return state == VAULT_STATE_OPENING ? "the vault is being opened; try "
					      "again"
					    : keeper_why(c->keeper);
}

/* --- a secret is set ---------------------------------------------------- */

static void end_input(struct pending *p, enum err e, const char *why)
{
	struct secret_input_result *r = secret_input_result(p->in);

	r->error = e;
	if (e != ERR_OK && why != r->text)
		(void)snprintf(r->text, sizeof(r->text), "%s", why);
	must_send(send_result(p->custody, p->request, e,
			      e == ERR_OK ? "" : r->text,
			      r->backend ? r->key_id : r->version,
			      (struct span){0}));
	secret_input_answer(p->in);
	free(p);
}

static void on_open_for_set(void *context, enum err e, const char *why)
{
	struct pending *p = context;
	struct custody *c = p->custody;
	struct vault *v = keeper_vault(c->keeper);
	struct secret_input_result *r = secret_input_result(p->in);
	struct span name = span_text(r->name);

	if (e == ERR_OK)
		e = vault_set(v, name, r->secret, wall_us(), &why);
	if (e == ERR_OK) {
		r->version = vault_find(v, name)->version;
		upstreams_refresh(c->upstreams, v, name);
	}
	/* Core knows before the client does, and may ask. */
	if (e == ERR_OK)
		on_changed(c);
	end_input(p, e, why);
}

static void on_opened_or_wrapped(void *context, enum err e, const char *why)
{
	struct pending *p = context;
	struct keeper *k = p->custody->keeper;

	if (e == ERR_OK && keeper_vault(k)) {
		struct secret_input_result *r = secret_input_result(p->in);

		r->backend = keeper_backend(k);
		r->key_id = vault_key_id(keeper_vault(k));
	}
	end_input(p, e, why);
}

static void on_input(void *context, struct secret_input *in,
		     struct secret_input_result *r)
{
	struct pending *p = context;
	struct keeper *k = p->custody->keeper;
	struct source_help help = {.passphrase = r->lines[0],
				   .may_prompt = p->type != MSG_SECRET_SET};

	p->in = in;
	if (r->error != ERR_OK)
		end_input(p, r->error, r->text);
	else if (p->type == MSG_SECRET_SET)
		keeper_open(k, &help, true, on_open_for_set, p);
	else if (p->type == MSG_SECRET_UNLOCK)
		keeper_open(k, &help, true, on_opened_or_wrapped, p);
	else
		keeper_rewrap(k, &p->settings, &help, r->lines[1],
			      on_opened_or_wrapped, p);
}

static enum err read_client(struct custody *c, struct chan_message *message,
			    struct pending *made, struct span name,
			    unsigned lines, struct span rpc_id)
{
	struct pending *p = malloc(sizeof(*p));
	struct secret_input_plan plan = {.request = made->request,
					 .name = name,
					 .lines = lines,
					 .rpc_id = rpc_id,
					 .done = on_input,
					 .context = p};
	enum err e = p ? ERR_OK : ERR_MEMORY;
	int fd = message->fds[0];

	if (e == ERR_OK) {
		*p = *made;
		p->custody = c;
		message->fds[0] = -1;
		e = secret_input_new(c->loop, fd, &plan);
	}
	if (e == ERR_OK)
		return ERR_OK;
	free(p);
	return send_result(c, made->request, e,
			   "the secret cannot be read: too many are being set "
			   "or memory cannot be locked",
			   0, (struct span){0});
}

static enum err on_secret_set(struct custody *c, struct chan_message *message)
{
	struct pending p = {.type = MSG_SECRET_SET};
	struct msg_secret_set m;
	enum err e = msg_secret_set_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	p.request = m.request;
	return read_client(c, message, &p, m.name, 0, m.rpc_id);
}

static enum err on_secret_unlock(struct custody *c,
				 struct chan_message *message)
{
	struct pending p = {.type = MSG_SECRET_UNLOCK};
	struct msg_secret_unlock m;
	enum err e = msg_secret_unlock_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	p.request = m.request;
	return read_client(c, message, &p, (struct span){0}, 1, m.rpc_id);
}

static enum err on_secret_rewrap(struct custody *c,
				 struct chan_message *message)
{
	struct pending p = {.type = MSG_SECRET_REWRAP};
	struct msg_secret_rewrap m;
	enum err e = msg_secret_rewrap_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	p.request = m.request;
	take_settings(m.vault_backend, m.vault_credential, m.vault_passes,
		      m.vault_memory_mib, &p.settings);
	return read_client(c, message, &p, (struct span){0}, 2, m.rpc_id);
}

static enum err on_vault_settings(struct custody *c,
				  struct chan_message *message)
{
	struct vault_settings settings;
	struct msg_vault_settings m;
	enum err e = msg_vault_settings_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	take_settings(m.vault_backend, m.vault_credential, m.vault_passes,
		      m.vault_memory_mib, &settings);
	keeper_configure(c->keeper, &settings);
	return ERR_OK;
}

/* --- removed, listed ---------------------------------------------------- */

static enum err remove_one(struct custody *c, const char *name,
			   const char **ret_why)
{
	struct vault *v = keeper_vault(c->keeper);
	enum err e;

	*ret_why = "there is no secret of that name";
	if (!v)
		return ERR_NOT_FOUND;
	e = vault_remove(v, span_text(name), ret_why);
	if (e == ERR_OK)
		upstreams_refresh(c->upstreams, v, span_text(name));
	return e;
}

static enum err list(struct custody *c, struct buf *names)
{
	const struct vault *v = custody_vault(c);
	const struct vault_record *record;
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && v && (record = vault_at(v, i)); i++)
		e = buf_put_lp(names, span_text(record->name));
	return e;
}

static void on_open_for_request(void *context, enum err e, const char *why)
{
	struct pending *p = context;
	struct custody *c = p->custody;
	struct buf names;

	buf_init(&names, NAMES_MAX_BYTES);
	/* No vault is one without secrets. */
	if (e == ERR_NOT_FOUND && keeper_state(c->keeper) == VAULT_STATE_NONE)
		e = ERR_OK;
	if (e == ERR_OK)
		e = p->type == MSG_SECRET_REMOVE ? remove_one(c, p->name, &why)
						 : list(c, &names);
	must_send(send_result(c, p->request, e, e == ERR_OK ? "" : why, 0,
			      buf_span(&names)));
	if (e == ERR_OK && p->type == MSG_SECRET_REMOVE)
		on_changed(c);
	buf_fini(&names);
	free(p);
}

static enum err when_open(struct custody *c, const struct pending *made)
{
	const struct source_help none = {0};
	struct pending *p = malloc(sizeof(*p));

	if (!p)
		return ERR_MEMORY;
	*p = *made;
	p->custody = c;
	keeper_open(c->keeper, &none, false, on_open_for_request, p);
	return ERR_OK;
}

static enum err on_secret_remove(struct custody *c,
				 struct chan_message *message)
{
	struct pending p = {.type = MSG_SECRET_REMOVE};
	struct msg_secret_remove m;
	enum err e = msg_secret_remove_get(message->payload, &m);

	if (e == ERR_OK)
		e = span_copy_text(m.name, p.name, sizeof(p.name));
	p.request = m.request;
	return e == ERR_OK ? when_open(c, &p) : e;
}

static enum err on_secret_list(struct custody *c, struct chan_message *message)
{
	struct pending p = {.type = MSG_SECRET_LIST};
	struct msg_secret_list m;
	enum err e = msg_secret_list_get(message->payload, &m);

	p.request = m.request;
	return e == ERR_OK ? when_open(c, &p) : e;
}

static enum err on_keychain_channel(struct custody *c,
				    struct chan_message *message)
{
	struct msg_keychain_channel m;
	enum err e = msg_keychain_channel_get(message->payload, &m);
	int fd = message->n_fds ? message->fds[0] : -1;

	if (e != ERR_OK)
		return e;
	if (fd >= 0)
		message->fds[0] = -1;
	return keeper_take_channel(c->keeper, &m, fd);
}

static const struct {
	enum msg_type type;
	enum err (*fn)(struct custody *c, struct chan_message *message);
} messages[] = {
	{MSG_SECRET_SET, on_secret_set},
	{MSG_SECRET_REMOVE, on_secret_remove},
	{MSG_SECRET_LIST, on_secret_list},
	{MSG_SECRET_UNLOCK, on_secret_unlock},
	{MSG_SECRET_REWRAP, on_secret_rewrap},
	{MSG_VAULT_SETTINGS, on_vault_settings},
	{MSG_KEYCHAIN_CHANNEL, on_keychain_channel},
};

/** custody_handles() - Whether a message of core's is about secrets */
bool custody_handles(enum msg_type type)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(messages); i++)
		if (messages[i].type == type)
			return true;
	return false;
}

/** custody_on_message() - Take one that custody_handles() */
enum err custody_on_message(struct custody *c, struct chan_message *message)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(messages); i++)
		if (messages[i].type == message->type)
			return messages[i].fn(c, message);
	return ERR_STATE;
}
