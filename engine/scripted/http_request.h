/* SPDX-License-Identifier: Apache-2.0 */
/* http_request.h - a strict, bounded parser of the requests of one client */
#ifndef KENAZ_SCRIPTED_HTTP_REQUEST_H
#define KENAZ_SCRIPTED_HTTP_REQUEST_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/proto/limits.h"

#define HTTP_HEAD_MAX_BYTES    16384u
#define HTTP_HEADERS_MAX       64u
#define HTTP_REQUEST_MAX_BYTES (HTTP_HEAD_MAX_BYTES + BODY_MAX_BYTES)

/* Spans borrow the received bytes. */
struct http_request {
	struct span method;
	struct span path; /* without the query */
	struct span body;
	bool close; /* the client asked for it */
};

MUST_CHECK enum err http_request_parse(struct span received,
				       struct http_request *ret_request,
				       size_t *ret_taken_bytes);

#endif
