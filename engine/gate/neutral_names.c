/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neutral_names.c - call ids and tool names that every wire accepts
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing. A guest that makes two of its own names collide confuses
 *	    its own model: a call is judged by the name that the guest gets.
 * Never:   changes a name that every wire accepts.
 *
 * Theory of operation. The narrowest rule of all providers (Bedrock, OpenAI)
 * is 1 to 64 characters of [A-Za-z0-9_-]. Any other name becomes its first
 * characters, the foreign ones replaced, and a hash of all of it, so that the
 * same name is the same in every request and prompts stay cached. The table of
 * renamed tools turns the names of a response back.
 *
 * Some models number their calls anew in every turn, and Anthropic's and
 * Bedrock's APIs refuse an id that comes twice. A repeated id gets a number,
 * and a result belongs to the oldest call of its id in the last message that
 * has such calls, or to the last one when all have results.
 */
#include "engine/gate/neutral_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gate/neutral_tools.h"
#include "engine/gate/reply.h"

#define PREFIX_BYTES (NEUTRAL_NAME_MAX_BYTES - 17u) /* '_' and 16 digits */
#define NO_CALL      UINT32_MAX

struct name_pair {
	char wire[NEUTRAL_NAME_MAX_BYTES + 1];
	char client[TOOL_NAME_MAX_BYTES + 1];
};

struct name_note {
	char client[TOOL_NAME_MAX_BYTES + 1];
	char note[TOOL_NAME_MAX_BYTES + 1];
};

struct neutral_names {
	uint32_t count, cap;
	struct name_pair *pairs;
	uint32_t note_count, note_cap;
	struct name_note *notes;
};

/* The calls that have one id. */
struct id_entry {
	struct span id; /* as the client wrote it; no data: empty slot */
	uint32_t calls; /* so far */
	uint32_t message;
	uint32_t oldest, newest; /* parts without a result, or NO_CALL */
	struct span settled;     /* of the newest call */
};

struct id_table {
	struct id_entry *slots;
	uint32_t mask;
	uint32_t *next; /* for each part: the next call of the same id */
};

static bool is_plain(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static bool is_accepted(struct span s)
{
	size_t i;

	if (s.len_bytes == 0 || s.len_bytes > NEUTRAL_NAME_MAX_BYTES)
		return false;
	for (i = 0; i < s.len_bytes; i++)
		if (!is_plain(s.data[i]))
			return false;
	return true;
}

/* FNV-1a, 64 bits. */
static uint64_t hash_of(struct span s)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		h = (h ^ s.data[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* Another name for the n-th use of @s; the first use may keep its own. */
static enum err make_name(struct neutral_request *r, struct span s, uint32_t n,
			  struct span *ret_name)
{
	char name[NEUTRAL_NAME_MAX_BYTES + 1];
	size_t i, len = s.len_bytes < PREFIX_BYTES ? s.len_bytes : PREFIX_BYTES;
	uint64_t h = hash_of(s) ^ n * UINT64_C(0x9e3779b97f4a7c15);

	for (i = 0; i < len; i++)
		name[i] = (char)(is_plain(s.data[i]) ? s.data[i] : '_');
	(void)snprintf(name + len, sizeof(name) - len, "_%016llx",
		       (unsigned long long)h);
	return neutral_keep(r, span_text(name), ret_name);
}

static struct name_pair *find_client(const struct neutral_names *n,
				     struct span name)
{
	uint32_t i;

	for (i = 0; n && i < n->count; i++)
		if (span_is(name, n->pairs[i].client))
			return &n->pairs[i];
	return NULL;
}

static enum err add_pair(struct neutral_request *r, struct span client,
			 struct span wire)
{
	struct neutral_names *n = r->names;
	struct name_pair *p;
	enum err e;

	if (!n)
		n = r->names = calloc(1, sizeof(*n));
	if (!n)
		return ERR_MEMORY;
	if (n->count == NEUTRAL_TOOLS_MAX)
		return ERR_LIMIT;
	if (n->count == n->cap) {
		uint32_t cap = n->cap ? 2 * n->cap : 8;

		p = realloc(n->pairs, cap * sizeof(*p));
		if (!p)
			return ERR_MEMORY;
		n->pairs = p;
		n->cap = cap;
	}
	p = &n->pairs[n->count];
	e = span_copy_text(wire, p->wire, sizeof(p->wire));
	if (e == ERR_OK)
		e = span_copy_text(client, p->client, sizeof(p->client));
	if (e == ERR_OK)
		n->count++;
	return e;
}

static enum err settle_name(struct neutral_request *r, struct span *name)
{
	const struct name_pair *known;
	struct span wire;
	enum err e;

	if (is_accepted(*name))
		return ERR_OK;
	known = find_client(r->names, *name);
	if (known)
		return neutral_keep(r, span_text(known->wire), name);
	if (name->len_bytes == 0 || name->len_bytes > TOOL_NAME_MAX_BYTES ||
	    memchr(name->data, 0, name->len_bytes))
		return neutral_malformed(r, "a tool's name",
					 "empty, too long or with a NUL");
	e = make_name(r, *name, 0, &wire);
	if (e == ERR_OK)
		e = add_pair(r, *name, wire);
	if (e == ERR_OK)
		*name = wire;
	return e;
}

static struct id_entry *find_id(struct id_table *t, struct span id)
{
	uint32_t at = (uint32_t)hash_of(id) & t->mask;

	while (t->slots[at].id.data && !span_equal(t->slots[at].id, id))
		at = (at + 1) & t->mask;
	return &t->slots[at];
}

static enum err settle_call(struct neutral_request *r, struct id_table *t,
			    uint32_t message, uint32_t part)
{
	struct neutral_part *p = &r->parts[part];
	struct id_entry *x;
	enum err e = ERR_OK;

	if (!p->id.data)
		p->id = span_text("");
	x = find_id(t, p->id);
	if (!x->id.data)
		*x = (struct id_entry){.id = p->id, .oldest = NO_CALL};
	/* Calls that an earlier turn left without results stay without. */
	if (x->message != message)
		x->oldest = NO_CALL;
	if (x->oldest == NO_CALL)
		x->oldest = part;
	else
		t->next[x->newest] = part;
	t->next[part] = NO_CALL;
	x->newest = part;
	x->message = message;
	if (x->calls > 0 || !is_accepted(x->id))
		e = make_name(r, x->id, x->calls, &p->id);
	x->calls++;
	x->settled = p->id;
	return e;
}

static enum err settle_result(struct neutral_request *r, struct id_table *t,
			      uint32_t part)
{
	struct neutral_part *p = &r->parts[part];
	struct id_entry *x;

	if (!p->id.data)
		p->id = span_text("");
	x = find_id(t, p->id);
	if (!x->id.data)
		return is_accepted(p->id) ? ERR_OK
					  : make_name(r, p->id, 0, &p->id);
	p->id = x->settled;
	if (x->oldest != NO_CALL) {
		p->id = r->parts[x->oldest].id;
		x->oldest = t->next[x->oldest];
	}
	return ERR_OK;
}

static enum err settle_ids(struct neutral_request *r, struct id_table *t)
{
	enum err e = ERR_OK;
	uint32_t m, i;

	for (m = 0; e == ERR_OK && m < r->message_count; m++) {
		const struct neutral_message *msg = &r->messages[m];

		for (i = 0; e == ERR_OK && i < msg->part_count; i++) {
			uint32_t part = msg->first_part + i;

			if (r->parts[part].kind == NEUTRAL_TOOL_CALL)
				e = settle_call(r, t, m, part);
			else if (r->parts[part].kind == NEUTRAL_TOOL_RESULT)
				e = settle_result(r, t, part);
		}
	}
	return e;
}

/**
 * neutral_settle_names() - Give calls and tools names that any wire accepts
 * @r:	A whole request, as its dialect's reader left it; call once
 *
 * Afterwards each call's id is unique, and ids and names of calls, results,
 * tools and the choice are 1 to NEUTRAL_NAME_MAX_BYTES of [A-Za-z0-9_-].
 * Renamed tools are in r->names.
 *
 * Return: ERR_OK; ERR_FORMAT for a name that is none, with error_text;
 *	   ERR_LIMIT; ERR_MEMORY.
 */
enum err neutral_settle_names(struct neutral_request *r)
{
	struct id_table t = {.mask = 15};
	enum err e = ERR_OK;
	uint32_t i, calls = 0;

	for (i = 0; e == ERR_OK && i < r->tool_count; i++)
		e = settle_name(r, &r->tools[i].name);
	if (e == ERR_OK && r->choice == NEUTRAL_CHOICE_NAMED)
		e = settle_name(r, &r->choice_name);
	for (i = 0; e == ERR_OK && i < r->part_count; i++) {
		if (r->parts[i].kind != NEUTRAL_TOOL_CALL)
			continue;
		calls++;
		e = settle_name(r, &r->parts[i].name);
	}
	if (e != ERR_OK)
		return e;
	while (t.mask < 2 * calls)
		t.mask = 2 * t.mask + 1;
	t.slots = calloc((size_t)t.mask + 1, sizeof(*t.slots));
	t.next = calloc((size_t)r->part_count + 1, sizeof(*t.next));
	e = t.slots && t.next ? settle_ids(r, &t) : ERR_MEMORY;
	free(t.slots);
	free(t.next);
	return e;
}

/**
 * neutral_names_copy() - Copy a table of renamed tools
 * @n:	May be NULL
 *
 * Return: owned by the caller, for neutral_names_free(); NULL for NULL or
 *	   without memory.
 */
struct neutral_names *neutral_names_copy(const struct neutral_names *n)
{
	struct neutral_names *copy;

	if (!n || (!n->count && !n->note_count))
		return NULL;
	copy = calloc(1, sizeof(*copy));
	if (!copy)
		return NULL;
	copy->pairs = calloc(n->count + 1, sizeof(*copy->pairs));
	copy->notes = calloc(n->note_count + 1, sizeof(*copy->notes));
	if (!copy->pairs || !copy->notes) {
		neutral_names_free(copy);
		return NULL;
	}
	if (n->count)
		memcpy(copy->pairs, n->pairs, n->count * sizeof(*copy->pairs));
	if (n->note_count)
		memcpy(copy->notes, n->notes,
		       n->note_count * sizeof(*copy->notes));
	copy->count = n->count;
	copy->cap = n->count + 1;
	copy->note_count = n->note_count;
	copy->note_cap = n->note_count + 1;
	return copy;
}

/** neutral_names_free() - Release a table; NULL is accepted */
void neutral_names_free(struct neutral_names *n)
{
	if (!n)
		return;
	free(n->pairs);
	free(n->notes);
	free(n);
}

/**
 * neutral_names_find() - The client's name of a tool
 * @n:		Table, or NULL
 * @name:	As the wire calls it
 *
 * Return: the client's name inside @n, or @name itself.
 */
struct span neutral_names_find(const struct neutral_names *n, struct span name)
{
	uint32_t i;

	for (i = 0; n && i < n->count; i++)
		if (span_is(name, n->pairs[i].wire))
			return span_text(n->pairs[i].client);
	return name;
}

static struct name_note *find_note(const struct neutral_names *n,
				   struct span client)
{
	uint32_t i;

	for (i = 0; n && i < n->note_count; i++)
		if (span_is(client, n->notes[i].client))
			return &n->notes[i];
	return NULL;
}

/**
 * neutral_names_add_note() - Keep what a tool's name alone does not say
 * @r:		Request
 * @client:	Tool's name as the client knows it; a second note replaces
 * @note:	In the client dialect's own terms, without a NUL
 *
 * Return: ERR_OK; ERR_FORMAT for a NUL; ERR_LIMIT past NEUTRAL_TOOLS_MAX or
 *	   TOOL_NAME_MAX_BYTES; ERR_MEMORY.
 */
enum err neutral_names_add_note(struct neutral_request *r, struct span client,
				struct span note)
{
	struct neutral_names *n = r->names;
	struct name_note *at;
	enum err e;

	if (!n)
		n = r->names = calloc(1, sizeof(*n));
	if (!n)
		return ERR_MEMORY;
	at = find_note(n, client);
	if (at)
		return span_copy_text(note, at->note, sizeof(at->note));
	if (n->note_count == NEUTRAL_TOOLS_MAX)
		return ERR_LIMIT;
	if (n->note_count == n->note_cap) {
		uint32_t cap = n->note_cap ? 2 * n->note_cap : 8;

		at = realloc(n->notes, cap * sizeof(*at));
		if (!at)
			return ERR_MEMORY;
		n->notes = at;
		n->note_cap = cap;
	}
	at = &n->notes[n->note_count];
	e = span_copy_text(client, at->client, sizeof(at->client));
	if (e == ERR_OK)
		e = span_copy_text(note, at->note, sizeof(at->note));
	if (e == ERR_OK)
		n->note_count++;
	return e;
}

/**
 * neutral_names_note() - What was noted about a tool
 * @n:		Table, or NULL
 * @client:	As the client calls it
 *
 * Return: inside @n; empty without a note.
 */
struct span neutral_names_note(const struct neutral_names *n,
			       struct span client)
{
	const struct name_note *at = find_note(n, client);

	return span_text(at ? at->note : "");
}
