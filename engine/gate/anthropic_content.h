/* SPDX-License-Identifier: Apache-2.0 */
/* anthropic_content.h - the blocks of an Anthropic request, read */
#ifndef KENAZ_GATE_ANTHROPIC_CONTENT_H
#define KENAZ_GATE_ANTHROPIC_CONTENT_H

#include <stdbool.h>

#include "engine/base/json.h"
#include "engine/gate/neutral.h"

/* A request under way from JSON to the neutral form. */
struct anthropic_request {
	struct neutral_request *r;
	struct json doc;
	struct buf changes; /* of the tools at hand, see anthropic_tools.c */
};

MUST_CHECK enum err anthropic_refuse_named(struct anthropic_request *q,
					   const char *before, json_ref name,
					   const char *why);
void anthropic_drop_others(struct anthropic_request *q, json_ref object,
			   const char *where, const char *const *known);
MUST_CHECK enum err anthropic_read_cache(struct anthropic_request *q,
					 json_ref object,
					 enum neutral_cache *ret_cache);
MUST_CHECK enum err anthropic_read_content(struct anthropic_request *q,
					   json_ref content, bool nested,
					   bool system);

#endif
