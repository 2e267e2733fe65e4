/* SPDX-License-Identifier: Apache-2.0 */
/* infer_tool.h - a tool call that the gate holds until it was judged */
#ifndef KENAZ_CORE_INFER_TOOL_H
#define KENAZ_CORE_INFER_TOOL_H

#include "engine/core/session.h"

MUST_CHECK enum err infer_tool_on_message(struct session *s,
					  struct span payload);
void infer_tool_decided(struct session *s, uint64_t context, bool granted,
			const char *rule, const char *text);
void infer_tools_cancel(struct session *s, uint64_t request);
void infer_tools_end(struct session *s);

#endif
