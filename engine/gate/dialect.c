/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dialect.c - the list of dialects
 *
 * Runs in: kenaz-gate.
 * Trusts:  the tables beside it.
 * Never:   does I/O.
 */
#include "engine/gate/dialect.h"

static const struct dialect_ops *const dialects[] = {
	&dialect_anthropic, &dialect_chat,     &dialect_responses,
	&dialect_invoke,    &dialect_converse,
};

/**
 * dialect_find() - Look a dialect up
 * @id:	Any value, also one that was received
 *
 * Return: its row, or NULL when the gate does not speak it.
 */
const struct dialect_ops *dialect_find(enum dialect id)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dialects); i++)
		if (dialects[i]->id == id)
			return dialects[i];
	return NULL;
}

/**
 * dialect_amend() - Change what a body may not be sent with
 * @d:		Dialect whose inspect() set facts->amend
 * @body:	Whole body; replaced
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY; @body is unchanged then.
 */
enum err dialect_amend(const struct dialect_ops *d, struct buf *body)
{
	const struct dialect_target as_it_is = {.route = ROUTE_NONE};
	struct buf out;
	enum err e;

	buf_init(&out, BODY_MAX_BYTES);
	e = d->rewrite(buf_span(body), &as_it_is, &out);
	if (e == ERR_OK) {
		buf_fini(body);
		*body = out;
	} else {
		buf_fini(&out);
	}
	return e;
}

/**
 * request_facts_limit() - Note how long the answer may be; absent is fine
 * @f:		Facts
 * @j:		Document
 * @max_tokens:	Member, or JSON_NONE
 *
 * A number that is not plainly one of tokens (1e5, 4096.0, -1) is left to the
 * provider to understand, and the longest of answers is reckoned with.
 */
void request_facts_limit(struct request_facts *f, const struct json *j,
			 json_ref max_tokens)
{
	uint64_t n;

	if (max_tokens == JSON_NONE || json_is(j, max_tokens, JSON_NULL))
		return;
	if (!json_is(j, max_tokens, JSON_NUMBER) ||
	    json_uint(j, max_tokens, 0, UINT32_MAX, &n) != ERR_OK)
		n = UINT32_MAX;
	if (n > f->max_tokens)
		f->max_tokens = n;
}
