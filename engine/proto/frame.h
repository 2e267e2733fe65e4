/* SPDX-License-Identifier: Apache-2.0 */
/* frame.h - frames of terminals: client <-> gate <-> guest */
#ifndef KENAZ_PROTO_FRAME_H
#define KENAZ_PROTO_FRAME_H

#include "engine/base/buf.h"
#include "engine/proto/limits.h"

/* u8 type, u8 stream, u16 zero, u32 length (little-endian), data */
#define FRAME_HEAD_BYTES 8u

enum frame_type {
	FRAME_DATA = 1,   /* stream 0 to the guest; 1 stdout, 2 stderr back */
	FRAME_EOF = 2,    /* no more DATA on this stream */
	FRAME_RESIZE = 3, /* to the guest: u16 rows, u16 columns */
	FRAME_SIGNAL = 4, /* to the guest: u8 signal number */
	FRAME_EXIT = 5,   /* back, last: i32 code, u8 signalled */
	FRAME_ERROR = 6,  /* back, last: text */
};

struct frame {
	enum frame_type type;
	uint8_t stream;
	struct span data;
};

MUST_CHECK enum err frame_put(struct buf *b, enum frame_type type,
			      uint8_t stream, struct span data);
MUST_CHECK enum err frame_put_resize(struct buf *b, uint16_t rows,
				     uint16_t columns);
MUST_CHECK enum err frame_put_exit(struct buf *b, int32_t code,
				   uint8_t signalled);
MUST_CHECK enum err frame_get(struct span s, struct frame *ret_frame,
			      size_t *ret_taken_bytes);
MUST_CHECK enum err frame_get_resize(const struct frame *f, uint16_t *ret_rows,
				     uint16_t *ret_columns);
MUST_CHECK enum err frame_get_exit(const struct frame *f, int32_t *ret_code,
				   uint8_t *ret_signalled);

#endif
