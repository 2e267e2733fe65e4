/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lax.c - where a more lenient reader would see another document
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a document.
 * Never:   looks into what a tool or its schema calls its own members.
 *
 * The tokenizer refuses duplicate keys, yet Go's encoding/json, and what is
 * built on it (Ollama, LocalAI, many agents), takes "Tools" for "tools", and
 * of both the last one; by Unicode's simple folding also the long s (U+017F)
 * for "s" and the Kelvin sign (U+212A) for "k". What is judged must be what
 * the other side reads, so a key that folds to one that is looked at, and is
 * not that key, spoils a document. Keys are compared outside of schemas,
 * arguments and metadata only: there, "Type" is a name as good as any.
 */
#include "engine/gate/lax.h"

#include <string.h>

#define KEY_MAX_BYTES 64u /* longer ones fold to nothing known */

/* All keys that a request or a response is judged by; lower case. */
static const char *const known[] = {
	"additional_tools",
	"allowed_callers",
	"anthropic_beta",
	"api_base",
	"arguments",
	"audio",
	"audio_url",
	"background",
	"base_url",
	"call_id",
	"choices",
	"compound_custom",
	"container",
	"content",
	"content_block",
	"context_management",
	"conversation",
	"custom",
	"data_sources",
	"definition",
	"delta",
	"edits",
	"enable_search",
	"environment",
	"execution",
	"extra_body",
	"fallback_models",
	"fallbacks",
	"file",
	"file_data",
	"file_id",
	"file_url",
	"finish_reason",
	"function",
	"function_call",
	"functions",
	"image_url",
	"images",
	"include_usage",
	"input",
	"item",
	"kv_transfer_params",
	"max_completion_tokens",
	"max_output_tokens",
	"max_tokens",
	"mcp_servers",
	"message",
	"messages",
	"modalities",
	"model",
	"models",
	"n",
	"name",
	"namespace",
	"output",
	"partial_json",
	"plugins",
	"preset",
	"previous_response_id",
	"prompt",
	"provider",
	"response",
	"role",
	"route",
	"search_parameters",
	"search_settings",
	"skills",
	"source",
	"stop_reason",
	"store",
	"stream",
	"stream_options",
	"system",
	"tool",
	"tool_calls",
	"tools",
	"transforms",
	"type",
	"url",
	"video_url",
	"web_search",
	"web_search_options",
};

/* What these hold belongs to a tool or to the user. */
static const char *const opaque[] = {
	"arguments",  "input_schema", "inputSchema",          "json_schema",
	"logit_bias", "metadata",     "parameters",           "properties",
	"schema",     "logprobs",     "chat_template_kwargs", "prediction",
	"env",
};

static struct span key_of(const struct json *j, const struct json_token *t)
{
	return span_of(j->text.data + t->key_at_bytes, t->key_len_bytes);
}

static bool is_odd(const struct json *j, const struct json_token *t)
{
	const uint8_t *key = j->text.data + t->key_at_bytes;
	uint32_t i;

	if (t->key_escaped)
		return true;
	for (i = 0; i < t->key_len_bytes; i++)
		if (key[i] >= 0x80 || (key[i] >= 'A' && key[i] <= 'Z'))
			return true;
	return false;
}

static bool is_opaque(const struct json *j, json_ref at)
{
	const struct json_token *t = &j->tokens[at];
	size_t i;

	if (t->type != JSON_OBJECT)
		return false;
	/* A call's arguments; not the envelope of a count of tokens. */
	if (span_is(key_of(j, t), "input"))
		return t->parent != JSON_ROOT;
	for (i = 0; i < ARRAY_SIZE(opaque); i++)
		if (span_is(key_of(j, t), opaque[i]))
			return true;
	return false;
}

/* Folds as Go does; 0 when the result is no key that is known. */
static size_t fold(struct span key, char *ret_folded)
{
	size_t i, n = 0;

	for (i = 0; i < key.len_bytes; i++) {
		uint8_t c = key.data[i];
		size_t left = key.len_bytes - i;

		if (n == KEY_MAX_BYTES)
			return 0;
		if (left >= 2 && c == 0xc5 && key.data[i + 1] == 0xbf) {
			c = 's';
			i += 1;
		} else if (left >= 3 && c == 0xe2 && key.data[i + 1] == 0x84 &&
			   key.data[i + 2] == 0xaa) {
			c = 'k';
			i += 2;
		} else if (c >= 'A' && c <= 'Z') {
			c = (uint8_t)(c + 32);
		}
		ret_folded[n++] = (char)c;
	}
	return n;
}

/* The key that an odd one could be taken for; NULL: none. */
static const char *taken_for(const struct json *j, json_ref at)
{
	char folded[KEY_MAX_BYTES];
	const char *found = NULL;
	struct buf key;
	size_t i, len;

	buf_init(&key, 3 * KEY_MAX_BYTES);
	if (json_key(j, at, &key) == ERR_OK) {
		len = fold(buf_span(&key), folded);
		for (i = 0; len && i < ARRAY_SIZE(known); i++)
			if (span_is(span_of(folded, len), known[i]) &&
			    !span_is(buf_span(&key), known[i]))
				found = known[i];
	}
	buf_fini(&key);
	return found;
}

/**
 * lax_find_key() - A key that a lenient reader takes for another
 * @j:	Document
 *
 * Return: the key it would be taken for, static; NULL when there is none.
 */
const char *lax_find_key(const struct json *j)
{
	const char *found = NULL;
	json_ref at = 0;

	while (!found && at < j->len_tokens) {
		const struct json_token *t = &j->tokens[at];

		if (t->has_key && is_opaque(j, at)) {
			at = t->next;
			continue;
		}
		if (t->has_key && is_odd(j, t))
			found = taken_for(j, at);
		at++;
	}
	return found;
}
