/* SPDX-License-Identifier: Apache-2.0 */
/* responses_reading.h - what the readers of a Responses request share */
#ifndef KENAZ_GATE_RESPONSES_READING_H
#define KENAZ_GATE_RESPONSES_READING_H

#include "engine/gate/neutral_tools.h"
#include "engine/gate/responses.h"

struct reading {
	struct neutral_request *r;
	struct json doc;
	bool in_results; /* the last message holds results and no more */
};

static inline json_ref responses_top(const struct reading *x, const char *key)
{
	return json_get(&x->doc, JSON_ROOT, key);
}

static inline bool responses_is_set(const struct reading *x, json_ref at)
{
	return !neutral_is_absent(&x->doc, at);
}

MUST_CHECK enum err responses_refuse_value(struct reading *x, const char *field,
					   json_ref at);
MUST_CHECK enum err responses_keep_name(struct reading *x, struct span space,
					json_ref object, struct span *ret_name);
MUST_CHECK enum err responses_read_tools(struct reading *x, json_ref tools);
MUST_CHECK enum err responses_read_choice(struct reading *x);

#endif
