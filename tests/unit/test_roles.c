/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_roles.c - every verb for every role, and who gets which role
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   needs another user.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/core/roles.h"

/*
 * The table of docs/control.md once more, on purpose: what each role reaches
 * in the order user, approver, auditor, admin; '-' nothing, 'o' its own, 'a'
 * all.
 */
static const struct {
	const char *verb;
	const char *reach;
} expected[] = {
	{"engine.info", "aaaa"},     {"engine.stop", "---a"},
	{"session.start", "o--a"},   {"session.list", "oaaa"},
	{"session.show", "oaaa"},    {"session.stop", "o--a"},
	{"session.wait", "o--a"},    {"session.exec", "o--a"},
	{"session.attach", "o--a"},  {"audit.list", "o-aa"},
	{"audit.tail", "o-aa"},      {"audit.show", "o-aa"},
	{"audit.payload", "o-a-"},   {"audit.dump", "--aa"},
	{"policy.show", "aaaa"},     {"policy.check", "a--a"},
	{"policy.explain", "aaaa"},  {"policy.reload", "---a"},
	{"approvals.list", "oa-a"},  {"approvals.grant", "-a-a"},
	{"approvals.deny", "-a-a"},  {"provider.list", "aaaa"},
	{"provider.add", "---a"},    {"provider.test", "a--a"},
	{"provider.remove", "---a"}, {"alias.list", "aaaa"},
	{"alias.add", "---a"},       {"alias.remove", "---a"},
	{"secret.set", "---a"},      {"secret.list", "a--a"},
	{"secret.remove", "---a"},   {"doctor", "aaaa"},
	{"engine.handover", "---a"}, {"image.list", "aaaa"},
	{"image.show", "aaaa"},      {"image.verify", "a-aa"},
	{"secret.status", "a--a"},   {"secret.unlock", "---a"},
	{"secret.rewrap", "---a"},   {"budget.show", "ooaa"},
	{"provider.models", "aaaa"}, {"vault.choices", "a--a"},
	{"vault.configure", "---a"},
};

static void test_every_verb_for_every_role(void **state)
{
	const uid_t me = 1000, other = 1001;

	(void)state;
	assert_int_equal(roles_verb_count(), ARRAY_SIZE(expected));
	for (size_t v = 0; v < ARRAY_SIZE(expected); v++) {
		const char *verb = expected[v].verb;
		bool found = false;

		for (size_t i = 0; i < roles_verb_count(); i++)
			found = found || strcmp(roles_verb_at(i), verb) == 0;
		assert_true(found);
		for (unsigned int r = 0; r < CONFIG_ROLE_COUNT; r++) {
			const struct roles_peer peer = {.uid = me,
							.roles = 1u << r};
			char want = expected[v].reach[r];
			char reason[ROLES_REASON_MAX_BYTES] = "";
			enum err own = roles_check(&peer, verb, me, reason);
			enum err not_own =
				roles_check(&peer, verb, other, reason);

			assert_int_equal(own,
					 want == '-' ? ERR_PERMISSION : ERR_OK);
			assert_int_equal(not_own,
					 want == 'a' ? ERR_OK : ERR_PERMISSION);
			assert_int_equal(not_own != ERR_OK, reason[0] != 0);
		}
	}
}

static void test_no_role_has_nothing(void **state)
{
	const struct roles_peer peer = {.uid = 1000};
	char reason[ROLES_REASON_MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < roles_verb_count(); i++)
		assert_int_equal(roles_check(&peer, roles_verb_at(i), 1000,
					     reason),
				 ERR_PERMISSION);
}

static void test_roles_add_up(void **state)
{
	(void)state;
	assert_int_equal(roles_reach(ROLES_USER | ROLES_AUDITOR, "audit.list"),
			 ROLE_REACH_ALL);
	assert_int_equal(roles_reach(ROLES_USER | ROLES_APPROVER,
				     "session.stop"),
			 ROLE_REACH_OWN);
	assert_int_equal(roles_reach(ROLES_ALL, "audit.payload"),
			 ROLE_REACH_ALL);
}

static void test_unknown_verbs(void **state)
{
	const struct roles_peer peer = {.uid = 0, .roles = ROLES_ALL};
	char reason[ROLES_REASON_MAX_BYTES];

	(void)state;
	assert_int_equal(roles_check(&peer, "engine.", 0, reason),
			 ERR_NOT_FOUND);
	assert_int_equal(roles_check(&peer, "", 0, reason), ERR_NOT_FOUND);
	assert_int_equal(roles_check(&peer, "Engine.info", 0, reason),
			 ERR_NOT_FOUND);
}

static void test_reasons_name_the_role(void **state)
{
	const struct roles_peer peer = {.uid = 1000, .roles = ROLES_USER};
	char reason[ROLES_REASON_MAX_BYTES];

	(void)state;
	assert_int_equal(roles_check(&peer, "approvals.grant", 1000, reason),
			 ERR_PERMISSION);
	assert_string_equal(reason, "approvals.grant needs the role approver "
				    "or admin, which an administrator gives "
				    "in [roles] of kenaz.toml");
	assert_int_equal(roles_check(&peer, "session.stop", 1001, reason),
			 ERR_PERMISSION);
	assert_string_equal(reason,
			    "session.stop reaches only what is your own");
}

static struct config *config_of(const char *text)
{
	struct config *config = NULL;
	struct conf_error error;

	conf_error_init(&error);
	if (config_parse(span_text(text), "kenaz.toml", &error, &config) !=
	    ERR_OK)
		fail_msg("%s", error.text);
	return config;
}

static void test_roles_from_names_and_groups(void **state)
{
	struct config *config =
		config_of("[roles]\nuser = { groups = [\"agents\", \"dev\"] }\n"
			  "approver = { users = \"ann\" }\n"
			  "auditor = { groups = \"compliance\" }\n"
			  "admin = { users = [\"ann\", \"bob\"] }\n");
	const char *const dev[] = {"dev"};
	const char *const both[] = {"compliance", "agents"};

	(void)state;
	assert_int_equal(roles_of_names(config, "eve", NULL, 0), 0);
	assert_int_equal(roles_of_names(config, "eve", dev, 1), ROLES_USER);
	assert_int_equal(roles_of_names(config, "eve", both, 2),
			 ROLES_USER | ROLES_AUDITOR);
	assert_int_equal(roles_of_names(config, "ann", NULL, 0),
			 ROLES_APPROVER | ROLES_ADMIN);
	assert_int_equal(roles_of_names(config, "compliance", NULL, 0), 0);
	config_free(config);
}

static void test_peers(void **state)
{
	struct config *config = config_of("");
	struct roles_peer peer;

	(void)state;
	assert_int_equal(roles_of_peer(config, false, getuid(), getuid(),
				       getgid(), &peer),
			 ERR_OK);
	assert_int_equal(peer.roles, ROLES_ALL);
	assert_true(peer.user[0] != 0);
	assert_int_equal(roles_of_peer(config, false, 1000, 1001, 1001, &peer),
			 ERR_OK);
	assert_int_equal(peer.roles, 0);
	assert_int_equal(roles_of_peer(config, true, 900, 0, 0, &peer), ERR_OK);
	assert_int_equal(peer.roles, ROLES_ALL);
	assert_int_equal(roles_of_peer(config, true, 900, 900, 900, &peer),
			 ERR_OK);
	assert_int_equal(peer.roles, 0);
	config_free(config);
	config = config_of("[roles]\nauditor = { groups = \"daemon\" }\n"
			   "user = { users = \"uid-3999999\" }\n");
	assert_int_equal(roles_of_peer(config, true, 900, 3999999, 1, &peer),
			 ERR_OK);
	assert_string_equal(peer.user, "uid-3999999");
	assert_true(peer.roles & ROLES_USER);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_verb_for_every_role),
		cmocka_unit_test(test_no_role_has_nothing),
		cmocka_unit_test(test_roles_add_up),
		cmocka_unit_test(test_unknown_verbs),
		cmocka_unit_test(test_reasons_name_the_role),
		cmocka_unit_test(test_roles_from_names_and_groups),
		cmocka_unit_test(test_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
