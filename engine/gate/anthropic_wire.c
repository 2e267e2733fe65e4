/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_wire.c - an Anthropic request, written from the neutral form
 *
 * Runs in: kenaz-gate.
 * Trusts:  the neutral form's shape; nothing in its texts.
 * Never:   writes what the API is known to refuse when it can be said
 *	    otherwise; leaves anything out without a note.
 *
 * Anthropic Messages, version 2023-06-01. System messages come first, as
 * `system`. Neighbours of one role become one message, with tool results in
 * front, as the API demands. Empty texts are left out. Thinking goes back only
 * to models that understand its signature. How much is thought and written is
 * settled in anthropic_plan.c.
 */
#include "engine/gate/anthropic_neutral.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/jsonw.h"
#include "engine/base/text.h"
#include "engine/gate/anthropic_plan.h"
#include "engine/gate/neutral_tools.h"
#include "engine/proto/limits.h"

struct wire_writer {
	struct neutral_request *r;
	const struct dialect_target *target;
	struct jsonw w;
	struct anthropic_plan plan;
};

static bool is_name(struct span s, const char *name)
{
	return s.data && span_is(s, name);
}

static void put_cache(struct jsonw *w, enum neutral_cache cache)
{
	if (cache == NEUTRAL_CACHE_NONE)
		return;
	jsonw_key(w, "cache_control");
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "ephemeral");
	if (cache == NEUTRAL_CACHE_1H)
		jsonw_put_cstr(w, "ttl", "1h");
	jsonw_end_object(w);
}

static void begin_block(struct jsonw *w, const char *type)
{
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", type);
}

static void put_text(struct wire_writer *x, const struct neutral_part *p)
{
	begin_block(&x->w, "text");
	jsonw_put_text(&x->w, "text", p->text);
	put_cache(&x->w, p->cache);
	jsonw_end_object(&x->w);
}

/* An encoded text document, decoded. */
static enum err decode_text(struct wire_writer *x, const struct neutral_part *p,
			    struct span *ret_text)
{
	struct buf b;
	enum err e;

	buf_init(&b, BODY_MAX_BYTES);
	e = text_unbase64(p->data, &b);
	if (e == ERR_OK && !text_is_utf8(buf_span(&b)))
		e = ERR_FORMAT;
	if (e == ERR_OK)
		e = neutral_keep(x->r, buf_span(&b), ret_text);
	buf_fini(&b);
	return e == ERR_FORMAT ? neutral_malformed(x->r, "a document",
						   "not base64 of UTF-8")
			       : e;
}

static bool is_text_type(struct span type)
{
	return type.data && type.len_bytes > 5 &&
	       memcmp(type.data, "text/", 5) == 0;
}

static enum err put_source(struct wire_writer *x, const struct neutral_part *p)
{
	static const char *const images[] = {"image/jpeg", "image/png",
					     "image/gif", "image/webp"};
	bool document = p->kind == NEUTRAL_DOCUMENT, known = document;
	struct span text = p->text;
	struct jsonw *w = &x->w;
	enum err e = ERR_OK;
	size_t i;

	if (document && p->data.data && is_text_type(p->media_type))
		e = decode_text(x, p, &text);
	if (e != ERR_OK)
		return e;
	if (document)
		known = is_name(p->media_type, "application/pdf");
	for (i = 0; !document && i < ARRAY_SIZE(images); i++)
		known |= is_name(p->media_type, images[i]);
	if (!text.data && !p->url.data && !known)
		return neutral_refuse(x->r,
				      document ? "a document" : "an image",
				      "the provider takes no such media type");
	jsonw_key(w, "source");
	if (text.data) {
		begin_block(w, "text");
		jsonw_put_cstr(w, "media_type", "text/plain");
		jsonw_put_text(w, "data", text);
	} else if (p->data.data) {
		begin_block(w, "base64");
		jsonw_put_text(w, "media_type", p->media_type);
		jsonw_put_text(w, "data", p->data);
	} else {
		begin_block(w, "url");
		jsonw_put_text(w, "url", p->url);
	}
	jsonw_end_object(w);
	return ERR_OK;
}

static enum err put_media(struct wire_writer *x, const struct neutral_part *p)
{
	bool document = p->kind == NEUTRAL_DOCUMENT;
	enum err e;

	begin_block(&x->w, document ? "document" : "image");
	e = put_source(x, p);
	if (document && p->name.len_bytes)
		jsonw_put_text(&x->w, "title", p->name);
	put_cache(&x->w, p->cache);
	jsonw_end_object(&x->w);
	return e;
}

static void put_call(struct wire_writer *x, const struct neutral_part *p)
{
	begin_block(&x->w, "tool_use");
	jsonw_put_text(&x->w, "id", p->id);
	jsonw_put_text(&x->w, "name", p->name);
	jsonw_key(&x->w, "input");
	jsonw_raw(&x->w, p->json.len_bytes ? p->json : span_text("{}"));
	put_cache(&x->w, p->cache);
	jsonw_end_object(&x->w);
}

static void put_thinking(struct wire_writer *x, const struct neutral_part *p)
{
	bool redacted = p->kind == NEUTRAL_REDACTED;

	if (!neutral_understands(DIALECT_ANTHROPIC, p->signer)) {
		neutral_drop(x->r, "thinking");
		return;
	}
	begin_block(&x->w, redacted ? "redacted_thinking" : "thinking");
	if (redacted) {
		jsonw_put_text(&x->w, "data", p->data);
	} else {
		jsonw_put_text(&x->w, "thinking", p->text);
		jsonw_put_text(&x->w, "signature", p->signature);
	}
	jsonw_end_object(&x->w);
}

static enum err put_result(struct wire_writer *x, const struct neutral_part *p);

static enum err put_part(struct wire_writer *x, const struct neutral_part *p)
{
	switch (p->kind) {
	case NEUTRAL_TEXT:
	case NEUTRAL_REFUSAL:
		if (p->text.len_bytes)
			put_text(x, p);
		return ERR_OK;
	case NEUTRAL_IMAGE:
	case NEUTRAL_DOCUMENT:
		return put_media(x, p);
	case NEUTRAL_TOOL_CALL:
		put_call(x, p);
		return ERR_OK;
	case NEUTRAL_TOOL_RESULT:
		return put_result(x, p);
	case NEUTRAL_THINKING:
	case NEUTRAL_REDACTED:
		put_thinking(x, p);
		return ERR_OK;
	}
	return ERR_INTERNAL;
}

static enum err put_result(struct wire_writer *x, const struct neutral_part *p)
{
	enum err e = ERR_OK;
	uint32_t i;

	begin_block(&x->w, "tool_result");
	jsonw_put_text(&x->w, "tool_use_id", p->id);
	if (p->is_error)
		jsonw_put_bool(&x->w, "is_error", true);
	if (p->nested) {
		jsonw_key(&x->w, "content");
		jsonw_begin_array(&x->w);
		for (i = 1; e == ERR_OK && i <= p->nested; i++)
			e = put_part(x, p + i);
		jsonw_end_array(&x->w);
	}
	put_cache(&x->w, p->cache);
	jsonw_end_object(&x->w);
	return e;
}

/* Whether anything of a part is written. */
static bool is_written(const struct neutral_part *p)
{
	if (p->kind == NEUTRAL_TEXT || p->kind == NEUTRAL_REFUSAL)
		return p->text.len_bytes != 0;
	if (p->kind == NEUTRAL_THINKING || p->kind == NEUTRAL_REDACTED)
		return neutral_understands(DIALECT_ANTHROPIC, p->signer);
	return true;
}

static bool has_content(const struct neutral_request *r,
			const struct neutral_message *m)
{
	const struct neutral_part *p = r->parts;
	uint32_t i, end = m->first_part + m->part_count;

	for (i = m->first_part; i < end; i += 1 + p[i].nested)
		if (is_written(&p[i]))
			return true;
	return false;
}

/* A message's parts: its tool results, or all others. */
static enum err put_parts(struct wire_writer *x,
			  const struct neutral_message *m, bool results)
{
	const struct neutral_part *p = x->r->parts;
	uint32_t i, end = m->first_part + m->part_count;
	enum err e = ERR_OK;

	for (i = m->first_part; e == ERR_OK && i < end; i += 1 + p[i].nested)
		if ((p[i].kind == NEUTRAL_TOOL_RESULT) == results)
			e = put_part(x, &p[i]);
	return e;
}

/* Messages @from to @to, of which those of @role are one. */
static enum err put_run(struct wire_writer *x, uint32_t from, uint32_t to,
			enum neutral_role role)
{
	const struct neutral_message *m = x->r->messages;
	enum err e = ERR_OK;
	uint32_t i;
	int pass;

	for (pass = 0; pass < 2; pass++)
		for (i = from; e == ERR_OK && i < to; i++)
			if (m[i].role == role)
				e = put_parts(x, &m[i], pass == 0);
	return e;
}

static enum err put_messages(struct wire_writer *x)
{
	const struct neutral_message *m = x->r->messages;
	uint32_t from, to, count = x->r->message_count;
	enum err e = ERR_OK;

	jsonw_key(&x->w, "messages");
	jsonw_begin_array(&x->w);
	for (from = 0; e == ERR_OK && from < count; from = to) {
		enum neutral_role role = m[from].role;

		to = from + 1;
		if (role == NEUTRAL_SYSTEM || !has_content(x->r, &m[from])) {
			/* For the notes of what is left out. */
			if (role != NEUTRAL_SYSTEM)
				e = put_parts(x, &m[from], false);
			continue;
		}
		while (to < count &&
		       (m[to].role == role || m[to].role == NEUTRAL_SYSTEM ||
			!has_content(x->r, &m[to])))
			to++;
		jsonw_begin_object(&x->w);
		jsonw_put_cstr(&x->w, "role",
			       role == NEUTRAL_USER ? "user" : "assistant");
		jsonw_key(&x->w, "content");
		jsonw_begin_array(&x->w);
		e = put_run(x, from, to, role);
		jsonw_end_array(&x->w);
		jsonw_end_object(&x->w);
	}
	jsonw_end_array(&x->w);
	return e;
}

static enum err put_system(struct wire_writer *x)
{
	const struct neutral_request *r = x->r;
	bool begun = false, talked = false;
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < r->message_count; i++) {
		const struct neutral_message *m = &r->messages[i];

		if (m->role != NEUTRAL_SYSTEM) {
			talked = true;
			continue;
		}
		if (!has_content(r, m))
			continue;
		if (talked)
			neutral_drop(x->r, "a system message's place");
		if (!begun) {
			jsonw_key(&x->w, "system");
			jsonw_begin_array(&x->w);
			begun = true;
		}
		e = put_parts(x, m, false);
	}
	if (begun)
		jsonw_end_array(&x->w);
	return e;
}

static void put_tools(struct wire_writer *x)
{
	static const char none[] = "{\"type\":\"object\",\"properties\":{}}";
	struct jsonw *w = &x->w;
	uint32_t i;

	if (!x->r->tool_count)
		return;
	jsonw_key(w, "tools");
	jsonw_begin_array(w);
	for (i = 0; i < x->r->tool_count; i++) {
		const struct neutral_tool *t = &x->r->tools[i];

		jsonw_begin_object(w);
		jsonw_put_text(w, "name", t->name);
		neutral_put_optional(w, "description", t->description);
		jsonw_key(w, "input_schema");
		jsonw_raw(w, t->schema.len_bytes ? t->schema : span_text(none));
		if (t->strict)
			jsonw_put_bool(w, "strict", true);
		put_cache(w, t->cache);
		jsonw_end_object(w);
	}
	jsonw_end_array(w);
}

static void put_choice(struct wire_writer *x)
{
	static const char *const types[] = {
		[NEUTRAL_CHOICE_UNSET] = "auto", [NEUTRAL_CHOICE_AUTO] = "auto",
		[NEUTRAL_CHOICE_ANY] = "any",    [NEUTRAL_CHOICE_NONE] = "none",
		[NEUTRAL_CHOICE_NAMED] = "tool",
	};
	const struct neutral_request *r = x->r;
	enum neutral_choice choice = r->choice;
	struct jsonw *w = &x->w;

	if (!r->tool_count ||
	    (choice == NEUTRAL_CHOICE_UNSET && r->parallel != 0))
		return;
	/* A model that thinks cannot be made to call. */
	if (x->plan.thinks &&
	    (choice == NEUTRAL_CHOICE_ANY || choice == NEUTRAL_CHOICE_NAMED) &&
	    r->thinking == NEUTRAL_THINKING_EFFORT) {
		x->plan.budget = 0;
		x->plan.adaptive = false;
		x->plan.thinks = false;
		neutral_drop(x->r, "effort");
	}
	jsonw_key(w, "tool_choice");
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", types[choice]);
	if (choice == NEUTRAL_CHOICE_NAMED)
		jsonw_put_text(w, "name", r->choice_name);
	if (choice != NEUTRAL_CHOICE_NONE && r->parallel >= 0)
		jsonw_put_bool(w, "disable_parallel_tool_use",
			       r->parallel == 0);
	jsonw_end_object(w);
}

static void put_thinking_config(struct wire_writer *x)
{
	struct jsonw *w = &x->w;

	if (!x->plan.thinks && x->r->thinking != NEUTRAL_THINKING_OFF)
		return;
	jsonw_key(w, "thinking");
	jsonw_begin_object(w);
	if (x->plan.budget) {
		jsonw_put_cstr(w, "type", "enabled");
		jsonw_put_u64(w, "budget_tokens", x->plan.budget);
	} else {
		jsonw_put_cstr(w, "type",
			       x->plan.adaptive ? "adaptive" : "disabled");
	}
	jsonw_end_object(w);
}

static enum err put_output_config(struct wire_writer *x)
{
	const struct neutral_request *r = x->r;
	bool effort =
		r->effort.data && !is_name(r->effort, "none") &&
		(r->thinking != NEUTRAL_THINKING_EFFORT || x->plan.adaptive);
	bool schema = r->format == NEUTRAL_FORMAT_SCHEMA;
	struct jsonw *w = &x->w;

	if (r->format == NEUTRAL_FORMAT_JSON)
		return neutral_refuse(x->r, "response_format",
				      "the provider takes a schema only, not "
				      "json_object");
	if (!effort && !schema)
		return ERR_OK;
	jsonw_key(w, "output_config");
	jsonw_begin_object(w);
	if (effort)
		jsonw_put_text(w, "effort",
			       is_name(r->effort, "minimal") ? span_text("low")
							     : r->effort);
	if (schema) {
		jsonw_key(w, "format");
		begin_block(w, "json_schema");
		jsonw_key(w, "schema");
		jsonw_raw(w, r->format_schema.len_bytes ? r->format_schema
							: span_text("{}"));
		jsonw_end_object(w);
	}
	jsonw_end_object(w);
	return ERR_OK;
}

static bool is_zero(struct span number)
{
	size_t i;

	for (i = 0; i < number.len_bytes; i++)
		if (number.data[i] >= '1' && number.data[i] <= '9')
			return false;
	return true;
}

static bool is_above_one(struct span number)
{
	char text[64];

	return span_copy_text(number, text, sizeof(text)) != ERR_OK ||
	       strtod(text, NULL) > 1.0;
}

static enum err put_sampling(struct wire_writer *x)
{
	struct neutral_request *r = x->r;

	if (!is_zero(r->frequency_penalty))
		return neutral_refuse(r, "frequency_penalty",
				      "the provider has none");
	if (!is_zero(r->presence_penalty))
		return neutral_refuse(r, "presence_penalty",
				      "the provider has none");
	if (r->temperature.data && is_above_one(r->temperature))
		return neutral_refuse(r, "temperature",
				      "the provider takes none above 1");
	if (r->seed.data)
		neutral_drop(r, "seed");
	/* Reasoning asked for by its effort leaves these as they must be. */
	if (x->plan.thinks && r->thinking == NEUTRAL_THINKING_EFFORT) {
		if (r->temperature.data)
			neutral_drop(r, "temperature");
		if (r->top_p.data)
			neutral_drop(r, "top_p");
		return ERR_OK;
	}
	neutral_put_number(&x->w, "temperature", r->temperature);
	neutral_put_number(&x->w, "top_p", r->top_p);
	neutral_put_number(&x->w, "top_k", r->top_k);
	return ERR_OK;
}

static void put_rest(struct wire_writer *x)
{
	struct neutral_request *r = x->r;
	struct jsonw *w = &x->w;
	uint32_t i;

	if (r->stop_count) {
		jsonw_key(w, "stop_sequences");
		jsonw_begin_array(w);
		for (i = 0; i < r->stop_count; i++)
			jsonw_text(w, r->stops[i]);
		jsonw_end_array(w);
	}
	if (r->user.len_bytes) {
		jsonw_key(w, "metadata");
		jsonw_begin_object(w);
		jsonw_put_text(w, "user_id", r->user);
		jsonw_end_object(w);
	}
	if (is_name(r->service_tier, "auto"))
		jsonw_put_cstr(w, "service_tier", "auto");
	else if (is_name(r->service_tier, "default"))
		jsonw_put_cstr(w, "service_tier", "standard_only");
	else if (r->service_tier.data)
		neutral_drop(r, "service_tier");
}

/**
 * anthropic_write_request() - Write a request for the Messages API
 * @r:		Request with settled names; gets notes of what is left out
 * @t:		What the attempt demands
 * @out:	The body is appended
 *
 * Return: ERR_OK; ERR_UNSUPPORTED or ERR_FORMAT with r->error_text; ERR_LIMIT;
 *	   ERR_MEMORY. After a failure @out may hold a part.
 */
enum err anthropic_write_request(struct neutral_request *r,
				 const struct dialect_target *t,
				 struct buf *out)
{
	struct wire_writer x = {.r = r, .target = t};
	enum err e = anthropic_make_plan(r, t, &x.plan);

	jsonw_init(&x.w, out);
	jsonw_begin_object(&x.w);
	jsonw_put_text(&x.w, "model", t->model);
	jsonw_put_u64(&x.w, "max_tokens", x.plan.max_tokens);
	if (t->stream)
		jsonw_put_bool(&x.w, "stream", true);
	if (e == ERR_OK)
		e = put_system(&x);
	put_tools(&x);
	put_choice(&x);
	put_thinking_config(&x);
	if (e == ERR_OK)
		e = put_output_config(&x);
	if (e == ERR_OK)
		e = put_sampling(&x);
	put_rest(&x);
	if (e == ERR_OK)
		e = put_messages(&x);
	jsonw_end_object(&x.w);
	return e == ERR_OK ? jsonw_finish(&x.w) : e;
}

/**
 * anthropic_rewrite() - The same body with the provider's name of the model
 * @body:	Borrowed; a JSON object with a model
 * @t:		What the attempt demands
 * @out:	The body is appended; all other bytes are as they were
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err anthropic_rewrite(struct span body, const struct dialect_target *t,
			   struct buf *out)
{
	struct neutral_request r;
	struct json doc;
	struct jsonw w;
	json_ref model;
	size_t at, end;
	enum err e;

	neutral_request_init(&r);
	json_init(&doc);
	e = neutral_parse(&r, &doc, body);
	model = json_get(&doc, JSON_ROOT, "model");
	at = json_offset(&doc, model);
	end = at + json_raw(&doc, model).len_bytes;
	if (e == ERR_OK && !json_is(&doc, model, JSON_STRING))
		e = ERR_FORMAT;
	if (e == ERR_OK)
		e = buf_put(out, body.data, at);
	if (e == ERR_OK) {
		jsonw_init(&w, out);
		jsonw_text(&w, t->model);
		e = jsonw_finish(&w);
	}
	if (e == ERR_OK)
		e = buf_put(out, body.data + end, body.len_bytes - end);
	json_fini(&doc);
	neutral_request_fini(&r);
	return e;
}
