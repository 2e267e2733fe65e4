/* SPDX-License-Identifier: Apache-2.0 */
/* http2.h - an HTTP/2 connection, shared by http2.c and http2_stream.c */
#ifndef KENAZ_GATE_HTTP2_H
#define KENAZ_GATE_HTTP2_H

#include <nghttp2/nghttp2.h>

#include "engine/gate/http_wire.h"

#define HTTP2_CONNECTIONS_MAX     256u       /* of one gate */
#define HTTP2_STREAMS_MAX         64u        /* at once, of one connection */
#define HTTP2_STREAM_WINDOW_BYTES (1u << 20) /* of a request's body */
#define HTTP2_WINDOW_BYTES        (4u << 20) /* of all of a connection */
#define HTTP2_LIST_MAX_BYTES      (4 * HTTP_HEADERS_MAX_BYTES)
#define HTTP2_MEMORY_MAX_BYTES    (512u * 1024) /* the library's, each */
#define HTTP2_OUT_BYTES           (64u * 1024)  /* then the library waits */
#define HTTP2_QUEUE_MAX_FRAMES    256u /* unsent: then nothing is read */
#define HTTP2_CONTINUATIONS_MAX   8u
#define HTTP2_SETTINGS_MAX        32u   /* in one frame */
#define HTTP2_ACKS_MAX            256u  /* unsent */
#define HTTP2_CHATTER_MAX         1024u /* frames that achieve nothing */
#define HTTP2_CHATTER_PER_SECOND  64u
#define HTTP2_RESETS_MAX          256u /* streams cut short */
#define HTTP2_RESETS_PER_SECOND   32u

/* One connection. */
struct http2_connection {
	LIST_ENTRY(http2_connection) next;
	LIST_ENTRY(http2_connection) next_dirty;
	struct http2 *two;
	struct http *http;
	struct http_watch *watch;
	nghttp2_session *session;
	nghttp2_mem memory;
	size_t memory_bytes;
	LIST_HEAD(http2_stream_list, http2_stream) streams;
	unsigned n_streams;
	struct buf out; /* frames for the socket */
	size_t out_at;
	int fd, events;
	uint64_t idle_ns;  /* without a stream since */
	uint64_t moved_ns; /* when the socket last took something */
	unsigned chatter, resets;
	uint32_t fault; /* the last frame will say it; then it is closed */
	bool dirty, blocked, ending;
};

/* The common part is the first: a pointer to it is one to the whole. */
struct http2_stream {
	struct http_request r;
	LIST_ENTRY(http2_stream) next;
	struct http2_connection *connection;
	int32_t id;
	char method[16];
	char *authority, *host; /* until the headers were checked */
	size_t list_bytes, unwanted_bytes;
	bool expects, remote_ended, reset;
	bool lingers; /* answered whole, while its client still sends */
};

void http2_want_flush(struct http2_connection *c);
void http2_fault(struct http2_connection *c, uint32_t error);
void http2_chatter(struct http2_connection *c);
void http2_useful(struct http2_connection *c, unsigned frames);

void http2_stream_set_callbacks(nghttp2_session_callbacks *cb);
void http2_streams_tick(struct http2_connection *c);
void http2_streams_end(struct http2_connection *c);

#endif
