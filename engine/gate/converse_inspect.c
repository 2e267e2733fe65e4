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
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/proto/attrs.h"

#define REQUEST_TOKENS_MAX (1u << 20)
#define CONTENT_DEPTH_MAX  4u /* lists of blocks inside each other */
#define ADDITIONAL_MAX     (4u << 20)

struct inspection {
	struct json doc;
	struct request_facts *facts;
	struct seen *seen;
	char features[FEATURES_MAX][FEATURE_MAX_BYTES + 1];
	size_t n_features;
	char tool_names[ATTR_LIST_MAX_ITEMS][TOOL_NAME_MAX_BYTES + 1];
	size_t n_tools;
};

static enum err refuse(struct inspection *in, enum err e, const char *why)
{
	(void)snprintf(in->facts->error_text, sizeof(in->facts->error_text),
		       "%s", why);
	return e;
}

static enum err add_feature(struct inspection *in, const char *kind,
			    struct span detail)
{
	char name[FEATURE_MAX_BYTES + 1];
	int len = snprintf(name, sizeof(name), "%s%s", kind,
			   kind[0] && detail.len_bytes ? ":" : "");
	size_t i;

	if (len >= 0 && detail.len_bytes)
		(void)text_escape_line(detail, name + len,
				       sizeof(name) - (size_t)len);
	for (i = 0; i < in->n_features; i++)
		if (strcmp(in->features[i], name) == 0)
			return ERR_OK;
	if (in->n_features == FEATURES_MAX)
		return refuse(in, ERR_LIMIT, "too many provider-side features");
	memcpy(in->features[in->n_features++], name, sizeof(name));
	return ERR_OK;
}

static enum err add_plain(struct inspection *in, const char *kind)
{
	return add_feature(in, kind, span_text(""));
}

/* A feature named after a member's key or a string. */
static enum err add_named(struct inspection *in, const char *kind,
			  json_ref found, bool key)
{
	struct buf text;
	enum err e;

	buf_init(&text, BODY_MAX_BYTES);
	e = key ? json_key(&in->doc, found, &text)
		: json_string(&in->doc, found, &text);
	if (e == ERR_OK)
		e = add_feature(in, kind, buf_span(&text));
	else if (e != ERR_MEMORY)
		e = add_feature(in, kind, span_text("?"));
	buf_fini(&text);
	return e;
}

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
			return add_plain(in, system_tools[i].feature);
	return add_named(in, "unknown_tool", name, false);
}

static enum err inspect_tool(struct inspection *in, json_ref tool)
{
	const struct json *j = &in->doc;
	json_ref name;
	enum err e;

	if (!json_is(j, tool, JSON_OBJECT))
		return refuse(in, ERR_FORMAT,
			      "toolConfig.tools: not a list of objects");
	JSON_EACH (j, kind, tool) {
		if (json_key_is(j, kind, "cachePoint"))
			continue;
		if (json_key_is(j, kind, "systemTool")) {
			e = inspect_system_tool(in, kind);
		} else if (!json_key_is(j, kind, "toolSpec")) {
			e = add_named(in, "unknown_tool", kind, true);
		} else {
			name = json_get(j, kind, "name");
			if (!json_is(j, name, JSON_STRING))
				return refuse(in, ERR_FORMAT,
					      "toolConfig.tools: a tool "
					      "without a name");
			/* For the record; calls are judged one by one. */
			if (in->n_tools < ATTR_LIST_MAX_ITEMS &&
			    json_text(j, name, in->tool_names[in->n_tools],
				      sizeof(in->tool_names[0])) == ERR_OK)
				in->n_tools++;
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
		return refuse(in, ERR_FORMAT, "toolConfig.tools: not a list");
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
			e = add_plain(in, "s3_object");
		else
			e = add_named(in, "unknown_source", kind, true);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static void note_result(struct inspection *in, json_ref result)
{
	struct request_facts *f = in->facts;
	json_ref status = json_get(&in->doc, result, "status");
	json_ref id_at = json_get(&in->doc, result, "toolUseId");
	bool failed = json_string_is(&in->doc, status, "error");
	char id[CALL_ID_MAX_BYTES + 1];

	if (json_text(&in->doc, id_at, id, sizeof(id)) != ERR_OK ||
	    id[0] == '\0' || seen_has(in->seen, span_text(id)))
		return;
	/* One that does not fit is reported with the next request. */
	if (attrs_put_text(&f->results, id,
			   span_text(failed ? "error" : "ok")) == ERR_OK)
		seen_add(in->seen, span_text(id));
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
		return refuse(in, ERR_FORMAT, "content: not a list of blocks");
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
		return refuse(in, ERR_LIMIT, "content: nested too deeply");
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
		return refuse(in, ERR_FORMAT, "messages: not a list");
	JSON_EACH (j, message, messages) {
		if (!json_is(j, message, JSON_OBJECT))
			return refuse(in, ERR_FORMAT,
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
			e = add_feature(in, "", one);
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
		return refuse(in, ERR_FORMAT,
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
		e = dialect_anthropic.inspect(ROUTE_INVOKE, buf_span(&body),
					      in->seen, &facts);
	if (e == ERR_OK)
		e = adopt(in, &facts.features);
	else if (e != ERR_MEMORY)
		e = refuse(in, e,
			   facts.error_text[0] ? facts.error_text
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
		return refuse(in, ERR_FORMAT,
			      "additionalModelRequestFields: not an object");
	e = inspect_claude(in, fields);
	if (e == ERR_OK && json_count(j, json_get(j, fields, "connectors")))
		e = add_plain(in, "web_search");
	return e;
}

static enum err inspect_stored(struct inspection *in, json_ref root)
{
	const struct json *j = &in->doc;
	json_ref variables = json_get(j, root, "promptVariables");

	if (json_count(j, variables) || strstr(in->facts->model, ":prompt/"))
		return add_plain(in, "stored_prompt");
	return ERR_OK;
}

static enum err put_names(struct buf *b, const char *key, const char *names,
			  size_t stride, size_t count)
{
	struct span items[ATTR_LIST_MAX_ITEMS];
	size_t i;
	enum err e;

	if (count == 0)
		return ERR_OK;
	for (i = 0; i < count; i++)
		items[i] = span_text(names + i * stride);
	do
		e = attrs_put_list(b, key, items, count);
	while (e == ERR_LIMIT && count-- > 1);
	return e;
}

static enum err inspect_document(struct inspection *in, json_ref root)
{
	struct request_facts *f = in->facts;
	enum err e;

	if (!json_is(&in->doc, root, JSON_OBJECT))
		return refuse(in, ERR_FORMAT, "the body is no JSON object");
	request_facts_limit(f, &in->doc,
			    json_find(&in->doc, root,
				      "inferenceConfig.maxTokens"));
	e = inspect_stored(in, root);
	if (e == ERR_OK)
		e = inspect_tools(in, root);
	if (e == ERR_OK)
		e = inspect_additional(in, root);
	if (e == ERR_OK)
		e = inspect_messages(in, root);
	if (e == ERR_OK)
		e = put_names(&f->features, "features", in->features[0],
			      sizeof(in->features[0]), in->n_features);
	if (e == ERR_OK)
		e = put_names(&f->tools, "tools", in->tool_names[0],
			      sizeof(in->tool_names[0]), in->n_tools);
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
	const struct json_limits limits = {
		.max_bytes = BODY_MAX_BYTES,
		.max_tokens = REQUEST_TOKENS_MAX,
		.allow_nul = true,
	};
	struct inspection *in;
	json_ref root = JSON_ROOT;
	enum err e;

	facts->stream = route == ROUTE_CONVERSE_STREAM;
	facts->asks_usage = true;
	if (facts->model[0] == '\0') {
		(void)snprintf(facts->error_text, sizeof(facts->error_text),
			       "the path names no model");
		return ERR_FORMAT;
	}
	in = calloc(1, sizeof(*in));
	if (!in)
		return ERR_MEMORY;
	in->facts = facts;
	in->seen = seen;
	json_init(&in->doc);
	e = json_parse(&in->doc, body, &limits);
	if (e == ERR_OK && route == ROUTE_BEDROCK_COUNT)
		root = json_find(&in->doc, JSON_ROOT, "input.converse");
	if (e == ERR_OK)
		e = inspect_document(in, root);
	else if (e != ERR_MEMORY)
		(void)snprintf(facts->error_text, sizeof(facts->error_text),
			       "the body is not valid JSON: %s at byte %zu",
			       in->doc.error_text, in->doc.error_at_bytes);
	json_fini(&in->doc);
	free(in);
	return e == ERR_SHORT ? ERR_FORMAT : e;
}
