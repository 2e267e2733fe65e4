/* SPDX-License-Identifier: Apache-2.0 */
/* conversation.h - what was said so far, as the model is told it */
#ifndef KENAZ_WORKBENCH_CONVERSATION_H
#define KENAZ_WORKBENCH_CONVERSATION_H

#include "guest/workbench/model_reply.h"
#include "guest/workbench/tools.h"

#define CONVERSATION_MAX_BYTES (16u * 1024 * 1024)

/* JSON of the messages, with commas between them. */
struct conversation {
	struct buf messages;
};

void conversation_init(struct conversation *c);
void conversation_fini(struct conversation *c);
void conversation_clear(struct conversation *c);
size_t conversation_mark(const struct conversation *c);
void conversation_rewind(struct conversation *c, size_t mark);
MUST_CHECK enum err conversation_add_prompt(struct conversation *c,
					    struct span text);
MUST_CHECK enum err conversation_add_reply(struct conversation *c,
					   const struct model_reply *r);
MUST_CHECK enum err conversation_add_results(struct conversation *c,
					     const struct tool_result *results,
					     size_t count);
MUST_CHECK enum err conversation_request(const struct conversation *c,
					 const char *model, struct buf *out);

#endif
