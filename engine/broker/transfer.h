/* SPDX-License-Identifier: Apache-2.0 */
/* transfer.h - one granted attempt: request out, answer back */
#ifndef KENAZ_BROKER_TRANSFER_H
#define KENAZ_BROKER_TRANSFER_H

#include <sys/queue.h>
#include <uv.h>

#include "engine/broker/curl_loop.h"
#include "engine/broker/upstream.h"
#include "engine/proto/msg.h"

#define TRANSFERS_MAX           1024u /* at once */
#define TRANSFER_RELEASE_MAX_NS 30000000000ull
/* Without the gate reading anything, once the answer is complete. */
#define TRANSFER_DRAIN_MAX_NS 60000000000ull
/* A transfer that is over by then never watches the gate's end. */
#define TRANSFER_UNWATCHED_NS 20000000ull
#define TRANSFER_QUEUE_BYTES  65536u /* unread by the gate: pause */

struct transfer;

LIST_HEAD(transfer_list, transfer);

/* What all transfers share. */
struct transfer_host {
	uv_loop_t *loop;
	struct curl_loop *curl;
	char scripted_socket[PATH_MAX_BYTES + 1];
	struct transfer_list unsent; /* have frames for the gate */
	void *context;
	/* Exactly once for each transfer; memfd is owned by the callee. */
	void (*done)(void *context, struct transfer *t,
		     const struct msg_transfer_done *m, int memfd);
	/* After done, once everything was passed on: t is gone. */
	void (*gone)(void *context, struct transfer *t);
};

MUST_CHECK enum err transfer_new(struct transfer_host *host, uint64_t grant,
				 int stream_fd, struct transfer **ret_transfer);
MUST_CHECK enum err transfer_prepare(struct transfer *t,
				     const struct upstream *up,
				     const struct msg_grant *m, int body_fd,
				     const char **ret_why);
void transfer_start(struct transfer *t);
void transfer_fail(struct transfer *t, enum err error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void transfer_on_curl_done(void *context, CURLcode result);
void transfer_on_curl_turn(void *context);
uint64_t transfer_grant(const struct transfer *t);
bool transfer_is_done(const struct transfer *t);
struct transfer *transfer_next(const struct transfer *t);
void transfer_set_next(struct transfer *t, struct transfer *next);

#endif
