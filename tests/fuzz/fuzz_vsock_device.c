/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_vsock_device.c - packets in any order, and the device's books
 *
 * fuzz_virtqueue.c breaks rings; here rings are sound and packets mostly so,
 * which leads deep into streams, credit and ends. The input is a script of
 * what guest, host and clock do. After each step the device's own figures
 * must agree with each other, bytes must arrive in order, and the guest must
 * never get more than it said it has room for.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "tests/lib/fake_frontend.h"
#include "vm/vsock.h"
#include "vm/vsock_stream.h"

#define GUEST_PORTS  4u
#define HOST_PORT    1024u
#define ENDS_MAX     64u
#define STEPS_MAX    400u
#define HOST_PORTS   (2u + STEPS_MAX) /* two listen, the others are ours */
#define TX_SLOTS     64u
#define PATTERN      251u
#define SECOND_NS    1000000000ull
#define BUFFER_BYTES 4096u

/* The guest's view of one pair of ports. */
struct guest_end {
	uint32_t got;   /* bytes from the host */
	uint64_t limit; /* of those, by all that the guest ever told */
	uint8_t next;   /* of the pattern it sends */
};

/* The host's end of one stream. */
struct host_end {
	int fd; /* -1 is free */
	uint8_t next_in, next_out;
	bool begun; /* a byte was read: next_in is known */
};

static struct fake_frontend f;
static struct vsock *v;
static struct guest_end guest[GUEST_PORTS][HOST_PORTS];
static struct host_end ends[ENDS_MAX];
static unsigned tx_used;
static uint64_t now_ns;
static unsigned connecting, told;

#define need(what)                                                       \
	do {                                                             \
		if (!(what)) {                                           \
			(void)fprintf(stderr, "line %d: %s\n", __LINE__, \
				      #what);                            \
			abort();                                         \
		}                                                        \
	} while (0)

static void keep(int fd)
{
	size_t i;

	for (i = 0; i < ENDS_MAX; i++) {
		if (ends[i].fd >= 0)
			continue;
		ends[i] = (struct host_end){.fd = fd};
		return;
	}
	close(fd);
}

static void on_accepted(void *arg, uint32_t host_port, uint32_t guest_port,
			int fd)
{
	int little = 1;

	(void)arg;
	(void)guest_port;
	need(host_port == HOST_PORT || host_port == HOST_PORT + 1);
	/* Little room in the socket, so that the device has to buffer. */
	need(setsockopt(TAILQ_LAST(&v->all, vsock_stream_list)->fd, SOL_SOCKET,
			SO_SNDBUF, &little, sizeof(little)) == 0);
	keep(fd);
}

static void on_connected(void *arg, uint64_t cookie, enum err e, int fd,
			 uint32_t host_port)
{
	(void)host_port;
	(void)arg;
	(void)cookie;
	need((e == ERR_OK) == (fd >= 0));
	need(++told <= connecting);
	if (fd >= 0)
		keep(fd);
}

/* The rings are sound: nothing may break the whole device. */
static void on_failed(void *arg, const char *why)
{
	(void)arg;
	(void)why;
	abort();
}

static const struct vsock_events events = {on_accepted, on_connected,
					   on_failed};

static struct guest_end *guest_of(uint32_t guest_port, uint32_t host_port)
{
	uint32_t host = host_port >= VSOCK_PORT_FIRST
				? 2 + host_port - VSOCK_PORT_FIRST
				: host_port - HOST_PORT;

	need(guest_port < GUEST_PORTS && host < HOST_PORTS);
	return &guest[guest_port][host];
}

/* --- the device's books ------------------------------------------------- */

static void check_stream(const struct vsock_stream *s)
{
	const struct vsock_credit *c = &s->credit;

	need(s->ring_len_bytes <= c->alloc_bytes);
	need(c->alloc_bytes >= VSOCK_BUFFER_MIN_BYTES &&
	     c->alloc_bytes <= VSOCK_BUFFER_MAX_BYTES);
	need(!s->ring_len_bytes || s->ring);
	need((s->state == STREAM_CLOSING) == (s->fd < 0));
	need(s->keyed || s->state == STREAM_DRAINING);
	if (s->state == STREAM_OPEN || s->state == STREAM_DRAINING)
		need(c->rx_bytes - c->fwd_bytes == s->ring_len_bytes);
	if (s->state == STREAM_DRAINING)
		need(s->ring_len_bytes && s->deadline_ns);
	if (s->state == STREAM_CLOSING)
		need(s->pending == PENDING_RST && s->ready);
	if (s->state == STREAM_OPEN && s->pending)
		need(s->ready);
	if (s->host_shutdown == VSOCK_SHUTDOWN_BOTH && s->state == STREAM_OPEN)
		need(s->deadline_ns);
	if (s->deadline_ns)
		need(v->has_deadlines);
}

static void check_books(void)
{
	size_t count = 0, ready = 0, listed = 0, i;
	uint64_t reserved = 0;
	const struct vsock_stream *s;

	TAILQ_FOREACH(s, &v->all, in_all)
	{
		check_stream(s);
		count++;
		reserved += s->credit.alloc_bytes;
		ready += s->ready;
		listed += s->listener != NULL;
	}
	need(count == v->streams && count <= VSOCK_STREAMS_MAX);
	need(reserved == v->reserved_bytes);
	need(reserved <= VSOCK_BUFFERS_MAX_BYTES);
	need(v->reset_count <= VSOCK_RESETS_MAX);
	TAILQ_FOREACH(s, &v->ready, in_ready)
	ready--;
	for (i = 0; i < v->listener_count; i++) {
		need(v->listeners[i].streams <= v->listeners[i].max_streams);
		listed -= v->listeners[i].streams;
	}
	need(ready == 0 && listed == 0);
}

/* --- what the three sides do -------------------------------------------- */

static void send_packet(struct reader *r)
{
	static uint8_t data[65536];
	static const uint16_t likely[] = {
		VSOCK_OP_REQUEST,        VSOCK_OP_RW,       VSOCK_OP_RW,
		VSOCK_OP_CREDIT_UPDATE,  VSOCK_OP_SHUTDOWN, VSOCK_OP_RST,
		VSOCK_OP_CREDIT_REQUEST, VSOCK_OP_RESPONSE,
	};
	uint8_t ports = reader_get_u8(r), what = reader_get_u8(r);
	uint32_t guest_port = ports & 3u;
	uint32_t host_port = HOST_PORT + (ports >> 2 & 1u);
	struct guest_end *g;
	struct vsock_header h;
	size_t len = 0, i;

	/* The second half: ports that we chose, on streams to the guest. */
	if (ports & 8)
		host_port = VSOCK_PORT_FIRST + (ports >> 4 & 3u);
	g = guest_of(guest_port, host_port);
	h = fake_header(&f, likely[what & 7u], guest_port, host_port);
	h.buf_alloc_bytes = (uint32_t)reader_get_u8(r) << (what >> 4);
	h.fwd_cnt_bytes = what & 8 ? g->got : g->got - reader_get_u8(r) % 4u;
	h.flags = reader_get_u8(r) & 7u;
	if (h.op == VSOCK_OP_REQUEST) {
		h.fwd_cnt_bytes = what & 8 ? 0 : reader_get_u8(r) % 2u;
	} else if (h.op == VSOCK_OP_RW) {
		len = reader_get_u16(r);
		for (i = 0; i < len; i++)
			data[i] = (uint8_t)((g->next + i) % PATTERN);
		g->next = (uint8_t)((g->next + len) % PATTERN);
		h.len_bytes = (uint32_t)len;
	}
	if ((uint64_t)h.fwd_cnt_bytes + h.buf_alloc_bytes > g->limit)
		g->limit = (uint64_t)h.fwd_cnt_bytes + h.buf_alloc_bytes;
	if (tx_used == TX_SLOTS)
		return;
	tx_used++;
	fake_send(&f, &h, data, len);
}

static void guest_receives(void)
{
	static uint8_t data[8192];
	struct vsock_header h;
	struct guest_end *g;
	size_t len, i;

	if (!fake_receive(&f, &h, data, &len))
		return;
	need(h.src_cid == VSOCK_HOST_CID && h.dst_cid == FAKE_GUEST_CID);
	need(h.len_bytes == len && (h.op == VSOCK_OP_RW) == (len > 0));
	need(h.op >= VSOCK_OP_REQUEST && h.op <= VSOCK_OP_CREDIT_REQUEST);
	need(h.op == VSOCK_OP_RST || h.buf_alloc_bytes);
	g = guest_of(h.dst_port, h.src_port);
	if (h.op == VSOCK_OP_REQUEST || h.op == VSOCK_OP_RESPONSE)
		g->got = 0;
	for (i = 0; i < len; i++)
		need(data[i] == (g->got + i) % PATTERN);
	g->got += (uint32_t)len;
	need(g->got <= g->limit);
}

static void host_reads(struct host_end *e)
{
	static uint8_t data[65536];
	ssize_t n = read(e->fd, data, sizeof(data)), i;

	/* The guest's pattern goes on over streams that were refused: the order
	 * is known, not where it begins. */
	if (n > 0 && !e->begun) {
		e->next_in = data[0];
		e->begun = true;
	}
	for (i = 0; i < n; i++)
		need(data[i] == (e->next_in + (size_t)i) % PATTERN);
	if (n > 0)
		e->next_in = (uint8_t)((e->next_in + (size_t)n) % PATTERN);
}

static void host_writes(struct host_end *e, size_t len)
{
	static uint8_t data[65536];
	ssize_t n;
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = (uint8_t)((e->next_out + i) % PATTERN);
	n = send(e->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		e->next_out = (uint8_t)((e->next_out + (size_t)n) % PATTERN);
}

static void host_acts(struct reader *r)
{
	uint8_t which = reader_get_u8(r), what = reader_get_u8(r);
	struct host_end *e = &ends[which % ENDS_MAX];

	if (e->fd < 0)
		e = &ends[which % 4u];
	if (e->fd < 0)
		return;
	switch (what % 8u) {
	case 0:
		close(e->fd);
		e->fd = -1;
		break;
	case 1:
		(void)shutdown(e->fd, SHUT_WR);
		break;
	case 2:
		(void)shutdown(e->fd, SHUT_RD);
		break;
	case 3:
	case 4:
		host_reads(e);
		break;
	default:
		host_writes(e, reader_get_u16(r));
		break;
	}
}

static void turn(void)
{
	uint32_t head, len;

	vsock_turn(v, now_ns);
	while (fake_take_used(&f, 1, &head, &len)) {
		need(len == 0 && head < TX_SLOTS && tx_used > 0);
		tx_used--;
	}
	check_books();
}

static void step(struct reader *r)
{
	uint8_t what = reader_get_u8(r);
	unsigned i;

	switch (what % 8u) {
	case 0:
		host_acts(r);
		break;
	case 1:
		for (i = 0; i < 1u + what / 8u; i++)
			guest_receives();
		break;
	case 2:
		now_ns += (uint64_t)reader_get_u8(r) * SECOND_NS / 4;
		(void)vsock_expire(v, now_ns);
		break;
	case 3:
		if (vsock_connect(v, what / 8u % GUEST_PORTS, 1, now_ns) ==
		    ERR_OK)
			connecting++;
		break;
	case 4:
		if (what / 8u == 31) {
			vsock_reset(v);
			need(v->streams == 0 && v->reserved_bytes == 0);
		}
		break;
	default:
		send_packet(r);
		break;
	}
	turn();
}

static void setup(uint16_t buffers)
{
	static bool ready;
	unsigned q;

	if (!ready)
		fake_init(&f);
	ready = true;
	memset(guest, 0, sizeof(guest));
	for (q = 0; q < ENDS_MAX; q++)
		ends[q].fd = -1;
	f.tx_slot = 0;
	tx_used = connecting = told = 0;
	now_ns = SECOND_NS;
	for (q = 0; q < 2; q++) {
		memset(f.memory + fake_ring(q, 0), 0, 0xc000);
		f.avail[q] = f.seen[q] = 0;
		fake_start_queue(&f, q);
	}
	need(vsock_new(FAKE_GUEST_CID, &events, NULL, &v) == ERR_OK);
	need(vsock_listen(v, HOST_PORT, 16) == ERR_OK);
	need(vsock_listen(v, HOST_PORT + 1, 2) == ERR_OK);
	for (q = 0; q < 2; q++)
		need(vsock_attach(v, (enum vsock_queue)q, &f.queues[q],
				  f.kick_fds[q], f.call_fds[q]) == ERR_OK);
	fake_post_rx(&f, 0, buffers, BUFFER_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r;
	unsigned i;

	reader_init(&r, span_of(data, size));
	setup(reader_get_u8(&r) % 128u);
	for (i = 0; i < STEPS_MAX && reader_left(&r); i++)
		step(&r);
	vsock_free(v);
	for (i = 0; i < ENDS_MAX; i++)
		if (ends[i].fd >= 0)
			close(ends[i].fd);
	return 0;
}

/* sources: engine/base/buf.c engine/base/err.c engine/base/log.c
 * engine/base/text.c vm/guest_map.c vm/virtqueue.c vm/vsock.c
 * vm/vsock_credit.c vm/vsock_packet.c vm/vsock_rx.c vm/vsock_stream.c
 * vm/vsock_tx.c tests/lib/fake_frontend.c */
