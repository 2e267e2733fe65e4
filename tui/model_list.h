/* SPDX-License-Identifier: Apache-2.0 */
/* model_list.h - the names in a provider's list of models */
#ifndef KENAZ_TUI_MODEL_LIST_H
#define KENAZ_TUI_MODEL_LIST_H

#include "engine/base/buf.h"
#include "engine/proto/limits.h"

#define MODEL_LIST_MAX       1000u /* names that are kept */
#define MODEL_LIST_BYTES_MAX (1u << 20)

struct model_list {
	char (*names)[MODEL_MAX_BYTES + 1];
	size_t count;
	bool cut; /* there were more */
};

MUST_CHECK enum err model_list_read(struct span body,
				    struct model_list *ret_list);
void model_list_fini(struct model_list *list);

#endif
