/* SPDX-License-Identifier: Apache-2.0 */
/* route.h - the exact request that a provider gets, built from tables */
#ifndef KENAZ_PROVIDERS_ROUTE_H
#define KENAZ_PROVIDERS_ROUTE_H

#include "engine/providers/provider.h"

#define ROUTE_ENDPOINT_MAX_BYTES     512u
#define ROUTE_REGION_MAX_BYTES       32u
#define ROUTE_PROXY_MAX_BYTES        300u
#define ROUTE_API_VERSION_MAX_BYTES  32u
#define ROUTE_QUERY_MAX_BYTES        1024u
#define ROUTE_HEADER_VALUE_MAX_BYTES 4096u
#define ROUTE_HEADERS_MAX            16u
#define ROUTE_URL_MAX_BYTES          2048u
#define ROUTE_CANONICAL_MAX_BYTES    (72u * 1024u)

/* Which of a region's end points; bits. */
enum route_variant {
	ROUTE_VARIANT_PLAIN = 0,
	ROUTE_VARIANT_FIPS = 1,
	ROUTE_VARIANT_DUALSTACK = 2,
	ROUTE_VARIANT_FIPS_DUALSTACK = 3,
	ROUTE_VARIANT_COUNT
};

/* A configured provider. Spans are borrowed. */
struct route_target {
	const struct provider_kind *kind;
	struct span endpoint; /* empty: the kind's own */
	struct span region;
	bool plain_http; /* an administrator allowed it */
	enum route_variant variant;
	unsigned dialects;       /* configured; 0: the kind's own */
	struct span api_version; /* of Azure; empty: none */
};

struct route_header {
	struct span name; /* any case on input, lower case on output */
	struct span value;
};

/* What the gate read from the guest's request. Spans are borrowed. */
struct route_values {
	struct span model;
	struct span query; /* without '?' */
	const struct route_header *headers;
	size_t header_count;
};

/* Ready to send. Header values borrow from route_values and the tables. */
struct route_request {
	const struct provider_route *row;
	const char *method;
	char url[ROUTE_URL_MAX_BYTES + 1];
	size_t url_len_bytes;
	size_t query_at; /* offset of '?', or url_len_bytes */
	struct route_header headers[ROUTE_HEADERS_MAX];
	size_t header_count;
};

MUST_CHECK enum err route_check_endpoint(struct span endpoint, bool plain_http);
MUST_CHECK enum err route_check_proxy(struct span proxy);
MUST_CHECK enum err route_resolve_endpoint(const struct route_target *target,
					   const struct provider_route *row,
					   struct buf *out);
unsigned route_dialects(const struct route_target *target, bool known);
const char *route_variant_text(enum route_variant variant);
MUST_CHECK enum err route_variant_of(struct span text,
				     enum route_variant *ret_variant);
MUST_CHECK enum err route_build(const struct route_target *target,
				enum route route,
				const struct route_values *values,
				struct route_request *ret_request);
MUST_CHECK enum err route_canonical(const struct route_request *request,
				    struct buf *out);
MUST_CHECK enum err route_header_digest(const struct route_request *request,
					uint8_t ret_digest[DIGEST_BYTES]);

#endif
