/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_body.c - a plain JSON reply on its way to the guest
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on a byte before the whole body was read, its calls judged
 *	    and its outcome durable; changes a byte unless policy does.
 *
 * Anthropic Messages, version 2023-06-01: one message object whose content
 * is a list of blocks. Denied tool_use blocks and, when no call remains, the
 * stop reason are replaced in place; all other bytes stay as they are. Other
 * JSON answers (count_tokens, models) pass as they are.
 */
#include "engine/gate/anthropic_reply.h"
#include "engine/gate/lax.h"

#include <stdlib.h>

#define BODY_TOKENS_MAX (1u << 20)
#define EDITS_MAX       256u /* denied calls in one reply, and the stop reason */

/* Bytes [at, at + len) are replaced by those of texts. */
struct edit {
	size_t at_bytes, len_bytes;
	size_t text_at, text_len;
};

struct body_reply {
	struct reply base;
	struct buf bytes, error;
	struct buf texts; /* of the edits */
	struct json doc, call_json;
	struct anthropic_usage usage;
	json_ref block; /* being judged, or the next to look at */
	uint32_t index;
	struct edit *edits; /* EDITS_MAX of them, once there is one */
	size_t n_edits;
	char call_id[CALL_ID_MAX_BYTES + 1];
	char call_name[TOOL_NAME_MAX_BYTES + 1];
};

static enum err broken(struct body_reply *b, const char *why)
{
	b->base.error_text = why;
	return ERR_FORMAT;
}

static enum err add_edit(struct body_reply *b, json_ref at, size_t text_at)
{
	struct span raw = json_raw(&b->doc, at);

	if (b->n_edits == EDITS_MAX)
		return ERR_LIMIT;
	if (!b->edits)
		b->edits = calloc(EDITS_MAX, sizeof(b->edits[0]));
	if (!b->edits)
		return ERR_MEMORY;
	b->edits[b->n_edits++] = (struct edit){
		.at_bytes = json_offset(&b->doc, at),
		.len_bytes = raw.len_bytes,
		.text_at = text_at,
		.text_len = b->texts.len_bytes - text_at,
	};
	return ERR_OK;
}

static enum err settle_call(struct body_reply *b, const struct reply_verdict *v)
{
	size_t text_at = b->texts.len_bytes;
	enum err e = ERR_OK;

	b->base.summary.calls++;
	if (!v->allow) {
		b->base.summary.calls_denied++;
		e = buf_put_text(&b->texts, "{\"type\":\"text\",\"text\":");
		if (e == ERR_OK)
			e = anthropic_put_text(&b->texts,
					       span_text(b->call_name), v);
		if (e == ERR_OK)
			e = buf_put_u8(&b->texts, '}');
		if (e == ERR_OK)
			e = add_edit(b, b->block, text_at);
	}
	b->block = json_next(&b->doc, b->block);
	b->index++;
	return e;
}

/* Looks at the block; asks for a verdict when it is a call. */
static enum err look_at_block(struct body_reply *b)
{
	static const char unreadable[] = "its input is not a JSON object";
	const struct reply_verdict deny = {.text = span_text(unreadable)};
	const struct json *j = &b->doc;
	json_ref input = json_get(j, b->block, "input");
	json_ref type = json_get(j, b->block, "type");

	if (!json_is(j, type, JSON_STRING))
		return broken(b, "a content block without a type");
	if (!json_string_is(j, type, "tool_use")) {
		b->block = json_next(j, b->block);
		b->index++;
		return ERR_OK;
	}
	if (json_text(j, json_get(j, b->block, "id"), b->call_id,
		      sizeof(b->call_id)) != ERR_OK ||
	    json_text(j, json_get(j, b->block, "name"), b->call_name,
		      sizeof(b->call_name)) != ERR_OK ||
	    b->call_name[0] == '\0')
		return broken(b, "a tool call without a proper id and name");
	if (reply_check_arguments(&b->call_json, json_raw(j, input)) != ERR_OK)
		return settle_call(b, &deny);
	b->base.call = (struct reply_call){
		.index = b->index,
		.id = span_text(b->call_id),
		.name = span_text(b->call_name),
		.arguments = json_raw(j, input),
	};
	b->base.state = REPLY_JUDGE;
	return ERR_OK;
}

/* All calls are judged: the stop reason, if no call remains. */
static enum err finish(struct body_reply *b)
{
	struct reply_summary *s = &b->base.summary;
	json_ref reason = json_get(&b->doc, JSON_ROOT, "stop_reason");
	size_t text_at = b->texts.len_bytes;
	enum err e = ERR_OK;

	if (s->calls && s->calls == s->calls_denied &&
	    json_string_is(&b->doc, reason, "tool_use")) {
		e = buf_put_text(&b->texts, "\"end_turn\"");
		if (e == ERR_OK)
			e = add_edit(b, reason, text_at);
		if (e == ERR_OK)
			e = span_copy_text(span_text("end_turn"),
					   s->stop_reason,
					   sizeof(s->stop_reason));
	}
	if (e == ERR_OK)
		b->base.state = REPLY_DONE;
	return e;
}

static enum err look_on(struct body_reply *b)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && b->block != JSON_NONE &&
	       b->base.state == REPLY_OPEN)
		e = look_at_block(b);
	if (e == ERR_OK && b->base.state == REPLY_OPEN)
		e = finish(b);
	return e;
}

static enum err body_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct body_reply *b = (struct body_reply *)r;
	enum err e = buf_put_span(&b->bytes, *in);

	(void)out;
	if (e == ERR_LIMIT)
		r->error_text = "a reply over the size limit";
	else if (e == ERR_OK)
		*in = span_of(NULL, 0);
	r->held_bytes = b->bytes.cap_bytes;
	return e;
}

/* What is no message: a count of tokens, or a list of models. */
static bool is_table(const struct json *j)
{
	uint64_t count;

	return json_uint(j, json_get(j, JSON_ROOT, "input_tokens"), 0,
			 UINT64_MAX, &count) == ERR_OK ||
	       (json_is(j, json_get(j, JSON_ROOT, "data"), JSON_ARRAY) &&
		json_get(j, JSON_ROOT, "choices") == JSON_NONE &&
		json_get(j, JSON_ROOT, "output") == JSON_NONE);
}

static enum err body_end(struct reply *r, struct buf *out)
{
	const struct json_limits limits = {.max_tokens = BODY_TOKENS_MAX,
					   .allow_nul = true};
	struct body_reply *b = (struct body_reply *)r;
	struct json *j = &b->doc;
	json_ref content;
	enum err e = json_parse(j, buf_span(&b->bytes), &limits);

	(void)out;
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return broken(b, "a reply that is not valid JSON");
	if (!json_is(j, JSON_ROOT, JSON_OBJECT))
		return broken(b, "a reply that is no JSON object");
	if (lax_find_key(j))
		return broken(b, "a key that some readers take for another");
	if (json_string_is(j, json_get(j, JSON_ROOT, "type"), "error")) {
		anthropic_read_error(j, JSON_ROOT, r);
		return broken(b, "the provider reported an error");
	}
	content = json_get(j, JSON_ROOT, "content");
	if (json_string_is(j, json_get(j, JSON_ROOT, "type"), "message")) {
		if (!json_is(j, content, JSON_ARRAY) ||
		    !json_is(j, json_get(j, JSON_ROOT, "stop_reason"),
			     JSON_STRING))
			return broken(b, "a message without content and stop "
					 "reason");
	} else if (content != JSON_NONE || !is_table(j)) {
		return broken(b, "a reply that is no message");
	}
	anthropic_read_message(j, JSON_ROOT, &r->summary);
	anthropic_read_usage(j, json_get(j, JSON_ROOT, "usage"), &b->usage,
			     &r->summary);
	b->block = json_first(j, content);
	return look_on(b);
}

static enum err body_verdict(struct reply *r, const struct reply_verdict *v,
			     struct buf *out)
{
	struct body_reply *b = (struct body_reply *)r;
	enum err e;

	(void)out;
	r->state = REPLY_OPEN;
	e = settle_call(b, v);
	return e == ERR_OK ? look_on(b) : e;
}

static int by_place(const void *x, const void *y)
{
	const struct edit *a = x, *b = y;

	return a->at_bytes < b->at_bytes ? -1 : a->at_bytes > b->at_bytes;
}

static enum err body_release(struct reply *r, struct buf *out)
{
	struct body_reply *b = (struct body_reply *)r;
	size_t at = 0, i;
	enum err e = ERR_OK;

	if (r->state == REPLY_FAILED)
		return buf_put_span(out, buf_span(&b->error));
	if (b->n_edits)
		qsort(b->edits, b->n_edits, sizeof(b->edits[0]), by_place);
	for (i = 0; e == ERR_OK && i < b->n_edits; i++) {
		const struct edit *d = &b->edits[i];

		e = buf_put(out, b->bytes.data + at, d->at_bytes - at);
		if (e == ERR_OK)
			e = buf_put(out, b->texts.data + d->text_at,
				    d->text_len);
		at = d->at_bytes + d->len_bytes;
	}
	if (e == ERR_OK)
		e = buf_put(out, b->bytes.data + at, b->bytes.len_bytes - at);
	return e;
}

static enum err body_fail(struct reply *r, const char *type, struct span text)
{
	struct body_reply *b = (struct body_reply *)r;

	buf_reset(&b->error);
	return anthropic_put_error(&b->error, type, text);
}

static void body_free(struct reply *r)
{
	struct body_reply *b = (struct body_reply *)r;

	buf_fini(&b->bytes);
	buf_fini(&b->error);
	buf_fini(&b->texts);
	json_fini(&b->doc);
	json_fini(&b->call_json);
	free(b->edits);
	free(b);
}

static const struct reply_ops body_ops = {
	.feed = body_feed,
	.end = body_end,
	.verdict = body_verdict,
	.release = body_release,
	.fail = body_fail,
	.free = body_free,
};

/**
 * anthropic_body_new() - Start reading an application/json response
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *anthropic_body_new(void)
{
	struct body_reply *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->base.ops = &body_ops;
	b->block = JSON_NONE;
	buf_init(&b->bytes, BODY_MAX_BYTES);
	buf_init(&b->error, 65536);
	buf_init(&b->texts, 1u << 22);
	json_init(&b->doc);
	json_init(&b->call_json);
	return &b->base;
}
