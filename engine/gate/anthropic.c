/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic.c - what a request in Anthropic's dialect asks for
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   changes the body; overlooks a way to make the provider act outside
 *	    the VM that it knows of, or lets an unknown kind of tool pass.
 *
 * Anthropic Messages, version 2023-06-01. A tool without a type, or of type
 * "custom", is defined by the client and runs in the VM. Of the typed tools
 * some run at the client too (bash, text_editor, computer, memory: their
 * calls are tool_use blocks and are judged in the reply); all others act at
 * the provider and are features, an unknown type as "unknown_tool:TYPE".
 */
#include "engine/gate/dialect.h"

#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/anthropic_neutral.h"
#include "engine/gate/anthropic_reply.h"
#include "engine/gate/inspection.h"

#define CONTENT_DEPTH_MAX 4u /* lists of blocks inside each other */

static const struct {
	const char *prefix;  /* before the date */
	const char *feature; /* NULL: runs at the client */
} tool_kinds[] = {
	{"bash_", NULL},
	{"text_editor_", NULL},
	{"computer_", NULL},
	{"memory_", NULL},
	{"web_search_", "web_search"},
	{"web_fetch_", "web_fetch"},
	{"code_execution_", "code_execution"},
	{"tool_search_tool_", "tool_search"},
	{"advisor_", "advisor"},
	{"mcp_toolset", "mcp_servers"},
};

static bool is_date(struct span s)
{
	uint64_t date;

	return s.len_bytes == 8 &&
	       text_parse_u64(s, 20200101, 29991231, &date) == ERR_OK;
}

/* A tool that the provider's own programs may call. */
static enum err inspect_callers(struct inspection *in, json_ref tool)
{
	const struct json *j = &in->doc;
	json_ref callers = json_get(j, tool, "allowed_callers");

	if (!json_is(j, callers, JSON_ARRAY))
		return ERR_OK;
	JSON_EACH (j, caller, callers)
		if (!json_string_is(j, caller, "direct"))
			return inspection_add(in, "code_execution");
	return ERR_OK;
}

static enum err inspect_tool(struct inspection *in, json_ref tool)
{
	json_ref type = json_get(&in->doc, tool, "type");
	json_ref name = json_get(&in->doc, tool, "name");
	char text[64];
	size_t i;

	if (!json_is(&in->doc, tool, JSON_OBJECT))
		return inspection_refuse(in, ERR_FORMAT,
					 "tools: not a list of objects");
	if (type == JSON_NONE || json_is(&in->doc, type, JSON_NULL) ||
	    json_string_is(&in->doc, type, "custom")) {
		if (!json_is(&in->doc, name, JSON_STRING))
			return inspection_refuse(
				in, ERR_FORMAT, "tools: a tool without a name");
		inspection_note_tool(in, name);
		return inspect_callers(in, tool);
	}
	if (json_text(&in->doc, type, text, sizeof(text)) != ERR_OK)
		return inspection_add_string(in, "unknown_tool", type);
	for (i = 0; i < ARRAY_SIZE(tool_kinds); i++) {
		size_t len = strlen(tool_kinds[i].prefix);

		if (strncmp(text, tool_kinds[i].prefix, len) != 0)
			continue;
		if (tool_kinds[i].feature)
			return inspection_add(in, tool_kinds[i].feature);
		if (!is_date(span_text(text + len)))
			break;
		inspection_note_tool(in, name);
		return ERR_OK;
	}
	return inspection_add_string(in, "unknown_tool", type);
}

static enum err inspect_tools(struct inspection *in)
{
	json_ref tools = json_get(&in->doc, JSON_ROOT, "tools");
	enum err e = ERR_OK;

	if (tools == JSON_NONE || json_is(&in->doc, tools, JSON_NULL))
		return ERR_OK;
	if (!json_is(&in->doc, tools, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT, "tools: not a list");
	JSON_EACH (&in->doc, tool, tools) {
		e = inspect_tool(in, tool);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* Where an image's or document's bytes come from. */
static enum err inspect_source(struct inspection *in, json_ref block,
			       json_ref source)
{
	static const char *const inside[] = {"base64", "text", "content"};
	const struct json *j = &in->doc;
	json_ref type = json_get(j, source, "type");
	char kind[32];
	size_t i;

	if (json_string_is(j, type, "url")) {
		if (json_text(j, json_get(j, block, "type"), kind,
			      sizeof(kind)) != ERR_OK ||
		    (strcmp(kind, "image") != 0 &&
		     strcmp(kind, "document") != 0))
			return inspection_add(in, "url");
		return inspection_add(in, kind[0] == 'i' ? "url_image"
							 : "url_document");
	}
	if (json_string_is(j, type, "file"))
		return inspection_add(in, "file_id");
	for (i = 0; i < ARRAY_SIZE(inside); i++)
		if (json_string_is(j, type, inside[i]))
			return ERR_OK;
	return inspection_add_string(in, "unknown_source", type);
}

static void note_result(struct inspection *in, json_ref block)
{
	bool failed = false;

	(void)!json_bool(&in->doc, json_get(&in->doc, block, "is_error"),
			 &failed);
	inspection_note_result(in, json_get(&in->doc, block, "tool_use_id"),
			       failed);
}

/*
 * A tool that comes in mid-conversation (beta mid-conversation-tool-changes)
 * is judged as one that the request declares; a reference names one of those.
 */
static enum err inspect_addition(struct inspection *in, json_ref block)
{
	const struct json *j = &in->doc;
	json_ref tool = json_get(j, block, "tool");
	json_ref type = json_get(j, tool, "type");

	if (json_string_is(j, type, "tool_reference"))
		return ERR_OK;
	if (json_string_is(j, type, "tool_definition"))
		return inspect_tool(in, json_get(j, tool, "definition"));
	return inspection_add_string(in, "unknown_tool", type);
}

/* Content that the model reads; it makes the provider do nothing more. */
static bool is_known_content(const struct json *j, json_ref type)
{
	static const char *const known[] = {
		"text",
		"image",
		"document",
		"search_result",
		"tool_use",
		"tool_result",
		"thinking",
		"redacted_thinking",
		"server_tool_use",
		"mcp_tool_use",
		"tool_reference",
		"tool_addition",
		"tool_removal",
		"compaction",
		"fallback",
		"container_upload", /* a feature of its own */
	};
	/* What the provider's tools answered in earlier turns. */
	static const char *const ends[] = {"_result", "_result_error",
					   "_output"};
	char name[64];
	size_t i, len;

	if (json_text(j, type, name, sizeof(name)) != ERR_OK)
		return false;
	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(name, known[i]) == 0)
			return true;
	len = strlen(name);
	for (i = 0; i < ARRAY_SIZE(ends); i++)
		if (len > strlen(ends[i]) &&
		    strcmp(name + len - strlen(ends[i]), ends[i]) == 0)
			return true;
	return false;
}

static enum err inspect_content(struct inspection *in, json_ref content,
				unsigned depth);

static enum err inspect_block(struct inspection *in, json_ref block,
			      unsigned depth)
{
	const struct json *j = &in->doc;
	json_ref source = json_get(j, block, "source");
	json_ref type = json_get(j, block, "type");
	enum err e = ERR_OK;

	if (!json_is(j, block, JSON_OBJECT) || !json_is(j, type, JSON_STRING))
		return inspection_refuse(in, ERR_FORMAT,
					 "content: a block without type");
	/* A call's input is the agent's own; nothing in it is fetched. */
	if (json_string_is(j, type, "tool_use"))
		return ERR_OK;
	if (!is_known_content(j, type))
		e = inspection_add_string(in, "unknown_content", type);
	if (e == ERR_OK && json_string_is(j, type, "tool_addition"))
		e = inspect_addition(in, block);
	if (e == ERR_OK && json_string_is(j, type, "container_upload"))
		e = inspection_add(in, "container");
	if (e == ERR_OK && json_get(j, block, "file_id") != JSON_NONE)
		e = inspection_add(in, "file_id");
	if (e == ERR_OK && json_is(j, source, JSON_OBJECT)) {
		e = inspect_source(in, block, source);
		if (e == ERR_OK)
			e = inspect_content(in, json_get(j, source, "content"),
					    depth + 1);
	}
	if (e == ERR_OK && json_string_is(j, type, "tool_result"))
		note_result(in, block);
	if (e == ERR_OK)
		e = inspect_content(in, json_get(j, block, "content"),
				    depth + 1);
	return e;
}

/*
 * What the provider's tools answered is one object, and holds others. Only
 * where its bytes come from is of interest: it was fetched before.
 */
static enum err inspect_wrapped(struct inspection *in, json_ref at)
{
	const struct json *j = &in->doc;
	json_ref source;
	enum err e = ERR_OK;

	for (; e == ERR_OK && json_is(j, at, JSON_OBJECT);
	     at = json_get(j, at, "content")) {
		source = json_get(j, at, "source");
		if (json_is(j, source, JSON_OBJECT))
			e = inspect_source(in, at, source);
	}
	return e;
}

static enum err inspect_content(struct inspection *in, json_ref content,
				unsigned depth)
{
	enum err e;

	if (json_is(&in->doc, content, JSON_OBJECT))
		return inspect_wrapped(in, content);
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

static enum err inspect_messages(struct inspection *in)
{
	const struct json *j = &in->doc;
	json_ref messages = json_get(j, JSON_ROOT, "messages");
	enum err e;

	if (!json_is(j, messages, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT,
					 "messages: not a list");
	e = inspect_content(in, json_get(j, JSON_ROOT, "system"), 1);
	if (e != ERR_OK)
		return e;
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

/* What the provider does to the prompt before the model reads it. */
static enum err inspect_edit(struct inspection *in, json_ref edit)
{
	static const struct {
		const char *prefix; /* before the date */
		const char *feature;
	} table[] = {
		{"clear_tool_uses_", NULL},
		{"clear_thinking_", NULL},
		{"compact_", "compaction"},
	};
	json_ref type = json_get(&in->doc, edit, "type");
	char name[64] = "";
	size_t i, len;

	(void)!json_text(&in->doc, type, name, sizeof(name));
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		len = strlen(table[i].prefix);
		if (strncmp(name, table[i].prefix, len) != 0 ||
		    !is_date(span_text(name + len)))
			continue;
		return table[i].feature ? inspection_add(in, table[i].feature)
					: ERR_OK;
	}
	return inspection_add_string(in, "unknown_edit", type);
}

static enum err inspect_edits(struct inspection *in)
{
	json_ref edits =
		json_find(&in->doc, JSON_ROOT, "context_management.edits");
	enum err e = ERR_OK;

	if (!json_is(&in->doc, edits, JSON_ARRAY))
		return ERR_OK;
	JSON_EACH (&in->doc, edit, edits) {
		e = inspect_edit(in, edit);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err inspect_top(struct inspection *in)
{
	const struct json *j = &in->doc;
	json_ref servers = json_get(j, JSON_ROOT, "mcp_servers");
	json_ref container = json_get(j, JSON_ROOT, "container");
	json_ref stream = json_get(j, JSON_ROOT, "stream");
	enum err e = ERR_OK;

	if (!json_is(j, JSON_ROOT, JSON_OBJECT))
		return inspection_refuse(in, ERR_FORMAT,
					 "the body is no JSON object");
	/* Unless the path named it. */
	if (in->facts->model[0] == '\0' &&
	    (json_text(j, json_get(j, JSON_ROOT, "model"), in->facts->model,
		       sizeof(in->facts->model)) != ERR_OK ||
	     in->facts->model[0] == '\0'))
		return inspection_refuse(in, ERR_FORMAT,
					 "model: missing, no text or too long");
	request_facts_limit(in->facts, j, json_get(j, JSON_ROOT, "max_tokens"));
	if (stream != JSON_NONE && !json_is(j, stream, JSON_NULL) &&
	    json_bool(j, stream, &in->facts->stream) != ERR_OK)
		return inspection_refuse(in, ERR_FORMAT,
					 "stream: neither true nor false");
	if (servers != JSON_NONE && !json_is(j, servers, JSON_NULL) &&
	    !(json_is(j, servers, JSON_ARRAY) && json_count(j, servers) == 0))
		e = inspection_add(in, "mcp_servers");
	if (e == ERR_OK && container != JSON_NONE &&
	    !json_is(j, container, JSON_NULL))
		e = inspection_add(in, "container");
	/* Files and programs that the provider keeps. */
	if (e == ERR_OK && json_count(j, json_get(j, container, "skills")))
		e = inspection_add(in, "skills");
	if (e == ERR_OK)
		e = inspection_add_routed(in);
	return e == ERR_OK ? inspect_edits(in) : e;
}

/*
 * InvokeModel takes a body of the model's own form. Only Claude's demands
 * this member, and another's would be read here as what it is not.
 */
static enum err inspect_form(struct inspection *in)
{
	if ((in->route == ROUTE_INVOKE || in->route == ROUTE_INVOKE_STREAM ||
	     in->route == ROUTE_BEDROCK_COUNT) &&
	    !json_is(&in->doc,
		     json_get(&in->doc, JSON_ROOT, "anthropic_version"),
		     JSON_STRING))
		return inspection_refuse(
			in, ERR_FORMAT,
			"anthropic_version: missing; InvokeModel is understood "
			"for Anthropic's models only, use Converse for others");
	return ERR_OK;
}

static enum err inspect_document(struct inspection *in)
{
	enum err e = inspect_top(in);

	if (e == ERR_OK)
		e = inspect_form(in);
	if (e == ERR_OK)
		e = inspect_tools(in);
	if (e == ERR_OK)
		e = inspect_messages(in);
	return e;
}

static enum err inspect(enum route route, struct span body, struct seen *seen,
			struct request_facts *facts)
{
	if (route == ROUTE_MODELS)
		return ERR_OK;
	return inspection_run(route, body, seen, facts, inspect_document);
}

static const char *error_type(unsigned http_status)
{
	static const struct {
		unsigned status;
		const char *type;
	} table[] = {
		{400, "invalid_request_error"}, {401, "authentication_error"},
		{402, "billing_error"},         {403, "permission_error"},
		{404, "not_found_error"},       {405, "invalid_request_error"},
		{408, "timeout_error"},         {413, "request_too_large"},
		{429, "rate_limit_error"},      {431, "invalid_request_error"},
		{503, "overloaded_error"},      {504, "timeout_error"},
		{529, "overloaded_error"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].status == http_status)
			return table[i].type;
	return "api_error";
}

static const char *const forwarded_headers[] = {
	"anthropic-version",
	"anthropic-beta",
	NULL,
};

const struct dialect_ops dialect_anthropic = {
	.id = DIALECT_ANTHROPIC,
	.forwarded_headers = forwarded_headers,
	.inspect = inspect,
	.stream_new = anthropic_stream_new,
	.body_new = anthropic_body_new,
	.error_type = error_type,
	.put_error = anthropic_put_error,
	.rewrite = anthropic_rewrite,
	.read_request = anthropic_read_request,
	.write_request = anthropic_write_request,
	.reader_new = anthropic_reader_new,
	.writer_new = anthropic_writer_new,
	.stream_type = "text/event-stream",
	.read_error = anthropic_read_http_error,
	.error_name = anthropic_error_name,
};

/** request_facts_init() - Prepare empty facts */
void request_facts_init(struct request_facts *f)
{
	*f = (struct request_facts){.stream = false};
	buf_init(&f->features, FEATURES_MAX_BYTES);
	buf_init(&f->tools, TOOLS_MAX_BYTES);
	buf_init(&f->results, RESULTS_MAX_BYTES);
}

/** request_facts_fini() - Release what the facts hold */
void request_facts_fini(struct request_facts *f)
{
	buf_fini(&f->features);
	buf_fini(&f->tools);
	buf_fini(&f->results);
}
