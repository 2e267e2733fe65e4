/* SPDX-License-Identifier: Apache-2.0 */
/* vsock.h - the virtio-vsock device, device side (virtio 1.2, 5.10) */
#ifndef KENAZ_VM_VSOCK_H
#define KENAZ_VM_VSOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "vm/virtqueue.h"
#include "vm/vsock_backend.h"

#define VSOCK_STREAMS_MAX       512u /* per guest, all states */
#define VSOCK_LISTEN_MAX        8u   /* host ports the guest may reach */
#define VSOCK_RESETS_MAX        128u /* RST owed to ports without a stream */
#define VSOCK_BUFFER_MAX_BYTES  (512u * 1024u) /* one stream, to the host */
#define VSOCK_SOCKET_MAX_BYTES  (256u * 1024u) /* of it again, in the kernel */
#define VSOCK_BUFFER_MIN_BYTES  (16u * 1024u)
#define VSOCK_BUFFERS_MAX_BYTES (32u * 1024u * 1024u) /* one guest */
#define VSOCK_CONNECT_MAX_NS    (5ull * 1000000000ull)
#define VSOCK_CLOSE_MAX_NS      (10ull * 1000000000ull)
#define VSOCK_DRAIN_MAX_NS      (60ull * 1000000000ull)
#define VSOCK_PORT_FIRST        (1u << 30) /* our ports towards the guest */
#define VSOCK_PORT_LAST         ((1u << 31) - 1)

enum vsock_queue { VSOCK_RX = 0, VSOCK_TX = 1, VSOCK_QUEUES = 2 };

struct vsock_counters {
	uint64_t tx_packets; /* guest to host */
	uint64_t tx_bytes;
	uint64_t rx_packets; /* host to guest */
	uint64_t rx_bytes;
	uint64_t faults; /* packets that broke the protocol */
	uint64_t resets; /* RST sent */
	uint64_t turns;
};

struct vsock;

MUST_CHECK enum err vsock_new(uint64_t guest_cid,
			      const struct vsock_events *events, void *arg,
			      struct vsock **ret_vsock);
void vsock_free(struct vsock *v);
struct vsock_backend *vsock_backend(struct vsock *v);
MUST_CHECK enum err vsock_listen(struct vsock *v, uint32_t host_port,
				 uint32_t max_streams);
MUST_CHECK enum err vsock_connect(struct vsock *v, uint32_t guest_port,
				  uint64_t cookie, uint64_t now_ns);
MUST_CHECK enum err vsock_attach(struct vsock *v, enum vsock_queue index,
				 struct virtqueue *q, int kick_fd, int call_fd);
void vsock_detach(struct vsock *v, enum vsock_queue index);
void vsock_set_call(struct vsock *v, enum vsock_queue index, int call_fd);
void vsock_reset(struct vsock *v);
void vsock_turn(struct vsock *v, uint64_t now_ns);
bool vsock_expire(struct vsock *v, uint64_t now_ns);
const struct vsock_counters *vsock_counters(const struct vsock *v);

#endif
