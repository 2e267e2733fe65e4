/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user.c - the back-end side of vhost-user for one vsock device
 *
 * Runs in: kenaz-launch.
 * Trusts:  nothing. The front-end is a jailed QEMU which a hostile guest may
 *	    have captured: every size, index, address and descriptor is checked.
 * Never:   maps memory that the front-end names (a region must be part of the
 *	    very memfd that the launcher made, and its own mapping of it is
 *	    used), keeps a descriptor it was not asked to keep.
 *
 * Specification: "Vhost-user Protocol" of QEMU 7.2. Departures: one memory
 * object; features VERSION_1, INDIRECT_DESC and PROTOCOL_FEATURES; protocol
 * features MQ, REPLY_ACK and CONFIG, which QEMU 7.2 insists on; a message
 * that breaks the rules ends the session instead of being skipped.
 *
 * Theory of operation. A ring runs when features, size, addresses, a kick
 * descriptor and "enable" are all there, and stops at GET_VRING_BASE. A pause
 * (QMP stop, cont) looks like a reset of the guest's driver except that the
 * rings come back with the indexes they left with; only when both come back
 * at 0 after having run does the owner hear of a reset.
 */
#include "vm/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/log.h"
#include "vm/vhost_message.h"

#define FLAG_VERSION    1u
#define FLAG_VERSION_OF 3u /* mask */
#define FLAG_REPLY      (1u << 2)
#define FLAG_NEED_REPLY (1u << 3)
#define FLAGS_KNOWN     (FLAG_VERSION_OF | FLAG_REPLY | FLAG_NEED_REPLY)

#define F_INDIRECT_DESC     (1ull << 28)
#define F_PROTOCOL_FEATURES (1ull << 30)
#define F_VERSION_1         (1ull << 32)
#define FEATURES            (F_INDIRECT_DESC | F_PROTOCOL_FEATURES | F_VERSION_1)

#define P_MQ              (1ull << 0)
#define P_REPLY_ACK       (1ull << 3)
#define P_CONFIG          (1ull << 9)
#define PROTOCOL_FEATURES (P_MQ | P_REPLY_ACK | P_CONFIG)

#define VRING_INDEX_MASK 0xffull
#define VRING_NO_FD      (1ull << 8)
#define CONFIG_BYTES     8u   /* virtio_vsock_config: le64 guest_cid */
#define CONFIG_MAX_BYTES 256u /* VHOST_USER_MAX_CONFIG_SIZE */

enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	RESET_OWNER = 4,
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
	REQUEST_COUNT
};

struct vring {
	struct virtqueue queue;
	uint16_t size;
	uint16_t base;
	uint64_t desc_user;
	uint64_t avail_user;
	uint64_t used_user;
	bool has_addresses;
	bool enabled;
	bool has_base; /* SET_VRING_BASE came since the last stop */
	int kick_fd;
	int call_fd;
	int err_fd;
};

struct vhost_user {
	int fd;
	dev_t memory_dev;
	ino_t memory_ino;
	uint8_t *memory; /* borrowed */
	uint64_t memory_bytes;
	uint64_t guest_cid;
	uint64_t features;
	uint64_t protocol_features;
	struct guest_map map;
	struct vring rings[VHOST_USER_QUEUES];
	struct vhost_message in;
	struct buf body; /* of the answer */
	bool has_body;
	bool has_run; /* the rings ran before */
	bool told_driver_ok;
	const char *fault;
	const struct vhost_user_events *events;
	void *arg;
};

static enum err refuse(struct vhost_user *u, const char *why)
{
	u->fault = why;
	return ERR_FORMAT;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void stop_ring(struct vhost_user *u, unsigned index)
{
	struct vring *r = &u->rings[index];

	if (!r->queue.map)
		return;
	r->has_base = false;
	u->events->stopped(u->arg, index);
	r->base = r->queue.next_used;
	virtqueue_stop(&r->queue);
}

/* Both rings came back at index 0 after they had run: see the banner. */
static void detect_reset(struct vhost_user *u)
{
	size_t i;

	for (i = 0; i < VHOST_USER_QUEUES; i++)
		if (!u->rings[i].has_base || u->rings[i].base != 0)
			return;
	if (u->has_run)
		u->events->guest_reset(u->arg);
	for (i = 0; i < VHOST_USER_QUEUES; i++)
		u->rings[i].has_base = false;
}

static enum err start_ring(struct vhost_user *u, unsigned index)
{
	struct vring *r = &u->rings[index];
	enum err e;

	if (r->queue.map || !r->enabled || r->kick_fd < 0 ||
	    !r->has_addresses || r->size == 0 || !(u->features & F_VERSION_1))
		return ERR_OK;
	e = virtqueue_start(&r->queue, &u->map, r->size, r->base, r->desc_user,
			    r->avail_user, r->used_user,
			    (u->features & F_INDIRECT_DESC) != 0);
	if (e != ERR_OK)
		return refuse(u, "ring does not lie in guest memory");
	e = u->events->started(u->arg, index, &r->queue, r->kick_fd,
			       r->call_fd);
	if (e != ERR_OK)
		return refuse(u, "kick descriptor cannot be watched");
	if (u->rings[0].queue.map && u->rings[1].queue.map) {
		u->has_run = true;
		if (!u->told_driver_ok)
			u->events->driver_ok(u->arg);
		u->told_driver_ok = true;
	}
	return ERR_OK;
}

static enum err answer_u64(struct vhost_user *u, uint64_t value)
{
	u->has_body = true;
	return buf_put_u64(&u->body, value);
}

static enum err get_features(struct vhost_user *u, struct reader *r)
{
	(void)r;
	return answer_u64(u, FEATURES);
}

static enum err set_features(struct vhost_user *u, struct reader *r)
{
	uint64_t value = reader_get_u64(r);

	if (value & ~FEATURES)
		return refuse(u, "features that were not offered");
	u->features = value;
	return ERR_OK;
}

static enum err get_protocol_features(struct vhost_user *u, struct reader *r)
{
	(void)r;
	return answer_u64(u, PROTOCOL_FEATURES);
}

static enum err set_protocol_features(struct vhost_user *u, struct reader *r)
{
	uint64_t value = reader_get_u64(r);

	if (value & ~PROTOCOL_FEATURES)
		return refuse(u, "protocol features that were not offered");
	u->protocol_features = value;
	return ERR_OK;
}

static enum err get_queue_num(struct vhost_user *u, struct reader *r)
{
	(void)r;
	return answer_u64(u, VHOST_USER_QUEUES);
}

static enum err set_owner(struct vhost_user *u, struct reader *r)
{
	(void)u;
	(void)r;
	return ERR_OK;
}

static enum err reset_owner(struct vhost_user *u, struct reader *r)
{
	unsigned i;

	(void)r;
	for (i = 0; i < VHOST_USER_QUEUES; i++) {
		stop_ring(u, i);
		u->rings[i].enabled = false;
	}
	return ERR_OK;
}

static enum err check_region_fd(struct vhost_user *u, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_dev != u->memory_dev ||
	    st.st_ino != u->memory_ino)
		return refuse(u, "memory region that is not guest memory");
	return ERR_OK;
}

/* u32 count, u32 padding, then {guest, size, user, offset} each with its fd */
static enum err set_mem_table(struct vhost_user *u, struct reader *r)
{
	struct guest_map fresh = {0};
	uint32_t count = reader_get_u32(r);
	unsigned i;
	enum err e;

	(void)reader_get_u32(r);
	if (count == 0 || count > GUEST_REGIONS_MAX)
		return refuse(u, "number of memory regions");
	if (u->in.fd_count != count)
		return refuse(u, "memory regions and descriptors differ");
	for (i = 0; i < count; i++) {
		uint64_t guest = reader_get_u64(r);
		uint64_t size = reader_get_u64(r);
		uint64_t user = reader_get_u64(r);
		uint64_t offset = reader_get_u64(r);

		if (r->status != ERR_OK)
			return refuse(u, "memory table too short");
		e = check_region_fd(u, u->in.fds[i]);
		if (e != ERR_OK)
			return e;
		if (offset > u->memory_bytes ||
		    size > u->memory_bytes - offset || (offset & 0xfff))
			return refuse(u, "memory region past guest memory");
		if (guest_map_add(&fresh, guest, user, size,
				  u->memory + offset) != ERR_OK)
			return refuse(u, "memory regions wrap or overlap");
	}
	/* Running rings are found again in the new table, or the table is
	 * refused: a queue never keeps a pointer of an old one. */
	for (i = 0; i < VHOST_USER_QUEUES; i++)
		stop_ring(u, i);
	u->map = fresh;
	for (i = 0; i < VHOST_USER_QUEUES; i++) {
		e = start_ring(u, i);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err get_ring(struct vhost_user *u, uint64_t index,
			 struct vring **ret_ring)
{
	if (index >= VHOST_USER_QUEUES)
		return refuse(u, "ring index");
	*ret_ring = &u->rings[index];
	return ERR_OK;
}

static enum err set_vring_num(struct vhost_user *u, struct reader *r)
{
	uint32_t index = reader_get_u32(r);
	uint32_t size = reader_get_u32(r);
	struct vring *ring;
	enum err e = get_ring(u, index, &ring);

	if (e != ERR_OK)
		return e;
	if (ring->queue.map)
		return refuse(u, "size of a running ring");
	if (size == 0 || size > VIRTQUEUE_SIZE_MAX || (size & (size - 1)))
		return refuse(u, "ring size");
	ring->size = (uint16_t)size;
	return ERR_OK;
}

static enum err set_vring_addr(struct vhost_user *u, struct reader *r)
{
	uint32_t index = reader_get_u32(r);
	uint32_t flags = reader_get_u32(r);
	uint64_t desc = reader_get_u64(r);
	uint64_t used = reader_get_u64(r);
	uint64_t avail = reader_get_u64(r);
	struct vring *ring;
	enum err e = get_ring(u, index, &ring);

	(void)reader_get_u64(r); /* log address: logging was not offered */
	if (e != ERR_OK)
		return e;
	if (flags)
		return refuse(u, "ring logging was not offered");
	if (ring->queue.map)
		return refuse(u, "addresses of a running ring");
	ring->desc_user = desc;
	ring->used_user = used;
	ring->avail_user = avail;
	ring->has_addresses = true;
	return start_ring(u, index);
}

static enum err set_vring_base(struct vhost_user *u, struct reader *r)
{
	uint32_t index = reader_get_u32(r);
	uint32_t base = reader_get_u32(r);
	struct vring *ring;
	enum err e = get_ring(u, index, &ring);

	if (e != ERR_OK)
		return e;
	if (ring->queue.map)
		return refuse(u, "base of a running ring");
	if (base > UINT16_MAX)
		return refuse(u, "ring base");
	ring->base = (uint16_t)base;
	ring->has_base = true;
	detect_reset(u);
	return ERR_OK;
}

static enum err get_vring_base(struct vhost_user *u, struct reader *r)
{
	uint32_t index = reader_get_u32(r);
	struct vring *ring;
	enum err e = get_ring(u, index, &ring);

	(void)reader_get_u32(r); /* num: of the answer only */
	if (e != ERR_OK)
		return e;
	stop_ring(u, index);
	close_fd(&ring->kick_fd);
	u->has_body = true;
	e = buf_put_u32(&u->body, index);
	return e == ERR_OK ? buf_put_u32(&u->body, ring->base) : e;
}

/* The u64 of KICK, CALL and ERR: index, and whether a descriptor comes. */
static enum err take_vring_fd(struct vhost_user *u, struct reader *r,
			      unsigned *ret_index, int *ret_fd)
{
	uint64_t value = reader_get_u64(r);
	struct vring *ring;
	bool has_fd = !(value & VRING_NO_FD);
	enum err e;

	if (value & ~(VRING_INDEX_MASK | VRING_NO_FD))
		return refuse(u, "ring descriptor message");
	e = get_ring(u, value & VRING_INDEX_MASK, &ring);
	if (e != ERR_OK)
		return e;
	if (u->in.fd_count != (has_fd ? 1u : 0u))
		return refuse(u, "ring descriptor missing or extra");
	*ret_index = (unsigned)(value & VRING_INDEX_MASK);
	*ret_fd = has_fd ? u->in.fds[0] : -1;
	u->in.fd_count = 0; /* ours now */
	if (*ret_fd >= 0) {
		int flags = fcntl(*ret_fd, F_GETFL);

		if (flags < 0 ||
		    fcntl(*ret_fd, F_SETFL, flags | O_NONBLOCK) < 0) {
			close_fd(ret_fd);
			return refuse(u, "ring descriptor may block");
		}
	}
	return ERR_OK;
}

static enum err set_vring_kick(struct vhost_user *u, struct reader *r)
{
	unsigned index;
	int fd;
	enum err e = take_vring_fd(u, r, &index, &fd);

	if (e != ERR_OK)
		return e;
	stop_ring(u, index);
	close_fd(&u->rings[index].kick_fd);
	u->rings[index].kick_fd = fd;
	return start_ring(u, index);
}

static enum err set_vring_call(struct vhost_user *u, struct reader *r)
{
	unsigned index;
	int fd;
	enum err e = take_vring_fd(u, r, &index, &fd);

	if (e != ERR_OK)
		return e;
	if (u->rings[index].queue.map)
		u->events->call_changed(u->arg, index, fd);
	close_fd(&u->rings[index].call_fd);
	u->rings[index].call_fd = fd;
	return ERR_OK;
}

static enum err set_vring_err(struct vhost_user *u, struct reader *r)
{
	unsigned index;
	int fd;
	enum err e = take_vring_fd(u, r, &index, &fd);

	if (e != ERR_OK)
		return e;
	close_fd(&u->rings[index].err_fd);
	u->rings[index].err_fd = fd;
	return ERR_OK;
}

static enum err set_vring_enable(struct vhost_user *u, struct reader *r)
{
	uint32_t index = reader_get_u32(r);
	uint32_t enable = reader_get_u32(r);
	struct vring *ring;
	enum err e = get_ring(u, index, &ring);

	if (e != ERR_OK)
		return e;
	if (enable > 1)
		return refuse(u, "ring enable value");
	ring->enabled = enable == 1;
	if (!ring->enabled)
		stop_ring(u, index);
	return start_ring(u, index);
}

/* u32 offset, u32 size, u32 flags, then as many bytes; answered alike */
static enum err get_config(struct vhost_user *u, struct reader *r)
{
	uint32_t offset = reader_get_u32(r);
	uint32_t size = reader_get_u32(r);
	uint32_t flags = reader_get_u32(r);
	uint8_t config[CONFIG_BYTES];
	size_t i;
	enum err e;

	if (size > CONFIG_MAX_BYTES || reader_left(r) != size)
		return refuse(u, "size of a configuration request");
	(void)reader_get_span(r, size);
	if (offset > CONFIG_BYTES || size > CONFIG_BYTES - offset)
		return refuse(u, "configuration request past its end");
	for (i = 0; i < CONFIG_BYTES; i++)
		config[i] = (uint8_t)(u->guest_cid >> (8 * i));
	u->has_body = true;
	e = buf_put_u32(&u->body, offset);
	if (e == ERR_OK)
		e = buf_put_u32(&u->body, size);
	if (e == ERR_OK)
		e = buf_put_u32(&u->body, flags);
	if (e == ERR_OK)
		e = buf_put(&u->body, config + offset, size);
	return e;
}

#define BODY_ANY 0xffffffffu

/* Every request that is served: its body's exact size, its descriptors. */
static const struct {
	enum err (*handle)(struct vhost_user *u, struct reader *r);
	uint32_t body_bytes;
	bool takes_fds;
	const char *name;
} request_table[REQUEST_COUNT] = {
	[GET_FEATURES] = {get_features, 0, false, "GET_FEATURES"},
	[SET_FEATURES] = {set_features, 8, false, "SET_FEATURES"},
	[SET_OWNER] = {set_owner, 0, false, "SET_OWNER"},
	[RESET_OWNER] = {reset_owner, 0, false, "RESET_OWNER"},
	[SET_MEM_TABLE] = {set_mem_table, BODY_ANY, true, "SET_MEM_TABLE"},
	[SET_VRING_NUM] = {set_vring_num, 8, false, "SET_VRING_NUM"},
	[SET_VRING_ADDR] = {set_vring_addr, 40, false, "SET_VRING_ADDR"},
	[SET_VRING_BASE] = {set_vring_base, 8, false, "SET_VRING_BASE"},
	[GET_VRING_BASE] = {get_vring_base, 8, false, "GET_VRING_BASE"},
	[SET_VRING_KICK] = {set_vring_kick, 8, true, "SET_VRING_KICK"},
	[SET_VRING_CALL] = {set_vring_call, 8, true, "SET_VRING_CALL"},
	[SET_VRING_ERR] = {set_vring_err, 8, true, "SET_VRING_ERR"},
	[GET_PROTOCOL_FEATURES] = {get_protocol_features, 0, false,
				   "GET_PROTOCOL_FEATURES"},
	[SET_PROTOCOL_FEATURES] = {set_protocol_features, 8, false,
				   "SET_PROTOCOL_FEATURES"},
	[GET_QUEUE_NUM] = {get_queue_num, 0, false, "GET_QUEUE_NUM"},
	[SET_VRING_ENABLE] = {set_vring_enable, 8, false, "SET_VRING_ENABLE"},
	[GET_CONFIG] = {get_config, BODY_ANY, false, "GET_CONFIG"},
};

static enum err send_answer(struct vhost_user *u, const struct vhost_message *m)
{
	struct buf out;
	ssize_t n;
	enum err e;

	buf_init(&out, VHOST_USER_HEADER_BYTES + VHOST_USER_BODY_MAX);
	e = buf_put_u32(&out, m->request);
	if (e == ERR_OK)
		e = buf_put_u32(&out, FLAG_VERSION | FLAG_REPLY);
	if (e == ERR_OK)
		e = buf_put_u32(&out, (uint32_t)u->body.len_bytes);
	if (e == ERR_OK)
		e = buf_put_span(&out, buf_span(&u->body));
	if (e != ERR_OK)
		goto out;
	/* One answer is outstanding at most, unless the front-end never reads
	 * its own: then it is not QEMU any more. */
	n = send(u->fd, out.data, out.len_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 || (size_t)n != out.len_bytes)
		e = n < 0 && errno == EPIPE
			    ? ERR_CLOSED
			    : refuse(u, "front-end does not read its answers");
out:
	buf_fini(&out);
	return e;
}

static enum err dispatch(struct vhost_user *u)
{
	struct vhost_message *m = &u->in;
	struct reader r;
	enum err e;

	reader_init(&r,
		    span_of(m->raw + VHOST_USER_HEADER_BYTES, m->size_bytes));
	buf_reset(&u->body);
	u->has_body = false;
	log_trace(TRACE_VSOCK, "vhost-user %s, %u bytes, %zu descriptors",
		  request_table[m->request].name, m->size_bytes, m->fd_count);
	if (m->fd_count && !request_table[m->request].takes_fds)
		return refuse(u, "descriptors with a message that has none");
	e = request_table[m->request].handle(u, &r);
	if (e != ERR_OK)
		return e;
	if (r.status != ERR_OK || reader_left(&r))
		return refuse(u, "body of the wrong size");
	if (!u->has_body && (m->flags & FLAG_NEED_REPLY) &&
	    (u->protocol_features & P_REPLY_ACK)) {
		e = answer_u64(u, 0);
		if (e != ERR_OK)
			return e;
	}
	return u->has_body ? send_answer(u, m) : ERR_OK;
}

/* Check a header as soon as it is there, before its body is read. */
static enum err check_header(struct vhost_user *u)
{
	struct vhost_message *m = &u->in;
	struct reader r;

	reader_init(&r, span_of(m->raw, VHOST_USER_HEADER_BYTES));
	m->request = reader_get_u32(&r);
	m->flags = reader_get_u32(&r);
	m->size_bytes = reader_get_u32(&r);
	if ((m->flags & FLAG_VERSION_OF) != FLAG_VERSION ||
	    (m->flags & FLAG_REPLY) || (m->flags & ~FLAGS_KNOWN))
		return refuse(u, "message flags");
	if (m->request >= REQUEST_COUNT || !request_table[m->request].handle)
		return refuse(u, "unknown request");
	if (m->size_bytes > VHOST_USER_BODY_MAX ||
	    (request_table[m->request].body_bytes != BODY_ANY &&
	     request_table[m->request].body_bytes != m->size_bytes))
		return refuse(u, "message size");
	return ERR_OK;
}

static enum err one_message(struct vhost_user *u)
{
	struct vhost_message *m = &u->in;
	enum err e = vhost_message_fill(m, u->fd, VHOST_USER_HEADER_BYTES);

	if (e == ERR_OK)
		e = check_header(u);
	if (e == ERR_OK)
		e = vhost_message_fill(m, u->fd,
				       VHOST_USER_HEADER_BYTES + m->size_bytes);
	if (e == ERR_LIMIT)
		e = refuse(u, "too many descriptors");
	if (e == ERR_SHORT)
		e = refuse(u, "end within a message");
	if (e == ERR_AGAIN)
		return e;
	if (e == ERR_OK)
		e = dispatch(u);
	vhost_message_drop(m);
	return e;
}

/**
 * vhost_user_new() - Serve a connected front-end
 * @fd:			Stream socket, owned from here on, also on failure
 * @memory_fd:		The memfd that is guest memory, borrowed for the call
 * @memory:		Our mapping of it, borrowed
 * @memory_bytes:	Its size
 * @guest_cid:		What the guest reads as its address
 * @events:		Owner's callbacks, static
 * @arg:		For them
 * @ret_server:		Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS.
 */
enum err vhost_user_new(int fd, int memory_fd, uint8_t *memory,
			uint64_t memory_bytes, uint64_t guest_cid,
			const struct vhost_user_events *events, void *arg,
			struct vhost_user **ret_server)
{
	struct vhost_user *u;
	struct stat st;
	size_t i;

	if (fstat(memory_fd, &st) < 0) {
		close(fd);
		return ERR_SYS;
	}
	u = calloc(1, sizeof(*u));
	if (!u) {
		close(fd);
		return ERR_MEMORY;
	}
	u->fd = fd;
	u->memory_dev = st.st_dev;
	u->memory_ino = st.st_ino;
	u->memory = memory;
	u->memory_bytes = memory_bytes;
	u->guest_cid = guest_cid;
	u->events = events;
	u->arg = arg;
	buf_init(&u->body, VHOST_USER_BODY_MAX);
	for (i = 0; i < VHOST_USER_QUEUES; i++) {
		u->rings[i].kick_fd = -1;
		u->rings[i].call_fd = -1;
		u->rings[i].err_fd = -1;
	}
	*ret_server = u;
	return ERR_OK;
}

/**
 * vhost_user_free() - Stop the rings and close every descriptor
 * @u:	Server, or NULL
 */
void vhost_user_free(struct vhost_user *u)
{
	unsigned i;

	if (!u)
		return;
	for (i = 0; i < VHOST_USER_QUEUES; i++) {
		stop_ring(u, i);
		close_fd(&u->rings[i].kick_fd);
		close_fd(&u->rings[i].call_fd);
		close_fd(&u->rings[i].err_fd);
	}
	vhost_message_drop(&u->in);
	buf_fini(&u->body);
	close_fd(&u->fd);
	free(u);
}

/**
 * vhost_user_turn() - Serve the messages that are there, up to a ceiling
 * @u:	Server
 *
 * Return: ERR_OK; ERR_CLOSED when QEMU is gone; ERR_FORMAT when it broke the
 *	   protocol, vhost_user_fault() says how. After a failure only
 *	   vhost_user_free() may be called.
 */
enum err vhost_user_turn(struct vhost_user *u)
{
	unsigned i;

	for (i = 0; i < VHOST_USER_TURN_MAX; i++) {
		enum err e = one_message(u);

		if (e == ERR_AGAIN)
			return ERR_OK;
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/** vhost_user_fault() - Which rule the front-end broke; NULL when none */
const char *vhost_user_fault(const struct vhost_user *u)
{
	return u->fault;
}
