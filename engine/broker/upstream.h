/* SPDX-License-Identifier: Apache-2.0 */
/* upstream.h - configured providers and their credentials */
#ifndef KENAZ_BROKER_UPSTREAM_H
#define KENAZ_BROKER_UPSTREAM_H

#include "engine/broker/keyscan.h"
#include "engine/broker/vault.h"
#include "engine/proto/msg.h"
#include "engine/providers/route.h"

#define UPSTREAMS_MAX         32u
#define UPSTREAM_CA_MAX_BYTES (1024u * 1024)

/* A key ready for use. Counted: transfers outlive a change of the secret. */
struct credential {
	unsigned users;
	struct secret *line;      /* "x-api-key: KEY" and a NUL */
	struct keyscan_key *scan; /* NULL for a key too short to scan for */
};

struct upstream {
	char name[NAME_MAX_BYTES + 1];
	const struct provider_kind *kind;
	char endpoint[ROUTE_ENDPOINT_MAX_BYTES + 1]; /* empty: the kind's */
	char secret[NAME_MAX_BYTES + 1];             /* empty: no key */
	bool allow_http;
	struct buf ca_pem;             /* empty: the system's */
	struct credential *credential; /* NULL: none, or not in the vault */
};

struct upstreams {
	struct upstream items[UPSTREAMS_MAX];
	size_t count;
};

MUST_CHECK enum err upstreams_set(struct upstreams *u,
				  const struct msg_provider_set *m,
				  struct span ca_pem, const struct vault *vault,
				  const char **ret_why);
struct upstream *upstreams_find(struct upstreams *u, struct span name);
void upstreams_refresh(struct upstreams *u, const struct vault *vault,
		       struct span secret);
void upstreams_fini(struct upstreams *u);
struct route_target upstream_target(const struct upstream *up);
bool upstream_needs_key(const struct upstream *up);

struct credential *credential_hold(struct credential *c);
void credential_release(struct credential *c);

#endif
