/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages.c - queries: pages of stored events, a bounded step at a time
 *
 * Runs in: kenaz-audit.
 * Trusts:  core for who may read what.
 * Never:   looks at more than SERVICE_SCAN_ROWS rows in a loop turn; filters
 *	    by an index that the tree does not cover: it reads the events.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/audit/service.h"

#define DIGEST_PREFIX_MIN 8u /* hex digits */

/* A query that waits or runs; kept in a list, served in turn. */
struct query {
	struct query *next;
	uint64_t request;
	uint64_t at; /* next seq to look at */
	bool backward;
	bool full; /* the page is */
	bool end;  /* no event is left in this direction */
	uint32_t left;
	char session[RECORD_SESSION_MAX_BYTES + 1];
	char kind[KIND_MAX_BYTES + 1];
	char image[IMAGE_FILTER_MAX_BYTES + 1];
	bool gathering;      /* sessions of the image, before the walk */
	uint64_t gather_at;  /* next seq to look at for them */
	struct buf sessions; /* length-prefixed names */
	struct buf events;   /* length-prefixed, in the order of the walk */
};

static void query_free(struct query *q)
{
	if (!q)
		return;
	buf_fini(&q->sessions);
	buf_fini(&q->events);
	free(q);
}

static void refuse(struct service *s, uint64_t request, enum err error)
{
	struct msg_audit_page m = {.request = request,
				   .error = error,
				   .last = 1,
				   .log_size = store_size(s->store)};

	service_check(s, chan_send_audit_page(s->core, &m, NULL, 0));
}

/**
 * pages_ask() - Take a query up
 * @s:	Service
 * @m:	Query, borrowed
 *
 * Return: ERR_OK, also when it was refused.
 */
enum err pages_ask(struct service *s, const struct msg_audit_query *m)
{
	uint64_t size = store_size(s->store);
	struct query *q, **at = &s->queries;

	if (s->query_count == SERVICE_QUERIES_MAX ||
	    !(q = calloc(1, sizeof(*q)))) {
		refuse(s, m->request, ERR_LIMIT);
		return ERR_OK;
	}
	q->request = m->request;
	q->backward = m->backward != 0;
	q->at = m->from_seq;
	if (q->backward && q->at >= size)
		q->at = size - 1;
	q->left = m->max_events > SERVICE_PAGE_EVENTS_MAX
			  ? SERVICE_PAGE_EVENTS_MAX
			  : m->max_events;
	buf_init(&q->events, SERVICE_PAGE_BYTES);
	buf_init(&q->sessions, SERVICE_QUERY_SESSIONS_BYTES);
	q->gathering = m->image.len_bytes > 0;
	if (span_copy_text(m->session, q->session, sizeof(q->session)) !=
		    ERR_OK ||
	    span_copy_text(m->kind, q->kind, sizeof(q->kind)) != ERR_OK ||
	    span_copy_text(m->image, q->image, sizeof(q->image)) != ERR_OK) {
		query_free(q);
		refuse(s, m->request, ERR_FORMAT);
		return ERR_OK;
	}
	while (*at)
		at = &(*at)->next;
	*at = q;
	s->query_count++;
	service_wake(s);
	return ERR_OK;
}

static bool gathered(const struct query *q, struct span session)
{
	struct reader r;

	reader_init(&r, buf_span(&q->sessions));
	while (reader_left(&r))
		if (span_equal(reader_get_lp(&r, RECORD_SESSION_MAX_BYTES),
			       session))
			return true;
	return false;
}

/* Whether a digest begins with what was asked for; enough of it to mean it. */
static bool begins(struct span digest, const char *asked)
{
	size_t len = strlen(asked);

	return len >= DIGEST_PREFIX_MIN && len <= digest.len_bytes &&
	       memcmp(digest.data, asked, len) == 0;
}

static bool names_image(const struct record_view *view, const char *image)
{
	static const char *const digests[] = {"kenaz.image.manifest",
					      "kenaz.image.kernel",
					      "kenaz.image.initrd",
					      "kenaz.vm.fingerprint"};
	struct record_value v;
	size_t i;

	if (record_attr_find(view, "kenaz.image.name", &v) &&
	    v.type == ATTR_TEXT && span_is(v.text, image))
		return true;
	for (i = 0; i < ARRAY_SIZE(digests); i++)
		if (record_attr_find(view, digests[i], &v) &&
		    v.type == ATTR_TEXT && begins(v.text, image))
			return true;
	return false;
}

/* What a session ran on is said by these two; a VM that waited for its
 * session may have said the first under no session's name. */
static enum err gather(void *context, uint64_t seq,
		       const struct tree_hash *leaf, struct span bytes)
{
	struct query *q = context;
	struct record_view view;
	const char *fault;

	(void)leaf;
	q->gather_at = seq + 1;
	if (record_read(bytes, &view, &fault) != ERR_OK ||
	    view.session.len_bytes == 0 ||
	    (!span_is(view.kind, "vm.start") &&
	     !span_is(view.kind, "session.start")) ||
	    gathered(q, view.session) || !names_image(&view, q->image))
		return ERR_OK;
	return buf_put_lp(&q->sessions, view.session);
}

static bool wanted(const struct query *q, struct span bytes)
{
	struct record_view view;
	const char *fault;

	if (!q->session[0] && !q->kind[0] && !q->image[0])
		return true;
	/* A damaged event is shown rather than hidden. */
	if (record_read(bytes, &view, &fault) != ERR_OK)
		return true;
	return (!q->session[0] || span_is(view.session, q->session)) &&
	       (!q->image[0] || gathered(q, view.session)) &&
	       (!q->kind[0] || span_is(view.kind, q->kind));
}

static enum err take(void *context, uint64_t seq, const struct tree_hash *leaf,
		     struct span bytes)
{
	struct query *q = context;
	enum err e;

	(void)leaf;
	if (wanted(q, bytes)) {
		e = q->left ? buf_put_lp(&q->events, bytes) : ERR_LIMIT;
		if (e == ERR_LIMIT) {
			q->full = true;
			q->at = seq;
			return ERR_AGAIN; /* ends the walk */
		}
		if (e != ERR_OK)
			return e;
		q->left--;
	}
	if (q->backward && seq == 0)
		q->end = true;
	q->at = q->backward ? seq - 1 : seq + 1;
	return ERR_OK;
}

/* A page is oldest first, whichever way it was walked. */
static enum err reverse(struct buf *events)
{
	struct buf out;
	struct reader r;
	uint8_t *at;
	size_t total = events->len_bytes, end = total;
	enum err e;

	buf_init(&out, SERVICE_PAGE_BYTES);
	e = buf_reserve(&out, total, &at);
	reader_init(&r, buf_span(events));
	while (e == ERR_OK && reader_left(&r)) {
		size_t start = r.pos_bytes, len;

		(void)reader_get_lp(&r, SERVICE_PAGE_BYTES);
		len = r.pos_bytes - start;
		end -= len;
		memcpy(out.data + end, events->data + start, len);
	}
	buf_fini(events);
	*events = out;
	return e;
}

static void answer(struct service *s, struct query *q, enum err e)
{
	struct msg_audit_page m = {.request = q->request,
				   .last = q->end ? 1 : 0,
				   .next_seq =
					   q->end && q->backward ? 0 : q->at,
				   .log_size = store_size(s->store)};

	if (e == ERR_OK && q->backward)
		e = reverse(&q->events);
	m.error = e;
	if (e == ERR_OK)
		m.events = buf_span(&q->events);
	else
		m.last = 1;
	service_check(s, chan_send_audit_page(s->core, &m, NULL, 0));
}

static enum err walk(struct service *s, struct query *q)
{
	uint64_t size = store_size(s->store), count = SERVICE_SCAN_ROWS;
	enum err e;

	if (q->gathering) {
		if (count > size - q->gather_at)
			count = size - q->gather_at;
		if (count == 0) {
			q->gathering = false;
			return ERR_OK;
		}
		return db_scan_events(store_db(s->store), q->gather_at, count,
				      gather, q);
	}
	if (q->backward) {
		e = db_scan_events_back(store_db(s->store), q->at, count, take,
					q);
	} else {
		if (q->at >= size) {
			q->end = true;
			return ERR_OK;
		}
		if (count > size - q->at)
			count = size - q->at;
		e = db_scan_events(store_db(s->store), q->at, count, take, q);
		if (e == ERR_OK && q->at >= size)
			q->end = true;
	}
	return e == ERR_AGAIN ? ERR_OK : e;
}

/**
 * pages_step() - Take one step for the query whose turn it is
 * @s:	Service
 *
 * Return: whether any query is left.
 */
bool pages_step(struct service *s)
{
	struct query *q = s->queries, **at = &s->queries;
	enum err e;

	if (!q)
		return false;
	s->queries = q->next;
	q->next = NULL;
	e = walk(s, q);
	if (e != ERR_OK || q->end || q->full || q->left == 0) {
		answer(s, q, e);
		query_free(q);
		s->query_count--;
		return s->queries != NULL;
	}
	while (*at)
		at = &(*at)->next;
	*at = q;
	return true;
}
