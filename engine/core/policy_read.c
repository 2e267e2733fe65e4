/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_read.c - rules, defaults and budgets of one policy file
 *
 * Runs in: kenazd.
 * Trusts:  the owner of the file for intent, not for form.
 * Never:   accepts a rule that would mean more than it says.
 *
 * Every key is described in docs/policy.md.
 */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/core/policy_rule.h"
#include "engine/proto/limits.h"

#define BUDGET_COUNT_MAX  INT64_C(1000000000000000)
#define BUDGET_USD_MAX    1000000000
#define BUDGET_TIME_S_MAX (366 * 86400)

struct reading {
	struct policy *policy;
	struct conf_node *table;
	struct conf_error *error;
	bool own;
};

static const char *source_of(const struct reading *r,
			     const struct conf_node *node)
{
	return policy_text_format(r->policy, r->error, "%s:%u", conf_file(node),
				  conf_line(node));
}

/* --- patterns ------------------------------------------------------------- */

/* A host's name or address, in lower case; "*." in front is gone already. */
static enum err read_host(const struct reading *r, const struct conf_node *node,
			  struct span text, struct span *ret_host)
{
	size_t len = text.len_bytes;
	char *host = policy_alloc(r->policy, len + 1, 1, r->error);
	bool ok = len > 0 && len <= POLICY_HOST_MAX_BYTES;
	size_t i;

	if (!host)
		return r->error->status;
	for (i = 0; ok && i < len; i++) {
		int c = tolower(text.data[i]);

		ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		     c == '-' || c == '_' || c == ':' ||
		     (c == '.' && i > 0 && i + 1 < len && host[i - 1] != '.');
		host[i] = (char)c;
	}
	if (!ok)
		return conf_fail(r->error, node,
				 "\"%.128s\" is no host; write a name "
				 "(punycode if not ASCII), an address, or "
				 "\"*.\" and a name",
				 conf_value_text(node));
	*ret_host = span_of(host, len);
	return ERR_OK;
}

static enum err read_host_pattern(const struct reading *r,
				  const struct conf_node *node,
				  struct policy_pattern *to)
{
	struct span text = span_text(conf_value_text(node));

	to->op = OP_HOST;
	if (text.len_bytes && text.data[0] == '*') {
		if (text.len_bytes < 3 || text.data[1] != '.')
			return conf_fail(r->error, node,
					 "a host of \"%.64s\" would match too "
					 "much; write \"*.\" and a name",
					 conf_value_text(node));
		to->op = OP_SUFFIX;
		text = span_of(text.data + 2, text.len_bytes - 2);
	}
	return read_host(r, node, text, &to->text);
}

static enum err read_folder(const struct reading *r,
			    const struct conf_node *node,
			    struct policy_pattern *to)
{
	struct span text = span_text(conf_value_text(node));
	char *path = policy_alloc(r->policy, text.len_bytes + 1, 1, r->error);
	size_t len;

	if (!path)
		return r->error->status;
	if (policy_path_clean(text, path, text.len_bytes + 1, &len) != ERR_OK)
		return conf_fail(r->error, node,
				 "\"%.128s\" must be an absolute path",
				 conf_value_text(node));
	to->op = OP_UNDER;
	to->text = span_of(path, len);
	return ERR_OK;
}

static enum err read_pattern(const struct reading *r,
			     const struct conf_node *node, enum policy_op op,
			     struct policy_pattern *to)
{
	struct span text = span_text(conf_value_text(node));

	if (op == OP_HOST)
		return read_host_pattern(r, node, to);
	if (op == OP_UNDER)
		return read_folder(r, node, to);
	if (op == OP_GLOB && text.len_bytes > POLICY_GLOB_MAX_BYTES)
		return conf_fail(r->error, node,
				 "a pattern with * is longer than %u bytes",
				 POLICY_GLOB_MAX_BYTES);
	to->op = op;
	to->text = text;
	return ERR_OK;
}

static bool has_star(const char *text)
{
	return strpbrk(text, "*?") != NULL;
}

/* How a plain condition's text is meant: literally unless it has a star. */
static enum policy_op plain_op(const struct policy_field_row *row,
			       const char *text)
{
	if (row->host)
		return OP_HOST;
	if (has_star(text))
		return OP_GLOB;
	return row->path ? OP_UNDER : OP_EQUALS;
}

static bool take_patterns(const struct reading *r, const struct conf_node *list,
			  const char *key, struct policy_patterns *to)
{
	if (!list)
		return false;
	if (conf_count(list) > POLICY_VALUES_MAX) {
		(void)conf_fail(r->error, list, "%s lists more than %u values",
				key, POLICY_VALUES_MAX);
		return false;
	}
	to->at = policy_alloc(r->policy, conf_count(list), sizeof(*to->at),
			      r->error);
	to->count = to->at ? conf_count(list) : 0;
	return to->at != NULL;
}

static void read_field(const struct reading *r, struct policy_rule *rule,
		       enum policy_field_id field)
{
	const struct policy_field_row *row = &policy_fields[field];
	struct policy_patterns *to = &rule->of[field];
	struct conf_node *list;

	if (!(row->targets & (1u << rule->target)))
		return;
	list = conf_get_texts(r->table, row->key, r->error);
	if (!take_patterns(r, list, row->key, to))
		return;
	rule->fields |= 1u << field;
	for (size_t i = 0; i < to->count; i++) {
		const struct conf_node *one = conf_at(list, i);
		enum policy_op op = plain_op(row, conf_value_text(one));

		if (read_pattern(r, one, op, &to->at[i]) != ERR_OK)
			return;
	}
}

/* --- arguments of tools --------------------------------------------------- */

static void read_arg(const struct reading *r, struct conf_node *table,
		     struct policy_arg_rule *to)
{
	static const struct {
		const char *key;
		enum policy_op op;
	} ways[] = {
		{"equals", OP_EQUALS},
		{"prefix", OP_PREFIX},
		{"glob", OP_GLOB},
		{"under", OP_UNDER},
	};
	const char *name = conf_get_text(table, "name", NULL, r->error);
	size_t used = 0;

	for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
		struct conf_node *list =
			conf_get_texts(table, ways[w].key, r->error);

		if (!list || used++ ||
		    !take_patterns(r, list, ways[w].key, &to->values))
			continue;
		for (size_t i = 0; i < to->values.count; i++)
			if (read_pattern(r, conf_at(list, i), ways[w].op,
					 &to->values.at[i]) != ERR_OK)
				return;
	}
	if (r->error->status == ERR_OK && (!name || used != 1))
		(void)conf_fail(r->error, table,
				"an argument needs a name and exactly one of "
				"equals, prefix, glob, under");
	if (name && strlen(name) > POLICY_ARG_NAME_MAX_BYTES)
		(void)conf_fail(r->error, table,
				"an argument's name has more than %u bytes",
				POLICY_ARG_NAME_MAX_BYTES);
	to->name = span_text(name);
}

static void read_args(const struct reading *r, struct policy_rule *rule)
{
	struct conf_node *list =
		conf_get_array(r->table, "args", CONF_TABLE, r->error);

	if (!list)
		return;
	if (conf_count(list) > POLICY_ARGS_MAX) {
		(void)conf_fail(r->error, list, "args lists more than %u",
				POLICY_ARGS_MAX);
		return;
	}
	rule->args = policy_alloc(r->policy, conf_count(list),
				  sizeof(*rule->args), r->error);
	rule->arg_count = rule->args ? conf_count(list) : 0;
	for (size_t i = 0; i < rule->arg_count; i++)
		read_arg(r, conf_at(list, i), &rule->args[i]);
}

/* --- rules ---------------------------------------------------------------- */

static void read_ports(const struct reading *r, struct policy_rule *rule)
{
	struct conf_node *node = conf_find(r->table, "port");
	uint32_t max = policy_port_max(rule->target);

	if (!node || r->error->status != ERR_OK)
		return;
	if (conf_kind(node) == CONF_ARRAY)
		node = conf_get_array(r->table, "port", CONF_INTEGER, r->error);
	else
		(void)conf_get_integer(r->table, "port", 1, max, 1, r->error);
	if (!node || r->error->status != ERR_OK)
		return;
	if (conf_count(node) > POLICY_VALUES_MAX) {
		(void)conf_fail(r->error, node, "port lists more than %u",
				POLICY_VALUES_MAX);
		return;
	}
	rule->ports = policy_alloc(r->policy, conf_count(node),
				   sizeof(*rule->ports), r->error);
	rule->port_count = rule->ports ? conf_count(node) : 0;
	for (size_t i = 0; i < rule->port_count; i++) {
		int64_t port = conf_value_integer(conf_at(node, i));

		if (port < 1 || port > max)
			(void)conf_fail(r->error, conf_at(node, i),
					"a port must be from 1 to %u", max);
		else if (rule->target == POLICY_VSOCK &&
			 port == PORT_GUEST_HOST && rule->effect != POLICY_DENY)
			(void)conf_fail(r->error, conf_at(node, i),
					"port %u of the VM is Kenaz's own",
					PORT_GUEST_HOST);
		rule->ports[i] = (uint32_t)port;
	}
}

static void read_conditions(const struct reading *r, struct policy_rule *rule)
{
	for (int f = 0; f < FIELD_COUNT; f++)
		read_field(r, rule, (enum policy_field_id)f);
	if (rule->target == POLICY_TOOL)
		read_args(r, rule);
	if (rule->target == POLICY_FILE || rule->target == POLICY_CLIPBOARD)
		rule->direction = (enum policy_direction)(
			POLICY_IN + conf_get_choice(r->table, "direction",
						    policy_direction_names, -1,
						    r->error));
	if (policy_port_max(rule->target))
		read_ports(r, rule);
	if (rule->target == POLICY_VSOCK && rule->effect != POLICY_DENY &&
	    rule->port_count == 0 && r->error->status == ERR_OK)
		(void)conf_fail(r->error, r->table,
				"a vsock rule that allows or asks must name "
				"its ports");
	if (rule->target != POLICY_EGRESS)
		return;
	rule->allow_private =
		conf_get_boolean(r->table, "allow_private", false, r->error);
	if (r->error->status != ERR_OK || rule->effect == POLICY_DENY) {
		if (rule->allow_private)
			(void)conf_fail(r->error, r->table,
					"allow_private has no meaning in a "
					"rule that denies");
		return;
	}
	if (!(rule->fields & (1u << FIELD_HOST)))
		(void)conf_fail(r->error, r->table,
				"an egress rule that allows or asks must name "
				"its hosts");
}

static void check_id(const struct reading *r, const char *id)
{
	if (r->error->status != ERR_OK)
		return;
	if (!id)
		(void)conf_fail(r->error, r->table, "this rule has no id");
	else if (!text_is_name(span_text(id), POLICY_ID_MAX_BYTES))
		(void)conf_fail(r->error, conf_find(r->table, "id"),
				"the id \"%.80s\" must be of a-z, 0-9, '.', "
				"'_', '-', start with a letter or digit and "
				"have at most %u bytes",
				id, POLICY_ID_MAX_BYTES);
	else if (strncmp(id, POLICY_DEFAULT_PREFIX,
			 strlen(POLICY_DEFAULT_PREFIX)) == 0)
		(void)conf_fail(r->error, conf_find(r->table, "id"),
				"ids that begin with " POLICY_DEFAULT_PREFIX
				" are those of the built-in defaults");
}

static const char *default_reason(const struct reading *r,
				  const struct policy_rule *rule)
{
	static const char *const said[] = {"allowed by rule",
					   "needs approval by rule",
					   "denied by rule"};

	return policy_text_format(r->policy, r->error, "%s %s",
				  said[rule->effect], rule->id);
}

static void read_rule(const struct reading *r)
{
	struct policy_rule *rule = &r->policy->rules[r->policy->rule_count];
	int effect, target;

	rule->own = r->own;
	rule->order = r->policy->rule_count;
	rule->id = conf_get_text(r->table, "id", NULL, r->error);
	check_id(r, rule->id);
	effect = conf_get_choice(r->table, "effect", policy_effect_names, -1,
				 r->error);
	target = conf_get_choice(r->table, "target", policy_target_names, -1,
				 r->error);
	if (r->error->status != ERR_OK)
		return;
	if (effect < 0 || target < 0) {
		(void)conf_fail(r->error, r->table, "rule %s has no %s",
				rule->id, effect < 0 ? "effect" : "target");
		return;
	}
	rule->effect = (enum policy_effect)effect;
	rule->target = (enum policy_target)target;
	rule->source = source_of(r, r->table);
	rule->reason = conf_get_text(r->table, "reason", NULL, r->error);
	if (!rule->reason)
		rule->reason = default_reason(r, rule);
	read_conditions(r, rule);
	r->policy->rule_count++;
}

/* --- defaults and budgets ------------------------------------------------- */

static void read_defaults(const struct reading *r)
{
	static const char *const ways[] = {"allowed", "subject to approval",
					   "denied"};
	struct policy_override *to =
		r->policy->defaults[r->own ? LAYER_OWN : LAYER_BASE];

	for (int s = 0; s < SLOT_COUNT; s++) {
		const struct policy_default *one = &policy_defaults[s];
		int effect = conf_get_choice(r->table, one->key,
					     policy_effect_names, -1, r->error);
		struct conf_node *node = conf_find(r->table, one->key);

		if (r->error->status != ERR_OK || !node)
			continue;
		if (to[s].source) {
			(void)conf_fail(r->error, node,
					"the default of %s is already set at "
					"%s",
					one->key, to[s].source);
		} else if (effect < (int)one->effect) {
			(void)conf_fail(r->error, node,
					"a default can only be tightened; %s "
					"is \"%s\" built in; write a rule",
					one->key,
					policy_effect_names[one->effect]);
		}
		to[s].effect = (enum policy_effect)effect;
		to[s].source = source_of(r, node);
		to[s].reason = policy_text_format(
			r->policy, r->error, "%s by the default of %s",
			ways[effect < 0 ? POLICY_DENY : effect], to[s].source);
	}
}

static int64_t read_usd(const struct reading *r, struct conf_node *table)
{
	struct conf_node *node = conf_find(table, "usd");
	double usd;

	if (!node || r->error->status != ERR_OK)
		return BUDGET_UNLIMITED;
	if (conf_kind(node) == CONF_INTEGER)
		usd = (double)conf_value_integer(node);
	else if (conf_kind(node) == CONF_FLOAT)
		usd = conf_value_float(node);
	else
		usd = -1;
	if (!(usd >= 0 && usd <= BUDGET_USD_MAX)) {
		(void)conf_fail(r->error, node,
				"usd must be a number from 0 to %d",
				BUDGET_USD_MAX);
		return BUDGET_UNLIMITED;
	}
	return llround(usd * 1e6);
}

static int64_t read_count(const struct reading *r, struct conf_node *table,
			  const char *key, int64_t max, int64_t factor)
{
	int64_t value = conf_get_integer(table, key, 0, max, -1, r->error);

	return value < 0 ? BUDGET_UNLIMITED : value * factor;
}

static void read_budgets(const struct reading *r)
{
	struct budget_limits limits;

	budget_limits_init(&limits);
	for (int s = 0; s < BUDGET_SCOPE_COUNT; s++) {
		int64_t *of = limits.of[s].of;
		struct conf_node *table =
			conf_get_table(r->table,
				       budget_scope_text((enum budget_scope)s),
				       r->error);

		if (!table)
			continue;
		if (conf_count(table) == 0)
			(void)conf_fail(r->error, table,
					"this budget limits nothing; known "
					"here: requests, tokens, usd, bytes, "
					"time_s");
		of[BUDGET_REQUESTS] =
			read_count(r, table, "requests", BUDGET_COUNT_MAX, 1);
		of[BUDGET_TOKENS] =
			read_count(r, table, "tokens", BUDGET_COUNT_MAX, 1);
		of[BUDGET_MICROUSD] = read_usd(r, table);
		of[BUDGET_BYTES] =
			read_count(r, table, "bytes", BUDGET_COUNT_MAX, 1);
		of[BUDGET_TIME_MS] =
			read_count(r, table, "time_s", BUDGET_TIME_S_MAX, 1000);
	}
	budget_limits_tighten(&r->policy->budgets, &limits);
}

/**
 * policy_read_file() - Add the content of one file to a policy
 * @policy:	Being built; has room for its rules
 * @root:	The file
 * @own:	Whether it is of the layer that only tightens
 * @error:	Receives one sentence with file and line
 *
 * Return: ERR_OK; ERR_CONFIG; ERR_MEMORY.
 */
enum err policy_read_file(struct policy *policy, struct conf_node *root,
			  bool own, struct conf_error *error)
{
	struct reading r = {policy, NULL, error, own};
	struct conf_node *rules =
		conf_get_array(root, "rule", CONF_TABLE, error);

	for (size_t i = 0; rules && i < conf_count(rules); i++) {
		r.table = conf_at(rules, i);
		read_rule(&r);
		if (error->status != ERR_OK)
			return error->status;
	}
	r.table = conf_get_table(root, "default", error);
	if (r.table)
		read_defaults(&r);
	r.table = conf_get_table(root, "budget", error);
	if (r.table)
		read_budgets(&r);
	return error->status;
}
