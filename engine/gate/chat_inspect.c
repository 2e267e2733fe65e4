/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_inspect.c - what a chat completions request asks for
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   changes the body; overlooks a way to make the provider act outside
 *	    the VM that it knows of, or lets an unknown kind of tool or content
 *	    pass.
 *
 * OpenAI chat completions, with the members that other servers of this
 * dialect added. Tools of type function and custom run in the VM: their calls
 * are judged in the reply. All others act at the provider and are features
 * "unknown_tool:TYPE". So are addresses that the provider would fetch, files
 * and answers that it stores, and routes to other models than the one judged.
 */
#include "engine/gate/chat.h"

#include <string.h>

#include "engine/gate/inspection.h"

static json_ref top(const struct inspection *in, const char *key)
{
	return json_get(&in->doc, JSON_ROOT, key);
}

static enum err note_name(struct inspection *in, json_ref name)
{
	if (!json_is(&in->doc, name, JSON_STRING))
		return inspection_refuse(in, ERR_FORMAT,
					 "tools: a tool without a name");
	inspection_note_tool(in, name);
	return ERR_OK;
}

static enum err inspect_tool(struct inspection *in, json_ref tool)
{
	const struct json *j = &in->doc;
	json_ref type = json_get(j, tool, "type");

	if (!json_is(j, tool, JSON_OBJECT))
		return inspection_refuse(in, ERR_FORMAT,
					 "tools: not a list of objects");
	if (!inspection_is_set(in, type) || json_string_is(j, type, "function"))
		return note_name(in, json_find(j, tool, "function.name"));
	if (json_string_is(j, type, "custom"))
		return note_name(in, json_find(j, tool, "custom.name"));
	return inspection_add_string(in, "unknown_tool", type);
}

static enum err inspect_tools(struct inspection *in)
{
	const struct json *j = &in->doc;
	json_ref tools = top(in, "tools"), old = top(in, "functions");
	enum err e = ERR_OK;

	if (inspection_is_set(in, tools) && !json_is(j, tools, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT, "tools: not a list");
	if (inspection_is_set(in, old) && !json_is(j, old, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT,
					 "functions: not a list");
	JSON_EACH (j, tool, tools) {
		e = inspect_tool(in, tool);
		if (e != ERR_OK)
			return e;
	}
	JSON_EACH (j, function, old) {
		e = note_name(in, json_get(j, function, "name"));
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* image_url, video_url...: an object with a url, or the url itself. */
static enum err inspect_url(struct inspection *in, json_ref part,
			    const char *key, const char *feature)
{
	const struct json *j = &in->doc;
	json_ref at = json_get(j, part, key);

	if (json_is(j, at, JSON_OBJECT))
		at = json_get(j, at, "url");
	return inspection_is_data_url(in, at) ? ERR_OK
					      : inspection_add(in, feature);
}

static enum err inspect_file(struct inspection *in, json_ref part)
{
	const struct json *j = &in->doc;
	json_ref file = json_get(j, part, "file");
	json_ref data = json_get(j, file, "file_data");
	json_ref url = json_get(j, file, "file_url");
	struct span raw = json_raw(j, data);
	enum err e = ERR_OK;

	if (inspection_is_set(in, json_get(j, file, "file_id")) ||
	    inspection_is_set(in, json_get(j, part, "file_id")))
		e = inspection_add(in, "file_id");
	if (e != ERR_OK)
		return e;
	if (inspection_is_set(in, url))
		return inspection_add(in, "url_document");
	/* Bare base64 has no colon; whatever else has one is an address. */
	if (inspection_is_set(in, data) && !inspection_is_data_url(in, data) &&
	    (!json_is(j, data, JSON_STRING) ||
	     memchr(raw.data, ':', raw.len_bytes) ||
	     memchr(raw.data, '\\', raw.len_bytes)))
		return inspection_add(in, "url_document");
	return ERR_OK;
}

static const struct {
	const char *type;
	const char *feature; /* NULL: nothing is fetched or stored */
} part_kinds[] = {
	{"text", NULL},           {"refusal", NULL},
	{"thinking", NULL},       {"redacted_thinking", NULL},
	{"reasoning", NULL},      {"input_audio", "input_audio"},
	{"audio", "input_audio"},
};

static enum err inspect_part(struct inspection *in, json_ref part)
{
	const struct json *j = &in->doc;
	json_ref type = json_get(j, part, "type");
	size_t i;

	if (json_is(j, part, JSON_STRING))
		return ERR_OK;
	if (!json_is(j, part, JSON_OBJECT) || !json_is(j, type, JSON_STRING))
		return inspection_refuse(in, ERR_FORMAT,
					 "content: a part without type");
	if (json_string_is(j, type, "image_url"))
		return inspect_url(in, part, "image_url", "url_image");
	if (json_string_is(j, type, "video_url"))
		return inspect_url(in, part, "video_url", "url_video");
	if (json_string_is(j, type, "audio_url"))
		return inspect_url(in, part, "audio_url", "url_audio");
	if (json_string_is(j, type, "file"))
		return inspect_file(in, part);
	for (i = 0; i < ARRAY_SIZE(part_kinds); i++)
		if (json_string_is(j, type, part_kinds[i].type))
			return part_kinds[i].feature
				       ? inspection_add(in,
							part_kinds[i].feature)
				       : ERR_OK;
	return inspection_add_string(in, "unknown_content", type);
}

static enum err inspect_message(struct inspection *in, json_ref message)
{
	const struct json *j = &in->doc;
	json_ref content = json_get(j, message, "content");
	enum err e = ERR_OK;

	if (!json_is(j, message, JSON_OBJECT))
		return inspection_refuse(in, ERR_FORMAT,
					 "messages: not a list of objects");
	/* OpenRouter's place for what a model has drawn. */
	JSON_EACH (j, image, json_get(j, message, "images")) {
		if (e == ERR_OK)
			e = inspect_url(in, image, "image_url", "url_image");
	}
	if (e != ERR_OK)
		return e;
	if (inspection_is_set(in, json_get(j, message, "audio")))
		e = inspection_add(in, "stored_audio");
	if (e == ERR_OK && json_is(j, content, JSON_OBJECT))
		e = inspect_part(in, content);
	if (e != ERR_OK)
		return e;
	if (json_is(j, content, JSON_ARRAY))
		JSON_EACH (j, part, content) {
			e = inspect_part(in, part);
			if (e != ERR_OK)
				return e;
		}
	if (json_string_is(j, json_get(j, message, "role"), "tool"))
		inspection_note_result(in, json_get(j, message, "tool_call_id"),
				       false);
	return ERR_OK;
}

static enum err inspect_messages(struct inspection *in)
{
	json_ref messages = top(in, "messages");
	enum err e;

	if (!json_is(&in->doc, messages, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT,
					 "messages: not a list");
	JSON_EACH (&in->doc, message, messages) {
		e = inspect_message(in, message);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* Members that have the provider do more than answer. */
static const struct {
	const char *field, *feature;
} field_features[] = {
	{"store", "store"},
	{"background", "background"},
	{"audio", "audio_output"},
	{"mcp_servers", "mcp_servers"},
	{"container", "container"},
	{"previous_response_id", "stored_response"},
	{"conversation", "stored_response"},
};

static enum err inspect_fields(struct inspection *in)
{
	const struct json *j = &in->doc;
	json_ref modes = top(in, "modalities");
	enum err e = inspection_add_routed(in);
	size_t i;

	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(field_features); i++)
		if (inspection_asks(in, top(in, field_features[i].field)))
			e = inspection_add(in, field_features[i].feature);
	if (e != ERR_OK)
		return e;
	if (inspection_is_set(in, modes) && !json_is(j, modes, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT,
					 "modalities: not a list");
	JSON_EACH (j, mode, modes) {
		if (json_string_is(j, mode, "text"))
			continue;
		e = json_string_is(j, mode, "audio")
			    ? inspection_add(in, "audio_output")
			    : inspection_add_string(in, "modality", mode);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* How many tokens all choices may have together. */
static enum err inspect_limit(struct inspection *in)
{
	struct request_facts *f = in->facts;
	uint64_t n = 1;

	request_facts_limit(f, &in->doc, top(in, "max_tokens"));
	request_facts_limit(f, &in->doc, top(in, "max_completion_tokens"));
	if (inspection_is_set(in, top(in, "n")) &&
	    json_uint(&in->doc, top(in, "n"), 1, CHAT_CHOICES_MAX, &n) !=
		    ERR_OK)
		return inspection_refuse(in, ERR_FORMAT,
					 "n: no number of choices");
	f->max_tokens =
		f->max_tokens * n < UINT32_MAX ? f->max_tokens * n : UINT32_MAX;
	return ERR_OK;
}

static enum err inspect_top(struct inspection *in)
{
	const struct json *j = &in->doc;
	json_ref stream, asked;
	enum err e;

	if (!json_is(j, JSON_ROOT, JSON_OBJECT))
		return inspection_refuse(in, ERR_FORMAT,
					 "the body is no JSON object");
	stream = top(in, "stream");
	asked = json_get(j, top(in, "stream_options"), "include_usage");
	if (json_text(j, top(in, "model"), in->facts->model,
		      sizeof(in->facts->model)) != ERR_OK ||
	    in->facts->model[0] == '\0')
		return inspection_refuse(in, ERR_FORMAT,
					 "model: missing, no text or too long");
	if (inspection_is_set(in, stream) &&
	    json_bool(j, stream, &in->facts->stream) != ERR_OK)
		return inspection_refuse(in, ERR_FORMAT,
					 "stream: neither true nor false");
	if (inspection_is_set(in, asked) &&
	    json_bool(j, asked, &in->facts->asks_usage) != ERR_OK)
		return inspection_refuse(
			in, ERR_FORMAT,
			"stream_options.include_usage: neither true nor "
			"false");
	e = inspect_limit(in);
	return e == ERR_OK ? inspect_fields(in) : e;
}

static enum err inspect_document(struct inspection *in)
{
	enum err e = inspect_top(in);

	if (e == ERR_OK)
		e = inspect_tools(in);
	if (e == ERR_OK)
		e = inspect_messages(in);
	return e;
}

/**
 * chat_inspect() - Find what policy and audit need of a request
 * @route:	ROUTE_CHAT, or ROUTE_MODELS, which has no body
 * @body:	Borrowed
 * @seen:	Results that were reported already
 * @facts:	Initialised facts, filled
 *
 * Return: ERR_OK; ERR_FORMAT or ERR_LIMIT, error_text says what is wrong;
 *	   ERR_MEMORY.
 */
enum err chat_inspect(enum route route, struct span body, struct seen *seen,
		      struct request_facts *facts)
{
	if (route == ROUTE_MODELS)
		return ERR_OK;
	return inspection_run(route, body, seen, facts, inspect_document);
}
