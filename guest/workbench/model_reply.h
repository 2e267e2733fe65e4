/* SPDX-License-Identifier: Apache-2.0 */
/* model_reply.h - one streamed message of a model, put together */
#ifndef KENAZ_WORKBENCH_MODEL_REPLY_H
#define KENAZ_WORKBENCH_MODEL_REPLY_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define MODEL_REPLY_MAX_BLOCKS 128
#define MODEL_REPLY_MAX_BYTES  (8u * 1024 * 1024) /* a block */
#define MODEL_REPLY_ERROR_MAX  1024
#define MODEL_REPLY_NAME_MAX   256

enum model_block_type {
	MODEL_BLOCK_TEXT,
	MODEL_BLOCK_TOOL_USE,
	MODEL_BLOCK_THINKING,
	MODEL_BLOCK_REDACTED,
	MODEL_BLOCK_OTHER, /* seen and left out */
};

struct model_block {
	enum model_block_type type;
	struct buf content;   /* text; a call's input as JSON; thinking; data */
	struct buf signature; /* of thinking */
	char id[MODEL_REPLY_NAME_MAX];
	char name[MODEL_REPLY_NAME_MAX];
	bool is_open;
};

struct model_reply;
typedef void (*model_text_fn)(void *owner, const struct model_block *b,
			      struct span added);

struct model_reply {
	struct model_block blocks[MODEL_REPLY_MAX_BLOCKS];
	size_t count;
	char model[MODEL_REPLY_NAME_MAX];
	char stop_reason[MODEL_REPLY_NAME_MAX];
	char error_type[MODEL_REPLY_NAME_MAX];
	char error[MODEL_REPLY_ERROR_MAX];
	bool has_begun, has_ended;
	/* a text block grew; with an empty span: it was completed */
	model_text_fn on_text;
	void *owner;
};

void model_reply_init(struct model_reply *r);
void model_reply_fini(struct model_reply *r);
MUST_CHECK enum err model_reply_take(struct model_reply *r, struct span name,
				     struct span data);
void model_reply_take_error(struct model_reply *r, struct span body);

#endif
