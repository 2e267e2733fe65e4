/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_request.c - an Anthropic request, read into the neutral form
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a request.
 * Never:   leaves out what the model or its answer depends on without saying
 *	    so: that is refused by its name.
 *
 * Anthropic Messages, version 2023-06-01. Each member is in a table: read, left
 * out and noted, or refused. A member that is in none is left out and noted:
 * it is newer than this file and optional, or the request would not be one of
 * this version. A block of an unknown type is refused, because it is content.
 */
#include "engine/gate/anthropic_neutral.h"

#include "engine/base/text.h"
#include "engine/gate/anthropic_content.h"
#include "engine/gate/anthropic_tools.h"
#include "engine/gate/neutral_tools.h"

typedef enum err member_reader(struct anthropic_request *q, json_ref at);

static enum err read_system(struct anthropic_request *q, json_ref at)
{
	enum err e = neutral_add_message(q->r, NEUTRAL_SYSTEM);

	return e == ERR_OK ? anthropic_read_content(q, at, false, true) : e;
}

static enum err read_message(struct anthropic_request *q, json_ref message)
{
	static const char *const known[] = {"role", "content", NULL};
	static const struct {
		const char *name;
		enum neutral_role role;
	} roles[] = {
		{"user", NEUTRAL_USER},
		{"assistant", NEUTRAL_ASSISTANT},
		{"system", NEUTRAL_SYSTEM},
	};
	json_ref role = json_get(&q->doc, message, "role");
	enum err e;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(roles); i++)
		if (json_string_is(&q->doc, role, roles[i].name))
			break;
	if (i == ARRAY_SIZE(roles))
		return neutral_malformed(q->r, "messages[].role",
					 "neither user, assistant nor system");
	e = neutral_add_message(q->r, roles[i].role);
	if (e == ERR_LIMIT)
		e = neutral_malformed(q->r, "messages", "too many");
	anthropic_drop_others(q, message, "messages[].", known);
	if (e == ERR_OK)
		e = anthropic_read_content(
			q, json_get(&q->doc, message, "content"), false,
			roles[i].role == NEUTRAL_SYSTEM);
	return e;
}

static enum err read_messages(struct anthropic_request *q, json_ref at)
{
	enum err e = ERR_OK;

	if (!json_is(&q->doc, at, JSON_ARRAY))
		return neutral_malformed(q->r, "messages", "not a list");
	JSON_EACH (&q->doc, message, at) {
		e = read_message(q, message);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err read_choice(struct anthropic_request *q, json_ref at)
{
	static const struct {
		const char *type;
		enum neutral_choice choice;
	} table[] = {
		{"auto", NEUTRAL_CHOICE_AUTO},
		{"any", NEUTRAL_CHOICE_ANY},
		{"none", NEUTRAL_CHOICE_NONE},
		{"tool", NEUTRAL_CHOICE_NAMED},
	};
	json_ref type = json_get(&q->doc, at, "type");
	json_ref alone = json_get(&q->doc, at, "disable_parallel_tool_use");
	bool disabled = false;
	enum err e;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		if (json_string_is(&q->doc, type, table[i].type))
			break;
	if (i == ARRAY_SIZE(table))
		return anthropic_refuse_named(q, "tool_choice.type: ", type,
					      "cannot be translated");
	q->r->choice = table[i].choice;
	e = neutral_read_string(q->r, &q->doc, at, "name", &q->r->choice_name);
	if (e == ERR_OK && q->r->choice == NEUTRAL_CHOICE_NAMED &&
	    !q->r->choice_name.len_bytes)
		e = neutral_malformed(q->r, "tool_choice.name", "missing");
	if (e == ERR_OK)
		e = neutral_read_bool(q->r, &q->doc, at,
				      "disable_parallel_tool_use", &disabled);
	if (!neutral_is_absent(&q->doc, alone))
		q->r->parallel = !disabled;
	return e;
}

static enum err read_thinking_config(struct anthropic_request *q, json_ref at)
{
	static const char *const known[] = {"type", "budget_tokens", NULL};
	const struct json *j = &q->doc;
	json_ref type = json_get(j, at, "type");

	anthropic_drop_others(q, at, "thinking.", known);
	if (json_string_is(j, type, "disabled")) {
		q->r->thinking = NEUTRAL_THINKING_OFF;
		return ERR_OK;
	}
	if (json_string_is(j, type, "adaptive")) {
		q->r->thinking = NEUTRAL_THINKING_ADAPTIVE;
		return ERR_OK;
	}
	if (!json_string_is(j, type, "enabled"))
		return anthropic_refuse_named(q, "thinking.type: ", type,
					      "cannot be translated");
	q->r->thinking = NEUTRAL_THINKING_BUDGET;
	if (json_uint(j, json_get(j, at, "budget_tokens"), 1, UINT32_MAX,
		      &q->r->thinking_tokens) != ERR_OK)
		return neutral_malformed(q->r, "thinking.budget_tokens",
					 "no number of tokens");
	return ERR_OK;
}

static enum err read_stops(struct anthropic_request *q, json_ref at)
{
	enum err e = ERR_OK;

	if (!json_is(&q->doc, at, JSON_ARRAY))
		return neutral_malformed(q->r, "stop_sequences", "not a list");
	JSON_EACH (&q->doc, stop, at) {
		if (q->r->stop_count == NEUTRAL_STOPS_MAX)
			return neutral_refuse(q->r, "stop_sequences",
					      "too many to translate");
		e = neutral_keep_string(q->r, &q->doc, stop,
					&q->r->stops[q->r->stop_count]);
		if (e == ERR_FORMAT)
			e = neutral_malformed(q->r, "stop_sequences",
					      "not a list of texts");
		if (e != ERR_OK)
			break;
		q->r->stop_count++;
	}
	return e;
}

static enum err read_metadata(struct anthropic_request *q, json_ref at)
{
	static const char *const known[] = {"user_id", NULL};

	anthropic_drop_others(q, at, "metadata.", known);
	return neutral_read_string(q->r, &q->doc, at, "user_id", &q->r->user);
}

static enum err read_format(struct anthropic_request *q, json_ref at)
{
	json_ref schema = json_get(&q->doc, at, "schema");
	json_ref type = json_get(&q->doc, at, "type");

	if (!json_string_is(&q->doc, type, "json_schema"))
		return anthropic_refuse_named(q, "output format ", type,
					      "cannot be translated");
	if (!json_is(&q->doc, schema, JSON_OBJECT))
		return neutral_malformed(q->r, "output format",
					 "without a schema");
	q->r->format = NEUTRAL_FORMAT_SCHEMA;
	q->r->format_schema = json_raw(&q->doc, schema);
	q->r->format_strict = true;
	return ERR_OK;
}

static enum err read_output_config(struct anthropic_request *q, json_ref at)
{
	static const char *const known[] = {"effort", "format", NULL};
	json_ref format = json_get(&q->doc, at, "format");
	enum err e =
		neutral_read_string(q->r, &q->doc, at, "effort", &q->r->effort);

	anthropic_drop_others(q, at, "output_config.", known);
	if (e != ERR_OK || neutral_is_absent(&q->doc, format))
		return e;
	return read_format(q, format);
}

static enum err read_tier(struct anthropic_request *q, json_ref at)
{
	if (json_string_is(&q->doc, at, "standard_only"))
		q->r->service_tier = span_text("default");
	else if (json_string_is(&q->doc, at, "auto"))
		q->r->service_tier = span_text("auto");
	else
		neutral_drop(q->r, "service_tier");
	return ERR_OK;
}

static enum err read_stream(struct anthropic_request *q, json_ref at)
{
	return json_bool(&q->doc, at, &q->r->stream) == ERR_OK
		       ? ERR_OK
		       : neutral_malformed(q->r, "stream",
					   "neither true nor false");
}

/* An empty list of them asks for nothing. */
static enum err refuse_servers(struct anthropic_request *q, json_ref at)
{
	if (json_is(&q->doc, at, JSON_ARRAY) && json_count(&q->doc, at) == 0)
		return ERR_OK;
	return neutral_refuse(q->r, "mcp_servers",
			      "connections of the provider cannot be "
			      "translated");
}

static enum err refuse_container(struct anthropic_request *q, json_ref at)
{
	(void)at;
	return neutral_refuse(q->r, "container",
			      "containers of the provider cannot be "
			      "translated");
}

static enum err refuse_geo(struct anthropic_request *q, json_ref at)
{
	(void)at;
	return neutral_refuse(q->r, "inference_geo",
			      "no other dialect can promise a place");
}

static enum err skip(struct anthropic_request *q, json_ref at)
{
	(void)q;
	(void)at;
	return ERR_OK;
}

/* What other dialects have no word for, and what goes without it. */
static enum err drop(struct anthropic_request *q, json_ref at)
{
	struct buf b;
	char field[48];

	buf_init(&b, 256);
	if (json_key(&q->doc, at, &b) == ERR_OK) {
		(void)text_escape_line(buf_span(&b), field, sizeof(field));
		neutral_drop(q->r, field);
	} else {
		neutral_drop(q->r, "a member with a long name");
	}
	buf_fini(&b);
	return ERR_OK;
}

static const struct {
	const char *key;
	member_reader *read;
} member_table[] = {
	{"messages", read_messages},
	{"tool_choice", read_choice},
	{"thinking", read_thinking_config},
	{"stop_sequences", read_stops},
	{"metadata", read_metadata},
	{"output_config", read_output_config},
	{"output_format", read_format},
	{"service_tier", read_tier},
	{"stream", read_stream},
	{"mcp_servers", refuse_servers},
	{"container", refuse_container},
	{"inference_geo", refuse_geo},
	/* Read before the messages, or on their own. */
	{"system", skip},
	{"tools", skip},
	{"model", skip},
	{"max_tokens", skip},
	{"temperature", skip},
	{"top_p", skip},
	{"top_k", skip},
	/* Of InvokeModel: the wire's own version and betas. */
	{"anthropic_version", skip},
	{"anthropic_beta", skip},
	{"cache_control", drop},
	{"context_management", drop},
	{"speed", drop},
};

static enum err read_member(struct anthropic_request *q, json_ref at)
{
	size_t i;

	if (json_is(&q->doc, at, JSON_NULL))
		return ERR_OK;
	for (i = 0; i < ARRAY_SIZE(member_table); i++)
		if (json_key_is(&q->doc, at, member_table[i].key))
			return member_table[i].read(q, at);
	return drop(q, at);
}

static enum err read_scalars(struct anthropic_request *q)
{
	struct neutral_request *r = q->r;
	const struct {
		const char *key;
		struct span *number;
	} numbers[] = {
		{"max_tokens", &r->max_tokens},
		{"temperature", &r->temperature},
		{"top_p", &r->top_p},
		{"top_k", &r->top_k},
	};
	enum err e =
		neutral_read_string(r, &q->doc, JSON_ROOT, "model", &r->model);
	size_t i;

	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(numbers); i++)
		e = neutral_read_number(r, &q->doc, JSON_ROOT, numbers[i].key,
					numbers[i].number);
	return e;
}

/**
 * anthropic_read_request() - Read a request
 * @route:	ROUTE_MESSAGES; others have the same members
 * @body:	Must outlive @r
 * @r:		Initialised; error_text is set on failure
 *
 * Return: ERR_OK; ERR_UNSUPPORTED for what cannot be translated; ERR_FORMAT;
 *	   ERR_LIMIT; ERR_MEMORY.
 */
enum err anthropic_read_request(enum route route, struct span body,
				struct neutral_request *r)
{
	struct anthropic_request q = {.r = r};
	json_ref system, tools;
	enum err e;

	r->want_usage = true;
	r->stream = route == ROUTE_INVOKE_STREAM;
	json_init(&q.doc);
	buf_init(&q.changes, ANTHROPIC_CHANGES_MAX_BYTES);
	e = neutral_parse(r, &q.doc, body);
	if (e == ERR_OK)
		e = read_scalars(&q);
	system = json_get(&q.doc, JSON_ROOT, "system");
	if (e == ERR_OK && !neutral_is_absent(&q.doc, system))
		e = read_system(&q, system);
	tools = json_get(&q.doc, JSON_ROOT, "tools");
	if (e == ERR_OK && !neutral_is_absent(&q.doc, tools))
		e = anthropic_read_tools(&q, tools);
	if (e == ERR_OK && json_get(&q.doc, JSON_ROOT, "messages") == JSON_NONE)
		e = neutral_malformed(r, "messages", "missing");
	JSON_EACH (&q.doc, at, JSON_ROOT) {
		if (e == ERR_OK)
			e = read_member(&q, at);
	}
	if (e == ERR_OK)
		anthropic_settle_tools(&q);
	buf_fini(&q.changes);
	json_fini(&q.doc);
	return e;
}
