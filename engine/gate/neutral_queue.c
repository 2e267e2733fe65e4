/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neutral_queue.c - events of a response that wait for a verdict
 *
 * Runs in: kenaz-gate.
 * Trusts:  its own bytes.
 * Never:   keeps a span into a caller's memory; grows past its limit.
 *
 * A wire's reader takes whole pieces of a response, so events may come behind
 * a call that core has yet to judge. They wait here as bytes.
 */
#include "engine/gate/neutral_queue.h"

/** neutral_queue_init() - Prepare an empty queue */
void neutral_queue_init(struct neutral_queue *q)
{
	buf_init(&q->bytes, NEUTRAL_QUEUE_MAX_BYTES);
	q->at_bytes = 0;
}

/** neutral_queue_fini() - Drop all events and their memory */
void neutral_queue_fini(struct neutral_queue *q)
{
	buf_fini(&q->bytes);
	q->at_bytes = 0;
}

/** neutral_queue_is_empty() - Whether no event waits */
bool neutral_queue_is_empty(const struct neutral_queue *q)
{
	return q->at_bytes == q->bytes.len_bytes;
}

static enum err put_usage(struct buf *b, const struct neutral_usage *u)
{
	unsigned known =
		(u->input_known ? 1u : 0u) | (u->output_known ? 2u : 0u) |
		(u->cache_known ? 4u : 0u) | (u->reasoning_known ? 8u : 0u);
	enum err e = buf_put_u8(b, (uint8_t)known);

	if (e == ERR_OK)
		e = buf_put_u64(b, u->input);
	if (e == ERR_OK)
		e = buf_put_u64(b, u->output);
	if (e == ERR_OK)
		e = buf_put_u64(b, u->cache_read);
	if (e == ERR_OK)
		e = buf_put_u64(b, u->cache_write);
	return e == ERR_OK ? buf_put_u64(b, u->reasoning) : e;
}

static struct neutral_usage get_usage(struct reader *r)
{
	uint8_t known = reader_get_u8(r);
	struct neutral_usage u = {
		.input_known = known & 1,
		.output_known = known & 2,
		.cache_known = known & 4,
		.reasoning_known = known & 8,
	};

	u.input = reader_get_u64(r);
	u.output = reader_get_u64(r);
	u.cache_read = reader_get_u64(r);
	u.cache_write = reader_get_u64(r);
	u.reasoning = reader_get_u64(r);
	return u;
}

/**
 * neutral_queue_put() - Append a copy of an event
 * @q:		Queue
 * @event:	Borrowed
 *
 * Return: ERR_OK; ERR_LIMIT past NEUTRAL_QUEUE_MAX_BYTES; ERR_MEMORY. After a
 *	   failure the queue is unchanged.
 */
enum err neutral_queue_put(struct neutral_queue *q,
			   const struct neutral_event *event)
{
	const struct span texts[] = {event->id, event->name, event->model,
				     event->text, event->reason};
	const uint8_t fixed[] = {
		(uint8_t)event->kind,   (uint8_t)event->part,
		(uint8_t)event->signer, (uint8_t)event->stop,
		(uint8_t)event->error,
	};
	size_t before = q->bytes.len_bytes, i;
	enum err e = buf_put(&q->bytes, fixed, sizeof(fixed));

	if (e == ERR_OK && event->kind == NEUTRAL_USAGE)
		e = put_usage(&q->bytes, &event->usage);
	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(texts); i++)
		e = buf_put_lp(&q->bytes, texts[i]);
	if (e != ERR_OK)
		buf_truncate(&q->bytes, before);
	return e;
}

/**
 * neutral_queue_take() - The oldest event
 * @q:		Queue
 * @ret_event:	Its spans are valid until the next call on @q
 *
 * Return: ERR_OK; ERR_AGAIN when none waits; ERR_INTERNAL.
 */
enum err neutral_queue_take(struct neutral_queue *q,
			    struct neutral_event *ret_event)
{
	struct neutral_event ev = {.kind = NEUTRAL_START};
	struct span *texts[] = {&ev.id, &ev.name, &ev.model, &ev.text,
				&ev.reason};
	struct reader r;
	size_t i;

	if (neutral_queue_is_empty(q)) {
		neutral_queue_fini(q);
		return ERR_AGAIN;
	}
	reader_init(&r, span_of(q->bytes.data + q->at_bytes,
				q->bytes.len_bytes - q->at_bytes));
	ev.kind = (enum neutral_event_kind)reader_get_u8(&r);
	ev.part = (enum neutral_part_kind)reader_get_u8(&r);
	ev.signer = (enum dialect)reader_get_u8(&r);
	ev.stop = (enum neutral_stop)reader_get_u8(&r);
	ev.error = (enum neutral_error)reader_get_u8(&r);
	if (ev.kind == NEUTRAL_USAGE)
		ev.usage = get_usage(&r);
	for (i = 0; i < ARRAY_SIZE(texts); i++)
		*texts[i] = reader_get_lp(&r, NEUTRAL_QUEUE_MAX_BYTES);
	if (r.status != ERR_OK)
		return ERR_INTERNAL;
	q->at_bytes += r.pos_bytes;
	*ret_event = ev;
	return ERR_OK;
}
