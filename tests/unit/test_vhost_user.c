/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vhost_user.c - QEMU's messages, and those of a captured QEMU
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/fake_frontend.h"
#include "vm/vhost_user.h"

#define VERSION    1u
#define NEED_REPLY 9u
#define PAGE       4096u

enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	GET_CONFIG = 24,
};

static struct fake_frontend fake;
static struct vhost_user *server;
static int front; /* QEMU's end */
static unsigned started, stopped, resets, driver_ok, call_changes;
static struct virtqueue *queues[2];
static size_t fds_before;

static enum err on_started(void *arg, unsigned index, struct virtqueue *q,
			   int kick_fd, int call_fd)
{
	(void)arg;
	(void)call_fd;
	assert_true(kick_fd >= 0);
	queues[index] = q;
	started++;
	return ERR_OK;
}

static void on_stopped(void *arg, unsigned index)
{
	(void)arg;
	queues[index] = NULL;
	stopped++;
}

static void on_call_changed(void *arg, unsigned index, int call_fd)
{
	(void)arg;
	(void)index;
	(void)call_fd;
	call_changes++;
}

static void on_reset(void *arg)
{
	(void)arg;
	resets++;
}

static void on_driver_ok(void *arg)
{
	(void)arg;
	driver_ok++;
}

static const struct vhost_user_events events = {on_started, on_stopped,
						on_call_changed, on_reset,
						on_driver_ok};

static size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int setup(void **state)
{
	int pair[2];

	(void)state;
	fds_before = count_fds();
	started = stopped = resets = driver_ok = call_changes = 0;
	fake_init(&fake);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	front = pair[0];
	return vhost_user_new(pair[1], fake.memory_fd, fake.memory,
			      FAKE_MEMORY_BYTES, FAKE_GUEST_CID, &events, NULL,
			      &server) == ERR_OK
		       ? 0
		       : -1;
}

/* Whatever a test did, not one descriptor may be left. */
static int teardown(void **state)
{
	(void)state;
	vhost_user_free(server);
	close(front);
	fake_fini(&fake);
	assert_int_equal(count_fds(), fds_before);
	return 0;
}

static enum err send_message(uint32_t request, uint32_t flags, const void *body,
			     uint32_t body_bytes, const int *fds,
			     size_t fd_count)
{
	fake_message(front, request, flags, body, body_bytes, fds, fd_count);
	return vhost_user_turn(server);
}

static enum err send_u64(uint32_t request, uint64_t value, int fd)
{
	return send_message(request, VERSION, &value, sizeof(value), &fd,
			    fd >= 0 ? 1 : 0);
}

static enum err send_pair(uint32_t request, uint32_t index, uint32_t value)
{
	uint32_t body[2] = {index, value};

	return send_message(request, VERSION, body, sizeof(body), NULL, 0);
}

static size_t receive_answer(void *ret_body, size_t cap_bytes)
{
	uint8_t raw[512];
	uint32_t size;
	ssize_t n = recv(front, raw, sizeof(raw), MSG_DONTWAIT);

	assert_true(n >= 12);
	memcpy(&size, raw + 8, 4);
	assert_int_equal(raw[4], 5); /* version 1, reply */
	assert_int_equal((size_t)n, 12 + size);
	assert_true(size <= cap_bytes);
	memcpy(ret_body, raw + 12, size);
	return size;
}

static uint64_t ask_u64(uint32_t request)
{
	uint64_t value = 0;

	assert_int_equal(send_message(request, VERSION, NULL, 0, NULL, 0),
			 ERR_OK);
	assert_int_equal(receive_answer(&value, sizeof(value)), 8);
	return value;
}

struct table {
	uint32_t count, padding;
	struct {
		uint64_t guest, size, user, offset;
	} region[9];
};

static enum err send_table(const struct table *t, size_t regions,
			   const int *fds, size_t fd_count)
{
	return send_message(SET_MEM_TABLE, NEED_REPLY, t,
			    (uint32_t)(8 + 32 * regions), fds, fd_count);
}

static struct table whole_memory(void)
{
	struct table t = {.count = 1};

	t.region[0].size = FAKE_MEMORY_BYTES;
	t.region[0].user = FAKE_USER_BASE;
	return t;
}

static enum err send_addresses(unsigned q, uint64_t add)
{
	uint8_t body[40] = {0};
	uint64_t desc = FAKE_USER_BASE + fake_ring(q, 0) + add;
	uint64_t avail = FAKE_USER_BASE + fake_ring(q, 1);
	uint64_t used = FAKE_USER_BASE + fake_ring(q, 2);

	body[0] = (uint8_t)q;
	memcpy(body + 8, &desc, 8);
	memcpy(body + 16, &used, 8);
	memcpy(body + 24, &avail, 8);
	return send_message(SET_VRING_ADDR, VERSION, body, 40, NULL, 0);
}

static void negotiate(void)
{
	assert_int_equal(ask_u64(GET_FEATURES), 0x150000000ull);
	assert_int_equal(ask_u64(GET_PROTOCOL_FEATURES), 0x209);
	assert_int_equal(send_u64(SET_PROTOCOL_FEATURES, 0x209, -1), ERR_OK);
	assert_int_equal(ask_u64(GET_QUEUE_NUM), 2);
	assert_int_equal(send_message(SET_OWNER, VERSION, NULL, 0, NULL, 0),
			 ERR_OK);
}

static void set_table(void)
{
	struct table t = whole_memory();
	uint64_t ack = 1;

	assert_int_equal(send_table(&t, 1, &fake.memory_fd, 1), ERR_OK);
	assert_int_equal(receive_answer(&ack, sizeof(ack)), 8);
	assert_int_equal(ack, 0);
}

static void start_rings(uint16_t base)
{
	unsigned q;

	for (q = 0; q < 2; q++) {
		assert_int_equal(send_pair(SET_VRING_NUM, q, 128), ERR_OK);
		assert_int_equal(send_pair(SET_VRING_BASE, q, base), ERR_OK);
		assert_int_equal(send_addresses(q, 0), ERR_OK);
		assert_int_equal(send_u64(SET_VRING_KICK, q, fake.kick_fds[q]),
				 ERR_OK);
	}
	for (q = 0; q < 2; q++)
		assert_int_equal(send_pair(SET_VRING_ENABLE, q, 1), ERR_OK);
	for (q = 0; q < 2; q++)
		assert_int_equal(send_u64(SET_VRING_CALL, q, fake.call_fds[q]),
				 ERR_OK);
}

/* The whole sequence of QEMU 7.2 up to DRIVER_OK. */
static void bring_up(void)
{
	negotiate();
	assert_int_equal(send_u64(SET_VRING_CALL, 0, fake.call_fds[0]), ERR_OK);
	assert_int_equal(send_u64(SET_VRING_ERR, 0, fake.call_fds[0]), ERR_OK);
	assert_int_equal(send_u64(SET_VRING_CALL, 1, fake.call_fds[1]), ERR_OK);
	assert_int_equal(send_u64(SET_VRING_ERR, 1, fake.call_fds[1]), ERR_OK);
	assert_int_equal(send_u64(SET_FEATURES, 0x150000000ull, -1), ERR_OK);
	set_table();
	start_rings(0);
}

static void stop_rings(void)
{
	uint32_t body[2];
	unsigned q;

	for (q = 0; q < 2; q++)
		assert_int_equal(send_pair(SET_VRING_ENABLE, q, 0), ERR_OK);
	for (q = 0; q < 2; q++) {
		assert_int_equal(send_pair(GET_VRING_BASE, q, 0), ERR_OK);
		assert_int_equal(receive_answer(body, sizeof(body)), 8);
		assert_int_equal(body[0], q);
	}
}

static void refused(enum err got, const char *word)
{
	assert_int_equal(got, ERR_FORMAT);
	assert_non_null(vhost_user_fault(server));
	assert_non_null(strstr(vhost_user_fault(server), word));
}

static void qemu_sequence_brings_the_rings_up(void **state)
{
	(void)state;
	bring_up();
	assert_int_equal(started, 2);
	assert_int_equal(driver_ok, 1);
	assert_int_equal(resets, 0);
	assert_int_equal(call_changes, 2);
	assert_true(queues[0]->running && queues[1]->indirect);
}

static void ring_waits_for_enable(void **state)
{
	(void)state;
	negotiate();
	assert_int_equal(send_u64(SET_FEATURES, 0x150000000ull, -1), ERR_OK);
	set_table();
	assert_int_equal(send_pair(SET_VRING_NUM, 0, 128), ERR_OK);
	assert_int_equal(send_addresses(0, 0), ERR_OK);
	assert_int_equal(send_u64(SET_VRING_KICK, 0, fake.kick_fds[0]), ERR_OK);
	assert_int_equal(started, 0);
	assert_int_equal(send_pair(SET_VRING_ENABLE, 0, 1), ERR_OK);
	assert_int_equal(started, 1);
	assert_int_equal(driver_ok, 0);
}

static void config_gives_the_cid(void **state)
{
	uint32_t ask[5] = {0, 8, 0, 0, 0};
	uint8_t got[20];
	uint64_t cid;

	(void)state;
	negotiate();
	assert_int_equal(send_message(GET_CONFIG, VERSION, ask, 20, NULL, 0),
			 ERR_OK);
	assert_int_equal(receive_answer(got, sizeof(got)), 20);
	memcpy(&cid, got + 12, 8);
	assert_int_equal(cid, FAKE_GUEST_CID);
}

static void config_past_its_end_is_refused(void **state)
{
	uint32_t ask[5] = {4, 8, 0, 0, 0};

	(void)state;
	refused(send_message(GET_CONFIG, VERSION, ask, 20, NULL, 0), "past");
}

static void config_size_lie_is_refused(void **state)
{
	uint32_t ask[5] = {0, 200, 0, 0, 0};

	(void)state;
	refused(send_message(GET_CONFIG, VERSION, ask, 20, NULL, 0), "size");
}

static void pause_is_not_a_reset(void **state)
{
	struct virtqueue_chain chain;

	(void)state;
	bring_up();
	fake_desc(&fake, 1, 0, 0x200000, 10, 0, 0);
	fake_offer(&fake, 1, 0);
	assert_int_equal(virtqueue_pop(queues[1], &chain), ERR_OK);
	virtqueue_push(queues[1], chain.head, 0);
	stop_rings();
	assert_int_equal(stopped, 2);
	assert_int_equal(send_pair(SET_VRING_BASE, 0, 0), ERR_OK);
	assert_int_equal(send_pair(SET_VRING_BASE, 1, 1), ERR_OK);
	assert_int_equal(resets, 0);
}

static void new_driver_is_a_reset(void **state)
{
	(void)state;
	bring_up();
	stop_rings();
	start_rings(0);
	assert_int_equal(resets, 1);
	assert_int_equal(started, 4);
	assert_int_equal(driver_ok, 1);
}

static void base_is_reported(void **state)
{
	struct virtqueue_chain chain;
	uint32_t body[2];

	(void)state;
	bring_up();
	fake_desc(&fake, 1, 0, 0x200000, 10, 0, 0);
	fake_offer(&fake, 1, 0);
	assert_int_equal(virtqueue_pop(queues[1], &chain), ERR_OK);
	virtqueue_push(queues[1], chain.head, 0);
	assert_int_equal(send_pair(GET_VRING_BASE, 1, 0), ERR_OK);
	assert_int_equal(receive_answer(body, sizeof(body)), 8);
	assert_int_equal(body[1], 1);
}

static void foreign_memory_is_refused(void **state)
{
	struct table t = whole_memory();
	int fd = memfd_create("other", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, FAKE_MEMORY_BYTES), 0);
	refused(send_table(&t, 1, &fd, 1), "not guest memory");
	close(fd);
}

static void missing_memory_fd_is_refused(void **state)
{
	struct table t = whole_memory();

	(void)state;
	refused(send_table(&t, 1, NULL, 0), "differ");
}

static void extra_memory_fd_is_refused(void **state)
{
	struct table t = whole_memory();
	int fds[2] = {fake.memory_fd, fake.memory_fd};

	(void)state;
	refused(send_table(&t, 1, fds, 2), "differ");
}

static void region_past_memory_is_refused(void **state)
{
	struct table t = whole_memory();

	(void)state;
	t.region[0].size = FAKE_MEMORY_BYTES + 1;
	refused(send_table(&t, 1, &fake.memory_fd, 1), "past");
}

static void region_offset_wrap_is_refused(void **state)
{
	struct table t = whole_memory();

	(void)state;
	t.region[0].offset = UINT64_MAX - PAGE + 1;
	refused(send_table(&t, 1, &fake.memory_fd, 1), "past");
}

static void region_address_wrap_is_refused(void **state)
{
	struct table t = whole_memory();

	(void)state;
	t.region[0].guest = UINT64_MAX - PAGE;
	refused(send_table(&t, 1, &fake.memory_fd, 1), "wrap");
}

static void overlapping_regions_are_refused(void **state)
{
	struct table t = whole_memory();
	int fds[2] = {fake.memory_fd, fake.memory_fd};

	(void)state;
	t.count = 2;
	t.region[1] = t.region[0];
	refused(send_table(&t, 2, fds, 2), "overlap");
}

static void too_many_regions_are_refused(void **state)
{
	struct table t = whole_memory();

	(void)state;
	t.count = 9;
	refused(send_table(&t, 8, &fake.memory_fd, 1), "number");
}

static void no_regions_are_refused(void **state)
{
	struct table t = {0};

	(void)state;
	refused(send_table(&t, 0, NULL, 0), "number");
}

static void table_with_surplus_is_refused(void **state)
{
	struct table t = whole_memory();

	(void)state;
	refused(send_table(&t, 2, &fake.memory_fd, 1), "wrong size");
}

static void remap_while_running_is_followed(void **state)
{
	struct table t = whole_memory();
	int fds[1] = {fake.memory_fd};

	(void)state;
	bring_up();
	/* The same memory again: the rings go on in the new table. */
	set_table();
	assert_int_equal(stopped, 2);
	assert_int_equal(started, 4);
	/* A table without the rings ends it. */
	t.region[0].size = PAGE;
	refused(send_table(&t, 1, fds, 1), "ring");
}

static void ring_outside_memory_is_refused(void **state)
{
	(void)state;
	negotiate();
	assert_int_equal(send_u64(SET_FEATURES, 0x150000000ull, -1), ERR_OK);
	set_table();
	assert_int_equal(send_pair(SET_VRING_NUM, 0, 128), ERR_OK);
	assert_int_equal(send_pair(SET_VRING_ENABLE, 0, 1), ERR_OK);
	assert_int_equal(send_u64(SET_VRING_KICK, 0, fake.kick_fds[0]), ERR_OK);
	refused(send_addresses(0, FAKE_MEMORY_BYTES), "ring");
}

static void bad_ring_numbers_are_refused(void **state)
{
	(void)state;
	refused(send_pair(SET_VRING_NUM, 0, 3), "ring size");
}

static void huge_ring_is_refused(void **state)
{
	(void)state;
	refused(send_pair(SET_VRING_NUM, 0, 65536), "ring size");
}

static void bad_ring_index_is_refused(void **state)
{
	(void)state;
	refused(send_pair(SET_VRING_ENABLE, 2, 1), "index");
}

static void bad_enable_is_refused(void **state)
{
	(void)state;
	refused(send_pair(SET_VRING_ENABLE, 0, 2), "enable");
}

static void running_ring_cannot_be_resized(void **state)
{
	(void)state;
	bring_up();
	refused(send_pair(SET_VRING_NUM, 0, 64), "running");
}

static void running_ring_cannot_be_moved(void **state)
{
	(void)state;
	bring_up();
	refused(send_addresses(0, 0), "running");
}

static void features_not_offered_are_refused(void **state)
{
	(void)state;
	refused(send_u64(SET_FEATURES, 1ull << 29, -1), "offered");
}

static void protocol_features_not_offered_are_refused(void **state)
{
	(void)state;
	refused(send_u64(SET_PROTOCOL_FEATURES, 1ull << 40, -1), "offered");
}

static void kick_without_descriptor_is_refused(void **state)
{
	(void)state;
	refused(send_u64(SET_VRING_KICK, 0, -1), "missing");
}

static void unexpected_descriptor_is_refused(void **state)
{
	(void)state;
	refused(send_u64(SET_FEATURES, 0, fake.kick_fds[0]), "descriptors");
}

static void call_without_descriptor_may_say_so(void **state)
{
	(void)state;
	assert_int_equal(send_u64(SET_VRING_CALL, 1ull << 8, -1), ERR_OK);
	refused(send_u64(SET_VRING_CALL, 1ull << 8, fake.call_fds[0]), "extra");
}

static void too_many_descriptors_are_refused(void **state)
{
	uint64_t value = 0;
	int fds[12];
	size_t i;

	(void)state;
	for (i = 0; i < 12; i++)
		fds[i] = fake.kick_fds[0];
	refused(send_message(SET_VRING_KICK, VERSION, &value, 8, fds, 12),
		"too many");
}

static void unknown_request_is_refused(void **state)
{
	(void)state;
	refused(send_message(7, VERSION, NULL, 0, NULL, 0), "unknown");
}

static void huge_request_number_is_refused(void **state)
{
	(void)state;
	refused(send_message(UINT32_MAX, VERSION, NULL, 0, NULL, 0), "unknown");
}

static void wrong_version_is_refused(void **state)
{
	(void)state;
	refused(send_message(GET_FEATURES, 2, NULL, 0, NULL, 0), "flags");
}

static void reply_flag_is_refused(void **state)
{
	(void)state;
	refused(send_message(GET_FEATURES, 5, NULL, 0, NULL, 0), "flags");
}

static void wrong_body_size_is_refused(void **state)
{
	uint32_t value = 0;

	(void)state;
	refused(send_message(SET_FEATURES, VERSION, &value, 4, NULL, 0),
		"size");
}

static void huge_body_is_refused_before_it_is_read(void **state)
{
	uint32_t raw[3] = {SET_MEM_TABLE, VERSION, UINT32_MAX};

	(void)state;
	assert_int_equal(write(front, raw, sizeof(raw)), sizeof(raw));
	refused(vhost_user_turn(server), "size");
}

static void message_may_come_in_pieces(void **state)
{
	uint32_t raw[5] = {SET_FEATURES, VERSION, 8, 0x10000000, 1};
	const uint8_t *bytes = (const uint8_t *)raw;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(raw); i++) {
		assert_int_equal(write(front, bytes + i, 1), 1);
		assert_int_equal(vhost_user_turn(server), ERR_OK);
	}
	assert_int_equal(ask_u64(GET_QUEUE_NUM), 2);
}

static void end_within_a_message_is_refused(void **state)
{
	uint32_t raw[4] = {SET_FEATURES, VERSION, 8, 0};

	(void)state;
	assert_int_equal(write(front, raw, sizeof(raw)), sizeof(raw));
	assert_int_equal(vhost_user_turn(server), ERR_OK);
	assert_int_equal(shutdown(front, SHUT_WR), 0);
	refused(vhost_user_turn(server), "end within");
}

static void end_between_messages_is_qemu_gone(void **state)
{
	(void)state;
	negotiate();
	assert_int_equal(shutdown(front, SHUT_WR), 0);
	assert_int_equal(vhost_user_turn(server), ERR_CLOSED);
	assert_null(vhost_user_fault(server));
}

static void reader_that_never_reads_is_refused(void **state)
{
	enum err e = ERR_OK;
	unsigned i;

	(void)state;
	for (i = 0; i < 100000 && e == ERR_OK; i++)
		e = send_message(GET_FEATURES, VERSION, NULL, 0, NULL, 0);
	refused(e, "answers");
}

static void blocking_descriptors_are_made_nonblocking(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(send_u64(SET_VRING_CALL, 0, fd), ERR_OK);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(qemu_sequence_brings_the_rings_up),
		T(ring_waits_for_enable),
		T(config_gives_the_cid),
		T(config_past_its_end_is_refused),
		T(config_size_lie_is_refused),
		T(pause_is_not_a_reset),
		T(new_driver_is_a_reset),
		T(base_is_reported),
		T(foreign_memory_is_refused),
		T(missing_memory_fd_is_refused),
		T(extra_memory_fd_is_refused),
		T(region_past_memory_is_refused),
		T(region_offset_wrap_is_refused),
		T(region_address_wrap_is_refused),
		T(overlapping_regions_are_refused),
		T(too_many_regions_are_refused),
		T(no_regions_are_refused),
		T(table_with_surplus_is_refused),
		T(remap_while_running_is_followed),
		T(ring_outside_memory_is_refused),
		T(bad_ring_numbers_are_refused),
		T(huge_ring_is_refused),
		T(bad_ring_index_is_refused),
		T(bad_enable_is_refused),
		T(running_ring_cannot_be_resized),
		T(running_ring_cannot_be_moved),
		T(features_not_offered_are_refused),
		T(protocol_features_not_offered_are_refused),
		T(kick_without_descriptor_is_refused),
		T(unexpected_descriptor_is_refused),
		T(call_without_descriptor_may_say_so),
		T(too_many_descriptors_are_refused),
		T(unknown_request_is_refused),
		T(huge_request_number_is_refused),
		T(wrong_version_is_refused),
		T(reply_flag_is_refused),
		T(wrong_body_size_is_refused),
		T(huge_body_is_refused_before_it_is_read),
		T(message_may_come_in_pieces),
		T(end_within_a_message_is_refused),
		T(end_between_messages_is_qemu_gone),
		T(reader_that_never_reads_is_refused),
		T(blocking_descriptors_are_made_nonblocking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
