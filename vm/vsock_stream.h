/* SPDX-License-Identifier: Apache-2.0 */
/* vsock_stream.h - one stream of the vsock device; private to vm/vsock*.c */
#ifndef KENAZ_VM_VSOCK_STREAM_H
#define KENAZ_VM_VSOCK_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "vm/vsock.h"
#include "vm/vsock_packet.h"

#define VSOCK_HASH_SLOTS    256u
#define VSOCK_QUANTUM_BYTES (64u * 1024u) /* one stream's share of a round */
#define VSOCK_RX_BATCH      16u           /* buffers filled by one read */
#define VSOCK_RX_IOV_MAX    128u
#define VSOCK_TX_TURN_MAX   128u            /* packets taken in one turn */
#define VSOCK_RX_TURN_MAX   128u            /* rounds given in one turn */
#define VSOCK_TURN_BYTES    (1024u * 1024u) /* each way in one turn */
#define VSOCK_EVENTS_MAX    64
#define VSOCK_BUFFERS_SPARE_BYTES \
	(VSOCK_BUFFERS_MAX_BYTES - VSOCK_STREAMS_MAX * VSOCK_BUFFER_MIN_BYTES)
#define VSOCK_PACKET_MAX_BYTES (64u * 1024u)

enum stream_state {
	STREAM_CONNECTING, /* our REQUEST is out, no answer yet */
	STREAM_OPEN,
	STREAM_CLOSING,  /* over; a RST is still owed to the guest */
	STREAM_DRAINING, /* over for the guest; its last bytes go to the host */
};

/* Packets owed to the guest, sent in this order. */
enum stream_pending {
	PENDING_RST = 1 << 0,
	PENDING_REQUEST = 1 << 1,
	PENDING_RESPONSE = 1 << 2,
	PENDING_CREDIT_UPDATE = 1 << 3,
	PENDING_CREDIT_REQUEST = 1 << 4,
	PENDING_SHUTDOWN = 1 << 5,
};

struct vsock_credit {
	uint32_t peer_alloc_bytes; /* the guest's buffer, as it says */
	uint32_t peer_fwd_bytes;   /* of ours, taken by the guest */
	uint32_t tx_bytes;         /* sent by us; wraps, as all of these */
	uint32_t alloc_bytes;      /* our buffer, as we say */
	uint32_t rx_bytes;         /* received from the guest */
	uint32_t fwd_bytes;        /* of these, given to the host */
	uint32_t fwd_told_bytes;   /* fwd_bytes as the guest last saw it */
};

struct vsock_stream {
	TAILQ_ENTRY(vsock_stream) in_all;
	TAILQ_ENTRY(vsock_stream) in_ready;
	TAILQ_ENTRY(vsock_stream) in_slot;
	uint32_t guest_port;
	uint32_t host_port;
	enum stream_state state;
	bool keyed;     /* found by its ports */
	bool ready;     /* in the ready list */
	bool from_host; /* we connected to the guest */
	bool readable;  /* the socket may have bytes or an end for us */
	bool writable;  /* the socket may take bytes */
	bool hung_up;   /* the host closed both directions */
	bool asked;     /* CREDIT_REQUEST is out */
	unsigned pending;
	uint32_t guest_shutdown; /* VSOCK_SHUTDOWN_* the guest sent */
	uint32_t host_shutdown;  /* VSOCK_SHUTDOWN_* we sent or owe */
	int fd;                  /* our end */
	int peer_fd;             /* the other end until it is handed out */
	uint64_t cookie;
	uint64_t deadline_ns; /* 0 is none */
	struct vsock_credit credit;
	uint8_t *ring; /* to the host, not taken yet; alloc_bytes long */
	size_t ring_at_bytes;
	size_t ring_len_bytes;
	struct vsock_listener *listener; /* counted there; NULL from host */
};

struct vsock_listener {
	uint32_t host_port;
	uint32_t max_streams;
	uint32_t streams;
};

struct vsock_reset_entry {
	uint32_t guest_port;
	uint32_t host_port;
	uint16_t type;
};

TAILQ_HEAD(vsock_stream_list, vsock_stream);

struct vsock {
	struct vsock_backend backend; /* first: the interface's view of us */
	uint64_t guest_cid;
	const struct vsock_events *events;
	void *arg;
	int epoll_fd;
	int again_fd; /* an eventfd: work is left for the next turn */
	struct virtqueue *queues[VSOCK_QUEUES];
	int kick_fds[VSOCK_QUEUES]; /* borrowed */
	int call_fds[VSOCK_QUEUES]; /* borrowed */
	bool starved;               /* the guest gave no receive buffers */
	bool failed;
	bool again;
	bool has_deadlines; /* of any stream, or had at the last look */
	uint64_t now_ns;
	uint32_t next_port;
	size_t streams;
	uint64_t reserved_bytes;
	struct vsock_stream_list all;
	struct vsock_stream_list ready;
	struct vsock_stream_list slots[VSOCK_HASH_SLOTS];
	struct vsock_listener listeners[VSOCK_LISTEN_MAX];
	size_t listener_count;
	struct vsock_reset_entry resets[VSOCK_RESETS_MAX];
	size_t reset_at;
	size_t reset_count;
	bool reset_last; /* a RST went out last: a stream is next */
	struct vsock_counters counters;
	struct virtqueue_chain chain;
	struct virtqueue_chain batch[VSOCK_RX_BATCH];
	struct iovec batch_iov[VSOCK_RX_IOV_MAX];
};

/* vsock_credit.c: arithmetic only */
MUST_CHECK enum err credit_update_peer(struct vsock_credit *c,
				       uint32_t alloc_bytes,
				       uint32_t fwd_bytes);
uint32_t credit_left(const struct vsock_credit *c);
MUST_CHECK enum err credit_receive(struct vsock_credit *c, uint32_t len_bytes);
bool credit_update_due(const struct vsock_credit *c);

/* vsock_stream.c: table, socket and buffer of a stream */
struct vsock_stream *stream_find(struct vsock *v, uint32_t guest_port,
				 uint32_t host_port);
MUST_CHECK enum err stream_new(struct vsock *v, uint32_t guest_port,
			       uint32_t host_port,
			       struct vsock_listener *listener,
			       struct vsock_stream **ret_stream);
void stream_free(struct vsock *v, struct vsock_stream *s);
void stream_wake(struct vsock *v, struct vsock_stream *s);
void stream_set_deadline(struct vsock *v, struct vsock_stream *s,
			 uint64_t at_ns);
void stream_owe(struct vsock *v, struct vsock_stream *s, unsigned pending);
void stream_hand_out(struct vsock *v, struct vsock_stream *s, enum err e);
void stream_reset(struct vsock *v, struct vsock_stream *s);
void stream_write(struct vsock *v, struct vsock_stream *s,
		  const struct iovec *iov, size_t count, size_t len_bytes);
void stream_flush(struct vsock *v, struct vsock_stream *s);
void stream_finish(struct vsock *v, struct vsock_stream *s);
void stream_shutdown_host(struct vsock *v, struct vsock_stream *s,
			  uint32_t flags);
bool stream_has_data(const struct vsock_stream *s);
void stream_drain(struct vsock *v, struct vsock_stream *s, bool owe_reset);
void stream_reset_sent(struct vsock *v, struct vsock_stream *s);

/* vsock.c */
void vsock_notify(struct vsock *v, enum vsock_queue index);

/* vsock_tx.c: packets from the guest */
MUST_CHECK enum err vsock_take_packets(struct vsock *v);
void vsock_owe_reset(struct vsock *v, uint32_t guest_port, uint32_t host_port,
		     uint16_t type);

/* vsock_rx.c: packets to the guest */
MUST_CHECK enum err vsock_give_packets(struct vsock *v);

#endif
