/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_index.c - find the rules that can match, without trying them all
 *
 * Runs in: kenazd.
 * Trusts:  the compiled rules.
 * Never:   lets the order of rules or files decide anything.
 *
 * Theory of operation: rules are sorted by id. For each target one field is
 * the key (the host, the tool's name ...). A rule whose patterns of that
 * field are all literal goes into a hash table under each of them, any other
 * rule into a list that is always tried. Hashes run from the last byte to the
 * first, so one pass over a host's name gives those of all its suffixes.
 * What matches is a set of bits, one a rule.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/core/policy_rule.h"

#define HASH_START 2166136261u
#define HASH_PRIME 16777619u

static const struct {
	bool hashed;
	enum policy_field_id field;
} index_keys[POLICY_TARGET_COUNT] = {
	[POLICY_INFERENCE] = {true, FIELD_MODEL},
	[POLICY_TOOL] = {true, FIELD_NAME},
	[POLICY_FEATURE] = {true, FIELD_NAME},
	[POLICY_EGRESS] = {true, FIELD_HOST},
	[POLICY_FILE] = {false, FIELD_PATH},
	[POLICY_SESSION] = {true, FIELD_IMAGE},
	[POLICY_CLIPBOARD] = {false, FIELD_USER},
	[POLICY_TERMINAL] = {true, FIELD_ACTION},
	[POLICY_VSOCK] = {false, FIELD_USER},
};

static uint32_t hash_byte(uint32_t hash, uint8_t c)
{
	c = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
	return (hash ^ c) * HASH_PRIME;
}

static uint32_t hash_text(struct span text)
{
	uint32_t hash = HASH_START;

	for (size_t i = text.len_bytes; i > 0; i--)
		hash = hash_byte(hash, text.data[i - 1]);
	return hash;
}

static int compare_rules(const void *a, const void *b)
{
	const struct policy_rule *one = a, *two = b;
	int order = strcmp(one->id, two->id);

	if (order)
		return order;
	return one->order < two->order ? -1 : one->order > two->order;
}

static bool is_literal(const struct policy_rule *rule,
		       const struct policy_index *index)
{
	const struct policy_patterns *patterns = &rule->of[index->field];

	if (!index->hashed || !(rule->fields & (1u << index->field)))
		return false;
	for (size_t i = 0; i < patterns->count; i++) {
		enum policy_op op = patterns->at[i].op;

		if (op != OP_EQUALS && op != OP_HOST && op != OP_SUFFIX)
			return false;
	}
	return true;
}

static void add_entries(struct policy_index *index,
			const struct policy_rule *rule, uint32_t number)
{
	const struct policy_patterns *patterns = &rule->of[index->field];

	for (size_t i = 0; i < patterns->count; i++) {
		uint32_t hash = hash_text(patterns->at[i].text);
		uint32_t *head = &index->heads[hash & index->mask];

		index->entries[index->entry_count] = (struct policy_entry){
			.hash = hash,
			.rule = number,
			.next = *head,
			.pattern = patterns->at[i],
		};
		*head = ++index->entry_count;
	}
}

static enum err build_target(struct policy *policy, enum policy_target target,
			     struct conf_error *error)
{
	struct policy_index *index = &policy->index[target];
	size_t literals = 0, others = 0, heads = 1;
	uint32_t i;

	index->hashed = index_keys[target].hashed;
	index->field = index_keys[target].field;
	for (i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];

		if (rule->target != target)
			continue;
		if (is_literal(rule, index))
			literals += rule->of[index->field].count;
		else
			others++;
	}
	while (heads < 2 * literals)
		heads *= 2;
	index->mask = (uint32_t)heads - 1;
	index->heads = policy_alloc(policy, heads, sizeof(uint32_t), error);
	index->entries =
		policy_alloc(policy, literals, sizeof(*index->entries), error);
	index->always = policy_alloc(policy, others, sizeof(uint32_t), error);
	if (!index->heads || !index->entries || !index->always)
		return error->status;
	for (i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];

		if (rule->target != target)
			continue;
		if (is_literal(rule, index))
			add_entries(index, rule, i);
		else
			index->always[index->always_count++] = i;
	}
	return ERR_OK;
}

/**
 * policy_index_build() - Sort the rules and build the tables
 * @policy:	Has all rules of all files
 * @error:	Receives two rules of one id, or lack of memory
 *
 * Return: ERR_OK; ERR_CONFIG.
 */
enum err policy_index_build(struct policy *policy, struct conf_error *error)
{
	enum err e = ERR_OK;

	if (policy->rule_count)
		qsort(policy->rules, policy->rule_count, sizeof(*policy->rules),
		      compare_rules);
	for (uint32_t i = 1; i < policy->rule_count; i++) {
		const struct policy_rule *one = &policy->rules[i - 1];
		const struct policy_rule *two = &policy->rules[i];

		if (strcmp(one->id, two->id) == 0)
			return conf_fail_at(error, NULL, 0,
					    "%s: the rule id %s is already "
					    "used at %s",
					    two->source, two->id, one->source);
	}
	for (int t = 0; e == ERR_OK && t < POLICY_TARGET_COUNT; t++)
		e = build_target(policy, (enum policy_target)t, error);
	return e;
}

struct finder {
	const struct policy *policy;
	const struct policy_request *request;
	uint64_t *matched;
	uint64_t *undecided;
};

static void try_rule(const struct finder *f, uint32_t number, uint32_t known)
{
	const struct policy_rule *rule = &f->policy->rules[number];
	uint64_t bit = UINT64_C(1) << (number % 64);
	enum policy_verdict verdict;

	if (f->matched[number / 64] & bit)
		return;
	verdict = policy_rule_matches(rule, f->request, known);
	if (verdict == VERDICT_NO ||
	    (verdict == VERDICT_UNDECIDABLE && rule->effect == POLICY_ALLOW))
		return;
	f->matched[number / 64] |= bit;
	if (verdict == VERDICT_UNDECIDABLE)
		f->undecided[number / 64] |= bit;
}

static void try_chain(const struct finder *f, const struct policy_index *index,
		      uint32_t hash, struct span text, bool suffix)
{
	uint32_t at = index->heads[hash & index->mask];

	while (at) {
		const struct policy_entry *entry = &index->entries[at - 1];

		if (entry->hash == hash &&
		    (entry->pattern.op == OP_SUFFIX) == suffix &&
		    policy_pattern_matches(&entry->pattern, text))
			try_rule(f, entry->rule, 1u << index->field);
		at = entry->next;
	}
}

static void try_host(const struct finder *f, const struct policy_index *index,
		     struct span host)
{
	uint32_t hash = HASH_START;

	for (size_t i = host.len_bytes; i > 0; i--) {
		hash = hash_byte(hash, host.data[i - 1]);
		if (i > 1 && host.data[i - 2] == '.')
			try_chain(f, index, hash, host, true);
	}
	try_chain(f, index, hash, host, false);
}

/**
 * policy_index_find() - Find every rule that matches
 * @policy:	Indexed policy
 * @request:	Its host must be trimmed
 * @matched:	Zeroed bits, one a rule; set for those that match
 * @undecided:	Zeroed bits; set for those that match for want of a decision
 */
void policy_index_find(const struct policy *policy,
		       const struct policy_request *request, uint64_t *matched,
		       uint64_t *undecided)
{
	const struct policy_index *index = &policy->index[request->target];
	const struct finder f = {policy, request, matched, undecided};
	struct span key;

	for (uint32_t i = 0; i < index->always_count; i++)
		try_rule(&f, index->always[i], 0);
	if (index->entry_count == 0)
		return;
	key = policy_request_field(request, index->field);
	if (policy_fields[index->field].host)
		try_host(&f, index, key);
	else
		try_chain(&f, index, hash_text(key), key, false);
}
