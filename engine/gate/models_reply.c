/* SPDX-License-Identifier: Apache-2.0 */
/*
 * models_reply.c - a list of models in one dialect, told in another
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on more than names: of the rest each dialect has its own.
 */
#include "engine/gate/models_reply.h"

#include <stdlib.h>

#include "engine/gate/models_list.h"

struct models_reply {
	struct reply base;
	const struct dialect_ops *client;
	struct buf bytes; /* the provider's, and at its end the client's */
};

static enum err models_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct models_reply *m = (struct models_reply *)r;
	enum err e = buf_put_span(&m->bytes, *in);

	(void)out;
	if (e == ERR_LIMIT)
		r->error_text = "a list of models over the size limit";
	else if (e == ERR_OK)
		*in = span_of(NULL, 0);
	r->held_bytes = m->bytes.cap_bytes;
	return e;
}

static enum err models_end(struct reply *r, struct buf *out)
{
	struct models_reply *m = (struct models_reply *)r;
	struct buf list;
	enum err e;

	(void)out;
	buf_init(&list, MODELS_LIST_MAX_BYTES);
	e = models_list_translate(m->client->id, buf_span(&m->bytes), &list);
	if (e == ERR_OK) {
		buf_fini(&m->bytes);
		m->bytes = list;
		r->state = REPLY_DONE;
		return ERR_OK;
	}
	buf_fini(&list);
	if (e == ERR_FORMAT)
		r->error_text = "the provider's list of models is no list";
	return e;
}

static enum err models_verdict(struct reply *r, const struct reply_verdict *v,
			       struct buf *out)
{
	(void)r;
	(void)v;
	(void)out;
	return ERR_STATE;
}

static enum err models_release(struct reply *r, struct buf *out)
{
	return buf_put_span(out, buf_span(&((struct models_reply *)r)->bytes));
}

static enum err models_fail(struct reply *r, const char *type, struct span text)
{
	struct models_reply *m = (struct models_reply *)r;

	buf_reset(&m->bytes);
	return m->client->put_error(&m->bytes, type, text);
}

static void models_free(struct reply *r)
{
	struct models_reply *m = (struct models_reply *)r;

	buf_fini(&m->bytes);
	free(m);
}

static const struct reply_ops models_ops = {
	.feed = models_feed,
	.end = models_end,
	.verdict = models_verdict,
	.release = models_release,
	.fail = models_fail,
	.free = models_free,
};

/**
 * models_reply_new() - Start reading a list of models
 * @client:	Whose dialect to tell it in
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *models_reply_new(const struct dialect_ops *client)
{
	struct models_reply *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->base.ops = &models_ops;
	m->base.content_type = "application/json";
	m->client = client;
	buf_init(&m->bytes, MODELS_LIST_MAX_BYTES);
	return &m->base;
}
