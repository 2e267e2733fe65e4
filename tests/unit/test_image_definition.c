/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_image_definition.c - what an image may be made of, and what is refused
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/image_definition.h"

static struct conf_error error;
static struct image_definition d;

static enum err parse(const char *text)
{
	conf_error_init(&error);
	return image_definition_parse(span_text(text), "x.toml", &error, &d);
}

static void good_one_is_read(void **state)
{
	(void)state;
	assert_int_equal(parse("name = \"agents\"\nbase = \"debian\"\n"
			       "packages = [\"git\", \"g++\", \"libc6.1\"]\n"
			       "npm = [\"node@26.10.0\", "
			       "\"@scope/a-b@2.0.0-rc.1\"]\n"
			       "cpu = \"max\"\nmemory_min_mib = 512\n"),
			 ERR_OK);
	assert_string_equal(d.name, "agents");
	assert_string_equal(d.packages, "git g++ libc6.1");
	assert_string_equal(d.npm, "node@26.10.0 @scope/a-b@2.0.0-rc.1");
	assert_string_equal(d.cpu, "max");
	assert_int_equal(d.memory_min_mib, 512);
}

static void little_is_enough(void **state)
{
	(void)state;
	assert_int_equal(parse("name = \"a\"\nbase = \"debian\"\n"), ERR_OK);
	assert_string_equal(d.packages, "");
	assert_string_equal(d.npm, "");
	assert_string_equal(d.cpu, "qemu64");
	assert_int_equal(d.memory_min_mib, 256);
}

static void bad_ones_name_their_line(void **state)
{
#define HEAD "name = \"a\"\nbase = \"debian\"\n"
	static const struct {
		const char *text, *says;
	} bad[] = {
		{"base = \"debian\"\n", "name must be"},
		{"name = \"../a\"\nbase = \"debian\"\n", "x.toml:1: name must"},
		{"name = \".a\"\nbase = \"debian\"\n", "x.toml:1: name must"},
		{"name = \"a\"\n", "base is missing"},
		{"name = \"a\"\nbase = \"alpine\"\n", "x.toml:2:"},
		{HEAD "size = 3\n", "x.toml:3:"},
		{HEAD "packages = [\"git\",\n\"--allow-unauthenticated\"]\n",
		 "x.toml:4: packages: \"--allow-unauthenticated\" is not"},
		{HEAD "packages = [\"git=1\"]\n", "x.toml:3: packages:"},
		{HEAD "packages = [\"git curl\"]\n", "x.toml:3: packages:"},
		{HEAD "packages = [\"/etc/passwd\"]\n", "x.toml:3: packages:"},
		{HEAD "packages = [\"Git\"]\n", "x.toml:3: packages:"},
		{HEAD "packages = []\n", "x.toml:3:"},
		{HEAD "packages = [1]\n", "x.toml:3:"},
		{HEAD "packages = [\"git\", \"git\"]\n", "x.toml:3:"},
		{HEAD "npm = [\"left-pad\"]\n", "x.toml:3: npm: \"left-pad\""},
		{HEAD "npm = [\"left-pad@latest\"]\n", "x.toml:3: npm:"},
		{HEAD "npm = [\"left-pad@^1.0.0\"]\n", "x.toml:3: npm:"},
		{HEAD "npm = [\"left-pad@1.0.0 -g\"]\n", "x.toml:3: npm:"},
		{HEAD "npm = [\"a@https://x.y/z\"]\n", "x.toml:3: npm:"},
		{HEAD "npm = [\"file:../a@1.0.0\"]\n", "x.toml:3: npm:"},
		{HEAD "npm = [\"@/a@1.0.0\"]\n", "x.toml:3: npm:"},
		{HEAD "npm = [\"--foo@1.0.0\"]\n", "x.toml:3: npm:"},
		{HEAD "cpu = \"max,hv-passthrough=on\"\n", "x.toml:3: cpu"},
		{HEAD "cpu = \"-x\"\n", "x.toml:3: cpu"},
		{HEAD "memory_min_mib = 5\n", "x.toml:3:"},
		{HEAD "memory_min_mib = \"512\"\n", "x.toml:3:"},
		{HEAD "name = \"b\"\n", "x.toml:3"},
		{"name = \"a", "x.toml:1"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_not_equal(parse(bad[i].text), ERR_OK);
		if (!strstr(error.text, bad[i].says))
			fail_msg("%zu: '%s' is not in '%s'", i, bad[i].says,
				 error.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_one_is_read),
		cmocka_unit_test(little_is_enough),
		cmocka_unit_test(bad_ones_name_their_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
