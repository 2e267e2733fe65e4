/* SPDX-License-Identifier: Apache-2.0 */
/* curl_request.h - one request as libcurl wants it, nothing left to chance */
#ifndef KENAZ_BROKER_CURL_REQUEST_H
#define KENAZ_BROKER_CURL_REQUEST_H

#include <curl/curl.h>
#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

typedef size_t (*curl_request_take)(char *data, size_t size, size_t count,
				    void *context);

/* All borrowed until the handle is cleaned up. */
struct curl_request {
	const char *url;
	const char *method;      /* GET or POST */
	const char *unix_socket; /* path, or NULL for the network */
	struct span body;
	struct span ca_pem; /* copied; empty: the system's */
	struct curl_slist *headers;
	const char *proxy;                /* http://host:port, or empty */
	struct curl_slist *proxy_headers; /* to the proxy alone; or NULL */
	bool http1;                       /* no HTTP/2, even if offered */
	long connect_max_ms;
	void *context;
	curl_request_take on_header, on_body;
	unsigned *issued; /* how often it went out, or would have; from 0 */
	char *ret_text;   /* CURL_ERROR_SIZE */
};

MUST_CHECK enum err curl_request_make(const struct curl_request *q,
				      CURL **ret_easy);

#endif
