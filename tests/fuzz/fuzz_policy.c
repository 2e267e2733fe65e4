/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_policy.c - any policy file, any request, and what must always hold
 *
 * Runs in: make fuzz.
 * Trusts:  nothing.
 * Never:   accepts a decision without a rule, a reason and a source.
 *
 * The input is a target's name and NAME=VALUE fields, one a line, an empty
 * line, and a policy file. A policy that does not load is replaced by one
 * with every kind of condition.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/policy_explain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static const char fixed_rules[] =
	"[[rule]]\nid = \"a\"\neffect = \"allow\"\ntarget = \"egress\"\n"
	"host = [\"a.example\", \"*.b.example\", \"::1\"]\nport = [1, 443]\n"
	"allow_private = true\n"
	"[[rule]]\nid = \"b\"\neffect = \"deny\"\ntarget = \"egress\"\n"
	"host = \"*.c.b.example\"\n"
	"[[rule]]\nid = \"c\"\neffect = \"deny\"\ntarget = \"tool\"\n"
	"name = [\"write\", \"ed*\"]\n"
	"args = [{ name = \"path\", under = [\"/etc\", \"/\"] },\n"
	"{ name = \"x\", glob = \"*a*b?c*\" }]\n"
	"[[rule]]\nid = \"d\"\neffect = \"ask\"\ntarget = \"file\"\n"
	"path = [\"/data\", \"/a*/b\"]\ndirection = \"in\"\n"
	"[[rule]]\nid = \"e\"\neffect = \"deny\"\ntarget = \"inference\"\n"
	"model = \"*opus*\"\nuser = \"ann\"\nroute = \"messages\"\n";

static const char deny_all[] =
	"[[rule]]\nid = \"zz\"\neffect = \"deny\"\ntarget = \"egress\"\n"
	"[[rule]]\nid = \"zy\"\neffect = \"deny\"\ntarget = \"tool\"\n"
	"[[rule]]\nid = \"zx\"\neffect = \"deny\"\ntarget = \"inference\"\n"
	"[[rule]]\nid = \"zw\"\neffect = \"deny\"\ntarget = \"feature\"\n"
	"[[rule]]\nid = \"zv\"\neffect = \"deny\"\ntarget = \"file\"\n"
	"[[rule]]\nid = \"zu\"\neffect = \"deny\"\ntarget = \"session\"\n"
	"[[rule]]\nid = \"zt\"\neffect = \"deny\"\ntarget = \"clipboard\"\n"
	"[[rule]]\nid = \"zs\"\neffect = \"deny\"\ntarget = \"terminal\"\n";

static struct policy *parse(struct span text, bool tightened)
{
	const struct policy_text texts[] = {{"f.toml", text, false},
					    {"own.toml", span_text(deny_all),
					     true}};
	struct policy *policy = NULL;
	struct conf_error error;

	conf_error_init(&error);
	if (policy_parse(texts, tightened ? 2 : 1, &error, &policy) == ERR_OK)
		return policy;
	assert(error.text[0]);
	return NULL;
}

static struct span take_line(struct span *text)
{
	const uint8_t *end = memchr(text->data, '\n', text->len_bytes);
	size_t len = end ? (size_t)(end - text->data) : text->len_bytes;
	struct span line = span_of(text->data, len);

	text->data += end ? len + 1 : len;
	text->len_bytes -= end ? len + 1 : len;
	return line;
}

static bool take_question(struct span *text, struct policy_question *question)
{
	struct policy_field fields[POLICY_EXPLAIN_FIELDS_MAX];
	struct span target = take_line(text);
	struct conf_error error;
	size_t count = 0;

	while (text->len_bytes) {
		struct span line = take_line(text);
		const uint8_t *equals;

		if (line.len_bytes == 0)
			break;
		equals = memchr(line.data, '=', line.len_bytes);
		if (!equals || count == POLICY_EXPLAIN_FIELDS_MAX)
			continue;
		fields[count].name =
			span_of(line.data, (size_t)(equals - line.data));
		fields[count++].value =
			span_of(equals + 1,
				line.len_bytes -
					(size_t)(equals + 1 - line.data));
	}
	conf_error_init(&error);
	return policy_question_parse(target, fields, count, &error, question) ==
	       ERR_OK;
}

static void check(const struct policy *policy, const struct policy *tight,
		  const struct policy_request *request)
{
	struct policy_decision d, less;
	struct jsonw json;
	struct buf out;

	policy_evaluate(policy, request, &d);
	assert(d.rule && d.reason && d.source && d.matched_count > 0);
	assert(d.listed_count <= POLICY_MATCHED_MAX);
	if (request->target == POLICY_EGRESS && d.effect != POLICY_DENY)
		assert(!d.by_default);
	if (d.effect == POLICY_ALLOW)
		assert(!d.by_error);
	buf_init(&out, 1u << 20);
	jsonw_init(&json, &out);
	policy_explain_json(policy, request, &json);
	assert(jsonw_finish(&json) == ERR_OK);
	buf_fini(&out);
	if (!tight)
		return;
	policy_evaluate(tight, request, &less);
	assert(less.effect == POLICY_DENY && !less.allow_private);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct span text = span_of(data, len_bytes);
	struct policy_question question;
	struct policy *policy, *tight;

	if (len_bytes == 0 || !take_question(&text, &question))
		return 0;
	policy = parse(text, false);
	if (!policy) {
		text = span_text(fixed_rules);
		policy = parse(text, false);
	}
	assert(policy);
	tight = parse(text, true);
	check(policy, tight, &question.request);
	policy_free(tight);
	policy_free(policy);
	return 0;
}

/* sources: engine/core/policy.c engine/core/policy_explain.c */
/* sources: engine/core/policy_index.c engine/core/policy_match.c */
/* sources: engine/core/policy_memory.c engine/core/policy_read.c */
/* sources: engine/core/policy_test.c engine/core/policy_build.c */
/* sources: engine/core/budget.c */
/* sources: engine/base/conf.cc engine/base/conf_get.c engine/base/buf.c */
/* sources: engine/base/text.c engine/base/err.c engine/base/digest.c */
/* sources: engine/base/jsonw.c */
