/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_list.c - the names in a provider's list of models
 *
 * Runs in: kenaz.
 * Trusts:  nothing: the bytes are a provider's.
 * Never:   cuts a name: one that is too long is left out.
 *
 * OpenAI's and Anthropic's lists are {"data": [{"id": NAME}]}, Ollama's own is
 * {"models": [{"name": NAME}]}.
 */
#include "tui/model_list.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"

static const struct {
	const char *list, *name;
} shapes[] = {
	{"data", "id"},
	{"models", "name"},
};

static bool is_known(const struct model_list *list, const char *name)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (strcmp(list->names[i], name) == 0)
			return true;
	return false;
}

static void take_name(struct model_list *list, const struct json *j,
		      json_ref at)
{
	char name[MODEL_MAX_BYTES + 1];

	if (!json_is(j, at, JSON_STRING) ||
	    json_text(j, at, name, sizeof(name)) != ERR_OK || !name[0] ||
	    is_known(list, name))
		return;
	if (list->count == MODEL_LIST_MAX)
		list->cut = true;
	else
		memcpy(list->names[list->count++], name, sizeof(name));
}

/**
 * model_list_read() - Read the names of a list of models
 * @body:	What the provider answered
 * @ret_list:	Names, unescaped, each once; free with model_list_fini();
 *		written on success
 *
 * Return: ERR_OK, with at most MODEL_LIST_MAX names; ERR_FORMAT when it is no
 *	   list of models; ERR_LIMIT past MODEL_LIST_BYTES_MAX; ERR_MEMORY.
 */
enum err model_list_read(struct span body, struct model_list *ret_list)
{
	const struct json_limits limits = {.max_bytes = MODEL_LIST_BYTES_MAX,
					   .max_tokens = 128u * 1024,
					   .max_depth = 32};
	struct model_list list = {0};
	json_ref array = JSON_NONE;
	size_t shape = 0;
	struct json j;
	enum err e;

	if (body.len_bytes > MODEL_LIST_BYTES_MAX)
		return ERR_LIMIT;
	json_init(&j);
	e = json_parse(&j, body, &limits);
	if (e == ERR_SHORT)
		e = ERR_FORMAT;
	if (e != ERR_OK)
		goto out;
	if (json_is(&j, JSON_ROOT, JSON_OBJECT))
		for (shape = 0; shape < ARRAY_SIZE(shapes); shape++) {
			array = json_get(&j, JSON_ROOT, shapes[shape].list);
			if (json_is(&j, array, JSON_ARRAY))
				break;
		}
	if (!json_is(&j, array, JSON_ARRAY)) {
		e = ERR_FORMAT;
		goto out;
	}
	list.names = calloc(MODEL_LIST_MAX, sizeof(*list.names));
	if (!list.names) {
		e = ERR_MEMORY;
		goto out;
	}
	JSON_EACH (&j, item, array) {
		if (json_is(&j, item, JSON_OBJECT))
			take_name(&list, &j,
				  json_get(&j, item, shapes[shape].name));
	}
	*ret_list = list;
out:
	json_fini(&j);
	return e;
}

/** model_list_fini() - Free the names; a zeroed list is fine */
void model_list_fini(struct model_list *list)
{
	free(list->names);
	*list = (struct model_list){0};
}
