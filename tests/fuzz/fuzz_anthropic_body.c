/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_anthropic_body.c - an allowed reply is unchanged, a denied one is a
 * reply without calls
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gate/anthropic_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool run(struct span in, bool allow, struct buf *out,
		struct reply_summary *ret_summary)
{
	struct reply *r = anthropic_body_new();
	const struct reply_verdict v = {.allow = allow, .rule = span_text("r")};
	enum err e;

	assert(r);
	assert(reply_feed(r, &in, out) == ERR_OK);
	e = reply_end(r, out);
	while (e == ERR_OK && r->state == REPLY_JUDGE)
		e = reply_verdict(r, &v, out);
	assert(out->len_bytes == 0);
	if (e == ERR_OK) {
		assert(r->state == REPLY_DONE);
		assert(reply_release(r, out) == ERR_OK);
	}
	*ret_summary = r->summary;
	reply_free(r);
	return e == ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct reply_summary s;
	struct buf out, again;

	buf_init(&out, 64 * size + 65536);
	buf_init(&again, 64 * size + 65536);
	if (run(in, true, &out, &s) && s.calls_denied == 0)
		assert(span_equal(buf_span(&out), in));
	buf_reset(&out);
	if (run(in, false, &out, &s)) {
		assert(run(buf_span(&out), true, &again, &s));
		assert(s.calls == 0);
	}
	buf_fini(&out);
	buf_fini(&again);
	return 0;
}

/* sources: engine/gate/anthropic_body.c engine/gate/anthropic_reply.c
 * engine/gate/cost.c
 * engine/gate/anthropic_words.c
 * engine/gate/reply.c engine/base/json.c engine/base/json_text.c
 * engine/base/jsonw.c engine/base/buf.c engine/base/text.c
 * engine/gate/lax.c */
