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
	PROVIDER_CALLS_MODEL = 1 << 7, /* unset: no model is called */
};

/* A header that route_build() forwards. Sorted by name in each table. */
struct provider_header {
	const char *name; /* lower case */
	const char
		*fallback; /* sent when the client gave none; NULL: omitted */
	bool fixed;        /* the client's value is ignored */
};

struct provider_route {
	enum route route;
	enum dialect dialect;
	const char *method;
	const char *path; /* "{model}" stands for the encoded model name */
	bool has_body;
	const struct provider_header *headers;
	size_t header_count;
	const char *const *queries; /* parameters forwarded, NULL-terminated */
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
	const char
		*endpoint;  /* may hold "{region}"; NULL: must be configured */
	const char *secret; /* vault name used unless configured; or NULL */
	enum provider_transport transport;
	enum provider_auth auth;
	const char *auth_header;
	unsigned capabilities;
	const struct provider_route *routes;
	size_t route_count;
	const char *const *response_headers; /* NULL-terminated, lower case */
	const struct provider_model *models;
	size_t model_count;
};

const struct provider_kind *provider_find(struct span name);
const struct provider_kind *provider_at(size_t index);
const struct provider_route *provider_route(const struct provider_kind *kind,
					    enum route route);
const struct provider_model *provider_model(const struct provider_kind *kind,
					    struct span model);
bool provider_forwards_response(const struct provider_kind *kind,
				struct span name);

#endif
