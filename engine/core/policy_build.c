/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_build.c - a policy from texts: read, index, digest, test, lint
 *
 * Runs in: kenazd.
 * Trusts:  the owner of a file for intent, not for form.
 * Never:   hands out a policy whose tests fail.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/core/policy_rule.h"

#define LINT_WORK_MAX UINT64_C(50000000) /* pairs of values */

static void hash_number(struct digest *digest, uint64_t number)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(number >> (8 * i));
	digest_update(digest, span_of(bytes, sizeof(bytes)));
}

static void hash_text(struct digest *digest, struct span text)
{
	hash_number(digest, text.len_bytes);
	digest_update(digest, text);
}

/* Folders are left out: the same files mean the same policy anywhere. */
static struct span base_name(const char *file)
{
	const char *slash = strrchr(file, '/');

	return span_text(slash ? slash + 1 : file);
}

static enum err set_digest(struct policy *policy,
			   const struct policy_text *texts, size_t count)
{
	struct digest *digest;
	uint8_t sum[DIGEST_BYTES];
	enum err e = digest_new(&digest);

	if (e != ERR_OK)
		return e;
	hash_text(digest, span_text("kenaz policy 1"));
	for (int s = 0; s < SLOT_COUNT; s++) {
		hash_text(digest, span_text(policy_defaults[s].id));
		hash_number(digest, policy_defaults[s].effect);
	}
	for (size_t i = 0; i < count; i++) {
		hash_number(digest, texts[i].own);
		hash_text(digest, base_name(texts[i].file));
		hash_text(digest, texts[i].text);
	}
	digest_finish(digest, sum);
	digest_free(digest);
	text_hex(sum, sizeof(sum), policy->digest);
	return ERR_OK;
}

static size_t count_of(struct conf_node *root, const char *key)
{
	const struct conf_node *list = conf_find(root, key);

	return list && conf_kind(list) == CONF_ARRAY ? conf_count(list) : 0;
}

/* Parses every file and makes room for what they hold. */
static enum err parse_texts(struct policy *policy,
			    const struct policy_text *texts, size_t count,
			    struct conf_error *error)
{
	size_t rules = 0, tests = 0;
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		struct conf_node *root;

		e = conf_parse(texts[i].text, texts[i].file, error,
			       &policy->trees[i]);
		if (e != ERR_OK)
			break;
		policy->tree_count = i + 1;
		root = conf_root(policy->trees[i]);
		rules += count_of(root, "rule");
		tests += count_of(root, "test");
	}
	if (e == ERR_OK &&
	    (rules > POLICY_RULES_MAX || tests > POLICY_TESTS_MAX))
		e = conf_fail_at(error, NULL, 0,
				 "the policy has %zu rules and %zu tests; at "
				 "most %u and %u are possible",
				 rules, tests, POLICY_RULES_MAX,
				 POLICY_TESTS_MAX);
	if (e != ERR_OK)
		return e;
	policy->rules =
		policy_alloc(policy, rules, sizeof(*policy->rules), error);
	policy->tests =
		policy_alloc(policy, tests, sizeof(*policy->tests), error);
	return error->status;
}

static enum err read_tree(struct policy *policy, struct conf *tree, bool own,
			  struct conf_error *error)
{
	enum err e = policy_read_file(policy, conf_root(tree), own, error);

	if (e == ERR_OK)
		e = policy_read_tests(policy, conf_root(tree), own, error);
	if (e == ERR_OK)
		e = conf_check_unread(tree, error);
	return e;
}

static void warn(struct policy *policy, struct conf_error *error,
		 const struct policy_rule *narrow,
		 const struct policy_rule *wide)
{
	bool never = wide->effect > narrow->effect;

	if (policy->warning_count == POLICY_WARNINGS_MAX)
		return;
	policy->warnings[policy->warning_count++] = policy_text_format(
		policy, error, "%s: rule %s %s: rule %s (%s) %s",
		narrow->source, narrow->id,
		never ? "never decides" : "changes nothing", wide->id,
		wide->source,
		never ? "is stricter and matches whenever it does"
		      : "says the same of all that it matches");
}

/* Work of comparing two rules, so that a huge policy is not linted for long. */
static uint64_t lint_work(const struct policy_rule *a,
			  const struct policy_rule *b)
{
	uint64_t work =
		1 + a->port_count * b->port_count + a->arg_count * b->arg_count;

	for (int f = 0; f < FIELD_COUNT; f++)
		work += a->of[f].count * b->of[f].count;
	for (size_t i = 0; i < a->arg_count; i++)
		for (size_t k = 0; k < b->arg_count; k++)
			work += a->args[i].values.count *
				b->args[k].values.count;
	return work;
}

/* Of two rules that say the same, the one that sorts later is named. */
static void lint_rule(struct policy *policy, uint32_t n, uint64_t *work,
		      struct conf_error *error)
{
	const struct policy_rule *narrow = &policy->rules[n];

	for (uint32_t w = 0; w < policy->rule_count; w++) {
		const struct policy_rule *wide = &policy->rules[w];

		if (w == n || wide->own != narrow->own ||
		    wide->target != narrow->target ||
		    wide->effect < narrow->effect)
			continue;
		*work += lint_work(wide, narrow);
		if (*work > LINT_WORK_MAX)
			return;
		if (!policy_rule_covers(wide, narrow))
			continue;
		if (wide->effect == narrow->effect &&
		    (wide->allow_private != narrow->allow_private ||
		     (w > n && policy_rule_covers(narrow, wide))))
			continue;
		warn(policy, error, narrow, wide);
		return;
	}
}

static void lint(struct policy *policy, struct conf_error *error)
{
	uint64_t work = 0;

	for (uint32_t n = 0; n < policy->rule_count; n++)
		lint_rule(policy, n, &work, error);
	if (work > LINT_WORK_MAX && policy->warning_count < POLICY_WARNINGS_MAX)
		policy->warnings[policy->warning_count++] =
			"the policy is too large to compare all of its rules";
}

/**
 * policy_parse() - Build a policy from texts
 * @texts:	Files in the order in which they are named; borrowed
 * @count:	How many; none gives the built-in defaults
 * @error:	Receives one sentence with file and line
 * @ret_policy:	The policy; free with policy_free()
 *
 * A policy whose tests fail is refused.
 *
 * Return: ERR_OK; ERR_CONFIG; ERR_MEMORY; ERR_CRYPTO.
 */
enum err policy_parse(const struct policy_text *texts, size_t count,
		      struct conf_error *error, struct policy **ret_policy)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	enum err e = policy ? error->status : ERR_MEMORY;

	if (e != ERR_OK)
		goto out;
	budget_limits_init(&policy->budgets);
	if (count > ARRAY_SIZE(policy->trees)) {
		e = conf_fail_at(error, NULL, 0, "more than %zu policy files",
				 ARRAY_SIZE(policy->trees));
		goto out;
	}
	e = parse_texts(policy, texts, count, error);
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = read_tree(policy, policy->trees[i], texts[i].own, error);
	if (e == ERR_OK)
		e = policy_index_build(policy, error);
	if (e == ERR_OK)
		e = set_digest(policy, texts, count);
	if (e == ERR_OK)
		e = policy_run_tests(policy, error);
	if (e == ERR_OK)
		lint(policy, error);
	if (e != ERR_OK)
		goto out;
	*ret_policy = policy;
	policy = NULL;
out:
	if (e != ERR_OK)
		(void)conf_fail_at(error, NULL, 0, "the policy: %s",
				   err_text(e));
	policy_free(policy);
	return e;
}

/** policy_free() - Release a policy; NULL is accepted */
void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	for (size_t i = 0; i < policy->tree_count; i++)
		conf_free(policy->trees[i]);
	policy_free_blocks(policy);
	free(policy);
}
