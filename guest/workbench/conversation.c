/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conversation.c - what was said so far, as the model is told it
 *
 * Runs in: kenaz-workbench.
 * Trusts:  nothing that the model said: its input of a call is passed back
 *	    only if it is one strict JSON object.
 * Never:   does I/O.
 */
#include "guest/workbench/conversation.h"

#include "engine/base/json.h"
#include "engine/base/jsonw.h"

#define MAX_OUTPUT_TOKENS 8192u
#define INPUT_MAX_TOKENS  65536u

static const char system_text[] =
	"You are an agent in a throw-away Linux virtual machine that Kenaz "
	"made for this session. It has no network card; what may leave it is "
	"decided outside by policy. Work with the tools bash, read and write. "
	"When a call or a connection is denied, say so and name the rule; do "
	"not try to get around it.";

/** conversation_init() - Nothing was said */
void conversation_init(struct conversation *c)
{
	buf_init(&c->messages, CONVERSATION_MAX_BYTES);
}

/** conversation_fini() - Release a conversation */
void conversation_fini(struct conversation *c)
{
	buf_fini(&c->messages);
}

/** conversation_clear() - Forget everything */
void conversation_clear(struct conversation *c)
{
	buf_reset(&c->messages);
}

/** conversation_mark() - Where the conversation stands */
size_t conversation_mark(const struct conversation *c)
{
	return c->messages.len_bytes;
}

/** conversation_rewind() - Forget what was said since a mark */
void conversation_rewind(struct conversation *c, size_t mark)
{
	if (mark <= c->messages.len_bytes)
		buf_truncate(&c->messages, mark);
}

static enum err begin(struct conversation *c, struct jsonw *w, const char *role)
{
	enum err e = ERR_OK;

	if (c->messages.len_bytes)
		e = buf_put_text(&c->messages, ",");
	jsonw_init(w, &c->messages);
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "role", role);
	jsonw_key(w, "content");
	jsonw_begin_array(w);
	return e;
}

static enum err end(struct conversation *c, struct jsonw *w, size_t mark,
		    enum err e)
{
	enum err finished;

	jsonw_end_array(w);
	jsonw_end_object(w);
	finished = jsonw_finish(w);
	if (e == ERR_OK)
		e = finished;
	if (e != ERR_OK)
		conversation_rewind(c, mark);
	return e;
}

static void put_text(struct jsonw *w, struct span text)
{
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "text");
	jsonw_put_text(w, "text", text);
	jsonw_end_object(w);
}

/**
 * conversation_add_prompt() - The user said something
 * @c:		Conversation
 * @text:	UTF-8, not empty
 *
 * Return: ERR_OK; ERR_LIMIT past CONVERSATION_MAX_BYTES; ERR_FORMAT for text
 *	   that is not UTF-8; ERR_MEMORY. Nothing is added on failure.
 */
enum err conversation_add_prompt(struct conversation *c, struct span text)
{
	size_t mark = conversation_mark(c);
	struct jsonw w;
	enum err e = begin(c, &w, "user");

	put_text(&w, text);
	return end(c, &w, mark, e);
}

static bool is_object(struct span text)
{
	const struct json_limits limits = {.max_tokens = INPUT_MAX_TOKENS};
	struct json j;
	bool is;

	json_init(&j);
	is = json_parse(&j, text, &limits) == ERR_OK &&
	     json_is(&j, JSON_ROOT, JSON_OBJECT);
	json_fini(&j);
	return is;
}

static void put_block(struct jsonw *w, const struct model_block *b)
{
	struct span content = buf_span(&b->content);

	switch (b->type) {
	case MODEL_BLOCK_TEXT:
		/* Providers refuse empty texts that they sent themselves. */
		if (content.len_bytes)
			put_text(w, content);
		break;
	case MODEL_BLOCK_TOOL_USE:
		jsonw_begin_object(w);
		jsonw_put_cstr(w, "type", "tool_use");
		jsonw_put_cstr(w, "id", b->id);
		jsonw_put_cstr(w, "name", b->name);
		jsonw_key(w, "input");
		jsonw_raw(w, is_object(content) ? content : span_text("{}"));
		jsonw_end_object(w);
		break;
	case MODEL_BLOCK_THINKING:
		jsonw_begin_object(w);
		jsonw_put_cstr(w, "type", "thinking");
		jsonw_put_text(w, "thinking", content);
		jsonw_put_text(w, "signature", buf_span(&b->signature));
		jsonw_end_object(w);
		break;
	case MODEL_BLOCK_REDACTED:
		jsonw_begin_object(w);
		jsonw_put_cstr(w, "type", "redacted_thinking");
		jsonw_put_text(w, "data", content);
		jsonw_end_object(w);
		break;
	case MODEL_BLOCK_OTHER:
		break;
	}
}

/**
 * conversation_add_reply() - The model answered
 * @c:	Conversation
 * @r:	A reply that has ended
 *
 * Return: as conversation_add_prompt().
 */
enum err conversation_add_reply(struct conversation *c,
				const struct model_reply *r)
{
	size_t mark = conversation_mark(c), i;
	struct jsonw w;
	enum err e = begin(c, &w, "assistant");

	for (i = 0; i < r->count; i++)
		put_block(&w, &r->blocks[i]);
	return end(c, &w, mark, e);
}

/**
 * conversation_add_results() - What the calls of the last reply gave
 * @c:		Conversation
 * @results:	In the order of the calls
 * @count:	At least 1
 *
 * Return: as conversation_add_prompt().
 */
enum err conversation_add_results(struct conversation *c,
				  const struct tool_result *results,
				  size_t count)
{
	size_t mark = conversation_mark(c), i;
	struct jsonw w;
	enum err e = begin(c, &w, "user");

	for (i = 0; i < count; i++) {
		jsonw_begin_object(&w);
		jsonw_put_cstr(&w, "type", "tool_result");
		jsonw_put_cstr(&w, "tool_use_id", results[i].id);
		jsonw_put_text(&w, "content", buf_span(&results[i].output));
		if (results[i].is_error)
			jsonw_put_bool(&w, "is_error", true);
		jsonw_end_object(&w);
	}
	return end(c, &w, mark, e);
}

/**
 * conversation_request() - Append the body of the next request
 * @c:		Conversation
 * @model:	Model to ask for
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_FORMAT; ERR_MEMORY.
 */
enum err conversation_request(const struct conversation *c, const char *model,
			      struct buf *out)
{
	struct jsonw w;
	enum err e;

	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "model", model);
	jsonw_put_u64(&w, "max_tokens", MAX_OUTPUT_TOKENS);
	jsonw_put_bool(&w, "stream", true);
	jsonw_put_cstr(&w, "system", system_text);
	jsonw_key(&w, "tools");
	jsonw_raw(&w, span_text(tools_definitions));
	jsonw_end_object(&w);
	e = jsonw_finish(&w);
	if (e != ERR_OK)
		return e;
	/* The messages come last: they are a list already. */
	buf_truncate(out, out->len_bytes - 1);
	e = buf_put_text(out, ",\"messages\":[");
	if (e == ERR_OK)
		e = buf_put_span(out, buf_span(&c->messages));
	if (e == ERR_OK)
		e = buf_put_text(out, "]}");
	return e;
}
