/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_edit.c - changes of a JSON text in place
 *
 * Runs in: kenaz-gate.
 * Trusts:  its callers not to change the same bytes twice.
 * Never:   touches a byte outside the changes.
 */
#include "engine/gate/chat_edit.h"

#include <stdlib.h>

/**
 * chat_edits_init() - Prepare an empty list
 * @x:		Caller's memory
 * @max_bytes:	Ceiling of all new texts
 */
void chat_edits_init(struct chat_edits *x, size_t max_bytes)
{
	*x = (struct chat_edits){.count = 0};
	buf_init(&x->texts, max_bytes);
}

/** chat_edits_fini() - Release a list; a zeroed one is accepted */
void chat_edits_fini(struct chat_edits *x)
{
	buf_fini(&x->texts);
	free(x->items);
	x->items = NULL;
	x->count = x->cap = 0;
}

/**
 * chat_edits_add() - Replace bytes by the end of x->texts
 * @x:		List
 * @at_bytes:	First byte to replace
 * @len_bytes:	How many; 0 inserts
 * @text_at:	Where the new text begins in x->texts
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err chat_edits_add(struct chat_edits *x, size_t at_bytes, size_t len_bytes,
			size_t text_at)
{
	size_t cap = x->cap ? 2 * x->cap : 8;
	struct chat_edit *more;

	if (x->count == x->cap) {
		more = realloc(x->items, cap * sizeof(*more));
		if (!more)
			return ERR_MEMORY;
		x->items = more;
		x->cap = cap;
	}
	x->items[x->count++] = (struct chat_edit){at_bytes, len_bytes, text_at,
						  x->texts.len_bytes - text_at};
	return ERR_OK;
}

/** chat_edits_replace() - Replace a value; see chat_edits_add() */
enum err chat_edits_replace(struct chat_edits *x, const struct json *j,
			    json_ref at, const char *text)
{
	size_t text_at = x->texts.len_bytes;
	enum err e = buf_put_text(&x->texts, text);

	if (e != ERR_OK)
		return e;
	return chat_edits_add(x, json_offset(j, at), json_raw(j, at).len_bytes,
			      text_at);
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/**
 * chat_edits_remove() - Remove a member of an object, and one comma
 * @x:		List
 * @j:		Document; two neighbours must not both be removed
 * @member:	Its value
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err chat_edits_remove(struct chat_edits *x, const struct json *j,
			   json_ref member)
{
	const uint8_t *text = j->text.data;
	size_t from = j->tokens[member].key_at_bytes - 1;
	size_t to = json_offset(j, member) + json_raw(j, member).len_bytes;
	size_t at = to;

	while (is_space(text[at]))
		at++;
	if (text[at] == ',') {
		to = at + 1;
	} else {
		for (at = from; is_space(text[at - 1]); at--)
			;
		if (text[at - 1] == ',')
			from = at - 1;
	}
	return chat_edits_add(x, from, to - from, x->texts.len_bytes);
}

static int by_place(const void *a, const void *b)
{
	const struct chat_edit *x = a, *y = b;

	if (x->at_bytes != y->at_bytes)
		return x->at_bytes < y->at_bytes ? -1 : 1;
	/* What is inserted comes before what is replaced there. */
	if (x->len_bytes != y->len_bytes)
		return x->len_bytes < y->len_bytes ? -1 : 1;
	return x->text_at < y->text_at ? -1 : x->text_at > y->text_at;
}

/**
 * chat_edits_put() - Append the changed text
 * @x:		List; sorted here
 * @text:	The whole text that the changes are of
 * @out:	Buffer
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_STATE for changes that overlap.
 */
enum err chat_edits_put(struct chat_edits *x, struct span text, struct buf *out)
{
	enum err e = ERR_OK;
	size_t at = 0, i;

	if (x->count)
		qsort(x->items, x->count, sizeof(x->items[0]), by_place);
	for (i = 0; e == ERR_OK && i < x->count; i++) {
		const struct chat_edit *d = &x->items[i];

		if (d->at_bytes < at)
			return ERR_STATE;
		e = buf_put(out, text.data + at, d->at_bytes - at);
		if (e == ERR_OK && d->text_len)
			e = buf_put(out, x->texts.data + d->text_at,
				    d->text_len);
		at = d->at_bytes + d->len_bytes;
	}
	if (e == ERR_OK)
		e = buf_put(out, text.data + at, text.len_bytes - at);
	return e;
}
