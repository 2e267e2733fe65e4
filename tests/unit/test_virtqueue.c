/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtqueue.c - a hostile driver cannot lead the queue out of its memory
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/fake_frontend.h"

#define TX 1

static struct fake_frontend fake;
static struct virtqueue_chain chain;

static int setup(void **state)
{
	(void)state;
	fake_init(&fake);
	fake_start_queue(&fake, TX);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_fini(&fake);
	return 0;
}

static void assert_broken(const char *word)
{
	struct virtqueue *q = &fake.queues[TX];

	assert_int_equal(virtqueue_pop(q, &chain), ERR_FORMAT);
	assert_non_null(q->fault);
	assert_non_null(strstr(q->fault, word));
	/* It stays broken. */
	assert_int_equal(virtqueue_pop(q, &chain), ERR_FORMAT);
}

static void empty_queue_says_again(void **state)
{
	(void)state;
	assert_int_equal(virtqueue_pop(&fake.queues[TX], &chain), ERR_AGAIN);
	assert_false(virtqueue_has_work(&fake.queues[TX]));
}

static void chain_is_copied_in_order(void **state)
{
	struct virtqueue *q = &fake.queues[TX];
	uint32_t head, len;

	(void)state;
	fake_desc(&fake, TX, 7, 0x100000, 10, FAKE_DESC_NEXT, 9);
	fake_desc(&fake, TX, 9, 0x200000, 20, FAKE_DESC_NEXT, 3);
	fake_desc(&fake, TX, 3, 0x300000, 30, FAKE_DESC_WRITE, 0);
	fake_offer(&fake, TX, 7);
	assert_int_equal(virtqueue_pop(q, &chain), ERR_OK);
	assert_int_equal(chain.count, 3);
	assert_int_equal(chain.readable_count, 2);
	assert_int_equal(chain.readable_bytes, 30);
	assert_int_equal(chain.writable_bytes, 30);
	assert_ptr_equal(chain.segments[1].iov_base, fake.memory + 0x200000);
	virtqueue_push(q, chain.head, 5);
	assert_false(fake_take_used(&fake, TX, &head, &len));
	assert_true(virtqueue_publish(q));
	assert_true(fake_take_used(&fake, TX, &head, &len));
	assert_int_equal(head, 7);
	assert_int_equal(len, 5);
	assert_false(virtqueue_publish(q));
}

static void interrupt_is_not_sent_when_unwanted(void **state)
{
	struct virtqueue *q = &fake.queues[TX];
	uint16_t no_interrupt = 1;

	(void)state;
	memcpy(fake.memory + fake_ring(TX, 1), &no_interrupt, 2);
	fake_desc(&fake, TX, 0, 0x100000, 10, 0, 0);
	fake_offer(&fake, TX, 0);
	assert_int_equal(virtqueue_pop(q, &chain), ERR_OK);
	virtqueue_push(q, chain.head, 0);
	assert_false(virtqueue_publish(q));
}

static void unpopped_chain_comes_again(void **state)
{
	struct virtqueue *q = &fake.queues[TX];

	(void)state;
	fake_desc(&fake, TX, 0, 0x100000, 10, 0, 0);
	fake_desc(&fake, TX, 1, 0x100000, 11, 0, 0);
	fake_offer(&fake, TX, 0);
	fake_offer(&fake, TX, 1);
	assert_int_equal(virtqueue_pop(q, &chain), ERR_OK);
	assert_int_equal(virtqueue_pop(q, &chain), ERR_OK);
	virtqueue_unpop(q, 1);
	assert_int_equal(virtqueue_pop(q, &chain), ERR_OK);
	assert_int_equal(chain.head, 1);
}

static void ring_wraps_around(void **state)
{
	struct virtqueue *q = &fake.queues[TX];
	unsigned i;

	(void)state;
	fake_desc(&fake, TX, 0, 0x100000, 10, 0, 0);
	for (i = 0; i < 70000; i++) {
		fake_offer(&fake, TX, 0);
		assert_int_equal(virtqueue_pop(q, &chain), ERR_OK);
		virtqueue_push(q, chain.head, 0);
		(void)virtqueue_publish(q);
	}
	assert_int_equal(virtqueue_pop(q, &chain), ERR_AGAIN);
}

static void kicks_can_be_switched_off(void **state)
{
	uint16_t flags;

	(void)state;
	virtqueue_want_kicks(&fake.queues[TX], false);
	memcpy(&flags, fake.memory + fake_ring(TX, 2), 2);
	assert_int_equal(flags, 1);
	virtqueue_want_kicks(&fake.queues[TX], true);
	memcpy(&flags, fake.memory + fake_ring(TX, 2), 2);
	assert_int_equal(flags, 0);
}

static void loop_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, 0x100000, 10, FAKE_DESC_NEXT, 1);
	fake_desc(&fake, TX, 1, 0x100000, 10, FAKE_DESC_NEXT, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("chain");
}

static void head_past_queue_breaks(void **state)
{
	(void)state;
	fake_offer(&fake, TX, FAKE_QUEUE_SIZE);
	assert_broken("head");
}

static void next_past_queue_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, 0x100000, 10, FAKE_DESC_NEXT, FAKE_QUEUE_SIZE);
	fake_offer(&fake, TX, 0);
	assert_broken("next");
}

static void avail_jump_breaks(void **state)
{
	(void)state;
	fake.avail[TX] = FAKE_QUEUE_SIZE;
	fake_offer(&fake, TX, 0);
	assert_true(virtqueue_has_work(&fake.queues[TX]) == false ||
		    fake.queues[TX].fault != NULL);
	assert_broken("ahead");
}

static void address_wrap_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, UINT64_MAX - 4, 10, 0, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("outside");
}

static void straddling_the_end_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, FAKE_MEMORY_BYTES - 4, 5, 0, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("outside");
}

static void last_bytes_are_usable(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, FAKE_MEMORY_BYTES - 4, 4, 0, 0);
	fake_offer(&fake, TX, 0);
	assert_int_equal(virtqueue_pop(&fake.queues[TX], &chain), ERR_OK);
}

static void huge_length_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, 0x100000, UINT32_MAX, 0, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("outside");
}

static void zero_length_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, 0x100000, 0, 0, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("no bytes");
}

static void readable_after_writable_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, 0x100000, 4, FAKE_DESC_WRITE | FAKE_DESC_NEXT,
		  1);
	fake_desc(&fake, TX, 1, 0x100000, 4, 0, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("readable after writable");
}

static void too_many_segments_break(void **state)
{
	uint16_t i;

	(void)state;
	for (i = 0; i < VIRTQUEUE_SEGMENTS_MAX + 1; i++)
		fake_desc(&fake, TX, i, 0x100000, 4, FAKE_DESC_NEXT,
			  (uint16_t)(i + 1));
	fake_offer(&fake, TX, 0);
	assert_broken("too many");
}

static void indirect_table_is_walked(void **state)
{
	(void)state;
	fake_desc_at(&fake, 0x300008, 0, 0x100000, 4, FAKE_DESC_NEXT, 2);
	fake_desc_at(&fake, 0x300008, 2, 0x200000, 6, 0, 0);
	fake_desc(&fake, TX, 0, 0x300008, 48, FAKE_DESC_INDIRECT, 0);
	fake_offer(&fake, TX, 0);
	assert_int_equal(virtqueue_pop(&fake.queues[TX], &chain), ERR_OK);
	assert_int_equal(chain.count, 2);
	assert_int_equal(chain.readable_bytes, 10);
}

static void indirect_after_direct_is_walked(void **state)
{
	(void)state;
	fake_desc_at(&fake, 0x300000, 0, 0x200000, 6, 0, 0);
	fake_desc(&fake, TX, 0, 0x100000, 4, FAKE_DESC_NEXT, 1);
	fake_desc(&fake, TX, 1, 0x300000, 16, FAKE_DESC_INDIRECT, 0);
	fake_offer(&fake, TX, 0);
	assert_int_equal(virtqueue_pop(&fake.queues[TX], &chain), ERR_OK);
	assert_int_equal(chain.count, 2);
}

static void nested_indirect_breaks(void **state)
{
	(void)state;
	fake_desc_at(&fake, 0x300000, 0, 0x310000, 16, FAKE_DESC_INDIRECT, 0);
	fake_desc(&fake, TX, 0, 0x300000, 16, FAKE_DESC_INDIRECT, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("nested");
}

static void ragged_indirect_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, 0x300000, 17, FAKE_DESC_INDIRECT, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("ragged");
}

static void huge_indirect_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, 0x300000, (FAKE_QUEUE_SIZE + 1) * 16,
		  FAKE_DESC_INDIRECT, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("longer");
}

static void indirect_outside_memory_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, FAKE_MEMORY_BYTES - 8, 16, FAKE_DESC_INDIRECT,
		  0);
	fake_offer(&fake, TX, 0);
	assert_broken("outside");
}

static void indirect_with_next_breaks(void **state)
{
	(void)state;
	fake_desc(&fake, TX, 0, 0x300000, 16,
		  FAKE_DESC_INDIRECT | FAKE_DESC_NEXT, 1);
	fake_offer(&fake, TX, 0);
	assert_broken("successor");
}

static void indirect_loop_breaks(void **state)
{
	(void)state;
	fake_desc_at(&fake, 0x300000, 0, 0x200000, 6, FAKE_DESC_NEXT, 0);
	fake_desc(&fake, TX, 0, 0x300000, 32, FAKE_DESC_INDIRECT, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("loops");
}

static void indirect_next_past_table_breaks(void **state)
{
	(void)state;
	fake_desc_at(&fake, 0x300000, 0, 0x200000, 6, FAKE_DESC_NEXT, 2);
	fake_desc(&fake, TX, 0, 0x300000, 32, FAKE_DESC_INDIRECT, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("past its table");
}

static void indirect_not_negotiated_breaks(void **state)
{
	(void)state;
	fake.queues[TX].indirect = false;
	fake_desc(&fake, TX, 0, 0x300000, 16, FAKE_DESC_INDIRECT, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("negotiated");
}

static void misaligned_indirect_is_read_as_bytes(void **state)
{
	(void)state;
	/* 2.7.5.3 asks for no alignment of such a table. */
	fake_desc_at(&fake, 0x300003, 0, 0x200001, 6, 0, 0);
	fake_desc(&fake, TX, 0, 0x300003, 16, FAKE_DESC_INDIRECT, 0);
	fake_offer(&fake, TX, 0);
	assert_int_equal(virtqueue_pop(&fake.queues[TX], &chain), ERR_OK);
	assert_ptr_equal(chain.segments[0].iov_base, fake.memory + 0x200001);
}

/* Neighbours to the guest, but not in our memory: a buffer that begins in one
 * region and ends in the next must not be handed out. */
static void buffer_across_two_regions_breaks(void **state)
{
	(void)state;
	fake.map.regions[0].size_bytes = 0x200000;
	assert_int_equal(guest_map_add(&fake.map, 0x200000,
				       FAKE_USER_BASE + 0x400000, 0x200000,
				       fake.memory + 0x600000),
			 ERR_OK);
	fake_desc(&fake, TX, 0, 0x1fffff, 1, FAKE_DESC_NEXT, 1);
	fake_desc(&fake, TX, 1, 0x200000, 8, 0, 0);
	fake_offer(&fake, TX, 0);
	assert_int_equal(virtqueue_pop(&fake.queues[TX], &chain), ERR_OK);
	assert_ptr_equal(chain.segments[1].iov_base, fake.memory + 0x600000);
	fake_desc(&fake, TX, 0, 0x1ffffc, 8, 0, 0);
	fake_offer(&fake, TX, 0);
	assert_broken("outside");
}

static bool racing;

/* Another processor of the guest, moving a buffer out of its memory. */
static void *rewrite(void *arg)
{
	uint64_t *addr = (void *)(fake.memory + fake_ring(TX, 0));
	uint64_t value = 0x100000;

	(void)arg;
	while (__atomic_load_n(&racing, __ATOMIC_ACQUIRE)) {
		value = value == 0x100000 ? FAKE_MEMORY_BYTES : 0x100000;
		__atomic_store_n(addr, value, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* The address that is used is the one that was checked. */
static void descriptor_is_read_once(void **state)
{
	struct virtqueue *q = &fake.queues[TX];
	pthread_t thread;
	unsigned i;

	(void)state;
	fake_desc(&fake, TX, 0, 0x100000, 16, 0, 0);
	racing = true;
	assert_int_equal(pthread_create(&thread, NULL, rewrite, NULL), 0);
	for (i = 0; i < 200000; i++) {
		fake_offer(&fake, TX, 0);
		if (virtqueue_pop(q, &chain) == ERR_OK) {
			assert_ptr_equal(chain.segments[0].iov_base,
					 fake.memory + 0x100000);
			virtqueue_push(q, chain.head, 0);
			continue;
		}
		assert_non_null(strstr(q->fault, "outside"));
		memset(fake.memory + fake_ring(TX, 1), 0, 0x4000);
		fake.avail[TX] = 0;
		fake_start_queue(&fake, TX);
	}
	__atomic_store_n(&racing, false, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void bad_rings_do_not_start(void **state)
{
	struct virtqueue q;
	uint64_t base = FAKE_USER_BASE;

	(void)state;
	assert_int_equal(virtqueue_start(&q, &fake.map, 100, 0, base, base,
					 base, true),
			 ERR_RANGE);
	assert_int_equal(virtqueue_start(&q, &fake.map, 2048, 0, base, base,
					 base, true),
			 ERR_RANGE);
	assert_int_equal(virtqueue_start(&q, &fake.map, 128, 0, base + 8, base,
					 base, true),
			 ERR_FORMAT);
	assert_int_equal(virtqueue_start(&q, &fake.map, 128, 0, base, base,
					 base + FAKE_MEMORY_BYTES - 64, true),
			 ERR_RANGE);
	assert_int_equal(virtqueue_start(&q, &fake.map, 128, 0, 0, base, base,
					 true),
			 ERR_RANGE);
	assert_int_equal(virtqueue_pop(&q, &chain), ERR_STATE);
}

static void regions_are_not_joined(void **state)
{
	struct guest_map m = {0};
	uint8_t *at;

	(void)state;
	assert_int_equal(guest_map_add(&m, 0, 0, 4096, fake.memory), ERR_OK);
	assert_int_equal(guest_map_add(&m, 4096, 4096, 4096,
				       fake.memory + 8192),
			 ERR_OK);
	assert_int_equal(guest_map_find(&m, 4090, 6, &at), ERR_OK);
	assert_int_equal(guest_map_find(&m, 4090, 7, &at), ERR_RANGE);
	assert_int_equal(guest_map_find(&m, 8191, UINT64_MAX, &at), ERR_RANGE);
	assert_int_equal(guest_map_add(&m, 4000, 99999, 200, fake.memory),
			 ERR_EXISTS);
	assert_int_equal(guest_map_add(&m, UINT64_MAX - 5, 99999, 200,
				       fake.memory),
			 ERR_RANGE);
	assert_int_equal(guest_map_add(&m, 99999, 99999, 0, fake.memory),
			 ERR_RANGE);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(empty_queue_says_again),
		T(chain_is_copied_in_order),
		T(interrupt_is_not_sent_when_unwanted),
		T(unpopped_chain_comes_again),
		T(ring_wraps_around),
		T(kicks_can_be_switched_off),
		T(loop_breaks),
		T(head_past_queue_breaks),
		T(next_past_queue_breaks),
		T(avail_jump_breaks),
		T(address_wrap_breaks),
		T(straddling_the_end_breaks),
		T(last_bytes_are_usable),
		T(huge_length_breaks),
		T(zero_length_breaks),
		T(readable_after_writable_breaks),
		T(too_many_segments_break),
		T(indirect_table_is_walked),
		T(indirect_after_direct_is_walked),
		T(nested_indirect_breaks),
		T(ragged_indirect_breaks),
		T(huge_indirect_breaks),
		T(indirect_outside_memory_breaks),
		T(indirect_with_next_breaks),
		T(indirect_loop_breaks),
		T(indirect_next_past_table_breaks),
		T(indirect_not_negotiated_breaks),
		T(misaligned_indirect_is_read_as_bytes),
		T(buffer_across_two_regions_breaks),
		T(descriptor_is_read_once),
		T(bad_rings_do_not_start),
		T(regions_are_not_joined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
