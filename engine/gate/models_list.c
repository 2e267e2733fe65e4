/* SPDX-License-Identifier: Apache-2.0 */
/*
 * models_list.c - lists of models, read and written in a client's form
 *
 * Runs in: kenaz-gate.
 * Trusts:  core for the names that it sends; nothing in a provider's list.
 * Never:   gives a name on that is empty or longer than MODEL_MAX_BYTES.
 *
 * OpenAI's list is {"object":"list","data":[{"id","object":"model","created",
 * "owned_by"}]}, Anthropic's {"data":[{"id","type":"model","display_name",
 * "created_at"}],"has_more","first_id","last_id"}: the ids stand in the same
 * places. Clients want a date, and nobody here knows one: it is 1970's first.
 */
#include "engine/gate/models_list.h"

#include <string.h>

#include "engine/base/json.h"
#include "engine/proto/attrs.h"

#define MODELS_TOKENS_MAX (1u << 18)

/**
 * models_list_begin() - Start a list
 * @l:		List
 * @client:	Anthropic's form for DIALECT_ANTHROPIC, else OpenAI's
 * @out:	Buffer, borrowed until models_list_end()
 */
void models_list_begin(struct models_list *l, enum dialect client,
		       struct buf *out)
{
	*l = (struct models_list){.anthropic = client == DIALECT_ANTHROPIC};
	jsonw_init(&l->w, out);
	jsonw_begin_object(&l->w);
	if (!l->anthropic)
		jsonw_put_cstr(&l->w, "object", "list");
	jsonw_key(&l->w, "data");
	jsonw_begin_array(&l->w);
}

/**
 * models_list_put() - Append a model
 * @l:	List
 * @id:	Its name, UTF-8; left out when empty or too long
 */
void models_list_put(struct models_list *l, struct span id)
{
	if (id.len_bytes == 0 ||
	    span_copy_text(id, l->last, sizeof(l->last)) != ERR_OK)
		return;
	if (l->count++ == 0)
		memcpy(l->first, l->last, sizeof(l->first));
	jsonw_begin_object(&l->w);
	jsonw_put_text(&l->w, "id", id);
	if (l->anthropic) {
		jsonw_put_cstr(&l->w, "type", "model");
		jsonw_put_text(&l->w, "display_name", id);
		jsonw_put_cstr(&l->w, "created_at", "1970-01-01T00:00:00Z");
	} else {
		jsonw_put_cstr(&l->w, "object", "model");
		jsonw_put_u64(&l->w, "created", 0);
		jsonw_put_cstr(&l->w, "owned_by", "kenaz");
	}
	jsonw_end_object(&l->w);
}

static void put_edge(struct models_list *l, const char *key, const char *id)
{
	jsonw_key(&l->w, key);
	if (l->count)
		jsonw_cstr(&l->w, id);
	else
		jsonw_null(&l->w);
}

/**
 * models_list_end() - Finish a list
 * @l:	List
 *
 * Return: ERR_OK; ERR_FORMAT for bad UTF-8; ERR_LIMIT; ERR_MEMORY.
 */
enum err models_list_end(struct models_list *l)
{
	jsonw_end_array(&l->w);
	if (l->anthropic) {
		jsonw_put_bool(&l->w, "has_more", false);
		put_edge(l, "first_id", l->first);
		put_edge(l, "last_id", l->last);
	}
	jsonw_end_object(&l->w);
	return jsonw_finish(&l->w);
}

/**
 * models_list_write() - A list of names that core made
 * @client:	Who gets it
 * @names:	attrs.h texts, see infer_models in engine/proto/msg.def
 * @out:	Buffer
 *
 * Return: as models_list_end(); ERR_FORMAT and ERR_SHORT for what is none.
 */
enum err models_list_write(enum dialect client, struct span names,
			   struct buf *out)
{
	struct models_list l;
	struct reader r;
	struct attr a;
	enum err e;

	models_list_begin(&l, client, out);
	reader_init(&r, names);
	while (attrs_next(&r, &a))
		if (a.type == ATTR_TEXT)
			models_list_put(&l, a.text);
	e = models_list_end(&l);
	return r.status != ERR_OK ? r.status : e;
}

/**
 * models_list_translate() - A provider's list in a client's form
 * @client:	Who gets it
 * @body:	The provider's, borrowed
 * @out:	Buffer
 *
 * Ids that are no text, empty or too long are left out, and all past
 * MODELS_LIST_MAX.
 *
 * Return: ERR_OK; ERR_FORMAT for what is no such list; ERR_LIMIT; ERR_MEMORY.
 */
enum err models_list_translate(enum dialect client, struct span body,
			       struct buf *out)
{
	const struct json_limits limits = {
		.max_bytes = MODELS_LIST_MAX_BYTES,
		.max_tokens = MODELS_TOKENS_MAX,
		.allow_nul = true,
	};
	char id[MODEL_MAX_BYTES + 1];
	struct models_list l;
	struct json doc;
	json_ref data;
	enum err e;

	json_init(&doc);
	e = json_parse(&doc, body, &limits);
	data = e == ERR_OK ? json_get(&doc, JSON_ROOT, "data") : JSON_NONE;
	if (e != ERR_MEMORY && !json_is(&doc, data, JSON_ARRAY))
		e = ERR_FORMAT;
	if (e != ERR_OK)
		goto out;
	models_list_begin(&l, client, out);
	JSON_EACH (&doc, model, data) {
		if (l.count == MODELS_LIST_MAX)
			break;
		if (json_text(&doc, json_get(&doc, model, "id"), id,
			      sizeof(id)) == ERR_OK)
			models_list_put(&l, span_text(id));
	}
	e = models_list_end(&l);
out:
	json_fini(&doc);
	return e;
}
