/* SPDX-License-Identifier: Apache-2.0 */
/* reply.h - a turn of the script as an HTTP response; no I/O */
#ifndef KENAZ_SCRIPTED_REPLY_H
#define KENAZ_SCRIPTED_REPLY_H

#include "engine/base/buf.h"
#include "engine/scripted/http_request.h"

#define REPLY_MAX_BYTES  (4u * 1024 * 1024)
#define REPLY_PAUSES_MAX 64u

/* Bytes to send, with pauses in between. */
struct reply {
	struct buf bytes;
	size_t pause_at[REPLY_PAUSES_MAX]; /* offsets, ascending */
	size_t pauses;
	uint32_t gap_ms; /* each pause */
};

void reply_init(struct reply *r);
void reply_fini(struct reply *r);
MUST_CHECK enum err reply_make(struct reply *r,
			       const struct http_request *request);
MUST_CHECK enum err reply_make_error(struct reply *r, unsigned status,
				     const char *text);

#endif
