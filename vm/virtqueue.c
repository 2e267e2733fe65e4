/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtqueue.c - device side of a split virtqueue (virtio 1.2, section 2.7)
 *
 * Runs in: kenaz-launch.
 * Trusts:  nothing in the ring: the guest writes it while we read it.
 * Never:   reads a field of a descriptor twice, touches a byte that is not
 *	    wholly inside one region, walks a chain longer than the queue.
 *
 * Theory of operation: descriptors and ring indexes are copied out once,
 * checked, and only the copies are used. A ring that breaks a rule of the
 * specification is dead until it is started again ("fault" says which rule);
 * there is no attempt to guess what a broken driver meant. The used index is
 * never read from guest memory: the device returns every chain it takes
 * before it stops, so the used index always equals the available base.
 */
#include "vm/virtqueue.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

/* virtio 1.2, 2.7.5: struct virtq_desc is le64 addr, le32 len, le16, le16 */
#define DESC_BYTES      16u
#define DESC_F_NEXT     1u
#define DESC_F_WRITE    2u
#define DESC_F_INDIRECT 4u

/* 2.7.6 and 2.7.8: le16 flags, le16 idx, then the ring */
#define RING_HEAD_BYTES      4u
#define USED_ELEM_BYTES      8u
#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY     1u

struct desc {
	uint64_t addr;
	uint32_t len_bytes;
	uint16_t flags;
	uint16_t next;
};

static uint16_t load_u16(const uint8_t *at)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)at,
				       __ATOMIC_ACQUIRE));
}

static void store_u16(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, htole16(value),
			 __ATOMIC_RELEASE);
}

/* Copy one descriptor; the barrier keeps the compiler from reading again. */
static struct desc load_desc(const uint8_t *table, uint32_t index)
{
	uint8_t raw[DESC_BYTES];
	struct desc d;
	uint16_t half;

	memcpy(raw, table + (size_t)index * DESC_BYTES, sizeof(raw));
	__asm__ volatile("" ::: "memory");
	memcpy(&d.addr, raw, 8);
	memcpy(&d.len_bytes, raw + 8, 4);
	memcpy(&half, raw + 12, 2);
	d.flags = le16toh(half);
	memcpy(&half, raw + 14, 2);
	d.next = le16toh(half);
	d.addr = le64toh(d.addr);
	d.len_bytes = le32toh(d.len_bytes);
	return d;
}

static enum err broken(struct virtqueue *q, const char *why)
{
	q->fault = why;
	q->running = false;
	return ERR_FORMAT;
}

/**
 * virtqueue_start() - Put a queue into use
 * @q:		Queue; its former content is forgotten
 * @map:	Guest memory, borrowed until virtqueue_stop()
 * @size:	Entries: a power of two up to VIRTQUEUE_SIZE_MAX (2.7)
 * @base:	Index of the next available entry
 * @desc_user:	Descriptor table, in the front-end's addresses
 * @avail_user:	Available ring, likewise
 * @used_user:	Used ring, likewise
 * @indirect:	Whether indirect descriptors were negotiated
 *
 * Return: ERR_OK; ERR_RANGE for a bad size or a ring outside one region;
 *	   ERR_FORMAT for a misaligned ring (2.7: 16, 2 and 4 bytes).
 */
enum err virtqueue_start(struct virtqueue *q, const struct guest_map *map,
			 uint16_t size, uint16_t base, uint64_t desc_user,
			 uint64_t avail_user, uint64_t used_user, bool indirect)
{
	struct virtqueue fresh = {
		.map = map,
		.size = size,
		.next_avail = base,
		.next_used = base,
		.published = base,
		.indirect = indirect,
		.running = true,
	};
	enum err e;

	*q = (struct virtqueue){0};
	if (size == 0 || size > VIRTQUEUE_SIZE_MAX || (size & (size - 1)))
		return ERR_RANGE;
	e = guest_map_find_user(map, desc_user, (uint64_t)size * DESC_BYTES,
				&fresh.desc);
	if (e == ERR_OK)
		e = guest_map_find_user(map, avail_user,
					RING_HEAD_BYTES + (uint64_t)size * 2,
					&fresh.avail);
	if (e == ERR_OK)
		e = guest_map_find_user(map, used_user,
					RING_HEAD_BYTES +
						(uint64_t)size *
							USED_ELEM_BYTES,
					&fresh.used);
	if (e != ERR_OK)
		return e;
	if (((uintptr_t)fresh.desc & 15) || ((uintptr_t)fresh.avail & 1) ||
	    ((uintptr_t)fresh.used & 3))
		return ERR_FORMAT;
	*q = fresh;
	return ERR_OK;
}

/**
 * virtqueue_stop() - Take a queue out of use; its indexes stay readable
 * @q:	Queue
 */
void virtqueue_stop(struct virtqueue *q)
{
	q->running = false;
	q->map = NULL;
	q->desc = NULL;
	q->avail = NULL;
	q->used = NULL;
}

/* Whether an entry is there; a jump past the queue's size breaks it. */
static enum err look(struct virtqueue *q)
{
	uint16_t idx = load_u16(q->avail + 2);

	if ((uint16_t)(idx - q->next_used) > q->size)
		return broken(q, "available index runs ahead of the queue");
	return idx == q->next_avail ? ERR_AGAIN : ERR_OK;
}

static enum err add_segment(struct virtqueue *q, struct virtqueue_chain *c,
			    const struct desc *d)
{
	uint8_t *at;

	if (c->count == VIRTQUEUE_SEGMENTS_MAX)
		return broken(q, "descriptor chain has too many buffers");
	if (d->len_bytes == 0)
		return broken(q, "descriptor of no bytes");
	if (guest_map_find(q->map, d->addr, d->len_bytes, &at) != ERR_OK)
		return broken(q, "descriptor outside guest memory");
	if (d->flags & DESC_F_WRITE) {
		c->writable_bytes += d->len_bytes;
	} else {
		/* 2.7.4.2: all readable buffers come before any writable */
		if (c->readable_count != c->count)
			return broken(q, "readable after writable descriptor");
		c->readable_count++;
		c->readable_bytes += d->len_bytes;
	}
	c->segments[c->count++] =
		(struct iovec){.iov_base = at, .iov_len = d->len_bytes};
	return ERR_OK;
}

/* 2.7.5.3: a table of descriptors outside the ring, at a chain's end. */
static enum err walk_indirect(struct virtqueue *q, struct virtqueue_chain *c,
			      const struct desc *outer)
{
	uint32_t entries = outer->len_bytes / DESC_BYTES;
	uint32_t index = 0, steps;
	uint8_t *table;
	enum err e;

	if (!q->indirect)
		return broken(q, "indirect descriptor was not negotiated");
	if (outer->flags & DESC_F_NEXT)
		return broken(q, "indirect descriptor with a successor");
	if (entries == 0 || outer->len_bytes % DESC_BYTES)
		return broken(q, "indirect table of a ragged length");
	if (entries > q->size)
		return broken(q, "indirect table longer than the queue");
	if (guest_map_find(q->map, outer->addr, outer->len_bytes, &table) !=
	    ERR_OK)
		return broken(q, "indirect table outside guest memory");
	for (steps = 0; steps < entries; steps++) {
		struct desc d = load_desc(table, index);

		if (d.flags & DESC_F_INDIRECT)
			return broken(q, "nested indirect descriptor");
		e = add_segment(q, c, &d);
		if (e != ERR_OK)
			return e;
		if (!(d.flags & DESC_F_NEXT))
			return ERR_OK;
		if (d.next >= entries)
			return broken(q, "next descriptor past its table");
		index = d.next;
	}
	return broken(q, "descriptor chain loops");
}

static enum err walk(struct virtqueue *q, struct virtqueue_chain *c)
{
	uint16_t index = c->head;
	uint32_t steps;
	enum err e;

	for (steps = 0; steps < q->size; steps++) {
		struct desc d = load_desc(q->desc, index);

		if (d.flags & DESC_F_INDIRECT)
			return walk_indirect(q, c, &d);
		e = add_segment(q, c, &d);
		if (e != ERR_OK)
			return e;
		if (!(d.flags & DESC_F_NEXT))
			return ERR_OK;
		if (d.next >= q->size)
			return broken(q, "next descriptor past the queue");
		index = d.next;
	}
	return broken(q, "descriptor chain loops");
}

/**
 * virtqueue_pop() - Take the next descriptor chain
 * @q:		Queue
 * @ret_chain:	Checked copy; its segments point into guest memory
 *
 * Return: ERR_OK; ERR_AGAIN when the queue is empty; ERR_FORMAT when the
 *	   driver broke a rule, @q->fault says which; ERR_STATE when stopped.
 */
enum err virtqueue_pop(struct virtqueue *q, struct virtqueue_chain *ret_chain)
{
	size_t slot;
	enum err e;

	if (!q->running)
		return q->fault ? ERR_FORMAT : ERR_STATE;
	e = look(q);
	if (e != ERR_OK)
		return e;
	slot = q->next_avail & (uint16_t)(q->size - 1);
	ret_chain->head = load_u16(q->avail + RING_HEAD_BYTES + slot * 2);
	ret_chain->count = 0;
	ret_chain->readable_count = 0;
	ret_chain->readable_bytes = 0;
	ret_chain->writable_bytes = 0;
	if (ret_chain->head >= q->size)
		return broken(q, "head descriptor past the queue");
	e = walk(q, ret_chain);
	if (e == ERR_OK)
		q->next_avail++;
	return e;
}

/**
 * virtqueue_unpop() - Give back the last chains taken, untouched
 * @q:		Queue
 * @count:	How many of the chains not pushed yet
 */
void virtqueue_unpop(struct virtqueue *q, uint16_t count)
{
	assert((uint16_t)(q->next_avail - q->next_used) >= count);
	q->next_avail = (uint16_t)(q->next_avail - count);
}

/**
 * virtqueue_push() - Return a chain; the driver sees it after publishing
 * @q:		Queue
 * @head:	The chain's head
 * @len_bytes:	Bytes written into its writable buffers (2.7.8.2)
 */
void virtqueue_push(struct virtqueue *q, uint16_t head, uint32_t len_bytes)
{
	size_t slot = q->next_used & (uint16_t)(q->size - 1);
	uint32_t elem[2] = {htole32(head), htole32(len_bytes)};

	if (!q->running)
		return;
	memcpy(q->used + RING_HEAD_BYTES + slot * USED_ELEM_BYTES, elem,
	       sizeof(elem));
	q->next_used++;
}

/**
 * virtqueue_publish() - Make the returned chains visible (2.7.8.2)
 * @q:	Queue
 *
 * Return: true when there were any and the driver wants an interrupt (2.7.7).
 */
bool virtqueue_publish(struct virtqueue *q)
{
	if (!q->running || q->published == q->next_used)
		return false;
	store_u16(q->used + 2, q->next_used);
	q->published = q->next_used;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !(load_u16(q->avail) & AVAIL_F_NO_INTERRUPT);
}

/**
 * virtqueue_has_work() - Whether a chain waits, or the queue just broke
 * @q:	Queue
 *
 * Return: true also for a fault, so that the next pop reports it.
 */
bool virtqueue_has_work(struct virtqueue *q)
{
	return q->running && look(q) != ERR_AGAIN;
}

/**
 * virtqueue_want_kicks() - Ask the driver for notifications, or not (2.7.10)
 * @q:		Queue
 * @want:	Whether the device is about to wait
 *
 * After asking, look at the queue once more: the driver may have added a
 * chain before it saw the flag.
 */
void virtqueue_want_kicks(struct virtqueue *q, bool want)
{
	if (!q->running)
		return;
	store_u16(q->used, want ? (uint16_t)0 : (uint16_t)USED_F_NO_NOTIFY);
	if (want)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
