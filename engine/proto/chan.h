/* SPDX-License-Identifier: Apache-2.0 */
/* chan.h - message channels between processes: SOCK_SEQPACKET on libuv */
#ifndef KENAZ_PROTO_CHAN_H
#define KENAZ_PROTO_CHAN_H

#include <uv.h>

#include "engine/proto/msg.h"

/* Every child of core finds its channel here. */
#define CHAN_CHILD_FD 3

struct chan;

/* A received message. Take a descriptor by copying it and storing -1. */
struct chan_message {
	enum msg_type type;
	struct span payload;
	int *fds;
	size_t n_fds;
};

struct chan_handler {
	/* Any result but ERR_OK closes the channel: the peer broke the rules */
	enum err (*on_message)(struct chan *c, void *context,
			       struct chan_message *m);
	/* Called once, also after on_message failed; may free the channel. */
	void (*on_closed)(struct chan *c, void *context, enum err reason);
};

MUST_CHECK enum err chan_pair(int ret_fds[2]);
MUST_CHECK enum err chan_new(uv_loop_t *loop, int fd, enum role self,
			     enum role peer, const struct chan_handler *handler,
			     void *context, struct chan **ret_chan);
void chan_free(struct chan *c);
void chan_set_state(struct chan *c, enum chan_state state);
bool chan_is_open(const struct chan *c);
void chan_close(struct chan *c);
/* Descriptors are owned from here on, also on failure. */
MUST_CHECK enum err chan_send_raw(struct chan *c, enum msg_type type,
				  struct span payload, const int *fds,
				  size_t n_fds);
MUST_CHECK enum err chan_flush(struct chan *c);

/* chan_send_NAME(channel, message, fds, n_fds): encode and queue */
#define BEGIN(NAME, name, number, from, to, states, fmin, fmax)          \
	MUST_CHECK enum err chan_send_##name(struct chan *c,             \
					     const struct msg_##name *m, \
					     const int *fds, size_t n_fds);
#include "engine/proto/msg_no_fields.h"
#include "engine/proto/msg.def"
#include "engine/proto/msg_undef.h"

#endif
