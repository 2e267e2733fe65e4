/* SPDX-License-Identifier: Apache-2.0 */
/*
 * invoke_frames.c - Anthropic's events inside InvokeModel's frames
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   takes an exception for an event.
 *
 * InvokeModelWithResponseStream, API of 2023-09-30: a frame "chunk" carries
 * {"bytes": base64, "p": padding}, and the bytes are the JSON that Anthropic
 * sends as the data of one server-sent event. The event's name is its type.
 * Bedrock sends no pings, so none are wrapped: clients would take one for an
 * event of the answer.
 */
#include "engine/gate/invoke_frames.h"

#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"
#include "engine/gate/bedrock_error.h"

#define TYPE_MAX_BYTES  64u
#define WORDS_MAX_BYTES 65536u
#define FRAME_TOKENS    65536u

static const struct json_limits limits = {
	.max_bytes = EVENTSTREAM_FRAME_MAX_BYTES,
	.max_tokens = FRAME_TOKENS,
	.allow_nul = true,
};

/** invoke_frames_init() - Prepare a reader */
void invoke_frames_init(struct invoke_frames *u)
{
	*u = (struct invoke_frames){.error_text = NULL};
	eventstream_init(&u->frames, EVENTSTREAM_FRAME_MAX_BYTES);
	json_init(&u->doc);
	buf_init(&u->event, SSE_EVENT_MAX_BYTES);
	buf_init(&u->bytes, SSE_EVENT_MAX_BYTES);
}

/** invoke_frames_fini() - Release a reader's memory */
void invoke_frames_fini(struct invoke_frames *u)
{
	eventstream_fini(&u->frames);
	json_fini(&u->doc);
	buf_fini(&u->event);
	buf_fini(&u->bytes);
}

/** invoke_frames_held_bytes() - Memory in use */
size_t invoke_frames_held_bytes(const struct invoke_frames *u)
{
	return u->frames.raw.cap_bytes + u->event.cap_bytes +
	       u->bytes.cap_bytes;
}

static enum err broken(struct invoke_frames *u, enum err e, const char *why)
{
	if (e == ERR_MEMORY)
		return e;
	u->error_text = why;
	return e == ERR_LIMIT ? e : ERR_FORMAT;
}

/* Line ends in JSON are white space, in an event's data they are not. */
static void flatten(struct buf *b)
{
	size_t i;

	for (i = 0; i < b->len_bytes; i++)
		if (b->data[i] == '\n' || b->data[i] == '\r')
			b->data[i] = ' ';
}

static enum err make_event(struct invoke_frames *u, struct invoke_step *step)
{
	char type[TYPE_MAX_BYTES];
	enum err e;

	flatten(&u->bytes);
	e = json_parse(&u->doc, buf_span(&u->bytes), &limits);
	if (e != ERR_OK)
		return broken(u, e, "an event that is not valid JSON");
	e = json_text(&u->doc, json_get(&u->doc, JSON_ROOT, "type"), type,
		      sizeof(type));
	if (e != ERR_OK || strpbrk(type, "\r\n"))
		return broken(u, ERR_FORMAT, "an event without a type");
	buf_reset(&u->event);
	e = buf_printf(&u->event, "event: %s\ndata: ", type);
	if (e == ERR_OK)
		e = buf_put_span(&u->event, buf_span(&u->bytes));
	if (e == ERR_OK)
		e = buf_put_text(&u->event, "\n\n");
	if (e != ERR_OK)
		return broken(u, e, "an event over the size limit");
	step->kind = INVOKE_EVENT;
	step->events = buf_span(&u->event);
	return ERR_OK;
}

static enum err read_chunk(struct invoke_frames *u,
			   const struct eventstream_frame *f,
			   struct invoke_step *step)
{
	enum err e = json_parse(&u->doc, f->payload, &limits);
	json_ref at = json_get(&u->doc, JSON_ROOT, "bytes");

	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK || !json_is(&u->doc, at, JSON_STRING))
		return broken(u, ERR_FORMAT, "a chunk without bytes");
	buf_reset(&u->event);
	buf_reset(&u->bytes);
	e = json_string(&u->doc, at, &u->event);
	if (e == ERR_OK)
		e = text_unbase64(buf_span(&u->event), &u->bytes);
	if (e != ERR_OK)
		return broken(u, e,
			      e == ERR_LIMIT ? "an event over the size limit"
					     : "a chunk that is not base64");
	return make_event(u, step);
}

static enum err read_failure(struct invoke_frames *u,
			     const struct eventstream_frame *f,
			     struct invoke_step *step)
{
	struct bedrock_failure failure;
	enum err e = bedrock_read_failure(f, &u->doc, &u->bytes, &failure);

	if (e == ERR_OK)
		*step = (struct invoke_step){.kind = INVOKE_ERROR,
					     .raw = f->raw,
					     .failure = failure};
	return e;
}

/**
 * invoke_frames_next() - Take bytes up to the end of a frame
 * @u:		Reader
 * @in:		Bytes; moved behind what was used
 * @ret_step:	Written on success
 *
 * Return: ERR_OK; ERR_AGAIN when all of @in was taken; ERR_FORMAT or
 *	   ERR_LIMIT (error_text says why); ERR_MEMORY.
 */
enum err invoke_frames_next(struct invoke_frames *u, struct span *in,
			    struct invoke_step *ret_step)
{
	struct eventstream_frame f;
	enum err e = eventstream_next(&u->frames, in, &f);

	if (u->frames.error_text)
		u->error_text = u->frames.error_text;
	/* Idle streams are many: keep no memory for them. */
	if (e == ERR_AGAIN && !u->frames.raw.len_bytes) {
		buf_fini(&u->event);
		buf_fini(&u->bytes);
	}
	if (e != ERR_OK)
		return e;
	if (f.message_type.len_bytes == 0)
		return broken(u, ERR_FORMAT, "a frame without a message type");
	if (!span_is(f.message_type, "event"))
		return read_failure(u, &f, ret_step);
	*ret_step = (struct invoke_step){.kind = INVOKE_OTHER, .raw = f.raw};
	if (!span_is(f.event_type, "chunk"))
		return ERR_OK;
	return read_chunk(u, &f, ret_step);
}

static enum err put_chunk(struct span data, struct buf *out)
{
	struct buf payload;
	enum err e;

	buf_init(&payload, EVENTSTREAM_FRAME_MAX_BYTES);
	e = buf_put_text(&payload, "{\"bytes\":\"");
	if (e == ERR_OK)
		e = text_base64(data, &payload);
	if (e == ERR_OK)
		e = buf_put_text(&payload, "\"}");
	if (e == ERR_OK)
		e = eventstream_put_event(out, "chunk", buf_span(&payload));
	buf_fini(&payload);
	return e;
}

/* Anthropic's error event as the exception that ends a stream. */
static enum err put_error(const struct json *doc, struct buf *out)
{
	char type[TYPE_MAX_BYTES];
	struct buf words;
	enum err e;

	if (json_text(doc, json_find(doc, JSON_ROOT, "error.type"), type,
		      sizeof(type)) != ERR_OK)
		type[0] = '\0';
	buf_init(&words, WORDS_MAX_BYTES);
	(void)!json_string(doc, json_find(doc, JSON_ROOT, "error.message"),
			   &words);
	e = bedrock_put_exception(out, type, buf_span(&words));
	buf_fini(&words);
	return e;
}

/**
 * invoke_frames_wrap() - Put server-sent events into frames
 * @sse:	Reader that keeps what is incomplete
 * @doc:	Document to parse into
 * @events:	Bytes of a stream in Anthropic's dialect
 * @out:	Buffer; frames are appended
 *
 * Return: ERR_OK; ERR_FORMAT for an event that is no JSON object; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err invoke_frames_wrap(struct sse *sse, struct json *doc,
			    struct span events, struct buf *out)
{
	struct sse_event ev;
	json_ref type;
	enum err e;

	while ((e = sse_next(sse, &events, &ev)) == ERR_OK) {
		if (!ev.has_data)
			continue;
		e = json_parse(doc, ev.data, &limits);
		type = json_get(doc, JSON_ROOT, "type");
		if (e == ERR_OK && json_string_is(doc, type, "error"))
			e = put_error(doc, out);
		else if (e == ERR_OK && !json_string_is(doc, type, "ping"))
			e = put_chunk(ev.data, out);
		if (e != ERR_OK)
			return e == ERR_SHORT ? ERR_FORMAT : e;
	}
	return e == ERR_AGAIN ? ERR_OK : e;
}
