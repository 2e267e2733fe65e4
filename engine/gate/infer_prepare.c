/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_prepare.c - from the client's dialect to the wire's, and back
 *
 * Runs in: kenaz-gate.
 * Trusts:  core to have chosen a wire that the provider speaks.
 * Never:   sends what changed its meaning: that is refused by its name.
 *
 * Three ways, the shortest first: the same dialect, where only what must
 * change is changed in place; Anthropic's and InvokeModel's, which carry one
 * document; all others by way of the neutral form.
 */
#include <stdio.h>
#include <string.h>

#include "engine/gate/count.h"
#include "engine/gate/infer_state.h"
#include "engine/gate/invoke_bridge.h"
#include "engine/gate/models_reply.h"
#include "engine/gate/neutral_names.h"
#include "engine/gate/reply_raw.h"
#include "engine/gate/reply_translate.h"
#include "engine/gate/request_translate.h"
#include "engine/proto/attrs.h"

#define HEADERS_MAX_BYTES 8192u

/** infer_prepared_init() - Prepare an empty result */
void infer_prepared_init(struct infer_prepared *p)
{
	*p = (struct infer_prepared){.own_headers = false};
	buf_init(&p->body, BODY_MAX_BYTES);
	buf_init(&p->headers, HEADERS_MAX_BYTES);
	buf_init(&p->dropped, DROPPED_MAX_BYTES);
}

/** infer_prepared_fini() - Release a result */
void infer_prepared_fini(struct infer_prepared *p)
{
	buf_fini(&p->body);
	buf_fini(&p->headers);
	buf_fini(&p->dropped);
}

static enum err refuse(struct infer_prepared *p, enum err e, const char *why)
{
	(void)snprintf(p->error_text, sizeof(p->error_text), "%s", why);
	return e;
}

/* Whether the body says all that the attempt demands as it came. */
static bool fits_as_it_is(const struct infer *x, const struct dialect_target *t)
{
	bool in_body = !x->http->target.model.len_bytes;

	if (t->want_usage && !x->facts->asks_usage)
		return false;
	if (in_body)
		return span_is(t->model, x->facts->model);
	/* The URL names the model; what else may have to change, it knows. */
	return !x->dialect->rewrite;
}

static enum err rewrite(struct infer *x, struct dialect_target *t,
			struct infer_prepared *p)
{
	enum err e;

	p->as_it_is = fits_as_it_is(x, t);
	if (p->as_it_is)
		return ERR_OK;
	if (!x->dialect->rewrite)
		return refuse(p, ERR_UNSUPPORTED,
			      "model: no other can be put in its place in "
			      "this dialect");
	x->strip_usage = t->want_usage && !x->facts->asks_usage;
	t->want_usage = x->strip_usage;
	e = x->dialect->rewrite(buf_span(&x->http->body), t, &p->body);
	return e == ERR_OK ? e : refuse(p, e, err_text(e));
}

static enum err put_dropped(const struct invoke_bridge_result *b,
			    struct buf *out)
{
	struct span items[NEUTRAL_DROPPED_MAX];
	uint32_t i;

	for (i = 0; i < b->dropped_count; i++)
		items[i] = span_text(b->dropped[i]);
	return i ? attrs_put_list(out, "dropped", items, i) : ERR_OK;
}

static enum err bridge(struct infer *x, const struct dialect_target *t,
		       struct infer_prepared *p)
{
	const struct invoke_bridge_request request = {
		.client = x->dialect->id,
		.route = (enum route)x->http->target.route,
		.body = buf_span(&x->http->body),
		.headers = buf_span(&x->http->head.forwarded),
	};
	struct invoke_bridge_result result;
	enum err e;

	invoke_bridge_init(&result);
	e = invoke_bridge_body(&request, t, &result);
	if (e != ERR_OK)
		(void)refuse(p, e,
			     result.error_text[0] ? result.error_text
						  : err_text(e));
	if (e == ERR_OK)
		e = buf_put_span(&p->body, buf_span(&result.body));
	if (e == ERR_OK)
		e = buf_put_span(&p->headers, buf_span(&result.headers));
	if (e == ERR_OK)
		e = put_dropped(&result, &p->dropped);
	p->own_headers = true;
	invoke_bridge_fini(&result);
	return e;
}

static enum err translate(struct infer *x, const struct dialect_target *t,
			  struct infer_prepared *p)
{
	struct request_translation result;
	enum err e;

	request_translation_init(&result);
	e = request_translate(x->dialect, (enum route)x->http->target.route,
			      buf_span(&x->http->body), x->wire, t, &p->body,
			      &result);
	if (e != ERR_OK)
		(void)refuse(p, e,
			     result.error_text[0] ? result.error_text
						  : err_text(e));
	if (e == ERR_OK)
		e = buf_put_span(&p->dropped, buf_span(&result.dropped));
	if (e == ERR_OK) {
		x->facts->asks_usage = result.want_usage;
		x->names = result.names;
		result.names = NULL;
	}
	request_translation_fini(&result);
	return e;
}

static size_t read_betas(struct span list, char (*names)[129],
			 const char **ret_betas, size_t max)
{
	struct reader r, items;
	struct attr a;
	struct span one;
	size_t n = 0;

	reader_init(&r, list);
	if (!attrs_next(&r, &a) || a.type != ATTR_LIST)
		return 0;
	reader_init(&items, a.items);
	while (n < max && attrs_list_next(&items, &one)) {
		if (span_copy_text(one, names[n], sizeof(names[n])) != ERR_OK)
			continue;
		ret_betas[n] = names[n];
		n++;
	}
	return n;
}

/**
 * infer_prepare_body() - Make what an attempt shall send
 * @x:			Request; its wire and what belongs to the attempt are
 *			set
 * @m:			Core's wish, borrowed
 * @ret_prepared:	Initialised; error_text says which field stands in
 *			the way
 *
 * Return: ERR_OK; ERR_UNSUPPORTED, ERR_FORMAT or ERR_LIMIT for what cannot
 *	   be said there; ERR_MEMORY.
 */
enum err infer_prepare_body(struct infer *x, const struct msg_infer_prepare *m,
			    struct infer_prepared *ret_prepared)
{
	char names[32][129];
	const char *betas[ARRAY_SIZE(names)];
	struct dialect_target t = {
		.route = (enum route)m->route,
		.model = m->model,
		.stream = x->stream,
		.want_usage = m->want_usage != 0,
		.kind = m->kind,
		.betas = betas,
		.max_tokens = m->max_tokens,
	};

	t.beta_count = read_betas(m->betas, names, betas, ARRAY_SIZE(betas));
	x->wire = dialect_find((enum dialect)m->dialect);
	x->wire_route = (enum route)m->route;
	x->strip_usage = false;
	neutral_names_free(x->names);
	x->names = NULL;
	if (!x->wire)
		return refuse(ret_prepared, ERR_UNSUPPORTED,
			      "the provider's dialect is not known here");
	if (x->wire == x->dialect)
		return rewrite(x, &t, ret_prepared);
	if (invoke_bridge_joins(x->dialect->id, x->wire->id))
		return bridge(x, &t, ret_prepared);
	return translate(x, &t, ret_prepared);
}

/* --- and back ---------------------------------------------------------- */

static bool is_type(struct span value, const char *type)
{
	size_t i, len = strlen(type);

	if (value.len_bytes < len)
		return false;
	for (i = 0; i < len; i++)
		if ((value.data[i] | 0x20) != (type[i] | 0x20))
			return false;
	return value.len_bytes == len || value.data[len] == ';' ||
	       value.data[len] == ' ';
}

static bool is_stream(const struct infer *x, struct span type)
{
	return is_type(type, "text/event-stream") ||
	       (x->wire->stream_type && is_type(type, x->wire->stream_type));
}

static struct reply *translated(struct infer *x, bool streamed)
{
	const struct neutral_answer answer = {
		.model = span_text(x->facts->model),
		.stream = x->stream,
		.want_usage = x->facts->asks_usage,
		.names = x->names,
	};

	return reply_translate_new(x->wire, streamed, x->dialect, &answer);
}

static struct reply *error_reply(struct infer *x, unsigned http_status)
{
	if (x->wire == x->dialect || !x->wire->read_error ||
	    !x->dialect->error_name)
		return reply_raw_new(x->dialect);
	return reply_translate_error_new(x->wire, http_status, x->dialect);
}

static bool can_translate(const struct infer *x)
{
	return x->wire->reader_new && x->dialect->writer_new &&
	       x->dialect->error_name;
}

/*
 * Plain for a streamed request, or the reverse: by way of the neutral form
 * also within a dialect. Tables (models, token counts) are never streamed.
 */
static struct reply *whole_reply(struct infer *x, bool streamed)
{
	const enum route route = (enum route)x->http->target.route;
	bool fits = route == ROUTE_MODELS || streamed == x->stream ||
		    !can_translate(x);

	if (count_is_route(route))
		return streamed ? NULL : count_reply_new(x->wire, x->dialect);
	if (route == ROUTE_MODELS && x->wire != x->dialect)
		return models_reply_new(x->dialect);
	if (x->wire == x->dialect && fits)
		return streamed ? x->dialect->stream_new()
				: x->dialect->body_new();
	if (invoke_bridge_joins(x->dialect->id, x->wire->id) && fits)
		return invoke_bridge_reply(x->dialect->id, x->wire->id,
					   streamed);
	return can_translate(x) ? translated(x, streamed) : NULL;
}

/**
 * infer_reply_new() - Who reads the provider's response
 * @x:			Request whose wire is known
 * @http_status:	The provider's
 * @content_type:	The provider's, maybe empty
 *
 * Return: owned by the caller, for reply_free(); NULL for a response that is
 *	   neither JSON nor a stream, or without memory.
 */
struct reply *infer_reply_new(struct infer *x, unsigned http_status,
			      struct span content_type)
{
	bool streamed = is_stream(x, content_type);
	struct reply *r = NULL;

	if (http_status >= 400)
		return error_reply(x, http_status);
	if (http_status < 200 || http_status >= 300 ||
	    (!streamed && !is_type(content_type, "application/json")))
		return NULL;
	r = whole_reply(x, streamed);
	if (!r)
		return NULL;
	r->strip_usage = x->strip_usage;
	if (!r->content_type && x->wire != x->dialect)
		r->content_type = r->ops->streamed && x->dialect->stream_type
					  ? x->dialect->stream_type
					  : "application/json";
	return r;
}
