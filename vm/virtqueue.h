/* SPDX-License-Identifier: Apache-2.0 */
/* virtqueue.h - device side of a split virtqueue (virtio 1.2, section 2.7) */
#ifndef KENAZ_VM_VIRTQUEUE_H
#define KENAZ_VM_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "engine/base/err.h"
#include "vm/guest_map.h"

#define VIRTQUEUE_SIZE_MAX     1024u /* entries */
#define VIRTQUEUE_SEGMENTS_MAX 64u   /* buffers in one descriptor chain */

/* One descriptor chain, copied out of the ring; the bytes stay the guest's. */
struct virtqueue_chain {
	uint16_t head;
	size_t count;          /* segments in use */
	size_t readable_count; /* the first so many are device-readable */
	size_t readable_bytes;
	size_t writable_bytes;
	struct iovec segments[VIRTQUEUE_SEGMENTS_MAX];
};

/* Plain data; zeroed is a stopped queue. */
struct virtqueue {
	const struct guest_map *map; /* borrowed */
	uint8_t *desc;
	uint8_t *avail;
	uint8_t *used;
	uint16_t size;
	uint16_t next_avail;
	uint16_t next_used;
	uint16_t published; /* next_used as the driver last saw it */
	bool indirect;      /* VIRTIO_F_INDIRECT_DESC was negotiated */
	bool running;
	const char *fault; /* why the queue is dead; NULL while it is sound */
};

MUST_CHECK enum err virtqueue_start(struct virtqueue *q,
				    const struct guest_map *map, uint16_t size,
				    uint16_t base, uint64_t desc_user,
				    uint64_t avail_user, uint64_t used_user,
				    bool indirect);
void virtqueue_stop(struct virtqueue *q);
MUST_CHECK enum err virtqueue_pop(struct virtqueue *q,
				  struct virtqueue_chain *ret_chain);
void virtqueue_unpop(struct virtqueue *q, uint16_t count);
void virtqueue_push(struct virtqueue *q, uint16_t head, uint32_t len_bytes);
bool virtqueue_publish(struct virtqueue *q);
bool virtqueue_has_work(struct virtqueue *q);
void virtqueue_want_kicks(struct virtqueue *q, bool want);

#endif
