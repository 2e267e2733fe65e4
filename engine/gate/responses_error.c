/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_error.c - errors as OpenAI's Responses dialect says them
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   turns an error that it does not know into a milder one.
 *
 * An HTTP error's body is {"error":{"message","type","param","code"}}. In a
 * stream it is an `error` event, with those members inside itself or inside
 * its `error`, or a response.failed whose response has an `error` with code
 * and message. Clients decide by the code whether to try again.
 */
#include "engine/gate/responses.h"

#include <string.h>

#include "engine/base/text.h"

#define TEXT_MAX_BYTES   65536u
#define TOKENS_MAX       65536u
#define CODE_MAX_BYTES   64u
#define BODY_WORDS_BYTES 2048u /* of a body that is no JSON */

/* In the order of enum neutral_error. */
static const struct {
	const char *name; /* what the gate calls it towards this dialect */
	unsigned http_status;
	const char *type, *code; /* in an HTTP error's body; code or NULL */
	const char *failed;      /* code in response.failed */
} errors[] = {
	[NEUTRAL_ERROR_INVALID] = {"invalid_request_error", 400,
				   "invalid_request_error", NULL,
				   "invalid_prompt"},
	[NEUTRAL_ERROR_AUTHENTICATION] = {"authentication_error", 401,
					  "invalid_request_error",
					  "invalid_api_key", "invalid_api_key"},
	[NEUTRAL_ERROR_BILLING] = {"billing_error", 402, "insufficient_quota",
				   "insufficient_quota", "insufficient_quota"},
	[NEUTRAL_ERROR_PERMISSION] = {"permission_error", 403,
				      "permission_error", NULL,
				      "permission_denied"},
	[NEUTRAL_ERROR_NOT_FOUND] = {"not_found_error", 404,
				     "invalid_request_error", "not_found",
				     "not_found"},
	[NEUTRAL_ERROR_TOO_LARGE] = {"request_too_large", 413,
				     "invalid_request_error",
				     "request_too_large", "invalid_prompt"},
	[NEUTRAL_ERROR_CONTEXT] = {"context_length_exceeded", 400,
				   "invalid_request_error",
				   "context_length_exceeded",
				   "context_length_exceeded"},
	[NEUTRAL_ERROR_RATE] = {"rate_limit_error", 429, "rate_limit_error",
				"rate_limit_exceeded", "rate_limit_exceeded"},
	[NEUTRAL_ERROR_QUOTA] = {"insufficient_quota", 429,
				 "insufficient_quota", "insufficient_quota",
				 "insufficient_quota"},
	[NEUTRAL_ERROR_TIMEOUT] = {"timeout_error", 504, "server_error",
				   "timeout", "server_error"},
	[NEUTRAL_ERROR_OVERLOADED] = {"overloaded_error", 503, "server_error",
				      "server_is_overloaded",
				      "server_is_overloaded"},
	[NEUTRAL_ERROR_API] = {"server_error", 500, "server_error", NULL,
			       "server_error"},
};

/* Codes and types that providers of this dialect use. */
static const struct {
	const char *word;
	enum neutral_error error;
} words[] = {
	{"context_length_exceeded", NEUTRAL_ERROR_CONTEXT},
	{"insufficient_quota", NEUTRAL_ERROR_QUOTA},
	{"billing_hard_limit_reached", NEUTRAL_ERROR_BILLING},
	{"billing_not_active", NEUTRAL_ERROR_BILLING},
	{"billing_error", NEUTRAL_ERROR_BILLING},
	{"rate_limit_exceeded", NEUTRAL_ERROR_RATE},
	{"rate_limit_error", NEUTRAL_ERROR_RATE},
	{"too_many_requests", NEUTRAL_ERROR_RATE},
	{"requests", NEUTRAL_ERROR_RATE},
	{"tokens", NEUTRAL_ERROR_RATE},
	{"invalid_api_key", NEUTRAL_ERROR_AUTHENTICATION},
	{"authentication_error", NEUTRAL_ERROR_AUTHENTICATION},
	{"permission_error", NEUTRAL_ERROR_PERMISSION},
	{"permission_denied", NEUTRAL_ERROR_PERMISSION},
	{"model_not_found", NEUTRAL_ERROR_NOT_FOUND},
	{"not_found", NEUTRAL_ERROR_NOT_FOUND},
	{"not_found_error", NEUTRAL_ERROR_NOT_FOUND},
	{"request_too_large", NEUTRAL_ERROR_TOO_LARGE},
	{"server_is_overloaded", NEUTRAL_ERROR_OVERLOADED},
	{"overloaded_error", NEUTRAL_ERROR_OVERLOADED},
	{"slow_down", NEUTRAL_ERROR_OVERLOADED},
	{"engine_overloaded", NEUTRAL_ERROR_OVERLOADED},
	{"unavailable_error", NEUTRAL_ERROR_OVERLOADED},
	{"timeout", NEUTRAL_ERROR_TIMEOUT},
	{"timeout_error", NEUTRAL_ERROR_TIMEOUT},
	{"server_error", NEUTRAL_ERROR_API},
	{"api_error", NEUTRAL_ERROR_API},
	{"internal_error", NEUTRAL_ERROR_API},
	{"invalid_prompt", NEUTRAL_ERROR_INVALID},
	{"invalid_request_error", NEUTRAL_ERROR_INVALID},
};

static const struct {
	unsigned status;
	enum neutral_error error;
} statuses[] = {
	{400, NEUTRAL_ERROR_INVALID},   {401, NEUTRAL_ERROR_AUTHENTICATION},
	{402, NEUTRAL_ERROR_BILLING},   {403, NEUTRAL_ERROR_PERMISSION},
	{404, NEUTRAL_ERROR_NOT_FOUND}, {405, NEUTRAL_ERROR_INVALID},
	{408, NEUTRAL_ERROR_TIMEOUT},   {409, NEUTRAL_ERROR_INVALID},
	{413, NEUTRAL_ERROR_TOO_LARGE}, {415, NEUTRAL_ERROR_INVALID},
	{422, NEUTRAL_ERROR_INVALID},   {429, NEUTRAL_ERROR_RATE},
	{431, NEUTRAL_ERROR_INVALID},   {503, NEUTRAL_ERROR_OVERLOADED},
	{504, NEUTRAL_ERROR_TIMEOUT},   {529, NEUTRAL_ERROR_OVERLOADED},
};

static enum neutral_error class_of_status(unsigned http_status)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].status == http_status)
			return statuses[i].error;
	return NEUTRAL_ERROR_API;
}

static bool find_word(const char *word, enum neutral_error *ret_error)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i].word, word) == 0) {
			*ret_error = words[i].error;
			return true;
		}
	return false;
}

/**
 * responses_error_at() - Find the error in a body, an event or a response
 * @j:		Document
 * @from:	Where to look
 * @ret_error:	What has its message and code: an object, or a string
 *
 * Return: whether there is one.
 */
bool responses_error_at(const struct json *j, json_ref from,
			json_ref *ret_error)
{
	json_ref error = json_get(j, from, "error");

	if (json_is(j, error, JSON_OBJECT) || json_is(j, error, JSON_STRING)) {
		*ret_error = error;
		return true;
	}
	*ret_error = from;
	return json_string_is(j, json_get(j, from, "type"), "error") ||
	       json_is(j, json_get(j, from, "message"), JSON_STRING) ||
	       json_is(j, json_get(j, from, "detail"), JSON_STRING);
}

static json_ref message_at(const struct json *j, json_ref error)
{
	json_ref at = json_get(j, error, "message");

	if (json_is(j, error, JSON_STRING))
		return error;
	return json_is(j, at, JSON_STRING) ? at : json_get(j, error, "detail");
}

/**
 * responses_note_error() - Note the provider's own error for the record
 * @j:		Document
 * @error:	As responses_error_at() found it
 * @ret_text:	"code: message", escaped
 * @cap_bytes:	Its size
 */
void responses_note_error(const struct json *j, json_ref error, char *ret_text,
			  size_t cap_bytes)
{
	json_ref code = json_get(j, error, "code");
	struct buf b;

	buf_init(&b, TEXT_MAX_BYTES);
	if (!json_is(j, code, JSON_STRING))
		code = json_get(j, error, "type");
	(void)!json_string(j, code, &b);
	if (b.len_bytes)
		(void)!buf_put_text(&b, ": ");
	(void)!json_string(j, message_at(j, error), &b);
	(void)text_escape_line(buf_span(&b), ret_text, cap_bytes);
	buf_fini(&b);
}

/* OpenAI calls many things invalid; the status knows better. */
static enum neutral_error refine(enum neutral_error found, unsigned http_status)
{
	enum neutral_error by_status = class_of_status(http_status);

	return found == NEUTRAL_ERROR_INVALID && http_status &&
			       by_status != NEUTRAL_ERROR_API
		       ? by_status
		       : found;
}

/**
 * responses_error_class() - What kind of error it is
 * @j:			Document
 * @error:		As responses_error_at() found it, or JSON_NONE
 * @http_status:	0 inside a stream
 */
enum neutral_error responses_error_class(const struct json *j, json_ref error,
					 unsigned http_status)
{
	static const char *const keys[] = {"code", "type"};
	enum neutral_error found = NEUTRAL_ERROR_API;
	char word[CODE_MAX_BYTES];
	uint64_t number;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		json_ref at = json_get(j, error, keys[i]);

		if (json_text(j, at, word, sizeof(word)) == ERR_OK &&
		    find_word(word, &found))
			return refine(found, http_status);
		if (json_uint(j, at, 400, 599, &number) == ERR_OK)
			return class_of_status((unsigned)number);
	}
	return class_of_status(http_status);
}

/** responses_error_code() - An error's code in a response.failed event */
const char *responses_error_code(enum neutral_error error)
{
	return errors[error].failed;
}

/** responses_code_of() - The same for a name of an error, of any dialect */
const char *responses_code_of(const char *type)
{
	enum neutral_error error = NEUTRAL_ERROR_API;

	(void)find_word(type, &error);
	return errors[error].failed;
}

/** responses_error_type() - What an HTTP status of our own is called */
const char *responses_error_type(unsigned http_status)
{
	return errors[class_of_status(http_status)].name;
}

/**
 * responses_put_error() - Append an HTTP error's body
 * @b:		Buffer
 * @type:	A name of responses_error_name(); others stand as they are
 * @message:	UTF-8
 *
 * Return: ERR_OK; ERR_FORMAT for bad UTF-8; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_put_error(struct buf *b, const char *type,
			     struct span message)
{
	const char *code = NULL;
	struct jsonw w;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errors); i++)
		if (strcmp(errors[i].name, type) == 0) {
			type = errors[i].type;
			code = errors[i].code;
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

/**
 * responses_read_error() - Read an HTTP error's body
 * @http_status:	400 to 599
 * @body:		Any bytes
 * @message:		The provider's words are appended, UTF-8
 *
 * Return: what kind it is.
 */
enum neutral_error responses_read_error(unsigned http_status, struct span body,
					struct buf *message)
{
	const struct json_limits limits = {.max_tokens = TOKENS_MAX,
					   .allow_nul = true};
	enum neutral_error found = class_of_status(http_status);
	json_ref error = JSON_NONE;
	struct json j;

	json_init(&j);
	if (json_parse(&j, body, &limits) == ERR_OK) {
		if (responses_error_at(&j, JSON_ROOT, &error)) {
			found = responses_error_class(&j, error, http_status);
			(void)!json_string(&j, message_at(&j, error), message);
		}
	} else {
		if (body.len_bytes > BODY_WORDS_BYTES)
			body.len_bytes = BODY_WORDS_BYTES;
		(void)!text_escape(body, false, message);
	}
	json_fini(&j);
	return found;
}

/**
 * responses_error_name() - An error's name and status in this dialect
 * @error:		Any
 * @ret_http_status:	For an answer that was not begun
 */
const char *responses_error_name(enum neutral_error error,
				 unsigned *ret_http_status)
{
	*ret_http_status = errors[error].http_status;
	return errors[error].name;
}
