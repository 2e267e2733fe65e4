/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_message_write.c - the messages of a chat completions request, written
 *
 * Runs in: kenaz-gate.
 * Trusts:  the neutral request to be what a dialect's reader made.
 * Never:   puts anything between a call and its result: servers refuse that.
 *
 * Each tool result is a message of its own; what results cannot hold here
 * (images, documents) follows them in the user's message.
 */
#include "engine/gate/chat_writing.h"

#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/chat.h"
#include "engine/gate/neutral_tools.h"

static const struct neutral_part *part_at(const struct chat_writing *x,
					  uint32_t at)
{
	return &x->r->parts[at];
}

static void put_cache(struct chat_writing *x, const struct neutral_part *p)
{
	struct jsonw *w = &x->w;

	if (p->cache == NEUTRAL_CACHE_NONE)
		return;
	if (!x->openrouter) {
		neutral_drop(x->r, "cache_control");
		return;
	}
	jsonw_key(w, "cache_control");
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "ephemeral");
	if (p->cache == NEUTRAL_CACHE_1H)
		jsonw_put_cstr(w, "ttl", "1h");
	jsonw_end_object(w);
}

static void put_text_part(struct chat_writing *x, const struct neutral_part *p)
{
	struct jsonw *w = &x->w;

	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "text");
	jsonw_put_text(w, "text", p->text);
	put_cache(x, p);
	jsonw_end_object(w);
}

/* A part's bytes as a data: URL, or its address. */
static enum err put_url(struct chat_writing *x, const char *key,
			const struct neutral_part *p)
{
	struct buf url;
	enum err e = ERR_OK;

	if (p->url.data) {
		jsonw_put_text(&x->w, key, p->url);
		return ERR_OK;
	}
	buf_init(&url, NEUTRAL_KEPT_BYTES);
	e = buf_put_text(&url, "data:");
	if (e == ERR_OK)
		e = buf_put_span(&url, p->media_type);
	if (e == ERR_OK)
		e = buf_put_text(&url, ";base64,");
	if (e == ERR_OK)
		e = buf_put_span(&url, p->data);
	if (e == ERR_OK)
		jsonw_put_text(&x->w, key, buf_span(&url));
	buf_fini(&url);
	return e;
}

static enum err put_image(struct chat_writing *x, const struct neutral_part *p)
{
	struct jsonw *w = &x->w;
	enum err e;

	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "image_url");
	jsonw_key(w, "image_url");
	jsonw_begin_object(w);
	e = put_url(x, "url", p);
	jsonw_end_object(w);
	put_cache(x, p);
	jsonw_end_object(w);
	return e;
}

static bool is_text_type(struct span type)
{
	return type.len_bytes >= 5 && memcmp(type.data, "text/", 5) == 0;
}

/* Text stays text: servers of this dialect take no text files. */
static enum err put_text_document(struct chat_writing *x,
				  const struct neutral_part *p)
{
	struct neutral_part text = *p;
	struct buf b;
	enum err e = ERR_OK;

	buf_init(&b, NEUTRAL_KEPT_BYTES);
	if (p->name.len_bytes) {
		e = buf_put_span(&b, p->name);
		if (e == ERR_OK)
			e = buf_put_text(&b, ":\n\n");
	}
	if (e == ERR_OK && p->text.data)
		e = buf_put_span(&b, p->text);
	else if (e == ERR_OK)
		e = text_unbase64(p->data, &b);
	text.text = buf_span(&b);
	if (e == ERR_FORMAT || (e == ERR_OK && !text_is_utf8(text.text)))
		e = neutral_refuse(x->r, "a document's data",
				   "not UTF-8 in base64");
	if (e == ERR_OK)
		put_text_part(x, &text);
	buf_fini(&b);
	return e;
}

static enum err put_document(struct chat_writing *x,
			     const struct neutral_part *p)
{
	struct jsonw *w = &x->w;
	enum err e;

	if (p->text.data || (p->data.data && is_text_type(p->media_type)))
		return put_text_document(x, p);
	if (p->url.data && !x->openrouter)
		return neutral_refuse(x->r, "a document's url",
				      "chat completions take none");
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "file");
	jsonw_key(w, "file");
	jsonw_begin_object(w);
	jsonw_put_text(w, "filename",
		       p->name.len_bytes ? p->name : span_text("document.pdf"));
	e = put_url(x, "file_data", p);
	jsonw_end_object(w);
	put_cache(x, p);
	jsonw_end_object(w);
	return e;
}

static bool is_media(const struct neutral_part *p)
{
	return p->kind == NEUTRAL_IMAGE || p->kind == NEUTRAL_DOCUMENT;
}

static enum err put_part(struct chat_writing *x, const struct neutral_part *p)
{
	if (p->kind == NEUTRAL_IMAGE)
		return put_image(x, p);
	if (p->kind == NEUTRAL_DOCUMENT)
		return put_document(x, p);
	put_text_part(x, p);
	return ERR_OK;
}

/* Parts of a message that one of its lists takes, in order. */
typedef bool wanted_part(const struct chat_writing *x,
			 const struct neutral_part *p);

static bool is_text(const struct chat_writing *x, const struct neutral_part *p)
{
	return p->kind == NEUTRAL_TEXT ||
	       (p->kind == NEUTRAL_REFUSAL && !x->openai);
}

static bool is_content(const struct chat_writing *x,
		       const struct neutral_part *p)
{
	return is_text(x, p) || is_media(p);
}

/* Writes the content member from parts [at, end): a text, a list or null. */
static enum err put_content(struct chat_writing *x, uint32_t at, uint32_t end,
			    wanted_part *wanted, const char *if_none)
{
	const struct neutral_part *only = NULL;
	uint32_t i, count = 0;
	enum err e = ERR_OK;

	for (i = at; i < end; i += 1 + part_at(x, i)->nested)
		if (wanted(x, part_at(x, i))) {
			only = part_at(x, i);
			count++;
		}
	jsonw_key(&x->w, "content");
	if (count == 0) {
		if (if_none)
			jsonw_cstr(&x->w, if_none);
		else
			jsonw_null(&x->w);
		return ERR_OK;
	}
	if (count == 1 && is_text(x, only) &&
	    !(x->openrouter && only->cache != NEUTRAL_CACHE_NONE)) {
		jsonw_text(&x->w, only->text);
		if (only->cache != NEUTRAL_CACHE_NONE)
			neutral_drop(x->r, "cache_control");
		return ERR_OK;
	}
	jsonw_begin_array(&x->w);
	for (i = at; e == ERR_OK && i < end; i += 1 + part_at(x, i)->nested)
		if (wanted(x, part_at(x, i)))
			e = put_part(x, part_at(x, i));
	jsonw_end_array(&x->w);
	return e;
}

static bool has_media(const struct chat_writing *x, uint32_t result)
{
	uint32_t i;

	for (i = result + 1; i <= result + part_at(x, result)->nested; i++)
		if (is_media(part_at(x, i)))
			return true;
	return false;
}

static enum err put_result(struct chat_writing *x, uint32_t at)
{
	const struct neutral_part *p = part_at(x, at);
	struct jsonw *w = &x->w;
	enum err e;

	jsonw_begin_object(w);
	jsonw_put_cstr(w, "role", "tool");
	jsonw_put_text(w, "tool_call_id", p->id);
	e = put_content(x, at + 1, at + 1 + p->nested, is_text,
			has_media(x, at) ? "The result follows."
			: p->is_error    ? "The call failed."
					 : "");
	jsonw_end_object(w);
	if (p->is_error && p->nested)
		neutral_drop(x->r, "tool_result.is_error");
	if (p->cache != NEUTRAL_CACHE_NONE)
		neutral_drop(x->r, "tool_result.cache_control");
	return e;
}

/* What a result holds beside text, under a line that says whose it is. */
static enum err put_result_media(struct chat_writing *x, uint32_t at)
{
	static const char head[] = "From the result of the tool call ";
	struct neutral_part line = {.kind = NEUTRAL_TEXT};
	uint32_t i, end = at + 1 + part_at(x, at)->nested;
	struct buf text;
	enum err e;

	buf_init(&text, 4096);
	e = buf_put_text(&text, head);
	if (e == ERR_OK)
		e = text_escape(part_at(x, at)->id, false, &text);
	if (e == ERR_OK)
		e = buf_put_text(&text, ":");
	line.text = buf_span(&text);
	if (e == ERR_OK)
		put_text_part(x, &line);
	buf_fini(&text);
	for (i = at + 1; e == ERR_OK && i < end; i++)
		if (is_media(part_at(x, i)))
			e = put_part(x, part_at(x, i));
	return e;
}

/* The user's message after the results: their media, then its own parts. */
static enum err put_after_results(struct chat_writing *x, uint32_t at,
				  uint32_t end)
{
	struct jsonw *w = &x->w;
	enum err e = ERR_OK;
	uint32_t i;

	jsonw_begin_object(w);
	jsonw_put_cstr(w, "role", "user");
	jsonw_key(w, "content");
	jsonw_begin_array(w);
	for (i = at; e == ERR_OK && i < end; i += 1 + part_at(x, i)->nested)
		if (part_at(x, i)->kind == NEUTRAL_TOOL_RESULT &&
		    has_media(x, i))
			e = put_result_media(x, i);
	for (i = at; e == ERR_OK && i < end; i += 1 + part_at(x, i)->nested)
		if (is_content(x, part_at(x, i)))
			e = put_part(x, part_at(x, i));
	jsonw_end_array(w);
	jsonw_end_object(w);
	return e;
}

static enum err put_plain(struct chat_writing *x, const char *role, uint32_t at,
			  uint32_t end)
{
	enum err e;

	jsonw_begin_object(&x->w);
	jsonw_put_cstr(&x->w, "role", role);
	e = put_content(x, at, end, is_content, "");
	jsonw_end_object(&x->w);
	return e;
}

static enum err put_user(struct chat_writing *x, uint32_t at, uint32_t end)
{
	uint32_t i, results = 0, media = 0, own = 0;
	enum err e = ERR_OK;

	for (i = at; e == ERR_OK && i < end; i += 1 + part_at(x, i)->nested) {
		if (part_at(x, i)->kind != NEUTRAL_TOOL_RESULT) {
			own += is_content(x, part_at(x, i));
			continue;
		}
		results++;
		media += has_media(x, i);
		e = put_result(x, i);
	}
	if (e != ERR_OK || (results && !media && !own))
		return e;
	return media ? put_after_results(x, at, end)
		     : put_plain(x, "user", at, end);
}

static void put_calls(struct chat_writing *x, uint32_t at, uint32_t end)
{
	struct jsonw *w = &x->w;
	bool open = false;
	uint32_t i;

	for (i = at; i < end; i++) {
		const struct neutral_part *p = part_at(x, i);

		if (p->kind != NEUTRAL_TOOL_CALL)
			continue;
		if (!open) {
			jsonw_key(w, "tool_calls");
			jsonw_begin_array(w);
		}
		open = true;
		jsonw_begin_object(w);
		jsonw_put_text(w, "id", p->id);
		jsonw_put_cstr(w, "type", "function");
		jsonw_key(w, "function");
		jsonw_begin_object(w);
		jsonw_put_text(w, "name", p->name);
		jsonw_put_text(w, "arguments", p->json);
		jsonw_end_object(w);
		jsonw_end_object(w);
		if (p->cache != NEUTRAL_CACHE_NONE)
			neutral_drop(x->r, "tool_use.cache_control");
	}
	if (open)
		jsonw_end_array(w);
}

/* Signed and opaque thoughts in OpenRouter's form. */
static void put_details(struct chat_writing *x, uint32_t at, uint32_t end)
{
	struct jsonw *w = &x->w;
	uint32_t i, index = 0;

	for (i = at; i < end; i++) {
		const struct neutral_part *p = part_at(x, i);
		bool redacted = p->kind == NEUTRAL_REDACTED;
		struct span bytes = redacted ? p->data : p->signature;
		struct span format = chat_split_format(p->signer, &bytes);

		if (!redacted && p->kind != NEUTRAL_THINKING)
			continue;
		if (index == 0) {
			jsonw_key(w, "reasoning_details");
			jsonw_begin_array(w);
		}
		jsonw_begin_object(w);
		jsonw_put_cstr(w, "type",
			       redacted ? "reasoning.encrypted"
					: "reasoning.text");
		if (!redacted)
			jsonw_put_text(w, "text", p->text);
		neutral_put_optional(w, redacted ? "data" : "signature", bytes);
		neutral_put_optional(w, "id", p->id);
		neutral_put_optional(w, "format", format);
		jsonw_put_u64(w, "index", index++);
		jsonw_end_object(w);
	}
	if (index)
		jsonw_end_array(w);
}

/* Unsigned thoughts, as vLLM and DeepSeek take them; others are signed. */
static enum err put_thoughts(struct chat_writing *x, uint32_t at, uint32_t end)
{
	struct buf text;
	enum err e = ERR_OK;
	uint32_t i;

	buf_init(&text, NEUTRAL_KEPT_BYTES);
	for (i = at; e == ERR_OK && i < end; i++) {
		const struct neutral_part *p = part_at(x, i);

		if (p->kind == NEUTRAL_THINKING && !x->openai &&
		    (!p->signature.len_bytes || p->signer == DIALECT_CHAT))
			e = buf_put_span(&text, p->text);
		else if (p->kind == NEUTRAL_THINKING)
			neutral_drop(x->r, "thinking of earlier turns");
		else if (p->kind == NEUTRAL_REDACTED)
			neutral_drop(x->r, "redacted thinking");
	}
	if (e == ERR_OK && text.len_bytes)
		jsonw_put_text(&x->w, "reasoning_content", buf_span(&text));
	buf_fini(&text);
	return e;
}

static enum err put_assistant(struct chat_writing *x, uint32_t at, uint32_t end)
{
	struct jsonw *w = &x->w;
	bool calls = false, refuses = false;
	enum err e;
	uint32_t i;

	for (i = at; i < end; i++) {
		calls |= part_at(x, i)->kind == NEUTRAL_TOOL_CALL;
		refuses |= part_at(x, i)->kind == NEUTRAL_REFUSAL;
		if (is_media(part_at(x, i)))
			return neutral_refuse(x->r, "an assistant's image",
					      "chat completions take none");
	}
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "role", "assistant");
	e = put_content(x, at, end, is_text,
			calls || (refuses && x->openai) ? NULL : "");
	for (i = at; refuses && x->openai && i < end; i++)
		if (part_at(x, i)->kind == NEUTRAL_REFUSAL) {
			jsonw_put_text(w, "refusal", part_at(x, i)->text);
			break;
		}
	if (e == ERR_OK && x->openrouter)
		put_details(x, at, end);
	else if (e == ERR_OK)
		e = put_thoughts(x, at, end);
	put_calls(x, at, end);
	jsonw_end_object(w);
	return e;
}

/**
 * chat_write_messages() - Write the member "messages"
 * @x:	Request being written, inside its object
 *
 * Return: as chat_write_request().
 */
enum err chat_write_messages(struct chat_writing *x)
{
	const struct neutral_request *r = x->r;
	enum err e = ERR_OK;
	uint32_t i;

	jsonw_key(&x->w, "messages");
	jsonw_begin_array(&x->w);
	for (i = 0; e == ERR_OK && i < r->message_count; i++) {
		uint32_t at = r->messages[i].first_part;
		uint32_t end = at + r->messages[i].part_count;

		if (r->messages[i].role == NEUTRAL_ASSISTANT)
			e = put_assistant(x, at, end);
		else if (r->messages[i].role == NEUTRAL_USER)
			e = put_user(x, at, end);
		else
			e = put_plain(x, "system", at, end);
	}
	jsonw_end_array(&x->w);
	return e;
}
