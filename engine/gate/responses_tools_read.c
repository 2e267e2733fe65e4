/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_tools_read.c - a Responses request's tools in no dialect
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   takes a tool that runs at the provider for one of the client's.
 *
 * OpenAI Responses. Tools with free text as input become functions with one
 * text argument, and functions in namespaces get both names; a note in the
 * table of names tells the writer (responses_write.c) to turn that back.
 */
#include "engine/gate/responses_reading.h"

#include <stdio.h>

#include "engine/base/text.h"
#include "engine/gate/neutral_tools.h"

static const char empty_schema[] = "{\"type\":\"object\",\"properties\":{}}";
static const char input_schema[] =
	"{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\","
	"\"description\":\"The whole input of the tool, as plain text.\"}},"
	"\"required\":[\"input\"],\"additionalProperties\":false}";

/**
 * responses_refuse_value() - Refuse a value that is not known where only some
 * are
 * @x:		Request being read; its error_text is set
 * @field:	Its path
 * @at:		The value, shown escaped
 *
 * Return: ERR_UNSUPPORTED, for the caller to return.
 */
enum err responses_refuse_value(struct reading *x, const char *field,
				json_ref at)
{
	char value[64], name[128];

	(void)text_escape_line(json_raw(&x->doc, at), value, sizeof(value));
	(void)snprintf(name, sizeof(name), "%s %s", field, value);
	return neutral_refuse(x->r, name, "has no form in the other dialect");
}

/**
 * responses_keep_name() - A tool's name for the neutral form
 * @x:		Request being read
 * @space:	Its namespace, or empty
 * @object:	Has the name as its `name`
 * @ret_name:	Lives as long as the request
 *
 * Return: ERR_OK; ERR_FORMAT with error_text; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_keep_name(struct reading *x, struct span space,
			     json_ref object, struct span *ret_name)
{
	struct span name = {NULL, 0};
	struct buf joined;
	enum err e = neutral_read_string(x->r, &x->doc, object, "name", &name);

	if (e == ERR_OK && !name.len_bytes)
		return neutral_malformed(x->r, "a tool's name", "missing");
	if (e != ERR_OK)
		return e;
	if (!space.len_bytes) {
		*ret_name = name;
		return ERR_OK;
	}
	buf_init(&joined, TOOL_NAME_MAX_BYTES);
	e = responses_join_name(space, name, &joined);
	if (e == ERR_OK)
		e = neutral_keep(x->r, buf_span(&joined), ret_name);
	buf_fini(&joined);
	return e == ERR_LIMIT
		       ? neutral_malformed(x->r, "a tool's name", "too long")
		       : e;
}

static enum err note_tool(struct reading *x, bool custom, struct span space,
			  struct span name)
{
	struct buf note;
	enum err e;

	buf_init(&note, TOOL_NAME_MAX_BYTES);
	e = buf_put_u8(&note, custom ? 'c' : 'f');
	if (e == ERR_OK)
		e = buf_put_span(&note, space);
	if (e == ERR_OK)
		e = neutral_names_add_note(x->r, name, buf_span(&note));
	buf_fini(&note);
	return e == ERR_LIMIT || e == ERR_FORMAT
		       ? neutral_malformed(x->r, "a tool's name",
					   "too long or with a NUL")
		       : e;
}

/* What a grammar demands is said in the description. */
static enum err describe_format(struct reading *x, json_ref tool,
				struct neutral_tool *t)
{
	const struct json *j = &x->doc;
	json_ref format = json_get(j, tool, "format");
	struct buf text;
	enum err e;

	if (!json_string_is(j, json_get(j, format, "type"), "grammar"))
		return ERR_OK;
	buf_init(&text, NEUTRAL_KEPT_BYTES);
	e = buf_put_span(&text, t->description);
	if (e == ERR_OK)
		e = buf_put_text(&text, "\n\nThe input must match this ");
	if (e == ERR_OK)
		e = json_string(j, json_get(j, format, "syntax"), &text);
	if (e == ERR_OK)
		e = buf_put_text(&text, " grammar:\n");
	if (e == ERR_OK)
		e = json_string(j, json_get(j, format, "definition"), &text);
	if (e == ERR_OK)
		e = neutral_keep(x->r, buf_span(&text), &t->description);
	buf_fini(&text);
	return e == ERR_FORMAT || e == ERR_NOT_FOUND
		       ? neutral_malformed(x->r, "tools[].format",
					   "not a grammar")
		       : e;
}

static bool has_tool(const struct reading *x, struct span name)
{
	uint32_t i;

	for (i = 0; i < x->r->tool_count; i++)
		if (span_equal(x->r->tools[i].name, name))
			return true;
	return false;
}

static enum err read_function(struct reading *x, struct span space,
			      json_ref tool, bool custom)
{
	const struct json *j = &x->doc;
	json_ref schema = json_get(j, tool, "parameters");
	struct neutral_tool t = {
		.schema = span_text(custom ? input_schema : empty_schema)};
	enum err e = responses_keep_name(x, space, tool, &t.name);

	if (e == ERR_OK)
		e = neutral_read_string(x->r, j, tool, "description",
					&t.description);
	if (e == ERR_OK && custom)
		e = describe_format(x, tool, &t);
	if (e == ERR_OK && !custom && responses_is_set(x, schema)) {
		if (!json_is(j, schema, JSON_OBJECT))
			return neutral_malformed(x->r, "tools[].parameters",
						 "not an object");
		t.schema = json_raw(j, schema);
	}
	if (e == ERR_OK && !custom)
		e = neutral_read_bool(x->r, j, tool, "strict", &t.strict);
	if (e == ERR_OK && (custom || space.len_bytes))
		e = note_tool(x, custom, space, t.name);
	/* Found by a search, it may be declared already. */
	if (e != ERR_OK || has_tool(x, t.name))
		return e;
	return neutral_add_tool(x->r, &t);
}

static enum err read_tool(struct reading *x, struct span space, json_ref tool)
{
	const struct json *j = &x->doc;
	json_ref type = json_get(j, tool, "type");
	struct span name = {NULL, 0};
	enum err e;

	if (json_string_is(j, type, "function"))
		return read_function(x, space, tool, false);
	if (json_string_is(j, type, "custom"))
		return read_function(x, space, tool, true);
	/* All deferred tools are declared, so there is nothing to search. */
	if (json_string_is(j, type, "tool_search")) {
		neutral_drop(x->r, "tools[].tool_search");
		return ERR_OK;
	}
	if (!json_string_is(j, type, "namespace") || space.len_bytes)
		return responses_refuse_value(x, "tools[] of type", type);
	e = neutral_read_string(x->r, j, tool, "name", &name);
	if (e == ERR_OK && !name.len_bytes)
		return neutral_malformed(x->r, "tools[].name", "missing");
	if (e != ERR_OK)
		return e;
	JSON_EACH (j, inner, json_get(j, tool, "tools")) {
		e = read_tool(x, name, inner);
		if (e != ERR_OK)
			break;
	}
	return e;
}

/**
 * responses_read_tools() - Add the tools of a list
 * @x:		Request being read
 * @tools:	List, null or JSON_NONE
 *
 * Return: ERR_OK; ERR_UNSUPPORTED or ERR_FORMAT with error_text; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err responses_read_tools(struct reading *x, json_ref tools)
{
	enum err e = ERR_OK;

	if (!responses_is_set(x, tools))
		return ERR_OK;
	if (!json_is(&x->doc, tools, JSON_ARRAY))
		return neutral_malformed(x->r, "tools", "not a list");
	JSON_EACH (&x->doc, tool, tools) {
		e = read_tool(x, span_text(""), tool);
		if (e != ERR_OK)
			break;
	}
	return e;
}

/**
 * responses_read_choice() - Read tool_choice
 * @x:	Request being read
 *
 * Return: as responses_read_tools().
 */
enum err responses_read_choice(struct reading *x)
{
	static const struct {
		const char *name;
		enum neutral_choice choice;
	} words[] = {
		{"auto", NEUTRAL_CHOICE_AUTO},
		{"none", NEUTRAL_CHOICE_NONE},
		{"required", NEUTRAL_CHOICE_ANY},
	};
	const struct json *j = &x->doc;
	json_ref choice = responses_top(x, "tool_choice");
	json_ref type = json_get(j, choice, "type");
	size_t i;

	if (!responses_is_set(x, choice))
		return ERR_OK;
	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (json_string_is(j, choice, words[i].name)) {
			x->r->choice = words[i].choice;
			return ERR_OK;
		}
	if (!json_string_is(j, type, "function") &&
	    !json_string_is(j, type, "custom"))
		return responses_refuse_value(x, "tool_choice",
					      responses_is_set(x, type)
						      ? type
						      : choice);
	x->r->choice = NEUTRAL_CHOICE_NAMED;
	return responses_keep_name(x, span_text(""), choice,
				   &x->r->choice_name);
}
