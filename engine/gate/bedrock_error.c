/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bedrock_error.c - errors as Bedrock's runtime words them
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   does I/O.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30. Before a stream an error is an
 * HTTP status with {"message"} and its name in the header x-amzn-errortype.
 * In a stream it is a frame whose :exception-type is a member of the output
 * union, named in lower camel case. Names that Kenaz uses in Anthropic's
 * words become these.
 */
#include "engine/gate/bedrock_error.h"

#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"

#define ERROR_TOKENS_MAX 4096u

/* What AWS calls each kind; in a stream only some names exist. */
static const struct {
	const char *name, *in_stream;
	unsigned status;
} kinds[] = {
	[NEUTRAL_ERROR_INVALID] = {"ValidationException", "validationException",
				   400},
	[NEUTRAL_ERROR_AUTHENTICATION] = {"UnrecognizedClientException",
					  "validationException", 403},
	[NEUTRAL_ERROR_BILLING] = {"AccessDeniedException",
				   "validationException", 403},
	[NEUTRAL_ERROR_PERMISSION] = {"AccessDeniedException",
				      "validationException", 403},
	[NEUTRAL_ERROR_NOT_FOUND] = {"ResourceNotFoundException",
				     "validationException", 404},
	[NEUTRAL_ERROR_TOO_LARGE] = {"ValidationException",
				     "validationException", 413},
	[NEUTRAL_ERROR_CONTEXT] = {"ValidationException", "validationException",
				   400},
	[NEUTRAL_ERROR_RATE] = {"ThrottlingException", "throttlingException",
				429},
	[NEUTRAL_ERROR_QUOTA] = {"ServiceQuotaExceededException",
				 "throttlingException", 400},
	[NEUTRAL_ERROR_TIMEOUT] = {"ModelTimeoutException",
				   "modelStreamErrorException", 408},
	[NEUTRAL_ERROR_OVERLOADED] = {"ServiceUnavailableException",
				      "serviceUnavailableException", 503},
	[NEUTRAL_ERROR_API] = {"InternalServerException",
			       "internalServerException", 500},
};

/* Any name, compared without its first letter's case. */
static const struct {
	const char *name;
	enum neutral_error kind;
} names[] = {
	{"validationException", NEUTRAL_ERROR_INVALID},
	{"accessDeniedException", NEUTRAL_ERROR_PERMISSION},
	{"unrecognizedClientException", NEUTRAL_ERROR_AUTHENTICATION},
	{"incompleteSignatureException", NEUTRAL_ERROR_AUTHENTICATION},
	{"invalidSignatureException", NEUTRAL_ERROR_AUTHENTICATION},
	{"missingAuthenticationTokenException", NEUTRAL_ERROR_AUTHENTICATION},
	{"expiredTokenException", NEUTRAL_ERROR_AUTHENTICATION},
	{"resourceNotFoundException", NEUTRAL_ERROR_NOT_FOUND},
	{"throttlingException", NEUTRAL_ERROR_RATE},
	{"modelNotReadyException", NEUTRAL_ERROR_OVERLOADED},
	{"serviceQuotaExceededException", NEUTRAL_ERROR_QUOTA},
	{"modelTimeoutException", NEUTRAL_ERROR_TIMEOUT},
	{"modelErrorException", NEUTRAL_ERROR_API},
	{"modelStreamErrorException", NEUTRAL_ERROR_API},
	{"serviceUnavailableException", NEUTRAL_ERROR_OVERLOADED},
	{"internalServerException", NEUTRAL_ERROR_API},
	{"invalid_request_error", NEUTRAL_ERROR_INVALID},
	{"authentication_error", NEUTRAL_ERROR_AUTHENTICATION},
	{"billing_error", NEUTRAL_ERROR_BILLING},
	{"permission_error", NEUTRAL_ERROR_PERMISSION},
	{"not_found_error", NEUTRAL_ERROR_NOT_FOUND},
	{"request_too_large", NEUTRAL_ERROR_TOO_LARGE},
	{"rate_limit_error", NEUTRAL_ERROR_RATE},
	{"timeout_error", NEUTRAL_ERROR_TIMEOUT},
	{"overloaded_error", NEUTRAL_ERROR_OVERLOADED},
	{"api_error", NEUTRAL_ERROR_API},
};

static const struct {
	unsigned status;
	enum neutral_error kind;
} statuses[] = {
	{400, NEUTRAL_ERROR_INVALID},   {401, NEUTRAL_ERROR_AUTHENTICATION},
	{402, NEUTRAL_ERROR_BILLING},   {403, NEUTRAL_ERROR_PERMISSION},
	{404, NEUTRAL_ERROR_NOT_FOUND}, {405, NEUTRAL_ERROR_INVALID},
	{408, NEUTRAL_ERROR_TIMEOUT},   {413, NEUTRAL_ERROR_TOO_LARGE},
	{415, NEUTRAL_ERROR_INVALID},   {417, NEUTRAL_ERROR_INVALID},
	{424, NEUTRAL_ERROR_API},       {429, NEUTRAL_ERROR_RATE},
	{431, NEUTRAL_ERROR_INVALID},   {503, NEUTRAL_ERROR_OVERLOADED},
	{504, NEUTRAL_ERROR_TIMEOUT},   {529, NEUTRAL_ERROR_OVERLOADED},
};

static bool same_name(struct span s, const char *name)
{
	size_t len = strlen(name);

	return s.len_bytes == len && len > 1 &&
	       (s.data[0] | 0x20) == (name[0] | 0x20) &&
	       memcmp(s.data + 1, name + 1, len - 1) == 0;
}

static enum neutral_error kind_of_status(unsigned http_status)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].status == http_status)
			return statuses[i].kind;
	return NEUTRAL_ERROR_API;
}

/**
 * bedrock_error_kind() - What an error means
 * @name:		For example "ThrottlingException:http://..." or
 *			"com.amazon.coral.service#AccessDeniedException"
 * @http_status:	Decides for an unknown name; 0 is none
 *
 * Return: the kind.
 */
enum neutral_error bedrock_error_kind(struct span name, unsigned http_status)
{
	const uint8_t *at;
	size_t i;

	at = name.len_bytes ? memchr(name.data, '#', name.len_bytes) : NULL;
	if (at) {
		size_t skip = (size_t)(at - name.data) + 1;

		name = span_of(name.data + skip, name.len_bytes - skip);
	}
	at = name.len_bytes ? memchr(name.data, ':', name.len_bytes) : NULL;
	if (at)
		name.len_bytes = (size_t)(at - name.data);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (same_name(name, names[i].name))
			return names[i].kind;
	return kind_of_status(http_status);
}

/** bedrock_error_type() - The name that goes with an HTTP status */
const char *bedrock_error_type(unsigned http_status)
{
	return kinds[kind_of_status(http_status)].name;
}

/** bedrock_error_name() - The name and HTTP status of a kind */
const char *bedrock_error_name(enum neutral_error error,
			       unsigned *ret_http_status)
{
	*ret_http_status = kinds[error].status;
	return kinds[error].name;
}

static enum err read_words(const struct json *doc, struct buf *words)
{
	json_ref text = json_get(doc, JSON_ROOT, "message");

	if (text == JSON_NONE)
		text = json_get(doc, JSON_ROOT, "Message");
	return json_string(doc, text, words);
}

/**
 * bedrock_read_error() - Read an HTTP error's body
 * @http_status:	Status
 * @body:		{"message"} or {"Message"}, perhaps "__type"
 * @message:		Its words are appended; nothing when there are none
 *
 * Return: the kind.
 */
enum neutral_error bedrock_read_error(unsigned http_status, struct span body,
				      struct buf *message)
{
	const struct json_limits limits = {.max_tokens = ERROR_TOKENS_MAX,
					   .allow_nul = true};
	enum neutral_error kind = kind_of_status(http_status);
	struct json doc;
	char type[128];

	json_init(&doc);
	if (json_parse(&doc, body, &limits) != ERR_OK)
		goto out;
	if (json_text(&doc, json_get(&doc, JSON_ROOT, "__type"), type,
		      sizeof(type)) == ERR_OK)
		kind = bedrock_error_kind(span_text(type), http_status);
	(void)!read_words(&doc, message);
out:
	json_fini(&doc);
	return kind;
}

/**
 * bedrock_put_error() - Append an error document
 * @b:		Buffer
 * @type:	Not in the document: it belongs into a header
 * @message:	UTF-8
 *
 * Return: ERR_OK; ERR_FORMAT for bad UTF-8; ERR_LIMIT; ERR_MEMORY.
 */
enum err bedrock_put_error(struct buf *b, const char *type, struct span message)
{
	struct jsonw w;

	(void)type;
	jsonw_init(&w, b);
	jsonw_begin_object(&w);
	jsonw_put_text(&w, "message", message);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

/**
 * bedrock_put_exception() - Append the frame that ends a stream in error
 * @out:	Buffer
 * @type:	Any name that bedrock_error_kind() knows
 * @message:	UTF-8
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err bedrock_put_exception(struct buf *out, const char *type,
			       struct span message)
{
	enum neutral_error kind = bedrock_error_kind(span_text(type), 0);
	struct buf payload;
	enum err e;

	buf_init(&payload, 65536);
	e = bedrock_put_error(&payload, type, message);
	if (e == ERR_OK)
		e = eventstream_put_exception(out, kinds[kind].in_stream,
					      buf_span(&payload));
	buf_fini(&payload);
	return e;
}

/**
 * bedrock_read_failure() - Read a frame that is an exception or an error
 * @f:			Frame whose message type is not "event"
 * @doc:		Document to parse into
 * @words:		Buffer for the message
 * @ret_failure:	Written on success
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err bedrock_read_failure(const struct eventstream_frame *f,
			      struct json *doc, struct buf *words,
			      struct bedrock_failure *ret_failure)
{
	const struct json_limits limits = {.max_tokens = ERROR_TOKENS_MAX,
					   .allow_nul = true};
	bool exception = span_is(f->message_type, "exception");
	struct span name = exception ? f->exception_type : f->error_code;
	enum err e;

	buf_reset(words);
	if (!exception) {
		e = buf_put_span(words, f->error_message);
	} else {
		e = json_parse(doc, f->payload, &limits);
		if (e == ERR_OK)
			e = read_words(doc, words);
	}
	if (e == ERR_MEMORY)
		return e;
	/* An error without readable words is an error all the same. */
	if (!text_is_utf8(buf_span(words)))
		buf_reset(words);
	*ret_failure = (struct bedrock_failure){
		.error = bedrock_error_kind(name, 0),
		.name = text_is_utf8(name) ? name : span_text(""),
		.message = buf_span(words),
	};
	return ERR_OK;
}

/**
 * bedrock_note_failure() - A failure as one line for the record
 * @failure:	Read before
 * @ret_text:	"name: message", escaped and cut
 * @cap_bytes:	Of @ret_text
 */
void bedrock_note_failure(const struct bedrock_failure *failure, char *ret_text,
			  size_t cap_bytes)
{
	size_t len;

	ret_text[0] = '\0';
	(void)text_escape_line(failure->name, ret_text, cap_bytes);
	if (ret_text[0] && failure->message.len_bytes)
		text_append(ret_text, cap_bytes, ": ");
	len = strlen(ret_text);
	(void)text_escape_line(failure->message, ret_text + len,
			       cap_bytes - len);
}
