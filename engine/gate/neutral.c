/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neutral.c - requests and responses in no dialect, between two of them
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: sizes and counts are bounded here.
 * Never:   keeps a span into a caller's memory that it did not copy, except
 *	    where the caller put it.
 *
 * Theory of operation. A request of one dialect becomes another's by way of
 * struct neutral_request: messages, their parts and the tools, in order, in
 * arrays. Spans may point into the request's body, which outlives it, or into
 * memory kept here. A tool result owns the parts that follow it directly. A
 * response is a sequence of struct neutral_event, from the wire dialect's
 * reader to the client dialect's writer.
 */
#include "engine/gate/neutral.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "engine/gate/neutral_names.h"

#define CHUNK_BYTES 16384u

struct chunk {
	SLIST_ENTRY(chunk) next;
	size_t used, cap;
	uint8_t data[];
};

struct neutral_store {
	SLIST_HEAD(, chunk) chunks;
	size_t bytes;
};

/** neutral_request_init() - Make an empty request */
void neutral_request_init(struct neutral_request *r)
{
	memset(r, 0, sizeof(*r));
	r->parallel = -1;
}

/** neutral_request_fini() - Release a request's memory */
void neutral_request_fini(struct neutral_request *r)
{
	struct chunk *c;

	free(r->messages);
	free(r->parts);
	free(r->tools);
	neutral_names_free(r->names);
	if (r->store) {
		while ((c = SLIST_FIRST(&r->store->chunks))) {
			SLIST_REMOVE_HEAD(&r->store->chunks, next);
			free(c);
		}
		free(r->store);
	}
	neutral_request_init(r);
}

/**
 * neutral_keep() - Copy bytes into memory that lives as long as the request
 * @r:		Request
 * @bytes:	Bytes; may be empty
 * @ret_kept:	The copy; its data is never NULL
 *
 * Return: ERR_OK; ERR_LIMIT past NEUTRAL_KEPT_BYTES; ERR_MEMORY.
 */
enum err neutral_keep(struct neutral_request *r, struct span bytes,
		      struct span *ret_kept)
{
	size_t want = bytes.len_bytes ? bytes.len_bytes : 1;
	struct chunk *c;

	if (!r->store) {
		r->store = calloc(1, sizeof(*r->store));
		if (!r->store)
			return ERR_MEMORY;
	}
	if (want > NEUTRAL_KEPT_BYTES - r->store->bytes)
		return ERR_LIMIT;
	c = SLIST_FIRST(&r->store->chunks);
	if (!c || c->cap - c->used < want) {
		size_t cap = want > CHUNK_BYTES ? want : CHUNK_BYTES;

		c = malloc(sizeof(*c) + cap);
		if (!c)
			return ERR_MEMORY;
		c->used = 0;
		c->cap = cap;
		SLIST_INSERT_HEAD(&r->store->chunks, c, next);
	}
	if (bytes.len_bytes)
		memcpy(c->data + c->used, bytes.data, bytes.len_bytes);
	*ret_kept = span_of(c->data + c->used, bytes.len_bytes);
	c->used += want;
	r->store->bytes += want;
	return ERR_OK;
}

/* Room for one more of @size bytes; arrays double. */
static enum err grow(void **array, uint32_t count, uint32_t max, size_t size)
{
	void *more;

	if (count >= max)
		return ERR_LIMIT;
	if (count & (count - 1) || (count && count < 8))
		return ERR_OK;
	more = realloc(*array, size * (count ? 2 * (size_t)count : 8));
	if (!more)
		return ERR_MEMORY;
	*array = more;
	return ERR_OK;
}

/**
 * neutral_add_message() - Begin the next message
 * @r:		Request
 * @role:	Who speaks
 *
 * Return: ERR_OK; ERR_LIMIT past NEUTRAL_MESSAGES_MAX; ERR_MEMORY.
 */
enum err neutral_add_message(struct neutral_request *r, enum neutral_role role)
{
	void *array = r->messages;
	enum err e = grow(&array, r->message_count, NEUTRAL_MESSAGES_MAX,
			  sizeof(*r->messages));

	r->messages = array;
	if (e == ERR_OK)
		r->messages[r->message_count++] =
			(struct neutral_message){role, r->part_count, 0};
	return e;
}

static enum err add_part(struct neutral_request *r,
			 const struct neutral_part *part)
{
	void *array = r->parts;
	enum err e = grow(&array, r->part_count, NEUTRAL_PARTS_MAX,
			  sizeof(*r->parts));

	r->parts = array;
	if (e != ERR_OK)
		return e;
	r->parts[r->part_count++] = *part;
	r->messages[r->message_count - 1].part_count++;
	return ERR_OK;
}

/**
 * neutral_add_part() - Append a part to the last message
 * @r:		Request with a message
 * @part:	Part; copied, its spans are not. `nested` is counted here.
 *
 * Return: ERR_OK; ERR_LIMIT past NEUTRAL_PARTS_MAX; ERR_MEMORY.
 */
enum err neutral_add_part(struct neutral_request *r,
			  const struct neutral_part *part)
{
	struct neutral_part copy = *part;

	copy.nested = 0;
	return add_part(r, &copy);
}

/**
 * neutral_add_nested() - Append a part to the last tool result
 * @r:		Request whose last part of its own is a tool result
 * @part:	Part; copied, its spans are not
 *
 * Return: as neutral_add_part(); ERR_STATE without a tool result.
 */
enum err neutral_add_nested(struct neutral_request *r,
			    const struct neutral_part *part)
{
	struct neutral_part copy = *part;
	uint32_t at = r->part_count, last;
	enum err e;

	last = r->message_count ? r->messages[r->message_count - 1].first_part
				: at;
	while (at > last && r->parts[at - 1].kind != NEUTRAL_TOOL_RESULT)
		at--;
	if (at <= last || r->parts[at - 1].nested != r->part_count - at)
		return ERR_STATE;
	copy.nested = 0;
	e = add_part(r, &copy);
	if (e == ERR_OK)
		r->parts[at - 1].nested++;
	return e;
}

/**
 * neutral_add_tool() - Append a tool
 * @r:		Request
 * @tool:	Tool; copied, its spans are not
 *
 * Return: ERR_OK; ERR_LIMIT past NEUTRAL_TOOLS_MAX; ERR_MEMORY.
 */
enum err neutral_add_tool(struct neutral_request *r,
			  const struct neutral_tool *tool)
{
	void *array = r->tools;
	enum err e = grow(&array, r->tool_count, NEUTRAL_TOOLS_MAX,
			  sizeof(*r->tools));

	r->tools = array;
	if (e == ERR_OK)
		r->tools[r->tool_count++] = *tool;
	return e;
}

/**
 * neutral_drop() - Note that a field was left out without harm
 * @r:		Request
 * @field:	Its name; noted once. Past the limit the last note says "..."
 */
void neutral_drop(struct neutral_request *r, const char *field)
{
	uint32_t i;

	for (i = 0; i < r->dropped_count; i++)
		if (strncmp(r->dropped[i], field, sizeof(r->dropped[i]) - 1) ==
		    0)
			return;
	if (r->dropped_count == NEUTRAL_DROPPED_MAX) {
		(void)snprintf(r->dropped[NEUTRAL_DROPPED_MAX - 1],
			       sizeof(r->dropped[0]), "...");
		return;
	}
	(void)snprintf(r->dropped[r->dropped_count++], sizeof(r->dropped[0]),
		       "%s", field);
}

/**
 * neutral_refuse() - A field that cannot be translated changes the meaning
 * @r:		Request; error_text is set
 * @field:	Its path, e.g. "messages[].content[].audio"
 * @why:	Sentence fragment
 *
 * Return: ERR_UNSUPPORTED, for the caller to return.
 */
enum err neutral_refuse(struct neutral_request *r, const char *field,
			const char *why)
{
	(void)snprintf(r->error_text, sizeof(r->error_text), "%s: %s", field,
		       why);
	return ERR_UNSUPPORTED;
}
