/* SPDX-License-Identifier: Apache-2.0 */
/* http_call.h - send one request to the gate and read its response */
#ifndef KENAZ_WORKBENCH_HTTP_CALL_H
#define KENAZ_WORKBENCH_HTTP_CALL_H

#include <stdbool.h>

#include "guest/workbench/http_reader.h"

#define HTTP_URL_MAX_BYTES   512u
#define HTTP_CALL_IDLE_MS    300000 /* without a byte of the response */
#define HTTP_CALL_CONNECT_MS 10000
#define HTTP_CALL_HEAD_MAX   4096u

/* Where requests go: taken from ANTHROPIC_BASE_URL. */
struct http_place {
	char host[256];
	char path[HTTP_URL_MAX_BYTES]; /* before the route, no slash at its end
					*/
	uint16_t port;
};

struct http_call {
	const struct http_place *place;
	const char *route;
	const char *headers; /* lines with CRLF, or "" */
	struct span body;
	bool (*is_cancelled)(void);
	struct http_reader *reader;
};

MUST_CHECK enum err http_place_parse(struct span url,
				     struct http_place *ret_place);
MUST_CHECK enum err http_call_post(const struct http_call *call,
				   const char **ret_step);

#endif
