/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kinds.c - the table of event kinds and which intent each outcome closes
 *
 * Runs in: kenaz-audit, kenaz-verify.
 * Trusts:  nothing.
 * Never:   accepts a kind that is not in the table.
 */
#include "engine/audit/kinds.h"

static const struct {
	const char *text;
	const char *closed_by;
} kinds[KIND_COUNT] = {
#define X(id, text, closed_by) [KIND_##id] = {text, closed_by},
	KIND_TABLE(X)
#undef X
};

/** kind_text() - The name of a kind as it stands in events */
const char *kind_text(enum kind kind)
{
	return kinds[kind].text;
}

/** kind_closed_by() - The kind that ends what this one opens, or NULL */
const char *kind_closed_by(enum kind kind)
{
	return kinds[kind].closed_by;
}

/**
 * kind_find() - Look a kind up by name
 * @text:	Borrowed
 * @ret_kind:	Written when found
 *
 * Return: whether the table has it.
 */
bool kind_find(struct span text, enum kind *ret_kind)
{
	unsigned int i;

	for (i = 0; i < KIND_COUNT; i++) {
		if (span_is(text, kinds[i].text)) {
			*ret_kind = (enum kind)i;
			return true;
		}
	}
	return false;
}
