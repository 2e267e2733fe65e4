/* SPDX-License-Identifier: Apache-2.0 */
/*
 * invoke_beta.c - which of Anthropic's betas Bedrock takes
 *
 * Runs in: kenaz-gate.
 * Trusts:  the provider's table.
 * Never:   does I/O, allocates.
 *
 * InvokeModel answers 400 to a request that names one beta it does not know,
 * so only those that the provider's table names are sent. Some have another
 * name there.
 */
#include "engine/gate/invoke_beta.h"

static const struct {
	const char *name, *sent;
} aliases[] = {
	{"advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19"},
};

/**
 * invoke_beta_find() - The name under which a beta is sent to Bedrock
 * @beta:		As the client wrote it
 * @allowed:		Names that are taken
 * @allowed_count:	Their number; 0: all are
 *
 * Return: the name, static or @beta itself; empty when Bedrock refuses it.
 */
struct span invoke_beta_find(struct span beta, const char *const *allowed,
			     size_t allowed_count)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(aliases); i++)
		if (span_is(beta, aliases[i].name))
			beta = span_text(aliases[i].sent);
	for (i = 0; i < allowed_count; i++)
		if (span_is(beta, allowed[i]))
			return beta;
	return allowed_count ? span_text("") : beta;
}
