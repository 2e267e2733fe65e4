/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_tools.c - the tools of an Anthropic request, read
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a request.
 * Never:   offers the model a tool that this request does not.
 *
 * Anthropic Messages, version 2023-06-01. A tool may be declared but not be at
 * hand yet (defer_loading); a tool result that refers to it, or an addition in
 * a system message, puts it at the model's hand, a removal takes it away. The
 * other dialects list what is at hand. The changes are kept in their order and
 * applied when all was read: u8 at hand or not, then the name with its length.
 */
#include "engine/gate/anthropic_tools.h"

#include "engine/gate/neutral_tools.h"

static enum err change(struct anthropic_request *q, struct span name,
		       bool at_hand)
{
	enum err e = buf_put_u8(&q->changes, at_hand);

	if (e == ERR_OK)
		e = buf_put_lp(&q->changes, name);
	return e == ERR_LIMIT
		       ? neutral_malformed(q->r, "tools", "too many changes")
		       : e;
}

static enum err read_tool(struct anthropic_request *q, json_ref at)
{
	static const char *const known[] = {
		"type",   "name",          "description",     "input_schema",
		"strict", "cache_control", "allowed_callers", "defer_loading",
		NULL};
	struct neutral_tool tool = {.strict = false};
	const struct json *j = &q->doc;
	json_ref type = json_get(j, at, "type");
	json_ref schema = json_get(j, at, "input_schema");
	bool deferred = false;
	enum err e;

	if (!neutral_is_absent(j, type) && !json_string_is(j, type, "custom"))
		return anthropic_refuse_named(
			q, "tools[].type: ", type,
			"Anthropic defines this tool; it cannot "
			"be translated");
	e = neutral_read_string(q->r, j, at, "name", &tool.name);
	if (e == ERR_OK)
		e = neutral_read_string(q->r, j, at, "description",
					&tool.description);
	if (e == ERR_OK)
		e = neutral_read_bool(q->r, j, at, "strict", &tool.strict);
	if (e == ERR_OK)
		e = anthropic_read_cache(q, at, &tool.cache);
	if (e != ERR_OK)
		return e;
	if (!tool.name.len_bytes || !json_is(j, schema, JSON_OBJECT))
		return neutral_malformed(q->r, "tools[]",
					 "without name and input_schema");
	JSON_EACH (j, caller, json_get(j, at, "allowed_callers"))
		if (!json_string_is(j, caller, "direct"))
			return neutral_refuse(q->r, "tools[].allowed_callers",
					      "only direct calls can be "
					      "translated");
	tool.schema = json_raw(j, schema);
	anthropic_drop_others(q, at, "tools[].", known);
	e = neutral_read_bool(q->r, j, at, "defer_loading", &deferred);
	if (e == ERR_OK && deferred)
		e = change(q, tool.name, false);
	if (e == ERR_OK)
		e = neutral_add_tool(q->r, &tool);
	return e == ERR_LIMIT ? neutral_malformed(q->r, "tools", "too many")
			      : e;
}

/**
 * anthropic_read_tools() - Read the tools that a request declares
 * @q:	Request under way, before its messages
 * @at:	The list
 *
 * Return: ERR_OK; ERR_UNSUPPORTED; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err anthropic_read_tools(struct anthropic_request *q, json_ref at)
{
	enum err e = ERR_OK;

	if (!json_is(&q->doc, at, JSON_ARRAY))
		return neutral_malformed(q->r, "tools", "not a list");
	JSON_EACH (&q->doc, tool, at) {
		e = read_tool(q, tool);
		if (e != ERR_OK)
			break;
	}
	return e;
}

/* The name in {"type":"tool_reference","tool_name":...}; else in name. */
static enum err referred_to(struct anthropic_request *q, json_ref reference,
			    struct span *ret_name)
{
	enum err e =
		neutral_read_string(q->r, &q->doc, reference, "name", ret_name);

	if (e == ERR_OK)
		e = neutral_read_string(q->r, &q->doc, reference, "tool_name",
					ret_name);
	if (e == ERR_OK && !ret_name->len_bytes)
		e = neutral_malformed(q->r, "tool_reference", "without a name");
	return e;
}

/**
 * anthropic_read_reference() - Read a tool result that loads a tool
 * @q:		Request under way
 * @block:	tool_reference
 * @nested:	It is in a tool result
 *
 * Return: as anthropic_read_tools().
 */
enum err anthropic_read_reference(struct anthropic_request *q, json_ref block,
				  bool nested)
{
	struct neutral_part part = {.kind = NEUTRAL_TEXT};
	enum err e = referred_to(q, block, &part.text);

	if (e == ERR_OK)
		e = change(q, part.text, true);
	/* The model reads which tools it found. */
	if (e != ERR_OK)
		return e;
	return nested ? neutral_add_nested(q->r, &part)
		      : neutral_add_part(q->r, &part);
}

/**
 * anthropic_read_addition() - Read a system block that brings a tool
 * @q:		Request under way
 * @block:	tool_addition
 * @nested:	Unused
 *
 * Return: as anthropic_read_tools().
 */
enum err anthropic_read_addition(struct anthropic_request *q, json_ref block,
				 bool nested)
{
	json_ref tool = json_get(&q->doc, block, "tool");
	json_ref type = json_get(&q->doc, tool, "type");
	struct span name = span_of(NULL, 0);
	enum err e;

	(void)nested;
	if (json_string_is(&q->doc, type, "tool_definition"))
		return read_tool(q, json_get(&q->doc, tool, "definition"));
	if (!json_string_is(&q->doc, type, "tool_reference"))
		return anthropic_refuse_named(q, "tool_addition: ", type,
					      "cannot be translated");
	e = referred_to(q, tool, &name);
	return e == ERR_OK ? change(q, name, true) : e;
}

/**
 * anthropic_read_removal() - Read a system block that takes a tool away
 * @q:		Request under way
 * @block:	tool_removal
 * @nested:	Unused
 *
 * Return: as anthropic_read_tools().
 */
enum err anthropic_read_removal(struct anthropic_request *q, json_ref block,
				bool nested)
{
	struct span name = span_of(NULL, 0);
	enum err e = referred_to(q, json_get(&q->doc, block, "tool"), &name);

	(void)nested;
	return e == ERR_OK ? change(q, name, false) : e;
}

static bool is_at_hand(const struct anthropic_request *q, struct span name)
{
	bool at_hand = true, to;
	struct reader r;

	reader_init(&r, buf_span(&q->changes));
	while (reader_left(&r)) {
		to = reader_get_u8(&r);
		if (span_equal(reader_get_lp(&r, ANTHROPIC_CHANGES_MAX_BYTES),
			       name))
			at_hand = to;
	}
	return at_hand;
}

/**
 * anthropic_settle_tools() - Leave the tools that are at the model's hand
 * @q:	Request that was read
 */
void anthropic_settle_tools(struct anthropic_request *q)
{
	struct neutral_request *r = q->r;
	uint32_t i, kept = 0;

	if (!q->changes.len_bytes)
		return;
	for (i = 0; i < r->tool_count; i++)
		if (is_at_hand(q, r->tools[i].name))
			r->tools[kept++] = r->tools[i];
	r->tool_count = kept;
}
