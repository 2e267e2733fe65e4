/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_request_write.c - a request of no dialect as chat completions
 *
 * Runs in: kenaz-gate.
 * Trusts:  the neutral request to be what a dialect's reader made.
 * Never:   leaves out what changes the meaning: it refuses that by name.
 *
 * OpenAI chat completions as OpenAI takes it; for OpenRouter with its
 * reasoning, reasoning_details and cache_control; for all other servers with
 * reasoning_content, top_k and the older max_tokens.
 */
#include "engine/gate/chat.h"

#include <string.h>

#include "engine/gate/chat_writing.h"
#include "engine/gate/neutral_tools.h"

#define STOPS_MAX 4u /* OpenAI's limit */

static void put_tools(struct chat_writing *x)
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
		jsonw_key(w, "function");
		jsonw_begin_object(w);
		jsonw_put_text(w, "name", t->name);
		neutral_put_optional(w, "description", t->description);
		if (t->schema.data) {
			jsonw_key(w, "parameters");
			jsonw_raw(w, t->schema);
		}
		if (t->strict)
			jsonw_put_bool(w, "strict", true);
		jsonw_end_object(w);
		jsonw_end_object(w);
		if (t->cache != NEUTRAL_CACHE_NONE)
			neutral_drop(x->r, "tools[].cache_control");
	}
	jsonw_end_array(w);
}

static void put_choice(struct chat_writing *x)
{
	static const char *const words[] = {
		[NEUTRAL_CHOICE_AUTO] = "auto",
		[NEUTRAL_CHOICE_ANY] = "required",
		[NEUTRAL_CHOICE_NONE] = "none",
	};
	const struct neutral_request *r = x->r;
	struct jsonw *w = &x->w;

	/* Both are errors where no tool is. */
	if (!r->tool_count)
		return;
	if (r->parallel >= 0)
		jsonw_put_bool(w, "parallel_tool_calls", r->parallel != 0);
	if (r->choice == NEUTRAL_CHOICE_UNSET)
		return;
	jsonw_key(w, "tool_choice");
	if (r->choice != NEUTRAL_CHOICE_NAMED) {
		jsonw_cstr(w, words[r->choice]);
		return;
	}
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "function");
	jsonw_key(w, "function");
	jsonw_begin_object(w);
	jsonw_put_text(w, "name", r->choice_name);
	jsonw_end_object(w);
	jsonw_end_object(w);
}

static void put_format(struct chat_writing *x)
{
	const struct neutral_request *r = x->r;
	struct jsonw *w = &x->w;

	if (r->format == NEUTRAL_FORMAT_TEXT)
		return;
	jsonw_key(w, "response_format");
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type",
		       r->format == NEUTRAL_FORMAT_JSON ? "json_object"
							: "json_schema");
	if (r->format == NEUTRAL_FORMAT_SCHEMA) {
		jsonw_key(w, "json_schema");
		jsonw_begin_object(w);
		jsonw_put_text(w, "name",
			       r->format_name.len_bytes ? r->format_name
							: span_text("answer"));
		if (r->format_strict)
			jsonw_put_bool(w, "strict", true);
		jsonw_key(w, "schema");
		jsonw_raw(w, r->format_schema);
		jsonw_end_object(w);
	}
	jsonw_end_object(w);
}

/* OpenAI's reasoning models: o1, o3-mini, gpt-5 and later. */
static bool reasons(struct span model)
{
	const char *at = (const char *)model.data;

	if (model.len_bytes >= 2 && at[0] == 'o')
		return at[1] >= '1' && at[1] <= '9';
	return model.len_bytes >= 5 && memcmp(at, "gpt-", 4) == 0 &&
	       at[4] >= '5' && at[4] <= '9';
}

static struct span effort_of(const struct neutral_request *r)
{
	if (r->thinking == NEUTRAL_THINKING_EFFORT)
		return r->effort;
	if (r->thinking_tokens <= 4096)
		return span_text("low");
	return span_text(r->thinking_tokens <= 16384 ? "medium" : "high");
}

static void put_openrouter_thinking(struct chat_writing *x)
{
	const struct neutral_request *r = x->r;
	struct jsonw *w = &x->w;

	jsonw_key(w, "reasoning");
	jsonw_begin_object(w);
	if (r->thinking == NEUTRAL_THINKING_BUDGET)
		jsonw_put_u64(w, "max_tokens", r->thinking_tokens);
	else if (r->thinking == NEUTRAL_THINKING_EFFORT)
		jsonw_put_text(w, "effort", r->effort);
	else
		jsonw_put_bool(w, "enabled",
			       r->thinking != NEUTRAL_THINKING_OFF);
	jsonw_end_object(w);
}

/* How much a model thinks: a wish, so that it may stay unheard. */
static void put_thinking(struct chat_writing *x)
{
	const struct neutral_request *r = x->r;
	bool told = r->thinking == NEUTRAL_THINKING_EFFORT;

	if (r->thinking == NEUTRAL_THINKING_UNSET)
		return;
	if (x->openrouter) {
		put_openrouter_thinking(x);
		return;
	}
	if (x->openai)
		told = (told || r->thinking == NEUTRAL_THINKING_BUDGET) &&
		       reasons(x->model);
	if (told)
		jsonw_put_text(&x->w, "reasoning_effort", effort_of(r));
	else if (r->thinking != NEUTRAL_THINKING_OFF)
		neutral_drop(x->r, "thinking");
}

static void put_numbers(struct chat_writing *x)
{
	struct neutral_request *r = x->r;
	struct jsonw *w = &x->w;

	neutral_put_number(w,
			   x->openai ? "max_completion_tokens" : "max_tokens",
			   r->max_tokens);
	neutral_put_number(w, "temperature", r->temperature);
	neutral_put_number(w, "top_p", r->top_p);
	neutral_put_number(w, "frequency_penalty", r->frequency_penalty);
	neutral_put_number(w, "presence_penalty", r->presence_penalty);
	neutral_put_number(w, "seed", r->seed);
	if (!x->openai)
		neutral_put_number(w, "top_k", r->top_k);
	else if (r->top_k.data)
		neutral_drop(r, "top_k");
}

static enum err put_stops(struct chat_writing *x)
{
	const struct neutral_request *r = x->r;
	uint32_t i;

	if (!r->stop_count)
		return ERR_OK;
	if (x->openai && r->stop_count > STOPS_MAX)
		return neutral_refuse(x->r, "stop_sequences",
				      "OpenAI takes no more than four");
	jsonw_key(&x->w, "stop");
	jsonw_begin_array(&x->w);
	for (i = 0; i < r->stop_count; i++)
		jsonw_text(&x->w, r->stops[i]);
	jsonw_end_array(&x->w);
	return ERR_OK;
}

static void put_tier(struct chat_writing *x)
{
	static const char *const tiers[] = {
		"auto", "default", "flex", "priority", "scale",
	};
	size_t i;

	if (!x->r->service_tier.data)
		return;
	for (i = 0; i < ARRAY_SIZE(tiers); i++)
		if (span_is(x->r->service_tier, tiers[i])) {
			jsonw_put_cstr(&x->w, "service_tier", tiers[i]);
			return;
		}
	neutral_drop(x->r, "service_tier");
}

static enum err put_request(struct chat_writing *x,
			    const struct dialect_target *t)
{
	struct jsonw *w = &x->w;
	enum err e;

	jsonw_begin_object(w);
	jsonw_put_text(w, "model", x->model);
	e = chat_write_messages(x);
	if (e != ERR_OK)
		return e;
	put_tools(x);
	put_choice(x);
	put_numbers(x);
	e = put_stops(x);
	if (e != ERR_OK)
		return e;
	put_format(x);
	put_thinking(x);
	neutral_put_optional(w, "user", x->r->user);
	put_tier(x);
	if (t->stream) {
		jsonw_put_bool(w, "stream", true);
		if (t->want_usage) {
			jsonw_key(w, "stream_options");
			jsonw_begin_object(w);
			jsonw_put_bool(w, "include_usage", true);
			jsonw_end_object(w);
		}
	}
	jsonw_end_object(w);
	return jsonw_finish(w);
}

/**
 * chat_write_request() - Write a request's body for a provider
 * @r:		Request; what is left out is noted in it
 * @t:		What the body is for
 * @out:	Body is appended
 *
 * Return: ERR_OK; ERR_UNSUPPORTED for what has no form here, with
 *	   error_text; ERR_LIMIT; ERR_MEMORY.
 */
enum err chat_write_request(struct neutral_request *r,
			    const struct dialect_target *t, struct buf *out)
{
	struct chat_writing x = {
		.r = r,
		.model = t->model.len_bytes ? t->model : r->model,
		.openai = span_is(t->kind, "openai"),
		.openrouter = span_is(t->kind, "openrouter"),
	};

	jsonw_init(&x.w, out);
	return put_request(&x, t);
}
