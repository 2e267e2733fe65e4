/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_request_read.c - a chat completions request in no dialect
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   leaves out a member without noting it, or one that changes the
 *	    meaning at all.
 *
 * OpenAI chat completions, and what other servers of that dialect added:
 * reasoning, reasoning_details and cache_control as OpenRouter has them,
 * reasoning_content as DeepSeek and vLLM have it. Members of the request are
 * of three kinds: read here, left out because no answer depends on them, or
 * refused by name. One that nobody knows is refused too.
 */
#include "engine/gate/chat.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/chat_reading.h"
#include "engine/gate/neutral_tools.h"

static const char empty_schema[] = "{\"type\":\"object\",\"properties\":{}}";

static json_ref top(const struct chat_reading *x, const char *key)
{
	return json_get(&x->doc, JSON_ROOT, key);
}

static enum err read_tool(struct chat_reading *x, json_ref tool)
{
	const struct json *j = &x->doc;
	struct neutral_tool t = {.schema = span_text(empty_schema),
				 .cache = chat_read_cache(x, tool)};
	json_ref function = json_get(j, tool, "function");
	json_ref type = json_get(j, tool, "type");
	json_ref schema = json_get(j, function, "parameters");
	enum err e;

	if (chat_is_set(x, type) && !json_string_is(j, type, "function"))
		return chat_refuse_value(x, "tools[] of type", type);
	e = neutral_read_string(x->r, j, function, "name", &t.name);
	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, function, "description",
					&t.description);
	if (e == ERR_OK)
		e = neutral_read_bool(x->r, j, function, "strict", &t.strict);
	if (e != ERR_OK)
		return e;
	if (t.name.len_bytes == 0)
		return neutral_malformed(x->r, "tools[]", "without a name");
	if (chat_is_set(x, schema) && !json_is(j, schema, JSON_OBJECT))
		return neutral_malformed(x->r, "tools[].function.parameters",
					 "not an object");
	if (json_count(j, schema))
		t.schema = json_raw(j, schema);
	return neutral_add_tool(x->r, &t);
}

static enum err read_choice(struct chat_reading *x)
{
	static const struct {
		const char *word;
		enum neutral_choice choice;
	} words[] = {
		{"auto", NEUTRAL_CHOICE_AUTO},
		{"required", NEUTRAL_CHOICE_ANY},
		{"any", NEUTRAL_CHOICE_ANY},
		{"none", NEUTRAL_CHOICE_NONE},
	};
	const struct json *j = &x->doc;
	json_ref choice = top(x, "tool_choice");
	json_ref type = json_get(j, choice, "type");
	enum err e;
	size_t i;

	if (!chat_is_set(x, choice))
		return ERR_OK;
	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (json_string_is(j, choice, words[i].word)) {
			x->r->choice = words[i].choice;
			return ERR_OK;
		}
	if (!json_string_is(j, type, "function"))
		return chat_refuse_value(x, "tool_choice",
					 type == JSON_NONE ? choice : type);
	e = neutral_read_string(x->r, j, json_get(j, choice, "function"),
				"name", &x->r->choice_name);
	if (e == ERR_OK && x->r->choice_name.len_bytes == 0)
		e = neutral_malformed(x->r, "tool_choice", "without a name");
	x->r->choice = NEUTRAL_CHOICE_NAMED;
	return e;
}

static enum err read_tools(struct chat_reading *x)
{
	const struct json *j = &x->doc;
	json_ref tools = top(x, "tools"), old = top(x, "functions");
	bool parallel = false;
	enum err e = ERR_OK;

	if (chat_is_set(x, old) && json_count(j, old))
		return neutral_refuse(x->r, "functions",
				      "only tools can be translated");
	if (chat_is_set(x, tools) && !json_is(j, tools, JSON_ARRAY))
		return neutral_malformed(x->r, "tools", "not a list");
	JSON_EACH (j, tool, tools) {
		e = read_tool(x, tool);
		if (e != ERR_OK)
			return e;
	}
	if (chat_is_set(x, top(x, "parallel_tool_calls"))) {
		e = neutral_read_bool(x->r, j, JSON_ROOT, "parallel_tool_calls",
				      &parallel);
		x->r->parallel = parallel;
	}
	return e == ERR_OK ? read_choice(x) : e;
}

static enum err read_stops(struct chat_reading *x)
{
	struct neutral_request *r = x->r;
	const struct json *j = &x->doc;
	json_ref stop = top(x, "stop");
	enum err e = ERR_OK;

	if (!chat_is_set(x, stop))
		return ERR_OK;
	if (json_is(j, stop, JSON_STRING)) {
		r->stop_count = 1;
		return neutral_keep_string(r, j, stop, &r->stops[0]);
	}
	if (!json_is(j, stop, JSON_ARRAY))
		return neutral_malformed(r, "stop",
					 "neither a string nor a list");
	JSON_EACH (j, item, stop) {
		if (r->stop_count == NEUTRAL_STOPS_MAX)
			return neutral_refuse(r, "stop", "too many sequences");
		e = neutral_keep_string(r, j, item, &r->stops[r->stop_count]);
		if (e == ERR_FORMAT)
			return neutral_malformed(r, "stop",
						 "not a list of strings");
		if (e != ERR_OK)
			break;
		r->stop_count++;
	}
	return e;
}

static enum err read_format(struct chat_reading *x)
{
	struct neutral_request *r = x->r;
	const struct json *j = &x->doc;
	json_ref format = top(x, "response_format");
	json_ref type = json_get(j, format, "type");
	json_ref schema = json_get(j, format, "json_schema");
	json_ref body = json_get(j, schema, "schema");
	enum err e;

	if (!chat_is_set(x, format) || json_string_is(j, type, "text"))
		return ERR_OK;
	if (json_string_is(j, type, "json_object")) {
		r->format = NEUTRAL_FORMAT_JSON;
		return ERR_OK;
	}
	if (!json_string_is(j, type, "json_schema"))
		return chat_refuse_value(x, "response_format of type", type);
	if (!json_is(j, body, JSON_OBJECT))
		return neutral_malformed(r, "response_format.json_schema",
					 "without a schema");
	r->format = NEUTRAL_FORMAT_SCHEMA;
	r->format_schema = json_raw(j, body);
	e = neutral_read_string(r, j, schema, "name", &r->format_name);
	if (e == ERR_OK)
		e = neutral_read_bool(r, j, schema, "strict",
				      &r->format_strict);
	return e;
}

/* Effort as OpenAI has it, or reasoning as OpenRouter has it. */
static enum err read_effort(struct chat_reading *x)
{
	struct neutral_request *r = x->r;
	const struct json *j = &x->doc;
	json_ref more = top(x, "reasoning"), old = top(x, "thinking");
	json_ref tokens = json_get(j, more, "max_tokens");
	json_ref type = json_get(j, old, "type");
	enum err e;

	e = neutral_read_string(r, j, JSON_ROOT, "reasoning_effort",
				&r->effort);
	if (e == ERR_OK && !r->effort.data)
		e = neutral_read_string(r, j, more, "effort", &r->effort);
	if (e != ERR_OK)
		return e;
	if (json_string_is(j, type, "enabled"))
		tokens = json_get(j, old, "budget_tokens");
	if (r->effort.data)
		r->thinking = span_is(r->effort, "none")
				      ? NEUTRAL_THINKING_OFF
				      : NEUTRAL_THINKING_EFFORT;
	else if (json_is(j, json_get(j, more, "enabled"), JSON_FALSE) ||
		 json_string_is(j, type, "disabled"))
		r->thinking = NEUTRAL_THINKING_OFF;
	else if (json_is(j, json_get(j, more, "enabled"), JSON_TRUE) ||
		 json_string_is(j, type, "enabled") ||
		 json_string_is(j, type, "adaptive"))
		r->thinking = NEUTRAL_THINKING_ADAPTIVE;
	if (!chat_is_set(x, tokens) || r->thinking == NEUTRAL_THINKING_OFF)
		return ERR_OK;
	if (json_uint(j, tokens, 1, UINT32_MAX, &r->thinking_tokens) != ERR_OK)
		return neutral_malformed(r, "reasoning.max_tokens",
					 "not a count of tokens");
	r->thinking = NEUTRAL_THINKING_BUDGET;
	return ERR_OK;
}

static enum err read_numbers(struct chat_reading *x)
{
	struct neutral_request *r = x->r;
	const struct {
		const char *key;
		struct span *into;
	} table[] = {
		{"max_tokens", &r->max_tokens},
		{"max_completion_tokens", &r->max_tokens},
		{"temperature", &r->temperature},
		{"top_p", &r->top_p},
		{"top_k", &r->top_k},
		{"seed", &r->seed},
		{"frequency_penalty", &r->frequency_penalty},
		{"presence_penalty", &r->presence_penalty},
	};
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(table); i++)
		e = neutral_read_number(r, &x->doc, JSON_ROOT, table[i].key,
					table[i].into);
	return e;
}

static enum err read_simple(struct chat_reading *x)
{
	struct neutral_request *r = x->r;
	const struct json *j = &x->doc;
	enum err e;

	e = neutral_read_string(r, j, JSON_ROOT, "model", &r->model);
	if (e == ERR_OK && r->model.len_bytes == 0)
		e = neutral_malformed(r, "model", "missing");
	if (e == ERR_OK)
		e = neutral_read_bool(r, j, JSON_ROOT, "stream", &r->stream);
	if (e == ERR_OK)
		e = neutral_read_bool(r, j, top(x, "stream_options"),
				      "include_usage", &r->want_usage);
	if (e == ERR_OK)
		e = neutral_read_string(r, j, JSON_ROOT, "user", &r->user);
	if (e == ERR_OK)
		e = neutral_read_string(r, j, JSON_ROOT, "service_tier",
					&r->service_tier);
	return e == ERR_OK ? read_numbers(x) : e;
}

enum handling {
	READ,     /* above */
	HARMLESS, /* no answer depends on it: left out */
	PLAIN,    /* refused unless its value asks for nothing */
};

static const struct {
	const char *name;
	enum handling handling;
} fields[] = {
	{"model", READ},
	{"messages", READ},
	{"stream", READ},
	{"stream_options", READ},
	{"max_tokens", READ},
	{"max_completion_tokens", READ},
	{"temperature", READ},
	{"top_p", READ},
	{"top_k", READ},
	{"seed", READ},
	{"frequency_penalty", READ},
	{"presence_penalty", READ},
	{"stop", READ},
	{"tools", READ},
	{"tool_choice", READ},
	{"functions", READ},
	{"parallel_tool_calls", READ},
	{"response_format", READ},
	{"reasoning_effort", READ},
	{"reasoning", READ},
	{"thinking", READ},
	{"user", READ},
	{"service_tier", READ},
	{"metadata", HARMLESS},
	{"prediction", HARMLESS},
	{"safety_identifier", HARMLESS},
	{"prompt_cache_key", HARMLESS},
	{"prompt_cache_retention", HARMLESS},
	{"verbosity", HARMLESS},
	{"include_reasoning", HARMLESS},
	{"usage", HARMLESS},
	{"n", PLAIN},
	{"store", PLAIN},
	{"logprobs", PLAIN},
	{"top_logprobs", PLAIN},
	{"logit_bias", PLAIN},
	{"modalities", PLAIN},
	{"function_call", PLAIN},
	{"transforms", PLAIN},
	{"plugins", PLAIN},
};

/* Whether a member's value is the same as leaving it out. */
static bool asks_nothing(const struct json *j, json_ref at)
{
	int64_t number;

	if (json_is(j, at, JSON_FALSE) || json_string_is(j, at, "none"))
		return true;
	if (json_is(j, at, JSON_ARRAY) || json_is(j, at, JSON_OBJECT))
		return json_count(j, at) == 0 ||
		       (json_key_is(j, at, "modalities") &&
			json_count(j, at) == 1 &&
			json_string_is(j, json_first(j, at), "text"));
	return json_int(j, at, 0, 1, &number) == ERR_OK &&
	       number == (json_key_is(j, at, "n") ? 1 : 0);
}

static enum err check_field(struct chat_reading *x, json_ref at)
{
	const struct json *j = &x->doc;
	char name[64];
	struct buf key;
	enum err e;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++)
		if (json_key_is(j, at, fields[i].name))
			break;
	if (i < ARRAY_SIZE(fields)) {
		if (fields[i].handling == HARMLESS)
			neutral_drop(x->r, fields[i].name);
		else if (fields[i].handling == PLAIN && !asks_nothing(j, at))
			return neutral_refuse(
				x->r, fields[i].name,
				"has no form in the other dialect");
		return ERR_OK;
	}
	buf_init(&key, 1u << 16);
	e = json_key(j, at, &key);
	(void)text_escape_line(buf_span(&key), name, sizeof(name));
	buf_fini(&key);
	if (e == ERR_MEMORY)
		return e;
	return neutral_refuse(x->r, name,
			      "has no known form in the other dialect");
}

static enum err read_document(struct chat_reading *x)
{
	enum err e = ERR_OK;

	JSON_EACH (&x->doc, at, JSON_ROOT) {
		if (chat_is_set(x, at))
			e = check_field(x, at);
		if (e != ERR_OK)
			return e;
	}
	e = read_simple(x);
	if (e == ERR_OK)
		e = read_stops(x);
	if (e == ERR_OK)
		e = read_format(x);
	if (e == ERR_OK)
		e = read_effort(x);
	if (e == ERR_OK)
		e = read_tools(x);
	return e == ERR_OK ? chat_read_messages(x) : e;
}

/**
 * chat_read_request() - Read a request for translation
 * @route:	ROUTE_CHAT
 * @body:	Borrowed; must outlive @r
 * @r:		Initialised request, filled
 *
 * Return: ERR_OK; ERR_FORMAT for what is malformed and ERR_UNSUPPORTED for
 *	   what cannot be translated, with error_text; ERR_LIMIT; ERR_MEMORY.
 */
enum err chat_read_request(enum route route, struct span body,
			   struct neutral_request *r)
{
	struct chat_reading x = {.r = r};
	enum err e;

	if (route != ROUTE_CHAT)
		return neutral_refuse(r, "the path", "cannot be translated");
	json_init(&x.doc);
	e = neutral_parse(r, &x.doc, body);
	if (e == ERR_OK)
		e = read_document(&x);
	json_fini(&x.doc);
	if (e == ERR_LIMIT && !r->error_text[0])
		(void)snprintf(r->error_text, sizeof(r->error_text),
			       "the request is too large to be translated");
	return e;
}
