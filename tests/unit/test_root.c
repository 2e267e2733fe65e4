/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_root.c - what the kernel command line may say of a root image
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guest/root.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UPPER "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"

static void good_option_is_read(void **state)
{
	struct root_option o;

	(void)state;
	assert_int_equal(root_option_parse(span_text("squashfs:897:900:" HEX64
						     ":" HEX64),
					   &o),
			 ERR_OK);
	assert_string_equal(o.filesystem, "squashfs");
	assert_int_equal(o.verity.data_blocks, 897);
	assert_int_equal(o.verity.hash_block, 900);
	assert_string_equal(o.verity.root_hash, HEX64);
	assert_string_equal(o.verity.salt, HEX64);
}

static void bad_options_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"squashfs",
		"ext4:897:897:" HEX64 ":" HEX64,
		"squashfs:0:897:" HEX64 ":" HEX64,
		"squashfs:-1:897:" HEX64 ":" HEX64,
		"squashfs:897:896:" HEX64 ":" HEX64,
		"squashfs:897:99999999999:" HEX64 ":" HEX64,
		"squashfs:897::" HEX64 ":" HEX64,
		"squashfs:897:897:" HEX64,
		"squashfs:897:897:" HEX64 ":",
		"squashfs:897:897:" HEX64 "0:" HEX64,
		"squashfs:897:897:" UPPER ":" HEX64,
		"squashfs:897:897:" HEX64 ":" HEX64 ":1 restart_on_corruption",
		"squashfs:897:897:" HEX64 ":" HEX64 " ",
	};
	struct root_option o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_not_equal(root_option_parse(span_text(bad[i]), &o),
				     ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_option_is_read),
		cmocka_unit_test(bad_options_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
