/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_template_store.c - which files are a template, and of what
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   starts a machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/core/template_store.h"

#define MIB       (1024 * 1024)
#define ALL_SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

static const struct pool_kind kind = {.trust = 1000,
				      .image = "mini",
				      .memory_mib = 128,
				      .vcpus = 1,
				      .accelerator = "tcg",
				      .backend = "vhost-user"};

static int file(long size_bytes, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size_bytes), 0);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static enum err check(long memory_bytes, int memory_seals, long state_bytes,
		      int state_seals, uint64_t *ret_used_mib)
{
	int memory = file(memory_bytes, memory_seals);
	int state = file(state_bytes, state_seals);
	enum err err = template_check_files(memory, state, kind.memory_mib,
					    ret_used_mib);

	close(memory);
	close(state);
	return err;
}

static void test_what_can_change_is_no_template(void **state)
{
	static const int each[] = {F_SEAL_WRITE, F_SEAL_GROW, F_SEAL_SHRINK,
				   F_SEAL_SEAL};
	uint64_t used = 0;
	size_t i;

	(void)state;
	assert_int_equal(check(128 * MIB, ALL_SEALS, 4096, ALL_SEALS, &used),
			 ERR_OK);
	/* What was touched counts, not what it could grow to. */
	assert_int_equal(used, 1);
	for (i = 0; i < ARRAY_SIZE(each); i++) {
		assert_int_equal(check(128 * MIB, ALL_SEALS & ~each[i], 4096,
				       ALL_SEALS, &used),
				 ERR_INTEGRITY);
		assert_int_equal(check(128 * MIB, ALL_SEALS, 4096,
				       ALL_SEALS & ~each[i], &used),
				 ERR_INTEGRITY);
	}
}

static void test_a_template_has_its_machines_size(void **state)
{
	uint64_t used = 0;

	(void)state;
	assert_int_equal(check(127 * MIB, ALL_SEALS, 4096, ALL_SEALS, &used),
			 ERR_RANGE);
	assert_int_equal(check(129 * MIB, ALL_SEALS, 4096, ALL_SEALS, &used),
			 ERR_RANGE);
	assert_int_equal(check(128 * MIB, ALL_SEALS,
			       (long)(TEMPLATE_STATE_MAX_MIB * MIB + 1),
			       ALL_SEALS, &used),
			 ERR_RANGE);
}

static void test_no_file_is_no_template(void **state)
{
	uint64_t used = 0;
	int pair[2];

	(void)state;
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(template_check_files(pair[0], pair[1], 128, &used),
			 ERR_INTEGRITY);
	close(pair[0]);
	close(pair[1]);
}

static void test_the_key_covers_everything(void **state)
{
	const struct msg_vm_fingerprint machine = {.cpu = span_text("max")};
	struct msg_vm_fingerprint m[3] = {machine, machine, machine};
	struct pool_kind k[6] = {kind, kind, kind, kind, kind, kind};
	uint8_t keys[12][DIGEST_BYTES];
	size_t i, j, n = 0;

	(void)state;
	template_key(&kind, &machine, "7.2", keys[n++]);
	template_key(&kind, &machine, "7.3", keys[n++]);
	m[0].manifest[31]++;
	m[1].qemu[0]++;
	m[2].arguments[5]++;
	for (i = 0; i < ARRAY_SIZE(m); i++)
		template_key(&kind, &m[i], "7.2", keys[n++]);
	k[0].trust++;
	k[1].memory_mib++;
	k[2].vcpus++;
	k[3].image[0]++;
	k[4].accelerator[0]++;
	k[5].backend[0]++;
	for (i = 0; i < ARRAY_SIZE(k); i++)
		template_key(&k[i], &machine, "7.2", keys[n++]);
	template_key(&kind, &machine, "7.2", keys[n]);
	assert_memory_equal(keys[0], keys[n], DIGEST_BYTES);
	for (i = 0; i < n; i++)
		for (j = 0; j < i; j++)
			assert_memory_not_equal(keys[i], keys[j], DIGEST_BYTES);
}

static void test_a_clone_is_of_its_template(void **state)
{
	struct template_entry t = {.kind = kind};
	struct msg_vm_fingerprint m = {.cpu = span_text("max")};

	(void)state;
	assert_true(template_fits(&t, &m));
	m.template[0]++;
	assert_false(template_fits(&t, &m));
	t.digest[0]++;
	assert_true(template_fits(&t, &m));
	m.manifest[3]++;
	assert_false(template_fits(&t, &m));
	m.manifest[3]--;
	m.qemu[3]++;
	assert_false(template_fits(&t, &m));
}

static void test_only_what_is_in_the_log_serves(void **state)
{
	struct template_entry t[2] = {
		{.kind = kind, .used_ns = 2, .used_mib = 5},
		{.kind = kind, .used_ns = 1, .used_mib = 7}};
	struct template_list list = LIST_HEAD_INITIALIZER(list);
	struct pool_kind other = kind;

	(void)state;
	assert_null(template_oldest(&list));
	LIST_INSERT_HEAD(&list, &t[0], next);
	assert_null(template_find(&list, &kind));
	t[0].durable = true;
	assert_ptr_equal(template_find(&list, &kind), &t[0]);
	other.trust++;
	assert_null(template_find(&list, &other));
	t[1].kind = other;
	LIST_INSERT_HEAD(&list, &t[1], next);
	assert_ptr_equal(template_oldest(&list), &t[1]);
	assert_int_equal(template_mib(&list), 12);
	assert_int_equal(template_count(&list), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_can_change_is_no_template),
		cmocka_unit_test(test_a_template_has_its_machines_size),
		cmocka_unit_test(test_no_file_is_no_template),
		cmocka_unit_test(test_the_key_covers_everything),
		cmocka_unit_test(test_a_clone_is_of_its_template),
		cmocka_unit_test(test_only_what_is_in_the_log_serves),
	};

	if (digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
