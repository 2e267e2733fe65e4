/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.c - what is allowed: the enforcing function
 *
 * Runs in: kenazd.
 * Trusts:  the compiled policy; every text of a request may be hostile.
 * Never:   allocates or fails in policy_evaluate(), depends on the order of
 *	    rules, lets a layer that may only tighten allow anything.
 *
 * Theory of operation: there are two layers. The base layer is the policy of
 * who runs the engine; its answer is the strictest effect of its rules that
 * match (deny over ask over allow), or its default when none does. The own
 * layer is a user's; its answer counts only where it is stricter. Defaults
 * are built in and can only be tightened. A request for a provider that is
 * not configured is denied whatever the rules say.
 */
#include "engine/core/policy.h"

#include <string.h>

#include "engine/core/policy_rule.h"

#define BUILT_IN "built-in"

const char *const policy_effect_names[] = {"allow", "ask", "deny", NULL};
const char *const policy_direction_names[] = {"in", "out", NULL};
const char *const policy_target_names[] = {"inference", "tool",     "feature",
					   "egress",    "file",     "session",
					   "clipboard", "terminal", "vsock",
					   NULL};

const struct policy_default policy_defaults[SLOT_COUNT] = {
	[SLOT_INFERENCE] = {"inference", "default.inference", POLICY_ALLOW,
			    "configured providers are allowed"},
	[SLOT_TOOL] = {"tool", "default.tool", POLICY_ALLOW,
		       "tools run inside the VM and are allowed"},
	[SLOT_FEATURE] = {"feature", "default.feature", POLICY_DENY,
			  "effects on the provider's side are denied unless "
			  "a rule allows them"},
	[SLOT_EGRESS] = {"egress", "default.egress", POLICY_DENY,
			 "network connections are denied unless a rule "
			 "allows the host"},
	[SLOT_FILE_IN] = {"file_in", "default.file.in", POLICY_ALLOW,
			  "files may be put into the VM"},
	[SLOT_FILE_OUT] = {"file_out", "default.file.out", POLICY_ASK,
			   "files leave the VM after review"},
	[SLOT_SESSION] = {"session", "default.session", POLICY_ALLOW,
			  "sessions may be started"},
	[SLOT_CLIPBOARD] = {"clipboard", "default.clipboard", POLICY_DENY,
			    "the clipboard is denied unless a rule allows "
			    "it"},
	[SLOT_TERMINAL] = {"terminal", "default.terminal", POLICY_DENY,
			   "writes to the user's terminal are denied unless "
			   "a rule allows them"},
	[SLOT_VSOCK] = {"vsock", "default.vsock", POLICY_DENY,
			"connections to ports of the VM are denied unless a "
			"rule allows the port"},
};

static const struct policy_default provider_floor = {
	NULL, "default.inference.unknown", POLICY_DENY,
	"this provider is not configured"};

/** policy_slot_of() - The default that belongs to a request */
enum policy_slot policy_slot_of(const struct policy_request *request)
{
	static const enum policy_slot slots[POLICY_TARGET_COUNT] = {
		[POLICY_INFERENCE] = SLOT_INFERENCE,
		[POLICY_TOOL] = SLOT_TOOL,
		[POLICY_FEATURE] = SLOT_FEATURE,
		[POLICY_EGRESS] = SLOT_EGRESS,
		[POLICY_FILE] = SLOT_FILE_OUT,
		[POLICY_SESSION] = SLOT_SESSION,
		[POLICY_CLIPBOARD] = SLOT_CLIPBOARD,
		[POLICY_TERMINAL] = SLOT_TERMINAL,
		[POLICY_VSOCK] = SLOT_VSOCK,
	};

	if (request->target == POLICY_FILE && request->direction == POLICY_IN)
		return SLOT_FILE_IN;
	return slots[request->target];
}

/* What the matching rules of one layer say together. */
struct layer_answer {
	bool any;
	enum policy_effect effect;
	bool allow_private;
};

static void add_rule(struct layer_answer *answer,
		     const struct policy_rule *rule)
{
	if (!answer->any || rule->effect > answer->effect) {
		answer->effect = rule->effect;
		answer->allow_private = false;
	}
	if (rule->effect == answer->effect && rule->allow_private)
		answer->allow_private = true;
	answer->any = true;
}

static void list_rule(struct policy_decision *decision, const char *id)
{
	if (decision->listed_count < POLICY_MATCHED_MAX)
		decision->matched[decision->listed_count++] = id;
	decision->matched_count++;
}

static void win_default(struct policy_decision *decision,
			const struct policy_default *one,
			const struct policy_override *set)
{
	decision->effect = set && set->source ? set->effect : one->effect;
	decision->rule = one->id;
	decision->reason = set && set->source ? set->reason : one->reason;
	decision->source = set && set->source ? set->source : BUILT_IN;
	decision->by_default = true;
	decision->by_error = false;
	decision->allow_private = false;
}

/* Rules are sorted by id, so which of several equals wins is no accident. */
static void win_rule(const struct policy *policy, const uint64_t *matched,
		     const uint64_t *undecided, enum policy_effect effect,
		     bool own, struct policy_decision *decision)
{
	for (uint32_t i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		uint64_t bit = UINT64_C(1) << (i % 64);

		if (matched[i / 64] == 0) {
			i |= 63;
			continue;
		}
		if (!(matched[i / 64] & bit) || rule->effect != effect ||
		    rule->own != own)
			continue;
		decision->effect = effect;
		decision->rule = rule->id;
		decision->reason = rule->reason;
		decision->source = rule->source;
		decision->by_default = false;
		decision->by_error = (undecided[i / 64] & bit) != 0;
		return;
	}
}

static void collect(const struct policy *policy, uint64_t *matched,
		    bool with_own, struct layer_answer answers[LAYER_COUNT],
		    struct policy_decision *decision)
{
	for (uint32_t w = 0; w * 64 < policy->rule_count; w++) {
		uint64_t bits;

		for (bits = matched[w]; bits; bits &= bits - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);
			const struct policy_rule *rule = &policy->rules[i];

			if (rule->own && !with_own) {
				matched[w] &= ~(bits & -bits);
				continue;
			}
			list_rule(decision, rule->id);
			add_rule(&answers[rule->own ? LAYER_OWN : LAYER_BASE],
				 rule);
		}
	}
}

static void decide(const struct policy *policy, enum policy_slot slot,
		   bool with_own, const uint64_t *matched,
		   const uint64_t *undecided,
		   const struct layer_answer answers[LAYER_COUNT],
		   struct policy_decision *decision)
{
	const struct policy_default *one = &policy_defaults[slot];
	const struct policy_override *own = &policy->defaults[LAYER_OWN][slot];
	const struct layer_answer *base = &answers[LAYER_BASE];
	const struct layer_answer *mine = &answers[LAYER_OWN];

	if (base->any)
		win_rule(policy, matched, undecided, base->effect, false,
			 decision);
	else
		win_default(decision, one, &policy->defaults[LAYER_BASE][slot]);
	if (mine->any && mine->effect > decision->effect)
		win_rule(policy, matched, undecided, mine->effect, true,
			 decision);
	else if (!mine->any && with_own && own->source &&
		 own->effect > decision->effect)
		win_default(decision, one, own);
	decision->allow_private = decision->effect != POLICY_DENY &&
				  base->allow_private &&
				  (!mine->any || mine->allow_private);
}

/**
 * policy_evaluate_layers() - Decide, with or without the own layer
 * @policy:		Policy
 * @request:		Request
 * @with_own:		Whether rules that only tighten take part
 * @ret_decision:	Always written
 */
void policy_evaluate_layers(const struct policy *policy,
			    const struct policy_request *request, bool with_own,
			    struct policy_decision *ret_decision)
{
	struct layer_answer answers[LAYER_COUNT] = {0};
	struct policy_request asked = *request;
	uint64_t matched[POLICY_WORDS_MAX] __attribute__((uninitialized));
	uint64_t undecided[POLICY_WORDS_MAX] __attribute__((uninitialized));
	size_t words = ((size_t)policy->rule_count + 63) / 64;

	memset(matched, 0, words * sizeof(*matched));
	memset(undecided, 0, words * sizeof(*undecided));
	ret_decision->matched_count = 0;
	ret_decision->listed_count = 0;
	asked.host = policy_host_trim(asked.host);
	policy_index_find(policy, &asked, matched, undecided);
	collect(policy, matched, with_own, answers, ret_decision);
	decide(policy, policy_slot_of(request), with_own, matched, undecided,
	       answers, ret_decision);
	if (request->target == POLICY_INFERENCE && request->provider_unknown)
		win_default(ret_decision, &provider_floor, NULL);
	if (ret_decision->by_default)
		list_rule(ret_decision, ret_decision->rule);
}

/**
 * policy_evaluate() - Decide on one request
 * @policy:		Policy
 * @request:		Request; its texts may hold any bytes
 * @ret_decision:	Always written; its texts belong to the policy
 *
 * Pure: the same policy and request give the same decision.
 */
void policy_evaluate(const struct policy *policy,
		     const struct policy_request *request,
		     struct policy_decision *ret_decision)
{
	policy_evaluate_layers(policy, request, true, ret_decision);
}

/* --- what a policy is made of --------------------------------------------- */

/** policy_digest() - SHA-256 of defaults and files, in hex */
const char *policy_digest(const struct policy *policy)
{
	return policy->digest;
}

/** policy_budgets() - The limits of all files, the tightest of each */
const struct budget_limits *policy_budgets(const struct policy *policy)
{
	return &policy->budgets;
}

/** policy_file_count() - How many files there were */
size_t policy_file_count(const struct policy *policy)
{
	return policy->tree_count;
}

/** policy_file_at() - The name of a file */
const char *policy_file_at(const struct policy *policy, size_t index)
{
	return conf_file(conf_root(policy->trees[index]));
}

/** policy_rule_count() - How many rules all files have */
size_t policy_rule_count(const struct policy *policy)
{
	return policy->rule_count;
}

/**
 * policy_may_allow() - Whether some rule of the base layer does not deny
 * @policy:	Policy
 * @target:	Target, whose default is a deny
 *
 * For what is not even offered while no request could be allowed.
 */
bool policy_may_allow(const struct policy *policy, enum policy_target target)
{
	for (uint32_t i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];

		if (rule->target == target && !rule->own &&
		    rule->effect != POLICY_DENY)
			return true;
	}
	return false;
}

/** policy_port_max() - Greatest port of a target; 0 when it has none */
uint32_t policy_port_max(enum policy_target target)
{
	if (target == POLICY_EGRESS)
		return POLICY_PORT_MAX;
	return target == POLICY_VSOCK ? POLICY_VSOCK_PORT_MAX : 0;
}

/** policy_test_count() - How many tests ran and passed */
size_t policy_test_count(const struct policy *policy)
{
	return policy->test_count;
}

/** policy_warning_count() - How many rules look like mistakes */
size_t policy_warning_count(const struct policy *policy)
{
	return policy->warning_count;
}

/** policy_warning_at() - One sentence with files and lines */
const char *policy_warning_at(const struct policy *policy, size_t index)
{
	return policy->warnings[index];
}

/** policy_effect_text() - "allow", "ask" or "deny" */
const char *policy_effect_text(enum policy_effect effect)
{
	return policy_effect_names[effect];
}

/** policy_target_text() - A target as files write it */
const char *policy_target_text(enum policy_target target)
{
	return policy_target_names[target];
}

/**
 * policy_target_parse() - A target from what a person wrote
 * @text:	Borrowed
 * @ret_target:	Written on success
 *
 * Return: ERR_OK; ERR_NOT_FOUND.
 */
enum err policy_target_parse(struct span text, enum policy_target *ret_target)
{
	for (int t = 0; t < POLICY_TARGET_COUNT; t++) {
		if (!span_is(text, policy_target_names[t]))
			continue;
		*ret_target = (enum policy_target)t;
		return ERR_OK;
	}
	return ERR_NOT_FOUND;
}
