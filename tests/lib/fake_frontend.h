/* SPDX-License-Identifier: Apache-2.0 */
/* fake_frontend.h - a guest's driver and QEMU's vhost-user side, as hostile as
 * a test wants, without a virtual machine */
#ifndef KENAZ_TESTS_FAKE_FRONTEND_H
#define KENAZ_TESTS_FAKE_FRONTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/virtqueue.h"
#include "vm/vsock_packet.h"

#define FAKE_MEMORY_BYTES  (16u * 1024u * 1024u)
#define FAKE_USER_BASE     0x7f0000000000ull
#define FAKE_QUEUE_SIZE    128u
#define FAKE_GUEST_CID     3u
#define FAKE_DESC_NEXT     1u
#define FAKE_DESC_WRITE    2u
#define FAKE_DESC_INDIRECT 4u

struct fake_frontend {
	int memory_fd;
	uint8_t *memory; /* guest address n is memory[n] */
	struct guest_map map;
	struct virtqueue queues[2];
	int kick_fds[2];
	int call_fds[2];
	uint16_t avail[2];
	uint16_t seen[2];
	uint16_t tx_slot;
	uint32_t buf_alloc_bytes; /* put into every header */
};

void fake_init(struct fake_frontend *f);
void fake_fini(struct fake_frontend *f);
void fake_start_queue(struct fake_frontend *f, unsigned q);
uint64_t fake_ring(unsigned q, unsigned part);
uint64_t fake_rx_addr(uint16_t slot);
uint64_t fake_tx_addr(uint16_t slot);
void fake_desc(struct fake_frontend *f, unsigned q, uint16_t index,
	       uint64_t addr, uint32_t len_bytes, uint16_t flags,
	       uint16_t next);
void fake_desc_at(struct fake_frontend *f, uint64_t table, uint16_t index,
		  uint64_t addr, uint32_t len_bytes, uint16_t flags,
		  uint16_t next);
void fake_offer(struct fake_frontend *f, unsigned q, uint16_t head);
void fake_kick(struct fake_frontend *f, unsigned q);
void fake_post_rx(struct fake_frontend *f, uint16_t first, uint16_t count,
		  uint32_t len_bytes);
bool fake_take_used(struct fake_frontend *f, unsigned q, uint32_t *ret_head,
		    uint32_t *ret_len);
struct vsock_header fake_header(const struct fake_frontend *f, uint16_t op,
				uint32_t guest_port, uint32_t host_port);
void fake_send(struct fake_frontend *f, const struct vsock_header *h,
	       const void *data, size_t len_bytes);
bool fake_receive(struct fake_frontend *f, struct vsock_header *ret_header,
		  uint8_t *ret_data, size_t *ret_len);

void fake_message(int fd, uint32_t request, uint32_t flags, const void *body,
		  uint32_t body_bytes, const int *fds, size_t fd_count);

#endif
