/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider_said.c - a provider's own words about an error
 *
 * Runs in: kenaz.
 * Trusts:  nothing: the bytes are a provider's, or of what stands between.
 * Never:   shows anything: callers do, escaped.
 *
 * OpenAI's and Anthropic's errors are {"error": {"message": TEXT}}, Ollama's
 * {"error": TEXT}, AWS's {"message": TEXT} or {"Message": TEXT}, those of many
 * Python servers {"detail": TEXT}.
 */
#include "tui/provider_said.h"

#include <string.h>
#include <strings.h>

#include "engine/base/json.h"

#define SAID_BODY_MAX_BYTES (64u * 1024)

static const char *const members[] = {"message", "Message", "error", "detail"};

static json_ref find_words(const struct json *j)
{
	json_ref at = json_get(j, JSON_ROOT, "error");
	json_ref in = json_is(j, at, JSON_OBJECT) ? at : JSON_ROOT;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(members); i++) {
		at = json_get(j, in, members[i]);
		if (json_is(j, at, JSON_STRING))
			return at;
	}
	return JSON_NONE;
}

/**
 * provider_said() - The sentence in an error that a provider answered
 * @body:	Its bytes
 * @ret_text:	Unescaped; written on success
 *
 * Return: ERR_OK; ERR_NOT_FOUND when there is none; ERR_LIMIT for a sentence
 *	   that is too long to be shown; ERR_FORMAT; ERR_MEMORY.
 */
enum err provider_said(struct span body, char ret_text[PROVIDER_SAID_MAX_BYTES])
{
	const struct json_limits limits = {.max_bytes = SAID_BODY_MAX_BYTES,
					   .max_tokens = 4096,
					   .max_depth = 32};
	json_ref at = JSON_NONE;
	struct json j;
	enum err e;

	json_init(&j);
	e = json_parse(&j, body, &limits);
	if (e == ERR_OK && json_is(&j, JSON_ROOT, JSON_OBJECT))
		at = find_words(&j);
	if (e == ERR_OK && at == JSON_NONE)
		e = ERR_NOT_FOUND;
	if (e == ERR_OK)
		e = json_text(&j, at, ret_text, PROVIDER_SAID_MAX_BYTES);
	if (e == ERR_OK && !ret_text[0])
		e = ERR_NOT_FOUND;
	json_fini(&j);
	return e;
}

/** provider_sent_a_page() - Whether an answer is a page for a browser */
bool provider_sent_a_page(struct span body)
{
	while (body.len_bytes && strchr(" \t\r\n", body.data[0]) &&
	       body.data[0]) {
		body.data++;
		body.len_bytes--;
	}
	return body.len_bytes > 5 &&
	       (strncasecmp((const char *)body.data, "<!doc", 5) == 0 ||
		strncasecmp((const char *)body.data, "<html", 5) == 0 ||
		strncasecmp((const char *)body.data, "<?xml", 5) == 0);
}
