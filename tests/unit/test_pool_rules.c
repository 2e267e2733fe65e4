/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pool_rules.c - which start, which refill, which one goes first
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   starts a machine.
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

#include "engine/core/image_stamp.h"
#include "engine/core/pool_rules.h"

static const struct pool_kind kind = {.trust = 1000,
				      .image = "mini",
				      .memory_mib = 512,
				      .vcpus = 1,
				      .accelerator = "tcg",
				      .backend = "vhost-user"};

static void test_a_kind_is_equal_in_everything(void **state)
{
	struct pool_kind other[] = {kind, kind, kind, kind, kind, kind};
	size_t i;

	(void)state;
	assert_true(pool_kind_equal(&kind, &kind));
	other[0].trust = 1001;
	other[1].image[0] = 'M';
	other[2].memory_mib++;
	other[3].vcpus++;
	other[4].accelerator[0] = 'k';
	other[5].backend[0] = 'V';
	for (i = 0; i < ARRAY_SIZE(other); i++)
		assert_false(pool_kind_equal(&kind, &other[i]));
}

static enum pool_way choose(enum config_pool_start start, bool ready,
			    bool booting, bool has_template, bool can_restore)
{
	const struct pool_choice c = {.configured = start,
				      .has_ready = ready,
				      .has_booting = booting,
				      .has_template = has_template,
				      .can_restore = can_restore};
	const char *why = NULL;
	enum pool_way way = pool_choose(&c, &why);

	assert_non_null(why);
	return way;
}

static void test_the_fastest_way_that_is_allowed(void **state)
{
	(void)state;
	assert_int_equal(choose(CONFIG_POOL_AUTO, true, true, true, true),
			 POOL_READY);
	assert_int_equal(choose(CONFIG_POOL_AUTO, false, true, true, true),
			 POOL_TEMPLATE);
	assert_int_equal(choose(CONFIG_POOL_AUTO, false, true, false, true),
			 POOL_BOOTING);
	assert_int_equal(choose(CONFIG_POOL_AUTO, false, false, false, true),
			 POOL_COLD);
	/* A template that cannot be restored here is none. */
	assert_int_equal(choose(CONFIG_POOL_AUTO, false, false, true, false),
			 POOL_COLD);
	assert_int_equal(choose(CONFIG_POOL_COLD, true, true, true, true),
			 POOL_COLD);
	assert_int_equal(choose(CONFIG_POOL_TEMPLATE, true, true, true, true),
			 POOL_TEMPLATE);
	assert_int_equal(choose(CONFIG_POOL_TEMPLATE, true, true, false, true),
			 POOL_COLD);
	assert_int_equal(choose(CONFIG_POOL_POOL, false, true, true, true),
			 POOL_BOOTING);
	assert_int_equal(choose(CONFIG_POOL_POOL, false, false, true, true),
			 POOL_COLD);
	assert_string_equal(pool_way_text(POOL_BOOTING), "pool");
}

static struct pool_load idle(void)
{
	return (struct pool_load){.now_ns = 100 * POOL_QUIET_NS,
				  .refill_parallel = 1,
				  .need_mib = 512,
				  .available_mib = 8192};
}

static void test_a_refill_waits_for_its_turn(void **state)
{
	struct pool_load l = idle();

	(void)state;
	assert_int_equal(pool_may_refill(&l), POOL_GO);
	l.starting = 1;
	assert_int_equal(pool_may_refill(&l), POOL_USERS_FIRST);
	l = idle();
	l.last_start_ns = l.now_ns - POOL_QUIET_NS / 2;
	assert_int_equal(pool_may_refill(&l), POOL_USERS_FIRST);
	l.last_start_ns = l.now_ns - POOL_QUIET_NS;
	assert_int_equal(pool_may_refill(&l), POOL_GO);
	l.refilling = 1;
	assert_int_equal(pool_may_refill(&l), POOL_BUSY);
	l.refill_parallel = 2;
	assert_int_equal(pool_may_refill(&l), POOL_GO);
	l.retry_ns = l.now_ns + 1;
	assert_int_equal(pool_may_refill(&l), POOL_BACKING_OFF);
	l = idle();
	l.stopping = true;
	assert_int_equal(pool_may_refill(&l), POOL_STOPPING);
	l = idle();
	l.sealed = true;
	assert_int_equal(pool_may_refill(&l), POOL_SEALED);
}

static void test_memory_has_three_ceilings(void **state)
{
	struct pool_load l = idle();

	(void)state;
	l.held_mib = 512;
	l.held_max_mib = 1024;
	assert_int_equal(pool_may_refill(&l), POOL_GO);
	l.held_max_mib = 1023;
	assert_int_equal(pool_may_refill(&l), POOL_HELD_FULL);
	l.held_max_mib = 0;
	l.sessions_mib = 1000;
	l.host_max_mib = 2024;
	assert_int_equal(pool_may_refill(&l), POOL_GO);
	l.host_max_mib = 2023;
	assert_int_equal(pool_may_refill(&l), POOL_LIMIT_FULL);
	l.host_max_mib = 0;
	l.available_mib = 512 + POOL_HOST_RESERVE_MIB;
	assert_int_equal(pool_may_refill(&l), POOL_GO);
	l.available_mib--;
	assert_int_equal(pool_may_refill(&l), POOL_HOST_SHORT);
	/* A host that does not say is no reason to have no pool. */
	l.available_mib = 0;
	assert_int_equal(pool_may_refill(&l), POOL_GO);
}

static void test_every_verdict_has_a_text(void **state)
{
	int v;

	(void)state;
	for (v = POOL_GO; v <= POOL_HOST_SHORT; v++)
		assert_non_null(pool_verdict_text((enum pool_verdict)v));
}

static void test_failures_wait_longer_and_longer(void **state)
{
	unsigned i;

	(void)state;
	assert_int_equal(pool_backoff_ns(0), 0);
	assert_int_equal(pool_backoff_ns(1), POOL_BACKOFF_FIRST_NS);
	for (i = 1; i < 8; i++)
		assert_int_equal(pool_backoff_ns(i + 1),
				 2 * pool_backoff_ns(i));
	assert_int_equal(pool_backoff_ns(40), POOL_BACKOFF_MAX_NS);
	assert_int_equal(pool_backoff_ns(UINT32_MAX), POOL_BACKOFF_MAX_NS);
}

static void test_what_serves_least_goes_first(void **state)
{
	struct pool_victim list[] = {
		{.is_wanted = true,
		 .is_template = true,
		 .is_ready = true,
		 .used_ns = 1,
		 .mib = 90},
		{.is_wanted = true, .is_ready = true, .used_ns = 3, .mib = 512},
		{.is_wanted = true, .is_ready = true, .used_ns = 2, .mib = 512},
		{.is_wanted = true, .used_ns = 9, .mib = 512},
		{.is_ready = true, .used_ns = 9, .mib = 512},
	};
	static const size_t order[] = {4, 3, 2, 1, 0};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(order); i++) {
		assert_int_equal(pool_pick_victim(list, ARRAY_SIZE(list)),
				 order[i]);
		list[order[i]].mib = 0;
	}
	assert_int_equal(pool_pick_victim(list, ARRAY_SIZE(list)),
			 ARRAY_SIZE(list));
}

static void test_a_template_gets_old_by_age_and_by_use(void **state)
{
	const uint64_t second = 1000000000ull;

	(void)state;
	assert_false(pool_is_stale(59 * second, 60, 0, 10));
	assert_true(pool_is_stale(60 * second, 60, 0, 10));
	assert_false(pool_is_stale(0, 60, 9, 10));
	assert_true(pool_is_stale(0, 60, 10, 10));
	assert_false(pool_is_stale(0, 60, 1u << 30, 0));
}

static void put(int dir_fd, const char *name, const char *text)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_a_stamp_sees_every_change(void **state)
{
	char folder[] = "/tmp/kenaz-stamp-XXXXXX", program[64];
	uint8_t before[DIGEST_BYTES], after[DIGEST_BYTES];
	int dir;

	(void)state;
	assert_non_null(mkdtemp(folder));
	dir = open(folder, O_RDONLY | O_DIRECTORY);
	assert_true(dir >= 0);
	(void)snprintf(program, sizeof(program), "%s/.qemu", folder);
	put(dir, "kernel", "k");
	put(dir, "manifest.json", "{}");
	assert_int_equal(image_stamp(dir, program, before), ERR_OK);
	assert_int_equal(image_stamp(dir, program, after), ERR_OK);
	assert_memory_equal(before, after, DIGEST_BYTES);
	/* The same bytes again are another file. */
	put(dir, "new", "k");
	assert_int_equal(renameat(dir, "new", dir, "kernel"), 0);
	assert_int_equal(image_stamp(dir, program, after), ERR_OK);
	assert_memory_not_equal(before, after, DIGEST_BYTES);
	memcpy(before, after, sizeof(before));
	put(dir, "more", "");
	assert_int_equal(image_stamp(dir, program, after), ERR_OK);
	assert_memory_not_equal(before, after, DIGEST_BYTES);
	memcpy(before, after, sizeof(before));
	put(dir, ".qemu", "another program");
	assert_int_equal(image_stamp(dir, program, after), ERR_OK);
	assert_memory_not_equal(before, after, DIGEST_BYTES);
	assert_int_equal(unlinkat(dir, "kernel", 0), 0);
	assert_int_equal(unlinkat(dir, "manifest.json", 0), 0);
	assert_int_equal(unlinkat(dir, "more", 0), 0);
	assert_int_equal(unlinkat(dir, ".qemu", 0), 0);
	close(dir);
	assert_int_equal(rmdir(folder), 0);
}

static void test_a_folder_with_too_many_files_has_no_stamp(void **state)
{
	char folder[] = "/tmp/kenaz-stamp-XXXXXX", name[16];
	uint8_t stamp[DIGEST_BYTES];
	unsigned i;
	int dir;

	(void)state;
	assert_non_null(mkdtemp(folder));
	dir = open(folder, O_RDONLY | O_DIRECTORY);
	assert_true(dir >= 0);
	for (i = 0; i <= IMAGE_STAMP_FILES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		put(dir, name, "");
	}
	assert_int_equal(image_stamp(dir, "/nonexistent", stamp), ERR_LIMIT);
	for (i = 0; i <= IMAGE_STAMP_FILES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(unlinkat(dir, name, 0), 0);
	}
	close(dir);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_kind_is_equal_in_everything),
		cmocka_unit_test(test_the_fastest_way_that_is_allowed),
		cmocka_unit_test(test_a_refill_waits_for_its_turn),
		cmocka_unit_test(test_memory_has_three_ceilings),
		cmocka_unit_test(test_every_verdict_has_a_text),
		cmocka_unit_test(test_failures_wait_longer_and_longer),
		cmocka_unit_test(test_what_serves_least_goes_first),
		cmocka_unit_test(test_a_template_gets_old_by_age_and_by_use),
		cmocka_unit_test(test_a_stamp_sees_every_change),
		cmocka_unit_test(
			test_a_folder_with_too_many_files_has_no_stamp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
