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
 * for any. The estimate errs on the high side and stays below what was
 * reserved; what the provider did report counts if it is more.
 */
#include "engine/core/infer_usage.h"

#define TOKEN_BYTES        4u  /* of text, about */
#define TOKEN_STREAM_BYTES 16u /* of text in a stream's events, at least */

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t guess_output(const struct usage_seen *s)
{
	uint64_t n = s->response_bytes /
		     (s->stream ? TOKEN_STREAM_BYTES : TOKEN_BYTES);

	/* A plain answer is made at once, whether its client waits or not. */
	if (s->http_status == 0)
		n = s->stream ? 0 : s->most_output;
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
	if (!s->generates || !s->sent || !answered || (s->known && s->whole))
		return;
	ret->estimated = true;
	if (!s->known)
		ret->input_tokens = larger(s->input_tokens,
					   s->request_bytes / TOKEN_BYTES + 1);
	ret->output_tokens = larger(s->output_tokens, guess_output(s));
}
