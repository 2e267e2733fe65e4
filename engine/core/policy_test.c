/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_test.c - the [[test]] entries of policy files
 *
 * Runs in: kenazd, whenever a policy is loaded.
 * Trusts:  the owner of the file for intent, not for form.
 * Never:   decides by any other function than the enforcing one.
 *
 * Tests of the base layer see the base layer alone, so that nobody's own
 * rules can make the engine's policy fail to load.
 */
#include <string.h>

#include "engine/core/policy_rule.h"

struct reading {
	struct policy *policy;
	struct conf_node *table;
	struct conf_error *error;
};

static void put_field(struct policy_request *request,
		      enum policy_field_id field, const char *text)
{
	struct span span = span_text(text);

	memcpy((uint8_t *)request + policy_fields[field].offset, &span,
	       sizeof(span));
}

static void read_test_args(const struct reading *r,
			   struct policy_request *request)
{
	struct conf_node *table = conf_get_table(r->table, "args", r->error);
	struct policy_arg *args;

	if (!table)
		return;
	if (conf_count(table) > POLICY_ARGS_MAX) {
		(void)conf_fail(r->error, table, "more than %u arguments",
				POLICY_ARGS_MAX);
		return;
	}
	args = policy_alloc(r->policy, conf_count(table), sizeof(*args),
			    r->error);
	if (!args)
		return;
	for (size_t i = 0; i < conf_count(table); i++) {
		struct conf_node *one = conf_at(table, i);
		bool text = conf_kind(one) == CONF_TEXT;

		args[i].key = span_text(conf_key(one));
		args[i].state = text ? POLICY_ARG_WHOLE : POLICY_ARG_OPAQUE;
		if (text)
			args[i].value = span_text(conf_value_text(one));
		if (conf_kind(one) == CONF_TABLE)
			(void)conf_fail(r->error, one,
					"arguments are texts; write a list "
					"for one that is not");
	}
	request->args = args;
	request->arg_count = conf_count(table);
}

static void read_request(const struct reading *r,
			 struct policy_request *request)
{
	for (int f = 0; f < FIELD_COUNT; f++) {
		const char *text;

		if (!(policy_fields[f].targets & (1u << request->target)))
			continue;
		text = conf_get_text(r->table, policy_fields[f].key, NULL,
				     r->error);
		if (text)
			put_field(request, (enum policy_field_id)f, text);
	}
	if (request->target == POLICY_TOOL)
		read_test_args(r, request);
	if (request->target == POLICY_INFERENCE)
		request->provider_unknown =
			!conf_get_boolean(r->table, "configured", true,
					  r->error);
	if (policy_port_max(request->target))
		request->port = (uint32_t)conf_get_integer(
			r->table, "port", 1, policy_port_max(request->target),
			443, r->error);
	if (request->target == POLICY_FILE ||
	    request->target == POLICY_CLIPBOARD)
		request->direction = (enum policy_direction)(
			POLICY_IN + conf_get_choice(r->table, "direction",
						    policy_direction_names, -1,
						    r->error));
}

static void read_test(const struct reading *r, bool own)
{
	struct policy_test *test = &r->policy->tests[r->policy->test_count];
	int target = conf_get_choice(r->table, "target", policy_target_names,
				     -1, r->error);
	int expect = conf_get_choice(r->table, "expect", policy_effect_names,
				     -1, r->error);

	if (r->error->status != ERR_OK)
		return;
	if (target < 0 || expect < 0) {
		(void)conf_fail(r->error, r->table, "this test has no %s",
				target < 0 ? "target" : "expect");
		return;
	}
	test->request.target = (enum policy_target)target;
	test->expect = (enum policy_effect)expect;
	test->rule = conf_get_text(r->table, "rule", NULL, r->error);
	test->file = conf_file(r->table);
	test->line = conf_line(r->table);
	test->own = own;
	read_request(r, &test->request);
	r->policy->test_count++;
}

/**
 * policy_read_tests() - Read every [[test]] of a file
 * @policy:	Being built; has room for its tests
 * @root:	The file
 * @own:	Whether it is of the layer that only tightens
 * @error:	Receives one sentence with file and line
 *
 * Return: ERR_OK; ERR_CONFIG; ERR_MEMORY.
 */
enum err policy_read_tests(struct policy *policy, struct conf_node *root,
			   bool own, struct conf_error *error)
{
	struct reading r = {policy, NULL, error};
	struct conf_node *tests =
		conf_get_array(root, "test", CONF_TABLE, error);

	for (size_t i = 0; tests && i < conf_count(tests); i++) {
		r.table = conf_at(tests, i);
		read_test(&r, own);
		if (error->status != ERR_OK)
			break;
	}
	return error->status;
}

/**
 * policy_run_tests() - Ask every test's question
 * @policy:	Indexed policy
 * @error:	Receives the first test that fails, and the rule that decided
 *
 * Return: ERR_OK; ERR_CONFIG.
 */
enum err policy_run_tests(const struct policy *policy, struct conf_error *error)
{
	struct policy_decision d;

	for (uint32_t i = 0; i < policy->test_count; i++) {
		const struct policy_test *test = &policy->tests[i];

		policy_evaluate_layers(policy, &test->request, test->own, &d);
		if (d.effect != test->expect)
			return conf_fail_at(error, test->file, test->line,
					    "this test expects %s, but rule %s "
					    "(%s) says %s",
					    policy_effect_names[test->expect],
					    d.rule, d.source,
					    policy_effect_names[d.effect]);
		if (test->rule && strcmp(test->rule, d.rule) != 0)
			return conf_fail_at(error, test->file, test->line,
					    "this test expects rule %s to "
					    "decide, but rule %s (%s) does",
					    test->rule, d.rule, d.source);
	}
	return ERR_OK;
}
