/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_args.c - a tool call's arguments as the gate reports them
 *
 * Runs in: kenazd.
 * Trusts:  the gate for the form of its message, checked all the same.
 * Never:   loses an argument silently: what does not fit makes every
 *	    argument that is not listed undecidable.
 */
#include "engine/core/policy_args.h"

#include "engine/proto/attrs.h"

struct collecting {
	struct policy_arg *args;
	size_t count;
	bool incomplete;
};

static void add(struct collecting *c, struct span key, struct span value,
		enum policy_arg_state state)
{
	if (c->count == POLICY_ARGS_MAX) {
		c->incomplete = true;
		return;
	}
	c->args[c->count++] = (struct policy_arg){key, value, state};
}

/* A name that has no text is that of an argument that is none. */
static void mark(struct collecting *c, struct span name)
{
	bool found = false;

	for (size_t i = 0; i < c->count; i++) {
		if (!span_equal(c->args[i].key, name))
			continue;
		if (c->args[i].state == POLICY_ARG_WHOLE)
			c->args[i].state = POLICY_ARG_CUT;
		found = true;
	}
	if (!found)
		add(c, name, (struct span){0}, POLICY_ARG_OPAQUE);
}

/**
 * policy_args_collect() - Turn infer_tool's fields and cut into arguments
 * @fields:		attrs.h texts: the text arguments
 * @cut:		attrs.h lists: names of those that were cut, and of
 *			arguments that are no texts
 * @args:		Filled; borrows the message
 * @ret_incomplete:	Whether some could not be listed
 *
 * Return: how many of @args are filled.
 */
size_t policy_args_collect(struct span fields, struct span cut,
			   struct policy_arg args[POLICY_ARGS_MAX],
			   bool *ret_incomplete)
{
	struct collecting c = {.args = args};
	struct reader r, items;
	struct span name;
	struct attr a;

	reader_init(&r, fields);
	while (attrs_next(&r, &a))
		add(&c, a.key, a.text,
		    a.type == ATTR_TEXT ? POLICY_ARG_WHOLE : POLICY_ARG_OPAQUE);
	if (r.status != ERR_OK)
		c.incomplete = true;
	reader_init(&r, cut);
	while (attrs_next(&r, &a)) {
		reader_init(&items, a.items);
		while (attrs_list_next(&items, &name))
			mark(&c, name);
		if (a.type != ATTR_LIST || items.status != ERR_OK)
			c.incomplete = true;
	}
	if (r.status != ERR_OK)
		c.incomplete = true;
	*ret_incomplete = c.incomplete;
	return c.count;
}
