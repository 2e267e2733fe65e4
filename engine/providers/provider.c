/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider.c - the list of providers and look-ups in their tables
 *
 * Runs in: kenazd, kenaz-broker, kenaz-gate.
 * Trusts:  the tables beside it.
 * Never:   does I/O, allocates.
 */
#include "engine/providers/provider.h"

#include <string.h>
#include <strings.h>

#include "engine/providers/tables.h"

static const struct provider_kind *const kinds[] = {
	&provider_scripted,
	&provider_anthropic,
	&provider_bedrock,
	&provider_byo,
};

/**
 * provider_find() - Look a kind of provider up by its name
 * @name:	As written in the configuration
 *
 * Return: the table, or NULL when there is no such kind.
 */
const struct provider_kind *provider_find(struct span name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (span_is(name, kinds[i]->name))
			return kinds[i];
	return NULL;
}

/**
 * provider_at() - Walk the kinds, for lists and for naming valid choices
 * @index:	From 0
 *
 * Return: the table, or NULL past the last one.
 */
const struct provider_kind *provider_at(size_t index)
{
	return index < ARRAY_SIZE(kinds) ? kinds[index] : NULL;
}

/**
 * provider_route() - Find a route of a provider
 * @kind:	Provider
 * @route:	Any value, also one that was received
 *
 * Return: the row, or NULL when the provider does not offer it.
 */
const struct provider_route *provider_route(const struct provider_kind *kind,
					    enum route route)
{
	size_t i;

	for (i = 0; i < kind->route_count; i++)
		if (kind->routes[i].route == route)
			return &kind->routes[i];
	return NULL;
}

static bool digits(struct span s, size_t from, size_t count)
{
	size_t i;

	for (i = from; i < from + count; i++)
		if (i >= s.len_bytes || s.data[i] < '0' || s.data[i] > '9')
			return false;
	return true;
}

/* What may follow a model's name: "", "-20250929", "@20250929", "-v1:0". */
static bool is_version(struct span s)
{
	if (s.len_bytes > 0 && (s.data[0] == '-' || s.data[0] == '@') &&
	    digits(s, 1, 8))
		s = span_of(s.data + 9, s.len_bytes - 9);
	if (s.len_bytes > 2 && s.data[0] == '-' && s.data[1] == 'v' &&
	    digits(s, 2, 1))
		return true;
	return s.len_bytes == 0;
}

/**
 * provider_model() - Find what is known about a model
 * @kind:	Provider
 * @model:	Name as in the request; a dated form matches its undated row
 *
 * Return: the row, or NULL: prices and limits are unknown then, which is no
 *	   reason to refuse.
 */
const struct provider_model *provider_model(const struct provider_kind *kind,
					    struct span model)
{
	const struct provider_model *best = NULL;
	size_t i, best_len = 0;

	for (i = 0; i < kind->model_count; i++) {
		const char *name = kind->models[i].name;
		size_t len = strlen(name);

		if (len <= best_len || model.len_bytes < len ||
		    memcmp(model.data, name, len) != 0 ||
		    !is_version(
			    span_of(model.data + len, model.len_bytes - len)))
			continue;
		best = &kind->models[i];
		best_len = len;
	}
	return best;
}

/**
 * provider_forwards_response() - Whether a response header may pass
 * @kind:	Provider
 * @name:	Header name in any case
 *
 * A table entry that ends in '*' matches by its prefix.
 */
bool provider_forwards_response(const struct provider_kind *kind,
				struct span name)
{
	size_t i;

	for (i = 0; kind->response_headers[i]; i++) {
		const char *row = kind->response_headers[i];
		size_t len = strlen(row);
		bool prefix = row[len - 1] == '*';

		if (prefix)
			len--;
		if (prefix ? name.len_bytes < len : name.len_bytes != len)
			continue;
		if (strncasecmp((const char *)name.data, row, len) == 0)
			return true;
	}
	return false;
}
