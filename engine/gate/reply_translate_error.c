/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply_translate_error.c - a provider's HTTP error in the client's dialect
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on more than REPLY_RAW_MAX_BYTES, or a success.
 *
 * The counterpart of reply_raw.c. Clients decide by the wording whether to try
 * again, so the provider's sentence stays as it is; its type and the HTTP
 * status become those that the client's dialect has for such an error.
 */
#include "engine/gate/reply_translate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/reply_raw.h"

struct error_reply {
	struct reply base;
	const struct dialect_ops *wire, *client;
	unsigned wire_status;
	struct buf bytes, error;
};

static enum err error_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct error_reply *x = (struct error_reply *)r;
	enum err e = buf_put_span(&x->bytes, *in);

	(void)out;
	if (e == ERR_LIMIT)
		r->error_text = "an error over the size limit";
	else if (e == ERR_OK)
		*in = span_of(NULL, 0);
	r->held_bytes = x->bytes.cap_bytes;
	return e;
}

static enum err error_end(struct reply *r, struct buf *out)
{
	struct error_reply *x = (struct error_reply *)r;
	enum neutral_error error;
	struct buf message;
	enum err e = ERR_OK;

	(void)out;
	buf_init(&message, REPLY_RAW_MAX_BYTES);
	error = x->wire->read_error(x->wire_status, buf_span(&x->bytes),
				    &message);
	if (message.len_bytes == 0 || !text_is_utf8(buf_span(&message))) {
		buf_reset(&message);
		e = buf_printf(&message, "the provider answered %u",
			       x->wire_status);
	}
	r->error_type = x->client->error_name(error, &r->http_status);
	if (e == ERR_OK)
		e = x->client->put_error(&x->error, r->error_type,
					 buf_span(&message));
	(void)text_escape_line(buf_span(&message), r->upstream_error,
			       sizeof(r->upstream_error));
	buf_fini(&message);
	buf_fini(&x->bytes);
	if (e == ERR_OK)
		r->state = REPLY_DONE;
	return e;
}

static enum err error_verdict(struct reply *r, const struct reply_verdict *v,
			      struct buf *out)
{
	(void)r;
	(void)v;
	(void)out;
	return ERR_STATE;
}

static enum err error_release(struct reply *r, struct buf *out)
{
	return buf_put_span(out, buf_span(&((struct error_reply *)r)->error));
}

static enum err error_fail(struct reply *r, const char *type, struct span text)
{
	struct error_reply *x = (struct error_reply *)r;

	buf_reset(&x->error);
	r->error_type = type;
	return x->client->put_error(&x->error, type, text);
}

static void error_free(struct reply *r)
{
	struct error_reply *x = (struct error_reply *)r;

	buf_fini(&x->bytes);
	buf_fini(&x->error);
	free(x);
}

static const struct reply_ops error_ops = {
	.feed = error_feed,
	.end = error_end,
	.verdict = error_verdict,
	.release = error_release,
	.fail = error_fail,
	.free = error_free,
};

/**
 * reply_translate_error_new() - Start reading an HTTP error of another dialect
 * @wire:		What the provider speaks
 * @http_status:	400 or above; what it answered
 * @client:		What the guest's program speaks
 *
 * Once DONE, the reply's http_status is the client's and error_type names the
 * error in its dialect. The provider's retry-after header stays true.
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *reply_translate_error_new(const struct dialect_ops *wire,
					unsigned http_status,
					const struct dialect_ops *client)
{
	struct error_reply *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->base.ops = &error_ops;
	x->base.content_type = "application/json";
	x->wire = wire;
	x->client = client;
	x->wire_status = http_status;
	buf_init(&x->bytes, REPLY_RAW_MAX_BYTES);
	buf_init(&x->error, 8 * REPLY_RAW_MAX_BYTES);
	return &x->base;
}
