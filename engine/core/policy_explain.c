/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_explain.c - decisions, rules and defaults as text and JSON
 *
 * Runs in: kenazd.
 * Trusts:  nothing that a request holds; it is escaped.
 * Never:   decides anything itself: it calls policy_evaluate().
 */
#include "engine/core/policy_explain.h"

#include <string.h>

#include "engine/base/text.h"
#include "engine/core/policy_rule.h"

#define SHOWN_MAX_BYTES 256u
#define LINE_MAX_BYTES  4096u

/* --- questions ------------------------------------------------------------ */

static enum err fail_field(struct conf_error *error, enum policy_target target,
			   struct span name)
{
	char list[CONF_LIST_BYTES] = "";
	char shown[SHOWN_MAX_BYTES];

	for (int f = 0; f < FIELD_COUNT; f++)
		if (policy_fields[f].targets & (1u << target))
			conf_list_word(list, policy_fields[f].key);
	if (target == POLICY_TOOL)
		conf_list_word(list, "arg.NAME");
	if (policy_port_max(target))
		conf_list_word(list, "port");
	if (target == POLICY_FILE || target == POLICY_CLIPBOARD)
		conf_list_word(list, "direction");
	(void)text_escape_line(name, shown, sizeof(shown));
	return conf_fail_at(error, NULL, 0, "%s has no field %.64s; it has %s",
			    policy_target_names[target], shown, list);
}

static enum err add_arg(struct policy_question *question, struct span name,
			struct span value, struct conf_error *error)
{
	struct policy_arg *arg;

	if (question->request.arg_count == POLICY_ARGS_MAX)
		return conf_fail_at(error, NULL, 0, "more than %u arguments",
				    POLICY_ARGS_MAX);
	arg = &question->args[question->request.arg_count++];
	arg->key = name;
	arg->value = value;
	arg->state = POLICY_ARG_WHOLE;
	if (value.len_bytes > POLICY_ARG_MAX_BYTES) {
		arg->value.len_bytes = POLICY_ARG_MAX_BYTES;
		arg->state = POLICY_ARG_CUT;
	}
	return ERR_OK;
}

static enum err set_direction(struct policy_request *request, struct span value,
			      struct conf_error *error)
{
	if (span_is(value, "in"))
		request->direction = POLICY_IN;
	else if (span_is(value, "out"))
		request->direction = POLICY_OUT;
	else
		return conf_fail_at(error, NULL, 0,
				    "direction must be one of in, out");
	return ERR_OK;
}

static enum err set_port(struct policy_request *request, struct span value,
			 struct conf_error *error)
{
	uint32_t max = policy_port_max(request->target);
	uint64_t port;

	if (text_parse_u64(value, 1, max, &port) != ERR_OK)
		return conf_fail_at(error, NULL, 0, "port must be from 1 to %u",
				    max);
	request->port = (uint32_t)port;
	return ERR_OK;
}

static enum err set_field(struct policy_question *question,
			  const struct policy_field *field,
			  struct conf_error *error)
{
	struct policy_request *request = &question->request;
	enum policy_target target = request->target;
	struct span name = field->name;

	for (int f = 0; f < FIELD_COUNT; f++) {
		if (!(policy_fields[f].targets & (1u << target)) ||
		    !span_is(name, policy_fields[f].key))
			continue;
		memcpy((uint8_t *)request + policy_fields[f].offset,
		       &field->value, sizeof(field->value));
		return ERR_OK;
	}
	if (target == POLICY_TOOL && name.len_bytes > 4 &&
	    memcmp(name.data, "arg.", 4) == 0)
		return add_arg(question,
			       span_of(name.data + 4, name.len_bytes - 4),
			       field->value, error);
	if (policy_port_max(target) && span_is(name, "port"))
		return set_port(request, field->value, error);
	if ((target == POLICY_FILE || target == POLICY_CLIPBOARD) &&
	    span_is(name, "direction"))
		return set_direction(request, field->value, error);
	return fail_field(error, target, name);
}

/**
 * policy_question_parse() - Build a request from what a person typed
 * @target:		Target's name
 * @fields:		Names as in a [[test]]; a tool's argument is arg.NAME
 * @count:		How many
 * @error:		Receives one sentence with the valid choices
 * @ret_question:	Written; borrows the spans of @fields. Egress goes to
 *			port 443 when no port is given. Whether a provider is
 *			configured is for the caller to fill in
 *
 * Return: ERR_OK; ERR_CONFIG with the sentence.
 */
enum err policy_question_parse(struct span target,
			       const struct policy_field *fields, size_t count,
			       struct conf_error *error,
			       struct policy_question *ret_question)
{
	char list[CONF_LIST_BYTES] = "";
	char shown[SHOWN_MAX_BYTES];
	enum err e = ERR_OK;

	memset(ret_question, 0, sizeof(*ret_question));
	if (policy_target_parse(target, &ret_question->request.target) !=
	    ERR_OK) {
		for (int t = 0; t < POLICY_TARGET_COUNT; t++)
			conf_list_word(list, policy_target_names[t]);
		(void)text_escape_line(target, shown, sizeof(shown));
		return conf_fail_at(error, NULL, 0,
				    "there is no target %.64s; choose one of "
				    "%s",
				    shown, list);
	}
	ret_question->request.args = ret_question->args;
	ret_question->request.port = 443;
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = set_field(ret_question, &fields[i], error);
	return e;
}

/* --- answers -------------------------------------------------------------- */

static enum err put_line(struct buf *out, const char *label, const char *text)
{
	char shown[LINE_MAX_BYTES];

	(void)text_escape_line(span_text(text), shown, sizeof(shown));
	return buf_printf(out, "%-9s%s\n", label, shown);
}

static enum err put_matched(struct buf *out, const struct policy_decision *d)
{
	enum err e = buf_printf(out, "%-9s", "matched");

	for (uint32_t i = 0; e == ERR_OK && i < d->listed_count; i++)
		e = buf_printf(out, "%s%s", i ? ", " : "", d->matched[i]);
	if (e == ERR_OK && d->matched_count > d->listed_count)
		e = buf_printf(out, " and %u more",
			       d->matched_count - d->listed_count);
	return e == ERR_OK ? buf_put_u8(out, '\n') : e;
}

/**
 * policy_explain_text() - A decision for people
 * @policy:	Policy
 * @request:	Request
 * @out:	Receives lines "effect", "rule", "source", "reason", "matched",
 *		"policy", and "note" where there is one
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err policy_explain_text(const struct policy *policy,
			     const struct policy_request *request,
			     struct buf *out)
{
	struct policy_decision d;
	enum err e;

	policy_evaluate(policy, request, &d);
	e = put_line(out, "effect", policy_effect_names[d.effect]);
	if (e == ERR_OK)
		e = put_line(out, "rule", d.rule);
	if (e == ERR_OK)
		e = put_line(out, "source", d.source);
	if (e == ERR_OK)
		e = put_line(out, "reason", d.reason);
	if (e == ERR_OK)
		e = put_matched(out, &d);
	if (e == ERR_OK)
		e = put_line(out, "policy", policy->digest);
	if (e == ERR_OK && d.by_error)
		e = put_line(out, "note",
			     "a condition could not be decided; that counts "
			     "against the request");
	if (e == ERR_OK && request->target == POLICY_EGRESS &&
	    d.effect != POLICY_DENY)
		e = put_line(out, "note",
			     d.allow_private
				     ? "private addresses are acceptable"
				     : "only public addresses are acceptable");
	return e;
}

/**
 * policy_explain_json() - A decision for programs
 * @policy:	Policy
 * @request:	Request
 * @out:	Receives one object
 */
void policy_explain_json(const struct policy *policy,
			 const struct policy_request *request,
			 struct jsonw *out)
{
	struct policy_decision d;

	policy_evaluate(policy, request, &d);
	jsonw_begin_object(out);
	jsonw_put_cstr(out, "effect", policy_effect_names[d.effect]);
	jsonw_put_cstr(out, "rule", d.rule);
	jsonw_put_cstr(out, "source", d.source);
	jsonw_put_cstr(out, "reason", d.reason);
	jsonw_key(out, "matched");
	jsonw_begin_array(out);
	for (uint32_t i = 0; i < d.listed_count; i++)
		jsonw_cstr(out, d.matched[i]);
	jsonw_end_array(out);
	jsonw_put_u64(out, "matched_count", d.matched_count);
	jsonw_put_bool(out, "by_default", d.by_default);
	jsonw_put_bool(out, "by_error", d.by_error);
	jsonw_put_bool(out, "allow_private", d.allow_private);
	jsonw_put_cstr(out, "policy", policy->digest);
	jsonw_end_object(out);
}

/* --- the policy itself ---------------------------------------------------- */

static enum err put_pattern(struct buf *out, const struct policy_pattern *one)
{
	enum err e = one->op == OP_SUFFIX ? buf_put_text(out, "*.") : ERR_OK;

	return e == ERR_OK ? buf_put_span(out, one->text) : e;
}

static enum err put_patterns(struct buf *out, const char *key,
			     const struct policy_patterns *patterns)
{
	enum err e = buf_printf(out, "%s%s=", out->len_bytes ? " " : "", key);

	for (size_t i = 0; e == ERR_OK && i < patterns->count; i++) {
		if (i)
			e = buf_put_u8(out, ',');
		if (e == ERR_OK)
			e = put_pattern(out, &patterns->at[i]);
	}
	return e;
}

static const char *arg_way(const struct policy_patterns *values)
{
	static const char *const ways[] = {
		[OP_EQUALS] = "equals", [OP_GLOB] = "glob",
		[OP_PREFIX] = "prefix", [OP_UNDER] = "under",
		[OP_HOST] = "host",     [OP_SUFFIX] = "host"};

	return ways[values->at[0].op];
}

/* The conditions in one line; cut where they do not fit. */
static enum err put_conditions(struct buf *out, const struct policy_rule *rule)
{
	enum err e = ERR_OK;

	for (int f = 0; e == ERR_OK && f < FIELD_COUNT; f++)
		if (rule->fields & (1u << f))
			e = put_patterns(out, policy_fields[f].key,
					 &rule->of[f]);
	for (size_t i = 0; e == ERR_OK && i < rule->port_count; i++)
		e = buf_printf(out, "%s%u", i ? "," : " port=", rule->ports[i]);
	if (e == ERR_OK && rule->direction != POLICY_NO_DIRECTION)
		e = buf_printf(out, "%sdirection=%s", out->len_bytes ? " " : "",
			       rule->direction == POLICY_IN ? "in" : "out");
	for (size_t i = 0; e == ERR_OK && i < rule->arg_count; i++) {
		const struct policy_arg_rule *arg = &rule->args[i];

		e = buf_printf(out, "%sarg.", out->len_bytes ? " " : "");
		if (e == ERR_OK)
			e = buf_put_span(out, arg->name);
		if (e == ERR_OK)
			e = put_patterns(out, arg_way(&arg->values),
					 &arg->values);
	}
	if (e == ERR_OK && rule->allow_private)
		e = buf_put_text(out, " allow_private");
	return e;
}

static void show_rule(const struct policy_rule *rule, struct jsonw *out)
{
	struct buf text;

	buf_init(&text, LINE_MAX_BYTES);
	(void)put_conditions(&text, rule);
	jsonw_begin_object(out);
	jsonw_put_cstr(out, "id", rule->id);
	jsonw_put_cstr(out, "effect", policy_effect_names[rule->effect]);
	jsonw_put_cstr(out, "target", policy_target_names[rule->target]);
	jsonw_put_cstr(out, "source", rule->source);
	jsonw_put_text(out, "text",
		       text.len_bytes && text_is_utf8(buf_span(&text))
			       ? buf_span(&text)
			       : span_text("everything"));
	jsonw_put_cstr(out, "reason", rule->reason);
	jsonw_put_cstr(out, "layer", rule->own ? "own" : "base");
	jsonw_end_object(out);
	buf_fini(&text);
}

/** policy_default_count() - How many defaults there are */
size_t policy_default_count(void)
{
	return SLOT_COUNT;
}

/**
 * policy_default_at() - One default in force
 * @policy:		Policy
 * @index:		Below policy_default_count()
 * @ret_setting:	Its texts belong to the policy
 */
void policy_default_at(const struct policy *policy, size_t index,
		       struct policy_setting *ret_setting)
{
	const struct policy_default *one = &policy_defaults[index];
	const struct policy_override *set =
		&policy->defaults[LAYER_BASE][index];
	const struct policy_override *own = &policy->defaults[LAYER_OWN][index];
	enum policy_effect effect = set->source ? set->effect : one->effect;

	if (own->source && own->effect > effect) {
		set = own;
		effect = own->effect;
	}
	ret_setting->id = one->id;
	ret_setting->effect = effect;
	ret_setting->source = set->source ? set->source : "built-in";
}

static void show_default(const struct policy *policy, size_t index,
			 struct jsonw *out)
{
	struct policy_setting setting;

	policy_default_at(policy, index, &setting);
	jsonw_begin_object(out);
	jsonw_put_cstr(out, "name", setting.id);
	jsonw_put_cstr(out, "value", policy_effect_names[setting.effect]);
	jsonw_put_cstr(out, "source", setting.source);
	jsonw_end_object(out);
}

static void show_budgets(const struct policy *policy, struct jsonw *out)
{
	static const char *const units[BUDGET_UNIT_COUNT] = {
		"requests", "tokens", "microusd", "bytes", "time_ms"};

	jsonw_begin_array(out);
	for (int s = 0; s < BUDGET_SCOPE_COUNT; s++) {
		for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
			int64_t limit = policy->budgets.of[s].of[u];

			if (limit == BUDGET_UNLIMITED)
				continue;
			jsonw_begin_object(out);
			jsonw_put_cstr(out, "scope",
				       budget_scope_text((enum budget_scope)s));
			jsonw_put_cstr(out, "unit", units[u]);
			jsonw_put_i64(out, "limit", limit);
			jsonw_end_object(out);
		}
	}
	jsonw_end_array(out);
}

/**
 * policy_show_json() - Every rule, default and budget with its source
 * @policy:	Policy
 * @out:	Receives one object: digest, files, rules, defaults, budgets,
 *		tests, warnings
 */
void policy_show_json(const struct policy *policy, struct jsonw *out)
{
	jsonw_begin_object(out);
	jsonw_put_cstr(out, "digest", policy->digest);
	jsonw_key(out, "files");
	jsonw_begin_array(out);
	for (size_t i = 0; i < policy_file_count(policy); i++)
		jsonw_cstr(out, policy_file_at(policy, i));
	jsonw_end_array(out);
	jsonw_key(out, "rules");
	jsonw_begin_array(out);
	for (uint32_t i = 0; i < policy->rule_count; i++)
		show_rule(&policy->rules[i], out);
	jsonw_end_array(out);
	jsonw_key(out, "defaults");
	jsonw_begin_array(out);
	for (size_t i = 0; i < policy_default_count(); i++)
		show_default(policy, i, out);
	jsonw_end_array(out);
	jsonw_key(out, "budgets");
	show_budgets(policy, out);
	jsonw_put_u64(out, "tests", policy->test_count);
	jsonw_key(out, "warnings");
	jsonw_begin_array(out);
	for (size_t i = 0; i < policy->warning_count; i++)
		jsonw_cstr(out, policy->warnings[i]);
	jsonw_end_array(out);
	jsonw_end_object(out);
}
