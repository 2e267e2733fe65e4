/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel.h - one guest stream on its way to one allowed destination */
#ifndef KENAZ_EGRESS_TUNNEL_H
#define KENAZ_EGRESS_TUNNEL_H

#include <uv.h>

#include "engine/base/err.h"
#include "engine/proto/msg.h"

#define TUNNEL_LINE_MAX_NS    10000000000ull
#define TUNNEL_VERDICT_MAX_NS 600000000000ull /* somebody may be asked */
#define TUNNEL_RESOLVE_MAX_NS 15000000000ull
#define TUNNEL_CONNECT_MAX_NS 15000000000ull
#define TUNNEL_ADDRESSES_MAX  32u

struct tunnel;

/* What all tunnels of the session share. */
struct tunnel_host {
	uv_loop_t *loop;
	uint64_t idle_ns, total_ns;
	void *context;
	void (*ask)(void *context, const struct msg_egress_ask *m);
	void (*resolved)(void *context, const struct msg_egress_resolved *m);
	/* Exactly once for each tunnel, which is gone afterwards. */
	void (*closed)(void *context, struct tunnel *t,
		       const struct msg_egress_closed *m);
};

MUST_CHECK enum err tunnel_open(struct tunnel_host *host, uint64_t number,
				int guest_fd, struct tunnel **ret_tunnel);
MUST_CHECK enum err tunnel_verdict(struct tunnel *t,
				   const struct msg_egress_verdict *m);
MUST_CHECK enum err tunnel_connect(struct tunnel *t,
				   const struct msg_egress_connect *m);
void tunnel_refuse(struct tunnel *t, enum err error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
uint64_t tunnel_number(const struct tunnel *t);
struct tunnel *tunnel_next(const struct tunnel *t);
void tunnel_set_next(struct tunnel *t, struct tunnel *next);

#endif
