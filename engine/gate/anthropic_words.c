/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_words.c - Anthropic's names of errors and stop reasons
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   takes an unknown word for a good one.
 *
 * Anthropic Messages API, version 2023-06-01.
 */
#include "engine/gate/anthropic_neutral.h"

#include "engine/base/json.h"

static const struct {
	enum neutral_error error;
	const char *name;
	unsigned status;
} error_table[] = {
	{NEUTRAL_ERROR_INVALID, "invalid_request_error", 400},
	{NEUTRAL_ERROR_AUTHENTICATION, "authentication_error", 401},
	{NEUTRAL_ERROR_BILLING, "billing_error", 402},
	{NEUTRAL_ERROR_PERMISSION, "permission_error", 403},
	{NEUTRAL_ERROR_NOT_FOUND, "not_found_error", 404},
	{NEUTRAL_ERROR_TOO_LARGE, "request_too_large", 413},
	{NEUTRAL_ERROR_CONTEXT, "invalid_request_error", 400},
	{NEUTRAL_ERROR_RATE, "rate_limit_error", 429},
	/* Waiting does not help: no client tries this one again. */
	{NEUTRAL_ERROR_QUOTA, "billing_error", 402},
	{NEUTRAL_ERROR_TIMEOUT, "timeout_error", 504},
	{NEUTRAL_ERROR_OVERLOADED, "overloaded_error", 529},
	{NEUTRAL_ERROR_API, "api_error", 500},
};

/** anthropic_error_of() - What an error's type means; API when unknown */
enum neutral_error anthropic_error_of(struct span type)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(error_table); i++)
		if (span_is(type, error_table[i].name))
			return error_table[i].error;
	return NEUTRAL_ERROR_API;
}

/** anthropic_error_name() - An error's type and HTTP status */
const char *anthropic_error_name(enum neutral_error error,
				 unsigned *ret_http_status)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(error_table) - 1; i++)
		if (error_table[i].error == error)
			break;
	*ret_http_status = error_table[i].status;
	return error_table[i].name;
}

static enum neutral_error error_of_status(unsigned status)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(error_table); i++)
		if (error_table[i].status == status)
			return error_table[i].error;
	if (status == 408)
		return NEUTRAL_ERROR_TIMEOUT;
	if (status == 503)
		return NEUTRAL_ERROR_OVERLOADED;
	return status < 500 ? NEUTRAL_ERROR_INVALID : NEUTRAL_ERROR_API;
}

/**
 * anthropic_read_http_error() - Read the body of an HTTP error
 * @http_status:	What the provider answered
 * @body:		Any bytes
 * @message:		The provider's sentence is appended; nothing when the
 *			body has none
 *
 * Return: what it means; by the status when the body does not say.
 */
enum neutral_error anthropic_read_http_error(unsigned http_status,
					     struct span body,
					     struct buf *message)
{
	const struct json_limits limits = {.max_tokens = 4096,
					   .allow_nul = true};
	enum neutral_error error = error_of_status(http_status);
	json_ref type;
	struct json j;
	char name[64];

	json_init(&j);
	if (json_parse(&j, body, &limits) == ERR_OK) {
		type = json_find(&j, JSON_ROOT, "error.type");
		(void)!json_string(&j,
				   json_find(&j, JSON_ROOT, "error.message"),
				   message);
		if (json_text(&j, type, name, sizeof(name)) == ERR_OK &&
		    anthropic_error_of(span_text(name)) != NEUTRAL_ERROR_API)
			error = anthropic_error_of(span_text(name));
	}
	json_fini(&j);
	return error;
}

static const struct {
	enum neutral_stop stop;
	const char *name;
} stop_table[] = {
	{NEUTRAL_STOP_END, "end_turn"},
	{NEUTRAL_STOP_LENGTH, "max_tokens"},
	{NEUTRAL_STOP_CONTEXT, "model_context_window_exceeded"},
	{NEUTRAL_STOP_SEQUENCE, "stop_sequence"},
	{NEUTRAL_STOP_TOOL, "tool_use"},
	{NEUTRAL_STOP_REFUSAL, "refusal"},
	{NEUTRAL_STOP_PAUSE, "pause_turn"},
};

/** anthropic_stop_of() - What a stop reason means; OTHER when unknown */
enum neutral_stop anthropic_stop_of(struct span reason)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(stop_table); i++)
		if (span_is(reason, stop_table[i].name))
			return stop_table[i].stop;
	return NEUTRAL_STOP_OTHER;
}

/** anthropic_stop_name() - A stop reason's name */
const char *anthropic_stop_name(enum neutral_stop stop)
{
	size_t i;

	if (stop == NEUTRAL_STOP_OTHER)
		stop = NEUTRAL_STOP_LENGTH;
	for (i = 0; i < ARRAY_SIZE(stop_table); i++)
		if (stop_table[i].stop == stop)
			return stop_table[i].name;
	return stop_table[0].name;
}
