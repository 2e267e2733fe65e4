/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request_translate.c - a request in one dialect, sent in another
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a request.
 * Never:   leaves out what changes the meaning: that is refused, by its name.
 */
#include "engine/gate/request_translate.h"

#include <stdio.h>

#include "engine/base/text.h"
#include "engine/gate/count.h"
#include "engine/gate/neutral_names.h"
#include "engine/proto/attrs.h"

/** request_translation_init() - Prepare an empty result */
void request_translation_init(struct request_translation *t)
{
	*t = (struct request_translation){.stream = false};
	buf_init(&t->dropped, DROPPED_MAX_BYTES);
}

/** request_translation_fini() - Release what a result holds */
void request_translation_fini(struct request_translation *t)
{
	neutral_names_free(t->names);
	t->names = NULL;
	buf_fini(&t->dropped);
}

static enum err put_dropped(const struct neutral_request *r, struct buf *out)
{
	struct span items[NEUTRAL_DROPPED_MAX];
	uint32_t i;

	if (!r->dropped_count)
		return ERR_OK;
	for (i = 0; i < r->dropped_count; i++)
		items[i] = span_text(r->dropped[i]);
	return attrs_put_list(out, "dropped", items, r->dropped_count);
}

static enum err translate(struct neutral_request *r,
			  const struct dialect_ops *client, enum route route,
			  struct span body, const struct dialect_ops *wire,
			  const struct dialect_target *target, struct buf *out)
{
	enum err e;

	if (count_is_route(route))
		return count_translate(r, client, body, wire, target, out);
	if (route == ROUTE_MODELS)
		return neutral_refuse(r, "this route",
				      "the provider does not have it");
	if (!client->read_request || !wire->write_request)
		return neutral_refuse(r, "this dialect",
				      "cannot be translated");
	e = client->read_request(route, body, r);
	if (e == ERR_OK)
		e = neutral_settle_names(r);
	if (e == ERR_OK)
		e = wire->write_request(r, target, out);
	return e;
}

/**
 * request_translate() - Make the body for a wire of another dialect
 * @client:	Dialect of @body
 * @route:	How the client sent it
 * @body:	Borrowed
 * @wire:	Dialect to write
 * @target:	What the attempt demands
 * @out:	The new body is appended
 * @ret:	Initialised; its error_text says why there is no body
 *
 * Return: ERR_OK; ERR_UNSUPPORTED for what cannot be translated; ERR_FORMAT
 *	   for what is malformed; ERR_LIMIT; ERR_MEMORY.
 */
enum err request_translate(const struct dialect_ops *client, enum route route,
			   struct span body, const struct dialect_ops *wire,
			   const struct dialect_target *target, struct buf *out,
			   struct request_translation *ret)
{
	struct neutral_request r;
	const char *why;
	enum err e;

	neutral_request_init(&r);
	e = translate(&r, client, route, body, wire, target, out);
	if (e == ERR_OK)
		e = put_dropped(&r, &ret->dropped);
	ret->stream = r.stream;
	ret->want_usage = r.want_usage;
	if (e == ERR_OK) {
		neutral_names_free(ret->names);
		ret->names = r.names;
		r.names = NULL;
	} else {
		why = r.error_text[0] ? r.error_text : err_text(e);
		(void)text_escape_line(span_text(why), ret->error_text,
				       sizeof(ret->error_text));
	}
	neutral_request_fini(&r);
	return e;
}
