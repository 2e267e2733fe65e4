/* SPDX-License-Identifier: Apache-2.0 */
/* chat_edit.h - changes of a JSON text in place */
#ifndef KENAZ_GATE_CHAT_EDIT_H
#define KENAZ_GATE_CHAT_EDIT_H

#include "engine/base/buf.h"
#include "engine/base/json.h"

/* Bytes [at, at + len) of the text give way to those of `texts`. */
struct chat_edit {
	size_t at_bytes, len_bytes;
	size_t text_at, text_len;
};

/* The texts are put into `texts` first, then the change is added. */
struct chat_edits {
	struct buf texts;
	struct chat_edit *items;
	size_t count, cap;
};

void chat_edits_init(struct chat_edits *x, size_t max_bytes);
void chat_edits_fini(struct chat_edits *x);
MUST_CHECK enum err chat_edits_add(struct chat_edits *x, size_t at_bytes,
				   size_t len_bytes, size_t text_at);
MUST_CHECK enum err chat_edits_replace(struct chat_edits *x,
				       const struct json *j, json_ref at,
				       const char *text);
MUST_CHECK enum err chat_edits_remove(struct chat_edits *x,
				      const struct json *j, json_ref member);
MUST_CHECK enum err chat_edits_put(struct chat_edits *x, struct span text,
				   struct buf *out);

#endif
