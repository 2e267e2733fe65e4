/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route_of.c - a configured provider as engine/providers wants it
 *
 * Runs in: kenazd.
 * Trusts:  kenaz.toml; header values came from the gate and are checked by
 *	    route_build().
 * Never:   knows a key.
 */
#include "engine/core/route_of.h"

#include "engine/proto/attrs.h"

static enum err target_of(const struct config_provider *p,
			  struct route_target *ret_target)
{
	const struct provider_kind *kind = provider_find(span_text(p->kind));

	if (!kind)
		return ERR_CONFIG;
	*ret_target = (struct route_target){
		.kind = kind,
		.endpoint = span_text(p->endpoint),
		.region = span_text(p->region),
		.plain_http = p->allow_http,
		.variant = p->variant,
		.dialects = p->dialects,
		.api_version = span_text(p->api_version),
	};
	return ERR_OK;
}

/**
 * route_endpoint_of() - The endpoint in force, with its region filled in
 * @p:		Provider
 * @ret_text:	Array of @cap_bytes
 * @cap_bytes:	Its size
 *
 * Return: ERR_OK; ERR_CONFIG without an endpoint or region; ERR_DENIED for
 *	   plain http; ERR_LIMIT.
 */
enum err route_endpoint_of(const struct config_provider *p, char *ret_text,
			   size_t cap_bytes)
{
	struct route_target target;
	struct buf url;
	enum err err = target_of(p, &target);

	if (err != ERR_OK)
		return err;
	buf_init(&url, ROUTE_URL_MAX_BYTES);
	err = route_resolve_endpoint(&target, NULL, &url);
	if (err == ERR_OK)
		err = span_copy_text(buf_span(&url), ret_text, cap_bytes);
	buf_fini(&url);
	return err;
}

/** route_secret_of() - Name of the provider's secret; "" when it needs none */
const char *route_secret_of(const struct config_provider *p)
{
	const struct provider_kind *kind = provider_find(span_text(p->kind));

	if (p->secret)
		return p->secret;
	return kind && kind->secret ? kind->secret : "";
}

/**
 * route_request_of() - Build the request that a grant allows
 * @p:			Provider
 * @route:		Route
 * @model:		Model for the path, may be empty
 * @query:		Query without '?', may be empty
 * @headers:		attrs.h texts from the gate
 * @ret_request:	Borrows @headers
 *
 * Return: ERR_OK; ERR_CONFIG; as route_build().
 */
enum err route_request_of(const struct config_provider *p, enum route route,
			  struct span model, struct span query,
			  struct span headers,
			  struct route_request *ret_request)
{
	struct route_header list[ROUTE_HEADERS_MAX];
	struct route_values values = {.model = model,
				      .query = query,
				      .headers = list};
	struct route_target target;
	struct reader r;
	struct attr a;
	enum err err = target_of(p, &target);

	if (err != ERR_OK)
		return err;
	reader_init(&r, headers);
	while (attrs_next(&r, &a)) {
		if (values.header_count == ARRAY_SIZE(list))
			return ERR_LIMIT;
		list[values.header_count++] =
			(struct route_header){.name = a.key, .value = a.text};
	}
	if (r.status != ERR_OK)
		return r.status;
	return route_build(&target, route, &values, ret_request);
}
