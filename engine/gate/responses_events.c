/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_events.c - events of a Responses stream that are not as they came
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: texts are checked by the writer.
 * Never:   changes more of an event than it is told to.
 *
 * OpenAI Responses streaming. Events carry a sequence_number that rises by
 * one; once more or fewer events go to the client than came from the
 * provider, all later ones are numbered anew.
 */
#include "engine/gate/responses.h"

#define DATA_MAX_BYTES (2 * SSE_EVENT_MAX_BYTES)

/**
 * responses_put_changed() - Append an event with other data
 * @ev:		Event as it came; its framing is kept where that is possible
 * @data:	JSON
 * @out:	Buffer
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_put_changed(const struct sse_event *ev, struct span data,
			       struct buf *out)
{
	size_t end = ev->data_at_bytes + ev->data.len_bytes, i;
	enum err e = ERR_OK;

	if (ev->data_in_raw) {
		e = buf_put(out, ev->raw.data, ev->data_at_bytes);
		if (e == ERR_OK)
			e = buf_put_span(out, data);
		return e == ERR_OK ? buf_put(out, ev->raw.data + end,
					     ev->raw.len_bytes - end)
				   : e;
	}
	if (ev->has_name) {
		e = buf_put_text(out, "event: ");
		if (e == ERR_OK)
			e = buf_put_span(out, ev->name);
		if (e == ERR_OK)
			e = buf_put_u8(out, '\n');
	}
	if (e == ERR_OK)
		e = buf_put_text(out, "data: ");
	/* Several lines were JSON's white space. */
	for (i = 0; e == ERR_OK && i < data.len_bytes; i++)
		e = buf_put_u8(out, data.data[i] == '\n' ? ' ' : data.data[i]);
	return e == ERR_OK ? buf_put_text(out, "\n\n") : e;
}

/**
 * responses_put_numbered() - Append an event with the next number
 * @n:		Numbers
 * @ev:		Event as it came
 * @data:	JSON
 * @at:		Where in @data its number is
 * @len:	Length of that
 * @out:	Buffer
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_put_numbered(struct responses_numbers *n,
				const struct sse_event *ev, struct span data,
				size_t at, size_t len, struct buf *out)
{
	struct buf text;
	enum err e;

	buf_init(&text, DATA_MAX_BYTES);
	e = buf_put(&text, data.data, at);
	if (e == ERR_OK)
		e = buf_printf(&text, "%llu", (unsigned long long)n->sequence);
	if (e == ERR_OK)
		e = buf_put(&text, data.data + at + len,
			    data.len_bytes - at - len);
	if (e == ERR_OK)
		e = responses_put_changed(ev, buf_span(&text), out);
	if (e == ERR_OK)
		n->sequence++;
	buf_fini(&text);
	return e;
}

/**
 * responses_put_made() - Append an event of our own
 * @n:		Numbers
 * @type:	Event's type
 * @data:	Its members but type and number; empty afterwards
 * @out:	Buffer
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_put_made(struct responses_numbers *n, const char *type,
			    struct buf *data, struct buf *out)
{
	enum err e = ERR_OK;

	if (n->numbered)
		e = buf_printf(data, ",\"sequence_number\":%llu",
			       (unsigned long long)n->sequence++);
	if (e == ERR_OK)
		e = buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",", type,
			       type);
	if (e == ERR_OK)
		e = buf_put_span(out, buf_span(data));
	buf_reset(data);
	return e == ERR_OK ? buf_put_text(out, "}\n\n") : e;
}

static enum err put_item(struct responses_numbers *n,
			 const struct responses_denial *d, bool done,
			 struct buf *out)
{
	struct buf data;
	enum err e;

	buf_init(&data, 1u << 18);
	e = buf_printf(&data, "\"output_index\":%u,\"item\":", d->output_index);
	if (e == ERR_OK)
		e = responses_put_message(&data, d->number,
					  done ? "completed" : "in_progress",
					  d->text);
	if (e == ERR_OK)
		e = responses_put_made(n,
				       done ? "response.output_item.done"
					    : "response.output_item.added",
				       &data, out);
	buf_fini(&data);
	return e;
}

/* An event about the text of the message that stands for a denied call. */
static enum err put_part(struct responses_numbers *n,
			 const struct responses_denial *d, const char *type,
			 const char *key, bool as_part, bool empty,
			 struct buf *out)
{
	struct span text = empty ? span_text("") : d->text;
	struct buf data;
	struct jsonw w;
	enum err e;

	buf_init(&data, 1u << 18);
	e = buf_printf(&data,
		       "\"item_id\":\"msg_kenaz_%u\",\"output_index\":%u,"
		       "\"content_index\":0,\"%s\":%s",
		       d->number, d->output_index, key,
		       as_part ? "{\"type\":\"output_text\",\"annotations\":[],"
				 "\"text\":"
			       : "");
	jsonw_init(&w, &data);
	jsonw_text(&w, text);
	if (e == ERR_OK)
		e = jsonw_finish(&w);
	if (e == ERR_OK)
		e = buf_put_text(&data, as_part ? "}" : ",\"logprobs\":[]");
	if (e == ERR_OK)
		e = responses_put_made(n, type, &data, out);
	buf_fini(&data);
	return e;
}

/**
 * responses_put_denied() - Append the events of the message that stands for a
 * denied call
 * @n:		Numbers
 * @d:		Denial
 * @out:	Buffer
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_put_denied(struct responses_numbers *n,
			      const struct responses_denial *d, struct buf *out)
{
	enum err e = put_item(n, d, false, out);

	if (e == ERR_OK)
		e = put_part(n, d, "response.content_part.added", "part", true,
			     true, out);
	if (e == ERR_OK)
		e = put_part(n, d, "response.output_text.delta", "delta", false,
			     false, out);
	if (e == ERR_OK)
		e = put_part(n, d, "response.output_text.done", "text", false,
			     false, out);
	if (e == ERR_OK)
		e = put_part(n, d, "response.content_part.done", "part", true,
			     false, out);
	return e == ERR_OK ? put_item(n, d, true, out) : e;
}
