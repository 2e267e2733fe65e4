/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_request_read.c - a Responses request in no dialect
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   leaves out a member without noting it, or one that changes the
 *	    meaning at all.
 *
 * OpenAI Responses. The input's items become messages: what the assistant
 * said, thought and called in a row is one message, results in a row are one.
 */
#include "engine/gate/responses_reading.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/neutral_tools.h"

static enum err begin_message(struct reading *x, enum neutral_role role,
			      bool results)
{
	struct neutral_request *r = x->r;
	const struct neutral_message *last =
		r->message_count ? &r->messages[r->message_count - 1] : NULL;
	bool same = last && last->role == role && x->in_results == results &&
		    (role == NEUTRAL_ASSISTANT || results);

	x->in_results = results;
	return same ? ERR_OK : neutral_add_message(r, role);
}

static enum err add(struct reading *x, const struct neutral_part *part,
		    bool nested)
{
	return nested ? neutral_add_nested(x->r, part)
		      : neutral_add_part(x->r, part);
}

static enum err read_text(struct reading *x, json_ref text,
			  enum neutral_part_kind kind, bool nested)
{
	struct neutral_part p = {.kind = kind};
	enum err e = neutral_keep_string(x->r, &x->doc, text, &p.text);

	if (e == ERR_FORMAT)
		return neutral_malformed(x->r, "input[].content[]",
					 "without its text");
	/* An empty text says nothing, and some providers refuse it. */
	if (e != ERR_OK || p.text.len_bytes == 0)
		return e;
	return add(x, &p, nested);
}

static bool is_data_url(struct span url)
{
	return url.len_bytes >= 5 && (url.data[0] | 0x20) == 'd' &&
	       url.data[4] == ':';
}

static enum err read_image(struct reading *x, json_ref part, bool nested)
{
	static const char field[] = "input[].content[].image_url";
	const struct json *j = &x->doc;
	struct neutral_part p = {.kind = NEUTRAL_IMAGE};
	json_ref detail = json_get(j, part, "detail");
	json_ref at = json_get(j, part, "image_url");
	struct span url = {NULL, 0};
	enum err e;

	if (responses_is_set(x, json_get(j, part, "file_id")))
		return neutral_refuse(x->r, "input[].content[].file_id",
				      "lies at one provider");
	if (responses_is_set(x, detail) && !json_string_is(j, detail, "auto"))
		neutral_drop(x->r, "input_image.detail");
	if (json_is(j, at, JSON_OBJECT))
		at = json_get(j, at, "url");
	e = neutral_keep_string(x->r, j, at, &url);
	if (e == ERR_FORMAT)
		return neutral_malformed(x->r, field, "without a URL");
	if (e != ERR_OK)
		return e;
	if (!neutral_split_data_url(url, &p.media_type, &p.data)) {
		if (is_data_url(url))
			return neutral_malformed(x->r, field,
						 "no data: URL in base64");
		p.url = url;
	}
	return add(x, &p, nested);
}

static enum err read_file(struct reading *x, json_ref part, bool nested)
{
	static const char field[] = "input[].content[].file_data";
	const struct json *j = &x->doc;
	struct neutral_part p = {.kind = NEUTRAL_DOCUMENT};
	struct span data = {NULL, 0};
	enum err e;

	if (responses_is_set(x, json_get(j, part, "file_id")))
		return neutral_refuse(x->r, "input[].content[].file_id",
				      "lies at one provider");
	e = neutral_read_string(x->r, j, part, "filename", &p.name);
	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, part, "file_url", &p.url);
	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, part, "file_data", &data);
	if (e != ERR_OK)
		return e;
	if (p.url.data)
		return add(x, &p, nested);
	if (!data.data)
		return neutral_malformed(x->r, field, "missing");
	if (!neutral_split_data_url(data, &p.media_type, &p.data)) {
		if (!neutral_is_base64(data))
			return neutral_malformed(x->r, field,
						 "no data: URL in base64");
		p.media_type = span_text("application/pdf");
		p.data = data;
	}
	return add(x, &p, nested);
}

static enum err read_part(struct reading *x, json_ref part, bool nested)
{
	static const char *const texts[] = {"input_text", "output_text",
					    "text"};
	const struct json *j = &x->doc;
	json_ref type = json_get(j, part, "type");
	size_t i;

	if (!json_is(j, type, JSON_STRING))
		return neutral_malformed(x->r, "input[].content[]",
					 "without a type");
	for (i = 0; i < ARRAY_SIZE(texts); i++)
		if (json_string_is(j, type, texts[i]))
			return read_text(x, json_get(j, part, "text"),
					 NEUTRAL_TEXT, nested);
	if (json_string_is(j, type, "refusal"))
		return read_text(x, json_get(j, part, "refusal"),
				 NEUTRAL_REFUSAL, nested);
	if (json_string_is(j, type, "input_image"))
		return read_image(x, part, nested);
	if (json_string_is(j, type, "input_file"))
		return read_file(x, part, nested);
	return responses_refuse_value(x, "input[].content[] of type", type);
}

static enum err read_content(struct reading *x, json_ref content, bool nested)
{
	const struct json *j = &x->doc;
	enum err e = ERR_OK;

	if (neutral_is_absent(j, content))
		return ERR_OK;
	if (json_is(j, content, JSON_STRING))
		return read_text(x, content, NEUTRAL_TEXT, nested);
	if (!json_is(j, content, JSON_ARRAY))
		return neutral_malformed(x->r, "input[].content",
					 "neither a string nor a list");
	JSON_EACH (j, part, content) {
		e = read_part(x, part, nested);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err read_message(struct reading *x, json_ref item)
{
	static const struct {
		const char *name;
		enum neutral_role role;
	} roles[] = {
		{"user", NEUTRAL_USER},
		{"assistant", NEUTRAL_ASSISTANT},
		{"system", NEUTRAL_SYSTEM},
		{"developer", NEUTRAL_SYSTEM},
	};
	const struct json *j = &x->doc;
	json_ref role = json_get(j, item, "role");
	enum err e;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(roles); i++)
		if (json_string_is(j, role, roles[i].name))
			break;
	if (i == ARRAY_SIZE(roles))
		return responses_refuse_value(x, "input[].role", role);
	e = begin_message(x, roles[i].role, false);
	return e == ERR_OK
		       ? read_content(x, json_get(j, item, "content"), false)
		       : e;
}

/* Arguments are a string that holds one JSON object. */
static enum err read_arguments(struct reading *x, json_ref at,
			       struct span *ret_json)
{
	static const char field[] = "input[].arguments";
	struct span text = {NULL, 0};
	struct json doc;
	enum err e = ERR_OK;

	if (responses_is_set(x, at))
		e = neutral_keep_string(x->r, &x->doc, at, &text);
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

/* Free text as the one argument of a function. */
static enum err wrap_input(struct reading *x, json_ref at,
			   struct span *ret_json)
{
	struct span raw = json_raw(&x->doc, at);
	struct buf text;
	enum err e;

	if (!json_is(&x->doc, at, JSON_STRING))
		return neutral_malformed(x->r, "input[].input", "not a string");
	buf_init(&text, NEUTRAL_KEPT_BYTES);
	e = buf_put_text(&text, "{\"input\":");
	if (e == ERR_OK)
		e = buf_put_span(&text, raw);
	if (e == ERR_OK)
		e = buf_put_u8(&text, '}');
	if (e == ERR_OK)
		e = neutral_keep(x->r, buf_span(&text), ret_json);
	buf_fini(&text);
	return e;
}

static enum err read_call(struct reading *x, json_ref item, bool custom)
{
	const struct json *j = &x->doc;
	struct neutral_part p = {.kind = NEUTRAL_TOOL_CALL,
				 .id = span_text("")};
	struct span space = {NULL, 0};
	enum err e = begin_message(x, NEUTRAL_ASSISTANT, false);

	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, item, "namespace", &space);
	if (e == ERR_OK)
		e = responses_keep_name(x, space, item, &p.name);
	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, item, "call_id", &p.id);
	if (e == ERR_OK)
		e = custom ? wrap_input(x, json_get(j, item, "input"), &p.json)
			   : read_arguments(x, json_get(j, item, "arguments"),
					    &p.json);
	return e == ERR_OK ? neutral_add_part(x->r, &p) : e;
}

static enum err read_function_call(struct reading *x, json_ref item)
{
	return read_call(x, item, false);
}

static enum err read_custom_call(struct reading *x, json_ref item)
{
	return read_call(x, item, true);
}

static enum err read_output(struct reading *x, json_ref item)
{
	const struct json *j = &x->doc;
	struct neutral_part p = {.kind = NEUTRAL_TOOL_RESULT,
				 .id = span_text("")};
	enum err e = begin_message(x, NEUTRAL_USER, true);

	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, item, "call_id", &p.id);
	if (e == ERR_OK)
		e = neutral_add_part(x->r, &p);
	return e == ERR_OK ? read_content(x, json_get(j, item, "output"), true)
			   : e;
}

/* The texts of a list of parts, with blank lines between them. */
static enum err join_texts(struct reading *x, json_ref list, struct buf *out)
{
	const struct json *j = &x->doc;
	enum err e = ERR_OK;

	if (!json_is(j, list, JSON_ARRAY))
		return ERR_OK;
	JSON_EACH (j, part, list) {
		if (out->len_bytes)
			e = buf_put_text(out, "\n\n");
		if (e == ERR_OK)
			e = json_string(j, json_get(j, part, "text"), out);
		if (e == ERR_FORMAT || e == ERR_NOT_FOUND)
			return neutral_malformed(x->r, "input[].summary[]",
						 "without its text");
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err read_reasoning(struct reading *x, json_ref item)
{
	const struct json *j = &x->doc;
	struct neutral_part p = {.kind = NEUTRAL_THINKING};
	struct span sealed = {NULL, 0}, content;
	bool redacted = false;
	struct buf text;
	enum err e;

	e = neutral_read_string(x->r, j, item, "encrypted_content", &sealed);
	buf_init(&text, NEUTRAL_KEPT_BYTES);
	if (e == ERR_OK)
		e = join_texts(x, json_get(j, item, "summary"), &text);
	if (e == ERR_OK && !text.len_bytes)
		e = join_texts(x, json_get(j, item, "content"), &text);
	if (e == ERR_OK)
		e = neutral_keep(x->r, buf_span(&text), &p.text);
	if (e == ERR_OK && sealed.len_bytes) {
		if (!responses_unseal(sealed, &p.signer, &redacted, &content))
			neutral_drop(x->r, "input[].encrypted_content");
		else if (redacted ||
			 (!text.len_bytes && p.signer == DIALECT_RESPONSES))
			p = (struct neutral_part){.kind = NEUTRAL_REDACTED,
						  .data = content,
						  .signer = p.signer};
		else
			p.signature = content;
	}
	/* A thought without words or signature says nothing. */
	if (e == ERR_OK && (p.kind == NEUTRAL_REDACTED || p.text.len_bytes ||
			    p.signature.len_bytes)) {
		e = begin_message(x, NEUTRAL_ASSISTANT, false);
		if (e == ERR_OK)
			e = neutral_add_part(x->r, &p);
	}
	buf_fini(&text);
	return e;
}

static enum err drop_item(struct reading *x, json_ref item)
{
	char type[48], name[64];

	(void)!json_text(&x->doc, json_get(&x->doc, item, "type"), type,
			 sizeof(type));
	(void)snprintf(name, sizeof(name), "input[].%s", type);
	neutral_drop(x->r, name);
	return ERR_OK;
}

static enum err read_more_tools(struct reading *x, json_ref item)
{
	return responses_read_tools(x, json_get(&x->doc, item, "tools"));
}

static const struct {
	const char *type;
	enum err (*read)(struct reading *x, json_ref item);
} item_table[] = {
	{"message", read_message},
	{"function_call", read_function_call},
	{"function_call_output", read_output},
	{"custom_tool_call", read_custom_call},
	{"custom_tool_call_output", read_output},
	{"reasoning", read_reasoning},
	{"additional_tools", read_more_tools},
	/* What was found stays in the tools, or in the assistant's words. */
	{"tool_search_call", drop_item},
	{"tool_search_output", read_more_tools},
	{"web_search_call", drop_item},
	{"file_search_call", drop_item},
	{"code_interpreter_call", drop_item},
	{"image_generation_call", drop_item},
	{"mcp_list_tools", drop_item},
	{"mcp_call", drop_item},
};

static enum err read_item(struct reading *x, json_ref item)
{
	const struct json *j = &x->doc;
	json_ref type = json_get(j, item, "type");
	size_t i;

	if (!json_is(j, item, JSON_OBJECT))
		return neutral_malformed(x->r, "input",
					 "not a list of objects");
	if (!responses_is_set(x, type))
		return json_is(j, json_get(j, item, "role"), JSON_STRING)
			       ? read_message(x, item)
			       : neutral_refuse(x->r, "input[].id",
						"refers to what lies at one "
						"provider");
	for (i = 0; i < ARRAY_SIZE(item_table); i++)
		if (json_string_is(j, type, item_table[i].type))
			return item_table[i].read(x, item);
	return responses_refuse_value(x, "input[] of type", type);
}

static enum err read_input(struct reading *x)
{
	const struct json *j = &x->doc;
	json_ref instructions = responses_top(x, "instructions"),
		 input = responses_top(x, "input");
	enum err e = ERR_OK;

	if (responses_is_set(x, instructions)) {
		if (!json_is(j, instructions, JSON_STRING))
			return neutral_malformed(x->r, "instructions",
						 "not a string");
		e = begin_message(x, NEUTRAL_SYSTEM, false);
		if (e == ERR_OK)
			e = read_text(x, instructions, NEUTRAL_TEXT, false);
	}
	if (e == ERR_OK && json_is(j, input, JSON_STRING)) {
		e = begin_message(x, NEUTRAL_USER, false);
		return e == ERR_OK ? read_text(x, input, NEUTRAL_TEXT, false)
				   : e;
	}
	if (e != ERR_OK)
		return e;
	if (!json_is(j, input, JSON_ARRAY))
		return neutral_malformed(x->r, "input",
					 "neither a string nor a list");
	JSON_EACH (j, item, input) {
		e = read_item(x, item);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err read_format(struct reading *x)
{
	struct neutral_request *r = x->r;
	const struct json *j = &x->doc;
	json_ref text = responses_top(x, "text"),
		 format = json_get(j, text, "format");
	json_ref type = json_get(j, format, "type");
	json_ref schema = json_get(j, format, "schema");
	enum err e;

	if (responses_is_set(x, json_get(j, text, "verbosity")))
		neutral_drop(r, "text.verbosity");
	if (!responses_is_set(x, format) || json_string_is(j, type, "text"))
		return ERR_OK;
	if (json_string_is(j, type, "json_object")) {
		r->format = NEUTRAL_FORMAT_JSON;
		return ERR_OK;
	}
	if (!json_string_is(j, type, "json_schema"))
		return responses_refuse_value(x, "text.format of type", type);
	if (!json_is(j, schema, JSON_OBJECT))
		return neutral_malformed(r, "text.format.schema",
					 "not an object");
	r->format = NEUTRAL_FORMAT_SCHEMA;
	r->format_schema = json_raw(j, schema);
	e = neutral_read_string(r, j, format, "name", &r->format_name);
	return e == ERR_OK ? neutral_read_bool(r, j, format, "strict",
					       &r->format_strict)
			   : e;
}

static enum err read_thinking(struct reading *x)
{
	struct neutral_request *r = x->r;
	json_ref reasoning = responses_top(x, "reasoning");
	enum err e = neutral_read_string(r, &x->doc, reasoning, "effort",
					 &r->effort);

	if (e != ERR_OK || !r->effort.data)
		return e;
	if (span_is(r->effort, "none")) {
		r->thinking = NEUTRAL_THINKING_OFF;
		r->effort = span_of(NULL, 0);
	} else {
		r->thinking = NEUTRAL_THINKING_EFFORT;
	}
	return ERR_OK;
}

/* Without these the answer is another one, or none. */
static const struct {
	const char *field, *why;
} refused[] = {
	{"previous_response_id", "refers to what lies at one provider"},
	{"conversation", "refers to what lies at one provider"},
	{"prompt", "refers to what lies at one provider"},
	{"background", "has no form in the other dialect"},
	{"moderation", "has no form in the other dialect"},
	{"plugins", "has no form in the other dialect"},
};

static const char *const known[] = {
	"model",        "stream", "input",       "instructions",
	"tools",        "text",   "tool_choice", "parallel_tool_calls",
	"temperature",  "top_p",  "reasoning",   "max_output_tokens",
	"service_tier", "user",   "store",       "safety_identifier",
};

static enum err check_field(struct reading *x, json_ref at)
{
	const struct json *j = &x->doc;
	char name[64];
	struct buf key;
	size_t i;
	enum err e;

	if (!responses_is_set(x, at) || json_is(j, at, JSON_FALSE) ||
	    (json_is(j, at, JSON_ARRAY) && json_count(j, at) == 0))
		return ERR_OK;
	for (i = 0; i < ARRAY_SIZE(refused); i++)
		if (json_key_is(j, at, refused[i].field))
			return neutral_refuse(x->r, refused[i].field,
					      refused[i].why);
	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (json_key_is(j, at, known[i]))
			return ERR_OK;
	/* The rest are hints: caching, metadata, what to send besides. */
	buf_init(&key, BODY_MAX_BYTES);
	e = json_key(j, at, &key);
	if (e == ERR_OK) {
		(void)text_escape_line(buf_span(&key), name, sizeof(name));
		neutral_drop(x->r, name);
	}
	buf_fini(&key);
	return e;
}

static enum err read_top(struct reading *x)
{
	struct neutral_request *r = x->r;
	const struct json *j = &x->doc;
	bool parallel = false;
	enum err e = ERR_OK;

	JSON_EACH (j, at, JSON_ROOT) {
		e = check_field(x, at);
		if (e != ERR_OK)
			return e;
	}
	e = neutral_read_string(r, j, JSON_ROOT, "model", &r->model);
	if (e == ERR_OK)
		e = neutral_read_bool(r, j, JSON_ROOT, "stream", &r->stream);
	if (e == ERR_OK)
		e = neutral_read_number(r, j, JSON_ROOT, "max_output_tokens",
					&r->max_tokens);
	if (e == ERR_OK)
		e = neutral_read_number(r, j, JSON_ROOT, "temperature",
					&r->temperature);
	if (e == ERR_OK)
		e = neutral_read_number(r, j, JSON_ROOT, "top_p", &r->top_p);
	if (e == ERR_OK)
		e = neutral_read_string(r, j, JSON_ROOT, "user", &r->user);
	if (e == ERR_OK)
		e = neutral_read_string(r, j, JSON_ROOT, "safety_identifier",
					&r->user);
	if (e == ERR_OK)
		e = neutral_read_string(r, j, JSON_ROOT, "service_tier",
					&r->service_tier);
	if (e == ERR_OK &&
	    responses_is_set(x, responses_top(x, "parallel_tool_calls"))) {
		e = neutral_read_bool(r, j, JSON_ROOT, "parallel_tool_calls",
				      &parallel);
		r->parallel = parallel;
	}
	r->want_usage = true;
	return e;
}

/**
 * responses_read_request() - Read a body into the neutral form
 * @route:	ROUTE_RESPONSES
 * @body:	Must outlive @r
 * @r:		Empty request
 *
 * Return: ERR_OK; ERR_UNSUPPORTED for what has no neutral form and ERR_FORMAT
 *	   for what is malformed, with error_text; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_read_request(enum route route, struct span body,
				struct neutral_request *r)
{
	struct reading x = {.r = r};
	enum err e;

	(void)route;
	json_init(&x.doc);
	e = neutral_parse(r, &x.doc, body);
	if (e == ERR_OK)
		e = read_top(&x);
	if (e == ERR_OK)
		e = responses_read_tools(&x, responses_top(&x, "tools"));
	if (e == ERR_OK)
		e = read_input(&x);
	if (e == ERR_OK)
		e = responses_read_choice(&x);
	if (e == ERR_OK)
		e = read_format(&x);
	if (e == ERR_OK)
		e = read_thinking(&x);
	json_fini(&x.doc);
	return e;
}
