/* SPDX-License-Identifier: Apache-2.0 */
/* script.h - what the scripted agent says and does next; no I/O */
#ifndef KENAZ_SCRIPTED_SCRIPT_H
#define KENAZ_SCRIPTED_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define SCRIPT_MODEL           "kenaz-scripted"
#define SCRIPT_TOOL_MAX_BYTES  128u
#define SCRIPT_TOKEN_BYTES     4u /* bytes that count as one token */
#define SCRIPT_LONG_TEXT_BYTES (200u * 1024)

/* One turn of the agent. */
struct script_turn {
	bool stream;      /* the client asked for events */
	char model[257];  /* as the client named it */
	const char *text; /* static; said first */
	uint32_t repeat;  /* say it this often; at least 1 */
	uint32_t gap_ms;  /* between two pieces of text */
	char tool[SCRIPT_TOOL_MAX_BYTES + 1]; /* empty: the turn ends here */
	const char *path_key;                 /* how the tool calls its path */
	const char *input[2][2];              /* member and value; NULL ends */
	uint32_t step;                        /* tool results so far */
	uint64_t input_tokens;
	uint8_t digest[32]; /* of the request: makes ids deterministic */
};

MUST_CHECK enum err script_next(struct span body, struct script_turn *ret_turn,
				const char **ret_why);
const char *script_name_at(uint32_t index);

#endif
