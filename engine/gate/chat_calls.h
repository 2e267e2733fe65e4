/* SPDX-License-Identifier: Apache-2.0 */
/* chat_calls.h - tool calls of a chat completion, put together */
#ifndef KENAZ_GATE_CHAT_CALLS_H
#define KENAZ_GATE_CHAT_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/gate/reply.h"
#include "engine/proto/limits.h"

enum chat_call_kind {
	CHAT_CALL_FUNCTION,
	CHAT_CALL_CUSTOM, /* its arguments are any text */
	CHAT_CALL_LEGACY, /* function_call: one a choice, without an id */
};

struct chat_call {
	enum chat_call_kind kind;
	uint32_t choice;
	uint32_t number; /* among the calls of its choice */
	bool has_index, whole;
	uint64_t index; /* as the provider numbered it */
	bool judged, denied;
	char id[CALL_ID_MAX_BYTES + 1];
	char name[TOOL_NAME_MAX_BYTES + 1];
	struct buf arguments;
};

/* Zeroed memory is empty. */
struct chat_calls {
	struct chat_call *items;
	uint32_t count, cap;
	size_t bytes;
	const char *error_text; /* static */
};

/* Where a delta belongs. */
struct chat_delta {
	uint32_t call;
	bool first; /* of its call */
	bool plain; /* any client reads it the same way */
};

MUST_CHECK enum err chat_calls_add(struct chat_calls *c, const struct json *j,
				   json_ref item, uint32_t choice,
				   struct chat_delta *ret);
MUST_CHECK enum err chat_calls_add_whole(struct chat_calls *c,
					 const struct json *j, json_ref item,
					 uint32_t choice);
MUST_CHECK enum err chat_calls_add_legacy(struct chat_calls *c,
					  const struct json *j,
					  json_ref function_call,
					  uint32_t choice,
					  struct chat_delta *ret);
MUST_CHECK enum err chat_call_close(struct chat_call *call, struct json *doc);
void chat_calls_fini(struct chat_calls *c);

#endif
