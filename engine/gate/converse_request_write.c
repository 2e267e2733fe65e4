/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse_request_write.c - a request of any dialect for Converse
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the guest wrote what is in the request.
 * Never:   leaves a member out without noting it, or one that changes the
 *	    meaning at all.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30. What only some models know goes
 * into additionalModelRequestFields, so the model's name decides: a Claude
 * (any name with "anthropic" or "claude", profiles and ARNs included), a
 * Nova, or one of OpenAI's.
 */
#include "engine/gate/converse.h"

#include <string.h>

#include "engine/gate/neutral_tools.h"

#define CALLED_TOOLS_MAX 64u

static bool has(struct span s, const char *part)
{
	return s.len_bytes &&
	       memmem(s.data, s.len_bytes, part, strlen(part)) != NULL;
}

/* --- tools -------------------------------------------------------------- */

static void put_tool(struct converse_writing *x, const struct neutral_tool *t)
{
	jsonw_begin_object(&x->w);
	jsonw_key(&x->w, "toolSpec");
	jsonw_begin_object(&x->w);
	jsonw_put_text(&x->w, "name", t->name);
	if (t->description.len_bytes)
		jsonw_put_text(&x->w, "description", t->description);
	jsonw_key(&x->w, "inputSchema");
	jsonw_begin_object(&x->w);
	jsonw_key(&x->w, "json");
	jsonw_raw(&x->w, t->schema.len_bytes ? t->schema
					     : span_text("{\"type\":\"object\","
							 "\"properties\":{}}"));
	jsonw_end_object(&x->w);
	if (t->strict)
		jsonw_put_bool(&x->w, "strict", true);
	jsonw_end_object(&x->w);
	jsonw_end_object(&x->w);
}

/* A history with calls is refused without tools: those that were called. */
static void put_called_tools(struct converse_writing *x)
{
	struct span names[CALLED_TOOLS_MAX];
	uint32_t i, k, count = 0;

	for (i = 0; i < x->r->part_count && count < CALLED_TOOLS_MAX; i++) {
		const struct neutral_part *p = &x->r->parts[i];

		if (p->kind != NEUTRAL_TOOL_CALL)
			continue;
		for (k = 0; k < count; k++)
			if (span_equal(names[k], p->name))
				break;
		if (k < count)
			continue;
		names[count++] = p->name;
		put_tool(x, &(struct neutral_tool){.name = p->name});
	}
	if (!count)
		put_tool(x, &(struct neutral_tool){.name = span_text("none")});
}

static void put_choice(struct converse_writing *x)
{
	const struct neutral_request *r = x->r;
	enum neutral_choice choice = r->choice;

	if (choice == NEUTRAL_CHOICE_UNSET || choice == NEUTRAL_CHOICE_NONE)
		return;
	jsonw_key(&x->w, "toolChoice");
	jsonw_begin_object(&x->w);
	jsonw_key(&x->w, choice == NEUTRAL_CHOICE_AUTO  ? "auto"
			 : choice == NEUTRAL_CHOICE_ANY ? "any"
							: "tool");
	jsonw_begin_object(&x->w);
	if (choice == NEUTRAL_CHOICE_NAMED)
		jsonw_put_text(&x->w, "name", r->choice_name);
	jsonw_end_object(&x->w);
	jsonw_end_object(&x->w);
}

static void put_tools(struct converse_writing *x)
{
	struct neutral_request *r = x->r;
	bool history = converse_has_tool_parts(r);
	uint32_t i;

	/* Bedrock has no choice "none"; without tools none can be called. */
	if (r->choice == NEUTRAL_CHOICE_NONE && r->tool_count && history)
		neutral_drop(r, "tool_choice none");
	if ((!r->tool_count || r->choice == NEUTRAL_CHOICE_NONE) && !history)
		return;
	jsonw_key(&x->w, "toolConfig");
	jsonw_begin_object(&x->w);
	jsonw_key(&x->w, "tools");
	jsonw_begin_array(&x->w);
	if (!r->tool_count)
		put_called_tools(x);
	for (i = 0; i < r->tool_count; i++) {
		put_tool(x, &r->tools[i]);
		if (x->claude)
			converse_put_cache_point(x, r->tools[i].cache);
		else if (r->tools[i].cache != NEUTRAL_CACHE_NONE)
			neutral_drop(r, "cache_control");
	}
	jsonw_end_array(&x->w);
	if (r->tool_count)
		put_choice(x);
	jsonw_end_object(&x->w);
}

/* --- how to answer ------------------------------------------------------ */

static bool asks_to_think(const struct neutral_request *r)
{
	return r->thinking == NEUTRAL_THINKING_BUDGET ||
	       r->thinking == NEUTRAL_THINKING_EFFORT ||
	       r->thinking == NEUTRAL_THINKING_ADAPTIVE;
}

/* How a Claude thinks; for others nothing is settled. */
static enum err make_plan(struct converse_writing *x)
{
	struct neutral_request *r = x->r;
	bool forced = r->choice == NEUTRAL_CHOICE_ANY ||
		      r->choice == NEUTRAL_CHOICE_NAMED;
	enum err e;

	if (!x->claude)
		return ERR_OK;
	e = anthropic_make_plan(r, x->target, &x->plan);
	/* A model that thinks cannot be made to call. */
	if (e == ERR_OK && x->plan.thinks && forced && r->tool_count &&
	    r->thinking == NEUTRAL_THINKING_EFFORT) {
		x->plan.budget = 0;
		x->plan.adaptive = false;
		x->plan.thinks = false;
		neutral_drop(r, "effort");
	}
	return e;
}

/* Reasoning asked for by its effort leaves these as they must be. */
static void drop_sampling(struct converse_writing *x)
{
	struct neutral_request *r = x->r;
	struct {
		const char *name;
		struct span *number;
	} const all[] = {
		{"temperature", &r->temperature},
		{"top_p", &r->top_p},
		{"top_k", &r->top_k},
	};
	size_t i;

	if (!x->plan.thinks || r->thinking != NEUTRAL_THINKING_EFFORT)
		return;
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		if (!all[i].number->data)
			continue;
		neutral_drop(r, all[i].name);
		*all[i].number = (struct span){.data = NULL};
	}
}

static void put_inference(struct converse_writing *x)
{
	struct neutral_request *r = x->r;
	uint32_t i;

	drop_sampling(x);
	jsonw_key(&x->w, "inferenceConfig");
	jsonw_begin_object(&x->w);
	/* What Bedrock takes by itself may be less than a budget. */
	if (!r->max_tokens.data && x->plan.budget)
		jsonw_put_u64(&x->w, "maxTokens", x->plan.max_tokens);
	neutral_put_number(&x->w, "maxTokens", r->max_tokens);
	neutral_put_number(&x->w, "temperature", r->temperature);
	neutral_put_number(&x->w, "topP", r->top_p);
	if (r->stop_count) {
		jsonw_key(&x->w, "stopSequences");
		jsonw_begin_array(&x->w);
		for (i = 0; i < r->stop_count; i++)
			jsonw_text(&x->w, r->stops[i]);
		jsonw_end_array(&x->w);
	}
	jsonw_end_object(&x->w);
}

static void put_claude_thinking(struct converse_writing *x)
{
	const struct neutral_request *r = x->r;
	bool off = r->thinking == NEUTRAL_THINKING_OFF;

	if (!x->plan.thinks && !off)
		return;
	jsonw_key(&x->w, "thinking");
	jsonw_begin_object(&x->w);
	if (x->plan.budget) {
		jsonw_put_cstr(&x->w, "type", "enabled");
		jsonw_put_u64(&x->w, "budget_tokens", x->plan.budget);
	} else {
		jsonw_put_cstr(&x->w, "type",
			       x->plan.adaptive ? "adaptive" : "disabled");
	}
	jsonw_end_object(&x->w);
}

static void put_claude_effort(struct converse_writing *x)
{
	const struct neutral_request *r = x->r;

	if (!r->effort.len_bytes || span_is(r->effort, "none") ||
	    (r->thinking == NEUTRAL_THINKING_EFFORT && !x->plan.adaptive))
		return;
	jsonw_key(&x->w, "output_config");
	jsonw_begin_object(&x->w);
	jsonw_put_text(&x->w, "effort",
		       span_is(r->effort, "minimal") ? span_text("low")
						     : r->effort);
	jsonw_end_object(&x->w);
}

static void put_claude_fields(struct converse_writing *x)
{
	struct neutral_request *r = x->r;
	bool tools = r->tool_count && r->choice != NEUTRAL_CHOICE_NONE;

	put_claude_thinking(x);
	put_claude_effort(x);
	neutral_put_number(&x->w, "top_k", r->top_k);
	if (r->parallel != 0 || !tools)
		return;
	/* Converse's own choice cannot say it. */
	if (r->choice != NEUTRAL_CHOICE_AUTO &&
	    r->choice != NEUTRAL_CHOICE_UNSET) {
		neutral_drop(r, "parallel_tool_calls");
		return;
	}
	jsonw_key(&x->w, "tool_choice");
	jsonw_begin_object(&x->w);
	jsonw_put_cstr(&x->w, "type", "auto");
	jsonw_put_bool(&x->w, "disable_parallel_tool_use", true);
	jsonw_end_object(&x->w);
}

static void put_nova_fields(struct converse_writing *x)
{
	struct neutral_request *r = x->r;

	if (r->top_k.data) {
		jsonw_key(&x->w, "inferenceConfig");
		jsonw_begin_object(&x->w);
		neutral_put_number(&x->w, "topK", r->top_k);
		jsonw_end_object(&x->w);
	}
	if (asks_to_think(r))
		neutral_drop(r, "thinking");
	if (r->parallel == 0)
		neutral_drop(r, "parallel_tool_calls");
}

static void put_other_fields(struct converse_writing *x)
{
	struct neutral_request *r = x->r;

	if (r->thinking == NEUTRAL_THINKING_EFFORT && r->effort.len_bytes &&
	    has(x->target->model, "openai."))
		jsonw_put_text(&x->w, "reasoning_effort", r->effort);
	else if (asks_to_think(r))
		neutral_drop(r, "thinking");
	if (r->top_k.data)
		neutral_drop(r, "top_k");
	if (r->parallel == 0)
		neutral_drop(r, "parallel_tool_calls");
}

static void put_additional(struct converse_writing *x)
{
	jsonw_key(&x->w, "additionalModelRequestFields");
	jsonw_begin_object(&x->w);
	if (x->claude)
		put_claude_fields(x);
	else if (x->nova)
		put_nova_fields(x);
	else
		put_other_fields(x);
	jsonw_end_object(&x->w);
}

static enum err put_format(struct converse_writing *x)
{
	struct neutral_request *r = x->r;

	if (r->format == NEUTRAL_FORMAT_TEXT)
		return ERR_OK;
	if (r->format == NEUTRAL_FORMAT_JSON)
		return neutral_refuse(r, "response_format",
				      "Bedrock needs a schema for JSON");
	jsonw_key(&x->w, "outputConfig");
	jsonw_begin_object(&x->w);
	jsonw_key(&x->w, "textFormat");
	jsonw_begin_object(&x->w);
	jsonw_put_cstr(&x->w, "type", "json_schema");
	jsonw_key(&x->w, "structure");
	jsonw_begin_object(&x->w);
	jsonw_key(&x->w, "jsonSchema");
	jsonw_begin_object(&x->w);
	jsonw_put_text(&x->w, "schema", r->format_schema);
	if (r->format_name.len_bytes)
		jsonw_put_text(&x->w, "name", r->format_name);
	jsonw_end_object(&x->w);
	jsonw_end_object(&x->w);
	jsonw_end_object(&x->w);
	jsonw_end_object(&x->w);
	return x->w.status;
}

static void put_tier(struct converse_writing *x)
{
	static const char *const tiers[] = {"default", "priority", "flex"};
	size_t i;

	if (!x->r->service_tier.len_bytes)
		return;
	for (i = 0; i < ARRAY_SIZE(tiers); i++) {
		if (!span_is(x->r->service_tier, tiers[i]))
			continue;
		jsonw_key(&x->w, "serviceTier");
		jsonw_begin_object(&x->w);
		jsonw_put_cstr(&x->w, "type", tiers[i]);
		jsonw_end_object(&x->w);
		return;
	}
	if (!span_is(x->r->service_tier, "auto"))
		neutral_drop(x->r, "service_tier");
}

static bool is_zero(struct span number)
{
	size_t i;

	for (i = 0; i < number.len_bytes; i++)
		if (number.data[i] >= '1' && number.data[i] <= '9')
			return false;
	return true;
}

static enum err settle_others(struct neutral_request *r)
{
	if (!is_zero(r->frequency_penalty))
		return neutral_refuse(r, "frequency_penalty",
				      "Bedrock has none");
	if (!is_zero(r->presence_penalty))
		return neutral_refuse(r, "presence_penalty",
				      "Bedrock has none");
	if (r->seed.data)
		neutral_drop(r, "seed");
	if (r->user.data)
		neutral_drop(r, "user");
	return ERR_OK;
}

static enum err put_request(struct converse_writing *x)
{
	enum err e;

	e = make_plan(x);
	if (e != ERR_OK)
		return e;
	jsonw_begin_object(&x->w);
	e = converse_write_system(x);
	if (e != ERR_OK)
		return e;
	jsonw_key(&x->w, "messages");
	e = converse_write_messages(x);
	if (e != ERR_OK)
		return e;
	put_inference(x);
	put_tools(x);
	put_additional(x);
	e = put_format(x);
	if (e != ERR_OK)
		return e;
	put_tier(x);
	e = settle_others(x->r);
	if (e != ERR_OK)
		return e;
	jsonw_end_object(&x->w);
	return jsonw_finish(&x->w);
}

/**
 * converse_write_request() - Write a Converse request
 * @request:	Names and ids settled; what is left out is noted in it
 * @target:	Its model decides what may be asked for
 * @out:	Empty buffer
 *
 * Return: ERR_OK; ERR_UNSUPPORTED, ERR_LIMIT (error_text); ERR_FORMAT;
 *	   ERR_MEMORY.
 */
enum err converse_write_request(struct neutral_request *request,
				const struct dialect_target *target,
				struct buf *out)
{
	struct converse_writing x = {
		.r = request,
		.target = target,
		.claude = has(target->model, "anthropic") ||
			  has(target->model, "claude"),
		.nova = has(target->model, "nova"),
	};
	enum err e;

	jsonw_init(&x.w, out);
	e = put_request(&x);
	if (e == ERR_LIMIT ||
	    (e == ERR_OK && out->len_bytes > CONVERSE_BODY_MAX_BYTES))
		e = neutral_refuse(request, "the request",
				   "larger than Bedrock's 25 MB");
	return e;
}
