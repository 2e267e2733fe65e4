/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_model_list.c - any bytes as a provider's list of models
 *
 * Runs in: make fuzz, make check.
 * Trusts:  nothing.
 * Never:   accepts a name that is empty or too long.
 */
#include <assert.h>
#include <string.h>

#include "tui/model_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_list list = {0};
	size_t i;

	if (model_list_read(span_of(data, size), &list) == ERR_OK)
		for (i = 0; i < list.count; i++)
			assert(list.names[i][0] &&
			       strlen(list.names[i]) <= MODEL_MAX_BYTES);
	model_list_fini(&list);
	return 0;
}

/* sources: tui/model_list.c engine/base/json.c engine/base/json_text.c
 * engine/base/buf.c engine/base/text.c engine/base/err.c */
