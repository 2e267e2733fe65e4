/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy.c - what rules mean, defaults, layers, tests, every rejection
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   needs another user or a network.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/core/policy_explain.h"

static struct policy *load2(const char *base, const char *own)
{
	const struct policy_text texts[] = {
		{"policy.toml", span_text(base), false},
		{"own.toml", span_text(own), true},
	};
	struct policy *policy = NULL;
	struct conf_error error;

	conf_error_init(&error);
	if (policy_parse(texts,
			 own    ? 2
			 : base ? 1
				: 0,
			 &error, &policy) != ERR_OK)
		fail_msg("%s", error.text);
	return policy;
}

static struct policy *load(const char *base)
{
	return load2(base, NULL);
}

static void refuse(const char *text, const char *want)
{
	const struct policy_text texts[] = {
		{"policy.toml", span_text(text), false}};
	struct policy *policy = NULL;
	struct conf_error error;

	conf_error_init(&error);
	assert_int_equal(policy_parse(texts, 1, &error, &policy), ERR_CONFIG);
	assert_null(policy);
	if (!strstr(error.text, want))
		fail_msg("<%s> is not in <%s>", want, error.text);
}

static struct policy_decision ask(const struct policy *policy,
				  const struct policy_request *request)
{
	struct policy_decision d;

	policy_evaluate(policy, request, &d);
	return d;
}

static struct policy_decision ask_host(const struct policy *policy,
				       const char *host, uint16_t port)
{
	const struct policy_request request = {.target = POLICY_EGRESS,
					       .host = span_text(host),
					       .port = port};

	return ask(policy, &request);
}

static struct policy_decision ask_tool(const struct policy *policy,
				       const char *name, const char *key,
				       const char *value)
{
	const struct policy_arg arg = {span_text(key), span_text(value),
				       POLICY_ARG_WHOLE};
	const struct policy_request request = {.target = POLICY_TOOL,
					       .name = span_text(name),
					       .args = &arg,
					       .arg_count = key ? 1 : 0};

	return ask(policy, &request);
}

#define assert_decision(d, want_effect, want_rule)                   \
	do {                                                         \
		struct policy_decision got_ = (d);                   \
		assert_string_equal(got_.rule, want_rule);           \
		assert_int_equal(got_.effect, POLICY_##want_effect); \
	} while (0)

static void test_defaults_without_any_file(void **state)
{
	static const struct {
		struct policy_request request;
		enum policy_effect effect;
		const char *rule;
	} cases[] = {
		{{.target = POLICY_INFERENCE},
		 POLICY_ALLOW,
		 "default.inference"},
		{{.target = POLICY_INFERENCE, .provider_unknown = true},
		 POLICY_DENY,
		 "default.inference.unknown"},
		{{.target = POLICY_TOOL}, POLICY_ALLOW, "default.tool"},
		{{.target = POLICY_FEATURE}, POLICY_DENY, "default.feature"},
		{{.target = POLICY_EGRESS}, POLICY_DENY, "default.egress"},
		{{.target = POLICY_FILE, .direction = POLICY_IN},
		 POLICY_ALLOW,
		 "default.file.in"},
		{{.target = POLICY_FILE, .direction = POLICY_OUT},
		 POLICY_ASK,
		 "default.file.out"},
		{{.target = POLICY_SESSION}, POLICY_ALLOW, "default.session"},
		{{.target = POLICY_CLIPBOARD, .direction = POLICY_IN},
		 POLICY_DENY,
		 "default.clipboard"},
		{{.target = POLICY_TERMINAL}, POLICY_DENY, "default.terminal"},
	};
	struct policy *policy = load(NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct policy_decision d = ask(policy, &cases[i].request);

		assert_string_equal(d.rule, cases[i].rule);
		assert_int_equal(d.effect, cases[i].effect);
		assert_true(d.by_default);
		assert_string_equal(d.source, "built-in");
		assert_int_equal(d.listed_count, 1);
	}
	assert_int_equal(strlen(policy_digest(policy)), 64);
	policy_free(policy);
}

static void test_deny_over_ask_over_allow(void **state)
{
	struct policy *policy = load("[[rule]]\nid = \"a\"\n"
				     "effect = \"allow\"\ntarget = \"egress\"\n"
				     "host = [\"one.example\", \"two.example\","
				     " \"three.example\"]\n"
				     "[[rule]]\nid = \"b\"\n"
				     "effect = \"ask\"\ntarget = \"egress\"\n"
				     "host = [\"two.example\", "
				     "\"three.example\"]\n"
				     "[[rule]]\nid = \"c\"\n"
				     "effect = \"deny\"\ntarget = \"egress\"\n"
				     "host = \"three.example\"\n"
				     "reason = \"three is bad\"\n");
	struct policy_decision d;

	(void)state;
	assert_decision(ask_host(policy, "one.example", 443), ALLOW, "a");
	assert_decision(ask_host(policy, "two.example", 443), ASK, "b");
	d = ask_host(policy, "three.example", 443);
	assert_decision(d, DENY, "c");
	assert_string_equal(d.reason, "three is bad");
	assert_string_equal(d.source, "policy.toml:11");
	assert_int_equal(d.matched_count, 3);
	assert_string_equal(d.matched[0], "a");
	assert_string_equal(d.matched[2], "c");
	assert_decision(ask_host(policy, "four.example", 443), DENY,
			"default.egress");
	policy_free(policy);
}

static void test_hosts_and_ports(void **state)
{
	struct policy *policy =
		load("[[rule]]\nid = \"r\"\neffect = \"allow\"\n"
		     "target = \"egress\"\n"
		     "host = [\"Exact.Example\", \"*.below.example\","
		     " \"10.0.0.1\"]\nport = [443, 8443]\n"
		     "[[rule]]\nid = \"p\"\neffect = \"allow\"\n"
		     "target = \"egress\"\nhost = \"private.example\"\n"
		     "allow_private = true\n"
		     "[[rule]]\nid = \"q\"\neffect = \"allow\"\n"
		     "target = \"egress\"\nhost = \"*.example\"\nport = 80\n");

	(void)state;
	assert_decision(ask_host(policy, "exact.example", 443), ALLOW, "r");
	assert_decision(ask_host(policy, "EXACT.example.", 8443), ALLOW, "r");
	assert_decision(ask_host(policy, "a.below.example", 443), ALLOW, "r");
	assert_decision(ask_host(policy, "a.b.BELOW.example", 443), ALLOW, "r");
	assert_decision(ask_host(policy, "10.0.0.1", 443), ALLOW, "r");
	assert_decision(ask_host(policy, "below.example", 443), DENY,
			"default.egress");
	assert_decision(ask_host(policy, "xbelow.example", 443), DENY,
			"default.egress");
	assert_decision(ask_host(policy, ".below.example", 443), DENY,
			"default.egress");
	assert_decision(ask_host(policy, "exact.example.evil", 443), DENY,
			"default.egress");
	assert_decision(ask_host(policy, "exact.example", 22), DENY,
			"default.egress");
	assert_decision(ask_host(policy, "", 443), DENY, "default.egress");
	assert_decision(ask_host(policy, ".", 443), DENY, "default.egress");
	assert_decision(ask_host(policy, "..", 443), DENY, "default.egress");
	assert_false(ask_host(policy, "exact.example", 443).allow_private);
	assert_true(ask_host(policy, "private.example", 443).allow_private);
	assert_false(ask_host(policy, "none.example", 80).allow_private);
	policy_free(policy);
}

static void test_inference_conditions(void **state)
{
	struct policy *policy =
		load("[[rule]]\nid = \"no-opus\"\neffect = \"deny\"\n"
		     "target = \"inference\"\nmodel = \"claude-opus-*\"\n"
		     "[[rule]]\nid = \"mallory\"\neffect = \"deny\"\n"
		     "target = \"inference\"\nuser = \"mallory\"\n"
		     "route = \"messages\"\n"
		     "[[rule]]\nid = \"other\"\neffect = \"allow\"\n"
		     "target = \"inference\"\nprovider = \"other\"\n");
	struct policy_request r = {.target = POLICY_INFERENCE,
				   .provider = span_text("p"),
				   .model = span_text("claude-opus-4"),
				   .user = span_text("alice"),
				   .route = span_text("messages")};

	(void)state;
	assert_decision(ask(policy, &r), DENY, "no-opus");
	r.model = span_text("claude-sonnet-4");
	assert_decision(ask(policy, &r), ALLOW, "default.inference");
	r.user = span_text("mallory");
	assert_decision(ask(policy, &r), DENY, "mallory");
	r.route = span_text("models");
	assert_decision(ask(policy, &r), ALLOW, "default.inference");
	r.provider = span_text("other");
	assert_decision(ask(policy, &r), ALLOW, "other");
	r.provider_unknown = true;
	assert_decision(ask(policy, &r), DENY, "default.inference.unknown");
	policy_free(policy);
}

static const char tool_rules[] =
	"[[rule]]\nid = \"no-etc\"\neffect = \"deny\"\ntarget = \"tool\"\n"
	"name = [\"write\", \"edit\"]\n"
	"args = [{ name = \"path\", under = \"/etc\" }]\n"
	"[[rule]]\nid = \"no-push\"\neffect = \"deny\"\ntarget = \"tool\"\n"
	"name = \"bash\"\n"
	"args = [{ name = \"command\", glob = \"*git push*\" }]\n"
	"[[rule]]\nid = \"ask-rm\"\neffect = \"ask\"\ntarget = \"tool\"\n"
	"args = [{ name = \"command\", prefix = [\"rm \", \"dd \"] }]\n"
	"[[rule]]\nid = \"no-hook\"\neffect = \"deny\"\ntarget = \"tool\"\n"
	"args = [{ name = \"path\", equals = \"hook\" },\n"
	"        { name = \"mode\", equals = \"x\" }]\n"
	"[[rule]]\nid = \"ok-tmp\"\neffect = \"allow\"\ntarget = \"tool\"\n"
	"name = \"write\"\nargs = [{ name = \"path\", under = \"/tmp\" }]\n";

static void test_tool_arguments(void **state)
{
	struct policy *policy = load(tool_rules);

	(void)state;
	assert_decision(ask_tool(policy, "write", "path", "/etc/passwd"), DENY,
			"no-etc");
	assert_decision(ask_tool(policy, "write", "path", "/etc"), DENY,
			"no-etc");
	assert_decision(ask_tool(policy, "edit", "path",
				 "/tmp/..//./etc/./passwd"),
			DENY, "no-etc");
	assert_decision(ask_tool(policy, "write", "path", "/etcetera"), ALLOW,
			"default.tool");
	assert_decision(ask_tool(policy, "write", "path", "/tmp/a"), ALLOW,
			"ok-tmp");
	assert_decision(ask_tool(policy, "write", "path", "/tmp/../x"), ALLOW,
			"default.tool");
	assert_decision(ask_tool(policy, "bash", "command",
				 "cd x && git push -f"),
			DENY, "no-push");
	assert_decision(ask_tool(policy, "bash", "command", "rm -rf /"), ASK,
			"ask-rm");
	assert_decision(ask_tool(policy, "bash", "command", "ls; rm x"), ALLOW,
			"default.tool");
	assert_decision(ask_tool(policy, "any", "path", "hook"), ALLOW,
			"default.tool");
	assert_decision(ask_tool(policy, "write", NULL, NULL), ALLOW,
			"default.tool");
	policy_free(policy);
}

/* A condition that cannot be decided never helps the request. */
static void test_undecidable_conditions(void **state)
{
	struct policy *policy = load(tool_rules);
	struct policy_arg arg = {span_text("path"), span_text("/tmp/a"),
				 POLICY_ARG_CUT};
	struct policy_request r = {.target = POLICY_TOOL,
				   .name = span_text("write"),
				   .args = &arg,
				   .arg_count = 1};
	struct policy_decision d;

	(void)state;
	d = ask(policy, &r);
	assert_decision(d, DENY, "no-etc");
	assert_true(d.by_error);
	arg.state = POLICY_ARG_OPAQUE;
	assert_decision(ask(policy, &r), DENY, "no-etc");
	arg.state = POLICY_ARG_WHOLE;
	arg.value = span_text("relative/path");
	assert_decision(ask(policy, &r), DENY, "no-etc");
	arg.value = span_text("/tmp/a");
	d = ask(policy, &r);
	assert_decision(d, ALLOW, "ok-tmp");
	assert_false(d.by_error);
	r.arg_count = 0;
	assert_decision(ask(policy, &r), ALLOW, "default.tool");
	r.args_incomplete = true;
	assert_decision(ask(policy, &r), DENY, "no-etc");
	/* One condition that is not met settles the rule. */
	r.name = span_text("read");
	d = ask(policy, &r);
	assert_string_equal(d.rule, "no-hook");
	policy_free(policy);
}

static void test_files_sessions_and_the_rest(void **state)
{
	struct policy *policy =
		load("[[rule]]\nid = \"out\"\neffect = \"allow\"\n"
		     "target = \"file\"\ndirection = \"out\"\n"
		     "path = [\"/data/out\", \"/data/*.txt\"]\n"
		     "[[rule]]\nid = \"big\"\neffect = \"ask\"\n"
		     "target = \"session\"\nimage = \"dev\"\n"
		     "[[rule]]\nid = \"clip\"\neffect = \"ask\"\n"
		     "target = \"clipboard\"\ndirection = \"out\"\n"
		     "[[rule]]\nid = \"title\"\neffect = \"allow\"\n"
		     "target = \"terminal\"\naction = \"title\"\n"
		     "[[rule]]\nid = \"search\"\neffect = \"allow\"\n"
		     "target = \"feature\"\nname = \"web_search\"\n");
	struct policy_request r = {.target = POLICY_FILE,
				   .direction = POLICY_OUT,
				   .path = span_text("/data/out/a/b")};

	(void)state;
	assert_decision(ask(policy, &r), ALLOW, "out");
	r.path = span_text("/data/x/../a.txt");
	assert_decision(ask(policy, &r), ALLOW, "out");
	r.path = span_text("/data/out/../secret");
	assert_decision(ask(policy, &r), ASK, "default.file.out");
	r.path = span_text("out");
	assert_decision(ask(policy, &r), ASK, "default.file.out");
	r.direction = POLICY_IN;
	r.path = span_text("/data/out/a");
	assert_decision(ask(policy, &r), ALLOW, "default.file.in");
	r = (struct policy_request){.target = POLICY_SESSION,
				    .image = span_text("dev")};
	assert_decision(ask(policy, &r), ASK, "big");
	r.image = span_text("mini");
	assert_decision(ask(policy, &r), ALLOW, "default.session");
	r = (struct policy_request){.target = POLICY_CLIPBOARD,
				    .direction = POLICY_OUT};
	assert_decision(ask(policy, &r), ASK, "clip");
	r.direction = POLICY_IN;
	assert_decision(ask(policy, &r), DENY, "default.clipboard");
	r = (struct policy_request){.target = POLICY_TERMINAL,
				    .action = span_text("title")};
	assert_decision(ask(policy, &r), ALLOW, "title");
	r.action = span_text("notify");
	assert_decision(ask(policy, &r), DENY, "default.terminal");
	r = (struct policy_request){.target = POLICY_FEATURE,
				    .name = span_text("web_search")};
	assert_decision(ask(policy, &r), ALLOW, "search");
	policy_free(policy);
}

static void test_defaults_can_be_tightened(void **state)
{
	struct policy *policy =
		load("[default]\ntool = \"deny\"\nfile_out = \"deny\"\n"
		     "[[rule]]\nid = \"bash\"\neffect = \"allow\"\n"
		     "target = \"tool\"\nname = \"bash\"\n");
	struct policy_decision d = ask_tool(policy, "write", NULL, NULL);

	(void)state;
	assert_decision(d, DENY, "default.tool");
	assert_string_equal(d.source, "policy.toml:2");
	assert_decision(ask_tool(policy, "bash", NULL, NULL), ALLOW, "bash");
	policy_free(policy);
	refuse("[default]\negress = \"allow\"\n",
	       "policy.toml:2: a default can only be tightened");
	refuse("[default]\nfile_out = \"allow\"\n",
	       "policy.toml:2: a default can only be tightened");
}

static void test_own_layer_only_tightens(void **state)
{
	struct policy *policy =
		load2("[[rule]]\nid = \"sys\"\neffect = \"allow\"\n"
		      "target = \"egress\"\nhost = \"*.corp.example\"\n"
		      "allow_private = true\n",
		      "[default]\ntool = \"deny\"\n"
		      "[[rule]]\nid = \"mine\"\neffect = \"allow\"\n"
		      "target = \"egress\"\nhost = \"evil.example\"\n"
		      "[[rule]]\nid = \"less\"\neffect = \"deny\"\n"
		      "target = \"egress\"\nhost = \"x.corp.example\"\n"
		      "[[rule]]\nid = \"pub\"\neffect = \"allow\"\n"
		      "target = \"egress\"\nhost = \"y.corp.example\"\n"
		      "[[rule]]\nid = \"bash\"\neffect = \"allow\"\n"
		      "target = \"tool\"\nname = \"bash\"\n");
	struct policy_decision d = ask_host(policy, "evil.example", 443);

	(void)state;
	assert_decision(d, DENY, "default.egress");
	assert_int_equal(d.matched_count, 2);
	assert_decision(ask_host(policy, "x.corp.example", 443), DENY, "less");
	d = ask_host(policy, "z.corp.example", 443);
	assert_decision(d, ALLOW, "sys");
	assert_true(d.allow_private);
	d = ask_host(policy, "y.corp.example", 443);
	assert_decision(d, ALLOW, "sys");
	assert_false(d.allow_private);
	assert_decision(ask_tool(policy, "bash", NULL, NULL), ALLOW,
			"default.tool");
	assert_decision(ask_tool(policy, "write", NULL, NULL), DENY,
			"default.tool");
	policy_free(policy);
}

static void test_tests_run_at_load(void **state)
{
	static const char rule[] =
		"[[rule]]\nid = \"r\"\neffect = \"deny\"\ntarget = \"tool\"\n"
		"name = \"write\"\n"
		"args = [{ name = \"path\", under = \"/etc\" }]\n";
	char text[1024];
	struct policy *policy;

	(void)state;
	(void)snprintf(text, sizeof(text), "%s%s", rule,
		       "[[test]]\ntarget = \"tool\"\nname = \"write\"\n"
		       "args = { path = \"/etc/x\" }\nexpect = \"deny\"\n"
		       "rule = \"r\"\n"
		       "[[test]]\ntarget = \"tool\"\nname = \"write\"\n"
		       "args = { path = [\"/etc/x\"] }\nexpect = \"deny\"\n"
		       "[[test]]\ntarget = \"inference\"\n"
		       "configured = false\nexpect = \"deny\"\n"
		       "[[test]]\ntarget = \"egress\"\nhost = \"a.example\"\n"
		       "expect = \"deny\"\nrule = \"default.egress\"\n"
		       "[[test]]\ntarget = \"file\"\ndirection = \"in\"\n"
		       "path = \"/a\"\nexpect = \"allow\"\n");
	policy = load(text);
	assert_int_equal(policy_test_count(policy), 5);
	policy_free(policy);
	(void)snprintf(text, sizeof(text), "%s%s", rule,
		       "[[test]]\ntarget = \"tool\"\nname = \"write\"\n"
		       "args = { path = \"/tmp/x\" }\nexpect = \"deny\"\n");
	refuse(text, "policy.toml:7: this test expects deny, but rule "
		     "default.tool (built-in) says allow");
	(void)snprintf(text, sizeof(text), "%s%s", rule,
		       "[[test]]\ntarget = \"tool\"\nname = \"write\"\n"
		       "args = { path = \"/etc/x\" }\nexpect = \"deny\"\n"
		       "rule = \"other\"\n");
	refuse(text, "policy.toml:7: this test expects rule other to decide, "
		     "but rule r (policy.toml:1) does");
}

static void test_own_rules_cannot_fail_base_tests(void **state)
{
	(void)state;
	policy_free(load2("[[test]]\ntarget = \"tool\"\nname = \"bash\"\n"
			  "expect = \"allow\"\n",
			  "[[rule]]\nid = \"no\"\neffect = \"deny\"\n"
			  "target = \"tool\"\n"
			  "[[test]]\ntarget = \"tool\"\nname = \"bash\"\n"
			  "expect = \"deny\"\nrule = \"no\"\n"));
}

#define RULE "[[rule]]\nid = \"r\"\neffect = \"allow\"\n"

static void test_rejections(void **state)
{
	static const struct {
		const char *text;
		const char *want;
	} cases[] = {
		{"rule = []\n", "policy.toml:1: rule is an empty list"},
		{"[rule]\n", "policy.toml:1: rule must be a list"},
		{"[[rule]]\neffect = \"deny\"\n",
		 "policy.toml:1: this rule has no id"},
		{"[[rule]]\nid = \"Big\"\n",
		 "policy.toml:2: the id \"Big\" must be of"},
		{"[[rule]]\nid = \"default.x\"\n",
		 "policy.toml:2: ids that begin with default."},
		{"[[rule]]\nid = \"r\"\neffect = \"permit\"\n",
		 "policy.toml:3: effect must be one of allow, ask, deny"},
		{"[[rule]]\nid = \"r\"\ntarget = \"tool\"\n",
		 "policy.toml:1: rule r has no effect"},
		{RULE, "policy.toml:1: rule r has no target"},
		{RULE "target = \"tools\"\n",
		 "policy.toml:4: target must be one of inference, tool, "
		 "feature, egress, file, session, clipboard, terminal"},
		{RULE "target = \"tool\"\nname = []\n",
		 "policy.toml:5: name is an empty list"},
		{RULE "target = \"tool\"\nhost = \"a\"\n",
		 "policy.toml:5: unknown key host; known here: id, effect, "
		 "target, reason, user, image, name, args"},
		{RULE "target = \"tool\"\nname = [\"a\", \"a\"]\n",
		 "policy.toml:5: name lists \"a\" twice"},
		{RULE "target = \"tool\"\nargs = [{ name = \"p\" }]\n",
		 "policy.toml:5: an argument needs a name and exactly one of"},
		{RULE "target = \"tool\"\n"
		      "args = [{ name = \"p\", prefix = \"a\", "
		      "equals = \"b\" }]\n",
		 "policy.toml:5: an argument needs a name and exactly one of"},
		{RULE "target = \"tool\"\n"
		      "args = [{ name = \"p\", under = \"a\" }]\n",
		 "policy.toml:5: \"a\" must be an absolute path"},
		{RULE "target = \"egress\"\n",
		 "policy.toml:1: an egress rule that allows or asks must name "
		 "its hosts"},
		{RULE "target = \"egress\"\nhost = \"*\"\n",
		 "policy.toml:5: a host of \"*\" would match too much"},
		{RULE "target = \"egress\"\nhost = \"*.\"\n",
		 "policy.toml:5: a host of \"*.\" would match too much"},
		{RULE "target = \"egress\"\nhost = \"a.*.b\"\n",
		 "policy.toml:5: \"a.*.b\" is no host"},
		{RULE "target = \"egress\"\nhost = \"a..b\"\n",
		 "policy.toml:5: \"a..b\" is no host"},
		{RULE "target = \"egress\"\nhost = \"https://a.b\"\n",
		 "policy.toml:5: \"https://a.b\" is no host"},
		{RULE "target = \"egress\"\nhost = \"b\xc3\xbc.example\"\n",
		 "is no host"},
		{RULE "target = \"egress\"\nhost = \"a\"\nport = 0\n",
		 "policy.toml:6: port must be from 1 to 65535, not 0"},
		{RULE "target = \"egress\"\nhost = \"a\"\nport = [1, 65536]\n",
		 "policy.toml:6: a port must be from 1 to 65535"},
		{"[[rule]]\nid = \"r\"\neffect = \"deny\"\n"
		 "target = \"egress\"\nallow_private = true\n",
		 "policy.toml:1: allow_private has no meaning"},
		{RULE "target = \"file\"\ndirection = \"up\"\n",
		 "policy.toml:5: direction must be one of in, out"},
		{RULE "target = \"file\"\npath = \"rel\"\n",
		 "policy.toml:5: \"rel\" must be an absolute path"},
		{RULE "target = \"tool\"\n" RULE "target = \"tool\"\n",
		 "policy.toml:5: the rule id r is already used at "
		 "policy.toml:1"},
		{"[default]\ntools = \"deny\"\n",
		 "policy.toml:2: unknown key tools; known here: inference"},
		{"[budget.session]\n", "policy.toml:1: this budget limits "
				       "nothing"},
		{"[budget.week]\nrequests = 1\n",
		 "policy.toml:1: unknown key week; known here: session, user, "
		 "host"},
		{"[budget.user]\nusd = -1\n",
		 "policy.toml:2: usd must be a number from 0 to"},
		{"[budget.user]\nusd = nan\n",
		 "policy.toml:2: usd must be a number from 0 to"},
		{"[[test]]\ntarget = \"tool\"\n",
		 "policy.toml:1: this test has no expect"},
		{"[[test]]\ntarget = \"tool\"\nexpect = \"allow\"\n"
		 "port = 4\n",
		 "policy.toml:4: unknown key port"},
		{"rules = 1\n", "policy.toml:1: unknown key rules; known "
				"here: rule, test, default, budget"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refuse(cases[i].text, cases[i].want);
}

static void test_lint(void **state)
{
	struct policy *policy =
		load("[[rule]]\nid = \"all\"\neffect = \"deny\"\n"
		     "target = \"egress\"\nhost = \"*.example\"\n"
		     "[[rule]]\nid = \"never\"\neffect = \"allow\"\n"
		     "target = \"egress\"\nhost = \"a.example\"\nport = 443\n"
		     "[[rule]]\nid = \"fine\"\neffect = \"allow\"\n"
		     "target = \"egress\"\nhost = [\"a.example\", \"b.org\"]\n"
		     "[[rule]]\nid = \"x1\"\neffect = \"deny\"\n"
		     "target = \"tool\"\nname = \"x\"\n"
		     "[[rule]]\nid = \"x2\"\neffect = \"deny\"\n"
		     "target = \"tool\"\nname = \"x\"\n");

	(void)state;
	assert_int_equal(policy_warning_count(policy), 2);
	assert_non_null(strstr(policy_warning_at(policy, 0),
			       "policy.toml:6: rule never never decides: rule "
			       "all (policy.toml:1)"));
	assert_non_null(strstr(policy_warning_at(policy, 1),
			       "rule x2 changes nothing"));
	policy_free(policy);
}

static void test_budgets(void **state)
{
	struct policy *policy =
		load2("[budget.session]\nrequests = 100\nusd = 2.5\n"
		      "[budget.user]\ntime_s = 60\n",
		      "[budget.session]\nrequests = 10\nusd = 100\n");
	const struct budget_limits *limits = policy_budgets(policy);

	(void)state;
	assert_int_equal(limits->of[BUDGET_SESSION].of[BUDGET_REQUESTS], 10);
	assert_int_equal(limits->of[BUDGET_SESSION].of[BUDGET_MICROUSD],
			 2500000);
	assert_int_equal(limits->of[BUDGET_USER].of[BUDGET_TIME_MS], 60000);
	assert_int_equal(limits->of[BUDGET_HOST].of[BUDGET_BYTES],
			 BUDGET_UNLIMITED);
	policy_free(policy);
}

static void test_digest(void **state)
{
	struct policy *none = load(NULL), *empty = load(""),
		      *other = load("# x"), *own = load2("", "");
	struct policy *again = load("");

	(void)state;
	assert_string_equal(policy_digest(empty), policy_digest(again));
	assert_string_not_equal(policy_digest(none), policy_digest(empty));
	assert_string_not_equal(policy_digest(empty), policy_digest(other));
	assert_string_not_equal(policy_digest(empty), policy_digest(own));
	policy_free(none);
	policy_free(empty);
	policy_free(other);
	policy_free(own);
	policy_free(again);
}

static void write_file(const char *folder, const char *name, const char *text)
{
	char path[512];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void remove_file(const char *folder, const char *name)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(remove(path), 0);
}

static void test_folders_and_reload(void **state)
{
	char folder[] = "/tmp/kenaz-policy-XXXXXX";
	struct policy_sources sources = {.base_dir = folder};
	struct policy *policy = NULL;
	struct conf_error error;
	char path[64], old[65];

	(void)state;
	assert_non_null(mkdtemp(folder));
	conf_error_init(&error);
	assert_int_equal(policy_load(&sources, &error, &policy), ERR_OK);
	assert_int_equal(policy_file_count(policy), 0);
	(void)snprintf(path, sizeof(path), "%s/policy.d", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	write_file(path, "20-b.toml", RULE "target = \"tool\"\n");
	write_file(path, "10-a.toml", "# nothing\n");
	write_file(path, "notes.txt", "not read");
	write_file(path, ".hidden.toml", "not read");
	write_file(folder, "policy.toml", "[default]\nsession = \"ask\"\n");
	assert_int_equal(policy_reload(&policy, &sources, &error), ERR_OK);
	assert_int_equal(policy_file_count(policy), 3);
	assert_non_null(strstr(policy_file_at(policy, 0), "/policy.toml"));
	assert_non_null(strstr(policy_file_at(policy, 1), "/10-a.toml"));
	assert_non_null(strstr(policy_file_at(policy, 2), "/20-b.toml"));
	memcpy(old, policy_digest(policy), sizeof(old));

	write_file(folder, "policy.toml",
		   "[[rule]]\nid = \"r2\"\n"
		   "effect = \"deny\"\n");
	assert_int_equal(policy_reload(&policy, &sources, &error), ERR_CONFIG);
	assert_non_null(strstr(error.text, "/policy.toml:1: rule r2 has no "
					   "target"));
	assert_string_equal(policy_digest(policy), old);
	policy_free(policy);
	remove_file(path, "20-b.toml");
	remove_file(path, "10-a.toml");
	remove_file(path, "notes.txt");
	remove_file(path, ".hidden.toml");
	remove_file(folder, "policy.toml");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void test_system_policy_and_own(void **state)
{
	char system[] = "/tmp/kenaz-policy-XXXXXX";
	char own[] = "/tmp/kenaz-policy-XXXXXX";
	struct policy_sources sources;
	struct policy *policy = NULL;
	struct conf_error error;
	char path[64];

	(void)state;
	assert_non_null(mkdtemp(system));
	assert_non_null(mkdtemp(own));
	policy_sources_choose(system, own, false, &sources);
	assert_string_equal(sources.base_dir, own);
	assert_null(sources.own_dir);
	assert_false(sources.base_is_system);
	policy_sources_choose(system, own, true, &sources);
	assert_true(sources.base_is_system);
	assert_null(sources.own_dir);

	write_file(system, "policy.toml", "[default]\ntool = \"ask\"\n");
	write_file(own, "policy.toml",
		   RULE "target = \"tool\"\n[default]\nsession = \"deny\"\n");
	policy_sources_choose(system, own, false, &sources);
	assert_string_equal(sources.base_dir, system);
	assert_string_equal(sources.own_dir, own);
	conf_error_init(&error);
	if (geteuid() == 0) {
		assert_int_equal(policy_load(&sources, &error, &policy),
				 ERR_OK);
		assert_decision(ask_tool(policy, "bash", NULL, NULL), ASK,
				"default.tool");
		policy_free(policy);
		(void)snprintf(path, sizeof(path), "%s/policy.toml", system);
		assert_int_equal(chmod(path, 0664), 0);
	}
	/* Root's alone, or the engine does not start. */
	assert_int_equal(policy_load(&sources, &error, &policy), ERR_CONFIG);
	assert_non_null(strstr(error.text, "policy.toml: "));
	remove_file(system, "policy.toml");
	remove_file(own, "policy.toml");
	assert_int_equal(rmdir(system), 0);
	assert_int_equal(rmdir(own), 0);
}

static void test_explain(void **state)
{
	struct policy *policy = load(tool_rules);
	const struct policy_field fields[] = {{span_text("name"),
					       span_text("write")},
					      {span_text("arg.path"),
					       span_text("/etc/\x1b[2J")}};
	const struct policy_field bad = {span_text("colour"), span_text("red")};
	struct policy_question question;
	struct conf_error error;
	struct jsonw json;
	struct buf out;

	(void)state;
	conf_error_init(&error);
	assert_int_equal(policy_question_parse(span_text("tool"), fields, 2,
					       &error, &question),
			 ERR_OK);
	buf_init(&out, 65536);
	assert_int_equal(policy_explain_text(policy, &question.request, &out),
			 ERR_OK);
	assert_int_equal(buf_put_u8(&out, 0), ERR_OK);
	assert_non_null(strstr((char *)out.data, "effect   deny\n"
						 "rule     no-etc\n"));
	buf_reset(&out);
	jsonw_init(&json, &out);
	policy_explain_json(policy, &question.request, &json);
	assert_int_equal(jsonw_finish(&json), ERR_OK);
	assert_int_equal(buf_put_u8(&out, 0), ERR_OK);
	assert_non_null(strstr((char *)out.data,
			       "{\"effect\":\"deny\",\"rule\":\"no-etc\","));
	buf_reset(&out);
	jsonw_init(&json, &out);
	policy_show_json(policy, &json);
	assert_int_equal(jsonw_finish(&json), ERR_OK);
	assert_int_equal(buf_put_u8(&out, 0), ERR_OK);
	assert_non_null(strstr((char *)out.data,
			       "\"text\":\"name=write,edit arg.path "
			       "under=/etc\""));
	buf_fini(&out);
	assert_int_equal(policy_question_parse(span_text("tool"), &bad, 1,
					       &error, &question),
			 ERR_CONFIG);
	assert_string_equal(error.text, "tool has no field colour; it has "
					"user, image, name, arg.NAME");
	conf_error_init(&error);
	assert_int_equal(policy_question_parse(span_text("tols"), NULL, 0,
					       &error, &question),
			 ERR_CONFIG);
	assert_non_null(strstr(error.text, "choose one of inference, tool"));
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_without_any_file),
		cmocka_unit_test(test_deny_over_ask_over_allow),
		cmocka_unit_test(test_hosts_and_ports),
		cmocka_unit_test(test_inference_conditions),
		cmocka_unit_test(test_tool_arguments),
		cmocka_unit_test(test_undecidable_conditions),
		cmocka_unit_test(test_files_sessions_and_the_rest),
		cmocka_unit_test(test_defaults_can_be_tightened),
		cmocka_unit_test(test_own_layer_only_tightens),
		cmocka_unit_test(test_tests_run_at_load),
		cmocka_unit_test(test_own_rules_cannot_fail_base_tests),
		cmocka_unit_test(test_rejections),
		cmocka_unit_test(test_lint),
		cmocka_unit_test(test_budgets),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_folders_and_reload),
		cmocka_unit_test(test_system_policy_and_own),
		cmocka_unit_test(test_explain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
