/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_calls.c - tool calls of a chat completion, put together
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   joins the pieces of two calls, or splits one, where a name or an
 *	    id says otherwise.
 *
 * As OpenAI streams calls, each has an index; its first delta has id and name,
 * later ones only more of the arguments; deltas of several calls may come in
 * any order. Other servers number all calls 0, or not at all, repeat id and
 * name in every delta, or begin a new call at an index in use. So a delta
 * belongs to the call with its id; a new id with a name begins a call; without
 * an id, the index decides, unless a name at an index in use begins another
 * call; without both it is a new call if it has a name and else more of the
 * last one. Where clients, which mostly go by the index, would read this
 * otherwise, the delta is not `plain`, and whoever hands it on must renumber.
 */
#include "engine/gate/chat_calls.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/gate/chat.h"

#define INDEX_MAX (UINT64_C(1) << 32)

/* One item of tool_calls, read. */
struct item {
	enum chat_call_kind kind;
	bool has_id, has_index, has_name;
	uint64_t index;
	char id[CALL_ID_MAX_BYTES + 1];
	char name[TOOL_NAME_MAX_BYTES + 1];
	json_ref arguments;
};

static enum err broken(struct chat_calls *c, const char *why)
{
	c->error_text = why;
	return ERR_FORMAT;
}

static bool is_set(const struct json *j, json_ref at)
{
	return at != JSON_NONE && !json_is(j, at, JSON_NULL);
}

/* An absent, null or empty string leaves *ret_has as it is. */
static enum err read_word(struct chat_calls *c, const struct json *j,
			  json_ref at, char *ret_text, size_t cap_bytes,
			  bool *ret_has)
{
	if (!is_set(j, at))
		return ERR_OK;
	if (json_text(j, at, ret_text, cap_bytes) != ERR_OK)
		return broken(c, "a tool call without a proper id and name");
	*ret_has = ret_text[0] != '\0';
	return ERR_OK;
}

static enum err read_function(struct chat_calls *c, const struct json *j,
			      json_ref function, struct item *item)
{
	item->arguments =
		json_get(j, function,
			 item->kind == CHAT_CALL_CUSTOM ? "input"
							: "arguments");
	if (is_set(j, function) && !json_is(j, function, JSON_OBJECT))
		return broken(c, "a tool call whose function is no object");
	return read_word(c, j, json_get(j, function, "name"), item->name,
			 sizeof(item->name), &item->has_name);
}

static enum err read_item(struct chat_calls *c, const struct json *j,
			  json_ref at, struct item *item)
{
	json_ref function = json_get(j, at, "function");
	json_ref custom = json_get(j, at, "custom");
	json_ref type = json_get(j, at, "type");
	json_ref index = json_get(j, at, "index");
	enum err e;

	*item = (struct item){.kind = CHAT_CALL_FUNCTION};
	if (!json_is(j, at, JSON_OBJECT))
		return broken(c, "a tool call that is no object");
	if (is_set(j, type) && !json_string_is(j, type, "") &&
	    !json_string_is(j, type, "function") &&
	    !json_string_is(j, type, "custom"))
		return broken(c, "a tool call of an unknown type");
	if (is_set(j, custom)) {
		if (is_set(j, function))
			return broken(c, "a tool call of two types");
		item->kind = CHAT_CALL_CUSTOM;
		function = custom;
	}
	if (is_set(j, index)) {
		if (json_uint(j, index, 0, INDEX_MAX, &item->index) != ERR_OK)
			return broken(c, "a tool call with a bad index");
		item->has_index = true;
	}
	e = read_word(c, j, json_get(j, at, "id"), item->id, sizeof(item->id),
		      &item->has_id);
	return e == ERR_OK ? read_function(c, j, function, item) : e;
}

static struct chat_call *find_id(const struct chat_calls *c, uint32_t choice,
				 const char *id)
{
	uint32_t i;

	for (i = c->count; i-- > 0;)
		if (c->items[i].choice == choice &&
		    c->items[i].kind != CHAT_CALL_LEGACY &&
		    strcmp(c->items[i].id, id) == 0)
			return &c->items[i];
	return NULL;
}

/* The last call begun at an index; without one, the last call. */
static struct chat_call *find_index(const struct chat_calls *c, uint32_t choice,
				    const struct item *item)
{
	uint32_t i;

	for (i = c->count; i-- > 0;) {
		struct chat_call *call = &c->items[i];

		if (call->choice != choice || call->kind == CHAT_CALL_LEGACY)
			continue;
		if (!item->has_index ||
		    (call->has_index && call->index == item->index))
			return call;
	}
	return NULL;
}

static bool is_complete(const struct chat_call *call)
{
	struct span text = buf_span(&call->arguments);
	struct json doc;
	bool complete;

	if (!text.len_bytes || text.data[text.len_bytes - 1] != '}')
		return false;
	json_init(&doc);
	complete = reply_check_arguments(&doc, text) == ERR_OK;
	json_fini(&doc);
	return complete;
}

/* The call that a delta goes on with; NULL when it begins one. */
static struct chat_call *find_call(const struct chat_calls *c, uint32_t choice,
				   const struct item *item)
{
	struct chat_call *call;

	if (item->has_id) {
		call = find_id(c, choice, item->id);
		if (call || item->has_name)
			return call;
	}
	call = find_index(c, choice, item);
	if (!call || !item->has_name)
		return call;
	/* A name again: the same call's, repeated, or the next call's. */
	if (!item->has_index || strcmp(call->name, item->name) != 0 ||
	    is_complete(call))
		return NULL;
	return call;
}

static enum err begin_call(struct chat_calls *c, uint32_t choice,
			   const struct item *item, struct chat_call **ret_call)
{
	struct chat_call *call;
	uint32_t i, number = 0, cap = c->cap ? 2 * c->cap : 4;

	if (!item->has_name)
		return broken(c, "a tool call without a proper id and name");
	if (c->count == CHAT_CALLS_MAX) {
		c->error_text = "too many tool calls";
		return ERR_LIMIT;
	}
	for (i = 0; i < c->count; i++)
		number += c->items[i].choice == choice;
	if (c->count == c->cap) {
		call = realloc(c->items, cap * sizeof(*call));
		if (!call)
			return ERR_MEMORY;
		c->items = call;
		c->cap = cap;
	}
	call = &c->items[c->count++];
	*call = (struct chat_call){
		.kind = item->kind,
		.choice = choice,
		.number = number,
		.has_index = item->has_index,
		.index = item->index,
	};
	memcpy(call->id, item->id, sizeof(call->id));
	memcpy(call->name, item->name, sizeof(call->name));
	buf_init(&call->arguments, TOOL_ARGUMENTS_MAX_BYTES);
	*ret_call = call;
	return ERR_OK;
}

static enum err add_arguments(struct chat_calls *c, const struct json *j,
			      struct chat_call *call, json_ref at)
{
	size_t before = call->arguments.len_bytes;
	enum err e;

	if (!is_set(j, at))
		return ERR_OK;
	if (call->whole)
		return json_string_is(j, at, "")
			       ? ERR_OK
			       : broken(c, "a tool call with two inputs");
	if (json_is(j, at, JSON_OBJECT) && before == 0 &&
	    call->kind != CHAT_CALL_CUSTOM) {
		call->whole = true;
		e = buf_put_span(&call->arguments, json_raw(j, at));
	} else if (json_is(j, at, JSON_STRING)) {
		e = json_string(j, at, &call->arguments);
	} else {
		return broken(c, "a tool call whose arguments are no text");
	}
	c->bytes += call->arguments.len_bytes - before;
	if (e == ERR_LIMIT || (e == ERR_OK && c->bytes > TOOL_HELD_MAX_BYTES)) {
		c->error_text = "a tool call with too long arguments";
		return ERR_LIMIT;
	}
	return e;
}

static enum err add_item(struct chat_calls *c, const struct json *j,
			 const struct item *item, struct chat_call *call,
			 uint32_t choice, struct chat_delta *ret)
{
	bool first = !call;
	enum err e = ERR_OK;

	if (first)
		e = begin_call(c, choice, item, &call);
	if (e == ERR_OK && call->kind != item->kind &&
	    is_set(j, item->arguments))
		e = broken(c, "a tool call of two types");
	if (e == ERR_OK)
		e = add_arguments(c, j, call, item->arguments);
	if (e != ERR_OK)
		return e;
	*ret = (struct chat_delta){
		.call = (uint32_t)(call - c->items),
		.first = first,
		.plain = item->has_index && item->index == call->number &&
			 (first || (!item->has_id && !item->has_name)),
	};
	return ERR_OK;
}

/**
 * chat_calls_add() - Take one item of a streamed delta's tool_calls
 * @c:		Calls so far; error_text is set on ERR_FORMAT and ERR_LIMIT
 * @j:		Document
 * @item:	The item
 * @choice:	Choice it is in
 * @ret:	Where it belongs
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err chat_calls_add(struct chat_calls *c, const struct json *j,
			json_ref item, uint32_t choice, struct chat_delta *ret)
{
	struct item read;
	enum err e = read_item(c, j, item, &read);

	if (e != ERR_OK)
		return e;
	return add_item(c, j, &read, find_call(c, choice, &read), choice, ret);
}

/** chat_calls_add_whole() - Take a call of a plain message; see above */
enum err chat_calls_add_whole(struct chat_calls *c, const struct json *j,
			      json_ref item, uint32_t choice)
{
	struct chat_delta ignored;
	struct item read;
	enum err e = read_item(c, j, item, &read);

	return e == ERR_OK ? add_item(c, j, &read, NULL, choice, &ignored) : e;
}

/**
 * chat_calls_add_legacy() - Take a function_call, streamed or whole
 * @c:			As chat_calls_add()
 * @j:			Document
 * @function_call:	Object
 * @choice:		Choice it is in
 * @ret:		Where it belongs; plain unless the name is repeated
 *
 * Return: as chat_calls_add().
 */
enum err chat_calls_add_legacy(struct chat_calls *c, const struct json *j,
			       json_ref function_call, uint32_t choice,
			       struct chat_delta *ret)
{
	struct item read = {.kind = CHAT_CALL_LEGACY};
	struct chat_call *call = NULL;
	enum err e;
	uint32_t i;

	e = read_function(c, j, function_call, &read);
	for (i = 0; i < c->count; i++)
		if (c->items[i].choice == choice &&
		    c->items[i].kind == CHAT_CALL_LEGACY)
			call = &c->items[i];
	if (e == ERR_OK && call && read.has_name &&
	    strcmp(call->name, read.name) != 0)
		e = broken(c, "a function_call with two names");
	if (e == ERR_OK)
		e = add_item(c, j, &read, call, choice, ret);
	if (e == ERR_OK)
		ret->plain = ret->first || !read.has_name;
	return e;
}

/* A custom tool's input is judged as the member "input" of an object. */
static enum err wrap_input(struct chat_call *call)
{
	struct buf whole;
	struct jsonw w;
	enum err e;

	buf_init(&whole, 2 * TOOL_ARGUMENTS_MAX_BYTES);
	jsonw_init(&w, &whole);
	jsonw_begin_object(&w);
	jsonw_put_text(&w, "input", buf_span(&call->arguments));
	jsonw_end_object(&w);
	e = jsonw_finish(&w);
	if (e != ERR_OK) {
		buf_fini(&whole);
		return e;
	}
	buf_fini(&call->arguments);
	call->arguments = whole;
	return ERR_OK;
}

/**
 * chat_call_close() - A call is complete: make its arguments one object
 * @call:	Call; its arguments become what is judged
 * @doc:	Document to parse into
 *
 * Return: as reply_check_arguments().
 */
enum err chat_call_close(struct chat_call *call, struct json *doc)
{
	enum err e = ERR_OK;

	if (call->kind == CHAT_CALL_CUSTOM)
		e = wrap_input(call);
	else if (call->arguments.len_bytes == 0)
		e = buf_put_text(&call->arguments, "{}");
	if (e != ERR_OK)
		return e;
	return reply_check_arguments(doc, buf_span(&call->arguments));
}

/** chat_calls_fini() - Release all calls */
void chat_calls_fini(struct chat_calls *c)
{
	uint32_t i;

	for (i = 0; i < c->count; i++)
		buf_fini(&c->items[i].arguments);
	free(c->items);
	*c = (struct chat_calls){.count = 0};
}
