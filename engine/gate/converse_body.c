/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse_body.c - a plain Converse reply on its way to the guest
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on a byte before the whole body was read, its calls judged
 *	    and its outcome durable; changes a byte unless policy does.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30: {"output":{"message"}} with a
 * list of blocks, "stopReason", "usage". Denied toolUse blocks and, when no
 * call remains, the stop reason are replaced in place; all other bytes stay
 * as they are. CountTokens' {"inputTokens"} passes as it is.
 */
#include "engine/gate/converse.h"

#include <stdlib.h>

#include "engine/gate/bedrock_error.h"

#define BODY_TOKENS_MAX (1u << 20)

struct body {
	struct reply base;
	struct buf bytes, error;
	struct buf edited; /* what goes out, up to done_bytes of bytes */
	size_t done_bytes;
	struct json doc, call_json;
	json_ref block; /* being judged, or the next to look at */
	uint32_t index;
	char call_id[CALL_ID_MAX_BYTES + 1];
	char call_name[TOOL_NAME_MAX_BYTES + 1];
};

static enum err broken(struct body *b, const char *why)
{
	b->base.error_text = why;
	return ERR_FORMAT;
}

/* Copies up to a value, and leaves the value out. */
static enum err cut(struct body *b, json_ref at)
{
	size_t from = json_offset(&b->doc, at);
	enum err e = buf_put(&b->edited, b->bytes.data + b->done_bytes,
			     from - b->done_bytes);

	b->done_bytes = from + json_raw(&b->doc, at).len_bytes;
	return e;
}

static enum err put_denied(struct body *b, const struct reply_verdict *v)
{
	struct buf text;
	struct jsonw w;
	enum err e = cut(b, b->block);

	if (e != ERR_OK)
		return e;
	buf_init(&text, 16384);
	e = reply_put_denial(&text, span_text(b->call_name), v);
	jsonw_init(&w, &b->edited);
	jsonw_begin_object(&w);
	jsonw_put_text(&w, "text", buf_span(&text));
	jsonw_end_object(&w);
	buf_fini(&text);
	return e == ERR_OK ? jsonw_finish(&w) : e;
}

static enum err settle_call(struct body *b, const struct reply_verdict *v)
{
	enum err e = ERR_OK;

	b->base.summary.calls++;
	if (!v->allow) {
		b->base.summary.calls_denied++;
		e = put_denied(b, v);
	}
	b->block = json_next(&b->doc, b->block);
	b->index++;
	return e;
}

/* Looks at the block; asks for a verdict when it is a call. */
static enum err look_at_block(struct body *b)
{
	static const char unreadable[] = "its input is not a JSON object";
	const struct reply_verdict deny = {.text = span_text(unreadable)};
	const struct json *j = &b->doc;
	json_ref call = json_get(j, b->block, "toolUse");
	json_ref input = json_get(j, call, "input");

	if (!json_is(j, b->block, JSON_OBJECT) || json_count(j, b->block) != 1)
		return broken(b, "a content block of no known form");
	if (call == JSON_NONE) {
		b->block = json_next(j, b->block);
		b->index++;
		return ERR_OK;
	}
	if (json_text(j, json_get(j, call, "toolUseId"), b->call_id,
		      sizeof(b->call_id)) != ERR_OK ||
	    json_text(j, json_get(j, call, "name"), b->call_name,
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

/*
 * All calls are judged. The stop reason may stand before or behind the
 * blocks, so the reply is edited anew when it must change.
 */
static enum err finish(struct body *b)
{
	struct reply_summary *s = &b->base.summary;
	json_ref reason = json_get(&b->doc, JSON_ROOT, "stopReason");
	size_t at = json_offset(&b->doc, reason), moved;
	size_t len = json_raw(&b->doc, reason).len_bytes;
	struct buf out;
	enum err e;

	e = buf_put(&b->edited, b->bytes.data + b->done_bytes,
		    b->bytes.len_bytes - b->done_bytes);
	if (e != ERR_OK)
		return e;
	b->base.state = REPLY_DONE;
	if (!s->calls || s->calls != s->calls_denied ||
	    !json_string_is(&b->doc, reason, "tool_use"))
		return ERR_OK;
	/* Nothing was cut before it, or nothing behind it. */
	moved = at < json_offset(&b->doc,
				 json_get(&b->doc, JSON_ROOT, "output"))
			? at
			: b->edited.len_bytes - (b->bytes.len_bytes - at);
	buf_init(&out, b->edited.max_bytes);
	e = buf_put(&out, b->edited.data, moved);
	if (e == ERR_OK)
		e = buf_put_text(&out, "\"end_turn\"");
	if (e == ERR_OK)
		e = buf_put(&out, b->edited.data + moved + len,
			    b->edited.len_bytes - moved - len);
	buf_fini(&b->edited);
	b->edited = out;
	(void)!span_copy_text(span_text("end_turn"), s->stop_reason,
			      sizeof(s->stop_reason));
	return e;
}

static enum err look_on(struct body *b)
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
	struct body *b = (struct body *)r;
	enum err e = buf_put_span(&b->bytes, *in);

	(void)out;
	if (e == ERR_LIMIT)
		r->error_text = "a reply over the size limit";
	else if (e == ERR_OK)
		*in = span_of(NULL, 0);
	r->held_bytes = b->bytes.cap_bytes;
	return e;
}

static enum err body_end(struct reply *r, struct buf *out)
{
	const struct json_limits limits = {.max_tokens = BODY_TOKENS_MAX,
					   .allow_nul = true};
	struct body *b = (struct body *)r;
	struct json *j = &b->doc;
	json_ref output, content;
	enum err e = json_parse(j, buf_span(&b->bytes), &limits);

	(void)out;
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return broken(b, "a reply that is not valid JSON");
	if (!json_is(j, JSON_ROOT, JSON_OBJECT))
		return broken(b, "a reply that is no JSON object");
	output = json_get(j, JSON_ROOT, "output");
	content = json_find(j, output, "message.content");
	if (output != JSON_NONE ||
	    json_get(j, JSON_ROOT, "inputTokens") == JSON_NONE) {
		if (!json_is(j, content, JSON_ARRAY) ||
		    json_text(j, json_get(j, JSON_ROOT, "stopReason"),
			      r->summary.stop_reason,
			      sizeof(r->summary.stop_reason)) != ERR_OK)
			return broken(b, "a reply without a message and a "
					 "stop reason");
	}
	converse_note_usage(j, json_get(j, JSON_ROOT, "usage"), &r->summary);
	b->block = json_first(j, content);
	return look_on(b);
}

static enum err body_verdict(struct reply *r, const struct reply_verdict *v,
			     struct buf *out)
{
	struct body *b = (struct body *)r;
	enum err e;

	(void)out;
	r->state = REPLY_OPEN;
	e = settle_call(b, v);
	return e == ERR_OK ? look_on(b) : e;
}

static enum err body_release(struct reply *r, struct buf *out)
{
	struct body *b = (struct body *)r;

	return buf_put_span(out,
			    buf_span(r->state == REPLY_FAILED ? &b->error
							      : &b->edited));
}

static enum err body_fail(struct reply *r, const char *type, struct span text)
{
	struct body *b = (struct body *)r;

	buf_reset(&b->error);
	return bedrock_put_error(&b->error, type, text);
}

static void body_free(struct reply *r)
{
	struct body *b = (struct body *)r;

	buf_fini(&b->bytes);
	buf_fini(&b->error);
	buf_fini(&b->edited);
	json_fini(&b->doc);
	json_fini(&b->call_json);
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
 * converse_body_new() - Start reading an application/json response
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *converse_body_new(void)
{
	struct body *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->base.ops = &body_ops;
	b->block = JSON_NONE;
	buf_init(&b->bytes, BODY_MAX_BYTES);
	buf_init(&b->error, 65536);
	buf_init(&b->edited, BODY_MAX_BYTES + (4u << 20));
	json_init(&b->doc);
	json_init(&b->call_json);
	return &b->base;
}
