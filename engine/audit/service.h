/* SPDX-License-Identifier: Apache-2.0 */
/* service.h - kenaz-audit's answers to core's messages */
#ifndef KENAZ_AUDIT_SERVICE_H
#define KENAZ_AUDIT_SERVICE_H

#include "engine/audit/dump.h"
#include "engine/audit/store.h"
#include "engine/proto/chan.h"

#define SERVICE_QUERIES_MAX     256u
#define SERVICE_DUMPS_MAX       8u
#define SERVICE_SCAN_ROWS       512u /* rows looked at in a loop turn */
#define SERVICE_DUMP_EVENTS     64u  /* events dumped in a loop turn */
#define SERVICE_DUMP_STALL_NS   ((uint64_t)60 * 1000000000)
#define SERVICE_IDLE_MS         200u
#define SERVICE_PAGE_EVENTS_MAX 1000u
#define SERVICE_PAGE_BYTES      (56u * 1024)
/* Names of the sessions of one image that a query can tell: about 4,000. */
#define SERVICE_QUERY_SESSIONS_BYTES (64u * 1024)

struct query;
struct outflow;

/* What is answered once it is durable. */
struct waiting {
	uint64_t request;
	struct store_receipt receipt;
	uint64_t grant; /* 0 is none */
	uint8_t header_digest[DIGEST_BYTES];
	uint8_t body_digest[DIGEST_BYTES];
	bool is_read; /* payload_read: answer with payload_seq's bytes */
	uint64_t payload_seq;
};

struct service {
	uv_loop_t *loop;
	struct chan *core;
	struct chan *release; /* to the broker, or NULL */
	struct store *store;
	int log_dir_fd, key_dir_fd, anchor_dir_fd;
	bool sealed_said;
	uv_check_t commit;
	uv_idle_t low; /* queries and dumps, when nothing else is due */
	uv_timer_t idle;
	struct query *queries;
	size_t query_count;
	struct outflow *dumps[SERVICE_DUMPS_MAX];
	size_t waiting_count;
	struct waiting waiting[STORE_PENDING_MAX];
};

MUST_CHECK enum err service_new(uv_loop_t *loop, struct service **ret_service);
MUST_CHECK enum err service_on_message(struct chan *c, void *context,
				       struct chan_message *m);
void service_on_closed(struct chan *c, void *context, enum err reason);

/* For the parts of the service. */
void service_exit(struct service *s, int code) __attribute__((noreturn));
void service_check(struct service *s, enum err sent);
void service_wake(struct service *s);
void service_later(struct service *s);

MUST_CHECK enum err pages_ask(struct service *s,
			      const struct msg_audit_query *m);
bool pages_step(struct service *s);
MUST_CHECK enum err dumps_begin(struct service *s,
				const struct msg_audit_dump *m, int fd);
bool dumps_step(struct service *s);
bool dumps_watch(struct service *s);

#endif
