/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_paths.c - which folder wins, and what is refused
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   reads the environment of who runs it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/base/paths.h"

static struct paths resolve(const struct paths_options *options,
			    const struct paths_environment *environment)
{
	struct paths paths;
	struct conf_error error;

	conf_error_init(&error);
	if (paths_resolve(options, environment, &error, &paths) != ERR_OK)
		fail_msg("%s", error.text);
	return paths;
}

static void refuse(const struct paths_options *options,
		   const struct paths_environment *environment,
		   const char *want)
{
	struct paths paths;
	struct conf_error error;

	conf_error_init(&error);
	assert_int_equal(paths_resolve(options, environment, &error, &paths),
			 ERR_CONFIG);
	if (!strstr(error.text, want))
		fail_msg("<%s> is not in <%s>", want, error.text);
}

static void test_xdg(void **state)
{
	const struct paths_options none = {0};
	const struct paths_environment all = {.home = "/home/ann",
					      .config_home = "/c",
					      .state_home = "/s",
					      .runtime_dir = "/run/user/7"};
	struct paths p = resolve(&none, &all);

	(void)state;
	assert_string_equal(p.config.path, "/c/kenaz");
	assert_string_equal(p.state.path, "/s/kenaz");
	assert_string_equal(p.runtime.path, "/run/user/7/kenaz");
	assert_string_equal(p.socket, "/run/user/7/kenaz/kenazd.sock");
	assert_string_equal(p.config.source, "XDG_CONFIG_HOME");
}

static void test_fallbacks(void **state)
{
	const struct paths_options none = {0};
	const struct paths_environment home = {.home = "/home/ann",
					       .config_home = "relative",
					       .state_home = ""};
	struct paths p = resolve(&none, &home);

	(void)state;
	assert_string_equal(p.config.path, "/home/ann/.config/kenaz");
	assert_string_equal(p.state.path, "/home/ann/.local/state/kenaz");
	assert_string_equal(p.runtime.path, "/home/ann/.local/state/kenaz/run");
	assert_string_equal(p.config.source, "HOME");
	assert_non_null(strstr(p.runtime.source, "XDG_RUNTIME_DIR"));
}

static void test_system_and_options(void **state)
{
	const struct paths_options system = {.system = true};
	const struct paths_options told = {.config_dir = "/a",
					   .state_dir = "/b/",
					   .runtime_dir = "/c"};
	const struct paths_environment none = {0};
	struct paths p = resolve(&system, &none);

	(void)state;
	assert_string_equal(p.config.path, "/etc/kenaz");
	assert_string_equal(p.state.path, "/var/lib/kenaz");
	assert_string_equal(p.socket, "/run/kenaz/kenazd.sock");
	p = resolve(&told, &none);
	assert_string_equal(p.config.path, "/a");
	assert_string_equal(p.socket, "/c/kenazd.sock");
	assert_string_equal(p.state.source, "--state-dir");
}

static void test_refusals(void **state)
{
	const struct paths_options none = {0};
	const struct paths_options relative = {.state_dir = "here"};
	const struct paths_environment nothing = {0};
	const struct paths_environment home = {.home = "/h"};
	char deep[128];
	const struct paths_options longer = {.runtime_dir = deep};
	char huge[2048];
	const struct paths_options too_long = {.config_dir = huge};

	(void)state;
	refuse(&none, &nothing,
	       "set HOME or XDG_CONFIG_HOME, or pass "
	       "--config-dir");
	refuse(&relative, &home,
	       "--state-dir must be an absolute path, not \"here\"");
	memset(deep, 'd', sizeof(deep));
	deep[0] = '/';
	deep[100] = '\0';
	refuse(&longer, &home, "pass a shorter --runtime-dir");
	memset(huge, 'h', sizeof(huge));
	huge[0] = '/';
	huge[2047] = '\0';
	refuse(&too_long, &home, "is longer than 1023 bytes");
}

static void test_join(void **state)
{
	char path[8];

	(void)state;
	assert_int_equal(paths_join("/a//", "b", path, sizeof(path)), ERR_OK);
	assert_string_equal(path, "/a/b");
	assert_int_equal(paths_join("/abc", "def", path, sizeof(path)),
			 ERR_LIMIT);
}

static void test_make_private(void **state)
{
	char root[] = "/tmp/kenaz-paths-XXXXXX";
	char inner[64], deeper[64];
	struct conf_error error;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(root));
	(void)snprintf(inner, sizeof(inner), "%s/a", root);
	(void)snprintf(deeper, sizeof(deeper), "%s/a/b", root);
	conf_error_init(&error);
	assert_int_equal(paths_make_private(deeper, &error), ERR_OK);
	assert_int_equal(stat(deeper, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(paths_make_private(deeper, &error), ERR_OK);
	assert_int_equal(chmod(deeper, 0770), 0);
	assert_int_equal(paths_make_private(deeper, &error), ERR_CONFIG);
	assert_non_null(strstr(error.text, "can be written by others"));
	assert_int_equal(rmdir(deeper), 0);
	assert_int_equal(rmdir(inner), 0);
	assert_int_equal(rmdir(root), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xdg),
		cmocka_unit_test(test_fallbacks),
		cmocka_unit_test(test_system_and_options),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_make_private),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
