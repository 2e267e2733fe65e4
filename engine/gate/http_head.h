/* SPDX-License-Identifier: Apache-2.0 */
/* http_head.h - what a request's line and headers must look like */
#ifndef KENAZ_GATE_HTTP_HEAD_H
#define KENAZ_GATE_HTTP_HEAD_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/proto/limits.h"

#define HTTP_HEADERS_MAX          100u
#define HTTP_HEADERS_MAX_BYTES    6144u
#define HTTP_FORWARDED_MAX_BYTES  4096u
#define HTTP_AGENT_MAX_BYTES      128u
#define HTTP_QUERY_MAX_BYTES      1024u
#define HTTP_RESPONSE_HEADERS_MAX 32u

enum http_action {
	HTTP_NONE,
	HTTP_INFER, /* with a route of its dialect */
	HTTP_ANNOUNCE,
	HTTP_INDEX,
};

struct http_target {
	enum http_action action;
	unsigned route;    /* enum route */
	unsigned dialect;  /* enum dialect: what the client speaks */
	struct span model; /* in the path, as it was encoded; else empty */
	struct span query;
};

/* A refusal; status 0 is none. */
struct http_refusal {
	unsigned status;
	const char *text; /* static */
};

struct http_head {
	unsigned count;
	size_t bytes;
	bool has_length, chunked;
	bool anthropic; /* anthropic-version is there */
	uint64_t length_bytes;
	struct buf forwarded;                 /* attrs.h texts: name, value */
	char agent[HTTP_AGENT_MAX_BYTES + 1]; /* escaped */
	struct http_refusal refusal;          /* the first */
};

void http_head_init(struct http_head *h);
void http_head_fini(struct http_head *h);
void http_head_add(struct http_head *h, struct span name, struct span value,
		   const char *const *forwarded);
void http_head_finish(struct http_head *h, const char *method);

struct http_refusal http_head_target(const char *method, const char *uri,
				     struct http_target *ret_target);
void http_head_settle(const struct http_head *h, struct http_target *target);
MUST_CHECK enum err http_head_model(struct span encoded, char *ret_model,
				    size_t cap_bytes);
bool http_head_may_return(struct span name, bool same_dialect);

#endif
