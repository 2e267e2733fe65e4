/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_record.c - stored events: what is accepted is written back the same
 */
#include <stdlib.h>

#include "engine/audit/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record_view view;
	struct record_value v;
	const char *fault = NULL;
	struct span item;
	struct canon c, list;
	struct buf out;

	if (record_read(span_of(data, size), &view, &fault) != ERR_OK) {
		if (!fault)
			abort();
		return 0;
	}
	record_attrs_begin(&view, &c);
	while (record_attrs_next(&c, &v)) {
		if (v.type != ATTR_LIST)
			continue;
		canon_init(&list, v.text);
		while (record_list_next(&list, &item))
			if (item.len_bytes > size)
				abort();
	}
	buf_init(&out, RECORD_MAX_BYTES);
	if (record_rewrite(&view, &out) != ERR_OK ||
	    !span_equal(buf_span(&out), span_of(data, size)))
		abort();
	buf_fini(&out);
	return 0;
}

/* sources: engine/audit/record.c engine/audit/canon.c engine/audit/kinds.c
 *	engine/audit/stamp.c engine/base/jsonw.c engine/base/buf.c
 *	engine/base/text.c engine/base/digest.c engine/proto/attrs.c
 */
