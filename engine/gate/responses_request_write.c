/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_request_write.c - a request of any dialect, in the Responses one
 *
 * Runs in: kenaz-gate.
 * Trusts:  raw JSON in the neutral form: it passed the strict tokenizer.
 * Never:   asks the provider to store anything; sends one model's signature
 *	    to another.
 *
 * OpenAI Responses. System messages in front become `instructions`, later
 * ones developer messages. Encrypted reasoning is asked for only where the
 * client asks for thinking, because models without it refuse that.
 */
#include "engine/gate/responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/neutral_tools.h"

#define TOKENS_MIN     16u /* OpenAI refuses less */
#define USER_MAX_BYTES 64u

struct writing {
	struct neutral_request *r;
	struct jsonw w;
	uint32_t first; /* message behind the instructions */
	bool in_message;
};

static enum err put_data_url(struct jsonw *w, const char *key,
			     struct span media_type, struct span data)
{
	struct buf url;
	enum err e;

	buf_init(&url, BODY_MAX_BYTES);
	e = buf_put_text(&url, "data:");
	if (e == ERR_OK)
		e = buf_put_span(&url, media_type);
	if (e == ERR_OK)
		e = buf_put_text(&url, ";base64,");
	if (e == ERR_OK)
		e = buf_put_span(&url, data);
	if (e == ERR_OK)
		jsonw_put_text(w, key, buf_span(&url));
	buf_fini(&url);
	return e;
}

static void put_text_part(struct jsonw *w, const char *type, const char *key,
			  struct span text)
{
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", type);
	jsonw_put_text(w, key, text);
	jsonw_end_object(w);
}

static enum err put_image(struct writing *x, const struct neutral_part *p)
{
	struct jsonw *w = &x->w;
	enum err e = ERR_OK;

	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "input_image");
	jsonw_put_cstr(w, "detail", "auto");
	if (p->url.data)
		jsonw_put_text(w, "image_url", p->url);
	else
		e = put_data_url(w, "image_url", p->media_type, p->data);
	jsonw_end_object(w);
	return e;
}

static enum err put_document(struct writing *x, const struct neutral_part *p)
{
	struct jsonw *w = &x->w;
	struct buf text;
	enum err e = ERR_OK;

	if (p->text.data) {
		buf_init(&text, NEUTRAL_KEPT_BYTES);
		if (p->name.len_bytes) {
			e = buf_put_text(&text, "Document \"");
			if (e == ERR_OK)
				e = buf_put_span(&text, p->name);
			if (e == ERR_OK)
				e = buf_put_text(&text, "\":\n");
		}
		if (e == ERR_OK)
			e = buf_put_span(&text, p->text);
		if (e == ERR_OK)
			put_text_part(w, "input_text", "text", buf_span(&text));
		buf_fini(&text);
		return e;
	}
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "input_file");
	if (p->url.data) {
		jsonw_put_text(w, "file_url", p->url);
	} else {
		jsonw_put_text(w, "filename",
			       p->name.len_bytes ? p->name
						 : span_text("document.pdf"));
		e = put_data_url(w, "file_data", p->media_type, p->data);
	}
	jsonw_end_object(w);
	return e;
}

/* A part of a message or of a result. */
static enum err put_part(struct writing *x, const struct neutral_part *p,
			 bool assistant)
{
	const char *text = assistant ? "output_text" : "input_text";

	switch (p->kind) {
	case NEUTRAL_TEXT:
		put_text_part(&x->w, text, "text", p->text);
		return ERR_OK;
	case NEUTRAL_REFUSAL:
		if (assistant)
			put_text_part(&x->w, "refusal", "refusal", p->text);
		else
			put_text_part(&x->w, text, "text", p->text);
		return ERR_OK;
	case NEUTRAL_IMAGE:
		if (assistant)
			return neutral_refuse(x->r, "an assistant's image",
					      "has no form in the Responses "
					      "dialect");
		return put_image(x, p);
	case NEUTRAL_DOCUMENT:
		if (assistant)
			return neutral_refuse(x->r, "an assistant's document",
					      "has no form in the Responses "
					      "dialect");
		return put_document(x, p);
	case NEUTRAL_TOOL_CALL:
	case NEUTRAL_TOOL_RESULT:
	case NEUTRAL_THINKING:
	case NEUTRAL_REDACTED:
		break;
	}
	return ERR_STATE;
}

static void end_message(struct writing *x)
{
	if (!x->in_message)
		return;
	jsonw_end_array(&x->w);
	jsonw_end_object(&x->w);
	x->in_message = false;
}

static void begin_message(struct writing *x, enum neutral_role role)
{
	static const char *const names[] = {
		[NEUTRAL_SYSTEM] = "developer",
		[NEUTRAL_USER] = "user",
		[NEUTRAL_ASSISTANT] = "assistant",
	};

	if (x->in_message)
		return;
	jsonw_begin_object(&x->w);
	jsonw_put_cstr(&x->w, "type", "message");
	jsonw_put_cstr(&x->w, "role", names[role]);
	jsonw_key(&x->w, "content");
	jsonw_begin_array(&x->w);
	x->in_message = true;
}

static void put_call(struct writing *x, const struct neutral_part *p)
{
	jsonw_begin_object(&x->w);
	jsonw_put_cstr(&x->w, "type", "function_call");
	jsonw_put_text(&x->w, "call_id", p->id);
	jsonw_put_text(&x->w, "name", p->name);
	jsonw_put_text(&x->w, "arguments", p->json);
	jsonw_end_object(&x->w);
}

static enum err put_result(struct writing *x, const struct neutral_part *p)
{
	struct jsonw *w = &x->w;
	enum err e = ERR_OK;
	uint32_t i;

	if (p->is_error)
		neutral_drop(x->r, "is_error");
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "function_call_output");
	jsonw_put_text(w, "call_id", p->id);
	jsonw_key(w, "output");
	if (p->nested == 1 && p[1].kind == NEUTRAL_TEXT) {
		jsonw_text(w, p[1].text);
	} else if (p->nested == 0) {
		jsonw_cstr(w, "");
	} else {
		jsonw_begin_array(w);
		for (i = 1; e == ERR_OK && i <= p->nested; i++)
			e = put_part(x, &p[i], false);
		jsonw_end_array(w);
	}
	jsonw_end_object(w);
	return e;
}

/* What another model thought is left out: this one would not take it. */
static void put_thought(struct writing *x, const struct neutral_part *p)
{
	struct jsonw *w = &x->w;
	struct span sealed =
		p->kind == NEUTRAL_REDACTED ? p->data : p->signature;

	if (!sealed.len_bytes ||
	    !neutral_understands(DIALECT_RESPONSES, p->signer)) {
		neutral_drop(x->r, p->kind == NEUTRAL_REDACTED
					   ? "redacted_thinking"
					   : "thinking");
		return;
	}
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "reasoning");
	jsonw_key(w, "summary");
	jsonw_begin_array(w);
	if (p->kind == NEUTRAL_THINKING && p->text.len_bytes)
		put_text_part(w, "summary_text", "text", p->text);
	jsonw_end_array(w);
	jsonw_put_text(w, "encrypted_content", sealed);
	jsonw_end_object(w);
}

static enum err put_message(struct writing *x, const struct neutral_message *m)
{
	bool assistant = m->role == NEUTRAL_ASSISTANT;
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < m->part_count; i++) {
		const struct neutral_part *p = &x->r->parts[m->first_part + i];

		switch (p->kind) {
		case NEUTRAL_TEXT:
		case NEUTRAL_IMAGE:
		case NEUTRAL_DOCUMENT:
		case NEUTRAL_REFUSAL:
			begin_message(x, m->role);
			e = put_part(x, p, assistant);
			continue;
		case NEUTRAL_TOOL_CALL:
			end_message(x);
			put_call(x, p);
			continue;
		case NEUTRAL_TOOL_RESULT:
			end_message(x);
			e = put_result(x, p);
			i += p->nested;
			continue;
		case NEUTRAL_THINKING:
		case NEUTRAL_REDACTED:
			end_message(x);
			put_thought(x, p);
			continue;
		}
	}
	end_message(x);
	return e;
}

/* The system messages in front of all others. */
static enum err put_instructions(struct writing *x)
{
	const struct neutral_request *r = x->r;
	struct buf text;
	enum err e = ERR_OK;
	uint32_t i;

	buf_init(&text, NEUTRAL_KEPT_BYTES);
	for (; e == ERR_OK && x->first < r->message_count; x->first++) {
		const struct neutral_message *m = &r->messages[x->first];

		if (m->role != NEUTRAL_SYSTEM)
			break;
		for (i = 0; e == ERR_OK && i < m->part_count; i++) {
			const struct neutral_part *p =
				&r->parts[m->first_part + i];

			if (p->kind != NEUTRAL_TEXT)
				e = neutral_refuse(x->r, "system",
						   "only texts can be "
						   "translated");
			if (e == ERR_OK && text.len_bytes)
				e = buf_put_text(&text, "\n\n");
			if (e == ERR_OK)
				e = buf_put_span(&text, p->text);
		}
	}
	if (e == ERR_OK && text.len_bytes)
		jsonw_put_text(&x->w, "instructions", buf_span(&text));
	buf_fini(&text);
	return e;
}

static enum err put_input(struct writing *x)
{
	enum err e;
	uint32_t i;

	e = put_instructions(x);
	jsonw_key(&x->w, "input");
	jsonw_begin_array(&x->w);
	for (i = x->first; e == ERR_OK && i < x->r->message_count; i++)
		e = put_message(x, &x->r->messages[i]);
	jsonw_end_array(&x->w);
	return e;
}

static void put_tools(struct writing *x)
{
	const struct neutral_request *r = x->r;
	struct jsonw *w = &x->w;
	uint32_t i;

	if (!r->tool_count)
		return;
	jsonw_key(w, "tools");
	jsonw_begin_array(w);
	for (i = 0; i < r->tool_count; i++) {
		const struct neutral_tool *t = &r->tools[i];

		jsonw_begin_object(w);
		jsonw_put_cstr(w, "type", "function");
		jsonw_put_text(w, "name", t->name);
		neutral_put_optional(w, "description", t->description);
		jsonw_key(w, "parameters");
		jsonw_raw(w, t->schema);
		/* The default is true. */
		jsonw_put_bool(w, "strict", t->strict);
		jsonw_end_object(w);
	}
	jsonw_end_array(w);
}

static void put_choice(struct writing *x)
{
	static const char *const words[] = {
		[NEUTRAL_CHOICE_AUTO] = "auto",
		[NEUTRAL_CHOICE_ANY] = "required",
		[NEUTRAL_CHOICE_NONE] = "none",
	};
	const struct neutral_request *r = x->r;

	if (r->choice == NEUTRAL_CHOICE_NAMED) {
		jsonw_key(&x->w, "tool_choice");
		jsonw_begin_object(&x->w);
		jsonw_put_cstr(&x->w, "type", "function");
		jsonw_put_text(&x->w, "name", r->choice_name);
		jsonw_end_object(&x->w);
	} else if (r->choice != NEUTRAL_CHOICE_UNSET) {
		jsonw_put_cstr(&x->w, "tool_choice", words[r->choice]);
	}
	if (r->parallel >= 0)
		jsonw_put_bool(&x->w, "parallel_tool_calls", r->parallel);
}

static void put_format(struct writing *x)
{
	const struct neutral_request *r = x->r;
	struct jsonw *w = &x->w;

	if (r->format == NEUTRAL_FORMAT_TEXT)
		return;
	jsonw_key(w, "text");
	jsonw_begin_object(w);
	jsonw_key(w, "format");
	jsonw_begin_object(w);
	if (r->format == NEUTRAL_FORMAT_JSON) {
		jsonw_put_cstr(w, "type", "json_object");
	} else {
		jsonw_put_cstr(w, "type", "json_schema");
		jsonw_put_text(w, "name",
			       r->format_name.len_bytes ? r->format_name
							: span_text("answer"));
		jsonw_key(w, "schema");
		jsonw_raw(w, r->format_schema);
		jsonw_put_bool(w, "strict", r->format_strict);
	}
	jsonw_end_object(w);
	jsonw_end_object(w);
}

static const char *effort_of(uint64_t tokens)
{
	return tokens <= 2048 ? "low" : tokens <= 8192 ? "medium" : "high";
}

static void put_thinking(struct writing *x)
{
	const struct neutral_request *r = x->r;
	struct jsonw *w = &x->w;

	if (r->thinking == NEUTRAL_THINKING_UNSET)
		return;
	/* A model that cannot think needs not be told. */
	if (r->thinking == NEUTRAL_THINKING_OFF) {
		neutral_drop(x->r, "thinking");
		return;
	}
	jsonw_key(w, "reasoning");
	jsonw_begin_object(w);
	if (r->effort.len_bytes)
		jsonw_put_text(w, "effort", r->effort);
	else if (r->thinking == NEUTRAL_THINKING_BUDGET)
		jsonw_put_cstr(w, "effort", effort_of(r->thinking_tokens));
	if (r->thinking != NEUTRAL_THINKING_EFFORT)
		jsonw_put_cstr(w, "summary", "auto");
	jsonw_end_object(w);
	jsonw_key(w, "include");
	jsonw_begin_array(w);
	jsonw_cstr(w, "reasoning.encrypted_content");
	jsonw_end_array(w);
}

static void put_limits(struct writing *x)
{
	struct neutral_request *r = x->r;
	uint64_t tokens;

	if (r->max_tokens.data &&
	    text_parse_u64(r->max_tokens, 0, TOKENS_MIN - 1, &tokens) ==
		    ERR_OK) {
		neutral_drop(r, "max_tokens below 16");
		jsonw_put_u64(&x->w, "max_output_tokens", TOKENS_MIN);
	} else {
		neutral_put_number(&x->w, "max_output_tokens", r->max_tokens);
	}
	neutral_put_number(&x->w, "temperature", r->temperature);
	neutral_put_number(&x->w, "top_p", r->top_p);
	if (r->top_k.data)
		neutral_drop(r, "top_k");
	if (r->seed.data)
		neutral_drop(r, "seed");
	if (r->frequency_penalty.data)
		neutral_drop(r, "frequency_penalty");
	if (r->presence_penalty.data)
		neutral_drop(r, "presence_penalty");
	if (r->user.len_bytes > USER_MAX_BYTES)
		neutral_drop(r, "user");
	else if (r->user.len_bytes)
		jsonw_put_text(&x->w, "safety_identifier", r->user);
	neutral_put_optional(&x->w, "service_tier", r->service_tier);
}

/**
 * responses_write_request() - Write a body for a Responses provider
 * @r:		Request; what is left out is noted in it
 * @t:		Model and stream
 * @out:	The body is appended
 *
 * Return: ERR_OK; ERR_UNSUPPORTED with error_text for what this dialect
 *	   cannot say; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_write_request(struct neutral_request *r,
				 const struct dialect_target *t,
				 struct buf *out)
{
	struct writing x = {.r = r};
	enum err e, last;

	if (r->stop_count)
		return neutral_refuse(r, "stop sequences",
				      "have no form in the Responses dialect");
	jsonw_init(&x.w, out);
	jsonw_begin_object(&x.w);
	jsonw_put_text(&x.w, "model", t->model);
	jsonw_put_bool(&x.w, "store", false);
	jsonw_put_bool(&x.w, "stream", t->stream);
	e = put_input(&x);
	put_tools(&x);
	put_choice(&x);
	put_format(&x);
	put_thinking(&x);
	put_limits(&x);
	jsonw_end_object(&x.w);
	last = jsonw_finish(&x.w);
	return e == ERR_OK ? last : e;
}
