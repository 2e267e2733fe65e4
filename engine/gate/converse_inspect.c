/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse_inspect.c - what a request in Converse's dialect asks for
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   changes the body; overlooks a way to make the provider act outside
 *	    the VM that it knows of, or lets an unknown kind of tool pass.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30. A toolSpec runs in the VM; a
 * systemTool runs at the provider. Bytes of images, documents, videos and
 * sounds come with the request or from S3; a prompt may be stored there, and
 * is then named as the model. Guardrails, cache points, metadata and tiers of
 * service only concern this request. additionalModelRequestFields are the
 * model's own: for Claude they are Anthropic's, and judged as those; a Cohere
 * connector searches.
 */
#include "engine/gate/converse.h"

#include <stdio.h>
#include <string.h>

#include "engine/gate/inspection.h"

#define CONTENT_DEPTH_MAX 4u /* lists of blocks inside each other */
#define ADDITIONAL_MAX    (4u << 20)

static const struct {
	const char *name, *feature;
} system_tools[] = {
	{"nova_grounding", "web_search"},
	{"nova_code_interpreter", "code_execution"},
};

static enum err inspect_system_tool(struct inspection *in, json_ref tool)
{
	json_ref name = json_get(&in->doc, tool, "name");
	size_t i;

	for (i = 0; i < ARRAY_SIZE(system_tools); i++)
		if (json_string_is(&in->doc, name, system_tools[i].name))
			return inspection_add(in, system_tools[i].feature);
	return inspection_add_string(in, "unknown_tool", name);
}

static enum err inspect_tool(struct inspection *in, json_ref tool)
{
	const struct json *j = &in->doc;
	json_ref name;
	enum err e;

	if (!json_is(j, tool, JSON_OBJECT))
		return inspection_refuse(
			in, ERR_FORMAT,
			"toolConfig.tools: not a list of objects");
	JSON_EACH (j, kind, tool) {
		if (json_key_is(j, kind, "cachePoint"))
			continue;
		if (json_key_is(j, kind, "systemTool")) {
			e = inspect_system_tool(in, kind);
		} else if (!json_key_is(j, kind, "toolSpec")) {
			e = inspection_add_key(in, "unknown_tool", kind);
		} else {
			name = json_get(j, kind, "name");
			if (!json_is(j, name, JSON_STRING))
				return inspection_refuse(
					in, ERR_FORMAT,
					"toolConfig.tools: a tool "
					"without a name");
			inspection_note_tool(in, name);
			e = ERR_OK;
		}
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err inspect_tools(struct inspection *in, json_ref root)
{
	const struct json *j = &in->doc;
	json_ref tools = json_find(j, root, "toolConfig.tools");
	enum err e;

	if (tools == JSON_NONE || json_is(j, tools, JSON_NULL))
		return ERR_OK;
	if (!json_is(j, tools, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT,
					 "toolConfig.tools: not a list");
	JSON_EACH (j, tool, tools) {
		e = inspect_tool(in, tool);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* Where the bytes of an image, a document, a video or a sound come from. */
static enum err inspect_source(struct inspection *in, json_ref source)
{
	static const char *const inside[] = {"bytes", "text", "content"};
	size_t i;
	enum err e = ERR_OK;

	JSON_EACH (&in->doc, kind, source) {
		for (i = 0; i < ARRAY_SIZE(inside); i++)
			if (json_key_is(&in->doc, kind, inside[i]))
				break;
		if (i < ARRAY_SIZE(inside))
			continue;
		if (json_key_is(&in->doc, kind, "s3Location"))
			e = inspection_add(in, "s3_object");
		else
			e = inspection_add_key(in, "unknown_source", kind);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static void note_result(struct inspection *in, json_ref result)
{
	json_ref status = json_get(&in->doc, result, "status");

	inspection_note_result(in, json_get(&in->doc, result, "toolUseId"),
			       json_string_is(&in->doc, status, "error"));
}

static enum err inspect_content(struct inspection *in, json_ref content,
				unsigned depth);

/* Looks into whatever a block holds, known or not. */
static enum err inspect_block(struct inspection *in, json_ref block,
			      unsigned depth)
{
	const struct json *j = &in->doc;
	enum err e = ERR_OK;

	if (!json_is(j, block, JSON_OBJECT))
		return inspection_refuse(in, ERR_FORMAT,
					 "content: not a list of blocks");
	JSON_EACH (j, kind, block) {
		/* A call's input is the agent's own; nothing is fetched. */
		if (json_key_is(j, kind, "toolUse") ||
		    !json_is(j, kind, JSON_OBJECT))
			continue;
		if (json_key_is(j, kind, "toolResult"))
			note_result(in, kind);
		if (!json_key_is(j, kind, "searchResult") &&
		    !json_key_is(j, kind, "json"))
			e = inspect_source(in, json_get(j, kind, "source"));
		if (e == ERR_OK)
			e = inspect_source(in,
					   json_find(j, kind, "image.source"));
		if (e == ERR_OK && !json_key_is(j, kind, "json"))
			e = inspect_content(in, json_get(j, kind, "content"),
					    depth + 1);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err inspect_content(struct inspection *in, json_ref content,
				unsigned depth)
{
	enum err e;

	if (!json_is(&in->doc, content, JSON_ARRAY))
		return ERR_OK;
	if (depth > CONTENT_DEPTH_MAX)
		return inspection_refuse(in, ERR_LIMIT,
					 "content: nested too deeply");
	JSON_EACH (&in->doc, block, content) {
		e = inspect_block(in, block, depth);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err inspect_messages(struct inspection *in, json_ref root)
{
	const struct json *j = &in->doc;
	json_ref messages = json_get(j, root, "messages");
	enum err e = inspect_content(in, json_get(j, root, "system"), 1);

	if (e != ERR_OK || messages == JSON_NONE)
		return e;
	if (!json_is(j, messages, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT,
					 "messages: not a list");
	JSON_EACH (j, message, messages) {
		if (!json_is(j, message, JSON_OBJECT))
			return inspection_refuse(
				in, ERR_FORMAT,
				"messages: not a list of objects");
		e = inspect_content(in, json_get(j, message, "content"), 1);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* Takes over the features that another inspection found. */
static enum err adopt(struct inspection *in, const struct buf *features)
{
	struct reader r, items;
	struct attr a;
	struct span one;
	enum err e = ERR_OK;

	reader_init(&r, buf_span(features));
	while (e == ERR_OK && attrs_next(&r, &a)) {
		if (a.type != ATTR_LIST)
			continue;
		reader_init(&items, a.items);
		while (e == ERR_OK && attrs_list_next(&items, &one))
			e = inspection_add_detail(in, "", one);
	}
	return e;
}

/* Claude's own fields, judged as a request to Anthropic. */
static enum err inspect_claude(struct inspection *in, json_ref fields)
{
	const struct json *j = &in->doc;
	struct span raw = json_raw(j, fields);
	struct request_facts facts;
	struct buf body;
	enum err e;

	if (json_count(j, fields) == 0)
		return ERR_OK;
	if (json_get(j, fields, "messages") != JSON_NONE ||
	    json_get(j, fields, "system") != JSON_NONE)
		return inspection_refuse(
			in, ERR_FORMAT,
			"additionalModelRequestFields: messages do not "
			"belong there");
	request_facts_init(&facts);
	buf_init(&body, ADDITIONAL_MAX);
	e = buf_put_text(&body, "{\"messages\":[],");
	if (e == ERR_OK)
		e = buf_put(&body, raw.data + 1, raw.len_bytes - 1);
	(void)!span_copy_text(span_text("model"), facts.model,
			      sizeof(facts.model));
	if (e == ERR_OK)
		e = dialect_anthropic.inspect(ROUTE_MESSAGES, buf_span(&body),
					      in->seen, &facts);
	if (e == ERR_OK)
		e = adopt(in, &facts.features);
	else if (e != ERR_MEMORY)
		e = inspection_refuse(in, e,
				      facts.error_text[0]
					      ? facts.error_text
					      : "additionalModelRequestFields"
						": too large");
	buf_fini(&body);
	request_facts_fini(&facts);
	return e;
}

static enum err inspect_additional(struct inspection *in, json_ref root)
{
	const struct json *j = &in->doc;
	json_ref fields = json_get(j, root, "additionalModelRequestFields");
	enum err e;

	if (fields == JSON_NONE || json_is(j, fields, JSON_NULL))
		return ERR_OK;
	if (!json_is(j, fields, JSON_OBJECT))
		return inspection_refuse(
			in, ERR_FORMAT,
			"additionalModelRequestFields: not an object");
	e = inspect_claude(in, fields);
	if (e == ERR_OK && json_count(j, json_get(j, fields, "connectors")))
		e = inspection_add(in, "web_search");
	return e;
}

static enum err inspect_stored(struct inspection *in, json_ref root)
{
	const struct json *j = &in->doc;
	json_ref variables = json_get(j, root, "promptVariables");

	if (json_count(j, variables) || strstr(in->facts->model, ":prompt/"))
		return inspection_add(in, "stored_prompt");
	return ERR_OK;
}

static enum err inspect_document(struct inspection *in)
{
	json_ref root =
		in->route == ROUTE_BEDROCK_COUNT
			? json_find(&in->doc, JSON_ROOT, "input.converse")
			: JSON_ROOT;
	enum err e;

	if (!json_is(&in->doc, root, JSON_OBJECT))
		return inspection_refuse(in, ERR_FORMAT,
					 "the body is no JSON object");
	request_facts_limit(in->facts, &in->doc,
			    json_find(&in->doc, root,
				      "inferenceConfig.maxTokens"));
	e = inspect_stored(in, root);
	if (e == ERR_OK)
		e = inspect_tools(in, root);
	if (e == ERR_OK)
		e = inspect_additional(in, root);
	if (e == ERR_OK)
		e = inspect_messages(in, root);
	return e;
}

/**
 * converse_inspect() - Find out what a request asks for
 * @route:	ROUTE_CONVERSE, ROUTE_CONVERSE_STREAM, or ROUTE_BEDROCK_COUNT
 *		for a body whose "input.converse" is meant
 * @body:	Body
 * @seen:	Tool results that were reported
 * @facts:	Its model is in the path and set by the caller
 *
 * Return: ERR_OK; ERR_FORMAT or ERR_LIMIT (error_text); ERR_MEMORY.
 */
enum err converse_inspect(enum route route, struct span body, struct seen *seen,
			  struct request_facts *facts)
{
	facts->stream = route == ROUTE_CONVERSE_STREAM;
	facts->asks_usage = true;
	if (facts->model[0] == '\0') {
		(void)snprintf(facts->error_text, sizeof(facts->error_text),
			       "the path names no model");
		return ERR_FORMAT;
	}
	return inspection_run(route, body, seen, facts, inspect_document);
}
