/* SPDX-License-Identifier: Apache-2.0 */
/* respframe.h - a provider's response on its way from broker to gate */
#ifndef KENAZ_PROTO_RESPFRAME_H
#define KENAZ_PROTO_RESPFRAME_H

#include "engine/base/buf.h"
#include "engine/proto/limits.h"

/* u8 type, u32 length (little-endian), data */
#define RESPFRAME_HEAD_BYTES 5u

enum respframe_type {
	/* first: u16 status, then attrs.h texts: allowed response headers */
	RESPFRAME_HEAD = 1,
	RESPFRAME_DATA = 2, /* body bytes, 1 to RESPFRAME_DATA_MAX_BYTES */
	/* last: u32 error (enum err), then a sentence; nothing may follow */
	RESPFRAME_END = 3,
};

struct respframe {
	enum respframe_type type;
	uint16_t status;     /* HEAD */
	struct span headers; /* HEAD */
	struct span data;    /* DATA */
	enum err error;      /* END */
	struct span text;    /* END */
};

MUST_CHECK enum err respframe_put_head(struct buf *b, uint16_t status,
				       struct span headers);
MUST_CHECK enum err respframe_put_data(struct buf *b, struct span data);
MUST_CHECK enum err respframe_put_end(struct buf *b, enum err error,
				      struct span text);
MUST_CHECK enum err respframe_get(struct span s, struct respframe *ret_frame,
				  size_t *ret_taken_bytes);

#endif
