/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_request_views.c - what passes as plain is plain to another reader too
 *
 * cJSON is the other reader: of equal keys it could take either, it ignores
 * their case, and it reads what no specification allows. Here it takes the
 * last, as most do. Whatever it finds in a body that the gate passes must be
 * what the gate reported.
 */
#include <assert.h>
#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/gate/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The last member of that name, in any case. */
static const cJSON *last(const cJSON *object, const char *key)
{
	const cJSON *item, *found = NULL;

	if (!cJSON_IsObject(object))
		return NULL;
	cJSON_ArrayForEach(item, object) if (item->string &&
					     strcasecmp(item->string, key) == 0)
		found = item;
	return found;
}

static bool is_text(const cJSON *item, const char *text)
{
	return cJSON_IsString(item) && strcmp(item->valuestring, text) == 0;
}

static bool asks(const cJSON *item)
{
	return item && !cJSON_IsNull(item) && !cJSON_IsFalse(item) &&
	       !(cJSON_IsArray(item) && !item->child);
}

/* Whether a tool runs at the client, by the names of all three dialects. */
static bool is_clients(const cJSON *tool)
{
	static const char *const types[] = {
		"function", "custom",      "namespace", "local_shell",
		"shell",    "apply_patch", "computer",  "tool_search",
	};
	static const char *const prefixes[] = {"bash_", "text_editor_",
					       "computer_", "memory_"};
	const cJSON *type = last(tool, "type");
	size_t i;

	if (!type || cJSON_IsNull(type))
		return true;
	if (!cJSON_IsString(type))
		return false;
	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (is_text(type, types[i]))
			return true;
	for (i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (strncmp(type->valuestring, prefixes[i],
			    strlen(prefixes[i])) == 0)
			return true;
	return false;
}

static bool has_address(const cJSON *block)
{
	const cJSON *source = last(block, "source");
	const cJSON *url = last(block, "image_url");

	if (is_text(last(block, "type"), "tool_use"))
		return false;
	if (is_text(last(source, "type"), "url") ||
	    is_text(last(source, "type"), "file"))
		return true;
	if (!is_text(last(block, "type"), "image_url"))
		return false;
	if (cJSON_IsObject(url))
		url = last(url, "url");
	return cJSON_IsString(url) &&
	       strncasecmp(url->valuestring, "http", 4) == 0;
}

static bool is_more_than_plain(const cJSON *root, bool messages)
{
	static const char *const members[] = {"mcp_servers", "models",
					      "route",       "provider",
					      "container",   "preset",
					      "plugins",     "fallbacks",
					      "extra_body",  "api_base"};
	const cJSON *tools = last(root, "tools"), *item, *block;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(members); i++)
		if (asks(last(root, members[i])))
			return true;
	if (cJSON_IsArray(tools))
		cJSON_ArrayForEach(item,
				   tools) if (!is_clients(item)) return true;
	item = messages ? last(root, "messages") : NULL;
	for (item = cJSON_IsArray(item) ? item->child : NULL; item;
	     item = item->next) {
		block = last(item, "content");
		for (block = cJSON_IsArray(block) ? block->child : NULL; block;
		     block = block->next)
			if (has_address(block))
				return true;
	}
	return false;
}

static void compare(const struct dialect_ops *d, enum route route,
		    struct span body, const cJSON *root)
{
	static struct seen seen;
	struct request_facts f;
	const cJSON *stream = last(root, "stream");

	request_facts_init(&f);
	if (d->inspect(route, body, &seen, &f) == ERR_OK) {
		/* Deeper than cJSON goes, or a number it has no room for. */
		if (root) {
			assert(is_text(last(root, "model"), f.model));
			assert(f.stream == cJSON_IsTrue(stream));
			assert(!is_more_than_plain(root,
						   route != ROUTE_RESPONSES) ||
			       f.features.len_bytes);
		}
	} else {
		assert(f.error_text[0]);
	}
	request_facts_fini(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct span body = span_of(data, size);
	cJSON *root = cJSON_ParseWithLength((const char *)data, size);

	compare(&dialect_anthropic, ROUTE_MESSAGES, body, root);
	compare(&dialect_chat, ROUTE_CHAT, body, root);
	compare(&dialect_responses, ROUTE_RESPONSES, body, root);
	cJSON_Delete(root);
	return 0;
}

/* sources: engine/base/err.c engine/base/buf.c engine/base/digest.c
 * engine/base/json.c engine/base/json_text.c engine/base/jsonw.c
 * engine/base/text.c engine/proto/attrs.c engine/gate/anthropic*.c
 * engine/gate/bedrock_error.c engine/gate/chat*.c engine/gate/converse*.c
 * engine/gate/cost.c engine/gate/count.c engine/gate/crc32.c
 * engine/gate/dialect.c engine/gate/eventstream.c engine/gate/inspection.c
 * engine/gate/invoke*.c engine/gate/lax.c engine/gate/neutral*.c
 * engine/gate/reply*.c engine/gate/request_translate.c engine/gate/responses*.c
 * engine/gate/routed.c engine/gate/seen.c engine/gate/sse*.c */
