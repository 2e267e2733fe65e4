/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_sse.c - no byte is lost and chunk borders do not matter
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gate/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct span all, size_t chunk, struct buf *raw,
		struct buf *events)
{
	struct sse s;
	struct sse_event ev;
	size_t at, len;
	enum err e = ERR_OK;

	sse_init(&s, 1024);
	for (at = 0; e == ERR_OK && at < all.len_bytes; at += len) {
		struct span in;

		len = all.len_bytes - at < chunk ? all.len_bytes - at : chunk;
		in = span_of(all.data + at, len);
		while ((e = sse_next(&s, &in, &ev)) == ERR_OK) {
			assert(buf_put_span(raw, ev.raw) == ERR_OK);
			if (!ev.has_name && !ev.has_data)
				continue;
			assert(buf_put_span(events, ev.name) == ERR_OK);
			assert(buf_put_u8(events, 0) == ERR_OK);
			assert(buf_put_span(events, ev.data) == ERR_OK);
			assert(buf_put_u8(events, 0) == ERR_OK);
		}
		if (e == ERR_AGAIN)
			e = ERR_OK;
		else
			buf_reset(events);
	}
	if (e == ERR_OK) {
		assert(buf_put_span(raw, sse_rest(&s)) == ERR_OK);
		assert(span_equal(buf_span(raw), all));
	}
	sse_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf raw[2], events[2];
	size_t i;

	for (i = 0; i < 2; i++) {
		buf_init(&raw[i], size + 64);
		buf_init(&events[i], 3 * size + 64);
		run(span_of(data, size), i ? 1 : size + 1, &raw[i], &events[i]);
	}
	assert(span_equal(buf_span(&events[0]), buf_span(&events[1])));
	for (i = 0; i < 2; i++) {
		buf_fini(&raw[i]);
		buf_fini(&events[i]);
	}
	return 0;
}

/* sources: engine/gate/sse.c engine/base/buf.c */
