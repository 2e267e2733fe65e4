/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_rig.c - the vsock device between a test's guest and a test's host
 *
 * Runs in: unit tests.
 * Trusts:  the test.
 * Never:   outlives a test: whatever it left open is closed after it.
 */
#include "tests/lib/vsock_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fake_frontend fake;
struct vsock *dev;
int accepted_fd;
unsigned accepted_count;
int all_fds[VSOCK_STREAMS_MAX + 8];
size_t all_count;
int connected_fd;
unsigned connected_count;
uint32_t connected_port;
enum err connected_error;
uint64_t connected_cookie;
uint32_t connected_port;
const char *failed_why;

/* Closed after the test, unless the test does it. */
static void keep(int fd)
{
	size_t i;

	for (i = 0; i < all_count; i++)
		if (all_fds[i] < 0)
			break;
	assert_true(i < ARRAY_SIZE(all_fds));
	all_fds[i] = fd;
	if (i == all_count)
		all_count++;
}

static void on_accepted(void *arg, uint32_t host_port, uint32_t guest_port,
			int fd)
{
	(void)arg;
	(void)host_port;
	(void)guest_port;
	accepted_fd = fd;
	accepted_count++;
	keep(fd);
}

static void on_connected(void *arg, uint64_t cookie, enum err e, int fd,
			 uint32_t host_port)
{
	(void)arg;
	connected_port = host_port;
	connected_fd = fd;
	connected_error = e;
	connected_cookie = cookie;
	connected_count++;
	if (fd >= 0)
		keep(fd);
}

static void on_failed(void *arg, const char *why)
{
	(void)arg;
	failed_why = why;
}

static const struct vsock_events events = {on_accepted, on_connected,
					   on_failed};

int vsock_rig_setup(void **state)
{
	(void)state;
	accepted_fd = connected_fd = -1;
	accepted_count = connected_count = 0;
	all_count = 0;
	failed_why = NULL;
	fake_init(&fake);
	if (vsock_new(FAKE_GUEST_CID, &events, NULL, &dev) != ERR_OK ||
	    vsock_listen(dev, PORT, VSOCK_STREAMS_MAX) != ERR_OK ||
	    vsock_listen(dev, SMALL_PORT, 2) != ERR_OK)
		return -1;
	fake_start_queue(&fake, 0);
	fake_start_queue(&fake, 1);
	if (vsock_attach(dev, VSOCK_RX, &fake.queues[0], fake.kick_fds[0],
			 fake.call_fds[0]) != ERR_OK ||
	    vsock_attach(dev, VSOCK_TX, &fake.queues[1], fake.kick_fds[1],
			 fake.call_fds[1]) != ERR_OK)
		return -1;
	return 0;
}

int vsock_rig_teardown(void **state)
{
	size_t i;

	(void)state;
	vsock_free(dev);
	for (i = 0; i < all_count; i++)
		if (all_fds[i] >= 0)
			close(all_fds[i]);
	fake_fini(&fake);
	return 0;
}

/* Turn the device until its descriptor is quiet, as a loop would. */
unsigned run(void)
{
	unsigned turns = 0;

	while (!device_is_quiet()) {
		vsock_turn(dev, SECOND_NS);
		assert_true(++turns < TURNS_MAX);
	}
	return turns;
}

void send_op(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_header h = fake_header(&fake, op, guest_port, host_port);

	fake_send(&fake, &h, NULL, 0);
	run();
}

void send_data(uint32_t guest_port, const void *data, size_t len_bytes)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_RW, guest_port, PORT);

	h.len_bytes = (uint32_t)len_bytes;
	fake_send(&fake, &h, data, len_bytes);
	run();
}

struct vsock_header expect_op(uint16_t op)
{
	struct vsock_header h = {0};

	assert_true(fake_receive(&fake, &h, NULL, NULL));
	assert_string_equal(vsock_op_name(h.op), vsock_op_name(op));
	assert_int_equal(h.src_cid, VSOCK_HOST_CID);
	assert_int_equal(h.dst_cid, FAKE_GUEST_CID);
	return h;
}

void expect_silence(void)
{
	struct vsock_header h;

	assert_false(fake_receive(&fake, &h, NULL, NULL));
}

/* A stream from the guest, answered; its host end is accepted_fd. */
void open_stream(uint32_t guest_port)
{
	send_op(VSOCK_OP_REQUEST, guest_port, PORT);
	(void)expect_op(VSOCK_OP_RESPONSE);
	expect_silence();
}

void expect_end(int fd)
{
	char c;
	ssize_t n = read(fd, &c, 1);

	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

size_t stuff(uint32_t guest_port, size_t total)
{
	static uint8_t data[65536];
	size_t sent = 0;

	while (sent < total) {
		size_t n = total - sent < sizeof(data) ? total - sent
						       : sizeof(data);

		memset(data, (int)(sent / sizeof(data)), n);
		send_data(guest_port, data, n);
		sent += n;
	}
	return sent;
}

bool device_is_quiet(void)
{
	const struct vsock_backend *b = vsock_backend(dev);
	struct pollfd p = {.fd = b->ops->poll_fd(b), .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

/* The host's end of a stream is closed before the test ends. */
void close_host(int fd)
{
	size_t i;

	close(fd);
	for (i = 0; i < all_count; i++)
		if (all_fds[i] == fd)
			all_fds[i] = -1;
}

void send_flags(uint32_t flags, uint32_t guest_port)
{
	struct vsock_header h =
		fake_header(&fake, VSOCK_OP_SHUTDOWN, guest_port, PORT);

	h.flags = flags;
	fake_send(&fake, &h, NULL, 0);
	run();
}

size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
