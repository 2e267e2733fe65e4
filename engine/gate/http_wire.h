/* SPDX-License-Identifier: Apache-2.0 */
/* http_wire.h - what http.c shares with HTTP/1.1, HTTP/2 and the door */
#ifndef KENAZ_GATE_HTTP_WIRE_H
#define KENAZ_GATE_HTTP_WIRE_H

#include "engine/gate/http.h"

/* One kind of connection. A request's response is begun once. */
struct http_wire {
	/* With a whole body, taken over when it is not empty. */
	enum err (*answer)(struct http_request *r, struct span headers,
			   struct buf *body);
	/* With a body that comes with http_write(). */
	enum err (*begin)(struct http_request *r, struct span headers);
	/* There is something to send, or the end. */
	void (*wake)(struct http_request *r);
	/* The request is broken: its client must see that, at once. */
	void (*drop)(struct http_request *r);
};

struct http1;
struct http2;
struct http_waiting;
/* Watches a connection all its life; freed when libuv has closed it. */
struct http_watch {
	uv_poll_t poll;
};

struct http {
	uv_loop_t *loop;
	const char *const *forwarded;
	struct http_handler handler;
	void *context;
	LIST_HEAD(http_request_list, http_request) requests;
	LIST_HEAD(http_waiting_list, http_waiting) waiting;
	uv_timer_t again; /* looks at who sent a part of a preface */
	uint64_t again_ms;
	unsigned n_connections, n_requests, n_partial;
	size_t bodies_bytes;
	struct http1 *one;
	struct http2 *two;
};

/* --- requests (http.c) -------------------------------------------------- */

void http_request_init(struct http *h, struct http_request *r,
		       const struct http_wire *wire);
void http_request_fini(struct http_request *r, bool whole);
void http_request_check(struct http_request *r, const char *method);
MUST_CHECK enum err http_request_body(struct http_request *r,
				      struct span bytes);
void http_request_give(struct http_request *r);
void http_request_refuse(struct http_request *r, unsigned status,
			 const char *text);
struct span http_request_out(const struct http_request *r);
void http_request_sent(struct http_request *r, size_t len_bytes);

/* --- the door (http_door.c): which kind a new connection is -------------- */

void http_door_init(struct http *h);
MUST_CHECK enum err http_door_add(struct http *h, int fd);
void http_door_tick(struct http *h, uint64_t now_ns);
void http_door_close(struct http *h);

struct http_watch *http_watch_new(uv_loop_t *loop, int fd);
void http_watch_free(struct http_watch *w);

/* --- the kinds ------------------------------------------------------------ */

MUST_CHECK enum err http1_new(struct http *h, struct http1 **ret_one);
MUST_CHECK enum err http1_add(struct http1 *one, int fd, struct http_watch *w);
void http1_tick(struct http1 *one, uint64_t now_ns);
void http1_free(struct http1 *one);

MUST_CHECK enum err http2_new(struct http *h, struct http2 **ret_two);
MUST_CHECK enum err http2_add(struct http2 *two, int fd, struct http_watch *w);
void http2_tick(struct http2 *two, uint64_t now_ns);
void http2_free(struct http2 *two);

#endif
