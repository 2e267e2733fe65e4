/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_eventstream.c - chunk borders do not matter, and what was read is
 * written the same
 *
 * The input is a byte for the chunk size, then a stream. With its top bit
 * set, wrong checksums are put right first, so that more than the prelude is
 * reached.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gate/crc32.h"
#include "engine/gate/eventstream.h"

#define MAX_BYTES 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static void put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static void mend(uint8_t *p, size_t len)
{
	while (len >= 16) {
		uint32_t total = get_u32(p);

		put_u32(p + 8, crc32_update(0, span_of(p, 8)));
		if (total < 16 || total > len)
			return;
		put_u32(p + total - 4, crc32_update(0, span_of(p, total - 4)));
		p += total;
		len -= total;
	}
}

static void write_again(const struct eventstream_frame *f)
{
	struct eventstream_header h[EVENTSTREAM_HEADERS_MAX];
	struct reader r;
	struct buf out;
	size_t count = 0;

	reader_init(&r, f->headers);
	while (eventstream_next_header(&r, &h[count])) {
		(void)eventstream_number(&h[count]);
		if (++count == EVENTSTREAM_HEADERS_MAX)
			break;
	}
	assert(r.status == ERR_OK && reader_left(&r) == 0);
	buf_init(&out, MAX_BYTES);
	assert(eventstream_put(&out, h, count, f->payload) == ERR_OK);
	assert(span_equal(buf_span(&out), f->raw));
	buf_fini(&out);
}

/* The frames' bytes, in order, and how it ended. */
static enum err run(struct span all, size_t chunk, struct buf *out)
{
	struct eventstream_frame f;
	struct eventstream s;
	enum err e = ERR_OK;
	size_t at;

	eventstream_init(&s, MAX_BYTES);
	for (at = 0; e == ERR_OK && at < all.len_bytes; at += chunk) {
		size_t left = all.len_bytes - at;
		struct span in =
			span_of(all.data + at, chunk < left ? chunk : left);

		while ((e = eventstream_next(&s, &in, &f)) == ERR_OK) {
			write_again(&f);
			assert(buf_put_span(out, f.raw) == ERR_OK);
		}
		if (e == ERR_AGAIN) {
			assert(in.len_bytes == 0);
			e = ERR_OK;
		}
	}
	if (e != ERR_OK)
		assert(s.error_text != NULL);
	else if (!eventstream_is_between_frames(&s))
		e = ERR_SHORT;
	else
		assert(span_equal(buf_span(out), all));
	eventstream_fini(&s);
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, pieces;
	uint8_t *copy;

	if (size < 1 || size > MAX_BYTES)
		return 0;
	copy = malloc(size);
	assert(copy);
	memcpy(copy, data, size);
	if (data[0] & 0x80)
		mend(copy + 1, size - 1);
	buf_init(&whole, MAX_BYTES);
	buf_init(&pieces, MAX_BYTES);
	assert(run(span_of(copy + 1, size - 1), MAX_BYTES, &whole) ==
	       run(span_of(copy + 1, size - 1), (data[0] & 15) + 1, &pieces));
	assert(span_equal(buf_span(&whole), buf_span(&pieces)));
	buf_fini(&whole);
	buf_fini(&pieces);
	free(copy);
	return 0;
}

/* sources: engine/gate/eventstream.c engine/gate/crc32.c engine/base/buf.c */
