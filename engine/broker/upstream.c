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

#include "engine/base/log.h"

static bool needs_key(const struct upstream *up)
{
	return up->auth != PROVIDER_AUTH_NONE && up->secret[0];
}

/** upstream_missing_secret() - A secret that is named and not set, or NULL */
const char *upstream_missing_secret(const struct upstream *up)
{
	if (needs_key(up) && !up->credential && !up->problem)
		return up->secret;
	if (up->proxy_secret[0] && !up->proxy_credential && !up->problem)
		return up->proxy_secret;
	return NULL;
}

static enum err make_credential(const struct upstream *up, struct span key,
				struct credential **ret)
{
	if (up->auth == PROVIDER_AUTH_SIGV4)
		return credential_new_aws(key, ret);
	return credential_new_header(up->auth_header,
				     up->auth == PROVIDER_AUTH_BEARER
					     ? ": Bearer "
					     : ": ",
				     key, ret);
}

static void note_problem(struct upstream *up, enum err e, const char *form)
{
	if (e == ERR_OK)
		return;
	up->problem = e == ERR_FORMAT ? form
				      : "its key does not fit into locked "
					"memory; raise RLIMIT_MEMLOCK";
	log_error("provider '%s': %s", up->name, up->problem);
}

static void forget_credentials(struct upstream *up)
{
	credential_release(up->credential);
	credential_release(up->proxy_credential);
	up->credential = up->proxy_credential = NULL;
	up->problem = NULL;
}

/* Connections may keep what was sent over them. */
static void tell_withdrawn(const struct upstreams *u)
{
	if (u->withdrawn)
		u->withdrawn(u->context);
}

static void load_credentials(struct upstream *up, const struct vault *vault)
{
	const struct vault_record *record;

	forget_credentials(up);
	if (!vault)
		return;
	record =
		needs_key(up) ? vault_find(vault, span_text(up->secret)) : NULL;
	if (record)
		note_problem(up,
			     make_credential(up, secret_span(record->secret),
					     &up->credential),
			     "its secret must be ACCESS_KEY_ID:"
			     "SECRET_ACCESS_KEY[:SESSION_TOKEN"
			     "[:expires=SECONDS]]");
	record = up->proxy_secret[0]
			 ? vault_find(vault, span_text(up->proxy_secret))
			 : NULL;
	if (record)
		note_problem(up,
			     credential_new_proxy(secret_span(record->secret),
						  &up->proxy_credential),
			     "its proxy's secret must be USER:PASSWORD");
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
		.region = span_text(up->region),
		.plain_http = up->allow_http,
		.variant = up->variant,
		.dialects = up->dialects,
		.api_version = span_text(up->api_version),
	};
}

/* The kind's own way of authentication, or the one that was configured. */
static enum err fill_auth(struct upstream *up, struct span name)
{
	const struct provider_auth_row *row;

	up->auth = up->kind->auth;
	up->auth_header = up->kind->auth_header;
	if (name.len_bytes == 0)
		return ERR_OK;
	row = provider_auth_find(name);
	if (!row || !provider_auth_allowed(up->kind, row))
		return ERR_CONFIG;
	up->auth = row->auth;
	up->auth_header = row->header;
	return ERR_OK;
}

static enum err fill_texts(struct upstream *up,
			   const struct msg_provider_set *m)
{
	struct span secret = m->secret;
	enum err e;

	if (secret.len_bytes == 0)
		secret = span_text(up->kind->secret);
	e = span_copy_text(m->name, up->name, sizeof(up->name));
	if (e == ERR_OK)
		e = span_copy_text(m->endpoint, up->endpoint,
				   sizeof(up->endpoint));
	if (e == ERR_OK)
		e = span_copy_text(secret, up->secret, sizeof(up->secret));
	if (e == ERR_OK)
		e = span_copy_text(m->region, up->region, sizeof(up->region));
	if (e == ERR_OK)
		e = span_copy_text(m->api_version, up->api_version,
				   sizeof(up->api_version));
	if (e == ERR_OK)
		e = route_variant_of(m->endpoint_variant, &up->variant);
	if (e == ERR_OK && m->proxy.len_bytes)
		e = route_check_proxy(m->proxy);
	if (e == ERR_OK)
		e = span_copy_text(m->proxy, up->proxy, sizeof(up->proxy));
	if (e == ERR_OK)
		e = span_copy_text(m->proxy_secret, up->proxy_secret,
				   sizeof(up->proxy_secret));
	return e;
}

static uint32_t time_of(uint32_t configured_ms, uint32_t own_ms)
{
	if (configured_ms == 0)
		return own_ms;
	return configured_ms < UPSTREAM_TIME_MAX_MS ? configured_ms
						    : UPSTREAM_TIME_MAX_MS;
}

static void fill_times(struct upstream *up, const struct msg_provider_set *m)
{
	up->times = (struct upstream_times){
		.connect_ms =
			time_of(m->connect_timeout_ms, UPSTREAM_CONNECT_MS),
		.first_byte_ms = time_of(m->first_byte_timeout_ms,
					 UPSTREAM_FIRST_BYTE_MS),
		.idle_ms = time_of(m->idle_timeout_ms, UPSTREAM_IDLE_MS),
		.total_ms = time_of(m->total_timeout_ms, UPSTREAM_TOTAL_MS),
	};
	up->http_version = m->http_version == HTTP_VERSION_1_1
				   ? HTTP_VERSION_1_1
				   : HTTP_VERSION_AUTO;
}

static enum err fill(struct upstream *up, const struct msg_provider_set *m,
		     struct span ca_pem, const char **ret_why)
{
	struct route_target target;
	struct buf url;
	enum err e;

	*ret_why = "unknown kind of provider";
	up->kind = provider_find(m->kind);
	if (!up->kind)
		return ERR_NOT_FOUND;
	*ret_why = "bad name, endpoint, proxy or secret";
	up->allow_http = m->allow_http != 0;
	up->dialects = m->dialects;
	fill_times(up, m);
	e = fill_texts(up, m);
	if (e != ERR_OK)
		return e;
	*ret_why = "this kind of provider has no such way of authentication";
	e = fill_auth(up, m->auth);
	if (e != ERR_OK)
		return e;
	*ret_why = "bad endpoint or region";
	buf_init(&up->ca_pem, UPSTREAM_CA_MAX_BYTES);
	e = buf_put_span(&up->ca_pem, ca_pem);
	target = upstream_target(up);
	buf_init(&url, ROUTE_URL_MAX_BYTES);
	if (e == ERR_OK)
		e = route_resolve_endpoint(&target, NULL, &url);
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
	load_credentials(&made, vault);
	if (old) {
		forget_credentials(old);
		buf_fini(&old->ca_pem);
		tell_withdrawn(u);
	} else {
		old = &u->items[u->count++];
	}
	*old = made;
	return ERR_OK;
}

/**
 * upstreams_remove() - Forget a provider and its key; an unknown one is fine
 * @u:		Upstreams
 * @name:	Its name
 */
void upstreams_remove(struct upstreams *u, struct span name)
{
	struct upstream *old = upstreams_find(u, name);

	if (!old)
		return;
	forget_credentials(old);
	buf_fini(&old->ca_pem);
	*old = u->items[--u->count];
	u->items[u->count] = (struct upstream){0};
	tell_withdrawn(u);
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
		if (span_is(secret, u->items[i].secret) ||
		    span_is(secret, u->items[i].proxy_secret))
			load_credentials(&u->items[i], vault);
	tell_withdrawn(u);
}

/** upstreams_reload() - The vault was opened: load every secret that is used */
void upstreams_reload(struct upstreams *u, const struct vault *vault)
{
	size_t i;

	for (i = 0; i < u->count; i++)
		load_credentials(&u->items[i], vault);
}

/** upstreams_fini() - Wipe all credentials */
void upstreams_fini(struct upstreams *u)
{
	size_t i;

	for (i = 0; i < u->count; i++) {
		forget_credentials(&u->items[i]);
		buf_fini(&u->items[i].ca_pem);
	}
	u->count = 0;
}
