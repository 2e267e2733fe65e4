/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_inspect.c - what a request in the Responses dialect asks for
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   changes the body; overlooks a way to make the provider act outside
 *	    the VM that it knows of, or lets an unknown kind of tool, item or
 *	    content pass.
 *
 * OpenAI Responses, with what OpenRouter added. Tools of the types function,
 * custom, namespace, local_shell, shell, apply_patch and computer run at the
 * client: their calls are judged in the reply. All others act at the provider
 * and are features, an unknown type as "unknown_tool:TYPE".
 *
 * The API's default is to store every response. That nobody asked for, so
 * facts->amend has the gate write "store":false where nothing is said;
 * "store":true is a feature.
 */
#include "engine/gate/responses.h"

#include <stdio.h>
#include <string.h>

#include "engine/gate/inspection.h"

static json_ref top(const struct inspection *in, const char *key)
{
	return json_get(&in->doc, JSON_ROOT, key);
}

static enum err note_name(struct inspection *in, struct span space,
			  json_ref name)
{
	char text[TOOL_NAME_MAX_BYTES + 1];
	struct buf joined;
	enum err e;

	if (!json_is(&in->doc, name, JSON_STRING))
		return inspection_refuse(in, ERR_FORMAT,
					 "tools: a tool without a name");
	/* The list is for the record; calls are judged one by one. */
	if (in->n_tools == ATTR_LIST_MAX_ITEMS ||
	    json_text(&in->doc, name, text, sizeof(text)) != ERR_OK)
		return ERR_OK;
	buf_init(&joined, TOOL_NAME_MAX_BYTES);
	e = responses_join_name(space, span_text(text), &joined);
	if (e == ERR_OK &&
	    span_copy_text(buf_span(&joined), in->tool_names[in->n_tools],
			   TOOL_NAME_MAX_BYTES + 1) == ERR_OK)
		in->n_tools++;
	buf_fini(&joined);
	return e == ERR_MEMORY ? e : ERR_OK;
}

static void note_fixed(struct inspection *in, const char *name)
{
	if (in->n_tools < ATTR_LIST_MAX_ITEMS)
		(void)snprintf(in->tool_names[in->n_tools++],
			       TOOL_NAME_MAX_BYTES + 1, "%s", name);
}

static const struct {
	const char *type;
	bool is_prefix;
	const char *feature; /* NULL: runs at the client... */
	const char *name;    /* ...under this name */
} tool_kinds[] = {
	{"local_shell", false, NULL, "local_shell"},
	{"apply_patch", false, NULL, "apply_patch"},
	{"computer", false, NULL, "computer"},
	{"computer_use", true, NULL, "computer"},
	{"web_search", true, "web_search", NULL},
	{"web_fetch", true, "web_fetch", NULL},
	{"file_search", false, "file_search", NULL},
	{"code_interpreter", false, "code_execution", NULL},
	{"programmatic_tool_calling", false, "code_execution", NULL},
	{"image_generation", false, "image_generation", NULL},
	{"mcp", false, "mcp_servers", NULL},
};

static enum err inspect_plain_tool(struct inspection *in, json_ref type)
{
	char text[64];
	size_t i;

	if (json_text(&in->doc, type, text, sizeof(text)) != ERR_OK)
		return inspection_add_string(in, "unknown_tool", type);
	for (i = 0; i < ARRAY_SIZE(tool_kinds); i++) {
		size_t len = strlen(tool_kinds[i].type);

		if (strncmp(text, tool_kinds[i].type, len) != 0 ||
		    (text[len] &&
		     !(tool_kinds[i].is_prefix && text[len] == '_')))
			continue;
		if (tool_kinds[i].feature)
			return inspection_add(in, tool_kinds[i].feature);
		note_fixed(in, tool_kinds[i].name);
		return ERR_OK;
	}
	return inspection_add_string(in, "unknown_tool", type);
}

static enum err inspect_tool(struct inspection *in, struct span space,
			     json_ref tool);

static enum err inspect_namespace(struct inspection *in, json_ref space)
{
	const struct json *j = &in->doc;
	char name[TOOL_NAME_MAX_BYTES + 1];
	enum err e = ERR_OK;

	if (json_text(j, json_get(j, space, "name"), name, sizeof(name)) !=
		    ERR_OK ||
	    name[0] == '\0')
		return inspection_refuse(
			in, ERR_FORMAT,
			"tools: a namespace without a proper name");
	JSON_EACH (j, tool, json_get(j, space, "tools")) {
		e = inspect_tool(in, span_text(name), tool);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err inspect_shell(struct inspection *in, json_ref tool)
{
	json_ref where = json_get(&in->doc, tool, "environment");

	note_fixed(in, "shell");
	if (!inspection_is_set(in, where) ||
	    json_string_is(&in->doc, json_get(&in->doc, where, "type"),
			   "local"))
		return ERR_OK;
	return inspection_add(in, "container");
}

static enum err inspect_tool(struct inspection *in, struct span space,
			     json_ref tool)
{
	const struct json *j = &in->doc;
	json_ref type = json_get(j, tool, "type");

	if (!json_is(j, tool, JSON_OBJECT))
		return inspection_refuse(in, ERR_FORMAT,
					 "tools: not a list of objects");
	if (json_string_is(j, type, "function") ||
	    json_string_is(j, type, "custom"))
		return note_name(in, space, json_get(j, tool, "name"));
	/* Namespaces hold functions only. */
	if (space.len_bytes)
		return inspection_add_string(in, "unknown_tool", type);
	if (json_string_is(j, type, "namespace"))
		return inspect_namespace(in, tool);
	if (json_string_is(j, type, "shell"))
		return inspect_shell(in, tool);
	if (json_string_is(j, type, "tool_search")) {
		if (!json_string_is(j, json_get(j, tool, "execution"),
				    "client"))
			return inspection_add(in, "tool_search");
		note_fixed(in, "tool_search");
		return ERR_OK;
	}
	return inspect_plain_tool(in, type);
}

static enum err inspect_tools(struct inspection *in, json_ref tools)
{
	enum err e = ERR_OK;

	if (!inspection_is_set(in, tools))
		return ERR_OK;
	if (!json_is(&in->doc, tools, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT, "tools: not a list");
	JSON_EACH (&in->doc, tool, tools) {
		e = inspect_tool(in, span_text(""), tool);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static const struct {
	const char *type;
	const char *feature; /* NULL: nothing is fetched or stored */
} part_kinds[] = {
	{"input_text", NULL},
	{"output_text", NULL},
	{"text", NULL},
	{"refusal", NULL},
	{"summary_text", NULL},
	{"reasoning_text", NULL},
	{"input_image", NULL},
	{"input_file", NULL},
	{"computer_screenshot", NULL},
	{"encrypted_content", NULL},
	{"input_audio", "input_audio"},
};

/* Images, files and screenshots: where their bytes come from. */
static enum err inspect_origin(struct inspection *in, json_ref part)
{
	const struct json *j = &in->doc;
	json_ref image = json_get(j, part, "image_url");
	json_ref data = json_get(j, part, "file_data");
	struct span raw = json_raw(j, data);
	enum err e = ERR_OK;

	if (inspection_is_set(in, json_get(j, part, "file_id")))
		e = inspection_add(in, "file_id");
	if (json_is(j, image, JSON_OBJECT))
		image = json_get(j, image, "url");
	if (e == ERR_OK && inspection_is_set(in, image) &&
	    !inspection_is_data_url(in, image))
		e = inspection_add(in, "url_image");
	if (e == ERR_OK && inspection_is_set(in, json_get(j, part, "file_url")))
		e = inspection_add(in, "url_document");
	/* Bare base64 has no colon; whatever else has one is an address. */
	if (e == ERR_OK && inspection_is_set(in, data) &&
	    !inspection_is_data_url(in, data) &&
	    (!json_is(j, data, JSON_STRING) ||
	     memchr(raw.data, ':', raw.len_bytes) ||
	     memchr(raw.data, '\\', raw.len_bytes)))
		e = inspection_add(in, "url_document");
	return e;
}

static enum err inspect_part(struct inspection *in, json_ref part)
{
	json_ref type = json_get(&in->doc, part, "type");
	size_t i;
	enum err e;

	if (!json_is(&in->doc, part, JSON_OBJECT) ||
	    !json_is(&in->doc, type, JSON_STRING))
		return inspection_refuse(in, ERR_FORMAT,
					 "input: content without a type");
	e = inspect_origin(in, part);
	if (e != ERR_OK)
		return e;
	for (i = 0; i < ARRAY_SIZE(part_kinds); i++)
		if (json_string_is(&in->doc, type, part_kinds[i].type))
			return part_kinds[i].feature
				       ? inspection_add(in,
							part_kinds[i].feature)
				       : ERR_OK;
	return inspection_add_string(in, "unknown_content", type);
}

static enum err inspect_content(struct inspection *in, json_ref content)
{
	enum err e = ERR_OK;

	if (json_is(&in->doc, content, JSON_OBJECT))
		return inspect_part(in, content);
	if (!json_is(&in->doc, content, JSON_ARRAY))
		return ERR_OK;
	JSON_EACH (&in->doc, part, content) {
		e = inspect_part(in, part);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static void note_result(struct inspection *in, json_ref item)
{
	const struct json *j = &in->doc;
	json_ref at = json_get(j, item, "call_id");
	json_ref status = json_get(j, item, "status");
	bool failed = json_string_is(j, status, "failed") ||
		      json_string_is(j, status, "incomplete");

	if (!json_is(j, at, JSON_STRING))
		at = json_get(j, item, "id");
	inspection_note_result(in, at, failed);
}

enum item_action { ITEM_NOTHING, ITEM_CONTENT, ITEM_RESULT, ITEM_TOOLS };

/* What a call says is the agent's own; nothing in it is fetched. */
static const struct {
	const char *type;
	enum item_action action;
	const char *feature;
} item_kinds[] = {
	{"message", ITEM_CONTENT, NULL},
	{"function_call", ITEM_NOTHING, NULL},
	{"function_call_output", ITEM_RESULT, NULL},
	{"custom_tool_call", ITEM_NOTHING, NULL},
	{"custom_tool_call_output", ITEM_RESULT, NULL},
	{"local_shell_call", ITEM_NOTHING, NULL},
	{"local_shell_call_output", ITEM_RESULT, NULL},
	{"shell_call", ITEM_NOTHING, NULL},
	{"shell_call_output", ITEM_NOTHING, NULL}, /* see inspect_item() */
	{"apply_patch_call", ITEM_NOTHING, NULL},
	{"apply_patch_call_output", ITEM_RESULT, NULL},
	{"computer_call", ITEM_NOTHING, NULL},
	{"computer_call_output", ITEM_RESULT, NULL},
	{"tool_search_call", ITEM_NOTHING, NULL},
	{"tool_search_output", ITEM_TOOLS, NULL},
	{"additional_tools", ITEM_TOOLS, NULL},
	{"reasoning", ITEM_CONTENT, NULL},
	{"compaction", ITEM_NOTHING, NULL},
	{"configuration_update", ITEM_NOTHING, NULL},
	/* What the provider did before; repeating it has no effect. */
	{"web_search_call", ITEM_NOTHING, NULL},
	{"file_search_call", ITEM_NOTHING, NULL},
	{"code_interpreter_call", ITEM_NOTHING, NULL},
	{"image_generation_call", ITEM_NOTHING, NULL},
	{"mcp_list_tools", ITEM_NOTHING, NULL},
	{"mcp_call", ITEM_NOTHING, NULL},
	{"mcp_approval_request", ITEM_NOTHING, NULL},
	{"program", ITEM_NOTHING, NULL},
	{"program_output", ITEM_NOTHING, NULL},
	{"mcp_approval_response", ITEM_NOTHING, "mcp_servers"},
	{"compaction_trigger", ITEM_NOTHING, "compaction"},
	{"item_reference", ITEM_NOTHING, "stored_response"},
};

static enum err inspect_known(struct inspection *in, json_ref item, size_t i)
{
	const struct json *j = &in->doc;

	if (item_kinds[i].feature)
		return inspection_add(in, item_kinds[i].feature);
	switch (item_kinds[i].action) {
	case ITEM_NOTHING:
		return ERR_OK;
	case ITEM_CONTENT:
		return inspect_content(in, json_get(j, item, "content"));
	case ITEM_RESULT:
		note_result(in, item);
		return inspect_content(in, json_get(j, item, "output"));
	case ITEM_TOOLS:
		if (json_string_is(j, json_get(j, item, "type"),
				   "tool_search_output"))
			note_result(in, item);
		return inspect_tools(in, json_get(j, item, "tools"));
	}
	return ERR_OK;
}

static enum err inspect_item(struct inspection *in, json_ref item)
{
	const struct json *j = &in->doc;
	json_ref type = json_get(j, item, "type");
	size_t i;

	if (!json_is(j, item, JSON_OBJECT))
		return inspection_refuse(in, ERR_FORMAT,
					 "input: not a list of objects");
	if (!inspection_is_set(in, type)) {
		if (json_is(j, json_get(j, item, "role"), JSON_STRING))
			return inspect_content(in,
					       json_get(j, item, "content"));
		return inspection_add(in, "stored_response");
	}
	/* Its output lists texts without types. */
	if (json_string_is(j, type, "shell_call_output"))
		note_result(in, item);
	for (i = 0; i < ARRAY_SIZE(item_kinds); i++)
		if (json_string_is(j, type, item_kinds[i].type))
			return inspect_known(in, item, i);
	return inspection_add_string(in, "unknown_item", type);
}

static enum err inspect_input(struct inspection *in)
{
	const struct json *j = &in->doc;
	json_ref input = top(in, "input");
	enum err e = ERR_OK;

	if (inspection_is_set(in, input) && !json_is(j, input, JSON_STRING) &&
	    !json_is(j, input, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT,
					 "input: neither a string nor a list");
	if (!json_is(j, input, JSON_ARRAY))
		return ERR_OK;
	JSON_EACH (j, item, input) {
		e = inspect_item(in, item);
		if (e != ERR_OK)
			break;
	}
	return e;
}

/* Members that have the provider do more than answer. */
static const struct {
	const char *field, *feature;
} field_features[] = {
	{"background", "background"},
	{"previous_response_id", "stored_response"},
	{"conversation", "stored_response"},
	{"prompt", "stored_prompt"},
	{"context_management", "compaction"},
	{"mcp_servers", "mcp_servers"},
	{"container", "container"},
};

static enum err inspect_fields(struct inspection *in)
{
	const struct json *j = &in->doc;
	json_ref store = top(in, "store");
	bool stored = false;
	enum err e = ERR_OK;
	size_t i;

	if (inspection_is_set(in, store) &&
	    json_bool(j, store, &stored) != ERR_OK)
		return inspection_refuse(in, ERR_FORMAT,
					 "store: neither true nor false");
	in->facts->amend = in->route != ROUTE_RESPONSES_COUNT &&
			   !inspection_is_set(in, store);
	if (stored)
		e = inspection_add(in, "store");
	if (e == ERR_OK)
		e = inspection_add_routed(in);
	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(field_features); i++)
		if (inspection_asks(in, top(in, field_features[i].field)))
			e = inspection_add(in, field_features[i].feature);
	return e;
}

static enum err inspect_top(struct inspection *in)
{
	const struct json *j = &in->doc;
	json_ref stream = top(in, "stream");

	if (!json_is(j, JSON_ROOT, JSON_OBJECT))
		return inspection_refuse(in, ERR_FORMAT,
					 "the body is no JSON object");
	if (json_text(j, top(in, "model"), in->facts->model,
		      sizeof(in->facts->model)) != ERR_OK ||
	    in->facts->model[0] == '\0')
		return inspection_refuse(in, ERR_FORMAT,
					 "model: missing, no text or too long");
	if (inspection_is_set(in, stream) &&
	    json_bool(j, stream, &in->facts->stream) != ERR_OK)
		return inspection_refuse(in, ERR_FORMAT,
					 "stream: neither true nor false");
	request_facts_limit(in->facts, j, top(in, "max_output_tokens"));
	/* Usage is always in the stream. */
	in->facts->asks_usage = true;
	return inspect_fields(in);
}

static enum err inspect_document(struct inspection *in)
{
	enum err e = inspect_top(in);

	if (e == ERR_OK)
		e = inspect_tools(in, top(in, "tools"));
	if (e == ERR_OK)
		e = inspect_input(in);
	return e;
}

/**
 * responses_inspect() - Find what policy and audit need to know
 * @route:	Route
 * @body:	Whole body
 * @seen:	Tool results that were reported before
 * @facts:	Initialised; written
 *
 * Return: ERR_OK; ERR_FORMAT or ERR_LIMIT with error_text; ERR_MEMORY.
 */
enum err responses_inspect(enum route route, struct span body,
			   struct seen *seen, struct request_facts *facts)
{
	if (route == ROUTE_MODELS)
		return ERR_OK;
	return inspection_run(route, body, seen, facts, inspect_document);
}
