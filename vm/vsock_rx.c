/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_rx.c - packets to the guest (virtio 1.2, 5.10.6)
 *
 * Runs in: kenaz-launch.
 * Trusts:  nothing: the receive buffers are the guest's.
 * Never:   sends past the guest's credit, lets one stream have more than its
 *	    quantum while another waits, spins while there are no buffers.
 *
 * The guest posts buffers of one page. One read from the host fills a batch
 * of them, which is what makes bulk transfers to the guest cheap.
 */
#include "vm/vsock_stream.h"

#include <errno.h>
#include <sys/uio.h>

#include "engine/base/log.h"

static enum err bad_buffer(struct virtqueue *q, const char *why)
{
	q->fault = why;
	return ERR_FORMAT;
}

/* One receive buffer: writable only, room for a header and one byte. */
static enum err pop_buffer(struct vsock *v, struct virtqueue_chain *c)
{
	struct virtqueue *q = v->queues[VSOCK_RX];
	enum err e;

	if (!q || !q->running)
		return ERR_AGAIN;
	e = virtqueue_pop(q, c);
	if (e != ERR_OK)
		return e == ERR_AGAIN ? ERR_AGAIN : ERR_FORMAT;
	if (c->readable_count)
		return bad_buffer(q, "readable buffer posted for receiving");
	if (c->writable_bytes <= VSOCK_HEADER_BYTES)
		return bad_buffer(q, "receive buffer of no use");
	return ERR_OK;
}

static void put_header(struct vsock *v, const struct virtqueue_chain *c,
		       struct vsock_header *h)
{
	uint8_t raw[VSOCK_HEADER_BYTES];

	h->src_cid = VSOCK_HOST_CID;
	h->dst_cid = v->guest_cid;
	vsock_header_encode(h, raw);
	(void)iov_copy_in(c->segments, c->count, raw, sizeof(raw));
	virtqueue_push(v->queues[VSOCK_RX], c->head,
		       VSOCK_HEADER_BYTES + h->len_bytes);
	v->counters.rx_packets++;
	log_trace(TRACE_VSOCK, "host %s %u>%u len %u alloc %u fwd %u",
		  vsock_op_name(h->op), h->src_port, h->dst_port, h->len_bytes,
		  h->buf_alloc_bytes, h->fwd_cnt_bytes);
}

static struct vsock_header stream_header(struct vsock_stream *s, uint16_t op)
{
	s->credit.fwd_told_bytes = s->credit.fwd_bytes;
	return (struct vsock_header){
		.src_port = s->host_port,
		.dst_port = s->guest_port,
		.type = VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc_bytes = s->credit.alloc_bytes,
		.fwd_cnt_bytes = s->credit.fwd_bytes,
	};
}

static const struct {
	unsigned pending;
	uint16_t op;
} control_table[] = {
	{PENDING_RST, VSOCK_OP_RST},
	{PENDING_REQUEST, VSOCK_OP_REQUEST},
	{PENDING_RESPONSE, VSOCK_OP_RESPONSE},
	{PENDING_CREDIT_UPDATE, VSOCK_OP_CREDIT_UPDATE},
	{PENDING_CREDIT_REQUEST, VSOCK_OP_CREDIT_REQUEST},
	{PENDING_SHUTDOWN, VSOCK_OP_SHUTDOWN},
};

/* Send everything owed; ERR_CLOSED when the stream ended with it. */
static enum err give_control(struct vsock *v, struct vsock_stream *s)
{
	struct virtqueue_chain *c = &v->batch[0];
	size_t i;
	enum err e;

	for (i = 0; i < ARRAY_SIZE(control_table) && s->pending; i++) {
		struct vsock_header h;

		if (!(s->pending & control_table[i].pending))
			continue;
		e = pop_buffer(v, c);
		if (e != ERR_OK)
			return e;
		h = stream_header(s, control_table[i].op);
		if (h.op == VSOCK_OP_SHUTDOWN)
			h.flags = s->host_shutdown;
		put_header(v, c, &h);
		s->pending &= ~control_table[i].pending;
		if (h.op == VSOCK_OP_RST) {
			v->counters.resets++;
			stream_reset_sent(v, s);
			return ERR_CLOSED;
		}
	}
	return ERR_OK;
}

/* Collect buffers for up to @want_bytes; returns how many chains. */
static enum err pop_batch(struct vsock *v, size_t want_bytes,
			  size_t *ret_chains, size_t *ret_iovs)
{
	size_t chains = 0, iovs = 0;
	enum err e;

	while (want_bytes && chains < VSOCK_RX_BATCH) {
		struct virtqueue_chain *c = &v->batch[chains];
		size_t room, parts;

		if (iovs + VIRTQUEUE_SEGMENTS_MAX > VSOCK_RX_IOV_MAX)
			break;
		e = pop_buffer(v, c);
		if (e == ERR_AGAIN)
			break;
		if (e != ERR_OK)
			return e;
		room = c->writable_bytes - VSOCK_HEADER_BYTES;
		if (room > VSOCK_PACKET_MAX_BYTES)
			room = VSOCK_PACKET_MAX_BYTES;
		if (room > want_bytes)
			room = want_bytes;
		parts = iov_slice(c->segments, c->count, VSOCK_HEADER_BYTES,
				  room, v->batch_iov + iovs,
				  VSOCK_RX_IOV_MAX - iovs);
		c->writable_bytes = room; /* of payload, from here on */
		iovs += parts;
		want_bytes -= room;
		chains++;
	}
	*ret_chains = chains;
	*ret_iovs = iovs;
	return chains ? ERR_OK : ERR_AGAIN;
}

/* The host's end of data, or its loss. */
static void host_end(struct vsock *v, struct vsock_stream *s, ssize_t n)
{
	s->readable = false;
	if (n < 0) {
		stream_reset(v, s);
		return;
	}
	stream_shutdown_host(v, s,
			     s->hung_up ? VSOCK_SHUTDOWN_BOTH
					: VSOCK_SHUTDOWN_SEND);
}

static enum err give_data(struct vsock *v, struct vsock_stream *s)
{
	size_t want = credit_left(&s->credit), chains, iovs, i;
	struct vsock_header h;
	size_t left;
	ssize_t n;
	enum err e;

	if (want > VSOCK_QUANTUM_BYTES)
		want = VSOCK_QUANTUM_BYTES;
	e = pop_batch(v, want, &chains, &iovs);
	if (e != ERR_OK)
		return e;
	do {
		n = readv(s->fd, v->batch_iov, (int)iovs);
	} while (n < 0 && errno == EINTR);
	left = n > 0 ? (size_t)n : 0;
	for (i = 0; i < chains && left; i++) {
		size_t len = v->batch[i].writable_bytes;

		if (len > left)
			len = left;
		h = stream_header(s, VSOCK_OP_RW);
		h.len_bytes = (uint32_t)len;
		put_header(v, &v->batch[i], &h);
		s->credit.tx_bytes += (uint32_t)len;
		v->counters.rx_bytes += len;
		left -= len;
	}
	virtqueue_unpop(v->queues[VSOCK_RX], (uint16_t)(chains - i));
	if (n < 0 && errno == EAGAIN)
		s->readable = false;
	else if (n <= 0)
		host_end(v, s, n);
	return ERR_OK;
}

/* A turn of one stream: what it owes, then at most one quantum of data. */
static enum err give_stream(struct vsock *v, struct vsock_stream *s)
{
	enum err e = give_control(v, s);

	if (e == ERR_CLOSED)
		return ERR_OK;
	if (e == ERR_OK && stream_has_data(s))
		e = give_data(v, s);
	if (e == ERR_OK)
		stream_wake(v, s);
	return e;
}

static enum err give_reset(struct vsock *v)
{
	const struct vsock_reset_entry *r = &v->resets[v->reset_at];
	struct vsock_header h = {
		.src_port = r->host_port,
		.dst_port = r->guest_port,
		.type = r->type,
		.op = VSOCK_OP_RST,
	};
	enum err e = pop_buffer(v, &v->batch[0]);

	if (e != ERR_OK)
		return e;
	/* A queue that was full held packets back; take them up again. */
	if (v->reset_count == VSOCK_RESETS_MAX)
		v->again = true;
	put_header(v, &v->batch[0], &h);
	v->counters.resets++;
	v->reset_at = (v->reset_at + 1) % VSOCK_RESETS_MAX;
	v->reset_count--;
	return ERR_OK;
}

static enum err give_one(struct vsock *v)
{
	struct vsock_stream *s = TAILQ_FIRST(&v->ready);
	enum err e;

	/* In turns, so that a storm of refused packets delays no stream. */
	if (v->reset_count && (!s || !v->reset_last)) {
		v->reset_last = true;
		return give_reset(v);
	}
	v->reset_last = false;
	TAILQ_REMOVE(&v->ready, s, in_ready);
	s->ready = false;
	e = give_stream(v, s);
	if (e == ERR_AGAIN) { /* keeps its place until there are buffers */
		s->ready = true;
		TAILQ_INSERT_HEAD(&v->ready, s, in_ready);
	}
	return e;
}

/**
 * vsock_give_packets() - Send what is owed, stream by stream
 * @v:	Device
 *
 * Return: ERR_OK; ERR_FORMAT when the guest broke the queue.
 */
enum err vsock_give_packets(struct vsock *v)
{
	struct virtqueue *q = v->queues[VSOCK_RX];
	uint64_t end = v->counters.rx_bytes + VSOCK_TURN_BYTES;
	unsigned rounds;
	enum err e;

	if (!q || !q->running)
		return ERR_OK;
	v->starved = false;
	virtqueue_want_kicks(q, false);
	for (rounds = 0;
	     rounds < VSOCK_RX_TURN_MAX && v->counters.rx_bytes < end;) {
		if (!v->reset_count && TAILQ_EMPTY(&v->ready))
			return ERR_OK;
		e = give_one(v);
		if (e == ERR_OK) {
			rounds++;
			/* The guest works while we read the next share. */
			vsock_notify(v, VSOCK_RX);
			continue;
		}
		if (e != ERR_AGAIN)
			return e;
		/* No buffers: wait for the guest's notification. */
		virtqueue_want_kicks(q, true);
		if (!virtqueue_has_work(q)) {
			v->starved = true;
			return ERR_OK;
		}
		virtqueue_want_kicks(q, false);
	}
	v->again = true;
	return ERR_OK;
}
