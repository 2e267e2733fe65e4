/* SPDX-License-Identifier: Apache-2.0 */
/* provider.h - what a provider is: one file of tables each, no I/O */
#ifndef KENAZ_PROVIDERS_PROVIDER_H
#define KENAZ_PROVIDERS_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/proto/msg.h"

enum provider_auth {
	PROVIDER_AUTH_NONE,
	PROVIDER_AUTH_HEADER, /* <auth_header>: KEY */
	PROVIDER_AUTH_BEARER, /* authorization: Bearer KEY */
	PROVIDER_AUTH_SIGV4,  /* AWS signature, version 4 */
};

/* A way of authentication as the configuration names it. */
struct provider_auth_row {
	const char *name;
	enum provider_auth auth;
	const char *header; /* that carries the key; NULL: none does */
};

enum provider_transport {
	PROVIDER_TRANSPORT_NETWORK,
	PROVIDER_TRANSPORT_EMBEDDED, /* kenaz-scripted, over a unix socket */
};

enum provider_capability {
	PROVIDER_CAN_STREAM = 1 << 0,
	PROVIDER_CAN_TOOLS = 1 << 1,
	PROVIDER_CAN_THINK = 1 << 2,
	PROVIDER_CAN_IMAGES = 1 << 3,
	PROVIDER_CAN_CACHE = 1 << 4,
	PROVIDER_CAN_COUNT = 1 << 5,
	PROVIDER_CAN_LIST = 1 << 6,
	PROVIDER_CALLS_MODEL = 1 << 7,  /* unset: no model is called */
	PROVIDER_REPORTS_COST = 1 << 8, /* usage.cost in its answers */
	PROVIDER_HAS_REGION = 1 << 9,
};

#define PROVIDER_DIALECTS_MAX 5u /* in one rule */

/* Sets of dialects, as in provider_set: bits 1 << enum dialect. */
#define DIALECT_BIT(dialect) (1u << (dialect))

/* A header that route_build() forwards. Sorted by name in each table. */
struct provider_header {
	const char *name; /* lower case */
	const char
		*fallback; /* sent when the client gave none; NULL: omitted */
	bool fixed;        /* the client's value is ignored */
};

/*
 * One thing that can be asked for. Where a route has several rows, the first
 * one fits whose dialect is in use and whose model is in the request's.
 */
struct provider_route {
	enum route route;
	enum dialect dialect;
	const char *method;
	const char *path; /* "{model}" stands for the encoded model name */
	bool has_body;
	const struct provider_header *headers;
	size_t header_count;
	const char *const *queries; /* parameters forwarded, NULL-terminated */
	const char *endpoint;       /* this row's own; NULL: the kind's */
	const char *service;        /* name to sign for; NULL: the kind's */
	const char *model;          /* part of the model's name; NULL: any */
	bool bare_model;            /* "{model}" without its prefix */
	/* Regions known not to have its endpoint; NULL-terminated or NULL. */
	const char *const *not_in;
};

/* Which dialects a model is best asked in; the first rule that fits counts. */
struct provider_rule {
	const char *model; /* part of its name; "": any */
	enum dialect dialects[PROVIDER_DIALECTS_MAX + 1]; /* best first */
};

/* Prices in millionths of a US dollar for a million tokens; 0: unknown. */
struct provider_model {
	const char *name;
	const char *label;
	uint32_t context_tokens;
	uint32_t output_tokens;
	uint64_t input_uusd;
	uint64_t output_uusd;
	uint64_t cache_read_uusd;
	uint64_t cache_write_uusd;
};

struct provider_kind {
	const char *name;
	const char *about;
	const char *endpoint; /* a template, see route.c; NULL: must be
				 configured */
	const char *secret;   /* vault name used unless configured; or NULL */
	enum provider_transport transport;
	enum provider_auth auth; /* unless configured */
	const char *auth_header;
	const char *const *auths; /* names that may be configured; or NULL */
	unsigned capabilities;
	const struct provider_route *routes;
	size_t route_count;
	const char *const *response_headers; /* NULL-terminated, lower case */
	const struct provider_model *models;
	size_t model_count;
	const struct provider_rule *rules; /* the last one fits any model */
	size_t rule_count;
	unsigned dialects;   /* in use unless configured; 0: all it has */
	const char *service; /* name to sign for; NULL: it cannot be signed */
	/* What may stand before a model's name; NULL-terminated or NULL. */
	const char *const *model_prefixes;
	/* Anthropic betas it takes in a body; NULL-terminated, NULL: all. */
	const char *const *betas;
};

/* A request as its client put it, and how the provider gets it. */
struct provider_ask {
	enum dialect dialect;
	enum route route;
	struct span model; /* the provider's name for it */
	bool stream;
};

struct provider_wire {
	enum dialect dialect;
	enum route route;
};

const struct provider_kind *provider_find(struct span name);
const struct provider_kind *provider_at(size_t index);
unsigned provider_dialects(const struct provider_kind *kind,
			   unsigned configured);
bool provider_route_counts(enum route route);
const struct provider_route *provider_route(const struct provider_kind *kind,
					    unsigned dialects, enum route route,
					    struct span model);
bool provider_wire(const struct provider_kind *kind, unsigned dialects,
		   const struct provider_ask *ask,
		   struct provider_wire *ret_wire);
const struct provider_model *provider_model(const struct provider_kind *kind,
					    struct span model);
const struct provider_auth_row *provider_auth_find(struct span name);
const char *provider_auth_name(const struct provider_kind *kind);
bool provider_auth_allowed(const struct provider_kind *kind,
			   const struct provider_auth_row *row);
bool provider_model_fits(const char *name, struct span model);
struct span provider_model_bare(const struct provider_kind *kind,
				struct span model);
bool provider_forwards_response(const struct provider_kind *kind,
				struct span name);

#endif
