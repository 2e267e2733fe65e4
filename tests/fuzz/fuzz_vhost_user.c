/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_vhost_user.c - a captured QEMU that sends anything
 *
 * The input is a run of messages: u8 request, u8 descriptors, u8 length,
 * then that many bytes of body. A zero-length body of a known request is
 * filled in with sense, so that the fuzzer reaches running rings.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "tests/lib/fake_frontend.h"
#include "vm/vhost_user.h"

#define MESSAGES_MAX 128

static enum err on_started(void *arg, unsigned index, struct virtqueue *q,
			   int kick_fd, int call_fd)
{
	(void)arg;
	(void)call_fd;
	if (index > 1 || !q->running || kick_fd < 0)
		abort();
	return ERR_OK;
}

/* The rings must be readable to the last moment. */
static void on_stopped(void *arg, unsigned index)
{
	(void)arg;
	(void)index;
}

static void on_call_changed(void *arg, unsigned index, int call_fd)
{
	(void)arg;
	(void)index;
	(void)call_fd;
}

static void on_event(void *arg)
{
	(void)arg;
}

static const struct vhost_user_events events = {on_started, on_stopped,
						on_call_changed, on_event,
						on_event};

/* Bodies that make sense, by request. */
static uint32_t sensible(uint32_t request, uint8_t index, uint8_t *body)
{
	uint64_t table[5] = {1, 0, FAKE_MEMORY_BYTES, FAKE_USER_BASE, 0};
	uint64_t addresses[5] = {index, FAKE_USER_BASE + fake_ring(index, 0),
				 FAKE_USER_BASE + fake_ring(index, 2),
				 FAKE_USER_BASE + fake_ring(index, 1), 0};
	uint64_t features = 0x150000000ull;
	uint32_t pair[2] = {index, 1};

	switch (request) {
	case 2:
		memcpy(body, &features, 8);
		return 8;
	case 5:
		memcpy(body, table, sizeof(table));
		return sizeof(table);
	case 8:
		pair[1] = FAKE_QUEUE_SIZE;
		memcpy(body, pair, 8);
		return 8;
	case 9:
		memcpy(body, addresses, sizeof(addresses));
		return sizeof(addresses);
	case 10:
	case 11:
	case 18:
		memcpy(body, pair, 8);
		return 8;
	case 12:
	case 13:
	case 14:
		pair[1] = 0;
		memcpy(body, pair, 8);
		return 8;
	default:
		return 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fake_frontend f;
	static bool ready;
	struct vhost_user *u;
	struct reader r;
	enum err e = ERR_OK;
	int pair[2];
	unsigned i;

	if (!ready)
		fake_init(&f);
	ready = true;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	if (vhost_user_new(pair[1], f.memory_fd, f.memory, FAKE_MEMORY_BYTES, 3,
			   &events, NULL, &u) != ERR_OK)
		abort();
	reader_init(&r, span_of(data, size));
	for (i = 0; i < MESSAGES_MAX && reader_left(&r) && e == ERR_OK; i++) {
		uint8_t body[256];
		int fds[10] = {f.memory_fd, f.kick_fds[0], f.call_fds[0]};
		uint8_t drain[4096];
		uint32_t request = reader_get_u8(&r);
		size_t count = reader_get_u8(&r);
		uint32_t len = reader_get_u8(&r);
		struct span s = reader_get_span(&r, len);
		uint32_t k;

		for (k = 3; k < 10; k++)
			fds[k] = f.call_fds[1];
		if (len == 0)
			len = sensible(request & 31u, (count >> 4) & 1u, body);
		else if (s.len_bytes)
			memcpy(body, s.data, s.len_bytes);
		else
			memset(body, 0, sizeof(body));
		/* Kick, call and err take an eventfd, not memory. */
		if ((request & 31u) >= 12 && (request & 31u) <= 14)
			fds[0] = f.kick_fds[1];
		fake_message(pair[0], request & 31u, request & 32u ? 9u : 1u,
			     body, len, fds, (count & 15u) % 11u);
		e = vhost_user_turn(u);
		while (recv(pair[0], drain, sizeof(drain), MSG_DONTWAIT) > 0)
			continue;
	}
	if (e == ERR_FORMAT && !vhost_user_fault(u))
		abort();
	vhost_user_free(u);
	close(pair[0]);
	return 0;
}

/* sources: engine/base/buf.c engine/base/err.c engine/base/log.c
 * engine/base/text.c vm/guest_map.c vm/virtqueue.c vm/vsock_packet.c
 * vm/vhost_message.c vm/vhost_user.c tests/lib/fake_frontend.c */
