/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dangling.c - which intents of the log have no outcome yet
 *
 * Runs in: kenaz-audit, when it recovers.
 * Trusts:  events that were checked against the tree.
 * Never:   guesses an outcome: what is open is "outcome unknown".
 *
 * An outcome closes the intent of its session that it names in kenaz.intent
 * (a seq), else the one that shares a linking attribute, else the oldest
 * open one of its kind. engine.start closes everything: when core went, all
 * that it had started went too, and the recovery before it said so. A session
 * that went on is opened again by its session.adopted.
 */
#include "engine/audit/dangling.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const links[] = {
	"gen_ai.tool.call.id", "kenaz.tool.call_id", "kenaz.request",
	"kenaz.grant",         "kenaz.tunnel",
};

/** dangling_init() - Nothing is open */
void dangling_init(struct dangling *d)
{
	*d = (struct dangling){0};
}

/** dangling_fini() - Release memory */
void dangling_fini(struct dangling *d)
{
	free(d->items);
	*d = (struct dangling){0};
}

/** dangling_count() - How many intents are open */
uint64_t dangling_count(const struct dangling *d)
{
	return d->count + d->not_followed;
}

/* Copies what fits: a link that is cut only links less well. */
static void copy_cut(struct span s, char *out, size_t cap)
{
	size_t len = s.len_bytes < cap ? s.len_bytes : cap - 1;

	if (len)
		memcpy(out, s.data, len);
	out[len] = '\0';
}

static void find_link(const struct record_view *view,
		      char out[DANGLING_LINK_MAX_BYTES + 1])
{
	char value[DANGLING_LINK_MAX_BYTES + 1];
	struct record_value v;
	size_t i;

	out[0] = '\0';
	for (i = 0; i < ARRAY_SIZE(links); i++) {
		if (!record_attr_find(view, links[i], &v))
			continue;
		if (v.type == ATTR_TEXT)
			copy_cut(v.text, value, sizeof(value));
		else
			(void)snprintf(value, sizeof(value), "%" PRId64, v.i64);
		(void)snprintf(out, DANGLING_LINK_MAX_BYTES + 1, "%.30s=%.96s",
			       links[i], value);
		return;
	}
}

static enum err open_item(struct dangling *d, const struct dangling_item *item)
{
	struct dangling_item *items;
	size_t cap;

	if (d->count == DANGLING_OPEN_MAX) {
		d->not_followed++;
		return ERR_OK;
	}
	if (d->count == d->cap) {
		cap = d->cap ? d->cap * 2 : 64;
		items = reallocarray(d->items, cap, sizeof(*items));
		if (!items)
			return ERR_MEMORY;
		d->items = items;
		d->cap = cap;
	}
	d->items[d->count++] = *item;
	return ERR_OK;
}

static void close_at(struct dangling *d, size_t at)
{
	d->count--;
	memmove(d->items + at, d->items + at + 1,
		(d->count - at) * sizeof(*d->items));
}

static bool closes(const struct dangling_item *item, struct span kind,
		   struct span session)
{
	const char *by = kind_closed_by(item->kind);

	return by && span_is(kind, by) && span_is(session, item->session);
}

static void close_item(struct dangling *d, const struct record_view *view)
{
	char link[DANGLING_LINK_MAX_BYTES + 1];
	struct record_value v;
	size_t i, found = d->count;
	bool named = record_attr_find(view, DANGLING_ATTR_INTENT, &v) &&
		     v.type == ATTR_I64;

	find_link(view, link);
	for (i = d->count; i-- > 0;) {
		const struct dangling_item *item = &d->items[i];

		if (!closes(item, view->kind, view->session))
			continue;
		if (named && (int64_t)item->seq != v.i64)
			continue;
		if (!named && link[0] && item->link[0] &&
		    strcmp(link, item->link) != 0)
			continue;
		found = i;
		if (!named && link[0] && item->link[0])
			break;
	}
	if (found < d->count)
		close_at(d, found);
	else if (d->not_followed)
		d->not_followed--;
}

/* Not an intent: a session that was there when core went. */
static bool is_session(const struct dangling_item *item)
{
	return item->kind == KIND_SESSION_START ||
	       item->kind == KIND_SESSION_ADOPTED;
}

/* They go on, and the next engine says session.adopted or session.end. */
static void drop_left_sessions(struct dangling *d,
			       const struct record_view *view)
{
	struct record_value v;
	size_t i, kept = 0;

	if (!record_attr_find(view, DANGLING_ATTR_LEFT, &v))
		return;
	for (i = 0; i < d->count; i++)
		if (!is_session(&d->items[i]))
			d->items[kept++] = d->items[i];
	d->count = kept;
}

/* Sessions that an earlier recovery left open, and that core kept. */
static enum err reopen_sessions(struct dangling *d,
				const struct record_view *view)
{
	struct dangling_item item = {.seq = view->seq,
				     .kind = KIND_SESSION_START};
	struct record_value v;
	struct span name;
	enum err e = ERR_OK;
	struct canon c;

	if (!record_attr_find(view, DANGLING_ATTR_SESSIONS, &v) ||
	    v.type != ATTR_LIST)
		return ERR_OK;
	canon_init(&c, v.text);
	while (e == ERR_OK && record_list_next(&c, &name)) {
		copy_cut(name, item.session, sizeof(item.session));
		e = open_item(d, &item);
	}
	return e;
}

/**
 * dangling_feed() - Follow the log by one event
 * @d:		State
 * @view:	The next event, borrowed
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err dangling_feed(struct dangling *d, const struct record_view *view)
{
	struct dangling_item item = {.seq = view->seq};

	if (!kind_find(view->kind, &item.kind))
		return ERR_OK;
	if (item.kind == KIND_ENGINE_START) {
		d->count = 0;
		d->not_followed = 0;
		return ERR_OK;
	}
	if (item.kind == KIND_LOG_RECOVERED)
		return reopen_sessions(d, view);
	if (item.kind == KIND_ENGINE_STOP)
		drop_left_sessions(d, view);
	if (!kind_closed_by(item.kind)) {
		close_item(d, view);
		return ERR_OK;
	}
	copy_cut(view->session, item.session, sizeof(item.session));
	find_link(view, item.link);
	return open_item(d, &item);
}

static enum err put_list(const struct dangling *d, bool sessions,
			 struct buf *out)
{
	static char texts[DANGLING_LISTED_MAX][160];
	struct span items[DANGLING_LISTED_MAX];
	size_t i, count = 0;

	for (i = 0; i < d->count && count < DANGLING_LISTED_MAX; i++) {
		const struct dangling_item *item = &d->items[i];

		if (is_session(item) != sessions)
			continue;
		if (sessions)
			(void)snprintf(texts[count], sizeof(texts[count]), "%s",
				       item->session);
		else
			(void)snprintf(texts[count], sizeof(texts[count]),
				       "%" PRIu64 " %s %s: outcome unknown",
				       item->seq, kind_text(item->kind),
				       item->session[0] ? item->session : "-");
		items[count] = span_text(texts[count]);
		count++;
	}
	return attrs_put_list(out,
			      sessions ? DANGLING_ATTR_SESSIONS
				       : DANGLING_ATTR_INTENTS,
			      items, count);
}

/**
 * dangling_attrs() - Append what log.recovered says about open intents
 * @d:		State
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_FORMAT.
 */
enum err dangling_attrs(const struct dangling *d, struct buf *out)
{
	enum err e = attrs_put_u64(out, DANGLING_ATTR_COUNT, dangling_count(d));

	if (e == ERR_OK)
		e = put_list(d, false, out);
	return e == ERR_OK ? put_list(d, true, out) : e;
}
