/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_intent.c - what an attempt is about to send, in the log before it is
 *
 * Runs in: kenazd.
 * Trusts:  engine/providers for what the broker will make of it; what only
 *	    the gate saw is written as gate-reported.
 * Never:   leaves out a header that is forwarded; writes a credential.
 */
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/core/audit_client.h"
#include "engine/core/infer.h"
#include "engine/core/infer_state.h"
#include "engine/core/route_of.h"

/**
 * infer_put_decision() - Append a decision's fields to an event
 * @b:	Attributes
 * @d:	Decision
 *
 * Return: as attrs_put_text().
 */
enum err infer_put_decision(struct buf *b, const struct policy_decision *d)
{
	struct span matched[POLICY_MATCHED_MAX];
	size_t i;
	enum err err = attrs_put_text(b, "kenaz.policy.effect",
				      span_text(policy_effect_text(d->effect)));

	for (i = 0; i < d->listed_count; i++)
		matched[i] = span_text(d->matched[i]);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.policy.rule",
				     span_text(d->rule));
	if (err == ERR_OK)
		err = attrs_put_list(b, "kenaz.policy.matched", matched,
				     d->listed_count);
	if (err == ERR_OK && d->matched_count > d->listed_count)
		err = attrs_put_u64(b, "kenaz.policy.matched_count",
				    d->matched_count);
	if (err == ERR_OK && d->reason && d->reason[0])
		err = attrs_put_text(b, "kenaz.policy.reason",
				     span_text(d->reason));
	return err;
}

/* What is audited is what is sent: the forwarded headers word for word. */
static enum err put_headers(struct buf *b, const struct route_request *route,
			    const uint8_t *header_digest)
{
	struct span lines[ROUTE_HEADERS_MAX];
	char digest[2 * DIGEST_BYTES + 1];
	struct buf text;
	size_t i, at[ROUTE_HEADERS_MAX + 1] = {0};
	enum err err = ERR_OK;

	text_hex(header_digest, DIGEST_BYTES, digest);
	buf_init(&text, EVENT_FIELDS_MAX_BYTES);
	for (i = 0; err == ERR_OK && i < route->header_count; i++) {
		err = buf_put_span(&text, route->headers[i].name);
		if (err == ERR_OK)
			err = buf_put_text(&text, ": ");
		if (err == ERR_OK)
			err = buf_put_span(&text, route->headers[i].value);
		at[i + 1] = text.len_bytes;
	}
	for (i = 0; err == ERR_OK && i < route->header_count; i++)
		lines[i] = span_of(text.data + at[i], at[i + 1] - at[i]);
	if (err == ERR_OK && route->header_count)
		err = attrs_put_list(b, "kenaz.request.headers", lines,
				     route->header_count);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.request.header_sha256",
				     span_text(digest));
	buf_fini(&text);
	return err;
}

/* The list of names in an attrs.h span, under another key. */
static enum err put_names(struct buf *b, const char *key, struct span from)
{
	struct span names[ATTR_LIST_MAX_ITEMS];
	struct reader r, list;
	struct attr a;
	size_t n = 0;

	reader_init(&r, from);
	if (!attrs_next(&r, &a) || a.type != ATTR_LIST || a.count == 0)
		return ERR_OK;
	reader_init(&list, a.items);
	while (n < ATTR_LIST_MAX_ITEMS && attrs_list_next(&list, &names[n]))
		n++;
	return n ? attrs_put_list(b, key, names, n) : ERR_OK;
}

/**
 * infer_put_model() - Append a model's name, escaped; nothing for none
 * @b:		Attributes
 * @key:	Static text
 * @model:	As a client or kenaz.toml wrote it
 *
 * Return: as attrs_put_text().
 */
enum err infer_put_model(struct buf *b, const char *key, const char *model)
{
	char shown[MODEL_MAX_BYTES + 1];

	if (!model[0])
		return ERR_OK;
	(void)text_escape_line(span_text(model), shown, sizeof(shown));
	return attrs_put_text(b, key, span_text(shown));
}

/** infer_route_generates() - Whether a model answers, and not a table */
bool infer_route_generates(enum route route)
{
	return route != ROUTE_MODELS && !provider_route_counts(route);
}

/* Who is asked, in which attempt, and what translation did. */
static enum err put_attempt(struct buf *b, const struct infer *i,
			    const struct msg_infer_ask *m)
{
	const struct infer_candidate *c = infer_candidate(i);
	enum err err =
		attrs_put_text(b, "gen_ai.provider.name", span_text(c->kind));

	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.provider",
				     span_text(c->provider));
	if (err == ERR_OK)
		err = infer_put_model(b, "gen_ai.request.model", c->model);
	if (err == ERR_OK && strcmp(c->model, i->model) != 0)
		err = infer_put_model(b, "kenaz.request.model_asked", i->model);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.attempt", i->number);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.dialect",
				     span_text(dialect_name(i->dialect)));
	if (err == ERR_OK && c->dialect != i->dialect)
		err = attrs_put_text(b, "kenaz.wire_dialect",
				     span_text(dialect_name(c->dialect)));
	if (err == ERR_OK)
		err = put_names(b, "kenaz.gate_reported.dropped", m->dropped);
	return err;
}

static enum err put_intent(struct buf *b, const struct infer *i,
			   const struct msg_infer_ask *m,
			   const struct route_request *route,
			   const uint8_t *header_digest)
{
	char digest[2 * DIGEST_BYTES + 1];
	enum err err;

	text_hex(m->body_digest, DIGEST_BYTES, digest);
	err = attrs_put_u64(b, "kenaz.grant", i->now.grant);
	if (err == ERR_OK)
		err = attrs_put_text(b, "gen_ai.operation.name",
				     span_text(infer_route_generates(i->route)
						       ? "chat"
						       : route_name(i->route)));
	if (err == ERR_OK)
		err = put_attempt(b, i, m);
	if (err == ERR_OK)
		err = attrs_put_bool(b, "gen_ai.request.stream", i->stream);
	if (err == ERR_OK)
		err = attrs_put_text(b, "http.request.method",
				     span_text(route->method));
	if (err == ERR_OK)
		err = attrs_put_text(b, "url.full",
				     span_of(route->url, route->url_len_bytes));
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.request.bytes", m->body_bytes);
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.request.sha256",
				     span_text(digest));
	if (err == ERR_OK)
		err = put_headers(b, route, header_digest);
	if (err == ERR_OK && m->agent.len_bytes)
		err = attrs_put_text(b, "kenaz.guest_claimed.user_agent",
				     m->agent);
	if (err == ERR_OK)
		err = put_names(b, "kenaz.gate_reported.tools", m->tools);
	return err;
}

/**
 * infer_write_intent() - Append prompt.sent, which releases the grant
 * @i:			Request
 * @m:			What the gate wants to send, borrowed
 * @body_fd:		Body's memfd or -1, borrowed
 * @route:		What the broker will make of it
 * @header_digest:	Its digest
 * @d:			The decision
 * @done:		Called once it is durable, with @i
 *
 * Return: ERR_OK; as audit_append(); ERR_SYS.
 */
enum err infer_write_intent(struct infer *i, const struct msg_infer_ask *m,
			    int body_fd, const struct route_request *route,
			    const uint8_t *header_digest,
			    const struct policy_decision *d, audit_done_fn done)
{
	struct session *s = i->session;
	struct audit_event event = {.kind = "prompt.sent",
				    .session = s->id,
				    .actor = s->actor,
				    .grant = i->now.grant,
				    .header_digest = header_digest,
				    .body_digest = m->body_digest,
				    .payload_fd = -1};
	struct buf b;
	enum err err;

	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_intent(&b, i, m, route, header_digest);
	if (err == ERR_OK)
		err = infer_put_decision(&b, d);
	event.attributes = buf_span(&b);
	if (m->body_bytes) {
		event.payload_name = "request.body";
		event.payload_bytes = m->body_bytes;
		s->payload_bytes += m->body_bytes;
		event.payload_inline = m->body_inline;
	}
	if (err == ERR_OK && m->body_bytes && body_fd >= 0) {
		event.payload_fd = dup(body_fd);
		if (event.payload_fd < 0)
			err = ERR_SYS;
	}
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, done, i);
	buf_fini(&b);
	return err;
}
