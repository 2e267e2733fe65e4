/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_guest_frames.c - only well-formed frames of the right direction pass
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gate/frame_rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct span in, bool from_guest)
{
	struct frame f, again;
	size_t taken, taken_again;
	struct buf b;

	while (frame_get(in, &f, &taken) == ERR_OK) {
		assert(taken >= FRAME_HEAD_BYTES && taken <= in.len_bytes);
		if (!frame_is_legal(&f, from_guest))
			return;
		assert(from_guest
			       ? f.type != FRAME_RESIZE &&
					 f.type != FRAME_SIGNAL
			       : f.type != FRAME_EXIT && f.type != FRAME_ERROR);
		assert(f.data.len_bytes <= FRAME_DATA_MAX_BYTES);
		/* Written anew it is the same frame. */
		buf_init(&b, 65536);
		assert(frame_put(&b, f.type, f.stream, f.data) == ERR_OK);
		assert(span_equal(buf_span(&b), span_of(in.data, taken)));
		assert(frame_get(buf_span(&b), &again, &taken_again) == ERR_OK);
		assert(taken_again == taken);
		buf_fini(&b);
		in = span_of(in.data + taken, in.len_bytes - taken);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run(span_of(data, size), true);
	run(span_of(data, size), false);
	return 0;
}

/* sources: engine/gate/frame_rule.c engine/proto/frame.c engine/base/buf.c */
