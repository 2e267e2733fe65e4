/* SPDX-License-Identifier: Apache-2.0 */
/* connect_request.h - parse what a program asks of its HTTP proxy */
#ifndef KENAZ_GUEST_CONNECT_REQUEST_H
#define KENAZ_GUEST_CONNECT_REQUEST_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define CONNECT_REQUEST_MAX_BYTES   (16u * 1024)
#define CONNECT_REQUEST_MAX_HEADERS 100
#define CONNECT_HOST_MAX_BYTES      253

struct connect_request {
	bool is_tunnel; /* CONNECT; else one request to be forwarded */
	char host[CONNECT_HOST_MAX_BYTES + 1]; /* lower case, no brackets */
	uint16_t port;
};

size_t connect_request_head_length(struct span s);
MUST_CHECK enum err connect_request_parse(struct span head,
					  struct connect_request *ret_request,
					  struct buf *forward,
					  const char **ret_reason);

#endif
