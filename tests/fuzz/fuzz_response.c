/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_response.c - whatever a provider answers, the key does not pass
 *
 * Runs in: make fuzz.
 *
 * Lines up to an empty one are the head, the rest is the body, in pieces
 * whose size the first byte gives. A ^ stands for the key.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "engine/broker/response.h"

#define KEY "ababababac"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keyscan_key *key;

static void start(void)
{
	if (sodium_init() < 0 || digest_init() != ERR_OK ||
	    keyscan_key_new(span_text(KEY), &key) != ERR_OK)
		abort();
}

static enum err feed(struct response *r, struct span s, size_t piece)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && s.len_bytes && !r->head_done) {
		const uint8_t *lf = memchr(s.data, '\n', s.len_bytes);
		size_t len = lf ? (size_t)(lf - s.data) + 1 : s.len_bytes;

		e = response_header_line(r, span_of(s.data, len));
		s = span_of(s.data + len, s.len_bytes - len);
	}
	while (e == ERR_OK && s.len_bytes) {
		size_t len = s.len_bytes < piece ? s.len_bytes : piece;

		e = response_data(r, span_of(s.data, len));
		s = span_of(s.data + len, s.len_bytes - len);
	}
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t digest[DIGEST_BYTES];
	struct response r;
	struct buf in;
	size_t i;
	enum err e = ERR_OK;

	if (!key)
		start();
	if (size < 1 || size > 4096)
		return 0;
	buf_init(&in, 65536);
	for (i = 1; e == ERR_OK && i < size; i++)
		e = data[i] == '^' ? buf_put_text(&in, KEY)
				   : buf_put_u8(&in, data[i]);
	if (e != ERR_OK || response_init(&r, true) != ERR_OK)
		abort();
	response_expect(&r, provider_find(span_text("anthropic")), key, 20000,
			true);
	e = feed(&r, buf_span(&in), (size_t)data[0] + 1);
	if (e != ERR_OK && !r.problem && e != ERR_LIMIT)
		abort();
	if (response_end(&r, e, span_text(""), digest) != ERR_OK)
		abort();
	if (r.inlined.len_bytes &&
	    memmem(r.inlined.data, r.inlined.len_bytes, KEY, strlen(KEY)))
		abort();
	if (r.headers.len_bytes &&
	    memmem(r.headers.data, r.headers.len_bytes, KEY, strlen(KEY)))
		abort();
	response_fini(&r);
	buf_fini(&in);
	return 0;
}

/* sources: engine/broker/response.c engine/broker/keyscan.c */
/* sources: engine/broker/secret.c engine/providers/provider.c */
/* sources: engine/providers/anthropic.c engine/providers/bedrock.c */
/* sources: engine/providers/byo.c engine/providers/scripted.c */
/* sources: engine/proto/attrs.c engine/proto/respframe.c */
/* sources: engine/base/digest.c engine/base/memfd.c engine/base/buf.c */
/* sources: engine/base/err.c engine/base/file.c engine/base/text.c
 * engine/broker/retry_after.c engine/providers/anthropic.c
 * engine/providers/bedrock.c engine/providers/bento.c engine/providers/byo.c
 * engine/providers/endpoint.c engine/providers/openai.c
 * engine/providers/openrouter.c engine/providers/provider.c
 * engine/providers/route.c engine/providers/scripted.c */
