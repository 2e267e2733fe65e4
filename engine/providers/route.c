/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.c - the exact request that a provider gets, built from tables
 *
 * Runs in: kenazd and kenaz-broker; both build the same request from the
 *	    same inputs and compare digests.
 * Trusts:  the tables; the endpoint once route_check_endpoint() took it.
 * Never:   lets a value from the guest choose a host, a path segment, a
 *	    header name or a line break; adds credentials.
 *
 * Theory of operation
 *
 * The canonical form is text, one field a line, and no field can hold a line
 * feed, so two different requests never share it:
 *
 *	kenaz-request-v1
 *	POST
 *	https://api.anthropic.com/v1/messages
 *	beta=true
 *	accept: application/json
 *	...
 *
 * The fourth line is the query and may be empty. Headers follow in the order
 * of the table, which is sorted. The digest is SHA-256 over these bytes.
 * Host and content-length follow from URL and body; credentials, date and
 * signature are not covered.
 */
#include "engine/providers/route.h"

#include <string.h>
#include <strings.h>

#include "engine/base/digest.h"
#include "engine/base/text.h"
#include "engine/providers/endpoint.h"

#define CANONICAL_MAGIC "kenaz-request-v1\n"

static bool is_alnum(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

static bool all_of(struct span s, const char *others)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if (s.data[i] == '\0' ||
		    (!is_alnum(s.data[i]) && !strchr(others, s.data[i])))
			return false;
	return true;
}

static struct span tail(struct span s, size_t from)
{
	return span_of(s.data + from, s.len_bytes - from);
}

static bool starts_with(struct span s, const char *text)
{
	size_t len = strlen(text);

	return s.len_bytes >= len && memcmp(s.data, text, len) == 0;
}

static size_t find_byte(struct span s, char c)
{
	const uint8_t *at = s.len_bytes ? memchr(s.data, c, s.len_bytes) : NULL;

	return at ? (size_t)(at - s.data) : s.len_bytes;
}

static bool authority_valid(struct span authority)
{
	size_t host_len = find_byte(authority, ':');
	struct span host = span_of(authority.data, host_len);
	uint64_t port;

	if (authority.len_bytes && authority.data[0] == '[') {
		host_len = find_byte(authority, ']');
		if (host_len < 3 || host_len == authority.len_bytes)
			return false;
		host = span_of(authority.data + 1, host_len - 1);
		if (!all_of(host, ":."))
			return false;
		host_len++;
		if (host_len < authority.len_bytes &&
		    authority.data[host_len] != ':')
			return false;
	} else if (host_len == 0 || host_len > 253 || !all_of(host, ".-") ||
		   host.data[0] == '.' || host.data[0] == '-') {
		return false;
	}
	if (host_len == authority.len_bytes)
		return true;
	return text_parse_u64(tail(authority, host_len + 1), 1, 65535, &port) ==
	       ERR_OK;
}

/**
 * route_check_endpoint() - Check a configured endpoint
 * @endpoint:	scheme://host[:port][/path], no user, query, fragment or
 *		trailing slash; "{region}" must be replaced already
 * @plain_http:	Whether http:// is allowed too
 *
 * Private and loopback hosts are fine: an administrator wrote this.
 *
 * Return: ERR_OK; ERR_LIMIT past ROUTE_ENDPOINT_MAX_BYTES; ERR_DENIED for
 *	   plain http without permission; ERR_FORMAT otherwise.
 */
enum err route_check_endpoint(struct span endpoint, bool plain_http)
{
	struct span rest, path;
	size_t slash;

	if (endpoint.len_bytes > ROUTE_ENDPOINT_MAX_BYTES)
		return ERR_LIMIT;
	if (starts_with(endpoint, "https://"))
		rest = tail(endpoint, sizeof("https://") - 1);
	else if (starts_with(endpoint, "http://"))
		rest = tail(endpoint, sizeof("http://") - 1);
	else
		return ERR_FORMAT;
	slash = find_byte(rest, '/');
	if (!authority_valid(span_of(rest.data, slash)))
		return ERR_FORMAT;
	path = tail(rest, slash);
	if (path.len_bytes && path.data[path.len_bytes - 1] == '/')
		return ERR_FORMAT;
	if (!all_of(path, "/-._~") ||
	    (path.len_bytes > 1 &&
	     (memmem(path.data, path.len_bytes, "//", 2) ||
	      memmem(path.data, path.len_bytes, "/.", 2))))
		return ERR_FORMAT;
	if (!plain_http && endpoint.data[4] == ':')
		return ERR_DENIED;
	return ERR_OK;
}

/**
 * route_check_proxy() - Check a configured proxy
 * @proxy:	http://host:port; nothing else, no user above all
 *
 * Return: ERR_OK; ERR_FORMAT.
 */
enum err route_check_proxy(struct span proxy)
{
	struct span authority;
	const uint8_t *colon;

	if (proxy.len_bytes > ROUTE_PROXY_MAX_BYTES ||
	    !starts_with(proxy, "http://"))
		return ERR_FORMAT;
	authority = tail(proxy, sizeof("http://") - 1);
	colon = authority.len_bytes
			? memrchr(authority.data, ':', authority.len_bytes)
			: NULL;
	if (!colon ||
	    memchr(colon, ']',
		   (size_t)(authority.data + authority.len_bytes - colon)) ||
	    !authority_valid(authority))
		return ERR_FORMAT;
	return ERR_OK;
}

static enum err put_encoded(struct buf *out, struct span s)
{
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < s.len_bytes; i++) {
		uint8_t c = s.data[i];

		if (is_alnum(c) || (c && strchr("-._~", c)))
			e = buf_put_u8(out, c);
		else
			e = buf_printf(out, "%%%02X", c);
	}
	return e;
}

/* What names no profile stays: other ARNs, and what is a path. */
static struct span model_for(const struct provider_kind *kind,
			     const struct provider_route *row,
			     struct span model)
{
	static const char profile[] = ":inference-profile/";

	if (!row->bare_model)
		return model;
	if (model.len_bytes && memchr(model.data, '/', model.len_bytes) &&
	    !memmem(model.data, model.len_bytes, profile, sizeof(profile) - 1))
		return model;
	return provider_model_bare(kind, model);
}

/* Fills "{model}" in a path once; a path without it is copied. */
static enum err put_path(struct buf *out, struct span path, struct span model)
{
	static const char mark[] = "{model}";
	size_t len = sizeof(mark) - 1;
	const uint8_t *at = memmem(path.data, path.len_bytes, mark, len);
	size_t before = at ? (size_t)(at - path.data) : path.len_bytes;
	enum err e = buf_put(out, path.data, before);

	if (e != ERR_OK || !at)
		return e;
	if (model.len_bytes == 0 || span_is(model, ".") ||
	    span_is(model, "..") || !all_of(model, "-._:/@+"))
		return ERR_FORMAT;
	e = put_encoded(out, model);
	if (e == ERR_OK)
		e = buf_put_span(out, tail(path, before + len));
	return e;
}

/**
 * route_resolve_endpoint() - Append the endpoint that will be used
 * @target:	Configured provider, borrowed
 * @row:	Route that is asked; NULL: the provider's first choice
 * @out:	Empty buffer; the region is filled in, the result checked
 *
 * A configured endpoint stands for all routes of its provider.
 *
 * Return: ERR_OK; ERR_CONFIG for an unusable or missing endpoint or region;
 *	   ERR_DENIED for plain http without permission; ERR_LIMIT.
 */
enum err route_resolve_endpoint(const struct route_target *target,
				const struct provider_route *row,
				struct buf *out)
{
	bool embedded = target->kind->transport == PROVIDER_TRANSPORT_EMBEDDED;
	const char *own =
		row && row->endpoint ? row->endpoint : target->kind->endpoint;
	enum err e;

	if (target->region.len_bytes > ROUTE_REGION_MAX_BYTES ||
	    (target->region.len_bytes &&
	     !text_is_name(target->region, ROUTE_REGION_MAX_BYTES)))
		return ERR_CONFIG;
	if (target->endpoint.len_bytes && !embedded)
		e = buf_put_span(out, target->endpoint);
	else if (own)
		e = endpoint_fill(span_text(own), target->region,
				  target->variant, out);
	else
		e = ERR_CONFIG;
	if (e == ERR_OK)
		e = route_check_endpoint(buf_span(out),
					 target->plain_http || embedded);
	return e == ERR_FORMAT || e == ERR_LIMIT ? ERR_CONFIG : e;
}

static bool is_in(const struct provider_route *row, struct span region)
{
	size_t i;

	for (i = 0; row->not_in && row->not_in[i]; i++)
		if (span_is(region, row->not_in[i]))
			return false;
	return true;
}

/**
 * route_dialects() - The dialects that a provider can be asked in where it is
 * @target:	Configured provider, borrowed
 * @known:	Leave those out too whose endpoint is only known not to be in
 *		the region; false: those alone that have none there by rule
 *
 * Return: bits; with a configured endpoint all that are in use.
 */
unsigned route_dialects(const struct route_target *target, bool known)
{
	unsigned in_use = provider_dialects(target->kind, target->dialects);
	unsigned offered = 0;
	size_t i;

	if (target->endpoint.len_bytes)
		return in_use;
	for (i = 0; i < target->kind->route_count; i++) {
		const struct provider_route *row = &target->kind->routes[i];
		struct buf url;

		buf_init(&url, ROUTE_URL_MAX_BYTES);
		if (route_resolve_endpoint(target, row, &url) == ERR_OK &&
		    (!known || is_in(row, target->region)))
			offered |= DIALECT_BIT(row->dialect);
		buf_fini(&url);
	}
	return in_use & offered;
}

/* Whether some segment of an endpoint's path is a version, as "/v1". */
static bool has_version(struct span endpoint)
{
	const uint8_t *scheme =
		memmem(endpoint.data, endpoint.len_bytes, "://", 3);
	size_t i = scheme ? (size_t)(scheme - endpoint.data) + 3 : 0;

	for (; i + 2 < endpoint.len_bytes; i++)
		if (endpoint.data[i] == '/' && endpoint.data[i + 1] == 'v' &&
		    endpoint.data[i + 2] >= '0' && endpoint.data[i + 2] <= '9')
			return true;
	return false;
}

/*
 * People write endpoints with and without "/v1". One that has a version, or
 * that takes it as a parameter, does not get ours too.
 */
static struct span path_after(const struct route_target *target,
			      struct span endpoint,
			      const struct provider_route *row)
{
	struct span path = span_text(row->path);

	if (target->endpoint.len_bytes && starts_with(path, "/v1/") &&
	    (target->api_version.len_bytes || has_version(endpoint)))
		return tail(path, sizeof("/v1") - 1);
	return path;
}

static bool query_allowed(const struct provider_route *row, struct span name)
{
	size_t i;

	for (i = 0; row->queries[i]; i++)
		if (span_is(name, row->queries[i]))
			return true;
	return false;
}

/* Parameters outside the route's list are left out, as odd ones refused. */
static enum err put_query(struct buf *out, const struct route_target *target,
			  const struct provider_route *row, struct span query)
{
	char mark = '?';
	enum err e = ERR_OK;

	if (query.len_bytes > ROUTE_QUERY_MAX_BYTES)
		return ERR_LIMIT;
	if (target->api_version.len_bytes) {
		if (!all_of(target->api_version, "-._"))
			return ERR_CONFIG;
		e = buf_put_text(out, "?api-version=");
		if (e == ERR_OK)
			e = buf_put_span(out, target->api_version);
		mark = '&';
	}
	while (e == ERR_OK && query.len_bytes) {
		size_t end = find_byte(query, '&');
		struct span pair = span_of(query.data, end);
		size_t equals = find_byte(pair, '=');
		struct span name = span_of(pair.data, equals);

		query = tail(query, end < query.len_bytes ? end + 1 : end);
		if (!query_allowed(row, name))
			continue;
		if (equals + 1 >= pair.len_bytes ||
		    !all_of(tail(pair, equals + 1), "-._~"))
			return ERR_FORMAT;
		e = buf_put_u8(out, (uint8_t)mark);
		if (e == ERR_OK)
			e = buf_put_span(out, pair);
		mark = '&';
	}
	return e;
}

static bool value_valid(struct span s)
{
	size_t i;

	if (s.len_bytes == 0 || s.data[0] == ' ' ||
	    s.data[s.len_bytes - 1] == ' ')
		return false;
	for (i = 0; i < s.len_bytes; i++)
		if (s.data[i] < 0x20 || s.data[i] > 0x7e)
			return false;
	return true;
}

static enum err find_value(const struct route_values *values, const char *name,
			   struct span *ret_value)
{
	size_t i, found = 0, len = strlen(name);

	for (i = 0; i < values->header_count; i++) {
		const struct route_header *h = &values->headers[i];

		if (h->name.len_bytes != len ||
		    strncasecmp((const char *)h->name.data, name, len) != 0)
			continue;
		if (found++)
			return ERR_EXISTS;
		if (h->value.len_bytes > ROUTE_HEADER_VALUE_MAX_BYTES)
			return ERR_LIMIT;
		if (!value_valid(h->value))
			return ERR_FORMAT;
		*ret_value = h->value;
	}
	return found ? ERR_OK : ERR_NOT_FOUND;
}

static enum err pick_headers(const struct provider_route *row,
			     const struct route_values *values,
			     struct route_request *r)
{
	size_t i;

	for (i = 0; i < row->header_count; i++) {
		const struct provider_header *h = &row->headers[i];
		struct span value = span_text(h->fallback);
		enum err e = h->fixed ? ERR_NOT_FOUND
				      : find_value(values, h->name, &value);

		if (e != ERR_OK && e != ERR_NOT_FOUND)
			return e;
		if (value.len_bytes == 0)
			continue;
		if (r->header_count == ROUTE_HEADERS_MAX)
			return ERR_LIMIT;
		r->headers[r->header_count++] = (struct route_header){
			.name = span_text(h->name),
			.value = value,
		};
	}
	return ERR_OK;
}

/**
 * route_build() - Build method, URL and forwarded headers
 * @target:		Configured provider, borrowed
 * @route:		Which route; any received value
 * @values:		Typed values from the guest's request, borrowed;
 *			headers and parameters outside the table are left out
 * @ret_request:	Written on success; borrows the values
 *
 * Return: ERR_OK; ERR_UNSUPPORTED when the provider lacks the route;
 *	   ERR_CONFIG for an unusable endpoint or region; ERR_DENIED for plain
 *	   http; ERR_FORMAT, ERR_EXISTS (a header given twice) or ERR_LIMIT
 *	   for values that cannot be sent.
 */
enum err route_build(const struct route_target *target, enum route route,
		     const struct route_values *values,
		     struct route_request *ret_request)
{
	const struct provider_route *row =
		provider_route(target->kind, target->dialects, route,
			       values->model);
	struct route_request r = {.row = row};
	struct buf url;
	enum err e;

	buf_init(&url, ROUTE_URL_MAX_BYTES);
	if (!row)
		return ERR_UNSUPPORTED;
	if (values->model.len_bytes > MODEL_MAX_BYTES)
		return ERR_LIMIT;
	r.method = row->method;
	e = route_resolve_endpoint(target, row, &url);
	if (e == ERR_OK)
		e = put_path(&url, path_after(target, buf_span(&url), row),
			     model_for(target->kind, row, values->model));
	r.query_at = url.len_bytes;
	if (e == ERR_OK)
		e = put_query(&url, target, row, values->query);
	if (e == ERR_OK)
		e = pick_headers(row, values, &r);
	if (e == ERR_OK)
		e = span_copy_text(buf_span(&url), r.url, sizeof(r.url));
	r.url_len_bytes = url.len_bytes;
	if (e == ERR_OK)
		*ret_request = r;
	buf_fini(&url);
	return e;
}

/**
 * route_canonical() - Append the text that the header digest covers
 * @request:	From route_build()
 * @out:	Buffer; ROUTE_CANONICAL_MAX_BYTES always suffice
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err route_canonical(const struct route_request *request, struct buf *out)
{
	size_t query = request->query_at, len = request->url_len_bytes, i;
	enum err e = buf_put_text(out, CANONICAL_MAGIC);

	if (e == ERR_OK)
		e = buf_printf(out, "%s\n", request->method);
	if (e == ERR_OK)
		e = buf_put(out, request->url, query);
	if (e == ERR_OK)
		e = buf_put_u8(out, '\n');
	if (e == ERR_OK && query < len)
		e = buf_put(out, request->url + query + 1, len - query - 1);
	if (e == ERR_OK)
		e = buf_put_u8(out, '\n');
	for (i = 0; e == ERR_OK && i < request->header_count; i++) {
		e = buf_put_span(out, request->headers[i].name);
		if (e == ERR_OK)
			e = buf_put_text(out, ": ");
		if (e == ERR_OK)
			e = buf_put_span(out, request->headers[i].value);
		if (e == ERR_OK)
			e = buf_put_u8(out, '\n');
	}
	return e;
}

/**
 * route_header_digest() - SHA-256 over route_canonical()
 * @request:	From route_build()
 * @ret_digest:	Written on success
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_LIMIT.
 */
enum err route_header_digest(const struct route_request *request,
			     uint8_t ret_digest[DIGEST_BYTES])
{
	struct buf text;
	enum err e;

	buf_init(&text, ROUTE_CANONICAL_MAX_BYTES);
	e = route_canonical(request, &text);
	if (e == ERR_OK)
		digest_sha256(buf_span(&text), ret_digest);
	buf_fini(&text);
	return e;
}
