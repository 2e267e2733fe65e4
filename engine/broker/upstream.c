/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upstream.c - configured providers and their credentials
 *
 * Runs in: kenaz-broker.
 * Trusts:  what core configured, checked again.
 * Never:   keeps a key outside locked memory, gives a key to a provider
 *	    whose configuration does not name it.
 */
#include "engine/broker/upstream.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"

/** credential_hold() - Share a credential; NULL is passed through */
struct credential *credential_hold(struct credential *c)
{
	if (c)
		c->users++;
	return c;
}

/** credential_release() - End one use; the last one wipes; NULL is accepted */
void credential_release(struct credential *c)
{
	if (!c || --c->users > 0)
		return;
	secret_release(c->line);
	keyscan_key_free(c->scan);
	free(c);
}

static enum err make_line(const struct provider_kind *kind, struct span key,
			  struct secret **ret_line)
{
	const char *middle =
		kind->auth == PROVIDER_AUTH_BEARER ? ": Bearer " : ": ";
	size_t name_len = strlen(kind->auth_header), len = strlen(middle);
	struct secret *line;
	enum err e = secret_new(name_len + len + key.len_bytes + 1, &line);

	if (e != ERR_OK)
		return e;
	memcpy(line->data, kind->auth_header, name_len);
	memcpy(line->data + name_len, middle, len);
	memcpy(line->data + name_len + len, key.data, key.len_bytes);
	line->data[line->len_bytes - 1] = '\0';
	*ret_line = line;
	return ERR_OK;
}

static enum err make_credential(const struct provider_kind *kind,
				struct span key, struct credential **ret)
{
	struct credential *c = calloc(1, sizeof(*c));
	enum err e;

	if (!c)
		return ERR_MEMORY;
	c->users = 1;
	e = make_line(kind, key, &c->line);
	if (e == ERR_OK && key.len_bytes >= KEYSCAN_MIN_BYTES)
		e = keyscan_key_new(key, &c->scan);
	if (e != ERR_OK) {
		credential_release(c);
		return e;
	}
	*ret = c;
	return ERR_OK;
}

/** upstream_needs_key() - Whether requests carry a key at all */
bool upstream_needs_key(const struct upstream *up)
{
	return up->kind->auth != PROVIDER_AUTH_NONE && up->secret[0];
}

static void load_credential(struct upstream *up, const struct vault *vault)
{
	const struct vault_record *record;

	credential_release(up->credential);
	up->credential = NULL;
	if (!vault || !upstream_needs_key(up))
		return;
	record = vault_find(vault, span_text(up->secret));
	if (!record)
		return;
	if (make_credential(up->kind, secret_span(record->secret),
			    &up->credential) != ERR_OK)
		log_error("the key of provider '%s' does not fit into locked "
			  "memory; raise RLIMIT_MEMLOCK",
			  up->name);
}

/**
 * upstreams_find() - Look a configured provider up
 * @u:		Upstreams
 * @name:	Its configured name
 *
 * Return: borrowed until the next upstreams_set(); NULL when unknown.
 */
struct upstream *upstreams_find(struct upstreams *u, struct span name)
{
	size_t i;

	for (i = 0; i < u->count; i++)
		if (span_is(name, u->items[i].name))
			return &u->items[i];
	return NULL;
}

/** upstream_target() - What route_build() wants to know */
struct route_target upstream_target(const struct upstream *up)
{
	return (struct route_target){
		.kind = up->kind,
		.endpoint = span_text(up->endpoint),
		.plain_http = up->allow_http,
	};
}

static enum err fill(struct upstream *up, const struct msg_provider_set *m,
		     struct span ca_pem, const char **ret_why)
{
	struct span secret = m->secret;
	struct route_target target;
	struct buf url;
	enum err e;

	*ret_why = "unknown kind of provider";
	up->kind = provider_find(m->kind);
	if (!up->kind)
		return ERR_NOT_FOUND;
	*ret_why = "bad name, endpoint or secret";
	if (secret.len_bytes == 0)
		secret = span_text(up->kind->secret);
	up->allow_http = m->allow_http != 0;
	e = span_copy_text(m->name, up->name, sizeof(up->name));
	if (e == ERR_OK)
		e = span_copy_text(m->endpoint, up->endpoint,
				   sizeof(up->endpoint));
	if (e == ERR_OK)
		e = span_copy_text(secret, up->secret, sizeof(up->secret));
	if (e != ERR_OK)
		return e;
	buf_init(&up->ca_pem, UPSTREAM_CA_MAX_BYTES);
	e = buf_put_span(&up->ca_pem, ca_pem);
	target = upstream_target(up);
	buf_init(&url, ROUTE_URL_MAX_BYTES);
	if (e == ERR_OK)
		e = route_resolve_endpoint(&target, &url);
	if (e == ERR_DENIED)
		*ret_why = "plain http is not allowed for this provider";
	buf_fini(&url);
	return e;
}

/**
 * upstreams_set() - Configure a provider; one of the same name is replaced
 * @u:		Upstreams
 * @m:		Message, borrowed
 * @ca_pem:	Private CA; empty for the system's
 * @vault:	Where its key is; may be NULL
 * @ret_why:	A static sentence; written on failure, nothing changes then
 *
 * Return: ERR_OK; ERR_NOT_FOUND for an unknown kind; ERR_CONFIG, ERR_DENIED
 *	   for the endpoint; ERR_LIMIT; ERR_MEMORY.
 */
enum err upstreams_set(struct upstreams *u, const struct msg_provider_set *m,
		       struct span ca_pem, const struct vault *vault,
		       const char **ret_why)
{
	struct upstream *old = upstreams_find(u, m->name);
	struct upstream made = {0};
	enum err e;

	if (!old && u->count == UPSTREAMS_MAX) {
		*ret_why = "too many providers";
		return ERR_LIMIT;
	}
	e = fill(&made, m, ca_pem, ret_why);
	if (e != ERR_OK) {
		buf_fini(&made.ca_pem);
		return e;
	}
	load_credential(&made, vault);
	if (old) {
		credential_release(old->credential);
		buf_fini(&old->ca_pem);
	} else {
		old = &u->items[u->count++];
	}
	*old = made;
	return ERR_OK;
}

/**
 * upstreams_refresh() - A secret changed: load it anew where it is used
 * @u:		Upstreams
 * @vault:	Vault
 * @secret:	Name of the secret
 */
void upstreams_refresh(struct upstreams *u, const struct vault *vault,
		       struct span secret)
{
	size_t i;

	for (i = 0; i < u->count; i++)
		if (span_is(secret, u->items[i].secret))
			load_credential(&u->items[i], vault);
}

/** upstreams_fini() - Wipe all credentials */
void upstreams_fini(struct upstreams *u)
{
	size_t i;

	for (i = 0; i < u->count; i++) {
		credential_release(u->items[i].credential);
		buf_fini(&u->items[i].ca_pem);
	}
	u->count = 0;
}
