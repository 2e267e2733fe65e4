/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vsock_hostile.c - storms, races and abandoned streams
 *
 * Single broken packets are in test_vsock.c, broken rings in
 * test_virtqueue.c, broken messages in test_vhost_user.c; docs/vsock.md says
 * which test is for which case.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/vsock_rig.h"
#include "vm/vhost_user.h"
#include "vm/vsock_stream.h"

#define BUFFER_BYTES 4096u

static void take_all_used(void)
{
	uint32_t head, len;

	while (fake_take_used(&fake, 1, &head, &len))
		continue;
}

static unsigned receive_all(uint16_t op)
{
	struct vsock_header h;
	unsigned count = 0;

	while (fake_receive(&fake, &h, NULL, NULL)) {
		count += h.op == op;
		run();
	}
	return count;
}

/* --- storms ------------------------------------------------------------ */

static void request_storm_leaves_nothing(void **state)
{
	size_t fds = count_fds();
	unsigned i;

	(void)state;
	fake_post_rx(&fake, 0, 64, BUFFER_BYTES);
	for (i = 0; i < 5000; i++) {
		send_op(VSOCK_OP_REQUEST, 5000 + i, PORT);
		close_host(accepted_fd);
		send_op(VSOCK_OP_RST, 5000 + i, PORT);
		take_all_used();
		(void)receive_all(VSOCK_OP_RST);
	}
	assert_int_equal(accepted_count, 5000);
	assert_int_equal(dev->streams, 0);
	assert_int_equal(dev->reserved_bytes, 0);
	assert_int_equal(count_fds(), fds);
	/* No listener thinks that it is full. */
	open_stream(5000);
}

static void reset_storm_is_never_answered(void **state)
{
	unsigned i;

	(void)state;
	/* No buffers, and none needed: not one of these has an answer. */
	for (i = 0; i < 2000; i++) {
		struct vsock_header h =
			fake_header(&fake, VSOCK_OP_RST, i, PORT + i % 3);

		h.type = (uint16_t)(1 + i % 2);
		h.dst_cid = i % 5 ? VSOCK_HOST_CID : 99;
		fake_send(&fake, &h, NULL, 0);
		run();
		take_all_used();
	}
	assert_int_equal(vsock_counters(dev)->tx_packets, 2000);
	fake_post_rx(&fake, 0, 16, BUFFER_BYTES);
	run();
	expect_silence();
}

static void faults_of_one_stream_are_answered_once(void **state)
{
	unsigned i;

	(void)state;
	fake_post_rx(&fake, 0, 1, BUFFER_BYTES);
	send_op(VSOCK_OP_REQUEST, 5000, PORT);
	/* The RESPONSE has the only buffer: the RST is owed. */
	for (i = 0; i < 30; i++)
		send_op(VSOCK_OP_RESPONSE, 5000, PORT);
	(void)expect_op(VSOCK_OP_RESPONSE);
	run();
	(void)expect_op(VSOCK_OP_RST);
	run();
	expect_silence();
	assert_int_equal(dev->streams, 0);
}

static void reset_owed_to_a_reset_stream_is_dropped(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 1, BUFFER_BYTES);
	send_op(VSOCK_OP_REQUEST, 5000, PORT);
	send_op(VSOCK_OP_RESPONSE, 5000, PORT);
	assert_int_equal(dev->streams, 1);
	send_op(VSOCK_OP_RST, 5000, PORT);
	assert_int_equal(dev->streams, 0);
	(void)expect_op(VSOCK_OP_RESPONSE);
	run();
	expect_silence();
}

static void streams_closing_without_buffers_are_bounded(void **state)
{
	unsigned i;

	(void)state;
	/* Each is accepted, broken, and stays until its RST can go out. */
	for (i = 0; i < VSOCK_STREAMS_MAX + 50; i++) {
		send_op(VSOCK_OP_REQUEST, 5000 + i, PORT);
		send_op(99, 5000 + i, PORT);
		take_all_used();
	}
	assert_int_equal(dev->streams, VSOCK_STREAMS_MAX);
	fake_post_rx(&fake, 0, 64, BUFFER_BYTES);
	run();
	(void)receive_all(VSOCK_OP_RST);
	assert_int_equal(dev->streams, 0);
	assert_null(failed_why);
}

static void shutdown_storm_over_many_streams_is_survived(void **state)
{
	unsigned i;

	(void)state;
	fake_post_rx(&fake, 0, 64, BUFFER_BYTES);
	for (i = 0; i < 400; i++) {
		struct vsock_header h = fake_header(&fake, VSOCK_OP_SHUTDOWN,
						    5000 + i % 40, PORT);

		if (i < 40)
			send_op(VSOCK_OP_REQUEST, 5000 + i, PORT);
		h.flags = (i + i / 40) % 4;
		fake_send(&fake, &h, NULL, 0);
		run();
		(void)receive_all(VSOCK_OP_RST);
		take_all_used();
	}
	assert_int_equal(dev->streams, 0);
	assert_null(failed_why);
}

/* --- memory that changes while it is read ------------------------------ */

static bool racing;
static uint8_t *race_at;

/* Another processor of the guest, rewriting the header's length. */
static void *rewrite(void *arg)
{
	uint32_t value = 4;

	(void)arg;
	while (__atomic_load_n(&racing, __ATOMIC_ACQUIRE)) {
		value = value == 4 ? 60000 : 4;
		__atomic_store_n((uint32_t *)(void *)(race_at + 24), value,
				 __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Whichever length is read, it is the one that was checked: 4 bytes arrive
 * whole, or the stream is reset for claiming 60000. */
static void header_is_read_once(void **state)
{
	unsigned i, passed = 0;
	pthread_t thread;
	char got[8];

	(void)state;
	fake_post_rx(&fake, 0, 16, BUFFER_BYTES);
	race_at = fake.memory + fake_tx_addr(0);
	for (i = 0; i < 3000; i++) {
		struct vsock_header h =
			fake_header(&fake, VSOCK_OP_RW, 5000, PORT);

		if (dev->streams == 0) {
			fake.tx_slot = 1;
			open_stream(5000);
		}
		fake.tx_slot = 0;
		h.len_bytes = 4;
		racing = true;
		if (i % 50 == 0)
			assert_int_equal(pthread_create(&thread, NULL, rewrite,
							NULL),
					 0);
		fake_send(&fake, &h, "abcd", 4);
		run();
		take_all_used();
		if (dev->streams) {
			assert_int_equal(read(accepted_fd, got, sizeof(got)),
					 4);
			passed++;
		} else {
			(void)expect_op(VSOCK_OP_RST);
			close_host(accepted_fd);
		}
		if (i % 50 == 49) {
			__atomic_store_n(&racing, false, __ATOMIC_RELEASE);
			assert_int_equal(pthread_join(thread, NULL), 0);
		}
	}
	assert_true(passed > 0);
	assert_null(failed_why);
}

static void header_of_single_bytes_is_gathered(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_REQUEST, 5000, PORT);
	uint16_t i;

	(void)state;
	fake_post_rx(&fake, 0, 4, BUFFER_BYTES);
	vsock_header_encode(&h, fake.memory + fake_tx_addr(0));
	for (i = 0; i < VSOCK_HEADER_BYTES; i++)
		fake_desc(&fake, 1, i, fake_tx_addr(0) + i, 1,
			  i + 1 < (int)VSOCK_HEADER_BYTES ? FAKE_DESC_NEXT : 0,
			  (uint16_t)(i + 1));
	fake_offer(&fake, 1, 0);
	fake_kick(&fake, 1);
	run();
	(void)expect_op(VSOCK_OP_RESPONSE);
}

static void smallest_receive_buffers_work(void **state)
{
	struct vsock_header h;
	uint8_t got[1];
	size_t len, total = 0;

	(void)state;
	fake_post_rx(&fake, 0, 64, VSOCK_HEADER_BYTES + 1);
	open_stream(5000);
	assert_int_equal(write(accepted_fd, "0123456789", 10), 10);
	run();
	while (fake_receive(&fake, &h, got, &len)) {
		assert_int_equal(len, 1);
		assert_int_equal(got[0], '0' + total);
		total++;
	}
	assert_int_equal(total, 10);
}

/* --- ends that cross ---------------------------------------------------- */

static void guest_that_stopped_receiving_hears_of_the_end(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 8, BUFFER_BYTES);
	open_stream(5000);
	send_flags(VSOCK_SHUTDOWN_RECEIVE, 5000);
	assert_int_equal(send(accepted_fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	close_host(accepted_fd);
	run();
	h = expect_op(VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, VSOCK_SHUTDOWN_BOTH);
	/* And is not waited for without end. */
	assert_false(vsock_expire(dev, SECOND_NS + VSOCK_CLOSE_MAX_NS));
	run();
	(void)expect_op(VSOCK_OP_RST);
	assert_int_equal(dev->streams, 0);
}

static void both_halves_closed_one_by_one_end_the_stream(void **state)
{
	char c;

	(void)state;
	fake_post_rx(&fake, 0, 8, BUFFER_BYTES);
	open_stream(5000);
	send_flags(VSOCK_SHUTDOWN_SEND, 5000);
	assert_int_equal(read(accepted_fd, &c, 1), 0);
	expect_silence();
	send_flags(VSOCK_SHUTDOWN_RECEIVE, 5000);
	(void)expect_op(VSOCK_OP_RST);
	assert_int_equal(dev->streams, 0);
}

static void host_half_close_then_guest_half_close(void **state)
{
	struct vsock_header h;
	char c;

	(void)state;
	fake_post_rx(&fake, 0, 8, BUFFER_BYTES);
	open_stream(5000);
	assert_int_equal(write(accepted_fd, "last", 4), 4);
	assert_int_equal(shutdown(accepted_fd, SHUT_WR), 0);
	run();
	/* Bytes first, then the end of this direction only. */
	h = expect_op(VSOCK_OP_RW);
	assert_int_equal(h.len_bytes, 4);
	h = expect_op(VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, VSOCK_SHUTDOWN_SEND);
	send_data(5000, "z", 1);
	send_flags(VSOCK_SHUTDOWN_SEND, 5000);
	assert_int_equal(read(accepted_fd, &c, 1), 1);
	assert_int_equal(read(accepted_fd, &c, 1), 0);
	close_host(accepted_fd);
	run();
	h = expect_op(VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, VSOCK_SHUTDOWN_BOTH);
	send_op(VSOCK_OP_RST, 5000, PORT);
	expect_silence();
	assert_int_equal(dev->streams, 0);
}

static void host_that_left_is_told_to_the_sender(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 8, BUFFER_BYTES);
	open_stream(5000);
	assert_int_equal(shutdown(accepted_fd, SHUT_RD), 0);
	send_data(5000, "unwanted", 8);
	h = expect_op(VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, VSOCK_SHUTDOWN_RECEIVE);
	assert_int_equal(h.fwd_cnt_bytes, 8);
	/* The other direction goes on. */
	assert_int_equal(write(accepted_fd, "yes", 3), 3);
	run();
	h = expect_op(VSOCK_OP_RW);
	assert_int_equal(h.len_bytes, 3);
}

static void late_answer_to_a_connect_is_reset(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 16, BUFFER_BYTES);
	run();
	assert_int_equal(vsock_connect(dev, 1024, 7, SECOND_NS), ERR_OK);
	run();
	h = expect_op(VSOCK_OP_REQUEST);
	assert_false(vsock_expire(dev, SECOND_NS + VSOCK_CONNECT_MAX_NS));
	run();
	(void)expect_op(VSOCK_OP_RST);
	send_op(VSOCK_OP_RESPONSE, 1024, h.src_port);
	(void)expect_op(VSOCK_OP_RST);
	assert_int_equal(connected_count, 1);
	assert_int_equal(connected_error, ERR_TIMEOUT);
}

static void answer_before_the_request_is_reset(void **state)
{
	(void)state;
	run();
	/* No buffer yet: our REQUEST is not out, and its port is guessed. */
	assert_int_equal(vsock_connect(dev, 1024, 7, SECOND_NS), ERR_OK);
	run();
	send_op(VSOCK_OP_RESPONSE, 1024, VSOCK_PORT_FIRST);
	assert_int_equal(connected_error, ERR_CLOSED);
	assert_int_equal(connected_fd, -1);
	fake_post_rx(&fake, 0, 16, BUFFER_BYTES);
	run();
	(void)expect_op(VSOCK_OP_RST);
	expect_silence();
}

static void port_in_use_is_skipped_on_wrap(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 16, BUFFER_BYTES);
	assert_int_equal(vsock_connect(dev, 1024, 1, 0), ERR_OK);
	dev->next_port = VSOCK_PORT_LAST;
	assert_int_equal(vsock_connect(dev, 1024, 2, 0), ERR_OK);
	assert_int_equal(vsock_connect(dev, 1024, 3, 0), ERR_OK);
	run();
	h = expect_op(VSOCK_OP_REQUEST);
	assert_int_equal(h.src_port, VSOCK_PORT_FIRST);
	h = expect_op(VSOCK_OP_REQUEST);
	assert_int_equal(h.src_port, VSOCK_PORT_LAST);
	h = expect_op(VSOCK_OP_REQUEST);
	assert_int_equal(h.src_port, VSOCK_PORT_FIRST + 1);
}

static void high_half_of_the_source_is_looked_at(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_REQUEST, 5000, PORT);

	(void)state;
	fake_post_rx(&fake, 0, 4, BUFFER_BYTES);
	h.src_cid |= 1ull << 32;
	fake_send(&fake, &h, NULL, 0);
	run();
	expect_silence();
	assert_int_equal(accepted_count, 0);
}

/* --- memory table of a running device ----------------------------------- */

static enum err glue_started(void *arg, unsigned index, struct virtqueue *q,
			     int kick_fd, int call_fd)
{
	(void)arg;
	return vsock_attach(dev, (enum vsock_queue)index, q, kick_fd, call_fd);
}

static void glue_stopped(void *arg, unsigned index)
{
	(void)arg;
	vsock_detach(dev, (enum vsock_queue)index);
}

static void glue_call_changed(void *arg, unsigned index, int call_fd)
{
	(void)arg;
	vsock_set_call(dev, (enum vsock_queue)index, call_fd);
}

static void glue_reset(void *arg)
{
	(void)arg;
	vsock_reset(dev);
}

static void glue_driver_ok(void *arg)
{
	(void)arg;
}

static const struct vhost_user_events glue = {glue_started, glue_stopped,
					      glue_call_changed, glue_reset,
					      glue_driver_ok};

static void message(int front, struct vhost_user *u, uint32_t request,
		    const void *body, uint32_t body_bytes, int fd)
{
	fake_message(front, request, 1, body, body_bytes, &fd, fd >= 0);
	assert_int_equal(vhost_user_turn(u), ERR_OK);
}

static void send_table(int front, struct vhost_user *u, uint64_t user_base)
{
	uint64_t table[5] = {1, 0, FAKE_MEMORY_BYTES, user_base, 0};

	message(front, u, 5, table, sizeof(table), fake.memory_fd);
}

static void bring_up(int front, struct vhost_user *u)
{
	uint64_t features = 0x150000000ull, q;

	message(front, u, 2, &features, sizeof(features), -1);
	send_table(front, u, FAKE_USER_BASE);
	for (q = 0; q < 2; q++) {
		uint32_t size[2] = {(uint32_t)q, FAKE_QUEUE_SIZE};
		uint32_t enable[2] = {(uint32_t)q, 1};
		uint64_t addresses[5] = {
			q, FAKE_USER_BASE + fake_ring((unsigned)q, 0),
			FAKE_USER_BASE + fake_ring((unsigned)q, 2),
			FAKE_USER_BASE + fake_ring((unsigned)q, 1), 0};

		message(front, u, 8, size, sizeof(size), -1);
		message(front, u, 9, addresses, sizeof(addresses), -1);
		message(front, u, 12, &q, sizeof(q), fake.kick_fds[q]);
		message(front, u, 13, &q, sizeof(q), fake.call_fds[q]);
		message(front, u, 18, enable, sizeof(enable), -1);
	}
}

/* The device itself, streams and all, while SET_MEM_TABLE moves its rings. */
static void remap_keeps_streams_and_their_bytes(void **state)
{
	struct vhost_user *u;
	int pair[2];
	char got[8];
	unsigned i;

	(void)state;
	vsock_detach(dev, VSOCK_RX);
	vsock_detach(dev, VSOCK_TX);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    pair),
			 0);
	assert_int_equal(vhost_user_new(pair[1], fake.memory_fd, fake.memory,
					FAKE_MEMORY_BYTES, FAKE_GUEST_CID,
					&glue, NULL, &u),
			 ERR_OK);
	bring_up(pair[0], u);
	fake_post_rx(&fake, 0, 16, BUFFER_BYTES);
	open_stream(5000);
	for (i = 0; i < 20; i++) {
		struct vsock_header h =
			fake_header(&fake, VSOCK_OP_RW, 5000, PORT);

		/* A packet is in the ring when its memory is mapped anew. */
		h.len_bytes = 1;
		fake_send(&fake, &h, "k", 1);
		send_table(pair[0], u, FAKE_USER_BASE);
		run();
		take_all_used();
		assert_int_equal(read(accepted_fd, got, sizeof(got)), 1);
		assert_int_equal(write(accepted_fd, "r", 1), 1);
		run();
		(void)expect_op(VSOCK_OP_RW);
	}
	assert_int_equal(dev->streams, 1);
	/* A table in which the rings lie nowhere ends it, cleanly. */
	{
		uint64_t table[5] = {1, 0, FAKE_MEMORY_BYTES, 4096, 0};

		fake_message(pair[0], 5, 1, table, sizeof(table),
			     &fake.memory_fd, 1);
		assert_int_equal(vhost_user_turn(u), ERR_FORMAT);
	}
	fake_kick(&fake, 1);
	run();
	vhost_user_free(u);
	close(pair[0]);
	run();
	assert_int_equal(dev->streams, 1);
}

static void detached_queues_are_never_touched(void **state)
{
	struct vsock_header h = fake_header(&fake, VSOCK_OP_RW, 5000, PORT);

	(void)state;
	fake_post_rx(&fake, 0, 16, BUFFER_BYTES);
	open_stream(5000);
	assert_int_equal(write(accepted_fd, "r", 1), 1);
	h.len_bytes = 1;
	fake_send(&fake, &h, "k", 1);
	vsock_detach(dev, VSOCK_RX);
	vsock_detach(dev, VSOCK_TX);
	memset(fake.memory, 0xff, FAKE_MEMORY_BYTES);
	run();
	(void)vsock_expire(dev, 100 * SECOND_NS);
	run();
	assert_null(failed_why);
	assert_int_equal(dev->streams, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(request_storm_leaves_nothing),
		T(reset_storm_is_never_answered),
		T(faults_of_one_stream_are_answered_once),
		T(reset_owed_to_a_reset_stream_is_dropped),
		T(streams_closing_without_buffers_are_bounded),
		T(shutdown_storm_over_many_streams_is_survived),
		T(header_is_read_once),
		T(header_of_single_bytes_is_gathered),
		T(smallest_receive_buffers_work),
		T(guest_that_stopped_receiving_hears_of_the_end),
		T(both_halves_closed_one_by_one_end_the_stream),
		T(host_half_close_then_guest_half_close),
		T(host_that_left_is_told_to_the_sender),
		T(late_answer_to_a_connect_is_reset),
		T(answer_before_the_request_is_reset),
		T(port_in_use_is_skipped_on_wrap),
		T(high_half_of_the_source_is_looked_at),
		T(remap_keeps_streams_and_their_bytes),
		T(detached_queues_are_never_touched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
