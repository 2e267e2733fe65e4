/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vsock_fair.c - shares, ceilings and silence of the vsock device
 *
 * A bulk stream must not starve a terminal, one guest must not have more than
 * its share of memory, and a device without work must not run.
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

#define BULK_MAX     8u
#define RX_BUFFERS   128u
#define BUFFER_BYTES 4096u
#define BLOCK_BYTES  65536u
#define TX_QUEUE_MAX 64u /* buffers that the fake driver has */
#define KEY_PORT     7000u

/* What an honest driver keeps of a stream. */
struct flow {
	uint32_t port;
	int host_fd;
	uint32_t sent, peer_fwd, peer_alloc; /* towards the host */
	uint32_t got, told;                  /* from the host */
	uint64_t to_guest, to_host;          /* bytes that arrived */
};

static struct flow flows[BULK_MAX + 1]; /* the last one is the terminal */
static unsigned flow_count;
static unsigned tx_used;
static uint8_t block[BLOCK_BYTES];

static struct flow *open_flow(uint32_t port)
{
	struct flow *f = &flows[flow_count++];
	struct vsock_header h;

	send_op(VSOCK_OP_REQUEST, port, PORT);
	h = expect_op(VSOCK_OP_RESPONSE);
	*f = (struct flow){
		.port = port,
		.host_fd = accepted_fd,
		.peer_alloc = h.buf_alloc_bytes,
	};
	return f;
}

static void open_flows(unsigned bulk)
{
	uint32_t head, len;
	unsigned i;

	flow_count = 0;
	tx_used = 0;
	fake.buf_alloc_bytes = 262144;
	fake_post_rx(&fake, 0, RX_BUFFERS, BUFFER_BYTES);
	for (i = 0; i < bulk; i++)
		(void)open_flow(5000 + i);
	(void)open_flow(KEY_PORT);
	while (fake_take_used(&fake, 1, &head, &len))
		continue;
}

static void flow_send(struct flow *f, uint16_t op, size_t len_bytes)
{
	struct vsock_header h = fake_header(&fake, op, f->port, PORT);

	h.len_bytes = (uint32_t)len_bytes;
	h.fwd_cnt_bytes = f->got;
	f->told = f->got;
	f->sent += (uint32_t)len_bytes;
	fake_send(&fake, &h, block, len_bytes);
	tx_used++;
}

static void take_returned(void)
{
	uint32_t head, len;

	while (fake_take_used(&fake, 1, &head, &len))
		tx_used--;
}

/* The guest sends all that its credit and its queue allow. */
static void guest_sends(struct flow *f)
{
	while (tx_used < TX_QUEUE_MAX - BULK_MAX - 1 &&
	       f->peer_alloc - (f->sent - f->peer_fwd) >= BLOCK_BYTES)
		flow_send(f, VSOCK_OP_RW, BLOCK_BYTES);
}

static struct flow *flow_of(uint32_t port)
{
	unsigned i = 0;

	while (flows[i].port != port)
		assert_true(++i < flow_count);
	return &flows[i];
}

/* One packet for the guest; its bytes are taken at once. */
static bool guest_receives(void)
{
	struct vsock_header h;
	struct flow *f;

	if (!fake_receive(&fake, &h, NULL, NULL))
		return false;
	assert_int_not_equal(h.op, VSOCK_OP_RST);
	f = flow_of(h.dst_port);
	f->peer_fwd = h.fwd_cnt_bytes;
	f->peer_alloc = h.buf_alloc_bytes;
	f->got += h.len_bytes;
	f->to_guest += h.len_bytes;
	if (f->got - f->told > 65536 && tx_used < TX_QUEUE_MAX)
		flow_send(f, VSOCK_OP_CREDIT_UPDATE, 0);
	return true;
}

/* The host has no end of data and takes all it is given. */
static void host_works(struct flow *f)
{
	static uint8_t got[BLOCK_BYTES];
	ssize_t n;

	while (write(f->host_fd, block, sizeof(block)) > 0)
		continue;
	while ((n = read(f->host_fd, got, sizeof(got))) > 0)
		f->to_host += (uint64_t)n;
}

/* One turn of the world; the terminal's bytes only move by themselves. */
static void world_turns(bool to_guest, bool to_host)
{
	unsigned i;

	for (i = 0; i + 1 < flow_count; i++) {
		if (to_guest)
			host_works(&flows[i]);
		if (to_host)
			guest_sends(&flows[i]);
	}
	vsock_turn(dev, SECOND_NS);
	take_returned();
	while (guest_receives())
		continue;
	for (i = 0; to_host && i + 1 < flow_count; i++)
		host_works(&flows[i]);
}

static uint64_t bulk_bytes(bool to_guest)
{
	uint64_t sum = 0;
	unsigned i;

	for (i = 0; i + 1 < flow_count; i++)
		sum += to_guest ? flows[i].to_guest : flows[i].to_host;
	return sum;
}

/* A key is struck now and then: it arrives in the turn after, behind at most
 * one share of each other stream and what the guest had in its buffers. */
static void keys_reach_the_guest(unsigned bulk, bool both)
{
	struct flow *key;
	unsigned i;

	open_flows(bulk);
	key = &flows[flow_count - 1];
	for (i = 0; i < 20; i++)
		world_turns(true, both);
	assert_true(bulk_bytes(true) > 20 * BLOCK_BYTES);
	for (i = 1; i <= 50; i++) {
		uint64_t before = bulk_bytes(true);

		assert_int_equal(write(key->host_fd, "k", 1), 1);
		world_turns(true, both);
		if (key->to_guest < i)
			world_turns(true, both);
		assert_int_equal(key->to_guest, i);
		assert_in_range(bulk_bytes(true) - before, 0,
				2 * VSOCK_TURN_BYTES + BLOCK_BYTES);
	}
}

static void terminal_is_not_starved_by_one_stream(void **state)
{
	(void)state;
	keys_reach_the_guest(1, false);
}

static void terminal_is_not_starved_by_many_streams(void **state)
{
	(void)state;
	keys_reach_the_guest(BULK_MAX, false);
}

static void terminal_is_not_starved_by_both_directions(void **state)
{
	(void)state;
	keys_reach_the_guest(BULK_MAX, true);
}

/* What the guest types waits for what it queued before, no longer. */
static void terminal_of_the_guest_is_not_starved(void **state)
{
	struct flow *key;
	char c;
	unsigned i, turns;

	(void)state;
	open_flows(BULK_MAX);
	key = &flows[flow_count - 1];
	for (i = 0; i < 20; i++)
		world_turns(true, true);
	assert_true(bulk_bytes(false) > 20 * BLOCK_BYTES);
	for (i = 0; i < 50; i++) {
		flow_send(key, VSOCK_OP_RW, 1);
		for (turns = 0; read(key->host_fd, &c, 1) != 1; turns++) {
			assert_true(turns < 1 + TX_QUEUE_MAX * BLOCK_BYTES /
							    VSOCK_TURN_BYTES);
			world_turns(true, true);
		}
	}
}

/* Equal streams get equal shares. */
static void equal_streams_get_equal_shares(void **state)
{
	uint64_t least = UINT64_MAX, most = 0;
	unsigned i;

	(void)state;
	open_flows(BULK_MAX);
	for (i = 0; i < 400; i++)
		world_turns(true, false);
	for (i = 0; i < BULK_MAX; i++) {
		if (flows[i].to_guest < least)
			least = flows[i].to_guest;
		if (flows[i].to_guest > most)
			most = flows[i].to_guest;
	}
	assert_true(least > 10 * VSOCK_QUANTUM_BYTES);
	assert_in_range(most - least, 0, most / 4);
}

/* A storm of refused packets takes every second buffer at most. */
static void refused_packets_do_not_starve_a_stream(void **state)
{
	struct vsock_header h;
	unsigned i, resets = 0;

	(void)state;
	fake_post_rx(&fake, 0, 2, BUFFER_BYTES);
	open_stream(KEY_PORT);
	for (i = 0; i < 60; i++) {
		h = fake_header(&fake, VSOCK_OP_REQUEST, 9000 + i, 4444);
		fake_send(&fake, &h, NULL, 0);
	}
	assert_int_equal(write(accepted_fd, "k", 1), 1);
	run();
	while (fake_receive(&fake, &h, NULL, NULL) && h.op == VSOCK_OP_RST) {
		resets++;
		run();
	}
	assert_int_equal(h.op, VSOCK_OP_RW);
	assert_in_range(resets, 0, 2);
}

static void one_turn_is_bounded_each_way(void **state)
{
	uint64_t before;
	unsigned i;

	(void)state;
	open_flows(BULK_MAX);
	for (i = 0; i < 20; i++) {
		unsigned k;

		for (k = 0; k < BULK_MAX; k++) {
			host_works(&flows[k]);
			guest_sends(&flows[k]);
		}
		before = vsock_counters(dev)->tx_bytes;
		vsock_turn(dev, SECOND_NS);
		assert_in_range(vsock_counters(dev)->tx_bytes - before, 0,
				VSOCK_TURN_BYTES + VSOCK_PACKET_MAX_BYTES);
		take_returned();
		while (guest_receives())
			continue;
	}
}

static void one_turn_takes_many_packets(void **state)
{
	struct vsock_header h;
	uint64_t turns;
	char got[100];
	unsigned i;

	(void)state;
	fake_post_rx(&fake, 0, 16, BUFFER_BYTES);
	open_stream(5000);
	turns = vsock_counters(dev)->turns;
	h = fake_header(&fake, VSOCK_OP_RW, 5000, PORT);
	h.len_bytes = 1;
	for (i = 0; i < 60; i++)
		fake_send(&fake, &h, "x", 1);
	run();
	assert_in_range(vsock_counters(dev)->turns - turns, 1, 2);
	assert_int_equal(read(accepted_fd, got, sizeof(got)), 60);
}

/* --- ceilings ---------------------------------------------------------- */

static void memory_of_a_guest_is_bounded(void **state)
{
	struct vsock_header h;
	uint64_t told = 0, kernel = 0;
	unsigned i;

	(void)state;
	fake_post_rx(&fake, 0, 64, BUFFER_BYTES);
	for (i = 0; i < VSOCK_STREAMS_MAX; i++) {
		int bytes;
		socklen_t len = sizeof(bytes);

		send_op(VSOCK_OP_REQUEST, 10000 + i, PORT);
		h = expect_op(VSOCK_OP_RESPONSE);
		assert_in_range(h.buf_alloc_bytes, VSOCK_BUFFER_MIN_BYTES,
				VSOCK_BUFFER_MAX_BYTES);
		told += h.buf_alloc_bytes;
		assert_int_equal(getsockopt(accepted_fd, SOL_SOCKET, SO_SNDBUF,
					    &bytes, &len),
				 0);
		assert_in_range(bytes, 1, 2 * h.buf_alloc_bytes);
		kernel += (uint64_t)bytes;
	}
	assert_in_range(told, 1, VSOCK_BUFFERS_MAX_BYTES);
	assert_in_range(kernel, 1, 2 * VSOCK_BUFFERS_MAX_BYTES);
	/* All of it is given back. */
	for (i = 0; i < VSOCK_STREAMS_MAX; i++)
		send_op(VSOCK_OP_RST, 10000 + i, PORT);
	assert_int_equal(dev->reserved_bytes, 0);
	open_stream(5000);
	assert_int_equal(dev->reserved_bytes, VSOCK_BUFFER_MAX_BYTES);
}

static void memory_of_a_stream_is_bounded(void **state)
{
	struct vsock_header h;
	size_t total = 0;

	(void)state;
	fake_post_rx(&fake, 0, 64, BUFFER_BYTES);
	open_stream(5000);
	/* Nobody reads, and the guest does not care for its credit. */
	while (dev->streams == 1) {
		send_data(5000, block, sizeof(block));
		total += sizeof(block);
		while (fake_receive(&fake, &h, NULL, NULL))
			run();
		assert_true(total < 64 * sizeof(block));
	}
	/* What it had: its buffer, and the socket with the kernel's own. */
	assert_in_range(total, VSOCK_BUFFER_MAX_BYTES,
			VSOCK_BUFFER_MAX_BYTES * 3 + sizeof(block));
}

/* A buffer of 4 GiB at the guest does not make us hold a byte more. */
static void huge_credit_queues_nothing(void **state)
{
	size_t total = 0;
	ssize_t n;

	(void)state;
	fake.buf_alloc_bytes = UINT32_MAX;
	fake_post_rx(&fake, 0, 1, BUFFER_BYTES);
	send_op(VSOCK_OP_REQUEST, 5000, PORT);
	while ((n = write(accepted_fd, block, sizeof(block))) > 0) {
		total += (size_t)n;
		run();
		assert_true(total < 64 * sizeof(block));
	}
	assert_int_equal(errno, EAGAIN);
	assert_in_range(total, 1, 2 * VSOCK_BUFFER_MAX_BYTES);
}

static void connects_have_a_ceiling(void **state)
{
	unsigned i;

	(void)state;
	run();
	for (i = 0; i < VSOCK_STREAMS_MAX; i++)
		assert_int_equal(vsock_connect(dev, 1024, i, SECOND_NS),
				 ERR_OK);
	assert_int_equal(vsock_connect(dev, 1024, i, SECOND_NS), ERR_LIMIT);
	assert_int_equal(connected_count, 0);
	/* Each is told how it ended, once. */
	vsock_reset(dev);
	assert_int_equal(connected_count, VSOCK_STREAMS_MAX);
	assert_int_equal(connected_error, ERR_CLOSED);
	assert_int_equal(dev->streams, 0);
}

static void listeners_have_a_ceiling(void **state)
{
	uint32_t port;

	(void)state;
	assert_int_equal(vsock_listen(dev, PORT, 1), ERR_EXISTS);
	for (port = 2000; port < 2000 + VSOCK_LISTEN_MAX - 2; port++)
		assert_int_equal(vsock_listen(dev, port, 1), ERR_OK);
	assert_int_equal(vsock_listen(dev, port, 1), ERR_LIMIT);
}

/* --- silence ----------------------------------------------------------- */

/* A loop that polls as long as it likes finds nothing to do. */
static void expect_no_turns(void)
{
	uint64_t turns = vsock_counters(dev)->turns;
	unsigned i;

	for (i = 0; i < 1000; i++)
		assert_true(device_is_quiet());
	assert_int_equal(run(), 0);
	assert_int_equal(vsock_counters(dev)->turns, turns);
}

static void idle_streams_cost_no_turns(void **state)
{
	unsigned i;

	(void)state;
	fake_post_rx(&fake, 0, 64, BUFFER_BYTES);
	for (i = 0; i < 100; i++)
		open_stream(5000 + i);
	run();
	expect_no_turns();
}

static void no_buffers_cost_no_turns(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 1, BUFFER_BYTES);
	send_op(VSOCK_OP_REQUEST, 5000, PORT);
	assert_true(write(accepted_fd, block, sizeof(block)) > 0);
	run();
	expect_no_turns();
}

static void no_buffers_and_a_hangup_cost_no_turns(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 1, BUFFER_BYTES);
	send_op(VSOCK_OP_REQUEST, 5000, PORT);
	assert_true(write(accepted_fd, block, sizeof(block)) > 0);
	run();
	close_host(accepted_fd);
	run();
	expect_no_turns();
}

static void shrunk_credit_costs_no_turns(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 64, BUFFER_BYTES);
	open_stream(5000);
	assert_int_equal(write(accepted_fd, block, 5000), 5000);
	run();
	while (fake_receive(&fake, &h, NULL, NULL))
		continue;
	h = fake_header(&fake, VSOCK_OP_CREDIT_UPDATE, 5000, PORT);
	h.buf_alloc_bytes = 10;
	fake_send(&fake, &h, NULL, 0);
	assert_true(write(accepted_fd, block, sizeof(block)) > 0);
	run();
	expect_no_turns();
	close_host(accepted_fd);
	run();
	expect_no_turns();
}

/* A stream that is over for the guest while the host does not read. */
static void undelivered_bytes_cost_no_turns(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 64, BUFFER_BYTES);
	open_stream(5000);
	while (TAILQ_FIRST(&dev->all)->ring_len_bytes < 100000)
		(void)stuff(5000, BLOCK_BYTES);
	send_flags(VSOCK_SHUTDOWN_BOTH, 5000);
	assert_int_equal(dev->streams, 1);
	expect_no_turns();
	/* It ends by itself when the host never reads. */
	assert_true(vsock_expire(dev, 2 * SECOND_NS));
	assert_false(vsock_expire(dev, SECOND_NS + VSOCK_DRAIN_MAX_NS));
	run();
	assert_int_equal(dev->streams, 0);
	expect_no_turns();
}

static void full_reset_queue_costs_no_turns(void **state)
{
	uint32_t head, len;
	unsigned i;

	(void)state;
	for (i = 0; i < VSOCK_RESETS_MAX + 10; i++) {
		send_op(VSOCK_OP_REQUEST, 5000 + i, 4444);
		while (fake_take_used(&fake, 1, &head, &len))
			continue;
	}
	expect_no_turns();
}

static void failed_device_costs_no_turns(void **state)
{
	(void)state;
	fake_offer(&fake, 1, FAKE_QUEUE_SIZE);
	fake_kick(&fake, 1);
	run();
	assert_non_null(failed_why);
	fake_kick(&fake, 0);
	fake_kick(&fake, 1);
	expect_no_turns();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(terminal_is_not_starved_by_one_stream),
		T(terminal_is_not_starved_by_many_streams),
		T(terminal_is_not_starved_by_both_directions),
		T(terminal_of_the_guest_is_not_starved),
		T(equal_streams_get_equal_shares),
		T(refused_packets_do_not_starve_a_stream),
		T(one_turn_is_bounded_each_way),
		T(one_turn_takes_many_packets),
		T(memory_of_a_guest_is_bounded),
		T(memory_of_a_stream_is_bounded),
		T(huge_credit_queues_nothing),
		T(connects_have_a_ceiling),
		T(listeners_have_a_ceiling),
		T(idle_streams_cost_no_turns),
		T(no_buffers_cost_no_turns),
		T(no_buffers_and_a_hangup_cost_no_turns),
		T(shrunk_credit_costs_no_turns),
		T(undelivered_bytes_cost_no_turns),
		T(full_reset_queue_costs_no_turns),
		T(failed_device_costs_no_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
