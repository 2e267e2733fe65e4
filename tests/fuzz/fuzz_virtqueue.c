/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_virtqueue.c - a guest that writes anything into its rings
 *
 * The input is a script: each step writes a descriptor or packet header of
 * the fuzzer's choice, offers it, and lets the device run.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "tests/lib/fake_frontend.h"
#include "vm/vsock.h"

#define FDS_MAX   64
#define STEPS_MAX 256

static int host_fds[FDS_MAX];
static size_t host_count;

static void keep(int fd)
{
	if (fd < 0)
		return;
	if (host_count == FDS_MAX)
		close(fd);
	else
		host_fds[host_count++] = fd;
}

static void on_accepted(void *arg, uint32_t host_port, uint32_t guest_port,
			int fd)
{
	(void)arg;
	(void)host_port;
	(void)guest_port;
	keep(fd);
}

static void on_connected(void *arg, uint64_t cookie, enum err e, int fd,
			 uint32_t host_port)
{
	(void)host_port;
	(void)arg;
	(void)cookie;
	(void)e;
	keep(fd);
}

static void on_failed(void *arg, const char *why)
{
	(void)arg;
	if (!why)
		abort();
}

static const struct vsock_events events = {on_accepted, on_connected,
					   on_failed};

/* A header near to sense, so that the fuzzer gets past the first checks. */
static void packet(struct fake_frontend *f, struct reader *r)
{
	struct vsock_header h = {
		.src_cid = FAKE_GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = reader_get_u8(r) % 4u,
		.dst_port = 1024u + reader_get_u8(r) % 3u,
		.type = VSOCK_TYPE_STREAM,
		.op = reader_get_u8(r) % 9u,
		.flags = reader_get_u8(r),
	};
	static const uint8_t data[65536];
	size_t len = reader_get_u16(r);

	h.len_bytes = reader_get_u8(r) % 8u ? (uint32_t)len : reader_get_u32(r);
	h.buf_alloc_bytes = reader_get_u32(r);
	h.fwd_cnt_bytes = reader_get_u16(r);
	if (reader_get_u8(r) % 16u == 0)
		h.src_cid = reader_get_u64(r);
	fake_send(f, &h, data, len);
}

static void host_side(struct reader *r)
{
	static uint8_t data[65536];
	size_t which = reader_get_u8(r);
	ssize_t n;

	if (!host_count)
		return;
	which %= host_count;
	switch (reader_get_u8(r) % 4u) {
	case 0:
		n = send(host_fds[which], data, reader_get_u16(r),
			 MSG_NOSIGNAL);
		break;
	case 1:
		n = read(host_fds[which], data, sizeof(data));
		break;
	default:
		n = close(host_fds[which]);
		host_fds[which] = host_fds[--host_count];
		break;
	}
	(void)n;
}

static void step(struct fake_frontend *f, struct vsock *v, struct reader *r)
{
	unsigned q = reader_get_u8(r) % 2u;

	switch (reader_get_u8(r) % 8u) {
	case 0:
		fake_desc(f, q, reader_get_u8(r) % FAKE_QUEUE_SIZE,
			  reader_get_u64(r), reader_get_u32(r),
			  reader_get_u16(r), reader_get_u16(r));
		break;
	case 1:
		fake_desc(f, q, reader_get_u8(r) % FAKE_QUEUE_SIZE,
			  reader_get_u32(r) % FAKE_MEMORY_BYTES,
			  reader_get_u16(r), reader_get_u8(r) % 8u,
			  reader_get_u8(r));
		break;
	case 2:
		fake_offer(f, q, reader_get_u8(r));
		fake_kick(f, q);
		break;
	case 3:
		fake_post_rx(f, reader_get_u8(r) % 64u, reader_get_u8(r) % 64u,
			     reader_get_u16(r));
		break;
	case 4:
		if (vsock_connect(v, reader_get_u8(r), 1, 1) != ERR_OK)
			return;
		break;
	case 5:
		host_side(r);
		break;
	case 6:
		(void)vsock_expire(v, reader_get_u64(r));
		break;
	default:
		packet(f, r);
		break;
	}
	vsock_turn(v, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fake_frontend f;
	static bool ready;
	struct vsock *v = NULL;
	struct reader r;
	unsigned q, i;

	if (!ready)
		fake_init(&f);
	ready = true;
	for (q = 0; q < 2; q++) {
		memset(f.memory + fake_ring(q, 0), 0, 0xc000);
		f.avail[q] = f.seen[q] = 0;
		fake_start_queue(&f, q);
	}
	host_count = 0;
	if (vsock_new(FAKE_GUEST_CID, &events, NULL, &v) != ERR_OK)
		return 0;
	if (vsock_listen(v, 1024, 16) != ERR_OK ||
	    vsock_listen(v, 1025, 2) != ERR_OK)
		abort();
	for (q = 0; q < 2; q++)
		if (vsock_attach(v, (enum vsock_queue)q, &f.queues[q],
				 f.kick_fds[q], f.call_fds[q]) != ERR_OK)
			abort();
	reader_init(&r, span_of(data, size));
	for (i = 0; i < STEPS_MAX && reader_left(&r); i++)
		step(&f, v, &r);
	vsock_free(v);
	while (host_count)
		close(host_fds[--host_count]);
	return 0;
}

/* sources: engine/base/buf.c engine/base/err.c engine/base/log.c
 * engine/base/text.c vm/guest_map.c vm/virtqueue.c vm/vsock.c
 * vm/vsock_credit.c vm/vsock_packet.c vm/vsock_rx.c vm/vsock_stream.c
 * vm/vsock_tx.c tests/lib/fake_frontend.c */
