/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_template.c - the header of a template's state file
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vm/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted is written again byte for byte. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct template_header h;
	const char *why = NULL;
	struct buf again;

	if (template_header_get(span_of(data, size), &h, &why) != ERR_OK) {
		if (!why)
			abort();
		return 0;
	}
	if (h.state_bytes != size - TEMPLATE_HEADER_BYTES)
		abort();
	buf_init(&again, TEMPLATE_HEADER_BYTES);
	if (template_header_put(&h, &again) != ERR_OK ||
	    memcmp(again.data, data, TEMPLATE_HEADER_BYTES) != 0)
		abort();
	buf_fini(&again);
	return 0;
}

/* sources: engine/base/buf.c engine/base/err.c engine/base/digest.c
 * engine/base/memfd.c vm/memory.c vm/template.c */
