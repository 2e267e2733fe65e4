/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply_raw.c - a provider's HTTP error on its way to the guest
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on more than REPLY_RAW_MAX_BYTES.
 *
 * Clients decide by the wording whether to try again, so the body of an
 * error goes on as it came.
 */
#include "engine/gate/reply_raw.h"

#include <stdlib.h>

struct raw_reply {
	struct reply base;
	const struct dialect_ops *dialect;
	struct buf bytes;
};

static enum err raw_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct raw_reply *raw = (struct raw_reply *)r;
	enum err e = buf_put_span(&raw->bytes, *in);

	(void)out;
	if (e == ERR_LIMIT)
		r->error_text = "an error over the size limit";
	else if (e == ERR_OK)
		*in = span_of(NULL, 0);
	r->held_bytes = raw->bytes.cap_bytes;
	return e;
}

static enum err raw_end(struct reply *r, struct buf *out)
{
	(void)out;
	r->state = REPLY_DONE;
	return ERR_OK;
}

static enum err raw_verdict(struct reply *r, const struct reply_verdict *v,
			    struct buf *out)
{
	(void)r;
	(void)v;
	(void)out;
	return ERR_STATE;
}

static enum err raw_release(struct reply *r, struct buf *out)
{
	return buf_put_span(out, buf_span(&((struct raw_reply *)r)->bytes));
}

static enum err raw_fail(struct reply *r, const char *type, struct span text)
{
	struct raw_reply *raw = (struct raw_reply *)r;

	buf_reset(&raw->bytes);
	return raw->dialect->put_error(&raw->bytes, type, text);
}

static void raw_free(struct reply *r)
{
	buf_fini(&((struct raw_reply *)r)->bytes);
	free(r);
}

static const struct reply_ops raw_ops = {
	.feed = raw_feed,
	.end = raw_end,
	.verdict = raw_verdict,
	.release = raw_release,
	.fail = raw_fail,
	.free = raw_free,
};

/**
 * reply_raw_new() - Start reading the body of an HTTP error
 * @dialect:	Whose errors to speak when it breaks off
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *reply_raw_new(const struct dialect_ops *dialect)
{
	struct raw_reply *raw = calloc(1, sizeof(*raw));

	if (!raw)
		return NULL;
	raw->base.ops = &raw_ops;
	raw->dialect = dialect;
	buf_init(&raw->bytes, REPLY_RAW_MAX_BYTES);
	return &raw->base;
}
