/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - the guest's HTTP requests, of HTTP/1.1 and HTTP/2 */
#ifndef KENAZ_GATE_HTTP_H
#define KENAZ_GATE_HTTP_H

#include <sys/queue.h>
#include <uv.h>

#include "engine/base/buf.h"
#include "engine/gate/http_head.h"

#define HTTP_CONNECTIONS_MAX  1100u /* of any kind; requests, too */
#define HTTP_IDLE_MAX_NS      UINT64_C(75000000000) /* between requests */
#define HTTP_READ_MAX_NS      UINT64_C(120000000000)
#define HTTP_STALL_MAX_NS     UINT64_C(300000000000) /* guest reads nothing */
#define HTTP_OUT_HIGH_BYTES   (256u * 1024) /* then the source pauses */
#define HTTP_OUT_LOW_BYTES    (128u * 1024)
#define HTTP_OUT_MAX_BYTES    (34u << 20) /* a whole plain reply */
#define HTTP_BODIES_MAX_BYTES (96u << 20) /* all requests without answer */
#define HTTP_FORWARDED_MAX    48u         /* headers of all dialects */

struct http;
struct http_wire;

/* One request. The first part is the handler's to read. */
struct http_request {
	struct http_target target;
	struct http_head head;
	struct buf body;
	void *owner; /* the handler's */

	LIST_ENTRY(http_request) next;
	struct http *http;
	const struct http_wire *wire; /* how its connection speaks */
	char *uri;
	unsigned status;
	struct buf out;
	size_t out_at;
	uint64_t moved_ns; /* last progress */
	uint64_t body_seen_bytes, body_counted_bytes;
	bool head_checked, given, answered, streaming;
	bool ended, broken, hung_up;
};

struct http_handler {
	/* The request is whole: answer it now or later. */
	void (*on_request)(void *context, struct http_request *r);
	/* What was written went below HTTP_OUT_LOW_BYTES. */
	void (*on_drained)(void *context, struct http_request *r);
	/* The last call: answered whole, or the client hung up. */
	void (*on_gone)(void *context, struct http_request *r, bool whole);
};

MUST_CHECK enum err http_new(uv_loop_t *loop, const char *const *forwarded,
			     const struct http_handler *handler, void *context,
			     struct http **ret_http);
void http_free(struct http *h);
MUST_CHECK enum err http_add(struct http *h, int fd);
void http_tick(struct http *h, uint64_t now_ns);

/* @headers: attrs.h texts. @body is taken over. */
MUST_CHECK enum err http_answer(struct http_request *r, unsigned status,
				struct span headers, struct buf *body);
MUST_CHECK enum err http_begin(struct http_request *r, unsigned status,
			       struct span headers);
MUST_CHECK enum err http_write(struct http_request *r, struct span bytes);
void http_drop_body(struct http_request *r);
size_t http_pending_bytes(const struct http_request *r);
void http_end(struct http_request *r);
void http_break(struct http_request *r);

#endif
