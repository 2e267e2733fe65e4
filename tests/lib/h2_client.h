/* SPDX-License-Identifier: Apache-2.0 */
/* h2_client.h - a client of HTTP/2, and raw frames for what none would send */
#ifndef KENAZ_TESTS_H2_CLIENT_H
#define KENAZ_TESTS_H2_CLIENT_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "engine/base/buf.h"

#define H2_REPLIES_MAX 300u
#define H2_PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct h2_reply {
	int32_t id;
	unsigned status, informational;
	struct buf body;
	size_t length; /* content-length, or SIZE_MAX */
	char content_type[64];
	bool headers, ended, closed;
	uint32_t error;
	/* What it sends: borrowed; then the end, unless it stays open. */
	struct span request;
	bool open;
};

struct h2_client {
	int fd;
	nghttp2_session *session;
	struct buf out;
	struct h2_reply replies[H2_REPLIES_MAX];
	size_t count;
	bool goaway, closed, pause; /* pause: reads nothing */
	uint32_t goaway_error;
	void (*turn)(void *context); /* lets the server work */
	void *context;
};

void h2_client_init(struct h2_client *c, int fd, bool manual_windows,
		    void (*turn)(void *context), void *context);
void h2_client_fini(struct h2_client *c);
/* @headers: names and values by turns, NULL-ended, after the pseudo-headers. */
struct h2_reply *h2_client_ask(struct h2_client *c, const char *method,
			       const char *path, const char *const *headers,
			       struct span body, bool open);
void h2_client_step(struct h2_client *c);
bool h2_client_until(struct h2_client *c, bool (*done)(void *context),
		     void *context);
void h2_client_finish(struct h2_client *c, struct h2_reply *r);

/* Raw: frames and literal, never indexed headers. */
void h2_put_frame(struct buf *b, unsigned type, unsigned flags, uint32_t stream,
		  struct span payload);
void h2_put_header(struct buf *b, const char *name, const char *value);
void h2_put_request(struct buf *b, const char *method, const char *path);

#endif
