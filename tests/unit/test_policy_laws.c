/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_laws.c - what holds of every policy, on random ones
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   depends on the clock: the random numbers start at a fixed seed.
 *
 * The laws are those that Cedar proves of its own evaluator: deny trumps,
 * default deny, an allow needs a rule that allows, neither order nor
 * repetition matters; and that more rules that deny, or a layer that only
 * tightens, never make an answer milder. A second evaluator, written down
 * here as plainly as possible, must agree with the indexed one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/core/policy.h"

#define ROUNDS    400u
#define RULES_MAX 24u
#define ASKED     12u

/* One random rule. Negative numbers mean that a condition is absent. */
struct rule {
	unsigned int id;
	enum policy_effect effect;
	bool egress; /* else tool */
	int what[2]; /* indices into hosts[] or names[] */
	int port;    /* index into ports[] */
	int folder;  /* index into folders[] */
	int user;    /* index into users[] */
};

struct question {
	bool egress;
	const char *text;
	uint16_t port;
	const char *path;
	const char *user;
};

static const char *const hosts[] = {"a.example", "b.a.example", "*.a.example",
				    "*.example", "c.test"};
static const char *const asked_hosts[] = {"a.example",     "b.a.example",
					  "x.b.a.example", "c.test",
					  "z.example",     "none"};
static const char *const names[] = {"bash", "write", "wr*", "read", "*"};
static const char *const asked_names[] = {"bash", "write", "wrap", "read",
					  "grep"};
static const uint16_t ports[] = {443, 80};
static const char *const folders[] = {"/etc", "/tmp", "/"};
static const char *const asked_paths[] = {"/etc/x", "/tmp/../etc", "/tmp/a",
					  "/var"};
static const char *const users[] = {"ann", "bob"};

static uint64_t seed = 0x9e3779b97f4a7c15u;

static unsigned int draw(unsigned int below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)(seed >> 33) % below;
}

static int draw_or_none(size_t below)
{
	return draw(2) ? (int)draw((unsigned int)below) : -1;
}

static struct rule draw_rule(unsigned int id)
{
	struct rule r = {.id = id,
			 .effect = (enum policy_effect)draw(3),
			 .egress = draw(2),
			 .what = {-1, -1},
			 .port = -1,
			 .folder = -1,
			 .user = draw_or_none(ARRAY_SIZE(users))};

	if (r.egress) {
		r.what[0] = (int)draw(ARRAY_SIZE(hosts));
		r.what[1] = (int)draw(ARRAY_SIZE(hosts));
		r.port = draw_or_none(ARRAY_SIZE(ports));
	} else {
		r.what[0] = draw_or_none(ARRAY_SIZE(names));
		r.what[1] = r.what[0];
		r.folder = draw_or_none(ARRAY_SIZE(folders));
	}
	return r;
}

static void write_rule(struct buf *out, const struct rule *r)
{
	static const char *const effects[] = {"allow", "ask", "deny"};
	const char *const *texts = r->egress ? hosts : names;
	enum err e = buf_printf(out,
				"[[rule]]\nid = \"r%03u\"\neffect = \"%s\"\n"
				"target = \"%s\"\n",
				r->id, effects[r->effect],
				r->egress ? "egress" : "tool");

	if (e == ERR_OK && r->what[0] >= 0)
		e = buf_printf(out, "%s = [\"%s\"", r->egress ? "host" : "name",
			       texts[r->what[0]]);
	if (e == ERR_OK && r->what[0] >= 0 && r->what[1] != r->what[0])
		e = buf_printf(out, ", \"%s\"", texts[r->what[1]]);
	if (e == ERR_OK && r->what[0] >= 0)
		e = buf_put_text(out, "]\n");
	if (e == ERR_OK && r->port >= 0)
		e = buf_printf(out, "port = %u\n", ports[r->port]);
	if (e == ERR_OK && r->folder >= 0)
		e = buf_printf(out,
			       "args = [{ name = \"path\", under = \"%s\" }]\n",
			       folders[r->folder]);
	if (e == ERR_OK && r->user >= 0)
		e = buf_printf(out, "user = \"%s\"\n", users[r->user]);
	assert_int_equal(e, ERR_OK);
}

static struct policy *build(const struct rule *base, size_t base_count,
			    const struct rule *own, size_t own_count)
{
	struct policy_text texts[2] = {{.file = "base.toml"},
				       {.file = "own.toml", .own = true}};
	struct policy *policy = NULL;
	struct conf_error error;
	struct buf b[2];

	buf_init(&b[0], CONF_TEXT_MAX_BYTES);
	buf_init(&b[1], CONF_TEXT_MAX_BYTES);
	for (size_t i = 0; i < base_count; i++)
		write_rule(&b[0], &base[i]);
	for (size_t i = 0; i < own_count; i++)
		write_rule(&b[1], &own[i]);
	texts[0].text = buf_span(&b[0]);
	texts[1].text = buf_span(&b[1]);
	conf_error_init(&error);
	if (policy_parse(texts, 2, &error, &policy) != ERR_OK)
		fail_msg("%s", error.text);
	buf_fini(&b[0]);
	buf_fini(&b[1]);
	return policy;
}

static struct question draw_question(void)
{
	struct question q = {.egress = draw(2),
			     .port = ports[draw(2)],
			     .path = asked_paths[draw(ARRAY_SIZE(asked_paths))],
			     .user = users[draw(2)]};

	q.text = q.egress ? asked_hosts[draw(ARRAY_SIZE(asked_hosts))]
			  : asked_names[draw(ARRAY_SIZE(asked_names))];
	return q;
}

static struct policy_decision decide(const struct policy *policy,
				     const struct question *q)
{
	const struct policy_arg arg = {span_text("path"), span_text(q->path),
				       POLICY_ARG_WHOLE};
	const struct policy_request request = {.target = q->egress
								 ? POLICY_EGRESS
								 : POLICY_TOOL,
					       .user = span_text(q->user),
					       .name = span_text(q->text),
					       .host = span_text(q->text),
					       .port = q->port,
					       .args = &arg,
					       .arg_count = 1};
	struct policy_decision d;

	policy_evaluate(policy, &request, &d);
	return d;
}

/* --- the second evaluator ------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
	size_t a = strlen(text), b = strlen(end);

	return a >= b && strcmp(text + a - b, end) == 0;
}

static bool text_matches(bool egress, const char *pattern, const char *text)
{
	if (strcmp(pattern, "*") == 0)
		return true;
	if (egress && pattern[0] == '*')
		return ends_with(text, pattern + 1);
	if (strcmp(pattern, "wr*") == 0)
		return strncmp(text, "wr", 2) == 0;
	return strcmp(pattern, text) == 0;
}

static bool path_matches(const char *folder, const char *path)
{
	const char *clean = strcmp(path, "/tmp/../etc") == 0 ? "/etc" : path;
	size_t len = strlen(folder);

	if (len == 1)
		return true;
	return strncmp(clean, folder, len) == 0 &&
	       (clean[len] == '\0' || clean[len] == '/');
}

static bool rule_matches(const struct rule *r, const struct question *q)
{
	const char *const *texts = r->egress ? hosts : names;

	if (r->egress != q->egress)
		return false;
	if (r->what[0] >= 0 &&
	    !text_matches(r->egress, texts[r->what[0]], q->text) &&
	    !text_matches(r->egress, texts[r->what[1]], q->text))
		return false;
	if (r->port >= 0 && ports[r->port] != q->port)
		return false;
	if (r->folder >= 0 && !path_matches(folders[r->folder], q->path))
		return false;
	return r->user < 0 || strcmp(users[r->user], q->user) == 0;
}

/* -1 when no rule matches. */
static int strictest(const struct rule *rules, size_t count,
		     const struct question *q, size_t *ret_matched)
{
	int effect = -1;

	*ret_matched = 0;
	for (size_t i = 0; i < count; i++) {
		if (!rule_matches(&rules[i], q))
			continue;
		(*ret_matched)++;
		if ((int)rules[i].effect > effect)
			effect = (int)rules[i].effect;
	}
	return effect;
}

/* --- the laws ------------------------------------------------------------- */

static size_t draw_rules(struct rule *rules, unsigned int first_id)
{
	size_t count = 1 + draw(RULES_MAX - 1);

	for (size_t i = 0; i < count; i++)
		rules[i] = draw_rule(first_id + (unsigned int)i);
	return count;
}

/* Deny trumps, default deny, and allowed only by a rule or default. */
static void test_agrees_with_the_plain_evaluator(void **state)
{
	struct rule rules[RULES_MAX];

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		size_t count = draw_rules(rules, 0);
		struct policy *policy = build(rules, count, NULL, 0);

		for (unsigned int i = 0; i < ASKED; i++) {
			struct question q = draw_question();
			struct policy_decision d = decide(policy, &q);
			size_t matched;
			int effect = strictest(rules, count, &q, &matched);

			assert_int_equal(d.by_default, effect < 0);
			assert_int_equal(d.matched_count,
					 effect < 0 ? 1 : matched);
			if (effect < 0)
				effect = q.egress ? POLICY_DENY : POLICY_ALLOW;
			assert_int_equal(d.effect, effect);
		}
		policy_free(policy);
	}
}

static void shuffle(struct rule *rules, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		size_t k = draw((unsigned int)i);
		struct rule swap = rules[i - 1];

		rules[i - 1] = rules[k];
		rules[k] = swap;
	}
}

static void test_order_does_not_matter(void **state)
{
	struct rule rules[RULES_MAX];

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		size_t count = draw_rules(rules, 0);
		struct policy *one = build(rules, count, NULL, 0), *two;

		shuffle(rules, count);
		two = build(rules, count, NULL, 0);
		for (unsigned int i = 0; i < ASKED; i++) {
			struct question q = draw_question();
			struct policy_decision a = decide(one, &q);
			struct policy_decision b = decide(two, &q);

			assert_int_equal(a.effect, b.effect);
			assert_string_equal(a.rule, b.rule);
			assert_int_equal(a.matched_count, b.matched_count);
			for (uint32_t m = 0; m < a.listed_count; m++)
				assert_string_equal(a.matched[m], b.matched[m]);
		}
		policy_free(one);
		policy_free(two);
	}
}

static void test_repetition_does_not_matter(void **state)
{
	struct rule rules[2 * RULES_MAX];

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		size_t count = draw_rules(rules, 0);
		struct policy *one = build(rules, count, NULL, 0), *two;

		for (size_t i = 0; i < count; i++) {
			rules[count + i] = rules[i];
			rules[count + i].id += 500;
		}
		two = build(rules, 2 * count, NULL, 0);
		for (unsigned int i = 0; i < ASKED; i++) {
			struct question q = draw_question();

			assert_int_equal(decide(one, &q).effect,
					 decide(two, &q).effect);
		}
		policy_free(one);
		policy_free(two);
	}
}

static void test_one_more_deny_never_helps(void **state)
{
	struct rule rules[RULES_MAX + 1];

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		size_t count = draw_rules(rules, 0);
		struct policy *one = build(rules, count, NULL, 0), *two;

		rules[count] = draw_rule(900);
		rules[count].effect = POLICY_DENY;
		two = build(rules, count + 1, NULL, 0);
		for (unsigned int i = 0; i < ASKED; i++) {
			struct question q = draw_question();
			struct policy_decision before = decide(one, &q);
			struct policy_decision after = decide(two, &q);

			assert_true(after.effect >= before.effect);
			if (after.effect != before.effect)
				assert_string_equal(after.rule, "r900");
		}
		policy_free(one);
		policy_free(two);
	}
}

static void test_own_layer_never_helps(void **state)
{
	struct rule base[RULES_MAX], own[RULES_MAX];

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		size_t count = draw_rules(base, 0);
		size_t mine = draw_rules(own, 500);
		struct policy *one = build(base, count, NULL, 0);
		struct policy *two = build(base, count, own, mine);

		for (unsigned int i = 0; i < ASKED; i++) {
			struct question q = draw_question();
			struct policy_decision before = decide(one, &q);
			struct policy_decision after = decide(two, &q);

			assert_true(after.effect >= before.effect);
			assert_true(!after.allow_private ||
				    before.allow_private);
		}
		policy_free(one);
		policy_free(two);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_agrees_with_the_plain_evaluator),
		cmocka_unit_test(test_order_does_not_matter),
		cmocka_unit_test(test_repetition_does_not_matter),
		cmocka_unit_test(test_one_more_deny_never_helps),
		cmocka_unit_test(test_own_layer_never_helps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
