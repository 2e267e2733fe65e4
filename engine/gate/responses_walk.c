/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_walk.c - the response object: its status, usage and output
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   lets a call pass that was not judged as it stands there.
 *
 * OpenAI Responses. A response object is the body of a plain reply and lies
 * in a stream's first and last events. Walking through its output, calls that
 * the ledger knows are settled, others ask for a verdict. Denied ones are
 * replaced in place; all other bytes stay as they are.
 */
#include "engine/gate/responses.h"

#include <stdlib.h>
#include <string.h>

#include "engine/gate/cost.h"

#define TOKENS_MAX (UINT64_C(1) << 40)

/** responses_walk_init() - Prepare for one response object */
void responses_walk_init(struct responses_walk *w)
{
	*w = (struct responses_walk){.item = JSON_NONE};
	json_init(&w->call_json);
	responses_call_init(&w->call);
	buf_init(&w->texts, 2 * RESPONSES_DENIALS_MAX_BYTES);
}

/**
 * responses_walk_begin() - Go to the first item of a response's output
 * @w:		Initialised
 * @doc:	Document, borrowed while the walk lasts
 * @response:	Response object in it, or JSON_NONE
 */
void responses_walk_begin(struct responses_walk *w, const struct json *doc,
			  json_ref response)
{
	w->doc = doc;
	w->item = json_first(doc, json_get(doc, response, "output"));
	w->index = 0;
	w->edit_count = 0;
	buf_reset(&w->texts);
}

/** responses_walk_fini() - Release its memory */
void responses_walk_fini(struct responses_walk *w)
{
	free(w->edits);
	json_fini(&w->call_json);
	responses_call_fini(&w->call);
	buf_fini(&w->texts);
}

static enum err replace_item(struct responses_walk *w,
			     const struct responses_ledger *l,
			     const struct responses_judged *entry)
{
	struct responses_edit *d;
	size_t text_at = w->texts.len_bytes;
	enum err e;

	if (w->edit_count == RESPONSES_CALLS_MAX)
		return ERR_LIMIT;
	if (w->edit_count == w->edit_cap) {
		uint32_t cap = w->edit_cap ? 2 * w->edit_cap : 4;

		d = realloc(w->edits, cap * sizeof(*d));
		if (!d)
			return ERR_MEMORY;
		w->edits = d;
		w->edit_cap = cap;
	}
	e = responses_put_message(&w->texts, entry->number, "completed",
				  responses_ledger_text(l, entry));
	if (e != ERR_OK)
		return e;
	d = &w->edits[w->edit_count++];
	*d = (struct responses_edit){
		.at_bytes = json_offset(w->doc, w->item),
		.len_bytes = json_raw(w->doc, w->item).len_bytes,
		.text_at = text_at,
		.text_len = w->texts.len_bytes - text_at,
	};
	return ERR_OK;
}

/**
 * responses_walk_settle() - Note a verdict on the item that was asked for
 * @w:	Walk
 * @l:	Ledger
 * @r:	Reply: its summary counts
 * @v:	Verdict
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_walk_settle(struct responses_walk *w,
			       struct responses_ledger *l, struct reply *r,
			       const struct reply_verdict *v)
{
	uint32_t n = 0;
	enum err e = responses_ledger_add(l, &w->call, v, &n);

	if (e != ERR_OK)
		return e;
	l->entries[n].met = true;
	r->summary.calls++;
	if (!v->allow) {
		r->summary.calls_denied++;
		e = replace_item(w, l, &l->entries[n]);
	}
	w->item = json_next(w->doc, w->item);
	w->index++;
	return e;
}

static enum err look_at_call(struct responses_walk *w,
			     struct responses_ledger *l, struct reply *r)
{
	static const char unreadable[] =
		"its arguments are not one valid JSON object";
	const struct reply_verdict deny = {.text = span_text(unreadable)};
	struct responses_judged *known;
	enum err e = responses_call_read(w->doc, w->item, &w->call);

	if (e == ERR_FORMAT)
		r->error_text = "a tool call without a proper id and name";
	else if (e == ERR_LIMIT)
		r->error_text = "a tool call with too long arguments";
	if (e != ERR_OK)
		return e;
	known = responses_ledger_meet(l, &w->call);
	if (known) {
		e = known->denied ? replace_item(w, l, known) : ERR_OK;
		w->item = json_next(w->doc, w->item);
		w->index++;
		return e;
	}
	e = reply_check_arguments(&w->call_json, buf_span(&w->call.judged));
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return responses_walk_settle(w, l, r, &deny);
	r->call = (struct reply_call){
		.index = w->index,
		.id = span_text(w->call.id),
		.name = span_text(w->call.name),
		.arguments = buf_span(&w->call.judged),
	};
	r->state = REPLY_JUDGE;
	return ERR_OK;
}

/**
 * responses_walk_on() - Go on to the end of the output or a call to judge
 * @w:	Walk; w->item is the first item to look at
 * @l:	Ledger
 * @r:	Reply; REPLY_JUDGE when a verdict is wanted, then call
 *	responses_walk_settle() and this again
 *
 * Return: ERR_OK; ERR_FORMAT or ERR_LIMIT with r->error_text; ERR_MEMORY.
 */
enum err responses_walk_on(struct responses_walk *w, struct responses_ledger *l,
			   struct reply *r)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && w->item != JSON_NONE && r->state == REPLY_OPEN) {
		json_ref type = json_get(w->doc, w->item, "type");

		if (!json_is(w->doc, type, JSON_STRING)) {
			r->error_text = "an output item without a type";
			return ERR_FORMAT;
		}
		if (responses_kind_of(w->doc, w->item)) {
			e = look_at_call(w, l, r);
			continue;
		}
		w->item = json_next(w->doc, w->item);
		w->index++;
	}
	return e;
}

/**
 * responses_walk_put() - Append the text with all replacements made
 * @w:		Walk that is at its end
 * @bytes:	What w->doc was parsed from
 * @out:	Buffer
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_walk_put(const struct responses_walk *w, struct span bytes,
			    struct buf *out)
{
	size_t at = 0;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && i < w->edit_count; i++) {
		const struct responses_edit *d = &w->edits[i];

		e = buf_put(out, bytes.data + at, d->at_bytes - at);
		if (e == ERR_OK)
			e = buf_put(out, w->texts.data + d->text_at,
				    d->text_len);
		at = d->at_bytes + d->len_bytes;
	}
	return e == ERR_OK ? buf_put(out, bytes.data + at, bytes.len_bytes - at)
			   : e;
}

/** responses_has_calls() - Whether an output array calls the client's tools */
bool responses_has_calls(const struct json *j, json_ref output)
{
	JSON_EACH (j, item, output)
		if (responses_kind_of(j, item))
			return true;
	return false;
}

/** responses_status() - How far a response object is */
enum responses_end responses_status(const struct json *j, json_ref response)
{
	json_ref status = json_get(j, response, "status");

	if (json_string_is(j, status, "completed"))
		return RESPONSES_COMPLETED;
	if (json_string_is(j, status, "incomplete"))
		return RESPONSES_INCOMPLETE;
	if (json_string_is(j, status, "failed") ||
	    json_string_is(j, status, "cancelled"))
		return RESPONSES_FAILED;
	return RESPONSES_OPEN;
}

static bool read_count(const struct json *j, json_ref usage, const char *path,
		       uint64_t *value)
{
	return json_uint(j, json_find(j, usage, path), 0, TOKENS_MAX, value) ==
	       ERR_OK;
}

/**
 * responses_read_usage() - Replace the usage fields that are present
 * @j:		Document
 * @response:	Response object, or JSON_NONE
 * @u:		Fields so far; input counts cached tokens in, as OpenAI does
 */
void responses_read_usage(const struct json *j, json_ref response,
			  struct neutral_usage *u)
{
	json_ref usage = json_get(j, response, "usage");

	if (read_count(j, usage, "input_tokens", &u->input))
		u->input_known = true;
	if (read_count(j, usage, "output_tokens", &u->output))
		u->output_known = true;
	if (read_count(j, usage, "input_tokens_details.cached_tokens",
		       &u->cache_read))
		u->cache_known = true;
	(void)read_count(j, usage, "input_tokens_details.cache_write_tokens",
			 &u->cache_write);
	if (read_count(j, usage, "output_tokens_details.reasoning_tokens",
		       &u->reasoning))
		u->reasoning_known = true;
	if (cost_read(j, usage, &u->cost_uusd))
		u->cost_known = true;
}

/**
 * responses_read_summary() - Note what a response object says of itself
 * @j:		Document
 * @response:	Response object, or JSON_NONE
 * @s:		Changed where a field is present and of a sane size
 */
void responses_read_summary(const struct json *j, json_ref response,
			    struct reply_summary *s)
{
	json_ref reason = json_find(j, response, "incomplete_details.reason");
	struct neutral_usage u = {.input_known = s->usage_known,
				  .output_known = s->usage_known,
				  .input = s->input_tokens,
				  .output = s->output_tokens,
				  .cache_read = s->cache_read_tokens,
				  .cache_write = s->cache_write_tokens,
				  .cost_known = s->cost_known,
				  .cost_uusd = s->cost_uusd};

	/* A name that does not fit is left empty: it is only reported. */
	(void)!json_text(j, json_get(j, response, "id"), s->id, sizeof(s->id));
	(void)!json_text(j, json_get(j, response, "model"), s->model,
			 sizeof(s->model));
	responses_read_usage(j, response, &u);
	s->usage_known = u.input_known && u.output_known;
	s->input_tokens = u.input;
	s->output_tokens = u.output;
	s->cache_read_tokens = u.cache_read;
	s->cache_write_tokens = u.cache_write;
	s->cost_known = u.cost_known;
	s->cost_uusd = u.cost_uusd;
	if (responses_status(j, response) == RESPONSES_OPEN)
		return;
	if (!json_is(j, reason, JSON_STRING))
		reason = json_get(j, response, "status");
	(void)!json_text(j, reason, s->stop_reason, sizeof(s->stop_reason));
}
