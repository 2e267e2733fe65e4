/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_head.c - what a request's line and headers must look like
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the library's own checks let duplicate and contradictory
 *	    lengths pass and decode paths, so this looks at the raw text.
 * Never:   decodes or normalises a path; matches by anything but equality.
 *
 * RFC 9110 and RFC 9112, narrowed: one Content-Length of plain digits or one
 * "Transfer-Encoding: chunked", never both; no content coding. Host is not
 * looked at: the socket says which session this is.
 */
#include "engine/gate/http_head.h"

#include <string.h>

#include "engine/base/text.h"
#include "engine/proto/attrs.h"
#include "engine/proto/msg.h"

static bool is_token_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool same_word(struct span s, const char *word)
{
	size_t i, len = strlen(word);

	if (s.len_bytes != len)
		return false;
	for (i = 0; i < len; i++)
		if (lower(s.data[i]) != lower((uint8_t)word[i]))
			return false;
	return true;
}

static struct span trimmed(struct span s)
{
	while (s.len_bytes && (s.data[0] == ' ' || s.data[0] == '\t'))
		s = span_of(s.data + 1, s.len_bytes - 1);
	while (s.len_bytes && (s.data[s.len_bytes - 1] == ' ' ||
			       s.data[s.len_bytes - 1] == '\t'))
		s.len_bytes--;
	return s;
}

static void refuse(struct http_head *h, unsigned status, const char *text)
{
	if (h->refusal.status == 0)
		h->refusal = (struct http_refusal){status, text};
}

static bool is_proper(struct span name, struct span value)
{
	size_t i;

	if (name.len_bytes == 0)
		return false;
	for (i = 0; i < name.len_bytes; i++)
		if (!is_token_char(name.data[i]))
			return false;
	for (i = 0; i < value.len_bytes; i++)
		if ((value.data[i] < 0x20 && value.data[i] != '\t') ||
		    value.data[i] == 0x7f)
			return false;
	return true;
}

/** http_head_init() - Start checking a request's headers */
void http_head_init(struct http_head *h)
{
	*h = (struct http_head){.count = 0};
	buf_init(&h->forwarded, HTTP_FORWARDED_MAX_BYTES);
}

/** http_head_fini() - Release what was collected */
void http_head_fini(struct http_head *h)
{
	buf_fini(&h->forwarded);
}

static void take_length(struct http_head *h, struct span value)
{
	if (h->has_length)
		refuse(h, 400, "Content-Length is given twice");
	h->has_length = true;
	if (text_parse_u64(value, 0, UINT64_MAX, &h->length_bytes) != ERR_OK)
		refuse(h, 400, "Content-Length is not a plain number");
	else if (h->length_bytes > BODY_MAX_BYTES)
		refuse(h, 413, "the body is larger than 32 MiB");
}

static void take_coding(struct http_head *h, struct span value)
{
	if (h->chunked)
		refuse(h, 400, "Transfer-Encoding is given twice");
	h->chunked = true;
	if (!same_word(value, "chunked"))
		refuse(h, 501, "Transfer-Encoding is not chunked");
}

static void forward(struct http_head *h, const char *name, struct span value)
{
	enum err e = attrs_put_text(&h->forwarded, name, value);

	if (e == ERR_FORMAT)
		refuse(h, 400, "a forwarded header is not valid UTF-8");
	else if (e != ERR_OK)
		refuse(h, 431, "the forwarded headers are too long");
}

/**
 * http_head_add() - Look at one header
 * @h:		Check in progress
 * @name:	As received
 * @value:	As received
 * @forwarded:	Lower-case names to collect, NULL-ended; or NULL
 */
void http_head_add(struct http_head *h, struct span name, struct span value,
		   const char *const *forwarded)
{
	size_t i;

	value = trimmed(value);
	h->count++;
	h->bytes += name.len_bytes + value.len_bytes;
	if (h->count > HTTP_HEADERS_MAX || h->bytes > HTTP_HEADERS_MAX_BYTES)
		refuse(h, 431, "too many or too long headers");
	if (!is_proper(name, value)) {
		refuse(h, 400, "a malformed header");
		return;
	}
	if (same_word(name, "content-length"))
		take_length(h, value);
	else if (same_word(name, "transfer-encoding"))
		take_coding(h, value);
	else if (same_word(name, "content-encoding") &&
		 !same_word(value, "identity"))
		refuse(h, 415, "a compressed body cannot be judged");
	else if (same_word(name, "expect") && !same_word(value, "100-continue"))
		refuse(h, 417, "an unknown expectation");
	else if (same_word(name, "anthropic-version"))
		h->anthropic = true;
	else if (same_word(name, "user-agent"))
		(void)text_escape_line(value, h->agent, sizeof(h->agent));
	for (i = 0; forwarded && forwarded[i]; i++)
		if (same_word(name, forwarded[i]))
			forward(h, forwarded[i], value);
}

/**
 * http_head_finish() - Look at the headers as a whole
 * @h:		Check; refusal is final now
 * @method:	Request method
 */
void http_head_finish(struct http_head *h, const char *method)
{
	bool has_body = h->chunked || h->length_bytes > 0;

	if (h->has_length && h->chunked)
		refuse(h, 400,
		       "Content-Length and Transfer-Encoding contradict each "
		       "other");
	if (has_body && strcmp(method, "POST") != 0)
		refuse(h, 400, "a body where none belongs");
}

static const struct {
	const char *path, *method;
	enum http_action action;
	enum route route;
	enum dialect dialect;
} targets[] = {
	{"/v1/messages", "POST", HTTP_INFER, ROUTE_MESSAGES, DIALECT_ANTHROPIC},
	{"/v1/messages/count_tokens", "POST", HTTP_INFER, ROUTE_COUNT_TOKENS,
	 DIALECT_ANTHROPIC},
	{"/v1/chat/completions", "POST", HTTP_INFER, ROUTE_CHAT, DIALECT_CHAT},
	{"/chat/completions", "POST", HTTP_INFER, ROUTE_CHAT, DIALECT_CHAT},
	{"/v1/responses", "POST", HTTP_INFER, ROUTE_RESPONSES,
	 DIALECT_RESPONSES},
	{"/responses", "POST", HTTP_INFER, ROUTE_RESPONSES, DIALECT_RESPONSES},
	{"/v1/responses/input_tokens", "POST", HTTP_INFER,
	 ROUTE_RESPONSES_COUNT, DIALECT_RESPONSES},
	{"/responses/input_tokens", "POST", HTTP_INFER, ROUTE_RESPONSES_COUNT,
	 DIALECT_RESPONSES},
	/* Several dialects ask so; see http_head_settle(). */
	{"/v1/models", "GET", HTTP_INFER, ROUTE_MODELS, DIALECT_CHAT},
	{"/models", "GET", HTTP_INFER, ROUTE_MODELS, DIALECT_CHAT},
	{"/kenaz/v1/announce", "POST", HTTP_ANNOUNCE, ROUTE_NONE, DIALECT_NONE},
	{"/", "HEAD", HTTP_INDEX, ROUTE_NONE, DIALECT_NONE},
	{"/", "GET", HTTP_INDEX, ROUTE_NONE, DIALECT_NONE},
};

/* Bedrock's: /model/{id}/ACTION, all POST. */
static const char model_prefix[] = "/model/";

static const struct {
	const char *action;
	enum route route;
	enum dialect dialect;
} model_targets[] = {
	{"invoke", ROUTE_INVOKE, DIALECT_INVOKE},
	{"invoke-with-response-stream", ROUTE_INVOKE_STREAM, DIALECT_INVOKE},
	{"converse", ROUTE_CONVERSE, DIALECT_CONVERSE},
	{"converse-stream", ROUTE_CONVERSE_STREAM, DIALECT_CONVERSE},
	{"count-tokens", ROUTE_BEDROCK_COUNT, DIALECT_INVOKE},
};

static bool is_model_path(struct span path)
{
	const size_t len = sizeof(model_prefix) - 1;

	return path.len_bytes > len &&
	       memcmp(path.data, model_prefix, len) == 0;
}

/* Where errors are read as AWS words them. */
static bool is_bedrock_path(struct span path)
{
	static const char profiles[] = "/inference-profiles";
	const size_t len = sizeof(profiles) - 1;

	return is_model_path(path) ||
	       (path.len_bytes >= len && memcmp(path.data, profiles, len) == 0);
}

static struct http_refusal find_model_target(const char *method,
					     struct span path,
					     struct http_target *ret_target)
{
	const size_t prefix = sizeof(model_prefix) - 1;
	struct span rest = span_of(path.data + prefix, path.len_bytes - prefix);
	/* Some clients leave the slashes of an ARN as they are. */
	const uint8_t *slash = memrchr(rest.data, '/', rest.len_bytes);
	size_t id_len = slash ? (size_t)(slash - rest.data) : 0, i;
	struct span action = span_of(rest.data + id_len + (slash ? 1 : 0),
				     rest.len_bytes - id_len - (slash ? 1 : 0));

	for (i = 0; id_len && i < ARRAY_SIZE(model_targets); i++) {
		if (!span_is(action, model_targets[i].action))
			continue;
		if (strcmp(method, "POST") != 0)
			return (struct http_refusal){
				405, "this path does not take that method"};
		*ret_target = (struct http_target){
			.action = HTTP_INFER,
			.route = model_targets[i].route,
			.dialect = model_targets[i].dialect,
			.model = span_of(rest.data, id_len),
		};
		return (struct http_refusal){0, NULL};
	}
	return (struct http_refusal){404, "no such path at the Kenaz gateway"};
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/**
 * http_head_model() - Decode the model in a path
 * @encoded:	http_target.model
 * @ret_model:	Array of @cap_bytes
 * @cap_bytes:	Its size
 *
 * Return: ERR_OK; ERR_FORMAT for a broken %XX or bytes that no model's name
 *	   has; ERR_LIMIT.
 */
enum err http_head_model(struct span encoded, char *ret_model, size_t cap_bytes)
{
	size_t i, n = 0;

	for (i = 0; i < encoded.len_bytes; i++) {
		uint8_t c = encoded.data[i];

		if (c == '%') {
			int high = -1, low = -1;

			if (i + 2 < encoded.len_bytes) {
				high = hex_value(encoded.data[i + 1]);
				low = hex_value(encoded.data[i + 2]);
			}
			if (high < 0 || low < 0)
				return ERR_FORMAT;
			c = (uint8_t)(high * 16 + low);
			i += 2;
		}
		if (c <= 0x20 || c >= 0x7f)
			return ERR_FORMAT;
		if (n + 1 >= cap_bytes)
			return ERR_LIMIT;
		ret_model[n++] = (char)c;
	}
	ret_model[n] = '\0';
	return n ? ERR_OK : ERR_FORMAT;
}

/** http_head_settle() - Tell dialects that share a path by their headers */
void http_head_settle(const struct http_head *h, struct http_target *target)
{
	if (target->route == ROUTE_MODELS && h->anthropic)
		target->dialect = DIALECT_ANTHROPIC;
}

static bool begins(struct span s, const char *with)
{
	size_t len = strlen(with);

	return s.len_bytes >= len && memcmp(s.data, with, len) == 0;
}

static bool is_query(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if (s.data[i] <= 0x20 || s.data[i] >= 0x7f ||
		    strchr("\"#<>\\^`{|}", s.data[i]))
			return false;
	return true;
}

/**
 * http_head_target() - Find what a request is for
 * @method:	As received
 * @uri:	Raw, undecoded
 * @ret_target:	Written when the status is 0; borrows @uri. Of a refused one
 *		only the dialect is written, where the path tells it.
 *
 * Return: a refusal; status 0 when there is none.
 */
struct http_refusal http_head_target(const char *method, const char *uri,
				     struct http_target *ret_target)
{
	size_t path_len = strcspn(uri, "?"), i;
	struct span path = span_of(uri, path_len);
	struct span query = span_text(uri[path_len] ? uri + path_len + 1 : "");
	struct http_refusal refusal;
	bool known = false;

	if (is_bedrock_path(path))
		*ret_target = (struct http_target){.dialect = DIALECT_CONVERSE};
	if (is_model_path(path)) {
		refusal = find_model_target(method, path, ret_target);
		if (refusal.status == 0 && query.len_bytes)
			refusal =
				(struct http_refusal){400, "a malformed query"};
		return refusal;
	}
	for (i = 0; i < ARRAY_SIZE(targets); i++) {
		if (!span_is(path, targets[i].path))
			continue;
		known = true;
		if (strcmp(method, targets[i].method) == 0)
			break;
	}
	if (!known && strcmp(method, "CONNECT") == 0)
		return (struct http_refusal){
			405, "CONNECT belongs on the egress port"};
	if (!known && begins(path, "/v1/responses/"))
		return (struct http_refusal){
			404, "Kenaz has no response stored at a provider: "
			     "send the conversation with each request"};
	if (!known)
		return (struct http_refusal){
			404, "no such path at the Kenaz gateway"};
	if (i == ARRAY_SIZE(targets))
		return (struct http_refusal){
			405, "this path does not take that method"};
	if (query.len_bytes > HTTP_QUERY_MAX_BYTES || !is_query(query))
		return (struct http_refusal){400, "a malformed query"};
	*ret_target = (struct http_target){.action = targets[i].action,
					   .route = targets[i].route,
					   .dialect = targets[i].dialect,
					   .query = query};
	return (struct http_refusal){0, NULL};
}

/**
 * http_head_may_return() - Whether a provider's header goes to the guest
 * @name:		As received
 * @same_dialect:	The guest's program speaks the provider's dialect
 */
bool http_head_may_return(struct span name, bool same_dialect)
{
	static const char *const always[] = {
		"content-type",
		"retry-after",
		"retry-after-ms",
		"x-should-retry",
	};
	static const char *const same[] = {
		"request-id",       "x-request-id",     "x-generation-id",
		"x-amzn-requestid", "x-amzn-errortype",
	};
	static const char *const prefixes[] = {
		"anthropic-ratelimit-",
		"x-ratelimit-",
		"openai-",
		"x-amzn-bedrock-",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(always); i++)
		if (same_word(name, always[i]))
			return true;
	for (i = 0; same_dialect && i < ARRAY_SIZE(same); i++)
		if (same_word(name, same[i]))
			return true;
	for (i = 0; same_dialect && i < ARRAY_SIZE(prefixes); i++) {
		size_t len = strlen(prefixes[i]);

		if (name.len_bytes > len &&
		    same_word(span_of(name.data, len), prefixes[i]))
			return true;
	}
	return false;
}
