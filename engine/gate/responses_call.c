/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_call.c - items of a Responses output that call the client's tools
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   takes an item of an unknown kind for a harmless one: what ends in
 *	    "_call" and is not known to run at the provider is judged.
 *
 * OpenAI Responses. A call is described to policy by the tool's name and one
 * JSON object. For function_call that is its arguments. A custom tool's free
 * text becomes {"input": TEXT}; a shell's list of words or lines becomes
 * {"command": TEXT, "action": OBJECT}, so that rules can look into it. A
 * function in a namespace is called NAMESPACE__NAME.
 *
 * The ledger remembers what was judged: the last event of a stream repeats
 * all items, and a client may read them there.
 */
#include "engine/gate/responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/digest.h"

#define JUDGED_MAX_BYTES (8u * TOOL_ARGUMENTS_MAX_BYTES)

static const struct responses_kind kinds[] = {
	{"function_call", NULL, "arguments", RESPONSES_ARGUMENTS},
	{"custom_tool_call", NULL, "input", RESPONSES_INPUT},
	{"apply_patch_call", "apply_patch", "operation", RESPONSES_OBJECT},
	{"computer_call", "computer", "action", RESPONSES_OBJECT},
	{"local_shell_call", "local_shell", "action", RESPONSES_COMMAND},
	{"shell_call", "shell", "action", RESPONSES_COMMANDS},
	{"tool_search_call", "tool_search", "arguments", RESPONSES_OBJECT},
};
static const struct responses_kind unknown_kind = {NULL, NULL, NULL,
						   RESPONSES_ITEM};
static const char *const provider_kinds[] = {
	"code_interpreter_call", "file_search_call",
	"image_generation_call", "mcp_call",
	"web_search_call",
};

/** responses_call_init() - Prepare an empty call */
void responses_call_init(struct responses_call *c)
{
	*c = (struct responses_call){.kind = NULL};
	buf_init(&c->text, TOOL_ARGUMENTS_MAX_BYTES);
	buf_init(&c->judged, JUDGED_MAX_BYTES);
}

/** responses_call_fini() - Release a call's memory; may be used again */
void responses_call_fini(struct responses_call *c)
{
	buf_fini(&c->text);
	buf_fini(&c->judged);
}

static bool ends_in_call(const char *type)
{
	size_t len = strlen(type);

	return len >= 5 && strcmp(type + len - 5, "_call") == 0;
}

/**
 * responses_kind_of() - Whether an output item calls a tool of the client
 * @j:		Document
 * @item:	Output item
 *
 * Return: its kind; NULL for items that ask nothing of the client.
 */
const struct responses_kind *responses_kind_of(const struct json *j,
					       json_ref item)
{
	json_ref at = json_get(j, item, "type");
	char type[64];
	size_t i;

	/* A longer name is no known one; what it is cannot be said. */
	if (json_text(j, at, type, sizeof(type)) != ERR_OK)
		return json_is(j, at, JSON_STRING) ? &unknown_kind : NULL;
	for (i = 0; i < ARRAY_SIZE(provider_kinds); i++)
		if (strcmp(type, provider_kinds[i]) == 0)
			return NULL;
	/*
	 * A shell_call may say that it ran in a container of the provider. An
	 * agent with a shell of its own may run it all the same: it is judged.
	 */
	if (strcmp(type, "tool_search_call") == 0 &&
	    json_string_is(j, json_get(j, item, "execution"), "server"))
		return NULL;
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(type, kinds[i].type) == 0)
			return &kinds[i];
	return ends_in_call(type) ? &unknown_kind : NULL;
}

/**
 * responses_join_name() - A tool's name together with its namespace
 * @name_space:	May be empty
 * @name:	Tool's own name
 * @out:	"NAMESPACE__NAME" is appended; @name alone without a namespace
 *or when both are the same
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_join_name(struct span name_space, struct span name,
			     struct buf *out)
{
	struct span s = name_space;
	enum err e = ERR_OK;

	if (s.len_bytes && !span_equal(s, name)) {
		while (s.len_bytes && s.data[s.len_bytes - 1] == '_')
			s.len_bytes--;
		e = buf_put_span(out, s);
		if (e == ERR_OK)
			e = buf_put_text(out, "__");
	}
	return e == ERR_OK ? buf_put_span(out, name) : e;
}

static enum err read_own_name(const struct json *j, json_ref item,
			      struct responses_call *c)
{
	char name[TOOL_NAME_MAX_BYTES + 1], space[TOOL_NAME_MAX_BYTES + 1];
	json_ref at = json_get(j, item, "namespace");
	struct buf joined;
	enum err e;

	space[0] = '\0';
	if (json_text(j, json_get(j, item, "name"), name, sizeof(name)) !=
		    ERR_OK ||
	    name[0] == '\0')
		return ERR_FORMAT;
	if (at != JSON_NONE && !json_is(j, at, JSON_NULL) &&
	    json_text(j, at, space, sizeof(space)) != ERR_OK)
		return ERR_FORMAT;
	buf_init(&joined, sizeof(c->name) - 1);
	e = responses_join_name(span_text(space), span_text(name), &joined);
	if (e == ERR_OK)
		e = span_copy_text(buf_span(&joined), c->name, sizeof(c->name));
	buf_fini(&joined);
	return e == ERR_LIMIT ? ERR_FORMAT : e;
}

/**
 * responses_call_name() - Read a call's kind, id and name
 * @j:		Document
 * @item:	Output item that has a responses_kind_of()
 * @c:		Initialised; written
 *
 * Return: ERR_OK; ERR_FORMAT without a proper id and name; ERR_MEMORY.
 */
enum err responses_call_name(const struct json *j, json_ref item,
			     struct responses_call *c)
{
	json_ref id = json_get(j, item, "call_id");

	c->kind = responses_kind_of(j, item);
	if (!json_is(j, id, JSON_STRING))
		id = json_get(j, item, "id");
	if (!c->kind || json_text(j, id, c->id, sizeof(c->id)) != ERR_OK ||
	    c->id[0] == '\0')
		return ERR_FORMAT;
	if (c->kind->name)
		return span_copy_text(span_text(c->kind->name), c->name,
				      sizeof(c->name));
	if (c->kind->shape == RESPONSES_ITEM)
		return json_text(j, json_get(j, item, "type"), c->name,
				 sizeof(c->name)) == ERR_OK
			       ? ERR_OK
			       : ERR_FORMAT;
	return read_own_name(j, item, c);
}

/* The words of a list, with @between; ERR_FORMAT for anything else. */
static enum err join_words(const struct json *j, json_ref list, char between,
			   struct buf *out)
{
	size_t n = 0;
	enum err e = ERR_OK;

	if (!json_is(j, list, JSON_ARRAY))
		return ERR_FORMAT;
	JSON_EACH (j, word, list) {
		if (n++)
			e = buf_put_u8(out, (uint8_t)between);
		if (e == ERR_OK)
			e = json_string(j, word, out);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err judge_command(const struct json *j, json_ref action, bool lines,
			      struct responses_call *c)
{
	json_ref list = json_get(j, action, lines ? "commands" : "command");
	json_ref place = json_get(j, action, "working_directory");
	struct buf text;
	struct jsonw w;
	enum err e;

	buf_init(&text, TOOL_ARGUMENTS_MAX_BYTES);
	e = join_words(j, list, lines ? '\n' : ' ', &text);
	jsonw_init(&w, &c->judged);
	jsonw_begin_object(&w);
	jsonw_put_text(&w, "command", buf_span(&text));
	if (json_is(j, place, JSON_STRING)) {
		jsonw_key(&w, "working_directory");
		jsonw_raw(&w, json_raw(j, place));
	}
	jsonw_key(&w, "action");
	jsonw_raw(&w, json_raw(j, action));
	jsonw_end_object(&w);
	if (e == ERR_OK)
		e = jsonw_finish(&w);
	if (e == ERR_OK && lines)
		e = buf_put_span(&c->text, buf_span(&text));
	buf_fini(&text);
	return e;
}

static enum err judge_arguments(const struct json *j, json_ref at,
				struct responses_call *c)
{
	enum err e = ERR_OK;

	if (json_is(j, at, JSON_STRING))
		e = json_string(j, at, &c->text);
	else if (at != JSON_NONE && !json_is(j, at, JSON_NULL))
		return buf_put_span(&c->judged, json_raw(j, at));
	if (e != ERR_OK)
		return e;
	return c->text.len_bytes ? buf_put_span(&c->judged, buf_span(&c->text))
				 : buf_put_text(&c->judged, "{}");
}

static enum err judge_input(const struct json *j, json_ref at,
			    struct responses_call *c)
{
	struct jsonw w;
	enum err e = ERR_OK;

	if (at != JSON_NONE && !json_is(j, at, JSON_NULL))
		e = json_string(j, at, &c->text);
	if (e != ERR_OK)
		return e;
	jsonw_init(&w, &c->judged);
	jsonw_begin_object(&w);
	jsonw_put_text(&w, "input", buf_span(&c->text));
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

static enum err judge_object(const struct json *j, json_ref item, json_ref at,
			     struct responses_call *c)
{
	json_ref diff = json_get(j, at, "diff");
	enum err e = ERR_OK;

	if (json_is(j, diff, JSON_STRING))
		e = json_string(j, diff, &c->text);
	if (e != ERR_OK)
		return e;
	return buf_put_span(&c->judged,
			    json_raw(j,
				     json_is(j, at, JSON_OBJECT) ? at : item));
}

/**
 * responses_call_read() - Read a complete call
 * @j:		Document
 * @item:	Output item that has a responses_kind_of()
 * @c:		Initialised; written. @c->judged need not be valid JSON.
 *
 * Return: ERR_OK; ERR_FORMAT without a proper id and name; ERR_LIMIT for
 *	   arguments that are too long; ERR_MEMORY.
 */
enum err responses_call_read(const struct json *j, json_ref item,
			     struct responses_call *c)
{
	enum err e = responses_call_name(j, item, c);
	json_ref at;

	buf_reset(&c->text);
	buf_reset(&c->judged);
	if (e != ERR_OK)
		return e;
	at = c->kind->field ? json_get(j, item, c->kind->field) : item;
	switch (c->kind->shape) {
	case RESPONSES_ARGUMENTS:
		e = judge_arguments(j, at, c);
		break;
	case RESPONSES_INPUT:
		e = judge_input(j, at, c);
		break;
	case RESPONSES_COMMAND:
	case RESPONSES_COMMANDS:
		e = judge_command(j, at, c->kind->shape == RESPONSES_COMMANDS,
				  c);
		break;
	case RESPONSES_OBJECT:
	case RESPONSES_ITEM:
		e = judge_object(j, item, at, c);
		break;
	}
	if (e != ERR_FORMAT)
		return e;
	/* Known by name, but not to be understood: let it be denied. */
	buf_reset(&c->judged);
	return ERR_OK;
}

/** responses_ledger_init() - Prepare an empty ledger */
void responses_ledger_init(struct responses_ledger *l)
{
	*l = (struct responses_ledger){.count = 0};
	buf_init(&l->texts, RESPONSES_DENIALS_MAX_BYTES);
}

/** responses_ledger_fini() - Release a ledger's memory */
void responses_ledger_fini(struct responses_ledger *l)
{
	free(l->entries);
	buf_fini(&l->texts);
	responses_ledger_init(l);
}

static void digest_call(const struct responses_call *c, uint8_t *ret_digest)
{
	const char *type = c->kind->type ? c->kind->type : "";
	const struct span parts[] = {
		span_of(type, strlen(type) + 1),
		span_of(c->id, strlen(c->id) + 1),
		span_of(c->name, strlen(c->name) + 1),
		buf_span(&c->judged),
	};

	digest_sha256_parts(parts, ARRAY_SIZE(parts), ret_digest);
}

/**
 * responses_ledger_add() - Remember a verdict
 * @l:		Ledger
 * @c:		Call as it was judged
 * @v:		Verdict; a denial's text is made and kept
 * @ret_entry:	Its number
 *
 * Return: ERR_OK; ERR_LIMIT past RESPONSES_CALLS_MAX; ERR_MEMORY.
 */
enum err responses_ledger_add(struct responses_ledger *l,
			      const struct responses_call *c,
			      const struct reply_verdict *v,
			      uint32_t *ret_entry)
{
	struct responses_judged *x;
	enum err e = ERR_OK;

	if (l->count == RESPONSES_CALLS_MAX)
		return ERR_LIMIT;
	if (l->count == l->cap) {
		uint32_t cap = l->cap ? 2 * l->cap : 4;

		x = realloc(l->entries, cap * sizeof(*x));
		if (!x)
			return ERR_MEMORY;
		l->entries = x;
		l->cap = cap;
	}
	x = &l->entries[l->count];
	*x = (struct responses_judged){
		.denied = !v->allow,
		.number = l->count,
		.text_at = l->texts.len_bytes,
	};
	digest_call(c, x->digest);
	if (!v->allow)
		e = reply_put_denial(&l->texts, span_text(c->name), v);
	x->text_len = l->texts.len_bytes - x->text_at;
	if (e == ERR_OK)
		*ret_entry = l->count++;
	return e;
}

/**
 * responses_ledger_meet() - Find the verdict on a call that comes again
 * @l:	Ledger; each entry is met once
 * @c:	Call, complete
 *
 * Return: the entry; NULL for a call that is not the one that was judged.
 */
struct responses_judged *responses_ledger_meet(struct responses_ledger *l,
					       const struct responses_call *c)
{
	uint8_t digest[DIGEST_BYTES];
	uint32_t i;

	digest_call(c, digest);
	for (i = 0; i < l->count; i++)
		if (!l->entries[i].met &&
		    digest_equal(l->entries[i].digest, digest)) {
			l->entries[i].met = true;
			return &l->entries[i];
		}
	return NULL;
}

/** responses_ledger_text() - The text that stands for a denied call */
struct span responses_ledger_text(const struct responses_ledger *l,
				  const struct responses_judged *entry)
{
	return span_of(l->texts.data + entry->text_at, entry->text_len);
}

/**
 * responses_put_message() - Append the message that stands for a denied call
 * @b:		Buffer
 * @number:	Of the denial in this response: makes its id
 * @status:	"in_progress", then without content, or "completed"
 * @text:	UTF-8
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_put_message(struct buf *b, uint32_t number,
			       const char *status, struct span text)
{
	char id[32];
	struct jsonw w;

	(void)snprintf(id, sizeof(id), "msg_kenaz_%u", number);
	jsonw_init(&w, b);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "id", id);
	jsonw_put_cstr(&w, "type", "message");
	jsonw_put_cstr(&w, "status", status);
	jsonw_put_cstr(&w, "role", "assistant");
	jsonw_key(&w, "content");
	jsonw_begin_array(&w);
	if (strcmp(status, "completed") == 0) {
		jsonw_begin_object(&w);
		jsonw_put_cstr(&w, "type", "output_text");
		jsonw_key(&w, "annotations");
		jsonw_begin_array(&w);
		jsonw_end_array(&w);
		jsonw_put_text(&w, "text", text);
		jsonw_end_object(&w);
	}
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}
