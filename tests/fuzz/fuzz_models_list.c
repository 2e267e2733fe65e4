/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_models_list.c - what is written of any list is a list again, the same
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gate/models_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = span_of(data, size);
	struct buf chat, anthropic, again;

	buf_init(&chat, MODELS_LIST_MAX_BYTES);
	buf_init(&anthropic, MODELS_LIST_MAX_BYTES);
	buf_init(&again, MODELS_LIST_MAX_BYTES);
	if (models_list_translate(DIALECT_CHAT, body, &chat) == ERR_OK) {
		assert(models_list_translate(DIALECT_ANTHROPIC, body,
					     &anthropic) == ERR_OK);
		assert(models_list_translate(DIALECT_CHAT, buf_span(&anthropic),
					     &again) == ERR_OK);
		assert(span_equal(buf_span(&chat), buf_span(&again)));
	}
	buf_reset(&again);
	(void)!models_list_write(DIALECT_ANTHROPIC, body, &again);
	buf_fini(&chat);
	buf_fini(&anthropic);
	buf_fini(&again);
	return 0;
}

/* sources: engine/gate/models_list.c engine/base/buf.c engine/base/json.c
 * engine/base/json_text.c engine/base/jsonw.c engine/base/text.c
 * engine/proto/attrs.c */
