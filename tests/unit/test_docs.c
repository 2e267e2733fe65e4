/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_docs.c - every example of the manual loads
 *
 * Runs in: make check, from the top folder.
 * Trusts:  nothing.
 * Never:   lets a key be described that does not exist.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/core/config.h"
#include "engine/core/policy.h"
#include "engine/providers/provider.h"

#define FENCE_BEGIN "```toml\n"
#define FENCE_END   "\n```"

static void check_config(struct span text, const char *file)
{
	struct config *config = NULL;
	struct conf_error error;

	conf_error_init(&error);
	if (config_parse(text, file, &error, &config) != ERR_OK)
		fail_msg("%s", error.text);
	config_free(config);
}

static void check_policy(struct span text, const char *file)
{
	const struct policy_text one = {file, text, false};
	struct policy *policy = NULL;
	struct conf_error error;

	conf_error_init(&error);
	if (policy_parse(&one, 1, &error, &policy) != ERR_OK)
		fail_msg("%s", error.text);
	if (policy_warning_count(policy))
		fail_msg("%s", policy_warning_at(policy, 0));
	policy_free(policy);
}

typedef void (*check_fn)(struct span text, const char *file);

static void read_all(const char *path, struct buf *ret_text)
{
	struct conf_error error;

	buf_init(ret_text, 0);
	conf_error_init(&error);
	if (conf_read(path, false, &error, ret_text) != ERR_OK)
		fail_msg("%s: %s", path,
			 error.text[0] ? error.text : "not found");
}

/* Checks each fenced block; returns how many there were. */
static unsigned int check_fences(const char *path, check_fn check)
{
	unsigned int count = 0;
	char name[128];
	struct buf text;
	const char *at, *end;

	read_all(path, &text);
	assert_int_equal(buf_terminate(&text, &at), ERR_OK);
	while ((at = strstr(at, FENCE_BEGIN)) != NULL) {
		at += strlen(FENCE_BEGIN);
		end = strstr(at, FENCE_END);
		assert_non_null(end);
		(void)snprintf(name, sizeof(name), "%s, example %u", path,
			       ++count);
		check(span_of(at, (size_t)(end - at)), name);
		at = end;
	}
	buf_fini(&text);
	return count;
}

static void check_file(const char *path, check_fn check)
{
	struct buf text;

	read_all(path, &text);
	check(buf_span(&text), path);
	buf_fini(&text);
}

static void test_configuration(void **state)
{
	(void)state;
	assert_int_equal(check_fences("docs/configuration.md", check_config),
			 9);
	check_file("docs/examples/kenaz.toml", check_config);
}

static void test_policy(void **state)
{
	(void)state;
	assert_int_equal(check_fences("docs/policy.md", check_policy), 12);
	check_file("docs/examples/policy.toml", check_policy);
	check_file("docs/examples/policy-read-only.toml", check_policy);
}

/* Every setting has a row, so that no key goes without a description. */
static void test_every_setting_is_described(void **state)
{
	struct config *config = NULL;
	struct config_setting one;
	struct conf_error error;
	char row[96];
	const char *text;
	struct buf b;

	(void)state;
	conf_error_init(&error);
	assert_int_equal(config_parse(span_text(""), "none", &error, &config),
			 ERR_OK);
	read_all("docs/configuration.md", &b);
	assert_int_equal(buf_terminate(&b, &text), ERR_OK);
	for (size_t i = 0; i < config_setting_count(); i++) {
		config_setting_at(config, i, &one);
		(void)snprintf(row, sizeof(row), "| `%s` |",
			       strchr(one.name, '.') + 1);
		if (!strstr(text, row))
			fail_msg("%s is not described", one.name);
	}
	buf_fini(&b);
	config_free(config);
}

/* A kind that can be configured is described wherever people look. */
static void test_every_kind_is_described(void **state)
{
	static const char *const files[] = {"docs/providers.md",
					    "docs/configuration.md",
					    "docs/kenaz.1",
					    "tui/cmd_provider.c"};
	const struct provider_kind *kind;
	size_t known = 0;

	(void)state;
	for (size_t k = 0; (kind = provider_at(k)) != NULL; k++) {
		bool configured = false;

		if (kind->transport != PROVIDER_TRANSPORT_NETWORK)
			continue;
		known++;
		for (size_t i = 0; i < config_kind_count(); i++)
			configured =
				configured || strcmp(config_kind_at(i)->name,
						     kind->name) == 0;
		if (!configured)
			fail_msg("%s is not in config_kinds[]", kind->name);
		for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
			const char *text;
			struct buf b;

			read_all(files[i], &b);
			assert_int_equal(buf_terminate(&b, &text), ERR_OK);
			if (!strstr(text, kind->name))
				fail_msg("%s does not name the kind %s",
					 files[i], kind->name);
			buf_fini(&b);
		}
	}
	assert_int_equal(known, config_kind_count());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_every_setting_is_described),
		cmocka_unit_test(test_every_kind_is_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
