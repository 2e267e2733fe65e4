/* SPDX-License-Identifier: Apache-2.0 */
/* upstream.h - configured providers and their credentials */
#ifndef KENAZ_BROKER_UPSTREAM_H
#define KENAZ_BROKER_UPSTREAM_H

#include "engine/broker/credential.h"
#include "engine/broker/vault.h"
#include "engine/proto/msg.h"
#include "engine/providers/route.h"

#define UPSTREAMS_MAX         32u
#define UPSTREAM_CA_MAX_BYTES (1024u * 1024)

#define UPSTREAM_CONNECT_MS    10000u
#define UPSTREAM_FIRST_BYTE_MS 300000u
#define UPSTREAM_IDLE_MS       240000u
#define UPSTREAM_TOTAL_MS      3600000u
#define UPSTREAM_TIME_MAX_MS   86400000u

/* In force: never 0. */
struct upstream_times {
	uint32_t connect_ms, first_byte_ms, idle_ms;
	uint32_t total_ms; /* a grant's own may be shorter */
};

struct upstream {
	char name[NAME_MAX_BYTES + 1];
	const struct provider_kind *kind;
	char endpoint[ROUTE_ENDPOINT_MAX_BYTES + 1]; /* empty: the kind's */
	char secret[NAME_MAX_BYTES + 1];             /* empty: no key */
	bool allow_http;
	char region[ROUTE_REGION_MAX_BYTES + 1];
	char api_version[ROUTE_API_VERSION_MAX_BYTES + 1];
	enum route_variant variant;
	unsigned dialects;
	enum provider_auth auth;
	const char *auth_header; /* NULL: no header carries the key */
	struct buf ca_pem;       /* empty: the system's */
	struct upstream_times times;
	enum http_version http_version;
	char proxy[ROUTE_PROXY_MAX_BYTES + 1]; /* empty: none */
	char proxy_secret[NAME_MAX_BYTES + 1]; /* empty: no credentials */
	struct credential *credential;         /* NULL: none, or no key */
	struct credential *proxy_credential;   /* likewise */
	const char *problem; /* why a stored key cannot be used, or NULL */
};

struct upstreams {
	struct upstream items[UPSTREAMS_MAX];
	size_t count;
	/* A key is no longer in use; or NULL. */
	void (*withdrawn)(void *context);
	void *context;
};

void upstreams_remove(struct upstreams *u, struct span name);
MUST_CHECK enum err upstreams_set(struct upstreams *u,
				  const struct msg_provider_set *m,
				  struct span ca_pem, const struct vault *vault,
				  const char **ret_why);
struct upstream *upstreams_find(struct upstreams *u, struct span name);
void upstreams_refresh(struct upstreams *u, const struct vault *vault,
		       struct span secret);
void upstreams_reload(struct upstreams *u, const struct vault *vault);
void upstreams_fini(struct upstreams *u);
struct route_target upstream_target(const struct upstream *up);
const char *upstream_missing_secret(const struct upstream *up);

#endif
