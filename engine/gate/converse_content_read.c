/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse_content_read.c - content blocks of a Converse request, neutral
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   leaves a block out that carries meaning, or fetches what it names.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30. A block is an object with one
 * member, whose name says what it is. A cache point is a block of its own and
 * becomes a mark on the part before it.
 */
#include "engine/gate/converse.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/neutral_tools.h"

typedef enum err block_reader(struct converse_reading *x, json_ref block,
			      bool nested);

const struct converse_format converse_image_formats[] = {
	{"png", "image/png"},   {"jpeg", "image/jpeg"}, {"gif", "image/gif"},
	{"webp", "image/webp"}, {NULL, NULL},
};

const struct converse_format converse_document_formats[] = {
	{"pdf", "application/pdf"},
	{"csv", "text/csv"},
	{"doc", "application/msword"},
	{"docx", "application/vnd.openxmlformats-officedocument."
		 "wordprocessingml.document"},
	{"xls", "application/vnd.ms-excel"},
	{"xlsx", "application/vnd.openxmlformats-officedocument."
		 "spreadsheetml.sheet"},
	{"html", "text/html"},
	{"txt", "text/plain"},
	{"md", "text/markdown"},
	{NULL, NULL},
};

/** converse_find_format() - A format by its media type; NULL when unknown */
const struct converse_format *
converse_find_format(const struct converse_format *table,
		     struct span media_type)
{
	for (; table->name; table++)
		if (span_is(media_type, table->media_type))
			return table;
	return NULL;
}

/**
 * converse_refuse() - Refuse a block or member by its name
 * @x:		Reading
 * @where:	Path, e.g. "messages[].content[]"
 * @member:	Its name is added
 *
 * Return: ERR_UNSUPPORTED; ERR_FORMAT for a member without a name.
 */
enum err converse_refuse(struct converse_reading *x, const char *where,
			 json_ref member)
{
	char name[64], path[128];
	struct buf key;
	enum err e;

	buf_init(&key, 4096);
	e = json_key(&x->doc, member, &key);
	(void)text_escape_line(buf_span(&key), name, sizeof(name));
	buf_fini(&key);
	if (e != ERR_OK)
		return neutral_malformed(x->r, where, "without a type");
	(void)snprintf(path, sizeof(path), "%s.%s", where, name);
	return neutral_refuse(x->r, path, "cannot be translated");
}

/** converse_read_cache() - What a cachePoint asks for */
enum neutral_cache converse_read_cache(const struct converse_reading *x,
				       json_ref point)
{
	json_ref ttl = json_get(&x->doc, point, "ttl");

	return json_string_is(&x->doc, ttl, "1h") ? NEUTRAL_CACHE_1H
						  : NEUTRAL_CACHE_5M;
}

static enum err add(struct converse_reading *x, const struct neutral_part *p,
		    bool nested)
{
	return nested ? neutral_add_nested(x->r, p) : neutral_add_part(x->r, p);
}

static enum err read_text(struct converse_reading *x, json_ref text,
			  bool nested)
{
	struct neutral_part p = {.kind = NEUTRAL_TEXT};
	enum err e = neutral_keep_string(x->r, &x->doc, text, &p.text);

	if (e == ERR_FORMAT)
		return neutral_malformed(x->r, "text", "not a string");
	return e == ERR_OK ? add(x, &p, nested) : e;
}

/* The format's media type, or a refusal. */
static enum err read_format(struct converse_reading *x, json_ref block,
			    const struct converse_format *table,
			    const char *where, struct span *ret_media_type)
{
	json_ref format = json_get(&x->doc, block, "format");

	for (; table->name; table++)
		if (json_string_is(&x->doc, format, table->name)) {
			*ret_media_type = span_text(table->media_type);
			return ERR_OK;
		}
	return neutral_refuse(x->r, where, "a format that is not known");
}

static enum err read_bytes(struct converse_reading *x, json_ref bytes,
			   const char *where, struct span *ret_data)
{
	enum err e = neutral_keep_string(x->r, &x->doc, bytes, ret_data);

	if (e == ERR_OK && !neutral_is_base64(*ret_data))
		e = ERR_FORMAT;
	return e == ERR_FORMAT ? neutral_malformed(x->r, where, "not base64")
			       : e;
}

static enum err read_image(struct converse_reading *x, json_ref image,
			   bool nested)
{
	struct neutral_part p = {.kind = NEUTRAL_IMAGE};
	json_ref source = json_get(&x->doc, image, "source");
	json_ref bytes = json_get(&x->doc, source, "bytes");
	enum err e = read_format(x, image, converse_image_formats,
				 "image.format", &p.media_type);

	if (e != ERR_OK)
		return e;
	if (bytes == JSON_NONE)
		return converse_refuse(x, "image.source",
				       json_first(&x->doc, source));
	e = read_bytes(x, bytes, "image.source.bytes", &p.data);
	return e == ERR_OK ? add(x, &p, nested) : e;
}

/* A document of text blocks becomes one text. */
static enum err read_text_blocks(struct converse_reading *x, json_ref list,
				 struct span *ret_text)
{
	struct buf all;
	enum err e = ERR_OK;

	buf_init(&all, NEUTRAL_KEPT_BYTES);
	JSON_EACH (&x->doc, block, list) {
		json_ref text = json_get(&x->doc, block, "text");

		if (e == ERR_OK && all.len_bytes)
			e = buf_put_u8(&all, '\n');
		if (e == ERR_OK)
			e = json_string(&x->doc, text, &all);
	}
	if (e == ERR_OK)
		e = neutral_keep(x->r, buf_span(&all), ret_text);
	buf_fini(&all);
	if (e == ERR_OK || e == ERR_MEMORY || e == ERR_LIMIT)
		return e;
	return neutral_malformed(x->r, "document.source.content", "not texts");
}

static enum err read_document(struct converse_reading *x, json_ref document,
			      bool nested)
{
	struct neutral_part p = {.kind = NEUTRAL_DOCUMENT};
	const struct json *j = &x->doc;
	json_ref source = json_get(j, document, "source");
	json_ref bytes = json_get(j, source, "bytes");
	json_ref blocks = json_get(j, source, "content");
	enum err e = neutral_read_string(x->r, j, document, "name", &p.name);

	if (json_get(j, document, "citations") != JSON_NONE)
		neutral_drop(x->r, "document.citations");
	if (json_get(j, document, "context") != JSON_NONE)
		neutral_drop(x->r, "document.context");
	if (e == ERR_OK && bytes != JSON_NONE) {
		e = read_format(x, document, converse_document_formats,
				"document.format", &p.media_type);
		if (e == ERR_OK)
			e = read_bytes(x, bytes, "document.source.bytes",
				       &p.data);
	} else if (e == ERR_OK && blocks != JSON_NONE) {
		e = read_text_blocks(x, blocks, &p.text);
	} else if (e == ERR_OK && json_get(j, source, "text") != JSON_NONE) {
		e = neutral_read_string(x->r, j, source, "text", &p.text);
	} else if (e == ERR_OK) {
		e = converse_refuse(x, "document.source",
				    json_first(j, source));
	}
	return e == ERR_OK ? add(x, &p, nested) : e;
}

static enum err read_call(struct converse_reading *x, json_ref call,
			  bool nested)
{
	struct neutral_part p = {.kind = NEUTRAL_TOOL_CALL};
	const struct json *j = &x->doc;
	json_ref input = json_get(j, call, "input");
	enum err e;

	if (nested)
		return neutral_malformed(x->r, "toolResult.content[]",
					 "a call inside a result");
	if (json_get(j, call, "type") != JSON_NONE)
		return neutral_refuse(x->r, "toolUse.type",
				      "a call that the provider makes");
	e = neutral_read_string(x->r, j, call, "toolUseId", &p.id);
	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, call, "name", &p.name);
	if (e != ERR_OK)
		return e;
	if (!p.id.data || !p.name.len_bytes)
		return neutral_malformed(x->r, "toolUse",
					 "without an id and a name");
	if (!json_is(j, input, JSON_OBJECT))
		return neutral_malformed(x->r, "toolUse.input",
					 "not an object");
	p.json = json_raw(j, input);
	return add(x, &p, false);
}

static enum err read_blocks(struct converse_reading *x, json_ref content,
			    bool nested);

static enum err read_result(struct converse_reading *x, json_ref result,
			    bool nested)
{
	struct neutral_part p = {.kind = NEUTRAL_TOOL_RESULT};
	const struct json *j = &x->doc;
	json_ref content = json_get(j, result, "content");
	enum err e;

	if (nested)
		return neutral_malformed(x->r, "toolResult.content[]",
					 "a result inside a result");
	p.is_error = json_string_is(j, json_get(j, result, "status"), "error");
	e = neutral_read_string(x->r, j, result, "toolUseId", &p.id);
	if (e == ERR_OK && !p.id.data)
		e = neutral_malformed(x->r, "toolResult", "without an id");
	if (e == ERR_OK)
		e = add(x, &p, false);
	if (e == ERR_OK && !neutral_is_absent(j, content))
		e = read_blocks(x, content, true);
	return e;
}

/* A result's JSON is its text. */
static enum err read_json(struct converse_reading *x, json_ref value,
			  bool nested)
{
	const struct neutral_part p = {.kind = NEUTRAL_TEXT,
				       .text = json_raw(&x->doc, value)};

	if (!nested)
		return neutral_malformed(x->r, "content[].json",
					 "outside of a result");
	return add(x, &p, true);
}

static enum err read_reasoning(struct converse_reading *x, json_ref reasoning,
			       bool nested)
{
	const struct json *j = &x->doc;
	json_ref text = json_get(j, reasoning, "reasoningText");
	json_ref redacted = json_get(j, reasoning, "redactedContent");
	struct neutral_part p = {.kind = NEUTRAL_THINKING};
	struct span base64;
	struct buf data;
	enum err e;

	if (nested)
		return neutral_malformed(x->r, "toolResult.content[]",
					 "reasoning inside a result");
	if (json_is(j, text, JSON_OBJECT)) {
		p.text = span_text("");
		e = neutral_read_string(x->r, j, text, "text", &p.text);
		if (e == ERR_OK)
			e = neutral_read_string(x->r, j, text, "signature",
						&p.signature);
		p.signer =
			neutral_split_signature(DIALECT_CONVERSE, &p.signature);
		return e == ERR_OK ? add(x, &p, false) : e;
	}
	e = neutral_keep_string(x->r, j, redacted, &base64);
	if (e != ERR_OK)
		return e == ERR_FORMAT
			       ? neutral_malformed(x->r, "reasoningContent",
						   "without a text")
			       : e;
	buf_init(&data, NEUTRAL_KEPT_BYTES);
	e = converse_get_redacted(base64, &data);
	if (e == ERR_OK)
		e = neutral_keep(x->r, buf_span(&data), &p.data);
	buf_fini(&data);
	if (e == ERR_FORMAT)
		return neutral_malformed(x->r,
					 "reasoningContent.redactedContent",
					 "not base64");
	p.kind = NEUTRAL_REDACTED;
	p.signer = neutral_split_signature(DIALECT_CONVERSE, &p.data);
	return e == ERR_OK ? add(x, &p, false) : e;
}

/* Without a guardrail it is content like any other. */
static enum err read_guarded(struct converse_reading *x, json_ref guarded,
			     bool nested)
{
	const struct json *j = &x->doc;
	json_ref text = json_get(j, guarded, "text");

	neutral_drop(x->r, "guardContent");
	if (json_is(j, text, JSON_OBJECT))
		return read_text(x, json_get(j, text, "text"), nested);
	return read_image(x, json_get(j, guarded, "image"), nested);
}

static enum err read_cited(struct converse_reading *x, json_ref cited,
			   bool nested)
{
	json_ref content = json_get(&x->doc, cited, "content");

	neutral_drop(x->r, "citationsContent.citations");
	return read_blocks(x, content, nested);
}

static enum err read_cache_point(struct converse_reading *x, json_ref point,
				 bool nested)
{
	struct neutral_request *r = x->r;
	uint32_t first = r->messages[r->message_count - 1].first_part, at;

	/* The part before it that is not inside another one. */
	for (at = r->part_count; !nested && at > first; at--) {
		struct neutral_part *p = &r->parts[at - 1];

		if (at + p->nested != r->part_count)
			continue;
		p->cache = converse_read_cache(x, point);
		return ERR_OK;
	}
	neutral_drop(r, "cachePoint");
	return ERR_OK;
}

static const struct {
	const char *name;
	block_reader *read;
} block_table[] = {
	{"text", read_text},
	{"toolUse", read_call},
	{"toolResult", read_result},
	{"image", read_image},
	{"document", read_document},
	{"json", read_json},
	{"reasoningContent", read_reasoning},
	{"cachePoint", read_cache_point},
	{"guardContent", read_guarded},
	{"citationsContent", read_cited},
};

static enum err read_block(struct converse_reading *x, json_ref block,
			   bool nested)
{
	const struct json *j = &x->doc;
	json_ref first = json_first(j, block);
	size_t i;

	if (!json_is(j, block, JSON_OBJECT) || json_count(j, block) != 1)
		return neutral_malformed(x->r, "content[]",
					 "not an object with one member");
	for (i = 0; i < ARRAY_SIZE(block_table); i++)
		if (json_key_is(j, first, block_table[i].name))
			return block_table[i].read(x, first, nested);
	return converse_refuse(x, "content[]", first);
}

static enum err read_blocks(struct converse_reading *x, json_ref content,
			    bool nested)
{
	enum err e;

	if (!json_is(&x->doc, content, JSON_ARRAY))
		return neutral_malformed(x->r, "content", "not a list");
	JSON_EACH (&x->doc, block, content) {
		e = read_block(x, block, nested);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/**
 * converse_read_content() - Append a message's blocks
 * @x:		Reading, its last message new
 * @content:	Array of blocks
 *
 * Return: ERR_OK; ERR_FORMAT, ERR_UNSUPPORTED (error_text); ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err converse_read_content(struct converse_reading *x, json_ref content)
{
	return read_blocks(x, content, false);
}

/**
 * converse_read_system() - Append the system prompt, if there is one
 * @x:		Reading without messages
 * @system:	Array of blocks, or JSON_NONE
 *
 * Return: as converse_read_content().
 */
enum err converse_read_system(struct converse_reading *x, json_ref system)
{
	enum err e;

	if (neutral_is_absent(&x->doc, system) ||
	    (json_is(&x->doc, system, JSON_ARRAY) &&
	     json_count(&x->doc, system) == 0))
		return ERR_OK;
	e = neutral_add_message(x->r, NEUTRAL_SYSTEM);
	return e == ERR_OK ? read_blocks(x, system, false) : e;
}
