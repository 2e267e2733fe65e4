/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse_words.c - stop reasons, usage and opaque reasoning of Converse
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   takes a missing count for zero.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30. inputTokens leaves cached tokens
 * out, as Anthropic does; the neutral count holds them.
 */
#include "engine/gate/converse.h"

#include <string.h>

#include "engine/base/text.h"

#define TOKENS_MAX (UINT64_C(1) << 40)

/* The first of each kind is what is written. */
static const struct {
	enum neutral_stop stop;
	const char *name;
} stops[] = {
	{NEUTRAL_STOP_END, "end_turn"},
	{NEUTRAL_STOP_LENGTH, "max_tokens"},
	{NEUTRAL_STOP_CONTEXT, "model_context_window_exceeded"},
	{NEUTRAL_STOP_SEQUENCE, "stop_sequence"},
	{NEUTRAL_STOP_TOOL, "tool_use"},
	{NEUTRAL_STOP_REFUSAL, "content_filtered"},
	{NEUTRAL_STOP_REFUSAL, "guardrail_intervened"},
	{NEUTRAL_STOP_REFUSAL, "refusal"},
	{NEUTRAL_STOP_PAUSE, "pause_turn"},
};

/**
 * converse_stop_of() - What a stop reason means
 * @reason:	As received
 *
 * Return: NEUTRAL_STOP_OTHER for one that is unknown.
 */
enum neutral_stop converse_stop_of(struct span reason)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(stops); i++)
		if (span_is(reason, stops[i].name))
			return stops[i].stop;
	return NEUTRAL_STOP_OTHER;
}

/** converse_stop_name() - A stop in Converse's words */
const char *converse_stop_name(enum neutral_stop stop)
{
	size_t i;

	/* There is no word for a pause: the turn goes on when asked to. */
	if (stop == NEUTRAL_STOP_PAUSE)
		return "end_turn";
	if (stop == NEUTRAL_STOP_OTHER)
		stop = NEUTRAL_STOP_LENGTH;
	for (i = 0; i < ARRAY_SIZE(stops); i++)
		if (stops[i].stop == stop)
			return stops[i].name;
	return "end_turn";
}

static bool read_count(const struct json *j, json_ref usage, const char *name,
		       uint64_t *value)
{
	return json_uint(j, json_get(j, usage, name), 0, TOKENS_MAX, value) ==
	       ERR_OK;
}

/**
 * converse_read_usage() - Read a usage object
 * @j:		Document
 * @usage:	The object, or JSON_NONE
 * @u:		Written where counts are present
 */
void converse_read_usage(const struct json *j, json_ref usage,
			 struct neutral_usage *u)
{
	uint64_t input = 0;

	*u = (struct neutral_usage){.input_known = false};
	u->input_known = read_count(j, usage, "inputTokens", &input);
	u->output_known = read_count(j, usage, "outputTokens", &u->output);
	if (read_count(j, usage, "cacheReadInputTokens", &u->cache_read))
		u->cache_known = true;
	if (read_count(j, usage, "cacheWriteInputTokens", &u->cache_write))
		u->cache_known = true;
	u->input = input + u->cache_read + u->cache_write;
}

/**
 * converse_note_usage() - Note a usage object for the record
 * @j:		Document
 * @usage:	The object; without one nothing changes
 * @s:		Its usage is replaced
 */
void converse_note_usage(const struct json *j, json_ref usage,
			 struct reply_summary *s)
{
	struct neutral_usage u;

	if (!json_is(j, usage, JSON_OBJECT))
		return;
	converse_read_usage(j, usage, &u);
	s->usage_known = u.input_known && u.output_known;
	s->input_tokens = u.input;
	s->output_tokens = u.output;
	s->cache_read_tokens = u.cache_read;
	s->cache_write_tokens = u.cache_write;
}

/**
 * converse_put_usage() - Write a usage object
 * @w:	Writer, where a value belongs
 * @u:	Usage; unknown counts, which the API requires, are written as zero
 *
 * Return: the writer's status.
 */
enum err converse_put_usage(struct jsonw *w, const struct neutral_usage *u)
{
	uint64_t cached = u->cache_read + u->cache_write;

	jsonw_begin_object(w);
	jsonw_put_u64(w, "inputTokens",
		      u->input > cached ? u->input - cached : 0);
	jsonw_put_u64(w, "outputTokens", u->output);
	jsonw_put_u64(w, "totalTokens", u->input + u->output);
	if (u->cache_known) {
		jsonw_put_u64(w, "cacheReadInputTokens", u->cache_read);
		jsonw_put_u64(w, "cacheWriteInputTokens", u->cache_write);
	}
	jsonw_end_object(w);
	return w->status;
}

static const char raw_mark[] = "kenaz.blob.";

static bool is_plain(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if (s.data[i] <= ' ' || s.data[i] >= 0x7f)
			return false;
	return s.len_bytes > 0;
}

/**
 * converse_get_redacted() - Opaque reasoning as other dialects carry it
 * @base64:	What Converse has: the bytes, in base64
 * @out:	Empty buffer; a text is appended
 *
 * For Claude the bytes are the text that Anthropic calls "data". What is no
 * text stays in base64, with a mark.
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err converse_get_redacted(struct span base64, struct buf *out)
{
	enum err e = text_unbase64(base64, out);

	if (e != ERR_OK || is_plain(buf_span(out)))
		return e;
	buf_reset(out);
	e = buf_put_text(out, raw_mark);
	return e == ERR_OK ? buf_put_span(out, base64) : e;
}

/**
 * converse_put_redacted() - The reverse of converse_get_redacted()
 * @out:	Buffer; base64 is appended
 * @data:	The text
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err converse_put_redacted(struct buf *out, struct span data)
{
	const size_t len = sizeof(raw_mark) - 1;

	if (data.len_bytes > len && memcmp(data.data, raw_mark, len) == 0)
		return buf_put(out, data.data + len, data.len_bytes - len);
	return text_base64(data, out);
}
