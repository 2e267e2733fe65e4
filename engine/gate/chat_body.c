/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_body.c - a plain chat completion on its way to the guest
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on a byte before the whole body was read, its calls judged
 *	    and its outcome durable; changes a byte unless policy does.
 *
 * One object with a list of choices, each with a message that may have calls.
 * Denied calls are taken out in place, a text that names the rule is added to
 * the message's content, and a choice without a call left is finished by
 * "stop"; all other bytes stay as they are. Other JSON answers (models) pass.
 */
#include "engine/gate/chat.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/gate/chat_calls.h"
#include "engine/gate/chat_edit.h"
#include "engine/gate/lax.h"

#define TEXTS_MAX_BYTES (64u << 20)

struct body_reply {
	struct reply base;
	struct buf bytes, error;
	struct json doc, call_json;
	struct chat_calls calls; /* in the order of the document */
	struct chat_edits edits;
	struct neutral_usage usage;
	uint32_t judged;
};

static enum err broken(struct body_reply *b, const char *why)
{
	b->base.error_text = why;
	return ERR_FORMAT;
}

static bool is_set(const struct body_reply *b, json_ref at)
{
	return at != JSON_NONE && !json_is(&b->doc, at, JSON_NULL);
}

static enum err settle(struct body_reply *b, struct chat_call *call,
		       const struct reply_verdict *v)
{
	call->judged = true;
	call->denied = !v->allow;
	b->base.summary.calls++;
	if (v->allow)
		return ERR_OK;
	b->base.summary.calls_denied++;
	buf_reset(&call->arguments);
	return reply_put_denial(&call->arguments, span_text(call->name), v);
}

/* Replaces the list of calls by those of them that remain. */
static enum err edit_calls(struct body_reply *b, json_ref list,
			   const struct chat_call *call, bool *ret_any_left)
{
	struct buf *texts = &b->edits.texts;
	size_t text_at = texts->len_bytes;
	enum err e = ERR_OK;

	*ret_any_left = false;
	JSON_EACH (&b->doc, item, list) {
		if ((call++)->denied)
			continue;
		if (e == ERR_OK)
			e = buf_put_u8(texts, *ret_any_left ? ',' : '[');
		if (e == ERR_OK)
			e = buf_put_span(texts, json_raw(&b->doc, item));
		*ret_any_left = true;
	}
	if (e != ERR_OK)
		return e;
	if (!*ret_any_left)
		return chat_edits_remove(&b->edits, &b->doc, list);
	e = buf_put_u8(texts, ']');
	return e == ERR_OK
		       ? chat_edits_add(&b->edits, json_offset(&b->doc, list),
					json_raw(&b->doc, list).len_bytes,
					text_at)
		       : e;
}

/* The denials of a message's calls, one below the other. */
static enum err put_denials(const struct chat_call *call, uint32_t count,
			    struct buf *out)
{
	enum err e = ERR_OK;
	bool any = false;

	for (; e == ERR_OK && count--; call++) {
		if (!call->denied)
			continue;
		if (any)
			e = buf_put_text(out, "\n\n");
		if (e == ERR_OK)
			e = buf_put_span(out, buf_span(&call->arguments));
		any = true;
	}
	return e;
}

/* A string, a list of parts, null or nothing beside @members others. */
static enum err edit_content(struct body_reply *b, json_ref message,
			     uint32_t members, struct span denials)
{
	const struct json *j = &b->doc;
	struct buf *texts = &b->edits.texts;
	json_ref content = json_get(j, message, "content");
	size_t text_at = texts->len_bytes, from, end, len = 0;
	struct jsonw w;
	enum err e = ERR_OK;

	if (content == JSON_NONE) {
		from = json_offset(j, message) + 1;
		e = buf_put_text(texts, "\"content\":");
	} else if (json_is(j, content, JSON_STRING) &&
		   json_raw(j, content).len_bytes > 2) {
		/* Behind its last character; our own quote goes. */
		end = json_offset(j, content) + json_raw(j, content).len_bytes;
		from = end - 1;
		len = 1;
		e = buf_put_text(texts, "\\n\\n");
	} else if (json_count(j, content)) {
		end = json_offset(j, content) + json_raw(j, content).len_bytes;
		from = end - 1;
		e = buf_put_text(texts, ",{\"type\":\"text\",\"text\":");
	} else {
		from = json_offset(j, content);
		len = json_raw(j, content).len_bytes;
	}
	jsonw_init(&w, texts);
	if (e == ERR_OK) {
		size_t quote = texts->len_bytes;

		jsonw_text(&w, denials);
		e = jsonw_finish(&w);
		if (e == ERR_OK && len == 1) {
			memmove(texts->data + quote, texts->data + quote + 1,
				texts->len_bytes - quote - 1);
			buf_truncate(texts, texts->len_bytes - 1);
		}
	}
	if (e == ERR_OK && content == JSON_NONE && members)
		e = buf_put_u8(texts, ',');
	else if (e == ERR_OK && json_is(j, content, JSON_ARRAY) &&
		 json_count(j, content))
		e = buf_put_u8(texts, '}');
	return e == ERR_OK ? chat_edits_add(&b->edits, from, len, text_at) : e;
}

/* What becomes of a choice, given its calls: @count from @call on. */
static enum err edit_choice(struct body_reply *b, json_ref choice,
			    const struct chat_call *call, uint32_t count)
{
	const struct json *j = &b->doc;
	json_ref message = json_get(j, choice, "message");
	json_ref list = json_get(j, message, "tool_calls");
	json_ref legacy = json_get(j, message, "function_call");
	json_ref reason = json_get(j, choice, "finish_reason");
	uint32_t listed = json_count(j, list), denied = 0, i;
	uint32_t members = json_count(j, message);
	struct buf denials;
	bool any = false, left = true;
	enum err e = ERR_OK;

	for (i = 0; i < count; i++)
		denied += call[i].denied;
	if (!denied)
		return ERR_OK;
	for (i = 0; i < listed; i++)
		any |= call[i].denied;
	if (any)
		e = edit_calls(b, list, call, &left);
	if (e == ERR_OK && count > listed && call[listed].denied)
		e = chat_edits_replace(&b->edits, j, legacy, "null");
	if (e == ERR_OK && denied == count &&
	    (json_string_is(j, reason, "tool_calls") ||
	     json_string_is(j, reason, "function_call")))
		e = chat_edits_replace(&b->edits, j, reason, "\"stop\"");
	buf_init(&denials, TEXTS_MAX_BYTES);
	if (e == ERR_OK)
		e = put_denials(call, count, &denials);
	if (e == ERR_OK)
		e = edit_content(b, message, members - (left ? 0 : 1),
				 buf_span(&denials));
	buf_fini(&denials);
	return e;
}

static uint32_t calls_of(const struct body_reply *b, json_ref choice)
{
	json_ref message = json_get(&b->doc, choice, "message");

	return json_count(&b->doc, json_get(&b->doc, message, "tool_calls")) +
	       (is_set(b, json_get(&b->doc, message, "function_call")) ? 1 : 0);
}

/* All calls are judged: the changes that their verdicts demand. */
static enum err finish(struct body_reply *b)
{
	struct reply_summary *s = &b->base.summary;
	json_ref choices = json_get(&b->doc, JSON_ROOT, "choices");
	const struct chat_call *call = b->calls.items;
	enum err e = ERR_OK;

	JSON_EACH (&b->doc, choice, choices) {
		uint32_t count = calls_of(b, choice);

		if (e == ERR_OK && count)
			e = edit_choice(b, choice, call, count);
		if (count)
			call += count;
	}
	if (s->calls && s->calls == s->calls_denied &&
	    (strcmp(s->stop_reason, "tool_calls") == 0 ||
	     strcmp(s->stop_reason, "function_call") == 0))
		(void)!span_copy_text(span_text("stop"), s->stop_reason,
				      sizeof(s->stop_reason));
	if (e == ERR_OK)
		b->base.state = REPLY_DONE;
	return e;
}

static enum err judge_next(struct body_reply *b)
{
	static const char unreadable[] =
		"its arguments are not one valid JSON object";
	const struct reply_verdict deny = {.text = span_text(unreadable)};
	enum err e = ERR_OK;

	for (; e == ERR_OK && b->judged < b->calls.count; b->judged++) {
		struct chat_call *call = &b->calls.items[b->judged];

		if (call->judged)
			continue;
		e = chat_call_close(call, &b->call_json);
		if (e == ERR_MEMORY)
			return e;
		if (e != ERR_OK) {
			e = settle(b, call, &deny);
			continue;
		}
		b->base.call = (struct reply_call){
			.index = b->judged,
			.id = span_text(call->id),
			.name = span_text(call->name),
			.arguments = buf_span(&call->arguments),
		};
		b->base.state = REPLY_JUDGE;
		return ERR_OK;
	}
	return e == ERR_OK ? finish(b) : e;
}

static enum err read_choice(struct body_reply *b, json_ref choice,
			    uint32_t number)
{
	struct reply_summary *sum = &b->base.summary;
	const struct json *j = &b->doc;
	json_ref message = json_get(j, choice, "message");
	json_ref list = json_get(j, message, "tool_calls");
	json_ref legacy = json_get(j, message, "function_call");
	char reason[sizeof(sum->stop_reason)];
	struct chat_delta ignored;
	enum err e = ERR_OK;

	if (!json_is(j, message, JSON_OBJECT) ||
	    json_text(j, json_get(j, choice, "finish_reason"), reason,
		      sizeof(reason)) != ERR_OK)
		return broken(b, "a choice without message and finish_reason");
	if (chat_is_failure(reason))
		return broken(b, "the provider broke the answer off");
	if (is_set(b, list) && !json_is(j, list, JSON_ARRAY))
		return broken(b, "tool_calls that are no list");
	if (number == 0)
		memcpy(sum->stop_reason, reason, sizeof(reason));
	JSON_EACH (j, item, list) {
		e = chat_calls_add_whole(&b->calls, j, item, number);
		if (e != ERR_OK)
			break;
	}
	if (e == ERR_OK && is_set(b, legacy))
		e = chat_calls_add_legacy(&b->calls, j, legacy, number,
					  &ignored);
	if (e != ERR_OK)
		b->base.error_text = b->calls.error_text;
	return e;
}

static enum err read_document(struct body_reply *b)
{
	struct reply_summary *sum = &b->base.summary;
	const struct json *j = &b->doc;
	json_ref choices = json_get(j, JSON_ROOT, "choices"), error;
	uint32_t number = 0;
	enum err e = ERR_OK;

	if (chat_is_error(j, &error)) {
		chat_error_words(j, error, b->base.upstream_error,
				 sizeof(b->base.upstream_error));
		return broken(b, "the provider reported an error");
	}
	if (!json_is(j, JSON_ROOT, JSON_OBJECT))
		return broken(b, "a reply that is no JSON object");
	if (choices == JSON_NONE &&
	    json_is(j, json_get(j, JSON_ROOT, "data"), JSON_ARRAY)) {
		b->base.state = REPLY_DONE;
		return ERR_OK;
	}
	if (!json_is(j, choices, JSON_ARRAY) || json_count(j, choices) == 0)
		return broken(b, "a completion without choices");
	(void)!json_text(j, json_get(j, JSON_ROOT, "id"), sum->id,
			 sizeof(sum->id));
	(void)!json_text(j, json_get(j, JSON_ROOT, "model"), sum->model,
			 sizeof(sum->model));
	chat_read_usage(j, JSON_ROOT, &b->usage);
	chat_sum_usage(&b->usage, sum);
	JSON_EACH (j, choice, choices) {
		if (e == ERR_OK)
			e = read_choice(b, choice, number++);
	}
	return e == ERR_OK ? judge_next(b) : e;
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

static enum err body_end(struct reply *r, struct buf *out)
{
	const struct json_limits limits = {.max_tokens = CHAT_BODY_TOKENS_MAX,
					   .allow_nul = true};
	struct body_reply *b = (struct body_reply *)r;
	enum err e = json_parse(&b->doc, buf_span(&b->bytes), &limits);

	(void)out;
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return broken(b, "a reply that is not valid JSON");
	if (lax_find_key(&b->doc))
		return broken(b, "a key that some readers take for another");
	e = read_document(b);
	if (e == ERR_LIMIT && !r->error_text)
		r->error_text = "tool calls over the size limit";
	return e;
}

static enum err body_verdict(struct reply *r, const struct reply_verdict *v,
			     struct buf *out)
{
	struct body_reply *b = (struct body_reply *)r;
	enum err e;

	(void)out;
	r->state = REPLY_OPEN;
	e = settle(b, &b->calls.items[b->judged], v);
	return e == ERR_OK ? judge_next(b) : e;
}

static enum err body_release(struct reply *r, struct buf *out)
{
	struct body_reply *b = (struct body_reply *)r;

	if (r->state == REPLY_FAILED)
		return buf_put_span(out, buf_span(&b->error));
	return chat_edits_put(&b->edits, buf_span(&b->bytes), out);
}

static enum err body_fail(struct reply *r, const char *type, struct span text)
{
	struct body_reply *b = (struct body_reply *)r;

	buf_reset(&b->error);
	return chat_put_error(&b->error, type, text);
}

static void body_free(struct reply *r)
{
	struct body_reply *b = (struct body_reply *)r;

	buf_fini(&b->bytes);
	buf_fini(&b->error);
	json_fini(&b->doc);
	json_fini(&b->call_json);
	chat_calls_fini(&b->calls);
	chat_edits_fini(&b->edits);
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
 * chat_body_new() - Start reading an application/json response
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *chat_body_new(void)
{
	struct body_reply *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->base.ops = &body_ops;
	buf_init(&b->bytes, BODY_MAX_BYTES);
	buf_init(&b->error, 65536);
	json_init(&b->doc);
	json_init(&b->call_json);
	chat_edits_init(&b->edits, TEXTS_MAX_BYTES);
	return &b->base;
}
