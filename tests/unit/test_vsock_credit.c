/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vsock_credit.c - credit in both directions, ceilings and storms
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/vsock_rig.h"
#include "vm/vsock_stream.h"

static void credit_is_given_back_as_the_host_reads(void **state)
{
	static uint8_t got[65536];
	struct vsock_header h;
	uint32_t last = 0;
	size_t total = 0;
	ssize_t n;

	(void)state;
	fake_post_rx(&fake, 0, 8, 4096);
	open_stream(5000);
	(void)stuff(5000, VSOCK_BUFFER_MAX_BYTES);
	while ((n = read(accepted_fd, got, sizeof(got))) > 0) {
		total += (size_t)n;
		run();
	}
	while (fake_receive(&fake, &h, NULL, NULL)) {
		assert_int_equal(h.op, VSOCK_OP_CREDIT_UPDATE);
		assert_int_equal(h.buf_alloc_bytes, VSOCK_BUFFER_MAX_BYTES);
		assert_true(h.fwd_cnt_bytes > last);
		last = h.fwd_cnt_bytes;
	}
	assert_int_equal(total, VSOCK_BUFFER_MAX_BYTES);
	assert_int_equal(last, VSOCK_BUFFER_MAX_BYTES);
}

/* A guest with a small buffer stops after as much of ours, as Linux does. */
static void small_windows_are_refilled(void **state)
{
	struct vsock_header h;

	(void)state;
	fake.buf_alloc_bytes = 1000;
	fake_post_rx(&fake, 0, 8, 4096);
	open_stream(5000);
	(void)stuff(5000, 1000);
	h = expect_op(VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(h.fwd_cnt_bytes, 1000);
	fake.buf_alloc_bytes = 0;
	(void)stuff(5000, 1);
	h = expect_op(VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(h.fwd_cnt_bytes, 1001);
	expect_silence();
}

static void ignoring_our_credit_is_reset(void **state)
{
	static uint8_t data[65536];
	struct vsock_header h;
	bool reset = false;
	unsigned i;

	(void)state;
	fake_post_rx(&fake, 0, 8, 4096);
	open_stream(5000);
	/* Nobody reads: buffer and socket fill, then it must end. */
	for (i = 0; i < 32 && !reset; i++) {
		send_data(5000, data, sizeof(data));
		while (fake_receive(&fake, &h, NULL, NULL))
			reset |= h.op == VSOCK_OP_RST;
	}
	assert_true(reset);
	assert_int_equal(dev->streams, 0);
}

static void guests_credit_limits_what_is_sent(void **state)
{
	static uint8_t data[8192];
	struct vsock_header h;
	size_t total = 0;

	(void)state;
	fake.buf_alloc_bytes = 1000;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	assert_int_equal(write(accepted_fd, data, sizeof(data)), sizeof(data));
	run();
	h = expect_op(VSOCK_OP_RW);
	assert_int_equal(h.len_bytes, 1000);
	(void)expect_op(VSOCK_OP_CREDIT_REQUEST);
	expect_silence();
	/* An update that frees nothing is not asked about again. */
	send_op(VSOCK_OP_CREDIT_UPDATE, 5000, PORT);
	expect_silence();
	h = fake_header(&fake, VSOCK_OP_CREDIT_UPDATE, 5000, PORT);
	h.fwd_cnt_bytes = 1000;
	h.buf_alloc_bytes = 1u << 20;
	fake_send(&fake, &h, NULL, 0);
	run();
	while (fake_receive(&fake, &h, NULL, NULL)) {
		assert_int_equal(h.op, VSOCK_OP_RW);
		total += h.len_bytes;
	}
	assert_int_equal(total, sizeof(data) - 1000);
}

static void shrinking_credit_does_not_wrap(void **state)
{
	static uint8_t data[8192];
	struct vsock_header h;
	size_t len;

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	assert_int_equal(write(accepted_fd, data, 3000), 3000);
	run();
	(void)expect_op(VSOCK_OP_RW);
	h = fake_header(&fake, VSOCK_OP_CREDIT_UPDATE, 5000, PORT);
	h.buf_alloc_bytes = 100;
	fake_send(&fake, &h, NULL, 0);
	run();
	assert_int_equal(write(accepted_fd, data, sizeof(data)), sizeof(data));
	run();
	while (fake_receive(&fake, &h, NULL, &len))
		assert_int_equal(len, 0);
	assert_null(failed_why);
}

static void zero_and_huge_credit_are_survived(void **state)
{
	static uint8_t data[8192];
	struct vsock_header h;
	size_t total = 0;

	(void)state;
	fake.buf_alloc_bytes = 0;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	assert_int_equal(write(accepted_fd, data, sizeof(data)), sizeof(data));
	run();
	(void)expect_op(VSOCK_OP_CREDIT_REQUEST);
	expect_silence();
	fake.buf_alloc_bytes = UINT32_MAX;
	send_op(VSOCK_OP_CREDIT_UPDATE, 5000, PORT);
	while (fake_receive(&fake, &h, NULL, NULL))
		total += h.len_bytes;
	assert_int_equal(total, sizeof(data));
}

static void consuming_more_than_sent_is_reset(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_CREDIT_UPDATE, 5000, PORT);

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	h.fwd_cnt_bytes = 1;
	fake_send(&fake, &h, NULL, 0);
	run();
	(void)expect_op(VSOCK_OP_RST);
}

static void taking_consumption_back_is_reset(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	assert_int_equal(write(accepted_fd, "abcd", 4), 4);
	run();
	(void)expect_op(VSOCK_OP_RW);
	h = fake_header(&fake, VSOCK_OP_CREDIT_UPDATE, 5000, PORT);
	h.fwd_cnt_bytes = 4;
	fake_send(&fake, &h, NULL, 0);
	run();
	expect_silence();
	h.fwd_cnt_bytes = 3;
	fake_send(&fake, &h, NULL, 0);
	run();
	(void)expect_op(VSOCK_OP_RST);
}

static void credit_counters_wrap(void **state)
{
	struct vsock_credit c = {.peer_alloc_bytes = 100,
				 .tx_bytes = 20,
				 .peer_fwd_bytes = UINT32_MAX - 9,
				 .alloc_bytes = 50,
				 .rx_bytes = 10,
				 .fwd_bytes = UINT32_MAX - 9};

	(void)state;
	assert_int_equal(credit_left(&c), 70);
	assert_int_equal(credit_update_peer(&c, 100, 20), ERR_OK);
	assert_int_equal(credit_left(&c), 100);
	assert_int_equal(credit_update_peer(&c, 100, 21), ERR_RANGE);
	assert_int_equal(credit_receive(&c, 31), ERR_LIMIT);
	assert_int_equal(credit_receive(&c, 30), ERR_OK);
	assert_int_equal(credit_receive(&c, UINT32_MAX), ERR_LIMIT);
}

static void credit_request_flood_is_bounded(void **state)
{
	struct vsock_header h;
	unsigned i, answers = 0;

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	h = fake_header(&fake, VSOCK_OP_CREDIT_REQUEST, 5000, PORT);
	for (i = 0; i < 40; i++)
		fake_send(&fake, &h, NULL, 0);
	run();
	while (fake_receive(&fake, &h, NULL, NULL)) {
		assert_int_equal(h.op, VSOCK_OP_CREDIT_UPDATE);
		answers++;
	}
	assert_in_range(answers, 1, 40);
	assert_int_equal(dev->streams, 1);
}

static void empty_packets_are_not_queued(void **state)
{
	unsigned i;
	char c;

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	for (i = 0; i < 1000; i++)
		send_data(5000, NULL, 0);
	expect_silence();
	assert_int_equal(read(accepted_fd, &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
}

static void reset_storm_without_buffers_is_held_back(void **state)
{
	uint32_t head, len;
	unsigned i, taken = 0;
	struct vsock_header h;

	(void)state;
	/* Not one buffer to answer into: the device stops taking packets. */
	for (i = 0; i < 4 * VSOCK_RESETS_MAX; i++) {
		if (i < VSOCK_RESETS_MAX + FAKE_QUEUE_SIZE)
			send_op(VSOCK_OP_REQUEST, 5000 + i, 4444);
		while (fake_take_used(&fake, 1, &head, &len))
			taken++;
	}
	assert_int_equal(taken, VSOCK_RESETS_MAX);
	assert_int_equal(run(), 0);
	/* With buffers it goes on where it stopped. */
	fake_post_rx(&fake, 0, 64, 4096);
	run();
	taken = 0;
	while (fake_receive(&fake, &h, NULL, NULL)) {
		assert_int_equal(h.op, VSOCK_OP_RST);
		taken++;
		run();
	}
	assert_int_equal(taken, VSOCK_RESETS_MAX + FAKE_QUEUE_SIZE);
}

static void streams_have_a_ceiling(void **state)
{
	struct vsock_header h;
	unsigned i, responses = 0, resets = 0;

	(void)state;
	fake_post_rx(&fake, 0, 64, 4096);
	for (i = 0; i < VSOCK_STREAMS_MAX + 5; i++) {
		send_op(VSOCK_OP_REQUEST, 10000 + i, PORT);
		while (fake_receive(&fake, &h, NULL, NULL)) {
			responses += h.op == VSOCK_OP_RESPONSE;
			resets += h.op == VSOCK_OP_RST;
		}
	}
	run();
	assert_int_equal(responses, VSOCK_STREAMS_MAX);
	assert_int_equal(resets, 5);
	assert_int_equal(accepted_count, VSOCK_STREAMS_MAX);
}

static void ports_have_a_ceiling(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 64, 4096);
	send_op(VSOCK_OP_REQUEST, 1, SMALL_PORT);
	(void)expect_op(VSOCK_OP_RESPONSE);
	send_op(VSOCK_OP_REQUEST, 2, SMALL_PORT);
	(void)expect_op(VSOCK_OP_RESPONSE);
	send_op(VSOCK_OP_REQUEST, 3, SMALL_PORT);
	(void)expect_op(VSOCK_OP_RST);
	send_op(VSOCK_OP_RST, 1, SMALL_PORT);
	send_op(VSOCK_OP_REQUEST, 3, SMALL_PORT);
	(void)expect_op(VSOCK_OP_RESPONSE);
}

static void starved_guest_costs_no_turns(void **state)
{
	static uint8_t data[65536];

	(void)state;
	fake_post_rx(&fake, 0, 1, 4096);
	send_op(VSOCK_OP_REQUEST, 5000, PORT);
	assert_true(write(accepted_fd, data, sizeof(data)) > 0);
	run();
	/* Bytes wait, the host hangs up, credit is there: still silence. */
	close(accepted_fd);
	all_fds[0] = -1;
	run();
	assert_int_equal(run(), 0);
	assert_int_equal(dev->streams, 1);
}

static void spent_credit_and_hangup_cost_no_turns(void **state)
{
	static uint8_t data[65536];

	(void)state;
	fake.buf_alloc_bytes = 10;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	assert_true(write(accepted_fd, data, sizeof(data)) > 0);
	close(accepted_fd);
	all_fds[0] = -1;
	run();
	assert_int_equal(run(), 0);
}

static void half_close_storm_is_survived(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_SHUTDOWN, 5000, PORT);
	unsigned i;

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	h.flags = VSOCK_SHUTDOWN_SEND;
	for (i = 0; i < 60; i++)
		fake_send(&fake, &h, NULL, 0);
	run();
	h.flags = VSOCK_SHUTDOWN_RECEIVE | 0xfffffff0u;
	for (i = 0; i < 60; i++)
		fake_send(&fake, &h, NULL, 0);
	run();
	(void)expect_op(VSOCK_OP_RST);
	while (fake_receive(&fake, &h, NULL, NULL))
		assert_int_equal(h.op, VSOCK_OP_RST);
	assert_int_equal(dev->streams, 0);
	assert_null(failed_why);
}

static void streams_take_turns(void **state)
{
	static uint8_t data[150000];
	struct vsock_header h;
	unsigned before = 0;
	int bulk;

	(void)state;
	fake.buf_alloc_bytes = 1u << 20;
	fake_post_rx(&fake, 0, 4, 4096);
	open_stream(5000);
	bulk = accepted_fd;
	open_stream(5001);
	assert_true(write(bulk, data, sizeof(data)) > 100000);
	run();
	assert_int_equal(write(accepted_fd, "key", 3), 3);
	while (fake_receive(&fake, &h, NULL, NULL)) {
		run();
		if (h.dst_port == 5001)
			break;
		before += h.len_bytes;
	}
	assert_int_equal(h.dst_port, 5001);
	assert_in_range(before, 0, 4 * VSOCK_QUANTUM_BYTES / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(credit_is_given_back_as_the_host_reads),
		T(small_windows_are_refilled),
		T(ignoring_our_credit_is_reset),
		T(guests_credit_limits_what_is_sent),
		T(shrinking_credit_does_not_wrap),
		T(zero_and_huge_credit_are_survived),
		T(consuming_more_than_sent_is_reset),
		T(taking_consumption_back_is_reset),
		T(credit_counters_wrap),
		T(credit_request_flood_is_bounded),
		T(empty_packets_are_not_queued),
		T(reset_storm_without_buffers_is_held_back),
		T(streams_have_a_ceiling),
		T(ports_have_a_ceiling),
		T(starved_guest_costs_no_turns),
		T(spent_credit_and_hangup_cost_no_turns),
		T(half_close_storm_is_survived),
		T(streams_take_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
