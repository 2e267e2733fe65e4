/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_content.c - the blocks of an Anthropic request, read
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a request.
 * Never:   leaves a block out: what has no neutral form is refused.
 *
 * Anthropic Messages, version 2023-06-01.
 */
#include "engine/gate/anthropic_content.h"

#include <stdio.h>

#include "engine/base/text.h"
#include "engine/gate/anthropic_tools.h"
#include "engine/gate/neutral_tools.h"
#include "engine/proto/limits.h"

#define SEARCH_TEXT_MAX_BYTES (1u << 20)

/**
 * anthropic_refuse_named() - Refuse what cannot be translated
 * @q:		Request under way
 * @before:	Static text in front of the name
 * @name:	String; shown escaped
 * @why:	Sentence fragment
 *
 * Return: ERR_UNSUPPORTED, for the caller to return.
 */
enum err anthropic_refuse_named(struct anthropic_request *q, const char *before,
				json_ref name, const char *why)
{
	char text[64] = "?", field[128];
	struct buf b;

	buf_init(&b, 65536);
	if (json_string(&q->doc, name, &b) == ERR_OK)
		(void)text_escape_line(buf_span(&b), text, sizeof(text));
	buf_fini(&b);
	(void)snprintf(field, sizeof(field), "%s%s", before, text);
	return neutral_refuse(q->r, field, why);
}

/**
 * anthropic_drop_others() - Note the members that no translation has
 * @q:		Request under way
 * @object:	Any value
 * @where:	Static text in front of a member's key
 * @known:	Keys that are read, NULL-ended
 */
void anthropic_drop_others(struct anthropic_request *q, json_ref object,
			   const char *where, const char *const *known)
{
	char key[48], field[64];
	struct buf b;
	size_t i;

	buf_init(&b, BODY_MAX_BYTES);
	JSON_EACH (&q->doc, at, object) {
		for (i = 0; known[i]; i++)
			if (json_key_is(&q->doc, at, known[i]))
				break;
		if (known[i] || json_is(&q->doc, at, JSON_NULL))
			continue;
		buf_reset(&b);
		if (json_key(&q->doc, at, &b) != ERR_OK)
			continue;
		(void)text_escape_line(buf_span(&b), key, sizeof(key));
		(void)snprintf(field, sizeof(field), "%.15s%s", where, key);
		neutral_drop(q->r, field);
	}
	buf_fini(&b);
}

/**
 * anthropic_read_cache() - Read where the prompt is cached up to
 * @q:		Request under way
 * @object:	Block or tool
 * @ret_cache:	Unchanged without cache_control
 *
 * Return: ERR_OK; ERR_FORMAT.
 */
enum err anthropic_read_cache(struct anthropic_request *q, json_ref object,
			      enum neutral_cache *ret_cache)
{
	json_ref at = json_get(&q->doc, object, "cache_control");

	if (neutral_is_absent(&q->doc, at))
		return ERR_OK;
	if (!json_string_is(&q->doc, json_get(&q->doc, at, "type"),
			    "ephemeral"))
		return neutral_malformed(q->r, "cache_control",
					 "not of type ephemeral");
	*ret_cache = json_string_is(&q->doc, json_get(&q->doc, at, "ttl"), "1h")
			     ? NEUTRAL_CACHE_1H
			     : NEUTRAL_CACHE_5M;
	return ERR_OK;
}

static enum err add(struct anthropic_request *q,
		    const struct neutral_part *part, bool nested)
{
	enum err e = nested ? neutral_add_nested(q->r, part)
			    : neutral_add_part(q->r, part);

	return e == ERR_LIMIT
		       ? neutral_malformed(q->r, "messages", "too many blocks")
		       : e;
}

static enum err read_text(struct anthropic_request *q, json_ref block,
			  bool nested)
{
	static const char *const known[] = {"type", "text", "cache_control",
					    "citations", NULL};
	struct neutral_part part = {.kind = NEUTRAL_TEXT};
	enum err e =
		neutral_read_string(q->r, &q->doc, block, "text", &part.text);

	if (e == ERR_OK && !part.text.data)
		e = neutral_malformed(q->r, "text", "missing");
	if (e == ERR_OK)
		e = anthropic_read_cache(q, block, &part.cache);
	/* Marks in an earlier answer; its text is whole without them. */
	if (json_count(&q->doc, json_get(&q->doc, block, "citations")))
		neutral_drop(q->r, "citations");
	anthropic_drop_others(q, block, "text.", known);
	return e == ERR_OK ? add(q, &part, nested) : e;
}

/* The texts of a list of text blocks, one after the other. */
static enum err join_texts(struct anthropic_request *q, json_ref list,
			   const char *field, struct buf *out)
{
	enum err e = ERR_OK;

	if (json_is(&q->doc, list, JSON_STRING))
		return json_string(&q->doc, list, out);
	JSON_EACH (&q->doc, block, list) {
		json_ref text = json_get(&q->doc, block, "text");

		if (!json_string_is(&q->doc, json_get(&q->doc, block, "type"),
				    "text") ||
		    !json_is(&q->doc, text, JSON_STRING))
			return neutral_refuse(q->r, field,
					      "only texts can be translated");
		if (out->len_bytes)
			e = buf_put_text(out, "\n");
		if (e == ERR_OK)
			e = json_string(&q->doc, text, out);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err read_joined(struct anthropic_request *q, json_ref list,
			    const char *field, struct span *ret_text)
{
	struct buf b;
	enum err e;

	buf_init(&b, NEUTRAL_KEPT_BYTES);
	e = join_texts(q, list, field, &b);
	if (e == ERR_OK)
		e = neutral_keep(q->r, buf_span(&b), ret_text);
	buf_fini(&b);
	return e;
}

/* Where an image's or a document's content is. */
static enum err read_source(struct anthropic_request *q, json_ref block,
			    struct neutral_part *part)
{
	const struct json *j = &q->doc;
	json_ref source = json_get(j, block, "source");
	json_ref type = json_get(j, source, "type");
	bool document = part->kind == NEUTRAL_DOCUMENT;
	enum err e = neutral_read_string(q->r, j, source, "media_type",
					 &part->media_type);

	if (e != ERR_OK)
		return e;
	if (json_string_is(j, type, "base64")) {
		e = neutral_read_string(q->r, j, source, "data", &part->data);
		if (e == ERR_OK &&
		    (!part->media_type.data || !neutral_is_base64(part->data)))
			e = neutral_malformed(q->r, "source",
					      "no media_type, or no base64");
		return e;
	}
	if (json_string_is(j, type, "url")) {
		e = neutral_read_string(q->r, j, source, "url", &part->url);
		return e == ERR_OK && !part->url.len_bytes
			       ? neutral_malformed(q->r, "source.url",
						   "missing")
			       : e;
	}
	if (document && json_string_is(j, type, "text")) {
		e = neutral_read_string(q->r, j, source, "data", &part->text);
		return e == ERR_OK && !part->text.data
			       ? neutral_malformed(q->r, "source.data",
						   "missing")
			       : e;
	}
	if (document && json_string_is(j, type, "content"))
		return read_joined(q, json_get(j, source, "content"),
				   "document.source.content", &part->text);
	return anthropic_refuse_named(
		q, "source.type: ", type,
		"cannot be translated; only this provider has it");
}

static enum err read_image(struct anthropic_request *q, json_ref block,
			   bool nested)
{
	static const char *const known[] = {"type", "source", "cache_control",
					    NULL};
	struct neutral_part part = {.kind = NEUTRAL_IMAGE};
	enum err e = read_source(q, block, &part);

	if (e == ERR_OK)
		e = anthropic_read_cache(q, block, &part.cache);
	anthropic_drop_others(q, block, "image.", known);
	return e == ERR_OK ? add(q, &part, nested) : e;
}

static enum err read_document(struct anthropic_request *q, json_ref block,
			      bool nested)
{
	static const char *const known[] = {"type",
					    "source",
					    "title",
					    "context",
					    "citations",
					    "cache_"
					    "control",
					    NULL};
	struct neutral_part part = {.kind = NEUTRAL_DOCUMENT};
	struct neutral_part context = {.kind = NEUTRAL_TEXT};
	enum err e = read_source(q, block, &part);

	if (e == ERR_OK)
		e = neutral_read_string(q->r, &q->doc, block, "title",
					&part.name);
	/* The model reads it too: it goes in front. */
	if (e == ERR_OK)
		e = neutral_read_string(q->r, &q->doc, block, "context",
					&context.text);
	if (e == ERR_OK && context.text.len_bytes)
		e = add(q, &context, nested);
	if (e == ERR_OK)
		e = anthropic_read_cache(q, block, &part.cache);
	if (json_count(&q->doc, json_get(&q->doc, block, "citations")))
		neutral_drop(q->r, "citations");
	anthropic_drop_others(q, block, "document.", known);
	return e == ERR_OK ? add(q, &part, nested) : e;
}

/* A passage that the client found, for the model to cite. */
static enum err read_search_result(struct anthropic_request *q, json_ref block,
				   bool nested)
{
	struct neutral_part part = {.kind = NEUTRAL_TEXT};
	const struct json *j = &q->doc;
	struct buf b;
	enum err e;

	buf_init(&b, SEARCH_TEXT_MAX_BYTES);
	e = json_string(j, json_get(j, block, "title"), &b);
	if (e == ERR_OK)
		e = buf_put_text(&b, "\n");
	if (e == ERR_OK)
		e = json_string(j, json_get(j, block, "source"), &b);
	if (e == ERR_OK)
		e = join_texts(q, json_get(j, block, "content"),
			       "search_result.content", &b);
	else if (e == ERR_FORMAT || e == ERR_NOT_FOUND)
		e = neutral_malformed(q->r, "search_result",
				      "without title and source");
	if (e == ERR_OK)
		e = neutral_keep(q->r, buf_span(&b), &part.text);
	buf_fini(&b);
	if (e == ERR_OK)
		e = anthropic_read_cache(q, block, &part.cache);
	neutral_drop(q->r, "citations");
	return e == ERR_OK ? add(q, &part, nested) : e;
}

static enum err read_call(struct anthropic_request *q, json_ref block,
			  bool nested)
{
	static const char *const known[] = {"type",
					    "id",
					    "name",
					    "input",
					    "caller",
					    "cache_"
					    "control",
					    NULL};
	struct neutral_part part = {.kind = NEUTRAL_TOOL_CALL};
	const struct json *j = &q->doc;
	json_ref input = json_get(j, block, "input");
	json_ref caller = json_find(j, block, "caller.type");
	enum err e = neutral_read_string(q->r, j, block, "id", &part.id);

	if (e == ERR_OK)
		e = neutral_read_string(q->r, j, block, "name", &part.name);
	if (e != ERR_OK)
		return e;
	if (!part.id.len_bytes || !part.name.len_bytes ||
	    !json_is(j, input, JSON_OBJECT))
		return neutral_malformed(q->r, "tool_use",
					 "without id, name and input");
	if (caller != JSON_NONE && !json_string_is(j, caller, "direct"))
		return neutral_refuse(q->r, "tool_use.caller",
				      "code of the provider made this call");
	part.json = json_raw(j, input);
	e = anthropic_read_cache(q, block, &part.cache);
	anthropic_drop_others(q, block, "tool_use.", known);
	return e == ERR_OK ? add(q, &part, nested) : e;
}

static enum err read_thinking(struct anthropic_request *q, json_ref block,
			      bool nested)
{
	struct neutral_part part = {.kind = NEUTRAL_THINKING};
	enum err e = neutral_read_string(q->r, &q->doc, block, "thinking",
					 &part.text);

	if (e == ERR_OK)
		e = neutral_read_string(q->r, &q->doc, block, "signature",
					&part.signature);
	if (e == ERR_OK && !part.text.data)
		e = neutral_malformed(q->r, "thinking", "missing");
	part.signer =
		neutral_split_signature(DIALECT_ANTHROPIC, &part.signature);
	return e == ERR_OK ? add(q, &part, nested) : e;
}

static enum err read_redacted(struct anthropic_request *q, json_ref block,
			      bool nested)
{
	struct neutral_part part = {.kind = NEUTRAL_REDACTED};
	enum err e =
		neutral_read_string(q->r, &q->doc, block, "data", &part.data);

	if (e == ERR_OK && !part.data.len_bytes)
		e = neutral_malformed(q->r, "redacted_thinking.data",
				      "missing");
	part.signer = neutral_split_signature(DIALECT_ANTHROPIC, &part.data);
	return e == ERR_OK ? add(q, &part, nested) : e;
}

static enum err read_result(struct anthropic_request *q, json_ref block,
			    bool nested);

static const struct {
	const char *type;
	enum err (*read)(struct anthropic_request *q, json_ref block,
			 bool nested);
	bool in_result, in_system;
} block_table[] = {
	{"text", read_text, true, true},
	{"image", read_image, true, false},
	{"document", read_document, true, false},
	{"search_result", read_search_result, true, false},
	{"tool_use", read_call, false, false},
	{"tool_result", read_result, false, false},
	{"thinking", read_thinking, false, false},
	{"redacted_thinking", read_redacted, false, false},
	{"tool_reference", anthropic_read_reference, true, false},
	{"tool_addition", anthropic_read_addition, false, true},
	{"tool_removal", anthropic_read_removal, false, true},
};

static enum err read_block(struct anthropic_request *q, json_ref block,
			   bool nested, bool system)
{
	json_ref type = json_get(&q->doc, block, "type");
	size_t i;

	if (!json_is(&q->doc, type, JSON_STRING))
		return neutral_malformed(q->r, "content",
					 "a block without a type");
	for (i = 0; i < ARRAY_SIZE(block_table); i++)
		if (json_string_is(&q->doc, type, block_table[i].type))
			break;
	if (i == ARRAY_SIZE(block_table) ||
	    (nested && !block_table[i].in_result) ||
	    (system && !block_table[i].in_system))
		return anthropic_refuse_named(q, "content block ", type,
					      "cannot be translated");
	return block_table[i].read(q, block, nested);
}

/**
 * anthropic_read_content() - Read a string or a list of blocks
 * @q:		Request with a message
 * @content:	Any value
 * @nested:	It is a tool result's
 * @system:	It is the system's: texts only
 *
 * Return: ERR_OK; ERR_UNSUPPORTED; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err anthropic_read_content(struct anthropic_request *q, json_ref content,
				bool nested, bool system)
{
	struct neutral_part part = {.kind = NEUTRAL_TEXT};
	enum err e = ERR_OK;

	if (json_is(&q->doc, content, JSON_STRING)) {
		e = neutral_keep_string(q->r, &q->doc, content, &part.text);
		return e == ERR_OK ? add(q, &part, nested) : e;
	}
	if (!json_is(&q->doc, content, JSON_ARRAY))
		return neutral_malformed(q->r, "content",
					 "neither a text nor a list");
	JSON_EACH (&q->doc, block, content) {
		e = read_block(q, block, nested, system);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err read_result(struct anthropic_request *q, json_ref block,
			    bool nested)
{
	static const char *const known[] = {"type",          "tool_use_id",
					    "content",       "is_error",
					    "cache_control", NULL};
	struct neutral_part part = {.kind = NEUTRAL_TOOL_RESULT};
	json_ref content = json_get(&q->doc, block, "content");
	enum err e = neutral_read_string(q->r, &q->doc, block, "tool_use_id",
					 &part.id);

	if (e == ERR_OK && !part.id.len_bytes)
		e = neutral_malformed(q->r, "tool_result.tool_use_id",
				      "missing");
	if (e == ERR_OK)
		e = neutral_read_bool(q->r, &q->doc, block, "is_error",
				      &part.is_error);
	if (e == ERR_OK)
		e = anthropic_read_cache(q, block, &part.cache);
	if (e == ERR_OK)
		e = add(q, &part, nested);
	if (e == ERR_OK && !neutral_is_absent(&q->doc, content))
		e = anthropic_read_content(q, content, true, false);
	anthropic_drop_others(q, block, "tool_result.", known);
	return e;
}
