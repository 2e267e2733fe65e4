/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vsock.c - the vsock device against an honest and a hostile guest
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/vsock_rig.h"
#include "vm/vsock_stream.h"

static void guest_connects_and_sends(void **state)
{
	char got[16];

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	assert_int_equal(accepted_count, 1);
	send_data(5000, "hello", 5);
	assert_int_equal(read(accepted_fd, got, sizeof(got)), 5);
	assert_memory_equal(got, "hello", 5);
}

static void host_sends_to_guest(void **state)
{
	uint8_t got[8192];
	struct vsock_header h;
	size_t len;

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	assert_int_equal(write(accepted_fd, "answer", 6), 6);
	run();
	assert_true(fake_receive(&fake, &h, got, &len));
	assert_int_equal(h.op, VSOCK_OP_RW);
	assert_int_equal(h.src_port, PORT);
	assert_int_equal(h.dst_port, 5000);
	assert_int_equal(h.len_bytes, 6);
	assert_memory_equal(got, "answer", 6);
}

static void one_read_fills_many_buffers(void **state)
{
	static uint8_t data[20000], got[8192];
	struct vsock_header h;
	size_t len, total = 0, i;

	(void)state;
	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	assert_int_equal(write(accepted_fd, data, sizeof(data)), sizeof(data));
	run();
	while (fake_receive(&fake, &h, got, &len)) {
		assert_int_equal(h.op, VSOCK_OP_RW);
		assert_memory_equal(got, data + total, len);
		total += len;
	}
	assert_int_equal(total, sizeof(data));
}

static void header_may_span_descriptors(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_REQUEST, 5000, PORT);
	uint64_t at = fake_tx_addr(0);

	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	vsock_header_encode(&h, fake.memory + at);
	fake_desc(&fake, 1, 0, at, 10, FAKE_DESC_NEXT, 1);
	fake_desc(&fake, 1, 1, at + 10, 34, 0, 0);
	fake_offer(&fake, 1, 0);
	fake_kick(&fake, 1);
	run();
	(void)expect_op(VSOCK_OP_RESPONSE);
	assert_int_equal(accepted_count, 1);
}

static void unknown_port_is_reset(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	send_op(VSOCK_OP_REQUEST, 5000, 4444);
	h = expect_op(VSOCK_OP_RST);
	assert_int_equal(h.src_port, 4444);
	assert_int_equal(h.dst_port, 5000);
	assert_int_equal(accepted_count, 0);
}

static void reset_is_never_answered(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	send_op(VSOCK_OP_RST, 5000, PORT);
	send_op(VSOCK_OP_RST, 5000, 9);
	expect_silence();
	open_stream(5000);
	send_op(VSOCK_OP_RST, 5000, PORT);
	expect_silence();
	expect_end(accepted_fd);
	assert_int_equal(dev->streams, 0);
}

static void data_without_stream_is_reset(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	send_data(5000, "x", 1);
	(void)expect_op(VSOCK_OP_RST);
}

static void second_request_resets_the_stream(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	open_stream(5000);
	send_op(VSOCK_OP_REQUEST, 5000, PORT);
	(void)expect_op(VSOCK_OP_RST);
	expect_end(accepted_fd);
	assert_int_equal(dev->streams, 0);
	/* The ports are free again. */
	open_stream(5000);
}

static void unsolicited_response_is_reset(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	send_op(VSOCK_OP_RESPONSE, 5000, PORT);
	(void)expect_op(VSOCK_OP_RST);
	open_stream(5000);
	send_op(VSOCK_OP_RESPONSE, 5000, PORT);
	(void)expect_op(VSOCK_OP_RST);
}

static void unknown_operation_is_reset(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	send_op(99, 5000, PORT);
	(void)expect_op(VSOCK_OP_RST);
	open_stream(5000);
	send_op(0, 5000, PORT);
	(void)expect_op(VSOCK_OP_RST);
}

static void unknown_type_is_reset_in_kind(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_REQUEST, 5000, PORT);

	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	h.type = 2;
	fake_send(&fake, &h, NULL, 0);
	run();
	h = expect_op(VSOCK_OP_RST);
	assert_int_equal(h.type, 2);
	assert_int_equal(accepted_count, 0);
}

static void wrong_source_is_dropped(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_REQUEST, 5000, PORT);

	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	h.src_cid = 77;
	fake_send(&fake, &h, NULL, 0);
	run();
	expect_silence();
	assert_int_equal(accepted_count, 0);
	assert_int_equal(vsock_counters(dev)->faults, 1);
}

static void wrong_destination_is_reset(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_REQUEST, 5000, PORT);

	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	h.dst_cid = (1ull << 32) | VSOCK_HOST_CID;
	fake_send(&fake, &h, NULL, 0);
	run();
	(void)expect_op(VSOCK_OP_RST);
	assert_int_equal(accepted_count, 0);
}

static void length_beyond_the_buffer_is_reset(void **state)
{
	struct vsock_header h = fake_header(&fake, VSOCK_OP_RW, 5000, PORT);

	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	open_stream(5000);
	h.len_bytes = UINT32_MAX;
	fake_send(&fake, &h, "xxxx", 4);
	run();
	(void)expect_op(VSOCK_OP_RST);
	open_stream(5001);
	h.src_port = 5001;
	h.len_bytes = 5;
	fake_send(&fake, &h, "xxxx", 4);
	run();
	(void)expect_op(VSOCK_OP_RST);
}

static void data_in_a_control_packet_is_reset(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_CREDIT_UPDATE, 5000, PORT);

	(void)state;
	fake_post_rx(&fake, 0, 4, 4096);
	open_stream(5000);
	h.len_bytes = 4;
	fake_send(&fake, &h, "xxxx", 4);
	run();
	(void)expect_op(VSOCK_OP_RST);
}

static void short_header_breaks_the_device(void **state)
{
	(void)state;
	fake_desc(&fake, 1, 0, fake_tx_addr(0), 43, 0, 0);
	fake_offer(&fake, 1, 0);
	fake_kick(&fake, 1);
	run();
	assert_non_null(failed_why);
	assert_non_null(strstr(failed_why, "header"));
}

static void writable_on_tx_breaks_the_device(void **state)
{
	(void)state;
	fake_desc(&fake, 1, 0, fake_tx_addr(0), 100, FAKE_DESC_WRITE, 0);
	fake_offer(&fake, 1, 0);
	fake_kick(&fake, 1);
	run();
	assert_non_null(failed_why);
}

static void readable_on_rx_breaks_the_device(void **state)
{
	(void)state;
	fake_desc(&fake, 0, 0, fake_rx_addr(0), 4096, 0, 0);
	fake_offer(&fake, 0, 0);
	send_op(VSOCK_OP_REQUEST, 5000, PORT);
	assert_non_null(failed_why);
	/* Everything is over, nothing leaks, and it stays that way. */
	assert_int_equal(dev->streams, 0);
	expect_end(accepted_fd);
	assert_int_equal(vsock_connect(dev, 5, 1, 0), ERR_STATE);
}

static void tiny_rx_buffer_breaks_the_device(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 1, VSOCK_HEADER_BYTES);
	send_op(VSOCK_OP_REQUEST, 5000, PORT);
	assert_non_null(failed_why);
}

static void broken_chain_breaks_the_device(void **state)
{
	(void)state;
	fake_desc(&fake, 1, 0, fake_tx_addr(0), 50, FAKE_DESC_NEXT, 0);
	fake_offer(&fake, 1, 0);
	fake_kick(&fake, 1);
	run();
	assert_non_null(failed_why);
}

static void guest_half_close_reaches_the_host(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_SHUTDOWN, 5000, PORT);
	char got[8];
	uint8_t data[4096];

	(void)state;
	fake_post_rx(&fake, 0, 8, 4096);
	open_stream(5000);
	send_data(5000, "last", 4);
	h.flags = VSOCK_SHUTDOWN_SEND;
	fake_send(&fake, &h, NULL, 0);
	run();
	assert_int_equal(read(accepted_fd, got, sizeof(got)), 4);
	assert_int_equal(read(accepted_fd, got, sizeof(got)), 0);
	/* The other direction still works. */
	assert_int_equal(write(accepted_fd, "more", 4), 4);
	run();
	assert_true(fake_receive(&fake, &h, data, NULL));
	assert_int_equal(h.op, VSOCK_OP_RW);
	/* Data after its end is a fault. */
	send_data(5000, "x", 1);
	(void)expect_op(VSOCK_OP_RST);
}

static void host_half_close_reaches_the_guest(void **state)
{
	struct vsock_header h;
	char got[8];

	(void)state;
	fake_post_rx(&fake, 0, 8, 4096);
	open_stream(5000);
	assert_int_equal(shutdown(accepted_fd, SHUT_WR), 0);
	run();
	h = expect_op(VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, VSOCK_SHUTDOWN_SEND);
	send_data(5000, "still", 5);
	assert_int_equal(read(accepted_fd, got, sizeof(got)), 5);
}

static void host_close_ends_cleanly(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 8, 4096);
	open_stream(5000);
	close(accepted_fd);
	all_fds[0] = -1;
	run();
	h = expect_op(VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, VSOCK_SHUTDOWN_BOTH);
	send_op(VSOCK_OP_RST, 5000, PORT);
	expect_silence();
	assert_int_equal(dev->streams, 0);
}

static void guest_that_ignores_a_close_is_reset(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 8, 4096);
	open_stream(5000);
	close(accepted_fd);
	all_fds[0] = -1;
	run();
	(void)expect_op(VSOCK_OP_SHUTDOWN);
	assert_true(vsock_expire(dev, 2 * SECOND_NS));
	assert_int_equal(dev->streams, 1);
	assert_false(vsock_expire(dev, SECOND_NS + VSOCK_CLOSE_MAX_NS));
	run();
	(void)expect_op(VSOCK_OP_RST);
	assert_int_equal(dev->streams, 0);
}

static void guest_close_is_answered_by_reset(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_SHUTDOWN, 5000, PORT);
	char got[8];

	(void)state;
	fake_post_rx(&fake, 0, 8, 4096);
	open_stream(5000);
	send_data(5000, "bye", 3);
	h.flags = VSOCK_SHUTDOWN_BOTH;
	fake_send(&fake, &h, NULL, 0);
	run();
	(void)expect_op(VSOCK_OP_RST);
	assert_int_equal(read(accepted_fd, got, sizeof(got)), 3);
	assert_int_equal(read(accepted_fd, got, sizeof(got)), 0);
	assert_int_equal(dev->streams, 0);
}

static void buffered_bytes_survive_the_guests_close(void **state)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_SHUTDOWN, 5000, PORT);
	static uint8_t got[65536];
	size_t want, total = 0;
	int little = 65536;
	ssize_t n;

	(void)state;
	fake_post_rx(&fake, 0, 8, 4096);
	open_stream(5000);
	assert_int_equal(setsockopt(TAILQ_FIRST(&dev->all)->fd, SOL_SOCKET,
				    SO_SNDBUF, &little, sizeof(little)),
			 0);
	want = stuff(5000, VSOCK_BUFFER_MAX_BYTES);
	assert_true(TAILQ_FIRST(&dev->all)->ring_len_bytes > 0);
	h.flags = VSOCK_SHUTDOWN_BOTH;
	fake_send(&fake, &h, NULL, 0);
	run();
	assert_int_equal(dev->streams, 1);
	while ((n = read(accepted_fd, got, sizeof(got))) > 0) {
		size_t i;

		/* stuff() numbers its blocks. */
		for (i = 0; i < (size_t)n; i++)
			assert_int_equal(got[i], (total + i) / sizeof(got));
		total += (size_t)n;
		run();
	}
	assert_int_equal(n, 0);
	assert_int_equal(total, want);
	assert_int_equal(dev->streams, 0);
}

static void host_connects_to_guest(void **state)
{
	struct vsock_header h;
	char got[8];

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	run();
	assert_int_equal(vsock_connect(dev, 1024, 42, SECOND_NS), ERR_OK);
	run();
	h = expect_op(VSOCK_OP_REQUEST);
	assert_int_equal(h.dst_port, 1024);
	assert_in_range(h.src_port, VSOCK_PORT_FIRST, VSOCK_PORT_LAST);
	assert_int_equal(connected_count, 0);
	send_op(VSOCK_OP_RESPONSE, 1024, h.src_port);
	assert_int_equal(connected_count, 1);
	assert_int_equal(connected_error, ERR_OK);
	assert_int_equal(connected_cookie, 42);
	assert_in_range(connected_port, VSOCK_PORT_FIRST, VSOCK_PORT_LAST);
	h = fake_header(&fake, VSOCK_OP_RW, 1024, h.src_port);
	h.len_bytes = 2;
	fake_send(&fake, &h, "hi", 2);
	run();
	assert_int_equal(read(connected_fd, got, sizeof(got)), 2);
}

static void refused_connect_is_told(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	assert_int_equal(vsock_connect(dev, 1024, 7, SECOND_NS), ERR_OK);
	run();
	h = expect_op(VSOCK_OP_REQUEST);
	send_op(VSOCK_OP_RST, 1024, h.src_port);
	assert_int_equal(connected_error, ERR_CLOSED);
	assert_int_equal(connected_fd, -1);
	assert_int_equal(dev->streams, 0);
	expect_silence();
}

static void unanswered_connect_times_out(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	assert_int_equal(vsock_connect(dev, 1024, 7, SECOND_NS), ERR_OK);
	run();
	(void)expect_op(VSOCK_OP_REQUEST);
	assert_false(vsock_expire(dev, SECOND_NS + VSOCK_CONNECT_MAX_NS));
	assert_int_equal(connected_error, ERR_TIMEOUT);
	assert_int_equal(connected_count, 1);
	run();
	(void)expect_op(VSOCK_OP_RST);
	assert_int_equal(dev->streams, 0);
}

static void data_before_the_answer_is_reset(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	assert_int_equal(vsock_connect(dev, 1024, 7, SECOND_NS), ERR_OK);
	run();
	h = expect_op(VSOCK_OP_REQUEST);
	send_op(VSOCK_OP_CREDIT_UPDATE, 1024, h.src_port);
	(void)expect_op(VSOCK_OP_RST);
	assert_int_equal(connected_error, ERR_CLOSED);
	assert_int_equal(connected_count, 1);
}

static void host_ports_wrap_around(void **state)
{
	struct vsock_header h;

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	dev->next_port = VSOCK_PORT_LAST;
	assert_int_equal(vsock_connect(dev, 1024, 1, 0), ERR_OK);
	assert_int_equal(vsock_connect(dev, 1024, 2, 0), ERR_OK);
	run();
	h = expect_op(VSOCK_OP_REQUEST);
	assert_int_equal(h.src_port, VSOCK_PORT_LAST);
	h = expect_op(VSOCK_OP_REQUEST);
	assert_int_equal(h.src_port, VSOCK_PORT_FIRST);
}

static void pause_keeps_streams(void **state)
{
	char got[8];

	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	vsock_detach(dev, VSOCK_RX);
	vsock_detach(dev, VSOCK_TX);
	run();
	assert_int_equal(vsock_connect(dev, 1, 1, 0), ERR_STATE);
	assert_int_equal(vsock_attach(dev, VSOCK_RX, &fake.queues[0],
				      fake.kick_fds[0], fake.call_fds[0]),
			 ERR_OK);
	assert_int_equal(vsock_attach(dev, VSOCK_TX, &fake.queues[1],
				      fake.kick_fds[1], fake.call_fds[1]),
			 ERR_OK);
	send_data(5000, "on", 2);
	assert_int_equal(read(accepted_fd, got, sizeof(got)), 2);
}

static void driver_reset_ends_streams(void **state)
{
	(void)state;
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
	vsock_reset(dev);
	expect_end(accepted_fd);
	assert_int_equal(dev->streams, 0);
	expect_silence();
}

static void unwatchable_kick_is_refused(void **state)
{
	int fd = fake.memory_fd;

	(void)state;
	assert_int_equal(vsock_attach(dev, VSOCK_RX, &fake.queues[0], fd, -1),
			 ERR_SYS);
}

static void full_interrupt_counter_does_not_block(void **state)
{
	uint64_t full = UINT64_MAX - 1;

	(void)state;
	assert_int_equal(write(fake.call_fds[0], &full, sizeof(full)),
			 sizeof(full));
	fake_post_rx(&fake, 0, 16, 4096);
	open_stream(5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(guest_connects_and_sends),
		T(host_sends_to_guest),
		T(one_read_fills_many_buffers),
		T(header_may_span_descriptors),
		T(unknown_port_is_reset),
		T(reset_is_never_answered),
		T(data_without_stream_is_reset),
		T(second_request_resets_the_stream),
		T(unsolicited_response_is_reset),
		T(unknown_operation_is_reset),
		T(unknown_type_is_reset_in_kind),
		T(wrong_source_is_dropped),
		T(wrong_destination_is_reset),
		T(length_beyond_the_buffer_is_reset),
		T(data_in_a_control_packet_is_reset),
		T(short_header_breaks_the_device),
		T(writable_on_tx_breaks_the_device),
		T(readable_on_rx_breaks_the_device),
		T(tiny_rx_buffer_breaks_the_device),
		T(broken_chain_breaks_the_device),
		T(guest_half_close_reaches_the_host),
		T(host_half_close_reaches_the_guest),
		T(host_close_ends_cleanly),
		T(guest_that_ignores_a_close_is_reset),
		T(guest_close_is_answered_by_reset),
		T(buffered_bytes_survive_the_guests_close),
		T(host_connects_to_guest),
		T(refused_connect_is_told),
		T(unanswered_connect_times_out),
		T(data_before_the_answer_is_reset),
		T(host_ports_wrap_around),
		T(pause_keeps_streams),
		T(driver_reset_ends_streams),
		T(unwatchable_kick_is_refused),
		T(full_interrupt_counter_does_not_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
