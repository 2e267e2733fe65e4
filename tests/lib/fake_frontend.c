/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_frontend.c - a guest's driver and QEMU's vhost-user side for tests
 *
 * Runs in: unit tests and fuzz targets.
 * Trusts:  the test.
 * Never:   checks what it is told to write: hostile rings are its purpose.
 *
 * Memory: queue q's descriptors, available and used rings at
 * fake_ring(q, 0..2); 128 receive buffers, then 64 buffers to send from.
 */
#include "tests/lib/fake_frontend.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RX_AREA       0x100000u
#define RX_STRIDE     0x2000u
#define TX_AREA       0x400000u
#define TX_STRIDE     0x11000u
#define TX_SLOTS      64u
#define MESSAGE_BYTES 1024u
#define MESSAGE_FDS   16u

static void need(bool ok)
{
	if (!ok)
		abort();
}

void fake_init(struct fake_frontend *f)
{
	unsigned q;

	*f = (struct fake_frontend){.buf_alloc_bytes = 65536};
	f->memory_fd = memfd_create("fake", MFD_CLOEXEC);
	need(f->memory_fd >= 0 &&
	     ftruncate(f->memory_fd, FAKE_MEMORY_BYTES) == 0);
	f->memory = mmap(NULL, FAKE_MEMORY_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED, f->memory_fd, 0);
	need(f->memory != MAP_FAILED);
	need(guest_map_add(&f->map, 0, FAKE_USER_BASE, FAKE_MEMORY_BYTES,
			   f->memory) == ERR_OK);
	for (q = 0; q < 2; q++) {
		f->kick_fds[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		f->call_fds[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		need(f->kick_fds[q] >= 0 && f->call_fds[q] >= 0);
	}
}

void fake_fini(struct fake_frontend *f)
{
	unsigned q;

	for (q = 0; q < 2; q++) {
		close(f->kick_fds[q]);
		close(f->call_fds[q]);
	}
	munmap(f->memory, FAKE_MEMORY_BYTES);
	close(f->memory_fd);
}

/* Guest address of a queue's part: 0 descriptors, 1 available, 2 used. */
uint64_t fake_ring(unsigned q, unsigned part)
{
	return 0x10000u * (q + 1) + 0x4000u * part;
}

uint64_t fake_rx_addr(uint16_t slot)
{
	return RX_AREA + (uint64_t)slot * RX_STRIDE;
}

uint64_t fake_tx_addr(uint16_t slot)
{
	return TX_AREA + (uint64_t)slot * TX_STRIDE;
}

void fake_start_queue(struct fake_frontend *f, unsigned q)
{
	need(virtqueue_start(&f->queues[q], &f->map, FAKE_QUEUE_SIZE, 0,
			     FAKE_USER_BASE + fake_ring(q, 0),
			     FAKE_USER_BASE + fake_ring(q, 1),
			     FAKE_USER_BASE + fake_ring(q, 2), true) == ERR_OK);
}

void fake_desc_at(struct fake_frontend *f, uint64_t table, uint16_t index,
		  uint64_t addr, uint32_t len_bytes, uint16_t flags,
		  uint16_t next)
{
	uint8_t *at = f->memory + table + (size_t)index * 16;

	memcpy(at, &addr, 8);
	memcpy(at + 8, &len_bytes, 4);
	memcpy(at + 12, &flags, 2);
	memcpy(at + 14, &next, 2);
}

void fake_desc(struct fake_frontend *f, unsigned q, uint16_t index,
	       uint64_t addr, uint32_t len_bytes, uint16_t flags, uint16_t next)
{
	fake_desc_at(f, fake_ring(q, 0), index, addr, len_bytes, flags, next);
}

void fake_offer(struct fake_frontend *f, unsigned q, uint16_t head)
{
	uint8_t *ring = f->memory + fake_ring(q, 1);

	memcpy(ring + 4 + (size_t)(f->avail[q] % FAKE_QUEUE_SIZE) * 2, &head,
	       2);
	f->avail[q]++;
	memcpy(ring + 2, &f->avail[q], 2);
}

void fake_kick(struct fake_frontend *f, unsigned q)
{
	uint64_t one = 1;

	need(write(f->kick_fds[q], &one, sizeof(one)) == sizeof(one));
}

void fake_post_rx(struct fake_frontend *f, uint16_t first, uint16_t count,
		  uint32_t len_bytes)
{
	uint16_t i;

	for (i = first; i < first + count; i++) {
		fake_desc(f, 0, i, fake_rx_addr(i), len_bytes, FAKE_DESC_WRITE,
			  0);
		fake_offer(f, 0, i);
	}
	fake_kick(f, 0);
}

bool fake_take_used(struct fake_frontend *f, unsigned q, uint32_t *ret_head,
		    uint32_t *ret_len)
{
	const uint8_t *ring = f->memory + fake_ring(q, 2);
	const uint8_t *elem;
	uint16_t idx;

	memcpy(&idx, ring + 2, 2);
	if (idx == f->seen[q])
		return false;
	elem = ring + 4 + (size_t)(f->seen[q] % FAKE_QUEUE_SIZE) * 8;
	memcpy(ret_head, elem, 4);
	memcpy(ret_len, elem + 4, 4);
	f->seen[q]++;
	return true;
}

struct vsock_header fake_header(const struct fake_frontend *f, uint16_t op,
				uint32_t guest_port, uint32_t host_port)
{
	return (struct vsock_header){
		.src_cid = FAKE_GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc_bytes = f->buf_alloc_bytes,
	};
}

/* One packet in one descriptor; @h's length is sent as it stands. */
void fake_send(struct fake_frontend *f, const struct vsock_header *h,
	       const void *data, size_t len_bytes)
{
	uint16_t slot = f->tx_slot++ % TX_SLOTS;
	uint8_t *at = f->memory + fake_tx_addr(slot);

	need(len_bytes <= TX_STRIDE - VSOCK_HEADER_BYTES);
	vsock_header_encode(h, at);
	if (len_bytes)
		memcpy(at + VSOCK_HEADER_BYTES, data, len_bytes);
	fake_desc(f, 1, slot, fake_tx_addr(slot),
		  (uint32_t)(VSOCK_HEADER_BYTES + len_bytes), 0, 0);
	fake_offer(f, 1, slot);
	fake_kick(f, 1);
}

/* The next packet for the guest; its buffer is posted again. */
bool fake_receive(struct fake_frontend *f, struct vsock_header *ret_header,
		  uint8_t *ret_data, size_t *ret_len)
{
	uint32_t head, len;
	const uint8_t *at;

	if (!fake_take_used(f, 0, &head, &len))
		return false;
	need(head < FAKE_QUEUE_SIZE && len >= VSOCK_HEADER_BYTES &&
	     len <= RX_STRIDE);
	at = f->memory + fake_rx_addr((uint16_t)head);
	vsock_header_decode(at, ret_header);
	if (ret_data)
		memcpy(ret_data, at + VSOCK_HEADER_BYTES,
		       len - VSOCK_HEADER_BYTES);
	if (ret_len)
		*ret_len = len - VSOCK_HEADER_BYTES;
	fake_offer(f, 0, (uint16_t)head);
	fake_kick(f, 0);
	return true;
}

/* One vhost-user message; the size field says @body_bytes whatever is sent. */
void fake_message(int fd, uint32_t request, uint32_t flags, const void *body,
		  uint32_t body_bytes, const int *fds, size_t fd_count)
{
	union {
		struct cmsghdr align;
		uint8_t space[CMSG_SPACE(MESSAGE_FDS * sizeof(int))];
	} control = {0};
	uint8_t raw[12 + MESSAGE_BYTES];
	struct iovec iov = {raw, 12u + body_bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	need(body_bytes <= MESSAGE_BYTES && fd_count <= MESSAGE_FDS);
	memcpy(raw, &request, 4);
	memcpy(raw + 4, &flags, 4);
	memcpy(raw + 8, &body_bytes, 4);
	if (body_bytes)
		memcpy(raw + 12, body, body_bytes);
	if (fd_count) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	need(sendmsg(fd, &msg, MSG_NOSIGNAL) == (ssize_t)iov.iov_len);
}
