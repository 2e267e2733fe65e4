/* SPDX-License-Identifier: Apache-2.0 */
/* models_list.h - lists of models, read and written in a client's form */
#ifndef KENAZ_GATE_MODELS_LIST_H
#define KENAZ_GATE_MODELS_LIST_H

#include "engine/base/jsonw.h"
#include "engine/proto/msg.h"

#define MODELS_LIST_MAX       4096u /* names read of a provider's list */
#define MODELS_LIST_MAX_BYTES (4u << 20)

/* A list that is being written. */
struct models_list {
	struct jsonw w;
	bool anthropic;
	size_t count;
	char first[MODEL_MAX_BYTES + 1], last[MODEL_MAX_BYTES + 1];
};

void models_list_begin(struct models_list *l, enum dialect client,
		       struct buf *out);
void models_list_put(struct models_list *l, struct span id);
MUST_CHECK enum err models_list_end(struct models_list *l);

MUST_CHECK enum err models_list_write(enum dialect client, struct span names,
				      struct buf *out);
MUST_CHECK enum err models_list_translate(enum dialect client, struct span body,
					  struct buf *out);

#endif
