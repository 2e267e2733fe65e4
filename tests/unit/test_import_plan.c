/* SPDX-License-Identifier: Apache-2.0 */
/* test_import_plan.c - what of a shell's variables is stored as what */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/base/buf.h"
#include "tui/import_plan.h"

static const char *expires = "2026-01-31T12:00:00Z";

static const char *shell(const char *name)
{
	static const struct {
		const char *name, *value;
	} set[] = {
		{"AWS_BEARER_TOKEN_BEDROCK", "bearer"},
		{"AWS_ACCESS_KEY_ID", "ID"},
		{"AWS_SECRET_ACCESS_KEY", "SECRET"},
		{"AWS_SESSION_TOKEN", "TOKEN"},
		{"GROQ_API_KEY", "gsk"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		if (strcmp(set[i].name, name) == 0)
			return set[i].value;
	return strcmp(name, "AWS_CREDENTIAL_EXPIRATION") == 0 ? expires : NULL;
}

static void test_one_provider(void **state)
{
	struct import_plan plan;

	(void)state;
	import_plan_make(shell, NULL, 0, &plan);
	assert_int_equal(plan.count, 3);
	assert_true(plan.entries[0].store);
	assert_false(plan.entries[1].store);
	import_plan_keep(&plan, "bedrock", true, "team");
	assert_int_equal(plan.count, 1);
	assert_true(plan.entries[0].store);
	assert_string_equal(plan.entries[0].secret, "team");
	assert_string_equal(plan.entries[0].row->variables[0],
			    "AWS_ACCESS_KEY_ID");
	import_plan_make(shell, NULL, 0, &plan);
	import_plan_keep(&plan, "openai", false, "mine");
	assert_int_equal(plan.count, 0);
	import_plan_make(shell, NULL, 0, &plan);
	import_plan_keep(&plan, NULL, false, "mine");
	assert_int_equal(plan.count, 2);
	assert_true(plan.entries[0].store);
	assert_false(plan.entries[1].store);
}

static void test_values(void **state)
{
	static const char want[] = "ID:SECRET:TOKEN:expires=1769860800";
	struct import_plan plan;
	char value[128];
	size_t len = 0;

	(void)state;
	import_plan_make(shell, NULL, 0, &plan);
	import_plan_keep(&plan, "bedrock", true, "team");
	assert_int_equal(import_value(plan.entries[0].row, shell, value,
				      sizeof(value), &len),
			 ERR_OK);
	assert_int_equal(len, sizeof(want) - 1);
	assert_memory_equal(value, want, len);
	expires = "soon";
	assert_int_equal(import_value(plan.entries[0].row, shell, value,
				      sizeof(value), &len),
			 ERR_RANGE);
	expires = "2026-01-31T12:00:00Z";
	assert_int_equal(import_value(plan.entries[0].row, shell, value, 20,
				      &len),
			 ERR_LIMIT);
}

static void test_times(void **state)
{
	static const struct {
		const char *text;
		uint64_t wall_s; /* 0: it is no time */
	} rows[] = {
		{"1970-01-01T00:00:01Z", 1},
		{"2026-01-31T12:00:00Z", 1769860800},
		{"2026-01-31T12:00:00+00:00", 1769860800},
		{"2026-01-31T14:30:00+02:30", 1769860800},
		{"2026-01-31T07:00:00-05:00", 1769860800},
		{"2026-01-31t12:00:00.123456z", 1769860800},
		{"2028-02-29T00:00:00Z", 1835395200},
		{"", 0},
		{"2026-01-31", 0},
		{"2026-01-31T12:00:00", 0},
		{"2026-00-31T12:00:00Z", 0},
		{"2026-13-31T12:00:00Z", 0},
		{"2026-01-00T12:00:00Z", 0},
		{"2026-01-31T24:00:00Z", 0},
		{"2026-01-31T12:60:00Z", 0},
		{"2026-01-31T12:00:00Zx", 0},
		{"2026-01-31T12:00:00+2", 0},
		{"2026-01-31T12:00:00+02:3", 0},
		{"1969-12-31T23:59:59Z", 0},
		{"1769860800", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t wall_s = 0;

		assert_int_equal(import_time(rows[i].text, &wall_s),
				 rows[i].wall_s != 0);
		assert_int_equal(wall_s, rows[i].wall_s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_provider),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
