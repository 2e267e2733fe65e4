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
	&provider_scripted,   &provider_anthropic, &provider_openai,
	&provider_openrouter, &provider_bedrock,   &provider_bento,
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

static const struct provider_auth_row auths[] = {
	{"none", PROVIDER_AUTH_NONE, NULL},
	{"bearer", PROVIDER_AUTH_BEARER, "authorization"},
	{"x-api-key", PROVIDER_AUTH_HEADER, "x-api-key"},
	{"api-key", PROVIDER_AUTH_HEADER, "api-key"},
	{"sigv4", PROVIDER_AUTH_SIGV4, NULL},
};

/** provider_auth_find() - A way of authentication by its name, or NULL */
const struct provider_auth_row *provider_auth_find(struct span name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(auths); i++)
		if (span_is(name, auths[i].name))
			return &auths[i];
	return NULL;
}

/** provider_auth_name() - How a kind's key goes unless configured */
const char *provider_auth_name(const struct provider_kind *kind)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(auths); i++)
		if (auths[i].auth == kind->auth &&
		    (kind->auth != PROVIDER_AUTH_HEADER ||
		     strcmp(auths[i].header, kind->auth_header) == 0))
			return auths[i].name;
	return "none";
}

/** provider_auth_allowed() - Whether a kind can be configured to use it */
bool provider_auth_allowed(const struct provider_kind *kind,
			   const struct provider_auth_row *row)
{
	size_t i;

	for (i = 0; kind->auths && kind->auths[i]; i++)
		if (strcmp(kind->auths[i], row->name) == 0)
			return true;
	return false;
}

/**
 * provider_dialects() - Which dialects of a provider are in use
 * @kind:	Provider
 * @configured:	Bits, see DIALECT_BIT(); 0: not configured
 *
 * Return: bits; those that the provider does not have are left out.
 */
unsigned provider_dialects(const struct provider_kind *kind,
			   unsigned configured)
{
	unsigned has = 0;
	size_t i;

	for (i = 0; i < kind->route_count; i++)
		has |= DIALECT_BIT(kind->routes[i].dialect);
	if (configured)
		return has & configured;
	return kind->dialects ? has & kind->dialects : has;
}

static bool holds(struct span name, const char *part)
{
	return part[0] == '\0' ||
	       (name.len_bytes &&
		memmem(name.data, name.len_bytes, part, strlen(part)));
}

/**
 * provider_route() - Find a route of a provider
 * @kind:	Provider
 * @dialects:	What is configured; 0: the kind's own
 * @route:	Any value, also one that was received
 * @model:	Model of the request; may be empty
 *
 * Return: the row, or NULL when the provider does not offer it.
 */
const struct provider_route *provider_route(const struct provider_kind *kind,
					    unsigned dialects, enum route route,
					    struct span model)
{
	unsigned in_use = provider_dialects(kind, dialects);
	size_t i;

	for (i = 0; i < kind->route_count; i++) {
		const struct provider_route *row = &kind->routes[i];

		if (row->route == route &&
		    (in_use & DIALECT_BIT(row->dialect)) &&
		    (!row->model || holds(model, row->model)))
			return row;
	}
	return NULL;
}

/** provider_route_counts() - Whether a route only counts a request's tokens */
bool provider_route_counts(enum route route)
{
	return route == ROUTE_COUNT_TOKENS || route == ROUTE_RESPONSES_COUNT ||
	       route == ROUTE_BEDROCK_COUNT;
}

/* How each dialect asks a model for an answer. */
static const struct {
	enum dialect dialect;
	enum route plain, streamed;
	enum route counts; /* its tokens; ROUTE_NONE: it cannot */
} asks[] = {
	{DIALECT_ANTHROPIC, ROUTE_MESSAGES, ROUTE_MESSAGES, ROUTE_COUNT_TOKENS},
	{DIALECT_CHAT, ROUTE_CHAT, ROUTE_CHAT, ROUTE_NONE},
	{DIALECT_RESPONSES, ROUTE_RESPONSES, ROUTE_RESPONSES,
	 ROUTE_RESPONSES_COUNT},
	{DIALECT_INVOKE, ROUTE_INVOKE, ROUTE_INVOKE_STREAM,
	 ROUTE_BEDROCK_COUNT},
	{DIALECT_CONVERSE, ROUTE_CONVERSE, ROUTE_CONVERSE_STREAM,
	 ROUTE_BEDROCK_COUNT},
};

static enum route route_to_ask(enum dialect dialect,
			       const struct provider_ask *ask)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(asks); i++) {
		if (asks[i].dialect != dialect)
			continue;
		if (provider_route_counts(ask->route))
			return asks[i].counts;
		return ask->stream ? asks[i].streamed : asks[i].plain;
	}
	return ROUTE_NONE;
}

static bool asks_a_model(enum route route)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(asks); i++)
		if (asks[i].plain == route || asks[i].streamed == route)
			return true;
	return false;
}

static const struct provider_rule *rule_of(const struct provider_kind *kind,
					   struct span model)
{
	size_t i;

	for (i = 0; i < kind->rule_count; i++)
		if (holds(model, kind->rules[i].model))
			return &kind->rules[i];
	return NULL;
}

/* Its own dialect if the model has it there, else the best there is. */
static bool wire_to_ask(const struct provider_kind *kind, unsigned dialects,
			const struct provider_ask *ask,
			struct provider_wire *ret_wire)
{
	const struct provider_rule *rule = rule_of(kind, ask->model);
	unsigned in_use = provider_dialects(kind, dialects);
	enum dialect best = DIALECT_NONE;
	size_t i;

	if (!rule)
		return false;
	for (i = 0; rule->dialects[i] != DIALECT_NONE; i++) {
		enum dialect one = rule->dialects[i];

		if (!(in_use & DIALECT_BIT(one)) ||
		    !provider_route(kind, dialects, route_to_ask(one, ask),
				    ask->model))
			continue;
		if (best == DIALECT_NONE || one == ask->dialect)
			best = one;
	}
	if (best == DIALECT_NONE)
		return false;
	*ret_wire = (struct provider_wire){best, route_to_ask(best, ask)};
	return true;
}

/**
 * provider_wire() - In which dialect, and where, a provider gets a request
 * @kind:	Provider
 * @dialects:	What is configured; 0: the kind's own
 * @ask:	The request as its client put it
 * @ret_wire:	Written when true
 *
 * The client's own dialect wherever the provider has it for this model, so
 * that nothing needs translating; else the first of the model's rule that is
 * in use, where counting goes by the dialects that can. Lists of models are
 * never translated.
 *
 * Return: false when the provider cannot be asked this.
 */
bool provider_wire(const struct provider_kind *kind, unsigned dialects,
		   const struct provider_ask *ask,
		   struct provider_wire *ret_wire)
{
	const struct provider_route *row;

	if (asks_a_model(ask->route) || provider_route_counts(ask->route))
		return wire_to_ask(kind, dialects, ask, ret_wire);
	row = provider_route(kind, dialects, ask->route, ask->model);
	if (!row)
		return false;
	*ret_wire = (struct provider_wire){row->dialect, row->route};
	return true;
}

static bool digits(struct span s, size_t from, size_t count)
{
	size_t i;

	for (i = from; i < from + count; i++)
		if (i >= s.len_bytes || s.data[i] < '0' || s.data[i] > '9')
			return false;
	return true;
}

/* A date, as "20250929" or "2025-09-29"; 0: none. */
static size_t date_bytes(struct span s)
{
	if (digits(s, 0, 8))
		return 8;
	if (digits(s, 0, 4) && digits(s, 5, 2) && digits(s, 8, 2) &&
	    s.data[4] == '-' && s.data[7] == '-')
		return 10;
	return 0;
}

/* What may follow a model's name: a date, "-v1:0", "-1:0", ":0". */
static bool is_version(struct span s)
{
	size_t n = 0;

	if (s.len_bytes > 0 && (s.data[0] == '-' || s.data[0] == '@'))
		n = date_bytes(span_of(s.data + 1, s.len_bytes - 1));
	if (n)
		s = span_of(s.data + 1 + n, s.len_bytes - 1 - n);
	if (s.len_bytes > 2 && s.data[0] == '-' && s.data[1] == 'v' &&
	    digits(s, 2, 1))
		return true;
	if (s.len_bytes == 4 && s.data[0] == '-' && digits(s, 1, 1) &&
	    s.data[2] == ':' && digits(s, 3, 1))
		return true;
	return s.len_bytes == 0;
}

/**
 * provider_model_fits() - Whether a request's model is that of a row
 * @name:	Name of the row
 * @model:	Name as in the request; a dated form fits its undated row
 */
bool provider_model_fits(const char *name, struct span model)
{
	size_t len = strlen(name);

	return model.len_bytes >= len && memcmp(model.data, name, len) == 0 &&
	       is_version(span_of(model.data + len, model.len_bytes - len));
}

static const struct provider_model *find_model(const struct provider_kind *kind,
					       struct span model)
{
	const struct provider_model *best = NULL;
	size_t i, best_len = 0;

	for (i = 0; i < kind->model_count; i++) {
		size_t len = strlen(kind->models[i].name);

		if (len <= best_len ||
		    !provider_model_fits(kind->models[i].name, model))
			continue;
		best = &kind->models[i];
		best_len = len;
	}
	return best;
}

/**
 * provider_model_bare() - A model's name without what stands before it
 * @kind:	Provider
 * @model:	Name as in the request
 *
 * Return: the part behind an ARN's last slash and behind one of the kind's
 *	   prefixes; borrowed.
 */
struct span provider_model_bare(const struct provider_kind *kind,
				struct span model)
{
	const uint8_t *slash;
	size_t i;

	if (!kind->model_prefixes)
		return model;
	slash = model.len_bytes ? memrchr(model.data, '/', model.len_bytes)
				: NULL;
	if (slash)
		model = span_of(slash + 1,
				model.len_bytes - 1 -
					(size_t)(slash - model.data));
	for (i = 0; kind->model_prefixes[i]; i++) {
		size_t len = strlen(kind->model_prefixes[i]);

		if (model.len_bytes > len &&
		    memcmp(model.data, kind->model_prefixes[i], len) == 0)
			return span_of(model.data + len, model.len_bytes - len);
	}
	return model;
}

/**
 * provider_model() - Find what is known about a model
 * @kind:	Provider
 * @model:	Name as in the request
 *
 * Return: the row, or NULL: prices and limits are unknown then, which is no
 *	   reason to refuse.
 */
const struct provider_model *provider_model(const struct provider_kind *kind,
					    struct span model)
{
	const struct provider_model *row = find_model(kind, model);

	return row ? row : find_model(kind, provider_model_bare(kind, model));
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
