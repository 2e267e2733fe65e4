/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neutral_tools.c - what every dialect's reader and writer needs
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: lengths, types and alphabets are checked here.
 * Never:   guesses what a malformed member may have meant.
 */
#include "engine/gate/neutral_tools.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/proto/limits.h"

#define REQUEST_TOKENS_MAX (1u << 20)

/**
 * neutral_parse() - Parse a request's body
 * @r:		Request; error_text is set on failure
 * @doc:	Initialised document; borrows @body
 * @body:	Must outlive @r
 *
 * Return: ERR_OK for a JSON object; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err neutral_parse(struct neutral_request *r, struct json *doc,
		       struct span body)
{
	const struct json_limits limits = {
		.max_bytes = BODY_MAX_BYTES,
		.max_tokens = REQUEST_TOKENS_MAX,
		.allow_nul = true,
	};
	enum err e = json_parse(doc, body, &limits);

	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK) {
		(void)snprintf(r->error_text, sizeof(r->error_text),
			       "the body is not valid JSON: %s at byte %zu",
			       doc->error_text, doc->error_at_bytes);
		return e == ERR_LIMIT ? e : ERR_FORMAT;
	}
	if (json_is(doc, JSON_ROOT, JSON_OBJECT))
		return ERR_OK;
	return neutral_malformed(r, "the body", "is no JSON object");
}

/** neutral_is_absent() - Whether a value is missing or null */
bool neutral_is_absent(const struct json *j, json_ref at)
{
	return at == JSON_NONE || json_is(j, at, JSON_NULL);
}

/**
 * neutral_malformed() - A field is not what its dialect says
 * @r:		Request; error_text is set
 * @field:	Its path
 * @why:	Sentence fragment, e.g. "not a string"
 *
 * Return: ERR_FORMAT, for the caller to return.
 */
enum err neutral_malformed(struct neutral_request *r, const char *field,
			   const char *why)
{
	(void)!neutral_refuse(r, field, why);
	return ERR_FORMAT;
}

/**
 * neutral_keep_string() - A string's decoded text for the request's life
 * @r:		Request whose body @j borrows
 * @j:		Document
 * @at:		String
 * @ret_text:	Inside the body when nothing is escaped, else a kept copy; its
 *		data is never NULL
 *
 * Return: ERR_OK; ERR_FORMAT for another type; ERR_LIMIT; ERR_MEMORY.
 */
enum err neutral_keep_string(struct neutral_request *r, const struct json *j,
			     json_ref at, struct span *ret_text)
{
	struct span raw = json_raw(j, at);
	struct buf text;
	enum err e;

	if (!json_is(j, at, JSON_STRING))
		return ERR_FORMAT;
	raw = span_of(raw.data + 1, raw.len_bytes - 2);
	if (!raw.len_bytes || !memchr(raw.data, '\\', raw.len_bytes)) {
		*ret_text = raw;
		return ERR_OK;
	}
	buf_init(&text, NEUTRAL_KEPT_BYTES);
	e = json_string(j, at, &text);
	if (e == ERR_OK)
		e = neutral_keep(r, buf_span(&text), ret_text);
	buf_fini(&text);
	return e;
}

/**
 * neutral_read_string() - A member that is a string, if it is there
 * @r:		Request; error_text is set on failure
 * @j:		Document
 * @object:	Any value
 * @key:	Member's key
 * @ret_text:	As neutral_keep_string(); unchanged when absent or null
 *
 * Return: ERR_OK; ERR_FORMAT for another type; ERR_LIMIT; ERR_MEMORY.
 */
enum err neutral_read_string(struct neutral_request *r, const struct json *j,
			     json_ref object, const char *key,
			     struct span *ret_text)
{
	json_ref at = json_get(j, object, key);
	enum err e;

	if (neutral_is_absent(j, at))
		return ERR_OK;
	e = neutral_keep_string(r, j, at, ret_text);
	return e == ERR_FORMAT ? neutral_malformed(r, key, "not a string") : e;
}

/**
 * neutral_read_number() - A member that is a number, as it was written
 * @r:		Request; error_text is set on failure
 * @j:		Document
 * @object:	Any value
 * @key:	Member's key
 * @ret_number:	Inside the body; unchanged when absent or null
 *
 * Return: ERR_OK; ERR_FORMAT for another type.
 */
enum err neutral_read_number(struct neutral_request *r, const struct json *j,
			     json_ref object, const char *key,
			     struct span *ret_number)
{
	json_ref at = json_get(j, object, key);

	if (neutral_is_absent(j, at))
		return ERR_OK;
	if (!json_is(j, at, JSON_NUMBER))
		return neutral_malformed(r, key, "not a number");
	*ret_number = json_raw(j, at);
	return ERR_OK;
}

/**
 * neutral_read_bool() - A member that is true or false, if it is there
 * @r:		Request; error_text is set on failure
 * @j:		Document
 * @object:	Any value
 * @key:	Member's key
 * @ret_value:	Unchanged when absent or null
 *
 * Return: ERR_OK; ERR_FORMAT for another type.
 */
enum err neutral_read_bool(struct neutral_request *r, const struct json *j,
			   json_ref object, const char *key, bool *ret_value)
{
	json_ref at = json_get(j, object, key);

	if (neutral_is_absent(j, at) || json_bool(j, at, ret_value) == ERR_OK)
		return ERR_OK;
	return neutral_malformed(r, key, "neither true nor false");
}

static bool is_base64_digit(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/**
 * neutral_is_base64() - Whether a text is padded base64 (RFC 4648 section 4)
 * @s:	Borrowed; an empty one is not
 */
bool neutral_is_base64(struct span s)
{
	size_t len = s.len_bytes, i;

	if (len == 0 || len % 4 != 0)
		return false;
	if (s.data[len - 1] == '=')
		len -= s.data[len - 2] == '=' ? 2 : 1;
	for (i = 0; i < len; i++)
		if (!is_base64_digit(s.data[i]))
			return false;
	return true;
}

static bool begins(struct span s, const char *with)
{
	size_t i, len = strlen(with);

	if (s.len_bytes < len)
		return false;
	for (i = 0; i < len; i++)
		if ((s.data[i] | 0x20) != ((uint8_t)with[i] | 0x20))
			return false;
	return true;
}

/**
 * neutral_split_data_url() - The parts of a data: URL in base64 (RFC 2397)
 * @url:		Borrowed
 * @ret_media_type:	Inside @url, without parameters; may be empty
 * @ret_data:		Inside @url: checked base64
 *
 * Return: false for any other URL; then nothing is written.
 */
bool neutral_split_data_url(struct span url, struct span *ret_media_type,
			    struct span *ret_data)
{
	static const char mark[] = ";base64";
	const size_t mark_len = sizeof(mark) - 1;
	const uint8_t *comma, *type = url.data + 5, *semicolon;
	struct span head, data;

	if (!begins(url, "data:"))
		return false;
	comma = memchr(type, ',', url.len_bytes - 5);
	if (!comma)
		return false;
	head = span_of(type, (size_t)(comma - type));
	if (head.len_bytes < mark_len ||
	    !begins(span_of(comma - mark_len, mark_len), mark))
		return false;
	data = span_of(comma + 1,
		       (size_t)(url.data + url.len_bytes - comma - 1));
	if (!neutral_is_base64(data))
		return false;
	semicolon = memchr(type, ';', head.len_bytes);
	*ret_media_type = span_of(type, (size_t)(semicolon - type));
	*ret_data = data;
	return true;
}

/* Dialects that carry signatures of the same models. */
static enum dialect family_of(enum dialect d)
{
	return d == DIALECT_INVOKE || d == DIALECT_CONVERSE ? DIALECT_ANTHROPIC
							    : d;
}

/**
 * neutral_understands() - Whether a model takes back what another one signed
 * @wire:	Dialect of the request
 * @signer:	Whose signature or opaque reasoning it is
 */
bool neutral_understands(enum dialect wire, enum dialect signer)
{
	return signer != DIALECT_NONE && family_of(wire) == family_of(signer);
}

static const struct {
	enum dialect signer;
	const char *prefix;
} signature_prefixes[] = {
	{DIALECT_ANTHROPIC, "kenaz.anthropic."},
	{DIALECT_CHAT, "kenaz.chat."},
	{DIALECT_RESPONSES, "kenaz.responses."},
};

/**
 * neutral_signature_prefix() - What marks a signature as another dialect's
 * @client:	Dialect of the response
 * @signer:	Whose signature or opaque reasoning it is
 *
 * Clients keep both without looking inside.
 *
 * Return: static text to put before its first piece; empty when none is due.
 */
struct span neutral_signature_prefix(enum dialect client, enum dialect signer)
{
	size_t i;

	if (!neutral_understands(client, signer))
		for (i = 0; i < ARRAY_SIZE(signature_prefixes); i++)
			if (signature_prefixes[i].signer == family_of(signer))
				return span_text(signature_prefixes[i].prefix);
	return span_text("");
}

/**
 * neutral_split_signature() - Whose signature a client sent back
 * @client:	Dialect of the request
 * @signature:	Signature or opaque reasoning; its prefix is cut off
 *
 * Return: the signer; DIALECT_NONE for an empty signature.
 */
enum dialect neutral_split_signature(enum dialect client,
				     struct span *signature)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(signature_prefixes); i++) {
		size_t len = strlen(signature_prefixes[i].prefix);

		if (signature->len_bytes <= len ||
		    memcmp(signature->data, signature_prefixes[i].prefix,
			   len) != 0)
			continue;
		*signature = span_of(signature->data + len,
				     signature->len_bytes - len);
		return signature_prefixes[i].signer;
	}
	return signature->len_bytes ? client : DIALECT_NONE;
}

/** neutral_put_number() - Write a key and a number, if there is one */
void neutral_put_number(struct jsonw *w, const char *key, struct span number)
{
	if (!number.data)
		return;
	jsonw_key(w, key);
	jsonw_raw(w, number);
}

/** neutral_put_optional() - Write a key and a string, if there is one */
void neutral_put_optional(struct jsonw *w, const char *key, struct span text)
{
	if (text.data)
		jsonw_put_text(w, key, text);
}

/** neutral_usage_is_known() - Whether both input and output were reported */
bool neutral_usage_is_known(const struct neutral_usage *u)
{
	return u->input_known && u->output_known;
}

/** neutral_stop_name() - A stop's name for the record (Anthropic's words) */
const char *neutral_stop_name(enum neutral_stop stop)
{
	static const char *const names[] = {
		[NEUTRAL_STOP_NONE] = "",
		[NEUTRAL_STOP_END] = "end_turn",
		[NEUTRAL_STOP_LENGTH] = "max_tokens",
		[NEUTRAL_STOP_CONTEXT] = "model_context_window_exceeded",
		[NEUTRAL_STOP_SEQUENCE] = "stop_sequence",
		[NEUTRAL_STOP_TOOL] = "tool_use",
		[NEUTRAL_STOP_REFUSAL] = "refusal",
		[NEUTRAL_STOP_PAUSE] = "pause_turn",
		[NEUTRAL_STOP_OTHER] = "other",
	};

	return names[stop];
}

/**
 * neutral_broken() - A response breaks its dialect
 * @r:		Reader; error_text is set
 * @why:	Static sentence fragment
 *
 * Return: ERR_FORMAT, for the caller to return.
 */
enum err neutral_broken(struct neutral_reader *r, const char *why)
{
	r->error_text = why;
	return ERR_FORMAT;
}

/**
 * neutral_note_error() - Keep the provider's own error for the record
 * @r:		Reader; upstream_error is written: "type: message", escaped
 * @type:	May be empty
 * @message:	May be empty
 */
void neutral_note_error(struct neutral_reader *r, struct span type,
			struct span message)
{
	char *at = r->upstream_error;
	size_t len, cap = sizeof(r->upstream_error);

	at[0] = '\0';
	(void)text_escape_line(type, at, cap);
	len = strlen(at);
	if (len && message.len_bytes)
		text_append(at, cap, ": ");
	len = strlen(at);
	(void)text_escape_line(message, at + len, cap - len);
}

/**
 * neutral_note_dropped() - A part of a response has no neutral form
 * @r:		Reader; its kind is added to `dropped` once, while there is room
 * @kind:	For example "server_tool_use"; shown escaped
 */
void neutral_note_dropped(struct neutral_reader *r, struct span kind)
{
	char name[48], *at = r->dropped;
	size_t len = strlen(at), name_len;

	(void)text_escape_line(kind, name, sizeof(name));
	name_len = strlen(name);
	while (*at) {
		size_t n = strcspn(at, ",");

		if (n == name_len && memcmp(at, name, n) == 0)
			return;
		at += n;
		while (*at == ',' || *at == ' ')
			at++;
	}
	if (len + name_len + 3 > sizeof(r->dropped))
		return;
	text_append(r->dropped, sizeof(r->dropped), "%s%s", len ? ", " : "",
		    name);
}
