/* SPDX-License-Identifier: Apache-2.0 */
/* invoke_bridge.h - Anthropic Messages and InvokeModel, one as the other */
#ifndef KENAZ_GATE_INVOKE_BRIDGE_H
#define KENAZ_GATE_INVOKE_BRIDGE_H

#include "engine/gate/dialect.h"

/*
 * Both dialects carry the same document, so nothing goes by way of the
 * neutral form: the body is edited in place, a stream's events are put into
 * AWS frames or taken out of them.
 */

/* What the client sent. Spans are borrowed. */
struct invoke_bridge_request {
	enum dialect client; /* DIALECT_ANTHROPIC or DIALECT_INVOKE */
	enum route route;    /* the client's */
	struct span body;
	struct span headers; /* attrs.h texts: forwarded headers */
};

/* What goes to the wire. */
struct invoke_bridge_result {
	struct buf body;
	struct buf headers; /* attrs.h texts, instead of the client's */
	char dropped[NEUTRAL_DROPPED_MAX][64]; /* e.g. "anthropic-beta: X" */
	uint32_t dropped_count;
	char error_text[256];
};

bool invoke_bridge_joins(enum dialect client, enum dialect wire);
void invoke_bridge_init(struct invoke_bridge_result *b);
void invoke_bridge_fini(struct invoke_bridge_result *b);
MUST_CHECK enum err
invoke_bridge_body(const struct invoke_bridge_request *request,
		   const struct dialect_target *target,
		   struct invoke_bridge_result *ret_result);
struct reply *invoke_bridge_reply(enum dialect client, enum dialect wire,
				  bool streamed);

#endif
