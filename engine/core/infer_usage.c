/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_usage.c - the tokens that an attempt is charged
 *
 * Runs in: kenazd.
 * Trusts:  the broker's count of bytes; a provider's count of tokens when its
 *	    response is whole.
 * Never:   charges nothing for an answer because nobody counted it.
 *
 * Providers report usage at a response's end. A client that hangs up just
 * before has read the answer, so without an estimate it would not be charged
 * for any. The estimate goes by the bytes that came and by the time that
 *passed, because models also think unseen; it errs on the high side and stays
 *below what was reserved. What the provider did report counts if it is more. Of
 *a broker that was lost nobody knows: all that was reserved counts. A provider
 * that failed by itself, with nothing handed on, is not paid.
 */
#include "engine/core/infer_usage.h"

#define TOKEN_STREAM_BYTES 16u  /* of text in a stream's events, at least */
#define TOKENS_PER_S       256u /* that a fast model makes unseen */

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t guess_output(const struct usage_seen *s)
{
	uint64_t n = s->response_bytes /
		     (s->stream ? TOKEN_STREAM_BYTES : USAGE_TOKEN_BYTES);

	if (!s->whole)
		n = larger(n, s->total_ms * TOKENS_PER_S / 1000u);
	/* A plain answer is made at once, whether its client waits or not. */
	if (s->http_status == 0)
		n = s->stream ? n : s->most_output;
	return n < s->most_output ? n : s->most_output;
}

/**
 * usage_charge() - How many tokens count for budgets
 * @seen:	What is known
 * @ret:	Written
 */
void usage_charge(const struct usage_seen *seen, struct usage_charged *ret)
{
	const struct usage_seen *s = seen;
	bool answered = s->http_status == 0 ||
			(s->http_status >= 200 && s->http_status < 300);

	*ret = (struct usage_charged){
		.input_tokens = s->known ? s->input_tokens : 0,
		.output_tokens = s->known ? s->output_tokens : 0,
	};
	if (!s->generates)
		return;
	if (s->lost) {
		ret->estimated = true;
		ret->input_tokens = s->most_input;
		ret->output_tokens = s->most_output;
		return;
	}
	if (!s->sent || !answered || s->unpaid || (s->known && s->whole))
		return;
	ret->estimated = true;
	if (!s->known)
		ret->input_tokens =
			larger(s->input_tokens,
			       s->request_bytes / USAGE_TOKEN_BYTES + 1);
	ret->output_tokens = larger(s->output_tokens, guess_output(s));
}
