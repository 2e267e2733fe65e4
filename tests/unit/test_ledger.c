/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_ledger.c - what was spent survives, and nothing else is believed
 *
 * Runs in: a unit test, in a folder of its own.
 */
#include <fcntl.h>
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

#include "engine/base/digest.h"
#include "engine/core/ledger.h"

#define DAY_US INT64_C(86400000000)
#define NOON   (20000 * DAY_US + DAY_US / 2)

static char folder[64], path[96];

static int start(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/kz-ledger-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/" LEDGER_FILE, folder);
	return 0;
}

static int stop(void **state)
{
	char other[128];

	(void)state;
	(void)snprintf(other, sizeof(other), "%s.new", path);
	(void)unlink(path);
	(void)unlink(other);
	(void)rmdir(folder);
	return 0;
}

struct opened {
	struct ledger *ledger;
	struct budget *budget;
	char text[CONF_ERROR_BYTES];
};

static enum err open_at(struct opened *o, bool keep_sessions, int64_t now)
{
	struct budget_limits limits;
	struct conf_error error;
	enum err e;

	*o = (struct opened){0};
	budget_limits_init(&limits);
	limits.of[BUDGET_USER].of[BUDGET_TOKENS] = 6400;
	limits.of[BUDGET_SESSION].of[BUDGET_TOKENS] = 6400;
	conf_error_init(&error);
	e = ledger_open(folder, keep_sessions, now, &error, &o->ledger);
	memcpy(o->text, error.text, sizeof(o->text));
	if (e != ERR_OK)
		return e;
	assert_int_equal(budget_new(&limits, ledger_save, o->ledger,
				    &o->budget),
			 ERR_OK);
	return ledger_restore(o->ledger, o->budget);
}

/* As a kill does: nothing is written any more. */
static void crash(struct opened *o)
{
	budget_free(o->budget);
	ledger_free(o->ledger);
}

static uint64_t take(struct opened *o, int64_t tokens)
{
	struct budget_amounts want = {
		.of = {[BUDGET_REQUESTS] = 1, [BUDGET_TOKENS] = tokens}};
	struct budget_refusal refusal;
	uint64_t id;

	if (budget_reserve(o->budget, "s", "u", &want, NOON, &refusal, &id) !=
	    ERR_OK)
		return 0;
	return id;
}

static int64_t spent(struct opened *o, enum budget_scope scope, const char *key,
		     int64_t now)
{
	struct budget_amounts used;

	budget_usage(o->budget, scope, key, now, &used);
	return used.of[BUDGET_TOKENS];
}

static void a_crash_gives_nothing_back(void **state)
{
	struct budget_amounts used = {.of = {[BUDGET_TOKENS] = 700}};
	struct opened o;
	struct stat st;

	(void)state;
	assert_int_equal(open_at(&o, true, NOON), ERR_OK);
	assert_int_equal(budget_settle(o.budget, take(&o, 1000), &used),
			 ERR_OK);
	assert_int_not_equal(take(&o, 2000), 0); /* in flight */
	crash(&o);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(open_at(&o, true, NOON), ERR_OK);
	/* What was settled and what was on its way, at most a block more. */
	assert_in_range(spent(&o, BUDGET_USER, "u", NOON), 2700, 2800);
	assert_in_range(spent(&o, BUDGET_SESSION, "s", NOON), 2700, 2800);
	crash(&o);
	assert_int_equal(open_at(&o, false, NOON), ERR_OK);
	assert_int_equal(spent(&o, BUDGET_SESSION, "s", NOON), 0);
	crash(&o);
	assert_int_equal(open_at(&o, true, NOON + 2 * DAY_US), ERR_OK);
	assert_int_equal(spent(&o, BUDGET_USER, "u", NOON + 2 * DAY_US), 0);
	crash(&o);
}

static void an_orderly_end_is_exact(void **state)
{
	struct budget_amounts used = {.of = {[BUDGET_TOKENS] = 701}};
	struct opened o;
	int i;

	(void)state;
	assert_int_equal(open_at(&o, true, NOON), ERR_OK);
	for (i = 0; i < 3; i++)
		assert_int_equal(budget_settle(o.budget, take(&o, 900), &used),
				 ERR_OK);
	assert_int_equal(ledger_write_all(o.ledger, o.budget), ERR_OK);
	crash(&o);
	assert_int_equal(open_at(&o, true, NOON), ERR_OK);
	assert_int_equal(spent(&o, BUDGET_USER, "u", NOON), 2103);
	crash(&o);
}

static void a_torn_end_is_dropped_and_damage_is_not(void **state)
{
	struct opened o;
	struct stat st;
	uint8_t byte;
	int fd;

	(void)state;
	assert_int_equal(open_at(&o, true, NOON), ERR_OK);
	assert_int_not_equal(take(&o, 1000), 0);
	assert_int_not_equal(take(&o, 1000), 0);
	crash(&o);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 3), 0);
	assert_int_equal(open_at(&o, true, NOON), ERR_OK);
	assert_true(spent(&o, BUDGET_USER, "u", NOON) >= 1000);
	assert_int_not_equal(take(&o, 1000), 0);
	assert_int_not_equal(take(&o, 1000), 0);
	crash(&o);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &byte, 1, 40), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 40), 1);
	close(fd);
	assert_int_equal(open_at(&o, true, NOON), ERR_CONFIG);
	assert_non_null(strstr(o.text, "damaged"));
	assert_non_null(strstr(o.text, path));
}

static void write_file(const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

static void foreign_files_stop_the_engine(void **state)
{
	struct opened o;

	(void)state;
	write_file("kenaz-ledger\3\0\0\0", 16);
	assert_int_equal(open_at(&o, true, NOON), ERR_CONFIG);
	assert_non_null(strstr(o.text, "newer"));
	write_file("not a ledger at all", 19);
	assert_int_equal(open_at(&o, true, NOON), ERR_CONFIG);
	assert_non_null(strstr(o.text, "no ledger"));
	/* It was whole when it got its name. */
	write_file("", 0);
	assert_int_equal(open_at(&o, true, NOON), ERR_CONFIG);
	assert_non_null(strstr(o.text, "short"));
	write_file("kenaz-ledger\2\0\0\0\1", 17);
	assert_int_equal(open_at(&o, true, NOON), ERR_CONFIG);
	assert_non_null(strstr(o.text, "short"));
	/* The first version's. */
	write_file("kenaz-ledger\1\0\0\0", 16);
	assert_int_equal(open_at(&o, true, NOON), ERR_OK);
	crash(&o);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(open_at(&o, true, NOON), ERR_CONFIG);
	assert_non_null(strstr(o.text, "alone"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/dev/zero", path), 0);
	assert_int_equal(open_at(&o, true, NOON), ERR_CONFIG);
}

static void records_are_checked(void **state)
{
	struct budget_row row = {.scope = BUDGET_USER, .day = 7};
	struct budget_row got;
	struct buf b;

	(void)state;
	(void)snprintf(row.key, sizeof(row.key), "someone");
	row.durable.of[BUDGET_TOKENS] = 5;
	buf_init(&b, 256);
	assert_int_equal(ledger_put_row(&b, &row), ERR_OK);
	assert_int_equal(ledger_get_row(buf_span(&b), &got), ERR_OK);
	assert_string_equal(got.key, "someone");
	assert_int_equal(got.used.of[BUDGET_TOKENS], 5);
	assert_int_equal(got.day, 7);
	assert_int_equal(ledger_get_row(span_of(b.data, b.len_bytes - 1), &got),
			 ERR_SHORT);
	b.data[9] ^= 1;
	assert_int_equal(ledger_get_row(buf_span(&b), &got), ERR_INTEGRITY);
	buf_reset(&b);
	row.durable.of[BUDGET_BYTES] = -1;
	assert_int_equal(ledger_put_row(&b, &row), ERR_OK);
	assert_int_equal(ledger_get_row(buf_span(&b), &got), ERR_RANGE);
	buf_fini(&b);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_crash_gives_nothing_back),
		TEST(an_orderly_end_is_exact),
		TEST(a_torn_end_is_dropped_and_damage_is_not),
		TEST(foreign_files_stop_the_engine),
		TEST(records_are_checked),
	};

	if (digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
