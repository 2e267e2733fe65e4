/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse_content_write.c - messages as Converse wants them
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the guest wrote what is in the parts.
 * Never:   sends a part that Bedrock refuses, when it can be named before.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30: roles alternate, so messages of
 * one role that follow each other are joined (results of parallel calls among
 * them); a blank text is refused there and carries nothing, so it is left
 * out; the names of documents are of few characters and differ.
 */
#include "engine/gate/converse.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/neutral_tools.h"

static bool is_blank(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if (!memchr(" \t\r\n\v\f", s.data[i], 6))
			return false;
	return true;
}

/* Whether anything is written for a part. */
static bool counts(const struct neutral_part *p)
{
	switch (p->kind) {
	case NEUTRAL_TEXT:
	case NEUTRAL_REFUSAL:
		return !is_blank(p->text);
	case NEUTRAL_THINKING:
	case NEUTRAL_REDACTED:
		return neutral_understands(DIALECT_CONVERSE, p->signer);
	case NEUTRAL_IMAGE:
	case NEUTRAL_DOCUMENT:
	case NEUTRAL_TOOL_CALL:
	case NEUTRAL_TOOL_RESULT:
		break;
	}
	return true;
}

/** converse_has_tool_parts() - Whether the history has calls or results */
bool converse_has_tool_parts(const struct neutral_request *r)
{
	uint32_t i;

	for (i = 0; i < r->part_count; i++)
		if (r->parts[i].kind == NEUTRAL_TOOL_CALL ||
		    r->parts[i].kind == NEUTRAL_TOOL_RESULT)
			return true;
	return false;
}

/**
 * converse_put_cache_point() - Write what caches the prompt up to here
 * @x:		Writing, where a block belongs
 * @cache:	Nothing is written for NEUTRAL_CACHE_NONE, for models that
 *		refuse the block, and past the number that is allowed
 */
void converse_put_cache_point(struct converse_writing *x,
			      enum neutral_cache cache)
{
	if (cache == NEUTRAL_CACHE_NONE)
		return;
	if ((!x->claude && !x->nova) ||
	    x->cache_points == CONVERSE_CACHE_POINTS) {
		neutral_drop(x->r, "cache_control");
		return;
	}
	x->cache_points++;
	jsonw_begin_object(&x->w);
	jsonw_key(&x->w, "cachePoint");
	jsonw_begin_object(&x->w);
	jsonw_put_cstr(&x->w, "type", "default");
	if (cache == NEUTRAL_CACHE_1H && x->claude)
		jsonw_put_cstr(&x->w, "ttl", "1h");
	jsonw_end_object(&x->w);
	jsonw_end_object(&x->w);
}

static void put_source(struct converse_writing *x, struct span base64)
{
	jsonw_key(&x->w, "source");
	jsonw_begin_object(&x->w);
	jsonw_put_text(&x->w, "bytes", base64);
	jsonw_end_object(&x->w);
}

static enum err put_image(struct converse_writing *x,
			  const struct neutral_part *p)
{
	const struct converse_format *f =
		converse_find_format(converse_image_formats, p->media_type);

	if (!p->data.data)
		return neutral_refuse(x->r, "image",
				      "Bedrock fetches no image from a URL");
	if (!f)
		return neutral_refuse(x->r, "image",
				      "Bedrock takes png, jpeg, gif and webp");
	if (p->data.len_bytes / 4 * 3 > CONVERSE_IMAGE_MAX_BYTES + 2)
		return neutral_refuse(x->r, "image", "larger than 3.75 MB");
	if (++x->images > CONVERSE_IMAGES_MAX)
		return neutral_refuse(x->r, "image", "more than 20 images");
	jsonw_key(&x->w, "image");
	jsonw_begin_object(&x->w);
	jsonw_put_cstr(&x->w, "format", f->name);
	put_source(x, p->data);
	jsonw_end_object(&x->w);
	return ERR_OK;
}

static bool is_name_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("-()[]", c));
}

/* Letters, digits, single spaces, "-()[]"; made to differ by a number. */
static void put_document_name(struct converse_writing *x, struct span name)
{
	char clean[CONVERSE_DOCUMENT_NAME + 1];
	size_t i, len = 0;

	for (i = 0; i < name.len_bytes && len < sizeof(clean) - 12; i++) {
		uint8_t c = name.data[i];

		if (is_name_char(c))
			clean[len++] = (char)c;
		else if (len && clean[len - 1] != ' ')
			clean[len++] = ' ';
	}
	while (len && clean[len - 1] == ' ')
		len--;
	clean[len] = '\0';
	if (len == 0)
		text_append(clean, sizeof(clean), "document");
	if (x->documents++)
		text_append(clean, sizeof(clean), " %u", x->documents);
	jsonw_put_cstr(&x->w, "name", clean);
}

static enum err put_document_text(struct converse_writing *x, struct span text)
{
	struct buf base64;
	enum err e;

	buf_init(&base64, CONVERSE_BODY_MAX_BYTES);
	e = text_base64(text, &base64);
	if (e == ERR_OK)
		put_source(x, buf_span(&base64));
	buf_fini(&base64);
	return e;
}

static enum err put_document(struct converse_writing *x,
			     const struct neutral_part *p)
{
	const struct converse_format *f =
		converse_find_format(converse_document_formats, p->media_type);
	enum err e = ERR_OK;

	if (!p->data.data && !p->text.data)
		return neutral_refuse(x->r, "document",
				      "Bedrock fetches no document from a URL");
	if (p->data.data && !f)
		return neutral_refuse(x->r, "document",
				      "a type that Bedrock does not take");
	jsonw_key(&x->w, "document");
	jsonw_begin_object(&x->w);
	jsonw_put_cstr(&x->w, "format", f ? f->name : "txt");
	put_document_name(x, p->name);
	if (p->data.data)
		put_source(x, p->data);
	else
		e = put_document_text(x, p->text);
	jsonw_end_object(&x->w);
	return e;
}

static void put_call(struct converse_writing *x, const struct neutral_part *p)
{
	jsonw_key(&x->w, "toolUse");
	jsonw_begin_object(&x->w);
	jsonw_put_text(&x->w, "toolUseId", p->id);
	jsonw_put_text(&x->w, "name", p->name);
	jsonw_key(&x->w, "input");
	jsonw_raw(&x->w, p->json.len_bytes ? p->json : span_text("{}"));
	jsonw_end_object(&x->w);
}

static enum err put_reasoning(struct converse_writing *x,
			      const struct neutral_part *p)
{
	struct buf base64;
	enum err e = ERR_OK;

	jsonw_key(&x->w, "reasoningContent");
	jsonw_begin_object(&x->w);
	if (p->kind == NEUTRAL_THINKING) {
		jsonw_key(&x->w, "reasoningText");
		jsonw_begin_object(&x->w);
		jsonw_put_text(&x->w, "text", p->text);
		neutral_put_optional(&x->w, "signature", p->signature);
		jsonw_end_object(&x->w);
	} else {
		buf_init(&base64, CONVERSE_BODY_MAX_BYTES);
		e = converse_put_redacted(&base64, p->data);
		jsonw_put_text(&x->w, "redactedContent", buf_span(&base64));
		buf_fini(&base64);
	}
	jsonw_end_object(&x->w);
	return e;
}

static enum err put_block(struct converse_writing *x,
			  const struct neutral_part *p);

static enum err put_result(struct converse_writing *x,
			   const struct neutral_part *p)
{
	enum err e = ERR_OK;
	uint32_t i;

	jsonw_key(&x->w, "toolResult");
	jsonw_begin_object(&x->w);
	jsonw_put_text(&x->w, "toolUseId", p->id);
	jsonw_key(&x->w, "content");
	jsonw_begin_array(&x->w);
	for (i = 1; e == ERR_OK && i <= p->nested; i++)
		if (counts(&p[i]))
			e = put_block(x, &p[i]);
	jsonw_end_array(&x->w);
	if (p->is_error)
		jsonw_put_cstr(&x->w, "status", "error");
	jsonw_end_object(&x->w);
	return e;
}

static enum err put_block(struct converse_writing *x,
			  const struct neutral_part *p)
{
	enum err e = ERR_OK;

	jsonw_begin_object(&x->w);
	switch (p->kind) {
	case NEUTRAL_TEXT:
	case NEUTRAL_REFUSAL:
		jsonw_put_text(&x->w, "text", p->text);
		break;
	case NEUTRAL_IMAGE:
		e = put_image(x, p);
		break;
	case NEUTRAL_DOCUMENT:
		e = put_document(x, p);
		break;
	case NEUTRAL_TOOL_CALL:
		put_call(x, p);
		break;
	case NEUTRAL_TOOL_RESULT:
		e = put_result(x, p);
		break;
	case NEUTRAL_THINKING:
	case NEUTRAL_REDACTED:
		e = put_reasoning(x, p);
		break;
	}
	jsonw_end_object(&x->w);
	return e == ERR_OK ? x->w.status : e;
}

static const struct neutral_part *parts_of(const struct converse_writing *x,
					   const struct neutral_message *m)
{
	return m->part_count ? &x->r->parts[m->first_part] : NULL;
}

/* A message's parts: its tool results, or all others. */
static enum err put_parts(struct converse_writing *x,
			  const struct neutral_message *m, bool results)
{
	const struct neutral_part *p = parts_of(x, m);
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < m->part_count; i += 1 + p[i].nested) {
		if ((p[i].kind == NEUTRAL_TOOL_RESULT) != results)
			continue;
		if (counts(&p[i]))
			e = put_block(x, &p[i]);
		else if (p[i].kind == NEUTRAL_THINKING ||
			 p[i].kind == NEUTRAL_REDACTED)
			neutral_drop(x->r, "thinking");
		if (e == ERR_OK && counts(&p[i]))
			converse_put_cache_point(x, p[i].cache);
	}
	return e;
}

static bool is_empty(const struct converse_writing *x,
		     const struct neutral_message *m)
{
	uint32_t end = m->first_part + m->part_count, i;

	for (i = m->first_part; i < end; i += 1 + x->r->parts[i].nested)
		if (counts(&x->r->parts[i]))
			return false;
	return true;
}

/* Messages @from to @to, of which those of one role are one. */
static enum err put_run(struct converse_writing *x, uint32_t from, uint32_t to)
{
	const struct neutral_message *m = x->r->messages;
	enum neutral_role role = m[from].role;
	enum err e = ERR_OK;
	uint32_t i;
	int pass;

	jsonw_begin_object(&x->w);
	jsonw_put_cstr(&x->w, "role",
		       role == NEUTRAL_USER ? "user" : "assistant");
	jsonw_key(&x->w, "content");
	jsonw_begin_array(&x->w);
	/* The models want results in front of what else there is. */
	for (pass = 0; pass < 2; pass++)
		for (i = from; e == ERR_OK && i < to; i++)
			if (m[i].role == role)
				e = put_parts(x, &m[i], pass == 0);
	jsonw_end_array(&x->w);
	jsonw_end_object(&x->w);
	return e;
}

/**
 * converse_write_messages() - Write the array of messages
 * @x:	Writing, where a value belongs
 *
 * Return: ERR_OK; ERR_UNSUPPORTED (error_text); ERR_FORMAT; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err converse_write_messages(struct converse_writing *x)
{
	const struct neutral_message *m = x->r->messages;
	uint32_t from, to, count = x->r->message_count;
	enum err e = ERR_OK;

	jsonw_begin_array(&x->w);
	for (from = 0; e == ERR_OK && from < count; from = to) {
		enum neutral_role role = m[from].role;

		to = from + 1;
		if (role == NEUTRAL_SYSTEM)
			continue;
		if (is_empty(x, &m[from])) {
			/* For the notes of what is left out. */
			e = put_parts(x, &m[from], false);
			continue;
		}
		while (to < count &&
		       (m[to].role == role || m[to].role == NEUTRAL_SYSTEM ||
			is_empty(x, &m[to])))
			to++;
		e = put_run(x, from, to);
	}
	jsonw_end_array(&x->w);
	return e;
}

static enum err put_system_parts(struct converse_writing *x,
				 const struct neutral_message *m)
{
	const struct neutral_part *p = parts_of(x, m);
	uint32_t i;

	for (i = 0; i < m->part_count; i += 1 + p[i].nested) {
		if (p[i].kind != NEUTRAL_TEXT)
			return neutral_refuse(x->r, "system",
					      "Bedrock takes texts only");
		if (!counts(&p[i]))
			continue;
		jsonw_begin_object(&x->w);
		jsonw_put_text(&x->w, "text", p[i].text);
		jsonw_end_object(&x->w);
		converse_put_cache_point(x, p[i].cache);
	}
	return x->w.status;
}

/**
 * converse_write_system() - Write the member "system", if there is a prompt
 * @x:	Writing, inside the request's object
 *
 * System messages in mid-conversation have no place of their own there.
 *
 * Return: as converse_write_messages().
 */
enum err converse_write_system(struct converse_writing *x)
{
	bool begun = false, talked = false;
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < x->r->message_count; i++) {
		const struct neutral_message *m = &x->r->messages[i];

		talked |= m->role != NEUTRAL_SYSTEM;
		if (m->role != NEUTRAL_SYSTEM || is_empty(x, m))
			continue;
		if (talked)
			neutral_drop(x->r, "a system message's place");
		if (!begun) {
			jsonw_key(&x->w, "system");
			jsonw_begin_array(&x->w);
			begun = true;
		}
		e = put_system_parts(x, m);
	}
	if (begun)
		jsonw_end_array(&x->w);
	return e;
}
