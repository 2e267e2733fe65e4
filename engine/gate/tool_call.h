/* SPDX-License-Identifier: Apache-2.0 */
/* tool_call.h - a complete tool call as core wants to judge it */
#ifndef KENAZ_GATE_TOOL_CALL_H
#define KENAZ_GATE_TOOL_CALL_H

#include "engine/gate/reply.h"
#include "engine/proto/msg.h"

#define TOOL_FIELD_MAX_BYTES  4096u
#define TOOL_FIELDS_MAX_BYTES 32768u
#define TOOL_CUT_MAX_BYTES    1024u

/* Zeroed memory is empty. */
struct tool_call {
	struct msg_infer_tool message; /* borrows the call and the buffers */
	struct buf fields, cut;
};

MUST_CHECK enum err tool_call_make(struct tool_call *t,
				   const struct reply_call *call);
void tool_call_fini(struct tool_call *t);

#endif
