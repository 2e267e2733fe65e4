/* SPDX-License-Identifier: Apache-2.0 */
/* anthropic_tools.h - the tools of an Anthropic request, read */
#ifndef KENAZ_GATE_ANTHROPIC_TOOLS_H
#define KENAZ_GATE_ANTHROPIC_TOOLS_H

#include "engine/gate/anthropic_content.h"

#define ANTHROPIC_CHANGES_MAX_BYTES (1u << 18)

MUST_CHECK enum err anthropic_read_tools(struct anthropic_request *q,
					 json_ref at);
MUST_CHECK enum err anthropic_read_reference(struct anthropic_request *q,
					     json_ref block, bool nested);
MUST_CHECK enum err anthropic_read_addition(struct anthropic_request *q,
					    json_ref block, bool nested);
MUST_CHECK enum err anthropic_read_removal(struct anthropic_request *q,
					   json_ref block, bool nested);
void anthropic_settle_tools(struct anthropic_request *q);

#endif
