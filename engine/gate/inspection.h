/* SPDX-License-Identifier: Apache-2.0 */
/* inspection.h - what every dialect's inspect() collects of a request */
#ifndef KENAZ_GATE_INSPECTION_H
#define KENAZ_GATE_INSPECTION_H

#include "engine/base/json.h"
#include "engine/gate/dialect.h"
#include "engine/proto/attrs.h"

/*
 * One request under inspection. The lists are large and never cleared: the
 * counts say what is there.
 */
struct inspection {
	struct json doc;
	enum route route;
	struct request_facts *facts;
	struct seen *seen;
	char features[FEATURES_MAX][FEATURE_MAX_BYTES + 1];
	size_t n_features;
	char tool_names[ATTR_LIST_MAX_ITEMS][TOOL_NAME_MAX_BYTES + 1];
	size_t n_tools;
};

typedef enum err inspection_look(struct inspection *in);

MUST_CHECK enum err inspection_run(enum route route, struct span body,
				   struct seen *seen,
				   struct request_facts *facts,
				   inspection_look *look);
MUST_CHECK enum err inspection_refuse(struct inspection *in, enum err e,
				      const char *why);
MUST_CHECK enum err inspection_add(struct inspection *in, const char *feature);
MUST_CHECK enum err inspection_add_detail(struct inspection *in,
					  const char *kind, struct span detail);
MUST_CHECK enum err inspection_add_string(struct inspection *in,
					  const char *kind, json_ref found);
MUST_CHECK enum err inspection_add_key(struct inspection *in, const char *kind,
				       json_ref found);
MUST_CHECK enum err inspection_add_routed(struct inspection *in);
void inspection_note_tool(struct inspection *in, json_ref name);
void inspection_note_result(struct inspection *in, json_ref id, bool failed);
bool inspection_is_set(const struct inspection *in, json_ref at);
bool inspection_asks(const struct inspection *in, json_ref at);
bool inspection_is_data_url(const struct inspection *in, json_ref at);

#endif
