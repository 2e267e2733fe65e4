/* SPDX-License-Identifier: Apache-2.0 */
/* anthropic_reply.h - what streamed and plain Anthropic replies share */
#ifndef KENAZ_GATE_ANTHROPIC_REPLY_H
#define KENAZ_GATE_ANTHROPIC_REPLY_H

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/gate/reply.h"

/* Usage fields as they were last seen; absent is not zero. */
struct anthropic_usage {
	bool has_input, has_output;
	uint64_t input, output, cache_read, cache_write;
};

struct reply *anthropic_stream_new(void);
struct reply *anthropic_body_new(void);

void anthropic_read_message(const struct json *j, json_ref message,
			    struct reply_summary *s);
void anthropic_read_usage(const struct json *j, json_ref usage,
			  struct anthropic_usage *u, struct reply_summary *s);
void anthropic_read_error(const struct json *j, json_ref root, struct reply *r);
MUST_CHECK enum err anthropic_put_error(struct buf *b, const char *type,
					struct span message);
MUST_CHECK enum err anthropic_put_text(struct buf *b, struct span tool,
				       const struct reply_verdict *v);

#endif
