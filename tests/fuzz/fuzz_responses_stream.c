/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_responses_stream.c - chunk borders do not matter, an allowed stream is
 * unchanged, and what is denied does not reach the guest
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gate/responses.h"
#include "engine/gate/sse_clean.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum reply_state run(struct span all, size_t chunk, bool allow,
			    struct buf *out, uint32_t *ret_denied,
			    uint32_t *ret_calls)
{
	struct reply *r = responses_stream_new();
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
			while (e == ERR_OK && r->state == REPLY_JUDGE)
				e = reply_verdict(r, &v, out);
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
	*ret_calls = r->summary.calls;
	assert(reply_release(r, out) == ERR_OK);
	reply_free(r);
	return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span all = span_of(data, size);
	struct buf whole, bytes, denied;
	enum reply_state state;
	uint32_t n, calls;

	buf_init(&whole, 64 * size + 65536);
	buf_init(&bytes, 64 * size + 65536);
	buf_init(&denied, 256 * size + 65536);
	state = run(all, size + 1, true, &whole, &n, &calls);
	if (state == REPLY_DONE && n == 0)
		assert(sse_is_clean(all) ? span_equal(buf_span(&whole), all)
					 : sse_is_clean(buf_span(&whole)));
	assert(run(all, 1, true, &bytes, &n, &calls) == state);
	if (state == REPLY_DONE)
		assert(span_equal(buf_span(&whole), buf_span(&bytes)));
	/* What is denied gives a stream that is accepted as it is. */
	buf_reset(&whole);
	if (run(all, size + 1, false, &denied, &n, &calls) == REPLY_DONE) {
		assert(n == calls);
		assert(run(buf_span(&denied), 7, true, &whole, &n, &calls) ==
			       REPLY_DONE &&
		       calls == 0);
	}
	buf_fini(&whole);
	buf_fini(&bytes);
	buf_fini(&denied);
	return 0;
}

/* sources: engine/gate/responses_stream.c engine/gate/responses_events.c
 * engine/gate/responses_call.c engine/gate/responses_walk.c
 * engine/gate/cost.c
 * engine/gate/responses_error.c engine/gate/responses_object.c
 * engine/gate/neutral.c engine/gate/neutral_tools.c engine/gate/neutral_names.c
 * engine/gate/reply.c engine/gate/sse.c engine/base/digest.c
 * engine/base/json.c engine/base/json_text.c engine/base/jsonw.c
 * engine/base/buf.c engine/base/text.c
 * engine/gate/sse_clean.c engine/gate/lax.c */
