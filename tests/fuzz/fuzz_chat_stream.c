/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_chat_stream.c - chunk borders do not matter, what was handed on once is
 * handed on unchanged, and what is denied does not reach the guest
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gate/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(struct reply *r, bool allow, struct buf *out)
{
	const struct reply_verdict v = {.allow = allow, .rule = span_text("r")};

	while (r->state == REPLY_JUDGE)
		assert(reply_verdict(r, &v, out) == ERR_OK);
}

static enum reply_state run(struct reply *r, struct span all, size_t chunk,
			    bool allow, struct buf *out, uint32_t *ret_calls)
{
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
			judge(r, allow, out);
		}
	}
	if (e == ERR_OK && r->state == REPLY_OPEN) {
		e = reply_end(r, out);
		judge(r, allow, out);
	}
	if (e != ERR_OK) {
		assert(r->error_text);
		assert(reply_fail(r, "server_error",
				  span_text(r->error_text)) == ERR_OK);
	}
	assert(r->state == REPLY_DONE || r->state == REPLY_FAILED);
	state = r->state;
	*ret_calls = r->summary.calls;
	assert(reply_release(r, out) == ERR_OK);
	reply_free(r);
	return state;
}

static void check(struct reply *(*make)(void), struct span all)
{
	struct buf whole, other;
	enum reply_state state;
	uint32_t n;

	buf_init(&whole, 64 * all.len_bytes + 65536);
	buf_init(&other, 64 * all.len_bytes + 65536);
	state = run(make(), all, all.len_bytes + 1, true, &whole, &n);
	assert(run(make(), all, 1, true, &other, &n) == state);
	if (state == REPLY_DONE) {
		assert(span_equal(buf_span(&whole), buf_span(&other)));
		buf_reset(&other);
		assert(run(make(), buf_span(&whole), 7, true, &other, &n) ==
		       REPLY_DONE);
		assert(span_equal(buf_span(&whole), buf_span(&other)));
	}
	/* What is denied gives a response that is accepted as it is. */
	buf_reset(&whole);
	buf_reset(&other);
	if (run(make(), all, all.len_bytes + 1, false, &whole, &n) ==
	    REPLY_DONE)
		assert(run(make(), buf_span(&whole), 5, true, &other, &n) ==
			       REPLY_DONE &&
		       n == 0);
	buf_fini(&whole);
	buf_fini(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(chat_stream_new, span_of(data, size));
	check(chat_body_new, span_of(data, size));
	return 0;
}

/* sources: engine/gate/chat_stream.c engine/gate/chat_rewrite.c
 * engine/gate/chat_body.c engine/gate/chat_calls.c engine/gate/chat_edit.c
 * engine/gate/chat_common.c
 * engine/gate/cost.c engine/gate/reply.c engine/gate/sse.c
 * engine/base/json.c engine/base/json_text.c engine/base/jsonw.c
 * engine/base/buf.c engine/base/text.c
 * engine/gate/sse_clean.c engine/gate/lax.c */
