/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_anthropic_stream.c - chunk borders do not matter, an allowed stream is
 * unchanged, and what is denied does not reach the guest
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gate/anthropic_reply.h"
#include "engine/gate/sse_clean.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum reply_state run(struct span all, size_t chunk, bool allow,
			    struct buf *out, uint32_t *ret_denied)
{
	struct reply *r = anthropic_stream_new();
	const struct reply_verdict v = {.allow = allow, .rule = span_text("r")};
	enum reply_state state;
	enum err e = ERR_OK;
	size_t at, len;

	assert(r);
	for (at = 0; e == ERR_OK && at < all.len_bytes; at += len) {
		struct span in;

		len = all.len_bytes - at < chunk ? all.len_bytes - at : chunk;
		in = span_of(all.data + at, len);
		while (e == ERR_OK && in.len_bytes && r->state == REPLY_OPEN) {
			e = reply_feed(r, &in, out);
			assert(e != ERR_OK || !in.len_bytes ||
			       r->state != REPLY_OPEN);
			if (r->state == REPLY_JUDGE)
				assert(reply_verdict(r, &v, out) == ERR_OK);
		}
	}
	if (e == ERR_OK && r->state == REPLY_OPEN)
		e = reply_end(r, out);
	if (e != ERR_OK) {
		assert(r->error_text);
		assert(reply_fail(r, "api_error", span_text(r->error_text)) ==
		       ERR_OK);
	}
	assert(r->state == REPLY_DONE || r->state == REPLY_FAILED);
	state = r->state;
	*ret_denied = r->summary.calls_denied;
	assert(reply_release(r, out) == ERR_OK);
	reply_free(r);
	return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span all = span_of(data, size);
	struct buf whole, bytes, denied;
	uint32_t n;
	enum reply_state state;

	buf_init(&whole, 4 * size + 65536);
	buf_init(&bytes, 4 * size + 65536);
	buf_init(&denied, 64 * size + 65536);
	state = run(all, size + 1, true, &whole, &n);
	if (state == REPLY_DONE && n == 0)
		assert(sse_is_clean(all) ? span_equal(buf_span(&whole), all)
					 : sse_is_clean(buf_span(&whole)));
	assert(run(all, 1, true, &bytes, &n) == state);
	if (state == REPLY_DONE)
		assert(span_equal(buf_span(&whole), buf_span(&bytes)));
	/* What is denied gives a stream that is accepted as it is. */
	buf_reset(&whole);
	if (run(all, size + 1, false, &denied, &n) == REPLY_DONE)
		assert(run(buf_span(&denied), 7, true, &whole, &n) ==
			       REPLY_DONE &&
		       n == 0);
	buf_fini(&whole);
	buf_fini(&bytes);
	buf_fini(&denied);
	return 0;
}

/* sources: engine/gate/anthropic_stream.c engine/gate/anthropic_reply.c
 * engine/gate/cost.c
 * engine/gate/anthropic_words.c
 * engine/gate/reply.c engine/gate/sse.c engine/base/json.c
 * engine/base/json_text.c engine/base/jsonw.c engine/base/buf.c
 * engine/base/text.c
 * engine/gate/sse_clean.c engine/gate/lax.c */
