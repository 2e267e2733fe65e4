/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_tx.c - packets from the guest (virtio 1.2, 5.10.6)
 *
 * Runs in: kenaz-launch.
 * Trusts:  nothing. A packet that breaks the protocol costs its stream (RST);
 *	    a buffer that breaks virtio costs the device.
 * Never:   answers RST with RST, takes more packets while answers cannot be
 *	    queued, believes a length that the buffer does not hold.
 */
#include "vm/vsock_stream.h"

#include <sys/socket.h>

#include "engine/base/log.h"

/* What a packet does to a stream it belongs to; may free the stream. */
typedef void (*packet_handler)(struct vsock *v, struct vsock_stream *s,
			       const struct vsock_header *h);

/**
 * vsock_owe_reset() - Queue a RST for ports without a stream
 * @v:		Device; the caller has seen room in the queue
 * @guest_port:	Where to
 * @host_port:	From
 * @type:	Socket type of the packet answered (5.10.6.4.2)
 */
void vsock_owe_reset(struct vsock *v, uint32_t guest_port, uint32_t host_port,
		     uint16_t type)
{
	size_t at = (v->reset_at + v->reset_count) % VSOCK_RESETS_MAX;

	if (v->reset_count == VSOCK_RESETS_MAX)
		return;
	v->resets[at] = (struct vsock_reset_entry){
		.guest_port = guest_port,
		.host_port = host_port,
		.type = type,
	};
	v->reset_count++;
}

static void fault(struct vsock *v, struct vsock_stream *s, const char *why)
{
	v->counters.faults++;
	log_trace(TRACE_VSOCK, "ports %u-%u: %s", s->guest_port, s->host_port,
		  why);
	stream_reset(v, s);
}

static void on_response(struct vsock *v, struct vsock_stream *s,
			const struct vsock_header *h)
{
	(void)h;
	if (s->state != STREAM_CONNECTING || (s->pending & PENDING_REQUEST)) {
		fault(v, s, "unsolicited response");
		return;
	}
	s->state = STREAM_OPEN;
	s->deadline_ns = 0;
	stream_hand_out(v, s, ERR_OK);
	stream_wake(v, s);
}

static void on_reset(struct vsock *v, struct vsock_stream *s,
		     const struct vsock_header *h)
{
	(void)h;
	if (s->state == STREAM_CONNECTING) {
		stream_hand_out(v, s, ERR_CLOSED);
	} else if (s->state == STREAM_DRAINING) {
		stream_reset_sent(v, s);
		return;
	} else if (s->state == STREAM_OPEN && s->ring_len_bytes &&
		   (s->guest_shutdown & VSOCK_SHUTDOWN_SEND)) {
		stream_drain(v, s, false);
		return;
	}
	stream_free(v, s);
}

/* 5.10.6.5: both directions over is answered by RST, a clean end. */
static void on_shutdown(struct vsock *v, struct vsock_stream *s,
			const struct vsock_header *h)
{
	s->guest_shutdown |= h->flags & VSOCK_SHUTDOWN_BOTH;
	if (s->guest_shutdown == VSOCK_SHUTDOWN_BOTH) {
		if (s->ring_len_bytes)
			stream_drain(v, s, true);
		else
			stream_reset(v, s);
		return;
	}
	/* The host's writer learns of it by EPIPE. */
	if (s->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE)
		(void)shutdown(s->fd, SHUT_RD);
	stream_finish(v, s);
}

static void on_data(struct vsock *v, struct vsock_stream *s,
		    const struct vsock_header *h)
{
	struct iovec part[VIRTQUEUE_SEGMENTS_MAX];
	const struct virtqueue_chain *c = &v->chain;
	size_t count;

	if (s->guest_shutdown & VSOCK_SHUTDOWN_SEND) {
		fault(v, s, "data after the end of data");
		return;
	}
	if (h->len_bytes > VSOCK_PACKET_MAX_BYTES ||
	    h->len_bytes > c->readable_bytes - VSOCK_HEADER_BYTES) {
		fault(v, s, "length does not fit the buffer");
		return;
	}
	if (credit_receive(&s->credit, h->len_bytes) != ERR_OK) {
		fault(v, s, "more data than there is credit for");
		return;
	}
	if (h->len_bytes == 0)
		return;
	v->counters.tx_bytes += h->len_bytes;
	count = iov_slice(c->segments, c->readable_count, VSOCK_HEADER_BYTES,
			  h->len_bytes, part, ARRAY_SIZE(part));
	stream_write(v, s, part, count, h->len_bytes);
}

static void on_credit_update(struct vsock *v, struct vsock_stream *s,
			     const struct vsock_header *h)
{
	(void)v;
	(void)s;
	(void)h; /* every header carries the figures; they are taken already */
}

static void on_credit_request(struct vsock *v, struct vsock_stream *s,
			      const struct vsock_header *h)
{
	(void)h;
	stream_owe(v, s, PENDING_CREDIT_UPDATE);
}

static const struct {
	packet_handler handle;
	bool open_only; /* legal on an open stream only */
	bool has_data;
} packet_table[] = {
	[VSOCK_OP_RESPONSE] = {on_response, false, false},
	[VSOCK_OP_RST] = {on_reset, false, false},
	[VSOCK_OP_SHUTDOWN] = {on_shutdown, true, false},
	[VSOCK_OP_RW] = {on_data, true, true},
	[VSOCK_OP_CREDIT_UPDATE] = {on_credit_update, true, false},
	[VSOCK_OP_CREDIT_REQUEST] = {on_credit_request, true, false},
};

static void stream_packet(struct vsock *v, struct vsock_stream *s,
			  const struct vsock_header *h)
{
	bool known =
		h->op < ARRAY_SIZE(packet_table) && packet_table[h->op].handle;

	if (h->op == VSOCK_OP_RST) {
		on_reset(v, s, h);
		return;
	}
	/* The guest has been, or is about to be, told that this is over. */
	if (s->state == STREAM_CLOSING || s->state == STREAM_DRAINING)
		return;
	if (!known) {
		fault(v, s, "operation not allowed on a stream");
		return;
	}
	if (packet_table[h->op].open_only && s->state != STREAM_OPEN) {
		fault(v, s, "packet before the stream was open");
		return;
	}
	if (!packet_table[h->op].has_data && h->len_bytes) {
		fault(v, s, "data in a control packet");
		return;
	}
	if (credit_update_peer(&s->credit, h->buf_alloc_bytes,
			       h->fwd_cnt_bytes) != ERR_OK) {
		fault(v, s, "impossible credit");
		return;
	}
	if (credit_left(&s->credit) > 0)
		s->asked = false;
	packet_table[h->op].handle(v, s, h);
	/* A handler may have freed the stream: look it up again. */
	s = stream_find(v, h->src_port, h->dst_port);
	if (s)
		stream_wake(v, s);
}

static struct vsock_listener *find_listener(struct vsock *v, uint32_t port)
{
	size_t i;

	for (i = 0; i < v->listener_count; i++)
		if (v->listeners[i].host_port == port)
			return &v->listeners[i];
	return NULL;
}

/* A new stream from the guest; refused with RST when it cannot be. */
static void accept_stream(struct vsock *v, const struct vsock_header *h)
{
	struct vsock_listener *l = find_listener(v, h->dst_port);
	struct vsock_stream *s;
	int fd;

	if (!l || h->len_bytes || h->fwd_cnt_bytes ||
	    stream_new(v, h->src_port, h->dst_port, l, &s) != ERR_OK) {
		vsock_owe_reset(v, h->src_port, h->dst_port, h->type);
		return;
	}
	s->state = STREAM_OPEN;
	s->credit.peer_alloc_bytes = h->buf_alloc_bytes;
	stream_owe(v, s, PENDING_RESPONSE);
	fd = s->peer_fd;
	s->peer_fd = -1;
	v->events->accepted(v->arg, h->dst_port, h->src_port, fd);
}

static void packet(struct vsock *v, const struct vsock_header *h)
{
	struct vsock_stream *s;

	/* A source that is not this guest cannot be answered (5.10.6.2). */
	if (h->src_cid != v->guest_cid) {
		v->counters.faults++;
		return;
	}
	if (h->dst_cid != VSOCK_HOST_CID || h->type != VSOCK_TYPE_STREAM) {
		v->counters.faults++;
		if (h->op != VSOCK_OP_RST)
			vsock_owe_reset(v, h->src_port, h->dst_port, h->type);
		return;
	}
	s = stream_find(v, h->src_port, h->dst_port);
	if (s) {
		stream_packet(v, s, h);
		return;
	}
	if (h->op == VSOCK_OP_REQUEST) {
		accept_stream(v, h);
	} else if (h->op != VSOCK_OP_RST) {
		v->counters.faults++;
		vsock_owe_reset(v, h->src_port, h->dst_port, h->type);
	}
}

/**
 * vsock_take_packets() - Take what the guest has sent, up to a turn's share
 * @v:	Device
 *
 * Stops while no RST could be queued: the guest then fills its own queue
 * (5.10.6.1: what bounds the resources that a guest can make us hold).
 *
 * Return: ERR_OK; ERR_FORMAT when the guest broke the queue.
 */
enum err vsock_take_packets(struct vsock *v)
{
	struct virtqueue *q = v->queues[VSOCK_TX];
	uint64_t end = v->counters.tx_bytes + VSOCK_TURN_BYTES;
	uint8_t raw[VSOCK_HEADER_BYTES];
	struct vsock_header h;
	unsigned taken;
	enum err e;

	if (!q || !q->running)
		return ERR_OK;
	virtqueue_want_kicks(q, false);
	for (taken = 0;
	     taken < VSOCK_TX_TURN_MAX && v->counters.tx_bytes < end;) {
		if (v->reset_count == VSOCK_RESETS_MAX)
			return ERR_OK; /* resumed when a RST goes out */
		e = virtqueue_pop(q, &v->chain);
		if (e == ERR_AGAIN) {
			virtqueue_want_kicks(q, true);
			if (virtqueue_has_work(q)) {
				virtqueue_want_kicks(q, false);
				continue;
			}
			return ERR_OK;
		}
		if (e != ERR_OK)
			return ERR_FORMAT;
		taken++;
		if (v->chain.writable_bytes ||
		    iov_copy_out(v->chain.segments, v->chain.readable_count,
				 raw, sizeof(raw)) != sizeof(raw)) {
			q->fault = v->chain.writable_bytes
					   ? "writable buffer sent"
					   : "packet shorter than its header";
			return ERR_FORMAT;
		}
		vsock_header_decode(raw, &h);
		log_trace(TRACE_VSOCK, "guest %s %u>%u len %u alloc %u fwd %u",
			  vsock_op_name(h.op), h.src_port, h.dst_port,
			  h.len_bytes, h.buf_alloc_bytes, h.fwd_cnt_bytes);
		v->counters.tx_packets++;
		packet(v, &h);
		virtqueue_push(q, v->chain.head, 0);
	}
	v->again = true;
	return ERR_OK;
}
