/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_common.c - errors and usage of chat completions
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   takes a missing count for zero; adds counts up.
 *
 * Errors are {"error":{"message","type","param","code"}}; OpenRouter's and
 * llama.cpp's codes are HTTP statuses, older vLLM has {"object":"error"} and
 * the members at the top, Google a list around it.
 */
#include "engine/gate/chat.h"

#include <string.h>
#include <strings.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"
#include "engine/gate/cost.h"

#define TOKENS_MAX (UINT64_C(1) << 40)
#define ERROR_MAX  65536u

/**
 * chat_is_error() - Whether a document is an error
 * @j:		Document
 * @ret_error:	The value with the message; written when true
 */
bool chat_is_error(const struct json *j, json_ref *ret_error)
{
	json_ref root = JSON_ROOT, error;

	if (json_is(j, root, JSON_ARRAY) && json_count(j, root) == 1)
		root = json_first(j, root);
	error = json_get(j, root, "error");
	if (error != JSON_NONE && !json_is(j, error, JSON_NULL) &&
	    !json_is(j, error, JSON_FALSE) && !json_string_is(j, error, "")) {
		*ret_error = error;
		return true;
	}
	if (json_string_is(j, json_get(j, root, "object"), "error")) {
		*ret_error = root;
		return true;
	}
	return false;
}

static enum err put_message(const struct json *j, json_ref error,
			    struct buf *out)
{
	json_ref message = json_get(j, error, "message");

	if (json_is(j, error, JSON_STRING))
		return json_string(j, error, out);
	if (json_is(j, message, JSON_STRING))
		return json_string(j, message, out);
	return ERR_OK;
}

/**
 * chat_error_words() - The provider's own words for the record
 * @j:		Document
 * @error:	As chat_is_error() found it
 * @ret_text:	"type: message", escaped
 * @cap_bytes:	Its size
 */
void chat_error_words(const struct json *j, json_ref error, char *ret_text,
		      size_t cap_bytes)
{
	json_ref type = json_get(j, error, "type");
	struct buf b;

	buf_init(&b, ERROR_MAX);
	if (!json_is(j, type, JSON_STRING) || json_raw(j, type).len_bytes <= 2)
		type = json_get(j, error, "code");
	if (json_is(j, type, JSON_STRING))
		(void)!json_string(j, type, &b);
	else if (json_is(j, type, JSON_NUMBER))
		(void)!buf_put_span(&b, json_raw(j, type));
	if (b.len_bytes)
		(void)!buf_put_text(&b, ": ");
	(void)!put_message(j, error, &b);
	(void)text_escape_line(buf_span(&b), ret_text, cap_bytes);
	buf_fini(&b);
}

static const struct {
	const char *word; /* a code or a type */
	enum neutral_error error;
} error_words[] = {
	{"context_length_exceeded", NEUTRAL_ERROR_CONTEXT},
	{"insufficient_quota", NEUTRAL_ERROR_QUOTA},
	{"billing_hard_limit_reached", NEUTRAL_ERROR_BILLING},
	{"billing_error", NEUTRAL_ERROR_BILLING},
	{"rate_limit_exceeded", NEUTRAL_ERROR_RATE},
	{"rate_limit_error", NEUTRAL_ERROR_RATE},
	{"invalid_api_key", NEUTRAL_ERROR_AUTHENTICATION},
	{"authentication_error", NEUTRAL_ERROR_AUTHENTICATION},
	{"permission_error", NEUTRAL_ERROR_PERMISSION},
	{"permission_denied_error", NEUTRAL_ERROR_PERMISSION},
	{"model_not_found", NEUTRAL_ERROR_NOT_FOUND},
	{"not_found_error", NEUTRAL_ERROR_NOT_FOUND},
	{"NotFoundError", NEUTRAL_ERROR_NOT_FOUND},
	{"request_too_large", NEUTRAL_ERROR_TOO_LARGE},
	{"timeout_error", NEUTRAL_ERROR_TIMEOUT},
	{"overloaded_error", NEUTRAL_ERROR_OVERLOADED},
	{"unavailable_error", NEUTRAL_ERROR_OVERLOADED},
	{"exceed_context_size_error", NEUTRAL_ERROR_CONTEXT},
	{"server_error", NEUTRAL_ERROR_API},
	{"api_error", NEUTRAL_ERROR_API},
	{"invalid_request_error", NEUTRAL_ERROR_INVALID},
	{"BadRequestError", NEUTRAL_ERROR_INVALID},
};

static enum neutral_error class_of_status(uint64_t status)
{
	static const struct {
		unsigned status;
		enum neutral_error error;
	} table[] = {
		{401, NEUTRAL_ERROR_AUTHENTICATION},
		{402, NEUTRAL_ERROR_BILLING},
		{403, NEUTRAL_ERROR_PERMISSION},
		{404, NEUTRAL_ERROR_NOT_FOUND},
		{408, NEUTRAL_ERROR_TIMEOUT},
		{413, NEUTRAL_ERROR_TOO_LARGE},
		{429, NEUTRAL_ERROR_RATE},
		{503, NEUTRAL_ERROR_OVERLOADED},
		{504, NEUTRAL_ERROR_TIMEOUT},
		{529, NEUTRAL_ERROR_OVERLOADED},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].status == status)
			return table[i].error;
	return status >= 400 && status < 500 ? NEUTRAL_ERROR_INVALID
					     : NEUTRAL_ERROR_API;
}

/**
 * chat_error_class() - What kind of error this is
 * @j:			Document
 * @error:		As chat_is_error() found it
 * @http_status:	Of the response; below 400 it says nothing
 */
enum neutral_error chat_error_class(const struct json *j, json_ref error,
				    unsigned http_status)
{
	static const char *const keys[] = {"code", "type"};
	uint64_t status = http_status;
	size_t i, k;

	for (k = 0; k < ARRAY_SIZE(keys); k++) {
		json_ref at = json_get(j, error, keys[k]);

		for (i = 0; i < ARRAY_SIZE(error_words); i++)
			if (json_string_is(j, at, error_words[i].word))
				return error_words[i].error;
		(void)!json_uint(j, at, 400, 599, &status);
	}
	return class_of_status(status);
}

/**
 * chat_read_error() - Read the body of an HTTP error
 * @http_status:	From 400 on
 * @body:		Any bytes
 * @message:		The provider's words are appended, if there are any
 *
 * Return: the kind of error.
 */
enum neutral_error chat_read_error(unsigned http_status, struct span body,
				   struct buf *message)
{
	const struct json_limits limits = {.max_bytes = 1u << 20,
					   .max_tokens = CHAT_CHUNK_TOKENS_MAX,
					   .allow_nul = true};
	enum neutral_error class = class_of_status(http_status);
	struct json j;
	json_ref error;

	json_init(&j);
	if (json_parse(&j, body, &limits) == ERR_OK) {
		if (chat_is_error(&j, &error)) {
			class = chat_error_class(&j, error, http_status);
			(void)!put_message(&j, error, message);
		} else if (json_is(&j, json_get(&j, JSON_ROOT, "message"),
				   JSON_STRING)) {
			(void)!put_message(&j, JSON_ROOT, message);
		} else {
			(void)!put_message(&j,
					   json_get(&j, JSON_ROOT, "detail"),
					   message);
		}
	}
	json_fini(&j);
	return class;
}

static const struct {
	enum neutral_error error;
	unsigned status;
	const char *name;
} names[] = {
	{NEUTRAL_ERROR_INVALID, 400, "invalid_request_error"},
	{NEUTRAL_ERROR_AUTHENTICATION, 401, "authentication_error"},
	{NEUTRAL_ERROR_BILLING, 402, "billing_error"},
	{NEUTRAL_ERROR_PERMISSION, 403, "permission_error"},
	{NEUTRAL_ERROR_NOT_FOUND, 404, "not_found_error"},
	{NEUTRAL_ERROR_TOO_LARGE, 413, "request_too_large"},
	{NEUTRAL_ERROR_CONTEXT, 400, "context_length_exceeded"},
	{NEUTRAL_ERROR_RATE, 429, "rate_limit_error"},
	{NEUTRAL_ERROR_QUOTA, 429, "insufficient_quota"},
	{NEUTRAL_ERROR_TIMEOUT, 504, "timeout_error"},
	{NEUTRAL_ERROR_OVERLOADED, 503, "overloaded_error"},
	{NEUTRAL_ERROR_API, 500, "server_error"},
};

/**
 * chat_error_name() - An error's name in this dialect
 * @error:		Kind of error
 * @ret_http_status:	Status that goes with it
 *
 * Return: static, for chat_put_error().
 */
const char *chat_error_name(enum neutral_error error, unsigned *ret_http_status)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names) - 1; i++)
		if (names[i].error == error)
			break;
	*ret_http_status = names[i].status;
	return names[i].name;
}

/** chat_error_type() - An error's name, from an HTTP status */
const char *chat_error_type(unsigned http_status)
{
	unsigned status;

	return chat_error_name(class_of_status(http_status), &status);
}

/**
 * chat_put_error() - Append an error document
 * @b:		Buffer
 * @type:	For example "permission_error"
 * @message:	UTF-8
 *
 * Clients look at the code first: what OpenAI names only there has one.
 *
 * Return: ERR_OK; ERR_FORMAT for bad UTF-8; ERR_LIMIT; ERR_MEMORY.
 */
enum err chat_put_error(struct buf *b, const char *type, struct span message)
{
	static const struct {
		const char *name, *type, *code;
	} codes[] = {
		{"context_length_exceeded", "invalid_request_error",
		 "context_length_exceeded"},
		{"insufficient_quota", "insufficient_quota",
		 "insufficient_quota"},
		{"rate_limit_error", "rate_limit_error", "rate_limit_exceeded"},
		{"api_error", "server_error", NULL},
	};
	const char *code = NULL;
	struct jsonw w;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(codes); i++)
		if (strcmp(type, codes[i].name) == 0) {
			type = codes[i].type;
			code = codes[i].code;
			break;
		}
	jsonw_init(&w, b);
	jsonw_begin_object(&w);
	jsonw_key(&w, "error");
	jsonw_begin_object(&w);
	jsonw_put_text(&w, "message", message);
	jsonw_put_cstr(&w, "type", type);
	jsonw_key(&w, "param");
	jsonw_null(&w);
	jsonw_key(&w, "code");
	if (code)
		jsonw_cstr(&w, code);
	else
		jsonw_null(&w);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

/* Servers differ in what they call the end of a turn; any case. */
static const struct {
	const char *word;
	enum neutral_stop stop; /* NONE: the answer broke off */
} stop_words[] = {
	{"stop", NEUTRAL_STOP_END},
	{"tool_calls", NEUTRAL_STOP_END},
	{"function_call", NEUTRAL_STOP_END},
	{"tool_use", NEUTRAL_STOP_END},
	{"end", NEUTRAL_STOP_END},
	{"end_turn", NEUTRAL_STOP_END},
	{"eos", NEUTRAL_STOP_END},
	{"eos_token", NEUTRAL_STOP_END},
	{"completed", NEUTRAL_STOP_END},
	{"stop_sequence", NEUTRAL_STOP_END},
	{"length", NEUTRAL_STOP_LENGTH},
	{"max_tokens", NEUTRAL_STOP_LENGTH},
	{"max_output_tokens", NEUTRAL_STOP_LENGTH},
	{"model_length", NEUTRAL_STOP_CONTEXT},
	{"model_context_window_exceeded", NEUTRAL_STOP_CONTEXT},
	{"content_filter", NEUTRAL_STOP_REFUSAL},
	{"content_filtered", NEUTRAL_STOP_REFUSAL},
	{"guardrail_intervened", NEUTRAL_STOP_REFUSAL},
	{"refusal", NEUTRAL_STOP_REFUSAL},
	{"safety", NEUTRAL_STOP_REFUSAL}, /* Gemini's, up to spii */
	{"recitation", NEUTRAL_STOP_REFUSAL},
	{"blocklist", NEUTRAL_STOP_REFUSAL},
	{"prohibited_content", NEUTRAL_STOP_REFUSAL},
	{"spii", NEUTRAL_STOP_REFUSAL},
	{"sensitive", NEUTRAL_STOP_REFUSAL}, /* Zhipu's */
	{"error", NEUTRAL_STOP_NONE},
	{"abort", NEUTRAL_STOP_NONE}, /* vLLM's and SGLang's */
	{"aborted", NEUTRAL_STOP_NONE},
	{"cancelled", NEUTRAL_STOP_NONE},
	{"insufficient_system_resource", NEUTRAL_STOP_NONE},
	{"network_error", NEUTRAL_STOP_NONE},
	{"malformed_function_call", NEUTRAL_STOP_NONE},
};

/**
 * chat_stop_of() - What a finish_reason means
 * @reason:	As received
 *
 * Return: NONE when it says that the answer broke off; OTHER for a word that
 *	   is not known; END also where calls, a refusal or a stop sequence
 *	   may have ended the turn: the answer shows it.
 */
enum neutral_stop chat_stop_of(const char *reason)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(stop_words); i++)
		if (strcasecmp(reason, stop_words[i].word) == 0)
			return stop_words[i].stop;
	return NEUTRAL_STOP_OTHER;
}

/** chat_is_failure() - Whether a finish_reason says that an answer broke off */
bool chat_is_failure(const char *reason)
{
	return chat_stop_of(reason) == NEUTRAL_STOP_NONE;
}

/** chat_is_blank() - Whether an event's data says nothing */
bool chat_is_blank(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if (!strchr(" \t\r\n", s.data[i]) || !s.data[i])
			return false;
	return true;
}

/** chat_is_done() - Whether an event's data is the end of the stream */
bool chat_is_done(struct span data)
{
	static const char done[] = "[DONE]";
	const size_t len = sizeof(done) - 1;

	return data.len_bytes >= len && memcmp(data.data, done, len) == 0 &&
	       chat_is_blank(span_of(data.data + len, data.len_bytes - len));
}

/**
 * chat_rest_is_done() - Whether a stream may end in the middle of an event
 * @rest:	Bytes behind the last whole event
 *
 * Return: true for blank lines, comments and a beginning of data: [DONE].
 */
bool chat_rest_is_done(struct span rest)
{
	static const char done[] = "data:[DONE]";
	size_t i, at = 0;

	for (i = 0; i < rest.len_bytes; i++) {
		uint8_t c = rest.data[i];

		if (c == ':' && at == 0) {
			while (i + 1 < rest.len_bytes &&
			       rest.data[i + 1] != '\n' &&
			       rest.data[i + 1] != '\r')
				i++;
			continue;
		}
		if (c == ' ' || c == '\n' || c == '\r')
			continue;
		if (at >= sizeof(done) - 1 || c != (uint8_t)done[at])
			return false;
		at++;
	}
	return true;
}

static bool read_count(const struct json *j, json_ref usage, const char *path,
		       uint64_t *value)
{
	return json_uint(j, json_find(j, usage, path), 0, TOKENS_MAX, value) ==
	       ERR_OK;
}

/**
 * chat_read_usage() - Replace what a chunk or body reports
 * @j:		Document
 * @root:	Value with the member usage, or Groq's x_groq.usage
 * @u:		Counts so far
 *
 * A report of nothing but zeros comes from servers that do not count.
 */
void chat_read_usage(const struct json *j, json_ref root,
		     struct neutral_usage *u)
{
	json_ref usage = json_get(j, root, "usage");
	uint64_t in = 0, out = 0;
	bool has_in, has_out;

	if (!json_is(j, usage, JSON_OBJECT))
		usage = json_find(j, root, "x_groq.usage");
	has_in = read_count(j, usage, "prompt_tokens", &in);
	has_out = read_count(j, usage, "completion_tokens", &out);
	if (in == 0 && out == 0)
		return;
	if (has_in) {
		u->input = in;
		u->input_known = true;
	}
	if (has_out) {
		u->output = out;
		u->output_known = true;
	}
	if (read_count(j, usage, "prompt_tokens_details.cached_tokens",
		       &u->cache_read) ||
	    read_count(j, usage, "prompt_cache_hit_tokens", &u->cache_read))
		u->cache_known = true;
	if (read_count(j, usage, "prompt_tokens_details.cache_write_tokens",
		       &u->cache_write))
		u->cache_known = true;
	if (read_count(j, usage, "completion_tokens_details.reasoning_tokens",
		       &u->reasoning))
		u->reasoning_known = true;
	if (cost_read(j, usage, &u->cost_uusd))
		u->cost_known = true;
}

/** chat_sum_usage() - Bring a reply's summary up to date */
void chat_sum_usage(const struct neutral_usage *u, struct reply_summary *s)
{
	s->usage_known = u->input_known && u->output_known;
	s->input_tokens = u->input;
	s->output_tokens = u->output;
	s->cache_read_tokens = u->cache_read;
	s->cache_write_tokens = u->cache_write;
	s->cost_known = u->cost_known;
	s->cost_uusd = u->cost_uusd;
}

static const struct {
	const char *prefix; /* of a format's name; versions follow */
	const char *format; /* as written; NULL: another row says */
	enum dialect signer;
} formats[] = {
	{"anthropic-claude-", "anthropic-claude-v1", DIALECT_ANTHROPIC},
	{"openai-responses-", "openai-responses-v1", DIALECT_RESPONSES},
};

/**
 * chat_format_signer() - Whose model understands a signature
 * @j:		Document
 * @format:	Member "format" of a reasoning detail, or JSON_NONE
 *
 * Return: DIALECT_CHAT for what only the provider itself understands.
 */
enum dialect chat_format_signer(const struct json *j, json_ref format)
{
	char name[64];
	size_t i;

	if (json_text(j, format, name, sizeof(name)) != ERR_OK)
		return DIALECT_CHAT;
	for (i = 0; i < ARRAY_SIZE(formats); i++)
		if (strncmp(name, formats[i].prefix,
			    strlen(formats[i].prefix)) == 0)
			return formats[i].signer;
	return DIALECT_CHAT;
}

/** chat_signer_format() - OpenRouter's name for a signer, or NULL */
const char *chat_signer_format(enum dialect signer)
{
	size_t i;

	if (signer == DIALECT_INVOKE || signer == DIALECT_CONVERSE)
		signer = DIALECT_ANTHROPIC;
	for (i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i].signer == signer)
			return formats[i].format;
	return NULL;
}

/**
 * chat_split_format() - The format of a signature or opaque thought
 * @signer:	Who understands it
 * @bytes:	The bytes; a format in front of them is cut off
 *
 * Return: OpenRouter's name of the format; without data when there is none.
 */
struct span chat_split_format(enum dialect signer, struct span *bytes)
{
	const char *format = chat_signer_format(signer);
	const uint8_t *bar = NULL;
	size_t len;

	if (format)
		return span_text(format);
	if (signer == DIALECT_CHAT && bytes->len_bytes)
		bar = memchr(bytes->data, '|', bytes->len_bytes);
	if (!bar)
		return span_of(NULL, 0);
	len = (size_t)(bar - bytes->data);
	*bytes = span_of(bar + 1, bytes->len_bytes - len - 1);
	return span_of(bar - len, len);
}
