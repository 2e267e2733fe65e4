/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse_request_read.c - a Converse request in no dialect
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   leaves out a member without noting it, or one that changes the
 *	    meaning at all.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30. The model's name is in the URL:
 * the caller sets it. additionalModelRequestFields holds what only some
 * models know; of it, Claude's thinking and top_k and Nova's topK are read.
 */
#include "engine/gate/converse.h"

#include <string.h>

#include "engine/gate/neutral_tools.h"

static json_ref top(const struct converse_reading *x, const char *key)
{
	return json_get(&x->doc, JSON_ROOT, key);
}

static enum err read_messages(struct converse_reading *x)
{
	const struct json *j = &x->doc;
	json_ref messages = top(x, "messages");
	enum err e = converse_read_system(x, top(x, "system"));

	if (e != ERR_OK)
		return e;
	if (!json_is(j, messages, JSON_ARRAY))
		return neutral_malformed(x->r, "messages", "not a list");
	JSON_EACH (j, message, messages) {
		json_ref role = json_get(j, message, "role");
		bool user = json_string_is(j, role, "user");

		if (!user && !json_string_is(j, role, "assistant"))
			return neutral_malformed(x->r, "messages[].role",
						 "neither user nor assistant");
		e = neutral_add_message(x->r, user ? NEUTRAL_USER
						   : NEUTRAL_ASSISTANT);
		if (e == ERR_OK)
			e = converse_read_content(x, json_get(j, message,
							      "content"));
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err read_tool_spec(struct converse_reading *x, json_ref spec)
{
	const struct json *j = &x->doc;
	json_ref schema = json_find(j, spec, "inputSchema.json");
	struct neutral_tool t = {.strict = false};
	enum err e = neutral_read_string(x->r, j, spec, "name", &t.name);

	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, spec, "description",
					&t.description);
	if (e == ERR_OK)
		e = neutral_read_bool(x->r, j, spec, "strict", &t.strict);
	if (e != ERR_OK)
		return e;
	if (!t.name.len_bytes)
		return neutral_malformed(x->r, "toolSpec", "without a name");
	if (!json_is(j, schema, JSON_OBJECT))
		return neutral_malformed(x->r, "toolSpec.inputSchema.json",
					 "not an object");
	t.schema = json_raw(j, schema);
	return neutral_add_tool(x->r, &t);
}

static enum err read_tool(struct converse_reading *x, json_ref tool)
{
	const struct json *j = &x->doc;
	json_ref first = json_first(j, tool);
	struct neutral_request *r = x->r;

	if (!json_is(j, tool, JSON_OBJECT) || json_count(j, tool) != 1)
		return neutral_malformed(r, "toolConfig.tools[]",
					 "not an object with one member");
	if (json_key_is(j, first, "toolSpec"))
		return read_tool_spec(x, first);
	if (!json_key_is(j, first, "cachePoint"))
		return converse_refuse(x, "toolConfig.tools[]", first);
	if (r->tool_count)
		r->tools[r->tool_count - 1].cache =
			converse_read_cache(x, first);
	return ERR_OK;
}

static enum err read_choice(struct converse_reading *x, json_ref choice)
{
	const struct json *j = &x->doc;
	json_ref first = json_first(j, choice);
	enum err e;

	if (neutral_is_absent(j, choice))
		return ERR_OK;
	if (json_key_is(j, first, "auto")) {
		x->r->choice = NEUTRAL_CHOICE_AUTO;
	} else if (json_key_is(j, first, "any")) {
		x->r->choice = NEUTRAL_CHOICE_ANY;
	} else if (json_key_is(j, first, "tool")) {
		x->r->choice = NEUTRAL_CHOICE_NAMED;
		e = neutral_read_string(x->r, j, first, "name",
					&x->r->choice_name);
		if (e != ERR_OK)
			return e;
		if (!x->r->choice_name.len_bytes)
			return neutral_malformed(x->r, "toolChoice.tool",
						 "without a name");
	} else {
		return converse_refuse(x, "toolConfig.toolChoice", first);
	}
	return ERR_OK;
}

static enum err read_tools(struct converse_reading *x)
{
	const struct json *j = &x->doc;
	json_ref config = top(x, "toolConfig");
	json_ref tools = json_get(j, config, "tools");
	enum err e;

	if (neutral_is_absent(j, config))
		return ERR_OK;
	if (!json_is(j, tools, JSON_ARRAY))
		return neutral_malformed(x->r, "toolConfig.tools",
					 "not a list");
	JSON_EACH (j, tool, tools) {
		e = read_tool(x, tool);
		if (e != ERR_OK)
			return e;
	}
	return read_choice(x, json_get(j, config, "toolChoice"));
}

static enum err read_inference(struct converse_reading *x)
{
	struct neutral_request *r = x->r;
	const struct json *j = &x->doc;
	json_ref config = top(x, "inferenceConfig");
	json_ref stops = json_get(j, config, "stopSequences");
	enum err e;

	e = neutral_read_number(r, j, config, "maxTokens", &r->max_tokens);
	if (e == ERR_OK)
		e = neutral_read_number(r, j, config, "temperature",
					&r->temperature);
	if (e == ERR_OK)
		e = neutral_read_number(r, j, config, "topP", &r->top_p);
	if (e != ERR_OK || neutral_is_absent(j, stops))
		return e;
	if (!json_is(j, stops, JSON_ARRAY))
		return neutral_malformed(r, "stopSequences", "not a list");
	JSON_EACH (j, stop, stops) {
		if (r->stop_count == NEUTRAL_STOPS_MAX)
			return neutral_refuse(r, "stopSequences",
					      "more than 16");
		e = neutral_keep_string(r, j, stop, &r->stops[r->stop_count]);
		if (e == ERR_FORMAT)
			return neutral_malformed(r, "stopSequences[]",
						 "not a string");
		if (e != ERR_OK)
			return e;
		r->stop_count++;
	}
	return ERR_OK;
}

static enum err read_thinking(struct converse_reading *x, json_ref thinking)
{
	struct neutral_request *r = x->r;
	const struct json *j = &x->doc;
	json_ref type = json_get(j, thinking, "type");
	json_ref budget = json_get(j, thinking, "budget_tokens");

	if (json_string_is(j, type, "disabled")) {
		r->thinking = NEUTRAL_THINKING_OFF;
	} else if (json_string_is(j, type, "adaptive")) {
		r->thinking = NEUTRAL_THINKING_ADAPTIVE;
	} else if (json_string_is(j, type, "enabled")) {
		r->thinking = NEUTRAL_THINKING_BUDGET;
		if (json_uint(j, budget, 0, UINT32_MAX, &r->thinking_tokens) !=
		    ERR_OK)
			return neutral_malformed(r, "thinking.budget_tokens",
						 "not a number");
	} else {
		return neutral_refuse(r, "thinking.type", "not known");
	}
	return ERR_OK;
}

static enum err read_effort(struct converse_reading *x, json_ref effort)
{
	enum err e = neutral_keep_string(x->r, &x->doc, effort, &x->r->effort);

	if (e == ERR_FORMAT)
		return neutral_malformed(x->r, "effort", "not a string");
	if (x->r->thinking == NEUTRAL_THINKING_UNSET)
		x->r->thinking = NEUTRAL_THINKING_EFFORT;
	return e;
}

static enum err read_top_k(struct converse_reading *x, json_ref value)
{
	if (!json_is(&x->doc, value, JSON_NUMBER))
		return neutral_malformed(x->r, "top_k", "not a number");
	x->r->top_k = json_raw(&x->doc, value);
	return ERR_OK;
}

static enum err read_nova_inference(struct converse_reading *x, json_ref value)
{
	enum err e = ERR_OK;

	JSON_EACH (&x->doc, at, value) {
		if (!json_key_is(&x->doc, at, "topK"))
			return converse_refuse(x,
					       "additionalModelRequestFields"
					       ".inferenceConfig",
					       at);
		e = read_top_k(x, at);
		if (e != ERR_OK)
			return e;
	}
	return e;
}

static enum err read_output_effort(struct converse_reading *x, json_ref value)
{
	json_ref effort = json_get(&x->doc, value, "effort");

	if (json_count(&x->doc, value) != 1 || effort == JSON_NONE)
		return neutral_refuse(x->r, "output_config",
				      "only its effort can be translated");
	return read_effort(x, effort);
}

static enum err drop_betas(struct converse_reading *x, json_ref value)
{
	(void)value;
	neutral_drop(x->r, "anthropic_beta");
	return ERR_OK;
}

static enum err read_additional(struct converse_reading *x)
{
	static const struct {
		const char *name;
		enum err (*read)(struct converse_reading *x, json_ref value);
	} table[] = {
		{"thinking", read_thinking},
		{"reasoning_config", read_thinking},
		{"reasoning_effort", read_effort},
		{"output_config", read_output_effort},
		{"top_k", read_top_k},
		{"inferenceConfig", read_nova_inference},
		{"anthropic_beta", drop_betas},
	};
	json_ref fields = top(x, "additionalModelRequestFields");
	size_t i;
	enum err e;

	JSON_EACH (&x->doc, at, fields) {
		for (i = 0; i < ARRAY_SIZE(table); i++)
			if (json_key_is(&x->doc, at, table[i].name))
				break;
		if (i == ARRAY_SIZE(table))
			return converse_refuse(x,
					       "additionalModelRequestFields",
					       at);
		e = table[i].read(x, at);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* The schema is a text, and goes on as JSON. */
static enum err check_schema(struct neutral_request *r)
{
	struct json doc;
	enum err e;

	json_init(&doc);
	e = json_parse(&doc, r->format_schema, NULL);
	if (e == ERR_OK && !json_is(&doc, JSON_ROOT, JSON_OBJECT))
		e = ERR_FORMAT;
	json_fini(&doc);
	if (e == ERR_OK || e == ERR_MEMORY)
		return e;
	return neutral_malformed(r, "outputConfig.textFormat.structure",
				 "without a schema that is a JSON object");
}

static enum err read_output_format(struct converse_reading *x)
{
	struct neutral_request *r = x->r;
	const struct json *j = &x->doc;
	json_ref format = json_find(j, JSON_ROOT, "outputConfig.textFormat");
	json_ref schema = json_find(j, format, "structure.jsonSchema");
	enum err e;

	if (neutral_is_absent(j, format))
		return ERR_OK;
	if (!json_string_is(j, json_get(j, format, "type"), "json_schema"))
		return neutral_refuse(r, "outputConfig.textFormat.type",
				      "not known");
	e = neutral_read_string(r, j, schema, "schema", &r->format_schema);
	if (e == ERR_OK)
		e = neutral_read_string(r, j, schema, "name", &r->format_name);
	if (e == ERR_OK)
		e = check_schema(r);
	r->format = NEUTRAL_FORMAT_SCHEMA;
	r->format_strict = true;
	return e;
}

static enum err read_tier(struct converse_reading *x)
{
	json_ref tier = top(x, "serviceTier");

	return neutral_read_string(x->r, &x->doc, tier, "type",
				   &x->r->service_tier);
}

/* Every member of the request, and what becomes of it. */
static const struct {
	const char *name;
	enum { TAKEN, DROPPED, REFUSED } fate;
} members[] = {
	{"messages", TAKEN},
	{"system", TAKEN},
	{"inferenceConfig", TAKEN},
	{"toolConfig", TAKEN},
	{"additionalModelRequestFields", TAKEN},
	{"outputConfig", TAKEN},
	{"serviceTier", TAKEN},
	{"modelId", DROPPED},
	{"requestMetadata", DROPPED},
	{"performanceConfig", DROPPED},
	{"additionalModelResponseFieldPaths", DROPPED},
	{"guardrailConfig", REFUSED},
	{"promptVariables", REFUSED},
};

static enum err check_members(struct converse_reading *x)
{
	size_t i;

	JSON_EACH (&x->doc, at, JSON_ROOT) {
		for (i = 0; i < ARRAY_SIZE(members); i++)
			if (json_key_is(&x->doc, at, members[i].name))
				break;
		if (json_is(&x->doc, at, JSON_NULL))
			continue;
		if (i == ARRAY_SIZE(members) || members[i].fate == REFUSED)
			return converse_refuse(x, "the request", at);
		if (members[i].fate == DROPPED)
			neutral_drop(x->r, members[i].name);
	}
	return ERR_OK;
}

/**
 * converse_read_request() - Read a Converse request
 * @route:	ROUTE_CONVERSE or ROUTE_CONVERSE_STREAM
 * @body:	Must outlive @request
 * @request:	Initialised; model is left to the caller
 *
 * Return: ERR_OK; ERR_FORMAT, ERR_UNSUPPORTED, ERR_LIMIT (error_text);
 *	   ERR_MEMORY.
 */
enum err converse_read_request(enum route route, struct span body,
			       struct neutral_request *request)
{
	struct converse_reading x = {.r = request};
	enum err e;

	json_init(&x.doc);
	e = neutral_parse(request, &x.doc, body);
	if (e == ERR_OK)
		e = check_members(&x);
	if (e == ERR_OK)
		e = read_messages(&x);
	if (e == ERR_OK)
		e = read_tools(&x);
	if (e == ERR_OK)
		e = read_inference(&x);
	if (e == ERR_OK)
		e = read_additional(&x);
	if (e == ERR_OK)
		e = read_output_format(&x);
	if (e == ERR_OK)
		e = read_tier(&x);
	request->stream = route == ROUTE_CONVERSE_STREAM;
	request->want_usage = true;
	json_fini(&x.doc);
	return e;
}
