/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_plan.c - how much a Claude may think and write
 *
 * Runs in: kenaz-gate.
 * Trusts:  the neutral form's shape; nothing in its texts.
 * Never:   lets a budget exceed the answer it is a part of.
 *
 * Two settings of Anthropic's models have no exact counterpart elsewhere and
 * depend on the model's generation, see generations[]: the longest answer,
 * which their API demands, and the effort of reasoning.
 */
#include "engine/gate/anthropic_plan.h"

#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/neutral_tools.h"

#define THINKING_LEAST_TOKENS 1024u

/*
 * Models that think by a budget, by a part of their name, and how long their
 * answers may be. Later ones are in none of the rows: they choose their own
 * budget and take an effort.
 */
static const struct {
	const char *part;
	uint64_t max_tokens;
	bool thinks;
} generations[] = {
	{"claude-2", 4096, false},       {"claude-instant", 4096, false},
	{"claude-3-opus", 4096, false},  {"claude-3-sonnet", 4096, false},
	{"claude-3-haiku", 4096, false}, {"claude-3-5-", 8192, false},
	{"claude-3-7-", 64000, true},    {"opus-4-0", 32000, true},
	{"opus-4-1", 32000, true},       {"opus-4-2025", 32000, true},
	{"opus-4-5", 64000, true},       {"sonnet-4-0", 64000, true},
	{"sonnet-4-2025", 64000, true},  {"sonnet-4-5", 64000, true},
	{"haiku-4-5", 64000, true},
};

#define DEFAULT_MAX_TOKENS 32000u /* of a model that no row names */

static bool has_part(struct span model, const char *part)
{
	return memmem(model.data, model.len_bytes, part, strlen(part)) != NULL;
}

static bool is_name(struct span s, const char *name)
{
	return s.data && span_is(s, name);
}

static uint64_t budget_of(struct span effort)
{
	static const struct {
		const char *effort;
		uint64_t tokens;
	} table[] = {
		{"minimal", 1024}, {"low", 2048},    {"medium", 8192},
		{"high", 16384},   {"xhigh", 32768}, {"max", 32768},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		if (is_name(effort, table[i].effort))
			return table[i].tokens;
	return 8192;
}

/* Whether the turn under way began with thinking that may go back. */
static bool turn_has_thinking(const struct neutral_request *r)
{
	bool calls = false, thinking = false;
	uint32_t m, i;

	for (m = r->message_count; m-- > 0;) {
		const struct neutral_message *msg = &r->messages[m];
		const struct neutral_part *p =
			msg->part_count ? &r->parts[msg->first_part] : NULL;

		if (msg->role == NEUTRAL_SYSTEM)
			continue;
		for (i = 0; i < msg->part_count; i += 1 + p[i].nested) {
			if (msg->role == NEUTRAL_USER &&
			    p[i].kind != NEUTRAL_TOOL_RESULT)
				return !calls || thinking;
			calls |= p[i].kind == NEUTRAL_TOOL_CALL;
			thinking |= (p[i].kind == NEUTRAL_THINKING ||
				     p[i].kind == NEUTRAL_REDACTED) &&
				    neutral_understands(DIALECT_ANTHROPIC,
							p[i].signer);
		}
	}
	return !calls || thinking;
}

/**
 * anthropic_make_plan() - Settle what a Claude may do, and whether it thinks
 * @r:		Request; what cannot be had is noted in it
 * @t:		Its model and the longest answer decide
 * @ret_plan:	Written on success
 *
 * Return: ERR_OK; ERR_FORMAT (error_text).
 */
enum err anthropic_make_plan(struct neutral_request *r,
			     const struct dialect_target *t,
			     struct anthropic_plan *ret_plan)
{
	struct anthropic_plan plan = {.budget = 0};
	struct span model = t->model;
	bool old = !has_part(model, "claude"), able = true;
	uint64_t most = DEFAULT_MAX_TOKENS;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(generations); i++) {
		if (!has_part(model, generations[i].part))
			continue;
		old = true;
		able = generations[i].thinks;
		most = generations[i].max_tokens;
		break;
	}
	plan.max_tokens = t->max_tokens ? t->max_tokens : most;
	if (r->max_tokens.data && text_parse_u64(r->max_tokens, 1, UINT32_MAX,
						 &plan.max_tokens) != ERR_OK)
		return neutral_malformed(r, "max_tokens",
					 "no number of tokens");
	if (is_name(r->effort, "none"))
		r->thinking = NEUTRAL_THINKING_OFF;
	plan.adaptive = r->thinking == NEUTRAL_THINKING_ADAPTIVE ||
			(r->thinking == NEUTRAL_THINKING_EFFORT && !old);
	if (r->thinking == NEUTRAL_THINKING_BUDGET)
		plan.budget = r->thinking_tokens;
	else if (r->thinking == NEUTRAL_THINKING_EFFORT && old && able)
		plan.budget = budget_of(r->effort);
	if (r->thinking == NEUTRAL_THINKING_EFFORT && !able)
		neutral_drop(r, "effort");
	/* The API refuses a turn of calls that did not begin with it. */
	if (plan.budget && !turn_has_thinking(r)) {
		neutral_drop(r, "thinking");
		plan.budget = 0;
	}
	if (plan.budget && plan.budget < THINKING_LEAST_TOKENS)
		plan.budget = THINKING_LEAST_TOKENS;
	/* The budget is a part of the answer's limit. */
	if (plan.budget >= plan.max_tokens) {
		if (plan.max_tokens > 2 * THINKING_LEAST_TOKENS) {
			plan.budget = plan.max_tokens / 2;
		} else if (plan.budget) {
			neutral_drop(r, "thinking");
			plan.budget = 0;
		}
	}
	plan.thinks = plan.budget || plan.adaptive;
	*ret_plan = plan;
	return ERR_OK;
}
