/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_route.c - which provider, model and wire dialect answer a request
 *
 * Runs in: kenazd.
 * Trusts:  kenaz.toml for what exists, policy for what is allowed.
 * Never:   asks a provider that policy did not allow for this very request;
 *	    leaves the provider a session was given, unless policy says so.
 *
 * A request has a chain of candidates: those of an alias, or its provider
 * followed by that one's fallbacks. Each is judged on its own; one that is
 * denied, cannot be spoken to or failed too often lately is passed over. When
 * none is left, the client hears why the first one was not asked. A provider
 * without a list of models need not be asked for one: infer_models.c answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/circuit.h"
#include "engine/core/infer.h"
#include "engine/core/infer_state.h"
#include "engine/providers/provider.h"

#define NS_PER_S UINT64_C(1000000000)

enum verdict {
	JUDGED_WELL,
	JUDGED_DENIED,  /* the decision says why */
	JUDGED_MODEL,   /* not in the provider's list */
	JUDGED_FEATURE, /* the decision and its name say why */
	JUDGED_NO_WAY,  /* the provider has no such route */
	JUDGED_OPEN,    /* its circuit is open */
};

struct judgement {
	enum verdict what;
	struct policy_decision decision;
	char feature[129];
	uint64_t wait_ns;
};

/* --- the chain --------------------------------------------------------------
 */

static bool in_chain(const struct infer *i, const char *provider,
		     const char *model)
{
	size_t n;

	for (n = 0; n < i->chain_count; n++)
		if (strcmp(i->chain[n].provider, provider) == 0 &&
		    strcmp(i->chain[n].model, model) == 0)
			return true;
	return false;
}

static void add(struct infer *i, const struct config_provider *p,
		const char *model)
{
	const struct provider_ask ask = {.dialect = i->dialect,
					 .route = i->route,
					 .model = span_text(model),
					 .stream = i->stream};
	const struct provider_kind *kind =
		p ? provider_find(span_text(p->kind)) : NULL;
	struct provider_wire wire;
	struct infer_candidate *c, *longer;

	if (!p || i->chain_count == INFER_CHAIN_MAX ||
	    in_chain(i, p->name, model))
		return;
	/* Most have one: streams last, and many may be open. */
	longer = reallocarray(i->chain, i->chain_count + 1, sizeof(*c));
	if (!longer)
		return;
	i->chain = longer;
	c = &i->chain[i->chain_count++];
	*c = (struct infer_candidate){.dialect = DIALECT_NONE};
	(void)snprintf(c->provider, sizeof(c->provider), "%s", p->name);
	(void)snprintf(c->kind, sizeof(c->kind), "%s", p->kind);
	(void)snprintf(c->model, sizeof(c->model), "%s", model);
	if (kind && provider_wire(kind, p->dialects, &ask, &wire)) {
		c->dialect = wire.dialect;
		c->route = wire.route;
	}
}

static const struct config_provider *own_provider(const struct session *s)
{
	return s->provider[0]
		       ? config_find_provider(s->engine->config, s->provider)
		       : config_default_provider(s->engine->config);
}

/**
 * infer_may_leave_provider() - Whether other providers may answer a session
 * @s:	Session
 *
 * One that was given a provider keeps to it, unless policy says so.
 */
bool infer_may_leave_provider(const struct session *s)
{
	struct policy_request request = {.target = POLICY_FEATURE,
					 .name = span_text("fallback"),
					 .user = span_text(s->user),
					 .image = span_text(s->image)};
	struct policy_decision d;

	if (!s->provider[0])
		return true;
	policy_evaluate(s->engine->policy, &request, &d);
	return d.effect == POLICY_ALLOW;
}

static void build_chain(struct infer *i)
{
	const struct session *s = i->session;
	const struct config *config = s->engine->config;
	const struct config_provider *own = own_provider(s);
	const struct config_alias *alias = config_find_alias(config, i->model);
	bool free = infer_may_leave_provider(s);
	size_t n;

	if (alias) {
		for (n = 0; n < alias->target_count; n++) {
			const struct config_target *t = &alias->targets[n];

			if (free || strcmp(t->provider, s->provider) == 0)
				add(i,
				    config_find_provider(config, t->provider),
				    t->model);
		}
		return;
	}
	add(i, own, i->model);
	/* Another's list of models would be about other models. */
	if (i->route == ROUTE_MODELS)
		return;
	for (n = 0; own && free && n < own->fallback_count; n++)
		add(i, config_find_provider(config, own->fallback[n]),
		    i->model);
}

/* --- judging ----------------------------------------------------------------
 */

/* Every provider-side feature found must be allowed, each on its own. */
static bool features_allowed(const struct infer *i, struct judgement *j)
{
	const struct session *s = i->session;
	struct policy_request request = {.target = POLICY_FEATURE,
					 .user = span_text(s->user),
					 .image = span_text(s->image)};
	struct reader r, list;
	struct attr a;

	reader_init(&r, buf_span(&i->features));
	while (attrs_next(&r, &a)) {
		struct span one = a.text;

		reader_init(&list, a.items);
		while (a.type == ATTR_LIST ? attrs_list_next(&list, &one)
					   : true) {
			request.name = one;
			policy_evaluate(s->engine->policy, &request,
					&j->decision);
			if (j->decision.effect != POLICY_ALLOW) {
				(void)text_escape_line(one, j->feature,
						       sizeof(j->feature));
				return false;
			}
			if (a.type != ATTR_LIST)
				break;
		}
	}
	return r.status == ERR_OK;
}

static void judge(const struct infer *i, const struct infer_candidate *c,
		  struct judgement *j)
{
	struct session *s = i->session;
	const struct config_provider *p =
		c ? config_find_provider(s->engine->config, c->provider) : NULL;
	struct policy_request request = {
		.target = POLICY_INFERENCE,
		.user = span_text(s->user),
		.image = span_text(s->image),
		.model = span_text(c ? c->model : i->model),
		.route = span_text(route_name(i->route)),
		.provider = span_text(p ? p->name : "none"),
		.provider_unknown = !p,
	};
	struct policy_decision allowed;

	*j = (struct judgement){.what = JUDGED_DENIED};
	policy_evaluate(s->engine->policy, &request, &j->decision);
	if (j->decision.effect == POLICY_ASK)
		j->decision.reason =
			"an approval is asked for, and inference requests "
			"cannot wait for one";
	if (j->decision.effect != POLICY_ALLOW || !p)
		return;
	allowed = j->decision;
	if (i->route != ROUTE_MODELS &&
	    !config_allows_model(p, span_text(c->model)))
		j->what = JUDGED_MODEL;
	else if (!features_allowed(i, j))
		j->what = JUDGED_FEATURE;
	else if (c->dialect == DIALECT_NONE)
		j->what =
			i->route == ROUTE_MODELS ? JUDGED_WELL : JUDGED_NO_WAY;
	else if (!circuit_admits(circuit_of(&s->engine->circuits, c->provider),
				 infer_who(i), engine_now_ns(), &j->wait_ns))
		j->what = JUDGED_OPEN;
	else
		j->what = JUDGED_WELL;
	if (j->what != JUDGED_FEATURE)
		j->decision = allowed;
}

/* --- refusing ---------------------------------------------------------------
 */

/* kenaz.toml says which models of a provider exist for its users. */
static void refuse_model(struct infer *i, const char *provider,
			 const char *shown)
{
	struct policy_decision d = {
		.effect = POLICY_DENY,
		.rule = "config.models",
		.reason = "this model is not in the provider's list of models",
		.matched_count = 1,
		.listed_count = 1,
		.matched = {"config.models"}};

	infer_deny_policy(i->session, i->request, "inference", provider, &d,
			  shown);
}

/* The alias has targets, and none of them is the session's provider. */
static void refuse_alias(struct infer *i, const char *shown)
{
	struct policy_decision d = {
		.effect = POLICY_DENY,
		.rule = "config.alias",
		.reason = "this alias leads to other providers than the one "
			  "this session was given",
		.matched_count = 1,
		.listed_count = 1,
		.matched = {"config.alias"}};

	infer_deny_policy(i->session, i->request, "inference",
			  i->session->provider, &d, shown);
}

static void refuse_open(struct infer *i, const char *provider, uint64_t wait_ns)
{
	uint32_t wait_s = (uint32_t)((wait_ns + NS_PER_S - 1) / NS_PER_S);
	char text[REASON_MAX_BYTES];
	struct infer_denial d = {.type = ERROR_CLASS_OVERLOADED,
				 .text = text,
				 .retry_after_s = wait_s ? wait_s : 1};

	(void)snprintf(text, sizeof(text),
		       "Kenaz: provider %s failed too often; it is asked "
		       "again in %u s",
		       provider, d.retry_after_s);
	infer_deny(i->session, i->request, &d);
}

static void refuse_route(struct infer *i, const char *provider)
{
	char text[REASON_MAX_BYTES];
	struct infer_denial d = {.http_status = 404,
				 .type = ERROR_CLASS_NOT_FOUND,
				 .text = text};

	(void)snprintf(text, sizeof(text),
		       "Kenaz: provider %s does not offer %s", provider,
		       route_name(i->route));
	infer_deny(i->session, i->request, &d);
}

static void refuse(struct infer *i, const struct infer_candidate *c,
		   const struct judgement *j)
{
	const char *provider = c ? c->provider : "provider";
	char shown[MODEL_MAX_BYTES + 1];

	(void)text_escape_line(span_text(c ? c->model : i->model), shown,
			       sizeof(shown));
	switch (j->what) {
	case JUDGED_WELL:
	case JUDGED_DENIED:
		infer_deny_policy(i->session, i->request, "inference", provider,
				  &j->decision, shown);
		break;
	case JUDGED_MODEL:
		refuse_model(i, provider, shown);
		break;
	case JUDGED_FEATURE:
		infer_deny_policy(i->session, i->request, "feature", j->feature,
				  &j->decision, shown);
		break;
	case JUDGED_NO_WAY:
		refuse_route(i, provider);
		break;
	case JUDGED_OPEN:
		refuse_open(i, provider, j->wait_ns);
		break;
	}
}

/**
 * infer_route_refuse() - Tell the client why no candidate can be asked
 * @i:		Request
 * @from:	Index of the first candidate that counts
 *
 * One that is only to be waited for is named before those that are denied.
 */
void infer_route_refuse(struct infer *i, size_t from)
{
	const struct infer_candidate *c = NULL;
	char shown[MODEL_MAX_BYTES + 1];
	struct judgement j, soonest = {.wait_ns = UINT64_MAX};
	size_t n;

	for (n = from; n < i->chain_count; n++) {
		judge(i, &i->chain[n], &j);
		if (j.what == JUDGED_OPEN && j.wait_ns < soonest.wait_ns) {
			soonest = j;
			c = &i->chain[n];
		}
	}
	if (c) {
		refuse(i, c, &soonest);
		return;
	}
	if (i->chain_count == 0 &&
	    config_find_alias(i->session->engine->config, i->model)) {
		(void)text_escape_line(span_text(i->model), shown,
				       sizeof(shown));
		refuse_alias(i, shown);
		return;
	}
	c = from < i->chain_count ? &i->chain[from] : NULL;
	judge(i, c, &j);
	refuse(i, c, &j);
}

/* --- choosing ---------------------------------------------------------------
 */

static bool find_next(struct infer *i, size_t from, size_t *ret_at,
		      struct policy_decision *ret_decision)
{
	struct judgement j;
	size_t n;

	for (n = from; n < i->chain_count; n++) {
		judge(i, &i->chain[n], &j);
		/* Another model's count of these tokens would be a guess. */
		if (j.what == JUDGED_NO_WAY && provider_route_counts(i->route))
			return false;
		if (j.what != JUDGED_WELL)
			continue;
		*ret_at = n;
		*ret_decision = j.decision;
		return true;
	}
	return false;
}

/**
 * infer_route_next() - Find a candidate that can be asked now
 * @i:		Request
 * @from:	Index of the first to look at
 * @ret_at:	Written when true
 */
bool infer_route_next(struct infer *i, size_t from, size_t *ret_at)
{
	struct policy_decision d;

	return find_next(i, from, ret_at, &d);
}

/**
 * infer_route_begin() - Choose who is asked first
 * @i:			New request
 * @ret_decision:	For the first attempt; written when true
 *
 * Return: false when nobody can be: the client was told.
 */
bool infer_route_begin(struct infer *i, struct policy_decision *ret_decision)
{
	build_chain(i);
	if (find_next(i, 0, &i->at, ret_decision))
		return true;
	infer_route_refuse(i, 0);
	return false;
}

/**
 * infer_route_again() - Judge the present candidate anew, for its attempt
 * @i:			Request
 * @ret_decision:	Written when true
 *
 * Return: false when it may not be asked any more: the client was told.
 */
bool infer_route_again(struct infer *i, struct policy_decision *ret_decision)
{
	struct judgement j;

	judge(i, &i->chain[i->at], &j);
	*ret_decision = j.decision;
	if (j.what != JUDGED_WELL)
		refuse(i, &i->chain[i->at], &j);
	return j.what == JUDGED_WELL;
}

/** infer_wants_usage() - Whether the body shall ask for usage in the stream */
bool infer_wants_usage(const struct infer *i)
{
	const struct infer_candidate *c = infer_candidate(i);
	const struct config_provider *p =
		config_find_provider(i->session->engine->config, c->provider);

	return c->dialect == DIALECT_CHAT && i->stream && p &&
	       !p->no_stream_usage;
}

/** infer_as_it_is() - Whether the body that came can go on the wire */
bool infer_as_it_is(const struct infer *i)
{
	const struct infer_candidate *c = infer_candidate(i);

	if (i->route == ROUTE_MODELS)
		return true;
	if (c->dialect != i->dialect || c->route != i->route ||
	    strcmp(c->model, i->model) != 0)
		return false;
	return infer_wants_usage(i) ? i->asks_usage != USAGE_NOT_ASKED
				    : i->asks_usage != USAGE_ADDED;
}
