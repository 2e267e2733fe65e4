/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_message_read.c - the messages of a chat completions request
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   takes a part for another one.
 *
 * Results of one turn (messages of role tool) become one message of the user.
 * Thinking comes back as OpenRouter's reasoning_details, with signatures, or
 * as a plain reasoning_content or reasoning.
 */
#include "engine/gate/chat_reading.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/chat.h"
#include "engine/gate/neutral_tools.h"

/** chat_is_set() - Whether a value is there and not null */
bool chat_is_set(const struct chat_reading *x, json_ref at)
{
	return !neutral_is_absent(&x->doc, at);
}

/**
 * chat_refuse_value() - Refuse a value where only some can be translated
 * @x:		Request being read; its error_text is set
 * @field:	Its path
 * @at:		The value; shown escaped
 *
 * Return: ERR_UNSUPPORTED, for the caller to return.
 */
enum err chat_refuse_value(struct chat_reading *x, const char *field,
			   json_ref at)
{
	char value[64], name[128];
	struct span raw = json_raw(&x->doc, at);

	(void)text_escape_line(raw, value, sizeof(value));
	(void)snprintf(name, sizeof(name), "%s %s", field, value);
	return neutral_refuse(x->r, name, "has no form in the other dialect");
}

/** chat_read_cache() - The cache_control of a part or a tool */
enum neutral_cache chat_read_cache(const struct chat_reading *x, json_ref part)
{
	json_ref mark = json_get(&x->doc, part, "cache_control");

	if (!json_is(&x->doc, mark, JSON_OBJECT))
		return NEUTRAL_CACHE_NONE;
	return json_string_is(&x->doc, json_get(&x->doc, mark, "ttl"), "1h")
		       ? NEUTRAL_CACHE_1H
		       : NEUTRAL_CACHE_5M;
}

/* Where parts go: into the last message or its last tool result. */
static enum err add(struct chat_reading *x, const struct neutral_part *part,
		    bool nested)
{
	return nested ? neutral_add_nested(x->r, part)
		      : neutral_add_part(x->r, part);
}

static enum err read_image(struct chat_reading *x, json_ref part, bool nested)
{
	static const char field[] = "messages[].content[].image_url";
	const struct json *j = &x->doc;
	struct neutral_part p = {.kind = NEUTRAL_IMAGE,
				 .cache = chat_read_cache(x, part)};
	json_ref at = json_get(j, part, "image_url");
	struct span url = {NULL, 0};
	enum err e;

	if (json_is(j, at, JSON_OBJECT)) {
		json_ref detail = json_get(j, at, "detail");

		if (chat_is_set(x, detail) &&
		    !json_string_is(j, detail, "auto"))
			neutral_drop(x->r, "image_url.detail");
		at = json_get(j, at, "url");
	}
	e = neutral_keep_string(x->r, j, at, &url);
	if (e == ERR_FORMAT)
		return neutral_malformed(x->r, field, "without a URL");
	if (e != ERR_OK)
		return e;
	if (!neutral_split_data_url(url, &p.media_type, &p.data)) {
		if (url.len_bytes >= 5 && (url.data[0] | 0x20) == 'd' &&
		    (url.data[4] == ':'))
			return neutral_malformed(x->r, field,
						 "no data: URL in base64");
		p.url = url;
	}
	return add(x, &p, nested);
}

static enum err read_file(struct chat_reading *x, json_ref part, bool nested)
{
	static const char field[] = "messages[].content[].file";
	const struct json *j = &x->doc;
	struct neutral_part p = {.kind = NEUTRAL_DOCUMENT,
				 .cache = chat_read_cache(x, part)};
	json_ref file = json_get(j, part, "file");
	struct span data = {NULL, 0};
	enum err e;

	if (chat_is_set(x, json_get(j, file, "file_id")))
		return neutral_refuse(x->r, "messages[].content[].file.file_id",
				      "lies at one provider");
	e = neutral_read_string(x->r, j, file, "filename", &p.name);
	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, file, "file_data", &data);
	if (e != ERR_OK)
		return e;
	if (!data.data)
		return neutral_malformed(x->r, field, "without file_data");
	if (!neutral_split_data_url(data, &p.media_type, &p.data)) {
		if (neutral_is_base64(data)) {
			p.media_type = span_text("application/pdf");
			p.data = data;
		} else if (data.len_bytes > 4 &&
			   memcmp(data.data, "http", 4) == 0) {
			p.url = data;
		} else {
			return neutral_malformed(x->r, field,
						 "file_data is no data: URL "
						 "in base64");
		}
	}
	return add(x, &p, nested);
}

static enum err read_text(struct chat_reading *x, json_ref part, json_ref text,
			  enum neutral_part_kind kind, bool nested)
{
	struct neutral_part p = {.kind = kind,
				 .cache = chat_read_cache(x, part)};
	enum err e = neutral_keep_string(x->r, &x->doc, text, &p.text);

	if (e == ERR_FORMAT)
		return neutral_malformed(x->r, "messages[].content[]",
					 "without its text");
	/* An empty text says nothing, and some providers refuse it. */
	if (e != ERR_OK || p.text.len_bytes == 0)
		return e;
	return add(x, &p, nested);
}

static enum err read_part(struct chat_reading *x, json_ref part, bool nested)
{
	const struct json *j = &x->doc;
	json_ref type = json_get(j, part, "type");

	if (json_string_is(j, type, "text"))
		return read_text(x, part, json_get(j, part, "text"),
				 NEUTRAL_TEXT, nested);
	if (json_string_is(j, type, "image_url"))
		return read_image(x, part, nested);
	if (json_string_is(j, type, "file"))
		return read_file(x, part, nested);
	if (json_string_is(j, type, "refusal"))
		return read_text(x, part, json_get(j, part, "refusal"),
				 NEUTRAL_REFUSAL, nested);
	if (!json_is(j, type, JSON_STRING))
		return neutral_malformed(x->r, "messages[].content[]",
					 "without a type");
	return chat_refuse_value(x, "messages[].content[] of type", type);
}

static enum err read_content(struct chat_reading *x, json_ref content,
			     bool nested)
{
	const struct json *j = &x->doc;
	enum err e = ERR_OK;

	if (neutral_is_absent(j, content))
		return ERR_OK;
	if (json_is(j, content, JSON_STRING))
		return read_text(x, JSON_NONE, content, NEUTRAL_TEXT, nested);
	if (!json_is(j, content, JSON_ARRAY))
		return neutral_malformed(x->r, "messages[].content",
					 "neither a string nor a list");
	JSON_EACH (j, part, content) {
		e = read_part(x, part, nested);
		if (e != ERR_OK)
			break;
	}
	return e;
}

/* Pieces of one thought, as they were streamed, become one part. */
struct thought {
	bool open;
	struct buf text;
	struct span signature;
	enum dialect signer;
};

static enum err end_thought(struct chat_reading *x, struct thought *t)
{
	struct neutral_part p = {.kind = NEUTRAL_THINKING,
				 .signature = t->signature,
				 .signer = t->signer};
	enum err e;

	if (!t->open)
		return ERR_OK;
	e = neutral_keep(x->r, buf_span(&t->text), &p.text);
	if (e == ERR_OK)
		e = neutral_add_part(x->r, &p);
	buf_reset(&t->text);
	t->open = false;
	t->signature = span_of(NULL, 0);
	return e;
}

/* A signature or opaque thought, as chat_split_format() takes it. */
static enum err read_opaque(struct chat_reading *x, json_ref item,
			    const char *key, enum dialect signer,
			    struct span *ret_bytes)
{
	const struct json *j = &x->doc;
	json_ref format = json_get(j, item, "format");
	json_ref bytes = json_get(j, item, key);
	struct buf b;
	enum err e;

	if (signer != DIALECT_CHAT || !json_is(j, format, JSON_STRING) ||
	    !json_is(j, bytes, JSON_STRING))
		return neutral_read_string(x->r, j, item, key, ret_bytes);
	buf_init(&b, NEUTRAL_KEPT_BYTES);
	e = json_string(j, format, &b);
	if (e == ERR_OK)
		e = buf_put_u8(&b, '|');
	if (e == ERR_OK)
		e = json_string(j, bytes, &b);
	if (e == ERR_OK)
		e = neutral_keep(x->r, buf_span(&b), ret_bytes);
	buf_fini(&b);
	return e;
}

static enum err read_thought(struct chat_reading *x, json_ref item,
			     const char *key, struct thought *t)
{
	const struct json *j = &x->doc;
	json_ref text = json_get(j, item, key);
	enum err e = ERR_OK;

	/* What was signed is complete. */
	if (t->open && t->signature.len_bytes)
		e = end_thought(x, t);
	t->open = true;
	if (chat_is_set(x, json_get(j, item, "format")) || !t->text.len_bytes)
		t->signer = chat_format_signer(j, json_get(j, item, "format"));
	if (e == ERR_OK && chat_is_set(x, text))
		e = json_string(j, text, &t->text);
	if (e == ERR_FORMAT)
		return neutral_malformed(x->r, "messages[].reasoning_details",
					 "without its text");
	if (e == ERR_OK)
		e = read_opaque(x, item, "signature", t->signer, &t->signature);
	return e;
}

static enum err read_redacted(struct chat_reading *x, json_ref item)
{
	const struct json *j = &x->doc;
	struct neutral_part p = {
		.kind = NEUTRAL_REDACTED,
		.signer = chat_format_signer(j, json_get(j, item, "format")),
	};
	enum err e = read_opaque(x, item, "data", p.signer, &p.data);

	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, item, "id", &p.id);
	if (e != ERR_OK || !p.data.data)
		return e;
	return neutral_add_part(x->r, &p);
}

static enum err read_details(struct chat_reading *x, json_ref details)
{
	const struct json *j = &x->doc;
	struct thought t = {.signer = DIALECT_CHAT};
	enum err e = ERR_OK, last;

	buf_init(&t.text, NEUTRAL_KEPT_BYTES);
	JSON_EACH (j, item, details) {
		json_ref type = json_get(j, item, "type");

		if (json_string_is(j, type, "reasoning.text")) {
			e = read_thought(x, item, "text", &t);
		} else if (json_string_is(j, type, "reasoning.summary")) {
			e = read_thought(x, item, "summary", &t);
		} else {
			e = end_thought(x, &t);
			if (e == ERR_OK &&
			    json_string_is(j, type, "reasoning.encrypted"))
				e = read_redacted(x, item);
			else
				neutral_drop(x->r, "reasoning_details[]");
		}
		if (e != ERR_OK)
			break;
	}
	last = end_thought(x, &t);
	buf_fini(&t.text);
	return e == ERR_OK ? last : e;
}

static enum err read_reasoning(struct chat_reading *x, json_ref message)
{
	const struct json *j = &x->doc;
	json_ref details = json_get(j, message, "reasoning_details");
	struct neutral_part p = {.kind = NEUTRAL_THINKING};
	enum err e;

	if (json_is(j, details, JSON_ARRAY) && json_count(j, details))
		return read_details(x, details);
	e = neutral_read_string(x->r, j, message, "reasoning_content", &p.text);
	if (e == ERR_OK && !p.text.data)
		e = neutral_read_string(x->r, j, message, "reasoning", &p.text);
	if (e != ERR_OK || p.text.len_bytes == 0)
		return e;
	return neutral_add_part(x->r, &p);
}

/* Arguments are a string that holds one JSON object. */
static enum err read_arguments(struct chat_reading *x, json_ref at,
			       struct span *ret_json)
{
	static const char field[] =
		"messages[].tool_calls[].function.arguments";
	struct json doc;
	struct span text = {NULL, 0};
	enum err e;

	if (json_is(&x->doc, at, JSON_OBJECT)) {
		*ret_json = json_raw(&x->doc, at);
		return ERR_OK;
	}
	e = neutral_is_absent(&x->doc, at)
		    ? ERR_OK
		    : neutral_keep_string(x->r, &x->doc, at, &text);
	if (e == ERR_FORMAT)
		return neutral_malformed(x->r, field, "not a string");
	if (e != ERR_OK)
		return e;
	if (text.len_bytes == 0)
		text = span_text("{}");
	json_init(&doc);
	e = reply_check_arguments(&doc, text);
	json_fini(&doc);
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return neutral_refuse(x->r, field, "not one JSON object");
	*ret_json = text;
	return ERR_OK;
}

static enum err read_call(struct chat_reading *x, json_ref call)
{
	const struct json *j = &x->doc;
	struct neutral_part p = {.kind = NEUTRAL_TOOL_CALL};
	json_ref function = json_get(j, call, "function");
	json_ref type = json_get(j, call, "type");
	enum err e;

	if (chat_is_set(x, type) && !json_string_is(j, type, "function"))
		return chat_refuse_value(x, "messages[].tool_calls[] of type",
					 type);
	if (!json_is(j, function, JSON_OBJECT))
		return neutral_malformed(x->r, "messages[].tool_calls[]",
					 "without a function");
	e = neutral_read_string(x->r, j, call, "id", &p.id);
	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, function, "name", &p.name);
	if (e == ERR_OK)
		e = read_arguments(x, json_get(j, function, "arguments"),
				   &p.json);
	if (e != ERR_OK)
		return e;
	if (p.name.len_bytes == 0)
		return neutral_malformed(x->r, "messages[].tool_calls[]",
					 "without a name");
	if (!p.id.data)
		p.id = span_text("");
	return neutral_add_part(x->r, &p);
}

static enum err read_assistant(struct chat_reading *x, json_ref message)
{
	const struct json *j = &x->doc;
	json_ref calls = json_get(j, message, "tool_calls");
	json_ref refusal = json_get(j, message, "refusal");
	enum err e = neutral_add_message(x->r, NEUTRAL_ASSISTANT);

	if (chat_is_set(x, json_get(j, message, "function_call")))
		return neutral_refuse(x->r, "messages[].function_call",
				      "only tool_calls can be translated");
	if (chat_is_set(x, json_get(j, message, "audio")))
		return neutral_refuse(x->r, "messages[].audio",
				      "lies at one provider");
	if (chat_is_set(x, calls) && !json_is(j, calls, JSON_ARRAY))
		return neutral_malformed(x->r, "messages[].tool_calls",
					 "not a list");
	if (e == ERR_OK)
		e = read_reasoning(x, message);
	if (e == ERR_OK)
		e = read_content(x, json_get(j, message, "content"), false);
	if (e == ERR_OK && chat_is_set(x, refusal))
		e = read_text(x, JSON_NONE, refusal, NEUTRAL_REFUSAL, false);
	if (e != ERR_OK)
		return e;
	JSON_EACH (j, call, calls) {
		e = read_call(x, call);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err read_result(struct chat_reading *x, json_ref message)
{
	const struct json *j = &x->doc;
	struct neutral_part p = {.kind = NEUTRAL_TOOL_RESULT,
				 .id = span_text("")};
	enum err e =
		neutral_read_string(x->r, j, message, "tool_call_id", &p.id);

	if (e == ERR_OK && !x->in_results)
		e = neutral_add_message(x->r, NEUTRAL_USER);
	if (e == ERR_OK)
		e = neutral_add_part(x->r, &p);
	x->in_results = true;
	if (e == ERR_OK)
		e = read_content(x, json_get(j, message, "content"), true);
	return e;
}

static enum err read_message(struct chat_reading *x, json_ref message)
{
	const struct json *j = &x->doc;
	json_ref role = json_get(j, message, "role");
	enum neutral_role who = NEUTRAL_USER;
	enum err e;

	if (!json_is(j, message, JSON_OBJECT))
		return neutral_malformed(x->r, "messages",
					 "not a list of objects");
	if (chat_is_set(x, json_get(j, message, "name")))
		neutral_drop(x->r, "messages[].name");
	if (json_string_is(j, role, "tool"))
		return read_result(x, message);
	x->in_results = false;
	if (json_string_is(j, role, "assistant"))
		return read_assistant(x, message);
	if (json_string_is(j, role, "system") ||
	    json_string_is(j, role, "developer"))
		who = NEUTRAL_SYSTEM;
	else if (!json_is(j, role, JSON_STRING))
		return neutral_malformed(x->r, "messages[].role",
					 "not a string");
	else if (!json_string_is(j, role, "user"))
		return chat_refuse_value(x, "messages[].role", role);
	e = neutral_add_message(x->r, who);
	if (e == ERR_OK)
		e = read_content(x, json_get(j, message, "content"), false);
	return e;
}

/**
 * chat_read_messages() - Read all messages
 * @x:	Request being read
 *
 * Return: as chat_read_request().
 */
enum err chat_read_messages(struct chat_reading *x)
{
	json_ref messages = json_get(&x->doc, JSON_ROOT, "messages");
	enum err e = ERR_OK;

	if (!json_is(&x->doc, messages, JSON_ARRAY))
		return neutral_malformed(x->r, "messages", "not a list");
	JSON_EACH (&x->doc, message, messages) {
		e = read_message(x, message);
		if (e != ERR_OK)
			break;
	}
	return e;
}
