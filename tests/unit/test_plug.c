/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_plug.c - find the slot status register in a configuration space
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/plug.h"

static uint8_t space[PLUG_CONFIG_BYTES];

static unsigned find(size_t len_bytes)
{
	return plug_find_status(span_of(space, len_bytes));
}

/* A list of two: something else at 0x40, PCI Express with a slot at 0x54. */
static void fill(void)
{
	memset(space, 0, sizeof(space));
	space[0x06] = 0x10;
	space[0x34] = 0x40;
	space[0x40] = 0x05;
	space[0x41] = 0x54;
	space[0x54] = 0x10;
	space[0x57] = 0x01;
}

static void a_port_with_a_slot_is_found(void **state)
{
	(void)state;
	fill();
	assert_int_equal(find(sizeof(space)), 0x54 + 0x1a);
}

static void others_are_not(void **state)
{
	(void)state;
	fill();
	space[0x06] = 0; /* no list */
	assert_int_equal(find(sizeof(space)), 0);
	fill();
	space[0x57] = 0; /* no slot */
	assert_int_equal(find(sizeof(space)), 0);
	fill();
	assert_int_equal(find(0x60), 0); /* the register is cut off */
	assert_int_equal(find(4), 0);
	assert_int_equal(find(0), 0);
}

static void a_loop_ends(void **state)
{
	(void)state;
	fill();
	space[0x41] = 0x40;
	assert_int_equal(find(sizeof(space)), 0);
	space[0x41] = 0xff;
	assert_int_equal(find(sizeof(space)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_with_a_slot_is_found),
		cmocka_unit_test(others_are_not),
		cmocka_unit_test(a_loop_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
